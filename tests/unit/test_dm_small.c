/* Small messages in memory: when libsodium's own verification is used, and that
 * verdicts are those of the one reading that large messages and files get. */
#include "dmw.h"
#include "eddsa.h"
#include "test.h"

#include <dime/message_verify.h>
#include <dime/span.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { REGION = 1 << 16, PIECE = 64 << 10 };

static const uint8_t types[] = {225, 226, 248, 249, 255};
static struct dmw w;
static uint8_t octets[2 * PIECE];
static unsigned quick; /* verifications by libsodium */

kd_err __real_eddsa_verify_quick(const uint8_t key[32], struct kd_slice message,
                                 const uint8_t sig[64]);
kd_err __wrap_eddsa_verify_quick(const uint8_t key[32], struct kd_slice message,
                                 const uint8_t sig[64]);

kd_err
__wrap_eddsa_verify_quick(const uint8_t key[32], struct kd_slice message,
                          const uint8_t sig[64])
{
    quick++;
    return __real_eddsa_verify_quick(key, message, sig);
}

static int
begin(void **state)
{
    static const uint8_t seed[randombytes_SEEDBYTES] = {1};

    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    randombytes_buf_deterministic(octets, sizeof octets, seed);
    return 0;
}

/* --- signatures --- */

/* A message with its signatures opened. */
struct letter {
    uint8_t *octets;
    size_t n;
    uint8_t sigs[LEN(types)][64];
    struct dime_claims claims;
};

static struct dime_message
parsed(const struct dime_source *source)
{
    struct dime_message m;

    assert_int_equal(dime_message_parse(source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    return m;
}

static void
open_signature(struct letter *l, const struct dime_message *m, size_t i)
{
    const struct dmw_mark *mark = dmw_find(&w, types[i], 0);
    struct dime_chunk_key k;

    memcpy(k.iv, mark->key.iv, sizeof k.iv);
    memcpy(k.key, mark->key.key, sizeof k.key);
    assert_int_equal(
        dime_signature_open(m, dime_message_chunk(m, types[i]), &k, l->sigs[i]), KD_OK);
}

static void
letter_init(struct letter *l, const struct dmw_recipe *r)
{
    struct kd_slice made = dmw_message(&w, r);
    struct dime_source source = dime_source_of(made);
    struct dime_message m = parsed(&source);
    const uint8_t(*alice)[32] = (const uint8_t(*)[32]) & sg_world()->alice.key;
    const uint8_t(*org)[32] = (const uint8_t(*)[32]) & sg_world()->sok.key;

    for (size_t i = 0; i < LEN(types); i++)
        open_signature(l, &m, i);
    l->claims = (struct dime_claims){.tree = {l->sigs[0], alice, 1},
                                     .author = {l->sigs[1], alice, 1},
                                     .metadata_bounce = {l->sigs[2], org, 1},
                                     .display_bounce = {l->sigs[3], org, 1},
                                     .organization = {l->sigs[4], org, 1},
                                     .vouching = true};
    l->n = made.n;
    assert_non_null(l->octets = malloc(made.n));
    memcpy(l->octets, made.p, made.n);
}

static void
letter_clear(struct letter *l)
{
    free(l->octets);
    dmw_free(&w);
}

/* In memory and in a file, where no signature costs less than another. */
static struct dime_verdicts
verdicts(const struct letter *l)
{
    struct kd_slice whole = kd_slice(l->octets, l->n);
    struct dime_source memory = dime_source_of(whole), file;
    struct dime_verdicts v, of_file;
    struct dime_message m;
    int fd;

    assert_int_equal(kd_memfd_seal(whole, &fd), KD_OK);
    file = dime_source_file(fd, l->n);
    m = parsed(&file);
    quick = 0;
    assert_int_equal(dime_message_verify(&m, &l->claims, &of_file), KD_OK);
    assert_int_equal(quick, 0);
    m = parsed(&memory);
    assert_int_equal(dime_message_verify(&m, &l->claims, &v), KD_OK);
    assert_int_equal(v.tree, of_file.tree);
    assert_int_equal(v.author, of_file.author);
    assert_int_equal(v.metadata_bounce, of_file.metadata_bounce);
    assert_int_equal(v.display_bounce, of_file.display_bounce);
    assert_int_equal(v.organization, of_file.organization);
    close(fd);
    return v;
}

static void
libsodium_verifies_what_226_vouches_for(void **state)
{
    struct letter l;
    struct dime_verdicts v;

    (void)state;
    letter_init(&l, &(struct dmw_recipe){.seed = 300});
    v = verdicts(&l);
    assert_int_equal(quick, 4);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.metadata_bounce, DIME_VERDICT_GOOD);
    assert_int_equal(v.display_bounce, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    l.claims.vouching = false; /* a server */
    assert_int_equal(verdicts(&l).organization, DIME_VERDICT_GOOD);
    assert_int_equal(quick, 0);
    letter_clear(&l);
    letter_init(&l, &(struct dmw_recipe){.seed = 301, .legacy_tree = true});
    v = verdicts(&l);
    assert_int_equal(quick, 5); /* both forms of the tree */
    assert_int_equal(v.tree, DIME_VERDICT_LEGACY);
    letter_clear(&l);
}

static void
libsodium_verifies_nothing_without_a_good_226(void **state)
{
    struct letter l;

    (void)state;
    letter_init(&l, &(struct dmw_recipe){.seed = 302});
    l.sigs[1][40] ^= 1;
    assert_int_equal(verdicts(&l).author, DIME_VERDICT_BAD);
    assert_int_equal(quick, 0);
    l.claims.author.sig = NULL;
    assert_int_equal(verdicts(&l).author, DIME_VERDICT_NOT_ASKED);
    assert_int_equal(quick, 0);
    letter_clear(&l);
    letter_init(&l, &(struct dmw_recipe){.seed = 303, .author_by = &sg_world()->bob});
    assert_int_equal(verdicts(&l).organization, DIME_VERDICT_GOOD);
    assert_int_equal(quick, 0);
    letter_clear(&l);
}

/* Copies the octets that decrypt to a keyslot's key, or one less, and says how many
 * signatures libsodium then verifies. */
static unsigned
with_slot_moved(struct letter *l, size_t from, size_t to, size_t n)
{
    uint8_t kept[64];

    memcpy(kept, l->octets + to, sizeof kept);
    memcpy(l->octets + to + 64 - n, l->octets + from + 64 - n, n);
    kd_ignore(verdicts(l).author);
    unsigned count = quick;
    memcpy(l->octets + to, kept, sizeof kept);
    return count;
}

static void
a_keyslot_that_moved_behind_226_takes_libsodium_away(void **state)
{
    static const uint8_t signatures[] = {248, 249, 255};
    enum { KEY = 48 };
    struct letter l;

    (void)state;
    letter_init(&l, &(struct dmw_recipe){.seed = 304});
    for (size_t i = 0; i < w.n; i++) {
        const struct dmw_mark *c = &w.chunks[i];
        for (size_t k = 0; k < LEN(signatures) && c->type > 2; k++) {
            const struct dmw_mark *s = dmw_find(&w, signatures[k], 0);
            size_t to = s->slots + 64 * (i % 4);
            size_t last = c->end - 64;
            bool by_author = c->type <= 226;
            if (c == s)
                continue;
            assert_int_equal(with_slot_moved(&l, c->slots, to, KEY), by_author ? 0 : 4);
            assert_int_equal(with_slot_moved(&l, last, to, 64), by_author ? 0 : 4);
            assert_int_equal(with_slot_moved(&l, last, to, KEY - 1), 4);
        }
    }
    letter_clear(&l);
}

static void
whatever_is_changed_verdicts_are_those_of_a_file(void **state)
{
    struct letter l;

    (void)state;
    letter_init(&l, &(struct dmw_recipe){.seed = 305});
    for (size_t i = 0; i < w.n; i++) {
        const struct dmw_mark *c = &w.chunks[i];
        if (c->type == 2)
            continue; /* might be no key */
        l.octets[c->at + 4] ^= 1;
        assert_int_equal(verdicts(&l).author == DIME_VERDICT_GOOD, c->type >= 226);
        l.octets[c->at + 4] ^= 1;
    }
    for (size_t i = 0; i < LEN(types); i++) {
        for (size_t at = 0; at < 64; at += 21) {
            l.sigs[i][at] ^= 0x80;
            kd_ignore(verdicts(&l).author);
            l.sigs[i][at] ^= 0x80;
        }
        memset(l.sigs[i] + 32, 0xff, 32); /* above the order */
        kd_ignore(verdicts(&l).author);
    }
    letter_clear(&l);
}

static void
larger_messages_are_read_once(void **state)
{
    struct letter l;

    (void)state;
    for (size_t n = PIECE - 6000; n < PIECE + 500; n += 400) {
        const struct dmw_chunk part = {.type = 67, .data = kd_slice(octets, n)};
        letter_init(
            &l, &(struct dmw_recipe){.seed = n, .contents = &part, .n_contents = 1});
        assert_int_equal(verdicts(&l).author, DIME_VERDICT_GOOD);
        assert_int_equal(quick, l.n - 6 <= PIECE ? 4 : 0);
        letter_clear(&l);
    }
}

/* --- payloads --- */

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

/* The one display part of a message. */
static void
parts_are(bool vouched, size_t size, bool good, unsigned count)
{
    struct dmw_chunk part = {
        .type = 67, .data = kd_slice(octets, size - 69), .spoil_signed = good ? 0 : 6};
    struct kd_slice whole = dmw_message(
        &w, &(struct dmw_recipe){.seed = size, .contents = &part, .n_contents = 1});
    struct dime_source source = dime_source_of(whole);
    struct dime_message m = parsed(&source);
    const struct dime_reader r = {.m = &m,
                                  .actor = DIME_RECIPIENT,
                                  .kek = &w.people[DIME_RECIPIENT].kek,
                                  .author = sg_world()->alice.key,
                                  .vouched = vouched};
    uint64_t at = m.display;
    struct dime_span span;
    struct kd_buf data;
    kd_err err;

    quick = 0;
    kd_buf_init(&data, size);
    assert_true(dime_span_next(&r, &at, m.signs, &span, &err));
    assert_int_equal(span.state, good ? DIME_SPAN_GOOD : DIME_SPAN_CORRUPT);
    assert_int_equal(quick, count);
    assert_int_equal(dime_span_read(&r, &span, keep, &data), good ? KD_OK : KD_INVALID);
    if (good)
        assert_true(kd_slice_eq(kd_buf_slice(&data), part.data));
    kd_buf_free(&data);
    dmw_free(&w);
}

static void
parts_in_one_piece_are_verified_by_libsodium_where_vouched_for(void **state)
{
    static const size_t sizes[] = {80, 4096, PIECE - 16, PIECE, PIECE + 16, 2 * PIECE};

    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++) {
        unsigned count = sizes[i] <= PIECE ? 1 : 0;
        parts_are(true, sizes[i], true, count);
        parts_are(true, sizes[i], false, count);
        parts_are(false, sizes[i], true, 0);
    }
}

static void
texts_open_as_without_a_reader(void **state)
{
    static const uint8_t texts[] = {4, 5, 33, 34};
    struct kd_slice whole = dmw_message(&w, &(struct dmw_recipe){.seed = 306});
    struct dime_source source = dime_source_of(whole);
    struct dime_message m = parsed(&source);
    struct dime_reader r = {.m = &m,
                            .actor = DIME_RECIPIENT,
                            .kek = &w.people[DIME_RECIPIENT].kek,
                            .author = sg_world()->alice.key};
    struct dime_payload payload;
    struct kd_buf text;

    (void)state;
    kd_buf_init(&text, 1000);
    for (size_t i = 0; i < 2 * LEN(texts); i++) {
        uint8_t type = texts[i / 2];
        const struct dime_chunk *c = dime_message_chunk(&m, type);
        kd_buf_reset(&text);
        quick = 0;
        r.vouched = i % 2 == 1;
        r.author = sg_world()->bob.key;
        assert_int_equal(dime_reader_open(&r, c, &payload, &text), KD_INVALID);
        assert_int_equal(text.n, 0);
        r.author = sg_world()->alice.key;
        assert_int_equal(dime_reader_open(&r, c, &payload, &text), KD_OK);
        assert_true(kd_slice_eq(kd_buf_slice(&text), kd_slice_str(dmw_text(type))));
        assert_int_equal(payload.size, text.n);
        assert_int_equal(quick, r.vouched ? 2 : 0);
    }
    r.actor = DIME_ORIGIN;
    assert_int_equal(dime_reader_open(&r, &m.common, &payload, &text), KD_DENIED);
    kd_buf_free(&text);
    dmw_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libsodium_verifies_what_226_vouches_for),
        cmocka_unit_test(libsodium_verifies_nothing_without_a_good_226),
        cmocka_unit_test(a_keyslot_that_moved_behind_226_takes_libsodium_away),
        cmocka_unit_test(whatever_is_changed_verdicts_are_those_of_a_file),
        cmocka_unit_test(larger_messages_are_read_once),
        cmocka_unit_test(
            parts_in_one_piece_are_verified_by_libsodium_where_vouched_for),
        cmocka_unit_test(texts_open_as_without_a_reader),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
