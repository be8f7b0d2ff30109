/* The text of management records: what is read (T-MR-1 to T-MR-43), what is written,
 * and the authors' own records. */
#include <dime/base64.h>
#include <dime/ed25519.h>
#include <dime/mrec.h>

#include "../support/test.h"
#include "../support/vector.h"

#include <stdio.h>

#define P "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define P2 "5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM"
#define T                                                                              \
    "KD1AtfWhNZwnbTcMYugTNnqLIFtzY0mi1hGLpQGb8BfEncDYRDLX6EeXZ/"                       \
    "IJk0TnnWeAiY+AMbhj4YIpYR4ZBw"
#define MREC KEYD_VECTORS "/mrec"

static struct dime_mrec m;
static struct dime_mrec_note why;

static kd_err
read_text(const char *text)
{
    memset(&m, 0xee, sizeof m);
    return dime_mrec_parse(kd_slice_str(text), &m, &why);
}

static void
is_good(const char *text)
{
    kd_err err = read_text(text);

    if (err != KD_OK)
        fail_msg("%s: %s", text, dime_mrec_text(why.finding));
    assert_int_equal(why.finding, DIME_MREC_FINE);
    assert_true(dime_mrec_is_candidate(kd_slice_str(text)));
}

/* A candidate, and broken for that reason; nothing is given out. */
static void
is_broken(const char *text, enum dime_mrec_finding finding)
{
    static uint8_t untouched[sizeof m];

    memset(untouched, 0xee, sizeof untouched);
    assert_true(dime_mrec_is_candidate(kd_slice_str(text)));
    kd_err err = read_text(text);
    if (err == KD_OK || why.finding != finding)
        fail_msg("%s: %s, not %s", text, dime_mrec_name(why.finding),
                 dime_mrec_name(finding));
    assert_int_equal(err, finding == DIME_MREC_VERSION ? KD_UNSUPPORTED : KD_MALFORMED);
    assert_int_equal(dime_mrec_kind(finding), DIME_MREC_BROKEN);
    assert_memory_equal(&m, untouched, sizeof m);
}

/* Whether linting the text alone, or cut into strings, finds it. */
static bool
lints(const char *const *strings, size_t n, enum dime_mrec_finding finding)
{
    struct kd_slice s[8];
    struct dime_mrec_note notes[64];

    for (size_t i = 0; i < n; i++)
        s[i] = kd_slice_str(strings[i]);
    size_t found = dime_mrec_lint(s, n, notes, 64);
    assert_true(found <= 64);
    for (size_t i = 0; i < found; i++)
        if (notes[i].finding == finding)
            return true;
    return false;
}

static bool
lints_text(const char *text, enum dime_mrec_finding finding)
{
    return lints(&text, 1, finding);
}

/* --- reading --- */

static void
T_MR_1_a_primary_key_alone_is_a_record(void **state)
{
    uint8_t key[DIME_ED25519_KEY_SIZE];

    (void)state;
    is_good("pok=" P);
    assert_int_equal(m.policy, DIME_POLICY_MIXED);
    assert_int_equal(m.sub, DIME_SUB_MIXED);
    assert_int_equal(m.expiry_days, 30);
    assert_int_equal(m.n_poks, 1);
    assert_int_equal(m.n_tls + m.n_dx + m.n_syn, 0);
    assert_int_equal(dime_base64_read(kd_slice_str(P), key, sizeof key), KD_OK);
    assert_memory_equal(m.poks[0], key, sizeof key);
}

static void
T_MR_2_long_names(void **state)
{
    (void)state;
    is_good("primary=" P "; version=1; expiry=7; policy=strict; subdomain=explicit; "
            "deliver=a.example.com; syndicates=b.example.net");
    assert_int_equal(m.n_poks, 1);
    assert_int_equal(m.expiry_days, 7);
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    assert_int_equal(m.sub, DIME_SUB_EXPLICIT);
    assert_int_equal(m.n_dx, 1);
    assert_string_equal(m.dx[0], "a.example.com");
    assert_int_equal(m.n_syn, 1);
    assert_string_equal(m.syn[0], "b.example.net");
}

static void
T_MR_3_case_does_not_matter_and_is_linted(void **state)
{
    (void)state;
    is_good("POK=" P " POL=STRICT SUB=Explicit DX=A.Example.COM");
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    assert_int_equal(m.sub, DIME_SUB_EXPLICIT);
    assert_string_equal(m.dx[0], "a.example.com");
    assert_true(lints_text("POK=" P " pol=strict", DIME_MREC_UPPER_CASE));
    assert_true(lints_text("pok=" P " pol=Strict", DIME_MREC_UPPER_CASE));
    assert_false(lints_text("pok=" P " pol=strict", DIME_MREC_UPPER_CASE));
}

static void
same(const char *text)
{
    is_good(text);
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    assert_int_equal(m.n_poks, 1);
    assert_int_equal(m.n_dx, 2);
    assert_string_equal(m.dx[1], "b.example.com");
}

static void
T_MR_4_T_MR_5_T_MR_7_terminators_spaces_and_order(void **state)
{
    static const char *const texts[] = {
        "pok=" P ";pol=strict;dx=a.example.com;dx=b.example.com",
        "pok=" P " pol=strict dx=a.example.com dx=b.example.com",
        "pok=" P "; pol=strict; dx=a.example.com; dx=b.example.com;",
        "pok=" P "\tpol=strict\t \tdx=a.example.com dx=b.example.com",
        "  \t;; pok=" P " ;;; pol=strict   dx=a.example.com;;dx=b.example.com \t; ",
        "dx=a.example.com dx=b.example.com pol=strict pok=" P,
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        same(texts[i]);
    assert_true(lints_text(texts[3], DIME_MREC_TAB));
    assert_false(lints_text(texts[1], DIME_MREC_TAB));
}

static void
T_MR_6_a_space_before_the_sign_is_broken_and_named(void **state)
{
    (void)state;
    is_broken("pok =" P, DIME_MREC_SPACE_BEFORE_EQUALS);
    is_broken("pok= " P, DIME_MREC_POK_LENGTH);
    is_broken("pok=" P " pol \t= strict", DIME_MREC_SPACE_BEFORE_EQUALS);
    assert_true(lints_text("pok =" P, DIME_MREC_SPACE_BEFORE_EQUALS));
    assert_true(lints_text("pok= " P, DIME_MREC_SPACE_AFTER_EQUALS));
    /* between fields, or of another name, it is no field of ours */
    is_good("pok=" P " zz = 1");
    is_good("pok=" P " pol;=strict");
    assert_int_equal(m.policy, DIME_POLICY_MIXED);
}

static void
T_MR_8_T_MR_9_T_MR_10_fields_that_stand_once(void **state)
{
    (void)state;
    is_good("pok=" P " pol=mixed pol=strict");
    assert_int_equal(m.policy, DIME_POLICY_MIXED);
    assert_true(lints_text("pok=" P " pol=mixed pol=strict", DIME_MREC_REPEATED));
    is_good("pok=" P " pol=bogus pol=strict");
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    assert_true(
        lints_text("pok=" P " pol=bogus pol=strict", DIME_MREC_INVALID_SKIPPED));
    is_good("pok=" P " pol=strict pol=bogus");
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    is_broken("pok=" P " pol=bogus", DIME_MREC_NO_POLICY);
    is_broken("pok=" P " pol=", DIME_MREC_NO_POLICY);
    is_broken("pok=" P " sub=bogus", DIME_MREC_NO_SUB);
    assert_int_equal(why.at, strlen("pok=" P " "));
    assert_int_equal(why.n, strlen("sub=bogus"));
}

static void
T_MR_11_other_words_for_mixed(void **state)
{
    static const char *const words[] = {"loose", "relaxed", "mixed", "LOOSE"};
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        snprintf(text, sizeof text, "sub=%s pok=" P, words[i]);
        is_good(text);
        assert_int_equal(m.sub, DIME_SUB_MIXED);
        assert_true(lints_text(text, DIME_MREC_SUB_MIXED));
    }
    is_good("sub=strict pok=" P);
    assert_int_equal(m.sub, DIME_SUB_STRICT);
}

static void
T_MR_12_unknown_fields_are_ignored(void **state)
{
    (void)state;
    is_good("pok=" P " ttl=1776 zz=1 =3 word");
    assert_true(lints_text("pok=" P " ttl=1776", DIME_MREC_UNKNOWN));
    assert_true(lints_text("pok=" P " word", DIME_MREC_NO_FIELD));
}

static void
T_MR_13_sig_is_no_primary_key(void **state)
{
    (void)state;
    is_broken("sig=" P, DIME_MREC_SIG_FOR_POK);
    assert_true(lints_text("sig=" P, DIME_MREC_SIG_FOR_POK));
    is_good("pok=" P " sig=" P2);
    assert_int_equal(m.n_poks, 1);
    assert_false(dime_mrec_is_candidate(kd_slice_str("sig=short")));
}

static void
T_MR_14_T_MR_15_T_MR_16_T_MR_17_the_text_of_a_primary_key(void **state)
{
    static const char strange[] = "-_*,\"";
    char text[] = "pok=" P;

    (void)state;
    is_broken("pok=" P "A", DIME_MREC_POK_LENGTH);
    is_broken("pok=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUR", DIME_MREC_POK_LENGTH);
    is_broken("pok=", DIME_MREC_POK_LENGTH);
    is_broken("pok=" P "=", DIME_MREC_POK_PADDED);
    for (const char *c = strange; *c != '\0'; c++) {
        text[10] = *c;
        is_broken(text, DIME_MREC_POK_BASE64);
    }
    memcpy(text, "pok=" P, sizeof text);
    for (char c = 'p'; c <= 'r'; c++) { /* o, with one of the two unused bits set */
        text[sizeof text - 2] = c;
        is_broken(text, DIME_MREC_POK_BASE64);
    }
}

static void
T_MR_18_T_MR_19_a_primary_key_is_a_good_point(void **state)
{
    /* y with no x; the identity; orders 2, 4 and 8; y not reduced */
    static const uint8_t bad[][DIME_ED25519_KEY_SIZE] = {
        {2},
        {1},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
         0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
         0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    char text[64] = "pok=";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dime_base64_write(kd_slice(bad[i], sizeof bad[i]), text + 4);
        is_broken(text, DIME_MREC_POK_POINT);
    }
}

static void
T_MR_20_T_MR_21_several_primary_keys(void **state)
{
    (void)state;
    is_good("pok=" P " pok=" P2 " pok=" P);
    assert_int_equal(m.n_poks, 2);
    assert_true(lints_text("pok=" P " pok=" P2 " pok=" P, DIME_MREC_TWICE));
    assert_false(lints_text("pok=" P " pok=" P2, DIME_MREC_TWICE));
    is_broken("pok=" P " pok=" P2 "x", DIME_MREC_POK_LENGTH);
    is_broken("pok=short pok=" P2, DIME_MREC_POK_LENGTH);
    is_broken("pol=mixed dx=a.example.com", DIME_MREC_NO_POK);
}

static void
T_MR_22_T_MR_23_the_text_of_a_tls_value(void **state)
{
    char text[] = "pok=" P " tls=" T;

    (void)state;
    is_good(text);
    assert_int_equal(m.n_tls, 1);
    is_broken("pok=" P " tls=" T "A", DIME_MREC_TLS_LENGTH);
    is_broken("pok=" P " tls=", DIME_MREC_TLS_LENGTH);
    is_broken("pok=" P " tls=" T "==", DIME_MREC_TLS_PADDED);
    is_broken("pok=" P " tls=" T "=", DIME_MREC_TLS_PADDED);
    text[sizeof text - 10] = '-';
    is_broken(text, DIME_MREC_TLS_BASE64);
    memcpy(text, "pok=" P " tls=" T, sizeof text);
    text[sizeof text - 2] = 'x'; /* w, with an unused bit set */
    is_broken(text, DIME_MREC_TLS_BASE64);
    text[sizeof text - 2] = '\0';
    is_broken(text, DIME_MREC_TLS_LENGTH);
}

static void
T_MR_24_T_MR_25_versions(void **state)
{
    static const char *const bad[] = {"2", "0", "x", "", "1x", "-1", "65537", "11"};
    char text[128];

    (void)state;
    is_good("ver=1 pok=" P);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "ver=%s pok=" P, bad[i]);
        is_broken(text, DIME_MREC_VERSION);
        snprintf(text, sizeof text, "ver=1 pok=" P " version=%s", bad[i]);
        is_broken(text, DIME_MREC_VERSION);
    }
}

static void
T_MR_26_T_MR_27_expiry(void **state)
{
    static const char *const bad[] = {"0",   "-1",    "abc",        "",
                                      "1.5", "65536", "99999999999"};
    static const struct {
        const char *text;
        unsigned days;
    } good[] = {{"1", 1}, {"365", 365}, {"366", 365}, {"9999", 365}, {"65535", 365}};
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "exp=%s pok=" P, good[i].text);
        is_good(text);
        assert_int_equal(m.expiry_days, good[i].days);
        assert_int_equal(lints_text(text, DIME_MREC_EXPIRY_CAPPED), i > 1);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "exp=%s pok=" P, bad[i]);
        is_broken(text, DIME_MREC_NO_EXPIRY);
        snprintf(text, sizeof text, "exp=%s pok=" P " exp=7", bad[i]);
        is_good(text);
        assert_int_equal(m.expiry_days, 7);
    }
}

static void
T_MR_28_T_MR_29_addresses_are_no_hosts(void **state)
{
    static const char *const bad[] = {"192.0.2.1",    "2001:db8::1", "[2001:db8::1]",
                                      "192.0.2.1.",   "::1",         "1.2.3.0x7f",
                                      "192.0.2.1:26", "10.1"};
    char text[160];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum dime_mrec_finding f =
            strchr(bad[i], ':') != NULL && strchr(bad[i], '.') != NULL
                ? DIME_MREC_HOST_PORT
                : DIME_MREC_HOST_ADDRESS;
        snprintf(text, sizeof text, "pok=" P " dx=%s", bad[i]);
        is_broken(text, f);
        snprintf(text, sizeof text, "pok=" P " syn=%s", bad[i]);
        is_broken(text, f);
    }
}

static void
T_MR_30_T_MR_31_hosts(void **state)
{
    (void)state;
    is_good("pok=" P " dx=dmtp.example.com.");
    assert_string_equal(m.dx[0], "dmtp.example.com");
    assert_true(lints_text("pok=" P " dx=dmtp.example.com.", DIME_MREC_DOT));
    is_good("pok=" P
            " dx=a.example.com dx=b.example.com dx=c-1.3com.example dx=A.example.COM.");
    assert_int_equal(m.n_dx, 3);
    assert_string_equal(m.dx[2], "c-1.3com.example");
}

static void
what_is_no_fully_qualified_name_is_no_host(void **state)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "localhost",
                                      "a..b",
                                      ".a.b",
                                      "-a.example",
                                      "a-.example",
                                      "a_b.example",
                                      "a.example..",
                                      "a/b.example",
                                      "*.example.com"};
    char text[400], label[65], host[DIME_MREC_HOST_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "pok=" P " dx=%s", bad[i]);
        is_broken(text, DIME_MREC_HOST_NAME);
    }
    memset(label, 'a', sizeof label);
    label[64] = '\0';
    snprintf(text, sizeof text, "pok=" P " dx=%s.example", label);
    is_broken(text, DIME_MREC_HOST_NAME);
    snprintf(text, sizeof text, "pok=" P " dx=%s.example", label + 1);
    is_good(text);
    /* 253 characters, 254 with the dot, and one more */
    snprintf(text, sizeof text, "%s.%s.%s.%s.", label + 1, label + 1, label + 1,
             label + 3);
    assert_int_equal(strlen(text), 254);
    assert_int_equal(dime_mrec_host(kd_slice_str(text), host), DIME_MREC_FINE);
    assert_int_equal(strlen(host), 253);
    snprintf(text, sizeof text, "%s.%s.%s.%s", label + 1, label + 1, label + 1,
             label + 2);
    assert_int_equal(dime_mrec_host(kd_slice_str(text), host), DIME_MREC_HOST_NAME);
    assert_int_equal(dime_mrec_host(kd_slice_str("a.example:26"), host),
                     DIME_MREC_HOST_PORT);
}

static void
T_MR_32_T_MR_34_what_is_no_candidate(void **state)
{
    static const char *const others[] = {"v=spf1 -all",
                                         "v=spf1 include:example.com ~all",
                                         "pok",
                                         "",
                                         "google-site-verification=abc",
                                         "v=DKIM1; k=rsa; p=MIGf",
                                         "strict",
                                         "= " P};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(dime_mrec_is_candidate(kd_slice_str(others[i])));
    assert_true(dime_mrec_is_candidate(kd_slice_str("x=1 dx=nothing")));
    assert_true(dime_mrec_is_candidate(kd_slice_str("PRIMARY=")));
}

static void
T_MR_43_control_characters_break_a_record(void **state)
{
    static const uint8_t bad[] = {'\r', '\n', 0, 0x1f, 0x7f, 0x80, 0xff, 0x0b};
    char text[] = "pok=" P " pol=strict";

    (void)state;
    for (size_t i = 0; i < sizeof bad; i++) {
        memcpy(text, "pok=" P " pol=strict", sizeof text);
        text[4 + 43] = (char)bad[i];
        assert_int_equal(dime_mrec_parse(kd_slice(text, sizeof text - 1), &m, &why),
                         KD_MALFORMED);
        assert_int_equal(why.finding, DIME_MREC_OCTET);
        assert_int_equal(why.at, 4 + 43);
        assert_true(dime_mrec_is_candidate(kd_slice(text, sizeof text - 1)));
    }
}

static void
limits_on_memory_are_errors_and_no_cuts(void **state)
{
    struct kd_buf b;
    static const struct {
        const char *what;
        unsigned most;
        enum dime_mrec_finding finding;
    } limits[] = {
        {"pok=" P " ", DIME_MREC_POKS_MAX, DIME_MREC_TOO_MANY_POKS},
        {"dx=h%u.example.com ", DIME_MREC_HOSTS_MAX, DIME_MREC_TOO_MANY_HOSTS},
        {"syn=h%u.example.com ", DIME_MREC_HOSTS_MAX, DIME_MREC_TOO_MANY_HOSTS}};

    (void)state;
    kd_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (unsigned more = 0; more < 2; more++) {
            kd_buf_reset(&b);
            if (i != 0)
                kd_buf_printf(&b, "pok=" P " ");
            for (unsigned k = 0; k < limits[i].most + more; k++)
                if (i == 0)
                    kd_buf_printf(&b, "pok=" P " ");
                else
                    kd_buf_printf(&b, "%s=h%u.example.com ", i == 1 ? "dx" : "syn", k);
            kd_err err = dime_mrec_parse(kd_buf_slice(&b), &m, &why);
            assert_int_equal(err, more == 0 ? KD_OK : KD_MALFORMED);
            assert_int_equal(why.finding,
                             more == 0 ? DIME_MREC_FINE : limits[i].finding);
        }
    kd_buf_reset(&b);
    while (b.n <= DIME_MREC_TEXT_MAX)
        kd_buf_printf(&b, "zz=1 ");
    assert_int_equal(dime_mrec_parse(kd_buf_slice(&b), &m, &why), KD_MALFORMED);
    assert_int_equal(why.finding, DIME_MREC_TOO_LONG);
    assert_int_equal(dime_mrec_parse(kd_slice(NULL, 0), &m, &why), KD_MALFORMED);
    assert_int_equal(why.finding, DIME_MREC_EMPTY);
    kd_buf_free(&b);
}

/* --- strings --- */

static void
T_MR_35_T_MR_36_strings_are_joined_as_they_are(void **state)
{
    static const char *const well[] = {"pok=" P " ", "tls=" T " ", "pol=strict"};
    static const char *const cut[] = {"pok=" P " tls=KD1AtfWhNZwnbTcMYugT", &T[20]};
    static const char *const bare[] = {"pok=" P, " pol=strict"};
    struct kd_slice s[3];
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_MREC_TEXT_MAX);
    for (size_t i = 0; i < 3; i++)
        s[i] = kd_slice_str(well[i]);
    assert_int_equal(dime_mrec_join(s, 3, &b), KD_OK);
    assert_int_equal(dime_mrec_parse(kd_buf_slice(&b), &m, NULL), KD_OK);
    assert_int_equal(m.n_tls, 1);
    assert_int_equal(m.policy, DIME_POLICY_STRICT);
    assert_false(lints(well, 3, DIME_MREC_STRING_SPLITS));
    assert_false(lints(well, 3, DIME_MREC_STRING_ENDS));

    kd_buf_reset(&b);
    s[0] = kd_slice_str(cut[0]);
    s[1] = kd_slice_str(cut[1]);
    assert_int_equal(dime_mrec_join(s, 2, &b), KD_OK);
    assert_int_equal(dime_mrec_parse(kd_buf_slice(&b), &m, NULL), KD_OK);
    assert_int_equal(m.n_tls, 1);
    assert_true(lints(cut, 2, DIME_MREC_STRING_SPLITS));
    assert_int_equal(dime_mrec_kind(DIME_MREC_STRING_SPLITS), DIME_MREC_FAULT);
    assert_true(lints(bare, 2, DIME_MREC_STRING_ENDS));
    assert_false(lints(bare, 2, DIME_MREC_STRING_SPLITS));

    s[0] = kd_slice(cut, DIME_MREC_TEXT_MAX);
    s[1] = kd_slice(cut, 1);
    assert_int_equal(dime_mrec_join(s, 2, &b), KD_TOO_LARGE);
    kd_buf_free(&b);
}

/* --- writing --- */

/* With n hosts and n_tls signatures; the others are the defaults. */
static struct dime_mrec
record_of(unsigned n_tls, unsigned n_hosts)
{
    struct dime_mrec r = {.expiry_days = DIME_MREC_EXPIRY, .n_poks = 1, .n_tls = n_tls};

    assert_int_equal(dime_base64_read(kd_slice_str(P), r.poks[0], 32), KD_OK);
    for (unsigned i = 0; i < n_tls; i++)
        memset(r.tls[i], (int)i + 1, sizeof r.tls[i]);
    for (unsigned i = 0; i < n_hosts; i++)
        snprintf(r.dx[r.n_dx++], sizeof r.dx[0], "dmtp%u.mail.example.com", i);
    return r;
}

static void
comes_back(const struct dime_mrec *r, const struct dime_mrec_strings *s)
{
    struct kd_slice parts[64];
    struct dime_mrec_note notes[8];
    struct kd_buf b;
    size_t size = 0;

    kd_buf_init(&b, DIME_MREC_TEXT_MAX);
    for (size_t i = 0; i < s->n; i++) {
        parts[i] = kd_slice_str(s->text[i]);
        size += parts[i].n;
        assert_in_range(parts[i].n, 1, DIME_MREC_STRING_MAX);
        assert_int_equal(parts[i].p[parts[i].n - 1], ' ');
    }
    assert_int_equal(size, s->size);
    assert_int_equal(dime_mrec_join(parts, s->n, &b), KD_OK);
    assert_int_equal(dime_mrec_parse(kd_buf_slice(&b), &m, NULL), KD_OK);
    assert_int_equal(m.policy, r->policy);
    assert_int_equal(m.sub, r->sub);
    assert_int_equal(m.expiry_days, r->expiry_days);
    assert_int_equal(m.n_poks, r->n_poks);
    assert_int_equal(m.n_tls, r->n_tls);
    assert_memory_equal(m.tls, r->tls, r->n_tls * sizeof r->tls[0]);
    assert_int_equal(m.n_dx, r->n_dx);
    for (size_t i = 0; i < m.n_dx; i++)
        assert_string_equal(m.dx[i], r->dx[i]);
    size_t n = dime_mrec_lint(parts, s->n, notes, 8);
    for (size_t i = 0; i < n && i < 8; i++)
        assert_int_equal(dime_mrec_kind(notes[i].finding), DIME_MREC_ADVICE);
    kd_buf_free(&b);
}

static void
T_MR_37_T_MR_38_T_MR_39_what_is_written(void **state)
{
    static struct dime_mrec_strings s;
    struct dime_mrec r = record_of(4, 8);

    (void)state;
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    assert_true(s.size > 600);
    assert_true(s.n >= 3);
    comes_back(&r, &s);
    const char *const strings[] = {s.text[0], s.text[1], s.text[2], s.text[3]};
    assert_true(lints(strings, s.n, DIME_MREC_WIDE));

    r = record_of(2, 1);
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    assert_true(s.size <= DIME_MREC_WIDE_MAX);
    assert_non_null(strstr(s.text[0], "ver=1 pok=" P " "));
    comes_back(&r, &s);
    unsigned n_policies = 0;
    for (size_t i = 0; i < s.n; i++) {
        assert_null(strstr(s.text[i], "sub="));
        n_policies += strstr(s.text[i], "pol=mixed ") != NULL;
    }
    assert_int_equal(n_policies, 1);

    r.sub = DIME_SUB_EXPLICIT;
    r.policy = DIME_POLICY_STRICT;
    r.expiry_days = 7;
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    comes_back(&r, &s);
}

static void
what_cannot_be_written_is_an_error(void **state)
{
    static struct dime_mrec_strings s;
    struct dime_mrec r = record_of(0, 0);

    (void)state;
    r.n_poks = 0;
    assert_int_equal(dime_mrec_write(&r, &s), KD_INVALID);
    r = record_of(0, 1);
    memset(r.dx[0], 'a', 252);
    r.dx[0][252] = '\0';
    assert_int_equal(dime_mrec_write(&r, &s), KD_TOO_LARGE);
    r = record_of(DIME_MREC_TLS_MAX, 32); /* two in a string, 32 of them, and hosts */
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    comes_back(&r, &s);
}

static void
a_record_is_written_for_zones_and_for_nsupdate(void **state)
{
    static struct dime_mrec_strings s;
    struct dime_mrec r = record_of(0, 1);
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 65536);
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    dime_mrec_put_zone(&b, &s, "example.com", 3600);
    kd_buf_u8(&b, 0);
    assert_int_equal(b.err, KD_OK);
    assert_string_equal((const char *)b.p,
                        "_dime.example.com. 3600 IN TXT \"ver=1 pok=" P
                        " pol=mixed dx=dmtp0.mail.example.com \"\n"
                        "_dx.example.com. 3600 IN TXT \"ver=1 pok=" P
                        " pol=mixed dx=dmtp0.mail.example.com \"\n");
    kd_buf_reset(&b);
    dime_mrec_put_update(&b, &s, "example.com", 60);
    kd_buf_u8(&b, 0);
    assert_string_equal((const char *)b.p,
                        "update delete _dime.example.com. TXT\n"
                        "update add _dime.example.com. 60 TXT \"ver=1 pok=" P
                        " pol=mixed dx=dmtp0.mail.example.com \"\n"
                        "update delete _dx.example.com. TXT\n"
                        "update add _dx.example.com. 60 TXT \"ver=1 pok=" P
                        " pol=mixed dx=dmtp0.mail.example.com \"\nsend\n");
    kd_buf_free(&b);
}

/* --- the authors' records --- */

/* As libdime judged them (INDEX.md), but for what the specification reads otherwise. */
static const struct {
    const char *name;
    kd_err err;
    enum dime_mrec_policy policy;
    enum dime_mrec_sub sub;
    size_t n_poks, n_tls, n_dx;
} vectors[] = {
    {"minimal.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 0, 0},
    {"versioned.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 0, 0},
    {"longnames.txt", KD_OK, DIME_POLICY_STRICT, DIME_SUB_EXPLICIT, 1, 0, 1},
    {"unknownfield.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 0, 0},
    {"sub-mixed.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 0, 0},
    {"tab.txt", KD_OK, DIME_POLICY_STRICT, DIME_SUB_MIXED, 1, 0, 0},
    {"orga.mrec.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_STRICT, 1, 1, 1},
    {"tls-both.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 2, 1},
    {"tls-der-only.txt", KD_OK, DIME_POLICY_MIXED, DIME_SUB_MIXED, 1, 1, 1},
    {"padded-pok.txt", KD_MALFORMED, 0, 0, 0, 0, 0},
    {"short-pok.txt", KD_MALFORMED, 0, 0, 0, 0, 0},
    {"no-pok.txt", KD_MALFORMED, 0, 0, 0, 0, 0},
    {"bad-pol.txt", KD_MALFORMED, 0, 0, 0, 0, 0},
    {"ver2.txt", KD_UNSUPPORTED, 0, 0, 0, 0, 0},
};

/* A file ends in a line end, a record does not. */
static struct kd_slice
vector(const char *name)
{
    struct kd_slice v = vector_read(MREC, name);

    assert_non_null(v.p);
    while (v.n != 0 && v.p[v.n - 1] == '\n')
        v.n--;
    return v;
}

static void
the_authors_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct kd_slice v = vector(vectors[i].name);
        kd_err err = dime_mrec_parse(v, &m, &why);
        if (err != vectors[i].err)
            fail_msg("%s: %s", vectors[i].name, dime_mrec_text(why.finding));
        if (err == KD_OK) {
            assert_int_equal(m.policy, vectors[i].policy);
            assert_int_equal(m.sub, vectors[i].sub);
            assert_int_equal(m.n_poks, vectors[i].n_poks);
            assert_int_equal(m.n_tls, vectors[i].n_tls);
            assert_int_equal(m.n_dx, vectors[i].n_dx);
        }
        vector_free(v);
    }
}

/* libdime's rules: what it takes is read in order, the first tls value alone is tried;
 * tabs and sub=mixed are refused. */
static void
T_MR_103_records_made_here_are_taken_by_libdime(void **state)
{
    static struct dime_mrec_strings s;
    struct dime_mrec r = record_of(4, 3);

    (void)state;
    assert_int_equal(dime_mrec_write(&r, &s), KD_OK);
    for (size_t i = 0; i < s.n; i++) {
        assert_null(strchr(s.text[i], '\t'));
        assert_null(strstr(s.text[i], "sub=mixed"));
        for (const char *c = s.text[i]; *c != '\0'; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
    }
    comes_back(&r, &s); /* the tls values in the order given */
}

/* --- certificates --- */

/* The DER of the authors' certificate, out of its PEM. */
static size_t
certificate(uint8_t der[4096])
{
    struct kd_slice v = vector_read(MREC, "dx.orga.example.crt.pem");
    const char *begin = strstr((const char *)v.p, "CERTIFICATE-----\n");
    char text[8192];
    size_t n = 0;

    assert_non_null(begin);
    for (const char *c = begin + 17; *c != '-'; c++)
        if (*c != '\n' && *c != '=')
            text[n++] = *c;
    vector_free(v);
    size_t size = n * 3 / 4;
    assert_int_equal(dime_base64_read(kd_slice(text, n), der, size), KD_OK);
    return size;
}

static void
read_vector(const char *name)
{
    struct kd_slice v = vector(name);

    assert_int_equal(dime_mrec_parse(v, &m, NULL), KD_OK);
    vector_free(v);
}

static void
T_MR_77_T_MR_78_T_MR_79_T_MR_80_certificates_are_matched(void **state)
{
    uint8_t der[4096];
    size_t n = certificate(der), which = 9;

    (void)state;
    read_vector("orga.mrec.txt"); /* over SHA-512 of the DER */
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, n), &which), KD_OK);
    assert_int_equal(which, 0);
    read_vector("tls-der-only.txt");
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, n), NULL), KD_OK);
    /* made by the second key; the third value */
    memcpy(m.poks[1], m.poks[0], 32);
    memcpy(m.tls[2], m.tls[0], 64);
    memset(m.tls[0], 3, 64);
    memset(m.tls[1], 4, 64);
    assert_int_equal(dime_base64_read(kd_slice_str(P), m.poks[0], 32), KD_OK);
    m.n_poks = 2;
    m.n_tls = 3;
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, n), &which), KD_OK);
    assert_int_equal(which, 2);
    m.n_poks = 1;
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, n), NULL), KD_NOT_FOUND);
    m.n_poks = 2;
    der[100] ^= 1;
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, n), NULL), KD_NOT_FOUND);
    assert_int_equal(dime_mrec_tls_match(&m, kd_slice(der, 65537), NULL), KD_TOO_LARGE);
}

static void
every_finding_has_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIME_MREC_FINDINGS; i++) {
        assert_true(strlen(dime_mrec_text((enum dime_mrec_finding)i)) > 4);
        assert_true(strlen(dime_mrec_name((enum dime_mrec_finding)i)) > 2);
    }
    assert_string_equal(dime_mrec_text(DIME_MREC_FINDINGS), "?");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_1_a_primary_key_alone_is_a_record),
        cmocka_unit_test(T_MR_2_long_names),
        cmocka_unit_test(T_MR_3_case_does_not_matter_and_is_linted),
        cmocka_unit_test(T_MR_4_T_MR_5_T_MR_7_terminators_spaces_and_order),
        cmocka_unit_test(T_MR_6_a_space_before_the_sign_is_broken_and_named),
        cmocka_unit_test(T_MR_8_T_MR_9_T_MR_10_fields_that_stand_once),
        cmocka_unit_test(T_MR_11_other_words_for_mixed),
        cmocka_unit_test(T_MR_12_unknown_fields_are_ignored),
        cmocka_unit_test(T_MR_13_sig_is_no_primary_key),
        cmocka_unit_test(T_MR_14_T_MR_15_T_MR_16_T_MR_17_the_text_of_a_primary_key),
        cmocka_unit_test(T_MR_18_T_MR_19_a_primary_key_is_a_good_point),
        cmocka_unit_test(T_MR_20_T_MR_21_several_primary_keys),
        cmocka_unit_test(T_MR_22_T_MR_23_the_text_of_a_tls_value),
        cmocka_unit_test(T_MR_24_T_MR_25_versions),
        cmocka_unit_test(T_MR_26_T_MR_27_expiry),
        cmocka_unit_test(T_MR_28_T_MR_29_addresses_are_no_hosts),
        cmocka_unit_test(T_MR_30_T_MR_31_hosts),
        cmocka_unit_test(what_is_no_fully_qualified_name_is_no_host),
        cmocka_unit_test(T_MR_32_T_MR_34_what_is_no_candidate),
        cmocka_unit_test(T_MR_43_control_characters_break_a_record),
        cmocka_unit_test(limits_on_memory_are_errors_and_no_cuts),
        cmocka_unit_test(T_MR_35_T_MR_36_strings_are_joined_as_they_are),
        cmocka_unit_test(T_MR_37_T_MR_38_T_MR_39_what_is_written),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
        cmocka_unit_test(a_record_is_written_for_zones_and_for_nsupdate),
        cmocka_unit_test(the_authors_records),
        cmocka_unit_test(T_MR_103_records_made_here_are_taken_by_libdime),
        cmocka_unit_test(T_MR_77_T_MR_78_T_MR_79_T_MR_80_certificates_are_matched),
        cmocka_unit_test(every_finding_has_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
