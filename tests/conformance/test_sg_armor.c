/* Conformance: armour of signets (SG-35; D-053, D-054). */
#include <dime/armor.h>
#include <dime/signet.h>

#include "test.h"

/* ORG1 of the specification's test vectors. */
static const char org1[] =
    "BvAAARcBIUDXWpgBgrEKt9VL/"
    "tPJZAc6DuFy89qmIyWvAhpo9wdRGgMAIQNMkrAeC9Q4pDcZeFrM7GZXTxx8sR8jN9TqjPjx"
    "D0N5mwQFOEPm3JQsoBQVznwj02YWU/ufrVLXl21Ki5QH8lpNPf/Cl2M2Sdq/"
    "iO90AUF9BGq+t5dkH8kVng+Covf0L4kE/WSm"
    "/ZoK9pT+XtxEqQPzARxXcH9qTr7LNJO7gy/"
    "Enyd6LlItPLdPbtBoOYl3STWCdZRdQTdXTUfDgWs4DWdTqAb+C2V4YW1wbGUu"
    "Y29t/zy6Qd0VmXkg0gcNzTCwa0kO3dIzebPjQTk4YYbvEBhoVXTxlk+YDczlaXnq7lFgKFQ/"
    "BBwv0hS7f5ZdlZaswwQ";
static const char org1_crc[] = "/bou"; /* fdba2e */

enum { ORG1_SIZE = 284 };

struct shape {
    size_t columns;
    const char *eol;
    bool padding;
    const char *crc; /* NULL: none */
    const char *begin, *end;
    const char *between; /* put behind the first line of base 64 */
};

/* ORG1 in this shape. */
static void
make(const struct shape *s, struct kd_buf *b)
{
    size_t n = sizeof org1 - 1;

    kd_buf_printf(b, "%s%s", s->begin, s->eol);
    for (size_t at = 0; at < n; at += s->columns) {
        size_t left = n - at < s->columns ? n - at : s->columns;
        bool last = at + left == n;
        kd_buf_put(b, kd_slice(org1 + at, left));
        /* 284 octets leave two: one padding character */
        kd_buf_printf(b, "%s%s", last && s->padding ? "=" : "", s->eol);
        if (at == 0 && s->between != NULL)
            kd_buf_printf(b, "%s%s", s->between, s->eol);
    }
    if (s->crc != NULL)
        kd_buf_printf(b, "=%s%s", s->crc, s->eol);
    if (s->end != NULL)
        kd_buf_printf(b, "%s%s", s->end, s->eol);
}

/* Loads it as a file and parses what comes out. */
static kd_err
load(const struct shape *s)
{
    struct kd_buf text, b;
    struct kd_slice octets;
    enum dime_armor_label label;
    enum dime_reason reason;
    const char *why = NULL;
    struct dime_signet org;

    kd_buf_init(&text, 65536);
    kd_buf_init(&b, 65536);
    make(s, &text);
    kd_err err = dime_object_load(kd_buf_slice(&text), &b, &octets, &label, &why);
    if (err == KD_OK) {
        assert_int_equal(octets.n, ORG1_SIZE);
        err = dime_signet_parse_as(DIME_ORG, octets, &org, &reason);
    } else {
        assert_non_null(why);
    }
    kd_buf_free(&b);
    kd_buf_free(&text);
    return err;
}

#define BEGIN "-----BEGIN ORGANIZATIONAL SIGNET-----"
#define END "-----END ORGANIZATIONAL SIGNET-----"

/* T-SG-13 */
static void
T_SG_13_every_shape_of_armour_is_accepted(void **state)
{
    static const size_t columns[] = {64, 76, 100};
    static const char *const eols[] = {"\n", "\r\n"};
    static const char *const crcs[] = {NULL, org1_crc};

    (void)state;
    for (size_t i = 0; i < 3 * 2 * 2 * 2; i++) {
        struct shape s = {columns[i % 3],
                          eols[i / 3 % 2],
                          i / 6 % 2 != 0,
                          crcs[i / 12],
                          BEGIN,
                          END,
                          NULL};
        assert_int_equal(load(&s), KD_OK);
    }
}

/* T-SG-48 */
static void
T_SG_48_a_wrong_crc_is_refused(void **state)
{
    static const char *const wrong[] = {"/bov", "AAAA", "//bo", "/bo"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct shape s = {64, "\n", true, wrong[i], BEGIN, END, NULL};
        assert_int_equal(load(&s), KD_MALFORMED);
    }
}

/* T-SG-49 */
static void
T_SG_49_text_between_lines_a_missing_end_or_an_unknown_label_is_refused(void **state)
{
    static const struct {
        struct shape shape;
        kd_err err;
    } t[] = {
        {{64, "\n", true, org1_crc, BEGIN, END, "and now:"}, KD_MALFORMED},
        {{64, "\n", true, org1_crc, BEGIN, END, ""}, KD_MALFORMED},
        {{64, "\n", true, org1_crc, BEGIN, END, "Comment: x"}, KD_MALFORMED},
        {{64, "\n", true, org1_crc, BEGIN, NULL, NULL}, KD_MALFORMED},
        {{64, "\n", true, org1_crc, "-----BEGIN PGP MESSAGE-----",
          "-----END PGP MESSAGE-----", NULL},
         KD_MALFORMED},
        {{64, "\n", true, org1_crc, "-----BEGIN SIGNET-----", "-----END SIGNET-----",
          NULL},
         KD_MALFORMED},
        {{64, "\n", true, org1_crc, BEGIN, "-----END USER SIGNET-----", NULL},
         KD_MALFORMED},
        /* a known label of another object: the magic number decides */
        {{64, "\n", true, org1_crc, "-----BEGIN USER SIGNET-----",
          "-----END USER SIGNET-----", NULL},
         KD_OK},
        {{64, "\n", true, org1_crc, "-----BEGIN SIGNET SIGNING REQUEST-----",
          "-----END SIGNET SIGNING REQUEST-----", NULL},
         KD_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_int_equal(load(&t[i].shape), t[i].err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_13_every_shape_of_armour_is_accepted),
        cmocka_unit_test(T_SG_48_a_wrong_crc_is_refused),
        cmocka_unit_test(
            T_SG_49_text_between_lines_a_missing_end_or_an_unknown_label_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
