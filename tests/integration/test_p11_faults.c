/* What vendors' modules do in practice, in a running daemon with two tokens: alpha,
 * whose module fails as it is told (tests/support/fake_p11), and beta, which is well.
 * Whatever alpha does: no bad signature leaves, beta is not disturbed, alpha is called
 * away within a second and is back within five of its repair, and no wrong PIN is tried
 * twice. */
#include "ask.h"
#include "fake_world.h"
#include "people.h"
#include "softhsm.h"
#include "suite.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    OPEN_MS = 1000,
    CLOSE_MS = 5000,
    FAULTY_MS = 800,
    BASE_MS = 1000,
    LOAD_RATE = 100, /* issuances a second, for each token */
    SIGNATURES = 3,  /* of the token's, for one */
    PATIENCE_MS = 20000
};

static struct daemon d;
static keyd_client *admin;
static struct fake_world fakes;
static const char *const names[] = {"alpha", "beta"};
static const char *const domains[] = {"example.com", "example.net"};
static int log_fd[2] = {-1, -1};
static pid_t loads[2];
static double beta_rate;
static bool with_load;

/* --- fakes --- */

static void
script(const char *text)
{
    fake_world_put(&fakes, "alpha", "script", text, 0644);
}

static void
listen_to(size_t i)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(at.sun_path, sizeof at.sun_path, "%s/%s/log", fakes.top, names[i]);
    log_fd[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(log_fd[i] >= 0);
    assert_int_equal(bind(log_fd[i], (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(chmod(at.sun_path, 0777), 0);
}

/* Datagrams that say so, since the last time it was asked. */
static unsigned
told(size_t i, const char *what)
{
    char text[200];
    unsigned count = 0;
    ssize_t n;

    while ((n = recv(log_fd[i], text, sizeof text - 1, 0)) > 0) {
        text[n] = '\0';
        count += strstr(text, what) != NULL;
    }
    return count;
}

/* --- the daemon --- */

static struct keyd_answer *
tokens(void)
{
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_TOKEN_LIST});

    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.tokens.n_tokens, 2);
    return a;
}

struct seen {
    enum keyd_token_state state;
    char finding[64], serial[32];
    uint64_t n_signed, n_faults, n_away;
};

static struct seen
look_at(size_t i)
{
    struct keyd_answer *a = tokens();
    const struct keyd_token *t = &a->out.tokens.tokens[i];
    struct seen s = {.state = t->state,
                     .n_signed = t->n_signed,
                     .n_faults = t->n_faults,
                     .n_away = t->n_away};

    snprintf(s.finding, sizeof s.finding, "%.*s", (int)t->finding.n,
             (const char *)t->finding.p);
    snprintf(s.serial, sizeof s.serial, "%.*s", (int)t->serial.n,
             (const char *)t->serial.p);
    keyd_client_answer_free(a);
    return s;
}

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* between two looks */
}

/* ms until it is in that state, or one of two; -1: not in time. */
static int64_t
becomes(size_t i, enum keyd_token_state a, enum keyd_token_state b, int64_t most)
{
    int64_t began = kd_clock_ms();

    for (;;) {
        enum keyd_token_state is = look_at(i).state;
        int64_t now = kd_clock_ms();
        if (is == a || is == b)
            return now - began;
        if (now - began > most)
            return -1;
        nap(5);
    }
}

static void
adopt(size_t i)
{
    int64_t until = kd_clock_ms() + PATIENCE_MS;
    struct seen s = look_at(i);

    while (s.serial[0] == '\0' && kd_clock_ms() < until) {
        nap(20);
        s = look_at(i);
    }
    const struct keyd_request q = {
        .op = KEYD_OP_TOKEN_ADOPT,
        .in.token = {KEYD_STR(names[i]), KEYD_STR(s.serial)}};
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
    assert_true(becomes(i, KEYD_TOKEN_READY, KEYD_TOKEN_READY, PATIENCE_MS) >= 0);
}

static void
generate(size_t i, enum keyd_key_role role, uint32_t permissions, uint8_t id[16])
{
    const struct keyd_octets where[] = {KEYD_STR(names[i])};
    const struct keyd_request q = {
        .op = KEYD_OP_GENERATE_KEY,
        .in.generate_key = {.role = role,
                            .algorithm =
                                role == KEYD_ROLE_ENC ? KEYD_SECP256K1 : KEYD_ED25519,
                            .domain = KEYD_STR(domains[i]),
                            .permissions = permissions,
                            .tokens = where,
                            .n_tokens = 1}};
    struct keyd_answer *a = ask(admin, &q);

    if (a->status != KEYD_OK)
        fail_msg("generate: %s (%s)", keyd_client_status_text(a->status), a->detail);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
}

static void
provision(size_t i)
{
    uint8_t pok[16], sok[16], enc[16];

    adopt(i);
    generate(i, KEYD_ROLE_POK, 0, pok);
    generate(i, KEYD_ROLE_SOK, KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, sok);
    generate(i, KEYD_ROLE_ENC, 0, enc);
    const struct keyd_octets soks[] = {{sok, 16}};
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR(domains[i]),
                                .pok_id = {pok, 16},
                                .sok_ids = soks,
                                .n_sok_ids = 1,
                                .encryption_id = {enc, 16}}};
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
}

/* A steady load of issuances for the domain; each signet that comes is looked at. */
static void
start_load(size_t i)
{
    char socket[108], rate[16];
    const char *const output[] = {"load-alpha.out", "load-beta.out"};

    snprintf(rate, sizeof rate, "%d", LOAD_RATE);
    daemon_socket(&d, "submission", socket);
    const char *const arguments[] = {
        "--socket",      socket,   "--mix",       "issue",  "--domain",
        domains[i],      "--seed", names[i],      "--rate", rate,
        "--connections", "2",      "--in-flight", "8",      "--seconds",
        "90000",         "--lazy", "--give-up",   "60",     NULL};
    loads[i] = daemon_spawn(&d, "keyd-load", output[i], arguments);
    assert_true(loads[i] > 0);
}

/* As it is on this machine now, with nothing wrong; never more than is asked of it: a
 * load that catches up is quicker for a while. */
static void
measure_beta(void)
{
    nap(500);
    uint64_t before = look_at(1).n_signed;
    int64_t began = kd_clock_ms();
    nap(BASE_MS);
    beta_rate =
        (double)(look_at(1).n_signed - before) / (double)(kd_clock_ms() - began);
    double asked = LOAD_RATE * SIGNATURES / 1000.0;
    if (beta_rate > asked)
        beta_rate = asked;
    print_message("beta alone: %.0f signatures a second\n", beta_rate * 1000);
}

static int
begin(void **state)
{
    static char sections[2048];
    struct daemon_options o = {.no_token = true, .sections = sections};

    (void)state;
    if (!fake_world_begin(&fakes)) {
        puts("skipped: needs root and fake_p11.so");
        exit(SUITE_SKIPPED);
    }
    char user[32];
    snprintf(user, sizeof user, "user-p11 = \"%d\"\n", DAEMON_P11);
    o.top = user;
    fake_world_token(&fakes, names[0], "F000", "plain");
    fake_world_token(&fakes, names[1], "F001", "plain");
    for (size_t i = 0; i < 2; i++) {
        listen_to(i);
        fake_world_section(&fakes, names[i], "", sections, sizeof sections);
    }
    assert_true(daemon_start(&d, &o));
    assert_true(daemon_init_token(&d));
    admin = ask_connect(&d, "admin");
    provision(0);
    provision(1);
    if (!with_load)
        return 0;
    start_load(0);
    start_load(1);
    measure_beta();
    return 0;
}

static int
end(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        if (loads[i] > 0)
            kill(loads[i], SIGKILL);
    keyd_client_free(admin);
    daemon_clear(&d);
    fake_world_end(&fakes);
    return 0;
}

/* --- the faults --- */

/* What alpha does; whether it has to be called away for it, and may be refused. */
static const struct fault {
    const char *what, *script;
    bool opens;
} faults[] = {
    {"hangs", "C_Sign hang\n", true},
    {"takes five seconds", "C_Sign delay 5000\n", true},
    {"crashes", "C_Sign crash\n", true},
    {"ends its process", "C_Sign exit\n", true},
    {"session invalid", "C_SignInit rv 0xb3\n", true},
    {"handle stale", "C_SignInit rv 0x82\n", true},
    {"not logged in", "C_SignInit rv 0x101\n", true},
    {"device error", "C_Sign rv 0x30\n", true},
    {"token removed",
     "C_GetSlotList removed\nC_SignInit rv 0xe0\nC_DeriveKey rv 0xe0\n", true},
    {"renumbered", "C_GetSlotList renumber\nC_SignInit rv 0xb3\nC_DeriveKey rv 0xb3\n",
     true},
    {"PIN locked", "C_Login rv 0xa4\nC_SignInit rv 0xb3\n", true},
    {"garbage", "C_Sign garbage\n", true},
    {"another key's signature", "C_Sign otherkey\n", true},
    {"one bit wrong", "C_Sign flip 77\n", true},
    {"signature of 63 octets", "C_Sign len 63\n", true},
    {"signature of 2^40 octets", "C_Sign len 1099511627776\n", true},
    {"OK with nothing", "C_Sign nothing\n", true},
    {"audit log full", "C_SignInit rv 0x80000031\n", true},
    {"all memory used", "C_Sign rv 0x31\n", true},
    {"login hangs, session lost", "C_Login hang\nC_SignInit rv 0xb3\n", true},
    {"derives garbage", "C_DeriveKey garbage\n", false} /* nobody asks it to */,
    {"counts beyond what was asked", "C_FindObjects many 5000\nC_SignInit rv 0xb3\n",
     true},
};

static bool
report(const struct fault *f, int64_t opened, int64_t closed, double beta,
       const struct seen *at)
{
    bool good = (!f->opens || (opened >= 0 && opened <= OPEN_MS)) && closed >= 0 &&
                closed <= CLOSE_MS && beta >= 0.95;

    print_message("%-30s away %5lld ms (%s), back %5lld ms, beta %3.0f %%%s\n", f->what,
                  (long long)opened, at->finding, (long long)closed, beta * 100,
                  good ? "" : "   <--");
    return good;
}

static bool
suffer(const struct fault *f)
{
    uint64_t before = look_at(1).n_signed;
    int64_t began = kd_clock_ms();

    script(f->script);
    int64_t opened = becomes(0, KEYD_TOKEN_AWAY, KEYD_TOKEN_REFUSED, 4 * OPEN_MS);
    struct seen at = look_at(0);
    while (kd_clock_ms() - began < FAULTY_MS)
        nap(10);
    script("");
    int64_t closed = becomes(0, KEYD_TOKEN_READY, KEYD_TOKEN_READY, 3 * CLOSE_MS);
    nap(200); /* what had piled up: beta bears that, too */
    double beta = (double)(look_at(1).n_signed - before) /
                  (double)(kd_clock_ms() - began) / beta_rate;
    return report(f, opened, closed, beta, &at);
}

static void
whatever_a_token_does_the_other_goes_on_and_it_is_back_after_its_repair(void **state)
{
    unsigned n_bad = 0;

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        bool good = suffer(&faults[i]);
        for (int again = 0; !good && again < 2; again++) { /* what is so stays so */
            measure_beta();
            good = suffer(&faults[i]);
        }
        n_bad += !good;
    }
    assert_int_equal(look_at(1).n_away, 0);
    assert_int_equal(n_bad, 0);
}

/* The loads look at each signet: what came is good. */
static void
no_bad_signature_was_given_to_anybody(void **state)
{
    (void)state;
    assert_true(look_at(0).n_faults > 5);
    assert_int_equal(look_at(1).n_faults, 0);
    for (size_t i = 0; i < 2; i++) {
        kill(loads[i], SIGTERM);
        assert_int_equal(daemon_reap(loads[i], 65000), 0);
        loads[i] = 0;
    }
    assert_true(softhsm_script("cat $1/load-*.out; ! grep -v 'wrong 0, gave up 0' "
                               "$1/load-*.out",
                               d.dir, ""));
}

/* A host of alpha, by the folder in its environment. */
static bool
is_alphas(pid_t pid)
{
    char path[64], text[512] = "", wanted[96];

    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    snprintf(wanted, sizeof wanted, "FAKE_P11=%s/alpha", fakes.top);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        kd_ignore(read(fd, text, sizeof text - 1)); /* gone: it is nobody's */
        close(fd);
    }
    return strcmp(text, wanted) == 0;
}

static void
kill_hosts(void)
{
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&d, list, DAEMON_CHILDREN_MAX);

    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, "keyd-p11") == 0 && is_alphas(list[i].pid))
            kill(list[i].pid, SIGKILL);
}

/* Over hosts, the vault and the daemon, as often as they start. */
static void
a_wrong_pin_is_tried_once_in_all(void **state)
{
    (void)state;
    fake_world_put(&fakes, "pin-alpha", "pin", "1357", 0400);
    kd_ignore(told(0, "login bad"));
    kill_hosts();
    assert_true(becomes(0, KEYD_TOKEN_REFUSED, KEYD_TOKEN_REFUSED, PATIENCE_MS) >= 0);
    assert_string_equal(look_at(0).finding, "pin-refused");
    for (int i = 0; i < 3; i++) {
        kill_hosts();
        nap(300);
    }
    kill(daemon_role(&d, KEYD_PROCESS_VAULT, ""), SIGKILL);
    nap(500);
    assert_true(daemon_wait(&d, PATIENCE_MS));
    keyd_client_free(admin);
    admin = NULL;
    daemon_kill(&d);
    assert_true(daemon_launch(&d));
    assert_true(daemon_wait(&d, PATIENCE_MS));
    admin = ask_connect(&d, "admin");
    assert_true(becomes(0, KEYD_TOKEN_REFUSED, KEYD_TOKEN_REFUSED, PATIENCE_MS) >= 0);
    nap(6000); /* it looks at the file again, and has seen this one */
    assert_int_equal(told(0, "login bad"), 1);
    fake_world_put(&fakes, "pin-alpha", "pin", "2468", 0400);
    assert_true(becomes(0, KEYD_TOKEN_READY, KEYD_TOKEN_READY, PATIENCE_MS) >= 0);
}

/* --- what cannot be used --- */

static void
doctor(char out[128])
{
    const struct keyd_request q = {.op = KEYD_OP_TOKEN_DOCTOR,
                                   .in.token.name = KEYD_STR("alpha")};
    struct keyd_answer *a = ask(admin, &q);

    assert_int_equal(a->status, KEYD_OK);
    out[0] = '\0';
    if (a->out.doctor.n_findings != 0) {
        const struct keyd_token_finding *f = &a->out.doctor.findings[0];
        snprintf(out, 128, "%.*s: %.*s", (int)f->finding.n, (const char *)f->finding.p,
                 (int)f->what.n, (const char *)f->what.p);
    }
    keyd_client_answer_free(a);
}

/* After its hosts came up again. */
static void
is_named(const char *what, const char *finding)
{
    char text[128] = "";
    int64_t until = kd_clock_ms() + PATIENCE_MS;

    kill_hosts();
    do {
        nap(50);
        doctor(text);
    } while (strncmp(text, finding, strlen(finding)) != 0 && kd_clock_ms() < until);
    print_message("%-24s %s\n", what, text);
    assert_int_equal(strncmp(text, finding, strlen(finding)), 0);
}

static void
spoil_keys(const char *expression)
{
    char path[160];

    snprintf(path, sizeof path, "%s/alpha/keys", fakes.top);
    assert_true(softhsm_script("cp -p $1 $1.good; sed -i -e \"$2\" $1; chmod 644 $1",
                               path, expression));
}

static void
mend_keys(void)
{
    char path[160];

    snprintf(path, sizeof path, "%s/alpha/keys", fakes.top);
    assert_true(softhsm_script("mv $1.good $1", path, ""));
    kill_hosts();
    assert_true(becomes(0, KEYD_TOKEN_READY, KEYD_TOKEN_READY, PATIENCE_MS) >= 0);
}

static void
what_is_wrong_with_a_token_is_named(void **state)
{
    (void)state;
    fake_world_put(&fakes, "alpha", "token", "other F000 2468 plain\n", 0644);
    is_named("another label", "no-such-token");
    fake_world_put(&fakes, "alpha", "token", "alpha F000 2468 twin\n", 0644);
    is_named("two tokens", "two-tokens-match");
    fake_world_put(&fakes, "alpha", "token", "alpha F999 2468 plain\n", 0644);
    is_named("another serial number", "serial-changed");
    fake_world_put(&fakes, "alpha", "token", "alpha F000 2468 locked\n", 0644);
    is_named("PIN locked", "pin-locked");
    fake_world_put(&fakes, "alpha", "token", "alpha F000 2468 final-try\n", 0644);
    is_named("one try left", "pin-final-try");
    fake_world_put(&fakes, "alpha", "token", "alpha F000 2468 plain\n", 0644);
    kill_hosts();
    assert_true(becomes(0, KEYD_TOKEN_READY, KEYD_TOKEN_READY, PATIENCE_MS) >= 0);
    spoil_keys("1s/good$/extractable/");
    is_named("a key that comes out", "attribute");
    mend_keys();
    spoil_keys("1s/good$/derives-too/");
    is_named("a key of two purposes", "attribute");
    mend_keys();
    spoil_keys("1s/good$/sensitive-unknown/");
    is_named("an attribute not told", "attribute");
    mend_keys();
    spoil_keys("1s/ed25519 ..../ed25519 0000/");
    is_named("another key", "other-key-under-this-id");
    mend_keys();
    spoil_keys("1d");
    is_named("a key is gone", "key-missing");
    mend_keys();
    spoil_keys("1{p}");
    is_named("a key twice", "key-twice");
    mend_keys();
    assert_int_equal(look_at(1).n_away, 0);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest measured[] = {
        cmocka_unit_test(
            whatever_a_token_does_the_other_goes_on_and_it_is_back_after_its_repair),
        cmocka_unit_test(no_bad_signature_was_given_to_anybody),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(a_wrong_pin_is_tried_once_in_all),
        cmocka_unit_test(what_is_wrong_with_a_token_is_named),
    };

    suite_begin(1, argv);
    with_load = argc < 2 || strcmp(argv[1], "findings") != 0;
    return with_load ? cmocka_run_group_tests(measured, begin, end)
                     : cmocka_run_group_tests(others, begin, end);
}
