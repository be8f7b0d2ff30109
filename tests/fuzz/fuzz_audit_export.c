/* The file of keydctl audit export, read and checked as audit verify --file does.
 *
 * Input: 32 octets of audit key, then the file. A file that is read to its end is the
 * very one that writing its items gives. */
#include "fuzz.h"

#include <keydctl_log.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 32 };

struct reading {
    struct audit_check check;
    struct export_reader reader;
    struct export_writer writer;
};

static kd_err
check_item(struct audit_check *c, enum export_type type, struct kd_slice octets)
{
    uint64_t n = c->n_records;
    kd_err err = type == EXPORT_RECORD ? audit_check_record(c, octets)
                                       : audit_check_checkpoint(c, octets);

    fuzz_require((err == KD_OK) == (c->why == NULL));
    fuzz_require(c->n_records == n + (err == KD_OK && type == EXPORT_RECORD));
    if (err == KD_OK && type == EXPORT_CHECKPOINT)
        fuzz_require(c->covered == c->chain.tail.seq);
    return err;
}

/* True if the file is in the format, to its end. */
static bool
read_file(struct reading *r, FILE *in, FILE *out)
{
    enum export_type type;
    struct kd_slice octets;
    bool holds = true;
    kd_err err;

    if (export_open(&r->reader, in) != KD_OK)
        return false;
    fuzz_require(export_begin(&r->writer, out));
    while ((err = export_next(&r->reader, &type, &octets)) == KD_OK) {
        /* The checks stop at the first fault, the format goes on. */
        holds = holds && check_item(&r->check, type, octets) == KD_OK;
        fuzz_require(export_put(&r->writer, type, octets));
    }
    fuzz_require(err == KD_NOT_FOUND || err == KD_MALFORMED);
    if (err == KD_NOT_FOUND)
        fuzz_require(export_end(&r->writer));
    return err == KD_NOT_FOUND;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reading r;

    if (size <= KEY_SIZE)
        return 0;
    size_t n = size - KEY_SIZE;
    char *again = malloc(n + 1);
    FILE *in = fmemopen(NULL, n + 1, "w+"), *out = fmemopen(again, n + 1, "w");
    fuzz_require(again != NULL && in != NULL && out != NULL);
    fuzz_require(fwrite(data + KEY_SIZE, n, 1, in) == 1 && fflush(in) == 0);
    rewind(in);
    r = (struct reading){.check.n_keys = 1};
    memcpy(r.check.keys[0], data, KEY_SIZE);

    fuzz_begin(size);
    bool whole = read_file(&r, in, out);
    fuzz_end();

    if (whole)
        fuzz_require((size_t)ftell(out) == n && memcmp(again, data + KEY_SIZE, n) == 0);
    fclose(in);
    fclose(out);
    free(again);
    return 0;
}
