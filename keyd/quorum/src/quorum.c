#include <keyd/quorum/quorum.h>

#include <dime/keys.h>
#include <keyd/base/cur.h>
#include <keyd/conf/policy.h>
#include <keyd/ops/ops.h>

#include <sodium.h>
#include <stdlib.h>

_Static_assert((int)KD_OPERATOR_NAME_MAX == (int)KD_POLICY_NAME_MAX,
               "operators are principals");

enum { VERSION = 1 };

uint64_t
kd_quorum_markable(void)
{
    return UINT64_C(0)
#define KD_OP(number, name, classes, flags)                                            \
    | (((flags)&KD_OPF_QUORUM) != 0 ? UINT64_C(1) << (number) : 0)
#include <keyd/ops/ops.def>
#undef KD_OP
        ;
}

uint64_t
kd_quorum_always(void)
{
    return UINT64_C(1) << KD_OP_SetQuorum;
}

bool
kd_quorum_marks(const struct kd_quorum *q, unsigned op)
{
    return q->n != 0 && op <= KD_OP_MAX && (q->marks >> op & 1) != 0;
}

/* Octet order; a name before those it is the start of. */
static int
compare_names(struct kd_slice a, struct kd_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int
compare_operators(const void *a, const void *b)
{
    return compare_names(kd_operator_name(a), kd_operator_name(b));
}

void
kd_quorum_arrange(struct kd_quorum *q)
{
    if (q->n == 0)
        return;
    qsort(q->operators, q->n, sizeof q->operators[0], compare_operators);
    q->marks |= kd_quorum_always();
}

/* Sixteen keys: each with each is little. */
static bool
is_repeated(const struct kd_quorum *q, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (memcmp(q->operators[i].key, q->operators[at].key, KD_OPERATOR_KEY_SIZE) ==
            0)
            return true;
    return false;
}

static bool
operator_is_good(const struct kd_quorum *q, size_t at)
{
    const struct kd_operator *o = &q->operators[at];

    return o->name_size <= KD_OPERATOR_NAME_MAX &&
           kd_principal_name_is_valid(kd_operator_name(o)) &&
           (at == 0 || compare_operators(&q->operators[at - 1], o) < 0) &&
           !is_repeated(q, at) && dime_ed25519_key_valid(o->key);
}

kd_err
kd_quorum_check(const struct kd_quorum *q)
{
    if (q->n == 0)
        return q->k == 0 && q->marks == 0 ? KD_OK : KD_INVALID;
    if (q->n < KD_OPERATORS_MIN || q->n > KD_OPERATORS_MAX || q->k < KD_QUORUM_MIN ||
        q->k >= q->n || (q->marks & ~kd_quorum_markable()) != 0 ||
        (q->marks & kd_quorum_always()) != kd_quorum_always())
        return KD_INVALID;
    for (size_t i = 0; i < q->n; i++)
        if (!operator_is_good(q, i))
            return KD_INVALID;
    return KD_OK;
}

void
kd_quorum_put(const struct kd_quorum *q, struct kd_buf *out)
{
    if (q->n == 0)
        return;
    kd_buf_u8(out, VERSION);
    kd_buf_u8(out, (uint8_t)q->k);
    kd_buf_u64(out, q->marks);
    kd_buf_u8(out, (uint8_t)q->n);
    for (size_t i = 0; i < q->n && i < KD_OPERATORS_MAX; i++) {
        const struct kd_operator *o = &q->operators[i];
        kd_buf_u8(out, (uint8_t)o->name_size);
        kd_buf_put(out, kd_operator_name(o));
        kd_buf_put(out, kd_slice(o->key, sizeof o->key));
    }
}

static void
read_operator(struct kd_cur *c, struct kd_operator *o)
{
    o->name_size = kd_cur_u8(c);
    if (o->name_size > KD_OPERATOR_NAME_MAX) {
        kd_cur_fail(c, KD_MALFORMED);
        return;
    }
    kd_cur_copy(c, o->name, o->name_size);
    kd_cur_copy(c, o->key, sizeof o->key);
}

kd_err
kd_quorum_decode(struct kd_slice octets, struct kd_quorum *out)
{
    struct kd_cur c = kd_cur(octets);
    struct kd_quorum q = {0};
    kd_err err;

    if (octets.n == 0) {
        *out = q;
        return KD_OK;
    }
    if (kd_cur_u8(&c) != VERSION)
        return KD_UNSUPPORTED;
    q.k = kd_cur_u8(&c);
    q.marks = kd_cur_u64(&c);
    q.n = kd_cur_u8(&c);
    if (q.n == 0 || q.n > KD_OPERATORS_MAX)
        return KD_MALFORMED;
    for (size_t i = 0; i < q.n; i++)
        read_operator(&c, &q.operators[i]);
    if ((err = kd_cur_end(&c)) != KD_OK || (err = kd_quorum_check(&q)) != KD_OK)
        return err;
    *out = q;
    return KD_OK;
}

void
kd_quorum_digest(const struct kd_quorum *q, uint8_t out[KD_QUORUM_DIGEST_SIZE])
{
    struct kd_buf b;

    kd_buf_init(&b, KD_QUORUM_AREA_MAX);
    kd_quorum_put(q, &b);
    crypto_hash_sha256(out, b.p, b.n);
    kd_buf_free(&b);
}

kd_err
kd_operator_find(const struct kd_quorum *q, struct kd_slice name, size_t *at)
{
    for (size_t i = 0; i < q->n; i++) {
        if (kd_slice_eq(kd_operator_name(&q->operators[i]), name)) {
            *at = i;
            return KD_OK;
        }
    }
    return KD_NOT_FOUND;
}

bool
kd_quorum_has_key(const struct kd_quorum *q, const uint8_t key[KD_OPERATOR_KEY_SIZE])
{
    for (size_t i = 0; i < q->n; i++)
        if (memcmp(q->operators[i].key, key, KD_OPERATOR_KEY_SIZE) == 0)
            return true;
    return false;
}
