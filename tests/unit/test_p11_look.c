/* Waiting with a look before sleeping: what is told, and when looking begins and ends.
 */
#include "../support/test.h"

#include <keyd/base/clock.h>
#include <keyd/p11/look.h>

#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int pair[2];

static int
setup(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int
teardown(void **state)
{
    (void)state;
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void
say(void)
{
    assert_int_equal(write(pair[1], "x", 1), 1);
}

static void
hear(void)
{
    char c;

    assert_int_equal(read(pair[0], &c, 1), 1);
}

static int64_t
cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What is there already, as often as suffices. */
static void
make_it_look(struct p11_look *l)
{
    struct pollfd p = {.fd = pair[0], .events = POLLIN};

    for (int i = 0; i < 16; i++) {
        say();
        assert_int_equal(p11_poll(l, &p, 1, 1000), 1);
        hear();
    }
}

static void
it_tells_what_poll_tells(void **state)
{
    struct pollfd p = {.fd = pair[0], .events = POLLIN};
    struct p11_look l = {0};

    (void)state;
    for (int looks = 0; looks < 2; looks++) {
        assert_int_equal(p11_poll(&l, &p, 1, 0), 0);
        int64_t began = kd_clock_ms();
        assert_int_equal(p11_poll(&l, &p, 1, 20), 0);
        assert_true(kd_clock_ms() - began >= 19);
        say();
        assert_int_equal(p11_poll(&l, &p, 1, -1), 1);
        assert_int_equal(p.revents, POLLIN);
        hear();
        make_it_look(&l);
    }
    p.fd = 1 << 20;
    assert_int_equal(p11_poll(&l, &p, 1, 1000), 1);
    assert_int_equal(p.revents, POLLNVAL);
}

static void *
say_later(void *ms)
{
    poll(NULL, 0, *(int *)ms);
    say();
    return NULL;
}

/* The processor's time of a wait of 50 ms. */
static int64_t
wait_long(struct p11_look *l)
{
    struct pollfd p = {.fd = pair[0], .events = POLLIN};
    pthread_t thread;
    int ms = 50;

    assert_int_equal(pthread_create(&thread, NULL, say_later, &ms), 0);
    int64_t began = cpu_ns();
    assert_int_equal(p11_poll(l, &p, 1, 10000), 1);
    int64_t spent = cpu_ns() - began;
    pthread_join(thread, NULL);
    hear();
    return spent;
}

/* A token that takes its time costs no more than a poll. */
static void
who_waited_long_does_not_look_again(void **state)
{
    struct p11_look l = {0};

    (void)state;
    make_it_look(&l);
    wait_long(&l);
    wait_long(&l);
    wait_long(&l);
    assert_true(wait_long(&l) < 400 * 1000);
}

static void
no_wait_is_looked_at_for_long(void **state)
{
    struct p11_look l = {0};

    (void)state;
    make_it_look(&l);
    assert_true(wait_long(&l) < 10 * 1000 * 1000);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_tells_what_poll_tells, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waited_long_does_not_look_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_wait_is_looked_at_for_long, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
