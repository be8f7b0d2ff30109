/* T-SG-57: every single bit of every good object flipped, and every truncation, is
 * refused, whatever the mutation hits. */
#include "sg.h"
#include "test.h"

#include <keyd/base/be.h>
#include <stdlib.h>

static const struct {
    const char *file, *org, *prev; /* org NULL: the object is one itself */
} samples[] = {
    {"appendix/ORG1.b64", NULL, NULL},
    {"appendix/ORG2.b64", NULL, NULL},
    {"appendix/ORG1-P.b64", NULL, NULL},
    {"appendix/ORG1-S33.b64", NULL, NULL},
    {"appendix/USER0.b64", "appendix/ORG2.b64", NULL},
    {"appendix/USER1.b64", "appendix/ORG2.b64", "appendix/USER0.b64"},
    {"appendix/SSR0.b64", "", NULL},
    {"appendix/SSR1.b64", "", "appendix/USER0.b64"},
    {"libdime/signets/orga.signet.bin", NULL, NULL},
    {"libdime/signets/orgb.core.signet.bin", NULL, NULL},
    {"libdime/signets/alice.full.signet.bin", "libdime/signets/orga.signet.bin", NULL},
};

struct sample {
    struct kd_slice octets, org, prev;
    uint8_t pok[32];
};

static struct sample
load(size_t i)
{
    struct sample s = {.octets = sg_file(samples[i].file)};

    if (samples[i].org != NULL && samples[i].org[0] != 0)
        s.org = sg_file(samples[i].org);
    if (samples[i].prev != NULL)
        s.prev = sg_file(samples[i].prev);
    if (samples[i].org == NULL) {
        struct dime_signet org;
        enum dime_reason why;
        assert_int_equal(dime_signet_parse(s.octets, &org, &why), KD_OK);
        memcpy(s.pok, org.sign_key, sizeof s.pok);
    }
    return s;
}

static void
unload(struct sample *s)
{
    sg_free(s->octets);
    sg_free(s->org);
    sg_free(s->prev);
}

static bool
holds(size_t i, const struct sample *s, struct kd_slice octets)
{
    if (samples[i].org == NULL)
        return sg_org_why(octets, s->pok) == DIME_FINE;
    if (s->org.n == 0)
        return sg_ssr_why(octets, s->prev) == DIME_FINE;
    return sg_user_why(octets, s->org, s->prev) == DIME_FINE;
}

static void
T_SG_57_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct sample s = load(i);
        uint8_t *copy = malloc(s.octets.n);
        assert_non_null(copy);
        memcpy(copy, s.octets.p, s.octets.n);
        struct kd_slice flipped = kd_slice(copy, s.octets.n);
        assert_true(holds(i, &s, flipped));
        for (size_t bit = 0; bit < 8 * s.octets.n; bit++) {
            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (holds(i, &s, flipped))
                fail_msg("%s: bit %zu flipped is accepted", samples[i].file, bit);
            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(copy);
        unload(&s);
    }
}

/* As cut, and with the header's length put right: then only what ends where a split
 * ends can be accepted. */
static void
every_truncation_is_refused_but_at_the_splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct sample s = load(i);
        struct dime_signet whole;
        enum dime_reason why;
        uint8_t *copy = malloc(s.octets.n);
        assert_non_null(copy);
        assert_int_equal(dime_signet_parse(s.octets, &whole, &why), KD_OK);
        for (size_t n = 0; n < s.octets.n; n++) {
            memcpy(copy, s.octets.p, s.octets.n);
            assert_false(holds(i, &s, kd_slice(copy, n)));
            if (n < 5)
                continue;
            kd_put_be24(copy + 2, (uint32_t)(n - 5));
            bool split = whole.kind != DIME_SSR && (n == whole.end[DIME_PART_CORE] ||
                                                    n == whole.end[DIME_PART_FULL]);
            assert_int_equal(holds(i, &s, kd_slice(copy, n)), split);
        }
        free(copy);
        unload(&s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_SG_57_every_flipped_bit_is_refused),
        cmocka_unit_test(every_truncation_is_refused_but_at_the_splits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
