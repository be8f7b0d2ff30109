/* audit: the record's encoding is the only one, the chain, checkpoints. */
#include "../support/registry.h"

#include <keyd/base/cbor.h>
#include <keyd/ledger/audit.h>

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static struct kd_audit_record
issuance(void)
{
    struct kd_audit_record r = {
        .epoch = 3,
        .seq = 300,
        .time_ms = 1700000000123,
        .op = KD_AUDIT_ISSUE_USER,
        .class = KD_AUDIT_CLASS_SUBMISSION,
        .notes = KD_NOTE_TICKET | KD_NOTE_RESUMED,
        .principal = kd_slice_str("uid:1001"),
        .domain = kd_slice_str("example.com"),
        .has_key = true,
        .n_digests = 3,
        .address = kd_slice_str("alice@example.com"),
        .generation = 1,
        .link_seq = 24,
    };

    memset(r.instance, 0x11, sizeof r.instance);
    memset(r.prev, 0x22, sizeof r.prev);
    memset(r.key_id, 0x33, sizeof r.key_id);
    memset(r.digests, 0x44, sizeof r.digests);
    return r;
}

static struct kd_buf
encoded(const struct kd_audit_record *r)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_AUDIT_RECORD_MAX);
    assert_int_equal(kd_audit_encode(r, &b), KD_OK);
    return b;
}

static void
record_reads_back_as_written(void **state)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b = encoded(&r);

    (void)state;
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_OK);
    assert_int_equal(back.epoch, r.epoch);
    assert_int_equal(back.seq, r.seq);
    assert_int_equal(back.time_ms, r.time_ms);
    assert_int_equal(back.op, r.op);
    assert_int_equal(back.class, r.class);
    assert_int_equal(back.outcome, r.outcome);
    assert_int_equal(back.notes, r.notes);
    assert_memory_equal(back.instance, r.instance, sizeof r.instance);
    assert_memory_equal(back.prev, r.prev, sizeof r.prev);
    assert_memory_equal(back.key_id, r.key_id, sizeof r.key_id);
    assert_int_equal(back.n_digests, 3);
    assert_memory_equal(back.digests, r.digests, sizeof r.digests);
    assert_true(kd_slice_eq(back.principal, r.principal));
    assert_true(kd_slice_eq(back.domain, r.domain));
    assert_true(kd_slice_eq(back.address, r.address));
    assert_int_equal(back.generation, 1);
    assert_int_equal(back.link_seq, 24);
    kd_buf_free(&b);
}

static void
detail_goes_with_the_operations_that_have_one(void **state)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_AUDIT_RECORD_MAX);
    r.detail = kd_slice_str("theft"); /* not of an issuance */
    assert_int_equal(kd_audit_encode(&r, &b), KD_INVALID);
    r.generation = r.link_seq = 0;
    r.op = KD_AUDIT_FREEZE_ADDRESS;
    assert_int_equal(kd_audit_encode(&r, &b), KD_OK);
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_OK);
    assert_true(kd_slice_eq(back.detail, r.detail));
    kd_buf_reset(&b);
    static const char *const bad[] = {"", "a b", "a@b", "\x7f",
                                      ("12345678901234567890123456789012345678901234567"
                                       "890123456789012345")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r.detail = kd_slice_str(bad[i]);
        assert_int_equal(kd_audit_encode(&r, &b), KD_INVALID);
    }
    r.op = KD_AUDIT_STOP_PRINCIPAL; /* about no address */
    r.detail = kd_slice_str("submission:submitd");
    assert_int_equal(kd_audit_encode(&r, &b), KD_INVALID);
    r.address = kd_slice(NULL, 0);
    assert_int_equal(kd_audit_encode(&r, &b), KD_OK);
    kd_buf_free(&b);
}

/* Written out by hand from RFC 8949, so that encoder and decoder cannot be wrong
 * together. */
static void
record_has_the_documented_octets(void **state)
{
    static const char hex[] =
        "ab"                                   /* map of 11 */
        "0101"                                 /* version 1 */
        "025000000000000000000000000000000000" /* instance */
        "0302"                                 /* epoch 2 */
        "041818"                               /* seq 24 */
        "051b0000018bcfe56800"                 /* time 1700000000000 */
        "06582000000000000000000000000000000000000000000000000000000000"
        "00000000"         /* prev */
        "0766756e7365616c" /* op "unseal" */
        "08657569643a30"   /* principal "uid:0" */
        "096561646d696e"   /* class "admin" */
        "1200"             /* outcome done */
        "1308";            /* notes: single-operator */
    struct kd_audit_record r = {
        .epoch = 2,
        .seq = 24,
        .time_ms = 1700000000000,
        .op = KD_AUDIT_UNSEAL,
        .class = KD_AUDIT_CLASS_ADMIN,
        .notes = KD_NOTE_SINGLE_OPERATOR,
        .principal = kd_slice_str("uid:0"),
    };
    struct kd_buf b = encoded(&r);
    uint8_t want[200];
    size_t n;

    (void)state;
    assert_int_equal(
        sodium_hex2bin(want, sizeof want, hex, strlen(hex), NULL, &n, NULL), 0);
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, want, n);
    kd_buf_free(&b);
}

static void
leaf_hash_is_that_of_rfc_6962(void **state)
{
    /* The leaf hash of the empty string, from Certificate Transparency's tests. */
    static const uint8_t want[32] = {
        0x6e, 0x34, 0x0b, 0x9c, 0xff, 0xb3, 0x7a, 0x98, 0x9c, 0xa5, 0x44,
        0xe6, 0xbb, 0x78, 0x0a, 0x2c, 0x78, 0x90, 0x1d, 0x3f, 0xb3, 0x37,
        0x38, 0x76, 0x85, 0x11, 0xa3, 0x06, 0x17, 0xaf, 0xa0, 0x1d,
    };
    uint8_t got[32];

    (void)state;
    kd_audit_hash(kd_slice(NULL, 0), got);
    assert_memory_equal(got, want, sizeof want);
}

static void
largest_record_fits(void **state)
{
    char principal[KD_AUDIT_PRINCIPAL_MAX], domain[KD_AUDIT_DOMAIN_MAX];
    char address[KD_AUDIT_ADDRESS_MAX];
    struct kd_audit_record r = issuance(), back;

    (void)state;
    memset(principal, 'p', sizeof principal);
    memset(domain, 'd', sizeof domain);
    memset(address, 'a', sizeof address);
    address[60] = '@';
    r.principal = kd_slice(principal, sizeof principal);
    r.domain = kd_slice(domain, sizeof domain);
    r.address = kd_slice(address, sizeof address);
    r.op = KD_AUDIT_REISSUE_USER;
    r.epoch = r.seq = r.time_ms = INT64_MAX;
    r.generation = r.link_seq = UINT32_MAX;
    struct kd_buf b = encoded(&r);
    assert_in_range(b.n, 900, KD_AUDIT_RECORD_MAX);
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_OK);
    kd_buf_free(&b);
}

/* Each breaks one rule of a good record. */
static void
break_it(struct kd_audit_record *r, unsigned which)
{
    switch (which) {
    case 0:
        r->seq = 0;
        break;
    case 1:
        r->op = KD_AUDIT_NO_OP;
        break;
    case 2:
        r->op = KD_AUDIT_OP_COUNT;
        break;
    case 3:
        r->class = KD_AUDIT_CLASS_NONE;
        break;
    case 4:
        r->outcome = KD_OUTCOME_COUNT;
        break;
    case 5:
        r->notes = 1U << 31;
        break;
    case 6:
        r->principal = kd_slice(NULL, 0);
        break;
    case 7:
        r->principal = kd_slice_str("bob@example.com");
        break;
    case 8:
        r->principal = kd_slice_str("uid 1");
        break;
    case 9:
        r->domain = kd_slice_str("Example.com");
        break;
    case 10:
        r->address = kd_slice_str("Alice@example.com");
        break;
    case 11:
        r->address = kd_slice_str("alice");
        break;
    case 12:
        r->address = kd_slice(NULL, 0);
        break;
    case 13:
        r->generation = 0;
        break;
    case 14:
        r->link_seq = 0;
        break;
    case 15: /* an address where none belongs */
        r->op = KD_AUDIT_SIGN_OUTBOUND;
        break;
    case 16: /* signed, but what? */
        r->n_digests = 0;
        break;
    case 17:
        r->n_digests = KD_AUDIT_DIGESTS_MAX + 1;
        break;
    case 18: /* no operation on keys */
        r->keystore_generation = 1;
        break;
    case 19:
        r->epoch = (uint64_t)INT64_MAX + 1;
        break;
    case 20:
        r->principal = kd_slice_str("\x01");
        break;
    case 21: /* by a quorum that approved what? */
        r->notes |= KD_NOTE_QUORUM;
        break;
    case 22: /* approved, but not by a quorum */
        r->notes &= ~(uint32_t)KD_NOTE_QUORUM;
        r->has_approval = true;
        break;
    case 23: /* an approval of nothing */
        *r = (struct kd_audit_record){.op = KD_AUDIT_APPROVE,
                                      .class = r->class,
                                      .principal = kd_slice_str("op:ben"),
                                      .epoch = 1,
                                      .seq = 1};
        break;
    default:
        break;
    }
}

static void
record_that_breaks_a_rule_is_not_written(void **state)
{
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_AUDIT_RECORD_MAX);
    for (unsigned i = 0; i <= 23; i++) {
        struct kd_audit_record r = issuance();
        break_it(&r, i);
        assert_int_equal(kd_audit_encode(&r, &b), KD_INVALID);
        assert_int_equal(b.n, 0);
    }
    kd_buf_free(&b);
}

/* The digest that joins it with the approvals stands behind all else. */
static void
record_of_what_was_approved_reads_back_with_the_texts_digest(void **state)
{
    struct kd_audit_record r = issuance(), got;
    struct kd_buf b;

    (void)state;
    r.notes |= KD_NOTE_QUORUM;
    r.has_approval = true;
    memset(r.approval, 0x5a, sizeof r.approval);
    kd_buf_init(&b, KD_AUDIT_RECORD_MAX);
    assert_int_equal(kd_audit_encode(&r, &b), KD_OK);
    static const uint8_t key[] = {22, 0x58, 32, 0x5a};
    assert_memory_equal(b.p + b.n - 35, key, sizeof key);
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &got), KD_OK);
    assert_true(got.has_approval);
    assert_memory_equal(got.approval, r.approval, sizeof r.approval);
    b.p[b.n - 35] = 21; /* a key that means nothing here */
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    kd_buf_free(&b);
}

static void
short_buffer_is_an_error_and_leaves_nothing(void **state)
{
    struct kd_audit_record r = issuance();
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 64);
    assert_int_equal(kd_audit_encode(&r, &b), KD_TOO_LARGE);
    assert_int_equal(b.n, 0);
    kd_buf_free(&b);
}

static void
every_cut_and_every_addition_is_refused(void **state)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b = encoded(&r);

    (void)state;
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(kd_audit_decode(kd_slice(b.p, n), &back), KD_MALFORMED);
    kd_buf_u8(&b, 0);
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_MALFORMED);
    kd_buf_free(&b);
}

/* A flipped bit gives another record or none, never the same one in other octets. */
static void
every_flipped_bit_changes_or_breaks_the_record(void **state)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b = encoded(&r), again;
    unsigned n_good = 0;

    (void)state;
    kd_buf_init(&again, KD_AUDIT_RECORD_MAX);
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (kd_audit_decode(kd_buf_slice(&b), &back) == KD_OK) {
            kd_buf_reset(&again);
            assert_int_equal(kd_audit_encode(&back, &again), KD_OK);
            assert_true(kd_slice_eq(kd_buf_slice(&again), kd_buf_slice(&b)));
            n_good++;
        }
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(n_good > 500); /* hashes, numbers, letters */
    kd_buf_free(&again);
    kd_buf_free(&b);
}

/* Replaces octets at one place. */
static void
refuse_edit(size_t at, size_t old_n, const char *new_octets, size_t new_n)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b = encoded(&r), e;

    kd_buf_init(&e, 2048);
    kd_buf_put(&e, kd_slice(b.p, at));
    kd_buf_put(&e, kd_slice(new_octets, new_n));
    kd_buf_put(&e, kd_slice(b.p + at + old_n, b.n - at - old_n));
    assert_int_equal(kd_audit_decode(kd_buf_slice(&e), &back), KD_MALFORMED);
    kd_buf_free(&e);
    kd_buf_free(&b);
}

static void
encodings_that_are_not_canonical_are_refused(void **state)
{
    (void)state;
    refuse_edit(0, 1, "\xb8\x11", 2);     /* map head one octet too long */
    refuse_edit(0, 1, "\xbf", 1);         /* indefinite map */
    refuse_edit(0, 1, "\xb0", 1);         /* a pair less */
    refuse_edit(0, 1, "\xb2", 1);         /* a pair more */
    refuse_edit(0, 1, "\x92", 1);         /* an array */
    refuse_edit(1, 1, "\x18\x01", 2);     /* key 1 in two octets */
    refuse_edit(2, 1, "\x18\x01", 2);     /* value 1 in two octets */
    refuse_edit(2, 1, "\x02", 1);         /* another version */
    refuse_edit(2, 1, "\xf5", 1);         /* true */
    refuse_edit(2, 1, "\xc1\x01", 2);     /* tagged */
    refuse_edit(2, 1, "\x20", 1);         /* negative */
    refuse_edit(2, 1, "\xf9\x3c\x00", 3); /* 1.0 */
    refuse_edit(3, 1, "\x03", 1);         /* key 3 where 2 belongs */
    refuse_edit(3, 0, "\x01\x01", 2);     /* key 1 again */
    refuse_edit(4, 1, "\x70", 1);         /* instance as text */
    refuse_edit(4, 1, "\x5f", 1);         /* indefinite octets */
    refuse_edit(4, 1, "\x58\x10", 2);     /* long head of octets */
    refuse_edit(4, 1, "\x51", 1);         /* 17 octets */
}

static void
unknown_keys_and_texts_are_refused(void **state)
{
    struct kd_audit_record r = issuance(), back;
    struct kd_buf b = encoded(&r);
    uint8_t *op = memmem(b.p, b.n, "issue-user-signet", 17);

    (void)state;
    assert_non_null(op);
    op[0] = 'I';
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_MALFORMED);
    op[0] = 'i';
    uint8_t *class = memmem(b.p, b.n, "submission", 10);
    assert_non_null(class);
    class[9] = 'm';
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_MALFORMED);
    class[9] = 'n';
    /* the last key, 19 (notes), becomes 20 */
    b.p[b.n - 2] = 20;
    assert_int_equal(kd_audit_decode(kd_buf_slice(&b), &back), KD_MALFORMED);
    kd_buf_free(&b);
}

static void
huge_lengths_are_refused(void **state)
{
    /* key 8, text of 2^32 - 1 and of 2^63 octets */
    (void)state;
    refuse_edit(3, 1, "\x02\x5a\xff\xff\xff\xff", 6);
    refuse_edit(3, 1, "\x02\x5b\x80\x00\x00\x00\x00\x00\x00\x00", 10);
    refuse_edit(3, 1, "\x02\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 10);
}

/* --- the chain --- */

struct fixture {
    struct reg reg;
    struct reg_item item;
    struct kd_chain chain;
};

static void
fixture_start(struct fixture *f)
{
    reg_init(&f->reg, "example.com", 1);
    f->reg.tail.epoch = 5;
    reg_item_init(&f->item);
    struct kd_audit_tail zero = {0};
    f->chain = kd_chain_after(&zero);
    for (int i = 0; i < 3; i++) {
        reg_plain(&f->reg, &f->item, KD_AUDIT_OPEN_ENVELOPE);
        assert_int_equal(kd_chain_feed(&f->chain, f->item.item.record, NULL), KD_OK);
    }
}

static void
fixture_end(struct fixture *f)
{
    reg_item_free(&f->item);
    reg_free(&f->reg);
}

static void
chain_takes_what_continues_it(void **state)
{
    struct fixture f;
    struct kd_audit_record r;

    (void)state;
    fixture_start(&f);
    assert_int_equal(f.chain.tail.seq, 3);
    assert_memory_equal(f.chain.tail.hash, f.reg.tail.hash, 32);
    f.reg.tail.epoch = 6; /* epochs may skip */
    reg_plain(&f.reg, &f.item, KD_AUDIT_START);
    assert_int_equal(kd_chain_feed(&f.chain, f.item.item.record, &r), KD_OK);
    assert_int_equal(r.seq, 4);
    assert_int_equal(f.chain.tail.epoch, 6);
    fixture_end(&f);
}

static void
chain_refuses_and_stays(void **state)
{
    enum { SEQ_GAP, SEQ_AGAIN, PREV, EPOCH, INSTANCE, CLOCK, GARBAGE, N };

    (void)state;
    for (int which = 0; which < N; which++) {
        struct fixture f;
        fixture_start(&f);
        struct kd_audit_tail before = f.chain.tail;
        if (which == SEQ_GAP)
            f.reg.tail.seq++;
        if (which == SEQ_AGAIN)
            f.reg.tail.seq--;
        if (which == PREV)
            f.reg.tail.hash[31] ^= 1;
        if (which == EPOCH)
            f.reg.tail.epoch--;
        if (which == INSTANCE)
            f.reg.tail.instance[0] ^= 1;
        if (which == CLOCK)
            f.reg.clock_ms -= KD_AUDIT_CLOCK_BACK_MS + 8; /* a record moves it by 7 */
        reg_plain(&f.reg, &f.item, KD_AUDIT_OPEN_ENVELOPE);
        if (which == GARBAGE)
            f.item.record.p[0] ^= 1;
        assert_int_equal(kd_chain_feed(&f.chain, f.item.item.record, NULL),
                         which == GARBAGE ? KD_MALFORMED : KD_INVALID);
        assert_non_null(f.chain.why);
        assert_memory_equal(&f.chain.tail, &before, sizeof before);
        fixture_end(&f);
    }
}

/* Small steps back must not add up. */
static void
clock_may_go_back_five_seconds_in_all(void **state)
{
    struct fixture f;

    (void)state;
    fixture_start(&f);
    f.reg.clock_ms -= 3000;
    reg_plain(&f.reg, &f.item, KD_AUDIT_OPEN_ENVELOPE);
    assert_int_equal(kd_chain_feed(&f.chain, f.item.item.record, NULL), KD_OK);
    f.reg.clock_ms -= 3000;
    reg_plain(&f.reg, &f.item, KD_AUDIT_OPEN_ENVELOPE);
    assert_int_equal(kd_chain_feed(&f.chain, f.item.item.record, NULL), KD_INVALID);
    fixture_end(&f);
}

/* --- checkpoints --- */

static void
checkpoint_verifies_under_its_key_only(void **state)
{
    struct fixture f;
    struct kd_checkpoint cp;

    (void)state;
    fixture_start(&f);
    reg_checkpoint(&f.reg, &f.item);
    struct kd_slice octets = f.item.item.checkpoint;
    assert_memory_equal(octets.p, "keyd checkpoint\n", 16);
    assert_int_equal(kd_checkpoint_decode(octets, &cp), KD_OK);
    assert_int_equal(kd_checkpoint_verify(octets, f.reg.audit.key, &cp), KD_OK);
    assert_int_equal(cp.seq, 3);
    assert_int_equal(cp.epoch, 5);
    assert_memory_equal(cp.hash, f.chain.tail.hash, 32);
    assert_int_equal(kd_checkpoint_verify(octets, f.reg.pok.key, &cp), KD_INVALID);
    fixture_end(&f);
}

static void
every_flipped_bit_of_a_checkpoint_is_refused(void **state)
{
    struct fixture f;
    struct kd_checkpoint cp;

    (void)state;
    fixture_start(&f);
    reg_checkpoint(&f.reg, &f.item);
    uint8_t *p = f.item.octets.p;
    size_t n = f.item.octets.n;
    for (size_t bit = 0; bit < n * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(kd_checkpoint_verify(kd_slice(p, n), f.reg.audit.key, &cp),
                             KD_OK);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(kd_checkpoint_decode(kd_slice(p, cut), &cp), KD_MALFORMED);
    fixture_end(&f);
}

static void
checkpoint_of_nothing_is_not_written(void **state)
{
    struct kd_checkpoint cp = {0};
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_CHECKPOINT_MAX);
    assert_int_equal(kd_checkpoint_encode(&cp, &b), KD_INVALID);
    cp = (struct kd_checkpoint){
        .epoch = INT64_MAX, .seq = INT64_MAX, .time_ms = INT64_MAX};
    assert_int_equal(kd_checkpoint_encode(&cp, &b), KD_OK); /* the largest fits */
    kd_buf_free(&b);
}

static void
lists_have_texts(void **state)
{
    (void)state;
    for (int op = KD_AUDIT_NO_OP + 1; op < KD_AUDIT_OP_COUNT; op++) {
        assert_in_range(strlen(kd_audit_op_text((enum kd_audit_op)op)), 3, 32);
        for (int other = KD_AUDIT_NO_OP + 1; other < op; other++)
            assert_string_not_equal(kd_audit_op_text((enum kd_audit_op)op),
                                    kd_audit_op_text((enum kd_audit_op)other));
    }
    assert_string_equal(kd_audit_op_text(KD_AUDIT_OP_COUNT), "");
    assert_string_equal(kd_audit_class_text(KD_AUDIT_CLASS_MTA), "mta");
    assert_string_equal(kd_audit_outcome_text(KD_OUTCOME_DONE), "done");
    assert_string_equal(kd_audit_note_text(2), "quorum");
    assert_null(kd_audit_note_text(31));
    assert_true(kd_audit_op_has_link(KD_AUDIT_REISSUE_USER));
    assert_false(kd_audit_op_has_link(KD_AUDIT_FREEZE_ADDRESS));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_reads_back_as_written),
        cmocka_unit_test(record_has_the_documented_octets),
        cmocka_unit_test(detail_goes_with_the_operations_that_have_one),
        cmocka_unit_test(leaf_hash_is_that_of_rfc_6962),
        cmocka_unit_test(largest_record_fits),
        cmocka_unit_test(record_that_breaks_a_rule_is_not_written),
        cmocka_unit_test(record_of_what_was_approved_reads_back_with_the_texts_digest),
        cmocka_unit_test(short_buffer_is_an_error_and_leaves_nothing),
        cmocka_unit_test(every_cut_and_every_addition_is_refused),
        cmocka_unit_test(every_flipped_bit_changes_or_breaks_the_record),
        cmocka_unit_test(encodings_that_are_not_canonical_are_refused),
        cmocka_unit_test(unknown_keys_and_texts_are_refused),
        cmocka_unit_test(huge_lengths_are_refused),
        cmocka_unit_test(chain_takes_what_continues_it),
        cmocka_unit_test(chain_refuses_and_stays),
        cmocka_unit_test(clock_may_go_back_five_seconds_in_all),
        cmocka_unit_test(checkpoint_verifies_under_its_key_only),
        cmocka_unit_test(every_flipped_bit_of_a_checkpoint_is_refused),
        cmocka_unit_test(checkpoint_of_nothing_is_not_written),
        cmocka_unit_test(lists_have_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
