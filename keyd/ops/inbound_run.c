/* OpenEnvelope, OpenBounce and MakeBounce, the vault's halves (D-086 to D-089;
 * open-design 5).
 *
 * Before any key: which of our signets the sender named, 576 if it is none; then the
 * meter of strangers. On a crypto thread: the origin's signet holds and is the one that
 * was named; then the walker. What OpenEnvelope finds is asked of the ledger: whose
 * signet is it? After a failure that is asked about nobody. Commit; answer. */
#include "mail.h"

#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/verify.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <stdlib.h>
#include <time.h>

struct inbound {
    struct kd_inbound_job job; /* borrows from the task's body */
    struct mail_place place;
    struct mail_object object;
    struct vault_opener opener;
    struct kd_key_id signer; /* MakeBounce */
    struct kd_key_id openers[MAIL_OPENERS_MAX];
    size_t n_openers;

    bool key_used;
    union {
        struct mail_opened opened;
        struct mail_bounce bounce;
        struct mail_made_bounce made;
    } out;
    struct kd_buf octets; /* the bounce that was made */
    kd_err result;
    uint16_t reason;
    struct mail_recipient recipient;
    task_step answer;
};

static void
inbound_free(void *data)
{
    struct inbound *x = data;

    kd_secret_wipe(&x->out, sizeof x->out);
    if (x->octets.p != NULL)
        kd_secret_wipe(x->octets.p, x->octets.cap);
    kd_buf_free(&x->octets);
    mail_object_free(&x->object);
    free(x);
}

/* --- before any key --- */

/* The first octets of the origin's signet. */
static kd_err
signet_head(const struct task *t, const struct inbound *x,
            uint8_t head[MAIL_SIGNET_HEAD], struct kd_slice *out)
{
    const struct mail_object *o = &x->object;
    size_t n = o->signet_size < MAIL_SIGNET_HEAD ? o->signet_size : MAIL_SIGNET_HEAD;

    *out = o->signet_size == 0 ? o->signet : kd_slice(head, n);
    return n == 0 ? KD_OK : kd_memfd_read(t->fd, (size_t)o->source.n, head, n);
}

/* What a returned part costs, too: each of our openers and, under each, our signers. */
static size_t
keys_of_ours(const struct vault *v, const struct inbound *x)
{
    const uint8_t(*unused)[DIME_ED25519_KEY_SIZE];

    return x->n_openers * vault_mail_keys(v, x->place.org, &unused);
}

/* An upper bound of what will be done: looking closer would cost what the meter is
 * there to save. A signet is hashed five times for its signatures and fingerprints. */
static kd_err
cost_of(const struct vault *v, const struct task *t, const struct inbound *x,
        unsigned *out)
{
    enum { PER_KEY = 3 /* 255, 248 and 249 */, SIGNET_HASHED = 5, MIB = 1 << 20 };
    uint8_t head[MAIL_SIGNET_HEAD];
    struct kd_slice signet;
    kd_err err = signet_head(t, x, head, &signet);

    if (err != KD_OK)
        return err;
    size_t readings =
        PER_KEY * mail_keys_at_most(signet, x->object.source.n) + keys_of_ours(v, x);
    *out = origins_cost(readings, x->object.source.n) +
           (unsigned)(SIGNET_HASHED * x->object.signet_size / MIB);
    return KD_OK;
}

static bool
is_within_meter(struct vault *v, struct task *t, struct inbound *x)
{
    const struct kd_limits *limits = &t->conf->is.limits;
    const struct origins_rates rates = {limits->origin_rate, limits->stranger_rate};
    kd_err err = cost_of(v, t, x, &x->object.cost);

    if (err != KD_OK) {
        task_finish(v, t, err, 0);
        return false;
    }
    err = origins_take(&v->origins, &rates, x->job.origin, x->object.cost,
                       kd_clock_ns(), &t->retry_ms);
    if (err == KD_OK)
        return true;
    task_finish(v, t, err, KD_REASON_ORIGIN_OVER_RATE);
    return false;
}

/* --- on a crypto thread --- */

/* The signet that was named with the origin: it holds, says it is that domain's, and
 * has the fingerprint. Whether it is the domain's in truth, the caller has to know. */
static kd_err
origin_signet(struct task *t, struct inbound *x, struct dime_signet *out,
              uint8_t core[MAIL_FP_SIZE])
{
    uint8_t full[DIME_FINGERPRINT_SIZE];
    struct dime_verdict verdict;
    enum dime_reason why;
    struct kd_slice octets;
    kd_err err = mail_object_signet(t, &x->object, &octets);

    if (err != KD_OK)
        return err;
    if (dime_signet_parse_as(DIME_ORG, octets, out, &why) != KD_OK ||
        out->part != DIME_PART_IDENTIFIED ||
        !kd_slice_eq(out->identifier, x->job.origin) ||
        dime_fingerprint(out, DIME_PART_FULL, full) != KD_OK ||
        dime_fingerprint(out, DIME_PART_CORE, core) != KD_OK ||
        memcmp(full, x->job.origin_fp, sizeof full) != 0 ||
        dime_org_verify(out, NULL, 0, &verdict) != KD_OK)
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_ORIGIN_SIGNET);
    return KD_OK;
}

struct from {
    struct dime_signet signet;
    uint8_t core[MAIL_FP_SIZE];
    struct mail_keys keys;
    struct mail_inbound inbound;
};

static kd_err
begin(struct task *t, struct inbound *x, struct from *f)
{
    kd_err err = mail_keys_of(t, &x->opener.id, &x->signer, &f->keys);

    if (err != KD_OK || (err = origin_signet(t, x, &f->signet, f->core)) != KD_OK)
        return err;
    f->inbound = (struct mail_inbound){.origin = x->job.origin,
                                       .signet = &f->signet,
                                       .origin_core = f->core,
                                       .origin_full = x->job.origin_fp,
                                       .max = KD_MAIL_MESSAGE_MAX};
    return KD_OK;
}

/* What opened it, if anything was opened: one key, or those of a bounce. */
static struct mail_derived
derived(const struct inbound *x)
{
    if (!x->key_used)
        return (struct mail_derived){NULL, 0};
    return x->n_openers != 0 ? (struct mail_derived){x->openers, x->n_openers}
                             : (struct mail_derived){&x->opener.id, 1};
}

static void
open_envelope(struct task *t)
{
    struct inbound *x = t->data;
    struct mail_opened *out = &x->out.opened;
    struct from f;

    if ((t->err = begin(t, x, &f)) != KD_OK)
        return;
    kd_err err = mail_open_inbound(&f.keys, &x->object.source, &f.inbound, out);
    x->key_used = out->key_used;
    t->err = mail_result(t, err, out->flaw, derived(x));
}

static void
open_bounce(struct task *t)
{
    struct inbound *x = t->data;
    struct mail_bounce *out = &x->out.bounce;
    struct mail_bounced in;
    struct from f;

    if ((t->err = begin(t, x, &f)) != KD_OK)
        return;
    in = (struct mail_bounced){
        .from = f.inbound, .openers = x->openers, .n_openers = x->n_openers};
    in.n_signers = vault_mail_keys(t->vault, x->place.org, &in.signers);
    kd_err err = mail_open_bounce(&f.keys, &x->object.source, &in, out);
    x->key_used = out->key_used;
    t->err = mail_result(t, err, out->flaw, derived(x));
}

static void
make_bounce(struct task *t)
{
    struct inbound *x = t->data;
    struct mail_made_bounce *out = &x->out.made;
    struct from f;

    if ((t->err = begin(t, x, &f)) != KD_OK)
        return;
    const struct mail_to_bounce in = {.from = f.inbound,
                                      .domain = x->place.domain,
                                      .part = (enum dime_return)x->job.part,
                                      .klass = x->job.klass,
                                      .subject = x->job.subject,
                                      .detail = x->job.detail,
                                      .time = kd_clock_wall_ms() / 1000};
    kd_err err = mail_make_bounce(&f.keys, &x->object.source, &in, out, &x->octets);
    x->key_used = out->opened.key_used;
    if (out->opened.flaw == DIME_FLAW_NONE &&
        (err == KD_NOT_FOUND || err == KD_TOO_LARGE))
        t->err = run_refuse(t, KD_NOT_FOUND, KD_REASON_NOTHING_TO_RETURN);
    else
        t->err = mail_result(t, err, out->opened.flaw, derived(x));
}

/* --- record and answer --- */

static void
committed(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;

    if (t->err != KD_OK)
        task_finish(v, t, t->err, 0);
    else if (x->result != KD_OK)
        task_finish(v, t, x->result, x->reason);
    else
        x->answer(v, t);
}

/* Nothing was used: nothing to record. */
static bool
is_over(struct vault *v, struct task *t, struct inbound *x)
{
    x->result = t->err;
    x->reason = t->reason;
    if (x->key_used)
        return false;
    task_finish(v, t, t->err, t->reason);
    return true;
}

static void
commit(struct vault *v, struct task *t, enum kd_audit_op op, const uint8_t *digests,
       unsigned n)
{
    struct inbound *x = t->data;
    const struct mail_use use = {
        .op = op,
        .key = op == KD_AUDIT_MAKE_BOUNCE && x->result == KD_OK ? &x->signer
                                                                : &x->opener.id,
        .n_digests = n,
        .digests = digests,
        .notes = x->opener.superseded_ms != 0 ? (unsigned)KD_NOTE_RETAINED_KEY : 0u};

    if (x->result == KD_OK)
        origins_passed(&v->origins, x->job.origin, kd_clock_ns());
    mail_commit(v, t, &x->place, &use, x->result, committed);
}

/* OpenEnvelope's answer: 586 and 510 name nobody. */
static void
answer_envelope(struct vault *v, struct task *t)
{
    enum { CURRENT = 1, STALE, UNKNOWN, ELSEWHERE, NONE = 0, GOOD = 1, BAD };
    struct inbound *x = t->data;
    const struct mail_opened *o = &x->out.opened;
    struct kd_slice address = kd_slice(o->address, o->address_n);
    struct kd_open_envelope_done done = {
        .verdict = ELSEWHERE,
        .metadata = o->metadata == DIME_VERDICT_GOOD  ? GOOD
                    : o->metadata == DIME_VERDICT_BAD ? BAD
                                                      : NONE,
        .display = o->display == DIME_VERDICT_GOOD  ? GOOD
                   : o->display == DIME_VERDICT_BAD ? BAD
                                                    : NONE};

    if (kd_slice_eq(dime_identifier_domain(address), x->place.domain))
        done.verdict = (uint8_t)mail_recipient_standing(
            &x->recipient, x->place.rules->recipient_stale, kd_clock_wall_ms());
    if (done.verdict == CURRENT || done.verdict == STALE) {
        done.recipient = address;
        done.recipient_fp = kd_slice(o->address_fp, sizeof o->address_fp);
    }
    kd_open_envelope_done_put(&t->reply, &done);
    task_finish(v, t, t->reply.err, 0);
}

static void
recipient_told(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;
    kd_err err = t->err == KD_OK ? mail_told_recipient(t, &x->recipient) : t->err;

    if (err != KD_OK && x->result == KD_OK) {
        x->result = err;
        x->reason = t->reason;
    }
    commit(v, t, KD_AUDIT_OPEN_ENVELOPE, x->out.opened.digest, 1);
}

static void
envelope_opened(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;
    const struct mail_opened *o = &x->out.opened;

    if (is_over(v, t, x))
        return;
    t->owes_record = true;
    mail_ask_recipient(v, t, kd_slice(o->address, o->address_n), o->address_fp,
                       recipient_told);
}

static void
answer_bounce(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;
    const struct mail_bounce *b = &x->out.bounce;
    struct kd_open_bounce_done done = {.author = kd_slice(b->author, b->author_n),
                                       .part = (uint8_t)b->part,
                                       .klass = (uint8_t)b->klass,
                                       .subject = b->subject,
                                       .detail = b->detail,
                                       .time = (uint64_t)b->time};

    memcpy(done.author_fp, b->author_fp, sizeof done.author_fp);
    memcpy(done.message, b->message, sizeof done.message);
    kd_open_bounce_done_put(&t->reply, &done);
    task_finish(v, t, t->reply.err, 0);
}

static void
bounce_opened(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;

    if (!is_over(v, t, x))
        commit(v, t, KD_AUDIT_OPEN_BOUNCE, x->out.bounce.digest, 1);
}

static void
answer_made(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;
    struct kd_make_bounce_done done = {.bounce = kd_slice(NULL, 0)};
    kd_err err = kd_memfd_if_large(kd_buf_slice(&x->octets), KD_CHAN_INLINE_MAX,
                                   &done.bounce, &t->reply_fd);

    kd_make_bounce_done_put(&t->reply, &done);
    task_finish(v, t, err == KD_OK ? t->reply.err : err, 0);
}

static void
bounce_made(struct vault *v, struct task *t)
{
    struct inbound *x = t->data;
    const struct mail_made_bounce *m = &x->out.made;
    bool is_done = t->err == KD_OK;

    if (!is_over(v, t, x))
        commit(v, t, KD_AUDIT_MAKE_BOUNCE, is_done ? m->digests[0] : m->opened.digest,
               is_done ? 2 : 1);
}

/* --- start --- */

static struct inbound *
take(struct vault *v, struct task *t, task_step answer)
{
    struct inbound *x = calloc(1, sizeof *x);

    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return NULL;
    }
    t->data = x;
    t->data_free = inbound_free;
    x->answer = answer;
    kd_buf_init(&x->octets, KD_MAIL_BOUNCE_MAX);
    if (kd_inbound_job_get(t->body, &x->job) != KD_OK ||
        x->job.part >= DIME_RETURN_COUNT) {
        task_finish(v, t, KD_MALFORMED, 0);
        return NULL;
    }
    if (!dime_identifier_is_domain(x->job.origin) ||
        !dime_identifier_is_domain(x->job.domain)) {
        task_finish(v, t, KD_INVALID, KD_REASON_DIME + DIME_IDENTIFIER_FORM);
        return NULL;
    }
    if (!mail_place_find(v, t, x->job.domain, &x->place) ||
        !mail_opener(v, t, &x->place, kd_slice(x->job.domain_fp, MAIL_FP_SIZE),
                     &x->opener) ||
        !mail_object_take(v, t, x->job.message, x->job.size, x->job.origin_signet, true,
                          &x->object))
        return NULL;
    return x;
}

void
run_open_envelope(struct vault *v, struct task *t)
{
    struct inbound *x = take(v, t, answer_envelope);

    if (x != NULL && mail_may_use(v, t, &x->opener.id, 1, NULL, 0) &&
        is_within_meter(v, t, x))
        mail_work(v, t, &x->object, open_envelope, envelope_opened);
}

void
run_open_bounce(struct vault *v, struct task *t)
{
    struct vault_opener beside[MAIL_OPENERS_MAX - 1];
    struct inbound *x = take(v, t, answer_bounce);

    if (x == NULL)
        return;
    size_t n =
        vault_openers_beside(t, x->place.org, &x->opener, beside, MAIL_OPENERS_MAX - 1);
    x->openers[x->n_openers++] = x->opener.id;
    for (size_t i = 0; i < n; i++)
        x->openers[x->n_openers++] = beside[i].id;
    if (mail_may_use(v, t, x->openers, x->n_openers, NULL, 0) &&
        is_within_meter(v, t, x))
        mail_work(v, t, &x->object, open_bounce, bounce_opened);
}

void
run_make_bounce(struct vault *v, struct task *t)
{
    enum { AROUND = 65536 };
    struct inbound *x = take(v, t, answer_made);

    if (x == NULL || !mail_signer(v, t, &x->place, &x->signer))
        return;
    const struct kd_key_id both[] = {x->opener.id, x->signer};
    uint64_t size = x->object.source.n + AROUND; /* no bounce of it is larger */
    if (size > KD_MAIL_BOUNCE_MAX)
        size = KD_MAIL_BOUNCE_MAX;
    if (mail_may_use(v, t, both, 2, &x->signer, size) && is_within_meter(v, t, x))
        mail_work(v, t, &x->object, make_bounce, bounce_made);
}
