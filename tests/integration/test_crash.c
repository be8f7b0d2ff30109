/* kill -9 while signets are issued and messages signed and opened: whichever process
 * dies, and whenever, what was acknowledged is there, every use of a key has its
 * record, and the service is back within two seconds. The registry is judged by
 * keyd-check, which shares no code with the ledger but the codec of records. */
#include "daemon.h"
#include "post.h"
#include "scale.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>

enum {
    KILLS_WHOLE = 1000,
    RESTARTS_WHOLE = 100,
    HOSTS_WHOLE = 200,
    LOADS_MAX = 3,
    READY_MS = 2000,
    RESTART_MS = 5000,
    ROUNDS_MAX = KILLS_WHOLE / TEST_SCALE_WHOLE * TEST_SCALE_MAX
};

struct run {
    struct daemon d;
    pid_t loads[LOADS_MAX];
    size_t n_loads;
    char acks[128];
    char audit_key[65];
    uint32_t ms[ROUNDS_MAX]; /* from a kill until ready */
    size_t n;
};

static struct run run;

static void
get_audit_key(struct run *r)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&r->d, "admin");

    assert_non_null(c);
    assert_int_equal(keyd_client_public_keys(c, KEYD_NONE, KEYD_NONE, &a), KEYD_OK);
    for (size_t i = 0; i < a->out.keys.n_keys; i++)
        if (a->out.keys.keys[i].role == KEYD_ROLE_AUDIT)
            sodium_bin2hex(r->audit_key, sizeof r->audit_key,
                           a->out.keys.keys[i].public_key.p, 32);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_int_equal(strlen(r->audit_key), 64);
}

/* One load more, on the socket of that class. */
static void
add_load(struct run *r, const char *class, const char *mix, const char *rate)
{
    char socket[108], output[32];

    assert_true(r->n_loads < LOADS_MAX);
    snprintf(output, sizeof output, "load-%zu.out", r->n_loads);
    daemon_socket(&r->d, class, socket);
    const char *const arguments[] = {
        "--socket",      socket,  "--mix",       mix,         "--steps", "5",
        "--connections", "4",     "--in-flight", "16",        "--rate",  rate,
        "--seconds",     "90000", "--lazy",      "--give-up", "60",      "--acks",
        r->acks,         NULL};
    pid_t pid = daemon_spawn(&r->d, "keyd-load", output, arguments);
    assert_int_not_equal(pid, 0);
    r->loads[r->n_loads++] = pid;
}

static void
begin(struct run *r, const char *mix)
{
    *r = (struct run){0};
    assert_true(daemon_start(&r->d, NULL));
    assert_true(daemon_provision(&r->d, NULL));
    get_audit_key(r);
    snprintf(r->acks, sizeof r->acks, "%s/acks", r->d.dir);
    add_load(r, "submission", mix, "600");
}

/* Signets, and messages both ways. */
static void
begin_mixed(struct run *r)
{
    struct post p;

    *r = (struct run){0};
    post_start_com(&p, NULL);
    post_disconnect(&p);
    r->d = p.d;
    get_audit_key(r);
    snprintf(r->acks, sizeof r->acks, "%s/acks", r->d.dir);
    add_load(r, "submission", "rotate", "300");
    add_load(r, "submission", "sign", "100");
    add_load(r, "mta", "open", "100");
}

static size_t
count_lines(const char *path)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;
    int c;

    while (f != NULL && (c = getc(f)) != EOF)
        n += c == '\n';
    if (f != NULL)
        fclose(f);
    return n;
}

static void
show_file(const struct run *r, const char *name)
{
    char path[160], line[1024];

    snprintf(path, sizeof path, "%s/%s", r->d.dir, name);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stdout);
    if (f != NULL)
        fclose(f);
}

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Ends the load, stops the daemon, has the registry judged. */
static void
end(struct run *r, const char *what)
{
    for (size_t i = 0; i < r->n_loads; i++)
        kill(r->loads[i], SIGTERM);
    for (size_t i = 0; i < r->n_loads; i++) {
        char output[32];
        int loaded = daemon_reap(r->loads[i], 60000);
        r->loads[i] = 0;
        snprintf(output, sizeof output, "load-%zu.out", i);
        show_file(r, output);
        assert_int_equal(loaded, 0);
    }
    assert_int_equal(daemon_stop(&r->d), 0);

    const char *const arguments[] = {r->d.state,    "--acks",     r->acks,
                                     "--audit-key", r->audit_key, NULL};
    int checked =
        daemon_reap(daemon_spawn(&r->d, "keyd-check", "check.out", arguments), 120000);
    show_file(r, "check.out");
    qsort(r->ms, r->n, sizeof *r->ms, by_value);
    printf("%s: %zu kills, ready again after %u ms (median), %u ms (most); "
           "%zu results acknowledged, lost: %s\n",
           what, r->n, r->ms[r->n / 2], r->ms[r->n - 1], count_lines(r->acks),
           checked == 0 ? "0" : "see above");
    assert_int_equal(checked, 0);
    assert_true(count_lines(r->acks) >= 10 * r->n);
    daemon_clear(&r->d);
}

static void
nap(unsigned ms)
{
    kd_ignore(poll(NULL, 0, (int)ms)); /* time for the load to go on */
}

/* Operational, every role there and confined, the killed process none of them. */
static bool
is_ready_without(const struct run *r, pid_t killed)
{
    char path[108];
    struct keyd_answer *a = NULL;
    keyd_client *c = keyd_client_new();
    bool ready = false;

    daemon_socket(&r->d, "admin", path);
    if (c != NULL && keyd_client_set_deadline(c, 1000) == KEYD_OK &&
        keyd_client_connect(c, path, 1000) == KEYD_OK &&
        keyd_client_status(c, &a) == KEYD_OK)
        ready = (a->out.status.state == KEYD_STATE_OPERATIONAL ||
                 a->out.status.state == KEYD_STATE_DEGRADED) &&
                a->out.status.probe_ok;
    for (size_t i = 0; ready && i < a->out.status.n_processes; i++) {
        const struct keyd_process *p = &a->out.status.processes[i];
        ready = p->sandbox && (pid_t)p->pid != killed;
    }
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return ready;
}

static uint32_t
wait_until_ready(const struct run *r, pid_t killed, int64_t since)
{
    while (!is_ready_without(r, killed)) {
        if (kd_clock_ms() - since > 5 * READY_MS)
            fail_msg("not ready %d ms after the kill", 5 * READY_MS);
        nap(1);
    }
    return (uint32_t)(kd_clock_ms() - since);
}

/* Vault, ledger, or one of the gates, each as often. */
static pid_t
choose(const struct run *r)
{
    static const char *const names[] = {"keyd-vault", "keyd-ledger", "keyd-gate"};
    const char *name = names[randombytes_uniform(3)];
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&r->d, list, DAEMON_CHILDREN_MAX);
    size_t at = randombytes_uniform((uint32_t)n + 1);

    for (size_t i = 0; i < n; i++)
        if (strcmp(list[(i + at) % n].name, name) == 0)
            return list[(i + at) % n].pid;
    fail_msg("no %s among %zu processes", name, n);
    return 0;
}

static void
kill_roles(struct run *r, size_t kills)
{
    for (size_t i = 0; i < kills; i++) {
        nap(20 + randombytes_uniform(180));
        pid_t pid = choose(r);
        int64_t since = kd_clock_ms();
        assert_int_equal(kill(pid, SIGKILL), 0);
        r->ms[r->n++] = wait_until_ready(r, pid, since);
        if (r->ms[r->n - 1] > READY_MS)
            fail_msg("ready only %u ms after kill %zu", r->ms[r->n - 1], i);
    }
}

static void
T_OP_24_roles_killed_at_random_lose_nothing_and_leave_no_use_of_a_key_unrecorded(
    void **state)
{
    (void)state;
    begin(&run, "rotate");
    kill_roles(&run, test_rounds(KILLS_WHOLE));
    end(&run, "roles");
}

/* What was signed and what was opened, and given away, has its record. */
static void
T_OP_24_roles_killed_while_messages_are_signed_and_opened_leave_none_unrecorded(
    void **state)
{
    (void)state;
    begin_mixed(&run);
    kill_roles(&run, test_rounds(KILLS_WHOLE));
    end(&run, "mixed");
}

/* --- the whole daemon --- */

struct head {
    uint64_t seq;
    uint8_t hash[32];
};

static struct head
audit_head(const struct run *r)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&r->d, "admin");
    struct head h;

    assert_non_null(c);
    assert_int_equal(keyd_client_audit_head(c, &a), KEYD_OK);
    h.seq = a->out.audit_head.seq;
    assert_int_equal(a->out.audit_head.record_hash.n, sizeof h.hash);
    memcpy(h.hash, a->out.audit_head.record_hash.p, sizeof h.hash);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return h;
}

/* I5: what the head was is still in the log, at its place. */
static void
assert_log_contains(const struct run *r, const struct head *h)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&r->d, "admin");
    uint8_t hash[32];

    assert_non_null(c);
    assert_int_equal(keyd_client_audit_read(c, h->seq, 1, &a), KEYD_OK);
    assert_int_equal(a->out.audit.n_records, 1);
    /* The leaf hash of RFC 6962. */
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, (const uint8_t *)"", 1);
    crypto_hash_sha256_update(&st, a->out.audit.records[0].octets.p,
                              a->out.audit.records[0].octets.n);
    crypto_hash_sha256_final(&st, hash);
    assert_memory_equal(hash, h->hash, sizeof hash);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

static void
T_OP_24_the_whole_daemon_killed_and_started_again_loses_nothing(void **state)
{
    size_t restarts = test_rounds(RESTARTS_WHOLE);

    (void)state;
    begin(&run, "issue");
    for (size_t i = 0; i < restarts; i++) {
        nap(100 + randombytes_uniform(200));
        struct head h = audit_head(&run);
        int64_t since = kd_clock_ms();
        daemon_kill(&run.d);
        assert_true(daemon_launch(&run.d));
        assert_true(daemon_wait(&run.d, RESTART_MS));
        run.ms[run.n++] = (uint32_t)(kd_clock_ms() - since);
        assert_log_contains(&run, &h);
    }
    nap(300);
    end(&run, "the daemon");
}

/* --- hosts of a token (TOKEN=softhsm) --- */

static pid_t
choose_host(const struct run *r)
{
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&r->d, list, DAEMON_CHILDREN_MAX);
    size_t at = randombytes_uniform((uint32_t)n + 1);

    for (size_t i = 0; i < n; i++)
        if (strcmp(list[(i + at) % n].name, "keyd-p11") == 0)
            return list[(i + at) % n].pid;
    return 0; /* the last one has just been killed */
}

static void
check_token(const struct run *r)
{
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&r->d, "admin");

    assert_non_null(c);
    assert_int_equal(keyd_client_token_list(c, &a), KEYD_OK);
    assert_int_equal(a->out.tokens.n_tokens, 1);
    const struct keyd_token *t = &a->out.tokens.tokens[0];
    printf("token: %llu signed, %llu derived, %llu faults, away %llu times\n",
           (unsigned long long)t->n_signed, (unsigned long long)t->n_derived,
           (unsigned long long)t->n_faults, (unsigned long long)t->n_away);
    assert_int_equal(t->state, KEYD_TOKEN_READY);
    assert_int_equal(t->n_away, 0);
    assert_int_equal(t->n_faults, 0);
    assert_true(t->n_signed > 100 && t->n_derived > 100);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

/* No request fails but for what is asked again; the token is never called away, and its
 * files are what they were. */
static void
hosts_of_a_token_killed_under_load_cost_no_request(void **state)
{
    char before[65], after[65];
    size_t kills = test_rounds(HOSTS_WHOLE);

    (void)state;
    begin_mixed(&run);
    assert_true(run.d.is_adopted && softhsm_digest(&run.d.hsm, before));
    for (size_t i = 0; i < kills; i++) {
        nap(50 + randombytes_uniform(250));
        pid_t pid = choose_host(&run);
        if (pid == 0)
            continue;
        int64_t since = kd_clock_ms();
        assert_int_equal(kill(pid, SIGKILL), 0);
        run.ms[run.n++] = wait_until_ready(&run, pid, since);
    }
    nap(300);
    check_token(&run);
    assert_true(softhsm_digest(&run.d.hsm, after));
    assert_string_equal(before, after);
    end(&run, "hosts");
}

static int
clean_up(void **state)
{
    (void)state;
    /* After a failure, whose evidence stays: the directory and its log. */
    for (size_t i = 0; i < run.n_loads; i++)
        if (run.loads[i] != 0)
            kill(run.loads[i], SIGKILL);
    if (run.d.pid != 0)
        printf("left for inspection: %s\n", run.d.dir);
    daemon_kill(&run.d);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            T_OP_24_roles_killed_at_random_lose_nothing_and_leave_no_use_of_a_key_unrecorded,
            clean_up),
        cmocka_unit_test_teardown(
            T_OP_24_roles_killed_while_messages_are_signed_and_opened_leave_none_unrecorded,
            clean_up),
        cmocka_unit_test_teardown(
            T_OP_24_the_whole_daemon_killed_and_started_again_loses_nothing, clean_up),
    };

    const struct CMUnitTest of_tokens[] = {
        cmocka_unit_test_teardown(hosts_of_a_token_killed_under_load_cost_no_request,
                                  clean_up),
        cmocka_unit_test_teardown(
            T_OP_24_the_whole_daemon_killed_and_started_again_loses_nothing, clean_up),
    };
    const char *token = getenv("TOKEN");

    suite_begin(argc, argv);
    if (token != NULL && strcmp(token, "softhsm") == 0)
        return cmocka_run_group_tests(of_tokens, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
