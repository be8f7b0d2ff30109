/* SignOutbound, the vault's half (D-087).
 *
 * Ask the ledger about the account that is authenticated, before any key is used: is it
 * open, which signets of it count?
 *
 * Sign, on a crypto thread: those signets are ours and the account's; the message is
 * its, by one of them, and for the domain stated; then 248, 249 and 255.
 *
 * Commit; answer. What was made and not recorded is wiped with the task. */
#include "mail.h"

#include <dime/identifier.h>
#include <keyd/base/secret.h>
#include <stdlib.h>

struct outbound {
    struct kd_sign_outbound_job job; /* borrows from the task's body */
    struct mail_place place;
    struct mail_object object;
    struct vault_opener opener;
    struct kd_key_id signer;
    struct mail_authors authors;
    struct mail_signed made;
    kd_err result; /* the walker's */
    uint16_t reason;
};

static void
outbound_free(void *data)
{
    struct outbound *x = data;

    kd_secret_wipe(&x->made, sizeof x->made);
    mail_authors_free(&x->authors);
    mail_object_free(&x->object);
    free(x);
}

/* --- answer --- */

static void
answer(struct vault *v, struct task *t)
{
    struct outbound *x = t->data;
    const struct mail_signed *m = &x->made;
    struct kd_sign_outbound_done done = {
        .metadata = kd_slice(m->metadata, m->has_metadata ? sizeof m->metadata : 0),
        .display = kd_slice(m->display, m->has_display ? sizeof m->display : 0),
        .grace = x->authors.list[m->author].superseded_ms != 0};

    memcpy(done.organization, m->organization, sizeof done.organization);
    memcpy(done.destination_fp, m->destination_fp, sizeof done.destination_fp);
    kd_sign_outbound_done_put(&t->reply, &done);
    task_finish(v, t, t->reply.err, 0);
}

static void
committed(struct vault *v, struct task *t)
{
    struct outbound *x = t->data;

    if (t->err != KD_OK)
        task_finish(v, t, t->err, 0);
    else if (x->result != KD_OK)
        task_finish(v, t, x->result, x->reason);
    else
        answer(v, t);
}

static void
signed_(struct vault *v, struct task *t)
{
    struct outbound *x = t->data;
    const struct mail_signed *m = &x->made;

    /* Who was told that the account is frozen gets no mail of it after that. */
    if (t->err == KD_OK && t->overtaken != 0)
        t->err = run_refuse(t, KD_DENIED, (enum kd_reason)t->overtaken);
    x->result = t->err;
    x->reason = t->reason;
    if (!m->key_used) {
        task_finish(v, t, t->err, t->reason);
        return;
    }
    bool grace = t->err == KD_OK && x->authors.list[m->author].superseded_ms != 0;
    const struct mail_use use = {
        .op = KD_AUDIT_SIGN_OUTBOUND,
        .key = t->err == KD_OK ? &x->signer : &x->opener.id, /* which was used */
        .n_digests = t->err == KD_OK ? m->n_digests : 0,
        .digests = m->digests[0],
        .notes = (grace ? (unsigned)KD_NOTE_AUTHOR_GRACE : 0u) |
                 (x->opener.superseded_ms != 0 ? (unsigned)KD_NOTE_RETAINED_KEY : 0u)};
    mail_commit(v, t, &x->place, &use, t->err, committed);
}

/* --- sign --- */

static kd_err
author_list(const struct mail_authors *from, struct mail_author *to)
{
    for (size_t i = 0; i < from->n; i++) {
        struct dime_signet s;
        enum dime_reason why;
        kd_err err = dime_signet_parse_own(DIME_USER, from->list[i].signet, &s, &why);
        if (err != KD_OK || (err = mail_author_of(&s, &to[i])) != KD_OK)
            return err;
    }
    return KD_OK;
}

static void
sign(struct task *t)
{
    struct outbound *x = t->data;
    struct mail_author authors[KD_AUTHOR_SIGNETS];
    struct mail_keys keys;

    if ((t->err = mail_keys_of(t, &x->opener.id, &x->signer, &keys)) != KD_OK ||
        (t->err = mail_authors_believe(t, x->place.org, x->job.account, &x->authors)) !=
            KD_OK)
        return;
    if (author_list(&x->authors, authors) != KD_OK) {
        t->err = run_refuse(t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    const struct mail_outbound in = {.account = x->job.account,
                                     .destination = x->job.destination,
                                     .authors = authors,
                                     .n_authors = x->authors.n,
                                     .max = KD_MAIL_MESSAGE_MAX};
    kd_err err = mail_sign_outbound(&keys, &x->object.source, &in, &x->made);
    t->err =
        mail_result(t, err, x->made.flaw,
                    (struct mail_derived){&x->opener.id, x->made.key_used ? 1u : 0u});
}

static bool
may_use(struct vault *v, struct task *t, const struct outbound *x)
{
    const struct kd_key_id both[] = {x->opener.id, x->signer};

    return mail_may_use(v, t, both, 2, &x->signer, x->object.source.n);
}

static void
told(struct vault *v, struct task *t)
{
    struct outbound *x = t->data;
    kd_err err = mail_told_author(t, &x->authors);

    if (err != KD_OK)
        task_finish(v, t, err, t->reason);
    else if (!account_is_open(v, t, &x->authors.account))
        return;
    else if (x->authors.n == 0)
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SIGNET);
    else if (!may_use(v, t, x))
        return;
    else if (mail_authors_are_large(&x->authors))
        task_work_long(v, t, sign, signed_);
    else
        mail_work(v, t, &x->object, sign, signed_);
}

void
run_sign_outbound(struct vault *v, struct task *t)
{
    struct outbound *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = outbound_free;
    if (kd_sign_outbound_job_get(t->body, &x->job) != KD_OK ||
        (x->job.origin_fp.n != 0 && x->job.origin_fp.n != MAIL_FP_SIZE)) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!dime_identifier_is_address(x->job.account) ||
        !dime_identifier_is_domain(x->job.destination)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return;
    }
    if (!mail_place_find(v, t, dime_identifier_domain(x->job.account), &x->place) ||
        !mail_signer(v, t, &x->place, &x->signer) ||
        !mail_opener(v, t, &x->place, x->job.origin_fp, &x->opener) ||
        !mail_object_take(v, t, x->job.message, x->job.size, kd_slice(NULL, 0), false,
                          &x->object) ||
        !may_use(v, t, x))
        return;
    t->account = x->job.account;
    mail_ask_author(v, t, x->job.account, x->place.rules->author_grace, &x->authors,
                    told);
}
