/* Naked mail as the gateway stores it. */
#include "dmj.h"
#include "mail.h"
#include "test.h"

#include <dime/naked.h>

#include <keyd/base/be.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIMIT = 1 << 20, SECRET_ROOM = 4096 };

static const char common[] =
    "Date: \r\nTo: alice@example.com\r\nFrom: x@legacy.example\r\n"
    "Subject: not protected\r\n";
static const char headers[] = "Received: from legacy.example\r\n";
static const char body[] = "Content-Type: text/plain\r\n\r\nHello, Alice.\r\n";

static const struct mail_people *people;

static int
set_up(void **state)
{
    (void)state;
    people = mail_people(SECRET_ROOM);
    return 0;
}

/* --- helpers --- */

static struct dime_naked_plan
plan_of(const struct dime_content *contents, size_t n)
{
    return (struct dime_naked_plan){.recipient = people->keys[DIME_RECIPIENT],
                                    .common = kd_slice_str(common),
                                    .headers = kd_slice_str(headers),
                                    .contents = contents,
                                    .n_contents = n};
}

static void
build(struct kd_buf *out)
{
    struct dime_content two[2] = {mail_text(body), mail_text("attached")};

    two[1].type = DIME_CHUNK_ATTACHMENTS_CONTENT;
    struct dime_naked_plan plan = plan_of(two, 2);
    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_naked_build(&plan, out), KD_OK);
}

/* *out is written if there is no flaw, and then alone. */
static enum dime_flaw
parse(struct kd_slice octets, struct dime_naked *out)
{
    static struct dime_naked untouched;
    uint8_t *copy = mail_exact(octets);
    struct dime_source source = dime_source_of(kd_slice(copy, octets.n));
    enum dime_flaw why;

    memset(out, 0x5a, sizeof *out);
    memset(&untouched, 0x5a, sizeof untouched);
    kd_err err = dime_naked_parse(&source, LIMIT, out, &why);
    free(copy);
    assert_int_equal(err, mail_error_of(why));
    if (err != KD_OK)
        assert_memory_equal(out, &untouched, sizeof untouched);
    else
        out->m.source = dime_source_of(octets);
    return why;
}

static enum dime_flaw
flaw_of(struct kd_slice octets)
{
    struct dime_naked unused;

    return parse(octets, &unused);
}

static struct dime_naked
parsed(const struct kd_buf *b)
{
    struct dime_naked n;

    assert_int_equal(parse(kd_buf_slice(b), &n), DIME_FLAW_NONE);
    return n;
}

static kd_err
refuse(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    (void)ctx;
    (void)message;
    memset(sig, 0xff, DIME_SIG_SIZE);
    return KD_SEALED;
}

/* All signatures, as the recipient's program does. */
static struct dime_verdicts
verify(const struct dime_naked *n)
{
    const uint8_t(*own)[32] = &n->signer;
    const uint8_t(*domain)[32] = &people->organization->use.key;
    uint8_t sigs[3][DIME_SIG_SIZE];
    struct dime_chunk_key key;
    struct dime_verdicts v;
    struct dime_kek kek;

    mail_kek(DIME_RECIPIENT, n->m.ephemeral, &kek);
    const struct dime_chunk *chunks[] = {&n->m.tree, &n->m.author};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            dime_chunk_key_of(&n->m, chunks[i], DIME_RECIPIENT, &kek, &key), KD_OK);
        assert_int_equal(dime_signature_open(&n->m, chunks[i], &key, sigs[i]), KD_OK);
    }
    assert_int_equal(dime_naked_signature(n, sigs[2]), KD_OK);
    const struct dime_claims claims = {.tree = {sigs[0], own, 1},
                                       .author = {sigs[1], own, 1},
                                       .organization = {sigs[2], domain, 1}};
    assert_int_equal(dime_message_verify(&n->m, &claims, &v), KD_OK);
    return v;
}

static kd_err
put(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return KD_OK;
}

/* --- what holds --- */

static void
the_recipient_opens_what_was_built(void **state)
{
    struct dime_payload payload;
    struct dime_chunk_key key;
    struct kd_buf b, text;
    struct dime_kek kek;
    struct dime_span s;
    size_t parts = 0;
    kd_err err;

    (void)state;
    build(&b);
    struct dime_naked n = parsed(&b);
    assert_int_equal(n.m.n_chunks, 8);
    mail_kek(DIME_RECIPIENT, n.m.ephemeral, &kek);
    kd_buf_init(&text, LIMIT);
    const struct dime_chunk *chunks[] = {&n.m.common, &n.m.headers};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(dime_chunk_key_of(&n.m, chunks[i], DIME_RECIPIENT, &kek, &key),
                         KD_OK);
        assert_int_equal(
            dime_payload_open(&n.m, chunks[i], &key, n.signer, &payload, &text), KD_OK);
    }
    const struct dime_reader r = {
        .m = &n.m, .actor = DIME_RECIPIENT, .kek = &kek, .author = n.signer};
    for (uint64_t at = n.m.display; dime_span_next(&r, &at, n.m.signs, &s, &err);
         parts++) {
        assert_int_equal(s.state, DIME_SPAN_GOOD);
        assert_int_equal(dime_span_read(&r, &s, put, &text), KD_OK);
    }
    assert_int_equal(err, KD_OK);
    assert_int_equal(parts, 2);
    kd_buf_u8(&text, 0);
    assert_string_equal((const char *)text.p,
                        "Date: \r\nTo: alice@example.com\r\nFrom: x@legacy.example\r\n"
                        "Subject: not protected\r\n"
                        "Received: from legacy.example\r\n"
                        "Content-Type: text/plain\r\n\r\nHello, Alice.\r\n"
                        "attached");
    kd_buf_free(&text);
    kd_buf_free(&b);
}

static void
nobody_but_the_recipient_has_a_slot(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        const struct dime_chunk_def *def = dime_naked_chunk_def((uint8_t)type);
        if (def == NULL)
            continue;
        bool clear = def->form != DIME_FORM_PAYLOAD && def->form != DIME_FORM_SIGNATURE;
        assert_int_equal(def->slots, clear ? 0 : 1);
        for (int a = 0; a < DIME_ACTOR_COUNT; a++)
            assert_int_equal(dime_chunk_slot(def, (enum dime_actor)a),
                             clear || a != DIME_RECIPIENT ? -1 : 0);
    }
}

static void
the_domain_signs_what_it_keeps(void **state)
{
    struct dime_signer domain = mail_signer(people->organization);
    struct dime_verdicts v;
    struct kd_buf b;

    (void)state;
    build(&b);
    struct dime_naked n = parsed(&b);
    v = verify(&n);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_BAD); /* zeros so far */
    assert_int_equal(dime_naked_sign(&n, b.p, domain), KD_OK);
    n = parsed(&b);
    v = verify(&n);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    kd_buf_free(&b);
}

static void
a_signer_that_refuses_changes_nothing(void **state)
{
    struct dime_signer domain = {refuse, NULL};
    struct kd_buf b, before;

    (void)state;
    build(&b);
    kd_buf_init(&before, LIMIT);
    kd_buf_put(&before, kd_buf_slice(&b));
    struct dime_naked n = parsed(&b);
    assert_int_equal(dime_naked_sign(&n, b.p, domain), KD_SEALED);
    assert_int_equal(dime_naked_sign(&n, before.p, domain), KD_INVALID);
    assert_true(kd_slice_eq(kd_buf_slice(&b), kd_buf_slice(&before)));
    kd_buf_free(&b);
    kd_buf_free(&before);
}

static void
two_mails_share_no_key(void **state)
{
    struct kd_buf a, b;

    (void)state;
    build(&a);
    build(&b);
    struct dime_naked x = parsed(&a), y = parsed(&b);
    assert_memory_not_equal(x.signer, y.signer, sizeof x.signer);
    assert_memory_not_equal(x.m.ephemeral, y.m.ephemeral, sizeof x.m.ephemeral);
    kd_buf_free(&a);
    kd_buf_free(&b);
}

static void
a_file_parses_as_memory_does(void **state)
{
    struct dime_naked in_memory, in_file;
    struct kd_buf b;
    enum dime_flaw why;

    (void)state;
    build(&b);
    in_memory = parsed(&b);
    int fd = memfd_create("naked", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.p, b.n), b.n);
    struct dime_source source = dime_source_file(fd, b.n);
    assert_int_equal(dime_naked_parse(&source, LIMIT, &in_file, &why), KD_OK);
    assert_true(dmj_same(&in_file.m, &in_memory.m));
    assert_memory_equal(in_file.signer, in_memory.signer, sizeof in_file.signer);
    close(fd);
    kd_buf_free(&b);
}

/* --- what does not --- */

static void
mail_cut_at_any_octet_is_refused(void **state)
{
    struct kd_buf b;

    (void)state;
    build(&b);
    mail_cut_everywhere(&b, flaw_of);
    kd_buf_free(&b);
}

static void
every_chunk_but_the_headers_is_required(void **state)
{
    struct kd_buf b, less;
    struct dime_chunk c;
    struct dime_naked n;
    kd_err err;

    (void)state;
    build(&b);
    struct dime_naked whole = parsed(&b);
    for (uint64_t at = whole.m.begin;
         dime_message_next(&whole.m, &at, whole.m.end, &c, &err);) {
        enum dime_flaw expected = DIME_FLAW_MISSING;
        if (c.def->type == DIME_CHUNK_HEADERS ||
            c.def->type == DIME_CHUNK_ATTACHMENTS_CONTENT)
            expected = DIME_FLAW_NONE;
        if (c.def->type == DIME_CHUNK_DISPLAY_CONTENT)
            expected = DIME_FLAW_NO_DISPLAY;
        if (c.def->type == DIME_CHUNK_ORGANIZATION)
            expected = DIME_FLAW_UNSIGNED;
        mail_replace(&b, c.at, dime_chunk_end(&c), kd_slice(NULL, 0), &less);
        assert_int_equal(parse(kd_buf_slice(&less), &n), expected);
        kd_buf_free(&less);
        /* twice is too often, but for contents */
        mail_replace(&b, c.at, c.at,
                     kd_slice(b.p + c.at, (size_t)(dime_chunk_end(&c) - c.at)), &less);
        assert_int_equal(parse(kd_buf_slice(&less), &n), c.def->count == DIME_CHUNK_MANY
                                                             ? DIME_FLAW_NONE
                                                             : DIME_FLAW_REPEATED);
        kd_buf_free(&less);
    }
    kd_buf_free(&b);
}

/* What messages have and naked mail has not: envelopes, multiparts, bounce signatures.
 */
static void
only_the_chunks_of_naked_mail_are_read(void **state)
{
    static const uint8_t good[] = {2, 33, 34, 67, 131, 225, 226, 255};
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    build(&b);
    struct dime_naked whole = parsed(&b);
    uint64_t at = whole.m.display; /* of the first display chunk's type */
    for (unsigned type = 0; type < 256; type++) {
        b.p[at] = (uint8_t)type;
        enum dime_flaw why = parse(kd_buf_slice(&b), &n);
        if (memchr(good, (int)type, sizeof good) == NULL)
            assert_true(why == DIME_FLAW_TYPE || why == DIME_FLAW_HEADING);
        else
            assert_true((why == DIME_FLAW_NONE) ==
                        (type == DIME_CHUNK_DISPLAY_CONTENT));
    }
    kd_buf_free(&b);
}

static void
keys_that_are_none_are_refused(void **state)
{
    static const uint8_t neutral[32] = {1};
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    build(&b);
    struct dime_naked whole = parsed(&b);
    uint8_t *payload = b.p + whole.m.begin + DIME_CHUNK_HEADER;
    uint8_t was[DIME_NAKED_KEYS_SIZE];
    memcpy(was, payload, sizeof was);
    for (unsigned prefix = 0; prefix < 256; prefix++) {
        payload[0] = (uint8_t)prefix;
        assert_int_equal(parse(kd_buf_slice(&b), &n), prefix == 2 || prefix == 3
                                                          ? DIME_FLAW_NONE
                                                          : DIME_FLAW_EPHEMERAL);
    }
    memcpy(payload, was, sizeof was);
    memset(payload + 1, 0xff, 32); /* beyond the field */
    assert_int_equal(parse(kd_buf_slice(&b), &n), DIME_FLAW_EPHEMERAL);
    memcpy(payload, was, sizeof was);
    memcpy(payload + DIME_SECP_KEY_SIZE, neutral, sizeof neutral);
    assert_int_equal(parse(kd_buf_slice(&b), &n), DIME_FLAW_EPHEMERAL);
    kd_buf_free(&b);
}

static void
headers_of_other_objects_are_refused(void **state)
{
    static const uint16_t magics[] = {1837, 1847, 1907, 1909, 1931, 0};
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    build(&b);
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        kd_put_be16(b.p, magics[i]);
        assert_int_equal(parse(kd_buf_slice(&b), &n), DIME_FLAW_MAGIC);
    }
    kd_put_be16(b.p, DIME_MAGIC_NAKED);
    /* and naked mail is refused where a message is expected */
    struct dime_source source = dime_source_of(kd_buf_slice(&b));
    struct dime_message m;
    enum dime_flaw why;
    assert_int_equal(dime_message_parse(&source, LIMIT, &m, &why), KD_MALFORMED);
    assert_int_equal(why, DIME_FLAW_MAGIC);
    assert_int_equal(dime_object_magic(&source), DIME_MAGIC_NAKED);
    /* nor is it anybody's at DATA: T-DM-29 */
    assert_int_equal(dime_data_kind(&source), DIME_DATA_OTHER);
    assert_int_equal(dime_flaw_reply(why), 451);
    assert_int_equal(dime_naked_parse(&source, b.n - 1, &n, &why), KD_TOO_LARGE);
    assert_int_equal(dime_naked_parse(&source, b.n, &n, NULL), KD_OK);
    kd_buf_free(&b);
}

/* A bit of every octet: refused, or the domain's signature does not hold any more. */
static void
no_bit_is_without_a_signature(void **state)
{
    struct dime_signer domain = mail_signer(people->organization);
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    build(&b);
    n = parsed(&b);
    assert_int_equal(dime_naked_sign(&n, b.p, domain), KD_OK);
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] ^= (uint8_t)(1 << i % 8);
        if (parse(kd_buf_slice(&b), &n) == DIME_FLAW_NONE)
            assert_int_equal(verify(&n).organization, DIME_VERDICT_BAD);
        b.p[i] ^= (uint8_t)(1 << i % 8);
    }
    n = parsed(&b);
    assert_int_equal(verify(&n).organization, DIME_VERDICT_GOOD);
    kd_buf_free(&b);
}

static void
a_plan_that_is_no_mail_is_refused(void **state)
{
    static const uint8_t types[] = {0, 2, 4, 33, 34, 65, 66, 68, 129, 130, 225, 255};
    /* what dime_common_parse does not read */
    static const char *const commons[] = {"To: a\r\nX-Foo: b\r\n",
                                          "To: a\r\nTo: b\r\n",
                                          "To: a\n",
                                          "To: a",
                                          "to: a\r\n",
                                          "\r\n"};
    struct dime_content two[2] = {mail_text(body), mail_text("attached")};
    struct dime_naked_plan good = plan_of(two, 2), bad;
    struct kd_slice none = {NULL, 0};
    struct kd_buf out;

    (void)state;
    kd_buf_init(&out, LIMIT);
    bad = good;
    bad.recipient = NULL;
    assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    bad.recipient = (const uint8_t[DIME_SECP_KEY_SIZE]){2};
    assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    bad = good;
    bad.common = none;
    assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    for (size_t i = 0; i < sizeof commons / sizeof *commons; i++) {
        bad.common = kd_slice_str(commons[i]);
        assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    }
    bad = good;
    bad.headers = none;
    assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    bad = good;
    bad.n_contents = 0;
    assert_int_equal(dime_naked_build(&bad, &out), KD_INVALID);
    for (size_t i = 0; i < sizeof types; i++) {
        two[1].type = types[i];
        assert_int_equal(dime_naked_build(&good, &out), KD_INVALID);
    }
    assert_int_equal(out.n, 0);
    assert_int_equal(out.err, KD_OK);
    kd_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recipient_opens_what_was_built),
        cmocka_unit_test(nobody_but_the_recipient_has_a_slot),
        cmocka_unit_test(the_domain_signs_what_it_keeps),
        cmocka_unit_test(a_signer_that_refuses_changes_nothing),
        cmocka_unit_test(two_mails_share_no_key),
        cmocka_unit_test(a_file_parses_as_memory_does),
        cmocka_unit_test(mail_cut_at_any_octet_is_refused),
        cmocka_unit_test(every_chunk_but_the_headers_is_required),
        cmocka_unit_test(only_the_chunks_of_naked_mail_are_read),
        cmocka_unit_test(keys_that_are_none_are_refused),
        cmocka_unit_test(headers_of_other_objects_are_refused),
        cmocka_unit_test(no_bit_is_without_a_signature),
        cmocka_unit_test(a_plan_that_is_no_mail_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
