/* What strangers and bad callers do to the remote listener of a whole daemon, and other
 * programs as its peers. */
#include "tls_suite.h"

#include <keyd/base/clock.h>

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- abuse --- */

enum { HALF = 300 };

static void
half_handshakes_do_not_keep_others_out(void **state)
{
    static int fds[HALF];
    struct honest h;
    char from[32];

    (void)state;
    mark_log();
    start_honest(&h);
    for (int i = 0; i < HALF; i++) {
        snprintf(from, sizeof from, "127.0.%d.%d", 2 + i / 100, 1 + i % 100);
        fds[i] = tls_tcp(place.port, from);
        assert_true(fds[i] >= 0);
        usleep(2000);
    }
    sleep(4); /* handshake-timeout is 2 s */
    for (int i = 0; i < HALF; i++) {
        uint8_t octet;
        assert_int_equal(recv(fds[i], &octet, 1, MSG_DONTWAIT), 0); /* closed */
        close(fds[i]);
    }
    end_honest(&h);
    assert_true(logged("took too long") > 0 && logged("made room") > 0);
}

static void
slow_handshakes_are_ended(void **state)
{
    enum { N = 40 };
    /* the start of a record that announces a hello of 512 octets */
    static const uint8_t octets[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0};
    int fds[N];
    struct honest h;
    unsigned closed = 0;
    char from[32];

    (void)state;
    start_honest(&h);
    for (int i = 0; i < N; i++) {
        snprintf(from, sizeof from, "127.0.9.%d", 1 + i);
        fds[i] = tls_tcp(place.port, from);
        assert_true(fds[i] >= 0);
    }
    for (size_t k = 0; k < 5; k++) {
        for (int i = 0; i < N; i++)
            kd_ignore(send(fds[i], octets + k, 1, MSG_NOSIGNAL | MSG_DONTWAIT));
        sleep(1);
    }
    for (int i = 0; i < N; i++) {
        uint8_t octet;
        ssize_t n = recv(fds[i], &octet, 1, MSG_DONTWAIT);
        closed += n == 0 || (n < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_int_equal(closed, N);
    end_honest(&h);
}

static void
one_source_has_its_share_of_unfinished_handshakes(void **state)
{
    enum { N = 30 };
    int fds[N];
    unsigned closed = 0;

    (void)state;
    mark_log();
    for (int i = 0; i < N; i++)
        fds[i] = tls_tcp(place.port, "127.0.10.1");
    usleep(300000);
    for (int i = 0; i < N; i++) {
        uint8_t octet;
        ssize_t n = recv(fds[i], &octet, 1, MSG_DONTWAIT);
        closed += n == 0 || (n < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_int_equal(closed, N - 8); /* an eighth of max-handshakes, 64 */
    wait_for_log("too many unfinished ones of this source");
}

static void
what_is_no_tls_is_closed(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: keyd\r\n\r\n";
    static uint8_t large[5 + 65535] = {0x16, 3, 1, 0xff, 0xff};
    static const uint8_t hello_first[] = {0x17, 3, 3, 0, 5, 'h', 'e', 'l', 'l', 'o'};
    static const struct {
        const void *octets;
        size_t n;
    } sent[] = {{http, sizeof http - 1},
                {large, sizeof large},
                {hello_first, sizeof hello_first},
                {"\0\0\0\x0f\x08\1\xaa\6\x0a\x08\1\x10\1\x1a\4demo", 19},
                {"\x80\x2e\1\0\2", 5}};
    uint8_t answer[512];

    (void)state;
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        int fd = tls_tcp(place.port, NULL);
        ssize_t n, all = 0;
        assert_true(fd >= 0);
        kd_ignore(send(fd, sent[i].octets, sent[i].n, MSG_NOSIGNAL));
        shutdown(fd, SHUT_WR);
        while ((n = recv(fd, answer, sizeof answer, 0)) > 0)
            all += n;
        assert_true(all <= 7); /* an alert at most */
        close(fd);
    }
}

static void
records_that_are_broken_end_the_connection(void **state)
{
    struct tls_peer t;
    uint8_t record[5 + 64] = {0x17, 3, 3, 0, 64};
    uint8_t huge[5 + 20000] = {0x17, 3, 3, 0x4e, 0x20};

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(send(t.fd, record, sizeof record, MSG_NOSIGNAL), sizeof record);
    assert_null(tls_receive(&t));
    tls_close(&t);
    assert_true(tls_greet(&t, place.port, &place.mx1));
    kd_ignore(send(t.fd, huge, sizeof huge, MSG_NOSIGNAL));
    assert_null(tls_receive(&t));
    tls_close(&t);
}

static void
who_never_reads_is_ended_and_delays_nobody(void **state)
{
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    static const struct timeval short_patience = {0, 200000};
    struct honest h;
    struct tls_peer t;
    unsigned sent = 0;

    (void)state;
    start_honest(&h);
    assert_true(tls_greet(&t, place.port, &place.mx3));
    setsockopt(t.fd, SOL_SOCKET, SO_SNDTIMEO, &short_patience, sizeof short_patience);
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    int64_t until = kd_clock_ms() + 8000; /* write-timeout is 2 s */
    while (kd_clock_ms() < until && tls_put(&t, &r))
        sent++;
    print_message("asked %u times without reading\n", sent);
    usleep(3500000);
    uint8_t octet;
    size_t n;
    while (SSL_read_ex(t.ssl, &octet, 1, &n) == 1)
        continue; /* what was on its way */
    ERR_clear_error();
    tls_close(&t);
    end_honest(&h);
}

/* --- other programs as peers --- */

/* Says Hello by that program and finds the answer of the example in PROTOCOL.md. */
static void
peer_program_says_hello(const char *command)
{
    static const uint8_t hello[] = {0, 0,    0, 0x0f, 8, 1,   0xaa, 6,   0x0a, 8,
                                    1, 0x10, 1, 0x1a, 4, 'd', 'e',  'm', 'o'};
    uint8_t answer[4096];
    char line[1024];
    size_t n = 0;

    snprintf(line, sizeof line, "%s/hello", place.dir);
    FILE *f = fopen(line, "we");
    assert_true(f != NULL && fwrite(hello, 1, sizeof hello, f) == sizeof hello &&
                fclose(f) == 0);
    /* The pause keeps the connection until the answer is here. */
    snprintf(line, sizeof line, "(cat %s/hello; sleep 1) | timeout 20 %s 2>%s/peer.log",
             place.dir, command, place.dir);
    f = popen(line, "re");
    assert_non_null(f);
    n = fread(answer, 1, sizeof answer, f);
    pclose(f);
    const uint8_t *at = memmem(answer, n, "\x22\x03tls", 5);
    if (at == NULL)
        fail_msg("%s: no answer in %zu octets, see %s/peer.log", command, n, place.dir);
}

static bool
is_there(const char *program)
{
    char line[128];

    snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
    return system(line) == 0; /* NOLINT(cert-env33-c): a fixed text */
}

static void
openssl_and_gnutls_are_good_peers(void **state)
{
    char cert[160], key[160], line[900];
    const struct identity *chain[] = {&place.mx1};

    (void)state;
    snprintf(cert, sizeof cert, "%s/mx1.pem", place.dir);
    snprintf(key, sizeof key, "%s/mx1.key", place.dir);
    certs_write(cert, chain, 1);
    key_write(key, &place.mx1);
    if (is_there("openssl")) {
        snprintf(line, sizeof line,
                 "openssl s_client -quiet -verify_return_error -CAfile %s -cert %s "
                 "-key %s -connect 127.0.0.1:%u",
                 place.ca, cert, key, place.port);
        peer_program_says_hello(line);
    } else {
        print_message("no openssl here: left out\n");
    }
    if (is_there("gnutls-cli")) {
        snprintf(line, sizeof line,
                 "gnutls-cli --logfile=%s/gnutls.log --x509cafile=%s --x509certfile=%s "
                 "--x509keyfile=%s --verify-hostname=localhost -p %u 127.0.0.1",
                 place.dir, place.ca, cert, key, place.port);
        peer_program_says_hello(line);
    } else {
        print_message("no gnutls-cli here: left out\n");
    }
    unlink(cert);
    unlink(key);
    snprintf(line, sizeof line, "%s/hello", place.dir);
    unlink(line);
    snprintf(line, sizeof line, "%s/peer.log", place.dir);
    unlink(line);
    snprintf(line, sizeof line, "%s/gnutls.log", place.dir);
    unlink(line);
}

static void
no_process_left_its_sandbox_or_crashed(void **state)
{
    (void)state;
    tls_suite_ends_well(0);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_handshakes_do_not_keep_others_out),
        cmocka_unit_test(slow_handshakes_are_ended),
        cmocka_unit_test(one_source_has_its_share_of_unfinished_handshakes),
        cmocka_unit_test(what_is_no_tls_is_closed),
        cmocka_unit_test(records_that_are_broken_end_the_connection),
        cmocka_unit_test(who_never_reads_is_ended_and_delays_nobody),
        cmocka_unit_test(openssl_and_gnutls_are_good_peers),
        cmocka_unit_test(no_process_left_its_sandbox_or_crashed),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, tls_suite_start, tls_suite_end);
}
