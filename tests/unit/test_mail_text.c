/* Envelope texts judged without a branch: the same verdict and values as the reader of
 * dime/envelope.h gives, on right, changed and made-up ones. */
#include "dmw.h"
#include "scale.h"
#include "test.h"
#include "text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { WHOLE = 10000000, FP = 86 };

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t n_good, n_bad;

/* What the ordinary reader says of the same. */
static bool
reads(const struct text_form *form, struct kd_slice text, struct dime_envelope *e)
{
    return dime_envelope_parse(form->kind, text, e) == KD_OK &&
           kd_slice_eq(e->domain, form->domain) &&
           (form->address.n == 0 || kd_slice_eq(e->address, form->address));
}

static void
assert_fingerprint(struct kd_slice chars, const uint8_t fp[64])
{
    char text[FP + 1];

    dime_fingerprint_text(fp, text);
    assert_true(kd_slice_eq(chars, kd_slice(text, FP)));
}

static void
compare(const struct text_form *form, struct kd_slice text)
{
    static uint8_t room[TEXT_ROOM];
    struct text_values values;
    struct dime_envelope e;

    assert_true(text.n <= sizeof room);
    memset(room, 0, sizeof room);
    memcpy(room, text.p, text.n);
    uint32_t good = text_judge(form, room, (uint32_t)text.n, &values);
    assert_true(good == 0 || good == ~(uint32_t)0);
    if (reads(form, text, &e) != (good != 0))
        fail_msg("judged %d: %.*s", good != 0, (int)text.n, (const char *)text.p);
    n_good += good != 0;
    n_bad += good == 0;
    assert_true(values.address_at + values.address_n <= sizeof room);
    if (good == 0)
        return;
    assert_true(
        kd_slice_eq(e.address, kd_slice(room + values.address_at, values.address_n)));
    assert_fingerprint(e.address_fp, values.address_fp);
    assert_fingerprint(e.domain_fp, values.domain_fp);
}

/* Of either kind, the address known and not. */
static size_t
forms_of(uint8_t type, struct text_form out[2])
{
    bool origin = type == 4;

    out[0] = (struct text_form){
        .kind = origin ? DIME_ENVELOPE_ORIGIN : DIME_ENVELOPE_DESTINATION,
        .domain = kd_slice_str(origin ? "example.org" : "example.com")};
    out[1] = out[0];
    out[1].address = kd_slice_str(origin ? "alice@example.com" : "bob@example.org");
    return 2;
}

static void
texts_changed_anywhere_are_judged_as_they_read(void **state)
{
    (void)state;
    n_good = 0;
    for (uint8_t type = 4; type < 6; type++) {
        struct text_form forms[2];
        char text[512];
        size_t n = strlen(dmw_text(type));
        memcpy(text, dmw_text(type), n);
        for (size_t f = 0; f < forms_of(type, forms); f++)
            for (size_t at = 0; at < n; at++) {
                char was = text[at];
                for (unsigned c = 0; c < 256; c++) {
                    text[at] = (char)c;
                    compare(&forms[f], kd_slice(text, n));
                }
                text[at] = was;
            }
    }
    /* every fingerprint character has 63 others, the last ones of each 3 */
    assert_true(n_good > (uint64_t)4 * 170 * 63);
}

static void
texts_cut_grown_or_empty_are_judged_as_they_read(void **state)
{
    (void)state;
    for (uint8_t type = 4; type < 6; type++) {
        struct text_form forms[2];
        const char *text = dmw_text(type);
        size_t n = strlen(text);
        for (size_t f = 0; f < forms_of(type, forms); f++)
            for (size_t at = 0; at <= n; at++) {
                char longer[512];
                compare(&forms[f], kd_slice(text, at));
                compare(&forms[f], kd_slice(text + at, n - at));
                memcpy(longer, text, at);
                longer[at] = at == n ? 'x' : text[at];
                memcpy(longer + at + 1, text + at, n - at);
                compare(&forms[f], kd_slice(longer, n + 1));
                memcpy(longer + at, text + at + (at < n), n - at - (at < n));
                compare(&forms[f], kd_slice(longer, n - 1));
            }
    }
}

/* --- addresses --- */

static size_t
put(char *out, size_t room, const char *address, size_t n)
{
    int size = snprintf(out, room,
                        "Recipient: <%.*s>\r\nRecipient-Signet: [%.*s]\r\n"
                        "Origin: <example.com>\r\nOrigin-Signet: [%.*s]\r\n",
                        (int)n, address, FP, strchr(dmw_text(5), '[') + 1, FP,
                        strrchr(dmw_text(5), '[') + 1);

    assert_true(size > 0 && (size_t)size < room);
    return (size_t)size;
}

static void
compare_address(const char *address, size_t n)
{
    struct text_form forms[2];
    char text[TEXT_ROOM + 1];

    forms_of(5, forms);
    compare(&forms[0], kd_slice(text, put(text, sizeof text, address, n)));
}

static void
addresses_at_their_limits_are_judged_as_they_read(void **state)
{
    static const char *const parts[] = {
        "a",     "-",  "a-",   "-a",  "a-a",      "1",   "11", "1a",
        "a.",    ".a", "a..a", "a.1", "1.a",      "a.a", "",   "!#$%&'*+-/=?^_`{|}~",
        "\"a\"", "A",  "a b",  "a@a", "\xc3\xa4", "a_a"};
    char address[600], many[300];

    (void)state;
    for (size_t i = 0; i < LEN(parts); i++)
        for (size_t k = 0; k < LEN(parts); k++) {
            int n = snprintf(address, sizeof address, "%s@%s", parts[i], parts[k]);
            compare_address(address, (size_t)n);
        }
    memset(many, 'a', sizeof many);
    for (int local = 60; local < 70; local++)
        for (int label = 58; label < 68; label++) {
            int n = snprintf(address, sizeof address, "%.*s@%.*s.b.%.*s", local, many,
                             label, many, label, many);
            compare_address(address, (size_t)n);
        }
    for (int n = 200; n < 270; n++) {
        for (int i = 0; i < n; i++)
            address[i] = i == 20 ? '@' : i > 20 && i % 40 == 0 ? '.' : 'a';
        compare_address(address, (size_t)n);
    }
}

/* Of few characters, so that what is right is often met. */
static void
made_up_addresses_are_judged_as_they_read(void **state)
{
    static const char letters[] = "aaaabz09.-@@+_A>";
    uint8_t seed[randombytes_SEEDBYTES] = {1}, random[64];

    (void)state;
    n_good = n_bad = 0;
    for (size_t i = 0; i < test_rounds(WHOLE); i++) {
        char address[64];
        seed[1] = (uint8_t)i;
        seed[2] = (uint8_t)(i >> 8);
        seed[3] = (uint8_t)(i >> 16);
        seed[4] = (uint8_t)(i >> 24);
        randombytes_buf_deterministic(random, sizeof random, seed);
        size_t n = random[63] % 16;
        for (size_t k = 0; k < n; k++)
            address[k] = letters[random[k] % (LEN(letters) - 1)];
        compare_address(address, n);
    }
    assert_true(n_good > test_rounds(WHOLE) / 1000);
    assert_true(n_bad > test_rounds(WHOLE) / 2);
    print_message("%llu good, %llu bad\n", (unsigned long long)n_good,
                  (unsigned long long)n_bad);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_changed_anywhere_are_judged_as_they_read),
        cmocka_unit_test(texts_cut_grown_or_empty_are_judged_as_they_read),
        cmocka_unit_test(addresses_at_their_limits_are_judged_as_they_read),
        cmocka_unit_test(made_up_addresses_are_judged_as_they_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
