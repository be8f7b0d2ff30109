/* Mail to D/MIME and back: every file of tests/vectors/mime, and the tree of a nested
 * one octet by octet. */
#include "../support/mime_check.h"
#include "../support/vector.h"

#include <dirent.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define MAILS KEYD_VECTORS "/mime"

static const struct mail_case {
    const char *name;
    enum dime_mime_raw way;
    const char *types;
} cases[] = {
#define MIME_CASE(name, way, types) {name, DIME_MIME_##way, types},
#include "../support/mime_cases.def"
#undef MIME_CASE
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static struct kd_slice
read_mail(const char *name)
{
    char file[256];

    assert_true(snprintf(file, sizeof file, "%s.eml", name) < (int)sizeof file);
    struct kd_slice mail = vector_read(MAILS, file);
    if (mail.p == NULL)
        fail_msg("%s cannot be read", file);
    return mail;
}

/* T-DM-24 (DM-93), and more than it asks: the same octets. */
static void
T_DM_24_every_mail_of_the_corpus_comes_back_octet_for_octet(void **state)
{
    int wrong = 0;

    (void)state;
    assert_true(N_CASES >= 60);
    for (size_t i = 0; i < N_CASES; i++) {
        struct kd_slice mail = read_mail(cases[i].name);
        struct dime_mime m = mime_round_trip(mail);
        const char *types = mime_types(&m.content);
        if (m.raw != cases[i].way || strcmp(types, cases[i].types) != 0) {
            print_error("%s: %s, chunks %s\n", cases[i].name, dime_mime_raw_text(m.raw),
                        types);
            wrong++;
        }
        dime_mime_free(&m);
        vector_free(mail);
    }
    assert_int_equal(wrong, 0);
}

static void
every_file_has_its_line_in_the_table(void **state)
{
    DIR *dir = opendir(MAILS);
    struct dirent *e;
    size_t n = 0;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot == NULL || strcmp(dot, ".eml") != 0)
            continue;
        bool found = false;
        for (size_t i = 0; i < N_CASES; i++)
            found |= strlen(cases[i].name) == (size_t)(dot - e->d_name) &&
                     strncmp(cases[i].name, e->d_name, strlen(cases[i].name)) == 0;
        if (!found)
            fail_msg("%s is not in the table", e->d_name);
        n++;
    }
    closedir(dir);
    assert_int_equal(n, N_CASES);
}

/* Where GMime's parser goes other ways. */
static const struct exception {
    const char *name;
    uint32_t n; /* parts */
    const char *what;
} exceptions[] = {
    {"mixed-no-line-end-at-close", 1, "a close at the end of the mail leaves the CR"},
};

static uint32_t
expected_others(const char *name)
{
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (strcmp(exceptions[i].name, name) == 0)
            return exceptions[i].n;
    return 0;
}

static void
gmimes_parser_sees_the_same_parts(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        if (cases[i].way != DIME_MIME_MAPPED)
            continue;
        struct kd_slice mail = read_mail(cases[i].name);
        uint32_t n = mime_compare_gmime(mail);
        if (n != expected_others(cases[i].name)) {
            print_error("%s: %u parts elsewhere\n", cases[i].name, n);
            wrong++;
        }
        vector_free(mail);
    }
    assert_int_equal(wrong, 0);
}

static void
assert_text(struct kd_slice got, const char *want)
{
    if (got.n != strlen(want) || memcmp(got.p, want, got.n) != 0)
        fail_msg("got:\n%.*s\nwant:\n%s", (int)got.n, (const char *)got.p, want);
}

/* T-DM-22 (DM-73, DM-74; open-design 6): the chunks of a nested multipart are as the
 * layout says, and the mail that is exported is the one that came in. */
static void
T_DM_22_a_nested_multipart_is_laid_out_as_said_and_comes_back(void **state)
{
    static const char *const want[] = {
        "Children: 2\r\nPreamble: 10\r\nEpilogue: 4\r\nPosition: 1\r\n\r\n"
        "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n"
        "preamble\r\n\r\n\r\n",
        "X-Dime-Position: 2\r\nContent-Type: text/plain\r\n\r\ntext\r\n",
        "Children: 2\r\nPreamble: 0\r\nEpilogue: 2\r\nPosition: 3\r\n\r\n"
        "Content-Type: multipart/related; boundary=rel\r\n\r\n\r\n",
        "X-Dime-Position: 4\r\nContent-Type: text/html\r\n\r\n<p>text</p>",
        "X-Dime-Position: 6\r\n\r\nafter",
        "X-Dime-Position: 5\r\nContent-Type: image/png\r\n\r\nPNG",
    };
    static const uint8_t types[] = {66, 67, 65, 67, 67, 131};
    static const char mail[] =
        "From: a@orga.example\r\nX-First: 1\r\nTo: b@orgb.example\r\n"
        "Subject: folded\r\n again\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=out\r\n\r\n"
        "to old readers\r\n"
        "--out\r\n"
        "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n"
        "preamble\r\n"
        "--alt\r\nContent-Type: text/plain\r\n\r\ntext\r\n\r\n"
        "--alt\r\nContent-Type: multipart/related; boundary=rel\r\n\r\n"
        "--rel\r\nContent-Type: text/html\r\n\r\n<p>text</p>\r\n"
        "--rel\r\nContent-Type: image/png\r\n\r\nPNG\r\n"
        "--rel--\r\n\r\n"
        "--alt--\r\n\r\n\r\n"
        "--out\r\n\r\nafter\r\n"
        "--out--\r\n";

    (void)state;
    struct dime_mime m = mime_round_trip(kd_slice_str(mail));
    assert_int_equal(m.raw, DIME_MIME_MAPPED);
    assert_text(m.content.headers,
                "X-Dime-Here: From\r\nX-First: 1\r\nX-Dime-Here: To\r\n"
                "X-Dime-Original-Subject: folded\r\n again\r\n"
                "MIME-Version: 1.0\r\n"
                "Content-Type: multipart/mixed; boundary=out\r\n"
                "X-Dime-Absent: Date\r\n"
                "X-Dime-Preamble: dG8gb2xkIHJlYWRlcnMNCg\r\n");
    assert_text(m.content.common.value[DIME_COMMON_FROM], "a@orga.example");
    assert_text(m.content.common.value[DIME_COMMON_TO], "b@orgb.example");
    assert_text(m.content.common.value[DIME_COMMON_SUBJECT], "folded again");
    assert_null(m.content.common.value[DIME_COMMON_DATE].p);
    assert_int_equal(m.content.n_parts, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(m.content.parts[i].type, types[i]);
        assert_text(m.content.parts[i].data, want[i]);
    }
    dime_mime_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_24_every_mail_of_the_corpus_comes_back_octet_for_octet),
        cmocka_unit_test(every_file_has_its_line_in_the_table),
        cmocka_unit_test(gmimes_parser_sees_the_same_parts),
        cmocka_unit_test(T_DM_22_a_nested_multipart_is_laid_out_as_said_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
