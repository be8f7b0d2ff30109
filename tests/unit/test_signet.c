/* Signets: tables, identifiers, informational streams, walking, building and splitting.
 * What the specification's cases ask for is in tests/conformance/test_sg_*.c. */
#include "sg.h"
#include "test.h"

#include <dime/build.h>
#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/info.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SLICE(literal) kd_slice("" literal, sizeof literal - 1)

static void
assert_why(enum dime_reason got, enum dime_reason want)
{
    assert_string_equal(dime_reason_name(got), dime_reason_name(want));
}

static void
every_reason_has_a_text_and_only_fine_is_ok(void **state)
{
    (void)state;
    for (int i = 0; i < DIME_REASON_COUNT; i++) {
        enum dime_reason why = (enum dime_reason)i;
        assert_true(strlen(dime_reason_text(why)) > 5);
        assert_true(strlen(dime_reason_name(why)) > 3);
        assert_int_equal(dime_reason_err(why) == KD_OK, why == DIME_FINE);
    }
    assert_int_equal(dime_reason_err((enum dime_reason)9999), KD_FAILED);
}

/* D-038: the table's shapes agree with the ranges, so that a reader without the table
 * skips the same octets. */
static void
shapes_of_the_tables_agree_with_the_ranges(void **state)
{
    (void)state;
    for (int kind = DIME_ORG; kind <= DIME_USER; kind++) {
        for (unsigned type = 16; type < 256; type++) {
            const struct dime_field_def *def =
                dime_field_def((enum dime_kind)kind, (uint8_t)type);
            enum dime_shape want = type < 160    ? DIME_SHAPE_LEN1
                                   : type < 251  ? DIME_SHAPE_LEN2
                                   : type == 251 ? DIME_SHAPE_NAMED
                                   : type == 252 ? DIME_SHAPE_LEN3
                                   : type == 254 ? DIME_SHAPE_IDENTIFIER
                                                 : DIME_SHAPE_SIGNATURE;
            if (def == NULL) {
                assert_true(type < 251); /* those are laid out by the table alone */
                continue;
            }
            assert_int_equal(def->type, type);
            assert_int_equal(def->shape, want);
        }
    }
}

static void
tables_are_of_their_kind(void **state)
{
    (void)state;
    assert_string_equal(dime_field_def(DIME_ORG, 1)->label,
                        "Primary-Organizational-Key");
    assert_string_equal(dime_field_def(DIME_USER, 1)->label, "Signing-Key");
    assert_string_equal(dime_field_def(DIME_ORG, 200)->label, "Contact-Abuse");
    assert_string_equal(dime_field_def(DIME_USER, 200)->label, "Alternate-Address");
    assert_string_equal(dime_field_def(DIME_USER, 17)->label, "Address");
    assert_string_equal(dime_field_def(DIME_USER, 25)->label, "Motto");
    assert_null(dime_field_def(DIME_ORG, 93));
    assert_null(dime_field_def(DIME_ORG, 5));
    assert_null(dime_field_def(DIME_USER, 7));
    assert_non_null(dime_field_def(DIME_SSR, 5));
    assert_null(dime_field_def(DIME_SSR, 6));
    assert_null(dime_field_def(DIME_SSR, 16));
    assert_int_equal(dime_field_def(DIME_USER, 202)->count, DIME_MANY);
    assert_int_equal(dime_field_def(DIME_ORG, 202)->count, DIME_UNIQUE);
}

static void
identifiers_have_one_form(void **state)
{
    static const char *const domains[] = {
        "example.com", "a", "xn--bcher-kva.example", "a-b.c1", "1.example", "0x7f.a"};
    static const char *const not_domains[] = {
        "",       ".",   "a.",  ".a",  "a..b",    "A.com",       "a_b.com", "-a.com",
        "a-.com", "a b", "a/b", "a@b", "1.2.3.4", "example.123", "[::1]",   "a\n"};
    static const char *const addresses[] = {"alice@example.com", "a.b-c+d_e@x", "1@a",
                                            "!#$%&'*+-/=?^_`{|}~@a"};
    static const char *const not_addresses[] = {
        "alice",       "@a",    "a@",     "a@b@c",   ".a@b",  "a.@b",
        "a..b@c",      "A@b",   "a@B",    "\"a\"@b", "a b@c", "a@b.",
        "a@127.0.0.1", "a,b@c", "\x80@a", "a\0b@c"};

    (void)state;
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
        assert_true(dime_identifier_is_domain(kd_slice_str(domains[i])));
        assert_false(dime_identifier_is_address(kd_slice_str(domains[i])));
    }
    for (size_t i = 0; i < sizeof not_domains / sizeof not_domains[0]; i++)
        assert_false(dime_identifier_is_domain(kd_slice_str(not_domains[i])));
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_true(dime_identifier_is_address(kd_slice_str(addresses[i])));
        assert_false(dime_identifier_is_domain(kd_slice_str(addresses[i])));
    }
    for (size_t i = 0; i < sizeof not_addresses / sizeof not_addresses[0]; i++)
        assert_false(dime_identifier_is_address(kd_slice_str(not_addresses[i])));
    assert_false(dime_identifier_is_domain(SLICE("a\0b")));
    assert_false(dime_identifier_is_address(SLICE("a\0b@c")));
    assert_true(kd_slice_eq(dime_identifier_domain(kd_slice_str("a@b.c")),
                            kd_slice_str("b.c")));
}

static void
identifier_sizes_are_bounded(void **state)
{
    char s[300];

    (void)state;
    memset(s, 'a', sizeof s);
    assert_true(dime_identifier_is_domain(kd_slice(s, 63)));
    assert_false(dime_identifier_is_domain(kd_slice(s, 64)));
    for (size_t i = 50; i < sizeof s; i += 50)
        s[i] = '.';
    assert_true(dime_identifier_is_domain(kd_slice(s, 253)));
    assert_false(dime_identifier_is_domain(kd_slice(s, 254)));
    s[1] = '@';
    assert_true(dime_identifier_is_address(kd_slice(s, 254)));
    assert_false(dime_identifier_is_address(kd_slice(s, 255)));
    memset(s, 'a', sizeof s);
    memcpy(s + 64, "@a", 2);
    assert_true(dime_identifier_is_address(kd_slice(s, 66)));
    memcpy(s + 64, "a@a", 3);
    assert_false(dime_identifier_is_address(kd_slice(s, 67)));
}

static void
queries_are_folded_to_that_form(void **state)
{
    static const struct {
        const char *query, *want; /* NULL: refused */
    } rows[] = {
        {"Example.COM", "example.com"},
        {"example.com.", "example.com"},
        {"Alice@Example.com", "alice@example.com"},
        {"ALICE@EXAMPLE.COM.", "alice@example.com"},
        {"example.com..", NULL},
        {".", NULL},
        {"", NULL},
        {"<a@b>", NULL},
        {"b\xc3\xbc"
         "cher.example",
         NULL},
        {"a b@c", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[DIME_IDENTIFIER_CHARS];
        size_t n = 0;
        kd_err err = dime_identifier_fold(kd_slice_str(rows[i].query), out, &n);
        assert_int_equal(err, rows[i].want == NULL ? KD_MALFORMED : KD_OK);
        if (rows[i].want != NULL)
            assert_true(kd_slice_eq(kd_slice(out, n), kd_slice_str(rows[i].want)));
    }
    char big[400], out[DIME_IDENTIFIER_CHARS];
    size_t n;
    memset(big, 'a', sizeof big);
    assert_int_equal(dime_identifier_fold(kd_slice(big, sizeof big), out, &n),
                     KD_MALFORMED);
}

static enum dime_reason
filtered(enum dime_kind kind, struct kd_slice in, struct kd_slice want)
{
    struct kd_buf out;
    enum dime_reason why;

    kd_buf_init(&out, 4096);
    kd_err err = dime_info_filter(kind, in, &out, &why);
    assert_int_equal(err, dime_reason_err(why));
    if (why == DIME_FINE)
        assert_true(kd_slice_eq(kd_buf_slice(&out), want));
    kd_buf_free(&out);
    return why;
}

static void
filter_lets_through_only_what_may_be_issued(void **state)
{
    const struct kd_slice none = {0};

    (void)state;
    assert_why(filtered(DIME_USER, none, none), DIME_FINE);
    assert_why(filtered(DIME_USER, SLICE("\x10\x01x"), SLICE("\x10\x01x")), DIME_FINE);
    /* empty fields are dropped, yet count for order and uniqueness */
    assert_why(filtered(DIME_USER, SLICE("\x10\x00\x11\x01y"), SLICE("\x11\x01y")),
               DIME_FINE);
    assert_why(filtered(DIME_USER, SLICE("\x10\x00\x10\x01x"), none), DIME_DUPLICATE);
    assert_why(filtered(DIME_USER, SLICE("\x11\x00\x10\x01x"), none), DIME_ORDER);
    assert_why(filtered(DIME_USER, SLICE("\x15\x00\x15\x01\x31\x15\x01\x32"),
                        SLICE("\x15\x01\x31\x15\x01\x32")),
               DIME_FINE);
    /* types without a meaning, in this kind or at all */
    assert_why(filtered(DIME_USER, SLICE("\x1c\x01x"), none), DIME_UNASSIGNED_FIELD);
    assert_why(filtered(DIME_ORG, SLICE("\x5d\x01x"), none), DIME_UNASSIGNED_FIELD);
    assert_why(filtered(DIME_USER, SLICE("\x5d\x01x"), SLICE("\x5d\x01x")), DIME_FINE);
    assert_why(filtered(DIME_USER, SLICE("\xcb\x00\x01x"), none),
               DIME_UNASSIGNED_FIELD);
    /* what is not informational */
    assert_why(filtered(DIME_USER, SLICE("\x06\x01x"), none), DIME_NOT_INFORMATIONAL);
    assert_why(filtered(DIME_ORG, SLICE("\x02\x01x"), none), DIME_NOT_INFORMATIONAL);
    assert_why(filtered(DIME_USER, SLICE("\xfe\x01x"), none), DIME_NOT_INFORMATIONAL);
    assert_why(filtered(DIME_USER, SLICE("\x10\x01x\x00"), none),
               DIME_NOT_INFORMATIONAL);
    /* what does not parse */
    assert_why(filtered(DIME_USER, SLICE("\x10"), none), DIME_FIELD_OVERFLOW);
    assert_why(filtered(DIME_USER, SLICE("\x10\x02x"), none), DIME_FIELD_OVERFLOW);
    assert_why(filtered(DIME_USER, SLICE("\xfb\x01X\x00\x02v"), none),
               DIME_FIELD_OVERFLOW);
}

static void
filter_stops_at_the_limit_of_its_buffer(void **state)
{
    struct kd_buf out;
    enum dime_reason why;

    (void)state;
    kd_buf_init(&out, 2);
    assert_int_equal(dime_info_filter(DIME_USER, SLICE("\x10\x01x"), &out, &why),
                     KD_TOO_LARGE);
    assert_why(why, DIME_OVERSIZE);
    kd_buf_free(&out);
}

static void
walk_yields_every_field_and_keys_without_dressing(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_sok sok = {5, &w->sok};

    (void)state;
    for (int layout = 0; layout < DIME_LAYOUT_COUNT; layout++) {
        static const uint8_t types[] = {1, 2, 3, 4, 16, 40, 253, 254, 255};
        struct dime_signet s;
        struct dime_walk walk;
        struct dime_field f;
        enum dime_reason why;
        struct kd_buf b;
        size_t n = 0, size = 5;
        struct kd_slice org =
            sg_make_org(&b, &(struct sg_org){.layout = (enum dime_layout)layout,
                                             .soks = &sok,
                                             .n_soks = 1,
                                             .extra = SLICE("\x10\x01x\x28\x01y")});
        assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
        dime_walk_signet(&walk, &s);
        while (dime_walk_next(&walk, &f)) {
            assert_int_equal(f.type, types[n++]);
            size += f.raw.n;
            assert_int_equal(f.def == NULL, f.type == 40);
            assert_int_equal(f.flags, f.type == 2 ? 5 : 0);
            if (f.type == 1)
                assert_true(kd_slice_eq(f.value, kd_slice(w->pok.key, 32)));
            if (f.type == 2)
                assert_true(kd_slice_eq(f.value, kd_slice(w->sok.key, 32)));
            if (f.type == 3)
                assert_int_equal(f.value.n, layout == DIME_LAYOUT_S32 ? 32 : 33);
        }
        assert_why(walk.why, DIME_FINE);
        assert_int_equal(n, sizeof types);
        assert_int_equal(size, org.n);
        kd_buf_free(&b);
    }
}

/* 8 million fields in 16 MiB: no memory, and time as for the octets alone. */
static void
signet_of_tiny_fields_costs_no_memory_and_little_time(void **state)
{
    struct kd_buf extra, b;
    struct dime_signet s;
    enum dime_reason why;
    size_t n = (DIME_FIELDS_MAX - 400) / 2;
    struct timespec from, to;

    (void)state;
    kd_buf_init(&extra, DIME_SIGNET_MAX);
    uint8_t *room = kd_buf_add(&extra, 2 * n);
    assert_non_null(room);
    for (size_t i = 0; i < n; i++) {
        room[2 * i] = 28; /* unknown, empty */
        room[2 * i + 1] = 0;
    }
    struct kd_slice org =
        sg_make_org(&b, &(struct sg_org){.extra = kd_buf_slice(&extra)});
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double took =
        (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    assert_true(took < 20); /* about 0.1 s; much more under valgrind */
    kd_buf_free(&extra);
    kd_buf_free(&b);
}

static void
find_passes_over_empty_fields(void **state)
{
    struct kd_buf b;
    struct dime_signet s;
    struct dime_field f;
    enum dime_reason why;
    struct kd_slice org =
        sg_make_org(&b, &(struct sg_org){.extra = SLICE("\x15\x00\x15\x01\x37")});

    (void)state;
    assert_int_equal(dime_signet_parse(org, &s, &why), KD_OK);
    assert_int_equal(dime_signet_find(&s, DIME_FIELD_PHONE, &f), KD_OK);
    assert_true(kd_slice_eq(f.value, kd_slice_str("7")));
    assert_int_equal(dime_signet_find(&s, DIME_FIELD_MOTTO, &f), KD_NOT_FOUND);
    assert_null(dime_signet_signature(&s, DIME_FIELD_PHONE));
    assert_int_equal(dime_signet_covered(&s, DIME_FIELD_MOTTO).n, 0);
    kd_buf_free(&b);
}

static void
kinds_are_told_apart_when_asked_for(void **state)
{
    struct kd_buf b;
    struct dime_signet s;
    enum dime_reason why;
    struct kd_slice org = sg_make_org(&b, &(struct sg_org){0});

    (void)state;
    assert_int_equal(dime_signet_parse_as(DIME_USER, org, &s, &why), KD_MALFORMED);
    assert_why(why, DIME_WRONG_KIND);
    assert_int_equal(dime_signet_parse_as(DIME_ORG, org, &s, &why), KD_OK);
    kd_buf_free(&b);
}

static void
parts_are_those_of_the_kind(void **state)
{
    struct kd_buf o, u, r;
    struct dime_signet org, user, ssr;
    struct kd_slice part;
    enum dime_reason why;

    (void)state;
    assert_int_equal(
        dime_signet_parse(sg_make_org(&o, &(struct sg_org){0}), &org, &why), KD_OK);
    assert_int_equal(
        dime_signet_parse(sg_make_user(&u, &(struct sg_user){0}), &user, &why), KD_OK);
    assert_int_equal(
        dime_signet_parse(sg_make_user(&r, &(struct sg_user){.request = true}), &ssr,
                          &why),
        KD_OK);
    assert_int_equal(dime_signet_part(&org, DIME_PART_REQUEST, &part), KD_NOT_FOUND);
    assert_int_equal(dime_signet_part(&ssr, DIME_PART_CORE, &part), KD_NOT_FOUND);
    assert_int_equal(dime_signet_part(&ssr, DIME_PART_REQUEST, &part), KD_OK);
    assert_true(kd_slice_eq(part, kd_slice(ssr.raw.p + 5, ssr.raw.n - 5)));
    assert_true(dime_signet_same_link(&user, &ssr));
    assert_false(dime_signet_same_link(&user, &org));
    assert_false(dime_signet_same_link(&org, &org));
    kd_buf_free(&o);
    kd_buf_free(&u);
    kd_buf_free(&r);
}

static void
splits_are_of_what_is_there_and_signed(void **state)
{
    struct kd_buf b, out;
    struct dime_signet s;
    enum dime_reason why;

    (void)state;
    kd_buf_init(&out, 4096);
    struct kd_slice octets =
        sg_make_user(&b, &(struct sg_user){.until = DIME_PART_CORE});
    assert_int_equal(dime_signet_parse(octets, &s, &why), KD_OK);
    assert_int_equal(dime_split(&s, DIME_PART_FULL, &out), KD_NOT_FOUND);
    assert_int_equal(dime_split(&s, DIME_PART_REQUEST, &out), KD_NOT_FOUND);
    assert_int_equal(dime_split(&s, DIME_PART_CORE, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), octets));
    kd_buf_free(&b);
    /* an organization's core without field 4 would be unsigned */
    octets = sg_make_org(&b, &(struct sg_org){.no_self = true});
    assert_int_equal(dime_signet_parse(octets, &s, &why), KD_OK);
    assert_int_equal(dime_split(&s, DIME_PART_CORE, &out), KD_NOT_FOUND);
    size_t before = out.n;
    out.max = before + 10;
    assert_int_equal(dime_split(&s, DIME_PART_FULL, &out), KD_TOO_LARGE);
    assert_int_equal(out.n, before);
    assert_int_equal(out.err, KD_OK);
    kd_buf_free(&b);
    octets =
        sg_make_org(&b, &(struct sg_org){.no_self = true, .until = DIME_PART_CORE});
    assert_why(sg_parse_why(octets), DIME_MISSING_FIELD);
    kd_buf_free(&b);
    kd_buf_free(&out);
}

static void
fingerprint_text_is_read_strictly(void **state)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE], again[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1];

    (void)state;
    for (size_t i = 0; i < sizeof fp; i++)
        fp[i] = (uint8_t)(i * 7 + 1);
    dime_fingerprint_text(fp, text);
    assert_int_equal(strlen(text), 86);
    assert_int_equal(dime_fingerprint_read(kd_slice(text, 86), again), KD_OK);
    assert_memory_equal(again, fp, sizeof fp);
    assert_int_equal(dime_fingerprint_read(kd_slice(text, 85), again), KD_MALFORMED);
    text[85] = (char)(text[85] + 1); /* an unused bit */
    assert_int_equal(dime_fingerprint_read(kd_slice(text, 86), again), KD_MALFORMED);
    text[85] = '=';
    assert_int_equal(dime_fingerprint_read(kd_slice(text, 86), again), KD_MALFORMED);
}

/* D-066: SHA-512 of both full fingerprints, author first; checked with another
 * implementation. */
static void
ephemeral_fingerprint_takes_the_author_first(void **state)
{
    uint8_t a[64], b[64], ab[64], ba[64];
    char text[DIME_FINGERPRINT_CHARS + 1];

    (void)state;
    memset(a, 1, sizeof a);
    memset(b, 2, sizeof b);
    dime_fingerprint_ephemeral(a, b, ab);
    dime_fingerprint_ephemeral(b, a, ba);
    assert_memory_not_equal(ab, ba, 64);
    dime_fingerprint_text(ab, text);
    assert_string_equal(text,
                        "qRRteHkVo2C/C88itxF/baFPL+L41/"
                        "xwuCAXmlZT1wagj6l92uaNjsl4NTTTXAhx8FbiVDPSeQnXFH9ufCF2Eg");
}

/* Counts, checks order, and fails when told to. */
struct counting_signer {
    struct sg_pair pair;
    unsigned n_calls;
    unsigned fail_at; /* 0: never */
    size_t last_size;
};

static kd_err
count_and_sign(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    struct counting_signer *s = ctx;

    s->n_calls++;
    assert_true(message.n > s->last_size);
    assert_int_equal(message.p[0], 1); /* a stream of fields (D-085) */
    s->last_size = message.n;
    if (s->n_calls == s->fail_at)
        return KD_BUSY;
    return sg_signer(&s->pair, message, sig);
}

static struct dime_org_plan
org_plan(void)
{
    const struct sg_world *w = sg_world();

    return (struct dime_org_plan){.pok = w->pok.key,
                                  .enc_key = w->org_enc,
                                  .identifier = kd_slice_str("example.com")};
}

/* The plan is refused, nothing is left in the buffer and nothing was signed. */
static void
assert_not_built(const struct dime_org_plan *plan, enum dime_reason want)
{
    struct counting_signer signer = {.pair = sg_world()->pok};
    enum dime_reason why;
    struct kd_buf out;

    kd_buf_init(&out, 4096);
    kd_buf_u8(&out, 'x');
    kd_err err =
        dime_org_build(plan, (struct dime_signer){count_and_sign, &signer}, &out, &why);
    assert_why(why, want);
    assert_int_equal(err, dime_reason_err(want));
    assert_int_equal(signer.n_calls, 0);
    assert_int_equal(kd_buf_slice(&out).n, 1);
    kd_buf_free(&out);
}

static void
unfit_org_signets_are_not_built(void **state)
{
    static const uint8_t voids[] = {0, 8, 16, 17, 129};
    const struct sg_world *w = sg_world();
    struct dime_sok soks[65];
    uint8_t bad_point[33] = {5};
    struct dime_org_plan plan;

    (void)state;
    for (int layout = DIME_LAYOUT_M; layout < DIME_LAYOUT_COUNT; layout++) {
        plan = org_plan();
        plan.layout = (enum dime_layout)layout;
        if (plan.layout != DIME_LAYOUT_S33)
            assert_not_built(&plan, DIME_LAYOUT_NOT_ISSUED);
    }
    plan = org_plan();
    plan.pok = (const uint8_t[32]){1};
    assert_not_built(&plan, DIME_BAD_POINT);
    plan = org_plan();
    plan.enc_key = bad_point;
    assert_not_built(&plan, DIME_BAD_ENC_POINT);
    plan = org_plan();
    plan.identifier = kd_slice_str("Example.com");
    assert_not_built(&plan, DIME_IDENTIFIER_FORM);
    plan.identifier = kd_slice_str("a@example.com");
    assert_not_built(&plan, DIME_IDENTIFIER_FORM);
    plan = org_plan();
    plan.info = SLICE("\x1c\x01x");
    assert_not_built(&plan, DIME_UNASSIGNED_FIELD);
    plan.info = SLICE("\x11\x01x\x10\x01x");
    assert_not_built(&plan, DIME_ORDER);
    plan = org_plan();
    plan.soks = soks;
    plan.n_soks = 1;
    memcpy(soks[0].key, w->sok.key, 32);
    for (size_t i = 0; i < sizeof voids; i++) {
        soks[0].perms = voids[i];
        assert_not_built(&plan, DIME_VOID_SOK);
    }
    soks[0].perms = 1;
    memcpy(soks[0].key, w->pok.key, 32);
    assert_not_built(&plan, DIME_SOK_REPEATED);
    memcpy(soks[0].key, w->sok.key, 32);
    soks[1] = soks[0];
    plan.n_soks = 2;
    assert_not_built(&plan, DIME_SOK_REPEATED);
    memset(soks[1].key, 0, 32);
    assert_not_built(&plan, DIME_BAD_POINT);
    plan.n_soks = 65;
    assert_not_built(&plan, DIME_TOO_MANY_SOKS);
}

static void
failing_signer_leaves_nothing_behind(void **state)
{
    struct dime_org_plan plan = org_plan();
    enum dime_reason why;
    struct kd_buf out;

    (void)state;
    kd_buf_init(&out, 4096);
    for (unsigned at = 1; at <= 4; at++) {
        struct counting_signer signer = {.pair = sg_world()->pok, .fail_at = at};
        struct dime_signer by = {count_and_sign, &signer};
        kd_err err = dime_org_build(&plan, by, &out, &why);
        assert_int_equal(err, at <= 3 ? KD_BUSY : KD_OK);
        assert_why(why, at <= 3 ? DIME_NOT_MADE : DIME_FINE);
        assert_int_equal(signer.n_calls, at <= 3 ? at : 3);
        assert_int_equal(out.n != 0, at > 3);
    }
    kd_buf_free(&out);
}

/* Readers tell layouts apart by the points, so what only looks like another layout is
 * built. Of these keys some twenty make a signet whose fields fit in a second one. */
static void
keys_that_could_end_like_fields_of_another_layout_are_built_with(void **state)
{
    enum { SIGNETS = 4000 };
    struct dime_sok soks[] = {{.perms = 3, .authorised = true}};
    struct dime_org_plan plan = org_plan();
    struct dime_signet own;
    enum dime_reason why;
    struct kd_buf out;

    (void)state;
    plan.soks = soks;
    plan.n_soks = 1;
    kd_buf_init(&out, 4096);
    for (unsigned i = 0; i < SIGNETS; i++) {
        char text[32];
        snprintf(text, sizeof text, "pok %u", i);
        struct sg_pair pok = sg_pair_text(text);
        snprintf(text, sizeof text, "sok %u", i);
        struct sg_pair sok = sg_pair_text(text);
        memcpy(soks[0].key, sok.key, sizeof soks[0].key);
        plan.pok = pok.key;
        kd_buf_reset(&out);
        kd_err err =
            dime_org_build(&plan, (struct dime_signer){sg_signer, &pok}, &out, &why);
        assert_why(why, DIME_FINE);
        assert_int_equal(err, KD_OK);
        assert_int_equal(
            dime_signet_parse_own(DIME_ORG, kd_buf_slice(&out), &own, &why), KD_OK);
    }
    kd_buf_free(&out);
}

static void
builders_stop_at_the_limits(void **state)
{
    struct sg_pair pok = sg_world()->pok;
    struct dime_signer by = {sg_signer, &pok};
    struct dime_org_plan plan = org_plan();
    enum dime_reason why;
    struct kd_buf out, info;

    (void)state;
    for (size_t max = 0; max < 284; max++) {
        kd_buf_init(&out, max);
        assert_int_equal(dime_org_build(&plan, by, &out, &why), KD_TOO_LARGE);
        assert_why(why, DIME_OVERSIZE);
        assert_int_equal(out.n, 0);
        kd_buf_free(&out);
    }
    /* an image that leaves one octet too little, then just enough */
    size_t image = DIME_SIGNET_MAX - 284 - 4;
    for (size_t n = image; n <= image + 1; n++) {
        kd_buf_init(&info, DIME_SIGNET_MAX);
        kd_buf_init(&out, (size_t)DIME_SIGNET_MAX + 4096);
        kd_buf_u8(&info, 252);
        kd_buf_u24(&info, (uint32_t)n);
        uint8_t *room = kd_buf_add(&info, n);
        assert_non_null(room);
        memset(room, 1, n);
        plan.info = kd_buf_slice(&info);
        kd_err err = dime_org_build(&plan, by, &out, &why);
        assert_why(why, n == image ? DIME_FINE : DIME_OVERSIZE);
        assert_int_equal(err, n == image ? KD_OK : KD_TOO_LARGE);
        assert_int_equal(out.n, n == image ? DIME_SIGNET_MAX : 0);
        kd_buf_free(&out);
        kd_buf_free(&info);
    }
    /* a buffer that is broken already stays so */
    kd_buf_init(&out, 1);
    kd_buf_u16(&out, 1);
    assert_int_equal(dime_org_build(&plan, by, &out, &why), KD_TOO_LARGE);
    assert_int_equal(out.err, KD_TOO_LARGE);
    kd_buf_free(&out);
}

static void
built_signets_may_follow_one_another_in_a_buffer(void **state)
{
    struct sg_pair pok = sg_world()->pok;
    struct dime_signer by = {sg_signer, &pok};
    struct dime_org_plan plan = org_plan();
    enum dime_reason why;
    struct kd_buf out;

    (void)state;
    kd_buf_init(&out, 4096);
    assert_int_equal(dime_org_build(&plan, by, &out, &why), KD_OK);
    assert_int_equal(dime_org_build(&plan, by, &out, &why), KD_OK);
    assert_int_equal(out.n, 2 * 284);
    assert_memory_equal(out.p, out.p + 284, 284);
    assert_why(sg_org_why(kd_slice(out.p + 284, 284), sg_world()->pok.key), DIME_FINE);
    kd_buf_free(&out);
}

/* D-073: signed anew by the same key it comes out the same; by another it is the same
 * link, with the same profile. */
static void
assert_reissued(const struct dime_signet *user, struct kd_slice octets)
{
    struct sg_pair sok = sg_world()->sok, pok = sg_world()->pok;
    struct dime_user_plan plan = {
        .ssr = user, .info = dime_signet_info(user), .identifier = user->identifier};
    struct dime_signet anew;
    enum dime_reason why;
    struct kd_buf b;

    kd_buf_init(&b, 4096);
    assert_int_equal(
        dime_user_build(&plan, (struct dime_signer){sg_signer, &sok}, &b, &why), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&b), octets));
    kd_buf_reset(&b);
    assert_int_equal(
        dime_user_build(&plan, (struct dime_signer){sg_signer, &pok}, &b, &why), KD_OK);
    assert_false(kd_slice_eq(kd_buf_slice(&b), octets));
    assert_int_equal(dime_signet_parse(kd_buf_slice(&b), &anew, &why), KD_OK);
    assert_true(dime_signet_same_link(&anew, user));
    assert_true(kd_slice_eq(dime_signet_info(&anew), dime_signet_info(user)));
    kd_buf_free(&b);
}

/* A request in any layout becomes a user signet with the same octets in front. */
static void
user_signet_keeps_what_the_user_signed(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair sok = w->sok;
    struct sg_sok bits = {1, &w->sok};
    struct kd_buf o;
    struct kd_slice org = sg_make_org(&o, &(struct sg_org){.soks = &bits, .n_soks = 1});
    const struct kd_slice alternate[] = {{0}, SLICE("\x03\x03\x04\x01\x02")};

    (void)state;
    for (int i = 0; i < 2 * DIME_LAYOUT_COUNT; i++) {
        struct kd_buf r, out;
        struct dime_signet ssr, user;
        enum dime_reason why;
        struct kd_slice request =
            sg_make_user(&r, &(struct sg_user){.layout = (enum dime_layout)(i / 2),
                                               .before_5 = alternate[i % 2],
                                               .custody_by = &w->alice0,
                                               .request = true});
        assert_int_equal(dime_signet_parse(request, &ssr, &why), KD_OK);
        struct dime_user_plan plan = {.ssr = &ssr,
                                      .info = SLICE("\x10\x05"
                                                    "Alice\x11\x00"),
                                      .identifier = kd_slice_str("alice@example.com")};
        kd_buf_init(&out, 4096);
        assert_int_equal(
            dime_user_build(&plan, (struct dime_signer){sg_signer, &sok}, &out, &why),
            KD_OK);
        assert_memory_equal(out.p + 5, r.p + 5, r.n - 5);
        assert_why(sg_user_why(kd_buf_slice(&out), org, kd_slice(NULL, 0)), DIME_FINE);
        assert_int_equal(dime_signet_parse(kd_buf_slice(&out), &user, &why), KD_OK);
        assert_int_equal(user.layout, i / 2);
        assert_int_equal(user.first[17], 0); /* empty fields are not emitted */
        assert_true(dime_signet_same_link(&user, &ssr));
        assert_reissued(&user, kd_buf_slice(&out));
        plan.ssr = &ssr;
        plan.identifier = kd_slice_str("example.com");
        assert_int_equal(
            dime_user_build(&plan, (struct dime_signer){sg_signer, &sok}, &out, &why),
            KD_INVALID);
        assert_why(why, DIME_IDENTIFIER_FORM);
        kd_buf_free(&r);
        kd_buf_free(&out);
    }
    kd_buf_free(&o);
}

static void
unfit_requests_are_not_built(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair alice = w->alice;
    struct counting_signer none = {.pair = w->alice0, .fail_at = 1};
    struct dime_signer own = {sg_signer, &alice}, custody = {count_and_sign, &none};
    struct dime_ssr_plan plan = {.sign_key = w->alice.key, .enc_key = w->alice_enc};
    enum dime_reason why;
    struct kd_buf out;

    (void)state;
    kd_buf_init(&out, 4096);
    plan.layout = DIME_LAYOUT_P;
    assert_int_equal(dime_ssr_build(&plan, own, &out, &why), KD_UNSUPPORTED);
    assert_why(why, DIME_LAYOUT_NOT_ISSUED);
    /* an organization is no request */
    struct kd_buf b;
    struct dime_signet org;
    assert_int_equal(
        dime_signet_parse(sg_make_org(&b, &(struct sg_org){0}), &org, &why), KD_OK);
    struct dime_user_plan user = {.ssr = &org, .identifier = kd_slice_str("a@b")};
    assert_int_equal(dime_user_build(&user, own, &out, &why), KD_MALFORMED);
    assert_why(why, DIME_WRONG_KIND);
    assert_int_equal(dime_signet_info(&org).n, 0);
    kd_buf_free(&b);
    plan.layout = DIME_LAYOUT_S33;
    assert_int_equal(dime_ssr_build(&plan, own, &out, &why), KD_OK);
    assert_why(sg_ssr_why(kd_buf_slice(&out), kd_slice(NULL, 0)), DIME_FINE);
    kd_buf_reset(&out);
    plan.custody = &custody;
    assert_int_equal(dime_ssr_build(&plan, own, &out, &why), KD_BUSY);
    assert_int_equal(out.n, 0);
    kd_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_has_a_text_and_only_fine_is_ok),
        cmocka_unit_test(shapes_of_the_tables_agree_with_the_ranges),
        cmocka_unit_test(tables_are_of_their_kind),
        cmocka_unit_test(identifiers_have_one_form),
        cmocka_unit_test(identifier_sizes_are_bounded),
        cmocka_unit_test(queries_are_folded_to_that_form),
        cmocka_unit_test(filter_lets_through_only_what_may_be_issued),
        cmocka_unit_test(filter_stops_at_the_limit_of_its_buffer),
        cmocka_unit_test(walk_yields_every_field_and_keys_without_dressing),
        cmocka_unit_test(signet_of_tiny_fields_costs_no_memory_and_little_time),
        cmocka_unit_test(find_passes_over_empty_fields),
        cmocka_unit_test(kinds_are_told_apart_when_asked_for),
        cmocka_unit_test(parts_are_those_of_the_kind),
        cmocka_unit_test(splits_are_of_what_is_there_and_signed),
        cmocka_unit_test(fingerprint_text_is_read_strictly),
        cmocka_unit_test(ephemeral_fingerprint_takes_the_author_first),
        cmocka_unit_test(unfit_org_signets_are_not_built),
        cmocka_unit_test(failing_signer_leaves_nothing_behind),
        cmocka_unit_test(
            keys_that_could_end_like_fields_of_another_layout_are_built_with),
        cmocka_unit_test(builders_stop_at_the_limits),
        cmocka_unit_test(built_signets_may_follow_one_another_in_a_buffer),
        cmocka_unit_test(user_signet_keeps_what_the_user_signed),
        cmocka_unit_test(unfit_requests_are_not_built),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
