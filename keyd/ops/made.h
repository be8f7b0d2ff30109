/* A signet being made: what user and organizational issuance share. On a crypto thread
 * up to the signature, on the main thread from the record on. */
#ifndef KEYD_OPS_MADE_H
#define KEYD_OPS_MADE_H

#include "run.h"

#include <dime/build.h>

enum { MADE_SIGNATURES = 3 };

struct made {
    struct task *task;
    enum kd_sign_purpose purpose;
    struct kd_key_id key;
    struct kd_buf signet;
    unsigned n_digests;
    uint8_t digests[MADE_SIGNATURES][32]; /* SHA-256 of what was signed, in order */
    uint32_t core_size;                   /* octets of the core's fields */
    uint8_t core[64], full[64], id[64];
};

void made_init(struct made *m, struct task *t, enum kd_sign_purpose purpose);
void made_free(struct made *m); /* wipes: what was not released is nobody's */

/* Signs with m->key, verified by the token, and keeps the digest for the record. */
struct dime_signer made_signer(struct made *m);

/* Core size and fingerprints of m->signet, which is s. */
kd_err made_measure(struct made *m, const struct dime_signet *s) KD_MUST_USE;

/* The same from the octets of our own signet in m->signet. */
kd_err made_measure_own(struct made *m, enum dime_kind kind) KD_MUST_USE;

/* Key and digests into a record of the issuance. */
void made_record(const struct made *m, struct kd_audit_record *record);

/* Ends the task with err and its reason. If the key was used already, that is recorded;
 * record is what run_record and the operation made. */
void made_give_up(struct vault *v, struct made *m, struct kd_audit_record *record,
                  kd_err err);

/* Fills the reply and ends the task. */
void made_answer(struct vault *v, struct made *m, bool replayed, uint64_t generation,
                 uint64_t seq);

#endif
