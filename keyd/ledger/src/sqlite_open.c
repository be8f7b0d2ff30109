/* Opening and creating the registry's file. */
#include "sqlite_impl.h"

#include "store_impl.h"
#include "wal.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SCHEMA_VERSION = 3,
    APPLICATION_ID = 0x6b657964, /* "keyd" */
    BUSY_MS = 1500,
    CACHE_SIZE = 8 * 1024 * 1024,
    HEAP_BESIDE_CACHE = 4 * 1024 * 1024,
    CHECK_MS = 1000,         /* no further table is begun after this */
    CHECK_PAGES_MAX = 65536, /* 256 MiB: beyond, the two big tables are left to FULL */
};

static const char file_name[] = "registry.db";
static const char new_name[] = "registry.db.new";

/* first, last: the schema versions that have it. */
static const struct object {
    int first, last;
    const char *type, *name, *sql;
} objects[] = {
#define OBJECT(type, name, sql) {1, SCHEMA_VERSION, type, name, sql},
#define OBJECT_FROM(version, type, name, sql)                                          \
    {version, SCHEMA_VERSION, type, name, sql},
#define OBJECT_UNTIL(version, type, name, sql) {1, version, type, name, sql},
#include "sqlite_schema.def"
#undef OBJECT
#undef OBJECT_FROM
#undef OBJECT_UNTIL
};
enum { N_OBJECTS = sizeof objects / sizeof *objects };

static const char *const statements[ST_COUNT_OF] = {
#define STATEMENT(code, sql) [code] = sql,
#include "sqlite_statements.def"
#undef STATEMENT
};

static kd_err
path_of(const struct kd_store_conf *conf, const char *name, char out[PATH_MAX],
        char why[KD_STORE_WHY_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/%s", conf->dir, name);

    if (n < 0 || n >= PATH_MAX)
        return kd_store_why(why, KD_IO, "registry path too long");
    return KD_OK;
}

/* What an operator reads when SQLite refuses. */
static kd_err
refuse(sqlite3 *db, int rc, char why[KD_STORE_WHY_MAX])
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return kd_store_why(why, KD_BUSY, "registry is open in another process");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return kd_store_why(why, KD_INVALID, "registry is damaged: %s",
                            sqlite3_errmsg(db));
    case SQLITE_READONLY:
        return kd_store_why(why, KD_IO, "registry is read-only");
    case SQLITE_NOMEM:
        return kd_store_why(why, KD_NOMEM, "out of memory");
    case SQLITE_IOERR:
    case SQLITE_FULL:
        return kd_store_why(why, KD_UNAVAILABLE, "registry: %s (code %d, errno %d)",
                            sqlite3_errmsg(db), rc, sqlite3_system_errno(db));
    default:
        return kd_store_why(why, kd_store_errno(sqlite3_system_errno(db)),
                            "registry: %s (code %d, errno %d)", sqlite3_errmsg(db), rc,
                            sqlite3_system_errno(db));
    }
}

static kd_err
run(sqlite3 *db, const char *sql, char why[KD_STORE_WHY_MAX])
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? KD_OK : refuse(db, rc, why);
}

/* The first column of the first row, as text cut to size; empty without a row. */
static kd_err
ask(sqlite3 *db, const char *sql, char *out, size_t size, char why[KD_STORE_WHY_MAX])
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

    out[0] = '\0';
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && sqlite3_column_text(st, 0) != NULL)
        kd_ignore(snprintf(out, size, "%s", (const char *)sqlite3_column_text(st, 0)));
    kd_ignore(sqlite3_finalize(st)); /* repeats rc */
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KD_OK : refuse(db, rc, why);
}

/* --- creating --- */

static kd_err
put_meta(sqlite3 *db, char why[KD_STORE_WHY_MAX])
{
    static const uint8_t zero[KD_SHA256_SIZE];
    uint8_t instance[KD_INSTANCE_SIZE];
    sqlite3_stmt *st = NULL;

    if (getrandom(instance, sizeof instance, 0) != (ssize_t)sizeof instance)
        return kd_store_why(why, KD_FAILED, "no random octets");
    int rc = sqlite3_prepare_v2(db, "INSERT INTO meta VALUES(1, ?1, ?2, 0, ?3, 0, ?3)",
                                -1, &st, NULL);
    if (rc == SQLITE_OK) {
        sq_bind_blob(st, 1, instance, sizeof instance);
        sq_bind_u64(st, 2, (uint64_t)kd_clock_wall_ms());
        sq_bind_blob(st, 3, zero, sizeof zero);
        rc = sqlite3_step(st);
    }
    kd_ignore(sqlite3_finalize(st)); /* repeats rc */
    return rc == SQLITE_DONE ? KD_OK : refuse(db, rc, why);
}

static bool
is_in(const struct object *o, int version)
{
    return o->first <= version && version <= o->last;
}

/* Brings the schema from a version (0: nothing is there) to this one: drops what is no
 * more, makes what came since. Within a transaction. Whoever adds to this: it runs on
 * registries of any older version. */
static kd_err
make_objects(sqlite3 *db, int from, char why[KD_STORE_WHY_MAX])
{
    char drop[128];
    kd_err err = KD_OK;

    for (unsigned i = 0; i < N_OBJECTS && err == KD_OK; i++) {
        const struct object *o = &objects[i];
        if (!is_in(o, from) || is_in(o, SCHEMA_VERSION))
            continue;
        kd_ignore(snprintf(drop, sizeof drop, "DROP %s %s", o->type, o->name));
        err = run(db, drop, why);
    }
    for (unsigned i = 0; i < N_OBJECTS && err == KD_OK; i++)
        if (is_in(&objects[i], SCHEMA_VERSION) && !is_in(&objects[i], from))
            err = run(db, objects[i].sql, why);
    if (err == KD_OK && from < 2)
        err = run(db, "INSERT INTO uptime VALUES(1, 0)", why);
    if (err == KD_OK && from < 3)
        err = run(db, "INSERT INTO mark VALUES(1, 0, 0, 0, zeroblob(32), 0)", why);
    return err;
}

static kd_err
make_schema(sqlite3 *db, char why[KD_STORE_WHY_MAX])
{
    char pragma[64];
    kd_err err = run(db, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", why);

    if (err == KD_OK)
        err = make_objects(db, 0, why);
    if (err == KD_OK)
        err = put_meta(db, why);
    kd_ignore(snprintf(pragma, sizeof pragma,
                       "PRAGMA application_id = %d; PRAGMA user_version = %d",
                       APPLICATION_ID, SCHEMA_VERSION));
    if (err == KD_OK)
        err = run(db, pragma, why);
    return err == KD_OK ? run(db, "COMMIT", why) : err;
}

/* Under another name, so that a half-made registry is never mistaken for one, and a
 * file cut to nothing never for a new one. */
static kd_err
create(const struct kd_store_conf *conf, int dir, char why[KD_STORE_WHY_MAX])
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    kd_err err;

    if ((err = path_of(conf, new_name, path, why)) != KD_OK)
        return err;
    if (unlinkat(dir, new_name, 0) != 0 && errno != ENOENT)
        return kd_store_why(why, kd_store_errno(errno), "%s: %s", new_name,
                            strerror(errno));
    kd_ignore(unlinkat(dir, "registry.db.new-journal", 0)); /* its journal, if any */
    int fd =
        openat(dir, new_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kd_store_why(why, kd_store_errno(errno),
                            "registry cannot be created: %s", strerror(errno));
    close(fd); /* SQLite gives its own files the mode of this one */
    int rc =
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    err = rc == SQLITE_OK ? make_schema(db, why) : refuse(db, rc, why);
    kd_ignore(sqlite3_close(db)); /* committed in rollback mode: nothing is left */
    if (err == KD_OK &&
        (renameat(dir, new_name, dir, file_name) != 0 || fsync(dir) != 0))
        err = kd_store_why(why, kd_store_errno(errno),
                           "registry cannot be put in place: %s", strerror(errno));
    return err;
}

static kd_err
check_log(int dir, char why[KD_STORE_WHY_MAX])
{
    unsigned long long at = 0;
    kd_err err = wal_check(dir, "registry.db-wal", &at);

    if (err == KD_INVALID)
        return kd_store_why(
            why, err,
            "registry is damaged: its write-ahead log at octet %llu, with "
            "commits behind it",
            at);
    return err == KD_OK ? KD_OK
                        : kd_store_why(why, err, "write-ahead log cannot be read");
}

static kd_err
create_if_missing(const struct kd_store_conf *conf, char why[KD_STORE_WHY_MAX])
{
    struct stat st;
    kd_err err = KD_OK;
    int dir = open(conf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return kd_store_why(why, kd_store_errno(errno), "registry directory: %s",
                            strerror(errno));
    if (fstatat(dir, file_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT)
            err = kd_store_why(why, kd_store_errno(errno), "registry: %s",
                               strerror(errno));
        else if (!conf->create)
            err = kd_store_why(why, KD_NOT_FOUND, "there is no registry");
        else
            err = create(conf, dir, why);
    } else if (!S_ISREG(st.st_mode)) {
        err = kd_store_why(why, KD_INVALID, "registry is not a regular file");
    } else if (st.st_size == 0) {
        /* SQLite would take it for a new and empty one. */
        err = kd_store_why(why, KD_INVALID, "registry is damaged: it is empty");
    } else {
        err = check_log(dir, why);
    }
    close(dir);
    return err;
}

void
sq_setup(void)
{
    uint8_t seed;

    /* Opens /dev/urandom once; in the sandbox that would fail, and the clock would be
     * taken for salt. */
    sqlite3_randomness(sizeof seed, &seed);
}

/* --- opening --- */

static kd_err
configure(sqlite3 *db, const struct kd_store_conf *conf, char why[KD_STORE_WHY_MAX])
{
    char sql[512];
    char mode[16];
    size_t cache = conf->cache_size == 0 ? CACHE_SIZE : conf->cache_size;
    unsigned busy = conf->busy_ms == 0 ? BUSY_MS : conf->busy_ms;
    kd_err err;

    /* SQLite falls back to reading without a word, then fails to lock. */
    if (sqlite3_db_readonly(db, "main") != 0)
        return kd_store_why(why, KD_IO, "registry is read-only");
    kd_ignore(sqlite3_busy_timeout(db, (int)(busy > INT_MAX ? INT_MAX : busy)));
    kd_ignore(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL));
    kd_ignore(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL));
    kd_ignore(sqlite3_soft_heap_limit64((sqlite3_int64)cache + HEAP_BESIDE_CACHE));
    /* locking_mode before the first access in WAL mode: then the WAL's index lives in
     * our heap and no file is mapped (F11, and mmap is not allowed). */
    kd_ignore(snprintf(sql, sizeof sql,
                       "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; "
                       "PRAGMA cache_size = -%zu; PRAGMA mmap_size = 0; "
                       "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = OFF; "
                       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; "
                       "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON",
                       cache / 1024));
    if ((err = run(db, sql, why)) != KD_OK)
        return err;
    if ((err = ask(db, "PRAGMA journal_mode = WAL", mode, sizeof mode, why)) != KD_OK)
        return err;
    if (strcmp(mode, "wal") != 0)
        return kd_store_why(why, KD_IO, "registry cannot use a write-ahead log");
    /* Takes the lock for good, and shows that writing is possible. */
    return run(db, "BEGIN IMMEDIATE; COMMIT", why);
}

static kd_err
check_version(sqlite3 *db, int *version, char why[KD_STORE_WHY_MAX])
{
    char text[32];
    kd_err err = ask(db, "PRAGMA application_id", text, sizeof text, why);

    if (err != KD_OK)
        return err;
    if (strtol(text, NULL, 10) != APPLICATION_ID)
        return kd_store_why(why, KD_INVALID, "the file is not a registry of keyd");
    if ((err = ask(db, "PRAGMA user_version", text, sizeof text, why)) != KD_OK)
        return err;
    long n = strtol(text, NULL, 10);
    if (n < 1 || n > SCHEMA_VERSION)
        return kd_store_why(why, KD_UNSUPPORTED,
                            "registry has schema version %s, this keyd knows 1 to %d",
                            text, SCHEMA_VERSION);
    *version = (int)n;
    return KD_OK;
}

static const struct object *
find_object(const char *name, int version)
{
    for (unsigned i = 0; name != NULL && i < N_OBJECTS; i++) {
        if (is_in(&objects[i], version) && strcmp(objects[i].name, name) == 0)
            return &objects[i];
    }
    return NULL;
}

/* Exactly the objects of that version, word for word. */
static kd_err
check_schema(sqlite3 *db, int version, char why[KD_STORE_WHY_MAX])
{
    sqlite3_stmt *st = NULL;
    unsigned n = 0, n_wanted = 0;
    bool same = true;

    for (unsigned i = 0; i < N_OBJECTS; i++)
        n_wanted += is_in(&objects[i], version);
    int rc = sqlite3_prepare_v2(db,
                                "SELECT type, name, sql FROM sqlite_schema "
                                "WHERE name NOT LIKE 'sqlite_autoindex_%'",
                                -1, &st, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW && same) {
        const char *type = (const char *)sqlite3_column_text(st, 0);
        const struct object *o =
            find_object((const char *)sqlite3_column_text(st, 1), version);
        const char *sql = (const char *)sqlite3_column_text(st, 2);
        same = o != NULL && type != NULL && sql != NULL && strcmp(o->type, type) == 0 &&
               strcmp(o->sql, sql) == 0;
        n++;
        rc = SQLITE_OK;
    }
    kd_ignore(sqlite3_finalize(st)); /* repeats rc */
    if (same && rc != SQLITE_OK && rc != SQLITE_DONE)
        return refuse(db, rc, why);
    if (!same || n != n_wanted)
        return kd_store_why(why, KD_INVALID, "the registry's schema was altered");
    return KD_OK;
}

/* A registry that an older keyd made, in one transaction: old or new, never between. */
static kd_err
migrate(sqlite3 *db, int from, char why[KD_STORE_WHY_MAX])
{
    char pragma[64];
    kd_err err;

    if (from == SCHEMA_VERSION)
        return KD_OK;
    if ((err = run(db, "BEGIN IMMEDIATE", why)) != KD_OK)
        return err;
    kd_ignore(
        snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", SCHEMA_VERSION));
    if ((err = make_objects(db, from, why)) == KD_OK &&
        (err = run(db, pragma, why)) == KD_OK &&
        (err = run(db, "COMMIT", why)) == KD_OK)
        kd_log(KD_INFO, "registry brought from schema version %d to %d", from,
               SCHEMA_VERSION);
    return err; /* what was begun ends with the connection */
}

static kd_err
expect_ok(sqlite3 *db, const char *pragma, char why[KD_STORE_WHY_MAX])
{
    char text[120];
    kd_err err = ask(db, pragma, text, sizeof text, why);

    if (err == KD_OK && strcmp(text, "ok") != 0)
        return kd_store_why(why, KD_INVALID, "registry is damaged: %s", text);
    return err;
}

/* The structure of the tables, small and precious ones first, for as long as the time
 * lasts; a big registry is checked in full by a verb, not at every start. */
static kd_err
check_tables(struct kd_backend *b, enum kd_store_check check,
             char why[KD_STORE_WHY_MAX])
{
    static const char *const small[] = {
        "meta", "key_seen", "org_signet", "checkpoint", "counter", "link", "idem"};
    int64_t start = kd_clock_ms();
    char sql[64];
    char pages[32];
    kd_err err;

    if (check == KD_CHECK_NONE)
        return KD_OK;
    if ((err = ask(b->db, "PRAGMA page_count", pages, sizeof pages, why)) != KD_OK)
        return err;
    bool fits = check == KD_CHECK_COPY || strtol(pages, NULL, 10) <= CHECK_PAGES_MAX;
    if (check == KD_CHECK_FULL || fits) {
        b->checked_whole = true;
        return expect_ok(b->db,
                         check == KD_CHECK_FULL ? "PRAGMA integrity_check(1)"
                                                : "PRAGMA quick_check(1)",
                         why);
    }
    for (unsigned i = 0; i < sizeof small / sizeof *small; i++) {
        if (kd_clock_ms() - start > CHECK_MS)
            return KD_OK;
        kd_ignore(snprintf(sql, sizeof sql, "PRAGMA quick_check(%s)", small[i]));
        if ((err = expect_ok(b->db, sql, why)) != KD_OK)
            return err;
    }
    return KD_OK;
}

static int
on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct kd_backend *b = arg;

    (void)db;
    (void)name;
    b->wal_pages = (unsigned)pages;
    return SQLITE_OK;
}

static kd_err
prepare(struct kd_backend *b, char why[KD_STORE_WHY_MAX])
{
    for (unsigned i = 0; i < ST_COUNT_OF; i++) {
        int rc = sqlite3_prepare_v3(b->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &b->st[i], NULL);
        if (rc != SQLITE_OK)
            return refuse(b->db, rc, why);
    }
    return KD_OK;
}

kd_err
sq_open(const struct kd_store_conf *conf, struct kd_backend **out,
        char why[KD_STORE_WHY_MAX])
{
    char path[PATH_MAX];
    int version = 0;
    kd_err err;
    struct kd_backend *b = calloc(1, sizeof *b);

    if (b == NULL)
        return kd_store_why(why, KD_NOMEM, "out of memory");
    kd_buf_init(&b->core, (size_t)128 * 1024);
    if ((err = create_if_missing(conf, why)) != KD_OK ||
        (err = path_of(conf, file_name, path, why)) != KD_OK)
        goto out;
    int rc = sqlite3_open_v2(path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                             NULL);
    if (rc != SQLITE_OK) {
        err = refuse(b->db, rc, why);
        goto out;
    }
    kd_ignore(sqlite3_extended_result_codes(b->db, 1));
    if ((err = configure(b->db, conf, why)) != KD_OK ||
        (err = check_version(b->db, &version, why)) != KD_OK ||
        (err = check_schema(b->db, version, why)) != KD_OK ||
        (err = check_tables(b, conf->check, why)) != KD_OK ||
        (err = migrate(b->db, version, why)) != KD_OK ||
        (err = prepare(b, why)) != KD_OK)
        goto out;
    /* Instead of the automatic checkpoint, whose errors nobody would see: sq_tend. */
    sqlite3_wal_hook(b->db, on_commit, b);
    *out = b;
    b = NULL;
out:
    sq_close(b);
    return err;
}

void
sq_close(struct kd_backend *b)
{
    if (b == NULL)
        return;
    for (unsigned i = 0; i < ST_COUNT_OF; i++)
        kd_ignore(sqlite3_finalize(b->st[i])); /* repeats an old result */
    /* Moves what is left in the log; if that fails, the log stays for the next open. */
    kd_ignore(sqlite3_close(b->db));
    kd_buf_free(&b->core);
    free(b);
}
