/* A role's program (keyd-vault, keyd-ledger, keyd-gate) with a test in place of its
 * supervisor and of everybody it talks to: the test says what it likes, and looks at
 * what comes of it. The program is that of the build, sandbox included. */
#ifndef KEYD_TESTS_PEER_H
#define KEYD_TESTS_PEER_H

#include "daemon.h"

#include <keyd/base/chan.h>
#include <keyd/base/sandbox.h>
#include <keyd/conf/conf.h>
#include <keyd/job/job.h>

/* A message that came. */
struct message {
    struct message *next;
    uint16_t type;
    int fd; /* -1 if none */
    struct kd_slice body;
    uint8_t octets[];
};

/* One end of a channel to the role. */
struct peer_link {
    struct kd_chan chan;
    struct message *first, *last; /* received and not taken */
    bool is_closed;               /* by the role */
};

struct peer {
    pid_t pid;
    struct peer_link ctl;
    uint32_t serial;
};

/* The configuration that the daemon's file describes; ends the test without one. */
struct kd_conf *peer_conf(const struct daemon *d);

/* Starts the role's program with its part of the configuration, in the daemon's state
 * directory if it is the ledger, its log to the daemon's, and waits until it says that
 * it is ready. All these end the test if they cannot. */
void peer_start(struct peer *p, enum kd_role role, enum kd_class klass,
                const struct daemon *d, const struct kd_conf *conf);

/* Hands the role a channel as what enum kd_link says; the test has the other end. */
void peer_join(struct peer *p, struct peer_link *l, enum kd_link as, unsigned gate);

/* Hands over any descriptor. Takes fd. */
void peer_give(struct peer *p, enum kd_link as, unsigned gate, int fd);

/* True while the process lives. */
bool peer_lives(struct peer *p);

/* Closes the control channel; the exit status of the role, as daemon_reap. */
int peer_stop(struct peer *p);

/* Most memory that was ever resident, KiB; descriptors open now (0: not to be seen). */
size_t peer_most_kib(const struct peer *p);
size_t peer_descriptors(const struct peer *p);

void link_clear(struct peer_link *l);

/* Queues a message and sends what the socket takes. Takes fd. */
void link_put(struct peer_link *l, uint16_t type, struct kd_slice body, int fd);

/* Queues the message of that name in job.h. */
#define LINK_PUT(link, name, message, fd)                                              \
    do {                                                                               \
        struct kd_buf made_;                                                           \
        kd_buf_init(&made_, KD_CHAN_BODY_MAX);                                         \
        kd_##name##_put(&made_, message);                                              \
        link_put(link, KD_MSG_##name, kd_buf_slice(&made_), fd);                       \
        kd_buf_free(&made_);                                                           \
    } while (0)

/* Sends all that is queued, receiving meanwhile; false if the role does not take it
 * within ms milliseconds or closed the channel. */
bool link_drain(struct peer_link *l, int ms);

/* Octets as one packet, as they are. Takes fd. False if the socket is full. */
bool link_raw(struct peer_link *l, struct kd_slice packet, int fd);

/* The first message of the type that came or comes within ms milliseconds; others stay.
 * NULL if there is none. Free it with message_free. */
struct message *link_wait(struct peer_link *l, uint16_t type, int ms);

/* The first message of any type, left where it is; NULL. */
const struct message *link_first(struct peer_link *l, int ms);

/* The first of the type, or the end of the test. */
struct message *link_expect(struct peer_link *l, uint16_t type);

/* True if the role closes the channel within ms milliseconds. */
bool link_closes(struct peer_link *l, int ms);

void message_free(struct message *m);

#endif
