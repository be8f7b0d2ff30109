#include "tokens.h"
#include "vault.h"

#include "../ops/run.h"
#include "../ops/store_change.h"

#include <keyd/base/clock.h>

#include <stdlib.h>
#include <unistd.h>

enum {
    NOTES_A_TURN = 64,
    OPEN_AGAIN_MS = 5000,
    OPEN_DEADLINE_MS = 60 * 1000,
    STARTS_MS = 5000 /* for so long a token that starts is not called away */
};

_Static_assert((int)KD_CONF_TOKENS_MAX == (int)KD_TOKENS_MAX &&
                   (int)KD_CONF_TOKEN_NAME_MAX == (int)KD_TOKEN_NAME_MAX &&
                   (int)KD_CONF_TOKEN_HOSTS == (int)P11_HOSTS_A_TOKEN &&
                   (int)KD_CONF_TOKEN_MAKER == (int)P11_MAKER &&
                   (int)KD_CONF_TOKEN_SESSIONS == (int)P11_SESSIONS_MAX,
               "configuration and pool count alike");

kd_err
tokens_start(struct vault *v)
{
    struct vault_tokens *x = &v->tokens;
    struct p11_conf conf[KD_TOKENS_MAX] = {0};

    for (size_t i = 0; i < v->conf->is.n_tokens; i++) {
        const struct kd_token_conf *from = &v->conf->is.tokens[i];
        conf[i] = (struct p11_conf){.sessions = from->sessions,
                                    .timeout_ms = from->timeout,
                                    .recycle_after = from->recycle_after,
                                    .max_memory_mib = from->max_memory,
                                    .max_message = from->max_message};
        memcpy(conf[i].name, from->name, sizeof conf[i].name);
        memcpy(x->names[i], from->name, sizeof x->names[i]);
    }
    if (v->conf->is.n_tokens == 0)
        return KD_OK;
    kd_err err = p11_new(conf, v->conf->is.n_tokens, &x->p11);
    if (err == KD_OK)
        x->n = v->conf->is.n_tokens;
    return err;
}

struct pollfd
tokens_watch(const struct vault *v)
{
    return (struct pollfd){.fd = v->tokens.n == 0 ? -1 : p11_event_fd(v->tokens.p11),
                           .events = POLLIN};
}

/* --- the supervisor --- */

static void
send_want(struct vault *v, unsigned host, enum kd_p11_want want)
{
    struct kd_ctl_p11 m = {.host = (uint8_t)host, .want = (uint8_t)want};
    struct kd_buf b;

    kd_buf_init(&b, 16);
    kd_ctl_p11_put(&b, &m);
    /* Without a supervisor the process is about to end. */
    kd_ignore(kd_chan_put_buf(&v->ctl, KD_MSG_ctl_p11, &b, -1));
    kd_buf_free(&b);
}

kd_err
tokens_link(struct vault *v, unsigned host, int fd)
{
    if (host >= P11_HOSTS_MAX || p11_host_token(host) >= v->tokens.n) {
        close(fd);
        return KD_MALFORMED;
    }
    p11_link(v->tokens.p11, host, fd);
    return KD_OK;
}

kd_err
tokens_no_pin(struct vault *v, struct kd_slice body)
{
    struct kd_ctl_no_pin m;
    kd_err err = kd_ctl_no_pin_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.host >= P11_HOSTS_MAX || p11_host_token(m.host) >= v->tokens.n)
        return KD_MALFORMED;
    p11_no_pin(v->tokens.p11, m.host, (kd_err)m.err);
    return KD_OK;
}

/* --- the key store --- */

void
tokens_attach(struct vault *v)
{
    struct vault_tokens *x = &v->tokens;

    if (x->attached == v->token)
        return;
    x->attached = v->token;
    x->openings++;
    for (size_t i = 0; i < x->n; i++) {
        kd_err err = kd_soft_attach(v->token, x->names[i], p11_device(x->p11, i));
        if (err != KD_OK)
            vault_event(v, EVENT_KEYSTORE_BAD, err, kd_soft_generation(v->token));
    }
}

void
tokens_release(struct vault *v, struct kd_token *t)
{
    struct vault_tokens *x = &v->tokens;

    if (t != NULL && t == x->attached)
        x->attached = NULL;
    if (v->tasks.n_apart == 0 || t == NULL)
        kd_token_free(t);
    else
        x->old = t; /* there is no other: none is opened before this is gone */
}

bool
tokens_is_busy(const struct vault *v)
{
    return v->tokens.old != NULL;
}

static void
free_old(struct vault *v)
{
    if (v->tokens.old == NULL || v->tasks.n_apart != 0)
        return;
    kd_token_free(v->tokens.old);
    v->tokens.old = NULL;
}

kd_err
tokens_find(const struct vault *v, struct kd_slice name, size_t *i)
{
    for (size_t k = 0; k < v->tokens.n; k++) {
        if (!kd_slice_eq(kd_slice_str(v->tokens.names[k]), name))
            continue;
        *i = k;
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

kd_err
tokens_adopted(const struct vault *v, struct kd_slice name, size_t *place,
               struct kd_store_token *out)
{
    struct kd_store_token table[KD_TOKENS_MAX];
    size_t n = v->token == NULL ? 0 : kd_soft_tokens(v->token, table);

    for (size_t i = 0; i < n; i++) {
        if (!kd_slice_eq(kd_slice_str(table[i].name), name))
            continue;
        *place = i;
        *out = table[i];
        return KD_OK;
    }
    return KD_NOT_FOUND;
}

static bool
is_at(const struct kd_held *held, size_t place)
{
    for (unsigned i = 0; i < held->n_places; i++)
        if (held->places[i].token == place)
            return true;
    return false;
}

size_t
tokens_keys(const struct vault *v, size_t place)
{
    struct kd_key_info info;
    struct kd_held held;
    size_t n = 0;

    for (size_t i = 0; v->token != NULL && kd_token_at(v->token, i, &info) == KD_OK;
         i++)
        n += info.state != KD_KEY_DESTROYED &&
             kd_token_held(v->token, &info.id, &held) == KD_OK &&
             held.holding == KD_HELD && is_at(&held, place);
    return n;
}

bool
tokens_is_refused(const struct vault *v, size_t i)
{
    struct p11_status s;

    p11_status(v->tokens.p11, i, &s);
    return s.state == P11_REFUSED;
}

enum kd_reason
tokens_why_away(const struct vault *v, const struct kd_key_id *id)
{
    struct kd_store_token table[KD_TOKENS_MAX];
    size_t i, n = v->token == NULL ? 0 : kd_soft_tokens(v->token, table);
    struct kd_held held;

    if (n == 0 || kd_token_held(v->token, id, &held) != KD_OK || held.n_places == 0)
        return KD_REASON_TOKEN_AWAY;
    for (unsigned k = 0; k < held.n_places; k++)
        if (held.places[k].token < n &&
            tokens_find(v, kd_slice_str(table[held.places[k].token].name), &i) ==
                KD_OK &&
            !tokens_is_refused(v, i))
            return KD_REASON_TOKEN_AWAY;
    return KD_REASON_TOKEN_REFUSED;
}

uint64_t
tokens_limit(const struct vault *v, size_t i)
{
    struct p11_status s;

    p11_status(v->tokens.p11, i, &s);
    return s.max_message;
}

/* --- keys sealed under tokens --- */

struct opening {
    struct kd_token *token;
};

static void
open_sealed(struct task *t)
{
    struct opening *x = t->data;

    t->err = kd_soft_open_sealed(x->token);
}

static void
opened(struct vault *v, struct task *t)
{
    struct vault_tokens *x = &v->tokens;

    x->opens_sealed = false;
    if (t->err == KD_OK)
        x->open_sealed_at = 0;
    else if (t->err != KD_SEALED && t->err != KD_UNAVAILABLE && t->err != KD_BUSY)
        vault_event(v, EVENT_SEALED_CLOSED, t->err, 0);
    task_finish(v, t, KD_OK, 0);
}

/* Whether anything is left to be opened; those that are open are usable. */
static bool
has_closed_keys(const struct vault *v)
{
    struct kd_key_info info;
    struct kd_held held;

    for (size_t i = 0; kd_token_at(v->token, i, &info) == KD_OK; i++)
        if (kd_token_held(v->token, &info.id, &held) == KD_OK &&
            held.holding == KD_SEALED_UNDER &&
            kd_token_usable(v->token, &info.id) != KD_OK)
            return true;
    return false;
}

/* A token is back that could open them; tried again as long as one is left. */
static void
open_sealed_if_due(struct vault *v)
{
    struct vault_tokens *x = &v->tokens;
    struct kd_job job = {.op = KD_OP_TokenList};
    int64_t now = kd_clock_ms();

    if (x->open_sealed_at == 0 || now < x->open_sealed_at || x->opens_sealed ||
        x->attached == NULL)
        return;
    x->open_sealed_at = now + OPEN_AGAIN_MS;
    if (!has_closed_keys(v)) {
        x->open_sealed_at = 0;
        return;
    }
    job.deadline = (uint64_t)(now + OPEN_DEADLINE_MS);
    struct task *t = task_new(v, TASK_INTERNAL, v->conf, &job, -1);
    struct opening *o = t == NULL ? NULL : calloc(1, sizeof *o);
    if (o == NULL) {
        if (t != NULL)
            task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    o->token = x->attached;
    t->data = o;
    t->data_free = free;
    x->opens_sealed = true;
    task_work_apart(v, t, TASK_ANY_DEVICE, open_sealed, opened);
}

/* --- what the pool has to say --- */

static void
store_tags(struct vault *v)
{
    struct vault_tokens *x = &v->tokens;

    for (size_t i = 0; i < x->n; i++) {
        if (!x->tags[i].is_wanted || x->tags[i].is_stored)
            continue;
        x->tags[i].is_wanted = false;
        x->tags[i].is_stored = true;
        store_change_tags(v, i, x->names[i], x->tags[i].good, x->tags[i].tried);
    }
}

void
tokens_tags_stored(struct vault *v, size_t i, kd_err err)
{
    v->tokens.tags[i].is_stored = false;
    p11_tags_stored(v->tokens.p11, i, err);
}

static void
take_event(struct vault *v, const struct p11_note *note)
{
    struct kd_slice name = kd_slice_str(v->tokens.names[note->token]);

    vault_event_about(v, (enum vault_event)note->event, name, note->a, note->b);
    if (note->event != EVENT_TOKEN_CLOSED)
        return;
    v->tokens.open_sealed_at = kd_clock_ms();
    vault_tell_lacks(v); /* what it can do is known now */
}

static void
take_note(struct vault *v, const struct p11_note *note)
{
    switch (note->say) {
    case P11_SAY_KILL:
        send_want(v, note->host, KD_P11_KILL);
        break;
    case P11_SAY_START:
        send_want(v, note->host, KD_P11_START);
        break;
    case P11_SAY_MAKER:
        send_want(v, note->host, KD_P11_MAKE);
        break;
    case P11_SAY_PIN:
        send_want(v, note->host, KD_P11_PIN);
        break;
    case P11_SAY_TAGS:
        v->tokens.tags[note->token].is_wanted = true;
        memcpy(v->tokens.tags[note->token].good, note->good, sizeof note->good);
        memcpy(v->tokens.tags[note->token].tried, note->tried, sizeof note->tried);
        break;
    case P11_SAY_EVENT:
        take_event(v, note);
        break;
    }
}

void
tokens_step(struct vault *v)
{
    struct p11_note note;

    if (v->tokens.n == 0)
        return;
    for (unsigned i = 0; i < NOTES_A_TURN && p11_next(v->tokens.p11, &note); i++)
        take_note(v, &note);
    store_tags(v);
    open_sealed_if_due(v);
    free_old(v);
}

/* --- how they are --- */

static bool
is_of_pin(enum p11_finding_code finding)
{
    return finding >= P11_PIN_MISSING && finding <= P11_PIN_UNRECORDED;
}

static uint64_t
reasons_of_state(const struct p11_status *s)
{
    switch (s->state) {
    case P11_OPEN:
    case P11_HALF:
        return kd_state_bit(KD_STATE_TOKEN_AWAY);
    case P11_STARTING:
        return kd_clock_ms() - s->since < STARTS_MS ? 0
                                                    : kd_state_bit(KD_STATE_TOKEN_AWAY);
    case P11_REFUSED:
        return kd_state_bit(is_of_pin(s->finding) ? KD_STATE_TOKEN_PIN
                                                  : KD_STATE_TOKEN_REFUSED);
    case P11_NEW:
    case P11_CLOSED:
    case P11_DRAINED:
    case P11_IDLE:
    case P11_STATES:
        break;
    }
    return 0;
}

/* One that was adopted is to be used, and one that the configuration does not have any
 * more if there are keys in it; what is wrong with others hurts nobody. in_use: places
 * of the table. */
static uint64_t
reasons_of_table(const struct vault *v, const struct kd_store_token *table, size_t n,
                 unsigned *in_use)
{
    struct p11_status s;
    uint64_t reasons = 0;
    size_t i;

    *in_use = 0;
    for (size_t place = 0; place < n; place++) {
        if (tokens_find(v, kd_slice_str(table[place].name), &i) != KD_OK) {
            if (tokens_keys(v, place) != 0)
                reasons |= kd_state_bit(KD_STATE_TOKEN_REFUSED);
            continue;
        }
        p11_status(v->tokens.p11, i, &s);
        reasons |= reasons_of_state(&s);
        if (s.state == P11_CLOSED)
            *in_use |= 1u << place;
    }
    return reasons;
}

/* A key of which no place can be used, while the token of one is in use. One that was
 * retired is not among them: nobody could make an end of it, and the doctor names it.
 */
static uint64_t
reasons_of_keys(const struct vault *v, unsigned in_use)
{
    struct kd_key_info info;
    struct kd_held held;

    for (size_t i = 0; kd_token_at(v->token, i, &info) == KD_OK; i++) {
        unsigned places = 0;
        if (info.state != KD_KEY_ACTIVE ||
            kd_token_held(v->token, &info.id, &held) != KD_OK ||
            held.holding != KD_HELD)
            continue;
        for (unsigned k = 0; k < held.n_places; k++)
            places |= 1u << held.places[k].token;
        kd_err err = kd_token_usable(v->token, &info.id);
        if (err == KD_NOT_FOUND || (err == KD_UNAVAILABLE && (places & in_use) != 0))
            return kd_state_bit(KD_STATE_TOKEN_KEY_BAD);
    }
    return 0;
}

uint64_t
tokens_reasons(const struct vault *v)
{
    struct kd_store_token table[KD_TOKENS_MAX];
    uint64_t limit, reasons;
    unsigned in_use;

    size_t n = kd_soft_tokens(v->token, table);
    if (n == 0)
        return 0;
    reasons = reasons_of_table(v, table, n, &in_use);
    reasons |= reasons_of_keys(v, in_use);
    for (size_t i = 0; i < kd_policy_n_domains(v->conf->is.policy); i++)
        if (tokens_are_unfit(v, v->conf, i, &limit))
            reasons |= kd_state_bit(KD_STATE_TOKEN_UNFIT);
    return reasons;
}

bool
tokens_are_unfit(const struct vault *v, const struct vault_conf *c, size_t domain,
                 uint64_t *limit)
{
    const struct vault_org *org = v->orgs[c->orgs[domain]];
    enum kd_key_role role = vault_mail_role(&c->is.rules[domain]);
    struct kd_held held;
    bool is_any = false;

    if (v->token == NULL || (c->wants[domain] & VAULT_WANTS_SIGNER) == 0)
        return false;
    for (size_t i = 0; i < org->n_mail_usable; i++) {
        const struct vault_usable *k = &org->mail_usable[i];
        if (k->role != role)
            continue;
        size_t most = kd_token_key_limit(v->token, &k->id);
        if (kd_token_held(v->token, &k->id, &held) != KD_OK ||
            held.holding != KD_HELD || most == 0 || most >= KD_MAIL_MESSAGE_MAX)
            return false;
        *limit = most;
        is_any = true;
    }
    return is_any;
}

/* The domain's place under the configuration in force. */
static bool
is_unfit_now(const struct vault *v, struct kd_slice domain)
{
    uint64_t limit;
    size_t i;

    return kd_policy_domain_find(v->conf->is.policy, domain, &i) == KD_OK &&
           tokens_are_unfit(v, v->conf, i, &limit);
}

bool
tokens_conf_is_unfit(const struct vault *v, const struct vault_conf *c,
                     struct kd_slice *domain, uint64_t *limit)
{
    for (size_t i = 0; i < kd_policy_n_domains(c->is.policy); i++) {
        if (!tokens_are_unfit(v, c, i, limit))
            continue;
        *domain = kd_policy_domain(c->is.policy, i);
        if (!is_unfit_now(v, *domain))
            return true;
    }
    return false;
}
