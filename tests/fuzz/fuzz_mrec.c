/* A management record, as TXT data or as people have it: the first octet says which.
 * What is read is a candidate, holds what the header promises, and is written and read
 * again as the same. */
#include "fuzz.h"

#include <dime/mrec.h>

enum { NOTES = 32 };

static struct dime_mrec m, again;
static struct dime_mrec_strings written;

static void
look_at_hosts(const char list[][DIME_MREC_HOST_MAX + 1], size_t n)
{
    char host[DIME_MREC_HOST_MAX + 1];

    fuzz_require(n <= DIME_MREC_HOSTS_MAX);
    for (size_t i = 0; i < n; i++) {
        fuzz_require(dime_mrec_host(kd_slice_str(list[i]), host) == DIME_MREC_FINE);
        fuzz_require(strcmp(host, list[i]) == 0);
        for (size_t k = 0; k < i; k++)
            fuzz_require(strcmp(list[i], list[k]) != 0);
    }
}

/* Only a host that fills a string alone cannot be written, or too many of them. */
static void
write_again(void)
{
    struct kd_slice strings[64];
    struct kd_buf b;

    if (dime_mrec_write(&m, &written) != KD_OK)
        return;
    kd_buf_init(&b, DIME_MREC_TEXT_MAX);
    for (size_t i = 0; i < written.n; i++)
        strings[i] = kd_slice_str(written.text[i]);
    fuzz_require(dime_mrec_join(strings, written.n, &b) == KD_OK);
    memset(&again, 0, sizeof again);
    fuzz_require(dime_mrec_parse(kd_buf_slice(&b), &again, NULL) == KD_OK);
    fuzz_require(memcmp(&m, &again, sizeof m) == 0);
    kd_buf_free(&b);
}

static void
read_strings(const struct kd_slice *strings, size_t n)
{
    struct dime_mrec_note notes[NOTES], why;
    struct kd_buf b;

    kd_buf_init(&b, DIME_MREC_TEXT_MAX);
    if (dime_mrec_join(strings, n, &b) == KD_OK) {
        struct kd_slice text = kd_buf_slice(&b);
        memset(&m, 0, sizeof m);
        kd_err err = dime_mrec_parse(text, &m, &why);
        size_t found = dime_mrec_lint(strings, n, notes, NOTES);
        bool is_broken = false;
        for (size_t i = 0; i < found && i < NOTES; i++)
            is_broken |= dime_mrec_kind(notes[i].finding) == DIME_MREC_BROKEN;
        fuzz_require((err == KD_OK) == (why.finding == DIME_MREC_FINE));
        if (err == KD_OK) {
            fuzz_require(!is_broken);
            fuzz_require(dime_mrec_is_candidate(text));
            fuzz_require(m.n_poks > 0 && m.expiry_days >= 1 &&
                         m.expiry_days <= DIME_MREC_EXPIRY_MAX);
            look_at_hosts(m.dx, m.n_dx);
            look_at_hosts(m.syn, m.n_syn);
            write_again();
        } else {
            fuzz_require(is_broken || found > NOTES);
        }
    }
    kd_buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kd_slice strings[DIME_MREC_PARTS_MAX];
    struct kd_buf out;
    size_t n = 0;

    if (size == 0)
        return 0;
    struct kd_slice text = kd_slice(data + 1, size - 1);
    size_t cut = data[0] & 0x7f;
    fuzz_begin(size + 65536); /* a record and the room of its reading */
    if ((data[0] & 0x80) != 0) {
        kd_buf_init(&out, DIME_MREC_TEXT_MAX);
        if (dime_mrec_read_strings(text, &out, strings, DIME_MREC_PARTS_MAX, &n) ==
            KD_OK) {
            fuzz_require(n > 0 && n <= DIME_MREC_PARTS_MAX);
            read_strings(strings, n);
        }
        kd_buf_free(&out);
    } else {
        if (cut > text.n)
            cut = text.n;
        strings[0] = kd_slice(text.p, cut);
        strings[1] = kd_slice(text.p + cut, text.n - cut);
        read_strings(strings, 2);
    }
    fuzz_end();
    return 0;
}
