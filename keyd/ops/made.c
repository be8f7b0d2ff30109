#include "made.h"

#include <dime/fingerprint.h>
#include <keyd/base/memfd.h>

#include <sodium.h>

void
made_init(struct made *m, struct task *t, enum kd_sign_purpose purpose)
{
    *m = (struct made){.task = t, .purpose = purpose};
    kd_buf_init(&m->signet, DIME_SIGNET_MAX);
}

void
made_free(struct made *m)
{
    if (m->signet.p != NULL)
        sodium_memzero(m->signet.p, m->signet.cap);
    kd_buf_free(&m->signet);
}

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct made *m = ctx;
    struct kd_token_sig out;

    if (m->n_digests == MADE_SIGNATURES)
        return KD_FAILED;
    kd_err err =
        kd_token_sign(m->task->vault->token, &m->key, m->purpose, message, &out);
    if (err != KD_OK)
        return err;
    crypto_hash_sha256(m->digests[m->n_digests++], message.p, message.n);
    memcpy(sig, out.octets, DIME_SIG_SIZE);
    return KD_OK;
}

struct dime_signer
made_signer(struct made *m)
{
    m->n_digests = 0;
    return (struct dime_signer){sign, m};
}

kd_err
made_measure(struct made *m, const struct dime_signet *s)
{
    struct kd_slice core;
    kd_err err;

    if ((err = dime_fingerprint(s, DIME_PART_CORE, m->core)) != KD_OK ||
        (err = dime_fingerprint(s, DIME_PART_FULL, m->full)) != KD_OK ||
        (err = dime_fingerprint(s, DIME_PART_IDENTIFIED, m->id)) != KD_OK ||
        (err = dime_signet_part(s, DIME_PART_CORE, &core)) != KD_OK)
        return err;
    m->core_size = (uint32_t)core.n;
    return KD_OK;
}

kd_err
made_measure_own(struct made *m, enum dime_kind kind)
{
    struct dime_signet s;
    enum dime_reason why;
    kd_err err = dime_signet_parse_own(kind, kd_buf_slice(&m->signet), &s, &why);

    return err == KD_OK ? made_measure(m, &s) : err;
}

void
made_record(const struct made *m, struct kd_audit_record *record)
{
    record->has_key = true;
    memcpy(record->key_id, m->key.octets, sizeof record->key_id);
    record->n_digests = m->n_digests;
    memcpy(record->digests, m->digests, sizeof m->digests);
}

void
made_give_up(struct vault *v, struct made *m, struct kd_audit_record *record,
             kd_err err)
{
    if (m->n_digests != 0) {
        record->outcome = KD_OUTCOME_FAILED;
        made_record(m, record);
        /* Without a ledger that was ever there no key is used. */
        kd_ignore(chain_append(v, record, KD_ROW_NONE, kd_slice(NULL, 0), -1, NULL));
    }
    task_finish(v, m->task, err, m->task->reason);
}

void
made_answer(struct vault *v, struct made *m, bool replayed, uint64_t generation,
            uint64_t seq)
{
    struct task *t = m->task;
    struct kd_issue_done done = {
        .replayed = replayed, .generation = generation, .seq = seq};
    kd_err err = kd_memfd_if_large(kd_buf_slice(&m->signet), KD_CHAN_INLINE_MAX,
                                   &done.signet, &t->reply_fd);

    if (err != KD_OK && !replayed)
        err = KD_UNKNOWN; /* it is stored: the same request again finds it */
    memcpy(done.core, m->core, sizeof done.core);
    memcpy(done.full, m->full, sizeof done.full);
    memcpy(done.id, m->id, sizeof done.id);
    kd_issue_done_put(&t->reply, &done);
    task_finish(v, t, err, 0);
}
