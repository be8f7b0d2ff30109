/* The public part of a key store: read and written by the layout of soft_store.h,
 * without a secret and without allocating. */
#include <dime/secp.h>
#include <keyd/token/soft_store.h>

#include "rsa.h"
#include "soft_impl.h"
#include "tables.h"

#include <keyd/base/be.h>
#include <keyd/base/cur.h>

static const uint8_t magic[8] = {'K', 'E', 'Y', 'D', 'S', 'T', 'O', 'R'};

enum { VERSION_1 = 1, VERSION_2 = 2, KDF_NONE = 0, KDF_ARGON2ID = 1, SLOT_SHARE = 3 };

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
check_key(const struct kd_store *s, unsigned role, unsigned alg, unsigned state,
          struct kd_store_key *key)
{
    const struct kd_role_row *r = kd_role_row(role);
    const struct kd_alg_row *a = kd_alg_row(alg);
    const struct kd_state_row *st = kd_state_row(state);

    if (r == NULL || st == NULL)
        return KD_INVALID;
    if (a == NULL || (!a->soft && s->n_tokens == 0))
        return KD_UNSUPPORTED;
    if (key->public_key.n < a->public_min || key->public_key.n > a->public_max)
        return KD_INVALID;
    if (a->alg == KD_ALG_SECP256K1 && key->public_key.p[0] != 2 &&
        key->public_key.p[0] != 3)
        return KD_INVALID;
    if (a->alg == KD_ALG_RSA && kd_rsa_size(key->public_key) == 0)
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

/* --- version 2: tokens, and who has a key --- */

bool
kd_store_name_good(const char *name)
{
    size_t n = strnlen(name, KD_TOKEN_NAME_MAX + 1);

    if (n == 0 || n > KD_TOKEN_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", name[i]) == NULL)
            return false;
    return true;
}

bool
kd_store_text_good(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* Behind its size; out has most + 1 octets. */
static void
read_text(struct kd_cur *c, char *out, size_t least, size_t most)
{
    size_t n = kd_cur_u8(c);

    if (n > most)
        kd_cur_fail(c, KD_TOO_LARGE);
    if (n < least)
        kd_cur_fail(c, KD_INVALID);
    struct kd_slice text = kd_cur_take(c, n);
    out[0] = '\0';
    if (c->err != KD_OK)
        return;
    if (n != 0)
        memcpy(out, text.p, n);
    out[n] = '\0';
    if (strlen(out) != n || !kd_store_text_good(out))
        kd_cur_fail(c, KD_INVALID);
}

static void
read_token(struct kd_cur *c, struct kd_store *s, size_t at)
{
    struct kd_store_token *t = &s->tokens[at];

    read_text(c, t->name, 1, KD_TOKEN_NAME_MAX);
    read_text(c, t->serial, 1, KD_TOKEN_SERIAL_MAX);
    read_text(c, t->model, 0, KD_TOKEN_MODEL_MAX);
    kd_cur_copy(c, t->good, sizeof t->good);
    kd_cur_copy(c, t->tried, sizeof t->tried);
    if (c->err == KD_OK && !kd_store_name_good(t->name))
        kd_cur_fail(c, KD_INVALID);
    for (size_t i = 0; i < at; i++)
        if (strcmp(s->tokens[i].name, t->name) == 0)
            kd_cur_fail(c, KD_INVALID);
}

static void
read_tokens(struct kd_cur *c, struct kd_store *s)
{
    size_t n = kd_cur_u8(c);

    if (n > KD_TOKENS_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    if (n == 0) /* that is version 1 */
        kd_cur_fail(c, KD_INVALID);
    for (size_t i = 0; i < n && c->err == KD_OK; i++) {
        read_token(c, s, i);
        s->n_tokens++;
    }
}

static void
read_place(struct kd_cur *c, const struct kd_store *s, struct kd_held *held)
{
    struct kd_place *p = &held->places[held->n_places];

    p->token = kd_cur_u8(c);
    p->id_size = kd_cur_u8(c);
    if (p->id_size > KD_PLACE_ID_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    if (p->token >= s->n_tokens || p->id_size == 0 ||
        (held->holding == KD_SEALED_UNDER && p->id_size != KD_TOKEN_ID_SIZE))
        kd_cur_fail(c, KD_INVALID);
    if (c->err == KD_OK)
        kd_cur_copy(c, p->id, p->id_size);
    if (held->n_places == 1 && held->places[0].token == p->token)
        kd_cur_fail(c, KD_INVALID);
    held->n_places++;
}

static void
read_held(struct kd_cur *c, const struct kd_store *s, struct kd_held *held)
{
    enum {
        FLAGS = KD_HELD_MADE_INSIDE | KD_HELD_NEVER_EXTRACTABLE | KD_HELD_IMPORTED |
                KD_HELD_ADOPTED
    };
    uint8_t holding = kd_cur_u8(c);

    held->flags = kd_cur_u8(c);
    size_t n = kd_cur_u8(c);
    if (holding > KD_SEALED_UNDER || (held->flags & ~FLAGS) != 0 ||
        (holding != KD_HELD && held->flags != 0) || (holding == KD_OWN) != (n == 0))
        kd_cur_fail(c, KD_INVALID);
    if (n > KD_PLACES_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    held->holding = (enum kd_holding)holding;
    for (size_t i = 0; i < n && c->err == KD_OK; i++)
        read_place(c, s, held);
}

/* Who may have it: RSA keys and those that seal, tokens alone; under tokens lie keys
 * that sign. */
static kd_err
check_holding(const struct kd_store_key *key)
{
    bool is_soft = kd_alg_row(key->alg)->soft && key->role != KD_KEY_ROLE_SEAL;

    if (key->held.holding == KD_SEALED_UNDER && key->alg != KD_ALG_ED25519)
        return KD_INVALID;
    return is_soft || key->held.holding == KD_HELD ? KD_OK : KD_UNSUPPORTED;
}

static void
read_key(struct kd_cur *c, const struct kd_store *s, struct kd_store_key *key)
{
    unsigned role = kd_cur_u8(c);
    unsigned alg = kd_cur_u8(c);
    unsigned state = kd_cur_u8(c);
    kd_err err;

    key->permissions = kd_cur_u8(c);
    key->created_ms = read_time(c);
    key->domain = kd_cur_take(c, kd_cur_u8(c));
    key->public_key = kd_cur_take(c, kd_cur_u16(c));
    key->held = (struct kd_held){.holding = KD_OWN};
    if (s->n_tokens != 0)
        read_held(c, s, &key->held);
    if (c->err == KD_OK && ((err = check_key(s, role, alg, state, key)) != KD_OK ||
                            (err = check_holding(key)) != KD_OK))
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

size_t
kd_store_sealed_size(const struct kd_store_key *key)
{
    if (!kd_state_row(key->state)->has_secret || key->held.holding == KD_HELD)
        return 0;
    return key->held.holding == KD_OWN ? SOFT_SEALED_SIZE
                                       : key->held.n_places * (size_t)SOFT_UNDER_SEALED;
}

/* Gives the size of the sealed section. */
static size_t
read_keys(struct kd_cur *c, struct kd_store *s)
{
    size_t n = kd_cur_u16(c);
    size_t sealed = 0;

    s->n_keys = 0;
    if (n > KD_STORE_KEYS_MAX)
        kd_cur_fail(c, KD_TOO_LARGE);
    for (size_t i = 0; i < n && c->err == KD_OK; i++) {
        read_key(c, s, &s->keys[i]);
        if (c->err != KD_OK)
            break;
        if (key_repeats(s, i))
            kd_cur_fail(c, KD_INVALID);
        sealed += kd_store_sealed_size(&s->keys[i]);
        s->n_keys++;
    }
    return sealed;
}

/* The version. */
static uint16_t
read_start(struct kd_cur *c, struct kd_store *s)
{
    struct kd_slice start = kd_cur_take(c, sizeof magic);

    if (!kd_slice_eq(start, kd_slice(magic, sizeof magic)))
        kd_cur_fail(c, KD_MALFORMED);
    uint16_t version = kd_cur_u16(c);
    if (version != VERSION_1 && version != VERSION_2)
        kd_cur_fail(c, KD_UNSUPPORTED);
    s->generation = kd_cur_u64(c);
    if (s->generation == 0)
        kd_cur_fail(c, KD_INVALID);
    kd_cur_copy(c, s->instance, sizeof s->instance);
    return version;
}

kd_err
kd_store_parse(struct kd_slice octets, struct kd_store *out)
{
    struct kd_cur c = kd_cur(octets);

    if (octets.n > KD_STORE_MAX)
        return KD_TOO_LARGE;
    uint16_t version = read_start(&c, out);
    read_slots(&c, out);
    size_t policy = kd_cur_u16(&c);
    if (policy > KD_STORE_POLICY_MAX)
        kd_cur_fail(&c, KD_TOO_LARGE);
    out->policy = kd_cur_take(&c, policy);
    out->n_tokens = 0;
    if (version == VERSION_2)
        read_tokens(&c, out);
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
put_text(const char *text, struct kd_buf *out)
{
    kd_buf_u8(out, (uint8_t)strlen(text));
    kd_buf_put(out, kd_slice_str(text));
}

static void
put_token(const struct kd_store_token *t, struct kd_buf *out)
{
    put_text(t->name, out);
    put_text(t->serial, out);
    put_text(t->model, out);
    kd_buf_put(out, kd_slice(t->good, sizeof t->good));
    kd_buf_put(out, kd_slice(t->tried, sizeof t->tried));
}

static void
put_held(const struct kd_held *held, struct kd_buf *out)
{
    kd_buf_u8(out, (uint8_t)held->holding);
    kd_buf_u8(out, held->flags);
    kd_buf_u8(out, held->n_places);
    for (size_t i = 0; i < held->n_places; i++) {
        kd_buf_u8(out, held->places[i].token);
        kd_buf_u8(out, held->places[i].id_size);
        kd_buf_put(out, kd_slice(held->places[i].id, held->places[i].id_size));
    }
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
    kd_buf_u16(out, store->n_tokens == 0 ? VERSION_1 : VERSION_2);
    kd_buf_u64(out, store->generation);
    kd_buf_put(out, kd_slice(store->instance, sizeof store->instance));
    kd_buf_u8(out, (uint8_t)store->n_slots);
    for (size_t i = 0; i < store->n_slots; i++)
        put_slot(&store->slots[i], out);
    kd_buf_u16(out, (uint16_t)store->policy.n);
    kd_buf_put(out, store->policy);
    if (store->n_tokens != 0)
        kd_buf_u8(out, (uint8_t)store->n_tokens);
    for (size_t i = 0; i < store->n_tokens; i++)
        put_token(&store->tokens[i], out);
    kd_buf_u16(out, (uint16_t)store->n_keys);
    for (size_t i = 0; i < store->n_keys; i++) {
        put_key(&store->keys[i], out);
        if (store->n_tokens != 0)
            put_held(&store->keys[i].held, out);
    }
}
