/* base: cursor, buffer, secret memory, sealed memfds, log text. */
#include <keyd/base/buf.h>
#include <keyd/base/cbor.h>
#include <keyd/base/cur.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static void
cursor_reads_big_endian_and_ends(void **state)
{
    static const uint8_t octets[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    struct kd_cur c = kd_cur(kd_slice(octets, sizeof octets));

    (void)state;
    assert_int_equal(kd_cur_u8(&c), 1);
    assert_int_equal(kd_cur_u16(&c), 0x0203);
    assert_int_equal(kd_cur_u24(&c), 0x040506);
    assert_int_equal(kd_cur_u32(&c), 0x0708090a);
    assert_int_equal(kd_cur_end(&c), KD_MALFORMED);
}

static void
cursor_error_is_sticky_and_reads_nothing_more(void **state)
{
    static const uint8_t octets[] = {1, 2, 3};
    struct kd_cur c = kd_cur(kd_slice(octets, sizeof octets));
    uint8_t out[2] = {9, 9};

    (void)state;
    assert_int_equal(kd_cur_u64(&c), 0);
    assert_int_equal(kd_cur_u8(&c), 0);
    assert_int_equal(kd_cur_take(&c, 1).n, 0);
    kd_cur_copy(&c, out, sizeof out);
    assert_int_equal(out[0] | out[1], 0);
    kd_cur_fail(&c, KD_INVALID);
    assert_int_equal(kd_cur_end(&c), KD_MALFORMED);
}

static void
huge_length_is_refused(void **state)
{
    static const uint8_t octets[] = {1, 2, 3};
    struct kd_cur c = kd_cur(kd_slice(octets, sizeof octets));

    (void)state;
    kd_ignore(kd_cur_u8(&c)); /* so that at + SIZE_MAX would wrap */
    assert_null(kd_cur_take(&c, SIZE_MAX).p);
    assert_int_equal(kd_cur_end(&c), KD_MALFORMED);
}

static void
buffer_stops_at_its_limit(void **state)
{
    struct kd_buf b;
    uint8_t big[300] = {0};

    (void)state;
    kd_buf_init(&b, 512);
    kd_buf_put(&b, kd_slice(big, sizeof big));
    kd_buf_u32(&b, 0x01020304);
    assert_int_equal(kd_buf_slice(&b).n, 304);
    assert_int_equal(b.p[303], 4);
    kd_buf_put(&b, kd_slice(big, sizeof big));
    assert_int_equal(b.err, KD_TOO_LARGE);
    kd_buf_u8(&b, 1);
    assert_int_equal(kd_buf_slice(&b).n, 0);
    kd_buf_reset(&b);
    kd_buf_printf(&b, "%s=%d", "x", 42);
    assert_memory_equal(kd_buf_slice(&b).p, "x=42", 4);
    assert_int_equal(kd_buf_slice(&b).n, 4);
    kd_buf_free(&b);
}

static void
secret_blocks_are_zeroed_and_reused(void **state)
{
    (void)state;
    uint8_t *a = kd_secret_new(100);
    uint8_t *b = kd_secret_new(1);
    assert_non_null(a);
    assert_non_null(b);
    assert_true(b >= a + 128 || b + 64 <= a);
    memset(a, 0xaa, 100);
    kd_secret_free(a, 100);
    uint8_t *again = kd_secret_new(100);
    assert_ptr_equal(again, a);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(again[i], 0);
    kd_secret_free(again, 100);
    kd_secret_free(b, 1);
    assert_null(kd_secret_new((size_t)1 << 30));
    kd_secret_free(NULL, 5);
}

static void
secret_region_knows_what_lies_in_it(void **state)
{
    uint8_t outside[64];
    uint8_t *a = kd_secret_new(64);

    (void)state;
    assert_true(kd_secret_holds(a, 64));
    assert_false(kd_secret_holds(outside, 64));
    assert_false(kd_secret_holds(NULL, 1));
    assert_false(kd_secret_holds(a, 65536 + 1));
    assert_false(kd_secret_holds(a, SIZE_MAX));
    assert_false(kd_secret_holds(a - 65536, 1));
    kd_secret_free(a, 64);
}

static void
secret_region_is_not_inherited_by_a_child(void **state)
{
    (void)state;
    volatile uint8_t *a = kd_secret_new(32);
    assert_non_null(a);
    a[0] = 7;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka would catch it */
        _exit(a[0] == 7 ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    kd_secret_free((void *)(uintptr_t)a, 32);
}

static void
sealed_memfd_is_accepted_and_others_refused(void **state)
{
    static const char text[] = "twelve octet";
    char back[12];
    size_t size = 0;
    int fd = -1;

    (void)state;
    assert_int_equal(kd_memfd_seal(kd_slice(text, 12), &fd), KD_OK);
    assert_int_equal(kd_memfd_check(fd, 12, &size), KD_OK);
    assert_int_equal(size, 12);
    assert_int_equal(kd_memfd_check(fd, 11, &size), KD_TOO_LARGE);
    assert_int_equal(kd_memfd_read(fd, 0, back, 12), KD_OK);
    assert_memory_equal(back, text, 12);
    assert_int_equal(kd_memfd_read(fd, 1, back, 12), KD_MALFORMED);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    close(fd);

    fd = memfd_create("open", MFD_ALLOW_SEALING);
    assert_int_equal(kd_memfd_check(fd, 100, &size), KD_INVALID);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
    assert_int_equal(kd_memfd_check(fd, 100, &size), KD_INVALID);
    close(fd);
    fd = open("/dev/zero", O_RDONLY);
    assert_int_equal(kd_memfd_check(fd, 100, &size), KD_INVALID);
    close(fd);
    assert_int_equal(kd_memfd_check(-1, 100, &size), KD_INVALID);
}

static void
large_octets_travel_sealed_and_come_back_whole(void **state)
{
    static uint8_t octets[1000] = {7, 8, 9};
    struct kd_slice inl;
    struct kd_buf b;
    int fd = -1;

    (void)state;
    assert_int_equal(kd_memfd_if_large(kd_slice(octets, 1000), 1000, &inl, &fd), KD_OK);
    assert_ptr_equal(inl.p, octets);
    assert_int_equal(fd, -1);
    assert_int_equal(kd_memfd_if_large(kd_slice(octets, 1000), 999, &inl, &fd), KD_OK);
    assert_int_equal(inl.n, 0);
    assert_true(fd >= 0);
    kd_buf_init(&b, 1001);
    kd_buf_u8(&b, 1);
    assert_int_equal(kd_memfd_append(fd, 999, &b), KD_TOO_LARGE);
    assert_int_equal(kd_memfd_append(fd, 1000, &b), KD_OK);
    assert_int_equal(kd_buf_slice(&b).n, 1001);
    assert_memory_equal(b.p + 1, octets, 1000);
    assert_int_equal(kd_memfd_append(fd, 1000, &b), KD_TOO_LARGE); /* the buffer's */
    close(fd);
    assert_int_equal(kd_memfd_append(-1, 1000, &b), KD_INVALID);
    kd_buf_free(&b);
}

static void
log_text_escapes_what_a_peer_sent(void **state)
{
    char out[16];

    (void)state;
    assert_string_equal(kd_log_text(kd_slice("a\n\"b", 4), out, sizeof out),
                        "a\\x0a\\x22b");
    assert_string_equal(
        kd_log_text(kd_slice("0123456789abcdefgh", 18), out, sizeof out),
        "0123456789abcde");
    assert_string_equal(kd_log_text(kd_slice("0123456789abc\n", 14), out, sizeof out),
                        "0123456789abc");
}

/* The examples of RFC 8949, appendix A, that this subset has. */
static void
cbor_numbers_are_those_of_the_rfc(void **state)
{
    static const struct {
        uint64_t v;
        size_t n;
        uint8_t octets[9];
    } rows[] = {
        {0, 1, {0x00}},
        {23, 1, {0x17}},
        {24, 2, {0x18, 0x18}},
        {100, 2, {0x18, 0x64}},
        {255, 2, {0x18, 0xff}},
        {256, 3, {0x19, 0x01, 0x00}},
        {1000, 3, {0x19, 0x03, 0xe8}},
        {65535, 3, {0x19, 0xff, 0xff}},
        {65536, 5, {0x1a, 0x00, 0x01, 0x00, 0x00}},
        {1000000, 5, {0x1a, 0x00, 0x0f, 0x42, 0x40}},
        {4294967296, 9, {0x1b, 0, 0, 0, 1, 0, 0, 0, 0}},
        {1000000000000, 9, {0x1b, 0, 0, 0, 0xe8, 0xd4, 0xa5, 0x10, 0}},
        {INT64_MAX, 9, {0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    };
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 64);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kd_buf_reset(&b);
        kd_cbor_put_uint(&b, rows[i].v);
        assert_int_equal(b.n, rows[i].n);
        assert_memory_equal(b.p, rows[i].octets, b.n);
        struct kd_cur c = kd_cur(kd_buf_slice(&b));
        assert_int_equal(kd_cbor_uint(&c), rows[i].v);
        assert_int_equal(kd_cur_end(&c), KD_OK);
    }
    kd_buf_reset(&b);
    kd_cbor_put_uint(&b, (uint64_t)INT64_MAX + 1);
    assert_int_equal(b.err, KD_TOO_LARGE);
    kd_buf_free(&b);
}

static void
cbor_items_read_back(void **state)
{
    struct kd_buf b;
    uint8_t four[4];

    (void)state;
    kd_buf_init(&b, 1024);
    kd_cbor_put_map(&b, 2);
    kd_cbor_put_text(&b, kd_slice_str("IETF"));
    kd_cbor_put_array(&b, 24);
    kd_cbor_put_bytes(&b, kd_slice("\1\2\3\4", 4));
    kd_cbor_put_bytes(&b, kd_slice(NULL, 0));
    static const uint8_t want[] = {0xa2, 0x64, 'I', 'E', 'T', 'F', 0x98,
                                   0x18, 0x44, 1,   2,   3,   4,   0x40};
    assert_int_equal(b.n, sizeof want);
    assert_memory_equal(b.p, want, sizeof want);
    struct kd_cur c = kd_cur(kd_buf_slice(&b));
    assert_int_equal(kd_cbor_map(&c, 2), 2);
    assert_true(kd_slice_eq(kd_cbor_text(&c, 4), kd_slice_str("IETF")));
    assert_int_equal(kd_cbor_array(&c, 24), 24);
    kd_cbor_copy(&c, four, sizeof four);
    assert_memory_equal(four, "\1\2\3\4", 4);
    assert_int_equal(kd_cbor_bytes(&c, 0).n, 0);
    assert_int_equal(kd_cur_end(&c), KD_OK);
    kd_buf_free(&b);
}

static void
cbor_that_is_not_canonical_is_refused(void **state)
{
    static const struct {
        size_t n;
        uint8_t octets[9];
    } rows[] = {
        {2, {0x18, 0x17}},             /* 23 in two octets */
        {3, {0x19, 0x00, 0xff}},       /* 255 in three */
        {5, {0x1a, 0, 0, 0xff, 0xff}}, /* 65,535 in five */
        {9, {0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}},
        {9, {0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0}}, /* 2^63 */
        {1, {0x1c}},                            /* reserved */
        {1, {0x1f}},                            /* indefinite */
        {1, {0x20}},                            /* negative */
        {1, {0x40}},                            /* another type */
        {1, {0x18}},                            /* cut */
        {0, {0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kd_cur c = kd_cur(kd_slice(rows[i].octets, rows[i].n));
        assert_int_equal(kd_cbor_uint(&c), 0);
        assert_int_equal(kd_cur_end(&c), KD_MALFORMED);
    }
    /* over a limit, short of the octets, not plain text, not exactly so many */
    struct kd_cur c = kd_cur(kd_slice("\x42\1\2", 3));
    assert_int_equal(kd_cbor_bytes(&c, 1).n, 0);
    assert_int_equal(c.err, KD_MALFORMED);
    c = kd_cur(kd_slice("\x43\1\2", 3));
    assert_int_equal(kd_cbor_bytes(&c, 9).n, 0);
    assert_int_equal(c.err, KD_MALFORMED);
    c = kd_cur(kd_slice("\x62\x41\x0a", 3));
    assert_int_equal(kd_cbor_text(&c, 9).n, 0);
    assert_int_equal(c.err, KD_MALFORMED);
    /* another number, and none where 0 is wanted */
    c = kd_cur(kd_slice("\x02\x03", 2));
    kd_cbor_expect(&c, 2);
    assert_int_equal(c.err, KD_OK);
    kd_cbor_expect(&c, 2);
    assert_int_equal(c.err, KD_MALFORMED);
    c = kd_cur(kd_slice("\x40", 1));
    kd_cbor_expect(&c, 0);
    assert_int_equal(c.err, KD_MALFORMED);
    uint8_t out[3] = {9, 9, 9};
    c = kd_cur(kd_slice("\x42\1\2", 3));
    kd_cbor_copy(&c, out, sizeof out);
    assert_int_equal(c.err, KD_MALFORMED);
    assert_int_equal(out[0] | out[1] | out[2], 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_reads_big_endian_and_ends),
        cmocka_unit_test(cursor_error_is_sticky_and_reads_nothing_more),
        cmocka_unit_test(huge_length_is_refused),
        cmocka_unit_test(buffer_stops_at_its_limit),
        cmocka_unit_test(cbor_numbers_are_those_of_the_rfc),
        cmocka_unit_test(cbor_items_read_back),
        cmocka_unit_test(cbor_that_is_not_canonical_is_refused),
        cmocka_unit_test(secret_blocks_are_zeroed_and_reused),
        cmocka_unit_test(secret_region_knows_what_lies_in_it),
        cmocka_unit_test(secret_region_is_not_inherited_by_a_child),
        cmocka_unit_test(sealed_memfd_is_accepted_and_others_refused),
        cmocka_unit_test(large_octets_travel_sealed_and_come_back_whole),
        cmocka_unit_test(log_text_escapes_what_a_peer_sent),
    };

    if (kd_secret_setup(65536) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
