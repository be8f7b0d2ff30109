/* What the vault asks of a host, one thing at a time, and its answers (messages.def).
 */
#ifndef KEYD_P11_SERVE_H
#define KEYD_P11_SERVE_H

#include "paths.h"
#include "pin.h"
#include "session.h"
#include "slots.h"

#include <keyd/base/chan.h>

struct host {
    const struct kd_conf_for_p11 *conf;
    struct kd_chan chan; /* to the vault */
    struct module module;
    struct p11_finding why; /* what keeps it from serving, if anything does */
    struct slot_found slot;
    struct session session;
    struct pin pin;
    bool has_pin;    /* read, or found to be none */
    bool tag_wanted; /* asked for before the PIN came */
    bool is_told;    /* the PIN's tag: what may be logged in with */
    bool is_logged;
    uint8_t *latch; /* KD_LATCH_KEY_SIZE, secret memory */
    uint8_t *z;     /* KD_ECDH_SIZE, secret memory */
    int statm;      /* /proc/self/statm */
    uint32_t kib, n_done;
};

/* Looks for the token and says what is there. The first message on a channel. */
void serve_here(struct host *h);

/* Takes fd: the PIN file. */
void serve_pin(struct host *h, int fd);

/* Handler of the vault's channel (chan.h). Whatever is not in order ends the process:
 * the vault has another started. */
kd_err serve_request(void *host, uint16_t type, struct kd_slice body, int fd);

#endif
