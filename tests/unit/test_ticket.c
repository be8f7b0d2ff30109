/* Account tickets: one encoding, one signature, and nothing else is one. */
#include <keyd/base/cbor.h>
#include <keyd/ticket/ticket.h>

#include <dime/ed25519.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static uint8_t seeds[2][32], keys[2][32];

static struct kd_ticket
sample(void)
{
    struct kd_ticket t = {.address = kd_slice_str("alice@example.com"),
                          .purpose = KD_TICKET_FOR_FIRST,
                          .expires_ms = 1800000000000};

    memset(t.request, 0x5a, sizeof t.request);
    kd_ticket_key_id(keys[0], t.key_id);
    return t;
}

static void
sign(struct kd_buf *b, unsigned by)
{
    uint8_t sig[64];

    assert_int_equal(dime_ed25519_sign(seeds[by], keys[by], kd_buf_slice(b), sig),
                     KD_OK);
    kd_buf_put(b, kd_slice(sig, sizeof sig));
    assert_int_equal(b->err, KD_OK);
}

static struct kd_buf
made(const struct kd_ticket *t, unsigned by)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_TICKET_MAX);
    assert_int_equal(kd_ticket_encode(t, &b), KD_OK);
    sign(&b, by);
    return b;
}

static void
ticket_reads_back_as_written(void **state)
{
    struct kd_ticket t = sample(), back;
    struct kd_buf b = made(&t, 0);

    (void)state;
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_OK);
    assert_true(kd_slice_eq(back.address, t.address));
    assert_memory_equal(back.request, t.request, sizeof t.request);
    assert_int_equal(back.purpose, t.purpose);
    assert_int_equal(back.expires_ms, t.expires_ms);
    assert_memory_equal(back.key_id, t.key_id, sizeof t.key_id);
    kd_buf_free(&b);
}

/* Written down from PROTOCOL.md and RFC 8949, so that a stranger's tickets are ours. */
static void
ticket_has_the_documented_octets(void **state)
{
    static const char head[] = "keyd account ticket\n"
                               "\xa6\x01\x01\x02\x71"
                               "alice@example.com"
                               "\x03\x58\x40";
    static const char tail[] =
        "\x04\x01\x05\x1b\x00\x00\x01\xa3\x18\x5c\x50\x00\x06\x50";
    struct kd_ticket t = sample();
    struct kd_buf b;
    uint8_t hash[32];

    (void)state;
    kd_buf_init(&b, KD_TICKET_MAX);
    assert_int_equal(kd_ticket_encode(&t, &b), KD_OK);
    assert_int_equal(b.n, sizeof head - 1 + 64 + sizeof tail - 1 + 16);
    assert_memory_equal(b.p, head, sizeof head - 1);
    assert_memory_equal(b.p + sizeof head - 1, t.request, 64);
    assert_memory_equal(b.p + sizeof head - 1 + 64, tail, sizeof tail - 1);
    crypto_hash_sha256(hash, keys[0], 32);
    assert_memory_equal(b.p + b.n - 16, hash, 16);
    kd_buf_free(&b);
}

static void
longest_address_fits(void **state)
{
    char address[255];
    struct kd_ticket t = sample(), back;

    (void)state;
    memset(address, 'a', sizeof address);
    address[60] = '@';
    for (size_t i = 64; i < 250; i += 60)
        address[i] = '.';
    t.address = kd_slice((const uint8_t *)address, 254);
    struct kd_buf b = made(&t, 0);
    assert_true(b.n <= KD_TICKET_MAX);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 1, &back), KD_OK);
    kd_buf_free(&b);
}

static void
ticket_that_cannot_be_is_not_written(void **state)
{
    static const char *const addresses[] = {"", "alice", "Alice@example.com",
                                            "a b@example.com", "@example.com"};
    struct kd_ticket t = sample();
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_TICKET_MAX);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        t.address = kd_slice_str(addresses[i]);
        assert_int_equal(kd_ticket_encode(&t, &b), KD_INVALID);
    }
    t = sample();
    t.purpose = 3;
    assert_int_equal(kd_ticket_encode(&t, &b), KD_INVALID);
    t = sample();
    t.expires_ms = 0;
    assert_int_equal(kd_ticket_encode(&t, &b), KD_INVALID);
    t.expires_ms = UINT64_MAX;
    assert_int_equal(kd_ticket_encode(&t, &b), KD_INVALID);
    assert_int_equal(b.n, 0);
    kd_buf_free(&b);
}

static void
ticket_of_another_key_is_denied(void **state)
{
    struct kd_ticket t = sample(), back = {.expires_ms = 7};
    struct kd_buf b = made(&t, 1); /* names key 0, signed by key 1 */

    (void)state;
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_DENIED);
    kd_buf_free(&b);
    kd_ticket_key_id(keys[1], t.key_id);
    b = made(&t, 1);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 1, &back), KD_DENIED);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 0, &back), KD_DENIED);
    assert_int_equal(back.expires_ms, 7);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_OK);
    kd_buf_free(&b);
}

static void
every_flipped_bit_and_every_cut_is_refused(void **state)
{
    struct kd_ticket t = sample(), back;
    struct kd_buf b = made(&t, 0);

    (void)state;
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_OK);
        b.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < b.n; n++)
        assert_int_not_equal(kd_ticket_verify(kd_slice(b.p, n), keys, 2, &back), KD_OK);
    kd_buf_u8(&b, 0);
    assert_int_not_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_OK);
    kd_buf_free(&b);
}

/* A signature over something else that is ours, or that starts in another way, is no
 * ticket whatever it says (D-085). */
static void
other_encodings_of_the_same_are_refused(void **state)
{
    struct kd_ticket t = sample(), back;
    struct kd_buf good = made(&t, 0), b;
    size_t line = strlen("keyd account ticket\n");

    (void)state;
    kd_buf_init(&b, KD_TICKET_MAX);
    /* without the line; with another one */
    kd_buf_put(&b, kd_slice(good.p + line, good.n - line - 64));
    sign(&b, 0);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_MALFORMED);
    kd_buf_reset(&b);
    kd_buf_put(&b, kd_slice_str("keyd checkpoint\n"));
    kd_buf_put(&b, kd_slice(good.p + line, good.n - line - 64));
    sign(&b, 0);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_MALFORMED);
    /* the version in a longer head */
    kd_buf_reset(&b);
    kd_buf_put(&b, kd_slice(good.p, line + 2));
    kd_buf_u8(&b, 0x18);
    kd_buf_put(&b, kd_slice(good.p + line + 2, good.n - line - 2 - 64));
    sign(&b, 0);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_MALFORMED);
    /* a seventh key */
    kd_buf_reset(&b);
    kd_buf_put(&b, kd_slice(good.p, good.n - 64));
    b.p[line] = 0xa7;
    kd_cbor_put_uint(&b, 7);
    kd_cbor_put_uint(&b, 1);
    sign(&b, 0);
    assert_int_equal(kd_ticket_verify(kd_buf_slice(&b), keys, 2, &back), KD_MALFORMED);
    kd_buf_free(&b);
    kd_buf_free(&good);
}

/* One that was made by another program, with another library, from PROTOCOL.md. */
static void
ticket_of_a_stranger_verifies(void **state)
{
    static const uint8_t seed[32] = {7};
    uint8_t key[1][32], octets[KD_TICKET_MAX];
    struct kd_ticket t;

    (void)state;
    dime_ed25519_public(seed, key[0]);
    FILE *f = fopen(KEYD_VECTORS "/../fuzz/corpus/ticket/first", "rb");
    assert_non_null(f);
    size_t n = fread(octets, 1, sizeof octets, f);
    fclose(f);
    assert_int_equal(kd_ticket_verify(kd_slice(octets, n), key, 1, &t), KD_OK);
    assert_true(kd_slice_eq(t.address, kd_slice_str("alice@example.com")));
    assert_int_equal(t.purpose, KD_TICKET_FOR_FIRST);
}

static int
make_keys(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return 1;
    for (unsigned i = 0; i < 2; i++) {
        memset(seeds[i], (int)i + 1, sizeof seeds[i]);
        dime_ed25519_public(seeds[i], keys[i]);
    }
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticket_reads_back_as_written),
        cmocka_unit_test(ticket_has_the_documented_octets),
        cmocka_unit_test(ticket_of_a_stranger_verifies),
        cmocka_unit_test(longest_address_fits),
        cmocka_unit_test(ticket_that_cannot_be_is_not_written),
        cmocka_unit_test(ticket_of_another_key_is_denied),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
        cmocka_unit_test(other_encodings_of_the_same_are_refused),
    };

    return cmocka_run_group_tests(tests, make_keys, NULL);
}
