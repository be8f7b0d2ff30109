/* SealNaked, the vault's half: chunk 255 of mail that a gateway encrypted for one of
 * our users (D-173).
 *
 * Look, on a crypto thread: the object is one. Ask the ledger: is the account there to
 * get mail, with a signet that it can be encrypted to (GW-1), and is the one-time key
 * really nobody's (GW-16)? Sign; commit; answer. */
#include "mail.h"

#include <dime/identifier.h>
#include <keyd/base/secret.h>
#include <stdlib.h>

struct naked {
    struct kd_seal_naked_job job; /* borrows from the task's body */
    struct mail_place place;
    struct mail_object object;
    struct kd_key_id signer;
    uint8_t one_time[DIME_ED25519_KEY_SIZE];
    struct mail_naked made;
    kd_err result;
    uint16_t reason;
};

static void
naked_free(void *data)
{
    struct naked *x = data;

    kd_secret_wipe(&x->made, sizeof x->made);
    mail_object_free(&x->object);
    free(x);
}

static void
committed(struct vault *v, struct task *t)
{
    struct naked *x = t->data;
    struct kd_seal_naked_done done;

    if (t->err != KD_OK || x->result != KD_OK) {
        bool is_ours = t->err != KD_OK;
        task_finish(v, t, is_ours ? t->err : x->result, is_ours ? 0 : x->reason);
        return;
    }
    memcpy(done.signature, x->made.organization, sizeof done.signature);
    kd_seal_naked_done_put(&t->reply, &done);
    task_finish(v, t, t->reply.err, 0);
}

static void
sealed(struct vault *v, struct task *t)
{
    struct naked *x = t->data;
    const struct mail_use use = {.op = KD_AUDIT_SEAL_NAKED,
                                 .key = &x->signer,
                                 .n_digests = t->err == KD_OK ? 1 : 0,
                                 .digests = x->made.digest};

    x->result = t->err;
    x->reason = t->reason;
    if (x->made.key_used)
        mail_commit(v, t, &x->place, &use, t->err, committed);
    else
        task_finish(v, t, t->err, t->reason);
}

static void
seal(struct task *t)
{
    struct naked *x = t->data;
    struct mail_keys keys;

    if ((t->err = mail_keys_of(t, NULL, &x->signer, &keys)) != KD_OK)
        return;
    kd_err err = mail_seal_naked(&keys, &x->object.source, KD_MAIL_MESSAGE_MAX,
                                 x->one_time, &x->made);
    t->err = mail_result(t, err, x->made.flaw, (struct mail_derived){NULL, 0});
}

static void
told(struct vault *v, struct task *t)
{
    struct naked *x = t->data;
    struct mail_naked_told m;
    kd_err err = mail_told_naked(t, &m);

    if (err != KD_OK)
        task_finish(v, t, err, t->reason);
    else if (m.account.state == KD_ACCOUNT_CLOSED) /* a frozen one still receives */
        task_finish(v, t, KD_DENIED, KD_REASON_ADDRESS_CLOSED);
    else if (!m.has_signet) /* then there is no key that it could be encrypted to */
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SIGNET);
    else if (m.is_key_known || vault_owns_sign_key(v, x->one_time))
        task_finish(v, t, KD_INVALID, KD_REASON_ONE_TIME_KEY_KNOWN);
    else if (mail_may_use(v, t, &x->signer, 1, &x->signer, x->object.source.n))
        mail_work(v, t, &x->object, seal, sealed);
}

static void
look(struct task *t)
{
    struct naked *x = t->data;

    if (task_is_late(t)) {
        t->err = run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        return;
    }
    kd_err err = mail_look_at_naked(&x->object.source, KD_MAIL_MESSAGE_MAX, &x->made);
    memcpy(x->one_time, x->made.signer, sizeof x->one_time);
    t->err = mail_result(t, err, x->made.flaw, (struct mail_derived){NULL, 0});
}

static void
looked(struct vault *v, struct task *t)
{
    struct naked *x = t->data;

    if (t->err != KD_OK)
        task_finish(v, t, t->err, t->reason);
    else
        mail_ask_naked(v, t, x->job.recipient, x->one_time, told);
}

void
run_seal_naked(struct vault *v, struct task *t)
{
    struct naked *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = naked_free;
    if (kd_seal_naked_job_get(t->body, &x->job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!dime_identifier_is_address(x->job.recipient)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return;
    }
    if (mail_place_find(v, t, dime_identifier_domain(x->job.recipient), &x->place) &&
        mail_signer(v, t, &x->place, &x->signer) &&
        mail_object_take(v, t, x->job.message, x->job.size, kd_slice(NULL, 0), false,
                         &x->object) &&
        run_keys_usable(v, t, &x->signer, 1))
        mail_work(v, t, &x->object, look, looked);
}
