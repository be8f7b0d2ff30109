/* A good message with one bit changed, every one in turn, opened by everybody: refused,
 * but for bits that lie under no signature which that reader asks for, and of those
 * nothing changes what he is given. Whatever is given out is what the author wrote. */
#include "dmr.h"
#include "scale.h"
#include "sg.h"
#include "test.h"

#include <dime/dkey.h>
#include <keyd/base/secret.h>

#include <stdio.h>
#include <stdlib.h>

enum { REGION = 1 << 16 };

static struct kd_slice original;
static uint8_t *changed;
static struct dime_source source, untouched;
static uint8_t scalars[DIME_ACTOR_COUNT][32];
static struct dmr_keys keys;
static struct dmr want[DIME_ACTOR_COUNT], got;

static void
load(const char *name, uint8_t sign_key[32], uint8_t scalar[32])
{
    struct kd_slice file = sg_file(name);
    struct dime_dkey *key;

    assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
    if (sign_key != NULL)
        memcpy(sign_key, key->sign_pk, 32);
    memcpy(scalar, key->scalar, 32);
    dime_dkey_free(key);
    sg_free(file);
}

static int
begin(void **state)
{
    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    load("libdime/signets/alice.key", keys.author, scalars[DIME_AUTHOR]);
    load("libdime/signets/orga.key", keys.org[0], scalars[DIME_ORIGIN]);
    load("libdime/signets/orgb.key", NULL, scalars[DIME_DESTINATION]);
    load("libdime/signets/bob.key", NULL, scalars[DIME_RECIPIENT]);
    keys.n_org = 1;
    original = sg_file("libdime/messages/m1.signed.bin");
    assert_non_null(changed = malloc(original.n));
    memcpy(changed, original.p, original.n);
    untouched = dime_source_of(original);
    source = dime_source_of(kd_slice(changed, original.n));
    for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++) {
        dmr_open(&source, 0, (enum dime_actor)a, scalars[a], &keys, &want[a]);
        assert_true(dmr_accepts(&want[a]));
        want[a].m.source = untouched;
    }
    return 0;
}

static void
flip(size_t bit)
{
    changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* --- what is under a signature --- */

/* The signature that tells a reader of any change before it: the author and his origin
 * ask for 226, for the origin makes the others itself; who gets the message, for 255.
 */
static uint8_t
deciding(enum dime_actor actor)
{
    return actor == DIME_AUTHOR || actor == DIME_ORIGIN ? DIME_CHUNK_AUTHOR
                                                        : DIME_CHUNK_ORGANIZATION;
}

/* Heads of chunks are structure, which is refused before anything is opened: another
 * type or size of a signature chunk is none. */
static bool
is_head(const struct dime_message *m, size_t at)
{
    struct dime_chunk c;
    kd_err err;

    for (uint64_t i = m->signs; dime_message_next(m, &i, m->end, &c, &err);)
        if (at >= c.at && at < dime_chunk_payload(&c))
            return true;
    return false;
}

/* Whether the reader is told of a change there: it lies before that signature's chunk,
 * in its payload, or in the slot by which he opens it. No signature covers its own
 * chunk, so nobody is told of other people's slots in it, or of what comes behind. */
static bool
is_covered(enum dime_actor actor, size_t at)
{
    const struct dime_message *m = &want[actor].m;
    const struct dime_chunk *c = dime_message_chunk(m, deciding(actor));
    uint64_t slot =
        dime_chunk_slots(c) + (uint64_t)dime_chunk_slot(c->def, actor) * DIME_SLOT_SIZE;

    return at < dime_chunk_slots(c) || (at >= slot && at < slot + DIME_SLOT_SIZE) ||
           is_head(m, at);
}

static bool
same(const struct kd_buf *a, const struct kd_buf *b)
{
    return kd_slice_eq(kd_buf_slice(a), kd_buf_slice(b));
}

static bool
is_told_alike(const struct dmr *a, const struct dmr *b)
{
    const struct dime_verdicts *x = &a->verdicts, *y = &b->verdicts;

    if (x->tree != y->tree || x->author != y->author || a->n_parts != b->n_parts ||
        a->n_good != b->n_good)
        return false;
    return deciding(a->actor) == DIME_CHUNK_AUTHOR ||
           (x->metadata_bounce == y->metadata_bounce &&
            x->display_bounce == y->display_bounce &&
            x->organization == y->organization);
}

/* Chunks and parts one by one: each carries the author's signature, so that even alone
 * it cannot be another than his. The envelope is opened without it by those who do not
 * know the author, who have refused the message by then. */
static void
check_what_is_given_out(enum dime_actor actor, size_t bit)
{
    static const uint8_t types[] = {4, 5, 33, 34};
    bool is_server = actor == DIME_ORIGIN || actor == DIME_DESTINATION;
    const struct dmr *w = &want[actor];

    dmr_open(&source, 0, actor, scalars[actor], &keys, &got);
    bool accepted = dmr_accepts(&got);
    if (accepted == is_covered(actor, bit / 8))
        fail_msg("bit %zu: the %s says otherwise", bit, dime_actor_name(actor));
    for (size_t i = 0; i < sizeof types; i++) {
        uint8_t type = types[i];
        if (got.parsed == KD_OK && got.opened[type] == KD_OK &&
            (accepted || !is_server) && !same(&got.text[type], &w->text[type]))
            fail_msg("bit %zu: another text of %u", bit, type);
    }
    for (size_t i = 0; i < got.n_parts; i++)
        if (got.parts[i].span.state != DIME_SPAN_CORRUPT &&
            !same(&got.parts[i].data, &w->parts[0].data))
            fail_msg("bit %zu: another part", bit);
    if (accepted && !is_told_alike(&got, w))
        fail_msg("bit %zu: the %s is told something else", bit, dime_actor_name(actor));
    dmr_free(&got);
}

/* The verdict on the deciding signature alone, under the reader's keyslot. */
static bool
is_good(enum dime_actor actor)
{
    uint8_t type = deciding(actor);
    struct dime_kek *kek = kd_secret_new(sizeof *kek);
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    struct dime_message m;
    struct dime_verdicts v = {.author = DIME_VERDICT_BAD,
                              .organization = DIME_VERDICT_BAD};
    uint8_t sig[64];

    assert_true(kek != NULL && key != NULL);
    if (dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL) == KD_OK) {
        const struct dime_chunk *c = dime_message_chunk(&m, type);
        struct dime_claims claims = {.author = {.sig = NULL}};
        if (type == DIME_CHUNK_AUTHOR)
            claims.author =
                (struct dime_claim){sig, (const uint8_t(*)[32]) & keys.author, 1};
        else
            claims.organization =
                (struct dime_claim){sig, (const uint8_t(*)[32])keys.org, 1};
        assert_int_equal(dime_kek_agree(scalars[actor], m.ephemeral, kek), KD_OK);
        assert_int_equal(dime_chunk_key_of(&m, c, actor, kek, key), KD_OK);
        assert_int_equal(dime_signature_open(&m, c, key, sig), KD_OK);
        assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
    }
    kd_secret_free(kek, sizeof *kek);
    kd_secret_free(key, sizeof *key);
    return (type == DIME_CHUNK_AUTHOR ? v.author : v.organization) == DIME_VERDICT_GOOD;
}

/* --- every bit --- */

/* Bits of an octet that are flipped; all of them in the whole. */
static size_t
bits_of_each(void)
{
    return test_scale() >= TEST_SCALE_WHOLE ? 8 : 1;
}

static size_t
bit_of(size_t at, size_t i)
{
    return 8 * at + (at * 5 + i) % 8;
}

static void
every_changed_bit_is_told_by_the_signature_over_it(enum dime_actor actor, size_t each)
{
    size_t n_good = 0;

    for (size_t at = 0; at < original.n; at++)
        for (size_t i = 0; i < each; i++) {
            size_t bit = bit_of(at, i);
            flip(bit);
            bool good = is_good(actor);
            if (good == is_covered(actor, at))
                fail_msg("bit %zu: %u is %s for the %s", bit, deciding(actor),
                         good ? "good" : "bad", dime_actor_name(actor));
            flip(bit);
            n_good += good;
        }
    printf("for the %s %u stays good for %zu of %zu bits\n", dime_actor_name(actor),
           deciding(actor), n_good, each * original.n);
    assert_memory_equal(changed, original.p, original.n);
}

static void
the_author_is_told_of_every_changed_bit_of_his(void **state)
{
    (void)state;
    every_changed_bit_is_told_by_the_signature_over_it(DIME_AUTHOR, bits_of_each());
}

static void
the_origin_is_told_of_every_changed_bit_of_the_authors(void **state)
{
    (void)state;
    every_changed_bit_is_told_by_the_signature_over_it(DIME_ORIGIN, bits_of_each());
}

static void
the_destination_is_told_of_every_changed_bit(void **state)
{
    (void)state;
    every_changed_bit_is_told_by_the_signature_over_it(DIME_DESTINATION,
                                                       bits_of_each());
}

static void
the_recipient_is_told_of_every_changed_bit(void **state)
{
    (void)state;
    every_changed_bit_is_told_by_the_signature_over_it(DIME_RECIPIENT, 8);
}

/* Of one reader at each octet in turn; everybody in the whole. */
static void
no_changed_bit_opens_a_chunk_to_something_else(void **state)
{
    size_t each = bits_of_each();

    (void)state;
    for (size_t at = 0; at < original.n; at++)
        for (size_t i = 0; i < each; i++) {
            size_t bit = bit_of(at, i);
            flip(bit);
            for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++)
                if (each == 8 || at % DIME_ACTOR_COUNT == a)
                    check_what_is_given_out((enum dime_actor)a, bit);
            flip(bit);
        }
    assert_memory_equal(changed, original.p, original.n);
}

/* To the author and the origin: two slots in 226, and the payloads and slots of 248,
 * 249 and 255. To the others: three slots in 255. */
static void
what_lies_under_no_signature_is_what_the_reader_does_not_ask_for(void **state)
{
    enum { SLOTS_226 = 2 * 64, BEHIND = 3 * (64 + 4 * 64), SLOTS_255 = 3 * 64 };
    static const size_t expected[] = {[DIME_AUTHOR] = SLOTS_226 + BEHIND,
                                      [DIME_ORIGIN] = SLOTS_226 + BEHIND,
                                      [DIME_DESTINATION] = SLOTS_255,
                                      [DIME_RECIPIENT] = SLOTS_255};

    (void)state;
    for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++) {
        size_t n = 0;
        for (size_t at = 0; at < original.n; at++)
            n += !is_covered((enum dime_actor)a, at);
        assert_int_equal(n, expected[a]);
    }
}

static int
end(void **state)
{
    (void)state;
    for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++)
        dmr_free(&want[a]);
    free(changed);
    sg_free(original);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            what_lies_under_no_signature_is_what_the_reader_does_not_ask_for),
        cmocka_unit_test(the_author_is_told_of_every_changed_bit_of_his),
        cmocka_unit_test(the_origin_is_told_of_every_changed_bit_of_the_authors),
        cmocka_unit_test(the_destination_is_told_of_every_changed_bit),
        cmocka_unit_test(the_recipient_is_told_of_every_changed_bit),
        cmocka_unit_test(no_changed_bit_opens_a_chunk_to_something_else),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
