#include <keyd/ticket/ticket.h>

#include <dime/ed25519.h>
#include <dime/identifier.h>
#include <keyd/base/cbor.h>

#include <sodium.h>

enum key {
    K_VERSION = 1,
    K_ADDRESS,
    K_REQUEST,
    K_PURPOSE,
    K_EXPIRES,
    K_KEY,
    K_LAST = K_KEY
};

enum { FORMAT_VERSION = 1 };

static const char tag[] = "keyd account ticket\n";
enum { TAG_SIZE = sizeof tag - 1 };

static bool
is_good(const struct kd_ticket *t)
{
    return dime_identifier_is_address(t->address) &&
           (t->purpose == KD_TICKET_FOR_FIRST || t->purpose == KD_TICKET_FOR_RESET) &&
           t->expires_ms != 0 && t->expires_ms <= INT64_MAX;
}

kd_err
kd_ticket_encode(const struct kd_ticket *t, struct kd_buf *out)
{
    size_t before = out->n;

    if (!is_good(t))
        return KD_INVALID;
    kd_buf_put(out, kd_slice(tag, TAG_SIZE));
    kd_cbor_put_map(out, K_LAST);
    kd_cbor_put_uint(out, K_VERSION);
    kd_cbor_put_uint(out, FORMAT_VERSION);
    kd_cbor_put_uint(out, K_ADDRESS);
    kd_cbor_put_text(out, t->address);
    kd_cbor_put_uint(out, K_REQUEST);
    kd_cbor_put_bytes(out, kd_slice(t->request, sizeof t->request));
    kd_cbor_put_uint(out, K_PURPOSE);
    kd_cbor_put_uint(out, t->purpose);
    kd_cbor_put_uint(out, K_EXPIRES);
    kd_cbor_put_uint(out, t->expires_ms);
    kd_cbor_put_uint(out, K_KEY);
    kd_cbor_put_bytes(out, kd_slice(t->key_id, sizeof t->key_id));
    if (out->err != KD_OK)
        out->n = before;
    return out->err;
}

static kd_err
read_body(struct kd_slice body, struct kd_ticket *out)
{
    struct kd_cur c = kd_cur(body);
    struct kd_ticket t = {0};

    if (!kd_slice_eq(kd_cur_take(&c, TAG_SIZE), kd_slice(tag, TAG_SIZE)) ||
        kd_cbor_map(&c, K_LAST) != K_LAST)
        kd_cur_fail(&c, KD_MALFORMED);
    kd_cbor_expect(&c, K_VERSION);
    kd_cbor_expect(&c, FORMAT_VERSION);
    kd_cbor_expect(&c, K_ADDRESS);
    t.address = kd_cbor_text(&c, KD_TICKET_ADDRESS_MAX);
    kd_cbor_expect(&c, K_REQUEST);
    kd_cbor_copy(&c, t.request, sizeof t.request);
    kd_cbor_expect(&c, K_PURPOSE);
    uint64_t purpose = kd_cbor_uint(&c);
    t.purpose = purpose <= KD_TICKET_FOR_RESET ? (enum kd_ticket_purpose)purpose : 0;
    kd_cbor_expect(&c, K_EXPIRES);
    t.expires_ms = kd_cbor_uint(&c);
    kd_cbor_expect(&c, K_KEY);
    kd_cbor_copy(&c, t.key_id, sizeof t.key_id);
    kd_err err = kd_cur_end(&c);
    if (err == KD_OK && !is_good(&t))
        err = KD_MALFORMED;
    if (err == KD_OK)
        *out = t;
    return err;
}

kd_err
kd_ticket_decode(struct kd_slice octets, struct kd_ticket *out)
{
    if (octets.n <= KD_TICKET_SIG_SIZE || octets.n > KD_TICKET_MAX)
        return KD_MALFORMED;
    return read_body(kd_slice(octets.p, octets.n - KD_TICKET_SIG_SIZE), out);
}

kd_err
kd_ticket_verify(struct kd_slice octets, const uint8_t (*keys)[KD_TICKET_KEY_SIZE],
                 size_t n_keys, struct kd_ticket *out)
{
    uint8_t id[KD_TICKET_KEY_ID_SIZE];
    struct kd_ticket t;
    kd_err err = kd_ticket_decode(octets, &t);

    if (err != KD_OK)
        return err;
    struct kd_slice body = kd_slice(octets.p, octets.n - KD_TICKET_SIG_SIZE);
    for (size_t i = 0; i < n_keys; i++) {
        kd_ticket_key_id(keys[i], id);
        if (memcmp(id, t.key_id, sizeof id) != 0 ||
            dime_ed25519_verify(keys[i], body, octets.p + body.n) != KD_OK)
            continue;
        *out = t;
        return KD_OK;
    }
    return KD_DENIED;
}

void
kd_ticket_key_id(const uint8_t key[KD_TICKET_KEY_SIZE],
                 uint8_t id[KD_TICKET_KEY_ID_SIZE])
{
    uint8_t hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, key, KD_TICKET_KEY_SIZE);
    memcpy(id, hash, KD_TICKET_KEY_ID_SIZE);
}
