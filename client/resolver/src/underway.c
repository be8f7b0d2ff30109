#include "underway.h"

#include <keyd/base/clock.h>

#include <string.h>
#include <time.h>

bool
underway_init(struct underway *u)
{
    pthread_condattr_t attr;

    u->list = NULL;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool good = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&u->changed, &attr) == 0;
    pthread_condattr_destroy(&attr);
    if (good && pthread_mutex_init(&u->lock, NULL) != 0) {
        pthread_cond_destroy(&u->changed);
        good = false;
    }
    return good;
}

void
underway_clear(struct underway *u)
{
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->changed);
}

static bool
is_there(const struct underway *u, const char *name)
{
    for (const struct underway_name *n = u->list; n != NULL; n = n->next)
        if (strcmp(n->name, name) == 0)
            return true;
    return false;
}

bool
underway_begin(struct underway *u, struct underway_name *n, const char *name,
               int64_t deadline, bool *waited)
{
    const struct timespec until = {.tv_sec = deadline / 1000,
                                   .tv_nsec = deadline % 1000 * 1000000};
    bool good = true;

    *waited = false;
    pthread_mutex_lock(&u->lock);
    while (is_there(u, name)) {
        *waited = true;
        if (pthread_cond_timedwait(&u->changed, &u->lock, &until) != 0) {
            good = !is_there(u, name);
            break;
        }
    }
    if (good) {
        *n = (struct underway_name){name, u->list};
        u->list = n;
    }
    pthread_mutex_unlock(&u->lock);
    return good;
}

void
underway_end(struct underway *u, struct underway_name *n)
{
    pthread_mutex_lock(&u->lock);
    for (struct underway_name **p = &u->list; *p != NULL; p = &(*p)->next)
        if (*p == n) {
            *p = n->next;
            break;
        }
    pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
}
