/* The SQLite back end: its table, and the small layer its parts stand on. */
#include "sqlite_impl.h"

#include <keyd/base/log.h>

const struct kd_store_ops kd_store_sqlite = {
    .name = "sqlite",
    .setup = sq_setup,
    .open = sq_open,
    .close = sq_close,
    .is_damaged = sq_is_damaged,
    .head = sq_head,
    .stats = sq_stats,
    .rows_since = sq_rows_since,
    .user_current = sq_user_current,
    .user_by_fp = sq_user_by_fp,
    .user_since = sq_user_since,
    .user_verify = sq_user_verify,
    .user_history = sq_user_history,
    .user_cores = sq_user_cores,
    .user_next = sq_user_next,
    .org_current = sq_org_current,
    .org_by_fp = sq_org_by_fp,
    .org_history = sq_org_history,
    .org_heads = sq_org_heads,
    .org_formers = sq_org_formers,
    .account = sq_account,
    .stopped = sq_stopped,
    .resets = sq_resets,
    .n_resets = sq_n_resets,
    .uptime = sq_uptime,
    .issue_query = sq_issue_query,
    .signing_key_known = sq_signing_key_known,
    .idem_find = sq_idem_find,
    .records = sq_records,
    .checkpoints = sq_checkpoints,
    .checkpoint_last = sq_checkpoint_last,
    .checkpoint_at = sq_checkpoint_at,
    .counters = sq_counters,
    .begin = sq_begin,
    .add = sq_add,
    .count = sq_count,
    .count_uptime = sq_count_uptime,
    .purge_idem = sq_purge_idem,
    .sweep = sq_sweep,
    .commit = sq_commit,
    .abort = sq_abort,
    .tend = sq_tend,
    .copy_begin = sq_copy_begin,
    .copy_step = sq_copy_step,
    .copy_end = sq_copy_end,
};

bool
sq_is_damaged(const struct kd_backend *b)
{
    return b->is_damaged;
}

kd_err
sq_err(struct kd_backend *b, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
        return KD_OK;
    case SQLITE_DONE:
        return KD_NOT_FOUND;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return KD_BUSY;
    case SQLITE_CONSTRAINT:
        /* Which place was taken is nobody's business but the row's; a broken CHECK
         * or type is a fault of ours. */
        if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
            rc == SQLITE_CONSTRAINT_ROWID || rc == SQLITE_CONSTRAINT_TRIGGER ||
            rc == SQLITE_CONSTRAINT_FOREIGNKEY)
            return KD_CONFLICT;
        break;
    default:
        break;
    }
    kd_log(KD_WARN, "ledger: registry code=%d text=\"%s\"", rc, sqlite3_errmsg(b->db));
    b->is_damaged |= (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return KD_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return KD_IO;
    default:
        return KD_FAILED;
    }
}

void
sq_reset(struct kd_backend *b, enum sq_statement which)
{
    /* Repeats the result of the last step, which was looked at there. */
    kd_ignore(sqlite3_reset(b->st[which]));
    b->held[which] = false;
}

void
sq_release(struct kd_backend *b)
{
    for (unsigned i = 0; i < ST_COUNT_OF; i++) {
        if (b->held[i])
            sq_reset(b, (enum sq_statement)i);
    }
}

sqlite3_stmt *
sq_use(struct kd_backend *b, enum sq_statement which)
{
    return b->st[which];
}

/* Binding borrowed octets or numbers to a parameter that exists does not allocate and
 * cannot fail; sizes are far below SQLite's limit. */
void
sq_bind_u64(sqlite3_stmt *st, int at, uint64_t v)
{
    kd_ignore(sqlite3_bind_int64(st, at, (sqlite3_int64)v));
}

void
sq_bind_blob(sqlite3_stmt *st, int at, const void *p, size_t n)
{
    kd_ignore(sqlite3_bind_blob64(st, at, p, n, SQLITE_STATIC));
}

void
sq_bind_text(sqlite3_stmt *st, int at, struct kd_slice s)
{
    kd_ignore(sqlite3_bind_text64(st, at, (const char *)s.p, s.n, SQLITE_STATIC,
                                  SQLITE_UTF8));
}

kd_err
sq_row(struct kd_backend *b, enum sq_statement which)
{
    kd_err err = sq_err(b, sqlite3_step(b->st[which]));

    if (err == KD_BUSY) /* nobody else can have it: our own order of calls is wrong */
        err = KD_FAILED;
    if (err != KD_OK)
        sq_reset(b, which);
    return err;
}

kd_err
sq_row_hold(struct kd_backend *b, enum sq_statement which)
{
    kd_err err = sq_row(b, which);

    b->held[which] = err == KD_OK;
    return err;
}

kd_err
sq_run(struct kd_backend *b, enum sq_statement which)
{
    kd_err err = sq_row(b, which);

    sq_reset(b, which);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

uint64_t
sq_u64(sqlite3_stmt *st, int col)
{
    return (uint64_t)sqlite3_column_int64(st, col);
}

struct kd_slice
sq_blob(sqlite3_stmt *st, int col)
{
    /* In this order: asking for the octets settles the size. */
    const void *p = sqlite3_column_blob(st, col);
    int n = sqlite3_column_bytes(st, col);

    return p == NULL ? kd_slice(NULL, 0) : kd_slice(p, (size_t)n);
}

kd_err
sq_copy(sqlite3_stmt *st, int col, void *out, size_t n)
{
    struct kd_slice s = sq_blob(st, col);

    if (s.n != n || s.p == NULL)
        return KD_FAILED;
    memcpy(out, s.p, n);
    return KD_OK;
}
