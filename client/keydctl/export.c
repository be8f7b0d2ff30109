/* The file of audit export; its layout stands in keydctl_log.h and keydctl(1). */
#include "keydctl_log.h"

#include <keyd/base/be.h>

enum { HEAD_SIZE = 5, COUNT_SIZE = 8, TAG_SIZE = 20 };

static const char tag[TAG_SIZE + 1] = "keyd audit export 1\n";

/* --- writing ------------------------------------------------------------------------
 */

bool
export_begin(struct export_writer *w, FILE *f)
{
    *w = (struct export_writer){.f = f};
    return fwrite(tag, TAG_SIZE, 1, f) == 1;
}

bool
export_put(struct export_writer *w, enum export_type type, struct kd_slice octets)
{
    uint8_t head[HEAD_SIZE] = {(uint8_t)type};

    kd_put_be32(head + 1, (uint32_t)octets.n);
    if (type == EXPORT_RECORD)
        w->n_records++;
    return fwrite(head, sizeof head, 1, w->f) == 1 &&
           fwrite(octets.p, octets.n, 1, w->f) == 1;
}

bool
export_end(struct export_writer *w)
{
    uint8_t count[COUNT_SIZE];

    kd_put_be64(count, w->n_records);
    return export_put(w, EXPORT_END, kd_slice(count, sizeof count)) &&
           fflush(w->f) == 0;
}

/* --- reading ------------------------------------------------------------------------
 */

/* n octets; an early end is the file's fault. */
static kd_err
take(FILE *f, uint8_t *out, size_t n)
{
    if (fread(out, 1, n, f) == n)
        return KD_OK;
    return ferror(f) != 0 ? KD_IO : KD_MALFORMED;
}

kd_err
export_open(struct export_reader *r, FILE *f)
{
    uint8_t octets[TAG_SIZE];
    kd_err err;

    *r = (struct export_reader){.f = f};
    if ((err = take(f, octets, sizeof octets)) != KD_OK)
        return err;
    return memcmp(octets, tag, TAG_SIZE) == 0 ? KD_OK : KD_MALFORMED;
}

/* The end says how many records there were, and nothing follows it. */
static kd_err
read_end(const struct export_reader *r, struct kd_slice octets)
{
    if (octets.n != COUNT_SIZE || kd_be64(octets.p) != r->n_records)
        return KD_MALFORMED;
    if (getc(r->f) != EOF)
        return KD_MALFORMED;
    return ferror(r->f) != 0 ? KD_IO : KD_NOT_FOUND;
}

kd_err
export_next(struct export_reader *r, enum export_type *type, struct kd_slice *octets)
{
    uint8_t head[HEAD_SIZE];
    kd_err err = take(r->f, head, sizeof head);

    if (err != KD_OK)
        return err;
    size_t n = kd_be32(head + 1);
    if (n == 0 || n > sizeof r->octets)
        return KD_MALFORMED;
    if ((err = take(r->f, r->octets, n)) != KD_OK)
        return err;
    *octets = kd_slice(r->octets, n);
    switch (head[0]) {
    case EXPORT_RECORD:
        r->n_records++;
        break;
    case EXPORT_CHECKPOINT:
        break;
    case EXPORT_END:
        return read_end(r, *octets);
    default:
        return KD_MALFORMED;
    }
    *type = (enum export_type)head[0];
    return KD_OK;
}
