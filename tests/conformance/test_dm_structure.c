/* The structure of messages: types, order, counts, sizes, limits (DM-9 to DM-25, DM-64
 * to DM-84; D-104 to D-109), from memory and from a file alike, and judged a second
 * time by a naive reading. */
#include "dm.h"
#include "dmj.h"
#include "dmt.h"
#include "fuzz.h"
#include "test.h"

#include <dime/bounce.h>
#include <dime/naked.h>
#include <keyd/base/be.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { TYPES_MAX = 32, SMALL = 212 /* octets of the smallest content chunk */ };

static const uint8_t good[] = {2,   3,   4,   5,   33,  34,  65, 67,
                               129, 131, 225, 226, 248, 249, 255};
static int file = -1;
static size_t n_reads;

ssize_t __real_pread(int fd, void *out, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *out, size_t n, off_t at);

ssize_t
__wrap_pread(int fd, void *out, size_t n, off_t at)
{
    n_reads++;
    return __real_pread(fd, out, n, at);
}

static int
begin(void **state)
{
    file = memfd_create("message", MFD_CLOEXEC);
    return file < 0 ? -1 : dmt_begin(state);
}

static int
end(void **state)
{
    (void)state;
    return close(file);
}

static struct dime_source
in_file(struct kd_slice octets)
{
    assert_int_equal(ftruncate(file, 0), 0);
    for (size_t at = 0; at < octets.n;) {
        ssize_t n = pwrite(file, octets.p + at, octets.n - at, (off_t)at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    return dime_source_file(file, octets.n);
}

/* The flaw of octets in a block of exactly their size, for memory checkers. */
static enum dime_flaw
flaw_of(struct kd_slice octets)
{
    uint8_t *exact = malloc(octets.n + (octets.n == 0));
    struct dmj_verdict v;

    assert_non_null(exact);
    if (octets.n != 0)
        memcpy(exact, octets.p, octets.n);
    kd_ignore(in_file(octets).n);
    const char *why = dmj_judge(kd_slice(exact, octets.n), file, &v);
    if (why != NULL)
        fail_msg("%s (%s)", why, dime_flaw_name(v.flaw));
    free(exact);
    return v.flaw;
}

static void
expect(const uint8_t *types, size_t n, enum dime_flaw want)
{
    struct kd_buf b;
    enum dime_flaw got = flaw_of(dm_message(&b, types, n));

    if (got != want)
        fail_msg("%zu chunks, the second %u: %s, not %s", n, n > 1 ? types[1] : 0,
                 dime_flaw_name(got), dime_flaw_name(want));
    kd_buf_free(&b);
}

static size_t
index_of(uint8_t type)
{
    for (size_t i = 0; i < LEN(good); i++)
        if (good[i] == type)
            return i;
    fail_msg("no chunk %u", type);
    return 0;
}

/* The good types with one put in at a place. */
static void
expect_with(uint8_t type, size_t at, enum dime_flaw want)
{
    uint8_t types[TYPES_MAX];

    memcpy(types, good, at);
    types[at] = type;
    memcpy(types + at + 1, good + at, LEN(good) - at);
    expect(types, LEN(good) + 1, want);
}

/* The good types with type moved before another. */
static void
expect_moved(uint8_t type, uint8_t before, enum dime_flaw want)
{
    uint8_t types[TYPES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < LEN(good); i++) {
        if (good[i] == before)
            types[n++] = type;
        if (good[i] != type)
            types[n++] = good[i];
    }
    assert_int_equal(n, LEN(good));
    expect(types, n, want);
}

static void
expect_without(uint8_t type, enum dime_flaw want)
{
    uint8_t types[TYPES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < LEN(good); i++)
        if (good[i] != type)
            types[n++] = good[i];
    expect(types, n, want);
}

static void
a_message_of_all_chunks_is_good(void **state)
{
    (void)state;
    expect(good, LEN(good), DIME_FLAW_NONE);
}

/* --- tracing, magic, length --- */

static struct kd_slice
with_object_in_front(struct kd_buf *out, struct kd_slice message, uint16_t n)
{
    kd_buf_reset(out);
    kd_buf_u16(out, 1837);
    kd_buf_u16(out, n);
    for (size_t i = 0; i < n; i++)
        kd_buf_u8(out, 0x5a);
    kd_buf_put(out, message);
    return kd_buf_slice(out);
}

static struct kd_slice
with_chunk_in_front(struct kd_buf *out, struct kd_slice message, uint16_t n)
{
    kd_buf_free(out);
    dm_begin(out, 1 << 20);
    dm_put(out, 0, n, 0);
    kd_buf_put(out, kd_slice(message.p + 6, message.n - 6));
    return dm_end(out);
}

/* All accept it as it is, and it shows what MSG shows. */
static void
assert_is_msg(struct kd_slice traced)
{
    assert_int_equal(flaw_of(traced), DIME_FLAW_NONE);
    accepted_by_all(traced); /* the recipient last */
    assert_int_equal(r.n_parts, 1);
    assert_part(0, 67, kd_slice_str(dmw_text(67)));
}

/* T-DM-27 */
static void
T_DM_27_tracing_in_front_is_ignored(void **state)
{
    static const uint16_t sizes[] = {0, 1, 3, 255, 65535};
    struct kd_slice msg = sg_file("appendix/MSG.b64");
    struct kd_buf object, chunk;

    (void)state;
    kd_buf_init(&object, 1 << 20);
    kd_buf_init(&chunk, 1 << 20);
    kd_ignore(write_message(&(struct dmw_recipe){.seed = 27}).n); /* MSG's people */
    assert_is_msg(msg);
    for (size_t i = 0; i < LEN(sizes); i++) {
        assert_is_msg(with_object_in_front(&object, msg, sizes[i]));
        assert_is_msg(with_chunk_in_front(&chunk, msg, sizes[i]));
        assert_is_msg(with_object_in_front(&object, kd_buf_slice(&chunk), sizes[i]));
    }
    kd_buf_free(&object);
    kd_buf_free(&chunk);
    sg_free(msg);
}

static void
tracing_stands_in_front_and_once(void **state)
{
    struct kd_buf b, once, twice;
    struct kd_slice octets = dm_message(&b, good, LEN(good));

    (void)state;
    kd_buf_init(&once, 1 << 20);
    kd_buf_init(&twice, 1 << 20);
    with_object_in_front(&once, octets, 9);
    assert_int_equal(flaw_of(with_object_in_front(&twice, kd_buf_slice(&once), 9)),
                     DIME_FLAW_MAGIC);
    with_chunk_in_front(&once, octets, 9);
    assert_int_equal(flaw_of(with_chunk_in_front(&twice, kd_buf_slice(&once), 9)),
                     DIME_FLAW_TYPE);
    for (size_t at = 1; at <= LEN(good); at++)
        expect_with(0, at, DIME_FLAW_TYPE);
    kd_buf_free(&twice);
    kd_buf_free(&once);
    kd_buf_free(&b);
}

static void
tracing_that_is_cut_is_refused(void **state)
{
    static const uint8_t object[] = {0x07, 0x2d, 0, 3, 'a', 'b'};
    struct kd_buf b;

    (void)state;
    assert_int_equal(flaw_of(kd_slice(object, sizeof object)), DIME_FLAW_TRACING);
    dm_begin(&b, 1 << 10);
    size_t at = dm_put(&b, 0, 7, 0);
    kd_put_be24(b.p + at + 1, 8);
    assert_int_equal(flaw_of(dm_end(&b)), DIME_FLAW_TRACING);
    kd_buf_free(&b);
}

/* The octets as another object, its magic number aside: judged as a message, and by who
 * they are for at DATA. */
static void
assert_object(struct kd_buf *b, uint16_t magic, enum dime_data_kind kind)
{
    struct kd_slice octets = kd_buf_slice(b);
    struct dime_source s = dime_source_of(octets);

    kd_put_be16(b->p, magic);
    assert_int_equal(dime_object_magic(&s), magic);
    assert_int_equal(dime_data_kind(&s), kind);
    enum dime_flaw flaw = flaw_of(octets);
    assert_int_equal(flaw,
                     kind == DIME_DATA_MESSAGE ? DIME_FLAW_NONE : DIME_FLAW_MAGIC);
    assert_int_equal(dime_flaw_reply(flaw), kind == DIME_DATA_MESSAGE ? 0 : 451);
}

/* T-DM-29: 1846 and 1908 at DATA are 451; 1931 goes to who handles bounces. */
static void
T_DM_29_only_messages_and_bounces_are_for_somebody_at_data(void **state)
{
    struct dime_bounce bounce;
    enum dime_flaw why;
    struct kd_buf b, traced;
    struct kd_slice octets = dm_message(&b, good, LEN(good));
    struct dime_source source = dime_source_of(octets);

    (void)state;
    assert_object(&b, 1846, DIME_DATA_OTHER);
    assert_object(&b, 1908, DIME_DATA_OTHER);
    assert_object(&b, 1931, DIME_DATA_BOUNCE);
    /* where a message that only says so is refused as well (a good one: test_bounce) */
    assert_int_equal(dime_bounce_parse(&source, DIME_MESSAGE_MAX, &bounce, &why),
                     KD_MALFORMED);
    assert_int_equal(dime_flaw_reply(why), 451);
    assert_object(&b, 1847, DIME_DATA_MESSAGE);
    for (unsigned magic = 0; magic <= UINT16_MAX; magic++) {
        if (magic == DIME_MAGIC_TRACING)
            continue; /* says nothing yet */
        kd_put_be16(b.p, (uint16_t)magic);
        assert_int_equal(dime_data_kind(&source), magic == 1847   ? DIME_DATA_MESSAGE
                                                  : magic == 1931 ? DIME_DATA_BOUNCE
                                                                  : DIME_DATA_OTHER);
    }
    /* tracing in front is no part of the object, and alone it is nothing */
    kd_put_be16(b.p, 1847);
    kd_buf_init(&traced, 1 << 20);
    octets = with_object_in_front(&traced, octets, 9);
    for (size_t n = 0; n <= octets.n; n++) {
        struct dime_source cut = dime_source_of(kd_slice(octets.p, n));
        assert_int_equal(dime_data_kind(&cut),
                         n < 4 + 9 + 2 ? DIME_DATA_OTHER : DIME_DATA_MESSAGE);
    }
    kd_buf_free(&traced);
    kd_buf_free(&b);
}

static void
every_flaw_has_its_reply(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DIME_FLAW_COUNT; i++) {
        unsigned want = i == DIME_FLAW_NONE        ? 0
                        : i == DIME_FLAW_TOO_LARGE ? 552
                        : i == DIME_FLAW_UNSIGNED  ? 578
                                                   : 451;
        assert_int_equal(dime_flaw_reply((enum dime_flaw)i), want);
    }
}

/* T-DM-30 */
static void
T_DM_30_a_length_wrong_by_one_is_corrupt(void **state)
{
    struct kd_buf b;
    struct kd_slice octets = dm_message(&b, good, LEN(good));

    (void)state;
    kd_put_be32(b.p + 2, (uint32_t)octets.n - 6 - 1);
    assert_int_equal(flaw_of(octets), DIME_FLAW_LENGTH);
    kd_put_be32(b.p + 2, (uint32_t)octets.n - 6 + 1);
    assert_int_equal(flaw_of(octets), DIME_FLAW_LENGTH);
    kd_buf_free(&b);
}

/* --- order --- */

/* T-DM-31 */
static void
T_DM_31_types_of_single_chunks_ascend(void **state)
{
    (void)state;
    expect_moved(5, 4, DIME_FLAW_ORDER);
    expect_moved(34, 33, DIME_FLAW_ORDER);
    expect_moved(226, 225, DIME_FLAW_ORDER);
    expect_moved(255, 249, DIME_FLAW_ORDER);
    for (size_t i = 1; i < LEN(good); i++)
        if (dime_chunk_def(good[i])->count != DIME_CHUNK_MANY)
            for (size_t k = 1; k < i; k++) /* of 2: T-DM-34 */
                expect_moved(good[i], good[k], DIME_FLAW_ORDER);
}

/* T-DM-32 */
static void
T_DM_32_sections_ascend(void **state)
{
    static const uint8_t late[] = {2, 4, 5, 33, 34, 225, 67, 226, 255};

    (void)state;
    expect_moved(67, 33, DIME_FLAW_ORDER);
    expect_moved(131, 67, DIME_FLAW_ORDER);
    expect(late, LEN(late), DIME_FLAW_ORDER);
}

/* T-DM-33: a second one at every place */
static void
T_DM_33_no_single_chunk_stands_twice(void **state)
{
    static const uint8_t types[] = {2, 3, 4, 5, 33, 34, 225, 226, 248, 249, 255};

    (void)state;
    for (size_t i = 0; i < LEN(types); i++)
        for (size_t at = 0; at <= LEN(good); at++) {
            size_t first = index_of(types[i]);
            bool adjoins = at == first || at == first + 1;
            expect_with(types[i], at,
                        adjoins   ? DIME_FLAW_REPEATED
                        : at == 0 ? DIME_FLAW_MISSING /* 2 is not first */
                                  : DIME_FLAW_ORDER);
        }
}

/* T-DM-34 */
static void
T_DM_34_the_ephemeral_chunk_is_there_and_first(void **state)
{
    (void)state;
    expect_without(2, DIME_FLAW_MISSING);
    expect_moved(2, 4, DIME_FLAW_MISSING);
    expect_moved(2, 33, DIME_FLAW_MISSING);
}

/* T-DM-35 */
static void
T_DM_35_the_ephemeral_key_is_a_compressed_point(void **state)
{
    static const uint32_t sizes[] = {32, 34, 65, 0, 64, 69};
    static const uint8_t p_plus_1[32] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xfc, 0x30};
    struct kd_buf b;

    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++) {
        dm_begin(&b, 1 << 20);
        dm_put(&b, 2, sizes[i], 0);
        for (size_t k = 1; k < LEN(good); k++)
            dm_put(&b, good[k], dm_size(good[k]), dm_slots(good[k]));
        assert_int_equal(flaw_of(dm_end(&b)), DIME_FLAW_PAYLOAD_SIZE);
        kd_buf_free(&b);
    }
    struct kd_slice octets = dm_message(&b, good, LEN(good));
    for (unsigned prefix = 0; prefix < 256; prefix++) {
        bool is_one = prefix == 2 || prefix == 3;
        b.p[10] = (uint8_t)prefix;
        assert_int_equal(flaw_of(octets),
                         is_one ? DIME_FLAW_NONE : DIME_FLAW_EPHEMERAL);
    }
    b.p[10] = 2;
    memset(b.p + 11, 0, 32);
    b.p[42] = 5; /* 5^3 + 7 is no square */
    assert_int_equal(flaw_of(octets), DIME_FLAW_EPHEMERAL);
    b.p[42] = 1;
    assert_int_equal(flaw_of(octets), DIME_FLAW_NONE);
    /* p + 1, which is 1 to who reduces it; and more */
    memcpy(b.p + 11, p_plus_1, sizeof p_plus_1);
    assert_int_equal(flaw_of(octets), DIME_FLAW_EPHEMERAL);
    memset(b.p + 11, 0xff, 32);
    assert_int_equal(flaw_of(octets), DIME_FLAW_EPHEMERAL);
    kd_buf_free(&b);
}

/* The reply to the good types less one, or two. */
static unsigned
reply_without(uint8_t type, uint8_t other)
{
    uint8_t types[TYPES_MAX];
    struct kd_buf b;
    size_t n = 0;

    for (size_t i = 0; i < LEN(good); i++)
        if (good[i] != type && good[i] != other)
            types[n++] = good[i];
    unsigned reply = dime_flaw_reply(flaw_of(dm_message(&b, types, n)));
    kd_buf_free(&b);
    return reply;
}

/* T-DM-36: corrupt, but a missing organizational signature is told apart: 578. */
static void
T_DM_36_each_required_chunk_is_missed(void **state)
{
    static const uint8_t required[] = {2, 4, 5, 33, 225, 226},
                         may[] = {3, 34, 248, 249};
    static const uint8_t no_display[] = {2, 4, 5, 33, 34, 131, 225, 226, 255};

    (void)state;
    for (size_t i = 0; i < LEN(required); i++) {
        expect_without(required[i], DIME_FLAW_MISSING);
        assert_int_equal(reply_without(required[i], required[i]), 451);
        /* of two, what makes it no message at all */
        assert_int_equal(reply_without(required[i], 255), 451);
    }
    for (size_t i = 0; i < LEN(may); i++)
        expect_without(may[i], DIME_FLAW_NONE);
    expect(no_display, LEN(no_display), DIME_FLAW_NO_DISPLAY);
    assert_int_equal(reply_without(65, 67), 451);
    expect_without(255, DIME_FLAW_UNSIGNED);
    assert_int_equal(reply_without(255, 255), 578);
}

/* T-DM-37 */
static void
T_DM_37_headings_of_sections_are_corrupt(void **state)
{
    static const uint8_t types[] = {1, 32, 64, 128, 224};

    (void)state;
    for (size_t i = 0; i < LEN(types); i++)
        for (size_t at = 0; at <= LEN(good); at++)
            expect_with(types[i], at, DIME_FLAW_HEADING);
}

/* T-DM-38; and every other that is not in the table */
static void
T_DM_38_unknown_types_are_corrupt(void **state)
{
    static const uint8_t types[] = {6, 35, 68, 200, 250};

    (void)state;
    for (size_t i = 0; i < LEN(types); i++)
        for (size_t at = 0; at <= LEN(good); at++)
            expect_with(types[i], at, DIME_FLAW_TYPE);
    for (unsigned type = 3; type < 256; type++)
        if (dm_slots((uint8_t)type) == 0 && type != 32 && type != 64 && type != 128 &&
            type != 224)
            expect_with((uint8_t)type, 1, DIME_FLAW_TYPE);
}

/* As magma's newer code lays them out: chunk 1 with both keys, slots of 32 octets. */
static struct kd_slice
write_prime(struct kd_buf *b)
{
    static const uint8_t keys[0x45] = {0x01, 0x20, [34] = 0x02, 0x21, 0x02, [68] = 1};
    static const uint8_t types[] = {32, 33, 48};

    dm_begin(b, 1 << 20);
    kd_buf_u8(b, 1);
    kd_buf_u24(b, sizeof keys);
    kd_buf_put(b, kd_slice(keys, sizeof keys));
    for (size_t i = 0; i < LEN(types); i++)
        dm_put(b, types[i], 128, 1); /* two slots of half the size */
    return dm_end(b);
}

/* T-DM-65; and as naked mail, which is what its own magic number says */
static void
T_DM_65_a_message_of_prime_is_corrupt(void **state)
{
    struct dime_naked naked;
    struct kd_buf b;
    struct kd_slice octets = write_prime(&b);
    struct dime_source source = dime_source_of(octets);
    enum dime_flaw why;

    (void)state;
    assert_int_equal(flaw_of(octets), DIME_FLAW_HEADING);
    kd_put_be16(b.p, DIME_MAGIC_NAKED);
    assert_int_equal(flaw_of(octets), DIME_FLAW_MAGIC);
    assert_int_equal(dime_naked_parse(&source, DIME_MESSAGE_MAX, &naked, &why),
                     KD_MALFORMED);
    assert_int_equal(why, DIME_FLAW_HEADING);
    kd_buf_free(&b);
    expect_with(1, 0, DIME_FLAW_HEADING);
}

/* --- sizes --- */

/* T-DM-39: at every octet of every slot. Of whole messages, test_dm_walk. */
static void
T_DM_39_a_message_that_ends_inside_a_keyslot_is_corrupt(void **state)
{
    struct kd_buf b;
    size_t end = 6;

    (void)state;
    kd_ignore(dm_message(&b, good, LEN(good)).n);
    for (size_t i = 0; i < LEN(good); i++) {
        size_t slots = 64 * dm_slots(good[i]);
        end += 4 + dm_size(good[i]) + slots;
        for (size_t n = end - slots; n < end; n++) {
            kd_put_be32(b.p + 2, (uint32_t)n - 6);
            assert_int_equal(flaw_of(kd_slice(b.p, n)), DIME_FLAW_CUT);
        }
    }
    assert_int_equal(end, b.n);
    kd_buf_free(&b);
}

/* A good message whose chunk of that type has a payload of that size. */
static enum dime_flaw
flaw_of_size(uint8_t type, uint32_t size)
{
    struct kd_buf b;
    enum dime_flaw flaw;

    dm_begin(&b, DIME_MESSAGE_MAX);
    for (size_t i = 0; i < LEN(good); i++)
        dm_put(&b, good[i], good[i] == type ? size : dm_size(good[i]),
               dm_slots(good[i]));
    flaw = flaw_of(dm_end(&b));
    kd_buf_free(&b);
    return flaw;
}

/* T-DM-40 */
static void
T_DM_40_payloads_are_aligned(void **state)
{
    static const uint8_t types[] = {3, 4, 5, 33, 34, 65, 67, 129, 131};

    (void)state;
    for (size_t i = 0; i < LEN(types); i++) {
        assert_int_equal(flaw_of_size(types[i], 250), DIME_FLAW_PAYLOAD_SIZE);
        assert_int_equal(flaw_of_size(types[i], 256), DIME_FLAW_NONE);
        assert_int_equal(flaw_of_size(types[i], 64), DIME_FLAW_PAYLOAD_SIZE);
        assert_int_equal(flaw_of_size(types[i], 0), DIME_FLAW_PAYLOAD_SIZE);
    }
}

/* T-DM-41 */
static void
T_DM_41_the_largest_payload_is_the_last_that_is_aligned(void **state)
{
    (void)state;
    assert_int_equal(flaw_of_size(67, 16777200), DIME_FLAW_NONE);
    for (uint32_t size = 16777201; size <= 16777215; size++)
        assert_int_equal(flaw_of_size(67, size), DIME_FLAW_PAYLOAD_SIZE);
}

/* T-DM-42 */
static void
T_DM_42_signatures_have_64_octets(void **state)
{
    static const uint8_t types[] = {225, 226, 248, 249, 255};

    (void)state;
    for (size_t i = 0; i < LEN(types); i++) {
        assert_int_equal(flaw_of_size(types[i], 80), DIME_FLAW_PAYLOAD_SIZE);
        assert_int_equal(flaw_of_size(types[i], 48), DIME_FLAW_PAYLOAD_SIZE);
    }
}

/* A head may announce 16 MiB; what is not there costs neither memory nor reading. */
static void
heads_that_announce_more_than_there_is_cost_nothing(void **state)
{
    struct kd_buf b;
    struct kd_slice octets = dm_message(&b, good, LEN(good));
    struct dime_source source = in_file(octets);
    size_t at = DIME_MESSAGE_HEADER;

    (void)state;
    for (size_t i = 0; i < LEN(good); i++) {
        uint8_t size[3];
        struct dime_message m;
        enum dime_flaw why;
        bool is_payload = dime_chunk_def(good[i])->form == DIME_FORM_PAYLOAD;
        kd_put_be24(size, DIME_PAYLOAD_MAX);
        assert_int_equal(pwrite(file, size, 3, (off_t)at + 1), 3);
        n_reads = 0;
        fuzz_begin(0);
        assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, &why),
                         KD_MALFORMED);
        assert_int_equal(fuzz_heap_peak(), 0);
        assert_int_equal(why, is_payload ? DIME_FLAW_CUT : DIME_FLAW_PAYLOAD_SIZE);
        assert_true(n_reads <= 4 + i); /* header, tracing twice, heads so far */
        assert_int_equal(pwrite(file, octets.p + at + 1, 3, (off_t)at + 1), 3);
        at += 4 + dm_size(good[i]) + 64 * dm_slots(good[i]);
    }
    assert_int_equal(at, octets.n);
    kd_buf_free(&b);
}

static void
the_limit_is_of_the_whole_message(void **state)
{
    struct kd_buf b;
    struct kd_slice octets = dm_message(&b, good, LEN(good));

    (void)state;
    struct dime_source sources[] = {dime_source_of(octets), in_file(octets)};
    for (size_t i = 0; i < LEN(sources); i++) {
        struct dime_message m;
        enum dime_flaw why;
        assert_int_equal(dime_message_parse(&sources[i], octets.n, &m, &why), KD_OK);
        assert_int_equal(why, DIME_FLAW_NONE);
        assert_int_equal(dime_message_parse(&sources[i], octets.n - 1, &m, &why),
                         KD_TOO_LARGE);
        assert_int_equal(why, DIME_FLAW_TOO_LARGE);
    }
    kd_buf_free(&b);
}

/* Reads of a file for a message of n smallest display chunks. */
static size_t
reads_of(size_t n)
{
    struct kd_buf b;
    struct dime_message m;
    struct dime_chunk c;
    kd_err err;
    size_t n_walked = 0;

    dm_begin(&b, DIME_MESSAGE_MAX);
    for (size_t i = 0; i < LEN(good); i++)
        for (size_t k = 0; k < (good[i] == 67 ? n : 1); k++)
            dm_put(&b, good[i], dm_size(good[i]), dm_slots(good[i]));
    struct kd_slice octets = dm_end(&b);
    assert_true(octets.n > n * SMALL);
    struct dime_source source = in_file(octets);
    n_reads = 0;
    fuzz_begin(0);
    assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err);)
        n_walked++;
    assert_int_equal(fuzz_heap_peak(), 0);
    size_t n_all = n_reads;
    assert_int_equal(n_walked, n + LEN(good) - 1);
    assert_int_equal(m.n_display, n + 1); /* 65 */
    kd_buf_free(&b);
    return n_all;
}

static void
the_most_chunks_cost_four_times_a_quarter_of_them_and_no_memory(void **state)
{
    size_t quarter = reads_of(79000), all = reads_of(316000);

    (void)state;
    assert_true(quarter >= 2 * 79000);
    assert_true(all <= 4 * quarter);
    assert_true(all <= 2 * 316000 + 64);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_of_all_chunks_is_good),
        cmocka_unit_test(T_DM_27_tracing_in_front_is_ignored),
        cmocka_unit_test(tracing_stands_in_front_and_once),
        cmocka_unit_test(tracing_that_is_cut_is_refused),
        cmocka_unit_test(T_DM_29_only_messages_and_bounces_are_for_somebody_at_data),
        cmocka_unit_test(every_flaw_has_its_reply),
        cmocka_unit_test(T_DM_30_a_length_wrong_by_one_is_corrupt),
        cmocka_unit_test(T_DM_31_types_of_single_chunks_ascend),
        cmocka_unit_test(T_DM_32_sections_ascend),
        cmocka_unit_test(T_DM_33_no_single_chunk_stands_twice),
        cmocka_unit_test(T_DM_34_the_ephemeral_chunk_is_there_and_first),
        cmocka_unit_test(T_DM_35_the_ephemeral_key_is_a_compressed_point),
        cmocka_unit_test(T_DM_36_each_required_chunk_is_missed),
        cmocka_unit_test(T_DM_37_headings_of_sections_are_corrupt),
        cmocka_unit_test(T_DM_38_unknown_types_are_corrupt),
        cmocka_unit_test(T_DM_65_a_message_of_prime_is_corrupt),
        cmocka_unit_test(T_DM_39_a_message_that_ends_inside_a_keyslot_is_corrupt),
        cmocka_unit_test(T_DM_40_payloads_are_aligned),
        cmocka_unit_test(T_DM_41_the_largest_payload_is_the_last_that_is_aligned),
        cmocka_unit_test(T_DM_42_signatures_have_64_octets),
        cmocka_unit_test(heads_that_announce_more_than_there_is_cost_nothing),
        cmocka_unit_test(the_limit_is_of_the_whole_message),
        cmocka_unit_test(
            the_most_chunks_cost_four_times_a_quarter_of_them_and_no_memory),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
