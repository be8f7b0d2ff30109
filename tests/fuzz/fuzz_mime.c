/* Mail to D/MIME and back. Whatever the octets are, they come back the same, from what
 * import made and from a public export of it; what is mapped is within the limits; the
 * data of every part can be read as what it is. */
#include "fuzz.h"

#include <dime/mime.h>

/* GMime makes its tables when it is first used; they are nobody's input. */
static void
warm_up(void)
{
    static const char mail[] =
        "Content-Type: text/plain; charset=\"utf-8\"\r\n"
        "Content-Disposition: inline; filename*=utf-8''a%20b\r\n\r\n";
    static bool done;
    struct dime_mime m;

    if (done)
        return;
    done = true;
    fuzz_require(dime_mime_import(kd_slice_str(mail), &m) == KD_OK);
    dime_mime_free(&m);
}

static void
check_parts(const struct dime_mime_content *c)
{
    struct dime_mime_entity e;
    bool display = false;

    fuzz_require(c->n_parts >= 1 && c->n_parts <= DIME_MIME_PARTS);
    fuzz_require(c->headers.n != 0 && c->headers.n <= DIME_MIME_HEADERS_MAX);
    for (size_t i = 0; i < c->n_parts; i++) {
        const struct dime_mime_part *part = &c->parts[i];
        bool is_display = part->type < DIME_CHUNK_ATTACHMENTS_MULTIPART;
        fuzz_require(part->data.n != 0);
        fuzz_require(i == 0 || !is_display || display);
        display = is_display;
        if (part->type == DIME_CHUNK_DISPLAY_CONTENT ||
            part->type == DIME_CHUNK_ATTACHMENTS_CONTENT)
            fuzz_require(dime_mime_entity(part->data, &e) == KD_OK);
    }
    fuzz_require(c->parts[0].type < DIME_CHUNK_ATTACHMENTS_MULTIPART);
}

static void
check_octets(const struct dime_mime *m, struct kd_slice mail)
{
    struct kd_buf out;

    kd_buf_init(&out, DIME_MIME_MAIL_MAX);
    fuzz_require(m->raw < DIME_MIME_RAW_COUNT && m->raw != DIME_MIME_DIFFERS);
    check_parts(&m->content);
    fuzz_require(dime_mime_export(&m->content, &out) == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(&out), mail));
    kd_buf_free(&out);
}

static bool
has_multipart(const struct dime_mime_content *c)
{
    for (size_t i = 0; i < c->n_parts; i++)
        if (c->parts[i].type != DIME_CHUNK_DISPLAY_CONTENT &&
            c->parts[i].type != DIME_CHUNK_ATTACHMENTS_CONTENT)
            return true;
    return false;
}

/* Naked mail has no chunks for multiparts, and is else as a message. */
static void
check_naked(struct kd_slice mail, enum dime_mime_raw way)
{
    struct dime_mime m;

    fuzz_require(dime_mime_import_naked(mail, &m) == KD_OK);
    fuzz_require(m.raw == way && !has_multipart(&m.content));
    check_octets(&m, mail);
    dime_mime_free(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice mail = kd_slice(data, size);
    struct dime_mime m;

    warm_up();
    fuzz_begin(size);
    fuzz_require(dime_mime_import(mail, &m) == KD_OK);
    fuzz_require(m.raw != DIME_MIME_MULTIPART);
    check_octets(&m, mail);
    enum dime_mime_raw way = has_multipart(&m.content) ? DIME_MIME_MULTIPART : m.raw;
    dime_mime_free(&m);
    check_naked(mail, way);
    fuzz_end();
    return 0;
}
