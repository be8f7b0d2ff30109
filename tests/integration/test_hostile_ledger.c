/* What a captured gate says to the ledger, and a captured ledger to a gate: neither
 * ends, nor takes more than its share of memory, nor gets an answer that is not its
 * own. */
#include "ledger_world.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/job/state.h>
#include <keyd/rpc/rpc_pb.h>

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- the ledger and its gates --- */

/* 20 octets ask for 25,000: who asks and does not read waits. */
static void
a_gate_that_asks_and_does_not_read_costs_little_memory(void **state)
{
    struct ledger_world w;
    const struct kd_look_audit page = {.tag = 1, .from = 1};
    const struct kd_look_head head = {.tag = 2};
    struct kd_buf body;
    unsigned n = 0;

    (void)state;
    new_ledger_world(&w);
    fill_log(&w);
    kd_buf_init(&body, 64);
    kd_look_audit_put(&body, &page);
    while (kd_chan_put(&w.admin.chan, KD_MSG_look_audit, kd_buf_slice(&body), -1) ==
               KD_OK &&
           n++ < 100 * 1000)
        if (w.admin.chan.backlog > 1024 * 1024) {
            assert_int_equal(kd_chan_flush(&w.admin.chan), KD_OK);
            if (kd_chan_pending(&w.admin.chan))
                break;
        }
    kd_buf_free(&body);
    /* Another is served meanwhile, and the first one when it reads. */
    LINK_PUT(&w.mta, look_head, &head, -1);
    assert_true(link_closes(&w.mta, SOON_MS)); /* not of its class: that is an answer */
    struct message *m = link_expect(&w.admin, KD_MSG_looked_audit);
    struct kd_looked_audit looked;
    assert_int_equal(kd_looked_audit_get(m->body, &looked), KD_OK);
    assert_int_equal(looked.err, KD_OK);
    message_free(m);
    assert_true(peer_most_kib(&w.ledger) < MOST_KIB);
    end_ledger_world(&w);
}

/* --- a gate and its ledger --- */

static void
send_frame(int fd, const Keyd__V1__Request *r)
{
    uint8_t octets[4096];
    size_t n = keyd__v1__request__get_packed_size(r);

    assert_true(n <= sizeof octets - 4);
    kd_put_be32(octets, (uint32_t)n);
    keyd__v1__request__pack(r, octets + 4);
    assert_int_equal(write(fd, octets, n + 4), (ssize_t)(n + 4));
}

static Keyd__V1__Response *
read_frame(int fd)
{
    uint8_t octets[8192];
    uint32_t n;

    assert_int_equal(recv(fd, octets, 4, MSG_WAITALL), 4);
    n = kd_be32(octets);
    assert_true(n <= sizeof octets);
    assert_int_equal(recv(fd, octets, n, MSG_WAITALL), (ssize_t)n);
    Keyd__V1__Response *r = keyd__v1__response__unpack(NULL, n, octets);
    assert_non_null(r);
    return r;
}

static int
listener_at(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(strlen(path) < sizeof sun.sun_path);
    memcpy(sun.sun_path, path, strlen(path) + 1);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const struct timeval patience = {10, 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sun.sun_path, path, strlen(path) + 1);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

static void
ask_hello(int fd)
{
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;

    hello.min_version = hello.max_version = 1;
    r.id = 1;
    r.op_case = KEYD__V1__REQUEST__OP_HELLO;
    r.hello = &hello;
    send_frame(fd, &r);
    Keyd__V1__Response *answer = read_frame(fd);
    assert_int_equal(answer->status, KEYD__V1__STATUS__STATUS_OK);
    keyd__v1__response__free_unpacked(answer, NULL);
}

/* Whatever is said under the tag of another's request goes nowhere. */
static void
a_ledger_does_not_answer_for_the_vault(void **state)
{
    struct daemon d;
    const struct daemon_options options = {.sealed = true};
    struct peer gate;
    struct peer_link vault, ledger;
    char path[160];

    (void)state;
    assert_true(daemon_prepare(&d, &options));
    struct kd_conf *conf = peer_conf(&d);
    snprintf(path, sizeof path, "%s/socket", d.dir);
    int listener = listener_at(path);
    peer_start(&gate, KD_ROLE_GATE, KD_CLASS_ADMIN, &d, conf);
    peer_join(&gate, &vault, KD_LINK_VAULT, ADMIN);
    peer_join(&gate, &ledger, KD_LINK_LEDGER, ADMIN);
    peer_give(&gate, KD_LINK_LISTENER, ADMIN, listener);
    int client = connect_to(path);
    ask_hello(client);

    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    r.id = 2;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    send_frame(client, &r);
    struct message *asked = link_expect(&vault, KD_MSG_job);
    struct kd_job job;
    assert_int_equal(kd_job_get(asked->body, &job), KD_OK);
    /* The body of a vault's answer, after the eight octets that name the request. */
    struct kd_status_done forged = {.state = OPEN_STATE};
    struct kd_buf body;
    kd_buf_init(&body, 256);
    kd_buf_u64(&body, job.id);
    link_put(&ledger, KD_MSG_looked_head, kd_buf_slice(&body), -1);
    kd_status_done_put(&body, &forged);
    link_put(&ledger, KD_MSG_looked_head, kd_buf_slice(&body), -1);
    struct kd_looked_head head = {.tag = job.id};
    LINK_PUT(&ledger, looked_head, &head, -1);
    assert_true(link_drain(&ledger, SOON_MS));
    kd_ignore(poll(NULL, 0, 100)); /* time for it to do what it must not */
    forged.state = SEALED_STATE;
    kd_buf_reset(&body);
    kd_status_done_put(&body, &forged);
    const struct kd_done good = {.id = job.id, .body = kd_buf_slice(&body)};
    LINK_PUT(&vault, done, &good, -1);
    kd_buf_free(&body);
    Keyd__V1__Response *answer = read_frame(client);
    assert_int_equal(answer->id, 2);
    assert_int_equal(answer->status, KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(answer->result_case, KEYD__V1__RESPONSE__RESULT_SERVICE_STATUS);
    assert_int_equal(answer->service_status->state,
                     KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED);
    keyd__v1__response__free_unpacked(answer, NULL);
    message_free(asked);
    close(client);
    assert_true(peer_lives(&gate));
    link_clear(&vault);
    link_clear(&ledger);
    assert_int_equal(peer_stop(&gate), 0);
    kd_conf_free(conf);
    daemon_clear(&d);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_that_asks_and_does_not_read_costs_little_memory),
        cmocka_unit_test(a_ledger_does_not_answer_for_the_vault),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
