/* Common headers: what parses is written in the table's order, and that parses to the
 * same values and is written alike. */
#include "fuzz.h"

#include <dime/common.h>

static void
put(const struct dime_common_headers *h, struct kd_buf *out)
{
    kd_buf_init(out, DIME_COMMON_MAX);
    kd_err err = dime_common_put(h, out);
    fuzz_require(err == KD_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dime_common_headers h, back;
    struct kd_buf first, second;

    /* Required headers that are absent may be all that is too much. */
    if (size > DIME_COMMON_MAX - 64)
        return 0;
    fuzz_begin(size);
    kd_err err = dime_common_parse(kd_slice(data, size), &h);
    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err == KD_OK) {
        put(&h, &first);
        err = dime_common_parse(kd_buf_slice(&first), &back);
        fuzz_require(err == KD_OK);
        for (unsigned i = 0; i < DIME_COMMON_COUNT; i++)
            fuzz_require(kd_slice_eq(h.value[i], back.value[i]));
        put(&back, &second);
        fuzz_require(kd_slice_eq(kd_buf_slice(&first), kd_buf_slice(&second)));
        kd_buf_free(&second);
        kd_buf_free(&first);
    }
    fuzz_end();
    return 0;
}
