/* Look-ups. Columns stand in the order of sqlite_statements.def. */
#include "sqlite_impl.h"

#include <keyd/base/be.h>

enum { SIGNET_HEADER = 5 };

kd_err
sq_head(struct kd_backend *b, struct kd_backend_head *out)
{
    struct kd_backend_head h = {0};
    kd_err err;

    sq_release(b);
    if ((err = sq_row(b, ST_HEAD)) != KD_OK)
        return err == KD_NOT_FOUND ? KD_INVALID : err;
    sqlite3_stmt *st = sq_use(b, ST_HEAD);
    h.seq = sq_u64(st, 1);
    h.keystore_generation = sq_u64(st, 3);
    err = sq_copy(st, 0, h.instance, sizeof h.instance);
    if (err == KD_OK)
        err = sq_copy(st, 2, h.hash, sizeof h.hash);
    if (err == KD_OK)
        err = sq_copy(st, 4, h.keystore_sha256, sizeof h.keystore_sha256);
    h.base.seq = sq_u64(st, 5);
    h.base.epoch = sq_u64(st, 6);
    h.base.time_ms = sq_u64(st, 7);
    if (err == KD_OK)
        err = sq_copy(st, 8, h.base.hash, sizeof h.base.hash);
    h.fence = sq_u64(st, 9);
    sq_reset(b, ST_HEAD);
    if (err != KD_OK || (err = sq_row(b, ST_REFERRED)) != KD_OK)
        return err;
    h.referred = sq_u64(sq_use(b, ST_REFERRED), 0);
    sq_reset(b, ST_REFERRED);
    *out = h;
    return KD_OK;
}

kd_err
sq_rows_since(struct kd_backend *b, uint64_t from, uint64_t max, uint64_t *n)
{
    kd_err err;

    sq_release(b);
    sqlite3_stmt *st = sq_use(b, ST_ROWS_SINCE);
    sq_bind_u64(st, 1, from);
    sq_bind_u64(st, 2, max + 1);
    if ((err = sq_row(b, ST_ROWS_SINCE)) != KD_OK)
        return err;
    *n = sq_u64(st, 0);
    sq_reset(b, ST_ROWS_SINCE);
    return KD_OK;
}

kd_err
sq_stats(struct kd_backend *b, struct kd_store_stats *out)
{
    kd_err err;

    sq_release(b);
    if ((err = sq_row(b, ST_STATS)) != KD_OK)
        return err;
    sqlite3_stmt *st = sq_use(b, ST_STATS);
    *out = (struct kd_store_stats){
        .n_links = sq_u64(st, 0),
        .size = sq_u64(st, 1) * sq_u64(st, 2),
        .wal_size = b->wal_pages * sq_u64(st, 2),
        .checked_whole = b->checked_whole,
    };
    sq_reset(b, ST_STATS);
    return KD_OK;
}

/* --- user signets --- */

static kd_err
read_signet(sqlite3_stmt *st, struct kd_signet_row *out)
{
    struct kd_signet_row r = {
        .link = sq_u64(st, 0),
        .generation = (uint32_t)sq_u64(st, 1),
        .seq = (uint32_t)sq_u64(st, 2),
        .version = (uint32_t)sq_u64(st, 3),
        .made_ms = sq_u64(st, 4),
        .head = sqlite3_column_type(st, 5) == SQLITE_NULL,
        .superseded_ms = sq_u64(st, 5),
        .newest = sq_u64(st, 6) == 0,
        .audit_seq = sq_u64(st, 7),
        .core_size = (uint32_t)sq_u64(st, 13),
        .address = sq_blob(st, 14),
        .signet = sq_blob(st, 15),
    };

    if (sq_copy(st, 8, r.ssr_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 9, r.core_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 10, r.full_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 11, r.id_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 12, r.org_fp, KD_FP_SIZE) != KD_OK)
        return KD_FAILED;
    /* NULL is what is left of a blob that there was no memory for. */
    if (r.signet.n <= SIGNET_HEADER || r.core_size > r.signet.n - SIGNET_HEADER)
        return KD_FAILED;
    *out = r;
    return KD_OK;
}

static kd_err
one_signet(struct kd_backend *b, enum sq_statement which, struct kd_signet_row *out)
{
    kd_err err = sq_row_hold(b, which);

    return err == KD_OK ? read_signet(sq_use(b, which), out) : err;
}

kd_err
sq_user_current(struct kd_backend *b, struct kd_slice address,
                struct kd_signet_row *out)
{
    sq_release(b);
    sq_bind_text(sq_use(b, ST_USER_CURRENT), 1, address);
    return one_signet(b, ST_USER_CURRENT, out);
}

kd_err
sq_user_by_fp(struct kd_backend *b, struct kd_slice address, const uint8_t *fp,
              struct kd_signet_row *out)
{
    sq_release(b);
    sq_bind_text(sq_use(b, ST_USER_BY_FP), 1, address);
    sq_bind_blob(sq_use(b, ST_USER_BY_FP), 2, fp, KD_FP_SIZE);
    return one_signet(b, ST_USER_BY_FP, out);
}

kd_err
sq_user_since(struct kd_backend *b, struct kd_slice address, uint64_t since_ms,
              unsigned max, kd_signet_visitor visitor, void *arg)
{
    struct kd_signet_row row;
    kd_err err;

    sq_release(b);
    sqlite3_stmt *st = sq_use(b, ST_USER_SINCE);
    sq_bind_text(st, 1, address);
    sq_bind_u64(st, 2, since_ms > INT64_MAX ? INT64_MAX : since_ms);
    sq_bind_u64(st, 3, max);
    while ((err = sq_row(b, ST_USER_SINCE)) == KD_OK) {
        if ((err = read_signet(st, &row)) != KD_OK)
            break;
        if (!visitor(arg, &row))
            break;
    }
    sq_reset(b, ST_USER_SINCE);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

kd_err
sq_user_next(struct kd_backend *b, uint64_t after, bool heads_only,
             struct kd_signet_row *out)
{
    enum sq_statement which = heads_only ? ST_USER_NEXT_HEAD : ST_USER_NEXT;

    if (after >= INT64_MAX)
        return KD_NOT_FOUND;
    sq_release(b);
    sq_bind_u64(sq_use(b, which), 1, after);
    return one_signet(b, which, out);
}

kd_err
sq_user_verify(struct kd_backend *b, struct kd_slice address,
               uint8_t newest[KD_FP_SIZE])
{
    kd_err err;

    sq_release(b);
    sq_bind_text(sq_use(b, ST_USER_NEWEST_FP), 1, address);
    if ((err = sq_row(b, ST_USER_NEWEST_FP)) != KD_OK)
        return err;
    err = sq_copy(sq_use(b, ST_USER_NEWEST_FP), 0, newest, KD_FP_SIZE);
    sq_reset(b, ST_USER_NEWEST_FP);
    return err;
}

/* The step that has a version with this core fingerprint. */
static kd_err
seq_of(struct kd_backend *b, struct kd_slice address, uint32_t generation,
       const uint8_t *fp, uint32_t *seq)
{
    sqlite3_stmt *st = sq_use(b, ST_HISTORY_SEQ);
    kd_err err;

    sq_bind_text(st, 1, address);
    sq_bind_u64(st, 2, generation);
    sq_bind_blob(st, 3, fp, KD_FP_SIZE);
    if ((err = sq_row(b, ST_HISTORY_SEQ)) != KD_OK)
        return err;
    *seq = (uint32_t)sq_u64(st, 0);
    sq_reset(b, ST_HISTORY_SEQ);
    return KD_OK;
}

/* Where start lies: in the current chain, or in one that a reset has ended, which is
 * then the history that was asked for. */
static kd_err
start_at(struct kd_backend *b, struct kd_slice address, const uint8_t *start,
         struct kd_history *h)
{
    sqlite3_stmt *st = sq_use(b, ST_HISTORY_START);
    uint32_t current = h->generation;
    kd_err err;

    sq_bind_text(st, 1, address);
    sq_bind_blob(st, 2, start, KD_FP_SIZE);
    if ((err = sq_row(b, ST_HISTORY_START)) != KD_OK)
        return err;
    h->generation = (uint32_t)sq_u64(st, 0);
    h->first = (uint32_t)sq_u64(st, 1);
    sq_reset(b, ST_HISTORY_START);
    if (h->generation == current)
        return KD_OK;
    st = sq_use(b, ST_HISTORY_LAST);
    sq_bind_text(st, 1, address);
    sq_bind_u64(st, 2, h->generation);
    if ((err = sq_row(b, ST_HISTORY_LAST)) != KD_OK)
        return err == KD_NOT_FOUND ? KD_FAILED : err; /* start lies in it */
    h->last = h->head = (uint32_t)sq_u64(st, 0);
    sq_reset(b, ST_HISTORY_LAST);
    return KD_OK;
}

kd_err
sq_user_history(struct kd_backend *b, struct kd_slice address, const uint8_t *start,
                const uint8_t *stop, struct kd_history *out)
{
    struct kd_history h = {.first = 1};
    kd_err err;

    sq_release(b);
    sq_bind_text(sq_use(b, ST_HISTORY_HEAD), 1, address);
    if ((err = sq_row(b, ST_HISTORY_HEAD)) != KD_OK)
        return err;
    h.generation = (uint32_t)sq_u64(sq_use(b, ST_HISTORY_HEAD), 0);
    h.head = (uint32_t)sq_u64(sq_use(b, ST_HISTORY_HEAD), 1);
    h.last = h.head;
    sq_reset(b, ST_HISTORY_HEAD);
    if (start != NULL && (err = start_at(b, address, start, &h)) != KD_OK)
        return err;
    if (stop != NULL &&
        (err = seq_of(b, address, h.generation, stop, &h.last)) != KD_OK)
        return err;
    *out = h;
    return KD_OK;
}

/* The core split: the signet's magic, a new length, fields 1 to 6. */
static kd_err
split_core(struct kd_buf *out, struct kd_slice signet, uint64_t core_size)
{
    if (signet.n <= SIGNET_HEADER || core_size > signet.n - SIGNET_HEADER)
        return KD_FAILED;
    kd_buf_reset(out);
    kd_buf_put(out, kd_slice(signet.p, 2));
    kd_buf_u24(out, (uint32_t)core_size);
    kd_buf_put(out, kd_slice(signet.p + SIGNET_HEADER, (size_t)core_size));
    return out->err;
}

kd_err
sq_user_cores(struct kd_backend *b, struct kd_slice address,
              const struct kd_history *history, uint32_t from,
              kd_history_visitor visitor, void *arg)
{
    sqlite3_stmt *st = sq_use(b, ST_HISTORY_CORES);
    kd_err err;

    sq_release(b);
    sq_bind_text(st, 1, address);
    sq_bind_u64(st, 2, history->generation);
    sq_bind_u64(st, 3, from < history->first ? history->first : from);
    sq_bind_u64(st, 4, history->last);
    while ((err = sq_row(b, ST_HISTORY_CORES)) == KD_OK) {
        if ((err = split_core(&b->core, sq_blob(st, 2), sq_u64(st, 1))) != KD_OK)
            break;
        if (!visitor(arg, (uint32_t)sq_u64(st, 0), kd_buf_slice(&b->core)))
            break;
    }
    sq_reset(b, ST_HISTORY_CORES);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

/* --- org signets --- */

static kd_err
read_org(sqlite3_stmt *st, struct kd_org_row *out)
{
    struct kd_org_row r = {
        .version = (uint32_t)sq_u64(st, 0),
        .made_ms = sq_u64(st, 1),
        .current = sqlite3_column_type(st, 2) == SQLITE_NULL,
        .superseded_ms = sq_u64(st, 2),
        .audit_seq = sq_u64(st, 3),
        .domain = sq_blob(st, 7),
        .signet = sq_blob(st, 8),
    };

    if (sq_copy(st, 4, r.core_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 5, r.full_fp, KD_FP_SIZE) != KD_OK ||
        sq_copy(st, 6, r.id_fp, KD_FP_SIZE) != KD_OK || r.signet.n <= SIGNET_HEADER)
        return KD_FAILED;
    *out = r;
    return KD_OK;
}

static kd_err
one_org(struct kd_backend *b, enum sq_statement which, struct kd_org_row *out)
{
    kd_err err = sq_row_hold(b, which);

    return err == KD_OK ? read_org(sq_use(b, which), out) : err;
}

kd_err
sq_org_current(struct kd_backend *b, struct kd_slice domain, struct kd_org_row *out)
{
    sq_release(b);
    sq_bind_text(sq_use(b, ST_ORG_CURRENT), 1, domain);
    return one_org(b, ST_ORG_CURRENT, out);
}

kd_err
sq_org_by_fp(struct kd_backend *b, struct kd_slice domain, const uint8_t *full_fp,
             struct kd_org_row *out)
{
    sq_release(b);
    sq_bind_text(sq_use(b, ST_ORG_BY_FP), 1, domain);
    sq_bind_blob(sq_use(b, ST_ORG_BY_FP), 2, full_fp, KD_FP_SIZE);
    return one_org(b, ST_ORG_BY_FP, out);
}

/* Every row of a statement that is bound. */
static kd_err
visit_orgs(struct kd_backend *b, enum sq_statement statement, kd_org_visitor visitor,
           void *arg)
{
    struct kd_org_row row;
    kd_err err;

    while ((err = sq_row(b, statement)) == KD_OK) {
        if ((err = read_org(sq_use(b, statement), &row)) != KD_OK)
            break;
        if (!visitor(arg, &row))
            break;
    }
    sq_reset(b, statement);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

kd_err
sq_org_history(struct kd_backend *b, struct kd_slice domain, kd_org_visitor visitor,
               void *arg)
{
    sq_release(b);
    sq_bind_text(sq_use(b, ST_ORG_ALL), 1, domain);
    return visit_orgs(b, ST_ORG_ALL, visitor, arg);
}

kd_err
sq_org_heads(struct kd_backend *b, kd_org_visitor visitor, void *arg)
{
    sq_release(b);
    return visit_orgs(b, ST_ORG_HEADS, visitor, arg);
}

kd_err
sq_org_formers(struct kd_backend *b, uint64_t since_ms, unsigned max,
               kd_org_visitor visitor, void *arg)
{
    sq_release(b);
    sq_bind_u64(sq_use(b, ST_ORG_FORMERS), 1,
                since_ms > INT64_MAX ? INT64_MAX : since_ms);
    sq_bind_u64(sq_use(b, ST_ORG_FORMERS), 2, max);
    return visit_orgs(b, ST_ORG_FORMERS, visitor, arg);
}

/* --- before issuing --- */

static kd_err
find_idem(struct kd_backend *b, const uint8_t *key, uint8_t *request,
          uint64_t *audit_seq)
{
    sqlite3_stmt *st = sq_use(b, ST_IDEM);
    kd_err err;

    sq_bind_blob(st, 1, key, KD_IDEM_SIZE);
    if ((err = sq_row(b, ST_IDEM)) != KD_OK)
        return err;
    *audit_seq = sq_u64(st, 1);
    err = sq_copy(st, 0, request, KD_SHA256_SIZE);
    sq_reset(b, ST_IDEM);
    return err;
}

kd_err
sq_idem_find(struct kd_backend *b, const uint8_t *key, uint8_t *request,
             uint64_t *audit_seq)
{
    sq_release(b);
    return find_idem(b, key, request, audit_seq);
}

/* The step made of this very SSR for this address: its signing key is in no other. */
static kd_err
find_issued(struct kd_backend *b, const struct kd_issue_query *q,
            struct kd_issue_state *out)
{
    sq_bind_blob(sq_use(b, ST_USER_BY_KEY), 1, q->signing_key, sizeof q->signing_key);
    kd_err err = one_signet(b, ST_USER_BY_KEY, &out->stored);
    if (err == KD_NOT_FOUND)
        return KD_OK;
    if (err != KD_OK)
        return err;
    out->issued = kd_slice_eq(out->stored.address, q->address) &&
                  memcmp(out->stored.ssr_fp, q->ssr_fp, KD_FP_SIZE) == 0;
    if (!out->issued) {
        sq_reset(b, ST_USER_BY_KEY);
        out->stored = (struct kd_signet_row){0};
    }
    return KD_OK;
}

static kd_err
find_known_keys(struct kd_backend *b, const struct kd_issue_query *q,
                struct kd_issue_state *out)
{
    sqlite3_stmt *st = sq_use(b, ST_KEYS_KNOWN);
    kd_err err;

    sq_bind_blob(st, 1, q->signing_key, sizeof q->signing_key);
    sq_bind_blob(st, 2, q->encryption_key, sizeof q->encryption_key);
    if ((err = sq_row(b, ST_KEYS_KNOWN)) != KD_OK)
        return err;
    out->signing_key_known = sq_u64(st, 0) != 0;
    out->encryption_key_known = sq_u64(st, 1) != 0;
    sq_reset(b, ST_KEYS_KNOWN);
    return KD_OK;
}

kd_err
sq_signing_key_known(struct kd_backend *b, const uint8_t *key, bool *known)
{
    sqlite3_stmt *st = sq_use(b, ST_KEYS_KNOWN);
    kd_err err;

    sq_release(b);
    sq_bind_blob(st, 1, key, 32);
    sq_bind_blob(st, 2, key, 32);
    if ((err = sq_row(b, ST_KEYS_KNOWN)) != KD_OK)
        return err;
    *known = sq_u64(st, 0) != 0;
    sq_reset(b, ST_KEYS_KNOWN);
    return KD_OK;
}

kd_err
sq_issue_query(struct kd_backend *b, const struct kd_issue_query *q,
               struct kd_issue_state *out)
{
    kd_err err;

    sq_release(b);
    if ((err = find_issued(b, q, out)) != KD_OK)
        return err;
    if (!out->issued && (err = find_known_keys(b, q, out)) != KD_OK)
        return err;
    sq_bind_text(sq_use(b, ST_USER_CURRENT), 1, q->address);
    err = one_signet(b, ST_USER_CURRENT, &out->head);
    if (err != KD_OK && err != KD_NOT_FOUND)
        return err;
    out->has_head = err == KD_OK;
    if ((err = sq_find_account(b, q->address, &out->account)) != KD_OK)
        return err;
    if (!q->has_idem)
        return KD_OK;
    err = find_idem(b, q->idem, out->idem_request, &out->idem_seq);
    if (err != KD_OK && err != KD_NOT_FOUND)
        return err;
    out->idem_seen = err == KD_OK;
    return KD_OK;
}

/* --- the log --- */

kd_err
sq_records(struct kd_backend *b, uint64_t from, uint64_t to, kd_backend_visitor visitor,
           void *arg)
{
    sqlite3_stmt *st = sq_use(b, ST_RECORDS);
    kd_err err;

    if (from > INT64_MAX)
        return KD_OK;
    sq_release(b);
    sq_bind_u64(st, 1, from);
    sq_bind_u64(st, 2, to);
    while ((err = sq_row(b, ST_RECORDS)) == KD_OK) {
        struct kd_backend_record row = {
            .seq = sq_u64(st, 0),
            .epoch = sq_u64(st, 1),
            .hash = sq_blob(st, 2),
            .record = sq_blob(st, 3),
            .stored = sq_u64(st, 4) == 0 ? KD_OK : KD_CONFLICT,
        };
        if (!visitor(arg, &row))
            break;
    }
    sq_reset(b, ST_RECORDS);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

kd_err
sq_checkpoints(struct kd_backend *b, uint64_t from, kd_checkpoint_visitor visitor,
               void *arg)
{
    sqlite3_stmt *st = sq_use(b, ST_CHECKPOINTS);
    kd_err err;

    if (from > INT64_MAX)
        return KD_OK;
    sq_release(b);
    sq_bind_u64(st, 1, from);
    while ((err = sq_row(b, ST_CHECKPOINTS)) == KD_OK) {
        if (!visitor(arg, sq_u64(st, 0), sq_blob(st, 1)))
            break;
    }
    sq_reset(b, ST_CHECKPOINTS);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

kd_err
sq_checkpoint_last(struct kd_backend *b, struct kd_slice *signed_octets)
{
    kd_err err;

    sq_release(b);
    if ((err = sq_row_hold(b, ST_CHECKPOINT_LAST)) != KD_OK)
        return err;
    *signed_octets = sq_blob(sq_use(b, ST_CHECKPOINT_LAST), 0);
    return KD_OK;
}

kd_err
sq_checkpoint_at(struct kd_backend *b, uint64_t seq, struct kd_slice *signed_octets)
{
    kd_err err;

    if (seq > INT64_MAX)
        return KD_NOT_FOUND;
    sq_release(b);
    sq_bind_u64(sq_use(b, ST_CHECKPOINT_AT), 1, seq);
    if ((err = sq_row_hold(b, ST_CHECKPOINT_AT)) != KD_OK)
        return err;
    *signed_octets = sq_blob(sq_use(b, ST_CHECKPOINT_AT), 0);
    return KD_OK;
}

kd_err
sq_counters(struct kd_backend *b, kd_counter_visitor visitor, void *arg)
{
    sqlite3_stmt *st = sq_use(b, ST_COUNTERS);
    kd_err err;

    sq_release(b);
    while ((err = sq_row(b, ST_COUNTERS)) == KD_OK) {
        if (!visitor(arg, sq_blob(st, 0), sq_u64(st, 1)))
            break;
    }
    sq_reset(b, ST_COUNTERS);
    return err == KD_NOT_FOUND ? KD_OK : err;
}
