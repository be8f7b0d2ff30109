#include "tls_suite.h"

#include <keyd/base/clock.h>

#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct tls_place place;
struct daemon keyd;

/* --- start and end --- */

int
tls_suite_start(void **state)
{
    const struct daemon_options options = {.top = place.top};

    (void)state;
    tls_place_make(&place, "upload-timeout = 3\nmax-upload = 1048576\n"
                           "upload-pool = 2097152\nmax-handshakes = 64\n"
                           "handshake-timeout = 2\nhandshake-rate = 5000\n"
                           "handshake-rate-total = 50000\nwrite-timeout = 2\n");
    return daemon_start(&keyd, &options) && daemon_provision(&keyd, NULL) ? 0 : 1;
}

int
tls_suite_end(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    tls_place_clear(&place);
    return 0;
}

/* Lines of roles, without those of a token's hosts, which come and go. */
static unsigned
count_roles(const char *text)
{
    return daemon_log_count(&keyd, 0, text, NULL) -
           daemon_log_count(&keyd, 0, text, "keyd-p11");
}

void
tls_suite_ends_well(unsigned n_killed)
{
    assert_int_equal(
        daemon_log_count(&keyd, 0, "a system call outside its sandbox", NULL), 0);
    assert_int_equal(count_roles("ended by signal"), n_killed);
    assert_int_equal(count_roles("ended with status"), 0);
    assert_int_equal(daemon_stop(&keyd), 0);
}

/* --- log --- */

static long log_mark;

void
mark_log(void)
{
    log_mark = daemon_log_end(&keyd);
}

unsigned
logged(const char *text)
{
    return daemon_log_count(&keyd, log_mark, text, NULL);
}

void
wait_for_log(const char *text)
{
    for (int i = 0; i < 500; i++) {
        if (logged(text) > 0)
            return;
        usleep(10000);
    }
    fail_msg("the log does not say: %s", text);
}

/* --- peers --- */

size_t
octets_served(struct tls_peer *t)
{
    uint8_t octets[4096];
    size_t n, all = 0;

    kd_ignore(tls_hello(t)); /* sent before the refusal is here, or not */
    while (SSL_read_ex(t->ssl, octets, sizeof octets, &n) == 1)
        all += n;
    ERR_clear_error();
    return all;
}

void
is_refused(const struct identity *id, const struct identity *others, const char *reason)
{
    char line[200];
    struct tls_peer t;

    usleep(60000); /* the log has twenty such lines a second */
    mark_log();
    if (tls_open_from(&t, place.port, NULL, id, others))
        assert_int_equal(octets_served(&t), 0);
    tls_close(&t);
    snprintf(line, sizeof line, "reason=\"%s", reason);
    wait_for_log(line);
}

bool
has_detail(const Keyd__V1__Response *a, Keyd__V1__Status status, const char *detail)
{
    if (a->status == status &&
        kd_slice_eq(kd_rpc_slice(a->detail), kd_slice_str(detail)))
        return true;
    print_error("%d %.*s\n", (int)a->status, (int)a->detail.len,
                (const char *)a->detail.data);
    return false;
}

const Keyd__V1__Response *
part(struct tls_peer *t, uint8_t name, uint64_t offset, uint32_t total, size_t n)
{
    static const uint8_t octets[KD_RPC_INLINE_MAX];
    Keyd__V1__UploadPartRequest in = KEYD__V1__UPLOAD_PART_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    uint8_t id[16] = {name};

    r.op_case = KEYD__V1__REQUEST__OP_UPLOAD_PART;
    r.upload_part = &in;
    in.upload_id = kd_rpc_data(kd_slice(id, sizeof id));
    in.offset = offset;
    in.total = total;
    in.data = kd_rpc_data(kd_slice(octets, n));
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    return a;
}

/* Connects, asks, goes; again and again. */
static void *
be_honest(void *arg)
{
    struct honest *h = arg;

    while (!h->stop) {
        struct tls_peer t;
        int64_t from = kd_clock_ms();
        bool ok = tls_greet(&t, place.port, &place.mx1);
        if (ok) {
            ok = tls_status(&t);
            tls_close(&t);
        }
        if (ok)
            h->good++;
        else
            h->bad++;
        if (kd_clock_ms() - from > h->slowest)
            h->slowest = kd_clock_ms() - from;
        usleep(10000);
    }
    return NULL;
}

void
start_honest(struct honest *h)
{
    *h = (struct honest){0};
    assert_int_equal(pthread_create(&h->thread, NULL, be_honest, h), 0);
}

void
end_honest(struct honest *h)
{
    h->stop = true;
    pthread_join(h->thread, NULL);
    print_message("honest: %u good, %u bad, slowest %lld ms\n", h->good, h->bad,
                  (long long)h->slowest);
    assert_int_equal(h->bad, 0);
    assert_true(h->good > 10);
}
