#include "seen.h"

#include <keyd/job/job.h>

#include <string.h>

void
seen_tell(struct seen *s, struct kd_chan *vault)
{
    struct kd_buf b;

    kd_buf_init(&b, 128);
    for (size_t i = 0; i < s->n && vault->fd >= 0; i++) {
        struct kd_shadow_seen m = {.op = s->list[i].op,
                                   .would_allow = s->list[i].would_allow,
                                   .uid = s->list[i].caller.uid,
                                   .remote = s->list[i].caller.name,
                                   .n = s->list[i].n};
        kd_buf_reset(&b);
        kd_shadow_seen_put(&b, &m);
        /* A count less is no harm. */
        kd_ignore(kd_chan_put_buf(vault, KD_MSG_shadow_seen, &b, -1));
    }
    kd_buf_free(&b);
    s->n = 0;
}

void
seen_add(struct seen *s, struct kd_chan *vault, const struct kd_caller *caller,
         unsigned op, bool would_allow)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->list[i].op == op && s->list[i].would_allow == would_allow &&
            s->list[i].caller.uid == caller->uid &&
            kd_slice_eq(s->list[i].caller.name, caller->name)) {
            s->list[i].n++;
            return;
        }
    }
    if (s->n == SEEN_MAX)
        seen_tell(s, vault);
    size_t at = s->n++;
    s->list[at].caller = *caller;
    if (caller->name.n != 0)
        memcpy(s->list[at].remote, caller->name.p, caller->name.n);
    s->list[at].caller.name = kd_slice(s->list[at].remote, caller->name.n);
    s->list[at].op = (uint8_t)op;
    s->list[at].would_allow = would_allow;
    s->list[at].n = 1;
}
