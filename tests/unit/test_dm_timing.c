/* What is wrong with a payload cannot be told by its error or by its time (DM-50).
 *
 * As dudect does it: payloads of several kinds are checked in random order and Welch's
 * t compares the times of each kind with those of another. A difference that is there
 * shows in every run, so only one that is found again and again counts. */
#include "dmw.h"
#include "payload.h"
#include "scale.h"
#include "test.h"

#include <dime/payload.h>
#include <keyd/base/secret.h>

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    REGION = 1 << 14,
    WHOLE = 200000,      /* measurements in the whole of a long test */
    ENVELOPE_FACTOR = 5, /* where there is no signature to wait for */
    TRIES = 3,
    SIZE = 4608, /* of payloads: longer than the longest padding there is */
    DATA = SIZE - 69 - 243,
};

#define T_MAX 4.5
#define KEPT 0.9 /* of the measurements, the fastest: the rest was interrupted */

struct kind {
    const char *name;
    struct dmw_chunk chunk;
    enum {
        NOTHING,
        S_HIGH,
        S_ZERO,
        S_RANDOM,
        R_NEUTRAL,
        R_NO_POINT,
        ALL_RANDOM
    } signature;
};

static uint8_t data[DATA] = "text";

/* All fail; total padding is that of SIZE. */
static const struct kind kinds[] = {
    {"padding", {.spoil_padding = 1}, NOTHING},
    {"last octet of padding", {.spoil_padding = SIZE - 69 - DATA}, NOTHING},
    {"pad length", {.has_octet = true, .octet = 9}, NOTHING},
    {"length 0", {.has_length = true}, NOTHING},
    {"length of all", {.has_length = true, .length = SIZE - 69}, NOTHING},
    {"length beyond", {.has_length = true, .length = 0xf00000}, NOTHING},
    {"reserved flags", {.flags = 8 | 1}, NOTHING},
    {"signature", {.spoil_signature = true}, NOTHING},
    {"signed octets", {.spoil_signed = 40}, NOTHING},
    {"another's signature", {.by = NULL}, NOTHING}, /* set below */
    {"S above the order", {.spoil_signature = false}, S_HIGH},
    {"S zero", {.spoil_signature = false}, S_ZERO},
    {"R neutral", {.spoil_signature = false}, R_NEUTRAL},
    {"R no point", {.spoil_signature = false}, R_NO_POINT},
    {"all random", {.spoil_signature = false}, ALL_RANDOM},
};

enum { KINDS = LEN(kinds), FORMED_BADLY = 7 }; /* the first: of good signature */

static const struct dmw_key key = {.iv = {1}, .key = {2}};
/* What is as good as random to who does not know the author's keys: for payloads that
 * he vouches for, where time depends on each signature's digits. */
static const struct kind vouched_kinds[] = {
    {"padding", {.spoil_padding = 1}, NOTHING},
    {"last octet of padding", {.spoil_padding = SIZE - 69 - DATA}, NOTHING},
    {"pad length", {.has_octet = true, .octet = 9}, NOTHING},
    {"length 0", {.has_length = true}, NOTHING},
    {"length of all", {.has_length = true, .length = SIZE - 69}, NOTHING},
    {"length beyond", {.has_length = true, .length = 0xf00000}, NOTHING},
    {"reserved flags", {.flags = 8 | 1}, NOTHING},
    {"signature", {.spoil_signature = true}, NOTHING},
    {"signed octets", {.spoil_signed = 40}, NOTHING},
    {"S random", {.spoil_signature = false}, S_RANDOM},
    {"all random", {.spoil_signature = false}, ALL_RANDOM},
};

enum { VOUCHED_KINDS = LEN(vouched_kinds) };

static uint64_t sealed[KINDS][SIZE / 8];
static struct dime_chunk_key *chunk_key;

static void
spoil(const struct kind *k, uint8_t *plain)
{
    switch (k->signature) {
    case NOTHING:
        break;
    case S_HIGH:
        memset(plain + 32, 0xff, 32);
        break;
    case S_ZERO:
        memset(plain + 32, 0, 32);
        break;
    case S_RANDOM: /* above the order, fifteen times in sixteen */
        randombytes_buf(plain + 32, 32);
        break;
    case R_NEUTRAL:
        memset(plain, 0, 32);
        plain[0] = 1;
        break;
    case R_NO_POINT:
        memset(plain, 0xff, 32);
        break;
    case ALL_RANDOM:
        randombytes_buf(plain, SIZE);
        break;
    }
}

/* A payload of that kind, of the data. */
static void
make(const struct kind *k, uint64_t out[SIZE / 8])
{
    struct dmw_chunk c = k->chunk;
    uint8_t plain[SIZE];

    c.data = kd_slice(data, sizeof data);
    c.padding = SIZE - 69 - DATA;
    if (strcmp(k->name, "another's signature") == 0)
        c.by = &sg_world()->bob;
    struct kd_slice made = dmw_plain(&c);
    assert_int_equal(made.n, SIZE);
    memcpy(plain, made.p, SIZE);
    sg_free(made);
    spoil(k, plain);
    dmw_seal(&key, kd_slice(plain, SIZE), (uint8_t *)out);
}

static int
begin(void **state)
{
    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    assert_non_null(chunk_key = kd_secret_new(sizeof *chunk_key));
    memcpy(chunk_key->iv, key.iv, sizeof chunk_key->iv);
    memcpy(chunk_key->key, key.key, sizeof chunk_key->key);
    for (size_t i = 0; i < KINDS; i++)
        make(&kinds[i], sealed[i]);
    return 0;
}

/* How payloads are looked at, and which. */
struct way {
    const char *name;
    const struct kind *kinds;
    size_t n_kinds;
    enum { SIGNED, ENVELOPE, VOUCHED } how;
};

static kd_err
check(uint8_t *octets, const struct way *way)
{
    const struct dime_message m = {.source =
                                       dime_source_of(kd_slice(octets, 4 + SIZE))};
    const struct dime_chunk c = {.def = dime_chunk_def(4), .size = SIZE};
    const struct payload_author author = {sg_world()->alice.key, true};
    struct payload_said said;
    struct dime_payload out;
    struct kd_buf text;

    if (way->how == VOUCHED)
        return payload_judge(&m, &c, chunk_key, author, &said);
    if (way->how == SIGNED)
        return dime_payload_check(&m, &c, chunk_key, sg_world()->alice.key, &out, NULL);
    kd_buf_init(&text, SIZE);
    kd_err err = dime_envelope_payload_open(&m, &c, chunk_key, &text);
    kd_buf_free(&text);
    return err;
}

static double
ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct measured {
    double time;
    uint8_t kind;
};

/* The kind's octets, all kinds having been read for it: which lines the caches hold
 * must not depend on it. */
static void
choose(size_t kind, uint64_t out[SIZE / 8])
{
    memset(out, 0, SIZE);
    for (size_t k = 0; k < KINDS; k++) {
        uint64_t mask = 0 - (uint64_t)(k == kind);
        for (size_t i = 0; i < SIZE / 8; i++)
            out[i] |= sealed[k][i] & mask;
    }
}

/* Another one of the kind, which nobody has seen. */
static void
make_anew(const struct kind *k, uint64_t out[SIZE / 8])
{
    randombytes_buf(data, 16);
    make(k, out);
}

/* In random order, in the same memory. Vouched for, each is used once; what is made in
 * its place is of its kind, and so not of that of the next measurement. */
static void
measure(struct measured *out, size_t n, const struct way *way)
{
    static uint64_t words[1 + SIZE / 8];
    uint8_t *octets = (uint8_t *)words + 4; /* the payload is aligned */

    for (size_t i = 0; i < n; i++) {
        out[i].kind = (uint8_t)randombytes_uniform((uint32_t)way->n_kinds);
        choose(out[i].kind, words + 1);
        double before = ns();
        kd_err err = check(octets, way);
        out[i].time = ns() - before;
        assert_int_equal(err, KD_INVALID);
        if (way->how == VOUCHED)
            make_anew(&way->kinds[out[i].kind], sealed[out[i].kind]);
    }
}

static int
by_time(const void *a, const void *b)
{
    double x = ((const struct measured *)a)->time,
           y = ((const struct measured *)b)->time;

    return (x > y) - (x < y);
}

struct moments {
    double n, mean, m2;
};

static void
add(struct moments *m, double x)
{
    double delta = x - m->mean;

    m->n++;
    m->mean += delta / m->n;
    m->m2 += delta * (x - m->mean);
}

static double
welch(const struct moments *a, const struct moments *b)
{
    double va = a->m2 / (a->n - 1) / a->n, vb = b->m2 / (b->n - 1) / b->n;

    return (a->mean - b->mean) / sqrt(va + vb);
}

/* Whether the kind is on this side of a comparison: its own, or the one of good and bad
 * signatures. */
static bool
is_of(size_t kind, size_t comparison)
{
    return comparison == KINDS ? kind < FORMED_BADLY : kind == comparison;
}

/* Of each kind against all others together, and of the good signatures against the bad:
 * the largest |t|, and whose it is. */
static double
largest_t(struct measured *all, size_t n, size_t n_kinds, size_t *worst)
{
    double most = -1;

    qsort(all, n, sizeof *all, by_time);
    n = (size_t)((double)n * KEPT);
    for (size_t k = 0; k <= KINDS; k++) {
        struct moments own = {0, 0, 0}, others = {0, 0, 0};
        if (k >= n_kinds && (k < KINDS || n_kinds == FORMED_BADLY))
            continue;
        for (size_t i = 0; i < n; i++)
            add(is_of(all[i].kind, k) ? &own : &others, all[i].time);
        double t = fabs(welch(&own, &others));
        if (t > most) {
            most = t;
            *worst = k;
        }
    }
    return most;
}

/* Chance goes away when measurements are added, a difference grows. */
static void
times_do_not_differ(const struct way *way, size_t n)
{
    struct measured *all = calloc(TRIES * n, sizeof *all);
    double t = T_MAX;
    size_t worst = 0;

    assert_non_null(all);
    for (size_t i = 0; i < TRIES && t >= T_MAX; i++) {
        measure(all + i * n, n, way);
        size_t sum = (i + 1) * n;
        t = largest_t(all, sum, way->n_kinds, &worst);
        printf("%s: %zu measurements of %zu kinds, median %.0f ns, largest |t| %.2f "
               "(%s)\n",
               way->name, sum, way->n_kinds, all[sum / 2].time, t,
               worst < KINDS ? way->kinds[worst].name : "good or bad signature");
    }
    free(all);
    assert_true(t < T_MAX);
}

/* T-DM-49: padding, length and signature. Bad gzip is one error with them
 * (test_dm_gzip), but not of one time, and cannot be: how far decompression gets
 * depends on where the data is wrong. It need not be either. It is only begun under a
 * good signature of the author, so nobody else can make data for it and watch: what its
 * time tells is where the author himself was wrong, never anything of a ciphertext that
 * somebody changed. */
static void
T_DM_49_failures_of_all_kinds_take_equally_long(void **state)
{
    static const struct way way = {"signed payloads", kinds, KINDS, SIGNED};

    (void)state;
    times_do_not_differ(&way, test_rounds(WHOLE));
}

static const struct way envelopes = {"envelopes", kinds, FORMED_BADLY, ENVELOPE};

static void
badly_formed_envelopes_take_equally_long(void **state)
{
    (void)state;
    times_do_not_differ(&envelopes, ENVELOPE_FACTOR * test_rounds(WHOLE));
}

static void
failures_that_an_author_vouches_for_take_equally_long(void **state)
{
    static const struct way way = {"payloads vouched for", vouched_kinds, VOUCHED_KINDS,
                                   VOUCHED};

    (void)state;
    for (size_t i = 0; i < VOUCHED_KINDS; i++)
        make_anew(&vouched_kinds[i], sealed[i]);
    times_do_not_differ(&way, test_rounds(WHOLE));
    for (size_t i = 0; i < KINDS; i++)
        make(&kinds[i], sealed[i]);
}

/* That the measure sees what it is to see: one kind that is 3 % faster. On a machine
 * that others use it takes more of them. */
static void
the_measure_tells_what_differs(void **state)
{
    enum { N = 500000, AT_ONCE = 100000 };
    static struct measured all[N];
    static volatile uint8_t sink;
    size_t worst = 0, n = 0;
    bool is_seen = false;

    (void)state;
    while (!is_seen && n < N) {
        measure(all + n, AT_ONCE, &envelopes);
        for (size_t i = n; i < n + AT_ONCE; i++) {
            double before = ns();
            for (unsigned k = 0; k < (all[i].kind == 3 ? 300u : 310u); k++)
                sink = (uint8_t)k;
            all[i].time = ns() - before;
        }
        n += AT_ONCE;
        is_seen = largest_t(all, n, FORMED_BADLY, &worst) > T_MAX && worst == 3;
    }
    assert_true(is_seen);
    kd_ignore(sink);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_DM_49_failures_of_all_kinds_take_equally_long),
        cmocka_unit_test(badly_formed_envelopes_take_equally_long),
        cmocka_unit_test(failures_that_an_author_vouches_for_take_equally_long),
        cmocka_unit_test(the_measure_tells_what_differs),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
