#include "pool.h"

#include <keyd/base/clock.h>

#include <unistd.h>

/* What came while it was in work. */
static void
take_next(struct host *h)
{
    h->fd = h->next_fd;
    h->next_fd = -1;
    h->state = h->fd < 0 ? HOST_NONE : HOST_LINKED;
    h->incarnation++;
    h->is_stale = false;
    h->linked_at = kd_clock_ms();
    h->n_done = h->tag = h->keys_serial = 0;
    h->kib = h->kib_first = 0;
    h->look = (struct p11_look){0};
    h->size_ms = 0;
}

void
host_drop(struct p11_token *t, struct host *h, bool kill)
{
    if (h->fd >= 0)
        close(h->fd);
    if (kill && h->state != HOST_NONE && h->next_fd < 0)
        t->out.kill |= 1u << h->number;
    take_next(h);
    pthread_cond_broadcast(&t->changed);
    pthread_cond_signal(&t->wake);
    token_say(t);
}

void
hosts_drop_all(struct p11_token *t)
{
    for (size_t i = 0; i < P11_HOSTS_A_TOKEN; i++) {
        if (t->hosts[i].state == HOST_BUSY)
            t->hosts[i].is_stale = true;
        else if (t->hosts[i].state != HOST_NONE)
            host_drop(t, &t->hosts[i], false);
    }
}

static bool
is_used_up(const struct p11_token *t, const struct host *h)
{
    return h->n_done >= t->conf.recycle_after ||
           (h->kib > h->kib_first &&
            h->kib - h->kib_first > t->conf.max_memory_mib * 1024);
}

void
host_give_back(struct p11_token *t, struct host *h)
{
    h->state = HOST_IDLE;
    h->size_ms = 0;
    if (h->next_fd >= 0 || h->is_stale ||
        (!breaker_wants_hosts(&t->breaker) && t->breaker.state != P11_DRAINED)) {
        host_drop(t, h, false);
    } else if (is_used_up(t, h)) {
        t->status.recycled++;
        token_event(t, P11_EVENT_RECYCLED, t->status.recycled, 0);
        host_drop(t, h, false); /* it ends, and another comes */
    } else {
        t->served_at = kd_clock_ms();
        pthread_cond_signal(&t->changed);
        if (h->keys_serial != t->keys_serial || t->wants_trial || t->work != NULL)
            pthread_cond_signal(&t->wake);
    }
}

/* A token that takes long is waited for as long. */
int64_t
host_wait_ms(const struct p11_token *t)
{
    return t->conf.timeout_ms > WAIT_MS ? t->conf.timeout_ms : WAIT_MS;
}

/* The one that has done most: its memory and the module's are warm, and hosts do not
 * all come to the end of their time at once. */
static struct host *
find_idle(struct p11_token *t)
{
    struct host *best = NULL;

    for (size_t i = 0; i < P11_SESSIONS_MAX; i++) {
        struct host *h = &t->hosts[i];
        if (h->state == HOST_IDLE && h->keys_serial == t->keys_serial &&
            (best == NULL || h->n_done > best->n_done))
            best = h;
    }
    return best;
}

static kd_err
find_key(struct p11_token *t, const struct kd_key_id *id, uint8_t *key)
{
    const struct pool_key *k = token_key(t, id);

    if (k == NULL || (k->is_known && k->finding != P11_FINE))
        return KD_NOT_FOUND;
    *key = (uint8_t)(k - t->keys);
    return KD_OK;
}

kd_err
host_take(struct p11_token *t, const struct kd_key_id *id, int64_t until,
          struct host **out, uint8_t *key)
{
    int64_t patience = kd_clock_ms() + host_wait_ms(t);
    kd_err err;

    for (;;) {
        if ((err = breaker_allows(&t->breaker)) != KD_OK ||
            (err = find_key(t, id, key)) != KD_OK)
            return err;
        struct host *h = find_idle(t);
        if (h != NULL) {
            h->state = HOST_BUSY;
            h->sent_at = kd_clock_ms();
            *out = h;
            return KD_OK;
        }
        if (!token_wait(t, &t->changed, until < patience ? until : patience) &&
            find_idle(t) == NULL)
            return until < patience ? KD_TIMEOUT : KD_UNAVAILABLE;
    }
}
