#include "rows.h"

#include <keyd/base/sha256.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSY_MS = 5000,
    SUM_SIZE = 32,
    APPLICATION = 0x44694d65, /* "DiMe" */
    RELEASE = 1,
    NAME_MAX_ = 255,
};

static const char schema[] =
    "CREATE TABLE row(kind INTEGER NOT NULL, name TEXT NOT NULL, id BLOB NOT NULL, "
    "stamp INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL, "
    "PRIMARY KEY(kind, name, id)) STRICT, WITHOUT ROWID";
static const char stamps[] = "CREATE INDEX stamps ON row(stamp)";

static kd_err
of_sqlite(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return KD_OK;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
        return KD_MALFORMED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return KD_BUSY;
    case SQLITE_NOMEM:
        return KD_NOMEM;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
        return KD_DENIED;
    case SQLITE_TOOBIG:
        return KD_TOO_LARGE;
    default:
        return KD_IO;
    }
}

static void
put_number(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* Over everything that a row says. */
static void
sum_of(const struct row *row, uint8_t out[SUM_SIZE])
{
    struct kd_sha256 h;
    uint8_t head[4 * 8];
    size_t n_name = strlen(row->name);

    put_number(head, row->kind);
    put_number(head + 8, (uint64_t)row->stamp);
    put_number(head + 16, n_name);
    put_number(head + 24, row->id.n);
    kd_sha256_init(&h);
    kd_sha256_add(&h, kd_slice(head, sizeof head));
    kd_sha256_add(&h, kd_slice(row->name, n_name));
    kd_sha256_add(&h, row->id);
    kd_sha256_add(&h, row->body);
    kd_sha256_final(&h, out);
}

/* --- opening --- */

static kd_err
run(sqlite3 *db, const char *sql)
{
    return of_sqlite(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static kd_err
ask_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? KD_MALFORMED : of_sqlite(rc);
}

static kd_err
set_up(sqlite3 *db)
{
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 2 * ROWS_BODY_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    int rc = sqlite3_busy_timeout(db, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (rc != SQLITE_OK)
        return of_sqlite(rc);
    return run(db, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; "
                   "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048; "
                   "PRAGMA synchronous = NORMAL");
}

/* In one transaction, as several may come at once. */
static kd_err
make_if_empty(sqlite3 *db)
{
    int64_t n = 0;
    char sql[512];
    kd_err err = run(db, "BEGIN IMMEDIATE");

    if (err == KD_OK)
        err = ask_number(db, "SELECT count(*) FROM sqlite_schema", &n);
    if (err == KD_OK && n == 0) {
        sqlite3_snprintf((int)sizeof sql, sql,
                         "%s; %s; PRAGMA application_id = %d; PRAGMA user_version = %d",
                         schema, stamps, APPLICATION, RELEASE);
        err = run(db, sql);
    }
    if (err == KD_OK)
        return run(db, "COMMIT");
    kd_ignore(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL)); /* perhaps none began */
    return err;
}

static kd_err
check_schema(sqlite3 *db)
{
    int64_t application = 0, release = 0, n = 0;
    char sql[1024];
    kd_err err = ask_number(db, "PRAGMA application_id", &application);

    if (err == KD_OK)
        err = ask_number(db, "PRAGMA user_version", &release);
    if (err != KD_OK)
        return err;
    if (application != APPLICATION)
        return KD_MALFORMED;
    if (release > RELEASE)
        return KD_UNSUPPORTED;
    sqlite3_snprintf(
        (int)sizeof sql, sql,
        "SELECT count(*) = 2 AND sum(sql IN (%Q, %Q)) = 2 FROM sqlite_schema", schema,
        stamps);
    err = ask_number(db, sql, &n);
    return err == KD_OK && n != 1 ? KD_MALFORMED : err;
}

static kd_err
prepare(struct rows *r)
{
    static const char *const sql[] = {
        "SELECT stamp, body, sum FROM row WHERE kind = ?1 AND name = ?2 AND id = ?3",
        "INSERT INTO row(kind, name, id, stamp, body, sum) VALUES(?1, ?2, ?3, ?4, ?5, "
        "?6) "
        "ON CONFLICT DO UPDATE SET stamp = ?4, body = ?5, sum = ?6 WHERE stamp <= ?4",
        "DELETE FROM row WHERE kind = ?1 AND name = ?2 AND id = ?3",
        "SELECT coalesce(max(stamp), 0) FROM row",
        "SELECT kind, name, id, stamp, body, sum FROM row WHERE kind = ?1 AND name = "
        "?2 "
        "AND id >= ?3 ORDER BY id"};
    sqlite3_stmt **const st[] = {&r->get, &r->put, &r->drop, &r->top, &r->list};

    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        int rc = sqlite3_prepare_v3(r->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, st[i],
                                    NULL);
        if (rc != SQLITE_OK)
            return of_sqlite(rc);
    }
    return KD_OK;
}

/* SQLite gives its own files the mode of this one. */
static kd_err
touch(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EACCES || errno == EPERM || errno == EROFS ? KD_DENIED : KD_IO;
    close(fd);
    return KD_OK;
}

kd_err
rows_open(struct rows *r, const char *path)
{
    *r = (struct rows){.db = NULL};
    kd_err err = touch(path);

    if (err != KD_OK)
        return err;
    err = of_sqlite(sqlite3_open_v2(
        path, &r->db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL));
    if (err == KD_OK)
        err = set_up(r->db);
    if (err == KD_OK)
        err = run(r->db, "PRAGMA journal_mode = WAL");
    /* It may be written, as touch() has seen: its own header says that it may not. */
    if ((err == KD_OK || err == KD_DENIED) && sqlite3_db_readonly(r->db, "main") == 1)
        err = KD_MALFORMED;
    if (err == KD_OK)
        err = make_if_empty(r->db);
    if (err == KD_OK)
        err = check_schema(r->db);
    if (err == KD_OK)
        err = prepare(r);
    if (err != KD_OK)
        rows_close(r);
    return err;
}

void
rows_close(struct rows *r)
{
    sqlite3_stmt *const st[] = {r->get, r->put, r->drop, r->top, r->list};

    for (size_t i = 0; i < sizeof st / sizeof *st; i++)
        sqlite3_finalize(st[i]);
    kd_ignore(sqlite3_close(r->db)); /* nothing of it is open */
    *r = (struct rows){.db = NULL};
}

kd_err
rows_begin(struct rows *r)
{
    return run(r->db, "BEGIN IMMEDIATE");
}

kd_err
rows_commit(struct rows *r)
{
    return run(r->db, "COMMIT");
}

void
rows_undo(struct rows *r)
{
    /* That there is none to undo is no matter. */
    kd_ignore(sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL));
}

/* --- rows --- */

static int
bind_key(sqlite3_stmt *st, unsigned kind, const char *name, struct kd_slice id)
{
    int rc = sqlite3_bind_int64(st, 1, kind);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(st, 3, id.n == 0 ? "" : (const void *)id.p, (int)id.n,
                               SQLITE_STATIC);
    return rc;
}

static struct kd_slice
blob(sqlite3_stmt *st, int column)
{
    const void *p = sqlite3_column_blob(st, column);

    return kd_slice(p, p == NULL ? 0 : (size_t)sqlite3_column_bytes(st, column));
}

static bool
holds(const struct row *row, struct kd_slice sum)
{
    uint8_t is[SUM_SIZE];

    if (row->name == NULL || row->id.n > ROWS_ID_MAX || row->body.n > ROWS_BODY_MAX)
        return false;
    sum_of(row, is);
    return kd_slice_eq(kd_slice(is, sizeof is), sum);
}

kd_err
rows_get(struct rows *r, unsigned kind, const char *name, struct kd_slice id,
         int64_t *stamp, struct kd_buf *b)
{
    kd_err err = KD_NOT_FOUND;
    int rc = bind_key(r->get, kind, name, id);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->get);
    if (rc == SQLITE_ROW) {
        const struct row row = {kind, name, id, sqlite3_column_int64(r->get, 0),
                                blob(r->get, 1)};
        err = KD_MALFORMED;
        if (holds(&row, blob(r->get, 2))) {
            kd_buf_reset(b);
            kd_buf_put(b, row.body);
            *stamp = row.stamp;
            err = b->err;
        }
    } else if (rc != SQLITE_DONE) {
        err = of_sqlite(rc);
    }
    kd_ignore(sqlite3_reset(r->get)); /* it was said */
    return err;
}

kd_err
rows_put(struct rows *r, const struct row *row)
{
    uint8_t sum[SUM_SIZE];

    if (row->id.n > ROWS_ID_MAX || row->body.n > ROWS_BODY_MAX ||
        strlen(row->name) > NAME_MAX_)
        return KD_TOO_LARGE;
    sum_of(row, sum);
    int rc = bind_key(r->put, row->kind, row->name, row->id);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(r->put, 4, row->stamp);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(r->put, 5,
                               row->body.n == 0 ? "" : (const void *)row->body.p,
                               (int)row->body.n, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(r->put, 6, sum, sizeof sum, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->put);
    kd_ignore(sqlite3_reset(r->put));
    kd_ignore(sqlite3_clear_bindings(r->put)); /* what they point to goes */
    return of_sqlite(rc);
}

kd_err
rows_drop(struct rows *r, unsigned kind, const char *name, struct kd_slice id)
{
    int rc = bind_key(r->drop, kind, name, id);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(r->drop);
    kd_ignore(sqlite3_reset(r->drop));
    return of_sqlite(rc);
}

kd_err
rows_top(struct rows *r, int64_t *stamp)
{
    int rc = sqlite3_step(r->top);

    if (rc == SQLITE_ROW)
        *stamp = sqlite3_column_int64(r->top, 0);
    kd_ignore(sqlite3_reset(r->top));
    return of_sqlite(rc);
}

/* Steps through st; every row that holds is given. */
static kd_err
walk(sqlite3_stmt *st, rows_each *each, void *arg, unsigned *n_bad)
{
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const struct row row = {(unsigned)sqlite3_column_int64(st, 0),
                                (const char *)sqlite3_column_text(st, 1), blob(st, 2),
                                sqlite3_column_int64(st, 3), blob(st, 4)};
        if (!holds(&row, blob(st, 5)))
            ++*n_bad;
        else if (!each(arg, &row))
            return KD_OK;
    }
    return of_sqlite(rc);
}

kd_err
rows_list(struct rows *r, unsigned kind, const char *name, struct kd_slice from,
          rows_each *each, void *arg, unsigned *n_bad)
{
    kd_err err = of_sqlite(bind_key(r->list, kind, name, from));

    if (err == KD_OK)
        err = walk(r->list, each, arg, n_bad);
    kd_ignore(sqlite3_reset(r->list));
    return err;
}

kd_err
rows_scan(struct rows *r, rows_each *each, void *arg, unsigned *n_bad)
{
    static const char *const sql[] = {
        "SELECT kind, name, id, stamp, body, sum FROM row NOT INDEXED",
        "SELECT kind, name, id, stamp, body, sum FROM row "
        "ORDER BY kind DESC, name DESC, id DESC"};
    kd_err err = KD_OK;

    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *st = NULL;
        kd_err now = of_sqlite(sqlite3_prepare_v2(r->db, sql[i], -1, &st, NULL));
        if (now == KD_OK)
            now = walk(st, each, arg, n_bad);
        sqlite3_finalize(st);
        if (now == KD_OK)
            break; /* all of it was seen */
        err = now;
    }
    return err;
}
