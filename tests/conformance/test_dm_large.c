/* Parts of many megabytes, opened from a file and from memory with little memory beside
 * the message. */
#include "dmr.h"
#include "dmw.h"
#include "fuzz.h"
#include "test.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    REGION = 1 << 16,
    MEGA = 1000000,
    PIECES_MAX = 6,
    BESIDE = 1 << 20, /* octets of heap, whatever the message's size */
    RAISED_LIMIT = 128 * MEGA,
};

/* A part of pieces of these sizes, and what is expected of it. */
struct large {
    size_t n, sizes[PIECES_MAX];
    uint64_t limit;
    enum dime_span_state state;
};

static int
begin(void **state)
{
    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    return 0;
}

/* The data of a piece, the same wherever it is asked for. free() it. */
static struct kd_slice
data_of(size_t piece, size_t size)
{
    uint8_t seed[randombytes_SEEDBYTES] = {(uint8_t)piece};
    uint8_t *p = malloc(size);

    assert_non_null(p);
    randombytes_buf_deterministic(p, size, seed);
    return kd_slice(p, size);
}

static void
write_all(int fd, struct kd_slice octets)
{
    for (size_t at = 0; at < octets.n;) {
        ssize_t n = write(fd, octets.p + at, octets.n - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
}

/* In a child, whose memory is not ours. */
static void
write_message(const struct large *l, int fd)
{
    static struct dmw w;
    struct dmw_chunk chunks[PIECES_MAX + 1] = {
        {.type = 67, .data = kd_slice_str("see the attachment")}};
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < l->n; i++)
            chunks[i + 1] = (struct dmw_chunk){.type = 131,
                                               .flags = i + 1 < l->n ? 128 : 0,
                                               .data = data_of(i, l->sizes[i])};
        const struct dmw_recipe recipe = {
            .seed = l->n, .contents = chunks, .n_contents = l->n + 1};
        write_all(fd, dmw_message(&w, &recipe));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static kd_err
hash(void *ctx, struct kd_slice piece)
{
    crypto_hash_sha256_update(ctx, piece.p, piece.n);
    return KD_OK;
}

static void
expected_hash(const struct large *l, uint8_t out[32])
{
    crypto_hash_sha256_state s;

    crypto_hash_sha256_init(&s);
    for (size_t i = 0; i < l->n; i++) {
        struct kd_slice data = data_of(i, l->sizes[i]);
        crypto_hash_sha256_update(&s, data.p, data.n);
        sg_free(data);
    }
    crypto_hash_sha256_final(&s, out);
}

static uint64_t
total(const struct large *l)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->n; i++)
        sum += l->sizes[i];
    return sum;
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The recipient: all signatures, all parts. */
static void
verify(const struct dime_message *m, const struct dime_kek *kek)
{
    static const uint8_t types[] = {225, 226, 248, 249, 255};
    const struct sg_world *world = sg_world();
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    struct dime_claims claims;
    struct dime_claim *all[] = {&claims.tree, &claims.author, &claims.metadata_bounce,
                                &claims.display_bounce, &claims.organization};
    struct dime_verdicts v;
    uint8_t sigs[5][64];

    assert_non_null(key);
    for (size_t i = 0; i < 5; i++) {
        const struct dime_chunk *c = dime_message_chunk(m, types[i]);
        assert_int_equal(dime_chunk_key_of(m, c, DIME_RECIPIENT, kek, key), KD_OK);
        assert_int_equal(dime_signature_open(m, c, key, sigs[i]), KD_OK);
        *all[i] = (struct dime_claim){
            .sig = sigs[i],
            .keys = (const uint8_t(*)[32])(i < 2 ? &world->alice.key : &world->sok.key),
            .n_keys = 1};
    }
    kd_secret_free(key, sizeof *key);
    assert_int_equal(dime_message_verify(m, &claims, &v), KD_OK);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.metadata_bounce, DIME_VERDICT_GOOD);
    assert_int_equal(v.display_bounce, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
}

static void
read_parts(const struct dime_message *m, const struct dime_kek *kek,
           const struct large *l, const uint8_t want[32])
{
    const struct dime_reader reader = {
        .m = m, .actor = DIME_RECIPIENT, .kek = kek, .author = sg_world()->alice.key};
    crypto_hash_sha256_state s;
    struct dime_span span;
    uint64_t at = m->display;
    uint8_t got[32];
    kd_err err;

    assert_true(dime_span_next(&reader, &at, m->signs, &span, &err));
    assert_int_equal(span.state, DIME_SPAN_GOOD);
    assert_true(dime_span_next(&reader, &at, m->signs, &span, &err));
    assert_int_equal(span.state, l->state);
    assert_int_equal(span.n, l->n);
    crypto_hash_sha256_init(&s);
    if (l->state == DIME_SPAN_GOOD) {
        assert_int_equal(span.size, total(l));
        assert_int_equal(dime_span_read(&reader, &span, hash, &s), KD_OK);
        crypto_hash_sha256_final(&s, got);
        assert_memory_equal(got, want, sizeof got);
    }
    assert_false(dime_span_next(&reader, &at, m->signs, &span, &err));
    assert_int_equal(err, KD_OK);
}

static void
open_and_measure(const struct dime_source *source, const struct large *l,
                 const uint8_t want[32], const char *from)
{
    struct dime_kek *kek = kd_secret_new(sizeof *kek);
    struct dime_message m;
    uint8_t scalar[32];

    assert_non_null(kek);
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test bob enc", 17);
    fuzz_begin(0);
    double before = now();
    assert_int_equal(dime_message_parse(source, l->limit, &m, NULL), KD_OK);
    assert_int_equal(dime_kek_agree(scalar, m.ephemeral, kek), KD_OK);
    verify(&m, kek);
    double verified = now();
    read_parts(&m, kek, l, want);
    double read = now();
    size_t heap = fuzz_heap_peak();
    printf("%.1f MB from %s: heap %zu, %.5f of the message; verified in %.0f ms, "
           "read in %.0f ms\n",
           (double)source->n / MEGA, from, heap, (double)heap / (double)source->n,
           (verified - before) * 1000, (read - verified) * 1000);
    assert_true(heap <= BESIDE);
    assert_true((double)heap <= 0.2 * (double)source->n);
    kd_secret_free(kek, sizeof *kek);
}

static void
check(const struct large *l)
{
    int fd = memfd_create("message", MFD_CLOEXEC);
    uint8_t want[32];
    struct dime_message m;

    assert_true(fd >= 0);
    write_message(l, fd);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_true(size > (off_t)total(l));
    struct dime_source file = dime_source_file(fd, (uint64_t)size);
    if ((uint64_t)size > DIME_MESSAGE_MAX)
        assert_int_equal(dime_message_parse(&file, DIME_MESSAGE_MAX, &m, NULL),
                         KD_TOO_LARGE);
    expected_hash(l, want);
    open_and_measure(&file, l, want, "a file");
    void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(p != MAP_FAILED);
    struct dime_source memory = dime_source_of(kd_slice(p, (size_t)size));
    open_and_measure(&memory, l, want, "memory");
    munmap(p, (size_t)size);
    close(fd);
}

/* T-DM-18 */
static void
T_DM_18_forty_megabytes_in_three_chunks_are_joined(void **state)
{
    (void)state;
    check(
        &(struct large){.n = 3,
                        .sizes = {16 * MEGA, DIME_DATA_MAX, 24 * MEGA - DIME_DATA_MAX},
                        .limit = DIME_MESSAGE_MAX,
                        .state = DIME_SPAN_GOOD});
}

/* T-DM-19 */
static void
T_DM_19_seventy_megabytes_over_five_chunks_are_accepted(void **state)
{
    (void)state;
    check(&(struct large){
        .n = 5,
        .sizes = {14 * MEGA, 14 * MEGA, 14 * MEGA, 14 * MEGA, 14 * MEGA},
        .limit = RAISED_LIMIT,
        .state = DIME_SPAN_GOOD});
}

/* The most that four chunks hold: 67,108,524 octets, with a limit raised for what is
 * beside them. */
static void
four_chunks_hold_as_much_as_they_can(void **state)
{
    (void)state;
    static_assert(4 * DIME_DATA_MAX == DIME_SPAN_LARGE, "four full chunks");
    check(&(struct large){
        .n = 4,
        .sizes = {DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX},
        .limit = RAISED_LIMIT,
        .state = DIME_SPAN_GOOD});
}

/* Five are needed from 67,108,525 octets on, and not before. */
static void
five_chunks_must_be_needed(void **state)
{
    (void)state;
    check(&(struct large){
        .n = 5,
        .sizes = {DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX, 1},
        .limit = RAISED_LIMIT,
        .state = DIME_SPAN_GOOD});
    check(&(struct large){
        .n = 5,
        .sizes = {DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX, DIME_DATA_MAX - 1, 1},
        .limit = RAISED_LIMIT,
        .state = DIME_SPAN_CORRUPT});
}

/* T-DM-52 */
static void
T_DM_52_twenty_megabytes_in_six_chunks_are_corrupt(void **state)
{
    (void)state;
    check(&(struct large){
        .n = 6,
        .sizes = {4 * MEGA, 4 * MEGA, 4 * MEGA, 4 * MEGA, 2 * MEGA, 2 * MEGA},
        .limit = DIME_MESSAGE_MAX,
        .state = DIME_SPAN_CORRUPT});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_18_forty_megabytes_in_three_chunks_are_joined),
        cmocka_unit_test(T_DM_19_seventy_megabytes_over_five_chunks_are_accepted),
        cmocka_unit_test(four_chunks_hold_as_much_as_they_can),
        cmocka_unit_test(five_chunks_must_be_needed),
        cmocka_unit_test(T_DM_52_twenty_megabytes_in_six_chunks_are_corrupt),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
