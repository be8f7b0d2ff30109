/* A copy of the registry while it is in use, by SQLite's backup interface. What our own
 * connection commits meanwhile SQLite writes to the copy as well, so that it never
 * begins anew. */
#include "sqlite_impl.h"

#include <keyd/base/log.h>

#include <stdlib.h>

struct kd_backend_copy {
    sqlite3 *to;
    sqlite3_backup *backup;
};

static kd_err
copy_failed(const struct kd_backend_copy *c, int rc)
{
    kd_log(KD_WARN, "ledger: copy code=%d text=\"%s\"", rc,
           c->to == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(c->to));
    return (rc & 0xff) == SQLITE_NOMEM ? KD_NOMEM : KD_IO;
}

kd_err
sq_copy_begin(struct kd_backend *b, const char *path, struct kd_backend_copy **out)
{
    struct kd_backend_copy *c = calloc(1, sizeof *c);
    kd_err err = KD_OK;

    if (c == NULL)
        return KD_NOMEM;
    sq_release(b);
    int rc = sqlite3_open_v2(
        path, &c->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
        NULL);
    /* Nobody else has it, and a copy that was cut short is thrown away. */
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(c->to,
                          "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; "
                          "PRAGMA journal_mode = OFF; PRAGMA temp_store = MEMORY; "
                          "PRAGMA cache_size = -1024",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK &&
        (c->backup = sqlite3_backup_init(c->to, "main", b->db, "main")) == NULL)
        rc = sqlite3_errcode(c->to);
    if (rc != SQLITE_OK) {
        err = copy_failed(c, rc);
        kd_ignore(sqlite3_close(c->to)); /* of no use */
        free(c);
        return err;
    }
    *out = c;
    return KD_OK;
}

kd_err
sq_copy_step(struct kd_backend_copy *c, unsigned pages, struct kd_store_copied *out)
{
    int rc = sqlite3_backup_step(c->backup, (int)pages);

    if (rc != SQLITE_OK && rc != SQLITE_DONE)
        return copy_failed(c, rc);
    int total = sqlite3_backup_pagecount(c->backup);
    int left = sqlite3_backup_remaining(c->backup);
    *out = (struct kd_store_copied){.pages = (uint64_t)(total - left),
                                    .total = (uint64_t)total,
                                    .done = rc == SQLITE_DONE};
    return KD_OK;
}

kd_err
sq_copy_end(struct kd_backend_copy *c)
{
    kd_err err = KD_OK;

    if (c == NULL)
        return KD_OK;
    int rc = sqlite3_backup_finish(c->backup);
    int closed = sqlite3_close(c->to);
    if (rc != SQLITE_OK || closed != SQLITE_OK)
        err = KD_IO;
    free(c);
    return err;
}
