/* Two organizations that keep their keys in one software token, for tests of the
 * message walkers (keyd/mail): example.com, from which alice writes, and example.org,
 * where bob gets it; keys and signets are the specification's vectors. */
#ifndef KEYD_TESTS_MAILW_H
#define KEYD_TESTS_MAILW_H

#include "dmw.h"

#include <keyd/mail/mail.h>

enum { MAILW_MAX = 64 << 20 };

struct mailw_org {
    struct kd_slice octets;
    struct dime_signet signet;
    uint8_t core[64], full[64];
};

struct mailw {
    struct kd_token *token;
    struct kd_key_id origin_enc, destination_enc;
    struct kd_key_id former_enc; /* of nobody's signet */
    struct kd_key_id sok;        /* example.com */
    struct kd_key_id other_pok;  /* example.org, which signs messages with it */
    uint8_t ours[3][33];
    struct mailw_org org, other_org;  /* ORG2, DEST */
    struct mail_author alice0, alice; /* USER0, USER1 */
    /* Who we are: */
    struct mail_keys origin, destination;
    /* As it is right for MSG and what dmw.h writes by itself. */
    struct mail_outbound outbound;
    struct mail_inbound inbound;
    struct mail_bounced bounced;
    struct mail_to_bounce to_bounce;
};

/* Made at the first call; secret memory included, room octets of it beside. */
struct mailw *mailw(size_t room);

/* MSG, as its author made it: the organization's places are blank. In memory to free().
 */
uint8_t *mailw_blank_msg(size_t *n);

/* MSG. */
struct kd_slice mailw_msg(void);

/* The octets of 64 that a signature chunk of the type holds, opened by its origin. */
void mailw_signature(struct kd_slice message, uint8_t type, uint8_t sig[64]);

/* Puts those in. */
void mailw_put_signature(uint8_t *message, size_t n, uint8_t type,
                         const uint8_t sig[64]);

/* A sealed memfd that holds the octets, the caller's to close. */
int mailw_file(struct kd_slice octets);

/* True if all n octets are zero. */
bool mailw_is_zero(const void *p, size_t n);

#endif
