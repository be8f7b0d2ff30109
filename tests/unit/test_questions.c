/* What a ledger says to a vault about mail, with a real registry: the questions of
 * message operations, and the organizational signets at the start. */
#include "../support/registry.h"
#include "../support/test.h"

#include "../../keyd/ledger/ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>

#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ALICE "alice@example.com"
#define DAY (UINT64_C(24) * 3600 * 1000)

enum { MOST = 64 };

static struct {
    char dir[64];
    struct ledger l;
    struct kd_chan vault; /* our end */
    struct reg reg;
    struct reg_item item;
    struct reg_user alice;
    uint64_t now;

    unsigned n;
    struct told {
        uint16_t type;
        struct kd_buf body;
    } told[MOST];
} w;

/* --- the world --- */

static void
put(void)
{
    struct kd_store_ack ack;

    assert_int_equal(kd_store_begin(w.l.store), KD_OK);
    assert_int_equal(kd_store_add(w.l.store, &w.item.item, &ack), KD_OK);
    assert_int_equal(kd_store_commit(w.l.store), KD_OK);
    assert_int_equal(ack.outcome, KD_OK);
}

static void
issue(void)
{
    reg_issue(&w.reg, &w.item, &w.alice, false);
    put();
}

static void
org(uint64_t at_ms)
{
    w.reg.clock_ms = at_ms;
    reg_org(&w.reg, &w.item, true);
    put();
}

static int
begin(void **state)
{
    const struct kd_store_conf conf = {.dir = w.dir, .create = true};
    char why[KD_STORE_WHY_MAX];
    int fds[2];

    (void)state;
    memset(&w, 0, sizeof w);
    snprintf(w.dir, sizeof w.dir, "%s/kd-questions-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w.dir));
    ledger_begin(&w.l);
    w.l.outside.dir = w.l.outside.head = -1;
    assert_int_equal(kd_store_open(&kd_store_sqlite, &conf, &w.l.store, why), KD_OK);
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&w.l.vault.chan, fds[0]);
    kd_chan_init(&w.vault, fds[1]);
    w.now = (uint64_t)kd_clock_wall_ms();
    reg_init(&w.reg, "example.com", 11);
    reg_item_init(&w.item);
    reg_user_init(&w.alice, ALICE);
    kd_store_tail(w.l.store, &w.reg.tail);
    w.reg.tail.epoch = 1;
    org(w.now - 400 * DAY);
    return 0;
}

static void
forget(void)
{
    for (unsigned i = 0; i < w.n; i++)
        kd_buf_free(&w.told[i].body);
    w.n = 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
end(void **state)
{
    (void)state;
    forget();
    kd_chan_close(&w.l.vault.chan);
    kd_chan_close(&w.vault);
    kd_store_close(w.l.store);
    kd_buf_free(&w.l.acks);
    kd_buf_free(&w.l.scratch);
    reg_user_free(&w.alice);
    reg_item_free(&w.item);
    reg_free(&w.reg);
    nftw(w.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* --- asking --- */

static kd_err
keep(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    (void)ctx;
    assert_true(w.n < MOST);
    struct told *t = &w.told[w.n++];
    t->type = type;
    kd_buf_init(&t->body, (size_t)64 * 1024 * 1024);
    kd_buf_put(&t->body, body);
    if (fd >= 0) { /* what did not go into the message, behind it */
        assert_int_equal(kd_memfd_append(fd, KD_AUTHOR_OCTETS_MAX, &t->body), KD_OK);
        close(fd);
    }
    return t->body.err;
}

static void
hear(void)
{
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(kd_chan_flush(&w.l.vault.chan), KD_OK);
        assert_int_equal(kd_chan_recv(&w.vault, 64, keep, NULL), KD_OK);
    }
}

/* The one answer. */
static struct kd_slice
ask(uint16_t type, struct kd_buf *question, uint16_t answer)
{
    forget();
    assert_int_equal(questions_on_message(&w.l, type, kd_buf_slice(question), -1),
                     KD_OK);
    hear();
    assert_int_equal(w.n, 1);
    assert_int_equal(w.told[0].type, answer);
    kd_buf_reset(question);
    return kd_buf_slice(&w.told[0].body);
}

#define ASK(name, ...)                                                                 \
    do {                                                                               \
        struct kd_buf q_;                                                              \
        kd_buf_init(&q_, 1024);                                                        \
        kd_ask_##name##_put(&q_, &(struct kd_ask_##name){__VA_ARGS__});                \
        answer = ask(KD_MSG_ask_##name, &q_, KD_MSG_told_##name);                      \
        kd_buf_free(&q_);                                                              \
    } while (0)

static unsigned
account_state(struct kd_slice part)
{
    struct kd_account_part a;

    assert_int_equal(kd_account_part_get(part, &a), KD_OK);
    return a.state;
}

/* How many signets an answer has; the octets of the first in *first. */
static unsigned
count_signets(struct kd_slice list, struct kd_slice *first)
{
    struct kd_cur c = kd_cur(list);
    struct kd_told_signet m;
    unsigned n = 0;

    while (kd_cur_left(&c) != 0) {
        assert_int_equal(kd_told_signet_get(kd_list_next(&c), &m), KD_OK);
        assert_int_equal(m.superseded == 0, n == 0);
        if (n++ == 0)
            *first = m.signet;
    }
    assert_int_equal(kd_cur_end(&c), KD_OK);
    return n;
}

static void
an_author_is_told_with_the_signets_in_use(void **state)
{
    struct kd_slice answer, first, alice = kd_slice_str(ALICE);
    struct kd_told_author m;

    (void)state;
    ASK(author, 7, alice, 0);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_true(m.tag == 7 && m.err == KD_OK && m.signets.n == 0);
    assert_int_equal(account_state(m.account), KD_ACCOUNT_OPEN);
    w.reg.clock_ms = w.now - 50 * 1000;
    issue();
    w.reg.clock_ms = w.now - 20 * 1000;
    issue();
    ASK(author, 8, alice, w.now - 30 * 1000);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_int_equal(count_signets(m.signets, &first), 2);
    assert_true(kd_slice_eq(first, kd_buf_slice(&w.alice.signet)));
    ASK(author, 9, alice, w.now);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_int_equal(count_signets(m.signets, &first), 1);
    reg_account(&w.reg, &w.item, KD_AUDIT_FREEZE_ADDRESS, ALICE, "theft");
    put();
    ASK(author, 10, alice, 0);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_int_equal(account_state(m.account), KD_ACCOUNT_FROZEN);
    assert_int_equal(count_signets(m.signets, &first), 2);
    /* what is no name of anybody */
    ASK(author, 11, kd_slice_str(""), 0);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_int_equal(m.err, KD_INVALID);
}

static void
of_many_signets_the_newest_are_told(void **state)
{
    struct kd_slice answer, first, alice = kd_slice_str(ALICE);
    struct kd_told_author m;

    (void)state;
    for (unsigned i = 0; i < KD_AUTHOR_SIGNETS + 4; i++)
        issue();
    ASK(author, 1, alice, 0);
    assert_int_equal(kd_told_author_get(answer, &m), KD_OK);
    assert_int_equal(count_signets(m.signets, &first), KD_AUTHOR_SIGNETS);
    assert_true(kd_slice_eq(first, kd_buf_slice(&w.alice.signet)));
}

static void
a_recipient_is_told_by_either_fingerprint(void **state)
{
    struct kd_slice answer, alice = kd_slice_str(ALICE);
    struct kd_ask_recipient q = {.tag = 3, .address = alice};
    struct kd_told_recipient m;
    uint8_t full[64], core[64], id[64];
    struct kd_buf b;

    (void)state;
    w.reg.clock_ms = w.now - 50 * 1000;
    issue();
    memcpy(full, w.item.signing.full_fp, 64);
    memcpy(core, w.item.signing.core_fp, 64);
    memcpy(id, w.item.signing.id_fp, 64);
    kd_buf_init(&b, 1024);
    for (unsigned i = 0; i < 8; i++) {
        bool known = i % 4 < 2;
        q.address = i % 4 == 3 ? kd_slice(NULL, 0) : alice;
        memcpy(q.fp, i % 4 == 0 ? full : i % 4 == 2 ? id : core, 64);
        if (i == 4) {
            w.reg.clock_ms = w.now - 20 * 1000;
            issue();
        }
        kd_ask_recipient_put(&b, &q);
        answer = ask(KD_MSG_ask_recipient, &b, KD_MSG_told_recipient);
        assert_int_equal(kd_told_recipient_get(answer, &m), KD_OK);
        assert_true(m.tag == 3 && m.err == KD_OK);
        assert_int_equal(m.known, known);
        if (known && i >= 4)
            assert_in_range(m.superseded, w.now - 20 * 1000, w.now - 19 * 1000);
        else
            assert_int_equal(m.superseded, 0);
        assert_int_equal(account_state(m.account), KD_ACCOUNT_OPEN);
    }
    kd_buf_free(&b);
}

static void
a_one_time_key_is_told_if_it_is_anybodys(void **state)
{
    struct kd_ask_naked q = {.tag = 4, .address = kd_slice_str(ALICE)};
    struct kd_told_naked m;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 1024);
    issue();
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0)
            memcpy(q.key, w.item.link.signing_key, 32);
        else
            reg_octets(&w.reg, "once", 1, q.key);
        kd_ask_naked_put(&b, &q);
        struct kd_slice answer = ask(KD_MSG_ask_naked, &b, KD_MSG_told_naked);
        assert_int_equal(kd_told_naked_get(answer, &m), KD_OK);
        assert_true(m.tag == 4 && m.err == KD_OK);
        assert_int_equal(m.key_known, i == 0);
        assert_int_equal(m.has_signet, 1);
    }
    /* about somebody without a signet, and about somebody who is not open */
    q.address = kd_slice_str("nobody@example.com");
    kd_ask_naked_put(&b, &q);
    assert_int_equal(
        kd_told_naked_get(ask(KD_MSG_ask_naked, &b, KD_MSG_told_naked), &m), KD_OK);
    assert_true(m.err == KD_OK && m.has_signet == 0 && m.key_known == 0);
    assert_int_equal(account_state(m.account), KD_ACCOUNT_OPEN);
    q.address = kd_slice_str(ALICE);
    reg_account(&w.reg, &w.item, KD_AUDIT_CLOSE_ADDRESS, ALICE, NULL);
    put();
    kd_ask_naked_put(&b, &q);
    struct kd_slice answer = ask(KD_MSG_ask_naked, &b, KD_MSG_told_naked);
    assert_int_equal(kd_told_naked_get(answer, &m), KD_OK);
    assert_int_equal(account_state(m.account), KD_ACCOUNT_CLOSED);
    kd_buf_free(&b);
}

static void
questions_with_a_descriptor_or_cut_short_are_refused(void **state)
{
    static const uint16_t types[] = {KD_MSG_ask_author, KD_MSG_ask_recipient,
                                     KD_MSG_ask_naked};
    struct kd_buf b;
    int fd;

    (void)state;
    kd_buf_init(&b, 1024);
    for (size_t i = 0; i < 3; i++) {
        kd_buf_reset(&b);
        if (i == 0)
            kd_ask_author_put(&b, &(struct kd_ask_author){1, kd_slice_str(ALICE), 0});
        else if (i == 1)
            kd_ask_recipient_put(&b, &(struct kd_ask_recipient){.tag = 1});
        else
            kd_ask_naked_put(&b, &(struct kd_ask_naked){.tag = 1});
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(questions_on_message(&w.l, types[i], kd_slice(b.p, n), -1),
                             KD_MALFORMED);
        assert_int_equal(kd_memfd_seal(kd_slice("x", 1), &fd), KD_OK);
        assert_int_equal(questions_on_message(&w.l, types[i], kd_buf_slice(&b), fd),
                         KD_MALFORMED);
    }
    hear();
    assert_int_equal(w.n, 0);
    kd_buf_free(&b);
}

/* Former signets come before the current one, each with its time; those superseded
 * more than a year ago do not come. */
static void
a_vault_is_told_former_organizational_signets(void **state)
{
    struct kd_ledger_org m;
    uint32_t version = 2;
    uint64_t before = 0;

    (void)state;
    org(w.now - 380 * DAY); /* ends version 1 */
    org(w.now - 300 * DAY);
    org(w.now - 10 * DAY);
    org(w.now - 1 * DAY);
    questions_greet(&w.l);
    hear();
    for (unsigned i = 0; i < w.n; i++) {
        if (w.told[i].type != KD_MSG_ledger_org)
            continue;
        assert_int_equal(kd_ledger_org_get(kd_buf_slice(&w.told[i].body), &m), KD_OK);
        assert_int_equal(m.version, version);
        if (version++ == 5) {
            assert_int_equal(m.superseded, 0);
            assert_true(kd_slice_eq(m.signet, kd_buf_slice(&w.reg.org_signet)));
            continue;
        }
        assert_true(m.superseded > before && m.superseded < w.now);
        before = m.superseded;
    }
    assert_int_equal(version, 6);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(an_author_is_told_with_the_signets_in_use),
        TEST(of_many_signets_the_newest_are_told),
        TEST(a_recipient_is_told_by_either_fingerprint),
        TEST(a_one_time_key_is_told_if_it_is_anybodys),
        TEST(questions_with_a_descriptor_or_cut_short_are_refused),
        TEST(a_vault_is_told_former_organizational_signets),
    };

    if (sodium_init() < 0)
        return 1;
    kd_store_setup(&kd_store_sqlite);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
