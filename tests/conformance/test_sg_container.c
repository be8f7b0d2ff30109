/* T-SG-32 to T-SG-47: what is refused by its structure. Every object here is signed as
 * it stands, so that structure alone decides. */
#include "sg.h"
#include "test.h"

#include <keyd/base/be.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICE(literal) kd_slice("" literal, sizeof literal - 1)

static void
assert_why(struct kd_slice octets, enum dime_reason want)
{
    assert_string_equal(dime_reason_name(sg_parse_why(octets)), dime_reason_name(want));
}

/* An org signet with these fields between 4 and 253 parses to want. */
static void
assert_org_with(struct kd_slice extra, enum dime_reason want)
{
    struct kd_buf b;

    assert_why(sg_make_org(&b, &(struct sg_org){.extra = extra}), want);
    kd_buf_free(&b);
}

static void
assert_user_with(struct kd_slice extra, enum dime_reason want)
{
    struct kd_buf b;

    assert_why(sg_make_user(&b, &(struct sg_user){.extra = extra}), want);
    kd_buf_free(&b);
}

static void
T_SG_32_other_magic_numbers_are_refused(void **state)
{
    static const uint16_t magics[] = {1777, 0,    65535, 1952, 2013,
                                      1947, 1976, 1847,  1216, 0xf006};

    (void)state;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        struct kd_buf b;
        struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});
        kd_put_be16(b.p, magics[i]);
        assert_why(org, DIME_BAD_MAGIC);
        kd_buf_free(&b);
    }
}

static void
T_SG_33_header_length_off_by_one_is_refused(void **state)
{
    struct kd_buf b;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});

    (void)state;
    kd_put_be24(b.p + 2, (uint32_t)org.n - 5 - 1);
    assert_why(org, DIME_LENGTH_MISMATCH);
    kd_put_be24(b.p + 2, (uint32_t)org.n - 5 + 1);
    assert_why(org, DIME_LENGTH_MISMATCH);
    kd_put_be24(b.p + 2, (uint32_t)org.n); /* as if it counted the header */
    assert_why(org, DIME_LENGTH_MISMATCH);
    kd_put_be24(b.p + 2, (uint32_t)org.n - 5);
    assert_why(org, DIME_FINE);
    kd_buf_u8(&b, 0);
    assert_why(kd_buf_slice(&b), DIME_LENGTH_MISMATCH);
    kd_buf_free(&b);
}

static void
T_SG_34_fewer_than_five_octets_are_refused(void **state)
{
    static const uint8_t header[] = {0x06, 0xf0, 0, 0, 0};

    (void)state;
    for (size_t n = 0; n < 5; n++)
        assert_why(kd_slice(header, n), DIME_TOO_SHORT);
    assert_why(kd_slice(header, 5), DIME_MISSING_FIELD);
}

static void
T_SG_35_descending_fields_are_refused(void **state)
{
    static const char field[] = "\x10\x01x\x03\x00\x21";
    const struct sg_world *w = sg_world();
    struct kd_buf extra;

    (void)state;
    kd_buf_init(&extra, 4096);
    kd_buf_put(&extra, kd_slice(field, sizeof field - 1));
    kd_buf_put(&extra, kd_slice(w->org_enc, 33));
    assert_org_with(kd_buf_slice(&extra), DIME_ORDER);
    kd_buf_free(&extra);
    assert_org_with(SLICE("\x11\x01x\x10\x01x"), DIME_ORDER);
}

static void
T_SG_36_field_255_not_last_is_refused(void **state)
{
    struct kd_buf b;

    (void)state;
    kd_ignore(sg_make_org(&b, &(struct sg_org){0}).n); /* read from b */
    sg_len1(&b, 16, "Name");
    assert_why(sg_end(&b), DIME_ORDER);
    kd_buf_free(&b);
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_sign(&b, 255, &sg_world()->pok);
    sg_identifier(&b, "example.com", 1);
    assert_why(sg_end(&b), DIME_ORDER);
    kd_buf_free(&b);
}

static void
T_SG_37_unique_field_twice_is_refused(void **state)
{
    (void)state;
    assert_org_with(SLICE("\x10\x01x\x10\x01y"), DIME_DUPLICATE);
    assert_user_with(SLICE("\x10\x01x\x10\x01x"), DIME_DUPLICATE);
    assert_user_with(SLICE("\xc9\x00\x01x\xc9\x00\x01x"), DIME_DUPLICATE);
    /* the multiple ones may */
    assert_org_with(SLICE("\x15\x01\x31\x15\x01\x31"), DIME_FINE);
    assert_user_with(SLICE("\xca\x00\x01x\xca\x00\x01x"), DIME_FINE);
    /* 202 is unique in one kind and not in the other */
    assert_org_with(SLICE("\xca\x00\x01x\xca\x00\x01x"), DIME_DUPLICATE);
}

static void
T_SG_38_unique_field_twice_is_refused_even_if_one_is_empty(void **state)
{
    (void)state;
    assert_org_with(SLICE("\x10\x01x\x10\x00"), DIME_DUPLICATE);
    assert_org_with(SLICE("\x10\x00\x10\x01x"), DIME_DUPLICATE);
    assert_org_with(SLICE("\x10\x00\x10\x00"), DIME_DUPLICATE);
}

static void
T_SG_39_two_images_or_two_identifiers_are_refused(void **state)
{
    struct kd_buf b;

    (void)state;
    assert_org_with(SLICE("\xfc\x00\x00\x01x\xfc\x00\x00\x01y"), DIME_DUPLICATE);
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_identifier(&b, "example.com", 1);
    sg_identifier(&b, "example.com", 1);
    sg_sign(&b, 255, &sg_world()->pok);
    assert_why(sg_end(&b), DIME_DUPLICATE);
    kd_buf_free(&b);
    /* closing signatures twice */
    kd_ignore(sg_make_org(&b, &(struct sg_org){0}).n);
    sg_sign(&b, 255, &sg_world()->pok);
    assert_why(sg_end(&b), DIME_DUPLICATE);
    kd_buf_free(&b);
}

/* A field of a reserved type, laid out in each way one could think of. */
static void
assert_reserved(uint8_t type, bool org)
{
    for (int shape = 0; shape < 3; shape++) {
        struct kd_buf extra;
        kd_buf_init(&extra, 256);
        kd_buf_u8(&extra, type);
        if (shape == 1)
            kd_buf_u8(&extra, 1);
        if (shape == 2)
            kd_buf_u16(&extra, 1);
        for (int i = 0; i < (shape == 0 ? 64 : 1); i++)
            kd_buf_u8(&extra, 'x');
        if (org)
            assert_org_with(kd_buf_slice(&extra), DIME_RESERVED_FIELD);
        else
            assert_user_with(kd_buf_slice(&extra), DIME_RESERVED_FIELD);
        kd_buf_free(&extra);
    }
}

static void
T_SG_40_reserved_types_in_org_signets_are_refused(void **state)
{
    (void)state;
    assert_reserved(0, true);
    for (uint8_t type = 5; type <= 15; type++)
        assert_reserved(type, true);
}

static void
T_SG_41_reserved_types_in_user_signets_are_refused(void **state)
{
    (void)state;
    assert_reserved(0, false);
    for (uint8_t type = 7; type <= 15; type++)
        assert_reserved(type, false);
}

/* The octets as the last thing in the object, behind field 4. */
static void
assert_org_ends_in(struct kd_slice tail, enum dime_reason want)
{
    struct kd_buf b;

    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_CORE}).n);
    kd_buf_put(&b, tail);
    assert_why(sg_end(&b), want);
    kd_buf_free(&b);
}

static void
T_SG_42_image_longer_than_the_signet_is_refused_as_maybe_malicious(void **state)
{
    (void)state;
    assert_org_with(SLICE("\xfc\xff\xff\xffxx"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfc\x00\x00\x03xx"), DIME_FIELD_OVERFLOW);
    assert_non_null(strstr(dime_reason_text(DIME_FIELD_OVERFLOW), "may be malicious"));
}

static void
T_SG_43_lengths_past_the_end_are_refused(void **state)
{
    (void)state;
    assert_org_ends_in(SLICE("\x10\x03xx"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\x10\xff"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xa0\x00\x03xx"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xa0\xff\xff"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xa0\x00"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfc\x00\x00\x03xx"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfc\x00\x00"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\x28\x02x"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xaa\x00\x02x"), DIME_FIELD_OVERFLOW);
}

static void
T_SG_44_type_as_the_last_octet_is_refused(void **state)
{
    static const uint8_t types[] = {16, 40, 160, 170, 251, 252, 253, 254, 255};

    (void)state;
    for (size_t i = 0; i < sizeof types; i++)
        assert_org_ends_in(kd_slice(&types[i], 1), DIME_FIELD_OVERFLOW);
}

static void
T_SG_45_undefined_field_past_the_end_is_refused(void **state)
{
    (void)state;
    assert_org_ends_in(SLICE("\xfb\x04Xyz"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfb\x03Xyz"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfb\x03Xyz\x00"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfb\x03Xyz\x00\x02v"), DIME_FIELD_OVERFLOW);
    assert_org_ends_in(SLICE("\xfb\x03Xyz\xff\xffv"), DIME_FIELD_OVERFLOW);
}

/* A request whose octets read in S33 as fields 1, 2, 3 (67 octets) and 5, and in S32 as
 * 1, 2, 3 (3 octets), 4 and 5: the last octet of the encryption key is the type, the
 * type of field 3 the length of S32's field 3. Both end in the same field 5 over the
 * same octets. What matters is that both keys be valid in both readings. */
static bool
craft_ambiguous(struct kd_buf *b, unsigned attempt, const char *field_3_head)
{
    const struct sg_world *w = sg_world();
    uint8_t point[33] = {2};
    uint8_t lifted[33];

    kd_put_be32(point + 20, attempt);
    point[32] = 3;
    if (!dime_secp_point_valid(kd_slice(point, 33)) ||
        dime_secp_lift_x(point, lifted) != KD_OK)
        return false;
    sg_begin(b, DIME_MAGIC_SSR);
    sg_sign_key(b, DIME_LAYOUT_S33, w->alice.key);
    sg_enc_key(b, 2, DIME_LAYOUT_S33, point);
    sg_put(b, field_3_head);
    uint8_t *sig = kd_buf_add(b, 64);
    assert_non_null(sig);
    memset(sig, 0x11, 64);
    sg_sign(b, 5, &w->alice);
    return true;
}

static void
T_SG_46_octets_that_parse_in_two_layouts_are_refused(void **state)
{
    struct kd_buf b;
    unsigned attempt = 0;

    (void)state;
    /* 67 octets: two, what S32 takes for type 4, and 64 */
    while (!craft_ambiguous(&b, attempt, "03 43 0102 04"))
        assert_true(++attempt < 1000);
    assert_why(sg_end(&b), DIME_AMBIGUOUS_LAYOUT);
    kd_buf_free(&b);
    /* with 68 S32 finds another type there, and S33 is left alone */
    assert_true(craft_ambiguous(&b, attempt, "03 44 010203 04"));
    assert_why(sg_end(&b), DIME_FINE);
    kd_buf_free(&b);
}

/* Drops the last octet of the object, whose last field then has 63. */
static void
assert_63(struct kd_buf *b)
{
    assert_why(sg_end(b), DIME_FINE);
    b->n--;
    assert_why(sg_end(b), DIME_FIELD_OVERFLOW);
    kd_buf_free(b);
}

static void
T_SG_47_signature_of_63_octets_is_refused(void **state)
{
    struct kd_buf b;

    (void)state;
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_CORE}).n);
    assert_63(&b); /* 4 */
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    assert_63(&b); /* 253 */
    kd_ignore(sg_make_org(&b, &(struct sg_org){0}).n);
    assert_63(&b); /* 255 */
    kd_ignore(sg_make_user(&b, &(struct sg_user){.request = true}).n);
    assert_63(&b); /* 5 */
    kd_ignore(sg_make_user(&b, &(struct sg_user){.until = DIME_PART_CORE}).n);
    assert_63(&b); /* 6 */
}

/* Closing fields that are not all there. */
static void
T_SG_71_T_SG_72_incomplete_termination_is_refused(void **state)
{
    const struct sg_pair *pok = &sg_world()->pok;
    struct kd_buf b;

    (void)state;
    /* T-SG-72: 254 without 255 */
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_identifier(&b, "example.com", 1);
    assert_why(sg_end(&b), DIME_TERMINATION);
    kd_buf_free(&b);
    /* T-SG-71: 255 without 254, and with an empty one */
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_sign(&b, 255, pok);
    assert_why(sg_end(&b), DIME_TERMINATION);
    kd_buf_free(&b);
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_put(&b, "fe 00 00");
    sg_sign(&b, 255, pok);
    assert_why(sg_end(&b), DIME_IDENTIFIER_SIZE);
    kd_buf_free(&b);
    /* with one octet of length 00 the next octets are no length that fits */
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_FULL}).n);
    sg_put(&b, "fe 00");
    sg_sign(&b, 255, pok);
    assert_why(sg_end(&b), DIME_FIELD_OVERFLOW);
    kd_buf_free(&b);
    /* 253 missing, informational fields unsigned */
    kd_ignore(sg_make_org(&b, &(struct sg_org){.until = DIME_PART_CORE}).n);
    sg_identifier(&b, "example.com", 1);
    sg_sign(&b, 255, pok);
    assert_why(sg_end(&b), DIME_TERMINATION);
    kd_buf_free(&b);
    assert_org_ends_in(SLICE("\x10\x01x"), DIME_TERMINATION);
}

static void
identifier_of_255_octets_is_refused(void **state)
{
    char id[256];
    struct kd_buf b;

    (void)state;
    memset(id, 'a', 255);
    id[255] = 0;
    for (unsigned octets = 1; octets <= 2; octets++) {
        assert_why(
            sg_make_org(&b, &(struct sg_org){.identifier = id, .id_octets = octets}),
            DIME_IDENTIFIER_SIZE);
        kd_buf_free(&b);
    }
    id[254] = 0;
    assert_why(sg_make_org(&b, &(struct sg_org){.identifier = id}), DIME_FINE);
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_32_other_magic_numbers_are_refused),
        cmocka_unit_test(T_SG_33_header_length_off_by_one_is_refused),
        cmocka_unit_test(T_SG_34_fewer_than_five_octets_are_refused),
        cmocka_unit_test(T_SG_35_descending_fields_are_refused),
        cmocka_unit_test(T_SG_36_field_255_not_last_is_refused),
        cmocka_unit_test(T_SG_37_unique_field_twice_is_refused),
        cmocka_unit_test(T_SG_38_unique_field_twice_is_refused_even_if_one_is_empty),
        cmocka_unit_test(T_SG_39_two_images_or_two_identifiers_are_refused),
        cmocka_unit_test(T_SG_40_reserved_types_in_org_signets_are_refused),
        cmocka_unit_test(T_SG_41_reserved_types_in_user_signets_are_refused),
        cmocka_unit_test(
            T_SG_42_image_longer_than_the_signet_is_refused_as_maybe_malicious),
        cmocka_unit_test(T_SG_43_lengths_past_the_end_are_refused),
        cmocka_unit_test(T_SG_44_type_as_the_last_octet_is_refused),
        cmocka_unit_test(T_SG_45_undefined_field_past_the_end_is_refused),
        cmocka_unit_test(T_SG_46_octets_that_parse_in_two_layouts_are_refused),
        cmocka_unit_test(T_SG_47_signature_of_63_octets_is_refused),
        cmocka_unit_test(T_SG_71_T_SG_72_incomplete_termination_is_refused),
        cmocka_unit_test(identifier_of_255_octets_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
