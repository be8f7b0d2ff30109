/* Account tickets. What parses is written again octet for octet, and without the key no
 * input verifies unless it was signed. */
#include "fuzz.h"

#include <dime/ed25519.h>
#include <keyd/ticket/ticket.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[32] = {7};
    uint8_t key[1][KD_TICKET_KEY_SIZE];
    struct kd_ticket ticket, again;
    struct kd_buf b;

    fuzz_begin(size);
    kd_err err = kd_ticket_decode(kd_slice(data, size), &ticket);
    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err == KD_OK) {
        kd_buf_init(&b, KD_TICKET_MAX);
        fuzz_require(kd_ticket_encode(&ticket, &b) == KD_OK);
        fuzz_require(kd_slice_eq(kd_buf_slice(&b), kd_slice(data, size - 64)));
        kd_buf_free(&b);
        dime_ed25519_public(seed, key[0]);
        err = kd_ticket_verify(kd_slice(data, size), key, 1, &again);
        fuzz_require(err == KD_OK || err == KD_DENIED);
    }
    fuzz_end();
    return 0;
}
