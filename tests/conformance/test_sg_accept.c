/* T-SG-1 to T-SG-30 as far as they are the format's: what must be accepted. Display
 * rules and armour have their own tests. */
#include "sg.h"
#include "test.h"

#include <dime/build.h>
#include <dime/fingerprint.h>

#include <stdlib.h>

static struct dime_signet
parsed(struct kd_slice octets)
{
    struct dime_signet s;
    enum dime_reason why;
    kd_err err = dime_signet_parse(octets, &s, &why);

    assert_string_equal(dime_reason_name(why), "FINE");
    assert_int_equal(err, KD_OK);
    return s;
}

static void
assert_fingerprint(const struct dime_signet *s, enum dime_part part, const char *want)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1];

    assert_int_equal(dime_fingerprint(s, part, fp), KD_OK);
    dime_fingerprint_text(fp, text);
    assert_string_equal(text, want);
}

static void
T_SG_1_org1_is_identified_and_anchored(void **state)
{
    struct kd_slice org1 = sg_file("appendix/ORG1.b64");
    struct dime_signet s = parsed(org1);
    uint8_t trusted[2][32] = {{0}};
    struct dime_verdict v;

    (void)state;
    memcpy(trusted[1], sg_world()->pok.key, 32);
    assert_int_equal(dime_org_verify(&s, (const uint8_t(*)[32])trusted, 2, &v), KD_OK);
    assert_true(v.holds && v.bound && v.anchored);
    assert_int_equal(dime_org_verify(&s, NULL, 0, &v), KD_OK);
    assert_true(v.holds && v.bound && !v.anchored);
    assert_int_equal(s.kind, DIME_ORG);
    assert_int_equal(s.part, DIME_PART_IDENTIFIED);
    assert_string_equal(dime_layout_name(s.layout), "L");
    assert_true(kd_slice_eq(s.identifier, kd_slice_str("example.com")));
    assert_memory_equal(s.enc_key, sg_world()->org_enc, 33);
    sg_free(org1);
}

static void
T_SG_2_org2_has_a_sok_for_users_and_messages(void **state)
{
    struct kd_slice org2 = sg_file("appendix/ORG2.b64");
    struct dime_signet s = parsed(org2);
    const uint8_t *sok = sg_world()->sok.key;

    (void)state;
    assert_int_equal(s.n_soks, 1);
    assert_int_equal(s.soks[0].perms, 3);
    assert_true(s.soks[0].authorised);
    assert_true(dime_org_permits(&s, sok, DIME_PERM_USERS));
    assert_true(dime_org_permits(&s, sok, DIME_PERM_MESSAGES));
    assert_false(dime_org_permits(&s, sok, DIME_PERM_TLS));
    assert_true(dime_org_permits(&s, sg_world()->pok.key, DIME_PERM_TLS));
    assert_false(dime_org_permits(&s, sg_world()->alice.key, DIME_PERM_USERS));
    sg_free(org2);
}

static void
T_SG_3_user0_is_valid_without_custody(void **state)
{
    struct kd_slice org2 = sg_file("appendix/ORG2.b64");
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct dime_signet org = parsed(org2), user = parsed(user0);
    struct dime_verdict v;

    (void)state;
    assert_int_equal(dime_user_verify(&user, &org, NULL, &v), KD_OK);
    assert_true(v.holds && v.bound && !v.chained && !v.same_link);
    assert_int_equal(v.signer, 0);
    assert_null(dime_signet_signature(&user, DIME_USER_CUSTODY));
    sg_free(org2);
    sg_free(user0);
}

static void
T_SG_4_user1_is_valid_and_chained_to_user0(void **state)
{
    struct kd_slice org2 = sg_file("appendix/ORG2.b64");
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_slice user1 = sg_file("appendix/USER1.b64");
    struct dime_signet org = parsed(org2), prev = parsed(user0), user = parsed(user1);
    struct dime_verdict v;

    (void)state;
    assert_int_equal(dime_user_verify(&user, &org, &prev, &v), KD_OK);
    assert_true(v.holds && v.bound && v.chained && !v.same_link);
    /* D-071: without the predecessor it still holds */
    assert_int_equal(dime_user_verify(&user, &org, NULL, &v), KD_OK);
    assert_true(v.holds && !v.chained);
    sg_free(org2);
    sg_free(user0);
    sg_free(user1);
}

static void
T_SG_5_requests_are_valid_and_ssr1_is_chained(void **state)
{
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_slice ssr0 = sg_file("appendix/SSR0.b64");
    struct kd_slice ssr1 = sg_file("appendix/SSR1.b64");
    struct dime_signet prev = parsed(user0), first = parsed(ssr0), next = parsed(ssr1);
    struct dime_verdict v;

    (void)state;
    assert_int_equal(dime_ssr_verify(&first, NULL, &v), KD_OK);
    assert_int_equal(dime_ssr_verify(&first, &prev, &v), KD_OK);
    assert_true(v.same_link && !v.chained); /* USER0 was made from it */
    assert_int_equal(dime_ssr_verify(&next, &prev, &v), KD_OK);
    assert_true(v.chained && !v.same_link);
    sg_free(user0);
    sg_free(ssr0);
    sg_free(ssr1);
}

static void
T_SG_6_fingerprints_are_as_listed(void **state)
{
    static const struct {
        const char *file, *core, *full;
    } rows[] = {
        {"appendix/ORG1.b64",
         "bvrOQDrI9YXjHIUK1aLXeDmzcbBvkHxNSsuqpRDBfwNNARix19J7vDAOMEFxs5DLx3LehLY6BEN9/"
         "Z"
         "eLfY0Lew",
         "odtikB5R6ZGuYyiwakhH44wEqKw2rse413hEDV8+uXOV/"
         "NTLtb0frl80e0j2TyW7qIardmoBmyzz9b"
         "68yXyZ7w"},
        {"appendix/ORG2.b64",
         "Ab5NZHRcdQZlxKkLhjZONss837F7187FvEmEO5g+"
         "LFCuxqfnZQ0rSJ9pcycDa7dFsZiQqoVVyDh0xk"
         "q+uhTU8g",
         "a5telvkSzl2HSShNKl7L/"
         "844o+ZRZlfbZguWbXmBJihXHlsBiwSbqpjsjvwRte0NXD9gPbbtfL1PtU"
         "IgMV0qVg"},
        {"appendix/DEST.b64",
         "m/KsXNY3Nl169rofajdaS5YgNijfF1UeT6+2D9lfowymDDKhcgAQmUN+cnMD/"
         "qD9pdV8Bhzk9OukP5"
         "YCNEjnTg",
         "yWLf0Wu7vkidYS9f+bIkDfGFOUu0thmC9+tUnjmz6VNfPF8rrE85lzgqUpm+"
         "5d45HV8551aJssAXgG"
         "+s+5lc5g"},
        {"appendix/USER0.b64",
         "pPXr1bby1KZnhrFaUIrMPxuqU6m7jOXIIlRKNUaGnsoV0F2RNug/O+f1aEI/"
         "mnfno+AUATpjoPoaDT"
         "fNvAupMw",
         "lIxg8SuiA88OLvoPq6QgffXr21BA+UjNv+LzGE3ZS5sKWBhhYkYUtOSB2X+"
         "YLd51xyP4EK6ZDlTLyk"
         "SU/QzFBw"},
        {"appendix/USER1.b64",
         "EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZQdpf1rpLkj/QJOj/"
         "ViQ9h4U"
         "N73ipV6g",
         "9qmGpnIO5d/9xXJMNoP2wnSp72rFOCe3Exi4rGqDE9LJrBZC79VHgEi7s9ZnEpjo3aFUh7dS/"
         "SlvbH"
         "rMNiDlQg"},
        {"appendix/BOB.b64",
         "r7jvjk+xzInR66tkV5Dx39b0u1D/l3hBlX0KKs5GOf7u/0qI/"
         "pU8dIYFA8r7cqAWdVsxi7fYi2lx6L"
         "CMEqi/OA",
         "xTlsG0dHbeQt788NK/wB8fsIpyfu99knxMwnGarb7tb/"
         "zdePPSzKSt7SmSeI4lWIBGZkNRK04b9m2D"
         "43Ivq69g"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kd_slice file = sg_file(rows[i].file);
        struct dime_signet s = parsed(file);
        assert_fingerprint(&s, DIME_PART_CORE, rows[i].core);
        assert_fingerprint(&s, DIME_PART_FULL, rows[i].full);
        sg_free(file);
    }
}

/* What the split is of, and that it is unbound; checked against its organization. */
static void
assert_split(const char *file, enum dime_part part)
{
    struct kd_slice org2 = sg_file("appendix/ORG2.b64"), whole = sg_file(file);
    struct dime_signet org = parsed(org2), before = parsed(whole);
    uint8_t want[DIME_FINGERPRINT_SIZE], got[DIME_FINGERPRINT_SIZE];
    struct dime_verdict v;
    struct kd_buf out;

    kd_buf_init(&out, 4096);
    assert_int_equal(dime_split(&before, part, &out), KD_OK);
    struct dime_signet s = parsed(kd_buf_slice(&out));
    assert_int_equal(s.part, part);
    assert_int_equal(s.identifier.n, 0);
    if (s.kind == DIME_ORG)
        assert_int_equal(dime_org_verify(&s, NULL, 0, &v), KD_OK);
    else
        assert_int_equal(dime_user_verify(&s, &org, NULL, &v), KD_OK);
    assert_true(v.holds && !v.bound);
    assert_int_equal(dime_fingerprint(&before, part, want), KD_OK);
    assert_int_equal(dime_fingerprint(&s, part, got), KD_OK);
    assert_memory_equal(got, want, sizeof want);
    kd_buf_free(&out);
    sg_free(org2);
    sg_free(whole);
}

static void
T_SG_7_a_full_split_keeps_its_fingerprint_and_is_unbound(void **state)
{
    (void)state;
    assert_split("appendix/ORG1.b64", DIME_PART_FULL);
    assert_split("appendix/USER1.b64", DIME_PART_FULL);
}

static void
T_SG_8_a_core_split_keeps_its_fingerprint(void **state)
{
    (void)state;
    assert_split("appendix/USER1.b64", DIME_PART_CORE);
    assert_split("appendix/ORG1.b64", DIME_PART_CORE);
}

static void
T_SG_9_layouts_p_and_s33_are_accepted_with_the_same_keys(void **state)
{
    static const struct {
        const char *file, *layout;
    } rows[] = {{"appendix/ORG1-P.b64", "P"}, {"appendix/ORG1-S33.b64", "S"}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct kd_slice file = sg_file(rows[i].file);
        struct dime_signet s = parsed(file);
        assert_string_equal(dime_layout_name(s.layout), rows[i].layout);
        assert_memory_equal(s.sign_key, sg_world()->pok.key, 32);
        assert_memory_equal(s.enc_key, sg_world()->org_enc, 33);
        assert_int_equal(sg_org_why(file, sg_world()->pok.key), DIME_FINE);
        sg_free(file);
    }
}

/* T-SG-10, and that objects of every layout are accepted as what they are. */
static void
T_SG_10_every_layout_is_accepted_x_only_keys_too(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok soks[] = {{3, &w->sok}, {4, &w->bob}};

    (void)state;
    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        struct kd_buf o, u, r;
        enum dime_layout l = (enum dime_layout)layout;
        struct kd_slice org =
            sg_make_org(&o, &(struct sg_org){.layout = l, .soks = soks, .n_soks = 2});
        struct kd_slice user = sg_make_user(&u, &(struct sg_user){.layout = l});
        struct kd_slice ssr =
            sg_make_user(&r, &(struct sg_user){.layout = l, .request = true});
        struct dime_signet s = parsed(org);
        assert_int_equal(s.layout, l);
        assert_int_equal(s.n_soks, 2);
        assert_memory_equal(s.soks[1].key, w->bob.key, 32);
        assert_memory_equal(s.enc_key + 1, w->org_enc + 1, 32);
        assert_int_equal(s.enc_key[0], l == DIME_LAYOUT_S32 ? 2 : w->org_enc[0]);
        assert_int_equal(sg_org_why(org, w->pok.key), DIME_FINE);
        assert_int_equal(sg_user_why(user, org, kd_slice(NULL, 0)), DIME_FINE);
        assert_int_equal(sg_ssr_why(ssr, kd_slice(NULL, 0)), DIME_FINE);
        kd_buf_free(&o);
        kd_buf_free(&u);
        kd_buf_free(&r);
    }
}

static void
T_SG_11_org_signet_without_field_4_is_accepted(void **state)
{
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){.no_self = true});

    (void)state;
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&b);
}

static void
T_SG_12_identifier_with_two_octets_of_length_is_accepted(void **state)
{
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){.id_octets = 2});
    struct dime_signet s = parsed(org);

    (void)state;
    assert_true(kd_slice_eq(s.identifier, kd_slice_str("example.com")));
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&b);
}

/* An org signet with these fields between 4 and 253. */
static struct kd_slice
org_with(struct kd_buf *b, struct kd_slice extra)
{
    return sg_make_org(b, &(struct sg_org){.extra = extra});
}

static void
T_SG_14_unknown_field_with_one_octet_of_length_is_skipped(void **state)
{
    struct kd_buf b;
    struct kd_slice org = org_with(&b, kd_slice_str("\x28\x03xyz"));
    struct dime_signet s = parsed(org);
    struct dime_field f;

    (void)state;
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    assert_int_equal(dime_signet_find(&s, 40, &f), KD_OK);
    assert_null(f.def);
    kd_buf_free(&b);
}

static void
T_SG_15_unknown_field_with_two_octets_of_length_is_skipped(void **state)
{
    static const char field[] = "\xaa\x00\x03xyz";
    struct kd_buf b;
    struct kd_slice org = org_with(&b, kd_slice(field, sizeof field - 1));

    (void)state;
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&b);
}

static void
T_SG_16_unsorted_undefined_fields_are_found_by_name(void **state)
{
    static const uint8_t binary[] = {0, 255, 251, 10};
    struct kd_buf extra, b;
    struct dime_field f;

    (void)state;
    kd_buf_init(&extra, 4096);
    sg_undefined(&extra, kd_slice_str("Xyz"), kd_slice(binary, sizeof binary));
    sg_undefined(&extra, kd_slice_str("Abc"), kd_slice(NULL, 0));
    struct kd_slice org = org_with(&b, kd_buf_slice(&extra));
    struct dime_signet s = parsed(org);
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("Xyz"), &f), KD_OK);
    assert_true(kd_slice_eq(f.value, kd_slice(binary, sizeof binary)));
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("Abc"), &f), KD_OK);
    assert_int_equal(f.value.n, 0);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("Ab"), &f), KD_NOT_FOUND);
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

static void
T_SG_17_of_two_equal_names_the_first_counts(void **state)
{
    struct kd_buf extra, b;
    struct dime_field f;

    (void)state;
    kd_buf_init(&extra, 4096);
    sg_undefined(&extra, kd_slice_str("Xyz"), kd_slice_str("one"));
    sg_undefined(&extra, kd_slice_str("Xyz"), kd_slice_str("two"));
    struct kd_slice org = org_with(&b, kd_buf_slice(&extra));
    struct dime_signet s = parsed(org);
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("Xyz"), &f), KD_OK);
    assert_true(kd_slice_eq(f.value, kd_slice_str("one")));
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

static void
T_SG_18_undefined_value_of_all_octets_is_intact(void **state)
{
    uint8_t all[256];
    struct kd_buf extra, b;
    struct dime_field f;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    kd_buf_init(&extra, 4096);
    sg_undefined(&extra, kd_slice_str("All"), kd_slice(all, sizeof all));
    struct kd_slice org = org_with(&b, kd_buf_slice(&extra));
    struct dime_signet s = parsed(org);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("All"), &f), KD_OK);
    assert_int_equal(f.value.n, 256);
    assert_memory_equal(f.value.p, all, 256);
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

/* A field 252 with n octets in it. */
static void
put_image(struct kd_buf *b, size_t n)
{
    kd_buf_u8(b, 252);
    kd_buf_u24(b, (uint32_t)n);
    uint8_t *room = kd_buf_add(b, n);
    assert_non_null(room);
    memset(room, 0x5a, n);
}

static void
T_SG_26_an_image_of_15_megabytes_is_accepted(void **state)
{
    struct kd_buf extra, b;

    (void)state;
    kd_buf_init(&extra, DIME_SIGNET_MAX);
    put_image(&extra, 15 * 1000 * 1000);
    struct kd_slice org = org_with(&b, kd_buf_slice(&extra));
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

static void
T_SG_27_the_largest_signet_is_accepted(void **state)
{
    struct kd_buf extra, b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});
    size_t image = DIME_SIGNET_MAX - org.n - 4;

    (void)state;
    kd_buf_free(&b);
    kd_buf_init(&extra, DIME_SIGNET_MAX);
    put_image(&extra, image);
    org = org_with(&b, kd_buf_slice(&extra));
    assert_int_equal(org.n, 16777220);
    struct dime_signet s = parsed(org);
    struct dime_field f;
    assert_int_equal(dime_signet_find(&s, DIME_FIELD_IMAGE, &f), KD_OK);
    assert_int_equal(f.value.n, image);
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

static void
T_SG_30_an_empty_optional_field_is_as_if_absent(void **state)
{
    static const char empty_name[] = "\x10\x00\x11\x01z";
    struct kd_buf b;
    struct kd_slice org = org_with(&b, kd_slice(empty_name, sizeof empty_name - 1));
    struct dime_signet s = parsed(org);
    struct dime_field f;

    (void)state;
    assert_int_equal(sg_org_why(org, sg_world()->pok.key), DIME_FINE);
    assert_int_equal(dime_signet_find(&s, DIME_FIELD_NAME, &f), KD_NOT_FOUND);
    assert_int_equal(dime_signet_find(&s, DIME_FIELD_ADDRESS, &f), KD_OK);
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_1_org1_is_identified_and_anchored),
        cmocka_unit_test(T_SG_2_org2_has_a_sok_for_users_and_messages),
        cmocka_unit_test(T_SG_3_user0_is_valid_without_custody),
        cmocka_unit_test(T_SG_4_user1_is_valid_and_chained_to_user0),
        cmocka_unit_test(T_SG_5_requests_are_valid_and_ssr1_is_chained),
        cmocka_unit_test(T_SG_6_fingerprints_are_as_listed),
        cmocka_unit_test(T_SG_7_a_full_split_keeps_its_fingerprint_and_is_unbound),
        cmocka_unit_test(T_SG_8_a_core_split_keeps_its_fingerprint),
        cmocka_unit_test(T_SG_9_layouts_p_and_s33_are_accepted_with_the_same_keys),
        cmocka_unit_test(T_SG_10_every_layout_is_accepted_x_only_keys_too),
        cmocka_unit_test(T_SG_11_org_signet_without_field_4_is_accepted),
        cmocka_unit_test(T_SG_12_identifier_with_two_octets_of_length_is_accepted),
        cmocka_unit_test(T_SG_14_unknown_field_with_one_octet_of_length_is_skipped),
        cmocka_unit_test(T_SG_15_unknown_field_with_two_octets_of_length_is_skipped),
        cmocka_unit_test(T_SG_16_unsorted_undefined_fields_are_found_by_name),
        cmocka_unit_test(T_SG_17_of_two_equal_names_the_first_counts),
        cmocka_unit_test(T_SG_18_undefined_value_of_all_octets_is_intact),
        cmocka_unit_test(T_SG_26_an_image_of_15_megabytes_is_accepted),
        cmocka_unit_test(T_SG_27_the_largest_signet_is_accepted),
        cmocka_unit_test(T_SG_30_an_empty_optional_field_is_as_if_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
