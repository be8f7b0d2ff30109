#include "check.h"

#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/verify.h>
#include <keyd/ledger/audit.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX = 400, FILE_MAX = 256 * 1024 };

struct check {
    const struct check_conf *conf;
    sqlite3 *db;
    sqlite3_stmt *record; /* record and conflict by seq */
    uint8_t instance[KD_INSTANCE_SIZE];
    struct kd_audit_tail base; /* the last record that was dropped; seq 0: none was */
    unsigned n_wrong;
};

static void wrong(struct check *c, const char *fmt, ...) KD_PRINTF(2, 3);

static void
wrong(struct check *c, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->n_wrong++;
    if (c->conf->report != NULL)
        c->conf->report(c->conf->arg, text);
}

/* --- SQL --- */

static sqlite3_stmt *
prepare(struct check *c, const char *sql)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v2(c->db, sql, -1, &st, NULL) != SQLITE_OK)
        wrong(c, "cannot be asked: %s", sqlite3_errmsg(c->db));
    return st;
}

static bool
step(struct check *c, sqlite3_stmt *st)
{
    int rc = st == NULL ? SQLITE_DONE : sqlite3_step(st);

    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        wrong(c, "cannot be read: %s", sqlite3_errmsg(c->db));
    return rc == SQLITE_ROW;
}

static uint64_t
num(sqlite3_stmt *st, int col)
{
    return (uint64_t)sqlite3_column_int64(st, col);
}

static struct kd_slice
octets(sqlite3_stmt *st, int col)
{
    const void *p = sqlite3_column_blob(st, col);

    return kd_slice(p, p == NULL ? 0 : (size_t)sqlite3_column_bytes(st, col));
}

static bool
same(sqlite3_stmt *st, int col, const void *p, size_t n)
{
    return kd_slice_eq(octets(st, col), kd_slice(p, n));
}

/* Every row of the query is a violation; its first column says where. */
static void
none(struct check *c, const char *what, const char *sql)
{
    sqlite3_stmt *st = prepare(c, sql);

    while (step(c, st)) {
        const unsigned char *where = sqlite3_column_text(st, 0);
        wrong(c, "%s: %s", what, where == NULL ? (const unsigned char *)"?" : where);
    }
    sqlite3_finalize(st);
}

/* --- I3: the log --- */

static void
check_chain(struct check *c)
{
    sqlite3_stmt *st = prepare(c, "SELECT seq, epoch, hash, record FROM audit WHERE "
                                  "seq > (SELECT base_seq FROM mark) ORDER BY seq");
    struct kd_audit_tail base = c->base;

    memcpy(base.instance, c->instance, sizeof base.instance);
    struct kd_chain chain = kd_chain_after(&base);
    while (step(c, st)) {
        if (kd_chain_feed(&chain, octets(st, 3), NULL) != KD_OK) {
            wrong(c, "I3 record %llu: %s", (unsigned long long)num(st, 0), chain.why);
            break;
        }
        if (num(st, 0) != chain.tail.seq || num(st, 1) != chain.tail.epoch ||
            !same(st, 2, chain.tail.hash, KD_SHA256_SIZE))
            wrong(c, "I3 row and record %llu differ",
                  (unsigned long long)chain.tail.seq);
    }
    sqlite3_finalize(st);
    st = prepare(c, "SELECT head_seq, head_hash FROM meta");
    if (!step(c, st) || num(st, 0) != chain.tail.seq ||
        !same(st, 1, chain.tail.hash, KD_SHA256_SIZE))
        wrong(c, "I3 log ends at %llu, not where the registry says",
              (unsigned long long)chain.tail.seq);
    sqlite3_finalize(st);
}

/* The record that a row names. The slices in *out live until the next call. */
static bool
find_record(struct check *c, uint64_t seq, const char *who, struct kd_audit_record *out)
{
    if (seq != 0 && seq <= c->base.seq)
        return false; /* exported and dropped: nothing to hold the row against */
    sqlite3_reset(c->record);
    sqlite3_bind_int64(c->record, 1, (sqlite3_int64)seq);
    if (!step(c, c->record)) {
        wrong(c, "I3 %s: record %llu is not there", who, (unsigned long long)seq);
        return false;
    }
    if (num(c->record, 1) != 0)
        wrong(c, "I3 %s: record %llu was a conflict", who, (unsigned long long)seq);
    if (kd_audit_decode(octets(c->record, 0), out) != KD_OK)
        return false; /* said by the chain */
    if (out->outcome != KD_OUTCOME_DONE)
        wrong(c, "I3 %s: record %llu did not succeed", who, (unsigned long long)seq);
    return true;
}

static void
check_checkpoints(struct check *c)
{
    sqlite3_stmt *st = prepare(
        c, "SELECT p.seq, p.octets, iif(p.seq = m.base_seq, m.base_hash, a.hash), "
           "iif(p.seq = m.base_seq, m.base_epoch, a.epoch) FROM "
           "mark m, checkpoint p LEFT JOIN audit a ON a.seq = p.seq "
           "WHERE p.seq >= m.base_seq");
    struct kd_checkpoint cp;

    while (step(c, st)) {
        unsigned long long seq = num(st, 0);
        kd_err err = c->conf->audit_key == NULL
                         ? kd_checkpoint_decode(octets(st, 1), &cp)
                         : kd_checkpoint_verify(octets(st, 1), c->conf->audit_key, &cp);
        if (err != KD_OK)
            wrong(c, "I3 checkpoint %llu: %s", seq, kd_err_text(err));
        else if (cp.seq != seq || cp.epoch != num(st, 3) ||
                 memcmp(cp.instance, c->instance, sizeof cp.instance) != 0 ||
                 !same(st, 2, cp.hash, sizeof cp.hash))
            wrong(c, "I3 checkpoint %llu does not lie on the log", seq);
    }
    sqlite3_finalize(st);
}

static uint64_t
count_rows(struct check *c, const char *sql, uint64_t seq)
{
    sqlite3_stmt *st = prepare(c, sql);
    uint64_t n = 0;

    sqlite3_bind_int64(st, 1, (sqlite3_int64)seq);
    if (step(c, st))
        n = num(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Only what would change the registry can be in conflict with it; an idempotency key
 * that was used is such a change. What a mail server asks for has none. */
static bool
may_conflict(const struct kd_audit_record *r)
{
    switch ((int)r->op) {
    case KD_AUDIT_START:
    case KD_AUDIT_STOP:
    case KD_AUDIT_SIGN_OUTBOUND:
    case KD_AUDIT_OPEN_ENVELOPE:
    case KD_AUDIT_OPEN_BOUNCE:
    case KD_AUDIT_MAKE_BOUNCE:
    case KD_AUDIT_SEAL_NAKED:
    case KD_AUDIT_SIGN_DKIM:
        return false;
    default:
        return true;
    }
}

/* The other way round: what a record says was stored is there, once; and what was a
 * conflict left nothing. */
static void
check_records_have_rows(struct check *c)
{
    sqlite3_stmt *st = prepare(c, "SELECT seq, conflict, record FROM audit WHERE "
                                  "seq > (SELECT base_seq FROM mark)");
    struct kd_audit_record r;

    while (step(c, st)) {
        unsigned long long seq = num(st, 0);
        if (kd_audit_decode(octets(st, 2), &r) != KD_OK)
            continue;
        bool stored = num(st, 1) == 0 && r.outcome == KD_OUTCOME_DONE;
        if (num(st, 1) != 0 && !may_conflict(&r))
            wrong(c, "I3 record %llu is a conflict about nothing", seq);
        uint64_t users =
            count_rows(c, "SELECT count(*) FROM signing WHERE audit_seq = ?1", seq);
        uint64_t orgs =
            count_rows(c, "SELECT count(*) FROM org_signet WHERE audit_seq = ?1", seq);
        uint64_t idems =
            count_rows(c, "SELECT count(*) FROM idem WHERE audit_seq = ?1", seq);
        if (users != (stored && kd_audit_op_has_link(r.op)))
            wrong(c, "I3 record %llu has %llu user signets", seq,
                  (unsigned long long)users);
        if (orgs != (stored && r.op == KD_AUDIT_ISSUE_ORG))
            wrong(c, "I3 record %llu has %llu org signets", seq,
                  (unsigned long long)orgs);
        if (idems > stored)
            wrong(c, "I3 record %llu has %llu idempotency keys", seq,
                  (unsigned long long)idems);
        if (stored && r.op == KD_AUDIT_CHECKPOINT &&
            count_rows(c, "SELECT count(*) FROM checkpoint WHERE seq < ?1", seq) == 0)
            wrong(c, "I3 record %llu has no checkpoint", seq);
    }
    sqlite3_finalize(st);
}

/* --- I2, I4: signets --- */

static void
check_digest(struct check *c, const char *who, const struct kd_audit_record *r,
             size_t i, struct kd_slice covered)
{
    uint8_t digest[KD_SHA256_SIZE];

    crypto_hash_sha256(digest, covered.p, covered.n);
    if (i >= r->n_digests || memcmp(digest, r->digests[i], sizeof digest) != 0)
        wrong(c, "I3 %s: digest %zu in record %llu is of something else", who, i,
              (unsigned long long)r->seq);
}

static void
check_print(struct check *c, const char *who, sqlite3_stmt *st, int col,
            const struct dime_signet *s, enum dime_part part)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];

    if (dime_fingerprint(s, part, fp) != KD_OK || !same(st, col, fp, sizeof fp))
        wrong(c, "I2 %s: %s fingerprint differs", who, dime_part_name(part));
}

/* Of each kind of organizational key one row, or it could be issued to a user. */
static void
check_key_seen(struct check *c, const char *who, const uint8_t *key)
{
    sqlite3_stmt *st = prepare(c, "SELECT count(*) FROM key_seen WHERE key = ?1");

    sqlite3_bind_blob(st, 1, key, 32, SQLITE_STATIC);
    if (!step(c, st) || num(st, 0) != 1)
        wrong(c, "I2 %s: a key of it is not among those never to be issued", who);
    sqlite3_finalize(st);
}

static void
check_org(struct check *c, sqlite3_stmt *st)
{
    char who[TEXT_MAX];
    struct dime_signet org;
    struct dime_verdict verdict;
    enum dime_reason why;
    struct kd_audit_record r;
    struct kd_slice domain = octets(st, 0);

    snprintf(who, sizeof who, "org signet %.*s version %llu", (int)domain.n,
             (const char *)domain.p, (unsigned long long)num(st, 1));
    if (dime_signet_parse_as(DIME_ORG, octets(st, 7), &org, &why) != KD_OK ||
        org.part != DIME_PART_IDENTIFIED) {
        wrong(c, "I2 %s does not parse", who);
        return;
    }
    if (dime_org_verify(&org, NULL, 0, &verdict) != KD_OK || !verdict.bound)
        wrong(c, "I2 %s does not verify", who);
    if (!kd_slice_eq(org.identifier, domain))
        wrong(c, "I2 %s is of another domain", who);
    check_print(c, who, st, 4, &org, DIME_PART_CORE);
    check_print(c, who, st, 5, &org, DIME_PART_FULL);
    check_print(c, who, st, 6, &org, DIME_PART_IDENTIFIED);
    check_key_seen(c, who, org.sign_key);
    check_key_seen(c, who, org.enc_key + 1);
    for (size_t i = 0; i < org.n_soks; i++)
        check_key_seen(c, who, org.soks[i].key);
    if (!find_record(c, num(st, 3), who, &r))
        return;
    if (r.op != KD_AUDIT_ISSUE_ORG || !kd_slice_eq(r.domain, domain) ||
        r.time_ms != num(st, 2))
        wrong(c, "I3 %s: record %llu is about something else", who,
              (unsigned long long)r.seq);
    check_digest(c, who, &r, r.n_digests - 1, dime_signet_covered(&org, 255));
    if (r.n_digests > 1)
        check_digest(c, who, &r, r.n_digests - 2, dime_signet_covered(&org, 253));
}

static void
check_orgs(struct check *c)
{
    sqlite3_stmt *st =
        prepare(c, "SELECT domain, version, created, audit_seq, core_fp, full_fp, "
                   "id_fp, signet FROM org_signet NOT INDEXED "
                   "ORDER BY domain, version");

    while (step(c, st))
        check_org(c, st);
    sqlite3_finalize(st);
    none(c, "I2 hole in the versions of an org signet",
         "SELECT domain FROM org_signet NOT INDEXED GROUP BY domain "
         "HAVING min(version) <> 1 OR max(version) <> count(*) OR "
         "count(DISTINCT version) <> count(*)");
}

/* The signing that is walked, and what its step and the one before are. */
struct walk {
    struct kd_buf prev; /* a signet of the step before; empty for a root */
    struct kd_buf now;  /* of this step */
    uint64_t now_link;
    char address[300];
    uint64_t generation, seq;
};

enum {
    C_ADDRESS,
    C_GENERATION,
    C_SEQ,
    C_PREDECESSOR,
    C_SSR,
    C_SIGN_KEY,
    C_ENC_KEY,
    C_LINK_MADE,
    C_LINK,
    C_VERSION,
    C_MADE,
    C_AUDIT,
    C_CORE_SIZE,
    C_CORE,
    C_FULL,
    C_ID,
    C_ORG,
    C_SIGNET,
    C_BEFORE, /* ssr_fp of the step before, by its place */
};

/* The org signet that the row says it is under. */
static bool
find_org(struct check *c, sqlite3_stmt *row, struct kd_slice domain, struct kd_buf *out,
         struct dime_signet *org)
{
    sqlite3_stmt *st =
        prepare(c, "SELECT signet FROM org_signet WHERE domain = ?1 AND full_fp = ?2");
    enum dime_reason why;

    sqlite3_bind_text(st, 1, (const char *)domain.p, (int)domain.n, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, octets(row, C_ORG).p, (int)octets(row, C_ORG).n,
                      SQLITE_STATIC);
    bool found = step(c, st);
    kd_buf_reset(out);
    if (found)
        kd_buf_put(out, octets(st, 0));
    sqlite3_finalize(st);
    return found &&
           dime_signet_parse_as(DIME_ORG, kd_buf_slice(out), org, &why) == KD_OK;
}

static void
check_user_signatures(struct check *c, const char *who, const struct walk *w,
                      sqlite3_stmt *st, const struct dime_signet *user)
{
    struct dime_signet org, prev;
    struct dime_verdict verdict;
    enum dime_reason why;
    struct kd_buf org_octets;
    bool has_prev = w->prev.n != 0 &&
                    dime_signet_parse(kd_buf_slice(&w->prev), &prev, &why) == KD_OK;

    kd_buf_init(&org_octets, DIME_SIGNET_MAX);
    if (!find_org(c, st, dime_identifier_domain(octets(st, C_ADDRESS)), &org_octets,
                  &org))
        wrong(c, "I4 %s: its org signet is not there", who);
    else if (dime_user_verify(user, &org, has_prev ? &prev : NULL, &verdict) != KD_OK)
        wrong(c, "I2 %s does not verify: %s", who, dime_reason_text(verdict.why));
    else if (!verdict.bound || verdict.chained != has_prev)
        wrong(c, "I2 %s is not bound to its chain", who);
    if (!has_prev && dime_signet_signature(user, 4) != NULL)
        wrong(c, "I2 %s: a root with a custody signature", who);
    kd_buf_free(&org_octets);
}

static void
check_user_record(struct check *c, const char *who, sqlite3_stmt *st,
                  const struct dime_signet *user)
{
    struct kd_audit_record r;

    if (!find_record(c, num(st, C_AUDIT), who, &r))
        return;
    if (r.op !=
            (num(st, C_VERSION) == 1 ? KD_AUDIT_ISSUE_USER : KD_AUDIT_REISSUE_USER) ||
        !kd_slice_eq(r.address, octets(st, C_ADDRESS)) ||
        r.generation != num(st, C_GENERATION) || r.link_seq != num(st, C_SEQ) ||
        r.time_ms != num(st, C_MADE))
        wrong(c, "I3 %s: record %llu is about something else", who,
              (unsigned long long)r.seq);
    check_digest(c, who, &r, 0, dime_signet_covered(user, 6));
    check_digest(c, who, &r, 1, dime_signet_covered(user, 253));
    check_digest(c, who, &r, 2, dime_signet_covered(user, 255));
}

static void
check_user(struct check *c, const struct walk *w, sqlite3_stmt *st)
{
    char who[TEXT_MAX];
    struct dime_signet user;
    enum dime_reason why;

    snprintf(who, sizeof who, "signet %s %llu.%llu version %llu", w->address,
             (unsigned long long)w->generation, (unsigned long long)w->seq,
             (unsigned long long)num(st, C_VERSION));
    if (dime_signet_parse_as(DIME_USER, octets(st, C_SIGNET), &user, &why) != KD_OK ||
        user.part != DIME_PART_IDENTIFIED) {
        wrong(c, "I2 %s does not parse", who);
        return;
    }
    if (!kd_slice_eq(user.identifier, octets(st, C_ADDRESS)))
        wrong(c, "I2 %s is of another address", who);
    if (!same(st, C_SIGN_KEY, user.sign_key, 32) ||
        !same(st, C_ENC_KEY, user.enc_key + 1, 32))
        wrong(c, "I2 %s has other keys than its step", who);
    if (num(st, C_CORE_SIZE) != user.end[DIME_PART_CORE] - DIME_HEADER_SIZE)
        wrong(c, "I2 %s: the core's size differs", who);
    check_print(c, who, st, C_SSR, &user, DIME_PART_REQUEST);
    check_print(c, who, st, C_CORE, &user, DIME_PART_CORE);
    check_print(c, who, st, C_FULL, &user, DIME_PART_FULL);
    check_print(c, who, st, C_ID, &user, DIME_PART_IDENTIFIED);
    check_user_signatures(c, who, w, st, &user);
    check_user_record(c, who, st, &user);
}

/* Moves on to the row's step. */
static void
next_step(struct check *c, struct walk *w, sqlite3_stmt *st)
{
    static const uint8_t zero[DIME_FINGERPRINT_SIZE];
    const char *address = (const char *)sqlite3_column_text(st, C_ADDRESS);
    bool root = num(st, C_SEQ) == 1;
    bool follows = strcmp(w->address, address) == 0;

    if (root ? num(st, C_GENERATION) != (follows ? w->generation + 1 : 1)
             : !follows || num(st, C_GENERATION) != w->generation ||
                   num(st, C_SEQ) != w->seq + 1)
        wrong(c, "I2 chain of %s has a hole before %llu.%llu", address,
              (unsigned long long)num(st, C_GENERATION),
              (unsigned long long)num(st, C_SEQ));
    struct kd_slice before = root ? kd_slice(zero, sizeof zero) : octets(st, C_BEFORE);
    if (!kd_slice_eq(before, octets(st, C_PREDECESSOR)))
        wrong(c, "I2 predecessor of %s %llu.%llu is not the step before", address,
              (unsigned long long)num(st, C_GENERATION),
              (unsigned long long)num(st, C_SEQ));
    kd_buf_reset(&w->prev);
    if (!root)
        kd_buf_put(&w->prev, kd_buf_slice(&w->now));
    snprintf(w->address, sizeof w->address, "%s", address);
    w->generation = num(st, C_GENERATION);
    w->seq = num(st, C_SEQ);
    w->now_link = num(st, C_LINK);
    kd_buf_reset(&w->now);
}

static void
check_users(struct check *c)
{
    struct walk w = {.now_link = UINT64_MAX};
    sqlite3_stmt *st = prepare(
        c, "SELECT l.address, l.generation, l.seq, l.predecessor, l.ssr_fp, "
           "l.signing_key, l.encryption_key, l.created, l.id, g.version, g.created, "
           "g.audit_seq, g.core_size, g.core_fp, g.full_fp, g.id_fp, g.org_fp, "
           "g.signet, (SELECT p.ssr_fp FROM link p WHERE p.address = l.address AND "
           "p.generation = l.generation AND p.seq = l.seq - 1) "
           "FROM link l LEFT JOIN signing g ON g.link = l.id "
           "ORDER BY l.address, l.generation, l.seq, g.version");

    kd_buf_init(&w.prev, DIME_SIGNET_MAX);
    kd_buf_init(&w.now, DIME_SIGNET_MAX);
    while (step(c, st)) {
        if (w.now_link != num(st, C_LINK)) {
            next_step(c, &w, st);
            if (num(st, C_VERSION) != 1)
                wrong(c, "I2 step of %s without its first signature", w.address);
            if (num(st, C_MADE) != num(st, C_LINK_MADE))
                wrong(c, "I2 step of %s is not as old as its first signature",
                      w.address);
        }
        if (octets(st, C_SIGNET).n == 0)
            continue;
        check_user(c, &w, st);
        kd_buf_reset(&w.now);
        kd_buf_put(&w.now, octets(st, C_SIGNET));
    }
    sqlite3_finalize(st);
    kd_buf_free(&w.prev);
    kd_buf_free(&w.now);
}

/* Not by way of the indexes, which may be what is broken. */
static void
check_unique(struct check *c)
{
    none(c, "I2 two steps in one place",
         "SELECT address FROM link NOT INDEXED GROUP BY +address, generation, seq "
         "HAVING count(*) > 1");
    none(c, "I2 two steps with one predecessor",
         "SELECT hex(predecessor) FROM link NOT INDEXED WHERE seq > 1 "
         "GROUP BY +predecessor HAVING count(*) > 1");
    none(
        c, "I2 one request issued twice",
        "SELECT hex(ssr_fp) FROM link NOT INDEXED GROUP BY ssr_fp HAVING count(*) > 1");
    none(c, "I2 one signing key in two steps",
         "SELECT hex(signing_key) FROM link NOT INDEXED GROUP BY +signing_key "
         "HAVING count(*) > 1");
    none(c, "I2 one encryption key in two steps",
         "SELECT hex(encryption_key) FROM link NOT INDEXED GROUP BY +encryption_key "
         "HAVING count(*) > 1");
    none(c, "I2 hole in the versions of a step",
         "SELECT link FROM signing NOT INDEXED GROUP BY +link "
         "HAVING min(version) <> 1 OR max(version) <> count(*) OR "
         "count(DISTINCT version) <> count(*)");
    none(c, "I2 signature of a step that is not there",
         "SELECT id FROM signing WHERE link NOT IN (SELECT id FROM link)");
    none(c, "I2 organizational key issued to a user",
         "SELECT l.address FROM link l JOIN key_seen k ON k.key = l.signing_key OR "
         "k.key = l.encryption_key");
    none(c, "I3 row made by a record that is not there",
         "SELECT 'key_seen ' || audit_seq FROM key_seen WHERE audit_seq NOT IN "
         "(SELECT seq FROM audit WHERE conflict = 0) AND "
         "audit_seq > (SELECT base_seq FROM mark) UNION ALL "
         "SELECT 'idem ' || audit_seq FROM idem WHERE audit_seq NOT IN "
         "(SELECT seq FROM audit WHERE conflict = 0) AND "
         "audit_seq > (SELECT base_seq FROM mark)");
    none(c, "counter below zero", "SELECT name FROM counter WHERE value < 0");
}

/* --- accounts: what the log says, and that the rows say just that --- */

enum { HOLD_ADDRESS = 1, HOLD_PRINCIPAL, HOLD_LEVEL };
enum { EVENT_APPROVED = 1, EVENT_CANCELLED, EVENT_USED, EVENT_NOT_NEEDED };

/* Runs a statement with up to three texts and three numbers, in this order. */
static uint64_t
ask(struct check *c, const char *sql, const struct kd_slice *texts, size_t n_texts,
    const uint64_t *numbers, size_t n_numbers)
{
    sqlite3_stmt *st = prepare(c, sql);
    uint64_t answer = 0;
    int at = 1;

    for (size_t i = 0; i < n_texts; i++)
        sqlite3_bind_text(st, at++, texts[i].n == 0 ? "" : (const char *)texts[i].p,
                          (int)texts[i].n, SQLITE_STATIC);
    for (size_t i = 0; i < n_numbers; i++)
        sqlite3_bind_int64(st, at++, (sqlite3_int64)numbers[i]);
    if (step(c, st))
        answer = num(st, 0);
    sqlite3_finalize(st);
    return answer;
}

static void
check_hold(struct check *c, const struct kd_audit_record *r, unsigned kind,
           struct kd_slice name, unsigned state, struct kd_slice detail)
{
    const struct kd_slice texts[] = {name, detail};
    const uint64_t numbers[] = {kind, state, r->seq, r->time_ms};

    if (ask(c,
            "SELECT count(*) FROM hold WHERE name = ?1 AND detail = ?2 AND kind = ?3 "
            "AND state = ?4 AND audit_seq = ?5 AND created = ?6",
            texts, 2, numbers, 4) != 1)
        wrong(c, "I3 record %llu has no row that says the same",
              (unsigned long long)r->seq);
    ask(c,
        "INSERT OR REPLACE INTO temp.held(name, detail, kind, state) "
        "VALUES(?1, ?2, ?3, ?4)",
        texts, 2, numbers, 2);
}

static bool
is_held(struct check *c, unsigned kind, struct kd_slice name)
{
    const uint64_t number = kind;

    return ask(c, "SELECT state FROM temp.held WHERE name = ?1 AND kind = ?2", &name, 1,
               &number, 1) != 0;
}

static uint64_t
delay_of(struct kd_slice seconds)
{
    uint64_t n = 0;

    for (size_t i = 0; i < seconds.n; i++)
        n = n * 10 + (uint64_t)(seconds.p[i] - '0');
    return n * 1000;
}

static void
check_reset(struct check *c, const struct kd_audit_record *r)
{
    const uint64_t numbers[] = {delay_of(r->detail), r->time_ms, r->seq};

    if (ask(c,
            "SELECT count(*) FROM reset WHERE address = ?1 AND delay = ?2 AND "
            "created = ?3 AND audit_seq = ?4",
            &r->address, 1, numbers, 3) != 1)
        wrong(c, "I3 record %llu has no reset", (unsigned long long)r->seq);
    if (ask(c, "SELECT count(*) FROM temp.pending WHERE address = ?1", &r->address, 1,
            NULL, 0) != 0)
        wrong(c, "I2 record %llu: a second reset", (unsigned long long)r->seq);
    ask(c,
        "INSERT OR REPLACE INTO temp.pending(address, delay, made, id, approved) "
        "VALUES(?1, ?2, ?3, (SELECT id FROM reset WHERE audit_seq = ?4), 0)",
        &r->address, 1, numbers, 3);
}

static void
check_reset_event(struct check *c, const struct kd_audit_record *r, uint64_t kind)
{
    const uint64_t numbers[] = {kind, r->seq, r->time_ms};

    if (ask(c,
            "SELECT count(*) FROM reset_event e JOIN temp.pending p ON p.id = e.reset "
            "WHERE p.address = ?1 AND e.kind = ?2 AND e.audit_seq = ?3 AND "
            "e.created = ?4",
            &r->address, 1, numbers, 3) != 1)
        wrong(c, "I3 record %llu does not change the reset that was pending",
              (unsigned long long)r->seq);
    ask(c,
        kind == EVENT_APPROVED
            ? "UPDATE temp.pending SET approved = 1 WHERE address = ?1"
            : "DELETE FROM temp.pending WHERE address = ?1",
        &r->address, 1, NULL, 0);
}

/* A step of a chain: of an account that was open, and a new chain by a reset that was
 * approved and waited for. */
static void
check_step_was_allowed(struct check *c, const struct kd_audit_record *r)
{
    unsigned long long seq = r->seq;
    bool pending = ask(c, "SELECT count(*) FROM temp.pending WHERE address = ?1",
                       &r->address, 1, NULL, 0) != 0;
    bool renews = r->generation > 1 && r->link_seq == 1;

    if (is_held(c, HOLD_ADDRESS, r->address))
        wrong(c, "I2 record %llu: issued although the address was not open", seq);
    if (renews != ((r->notes & KD_NOTE_RESET) != 0))
        wrong(c, "I3 record %llu: whether a chain starts anew is not said", seq);
    if (renews &&
        ask(c,
            "SELECT count(*) FROM temp.pending WHERE address = ?1 AND approved = 1 "
            "AND ?2 - made >= delay",
            &r->address, 1, &r->time_ms, 1) != 1)
        wrong(c, "I2 record %llu: a new chain without an approved and ripe reset", seq);
    if (pending)
        check_reset_event(c, r, renews ? EVENT_USED : EVENT_NOT_NEEDED);
}

static void
check_account_record(struct check *c, const struct kd_audit_record *r)
{
    const struct kd_slice nothing = kd_slice(NULL, 0);

    switch ((unsigned)r->op) {
    case KD_AUDIT_FREEZE_ADDRESS:
        check_hold(c, r, HOLD_ADDRESS, r->address, 1, r->detail);
        break;
    case KD_AUDIT_THAW_ADDRESS:
        check_hold(c, r, HOLD_ADDRESS, r->address, 0, nothing);
        break;
    case KD_AUDIT_CLOSE_ADDRESS:
        check_hold(c, r, HOLD_ADDRESS, r->address, 2, nothing);
        break;
    case KD_AUDIT_STOP_PRINCIPAL:
        check_hold(c, r, HOLD_PRINCIPAL, r->detail, 1, nothing);
        break;
    case KD_AUDIT_ALLOW_PRINCIPAL:
        check_hold(c, r, HOLD_PRINCIPAL, r->detail, 0, nothing);
        break;
    case KD_AUDIT_ATTEST_LEVEL:
        check_hold(c, r, HOLD_LEVEL, r->address, 1, nothing);
        break;
    case KD_AUDIT_REVOKE_LEVEL:
        check_hold(c, r, HOLD_LEVEL, r->address, 0, nothing);
        break;
    case KD_AUDIT_REQUEST_RESET:
        check_reset(c, r);
        break;
    case KD_AUDIT_APPROVE_RESET:
        check_reset_event(c, r, EVENT_APPROVED);
        break;
    case KD_AUDIT_CANCEL_RESET:
        check_reset_event(c, r, EVENT_CANCELLED);
        break;
    case KD_AUDIT_ISSUE_USER:
        check_step_was_allowed(c, r);
        break;
    default:
        break;
    }
}

static void
check_account_rows(struct check *c)
{
    none(c, "I3 hold without a record of its own",
         "SELECT id FROM hold WHERE audit_seq NOT IN "
         "(SELECT seq FROM audit WHERE conflict = 0)");
    none(c, "I3 reset without a record of its own",
         "SELECT id FROM reset WHERE audit_seq NOT IN "
         "(SELECT seq FROM audit WHERE conflict = 0)");
    none(c, "I3 pending resets are not those of the log",
         "SELECT address FROM reset_open WHERE (address, reset) NOT IN "
         "(SELECT address, id FROM temp.pending) UNION ALL "
         "SELECT address FROM temp.pending WHERE (address, id) NOT IN "
         "(SELECT address, reset FROM reset_open)");
    none(c, "I2 a reset was used before as much was counted",
         "SELECT r.address FROM reset r JOIN reset_event e ON e.reset = r.id AND "
         "e.kind = 3 WHERE (SELECT ms FROM uptime) - r.uptime < r.delay");
    none(c, "I2 a closed address was opened",
         "SELECT n.name FROM hold h JOIN hold n ON n.kind = 1 AND n.name = h.name AND "
         "n.id > h.id WHERE h.kind = 1 AND h.state = 2");
}

static void
check_accounts(struct check *c)
{
    struct kd_audit_record r;
    uint64_t holds = 0, events = 0;

    if (sqlite3_exec(c->db,
                     "CREATE TEMP TABLE held(kind, name, state, detail, "
                     "PRIMARY KEY(kind, name)); "
                     "CREATE TEMP TABLE pending(address PRIMARY KEY, id, made, delay, "
                     "approved)",
                     NULL, NULL, NULL) != SQLITE_OK)
        wrong(c, "no place for what is pending");
    sqlite3_stmt *st = prepare(c, "SELECT conflict, record FROM audit ORDER BY seq");
    while (step(c, st)) {
        if (num(st, 0) != 0 || kd_audit_decode(octets(st, 1), &r) != KD_OK ||
            r.outcome != KD_OUTCOME_DONE)
            continue;
        holds += r.op == KD_AUDIT_FREEZE_ADDRESS || r.op == KD_AUDIT_THAW_ADDRESS ||
                 r.op == KD_AUDIT_CLOSE_ADDRESS || r.op == KD_AUDIT_STOP_PRINCIPAL ||
                 r.op == KD_AUDIT_ALLOW_PRINCIPAL || r.op == KD_AUDIT_ATTEST_LEVEL ||
                 r.op == KD_AUDIT_REVOKE_LEVEL;
        events += r.op == KD_AUDIT_APPROVE_RESET || r.op == KD_AUDIT_CANCEL_RESET;
        check_account_record(c, &r);
    }
    sqlite3_finalize(st);
    if (ask(c, "SELECT count(*) FROM hold", NULL, 0, NULL, 0) != holds)
        wrong(c, "I3 holds that the log does not have");
    if (ask(c, "SELECT count(*) FROM reset_event WHERE kind <= 2", NULL, 0, NULL, 0) !=
        events)
        wrong(c, "I3 changes of resets that the log does not have");
    check_account_rows(c);
}

/* --- the key store --- */

static bool
file_digest(const char *dir, const char *name, uint8_t out[KD_SHA256_SIZE])
{
    static uint8_t octets_[FILE_MAX];
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return false;
    size_t n = fread(octets_, 1, sizeof octets_, f);
    fclose(f);
    crypto_hash_sha256(out, octets_, n);
    return true;
}

static void
check_keystore(struct check *c)
{
    sqlite3_stmt *st = prepare(c, "SELECT conflict, record FROM audit WHERE "
                                  "seq > (SELECT base_seq FROM mark) ORDER BY seq");
    struct kd_audit_record r;
    uint64_t generation = 0;
    uint8_t sha256[KD_SHA256_SIZE] = {0}, digest[KD_SHA256_SIZE];
    bool knows = c->base.seq == 0; /* else the first that is seen may be any */

    while (step(c, st)) {
        if (num(st, 0) != 0 || kd_audit_decode(octets(st, 1), &r) != KD_OK ||
            !kd_audit_changes_keystore(&r))
            continue;
        generation++;
        if (!knows || r.op == KD_AUDIT_RESTORE)
            generation = r.keystore_generation;
        knows = true;
        if (r.keystore_generation != generation)
            wrong(c, "I3 key store generation %llu comes after %llu",
                  (unsigned long long)r.keystore_generation,
                  (unsigned long long)generation - 1);
        memcpy(sha256, r.keystore_sha256, sizeof sha256);
    }
    sqlite3_finalize(st);
    st = prepare(c, "SELECT keystore_generation, keystore_sha256 FROM meta");
    bool is_there = step(c, st);
    if (is_there && !knows) {
        generation = num(st, 0);
        if (octets(st, 1).n == sizeof sha256)
            memcpy(sha256, octets(st, 1).p, sizeof sha256);
    }
    if (!is_there || num(st, 0) != generation || !same(st, 1, sha256, sizeof sha256))
        wrong(c, "I3 key store generation %llu is not what the registry says",
              (unsigned long long)generation);
    sqlite3_finalize(st);
    /* After a crash the new one may wait beside the old one. */
    if (generation == 0)
        return;
    bool good = (file_digest(c->conf->dir, "keystore.new", digest) &&
                 memcmp(digest, sha256, sizeof digest) == 0) ||
                (file_digest(c->conf->dir, "keystore", digest) &&
                 memcmp(digest, sha256, sizeof digest) == 0);
    if (!good)
        wrong(c, "I3 key store file is not the recorded one");
}

/* --- I1: what was acknowledged --- */

static void
check_acked_record(struct check *c, uint64_t seq, const uint8_t *hash)
{
    sqlite3_stmt *st = prepare(c, "SELECT hash FROM audit WHERE seq = ?1");

    sqlite3_bind_int64(st, 1, (sqlite3_int64)seq);
    if (seq > c->base.seq && (!step(c, st) || !same(st, 0, hash, KD_SHA256_SIZE)))
        wrong(c, "I1 acknowledged record %llu is lost", (unsigned long long)seq);
    sqlite3_finalize(st);
}

static void
check_acked_signet(struct check *c, const char *address, const uint8_t *sha256)
{
    sqlite3_stmt *st = prepare(c, "SELECT g.signet FROM link l JOIN signing g ON "
                                  "g.link = l.id WHERE l.address = ?1");
    uint8_t digest[KD_SHA256_SIZE];
    bool found = false;

    sqlite3_bind_text(st, 1, address, -1, SQLITE_STATIC);
    while (!found && step(c, st)) {
        struct kd_slice s = octets(st, 0);
        crypto_hash_sha256(digest, s.p, s.n);
        found = memcmp(digest, sha256, sizeof digest) == 0;
    }
    sqlite3_finalize(st);
    if (!found)
        wrong(c, "I1 acknowledged signet of %s is lost", address);
}

/* Results of message operations that were returned. */
struct messages {
    uint8_t (*digests)[KD_SHA256_SIZE];
    bool *is_recorded;
    size_t n, room;
};

static void
add_message(struct check *c, struct messages *m, const uint8_t *digest)
{
    if (m->n == m->room) {
        size_t room = m->room == 0 ? 4096 : 2 * m->room;
        void *more = realloc(m->digests, room * sizeof *m->digests);
        if (more == NULL) {
            wrong(c, "no memory for acknowledged messages");
            return;
        }
        m->digests = more;
        m->room = room;
    }
    memcpy(m->digests[m->n++], digest, KD_SHA256_SIZE);
}

static int
by_octets(const void *a, const void *b)
{
    return memcmp(a, b, KD_SHA256_SIZE);
}

static bool
is_done_with_message(const struct kd_audit_record *r)
{
    return (r->op == KD_AUDIT_SIGN_OUTBOUND || r->op == KD_AUDIT_OPEN_ENVELOPE) &&
           r->outcome == KD_OUTCOME_DONE && r->n_digests != 0;
}

/* The same message may have been asked about more than once: one record will do. */
static void
check_messages(struct check *c, struct messages *m)
{
    sqlite3_stmt *st = prepare(c, "SELECT record FROM audit ORDER BY seq");
    size_t n_lost = 0;

    qsort(m->digests, m->n, sizeof *m->digests, by_octets);
    while (step(c, st)) {
        struct kd_audit_record r;
        if (kd_audit_decode(octets(st, 0), &r) != KD_OK || !is_done_with_message(&r))
            continue;
        uint8_t(*found)[KD_SHA256_SIZE] =
            bsearch(r.digests[r.n_digests - 1], m->digests, m->n, sizeof *m->digests,
                    by_octets);
        if (found == NULL)
            continue;
        size_t at = (size_t)(found - m->digests);
        while (at > 0 && by_octets(m->digests[at - 1], *found) == 0)
            at--;
        for (; at < m->n && by_octets(m->digests[at], *found) == 0; at++)
            m->is_recorded[at] = true;
    }
    sqlite3_finalize(st);
    for (size_t i = 0; i < m->n; i++)
        n_lost += !m->is_recorded[i];
    if (n_lost != 0)
        wrong(c, "I3 %zu of %zu results of messages that were returned have no record",
              n_lost, m->n);
}

static void
end_messages(struct check *c, struct messages *m)
{
    if (m->n != 0) {
        m->is_recorded = calloc(m->n, sizeof *m->is_recorded);
        if (m->is_recorded == NULL)
            wrong(c, "no memory for acknowledged messages");
        else
            check_messages(c, m);
    }
    free(m->is_recorded);
    free(m->digests);
}

static void
check_acks(struct check *c)
{
    char line[512], name[300], hex[80];
    uint8_t digest[KD_SHA256_SIZE];
    struct messages messages = {.n = 0};
    size_t n;

    if (c->conf->acks == NULL)
        return;
    FILE *f = fopen(c->conf->acks, "r");
    if (f == NULL) {
        wrong(c, "%s cannot be read", c->conf->acks);
        return;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '\n') == NULL)
            break; /* cut: not acknowledged */
        if (sscanf(line, "%299s %79s", name, hex) != 2 ||
            sodium_hex2bin(digest, sizeof digest, hex, strlen(hex), NULL, &n, NULL) !=
                0 ||
            n != sizeof digest)
            wrong(c, "bad line in %s: %s", c->conf->acks, line);
        else if (name[0] == '!')
            add_message(c, &messages, digest);
        else if (name[0] == '@')
            check_acked_record(c, strtoull(name + 1, NULL, 10), digest);
        else
            check_acked_signet(c, name, digest);
    }
    fclose(f);
    end_messages(c, &messages);
}

/* --- all of it --- */

static bool
copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char from[4096], to[4096], part[65536];
    size_t n;

    snprintf(from, sizeof from, "%s/%s", from_dir, name);
    snprintf(to, sizeof to, "%s/%s", to_dir, name);
    FILE *in = fopen(from, "rb");
    if (in == NULL)
        return false;
    FILE *out = fopen(to, "wb");
    if (out == NULL) {
        fclose(in);
        return false;
    }
    while ((n = fread(part, 1, sizeof part, in)) > 0)
        fwrite(part, 1, n, out);
    fclose(in);
    return fclose(out) == 0;
}

static void
check_structure(struct check *c)
{
    sqlite3_stmt *st = prepare(c, "PRAGMA integrity_check");

    while (step(c, st)) {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        if (text == NULL || strcmp(text, "ok") != 0)
            wrong(c, "structure: %s", text == NULL ? "?" : text);
    }
    sqlite3_finalize(st);
    st = prepare(c, "SELECT instance, base_hash, base_seq, base_epoch, base_time "
                    "FROM meta, mark");
    if (!step(c, st) || octets(st, 0).n != sizeof c->instance ||
        octets(st, 1).n != sizeof c->base.hash) {
        wrong(c, "no instance, or no base");
    } else {
        memcpy(c->instance, octets(st, 0).p, sizeof c->instance);
        memcpy(c->base.hash, octets(st, 1).p, sizeof c->base.hash);
        c->base.seq = num(st, 2);
        c->base.epoch = num(st, 3);
        c->base.time_ms = num(st, 4);
    }
    sqlite3_finalize(st);
    none(c, "I3 dropped without a checkpoint",
         "SELECT base_seq FROM mark WHERE base_seq <> 0 AND base_seq NOT IN "
         "(SELECT seq FROM checkpoint)");
}

/* Every record is looked for by audit_seq: many want an index, which to make takes
 * longer than to check a few. */
enum { RECORDS_WITHOUT_INDEX = 200 };

static uint64_t
count_records(struct check *c)
{
    sqlite3_stmt *st = prepare(c, "SELECT count(*) FROM audit");
    uint64_t n = step(c, st) ? num(st, 0) : 0;

    sqlite3_finalize(st);
    return n;
}

static void
check_all(struct check *c)
{
    check_structure(c);
    if (c->n_wrong != 0)
        return; /* what follows would only say it again */
    c->record = prepare(c, "SELECT record, conflict FROM audit WHERE seq = ?1");
    if (c->record == NULL)
        return;
    if (count_records(c) > RECORDS_WITHOUT_INDEX) /* it is a copy */
        sqlite3_exec(c->db,
                     "BEGIN; CREATE INDEX temp_signing_audit ON signing(audit_seq); "
                     "CREATE INDEX temp_idem_audit ON idem(audit_seq); COMMIT",
                     NULL, NULL, NULL);
    check_chain(c);
    check_checkpoints(c);
    check_records_have_rows(c);
    check_unique(c);
    check_orgs(c);
    check_users(c);
    check_accounts(c);
    check_keystore(c);
    check_acks(c);
    sqlite3_finalize(c->record);
}

unsigned
check_registry(const struct check_conf *conf)
{
    struct check c = {.conf = conf};
    const char *base = getenv("TMPDIR");
    char dir[64], path[128];
    static const char *const names[] = {"registry.db", "registry.db-wal",
                                        "registry.db-journal", "registry.db-shm"};

    snprintf(dir, sizeof dir, "%s/keyd-check-XXXXXX",
             base == NULL || strlen(base) > 30 ? "/tmp" : base);
    if (sodium_init() < 0 || mkdtemp(dir) == NULL) {
        wrong(&c, "no place for a copy");
        return c.n_wrong;
    }
    if (!copy_file(conf->dir, dir, names[0]))
        wrong(&c, "there is no registry");
    (void)copy_file(conf->dir, dir, names[1]); /* after a clean stop there is none */
    snprintf(path, sizeof path, "%s/%s", dir, names[0]);
    if (c.n_wrong == 0 &&
        sqlite3_open_v2(path, &c.db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        wrong(&c, "cannot be opened");
    if (c.n_wrong == 0) /* it is a copy: nothing of it need outlive anything */
        sqlite3_exec(c.db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    if (c.n_wrong == 0)
        check_all(&c);
    if (sqlite3_close(c.db) != SQLITE_OK)
        wrong(&c, "a question was left open");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return c.n_wrong;
}
