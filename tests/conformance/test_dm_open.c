/* Opening messages: keys, payloads, parts and signatures (test-cases, "DM"), with MSG
 * of the appendix and with messages of a writer of the tests' own. */
#include "dmt.h"
#include "test.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MSG "appendix/MSG.b64"

/* MSG of the appendix; w's people are its people. */
static struct kd_slice
msg(void)
{
    static struct kd_slice octets;

    kd_ignore(write_message(&(struct dmw_recipe){.seed = 1}).n);
    if (octets.n == 0)
        octets = sg_file(MSG);
    return octets;
}

static void
assert_text(uint8_t type)
{
    const char *want = dmw_text(type);

    assert_int_equal(r.opened[type], KD_OK);
    assert_int_equal(r.text[type].n, strlen(want));
    assert_memory_equal(r.text[type].p, want, strlen(want));
}

static void
assert_refused(const uint8_t *types, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(r.opened[types[i]], KD_DENIED);
    assert_int_equal(r.walked, KD_DENIED);
    assert_int_equal(r.n_parts, 0);
}

/* --- MSG --- */

/* T-DM-1 */
static void
T_DM_1_chunks_have_the_listed_types_and_sizes(void **state)
{
    static const uint8_t types[] = {2, 4, 5, 33, 34, 67, 225, 226, 248, 249, 255};
    static const uint32_t sizes[] = {33, 512, 512, 256, 256, 256, 64, 64, 64, 64, 64};
    struct dime_source source = dime_source_of(msg());
    struct dime_message m;
    struct dime_chunk c;
    size_t n = 0;
    kd_err err;

    (void)state;
    assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err); n++) {
        assert_true(n < LEN(types));
        assert_int_equal(c.def->type, types[n]);
        assert_int_equal(c.size, sizes[n]);
    }
    assert_int_equal(err, KD_OK);
    assert_int_equal(n, LEN(types));
}

static void
assert_hex(const void *octets, size_t n, const char *hex)
{
    uint8_t want[128];
    size_t size;

    assert_int_equal(
        sodium_hex2bin(want, sizeof want, hex, strlen(hex), " ", &size, NULL), 0);
    assert_int_equal(size, n);
    assert_memory_equal(octets, want, n);
}

/* T-DM-2 */
static void
T_DM_2_keks_are_those_of_the_appendix(void **state)
{
    static const struct {
        const char *z, *iv, *key;
    } want[DIME_ACTOR_COUNT] = {
        {"aa1f1afe272d2f94f435c4453bcdb9d67688539c3b103c2368713d6f804e8d55",
         "b894ae5ed21d4550a3cae93cf8fc53b5",
         "bdd874f0ae6a5acbdac64decbbcd1914a95018ec934ae354e2c87ce15f37524d"},
        {"829754494b3f35446748efe7bd9cc394b1fd707be854875207de24379a062d2c",
         "fd6b500c805da731e3ab49a360fce3ce",
         "adb1c7b86a88e5d3f7035563923063466e2d363ff10099cfc50db23869b3bd8a"},
        {"018a16025e3324e3c2bed32727f215a846d359d137e2c7f4a02d593db6b26cd4",
         "05b9f998638775ea53428ff79252cb2b",
         "0618a97405d71dd554af871a8a215208c348d3133fa5564285a7d29345ed74d5"},
        {"a2c2bea70c61b986c5245421c71a542ef53975b3874f1df2548ccf271b9f9cf7",
         "24dff17e468ed41107dba01de2b15c0d",
         "9994ea60ca6b70a9cf1f3b59024f44d95962fc6bc573b44a911e74a42129497c"},
    };
    struct dime_source source = dime_source_of(msg());
    struct dime_message m;

    (void)state;
    assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        struct dime_kek kek, derived;
        uint8_t z[32];
        assert_int_equal(dime_secp_ecdh(w.people[i].scalar, m.ephemeral, z), KD_OK);
        assert_hex(z, sizeof z, want[i].z);
        dime_kek_derive(z, &derived);
        assert_int_equal(dime_kek_agree(w.people[i].scalar, m.ephemeral, &kek), KD_OK);
        assert_hex(derived.iv, sizeof derived.iv, want[i].iv);
        assert_hex(derived.key, sizeof derived.key, want[i].key);
        assert_memory_equal(&kek, &derived, sizeof kek);
    }
}

/* T-DM-3 */
static void
T_DM_3_keyslot_opens_and_is_made_as_listed(void **state)
{
    static const char cipher[] =
        "4c7215151e0772e7c59d01b3e5cbff2e81f12cdac95d5a1a7e3ad1711898b466"
        "3a0c6999652b1ccc35cf2c27d1b122c7655e9e19a2b80dccfb6d47ffbf100b18";
    struct dime_chunk_key key;
    uint8_t slot[64], again[64], random[16];

    (void)state;
    kd_ignore(msg().n);
    assert_int_equal(
        sodium_hex2bin(slot, sizeof slot, cipher, strlen(cipher), NULL, NULL, NULL), 0);
    const struct dime_kek *kek = &w.people[DIME_ORIGIN].kek;
    assert_int_equal(dime_slot_open(kek, slot, &key), KD_OK);
    assert_hex(key.iv, 16, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    assert_hex(key.key, 32,
               "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f");
    for (uint8_t i = 0; i < 16; i++)
        random[i] = i;
    assert_int_equal(dime_slot_seal(kek, &key, random, again), KD_OK);
    assert_memory_equal(again, slot, sizeof slot);
}

/* T-DM-4 */
static void
T_DM_4_the_origin_learns_author_and_destination(void **state)
{
    static const uint8_t refused[] = {5, 33, 34};

    (void)state;
    open_as(DIME_ORIGIN, msg());
    assert_text(4); /* Author: <alice@example.com> ... Destination: <example.org> */
    assert_refused(refused, LEN(refused));
    assert_true(dmr_accepts(&r));
}

/* T-DM-5 */
static void
T_DM_5_the_destination_learns_recipient_and_origin(void **state)
{
    static const uint8_t refused[] = {4, 33, 34, 225, 226};

    (void)state;
    open_as(DIME_DESTINATION, msg());
    assert_text(5); /* Recipient: <bob@example.org> ... Origin: <example.com> */
    assert_refused(refused, LEN(refused));
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_NOT_ASKED);
    assert_true(dmr_accepts(&r));
}

/* T-DM-6 */
static void
T_DM_6_author_and_recipient_open_all_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_as(i == 0 ? DIME_AUTHOR : DIME_RECIPIENT, msg());
        for (uint8_t type = 4; type <= 34; type = type == 5 ? 33 : type + 1)
            assert_text(type);
        assert_int_equal(r.n_parts, 1);
        assert_part(0, 67, kd_slice_str(dmw_text(67)));
        for (unsigned type = 225; type <= 255; type++)
            assert_int_equal(r.opened[type], KD_OK); /* 0 where there is none */
        assert_true(dmr_accepts(&r));
    }
}

/* T-DM-7, T-DM-8, T-DM-9, T-DM-10: which octets each signature covers is tried by
 * changing all of them, one at a time. until: the first octet that it does not cover.
 */
static void
signature_covers(uint8_t type, size_t until)
{
    struct kd_slice octets = msg();
    uint8_t *copy = malloc(octets.n);

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    struct dime_source source = dime_source_of(kd_slice(copy, octets.n));
    open_as(DIME_RECIPIENT, octets);
    const struct dime_claim claim = {
        .sig = r.sig[type],
        .keys = (const uint8_t(*)[32])(type < 248 ? &believed.author : believed.org),
        .n_keys = type < 248 ? 1 : believed.n_org};
    struct dime_claims claims = {.tree = {NULL, NULL, 0}};
    for (size_t at = 6; at < octets.n; at++) {
        struct dime_message m;
        struct dime_verdicts v;
        copy[at] ^= 1;
        if (dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL) == KD_OK) {
            enum dime_message_verdict *verdict = &v.organization;
            if (type == 225)
                verdict = &v.tree, claims.tree = claim;
            else if (type == 226)
                verdict = &v.author, claims.author = claim;
            else if (type == 248)
                verdict = &v.metadata_bounce, claims.metadata_bounce = claim;
            else if (type == 249)
                verdict = &v.display_bounce, claims.display_bounce = claim;
            else
                claims.organization = claim;
            assert_int_equal(dime_message_verify(&m, &claims, &v), KD_OK);
            if (*verdict != (at < until ? DIME_VERDICT_BAD : DIME_VERDICT_GOOD))
                fail_msg("octet %zu: %d", at, (int)*verdict);
        }
        copy[at] ^= 1;
    }
    free(copy);
}

static size_t
begin_of(uint8_t type)
{
    struct dime_source source = dime_source_of(msg());
    struct dime_message m;
    struct dime_chunk c;
    kd_err err;

    assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL), KD_OK);
    for (uint64_t at = m.begin; dime_message_next(&m, &at, m.end, &c, &err);) {
        if (c.def->type != type)
            continue;
        return (size_t)c.at;
    }
    fail_msg("no chunk %u", type);
    return 0;
}

static void
T_DM_7_the_tree_signature_verifies_over_all_chunks_before_it(void **state)
{
    (void)state;
    open_as(DIME_RECIPIENT, msg());
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_GOOD);
    signature_covers(225, begin_of(225));
}

static void
T_DM_8_the_author_signature_verifies_over_chunks_2_to_225(void **state)
{
    (void)state;
    open_as(DIME_RECIPIENT, msg());
    assert_int_equal(r.verdicts.author, DIME_VERDICT_GOOD);
    signature_covers(226, begin_of(226));
}

static void
T_DM_9_bounce_signatures_verify_over_metadata_and_display(void **state)
{
    (void)state;
    open_as(DIME_RECIPIENT, msg());
    assert_int_equal(r.verdicts.metadata_bounce, DIME_VERDICT_GOOD);
    assert_int_equal(r.verdicts.display_bounce, DIME_VERDICT_GOOD);
    signature_covers(248, begin_of(67));
    signature_covers(249, begin_of(225));
}

static void
T_DM_10_the_organizational_signature_is_the_soks(void **state)
{
    const uint8_t(*sok)[32] = (const uint8_t(*)[32]) & believed.org[1];
    struct dime_verdicts v;

    (void)state;
    open_as(DIME_DESTINATION, msg());
    const struct dime_claims claims = {
        .organization = {.sig = r.sig[255], .keys = sok, .n_keys = 1}};
    assert_int_equal(dime_message_verify(&r.m, &claims, &v), KD_OK);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_NOT_ASKED);
    signature_covers(255, begin_of(255));
}

/* --- messages made --- */

/* T-DM-11 */
static void
T_DM_11_bounce_signatures_may_be_absent(void **state)
{
    (void)state;
    accepted_by_all(write_message(&(struct dmw_recipe){.seed = 11}));
    accepted_by_all(
        write_message(&(struct dmw_recipe){.seed = 11, .no_bounces = true}));
    assert_int_equal(r.opened[248], KD_NOT_FOUND);
    assert_int_equal(r.verdicts.metadata_bounce, DIME_VERDICT_NOT_ASKED);
    assert_int_equal(r.verdicts.display_bounce, DIME_VERDICT_NOT_ASKED);
}

/* T-DM-12 */
static void
T_DM_12_chunk_34_may_be_absent(void **state)
{
    (void)state;
    accepted_by_all(
        write_message(&(struct dmw_recipe){.seed = 12, .no_headers = true}));
    assert_int_equal(r.opened[34], KD_NOT_FOUND);
}

/* T-DM-13 */
static void
T_DM_13_libdimes_tree_is_accepted_and_counted_as_legacy(void **state)
{
    (void)state;
    accepted_by_all(
        write_message(&(struct dmw_recipe){.seed = 13, .legacy_tree = true}));
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_LEGACY);
    assert_int_equal(r.verdicts.author, DIME_VERDICT_GOOD);
    /* not without the author's claim */
    const struct dime_claims claims = {
        .tree = {.sig = r.sig[225],
                 .keys = (const uint8_t(*)[32]) & believed.author,
                 .n_keys = 1}};
    struct dime_verdicts v;
    assert_int_equal(dime_message_verify(&r.m, &claims, &v), KD_OK);
    assert_int_equal(v.tree, DIME_VERDICT_BAD);
}

/* --- whole messages that must not pass --- */

static const uint8_t some[300] = "some data of a chunk";

/* T-DM-56 */
static void
T_DM_56_exchanged_ciphertexts_break_both_author_signatures(void **state)
{
    const struct dmw_chunk parts[] = {
        {.type = 67, .data = kd_slice(some, 59)},
        {.type = 67, .data = kd_slice(some + 100, 59)},
    };

    (void)state;
    for (unsigned with_slots = 0; with_slots < 2; with_slots++) {
        kd_ignore(write_message(&(struct dmw_recipe){
                                    .seed = 560, .contents = parts, .n_contents = 2})
                      .n);
        const struct dmw_mark *a = dmw_find(&w, 67, 0), *b = dmw_find(&w, 67, 1);
        size_t n = (with_slots != 0 ? a->end : a->slots) - a->at;
        uint8_t *aside = malloc(n);
        assert_non_null(aside);
        memcpy(aside, w.out.p + a->at, n);
        memcpy(w.out.p + a->at, w.out.p + b->at, n);
        memcpy(w.out.p + b->at, aside, n);
        free(aside);
        open_as(DIME_RECIPIENT, dmw_end(&w));
        assert_int_equal(r.verdicts.tree, DIME_VERDICT_BAD);
        assert_int_equal(r.verdicts.author, DIME_VERDICT_BAD);
        assert_int_equal(r.verdicts.organization, DIME_VERDICT_BAD);
        assert_int_equal(r.n_good, with_slots != 0 ? 2 : 0); /* and still no message */
        assert_false(dmr_accepts(&r));
    }
}

/* T-DM-57 */
static void
T_DM_57_libdimes_tree_needs_the_authors_signature(void **state)
{
    (void)state;
    open_as(DIME_RECIPIENT,
            write_message(&(struct dmw_recipe){
                .seed = 57, .legacy_tree = true, .author_by = &sg_world()->bob}));
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_BAD);
    assert_int_equal(r.verdicts.author, DIME_VERDICT_BAD);
    assert_int_equal(r.verdicts.organization, DIME_VERDICT_GOOD);
    assert_false(dmr_accepts(&r));
}

/* T-DM-58 */
static void
T_DM_58_no_octet_before_255_can_change(void **state)
{
    struct kd_slice octets = write_message(&(struct dmw_recipe){.seed = 58});
    size_t until = dmw_find(&w, 255, 0)->at, n_bad = 0;
    struct kd_buf copy;

    (void)state;
    kd_buf_init(&copy, octets.n);
    kd_buf_put(&copy, octets);
    for (size_t at = 6; at < until; at++) {
        copy.p[at] ^= 0x80;
        open_as(DIME_DESTINATION, kd_buf_slice(&copy));
        assert_false(dmr_accepts(&r));
        if (r.parsed == KD_OK) {
            assert_int_equal(r.verdicts.organization, DIME_VERDICT_BAD);
            n_bad++;
        }
        copy.p[at] ^= 0x80;
    }
    assert_true(n_bad > until / 10 * 9);
    open_as(DIME_DESTINATION, kd_buf_slice(&copy));
    assert_true(dmr_accepts(&r));
    kd_buf_free(&copy);
}

/* T-DM-59: what the destination believes are the keys its signet of the origin says. */
static void
T_DM_59_only_keys_that_may_sign_messages_do(void **state)
{
    const struct sg_world *world = sg_world();
    const struct sg_pair none = sg_pair_text("keyd-test sok of users alone");
    const struct sg_sok soks[] = {{1, &none}, {3, &world->sok}, {2, &world->bob}};
    const struct {
        const struct sg_pair *by;
        bool good;
    } cases[] = {{&world->pok, true},    {&world->sok, true},
                 {&world->bob, true},    {&none, false},
                 {&world->alice, false}, {&world->other_pok, false}};
    struct kd_buf signet;
    struct dime_signet org;
    enum dime_reason why;

    (void)state;
    kd_buf_init(&signet, DIME_SIGNET_MAX);
    struct kd_slice octets =
        sg_make_org(&signet, &(struct sg_org){.soks = soks, .n_soks = LEN(soks)});
    assert_int_equal(dime_signet_parse_as(DIME_ORG, octets, &org, &why), KD_OK);
    struct dmr_keys all = believed;
    believed.n_org = 0;
    memcpy(believed.org[believed.n_org++], org.sign_key, 32);
    for (size_t i = 0; i < org.n_soks; i++)
        if (dime_org_permits(&org, org.soks[i].key, DIME_PERM_MESSAGES))
            memcpy(believed.org[believed.n_org++], org.soks[i].key, 32);
    assert_int_equal(believed.n_org, 3);
    for (size_t i = 0; i < LEN(cases); i++) {
        open_as(DIME_DESTINATION,
                write_message(&(struct dmw_recipe){.seed = 59, .org_by = cases[i].by}));
        assert_int_equal(r.verdicts.organization,
                         cases[i].good ? DIME_VERDICT_GOOD : DIME_VERDICT_BAD);
        assert_int_equal(dmr_accepts(&r), cases[i].good);
    }
    believed = all;
    kd_buf_free(&signet);
}

/* T-DM-60 */
static void
T_DM_60_the_placeholder_is_no_signature(void **state)
{
    static const uint8_t zero[64];

    (void)state;
    open_as(DIME_DESTINATION,
            write_message(&(struct dmw_recipe){.seed = 60, .placeholders = true}));
    assert_memory_equal(r.sig[255], zero, 64);
    assert_int_equal(r.verdicts.organization, DIME_VERDICT_BAD);
    assert_int_equal(r.verdicts.metadata_bounce, DIME_VERDICT_BAD);
    assert_false(dmr_accepts(&r));
    open_as(DIME_ORIGIN, kd_buf_slice(&w.out)); /* who is to make it */
    assert_true(dmr_accepts(&r));
}

/* T-DM-61 */
static void
T_DM_61_a_chunk_of_another_message_is_not_authentic_here(void **state)
{
    const struct sg_world *world = sg_world();
    const struct dmw_chunk other = {.type = 67, .data = kd_slice(some, 70)};
    struct kd_slice plain = dmw_plain(&other); /* as its recipient knows it */
    const struct dmw_chunk lifted = {.type = 67, .plain = plain};

    (void)state;
    /* Bob forwards it in Alice's name, under his organization. He cannot make 225. */
    const struct dmw_recipe forged = {.seed = 61,
                                      .contents = &lifted,
                                      .n_contents = 1,
                                      .tree_by = &world->bob,
                                      .author_by = &world->bob};
    open_as(DIME_RECIPIENT, write_message(&forged));
    assert_part(0, 67, other.data); /* the chunk's own signature is Alice's */
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_BAD);
    assert_int_equal(r.verdicts.author, DIME_VERDICT_BAD);
    assert_false(dmr_accepts(&r));

    /* Nor in a message of hers, whose 225 and 226 he keeps. */
    struct kd_buf copy;
    struct kd_slice hers = write_message(
        &(struct dmw_recipe){.seed = 62, .contents = &other, .n_contents = 1});
    kd_buf_init(&copy, hers.n);
    kd_buf_put(&copy, hers);
    struct dmw_mark place = *dmw_find(&w, 67, 0);
    const struct dmw_chunk another = {.type = 67, .data = kd_slice(some + 9, 70)};
    struct kd_slice second = dmw_plain(&another);
    dmw_seal(&place.key, second, copy.p + place.at + 4);
    open_as(DIME_RECIPIENT, kd_buf_slice(&copy));
    assert_part(0, 67, another.data);
    assert_int_equal(r.verdicts.tree, DIME_VERDICT_BAD);
    assert_int_equal(r.verdicts.author, DIME_VERDICT_BAD);
    assert_false(dmr_accepts(&r));
    kd_buf_free(&copy);
    sg_free(plain);
    sg_free(second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_1_chunks_have_the_listed_types_and_sizes),
        cmocka_unit_test(T_DM_2_keks_are_those_of_the_appendix),
        cmocka_unit_test(T_DM_3_keyslot_opens_and_is_made_as_listed),
        cmocka_unit_test(T_DM_4_the_origin_learns_author_and_destination),
        cmocka_unit_test(T_DM_5_the_destination_learns_recipient_and_origin),
        cmocka_unit_test(T_DM_6_author_and_recipient_open_all_chunks),
        cmocka_unit_test(T_DM_7_the_tree_signature_verifies_over_all_chunks_before_it),
        cmocka_unit_test(T_DM_8_the_author_signature_verifies_over_chunks_2_to_225),
        cmocka_unit_test(T_DM_9_bounce_signatures_verify_over_metadata_and_display),
        cmocka_unit_test(T_DM_10_the_organizational_signature_is_the_soks),
        cmocka_unit_test(T_DM_11_bounce_signatures_may_be_absent),
        cmocka_unit_test(T_DM_12_chunk_34_may_be_absent),
        cmocka_unit_test(T_DM_13_libdimes_tree_is_accepted_and_counted_as_legacy),
        cmocka_unit_test(T_DM_56_exchanged_ciphertexts_break_both_author_signatures),
        cmocka_unit_test(T_DM_57_libdimes_tree_needs_the_authors_signature),
        cmocka_unit_test(T_DM_58_no_octet_before_255_can_change),
        cmocka_unit_test(T_DM_59_only_keys_that_may_sign_messages_do),
        cmocka_unit_test(T_DM_60_the_placeholder_is_no_signature),
        cmocka_unit_test(T_DM_61_a_chunk_of_another_message_is_not_authentic_here),
    };

    return cmocka_run_group_tests(tests, dmt_begin, NULL);
}
