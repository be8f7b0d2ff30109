/* Backups: registry and sealed key store copied into backup/NAME while everything goes
 * on. The registry is copied a few pages a turn by SQLite's own means; then a thread
 * beside syncs and verifies the copy, writes the manifest, and gives it its name. What
 * has a name is whole; what was cut short lies in backup/.part until the next.
 *
 * A copy takes what is committed while it is made. It never has what opens the key
 * store, nor what is kept outside. */
#include "ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/ledger/manifest.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGES_A_STEP = 16, STEPS_US = 500, HASH_PIECE = 65536 };

static const char top[] = "backup";
static const char part[] = "backup/.part";

static void
fail(struct ledger *l, enum kd_reason reason)
{
    l->copy.state = KD_COPY_FAILED;
    l->copy.failed = (uint16_t)reason;
    kd_log(KD_WARN, "backup %s failed (%s, errno %d)", l->copy.name,
           reason == KD_REASON_DISK_FULL ? "no room" : "see above", errno);
}

/* --- files --- */

static void
in_part(const char *name, char out[64])
{
    kd_ignore(snprintf(out, 64, "%s/%s", part, name));
}

static void
clear_part(void)
{
    static const char *const names[] = {
        KD_BACKUP_REGISTRY, KD_BACKUP_REGISTRY "-journal", KD_BACKUP_REGISTRY "-wal",
        KD_BACKUP_KEYSTORE, KD_BACKUP_KEYSTORE ".new",     KD_BACKUP_MANIFEST,
    };
    char path[64];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        in_part(names[i], path);
        kd_ignore(unlinkat(AT_FDCWD, path, 0)); /* mostly there is none */
    }
    kd_ignore(unlinkat(AT_FDCWD, part, AT_REMOVEDIR));
}

static kd_err
sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    kd_err err = fd >= 0 && fsync(fd) == 0 ? KD_OK : KD_IO;

    if (fd >= 0)
        close(fd);
    return err;
}

static kd_err
write_file(const char *name, struct kd_slice octets)
{
    char path[64];
    kd_err err = KD_OK;

    in_part(name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return KD_IO;
    for (size_t at = 0; at < octets.n && err == KD_OK;) {
        ssize_t k = pwrite(fd, octets.p + at, octets.n - at, (off_t)at);
        if (k <= 0 && errno != EINTR)
            err = KD_IO;
        at += k > 0 ? (size_t)k : 0;
    }
    if (err == KD_OK && fsync(fd) != 0)
        err = KD_IO;
    if (close(fd) != 0)
        err = KD_IO;
    return err;
}

/* Size and SHA-256; none is a file of size 0. */
static kd_err
hash_file(const char *name, struct kd_manifest_file *out)
{
    static uint8_t piece[HASH_PIECE]; /* one backup at a time */
    crypto_hash_sha256_state st;
    char path[64];
    ssize_t k;

    in_part(name, path);
    *out = (struct kd_manifest_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? KD_OK : KD_IO;
    crypto_hash_sha256_init(&st);
    while ((k = pread(fd, piece, sizeof piece, (off_t)out->size)) > 0) {
        crypto_hash_sha256_update(&st, piece, (size_t)k);
        out->size += (uint64_t)k;
    }
    crypto_hash_sha256_final(&st, out->sha256);
    close(fd);
    return k == 0 ? KD_OK : KD_IO;
}

/* --- verifying, on a thread --- */

static kd_err
sync_registry(void)
{
    char path[64];

    in_part(KD_BACKUP_REGISTRY, path);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    kd_err err = fd >= 0 && fsync(fd) == 0 ? KD_OK : KD_IO;
    if (fd >= 0)
        close(fd);
    return err;
}

/* As at a start: structure of all tables, log, rows, checkpoint, key store. */
static kd_err
verify_copy(const struct copy_job *j)
{
    const struct kd_store_conf conf = {.dir = part, .check = KD_CHECK_COPY};
    char why[KD_STORE_WHY_MAX] = "";
    struct kd_store *s = NULL;
    struct kd_audit_tail tail;
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &s, why);

    if (err != KD_OK) {
        kd_log(KD_WARN, "the copy does not hold: %s (%s)", why, kd_err_text(err));
        return err;
    }
    kd_store_tail(s, &tail);
    if (tail.seq != j->manifest.tail.seq ||
        memcmp(tail.hash, j->manifest.tail.hash, sizeof tail.hash) != 0)
        err = KD_INVALID;
    kd_store_close(s);
    return err;
}

static kd_err
finish(struct copy_job *j)
{
    char place[KD_BACKUP_NAME_MAX + sizeof top + 1];
    struct kd_buf text;
    kd_err err;

    if ((err = sync_registry()) != KD_OK || (err = verify_copy(j)) != KD_OK ||
        (err = sync_registry()) != KD_OK ||
        (err = hash_file(KD_BACKUP_REGISTRY, &j->manifest.registry)) != KD_OK ||
        (err = hash_file(KD_BACKUP_KEYSTORE, &j->manifest.keystore)) != KD_OK)
        return err;
    kd_buf_init(&text, KD_MANIFEST_MAX);
    err = kd_manifest_encode(&j->manifest, &text);
    if (err == KD_OK)
        err = write_file(KD_BACKUP_MANIFEST, kd_buf_slice(&text));
    kd_buf_free(&text);
    if (err == KD_OK)
        err = sync_folder(part);
    kd_ignore(snprintf(place, sizeof place, "%s/%s", top, j->name));
    if (err == KD_OK &&
        renameat2(AT_FDCWD, part, AT_FDCWD, place, RENAME_NOREPLACE) != 0)
        err = KD_IO;
    return err == KD_OK ? sync_folder(top) : err;
}

static void
finish_work(struct pool_item *item)
{
    struct copy_job *j = (struct copy_job *)item;

    j->err = finish(j);
}

static void
finish_done(struct ledger *l, struct ledger_job *job)
{
    struct copy_job *j = (struct copy_job *)job;

    if (j->err != KD_OK) {
        fail(l, KD_REASON_BACKUP_FAILED);
        clear_part();
        return;
    }
    l->copy.state = KD_COPY_DONE;
    kd_log(KD_INFO, "backup %s: %llu records, %llu octets", l->copy.name,
           (unsigned long long)j->manifest.tail.seq,
           (unsigned long long)j->manifest.registry.size);
}

/* --- copying, a little at a time --- */

static kd_err
begin(struct ledger *l)
{
    char path[64];

    clear_part();
    if ((mkdirat(AT_FDCWD, top, 0700) != 0 && errno != EEXIST) ||
        mkdirat(AT_FDCWD, part, 0700) != 0)
        return KD_IO;
    in_part(KD_BACKUP_REGISTRY, path);
    return kd_store_copy_begin(l->store, path, &l->copy.store);
}

/* The registry in the copy is the one of this moment; so must be the key store. */
static kd_err
take_keystore(struct ledger *l)
{
    struct copy_job *j = &l->copy.job;
    struct kd_slice octets;
    uint64_t generation = 0;
    kd_err err = kd_store_keystore_read(l->store, &octets, &generation);

    if (err == KD_NOT_FOUND)
        return KD_OK;
    if (err != KD_OK)
        return err;
    j->manifest.keystore_generation = generation;
    return write_file(KD_BACKUP_KEYSTORE, octets);
}

static kd_err
copied(struct ledger *l)
{
    struct copy_job *j = &l->copy.job;
    struct kd_store_copy *c = l->copy.store;
    kd_err err;

    *j =
        (struct copy_job){.base = {.item = {.work = finish_work}, .done = finish_done}};
    kd_ignore(snprintf(j->name, sizeof j->name, "%s", l->copy.name));
    kd_store_tail(l->store, &j->manifest.tail);
    l->copy.store = NULL;
    if ((err = kd_store_copy_end(c)) != KD_OK || (err = take_keystore(l)) != KD_OK)
        return err;
    l->copy.state = KD_COPY_VERIFYING;
    pool_run(&l->pool, &j->base.item);
    return KD_OK;
}

static void
give_up(struct ledger *l, enum kd_reason reason)
{
    fail(l, reason);
    kd_ignore(kd_store_copy_end(l->copy.store));
    l->copy.store = NULL;
    clear_part();
}

int
copy_turn(struct ledger *l)
{
    struct kd_store_copied at = {0};
    int64_t until = kd_clock_ns() + (int64_t)STEPS_US * 1000;
    kd_err err = KD_OK;

    if (l->copy.state != KD_COPY_COPYING)
        return INT_MAX;
    if (l->room.is_low) {
        give_up(l, KD_REASON_DISK_FULL);
        return INT_MAX;
    }
    do {
        err = kd_store_copy_step(l->copy.store, PAGES_A_STEP, &at);
    } while (err == KD_OK && !at.done && kd_clock_ns() < until);
    if (err == KD_OK) {
        l->copy.pages = at.pages;
        l->copy.total = at.total;
    }
    if (err == KD_OK && at.done)
        err = copied(l);
    if (err != KD_OK)
        give_up(l, KD_REASON_BACKUP_FAILED);
    return 0;
}

/* --- the vault's question --- */

static bool
exists(struct kd_slice name)
{
    char place[KD_BACKUP_NAME_MAX + sizeof top + 1];
    struct stat st;

    kd_ignore(snprintf(place, sizeof place, "%s/%.*s", top, (int)name.n,
                       (const char *)name.p));
    return fstatat(AT_FDCWD, place, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* One that an earlier process made. */
static bool
recall(struct ledger *l, struct kd_slice name)
{
    char path[KD_BACKUP_NAME_MAX + sizeof top + sizeof KD_BACKUP_MANIFEST + 2];
    uint8_t text[KD_MANIFEST_MAX];

    kd_ignore(snprintf(path, sizeof path, "%s/%.*s/%s", top, (int)name.n,
                       (const char *)name.p, KD_BACKUP_MANIFEST));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
    if (fd >= 0)
        close(fd);
    if (n < 0 ||
        kd_manifest_decode(kd_slice(text, (size_t)n), &l->copy.job.manifest) != KD_OK)
        return false;
    l->copy.state = KD_COPY_DONE;
    l->copy.pages = l->copy.total = 0;
    kd_ignore(snprintf(l->copy.name, sizeof l->copy.name, "%.*s", (int)name.n,
                       (const char *)name.p));
    return true;
}

static kd_err
start(struct ledger *l, struct kd_slice name, enum kd_reason *reason)
{
    struct kd_store_stats stats;
    kd_err err = kd_store_stats(l->store, &stats);

    if (err != KD_OK)
        ledger_disk_failed("size", err);
    *reason = KD_REASON_DISK_FULL;
    if (!room_has(l, stats.size + stats.wal_size + KD_STORE_KEYSTORE_MAX))
        return KD_UNAVAILABLE;
    kd_ignore(snprintf(l->copy.name, sizeof l->copy.name, "%.*s", (int)name.n,
                       (const char *)name.p));
    l->copy.pages = l->copy.total = 0;
    *reason = KD_REASON_BACKUP_FAILED;
    if (begin(l) != KD_OK) {
        give_up(l, *reason);
        return KD_UNAVAILABLE;
    }
    l->copy.state = KD_COPY_COPYING;
    *reason = KD_REASON_NONE;
    return KD_OK;
}

/* What is to be done about the question: KD_OK and the state tells the rest. */
static kd_err
look(struct ledger *l, const struct kd_ask_backup *ask, bool *is_new,
     enum kd_reason *reason)
{
    bool is_it = kd_slice_eq(ask->name, kd_slice_str(l->copy.name));
    bool runs = l->copy.state == KD_COPY_COPYING || l->copy.state == KD_COPY_VERIFYING;

    *is_new = false;
    *reason = KD_REASON_BAD_NAME;
    if (!kd_backup_name_is_good(ask->name))
        return KD_INVALID;
    *reason = KD_REASON_NONE;
    if (is_it && (runs || (ask->poll != 0 && l->copy.state == KD_COPY_FAILED)))
        return KD_OK;
    *reason = KD_REASON_BACKUP_EXISTS;
    if (exists(ask->name) && ask->poll == 0)
        return KD_CONFLICT;
    *reason = KD_REASON_BACKUP_RUNS;
    if (runs)
        return KD_BUSY;
    *reason = KD_REASON_NO_SUCH_BACKUP;
    if (ask->poll != 0 && !recall(l, ask->name))
        return KD_NOT_FOUND;
    *reason = KD_REASON_NONE;
    if (ask->poll != 0)
        return KD_OK;
    *is_new = true;
    return start(l, ask->name, reason);
}

kd_err
copy_on_ask(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_backup ask;
    enum kd_reason reason;
    bool is_new = false;
    kd_err err = kd_ask_backup_get(body, &ask);

    if (err != KD_OK)
        return err;
    err = look(l, &ask, &is_new, &reason);
    const struct kd_manifest *made = &l->copy.job.manifest;
    struct kd_told_backup m = {.tag = ask.tag,
                               .err = (uint8_t)err,
                               .reason = (uint16_t)reason,
                               .is_new = is_new,
                               .state = (uint8_t)l->copy.state,
                               .failed = l->copy.failed,
                               .pages = l->copy.pages,
                               .total = l->copy.total};
    if (l->copy.state == KD_COPY_DONE) {
        m.seq = made->tail.seq;
        memcpy(m.hash, made->tail.hash, sizeof m.hash);
        m.size = made->registry.size;
    }
    kd_told_backup_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_told_backup, -1);
    return KD_OK;
}
