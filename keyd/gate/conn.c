#include "conn.h"

#include <keyd/base/clock.h>

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

struct conn *
conn_new(struct conn **list, int fd, size_t max_frame, size_t max_queue)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->fd = fd;
    c->opened_at = c->active_at = kd_clock_ms();
    kd_frame_in_init(&c->in, max_frame);
    kd_frame_out_init(&c->out, max_queue);
    c->next = *list;
    if (c->next != NULL)
        c->next->prev = c;
    *list = c;
    return c;
}

void
conn_free(struct conn **list, struct conn *c)
{
    assert(c->pending == NULL);
    if (c->event != NULL)
        event_free(c->event);
    close(c->fd);
    kd_frame_in_clear(&c->in);
    kd_frame_out_clear(&c->out);
    if (c->prev == NULL)
        *list = c->next;
    else
        c->prev->next = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    free(c);
}
