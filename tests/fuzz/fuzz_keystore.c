/* The public part of a key store (keyd/token/soft_store.h): whatever parses is written
 * again octet for octet, stays within its limits, and opens for nobody by chance. */
#include "fuzz.h"

#include <keyd/base/buf.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <string.h>

static struct kd_store store;

/* Every slice lies in the octets and has the size its field can have. */
static void
check_keys(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < store.n_keys; i++) {
        const struct kd_store_key *key = &store.keys[i];
        struct kd_key_spec spec = {.role = key->role,
                                   .alg = key->alg,
                                   .permissions = key->permissions,
                                   .domain = key->domain};
        fuzz_require(kd_key_spec_check(&spec) == KD_OK);
        fuzz_require(key->public_key.p > data && key->public_key.p < data + size);
        fuzz_require(key->public_key.n == 32 || key->public_key.n == 33 ||
                     (key->alg == KD_ALG_RSA && key->public_key.n >= 270 &&
                      key->public_key.n <= 526 && key->held.holding == KD_HELD));
        fuzz_require(key->held.n_places <= KD_PLACES_MAX &&
                     (key->held.holding == KD_OWN) == (key->held.n_places == 0));
        for (unsigned p = 0; p < key->held.n_places; p++)
            fuzz_require(key->held.places[p].token < store.n_tokens &&
                         key->held.places[p].id_size <= KD_PLACE_ID_MAX);
        fuzz_require(key->created_ms >= 0);
        fuzz_require(strcmp(kd_state_name(key->state), "?") != 0);
    }
}

static void
check_slots(void)
{
    fuzz_require(store.n_slots >= 1 && store.n_slots <= KD_STORE_SLOTS_MAX);
    for (size_t i = 0; i < store.n_slots; i++) {
        const struct kd_store_slot *slot = &store.slots[i];
        if (slot->type == KD_SLOT_CREDENTIAL)
            continue;
        fuzz_require(slot->type == KD_SLOT_PASSPHRASE);
        fuzz_require(slot->passes >= KD_STORE_PASSES_MIN);
        fuzz_require(slot->passes <= KD_STORE_PASSES_MAX);
        fuzz_require(slot->kib >= KD_STORE_KIB_MIN && slot->kib <= KD_STORE_KIB_MAX);
    }
}

/* Opening goes on from here with a credential: cheap, and never right. */
static void
check_opening(struct kd_slice octets)
{
    static const struct kd_slot_secret secret = {
        .type = KD_SLOT_CREDENTIAL,
        .octets = {(const uint8_t *)"not the credential of any of it!", 32},
    };
    struct kd_token *t = NULL;

    fuzz_require(kd_soft_open(octets, &secret, &t) == KD_DENIED);
    fuzz_require(t == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct kd_slice octets = kd_slice(data, size);
    struct kd_buf header;

    if (!ready)
        fuzz_require(kd_secret_setup(65536) == KD_OK);
    ready = true;
    kd_buf_init(&header, KD_STORE_MAX);
    fuzz_begin(size);
    kd_err err = kd_store_parse(octets, &store);
    if (err == KD_OK)
        kd_store_put_header(&store, &header);
    fuzz_end();
    if (err == KD_OK) {
        fuzz_require(kd_slice_eq(kd_buf_slice(&header), store.header));
        fuzz_require(store.header.n + store.sealed.n + store.tag.n == size);
        fuzz_require(store.policy.n <= KD_STORE_POLICY_MAX);
        check_slots();
        check_keys(data, size);
        check_opening(octets);
    }
    kd_buf_free(&header);
    return 0;
}
