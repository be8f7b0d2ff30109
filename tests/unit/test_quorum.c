/* Operators' area, the text they sign, and the table of requests that wait. */
#include <keyd/conf/policy.h>
#include <keyd/ops/ops.h>
#include <keyd/quorum/pending.h>
#include <keyd/token/token.h>

#include <dime/ed25519.h>

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

enum { N = 4 };

static uint8_t secret[N][64];

/* alice, bob, carol, dave; two approvals for keys. */
static struct kd_quorum
quorum(void)
{
    static const char *const names[N] = {"alice", "bob", "carol", "dave"};
    struct kd_quorum q = {.k = 2, .marks = UINT64_C(1) << KD_OP_GenerateKey, .n = N};
    uint8_t seed[32] = {0};

    for (size_t i = 0; i < N; i++) {
        seed[0] = (uint8_t)(i + 1);
        q.operators[i].name_size = strlen(names[i]);
        memcpy(q.operators[i].name, names[i], strlen(names[i]));
        crypto_sign_seed_keypair(q.operators[i].key, secret[i], seed);
    }
    kd_quorum_arrange(&q);
    return q;
}

static struct kd_buf
octets_of(const struct kd_quorum *q)
{
    struct kd_buf b;

    kd_buf_init(&b, 4096);
    kd_quorum_put(q, &b);
    assert_int_equal(b.err, KD_OK);
    return b;
}

/* --- the area --- */

static void
what_is_written_is_read_and_nothing_else_is(void **state)
{
    struct kd_quorum q = quorum(), got;
    struct kd_buf b = octets_of(&q);

    (void)state;
    assert_int_equal(kd_quorum_decode(kd_buf_slice(&b), &got), KD_OK);
    assert_int_equal(got.k, 2);
    assert_int_equal(got.n, N);
    assert_true(kd_quorum_marks(&got, KD_OP_GenerateKey));
    assert_true(kd_quorum_marks(&got, KD_OP_SetQuorum)); /* whoever asks */
    assert_false(kd_quorum_marks(&got, KD_OP_ImportKey));
    struct kd_buf again = octets_of(&got);
    assert_true(kd_slice_eq(kd_buf_slice(&b), kd_buf_slice(&again)));
    kd_buf_free(&again);
    for (size_t n = 0; n < b.n; n++) /* every beginning but the empty one */
        if (n != 0)
            assert_int_not_equal(kd_quorum_decode(kd_slice(b.p, n), &got), KD_OK);
    kd_buf_u8(&b, 0);
    assert_int_equal(kd_quorum_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    kd_buf_free(&b);
}

/* A flipped bit is refused, or is another quorum that is written just so. */
static void
every_flipped_bit_is_refused_or_means_something_else(void **state)
{
    struct kd_quorum q = quorum(), got;
    struct kd_buf b = octets_of(&q);
    unsigned n_refused = 0;

    (void)state;
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (kd_quorum_decode(kd_buf_slice(&b), &got) == KD_OK) {
            struct kd_buf again = octets_of(&got);
            assert_true(kd_slice_eq(kd_buf_slice(&b), kd_buf_slice(&again)));
            kd_buf_free(&again);
        } else {
            n_refused++;
        }
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(n_refused > 4 * b.n);
    kd_buf_free(&b);
}

static void
no_octets_are_no_operators(void **state)
{
    struct kd_quorum q;

    (void)state;
    assert_int_equal(kd_quorum_decode(kd_slice(NULL, 0), &q), KD_OK);
    assert_int_equal(q.n, 0);
    assert_false(kd_quorum_marks(&q, KD_OP_SetQuorum));
    struct kd_buf b = octets_of(&q);
    assert_int_equal(b.n, 0);
    kd_buf_free(&b);
}

static void
k_is_two_at_least_and_one_less_than_the_operators(void **state)
{
    struct kd_quorum q = quorum();

    (void)state;
    for (unsigned k = 0; k <= 20; k++) {
        q.k = k;
        assert_int_equal(kd_quorum_check(&q), k >= 2 && k < N ? KD_OK : KD_INVALID);
    }
    q = quorum();
    q.n = 3;
    assert_int_equal(kd_quorum_check(&q), KD_OK);
    q.n = 2; /* who asks does not count: nothing could ever be approved */
    assert_int_equal(kd_quorum_check(&q), KD_INVALID);
    q.n = 17;
    assert_int_equal(kd_quorum_check(&q), KD_INVALID);
}

static void
names_are_those_of_principals_ascending_and_unlike(void **state)
{
    struct kd_quorum q = quorum();
    struct kd_operator swap = q.operators[1];

    (void)state;
    q.operators[1] = q.operators[0];
    memcpy(q.operators[1].key, swap.key, sizeof swap.key);
    assert_int_equal(kd_quorum_check(&q), KD_INVALID); /* alice twice */
    q = quorum();
    q.operators[1] = q.operators[2];
    q.operators[2] = swap;
    assert_int_equal(kd_quorum_check(&q), KD_INVALID); /* carol before bob */
    kd_quorum_arrange(&q);
    assert_int_equal(kd_quorum_check(&q), KD_OK);
    static const char *const bad[] = {"", "Bob", "b ob", "-bob", "b\nx", "b\xc3\xb6"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        q = quorum();
        q.operators[1].name_size = strlen(bad[i]);
        memcpy(q.operators[1].name, bad[i], strlen(bad[i]) + 1);
        assert_int_equal(kd_quorum_check(&q), KD_INVALID);
    }
}

static void
weak_and_repeated_keys_are_refused(void **state)
{
    struct kd_quorum q = quorum();
    static const uint8_t weak[][32] = {
        {0},
        {1},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
         0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
         0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}};

    (void)state;
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++) {
        q = quorum();
        memcpy(q.operators[2].key, weak[i], 32);
        assert_int_equal(kd_quorum_check(&q), KD_INVALID);
    }
    q = quorum();
    memcpy(q.operators[3].key, q.operators[0].key, 32);
    assert_int_equal(kd_quorum_check(&q), KD_INVALID);
    assert_true(kd_quorum_has_key(&q, q.operators[0].key));
    assert_false(kd_quorum_has_key(&q, weak[0]));
}

/* A key store of a later version, with a mark this program knows nothing of, must not
 * be taken for one without it. */
static void
marks_of_what_takes_no_quorum_are_refused(void **state)
{
    (void)state;
    for (unsigned op = 0; op < 64; op++) {
        struct kd_quorum q = quorum();
        q.marks |= UINT64_C(1) << op;
        bool can = (kd_quorum_markable() >> op & 1) != 0;
        assert_int_equal(kd_quorum_check(&q), can ? KD_OK : KD_INVALID);
        assert_int_equal(can, (kd_op_flags(op) & KD_OPF_QUORUM) != 0);
    }
    struct kd_quorum q = quorum();
    q.marks &= ~kd_quorum_always();
    assert_int_equal(kd_quorum_check(&q), KD_INVALID);
}

/* --- the text --- */

static struct kd_approval_head
head_of(const struct kd_quorum *q)
{
    struct kd_approval_head h = {.epoch = 7,
                                 .op = KD_OP_GenerateKey,
                                 .requester = kd_slice_str("alice"),
                                 .made_s = 1767323045,
                                 .not_after_s = 1767326645,
                                 .k = q->k,
                                 .n = (unsigned)q->n};

    memset(h.instance, 0x11, sizeof h.instance);
    memset(h.id, 0x22, sizeof h.id);
    memset(h.key, 0x33, sizeof h.key);
    kd_quorum_digest(q, h.quorum);
    return h;
}

static struct kd_buf
text_of(const struct kd_quorum *q)
{
    struct kd_approval_head h = head_of(q);
    struct kd_buf b;

    kd_buf_init(&b, KD_APPROVAL_TEXT_MAX);
    kd_approval_put_head(&b, &h);
    kd_fact_text(&b, "role", "sok");
    kd_fact_value(&b, "domain", kd_slice_str("example.com"));
    assert_int_equal(b.err, KD_OK);
    return b;
}

static void
the_text_is_this_one_to_the_octet(void **state)
{
    static const char wanted[] = "keyd approval 1\n"
                                 "instance 11111111111111111111111111111111\n"
                                 "epoch 7\n"
                                 "id 22222222222222222222222222222222\n"
                                 "operation GenerateKey\n"
                                 "requester alice\n"
                                 "idempotency-key 33333333333333333333333333333333\n"
                                 "made-at 2026-01-02T03:04:05Z\n"
                                 "not-after 2026-01-02T04:04:05Z\n"
                                 "approvals 2 of 4\n"
                                 "quorum sha-256 ";
    struct kd_quorum q = quorum();
    struct kd_buf b = text_of(&q);

    (void)state;
    assert_true(b.n > sizeof wanted);
    assert_memory_equal(b.p, wanted, sizeof wanted - 1);
    static const char facts[] = "\nrole sok\ndomain \"example.com\"\n";
    assert_memory_equal(b.p + b.n - (sizeof facts - 1), facts, sizeof facts - 1);
    kd_buf_free(&b);
}

static void
a_text_is_read_back_and_every_flipped_bit_is_refused_or_shows(void **state)
{
    struct kd_quorum q = quorum();
    struct kd_buf b = text_of(&q);
    struct kd_approval_head h;
    struct kd_slice facts;

    (void)state;
    assert_int_equal(kd_approval_read(kd_buf_slice(&b), &h, &facts), KD_OK);
    assert_int_equal(h.op, KD_OP_GenerateKey);
    assert_int_equal(h.made_s, 1767323045);
    assert_int_equal(h.not_after_s, 1767326645);
    assert_int_equal(facts.n, strlen("role sok\ndomain \"example.com\"\n"));
    for (size_t n = 0; n < b.n - facts.n; n++)
        assert_int_equal(kd_approval_read(kd_slice(b.p, n), &h, &facts), KD_MALFORMED);
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (kd_approval_read(kd_buf_slice(&b), &h, &facts) == KD_OK)
            for (size_t i = 0; i < b.n; i++)
                assert_true(b.p[i] == '\n' || (b.p[i] >= 0x20 && b.p[i] < 0x7f));
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    kd_buf_free(&b);
}

/* What is hostile on a terminal, or could pass for a line of its own, becomes a digest.
 */
static void
values_cannot_make_lines_or_move_a_terminal(void **state)
{
    static const char *const bad[] = {"a\nrole pok",
                                      "\x1b[2J",
                                      "a\"b",
                                      "a\\b",
                                      "\xff",
                                      ("0123456789012345678901234567890123456789"
                                       "012345678901234567890123456789")};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kd_buf b;
        kd_buf_init(&b, 4096);
        kd_fact_value(&b, "field-16", kd_slice_str(bad[i]));
        assert_memory_equal(b.p, "field-16 sha-256 ", 17);
        assert_ptr_equal(memchr(b.p, '\n', b.n), b.p + b.n - 1);
        kd_buf_free(&b);
    }
}

/* D-085: nothing that a key of the organization, or the checkpoint key, signs can be
 * read as an approval, nor the other way round. */
static void
no_other_stream_starts_like_an_approval(void **state)
{
    struct kd_quorum q = quorum();
    struct kd_buf b = text_of(&q);
    struct kd_approval_head h;
    struct kd_slice facts;
    static const struct {
        const char *start;
        size_t n;
    } purposes[] = {
#define KD_PURPOSE(code, name, start, next_at, next, min, max, always)                 \
    {start, sizeof start - 1},
#include <keyd/token/purposes.def>
#undef KD_PURPOSE
    };

    (void)state;
    assert_int_equal(sizeof purposes / sizeof *purposes, KD_SIGN_COUNT);
    for (unsigned p = 0; p < KD_SIGN_COUNT; p++) {
        assert_int_equal(kd_purpose_fits((enum kd_sign_purpose)p, kd_buf_slice(&b)),
                         KD_INVALID);
        /* Neither is the tag the start of theirs, nor theirs of the tag. */
        size_t n = purposes[p].n < sizeof KD_APPROVAL_TAG - 1
                       ? purposes[p].n
                       : sizeof KD_APPROVAL_TAG - 1;
        assert_true(n == 0 || memcmp(purposes[p].start, KD_APPROVAL_TAG, n) != 0);
    }
    /* Streams without a start of their own are of 32 or 64 octets: no text is. */
    assert_true(b.n > 256);
    static const char *const others[] = {
        "keyd checkpoint\n", "keyd probe", "\x01", "\x02", "\x30", "keyd approval 2\n"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct kd_buf o;
        kd_buf_init(&o, KD_APPROVAL_TEXT_MAX);
        kd_buf_put(&o, kd_slice_str(others[i]));
        kd_buf_put(&o, kd_slice(b.p + 16, b.n - 16));
        assert_int_equal(kd_approval_read(kd_buf_slice(&o), &h, &facts), KD_MALFORMED);
        kd_buf_free(&o);
    }
    kd_buf_free(&b);
}

static void
heads_out_of_bounds_are_not_written(void **state)
{
    struct kd_quorum q = quorum();

    (void)state;
    for (int i = 0; i < 6; i++) {
        struct kd_approval_head h = head_of(&q);
        struct kd_buf b;
        kd_buf_init(&b, KD_APPROVAL_TEXT_MAX);
        if (i == 0)
            h.op = KD_OP_Status;
        else if (i == 1)
            h.requester = kd_slice_str("Alice");
        else if (i == 2)
            h.k = 1;
        else if (i == 3)
            h.k = h.n;
        else if (i == 4)
            h.not_after_s = h.made_s - 1;
        else
            h.not_after_s = UINT64_MAX;
        kd_approval_put_head(&b, &h);
        assert_int_equal(b.err, KD_INVALID);
        kd_buf_free(&b);
    }
}

static void
digests_are_shown_and_typed_in_groups(void **state)
{
    uint8_t digest[32];
    char groups[KD_APPROVAL_GROUPS_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t)(i * 7 + 0xa0);
    assert_int_equal(strlen(kd_approval_groups(digest, groups)), 16 * 4 + 15);
    assert_true(kd_approval_digest_starts(digest, groups));
    assert_memory_equal(groups, "a0a7 aeb5 ", 10);
    assert_true(kd_approval_digest_starts(digest, "a0a7aeb5"));
    assert_true(kd_approval_digest_starts(digest, "A0A7-AEB5"));
    assert_false(kd_approval_digest_starts(digest, "a0a7aeb"));  /* too little */
    assert_false(kd_approval_digest_starts(digest, "a0a7aeb6")); /* another */
    assert_false(kd_approval_digest_starts(digest, "a0a7aeb5x"));
    assert_false(kd_approval_digest_starts(digest, ""));
}

/* --- requests that wait --- */

static struct kd_pendings table;

static struct kd_pending_request
request_of(const char *who, uint8_t number)
{
    struct kd_pending_request r = {.op = KD_OP_GenerateKey,
                                   .requester = kd_slice_str(who)};

    memset(r.key, number, sizeof r.key);
    memset(r.request, number, sizeof r.request);
    return r;
}

static kd_err
add(const char *who, uint8_t number, int64_t now, struct kd_pending **p)
{
    struct kd_quorum q = quorum();
    struct kd_pending_request r = request_of(who, number);
    struct kd_buf text = text_of(&q);
    uint8_t id[16] = {number};
    struct kd_moment made = {now, now}, end = {now + 1000, now + 1000};
    kd_err err = kd_pending_add(&table, &r, id, made, end, q.k, &text, p);

    kd_buf_free(&text);
    return err;
}

static void
clear(void)
{
    for (size_t i = 0; i < KD_PENDING_MAX; i++)
        if (table.at[i].used)
            kd_pending_drop(&table.at[i]);
}

static kd_err
judge(const struct kd_pending *p, const char *name, unsigned key, bool spoil)
{
    struct kd_quorum q = quorum();
    uint8_t sig[64];
    size_t at;

    crypto_sign_detached(sig, NULL, p->text.p, p->text.n, secret[key]);
    sig[5] ^= (uint8_t)spoil;
    return kd_pending_judge(p, &q, kd_slice_str(name), sig, &at);
}

static void
only_this_request_of_this_requester_is_the_one_that_waits(void **state)
{
    struct kd_pending *p, *found;
    struct kd_pending_request r;

    (void)state;
    clear();
    assert_int_equal(add("alice", 1, 0, &p), KD_OK);
    r = request_of("alice", 1);
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_OK);
    assert_ptr_equal(found, p);
    r.request[31] ^= 1; /* another body or object */
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_INVALID);
    r = request_of("bob", 1);
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_INVALID);
    r = request_of("alice", 1);
    r.op = KD_OP_RetireKey;
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_INVALID);
    r = request_of("alice", 1);
    r.commitment[0] = 1; /* another passphrase */
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_INVALID);
    r = request_of("alice", 2);
    assert_int_equal(kd_pending_match(&table, &r, &found), KD_NOT_FOUND);
    clear();
}

static void
an_approval_counts_once_and_never_the_requesters_own(void **state)
{
    struct kd_pending *p;

    (void)state;
    clear();
    assert_int_equal(add("alice", 1, 0, &p), KD_OK);
    assert_int_equal(kd_pending_missing(p), 2);
    assert_int_equal(judge(p, "alice", 0, false), KD_DENIED);
    assert_int_equal(judge(p, "mallory", 0, false), KD_NOT_FOUND);
    assert_int_equal(judge(p, "bob", 1, true), KD_INVALID);
    assert_int_equal(judge(p, "bob", 2, false), KD_INVALID); /* carol's key */
    assert_int_equal(judge(p, "bob", 1, false), KD_OK);
    p->taking = 2;
    assert_int_equal(judge(p, "bob", 1, false), KD_BUSY);
    p->taking = 0;
    p->given = 2;
    assert_int_equal(judge(p, "bob", 1, false), KD_CONFLICT);
    assert_int_equal(kd_pending_missing(p), 1);
    assert_int_equal(judge(p, "carol", 2, false), KD_OK);
    p->given |= 4;
    assert_int_equal(kd_pending_missing(p), 0);
    p->given |= 8; /* more than needed */
    assert_int_equal(kd_pending_missing(p), 0);
    p->running = true;
    p->given = 0;
    assert_int_equal(judge(p, "bob", 1, false), KD_BUSY);
    clear();
}

static void
a_request_ends_on_either_clock(void **state)
{
    struct kd_pending *p;

    (void)state;
    clear();
    for (int i = 0; i < 4; i++) {
        struct kd_moment now = {10 + (i == 1 ? 1000 : 999), 10 + (i == 2 ? 1000 : 999)};
        assert_int_equal(add("alice", 1, 10, &p), KD_OK);
        p->running = i == 3;
        if (i == 3)
            now.boot_ms = now.wall_ms = INT64_MAX;
        kd_pendings_expire(&table, now);
        assert_int_equal(kd_pendings_count(&table), i == 0 || i == 3);
        clear();
    }
    /* The wall clock went back: the other one goes on. */
    assert_int_equal(add("alice", 1, 5000, &p), KD_OK);
    kd_pendings_expire(&table, (struct kd_moment){6000, 0});
    assert_int_equal(kd_pendings_count(&table), 0);
}

static void
one_requester_has_eight_and_all_have_thirty_two(void **state)
{
    struct kd_pending *p;
    char name[8];
    uint8_t number = 0;

    (void)state;
    clear();
    for (int who = 0; who < 4; who++) {
        snprintf(name, sizeof name, "r%d", who);
        for (int i = 0; i < 8; i++)
            assert_int_equal(add(name, ++number, 0, &p), KD_OK);
        assert_int_equal(add(name, 99, 0, &p), KD_BUSY);
    }
    assert_int_equal(kd_pendings_count(&table), 32);
    assert_int_equal(add("another", 99, 0, &p), KD_BUSY);
    kd_pending_drop(kd_pending_find(&table, table.at[9].id));
    assert_int_equal(add("another", 99, 0, &p), KD_OK);
    p->running = true;
    kd_pendings_void(&table); /* but what is under way */
    assert_int_equal(kd_pendings_count(&table), 1);
    clear();
}

static void
nothing_of_a_request_is_left_when_it_is_dropped(void **state)
{
    static const struct kd_pending none;
    struct kd_pending *p;

    (void)state;
    clear();
    assert_int_equal(add("alice", 1, 0, &p), KD_OK);
    kd_pending_drop(p);
    assert_memory_equal(p, &none, sizeof none);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_nothing_else_is),
        cmocka_unit_test(every_flipped_bit_is_refused_or_means_something_else),
        cmocka_unit_test(no_octets_are_no_operators),
        cmocka_unit_test(k_is_two_at_least_and_one_less_than_the_operators),
        cmocka_unit_test(names_are_those_of_principals_ascending_and_unlike),
        cmocka_unit_test(weak_and_repeated_keys_are_refused),
        cmocka_unit_test(marks_of_what_takes_no_quorum_are_refused),
        cmocka_unit_test(the_text_is_this_one_to_the_octet),
        cmocka_unit_test(a_text_is_read_back_and_every_flipped_bit_is_refused_or_shows),
        cmocka_unit_test(values_cannot_make_lines_or_move_a_terminal),
        cmocka_unit_test(no_other_stream_starts_like_an_approval),
        cmocka_unit_test(heads_out_of_bounds_are_not_written),
        cmocka_unit_test(digests_are_shown_and_typed_in_groups),
        cmocka_unit_test(only_this_request_of_this_requester_is_the_one_that_waits),
        cmocka_unit_test(an_approval_counts_once_and_never_the_requesters_own),
        cmocka_unit_test(a_request_ends_on_either_clock),
        cmocka_unit_test(one_requester_has_eight_and_all_have_thirty_two),
        cmocka_unit_test(nothing_of_a_request_is_left_when_it_is_dropped),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
