/* The rules about keys, read from the tables: pure functions, no key in sight. */
#include <keyd/token/token.h>

#include "tables.h"

#include <sodium.h>

static const struct kd_alg_row algs[] = {
#define KD_ALGORITHM(code, number, text, pmin, pmax, secret, sig, soft)                \
    {code, text, pmin, pmax, secret, sig, soft},
#include <keyd/token/algorithms.def>
#undef KD_ALGORITHM
};

static const struct kd_role_row roles[] = {
#define KD_ROLE(code, number, name, algs, allowed, needed, domain, text)               \
    {code, name, text, algs, allowed, needed, domain},
#include <keyd/token/roles.def>
#undef KD_ROLE
};

static const struct kd_state_row states[] = {
#define KD_STATE(code, number, name, signs, agrees, probed, secret, next)              \
    {code, name, signs, agrees, probed, secret, next},
#include <keyd/token/states.def>
#undef KD_STATE
};

static const struct kd_purpose_row purposes[KD_SIGN_COUNT] = {
#define KD_SIZE_ANY SIZE_MAX
#define OCTETS(text)                                                                   \
    {                                                                                  \
        (const uint8_t *)(text), sizeof(text) - 1                                      \
    }
#define KD_PURPOSE(code, name, start, next_at, next, min, max, always)                 \
    {name, OCTETS(start), next_at, OCTETS(next), min, max, always},
#include <keyd/token/purposes.def>
#undef KD_PURPOSE
#undef OCTETS
#undef KD_SIZE_ANY
};

/* What is compared lies in the head. */
#define KD_PURPOSE(code, name, start, next_at, next, min, max, always)                 \
    _Static_assert(sizeof(start) - 1 <= KD_PURPOSE_HEAD &&                             \
                       (next_at) < KD_PURPOSE_HEAD &&                                  \
                       ((next_at) == 0 || (next_at) < (min)),                          \
                   name);
#include <keyd/token/purposes.def>
#undef KD_PURPOSE

static const struct use {
    enum kd_sign_purpose purpose;
    enum kd_key_role role;
    uint8_t permission;
} uses[] = {
#define KD_USE(purpose, role, permission) {purpose, role, permission},
#include <keyd/token/uses.def>
#undef KD_USE
};

#define N_ROWS(table) (sizeof(table) / sizeof((table)[0]))

const struct kd_alg_row *
kd_alg_row(unsigned alg)
{
    for (size_t i = 0; i < N_ROWS(algs); i++)
        if ((unsigned)algs[i].alg == alg)
            return &algs[i];
    return NULL;
}

const struct kd_role_row *
kd_role_row(unsigned role)
{
    for (size_t i = 0; i < N_ROWS(roles); i++)
        if ((unsigned)roles[i].role == role)
            return &roles[i];
    return NULL;
}

const struct kd_state_row *
kd_state_row(unsigned state)
{
    for (size_t i = 0; i < N_ROWS(states); i++)
        if ((unsigned)states[i].state == state)
            return &states[i];
    return NULL;
}

const struct kd_purpose_row *
kd_purpose_row(unsigned purpose)
{
    return purpose < KD_SIGN_COUNT ? &purposes[purpose] : NULL;
}

const char *
kd_alg_name(enum kd_key_alg alg)
{
    const struct kd_alg_row *row = kd_alg_row(alg);
    return row == NULL ? "?" : row->name;
}

const char *
kd_key_role_name(enum kd_key_role role)
{
    const struct kd_role_row *row = kd_role_row(role);
    return row == NULL ? "?" : row->name;
}

const char *
kd_key_role_text(enum kd_key_role role)
{
    const struct kd_role_row *row = kd_role_row(role);
    return row == NULL ? "?" : row->text;
}

const char *
kd_state_name(enum kd_key_state state)
{
    const struct kd_state_row *row = kd_state_row(state);
    return row == NULL ? "?" : row->name;
}

const char *
kd_purpose_name(enum kd_sign_purpose purpose)
{
    const struct kd_purpose_row *row = kd_purpose_row(purpose);
    return row == NULL ? "?" : row->name;
}

struct kd_key_id
kd_key_id(enum kd_key_alg alg, struct kd_slice public_key)
{
    struct kd_key_id id;
    uint8_t number = (uint8_t)alg;
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;

    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, &number, 1);
    crypto_hash_sha256_update(&h, public_key.p, public_key.n);
    crypto_hash_sha256_final(&h, hash);
    memcpy(id.octets, hash, sizeof id.octets);
    return id;
}

static bool
is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Lower-case A-labels of 1 to 63 octets, no dot at the end (D-052). */
static bool
domain_good(struct kd_slice d)
{
    size_t label = 0;

    if (d.n > KD_KEY_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < d.n; i++) {
        bool edge = label == 0 || i + 1 == d.n || d.p[i + 1] == '.';
        if (d.p[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (!is_alnum(d.p[i]) && (d.p[i] != '-' || edge))
            return false;
        if (++label > 63)
            return false;
    }
    return label != 0;
}

kd_err
kd_key_spec_check(const struct kd_key_spec *spec)
{
    const struct kd_role_row *role = kd_role_row(spec->role);
    const struct kd_alg_row *alg = kd_alg_row(spec->alg);

    if (role == NULL || alg == NULL || (role->algs & KD_ALG_BIT(spec->alg)) == 0)
        return KD_INVALID;
    if ((spec->permissions & ~role->allowed) != 0)
        return KD_INVALID;
    if (role->needed != 0 && (spec->permissions & role->needed) == 0)
        return KD_INVALID;
    if (spec->role == KD_KEY_ROLE_SEAL && spec->domain.n != 0)
        return KD_INVALID;
    if (spec->bits != 0 &&
        (spec->alg != KD_ALG_RSA ||
         (spec->bits != 2048 && spec->bits != 3072 && spec->bits != 4096)))
        return KD_INVALID;
    if (spec->domain.n == 0)
        return role->domain ? KD_INVALID : KD_OK;
    return domain_good(spec->domain) ? KD_OK : KD_INVALID;
}

kd_err
kd_key_allows(const struct kd_key_info *key, enum kd_sign_purpose purpose)
{
    const struct kd_state_row *state = kd_state_row(key->state);

    if (state == NULL)
        return KD_DENIED;
    if (!(purpose == KD_SIGN_PROBE ? state->probed : state->signs))
        return KD_DENIED;
    for (size_t i = 0; i < N_ROWS(uses); i++) {
        if (uses[i].purpose != purpose || uses[i].role != key->role)
            continue;
        uint8_t bit = uses[i].permission;
        return bit == 0 || (key->permissions & bit) != 0 ? KD_OK : KD_DENIED;
    }
    return KD_DENIED;
}

kd_err
kd_key_agrees(const struct kd_key_info *key)
{
    const struct kd_state_row *state = kd_state_row(key->state);

    return key->role == KD_KEY_ROLE_ENC && key->alg == KD_ALG_SECP256K1 &&
                   state != NULL && state->agrees
               ? KD_OK
               : KD_DENIED;
}

kd_err
kd_purpose_begins(enum kd_sign_purpose purpose, struct kd_slice head, uint64_t size)
{
    const struct kd_purpose_row *row = kd_purpose_row(purpose);

    if (row == NULL || size < row->min || size > row->max)
        return KD_INVALID;
    if (head.n > size || head.n < row->start.n)
        return KD_INVALID;
    if (row->start.n != 0 && memcmp(head.p, row->start.p, row->start.n) != 0)
        return KD_INVALID;
    if (row->next.n == 0)
        return KD_OK;
    if (head.n <= row->next_at)
        return KD_INVALID;
    bool is_one = memchr(row->next.p, head.p[row->next_at], row->next.n) != NULL;
    return is_one ? KD_OK : KD_INVALID;
}

kd_err
kd_purpose_fits(enum kd_sign_purpose purpose, struct kd_slice message)
{
    return kd_purpose_begins(purpose, message, message.n);
}
