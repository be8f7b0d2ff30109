#include "mail.h"

#include <dime/identifier.h>
#include <keyd/base/memfd.h>

/* --- the object --- */

bool
mail_object_take(struct vault *v, struct task *t, struct kd_slice message,
                 uint32_t size, struct kd_slice signet, bool has_signet,
                 struct mail_object *out)
{
    size_t n = 0;

    kd_buf_init(&out->signet_read, KD_MAIL_SIGNET_MAX);
    if (size == 0) {
        if (t->fd >= 0 || message.n == 0 || (signet.n != 0) != has_signet) {
            task_finish(v, t, KD_MALFORMED, 0);
            return false;
        }
        out->source = dime_source_of(message);
        out->signet = signet;
        return true;
    }
    if (message.n != 0 || signet.n != 0) {
        task_finish(v, t, KD_MALFORMED, 0);
        return false;
    }
    /* What the gate checked, too; but its word is not taken for it. */
    if (t->fd < 0 || kd_memfd_check(t->fd, (size_t)KD_MAIL_OBJECT_MAX, &n) != KD_OK ||
        n < size || n - size > KD_MAIL_SIGNET_MAX || (n > size) != has_signet) {
        task_finish(v, t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
        return false;
    }
    out->source = dime_source_file(t->fd, size);
    out->signet_size = n - size;
    return true;
}

void
mail_object_free(struct mail_object *o)
{
    kd_buf_free(&o->signet_read);
}

void
mail_work(struct vault *v, struct task *t, const struct mail_object *o,
          task_working work, task_step next)
{
    if (o->source.n > MAIL_LONG_SIZE || o->cost >= MAIL_LONG_COST)
        task_work_long(v, t, work, next);
    else
        task_work(v, t, work, next);
}

bool
mail_may_use(struct vault *v, struct task *t, const struct kd_key_id *ids, size_t n,
             const struct kd_key_id *signer, uint64_t size)
{
    if (!run_keys_usable(v, t, ids, n))
        return false;
    if (signer != NULL && v->token != NULL &&
        kd_token_key_limit(v->token, signer) < size) {
        task_finish(v, t, KD_TOO_LARGE, KD_REASON_TOKEN_LIMIT);
        return false;
    }
    task_uses(v, t, ids, n);
    return true;
}

kd_err
mail_object_signet(struct task *t, struct mail_object *o, struct kd_slice *out)
{
    if (o->signet_size == 0) {
        *out = o->signet;
        return KD_OK;
    }
    kd_buf_reset(&o->signet_read);
    uint8_t *p = kd_buf_add(&o->signet_read, o->signet_size);
    if (p == NULL)
        return o->signet_read.err;
    *out = kd_buf_slice(&o->signet_read);
    return kd_memfd_read(t->fd, (size_t)o->source.n, p, o->signet_size);
}

/* --- who and with what --- */

bool
mail_place_find(struct vault *v, struct task *t, struct kd_slice domain,
                struct mail_place *out)
{
    out->domain = domain;
    if (!run_allowed(v, t, domain))
        return false;
    if (vault_serves(t, domain, &out->org, &out->rules) != KD_OK) {
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
        return false;
    }
    if (!v->orgs[out->org]->verified) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_ORG_SIGNET);
        return false;
    }
    return true;
}

static bool
key_is_there(struct vault *v, struct task *t, kd_err err)
{
    switch ((int)err) {
    case KD_OK:
        return true;
    case KD_NOT_FOUND:
        task_finish(v, t, err, KD_REASON_NO_SUCH_RECIPIENT_KEY);
        break;
    case KD_DENIED:
        task_finish(v, t, err, KD_REASON_KEY_NOT_PERMITTED);
        break;
    case KD_SEALED:
        run_refuse_sealed(v, t);
        break;
    default:
        task_finish(v, t, err, KD_REASON_NO_SIGNING_KEY);
        break;
    }
    return false;
}

bool
mail_opener(struct vault *v, struct task *t, const struct mail_place *p,
            struct kd_slice fp, struct vault_opener *out)
{
    return key_is_there(v, t,
                        vault_opener_find(t, p->org, fp.n == 0 ? NULL : fp.p, out));
}

bool
mail_signer(struct vault *v, struct task *t, const struct mail_place *p,
            struct kd_key_id *out)
{
    return key_is_there(v, t, vault_mail_signer(t, p->org, out));
}

kd_err
mail_keys_of(struct task *t, const struct kd_key_id *opener,
             const struct kd_key_id *signer, struct mail_keys *out)
{
    if (task_is_late(t))
        return run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
    if (t->vault->token == NULL)
        return run_refuse(t, KD_SEALED, KD_REASON_SEALED);
    *out = (struct mail_keys){.token = t->vault->token};
    if (opener != NULL)
        out->opener = *opener;
    if (signer != NULL)
        out->signer = *signer;
    out->n_ours = vault_enc_keys(t->vault, &out->ours);
    return KD_OK;
}

/* --- what came of it --- */

/* KD_OK, or why what they derived is not to be believed. */
static kd_err
confirm(struct task *t, struct mail_derived derived)
{
    for (size_t i = 0; i < derived.n; i++)
        if (kd_token_confirm(t->vault->token, &derived.ids[i]) != KD_OK)
            return run_refuse(t, KD_UNAVAILABLE, KD_REASON_TOKEN_AWAY);
    return KD_OK;
}

static kd_err
verdict(struct task *t, kd_err err, enum dime_flaw flaw)
{
    if (err == KD_INVALID)
        return run_refuse(t, KD_INVALID,
                          flaw == DIME_FLAW_NONE ? KD_REASON_MESSAGE_REFUSED
                                                 : KD_REASON_MESSAGE_CORRUPT);
    return run_refuse(t, KD_INVALID,
                      flaw == DIME_FLAW_UNSIGNED ? KD_REASON_MESSAGE_UNSIGNED
                                                 : KD_REASON_MESSAGE_CORRUPT);
}

kd_err
mail_result(struct task *t, kd_err err, enum dime_flaw flaw,
            struct mail_derived derived)
{
    if (err != KD_MALFORMED && err != KD_TOO_LARGE && err != KD_INVALID)
        return run_of_device(t, err);
    kd_err doubt = confirm(t, derived);

    return doubt != KD_OK ? doubt : verdict(t, err, flaw);
}

void
mail_commit(struct vault *v, struct task *t, const struct mail_place *p,
            const struct mail_use *use, kd_err result, task_step next)
{
    struct kd_audit_record record;
    struct run_names names;

    run_record(&record, &names, v, t, use->op, p->domain);
    record.outcome = result == KD_OK ? KD_OUTCOME_DONE : KD_OUTCOME_FAILED;
    record.notes |= use->notes;
    record.has_key = true;
    memcpy(record.key_id, use->key->octets, sizeof record.key_id);
    record.n_digests = use->n_digests;
    memcpy(record.digests, use->digests, use->n_digests * sizeof record.digests[0]);
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, next);
}
