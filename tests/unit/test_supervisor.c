/* Parts of the supervisor that need no children: what takes a restart, and what it
 * writes of the vault's events. */
#include "change.h"
#include "rehearse.h"
#include "report.h"
#include "test.h"

#include <keyd/p11/finding.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- what takes a restart --- */

static const struct kd_conf_env env = {.check_files = false, .n_cpus = 2};

#define DOMAIN "domain \"example.com\" {\n}\n"
#define ADMIN "principal \"op\" {\n uid = 1\n class = \"admin\"\n operations = { }\n}\n"
#define MTA "principal \"mx\" {\n uid = 2\n class = \"mta\"\n operations = { }\n}\n"
#define TOKEN(keys)                                                                    \
    "token \"a\" { module = \"/m.so\" label = \"a\" pin-file = \"/p\" " keys " }\n"

static struct kd_conf *
conf_of(const char *text)
{
    static struct kd_conf_problems problems;
    struct kd_conf *c = NULL;

    if (kd_conf_parse(kd_slice_str(text), &env, &c, &problems) != KD_OK)
        fail_msg("%s: %s", text, problems.n > 0 ? problems.list[0].text : "?");
    return c;
}

static uint64_t
changed(const char *before, const char *after, uint64_t files)
{
    struct kd_conf *a = conf_of(before), *b = conf_of(after);
    uint64_t keys = change_needs_restart(a, b, files);

    kd_conf_free(a);
    kd_conf_free(b);
    return keys;
}

static uint64_t
bit(enum kd_restart_key key)
{
    return UINT64_C(1) << key;
}

static const struct {
    const char *top, *sections; /* beside the plain ones */
    enum kd_restart_key key;
} restarts[] = {
    {"state-directory = \"/srv/state\"\n", "", KD_RESTART_STATE_DIRECTORY},
    {"libexec-directory = \"/opt/keyd\"\n", "", KD_RESTART_LIBEXEC_DIRECTORY},
    {"user-gate = \"other\"\n", "", KD_RESTART_USER_GATE},
    {"user-vault = \"other\"\n", "", KD_RESTART_USER_VAULT},
    {"user-ledger = \"other\"\n", "", KD_RESTART_USER_LEDGER},
    {"group = \"other\"\n", "", KD_RESTART_GROUP},
    {"hardening = relaxed\n", "", KD_RESTART_HARDENING},
    {"crypto-threads = 3\n", "", KD_RESTART_CRYPTO_THREADS},
    {"", "principal \"m\" {\n uid = 3\n class = \"milter\"\n operations = { }\n}\n",
     KD_RESTART_LISTENER},
    {"", "listener \"mta\" {\n socket = \"/run/x/mta.sock\"\n}\n", KD_RESTART_SOCKET},
    {"", "listener \"mta\" {\n mode = \"0600\"\n}\n", KD_RESTART_MODE},
    {"", "listener \"mta\" {\n workers = 2\n}\n", KD_RESTART_WORKERS},
    {"", TOKEN(""), KD_RESTART_TOKEN}, /* one more */
};

/* Each key of a token: the section before is TOKEN(""). */
static const char *const token_changes[] = {
    "",
    "token \"b\" { module = \"/m.so\" label = \"a\" pin-file = \"/p\" }\n",
    "token \"a\" { module = \"/n.so\" label = \"a\" pin-file = \"/p\" }\n",
    "token \"a\" { module = \"/m.so\" label = \"b\" pin-file = \"/p\" }\n",
    "token \"a\" { module = \"/m.so\" label = \"a\" pin-file = \"/q\" }\n",
    "token \"a\" { module = \"/m.so\" label = \"a\" }\n",
    TOKEN("serial = \"1\""),
    TOKEN("uri = \"pkcs11:model=m\""),
    TOKEN("profile = pcsc"),
    TOKEN("paths = { \"/tokens\" }"),
    TOKEN("environment = { \"A=b\" }"),
    TOKEN("sessions = 3"),
    TOKEN("timeout = 601"),
    TOKEN("recycle-after = 50001"),
    TOKEN("max-memory = 65"),
    TOKEN("max-message = 4096"),
    TOKEN("user = \"u\""),
    TOKEN("group = \"g\""),
    TOKEN("") "token \"b\" { module = \"/m.so\" label = \"b\" pin-file = \"/p\" }\n",
};

static void
a_token_that_changes_needs_a_restart(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof token_changes / sizeof *token_changes; i++) {
        snprintf(text, sizeof text, DOMAIN ADMIN "%s", token_changes[i]);
        assert_int_equal(changed(DOMAIN ADMIN TOKEN(""), text, 65536),
                         bit(KD_RESTART_TOKEN));
    }
    /* The same said in other words is the same. */
    assert_int_equal(
        changed(DOMAIN ADMIN TOKEN(""),
                TOKEN("uri = \"pkcs11:token=a\" sessions = 2") DOMAIN ADMIN, 65536),
        0);
    assert_int_equal(changed(DOMAIN ADMIN TOKEN(""),
                             "user-p11 = \"other\"\n" DOMAIN ADMIN TOKEN(""), 65536),
                     bit(KD_RESTART_USER_P11));
    /* Of use to nobody. */
    assert_int_equal(
        changed(DOMAIN ADMIN, "user-p11 = \"other\"\n" DOMAIN ADMIN, 65536), 0);
}

static void
what_cannot_change_is_found(void **state)
{
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof restarts / sizeof *restarts; i++) {
        snprintf(text, sizeof text, "%s" DOMAIN ADMIN MTA "%s", restarts[i].top,
                 restarts[i].sections);
        assert_int_equal(changed(DOMAIN ADMIN MTA, text, 65536), bit(restarts[i].key));
    }
    /* Several at a time, all of them named. */
    assert_int_equal(
        changed(DOMAIN ADMIN, "hardening = relaxed\n" DOMAIN ADMIN MTA, 65536),
        bit(KD_RESTART_HARDENING) | bit(KD_RESTART_LISTENER));
    /* The run directory moves the sockets with it. */
    assert_int_equal(
        changed(DOMAIN ADMIN, "run-directory = \"/run/other\"\n" DOMAIN ADMIN, 65536),
        bit(KD_RESTART_RUN_DIRECTORY) | bit(KD_RESTART_SOCKET));
}

static void
what_can_change_is_not(void **state)
{
    static const char *const may[] = {
        DOMAIN ADMIN MTA "domain \"example.org\" {\n}\n",
        "log-level = debug\nsingle-operator = yes\nverify-sampled = 9\n"
        "group-commit-max = 7\naudit-checkpoint-interval = 60\ndrain-timeout = 0\n"
        "shadow-policy = \"/etc/other.conf\"\nmax-in-flight = 3\nidle-timeout = 11\n"
        "max-connections = 20000\n" DOMAIN ADMIN MTA,
        DOMAIN ADMIN, /* a class loses its last principal: its listener knows nobody */
        DOMAIN,
        DOMAIN ADMIN
        "principal \"mx\" {\n uid = 7\n class = \"mta\"\n operations = { }\n}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof may / sizeof *may; i++)
        assert_int_equal(changed(DOMAIN ADMIN MTA, may[i], 65536), 0);
}

static void
more_connections_than_descriptors_need_a_restart(void **state)
{
    static const char more[] = "max-connections = 20000\n" DOMAIN ADMIN;
    static const char less[] = "max-connections = 100\n" DOMAIN ADMIN;

    (void)state;
    assert_int_equal(changed(DOMAIN ADMIN, more, 20000 + CHANGE_FILES_BESIDE), 0);
    assert_int_equal(changed(DOMAIN ADMIN, more, 20000 + CHANGE_FILES_BESIDE - 1),
                     bit(KD_RESTART_MAX_CONNECTIONS));
    assert_int_equal(changed(DOMAIN ADMIN,
                             "max-remote-connections = 9000\n" DOMAIN ADMIN,
                             9000 + 256 + CHANGE_FILES_BESIDE - 1),
                     bit(KD_RESTART_MAX_REMOTE_CONNECTIONS));
    /* Who started with fewer descriptors than configured may still go down. */
    assert_int_equal(changed(DOMAIN ADMIN, less, 64), 0);
}

/* --- texts --- */

static const char *
text_of(const char *text, const struct kd_ctl_event *m)
{
    static char out[128];

    report_text(text, m, out, sizeof out);
    return out;
}

static void
an_event_is_written_with_its_parts_in_place(void **state)
{
    const struct kd_ctl_event m = {.a = 7,
                                   .b = UINT64_MAX,
                                   .op = KD_OP_IssueUserSignet,
                                   .name = kd_slice_str("submitd-1.a_b")};

    (void)state;
    assert_string_equal(text_of("plain", &m), "plain");
    assert_string_equal(text_of("%llu of %llu", &m), "7 of 18446744073709551615");
    assert_string_equal(text_of("%op to %name: %llu", &m),
                        "IssueUserSignet to submitd-1.a_b: 7");
    assert_string_equal(text_of("%llu %llu %llu", &m), "7 18446744073709551615 %llu");
    assert_string_equal(text_of("100%", &m), "100%");
}

static void
what_was_found_of_a_token_is_written_in_words(void **state)
{
    struct kd_ctl_event m = {.a = P11_KEY_TWICE, .b = 0x30};

    (void)state;
    assert_string_equal(
        text_of("%finding (%rv)", &m),
        "more than one object has a key's id (CKR_DEVICE_ERROR (0x30))");
    m = (struct kd_ctl_event){.a = 250, .b = 0};
    assert_string_equal(text_of("%finding %rv %rv", &m), "250 no error %rv");
    m.b = 0x80000001;
    assert_string_equal(text_of("%llu %rv", &m), "250 0x80000001");
}

/* The vault may be captured: what it says of names never becomes more than a name. */
static void
a_name_that_is_none_is_not_written(void **state)
{
    static const char *const bad[] = {"",     "Upper",       "a b",
                                      "a\nb", "\x1b[31m",    "a%llu",
                                      "a\"",  "caf\xc3\xa9", "a@b.example"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct kd_ctl_event m = {.name = kd_slice_str(bad[i]), .op = 63};
        assert_string_equal(text_of("%op to %name.", &m), "? to ?.");
    }
}

static void
a_long_text_is_cut(void **state)
{
    char name[200], out[16];
    struct kd_ctl_event m = {.a = UINT64_MAX};

    (void)state;
    memset(name, 'a', sizeof name);
    m.name = kd_slice(name, sizeof name);
    report_text("to %name", &m, out, sizeof out);
    assert_string_equal(out, "to aaaaaaaaaaaa");
    report_text("%llu%llu", &m, out, sizeof out);
    assert_int_equal(strlen(out), sizeof out - 1);
    report_text("x", &m, out, 1);
    assert_string_equal(out, "");
}

/* --- rehearsing --- */

static void
add_one(void *arg)
{
    ++*(int *)arg;
}

static void
die(void *arg)
{
    (void)arg;
    raise(SIGKILL);
}

static void
leave(void *arg)
{
    (void)arg;
    _exit(7);
}

static void
hang(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static void
a_rehearsal_tells_what_one_survives(void **state)
{
    int n = 0, status;

    (void)state;
    assert_int_equal(rehearse(add_one, &n, 5000), KD_OK);
    assert_int_equal(n, 0); /* it was another process's */
    assert_int_equal(rehearse(die, NULL, 5000), KD_FAILED);
    assert_int_equal(rehearse(leave, NULL, 5000), KD_FAILED);
    assert_int_equal(rehearse(hang, NULL, 50), KD_TIMEOUT);
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* nothing is left behind */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_change_is_found),
        cmocka_unit_test(a_token_that_changes_needs_a_restart),
        cmocka_unit_test(what_can_change_is_not),
        cmocka_unit_test(more_connections_than_descriptors_need_a_restart),
        cmocka_unit_test(an_event_is_written_with_its_parts_in_place),
        cmocka_unit_test(what_was_found_of_a_token_is_written_in_words),
        cmocka_unit_test(a_name_that_is_none_is_not_written),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(a_rehearsal_tells_what_one_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
