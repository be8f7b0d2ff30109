#include <dime/ed25519.h>
#include <keyd/base/cbor.h>
#include <keyd/ledger/audit.h>

enum key { K_VERSION = 1, K_INSTANCE, K_EPOCH, K_SEQ, K_HASH, K_TIME, K_LAST = K_TIME };

enum { FORMAT_VERSION = 1 };

static const char tag[] = "keyd checkpoint\n";
enum { TAG_SIZE = sizeof tag - 1 };

kd_err
kd_checkpoint_encode(const struct kd_checkpoint *cp, struct kd_buf *out)
{
    size_t before = out->n;

    if (cp->seq == 0)
        return KD_INVALID;
    kd_buf_put(out, kd_slice(tag, TAG_SIZE));
    kd_cbor_put_map(out, K_LAST);
    kd_cbor_put_uint(out, K_VERSION);
    kd_cbor_put_uint(out, FORMAT_VERSION);
    kd_cbor_put_uint(out, K_INSTANCE);
    kd_cbor_put_bytes(out, kd_slice(cp->instance, sizeof cp->instance));
    kd_cbor_put_uint(out, K_EPOCH);
    kd_cbor_put_uint(out, cp->epoch);
    kd_cbor_put_uint(out, K_SEQ);
    kd_cbor_put_uint(out, cp->seq);
    kd_cbor_put_uint(out, K_HASH);
    kd_cbor_put_bytes(out, kd_slice(cp->hash, sizeof cp->hash));
    kd_cbor_put_uint(out, K_TIME);
    kd_cbor_put_uint(out, cp->time_ms);
    if (out->err != KD_OK)
        out->n = before;
    return out->err;
}

static kd_err
read_body(struct kd_slice body, struct kd_checkpoint *out)
{
    struct kd_cur c = kd_cur(body);
    struct kd_checkpoint cp = {0};

    if (!kd_slice_eq(kd_cur_take(&c, TAG_SIZE), kd_slice(tag, TAG_SIZE)) ||
        kd_cbor_map(&c, K_LAST) != K_LAST)
        kd_cur_fail(&c, KD_MALFORMED);
    kd_cbor_expect(&c, K_VERSION);
    kd_cbor_expect(&c, FORMAT_VERSION);
    kd_cbor_expect(&c, K_INSTANCE);
    kd_cbor_copy(&c, cp.instance, sizeof cp.instance);
    kd_cbor_expect(&c, K_EPOCH);
    cp.epoch = kd_cbor_uint(&c);
    kd_cbor_expect(&c, K_SEQ);
    cp.seq = kd_cbor_uint(&c);
    kd_cbor_expect(&c, K_HASH);
    kd_cbor_copy(&c, cp.hash, sizeof cp.hash);
    kd_cbor_expect(&c, K_TIME);
    cp.time_ms = kd_cbor_uint(&c);
    if (cp.seq == 0)
        kd_cur_fail(&c, KD_MALFORMED);
    kd_err err = kd_cur_end(&c);
    if (err == KD_OK)
        *out = cp;
    return err;
}

kd_err
kd_checkpoint_decode(struct kd_slice octets, struct kd_checkpoint *out)
{
    if (octets.n <= KD_CHECKPOINT_SIG_SIZE || octets.n > KD_CHECKPOINT_SIGNED_MAX)
        return KD_MALFORMED;
    return read_body(kd_slice(octets.p, octets.n - KD_CHECKPOINT_SIG_SIZE), out);
}

kd_err
kd_checkpoint_verify(struct kd_slice octets, const uint8_t key[32],
                     struct kd_checkpoint *out)
{
    struct kd_checkpoint cp;
    kd_err err = kd_checkpoint_decode(octets, &cp);

    if (err != KD_OK)
        return err;
    size_t n = octets.n - KD_CHECKPOINT_SIG_SIZE;
    if ((err = dime_ed25519_verify(key, kd_slice(octets.p, n), octets.p + n)) != KD_OK)
        return err;
    *out = cp;
    return KD_OK;
}
