/* For tests of what a daemon makes of its state: copied, put back, with a checkpoint on
 * other storage. Failures are the test's failures. */
#ifndef KEYD_TESTS_STATE_H
#define KEYD_TESTS_STATE_H

#include "ask.h"

/* A daemon with a folder outside that its ledger can write. */
struct storage {
    struct daemon d;
    char outside[96];     /* the folder */
    char checkpoint[128]; /* the file */
    char top[512];        /* of the configuration */
};

/* Prepares it, with these lines of configuration more; nothing runs yet. state: as in
 * daemon_options. */
void storage_prepare(struct storage *s, const char *more, const char *state);

/* As above, started and with keys for example.com. */
void storage_start(struct storage *s, const char *more);

void storage_clear(struct storage *s);

/* The state, starting if nobody answers; degraded only for a reason of storage. */
enum keyd_service_state storage_state(const struct storage *s);

/* Runs until it has come to that state. */
void storage_launch(struct storage *s, enum keyd_service_state want);
void storage_wait(struct storage *s, enum keyd_service_state want, int timeout_ms);
void storage_stop(struct storage *s);

/* Waits a moment for Status to give this word for it; "": none of storage. */
void storage_reason(const struct storage *s, const char *reason);

/* Issues for person n of the test; asserts how it ends. */
void storage_issue(const struct storage *s, uint64_t person, enum keyd_status status,
                   const char *detail);

/* Issues for persons from .. from + n - 1. */
void storage_issue_many(const struct storage *s, uint64_t from, uint64_t n);

/* Looks person n up; asserts how that ends. */
void storage_look(const struct storage *s, uint64_t person, enum keyd_status status);

/* Copies of the state directory (and of the folder outside) under a name, and back. */
void storage_keep(const struct storage *s, const char *name, bool with_outside);
void storage_put_back(struct storage *s, const char *name, bool with_outside);

/* The head of the log. */
struct storage_head {
    uint64_t seq, epoch, first;
    uint8_t hash[32];
};
void storage_head(const struct storage *s, struct storage_head *out);

/* Waits until the head is known outside: milliseconds after the commit, or as long as a
 * checkpoint is under way there. */
void storage_outside(const struct storage *s);

/* RegistryRestore of the head; the answer, to be freed. */
struct keyd_answer *storage_accept(const struct storage *s,
                                   const struct storage_head *head);

/* Runs keydctl with these arguments on the admin socket, asserts its exit status, and
 * gives what it printed. */
void storage_keydctl(const struct storage *s, int exit_status, char *out, size_t size,
                     const char *fmt, ...) KD_PRINTF(5, 6);

/* Runs keyd-check on the state of the stopped daemon. */
void storage_check(const struct storage *s);

#endif
