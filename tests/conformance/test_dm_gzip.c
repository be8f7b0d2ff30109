/* Compressed parts: in messages, what is refused, all with one error, and how much
 * memory it takes. */
#include "../support/dmt.h"
#include "../support/vector.h"

#include <dime/gzip.h>

#include <malloc.h>
#include <stdlib.h>
#include <zlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static const char text[] =
    "Hello Bob,\r\nthis text is long enough to be compressed, to be "
    "compressed, to be compressed.\r\n";
enum { TEXT = sizeof text - 1, MIB = 1 << 20, MAX = 64 * MIB, HEAP = 128 << 10 };

static struct kd_buf
member(struct kd_slice data)
{
    struct kd_buf b;

    kd_buf_init(&b, MAX);
    assert_int_equal(dime_gzip_put(data, &b), KD_OK);
    return b;
}

static kd_err
verdict(const void *p, size_t n, uint64_t max)
{
    struct kd_buf out;

    kd_buf_init(&out, MAX);
    kd_err err = dime_gunzip(kd_slice(p, n), max, &out);
    assert_true(err == KD_OK || out.n == 0);
    kd_buf_free(&out);
    return err;
}

/* What the recipient makes of a part of r. */
static kd_err
text_of(size_t i, struct kd_buf *out)
{
    const struct dmr_part *part = &r.parts[i];

    assert_int_equal(part->span.state, DIME_SPAN_GOOD);
    assert_true((part->span.flags & DIME_PAYLOAD_GZIP) != 0);
    kd_buf_init(out, MAX);
    return dime_gunzip(kd_buf_slice(&part->data), MAX, out);
}

/* T-DM-17 (DM-46): flag 4, gzip of the text. */
static void
T_DM_17_a_compressed_part_is_the_text(void **state)
{
    struct kd_buf m = member(kd_slice(text, TEXT)), out;
    const struct dmw_chunk part = {
        .type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_buf_slice(&m)};

    (void)state;
    assert_true(m.n < TEXT);
    open_parts(&part, 1, 17);
    assert_int_equal(r.n_parts, 1);
    assert_int_equal(text_of(0, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), kd_slice(text, TEXT)));
    kd_buf_free(&out);
    kd_buf_free(&m);
}

/* What another program compressed. */
static void
the_compressed_vector_is_read(void **state)
{
    struct kd_slice m =
        vector_read(KEYD_VECTORS "/libdime/messages", "display_gzip.bin");
    struct kd_buf out;

    (void)state;
    assert_non_null(m.p);
    kd_buf_init(&out, MAX);
    assert_int_equal(dime_gunzip(m, MAX, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), kd_slice("one\n", 4)));
    kd_buf_free(&out);
    vector_free(m);
}

/* T-DM-20 (DM-46, DM-29, DM-47): compressed, then split; joined, then decompressed. */
static void
T_DM_20_a_compressed_part_in_pieces_is_joined_first(void **state)
{
    static uint8_t data[50000];
    struct kd_buf m, out;
    uint32_t x = 20;
    bool compressed = false;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)('a' + (x >> 28));
    }
    kd_buf_init(&m, MAX);
    assert_int_equal(dime_gzip_choose(DIME_GZIP_SMALLER, kd_slice(data, sizeof data),
                                      &m, &compressed),
                     KD_OK);
    assert_true(compressed && m.n > 3000);
    enum { MORE = DIME_PAYLOAD_GZIP | DIME_PAYLOAD_CONTINUES };
    const struct dmw_chunk parts[] = {
        {.type = 67, .flags = MORE, .data = kd_slice(m.p, 5)},
        {.type = 67, .flags = MORE, .data = kd_slice(m.p + 5, 2000)},
        {.type = 67,
         .flags = DIME_PAYLOAD_GZIP,
         .data = kd_slice(m.p + 2005, m.n - 2005)},
    };
    open_parts(parts, 3, 20);
    assert_int_equal(r.n_parts, 1);
    assert_int_equal(text_of(0, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), kd_slice(data, sizeof data)));
    kd_buf_free(&out);
    kd_buf_free(&m);
}

/* T-DM-50 (DM-46, D-122): plain text, cut data, octets behind it, two members. */
static void
T_DM_50_anything_but_one_whole_member_is_corrupt(void **state)
{
    struct kd_buf m = member(kd_slice(text, TEXT));

    (void)state;
    assert_int_equal(verdict(m.p, m.n, MAX), KD_OK);
    assert_int_equal(verdict(text, TEXT, MAX), KD_INVALID);
    for (size_t n = 0; n < m.n; n++)
        assert_int_equal(verdict(m.p, n, MAX), KD_INVALID);
    size_t one = m.n;
    kd_buf_u8(&m, 0);
    assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
    m.n = one;
    kd_buf_put(&m, kd_slice("\r\n", 2));
    assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
    m.n = one;
    struct kd_buf second = member(kd_slice(text, TEXT));
    kd_buf_put(&m, kd_buf_slice(&second));
    assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
    /* and so in a message, beside a part that is read */
    const struct dmw_chunk parts[] = {
        {.type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_slice(text, TEXT)},
        {.type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_slice(m.p, one - 1)},
        {.type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_slice(m.p, one + 1)},
        {.type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_slice(m.p, m.n)},
        {.type = 67, .flags = DIME_PAYLOAD_GZIP, .data = kd_slice(m.p, one)},
    };
    open_parts(parts, 5, 50);
    assert_int_equal(r.n_parts, 5);
    for (size_t i = 0; i < 5; i++) {
        struct kd_buf out;
        assert_int_equal(text_of(i, &out), i == 4 ? KD_OK : KD_INVALID);
        assert_true(out.n == (i == 4 ? TEXT : 0));
        kd_buf_free(&out);
    }
    kd_buf_free(&second);
    kd_buf_free(&m);
}

static void
other_formats_and_wrong_checksums_are_corrupt(void **state)
{
    struct kd_buf m = member(kd_slice(text, TEXT));
    uint8_t *last = m.p + m.n;

    (void)state;
    for (int i = 1; i <= 8; i++) { /* 1 to 4: length, 5 to 8: checksum */
        last[-i] ^= 1;
        assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
        last[-i] ^= 1;
    }
    m.p[2] = 7; /* another method */
    assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
    m.p[2] = 8;
    m.p[3] = 0x20; /* a reserved flag */
    assert_int_equal(verdict(m.p, m.n, MAX), KD_INVALID);
    m.p[3] = 0;
    assert_int_equal(verdict(m.p + 10, m.n - 18, MAX), KD_INVALID); /* bare deflate */
    assert_int_equal(verdict(m.p, m.n, MAX), KD_OK);
    kd_buf_free(&m);
}

/* A member of n zeros as small as it gets, which dime_gzip_put does not make; behind an
 * extra field of so many octets (0: none). Z_FIXED saves a factor of 158, others of
 * more than 1,000. */
static struct kd_buf
bomb(size_t n, int strategy, uint16_t extra)
{
    static uint8_t octets[65536];
    gz_header head = {.extra = extra == 0 ? NULL : octets, .extra_len = extra};
    z_stream z = {0};
    struct kd_buf b;

    kd_buf_init(&b, MAX);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, strategy), Z_OK);
    assert_int_equal(deflateSetHeader(&z, &head), Z_OK);
    for (int got = Z_OK; got != Z_STREAM_END; b.n -= z.avail_out) {
        if (z.avail_in == 0 && n != 0) {
            z.avail_in = (uInt)(n < sizeof octets ? n : sizeof octets);
            z.next_in = octets;
            n -= z.avail_in;
        }
        z.next_out = kd_buf_add(&b, 65536);
        z.avail_out = 65536;
        assert_non_null(z.next_out);
        got = deflate(&z, n == 0 ? Z_FINISH : Z_NO_FLUSH);
        assert_true(got == Z_OK || got == Z_STREAM_END);
    }
    assert_int_equal(deflateEnd(&z), Z_OK);
    return b;
}

struct watch {
    size_t before, most, n;
};

static kd_err
watch(void *ctx, struct kd_slice piece)
{
    struct watch *seen = ctx;
    size_t now = mallinfo2().uordblks;

    if (now > seen->before && now - seen->before > seen->most)
        seen->most = now - seen->before;
    seen->n += piece.n;
    return KD_OK;
}

static struct watch
watch_reading(struct kd_slice data, uint64_t max)
{
    struct dime_gunzip *z;
    struct watch seen = {.before = mallinfo2().uordblks};

    assert_int_equal(dime_gunzip_new(data.n, max, &z), KD_OK);
    assert_int_equal(dime_gunzip_feed(z, data, watch, &seen), KD_INVALID);
    assert_int_equal(dime_gunzip_end(z), KD_INVALID);
    dime_gunzip_free(z);
    assert_true(seen.most < HEAP);
    return seen;
}

/* T-DM-51 (SEC-28, D-122): more output than the limit, or than 200:1 above 1 MiB, is
 * corrupt, and it is not held in memory. */
static void
T_DM_51_output_over_the_limit_is_corrupt_and_memory_is_bounded(void **state)
{
    struct kd_buf b = bomb(2 * (size_t)MAX, Z_FIXED, 0);

    (void)state;
    assert_true((uint64_t)b.n * DIME_GZIP_RATIO > MAX);
    struct watch seen = watch_reading(kd_buf_slice(&b), MAX);
    assert_true(seen.n <= MAX && seen.n > MAX - 65536);
    assert_int_equal(verdict(b.p, b.n, MAX), KD_INVALID);
    seen = watch_reading(kd_buf_slice(&b), 5000);
    assert_true(seen.n <= 5000);
    kd_buf_free(&b);

    b = bomb(2 * (size_t)MAX, Z_DEFAULT_STRATEGY, 0);
    seen = watch_reading(kd_buf_slice(&b), UINT64_MAX);
    assert_true(seen.n <= b.n * DIME_GZIP_RATIO && seen.n < MAX / 2);
    kd_buf_free(&b);
}

static void
the_ratio_counts_above_one_mebibyte(void **state)
{
    size_t n = 2 * (size_t)MIB;
    struct kd_buf b = bomb(MIB, Z_DEFAULT_STRATEGY, 0);

    (void)state;
    assert_true(b.n * DIME_GZIP_RATIO < MIB);
    assert_int_equal(verdict(b.p, b.n, MAX), KD_OK);
    assert_int_equal(verdict(b.p, b.n, MIB), KD_OK);
    assert_int_equal(verdict(b.p, b.n, MIB - 1), KD_INVALID);
    kd_buf_free(&b);
    b = bomb(MIB + 1, Z_DEFAULT_STRATEGY, 0);
    assert_int_equal(verdict(b.p, b.n, MAX), KD_INVALID);
    kd_buf_free(&b);

    /* an extra field makes the member just as long as the ratio wants, or not quite */
    b = bomb(n, Z_DEFAULT_STRATEGY, 1);
    size_t enough = (n + DIME_GZIP_RATIO - 1) / DIME_GZIP_RATIO;
    assert_true(b.n < enough);
    uint16_t extra = (uint16_t)(enough - b.n + 1);
    kd_buf_free(&b);
    b = bomb(n, Z_DEFAULT_STRATEGY, extra);
    assert_int_equal(b.n, enough);
    assert_int_equal(verdict(b.p, b.n, MAX), KD_OK);
    kd_buf_free(&b);
    b = bomb(n, Z_DEFAULT_STRATEGY, (uint16_t)(extra - 1));
    assert_int_equal(verdict(b.p, b.n, MAX), KD_INVALID);
    kd_buf_free(&b);
}

/* --- one error for all that is wrong --- */

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

/* The whole way of a part to a client: checked, read, decompressed. *given: octets that
 * came out of the payload. */
static kd_err
open_part(uint64_t *at, size_t *given, struct kd_buf *out)
{
    const struct dime_reader reader = {
        .m = &r.m, .actor = DIME_RECIPIENT, .kek = r.kek, .author = believed.author};
    struct dime_span span;
    struct kd_buf data;
    kd_err err;

    assert_true(dime_span_next(&reader, at, r.m.signs, &span, &err));
    kd_buf_init(&data, MAX);
    kd_buf_init(out, MAX);
    err = dime_span_read(&reader, &span, keep, &data);
    *given = data.n;
    if (err == KD_OK && (span.flags & DIME_PAYLOAD_GZIP) != 0)
        err = dime_gunzip(kd_buf_slice(&data), MAX, out);
    else if (err == KD_OK)
        kd_buf_put(out, kd_buf_slice(&data));
    kd_buf_free(&data);
    return err;
}

/* T-DM-49 (DM-50): bad padding, bad length, bad signature and bad gzip are one error
 * and give nothing out. Their times: test_dm_timing, which says why gzip is not among
 * them.
 */
static void
T_DM_49_all_that_is_wrong_with_a_part_is_one_error(void **state)
{
    enum { GZIP = DIME_PAYLOAD_GZIP };
    struct kd_buf m = member(kd_slice(text, TEXT)),
                  changed = member(kd_slice(text, TEXT));
    const struct kd_slice whole = kd_buf_slice(&m), plain = kd_slice(text, TEXT);
    const struct dmw_chunk parts[] = {
        {.type = 67, .data = plain, .spoil_padding = 1},
        {.type = 67, .data = plain, .has_octet = true, .octet = 3},
        {.type = 67, .data = plain, .has_length = true, .length = 0xf00000},
        {.type = 67, .data = plain, .has_length = true, .length = TEXT - 1},
        {.type = 67, .data = plain, .flags = 8},
        {.type = 67, .data = plain, .spoil_signature = true},
        {.type = 67, .data = plain, .spoil_signed = 20},
        {.type = 67, .data = plain, .by = &sg_world()->bob},
        {.type = 67, .data = whole, .flags = GZIP, .spoil_padding = 1},
        {.type = 67, .data = whole, .flags = GZIP, .spoil_signature = true},
        {.type = 67, .data = plain, .flags = GZIP, .spoil_signature = true},
        {.type = 67, .data = plain, .flags = GZIP},
        {.type = 67, .data = kd_slice(m.p, m.n - 1), .flags = GZIP},
        {.type = 67, .data = kd_buf_slice(&changed), .flags = GZIP},
        {.type = 67, .data = whole, .flags = GZIP}, /* good */
        {.type = 67, .data = plain},                /* good */
    };
    enum { N = sizeof parts / sizeof parts[0], GOOD = 2, BAD_GZIP = 3 };

    (void)state;
    changed.p[changed.n / 2] ^= 1;
    open_parts(parts, N, 49);
    uint64_t at = r.m.display;
    for (size_t i = 0; i < N; i++) {
        bool is_good = i >= N - GOOD, is_signed = i >= N - GOOD - BAD_GZIP;
        struct kd_buf out;
        size_t given;
        kd_err err = open_part(&at, &given, &out);
        assert_int_equal(err, is_good ? KD_OK : KD_INVALID);
        assert_true(kd_slice_eq(kd_buf_slice(&out), is_good ? plain : kd_slice("", 0)));
        /* gzip sees what the author signed, and nothing else */
        assert_int_equal(given, is_signed ? parts[i].data.n : 0);
        kd_buf_free(&out);
    }
    assert_int_equal(at, r.m.signs);
    kd_buf_free(&changed);
    kd_buf_free(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_17_a_compressed_part_is_the_text),
        cmocka_unit_test(the_compressed_vector_is_read),
        cmocka_unit_test(T_DM_20_a_compressed_part_in_pieces_is_joined_first),
        cmocka_unit_test(T_DM_50_anything_but_one_whole_member_is_corrupt),
        cmocka_unit_test(other_formats_and_wrong_checksums_are_corrupt),
        cmocka_unit_test(
            T_DM_51_output_over_the_limit_is_corrupt_and_memory_is_bounded),
        cmocka_unit_test(the_ratio_counts_above_one_mebibyte),
        cmocka_unit_test(T_DM_49_all_that_is_wrong_with_a_part_is_one_error),
    };
    return cmocka_run_group_tests(tests, dmt_begin, NULL);
}
