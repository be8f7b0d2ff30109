#include "vault.h"

void
vault_event(struct vault *v, enum vault_event event, uint64_t a, uint64_t b)
{
    struct kd_ctl_event m = {.event = (uint16_t)event, .a = a, .b = b};
    struct kd_buf body;

    kd_buf_init(&body, 64);
    kd_ctl_event_put(&body, &m);
    /* Without a supervisor the process is about to end. */
    kd_ignore(kd_chan_put_buf(&v->ctl, KD_MSG_ctl_event, &body, -1));
    kd_buf_free(&body);
}
