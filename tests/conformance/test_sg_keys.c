/* T-SG-50 to T-SG-76, T-SG-86, T-SG-88 and T-SG-89: keys, signatures, custody,
 * identifiers, undefined fields, requests. */
#include "sg.h"
#include "test.h"

#include <dime/build.h>
#include <dime/info.h>

#include <stdio.h>
#include <stdlib.h>

#define SLICE(literal) kd_slice("" literal, sizeof literal - 1)
#define NONE kd_slice(NULL, 0)

static void
assert_why(enum dime_reason got, enum dime_reason want)
{
    assert_string_equal(dime_reason_name(got), dime_reason_name(want));
}

static void
assert_org(const struct sg_org *recipe, enum dime_reason want)
{
    struct kd_buf b;

    assert_why(sg_org_why(sg_make_org(&b, recipe), NULL), want);
    kd_buf_free(&b);
}

/* The user signet under example.com with these SOKs. */
static void
assert_user_under(const struct sg_user *recipe, const struct sg_sok *soks,
                  size_t n_soks, enum dime_reason want)
{
    struct kd_buf o, u;
    struct kd_slice org =
        sg_make_org(&o, &(struct sg_org){.soks = soks, .n_soks = n_soks});

    assert_why(sg_user_why(sg_make_user(&u, recipe), org, NONE), want);
    kd_buf_free(&o);
    kd_buf_free(&u);
}

static void
assert_user(const struct sg_user *recipe, enum dime_reason want)
{
    assert_user_under(recipe, &(struct sg_sok){3, &sg_world()->sok}, 1, want);
}

static void
T_SG_50_T_SG_51_org_signet_without_a_key_is_refused(void **state)
{
    const struct sg_world *w = sg_world();

    (void)state;
    for (int missing = 1; missing <= 3; missing += 2) {
        struct kd_buf b;
        sg_begin(&b, DIME_MAGIC_ORG);
        if (missing != 1)
            sg_sign_key(&b, DIME_LAYOUT_L, w->pok.key);
        if (missing != 3)
            sg_enc_key(&b, 3, DIME_LAYOUT_L, w->org_enc);
        sg_sign(&b, 4, &w->pok);
        sg_sign(&b, 253, &w->pok);
        sg_identifier(&b, "example.com", 1);
        sg_sign(&b, 255, &w->pok);
        assert_why(sg_parse_why(sg_end(&b)), DIME_MISSING_FIELD);
        kd_buf_free(&b);
    }
}

static void
T_SG_52_user_signet_without_an_encryption_key_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_buf b;

    (void)state;
    sg_begin(&b, DIME_MAGIC_USER);
    sg_sign_key(&b, DIME_LAYOUT_L, w->alice.key);
    sg_sign(&b, 5, &w->alice);
    sg_sign(&b, 6, &w->sok);
    assert_why(sg_parse_why(sg_end(&b)), DIME_MISSING_FIELD);
    kd_buf_free(&b);
}

static void
keys_of_no_octets_are_missing_keys(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_buf b;

    (void)state;
    /* which reason is given depends on the layout it looks like */
    sg_begin(&b, DIME_MAGIC_SSR);
    sg_put(&b, "01 00");
    sg_enc_key(&b, 2, DIME_LAYOUT_L, w->alice_enc);
    sg_sign(&b, 5, &w->alice);
    assert_int_not_equal(sg_parse_why(sg_end(&b)), DIME_FINE);
    kd_buf_free(&b);
    sg_begin(&b, DIME_MAGIC_SSR);
    sg_sign_key(&b, DIME_LAYOUT_L, w->alice.key);
    sg_put(&b, "02 0000");
    sg_sign(&b, 5, &w->alice);
    assert_why(sg_parse_why(sg_end(&b)), DIME_MISSING_FIELD);
    kd_buf_free(&b);
}

static void
T_SG_53_bad_signing_keys_are_refused(void **state)
{
    static const char *const bad[] = {
        /* the identity, its non-canonical form, y = 0, an order 8 point */
        "0100000000000000000000000000000000000000000000000000000000000000",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        /* y above the field prime; no point has y = 2 */
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0200000000000000000000000000000000000000000000000000000000000000",
    };
    const struct sg_world *w = sg_world();

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sg_pair pair = w->alice;
        struct kd_buf key, b;
        kd_buf_init(&key, 64);
        sg_put(&key, bad[i]);
        memcpy(pair.key, key.p, 32);
        for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
            struct kd_slice ssr =
                sg_make_user(&b, &(struct sg_user){.layout = (enum dime_layout)layout,
                                                   .request = true,
                                                   .pair = &pair});
            assert_why(sg_parse_why(ssr), DIME_BAD_POINT);
            kd_buf_free(&b);
        }
        kd_buf_free(&key);
    }
}

static void
T_SG_54_bad_encryption_keys_are_refused(void **state)
{
    static const uint8_t prefixes[] = {4, 5, 6, 7, 0, 1};
    const struct sg_world *w = sg_world();
    uint8_t key[33];
    struct kd_buf b;

    (void)state;
    for (size_t i = 0; i < sizeof prefixes; i++) {
        memcpy(key, w->alice_enc, sizeof key);
        key[0] = prefixes[i];
        assert_why(sg_parse_why(sg_make_user(
                       &b, &(struct sg_user){.enc = key, .request = true})),
                   DIME_BAD_ENC_POINT);
        kd_buf_free(&b);
    }
    memset(key, 0, sizeof key); /* no point has x = 5 */
    key[0] = 2;
    key[32] = 5;
    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        assert_why(sg_parse_why(sg_make_user(
                       &b, &(struct sg_user){.layout = (enum dime_layout)layout,
                                             .enc = key,
                                             .request = true})),
                   DIME_BAD_ENC_POINT);
        kd_buf_free(&b);
    }
    /* 65 octets, uncompressed */
    sg_begin(&b, DIME_MAGIC_SSR);
    sg_sign_key(&b, DIME_LAYOUT_L, w->alice.key);
    sg_put(&b, "02 0041 04");
    kd_buf_put(&b, kd_slice(w->alice_enc + 1, 32));
    kd_buf_put(&b, kd_slice(w->bob_enc + 1, 32));
    sg_sign(&b, 5, &w->alice);
    assert_why(sg_parse_why(sg_end(&b)), DIME_KEY_ENCODING);
    kd_buf_free(&b);
}

static void
T_SG_55_other_format_octets_are_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok sok = {3, &w->sok};

    (void)state;
    for (int layout = DIME_LAYOUT_L; layout <= DIME_LAYOUT_M; layout++) {
        struct kd_buf b;
        sg_begin(&b, DIME_MAGIC_SSR);
        sg_put(&b, "01 21 41");
        kd_buf_put(&b, kd_slice(w->alice.key, 32));
        sg_enc_key(&b, 2, (enum dime_layout)layout, w->alice_enc);
        sg_sign(&b, 5, &w->alice);
        assert_why(sg_parse_why(sg_end(&b)), DIME_KEY_ENCODING);
        kd_buf_free(&b);
    }
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){.soks = &sok, .n_soks = 1});
    size_t format = 5 + 35 + 3;
    assert_int_equal(b.p[format], 0x40);
    b.p[format] = 0x41;
    assert_why(sg_parse_why(org), DIME_KEY_ENCODING);
    kd_buf_free(&b);
}

static void
T_SG_56_org_signatures_by_a_sok_are_refused(void **state)
{
    const struct sg_pair *by = &sg_world()->sok;
    struct sg_sok sok = {7, by};

    (void)state;
    assert_org(&(struct sg_org){.soks = &sok, .n_soks = 1}, DIME_FINE);
    assert_org(&(struct sg_org){.soks = &sok, .n_soks = 1, .full_by = by},
               DIME_BAD_FULL_SIGNATURE);
    assert_org(&(struct sg_org){.soks = &sok, .n_soks = 1, .id_by = by},
               DIME_BAD_IDENTIFIED_SIGNATURE);
    assert_org(&(struct sg_org){.soks = &sok, .n_soks = 1, .self_by = by},
               DIME_BAD_SELF_SIGNATURE);
}

static void
T_SG_58_identifier_changed_after_signing_is_refused(void **state)
{
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});
    size_t last_of_identifier = org.n - 65 - 1;

    (void)state;
    assert_int_equal(b.p[last_of_identifier], 'm');
    b.p[last_of_identifier] = 'n';
    assert_why(sg_org_why(org, NULL), DIME_BAD_IDENTIFIED_SIGNATURE);
    kd_buf_free(&b);
}

static void
T_SG_59_signature_that_covers_the_header_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair pok = w->pok;
    uint8_t sig[64];
    struct kd_buf b;

    (void)state;
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_CORE}).n);
    kd_ignore(sg_end(&b).n);
    assert_int_equal(sg_signer(&pok, kd_slice(b.p, b.n), sig), KD_OK);
    kd_buf_u8(&b, 253);
    kd_buf_put(&b, kd_slice(sig, sizeof sig));
    assert_why(sg_org_why(sg_end(&b), NULL), DIME_BAD_FULL_SIGNATURE);
    kd_buf_free(&b);
}

static void
T_SG_60_invalid_field_4_is_refused(void **state)
{
    (void)state;
    assert_org(&(struct sg_org){.self_by = &sg_world()->bob}, DIME_BAD_SELF_SIGNATURE);
    assert_org(&(struct sg_org){.self_by = &sg_world()->bob, .until = DIME_PART_CORE},
               DIME_BAD_SELF_SIGNATURE);
}

static void
T_SG_61_pok_that_is_not_in_the_record_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});

    (void)state;
    assert_why(sg_org_why(org, w->other_pok.key), DIME_NOT_ANCHORED);
    assert_why(sg_org_why(org, w->pok.key), DIME_FINE);
    kd_buf_free(&b);
}

static void
T_SG_62_valid_253_with_invalid_255_is_refused(void **state)
{
    const struct sg_pair *other = &sg_world()->bob;

    (void)state;
    assert_org(&(struct sg_org){.id_by = other}, DIME_BAD_IDENTIFIED_SIGNATURE);
    assert_user(&(struct sg_user){.id_by = other}, DIME_BAD_IDENTIFIED_SIGNATURE);
    assert_user(&(struct sg_user){.full_by = other}, DIME_BAD_FULL_SIGNATURE);
}

static void
T_SG_63_user_signature_by_another_key_is_refused(void **state)
{
    (void)state;
    assert_user(&(struct sg_user){.user_by = &sg_world()->bob},
                DIME_BAD_USER_SIGNATURE);
    /* not even the organization's own key */
    assert_user(&(struct sg_user){.user_by = &sg_world()->pok},
                DIME_BAD_USER_SIGNATURE);
}

static void
T_SG_64_T_SG_65_T_SG_66_sok_without_the_permission_is_refused(void **state)
{
    static const uint8_t bad[] = {2,  4,  6,             /* T-SG-64: not for users */
                                  17, 33, 65, 129, 0xf1, /* T-SG-65: reserved bits */
                                  8,  0}; /* T-SG-66: none of the first three */
    static const uint8_t good[] = {1, 3, 5, 9, 15};
    const struct sg_world *w = sg_world();

    (void)state;
    for (size_t i = 0; i < sizeof bad; i++)
        assert_user_under(&(struct sg_user){0}, &(struct sg_sok){bad[i], &w->sok}, 1,
                          DIME_BAD_ORG_SIGNATURE);
    for (size_t i = 0; i < sizeof good; i++)
        assert_user_under(&(struct sg_user){0}, &(struct sg_sok){good[i], &w->sok}, 1,
                          DIME_FINE);
    assert_user_under(&(struct sg_user){.org_by = &w->pok}, NULL, 0, DIME_FINE);
    /* 253 and 255 follow the same rule */
    struct sg_sok two[] = {{2, &w->sok}, {1, &w->bob}};
    assert_user_under(&(struct sg_user){.org_by = &w->bob, .full_by = &w->sok}, two, 2,
                      DIME_BAD_FULL_SIGNATURE);
    assert_user_under(&(struct sg_user){.org_by = &w->bob, .id_by = &w->sok}, two, 2,
                      DIME_BAD_IDENTIFIED_SIGNATURE);
    assert_user_under(&(struct sg_user){.org_by = &w->bob, .full_by = &w->pok}, two, 2,
                      DIME_FINE);
}

static void
repeated_soks_authorise_nothing_more(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok again[] = {{2, &w->sok}, {1, &w->sok}};
    struct sg_sok void_first[] = {{16, &w->sok}, {1, &w->sok}};
    struct sg_sok pok_as_sok[] = {{2, &w->pok}};
    struct kd_buf b;
    struct dime_signet s;
    enum dime_reason why;

    (void)state;
    assert_user_under(&(struct sg_user){0}, again, 2, DIME_BAD_ORG_SIGNATURE);
    assert_user_under(&(struct sg_user){0}, void_first, 2, DIME_BAD_ORG_SIGNATURE);
    struct kd_slice org =
        sg_make_org(&b, &(struct sg_org){.soks = pok_as_sok, .n_soks = 1});
    assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
    assert_false(s.soks[0].authorised);
    assert_true(dime_org_permits(&s, w->pok.key, DIME_PERM_USERS));
    kd_buf_free(&b);
}

static void
T_SG_67_altered_custody_is_refused_by_who_holds_the_predecessor(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok sok = {3, &w->sok};
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_buf o, u, r;
    struct kd_slice org = sg_make_org(&o, &(struct sg_org){.soks = &sok, .n_soks = 1});
    struct kd_slice user = sg_make_user(&u, &(struct sg_user){.custody_by = &w->bob});
    struct kd_slice ssr =
        sg_make_user(&r, &(struct sg_user){.custody_by = &w->bob, .request = true});

    (void)state;
    assert_why(sg_user_why(user, org, user0), DIME_BAD_CUSTODY);
    assert_why(sg_user_why(user, org, NONE), DIME_FINE); /* who holds nothing can't */
    assert_why(sg_ssr_why(ssr, user0), DIME_BAD_CUSTODY);
    kd_buf_free(&u);
    user = sg_make_user(&u, &(struct sg_user){.custody_by = &w->alice0});
    assert_why(sg_user_why(user, org, user0), DIME_FINE);
    kd_buf_free(&o);
    kd_buf_free(&u);
    kd_buf_free(&r);
    sg_free(user0);
}

static void
T_SG_68_new_key_without_custody_is_a_security_error(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok sok = {3, &w->sok};
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_buf o, u;
    struct kd_slice org = sg_make_org(&o, &(struct sg_org){.soks = &sok, .n_soks = 1});
    struct kd_slice user = sg_make_user(&u, &(struct sg_user){0});

    (void)state;
    assert_why(sg_user_why(user, org, user0), DIME_CHAIN_BROKEN);
    assert_non_null(strstr(dime_reason_text(DIME_CHAIN_BROKEN), "security error"));
    kd_buf_free(&o);
    kd_buf_free(&u);
    sg_free(user0);
}

/* D-073: signed again by another key of the organization it is the same link. */
static void
same_link_signed_anew_needs_no_custody(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok sok = {3, &w->sok};
    struct kd_buf o, u, p;
    struct dime_signet org, user, prev;
    struct dime_verdict v;
    enum dime_reason why;

    (void)state;
    assert_int_equal(
        dime_signet_parse(sg_make_org(&o, &(struct sg_org){.soks = &sok, .n_soks = 1}),
                          &org, &why),
        KD_OK);
    assert_int_equal(
        dime_signet_parse(sg_make_user(&u, &(struct sg_user){.custody_by = &w->alice0}),
                          &user, &why),
        KD_OK);
    assert_int_equal(
        dime_signet_parse(sg_make_user(&p, &(struct sg_user){.custody_by = &w->alice0,
                                                             .org_by = &w->pok}),
                          &prev, &why),
        KD_OK);
    assert_true(dime_signet_same_link(&user, &prev));
    assert_int_equal(dime_user_verify(&user, &org, &prev, &v), KD_OK);
    assert_true(v.same_link && !v.chained);
    kd_buf_free(&o);
    kd_buf_free(&u);
    kd_buf_free(&p);
}

static void
T_SG_69_custody_that_leaves_out_field_3_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair alice0 = w->alice0;
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_buf b;
    uint8_t sig[64];

    (void)state;
    for (int right = 0; right < 2; right++) {
        sg_begin(&b, DIME_MAGIC_SSR);
        sg_sign_key(&b, DIME_LAYOUT_L, w->alice.key);
        sg_enc_key(&b, 2, DIME_LAYOUT_L, w->alice_enc);
        size_t fields_1_2 = b.n;
        sg_put(&b, "03 04 04010203");
        size_t covered = right ? b.n : fields_1_2;
        assert_int_equal(sg_signer(&alice0, kd_slice(b.p + 5, covered - 5), sig),
                         KD_OK);
        kd_buf_u8(&b, 4);
        kd_buf_put(&b, kd_slice(sig, sizeof sig));
        sg_sign(&b, 5, &w->alice);
        assert_why(sg_ssr_why(sg_end(&b), user0), right ? DIME_FINE : DIME_BAD_CUSTODY);
        kd_buf_free(&b);
    }
    sg_free(user0);
}

static void
T_SG_70_identifiers_that_are_not_in_the_one_form_are_refused(void **state)
{
    static const char *const users[] = {"Alice@Example.com",     "alice@Example.com",
                                        "Alice@example.com",     "alice",
                                        "alice@example.com.",    "@example.com",
                                        "al ice@example.com",    "alice@@example.com",
                                        "al\xc3\xa9@example.com"};
    static const char *const orgs[] = {
        "Example.com",       "example.com.", ".example.com", "example..com",
        "alice@example.com", "exa mple.com", "127.0.0.1",    "b\xc3\xa9.com"};

    (void)state;
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++)
        assert_user(&(struct sg_user){.identifier = users[i]}, DIME_IDENTIFIER_FORM);
    for (size_t i = 0; i < sizeof orgs / sizeof orgs[0]; i++)
        assert_org(&(struct sg_org){.identifier = orgs[i]}, DIME_IDENTIFIER_FORM);
}

static void
identifier_of_another_domain_does_not_hold(void **state)
{
    static const char *const others[] = {"alice@example.org", "alice@x.example.com",
                                         "alice@com", "alice@xample.com"};
    struct kd_buf o, u;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_user(&(struct sg_user){.identifier = others[i]}, DIME_OTHER_DOMAIN);
    /* nor can it be compared with a split */
    struct kd_slice org = sg_make_org(&o, &(struct sg_org){.until = DIME_PART_FULL});
    struct kd_slice user =
        sg_make_user(&u, &(struct sg_user){.org_by = &sg_world()->pok});
    assert_why(sg_user_why(user, org, NONE), DIME_ORG_UNBOUND);
    kd_buf_free(&o);
    kd_buf_free(&u);
}

static void
T_SG_73_more_than_64_soks_are_unsupported(void **state)
{
    struct sg_pair pairs[65];
    struct sg_sok soks[65];
    struct kd_buf b;

    (void)state;
    for (int i = 0; i < 65; i++) {
        char text[16];
        snprintf(text, sizeof text, "sok %d", i);
        pairs[i] = sg_pair_text(text);
        soks[i] = (struct sg_sok){1, &pairs[i]};
    }
    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        struct sg_org r = {.layout = (enum dime_layout)layout, .soks = soks};
        r.n_soks = 64;
        assert_why(sg_org_why(sg_make_org(&b, &r), NULL), DIME_FINE);
        kd_buf_free(&b);
        r.n_soks = 65;
        assert_why(sg_org_why(sg_make_org(&b, &r), NULL), DIME_TOO_MANY_SOKS);
        kd_buf_free(&b);
    }
    assert_int_equal(dime_reason_err(DIME_TOO_MANY_SOKS), KD_UNSUPPORTED);
    /* the 64th may sign */
    assert_user_under(&(struct sg_user){.org_by = &pairs[63]}, soks, 64, DIME_FINE);
}

static void
T_SG_74_field_32_is_an_unknown_field_never_an_undefined_one(void **state)
{
    static const char fits[] = "\x20\x06"
                               "Abc\x00\x01v";
    struct kd_buf b;
    struct dime_signet s;
    struct dime_field f;
    enum dime_reason why;
    struct kd_slice org =
        sg_make_org(&b, &(struct sg_org){.extra = kd_slice(fits, sizeof fits - 1)});

    (void)state;
    assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("Abc"), &f), KD_NOT_FOUND);
    assert_why(sg_org_why(org, NULL), DIME_FINE);
    kd_buf_free(&b);
    /* laid out as an undefined field: name "Abc" is its value, then comes type 0 */
    org = sg_make_org(&b, &(struct sg_org){.extra = SLICE("\x20\x03"
                                                          "Abc\x00\x01v")});
    assert_why(sg_parse_why(org), DIME_RESERVED_FIELD);
    kd_buf_free(&b);
}

static const struct {
    const char *name;
    size_t n;
} unusable[] = {{"", 0},         {"a b", 3},          {"a\tb", 3},
                {"a\nb", 3},     {"\x1f", 1},         {"a\xff", 2},
                {"a\xc3", 2},    {"\xc0\x80", 2},     {"\xed\xa0\x80", 3},
                {"\xc2\xa0", 2}, {"\xe3\x80\x80", 3}, {"\xe2\x80\xa8", 3},
                {"a\0b", 3}};

static void
T_SG_75_undefined_field_with_a_bad_name_leaves_the_signet_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof unusable / sizeof unusable[0]; i++) {
        struct kd_buf extra, b;
        struct dime_signet s;
        struct dime_field f;
        enum dime_reason why;
        struct kd_slice name = kd_slice(unusable[i].name, unusable[i].n);
        kd_buf_init(&extra, 4096);
        sg_undefined(&extra, name, kd_slice_str("value"));
        struct kd_slice org =
            sg_make_org(&b, &(struct sg_org){.extra = kd_buf_slice(&extra)});
        assert_why(sg_org_why(org, NULL), DIME_FINE);
        assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
        assert_int_equal(dime_signet_find_named(&s, name, &f), KD_NOT_FOUND);
        assert_false(dime_field_name_usable(name));
        kd_buf_free(&extra);
        kd_buf_free(&b);
    }
    assert_true(dime_field_name_usable(kd_slice_str("Xyz")));
    assert_true(dime_field_name_usable(kd_slice_str("\xc3\x89t\xc3\xa9")));
}

static void
T_SG_76_undefined_field_with_a_bad_name_is_not_issued(void **state)
{
    struct kd_buf in, want, out;
    enum dime_reason why;

    (void)state;
    kd_buf_init(&in, 4096);
    kd_buf_init(&want, 4096);
    kd_buf_init(&out, 4096);
    sg_len1(&in, 16, "Alice");
    sg_undefined(&in, kd_slice_str("Good"), kd_slice_str("1"));
    for (size_t i = 0; i < sizeof unusable / sizeof unusable[0]; i++)
        sg_undefined(&in, kd_slice(unusable[i].name, unusable[i].n),
                     kd_slice_str("bad"));
    sg_undefined(&in, kd_slice_str("Last"), kd_slice_str(""));
    sg_len1(&want, 16, "Alice");
    sg_undefined(&want, kd_slice_str("Good"), kd_slice_str("1"));
    sg_undefined(&want, kd_slice_str("Last"), kd_slice_str(""));
    assert_int_equal(dime_info_filter(DIME_USER, kd_buf_slice(&in), &out, &why), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), kd_buf_slice(&want)));
    kd_buf_free(&in);
    kd_buf_free(&want);
    kd_buf_free(&out);
}

static void
T_SG_86_two_alternate_keys_are_refused(void **state)
{
    (void)state;
    assert_user(&(struct sg_user){.before_5 = SLICE("\x03\x03\x04\x01\x02")},
                DIME_FINE);
    assert_user(&(struct sg_user){.before_5 = SLICE(
                                      "\x03\x03\x04\x01\x02\x03\x03\x04\x01\x02")},
                DIME_DUPLICATE);
}

static void
T_SG_88_request_with_other_fields_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_buf b;

    (void)state;
    kd_ignore(sg_make_user(&b, &(struct sg_user){.request = true}).n);
    sg_len1(&b, 16, "Alice");
    assert_why(sg_parse_why(sg_end(&b)), DIME_NOT_IN_REQUEST);
    kd_buf_free(&b);
    kd_ignore(sg_make_user(&b, &(struct sg_user){.request = true}).n);
    sg_sign(&b, 6, &w->sok);
    assert_why(sg_parse_why(sg_end(&b)), DIME_NOT_IN_REQUEST);
    kd_buf_free(&b);
    for (unsigned type = 7; type <= 255; type++) {
        kd_ignore(sg_make_user(&b, &(struct sg_user){.request = true}).n);
        sg_sign(&b, (uint8_t)type, &w->sok);
        assert_why(sg_parse_why(sg_end(&b)), DIME_NOT_IN_REQUEST);
        kd_buf_free(&b);
    }
    /* field 5 missing */
    sg_begin(&b, DIME_MAGIC_SSR);
    sg_sign_key(&b, DIME_LAYOUT_L, w->alice.key);
    sg_enc_key(&b, 2, DIME_LAYOUT_L, w->alice_enc);
    assert_why(sg_parse_why(sg_end(&b)), DIME_MISSING_FIELD);
    kd_buf_free(&b);
}

static void
T_SG_89_request_signed_by_the_old_key_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_buf b;
    struct kd_slice ssr = sg_make_user(&b, &(struct sg_user){.request = true,
                                                             .custody_by = &w->alice0,
                                                             .user_by = &w->alice0});

    (void)state;
    assert_why(sg_ssr_why(ssr, user0), DIME_BAD_USER_SIGNATURE);
    assert_why(sg_ssr_why(ssr, NONE), DIME_BAD_USER_SIGNATURE);
    kd_buf_free(&b);
    sg_free(user0);
}

static void
user_signet_without_an_organization_has_no_anchor(void **state)
{
    struct kd_buf b;
    struct dime_signet s;
    struct dime_verdict v;
    enum dime_reason why;

    (void)state;
    assert_int_equal(
        dime_signet_parse(sg_make_user(&b, &(struct sg_user){0}), &s, &why), KD_OK);
    assert_int_equal(dime_user_verify(&s, NULL, NULL, &v), KD_INVALID);
    assert_false(v.holds);
    assert_why(v.why, DIME_NO_ANCHOR);
    assert_non_null(strstr(dime_reason_text(v.why), "no anchor"));
    /* kinds are not mixed up */
    assert_int_equal(dime_org_verify(&s, NULL, 0, &v), KD_MALFORMED);
    assert_int_equal(dime_ssr_verify(&s, NULL, &v), KD_MALFORMED);
    assert_int_equal(dime_user_verify(&s, &s, NULL, &v), KD_MALFORMED);
    assert_false(dime_org_permits(&s, s.sign_key, DIME_PERM_USERS));
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_50_T_SG_51_org_signet_without_a_key_is_refused),
        cmocka_unit_test(T_SG_52_user_signet_without_an_encryption_key_is_refused),
        cmocka_unit_test(keys_of_no_octets_are_missing_keys),
        cmocka_unit_test(T_SG_53_bad_signing_keys_are_refused),
        cmocka_unit_test(T_SG_54_bad_encryption_keys_are_refused),
        cmocka_unit_test(T_SG_55_other_format_octets_are_refused),
        cmocka_unit_test(T_SG_56_org_signatures_by_a_sok_are_refused),
        cmocka_unit_test(T_SG_58_identifier_changed_after_signing_is_refused),
        cmocka_unit_test(T_SG_59_signature_that_covers_the_header_is_refused),
        cmocka_unit_test(T_SG_60_invalid_field_4_is_refused),
        cmocka_unit_test(T_SG_61_pok_that_is_not_in_the_record_is_refused),
        cmocka_unit_test(T_SG_62_valid_253_with_invalid_255_is_refused),
        cmocka_unit_test(T_SG_63_user_signature_by_another_key_is_refused),
        cmocka_unit_test(T_SG_64_T_SG_65_T_SG_66_sok_without_the_permission_is_refused),
        cmocka_unit_test(repeated_soks_authorise_nothing_more),
        cmocka_unit_test(
            T_SG_67_altered_custody_is_refused_by_who_holds_the_predecessor),
        cmocka_unit_test(T_SG_68_new_key_without_custody_is_a_security_error),
        cmocka_unit_test(same_link_signed_anew_needs_no_custody),
        cmocka_unit_test(T_SG_69_custody_that_leaves_out_field_3_is_refused),
        cmocka_unit_test(T_SG_70_identifiers_that_are_not_in_the_one_form_are_refused),
        cmocka_unit_test(identifier_of_another_domain_does_not_hold),
        cmocka_unit_test(T_SG_73_more_than_64_soks_are_unsupported),
        cmocka_unit_test(T_SG_74_field_32_is_an_unknown_field_never_an_undefined_one),
        cmocka_unit_test(
            T_SG_75_undefined_field_with_a_bad_name_leaves_the_signet_valid),
        cmocka_unit_test(T_SG_76_undefined_field_with_a_bad_name_is_not_issued),
        cmocka_unit_test(T_SG_86_two_alternate_keys_are_refused),
        cmocka_unit_test(T_SG_88_request_with_other_fields_is_refused),
        cmocka_unit_test(T_SG_89_request_signed_by_the_old_key_is_refused),
        cmocka_unit_test(user_signet_without_an_organization_has_no_anchor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
