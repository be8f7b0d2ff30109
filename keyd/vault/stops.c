#include "stops.h"
#include "vault.h"

#include <stdio.h>

static struct kd_slice
name_of(const struct vault_stop *s)
{
    return kd_slice(s->name, s->name_size);
}

static bool
in_force(const struct vault_stop *s)
{
    return s->recorded || s->n_tasks != 0;
}

static const struct vault_stop *
find(const struct vault *v, unsigned klass, struct kd_slice name)
{
    for (size_t i = 0; i < v->stops.n; i++) {
        const struct vault_stop *s = &v->stops.list[i];
        if (s->klass == klass && kd_slice_eq(name_of(s), name))
            return s;
    }
    return NULL;
}

static struct vault_stop *
entry_of(struct vault *v, unsigned klass, struct kd_slice name)
{
    const struct vault_stop *s = find(v, klass, name);

    return s == NULL ? NULL : &v->stops.list[s - v->stops.list];
}

/* The entry, new if need be; NULL if the list is full. */
static struct vault_stop *
entry_make(struct vault *v, unsigned klass, struct kd_slice name)
{
    struct vault_stop *s = entry_of(v, klass, name);

    if (s != NULL || v->stops.n == KD_STOPPED_MAX || name.n > sizeof s->name)
        return s;
    s = &v->stops.list[v->stops.n++];
    *s = (struct vault_stop){.klass = (uint8_t)klass, .name_size = (uint8_t)name.n};
    memcpy(s->name, name.p, name.n);
    return s;
}

/* Takes the entry off the list if nothing holds it there. */
static void
settle(struct vault *v, struct vault_stop *s)
{
    if (s != NULL && !in_force(s))
        *s = v->stops.list[--v->stops.n];
}

static bool
is_stopped_under(const struct vault *v, const struct vault_conf *conf,
                 const struct kd_caller *caller)
{
    struct kd_slice name;

    return kd_policy_name(conf->is.policy, caller, &name) == KD_OK &&
           find(v, caller->klass, name) != NULL;
}

bool
stops_has(const struct vault *v, const struct vault_conf *conf,
          const struct kd_caller *caller)
{
    return v->stops.n != 0 &&
           (is_stopped_under(v, conf, caller) ||
            (conf != v->conf && is_stopped_under(v, v->conf, caller)));
}

kd_err
stops_load(struct vault *v, struct kd_slice list)
{
    struct kd_cur c = kd_cur(list);
    enum kd_class klass;

    while (kd_cur_left(&c) != 0) {
        struct kd_slice text = kd_list_next(&c);
        const uint8_t *colon = text.n == 0 ? NULL : memchr(text.p, ':', text.n);
        size_t n = colon == NULL ? 0 : (size_t)(colon - text.p);
        if (c.err != KD_OK || colon == NULL ||
            !kd_class_find(kd_slice(text.p, n), &klass) ||
            !kd_principal_name_is_valid(kd_slice(colon + 1, text.n - n - 1)))
            return KD_MALFORMED;
        struct vault_stop *s =
            entry_make(v, klass, kd_slice(colon + 1, text.n - n - 1));
        if (s == NULL)
            return KD_MALFORMED; /* more than a vault ever records */
        s->recorded = true;
    }
    return KD_OK;
}

unsigned
stops_class_of(const struct vault *v, struct kd_slice name)
{
    for (size_t i = 0; i < v->stops.n; i++)
        if (kd_slice_eq(name_of(&v->stops.list[i]), name))
            return v->stops.list[i].klass;
    return KD_CLASS_COUNT;
}

bool
stops_is_recorded(const struct vault *v, unsigned klass, struct kd_slice name)
{
    const struct vault_stop *s = find(v, klass, name);

    return s != NULL && s->recorded;
}

kd_err
stops_hold(struct vault *v, unsigned klass, struct kd_slice name)
{
    struct vault_stop *s = entry_make(v, klass, name);

    if (s == NULL)
        return KD_TOO_LARGE;
    s->n_tasks++; /* there are at most TASKS_MAX tasks */
    return KD_OK;
}

void
stops_let_go(struct vault *v, unsigned klass, struct kd_slice name)
{
    struct vault_stop *s = entry_of(v, klass, name);

    if (s == NULL)
        return;
    s->n_tasks--;
    if (in_force(s))
        return;
    settle(v, s);
    stops_tell(v, klass); /* it came to nothing */
}

void
stops_recorded(struct vault *v, unsigned klass, struct kd_slice name, bool stopped)
{
    struct vault_stop *s = entry_of(v, klass, name);

    if (s == NULL)
        return;
    s->recorded = stopped;
    settle(v, s);
}

void
stops_put(const struct vault *v, struct kd_buf *out)
{
    char text[64];

    for (size_t i = 0; i < v->stops.n; i++) {
        const struct vault_stop *s = &v->stops.list[i];
        int n = snprintf(text, sizeof text, "%s:%.*s", kd_class_name(s->klass),
                         (int)s->name_size, (const char *)s->name);
        kd_list_put(out, kd_slice(text, (size_t)n));
    }
}

/* --- gates --- */

static void
send_list(struct vault *v, unsigned gate)
{
    struct vault_gate *g = &v->gates[gate];
    struct kd_gate_stopped m = {.serial = v->stops.serial};
    struct kd_buf names, body;

    if (g->link.chan.fd < 0)
        return;
    kd_buf_init(&names, 16384);
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    for (size_t i = 0; i < v->stops.n; i++)
        if (v->stops.list[i].klass == g->klass)
            kd_list_put(&names, name_of(&v->stops.list[i]));
    m.names = kd_buf_slice(&names);
    kd_gate_stopped_put(&body, &m);
    /* A gate that cannot be told must not go on: it is given a new channel. */
    if (names.err != KD_OK || body.err != KD_OK ||
        kd_chan_put_buf(&g->link.chan, KD_MSG_gate_stopped, &body, -1) != KD_OK)
        kd_chan_close(&g->link.chan);
    kd_buf_free(&names);
    kd_buf_free(&body);
}

void
stops_tell(struct vault *v, unsigned klass)
{
    v->stops.serial++;
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        if (klass == KD_CLASS_COUNT || v->gates[i].klass == klass)
            send_list(v, i);
}

void
stops_tell_gate(struct vault *v, unsigned gate)
{
    /* Before the ledger has spoken, nobody knows. */
    if (v->state != VAULT_STARTING)
        send_list(v, gate);
}

kd_err
stops_on_obeys(struct vault *v, unsigned gate, struct kd_slice body)
{
    struct kd_gate_obeys m;
    kd_err err = kd_gate_obeys_get(body, &m);

    if (err != KD_OK)
        return err;
    v->gates[gate].obeys = m.serial;
    return KD_OK;
}

bool
stops_are_obeyed(const struct vault *v, unsigned klass, uint32_t serial)
{
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        const struct vault_gate *g = &v->gates[i];
        if (g->klass == klass && g->link.chan.fd >= 0 &&
            (int32_t)(g->obeys - serial) < 0)
            return false;
    }
    return true;
}
