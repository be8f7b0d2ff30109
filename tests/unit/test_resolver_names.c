#include "names.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

static void
assert_name(const char *text, const char *want)
{
    char out[DNS_NAME_MAX + 1];

    print_message("%s\n", text);
    assert_int_equal(name_normal(kd_slice_str(text), out), KD_OK);
    assert_string_equal(out, want);
}

static void
names_become_a_labels_in_lower_case(void **state)
{
    (void)state;
    assert_name("Example.COM", "example.com");
    assert_name("user@example.com", "example.com");
    assert_name("\"a@b\"@Example.com", "example.com");
    assert_name("b\xc3\xbc"
                "cher.example",
                "xn--bcher-kva.example");
    assert_name("B\xc3\x9c"
                "CHER.example",
                "xn--bcher-kva.example");
    assert_name("bu\xcc\x88"
                "cher.example",
                "xn--bcher-kva.example"); /* not composed */
    assert_name("XN--BCHER-KVA.example", "xn--bcher-kva.example");
    assert_name("fa\xc3\x9f.example", "xn--fa-hia.example"); /* not fass */
    assert_name("a\xe3\x80\x82"
                "example",
                "a.example");                         /* an ideographic full stop */
    assert_name("\xef\xbd\x81.example", "a.example"); /* full width */
    assert_name("ab--cd.example", "ab--cd.example");  /* not of ours to refuse */
    assert_name("1.example", "1.example");
    assert_name("1.2.3.4.example", "1.2.3.4.example");
    assert_name("localhost", "localhost");
}

static void
what_is_no_name_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "@",
        "user@",
        "a..b",
        ".a",
        "example.com.",
        "-a.example",
        "a-.example",
        "a_b.example",
        "_dime.example",
        "a b.example",
        "a\n.example",
        "a/b.example",
        "a:53.example",
        "*.example",
        "a\x7f.example",
        "xn--.example",
        "xn--a.example",
        "xn--bcher-kva-.example",
        "xn--\xc3\xbc.example",
        "\xff\xfe.example",
        "\xc3.example",
        "\xe2\x80\x8b.example" /* of no width */,
        "a\xe2\x84\x80.example" /* a/c */,
        "example.com\xe3\x80\x82",
        "\xcc\x88.example" /* combines with nothing */,
    };
    char out[DNS_NAME_MAX + 1];
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        print_message("%zu %s\n", i, bad[i]);
        assert_int_equal(name_normal(kd_slice_str(bad[i]), out), KD_INVALID);
    }
    assert_int_equal(name_normal(kd_slice("a\0b.example", 11), out), KD_INVALID);
}

static void
addresses_of_hosts_are_refused_in_all_writings(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1",
        "user@127.0.0.1",
        "[127.0.0.1]",
        "user@[127.0.0.1]",
        "1.2",
        "16777343",
        "0x7f000001",
        "0x7f.0.0.1",
        "1.2.3.0x4",
        "a.1",
        "::1",
        "[::1]",
        "[IPv6:::1]",
        "\xef\xbc\x91.\xef\xbc\x92.\xef\xbc\x93.\xef\xbc\x94", /* full width 1.2.3.4 */
        "\xe2\x91\xa0.\xe2\x91\xa1.\xe2\x91\xa2.\xe2\x91\xa3", /* circled */
        "127\xe3\x80\x82"
        "0\xe3\x80\x82"
        "0\xe3\x80\x82"
        "1",
        "a.0x",
        "a.0xff",
    };
    char out[DNS_NAME_MAX + 1];
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        print_message("%s\n", bad[i]);
        assert_int_equal(name_normal(kd_slice_str(bad[i]), out), KD_INVALID);
    }
}

static void
lengths_are_those_of_the_a_labels(void **state)
{
    char text[2048] = "", out[DNS_NAME_MAX + 1];
    (void)state;

    memset(text, 'a', 63);
    strcpy(text + 63, ".example");
    assert_name(text, text);
    memset(text, 'a', 64);
    strcpy(text + 64, ".example");
    assert_int_equal(name_normal(kd_slice_str(text), out), KD_TOO_LARGE);
    for (int i = 0; i < 127; i++)
        memcpy(text + 2 * i, "a.", 2);
    text[253] = '\0';
    assert_name(text, text);
    strcpy(text + 253, "aa");
    assert_int_equal(name_normal(kd_slice_str(text), out), KD_TOO_LARGE);
    /* 60 letters, but more than 63 as an A-label */
    text[0] = '\0';
    for (int i = 0; i < 60; i++)
        strcat(text, i % 2 == 0 ? "\xc3\xa4" : "\xe4\xb8\x96");
    strcat(text, ".example");
    assert_int_equal(name_normal(kd_slice_str(text), out), KD_TOO_LARGE);
    memset(text, 'a', 1025);
    assert_int_equal(name_normal(kd_slice(text, 1025), out), KD_TOO_LARGE);
}

/* --- suffixes --- */

static void
assert_walk(const struct suffixes *s, const char *name, size_t n, const char *base)
{
    struct name_list list;

    print_message("%s\n", name);
    assert_int_equal(suffixes_walk(s, name, &list), KD_OK);
    assert_int_equal(list.n, n);
    if (n > 0) {
        assert_string_equal(list.names[0], base);
        assert_string_equal(list.names[n - 1], name);
    }
}

static void
T_MR_50_the_walk_goes_from_the_base_to_the_full_name(void **state)
{
    struct suffixes *s;
    struct name_list list;
    (void)state;

    assert_int_equal(suffixes_new(NULL, &s), KD_OK);
    assert_int_equal(suffixes_walk(s, "sub.domain.example.com", &list), KD_OK);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.names[0], "example.com");
    assert_string_equal(list.names[1], "domain.example.com");
    assert_string_equal(list.names[2], "sub.domain.example.com");
    suffixes_free(s);
}

static void
T_MR_51_a_suffix_is_never_queried(void **state)
{
    struct suffixes *s;
    (void)state;

    assert_int_equal(suffixes_new(NULL, &s), KD_OK);
    assert_walk(s, "x.example.co.uk", 2, "example.co.uk");
    assert_walk(s, "example.co.uk", 1, "example.co.uk");
    assert_walk(s, "co.uk", 0, NULL);
    assert_walk(s, "uk", 0, NULL);
    assert_walk(s, "com", 0, NULL);
    assert_walk(s, "localhost", 0, NULL);
    assert_walk(s, "example.com", 1, "example.com");
    assert_walk(s, "a.b.nosuchsuffix", 2, "b.nosuchsuffix");
    assert_walk(s, "nosuchsuffix", 0, NULL);
    assert_walk(s, "a.b.xn--55qx5d.cn", 2,
                "b.xn--55qx5d.cn"); /* A-labels of a suffix */
    assert_walk(s, "xn--55qx5d.cn", 0, NULL);
    assert_walk(s, "a.b.ck", 1, "a.b.ck"); /* *.ck, but for www.ck */
    assert_walk(s, "a.www.ck", 2, "www.ck");
    assert_walk(s, "a.github.io", 1, "a.github.io"); /* of private owners, too */
    suffixes_free(s);
}

static void
a_file_of_suffixes_may_be_configured(void **state)
{
    char path[] = "/tmp/suffixes.XXXXXX";
    int fd = mkstemp(path);
    struct suffixes *s = NULL;
    static const char list[] = "// ===BEGIN ICANN DOMAINS===\ncom\nparts.example.com\n"
                               "// ===END ICANN DOMAINS===\n";
    (void)state;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, list, sizeof(list) - 1), sizeof(list) - 1);
    close(fd);
    assert_int_equal(suffixes_new(path, &s), KD_OK);
    assert_walk(s, "a.b.parts.example.com", 2, "b.parts.example.com");
    assert_walk(s, "parts.example.com", 0, NULL);
    assert_walk(s, "x.example.com", 2, "example.com");
    suffixes_free(s);
    unlink(path);
    s = NULL;
    assert_int_equal(suffixes_new("/nonexistent", &s), KD_IO);
    assert_null(s);
}

static void
sixteen_names_are_walked_and_no_more(void **state)
{
    char name[DNS_NAME_MAX + 1] = "";
    struct suffixes *s;
    struct name_list list = {.n = 99};
    (void)state;

    assert_int_equal(suffixes_new(NULL, &s), KD_OK);
    for (int i = 0; i < 15; i++)
        strcat(name, "a.");
    strcat(name, "example.com");
    assert_walk(s, name, 16, "example.com");
    memmove(name + 2, name, strlen(name) + 1);
    assert_int_equal(suffixes_walk(s, name, &list), KD_TOO_LARGE);
    assert_int_equal(list.n, 99);
    suffixes_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_a_labels_in_lower_case),
        cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(addresses_of_hosts_are_refused_in_all_writings),
        cmocka_unit_test(lengths_are_those_of_the_a_labels),
        cmocka_unit_test(T_MR_50_the_walk_goes_from_the_base_to_the_full_name),
        cmocka_unit_test(T_MR_51_a_suffix_is_never_queried),
        cmocka_unit_test(a_file_of_suffixes_may_be_configured),
        cmocka_unit_test(sixteen_names_are_walked_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
