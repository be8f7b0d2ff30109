/* client/resolver/src/dmtp_reply.h */
#include <dmtp_reply.h>

#include "../support/test.h"

#include <dime/armor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dmtp_limits wide = {1000, 1 << 20};

/* What comes out of a text that comes whole and octet by octet alike. */
static enum dmtp_reading
read_text(struct dmtp_reader *r, struct kd_slice text, struct dmtp_limits limits)
{
    static struct dmtp_reader other;
    size_t at = 0, n = 0;

    dmtp_reader_init(&other);
    dmtp_reader_begin(&other, limits);
    while (n < text.n && other.state == DMTP_MORE)
        n += dmtp_reader_add(&other, kd_slice(text.p + n, 1));
    dmtp_reader_init(r);
    dmtp_reader_begin(r, limits);
    while (at < text.n && r->state == DMTP_MORE)
        at += dmtp_reader_add(r, kd_slice(text.p + at, text.n - at));
    assert_int_equal(r->state, other.state);
    assert_int_equal(at, n);
    dmtp_reader_free(&other);
    return r->state;
}

static void
expect_reply(const char *text, unsigned code, const char *body)
{
    struct dmtp_reader r;

    assert_int_equal(read_text(&r, kd_slice_str(text), wide), DMTP_WHOLE);
    assert_int_equal(r.code, code);
    struct kd_slice got = dmtp_reader_text(&r);
    assert_int_equal(got.n, strlen(body));
    assert_memory_equal(got.p, body, got.n);
    dmtp_reader_free(&r);
}

static void
expect_bad_octets(const void *octets, size_t n, struct dmtp_limits limits,
                  const char *why)
{
    struct dmtp_reader r;

    assert_int_equal(read_text(&r, kd_slice(octets, n), limits), DMTP_BAD);
    assert_string_equal(r.why, why);
    assert_int_equal(dmtp_reader_text(&r).n, 0);
    dmtp_reader_free(&r);
}

static void
expect_bad(const char *text, const char *why)
{
    expect_bad_octets(text, strlen(text), wide, why);
}

static void
TR_10_replies_have_a_code_and_lines(void **state)
{
    (void)state;
    expect_reply("250 OK\n", 250, "OK\n");
    expect_reply("250\n", 250, "\n");
    expect_reply("250 \n", 250, "\n");
    expect_reply("250-a\n250-\n250 b\n", 250, "a\n\nb\n");
    expect_reply("250-a\r\n250 b\n", 250, "a\nb\n");
    expect_reply("999 x\n", 999, "x\n");
    expect_bad("\n", "a line without a code");
    expect_bad("25 OK\n", "a line without a code");
    expect_bad("2500 OK\n", "a line without a code");
    expect_bad("250\tOK\n", "a line without a code");
    expect_bad("+50 OK\n", "a line without a code");
    expect_bad("099 OK\n", "a code below 100");
    expect_bad("250-a\nfree text\n250 OK\n", "a line without a code");
}

static void
D_138_line_ends_are_lf_or_crlf(void **state)
{
    (void)state;
    expect_bad("250 O\rK\n", "a CR that ends no line");
    expect_bad("250 OK\r\r\n", "a CR that ends no line");
    expect_bad("\r250 OK\n", "a CR that ends no line");
    expect_bad_octets("250 O\0K\n", 8, wide, "a NUL");
    expect_bad_octets("250 OK\r\0\n", 9, wide, "a CR that ends no line");
}

static void
D_166_lines_of_several_codes_are_refused(void **state)
{
    (void)state;
    expect_bad("280-a\n290 OK\n", "lines of several codes");
    expect_bad("280-a\n281 OK\n", "lines of several codes");
}

static void
lines_and_replies_have_limits(void **state)
{
    static char text[DMTP_LINE_MAX + 8];
    struct dmtp_reader r;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "250 ", 4);
    text[DMTP_LINE_MAX] = '\r';
    text[DMTP_LINE_MAX + 1] = '\n';
    assert_int_equal(read_text(&r, kd_slice(text, DMTP_LINE_MAX + 2), wide),
                     DMTP_WHOLE);
    dmtp_reader_free(&r);
    text[DMTP_LINE_MAX] = 'x';
    /* refused before its end */
    expect_bad_octets(text, DMTP_LINE_MAX + 1, wide, "a line is too long");

    struct dmtp_limits two = {2, 1000};
    assert_int_equal(read_text(&r, kd_slice_str("250-a\n250 b\n"), two), DMTP_WHOLE);
    dmtp_reader_free(&r);
    expect_bad_octets("250-a\n250-b\n250 c\n", 18, two, "too many lines");
    struct dmtp_limits twelve = {100, 12};
    assert_int_equal(read_text(&r, kd_slice_str("250-a\n250 b\n"), twelve), DMTP_WHOLE);
    dmtp_reader_free(&r);
    expect_bad_octets("250-a\n250 bb\n", 13, twelve, "the reply is too long");
}

static void
what_follows_a_reply_stays(void **state)
{
    struct dmtp_reader r;
    struct kd_slice two = kd_slice_str("250 a\n280 b\n");

    (void)state;
    dmtp_reader_init(&r);
    assert_int_equal(r.state, DMTP_BAD);
    assert_int_equal(dmtp_reader_add(&r, two), 0);
    dmtp_reader_begin(&r, wide);
    assert_int_equal(dmtp_reader_add(&r, two), 6);
    assert_int_equal(r.state, DMTP_WHOLE);
    assert_int_equal(dmtp_reader_add(&r, two), 0);
    dmtp_reader_begin(&r, wide);
    assert_int_equal(dmtp_reader_add(&r, kd_slice(two.p + 6, 6)), 6);
    assert_int_equal(r.code, 280);
    dmtp_reader_free(&r);
}

static void
TR_209_unknown_codes_go_by_their_class(void **state)
{
    (void)state;
    assert_int_equal(dmtp_class_of(299), DMTP_SUCCESS);
    assert_int_equal(dmtp_class_of(354), DMTP_GO_ON);
    assert_int_equal(dmtp_class_of(499), DMTP_TEMPORARY);
    assert_int_equal(dmtp_class_of(599), DMTP_PERMANENT);
    assert_int_equal(dmtp_class_of(199), DMTP_STRANGE);
    assert_int_equal(dmtp_class_of(600), DMTP_STRANGE);
}

static bool
says(const char *text, size_t word)
{
    return dmtp_text_says_dmtp(kd_slice_str(text), word);
}

static void
D_142_the_word_is_a_word(void **state)
{
    (void)state;
    assert_true(says("<mx.example.com> DMTP text\n", 0));
    assert_true(says("<mx.example.com> ESMTP dmtpv1\n", 0));
    assert_true(says("DMTP\n", 0));
    assert_false(says("<mx.example.com> ESMTP\n", 0));
    assert_false(says("<dmtp.example.com> ESMTP\n", 0));
    assert_false(says("DMTPv2 XDMTP DMTPX\n", 0));
    assert_false(says("x\nDMTP\n", 0));
    assert_false(says("", 0));
    assert_true(says("OK DMTPv1 hello\n", 2));
    assert_true(says("OK  DMTP\n", 2));
    assert_false(says("OK ESMTP DMTP\n", 2));
}

/* A reply's text with an armoured object of n octets. */
static void
put_armor(struct kd_buf *b, size_t n, uint8_t first)
{
    uint8_t octets[600];

    for (size_t i = 0; i < n; i++)
        octets[i] = (uint8_t)(first + i);
    dime_armor_put(b, DIME_ARMOR_USER_SIGNET, DIME_ARMOR_WIRE, kd_slice(octets, n));
}

static void
TR_161_a_signet_is_armoured(void **state)
{
    struct kd_buf text, out;
    const char *why = "";

    (void)state;
    kd_buf_init(&text, 8192);
    kd_buf_init(&out, 500);
    kd_buf_printf(&text, "USER SIGNET\n");
    put_armor(&text, 500, 9);
    kd_buf_printf(&text, "OK\n");
    assert_int_equal(dmtp_text_signet(kd_buf_slice(&text), false, &out, &why), KD_OK);
    assert_int_equal(out.n, 500);
    assert_int_equal(out.p[499], (uint8_t)(9 + 499));

    kd_buf_reset(&out);
    out.max = 499;
    assert_int_equal(dmtp_text_signet(kd_buf_slice(&text), false, &out, &why),
                     KD_TOO_LARGE);
    assert_int_equal(out.n, 0);
    put_armor(&text, 5, 1); /* a second one */
    out.max = 2000;
    assert_int_equal(dmtp_text_signet(kd_buf_slice(&text), false, &out, &why),
                     KD_MALFORMED);
    assert_int_equal(out.n, 0);
    assert_int_equal(dmtp_text_signet(kd_slice_str("OK\n"), false, &out, &why),
                     KD_MALFORMED);
    kd_buf_free(&text);
    kd_buf_free(&out);
}

static kd_err
libdime_signet(const char *text, bool libdime, struct kd_buf *out)
{
    kd_buf_reset(out);
    return dmtp_text_signet(kd_slice_str(text), libdime, out, NULL);
}

static void
D_137_libdimes_form_only_if_it_is_wanted(void **state)
{
    struct kd_buf out;

    (void)state;
    kd_buf_init(&out, 100);
    assert_int_equal(libdime_signet("OK [QUJDRA==]\n", true, &out), KD_OK);
    assert_int_equal(out.n, 4);
    assert_memory_equal(out.p, "ABCD", 4);
    assert_int_equal(libdime_signet("OK [QUJDRA]\n", true, &out), KD_OK);
    assert_int_equal(libdime_signet("OK [QUJDRA==]\n", false, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK []\n", true, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK [Q]\n", true, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK [QU=D]\n", true, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK [QUJ\x80]\n", true, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK [QUJD\n", true, &out), KD_MALFORMED);
    assert_int_equal(libdime_signet("OK QUJD]\n", true, &out), KD_MALFORMED);
    assert_int_equal(out.n, 0);
    kd_buf_free(&out);
}

static void
TR_174_histories_come_in_their_order(void **state)
{
    struct kd_slice links[3];
    struct kd_buf text, out;
    const char *why = "";
    size_t n = 9;

    (void)state;
    kd_buf_init(&text, 8192);
    kd_buf_init(&out, 8192);
    for (uint8_t i = 0; i < 3; i++) {
        kd_buf_printf(&text, "link\n");
        put_armor(&text, 200u + i, (uint8_t)(40 * i));
    }
    kd_buf_printf(&text, "OK\n");
    assert_int_equal(
        dmtp_text_links(kd_buf_slice(&text), false, &out, links, 3, &n, &why), KD_OK);
    assert_int_equal(n, 3);
    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(links[i].n, 200 + i);
        assert_int_equal(links[i].p[0], 40 * i);
        assert_int_equal(links[i].p[199], (uint8_t)(40 * i + 199));
    }
    kd_buf_reset(&out);
    assert_int_equal(
        dmtp_text_links(kd_buf_slice(&text), false, &out, links, 2, &n, &why),
        KD_TOO_LARGE);
    kd_buf_free(&text);
    kd_buf_free(&out);
}

static kd_err
links_of(const char *text, bool libdime)
{
    struct kd_slice links[4];
    struct kd_buf out;
    size_t n = 0;

    kd_buf_init(&out, 100);
    kd_err err = dmtp_text_links(kd_slice_str(text), libdime, &out, links, 4, &n, NULL);
    kd_buf_free(&out);
    return err;
}

#define BEGIN "-----BEGIN USER SIGNET-----\n"
#define END "-----END USER SIGNET-----\n"

static void
histories_that_are_none(void **state)
{
    (void)state;
    assert_int_equal(links_of(BEGIN "QUJD\n" END "OK\n", false), KD_OK);
    assert_int_equal(links_of("OK\n", false), KD_MALFORMED);
    assert_int_equal(links_of("", false), KD_MALFORMED);
    assert_int_equal(links_of(BEGIN "QUJD\nOK\n", false), KD_MALFORMED);
    assert_int_equal(links_of(BEGIN BEGIN "QUJD\n" END, false), KD_MALFORMED);
    assert_int_equal(links_of(END BEGIN "QUJD\n" END, false), KD_MALFORMED);
    assert_int_equal(links_of(BEGIN "QUJD\n" END BEGIN "Q\n" END, false), KD_MALFORMED);
    assert_int_equal(links_of("[QUJD]\n[QUJD]\nOK\n", true), KD_OK);
    assert_int_equal(links_of("[QUJD]\n[QUJD]\nOK\n", false), KD_MALFORMED);
    assert_int_equal(links_of("[QUJD]\n[Q]\nOK\n", true), KD_MALFORMED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(TR_10_replies_have_a_code_and_lines),
        cmocka_unit_test(D_138_line_ends_are_lf_or_crlf),
        cmocka_unit_test(D_166_lines_of_several_codes_are_refused),
        cmocka_unit_test(lines_and_replies_have_limits),
        cmocka_unit_test(what_follows_a_reply_stays),
        cmocka_unit_test(TR_209_unknown_codes_go_by_their_class),
        cmocka_unit_test(D_142_the_word_is_a_word),
        cmocka_unit_test(TR_161_a_signet_is_armoured),
        cmocka_unit_test(D_137_libdimes_form_only_if_it_is_wanted),
        cmocka_unit_test(TR_174_histories_come_in_their_order),
        cmocka_unit_test(histories_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
