/* Mail to D/MIME and back: every file of tests/vectors/mime, and the tree of a nested
 * one octet by octet. */
#include "../support/dmt.h"
#include "../support/mime_check.h"
#include "../support/vector.h"

#include <dirent.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define MAILS KEYD_VECTORS "/mime"

/* T-DM-24 (DM-93), and more than it asks: the same octets. */
static void
T_DM_24_every_mail_of_the_corpus_comes_back_octet_for_octet(void **state)
{
    int wrong = 0;

    (void)state;
    assert_true(n_mime_cases >= 60);
    for (size_t i = 0; i < n_mime_cases; i++) {
        struct kd_slice mail = mime_mail(mime_cases[i].name);
        struct dime_mime m = mime_round_trip(mail);
        const char *types = mime_types(&m.content);
        if (m.raw != mime_cases[i].way || strcmp(types, mime_cases[i].types) != 0) {
            print_error("%s: %s, chunks %s\n", mime_cases[i].name,
                        dime_mime_raw_text(m.raw), types);
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
        for (size_t i = 0; i < n_mime_cases; i++)
            found |=
                strlen(mime_cases[i].name) == (size_t)(dot - e->d_name) &&
                strncmp(mime_cases[i].name, e->d_name, strlen(mime_cases[i].name)) == 0;
        if (!found)
            fail_msg("%s is not in the table", e->d_name);
        n++;
    }
    closedir(dir);
    assert_int_equal(n, n_mime_cases);
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
    for (size_t i = 0; i < n_mime_cases; i++) {
        if (mime_cases[i].way != DIME_MIME_MAPPED)
            continue;
        struct kd_slice mail = mime_mail(mime_cases[i].name);
        uint32_t n = mime_compare_gmime(mail);
        if (n != expected_others(mime_cases[i].name)) {
            print_error("%s: %u parts elsewhere\n", mime_cases[i].name, n);
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
        ("Children: 2\r\nPreamble: 10\r\nEpilogue: 4\r\nPosition: 1\r\n\r\n"
         "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n"
         "preamble\r\n\r\n\r\n"),
        "X-Dime-Position: 2\r\nContent-Type: text/plain\r\n\r\ntext\r\n",
        ("Children: 2\r\nPreamble: 0\r\nEpilogue: 2\r\nPosition: 3\r\n\r\n"
         "Content-Type: multipart/related; boundary=rel\r\n\r\n\r\n"),
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

static const char *const common_names[DIME_COMMON_COUNT] = {
    "Date", "To", "CC", "From", "Organization", "Subject"};
static const bool common_required[DIME_COMMON_COUNT] = {true, true,  false,
                                                        true, false, true};

/* Chunk 33 as an author writes it (D-112). */
static struct kd_buf
common_text(const struct dime_common_headers *h)
{
    struct kd_buf b;

    kd_buf_init(&b, DIME_COMMON_MAX);
    for (int i = 0; i < DIME_COMMON_COUNT; i++) {
        if (h->value[i].p == NULL && !common_required[i])
            continue;
        kd_buf_printf(&b, "%s: ", common_names[i]);
        kd_buf_put(&b, h->value[i]);
        kd_buf_put(&b, kd_slice("\r\n", 2));
    }
    assert_int_equal(b.err, KD_OK);
    return b;
}

/* And as its reader finds it. */
static void
common_read(struct kd_slice text, struct dime_common_headers *out)
{
    *out = (struct dime_common_headers){0};
    for (int i = 0; i < DIME_COMMON_COUNT; i++) {
        size_t n = strlen(common_names[i]);
        if (text.n < n || memcmp(text.p, common_names[i], n) != 0)
            continue;
        const uint8_t *end = memmem(text.p, text.n, "\r\n", 2);
        assert_non_null(end);
        out->value[i] = kd_slice(text.p + n + 2, (size_t)(end - text.p) - n - 2);
        text = kd_slice(end + 2, text.n - (size_t)(end + 2 - text.p));
    }
    assert_int_equal(text.n, 0);
}

/* Through a message: encrypted, signed, opened by the recipient, and the same mail. */
static void
mail_goes_through_a_message_and_comes_back(void **state)
{
    static const char *const names[] = {"alternative",
                                        "common-twice",
                                        "lf-only",
                                        "list-mail",
                                        "mixed-interleaved",
                                        "mixed-preamble",
                                        "no-fields-at-all",
                                        "plain",
                                        "related-then-text",
                                        "subject-missing",
                                        "subject-folded",
                                        "to-folded",
                                        "attached-multipart",
                                        "subject-empty",
                                        "empty",
                                        "signed"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct kd_slice mail = mime_mail(names[i]);
        struct dmw_chunk chunks[1 + 16] = {{0}};
        struct dime_mime_part parts[16];
        struct dime_mime m;
        struct kd_buf out;

        assert_int_equal(dime_mime_import(mail, &m), KD_OK);
        struct kd_buf common = common_text(&m.content.common);
        const struct dmw_chunk chunk33 = {.type = 33, .data = kd_buf_slice(&common)};
        assert_true(m.content.n_parts <= 16);
        chunks[0] = (struct dmw_chunk){.type = 34, .data = m.content.headers};
        for (size_t k = 0; k < m.content.n_parts; k++)
            chunks[1 + k] = (struct dmw_chunk){.type = m.content.parts[k].type,
                                               .data = m.content.parts[k].data};
        struct kd_slice octets = write_message(
            &(struct dmw_recipe){.seed = i + 22,
                                 .contents = chunks,
                                 .n_contents = 1 + m.content.n_parts,
                                 .no_headers = true, /* they are in chunks */
                                 .instead = &chunk33});
        open_as(DIME_RECIPIENT, octets);
        assert_true(dmr_accepts(&r));
        assert_int_equal(r.n_parts, m.content.n_parts);

        struct dime_mime_content got = {
            .headers = kd_buf_slice(&r.text[34]), .parts = parts, .n_parts = r.n_parts};
        common_read(kd_buf_slice(&r.text[33]), &got.common);
        for (size_t k = 0; k < r.n_parts; k++)
            parts[k] = (struct dime_mime_part){r.parts[k].span.first.def->type,
                                               kd_buf_slice(&r.parts[k].data)};
        kd_buf_init(&out, DIME_MIME_MAIL_MAX);
        assert_int_equal(dime_mime_export(&got, &out), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&out), mail));
        kd_buf_free(&out);
        kd_buf_free(&common);
        dime_mime_free(&m);
        vector_free(mail);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_24_every_mail_of_the_corpus_comes_back_octet_for_octet),
        cmocka_unit_test(every_file_has_its_line_in_the_table),
        cmocka_unit_test(gmimes_parser_sees_the_same_parts),
        cmocka_unit_test(T_DM_22_a_nested_multipart_is_laid_out_as_said_and_comes_back),
        cmocka_unit_test(mail_goes_through_a_message_and_comes_back),
    };
    return cmocka_run_group_tests(tests, dmt_begin, NULL);
}
