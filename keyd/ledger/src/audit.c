#include <keyd/base/cbor.h>
#include <keyd/ledger/audit.h>

#include <assert.h>
#include <sodium.h>

/* The map's keys; what they hold stands in audit.h. */
enum key {
    K_VERSION = 1,
    K_INSTANCE,
    K_EPOCH,
    K_SEQ,
    K_TIME,
    K_PREV,
    K_OP,
    K_PRINCIPAL,
    K_CLASS,
    K_DOMAIN,
    K_KEY,
    K_DIGESTS,
    K_ADDRESS,
    K_GENERATION,
    K_LINK_SEQ,
    K_KEYSTORE_GENERATION,
    K_KEYSTORE_SHA256,
    K_OUTCOME,
    K_NOTES,
    K_ABOUT = 20,
    K_DETAIL = 21,
    K_APPROVAL = 22,
    K_LAST = K_APPROVAL,
};

enum {
    FORMAT_VERSION = 1,
    NAME_MAX_SIZE = 32, /* of an operation or class */
};

enum shape { LINK = 1, ADDRESS = 2, SIGNS = 4, KEYSTORE = 8, ABOUT = 16, DETAIL = 32 };

static const struct op {
    const char *text;
    unsigned shape;
} ops[KD_AUDIT_OP_COUNT] = {
    [KD_AUDIT_NO_OP] = {"", 0},
#define KD_AUDIT_OP(code, text, shape) [code] = {text, shape},
#include <keyd/ledger/audit_ops.def>
#undef KD_AUDIT_OP
};

static const char *const classes[KD_AUDIT_CLASS_COUNT] = {
    [KD_AUDIT_CLASS_NONE] = "",         [KD_AUDIT_CLASS_SELF] = "self",
    [KD_AUDIT_CLASS_MTA] = "mta",       [KD_AUDIT_CLASS_SUBMISSION] = "submission",
    [KD_AUDIT_CLASS_MILTER] = "milter", [KD_AUDIT_CLASS_TLS] = "tls",
    [KD_AUDIT_CLASS_ADMIN] = "admin",   [KD_AUDIT_CLASS_CEREMONY] = "ceremony",
};

static const char *const outcomes[KD_OUTCOME_COUNT] = {
    [KD_OUTCOME_DONE] = "done",
    [KD_OUTCOME_FAILED] = "failed",
    [KD_OUTCOME_INVALID] = "invalid",
    [KD_OUTCOME_ABANDONED] = "abandoned",
};

static const struct note {
    unsigned bit;
    const char *text;
} notes[] = {
#define KD_AUDIT_NOTE(code, bit, text) {bit, text},
#include <keyd/ledger/audit_notes.def>
#undef KD_AUDIT_NOTE
};

static const uint32_t all_notes = 0
#define KD_AUDIT_NOTE(code, bit, text) | (uint32_t)code
#include <keyd/ledger/audit_notes.def>
#undef KD_AUDIT_NOTE
    ;

const char *
kd_audit_op_text(enum kd_audit_op op)
{
    return (unsigned)op < KD_AUDIT_OP_COUNT ? ops[op].text : "";
}

const char *
kd_audit_class_text(enum kd_audit_class cls)
{
    return (unsigned)cls < KD_AUDIT_CLASS_COUNT ? classes[cls] : "";
}

const char *
kd_audit_outcome_text(enum kd_audit_outcome outcome)
{
    return (unsigned)outcome < KD_OUTCOME_COUNT ? outcomes[outcome] : "";
}

const char *
kd_audit_note_text(unsigned bit)
{
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (notes[i].bit == bit)
            return notes[i].text;
    }
    return NULL;
}

bool
kd_audit_op_has_link(enum kd_audit_op op)
{
    return (unsigned)op < KD_AUDIT_OP_COUNT && (ops[op].shape & LINK) != 0;
}

/* --- what a record may hold, written or read --- */

static bool
is_lower_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* No space, so that columns stay columns; no '@', so that no address slips in. */
static bool
word_is_good(struct kd_slice s, size_t max)
{
    if (s.n == 0 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] > 0x7e || s.p[i] == '@')
            return false;
    }
    return true;
}

static bool
domain_is_good(struct kd_slice s)
{
    if (s.n > KD_AUDIT_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_lower_or_digit(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' &&
            s.p[i] != '_')
            return false;
    }
    return true;
}

/* D-052, as far as a log cares: printable, lower case, a '@' inside. */
static bool
address_is_good(struct kd_slice s)
{
    const uint8_t *at = s.n == 0 ? NULL : memchr(s.p, '@', s.n);

    if (at == NULL || at == s.p || at == s.p + s.n - 1 || s.n > KD_AUDIT_ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] > 0x7e || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return false;
    }
    return true;
}

static bool
shape_is_good(const struct kd_audit_record *r)
{
    unsigned shape = ops[r->op].shape;
    bool has_link = r->generation != 0 || r->link_seq != 0;

    if ((shape & (LINK | ADDRESS)) != 0 ? !address_is_good(r->address)
                                        : r->address.n != 0)
        return false;
    if ((shape & LINK) != 0 ? r->generation == 0 || r->link_seq == 0 : has_link)
        return false;
    if ((shape & KEYSTORE) == 0 && r->keystore_generation != 0)
        return false;
    if ((shape & ABOUT) == 0 && r->about_seq != 0)
        return false;
    if ((shape & DETAIL) != 0 ? !word_is_good(r->detail, KD_AUDIT_DETAIL_MAX)
                              : r->detail.n != 0)
        return false;
    if ((shape & SIGNS) != 0 && r->outcome == KD_OUTCOME_DONE && r->n_digests == 0)
        return false;
    if (r->has_approval != ((r->notes & KD_NOTE_QUORUM) != 0))
        return false;
    return r->n_digests <= KD_AUDIT_DIGESTS_MAX;
}

static bool
record_is_good(const struct kd_audit_record *r)
{
    return r->epoch <= INT64_MAX && r->seq != 0 && r->seq <= INT64_MAX &&
           r->time_ms <= INT64_MAX && r->keystore_generation <= INT64_MAX &&
           r->about_seq <= INT64_MAX && r->op > KD_AUDIT_NO_OP &&
           (unsigned)r->op < KD_AUDIT_OP_COUNT && r->class > KD_AUDIT_CLASS_NONE &&
           (unsigned)r->class < KD_AUDIT_CLASS_COUNT &&
           (unsigned)r->outcome < KD_OUTCOME_COUNT && (r->notes & ~all_notes) == 0 &&
           word_is_good(r->principal, KD_AUDIT_PRINCIPAL_MAX) &&
           domain_is_good(r->domain) && shape_is_good(r);
}

/* --- writing --- */

/* Which keys stand in the map of a good record. */
static bool
is_present(const struct kd_audit_record *r, enum key key)
{
    switch (key) {
    case K_DOMAIN:
        return r->domain.n != 0;
    case K_KEY:
        return r->has_key;
    case K_DIGESTS:
        return r->n_digests != 0;
    case K_ADDRESS:
        return r->address.n != 0;
    case K_GENERATION:
    case K_LINK_SEQ:
        return r->generation != 0;
    case K_KEYSTORE_GENERATION:
    case K_KEYSTORE_SHA256:
        return r->keystore_generation != 0;
    case K_NOTES:
        return r->notes != 0;
    case K_APPROVAL:
        return r->has_approval;
    case K_ABOUT:
        return r->about_seq != 0;
    case K_DETAIL:
        return r->detail.n != 0;
    case K_VERSION:
    case K_INSTANCE:
    case K_EPOCH:
    case K_SEQ:
    case K_TIME:
    case K_PREV:
    case K_OP:
    case K_PRINCIPAL:
    case K_CLASS:
    case K_OUTCOME:
        return true;
    }
    return false;
}

/* What a record has where there is one. */
static void
put_optional(struct kd_buf *b, const struct kd_audit_record *r, enum key key)
{
    switch ((unsigned)key) {
    case K_DOMAIN:
        kd_cbor_put_text(b, r->domain);
        break;
    case K_KEY:
        kd_cbor_put_bytes(b, kd_slice(r->key_id, sizeof r->key_id));
        break;
    case K_DIGESTS:
        kd_cbor_put_array(b, r->n_digests);
        for (size_t i = 0; i < r->n_digests; i++)
            kd_cbor_put_bytes(b, kd_slice(r->digests[i], KD_SHA256_SIZE));
        break;
    case K_ADDRESS:
        kd_cbor_put_text(b, r->address);
        break;
    case K_GENERATION:
        kd_cbor_put_uint(b, r->generation);
        break;
    case K_LINK_SEQ:
        kd_cbor_put_uint(b, r->link_seq);
        break;
    case K_KEYSTORE_GENERATION:
        kd_cbor_put_uint(b, r->keystore_generation);
        break;
    case K_KEYSTORE_SHA256:
        kd_cbor_put_bytes(b, kd_slice(r->keystore_sha256, KD_SHA256_SIZE));
        break;
    case K_NOTES:
        kd_cbor_put_uint(b, r->notes);
        break;
    case K_APPROVAL:
        kd_cbor_put_bytes(b, kd_slice(r->approval, sizeof r->approval));
        break;
    case K_ABOUT:
        kd_cbor_put_uint(b, r->about_seq);
        break;
    case K_DETAIL:
        kd_cbor_put_text(b, r->detail);
        break;
    default:
        assert(false); /* the others are in every record */
    }
}

static void
put_value(struct kd_buf *b, const struct kd_audit_record *r, enum key key)
{
    switch ((unsigned)key) {
    case K_VERSION:
        kd_cbor_put_uint(b, FORMAT_VERSION);
        break;
    case K_INSTANCE:
        kd_cbor_put_bytes(b, kd_slice(r->instance, sizeof r->instance));
        break;
    case K_EPOCH:
        kd_cbor_put_uint(b, r->epoch);
        break;
    case K_SEQ:
        kd_cbor_put_uint(b, r->seq);
        break;
    case K_TIME:
        kd_cbor_put_uint(b, r->time_ms);
        break;
    case K_PREV:
        kd_cbor_put_bytes(b, kd_slice(r->prev, sizeof r->prev));
        break;
    case K_OP:
        kd_cbor_put_text(b, kd_slice_str(ops[r->op].text));
        break;
    case K_PRINCIPAL:
        kd_cbor_put_text(b, r->principal);
        break;
    case K_CLASS:
        kd_cbor_put_text(b, kd_slice_str(classes[r->class]));
        break;
    case K_OUTCOME:
        kd_cbor_put_uint(b, r->outcome);
        break;
    default:
        put_optional(b, r, key);
    }
}

kd_err
kd_audit_encode(const struct kd_audit_record *r, struct kd_buf *out)
{
    size_t before = out->n;
    size_t n = 0;

    if (!record_is_good(r))
        return KD_INVALID;
    for (enum key key = K_VERSION; key <= K_LAST; key++)
        n += is_present(r, key);
    kd_cbor_put_map(out, n);
    for (enum key key = K_VERSION; key <= K_LAST; key++) {
        if (!is_present(r, key))
            continue;
        kd_cbor_put_uint(out, key);
        put_value(out, r, key);
    }
    kd_err err = out->err;
    if (err == KD_OK && out->n - before > KD_AUDIT_RECORD_MAX)
        err = KD_TOO_LARGE;
    if (err != KD_OK)
        out->n = before;
    return err;
}

/* --- reading --- */

static enum kd_audit_op
read_op(struct kd_cur *c)
{
    struct kd_slice text = kd_cbor_text(c, NAME_MAX_SIZE);

    for (unsigned op = KD_AUDIT_NO_OP + 1; op < KD_AUDIT_OP_COUNT; op++) {
        if (kd_slice_eq(text, kd_slice_str(ops[op].text)))
            return (enum kd_audit_op)op;
    }
    kd_cur_fail(c, KD_MALFORMED);
    return KD_AUDIT_NO_OP;
}

static enum kd_audit_class
read_class(struct kd_cur *c)
{
    struct kd_slice text = kd_cbor_text(c, NAME_MAX_SIZE);

    for (unsigned cls = KD_AUDIT_CLASS_NONE + 1; cls < KD_AUDIT_CLASS_COUNT; cls++) {
        if (kd_slice_eq(text, kd_slice_str(classes[cls])))
            return (enum kd_audit_class)cls;
    }
    kd_cur_fail(c, KD_MALFORMED);
    return KD_AUDIT_CLASS_NONE;
}

/* A number that is left out when it is zero. */
static uint64_t
read_number(struct kd_cur *c, uint64_t least, uint64_t most)
{
    uint64_t v = kd_cbor_uint(c);

    if (v < least || v > most)
        kd_cur_fail(c, KD_MALFORMED);
    return v;
}

static void
read_digests(struct kd_cur *c, struct kd_audit_record *r)
{
    r->n_digests = kd_cbor_array(c, KD_AUDIT_DIGESTS_MAX);
    if (r->n_digests == 0)
        kd_cur_fail(c, KD_MALFORMED);
    for (size_t i = 0; i < r->n_digests; i++)
        kd_cbor_copy(c, r->digests[i], KD_SHA256_SIZE);
}

/* What a record has where there is one. */
static void
read_optional(struct kd_cur *c, struct kd_audit_record *r, uint64_t key)
{
    switch (key) {
    case K_DOMAIN:
        r->domain = kd_cbor_text(c, KD_AUDIT_DOMAIN_MAX);
        if (r->domain.n == 0)
            kd_cur_fail(c, KD_MALFORMED);
        break;
    case K_KEY:
        kd_cbor_copy(c, r->key_id, sizeof r->key_id);
        r->has_key = true;
        break;
    case K_DIGESTS:
        read_digests(c, r);
        break;
    case K_ADDRESS:
        r->address = kd_cbor_text(c, KD_AUDIT_ADDRESS_MAX);
        if (r->address.n == 0)
            kd_cur_fail(c, KD_MALFORMED);
        break;
    case K_GENERATION:
        r->generation = (uint32_t)read_number(c, 1, UINT32_MAX);
        break;
    case K_LINK_SEQ:
        r->link_seq = (uint32_t)read_number(c, 1, UINT32_MAX);
        break;
    case K_KEYSTORE_GENERATION:
        r->keystore_generation = read_number(c, 1, INT64_MAX);
        break;
    case K_KEYSTORE_SHA256:
        kd_cbor_copy(c, r->keystore_sha256, sizeof r->keystore_sha256);
        break;
    case K_NOTES:
        r->notes = (uint32_t)read_number(c, 1, UINT32_MAX);
        break;
    case K_APPROVAL:
        kd_cbor_copy(c, r->approval, sizeof r->approval);
        r->has_approval = true;
        break;
    case K_ABOUT:
        r->about_seq = read_number(c, 1, INT64_MAX);
        break;
    case K_DETAIL:
        r->detail = kd_cbor_text(c, KD_AUDIT_DETAIL_MAX);
        if (r->detail.n == 0)
            kd_cur_fail(c, KD_MALFORMED);
        break;
    default:
        kd_cur_fail(c, KD_MALFORMED);
    }
}

static void
read_value(struct kd_cur *c, struct kd_audit_record *r, uint64_t key)
{
    switch (key) {
    case K_VERSION:
        read_number(c, FORMAT_VERSION, FORMAT_VERSION);
        break;
    case K_INSTANCE:
        kd_cbor_copy(c, r->instance, sizeof r->instance);
        break;
    case K_EPOCH:
        r->epoch = kd_cbor_uint(c);
        break;
    case K_SEQ:
        r->seq = kd_cbor_uint(c);
        break;
    case K_TIME:
        r->time_ms = kd_cbor_uint(c);
        break;
    case K_PREV:
        kd_cbor_copy(c, r->prev, sizeof r->prev);
        break;
    case K_OP:
        r->op = read_op(c);
        break;
    case K_PRINCIPAL:
        r->principal = kd_cbor_text(c, KD_AUDIT_PRINCIPAL_MAX);
        break;
    case K_CLASS:
        r->class = read_class(c);
        break;
    case K_OUTCOME:
        r->outcome = (enum kd_audit_outcome)read_number(c, 0, KD_OUTCOME_COUNT - 1);
        break;
    default:
        read_optional(c, r, key);
    }
}

kd_err
kd_audit_decode(struct kd_slice octets, struct kd_audit_record *out)
{
    struct kd_cur c = kd_cur(octets);
    struct kd_audit_record r = {0};
    uint32_t seen = 0;
    uint64_t last = 0;

    if (octets.n > KD_AUDIT_RECORD_MAX)
        return KD_MALFORMED;
    size_t n = kd_cbor_map(&c, K_LAST);
    for (size_t i = 0; i < n && c.err == KD_OK; i++) {
        uint64_t key = kd_cbor_uint(&c);
        if (key <= last || key > K_LAST) {
            kd_cur_fail(&c, KD_MALFORMED);
            break;
        }
        last = key;
        seen |= UINT32_C(1) << key;
        read_value(&c, &r, key);
    }
    if (kd_cur_end(&c) != KD_OK || !record_is_good(&r))
        return KD_MALFORMED;
    /* What is left out and what its value says must agree, or a record would have
     * two encodings. */
    for (enum key key = K_VERSION; key <= K_LAST; key++) {
        if (((seen >> key & 1) != 0) != is_present(&r, key))
            return KD_MALFORMED;
    }
    *out = r;
    return KD_OK;
}

void
kd_audit_hash(struct kd_slice octets, uint8_t hash[KD_SHA256_SIZE])
{
    static const uint8_t leaf = 0;
    crypto_hash_sha256_state st;

    /* None of the three can fail. */
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, &leaf, sizeof leaf);
    crypto_hash_sha256_update(&st, octets.p, octets.n);
    crypto_hash_sha256_final(&st, hash);
}

void
kd_segment_add(uint8_t hash[KD_SHA256_SIZE], struct kd_slice record)
{
    static const uint8_t link = 2; /* neither a leaf (0) nor a node (1) of RFC 6962 */
    crypto_hash_sha256_state st;

    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, &link, sizeof link);
    crypto_hash_sha256_update(&st, hash, KD_SHA256_SIZE);
    crypto_hash_sha256_update(&st, record.p, record.n);
    crypto_hash_sha256_final(&st, hash);
}
