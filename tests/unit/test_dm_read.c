/* Payloads, parts and signatures where the tests of the cases do not look: sizes at the
 * edges of pieces, files that fail, output that is taken back, memory and keys. */
#include "dmr.h"
#include "dmw.h"
#include "fuzz.h"
#include "test.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { REGION = 1 << 16, PIECE = 64 << 10, BIG = 3 * PIECE };

static const struct dmw_key key = {.iv = {3}, .key = {5}};
static struct dime_chunk_key *chunk_key;
static uint8_t octets[BIG];
static const uint8_t *author;

static int
begin(void **state)
{
    static const uint8_t seed[randombytes_SEEDBYTES] = {1};

    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    assert_non_null(chunk_key = kd_secret_new(sizeof *chunk_key));
    memcpy(chunk_key->iv, key.iv, sizeof chunk_key->iv);
    memcpy(chunk_key->key, key.key, sizeof chunk_key->key);
    randombytes_buf_deterministic(octets, sizeof octets, seed);
    author = sg_world()->alice.key;
    return 0;
}

/* A chunk alone, in memory and in a file. */
struct alone {
    struct kd_slice sealed;
    struct dime_message memory, file;
    struct dime_chunk c;
    int fd;
};

static void
alone_init(struct alone *a, const struct dmw_chunk *chunk)
{
    struct kd_slice plain = dmw_plain(chunk);
    uint8_t *p = malloc(4 + plain.n);

    assert_non_null(p);
    memset(p, 0, 4);
    dmw_seal(&key, plain, p + 4);
    a->sealed = kd_slice(p, 4 + plain.n);
    assert_int_equal(kd_memfd_seal(a->sealed, &a->fd), KD_OK);
    a->memory = (struct dime_message){.source = dime_source_of(a->sealed)};
    a->file = (struct dime_message){.source = dime_source_file(a->fd, a->sealed.n)};
    a->c = (struct dime_chunk){.def = dime_chunk_def(chunk->type),
                               .size = (uint32_t)plain.n};
    sg_free(plain);
}

static void
alone_clear(struct alone *a)
{
    sg_free(a->sealed);
    close(a->fd);
}

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

static void
open_both_ways(const struct dime_message *m, const struct dime_chunk *c,
               struct kd_slice want)
{
    struct dime_payload p;
    struct kd_buf out;

    kd_buf_init(&out, want.n + 3);
    kd_buf_put(&out, kd_slice_str("abc"));
    assert_int_equal(dime_payload_open(m, c, chunk_key, author, &p, &out), KD_OK);
    assert_int_equal(p.size, want.n);
    assert_int_equal(out.n, want.n + 3);
    assert_memory_equal(out.p, "abc", 3);
    assert_memory_equal(out.p + 3, want.p, want.n);
    kd_buf_reset(&out);
    assert_int_equal(dime_payload_check(m, c, chunk_key, author, &p, NULL), KD_OK);
    assert_int_equal(dime_payload_read(m, c, chunk_key, &p, keep, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), want));
    kd_buf_reset(&out);
    assert_int_equal(dime_envelope_payload_open(m, c, chunk_key, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), want));
    kd_buf_free(&out);
}

static void
payloads_of_all_sizes_around_a_piece_open_from_memory_and_file(void **state)
{
    static const size_t edges[] = {80, PIECE, PIECE + 4096, 2 * PIECE, BIG - 4096};
    static const uint32_t paddings[] = {0, 16, 240};

    (void)state;
    for (size_t i = 0; i < LEN(edges); i++) {
        for (int off = -80; off <= 80; off += 16) {
            for (size_t k = 0; k < LEN(paddings); k++) {
                long n = (long)edges[i] + off - 69 - 3 - (long)paddings[k];
                if (n < 1)
                    continue;
                const struct dmw_chunk chunk = {.type = 33,
                                                .data = kd_slice(octets, (size_t)n),
                                                .padding = paddings[k]};
                struct alone a;
                alone_init(&a, &chunk);
                open_both_ways(&a.memory, &a.c, chunk.data);
                open_both_ways(&a.file, &a.c, chunk.data);
                alone_clear(&a);
            }
        }
    }
}

/* The longest padding begins anywhere, also in the piece before the last. */
static void
padding_across_pieces_is_looked_at(void **state)
{
    (void)state;
    for (size_t n = PIECE - 4300; n < PIECE + 100; n += 16 * 13) {
        struct dmw_chunk chunk = {.type = 33,
                                  .flags = 1,
                                  .data = kd_slice(octets, n / 16 * 16 + 11),
                                  .padding = 4080,
                                  .has_octet = true,
                                  .octet = 255};
        for (uint32_t at = 0; at <= chunk.padding; at += 255) {
            struct alone a;
            struct dime_payload p;
            chunk.spoil_padding = at;
            alone_init(&a, &chunk);
            assert_int_equal(
                dime_payload_check(&a.file, &a.c, chunk_key, author, &p, NULL),
                at == 0 ? KD_OK : KD_INVALID);
            alone_clear(&a);
        }
    }
}

static void
only_some_flags_go_with_single_chunks(void **state)
{
    static const struct {
        uint8_t type, flags;
        kd_err want;
    } cases[] = {
        {4, 1, KD_OK},         {5, 1, KD_OK},         {33, 1, KD_OK},
        {34, 1, KD_OK},        {34, 4, KD_OK},        {34, 5, KD_OK},
        {4, 4, KD_INVALID},    {5, 4, KD_INVALID},    {33, 4, KD_OK},
        {4, 2, KD_INVALID},    {34, 2, KD_INVALID},   {34, 128, KD_INVALID},
        {33, 128, KD_INVALID}, {34, 132, KD_INVALID}, {4, 8, KD_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < LEN(cases); i++) {
        const struct dmw_chunk chunk = {.type = cases[i].type,
                                        .flags = cases[i].flags,
                                        .data = kd_slice(octets, 27),
                                        .padding = 16};
        struct alone a;
        struct dime_payload p = {.flags = 99};
        struct kd_buf out;
        alone_init(&a, &chunk);
        kd_buf_init(&out, 100);
        kd_buf_put(&out, kd_slice_str("abc"));
        kd_err got = dime_payload_open(&a.memory, &a.c, chunk_key, author, &p, &out);
        assert_int_equal(got, cases[i].want);
        assert_int_equal(p.flags, got == KD_OK ? cases[i].flags : 99);
        assert_int_equal(out.n, got == KD_OK ? 30 : 3);
        kd_buf_free(&out);
        alone_clear(&a);
    }
}

static void
a_full_buffer_is_an_error_and_is_left_as_it_was(void **state)
{
    static const size_t sizes[] = {100, PIECE, BIG - 200};

    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++) {
        const struct dmw_chunk chunk = {.type = 33, .data = kd_slice(octets, sizes[i])};
        struct alone a;
        struct dime_payload p;
        struct kd_buf out;
        alone_init(&a, &chunk);
        kd_buf_init(&out, sizes[i] + 2);
        kd_buf_put(&out, kd_slice_str("abc"));
        assert_int_equal(dime_payload_open(&a.file, &a.c, chunk_key, author, &p, &out),
                         KD_TOO_LARGE);
        assert_int_equal(out.n, 3);
        kd_buf_free(&out);
        alone_clear(&a);
    }
}

static kd_err
stop(void *ctx, struct kd_slice piece)
{
    size_t *left = ctx;

    (void)piece;
    return (*left)-- == 0 ? KD_DENIED : KD_OK;
}

static void
a_sink_ends_the_reading(void **state)
{
    const struct dmw_chunk chunk = {.type = 67, .data = kd_slice(octets, BIG - 200)};
    struct dime_payload p;
    struct alone a;
    size_t left = 1;

    (void)state;
    alone_init(&a, &chunk);
    assert_int_equal(dime_payload_check(&a.memory, &a.c, chunk_key, author, &p, NULL),
                     KD_OK);
    assert_int_equal(dime_payload_read(&a.memory, &a.c, chunk_key, &p, stop, &left),
                     KD_DENIED);
    /* what was not checked, or of another chunk, is not read */
    p.size--;
    left = 99;
    assert_int_equal(dime_payload_read(&a.memory, &a.c, chunk_key, &p, stop, &left),
                     KD_MALFORMED);
    p.size = a.c.size;
    assert_int_equal(dime_payload_read(&a.memory, &a.c, chunk_key, &p, stop, &left),
                     KD_INVALID);
    assert_int_equal(left, 99);
    alone_clear(&a);
}

static void
files_that_fail_are_told_from_bad_payloads(void **state)
{
    const struct dmw_chunk chunk = {.type = 67, .data = kd_slice(octets, BIG - 200)};
    struct dime_payload p;
    struct alone a;
    bool more = true;
    int ends[2];

    (void)state;
    alone_init(&a, &chunk);
    a.file.source.n += 100;
    a.c.size += 96; /* the source says so, the file does not */
    assert_int_equal(dime_payload_check(&a.file, &a.c, chunk_key, author, &p, &more),
                     KD_MALFORMED);
    assert_false(more);
    assert_int_equal(pipe(ends), 0);
    a.file.source.fd = ends[0]; /* cannot be read by position */
    assert_int_equal(dime_payload_check(&a.file, &a.c, chunk_key, author, &p, &more),
                     KD_IO);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    alone_clear(&a);
}

static void
only_payloads_are_opened_as_payloads(void **state)
{
    static uint8_t room[256];
    const struct dime_message m = {.source =
                                       dime_source_of(kd_slice(room, sizeof room))};
    const struct dime_chunk chunks[] = {{.def = dime_chunk_def(226), .size = 64},
                                        {.def = dime_chunk_def(2), .size = 33},
                                        {.def = dime_chunk_def(67), .size = 64},
                                        {.def = dime_chunk_def(67), .size = 90}};
    struct dime_payload p;
    struct kd_buf out;
    uint8_t sig[64];

    (void)state;
    kd_buf_init(&out, 100);
    for (size_t i = 0; i < LEN(chunks); i++) {
        assert_int_equal(
            dime_payload_check(&m, &chunks[i], chunk_key, author, &p, NULL),
            KD_INVALID);
        assert_int_equal(dime_payload_open(&m, &chunks[i], chunk_key, author, &p, &out),
                         KD_INVALID);
        assert_int_equal(dime_envelope_payload_open(&m, &chunks[i], chunk_key, &out),
                         KD_INVALID);
        assert_int_equal(dime_signature_open(&m, &chunks[i], chunk_key, sig),
                         i == 0 ? KD_OK : KD_INVALID);
    }
}

static void
signatures_are_sealed_as_they_open(void **state)
{
    uint8_t room[68] = {226, 0, 0, 64}, sig[64];
    const struct dime_message m = {.source =
                                       dime_source_of(kd_slice(room, sizeof room))};
    const struct dime_chunk c = {.def = dime_chunk_def(226), .size = 64};
    uint8_t want[64];

    (void)state;
    assert_int_equal(dime_signature_seal(chunk_key, octets, room + 4), KD_OK);
    dmw_seal(&key, kd_slice(octets, 64), want);
    assert_memory_equal(room + 4, want, 64);
    assert_int_equal(dime_signature_open(&m, &c, chunk_key, sig), KD_OK);
    assert_memory_equal(sig, octets, 64);
}

/* --- signatures of messages --- */

static struct dmw w;

static struct dime_message
parsed(struct kd_slice message)
{
    struct dime_source source = dime_source_of(message);
    struct dime_message m;

    assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    return m;
}

static void
signature_of(const struct dime_message *m, uint8_t type, uint8_t sig[64])
{
    struct dime_chunk_key k;
    const struct dmw_mark *mark = dmw_find(&w, type, 0);

    memcpy(k.iv, mark->key.iv, sizeof k.iv);
    memcpy(k.key, mark->key.key, sizeof k.key);
    assert_int_equal(dime_signature_open(m, dime_message_chunk(m, type), &k, sig),
                     KD_OK);
}

static void
one_of_several_keys_is_enough_and_no_key_is_not(void **state)
{
    const struct sg_world *world = sg_world();
    struct dime_message m = parsed(dmw_message(&w, &(struct dmw_recipe){.seed = 200}));
    uint8_t keys[4][32], sig[64];
    struct dime_verdicts v;

    (void)state;
    memcpy(keys[0], world->bob.key, 32);
    memcpy(keys[1], world->pok.key, 32);
    memcpy(keys[2], world->other_pok.key, 32);
    memcpy(keys[3], world->sok.key, 32); /* who did it */
    signature_of(&m, 255, sig);
    for (size_t n = 0; n <= 4; n++) {
        const struct dime_claims claims = {
            .organization = {
                .sig = sig, .keys = (const uint8_t(*)[32])keys, .n_keys = n}};
        assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
        assert_int_equal(v.organization, n == 4 ? DIME_VERDICT_GOOD : DIME_VERDICT_BAD);
        assert_int_equal(v.tree, DIME_VERDICT_NOT_ASKED);
        assert_int_equal(v.author, DIME_VERDICT_NOT_ASKED);
        assert_int_equal(v.metadata_bounce, DIME_VERDICT_NOT_ASKED);
    }
    assert_int_equal(
        dime_message_verify(&m, &(struct dime_claims){.tree = {NULL, NULL, 0}}, &v),
        KD_OK);
    assert_int_equal(v.organization, DIME_VERDICT_NOT_ASKED);
    dmw_free(&w);
}

static void
where_signatures_end_is_where_their_chunks_do(void **state)
{
    static const uint8_t types[] = {225, 226, 248, 249, 255};
    const struct dmw_chunk parts[] = {{.type = 67, .data = kd_slice(octets, 50)},
                                      {.type = 65, .data = kd_slice(octets, 51)},
                                      {.type = 131, .data = kd_slice(octets, 52)}};
    struct dime_message m = parsed(dmw_message(
        &w, &(struct dmw_recipe){.seed = 201, .contents = parts, .n_contents = 3}));

    (void)state;
    for (size_t i = 0; i < LEN(types); i++) {
        uint64_t until = dime_message_signed_until(&m, types[i]);
        struct dime_chunk c;
        kd_err err;
        for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err);)
            assert_int_equal(dime_message_is_signed_by(&c, types[i]),
                             dime_chunk_end(&c) <= until);
    }
    assert_int_equal(dime_message_signed_until(&m, 225), m.tree.at);
    assert_int_equal(dime_message_signed_until(&m, 226), m.author.at);
    assert_int_equal(dime_message_signed_until(&m, 248), dmw_find(&w, 67, 0)->at);
    assert_int_equal(dime_message_signed_until(&m, 249), dmw_find(&w, 131, 0)->at);
    assert_int_equal(dime_message_signed_until(&m, 255), m.organization.at);
    assert_int_equal(dime_message_signed_until(&m, 67), m.begin);
    dmw_free(&w);
}

static void
a_file_is_verified_as_memory_is_and_its_errors_are_told(void **state)
{
    const struct dmw_chunk parts[] = {{.type = 67, .data = kd_slice(octets, PIECE)},
                                      {.type = 131, .data = kd_slice(octets, BIG)}};
    const struct sg_world *world = sg_world();
    struct kd_slice whole = dmw_message(
        &w, &(struct dmw_recipe){.seed = 202, .contents = parts, .n_contents = 2});
    struct dime_message m = parsed(whole);
    uint8_t tree[64], by_author[64], org[64];
    struct dime_verdicts v = {.tree = DIME_VERDICT_BAD};
    int fd = memfd_create("message", MFD_CLOEXEC);

    (void)state;
    signature_of(&m, 225, tree);
    signature_of(&m, 226, by_author);
    signature_of(&m, 255, org);
    const uint8_t(*alice)[32] = (const uint8_t(*)[32]) & world->alice.key;
    const struct dime_claims claims = {
        .tree = {tree, alice, 1},
        .author = {by_author, alice, 1},
        .organization = {org, (const uint8_t(*)[32]) & world->sok.key, 1}};
    assert_int_equal(write(fd, whole.p, whole.n), whole.n);
    struct dime_source file = dime_source_file(fd, whole.n);
    assert_int_equal(dime_message_parse(&file, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    /* what changes under it is found, or ends it */
    assert_int_equal(pwrite(fd, "?", 1, (off_t)m.signs - 1), 1);
    assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
    assert_int_equal(v.tree, DIME_VERDICT_BAD);
    assert_int_equal(v.author, DIME_VERDICT_BAD);
    assert_int_equal(v.organization, DIME_VERDICT_BAD);
    v.tree = DIME_VERDICT_NOT_ASKED;
    assert_int_equal(ftruncate(fd, (off_t)m.signs - PIECE), 0);
    assert_int_equal(dime_message_verify(&m, &claims, &v), KD_MALFORMED);
    assert_int_equal(v.tree, DIME_VERDICT_NOT_ASKED); /* not written */
    assert_int_equal(v.author, DIME_VERDICT_BAD);
    close(fd);
    assert_int_equal(dime_message_verify(&m, &claims, &v), KD_IO);
    dmw_free(&w);
}

static void
memory_does_not_grow_with_keys_beyond_what_is_said(void **state)
{
    enum { N = 65, EACH = 400 }; /* as many as a signet can have */
    struct dime_message m = parsed(dmw_message(&w, &(struct dmw_recipe){.seed = 203}));
    static uint8_t keys[N][32];
    uint8_t sig[64];
    struct dime_verdicts v;

    (void)state;
    signature_of(&m, 255, sig);
    for (size_t i = 0; i < N; i++)
        memcpy(keys[i], i + 1 < N ? sg_world()->pok.key : sg_world()->sok.key, 32);
    const struct dime_claim claim = {sig, (const uint8_t(*)[32])keys, N};
    const struct dime_claims claims = {.organization = claim, .display_bounce = claim};
    fuzz_begin(0);
    assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
    assert_true(fuzz_heap_peak() <= 2 * (size_t)N * EACH);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    assert_int_equal(v.display_bounce, DIME_VERDICT_BAD);
    dmw_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            payloads_of_all_sizes_around_a_piece_open_from_memory_and_file),
        cmocka_unit_test(padding_across_pieces_is_looked_at),
        cmocka_unit_test(only_some_flags_go_with_single_chunks),
        cmocka_unit_test(a_full_buffer_is_an_error_and_is_left_as_it_was),
        cmocka_unit_test(a_sink_ends_the_reading),
        cmocka_unit_test(files_that_fail_are_told_from_bad_payloads),
        cmocka_unit_test(only_payloads_are_opened_as_payloads),
        cmocka_unit_test(signatures_are_sealed_as_they_open),
        cmocka_unit_test(one_of_several_keys_is_enough_and_no_key_is_not),
        cmocka_unit_test(where_signatures_end_is_where_their_chunks_do),
        cmocka_unit_test(a_file_is_verified_as_memory_is_and_its_errors_are_told),
        cmocka_unit_test(memory_does_not_grow_with_keys_beyond_what_is_said),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
