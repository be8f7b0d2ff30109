/* Like the ledger: SQLite in its own directory, the key store's file, and the errors of
 * both. */
#include "skeleton_sandbox.h"

#include <keyd/base/chan.h>
#include <keyd/base/log.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct kd_sandbox_path ledger_path[2];
static struct kd_sandbox_paths ledger_paths = {ledger_path, 0};

static void
ledger_path_add(const char *directory, enum kd_path_access access)
{
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

    MUST(fd >= 0);
    ledger_path[ledger_paths.n++] = (struct kd_sandbox_path){fd, access};
}

static void
ledger_enter(const char *directory, enum kd_path_access access)
{
    uint8_t octet;

    prepare();
    MUST(sqlite3_initialize() == SQLITE_OK);
    sqlite3_randomness(1, &octet); /* opens /dev/urandom */
    ledger_path_add(directory, access);
    MUST(kd_sandbox_enter(KD_ROLE_LEDGER, &ledger_paths, KD_SANDBOX_STRICT) == KD_OK);
    kd_log(KD_INFO, "%s", kd_sandbox_describe());
}

static sqlite3 *
ledger_open(const char *directory)
{
    sqlite3 *db = NULL;
    char path[512];

    MUST(snprintf(path, sizeof path, "%s/registry.db", directory) < 500);
    MUST(sqlite3_open_v2(path, &db,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                             SQLITE_OPEN_NOFOLLOW,
                         NULL) == SQLITE_OK);
    return db;
}

static int
run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void
ledger_setup(sqlite3 *db)
{
    MUST(run(db,
             "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
             "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
             "CREATE TABLE IF NOT EXISTS link(a INTEGER PRIMARY KEY, b BLOB) STRICT") ==
         SQLITE_OK);
}

static int
ledger_count(sqlite3 *db)
{
    sqlite3_stmt *st = NULL;

    MUST(sqlite3_prepare_v2(db, "SELECT count(*) FROM link", -1, &st, NULL) ==
         SQLITE_OK);
    MUST(sqlite3_step(st) == SQLITE_ROW);
    int n = sqlite3_column_int(st, 0);
    MUST(sqlite3_finalize(st) == SQLITE_OK);
    return n;
}

static void
ledger_insert(sqlite3 *db, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        MUST(run(db,
                 "BEGIN IMMEDIATE; INSERT INTO link(b) VALUES(randomblob(3000));"
                 "INSERT INTO link(b) VALUES(randomblob(30)); COMMIT") == SQLITE_OK);
}

/* Temp file, fsync, rename, fsync of the directory: how the key store is written. */
static void
write_key_store(const char *directory)
{
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(dir >= 0);
    int fd = openat(dir, "keys.new",
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    MUST(fd >= 0 && write(fd, "sealed", 6) == 6 && fsync(fd) == 0 && close(fd) == 0);
    MUST(renameat(dir, "keys.new", dir, "keys") == 0 && fsync(dir) == 0);
    MUST((fd = openat(dir, "keys", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) >= 0);
    char text[6];
    MUST(read(fd, text, 6) == 6 && close(fd) == 0);
    MUST(unlinkat(dir, "keys", 0) == 0 && close(dir) == 0);
}

void
ledger_works(const char *directory)
{
    int pair[2];

    MUST(kd_chan_pair(pair) == KD_OK);
    ledger_enter(directory, KD_PATH_WRITE);
    for (unsigned round = 0; round < 3; round++) {
        sqlite3 *db = ledger_open(directory);
        ledger_setup(db);
        ledger_insert(db, 50);
        MUST(run(db, "BEGIN; DELETE FROM link; ROLLBACK") == SQLITE_OK);
        MUST(run(db, "PRAGMA wal_checkpoint(TRUNCATE)") == SQLITE_OK);
        MUST(run(db, "PRAGMA quick_check") == SQLITE_OK);
        MUST(run(db, "CREATE INDEX i ON link(b); SELECT b FROM link ORDER BY b, a;"
                     "SELECT datetime('now','localtime'); DROP INDEX i; VACUUM") ==
             SQLITE_OK);
        MUST(ledger_count(db) == 100 * ((int)round + 1));
        sqlite3_sleep(1);
        MUST(sqlite3_close(db) == SQLITE_OK);
    }
    write_key_store(directory);
    make_and_read_memfd();
    pass_memfd(pair);
    allocate_all_sizes();
    tell_the_time();
    exit(0);
}

void
ledger_aborts(const char *directory)
{
    ledger_enter(directory, KD_PATH_WRITE);
    sqlite3 *db = ledger_open(directory);
    ledger_setup(db);
    ledger_insert(db, 20);
    MUST(run(db, "BEGIN IMMEDIATE; INSERT INTO link(b) VALUES(x'00')") == SQLITE_OK);
    abort();
}

/* Follows ledger_aborts in the same directory. */
void
ledger_recovers(const char *directory)
{
    ledger_enter(directory, KD_PATH_WRITE);
    sqlite3 *db = ledger_open(directory);
    ledger_setup(db);
    MUST(ledger_count(db) == 40);
    MUST(sqlite3_close(db) == SQLITE_OK);
    exit(0);
}

/* Twice: by SQLite's own limit, then by the system's. */
void
ledger_fills_the_disk(const char *directory)
{
    const struct rlimit limit = {1 << 20, 1 << 20};

    MUST(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    MUST(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    ledger_enter(directory, KD_PATH_WRITE);
    sqlite3 *db = ledger_open(directory);
    ledger_setup(db);
    MUST(run(db, "PRAGMA max_page_count=50") == SQLITE_OK);
    MUST(run(db, "INSERT INTO link(b) VALUES(zeroblob(400000))") == SQLITE_FULL);
    MUST(run(db, "PRAGMA max_page_count=100000") == SQLITE_OK);
    int r;
    do
        r = run(db, "INSERT INTO link(b) VALUES(randomblob(100000))");
    while (r == SQLITE_OK);
    MUST(r == SQLITE_FULL || r == SQLITE_IOERR);
    MUST(sqlite3_close(db) == SQLITE_OK);
    exit(0);
}

/* Only reading is left of the directory: SQLite retries read-only and says so. */
void
ledger_may_only_read(const char *directory)
{
    sqlite3 *db = ledger_open(directory);

    MUST(run(db, "CREATE TABLE link(a INTEGER PRIMARY KEY, b BLOB)") == SQLITE_OK);
    MUST(sqlite3_close(db) == SQLITE_OK);
    ledger_enter(directory, KD_PATH_READ);
    db = ledger_open(directory);
    MUST(ledger_count(db) == 0);
    MUST(run(db, "INSERT INTO link(b) VALUES(x'00')") == SQLITE_READONLY);
    MUST(sqlite3_close(db) == SQLITE_OK);
    /* and a directory that is not there at all, with temporary files asked for */
    MUST(sqlite3_open("/nowhere/registry.db", &db) == SQLITE_CANTOPEN);
    MUST(sqlite3_close(db) == SQLITE_OK);
    exit(0);
}

void
ledger_runs_out_of_memory(const char *directory)
{
    limit_memory((size_t)96 << 20);
    ledger_enter(directory, KD_PATH_WRITE);
    sqlite3 *db = ledger_open(directory);
    ledger_setup(db);
    MUST(run(db, "INSERT INTO link(b) VALUES(randomblob(200000000))") == SQLITE_NOMEM);
    ledger_insert(db, 1);
    exit(0);
}
