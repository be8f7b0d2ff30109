/* Nothing that is signed as one thing can be read as another (D-085): DIME
 * separates signatures by nothing but how what they cover begins. Every kind of signed
 * octets is offered to every purpose of the token, and, put into every kind of object
 * with every signature it may bear, to every parser. */
#include "mailw.h"
#include "test.h"

#include <dime/fingerprint.h>
#include <keyd/base/be.h>

#include <sodium.h>
#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { LIMIT = 1 << 20 };

static struct mailw *x;

/* --- who reads what --- */

enum reader { ORG, USER, SSR, MESSAGE, NAKED, BOUNCE, READERS };

#define BIT(reader) (1u << (reader))

static const char *const reader_names[READERS] = {
    "org signet", "user signet", "SSR", "message", "naked mail", "bounce"};

/* Whether it is an object with a signature over just those octets. */

static bool
signet_covers(enum dime_kind kind, struct kd_slice octets, struct kd_slice what)
{
    static const uint8_t types[] = {4, 5, 6, 253, 255};
    static struct dime_signet s;
    enum dime_reason why;

    if (dime_signet_parse_as(kind, octets, &s, &why) != KD_OK)
        return false;
    for (size_t i = 0; i < LEN(types); i++)
        if (dime_signet_signature(&s, types[i]) != NULL &&
            kd_slice_eq(dime_signet_covered(&s, types[i]), what))
            return true;
    return false;
}

static struct kd_slice
covered(const struct dime_message *m, uint8_t type)
{
    return kd_slice(m->source.p + m->begin,
                    (size_t)(dime_message_signed_until(m, type) - m->begin));
}

/* 225 signs hashes, which nobody mistakes for chunks. */
static bool
message_covers(const struct dime_message *m, struct kd_slice what)
{
    static const uint8_t types[] = {226, 248, 249, 255};

    for (size_t i = 0; i < LEN(types); i++)
        if (dime_message_chunk(m, types[i]) != NULL &&
            kd_slice_eq(covered(m, types[i]), what))
            return true;
    return false;
}

static bool
reads(enum reader reader, struct kd_slice octets, struct kd_slice what)
{
    const struct dime_source source = dime_source_of(octets);
    static const enum dime_kind kinds[] = {DIME_ORG, DIME_USER, DIME_SSR};
    struct dime_message m;
    struct dime_naked n;
    struct dime_bounce b;

    switch (reader) {
    case ORG:
    case USER:
    case SSR:
        return signet_covers(kinds[reader], octets, what);
    case MESSAGE:
        return dime_message_parse(&source, LIMIT, &m, NULL) == KD_OK &&
               message_covers(&m, what);
    case NAKED:
        return dime_naked_parse(&source, LIMIT, &n, NULL) == KD_OK &&
               message_covers(&n.m, what);
    case BOUNCE:
        return dime_bounce_parse(&source, LIMIT, &b, NULL) == KD_OK &&
               kd_slice_eq(kd_slice(octets.p + b.outer.begin,
                                    (size_t)(b.organization.at - b.outer.begin)),
                           what);
    case READERS:
        break;
    }
    return false;
}

/* Header and body, as an object of the reader's. */
static struct kd_slice
object(enum reader reader, struct kd_slice body, struct kd_buf *out)
{
    static const uint16_t magics[READERS] = {1776, 1789, 1215, 1847, 1908, 1931};

    kd_buf_reset(out);
    kd_buf_u16(out, magics[reader]);
    if (reader <= SSR)
        kd_buf_u24(out, (uint32_t)body.n);
    else
        kd_buf_u32(out, (uint32_t)body.n);
    kd_buf_put(out, body);
    return kd_buf_slice(out);
}

/* --- what is signed --- */

#define PURPOSE(name) (1u << KD_SIGN_##name)

struct input {
    const char *name;
    bool is_ours;      /* signed with a key of the organization */
    unsigned purposes; /* that take it; 0 for what others sign */
    unsigned readers;  /* of whose objects it is what a signature covers */
    struct kd_slice octets;
};

enum { INPUTS_MAX = 64 };
static struct input inputs[INPUTS_MAX];
static size_t n_inputs;

static void
put(const char *name, bool is_ours, unsigned purposes, unsigned readers,
    struct kd_slice octets)
{
    uint8_t *copy = malloc(octets.n);

    assert_non_null(copy);
    assert_true(n_inputs < INPUTS_MAX);
    memcpy(copy, octets.p, octets.n);
    inputs[n_inputs++] =
        (struct input){name, is_ours, purposes, readers, kd_slice(copy, octets.n)};
}

/* Two purposes sign field streams, and two sign hashes and certificates: roles keep
 * those apart (uses.def). */
static void
put_signets(void)
{
    static const char *const orgs[] = {"appendix/ORG1.b64", "appendix/ORG2.b64",
                                       "appendix/ORG1-P.b64", "appendix/ORG1-S33.b64"};
    static const char *const users[] = {"appendix/USER0.b64", "appendix/USER1.b64"};
    static const uint8_t org_types[] = {4, 253, 255}, user_types[] = {6, 253, 255};
    const unsigned streams = PURPOSE(ORG_SIGNET) | PURPOSE(USER_SIGNET);
    struct dime_signet s;
    enum dime_reason why;

    for (size_t i = 0; i < LEN(orgs); i++) {
        struct kd_slice file = sg_file(orgs[i]);
        assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
        for (size_t t = 0; t < 3; t++)
            put("org signet", true, streams, BIT(ORG),
                dime_signet_covered(&s, org_types[t]));
        sg_free(file);
    }
    for (size_t i = 0; i < LEN(users); i++) {
        struct kd_slice file = sg_file(users[i]);
        assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
        for (size_t t = 0; t < 3; t++)
            put("user signet", true, streams, BIT(USER),
                dime_signet_covered(&s, user_types[t]));
        /* the user's own, which is the beginning of both */
        put("SSR", false, 0, BIT(USER) | BIT(SSR), dime_signet_covered(&s, 5));
        sg_free(file);
    }
}

static void
put_messages(void)
{
    const struct dime_source source = dime_source_of(mailw_msg());
    const struct dmw_chunk text = {.type = 4, .data = kd_slice_str(dmw_text(4))};
    uint8_t hashes[8 * 64];
    struct dime_message m;

    assert_int_equal(dime_message_parse(&source, LIMIT, &m, NULL), KD_OK);
    put("248", true, PURPOSE(MESSAGE), BIT(MESSAGE), covered(&m, 248));
    put("249", true, PURPOSE(MESSAGE), BIT(MESSAGE), covered(&m, 249));
    put("255", true, PURPOSE(MESSAGE), BIT(MESSAGE), covered(&m, 255));
    put("226", false, 0, BIT(MESSAGE), covered(&m, 226));
    memset(hashes, 2, sizeof hashes);
    put("225", false, 0, 0, kd_slice(hashes, sizeof hashes));
    struct kd_slice plain = dmw_plain(&text);
    put("chunk", false, 0, 0, kd_slice(plain.p + 64, plain.n - 64));
    sg_free(plain);
}

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    unsigned *n = ctx;

    memset(sig, 7, 64);
    if (++*n == 1)
        put("report", true, PURPOSE(REPORT), 0, message);
    else
        put("bounce", true, PURPOSE(BOUNCE), BIT(BOUNCE), message);
    return KD_OK;
}

static void
put_bounces(void)
{
    const struct dime_source source = dime_source_of(mailw_msg());
    struct dime_message m;
    struct kd_buf b;
    char id[87];

    assert_int_equal(dime_message_parse(&source, LIMIT, &m, NULL), KD_OK);
    dime_fingerprint_text(x->org.full, id);
    for (int part = 0; part < DIME_RETURN_COUNT; part++) {
        unsigned n = 0;
        const struct dime_report report = {.domain = kd_slice_str("example.org"),
                                           .klass = 5,
                                           .message = kd_slice(id, 86),
                                           .part = (enum dime_return)part};
        const struct dime_bounce_plan plan = {.origin = x->ours[0],
                                              .report = &report,
                                              .message = &m,
                                              .organization = {sign, &n}};
        kd_buf_init(&b, LIMIT);
        assert_int_equal(dime_bounce_build(&plan, &b), KD_OK);
        assert_int_equal(n, 2);
        kd_buf_free(&b);
    }
}

static void
put_naked(void)
{
    const struct dime_content part = {.type = 67,
                                      .data = dime_source_of(kd_slice_str("Hello."))};
    const struct dime_naked_plan plan = {.recipient = sg_world()->bob_enc,
                                         .common = kd_slice_str(dmw_text(33)),
                                         .headers = kd_slice_str(dmw_text(34)),
                                         .contents = &part,
                                         .n_contents = 1};
    struct dime_naked n;
    struct kd_buf b;

    kd_buf_init(&b, LIMIT);
    assert_int_equal(dime_naked_build(&plan, &b), KD_OK);
    const struct dime_source source = dime_source_of(kd_buf_slice(&b));
    assert_int_equal(dime_naked_parse(&source, LIMIT, &n, NULL), KD_OK);
    put("naked 255", true, PURPOSE(NAKED), BIT(NAKED), covered(&n.m, 255));
    put("naked 226", false, 0, BIT(NAKED), covered(&n.m, 226));
    kd_buf_free(&b);
}

/* What is no object of DIME: hashes and certificates of tls= and of fields, DKIM, and
 * our own texts. */
static void
put_others(void)
{
    static const uint8_t der[300] = {0x30, 0x82, 1, 40, 0x30, 0x82};
    static const char probe[] = "keyd probe01234567890123456789012345678901";
    const unsigned hashes = PURPOSE(TLS_HASH) | PURPOSE(CERTIFICATE_HASH);
    const unsigned certificates = PURPOSE(TLS_DER) | PURPOSE(CERTIFICATE_DER);
    uint8_t hash[64] = {1};

    put("SHA-512 of a certificate", true, hashes, 0, kd_slice(hash, sizeof hash));
    hash[0] = 2; /* a hash may begin as anything does */
    put("SHA-512 of a certificate", true, hashes, 0, kd_slice(hash, sizeof hash));
    memset(hash, 0, sizeof hash);
    put("SHA-512 of a certificate", true, hashes, 0, kd_slice(hash, sizeof hash));
    put("certificate", true, certificates, 0, kd_slice(der, sizeof der));
    put("DKIM digest", true, PURPOSE(DKIM), 0, kd_slice(hash, 32));
    put("checkpoint", true, PURPOSE(AUDIT), 0,
        kd_slice_str("keyd checkpoint\nexample.com\n17\n"));
    put("probe", true, PURPOSE(PROBE), 0, kd_slice_str(probe));
}

static int
set_up(void **state)
{
    (void)state;
    x = mailw(1 << 16);
    put_signets();
    put_messages();
    put_bounces();
    put_naked();
    put_others();
    return 0;
}

/* --- purposes --- */

/* Behind the ephemeral key. */
enum { TYPE_AT = 37 };

static void
what_is_signed_fits_its_own_purpose_alone(void **state)
{
    size_t n_fits = 0;

    (void)state;
    for (size_t i = 0; i < n_inputs; i++)
        for (unsigned p = 0; p < KD_SIGN_COUNT; p++) {
            const struct input *in = &inputs[i];
            if (!in->is_ours)
                continue;
            bool fits = kd_purpose_fits((enum kd_sign_purpose)p, in->octets) == KD_OK;
            bool own = (in->purposes & (1u << p)) != 0;
            if (fits != own)
                fail_msg("%s: %s", in->name, kd_purpose_name((enum kd_sign_purpose)p));
            n_fits += fits;
        }
    assert_true(n_fits > n_inputs);
}

static void
a_bounce_begins_as_no_message_does(void **state)
{
    size_t n_messages = 0, n_bounces = 0;

    (void)state;
    for (size_t i = 0; i < n_inputs; i++) {
        const struct input *in = &inputs[i];
        if ((in->purposes & PURPOSE(MESSAGE)) != 0) {
            assert_true(in->octets.p[TYPE_AT] == 3 || in->octets.p[TYPE_AT] == 4);
            n_messages++;
        }
        if ((in->purposes & PURPOSE(BOUNCE)) != 0) {
            assert_int_equal(in->octets.p[TYPE_AT], 6);
            n_bounces++;
        }
    }
    assert_int_equal(n_messages, 3);
    assert_int_equal(n_bounces, 3);
}

/* No stream is the beginning of another kind's, so that no longer one of one kind is
 * read as a shorter one of another. */
static void
kinds_differ_where_they_begin(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_inputs; i++)
        for (size_t k = 0; k < n_inputs; k++) {
            const struct input *a = &inputs[i], *b = &inputs[k];
            size_t n = a->octets.n < b->octets.n ? a->octets.n : b->octets.n;
            bool fixed = a->octets.n == 64 || b->octets.n == 64 || a->octets.n == 32 ||
                         b->octets.n == 32; /* told by their size */
            if (!a->is_ours || !b->is_ours || (a->purposes & b->purposes) != 0 || fixed)
                continue;
            assert_memory_not_equal(a->octets.p, b->octets.p, n);
        }
}

/* --- parsers --- */

/* What can stand behind what is signed: signatures, in all the ways that objects bear
 * them. The values are nobody's; parsers look at none. */
struct ending {
    uint8_t head[8];
    size_t head_n, slots; /* of 64 octets, behind one of 64 */
    const char *tail;
};

static const struct ending endings[] = {
    {{4}, 1, 0, ""},
    {{5}, 1, 0, ""},
    {{6}, 1, 0, ""},
    {{253}, 1, 0, ""},
    {{254, 11}, 2, 0, NULL}, /* an identifier in place of the 64 */
    {{255}, 1, 0, ""},
    {{225, 0, 0, 64}, 4, 3, ""},
    {{226, 0, 0, 64}, 4, 3, ""},
    {{225, 0, 0, 64}, 4, 1, ""},
    {{226, 0, 0, 64}, 4, 1, ""},
    {{248, 0, 0, 64}, 4, 4, ""},
    {{249, 0, 0, 64}, 4, 4, ""},
    {{255, 0, 0, 64}, 4, 4, ""},
    {{255, 0, 0, 64}, 4, 0, ""},
};

static void
put_ending(struct kd_buf *b, const struct ending *e)
{
    static const uint8_t value[64 * 5] = {9};

    kd_buf_put(b, kd_slice(e->head, e->head_n));
    if (e->tail == NULL)
        kd_buf_put(b, kd_slice_str("example.com"));
    else
        kd_buf_put(b, kd_slice(value, 64 * (1 + e->slots)));
}

static size_t n_offered, n_read[READERS];

/* To every parser. */
static void
offer(const struct input *in, struct kd_slice body, struct kd_buf *room)
{
    for (unsigned r = 0; r < READERS; r++) {
        bool read =
            reads((enum reader)r, object((enum reader)r, body, room), in->octets);
        if (read && (in->readers & BIT(r)) == 0)
            fail_msg("%s is read as %s", in->name, reader_names[r]);
        n_offered++;
        n_read[r] += read;
    }
}

/* Up to three signatures behind it. */
static void
offer_with_endings(const struct input *in, struct kd_buf *body, struct kd_buf *room)
{
    const size_t base = LEN(endings) + 1; /* 0: none */

    for (size_t i = 0; i < base * base * base; i++) {
        kd_buf_reset(body);
        kd_buf_put(body, in->octets);
        for (size_t rest = i; rest != 0; rest /= base)
            if (rest % base != 0)
                put_ending(body, &endings[rest % base - 1]);
        offer(in, kd_buf_slice(body), room);
    }
}

static void
what_is_signed_is_read_as_nothing_else(void **state)
{
    struct kd_buf body, room;

    (void)state;
    kd_buf_init(&body, LIMIT);
    kd_buf_init(&room, LIMIT);
    for (size_t i = 0; i < n_inputs; i++)
        offer_with_endings(&inputs[i], &body, &room);
    kd_buf_free(&body);
    kd_buf_free(&room);
    print_message("%zu signed, %zu offered\n", n_inputs, n_offered);
    /* that right ones were among them */
    for (unsigned r = 0; r < READERS; r++)
        if (n_read[r] == 0)
            fail_msg("no %s was read", reader_names[r]);
}

/* As it is, header and all: an object in place of what is signed. */
static void
whole_objects_are_no_signed_octets(void **state)
{
    const struct kd_slice objects[] = {x->org.octets, x->other_org.octets, mailw_msg()};

    (void)state;
    for (size_t i = 0; i < LEN(objects); i++)
        for (unsigned p = 0; p < KD_SIGN_COUNT; p++)
            assert_int_equal(kd_purpose_fits((enum kd_sign_purpose)p, objects[i]),
                             KD_INVALID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_fits_its_own_purpose_alone),
        cmocka_unit_test(a_bounce_begins_as_no_message_does),
        cmocka_unit_test(kinds_differ_where_they_begin),
        cmocka_unit_test(what_is_signed_is_read_as_nothing_else),
        cmocka_unit_test(whole_objects_are_no_signed_octets),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
