/* One SQLite file of rows that each carry a checksum: what the resolver's cache and the
 * two copies of its ring are made of. A row that does not hold is never given out. */
#ifndef DIME_RESOLVER_ROWS_H
#define DIME_RESOLVER_ROWS_H

#include <keyd/base/buf.h>

#include <sqlite3.h>

enum {
    ROWS_ID_MAX = 65,
    ROWS_BODY_MAX = 1 << 20, /* octets of a row */
};

/* id tells rows of a kind and name apart; stamp grows with every change of a file. */
struct row {
    unsigned kind;
    const char *name;
    struct kd_slice id;
    int64_t stamp;
    struct kd_slice body;
};

struct rows {
    sqlite3 *db; /* NULL: not there */
    sqlite3_stmt *get, *put, *drop, *top, *list;
};

/* Opens or makes the file (mode 0600). KD_OK; KD_MALFORMED: damaged, or not one of
 * ours; KD_UNSUPPORTED: of a later release; KD_IO, KD_DENIED, KD_BUSY; KD_NOMEM.
 * Nothing is left open then. */
kd_err rows_open(struct rows *r, const char *path) KD_MUST_USE;
void rows_close(struct rows *r);

/* For what several rows say together: others wait. */
kd_err rows_begin(struct rows *r) KD_MUST_USE;
kd_err rows_commit(struct rows *r) KD_MUST_USE;
void rows_undo(struct rows *r);

/* KD_NOT_FOUND; KD_MALFORMED: the row or the file is damaged. The body goes to b. */
kd_err rows_get(struct rows *r, unsigned kind, const char *name, struct kd_slice id,
                int64_t *stamp, struct kd_buf *b) KD_MUST_USE;
/* Unless there is a row of a higher stamp: of two who write, the later one stays. */
kd_err rows_put(struct rows *r, const struct row *row) KD_MUST_USE;
kd_err rows_drop(struct rows *r, unsigned kind, const char *name,
                 struct kd_slice id) KD_MUST_USE;

/* The highest stamp; 0 in an empty file. */
kd_err rows_top(struct rows *r, int64_t *stamp) KD_MUST_USE;

/* Calls for each row of a kind and name whose id is at least from, in order of the ids;
 * ends when that returns false. Rows that do not hold are counted in *n_bad. What is
 * given lives during the call. */
typedef bool rows_each(void *arg, const struct row *row);
kd_err rows_list(struct rows *r, unsigned kind, const char *name, struct kd_slice from,
                 rows_each *each, void *arg, unsigned *n_bad) KD_MUST_USE;

/* Calls for each row of the file that holds, from the front and, behind a damaged
 * place, from the end: perhaps some twice. KD_MALFORMED: something was damaged. */
kd_err rows_scan(struct rows *r, rows_each *each, void *arg,
                 unsigned *n_bad) KD_MUST_USE;

#endif
