/* Conformance: the informational fields (SG-48 to SG-141). */
#include <dime/display.h>
#include <dime/signet.h>

#include "sg.h"
#include "test.h"

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
assert_shown(enum dime_kind kind, uint8_t type, const char *value, const char *label,
             const char *shown)
{
    struct dime_shown s = show(kind, type, str(value));

    assert_null(s.why);
    assert_slice(s.label, label);
    assert_slice(s.value, shown);
}

static void
assert_ignored(enum dime_kind kind, uint8_t type, const char *value)
{
    assert_non_null(show(kind, type, str(value)).why);
}

/* T-SG-19 */
static void
T_SG_19_a_phone_has_a_number_and_a_label(void **state)
{
    (void)state;
    assert_shown(DIME_USER, 21, "4108546334;OFFICE", "OFFICE", "4108546334");
    assert_shown(DIME_ORG, 21, "4108546334;OFFICE", "OFFICE", "4108546334");
}

/* T-SG-20 */
static void
T_SG_20_a_phone_without_label_is_labelled_phone(void **state)
{
    (void)state;
    assert_shown(DIME_USER, 21, "4108546334", "Phone", "4108546334");
    assert_shown(DIME_USER, 21, "4108546334;", "Phone", "4108546334");
}

/* T-SG-21 */
static void
T_SG_21_the_first_language_that_is_supported_is_chosen(void **state)
{
    static const char *const have[] = {"it", "de"};

    (void)state;
    assert_string_equal(
        dime_language_choose(str("fr-CA;de;en-US;"), kd_slice(NULL, 0), have, 2), "de");
}

/* T-SG-22 */
static void
T_SG_22_then_the_language_without_its_subtag(void **state)
{
    static const char *const have[] = {"fr-FR"};

    (void)state;
    assert_string_equal(dime_language_choose(str("fr-CA"), kd_slice(NULL, 0), have, 1),
                        "fr-FR");
}

/* T-SG-23 */
static void
T_SG_23_then_en_us(void **state)
{
    static const char *const have[] = {"it"};
    struct kd_slice none = {NULL, 0};

    (void)state;
    assert_string_equal(dime_language_choose(none, none, have, 1), "en-US");
    assert_string_equal(dime_language_choose(str("fr-CA;;%"), str("1"), have, 1),
                        "en-US");
}

/* T-SG-24 */
static void
T_SG_24_cryptocurrencies_are_symbol_and_address(void **state)
{
    static const char all[] = "BLK:a;BTC:a;DRK:a;LTC:a;PPC:a;STR:a;XRP:a";
    struct dime_list l = {str("BTC: 19gy;LTC:abc")};
    struct dime_crypto c;
    int n = 0;

    (void)state;
    assert_true(dime_crypto_next(&l, &c));
    assert_slice(c.symbol, "BTC");
    assert_slice(c.address, "19gy");
    assert_true(dime_crypto_next(&l, &c));
    assert_slice(c.symbol, "LTC");
    assert_slice(c.address, "abc");
    assert_false(dime_crypto_next(&l, &c));
    for (l.rest = str(all); dime_crypto_next(&l, &c); n++)
        assert_true(c.is_known);
    assert_int_equal(n, 7);
}

/* T-SG-25 */
static void
T_SG_25_the_smaller_limit_applies(void **state)
{
    uint64_t octets = 0;

    (void)state;
    assert_true(dime_size_limit_of(str("50000000"), str("20000000"), &octets));
    assert_int_equal(octets, 20000000);
    assert_true(dime_size_limit_of(str("20000000"), str("50000000"), &octets));
    assert_int_equal(octets, 20000000);
}

/* T-SG-28 */
static void
T_SG_28_codecs_compare_without_case_and_repeats_are_ignored(void **state)
{
    struct kd_slice value = str("opus;OPUS;VP9"), item;
    struct dime_list l = {value};

    (void)state;
    assert_true(dime_codec_next(value, &l, &item));
    assert_slice(item, "opus");
    assert_true(dime_codec_next(value, &l, &item));
    assert_slice(item, "VP9");
    assert_false(dime_codec_next(value, &l, &item));
    assert_true(dime_codec_has(value, str("Opus")));
    assert_true(dime_codec_has(value, str("vp9")));
    assert_false(dime_codec_has(value, str("vp8")));
}

/* T-SG-29 */
static void
T_SG_29_a_title_may_bring_its_label(void **state)
{
    (void)state;
    assert_shown(DIME_USER, 94, "Dr;Degree", "Degree", "Dr");
    assert_shown(DIME_USER, 94, "Dr", "Title", "Dr");
    assert_shown(DIME_USER, 94, "Dr;", "Title", "Dr");
    assert_shown(DIME_USER, 95, "Acme", "Employer", "Acme");
    assert_shown(DIME_USER, 96, "x;Pronoun", "Pronoun", "x");
    assert_shown(DIME_USER, 97, "MIT", "Alma Mater", "MIT");
    assert_shown(DIME_USER, 98, "Bob", "Supervisor", "Bob");
    assert_shown(DIME_USER, 99, "None", "Political Party", "None");
    assert_shown(DIME_USER, 201, "Born;Vita", "Vita", "Born");
}

struct line {
    uint8_t type;
    const char *label;
    const char *value; /* NULL: octets, shown in base 64 */
};

static void
assert_lines(const char *name, enum dime_kind kind, const struct line *lines, size_t n)
{
    struct kd_slice file = sg_file(name);
    struct dime_signet s;
    struct dime_walk w;
    struct dime_field f;
    enum dime_reason why;
    size_t at = 0;

    assert_int_equal(dime_signet_parse_as(kind, file, &s, &why), KD_OK);
    dime_walk_signet(&w, &s);
    while (dime_walk_next(&w, &f)) {
        struct dime_shown shown;
        dime_show(&f, &shown);
        assert_true(at < n);
        assert_int_equal(f.type, lines[at].type);
        assert_null(shown.why);
        assert_slice(shown.label, lines[at].label);
        assert_true(shown.is_text == (lines[at].value != NULL));
        if (lines[at].value != NULL)
            assert_slice(shown.value, lines[at].value);
        at++;
    }
    assert_int_equal(at, n);
    sg_free(file);
}

/* T-SG-31: every field of real signets, then every field of the tables. */
static void
T_SG_31_fields_are_shown_under_the_labels_of_the_specification(void **state)
{
    static const struct {
        enum dime_kind kind;
        uint8_t type;
        const char *label;
    } t[] = {
        {DIME_ORG, 1, "Primary-Organizational-Key"},
        {DIME_ORG, 2, "Secondary-Organizational-Key"},
        {DIME_ORG, 3, "Encryption-Key"},
        {DIME_USER, 1, "Signing-Key"},
        {DIME_USER, 2, "Encryption-Key"},
        {DIME_USER, 3, "Alternate-Encryption-Key"},
        {DIME_USER, 4, "Custody"},
        {DIME_USER, 5, "User-Signature"},
        {DIME_USER, 6, "Organizational-Signature"},
        {DIME_ORG, 16, "Name"},
        {DIME_ORG, 17, "Address"},
        {DIME_ORG, 18, "Province"},
        {DIME_ORG, 19, "Country"},
        {DIME_ORG, 20, "Postal-Code"},
        {DIME_ORG, 21, "Phone"},
        {DIME_ORG, 22, "Language"},
        {DIME_ORG, 23, "Currency"},
        {DIME_ORG, 24, "Cryptocurrency"},
        {DIME_ORG, 25, "Motto"},
        {DIME_ORG, 27, "Message-Size-Limit"},
        {DIME_USER, 93, "Supported-Codecs"},
        {DIME_ORG, 160, "Website"},
        {DIME_ORG, 200, "Contact-Abuse"},
        {DIME_ORG, 201, "Contact-Admin"},
        {DIME_ORG, 202, "Contact-Support"},
        {DIME_ORG, 203, "Web-Access-Host"},
        {DIME_ORG, 204, "Web-Access-Location"},
        {DIME_ORG, 205, "Web-Access-Certificate"},
        {DIME_ORG, 206, "Mail-Access-Host"},
        {DIME_ORG, 207, "Mail-Access-Certificate"},
        {DIME_ORG, 208, "Onion-Access-Host"},
        {DIME_ORG, 209, "Onion-Access-Certificate"},
        {DIME_ORG, 210, "Onion-Delivery-Host"},
        {DIME_ORG, 211, "Onion-Delivery-Certificate"},
        {DIME_USER, 200, "Alternate-Address"},
        {DIME_USER, 202, "Endorsements"},
        {DIME_USER, 253, "Organizational-Signature"},
        {DIME_USER, 254, "Signet-Identifier"},
        {DIME_USER, 255, "Organizational-Signature"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_slice(show(t[i].kind, t[i].type, str("x")).label, t[i].label);
}

/* T-SG-31 */
static void
T_SG_31_real_signets_show_every_field(void **state)
{
    static const struct line orga[] = {
        {1, "Primary-Organizational-Key", NULL},
        {3, "Encryption-Key", NULL},
        {4, "Organizational-Signature", NULL},
        {16, "Name", "Example Organisation A"},
        {17, "Address", "1 Alpha Street"},
        {18, "Province", "North Province"},
        {19, "Country", "Utopia"},
        {20, "Postal-Code", "AA1 1AA"},
        {21, "OFFICE", "4105550100"},
        {21, "Phone", "4105550101"},
        {22, "Language", "en-US;fr;"},
        {27, "Message-Size-Limit", "33554432"},
        {160, "Website", "https://orga.example/"},
        {200, "Contact-Abuse", "abuse@orga.example"},
        {201, "Contact-Admin", "admin@orga.example"},
        {253, "Organizational-Signature", NULL},
        {254, "Signet-Identifier", "orga.example"},
        {255, "Organizational-Signature", NULL},
    };
    static const struct line alice[] = {
        {1, "Signing-Key", NULL},
        {2, "Encryption-Key", NULL},
        {5, "User-Signature", NULL},
        {6, "Organizational-Signature", NULL},
        {16, "Name", "Alice Example"},
        {21, "MOBILE", "4105550102"},
        {93, "Supported-Codecs", "OPUS;VP9"},
        {94, "Title", "Engineer"},
        {160, "Website", "https://orga.example/~alice"},
        {200, "Alternate-Address", "alice@alt.example;"},
        {251, "Nickname", "Al"},
        {253, "Organizational-Signature", NULL},
        {254, "Signet-Identifier", "alice@orga.example"},
        {255, "Organizational-Signature", NULL},
    };

    (void)state;
    assert_lines("libdime/signets/orga.signet.bin", DIME_ORG, orga,
                 sizeof orga / sizeof orga[0]);
    assert_lines("libdime/signets/alice.signet.bin", DIME_USER, alice,
                 sizeof alice / sizeof alice[0]);
}

/* T-SG-31: permissions stand apart from the key, and void keys say so. */
static void
T_SG_31_secondary_keys_show_their_flags_apart(void **state)
{
    static const uint8_t perms[] = {1, 2, 15, 17};
    struct kd_slice file = sg_file("libdime/signets/orgb.signet.bin");
    struct dime_signet s;
    struct dime_walk w;
    struct dime_field f;
    struct dime_shown shown;
    enum dime_reason why;
    size_t n = 0;

    (void)state;
    assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
    dime_walk_signet(&w, &s);
    while (dime_walk_next(&w, &f)) {
        if (f.type != DIME_ORG_SOK)
            continue;
        dime_show(&f, &shown);
        assert_true(n < sizeof perms);
        assert_int_equal(f.flags, perms[n]);
        assert_int_equal(shown.value.n, 32);
        assert_false(shown.is_text);
        assert_true((shown.why != NULL) == (perms[n] == 17)); /* D-034 */
        n++;
    }
    assert_int_equal(n, sizeof perms);
    sg_free(file);
}

/* T-SG-77 */
static void
T_SG_77_a_phone_that_is_not_digits_is_ignored(void **state)
{
    (void)state;
    assert_ignored(DIME_USER, 21, "+1410;X");
    assert_ignored(DIME_USER, 21, "410-854");
    assert_ignored(DIME_USER, 21, ";X");
    assert_ignored(DIME_USER, 21, "410 854;X");
    assert_ignored(DIME_USER, 21, "");
}

/* T-SG-78 */
static void
T_SG_78_a_bad_phone_label_becomes_phone(void **state)
{
    (void)state;
    assert_shown(DIME_USER, 21, "410;ABCDEFGHIJKLMNOPQ", "Phone", "410");
    assert_shown(DIME_USER, 21, "410;MY PHONE", "Phone", "410");
    assert_shown(DIME_USER, 21, "410;MY\xe2\x80\x83PHONE", "Phone", "410");
    assert_shown(DIME_USER, 21, "410;A\xff", "Phone", "410");
    assert_shown(DIME_USER, 21, "410;ABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP", "410");
    /* 16 characters, 32 octets */
    assert_shown(DIME_USER, 21,
                 "410;\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                 "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4",
                 "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                 "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4",
                 "410");
}

/* T-SG-79 */
static void
T_SG_79_limits_below_a_megabyte_are_ignored(void **state)
{
    (void)state;
    assert_ignored(DIME_ORG, 27, "999999");
    assert_ignored(DIME_ORG, 27, "12MB");
    assert_ignored(DIME_ORG, 27, "");
    assert_shown(DIME_ORG, 27, "1000000", "Message-Size-Limit", "1000000");
}

/* T-SG-80 */
static void
T_SG_80_a_website_that_is_no_http_url_is_ignored(void **state)
{
    (void)state;
    assert_ignored(DIME_ORG, 160, "ftp://x");
    assert_ignored(DIME_ORG, 160, "javascript:1");
    assert_ignored(DIME_ORG, 160, "example.com");
    assert_shown(DIME_ORG, 160, "https://example.com/", "Website",
                 "https://example.com/");
    assert_shown(DIME_ORG, 160, "http://example.com", "Website", "http://example.com");
}

static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1};

/* T-SG-81 */
static void
T_SG_81_an_image_that_is_no_png_falls_back(void **state)
{
    struct kd_slice none = {NULL, 0}, jfif = kd_slice(jpeg, sizeof jpeg);
    struct kd_slice file = sg_file("libdime/signets/orgb.signet.bin");
    struct dime_signet s;
    struct dime_field f;
    enum dime_reason why;

    (void)state;
    assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
    assert_int_equal(dime_signet_find(&s, DIME_ORG_IMAGE, &f), KD_OK);
    struct kd_slice png = f.value, cut = kd_slice(png.p, png.n - 1);
    assert_null(show(DIME_USER, 252, png).why);
    assert_non_null(show(DIME_USER, 252, jfif).why);
    assert_non_null(show(DIME_USER, 252, cut).why);
    assert_int_equal(dime_image_choose(png, none), DIME_IMAGE_USER);
    assert_int_equal(dime_image_choose(jfif, png), DIME_IMAGE_ORG);
    assert_int_equal(dime_image_choose(cut, png), DIME_IMAGE_ORG);
    assert_int_equal(dime_image_choose(cut, jfif), DIME_IMAGE_SILHOUETTE);
    assert_int_equal(dime_image_choose(none, none), DIME_IMAGE_SILHOUETTE);
    sg_free(file);
}

/* T-SG-82 */
static void
T_SG_82_a_program_bit_without_top_secret_is_ignored(void **state)
{
    static const struct {
        uint8_t octet, level, programs;
        const char *text;
    } t[] = {
        {0x00, 0, 0, "Unprotected"},
        {0x01, 1, 0, "S"},
        {0x21, 1, 0, "S"},
        {0xe2, 2, 0, "SEC"},
        {0x20, 0, 0, "Unprotected"},
        {0x24, 4, 0x20, "TS"},
        {0x64, 4, 0, "TS"}, /* several programs need SA (SG-121) */
        {0x68, 8, 0x60, "TS//SA"},
        {0x1f, 16, 0, "TS//SA//ECI"},
        {0xf0, 16, 0xe0, "TS//SA//ECI"},
        {0x03, 2, 0, "SEC"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        uint8_t octets[2 + 66] = {t[i].octet, DIME_SCHEME_E521};
        struct dime_alt_key key;
        assert_true(dime_alt_key(kd_slice(octets, sizeof octets), &key));
        assert_int_equal(key.level, t[i].level);
        assert_int_equal(key.programs, t[i].programs);
        assert_string_equal(dime_level_text(key.level), t[i].text);
        assert_true(key.is_known);
        octets[1] = 0; /* no scheme (D-058) */
        assert_true(dime_alt_key(kd_slice(octets, sizeof octets), &key));
        assert_false(key.is_known);
    }
}

/* Field 3 with this level, scheme 1 and a key of 66 octets. */
static struct kd_slice
alternate_field(uint8_t out[2 + 68], uint8_t level)
{
    memset(out, 0x11, 2 + 68);
    out[0] = 3;
    out[1] = 68;
    out[2] = level;
    out[3] = DIME_SCHEME_E521;
    return kd_slice(out, 2 + 68);
}

/* T-SG-83 */
static void
T_SG_83_levels_change_what_is_shown_and_never_what_is_accepted(void **state)
{
    const struct sg_pair *signers[] = {&sg_world()->pok, &sg_world()->sok};
    const struct sg_sok sok = {DIME_PERM_USERS, &sg_world()->sok};
    struct kd_buf org, user;

    (void)state;
    struct kd_slice by = sg_make_org(&org, &(struct sg_org){.soks = &sok, .n_soks = 1});
    for (unsigned level = 0; level < 256; level++) {
        uint8_t field[2 + 68];
        const struct sg_pair *signer = signers[level % 2];
        struct sg_user recipe = {.before_5 = alternate_field(field, (uint8_t)level),
                                 .org_by = signer,
                                 .full_by = signer,
                                 .id_by = signer};
        struct kd_slice signet = sg_make_user(&user, &recipe);
        assert_int_equal(sg_user_why(signet, by, kd_slice(NULL, 0)), DIME_FINE);
        kd_buf_free(&user);
        struct dime_shown shown = show(DIME_USER, 3, kd_slice(field + 2, 68));
        assert_null(shown.why);
        assert_slice(shown.label, "Alternate-Encryption-Key");
    }
    kd_buf_free(&org);
}

/* An endorsement of 64 octets, an address and a fingerprint. */
static struct kd_slice
endorsement(struct kd_buf *b, const uint8_t fingerprint[64])
{
    static const uint8_t signature[64] = {1, 2, 3};

    kd_buf_reset(b);
    kd_buf_put(b, kd_slice(signature, sizeof signature));
    kd_buf_put(b, str("bob@example.org;"));
    kd_buf_put(b, kd_slice(fingerprint, 64));
    return kd_buf_slice(b);
}

/* T-SG-87 */
static void
T_SG_87_an_endorsement_from_outside_the_signers_chain_is_ignored(void **state)
{
    uint8_t chain[2][64], other[64];
    struct dime_endorsement e;
    struct kd_buf b;

    (void)state;
    memset(chain[0], 0xa0, 64);
    memset(chain[1], 0xa1, 64);
    memset(other, 0xb0, 64);
    kd_buf_init(&b, 4096);
    assert_true(dime_endorsement(endorsement(&b, chain[1]), &e));
    assert_true(dime_endorsement_in_chain(&e, chain, 2));
    assert_false(dime_endorsement_in_chain(&e, chain, 1));
    assert_false(dime_endorsement_in_chain(&e, chain, 0));
    assert_true(dime_endorsement(endorsement(&b, other), &e));
    assert_false(dime_endorsement_in_chain(&e, chain, 2));
    e.fingerprint =
        str("oKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
            "CgoKCgoKCgoKCgoA");
    assert_true(dime_endorsement_in_chain(&e, chain, 1));
    kd_buf_free(&b);
}

/* T-SG-87: with any endorsement, even one that parses as nothing, the verdict on the
 * signet is the same (D-065). */
static void
T_SG_87_endorsements_are_no_input_to_acceptance(void **state)
{
    static const char *const extras[] = {"", "ca 0000", "ca 0003 616263",
                                         "ca 0001 00 ca 0002 0000"};
    struct kd_buf org, user, extra;

    (void)state;
    kd_buf_init(&extra, 4096);
    const struct sg_sok sok = {DIME_PERM_USERS, &sg_world()->sok};
    struct kd_slice by = sg_make_org(&org, &(struct sg_org){.soks = &sok, .n_soks = 1});
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        kd_buf_reset(&extra);
        sg_put(&extra, extras[i]);
        struct sg_user recipe = {.extra = kd_buf_slice(&extra)};
        struct kd_slice signet = sg_make_user(&user, &recipe);
        assert_int_equal(sg_user_why(signet, by, kd_slice(NULL, 0)), DIME_FINE);
        kd_buf_free(&user);
    }
    kd_buf_free(&extra);
    kd_buf_free(&org);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_19_a_phone_has_a_number_and_a_label),
        cmocka_unit_test(T_SG_20_a_phone_without_label_is_labelled_phone),
        cmocka_unit_test(T_SG_21_the_first_language_that_is_supported_is_chosen),
        cmocka_unit_test(T_SG_22_then_the_language_without_its_subtag),
        cmocka_unit_test(T_SG_23_then_en_us),
        cmocka_unit_test(T_SG_24_cryptocurrencies_are_symbol_and_address),
        cmocka_unit_test(T_SG_25_the_smaller_limit_applies),
        cmocka_unit_test(T_SG_28_codecs_compare_without_case_and_repeats_are_ignored),
        cmocka_unit_test(T_SG_29_a_title_may_bring_its_label),
        cmocka_unit_test(
            T_SG_31_fields_are_shown_under_the_labels_of_the_specification),
        cmocka_unit_test(T_SG_31_real_signets_show_every_field),
        cmocka_unit_test(T_SG_31_secondary_keys_show_their_flags_apart),
        cmocka_unit_test(T_SG_77_a_phone_that_is_not_digits_is_ignored),
        cmocka_unit_test(T_SG_78_a_bad_phone_label_becomes_phone),
        cmocka_unit_test(T_SG_79_limits_below_a_megabyte_are_ignored),
        cmocka_unit_test(T_SG_80_a_website_that_is_no_http_url_is_ignored),
        cmocka_unit_test(T_SG_81_an_image_that_is_no_png_falls_back),
        cmocka_unit_test(T_SG_82_a_program_bit_without_top_secret_is_ignored),
        cmocka_unit_test(
            T_SG_83_levels_change_what_is_shown_and_never_what_is_accepted),
        cmocka_unit_test(
            T_SG_87_an_endorsement_from_outside_the_signers_chain_is_ignored),
        cmocka_unit_test(T_SG_87_endorsements_are_no_input_to_acceptance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
