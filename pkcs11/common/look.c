#include <keyd/p11/look.h>

#include <keyd/base/clock.h>

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LOOK_NS = 800 * 1000, /* longer than a token of software takes for a derivation */
    WORTH_MOST = 8,
    TOO_LATE = 3, /* one wait that was long undoes so many that were short */
};

static void
note(struct p11_look *l, bool came_soon)
{
    if (!came_soon)
        l->worth = l->worth < TOO_LATE ? 0 : (unsigned char)(l->worth - TOO_LATE);
    else if (l->worth < WORTH_MOST)
        l->worth++;
}

/* Looks; 0: nothing came in time. */
static int
look(struct pollfd *p, nfds_t n, int64_t until)
{
    for (;;) {
        int r = poll(p, n, 0);
        if (r != 0 || kd_clock_ns() >= until)
            return r;
        sched_yield();
    }
}

int
p11_poll(struct p11_look *l, struct pollfd *p, nfds_t n, int timeout_ms)
{
    int64_t soon = kd_clock_ns() + LOOK_NS;
    int r = 0;

    if (timeout_ms == 0)
        return poll(p, n, 0);
    if (l->worth >= WORTH_MOST / 2)
        r = look(p, n, soon);
    if (r == 0)
        r = poll(p, n, timeout_ms);
    note(l, r > 0 && kd_clock_ns() < soon);
    return r;
}
