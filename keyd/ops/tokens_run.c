/* TokenList, TokenAdopt, AttachKey: the vault's halves. */
#include "quorum.h"
#include "store_change.h"

#include <keyd/base/clock.h>

#include <stdlib.h>

/* --- as clients see one --- */

static uint8_t
state_of(enum p11_state state)
{
    static const uint8_t states[P11_STATES] = {
        [P11_NEW] = 1,  [P11_STARTING] = 2, [P11_CLOSED] = 3,  [P11_OPEN] = 4,
        [P11_HALF] = 5, [P11_DRAINED] = 6,  [P11_REFUSED] = 7, [P11_IDLE] = 8};

    return states[state];
}

static void
put_line(const struct vault *v, size_t i, struct kd_buf *lines)
{
    struct kd_slice name = kd_slice_str(v->tokens.names[i]);
    struct kd_store_token adopted = {0};
    struct p11_status s;
    struct kd_buf one;
    size_t place = 0;
    int64_t now = kd_clock_ms();

    p11_status(v->tokens.p11, i, &s);
    bool is_adopted = tokens_adopted(v, name, &place, &adopted) == KD_OK;
    struct kd_token_line m = {
        .name = name,
        .state = state_of(s.state),
        .state_ms = now > s.since ? (uint64_t)(now - s.since) : 0,
        .finding = (uint8_t)s.finding,
        .rv = s.rv,
        .label = kd_slice_str(s.label),
        .serial = kd_slice_str(s.serial),
        .model = kd_slice_str(s.model),
        .manufacturer = kd_slice_str(s.manufacturer),
        .adopted = is_adopted,
        .adopted_serial = kd_slice_str(adopted.serial),
        .hosts = (uint8_t)s.hosts,
        .keys = (uint16_t)(is_adopted ? tokens_keys(v, place) : 0),
        .mechanisms = s.mechanisms,
        .max_message = s.max_message,
        .n_signed = s.signed_,
        .n_derived = s.derived,
        .n_faults = s.faults,
        .n_recycled = s.recycled,
        .n_away = s.opened,
    };
    kd_buf_init(&one, 512);
    kd_token_line_put(&one, &m);
    kd_list_put(lines, kd_buf_slice(&one));
    kd_buf_join(lines, &one);
    kd_buf_free(&one);
}

/* Tokens from first to last, this one not. */
static kd_err
reply_tokens(struct vault *v, struct task *t, size_t first, size_t last)
{
    struct kd_tokens_done m;
    struct kd_buf lines;

    kd_buf_init(&lines, 2048);
    for (size_t i = first; i < last; i++)
        put_line(v, i, &lines);
    m.tokens = kd_buf_slice(&lines);
    kd_tokens_done_put(&t->reply, &m);
    kd_buf_join(&t->reply, &lines);
    kd_buf_free(&lines);
    return t->reply.err;
}

void
run_token_list(struct vault *v, struct task *t)
{
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (t->body.n != 0)
        task_finish(v, t, KD_MALFORMED, 0);
    else
        task_finish(v, t, reply_tokens(v, t, 0, v->tokens.n), 0);
}

/* --- adopt --- */

struct adopting {
    struct kd_token_job job;
    size_t i;
    struct p11_status is;
};

/* Under another name that is in use. */
static bool
has_other_name(const struct vault *v, const struct adopting *x)
{
    struct kd_store_token table[KD_TOKENS_MAX];
    size_t i, n = v->token == NULL ? 0 : kd_soft_tokens(v->token, table);

    for (size_t place = 0; place < n; place++) {
        struct kd_slice name = kd_slice_str(table[place].name);
        if (!kd_slice_eq(name, x->job.name) &&
            strcmp(table[place].serial, x->is.serial) == 0 &&
            strcmp(table[place].model, x->is.model) == 0 &&
            (tokens_find(v, name, &i) == KD_OK || tokens_keys(v, place) != 0))
            return true;
    }
    return false;
}

/* What is found under the name is the one that is meant, and may be taken. False: the
 * task has been answered. */
static bool
may_adopt(struct vault *v, struct task *t, struct adopting *x)
{
    struct kd_store_token adopted;
    size_t place;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return false;
    if (tokens_find(v, x->job.name, &x->i) != KD_OK)
        return describe_refuse(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN);
    p11_status(v->tokens.p11, x->i, &x->is);
    bool is_seen = x->is.serial[0] != '\0' || x->is.model[0] != '\0';
    if (x->is.state == P11_REFUSED && !is_seen)
        return describe_refuse(v, t, KD_UNAVAILABLE, KD_REASON_TOKEN_REFUSED);
    if (x->is.state == P11_OPEN || x->is.state == P11_STARTING || !is_seen)
        return describe_refuse(v, t, KD_UNAVAILABLE, KD_REASON_TOKEN_AWAY);
    if (!kd_slice_eq(x->job.serial, kd_slice_str(x->is.serial)))
        return describe_refuse(v, t, KD_CONFLICT, KD_REASON_TOKEN_OTHER);
    if (tokens_adopted(v, x->job.name, &place, &adopted) == KD_OK &&
        (tokens_keys(v, place) != 0 || (strcmp(adopted.serial, x->is.serial) == 0 &&
                                        strcmp(adopted.model, x->is.model) == 0)))
        return describe_refuse(v, t, KD_CONFLICT, KD_REASON_TOKEN_ADOPTED);
    if (has_other_name(v, x))
        return describe_refuse(v, t, KD_CONFLICT, KD_REASON_TOKEN_OTHER_NAME);
    return true;
}

static kd_err
adopt_change(struct task *t, struct store_change *c)
{
    kd_err err =
        kd_soft_adopt(c->token, c->device.name, c->device.serial, c->device.model);

    return err == KD_CONFLICT ? run_refuse(t, err, KD_REASON_TOKEN_ADOPTED) : err;
}

static void
reply_adopted(struct vault *v, struct task *t, struct store_change *c)
{
    vault_event_about(v, EVENT_TOKEN_ADOPTED, kd_slice_str(c->device.name), 0, 0);
    /* Without room for it the answer is "unknown", which is what t->reply makes. */
    kd_ignore(reply_tokens(v, t, c->device.i, c->device.i + 1));
}

bool
describe_token_adopt(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct adopting x;

    if (kd_token_job_get(t->body, &x.job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!may_adopt(v, t, &x))
        return false;
    kd_fact_name(text, "token", x.job.name);
    kd_fact_value(text, "serial", kd_slice_str(x.is.serial));
    kd_fact_value(text, "model", kd_slice_str(x.is.model));
    kd_fact_value(text, "manufacturer", kd_slice_str(x.is.manufacturer));
    return true;
}

/* What is done again is answered from the configuration alone: the token may be in use
 * by now. */
static void
adopt_fresh(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;
    struct adopting x = {.job = c->job.token};

    if (!may_adopt(v, t, &x))
        return;
    memcpy(c->device.serial, x.is.serial, sizeof c->device.serial);
    memcpy(c->device.model, x.is.model, sizeof c->device.model);
    store_change_go(v, t);
}

void
run_token_adopt(struct vault *v, struct task *t)
{
    struct store_change *c;

    if (!run_allowed(v, t, kd_slice(NULL, 0)) || (c = store_change_new(v, t)) == NULL)
        return;
    if (kd_token_job_get(t->body, &c->job.token) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (tokens_find(v, c->job.token.name, &c->device.i) != KD_OK) {
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN);
        return;
    }
    memcpy(c->device.name, v->tokens.names[c->device.i], sizeof c->device.name);
    c->audit = KD_AUDIT_ADOPT_TOKEN;
    c->detail = kd_slice_str(c->device.name);
    c->fresh = adopt_fresh;
    c->change = adopt_change;
    c->reply = reply_adopted;
    store_change_start(v, t);
}

/* --- attach --- */

struct attaching {
    struct kd_attach_job job;
    struct kd_key_id id;
    struct kd_key_info info;
    size_t i, place;
};

/* A key of one token, and another one. False: the task has been answered. */
static bool
may_attach(struct vault *v, struct task *t, struct attaching *x)
{
    struct kd_store_token adopted;
    struct kd_held held;

    memcpy(x->id.octets, x->job.id, sizeof x->id.octets);
    if (!run_named_key(v, t, &x->id, &x->info))
        return false;
    if (tokens_find(v, x->job.token, &x->i) != KD_OK)
        return describe_refuse(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN);
    if (tokens_adopted(v, x->job.token, &x->place, &adopted) != KD_OK)
        return describe_refuse(v, t, KD_CONFLICT, KD_REASON_TOKEN_NOT_ADOPTED);
    if (kd_token_held(v->token, &x->id, &held) != KD_OK || held.holding != KD_HELD ||
        held.n_places >= KD_PLACES_MAX || held.places[0].token == x->place)
        return describe_refuse(v, t, KD_CONFLICT, KD_REASON_KEY_PLACES);
    return true;
}

/* Looked for by its public key: the token's own id of it is not known. */
static kd_err
attach_prepare(struct task *t, struct store_change *c)
{
    struct kd_device *d = p11_device(c->vault->tokens.p11, c->device.i);
    kd_err err = d->ops->look(d, c->device.alg,
                              kd_slice(c->device.public_key, c->device.public_size),
                              &c->device.place, &c->device.flags);

    if (err == KD_NOT_FOUND || err == KD_INVALID || err == KD_DENIED)
        return run_refuse(t, KD_NOT_FOUND, KD_REASON_KEY_NOT_THERE);
    return run_of_device(t, err);
}

static kd_err
attach_change(struct task *t, struct store_change *c)
{
    kd_err err = kd_soft_add_place(c->token, &c->keys[0], c->device.name,
                                   &c->device.place, c->device.flags);

    if (err == KD_NOT_FOUND)
        return run_refuse(t, err, KD_REASON_NO_SUCH_KEY);
    if (err == KD_CONFLICT || err == KD_BUSY || err == KD_UNSUPPORTED ||
        err == KD_INVALID)
        return run_refuse(t, KD_CONFLICT, KD_REASON_KEY_PLACES);
    return err;
}

bool
describe_attach_key(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct attaching x;

    if (kd_attach_job_get(t->body, &x.job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (!may_attach(v, t, &x))
        return false;
    describe_key(text, "key", &x.info, true);
    kd_fact_name(text, "domain", kd_slice(x.info.domain, x.info.domain_size));
    kd_fact_name(text, "token", x.job.token);
    return true;
}

static void
attach_fresh(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;
    struct attaching x = {.job = c->job.attach};

    if (!may_attach(v, t, &x))
        return;
    c->device.i = x.i;
    memcpy(c->device.name, v->tokens.names[x.i], sizeof c->device.name);
    c->detail = kd_slice_str(c->device.name);
    c->device.alg = x.info.alg;
    c->device.public_size = x.info.public_size;
    memcpy(c->device.public_key, x.info.public_key, x.info.public_size);
    c->devices = 1u << x.place;
    store_change_go(v, t);
}

void
run_attach_key(struct vault *v, struct task *t)
{
    struct store_change *c = store_change_new(v, t);
    struct kd_key_info info;

    if (c == NULL)
        return;
    if (kd_attach_job_get(t->body, &c->job.attach) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_ATTACH_KEY;
    c->fresh = attach_fresh;
    c->prepare = attach_prepare;
    c->change = attach_change;
    c->reply = reply_keys;
    c->n_keys = 1;
    memcpy(c->keys[0].octets, c->job.attach.id, sizeof c->keys[0].octets);
    if (run_named_key(v, t, &c->keys[0], &info))
        store_change_start(v, t);
}
