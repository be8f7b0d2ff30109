/* Texts of chunks 4 and 5: what parses is written back octet for octet, and no text is
 * both. */
#include "fuzz.h"

#include <dime/envelope.h>

static bool
round_trip(enum dime_envelope_kind kind, struct kd_slice text)
{
    struct dime_envelope e;
    struct kd_buf again;
    kd_err err = dime_envelope_parse(kind, text, &e);

    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err != KD_OK)
        return false;
    kd_buf_init(&again, DIME_ENVELOPE_MAX);
    err = dime_envelope_put(kind, &e, &again);
    fuzz_require(err == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(&again), text));
    kd_buf_free(&again);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice text = kd_slice(data, size);

    fuzz_begin(size);
    bool is_origin = round_trip(DIME_ENVELOPE_ORIGIN, text);
    bool is_destination = round_trip(DIME_ENVELOPE_DESTINATION, text);
    fuzz_require(!is_origin || !is_destination);
    fuzz_end();
    return 0;
}
