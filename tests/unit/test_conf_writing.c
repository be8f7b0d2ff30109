/* How keyd.conf is written: each trap of its syntax, and how problems are told. */
#include "../support/conf_text.h"
#include "../support/test.h"

#include <stdio.h>
#include <stdlib.h>

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

int
main(void)
{
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
