/* The structure of messages: memory, file and a naive reading give the same, and no
 * memory is taken. Each input is judged as it is and with a header whose length is
 * right, without which few inputs get beyond it. */
#include "dmj.h"
#include "fuzz.h"

#include <keyd/base/be.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file = -1;

static void
write_file(struct kd_slice octets)
{
    if (file < 0)
        file = memfd_create("message", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, 0) != 0 ||
        pwrite(file, octets.p, octets.n, 0) != (ssize_t)octets.n)
        abort();
}

static void
judge(struct kd_slice octets)
{
    struct dime_source source = dime_source_of(octets);
    struct dmj_verdict v;

    write_file(octets);
    struct dime_source other = dime_source_file(file, octets.n);
    fuzz_begin(octets.n);
    const char *why = dmj_judge(octets, file, &v);
    if (why != NULL)
        fuzz_fail(why, dime_flaw_name(v.flaw), 0);
    uint16_t magic = dime_object_magic(&source);
    fuzz_require(magic == dime_object_magic(&other));
    fuzz_require(v.err != KD_OK || magic == DIME_MAGIC_MESSAGE);
    fuzz_require(v.flaw != DIME_FLAW_MAGIC || magic != DIME_MAGIC_MESSAGE);
    fuzz_require(fuzz_heap_peak() == 0);
    fuzz_end();
}

/* Where the header of the message begins. */
static size_t
header_of(struct kd_slice octets)
{
    if (octets.n < 4 || kd_be16(octets.p) != DIME_MAGIC_TRACING)
        return 0;
    return 4 + (size_t)kd_be16(octets.p + 2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice octets = kd_slice(data, size);
    size_t header = header_of(octets);

    judge(octets);
    if (header > size || size - header < DIME_MESSAGE_HEADER)
        return 0;
    uint8_t *right = malloc(size);
    if (right == NULL)
        abort();
    memcpy(right, data, size);
    kd_put_be32(right + header + 2, (uint32_t)(size - header - DIME_MESSAGE_HEADER));
    judge(kd_slice(right, size));
    free(right);
    return 0;
}
