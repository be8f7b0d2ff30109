/* SignOutbound at the library's level: what is signed, and that nothing else is. */
#include "mailw.h"
#include "test.h"

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

/* --- helpers --- */

/* Nothing but the facts about the walk is left of what was not signed. */
static void
assert_nothing_released(const struct mail_signed *out)
{
    const struct mail_signed bare = {.key_used = out->key_used, .flaw = out->flaw};

    assert_int_equal(out->has_metadata, bare.has_metadata);
    assert_int_equal(out->has_display, bare.has_display);
    assert_true(mailw_is_zero(out->metadata, 64) && mailw_is_zero(out->display, 64) &&
                mailw_is_zero(out->organization, 64) &&
                mailw_is_zero(out->destination_fp, 64) &&
                mailw_is_zero(out->digests, sizeof out->digests));
    assert_int_equal(out->n_digests, 0);
    assert_int_equal(out->author, 0);
}

/* From memory, of a block of exactly that size, and from a file: alike. */
static kd_err
sign_as(const struct mail_keys *k, struct kd_slice octets,
        const struct mail_outbound *in, struct mail_signed *out)
{
    uint8_t *copy = malloc(octets.n);
    struct mail_signed from_file;

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    struct dime_source memory = dime_source_of(kd_slice(copy, octets.n));
    kd_err err = mail_sign_outbound(k, &memory, in, out);
    free(copy);
    int fd = mailw_file(octets);
    struct dime_source file = dime_source_file(fd, octets.n);
    assert_int_equal(mail_sign_outbound(k, &file, in, &from_file), err);
    close(fd);
    assert_int_equal(from_file.key_used, out->key_used);
    assert_int_equal(from_file.flaw, out->flaw);
    assert_memory_equal(from_file.organization, out->organization, 64);
    assert_memory_equal(from_file.digests, out->digests, sizeof out->digests);
    if (err != KD_OK)
        assert_nothing_released(out);
    return err;
}

static kd_err
try_sign(struct kd_slice octets, struct mail_signed *out)
{
    return sign_as(&x->origin, octets, &x->outbound, out);
}

/* Refused behind the key, and as everything is that is refused there. */
static void
assert_refused(struct kd_slice octets, const struct mail_outbound *in)
{
    struct mail_signed out;

    assert_int_equal(sign_as(&x->origin, octets, in, &out), KD_INVALID);
    assert_true(out.key_used);
    assert_int_equal(out.flaw, DIME_FLAW_NONE);
}

/* Refused for what everybody can see, and no key was touched. */
static void
assert_refused_unopened(struct kd_slice octets, const struct mail_outbound *in)
{
    struct mail_signed out;

    assert_int_equal(sign_as(&x->origin, octets, in, &out), KD_INVALID);
    assert_false(out.key_used);
}

/* What dmw writes with blank places for the organization. */
static struct kd_slice
write_blank(struct dmw_recipe r)
{
    dmw_free(&written);
    r.placeholders = true;
    return dmw_message(&written, &r);
}

static const uint8_t *
payload_of(struct kd_slice octets, uint8_t type)
{
    const struct dime_source source = dime_source_of(octets);
    struct dime_message m;

    assert_int_equal(dime_message_parse(&source, MAILW_MAX, &m, NULL), KD_OK);
    return octets.p + dime_chunk_payload(dime_message_chunk(&m, type));
}

/* The message with the payloads in their places. */
static uint8_t *
finished(struct kd_slice octets, const struct mail_signed *s)
{
    uint8_t *copy = malloc(octets.n);

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    if (s->has_metadata)
        memcpy(copy + (payload_of(octets, 248) - octets.p), s->metadata, 64);
    if (s->has_display)
        memcpy(copy + (payload_of(octets, 249) - octets.p), s->display, 64);
    memcpy(copy + (payload_of(octets, 255) - octets.p), s->organization, 64);
    return copy;
}

/* A digest is of what the signature covers, which is good over just that. */
static void
assert_signature(struct kd_slice octets, uint8_t type, const uint8_t digest[32])
{
    const struct dime_source source = dime_source_of(octets);
    struct dime_message m;
    uint8_t sig[64], hash[32];

    assert_int_equal(dime_message_parse(&source, MAILW_MAX, &m, NULL), KD_OK);
    const uint8_t *from = octets.p + m.begin;
    size_t n = (size_t)(dime_message_signed_until(&m, type) - m.begin);
    crypto_hash_sha256(hash, from, n);
    assert_memory_equal(hash, digest, 32);
    mailw_signature(octets, type, sig);
    assert_int_equal(crypto_sign_verify_detached(sig, from, n, sg_world()->sok.key), 0);
}

/* --- what is signed --- */

static void
T_OP_6_the_signatures_of_MSG_are_made_octet_for_octet(void **state)
{
    struct kd_slice msg = mailw_msg();
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    assert_memory_not_equal(blank, msg.p, n);
    assert_int_equal(try_sign(kd_slice(blank, n), &out), KD_OK);
    assert_true(out.key_used && out.has_metadata && out.has_display);
    assert_memory_equal(out.metadata, payload_of(msg, 248), 64);
    assert_memory_equal(out.display, payload_of(msg, 249), 64);
    assert_memory_equal(out.organization, payload_of(msg, 255), 64);
    assert_int_equal(out.n_digests, 3);
    assert_signature(msg, 248, out.digests[0]);
    assert_signature(msg, 249, out.digests[1]);
    assert_signature(msg, 255, out.digests[2]);
    assert_int_equal(out.author, 0);
    assert_memory_equal(out.destination_fp, x->other_org.full, 64);
    free(blank);
}

static void
only_the_places_that_are_there_are_filled(void **state)
{
    struct mail_signed out;
    struct kd_slice octets =
        write_blank((struct dmw_recipe){.seed = 1, .no_bounces = true});

    (void)state;
    assert_int_equal(try_sign(octets, &out), KD_OK);
    assert_false(out.has_metadata || out.has_display);
    assert_int_equal(out.n_digests, 1);
    uint8_t *done = finished(octets, &out);
    assert_signature(kd_slice(done, octets.n), 255, out.digests[0]);
    free(done);
}

static void
either_bounce_signature_may_be_left_out(void **state)
{
    (void)state;
    for (uint8_t type = 248; type < 250; type++) {
        dmw_free(&written);
        dmw_begin(&written, type);
        for (size_t i = 0; i < 5; i++) {
            static const uint8_t types[] = {4, 5, 33, 34, 67};
            dmw_put(&written,
                    &(struct dmw_chunk){.type = types[i],
                                        .data = kd_slice_str(dmw_text(types[i]))});
        }
        dmw_sign(&written, 225, &sg_world()->alice, 0);
        dmw_sign(&written, 226, &sg_world()->alice, 0);
        dmw_sign(&written, type, NULL, 0);
        dmw_sign(&written, 255, NULL, 0);
        struct kd_slice octets = dmw_end(&written);
        struct mail_signed out;
        assert_int_equal(try_sign(octets, &out), KD_OK);
        assert_int_equal(out.has_metadata, type == 248);
        assert_int_equal(out.has_display, type == 249);
        assert_int_equal(out.n_digests, 2);
        uint8_t *done = finished(octets, &out);
        assert_signature(kd_slice(done, octets.n), type, out.digests[0]);
        assert_signature(kd_slice(done, octets.n), 255, out.digests[1]);
        free(done);
    }
}

static void
a_large_message_in_a_file_is_signed(void **state)
{
    enum { SIZE = 3 << 20 };
    uint8_t *data = calloc(1, SIZE);
    struct dmw_chunk parts[2] = {{.type = 67}, {.type = 131}};
    struct mail_signed out;

    (void)state;
    assert_non_null(data);
    parts[0].data = parts[1].data = kd_slice(data, SIZE);
    struct kd_slice octets =
        write_blank((struct dmw_recipe){.seed = 2, .contents = parts, .n_contents = 2});
    assert_int_equal(try_sign(octets, &out), KD_OK);
    uint8_t *done = finished(octets, &out);
    assert_signature(kd_slice(done, octets.n), 248, out.digests[0]);
    assert_signature(kd_slice(done, octets.n), 249, out.digests[1]);
    assert_signature(kd_slice(done, octets.n), 255, out.digests[2]);
    free(done);
    free(data);
}

static void
the_tree_of_libdime_is_believed_with_a_good_226(void **state)
{
    struct mail_signed out;

    (void)state;
    assert_int_equal(
        try_sign(write_blank((struct dmw_recipe){.seed = 3, .legacy_tree = true}),
                 &out),
        KD_OK);
    assert_refused(write_blank((struct dmw_recipe){
                       .seed = 3, .legacy_tree = true, .author_by = &sg_world()->bob}),
                   &x->outbound);
}

/* --- whose it is --- */

static void
T_OP_7_another_account_gets_no_signature(void **state)
{
    static const char *const accounts[] = {"mallory@example.com", "alice@example.org",
                                           "alicf@example.com", "a@example.com",
                                           "alice@example.com.example.com"};
    struct mail_outbound in = x->outbound;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    for (size_t i = 0; i < LEN(accounts); i++) {
        in.account = kd_slice_str(accounts[i]);
        assert_refused(kd_slice(blank, n), &in);
    }
    free(blank);
}

static void
T_OP_8_signatures_that_are_not_the_authors_get_none(void **state)
{
    const struct sg_world *world = sg_world();
    const struct sg_pair *const others[] = {&world->bob, &world->alice0, &world->pok,
                                            &world->sok};

    (void)state;
    for (size_t i = 0; i < LEN(others); i++) {
        assert_refused(write_blank((struct dmw_recipe){.author_by = others[i]}),
                       &x->outbound);
        assert_refused(write_blank((struct dmw_recipe){.tree_by = others[i]}),
                       &x->outbound);
        assert_refused(write_blank((struct dmw_recipe){.author_by = others[i],
                                                       .tree_by = others[i]}),
                       &x->outbound);
    }
}

static void
T_OP_8_a_signet_that_counts_no_more_gets_none(void **state)
{
    struct mail_outbound in = x->outbound;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    in.authors = &x->alice0; /* the only one; MSG is under USER1 */
    assert_refused(kd_slice(blank, n), &in);
    free(blank);
}

static void
signets_that_still_count_are_found_by_either_fingerprint(void **state)
{
    struct mail_author authors[MAIL_AUTHORS_MAX];
    struct mail_outbound in = x->outbound;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    in.authors = authors;
    for (unsigned at = 0; at < MAIL_AUTHORS_MAX; at++) {
        for (size_t i = 0; i < MAIL_AUTHORS_MAX; i++)
            authors[i] = x->alice0;
        authors[at] = x->alice;
        for (unsigned by_core = 0; by_core < 2; by_core++) {
            struct mail_signed out;
            /* MSG names the core: let it be the full one's place */
            memcpy(authors[at].full, by_core ? x->alice.full : x->alice.core, 64);
            memcpy(authors[at].core, by_core ? x->alice.core : x->alice.full, 64);
            in.n_authors = MAIL_AUTHORS_MAX;
            assert_int_equal(sign_as(&x->origin, kd_slice(blank, n), &in, &out), KD_OK);
            assert_int_equal(out.author, at);
            in.n_authors = at;
            if (at != 0)
                assert_refused(kd_slice(blank, n), &in);
        }
    }
    in.n_authors = 0;
    assert_refused_unopened(kd_slice(blank, n), &in);
    in.n_authors = MAIL_AUTHORS_MAX + 1;
    assert_refused_unopened(kd_slice(blank, n), &in);
    free(blank);
}

/* The signet that is named decides, not one that is there as well. */
static void
a_message_under_one_signet_signed_with_the_key_of_another_is_refused(void **state)
{
    const struct mail_author authors[] = {x->alice, x->alice0};
    struct mail_outbound in = x->outbound;

    (void)state;
    in.authors = authors;
    in.n_authors = 2;
    assert_refused(write_blank((struct dmw_recipe){.author_by = &sg_world()->alice0,
                                                   .tree_by = &sg_world()->alice0}),
                   &in);
}

static void
T_OP_9_another_destination_gets_no_signature(void **state)
{
    static const char *const domains[] = {"example.com", "example.orh", "xexample.org",
                                          "org"};
    struct mail_outbound in = x->outbound;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    for (size_t i = 0; i < LEN(domains); i++) {
        in.destination = kd_slice_str(domains[i]);
        assert_refused(kd_slice(blank, n), &in);
    }
    free(blank);
}

static void
names_that_are_none_touch_no_key(void **state)
{
    static const char *const names[] = {"",       "example",      "Alice@example.com",
                                        "alice@", "@example.com", "1.2.3.4"};
    struct mail_outbound in = x->outbound;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    for (size_t i = 0; i < LEN(names); i++) {
        in.account = kd_slice_str(names[i]);
        assert_refused_unopened(kd_slice(blank, n), &in);
    }
    in = x->outbound;
    in.destination = kd_slice_str("alice@example.org");
    assert_refused_unopened(kd_slice(blank, n), &in);
    free(blank);
}

/* --- the places --- */

static void
T_OP_10_a_message_without_255_touches_no_key(void **state)
{
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);
    size_t at = (size_t)(payload_of(kd_slice(blank, n), 255) - blank) - 4;

    (void)state;
    kd_put_be32(blank + 2, (uint32_t)(at - 6));
    assert_int_equal(try_sign(kd_slice(blank, at), &out), KD_MALFORMED);
    assert_int_equal(out.flaw, DIME_FLAW_UNSIGNED);
    assert_false(out.key_used);
    free(blank);
}

static void
places_that_hold_anything_are_refused(void **state)
{
    static const uint8_t types[] = {248, 249, 255};
    static const size_t bits[] = {0, 7, 255, 256, 511};

    (void)state;
    for (size_t t = 0; t < LEN(types); t++)
        for (size_t b = 0; b < LEN(bits); b++) {
            size_t n;
            uint8_t *blank = mailw_blank_msg(&n), octets[64] = {0};
            octets[bits[b] / 8] = (uint8_t)(1u << bits[b] % 8);
            mailw_put_signature(blank, n, types[t], octets);
            assert_refused(kd_slice(blank, n), &x->outbound);
            free(blank);
        }
    /* a finished message is signed once */
    assert_refused(mailw_msg(), &x->outbound);
}

/* --- the envelope --- */

static void
an_envelope_that_is_none_is_refused(void **state)
{
    const char *good = dmw_text(4);
    static const struct {
        size_t at;
        char c;
    } changes[] = {
        {0, 'a'},  {7, ' '},   {8, 'A'},   {25, '?'},  {26, '\n'}, {43, '('},
        {44, '-'}, {128, '/'}, {129, 'h'}, {130, '>'}, {147, 'f'},
    };

    (void)state;
    for (size_t i = 0; i < LEN(changes); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s", good);
        if (text[changes[i].at] == changes[i].c)
            continue;
        text[changes[i].at] = changes[i].c;
        const struct dmw_chunk c = {
            .type = 4, .data = kd_slice_str(text), .padding = 90};
        assert_refused(write_blank((struct dmw_recipe){.instead = &c}), &x->outbound);
    }
    static const char *const texts[] = {"", "x", "Author: <alice@example.com>\r\n"};
    for (size_t i = 1; i < LEN(texts); i++) {
        const struct dmw_chunk c = {.type = 4, .data = kd_slice_str(texts[i])};
        assert_refused(write_blank((struct dmw_recipe){.instead = &c}), &x->outbound);
    }
}

static void
a_payload_that_is_none_is_refused(void **state)
{
    struct dmw_chunk bad[] = {
        {.type = 4, .spoil_padding = 1, .padding = 100},
        {.type = 4, .has_octet = true, .octet = 3, .padding = 100},
        {.type = 4, .has_length = true, .length = 0, .padding = 100},
        {.type = 4, .has_length = true, .length = 0xffffff, .padding = 100},
        {.type = 4, .flags = 8, .padding = 100},
        {.type = 4, .flags = 4, .padding = 100},
        {.type = 4, .flags = 128, .padding = 100},
        /* well formed, but chunk 4 is not by its author */
        {.type = 4, .by = &sg_world()->bob, .padding = 100},
        {.type = 4, .spoil_signature = true, .padding = 100},
    };

    (void)state;
    for (size_t i = 0; i < LEN(bad); i++) {
        bad[i].data = kd_slice_str(dmw_text(4));
        assert_refused(write_blank((struct dmw_recipe){.seed = i, .instead = &bad[i]}),
                       &x->outbound);
    }
}

static void
a_chunk_4_too_large_for_a_text_touches_no_key(void **state)
{
    uint8_t *data = calloc(1, 1 << 20);
    const struct dmw_chunk c = {.type = 4, .data = kd_slice(data, 1 << 20)};

    (void)state;
    assert_non_null(data);
    assert_refused_unopened(write_blank((struct dmw_recipe){.instead = &c}),
                            &x->outbound);
    free(data);
}

/* What nobody's signature but ours will cover: the slots of others of the author's
 * last signature and of our places. */
static bool
is_free(const struct dime_message *m, size_t at)
{
    const struct dime_chunk *const last[] = {&m->author, &m->metadata_bounce,
                                             &m->display_bounce, &m->organization};

    for (size_t i = 0; i < LEN(last); i++) {
        size_t slots = (size_t)dime_chunk_slots(last[i]);
        bool own =
            at >= slots + 64 && at < slots + 128; /* the origin's is the second */
        if (at >= slots && at < dime_chunk_end(last[i]) && !own)
            return true;
    }
    return false;
}

static void
no_octet_that_the_author_signed_can_be_changed(void **state)
{
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);
    const struct dime_source source = dime_source_of(kd_slice(blank, n));
    struct dime_message m;
    struct mail_signed out;

    (void)state;
    assert_int_equal(dime_message_parse(&source, MAILW_MAX, &m, NULL), KD_OK);
    for (size_t at = 0; at < n; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        blank[at] ^= bit;
        kd_err err = mail_sign_outbound(&x->origin, &source, &x->outbound, &out);
        if (is_free(&m, at))
            assert_int_equal(err, KD_OK);
        else if (err != KD_MALFORMED || out.key_used)
            assert_int_equal(err, KD_INVALID);
        blank[at] ^= bit;
    }
    free(blank);
}

/* --- keys --- */

static void
an_ephemeral_key_that_is_a_static_one_touches_no_key(void **state)
{
    const uint8_t *const keys[] = {x->ours[0], x->ours[1], x->ours[2],
                                   x->alice.enc_key};
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    for (size_t i = 0; i < LEN(keys); i++)
        for (uint8_t sign = 0; sign < 2; sign++) {
            memcpy(blank + 10, keys[i], 33);
            blank[10] ^= sign;
            assert_refused_unopened(kd_slice(blank, n), &x->outbound);
        }
    memcpy(blank + 10, sg_world()->bob_enc, 33); /* not known here: another message */
    assert_refused(kd_slice(blank, n), &x->outbound);
    free(blank);
}

static void
a_message_for_another_key_of_ours_is_refused(void **state)
{
    struct mail_keys k = x->origin;
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    k.opener = x->former_enc;
    assert_int_equal(sign_as(&k, kd_slice(blank, n), &x->outbound, &out), KD_INVALID);
    assert_true(out.key_used);
    free(blank);
}

static void
errors_of_the_token_are_passed_on_and_release_nothing(void **state)
{
    struct mail_keys k = x->origin;
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    memset(&k.opener, 7, sizeof k.opener);
    assert_int_equal(sign_as(&k, kd_slice(blank, n), &x->outbound, &out), KD_NOT_FOUND);
    k = x->origin;
    memset(&k.signer, 7, sizeof k.signer);
    assert_int_equal(sign_as(&k, kd_slice(blank, n), &x->outbound, &out), KD_NOT_FOUND);
    k.signer = x->origin_enc;
    assert_int_equal(sign_as(&k, kd_slice(blank, n), &x->outbound, &out), KD_DENIED);
    k = x->origin;
    k.opener = x->sok;
    assert_int_equal(sign_as(&k, kd_slice(blank, n), &x->outbound, &out), KD_DENIED);
    free(blank);
}

static void
a_message_above_the_limit_is_too_large(void **state)
{
    struct mail_outbound in = x->outbound;
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);

    (void)state;
    in.max = n;
    assert_int_equal(sign_as(&x->origin, kd_slice(blank, n), &in, &out), KD_OK);
    in.max = n - 1;
    assert_int_equal(sign_as(&x->origin, kd_slice(blank, n), &in, &out), KD_TOO_LARGE);
    assert_int_equal(out.flaw, DIME_FLAW_TOO_LARGE);
    assert_false(out.key_used);
    free(blank);
}

/* Everything of a walk has been given back. */
static void
no_secret_memory_is_kept(void **state)
{
    struct mail_signed out;
    size_t n;
    uint8_t *blank = mailw_blank_msg(&n);
    const struct dime_source source = dime_source_of(kd_slice(blank, n));

    (void)state;
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(mail_sign_outbound(&x->origin, &source, &x->outbound, &out),
                         KD_OK);
    free(blank);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_6_the_signatures_of_MSG_are_made_octet_for_octet),
        cmocka_unit_test(only_the_places_that_are_there_are_filled),
        cmocka_unit_test(either_bounce_signature_may_be_left_out),
        cmocka_unit_test(a_large_message_in_a_file_is_signed),
        cmocka_unit_test(the_tree_of_libdime_is_believed_with_a_good_226),
        cmocka_unit_test(T_OP_7_another_account_gets_no_signature),
        cmocka_unit_test(T_OP_8_signatures_that_are_not_the_authors_get_none),
        cmocka_unit_test(T_OP_8_a_signet_that_counts_no_more_gets_none),
        cmocka_unit_test(signets_that_still_count_are_found_by_either_fingerprint),
        cmocka_unit_test(
            a_message_under_one_signet_signed_with_the_key_of_another_is_refused),
        cmocka_unit_test(T_OP_9_another_destination_gets_no_signature),
        cmocka_unit_test(names_that_are_none_touch_no_key),
        cmocka_unit_test(T_OP_10_a_message_without_255_touches_no_key),
        cmocka_unit_test(places_that_hold_anything_are_refused),
        cmocka_unit_test(an_envelope_that_is_none_is_refused),
        cmocka_unit_test(a_payload_that_is_none_is_refused),
        cmocka_unit_test(a_chunk_4_too_large_for_a_text_touches_no_key),
        cmocka_unit_test(no_octet_that_the_author_signed_can_be_changed),
        cmocka_unit_test(an_ephemeral_key_that_is_a_static_one_touches_no_key),
        cmocka_unit_test(a_message_for_another_key_of_ours_is_refused),
        cmocka_unit_test(errors_of_the_token_are_passed_on_and_release_nothing),
        cmocka_unit_test(a_message_above_the_limit_is_too_large),
        cmocka_unit_test(no_secret_memory_is_kept),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
