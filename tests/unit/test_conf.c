/* The configuration: each trap of its syntax, each key at its bounds, what keys say of
 * each other, the file, the manual page and the example. */
#include <keyd/conf/conf.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka.h wants setjmp, stdarg, stddef and stdint first */
#include <cmocka.h>

static struct kd_conf_problems problems;

/* Accounts of a machine that is not ours. */
static const struct {
    const char *name;
    uint32_t id;
} accounts[] = {{"root", 0},
                {"nobody", 65534},
                {"dime-keyd", 900},
                {"dime-keyd-gate", 901},
                {"dime-keyd-vault", 902},
                {"dime-keyd-ledger", 903},
                {"submitd", 2001},
                {"twin", 901}};

static kd_err
find_account(void *arg, const char *name, uint32_t *id)
{
    (void)arg;
    for (size_t i = 0; i < sizeof accounts / sizeof accounts[0]; i++)
        if (strcmp(name, accounts[i].name) == 0) {
            *id = accounts[i].id;
            return KD_OK;
        }
    return KD_NOT_FOUND;
}

static const struct kd_conf_env as_user = {
    .n_cpus = 4, .find_user = find_account, .find_group = find_account};
static const struct kd_conf_env as_root = {.as_root = true,
                                           .n_cpus = 4,
                                           .find_user = find_account,
                                           .find_group = find_account};

/* What every good file needs; three lines. */
#define TAIL                                                                           \
    "domain \"example.com\" { }\n"                                                     \
    "principal \"op\" { uid = 0 class = admin operations = { \"Unseal\" } }\n"         \
    "\n"

static kd_err
parse_octets(struct kd_slice text, const struct kd_conf_env *env, struct kd_conf **out)
{
    return kd_conf_parse(text, env, out, &problems);
}

static struct kd_conf *
accepted(const char *text, const struct kd_conf_env *env)
{
    struct kd_conf *conf = NULL;
    kd_err err = parse_octets(kd_slice_str(text), env, &conf);

    for (size_t i = 0; i < problems.n && err != KD_OK; i++)
        print_error("%u: %s\n", problems.list[i].line, problems.list[i].text);
    assert_int_equal(err, KD_OK);
    return conf;
}

static kd_err
mta_check(const struct kd_policy *p, uint32_t uid, unsigned op, struct kd_slice domain)
{
    const struct kd_caller caller = kd_caller_local(KD_CLASS_MTA, uid);

    return kd_policy_check(p, &caller, op, domain);
}

static void
accepted_silently(const char *text)
{
    kd_conf_free(accepted(text, &as_user));
    assert_int_equal(problems.n, 0);
}

static bool
has_problem(uint32_t line, bool is_warning, const char *part)
{
    for (size_t i = 0; i < problems.n; i++)
        if (problems.list[i].line == line &&
            problems.list[i].is_warning == is_warning &&
            strstr(problems.list[i].text, part) != NULL)
            return true;
    print_error("wanted %u: %s; there is:\n", line, part);
    for (size_t i = 0; i < problems.n; i++)
        print_error("  %u%s: %s\n", problems.list[i].line,
                    problems.list[i].is_warning ? " (warning)" : "",
                    problems.list[i].text);
    return false;
}

/* One error, on that line, and no other. */
static void
refused_octets(struct kd_slice text, const struct kd_conf_env *env, uint32_t line,
               const char *part)
{
    struct kd_conf *conf = NULL;

    assert_int_equal(parse_octets(text, env, &conf), KD_INVALID);
    assert_null(conf);
    assert_true(has_problem(line, false, part));
    if (problems.n_errors != 1)
        print_error("%s", (const char *)text.p);
    assert_int_equal(problems.n_errors, 1);
}

/* The same where one mistake shows in two places. */
static void
refused_with_others(const char *text, uint32_t line, const char *part)
{
    struct kd_conf *conf = NULL;

    assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
    assert_true(has_problem(line, false, part));
}

static void
refused(const char *text, uint32_t line, const char *part)
{
    refused_octets(kd_slice_str(text), &as_user, line, part);
}

static void
refused_as_root(const char *text, uint32_t line, const char *part)
{
    refused_octets(kd_slice_str(text), &as_root, line, part);
}

/* --- the traps ------------------------------------------------------------------- */

static void
the_base_of_the_tests_is_accepted(void **state)
{
    (void)state;
    accepted_silently(TAIL);
}

static void
the_digest_is_that_of_the_text(void **state)
{
    /* sha256sum of "domain \"a.b\" { }\n" */
    static const uint8_t want[] = {0xd7, 0x62, 0x90, 0x89, 0x0f, 0xce, 0xcd, 0xe0,
                                   0x3d, 0xce, 0x78, 0x0a, 0xb5, 0x2a, 0xb3, 0x07,
                                   0x6e, 0x84, 0xd2, 0xe9, 0x0f, 0xa5, 0x60, 0xb2,
                                   0xf2, 0x23, 0x12, 0x9c, 0x63, 0x1c, 0xe4, 0x15};
    struct kd_conf *c = accepted("domain \"a.b\" { }\n", &as_user);

    (void)state;
    assert_memory_equal(c->digest, want, sizeof c->digest);
    kd_conf_free(c);
}

static void
duplicate_key_is_refused(void **state)
{
    (void)state;
    refused("log-level = info\n\nlog-level = warn\n" TAIL, 3,
            "log-level is given already, at line 1");
    refused(TAIL "listener \"admin\" {\n workers = 1\n workers = 2\n}\n", 6,
            "workers is given already, at line 5");
    /* a list too, and a key of the file again after a section */
    refused("max-frame = 65536\n" TAIL "max-frame = 65536\n", 5,
            "max-frame is given already, at line 1");
}

static void
the_same_key_in_two_sections_is_accepted(void **state)
{
    (void)state;
    accepted_silently(TAIL "principal \"a\" { uid=1 class=mta operations={} }\n"
                           "principal \"b\" { uid=2 class=mta operations={} }\n");
}

static void
duplicate_section_is_refused(void **state)
{
    (void)state;
    refused(TAIL "domain \"example.com\" { }\n", 4,
            "domain \"example.com\" is there already, at line 1");
    refused(TAIL "listener \"admin\" {}\nlistener \"admin\" {}\n", 5,
            "listener \"admin\" is there already, at line 4");
}

static void
missing_brace_is_refused(void **state)
{
    (void)state;
    refused(TAIL "domain \"a.example\" {\n", 4, "section without its \"}\"");
    refused("domain \"a.example\" {\n" TAIL, 2,
            "is the \"}\" of the one of line 1 missing?");
    refused(TAIL "domain \"a.example\" { } }\n", 4,
            "\"}\" instead of a key or a section");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 16, 17\n}\n", 4,
            "section without its \"}\"");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 16, 17\n", 4,
            "section without its \"}\"");
    refused(TAIL "max-frame =", 4, "max-frame: no value");
}

static void
open_quote_is_refused(void **state)
{
    (void)state;
    refused(TAIL "run-directory = \"/run/x\n", 4, "quote that is not closed");
    refused(TAIL "run-directory = \"/run/x", 4, "quote that is not closed");
    refused("run-directory = \"/run/x\nlog-level = info\n" TAIL, 1,
            "quote that is not closed");
}

static void
the_environment_is_refused(void **state)
{
    (void)state;
    refused("state-directory = \"/var/${USER}\"\n" TAIL, 1, "\"${\" in a string");
    refused("\nlog-level = ${LEVEL}\n" TAIL, 2, "'$': the environment is not used");
}

static void
include_is_refused(void **state)
{
    (void)state;
    refused("include(\"/etc/other\")\n" TAIL, 1, "include() neither");
    refused_with_others("include (\"/etc/other\")\n" TAIL, 1, "include is not allowed");
    refused("include = \"/etc/other\"\n" TAIL, 1, "include is not allowed");
}

static void
octal_is_refused(void **state)
{
    (void)state;
    refused("\n\nmax-frame = 0177777\n" TAIL, 3, "leading 0");
    refused(TAIL "listener \"admin\" { mode = 0600 }\n", 4, "a mode is a string");
    refused("verify-sampled = 00\n" TAIL, 1, "leading 0");
    accepted_silently(TAIL "principal \"r\" { uid = 0 class = mta operations = {} }\n");
}

static void
other_numbers_are_refused(void **state)
{
    static const char *const bad[] = {"-1",  "+1",  "0x10",  "1.5",    "1e3",
                                      "64k", "1 2", "1_000", "\"64\"", "auto"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_conf *conf = NULL;
        char text[256];
        snprintf(text, sizeof text, "\nmax-in-flight = %s\n" TAIL, bad[i]);
        assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
        assert_int_equal(problems.list[0].line, 2);
    }
}

static void
backslash_is_refused(void **state)
{
    (void)state;
    refused("state-directory = \"/var\\x2flib\"\n" TAIL, 1, "there are no escapes");
    refused("state-directory = \"/var/\\q\"\n" TAIL, 1, "there are no escapes");
    refused("log-level = in\\fo\n" TAIL, 1, "there are no escapes");
    refused("state-directory = \"/var\\\nlog-level = info\n" TAIL, 1, "not closed");
}

static void
nul_and_control_characters_are_refused(void **state)
{
    static const char nul[] = "log-level = info\0x\n" TAIL;
    static const char after[] = TAIL "\0";

    (void)state;
    struct kd_conf *conf = NULL;
    assert_int_equal(parse_octets(kd_slice(nul, sizeof nul - 1), &as_user, &conf),
                     KD_INVALID);
    assert_true(has_problem(1, false, "NUL octet"));
    assert_int_equal(parse_octets(kd_slice(after, sizeof after - 1), &as_user, &conf),
                     KD_INVALID);
    assert_true(has_problem(4, false, "NUL octet"));
    refused("# in a comment \x01\n" TAIL, 1, "control character");
    refused("# delete \x7f\n" TAIL, 1, "control character");
    refused("# escape \x1b[31m\n" TAIL, 1, "control character");
    refused("log-level = info\r\n" TAIL, 1, "carriage return");
    refused("state-directory = \"/var/\tx\"\n" TAIL, 1, "tab in a string");
    accepted_silently("\tlog-level\t=\tinfo\t# \t tab\n" TAIL);
}

static void
non_ascii_is_for_comments(void **state)
{
    (void)state;
    accepted_silently("# caf\xc3\xa9 and \xff\n" TAIL "# \xe2\x82\xac");
    refused("state-directory = \"/var/caf\xc3\xa9\"\n" TAIL, 1, "not ASCII");
    refused("\nlog-level = inf\xc3\xb6\n" TAIL, 2, "not ASCII");
    refused("\xef\xbb\xbf\n" TAIL, 1, "not ASCII"); /* a byte order mark */
}

static void
long_lines_and_files_are_refused(void **state)
{
    static char text[KD_CONF_SIZE_MAX + 512];
    size_t tail = strlen(TAIL);

    (void)state;
    memset(text, '#', KD_CONF_LINE_MAX);
    memcpy(text + KD_CONF_LINE_MAX, "\n" TAIL, sizeof "\n" TAIL);
    accepted_silently(text);
    memset(text, '#', KD_CONF_LINE_MAX + 1);
    memcpy(text + KD_CONF_LINE_MAX + 1, "\n" TAIL, sizeof "\n" TAIL);
    refused(text, 1, "line of more than 4096 octets");

    memcpy(text, TAIL, tail);
    for (size_t i = tail; i < sizeof text; i++)
        text[i] = i % 80 == 0 ? '\n' : '#';
    text[KD_CONF_SIZE_MAX] = '\0';
    text[tail] = '\n';
    accepted_silently(text);
    text[KD_CONF_SIZE_MAX] = '#';
    text[KD_CONF_SIZE_MAX + 1] = '\0';
    refused(text, 0, "file of more than 262144 octets");
}

static void
other_ways_of_writing_are_refused(void **state)
{
    (void)state;
    refused("log-level = info;\n" TAIL, 1, "';' is not used");
    refused("log-level = 'info'\n" TAIL, 1, "double quotes");
    refused("// comment\n" TAIL, 1, "comments start with #");
    refused("/* comment */\n" TAIL, 1, "comments start with #");
    refused("log-level info\n" TAIL, 1, "\"info\" instead of \"=\"");
    refused("log-level =\n" TAIL, 1, "no value on its line");
    refused_with_others("log-level\n= info\n" TAIL, 1, "no value on its line");
    refused("log-level\nmax-frame = 65536\n" TAIL, 1, "no value on its line");
    refused("log-level += info\n" TAIL, 1, "one list with '='");
    refused("state-directory = /var/lib/x\n" TAIL, 1, "paths take double quotes");
    refused(TAIL "domain example.net { }\n", 4, "double quotes");
    refused(TAIL "domain localhost { }\n", 4, "double quotes");
    refused(TAIL "domain { }\n", 4, "the section's name");
    refused(TAIL "domain \"a.example\" issue-profile-fields = { 16 }\n", 4,
            "instead of \"{\"");
    refused("state-directory = \"/a\"log-level = info\n" TAIL, 1,
            "no blank after a string");
    refused("log-level = in\"fo\"\n" TAIL, 1, "no blank before a string");
    refused("= info\n" TAIL, 1, "\"=\" instead of a key or a section");
    refused("\"log-level\" = info\n" TAIL, 1, "instead of a key or a section");
    refused("log-level = { info }\n" TAIL, 1, "one value, no list");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = 16 }\n", 4,
            "takes a list");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 16 17 } }\n", 4,
            "no \",\" before \"17\"");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { , } }\n", 4,
            "\",\" without an item before it");
    refused(TAIL "domain \"a.example\" { domain \"b.example\" { } }\n", 4,
            "section in a section");
}

static void
unknown_keys_and_sections_are_refused(void **state)
{
    (void)state;
    refused("color = blue\n" TAIL, 1, "unknown key color");
    refused("Log-Level = info\n" TAIL, 1, "unknown key Log-Level");
    refused("workers = 2\n" TAIL, 1, "unknown key workers");
    refused("color = { blue, red }\n" TAIL, 1, "unknown key color");
    refused("zone \"example.com\" { }\n" TAIL, 1, "unknown key zone");
    refused(TAIL "listener \"mta\" { backlog = 5 }\nprincipal \"m\" { uid = 1 class = "
                 "mta operations = {} }\n",
            4, "unknown key backlog in a listener section");
}

static void
a_comma_after_the_last_item_is_accepted(void **state)
{
    (void)state;
    accepted_silently(TAIL "domain \"a.example\" {\n issue-profile-fields = {\n  16,\n"
                           "  17, # two\n }\n}\n");
}

static void
all_problems_are_told_at_once_and_by_line(void **state)
{
    struct kd_conf *conf = NULL;

    (void)state;
    assert_int_equal(parse_octets(kd_slice_str("max-frame = 1\n"
                                               "log-level = loud\n"
                                               "log-level = info\n"
                                               "color = blue\n"
                                               "state-directory = \"/a/../b\"\n"
                                               "run-directory = \"/x\\y\"\n"
                                               "principal \"P\" { uid = 99999999999 "
                                               "class = mta operations = { \"Fly\" } "
                                               "domains = { \"a.example\" } }\n"),
                                  &as_user, &conf),
                     KD_INVALID);
    assert_true(has_problem(0, false, "no domain section"));
    assert_true(has_problem(1, false, "max-frame: 1 is not within 16384 to 65536"));
    assert_true(has_problem(2, false, "\"loud\" is not debug, info or warn"));
    assert_true(has_problem(3, false, "given already"));
    assert_true(has_problem(4, false, "unknown key color"));
    assert_true(has_problem(5, false, "is not an absolute path"));
    assert_true(has_problem(6, false, "no escapes"));
    assert_true(has_problem(7, false, "principal \"P\": a name has"));
    assert_true(has_problem(7, false, "uid: 99999999999 is not within"));
    assert_true(has_problem(7, false, "\"Fly\" is not an operation"));
    assert_true(has_problem(7, false, "there is no section domain \"a.example\""));
    assert_int_equal(problems.n, 11);
    for (size_t i = 1; i < problems.n; i++)
        assert_true(problems.list[i - 1].line <= problems.list[i].line);
}

static void
more_problems_than_there_is_room_for_are_counted(void **state)
{
    static char text[8192];
    struct kd_conf *conf = NULL;

    (void)state;
    for (size_t i = 0; i < 200; i++)
        memcpy(text + 13 * i, "color = blue\n", 14);
    assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
    assert_int_equal(problems.n, KD_CONF_PROBLEMS_MAX);
    assert_true(problems.more);
    assert_true(problems.n_errors > KD_CONF_PROBLEMS_MAX);
}

static void
what_the_operator_wrote_is_escaped_in_problems(void **state)
{
    struct kd_conf *conf = NULL;
    char line[300];

    (void)state;
    assert_int_equal(parse_octets(kd_slice_str("\n\x80\xff\x1b]0;x\x07 = 5\n" TAIL),
                                  &as_user, &conf),
                     KD_INVALID);
    for (size_t i = 0; i < problems.n; i++)
        for (const char *c = problems.list[i].text; *c != '\0'; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
    kd_conf_problem_format("keyd.conf", &problems.list[0], line, sizeof line);
    assert_memory_equal(line, "keyd.conf:2: error: ", 20);
    problems.list[0].line = 0;
    problems.list[0].is_warning = true;
    kd_conf_problem_format("keyd.conf", &problems.list[0], line, sizeof line);
    assert_memory_equal(line, "keyd.conf: warning: ", 20);
}

static void
problems_come_a_line_each_and_the_last_says_if_there_were_more(void **state)
{
    struct kd_conf_problems two = {
        .n = 2,
        .list = {{.line = 3, .text = "one"}, {.is_warning = true, .text = "b"}}};
    char line[64];

    (void)state;
    assert_true(kd_conf_problems_line("f", &two, 0, line, sizeof line));
    assert_string_equal(line, "f:3: error: one");
    assert_true(kd_conf_problems_line("f", &two, 1, line, sizeof line));
    assert_string_equal(line, "f: warning: b");
    assert_false(kd_conf_problems_line("f", &two, 2, line, sizeof line));
    two.more = true;
    assert_true(kd_conf_problems_line("f", &two, 2, line, sizeof line));
    assert_string_equal(line, "f: more problems were found");
    assert_false(kd_conf_problems_line("f", &two, 3, line, sizeof line));
}

/* --- values ---------------------------------------------------------------------- */

enum section { TOP, DOMAIN, LISTENER, PRINCIPAL };
enum type {
    INT,
    AUTO_INT,
    BOOL,
    HARDENING,
    LOG_LEVEL,
    CLASS,
    PATH,
    MODE,
    USER,
    GROUP,
    ROLE_USER,
    ROLE_GROUP,
    OPERATIONS,
    DOMAINS,
    FIELDS,
    REMOTE,
    PIN,
    ADDRESS,
    ACCOUNT_KEYS,
    TICKETS,
    DELAY,
    ACCOUNT_MODES,
    KEYS,
    QUOTAS
};

static const struct key {
    enum section section;
    enum type type;
    const char *name;
    const char *def;
    int64_t min;
    int64_t max;
} keys[] = {
#define KD_CONF_KEY(section, member, key, type, def, min, max, doc)                    \
    {section, type, key, def, min, max},
#include <keyd/conf/conf_keys.def>
#undef KD_CONF_KEY
};
enum { N_KEYS = sizeof keys / sizeof keys[0] };

/* The file with that one key given, on line 4 (or among those of another section). */
static const char *
with_key(const struct key *key, const char *value, char *text, size_t size)
{
    /* the one other key of the file that a limit is compared with */
    const char *also = strcmp(key->name, "max-principal-frames") == 0
                           ? ""
                           : "max-principal-frames = 268435456\n";
    const char *pool =
        strcmp(key->name, "upload-pool") == 0 ? "max-upload = 65536\n" : "";
    const char *hello =
        strcmp(key->name, "first-octet-timeout") == 0 ? "hello-timeout = 60\n"
        : strcmp(key->name, "hello-timeout") == 0     ? "first-octet-timeout = 1\n"
                                                      : "";
    static const char *const format[] = {
        [TOP] = TAIL "%s = %s\n%s%s%s",
        [DOMAIN] = TAIL "domain \"a.example\" { %s = %s }\n%s%s%s",
        [LISTENER] = TAIL "listener \"admin\" { %s = %s }\n%s%s%s",
        [PRINCIPAL] =
            TAIL "principal \"x\" { class = mta operations = {} %s = %s }\n%s%s%s"};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n =
        snprintf(text, size, format[key->section], key->name, value, also, pool, hello);
#pragma GCC diagnostic pop
    assert_true(n > 0 && (size_t)n < size);
    return text;
}

static void
every_number_is_accepted_within_its_range_and_not_beyond(void **state)
{
    char value[24], text[512];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct key *key = &keys[i];
        if (key->type != INT && key->type != AUTO_INT && key->type != DELAY)
            continue;
        int64_t least = key->type == DELAY ? kd_reset_delay_least() : key->min;
        n++;
        snprintf(value, sizeof value, "%lld", (long long)least);
        accepted_silently(with_key(key, value, text, sizeof text));
        snprintf(value, sizeof value, "%lld", (long long)key->max);
        accepted_silently(with_key(key, value, text, sizeof text));
        snprintf(value, sizeof value, "%lld", (long long)key->max + 1);
        refused(with_key(key, value, text, sizeof text), 4, "is not within");
        refused(with_key(key, "18446744073709551617", text, sizeof text), 4,
                "is not within");
        refused(with_key(key, "no", text, sizeof text), 4, "is not a number");
        if (least == 0)
            continue;
        snprintf(value, sizeof value, "%lld", (long long)least - 1);
        refused(with_key(key, value, text, sizeof text), 4, "is not within");
    }
    assert_int_equal(n, 29);
}

static void
numbers_land_in_their_members(void **state)
{
    struct kd_conf *c = accepted(
        "crypto-threads = 2 verify-sampled = 3 group-commit-max = 4\n"
        "audit-checkpoint-interval = 11 max-connections = 12 max-in-flight = 13\n"
        "drain-timeout = 25\n"
        "max-frame = 16401 max-principal-frames = 65542 max-upload = 65543\n"
        "max-principal-uploads = 14 upload-pool = 1048577 upload-timeout = 15\n"
        "hello-timeout = 16 first-octet-timeout = 10 frame-timeout = 17\n"
        "write-timeout = 18 idle-timeout = 19 max-remote-connections = 20\n"
        "max-handshakes = 21 handshake-timeout = 22 handshake-rate = 23\n"
        "handshake-rate-total = 24\n"
        "listener \"admin\" { workers = 4 }\n" TAIL,
        &as_user);

    (void)state;
    assert_int_equal(c->crypto_threads, 2);
    assert_int_equal(c->verify_sampled, 3);
    assert_int_equal(c->group_commit_max, 4);
    assert_int_equal(c->audit_checkpoint_interval, 11);
    assert_int_equal(c->drain_timeout, 25);
    assert_int_equal(c->limits.max_connections, 12);
    assert_int_equal(c->limits.max_in_flight, 13);
    assert_int_equal(c->limits.max_frame, 16401);
    assert_int_equal(c->limits.max_principal_frames, 65542);
    assert_int_equal(c->limits.max_upload, 65543);
    assert_int_equal(c->limits.max_principal_uploads, 14);
    assert_int_equal(c->limits.upload_pool, 1048577);
    assert_int_equal(c->limits.upload_timeout, 15);
    assert_int_equal(c->limits.hello_timeout, 16);
    assert_int_equal(c->limits.first_octet_timeout, 10);
    assert_int_equal(c->limits.frame_timeout, 17);
    assert_int_equal(c->limits.write_timeout, 18);
    assert_int_equal(c->limits.idle_timeout, 19);
    assert_int_equal(c->limits.max_remote_connections, 20);
    assert_int_equal(c->limits.max_handshakes, 21);
    assert_int_equal(c->limits.handshake_timeout, 22);
    assert_int_equal(c->limits.handshake_rate, 23);
    assert_int_equal(c->limits.handshake_rate_total, 24);
    assert_int_equal(c->listeners[KD_CLASS_ADMIN].workers, 4);
    kd_conf_free(c);
}

static void
defaults_are_those_of_the_table(void **state)
{
    struct kd_conf *c = accepted(TAIL, &as_user);

    (void)state;
    assert_string_equal(c->state_directory, "/var/lib/dime-keyd");
    assert_string_equal(c->run_directory, "/run/dime-keyd");
    assert_null(c->libexec_directory);
    assert_null(c->credential);
    assert_string_equal(c->user_gate.name, "dime-keyd-gate");
    assert_false(c->user_gate.is_known);
    assert_int_equal(c->hardening, KD_HARDENING_STRICT);
    assert_int_equal(c->log_level, KD_INFO);
    assert_false(c->single_operator);
    assert_int_equal(c->crypto_threads, 4);
    assert_int_equal(c->limits.max_frame, 65536);
    assert_int_equal(c->limits.idle_timeout, 300);
    /* the admin listener alone: no other class has a principal */
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        assert_int_equal(c->listeners[klass].is_open, klass == KD_CLASS_ADMIN);
    assert_string_equal(c->listeners[KD_CLASS_ADMIN].socket,
                        "/run/dime-keyd/admin/admin.sock");
    assert_int_equal(c->listeners[KD_CLASS_ADMIN].mode, 0600);
    assert_int_equal(c->listeners[KD_CLASS_MTA].mode, 0660);
    assert_string_equal(c->listeners[KD_CLASS_MTA].socket, "/run/dime-keyd/mta.sock");
    assert_null(c->listeners[KD_CLASS_ADMIN].group.name);
    kd_conf_free(c);
}

static void
every_default_is_a_value_that_may_be_written(void **state)
{
    char text[512], value[300];

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        if (keys[i].def == NULL || keys[i].def[0] == '\0')
            continue;
        bool quoted = keys[i].type == PATH;
        snprintf(value, sizeof value, "%s%s%s", quoted ? "\"" : "", keys[i].def,
                 quoted ? "\"" : "");
        kd_conf_free(accepted(with_key(&keys[i], value, text, sizeof text), &as_user));
    }
}

static void
threads_follow_the_cpus_within_their_range(void **state)
{
    static const uint32_t cases[][2] = {{0, 1}, {1, 1}, {5, 5}, {16, 16}, {96, 16}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kd_conf_env env = as_user;
        env.n_cpus = cases[i][0];
        struct kd_conf *c = accepted("crypto-threads = auto\n" TAIL, &env);
        assert_int_equal(c->crypto_threads, cases[i][1]);
        kd_conf_free(c);
    }
}

static void
words_are_taken_as_listed_only(void **state)
{
    (void)state;
    accepted_silently(
        "hardening = relaxed log-level = debug single-operator = yes\n" TAIL);
    accepted_silently("hardening = \"strict\" log-level = \"warn\"\n" TAIL);
    refused("hardening = none\n" TAIL, 1, "\"none\" is not strict or relaxed");
    refused("hardening = Strict\n" TAIL, 1, "is not strict or relaxed");
    refused("log-level = error\n" TAIL, 1, "is not debug, info or warn");
    refused("single-operator = true\n" TAIL, 1, "is not yes or no");
    refused("single-operator = 1\n" TAIL, 1, "is not yes or no");
    refused("single-operator = on\n" TAIL, 1, "is not yes or no");
}

static void
paths_are_absolute_and_plain(void **state)
{
    static const char *const bad[] = {"",        "/",     "a/b",   "./a",
                                      "/a/../b", "/a/.",  "/a//b", "/a/b/",
                                      "~/a",     "/../a", "//a"};
    char text[600], path[300];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_conf *conf = NULL;
        snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, bad[i]);
        assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
        assert_int_equal(problems.n_errors, 1);
        assert_int_equal(problems.list[0].line, 1);
    }
    accepted_silently("state-directory = \"/a b/..c/.d\"\n" TAIL);
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[255] = '\0';
    snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, path);
    accepted_silently(text);
    path[255] = 'p';
    path[256] = '\0';
    snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, path);
    refused(text, 1, "256 octets, not within 2 to 255");
}

static void
profile_fields_are_those_that_may_be_added(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "domain \"a.example\" { issue-profile-fields = { 16, 252, 27 } }\n",
        &as_user);

    (void)state;
    /* sorted: a.example before example.com */
    assert_string_equal(c->domains[0].name, "a.example");
    for (unsigned f = 0; f < 256; f++)
        assert_int_equal((c->domains[0].rules.profile_fields[f / 8] >> f % 8) & 1,
                         f == 16 || f == 27 || f == 252);
    kd_conf_free(c);
    refused(TAIL "domain \"a.example\" {\n issue-profile-fields = { 16,\n 15 }\n}\n", 6,
            "\"15\" is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 253 } }\n", 4,
            "is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 256 } }\n", 4,
            "is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 16, 16 } }\n", 4,
            "in the list already");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { Name } }\n", 4,
            "is not the number of a field");
}

#define KEY_A "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define KEY_B "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw"

static void
account_keys_are_points_in_base64(void **state)
{
    static const uint8_t a[] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7,
                                0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
                                0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
                                0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    static const char *const bad[] = {
        "", KEY_A "==", KEY_A "A", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUR",
        /* URL alphabet; bits left over; zero octets; an order-8 point */
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURp",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU"};
    char text[512];
    struct kd_conf *c = accepted("domain \"a.example\" { account-key = { \"" KEY_A
                                 "\", \"" KEY_B "=\" } require-ticket = both }\n" TAIL,
                                 &as_user);

    (void)state;
    assert_int_equal(problems.n, 0);
    assert_int_equal(c->domains[0].rules.account_keys.n, 2);
    assert_memory_equal(c->domains[0].rules.account_keys.key[0], a, sizeof a);
    assert_int_equal(c->domains[1].rules.account_keys.n, 0);
    kd_conf_free(c);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text,
                 TAIL "domain \"a.example\" { account-key = { \"%s\" } "
                      "require-ticket = first }\n",
                 bad[i]);
        refused(text, 4, "is not an Ed25519 public key in base64");
    }
    refused(TAIL "domain \"a.example\" { require-ticket = first account-key = {\n"
                 "\"" KEY_A "\",\n\"" KEY_A "=\" } }\n",
            6, "in the list already");
}

static void
a_ticket_takes_a_key_and_a_key_a_ticket(void **state)
{
    (void)state;
    refused(TAIL "domain \"a.example\" {\nrequire-ticket = reset\n}\n", 5,
            "without an account-key nobody can make one");
    refused(TAIL "domain \"a.example\" {\nrequire-ticket = reset account-key = {}\n}\n",
            5, "without an account-key nobody can make one");
    kd_conf_free(accepted(
        TAIL "domain \"a.example\" { account-key = { \"" KEY_A "\" } }\n", &as_user));
    assert_true(has_problem(4, true, "tickets are not looked at"));
    refused(TAIL "domain \"a.example\" { require-ticket = yes }\n", 4,
            "is not none, first, reset or both");
}

static void
account_modes_are_all_unless_named(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "domain \"a.example\" { account-modes = { trustful, paranoid } }\n",
        &as_user);

    (void)state;
    assert_false(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_CAUTIOUS));
    assert_true(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_TRUSTFUL));
    assert_true(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_PARANOID));
    for (unsigned mode = 0; mode < 40; mode++)
        assert_int_equal(kd_domain_rules_allow_mode(&c->domains[1].rules, mode),
                         mode < KD_ACCOUNT_MODES);
    kd_conf_free(c);
    refused(TAIL "domain \"a.example\" { account-modes = { } }\n", 4,
            "name at least one");
    refused(TAIL "domain \"a.example\" { account-modes = { Paranoid } }\n", 4,
            "is not trustful, cautious or paranoid");
    refused(TAIL "domain \"a.example\" { account-modes = { cautious, cautious } }\n", 4,
            "in the list already");
}

static void
a_reset_waits_three_days_or_longer(void **state)
{
    struct kd_conf *c =
        accepted(TAIL "domain \"a.example\" { reset-delay = 600000 }\n", &as_user);

    (void)state;
    assert_int_equal(c->domains[0].rules.reset_delay, 600000);
    assert_int_equal(c->domains[1].rules.reset_delay, 72 * 3600);
    kd_conf_free(c);
    if (kd_reset_delay_least() == 72 * 3600)
        refused(TAIL "domain \"a.example\" { reset-delay = 259199 }\n", 4,
                "is not within 259200");
    refused(TAIL "domain \"a.example\" { reset-delay = 0 }\n", 4, "is not within");
}

#define X(rest)                                                                        \
    TAIL "principal \"x\" { uid = 1 class = mta operations = { } " rest " }\n"

static void
keys_are_roles_and_ids(void **state)
{
    struct kd_conf *c = accepted(
        X("keys = { \"sok\", dkim,\n\"000102030405060708090a0b0c0d0eff\" }"), &as_user);
    static const uint8_t id[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};

    (void)state;
    assert_true(c->principals[1].keys.is_given);
    assert_int_equal(c->principals[1].keys.roles, 1 << 2 | 1 << 4);
    assert_int_equal(c->principals[1].keys.n, 1);
    assert_memory_equal(c->principals[1].keys.ids[0], id, sizeof id);
    assert_false(c->principals[0].keys.is_given);
    kd_conf_free(c);
    c = accepted(X("keys = { }"), &as_user);
    assert_true(c->principals[1].keys.is_given);
    kd_conf_free(c);
    refused(X("keys = {\n\"SOK\" }"), 5, "is not pok, sok, enc, dkim, audit or an id");
    refused(X("keys = { \"000102030405060708090A0B0C0D0EFF\" }"), 4, "or an id");
    refused(X("keys = { \"000102030405060708090a0b0c0d0e\" }"), 4, "or an id");
    refused(X("keys = { \"000102030405060708090a0b0c0d0eff00\" }"), 4, "or an id");
    refused(X("keys = { sok,\nsok }"), 5, "in the list already");
    refused(X("keys = { \"000102030405060708090a0b0c0d0eff\",\n"
              "\"000102030405060708090a0b0c0d0eff\" }"),
            5, "in the list already");
}

static void
quotas_keep_their_lines_and_one_for_each_operation(void **state)
{
    struct kd_conf *c =
        accepted("domain \"a.example\" { quotas = { \"* 9/s\" } }\n" X(
                     "quotas = {\n\"LookupSignet 5/s burst 2\",\n\"* in-flight 3\" }"),
                 &as_user);

    (void)state;
    assert_int_equal(c->domains[0].quotas.n, 1);
    assert_int_equal(c->domains[0].quotas.list[0].line, 1);
    assert_int_equal(c->principals[1].quotas.n, 2);
    assert_int_equal(c->principals[1].quotas.list[0].op, KD_OP_LookupSignet);
    assert_int_equal(c->principals[1].quotas.list[0].line, 6);
    assert_int_equal(c->principals[1].quotas.list[1].line, 7);
    assert_int_equal(kd_policy_n_quotas(c->policy, false), 2);
    assert_int_equal(kd_policy_n_quotas(c->policy, true), 1);
    kd_conf_free(c);
    refused(X("quotas = { \"* 5/s\",\n\"* 6/s\" }"), 5,
            "* has a line already, at line 4");
    refused(X("quotas = { \"* 5/d\" }"), 4, "a rate is");
    refused(X("quotas = { 5 }"), 4, "starts with an operation");
}

static void
lines_of_principals_reach_the_policy(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "principal \"x\" {\n uid = 1 class = mta\n operations = {\n"
             "\"LookupSignet\",\n\"VerifyCurrent\" }\n domains = { \"example.com\" }\n"
             " keys = { sok }\n}\n",
        &as_user);
    struct kd_policy_trace t;
    struct kd_caller caller;

    (void)state;
    assert_int_equal(kd_policy_find(c->policy, kd_slice_str("x"), &caller), KD_OK);
    kd_policy_trace(c->policy, &caller, KD_OP_VerifyCurrent,
                    kd_slice_str("example.com"), NULL, &t);
    assert_int_equal(t.verdict, KD_POLICY_ALLOWED);
    assert_int_equal(t.lines.section, 4);
    assert_int_equal(t.lines.operations, 6);
    assert_int_equal(t.op_line, 8);
    assert_int_equal(t.lines.domains, 9);
    assert_int_equal(t.lines.keys, 10);
    assert_int_equal(t.domain_line, 1);
    kd_conf_free(c);
}

/* --- lints --- */

/* What lint adds to a good file: exactly these. */
static void
lints(const char *text, size_t n, uint32_t line, const char *part)
{
    struct kd_conf *c = accepted(text, &as_user);

    kd_conf_lint(c, &problems);
    if (problems.n != n)
        print_error("%s", text);
    assert_int_equal(problems.n_errors, 0);
    if (n > 0)
        assert_true(has_problem(line, true, part));
    assert_int_equal(problems.n, n);
    kd_conf_free(c);
}

#define OPERATOR                                                                       \
    "domain \"example.com\" { }\nprincipal \"op\" { uid = 0 class = admin "            \
    "operations = { \"Unseal\", \"GenerateKey\" } domains = { \"example.com\" } }\n"
#define FRONT(class, ops, rest)                                                        \
    OPERATOR "principal \"x\" { uid = 1 class = " class " operations = { " ops         \
                                                        " } domains = { "              \
                                                        "\"example.com\" } " rest      \
                                                        " }\n"

static void
lint_finds_what_is_hardly_meant(void **state)
{
    (void)state;
    lints(OPERATOR, 0, 0, "");
    lints(FRONT("submission", "\"IssueUserSignet\"",
                "quotas = { \"IssueUserSignet 5/s\" } keys = { sok }"),
          0, 0, "");
    lints(FRONT("submission", "\"IssueUserSignet\"", "quotas = { \"* 5/s\" }"), 0, 0,
          "");
    lints(OPERATOR "principal \"x\" { uid = 1 class = mta operations = { } }\n", 1, 3,
          "lists no operation");
    lints(OPERATOR "domain \"a.example\" { }\n", 1, 3, "nobody serves it");
    lints(FRONT("submission", "\"IssueUserSignet\"", ""), 1, 3,
          "no quota on IssueUserSignet");
    lints(FRONT("submission", "\"IssueUserSignet\"",
                "quotas = { \"IssueUserSignet in-flight 3\" }"),
          1, 3, "no quota on IssueUserSignet");
    lints(FRONT("mta", "\"LookupSignet\"", "quotas = {\n\"VerifyCurrent 3/s\" }"), 1, 4,
          "may not ask for it");
    lints(FRONT("mta", "\"LookupSignet\"",
                "quotas = {\n\"LookupSignet 30/s\", \"* 30/s\" }"),
          1, 4, "never decides");
    lints(FRONT("mta", "\"LookupSignet\"",
                "quotas = {\n\"LookupSignet 30/s burst 20\", \"* 30/s\" }"),
          0, 0, "");
    lints("max-connections = 2\n" FRONT("mta", "\"LookupSignet\"",
                                        "quotas = {\n\"* in-flight 65\" }"),
          1, 5, "more in flight than max-in-flight");
    lints(FRONT("mta", "\"LookupSignet\"", "quotas = {\n\"* in-flight 3073\" }"), 1, 4,
          "have at most 3072 in flight");
    lints(FRONT("mta", "\"LookupSignet\"", "keys = { sok }"), 1, 3,
          "no operation of principal \"x\" uses a key");
    lints(
        FRONT("submission", "\"IssueUserSignet\"", "quotas = { \"* 5/s\" } keys = { }"),
        1, 3, "may use none");
    lints(FRONT("mta", "\"LookupSignet\"", "") "principal \"y\" { uid = 1 class = "
                                               "submission operations = { "
                                               "\"LookupSignet\" } domains = { "
                                               "\"example.com\" } }\n",
          1, 4, "has the uid 1 of principal \"x\" (class mta)");
    lints(
        FRONT("mta", "\"LookupSignet\"", "") "principal \"y\" { uid = 1 class = admin "
                                             "operations = { \"Unseal\" } }\n",
        1, 4, "of front-end \"x\" has admin rights");
    lints("single-operator = yes\n" OPERATOR
          "principal \"y\" { uid = 1 class = admin operations = { \"AuditRead\" } }\n",
          0, 0, "");
    lints("single-operator = yes\n" OPERATOR
          "principal \"y\" { uid = 1 class = admin operations = { \"TokenInit\" } }\n",
          1, 4, "2 admin principals may change keys");
    lints("domain \"example.com\" { quotas = {\n\"Status 3/s\" } }\nprincipal \"op\" { "
          "uid "
          "= 0 class = admin operations = { \"GenerateKey\" } domains = { "
          "\"example.com\" "
          "} }\n",
          1, 2, "about no domain");
    lints("domain \"example.com\" { quotas = {\n\"LookupSignet 3/s\" } }\nprincipal "
          "\"op\" { uid = 0 class = admin operations = { \"GenerateKey\" } domains = { "
          "\"example.com\" } }\n",
          1, 2, "nobody may ask for it in domain \"example.com\"");
}

static void
operations_listed_twice_are_an_error(void **state)
{
    (void)state;
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { "
            "\"LookupSignet\",\n\"LookupSignet\" } domains = { \"example.com\" } }\n",
            5, "in the list already");
}

/* --- what keys say of each other --- */

static void
domains_served_are_valid_and_there(void **state)
{
    (void)state;
    refused("principal \"op\" { uid = 0 class = admin operations = {} }\n", 0,
            "no domain section");
    refused(TAIL "domain \"Example.net\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"example.net.\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"192.0.2.1\" { }\n", 4, "not a domain in lower-case");
}

static void
the_most_domains_and_principals_fit_and_one_more_does_not(void **state)
{
    static char text[KD_CONF_SIZE_MAX];
    size_t at = 0;

    (void)state;
    at += (size_t)snprintf(text, sizeof text, "%s", TAIL);
    for (unsigned i = 1; i < KD_POLICY_DOMAINS_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "domain \"d%u.example\" {}\n", i);
    for (unsigned i = 1; i < KD_POLICY_ROWS_MAX; i++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at,
                             "principal \"p%u\" { uid = %u class = mta operations = { "
                             "\"LookupSignet\" } domains = { \"d%u.example\" } }\n",
                             i, i, i);
    struct kd_conf *c = accepted(text, &as_user);
    assert_int_equal(c->n_domains, KD_POLICY_DOMAINS_MAX);
    assert_int_equal(kd_policy_n_rows(c->policy), KD_POLICY_ROWS_MAX);
    assert_int_equal(
        mta_check(c->policy, 255, KD_OP_LookupSignet, kd_slice_str("d255.example")),
        KD_OK);
    assert_int_equal(
        mta_check(c->policy, 255, KD_OP_LookupSignet, kd_slice_str("d254.example")),
        KD_DENIED);
    kd_conf_free(c);
    snprintf(text + at, sizeof text - at, "domain \"one.more\" {}\n");
    refused(text, 0, "more than 1024 domain sections");
    snprintf(text + at, sizeof text - at,
             "principal \"more\" { uid = 9999 class = mta operations = {} }\n");
    refused(text, 0, "more than 256 principal sections");
}

static void
roles_have_users_of_their_own(void **state)
{
    struct kd_conf *c = accepted(TAIL, &as_root);

    (void)state;
    assert_int_equal(problems.n, 0);
    assert_int_equal(c->user_gate.id, 901);
    assert_int_equal(c->user_ledger.id, 903);
    assert_int_equal(c->group.id, 900);
    assert_true(c->user_vault.is_known);
    kd_conf_free(c);
    kd_conf_free(accepted("user-gate = 5 user-vault = \"6\"\n" TAIL, &as_root));
    refused_as_root("user-gate = missing\n" TAIL, 1, "there is no user missing");
    refused_as_root("group = missing\n" TAIL, 1, "there is no group missing");
    refused_as_root("user-vault = root\n" TAIL, 1, "a role does not run as root");
    refused_as_root("user-vault = 0\n" TAIL, 1, "a role does not run as root");
    refused_as_root("user-vault = nobody\n" TAIL, 1, "is nobody");
    refused_as_root("user-vault = 65534\n" TAIL, 1, "is nobody");
    refused_as_root("user-vault = 4294967295\n" TAIL, 1, "a name or a number");
    refused_as_root("user-vault = \"a b\"\n" TAIL, 1, "a name or a number");
    refused_as_root("user-vault = \"\"\n" TAIL, 1, "0 octets, not within 1 to 32");
    refused_as_root("\nuser-vault = twin\n" TAIL, 2, "the same user as user-gate");
    refused("user-vault = dime-keyd-gate\n" TAIL, 1, "the same user as user-gate");
    kd_conf_free(accepted("hardening = relaxed\nuser-vault = twin\n" TAIL, &as_root));
    assert_true(has_problem(2, true, "the same user as user-gate"));
}

static void
a_principal_is_no_role(void **state)
{
    (void)state;
    refused_as_root(TAIL "principal \"g\" { uid = 901 class = mta operations = {} }\n",
                    4, "has the uid of user-gate");
    kd_conf_free(accepted("hardening = relaxed\n" TAIL
                          "principal \"g\" { uid = 901 class = mta operations = {} }\n",
                          &as_root));
    assert_true(has_problem(5, true, "has the uid of user-gate"));
    accepted_silently(TAIL
                      "principal \"g\" { uid = 901 class = mta operations = {} }\n");
}

static void
folders_do_not_lie_in_each_other(void **state)
{
    (void)state;
    refused_with_others("state-directory = \"/a\"\nrun-directory = \"/a/b\"\n" TAIL, 2,
                        "each other");
    refused("state-directory = \"/a/b\"\nrun-directory = \"/a\"\n" TAIL, 2,
            "each other");
    refused_with_others("state-directory = \"/a\"\nrun-directory = \"/a\"\n" TAIL, 2,
                        "each other");
    accepted_silently("state-directory = \"/a\"\nrun-directory = \"/ab\"\n" TAIL);
    refused("libexec-directory = \"/var/lib/dime-keyd/bin\"\n" TAIL, 1,
            "where roles can write");
    refused("\ncredential = \"/var/lib/dime-keyd/secret\"\n" TAIL, 2,
            "inside state-directory");
    accepted_silently("credential = \"/etc/dime-keyd/secret\"\n" TAIL);
}

static void
limits_fit_each_other(void **state)
{
    (void)state;
    accepted_silently("max-frame = 65536 max-principal-frames = 65536\n" TAIL);
    refused("upload-pool = 1048576\n" TAIL, 1, "less than one object");
    refused("first-octet-timeout = 6\nhello-timeout = 5\n" TAIL, 2,
            "shorter than first-octet-timeout");
}

static void
listeners_are_of_served_classes(void **state)
{
    struct kd_conf *c;

    (void)state;
    refused(TAIL "listener \"smtp\" { }\n", 4,
            "not mta, submission, milter, tls or admin");
    c = accepted(TAIL "listener \"milter\" { }\n", &as_user);
    assert_true(has_problem(4, true, "no principal is of that class"));
    assert_true(c->listeners[KD_CLASS_MILTER].is_open);
    kd_conf_free(c);
    c = accepted(TAIL "principal \"m\" { uid = 5 class = milter operations = {} }\n"
                      "listener \"milter\" {\n socket = \"/run/m/s\" mode = \"0600\"\n"
                      " group = submitd }\n",
                 &as_user);
    assert_int_equal(problems.n, 0);
    assert_string_equal(c->listeners[KD_CLASS_MILTER].socket, "/run/m/s");
    assert_int_equal(c->listeners[KD_CLASS_MILTER].mode, 0600);
    assert_int_equal(c->listeners[KD_CLASS_MILTER].group.id, 2001);
    kd_conf_free(c);
    refused(TAIL "listener \"admin\" { group = missing }\n", 4, "there is no group");
}

/* A remote listener, line 4, and two of its keys' hashes. */
#define REMOTE_AT(address, more)                                                       \
    TAIL "listener \"tls\" { address = " address " certificate = \"/c\" "              \
         "key = \"/k\" client-ca = \"/a\" " more " }\n"
#define UNPINNED REMOTE_AT("\"0.0.0.0:4433\"", "allow-unpinned = yes")
#define PINNED REMOTE_AT("\"0.0.0.0:4433\"", "")
#define PRINCIPAL_AT(name, keys)                                                       \
    "principal \"" name "\" { class = tls operations = {} " keys " }\n"
#define PIN_A "\"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\""
#define PIN_B "\"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""

static void
the_remote_listener_has_an_address_and_no_socket(void **state)
{
    static const char *const bad[] = {
        "\"localhost:4433\"", "\"0.0.0.0\"",        "\"0.0.0.0:0\"",
        "\"0.0.0.0:65536\"",  "\"0.0.0.0:04433\"",  "\"0.0.0.0:443x\"",
        "\"[0.0.0.0]:4433\"", "\"::1:4433\"",       "\"[::1]4433\"",
        "\"[::1%lo]:4433\"",  "\"[::1:4433\"",      "\"1.2.3.4.5:4433\"",
        "\"010.0.0.1:4433\"", "\"  1.2.3.4:4433\"", "\":4433567890\"",
        "\"[::g]:44335678\""};
    struct kd_conf *c;
    char text[640];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text,
                 TAIL "listener \"tls\" { address = %s certificate = \"/c\" key = "
                      "\"/k\" }\n",
                 bad[i]);
        refused(text, 4, "a numeric address and a port");
    }
    c = accepted(REMOTE_AT("\"[2001:db8::1]:4433\"", ""), &as_user);
    assert_true(c->listeners[KD_CLASS_TLS].is_open);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.family, 6);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.port, 4433);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.octets[0], 0x20);
    assert_int_equal(c->listeners[KD_CLASS_TLS].workers, 1);
    assert_null(c->listeners[KD_CLASS_TLS].socket);
    assert_null(c->listeners[KD_CLASS_TLS].denied_keys);
    assert_false(c->listeners[KD_CLASS_TLS].allow_unpinned);
    kd_conf_free(c);
    c = accepted(REMOTE_AT("\"192.0.2.1:1\"", "denied-keys = \"/d\""), &as_user);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.family, 4);
    assert_string_equal(c->listeners[KD_CLASS_TLS].address.text, "192.0.2.1:1");
    kd_conf_free(c);
    refused(REMOTE_AT("\"0.0.0.0:4433\"", "socket = \"/run/x\""), 4,
            "socket: listener \"tls\" has none");
    refused(REMOTE_AT("\"0.0.0.0:4433\"", "mode = \"0600\""), 4,
            "mode: listener \"tls\" has none");
    refused(TAIL "listener \"mta\" { client-ca = \"/a\" }\n", 4,
            "client-ca: listener \"mta\" has none");
    refused(TAIL "listener \"tls\" { address = \"0.0.0.0:4433\" key = \"/k\" }\n", 4,
            "certificate is missing");
    refused(
        REMOTE_AT("\"0.0.0.0:4433\"", "denied-keys = \"/var/lib/dime-keyd/denied\""), 4,
        "denied-keys: inside state-directory");
    refused_with_others(TAIL PRINCIPAL_AT("x", "pin = " PIN_A), 0,
                        "no listener \"tls\" section");
}

static void
a_remote_principal_has_a_name_or_a_key(void **state)
{
    static const char *const bad_names[] = {
        "*.example.com",   "mx.example.com.",   "MX.example.com", "mx..example.com",
        "192.0.2.1",       "mx_1.example.com",  "uri:",           "uri:spiffe",
        "uri:spiffe:",     "uri:sp iffe://a",   "uri::a",         "user@example.com",
        "-mx.example.com", "mx1.example.com/x", "URI:spiffe://a"};
    struct kd_conf *c;
    char text[640];

    (void)state;
    c = accepted(UNPINNED PRINCIPAL_AT("x", "san = \"mx1.example.com\""), &as_user);
    assert_string_equal(c->principals[1].san, "mx1.example.com");
    assert_int_equal(c->principals[1].uid, KD_UID_NONE);
    assert_false(c->principals[1].pin.is_set);
    kd_conf_free(c);
    c = accepted(PINNED PRINCIPAL_AT("x", "san = \"uri:spiffe://example.com/X?y\" "
                                          "pin = " PIN_A " next-pin = " PIN_B),
                 &as_user);
    assert_true(c->principals[1].pin.is_set && c->principals[1].next_pin.is_set);
    assert_int_equal(c->principals[1].pin.sha256[31], 0xff);
    assert_int_equal(c->principals[1].next_pin.sha256[0], 0x10);
    kd_conf_free(c);
    accepted_silently(PINNED PRINCIPAL_AT("x", "pin = " PIN_A));
    refused(PINNED PRINCIPAL_AT("x", "san = \"mx1.example.com\""), 5, "has no pin");
    refused(PINNED PRINCIPAL_AT("x", ""), 5, "takes san, pin or both");
    refused(PINNED PRINCIPAL_AT("x", "uid = 5 pin = " PIN_A), 5,
            "uid: a principal of class tls has none");
    refused(TAIL "principal \"y\" { uid = 5 class = mta operations = {} pin = " PIN_A
                 " }\n",
            4, "pin: a principal of class mta has none");
    refused(PINNED PRINCIPAL_AT("x", "pin = \"00\""), 5, "64 hexadecimal digits");
    refused(PINNED PRINCIPAL_AT("x", "pin = " PIN_A " next-pin = " PIN_A), 5,
            "the same as pin");
    refused(PINNED PRINCIPAL_AT("x", "pin = " PIN_A)
                PRINCIPAL_AT("y", "pin = " PIN_B " next-pin = " PIN_A),
            6, "principal \"x\" has the same key");
    refused(UNPINNED PRINCIPAL_AT("x", "san = \"a.example\"")
                PRINCIPAL_AT("y", "san = \"a.example\""),
            6, "principal \"x\" has the same");
    refused(TAIL "listener \"tls\" { address = \"0.0.0.0:4433\" certificate = \"/c\" "
                 "key = \"/k\" allow-unpinned = yes }\n" PRINCIPAL_AT(
                     "x", "san = \"a.example\""),
            5, "has no client-ca");
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        snprintf(text, sizeof text,
                 UNPINNED "principal \"x\" { class = tls operations = "
                          "{} san = \"%s\" pin = " PIN_A " }\n",
                 bad_names[i]);
        refused(text, 5, "a domain in lower case");
    }
}

static void
a_remote_principal_has_no_operation_of_operators(void **state)
{
    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        char text[640];
        if (kd_op_name(op) == NULL || kd_op_classes(op) != KD_ON_ADMIN)
            continue;
        snprintf(text, sizeof text,
                 PINNED "principal \"x\" { class = tls operations = { \"%s\" } domains "
                        "= { \"example.com\" } pin = " PIN_A " }\n",
                 kd_op_name(op));
        refused_with_others(text, 5, "is not served to class tls");
    }
}

static void
modes_of_sockets_are_two(void **state)
{
    static const char *const bad[] = {"\"0666\"", "\"660\"",  "\"0700\"", "\"0640\"",
                                      "\"\"",     "\"4660\"", "0600x",    "660"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_conf *conf = NULL;
        snprintf(text, sizeof text, TAIL "listener \"admin\" { mode = %s }\n", bad[i]);
        assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
        assert_int_equal(problems.list[0].line, 4);
        assert_int_equal(problems.n_errors, 1);
    }
    accepted_silently(TAIL "listener \"admin\" { mode = \"0660\" }\n");
}

#define MTA "principal \"m\" { uid = 5 class = mta operations = {} }\n"

static void
sockets_do_not_share_a_place(void **state)
{
    char text[512], path[120];

    (void)state;
    refused(TAIL MTA "listener \"admin\" {\n socket = \"/run/dime-keyd/mta.sock\" }\n"
                     "listener \"mta\" { socket = \"/elsewhere/s\" }\n",
            6, "not run-directory");
    refused(TAIL MTA
            "listener \"mta\" {\n socket = \"/run/dime-keyd/admin/admin.sock\" }\n",
            0, "listener \"mta\" has the same");
    refused(TAIL MTA "listener \"mta\" { socket = \"/run/x/mta\" }\n"
                     "listener \"admin\" {\n socket = \"/run/x/admin\" }\n",
            7, "a folder of its own (mode 0700), not that of listener \"mta\"");
    refused(TAIL MTA "listener \"mta\" { socket = \"/var/lib/dime-keyd/s\" }\n", 5,
            "inside state-directory");
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    snprintf(text, sizeof text, TAIL MTA "listener \"mta\" { socket = \"%s\" }\n",
             path);
    refused(text, 5, "108 octets, not within 2 to 107");
}

static void
a_principal_has_one_uid(void **state)
{
    struct kd_conf *c;

    (void)state;
    refused(TAIL "principal \"x\" { class = mta operations = {} }\n", 4,
            "one of uid and user");
    refused(TAIL
            "principal \"x\" { uid = 1 user = submitd class = mta operations = {} }\n",
            4, "one of uid and user");
    refused(TAIL "principal \"x\" {\n uid = 65534 class = mta operations = {} }\n", 5,
            "65534 is nobody");
    refused(TAIL "principal \"x\" { user = nobody class = mta operations = {} }\n", 4,
            "is nobody");
    refused(TAIL "principal \"x\" { uid = 4294967295 class = mta operations = {} }\n",
            4, "is not within 0 to 4294967294");
    refused(TAIL "principal \"x\" { user = missing class = mta operations = {} }\n", 4,
            "there is no user missing");
    c = accepted(TAIL
                 "principal \"x\" { user = submitd class = mta operations = {} }\n",
                 &as_user);
    assert_int_equal(mta_check(c->policy, 2001, KD_OP_Status, kd_slice(NULL, 0)),
                     KD_OK);
    assert_int_equal(c->principals[1].uid, 2001);
    kd_conf_free(c);
}

static void
the_same_uid_twice_in_a_class_is_refused(void **state)
{
    (void)state;
    refused(TAIL MTA "principal \"n\" { uid = 5 class = mta operations = {} }\n", 5,
            "uid 5 of class mta is principal \"m\" already");
    refused(TAIL "principal \"m\" { uid = 2001 class = mta operations = {} }\n"
                 "principal \"n\" { user = submitd class = mta operations = {} }\n",
            5, "uid 2001 of class mta is principal \"m\" already");
    accepted_silently(TAIL MTA
                      "principal \"n\" { uid = 5 class = milter operations = {} }\n");
}

static void
principals_say_class_and_operations(void **state)
{
    (void)state;
    refused(TAIL "principal \"x\" { uid = 1 operations = {} }\n", 4,
            "class is missing");
    refused(TAIL "principal \"x\" { uid = 1 class = mta }\n", 4,
            "operations is missing");
    refused(TAIL "principal \"x\" { uid = 1 class = smtp operations = {} }\n", 4,
            "is not mta, submission, milter, tls or admin");
    refused(TAIL "principal \"X y\" { uid = 1 class = mta operations = {} }\n", 4,
            "a name has 1 to 32");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta\n operations = { \"Sign\" } }\n",
            5, "\"Sign\" is not an operation");
    refused(TAIL "principal \"x\" { uid = 1 class = admin\n operations = { \"Seal\","
                 " \"Seal\" } }\n",
            5, "in the list already");
}

static void
operations_of_another_class_are_refused(void **state)
{
    char text[256];

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
            bool needs = (kd_op_flags(op) & KD_OPF_DOMAIN) != 0;
            if (kd_op_name(op) == NULL || klass == KD_CLASS_TLS)
                continue;
            snprintf(text, sizeof text,
                     TAIL "principal \"x\" { uid = 1 class = %s\n operations = {\n"
                          "\"%s\" }\n%s }\n",
                     kd_class_name(klass), kd_op_name(op),
                     needs ? "domains = { \"example.com\" }" : "");
            if (kd_op_is_served(op, klass))
                accepted_silently(text);
            else
                refused(text, 6, "is not served to class");
        }
}

static void
domains_of_a_principal_are_served_ones(void **state)
{
    (void)state;
    refused(TAIL "principal \"x\" { uid = 1 class = mta\n"
                 " operations = { \"LookupSignet\" }\n"
                 " domains = { \"example.com\",\n  \"example.net\" } }\n",
            7, "there is no section domain \"example.net\"");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "domains = { \"example.com\", \"example.com\" } }\n",
            4, "is there already");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "}\n",
            4, "its operations need domains");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "domains = { } }\n",
            4, "its operations need domains");
    kd_conf_free(accepted(TAIL "principal \"x\" { uid = 1 class = mta operations = { } "
                               "domains = { \"example.com\" } }\n",
                          &as_user));
    assert_true(
        has_problem(4, true, "no operation of principal \"x\" is about a domain"));
}

static void
a_service_without_an_operator_is_warned_of(void **state)
{
    (void)state;
    kd_conf_free(accepted("domain \"example.com\" { }\n", &as_user));
    assert_true(has_problem(0, true, "no principal is of class admin"));
}

/* --- the file --- */

struct place {
    char folder[32];
    char file[64];
    char secret[64];
    char text[256]; /* as_user's base, with the credential */
};

static int
make_place(void **state)
{
    static struct place place;

    strcpy(place.folder, "/tmp/test_conf.XXXXXX");
    if (mkdtemp(place.folder) == NULL)
        return -1;
    snprintf(place.file, sizeof place.file, "%s/keyd.conf", place.folder);
    snprintf(place.secret, sizeof place.secret, "%s/secret", place.folder);
    snprintf(place.text, sizeof place.text, "\ncredential = \"%s\"\n" TAIL,
             place.secret);
    *state = &place;
    return 0;
}

static int
drop_place(void **state)
{
    struct place *place = *state;

    unlink(place->file);
    unlink(place->secret);
    return rmdir(place->folder);
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static kd_err
load(const char *path)
{
    struct kd_conf_env env = as_user;
    struct kd_conf *conf = NULL;

    env.check_files = true;
    kd_err err = kd_conf_load(path, &env, &conf, &problems);
    kd_conf_free(conf);
    return err;
}

static void
files_that_others_can_write_are_refused(void **state)
{
    static const mode_t bad[] = {0620, 0602, 0666, 0660};
    struct place *place = *state;

    write_file(place->file, TAIL, 0644);
    assert_int_equal(load(place->file), KD_OK);
    assert_int_equal(problems.n, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(place->file, TAIL, bad[i]);
        assert_int_equal(load(place->file), KD_INVALID);
        assert_true(has_problem(0, false, "group or others can write it"));
    }
    write_file(place->file, TAIL, 0400);
    assert_int_equal(chmod(place->folder, 0770), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "its folder, mode 0770"));
    assert_int_equal(chmod(place->folder, 0755), 0);
    assert_int_equal(load(place->file), KD_OK);
    assert_int_equal(chmod(place->folder, 0700), 0);
}

static void
files_of_others_are_refused(void **state)
{
    struct place *place = *state;

    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    write_file(place->file, TAIL, 0644);
    assert_int_equal(chown(place->file, 4711, (gid_t)-1), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "belongs to uid 4711"));
    write_file(place->file, TAIL, 0644);
    assert_int_equal(chown(place->folder, 4711, (gid_t)-1), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "its folder belongs to uid 4711"));
    assert_int_equal(chown(place->folder, 0, (gid_t)-1), 0);
}

static void
what_is_no_file_is_refused(void **state)
{
    struct place *place = *state;

    assert_int_equal(load(place->folder), KD_INVALID);
    assert_true(has_problem(0, false, "not a regular file"));
    unlink(place->file);
    assert_int_equal(load(place->file), KD_IO);
    assert_true(has_problem(0, false, "No such file"));
    assert_int_equal(mkfifo(place->file, 0600), 0);
    assert_int_equal(load(place->file), KD_INVALID); /* and does not wait */
    assert_true(has_problem(0, false, "not a regular file"));
    assert_int_equal(load("/dev/null"), KD_INVALID);
}

static void
problems_of_the_file_come_with_those_of_the_text(void **state)
{
    struct place *place = *state;

    write_file(place->file, "color = blue\n" TAIL, 0666);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_int_equal(problems.n, 2);
    assert_true(has_problem(0, false, "can write it"));
    assert_true(has_problem(1, false, "unknown key color"));
}

static void
the_credential_is_for_its_owner_only(void **state)
{
    static const mode_t bad[] = {0640, 0604, 0644, 0700, 0200, 04600};
    struct place *place = *state;

    write_file(place->file, place->text, 0644);
    unlink(place->secret);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(2, false, "credential: No such file"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(place->secret, "x", bad[i]);
        assert_int_equal(load(place->file), KD_INVALID);
        assert_true(has_problem(2, false, "not 0400 or 0600"));
    }
    write_file(place->secret, "x", 0400);
    assert_int_equal(load(place->file), KD_OK);
    write_file(place->secret, "x", 0600);
    assert_int_equal(load(place->file), KD_OK);
    unlink(place->secret);
    assert_int_equal(symlink(place->file, place->secret), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(2, false, "not a regular file"));
}

static void
a_credential_on_the_same_disk_is_warned_of(void **state)
{
    struct place *place = *state;
    char text[512];

    write_file(place->secret, "x", 0400);
    snprintf(text, sizeof text,
             "credential = \"%s\"\nstate-directory = \"%s/state\"\n" TAIL,
             place->secret, place->folder);
    write_file(place->file, text, 0644);
    snprintf(text, sizeof text, "%s/state", place->folder);
    assert_int_equal(mkdir(text, 0700), 0);
    assert_int_equal(load(place->file), KD_OK);
    assert_true(has_problem(1, true, "on the same disk"));
    assert_int_equal(rmdir(text), 0);
}

static void
the_example_is_accepted(void **state)
{
    struct kd_conf *conf = NULL;

    (void)state;
    assert_int_equal(kd_conf_load(KEYD_SOURCE "/provisioning/examples/keyd.conf",
                                  &as_root, &conf, &problems),
                     KD_OK);
    assert_int_equal(problems.n, 0);
    assert_int_equal(conf->n_principals, 3);
    assert_int_equal(conf->listeners[KD_CLASS_SUBMISSION].workers, 2);
    kd_conf_free(conf);
}

/* --- the manual page --- */

struct manual_key {
    enum section section;
    char name[40];
    char text[1024]; /* to the next one, as written */
};

static struct manual_key manual[128];
static size_t n_manual;
static char manual_ops[64][128]; /* "LookupSignet * mta, submission, admin" */
static size_t n_manual_ops;

static void
read_manual_line(const char *line, enum section *section)
{
    static const char *const titles[] = {"file", "domain section", "listener section",
                                         "principal section"};
    char name[40], flag[8], rest[64];

    for (unsigned i = TOP; i <= PRINCIPAL; i++)
        if (strncmp(line, ".Ss Keys of ", 12) == 0 && strstr(line, titles[i]) != NULL)
            *section = (enum section)i;
    if (sscanf(line, ".It Ic %39s", name) == 1) {
        assert_true(n_manual < sizeof manual / sizeof manual[0]);
        manual[n_manual].section = *section;
        memcpy(manual[n_manual++].name, name, sizeof name);
    } else if (sscanf(line, ".It Li %39s No %7s Ta %63[^\n]", name, flag, rest) == 3 ||
               (flag[0] = '\0',
                sscanf(line, ".It Li %39s Ta %63[^\n]", name, rest) == 2)) {
        assert_true(n_manual_ops < 64);
        snprintf(manual_ops[n_manual_ops++], 128, "%s%s%s %s", name,
                 flag[0] == '\0' ? "" : " ", flag, rest);
    } else if (n_manual > 0) {
        size_t at = strlen(manual[n_manual - 1].text);
        snprintf(manual[n_manual - 1].text + at, sizeof manual[0].text - at, "%s",
                 line);
    }
}

static int
read_manual(void **state)
{
    FILE *f = fopen(KEYD_SOURCE "/keyd/man/keyd.conf.5", "r");
    enum section section = TOP;
    char line[512];

    (void)state;
    if (f == NULL)
        return -1;
    n_manual = n_manual_ops = 0;
    memset(manual, 0, sizeof manual);
    while (fgets(line, sizeof line, f) != NULL)
        read_manual_line(line, &section);
    return fclose(f);
}

/* The text of several keys described together stands with the last of them. */
static const char *
manual_text(const struct key *key)
{
    size_t i = 0;

    while (i < n_manual && (manual[i].section != key->section ||
                            strcmp(manual[i].name, key->name) != 0))
        i++;
    if (i == n_manual)
        return NULL;
    while (i + 1 < n_manual && manual[i].text[0] == '\0')
        i++;
    return manual[i].text;
}

static void
every_key_is_in_the_manual_with_its_range_and_default(void **state)
{
    char part[300];

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        const char *text = manual_text(&keys[i]);
        if (text == NULL) {
            fail_msg("keyd.conf(5) lacks %s", keys[i].name);
            continue;
        }
        if ((keys[i].type == INT || keys[i].type == AUTO_INT ||
             keys[i].type == DELAY) &&
            keys[i].section != PRINCIPAL) {
            snprintf(part, sizeof part, "From %lld to %lld; the default is",
                     (long long)keys[i].min, (long long)keys[i].max);
            assert_non_null(strstr(text, part));
        }
        if (keys[i].def == NULL)
            assert_non_null(strstr(text, "Required"));
        else if (keys[i].def[0] != '\0' && strstr(text, keys[i].def) == NULL)
            fail_msg("keyd.conf(5) does not say that %s defaults to %s", keys[i].name,
                     keys[i].def);
    }
}

static void
every_key_of_the_manual_is_one(void **state)
{
    (void)state;
    assert_true(n_manual > 0);
    for (size_t m = 0; m < n_manual; m++) {
        bool found = false;
        for (size_t i = 0; i < N_KEYS; i++)
            if (keys[i].section == manual[m].section &&
                strcmp(keys[i].name, manual[m].name) == 0)
                found = true;
        if (!found)
            fail_msg("%s is no key", manual[m].name);
    }
    assert_int_equal(n_manual, N_KEYS);
}

static void
every_operation_is_in_the_manual_with_its_classes(void **state)
{
    size_t n = 0;

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        char want[128];
        bool found = false;
        if (kd_op_name(op) == NULL || (kd_op_flags(op) & KD_OPF_EVERYONE) != 0)
            continue;
        n++;
        int at = snprintf(want, sizeof want, "%s%s", kd_op_name(op),
                          (kd_op_flags(op) & KD_OPF_DOMAIN) != 0 ? " *" : "");
        const char *between = " ";
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
            if (kd_op_is_served(op, klass)) {
                at += snprintf(want + at, sizeof want - (size_t)at, "%s%s", between,
                               kd_class_name(klass));
                between = ", ";
            }
        for (size_t i = 0; i < n_manual_ops; i++)
            found = found || strcmp(manual_ops[i], want) == 0;
        if (!found)
            fail_msg("keyd.conf(5) lacks \"%s\"", want);
    }
    assert_int_equal(n, n_manual_ops);
}

int
main(void)
{
#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)
#define OF_THE_MANUAL(test) cmocka_unit_test_setup(test, read_manual)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_base_of_the_tests_is_accepted),
        cmocka_unit_test(the_digest_is_that_of_the_text),
        cmocka_unit_test(duplicate_key_is_refused),
        cmocka_unit_test(the_same_key_in_two_sections_is_accepted),
        cmocka_unit_test(duplicate_section_is_refused),
        cmocka_unit_test(missing_brace_is_refused),
        cmocka_unit_test(open_quote_is_refused),
        cmocka_unit_test(the_environment_is_refused),
        cmocka_unit_test(include_is_refused),
        cmocka_unit_test(octal_is_refused),
        cmocka_unit_test(other_numbers_are_refused),
        cmocka_unit_test(backslash_is_refused),
        cmocka_unit_test(nul_and_control_characters_are_refused),
        cmocka_unit_test(non_ascii_is_for_comments),
        cmocka_unit_test(long_lines_and_files_are_refused),
        cmocka_unit_test(other_ways_of_writing_are_refused),
        cmocka_unit_test(unknown_keys_and_sections_are_refused),
        cmocka_unit_test(a_comma_after_the_last_item_is_accepted),
        cmocka_unit_test(all_problems_are_told_at_once_and_by_line),
        cmocka_unit_test(more_problems_than_there_is_room_for_are_counted),
        cmocka_unit_test(what_the_operator_wrote_is_escaped_in_problems),
        cmocka_unit_test(
            problems_come_a_line_each_and_the_last_says_if_there_were_more),
        cmocka_unit_test(every_number_is_accepted_within_its_range_and_not_beyond),
        cmocka_unit_test(numbers_land_in_their_members),
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(every_default_is_a_value_that_may_be_written),
        cmocka_unit_test(threads_follow_the_cpus_within_their_range),
        cmocka_unit_test(words_are_taken_as_listed_only),
        cmocka_unit_test(paths_are_absolute_and_plain),
        cmocka_unit_test(profile_fields_are_those_that_may_be_added),
        cmocka_unit_test(account_keys_are_points_in_base64),
        cmocka_unit_test(a_ticket_takes_a_key_and_a_key_a_ticket),
        cmocka_unit_test(account_modes_are_all_unless_named),
        cmocka_unit_test(a_reset_waits_three_days_or_longer),
        cmocka_unit_test(keys_are_roles_and_ids),
        cmocka_unit_test(quotas_keep_their_lines_and_one_for_each_operation),
        cmocka_unit_test(lines_of_principals_reach_the_policy),
        cmocka_unit_test(lint_finds_what_is_hardly_meant),
        cmocka_unit_test(operations_listed_twice_are_an_error),
        cmocka_unit_test(domains_served_are_valid_and_there),
        cmocka_unit_test(the_most_domains_and_principals_fit_and_one_more_does_not),
        cmocka_unit_test(roles_have_users_of_their_own),
        cmocka_unit_test(a_principal_is_no_role),
        cmocka_unit_test(folders_do_not_lie_in_each_other),
        cmocka_unit_test(limits_fit_each_other),
        cmocka_unit_test(listeners_are_of_served_classes),
        cmocka_unit_test(the_remote_listener_has_an_address_and_no_socket),
        cmocka_unit_test(a_remote_principal_has_a_name_or_a_key),
        cmocka_unit_test(a_remote_principal_has_no_operation_of_operators),
        cmocka_unit_test(modes_of_sockets_are_two),
        cmocka_unit_test(sockets_do_not_share_a_place),
        cmocka_unit_test(a_principal_has_one_uid),
        cmocka_unit_test(the_same_uid_twice_in_a_class_is_refused),
        cmocka_unit_test(principals_say_class_and_operations),
        cmocka_unit_test(operations_of_another_class_are_refused),
        cmocka_unit_test(domains_of_a_principal_are_served_ones),
        cmocka_unit_test(a_service_without_an_operator_is_warned_of),
        IN_A_PLACE(files_that_others_can_write_are_refused),
        IN_A_PLACE(files_of_others_are_refused),
        IN_A_PLACE(what_is_no_file_is_refused),
        IN_A_PLACE(problems_of_the_file_come_with_those_of_the_text),
        IN_A_PLACE(the_credential_is_for_its_owner_only),
        IN_A_PLACE(a_credential_on_the_same_disk_is_warned_of),
        cmocka_unit_test(the_example_is_accepted),
        OF_THE_MANUAL(every_key_is_in_the_manual_with_its_range_and_default),
        OF_THE_MANUAL(every_key_of_the_manual_is_one),
        OF_THE_MANUAL(every_operation_is_in_the_manual_with_its_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
