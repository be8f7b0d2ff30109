/* OpenEnvelope at the library's level: who is opened to, behind what, and that all else
 * is one refusal. */
#include "mailw.h"
#include "test.h"

#include <dime/fingerprint.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

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

static void
watch(struct kd_slice octets)
{
    const struct dime_source source = dime_source_of(octets);
    uint8_t scalar[32];
    struct dime_message m;

    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test destination enc", 25);
    memset(&seen, 0, sizeof seen);
    assert_int_equal(dime_message_parse(&source, MAILW_MAX, &m, NULL), KD_OK);
    assert_int_equal(dime_kek_agree(scalar, m.ephemeral, &seen.real), KD_OK);
    seen.on = true;
}

/* --- helpers --- */

static void
assert_nothing_told(const struct mail_opened *out)
{
    assert_int_equal(out->address_n, 0);
    assert_true(mailw_is_zero(out->address, sizeof out->address));
    assert_true(mailw_is_zero(out->address_fp, 64));
    assert_int_equal(out->metadata, DIME_VERDICT_NOT_ASKED);
    assert_int_equal(out->display, DIME_VERDICT_NOT_ASKED);
}

/* From memory and from a file: alike. */
static kd_err
open_as(const struct mail_keys *k, struct kd_slice octets,
        const struct mail_inbound *in, struct mail_opened *out)
{
    uint8_t *copy = malloc(octets.n);
    struct mail_opened from_file;

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    struct dime_source memory = dime_source_of(kd_slice(copy, octets.n));
    kd_err err = mail_open_inbound(k, &memory, in, out);
    free(copy);
    seen.on = false;
    int fd = mailw_file(octets);
    struct dime_source file = dime_source_file(fd, octets.n);
    assert_int_equal(mail_open_inbound(k, &file, in, &from_file), err);
    close(fd);
    assert_memory_equal(&from_file, out, sizeof *out);
    if (err != KD_OK)
        assert_nothing_told(out);
    return err;
}

static kd_err
try_open(struct kd_slice octets, struct mail_opened *out)
{
    return open_as(&x->destination, octets, &x->inbound, out);
}

static void
assert_refused(struct kd_slice octets, const struct mail_inbound *in)
{
    struct mail_opened out;

    assert_int_equal(open_as(&x->destination, octets, in, &out), KD_INVALID);
    assert_true(out.key_used);
    assert_int_equal(out.flaw, DIME_FLAW_NONE);
    assert_false(mailw_is_zero(out.digest, sizeof out.digest)); /* for the record */
}

static void
assert_refused_unopened(struct kd_slice octets, const struct mail_inbound *in)
{
    struct mail_opened out;

    assert_int_equal(open_as(&x->destination, octets, in, &out), KD_INVALID);
    assert_false(out.key_used);
}

static struct kd_slice
write_message(struct dmw_recipe r)
{
    dmw_free(&written);
    return dmw_message(&written, &r);
}

static uint8_t *
copy_of(struct kd_slice octets)
{
    uint8_t *copy = malloc(octets.n);

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    return copy;
}

static struct dime_message
parsed(struct kd_slice octets)
{
    const struct dime_source source = dime_source_of(octets);
    struct dime_message m;

    assert_int_equal(dime_message_parse(&source, MAILW_MAX, &m, NULL), KD_OK);
    return m;
}

/* --- what is told --- */

static void
T_OP_12_MSG_is_for_bob(void **state)
{
    struct kd_slice msg = mailw_msg();
    struct dime_message m = parsed(msg);
    struct mail_opened out;
    crypto_hash_sha256_state h;
    uint8_t digest[32], fp[64];

    (void)state;
    watch(msg);
    assert_int_equal(try_open(msg, &out), KD_OK);
    assert_true(out.key_used);
    assert_string_equal(out.address, "bob@example.org");
    assert_int_equal(out.address_n, strlen("bob@example.org"));
    assert_int_equal(
        dime_fingerprint_read(kd_slice(strchr(dmw_text(5), '[') + 1, 86), fp), KD_OK);
    assert_memory_equal(out.address_fp, fp, 64);
    assert_int_equal(out.metadata, DIME_VERDICT_GOOD);
    assert_int_equal(out.display, DIME_VERDICT_GOOD);
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, msg.p + 6, 37);
    crypto_hash_sha256_update(&h, msg.p + m.destination.at,
                              dime_chunk_end(&m.destination) - m.destination.at);
    crypto_hash_sha256_final(&h, digest);
    assert_memory_equal(out.digest, digest, 32);
    /* what it took, in this order */
    static const uint8_t types[] = {255, 248, 249, 5};
    assert_int_equal(seen.n_real, sizeof types);
    assert_memory_equal(seen.real_types, types, sizeof types);
    assert_int_equal(seen.n_other, 0);
}

static void
T_OP_12_with_a_broken_255_nothing_else_is_opened(void **state)
{
    struct kd_slice msg = mailw_msg();
    struct dime_message m = parsed(msg);
    const size_t places[] = {
        (size_t)dime_chunk_payload(&m.organization),      /* 255 itself */
        (size_t)dime_chunk_payload(&m.organization) + 63, /* */
        (size_t)dime_chunk_slots(&m.organization) + 128,  /* its slot for us */
        (size_t)dime_chunk_payload(&m.destination) + 300, /* what it covers */
        (size_t)dime_chunk_payload(&m.common) + 1,
        (size_t)dime_chunk_slots(&m.display_bounce)};

    (void)state;
    for (size_t i = 0; i < LEN(places); i++) {
        uint8_t *copy = copy_of(msg);
        copy[places[i]] ^= 1;
        watch(kd_slice(copy, msg.n));
        assert_refused(kd_slice(copy, msg.n), &x->inbound);
        /* The others were gone through with a key that opens nothing. */
        assert_int_equal(seen.n_real, 1);
        assert_int_equal(seen.real_types[0], 255);
        assert_int_equal(seen.n_other, 3);
        free(copy);
    }
}

static void
bounce_signatures_are_noted_only(void **state)
{
    struct mail_opened out;

    (void)state;
    assert_int_equal(
        try_open(write_message((struct dmw_recipe){.no_bounces = true}), &out), KD_OK);
    assert_int_equal(out.metadata, DIME_VERDICT_NOT_ASKED);
    assert_int_equal(out.display, DIME_VERDICT_NOT_ASKED);
    dmw_free(&written);
    dmw_begin(&written, 7);
    for (size_t i = 0; i < 5; i++) {
        static const uint8_t types[] = {4, 5, 33, 34, 67};
        dmw_put(&written,
                &(struct dmw_chunk){.type = types[i],
                                    .data = kd_slice_str(dmw_text(types[i]))});
    }
    dmw_sign(&written, 225, &sg_world()->bob, 0); /* not ours to see */
    dmw_sign(&written, 226, &sg_world()->bob, 0);
    dmw_sign(&written, 248, &sg_world()->sok, 0);
    dmw_sign(&written, 249, NULL, 0);
    dmw_sign(&written, 255, &sg_world()->sok, 0);
    assert_int_equal(try_open(dmw_end(&written), &out), KD_OK);
    assert_int_equal(out.metadata, DIME_VERDICT_GOOD);
    assert_int_equal(out.display, DIME_VERDICT_BAD);
}

/* --- who signed --- */

static void
the_primary_key_signs_as_well_and_nobody_else(void **state)
{
    const struct sg_world *world = sg_world();
    const struct sg_pair *const others[] = {&world->alice, &world->other_pok,
                                            &world->bob};
    struct mail_opened out;

    (void)state;
    assert_int_equal(
        try_open(write_message((struct dmw_recipe){.org_by = &world->pok}), &out),
        KD_OK);
    for (size_t i = 0; i < LEN(others); i++)
        assert_refused(write_message((struct dmw_recipe){.org_by = others[i]}),
                       &x->inbound);
    assert_refused(write_message((struct dmw_recipe){.placeholders = true}),
                   &x->inbound);
}

/* A signet of example.com with n secondary keys of that permission; the text of chunk
 * 5 that names it, and who MAIL says it is. */
struct made_org {
    struct kd_buf octets;
    struct mailw_org org;
    struct sg_pair pairs[64];
    char text[512];
    struct mail_inbound in;
};

static void
make_org(struct made_org *o, size_t n, uint8_t perms)
{
    struct sg_sok soks[64];
    enum dime_reason why;
    char fp[87];

    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "secondary %zu", i);
        o->pairs[i] = sg_pair_text(name);
        soks[i] = (struct sg_sok){perms, &o->pairs[i]};
    }
    sg_make_org(&o->octets, &(struct sg_org){.soks = soks, .n_soks = n});
    assert_int_equal(dime_signet_parse(kd_buf_slice(&o->octets), &o->org.signet, &why),
                     KD_OK);
    assert_int_equal(dime_fingerprint(&o->org.signet, DIME_PART_CORE, o->org.core),
                     KD_OK);
    assert_int_equal(dime_fingerprint(&o->org.signet, DIME_PART_FULL, o->org.full),
                     KD_OK);
    dime_fingerprint_text(o->org.full, fp);
    snprintf(o->text, sizeof o->text, "%s", dmw_text(5));
    memcpy(strrchr(o->text, '[') + 1, fp, 86);
    o->in = x->inbound;
    o->in.signet = &o->org.signet;
    o->in.origin_core = o->org.core;
    o->in.origin_full = o->org.full;
}

static struct kd_slice
write_by(const struct made_org *o, const struct sg_pair *by, size_t size)
{
    uint8_t *data = calloc(1, size);
    const struct dmw_chunk c = {.type = 5, .data = kd_slice_str(o->text)};
    const struct dmw_chunk part = {.type = 67, .data = kd_slice(data, size)};

    assert_non_null(data);
    struct kd_slice octets = write_message((struct dmw_recipe){.instead = &c,
                                                               .contents = &part,
                                                               .n_contents = 1,
                                                               .no_bounces = true,
                                                               .org_by = by});
    free(data);
    return octets;
}

static void
secondary_keys_need_the_permission(void **state)
{
    struct made_org o;
    struct mail_opened out;

    (void)state;
    for (uint8_t perms = 1; perms < 8; perms++) {
        make_org(&o, 1, perms);
        struct kd_slice octets = write_by(&o, &o.pairs[0], 100);
        kd_err err = open_as(&x->destination, octets, &o.in, &out);
        assert_int_equal(err, (perms & DIME_PERM_MESSAGES) != 0 ? KD_OK : KD_INVALID);
        kd_buf_free(&o.octets);
    }
}

static void
of_many_foreign_keys_few_are_tried_on_a_large_message(void **state)
{
    static struct made_org o;
    struct mail_opened out;

    (void)state;
    make_org(&o, 64, DIME_PERM_MESSAGES);
    for (size_t i = 0; i < 64; i += 9) {
        struct kd_slice octets = write_by(&o, &o.pairs[i], 1000);
        assert_int_equal(open_as(&x->destination, octets, &o.in, &out), KD_OK);
    }
    /* the primary key and seven more */
    struct kd_slice octets = write_by(&o, &o.pairs[6], MAIL_MANY_KEYS_SIZE);
    assert_int_equal(open_as(&x->destination, octets, &o.in, &out), KD_OK);
    octets = write_by(&o, &o.pairs[7], MAIL_MANY_KEYS_SIZE);
    assert_int_equal(open_as(&x->destination, octets, &o.in, &out), KD_INVALID);
    kd_buf_free(&o.octets);
}

static size_t
keys_of(const struct dime_signet *s, uint64_t n)
{
    uint8_t keys[DIME_SOKS_MAX + 1][DIME_ED25519_KEY_SIZE];
    size_t all = dime_org_keys(s, DIME_PERM_MESSAGES, keys);
    size_t most = mail_keys_at_most(s->raw, n);
    size_t cut = s->raw.n < MAIL_SIGNET_HEAD ? s->raw.n : MAIL_SIGNET_HEAD;

    assert_int_equal(mail_keys_at_most(kd_slice(s->raw.p, cut), n), most);
    assert_true(most >=
                (n > MAIL_MANY_KEYS_SIZE && all > MAIL_FEW_KEYS ? MAIL_FEW_KEYS : all));
    return most;
}

static void
keys_are_counted_before_anything_is_checked(void **state)
{
    enum { MIB = 1 << 20 };
    static struct made_org o;

    (void)state;
    make_org(&o, 64, DIME_PERM_MESSAGES);
    assert_int_equal(keys_of(&x->other_org.signet, 4096), 1);
    assert_int_equal(keys_of(&x->org.signet, 4096), 2);
    assert_int_equal(keys_of(&o.org.signet, 4096), 65);
    assert_int_equal(keys_of(&o.org.signet, MIB), 65);
    assert_int_equal(keys_of(&o.org.signet, MIB + 1), MAIL_FEW_KEYS);
    /* however they are written, and whatever octets come */
    static const enum dime_layout layouts[] = {DIME_LAYOUT_M, DIME_LAYOUT_P,
                                               DIME_LAYOUT_S33, DIME_LAYOUT_S32};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        uint8_t octets[MAIL_SIGNET_HEAD] = {0}, *at = octets + DIME_HEADER_SIZE;
        size_t pok = layouts[i] == DIME_LAYOUT_M   ? 35
                     : layouts[i] == DIME_LAYOUT_P ? 34
                                                   : 33;
        for (size_t k = 0; k < 64; k++)
            at[pok + k * (pok + 1)] = DIME_ORG_SOK;
        assert_int_equal(mail_keys_at_most(kd_slice(octets, sizeof octets), 1), 65);
    }
    uint8_t twos[MAIL_SIGNET_HEAD];
    memset(twos, 2, sizeof twos);
    for (size_t n = 0; n <= sizeof twos; n++) {
        uint8_t *exact = malloc(n + 1);
        assert_non_null(exact);
        memcpy(exact, twos, n);
        assert_in_range(mail_keys_at_most(kd_slice(exact, n), 1), 1, 65);
        free(exact);
    }
    kd_buf_free(&o.octets);
}

/* --- what it was meant for --- */

static void
a_message_of_another_origin_than_stated_is_refused(void **state)
{
    static const char *const domains[] = {"example.org", "example.con", "xexample.com"};
    struct mail_inbound in = x->inbound;

    (void)state;
    for (size_t i = 0; i < LEN(domains); i++) {
        in.origin = kd_slice_str(domains[i]);
        assert_refused(mailw_msg(), &in);
    }
    in.origin = kd_slice_str("bob@example.org");
    assert_refused_unopened(mailw_msg(), &in);
}

static void
the_signet_that_verifies_must_be_the_one_that_was_meant(void **state)
{
    struct mail_inbound in = x->inbound;
    struct mail_opened out;

    (void)state;
    /* MSG names the full one; that one in the place of either */
    in.origin_core = x->org.full;
    in.origin_full = x->org.core;
    assert_int_equal(open_as(&x->destination, mailw_msg(), &in, &out), KD_OK);
    in.origin_core = in.origin_full = x->org.core;
    assert_refused(mailw_msg(), &in);
    in.origin_core = in.origin_full = x->other_org.full;
    assert_refused(mailw_msg(), &in);
}

static void
a_recipient_of_any_domain_is_told(void **state)
{
    static const char text[] =
        "Recipient: <a.b+c@x.example.net>\r\nRecipient-Signet: ["
        "r7jvjk+xzInR66tkV5Dx39b0u1D/l3hBlX0KKs5GOf7u/0qI/"
        "pU8dIYFA8r7cqAWdVsxi7fYi2lx6LCM"
        "Eqi/OA]\r\nOrigin: <example.com>\r\nOrigin-Signet: ["
        "a5telvkSzl2HSShNKl7L/"
        "844o+ZRZlfbZguWbXmBJihXHlsBiwSbqpjsjvwRte0NXD9gPbbtfL1PtUIg"
        "MV0qVg]\r\n";
    const struct dmw_chunk c = {.type = 5, .data = kd_slice_str(text), .padding = 9};
    struct mail_opened out;

    (void)state;
    assert_int_equal(try_open(write_message((struct dmw_recipe){.instead = &c}), &out),
                     KD_OK);
    assert_string_equal(out.address, "a.b+c@x.example.net");
}

/* --- what is none --- */

static void
an_envelope_that_is_none_is_refused(void **state)
{
    static const struct {
        size_t at;
        char c;
    } changes[] = {
        {0, 'r'},   {11, '['},  {12, '.'},  {12, 'B'},   {15, '.'},  {27, '.'},
        {28, '\n'}, {48, '('},  {133, '='}, {134, 'x'},  {137, 'o'}, {146, 'f'},
        {157, 'x'}, {175, '('}, {180, 'A'}, {260, '\r'},
    };

    (void)state;
    for (size_t i = 0; i < LEN(changes); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s", dmw_text(5));
        text[changes[i].at] = changes[i].c;
        if (strcmp(text, dmw_text(5)) == 0)
            continue;
        const struct dmw_chunk c = {
            .type = 5, .data = kd_slice_str(text), .padding = 90};
        assert_refused(write_message((struct dmw_recipe){.instead = &c}), &x->inbound);
    }
}

static void
a_payload_that_is_none_is_refused(void **state)
{
    struct dmw_chunk bad[] = {
        {.spoil_padding = 1, .padding = 100},
        {.has_octet = true, .octet = 3, .padding = 100},
        {.has_length = true, .length = 0, .padding = 100},
        {.has_length = true, .length = 0xffffff, .padding = 100},
        {.flags = 8, .padding = 100},
        {.flags = 4, .padding = 100},
        {.flags = 2, .padding = 100},
        {.flags = 128, .padding = 100},
    };

    (void)state;
    for (size_t i = 0; i < LEN(bad); i++) {
        bad[i].type = 5;
        bad[i].data = kd_slice_str(dmw_text(5));
        assert_refused(
            write_message((struct dmw_recipe){.seed = i, .instead = &bad[i]}),
            &x->inbound);
    }
}

static void
a_chunk_5_too_large_for_a_text_touches_no_key(void **state)
{
    uint8_t *data = calloc(1, 1 << 20);
    const struct dmw_chunk c = {.type = 5, .data = kd_slice(data, 1 << 20)};

    (void)state;
    assert_non_null(data);
    assert_refused_unopened(write_message((struct dmw_recipe){.instead = &c}),
                            &x->inbound);
    free(data);
}

/* 255 covers all in front of it; of itself our slot and the payload. */
static void
no_octet_that_was_signed_can_be_changed(void **state)
{
    struct kd_slice msg = mailw_msg();
    uint8_t *copy = copy_of(msg);
    const struct dime_source source = dime_source_of(kd_slice(copy, msg.n));
    struct dime_message m = parsed(msg);
    size_t slots = (size_t)dime_chunk_slots(&m.organization);
    struct mail_opened out;

    (void)state;
    for (size_t at = 0; at < msg.n; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        copy[at] ^= bit;
        kd_err err = mail_open_inbound(&x->destination, &source, &x->inbound, &out);
        if (at >= slots && (at < slots + 128 || at >= slots + 192))
            assert_int_equal(err, KD_OK);
        else if (err != KD_MALFORMED || out.key_used)
            assert_int_equal(err, KD_INVALID);
        if (err != KD_OK)
            assert_nothing_told(&out);
        copy[at] ^= bit;
    }
    free(copy);
}

/* --- keys --- */

static void
an_ephemeral_key_that_is_a_static_one_touches_no_key(void **state)
{
    struct kd_slice msg = mailw_msg();
    uint8_t *copy = copy_of(msg);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (uint8_t sign = 0; sign < 2; sign++) {
            memcpy(copy + 10, x->ours[i], 33);
            copy[10] ^= sign;
            assert_refused_unopened(kd_slice(copy, msg.n), &x->inbound);
        }
    struct mail_keys k = x->destination;
    struct mail_opened out;
    k.n_ours = 0; /* the origin's is one of the message's, too */
    memcpy(copy + 10, x->org.signet.enc_key, 33);
    assert_int_equal(open_as(&k, kd_slice(copy, msg.n), &x->inbound, &out), KD_INVALID);
    assert_false(out.key_used);
    free(copy);
}

static void
a_message_for_another_key_of_ours_is_refused(void **state)
{
    const struct kd_key_id others[] = {x->origin_enc, x->former_enc};
    struct mail_opened out;

    (void)state;
    for (size_t i = 0; i < LEN(others); i++) {
        struct mail_keys k = x->destination;
        k.opener = others[i];
        assert_int_equal(open_as(&k, mailw_msg(), &x->inbound, &out), KD_INVALID);
        assert_true(out.key_used);
    }
}

static void
errors_of_the_token_are_passed_on(void **state)
{
    struct mail_keys k = x->destination;
    struct mail_opened out;

    (void)state;
    memset(&k.opener, 7, sizeof k.opener);
    assert_int_equal(open_as(&k, mailw_msg(), &x->inbound, &out), KD_NOT_FOUND);
    k.opener = x->sok;
    assert_int_equal(open_as(&k, mailw_msg(), &x->inbound, &out), KD_DENIED);
}

static void
what_is_no_message_touches_no_key(void **state)
{
    struct mail_inbound in = x->inbound;
    struct kd_slice msg = mailw_msg();
    struct mail_opened out;

    (void)state;
    in.max = msg.n - 1;
    assert_int_equal(open_as(&x->destination, msg, &in, &out), KD_TOO_LARGE);
    assert_int_equal(out.flaw, DIME_FLAW_TOO_LARGE);
    assert_false(out.key_used);
    in = x->inbound;
    assert_int_equal(open_as(&x->destination, x->org.octets, &in, &out), KD_MALFORMED);
    assert_int_equal(out.flaw, DIME_FLAW_MAGIC);
    assert_false(out.key_used);
    for (size_t n = 1; n < msg.n; n += 61) {
        assert_int_equal(open_as(&x->destination, kd_slice(msg.p, n), &in, &out),
                         KD_MALFORMED);
        assert_false(out.key_used);
    }
}

static void
no_secret_memory_is_kept(void **state)
{
    const struct dime_source source = dime_source_of(mailw_msg());
    struct mail_opened out;

    (void)state;
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(mail_open_inbound(&x->destination, &source, &x->inbound, &out),
                         KD_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_12_MSG_is_for_bob),
        cmocka_unit_test(T_OP_12_with_a_broken_255_nothing_else_is_opened),
        cmocka_unit_test(bounce_signatures_are_noted_only),
        cmocka_unit_test(the_primary_key_signs_as_well_and_nobody_else),
        cmocka_unit_test(secondary_keys_need_the_permission),
        cmocka_unit_test(of_many_foreign_keys_few_are_tried_on_a_large_message),
        cmocka_unit_test(keys_are_counted_before_anything_is_checked),
        cmocka_unit_test(a_message_of_another_origin_than_stated_is_refused),
        cmocka_unit_test(the_signet_that_verifies_must_be_the_one_that_was_meant),
        cmocka_unit_test(a_recipient_of_any_domain_is_told),
        cmocka_unit_test(an_envelope_that_is_none_is_refused),
        cmocka_unit_test(a_payload_that_is_none_is_refused),
        cmocka_unit_test(a_chunk_5_too_large_for_a_text_touches_no_key),
        cmocka_unit_test(no_octet_that_was_signed_can_be_changed),
        cmocka_unit_test(an_ephemeral_key_that_is_a_static_one_touches_no_key),
        cmocka_unit_test(a_message_for_another_key_of_ours_is_refused),
        cmocka_unit_test(errors_of_the_token_are_passed_on),
        cmocka_unit_test(what_is_no_message_touches_no_key),
        cmocka_unit_test(no_secret_memory_is_kept),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
