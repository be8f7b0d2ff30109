/* A good message with one bit changed, every one in turn, opened by its recipient:
 * whatever is then given out under good signatures is what the author wrote. */
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
static struct dime_source source;
static uint8_t bob[32];
static struct dmr_keys keys;
static struct dmr want, got;

static void
load(const char *name, uint8_t sign_key[32], uint8_t scalar[32])
{
    struct kd_slice file = sg_file(name);
    struct dime_dkey *key;

    assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
    if (sign_key != NULL)
        memcpy(sign_key, key->sign_pk, 32);
    if (scalar != NULL)
        memcpy(scalar, key->scalar, 32);
    dime_dkey_free(key);
    sg_free(file);
}

static int
begin(void **state)
{
    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    load("libdime/signets/alice.key", keys.author, NULL);
    load("libdime/signets/orga.key", keys.org[0], NULL);
    load("libdime/signets/bob.key", NULL, bob);
    keys.n_org = 1;
    original = sg_file("libdime/messages/m1.signed.bin");
    assert_non_null(changed = malloc(original.n));
    memcpy(changed, original.p, original.n);
    source = dime_source_of(kd_slice(changed, original.n));
    dmr_open(&source, 0, DIME_RECIPIENT, bob, &keys, &want);
    assert_true(dmr_accepts(&want));
    return 0;
}

static bool
same(const struct kd_buf *a, const struct kd_buf *b)
{
    return kd_slice_eq(kd_buf_slice(a), kd_buf_slice(b));
}

/* Chunks and parts one by one: each carries the author's signature, so that even alone
 * it cannot be another than his. */
static void
nothing_wrong_is_given_out(size_t bit)
{
    static const uint8_t types[] = {4, 5, 33, 34};

    dmr_open(&source, 0, DIME_RECIPIENT, bob, &keys, &got);
    for (size_t i = 0; i < sizeof types; i++) {
        uint8_t type = types[i];
        if (got.parsed == KD_OK && got.opened[type] == KD_OK &&
            !same(&got.text[type], &want.text[type]))
            fail_msg("bit %zu: another text of %u", bit, type);
    }
    for (size_t i = 0; i < got.n_parts; i++)
        if (got.parts[i].span.state != DIME_SPAN_CORRUPT &&
            !same(&got.parts[i].data, &want.parts[0].data))
            fail_msg("bit %zu: another part", bit);
    if (dmr_accepts(&got) && (got.n_parts != want.n_parts || got.n_good != want.n_good))
        fail_msg("bit %zu: accepted with other parts", bit);
    dmr_free(&got);
}

/* The verdict on 226 alone, under the recipient's keyslot. */
static bool
author_is_good(void)
{
    struct dime_kek *kek = kd_secret_new(sizeof *kek);
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    struct dime_message m;
    struct dime_verdicts v = {.author = DIME_VERDICT_BAD};
    uint8_t sig[64];

    assert_true(kek != NULL && key != NULL);
    if (dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL) == KD_OK) {
        const struct dime_claims claims = {
            .author = {
                .sig = sig, .keys = (const uint8_t(*)[32]) & keys.author, .n_keys = 1}};
        assert_int_equal(dime_kek_agree(bob, m.ephemeral, kek), KD_OK);
        assert_int_equal(dime_chunk_key_of(&m, &m.author, DIME_RECIPIENT, kek, key),
                         KD_OK);
        assert_int_equal(dime_signature_open(&m, &m.author, key, sig), KD_OK);
        assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
    }
    kd_secret_free(kek, sizeof *kek);
    kd_secret_free(key, sizeof *key);
    return v.author == DIME_VERDICT_GOOD;
}

static void
no_changed_bit_shows_under_a_good_author_signature(void **state)
{
    const struct dime_message *m = &want.m;
    /* 226 covers until its own chunk, and itself as its reader opens it. */
    uint64_t covered = dime_message_signed_until(m, DIME_CHUNK_AUTHOR);
    size_t n_good = 0;

    (void)state;
    for (size_t bit = 0; bit < 8 * original.n; bit++) {
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (author_is_good()) {
            if (bit / 8 < covered)
                fail_msg("bit %zu lies under 226", bit);
            nothing_wrong_is_given_out(bit);
            n_good++;
        }
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    printf("226 stays good for %zu of %zu bits\n", n_good, 8 * original.n);
    assert_true(n_good >= 8 * (original.n - dime_chunk_end(&m->author)));
    assert_memory_equal(changed, original.p, original.n);
}

/* One bit of every octet; all of them in the whole. */
static void
no_changed_bit_opens_a_chunk_to_something_else(void **state)
{
    size_t each = test_scale() >= TEST_SCALE_WHOLE ? 8 : 1;

    (void)state;
    for (size_t at = 0; at < original.n; at++) {
        for (size_t i = 0; i < each; i++) {
            uint8_t bit = (uint8_t)((at * 5 + i) % 8);
            changed[at] ^= (uint8_t)(1 << bit);
            nothing_wrong_is_given_out(8 * at + bit);
            changed[at] ^= (uint8_t)(1 << bit);
        }
    }
}

static int
end(void **state)
{
    (void)state;
    dmr_free(&want);
    free(changed);
    sg_free(original);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_changed_bit_shows_under_a_good_author_signature),
        cmocka_unit_test(no_changed_bit_opens_a_chunk_to_something_else),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
