/* SignTlsRecord, the vault's half: the POK vouches for the certificate of one of the
 * domain's servers, in the two forms that are published (MR-6, MR-61; D-025).
 *
 * What is signed is made here of a certificate that has the form of one, and of nothing
 * else: no text of 64 octets that somebody brings, and no DER of another kind.
 *
 * Nothing is stored but the record, so that a request with an idempotency key that was
 * used is done again: the same octets, one more use of the key, one more record, which
 * names the approval of the first. */
#include "quorum.h"

#include <dime/certificate.h>

#include <sodium.h>
#include <stdlib.h>

enum { FORMS = 2 };

struct tls_sign {
    struct kd_sign_tls_job job; /* borrows from the task's body */
    struct kd_key_id pok;
    struct kd_audit_record before; /* with one that was done before: what approved it */
    unsigned n_digests;
    uint8_t digests[FORMS][32];
    uint8_t of_hash[DIME_SIG_SIZE], of_der[DIME_SIG_SIZE];
    bool has_der;
    kd_err result;
    uint16_t reason;
};

static void
committed(struct vault *v, struct task *t)
{
    struct tls_sign *x = t->data;
    struct kd_sign_tls_done done;

    if (t->err != KD_OK || x->result != KD_OK) {
        bool is_ours = t->err != KD_OK;
        uint16_t ours = t->err == KD_CONFLICT ? KD_REASON_LOST_RACE : 0;
        task_finish(v, t, is_ours ? t->err : x->result, is_ours ? ours : x->reason);
        return;
    }
    memcpy(done.of_hash, x->of_hash, sizeof done.of_hash);
    done.of_der = kd_slice(x->of_der, x->has_der ? sizeof x->of_der : 0);
    kd_sign_tls_done_put(&t->reply, &done);
    task_finish(v, t, t->reply.err, 0);
}

static void
signed_(struct vault *v, struct task *t)
{
    struct tls_sign *x = t->data;
    struct kd_audit_record record;
    struct run_names names;

    x->result = t->err;
    x->reason = t->reason;
    if (x->n_digests == 0) {
        task_finish(v, t, t->err, t->reason);
        return;
    }
    run_record(&record, &names, v, t, KD_AUDIT_SIGN_TLS_RECORD, x->job.domain);
    if (x->before.has_approval) {
        record.notes |= KD_NOTE_QUORUM;
        record.has_approval = true;
        memcpy(record.approval, x->before.approval, sizeof record.approval);
    }
    if (x->result != KD_OK)
        record.outcome = KD_OUTCOME_FAILED;
    record.has_key = true;
    memcpy(record.key_id, x->pok.octets, sizeof record.key_id);
    record.n_digests = x->n_digests;
    memcpy(record.digests, x->digests, sizeof x->digests);
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, committed);
}

static kd_err
sign_one(struct task *t, struct tls_sign *x, enum kd_sign_purpose purpose,
         struct kd_slice message, uint8_t out[DIME_SIG_SIZE])
{
    struct kd_token_sig sig;
    kd_err err = kd_token_sign(t->vault->token, &x->pok, purpose, message, &sig);

    if (err != KD_OK)
        return err;
    crypto_hash_sha256(x->digests[x->n_digests++], message.p, message.n);
    memcpy(out, sig.octets, DIME_SIG_SIZE);
    return KD_OK;
}

static void
sign(struct task *t)
{
    struct tls_sign *x = t->data;
    struct kd_slice der = x->job.certificate;
    uint8_t hash[crypto_hash_sha512_BYTES];
    struct kd_key_info pok;

    if (task_is_late(t)) {
        t->err = run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        return;
    }
    if (t->vault->token == NULL) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    if ((t->err = run_active_key(t, x->job.domain, x->job.pok, KD_KEY_ROLE_POK,
                                 &pok)) != KD_OK)
        return;
    x->pok = pok.id;
    crypto_hash_sha512(hash, der.p, der.n);
    t->err = sign_one(t, x, KD_SIGN_TLS_HASH, kd_slice(hash, sizeof hash), x->of_hash);
    if (t->err == KD_OK) {
        t->err = sign_one(t, x, KD_SIGN_TLS_DER, der, x->of_der);
        x->has_der = t->err == KD_OK;
        if (t->err == KD_TOO_LARGE) /* the first form is what libdime reads */
            t->err = KD_OK;
    }
    if (t->err != KD_OK)
        t->err = run_of_device(t, t->err);
}

static void
start(struct vault *v, struct task *t)
{
    const struct tls_sign *x = t->data;
    struct kd_key_id pok;
    struct kd_key_info info;

    memcpy(pok.octets, x->job.pok, sizeof pok.octets);
    /* Of one that is not there sign() says so. */
    if (v->token != NULL && kd_token_get(v->token, &pok, &info) == KD_OK) {
        if (!run_keys_usable(v, t, &pok, 1))
            return;
        task_uses(v, t, &pok, 1);
    }
    task_work(v, t, sign, signed_);
}

static void
answer_again(struct vault *v, struct task *t, struct kd_slice octets)
{
    struct tls_sign *x = t->data;

    if (kd_audit_decode(octets, &x->before) != KD_OK ||
        x->before.op != KD_AUDIT_SIGN_TLS_RECORD) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    t->has_key = false; /* it is the first record's */
    start(v, t);
}

bool
describe_sign_tls_record(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_sign_tls_job job;

    if (kd_sign_tls_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!run_allowed(v, t, job.domain))
        return false;
    if (!dime_certificate_ok(job.certificate))
        return describe_refuse(v, t, KD_INVALID, KD_REASON_BAD_CERTIFICATE);
    kd_fact_name(text, "domain", job.domain);
    if (!describe_named_key(v, t, "primary-key", job.pok, text))
        return false;
    kd_fact_digest(text, "certificate", job.certificate);
    return true;
}

void
run_sign_tls_record(struct vault *v, struct task *t)
{
    struct tls_sign *x = calloc(1, sizeof *x);
    size_t org;

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = free;
    if (kd_sign_tls_job_get(t->body, &x->job) != KD_OK)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (!run_allowed(v, t, x->job.domain))
        return;
    else if (vault_serves(t, x->job.domain, &org, NULL) != KD_OK)
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
    else if (!dime_certificate_ok(x->job.certificate))
        task_finish(v, t, KD_INVALID, KD_REASON_BAD_CERTIFICATE);
    else
        run_once(v, t, start, answer_again);
}
