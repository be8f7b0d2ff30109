#include "quorum.h"

#include <sodium.h>

/* Operations that can take a quorum and those that can be put into words are the same
 * ones. */
_Static_assert((UINT64_C(0)
#define KD_OP(number, name, classes, flags)                                            \
    | (((flags)&KD_OPF_QUORUM) != 0 ? UINT64_C(1) << (number) : 0)
#include <keyd/ops/ops.def>
#undef KD_OP
                    ) == (UINT64_C(0)
#define KD_DESCRIBER(op, function, when) | UINT64_C(1) << KD_OP_##op
#include "describers.def"
#undef KD_DESCRIBER
                              ),
               "an operation has KD_OPF_QUORUM and no describer, or the reverse");

static bool
always(const struct task *t)
{
    (void)t;
    return true;
}

static const struct describer {
    enum kd_op op;
    bool (*describe)(struct vault *v, struct task *t, struct kd_buf *text);
    bool (*counts)(const struct task *t);
} describers[] = {
#define KD_DESCRIBER(op, function, when) {KD_OP_##op, function, when},
#include "describers.def"
#undef KD_DESCRIBER
};

enum need { NEEDS_NOTHING, NEEDS_APPROVALS, NEEDS_OPEN_STORE, NEEDS_WHAT_IS_NOT };

/* Nobody was ever enrolled: a held registry can be older than its first key store. */
static bool
never_had_store(const struct vault *v)
{
    return v->store == NULL && v->aside == NULL && v->store_recorded == 0;
}

static enum need
need_of(const struct vault *v, const struct task *t)
{
    /* Who the operators are stands in the store: while it is closed nobody knows. */
    if (v->token == NULL && !(t->op == KD_OP_RegistryRestore && never_had_store(v)))
        return NEEDS_OPEN_STORE;
    switch (v->approvals.state) {
    case APPROVALS_NONE:
        /* The first operators have to come from somewhere. */
        return t->op == KD_OP_SetQuorum || t->conf->is.single_operator
                   ? NEEDS_NOTHING
                   : NEEDS_WHAT_IS_NOT;
    case APPROVALS_SET:
        return kd_quorum_marks(&v->approvals.quorum, t->op) ? NEEDS_APPROVALS
                                                            : NEEDS_NOTHING;
    case APPROVALS_BAD:
        break;
    }
    return NEEDS_WHAT_IS_NOT;
}

static const struct describer *
describer_of(enum kd_op op)
{
    for (size_t i = 0; i < sizeof describers / sizeof *describers; i++)
        if (describers[i].op == op)
            return &describers[i];
    return NULL;
}

static bool
describe(struct vault *v, struct task *t, struct kd_buf *text)
{
    const struct describer *d = describer_of(t->op);

    if (d == NULL) /* not so: asserted above */
        return describe_refuse(v, t, KD_FAILED, KD_REASON_NONE);
    return d->describe(v, t, text);
}

/* A request that takes a quorum, if anything does. */
static bool
can_take_one(const struct task *t)
{
    const struct describer *d = describer_of(t->op);

    return !task_is_internal(t) && d != NULL && d->counts(t);
}

/* The caller, who must be an operator to ask. */
static bool
find_requester(struct vault *v, struct task *t, struct kd_slice *name)
{
    size_t at;

    if (kd_policy_name(t->conf->is.policy, &t->caller, name) != KD_OK)
        return describe_refuse(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
    if (kd_operator_find(&v->approvals.quorum, *name, &at) != KD_OK)
        return describe_refuse(v, t, KD_DENIED, KD_REASON_REQUESTER_NOT_OPERATOR);
    return true;
}

/* --- waiting --- */

static void
answer_waiting(struct vault *v, struct task *t, const struct kd_pending *p)
{
    struct kd_approval_needed m = {.missing = (uint8_t)kd_pending_missing(p)};

    memcpy(m.id, p->id, sizeof m.id);
    kd_buf_reset(&t->reply);
    kd_approval_needed_put(&t->reply, &m);
    task_finish(v, t, KD_APPROVAL, KD_REASON_APPROVALS_NEEDED);
}

/* The whole text; false: the task is answered. */
static bool
write_text(struct vault *v, struct task *t, struct kd_slice requester,
           const uint8_t id[KD_APPROVAL_ID_SIZE], struct kd_moment now,
           struct kd_moment end, struct kd_buf *text)
{
    const struct approvals *a = &v->approvals;
    struct kd_approval_head head = {
        .epoch = v->chain.epoch,
        .op = t->op,
        .requester = requester,
        .made_s = (uint64_t)(now.wall_ms < 0 ? 0 : now.wall_ms) / 1000,
        .not_after_s = (uint64_t)(end.wall_ms < 0 ? 0 : end.wall_ms) / 1000,
        .k = a->quorum.k,
        .n = (unsigned)a->quorum.n,
    };

    memcpy(head.instance, v->chain.instance, sizeof head.instance);
    memcpy(head.id, id, sizeof head.id);
    memcpy(head.key, t->key, sizeof head.key);
    memcpy(head.quorum, a->digest, sizeof head.quorum);
    kd_approval_put_head(text, &head);
    if (!describe(v, t, text))
        return false;
    if (text->err != KD_OK)
        return describe_refuse(v, t, text->err, KD_REASON_NONE);
    return true;
}

static void
begin_to_wait(struct vault *v, struct task *t, const struct kd_pending_request *r,
              struct kd_moment now)
{
    int64_t life = (int64_t)t->conf->is.approval_expiry * 1000;
    struct kd_moment end = {now.boot_ms + life, now.wall_ms + life};
    uint8_t id[KD_APPROVAL_ID_SIZE];
    struct kd_pending *p;
    struct kd_buf text;

    if (kd_pending_room(&v->approvals.pendings, r->requester) != KD_OK) {
        task_finish(v, t, KD_BUSY, KD_REASON_TOO_MANY_WAIT);
        return;
    }
    randombytes_buf(id, sizeof id);
    kd_buf_init(&text, KD_APPROVAL_TEXT_MAX);
    if (write_text(v, t, r->requester, id, now, end, &text)) {
        kd_err err = kd_pending_add(&v->approvals.pendings, r, id, now, end,
                                    v->approvals.quorum.k, &text, &p);
        if (err == KD_OK)
            answer_waiting(v, t, p);
        else
            task_finish(v, t, err, 0);
    }
    kd_buf_free(&text);
}

static void
run_approved(struct vault *v, struct task *t, struct kd_pending *p)
{
    p->running = true;
    t->admission = ADMITTED_APPROVED;
    memcpy(t->approval_id, p->id, sizeof t->approval_id);
    memcpy(t->approval, p->digest, sizeof t->approval);
    t->start(v, t);
}

/* The request is new to the registry: it waits, or has waited long enough. */
static void
wait_or_run(struct vault *v, struct task *t)
{
    struct kd_pending_request r = {.op = t->op};
    struct kd_pending *p = NULL;
    struct kd_moment now = approvals_now();
    kd_err err = KD_OK;

    if (!find_requester(v, t, &r.requester))
        return;
    memcpy(r.key, t->key, sizeof r.key);
    memcpy(r.request, t->request, sizeof r.request);
    if ((kd_op_flags(t->op) & KD_OPF_SECRET) != 0)
        err = approvals_commitment(v, t, r.commitment);
    if (err != KD_OK) {
        task_finish(v, t, err, err == KD_INVALID ? KD_REASON_BAD_DESCRIPTOR : 0);
        return;
    }
    kd_pendings_expire(&v->approvals.pendings, now);
    err = kd_pending_match(&v->approvals.pendings, &r, &p);
    if (err == KD_INVALID)
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
    else if (err == KD_NOT_FOUND)
        begin_to_wait(v, t, &r, now);
    else if (p->running)
        task_finish(v, t, KD_BUSY, KD_REASON_UNDER_WAY);
    else if (kd_pending_missing(p) != 0)
        answer_waiting(v, t, p);
    else
        run_approved(v, t, p);
}

/* The operators are those that the task was held against; false: it is answered. */
static bool
same_operators(struct vault *v, struct task *t)
{
    if (t->quorum_version == v->approvals.version)
        return true;
    if (v->token != NULL)
        return describe_refuse(v, t, KD_BUSY, KD_REASON_QUORUM_CHANGED);
    run_refuse_sealed(v, t);
    return false;
}

static void
told_key(struct vault *v, struct task *t)
{
    struct kd_told_key m;

    if (kd_told_key_get(t->told, &m) != KD_OK ||
        (m.err != KD_OK && m.err != KD_NOT_FOUND)) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    } else if (!same_operators(v, t)) {
        return;
    } else if (m.err == KD_NOT_FOUND) {
        wait_or_run(v, t);
    } else if (memcmp(m.request, t->request, sizeof t->request) != 0) {
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
    } else {
        t->admission = ADMITTED_AGAIN;
        t->start(v, t);
    }
}

/* Form and policy first, so that who may not ask learns nothing else. */
static bool
is_well_asked(struct vault *v, struct task *t)
{
    struct kd_buf scratch;

    kd_buf_init(&scratch, KD_APPROVAL_TEXT_MAX);
    bool good = describe(v, t, &scratch);
    kd_buf_free(&scratch);
    return good;
}

void
quorum_start(struct vault *v, struct task *t, task_step start)
{
    struct kd_ask_key m = {.tag = t->tag};
    struct kd_slice name;
    kd_err err;

    t->start = start;
    t->quorum_version = v->approvals.version;
    enum need need = can_take_one(t) ? need_of(v, t) : NEEDS_NOTHING;
    if (need == NEEDS_NOTHING) {
        t->admission = ADMITTED_ALONE;
        start(v, t);
        return;
    }
    if (!is_well_asked(v, t))
        return;
    if (need == NEEDS_OPEN_STORE) {
        run_refuse_sealed(v, t);
    } else if (need == NEEDS_WHAT_IS_NOT) {
        task_finish(v, t, KD_DENIED, KD_REASON_NEEDS_QUORUM);
    } else if (!t->has_key) {
        task_finish(v, t, KD_MALFORMED, 0);
    } else if (!find_requester(v, t, &name)) {
        return;
    } else if ((err = run_bind(t)) != KD_OK) {
        task_finish(v, t, err, t->reason);
    } else {
        memcpy(m.key, t->key, sizeof m.key);
        kd_ask_key_put(&t->ask, &m);
        task_ask(v, t, KD_MSG_ask_key, told_key);
    }
}

bool
quorum_still_holds(struct vault *v, struct task *t)
{
    if (!can_take_one(t))
        return true;
    if (!same_operators(v, t))
        return false;
    if (t->admission == ADMITTED_ALONE || t->admission == ADMITTED_APPROVED)
        return true;
    /* It was to be answered again, and what it was to be answered with is gone. */
    return describe_refuse(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
}

void
quorum_finished(struct vault *v, const struct task *t, kd_err err, uint16_t reason)
{
    struct kd_pending *p;

    if (t->admission != ADMITTED_APPROVED ||
        (p = kd_pending_find(&v->approvals.pendings, t->approval_id)) == NULL)
        return;
    bool lost = err == KD_BUSY || (err == KD_CONFLICT && reason == KD_REASON_LOST_RACE);
    if (lost && t->quorum_version == v->approvals.version)
        p->running = false;
    else
        kd_pending_drop(p);
}

/* --- what describers share --- */

bool
describe_refuse(struct vault *v, struct task *t, kd_err err, enum kd_reason reason)
{
    task_finish(v, t, err, (uint16_t)reason);
    return false;
}

void
describe_permissions(struct kd_buf *text, unsigned permissions)
{
    static const struct {
        unsigned bit;
        const char *name;
    } all[] = {{KD_PERM_SIGNET, " users"},
               {KD_PERM_MESSAGE, " messages"},
               {KD_PERM_CERTIFICATE, " certificates"},
               {KD_PERM_SOFTWARE, " software"}};

    kd_buf_printf(text, "permissions %u", permissions);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((permissions & all[i].bit) != 0)
            kd_buf_printf(text, "%s", all[i].name);
    kd_buf_u8(text, '\n');
}

void
describe_key(struct kd_buf *text, const char *word, const struct kd_key_info *key,
             bool with_state)
{
    char kind[64];

    kd_ignore(snprintf(kind, sizeof kind, "%s %s%s%s", kd_key_role_name(key->role),
                       kd_alg_name(key->alg), with_state ? " " : "",
                       with_state ? kd_state_name(key->state) : ""));
    kd_fact_key(text, word, kd_slice(key->id.octets, sizeof key->id.octets), kind,
                kd_slice(key->public_key, key->public_size));
}

bool
describe_named_key(struct vault *v, struct task *t, const char *word,
                   const uint8_t id[16], struct kd_buf *text)
{
    struct kd_key_info info;
    struct kd_key_id key;

    memcpy(key.octets, id, sizeof key.octets);
    if (kd_token_get(v->token, &key, &info) != KD_OK)
        return describe_refuse(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_KEY);
    if (run_key_allowed(t, info.role, id) != KD_OK)
        return describe_refuse(v, t, KD_DENIED, KD_REASON_KEY_NOT_PERMITTED);
    describe_key(text, word, &info, true);
    return true;
}

bool
describe_secret(struct vault *v, struct task *t, const char *word, struct kd_buf *text)
{
    uint8_t commitment[32];
    kd_err err = approvals_commitment(v, t, commitment);

    if (err != KD_OK)
        return describe_refuse(
            v, t, err, err == KD_INVALID ? KD_REASON_BAD_DESCRIPTOR : KD_REASON_NONE);
    kd_buf_printf(text, "%s commitment ", word);
    for (size_t i = 0; i < sizeof commitment; i++)
        kd_buf_printf(text, "%02x", commitment[i]);
    kd_buf_u8(text, '\n');
    return true;
}
