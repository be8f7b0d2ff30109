/* Messages between the daemon's processes (proto/job), both directions of every
 * channel: the first octet says which. What is taken is written again octet for octet,
 * so there is one way to say a thing; nothing is allocated by what the octets say. */
#include "fuzz.h"

#include "job_sample.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_buf b;

    if (size == 0 || size > KD_CHAN_BODY_MAX)
        return 0;
    struct kd_slice octets = kd_slice(data + 1, size - 1);
    fuzz_begin(size);
    kd_buf_init(&b, 2 * KD_CHAN_BODY_MAX);
    kd_err err = job_rewrite(data[0] % JOB_TYPES, octets, &b);
    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err == KD_OK) {
        fuzz_require(b.err == KD_OK);
        fuzz_require(kd_slice_eq(kd_buf_slice(&b), octets));
    }
    kd_buf_free(&b);
    fuzz_end();
    return 0;
}
