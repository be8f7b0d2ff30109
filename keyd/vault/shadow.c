#include "shadow.h"
#include "vault.h"

#include <keyd/base/clock.h>

enum { TELL_MS = 60 * 1000, LINE_MAX_SIZE = 128 };

static struct shadow_pair *
find(struct shadow *s, struct kd_slice name, enum kd_op op)
{
    for (size_t i = 0; i < s->n; i++) {
        struct shadow_pair *p = &s->pairs[i];
        if (p->op == op && kd_slice_eq(kd_slice(p->name, p->name_size), name))
            return p;
    }
    if (s->n == SHADOW_PAIRS_MAX)
        return NULL;
    struct shadow_pair *p = &s->pairs[s->n++];
    *p = (struct shadow_pair){.op = (uint8_t)op, .name_size = (uint8_t)name.n};
    memcpy(p->name, name.p, name.n);
    return p;
}

static void
tell(struct vault *v, struct shadow_pair *p, bool would_allow)
{
    int64_t now = kd_clock_ms();

    if (now < p->tell_at)
        return;
    p->tell_at = now + TELL_MS;
    vault_event_of(v, would_allow ? EVENT_SHADOW_ALLOWS : EVENT_SHADOW_REFUSES,
                   kd_slice(p->name, p->name_size), (enum kd_op)p->op,
                   would_allow ? p->would_allow : p->would_refuse);
}

/* As the policy in force calls it; one that only the other knows, as that does. */
static kd_err
name_of(const struct vault_conf *c, const struct kd_caller *caller,
        struct kd_slice *name)
{
    if (kd_policy_name(c->is.policy, caller, name) == KD_OK)
        return KD_OK;
    return kd_policy_name(c->shadow, caller, name);
}

void
shadow_count(struct vault *v, const struct vault_conf *c,
             const struct kd_caller *caller, enum kd_op op, bool would_allow,
             uint64_t n)
{
    struct kd_slice name;

    /* What began before the last change is not of the policies now compared. */
    if (c != v->conf || c->shadow == NULL || name_of(c, caller, &name) != KD_OK)
        return;
    struct shadow_pair *p = find(&v->shadow, name, op);
    if (p == NULL) {
        v->shadow.n_beyond += n;
        return;
    }
    if (would_allow)
        p->would_allow += n;
    else
        p->would_refuse += n;
    tell(v, p, would_allow);
}

void
shadow_watch(struct vault *v, const struct task *t, struct kd_slice domain,
             bool is_allowed)
{
    const struct vault_conf *c = t->conf;

    if (c->shadow == NULL)
        return;
    bool would = kd_policy_check(c->shadow, &t->caller, t->op, domain) == KD_OK;
    if (would != is_allowed)
        shadow_count(v, c, &t->caller, t->op, would, 1);
}

static bool
is_same(const struct kd_policy *a, const struct kd_policy *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return kd_slice_eq(kd_policy_octets(a), kd_policy_octets(b));
}

void
shadow_changed(struct vault *v, const struct vault_conf *before,
               const struct vault_conf *now)
{
    if (before != NULL && is_same(before->shadow, now->shadow) &&
        is_same(before->is.policy, now->is.policy))
        return;
    v->shadow.n = 0;
    v->shadow.n_beyond = 0;
    v->shadow.since = now->shadow == NULL ? 0 : (uint64_t)kd_clock_wall_ms();
}

static uint64_t
weight(const struct shadow_pair *p)
{
    return p->would_refuse + p->would_allow;
}

/* Puts the place of a pair among the heaviest so far; returns how many there are. */
static size_t
insert(const struct shadow *s, size_t place, uint16_t top[SHADOW_LINES_MAX], size_t n)
{
    size_t at = n;

    while (at > 0 && weight(&s->pairs[top[at - 1]]) < weight(&s->pairs[place]))
        at--;
    if (at == SHADOW_LINES_MAX)
        return n;
    if (n < SHADOW_LINES_MAX)
        n++;
    memmove(top + at + 1, top + at, (n - 1 - at) * sizeof *top);
    top[at] = (uint16_t)place;
    return n;
}

void
shadow_put(const struct shadow *s, struct kd_buf *lines)
{
    uint16_t top[SHADOW_LINES_MAX];
    struct kd_buf line;
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n = insert(s, i, top, n);
    kd_buf_init(&line, LINE_MAX_SIZE);
    for (size_t i = 0; i < n; i++) {
        const struct shadow_pair *p = &s->pairs[top[i]];
        struct kd_shadow_line m = {.principal = kd_slice(p->name, p->name_size),
                                   .op = p->op,
                                   .would_refuse = p->would_refuse,
                                   .would_allow = p->would_allow};
        kd_buf_reset(&line);
        kd_shadow_line_put(&line, &m);
        kd_list_put(lines, kd_buf_slice(&line));
        kd_buf_join(lines, &line);
    }
    kd_buf_free(&line);
}
