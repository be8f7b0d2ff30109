/* Shared by the SQLite back end's files: the connection, its statements, and the one
 * way from SQLite's results to ours. */
#ifndef KEYD_LEDGER_SQLITE_IMPL_H
#define KEYD_LEDGER_SQLITE_IMPL_H

#include <keyd/ledger/backend.h>
#include <sqlite3.h>

enum sq_statement {
#define STATEMENT(code, sql) code,
#include "sqlite_statements.def"
#undef STATEMENT
    ST_COUNT_OF
};

struct kd_backend {
    sqlite3 *db;
    sqlite3_stmt *st[ST_COUNT_OF];
    bool held[ST_COUNT_OF]; /* a row of it was handed out; reset at the next call */
    unsigned wal_pages;     /* in the write-ahead log, as of the last commit */
    bool checked_whole;
    struct kd_buf core; /* the split signet that user_cores hands out */
    bool is_damaged;    /* SQLite said so, whatever was asked of it */
};

/* The meaning of a result code; logs what is a fault. SQLITE_ROW is KD_OK, SQLITE_DONE
 * is KD_NOT_FOUND. */
kd_err sq_err(struct kd_backend *b, int rc);

/* Resets what was handed out. First in every function of the table. */
void sq_release(struct kd_backend *b);

/* Parameters are borrowed until the statement is reset; numbers are below 2^63. */
sqlite3_stmt *sq_use(struct kd_backend *b, enum sq_statement which);
void sq_bind_u64(sqlite3_stmt *st, int at, uint64_t v);
void sq_bind_blob(sqlite3_stmt *st, int at, const void *p, size_t n);
void sq_bind_text(sqlite3_stmt *st, int at, struct kd_slice s);

/* Next row: KD_OK, KD_NOT_FOUND at the end (then reset), or a fault (then reset). */
kd_err sq_row(struct kd_backend *b, enum sq_statement which);

/* The same for one row whose columns stay with the caller until the next call. */
kd_err sq_row_hold(struct kd_backend *b, enum sq_statement which);

/* Runs to the end and resets. KD_CONFLICT for a constraint. */
kd_err sq_run(struct kd_backend *b, enum sq_statement which);

void sq_reset(struct kd_backend *b, enum sq_statement which);

uint64_t sq_u64(sqlite3_stmt *st, int col);
struct kd_slice sq_blob(sqlite3_stmt *st, int col);
/* KD_FAILED if the column does not hold exactly n octets. */
kd_err sq_copy(sqlite3_stmt *st, int col, void *out, size_t n) KD_MUST_USE;

/* sqlite_read.c */
kd_err sq_head(struct kd_backend *b, struct kd_backend_head *out) KD_MUST_USE;
kd_err sq_rows_since(struct kd_backend *b, uint64_t from, uint64_t max, uint64_t *n);
kd_err sq_stats(struct kd_backend *b, struct kd_store_stats *out) KD_MUST_USE;
kd_err sq_user_current(struct kd_backend *b, struct kd_slice address,
                       struct kd_signet_row *out) KD_MUST_USE;
kd_err sq_user_by_fp(struct kd_backend *b, struct kd_slice address, const uint8_t *fp,
                     struct kd_signet_row *out) KD_MUST_USE;
kd_err sq_user_since(struct kd_backend *b, struct kd_slice address, uint64_t since_ms,
                     unsigned max, kd_signet_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_user_verify(struct kd_backend *b, struct kd_slice address,
                      uint8_t newest[KD_FP_SIZE]) KD_MUST_USE;
kd_err sq_user_history(struct kd_backend *b, struct kd_slice address,
                       const uint8_t *start, const uint8_t *stop,
                       struct kd_history *out) KD_MUST_USE;
kd_err sq_user_cores(struct kd_backend *b, struct kd_slice address,
                     const struct kd_history *history, uint32_t from,
                     kd_history_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_user_next(struct kd_backend *b, uint64_t after, bool heads_only,
                    struct kd_signet_row *out) KD_MUST_USE;
kd_err sq_org_current(struct kd_backend *b, struct kd_slice domain,
                      struct kd_org_row *out) KD_MUST_USE;
kd_err sq_org_by_fp(struct kd_backend *b, struct kd_slice domain,
                    const uint8_t *full_fp, struct kd_org_row *out) KD_MUST_USE;
kd_err sq_org_history(struct kd_backend *b, struct kd_slice domain,
                      kd_org_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_org_heads(struct kd_backend *b, kd_org_visitor visitor, void *arg);
kd_err sq_org_formers(struct kd_backend *b, uint64_t since_ms, unsigned max,
                      kd_org_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_signing_key_known(struct kd_backend *b, const uint8_t *key,
                            bool *known) KD_MUST_USE;
kd_err sq_issue_query(struct kd_backend *b, const struct kd_issue_query *query,
                      struct kd_issue_state *out) KD_MUST_USE;
kd_err sq_idem_find(struct kd_backend *b, const uint8_t *key, uint8_t *request,
                    uint64_t *audit_seq) KD_MUST_USE;
kd_err sq_records(struct kd_backend *b, uint64_t from, uint64_t to,
                  kd_backend_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_checkpoints(struct kd_backend *b, uint64_t from,
                      kd_checkpoint_visitor visitor, void *arg) KD_MUST_USE;
kd_err sq_checkpoint_last(struct kd_backend *b,
                          struct kd_slice *signed_octets) KD_MUST_USE;
kd_err sq_checkpoint_at(struct kd_backend *b, uint64_t seq,
                        struct kd_slice *signed_octets) KD_MUST_USE;
kd_err sq_counters(struct kd_backend *b, kd_counter_visitor visitor,
                   void *arg) KD_MUST_USE;

/* sqlite_account.c: holds and resets */
kd_err sq_account(struct kd_backend *b, struct kd_slice address,
                  struct kd_account *out) KD_MUST_USE;
kd_err sq_stopped(struct kd_backend *b, kd_stopped_visitor visitor,
                  void *arg) KD_MUST_USE;
kd_err sq_resets(struct kd_backend *b, struct kd_slice after, kd_reset_visitor visitor,
                 void *arg) KD_MUST_USE;
kd_err sq_n_resets(struct kd_backend *b, uint32_t *n) KD_MUST_USE;
kd_err sq_uptime(struct kd_backend *b, uint64_t *ms) KD_MUST_USE;
kd_err sq_count_uptime(struct kd_backend *b, uint64_t ms) KD_MUST_USE;
/* As sq_account, of which the columns stay with the caller until the next release. */
kd_err sq_find_account(struct kd_backend *b, struct kd_slice address,
                       struct kd_account *out) KD_MUST_USE;
/* The row that a record of its own makes, if it is such a record. */
kd_err sq_put_account(struct kd_backend *b, const struct kd_store_item *item,
                      const struct kd_audit_record *record) KD_MUST_USE;

/* sqlite_write.c */
kd_err sq_begin(struct kd_backend *b) KD_MUST_USE;
kd_err sq_add(struct kd_backend *b, const struct kd_store_item *item,
              const struct kd_audit_record *record, const uint8_t *hash,
              kd_err *outcome) KD_MUST_USE;
kd_err sq_count(struct kd_backend *b, struct kd_slice name, uint64_t n) KD_MUST_USE;
kd_err sq_purge_idem(struct kd_backend *b, uint64_t before_ms, unsigned max,
                     unsigned *n) KD_MUST_USE;
kd_err sq_sweep(struct kd_backend *b, unsigned max, unsigned *n) KD_MUST_USE;
kd_err sq_commit(struct kd_backend *b, const struct kd_audit_tail *tail) KD_MUST_USE;
void sq_abort(struct kd_backend *b);
kd_err sq_tend(struct kd_backend *b) KD_MUST_USE;

/* sqlite.c */
bool sq_is_damaged(const struct kd_backend *b);

/* sqlite_copy.c */
kd_err sq_copy_begin(struct kd_backend *b, const char *path,
                     struct kd_backend_copy **out) KD_MUST_USE;
kd_err sq_copy_step(struct kd_backend_copy *c, unsigned pages,
                    struct kd_store_copied *out) KD_MUST_USE;
kd_err sq_copy_end(struct kd_backend_copy *c);

/* sqlite_open.c */
void sq_setup(void);
kd_err sq_open(const struct kd_store_conf *conf, struct kd_backend **out,
               char why[KD_STORE_WHY_MAX]) KD_MUST_USE;
void sq_close(struct kd_backend *b);

#endif
