/* Messages as an author makes them and his organization signs them. */
#include "mail.h"
#include "pad.h"
#include "test.h"

#include <dime/envelope.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENCODINGS = 1000, LIMIT = 1 << 20 };

/* Room for one message in the making and a key: what is not released shows soon. */
enum { SECRET_ROOM = 4096 };

static const char hello[] = "Content-Type: text/plain; charset=utf-8\r\n\r\n"
                            "Hello, Bob.\r\n";

static const struct mail_people *people;

static int
set_up(void **state)
{
    (void)state;
    people = mail_people(SECRET_ROOM);
    return 0;
}

/* --- helpers --- */

static void
build(const struct dime_plan *plan, struct kd_buf *out)
{
    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_message_build(plan, out), KD_OK);
}

static void
build_text(struct kd_buf *out)
{
    const struct dime_content text = mail_text(hello);
    struct dime_plan plan;

    mail_plan(&text, 1, &plan);
    build(&plan, out);
}

static void
sign(struct kd_buf *b)
{
    struct dime_message m = mail_parse(kd_buf_slice(b));
    struct dime_kek kek;

    mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
    assert_int_equal(dime_message_sign(&m, b->p, &kek, people->organization), KD_OK);
}

static void
assert_text(const struct kd_buf *b, const char *text)
{
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->p, text, b->n);
}

/* The recipient reads everything, and everything is vouched for. */
static void
assert_accepted(const struct kd_buf *b, const char *text,
                enum dime_message_verdict tree)
{
    struct dime_message m = mail_parse(kd_buf_slice(b));
    struct mail_view v;

    mail_open(&m, DIME_RECIPIENT, &v);
    assert_int_equal(v.verdicts.tree, tree);
    assert_int_equal(v.verdicts.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.verdicts.metadata_bounce, m.metadata_bounce.def == NULL
                                                     ? DIME_VERDICT_NOT_ASKED
                                                     : DIME_VERDICT_GOOD);
    assert_int_equal(v.verdicts.display_bounce, m.display_bounce.def == NULL
                                                    ? DIME_VERDICT_NOT_ASKED
                                                    : DIME_VERDICT_GOOD);
    assert_int_equal(v.verdicts.organization, DIME_VERDICT_GOOD);
    assert_text(&v.parts, text);
    mail_view_free(&v);
}

/* Without the chunk of that type, header and all; signatures are not looked at. */
static void
cut_chunk(struct kd_buf *b, const struct dime_chunk *c)
{
    size_t end = (size_t)dime_chunk_end(c), n = end - (size_t)c->at;

    memmove(b->p + c->at, b->p + end, b->n - end);
    b->n -= n;
    uint32_t size = (uint32_t)b->n - DIME_MESSAGE_HEADER;
    for (int i = 0; i < 4; i++)
        b->p[2 + i] = (uint8_t)(size >> (24 - 8 * i));
}

/* --- what is built is opened --- */

static void
each_of_the_four_opens_what_is_his(void **state)
{
    struct kd_buf b;

    (void)state;
    build_text(&b);
    sign(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    for (int i = 0; i < DIME_ACTOR_COUNT; i++) {
        struct mail_view v;
        bool reads = i == DIME_AUTHOR || i == DIME_RECIPIENT;
        mail_open(&m, (enum dime_actor)i, &v);
        assert_int_equal(v.origin.n > 0, i != DIME_DESTINATION);
        assert_int_equal(v.destination.n > 0, i != DIME_ORIGIN);
        assert_int_equal(v.common.n > 0, reads);
        assert_int_equal(v.headers.n > 0, reads);
        assert_int_equal(v.n_parts, reads);
        assert_int_equal(v.verdicts.tree == DIME_VERDICT_GOOD, i != DIME_DESTINATION);
        assert_int_equal(v.verdicts.author == DIME_VERDICT_GOOD, i != DIME_DESTINATION);
        assert_int_equal(v.verdicts.metadata_bounce, DIME_VERDICT_GOOD);
        assert_int_equal(v.verdicts.display_bounce, DIME_VERDICT_GOOD);
        assert_int_equal(v.verdicts.organization, DIME_VERDICT_GOOD);
        mail_view_free(&v);
    }
    kd_buf_free(&b);
}

/* What libdime asks for beyond the specification: types ascend, 34 is there, and the
 * primary key makes 255 (interop-libdime.md 1.5). */
static void
messages_have_the_shape_that_libdime_reads(void **state)
{
    static const uint8_t types[] = {2,   4,   5,   33,  34,  67, 67,
                                    131, 225, 226, 248, 249, 255};
    struct dime_content contents[3] = {mail_text("one"), mail_text("two"),
                                       mail_text("three")};
    struct dime_plan plan;
    struct dime_chunk c;
    struct kd_buf b;
    size_t i = 0;
    kd_err err;

    (void)state;
    contents[2].type = DIME_CHUNK_ATTACHMENTS_CONTENT;
    mail_plan(contents, 3, &plan);
    build(&plan, &b);
    sign(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err); i++) {
        assert_true(i < sizeof types);
        assert_int_equal(c.def->type, types[i]);
    }
    assert_int_equal(i, sizeof types);
    assert_int_equal(m.traced, 0);
    assert_accepted(&b, "onetwothree", DIME_VERDICT_GOOD);
    kd_buf_free(&b);
}

static void
placeholders_are_zeros_until_the_organization_signs(void **state)
{
    static const uint8_t zeros[DIME_SIG_SIZE];
    struct mail_view v;
    struct kd_buf b;

    (void)state;
    build_text(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    const struct dime_chunk *blanks[] = {&m.metadata_bounce, &m.display_bounce,
                                         &m.organization};
    for (size_t i = 0; i < 3; i++) {
        struct dime_chunk_key key;
        struct dime_kek kek;
        uint8_t sig[DIME_SIG_SIZE];
        mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
        assert_int_equal(dime_chunk_key_of(&m, blanks[i], DIME_ORIGIN, &kek, &key),
                         KD_OK);
        assert_int_equal(dime_signature_open(&m, blanks[i], &key, sig), KD_OK);
        assert_memory_equal(sig, zeros, sizeof sig);
    }
    mail_open(&m, DIME_RECIPIENT, &v);
    assert_int_equal(v.verdicts.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.verdicts.organization, DIME_VERDICT_BAD);
    mail_view_free(&v);
    kd_buf_free(&b);
}

/* T-DM-11 */
static void
T_DM_11_a_message_without_bounce_signatures_is_accepted(void **state)
{
    const struct dime_content text = mail_text(hello);
    struct kd_buf whole, half, none, never;
    struct dime_plan plan;
    struct dime_message m;

    (void)state;
    build_text(&whole);
    sign(&whole);
    assert_accepted(&whole, hello, DIME_VERDICT_GOOD);
    /* the same message, one chunk less and another, 255 made again */
    m = mail_parse(kd_buf_slice(&whole));
    kd_buf_init(&half, LIMIT);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_METADATA_BOUNCE, &half), KD_OK);
    m = mail_parse(kd_buf_slice(&half));
    kd_buf_init(&none, LIMIT);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_DISPLAY_BOUNCE, &none), KD_OK);
    m = mail_parse(kd_buf_slice(&none));
    assert_null(m.metadata_bounce.def);
    assert_null(m.display_bounce.def);
    assert_int_equal(m.n_chunks, 9);
    sign(&none);
    assert_accepted(&none, hello, DIME_VERDICT_GOOD);
    /* and one built so */
    mail_plan(&text, 1, &plan);
    plan.metadata_bounce = plan.display_bounce = false;
    build(&plan, &never);
    sign(&never);
    assert_accepted(&never, hello, DIME_VERDICT_GOOD);
    kd_buf_free(&whole);
    kd_buf_free(&half);
    kd_buf_free(&none);
    kd_buf_free(&never);
}

/* T-DM-12 */
static void
T_DM_12_a_message_without_chunk_34_is_accepted(void **state)
{
    struct kd_buf b;

    (void)state;
    build_text(&b);
    sign(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    struct dime_chunk headers = m.headers;
    cut_chunk(&b, &headers);
    mail_resign(b.p, b.n, false);
    m = mail_parse(kd_buf_slice(&b));
    assert_null(m.headers.def);
    assert_accepted(&b, hello, DIME_VERDICT_GOOD);
    kd_buf_free(&b);
}

/* T-DM-13 */
static void
T_DM_13_the_tree_that_libdime_makes_is_accepted_as_legacy(void **state)
{
    struct kd_buf b;

    (void)state;
    build_text(&b);
    mail_resign(b.p, b.n, true);
    assert_accepted(&b, hello, DIME_VERDICT_LEGACY);
    mail_resign(b.p, b.n, false);
    assert_accepted(&b, hello, DIME_VERDICT_GOOD);
    kd_buf_free(&b);
}

/* --- padding --- */

static void
padding_aligns_and_is_one_octet_whatever_the_size(void **state)
{
    static const uint32_t randoms[] = {0, 1, 1u << 31, UINT32_MAX};

    (void)state;
    for (uint32_t n = 1; n < 5000; n++) {
        for (size_t i = 0; i < 4; i++) {
            uint32_t size = DIME_PAYLOAD_FIXED + n + pad_content(n, randoms[i]);
            assert_int_equal(size % 16, 0);
            assert_true(size >= 256);
        }
        /* no random: the least */
        uint32_t least = pad_content(n, 0);
        assert_true(DIME_PAYLOAD_FIXED + n + least == 256 || least < 16);
    }
    for (uint32_t n = DIME_DATA_MAX - 600; n <= DIME_DATA_MAX; n++) {
        uint32_t size = DIME_PAYLOAD_FIXED + n + pad_content(n, UINT32_MAX);
        assert_int_equal(size % 16, 0);
        assert_true(size <= DIME_PAYLOAD_MAX);
    }
}

static void
every_amount_of_padding_that_one_octet_allows_is_used(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 600; n++) {
        bool seen[256] = {false};
        unsigned found = 0, expected = 0;
        for (uint32_t i = 0; i < 64; i++)
            seen[pad_content(n, i << 26)] = true;
        for (unsigned pad = 0; pad < 256; pad++) {
            bool fits = (DIME_PAYLOAD_FIXED + n + pad) % 16 == 0 &&
                        DIME_PAYLOAD_FIXED + n + pad >= 256;
            assert_true(fits || !seen[pad]);
            expected += fits;
            found += seen[pad];
        }
        assert_int_equal(found, expected);
    }
}

static void
envelopes_have_one_size(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 1024; n++) {
        uint32_t size = DIME_PAYLOAD_FIXED + n + pad_envelope(n);
        if (n >= 188 && n <= 512 - DIME_PAYLOAD_FIXED)
            assert_int_equal(size, 512);
        assert_int_equal(size % 256, 0);
        assert_true(size - DIME_PAYLOAD_FIXED - n < 256);
    }
}

/* T-DM-25 */
static void
T_DM_25_a_thousand_encodings_have_several_lengths_and_none_short(void **state)
{
    bool seen[65536 / 16] = {false};
    unsigned lengths = 0;

    (void)state;
    for (unsigned i = 0; i < ENCODINGS; i++) {
        struct kd_buf b;
        struct dime_chunk c;
        kd_err err;
        build_text(&b);
        struct dime_message m = mail_parse(kd_buf_slice(&b));
        assert_int_equal(m.origin.size, 512);
        assert_int_equal(m.destination.size, 512);
        for (uint64_t at = m.display; dime_message_next(&m, &at, m.signs, &c, &err);) {
            assert_true(c.size >= 256 && c.size < 65536);
            lengths += !seen[c.size / 16];
            seen[c.size / 16] = true;
        }
        kd_buf_free(&b);
    }
    /* 56 octets of text: 131 of padding make 256, and up to 7 blocks more fit an octet
     */
    assert_int_equal(lengths, 8);
}

/* --- randomness --- */

/* Values of one size, to be looked through for repeats. */
struct heap {
    uint8_t *p;
    size_t size, n, cap;
};

static void
heap_add(struct heap *h, const uint8_t *value)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 1024 : 2 * h->cap;
        assert_non_null(h->p = realloc(h->p, h->cap * h->size));
    }
    memcpy(h->p + h->n++ * h->size, value, h->size);
}

static int
compare_16(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static int
compare_32(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

static void
assert_no_repeats(struct heap *h, size_t expected)
{
    assert_int_equal(h->n, expected);
    qsort(h->p, h->n, h->size, h->size == 16 ? compare_16 : compare_32);
    for (size_t i = 1; i < h->n; i++)
        assert_true(memcmp(h->p + (i - 1) * h->size, h->p + i * h->size, h->size) != 0);
    free(h->p);
}

/* T-DM-26 */
static void
T_DM_26_nothing_random_is_used_twice_in_a_thousand_encodings(void **state)
{
    struct heap ephemeral = {.size = 32}, keys = {.size = 32}, ivs = {.size = 16},
                randoms = {.size = 16};
    size_t n_chunks = 0, n_slots = 0;

    (void)state;
    for (unsigned i = 0; i < ENCODINGS; i++) {
        struct dime_kek keks[DIME_ACTOR_COUNT];
        struct dime_chunk c;
        struct kd_buf b;
        kd_err err;
        build_text(&b);
        struct dime_message m = mail_parse(kd_buf_slice(&b));
        heap_add(&ephemeral, m.ephemeral + 1);
        for (int a = 0; a < DIME_ACTOR_COUNT; a++)
            mail_kek((enum dime_actor)a, m.ephemeral, &keks[a]);
        for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err);) {
            struct mail_slot first = {.random = {0}}, slot;
            bool is_first = true;
            for (int a = 0; a < DIME_ACTOR_COUNT; a++) {
                if (dime_chunk_slot(c.def, (enum dime_actor)a) < 0)
                    continue;
                mail_slot(&m, &c, (enum dime_actor)a, &keks[a], &slot);
                if (is_first)
                    first = slot;
                /* one key, whoever opens it */
                assert_memory_equal(&slot.key, &first.key, sizeof slot.key);
                heap_add(&randoms, slot.random);
                is_first = false;
                n_slots++;
            }
            if (is_first)
                continue;
            heap_add(&keys, first.key.key);
            heap_add(&ivs, first.key.iv);
            n_chunks++;
        }
        kd_buf_free(&b);
    }
    assert_int_equal(n_chunks, 10 * ENCODINGS);
    assert_int_equal(n_slots, 30 * ENCODINGS);
    assert_no_repeats(&ephemeral, ENCODINGS);
    assert_no_repeats(&keys, n_chunks);
    assert_no_repeats(&ivs, n_chunks);
    assert_no_repeats(&randoms, n_slots);
}

static void
count_up(void *ctx, uint8_t *out, size_t n)
{
    uint8_t *next = ctx;

    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(*next + i * 7 + i / 256);
    ++*next;
}

static void
the_same_randomness_gives_the_same_octets(void **state)
{
    const struct dime_content text = mail_text(hello);
    struct dime_plan plan;
    struct kd_buf a, b, c;
    uint8_t one = 1, again = 1, two = 2;

    (void)state;
    mail_plan(&text, 1, &plan);
    kd_buf_init(&a, LIMIT);
    kd_buf_init(&b, LIMIT);
    kd_buf_init(&c, LIMIT);
    assert_int_equal(dime_message_build_with(&plan, count_up, &one, &a), KD_OK);
    assert_int_equal(dime_message_build_with(&plan, count_up, &again, &b), KD_OK);
    assert_int_equal(dime_message_build_with(&plan, count_up, &two, &c), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&a), kd_buf_slice(&b)));
    assert_false(kd_slice_eq(kd_buf_slice(&a), kd_buf_slice(&c)));
    kd_buf_free(&a);
    kd_buf_free(&b);
    kd_buf_free(&c);
}

/* --- data larger than a chunk --- */

static void
build_large(size_t n, uint32_t pieces, struct kd_buf *out)
{
    struct dime_content large = {.type = DIME_CHUNK_DISPLAY_CONTENT};
    struct dime_plan plan;
    struct mail_view v;
    uint8_t *data = malloc(n);

    assert_non_null(data);
    randombytes_buf_deterministic(data, n, people->scalars[0]);
    large.data = dime_source_of(kd_slice(data, n));
    mail_plan(&large, 1, &plan);
    kd_buf_init(out, UINT32_MAX);
    assert_int_equal(dime_message_build(&plan, out), KD_OK);
    struct dime_message m = mail_parse(kd_buf_slice(out));
    assert_int_equal(m.n_display, pieces);
    mail_open(&m, DIME_RECIPIENT, &v);
    assert_int_equal(v.n_parts, 1);
    assert_int_equal(v.n_pieces, pieces);
    assert_int_equal(v.verdicts.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.verdicts.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.parts.n, n);
    assert_memory_equal(v.parts.p, data, n);
    mail_view_free(&v);
    free(data);
}

static void
data_that_fits_exactly_is_one_chunk(void **state)
{
    struct kd_buf b;

    (void)state;
    build_large(DIME_DATA_MAX, 1, &b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    assert_int_equal(dime_chunk_end(&m.headers), m.display);
    assert_int_equal(m.attached - m.display,
                     DIME_CHUNK_HEADER + DIME_PAYLOAD_MAX + 2 * DIME_SLOT_SIZE);
    kd_buf_free(&b);
}

static void
one_octet_more_is_two_chunks_the_first_full(void **state)
{
    struct dime_chunk first, second;
    struct kd_buf b;
    kd_err err;

    (void)state;
    build_large(DIME_DATA_MAX + 1, 2, &b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    uint64_t at = m.display;
    assert_true(dime_message_next(&m, &at, m.signs, &first, &err));
    assert_true(dime_message_next(&m, &at, m.signs, &second, &err));
    assert_int_equal(first.size, DIME_PAYLOAD_MAX);
    assert_true(second.size >= 256 && second.size < 512);
    kd_buf_free(&b);
}

/* DM-34: the most that four chunks hold, and one octet more. */
static void
more_than_four_chunks_are_made_only_of_what_does_not_fit_four(void **state)
{
    struct kd_buf b;

    (void)state;
    build_large(DIME_SPAN_LARGE, 4, &b);
    kd_buf_free(&b);
    build_large((size_t)DIME_SPAN_LARGE + 1, 5, &b);
    kd_buf_free(&b);
}

static void
flags_of_compressed_data_are_kept(void **state)
{
    struct dime_content zipped = mail_text("not gzip, but nobody looks");
    struct dime_chunk_key key;
    struct dime_payload payload;
    struct dime_plan plan;
    struct dime_chunk c;
    struct dime_kek kek;
    struct kd_buf b;
    kd_err err;

    (void)state;
    zipped.flags = DIME_PAYLOAD_GZIP;
    mail_plan(&zipped, 1, &plan);
    build(&plan, &b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    uint64_t at = m.display;
    assert_true(dime_message_next(&m, &at, m.signs, &c, &err));
    mail_kek(DIME_RECIPIENT, m.ephemeral, &kek);
    assert_int_equal(dime_chunk_key_of(&m, &c, DIME_RECIPIENT, &kek, &key), KD_OK);
    assert_int_equal(
        dime_payload_check(&m, &c, &key, people->author->use.key, &payload, NULL),
        KD_OK);
    assert_int_equal(payload.flags, DIME_PAYLOAD_GZIP);
    kd_buf_free(&b);
}

/* --- what cannot be built --- */

static void
assert_not_built(const struct dime_plan *plan, size_t max, kd_err expected)
{
    struct kd_buf out;
    uint8_t *all;

    kd_buf_init(&out, max);
    assert_non_null(all = kd_buf_add(&out, max));
    memset(all, 0, max);
    kd_buf_reset(&out);
    kd_buf_put(&out, kd_slice_str("before"));
    assert_int_equal(dime_message_build(plan, &out), expected);
    assert_int_equal(out.err, KD_OK);
    assert_text(&out, "before");
    /* nothing that was to be secret is left behind it */
    assert_ptr_equal(out.p, all);
    assert_null(memmem(all, max, "Hello", 5));
    assert_null(memmem(all, max, "alice@", 6));
    kd_buf_free(&out);
}

static void
a_plan_that_is_no_message_is_refused(void **state)
{
    static const uint8_t infinity[DIME_SECP_KEY_SIZE] = {2};
    struct dime_content two[2] = {mail_text(hello), mail_text(hello)};
    struct kd_slice none = {NULL, 0};
    struct dime_plan good, bad;

    (void)state;
    mail_plan(two, 2, &good);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        bad = good;
        bad.keys[i] = NULL;
        assert_not_built(&bad, LIMIT, KD_INVALID);
        bad.keys[i] = infinity;
        assert_not_built(&bad, LIMIT, KD_INVALID);
    }
    struct kd_slice *texts[] = {&bad.origin, &bad.destination, &bad.common,
                                &bad.headers};
    for (size_t i = 0; i < 4; i++) {
        bad = good;
        *texts[i] = none;
        assert_not_built(&bad, LIMIT, KD_INVALID);
    }
    for (size_t i = 0; i < 2; i++) {
        char *long_text = calloc(1, DIME_ENVELOPE_MAX + 1);
        bad = good;
        *texts[i] = kd_slice(long_text, DIME_ENVELOPE_MAX + 1);
        assert_not_built(&bad, LIMIT, KD_INVALID);
        free(long_text);
    }
    bad = good;
    bad.n_contents = 0;
    assert_not_built(&bad, LIMIT, KD_INVALID);
}

static void
contents_that_cannot_stand_there_are_refused(void **state)
{
    static const uint8_t types[] = {0,  1,  2,   4,   5,   6,   7,   33,  34,  35,
                                    64, 68, 128, 132, 224, 225, 226, 248, 249, 255};
    struct dime_content two[2] = {mail_text(hello), mail_text(hello)};
    struct dime_plan plan;

    (void)state;
    mail_plan(two, 2, &plan);
    for (size_t i = 0; i < sizeof types; i++) {
        two[1].type = types[i];
        assert_not_built(&plan, LIMIT, KD_INVALID);
    }
    /* an attachment first, or alone (D-106, D-108) */
    two[0].type = DIME_CHUNK_ATTACHMENTS_CONTENT;
    two[1].type = DIME_CHUNK_DISPLAY_CONTENT;
    assert_not_built(&plan, LIMIT, KD_INVALID);
    plan.n_contents = 1;
    assert_not_built(&plan, LIMIT, KD_INVALID);
    two[0] = mail_text("");
    assert_not_built(&plan, LIMIT, KD_INVALID);
    for (unsigned flag = 1; flag < 256; flag *= 2) {
        two[0] = mail_text(hello);
        two[0].flags = (uint8_t)flag;
        if (flag != DIME_PAYLOAD_GZIP)
            assert_not_built(&plan, LIMIT, KD_INVALID);
    }
    two[0] = mail_text(hello);
    two[0].data.n = (uint64_t)UINT32_MAX + 1;
    assert_not_built(&plan, LIMIT, KD_TOO_LARGE);
}

static void
data_that_is_shorter_than_said_is_an_error(void **state)
{
    struct dime_content missing = {.type = DIME_CHUNK_DISPLAY_CONTENT,
                                   .data = dime_source_file(-1, 100)};
    struct dime_content two[2] = {mail_text(hello), missing};
    struct dime_plan plan;

    (void)state;
    mail_plan(two, 2, &plan);
    for (int i = 0; i < 50; i++) /* and secret memory comes back */
        assert_not_built(&plan, LIMIT, KD_IO);
}

/* A public half that is not the secret's: such a signature gives the secret away. */
static void
a_signature_that_does_not_verify_is_not_let_out(void **state)
{
    const struct dime_content text = mail_text(hello);
    struct dime_ed25519_secret *damaged = kd_secret_new(sizeof *damaged);
    struct dime_plan plan;
    struct dime_kek kek;
    struct kd_buf b, before;

    (void)state;
    assert_non_null(damaged);
    *damaged = *people->author;
    memcpy(damaged->use.key, people->organization->use.key, sizeof damaged->use.key);
    damaged->check = damaged->use;
    mail_plan(&text, 1, &plan);
    plan.author = damaged;
    assert_not_built(&plan, LIMIT, KD_FAILED);
    build_text(&b);
    kd_buf_init(&before, LIMIT);
    kd_buf_put(&before, kd_buf_slice(&b));
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
    assert_int_equal(dime_message_sign(&m, b.p, &kek, damaged), KD_FAILED);
    assert_true(kd_slice_eq(kd_buf_slice(&b), kd_buf_slice(&before)));
    kd_secret_free(damaged, sizeof *damaged);
    kd_buf_free(&b);
    kd_buf_free(&before);
}

static void
no_message_is_larger_than_its_limit(void **state)
{
    const struct dime_content text = mail_text(hello);
    uint8_t next = 1;
    struct dime_plan plan;
    struct kd_buf b;

    (void)state;
    mail_plan(&text, 1, &plan);
    kd_buf_init(&b, LIMIT);
    assert_int_equal(dime_message_build_with(&plan, count_up, &next, &b), KD_OK);
    size_t size = b.n;
    for (size_t max = 0; max <= size; max += max + 64 < size ? 61 : 1) {
        kd_buf_free(&b);
        kd_buf_init(&b, max);
        next = 1;
        kd_err err = dime_message_build_with(&plan, count_up, &next, &b);
        assert_int_equal(err, max < size ? KD_TOO_LARGE : KD_OK);
        assert_int_equal(b.n, max < size ? 0 : size);
        assert_int_equal(b.err, KD_OK);
    }
    kd_buf_free(&b);
}

/* --- the origin's half --- */

static void
only_the_octets_that_were_parsed_are_signed(void **state)
{
    struct dime_kek kek;
    struct kd_buf b;
    uint8_t *other;

    (void)state;
    build_text(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
    assert_non_null(other = malloc(b.n));
    memcpy(other, b.p, b.n);
    assert_int_equal(dime_message_sign(&m, other, &kek, people->organization),
                     KD_INVALID);
    assert_memory_equal(other, b.p, b.n);
    free(other);
    kd_buf_free(&b);
}

static void
another_key_encryption_key_makes_no_signature(void **state)
{
    struct dime_kek kek;
    struct mail_view v;
    struct kd_buf b;

    (void)state;
    build_text(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    mail_kek(DIME_DESTINATION, m.ephemeral, &kek); /* not the origin's */
    assert_int_equal(dime_message_sign(&m, b.p, &kek, people->organization), KD_OK);
    mail_open(&m, DIME_DESTINATION, &v);
    assert_int_equal(v.verdicts.organization, DIME_VERDICT_BAD);
    mail_view_free(&v);
    kd_buf_free(&b);
}

static void
only_bounce_signatures_are_dropped(void **state)
{
    struct kd_buf b, out;

    (void)state;
    build_text(&b);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    kd_buf_init(&out, LIMIT);
    for (unsigned type = 0; type < 256; type++)
        if (type != DIME_CHUNK_METADATA_BOUNCE && type != DIME_CHUNK_DISPLAY_BOUNCE)
            assert_int_equal(dime_message_drop(&m, (uint8_t)type, &out), KD_INVALID);
    assert_int_equal(out.n, 0);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_METADATA_BOUNCE, &out), KD_OK);
    m = mail_parse(kd_buf_slice(&out));
    kd_buf_free(&b);
    kd_buf_init(&b, LIMIT);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_METADATA_BOUNCE, &b),
                     KD_NOT_FOUND);
    kd_buf_free(&b);
    kd_buf_init(&b, out.n - 1); /* 324 octets less are needed: room for that, not all */
    kd_buf_put(&b, kd_slice_str("before"));
    for (size_t i = b.n; i < b.max && b.n < 400; i++)
        kd_buf_u8(&b, 'x');
    size_t before = b.n;
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_DISPLAY_BOUNCE, &b),
                     KD_TOO_LARGE);
    assert_int_equal(b.n, before);
    assert_int_equal(b.err, KD_OK);
    kd_buf_free(&b);
    kd_buf_free(&out);
}

/* D-105: what stands in front is not ours to send on. */
static void
tracing_is_dropped_too(void **state)
{
    static const uint8_t traced[] = {0x07, 0x2d, 0, 3, 'a', 'b', 'c'};
    struct kd_buf b, with, out;

    (void)state;
    build_text(&b);
    kd_buf_init(&with, LIMIT);
    kd_buf_put(&with, kd_slice(traced, sizeof traced));
    kd_buf_put(&with, kd_buf_slice(&b));
    struct dime_message m = mail_parse(kd_buf_slice(&with));
    assert_int_equal(m.traced, sizeof traced);
    kd_buf_init(&out, LIMIT);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_METADATA_BOUNCE, &out), KD_OK);
    m = mail_parse(kd_buf_slice(&out));
    assert_int_equal(m.traced, 0);
    kd_buf_free(&b);
    kd_buf_free(&with);
    kd_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_the_four_opens_what_is_his),
        cmocka_unit_test(messages_have_the_shape_that_libdime_reads),
        cmocka_unit_test(placeholders_are_zeros_until_the_organization_signs),
        cmocka_unit_test(T_DM_11_a_message_without_bounce_signatures_is_accepted),
        cmocka_unit_test(T_DM_12_a_message_without_chunk_34_is_accepted),
        cmocka_unit_test(T_DM_13_the_tree_that_libdime_makes_is_accepted_as_legacy),
        cmocka_unit_test(padding_aligns_and_is_one_octet_whatever_the_size),
        cmocka_unit_test(every_amount_of_padding_that_one_octet_allows_is_used),
        cmocka_unit_test(envelopes_have_one_size),
        cmocka_unit_test(
            T_DM_25_a_thousand_encodings_have_several_lengths_and_none_short),
        cmocka_unit_test(T_DM_26_nothing_random_is_used_twice_in_a_thousand_encodings),
        cmocka_unit_test(the_same_randomness_gives_the_same_octets),
        cmocka_unit_test(data_that_fits_exactly_is_one_chunk),
        cmocka_unit_test(one_octet_more_is_two_chunks_the_first_full),
        cmocka_unit_test(more_than_four_chunks_are_made_only_of_what_does_not_fit_four),
        cmocka_unit_test(flags_of_compressed_data_are_kept),
        cmocka_unit_test(a_plan_that_is_no_message_is_refused),
        cmocka_unit_test(contents_that_cannot_stand_there_are_refused),
        cmocka_unit_test(data_that_is_shorter_than_said_is_an_error),
        cmocka_unit_test(a_signature_that_does_not_verify_is_not_let_out),
        cmocka_unit_test(no_message_is_larger_than_its_limit),
        cmocka_unit_test(only_the_octets_that_were_parsed_are_signed),
        cmocka_unit_test(another_key_encryption_key_makes_no_signature),
        cmocka_unit_test(only_bounce_signatures_are_dropped),
        cmocka_unit_test(tracing_is_dropped_too),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
