/* The chain of custody of an address (D-070 to D-073): whether the signet that an
 * organization gives now goes back, without a gap, to the one that was known before,
 * or, where none was, to a root.
 *
 * The links come one after another, oldest first, as HIST gives them (D-165): one core
 * for each link, from the known one, or from the root, up to the current one, both
 * included. Who signed the links of the past for the organization does not matter: keys
 * of that time are gone; that each key handed over to the next does. */
#ifndef DIME_RESOLVER_CHAIN_H
#define DIME_RESOLVER_CHAIN_H

#include <dime/verify.h>

enum { CHAIN_LINKS_MAX = 1000 }; /* RS-30 */

enum chain_fault {
    CHAIN_WHOLE,
    CHAIN_OCTETS,  /* a link does not parse, or is no user's core */
    CHAIN_SELF,    /* a link's own signature (field 5) does not verify */
    CHAIN_START,   /* the first link is not the one that is known */
    CHAIN_ROOT,    /* nothing is known, and the first link has a predecessor */
    CHAIN_GAP,     /* a link has no custody signature, or not by the link before */
    CHAIN_AGAIN,   /* a link stands twice */
    CHAIN_END,     /* the last link is not the current signet's */
    CHAIN_EMPTY,   /* there are no links */
    CHAIN_TOO_LONG /* more than CHAIN_LINKS_MAX */
};

struct chain {
    const struct dime_signet *known; /* borrowed; NULL: first contact */
    struct dime_signet prev;         /* the last link that was added */
    size_t n;
    enum chain_fault fault; /* the first one; sticky */
};

void chain_begin(struct chain *c, const struct dime_signet *known);

/* The octets stay where they are until the end. */
void chain_add(struct chain *c, struct kd_slice core);

/* KD_OK, or KD_INVALID (KD_TOO_LARGE for too long) with c->fault. c->n is the number of
 * links, or the number of the one at fault, from 1. */
kd_err chain_end(struct chain *c, const struct dime_signet *current) KD_MUST_USE;

/* A short lower-case text, never NULL. */
const char *chain_fault_text(enum chain_fault fault);

#endif
