/* The texts of chunks 4, 5 and 33: what is read, what is written, and that these are
 * the same (DM-68 to DM-70; D-110 to D-112). */
#include "dmw.h"
#include "test.h"

#include <dime/common.h>
#include <dime/envelope.h>
#include <dime/message.h>

#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A text with the first from in it changed to to. */
struct edit {
    const char *from, *to;
};

static struct kd_slice
edited(const char *text, const struct edit *e, struct kd_buf *b)
{
    const char *at = strstr(text, e->from);

    assert_non_null(at);
    kd_buf_reset(b);
    kd_buf_put(b, kd_slice(text, (size_t)(at - text)));
    kd_buf_put(b, kd_slice_str(e->to));
    kd_buf_put(b, kd_slice_str(at + strlen(e->from)));
    assert_int_equal(b->err, KD_OK);
    return kd_buf_slice(b);
}

static bool
is(struct kd_slice s, const char *want)
{
    return s.p != NULL && kd_slice_eq(s, kd_slice_str(want));
}

/* --- envelopes --- */

static const struct {
    enum dime_envelope_kind kind;
    uint8_t type;
    const char *address, *domain;
} envelopes[] = {
    {DIME_ENVELOPE_ORIGIN, DIME_CHUNK_ORIGIN, "alice@example.com", "example.org"},
    {DIME_ENVELOPE_DESTINATION, DIME_CHUNK_DESTINATION, "bob@example.org",
     "example.com"},
};

static void
envelopes_are_read_and_written_back_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(envelopes); i++) {
        struct kd_slice text = kd_slice_str(dmw_text(envelopes[i].type));
        struct dime_envelope e;
        struct kd_buf again;
        assert_int_equal(dime_envelope_parse(envelopes[i].kind, text, &e), KD_OK);
        assert_true(is(e.address, envelopes[i].address));
        assert_true(is(e.domain, envelopes[i].domain));
        assert_int_equal(e.address_fp.n, DIME_FP_TEXT_SIZE);
        assert_int_equal(e.domain_fp.n, DIME_FP_TEXT_SIZE);
        kd_buf_init(&again, DIME_ENVELOPE_MAX);
        assert_int_equal(dime_envelope_put(envelopes[i].kind, &e, &again), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&again), text));
        kd_buf_free(&again);
    }
}

static void
one_envelope_is_not_the_other(void **state)
{
    struct dime_envelope e;

    (void)state;
    for (size_t i = 0; i < LEN(envelopes); i++)
        assert_int_equal(dime_envelope_parse(envelopes[1 - i].kind,
                                             kd_slice_str(dmw_text(envelopes[i].type)),
                                             &e),
                         KD_MALFORMED);
}

static void
refuse_origin(const struct edit *edits, size_t n)
{
    struct dime_envelope e;
    struct kd_buf b;

    kd_buf_init(&b, 4096);
    for (size_t i = 0; i < n; i++)
        if (dime_envelope_parse(DIME_ENVELOPE_ORIGIN,
                                edited(dmw_text(DIME_CHUNK_ORIGIN), &edits[i], &b),
                                &e) != KD_MALFORMED)
            fail_msg("\"%s\" in place of \"%s\" is read", edits[i].to, edits[i].from);
    kd_buf_free(&b);
}

/* T-DM-62: a fifth line, lines swapped, LF only, missing ">", a fingerprint of 85 */
static void
T_DM_62_an_origin_text_that_is_not_these_four_lines_is_corrupt(void **state)
{
    static const struct edit edits[] = {
        {"lc5g]\r\n", "lc5g]\r\nX: <example.org>\r\n"},
        {"lc5g]\r\n", "lc5g]\r\n\r\n"},
        {"lc5g]\r\n", "lc5g]\r\nDestination: <example.org>\r\n"},
        {"Author: <alice@example.com>\r\nAuthor-Signet: "
         "[EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZ"
         "Qdpf1rpLkj/QJOj/ViQ9h4UN73ipV6g]\r\n",
         "Author-Signet: [EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZ"
         "Qdpf1rpLkj/QJOj/ViQ9h4UN73ipV6g]\r\nAuthor: <alice@example.com>\r\n"},
        {"Destination: <example.org>\r\n", ""},
        {"com>\r\n", "com>\n"},
        {"V6g]\r\n", "V6g]\n"},
        {"org>\r\n", "org>\n"},
        {"lc5g]\r\n", "lc5g]\n"},
        {"lc5g]\r\n", "lc5g]\r"},
        {"lc5g]\r\n", "lc5g]"},
        {"com>", "com"},
        {"org>", "org"},
        {"V6g]", "V6]"},    /* 85 characters */
        {"V6g]", "V6ggA]"}, /* 88 */
        {"lc5g]", "lc5]"},
    };

    (void)state;
    refuse_origin(edits, LEN(edits));
}

static void
names_spaces_identifiers_and_fingerprints_are_exact(void **state)
{
    static const struct edit edits[] = {
        {"Author: ", "author: "},
        {"Author: ", "Author:  "},
        {"Author: ", "Author:"},
        {"Author: ", "Author :"},
        {"Author: ", " Author: "},
        {"Author: ", "Author:\t"},
        {"com>\r\n", "com> \r\n"},
        {"<alice", "< alice"},
        {"<alice", "<Alice"},
        {"<alice", "<al\xc3\xac"
                   "ce"},
        {"<alice", "<"},
        {"<alice@example.com>", "<>"},
        {"alice@example.com", "example.com"},
        {"example.com>", "example.com.>"},
        {"<example.org>", "<bob@example.org>"},
        {"<example.org>", "<192.0.2.1>"},
        {"<example.org>", "<Example.org>"},
        {"ipV6g]", "ipV6h]"},  /* bits behind the last octet */
        {"ipV6g]", "ipV6g=]"}, /* padding */
        {"ipV6g]", "ip\r\nV6g]"},
        {"[EWbu", "[EW-u"},
        {"[EWbu", "[EW\xe2u"},
    };

    (void)state;
    refuse_origin(edits, LEN(edits));
}

static void
an_envelope_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(envelopes); i++) {
        const char *text = dmw_text(envelopes[i].type);
        for (size_t n = 0; n < strlen(text); n++) {
            struct dime_envelope e;
            uint8_t *exact = malloc(n + 1);
            assert_non_null(exact);
            memcpy(exact, text, n);
            assert_int_equal(
                dime_envelope_parse(envelopes[i].kind, kd_slice(exact, n), &e),
                KD_MALFORMED);
            free(exact);
        }
    }
}

static void
no_envelope_is_written_that_could_not_be_read(void **state)
{
    struct kd_slice text = kd_slice_str(dmw_text(DIME_CHUNK_ORIGIN));
    struct dime_envelope good, e;
    struct kd_buf b;

    (void)state;
    assert_int_equal(dime_envelope_parse(DIME_ENVELOPE_ORIGIN, text, &good), KD_OK);
    kd_buf_init(&b, DIME_ENVELOPE_MAX);
    struct kd_slice *values[] = {&e.address, &e.address_fp, &e.domain, &e.domain_fp};
    for (size_t i = 0; i < LEN(values); i++) {
        e = good;
        *values[i] = kd_slice(NULL, 0);
        assert_int_equal(dime_envelope_put(DIME_ENVELOPE_ORIGIN, &e, &b), KD_INVALID);
        e = good;
        *values[i] = kd_slice_str("a>\r\nb");
        assert_int_equal(dime_envelope_put(DIME_ENVELOPE_ORIGIN, &e, &b), KD_INVALID);
    }
    e = good;
    e.address = good.domain;
    assert_int_equal(dime_envelope_put(DIME_ENVELOPE_ORIGIN, &e, &b), KD_INVALID);
    assert_int_equal(b.n, 0);
    kd_buf_free(&b);
}

/* --- common headers --- */

static void
common_headers_are_read_in_any_order_and_written_in_theirs(void **state)
{
    static const char text[] = "Subject: \r\nCC: c@example.net\r\n"
                               "To: B\xc3\xb6"
                               "b <bob@example.org>\r\nFrom:  x:y \r\n";
    static const char want[] = "Date: \r\nTo: B\xc3\xb6"
                               "b <bob@example.org>\r\nCC: c@example.net\r\n"
                               "From:  x:y \r\nSubject: \r\n";
    struct dime_common_headers h;
    struct kd_buf b;

    (void)state;
    assert_int_equal(dime_common_parse(kd_slice_str(text), &h), KD_OK);
    assert_null(h.value[DIME_COMMON_DATE].p);
    assert_null(h.value[DIME_COMMON_ORGANIZATION].p);
    assert_true(is(h.value[DIME_COMMON_SUBJECT], ""));
    assert_true(is(h.value[DIME_COMMON_CC], "c@example.net"));
    assert_true(is(h.value[DIME_COMMON_FROM], " x:y "));
    kd_buf_init(&b, DIME_COMMON_MAX);
    assert_int_equal(dime_common_put(&h, &b), KD_OK);
    assert_true(is(kd_buf_slice(&b), want));
    kd_buf_free(&b);
}

static void
refuse_common(const struct edit *edits, size_t n)
{
    struct dime_common_headers h;
    struct kd_buf b;

    kd_buf_init(&b, 4096);
    for (size_t i = 0; i < n; i++)
        if (dime_common_parse(edited(dmw_text(DIME_CHUNK_COMMON), &edits[i], &b), &h) !=
            KD_MALFORMED)
            fail_msg("\"%s\" in place of \"%s\" is read", edits[i].to, edits[i].from);
    kd_buf_free(&b);
}

/* T-DM-63 */
static void
T_DM_63_another_name_or_two_of_one_are_corrupt(void **state)
{
    static const struct edit edits[] = {
        {"Date: ", "X-Foo: bar\r\nDate: "},
        {"Subject: Test vector\r\n", "Subject: Test vector\r\nX-Foo: bar\r\n"},
        {"From: ", "To: carol@example.org\r\nFrom: "},
        {"From: ", "To: \r\nFrom: "},
        {"Date: ", "To: \r\nDate: "},
    };

    (void)state;
    refuse_common(edits, LEN(edits));
}

static void
lines_that_are_no_common_headers_are_refused(void **state)
{
    static const struct edit edits[] = {
        {"Date: ", "date: "},
        {"Date: ", "Date:"},
        {"Date: ", "Date : "},
        {"Date: ", " Date: "},
        {"Date: ", "Cc: x\r\nDate: "},
        {"Date: ", "\r\nDate: "},
        {"vector\r\n", "vector\r\n\r\n"},
        {"vector\r\n", "vector\n"},
        {"vector\r\n", "vector\r"},
        {"vector\r\n", "vector"},
        {"Test ", "Test\r\n "},
        {"Test ", "Test\r"},
        {"Test ", "Test\x7f"},
        {"Test ", "Test\xff"},
        {"Test ", "Test\xc3 "},
    };
    static const uint8_t with_nul[] = "To: a\0b\r\n";
    struct dime_common_headers h;

    (void)state;
    refuse_common(edits, LEN(edits));
    assert_int_equal(dime_common_parse(kd_slice(with_nul, sizeof with_nul - 1), &h),
                     KD_MALFORMED);
}

/* The longest line is read and written, one octet more is neither. */
static void
lines_of_common_headers_have_a_limit(void **state)
{
    struct kd_buf text, again;
    struct dime_common_headers h;

    (void)state;
    for (size_t more = 0; more < 2; more++) {
        kd_buf_init(&text, DIME_COMMON_MAX);
        kd_buf_init(&again, DIME_COMMON_MAX);
        kd_buf_printf(&text, "Subject: ");
        size_t n = DIME_COMMON_LINE_MAX - text.n - 2 + more;
        uint8_t *p = kd_buf_add(&text, n);
        assert_non_null(p);
        memset(p, 'a', n);
        kd_buf_printf(&text, "\r\n");
        assert_int_equal(dime_common_parse(kd_buf_slice(&text), &h),
                         more == 0 ? KD_OK : KD_MALFORMED);
        h = (struct dime_common_headers){0};
        h.value[DIME_COMMON_SUBJECT] = kd_slice(text.p + 9, n);
        assert_int_equal(dime_common_put(&h, &again), more == 0 ? KD_OK : KD_INVALID);
        kd_buf_free(&again);
        kd_buf_free(&text);
    }
}

static void
no_common_headers_are_written_that_could_not_be_read(void **state)
{
    static const char *const values[] = {"a\r\nb", "a\n", "\r", "\x7f", "\xc3"};
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_COMMON_MAX);
    for (size_t i = 0; i < LEN(values); i++) {
        struct dime_common_headers h = {
            .value = {[DIME_COMMON_TO] = kd_slice_str(values[i])}};
        assert_int_equal(dime_common_put(&h, &b), KD_INVALID);
        assert_int_equal(b.n, 0);
    }
    kd_buf_free(&b);
}

static void
four_common_headers_are_required(void **state)
{
    size_t n = 0;

    (void)state;
    for (unsigned i = 0; i < DIME_COMMON_COUNT; i++)
        n += dime_common_is_required((enum dime_common)i);
    assert_int_equal(n, 4);
    assert_false(dime_common_is_required(DIME_COMMON_CC));
    assert_false(dime_common_is_required(DIME_COMMON_ORGANIZATION));
    assert_string_equal(dime_common_name(DIME_COMMON_ORGANIZATION), "Organization");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes_are_read_and_written_back_alike),
        cmocka_unit_test(one_envelope_is_not_the_other),
        cmocka_unit_test(
            T_DM_62_an_origin_text_that_is_not_these_four_lines_is_corrupt),
        cmocka_unit_test(names_spaces_identifiers_and_fingerprints_are_exact),
        cmocka_unit_test(an_envelope_cut_anywhere_is_refused),
        cmocka_unit_test(no_envelope_is_written_that_could_not_be_read),
        cmocka_unit_test(common_headers_are_read_in_any_order_and_written_in_theirs),
        cmocka_unit_test(T_DM_63_another_name_or_two_of_one_are_corrupt),
        cmocka_unit_test(lines_that_are_no_common_headers_are_refused),
        cmocka_unit_test(lines_of_common_headers_have_a_limit),
        cmocka_unit_test(no_common_headers_are_written_that_could_not_be_read),
        cmocka_unit_test(four_common_headers_are_required),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
