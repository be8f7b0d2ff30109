/* IssueUserSignet, the vault's half (D-080).
 *
 * Check, on a crypto thread: the request's structure, points, own signature and level
 * claim; the account system's ticket, if there is one; the profile is filtered.
 *
 * Ask the ledger: is the account open? Was this very request issued before? Are its
 * keys known? What is the head of the address's chain, and may a new one start?
 *
 * Sign, on a crypto thread: the head is ours and custody holds under it; then fields 6,
 * 253, 254, 255 at once, verified.
 *
 * Commit record and registry row in one transaction; answer.
 *
 * A lost race (the row is refused, the record stays) starts again from the question;
 * the signature that was made is wiped with the task's buffers. */
#include "account.h"
#include "made.h"

#include <dime/build.h>
#include <dime/display.h>
#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/info.h>
#include <dime/verify.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/ticket/ticket.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { ATTEMPTS = 3, INFO_MAX = DIME_FIELDS_MAX - 1024 };

struct issue {
    struct kd_issue_job job;             /* borrows from the task's body */
    size_t org;                          /* place of the domain */
    const struct kd_domain_rules *rules; /* borrowed from the task's configuration */
    struct dime_signet ssr;              /* borrows from job.ssr */
    struct kd_buf info;                  /* filtered profile */
    bool claims_eci;                     /* level 16 */
    bool has_ticket;
    struct kd_ticket ticket; /* borrows from job.ticket; signed by an account key */

    unsigned attempts;
    enum kd_told is;
    uint32_t generation, seq; /* of what the ledger told, then of what is made */
    struct kd_buf told;       /* that signet */
    bool is_first;            /* of a chain */
    bool resets;              /* of a chain that takes the place of another (D-072) */
    uint8_t predecessor[64];

    struct made made;
    uint8_t ssr_fp[64];
};

static void
issue_free(void *data)
{
    struct issue *x = data;

    kd_buf_free(&x->info);
    kd_buf_free(&x->told);
    made_free(&x->made);
    free(x);
}

/* --- check --- */

/* D-059, D-081: the highest level bit counts; what a mode may claim at most. "Extremely
 * compartmented" (16) needs an attestation by an operator beside, which the ledger
 * tells of. */
enum { LEVEL_ECI = 16, LEVELS = 31 };

static bool
level_fits(struct issue *x, const struct dime_signet *ssr, uint8_t mode)
{
    static const uint8_t allowed[KD_ACCOUNT_MODES] = {[KD_ACCOUNT_TRUSTFUL] = 0,
                                                      [KD_ACCOUNT_CAUTIOUS] = 1 | 2 | 4,
                                                      [KD_ACCOUNT_PARANOID] =
                                                          1 | 2 | 4 | 8 | LEVEL_ECI};
    struct dime_field f;

    if (dime_signet_find(ssr, DIME_USER_ALTERNATE_KEY, &f) != KD_OK)
        return true;
    x->claims_eci = f.value.n > 0 && (f.value.p[0] & LEVEL_ECI) != 0;
    return f.value.n > 0 && (f.value.p[0] & LEVELS & ~allowed[mode]) == 0;
}

/* Whether the ticket is good by itself; whether one is needed, and for what, is known
 * when the ledger has answered. */
static kd_err
check_ticket(struct task *t, struct issue *x)
{
    const struct kd_account_keys *keys = &x->rules->account_keys;

    if (x->job.ticket.n == 0)
        return KD_OK;
    if (kd_ticket_verify(x->job.ticket, keys->key, keys->n, &x->ticket) != KD_OK)
        return run_refuse(t, KD_DENIED, KD_REASON_TICKET_BAD);
    if (!kd_slice_eq(x->ticket.address, x->job.address) ||
        memcmp(x->ticket.request, x->ssr_fp, sizeof x->ssr_fp) != 0)
        return run_refuse(t, KD_DENIED, KD_REASON_TICKET_MISMATCH);
    x->has_ticket = true;
    return KD_OK;
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
    if (!level_fits(x, &x->ssr, x->job.mode)) {
        t->err = run_refuse(t, KD_INVALID, KD_REASON_LEVEL_CLAIM);
        return;
    }
    if (vault_owns_key(t->vault, x->ssr.sign_key, x->ssr.enc_key)) {
        t->err = run_refuse(t, KD_INVALID, KD_REASON_KEY_REUSED);
        return;
    }
    if ((t->err = dime_fingerprint(&x->ssr, DIME_PART_REQUEST, x->ssr_fp)) != KD_OK ||
        (t->err = check_ticket(t, x)) != KD_OK)
        return;
    t->err = run_profile(t, DIME_USER, x->job.profile, x->job.with_image != 0,
                         x->rules->profile_fields, &x->info);
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
    kd_buf_reset(&x->told);
    if (t->told_fd < 0) {
        kd_buf_put(&x->told, m->signet);
        return x->told.err;
    }
    return kd_memfd_append(t->told_fd, DIME_SIGNET_MAX, &x->told);
}

static void sign(struct task *t);
static void replay(struct task *t);
static void signed_(struct vault *v, struct task *t);
static void replayed(struct vault *v, struct task *t);

/* A step that no record could name must not be signed. */
static bool
is_usable(const struct kd_told_issue *m)
{
    bool is_step = m->generation != 0 && m->seq != 0 && m->seq != UINT32_MAX;

    return m->err == KD_OK &&
           (m->is == KD_TOLD_NONE ||
            (is_step && (m->is == KD_TOLD_STORED || m->is == KD_TOLD_HEAD)));
}

/* What starts a chain needs the account system's word where the domain says so; what
 * goes on with one has the owner's. */
static kd_err
ticket_fits(const struct issue *x, enum kd_reason *why)
{
    uint8_t tickets = x->rules->tickets;
    enum kd_ticket_purpose purpose =
        x->resets ? KD_TICKET_FOR_RESET : KD_TICKET_FOR_FIRST;
    bool is_needed =
        x->is_first && (tickets & (x->resets ? KD_TICKET_RESET : KD_TICKET_FIRST)) != 0;
    int64_t now = kd_clock_wall_ms();

    *why = KD_REASON_TICKET_NEEDED;
    if (!x->has_ticket)
        return is_needed ? KD_DENIED : KD_OK;
    *why = KD_REASON_TICKET_MISMATCH;
    if (!x->is_first || x->ticket.purpose != purpose)
        return KD_DENIED;
    *why = KD_REASON_TICKET_EXPIRED;
    return now >= 0 && (uint64_t)now < x->ticket.expires_ms ? KD_OK : KD_DENIED;
}

/* Which step this would be: the next of the chain, its first, or the first of a chain
 * that takes its place. */
static kd_err
choose_step(const struct vault *v, struct issue *x, const struct kd_account_part *a,
            enum kd_reason *why)
{
    bool custody = dime_signet_signature(&x->ssr, DIME_USER_CUSTODY) != NULL;

    x->is_first = !custody;
    x->resets = !custody && x->is == KD_TOLD_HEAD;
    if (custody && x->is == KD_TOLD_NONE) {
        *why = KD_REASON_NO_PREDECESSOR;
        return KD_INVALID;
    }
    if (x->resets && a->reset == KD_RESET_NONE) {
        *why = KD_REASON_CUSTODY_MISSING;
        return KD_INVALID;
    }
    if (x->resets && (!account_reset_is_ripe(v, a) || x->generation == UINT32_MAX)) {
        *why = KD_REASON_RESET_WAITING;
        return KD_DENIED;
    }
    if (x->claims_eci && !a->attested) {
        *why = KD_REASON_LEVEL_CLAIM;
        return KD_INVALID;
    }
    return ticket_fits(x, why);
}

/* What is answered again needs no key, so this is asked here and not before. False: the
 * task has been answered. Where there is no signer at all, sign() says why. */
static bool
signer_is_usable(struct vault *v, struct task *t, const struct issue *x)
{
    struct kd_key_id signer;

    if (vault_signer(t, x->org, &signer) != KD_OK)
        return true;
    if (!run_keys_usable(v, t, &signer, 1))
        return false;
    task_uses(v, t, &signer, 1);
    return true;
}

static void
told(struct vault *v, struct task *t)
{
    struct issue *x = t->data;
    struct kd_told_issue m;
    struct kd_account_part account;
    enum kd_reason why = KD_REASON_NONE;
    kd_err err = kd_told_issue_get(t->told, &m);

    if (err == KD_OK)
        err = account_get(m.account, &account);
    if (err != KD_OK || !is_usable(&m)) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    if (m.key_seen && memcmp(m.key_request, t->request, sizeof t->request) != 0) {
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
        return;
    }
    if (!account_is_open(v, t, &account))
        return;
    x->is = (enum kd_told)m.is;
    x->generation = m.generation;
    x->seq = m.seq;
    if (x->is != KD_TOLD_NONE && (err = keep_told(t, x, &m)) != KD_OK) {
        bool is_ours = err == KD_NOMEM;
        task_finish(v, t, is_ours ? err : KD_UNAVAILABLE,
                    is_ours ? 0 : KD_REASON_STORED_DIFFERS);
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
    if ((err = choose_step(v, x, &account, &why)) != KD_OK) {
        task_finish(v, t, err, (uint16_t)why);
        return;
    }
    if (signer_is_usable(v, t, x))
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
        !vault_signed(t->vault, x->org, out))
        return KD_UNAVAILABLE;
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
    if ((t->err = made_measure(&x->made, &stored)) != KD_OK)
        return;
    struct kd_buf swap = x->made.signet;
    x->made.signet = x->told;
    x->told = swap;
}

/* --- sign --- */

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
    struct dime_user_plan plan = {&x->ssr, kd_buf_slice(&x->info), x->job.address};
    enum dime_reason why = DIME_FINE;

    x->made.n_digests = 0; /* those of an attempt before have their record */
    if (task_is_late(t)) {
        t->err = run_refuse(t, KD_TIMEOUT, KD_REASON_TOO_LATE);
        return;
    }
    if (t->vault->token == NULL) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    if (x->is_first) {
        x->generation = x->resets ? x->generation + 1 : 1;
        x->seq = 1;
        memset(x->predecessor, 0, sizeof x->predecessor);
    } else if ((t->err = check_custody(t, x)) != KD_OK) {
        return;
    }
    t->err = vault_signer(t, x->org, &x->made.key);
    if (t->err != KD_OK) {
        kd_ignore(run_refuse(t, t->err,
                             t->err == KD_DENIED ? KD_REASON_KEY_NOT_PERMITTED
                                                 : KD_REASON_NO_SIGNING_KEY));
        return;
    }
    kd_buf_reset(&x->made.signet);
    t->err = dime_user_build(&plan, made_signer(&x->made), &x->made.signet, &why);
    if (t->err != KD_OK) {
        t->err = why != DIME_FINE && why != DIME_NOT_MADE ? run_refuse_dime(t, why)
                                                          : run_of_device(t, t->err);
        return;
    }
    t->err = made_measure_own(&x->made, DIME_USER);
}

/* --- commit and answer --- */

static void
replayed(struct vault *v, struct task *t)
{
    struct issue *x = t->data;

    if (t->err != KD_OK)
        task_finish(v, t, t->err, t->reason);
    else
        made_answer(v, &x->made, true, x->generation, x->seq);
}

static void
committed(struct vault *v, struct task *t)
{
    struct issue *x = t->data;

    if (t->err == KD_OK) {
        v->n_issued++;
        made_answer(v, &x->made, false, x->generation, x->seq);
    } else if (t->err == KD_CONFLICT && ++x->attempts < ATTEMPTS) {
        ask(v, t);
    } else {
        task_finish(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_LOST_RACE : 0);
    }
}

static void
fill_row(const struct vault *v, const struct issue *x, struct kd_row_issue *row)
{
    *row = (struct kd_row_issue){.version = 1,
                                 .core_size = x->made.core_size,
                                 .uptime = x->resets ? account_uptime(v) : 0};
    memcpy(row->predecessor, x->predecessor, sizeof row->predecessor);
    memcpy(row->ssr, x->ssr_fp, sizeof row->ssr);
    memcpy(row->signing_key, x->ssr.sign_key, sizeof row->signing_key);
    memcpy(row->encryption_key, x->ssr.enc_key + 1, sizeof row->encryption_key);
    memcpy(row->core, x->made.core, sizeof row->core);
    memcpy(row->full, x->made.full, sizeof row->full);
    memcpy(row->id, x->made.id, sizeof row->id);
    memcpy(row->org, v->orgs[x->org]->full, sizeof row->org);
}

static void
signed_(struct vault *v, struct task *t)
{
    struct issue *x = t->data;
    struct kd_audit_record record;
    struct kd_row_issue row;
    struct run_names names;
    struct kd_buf body;
    int fd = -1;

    run_record(&record, &names, v, t, KD_AUDIT_ISSUE_USER,
               vault_org_name(v->orgs[x->org]));
    record.address = x->job.address;
    record.generation = x->generation;
    record.link_seq = x->seq;
    if (x->resets)
        record.notes |= KD_NOTE_RESET;
    if (x->has_ticket)
        record.notes |= KD_NOTE_TICKET;
    if (t->err != KD_OK) {
        made_give_up(v, &x->made, &record, t->err);
        return;
    }
    made_record(&x->made, &record);
    fill_row(v, x, &row);
    kd_buf_init(&body, KD_CHAN_INLINE_MAX);
    kd_err err = kd_memfd_if_large(kd_buf_slice(&x->made.signet), RUN_ROW_SIGNET_MAX,
                                   &row.signet, &fd);
    kd_row_issue_put(&body, &row);
    if (err == KD_OK)
        err = body.err;
    if (err == KD_OK) {
        task_commit(v, t, &record, KD_ROW_ISSUE, kd_buf_slice(&body), fd, committed);
    } else {
        if (fd >= 0)
            close(fd);
        made_give_up(v, &x->made, &record, err);
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
    made_init(&x->made, t, KD_SIGN_USER_SIGNET);
    kd_err err = kd_issue_job_get(t->body, &x->job);
    if (err != KD_OK || x->job.mode >= KD_ACCOUNT_MODES) {
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
    if (vault_serves(t, domain, &x->org, &x->rules) != KD_OK) {
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
        return;
    }
    if (!kd_domain_rules_allow_mode(x->rules, x->job.mode)) {
        task_finish(v, t, KD_DENIED, KD_REASON_ACCOUNT_MODE);
        return;
    }
    if (!v->orgs[x->org]->verified) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_ORG_SIGNET);
        return;
    }
    /* Asked again when it signs; here so that who may not costs no verification. */
    struct kd_key_id signer;
    if (vault_signer(t, x->org, &signer) == KD_DENIED) {
        task_finish(v, t, KD_DENIED, KD_REASON_KEY_NOT_PERMITTED);
        return;
    }
    task_work(v, t, check, checked);
}
