/* Streams make the signatures of libsodium and refuse what would leak the key. */
#include "ed25519_check.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka.h wants the two above first */
#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { BIG = 3 * DIME_STREAM_BUFFER, REGION = 1 << 14 };

/* One key and one message for all tests. */
static struct dime_ed25519_secret *secret;
static uint8_t pair[64];
static uint8_t octets[BIG];
static int whole; /* the message, sealed */

static void
want_signature(size_t n, uint8_t sig[64])
{
    crypto_sign_detached(sig, NULL, octets, n, pair);
}

static kd_err
sign_parts(const struct dime_stream_part *parts, size_t n_parts, size_t budget,
           uint8_t sig[64])
{
    struct dime_ed25519_stream *s = NULL;
    kd_err err = dime_ed25519_stream_sign(secret, parts, n_parts, DIME_STREAM_MAX, &s);

    if (err == KD_OK)
        err = stream_run(s, budget);
    if (err == KD_OK)
        err = dime_ed25519_stream_signature(s, sig);
    dime_ed25519_stream_free(s);
    return err;
}

static void
streams_equal_one_shot_signatures_at_all_block_edges(void **state)
{
    static const size_t sizes[] = {
        0,
        1,
        31,
        32,
        63,
        64,
        65,
        95,
        96,
        111,
        112,
        127,
        128,
        129,
        255,
        256,
        DIME_STREAM_BUFFER - 1,
        DIME_STREAM_BUFFER,
        DIME_STREAM_BUFFER + 1,
        BIG,
    };

    (void)state;
    for (size_t i = 0; i < N(sizes); i++) {
        size_t n = sizes[i];
        const struct dime_stream_part file = {.fd = whole, .n = n};
        const struct dime_stream_part memory = {.head = kd_slice(octets, n), .fd = -1};
        uint8_t want[64];
        uint8_t sig[64];
        want_signature(n, want);
        assert_int_equal(sign_parts(&file, 1, 5000, sig), KD_OK);
        assert_memory_equal(sig, want, 64);
        memset(sig, 0, sizeof sig);
        assert_int_equal(sign_parts(&memory, 1, 5000, sig), KD_OK);
        assert_memory_equal(sig, want, 64);
        struct kd_slice message = kd_slice(octets, n);
        const uint8_t *key = secret->use.key;
        assert_int_equal(stream_verdict(key, message, -1, sig, 100000), KD_OK);
        assert_int_equal(stream_verdict(key, message, whole, sig, 100000), KD_OK);
        sig[40] ^= 1;
        assert_int_equal(stream_verdict(key, message, whole, sig, 100000), KD_INVALID);
    }
}

static void
budget_does_not_change_the_signature(void **state)
{
    static const size_t budgets[] = {1, 2, 511, 512, 513, 65535, 65537, SIZE_MAX};
    const struct dime_stream_part part = {.fd = whole, .n = 1000};
    uint8_t want[64];
    uint8_t sig[64];

    (void)state;
    want_signature(part.n, want);
    for (size_t i = 0; i < N(budgets); i++) {
        assert_int_equal(sign_parts(&part, 1, budgets[i], sig), KD_OK);
        assert_memory_equal(sig, want, 64);
    }
}

/* Cuts the message anywhere into heads and ranges, empty ones too. */
static size_t
cut(struct dime_stream_part *parts, size_t max, size_t size)
{
    size_t n = 0;

    for (size_t at = 0; at < size;) {
        uint32_t left = (uint32_t)(size - at);
        uint32_t head = n + 1 == max ? 0 : randombytes_uniform(left + 1) / 3;
        uint32_t range = n + 1 == max ? left : randombytes_uniform(left - head + 1) / 2;
        parts[n++] = (struct dime_stream_part){
            .head = kd_slice(octets + at, head),
            .fd = range == 0 ? -1 : whole,
            .off = at + head,
            .n = range,
        };
        at += head + range;
    }
    return n;
}

static void
segments_are_signed_as_their_sum(void **state)
{
    struct dime_stream_part parts[9];

    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        size_t size = randombytes_uniform(round < 90 ? 2000 : BIG);
        size_t n = cut(parts, N(parts), size);
        uint8_t want[64];
        uint8_t sig[64];
        want_signature(size, want);
        assert_int_equal(sign_parts(parts, n, 700, sig), KD_OK);
        assert_memory_equal(sig, want, 64);
    }
}

static void
streams_in_turn_do_not_disturb_each_other(void **state)
{
    struct dime_stream_part parts[4];
    struct dime_ed25519_stream *streams[4];
    bool more[4] = {true, true, true, true};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        parts[i] = (struct dime_stream_part){.fd = whole, .n = BIG - 1000 * i};
        assert_int_equal(dime_ed25519_stream_sign(secret, parts + i, 1, DIME_STREAM_MAX,
                                                  streams + i),
                         KD_OK);
    }
    while (more[0] || more[1] || more[2] || more[3]) {
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(
                dime_ed25519_stream_step(streams[i], 10000 + 777 * i, more + i), KD_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        uint8_t want[64];
        uint8_t sig[64];
        want_signature(parts[i].n, want);
        assert_int_equal(dime_ed25519_stream_signature(streams[i], sig), KD_OK);
        assert_memory_equal(sig, want, 64);
        dime_ed25519_stream_free(streams[i]);
    }
}

static void
steps_keep_to_their_budget(void **state)
{
    const struct dime_stream_part part = {.fd = whole, .n = 100000};
    struct dime_ed25519_stream *s;
    bool more = true;
    unsigned n_steps = 0;

    (void)state;
    assert_int_equal(dime_ed25519_stream_sign(secret, &part, 1, 100000, &s), KD_OK);
    while (more) {
        uint64_t left = dime_ed25519_stream_left(s);
        assert_int_equal(dime_ed25519_stream_step(s, 1000, &more), KD_OK);
        assert_true(left - dime_ed25519_stream_left(s) <= 1000);
        n_steps++;
    }
    assert_true(n_steps >= 200);
    assert_int_equal(dime_ed25519_stream_left(s), 0);
    dime_ed25519_stream_free(s);
}

static void
many_tiny_parts_do_not_make_a_step_long(void **state)
{
    static struct dime_stream_part parts[1000];
    struct dime_ed25519_stream *s;
    bool more;

    (void)state;
    for (size_t i = 0; i < N(parts); i++)
        parts[i] = (struct dime_stream_part){.fd = whole, .off = i, .n = i % 2};
    assert_int_equal(dime_ed25519_stream_sign(secret, parts, N(parts), 1000, &s),
                     KD_OK);
    assert_int_equal(dime_ed25519_stream_left(s), 1000);
    assert_int_equal(dime_ed25519_stream_step(s, 51200, &more), KD_OK);
    assert_true(more);
    assert_true(dime_ed25519_stream_left(s) >= 900);
    dime_ed25519_stream_free(s);
}

static void
unsealed_files_are_not_signed(void **state)
{
    static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    struct dime_stream_part part = {.n = 10};
    uint8_t sig[64];

    (void)state;
    part.fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(part.fd >= 0);
    assert_int_equal(ftruncate(part.fd, 10), 0);
    for (size_t i = 0; i < N(seals); i++) {
        assert_int_equal(sign_parts(&part, 1, 100, sig), KD_INVALID);
        assert_int_equal(fcntl(part.fd, F_ADD_SEALS, seals[i]), 0);
    }
    assert_int_equal(sign_parts(&part, 1, 100, sig), KD_INVALID);
    assert_int_equal(fcntl(part.fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    assert_int_equal(sign_parts(&part, 1, 100, sig), KD_OK);
    close(part.fd);
    part.fd = -1;
    assert_int_equal(sign_parts(&part, 1, 100, sig), KD_INVALID);
    part.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_int_equal(sign_parts(&part, 1, 100, sig), KD_INVALID);
    close(part.fd);
}

static void
ranges_beyond_the_file_are_refused(void **state)
{
    static const uint64_t ranges[][2] = {
        {0, BIG + 1},           {1, BIG},        {BIG, 1},
        {BIG + 1, 1},           {UINT64_MAX, 1}, {UINT64_MAX - 1, 2},
        {(uint64_t)1 << 63, 1}, {INT64_MAX, 1},
    };
    uint8_t sig[64];

    (void)state;
    for (size_t i = 0; i < N(ranges); i++) {
        struct dime_stream_part part = {
            .fd = whole, .off = ranges[i][0], .n = ranges[i][1]};
        assert_int_equal(sign_parts(&part, 1, 100, sig), KD_MALFORMED);
    }
}

static void
size_is_limited_over_all_parts_without_wrapping(void **state)
{
    struct dime_stream_part parts[2] = {
        {.head = kd_slice(octets, 10), .fd = whole, .n = 10},
        {.head = kd_slice(octets, 10), .fd = whole, .n = 10},
    };
    struct dime_ed25519_stream *s;
    uint8_t sig[64];

    (void)state;
    want_signature(1, sig);
    for (uint64_t max = 0; max < 40; max++) {
        assert_int_equal(dime_ed25519_stream_sign(secret, parts, 2, max, &s),
                         KD_TOO_LARGE);
        assert_int_equal(
            dime_ed25519_stream_verify(secret->use.key, sig, parts, 2, max, &s),
            KD_TOO_LARGE);
    }
    assert_int_equal(dime_ed25519_stream_sign(secret, parts, 2, 40, &s), KD_OK);
    assert_int_equal(dime_ed25519_stream_left(s), 80);
    dime_ed25519_stream_free(s);
    parts[1].n = UINT64_MAX;
    assert_int_equal(dime_ed25519_stream_sign(secret, parts, 2, UINT64_MAX - 1, &s),
                     KD_TOO_LARGE);
}

static void
ranges_past_four_gibibytes_are_read_where_they_lie(void **state)
{
    const uint64_t at = ((uint64_t)5 << 30) + 7;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct dime_stream_part part = {.fd = fd, .off = at, .n = 1000};
    uint8_t want[64];
    uint8_t sig[64];

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, octets, 1000, (off_t)at), 1000);
    assert_int_equal(fcntl(fd, F_ADD_SEALS,
                           F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
                     0);
    want_signature(1000, want);
    assert_int_equal(sign_parts(&part, 1, 100000, sig), KD_OK);
    assert_memory_equal(sig, want, 64);
    close(fd);
}

static void
file_that_ends_early_is_malformed_to_a_verifier(void **state)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    uint8_t sig[64];

    (void)state;
    assert_int_equal(ftruncate(fd, 999), 0);
    want_signature(1000, sig);
    assert_int_equal(
        stream_verdict(secret->use.key, kd_slice(octets, 1000), fd, sig, 100),
        KD_MALFORMED);
    close(fd);
    assert_int_equal(
        stream_verdict(secret->use.key, kd_slice(octets, 1000), 1023, sig, 100), KD_IO);
}

static void
errors_stay(void **state)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    struct dime_stream_part part = {.fd = fd, .n = 10};
    struct dime_ed25519_stream *s;
    uint8_t sig[64];
    bool more = true;

    (void)state;
    want_signature(10, sig);
    assert_int_equal(dime_ed25519_stream_verify(secret->use.key, sig, &part, 1, 10, &s),
                     KD_OK);
    assert_int_equal(dime_ed25519_stream_step(s, 100, &more), KD_MALFORMED);
    assert_false(more);
    assert_int_equal(pwrite(fd, octets, 10, 0), 10);
    assert_int_equal(dime_ed25519_stream_step(s, 100, &more), KD_MALFORMED);
    assert_int_equal(dime_ed25519_stream_verdict(s), KD_MALFORMED);
    dime_ed25519_stream_free(s);
    close(fd);
}

static void
nothing_comes_out_before_the_end(void **state)
{
    struct dime_stream_part part = {.fd = whole, .n = 10000};
    struct dime_ed25519_stream *s;
    uint8_t sig[64] = {9};
    bool more = true;

    (void)state;
    assert_int_equal(dime_ed25519_stream_sign(secret, &part, 1, 10000, &s), KD_OK);
    while (more) {
        assert_int_equal(dime_ed25519_stream_signature(s, sig), KD_FAILED);
        assert_int_equal(sig[0], 9);
        assert_int_equal(dime_ed25519_stream_verdict(s), KD_FAILED);
        assert_int_equal(dime_ed25519_stream_step(s, 3000, &more), KD_OK);
    }
    assert_int_equal(dime_ed25519_stream_signature(s, sig), KD_OK);
    assert_int_equal(dime_ed25519_stream_verdict(s), KD_FAILED); /* it is a signer */
    dime_ed25519_stream_free(s);

    more = true;
    assert_int_equal(
        dime_ed25519_stream_verify(secret->use.key, sig, &part, 1, 10000, &s), KD_OK);
    while (more) {
        assert_int_equal(dime_ed25519_stream_verdict(s), KD_FAILED);
        assert_int_equal(dime_ed25519_stream_step(s, 3000, &more), KD_OK);
    }
    assert_int_equal(dime_ed25519_stream_verdict(s), KD_OK);
    assert_int_equal(dime_ed25519_stream_signature(s, sig), KD_FAILED);
    dime_ed25519_stream_free(s);
}

static void
bad_keys_and_signatures_are_refused_before_reading(void **state)
{
    static const uint8_t zero_key[32];
    struct dime_stream_part part = {.fd = -1, .n = 10}; /* would be KD_IO */
    struct dime_ed25519_stream *s = NULL;
    uint8_t sig[64];

    (void)state;
    want_signature(10, sig);
    assert_int_equal(dime_ed25519_stream_verify(zero_key, sig, &part, 1, 10, &s),
                     KD_INVALID);
    sig[63] |= 0x80;
    assert_int_equal(dime_ed25519_stream_verify(secret->use.key, sig, &part, 1, 10, &s),
                     KD_INVALID);
    assert_null(s);
}

static void
secret_damaged_on_the_way_gives_no_signature(void **state)
{
    struct dime_stream_part part = {.fd = whole, .n = 10000};
    uint8_t *copies[] = {(uint8_t *)&secret->use, (uint8_t *)&secret->check};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof secret->use; i++) {
        uint8_t *victim = copies[i % 2] + i / 2;
        struct dime_ed25519_stream *s;
        uint8_t sig[64] = {9};
        bool more;
        assert_int_equal(dime_ed25519_stream_sign(secret, &part, 1, 10000, &s), KD_OK);
        assert_int_equal(dime_ed25519_stream_step(s, 12000, &more), KD_OK);
        assert_true(more);
        *victim ^= 1;
        assert_int_equal(stream_run(s, 100000), KD_FAILED);
        assert_int_equal(dime_ed25519_stream_signature(s, sig), KD_FAILED);
        assert_int_equal(sig[0], 9);
        dime_ed25519_stream_free(s);
        s = NULL;
        assert_int_equal(dime_ed25519_stream_sign(secret, &part, 1, 10000, &s),
                         KD_FAILED);
        assert_null(s);
        *victim ^= 1;
    }
}

static void
too_many_streams_are_refused_and_freeing_makes_room(void **state)
{
    struct dime_stream_part part = {.fd = whole, .n = 10};
    static struct dime_ed25519_stream *streams[REGION / 64];
    size_t n = 0;
    kd_err err;

    (void)state;
    while ((err = dime_ed25519_stream_sign(secret, &part, 1, 10, streams + n)) == KD_OK)
        n++;
    assert_int_equal(err, KD_NOMEM);
    assert_true(n > 10);
    size_t first = n;
    while (n > 0)
        dime_ed25519_stream_free(streams[--n]);
    while (dime_ed25519_stream_sign(secret, &part, 1, 10, streams + n) == KD_OK)
        n++;
    assert_int_equal(n, first);
    while (n > 0)
        dime_ed25519_stream_free(streams[--n]);
    dime_ed25519_stream_free(NULL);
}

static int
setup(void **state)
{
    uint8_t seed[DIME_SEED_SIZE];

    (void)state;
    if (kd_secret_setup(REGION) != KD_OK)
        return -1;
    if ((secret = kd_secret_new(sizeof *secret)) == NULL)
        return -1;
    randombytes_buf(seed, sizeof seed);
    randombytes_buf(octets, sizeof octets);
    dime_ed25519_secret_init(secret, seed);
    crypto_sign_seed_keypair(pair + 32, pair, seed);
    return kd_memfd_seal(kd_slice(octets, sizeof octets), &whole) == KD_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    close(whole);
    kd_secret_free(secret, sizeof *secret);
    return 0;
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_equal_one_shot_signatures_at_all_block_edges),
        cmocka_unit_test(budget_does_not_change_the_signature),
        cmocka_unit_test(segments_are_signed_as_their_sum),
        cmocka_unit_test(streams_in_turn_do_not_disturb_each_other),
        cmocka_unit_test(steps_keep_to_their_budget),
        cmocka_unit_test(many_tiny_parts_do_not_make_a_step_long),
        cmocka_unit_test(unsealed_files_are_not_signed),
        cmocka_unit_test(ranges_beyond_the_file_are_refused),
        cmocka_unit_test(size_is_limited_over_all_parts_without_wrapping),
        cmocka_unit_test(ranges_past_four_gibibytes_are_read_where_they_lie),
        cmocka_unit_test(file_that_ends_early_is_malformed_to_a_verifier),
        cmocka_unit_test(errors_stay),
        cmocka_unit_test(nothing_comes_out_before_the_end),
        cmocka_unit_test(bad_keys_and_signatures_are_refused_before_reading),
        cmocka_unit_test(secret_damaged_on_the_way_gives_no_signature),
        cmocka_unit_test(too_many_streams_are_refused_and_freeing_makes_room),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
