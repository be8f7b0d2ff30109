#include "child.h"

bool
wishes_add(struct wishes *w, const struct wish *wish)
{
    if (w->n == WISHES_MAX)
        return false;
    w->list[w->n++] = *wish;
    return true;
}

void
wish_grant(struct supervisor *s, uint64_t tag, struct kd_ctl_granted *m)
{
    struct child *vault = child_of(s, KD_ROLE_VAULT, 0);
    struct kd_buf b;

    m->tag = tag;
    kd_buf_init(&b, 128);
    kd_ctl_granted_put(&b, m);
    /* A vault that is gone has forgotten who asked. */
    if (vault->pid > 0)
        kd_ignore(kd_chan_put_buf(&vault->ctl, KD_MSG_ctl_granted, &b, -1));
    kd_buf_free(&b);
}

void
wishes_grant(struct supervisor *s, struct wishes *w, size_t i, struct kd_ctl_granted *m)
{
    wish_grant(s, w->list[i].tag, m);
    w->list[i] = w->list[--w->n];
}
