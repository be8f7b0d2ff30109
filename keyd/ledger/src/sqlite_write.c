/* Batches: BEGIN IMMEDIATE .. COMMIT, a savepoint around the rows of each item. */
#include "sqlite_impl.h"

#include <keyd/base/log.h>

enum {
    /* Pages in the write-ahead log from which it is moved. Larger means that a page
     * changed often is moved seldom; smaller means quicker starts after a crash. */
    WAL_TEND = 4000,
    WAL_MUST = 4 * WAL_TEND, /* moved at the next batch if nobody tended it */
};

kd_err
sq_tend(struct kd_backend *b)
{
    int log = 0;
    int moved = 0;

    sq_release(b);
    if (b->wal_pages < WAL_TEND)
        return KD_OK;
    int rc = sqlite3_wal_checkpoint_v2(b->db, "main", SQLITE_CHECKPOINT_PASSIVE, &log,
                                       &moved);
    if (rc != SQLITE_OK)
        return sq_err(b, rc);
    if (log != moved) {
        kd_log(KD_WARN, "ledger: log not moved log=%d moved=%d", log, moved);
        return KD_FAILED;
    }
    b->wal_pages = 0; /* the next commit starts it over */
    return KD_OK;
}

kd_err
sq_begin(struct kd_backend *b)
{
    kd_err err;

    sq_release(b);
    if (b->wal_pages >= WAL_MUST && (err = sq_tend(b)) != KD_OK)
        return err;
    return sq_run(b, ST_BEGIN);
}

static kd_err
put_link(struct kd_backend *b, const struct kd_link_put *l,
         const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_LINK);

    sq_bind_text(st, 1, r->address);
    sq_bind_u64(st, 2, r->generation);
    sq_bind_u64(st, 3, r->link_seq);
    sq_bind_blob(st, 4, l->predecessor, sizeof l->predecessor);
    sq_bind_blob(st, 5, l->ssr_fp, sizeof l->ssr_fp);
    sq_bind_blob(st, 6, l->signing_key, sizeof l->signing_key);
    sq_bind_blob(st, 7, l->encryption_key, sizeof l->encryption_key);
    sq_bind_u64(st, 8, r->time_ms);
    return sq_run(b, ST_PUT_LINK);
}

static kd_err
find_link(struct kd_backend *b, const struct kd_audit_record *r, uint64_t *id)
{
    sqlite3_stmt *st = sq_use(b, ST_FIND_LINK);
    kd_err err;

    sq_bind_text(st, 1, r->address);
    sq_bind_u64(st, 2, r->generation);
    sq_bind_u64(st, 3, r->link_seq);
    if ((err = sq_row(b, ST_FIND_LINK)) != KD_OK)
        return err == KD_NOT_FOUND ? KD_CONFLICT : err;
    *id = sq_u64(st, 0);
    sq_reset(b, ST_FIND_LINK);
    return KD_OK;
}

static kd_err
put_signing(struct kd_backend *b, const struct kd_signing_put *g, uint64_t link,
            const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_SIGNING);

    sq_bind_u64(st, 1, link);
    sq_bind_u64(st, 2, g->version);
    sq_bind_u64(st, 3, r->time_ms);
    sq_bind_u64(st, 4, r->seq);
    sq_bind_u64(st, 5, g->core_size);
    sq_bind_blob(st, 6, g->core_fp, sizeof g->core_fp);
    sq_bind_blob(st, 7, g->full_fp, sizeof g->full_fp);
    sq_bind_blob(st, 8, g->id_fp, sizeof g->id_fp);
    sq_bind_blob(st, 9, g->org_fp, sizeof g->org_fp);
    sq_bind_blob(st, 10, g->signet.p, g->signet.n);
    return sq_run(b, ST_PUT_SIGNING);
}

static kd_err
put_user(struct kd_backend *b, const struct kd_store_item *item,
         const struct kd_audit_record *r)
{
    uint64_t link;
    kd_err err;

    if (item->signing == NULL)
        return KD_OK;
    if (item->link != NULL) {
        if (r->generation > 1 && r->link_seq == 1 &&
            (err = sq_count_uptime(b, item->link->uptime_ms)) != KD_OK)
            return err;
        if ((err = put_link(b, item->link, r)) != KD_OK)
            return err;
        link = (uint64_t)sqlite3_last_insert_rowid(b->db);
    } else if ((err = find_link(b, r, &link)) != KD_OK) {
        return err;
    }
    return put_signing(b, item->signing, link, r);
}

static kd_err
put_org(struct kd_backend *b, const struct kd_org_put *o,
        const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_ORG);

    if (o == NULL)
        return KD_OK;
    sq_bind_text(st, 1, r->domain);
    sq_bind_u64(st, 2, o->version);
    sq_bind_u64(st, 3, r->time_ms);
    sq_bind_u64(st, 4, r->seq);
    sq_bind_blob(st, 5, o->core_fp, sizeof o->core_fp);
    sq_bind_blob(st, 6, o->full_fp, sizeof o->full_fp);
    sq_bind_blob(st, 7, o->id_fp, sizeof o->id_fp);
    sq_bind_blob(st, 8, o->signet.p, o->signet.n);
    return sq_run(b, ST_PUT_ORG);
}

static kd_err
put_keys(struct kd_backend *b, const struct kd_store_item *item,
         const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_KEY);
    kd_err err = KD_OK;

    for (size_t i = 0; i < item->n_keys && err == KD_OK; i++) {
        sq_bind_blob(st, 1, item->keys[i].key, sizeof item->keys[i].key);
        sq_bind_u64(st, 2, item->keys[i].kind);
        sq_bind_u64(st, 3, r->seq);
        err = sq_run(b, ST_PUT_KEY);
    }
    return err;
}

static kd_err
put_idem(struct kd_backend *b, const struct kd_idem_put *i,
         const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_IDEM);

    if (i == NULL)
        return KD_OK;
    sq_bind_blob(st, 1, i->key, sizeof i->key);
    sq_bind_blob(st, 2, i->request, sizeof i->request);
    sq_bind_u64(st, 3, r->seq);
    sq_bind_u64(st, 4, r->time_ms);
    return sq_run(b, ST_PUT_IDEM);
}

static kd_err
put_checkpoint(struct kd_backend *b, struct kd_slice octets)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_CHECKPOINT);
    struct kd_checkpoint cp;

    if (octets.n == 0)
        return KD_OK;
    if (kd_checkpoint_decode(octets, &cp) != KD_OK)
        return KD_FAILED; /* store.c has read it */
    sq_bind_u64(st, 1, cp.seq);
    sq_bind_blob(st, 2, octets.p, octets.n);
    return sq_run(b, ST_PUT_CHECKPOINT);
}

/* Compare and swap: the generation goes up by one. An acceptance sets it. */
static kd_err
put_keystore(struct kd_backend *b, const struct kd_store_item *item,
             const struct kd_audit_record *r)
{
    enum sq_statement which = item->restore ? ST_SET_KEYSTORE : ST_PUT_KEYSTORE;
    sqlite3_stmt *st = sq_use(b, which);
    kd_err err;

    if (!kd_audit_changes_keystore(r))
        return KD_OK;
    sq_bind_u64(st, 1, r->keystore_generation);
    sq_bind_blob(st, 2, r->keystore_sha256, sizeof r->keystore_sha256);
    if ((err = sq_run(b, which)) != KD_OK)
        return err;
    return sqlite3_changes(b->db) == 1 ? KD_OK : KD_CONFLICT;
}

static kd_err
put_fence(struct kd_backend *b, const struct kd_store_item *item,
          const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_FENCE);

    if (!item->restore)
        return KD_OK;
    sq_bind_u64(st, 1, r->epoch);
    return sq_run(b, ST_PUT_FENCE);
}

/* Where the log will begin: what stands in the record that is the last to go. */
static kd_err
put_base(struct kd_backend *b, const struct kd_store_item *item,
         const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_BASE);
    struct kd_audit_record last;
    uint8_t hash[KD_SHA256_SIZE];
    kd_err err;

    if (!item->drop)
        return KD_OK;
    sq_bind_u64(sq_use(b, ST_RECORDS), 1, r->about_seq);
    sq_bind_u64(sq_use(b, ST_RECORDS), 2, r->about_seq);
    if ((err = sq_row(b, ST_RECORDS)) != KD_OK)
        return err == KD_NOT_FOUND ? KD_CONFLICT : err;
    err = sq_copy(sq_use(b, ST_RECORDS), 2, hash, sizeof hash);
    if (err == KD_OK &&
        kd_audit_decode(sq_blob(sq_use(b, ST_RECORDS), 3), &last) != KD_OK)
        err = KD_FAILED;
    sq_reset(b, ST_RECORDS); /* of the record only numbers are used from here on */
    if (err != KD_OK)
        return err;
    sq_bind_u64(st, 1, last.seq);
    sq_bind_u64(st, 2, last.epoch);
    sq_bind_u64(st, 3, last.time_ms);
    sq_bind_blob(st, 4, hash, sizeof hash);
    if ((err = sq_run(b, ST_PUT_BASE)) != KD_OK)
        return err;
    return sqlite3_changes(b->db) == 1 ? KD_OK : KD_CONFLICT;
}

static kd_err
put_rows(struct kd_backend *b, const struct kd_store_item *item,
         const struct kd_audit_record *r)
{
    kd_err err;

    if ((err = put_user(b, item, r)) != KD_OK)
        return err;
    if ((err = put_org(b, item->org, r)) != KD_OK)
        return err;
    if ((err = put_keys(b, item, r)) != KD_OK)
        return err;
    if ((err = sq_put_account(b, item, r)) != KD_OK)
        return err;
    if ((err = put_idem(b, item->idem, r)) != KD_OK)
        return err;
    if ((err = put_checkpoint(b, item->checkpoint)) != KD_OK)
        return err;
    if ((err = put_fence(b, item, r)) != KD_OK)
        return err;
    if ((err = put_base(b, item, r)) != KD_OK)
        return err;
    return put_keystore(b, item, r);
}

static bool
has_rows(const struct kd_store_item *item, const struct kd_audit_record *r)
{
    return item->signing != NULL || item->org != NULL || item->n_keys != 0 ||
           item->idem != NULL || item->checkpoint.n != 0 || item->restore ||
           item->drop || kd_audit_changes_keystore(r) || kd_store_makes_row(r);
}

/* The rows of one item, all or none of them. */
static kd_err
try_rows(struct kd_backend *b, const struct kd_store_item *item,
         const struct kd_audit_record *r, kd_err *outcome)
{
    kd_err err;

    if ((err = sq_run(b, ST_SAVE)) != KD_OK)
        return err;
    *outcome = put_rows(b, item, r);
    if (*outcome != KD_OK && *outcome != KD_CONFLICT)
        return *outcome;
    if (*outcome == KD_CONFLICT && (err = sq_run(b, ST_BACK)) != KD_OK)
        return err;
    return sq_run(b, ST_RELEASE);
}

kd_err
sq_add(struct kd_backend *b, const struct kd_store_item *item,
       const struct kd_audit_record *r, const uint8_t *hash, kd_err *outcome)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_AUDIT);
    kd_err err;

    *outcome = KD_OK;
    if (has_rows(item, r) && (err = try_rows(b, item, r, outcome)) != KD_OK)
        return err;
    sq_bind_u64(st, 1, r->seq);
    sq_bind_u64(st, 2, r->epoch);
    sq_bind_u64(st, 3, *outcome == KD_CONFLICT);
    sq_bind_blob(st, 4, hash, KD_SHA256_SIZE);
    sq_bind_blob(st, 5, item->record.p, item->record.n);
    err = sq_run(b, ST_PUT_AUDIT);
    /* The record's place cannot be taken: the chain says what the next one is. */
    return err == KD_CONFLICT ? KD_FAILED : err;
}

kd_err
sq_count(struct kd_backend *b, struct kd_slice name, uint64_t n)
{
    sqlite3_stmt *st = sq_use(b, ST_COUNT);

    sq_bind_text(st, 1, name);
    sq_bind_u64(st, 2, n);
    return sq_run(b, ST_COUNT);
}

kd_err
sq_purge_idem(struct kd_backend *b, uint64_t before_ms, unsigned max, unsigned *n)
{
    sqlite3_stmt *st = sq_use(b, ST_PURGE_IDEM);
    kd_err err;

    sq_bind_u64(st, 1, before_ms);
    sq_bind_u64(st, 2, max);
    if ((err = sq_run(b, ST_PURGE_IDEM)) != KD_OK)
        return err;
    *n = (unsigned)sqlite3_changes(b->db);
    return KD_OK;
}

kd_err
sq_sweep(struct kd_backend *b, unsigned max, unsigned *n)
{
    sqlite3_stmt *st = sq_use(b, ST_SWEEP);
    kd_err err;

    sq_bind_u64(st, 1, max);
    if ((err = sq_run(b, ST_SWEEP)) != KD_OK)
        return err;
    *n = (unsigned)sqlite3_changes(b->db);
    return KD_OK;
}

kd_err
sq_commit(struct kd_backend *b, const struct kd_audit_tail *tail)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_HEAD);
    kd_err err;

    sq_release(b);
    sq_bind_u64(st, 1, tail->seq);
    sq_bind_blob(st, 2, tail->hash, sizeof tail->hash);
    if ((err = sq_run(b, ST_PUT_HEAD)) != KD_OK)
        return err;
    return sq_run(b, ST_COMMIT);
}

void
sq_abort(struct kd_backend *b)
{
    sq_release(b);
    /* After some faults SQLite has rolled back already; then there is nothing to do. */
    if (!sqlite3_get_autocommit(b->db))
        kd_ignore(sq_run(b, ST_ROLLBACK));
}
