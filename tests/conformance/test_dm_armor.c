/* Armour of messages (DM-2, DM-5, DM-6; D-127): read in every shape, written in one. */
#include "sg.h"
#include "test.h"

#include <dime/armor.h>
#include <dime/message.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BEGIN "-----BEGIN ENCRYPTED MESSAGE-----"
#define END "-----END ENCRYPTED MESSAGE-----"

enum { LIMIT = 1 << 20, COLUMNS = 64 };

static void
expect_same(struct kd_slice text, struct kd_slice want)
{
    enum dime_armor_label label = DIME_ARMOR_NONE;
    struct kd_slice octets;
    const char *why = NULL;
    struct kd_buf b;

    kd_buf_init(&b, LIMIT);
    if (dime_object_load(text, &b, &octets, &label, &why) != KD_OK)
        fail_msg("%s", why);
    assert_int_equal(label, DIME_ARMOR_ENCRYPTED_MESSAGE);
    assert_true(kd_slice_eq(octets, want));
    kd_buf_free(&b);
}

/* The base 64 of an armoured text in one piece. */
static void
body_of(struct kd_slice text, struct kd_buf *out)
{
    struct dime_armor a;

    assert_int_equal(dime_armor_parse(text, &a, NULL), KD_OK);
    kd_buf_init(out, LIMIT);
    for (size_t i = 0; i < a.body.n; i++)
        if (a.body.p[i] != '\n' && a.body.p[i] != '\r')
            kd_buf_u8(out, a.body.p[i]);
    assert_int_equal(out->err, KD_OK);
}

static void
write_text(struct kd_slice body, size_t columns, const char *eol, bool padding,
           struct kd_buf *out)
{
    kd_buf_init(out, LIMIT);
    kd_buf_printf(out, "%s%s", BEGIN, eol);
    for (size_t at = 0; at < body.n; at += columns) {
        size_t n = body.n - at < columns ? body.n - at : columns;
        bool last = at + n == body.n;
        kd_buf_put(out, kd_slice(body.p + at, n));
        for (size_t k = body.n % 4; last && padding && k != 0 && k < 4; k++)
            kd_buf_u8(out, '=');
        kd_buf_printf(out, "%s", eol);
    }
    kd_buf_printf(out, "%s%s", END, eol);
}

/* Lines between the two boundaries, none longer than the columns; nothing else. */
static void
expect_wire_form(struct kd_slice text)
{
    size_t column = 0;

    assert_true(text.n > strlen(BEGIN END) + 3);
    assert_memory_equal(text.p, BEGIN "\n", strlen(BEGIN) + 1);
    assert_memory_equal(text.p + text.n - strlen(END) - 1, END "\n", strlen(END) + 1);
    for (size_t i = strlen(BEGIN) + 1; i < text.n - strlen(END) - 1; i++) {
        assert_true(text.p[i] != '=' && text.p[i] != '\r');
        column = text.p[i] == '\n' ? 0 : column + 1;
        assert_true(column <= COLUMNS);
    }
}

/* T-DM-23: MSG there and back, also with padding and other columns */
static void
T_DM_23_armoured_messages_come_back_from_every_shape(void **state)
{
    static const size_t columns[] = {1, 19, 60, 64, 72, 76, 100, LIMIT};
    static const char *const eols[] = {"\n", "\r\n"};
    struct kd_slice msg = sg_file("appendix/MSG.b64");
    struct kd_buf wire, body, text;

    (void)state;
    /* all remainders of three, so that there is padding of both kinds */
    for (size_t less = 0; less < 3; less++) {
        struct kd_slice octets = kd_slice(msg.p, msg.n - less);
        kd_buf_init(&wire, LIMIT);
        dime_armor_put(&wire, dime_armor_label_of(DIME_MAGIC_MESSAGE), DIME_ARMOR_WIRE,
                       octets);
        expect_wire_form(kd_buf_slice(&wire));
        expect_same(kd_buf_slice(&wire), octets);
        body_of(kd_buf_slice(&wire), &body);
        for (size_t i = 0; i < LEN(columns) * 2 * 2; i++) {
            write_text(kd_buf_slice(&body), columns[i / 4], eols[i % 2], i / 2 % 2 != 0,
                       &text);
            expect_same(kd_buf_slice(&text), octets);
            kd_buf_free(&text);
        }
        kd_buf_free(&body);
        kd_buf_free(&wire);
    }
    sg_free(msg);
}

static void
both_armourings_of_the_vectors_are_the_message(void **state)
{
    static const char *const names[] = {"libdime/messages/m1.signed.spec.asc",
                                        "libdime/messages/m1.signed.crc.asc"};
    struct kd_slice want = sg_file("libdime/messages/m1.signed.bin");

    (void)state;
    for (size_t i = 0; i < LEN(names); i++) {
        struct kd_slice text = sg_file(names[i]);
        expect_same(text, want);
        sg_free(text);
    }
    sg_free(want);
}

/* T-DM-66 */
static void
T_DM_66_a_body_of_length_1_modulo_4_is_corrupt(void **state)
{
    static const bool paddings[] = {false, true};
    struct kd_slice msg = sg_file("appendix/MSG.b64");
    struct kd_buf wire, body, text, b;
    enum dime_armor_label label;
    struct kd_slice octets;
    const char *why;

    (void)state;
    kd_buf_init(&wire, LIMIT);
    kd_buf_init(&b, LIMIT);
    dime_armor_put(&wire, DIME_ARMOR_ENCRYPTED_MESSAGE, DIME_ARMOR_WIRE, msg);
    body_of(kd_buf_slice(&wire), &body);
    for (size_t n = body.n / 4 * 4 - 3; n > 4; n -= n > 400 ? 396 : 4) {
        for (size_t i = 0; i < LEN(paddings); i++) {
            assert_int_equal(n % 4, 1);
            why = NULL;
            write_text(kd_slice(body.p, n), COLUMNS, "\n", paddings[i], &text);
            assert_int_equal(
                dime_object_load(kd_buf_slice(&text), &b, &octets, &label, &why),
                KD_MALFORMED);
            assert_non_null(why);
            kd_buf_free(&text);
        }
    }
    kd_buf_free(&b);
    kd_buf_free(&body);
    kd_buf_free(&wire);
    sg_free(msg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_23_armoured_messages_come_back_from_every_shape),
        cmocka_unit_test(both_armourings_of_the_vectors_are_the_message),
        cmocka_unit_test(T_DM_66_a_body_of_length_1_modulo_4_is_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
