/* pool.h without threads: what is run is done. */
#include "../../keyd/pool.h"

kd_err
pool_start(struct pool *p, unsigned n)
{
    (void)n;
    *p = (struct pool){.event = -1};
    return KD_OK;
}

void
pool_run(struct pool *p, struct pool_item *item)
{
    item->work(item);
    item->next = NULL;
    if (p->done.last == NULL)
        p->done.first = item;
    else
        p->done.last->next = item;
    p->done.last = item;
}

void
pool_run_long(struct pool *p, struct pool_item *item)
{
    pool_run(p, item);
}

void
pool_run_waiting(struct pool *p, struct pool_item *item, unsigned tokens)
{
    (void)tokens;
    pool_run(p, item);
}

struct pool_item *
pool_take_done(struct pool *p)
{
    struct pool_item *first = p->done.first;

    p->done = (struct pool_queue){NULL, NULL};
    return first;
}
