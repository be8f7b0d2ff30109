/* client/resolver/src/net.h */
#include <net.h>

#include "../support/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <keyd/base/clock.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

/* A pair of sockets, the first one as a connection. */
static void
make_pair(struct net *n, int *other)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    *n = (struct net){.sock = pair[0], .deadline = kd_clock_ms() + 5000};
    *other = pair[1];
}

static void
octets_pass_in_time(void **state)
{
    struct net n;
    int other;
    char text[8] = "";
    size_t got = 0;

    (void)state;
    make_pair(&n, &other);
    assert_int_equal(net_write(&n, "abc", 3), KD_OK);
    assert_int_equal(read(other, text, sizeof text), 3);
    assert_false(net_can_read(&n, kd_clock_ms() + 20));
    assert_int_equal(write(other, "defg", 4), 4);
    assert_true(net_can_read(&n, kd_clock_ms()));
    assert_int_equal(net_read(&n, text, sizeof text, &got), KD_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(text, "defg", 4);
    assert_false(n.was_late);
    close(other);
    assert_int_equal(net_read(&n, text, sizeof text, &got), KD_CLOSED);
    assert_int_equal(net_write(&n, "abc", 3), KD_CLOSED); /* and no SIGPIPE */
    net_close(&n);
    net_close(&n);
}

/* Whoever sends without a pause keeps nobody beyond the deadline. */
static void
what_is_there_comes_too_late(void **state)
{
    struct net n;
    int other;
    char text[8] = "";
    size_t got = 7;

    (void)state;
    make_pair(&n, &other);
    assert_int_equal(write(other, "abc", 3), 3);
    n.deadline = kd_clock_ms();
    assert_int_equal(net_read(&n, text, sizeof text, &got), KD_TIMEOUT);
    assert_true(n.was_late);
    n.was_late = false;
    assert_int_equal(net_write(&n, "abc", 3), KD_TIMEOUT);
    assert_true(n.was_late);
    assert_int_equal(got, 7);
    close(other);
    net_close(&n);
}

static void
waits_end(void **state)
{
    static char many[1 << 20];
    struct net n;
    int other;
    char text[8];
    size_t got;

    (void)state;
    make_pair(&n, &other);
    int64_t begun = kd_clock_ms();
    n.deadline = begun + 50;
    assert_int_equal(net_read(&n, text, sizeof text, &got), KD_TIMEOUT);
    assert_true(kd_clock_ms() - begun >= 50);
    n.deadline = kd_clock_ms() + 50;
    assert_int_equal(net_write(&n, many, sizeof many), KD_TIMEOUT);
    assert_true(kd_clock_ms() - begun < 3000);
    close(other);
    net_close(&n);
}

static void
connecting_fails_with_a_cause(void **state)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a;
    char text[NET_TEXT_MAX];
    struct net n;

    (void)state;
    assert_int_equal(net_connect(&n, &a, 1, kd_clock_ms() + 1000), KD_UNAVAILABLE);
    assert_int_equal(errno, EAFNOSUPPORT);
    assert_int_equal(n.sock, -1);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(net_connect(&n, &a, 1, kd_clock_ms() + 1000), KD_UNAVAILABLE);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(n.sock, -1);
    net_text(&a, text);
    assert_string_equal(text, "127.0.0.1");
    memset(&a, 0, sizeof a);
    in6->sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &in6->sin6_addr), 1);
    net_text(&a, text);
    assert_string_equal(text, "2001:db8::1");
}

/* A listener whose queue is full does not answer. */
static void
connecting_ends_in_time(void **state)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    socklen_t size = sizeof *in;
    struct net n[8];
    kd_err err = KD_OK;
    int used = 0;

    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &size), 0);
    int64_t begun = kd_clock_ms();
    while (err == KD_OK && used < 8)
        err = net_connect(&n[used++], &a, ntohs(in->sin_port), kd_clock_ms() + 100);
    assert_int_equal(err, KD_TIMEOUT);
    assert_true(kd_clock_ms() - begun < 5000);
    for (int i = 0; i < used; i++)
        net_close(&n[i]);
    close(listener);
}

static void
the_bio_is_the_connection(void **state)
{
    struct net n;
    int other;
    char text[8];

    (void)state;
    make_pair(&n, &other);
    BIO *b = net_bio(&n);
    assert_non_null(b);
    assert_int_equal(BIO_write(b, "abc", 3), 3);
    assert_int_equal(read(other, text, sizeof text), 3);
    assert_int_equal(write(other, "de", 2), 2);
    assert_int_equal(BIO_read(b, text, sizeof text), 2);
    n.deadline = kd_clock_ms() + 20;
    assert_int_equal(BIO_read(b, text, sizeof text), -1);
    assert_false(BIO_should_retry(b));
    n.deadline = kd_clock_ms() + 1000;
    close(other);
    assert_int_equal(BIO_read(b, text, sizeof text), 0);
    assert_int_equal(BIO_write(b, "abc", 3), -1);
    assert_false(BIO_should_retry(b));
    BIO_free(b);
    net_close(&n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets_pass_in_time),
        cmocka_unit_test(what_is_there_comes_too_late),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(connecting_fails_with_a_cause),
        cmocka_unit_test(connecting_ends_in_time),
        cmocka_unit_test(the_bio_is_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
