/* The hosts of PKCS#11 tokens (keyd/p11/p11.h) as children: processes that each load a
 * vendor's module, and of which anything is to be expected.
 *
 * They run only while the vault does, which is the one that talks to them and decides
 * which of them to end. Nothing else waits for them: neither the daemon's start nor a
 * reload nor a drain, and no end of one ever ends the daemon. The one that makes keys
 * starts when the vault asks for it, and is not ended in the middle of writing. */
#ifndef KEYD_SUPERVISOR_HOSTS_H
#define KEYD_SUPERVISOR_HOSTS_H

#include "child.h"

/* Ends in a row of a host that are worth a line each. */
enum { HOSTS_TOLD = 4 };

/* What is wrong with the tokens' files, logged; true if nothing is. A daemon starts
 * all the same, and the tokens concerned say why they cannot be used. */
bool hosts_check(const struct kd_conf *conf);

/* Adds those of the configuration to the table. */
kd_err hosts_plan(struct supervisor *s, const char *directory) KD_MUST_USE;

/* Whether it is to be started as soon as it may. */
bool host_is_wanted(const struct supervisor *s, const struct child *c);

/* Its channel to the vault, after it was started. */
void host_link(struct supervisor *s, struct child *c);

/* It has been waited for: when it is started again. */
void host_ended(struct supervisor *s, struct child *c, int status);

/* The vault has ended. */
void hosts_end(struct supervisor *s);

/* The vault wants something done (ctl_p11). KD_MALFORMED. */
kd_err hosts_on_want(struct supervisor *s, struct kd_slice body) KD_MUST_USE;

/* Time; returns how long the loop may sleep, at most timeout. */
int hosts_due(struct supervisor *s, int timeout);

/* A PIN file, opened anew: a regular file of root or ourselves that nobody else can
 * read, of 1 to 256 octets. KD_NOT_FOUND, KD_DENIED (its owner, its mode, a link),
 * KD_INVALID (not regular, its size), KD_IO. */
kd_err hosts_open_pin(const char *path, int *fd) KD_MUST_USE;

#endif
