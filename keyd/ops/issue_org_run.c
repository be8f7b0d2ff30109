/* IssueOrgSignet, the vault's half: a new version of a domain's organizational signet,
 * for the small site that keeps its POK in the online token (others make it in a
 * ceremony). Runs alone, since it changes what every issuance depends on. */
#include "made.h"
#include "quorum.h"

#include <dime/build.h>
#include <dime/fingerprint.h>
#include <dime/info.h>
#include <dime/verify.h>
#include <keyd/base/memfd.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { INFO_MAX = DIME_FIELDS_MAX - 4096 };

struct org_issue {
    struct kd_issue_org_job job; /* borrows from the task's body */
    size_t org;                  /* place of the domain */
    struct kd_buf info;
    struct made made;
    struct kd_buf kept; /* the signet again, for the vault to go on with */
};

static void
org_issue_free(void *data)
{
    struct org_issue *x = data;

    kd_buf_free(&x->info);
    kd_buf_free(&x->kept);
    made_free(&x->made);
    free(x);
}

static kd_err
collect_soks(struct task *t, const struct org_issue *x, struct dime_sok *soks,
             size_t *n)
{
    struct kd_key_info info;
    kd_err err;

    *n = x->job.soks.n / KD_TOKEN_ID_SIZE;
    if (x->job.soks.n % KD_TOKEN_ID_SIZE != 0 || *n > DIME_SOKS_MAX)
        return KD_MALFORMED;
    for (size_t i = 0; i < *n; i++) {
        const uint8_t *id = x->job.soks.p + i * KD_TOKEN_ID_SIZE;
        if ((err = run_active_key(t, x->job.domain, id, KD_KEY_ROLE_SOK, &info)) !=
            KD_OK)
            return err;
        soks[i].perms = info.permissions;
        soks[i].authorised = true;
        memcpy(soks[i].key, info.public_key, sizeof soks[i].key);
    }
    return KD_OK;
}

static void
build(struct task *t)
{
    struct org_issue *x = t->data;
    struct dime_sok soks[DIME_SOKS_MAX];
    struct dime_org_plan plan = {.layout = DIME_LAYOUT_L, .soks = soks};
    struct kd_key_info pok, enc;
    enum dime_reason why = DIME_FINE;

    if (t->vault->token == NULL) { /* sealed while this waited to be alone */
        t->err = run_refuse(t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    if ((t->err = run_active_key(t, x->job.domain, x->job.pok, KD_KEY_ROLE_POK,
                                 &pok)) != KD_OK ||
        (t->err = run_active_key(t, x->job.domain, x->job.encryption, KD_KEY_ROLE_ENC,
                                 &enc)) != KD_OK ||
        (t->err = collect_soks(t, x, soks, &plan.n_soks)) != KD_OK ||
        (t->err = run_profile(t, DIME_ORG, x->job.profile, x->job.with_image != 0, NULL,
                              &x->info)) != KD_OK)
        return;
    x->made.key = pok.id;
    plan.pok = pok.public_key;
    plan.enc_key = enc.public_key;
    plan.info = kd_buf_slice(&x->info);
    plan.identifier = x->job.domain;
    t->err = dime_org_build(&plan, made_signer(&x->made), &x->made.signet, &why);
    if (t->err == KD_OK)
        t->err = made_measure_own(&x->made, DIME_ORG);
    else if (why != DIME_FINE && why != DIME_NOT_MADE)
        t->err = run_refuse_dime(t, why);
    else
        t->err = run_of_device(t, t->err);
}

static void
committed(struct vault *v, struct task *t)
{
    struct org_issue *x = t->data;
    uint32_t version = v->orgs[x->org]->version + 1;

    if (t->err == KD_OK) {
        vault_org_supersede(v, x->job.domain, v->chain.time);
        t->err = vault_org_set(v, x->job.domain, version, &x->kept);
    }
    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_LOST_RACE : 0);
        return;
    }
    vault_keys_refresh(v);
    made_answer(v, &x->made, false, 1, version);
}

static void
built(struct vault *v, struct task *t)
{
    struct org_issue *x = t->data;
    struct kd_row_org row = {.version = v->orgs[x->org]->version + 1};
    struct kd_audit_record record;
    struct run_names names;
    struct kd_buf body;
    int fd = -1;

    run_record(&record, &names, v, t, KD_AUDIT_ISSUE_ORG, x->job.domain);
    if (t->err != KD_OK) {
        made_give_up(v, &x->made, &record, t->err);
        return;
    }
    made_record(&x->made, &record);
    memcpy(row.core, x->made.core, sizeof row.core);
    memcpy(row.full, x->made.full, sizeof row.full);
    memcpy(row.id, x->made.id, sizeof row.id);
    kd_buf_init(&body, KD_CHAN_INLINE_MAX);
    kd_err err = kd_memfd_if_large(kd_buf_slice(&x->made.signet), RUN_ROW_SIGNET_MAX,
                                   &row.signet, &fd);
    kd_row_org_put(&body, &row);
    /* Once it is stored there must be nothing left that could fail. */
    kd_buf_put(&x->kept, kd_buf_slice(&x->made.signet));
    if (err == KD_OK)
        err = body.err != KD_OK ? body.err : x->kept.err;
    if (err == KD_OK) {
        task_commit(v, t, &record, KD_ROW_ORG, kd_buf_slice(&body), fd, committed);
    } else {
        if (fd >= 0)
            close(fd);
        made_give_up(v, &x->made, &record, err);
    }
    kd_buf_free(&body);
}

/* A request that was answered before: the version it made is the current one, or a
 * newer request has replaced it, which the caller must look at. */
static void
answer_again(struct vault *v, struct task *t, struct kd_slice octets)
{
    struct org_issue *x = t->data;
    struct vault_org *org = v->orgs[x->org];
    struct kd_audit_record record;
    struct dime_signet current;
    enum dime_reason why;
    uint8_t last[32];

    if (kd_audit_decode(octets, &record) != KD_OK ||
        record.n_digests != MADE_SIGNATURES || org->octets == NULL ||
        dime_signet_parse_as(DIME_ORG, kd_slice(org->octets, org->size), &current,
                             &why) != KD_OK) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    struct kd_slice covered =
        dime_signet_covered(&current, DIME_FIELD_IDENTIFIED_SIGNATURE);
    crypto_hash_sha256(last, covered.p, covered.n);
    if (memcmp(last, record.digests[MADE_SIGNATURES - 1], sizeof last) != 0) {
        task_finish(v, t, KD_CONFLICT, KD_REASON_LOST_RACE);
        return;
    }
    kd_buf_put(&x->made.signet, kd_slice(org->octets, org->size));
    kd_err err = x->made.signet.err;
    if (err == KD_OK)
        err = made_measure(&x->made, &current);
    if (err == KD_OK)
        made_answer(v, &x->made, true, 1, org->version);
    else
        task_finish(v, t, err, 0);
}

/* --- in words --- */

static void
describe_profile(struct kd_slice stream, struct kd_buf *text)
{
    struct dime_walk w;
    struct dime_field f;
    char word[16];

    kd_fact_digest(text, "profile", stream);
    dime_walk_info(&w, DIME_ORG, stream);
    while (dime_walk_next(&w, &f)) {
        kd_ignore(snprintf(word, sizeof word, "field-%u", (unsigned)f.type));
        if (f.name.n != 0)
            kd_fact_value(text, "field-name", f.name);
        kd_fact_value(text, word, f.value);
    }
}

static bool
describe_image(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_buf image;
    size_t size;

    if (t->fd < 0 || kd_memfd_check(t->fd, INFO_MAX, &size) != KD_OK)
        return describe_refuse(v, t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    kd_buf_init(&image, INFO_MAX);
    kd_err err = kd_memfd_append(t->fd, INFO_MAX, &image);
    if (err == KD_OK)
        kd_fact_digest(text, "image", kd_buf_slice(&image));
    kd_buf_free(&image);
    return err == KD_OK || describe_refuse(v, t, err, KD_REASON_BAD_DESCRIPTOR);
}

bool
describe_issue_org_signet(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_issue_org_job job;
    size_t domain;

    if (kd_issue_org_job_get(t->body, &job) != KD_OK ||
        job.soks.n % KD_TOKEN_ID_SIZE != 0)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!run_allowed(v, t, job.domain))
        return false;
    if (kd_policy_domain_find(t->conf->is.policy, job.domain, &domain) != KD_OK)
        return describe_refuse(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
    kd_fact_name(text, "domain", job.domain);
    if (!describe_named_key(v, t, "primary-key", job.pok, text) ||
        !describe_named_key(v, t, "encryption-key", job.encryption, text))
        return false;
    for (size_t at = 0; at < job.soks.n; at += KD_TOKEN_ID_SIZE)
        if (!describe_named_key(v, t, "secondary-key", job.soks.p + at, text))
            return false;
    describe_profile(job.profile, text);
    return job.with_image == 0 || describe_image(v, t, text);
}

static void
start(struct vault *v, struct task *t)
{
    const struct org_issue *x = t->data;
    struct kd_key_id pok;
    struct kd_key_info info;

    memcpy(pok.octets, x->job.pok, sizeof pok.octets);
    /* Of one that is not there build() says so. */
    if (v->token != NULL && kd_token_get(v->token, &pok, &info) == KD_OK) {
        if (!run_keys_usable(v, t, &pok, 1))
            return;
        task_uses(v, t, &pok, 1);
    }
    task_work_alone(v, t, build, built);
}

void
run_issue_org_signet(struct vault *v, struct task *t)
{
    struct org_issue *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = org_issue_free;
    kd_buf_init(&x->info, INFO_MAX);
    kd_buf_init(&x->kept, DIME_SIGNET_MAX);
    made_init(&x->made, t, KD_SIGN_ORG_SIGNET);
    if (kd_issue_org_job_get(t->body, &x->job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!run_allowed(v, t, x->job.domain))
        return;
    if (vault_serves(t, x->job.domain, &x->org, NULL) != KD_OK) {
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
        return;
    }
    run_once(v, t, start, answer_again);
}
