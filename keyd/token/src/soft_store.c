/* The public part of a key store: read and written by the layout of soft_store.h,
 * without a secret and without allocating. */
#include <dime/secp.h>
#include <keyd/token/soft_store.h>

#include "soft_impl.h"
#include "tables.h"

#include <keyd/base/be.h>
#include <keyd/base/cur.h>

static const uint8_t magic[8] = {'K', 'E', 'Y', 'D', 'S', 'T', 'O', 'R'};

enum { VERSION = 1, KDF_NONE = 0, KDF_ARGON2ID = 1, SLOT_SHARE = 3 };

/* The sign bit is not used by any time we write. */
static int64_t
read_time(struct kd_cur *c)
{
    uint64_t ms = kd_cur_u64(c);

    if (ms > INT64_MAX) {
        kd_cur_fail(c, KD_MALFORMED);
        return 0;
    }
    return (int64_t)ms;
}

static void
check_passphrase_slot(struct kd_cur *c, const struct kd_store_slot *slot, uint8_t kdf)
{
    if (kdf != KDF_ARGON2ID)
        kd_cur_fail(c, KD_UNSUPPORTED);
    if (slot->passes > KD_STORE_PASSES_MAX || slot->kib > KD_STORE_KIB_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    if (slot->passes < KD_STORE_PASSES_MIN || slot->kib < KD_STORE_KIB_MIN)
        kd_cur_fail(c, KD_INVALID);
}

static void
read_slot(struct kd_cur *c, struct kd_store_slot *slot)
{
    uint8_t type = kd_cur_u8(c);

    kd_cur_copy(c, slot->salt, sizeof slot->salt);
    slot->created_ms = read_time(c);
    uint8_t kdf = kd_cur_u8(c);
    slot->passes = kd_cur_u32(c);
    slot->kib = kd_cur_u32(c);
    kd_cur_copy(c, slot->nonce, sizeof slot->nonce);
    kd_cur_copy(c, slot->wrapped, sizeof slot->wrapped);

    slot->type = type == KD_SLOT_PASSPHRASE ? KD_SLOT_PASSPHRASE : KD_SLOT_CREDENTIAL;
    if (type == KD_SLOT_PASSPHRASE)
        check_passphrase_slot(c, slot, kdf);
    else if (type != KD_SLOT_CREDENTIAL)
        kd_cur_fail(c, type == SLOT_SHARE ? KD_UNSUPPORTED : KD_INVALID);
    else if (kdf != KDF_NONE || slot->passes != 0 || slot->kib != 0)
        kd_cur_fail(c, KD_MALFORMED);
}

static bool
salt_repeats(const struct kd_store *s, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (memcmp(s->slots[i].salt, s->slots[at].salt, KD_STORE_SALT_SIZE) == 0)
            return true;
    return false;
}

static void
read_slots(struct kd_cur *c, struct kd_store *s)
{
    size_t n = kd_cur_u8(c);

    s->n_slots = 0;
    if (n == 0)
        kd_cur_fail(c, KD_INVALID);
    if (n > KD_STORE_SLOTS_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    for (size_t i = 0; i < n && c->err == KD_OK; i++) {
        read_slot(c, &s->slots[i]);
        if (salt_repeats(s, i))
            kd_cur_fail(c, KD_INVALID);
        s->n_slots++;
    }
}

/* What the numbers of a key entry stand for; KD_UNSUPPORTED for an algorithm that is
 * not sealed here. */
static kd_err
check_key(unsigned role, unsigned alg, unsigned state, struct kd_store_key *key)
{
    const struct kd_role_row *r = kd_role_row(role);
    const struct kd_alg_row *a = kd_alg_row(alg);
    const struct kd_state_row *st = kd_state_row(state);

    if (r == NULL || st == NULL)
        return KD_INVALID;
    if (a == NULL || !a->soft)
        return KD_UNSUPPORTED;
    if (key->public_key.n < a->public_min || key->public_key.n > a->public_max)
        return KD_INVALID;
    if (a->alg == KD_ALG_SECP256K1 && key->public_key.p[0] != 2 &&
        key->public_key.p[0] != 3)
        return KD_INVALID;
    key->role = r->role;
    key->alg = a->alg;
    key->state = st->state;
    struct kd_key_spec spec = {.role = key->role,
                               .alg = key->alg,
                               .permissions = key->permissions,
                               .domain = key->domain};
    return kd_key_spec_check(&spec);
}

static void
read_key(struct kd_cur *c, struct kd_store_key *key)
{
    unsigned role = kd_cur_u8(c);
    unsigned alg = kd_cur_u8(c);
    unsigned state = kd_cur_u8(c);
    kd_err err;

    key->permissions = kd_cur_u8(c);
    key->created_ms = read_time(c);
    key->domain = kd_cur_take(c, kd_cur_u8(c));
    key->public_key = kd_cur_take(c, kd_cur_u16(c));
    if (c->err == KD_OK && (err = check_key(role, alg, state, key)) != KD_OK)
        kd_cur_fail(c, err);
}

/* Whatever the roles: one key as POK and SOK would be one key, too (D-082). */
static bool
key_repeats(const struct kd_store *s, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (s->keys[i].alg == s->keys[at].alg &&
            kd_slice_eq(s->keys[i].public_key, s->keys[at].public_key))
            return true;
    return false;
}

/* Gives the size of the sealed section. */
static size_t
read_keys(struct kd_cur *c, struct kd_store *s)
{
    size_t n = kd_cur_u16(c);
    size_t n_sealed = 0;

    s->n_keys = 0;
    if (n > KD_STORE_KEYS_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    for (size_t i = 0; i < n && c->err == KD_OK; i++) {
        read_key(c, &s->keys[i]);
        if (c->err != KD_OK)
            break;
        if (key_repeats(s, i))
            kd_cur_fail(c, KD_INVALID);
        if (kd_state_row(s->keys[i].state)->has_secret)
            n_sealed++;
        s->n_keys++;
    }
    return n_sealed * SOFT_SEALED_SIZE;
}

static void
read_start(struct kd_cur *c, struct kd_store *s)
{
    struct kd_slice start = kd_cur_take(c, sizeof magic);

    if (!kd_slice_eq(start, kd_slice(magic, sizeof magic)))
        kd_cur_fail(c, KD_MALFORMED);
    if (kd_cur_u16(c) != VERSION)
        kd_cur_fail(c, KD_UNSUPPORTED);
    s->generation = kd_cur_u64(c);
    if (s->generation == 0)
        kd_cur_fail(c, KD_INVALID);
    kd_cur_copy(c, s->instance, sizeof s->instance);
}

kd_err
kd_store_parse(struct kd_slice octets, struct kd_store *out)
{
    struct kd_cur c = kd_cur(octets);

    if (octets.n > KD_STORE_MAX)
        return KD_TOO_LARGE;
    read_start(&c, out);
    read_slots(&c, out);
    size_t policy = kd_cur_u16(&c);
    if (policy > KD_STORE_POLICY_MAX)
        kd_cur_fail(&c, KD_TOO_LARGE);
    out->policy = kd_cur_take(&c, policy);
    size_t sealed = read_keys(&c, out);
    out->header = kd_slice(octets.p, c.at);
    out->sealed = kd_cur_take(&c, sealed);
    out->tag = kd_cur_take(&c, KD_STORE_TAG_SIZE);
    return kd_cur_end(&c);
}

void
kd_store_slot_head(const struct kd_store_slot *slot, uint8_t out[SOFT_SLOT_AD_SIZE])
{
    out[0] = (uint8_t)slot->type;
    memcpy(out + 1, slot->salt, sizeof slot->salt);
    kd_put_be64(out + 17, (uint64_t)slot->created_ms);
    out[25] = slot->type == KD_SLOT_PASSPHRASE ? KDF_ARGON2ID : KDF_NONE;
    kd_put_be32(out + 26, slot->passes);
    kd_put_be32(out + 30, slot->kib);
}

static void
put_slot(const struct kd_store_slot *slot, struct kd_buf *out)
{
    uint8_t head[SOFT_SLOT_AD_SIZE];

    kd_store_slot_head(slot, head);
    kd_buf_put(out, kd_slice(head, sizeof head));
    kd_buf_put(out, kd_slice(slot->nonce, sizeof slot->nonce));
    kd_buf_put(out, kd_slice(slot->wrapped, sizeof slot->wrapped));
}

static void
put_key(const struct kd_store_key *key, struct kd_buf *out)
{
    kd_buf_u8(out, (uint8_t)key->role);
    kd_buf_u8(out, (uint8_t)key->alg);
    kd_buf_u8(out, (uint8_t)key->state);
    kd_buf_u8(out, key->permissions);
    kd_buf_u64(out, (uint64_t)key->created_ms);
    kd_buf_u8(out, (uint8_t)key->domain.n);
    kd_buf_put(out, key->domain);
    kd_buf_u16(out, (uint16_t)key->public_key.n);
    kd_buf_put(out, key->public_key);
}

void
kd_store_put_header(const struct kd_store *store, struct kd_buf *out)
{
    kd_buf_put(out, kd_slice(magic, sizeof magic));
    kd_buf_u16(out, VERSION);
    kd_buf_u64(out, store->generation);
    kd_buf_put(out, kd_slice(store->instance, sizeof store->instance));
    kd_buf_u8(out, (uint8_t)store->n_slots);
    for (size_t i = 0; i < store->n_slots; i++)
        put_slot(&store->slots[i], out);
    kd_buf_u16(out, (uint16_t)store->policy.n);
    kd_buf_put(out, store->policy);
    kd_buf_u16(out, (uint16_t)store->n_keys);
    for (size_t i = 0; i < store->n_keys; i++)
        put_key(&store->keys[i], out);
}
