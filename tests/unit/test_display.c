/* dime/display.h and dime/utf8.h: what informational fields mean. */
#include <dime/display.h>
#include <dime/utf8.h>
#include <keyd/base/be.h>
#include <keyd/base/buf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#include "../support/vector.h"

static struct kd_slice
str(const char *s)
{
    return kd_slice_str(s);
}

static void
assert_slice(struct kd_slice s, const char *expected)
{
    assert_true(kd_slice_eq(s, str(expected)));
}

/* --- UTF-8 -------------------------------------------------------------------- */

static void
utf8_is_strict(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x7f",
                                      "\xc2\xc0",
                                      "\xe0\x9f\xbf",
                                      "\xe0\xa0",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "a\xffz"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(dime_utf8_valid(str(good[i]), NULL));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dime_utf8_valid(str(bad[i]), NULL));
}

static void
utf8_counts_code_points(void **state)
{
    size_t n = 0;

    (void)state;
    assert_true(dime_utf8_valid(str("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), &n));
    assert_int_equal(n, 4);
}

static void
white_space_has_25_code_points(void **state)
{
    unsigned n = 0;

    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++)
        n += dime_utf8_is_space(cp);
    assert_int_equal(n, 25);
    assert_true(dime_utf8_is_space(0x3000));
    assert_false(
        dime_utf8_is_space(0x200b)); /* zero width space has not the property */
    assert_false(dime_utf8_is_space(0xfeff));
}

static void
controls_are_those_that_move_or_reorder(void **state)
{
    (void)state;
    assert_true(dime_utf8_is_control(0x1b));
    assert_true(dime_utf8_is_control(0x9b));
    assert_true(dime_utf8_is_control(0x202e));
    assert_true(dime_utf8_is_control(0x2066));
    assert_false(dime_utf8_is_control('a'));
    assert_false(dime_utf8_is_control(0x2026));
}

/* --- Lists, languages, currencies --------------------------------------------- */

static void
lists_end_with_or_without_a_semicolon(void **state)
{
    static const char *const same[] = {"a;b", "a;b;", ";a;;b;;"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct dime_list l = {str(same[i])};
        struct kd_slice item;
        assert_true(dime_list_next(&l, &item));
        assert_slice(item, "a");
        assert_true(dime_list_next(&l, &item));
        assert_slice(item, "b");
        assert_false(dime_list_next(&l, &item));
        assert_false(dime_list_next(&l, &item));
    }
}

static void
whole_tags_win_over_languages_and_users_over_organizations(void **state)
{
    static const char *const have[] = {"en-GB", "de-CH", "fr-FR"};
    struct kd_slice none = {NULL, 0};

    (void)state;
    assert_string_equal(dime_language_choose(str("en-US;FR-fr"), none, have, 3),
                        "fr-FR");
    assert_string_equal(dime_language_choose(str("en-US;it"), none, have, 3), "en-GB");
    assert_string_equal(dime_language_choose(str("it"), str("de"), have, 3), "de-CH");
    assert_string_equal(dime_language_choose(none, str("de-CH"), have, 3), "de-CH");
    assert_string_equal(dime_language_choose(str("english;\xff;e;-"), none, have, 3),
                        "en-US");
    assert_string_equal(dime_language_choose(none, none, NULL, 0), "en-US");
}

static void
language_tags_have_a_shape(void **state)
{
    static const char *const good[] = {"de", "en-US", "zh-Hant-TW", "es-419", "tlh"};
    static const char *const bad[] = {"",
                                      "e",
                                      "de-",
                                      "-de",
                                      "d3",
                                      "abcdefghi",
                                      "de-abcdefghi",
                                      "de--CH",
                                      "de CH",
                                      "\xc3\xa4\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(dime_language_tag(str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dime_language_tag(str(bad[i])));
}

static void
cryptocurrencies_that_are_not_symbol_and_address_are_passed_over(void **state)
{
    struct dime_list l = {str("BT:x;BTCX:y;:z;BTC:;B1C:a;BTC:a b;XYZ:q; ltc:  w")};
    struct dime_crypto c;

    (void)state;
    assert_true(dime_crypto_next(&l, &c));
    assert_slice(c.symbol, "XYZ");
    assert_false(c.is_known);
    assert_true(dime_crypto_next(&l, &c));
    assert_slice(c.address, "w");
    assert_true(c.is_known);
    assert_false(dime_crypto_next(&l, &c));
    assert_string_equal(dime_crypto_preferred(str("XYZ:q;ltc:w")), "LTC");
    assert_string_equal(dime_crypto_preferred(str("")), "BTC");
    assert_null(dime_crypto_preferred(str("XYZ:q")));
}

static void
size_limits_are_digits_within_bounds(void **state)
{
    uint64_t n = 7;

    (void)state;
    assert_true(dime_size_limit(str("1000000"), &n));
    assert_int_equal(n, 1000000);
    assert_true(dime_size_limit(str("999999999999"), &n));
    assert_true(n == 999999999999u);
    assert_false(dime_size_limit(str("1000000000000"), &n)); /* 13 digits */
    assert_false(dime_size_limit(str("-1000000"), &n));
    assert_false(dime_size_limit(str(" 1000000"), &n));
    assert_true(n == 999999999999u);
    assert_true(dime_size_limit_of(str("12MB"), str("2000000"), &n));
    assert_int_equal(n, 2000000);
    assert_true(dime_size_limit_of(str("2000000"), str(""), &n));
    assert_false(dime_size_limit_of(str(""), str("1"), &n));
}

/* --- Names ---------------------------------------------------------------------- */

static void
urls_are_http_with_a_host(void **state)
{
    static const char *const good[] = {"http://example.com",
                                       "HTTPS://Example.COM/",
                                       "https://example.com:8443/a/b?c=d&e=%20#f",
                                       "https://example.com:",
                                       "http://192.0.2.1/x",
                                       "http://[2001:db8::1]:80/",
                                       "https://xn--bcher-kva.example/?q",
                                       "https://example.com?q#f"};
    static const char *const bad[] = {"",
                                      "https://",
                                      "https:///path",
                                      "http:/example.com",
                                      "http//example.com",
                                      "https://exa mple.com",
                                      "https://example.com/a b",
                                      "https://example.com/\xc3\xa4",
                                      "https://example.com/%2",
                                      "https://example.com/%zz",
                                      "https://user@example.com/",
                                      "https://example.com@evil.example/",
                                      "https://example.com:0/",
                                      "https://example.com:65536/",
                                      "https://example.com:8x/",
                                      "https://[::1/",
                                      "https://[1.2.3.4]/",
                                      "https://[fe80::1%25eth0]/",
                                      "https://-a.example/",
                                      "https://example.com/<b>",
                                      "https://example.com/a#b#c",
                                      "https://example.com\\@evil",
                                      "https://example.com/\n",
                                      "javascript:https://example.com"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(dime_url(str(good[i]), false));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dime_url(str(bad[i]), false));
    assert_false(dime_url(str("http://example.com"), true));
    assert_true(dime_url(str("https://example.com"), true));
    assert_false(dime_url(kd_slice("https://example.com/\0", 21), false));
}

static void
hosts_are_names_and_never_addresses(void **state)
{
    (void)state;
    assert_true(dime_host(str("webmail.Example.com")));
    assert_false(dime_host(str("192.0.2.1")));
    assert_false(dime_host(str("2001:db8::1")));
    assert_false(dime_host(str("[::1]")));
    assert_false(dime_host(str("a b.example")));
    assert_false(dime_host(str("alice@example.com")));
    assert_false(dime_host(str("")));
    assert_true(dime_email(str("Abuse@Example.com")));
    assert_false(dime_email(str("example.com")));
    assert_false(dime_email(str("a@b@example.com")));
    assert_true(dime_onion(str("expyuzz4wqqyqhjn.onion")));
    assert_true(dime_onion(
        str("vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.ONION")));
    assert_false(dime_onion(str("expyuzz4wqqyqhj.onion")));
    assert_false(dime_onion(str("expyuzz4wqqyqhj1.onion")));
    assert_false(dime_onion(str("expyuzz4wqqyqhjn-onion")));
    assert_false(dime_onion(str("example.com")));
}

static void
signatures_are_86_characters_padded_or_not(void **state)
{
    char text[] =
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAA==";

    (void)state;
    assert_true(dime_signature_text(kd_slice(text, 86)));
    assert_true(dime_signature_text(kd_slice(text, 88)));
    assert_false(dime_signature_text(kd_slice(text, 87)));
    assert_false(dime_signature_text(kd_slice(text, 85)));
    text[85] = 'B'; /* unused bits */
    assert_false(dime_signature_text(kd_slice(text, 86)));
    text[85] = '\xc1';
    assert_false(dime_signature_text(kd_slice(text, 86)));
}

/* --- Images ----------------------------------------------------------------------- */

static uint32_t
slow_crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void
put_chunk(struct kd_buf *b, const char *type, struct kd_slice data)
{
    kd_buf_u32(b, (uint32_t)data.n);
    size_t at = b->n;
    kd_buf_put(b, kd_slice(type, 4));
    kd_buf_put(b, data);
    kd_buf_u32(b, slow_crc32(b->p + at, b->n - at));
}

/* A PNG of the chunks named in order; "IHDR" is 8 bit greyscale unless given. */
static bool
png_of(const char *const *types, size_t n, const char *ihdr)
{
    static const char grey[] = "\0\0\2\0\0\0\2\0\10\0\0\0\0";
    struct kd_buf b;
    struct dime_png png = {0, 0};

    kd_buf_init(&b, 4096);
    kd_buf_put(&b, kd_slice("\x89PNG\r\n\x1a\n", 8));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(types[i], "IHDR") == 0)
            put_chunk(&b, "IHDR", kd_slice(ihdr != NULL ? ihdr : grey, 13));
        else if (strcmp(types[i], "PLTE") == 0)
            put_chunk(&b, "PLTE", kd_slice("\1\2\3\4\5\6", 6));
        else if (strcmp(types[i], "IEND") == 0)
            put_chunk(&b, "IEND", kd_slice(NULL, 0));
        else
            put_chunk(&b, types[i], kd_slice("data", 4));
    }
    bool good = dime_png(kd_buf_slice(&b), &png);
    if (good && ihdr == NULL)
        assert_true(png.width == 512 && png.height == 512);
    kd_buf_free(&b);
    return good;
}

#define PNG_OF(ihdr, ...)                                                              \
    png_of((const char *const[]){__VA_ARGS__},                                         \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), ihdr)

static void
images_have_the_chunks_that_png_asks_for(void **state)
{
    static const char palette[] = "\0\0\0\1\0\0\0\1\10\3\0\0\0";

    (void)state;
    assert_true(PNG_OF(NULL, "IHDR", "IDAT", "IEND"));
    assert_true(PNG_OF(NULL, "IHDR", "tEXt", "IDAT", "IDAT", "tIME", "IEND"));
    assert_true(PNG_OF(palette, "IHDR", "PLTE", "IDAT", "IEND"));
    assert_false(PNG_OF(palette, "IHDR", "IDAT", "IEND"));
    assert_false(PNG_OF(palette, "IHDR", "PLTE", "PLTE", "IDAT", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "PLTE", "IDAT", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "IDAT"));
    assert_false(PNG_OF(NULL, "IDAT", "IHDR", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "IHDR", "IDAT", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "IDAT", "tEXt", "IDAT", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "IDAT", "IEND", "tEXt"));
    assert_false(PNG_OF(NULL, "IHDR", "ABCD", "IDAT", "IEND"));
    assert_false(PNG_OF(NULL, "IHDR", "te1t", "IDAT", "IEND"));
}

static void
image_headers_make_sense(void **state)
{
    static const struct {
        const char *ihdr;
        bool good;
    } t[] = {
        {"\0\0\0\1\0\0\0\1\10\0\0\0\0", true},    {"\0\0\0\1\0\0\0\1\20\6\0\0\1", true},
        {"\0\0\0\0\0\0\0\1\10\0\0\0\0", false},   /* no width */
        {"\0\0\0\1\0\0\0\0\10\0\0\0\0", false},   /* no height */
        {"\x80\0\0\0\0\0\0\1\10\0\0\0\0", false}, /* width of 2^31 */
        {"\0\0\0\1\0\0\0\1\3\0\0\0\0", false},    /* depth 3 */
        {"\0\0\0\1\0\0\0\1\0\0\0\0\0", false},    /* depth 0 */
        {"\0\0\0\1\0\0\0\1\1\2\0\0\0", false},    /* truecolour of depth 1 */
        {"\0\0\0\1\0\0\0\1\20\3\0\0\0", false},   /* palette of depth 16 */
        {"\0\0\0\1\0\0\0\1\10\1\0\0\0", false},   /* colour type 1 */
        {"\0\0\0\1\0\0\0\1\10\0\1\0\0", false},   /* compression */
        {"\0\0\0\1\0\0\0\1\10\0\0\1\0", false},   /* filter */
        {"\0\0\0\1\0\0\0\1\10\0\0\0\2", false},   /* interlace */
    };

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_true(PNG_OF(t[i].ihdr, "IHDR", "IDAT", "IEND") == t[i].good);
}

/* The image of orgb.signet: field 252 with its three octets of length. */
static struct kd_slice
image_of(struct kd_slice signet)
{
    const uint8_t *at = memmem(signet.p, signet.n, "\x89PNG", 4);

    assert_non_null(at);
    return kd_slice(at, kd_be24(at - 3));
}

static void
no_octet_of_an_image_changes_unnoticed_and_no_cut_is_taken(void **state)
{
    struct kd_slice file =
        vector_read(KEYD_VECTORS "/libdime/signets", "orgb.signet.bin");
    struct kd_slice image = image_of(file);
    uint8_t copy[512];
    struct dime_png png;

    (void)state;
    assert_true(image.n < sizeof copy);
    assert_true(dime_png(image, &png));
    assert_int_equal(png.width, 1);
    assert_int_equal(png.height, 1);
    for (size_t i = 0; i < image.n; i++) {
        assert_false(dime_png(kd_slice(image.p, i), &png));
        memcpy(copy, image.p, image.n);
        copy[i] ^= 0x04;
        assert_false(dime_png(kd_slice(copy, image.n), &png));
    }
    memcpy(copy, image.p, image.n);
    copy[image.n] = 0;
    assert_false(dime_png(kd_slice(copy, image.n + 1), &png));
    vector_free(file);
}

/* --- Fields as they are shown --- */

static struct dime_shown
show(enum dime_kind kind, uint8_t type, struct kd_slice value)
{
    struct dime_field f = {
        .type = type, .def = dime_field_def(kind, type), .value = value};
    struct dime_shown out;

    dime_show(&f, &out);
    return out;
}

static void
unusable_values_keep_their_octets_and_say_why(void **state)
{
    struct dime_shown s = show(DIME_USER, 160, str("ftp://x"));

    (void)state;
    assert_string_equal(s.why, "not an http or https URL");
    assert_slice(s.label, "Website");
    assert_slice(s.value, "ftp://x");
    assert_true(s.is_text);
    s = show(DIME_USER, 16, str("\xff"));
    assert_string_equal(s.why, "not UTF-8");
    assert_false(s.is_text);
    s = show(DIME_USER, 16, str(""));
    assert_string_equal(s.why, "empty");
    s = show(DIME_USER, 40, str("x"));
    assert_slice(s.label, "Unknown-Field");
    assert_non_null(s.why);
}

static void
lists_are_usable_if_one_item_is(void **state)
{
    (void)state;
    assert_null(show(DIME_ORG, 203, str("192.0.2.1;web.example.com")).why);
    assert_non_null(show(DIME_ORG, 203, str("192.0.2.1;")).why);
    assert_null(show(DIME_USER, 200, str("alice@example.org;")).why);
    assert_non_null(show(DIME_USER, 200, str("alice")).why);
    assert_null(show(DIME_ORG, 23, str("EUR;USD;")).why);
    assert_non_null(show(DIME_ORG, 23, str(";;")).why);
    assert_non_null(show(DIME_ORG, 23, str("EUR;\xff")).why);
    assert_null(show(DIME_ORG, 24, str("BTC: 19gy")).why);
    assert_non_null(show(DIME_ORG, 24, str("19gy")).why);
    assert_null(show(DIME_ORG, 22, str("xx;de")).why);
    assert_non_null(show(DIME_ORG, 22, str("1;2")).why);
}

static void
undefined_fields_show_under_their_name(void **state)
{
    struct dime_field f = {.type = 251,
                           .def = dime_field_def(DIME_ORG, 251),
                           .name = str("Xyz"),
                           .value = str("")};
    struct dime_shown s;

    (void)state;
    dime_show(&f, &s);
    assert_null(s.why);
    assert_slice(s.label, "Xyz");
    f.name = str("has space");
    dime_show(&f, &s);
    assert_non_null(s.why);
    assert_slice(s.label, "Undefined-Fields");
}

static void
endorsements_are_taken_apart(void **state)
{
    uint8_t octets[256] = {0};
    struct dime_endorsement e;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, sizeof octets);
    kd_buf_put(&b, kd_slice(octets, 64));
    kd_buf_put(&b, str("bob@example.org;"));
    kd_buf_put(&b, kd_slice(octets, 64));
    assert_true(dime_endorsement(kd_buf_slice(&b), &e));
    assert_slice(e.address, "bob@example.org");
    assert_int_equal(e.signature.n, 64);
    assert_false(dime_endorsement(kd_slice(b.p, b.n - 1), &e)); /* fingerprint cut */
    assert_false(dime_endorsement(kd_slice(b.p, 64), &e));
    assert_false(dime_endorsement(kd_slice(b.p, 64 + 15), &e)); /* no semicolon */
    b.p[64] = ' ';
    assert_false(dime_endorsement(kd_buf_slice(&b), &e));
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(utf8_counts_code_points),
        cmocka_unit_test(white_space_has_25_code_points),
        cmocka_unit_test(controls_are_those_that_move_or_reorder),
        cmocka_unit_test(lists_end_with_or_without_a_semicolon),
        cmocka_unit_test(whole_tags_win_over_languages_and_users_over_organizations),
        cmocka_unit_test(language_tags_have_a_shape),
        cmocka_unit_test(
            cryptocurrencies_that_are_not_symbol_and_address_are_passed_over),
        cmocka_unit_test(size_limits_are_digits_within_bounds),
        cmocka_unit_test(urls_are_http_with_a_host),
        cmocka_unit_test(hosts_are_names_and_never_addresses),
        cmocka_unit_test(signatures_are_86_characters_padded_or_not),
        cmocka_unit_test(images_have_the_chunks_that_png_asks_for),
        cmocka_unit_test(image_headers_make_sense),
        cmocka_unit_test(no_octet_of_an_image_changes_unnoticed_and_no_cut_is_taken),
        cmocka_unit_test(unusable_values_keep_their_octets_and_say_why),
        cmocka_unit_test(lists_are_usable_if_one_item_is),
        cmocka_unit_test(undefined_fields_show_under_their_name),
        cmocka_unit_test(endorsements_are_taken_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
