/* How a gate's clients are reached: unix.c or tls.c, of which a program links one. */
#ifndef KEYD_GATE_TRANSPORT_H
#define KEYD_GATE_TRANSPORT_H

#include "gate.h"

#include <sys/socket.h>

/* Functions that may be NULL have nothing to do there. */
struct transport {
    const char *program; /* its name in the log */
    enum kd_role role;   /* whose sandbox it enters */
    bool has_descriptors;

    /* Before the sandbox. May be NULL. Ends the process if it cannot. */
    void (*start)(struct gate *g);

    /* A connection was accepted; takes fd. Sooner or later serve_open, or it is closed.
     */
    void (*accepted)(struct gate *g, int fd, const struct sockaddr *from);

    /* Reads what has come into the frame reader: as kd_frame_recv. *again is set if
     * more is there that no poll will tell of. */
    kd_err (*recv)(struct gate *g, struct conn *c, bool *again);

    /* Sends what waits: as kd_frame_flush. */
    kd_err (*flush)(struct conn *c);

    /* Frees what it keeps of the connection, whose fd is open still. May be NULL. */
    void (*clear)(struct conn *c);

    /* May the caller still ask? Before each request: KD_DENIED if it is not any more
     * who it was, KD_UNAVAILABLE if it has to connect anew. May be NULL: it may. */
    kd_err (*may_ask)(struct gate *g, struct conn *c);

    /* A message of the supervisor that only this transport knows; takes fd.
     * KD_UNSUPPORTED if it is none. May be NULL. */
    kd_err (*control)(struct gate *g, uint16_t type, struct kd_slice body, int fd);

    /* Another configuration is in force (g->conf): what control was given for it since
     * is used from now on. May be NULL. */
    void (*taken)(struct gate *g);

    /* Each turn, after the connections were served; true if more is to be done at once.
     * May be NULL. */
    bool (*turn)(struct gate *g);

    /* Every half second. May be NULL. */
    void (*tick)(struct gate *g, int64_t now);
};

extern const struct transport gate_transport;

#endif
