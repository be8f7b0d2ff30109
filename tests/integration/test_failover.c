/* A mail server's view of keyd's bad days: libkeyd's endpoints under a steady load
 * while daemons are killed, stopped, sealed and started again. No look-up and no
 * issuance may fail, and what was acknowledged is where it was acknowledged. */
#include "daemon.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>

enum { N_DAEMONS = 2 };

static struct daemon daemons[N_DAEMONS];
static char acks[160];

/* Longer than what is done to the daemons meanwhile; the long run goes on for longer.
 */
static int
load_seconds(void)
{
    return test_scale() >= TEST_SCALE_WHOLE ? 12 : 7;
}

static int
start_daemons(void **state)
{
    (void)state;
    for (int i = 0; i < N_DAEMONS; i++)
        if (!daemon_start(&daemons[i], NULL) || !daemon_provision(&daemons[i], NULL))
            return -1;
    snprintf(acks, sizeof acks, "%s/acks", daemons[0].dir);
    return 0;
}

static int
stop_daemons(void **state)
{
    (void)state;
    for (int i = 0; i < N_DAEMONS; i++)
        daemon_clear(&daemons[i]);
    return 0;
}

static void
nap_ms(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* the load goes on meanwhile */
}

static pid_t
start_load(unsigned n_daemons, const char *seed)
{
    char endpoints[300] = "", path[108], seconds[16];

    for (unsigned i = 0; i < n_daemons; i++) {
        size_t n = strlen(endpoints);
        daemon_socket(&daemons[i], "submission", path);
        snprintf(endpoints + n, sizeof endpoints - n, "%sunix:%s", i == 0 ? "" : ",",
                 path);
    }
    snprintf(seconds, sizeof seconds, "%d", load_seconds());
    const char *const arguments[] = {
        "--endpoints", endpoints, "--rate", "200", "--seconds", seconds, "--seed", seed,
        "--deadline",  "10000",   "--acks", acks,  "--json",    NULL};
    char output[160];
    snprintf(output, sizeof output, "%s/load.out", daemons[0].dir);
    remove(output); /* of the run before */
    pid_t pid = daemon_spawn(&daemons[0], "keyd-load", "load.out", arguments);
    assert_true(pid > 0);
    nap_ms(1000);
    return pid;
}

/* The figure after "name": in the object of that kind. */
static unsigned long
figure(const char *text, const char *kind, const char *name)
{
    const char *at = strstr(text, kind);
    char wanted[32];

    assert_non_null(at);
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    at = strstr(at, wanted);
    assert_non_null(at);
    return strtoul(at + strlen(wanted), NULL, 10);
}

static void
end_load(pid_t pid, bool lost)
{
    char path[160], text[4096] = "";

    int status = daemon_reap(pid, (load_seconds() + 15) * 1000);
    snprintf(path, sizeof path, "%s/load.out", daemons[0].dir);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    if (status != 0)
        fail_msg("keyd-load: %d: %s", status, text);
    assert_true(n > 0);
    printf("%s", text);
    assert_int_equal(figure(text, "look_ups", "ok"), load_seconds() * 160);
    assert_int_equal(figure(text, "issues", "ok"), load_seconds() * 40);
    assert_int_equal(figure(text, "look_ups", "failed"), 0);
    assert_int_equal(figure(text, "issues", "failed"), 0);
    assert_true(!lost || figure(text, "seconds", "connections_lost") > 0);
}

/* Every acknowledged signet is, octet for octet, at the daemon that acknowledged it. */
static void
check_acks(unsigned n_daemons)
{
    keyd_client *c[N_DAEMONS] = {NULL};
    char address[200], hex[65], own[65];
    unsigned endpoint, n = 0;
    FILE *f = fopen(acks, "re");

    assert_non_null(f);
    for (unsigned i = 0; i < n_daemons; i++)
        assert_non_null(c[i] = daemon_connect(&daemons[i], "submission"));
    while (fscanf(f, "%199s %64s %u", address, hex, &endpoint) == 3) {
        struct keyd_answer *a = NULL;
        uint8_t sha[32];
        assert_in_range(endpoint, 1, n_daemons);
        assert_int_equal(keyd_client_lookup_signet(c[endpoint - 1], KEYD_STR(address),
                                                   KEYD_NONE, &a),
                         KEYD_OK);
        crypto_hash_sha256(sha, a->out.signet.signet.p, a->out.signet.signet.n);
        sodium_bin2hex(own, sizeof own, sha, sizeof sha);
        assert_string_equal(own, hex);
        keyd_client_answer_free(a);
        n++;
    }
    assert_int_equal(n, load_seconds() * 40);
    for (unsigned i = 0; i < n_daemons; i++)
        keyd_client_free(c[i]);
    fclose(f);
    remove(acks);
}

static void
start_again(struct daemon *d)
{
    assert_true(daemon_launch(d));
    assert_true(daemon_wait(d, 20000));
}

static void
two_daemons_one_killed_again_and_again(void **state)
{
    (void)state;
    pid_t load = start_load(2, "killed");
    for (int i = 0; i < 4; i++) {
        struct daemon *d = &daemons[i % N_DAEMONS];
        daemon_kill(d);
        nap_ms(500);
        start_again(d);
        nap_ms(400);
    }
    end_load(load, true);
    check_acks(2);
}

static void
one_daemon_killed_is_waited_for(void **state)
{
    (void)state;
    pid_t load = start_load(1, "alone");
    for (int i = 0; i < 2; i++) {
        daemon_kill(&daemons[0]);
        nap_ms(300);
        start_again(&daemons[0]);
        nap_ms(1000);
    }
    end_load(load, true);
    check_acks(1);
}

static void
one_daemon_stopped_in_order_is_waited_for(void **state)
{
    (void)state;
    pid_t load = start_load(1, "stopped");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(daemon_stop(&daemons[0]), 0);
        start_again(&daemons[0]);
        nap_ms(1000);
    }
    end_load(load, true);
    check_acks(1);
}

/* Each role in turn: gate, vault, ledger. The supervisor starts it again. */
static void
a_role_killed_is_waited_for(void **state)
{
    static const struct {
        enum keyd_process_role role;
        const char *name;
    } roles[] = {{KEYD_PROCESS_GATE, "submission"},
                 {KEYD_PROCESS_VAULT, ""},
                 {KEYD_PROCESS_LEDGER, ""}};

    (void)state;
    pid_t load = start_load(2, "roles");
    for (int i = 0; i < 3; i++) {
        pid_t pid = daemon_role(&daemons[0], roles[i].role, roles[i].name);
        assert_true(pid > 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        nap_ms(1500);
    }
    end_load(load, true);
    check_acks(2);
}

/* Sealed, one of two: issuance goes to the other, look-ups go to both. */
static void
a_sealed_daemon_is_left_alone(void **state)
{
    struct keyd_answer *a = NULL;
    char credential[DAEMON_CREDENTIAL_SIZE];

    (void)state;
    pid_t load = start_load(2, "sealed");
    keyd_client *c = daemon_connect(&daemons[0], "admin");
    assert_non_null(c);
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    nap_ms(2500);
    memcpy(credential, daemons[0].credential, sizeof credential);
    assert_int_equal(
        keyd_client_unseal(c, KEYD_SLOT_CREDENTIAL,
                           (struct keyd_secret){credential, sizeof credential}, &a),
        KEYD_OK);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    end_load(load, false);
    check_acks(2);
}

static void
drain(keyd_client *c, enum keyd_drain_action action)
{
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_drain(c, action, false, &a), KEYD_OK);
    keyd_client_answer_free(a);
}

/* Drained and served again, one after the other; at no time both. */
static void
drained_daemons_are_left_for_the_other(void **state)
{
    (void)state;
    pid_t load = start_load(2, "drained");
    for (int i = 0; i < N_DAEMONS; i++) {
        keyd_client *c = daemon_connect(&daemons[i], "admin");
        assert_non_null(c);
        drain(c, KEYD_DRAIN_BEGIN);
        nap_ms(1500);
        drain(c, KEYD_DRAIN_CANCEL);
        keyd_client_free(c);
        nap_ms(1500);
    }
    end_load(load, false);
    check_acks(2);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_daemons_one_killed_again_and_again),
        cmocka_unit_test(one_daemon_killed_is_waited_for),
        cmocka_unit_test(one_daemon_stopped_in_order_is_waited_for),
        cmocka_unit_test(a_role_killed_is_waited_for),
        cmocka_unit_test(a_sealed_daemon_is_left_alone),
        cmocka_unit_test(drained_daemons_are_left_for_the_other),
    };

    return cmocka_run_group_tests(tests, start_daemons, stop_daemons);
}
