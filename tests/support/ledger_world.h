/* A ledger, and the test as its vault and gates. Failures are the test's failures. */
#ifndef KEYD_TESTS_LEDGER_WORLD_H
#define KEYD_TESTS_LEDGER_WORLD_H

#include "hostile.h"
#include "peer.h"

struct ledger_world {
    struct daemon d;
    struct kd_conf *conf;
    struct peer ledger;
    struct peer_link vault, mta, admin;
};

/* A ledger that has started, of an empty registry. */
void new_ledger_world(struct ledger_world *w);

/* It must live still, and ends in order. */
void end_ledger_world(struct ledger_world *w);

/* Records of a vault's start until the log fills an audit page. */
void fill_log(struct ledger_world *w);

#endif
