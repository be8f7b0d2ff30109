/* The chain of custody of an address, as a resolver sees it
 * (client/resolver/src/chain.h). */
#include <chain.h>

#include "../support/sg.h"
#include "../support/test.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINKS = 6 };

/* A chain of cores; link i is by pair i, handed over by pair i - 1. */
static struct {
    struct sg_pair pair[LINKS];
    uint8_t enc[LINKS][33];
    struct kd_buf octets[LINKS];
    struct dime_signet signet[LINKS];
} w;

static const struct sg_pair *org;

/* A core of link i; custody by whom, or nobody's. */
static struct kd_slice
make(struct kd_buf *b, size_t i, const struct sg_pair *custody,
     const struct sg_pair *by)
{
    const struct sg_user recipe = {.pair = &w.pair[i],
                                   .enc = w.enc[i],
                                   .custody_by = custody,
                                   .org_by = by,
                                   .until = DIME_PART_CORE};

    kd_buf_free(b); /* it is begun anew */
    return sg_make_user(b, &recipe);
}

static int
begin(void **state)
{
    char name[16];
    enum dime_reason why;

    (void)state;
    org = &sg_world()->sok;
    for (size_t i = 0; i < LINKS; i++) {
        snprintf(name, sizeof name, "link %zu", i);
        w.pair[i] = sg_pair_text(name);
        sg_enc_text(name, w.enc[i]);
        kd_buf_init(&w.octets[i], 4096);
        struct kd_slice s = make(&w.octets[i], i, i == 0 ? NULL : &w.pair[i - 1], org);
        assert_int_equal(dime_signet_parse(s, &w.signet[i], &why), KD_OK);
    }
    return 0;
}

static int
end(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINKS; i++)
        kd_buf_free(&w.octets[i]);
    return 0;
}

static void
is(const int *links, size_t n, int known, int current, enum chain_fault fault,
   size_t at)
{
    struct chain c;

    chain_begin(&c, known < 0 ? NULL : &w.signet[known]);
    for (size_t i = 0; i < n; i++)
        chain_add(&c, kd_buf_slice(&w.octets[links[i]]));
    kd_err err = chain_end(&c, &w.signet[current]);
    if (c.fault != fault)
        fail_msg("%s, not %s", chain_fault_text(c.fault), chain_fault_text(fault));
    assert_int_equal(err, fault == CHAIN_WHOLE      ? KD_OK
                          : fault == CHAIN_TOO_LONG ? KD_TOO_LARGE
                                                    : KD_INVALID);
    assert_int_equal(c.n, at);
}

#define IS(known, current, fault, at, ...)                                             \
    do {                                                                               \
        const int links_[] = {__VA_ARGS__};                                            \
        is(links_, sizeof links_ / sizeof *links_, known, current, fault, at);         \
    } while (0)

static void
T_RS_9_an_unbroken_chain_from_what_is_known_is_accepted(void **state)
{
    (void)state;
    IS(1, 3, CHAIN_WHOLE, 3, 1, 2, 3);
    IS(0, 5, CHAIN_WHOLE, 6, 0, 1, 2, 3, 4, 5);
    IS(2, 2, CHAIN_WHOLE, 1, 2);
}

static void
T_RS_12_first_contact_goes_back_to_a_root(void **state)
{
    (void)state;
    IS(-1, 3, CHAIN_WHOLE, 4, 0, 1, 2, 3);
    IS(-1, 0, CHAIN_WHOLE, 1, 0);
    IS(-1, 3, CHAIN_ROOT, 1, 1, 2, 3);
}

static void
T_RS_10_gaps_are_seen(void **state)
{
    (void)state;
    IS(1, 4, CHAIN_GAP, 2, 1, 3, 4);
    IS(1, 4, CHAIN_GAP, 3, 1, 2, 4);
    IS(1, 3, CHAIN_GAP, 2, 1, 0, 3);
    IS(1, 3, CHAIN_AGAIN, 2, 1, 1, 2, 3);
    IS(1, 3, CHAIN_END, 2, 1, 2);
    IS(1, 3, CHAIN_END, 4, 1, 2, 3, 4);
    IS(0, 3, CHAIN_START, 1, 1, 2, 3);
    IS(1, 3, CHAIN_START, 1, 0, 1, 2, 3);
}

static void
T_RS_11_a_signet_that_nobody_handed_over_breaks_the_chain(void **state)
{
    struct kd_buf b;
    struct chain c;

    (void)state;
    kd_buf_init(&b, 4096);
    chain_begin(&c, &w.signet[1]);
    chain_add(&c, kd_buf_slice(&w.octets[1]));
    chain_add(&c, make(&b, 2, NULL, org)); /* no custody */
    kd_ignore(chain_end(&c, &w.signet[2]));
    assert_int_equal(c.fault, CHAIN_GAP);
    chain_begin(&c, &w.signet[1]);
    chain_add(&c, kd_buf_slice(&w.octets[1]));
    chain_add(&c, make(&b, 2, &w.pair[0], org)); /* by somebody else of the chain */
    assert_int_equal(c.fault, CHAIN_GAP);
    kd_buf_free(&b);
}

static void
T_RS_13_a_link_signed_anew_is_the_same_link(void **state)
{
    struct kd_buf b;
    struct chain c;
    struct dime_signet again;
    enum dime_reason why;

    (void)state;
    kd_buf_init(&b, 4096);
    struct kd_slice s = make(&b, 2, &w.pair[1], &sg_world()->pok);
    assert_int_equal(dime_signet_parse(s, &again, &why), KD_OK);
    chain_begin(&c, &again);
    chain_add(&c, kd_buf_slice(&w.octets[2]));
    chain_add(&c, kd_buf_slice(&w.octets[3]));
    assert_int_equal(chain_end(&c, &w.signet[3]), KD_OK);
    chain_begin(&c, &w.signet[1]);
    chain_add(&c, kd_buf_slice(&w.octets[1]));
    chain_add(&c, s); /* by the new organizational key */
    assert_int_equal(chain_end(&c, &w.signet[2]), KD_OK);
    kd_buf_free(&b);
}

static void
links_that_are_none_are_refused(void **state)
{
    struct kd_buf b;
    struct chain c;
    uint8_t octets[4096];
    struct kd_slice good = kd_buf_slice(&w.octets[2]);

    (void)state;
    kd_buf_init(&b, 4096);
    chain_begin(&c, NULL);
    assert_int_equal(chain_end(&c, &w.signet[0]), KD_INVALID);
    assert_int_equal(c.fault, CHAIN_EMPTY);
    chain_begin(&c, NULL);
    chain_add(&c, kd_slice_str("nothing"));
    assert_int_equal(c.fault, CHAIN_OCTETS);
    chain_add(&c, kd_buf_slice(&w.octets[0])); /* the first fault stays */
    assert_int_equal(c.n, 1);
    assert_int_equal(chain_end(&c, &w.signet[0]), KD_INVALID);
    chain_begin(&c, NULL);
    chain_add(&c, sg_make_org(&b, &(struct sg_org){0}));
    assert_int_equal(c.fault, CHAIN_OCTETS);
    for (size_t i = 5; i < good.n; i++) { /* each octet of a link altered */
        memcpy(octets, good.p, good.n);
        octets[i] ^= 1;
        chain_begin(&c, &w.signet[1]);
        chain_add(&c, kd_buf_slice(&w.octets[1]));
        chain_add(&c, kd_slice(octets, good.n));
        kd_err err = chain_end(&c, &w.signet[2]);
        /* field 6 is the organization's, whose key may be gone */
        if (i < good.n - 65)
            assert_int_equal(err, KD_INVALID);
    }
    kd_buf_free(&b);
}

/* A hostile history goes on for ever. */
static void
T_RS_20_a_chain_has_a_limit(void **state)
{
    struct kd_buf *links = calloc(CHAIN_LINKS_MAX + 1, sizeof *links);
    static struct chain c;
    struct dime_signet last;
    enum dime_reason why;
    struct sg_pair prev = {0}, pair;
    char name[24];

    (void)state;
    assert_non_null(links);
    chain_begin(&c, NULL);
    for (size_t i = 0; i <= CHAIN_LINKS_MAX; i++) {
        snprintf(name, sizeof name, "long %zu", i);
        pair = sg_pair_text(name);
        const struct sg_user recipe = {.pair = &pair,
                                       .enc = w.enc[0],
                                       .custody_by = i == 0 ? NULL : &prev,
                                       .until = DIME_PART_CORE};
        kd_buf_init(&links[i], 4096);
        struct kd_slice s = sg_make_user(&links[i], &recipe);
        chain_add(&c, s);
        assert_int_equal(dime_signet_parse(s, &last, &why), KD_OK);
        if (i + 1 == CHAIN_LINKS_MAX)
            assert_int_equal(chain_end(&c, &last), KD_OK);
        prev = pair;
    }
    assert_int_equal(chain_end(&c, &last), KD_TOO_LARGE);
    assert_int_equal(c.fault, CHAIN_TOO_LONG);
    assert_int_equal(c.n, CHAIN_LINKS_MAX);
    for (size_t i = 0; i <= CHAIN_LINKS_MAX; i++)
        kd_buf_free(&links[i]);
    free(links);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_RS_9_an_unbroken_chain_from_what_is_known_is_accepted),
        cmocka_unit_test(T_RS_12_first_contact_goes_back_to_a_root),
        cmocka_unit_test(T_RS_10_gaps_are_seen),
        cmocka_unit_test(T_RS_11_a_signet_that_nobody_handed_over_breaks_the_chain),
        cmocka_unit_test(T_RS_13_a_link_signed_anew_is_the_same_link),
        cmocka_unit_test(links_that_are_none_are_refused),
        cmocka_unit_test(T_RS_20_a_chain_has_a_limit),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
