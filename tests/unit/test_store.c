/* The registry: its rules, what it answers, what it refuses to open. */
#include "../support/registry.h"
#include "../support/tamper.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants some of the above first */
#include <cmocka.h>

struct world {
    char dir[64];
    char path[96];
    struct kd_store *store;
    struct kd_store_conf conf;
    char why[KD_STORE_WHY_MAX];
    struct reg reg;
    struct reg_item item;
    struct kd_store_ack ack;
    struct reg_user alice;
};

static kd_err
try_open(struct world *w)
{
    return kd_store_open(&kd_store_sqlite, &w->conf, &w->store, w->why);
}

static void
must_open(struct world *w)
{
    if (try_open(w) != KD_OK)
        fail_msg("%s", w->why);
}

static void
must_close(struct world *w)
{
    kd_store_close(w->store);
    w->store = NULL;
}

static void
reopen(struct world *w)
{
    must_close(w);
    must_open(w);
}

/* In a batch of its own. */
static void
put(struct world *w)
{
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    assert_int_equal(w->ack.seq, w->reg.tail.seq);
    assert_memory_equal(w->ack.hash, w->reg.tail.hash, 32);
}

static void
put_as(struct world *w, kd_err outcome)
{
    put(w);
    assert_int_equal(w->ack.outcome, outcome);
}

static void
refuse(struct world *w, kd_err err)
{
    struct kd_audit_tail before, after;

    kd_store_tail(w->store, &before);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), err);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    kd_store_tail(w->store, &after);
    assert_memory_equal(&before, &after, sizeof before);
    w->reg.tail = after;
}

static void
issue(struct world *w, struct reg_user *u)
{
    reg_issue(&w->reg, &w->item, u, false);
    put_as(w, KD_OK);
}

static void
account(struct world *w, enum kd_audit_op op, const char *address, const char *detail,
        kd_err outcome)
{
    reg_account(&w->reg, &w->item, op, address, detail);
    put_as(w, outcome);
}

/* Alice's reset, ready to be used. */
static void
make_reset(struct world *w)
{
    account(w, KD_AUDIT_REQUEST_RESET, "alice@example.com", "60", KD_OK);
    account(w, KD_AUDIT_APPROVE_RESET, "alice@example.com", NULL, KD_OK);
    w->reg.clock_ms += 60000;
    w->reg.uptime_ms += 60000;
}

static int
world_start(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    reg_must(w != NULL);
    /* in memory where there is such a place: syncs are not what is tested here */
    strcpy(w->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/kd-store-XXXXXX"
                                                 : "/tmp/kd-store-XXXXXX");
    reg_must(mkdtemp(w->dir) != NULL);
    snprintf(w->path, sizeof w->path, "%s/registry.db", w->dir);
    w->conf = (struct kd_store_conf){.dir = w->dir, .create = true};
    reg_init(&w->reg, "example.com", 7);
    reg_item_init(&w->item);
    reg_user_init(&w->alice, "alice@example.com");
    must_open(w);
    kd_store_tail(w->store, &w->reg.tail);
    w->reg.tail.epoch = 1;
    reg_org(&w->reg, &w->item, false);
    put_as(w, KD_OK);
    *state = w;
    return 0;
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
world_end(void **state)
{
    struct world *w = *state;

    kd_store_close(w->store);
    reg_user_free(&w->alice);
    reg_item_free(&w->item);
    reg_free(&w->reg);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

/* Straight SQL on the closed registry. */
static int
sql(struct world *w, const char *text)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    int rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    int code = sqlite3_extended_errcode(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return rc == SQLITE_OK ? SQLITE_OK : code;
}

/* --- putting and finding --- */

static void
reopening_keeps_everything(void **state)
{
    struct world *w = *state;
    struct kd_signet_row row;
    struct kd_org_row org;
    struct kd_audit_tail tail;

    issue(w, &w->alice);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
            KD_OK);
        assert_true(kd_slice_eq(row.signet, kd_buf_slice(&w->alice.signet)));
        assert_int_equal(row.generation, 1);
        assert_int_equal(row.seq, 1);
        assert_int_equal(row.version, 1);
        assert_true(row.head && row.newest);
        assert_int_equal(row.superseded_ms, 0);
        assert_int_equal(row.audit_seq, 2);
        assert_memory_equal(row.ssr_fp, w->alice.ssr_fp, 64);
        assert_memory_equal(row.org_fp, w->reg.org_fp, 64);
        assert_true(kd_slice_eq(row.address, kd_slice_str("alice@example.com")));
        assert_int_equal(
            kd_store_org_current(w->store, kd_slice_str("example.com"), &org), KD_OK);
        assert_true(kd_slice_eq(org.signet, kd_buf_slice(&w->reg.org_signet)));
        kd_store_tail(w->store, &tail);
        assert_memory_equal(&tail, &w->reg.tail, sizeof tail);
        reopen(w);
    }
}

static void
files_are_for_their_owner_only(void **state)
{
    struct world *w = *state;
    char wal[128];
    struct stat st;

    issue(w, &w->alice);
    snprintf(wal, sizeof wal, "%s-wal", w->path);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-shm", w->path);
    assert_int_equal(stat(wal, &st), -1); /* no shared memory: no mapped file */
}

static void
unknown_names_are_not_found(void **state)
{
    struct world *w = *state;
    struct kd_signet_row row;
    struct kd_org_row org;
    uint8_t fp[64] = {0}, newest[64];
    bool current;
    static const char *const names[] = {"bob@example.com", "", "alice@example.co",
                                        "ALICE@example.com", "a' OR 1=1 --"};

    issue(w, &w->alice);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct kd_slice name = kd_slice_str(names[i]);
        assert_int_equal(kd_store_user_current(w->store, name, &row), KD_NOT_FOUND);
        assert_int_equal(kd_store_user_by_fp(w->store, name, fp, &row), KD_NOT_FOUND);
        assert_int_equal(kd_store_user_verify(w->store, name, fp, &current, newest),
                         KD_NOT_FOUND);
        assert_int_equal(kd_store_org_current(w->store, name, &org), KD_NOT_FOUND);
    }
    struct kd_slice nul = kd_slice("alice@example.com\0x", 19);
    assert_int_equal(kd_store_user_current(w->store, nul, &row), KD_NOT_FOUND);
    char longer[400];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice(longer, sizeof longer), &row),
        KD_NOT_FOUND);
}

static void
old_and_resigned_signets_are_found_by_their_fingerprints(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    struct kd_signing_put first, again, second;
    struct kd_signet_row row;

    issue(w, &w->alice);
    first = w->item.signing;
    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    reg_reissue(&w->reg, &w->item, &w->alice);
    again = w->item.signing;
    put_as(w, KD_OK);
    issue(w, &w->alice);
    second = w->item.signing;

    assert_int_equal(kd_store_user_by_fp(w->store, alice, first.core_fp, &row), KD_OK);
    assert_true(row.seq == 1 && row.version == 1 && !row.head && !row.newest);
    assert_int_not_equal(row.superseded_ms, 0);
    assert_int_equal(kd_store_user_by_fp(w->store, alice, first.full_fp, &row), KD_OK);
    assert_int_equal(row.version, 1);
    assert_int_equal(kd_store_user_by_fp(w->store, alice, again.core_fp, &row), KD_OK);
    assert_true(row.seq == 1 && row.version == 2 && !row.head && row.newest);
    assert_int_equal(kd_store_user_by_fp(w->store, alice, second.full_fp, &row), KD_OK);
    assert_true(row.seq == 2 && row.head && row.newest);
    assert_int_equal(kd_store_user_by_fp(w->store, alice, second.id_fp, &row),
                     KD_NOT_FOUND);
    assert_int_equal(kd_store_user_by_fp(w->store, kd_slice_str("bob@example.com"),
                                         second.core_fp, &row),
                     KD_NOT_FOUND);
}

/* --- what message operations ask --- */

struct since {
    unsigned n, most;
    uint32_t seq[8], version[8];
    uint64_t superseded[8];
};

static bool
note_signet(void *arg, const struct kd_signet_row *row)
{
    struct since *s = arg;

    assert_true(s->n < 8);
    assert_true(kd_slice_eq(row->address, kd_slice_str("alice@example.com")));
    assert_int_equal(row->superseded_ms == 0, row->head);
    s->seq[s->n] = row->seq;
    s->version[s->n] = row->version;
    s->superseded[s->n] = row->superseded_ms;
    return ++s->n < s->most;
}

static struct since
signets_since(struct world *w, uint64_t since_ms, unsigned max)
{
    struct since s = {.most = 8};

    assert_int_equal(kd_store_user_since(w->store, kd_slice_str("alice@example.com"),
                                         since_ms, max, note_signet, &s),
                     KD_OK);
    return s;
}

/* Alice's steps 1 and 2, and 2 signed anew, and 3. */
static void
signets_in_use_are_the_current_and_those_superseded_since(void **state)
{
    struct world *w = *state;

    assert_int_equal(signets_since(w, 0, 8).n, 0);
    issue(w, &w->alice);
    issue(w, &w->alice);
    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    reg_reissue(&w->reg, &w->item, &w->alice);
    put_as(w, KD_OK);
    issue(w, &w->alice);
    struct since all = signets_since(w, 0, 8);
    assert_int_equal(all.n, 4);
    assert_true(all.seq[0] == 3 && all.superseded[0] == 0);
    assert_true(all.seq[1] == 2 && all.version[1] == 2);
    assert_true(all.seq[2] == 2 && all.version[2] == 1);
    assert_true(all.seq[3] == 1 && all.version[3] == 1);
    assert_true(all.superseded[1] == all.superseded[2]);
    assert_true(all.superseded[3] < all.superseded[2]);
    /* the very moment counts, the next does not */
    assert_int_equal(signets_since(w, all.superseded[3], 8).n, 4);
    assert_int_equal(signets_since(w, all.superseded[3] + 1, 8).n, 3);
    assert_int_equal(signets_since(w, all.superseded[2], 8).n, 3);
    assert_int_equal(signets_since(w, all.superseded[2] + 1, 8).n, 1);
    assert_int_equal(signets_since(w, UINT64_MAX, 8).n, 1);
    /* the newest, however many */
    struct since two = signets_since(w, 0, 2);
    assert_true(two.n == 2 && two.seq[0] == 3 && two.seq[1] == 2);
    assert_int_equal(two.version[1], 2);
}

/* What a reset ended is in use no longer: its keys are lost, or somebody else's. */
static void
signets_of_an_ended_chain_are_not_in_use(void **state)
{
    struct world *w = *state;

    issue(w, &w->alice);
    issue(w, &w->alice);
    make_reset(w);
    reg_issue(&w->reg, &w->item, &w->alice, true);
    put_as(w, KD_OK);
    struct since s = signets_since(w, 0, 8);
    assert_true(s.n == 1 && s.seq[0] == 1 && s.superseded[0] == 0);
}

struct formers {
    unsigned n;
    uint32_t version[8];
    uint64_t superseded[8];
};

static bool
note_former(void *arg, const struct kd_org_row *row)
{
    struct formers *f = arg;

    assert_true(f->n < 8 && !row->current && row->superseded_ms != 0);
    f->version[f->n] = row->version;
    f->superseded[f->n++] = row->superseded_ms;
    return true;
}

static struct formers
formers_since(struct world *w, uint64_t since_ms, unsigned max)
{
    struct formers f = {0};

    assert_int_equal(kd_store_org_formers(w->store, since_ms, max, note_former, &f),
                     KD_OK);
    return f;
}

static void
former_org_signets_are_told_as_long_as_they_were_superseded_lately(void **state)
{
    struct world *w = *state;

    assert_int_equal(formers_since(w, 0, 8).n, 0);
    for (unsigned i = 0; i < 3; i++) {
        reg_org(&w->reg, &w->item, true);
        put_as(w, KD_OK);
        w->reg.clock_ms += 1000;
    }
    struct formers all = formers_since(w, 0, 8);
    assert_int_equal(all.n, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(all.version[i], i + 1);
    assert_int_equal(formers_since(w, all.superseded[1], 8).n, 2);
    struct formers later = formers_since(w, all.superseded[1] + 1, 8);
    assert_true(later.n == 1 && later.version[0] == 3);
    struct formers newest = formers_since(w, 0, 2);
    assert_true(newest.n == 2 && newest.version[0] == 2 && newest.version[1] == 3);
    assert_int_equal(formers_since(w, UINT64_MAX, 8).n, 0);
    reopen(w);
    assert_int_equal(formers_since(w, 0, 8).n, 3);
}

static void
signing_keys_of_users_and_of_the_organization_are_known(void **state)
{
    struct world *w = *state;
    uint8_t first[32], strange[32];
    bool known = true;

    reg_octets(&w->reg, "a stranger", 1, strange);
    issue(w, &w->alice);
    memcpy(first, w->item.link.signing_key, sizeof first);
    issue(w, &w->alice);
    assert_int_equal(kd_store_signing_key_known(w->store, strange, &known), KD_OK);
    assert_false(known);
    assert_int_equal(kd_store_signing_key_known(w->store, first, &known), KD_OK);
    assert_true(known); /* of long ago */
    known = false;
    assert_int_equal(
        kd_store_signing_key_known(w->store, w->item.link.signing_key, &known), KD_OK);
    assert_true(known);
    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    known = false;
    assert_true(w->item.item.n_keys > 0);
    assert_int_equal(kd_store_signing_key_known(w->store, w->item.keys[0].key, &known),
                     KD_OK);
    assert_true(known);
}

static void
verify_tells_current_from_update(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    uint8_t before[64], unknown[64] = {1}, newest[64];
    bool current;

    issue(w, &w->alice);
    memcpy(before, w->item.signing.core_fp, 64);
    assert_int_equal(kd_store_user_verify(w->store, alice, before, &current, newest),
                     KD_OK);
    assert_true(current);
    /* signed anew: the same link, yet an update (D-073, D-168) */
    reg_reissue(&w->reg, &w->item, &w->alice);
    w->item.signing.signet = kd_buf_slice(&w->alice.signet);
    put_as(w, KD_OK);
    issue(w, &w->alice);
    assert_int_equal(kd_store_user_verify(w->store, alice, before, &current, newest),
                     KD_OK);
    assert_false(current);
    assert_memory_equal(newest, w->item.signing.core_fp, 64);
    assert_int_equal(kd_store_user_verify(w->store, alice, unknown, &current, newest),
                     KD_OK);
    assert_false(current);
}

/* --- history --- */

enum { ROTATIONS = 50 };

struct cores {
    unsigned n;
    unsigned most;
    uint32_t seqs[ROTATIONS + 2];
    uint8_t prints[ROTATIONS + 2][64];
};

static bool
take_core(void *arg, uint32_t seq, struct kd_slice core)
{
    struct cores *c = arg;
    struct dime_signet s;
    enum dime_reason why;

    assert_int_equal(dime_signet_parse_as(DIME_USER, core, &s, &why), KD_OK);
    assert_int_equal(s.part, DIME_PART_CORE);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, c->prints[c->n]), KD_OK);
    c->seqs[c->n++] = seq;
    return c->n < c->most;
}

/* T-OP-23, at the store: HIST after 50 rotations has 51 cores, root included. */
static void
T_OP_23_history_has_51_cores_after_50_rotations(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    static uint8_t prints[ROTATIONS + 1][64];
    struct kd_history h;
    struct cores c = {.most = ROTATIONS + 1};

    for (unsigned i = 0; i <= ROTATIONS; i++) {
        issue(w, &w->alice);
        memcpy(prints[i], w->item.signing.core_fp, 64);
    }
    assert_int_equal(kd_store_user_history(w->store, alice, NULL, NULL, &h), KD_OK);
    assert_true(h.first == 1 && h.last == ROTATIONS + 1 && h.head == h.last);
    assert_int_equal(kd_store_user_cores(w->store, alice, &h, 1, take_core, &c), KD_OK);
    assert_int_equal(c.n, ROTATIONS + 1);
    for (unsigned i = 0; i <= ROTATIONS; i++) {
        assert_int_equal(c.seqs[i], i + 1);
        assert_memory_equal(c.prints[i], prints[i], 64);
    }
    /* inclusive at both ends, in pages of 4 */
    assert_int_equal(kd_store_user_history(w->store, alice, prints[10], prints[20], &h),
                     KD_OK);
    unsigned n = 0;
    for (uint32_t from = h.first; from <= h.last;) {
        c = (struct cores){.most = 4};
        assert_int_equal(kd_store_user_cores(w->store, alice, &h, from, take_core, &c),
                         KD_OK);
        assert_memory_equal(c.prints[0], prints[10 + n], 64);
        n += c.n;
        from = c.seqs[c.n - 1] + 1;
    }
    assert_int_equal(n, 11);
    /* D-167: from the head on there is the head only */
    assert_int_equal(
        kd_store_user_history(w->store, alice, prints[ROTATIONS], NULL, &h), KD_OK);
    assert_int_equal(h.first, h.head);
    /* backwards, or unknown */
    assert_int_equal(kd_store_user_history(w->store, alice, prints[20], prints[10], &h),
                     KD_NOT_FOUND);
    uint8_t unknown[64] = {9};
    assert_int_equal(kd_store_user_history(w->store, alice, unknown, NULL, &h),
                     KD_NOT_FOUND);
    assert_int_equal(kd_store_user_history(w->store, kd_slice_str("bob@example.com"),
                                           NULL, NULL, &h),
                     KD_NOT_FOUND);
}

static void
history_has_the_newest_signature_of_each_step_and_one_generation_only(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    struct kd_history h;
    struct cores c = {.most = 10};
    uint8_t of_old_generation[64], first[64], resigned[64];

    issue(w, &w->alice);
    memcpy(of_old_generation, w->item.signing.core_fp, 64);
    make_reset(w);
    reg_issue(&w->reg, &w->item, &w->alice, true);
    put_as(w, KD_OK);
    memcpy(first, w->item.signing.core_fp, 64);
    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    reg_reissue(&w->reg, &w->item, &w->alice);
    memcpy(resigned, w->item.signing.core_fp, 64);
    put_as(w, KD_OK);

    assert_int_equal(kd_store_user_history(w->store, alice, NULL, NULL, &h), KD_OK);
    assert_int_equal(h.generation, 2);
    assert_int_equal(kd_store_user_cores(w->store, alice, &h, 1, take_core, &c), KD_OK);
    assert_int_equal(c.n, 1);
    assert_memory_equal(c.prints[0], resigned, 64);
    /* START may name an old version of a step, not a step of an old generation */
    assert_int_equal(kd_store_user_history(w->store, alice, first, NULL, &h), KD_OK);
    /* a step of the chain that the reset has ended names that chain, alone */
    assert_int_equal(
        kd_store_user_history(w->store, alice, of_old_generation, NULL, &h), KD_OK);
    assert_true(h.generation == 1 && h.first == 1 && h.last == 1 && h.head == 1);
    c.n = 0;
    assert_int_equal(kd_store_user_cores(w->store, alice, &h, 1, take_core, &c), KD_OK);
    assert_int_equal(c.n, 1);
    assert_memory_equal(c.prints[0], of_old_generation, 64);
    assert_int_equal(
        kd_store_user_history(w->store, alice, of_old_generation, first, &h),
        KD_NOT_FOUND);
    assert_int_equal(
        kd_store_user_history(w->store, alice, NULL, of_old_generation, &h),
        KD_NOT_FOUND);
}

/* --- org signets, walking, counters --- */

static bool
count_orgs(void *arg, const struct kd_org_row *row)
{
    unsigned *n = arg;

    assert_int_equal(row->version, ++*n);
    assert_int_equal(row->current, *n == 3);
    assert_int_equal(row->superseded_ms == 0, *n == 3);
    return true;
}

static void
org_signets_are_kept_by_version(void **state)
{
    struct world *w = *state;
    struct kd_slice domain = kd_slice_str("example.com");
    struct kd_org_row row;
    uint8_t second[64];
    unsigned n = 0;

    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    memcpy(second, w->reg.org_fp, 64);
    reg_org(&w->reg, &w->item, true);
    put_as(w, KD_OK);
    assert_int_equal(kd_store_org_current(w->store, domain, &row), KD_OK);
    assert_true(row.version == 3 && row.current);
    assert_memory_equal(row.full_fp, w->reg.org_fp, 64);
    assert_int_equal(kd_store_org_by_fp(w->store, domain, second, &row), KD_OK);
    assert_true(row.version == 2 && !row.current);
    assert_int_equal(kd_store_org_history(w->store, domain, count_orgs, &n), KD_OK);
    assert_int_equal(n, 3);
}

static void
walk_visits_heads_once(void **state)
{
    struct world *w = *state;
    struct reg_user bob;
    struct kd_signet_row row;
    uint64_t at = 0;
    unsigned n = 0;

    reg_user_init(&bob, "bob@example.com");
    issue(w, &w->alice);
    issue(w, &bob);
    issue(w, &w->alice);
    while (kd_store_user_next(w->store, at, true, &row) == KD_OK) {
        assert_true(row.head && row.newest);
        at = row.link;
        n++;
    }
    assert_int_equal(n, 2);
    for (at = 0, n = 0; kd_store_user_next(w->store, at, false, &row) == KD_OK; n++)
        at = row.link;
    assert_int_equal(n, 3);
    assert_int_equal(kd_store_user_next(w->store, UINT64_MAX, false, &row),
                     KD_NOT_FOUND);
    reg_user_free(&bob);
}

static bool
sum_counter(void *arg, struct kd_slice name, uint64_t value)
{
    uint64_t *sum = arg;

    assert_true(kd_slice_eq(name, kd_slice_str("refused.mta")));
    *sum += value;
    return true;
}

static void
counters_add_up(void **state)
{
    struct world *w = *state;
    struct kd_slice name = kd_slice_str("refused.mta");
    uint64_t sum = 0;

    assert_int_equal(kd_store_count(w->store, name, 1), KD_INVALID); /* no batch */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kd_store_begin(w->store), KD_OK);
        assert_int_equal(kd_store_count(w->store, name, 5), KD_OK);
        assert_int_equal(kd_store_count(w->store, name, 2), KD_OK);
        assert_int_equal(kd_store_count(w->store, kd_slice_str("A"), 2), KD_INVALID);
        assert_int_equal(kd_store_count(w->store, kd_slice_str(""), 2), KD_INVALID);
        assert_int_equal(kd_store_commit(w->store), KD_OK);
    }
    reopen(w);
    assert_int_equal(kd_store_counters(w->store, sum_counter, &sum), KD_OK);
    assert_int_equal(sum, 21);
}

/* Nothing sorts, and nothing reads a table that grows with the users from end to end:
 * a look-up must cost the same at a million signets. */
static void
no_statement_scans_or_sorts_what_grows(void **state)
{
    static const char *const texts[] = {
#define STATEMENT(code, sql) (sql),
#include "sqlite_statements.def"
#undef STATEMENT
    };
    struct world *w = *state;
    sqlite3 *db;
    sqlite3_stmt *st;
    char text[2048];

    must_close(w);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", texts[i]);
        if (sqlite3_prepare_v2(db, text, -1, &st, NULL) != SQLITE_OK)
            fail_msg("%s: %s", texts[i], sqlite3_errmsg(db));
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(st, 3);
            /* The newest, or so many of them. */
            bool last_only = strstr(texts[i], "DESC LIMIT") != NULL;
            if (strstr(plan, "TEMP B-TREE") != NULL || strcmp(plan, "SCAN l") == 0 ||
                strcmp(plan, "SCAN g") == 0 || strcmp(plan, "SCAN link") == 0 ||
                strcmp(plan, "SCAN audit") == 0 ||
                (strcmp(plan, "SCAN signing") == 0 && !last_only))
                fail_msg("%s: %s", texts[i], plan);
        }
        assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- before issuing --- */

static struct kd_issue_query
query_of(const struct world *w, const char *address)
{
    struct kd_issue_query q = {.address = kd_slice_str(address)};

    memcpy(q.ssr_fp, w->item.link.ssr_fp, 64);
    memcpy(q.signing_key, w->item.link.signing_key, 32);
    memcpy(q.encryption_key, w->item.link.encryption_key, 32);
    return q;
}

static void
issue_query_answers_the_same_request_with_its_signet(void **state)
{
    struct world *w = *state;
    struct kd_issue_state st;

    issue(w, &w->alice);
    struct kd_issue_query q = query_of(w, "alice@example.com");
    uint8_t first[4096];
    size_t n = w->alice.signet.n;
    memcpy(first, w->alice.signet.p, n);
    issue(w, &w->alice);
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_true(st.issued && st.has_head);
    assert_true(kd_slice_eq(st.stored.signet, kd_slice(first, n)));
    assert_true(kd_slice_eq(st.head.signet, kd_buf_slice(&w->alice.signet)));
    assert_int_equal(st.stored.seq, 1);
    assert_int_equal(st.head.seq, 2);
    assert_false(st.signing_key_known || st.encryption_key_known || st.idem_seen);
}

/* T-OP-21, at the store: keys of another address, of an older signet, of the org. */
static void
T_OP_21_issue_query_knows_every_key_ever_used(void **state)
{
    struct world *w = *state;
    struct kd_issue_state st;

    issue(w, &w->alice);
    struct kd_issue_query q = query_of(w, "bob@example.com");
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_false(st.issued || st.has_head);
    assert_true(st.signing_key_known && st.encryption_key_known);
    q.signing_key[0] ^= 1;
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_false(st.signing_key_known);
    assert_true(st.encryption_key_known);
    memcpy(q.signing_key, w->reg.sok.key, 32);
    memcpy(q.encryption_key, w->reg.enc_key + 1, 32);
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_true(st.signing_key_known && st.encryption_key_known);
    reg_octets(&w->reg, "fresh", 1, q.signing_key);
    reg_octets(&w->reg, "fresh", 2, q.encryption_key);
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_false(st.signing_key_known || st.encryption_key_known);
    /* Alice's next: her own older keys count too */
    issue(w, &w->alice);
    q = query_of(w, "alice@example.com");
    q.ssr_fp[0] ^= 1;
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_true(!st.issued && st.has_head && st.signing_key_known);
    q.address = kd_slice(NULL, 0);
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_INVALID);
}

static void
idempotency_keys_are_bound_and_forgotten_in_time(void **state)
{
    struct world *w = *state;
    struct kd_issue_state st;
    uint8_t request[32];
    uint64_t seq;
    unsigned n;

    reg_issue(&w->reg, &w->item, &w->alice, false);
    reg_idem(&w->item, 1);
    put_as(w, KD_OK);
    struct kd_issue_query q = query_of(w, "alice@example.com");
    q.has_idem = true;
    memcpy(q.idem, w->item.idem.key, sizeof q.idem);
    assert_int_equal(kd_store_issue_query(w->store, &q, &st), KD_OK);
    assert_true(st.idem_seen);
    assert_memory_equal(st.idem_request, w->item.idem.request, 32);
    assert_int_equal(st.idem_seq, w->reg.tail.seq);
    uint64_t made = w->reg.clock_ms;
    for (unsigned i = 2; i < 10; i++) {
        reg_plain(&w->reg, &w->item, KD_AUDIT_SEAL);
        reg_idem(&w->item, i);
        put_as(w, KD_OK);
    }
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_purge_idem(w->store, made + 15, 100, &n), KD_OK);
    assert_int_equal(n, 3);
    assert_int_equal(kd_store_purge_idem(w->store, INT64_MAX, 2, &n), KD_OK);
    assert_int_equal(n, 2);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    assert_int_equal(kd_store_idem_find(w->store, q.idem, request, &seq), KD_NOT_FOUND);
    assert_int_equal(kd_store_idem_find(w->store, w->item.idem.key, request, &seq),
                     KD_OK);
    assert_int_equal(seq, w->reg.tail.seq);
}

/* --- conflicts: the record stays, the rows do not --- */

static bool
take_stored(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    (void)seq;
    (void)record;
    *(kd_err *)arg = stored;
    return true;
}

static void
conflict_keeps_the_record_and_no_row(struct world *w)
{
    kd_err stored = KD_FAILED;
    uint8_t request[32];
    uint64_t seq;

    reg_idem(&w->item, 99);
    put_as(w, KD_CONFLICT);
    assert_int_equal(kd_store_records(w->store, w->reg.tail.seq, take_stored, &stored),
                     KD_OK);
    assert_int_equal(stored, KD_CONFLICT);
    assert_int_equal(kd_store_idem_find(w->store, w->item.idem.key, request, &seq),
                     KD_NOT_FOUND);
    reopen(w);
}

static void
lost_race_for_the_next_step_is_a_conflict(void **state)
{
    struct world *w = *state;
    struct reg_user other;
    struct kd_signet_row row;

    issue(w, &w->alice);
    /* two requests from the same head */
    reg_user_init(&other, "alice@example.com");
    other.generation = 1;
    other.seq = 1;
    other.pair = w->alice.pair;
    memcpy(other.ssr_fp, w->alice.ssr_fp, 64);
    issue(w, &w->alice);
    reg_issue(&w->reg, &w->item, &other, false);
    conflict_keeps_the_record_and_no_row(w);
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_OK);
    assert_true(kd_slice_eq(row.signet, kd_buf_slice(&w->alice.signet)));
    reg_user_free(&other);
}

static void
second_root_is_a_conflict(void **state)
{
    struct world *w = *state;
    struct reg_user other;

    issue(w, &w->alice);
    reg_user_init(&other, "alice@example.com");
    reg_issue(&w->reg, &w->item, &other, false);
    conflict_keeps_the_record_and_no_row(w);
    reg_user_free(&other);
}

static void
step_that_is_not_the_next_is_a_conflict(void **state)
{
    struct world *w = *state;

    issue(w, &w->alice);
    w->alice.seq = 2; /* a hole */
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
    w->alice.seq = 1;
    w->alice.ssr_fp[0] ^= 1; /* another predecessor */
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
}

static void
generations_have_no_holes_and_old_ones_do_not_grow(void **state)
{
    struct world *w = *state;

    issue(w, &w->alice);
    struct reg_user old = w->alice;
    make_reset(w);
    w->alice.generation = 2; /* the reset makes it 3 */
    reg_issue(&w->reg, &w->item, &w->alice, true);
    conflict_keeps_the_record_and_no_row(w);
    w->alice.generation = 1;
    reg_issue(&w->reg, &w->item, &w->alice, true);
    put_as(w, KD_OK);
    w->alice.generation = 1;
    w->alice.seq = 1;
    memcpy(w->alice.ssr_fp, old.ssr_fp, 64);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
}

static void
used_keys_are_a_conflict(void **state)
{
    struct world *w = *state;
    struct reg_user bob;
    struct kd_link_put first;

    issue(w, &w->alice);
    first = w->item.link;
    for (int which = 0; which < 6; which++) {
        reg_user_init(&bob, "bob@example.com");
        reg_issue(&w->reg, &w->item, &bob, false);
        if (which == 0)
            memcpy(w->item.link.signing_key, first.signing_key, 32);
        if (which == 1)
            memcpy(w->item.link.encryption_key, first.encryption_key, 32);
        if (which == 2)
            memcpy(w->item.link.signing_key, w->reg.pok.key, 32);
        if (which == 3)
            memcpy(w->item.link.signing_key, w->reg.sok.key, 32);
        if (which == 4)
            memcpy(w->item.link.encryption_key, w->reg.enc_key + 1, 32);
        if (which == 5) /* an organizational key in the other role */
            memcpy(w->item.link.encryption_key, w->reg.pok.key, 32);
        conflict_keeps_the_record_and_no_row(w);
        reg_user_free(&bob);
    }
    /* and the other way round: a user's key does not become the organization's */
    reg_org(&w->reg, &w->item, true);
    memcpy(w->item.keys[1].key, first.signing_key, 32);
    conflict_keeps_the_record_and_no_row(w);
    w->reg.org_version--;
    reg_org(&w->reg, &w->item, true);
    memcpy(w->item.keys[2].key, first.encryption_key, 32);
    conflict_keeps_the_record_and_no_row(w);
}

static void
version_that_is_not_the_next_is_a_conflict(void **state)
{
    struct world *w = *state;

    issue(w, &w->alice);
    w->alice.version = 2; /* 3 is not next */
    reg_reissue(&w->reg, &w->item, &w->alice);
    conflict_keeps_the_record_and_no_row(w);
    w->alice.version = 1;
    reg_reissue(&w->reg, &w->item, &w->alice);
    put_as(w, KD_OK);
    w->alice.version = 1; /* 2 again */
    reg_reissue(&w->reg, &w->item, &w->alice);
    conflict_keeps_the_record_and_no_row(w);
    w->alice.seq = 2; /* of a step that is not there */
    w->alice.version = 1;
    reg_reissue(&w->reg, &w->item, &w->alice);
    conflict_keeps_the_record_and_no_row(w);
    w->reg.org_version = 0;
    reg_org(&w->reg, &w->item, false);
    conflict_keeps_the_record_and_no_row(w);
    w->reg.org_version = 2;
    reg_org(&w->reg, &w->item, false);
    conflict_keeps_the_record_and_no_row(w);
}

static void
idempotency_key_again_is_a_conflict(void **state)
{
    struct world *w = *state;

    reg_plain(&w->reg, &w->item, KD_AUDIT_SEAL);
    reg_idem(&w->item, 5);
    put_as(w, KD_OK);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    reg_idem(&w->item, 5);
    put_as(w, KD_CONFLICT);
    struct kd_signet_row row;
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_NOT_FOUND);
}

static void
conflict_spares_its_neighbours_in_the_batch(void **state)
{
    struct world *w = *state;
    struct reg_user bob, twin, carol;
    struct kd_signet_row row;

    reg_user_init(&bob, "bob@example.com");
    reg_user_init(&twin, "bob@example.com");
    reg_user_init(&carol, "carol@example.com");
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    struct reg_user *users[] = {&w->alice, &bob, &twin, &carol};
    for (int i = 0; i < 4; i++) {
        reg_issue(&w->reg, &w->item, users[i], false);
        assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_OK);
        assert_int_equal(w->ack.outcome, i == 2 ? KD_CONFLICT : KD_OK);
    }
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    reopen(w);
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("bob@example.com"), &row), KD_OK);
    assert_true(kd_slice_eq(row.signet, kd_buf_slice(&bob.signet)));
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("carol@example.com"), &row),
        KD_OK);
    struct kd_audit_tail tail;
    kd_store_tail(w->store, &tail);
    assert_int_equal(tail.seq, 5);
    reg_user_free(&bob);
    reg_user_free(&twin);
    reg_user_free(&carol);
}

/* --- every UNIQUE by itself, with the triggers away --- */

#define Z10 "0000000000"
#define Z60 Z10 Z10 Z10 Z10 Z10 Z10
#define KEY(octet) "x'" Z60 "00" octet "'"
#define AFTER(octet) "x'" Z60 Z60 "000000" octet "'"
#define KEY_A KEY("aa")
#define KEY_B KEY("bb")
#define KEY_C KEY("cc")
#define KEY_D KEY("dd")
#define LINK(address, generation, seq, predecessor, fp, sk, ek)                        \
    "INSERT INTO link VALUES(NULL,'" address "'," generation "," seq "," predecessor   \
    "," AFTER(fp) "," sk "," ek ",1);"
#define ROOT "zeroblob(64)"

static void
each_constraint_holds_by_itself(void **state)
{
    struct world *w = *state;
    static const char first[] = LINK("a@b", "1", "1", ROOT, "01", KEY_A, KEY_B);
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {LINK("c@b", "1", "1", ROOT, "02", KEY_C, KEY_D), SQLITE_OK},
        {LINK("a@b", "1", "1", ROOT, "02", KEY_C, KEY_D), SQLITE_CONSTRAINT_UNIQUE},
        {LINK("c@b", "1", "1", ROOT, "02", KEY_A, KEY_D), SQLITE_CONSTRAINT_UNIQUE},
        {LINK("c@b", "1", "1", ROOT, "02", KEY_C, KEY_B), SQLITE_CONSTRAINT_UNIQUE},
        {LINK("a@b", "1", "2", AFTER("01"), "02", KEY_C, KEY_D)
             LINK("a@b", "1", "3", AFTER("01"), "03", KEY("ee"), KEY("ff")),
         SQLITE_CONSTRAINT_UNIQUE},
        {LINK("c@b", "1", "2", ROOT, "02", KEY_C, KEY_D), SQLITE_CONSTRAINT_CHECK},
        {LINK("c@b", "1", "1", AFTER("01"), "02", KEY_C, KEY_D),
         SQLITE_CONSTRAINT_CHECK},
        {LINK("c@b", "0", "1", ROOT, "02", KEY_C, KEY_D), SQLITE_CONSTRAINT_CHECK},
        {LINK("c@b", "1", "0", ROOT, "02", KEY_C, KEY_D), SQLITE_CONSTRAINT_CHECK},
        {LINK("c@b", "1", "1", ROOT, "02", "x'00'", KEY_D), SQLITE_CONSTRAINT_CHECK},
        {LINK("c@b", "'x'", "1", ROOT, "02", KEY_C, KEY_D), SQLITE_CONSTRAINT_DATATYPE},
        {"INSERT INTO org_signet VALUES(9,'example.com',1,1,1,zeroblob(64),"
         "zeroblob(64),zeroblob(64),x'00')",
         SQLITE_CONSTRAINT_UNIQUE},
        {"INSERT INTO signing VALUES(8,1,1,1,1,1,zeroblob(64),zeroblob(64),"
         "zeroblob(64),zeroblob(64),x'00');"
         "INSERT INTO signing VALUES(9,1,1,1,1,1,zeroblob(64),zeroblob(64),"
         "zeroblob(64),zeroblob(64),x'00')",
         SQLITE_CONSTRAINT_UNIQUE},
        {"INSERT INTO signing VALUES(9,77,1,1,1,1,zeroblob(64),zeroblob(64),"
         "zeroblob(64),zeroblob(64),x'00')",
         SQLITE_CONSTRAINT_FOREIGNKEY},
        {"INSERT INTO idem VALUES(1,zeroblob(16),zeroblob(32),1,1);"
         "INSERT INTO idem VALUES(2,zeroblob(16),zeroblob(32),1,1)",
         SQLITE_CONSTRAINT_UNIQUE},
        {"INSERT INTO audit VALUES(1,1,0,zeroblob(32),x'00')",
         SQLITE_CONSTRAINT_PRIMARYKEY},
        {"INSERT INTO audit VALUES(99,1,2,zeroblob(32),x'00')",
         SQLITE_CONSTRAINT_CHECK},
        {"INSERT INTO audit VALUES(99,1,0,zeroblob(32),zeroblob(1025))",
         SQLITE_CONSTRAINT_CHECK},
        {"INSERT INTO checkpoint VALUES(1,x'00');INSERT INTO checkpoint "
         "VALUES(1,x'00')",
         SQLITE_CONSTRAINT_PRIMARYKEY},
        {"INSERT INTO key_seen SELECT key, 1, 1 FROM key_seen",
         SQLITE_CONSTRAINT_PRIMARYKEY},
        {"INSERT INTO meta SELECT 2, instance, 1, 1, head_hash, 0, keystore_sha256 "
         "FROM "
         "meta",
         SQLITE_CONSTRAINT_CHECK},
    };
    sqlite3 *db;

    must_close(w);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(
            sqlite3_exec(db,
                         "BEGIN; DROP TRIGGER link_step; DROP TRIGGER signing_version; "
                         "DROP TRIGGER org_signet_version; DROP TRIGGER key_seen_user;",
                         NULL, NULL, NULL),
            SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, first, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_exec(db, rows[i].text, NULL, NULL, NULL);
        int code = sqlite3_extended_errcode(db);
        if (code != rows[i].code)
            fail_msg("%s: %d, not %d", rows[i].text, code, rows[i].code);
        assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    must_open(w);
}

static void
rows_cannot_be_changed_or_deleted(void **state)
{
    struct world *w = *state;
    static const char *const tables[][2] = {
        {"link", "seq"},      {"signing", "version"}, {"org_signet", "version"},
        {"key_seen", "kind"}, {"audit", "epoch"},     {"checkpoint", "octets"},
        {"hold", "state"},    {"reset", "delay"},     {"reset_event", "kind"},
    };
    char text[128];

    issue(w, &w->alice);
    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "mta:mx1", KD_OK);
    make_reset(w);
    reg_checkpoint(&w->reg, &w->item);
    put_as(w, KD_OK);
    must_close(w);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        snprintf(text, sizeof text, "UPDATE %s SET %s = %s", tables[i][0], tables[i][1],
                 tables[i][1]);
        assert_int_equal(sql(w, text), SQLITE_CONSTRAINT_TRIGGER);
        snprintf(text, sizeof text, "DELETE FROM %s", tables[i][0]);
        assert_int_equal(sql(w, text), SQLITE_CONSTRAINT_TRIGGER);
    }
    assert_int_equal(sql(w, "DELETE FROM uptime"), SQLITE_CONSTRAINT_TRIGGER);
    assert_int_equal(sql(w, "UPDATE uptime SET ms = 5; UPDATE uptime SET ms = 4"),
                     SQLITE_CONSTRAINT_TRIGGER);
    must_open(w);
}

/* --- accounts --- */

static struct kd_account
account_of(struct world *w, const char *address)
{
    struct kd_account a;

    assert_int_equal(kd_store_account(w->store, kd_slice_str(address), &a), KD_OK);
    return a;
}

static void
address_that_is_frozen_takes_no_step_until_it_is_thawed(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    struct kd_signet_row row;
    uint8_t newest[64];
    bool current;

    issue(w, &w->alice);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "theft", KD_OK);
    uint64_t frozen_at = w->reg.tail.time_ms;
    struct reg_user before = w->alice;
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
    struct kd_account a = account_of(w, "alice@example.com");
    assert_int_equal(a.hold, KD_HOLD_FROZEN);
    assert_int_equal(a.since_ms, frozen_at);
    assert_true(kd_slice_eq(a.reason, kd_slice_str("theft")));
    assert_int_equal(a.generation, 1);
    /* look-ups go on */
    assert_int_equal(kd_store_user_current(w->store, alice, &row), KD_OK);
    assert_int_equal(
        kd_store_user_verify(w->store, alice, row.core_fp, &current, newest), KD_OK);
    assert_true(current);
    reopen(w);
    assert_int_equal(account_of(w, "alice@example.com").hold, KD_HOLD_FROZEN);
    account(w, KD_AUDIT_THAW_ADDRESS, "alice@example.com", NULL, KD_OK);
    assert_int_equal(account_of(w, "alice@example.com").hold, KD_HOLD_NONE);
    w->alice.seq = before.seq;
    w->alice.pair = before.pair;
    memcpy(w->alice.ssr_fp, before.ssr_fp, 64);
    issue(w, &w->alice);
}

static void
address_without_a_signet_can_be_frozen(void **state)
{
    struct world *w = *state;

    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "abuse", KD_OK);
    struct kd_account a = account_of(w, "alice@example.com");
    assert_true(a.hold == KD_HOLD_FROZEN && a.generation == 0 && !a.has_reset);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
    /* no chain to be reset either */
    account(w, KD_AUDIT_REQUEST_RESET, "alice@example.com", "60", KD_CONFLICT);
    assert_int_equal(account_of(w, "bob@example.com").hold, KD_HOLD_NONE);
    assert_int_equal(kd_store_account(w->store, kd_slice(NULL, 0), &a), KD_INVALID);
}

static void
address_that_is_closed_stays_closed(void **state)
{
    struct world *w = *state;

    issue(w, &w->alice);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "other", KD_OK);
    account(w, KD_AUDIT_CLOSE_ADDRESS, "alice@example.com", NULL, KD_OK);
    account(w, KD_AUDIT_THAW_ADDRESS, "alice@example.com", NULL, KD_CONFLICT);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "theft", KD_CONFLICT);
    account(w, KD_AUDIT_CLOSE_ADDRESS, "alice@example.com", NULL, KD_CONFLICT);
    account(w, KD_AUDIT_REQUEST_RESET, "alice@example.com", "60", KD_CONFLICT);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    conflict_keeps_the_record_and_no_row(w);
    reopen(w);
    assert_int_equal(account_of(w, "alice@example.com").hold, KD_HOLD_CLOSED);
}

static void
hold_that_changes_nothing_is_a_conflict(void **state)
{
    struct world *w = *state;

    account(w, KD_AUDIT_THAW_ADDRESS, "alice@example.com", NULL, KD_CONFLICT);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "theft", KD_OK);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "theft", KD_CONFLICT);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "abuse", KD_OK);
    account(w, KD_AUDIT_ALLOW_PRINCIPAL, NULL, "mta:mx1", KD_CONFLICT);
    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "mta:mx1", KD_OK);
    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "mta:mx1", KD_CONFLICT);
    account(w, KD_AUDIT_REVOKE_LEVEL, "alice@example.com", "eci", KD_CONFLICT);
    account(w, KD_AUDIT_ATTEST_LEVEL, "alice@example.com", "eci", KD_OK);
    assert_true(account_of(w, "alice@example.com").attested);
    account(w, KD_AUDIT_REVOKE_LEVEL, "alice@example.com", "eci", KD_OK);
    assert_false(account_of(w, "alice@example.com").attested);
}

struct names {
    unsigned n;
    char text[8][80];
};

static bool
add_name(void *arg, struct kd_slice name)
{
    struct names *names = arg;

    snprintf(names->text[names->n++], 80, "%.*s", (int)name.n, (const char *)name.p);
    return names->n < 8;
}

static void
principals_that_are_stopped_are_known_after_a_restart(void **state)
{
    struct world *w = *state;
    struct names names = {0};

    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "mta:mx1", KD_OK);
    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "tls:mx1", KD_OK);
    account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "submission:a", KD_OK);
    account(w, KD_AUDIT_ALLOW_PRINCIPAL, NULL, "mta:mx1", KD_OK);
    reopen(w);
    assert_int_equal(kd_store_stopped(w->store, add_name, &names), KD_OK);
    assert_int_equal(names.n, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_true(strcmp(names.text[i], "tls:mx1") == 0 ||
                    strcmp(names.text[i], "submission:a") == 0);
}

/* One batch, that is one commit: what was added first counts. */
static void
freeze_and_step_in_one_batch_go_by_their_order(void **state)
{
    struct world *w = *state;
    struct reg_item freeze;
    struct kd_store_ack first, second;

    reg_item_init(&freeze);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    reg_account(&w->reg, &freeze, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com",
                "theft");
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &first), KD_OK);
    assert_int_equal(kd_store_add(w->store, &freeze.item, &second), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    assert_true(first.outcome == KD_OK && second.outcome == KD_OK);

    struct reg_user bob;
    reg_user_init(&bob, "bob@example.com");
    reg_account(&w->reg, &freeze, KD_AUDIT_FREEZE_ADDRESS, "bob@example.com", "theft");
    reg_issue(&w->reg, &w->item, &bob, false);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &freeze.item, &first), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &second), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    assert_true(first.outcome == KD_OK && second.outcome == KD_CONFLICT);
    assert_int_equal(account_of(w, "bob@example.com").generation, 0);
    reg_user_free(&bob);
    reg_item_free(&freeze);
}

/* T-OP-20, at the store: a new chain needs a reset that was asked for and approved, and
 * whose delay has passed by both clocks. */
static void
T_OP_20_new_chain_without_a_ripe_and_approved_reset_is_a_conflict(void **state)
{
    static const struct {
        const char *what;
        bool asked, approved, cancelled;
        uint64_t wall, counted;
        kd_err outcome;
    } cases[] = {
        {"nothing", false, false, false, 60000, 60000, KD_CONFLICT},
        {"asked for only", true, false, false, 60000, 60000, KD_CONFLICT},
        {"the clock was set forward", true, true, false, 99999999, 59000, KD_CONFLICT},
        {"the clock was set back", true, true, false, 50000, 60000, KD_CONFLICT},
        {"neither", true, true, false, 0, 0, KD_CONFLICT},
        {"cancelled", true, true, true, 60000, 60000, KD_CONFLICT},
        {"all of it", true, true, false, 60000, 60000, KD_OK},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reg_user u;
        char address[64];
        snprintf(address, sizeof address, "u%zu@example.com", i);
        reg_user_init(&u, address);
        issue(w, &u);
        if (cases[i].asked)
            account(w, KD_AUDIT_REQUEST_RESET, address, "60", KD_OK);
        if (cases[i].approved)
            account(w, KD_AUDIT_APPROVE_RESET, address, NULL, KD_OK);
        if (cases[i].cancelled)
            account(w, KD_AUDIT_CANCEL_RESET, address, NULL, KD_OK);
        w->reg.clock_ms += cases[i].wall;
        w->reg.uptime_ms += cases[i].counted;
        reg_issue(&w->reg, &w->item, &u, true);
        put(w);
        if (w->ack.outcome != cases[i].outcome)
            fail_msg("%s: %d", cases[i].what, w->ack.outcome);
        reg_user_free(&u);
    }
}

static void
reset_is_used_once_and_the_old_chain_stays_to_be_found(void **state)
{
    struct world *w = *state;
    struct kd_slice alice = kd_slice_str("alice@example.com");
    struct kd_signet_row row;
    uint8_t old[64];

    issue(w, &w->alice);
    memcpy(old, w->item.signing.core_fp, 64);
    make_reset(w);
    assert_true(account_of(w, "alice@example.com").has_reset);
    reg_issue(&w->reg, &w->item, &w->alice, true);
    put_as(w, KD_OK);
    struct kd_account a = account_of(w, "alice@example.com");
    assert_true(a.generation == 2 && !a.has_reset);
    assert_int_equal(kd_store_user_by_fp(w->store, alice, old, &row), KD_OK);
    assert_true(row.generation == 1 && !row.head);
    w->reg.clock_ms += 60000;
    w->reg.uptime_ms += 60000;
    reg_issue(&w->reg, &w->item, &w->alice, true);
    conflict_keeps_the_record_and_no_row(w);
}

static void
step_by_the_old_key_ends_the_reset(void **state)
{
    struct world *w = *state;
    uint32_t n = 9;

    issue(w, &w->alice);
    make_reset(w);
    assert_int_equal(kd_store_n_resets(w->store, &n), KD_OK);
    assert_int_equal(n, 1);
    issue(w, &w->alice);
    assert_false(account_of(w, "alice@example.com").has_reset);
    assert_int_equal(kd_store_n_resets(w->store, &n), KD_OK);
    assert_int_equal(n, 0);
    reg_issue(&w->reg, &w->item, &w->alice, true);
    conflict_keeps_the_record_and_no_row(w);
}

static bool
add_reset(void *arg, const struct kd_reset_row *row)
{
    struct names *names = arg;

    assert_int_equal(row->delay_ms, 60000);
    assert_int_equal(row->generation, 1);
    return add_name(names, row->address);
}

static void
pending_resets_are_listed_in_order_one_an_address(void **state)
{
    static const char *const addresses[] = {"c@example.com", "a@example.com",
                                            "b@example.com"};
    struct world *w = *state;
    struct names names = {0};

    for (size_t i = 0; i < 3; i++) {
        struct reg_user u;
        reg_user_init(&u, addresses[i]);
        issue(w, &u);
        reg_user_free(&u);
        account(w, KD_AUDIT_APPROVE_RESET, addresses[i], NULL, KD_CONFLICT);
        account(w, KD_AUDIT_REQUEST_RESET, addresses[i], "60", KD_OK);
        account(w, KD_AUDIT_REQUEST_RESET, addresses[i], "60", KD_CONFLICT);
        account(w, KD_AUDIT_APPROVE_RESET, addresses[i], NULL, KD_OK);
        account(w, KD_AUDIT_APPROVE_RESET, addresses[i], NULL, KD_CONFLICT);
    }
    reopen(w);
    assert_int_equal(kd_store_resets(w->store, kd_slice(NULL, 0), add_reset, &names),
                     KD_OK);
    assert_int_equal(names.n, 3);
    assert_string_equal(names.text[0], "a@example.com");
    assert_string_equal(names.text[2], "c@example.com");
    names.n = 0;
    assert_int_equal(
        kd_store_resets(w->store, kd_slice_str("b@example.com"), add_reset, &names),
        KD_OK);
    assert_int_equal(names.n, 1);
    account(w, KD_AUDIT_CANCEL_RESET, "a@example.com", NULL, KD_OK);
    account(w, KD_AUDIT_CANCEL_RESET, "a@example.com", NULL, KD_CONFLICT);
    account(w, KD_AUDIT_REQUEST_RESET, "a@example.com", "60", KD_OK); /* another one */
    assert_false(account_of(w, "a@example.com").reset.approved);
}

static void
counted_time_is_kept_and_never_goes_back(void **state)
{
    struct world *w = *state;
    uint64_t ms = 1;

    assert_int_equal(kd_store_uptime(w->store, &ms), KD_OK);
    assert_int_equal(ms, 0);
    assert_int_equal(kd_store_count_uptime(w->store, 1000), KD_INVALID);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_count_uptime(w->store, 1000), KD_OK);
    assert_int_equal(kd_store_count_uptime(w->store, 500), KD_OK);
    assert_int_equal(kd_store_count_uptime(w->store, UINT64_MAX), KD_INVALID);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    reopen(w);
    assert_int_equal(kd_store_uptime(w->store, &ms), KD_OK);
    assert_int_equal(ms, 1000);
    /* what a reset was asked for with was counted, too */
    issue(w, &w->alice);
    w->reg.uptime_ms = 7000;
    account(w, KD_AUDIT_REQUEST_RESET, "alice@example.com", "60", KD_OK);
    assert_int_equal(kd_store_uptime(w->store, &ms), KD_OK);
    assert_int_equal(ms, 7000);
}

static void
account_records_that_break_a_rule_are_refused(void **state)
{
    static const char *const delays[] = {"", "1h", "-1", "007", "12345678901", "6 0"};
    struct world *w = *state;

    issue(w, &w->alice);
    for (size_t i = 1; i < 5; i++) {
        reg_account(&w->reg, &w->item, KD_AUDIT_REQUEST_RESET, "alice@example.com",
                    delays[i]);
        refuse(w, KD_INVALID);
    }
    /* a request without what was counted; what was counted without a request */
    reg_account(&w->reg, &w->item, KD_AUDIT_REQUEST_RESET, "alice@example.com", "60");
    w->item.item.reset = NULL;
    refuse(w, KD_INVALID);
    reg_account(&w->reg, &w->item, KD_AUDIT_APPROVE_RESET, "alice@example.com", NULL);
    w->item.item.reset = &w->item.reset;
    refuse(w, KD_INVALID);
    /* a new chain that does not say so */
    make_reset(w);
    uint64_t seq = w->reg.tail.seq;
    struct kd_audit_tail tail = w->reg.tail;
    reg_issue(&w->reg, &w->item, &w->alice, true);
    w->item.decoded.notes = 0;
    w->reg.tail = tail;
    reg_seal(&w->reg, &w->item);
    refuse(w, KD_INVALID);
    assert_int_equal(w->reg.tail.seq, seq);
}

static void
row_that_was_taken_away_is_noticed_at_open(void **state)
{
    static const char *const changes[] = {
        "DELETE FROM hold WHERE kind = 1",
        "DELETE FROM hold WHERE kind = 2",
        "DELETE FROM reset_event",
        "DELETE FROM reset_open; DELETE FROM reset_event; DELETE FROM reset",
        "INSERT INTO hold VALUES(99, 2, 'mta:x', 1, '', 2, 1)",
    };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct world *w;
        void *fresh = NULL;
        world_start(&fresh);
        w = fresh;
        issue(w, &w->alice);
        account(w, KD_AUDIT_FREEZE_ADDRESS, "bob@example.com", "theft", KD_OK);
        account(w, KD_AUDIT_STOP_PRINCIPAL, NULL, "mta:mx1", KD_OK);
        make_reset(w);
        must_close(w);
        tamper(w->path, changes[i]);
        assert_int_equal(try_open(w), KD_INVALID);
        assert_non_null(strstr(w->why, "rows"));
        world_end(&fresh);
    }
    (void)state;
}

/* --- a registry of an older keyd --- */

static void
put_old_registry(struct world *w)
{
    uint8_t part[4096];
    char path[128];
    size_t n;

    must_close(w);
    snprintf(path, sizeof path, "%s-wal", w->path);
    unlink(path);
    FILE *in = fopen(KEYD_VECTORS "/../fixtures/registry-schema-1.db", "rb");
    FILE *out = fopen(w->path, "wb");
    assert_true(in != NULL && out != NULL);
    while ((n = fread(part, 1, sizeof part, in)) > 0)
        assert_int_equal(fwrite(part, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void
registry_of_schema_version_1_is_brought_to_this_one(void **state)
{
    struct world *w = *state;
    struct kd_signet_row row;
    struct kd_org_row org;
    uint64_t ms = 1;

    put_old_registry(w);
    must_open(w);
    kd_store_tail(w->store, &w->reg.tail);
    assert_int_equal(w->reg.tail.seq, 7);
    w->reg.clock_ms = w->reg.tail.time_ms;
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_OK);
    assert_true(row.seq == 2 && row.version == 2 && row.head);
    assert_int_equal(kd_store_org_current(w->store, kd_slice_str("example.com"), &org),
                     KD_OK);
    assert_int_equal(org.version, 2);
    assert_int_equal(kd_store_uptime(w->store, &ms), KD_OK);
    assert_int_equal(ms, 0);
    account(w, KD_AUDIT_FREEZE_ADDRESS, "alice@example.com", "theft", KD_OK);
    account(w, KD_AUDIT_REQUEST_RESET, "bob@example.com", "60", KD_OK);
    reopen(w); /* which it is but once */
    assert_int_equal(account_of(w, "alice@example.com").hold, KD_HOLD_FROZEN);
    assert_true(account_of(w, "bob@example.com").has_reset);
    must_close(w);
    w->conf.check = KD_CHECK_FULL;
    must_open(w);
}

/* Objects of a schema in one text, however it came to be. */
static void
read_schema(const char *path, char out[32768])
{
    sqlite3 *db;
    sqlite3_stmt *st;
    size_t at = 0;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT type, name, sql FROM sqlite_schema "
                                        "ORDER BY type, name",
                                        -1, &st, NULL),
                     SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW)
        at += (size_t)snprintf(out + at, 32768 - at, "%s %s %s\n",
                               sqlite3_column_text(st, 0), sqlite3_column_text(st, 1),
                               sqlite3_column_text(st, 2) == NULL
                                   ? (const unsigned char *)""
                                   : sqlite3_column_text(st, 2));
    assert_true(at < 32768 - 1);
    assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
migrated_registry_has_the_schema_of_a_new_one(void **state)
{
    struct world *w = *state;
    static char fresh[32768], migrated[32768];

    must_close(w);
    read_schema(w->path, fresh);
    must_open(w);
    put_old_registry(w);
    must_open(w);
    must_close(w);
    read_schema(w->path, migrated);
    assert_string_equal(fresh, migrated);
    must_open(w);
}

static void
altered_registry_of_an_older_version_is_refused_as_it_is(void **state)
{
    struct world *w = *state;

    put_old_registry(w);
    assert_int_equal(sql(w, "DROP TRIGGER link_step"), SQLITE_OK);
    assert_int_equal(try_open(w), KD_INVALID);
    assert_non_null(strstr(w->why, "schema"));
    put_old_registry(w);
    assert_int_equal(sql(w, "CREATE TABLE hold(a)"), SQLITE_OK);
    assert_int_equal(try_open(w), KD_INVALID);
    put_old_registry(w);
    tamper(w->path, "UPDATE audit SET epoch = 9 WHERE seq = 3");
    assert_int_equal(try_open(w), KD_INVALID);
}

/* --- the protocol --- */

static void
record_sent_again_has_its_earlier_outcome(void **state)
{
    struct world *w = *state;
    struct reg_user twin;
    struct reg_item again;
    struct kd_store_ack ack;

    reg_user_init(&twin, "alice@example.com");
    reg_item_init(&again);
    reg_issue(&w->reg, &again, &w->alice, false);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &again.item, &ack), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    reg_issue(&w->reg, &w->item, &twin, false);
    put_as(w, KD_CONFLICT);
    reopen(w);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &again.item, &ack), KD_OK);
    assert_int_equal(ack.outcome, KD_OK);
    assert_int_equal(ack.seq, 2);
    assert_int_equal(ack.epoch, 1);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &ack), KD_OK);
    assert_int_equal(ack.outcome, KD_CONFLICT);
    assert_memory_equal(ack.hash, w->reg.tail.hash, 32);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    struct kd_audit_tail tail;
    kd_store_tail(w->store, &tail);
    assert_int_equal(tail.seq, 3);
    reg_item_free(&again);
    reg_user_free(&twin);
}

static void
records_that_break_the_chain_are_refused(void **state)
{
    struct world *w = *state;

    for (int which = 0; which < 7; which++) {
        reg_plain(&w->reg, &w->item, KD_AUDIT_OPEN_ENVELOPE);
        put_as(w, KD_OK);
        if (which == 0) /* a gap */
            w->reg.tail.seq++;
        if (which == 1) /* another record in a place that is taken */
            w->reg.tail.seq -= 2;
        if (which == 2)
            w->reg.tail.hash[0] ^= 1;
        if (which == 3)
            w->reg.tail.epoch--;
        if (which == 4)
            w->reg.tail.instance[0] ^= 1;
        if (which == 5)
            w->reg.clock_ms -= 60000;
        reg_plain(&w->reg, &w->item, KD_AUDIT_OPEN_ENVELOPE);
        if (which == 6)
            w->item.item.record.n--;
        refuse(w, which == 6 ? KD_MALFORMED : KD_INVALID);
        w->reg.clock_ms = w->reg.tail.time_ms;
    }
    reg_plain(&w->reg, &w->item, KD_AUDIT_OPEN_ENVELOPE);
    put_as(w, KD_OK);
}

static void
items_that_break_a_rule_are_refused(void **state)
{
    struct world *w = *state;
    struct reg_user bob;
    uint8_t keystore[] = {1, 2, 3};

    issue(w, &w->alice);
    for (int which = 0; which < 12; which++) {
        reg_user_init(&bob, "bob@example.com");
        reg_issue(&w->reg, &w->item, &bob, false);
        struct kd_store_item *item = &w->item.item;
        if (which == 0) /* a step without a signature */
            item->signing = NULL;
        if (which == 1) /* a new step's first signature is version 1 */
            w->item.signing.version = 2;
        if (which == 2) /* version 1 of a step that was there */
            item->link = NULL;
        if (which == 3)
            w->item.signing.signet.n--;
        if (which == 4)
            w->item.signing.signet.n = 0;
        if (which == 5)
            w->item.signing.core_size++;
        if (which == 6)
            w->item.signing.core_size = 0;
        if (which == 7)
            w->item.signing.core_fp[5] ^= 1;
        if (which == 8) { /* rows with what did not succeed */
            w->reg.tail.seq--;
            memcpy(w->reg.tail.hash, w->item.decoded.prev, 32);
            w->item.decoded.outcome = KD_OUTCOME_FAILED;
            reg_seal(&w->reg, &w->item);
        }
        if (which == 9) { /* rows of another operation */
            w->reg.tail.seq--;
            memcpy(w->reg.tail.hash, w->item.decoded.prev, 32);
            const struct kd_signing_put *signing = item->signing;
            reg_plain(&w->reg, &w->item, KD_AUDIT_OPEN_ENVELOPE);
            item->signing = signing;
            item->link = &w->item.link;
        }
        if (which == 10) { /* too many keys */
            item->keys = w->item.keys;
            item->n_keys = KD_STORE_KEYS_MAX + 1;
        }
        if (which == 11) { /* a key store that was not staged */
            w->reg.tail.seq--;
            memcpy(w->reg.tail.hash, w->item.decoded.prev, 32);
            reg_keystore(&w->reg, &w->item, 1, kd_slice(keystore, sizeof keystore));
        }
        refuse(w, KD_INVALID);
        reg_user_free(&bob);
    }
    /* checkpoints: of a later head, of another chain, of octets */
    for (int which = 0; which < 3; which++) {
        uint64_t seq = w->reg.tail.seq;
        uint8_t keep[32];
        memcpy(keep, w->reg.tail.hash, 32);
        if (which == 0)
            w->reg.tail.seq += 2;
        if (which == 1)
            w->reg.tail.hash[0] ^= 1;
        reg_checkpoint(&w->reg, &w->item);
        if (which == 2)
            w->item.octets.p[0] ^= 1;
        w->reg.tail.seq = seq;
        memcpy(w->reg.tail.hash, keep, 32);
        reg_seal(&w->reg, &w->item);
        refuse(w, KD_INVALID);
    }
}

static void
aborted_batch_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct kd_audit_tail before, after;
    struct kd_signet_row row;

    kd_store_tail(w->store, &before);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_begin(w->store), KD_INVALID);
    reg_issue(&w->reg, &w->item, &w->alice, false);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_OK);
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_INVALID); /* nobody reads what may be undone */
    kd_store_abort(w->store);
    kd_store_tail(w->store, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_NOT_FOUND);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_INVALID);
    put_as(w, KD_OK);
    /* closing within a batch is as good */
    reg_issue(&w->reg, &w->item, &w->alice, false);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_OK);
    reopen(w);
    put_as(w, KD_OK);
}

static void
log_is_moved_when_it_has_grown(void **state)
{
    struct world *w = *state;
    struct kd_store_stats stats;
    uint64_t most = 0;
    char address[64];

    for (unsigned i = 0; i < 2600; i++) {
        struct reg_user u;
        snprintf(address, sizeof address, "u%u@example.com", i);
        reg_user_init(&u, address);
        if (i % 2 == 0)
            reg_plain(&w->reg, &w->item, KD_AUDIT_SIGN_DKIM);
        else
            reg_checkpoint(&w->reg, &w->item);
        put(w);
        assert_int_equal(kd_store_tend(w->store), KD_OK);
        assert_int_equal(kd_store_stats(w->store, &stats), KD_OK);
        most = stats.wal_size > most ? stats.wal_size : most;
        reg_user_free(&u);
    }
    assert_in_range(most, 1, 20 * 1024 * 1024);
    assert_in_range(stats.wal_size, 0, most - 1);
    assert_true(stats.checked_whole);
    reopen(w);
}

/* --- the key store --- */

static void
stage(struct world *w, const char *text)
{
    assert_int_equal(kd_store_keystore_stage(w->store, kd_slice_str(text)), KD_OK);
}

static void
expect_keystore(struct world *w, const char *text, uint64_t generation)
{
    struct kd_slice octets;
    uint64_t g;

    assert_int_equal(kd_store_keystore_read(w->store, &octets, &g), KD_OK);
    assert_true(kd_slice_eq(octets, kd_slice_str(text)));
    assert_int_equal(g, generation);
}

static bool
exists(struct world *w, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return access(path, F_OK) == 0;
}

static void
write_file(struct world *w, const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void
keystore_changes_by_staging_committing_activating(void **state)
{
    struct world *w = *state;
    struct kd_slice octets;
    uint64_t g;

    assert_int_equal(kd_store_keystore_read(w->store, &octets, &g), KD_NOT_FOUND);
    assert_int_equal(kd_store_keystore_stage(w->store, kd_slice(NULL, 0)),
                     KD_TOO_LARGE);
    stage(w, "one");
    reg_keystore(&w->reg, &w->item, 1, kd_slice_str("one"));
    put_as(w, KD_OK);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    expect_keystore(w, "one", 1);
    assert_false(exists(w, "keystore.new"));
    reopen(w);
    expect_keystore(w, "one", 1);
    stage(w, "two");
    reg_keystore(&w->reg, &w->item, 3, kd_slice_str("two")); /* 2 is next */
    put_as(w, KD_CONFLICT);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    assert_false(exists(w, "keystore.new")); /* the record does not name it */
    expect_keystore(w, "one", 1);
    stage(w, "two");
    reg_keystore(&w->reg, &w->item, 2, kd_slice_str("two"));
    put_as(w, KD_OK);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    expect_keystore(w, "two", 2);
}

/* A vault that was not answered sends the change again, and the file with it. */
static void
keystore_change_sent_again_changes_nothing(void **state)
{
    struct world *w = *state;
    struct reg_item first;
    struct kd_store_ack ack;

    reg_item_init(&first);
    stage(w, "one");
    reg_keystore(&w->reg, &first, 1, kd_slice_str("one"));
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &first.item, &ack), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    for (int i = 0; i < 2; i++) {
        stage(w, "one");
        assert_int_equal(kd_store_begin(w->store), KD_OK);
        assert_int_equal(kd_store_add(w->store, &first.item, &ack), KD_OK);
        assert_int_equal(ack.outcome, KD_OK);
        assert_int_equal(kd_store_commit(w->store), KD_OK);
        assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
        assert_false(exists(w, "keystore.new"));
        /* the second time round the file has moved on already */
        expect_keystore(w, i == 0 ? "one" : "two", i == 0 ? 1 : 2);
        if (i == 1)
            break;
        stage(w, "two");
        reg_keystore(&w->reg, &w->item, 2, kd_slice_str("two"));
        put_as(w, KD_OK);
        assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    }
    reopen(w);
    expect_keystore(w, "two", 2);
    reg_item_free(&first);
}

static void
keystore_is_resolved_at_open(void **state)
{
    struct world *w = *state;

    stage(w, "one");
    reg_keystore(&w->reg, &w->item, 1, kd_slice_str("one"));
    put_as(w, KD_OK);
    reopen(w); /* committed, not activated */
    assert_false(exists(w, "keystore.new"));
    expect_keystore(w, "one", 1);
    stage(w, "two");
    reopen(w); /* staged, not committed */
    assert_false(exists(w, "keystore.new"));
    expect_keystore(w, "one", 1);
    stage(w, "two");
    reg_keystore(&w->reg, &w->item, 2, kd_slice_str("two"));
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_add(w->store, &w->item.item, &w->ack), KD_OK);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_INVALID);
    kd_store_abort(w->store); /* rolled back: not named either */
    reopen(w);
    expect_keystore(w, "one", 1);
    must_close(w);
    write_file(w, "keystore.new", "something else");
    must_open(w);
    assert_false(exists(w, "keystore.new"));
}

static void
keystore_that_is_not_the_recorded_one_is_refused(void **state)
{
    struct world *w = *state;

    must_close(w);
    write_file(w, "keystore", "from the ceremony");
    must_open(w); /* none recorded yet */
    expect_keystore(w, "from the ceremony", 0);
    stage(w, "one");
    reg_keystore(&w->reg, &w->item, 1, kd_slice_str("one"));
    put_as(w, KD_OK);
    assert_int_equal(kd_store_keystore_activate(w->store), KD_OK);
    must_close(w);
    write_file(w, "keystore", "an older one");
    assert_int_equal(try_open(w), KD_INVALID);
    assert_non_null(strstr(w->why, "keystore"));
    char path[128];
    snprintf(path, sizeof path, "%s/keystore", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(w), KD_INVALID);
    write_file(w, "keystore", "one");
    must_open(w);
}

/* --- what is refused at open --- */

static void
second_opener_is_busy_within_two_seconds(void **state)
{
    struct world *w = *state;
    struct kd_store *other = NULL;
    int64_t start = kd_clock_ms();

    issue(w, &w->alice);
    /* in this process and in another */
    assert_int_equal(kd_store_open(&kd_store_sqlite, &w->conf, &other, w->why),
                     KD_BUSY);
    assert_non_null(strstr(w->why, "another process"));
    assert_in_range(kd_clock_ms() - start, 0, 2000);
    start = kd_clock_ms();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(kd_store_open(&kd_store_sqlite, &w->conf, &other, w->why) == KD_BUSY ? 0
                                                                                   : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_in_range(kd_clock_ms() - start, 0, 2000);
    issue(w, &w->alice); /* the first one goes on */
}

static void
missing_registry_is_not_made_unless_asked(void **state)
{
    struct world *w = *state;
    struct kd_store *other = NULL;
    struct kd_store_conf conf = {.dir = "/tmp/kd-store-not-there"};

    assert_int_equal(kd_store_open(&kd_store_sqlite, &conf, &other, w->why),
                     KD_NOT_FOUND);
    must_close(w);
    unlink(w->path);
    w->conf.create = false;
    assert_int_equal(try_open(w), KD_NOT_FOUND);
    assert_non_null(strstr(w->why, "no registry"));
}

static void
half_made_registry_is_made_again(void **state)
{
    struct world *w = *state;

    must_close(w);
    unlink(w->path);
    write_file(w, "registry.db.new", "half");
    must_open(w);
    assert_false(exists(w, "registry.db.new"));
    struct kd_audit_tail tail;
    kd_store_tail(w->store, &tail);
    assert_int_equal(tail.seq, 0);
}

static void
damaged_file_is_refused_with_a_reason(void **state)
{
    struct world *w = *state;
    struct stat st;
    uint8_t page[4096];

    for (int i = 0; i < 40; i++)
        issue(w, &w->alice);
    must_close(w);
    assert_int_equal(stat(w->path, &st), 0);
    int fd = open(w->path, O_RDWR);
    uint8_t *whole = malloc((size_t)st.st_size);
    assert_non_null(whole);
    assert_int_equal(read(fd, whole, (size_t)st.st_size), st.st_size);
    static const long cuts[] = {0, 1, 100, 4096, 5000, 40960, -4096};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_int_equal(ftruncate(fd, cuts[i] < 0 ? st.st_size + cuts[i] : cuts[i]),
                         0);
        assert_int_equal(try_open(w), KD_INVALID);
        assert_true(strlen(w->why) > 10);
        assert_int_equal(pwrite(fd, whole, (size_t)st.st_size, 0), st.st_size);
    }
    memset(page, 0xa5, sizeof page);
    for (off_t at = 0; at < st.st_size; at += 4096) {
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
        assert_int_equal(try_open(w), KD_INVALID);
        assert_int_equal(pwrite(fd, whole + at, sizeof page, at), sizeof page);
    }
    close(fd);
    free(whole);
    must_open(w);
}

static void
other_versions_and_other_files_are_refused(void **state)
{
    struct world *w = *state;

    must_close(w);
    assert_int_equal(sql(w, "PRAGMA user_version = 4"), SQLITE_OK);
    assert_int_equal(try_open(w), KD_UNSUPPORTED);
    assert_non_null(strstr(w->why, "version 4"));
    assert_int_equal(sql(w, "PRAGMA user_version = 0"), SQLITE_OK);
    assert_int_equal(try_open(w), KD_UNSUPPORTED);
    /* this schema under the older number */
    assert_int_equal(sql(w, "PRAGMA user_version = 1"), SQLITE_OK);
    assert_int_equal(try_open(w), KD_INVALID);
    assert_int_equal(sql(w, "PRAGMA user_version = 2; PRAGMA application_id = 5"),
                     SQLITE_OK);
    assert_int_equal(try_open(w), KD_INVALID);
    assert_non_null(strstr(w->why, "not a registry"));
}

static void
altered_schema_is_refused(void **state)
{
    static const char *const changes[] = {
        "DROP TRIGGER audit_no_delete",
        "DROP TRIGGER link_step",
        "DROP INDEX link_predecessor",
        "CREATE TABLE extra(a)",
        "CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM idem; END",
        ("DROP TRIGGER link_step; CREATE TRIGGER link_step BEFORE INSERT ON link "
         "BEGIN SELECT 1; END"),
    };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct world *w;
        void *fresh = NULL;
        world_start(&fresh);
        w = fresh;
        must_close(w);
        assert_int_equal(sql(w, changes[i]), SQLITE_OK);
        assert_int_equal(try_open(w), KD_INVALID);
        assert_non_null(strstr(w->why, "schema"));
        world_end(&fresh);
    }
    (void)state;
}

/* T-OP-25: an altered or truncated log is detected at start. */
static void
T_OP_25_altered_or_truncated_log_is_refused(void **state)
{
    static const char *const changes[] = {
        "DELETE FROM audit WHERE seq = 12", /* the last */
        "DELETE FROM audit WHERE seq > 9",  /* the end */
        "DELETE FROM audit WHERE seq = 5",  /* the middle */
        "DELETE FROM audit WHERE seq = 1",  /* the start */
        "DELETE FROM audit",                /* everything */
        "UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 4) "
        "WHERE seq = 5",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 12",
        "UPDATE audit SET epoch = 2 WHERE seq = 6",
        "UPDATE audit SET record = CAST(substr(record, 1, 50) || "
        "CASE substr(record, 51, 1) WHEN x'00' THEN x'01' ELSE x'00' END || "
        "substr(record, 52) AS BLOB) WHERE seq = 7",
        "UPDATE audit SET seq = 13 WHERE seq = 12",
        "INSERT INTO audit SELECT 13, epoch, 0, hash, record FROM audit WHERE seq = 12",
        "UPDATE meta SET head_seq = 11",
        "UPDATE meta SET head_hash = zeroblob(32)",
        "UPDATE meta SET instance = zeroblob(16)",
        "DELETE FROM meta",
        /* a thorough thief: everything about the last record but one row */
        "DELETE FROM audit WHERE seq = 12; UPDATE meta SET head_seq = 11, head_hash = "
        "(SELECT hash FROM audit WHERE seq = 11)",
        /* the checkpoint stands further on */
        "DELETE FROM audit WHERE seq > 4; DELETE FROM signing WHERE audit_seq > 4; "
        "UPDATE meta SET head_seq = 4, head_hash = (SELECT hash FROM audit WHERE seq = "
        "4)",
        "UPDATE checkpoint SET octets = x'00'",
    };
    (void)state;

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        void *fresh = NULL;
        world_start(&fresh);
        struct world *w = fresh;
        for (int n = 2; n <= 12; n++) {
            if (n == 7)
                reg_checkpoint(&w->reg, &w->item);
            else
                reg_issue(&w->reg, &w->item, &w->alice, false);
            put_as(w, KD_OK);
        }
        must_close(w);
        tamper(w->path, "SELECT 1");
        must_open(w); /* tampering as such leaves no trace */
        must_close(w);
        tamper(w->path, changes[i]);
        kd_err err = try_open(w);
        if (err != KD_INVALID)
            fail_msg("%s: %s", changes[i], kd_err_text(err));
        assert_true(strlen(w->why) > 10);
        world_end(&fresh);
    }
}

/* What lies behind the tail that is walked at every start is found by the full check.
 */
static void
full_check_walks_the_whole_log(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 20; i++) {
        reg_plain(&w->reg, &w->item, KD_AUDIT_SIGN_DKIM);
        put_as(w, KD_OK);
    }
    must_close(w);
    tamper(w->path, "UPDATE audit SET hash = zeroblob(32) WHERE seq = 3");
    w->conf.tail_check = 5;
    must_open(w);
    must_close(w);
    w->conf.check = KD_CHECK_FULL;
    assert_int_equal(try_open(w), KD_INVALID);
    assert_non_null(strstr(w->why, "record 3"));
}

static void
registry_older_than_the_outside_checkpoint_is_refused(void **state)
{
    struct world *w = *state;
    struct kd_checkpoint cp;
    char copy[128], command[400];

    for (int i = 0; i < 3; i++)
        issue(w, &w->alice);
    must_close(w);
    snprintf(copy, sizeof copy, "%s/older", w->dir);
    snprintf(command, sizeof command, "cp %s %s", w->path, copy);
    assert_int_equal(system(command), 0);
    must_open(w);
    issue(w, &w->alice);
    reg_checkpoint(&w->reg, &w->item);
    assert_int_equal(kd_checkpoint_decode(w->item.item.checkpoint, &cp), KD_OK);
    put_as(w, KD_OK);
    w->conf.outside = &cp;
    reopen(w); /* on it */
    must_close(w);
    struct kd_checkpoint other = cp;
    other.hash[0] ^= 1;
    w->conf.outside = &other;
    assert_int_equal(try_open(w), KD_INVALID);
    other = cp;
    other.instance[0] ^= 1;
    assert_int_equal(try_open(w), KD_INVALID);
    w->conf.outside = &cp;
    assert_int_equal(rename(copy, w->path), 0); /* the backup put in its place */
    assert_int_equal(try_open(w), KD_INVALID);
    assert_non_null(strstr(w->why, "older"));
    w->conf.outside = NULL;
    must_open(w); /* without it nobody can know */
}

/* --- a disk that does not take it --- */

/* Runs the function as a user without privileges, in a child. */
static void
as_nobody(struct world *w, int (*function)(struct world *w))
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(getuid() == 0 && setresuid(65534, 65534, 65534) != 0 ? 99 : function(w));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int
open_is_io(struct world *w)
{
    kd_err err = try_open(w);

    if (err == KD_IO && strlen(w->why) > 10)
        return 0;
    fprintf(stderr, "%s: %s\n", kd_err_text(err), w->why);
    return 1;
}

static void
read_only_registry_is_refused(void **state)
{
    struct world *w = *state;

    must_close(w);
    if (getuid() == 0) {
        assert_int_equal(chown(w->dir, 65534, 65534), 0);
        assert_int_equal(chown(w->path, 65534, 65534), 0);
    }
    assert_int_equal(chmod(w->path, 0400), 0);
    as_nobody(w, open_is_io);
    assert_int_equal(chmod(w->path, 0600), 0);
    assert_int_equal(chmod(w->dir, 0500), 0);
    as_nobody(w, open_is_io); /* no log can be made */
    assert_int_equal(unlink(w->path), getuid() == 0 ? 0 : -1);
    if (getuid() == 0)
        as_nobody(w, open_is_io); /* nor a registry */
    assert_int_equal(chmod(w->dir, 0700), 0);
}

/* Puts until the disk is full; what was acknowledged is there afterwards. */
static uint64_t
fill(struct world *w, kd_err *last)
{
    uint64_t acked = w->reg.tail.seq;

    for (int i = 0; i < 20000; i++) {
        reg_plain(&w->reg, &w->item, KD_AUDIT_SIGN_DKIM);
        if ((*last = kd_store_begin(w->store)) != KD_OK)
            break;
        if ((*last = kd_store_add(w->store, &w->item.item, &w->ack)) != KD_OK)
            break;
        if ((*last = kd_store_commit(w->store)) != KD_OK)
            break;
        acked = w->ack.seq;
        if ((*last = kd_store_tend(w->store)) != KD_OK)
            break;
    }
    return acked;
}

static void
store_that_failed_answers_no_more(struct world *w)
{
    struct kd_signet_row row;

    assert_int_equal(
        kd_store_user_current(w->store, kd_slice_str("alice@example.com"), &row),
        KD_UNAVAILABLE);
    assert_int_equal(kd_store_begin(w->store), KD_UNAVAILABLE);
    assert_int_equal(kd_store_commit(w->store), KD_UNKNOWN);
    assert_int_equal(kd_store_tend(w->store), KD_UNKNOWN);
    assert_int_equal(kd_store_keystore_stage(w->store, kd_slice_str("x")),
                     KD_UNAVAILABLE);
}

static void
file_size_limit_loses_nothing_acknowledged(void **state)
{
    struct world *w = *state;
    struct kd_audit_tail tail;
    struct rlimit before, limit;
    kd_err last = KD_OK;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t acked = fill(w, &last);
    assert_int_equal(last, KD_UNKNOWN);
    assert_true(acked > 20);
    store_that_failed_answers_no_more(w);
    must_close(w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    must_open(w);
    kd_store_tail(w->store, &tail);
    assert_in_range(tail.seq, acked, acked + 1);
    w->reg.tail = tail;
    reg_issue(&w->reg, &w->item, &w->alice, false);
    put_as(w, KD_OK);
}

static void
full_disk_loses_nothing_acknowledged(void **state)
{
    struct world *w = *state;
    struct kd_audit_tail tail;
    char dir[96];
    kd_err last = KD_OK;

    snprintf(dir, sizeof dir, "%s/small", w->dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=768k,mode=0700") != 0) {
        print_message("skipped: no file system can be mounted (%s)\n", strerror(errno));
        skip();
    }
    must_close(w);
    w->conf.dir = dir;
    must_open(w);
    kd_store_tail(w->store, &w->reg.tail);
    uint64_t acked = fill(w, &last);
    assert_int_equal(last, KD_UNKNOWN);
    assert_true(acked > 20);
    store_that_failed_answers_no_more(w);
    must_close(w);
    assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    must_open(w);
    kd_store_tail(w->store, &tail);
    assert_in_range(tail.seq, acked, acked + 1);
    must_close(w);
    w->conf.dir = w->dir;
    assert_int_equal(umount(dir), 0);
}

/* A registry cannot be made where there is no room. */
static void
full_disk_makes_no_registry(void **state)
{
    struct world *w = *state;
    struct rlimit before, limit;
    struct kd_store_conf conf = w->conf;
    char dir[96];
    struct kd_store *other = NULL;

    snprintf(dir, sizeof dir, "%s/second", w->dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    conf.dir = dir;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    kd_err err = KD_UNAVAILABLE;
    unsigned n_refused = 0;
    for (limit.rlim_cur = 0; err == KD_UNAVAILABLE; limit.rlim_cur += 4096) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        err = kd_store_open(&kd_store_sqlite, &conf, &other, w->why);
        n_refused += err == KD_UNAVAILABLE;
    }
    assert_int_equal(err, KD_OK);
    assert_in_range(n_refused, 8, 64);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    kd_store_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_start, world_end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reopening_keeps_everything),
        TEST(files_are_for_their_owner_only),
        TEST(unknown_names_are_not_found),
        TEST(old_and_resigned_signets_are_found_by_their_fingerprints),
        TEST(signets_in_use_are_the_current_and_those_superseded_since),
        TEST(signets_of_an_ended_chain_are_not_in_use),
        TEST(former_org_signets_are_told_as_long_as_they_were_superseded_lately),
        TEST(signing_keys_of_users_and_of_the_organization_are_known),
        TEST(verify_tells_current_from_update),
        TEST(T_OP_23_history_has_51_cores_after_50_rotations),
        TEST(history_has_the_newest_signature_of_each_step_and_one_generation_only),
        TEST(org_signets_are_kept_by_version),
        TEST(walk_visits_heads_once),
        TEST(counters_add_up),
        TEST(no_statement_scans_or_sorts_what_grows),
        TEST(issue_query_answers_the_same_request_with_its_signet),
        TEST(T_OP_21_issue_query_knows_every_key_ever_used),
        TEST(idempotency_keys_are_bound_and_forgotten_in_time),
        TEST(lost_race_for_the_next_step_is_a_conflict),
        TEST(second_root_is_a_conflict),
        TEST(step_that_is_not_the_next_is_a_conflict),
        TEST(generations_have_no_holes_and_old_ones_do_not_grow),
        TEST(used_keys_are_a_conflict),
        TEST(version_that_is_not_the_next_is_a_conflict),
        TEST(idempotency_key_again_is_a_conflict),
        TEST(conflict_spares_its_neighbours_in_the_batch),
        TEST(each_constraint_holds_by_itself),
        TEST(rows_cannot_be_changed_or_deleted),
        TEST(address_that_is_frozen_takes_no_step_until_it_is_thawed),
        TEST(address_without_a_signet_can_be_frozen),
        TEST(address_that_is_closed_stays_closed),
        TEST(hold_that_changes_nothing_is_a_conflict),
        TEST(principals_that_are_stopped_are_known_after_a_restart),
        TEST(freeze_and_step_in_one_batch_go_by_their_order),
        TEST(T_OP_20_new_chain_without_a_ripe_and_approved_reset_is_a_conflict),
        TEST(reset_is_used_once_and_the_old_chain_stays_to_be_found),
        TEST(step_by_the_old_key_ends_the_reset),
        TEST(pending_resets_are_listed_in_order_one_an_address),
        TEST(counted_time_is_kept_and_never_goes_back),
        TEST(account_records_that_break_a_rule_are_refused),
        TEST(row_that_was_taken_away_is_noticed_at_open),
        TEST(registry_of_schema_version_1_is_brought_to_this_one),
        TEST(migrated_registry_has_the_schema_of_a_new_one),
        TEST(altered_registry_of_an_older_version_is_refused_as_it_is),
        TEST(record_sent_again_has_its_earlier_outcome),
        TEST(records_that_break_the_chain_are_refused),
        TEST(items_that_break_a_rule_are_refused),
        TEST(aborted_batch_leaves_nothing),
        TEST(log_is_moved_when_it_has_grown),
        TEST(keystore_changes_by_staging_committing_activating),
        TEST(keystore_change_sent_again_changes_nothing),
        TEST(keystore_is_resolved_at_open),
        TEST(keystore_that_is_not_the_recorded_one_is_refused),
        TEST(second_opener_is_busy_within_two_seconds),
        TEST(missing_registry_is_not_made_unless_asked),
        TEST(half_made_registry_is_made_again),
        TEST(damaged_file_is_refused_with_a_reason),
        TEST(other_versions_and_other_files_are_refused),
        cmocka_unit_test(altered_schema_is_refused),
        cmocka_unit_test(T_OP_25_altered_or_truncated_log_is_refused),
        TEST(full_check_walks_the_whole_log),
        TEST(registry_older_than_the_outside_checkpoint_is_refused),
        TEST(read_only_registry_is_refused),
        TEST(file_size_limit_loses_nothing_acknowledged),
        TEST(full_disk_loses_nothing_acknowledged),
        TEST(full_disk_makes_no_registry),
    };

    kd_store_setup(&kd_store_sqlite);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
