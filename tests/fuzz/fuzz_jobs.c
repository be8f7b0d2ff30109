/* Messages between the daemon's processes (proto/job), both directions of every
 * channel: the first line names it. What is taken is written again octet for octet,
 * so there is one way to say a thing; nothing is allocated by what the octets say. */
#include "fuzz.h"

#include "job_sample.h"

/* A line that names none stands for some message, so that it is not in vain. */
static size_t
some_message(struct kd_slice file)
{
    size_t sum = 0;

    for (size_t i = 0; file.p[i] != '\n'; i++)
        sum += file.p[i];
    return sum % JOB_TYPES;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice octets;
    struct kd_buf b;
    size_t i;

    if (size > KD_CHAN_BODY_MAX || !job_split(kd_slice(data, size), &i, &octets))
        return 0;
    if (i == JOB_TYPES)
        i = some_message(kd_slice(data, size));
    fuzz_begin(size);
    kd_buf_init(&b, 2 * KD_CHAN_BODY_MAX);
    kd_err err = job_rewrite(i, octets, &b);
    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err == KD_OK) {
        fuzz_require(b.err == KD_OK);
        fuzz_require(kd_slice_eq(kd_buf_slice(&b), octets));
    }
    kd_buf_free(&b);
    fuzz_end();
    return 0;
}
