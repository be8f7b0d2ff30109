/* A line of quotas. What is read is written again, and read the same. */
#include "fuzz.h"

#include <keyd/conf/quota.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_quota q = {0}, again = {0};
    const char *why = NULL;
    char text[KD_QUOTA_TEXT];

    fuzz_begin(size);
    kd_err err = kd_quota_parse(kd_slice(data, size), &q, &why);
    fuzz_end();
    fuzz_require(err == KD_OK || err == KD_INVALID);
    fuzz_require((err == KD_OK) == (why == NULL));
    if (err != KD_OK)
        return 0;
    fuzz_require(kd_quota_is_valid(&q));
    kd_quota_text(&q, text);
    fuzz_require(kd_quota_parse(kd_slice_str(text), &again, &why) == KD_OK);
    fuzz_require(memcmp(&q, &again, sizeof q) == 0);
    return 0;
}
