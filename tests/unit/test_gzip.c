/* dime/gzip.h. That what is wrong is one error and memory stays bounded is in
 * tests/conformance/test_dm_gzip.c. */
#include <dime/gzip.h>

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static const char text[] = "Hello Bob, hello Bob, hello Bob.\r\n";
enum { TEXT = sizeof text - 1, MIB = 1 << 20, MAX = 64 * MIB };

static kd_err
count(void *ctx, struct kd_slice piece)
{
    size_t *n = ctx;

    *n += piece.n;
    return KD_OK;
}

static void
assert_gives(struct kd_slice member, struct kd_slice want)
{
    struct kd_buf out;

    kd_buf_init(&out, MAX);
    kd_buf_put(&out, kd_slice("x", 1));
    assert_int_equal(dime_gunzip(member, MAX, &out), KD_OK);
    assert_int_equal(out.n, want.n + 1);
    if (want.n != 0)
        assert_memory_equal(out.p + 1, want.p, want.n);
    kd_buf_free(&out);
}

/* Not compressible, and the same each time. */
static uint8_t *
noise(size_t n)
{
    uint8_t *p = malloc(n);
    uint32_t r = 7;

    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        r = r * 1664525 + 1013904223;
        p[i] = (uint8_t)(r >> 24);
    }
    return p;
}

static void
data_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 16383, 16384, 16385, 300000};
    uint8_t *p = noise(300000);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kd_buf out;
        kd_buf_init(&out, MAX);
        assert_int_equal(dime_gzip_put(kd_slice(p, sizes[i]), &out), KD_OK);
        assert_gives(kd_buf_slice(&out), kd_slice(p, sizes[i]));
        kd_buf_free(&out);
    }
    free(p);
}

static void
the_head_says_nothing_about_the_sender(void **state)
{
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255};
    struct kd_buf a, b;

    (void)state;
    kd_buf_init(&a, MAX);
    kd_buf_init(&b, MAX);
    assert_int_equal(dime_gzip_put(kd_slice(text, TEXT), &a), KD_OK);
    assert_int_equal(dime_gzip_put(kd_slice(text, TEXT), &b), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&a), kd_buf_slice(&b)));
    assert_memory_equal(a.p, head, sizeof head);
    kd_buf_free(&a);
    kd_buf_free(&b);
}

static void
what_shrinks_too_much_is_compressed_less(void **state)
{
    size_t n = 8 * (size_t)MIB;
    uint8_t *zeros = calloc(1, n);
    struct kd_buf out;

    (void)state;
    assert_non_null(zeros);
    kd_buf_init(&out, MAX);
    assert_int_equal(dime_gzip_put(kd_slice(zeros, n), &out), KD_OK);
    assert_true(out.n >= n / DIME_GZIP_RATIO && out.n <= n / 7);
    assert_gives(kd_buf_slice(&out), kd_slice(zeros, n));
    kd_buf_free(&out);
    free(zeros);
}

static void
the_strategy_decides(void **state)
{
    uint8_t *p = noise(1000);
    struct kd_slice large = kd_slice(text, TEXT), small = kd_slice(p, 1000);
    struct kd_buf out;
    bool compressed = false;

    (void)state;
    kd_buf_init(&out, MAX);
    assert_int_equal(dime_gzip_choose(DIME_GZIP_NEVER, large, &out, &compressed),
                     KD_OK);
    assert_true(!compressed && kd_slice_eq(kd_buf_slice(&out), large));
    kd_buf_reset(&out);
    assert_int_equal(dime_gzip_choose(DIME_GZIP_SMALLER, small, &out, &compressed),
                     KD_OK);
    assert_true(!compressed && kd_slice_eq(kd_buf_slice(&out), small));
    kd_buf_reset(&out);
    assert_int_equal(dime_gzip_choose(DIME_GZIP_ALWAYS, small, &out, &compressed),
                     KD_OK);
    assert_true(compressed && out.n > small.n);
    assert_gives(kd_buf_slice(&out), small);
    kd_buf_reset(&out);
    char long_text[20 * TEXT];
    for (size_t i = 0; i < 20; i++)
        memcpy(long_text + i * TEXT, text, TEXT);
    assert_int_equal(dime_gzip_choose(DIME_GZIP_SMALLER,
                                      kd_slice(long_text, sizeof long_text), &out,
                                      &compressed),
                     KD_OK);
    assert_true(compressed && out.n < sizeof long_text);
    assert_gives(kd_buf_slice(&out), kd_slice(long_text, sizeof long_text));
    kd_buf_free(&out);
    free(p);
}

static void
a_full_buffer_is_too_large_and_keeps_what_it_had(void **state)
{
    uint8_t *p = noise(1000);
    struct kd_buf out;
    bool compressed;

    (void)state;
    kd_buf_init(&out, 900);
    kd_buf_put(&out, kd_slice("x", 1));
    assert_int_equal(dime_gzip_put(kd_slice(p, 1000), &out), KD_TOO_LARGE);
    assert_true(out.n == 1 && out.p[0] == 'x');
    for (int s = DIME_GZIP_SMALLER; s <= DIME_GZIP_NEVER; s++) {
        assert_int_equal(dime_gzip_choose((enum dime_gzip_strategy)s, kd_slice(p, 1000),
                                          &out, &compressed),
                         KD_TOO_LARGE);
        assert_true(out.n == 1);
    }
    /* compressed it would not fit, as it is it does */
    assert_int_equal(
        dime_gzip_choose(DIME_GZIP_SMALLER, kd_slice(p, 899), &out, &compressed),
        KD_OK);
    assert_true(out.n == 900 && !compressed);
    kd_buf_free(&out);
    free(p);
}

/* Made by another program, from the text above, with a time in its head. */
static const uint8_t foreign[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x5f, 0x02, 0xff, 0xf3, 0x48, 0xcd,
    0xc9, 0xc9, 0x57, 0x70, 0xca, 0x4f, 0xd2, 0x51, 0xc8, 0xc0, 0xc2, 0xd4, 0xe3,
    0xe5, 0x02, 0x00, 0x64, 0x2c, 0x56, 0xa4, 0x22, 0x00, 0x00, 0x00};

static void
members_of_other_programs_are_read(void **state)
{
    /* the same with an extra field, a name, a comment and the checksum of the head */
    static const uint8_t extra[] = {3, 0, 'a', 'b', 'c'};
    struct kd_buf b;

    (void)state;
    assert_gives(kd_slice(foreign, sizeof foreign), kd_slice(text, TEXT));
    kd_buf_init(&b, MAX);
    kd_buf_put(&b, kd_slice(foreign, 10));
    b.p[3] = 4 | 8 | 16;
    kd_buf_put(&b, kd_slice(extra, sizeof extra));
    kd_buf_put(&b, kd_slice("name", 5));
    kd_buf_put(&b, kd_slice("comment", 8));
    kd_buf_put(&b, kd_slice(foreign + 10, sizeof foreign - 10));
    assert_gives(kd_buf_slice(&b), kd_slice(text, TEXT));
    kd_buf_free(&b);
}

static void
no_changed_bit_gives_another_text(void **state)
{
    uint8_t m[sizeof foreign];
    struct kd_buf out;
    int n_idle = 0;

    (void)state;
    for (size_t bit = 0; bit < 8 * sizeof m; bit++) {
        memcpy(m, foreign, sizeof m);
        m[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        kd_buf_init(&out, MAX);
        kd_err err = dime_gunzip(kd_slice(m, sizeof m), MAX, &out);
        /* bits of no meaning: the time, by what it was compressed and how, the flag
         * "text", those between the end of the block and the checksum */
        bool idle = (bit / 8 >= 4 && bit / 8 <= 9) || bit == 24;
        assert_true(!idle || err == KD_OK);
        if (err == KD_OK) {
            assert_true(kd_slice_eq(kd_buf_slice(&out), kd_slice(text, TEXT)));
            n_idle++;
        } else {
            assert_int_equal(err, KD_INVALID);
            assert_int_equal(out.n, 0);
        }
        kd_buf_free(&out);
    }
    assert_in_range(n_idle, 49, 49 + 7);
}

static void
pieces_of_any_size_give_the_same(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof foreign; step++) {
        struct dime_gunzip *z;
        size_t n = 0;
        assert_int_equal(dime_gunzip_new(sizeof foreign, MAX, &z), KD_OK);
        for (size_t at = 0; at < sizeof foreign; at += step) {
            assert_int_equal(dime_gunzip_end(z), KD_INVALID);
            size_t left = sizeof foreign - at;
            assert_int_equal(
                dime_gunzip_feed(z, kd_slice(foreign + at, left < step ? left : step),
                                 count, &n),
                KD_OK);
        }
        assert_int_equal(dime_gunzip_end(z), KD_OK);
        assert_int_equal(n, TEXT);
        assert_int_equal(dime_gunzip_feed(z, kd_slice("", 1), count, &n), KD_INVALID);
        assert_int_equal(dime_gunzip_end(z), KD_INVALID);
        dime_gunzip_free(z);
    }
    dime_gunzip_free(NULL);
}

static void
data_of_another_size_than_said_is_refused(void **state)
{
    (void)state;
    for (int more = -1; more <= 1; more++) {
        struct dime_gunzip *z;
        size_t n = 0;
        assert_int_equal(
            dime_gunzip_new((uint64_t)((int)sizeof foreign + more), MAX, &z), KD_OK);
        kd_err err = dime_gunzip_feed(z, kd_slice(foreign, sizeof foreign), count, &n);
        if (err == KD_OK)
            err = dime_gunzip_end(z);
        assert_int_equal(err, more == 0 ? KD_OK : KD_INVALID);
        dime_gunzip_free(z);
    }
}

static kd_err
refuse(void *ctx, struct kd_slice piece)
{
    size_t *n = ctx;

    *n += piece.n;
    return KD_IO;
}

static void
an_error_of_the_sink_ends_the_reading(void **state)
{
    struct dime_gunzip *z;
    size_t n = 0;

    (void)state;
    assert_int_equal(dime_gunzip_new(sizeof foreign, MAX, &z), KD_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            dime_gunzip_feed(z, kd_slice(foreign, sizeof foreign), refuse, &n), KD_IO);
    assert_int_equal(dime_gunzip_end(z), KD_IO);
    assert_int_equal(n, TEXT);
    dime_gunzip_free(z);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_comes_back),
        cmocka_unit_test(the_head_says_nothing_about_the_sender),
        cmocka_unit_test(what_shrinks_too_much_is_compressed_less),
        cmocka_unit_test(the_strategy_decides),
        cmocka_unit_test(a_full_buffer_is_too_large_and_keeps_what_it_had),
        cmocka_unit_test(members_of_other_programs_are_read),
        cmocka_unit_test(no_changed_bit_gives_another_text),
        cmocka_unit_test(pieces_of_any_size_give_the_same),
        cmocka_unit_test(data_of_another_size_than_said_is_refused),
        cmocka_unit_test(an_error_of_the_sink_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
