/* One keyd-p11 without a daemon: the test is its supervisor and its vault. Failures are
 * the test's failures. */
#ifndef KEYD_TESTS_P11_HOST_H
#define KEYD_TESTS_P11_HOST_H

#include "softhsm.h"

#include <keyd/base/chan.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/job.h>

#include <sys/types.h>

struct p11_host {
    pid_t pid; /* 0: none */
    int ctl;   /* the supervisor's end of its control channel */
    struct kd_chan chan;
};

/* Fills *c for that SoftHSM token; number: P11_MAKER for the maker. */
void p11_host_conf(const struct softhsm *s, unsigned number, struct kd_conf_for_p11 *c);

/* Starts the program; environment: NAME=VALUE or NULL. Root: as uid. It is ready when
 * this returns, linked by a channel. */
void p11_host_start(struct p11_host *h, const struct kd_conf_for_p11 *c,
                    const char *environment, unsigned uid);

/* The same, without a channel: *vault_end is the other end of the one it was given. */
void p11_host_start_with(struct p11_host *h, const struct kd_conf_for_p11 *c,
                         const char *environment, unsigned uid, int *vault_end);

/* Hands it a PIN file with this text; false: it has ended. */
bool p11_host_pin(struct p11_host *h, const char *pin);

/* What comes next on its channel, within ten seconds: type of the message, its body in
 * body (KD_CHAN_BODY_MAX) and *n; 0 if the channel ended. */
uint16_t p11_host_recv(struct p11_host *h, uint8_t *body, size_t *n);

/* Puts, flushes, and receives. */
uint16_t p11_host_ask(struct p11_host *h, uint16_t type, const struct kd_buf *b,
                      uint8_t *body, size_t *n);

/* Closes the channel and waits; its status as waitpid tells. */
int p11_host_end(struct p11_host *h);

/* SIGKILL, and waits. */
void p11_host_kill(struct p11_host *h);

#endif
