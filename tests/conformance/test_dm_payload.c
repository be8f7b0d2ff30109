/* One payload, and the parts that payloads make together (test-cases, "DM"). */
#include "dmt.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- one payload --- */

static const struct dmw_key payload_key = {.iv = {1, 2, 3}, .key = {4, 5, 6}};

/* A chunk in a block of exactly its size, as if it were a message. */
struct alone {
    uint8_t *octets;
    struct dime_message m;
    struct dime_chunk c;
    struct dime_chunk_key key;
};

static void
alone_init(struct alone *a, const struct dmw_chunk *chunk)
{
    struct kd_slice plain = chunk->plain.n != 0 ? chunk->plain : dmw_plain(chunk);

    a->octets = malloc(4 + plain.n);
    assert_non_null(a->octets);
    dmw_seal(&payload_key, plain, a->octets + 4);
    a->m = (struct dime_message){.source =
                                     dime_source_of(kd_slice(a->octets, 4 + plain.n))};
    a->c =
        (struct dime_chunk){.def = dime_chunk_def(chunk->type == 0 ? 67 : chunk->type),
                            .size = (uint32_t)plain.n};
    memcpy(a->key.iv, payload_key.iv, sizeof a->key.iv);
    memcpy(a->key.key, payload_key.key, sizeof a->key.key);
    if (chunk->plain.n == 0)
        sg_free(plain);
}

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

/* Checks the payload; a good one is read and must hold the chunk's data. */
static kd_err
check(const struct dmw_chunk *chunk, bool *more)
{
    struct dime_payload p = {.flags = 0xff, .size = 0xffffffff};
    struct alone a;
    struct kd_buf data;

    alone_init(&a, chunk);
    kd_buf_init(&data, DIME_DATA_MAX);
    kd_err err = dime_payload_check(&a.m, &a.c, &a.key, believed.author, &p, more);
    if (err == KD_OK) {
        assert_int_equal(p.flags, chunk->flags);
        assert_int_equal(p.size, chunk->data.n);
        assert_int_equal(dime_payload_read(&a.m, &a.c, &a.key, &p, keep, &data), KD_OK);
        assert_int_equal(data.n, chunk->data.n);
        assert_memory_equal(data.p, chunk->data.p, data.n);
    } else {
        assert_int_equal(p.size, 0xffffffff);
    }
    kd_buf_free(&data);
    free(a.octets);
    return err;
}

static const uint8_t some[300] = "some data of a chunk";

/* T-DM-14 */
static void
T_DM_14_every_amount_of_default_padding_is_accepted(void **state)
{
    (void)state;
    for (uint32_t total = 0; total <= 255; total++) {
        size_t n = 16 + (16 - (69 + total) % 16) % 16;
        const struct dmw_chunk c = {.data = kd_slice(some, n), .padding = total};
        assert_int_equal(check(&c, NULL), KD_OK);
    }
}

/* T-DM-15 */
static void
T_DM_15_libdimes_256_octets_of_zero_are_accepted(void **state)
{
    struct dmw_chunk c = {.data = kd_slice(some, 27), .padding = 256};

    (void)state;
    assert_int_equal(check(&c, NULL), KD_OK);
    for (uint32_t at = 1; at <= 256; at++) {
        c.spoil_padding = at;
        assert_int_equal(check(&c, NULL), KD_INVALID);
    }
    c.spoil_padding = 0;
    c.padding = 272; /* 16 more than an octet can say */
    assert_int_equal(check(&c, NULL), KD_INVALID);
    c.padding = 512;
    assert_int_equal(check(&c, NULL), KD_INVALID);
}

/* T-DM-16 */
static void
T_DM_16_alternate_padding_counts_blocks(void **state)
{
    struct dmw_chunk c = {.flags = 1, .data = kd_slice(some, 22), .padding = 53};

    (void)state;
    assert_int_equal((69 + c.data.n + 5) % 16, 0);
    c.has_octet = true;
    c.octet = 3;
    assert_int_equal(check(&c, NULL), KD_OK);
    c.flags = 0; /* not by default */
    assert_int_equal(check(&c, NULL), KD_INVALID);
}

static void
alternate_padding_is_taken_in_its_whole_range_and_no_further(void **state)
{
    (void)state;
    for (uint32_t octet = 0; octet <= 255; octet++) {
        for (uint32_t alignment = 0; alignment <= 32; alignment++) {
            size_t n = 16 + (16 - (69 + alignment) % 16) % 16;
            const struct dmw_chunk c = {.flags = 1,
                                        .data = kd_slice(some, n),
                                        .padding = 16 * octet + alignment,
                                        .has_octet = true,
                                        .octet = (uint8_t)octet};
            kd_err want = alignment <= 16 ? KD_OK : KD_INVALID;
            if (octet % 51 == 0 || alignment == 16 || alignment == 17)
                assert_int_equal(check(&c, NULL), want);
        }
        if (octet == 0)
            continue;
        const struct dmw_chunk less = {.flags = 1,
                                       .data = kd_slice(some, 27),
                                       .padding = 16 * (octet - 1),
                                       .has_octet = true,
                                       .octet = (uint8_t)octet};
        assert_int_equal(check(&less, NULL), KD_INVALID);
    }
}

/* Each octet of the longest padding there is counts, and the data before it does not.
 */
static void
every_octet_of_long_padding_is_looked_at(void **state)
{
    struct dmw_chunk c = {.flags = 1,
                          .data = kd_slice(some, 27),
                          .padding = 16 * 255 + 16,
                          .has_octet = true,
                          .octet = 255};

    (void)state;
    assert_int_equal(check(&c, NULL), KD_OK);
    for (uint32_t at = 1; at <= c.padding; at += at < 20 || at > 4070 ? 1 : 13) {
        c.spoil_padding = at;
        assert_int_equal(check(&c, NULL), KD_INVALID);
    }
}

static void
compressed_data_is_given_out_as_it_is(void **state)
{
    const struct dmw_chunk c = {.flags = 4, .data = kd_slice(some, 50)};
    const struct dmw_chunk parts[] = {{.type = 67, .flags = 4, .data = c.data}};

    (void)state;
    assert_int_equal(check(&c, NULL), KD_OK);
    accepted_by_all(write_message(
        &(struct dmw_recipe){.seed = 17, .contents = parts, .n_contents = 1}));
    assert_int_equal(r.parts[0].span.flags, 4);
    assert_part(0, 67, c.data);
}

/* --- parts --- */

static void
pieces_of_compressed_data_are_joined(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .flags = 132, .data = kd_slice(some, 100)},
        {.type = 67, .flags = 132, .data = kd_slice(some + 100, 11)},
        {.type = 67, .flags = 4, .data = kd_slice(some + 111, 189)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 20);
    assert_int_equal(r.n_parts, 1);
    assert_part(0, 67, kd_slice(some, 300));
    assert_int_equal(r.parts[0].span.flags, 4);
    assert_int_equal(r.parts[0].span.n, 3);
    assert_true(dmr_accepts(&r));
}

/* T-DM-21 */
static void
T_DM_21_attachments_come_after_display_in_their_order(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .data = kd_slice(some, 100)},
        {.type = 67, .data = kd_slice(some, 101)},
        {.type = 131, .data = kd_slice(some, 102)},
        {.type = 131, .data = kd_slice(some, 103)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 21);
    assert_int_equal(r.n_parts, 4);
    for (size_t i = 0; i < 4; i++)
        assert_part(i, parts[i].type, parts[i].data);
    assert_int_equal(r.m.n_display, 2);
    assert_int_equal(r.m.n_attached, 2);
    assert_true(dmr_accepts(&r));
}

/* T-DM-43 */
static void
T_DM_43_no_data_rejects_the_whole_message(void **state)
{
    struct dmw_chunk parts[] = {
        {.type = 67, .data = kd_slice(some, 40)},
        {.type = 131, .data = kd_slice(some, 40), .has_length = true, .length = 0},
    };

    (void)state;
    assert_int_equal(check(&parts[1], NULL), KD_INVALID);
    parts[1].data.n = 0; /* and padding that is right for it */
    parts[1].padding = 32;
    assert_int_equal(check(&parts[1], NULL), KD_INVALID);
    for (size_t i = 0; i < 2; i++) {
        open_parts(parts, LEN(parts), 43 + i);
        assert_int_equal(r.n_good, 1);
        assert_int_equal(r.parts[1].span.state, DIME_SPAN_CORRUPT);
        assert_true(r.rejects);
        assert_false(dmr_accepts(&r));
        parts[1].data.n = 40;
        parts[1].padding = 0;
    }
    /* a stranger's is a corrupt part and no more */
    parts[1].spoil_signature = true;
    open_parts(parts, LEN(parts), 45);
    assert_int_equal(r.parts[1].span.state, DIME_SPAN_CORRUPT);
    assert_false(r.rejects);
    /* 4, 5, 33 and 34 are the whole message's anyway */
    for (uint8_t type = 4; type <= 34; type = type == 5 ? 33 : type + 1) {
        const struct dmw_chunk empty = {.type = type, .padding = 32};
        open_as(DIME_RECIPIENT,
                write_message(&(struct dmw_recipe){.seed = 46, .instead = &empty}));
        assert_int_equal(r.opened[type], KD_INVALID);
        assert_false(dmr_accepts(&r));
    }
}

/* T-DM-44 */
static void
T_DM_44_data_beyond_the_payload_is_corrupt(void **state)
{
    static const uint32_t beyond[] = {28, 29, 43, 44, 97, 0xf00000, 0xffffff};
    struct dmw_chunk c = {.data = kd_slice(some, 27), .has_length = true};

    (void)state;
    c.length = 27;
    assert_int_equal(check(&c, NULL), KD_OK);
    for (size_t i = 0; i < LEN(beyond); i++) {
        c.length = beyond[i];
        assert_int_equal(check(&c, NULL), KD_INVALID);
        /* with padding that would be right modulo 256 */
        c.has_octet = true;
        c.octet = (uint8_t)(27 - beyond[i]);
        assert_int_equal(check(&c, NULL), KD_INVALID);
        c.has_octet = false;
        /* the envelope's is looked at before any signature is known */
        const struct dmw_chunk envelope = {.type = 5,
                                           .data = kd_slice(some, 27),
                                           .has_length = true,
                                           .length = beyond[i]};
        open_as(DIME_DESTINATION,
                write_message(&(struct dmw_recipe){.seed = 44, .instead = &envelope}));
        assert_int_equal(r.opened[5], KD_INVALID);
        assert_int_equal(r.text[5].n, 0);
    }
}

/* T-DM-45 */
static void
T_DM_45_unknown_flags_reject_the_chunk(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        const struct dmw_chunk c = {
            .flags = (uint8_t)flags, .data = kd_slice(some, 27), .padding = 0};
        bool known = (flags & (8 | 16 | 32 | 64)) == 0;
        assert_int_equal(check(&c, NULL), known ? KD_OK : KD_INVALID);
    }
}

/* T-DM-46 */
static void
T_DM_46_another_padding_octet_rejects_the_chunk(void **state)
{
    struct dmw_chunk c = {.data = kd_slice(some, 40), .padding = 147};

    (void)state;
    assert_int_equal(check(&c, NULL), KD_OK);
    for (uint32_t at = 1; at <= c.padding; at++) {
        c.spoil_padding = at;
        assert_int_equal(check(&c, NULL), KD_INVALID);
    }
}

/* T-DM-47 */
static void
T_DM_47_another_pad_length_rejects_the_chunk(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        const struct dmw_chunk c = {.data = kd_slice(some, 27),
                                    .padding = 16,
                                    .has_octet = true,
                                    .octet = (uint8_t)octet};
        assert_int_equal(check(&c, NULL), octet == 16 ? KD_OK : KD_INVALID);
    }
}

/* T-DM-48 */
static void
T_DM_48_a_chunk_signed_by_another_key_is_rejected(void **state)
{
    struct dmw_chunk c = {.data = kd_slice(some, 27), .by = &sg_world()->bob};

    (void)state;
    assert_int_equal(check(&c, NULL), KD_INVALID);
    c.by = &sg_world()->alice0;
    assert_int_equal(check(&c, NULL), KD_INVALID);
    c.by = &sg_world()->alice;
    assert_int_equal(check(&c, NULL), KD_OK);
    c.spoil_signature = true;
    assert_int_equal(check(&c, NULL), KD_INVALID);
    c.spoil_signature = false;
    for (c.spoil_signed = 1; c.spoil_signed <= 32; c.spoil_signed++)
        assert_int_equal(check(&c, NULL), KD_INVALID);
}

/* T-DM-53 */
static void
T_DM_53_a_part_that_continues_into_nothing_is_corrupt(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .data = kd_slice(some, 100)},
        {.type = 131, .flags = 128, .data = kd_slice(some, 101)},
        {.type = 131, .flags = 128, .data = kd_slice(some, 102)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 53);
    assert_int_equal(r.n_parts, 2);
    assert_part(0, 67, parts[0].data);
    assert_int_equal(r.parts[1].span.state, DIME_SPAN_CORRUPT);
    assert_int_equal(r.parts[1].span.n, 2);
    assert_int_equal(r.parts[1].span.size, 0);
    open_parts(parts + 1, 2, 54);
    assert_int_equal(r.parsed, KD_MALFORMED); /* no display: the writer did it */
}

/* T-DM-54 */
static void
T_DM_54_a_part_does_not_continue_in_another_type(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .flags = 128, .data = kd_slice(some, 100)},
        {.type = 131, .data = kd_slice(some, 101)},
        {.type = 131, .data = kd_slice(some, 102)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 54);
    assert_int_equal(r.n_parts, 3);
    assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
    assert_part(1, 131, parts[1].data); /* a part of its own */
    assert_part(2, 131, parts[2].data);
}

/* T-DM-55 */
static void
T_DM_55_one_corrupt_piece_discards_all(void **state)
{
    struct dmw_chunk parts[] = {
        {.type = 67, .flags = 128, .data = kd_slice(some, 100)},
        {.type = 67, .flags = 128, .data = kd_slice(some + 100, 100)},
        {.type = 67, .data = kd_slice(some + 200, 100)},
        {.type = 67, .data = kd_slice(some, 10)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 55);
    assert_part(0, 67, kd_slice(some, 300));
    for (size_t i = 0; i < 3; i++) { /* the first, the last of them too */
        parts[i].spoil_padding = 1;
        open_parts(parts, LEN(parts), 56 + i);
        assert_int_equal(r.n_parts, 2);
        assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
        assert_int_equal(r.parts[0].span.n, 3);
        assert_int_equal(r.parts[0].data.n, 0);
        assert_part(1, 67, parts[3].data);
        parts[i].spoil_padding = 0;
        parts[i].spoil_signature = true;
        open_parts(parts, LEN(parts), 66 + i);
        assert_int_equal(r.n_parts, 2);
        assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
        assert_int_equal(r.parts[0].span.n, 3);
        parts[i].spoil_signature = false;
    }
}

static void
pieces_with_different_flags_are_no_part(void **state)
{
    static const uint8_t flags[] = {1, 2, 4};
    struct dmw_chunk parts[] = {
        {.type = 67, .flags = 128, .data = kd_slice(some, 100)},
        {.type = 67, .flags = 0, .data = kd_slice(some + 100, 100)},
    };

    (void)state;
    for (size_t i = 0; i < LEN(flags); i++) {
        parts[1].flags = flags[i];
        open_parts(parts, LEN(parts), 70 + i);
        assert_int_equal(r.n_parts, 1);
        assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
        assert_int_equal(r.parts[0].span.n, 2);
    }
}

static void
four_small_pieces_are_a_part_and_five_are_not(void **state)
{
    struct dmw_chunk parts[6];

    (void)state;
    for (size_t i = 0; i < LEN(parts); i++)
        parts[i] = (struct dmw_chunk){
            .type = 131, .flags = 128, .data = kd_slice(some + 50 * i, 50)};
    parts[0] = (struct dmw_chunk){.type = 67, .data = kd_slice(some, 50)};
    parts[4].flags = 0;
    open_parts(parts, 5, 80);
    assert_int_equal(r.n_parts, 2);
    assert_part(1, 131, kd_slice(some + 50, 200));
    parts[4].flags = 128;
    parts[5].flags = 0;
    open_parts(parts, 6, 81);
    assert_int_equal(r.n_parts, 2);
    assert_int_equal(r.parts[1].span.state, DIME_SPAN_CORRUPT);
    assert_int_equal(r.parts[1].span.n, 5);
}

static void
what_a_corrupt_payload_says_of_more_is_handed_on(void **state)
{
    struct dmw_chunk c = {
        .flags = 128, .data = kd_slice(some, 27), .spoil_signature = true};
    bool more = false;

    (void)state;
    assert_int_equal(check(&c, &more), KD_INVALID);
    assert_true(more);
    c.flags = 0;
    assert_int_equal(check(&c, &more), KD_INVALID);
    assert_false(more);
}

/* Flag 128 of a corrupt piece is all there is to say how far its part goes, and nobody
 * vouches for it. Where it lies, the rest comes as a part of its own or the next part
 * is passed over. Only the author can write such a message: to change what he wrote
 * breaks 225 and 226 (test_dm_mutations), under which alone parts are shown; and what
 * he can have shown or not that way, he can as well by writing it so. */
static void
flag_128_of_a_corrupt_piece_only_moves_where_its_part_ends(void **state)
{
    struct dmw_chunk parts[] = {
        {.type = 67, .data = kd_slice(some, 100), .spoil_signature = true},
        {.type = 67, .data = kd_slice(some + 100, 100)},
        {.type = 67, .data = kd_slice(some + 200, 100)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 90);
    assert_int_equal(r.n_parts, 3);
    assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
    assert_int_equal(r.parts[0].span.n, 1);
    assert_part(1, 67, parts[1].data);
    assert_part(2, 67, parts[2].data);
    parts[0].flags = 128;
    open_parts(parts, LEN(parts), 91);
    assert_int_equal(r.n_parts, 2);
    assert_int_equal(r.parts[0].span.state, DIME_SPAN_CORRUPT);
    assert_int_equal(r.parts[0].span.n, 2);
    assert_int_equal(r.parts[0].data.n, 0);
    assert_part(1, 67, parts[2].data);
    /* to the end, and never beyond the section's type */
    parts[2].type = 131;
    parts[1].flags = 128;
    open_parts(parts, LEN(parts), 92);
    assert_int_equal(r.n_parts, 2);
    assert_int_equal(r.parts[0].span.n, 2);
    assert_part(1, 131, parts[2].data);
}

/* T-DM-64 */
static void
T_DM_64_flag_2_needs_the_alternate_key(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .flags = 2, .data = kd_slice(some, 100)},
        {.type = 67, .data = kd_slice(some, 101)},
        {.type = 131, .flags = 130, .data = kd_slice(some, 102)},
        {.type = 131, .flags = 2, .data = kd_slice(some, 103)},
    };

    (void)state;
    open_parts(parts, LEN(parts), 64);
    assert_int_equal(r.n_parts, 3);
    assert_int_equal(r.parts[0].span.state, DIME_SPAN_NEEDS_KEY);
    assert_int_equal(r.parts[2].span.state, DIME_SPAN_NEEDS_KEY);
    assert_int_equal(r.parts[2].span.n, 2);
    assert_int_equal(r.parts[0].data.n, 0); /* not shown */
    assert_part(1, 67, parts[1].data);
    assert_int_equal(r.n_corrupt, 0);
    assert_true(dmr_accepts(&r));
    const struct dime_reader reader = {
        .m = &r.m, .actor = r.actor, .kek = r.kek, .author = believed.author};
    assert_int_equal(dime_span_read(&reader, &r.parts[0].span, keep, NULL), KD_INVALID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_14_every_amount_of_default_padding_is_accepted),
        cmocka_unit_test(T_DM_15_libdimes_256_octets_of_zero_are_accepted),
        cmocka_unit_test(T_DM_16_alternate_padding_counts_blocks),
        cmocka_unit_test(alternate_padding_is_taken_in_its_whole_range_and_no_further),
        cmocka_unit_test(every_octet_of_long_padding_is_looked_at),
        cmocka_unit_test(compressed_data_is_given_out_as_it_is),
        cmocka_unit_test(pieces_of_compressed_data_are_joined),
        cmocka_unit_test(T_DM_21_attachments_come_after_display_in_their_order),
        cmocka_unit_test(T_DM_43_no_data_rejects_the_whole_message),
        cmocka_unit_test(T_DM_44_data_beyond_the_payload_is_corrupt),
        cmocka_unit_test(T_DM_45_unknown_flags_reject_the_chunk),
        cmocka_unit_test(T_DM_46_another_padding_octet_rejects_the_chunk),
        cmocka_unit_test(T_DM_47_another_pad_length_rejects_the_chunk),
        cmocka_unit_test(T_DM_48_a_chunk_signed_by_another_key_is_rejected),
        cmocka_unit_test(T_DM_53_a_part_that_continues_into_nothing_is_corrupt),
        cmocka_unit_test(T_DM_54_a_part_does_not_continue_in_another_type),
        cmocka_unit_test(T_DM_55_one_corrupt_piece_discards_all),
        cmocka_unit_test(pieces_with_different_flags_are_no_part),
        cmocka_unit_test(four_small_pieces_are_a_part_and_five_are_not),
        cmocka_unit_test(what_a_corrupt_payload_says_of_more_is_handed_on),
        cmocka_unit_test(flag_128_of_a_corrupt_piece_only_moves_where_its_part_ends),
        cmocka_unit_test(T_DM_64_flag_2_needs_the_alternate_key),
    };

    return cmocka_run_group_tests(tests, dmt_begin, NULL);
}
