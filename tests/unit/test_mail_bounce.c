/* MakeBounce and OpenBounce at the library's level: example.org bounces what alice
 * wrote, and example.com learns who she is from nothing but what it signed. */
#include "mailw.h"
#include "test.h"

#include <dime/fingerprint.h>
#include <keyd/base/be.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { LIMIT = 1 << 25 };

static struct mailw *x;
static struct dmw written;

static int
set_up(void **state)
{
    (void)state;
    x = mailw(0);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    dmw_free(&written);
    return 0;
}

/* --- what is opened with which key --- */

/* The linker puts this before the real one (--wrap); the library has no hook. */
static struct {
    bool on;
    struct dime_kek real;
    size_t n_real, n_other;
    uint8_t real_types[64];
} seen;

kd_err __real_dime_chunk_key_of(const struct dime_message *m,
                                const struct dime_chunk *c, enum dime_actor actor,
                                const struct dime_kek *kek, struct dime_chunk_key *out);
kd_err __wrap_dime_chunk_key_of(const struct dime_message *m,
                                const struct dime_chunk *c, enum dime_actor actor,
                                const struct dime_kek *kek, struct dime_chunk_key *out);

kd_err
__wrap_dime_chunk_key_of(const struct dime_message *m, const struct dime_chunk *c,
                         enum dime_actor actor, const struct dime_kek *kek,
                         struct dime_chunk_key *out)
{
    if (seen.on && memcmp(kek, &seen.real, sizeof *kek) == 0)
        seen.real_types[seen.n_real++] = c->def->type;
    else if (seen.on)
        seen.n_other++;
    return __real_dime_chunk_key_of(m, c, actor, kek, out);
}

/* --- helpers --- */

static void
assert_nothing_told(const struct mail_bounce *out)
{
    assert_int_equal(out->author_n, 0);
    assert_true(mailw_is_zero(out->author, sizeof out->author));
    assert_true(mailw_is_zero(out->author_fp, 64));
    assert_true(mailw_is_zero(out->message, 64));
    assert_int_equal(out->klass, 0);
}

/* From memory and from a file: alike. */
static kd_err
open_as(const struct mail_keys *k, struct kd_slice octets,
        const struct mail_bounced *in, struct mail_bounce *out)
{
    uint8_t *copy = malloc(octets.n);
    struct mail_bounce from_file;

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    struct dime_source memory = dime_source_of(kd_slice(copy, octets.n));
    kd_err err = mail_open_bounce(k, &memory, in, out);
    free(copy);
    seen.on = false;
    int fd = mailw_file(octets);
    struct dime_source file = dime_source_file(fd, octets.n);
    assert_int_equal(mail_open_bounce(k, &file, in, &from_file), err);
    close(fd);
    assert_memory_equal(&from_file, out, sizeof *out);
    if (err != KD_OK)
        assert_nothing_told(out);
    return err;
}

static void
assert_refused(const struct kd_buf *b, const struct mail_bounced *in)
{
    struct mail_bounce out;

    assert_int_equal(open_as(&x->origin, kd_buf_slice(b), in, &out), KD_INVALID);
    assert_true(out.key_used);
}

static void
assert_refused_unopened(const struct kd_buf *b, const struct mail_bounced *in)
{
    struct mail_bounce out;

    assert_int_equal(open_as(&x->origin, kd_buf_slice(b), in, &out), KD_INVALID);
    assert_false(out.key_used);
}

static kd_err
make_of(struct kd_slice message, const struct mail_to_bounce *in,
        struct mail_made_bounce *out, struct kd_buf *octets)
{
    const struct dime_source source = dime_source_of(message);

    kd_buf_init(octets, LIMIT);
    return mail_make_bounce(&x->destination, &source, in, out, octets);
}

/* Of MSG. */
static void
make(enum dime_return part, struct mail_made_bounce *out, struct kd_buf *octets)
{
    struct mail_to_bounce in = x->to_bounce;

    in.part = part;
    assert_int_equal(make_of(mailw_msg(), &in, out, octets), KD_OK);
}

static struct dime_message
parsed(struct kd_slice octets)
{
    const struct dime_source source = dime_source_of(octets);
    struct dime_message m;

    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    return m;
}

static struct dime_bounce
parsed_bounce(const struct kd_buf *b)
{
    const struct dime_source source = dime_source_of(kd_buf_slice(b));
    struct dime_bounce out;

    assert_int_equal(dime_bounce_parse(&source, LIMIT, &out, NULL), KD_OK);
    return out;
}

/* A bounce as somebody makes it who has no keyd. */
struct forger {
    struct sg_pair by[2]; /* the report's, and 255's */
    size_t n;
};

static kd_err
sign_next(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    struct forger *f = ctx;

    return sg_signer(&f->by[f->n++ % 2], message, sig);
}

struct forgery {
    struct kd_slice message;
    enum dime_return part;
    const char *domain;                   /* example.org */
    const struct sg_pair *report_by, *by; /* its POK */
    const uint8_t *origin;                /* encryption key, our current one */
};

static void
forge(struct forgery f, struct kd_buf *out)
{
    const struct sg_pair *pok = &sg_world()->other_pok;
    struct forger forger = {
        .by = {f.report_by != NULL ? *f.report_by : *pok, f.by != NULL ? *f.by : *pok}};
    struct dime_message m = parsed(f.message.n != 0 ? f.message : mailw_msg());
    char id[87];
    static const uint8_t zeros[64];

    dime_fingerprint_text(zeros, id);
    const struct dime_report report = {
        .domain = kd_slice_str(f.domain != NULL ? f.domain : "example.org"),
        .klass = 5,
        .message = kd_slice(id, 86),
        .part = f.part};
    const struct dime_bounce_plan plan = {.origin =
                                              f.origin != NULL ? f.origin : x->ours[0],
                                          .report = &report,
                                          .message = &m,
                                          .organization = {sign_next, &forger}};
    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_bounce_build(&plan, out), KD_OK);
}

static struct kd_slice
write_message(struct dmw_recipe r)
{
    dmw_free(&written);
    return dmw_message(&written, &r);
}

/* --- there and back --- */

static void
assert_digests(const struct kd_buf *b, const struct mail_made_bounce *made)
{
    struct dime_bounce bounce = parsed_bounce(b);
    const uint8_t *from = b->p + bounce.outer.begin;
    size_t n = (size_t)(bounce.organization.at - bounce.outer.begin);
    uint8_t hash[32];

    crypto_hash_sha256(hash, from, n);
    assert_memory_equal(hash, made->digests[1], 32);
    assert_int_equal(
        crypto_sign_verify_detached(b->p + dime_chunk_payload(&bounce.organization),
                                    from, n, sg_world()->other_pok.key),
        0);
    /* the report's is over what its chunk holds behind the signature */
    uint8_t scalar[32], text[4096];
    struct dime_kek kek;
    struct dime_chunk_key key;
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    assert_int_equal(dime_kek_agree(scalar, bounce.outer.ephemeral, &kek), KD_OK);
    assert_int_equal(
        dime_chunk_key_of(&bounce.outer, &bounce.report, DIME_ORIGIN, &kek, &key),
        KD_OK);
    assert_true(bounce.report.size <= sizeof text);
    /* decrypted as signature chunks are: 64 octets of CBC at a time */
    for (size_t at = 0; at < bounce.report.size; at += 64) {
        size_t n_now = bounce.report.size - at < 64 ? bounce.report.size - at : 64;
        const struct dime_chunk c = {.def = dime_chunk_def(255), .size = 64};
        uint8_t room[4 + 64] = {0}, block[64];
        const struct dime_message m = {.source =
                                           dime_source_of(kd_slice(room, sizeof room))};
        memcpy(room + 4, b->p + dime_chunk_payload(&bounce.report) + at, n_now);
        assert_int_equal(dime_signature_open(&m, &c, &key, block), KD_OK);
        memcpy(text + at, block, n_now);
        memcpy(key.iv, room + 4 + 48, 16);
    }
    crypto_hash_sha256(hash, text + 64, bounce.report.size - 64);
    assert_memory_equal(hash, made->digests[0], 32);
}

static void
T_OP_16_a_bounce_of_what_we_signed_tells_the_author(void **state)
{
    uint8_t id[64];

    (void)state;
    crypto_hash_sha512(id, mailw_msg().p, mailw_msg().n);
    for (int part = 0; part < DIME_RETURN_COUNT; part++) {
        struct mail_made_bounce made;
        struct mail_bounce out;
        struct kd_buf b;
        make((enum dime_return)part, &made, &b);
        assert_true(made.opened.key_used);
        assert_digests(&b, &made);
        assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &x->bounced, &out),
                         KD_OK);
        assert_true(out.key_used);
        assert_string_equal(out.author, "alice@example.com");
        assert_int_equal(out.author_n, strlen(out.author));
        assert_memory_equal(out.author_fp, x->alice.core, 64);
        assert_int_equal(out.part, part);
        assert_int_equal(out.klass, 5);
        assert_int_equal(out.subject, 1);
        assert_int_equal(out.detail, 1);
        assert_int_equal(out.time, 1704067200);
        assert_memory_equal(out.message, id, 64);
        assert_false(mailw_is_zero(out.digest, 32));
        kd_buf_free(&b);
    }
}

/* --- what we did not sign --- */

static void
T_OP_16_a_forged_signature_tells_nothing_and_opens_nothing(void **state)
{
    const struct sg_pair *const forgers[] = {&sg_world()->bob, &sg_world()->other_pok,
                                             &sg_world()->alice};
    uint8_t scalar[32];

    (void)state;
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    for (size_t i = 0; i < LEN(forgers); i++)
        for (int part = 0; part < DIME_RETURN_COUNT; part++) {
            struct mail_bounce out;
            struct kd_buf b;
            forge((struct forgery){.message = write_message(
                                       (struct dmw_recipe){.org_by = forgers[i]}),
                                   .part = (enum dime_return)part},
                  &b);
            struct dime_bounce bounce = parsed_bounce(&b);
            memset(&seen, 0, sizeof seen);
            assert_int_equal(
                dime_kek_agree(scalar, bounce.returned.ephemeral, &seen.real), KD_OK);
            seen.on = true;
            assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &x->bounced, &out),
                             KD_INVALID);
            assert_true(out.key_used);
            /* its signature with our key, chunk 4 and the report with none */
            assert_int_equal(seen.n_real, 1);
            assert_int_equal(seen.real_types[0],
                             dime_return_signature_type((enum dime_return)part));
            assert_int_equal(seen.n_other, 2);
            kd_buf_free(&b);
        }
}

static void
a_revoked_signer_of_ours_counts_no_more(void **state)
{
    struct mail_bounced in = x->bounced;
    struct mail_made_bounce made;
    struct kd_buf b;

    (void)state;
    make(DIME_RETURN_METADATA, &made, &b);
    in.n_signers = 0;
    assert_refused(&b, &in);
    in.signers = &sg_world()->pok.key;
    in.n_signers = 1;
    assert_refused(&b, &in);
    kd_buf_free(&b);
}

/* --- who bounces --- */

static void
a_bounce_that_its_domain_did_not_sign_touches_no_key(void **state)
{
    const struct sg_pair *const others[] = {&sg_world()->bob, &sg_world()->sok,
                                            &sg_world()->alice};
    struct kd_buf b;

    (void)state;
    for (size_t i = 0; i < LEN(others); i++) {
        forge((struct forgery){.by = others[i]}, &b);
        assert_refused_unopened(&b, &x->bounced);
        kd_buf_free(&b);
    }
}

static void
only_the_destination_may_bounce(void **state)
{
    struct mail_bounced in = x->bounced;
    struct kd_buf b;

    (void)state;
    /* somebody else's domain, who has the message and says so in every place */
    forge((struct forgery){.domain = "example.net"}, &b);
    in.from.origin = kd_slice_str("example.net");
    assert_refused(&b, &in);
    kd_buf_free(&b);
    /* the destination's name, in one of two places */
    forge((struct forgery){.domain = "example.net"}, &b);
    assert_refused(&b, &x->bounced);
    kd_buf_free(&b);
    forge((struct forgery){0}, &b);
    assert_refused(&b, &in);
    in.from.origin = kd_slice_str("bob@example.org");
    assert_refused_unopened(&b, &in);
    kd_buf_free(&b);
}

static void
the_report_is_by_the_key_that_made_255(void **state)
{
    struct kd_buf octets, b;
    struct sg_pair second = sg_pair_text("a second key");
    const struct sg_sok soks[] = {{DIME_PERM_MESSAGES, &second}};
    struct mail_bounced in = x->bounced;
    struct dime_signet signet;
    struct mail_bounce out;
    enum dime_reason why;

    (void)state;
    sg_make_org(&octets, &(struct sg_org){.soks = soks,
                                          .n_soks = 1,
                                          .pok = &sg_world()->other_pok,
                                          .identifier = "example.org"});
    assert_int_equal(dime_signet_parse(kd_buf_slice(&octets), &signet, &why), KD_OK);
    memcpy(signet.enc_key, x->ours[1], 33);
    in.from.signet = &signet;
    for (unsigned i = 0; i < 4; i++) {
        forge((struct forgery){.report_by = i % 2 != 0 ? &second : NULL,
                               .by = i / 2 != 0 ? &second : NULL},
              &b);
        kd_err err = open_as(&x->origin, kd_buf_slice(&b), &in, &out);
        assert_int_equal(err, i == 0 || i == 3 ? KD_OK : KD_INVALID);
        kd_buf_free(&b);
    }
    kd_buf_free(&octets);
}

/* The domain may have got another signet since the message was written to it. */
static void
the_signet_the_message_named_is_not_asked_for(void **state)
{
    struct mail_bounced in = x->bounced;
    struct mail_made_bounce made;
    struct mail_bounce out;
    struct kd_buf b;

    (void)state;
    make(DIME_RETURN_DISPLAY, &made, &b);
    in.from.origin_core = in.from.origin_full = x->org.full;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &in, &out), KD_OK);
    kd_buf_free(&b);
}

/* --- our keys --- */

static void
a_message_for_a_former_key_is_found_among_several(void **state)
{
    struct kd_key_id both[] = {x->former_enc, x->origin_enc};
    struct kd_key_id turned[] = {x->origin_enc, x->former_enc};
    struct kd_key_id three[] = {x->former_enc, x->destination_enc, x->origin_enc};
    struct mail_bounced in = x->bounced;
    struct mail_bounce out;
    struct kd_buf b;

    (void)state;
    /* the bounce is for our key of now, the message was for one of before */
    forge((struct forgery){.origin = x->ours[2]}, &b);
    in.openers = both;
    in.n_openers = 2;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &in, &out), KD_OK);
    assert_string_equal(out.author, "alice@example.com");
    in.openers = three;
    in.n_openers = 3;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &in, &out), KD_OK);
    in.n_openers = 2;
    assert_refused(&b, &in);
    in.openers = turned; /* the report is not for that one */
    assert_refused(&b, &in);
    in.n_openers = 0;
    assert_refused_unopened(&b, &in);
    in.n_openers = MAIL_OPENERS_MAX + 1;
    assert_refused_unopened(&b, &in);
    kd_buf_free(&b);
}

/* Ephemeral keys at 6 + 4 of the bounce, and in the returned part; 255 made anew. */
static void
put_ephemeral(struct kd_buf *b, bool returned, const uint8_t key[33])
{
    struct dime_bounce bounce = parsed_bounce(b);
    size_t at = (size_t)(returned ? bounce.returned.begin : bounce.outer.begin) + 4;
    struct sg_pair pok = sg_world()->other_pok;

    memcpy(b->p + at, key, 33);
    assert_int_equal(
        sg_signer(&pok,
                  kd_slice(b->p + bounce.outer.begin,
                           (size_t)(bounce.organization.at - bounce.outer.begin)),
                  b->p + dime_chunk_payload(&bounce.organization)),
        KD_OK);
}

static void
an_ephemeral_key_that_is_another_key_touches_none(void **state)
{
    struct kd_buf b;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        forge((struct forgery){0}, &b);
        const uint8_t *keys[] = {x->ours[0], x->ours[2], x->other_org.signet.enc_key,
                                 parsed_bounce(&b).returned.ephemeral};
        uint8_t key[33];
        struct dime_bounce bounce = parsed_bounce(&b);
        memcpy(key, i % 4 == 3 ? bounce.returned.ephemeral : keys[i % 4], 33);
        if (i % 4 == 3 && i >= 4)
            memcpy(key, bounce.outer.ephemeral, 33);
        put_ephemeral(&b, i >= 4, key);
        assert_refused_unopened(&b, &x->bounced);
        kd_buf_free(&b);
    }
    forge((struct forgery){0}, &b); /* that it is not the new 255 */
    put_ephemeral(&b, false, sg_world()->bob_enc);
    assert_refused(&b, &x->bounced);
    kd_buf_free(&b);
}

static void
no_octet_of_a_bounce_can_be_changed(void **state)
{
    struct mail_made_bounce made;
    struct mail_bounce out;
    struct kd_buf b;

    (void)state;
    make(DIME_RETURN_METADATA, &made, &b);
    const struct dime_source source = dime_source_of(kd_buf_slice(&b));
    for (size_t at = 0; at < b.n; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        b.p[at] ^= bit;
        kd_err err = mail_open_bounce(&x->origin, &source, &x->bounced, &out);
        assert_true(err == KD_INVALID || err == KD_MALFORMED);
        assert_false(out.key_used);
        b.p[at] ^= bit;
    }
    kd_buf_free(&b);
}

static void
errors_of_the_token_are_passed_on(void **state)
{
    struct mail_bounced in = x->bounced;
    struct mail_made_bounce made;
    struct kd_key_id nobody;
    struct mail_bounce out;
    struct kd_buf b;

    (void)state;
    make(DIME_RETURN_METADATA, &made, &b);
    memset(&nobody, 7, sizeof nobody);
    in.openers = &nobody;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &in, &out), KD_NOT_FOUND);
    in.openers = &x->sok;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &in, &out), KD_DENIED);
    kd_buf_free(&b);
}

/* --- making --- */

static void
assert_not_made(struct kd_slice message, const struct mail_to_bounce *in, kd_err err,
                bool key_used)
{
    struct mail_made_bounce made;
    struct kd_buf b;

    assert_int_equal(make_of(message, in, &made, &b), err);
    assert_int_equal(made.opened.key_used, key_used);
    assert_int_equal(b.n, 0);
    assert_true(mailw_is_zero(made.digests, sizeof made.digests));
    kd_buf_free(&b);
}

static void
what_was_not_for_us_is_not_bounced(void **state)
{
    struct mail_to_bounce in = x->to_bounce;

    (void)state;
    assert_not_made(write_message((struct dmw_recipe){.org_by = &sg_world()->bob}), &in,
                    KD_INVALID, true);
    in.from.origin = kd_slice_str("example.net");
    assert_not_made(mailw_msg(), &in, KD_INVALID, true);
    assert_not_made(x->org.octets, &x->to_bounce, KD_MALFORMED, false);
}

static struct kd_slice
with_one_bounce_signature(bool display)
{
    static const uint8_t types[] = {4, 5, 33, 34, 67};

    dmw_free(&written);
    dmw_begin(&written, 7);
    for (size_t i = 0; i < sizeof types; i++)
        dmw_put(&written,
                &(struct dmw_chunk){.type = types[i],
                                    .data = kd_slice_str(dmw_text(types[i]))});
    dmw_sign(&written, 225, &sg_world()->alice, 0);
    dmw_sign(&written, 226, &sg_world()->alice, 0);
    dmw_sign(&written, 248, display ? NULL : &sg_world()->sok, 0);
    dmw_sign(&written, 249, display ? &sg_world()->sok : NULL, 0);
    dmw_sign(&written, 255, &sg_world()->sok, 0);
    return dmw_end(&written);
}

static void
a_part_without_a_good_signature_is_not_bounced(void **state)
{
    struct mail_to_bounce in = x->to_bounce;
    struct mail_made_bounce made;
    struct kd_buf b;

    (void)state;
    assert_not_made(write_message((struct dmw_recipe){.no_bounces = true}), &in,
                    KD_NOT_FOUND, false);
    /* one of the two is by us, the other as libdime leaves it */
    for (unsigned display = 0; display < 2; display++) {
        struct kd_slice message = with_one_bounce_signature(display != 0);
        in.part = display != 0 ? DIME_RETURN_DISPLAY : DIME_RETURN_METADATA;
        assert_int_equal(make_of(message, &in, &made, &b), KD_OK);
        kd_buf_free(&b);
        in.part = display != 0 ? DIME_RETURN_METADATA : DIME_RETURN_DISPLAY;
        assert_not_made(message, &in, KD_NOT_FOUND, true);
    }
    in.part = DIME_RETURN_COUNT;
    assert_not_made(kd_buf_slice(&written.out), &in, KD_INVALID, false);
}

static void
a_part_larger_than_a_chunk_is_not_bounced(void **state)
{
    enum { SIZE = 9 << 20 };
    uint8_t *data = calloc(1, SIZE);
    struct dmw_chunk parts[3] = {
        {.type = 67, .data = kd_slice_str("text")}, {.type = 131}, {.type = 131}};
    struct mail_to_bounce in = x->to_bounce;
    struct mail_made_bounce made;
    struct kd_buf b;

    (void)state;
    assert_non_null(data);
    parts[1].data = parts[2].data = kd_slice(data, SIZE);
    struct kd_slice message =
        write_message((struct dmw_recipe){.contents = parts, .n_contents = 3});
    in.part = DIME_RETURN_MESSAGE;
    assert_not_made(message, &in, KD_TOO_LARGE, false);
    in.part = DIME_RETURN_DISPLAY;
    assert_int_equal(make_of(message, &in, &made, &b), KD_OK);
    kd_buf_free(&b);
    message = write_message((struct dmw_recipe){.contents = parts, .n_contents = 2});
    in.part = DIME_RETURN_MESSAGE;
    assert_int_equal(make_of(message, &in, &made, &b), KD_OK);
    struct mail_bounce out;
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &x->bounced, &out), KD_OK);
    kd_buf_free(&b);
    free(data);
}

static void
what_a_report_cannot_say_touches_no_key(void **state)
{
    struct mail_to_bounce in = x->to_bounce;

    (void)state;
    in.klass = 2;
    assert_not_made(mailw_msg(), &in, KD_INVALID, false);
    in = x->to_bounce;
    in.detail = 1000;
    assert_not_made(mailw_msg(), &in, KD_INVALID, false);
    in = x->to_bounce;
    in.domain = kd_slice_str("Example.org");
    assert_not_made(mailw_msg(), &in, KD_INVALID, false);
    in = x->to_bounce;
    in.time = -1;
    assert_not_made(mailw_msg(), &in, KD_INVALID, false);
}

/* Tracing in front is no part of what is identified (D-157). */
static void
a_traced_message_has_the_identifier_it_had_before(void **state)
{
    struct kd_slice msg = mailw_msg();
    static const uint8_t tracing[] = {0x07, 0x2d, 0, 3, 'a', 'b', 'c'};
    uint8_t *traced = malloc(sizeof tracing + msg.n), id[64];
    struct mail_made_bounce made;
    struct mail_bounce out;
    struct kd_buf b;

    (void)state;
    assert_non_null(traced);
    memcpy(traced, tracing, sizeof tracing);
    memcpy(traced + sizeof tracing, msg.p, msg.n);
    assert_int_equal(
        make_of(kd_slice(traced, sizeof tracing + msg.n), &x->to_bounce, &made, &b),
        KD_OK);
    assert_int_equal(open_as(&x->origin, kd_buf_slice(&b), &x->bounced, &out), KD_OK);
    crypto_hash_sha512(id, msg.p, msg.n);
    assert_memory_equal(out.message, id, 64);
    kd_buf_free(&b);
    free(traced);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_16_a_bounce_of_what_we_signed_tells_the_author),
        cmocka_unit_test(T_OP_16_a_forged_signature_tells_nothing_and_opens_nothing),
        cmocka_unit_test(a_revoked_signer_of_ours_counts_no_more),
        cmocka_unit_test(a_bounce_that_its_domain_did_not_sign_touches_no_key),
        cmocka_unit_test(only_the_destination_may_bounce),
        cmocka_unit_test(the_report_is_by_the_key_that_made_255),
        cmocka_unit_test(the_signet_the_message_named_is_not_asked_for),
        cmocka_unit_test(a_message_for_a_former_key_is_found_among_several),
        cmocka_unit_test(an_ephemeral_key_that_is_another_key_touches_none),
        cmocka_unit_test(no_octet_of_a_bounce_can_be_changed),
        cmocka_unit_test(errors_of_the_token_are_passed_on),
        cmocka_unit_test(what_was_not_for_us_is_not_bounced),
        cmocka_unit_test(a_part_without_a_good_signature_is_not_bounced),
        cmocka_unit_test(a_part_larger_than_a_chunk_is_not_bounced),
        cmocka_unit_test(what_a_report_cannot_say_touches_no_key),
        cmocka_unit_test(a_traced_message_has_the_identifier_it_had_before),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
