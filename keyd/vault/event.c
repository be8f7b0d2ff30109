#include "vault.h"

static void
send(struct vault *v, const struct kd_ctl_event *m)
{
    struct kd_buf body;

    kd_buf_init(&body, 512);
    kd_ctl_event_put(&body, m);
    /* Without a supervisor the process is about to end. */
    kd_ignore(kd_chan_put_buf(&v->ctl, KD_MSG_ctl_event, &body, -1));
    kd_buf_free(&body);
}

void
vault_event(struct vault *v, enum vault_event event, uint64_t a, uint64_t b)
{
    v->n_peer_malformed += event == EVENT_PEER_MALFORMED;
    send(v, &(struct kd_ctl_event){.event = (uint16_t)event, .a = a, .b = b});
}

void
vault_event_of(struct vault *v, enum vault_event event, struct kd_slice name,
               enum kd_op op, uint64_t a)
{
    send(v, &(struct kd_ctl_event){
                .event = (uint16_t)event, .a = a, .op = (uint8_t)op, .name = name});
}

void
vault_event_about(struct vault *v, enum vault_event event, struct kd_slice name,
                  uint64_t a, uint64_t b)
{
    send(v, &(struct kd_ctl_event){
                .event = (uint16_t)event, .a = a, .b = b, .name = name});
}
