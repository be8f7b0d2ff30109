/* The resolver beside its floors, in one run and one network of its own: a name that is
 * known, and one that nobody has asked for, beside the bare questions to the DNS and
 * the bare TLS connection with the same lines that it takes. */
#include "netns.h"
#include "rs_world.h"
#include "suite.h"

#include <dns.h>

#include <keyd/base/clock.h>

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

enum { KNOWN = 400000, ROUNDS = 40, SOON = 10000 };

/* --- a name that is known --- */

static struct dime_resolver *known;

static void *
ask_known(void *arg)
{
    const struct dime_query q = {.name = "alice@example.com",
                                 .deadline = kd_clock_ms() + 600000};
    const struct dime_answer *a;
    unsigned *n = arg;

    for (unsigned i = 0; i < KNOWN; i++) {
        if (dime_resolve(known, &q, &a) != KD_OK || a->outcome != DIME_IS_DARK)
            abort();
        dime_answer_free(a);
        ++*n;
    }
    return NULL;
}

static void
bench_known(unsigned n_threads)
{
    pthread_t threads[8];
    unsigned n[8] = {0}, all = 0;
    int64_t began = kd_clock_ns();

    for (unsigned i = 0; i < n_threads; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_known, &n[i]), 0);
    for (unsigned i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
        all += n[i];
    }
    double seconds = (double)(kd_clock_ns() - began) / 1e9;
    printf("known name, %u threads: %.0f a second (goal 100000)\n", n_threads,
           all / seconds);
}

/* --- one that is not --- */

static void
bare_dns(void)
{
    static const struct {
        const char *name;
        uint16_t type;
    } questions[] = {{"_dime.example.com", DNS_TXT},
                     {"dx.example.com", DNS_AAAA},
                     {"dx.example.com", DNS_A}};
    const char *anchor = zones_anchor(rs.zones), *why = NULL;
    const struct dns_conf conf = {.anchor_file = "",
                                  .anchors = &anchor,
                                  .n_anchors = 1,
                                  .root_hints = zones_hints(rs.zones),
                                  .local_servers = true};
    struct dns *dns = NULL;
    struct dns_answer a;

    assert_int_equal(dns_new(&conf, &dns, &why), KD_OK);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        kd_ignore(dns_query(dns, questions[i].name, questions[i].type,
                            kd_clock_ms() + SOON, &a)); /* found, or there is none */
        dns_answer_clear(&a);
    }
    dns_free(dns);
}

/* Up to the line that ends a reply. */
static void
read_reply(SSL *ssl)
{
    static char text[65536];
    size_t n = 0;

    for (;;) {
        int got = SSL_read(ssl, text + n, (int)(sizeof text - 1 - n));
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = '\0';
        char *last = text;
        for (char *p = text; (p = strchr(p, '\n')) != NULL && p[1] != '\0'; p++)
            last = p + 1;
        if (text[n - 1] == '\n' && strlen(last) > 3 && last[3] == ' ')
            return;
    }
}

static void
bare_tls(SSL_CTX *ctx)
{
    static const char *const lines[] = {"SGNT FOR=<example.com>\n",
                                        "SGNT FOR=<alice@example.com>\n", "QUIT\n"};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(26)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl = SSL_new(ctx);

    assert_int_equal(inet_pton(AF_INET, rs.domains[RS_SIGNED].address, &to.sin_addr),
                     1);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1);
    read_reply(ssl);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_true(SSL_write(ssl, lines[i], (int)strlen(lines[i])) > 0);
        read_reply(ssl);
    }
    kd_ignore(SSL_shutdown(ssl)); /* it has said BYE */
    SSL_free(ssl);
    close(fd);
}

static int
by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void
bench_unknown(void)
{
    int64_t floor[ROUNDS], ours[ROUNDS];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char dir[32];

    assert_non_null(ctx);
    for (unsigned i = 0; i < ROUNDS; i++) { /* in turns, as the machine changes */
        int64_t t0 = kd_clock_ns();
        bare_dns();
        bare_tls(ctx);
        int64_t t1 = kd_clock_ns();
        snprintf(dir, sizeof dir, "bench%u", i);
        struct dime_resolver *r = rs_resolver(dir);
        int64_t t2 = kd_clock_ns(); /* authorities and files are read once */
        dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
        int64_t t3 = kd_clock_ns();
        dime_resolver_free(r);
        floor[i] = t1 - t0;
        ours[i] = t3 - t2;
    }
    qsort(floor, ROUNDS, sizeof *floor, by_time);
    qsort(ours, ROUNDS, sizeof *ours, by_time);
    printf(
        "unknown address: %.2f ms, bare DNS and TLS %.2f ms (medians of %d): %.2f of "
        "it (goal 1.3)\n",
        (double)ours[ROUNDS / 2] / 1e6, (double)floor[ROUNDS / 2] / 1e6, ROUNDS,
        (double)ours[ROUNDS / 2] / (double)floor[ROUNDS / 2]);
    SSL_CTX_free(ctx);
}

static void
bench(void **state)
{
    (void)state;
    rs_link(RS_SIGNED, "alice@example.com", "alice one", false);
    bench_unknown();
    known = rs_resolver("known");
    dime_answer_free(rs_ask(known, "alice@example.com", 0, DIME_IS_DARK));
    bench_known(1);
    bench_known(2);
    dime_resolver_free(known);
}

static int
begin(void **state)
{
    (void)state;
    rs_begin();
    return 0;
}

static int
end(void **state)
{
    (void)state;
    rs_end();
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bench)};

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}
