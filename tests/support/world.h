/* A vault, and the test as its ledger and gates. Failures are the test's failures. */
#ifndef KEYD_TESTS_WORLD_H
#define KEYD_TESTS_WORLD_H

#include "hostile.h"
#include "peer.h"

#include <keyd/ledger/audit.h>
#include <keyd/token/token.h>

enum { OUTCOMES = 8192 }; /* more than a vault has without acknowledgement */

struct world {
    struct daemon d;
    struct kd_conf *conf;
    struct peer vault;
    struct peer_link ledger, admin, submission;
    /* What the ledger has. */
    struct kd_ledger_state state;
    struct kd_buf store;
    uint64_t keystore;
    uint8_t outcomes[OUTCOMES]; /* of the last records, by number */
    uint64_t next_job;
};

/* The account part of an answer about an address that nobody has spoken of. */
struct kd_slice open_account(void);

/* What a ledger says first: the state, the key store. */
void ledger_greets(struct world *w);

/* Stores the next record with this outcome and acknowledges it. */
enum kd_audit_op store_next(struct world *w, kd_err outcome);

/* With its gates and its ledger, until its start is recorded. */
void vault_starts(struct world *w);

/* A job; returns its id. Takes fd. */
uint64_t put_job(struct world *w, struct peer_link *gate, enum kd_op op,
                 const char *key, struct kd_slice body, int fd);

/* The answer to a job. */
kd_err done(struct peer_link *gate, uint64_t id, unsigned *reason);

/* A sealed memfd of them. */
int sealed_octets(const void *p, size_t n);

/* A job with the daemon's credential; GenerateKey. key: idempotency, or NULL. */
uint64_t put_slot_job(struct world *w, enum kd_op op, const char *key);
uint64_t put_generate(struct world *w, const char *key);

/* enum kd_service_state, by Status. */
unsigned vault_state(struct world *w);

/* TokenInit, with the records of it. */
void provision(struct world *w);

/* Keys and an organizational signet for example.com. */
void provision_domain(struct world *w);

/* Asks for a first signet; returns the job's id. */
uint64_t put_issue(struct world *w, unsigned person);

/* Answers the next question: nobody has this address or these keys. */
void tell_nothing_is_known(struct world *w);

/* Answers the question that this is: no request had this key before. */
void tell_key_is_new(struct world *w, const struct message *asked);

/* Another ledger comes, which has not said anything. */
void relink_ledger(struct world *w);

/* A vault that has started and has no keys. top: lines of configuration, or NULL. */
void new_world(struct world *w);
void new_world_with(struct world *w, const char *top);

/* The vault must live still, and ends in order. */
void end_world(struct world *w);

#endif
