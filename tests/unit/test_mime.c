/* dime/mime.h: content of anybody's making, and mail that is meant to hurt. What goes
 * in and comes back is in tests/conformance/test_dm_mime.c. */
#include "../support/mime_check.h"
#include "../support/vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#define COMMON                                                                         \
    "Date: today\r\nTo: bob\r\nFrom: alice\r\nSubject: hi\r\n" /* as 33 gives it */

struct part {
    uint8_t type;
    const char *data;
};

/* A content of strings; up to eight parts, ended by type 0. */
struct content {
    struct dime_mime_part parts[8];
    struct dime_mime_content c;
};

static struct content *
content(const char *headers, const struct part *parts)
{
    static struct content c;
    size_t n = 0;

    for (; parts[n].type != 0; n++)
        c.parts[n] = (struct dime_mime_part){.type = parts[n].type,
                                             .data = kd_slice_str(parts[n].data)};
    c.c = (struct dime_mime_content){
        .headers = kd_slice_str(headers), .parts = c.parts, .n_parts = n};
    c.c.common.value[DIME_COMMON_DATE] = kd_slice_str("today");
    c.c.common.value[DIME_COMMON_TO] = kd_slice_str("bob");
    c.c.common.value[DIME_COMMON_FROM] = kd_slice_str("alice");
    c.c.common.value[DIME_COMMON_SUBJECT] = kd_slice_str("hi");
    return &c;
}
#define PARTS(...) ((const struct part[]){__VA_ARGS__, {0, NULL}})

static kd_err
export_of(const struct dime_mime_content *c, struct kd_buf *out)
{
    kd_buf_init(out, 1 << 20);
    kd_buf_put(out, kd_slice_str("before"));
    kd_err err = dime_mime_export(c, out);
    if (err != KD_OK)
        assert_int_equal(out->n, strlen("before"));
    return err;
}

static void
assert_mail(const char *headers, const struct part *parts, const char *want)
{
    struct kd_buf out;

    assert_int_equal(export_of(&content(headers, parts)->c, &out), KD_OK);
    size_t n = out.n - strlen("before");
    if (n != strlen(want) || memcmp(out.p + strlen("before"), want, n) != 0)
        fail_msg("got:\n%.*s\nwant:\n%s", (int)out.n, (const char *)out.p, want);
    kd_buf_free(&out);
}

static void
assert_refused(const char *headers, const struct part *parts)
{
    struct kd_buf out;
    kd_err err = export_of(&content(headers, parts)->c, &out);

    if (err != KD_INVALID)
        fail_msg("%s: %s, %.*s", headers, kd_err_text(err), (int)out.n,
                 (const char *)out.p);
    kd_buf_free(&out);
}

#define V "MIME-Version: 1.0\r\n"

static void
text_without_header_is_mail(void **state)
{
    (void)state;
    assert_mail("X-Mailer: interop\r\n", PARTS({67, "Hello Bob,\r\n\r\ntext"}),
                COMMON "X-Mailer: interop\r\n" V "\r\nHello Bob,\r\n\r\ntext");
    assert_mail("", PARTS({67, "text"}), COMMON V "\r\ntext");
    assert_mail("", PARTS({67, "Note: a line"}), COMMON V "\r\nNote: a line");
    assert_mail("", PARTS({67, "\r\n\r\ntext"}), COMMON V "\r\n\r\n\r\ntext");
}

static void
text_that_is_no_plain_ascii_is_encoded(void **state)
{
    (void)state;
    assert_mail("", PARTS({67, "Gr\xc3\xbc\xc3\x9f\x65\n"}),
                COMMON V "Content-Type: text/plain; charset=utf-8\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQo=\r\n");
    assert_mail(V, PARTS({67, "\xff"}),
                COMMON V "Content-Type: application/octet-stream\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n");
    assert_mail(V, PARTS({67, "a bare\nline end"}),
                COMMON V
                "Content-Type: text/plain; charset=utf-8\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\nYSBiYXJlCmxpbmUgZW5k\r\n");
}

static void
text_under_fields_of_chunk_34_is_what_these_say(void **state)
{
    (void)state;
    assert_mail("Content-Type: text/html\r\n", PARTS({67, "<p>\n"}),
                COMMON "Content-Type: text/html\r\n" V "\r\n<p>\n");
    assert_refused("Content-Type: text/html\r\n",
                   PARTS({67, "Content-Type: text/plain\r\n\r\ntext"}));
}

static void
parts_without_a_multipart_get_one(void **state)
{
    struct kd_buf out;
    struct dime_mime m;

    (void)state;
    struct content *c =
        content("", PARTS({67, "one"}, {67, "Content-Type: text/html\r\n\r\n<p>"},
                          {131, "three"}, {131, "\xff"}));
    assert_int_equal(export_of(&c->c, &out), KD_OK);
    struct kd_slice mail = kd_slice(out.p + 6, out.n - 6);
    assert_non_null(memmem(mail.p, mail.n, "multipart/mixed; boundary=\"dime-", 32));
    assert_int_equal(dime_mime_import(mail, &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_MAPPED);
    assert_string_equal(mime_types(&m.content), "67 67 131 131");
    dime_mime_free(&m);
    kd_buf_free(&out);
}

/* A Subject in the header of a part is that part's, not the mail's. */
static void
fields_of_a_part_do_not_become_the_mails(void **state)
{
    struct kd_buf out;

    (void)state;
    struct content *c = content("", PARTS({67, "Subject: other\r\n\r\ntext"}));
    assert_int_equal(export_of(&c->c, &out), KD_OK);
    kd_buf_u8(&out, 0);
    const char *subject = strstr((const char *)out.p, "Subject: other");
    const char *end = strstr((const char *)out.p, "\r\n\r\n");
    assert_true(subject > end);
    kd_buf_free(&out);
}

static void
chunk_34_cannot_contradict_chunk_33(void **state)
{
    static const char *const bad[] = {
        "Subject: other\r\n",
        "subject: other\r\n",
        "X-Dime-Original-Subject: other\r\n",
        "X-Dime-Original-Subject: h\r\n i\r\n",
        "X-Dime-Original-Subject: hi\r\nX-Dime-Original-Subject: hi\r\n",
        "X-Dime-Here: Subject, Subject\r\n",
        "X-Dime-Here: Subject\r\nX-Dime-Here: SUBJECT\r\n",
        "X-Dime-Here: Subject\r\nX-Dime-Original-Subject: hi\r\n",
        "X-Dime-Absent: Subject\r\n",
        "X-Dime-Absent: MIME-Version, MIME-Version\r\n",
        "X-Dime-Original-X-Other: hi\r\n",
        "X-Dime-Original-: hi\r\n",
        "X-Dime-Here: \r\n",
        "X-Dime-Here: X-Other\r\n",
        "X-Dime-Here: From,,To\r\n",
        "X-Dime-Here: Content-Type\r\n",
        "X-Dime-Absent: X-Other\r\n",
        "X-Dime-Preamble: aGkNCg\r\n",
        "X-Dime-Epilogue: aGkNCg\r\n",
        "X-Dime-Position: 1\r\n",
        "X-Dime-Later: 1\r\n",
        "X-Dime-Raw: message/rfc822\r\n",
    };

    (void)state;
    assert_mail("X-Dime-Original-Subject:hi\r\nX-Dime-Here: To, FROM\r\n" V,
                PARTS({67, "text"}),
                "Date: today\r\nSubject:hi\r\nTo: bob\r\nFROM: alice\r\n" V "\r\ntext");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i], PARTS({67, "text"}));
}

static void
chunk_34_must_be_fields(void **state)
{
    static const char *const bad[] = {
        "no field\r\n",
        "X-Cut: 1",
        "X-Lf: 1\n",
        "\r\n",
        "X-A: 1\r\n\r\n",
        " fold\r\n",
        "X-Nul : 1\r\n",
        "X-Cr: a\rb\r\n",
        "X-Latin: \xfc\r\n",
        "Content-Type: text/plain\r\nContent-Type: text/plain\r\n",
        "Content-Type: multipart/mixed\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i], PARTS({67, "text"}));
}

static void
values_of_chunk_33_must_be_lines(void **state)
{
    static const char *const bad[] = {"a\r\nBcc: c", "a\nb", "a\rb", "\x7f", "\xfc"};
    struct kd_buf out;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct content *c = content("", PARTS({67, "text"}));
        c->c.common.value[DIME_COMMON_CC] = kd_slice_str(bad[i]);
        assert_int_equal(export_of(&c->c, &out), KD_INVALID);
        kd_buf_free(&out);
    }
    struct content *c = content("", PARTS({67, "text"}));
    c->c.common.value[DIME_COMMON_CC] = kd_slice("a\0b", 3);
    assert_int_equal(export_of(&c->c, &out), KD_INVALID);
    kd_buf_free(&out);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n"

static void
no_part_can_break_out_of_its_place(void **state)
{
    (void)state;
    assert_mail(V MIXED, PARTS({67, "one"}, {67, "two\r\n--c\r\n"}),
                COMMON V MIXED "\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--c\r\n\r\n"
                               "--b--\r\n");
    assert_refused(V MIXED, PARTS({67, "one"}, {67, "two\r\n--b\r\nthree"}));
    assert_refused(V MIXED, PARTS({67, "one\r\n--b--"}));
    assert_refused(V MIXED, PARTS({67, "--b\r\n\r\nx"}));
    assert_refused(V MIXED, PARTS({67, "Content-Type: text/plain\r\n\r\n--b\r\n\r\n"}));
    assert_refused(V MIXED, PARTS({67, "Content-Type: text/plain\r\n\r\nx\n--b\n"}));
    assert_refused(V MIXED,
                   PARTS({67, "Content-Type: multipart/mixed; boundary=c\r\n\r\n"
                              "--c\r\n\r\nx\r\n--c--"}));
    assert_refused(V MIXED, PARTS({67, "Content-Type: text/plain\r\n"
                                       "Content-Type: text/html\r\n\r\nx"}));
    assert_refused(V, PARTS({67, "Content-Type: multipart/mixed; boundary=c\r\n\r\n"
                                 "--c\r\n\r\nx\r\n--c--"}));
    /* preamble: a delimiter; no line end. Epilogue: no line of its own. No base 64. */
    assert_refused(V MIXED "X-Dime-Preamble: LS1iDQo\r\n", PARTS({67, "one"}));
    assert_refused(V MIXED "X-Dime-Preamble: aGk\r\n", PARTS({67, "one"}));
    assert_refused(V MIXED "X-Dime-Epilogue: aGk\r\n", PARTS({67, "one"}));
    assert_refused(V MIXED "X-Dime-Epilogue: a\r\n", PARTS({67, "one"}));
    assert_refused(V MIXED "X-Dime-Epilogue: a*==\r\n", PARTS({67, "one"}));
    assert_refused(V MIXED "X-Dime-Preamble:\r\nX-Dime-Preamble:\r\n",
                   PARTS({67, "one"}));
}

#define ALT "Content-Type: multipart/alternative; boundary=a\r\n"
#define HEAD(children, preamble, epilogue, position)                                   \
    "Children: " #children "\r\nPreamble: " #preamble "\r\nEpilogue: " #epilogue       \
    "\r\nPosition: " #position "\r\n\r\n"

static void
multiparts_must_add_up(void **state)
{
    static const char *const bad[] = {
        HEAD(0, 0, 0, 1) ALT "\r\n",
        HEAD(3, 0, 0, 1) ALT "\r\n",
        HEAD(999999999, 0, 0, 1) ALT "\r\n",
        HEAD(4294967298, 0, 0, 1) ALT "\r\n",
        HEAD(02, 0, 0, 1) ALT "\r\n",
        HEAD(-2, 0, 0, 1) ALT "\r\n",
        HEAD(2, 1, 0, 1) ALT "\r\n",
        HEAD(2, 0, 1, 1) ALT "\r\n",
        HEAD(2, 0, 0, 1) ALT "\r\nx",
        HEAD(2, 999999999, 0, 1) ALT "\r\n",
        HEAD(2, 0, 0, 0) ALT "\r\n",
        HEAD(2, 0, 0, 2) ALT "\r\n",
        HEAD(2, 0, 0, 4) ALT "\r\n",
        HEAD(2, 0, 0, 1) "\r\n",
        HEAD(2, 0, 0, 1) ALT,
        HEAD(2, 0, 0, 1) "Content-Type: text/plain\r\n\r\n",
        HEAD(2, 0, 0, 1) "Content-Type: multipart/mixed\r\n\r\n",
        HEAD(2, 0, 0, 1) ALT ALT "\r\n",
        HEAD(2, 0, 0, 1) "X-Dime-Here: Subject\r\n" ALT "\r\n",
        "Preamble: 0\r\nChildren: 2\r\nEpilogue: 0\r\nPosition: 1\r\n\r\n" ALT "\r\n",
        ALT "\r\n",
        "",
    };

    (void)state;
    assert_mail(V, PARTS({66, HEAD(2, 0, 2, 1) ALT "\r\n\r\n"}, {67, "x"}, {67, "y"}),
                COMMON V ALT "\r\n--a\r\n\r\nx\r\n--a\r\n\r\ny\r\n--a--\r\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(V, PARTS({66, bad[i]}, {67, "x"}, {67, "y"}));
    /* without a position: others need not number what is in order */
    assert_mail(
        V,
        PARTS({66, "Children: 1\r\nPreamble: 0\r\nEpilogue: 0\r\n\r\n" ALT "\r\n"},
              {67, "x"}),
        COMMON V ALT "\r\n--a\r\n\r\nx\r\n--a--");
}

#define AT(k) "X-Dime-Position: " #k "\r\n\r\n"

static void
positions_must_be_those_of_the_parts(void **state)
{
    (void)state;
    assert_mail(V MIXED, PARTS({67, AT(2) "two"}, {131, AT(1) "one"}),
                COMMON V MIXED "\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n");
    assert_mail(V MIXED, PARTS({67, "one"}, {67, AT(2) "two"}),
                COMMON V MIXED "\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n");
    assert_refused(V MIXED, PARTS({67, "one"}, {67, AT(1) "two"}));
    assert_refused(V MIXED, PARTS({67, AT(1) "one"}, {67, AT(1) "two"}));
    assert_refused(V MIXED, PARTS({67, AT(1) "one"}, {67, AT(3) "two"}));
    assert_refused(V MIXED, PARTS({67, AT(0) "one"}));
    assert_refused(V MIXED, PARTS({67, AT(01) "one"}));
    assert_refused(V MIXED, PARTS({67, AT(4294967297) "one"}));
    assert_refused(V MIXED, PARTS({67, AT(one) "one"}));
    assert_refused(V MIXED, PARTS({67, "Content-Type: text/plain\r\n" AT(1) "one"}));
    assert_refused(V MIXED, PARTS({67, "X-Dime-Position: 1\r\n" AT(1) "one"}));
    assert_refused(V MIXED, PARTS({67, "X-Dime-Raw: 1\r\n\r\none"}));
}

#define MULTIPART(type)                                                                \
    "Children: 2\r\nPreamble: 0\r\nEpilogue: 2\r\n\r\n"                                \
    "Content-Type: multipart/" type "; boundary=b\r\n\r\n\r\n"

/* Two parts are shown, or one of them; text, or a mail: by chunks and mail alike. */
static void
a_multipart_is_what_its_chunk_says(void **state)
{
    (void)state;
    assert_mail(V, PARTS({66, MULTIPART("alternative")}, {67, "one"}, {67, "two"}),
                COMMON V "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
                         "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n");
    assert_refused(V, PARTS({65, MULTIPART("alternative")}, {67, "one"}, {67, "two"}));
    assert_refused(V, PARTS({129, MULTIPART("alternative")}, {67, "one"}, {67, "two"}));
    assert_refused(V, PARTS({66, MULTIPART("mixed")}, {67, "one"}, {67, "two"}));
    assert_refused(V, PARTS({130, MULTIPART("related")}, {67, "one"}, {67, "two"}));
    assert_refused(V, PARTS({65, MULTIPART("digest")}, {67, "one"}, {67, "two"}));
    static const char *const other[] = {"alternative", "digest", "related", "x-other"};
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        char headers[128];
        snprintf(headers, sizeof headers,
                 V "Content-Type: multipart/%s; boundary=b\r\n", other[i]);
        assert_refused(headers, PARTS({67, "one"}, {67, "two"}));
    }
}

static void
types_that_hold_no_content_are_refused(void **state)
{
    (void)state;
    for (unsigned type = 1; type < 256; type++)
        if (type != 67 && type != 131)
            assert_refused(V, PARTS({(uint8_t)type, "text"}));
    struct content *c = content(V, PARTS({67, "text"}));
    struct kd_buf out;
    c->c.n_parts = 0;
    assert_int_equal(export_of(&c->c, &out), KD_INVALID);
    kd_buf_free(&out);
}

static void
a_raw_mail_must_be_what_chunks_33_and_34_say(void **state)
{
    static const char mail[] = "From: alice\nSubject: hi\nSubject: two\n\ntext\n";
    struct kd_buf out;
    struct dime_mime m;

    (void)state;
    assert_int_equal(dime_mime_import(kd_slice_str(mail), &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_LINE_END);
    assert_true(
        kd_slice_eq(m.content.common.value[DIME_COMMON_FROM], kd_slice_str("alice")));
    assert_null(m.content.common.value[DIME_COMMON_SUBJECT].p);
    assert_true(kd_slice_eq(m.content.headers,
                            kd_slice_str(V "X-Dime-Raw: message/rfc822\r\n"
                                           "X-Dime-Absent: Date, To, Subject, "
                                           "MIME-Version\r\n")));
    assert_true(kd_slice_eq(m.content.parts[0].data,
                            kd_slice_str("Content-Type: message/rfc822\r\n"
                                         "Content-Transfer-Encoding: binary\r\n\r\n"
                                         "From: alice\nSubject: hi\nSubject: two\n\n"
                                         "text\n")));
    struct dime_mime_content good = m.content, bad = good;
    struct dime_mime_part two[2] = {good.parts[0], good.parts[0]};
    assert_int_equal(export_of(&good, &out), KD_OK);
    kd_buf_free(&out);

    bad.common.value[DIME_COMMON_FROM] = kd_slice_str("bob");
    assert_int_equal(export_of(&bad, &out), KD_INVALID);
    kd_buf_free(&out);
    bad = good;
    bad.common.value[DIME_COMMON_SUBJECT] = kd_slice_str("hi");
    assert_int_equal(export_of(&bad, &out), KD_INVALID);
    kd_buf_free(&out);
    bad = good;
    bad.parts = two;
    bad.n_parts = 2;
    assert_int_equal(export_of(&bad, &out), KD_INVALID);
    kd_buf_free(&out);
    bad.n_parts = 1;
    two[0].type = 131;
    assert_int_equal(export_of(&bad, &out), KD_INVALID);
    kd_buf_free(&out);
    two[0] = (struct dime_mime_part){67, kd_slice_str("From: alice\r\n\r\n")};
    assert_int_equal(export_of(&bad, &out), KD_INVALID);
    kd_buf_free(&out);
    dime_mime_free(&m);
}

static void
text_in_a_digest_is_mapped_and_stays_what_it_is(void **state)
{
    struct kd_slice mail =
        kd_slice_str(COMMON V "Content-Type: multipart/digest; boundary=d\r\n"
                              "\r\n--d\r\n\r\nno field\r\n--d--\r\n");
    struct dime_mime m;
    struct kd_buf back;

    (void)state;
    assert_int_equal(dime_mime_import(mail, &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_MAPPED);
    kd_buf_init(&back, 4096);
    assert_int_equal(dime_mime_export(&m.content, &back), KD_OK);
    assert_int_equal(back.n, mail.n);
    assert_memory_equal(back.p, mail.p, mail.n);
    kd_buf_free(&back);
    dime_mime_free(&m);
}

static void
a_delimiter_that_looks_like_a_field_is_none(void **state)
{
    struct dime_mime m;

    (void)state;
    assert_int_equal(
        dime_mime_import(kd_slice_str(COMMON V
                                      "Content-Type: multipart/mixed; "
                                      "boundary=\"a:b\"\r\n\r\n--a:b\r\nX: y\r\n"
                                      "--a:b\r\n\r\none\r\n--a:b--\r\n"),
                         &m),
        KD_OK);
    assert_int_equal(m.raw, DIME_MIME_DELIMITER);
    dime_mime_free(&m);
}

/* One reader takes a line that another passes over. */
static void
what_is_in_doubt_is_not_in_chunk_33(void **state)
{
    static const char *const doubtful[] = {"From : boss\r\nFrom: alice\r\n\r\n",
                                           "From: alice\r\nFROM\t: boss\r\n\r\n",
                                           "X: y\rFrom: boss\r\nFrom: alice\r\n\r\n",
                                           "From: alice\rFrom: boss\n\n",
                                           "From: alice\nX: y\r\rFrom : boss\n\n",
                                           "From:\nFrom: alice\n\n"};
    static const char *const plain[] = {"From: alice\n\nFrom: boss\n",
                                        "From: alice\nX-From: boss\n From: boss\n\n",
                                        "From: alice\nFrom boss\nFrom-: boss\n\n"};
    struct dime_mime m;

    (void)state;
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++) {
        assert_int_equal(dime_mime_import(kd_slice_str(doubtful[i]), &m), KD_OK);
        assert_int_not_equal(m.raw, DIME_MIME_MAPPED);
        assert_null(m.content.common.value[DIME_COMMON_FROM].p);
        dime_mime_free(&m);
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        assert_int_equal(dime_mime_import(kd_slice_str(plain[i]), &m), KD_OK);
        assert_true(kd_slice_eq(m.content.common.value[DIME_COMMON_FROM],
                                kd_slice_str("alice")));
        dime_mime_free(&m);
    }
}

static void
a_part_is_an_entity_or_text(void **state)
{
    struct dime_mime_entity e;

    (void)state;
    static const char *const bare[] = {"text",           "",
                                       "\r\n\r\ntext",   "A: b",
                                       "A: b\r\n",       "A: b\r\nc\r\n\r\nd",
                                       "A : b\r\n\r\nc", "A: b\n\nc"};
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        assert_int_equal(dime_mime_entity(kd_slice_str(bare[i]), &e), KD_OK);
        assert_true(e.bare && e.fields.n == 0 && e.position == 0);
        assert_true(kd_slice_eq(e.body, kd_slice_str(bare[i])));
    }
    assert_int_equal(
        dime_mime_entity(kd_slice_str("X-Dime-Position: 7\r\nA: b\r\n c\r\n"
                                      "\r\nbody"),
                         &e),
        KD_OK);
    assert_true(!e.bare && e.position == 7);
    assert_true(kd_slice_eq(e.fields, kd_slice_str("A: b\r\n c\r\n")));
    assert_true(kd_slice_eq(e.body, kd_slice_str("body")));
    assert_int_equal(dime_mime_entity(kd_slice_str("A:\r\n\r\n"), &e), KD_OK);
    assert_true(!e.bare && e.body.n == 0);
}

/* A mail that a function puts together, there and back. */
static void
assert_way(struct kd_buf *mail, enum dime_mime_raw way)
{
    assert_int_equal(mail->err, KD_OK);
    struct dime_mime m = mime_round_trip(kd_buf_slice(mail));
    assert_int_equal(m.raw, way);
    dime_mime_free(&m);
    kd_buf_free(mail);
}

static void
mails_of_very_many_parts_are_carried_raw(void **state)
{
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 1 << 24);
    kd_buf_printf(&b, MIXED "\r\n");
    for (int i = 0; i < 10000; i++)
        kd_buf_printf(&b, "--b\r\n\r\n%d\r\n", i);
    kd_buf_printf(&b, "--b--\r\n");
    assert_way(&b, DIME_MIME_TOO_MANY);

    for (int i = 0; i < 10000; i++)
        kd_buf_printf(
            &b, "Content-Type: multipart/mixed; boundary=b%dx\r\n\r\n--b%dx\r\n", i, i);
    kd_buf_printf(&b, "\r\ntext\r\n");
    for (int i = 10000; i-- > 0;)
        kd_buf_printf(&b, "--b%dx--\r\n\r\n", i);
    assert_way(&b, DIME_MIME_TOO_DEEP);
}

static void
very_long_header_lines_go_one_way_or_the_other(void **state)
{
    static char line[1 << 20];
    struct kd_buf b;

    (void)state;
    memset(line, 'x', sizeof line - 1);
    kd_buf_init(&b, 1 << 26);
    kd_buf_printf(&b, "X-Long: %s\r\n\r\ntext\r\n", line);
    assert_way(&b, DIME_MIME_HEADER_SIZE);
    kd_buf_printf(&b, "X-Long: %s\r\n\r\ntext\r\n", line + 4096);
    assert_way(&b, DIME_MIME_MAPPED);
    kd_buf_printf(&b, "Subject: %s\r\n\r\ntext\r\n", line);
    assert_way(&b, DIME_MIME_COMMON_VALUE);
    kd_buf_printf(&b, "Content-Type: %s\r\n\r\ntext\r\n", line);
    assert_way(&b, DIME_MIME_TYPE_SIZE);
    kd_buf_printf(&b, "%s: x\r\n\r\ntext\r\n", line + 4096);
    assert_way(&b, DIME_MIME_MAPPED);
    kd_buf_printf(&b, "X-Folds:");
    for (int i = 0; i < 200000; i++)
        kd_buf_printf(&b, " \r\n");
    kd_buf_printf(&b, "\r\ntext\r\n");
    assert_way(&b, DIME_MIME_MAPPED);
    for (int i = 0; i < 100000; i++)
        kd_buf_printf(&b, "Content-A: b\r\n");
    kd_buf_printf(&b, "\r\ntext\r\n");
    assert_way(&b, DIME_MIME_HEADER_SIZE);
    for (int i = 0; i < 1000000; i++)
        kd_buf_printf(&b, "a:\r\n");
    kd_buf_printf(&b, "\r\ntext\r\n");
    assert_way(&b, DIME_MIME_HEADER_SIZE);
}

static void
a_large_body_of_what_is_nearly_a_delimiter_is_mapped(void **state)
{
    struct kd_buf b;
    int n = 0;

    (void)state;
    kd_buf_init(&b, 1 << 26);
    for (; n < DIME_MIME_DEPTH; n++)
        kd_buf_printf(
            &b,
            "Content-Type: multipart/mixed; boundary=%062dx%d\r\n\r\n--%062dx%d\r\n", 0,
            n, 0, n);
    kd_buf_printf(&b, "\r\n");
    for (int i = 0; i < 60000; i++)
        kd_buf_printf(&b, "--%062dx\r\n", 0);
    while (n-- > 0)
        kd_buf_printf(&b, "\r\n--%062dx%d--", 0, n);
    assert_way(&b, DIME_MIME_MAPPED);
}

static void
a_mail_over_the_limit_is_too_large(void **state)
{
    struct dime_mime m;
    static const uint8_t one;

    (void)state;
    /* nothing is read of it */
    assert_int_equal(
        dime_mime_import(kd_slice(&one, (size_t)DIME_MIME_MAIL_MAX + 1), &m),
        KD_TOO_LARGE);
}

/* Mails of the corpus with octets changed, cut and doubled: all of them come back. */
static void
damaged_mail_comes_back_as_it_is(void **state)
{
    static const char *const names[] = {
#define MIME_CASE(name, way, types) name ".eml",
#include "../support/mime_cases.def"
#undef MIME_CASE
    };
    static const uint8_t odd[] = "\r\n\t -:;=\"b\0\x80";
    uint32_t r = 1;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct kd_slice mail = vector_read(KEYD_VECTORS "/mime", names[i]);
        uint8_t *copy = malloc(mail.n + 1);
        assert_non_null(copy);
        for (int k = 0; k < 40 && mail.n > 1 && mail.n < 5000; k++) {
            memcpy(copy, mail.p, mail.n);
            size_t n = mail.n;
            for (int changes = k % 4; changes >= 0; changes--) {
                r = r * 1664525 + 1013904223;
                copy[(r >> 8) % n] = odd[(r >> 3) % sizeof odd];
            }
            if (k % 8 == 7)
                n = (r >> 5) % n + 1;
            struct dime_mime m = mime_round_trip(kd_slice(copy, n));
            dime_mime_free(&m);
        }
        free(copy);
        vector_free(mail);
    }
}

static void
every_way_has_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < DIME_MIME_RAW_COUNT; i++)
        assert_true(strlen(dime_mime_raw_text((enum dime_mime_raw)i)) > 3);
    assert_string_equal(dime_mime_raw_text(DIME_MIME_RAW_COUNT), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_without_header_is_mail),
        cmocka_unit_test(text_that_is_no_plain_ascii_is_encoded),
        cmocka_unit_test(text_under_fields_of_chunk_34_is_what_these_say),
        cmocka_unit_test(parts_without_a_multipart_get_one),
        cmocka_unit_test(fields_of_a_part_do_not_become_the_mails),
        cmocka_unit_test(chunk_34_cannot_contradict_chunk_33),
        cmocka_unit_test(chunk_34_must_be_fields),
        cmocka_unit_test(values_of_chunk_33_must_be_lines),
        cmocka_unit_test(no_part_can_break_out_of_its_place),
        cmocka_unit_test(multiparts_must_add_up),
        cmocka_unit_test(positions_must_be_those_of_the_parts),
        cmocka_unit_test(types_that_hold_no_content_are_refused),
        cmocka_unit_test(a_raw_mail_must_be_what_chunks_33_and_34_say),
        cmocka_unit_test(a_multipart_is_what_its_chunk_says),
        cmocka_unit_test(what_is_in_doubt_is_not_in_chunk_33),
        cmocka_unit_test(a_delimiter_that_looks_like_a_field_is_none),
        cmocka_unit_test(text_in_a_digest_is_mapped_and_stays_what_it_is),
        cmocka_unit_test(a_part_is_an_entity_or_text),
        cmocka_unit_test(mails_of_very_many_parts_are_carried_raw),
        cmocka_unit_test(very_long_header_lines_go_one_way_or_the_other),
        cmocka_unit_test(a_large_body_of_what_is_nearly_a_delimiter_is_mapped),
        cmocka_unit_test(a_mail_over_the_limit_is_too_large),
        cmocka_unit_test(damaged_mail_comes_back_as_it_is),
        cmocka_unit_test(every_way_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
