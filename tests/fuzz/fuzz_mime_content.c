/* D/MIME of anybody's making to mail. Input: values and chunks in the order they come,
 *
 *   u8 what   u16 size   octets
 *
 * what: 0 to 5, a common value; 34, the other headers; else a part of that type. A
 * content that is no mail is refused with nothing written; a mail that is made goes in
 * again, comes out the same, and has at least as many parts. */
#include "fuzz.h"

#include <dime/mime.h>
#include <keyd/base/cur.h>

enum { PARTS = 64 };

static void
warm_up(void)
{
    static bool done;
    struct dime_mime m;

    if (done)
        return;
    done = true;
    fuzz_require(dime_mime_import(kd_slice_str("Content-Type: text/plain; a*=''b\r\n"
                                               "Content-Disposition: inline\r\n\r\n"),
                                  &m) == KD_OK);
    dime_mime_free(&m);
}

static void
read_content(struct kd_slice input, struct dime_mime_part parts[PARTS],
             struct dime_mime_content *out)
{
    struct kd_cur c = kd_cur(input);

    *out = (struct dime_mime_content){.parts = parts};
    while (kd_cur_left(&c) != 0 && out->n_parts < PARTS) {
        uint8_t what = kd_cur_u8(&c);
        size_t n = kd_cur_u16(&c), left = kd_cur_left(&c);
        struct kd_slice octets = kd_cur_take(&c, n < left ? n : left);
        if (octets.p == NULL)
            octets = kd_slice("", 0);
        if (what < DIME_COMMON_COUNT)
            out->common.value[what] = octets;
        else if (what == DIME_CHUNK_HEADERS)
            out->headers = octets;
        else
            parts[out->n_parts++] = (struct dime_mime_part){what, octets};
    }
}

static void
check_mail(struct kd_slice mail, size_t n_parts)
{
    struct dime_mime m;
    struct kd_buf again;

    kd_buf_init(&again, DIME_MIME_MAIL_MAX);
    fuzz_require(dime_mime_import(mail, &m) == KD_OK);
    fuzz_require(m.raw != DIME_MIME_DIFFERS);
    if (m.raw == DIME_MIME_MAPPED)
        fuzz_require(m.content.n_parts >= n_parts);
    fuzz_require(dime_mime_export(&m.content, &again) == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(&again), mail));
    dime_mime_free(&m);
    kd_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dime_mime_part parts[PARTS];
    struct dime_mime_content content;
    struct kd_buf out;

    warm_up();
    kd_buf_init(&out, DIME_MIME_MAIL_MAX);
    fuzz_begin(size);
    read_content(kd_slice(data, size), parts, &content);
    kd_err err = dime_mime_export(&content, &out);
    fuzz_require(err == KD_OK || err == KD_INVALID);
    fuzz_require(err == KD_OK || out.n == 0);
    if (err == KD_OK)
        check_mail(kd_buf_slice(&out), content.n_parts);
    kd_buf_free(&out);
    fuzz_end();
    return 0;
}
