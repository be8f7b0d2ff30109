/* IssueUserSignet, the vault's half (D-080).
 *
 *   check (crypto thread)   the request: structure, points, its own signature, level
 *                           claim; the profile is filtered
 *   ask the ledger          was this very request issued before? are its keys known?
 *                           what is the head of the address's chain?
 *   sign (crypto thread)    the head is ours, custody holds under it; then fields 6,
 *                           253, 254, 255 at once, verified
 *   commit                  record and registry row in one transaction
 *   answer
 *
 * A lost race (the row is refused, the record stays) starts again from the question;
 * the signature that was made is wiped with the task's buffers. */
#include "run.h"

#include <dime/build.h>
#include <dime/display.h>
#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/info.h>
#include <dime/verify.h>
#include <keyd/base/memfd.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { ATTEMPTS = 3, INFO_MAX = DIME_FIELDS_MAX - 1024, SIGNATURES = 3 };

enum account_mode { TRUSTFUL, CAUTIOUS, PARANOID, ACCOUNT_MODES };

struct issue {
    struct kd_issue_job job; /* borrows from the task's body */
    size_t domain;           /* index in the policy */
    struct dime_signet ssr;  /* borrows from job.ssr */
    struct kd_buf info;      /* filtered profile */

    unsigned attempts;
    enum kd_told is;
    uint32_t generation, seq; /* of what the ledger told, then of what is made */
    struct kd_buf told;       /* that signet */
    bool is_first;
    uint8_t predecessor[64];

    struct kd_buf signet;
    struct kd_key_id key;
    unsigned n_digests;
    uint8_t digests[SIGNATURES][32];
    uint32_t version;
    uint32_t core_size;
    uint8_t ssr_fp[64], core[64], full[64], id[64];
};

static void
issue_free(void *data)
{
    struct issue *x = data;

    kd_buf_free(&x->info);
    kd_buf_free(&x->told);
    kd_buf_free(&x->signet);
    free(x);
}

/* --- check --- */

/* D-059, D-081: the highest level bit counts; what a mode may claim at most. "Extremely
 * compartmented" (16) would need an attestation by an operator; none can be recorded.
 */
static bool
level_fits(const struct dime_signet *ssr, uint8_t mode)
{
    static const uint8_t allowed[ACCOUNT_MODES] = {
        [TRUSTFUL] = 0, [CAUTIOUS] = 1 | 2 | 4, [PARANOID] = 1 | 2 | 4 | 8};
    struct dime_field f;

    if (dime_signet_find(ssr, DIME_USER_ALTERNATE_KEY, &f) != KD_OK)
        return true;
    return f.value.n > 0 && (f.value.p[0] & 31 & ~allowed[mode]) == 0;
}

static void
check(struct task *t)
{
    struct issue *x = t->data;
    enum dime_reason why;
    struct dime_verdict verdict;

    if (task_is_late(t)) {
        t->err = run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        return;
    }
    if (dime_signet_parse_as(DIME_SSR, x->job.ssr, &x->ssr, &why) != KD_OK) {
        t->err = run_refuse_dime(t, why);
        return;
    }
    if (dime_ssr_verify(&x->ssr, NULL, &verdict) != KD_OK) {
        t->err = run_refuse_dime(t, verdict.why);
        return;
    }
    if (!level_fits(&x->ssr, x->job.mode)) {
        t->err = run_refuse(t, KD_INVALID, KD_REASON_LEVEL_CLAIM);
        return;
    }
    if (vault_owns_key(t->vault, x->ssr.sign_key, x->ssr.enc_key)) {
        t->err = run_refuse(t, KD_INVALID, KD_REASON_KEY_REUSED);
        return;
    }
    if ((t->err = dime_fingerprint(&x->ssr, DIME_PART_REQUEST, x->ssr_fp)) != KD_OK)
        return;
    t->err = run_profile(t, DIME_USER, x->job.profile, x->job.with_image != 0,
                         t->vault->conf.profile_fields[x->domain], &x->info);
}

/* --- ask --- */

static void told(struct vault *v, struct task *t);

static void
ask(struct vault *v, struct task *t)
{
    struct issue *x = t->data;
    struct kd_ask_issue m = {
        .tag = t->tag, .address = x->job.address, .has_key = t->has_key};

    memcpy(m.ssr, x->ssr_fp, sizeof m.ssr);
    memcpy(m.signing_key, x->ssr.sign_key, sizeof m.signing_key);
    memcpy(m.encryption_key, x->ssr.enc_key + 1, sizeof m.encryption_key);
    memcpy(m.key, t->key, sizeof m.key);
    kd_buf_reset(&t->ask);
    kd_ask_issue_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_issue, told);
}

static void
checked(struct vault *v, struct task *t)
{
    if (t->err != KD_OK)
        task_finish(v, t, t->err, t->reason);
    else
        ask(v, t);
}

/* The signet that came inline or as a descriptor, copied: the answer's octets end with
 * this step. */
static kd_err
keep_told(struct task *t, struct issue *x, const struct kd_told_issue *m)
{
    size_t size;

    kd_buf_reset(&x->told);
    if (t->told_fd < 0) {
        kd_buf_put(&x->told, m->signet);
        return x->told.err;
    }
    if (kd_memfd_check(t->told_fd, DIME_SIGNET_MAX, &size) != KD_OK)
        return KD_INVALID;
    uint8_t *at = kd_buf_add(&x->told, size);
    return at == NULL ? x->told.err : kd_memfd_read(t->told_fd, 0, at, size);
}

static void sign(struct task *t);
static void replay(struct task *t);
static void signed_(struct vault *v, struct task *t);
static void replayed(struct vault *v, struct task *t);

static void
told(struct vault *v, struct task *t)
{
    struct issue *x = t->data;
    struct kd_told_issue m;
    kd_err err = kd_told_issue_get(t->told, &m);

    if (err != KD_OK || m.err != KD_OK || m.is > KD_TOLD_HEAD) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    if (m.key_seen && memcmp(m.key_request, t->request, sizeof t->request) != 0) {
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
        return;
    }
    x->is = (enum kd_told)m.is;
    x->generation = m.generation;
    x->seq = m.seq;
    if (x->is != KD_TOLD_NONE && (err = keep_told(t, x, &m)) != KD_OK) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    if (x->is == KD_TOLD_STORED) {
        task_work(v, t, replay, replayed);
        return;
    }
    if (m.signing_key_known || m.encryption_key_known) {
        task_finish(v, t, KD_INVALID, KD_REASON_KEY_REUSED);
        return;
    }
    bool custody = dime_signet_signature(&x->ssr, DIME_USER_CUSTODY) != NULL;
    if (custody != (x->is == KD_TOLD_HEAD)) {
        task_finish(v, t, KD_INVALID,
                    custody ? KD_REASON_NO_PREDECESSOR : KD_REASON_CUSTODY_MISSING);
        return;
    }
    task_work(v, t, sign, signed_);
}

/* --- replay: the signet of this very request --- */

/* Fields 16 to 252 of a full signet: between the end of its core and field 253. */
static struct kd_slice
info_of(const struct dime_signet *s)
{
    struct kd_slice before = dime_signet_covered(s, DIME_FIELD_FULL_SIGNATURE), core;

    if (dime_signet_part(s, DIME_PART_CORE, &core) != KD_OK || before.n < core.n)
        return kd_slice(NULL, 0);
    return kd_slice(before.p + core.n, before.n - core.n);
}

/* The ledger may be captured: what it tells must be ours, for this address. */
static kd_err
believe(const struct task *t, struct issue *x, struct dime_signet *out)
{
    enum dime_reason why;

    if (dime_signet_parse_own(DIME_USER, kd_buf_slice(&x->told), out, &why) != KD_OK ||
        out->part != DIME_PART_IDENTIFIED ||
        !kd_slice_eq(out->identifier, x->job.address) ||
        !vault_signed(t->vault, x->domain, out))
        return KD_UNAVAILABLE;
    return KD_OK;
}

static kd_err
fingerprints(struct issue *x, const struct dime_signet *s)
{
    struct kd_slice core;
    kd_err err;

    if ((err = dime_fingerprint(s, DIME_PART_CORE, x->core)) != KD_OK ||
        (err = dime_fingerprint(s, DIME_PART_FULL, x->full)) != KD_OK ||
        (err = dime_fingerprint(s, DIME_PART_IDENTIFIED, x->id)) != KD_OK ||
        (err = dime_signet_part(s, DIME_PART_CORE, &core)) != KD_OK)
        return err;
    x->core_size = (uint32_t)core.n;
    return KD_OK;
}

static void
replay(struct task *t)
{
    struct issue *x = t->data;
    struct dime_signet stored;

    if ((t->err = believe(t, x, &stored)) != KD_OK ||
        !dime_signet_same_link(&stored, &x->ssr)) {
        t->err = run_refuse(t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    /* D-074: the same keys with other attributes is no new signet. */
    if (!kd_slice_eq(info_of(&stored), kd_buf_slice(&x->info))) {
        t->err = run_refuse(t, KD_CONFLICT, KD_REASON_ROTATION_REQUIRED);
        return;
    }
    if ((t->err = fingerprints(x, &stored)) != KD_OK)
        return;
    struct kd_buf swap = x->signet;
    x->signet = x->told;
    x->told = swap;
}

/* --- sign --- */

/* Counts and hashes what goes under the key, for the record. */
struct signing {
    struct task *task;
    struct issue *issue;
};

static kd_err
sign_one(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct signing *s = ctx;
    struct issue *x = s->issue;
    struct kd_token_sig out;
    kd_err err;

    if (x->n_digests == SIGNATURES)
        return KD_FAILED;
    err = kd_token_sign(s->task->vault->token, &x->key, KD_SIGN_USER_SIGNET, message,
                        &out);
    if (err != KD_OK)
        return err;
    crypto_hash_sha256(x->digests[x->n_digests++], message.p, message.n);
    memcpy(sig, out.octets, DIME_SIG_SIZE);
    return KD_OK;
}

static kd_err
check_custody(struct task *t, struct issue *x)
{
    struct dime_signet head;
    struct dime_verdict verdict;
    kd_err err;

    if (believe(t, x, &head) != KD_OK)
        return run_refuse(t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
    if (dime_ssr_verify(&x->ssr, &head, &verdict) != KD_OK)
        return run_refuse_dime(t, verdict.why);
    if ((err = dime_fingerprint(&head, DIME_PART_REQUEST, x->predecessor)) != KD_OK)
        return err;
    x->seq++;
    return KD_OK;
}

static void
sign(struct task *t)
{
    struct issue *x = t->data;
    struct signing signing = {t, x};
    struct dime_user_plan plan = {&x->ssr, kd_buf_slice(&x->info), x->job.address};
    struct dime_signet made;
    enum dime_reason why = DIME_FINE;

    if (task_is_late(t)) {
        t->err = run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        return;
    }
    if (t->vault->token == NULL) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    x->is_first = x->is == KD_TOLD_NONE;
    if (x->is_first) {
        x->generation = x->seq = 1;
        memset(x->predecessor, 0, sizeof x->predecessor);
    } else if ((t->err = check_custody(t, x)) != KD_OK) {
        return;
    }
    if ((t->err = vault_signer(t->vault, x->domain, &x->key)) != KD_OK) {
        kd_ignore(run_refuse(t, t->err, KD_REASON_NO_SIGNING_KEY));
        return;
    }
    x->n_digests = 0;
    kd_buf_reset(&x->signet);
    t->err = dime_user_build(&plan, (struct dime_signer){sign_one, &signing},
                             &x->signet, &why);
    if (t->err != KD_OK) {
        if (why != DIME_FINE && why != DIME_NOT_MADE)
            t->err = run_refuse_dime(t, why);
        return;
    }
    t->err = dime_signet_parse_own(DIME_USER, kd_buf_slice(&x->signet), &made, &why);
    if (t->err == KD_OK)
        t->err = fingerprints(x, &made);
}

/* --- commit and answer --- */

static void
answer(struct vault *v, struct task *t, bool was_stored)
{
    struct issue *x = t->data;
    struct kd_issue_done m = {
        .replayed = was_stored, .generation = x->generation, .seq = x->seq};
    kd_err err = run_inline_or_fd(kd_buf_slice(&x->signet), KD_CHAN_INLINE_MAX,
                                  &m.signet, &t->reply_fd);

    memcpy(m.core, x->core, sizeof m.core);
    memcpy(m.full, x->full, sizeof m.full);
    memcpy(m.id, x->id, sizeof m.id);
    kd_issue_done_put(&t->reply, &m);
    task_finish(v, t, err, 0);
}

static void
replayed(struct vault *v, struct task *t)
{
    if (t->err != KD_OK)
        task_finish(v, t, t->err, t->reason);
    else
        answer(v, t, true);
}

static void
committed(struct vault *v, struct task *t)
{
    struct issue *x = t->data;

    if (t->err == KD_OK) {
        v->n_issued++;
        answer(v, t, false);
    } else if (t->err == KD_CONFLICT && ++x->attempts < ATTEMPTS) {
        ask(v, t);
    } else {
        task_finish(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_LOST_RACE : 0);
    }
}

static void
signed_(struct vault *v, struct task *t)
{
    struct issue *x = t->data;
    struct kd_audit_record record;
    struct run_names names;
    int fd = -1;

    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->reason);
        return;
    }
    run_record(&record, &names, v, t, KD_AUDIT_ISSUE_USER,
               kd_policy_domain(v->conf.policy, x->domain));
    record.address = x->job.address;
    record.generation = x->generation;
    record.link_seq = x->seq;
    record.has_key = true;
    memcpy(record.key_id, x->key.octets, sizeof record.key_id);
    record.n_digests = x->n_digests;
    memcpy(record.digests, x->digests, sizeof x->digests);

    struct kd_row_issue row = {.version = 1, .core_size = x->core_size};
    memcpy(row.predecessor, x->predecessor, sizeof row.predecessor);
    memcpy(row.ssr, x->ssr_fp, sizeof row.ssr);
    memcpy(row.signing_key, x->ssr.sign_key, sizeof row.signing_key);
    memcpy(row.encryption_key, x->ssr.enc_key + 1, sizeof row.encryption_key);
    memcpy(row.core, x->core, sizeof row.core);
    memcpy(row.full, x->full, sizeof row.full);
    memcpy(row.id, x->id, sizeof row.id);
    memcpy(row.org, v->orgs[x->domain].full, sizeof row.org);
    struct kd_buf body;
    kd_buf_init(&body, KD_CHAN_INLINE_MAX);
    kd_err err = run_inline_or_fd(kd_buf_slice(&x->signet), RUN_ROW_SIGNET_MAX,
                                  &row.signet, &fd);
    kd_row_issue_put(&body, &row);
    if (err == KD_OK)
        err = body.err;
    if (err == KD_OK)
        task_commit(v, t, &record, KD_ROW_ISSUE, kd_buf_slice(&body), fd, committed);
    else {
        if (fd >= 0)
            close(fd);
        task_finish(v, t, err, 0);
    }
    kd_buf_free(&body);
}

void
run_issue_user_signet(struct vault *v, struct task *t)
{
    struct issue *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = issue_free;
    kd_buf_init(&x->info, INFO_MAX);
    kd_buf_init(&x->told, DIME_SIGNET_MAX);
    kd_buf_init(&x->signet, DIME_SIGNET_MAX);
    kd_err err = kd_issue_job_get(t->body, &x->job);
    if (err != KD_OK || x->job.mode >= ACCOUNT_MODES) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!dime_identifier_is_address(x->job.address)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return;
    }
    struct kd_slice domain = dime_identifier_domain(x->job.address);
    if (!run_allowed(v, t, domain))
        return;
    if (kd_policy_domain_find(v->conf.policy, domain, &x->domain) != KD_OK) {
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
        return;
    }
    if (!v->orgs[x->domain].verified) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_ORG_SIGNET);
        return;
    }
    task_work(v, t, check, checked);
}
