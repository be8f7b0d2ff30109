/* dime/armor.h: reading and writing armour. */
#include <dime/armor.h>
#include <dime/base64.h>
#include <keyd/base/secret.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

#include "../support/vector.h"

#define SIGNETS KEYD_VECTORS "/libdime/signets"
#define MALFORMED KEYD_VECTORS "/libdime/malformed/signets"

static const char *const names[] = {
    "alice.signet",       "alice.core.signet",  "alice.full.signet", "alice2.signet",
    "alice2.core.signet", "alice2.full.signet", "bob.signet",        "bob.core.signet",
    "bob.full.signet",    "carol.sok1.signet",  "carol.sok2.signet", "orga.signet",
    "orga.core.signet",   "orga.full.signet",   "orgb.signet",       "orgb.core.signet",
    "orgb.full.signet",   "alice.ssr",          "alice2.ssr",        "bob.ssr",
    "carol.ssr"};
enum { N_NAMES = sizeof names / sizeof names[0] };

/* Decodes text to fresh memory; the verdict, and *out if it is KD_OK. */
static kd_err
decode(struct kd_slice text, struct kd_buf *out, enum dime_armor_label *label)
{
    struct dime_armor a;
    const char *why = NULL;

    kd_buf_reset(out);
    kd_err err = dime_armor_parse(text, &a, &why);
    if (err == KD_OK) {
        uint8_t *octets = kd_buf_add(out, a.size);
        assert_non_null(octets);
        err = dime_armor_decode(&a, octets, &why);
        *label = a.label;
    }
    if (err != KD_OK)
        assert_non_null(why);
    return err;
}

static kd_err
verdict(const char *text)
{
    struct kd_buf b;
    enum dime_armor_label label;

    kd_buf_init(&b, 4096);
    kd_err err = decode(kd_slice_str(text), &b, &label);
    kd_buf_free(&b);
    return err;
}

#define BLOCK(body) "-----BEGIN USER SIGNET-----\n" body "-----END USER SIGNET-----\n"

static void
files_of_libdime_are_read_and_written_back_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        char bin_name[64];
        struct kd_buf b, again;
        enum dime_armor_label label = DIME_ARMOR_NONE;
        struct kd_slice text = vector_read(SIGNETS, names[i]);
        snprintf(bin_name, sizeof bin_name, "%s.bin", names[i]);
        struct kd_slice bin = vector_read(SIGNETS, bin_name);

        assert_true(text.n != 0 && bin.n != 0);
        kd_buf_init(&b, 1 << 20);
        kd_buf_init(&again, 1 << 20);
        assert_int_equal(decode(text, &b, &label), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&b), bin));
        dime_armor_put(&again, label, DIME_ARMOR_FILE, bin);
        assert_true(kd_slice_eq(kd_buf_slice(&again), text));
        kd_buf_free(&again);
        kd_buf_free(&b);
        vector_free(bin);
        vector_free(text);
    }
}

static void
every_size_comes_back_in_both_styles(void **state)
{
    static const enum dime_armor_style styles[] = {DIME_ARMOR_FILE, DIME_ARMOR_WIRE};
    uint8_t octets[300];

    (void)state;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(i * 37 + 11);
    for (size_t s = 0; s < 2; s++) {
        for (size_t n = 1; n <= sizeof octets; n++) {
            struct kd_buf text, back;
            enum dime_armor_label label = DIME_ARMOR_NONE;
            kd_buf_init(&text, 4096);
            kd_buf_init(&back, 4096);
            dime_armor_put(&text, DIME_ARMOR_ENCRYPTED_MESSAGE, styles[s],
                           kd_slice(octets, n));
            assert_int_equal(
                text.n, dime_armor_size(DIME_ARMOR_ENCRYPTED_MESSAGE, styles[s], n));
            assert_int_equal(decode(kd_buf_slice(&text), &back, &label), KD_OK);
            assert_int_equal(label, DIME_ARMOR_ENCRYPTED_MESSAGE);
            assert_true(kd_slice_eq(kd_buf_slice(&back), kd_slice(octets, n)));
            kd_buf_free(&back);
            kd_buf_free(&text);
        }
    }
}

static void
wire_style_has_64_columns_and_neither_padding_nor_crc(void **state)
{
    static const uint8_t octets[49] = {0};
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 4096);
    dime_armor_put(&b, DIME_ARMOR_USER_SIGNET, DIME_ARMOR_WIRE,
                   kd_slice(octets, sizeof octets));
    kd_buf_u8(&b, 0);
    assert_string_equal(
        (const char *)b.p,
        BLOCK(
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAA\n"));
    kd_buf_free(&b);
}

static void
any_number_of_columns_is_read(void **state)
{
    struct kd_slice bin = vector_read(SIGNETS, "alice.ssr.bin");
    struct kd_buf one_line;

    (void)state;
    assert_true(bin.n != 0);
    kd_buf_init(&one_line, 4096);
    dime_armor_put(&one_line, DIME_ARMOR_SSR, DIME_ARMOR_WIRE, bin);
    for (size_t columns = 1; columns <= 200; columns++) {
        struct kd_buf text, back;
        enum dime_armor_label label = DIME_ARMOR_NONE;
        size_t column = 0;
        kd_buf_init(&text, 8192);
        kd_buf_init(&back, 4096);
        kd_buf_printf(&text, "-----BEGIN SIGNET SIGNING REQUEST-----\n");
        for (size_t i = 39; i < one_line.n - 37; i++) {
            if (one_line.p[i] == '\n')
                continue;
            kd_buf_u8(&text, one_line.p[i]);
            if (++column % columns == 0)
                kd_buf_u8(&text, '\n');
        }
        kd_buf_printf(&text, "%s-----END SIGNET SIGNING REQUEST-----",
                      column % columns == 0 ? "" : "\n");
        assert_int_equal(decode(kd_buf_slice(&text), &back, &label), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&back), bin));
        kd_buf_free(&back);
        kd_buf_free(&text);
    }
    kd_buf_free(&one_line);
    vector_free(bin);
}

static void
padding_is_whole_or_not_there(void **state)
{
    (void)state;
    assert_int_equal(verdict(BLOCK("AAAA\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AA==\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AA\n==\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AA=\n=\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AA\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AAA=\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AA=\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAA==\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAAA=\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AA===\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("A\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AA==\nAAAA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AA==AAAA\n")), KD_MALFORMED);
}

static void
trailing_bits_are_zero(void **state)
{
    (void)state;
    assert_int_equal(verdict(BLOCK("AQ==\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AR==\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAE\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("AAF\n")), KD_MALFORMED);
}

static void
nothing_but_base64_stands_between_the_lines(void **state)
{
    static const char odd[] = " \t-_.,:\v\f\x7f\x80\xff";

    (void)state;
    assert_int_equal(verdict(BLOCK("AAAA\n\nAAAA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("\nAAAA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("Version: 1\n\nAAAA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAAA \n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("==\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AA\rAA\r\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAAA\r\r\n")), KD_MALFORMED);
    for (size_t i = 0; i < sizeof odd; i++) { /* its NUL too */
        char text[] = BLOCK("AAAAAAAA\n");
        struct dime_armor a;
        uint8_t octets[16];
        text[28 + 4] = odd[i];
        kd_err err = dime_armor_parse(kd_slice(text, sizeof text - 1), &a, NULL);
        assert_true(err == KD_MALFORMED ||
                    dime_armor_decode(&a, octets, NULL) == KD_MALFORMED);
    }
}

static void
boundaries_are_exact_and_alike(void **state)
{
    (void)state;
    assert_int_equal(verdict("-----BEGIN USER SIGNET-----\nAAAA\n"), KD_MALFORMED);
    assert_int_equal(verdict("-----BEGIN USER SIGNET-----\nAAAA\n"
                             "-----END USER KEY-----\n"),
                     KD_MALFORMED);
    assert_int_equal(verdict("-----BEGIN CERTIFICATE-----\nAAAA\n"
                             "-----END CERTIFICATE-----\n"),
                     KD_MALFORMED);
    assert_int_equal(verdict("-----BEGIN user signet-----\nAAAA\n"
                             "-----END user signet-----\n"),
                     KD_MALFORMED);
    assert_int_equal(verdict("-----BEGIN -----\nAAAA\n-----END -----\n"), KD_MALFORMED);
    assert_int_equal(verdict("-----BEGIN ----\nAAAA\n"), KD_MALFORMED);
    assert_int_equal(verdict("-----END USER SIGNET-----\n" BLOCK("AAAA\n")),
                     KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("-----BEGIN USER SIGNET-----\nAAAA\n")),
                     KD_MALFORMED);
    assert_int_equal(verdict(""), KD_MALFORMED);
    assert_int_equal(verdict("no armour at all\n"), KD_MALFORMED);
}

static void
one_block_in_any_text_is_read_and_two_are_not(void **state)
{
    (void)state;
    assert_int_equal(verdict("Dear Bob,\n\n" BLOCK("AAAA\n") "-- \nAlice"), KD_OK);
    assert_int_equal(verdict(BLOCK("AAAA\n") BLOCK("AAAA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("AAAA\n") "-----BEGIN PGP MESSAGE-----\n"),
                     KD_MALFORMED);
}

static void
the_crc_holds_or_the_text_is_refused(void **state)
{
    (void)state;
    /* The check value of CRC-24/OPENPGP: "123456789" gives 21cf02. */
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8C\n")), KD_OK);
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8D\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8CA\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8-\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("MTIzNDU2Nzg5\n=Ic8C\n=Ic8C\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("=Ic8C\nMTIzNDU2Nzg5\n")), KD_MALFORMED);
    assert_int_equal(verdict(BLOCK("=Ic8C\n")), KD_MALFORMED);
}

static void
no_character_of_a_block_can_change_unnoticed(void **state)
{
    struct kd_slice text = vector_read(SIGNETS, "bob.ssr");
    char *changed = malloc(text.n);

    (void)state;
    assert_non_null(changed);
    for (size_t i = 0; i < text.n; i++) {
        struct dime_armor a;
        struct kd_buf b;
        enum dime_armor_label label = DIME_ARMOR_NONE;
        memcpy(changed, text.p, text.n);
        changed[i] = changed[i] == 'B' ? 'C' : 'B';
        kd_buf_init(&b, 4096);
        assert_int_equal(decode(kd_slice(changed, text.n), &b, &label), KD_MALFORMED);
        kd_buf_free(&b);
        /* And no beginning of it is taken for the whole, but the one that lacks only
         * the last newline. */
        if (i < text.n - 1)
            assert_int_equal(dime_armor_parse(kd_slice(text.p, i), &a, NULL),
                             KD_MALFORMED);
    }
    free(changed);
    vector_free(text);
}

static void
refused_octets_are_wiped(void **state)
{
    static const uint8_t zero[9];
    struct dime_armor a;
    uint8_t octets[9];
    const char *why = NULL;

    (void)state;
    memset(octets, 0xaa, sizeof octets);
    assert_int_equal(
        dime_armor_parse(kd_slice_str(BLOCK("MTIzNDU2Nzg5\n=AAAA\n")), &a, &why),
        KD_OK);
    assert_int_equal(a.size, sizeof octets);
    assert_int_equal(dime_armor_decode(&a, octets, &why), KD_MALFORMED);
    assert_memory_equal(octets, zero, sizeof zero);
    assert_string_equal(why, "the armour's CRC is wrong");
}

static void
percent_signs_are_only_characters(void **state)
{
    struct kd_slice text = vector_read(MALFORMED, "dos-format-string.signet");
    struct kd_slice out;
    struct kd_buf b;
    enum dime_armor_label label;
    const char *why = NULL;

    (void)state;
    assert_true(text.n != 0);
    kd_buf_init(&b, 4096);
    assert_int_equal(dime_object_load(text, &b, &out, &label, &why), KD_MALFORMED);
    assert_non_null(why);
    kd_buf_free(&b);
    vector_free(text);
}

static void
binary_is_told_from_armour(void **state)
{
    static const char inside[] = "\x06\xfd\n" BLOCK("AAAA\n");
    struct kd_slice bin = vector_read(SIGNETS, "orgb.signet.bin");
    struct kd_slice text = vector_read(MALFORMED, "armor-leading-text.signet");
    struct kd_slice out;
    struct kd_buf b;
    enum dime_armor_label label = DIME_ARMOR_NONE;

    (void)state;
    kd_buf_init(&b, 4096);
    assert_int_equal(dime_object_load(bin, &b, &out, &label, NULL), KD_OK);
    assert_ptr_equal(out.p, bin.p);
    assert_int_equal(label, DIME_ARMOR_NONE);
    assert_int_equal(dime_object_load(text, &b, &out, &label, NULL), KD_OK);
    assert_int_equal(label, DIME_ARMOR_USER_SIGNET);
    assert_int_equal(out.p[0], 0x06);
    assert_false(dime_armor_is(kd_slice(inside, sizeof inside - 1)));
    assert_false(dime_armor_is(kd_slice(NULL, 0)));
    kd_buf_free(&b);
    vector_free(text);
    vector_free(bin);
}

static void
the_buffer_limits_what_is_decoded(void **state)
{
    struct kd_slice text = vector_read(SIGNETS, "orgb.signet");
    struct kd_slice out;
    struct kd_buf b;
    enum dime_armor_label label;
    const char *why = NULL;

    (void)state;
    kd_buf_init(&b, 100);
    assert_int_equal(dime_object_load(text, &b, &out, &label, &why), KD_TOO_LARGE);
    assert_string_equal(why, "too large");
    kd_buf_free(&b);
    vector_free(text);
}

static void
labels_go_by_the_magic_number(void **state)
{
    (void)state;
    assert_string_equal(dime_armor_label_text(dime_armor_label_of(1215)),
                        "SIGNET SIGNING REQUEST");
    assert_string_equal(dime_armor_label_text(dime_armor_label_of(1776)),
                        "ORGANIZATIONAL SIGNET");
    assert_string_equal(dime_armor_label_text(dime_armor_label_of(1789)),
                        "USER SIGNET");
    assert_string_equal(dime_armor_label_text(dime_armor_label_of(1847)),
                        "ENCRYPTED MESSAGE");
    assert_int_equal(dime_armor_label_of(0), DIME_ARMOR_NONE);
    assert_int_equal(dime_armor_label_of(1777), DIME_ARMOR_NONE);
}

static void
base64_has_64_characters_and_no_more(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    (void)state;
    for (int c = 0; c < 256; c++) {
        uint8_t text[8] = {'A', 'A', 'A', 'A', (uint8_t)c, 'A', 'A', 'A'}, octets[6];
        bool good = c != 0 && c < 128 && strchr(alphabet, c) != NULL;
        kd_err err =
            dime_base64_read(kd_slice(text, sizeof text), octets, sizeof octets);
        assert_int_equal(err, good ? KD_OK : KD_MALFORMED);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_libdime_are_read_and_written_back_alike),
        cmocka_unit_test(every_size_comes_back_in_both_styles),
        cmocka_unit_test(wire_style_has_64_columns_and_neither_padding_nor_crc),
        cmocka_unit_test(any_number_of_columns_is_read),
        cmocka_unit_test(padding_is_whole_or_not_there),
        cmocka_unit_test(trailing_bits_are_zero),
        cmocka_unit_test(nothing_but_base64_stands_between_the_lines),
        cmocka_unit_test(boundaries_are_exact_and_alike),
        cmocka_unit_test(one_block_in_any_text_is_read_and_two_are_not),
        cmocka_unit_test(the_crc_holds_or_the_text_is_refused),
        cmocka_unit_test(no_character_of_a_block_can_change_unnoticed),
        cmocka_unit_test(refused_octets_are_wiped),
        cmocka_unit_test(percent_signs_are_only_characters),
        cmocka_unit_test(binary_is_told_from_armour),
        cmocka_unit_test(the_buffer_limits_what_is_decoded),
        cmocka_unit_test(base64_has_64_characters_and_no_more),
        cmocka_unit_test(labels_go_by_the_magic_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
