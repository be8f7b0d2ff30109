/* Makes what a vault would send to a ledger: real signets of one organization, audit
 * records that chain, checkpoints. Keys follow from a seed, so runs repeat. */
#ifndef KEYD_TESTS_REGISTRY_H
#define KEYD_TESTS_REGISTRY_H

#include <dime/build.h>
#include <dime/fingerprint.h>
#include <keyd/ledger/store.h>

struct reg_pair {
    uint8_t seed[32];
    uint8_t key[32];
};

struct reg {
    const char *domain;
    uint32_t seed;
    uint64_t n_made;           /* counts keys */
    struct kd_audit_tail tail; /* as the vault believes it */
    uint64_t clock_ms;         /* moves 7 ms a record */
    uint64_t uptime_ms;        /* counted; moves when a test moves it */
    struct reg_pair pok, sok, audit;
    uint8_t enc_key[33];
    uint32_t org_version;
    struct kd_buf org_signet;
    uint8_t org_fp[64];
};

struct reg_user {
    char address[128];
    uint32_t generation, seq, version;
    struct reg_pair pair; /* of the head */
    uint8_t ssr_fp[64];
    struct kd_buf ssr;    /* of the head */
    struct kd_buf signet; /* of the head */
};

/* One item and all that it points to. */
struct reg_item {
    struct kd_store_item item;
    struct kd_link_put link;
    struct kd_signing_put signing;
    struct kd_org_put org;
    struct kd_reset_put reset;
    struct kd_org_key_put keys[3];
    struct kd_idem_put idem;
    struct kd_buf record, octets;
    struct kd_audit_record decoded; /* before encoding; borrows from reg and user */
};

void reg_init(struct reg *r, const char *domain, uint32_t seed);
void reg_free(struct reg *r);
void reg_user_init(struct reg_user *u, const char *address);
void reg_user_free(struct reg_user *u);
void reg_item_init(struct reg_item *i);
void reg_item_free(struct reg_item *i);

/* Each fills *i anew; the record continues r->tail, which moves on to it. Any failure
 * ends the program. */

/* A record without rows; op one that signs nothing for an address. */
void reg_plain(struct reg *r, struct reg_item *i, enum kd_audit_op op);
/* The next org signet; new_keys: with another SOK and encryption key. */
void reg_org(struct reg *r, struct reg_item *i, bool new_keys);
/* A record about an account or a principal, which makes its row by itself: address or
 * NULL, detail or NULL. One that asks for a reset takes the reset's delay in seconds as
 * detail. */
void reg_account(struct reg *r, struct reg_item *i, enum kd_audit_op op,
                 const char *address, const char *detail);
/* The user's next step; reset: the root of the next generation, which must have been
 * asked for, approved, and waited for (clock_ms and uptime_ms). */
void reg_issue(struct reg *r, struct reg_item *i, struct reg_user *u, bool reset);
/* The user's head signed again, under the present org signet. */
void reg_reissue(struct reg *r, struct reg_item *i, struct reg_user *u);
/* A checkpoint of the tail, and the record of signing it. */
void reg_checkpoint(struct reg *r, struct reg_item *i);
/* A change of the key store to these octets. */
void reg_keystore(struct reg *r, struct reg_item *i, uint64_t generation,
                  struct kd_slice octets);
/* Adds an idempotency key made of n to the item. */
void reg_idem(struct reg_item *i, uint64_t n);
/* Encodes i->decoded again, after a test changed it, and moves r->tail to it. */
void reg_seal(struct reg *r, struct reg_item *i);

/* Octets that follow from the registry's seed, a label and a number. */
void reg_octets(const struct reg *r, const char *label, uint64_t n, uint8_t out[32]);

#define reg_must(x)                                                                    \
    do {                                                                               \
        if (!(x))                                                                      \
            reg_die(#x, __FILE__, __LINE__);                                           \
    } while (0)
_Noreturn void reg_die(const char *what, const char *file, int line);

#endif
