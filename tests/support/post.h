/* Organizations that send each other messages through daemons of their own, for system
 * tests: example.com, from which alice writes, and example.org, where bob gets it, with
 * the keys and signets of the specification's vectors. Failures are the test's. */
#ifndef KEYD_TESTS_POST_H
#define KEYD_TESTS_POST_H

#include "ask.h"
#include "dmw.h"
#include "people.h"

#include <keyd/ledger/audit.h>

/* One organization and its daemon. */
struct post {
    struct daemon d;
    const char *domain;
    keyd_client *admin, *submit, *mta, *milter;
    uint8_t pok[16], sok[16], enc[16]; /* key ids */
    const uint8_t *signer;             /* of messages: one of these */
    uint8_t signet[1024];              /* its organizational signet */
    size_t signet_size;
    uint8_t full[64], core[64]; /* of that */
};

struct post_options {
    const char *in_domain, *in_caller, *top; /* lines of the configuration, or NULL */
    const char *in_token;                    /* likewise, if it has a token */
    bool org_pok_signs;                      /* example.org's POK has the message bit */
};

/* Starts example.com: POK, SOK and encryption key of the vectors, its signet is ORG2,
 * alice@example.com has USER1. options may be NULL. */
void post_start_com(struct post *p, const struct post_options *options);

/* Starts example.org: what is its POK in the vectors is a SOK here, since no POK signs
 * users; bob@example.org has the signet that MSG is for. */
void post_start_org(struct post *p, const struct post_options *options);

/* Ends the daemon, which does so in order; keyd-check finds nothing in the registry. */
void post_end(struct post *p);

/* kill -9, and started again. */
void post_kill(struct post *p);
void post_start_again(struct post *p);

/* A key file of libdime, taken into tokens (none: the key store); the keys' ids go into
 * *p. */
struct post_keys {
    const uint8_t *seed, *scalar; /* 32 each */
    enum keyd_key_role role;
    uint32_t permissions;
    bool has_encryption;
    const struct keyd_octets *tokens;
    size_t n_tokens;
    bool is_sealed;
};
void post_import(struct post *p, const struct post_keys *keys);

/* What post_start_com has, on a daemon of the test's own, by its key files: POK and
 * encryption key in the first n_pok of the tokens, the SOK in n_sok of them. */
void post_import_com(struct post *p, const struct keyd_octets *tokens, size_t n_pok,
                     size_t n_sok, bool seals_sok);

/* alice@example.com has USER1 from now on. */
void post_issue_alice(struct post *p);

/* The connections, after the daemon was started again. */
void post_connect(struct post *p);
void post_disconnect(struct post *p);

/* IssueOrgSignet with that encryption key and that name; p's signet is the new one. */
void post_issue_org(struct post *p, const uint8_t enc[16], const char *name);

/* GenerateKey of an encryption key; its point. */
void post_new_enc(struct post *p, uint8_t id[16], uint8_t point[33]);

/* FreezeAddress. */
void post_account(struct post *p, const char *address, enum keyd_account_action action);

/* --- people --- */

/* Somebody who has a signet: step of the chain of that text. */
struct post_person {
    const char *address, *text;
    uint32_t step;
    struct sg_pair pair;
    uint8_t core[64];
};

/* Issues the person's signet of that step, and all there is to know of it. */
void post_issue(struct post *p, const char *address, const char *text, uint32_t step,
                struct post_person *out);

/* Chunk 4 that says so, and chunk 5. Slices are valid until the next call. */
struct kd_slice post_origin_text(const char *author, const uint8_t author_fp[64],
                                 const char *destination, const uint8_t domain_fp[64]);
struct kd_slice post_destination_text(const char *recipient,
                                      const uint8_t recipient_fp[64],
                                      const char *origin, const uint8_t origin_fp[64]);

/* A recipe's chunk 4 or 5 of such a text. */
struct dmw_chunk post_envelope(uint8_t type, struct kd_slice text);

/* --- operations --- */

/* SignOutbound; origin_fp: 64 octets, or NULL. The answer is the caller's to free. */
struct keyd_answer *post_sign(keyd_client *c, const char *account,
                              const char *destination, const uint8_t *origin_fp,
                              struct kd_slice message);
void post_sign_ends(keyd_client *c, const char *account, const char *destination,
                    const uint8_t *origin_fp, struct kd_slice message,
                    enum keyd_status status, const char *detail);

/* Puts the signatures into the message. */
void post_complete(uint8_t *message, size_t n, const struct keyd_answer *signatures);

/* What arrives: OpenEnvelope, OpenBounce and MakeBounce of this. */
struct post_inbound {
    const char *origin;
    const uint8_t *origin_fp; /* 64 */
    const char *domain;
    const uint8_t *domain_fp; /* 64 */
    struct kd_slice signet, message;
};

/* From one to the other as it should be. */
struct post_inbound post_from(const struct post *from, const struct post *to,
                              struct kd_slice message);
struct keyd_answer *post_inbound(keyd_client *c, enum keyd_op op,
                                 const struct post_inbound *in);
struct keyd_answer *post_make_bounce(keyd_client *c, const struct post_inbound *in,
                                     enum keyd_returned part);

/* --- records --- */

/* The number of the last record. */
uint64_t post_seq(struct post *p);

/* Records of message operations after that one, at most max; slices in them are empty.
 * All of them are returned, and those beyond are not kept. */
size_t post_records(struct post *p, uint64_t after, struct kd_audit_record *out,
                    size_t max);

/* There is exactly one: that one. */
struct kd_audit_record post_record(struct post *p, uint64_t after);

#endif
