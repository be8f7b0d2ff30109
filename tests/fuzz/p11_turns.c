#include "p11_turns.h"

#include "fuzz.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>

enum { THREADS_MAX = 1 + KD_TOKENS_MAX, STEP_MS = 50, TURNS_MAX = 400000 };

int64_t __wrap_kd_clock_ms(void);
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *arg);
bool __wrap_token_wait(struct p11_token *t, pthread_cond_t *cond, int64_t until);

static struct thread {
    pthread_t thread;
    sem_t go;
    void *arg;
} threads[THREADS_MAX];
static unsigned n_threads, at, n_turns;
static bool ends;
static int64_t now;

void (*turns_between)(void);

int64_t
__wrap_kd_clock_ms(void)
{
    return now;
}

int64_t
turns_now(void)
{
    return now;
}

void
turns_pass(int64_t ms)
{
    now += ms;
}

static void
await_turn(unsigned i)
{
    while (sem_wait(&threads[i].go) != 0)
        fuzz_require(errno == EINTR);
}

static void
hand_over(unsigned to)
{
    at = to;
    fuzz_require(sem_post(&threads[to].go) == 0);
}

static _Noreturn void
leave(void)
{
    hand_over(0);
    pthread_exit(NULL);
}

void
turns_yield(void)
{
    unsigned me = at;

    fuzz_require(++n_turns < TURNS_MAX); /* whatever hosts say, there is an end */
    if (n_threads == 1)
        return;
    hand_over((me + 1) % n_threads);
    await_turn(me);
    if (ends && me != 0)
        leave();
}

static int64_t
step_to(int64_t until)
{
    return until - now < STEP_MS ? until - now : STEP_MS;
}

void
turns_sleep(int64_t ms)
{
    int64_t until = now + ms;

    while (now < until) {
        now += step_to(until);
        turns_between();
        turns_yield();
    }
}

/* It may wake for nothing, as a condition may. */
bool
__wrap_token_wait(struct p11_token *t, pthread_cond_t *cond, int64_t until)
{
    (void)cond;
    pthread_mutex_unlock(&t->lock);
    turns_between();
    turns_yield();
    pthread_mutex_lock(&t->lock);
    if (now >= until)
        return false;
    now += step_to(until);
    return true;
}

static void *
keeper(void *arg)
{
    struct thread *x = arg;

    await_turn((unsigned)(x - threads));
    if (ends)
        leave();
    return keeper_main(x->arg);
}

int
__wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes,
                      void *(*run)(void *), void *arg)
{
    struct thread *x = &threads[n_threads];

    if (run != keeper_main)
        return __real_pthread_create(out, attributes, run, arg);
    fuzz_require(n_threads < THREADS_MAX && sem_init(&x->go, 0, 0) == 0);
    x->arg = arg;
    int err = __real_pthread_create(out, attributes, keeper, x);
    fuzz_require(err == 0);
    x->thread = *out;
    n_threads++;
    return err;
}

/* They never run at once: to wake one on another processor only takes longer. */
static void
stay_here(void)
{
    cpu_set_t here;
    int cpu = sched_getcpu();

    CPU_ZERO(&here);
    if (cpu >= 0 && cpu < CPU_SETSIZE) {
        CPU_SET((size_t)cpu, &here);
        kd_ignore(sched_setaffinity(0, sizeof here, &here));
    }
}

void
turns_begin(void)
{
    static bool is_here;

    if (!is_here)
        stay_here();
    is_here = true;
    fuzz_require(sem_init(&threads[0].go, 0, 0) == 0);
    n_threads = 1;
    at = n_turns = 0;
    ends = false;
    now = 1000000;
}

void
turns_end(void)
{
    ends = true;
    for (unsigned i = 1; i < n_threads; i++) {
        hand_over(i);
        await_turn(0);
        fuzz_require(pthread_join(threads[i].thread, NULL) == 0);
        sem_destroy(&threads[i].go);
    }
    sem_destroy(&threads[0].go);
}
