/* The parts of test_matrix: what is expected (matrix_cells.c), who asks
 * (matrix_callers.c), and how (matrix_ask.c, matrix_raw.c). */
#ifndef KEYD_TESTS_MATRIX_H
#define KEYD_TESTS_MATRIX_H

#include "daemon.h"
#include "tls_peer.h"

#include <keyd/ops/ops.h>

/* --- what is expected --- */

enum state {
    UNPROVISIONED,
    SEALED,
    OPERATIONAL,
    DEGRADED,
    OVERDUE,
    DRAINING,
    FAILED,
    LOCKED,
    STATES
};

const char *state_name(enum state state);

/* Beside enum keyd_status: the peer ended the handshake, as libkeyd tells by
 * KEYD_UNAVAILABLE for the request and KEYD_DENIED for the endpoint; and nothing was
 * answered at all. */
enum { REFUSED = 200, NO_ANSWER = 201, NOT_ASKED = 255 };

const char *status_name(unsigned status);

enum about { NOTHING, DOMAIN };
enum how { STAYS, MOVES, PARTS };

struct cells {
    const char *name; /* NULL: no such operation */
    const char *listeners;
    enum about about;
    enum how how;
    enum keyd_status in[STATES];
};
extern const struct cells cells[KD_OP_MAX + 1];

/* With operators enrolled, for one of them. */
struct marked {
    bool is_marked;
    enum keyd_status in[STATES];
};
extern const struct marked marked[KD_OP_MAX + 1];

/* --- who asks --- */

enum caller_kind {
    LOCAL,
    REMOTE,    /* gets in */
    TURNED_OFF /* at the handshake */
};

struct caller {
    const char *name, *listener;
    enum caller_kind kind;
    uid_t uid;             /* LOCAL */
    unsigned identity;     /* the others: of enum matrix_identity */
    bool is_stranger;      /* a principal of no listener, or not of this one */
    bool com;              /* example.com is among its domains */
    bool is_operator;      /* one of those enrolled, who asks for the marked */
    unsigned share;        /* operations of odd (1) or even (0) numbers */
    bool only_quorum;      /* asks only where there are operators */
    const char *permitted; /* operations; NULL: all of its listener's */
};
extern const struct caller callers[];
extern const size_t n_callers;

/* May do all that operators do: what moves the state it is not asked to try. */
bool caller_is_master(const struct caller *c);

unsigned expected(const struct caller *c, unsigned op, enum state state,
                  bool with_quorum);

enum matrix_identity {
    ID_ALL, /* the principals' */
    ID_SOME,
    ID_NOTHING,
    ID_FOREIGN,
    ID_UNNAMED, /* of the own CA, the name is no principal's */
    ID_OTHER_CA,
    ID_SELF_SIGNED,
    ID_EXPIRED,
    ID_DENIED, /* its key was withdrawn */
    IDS
};

/* The remote listener, its callers, and what the configuration says of all of them. */
struct matrix_place {
    struct tls_place tls;
    struct identity own[IDS]; /* those that tls does not have */
    const struct identity *ids[IDS];
    char cert[IDS][128], key[IDS][128];
    char sections[4096]; /* for daemon_options */
};

/* more: further keys of the configuration, or NULL. */
void matrix_place_make(struct matrix_place *p, const char *more);
void matrix_place_clear(struct matrix_place *p);

/* --- asking --- */

/* What requests are about. */
struct matrix_about {
    const struct daemon *d;
    const struct matrix_place *place;
    enum state state;
    bool moving;      /* what moves the state, and only that */
    bool with_quorum; /* marked operations are asked for as operators would */
    struct daemon_org org;
    uint64_t serial; /* makes keys and names of its own */
};

/* A caller's process, connected or turned off, that asks when it is told to. */
struct asker {
    const struct caller *caller;
    pid_t pid;
    int go, answers;
};

void asker_start(struct asker *a, const struct caller *c,
                 const struct matrix_about *about);

/* Lets it ask; the status of every operation, NOT_ASKED for the others. */
void asker_ask(struct asker *a, uint8_t got[KD_OP_MAX + 1]);

/* True if it asks for that, moving or not. */
bool is_asked(const struct caller *c, unsigned op, const struct matrix_about *about);

#endif
