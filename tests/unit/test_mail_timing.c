/* What is wrong with a message cannot be told by how long opening it takes, from the
 * moment the key is used (D-089): an origin that moves blocks of somebody's envelope
 * about, or a front-end that asks again and again, learns nothing but the one refusal.
 *
 * Measured as in test_dm_timing: kinds in random order, and Welch's t of each kind's
 * times against all others'. */
#include "mailw.h"
#include "scale.h"
#include "test.h"

#include <dime/fingerprint.h>

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    WHOLE = 1000000, /* measurements in the whole of a long test */
    FEWER = 5,       /* of those where more is verified */
    TRIES = 3,
    KINDS_MAX = 24,
    ROOM = 1 << 15,
};

#define T_MAX 4.5
/* Of the measurements, the fastest: the rest was interrupted, or less so. */
static const double kept[] = {0.9, 0.5};

static struct mailw *x;

/* --- kinds --- */

/* How a message differs from a good one of the same sizes. */
struct kind {
    const char *name;
    struct dmw_chunk chunk; /* in place of 4 or 5 */
    const char *from, *to;  /* in its text */
    enum {
        NOTHING,
        S_HIGH,
        S_ZERO,
        R_NEUTRAL,
        R_NO_POINT,
        ALL_RANDOM,
        FLIPPED,
        SLOT_RANDOM
    } last; /* what is done to 255, or 226 */
};

/* OpenEnvelope: in front of 255's verdict, and behind. */
static const struct kind inbound[] = {
    {.name = "another's signature", .last = FLIPPED},
    {.name = "S above the order", .last = S_HIGH},
    {.name = "S zero", .last = S_ZERO},
    {.name = "R neutral", .last = R_NEUTRAL},
    {.name = "R no point", .last = R_NO_POINT},
    {.name = "255 random", .last = ALL_RANDOM},
    {.name = "slot of 255 random", .last = SLOT_RANDOM},
    {.name = "padding", .chunk = {.spoil_padding = 1}},
    {.name = "last octet of padding", .chunk = {.spoil_padding = 104}},
    {.name = "pad length", .chunk = {.has_octet = true, .octet = 9}},
    {.name = "length 0", .chunk = {.has_length = true}},
    {.name = "length beyond", .chunk = {.has_length = true, .length = 0xf00000}},
    {.name = "reserved flags", .chunk = {.flags = 8}},
    {.name = "first letter", .from = "Recipient: <", .to = "recipient: <"},
    {.name = "no address", .from = "bob@", .to = "bob."},
    {.name = "address of another domain's form", .from = "bob@", .to = "b@b@"},
    {.name = "recipient's fingerprint", .from = "r7jvjk", .to = "r7jv=k"},
    {.name = "line end", .from = "]\r\nOrigin:", .to = "]\n\rOrigin:"},
    {.name = "origin", .from = "<example.com>", .to = "<example.net>"},
    {.name = "origin's fingerprint", .from = "a5telv", .to = "b5telv"},
    {.name = "last letter", .from = "V0qVg]\r\n", .to = "V0qVg]\r\r"},
};

/* SignOutbound: all with 4 changed behind the author's back, so that no signature of
 * his holds. */
static const struct kind outbound[] = {
    {.name = "author's signature", .last = FLIPPED},
    {.name = "padding", .chunk = {.spoil_padding = 1}, .last = FLIPPED},
    {.name = "last octet of padding", .chunk = {.spoil_padding = 96}, .last = FLIPPED},
    {.name = "pad length", .chunk = {.has_octet = true, .octet = 9}, .last = FLIPPED},
    {.name = "length 0", .chunk = {.has_length = true}, .last = FLIPPED},
    {.name = "length beyond",
     .chunk = {.has_length = true, .length = 0xf00000},
     .last = FLIPPED},
    {.name = "reserved flags", .chunk = {.flags = 8}, .last = FLIPPED},
    {.name = "first letter", .from = "Author: <", .to = "author: <", .last = FLIPPED},
    {.name = "account", .from = "alice@", .to = "alicf@", .last = FLIPPED},
    {.name = "author's fingerprint", .from = "EWbuI1", .to = "EWbuI2", .last = FLIPPED},
    {.name = "destination",
     .from = "<example.org>",
     .to = "<example.net>",
     .last = FLIPPED},
    {.name = "destination's fingerprint",
     .from = "yWLf0W",
     .to = "yWLf=W",
     .last = FLIPPED},
    {.name = "chunk 4's signature",
     .chunk = {.spoil_signature = true},
     .last = FLIPPED},
};

/* What is measured. */
struct way {
    const char *name;
    const struct kind *kinds;
    size_t n_kinds;
    bool is_outbound, has_bounces;
};

/* --- messages --- */

static uint8_t messages[KINDS_MAX][ROOM];
static size_t size; /* of each */

static void
replace(char *text, const struct kind *k)
{
    if (k->from == NULL)
        return;
    char *at = strstr(text, k->from);
    assert_non_null(at);
    memcpy(at, k->to, strlen(k->from));
}

static void
spoil(uint8_t sig[64], const struct kind *k)
{
    switch (k->last) {
    case NOTHING:
    case SLOT_RANDOM:
        break;
    case FLIPPED:
        sig[40] ^= 1;
        break;
    case S_HIGH:
        memset(sig + 32, 0xff, 32);
        break;
    case S_ZERO:
        memset(sig + 32, 0, 32);
        break;
    case R_NEUTRAL:
        memset(sig, 0, 32);
        sig[0] = 1;
        break;
    case R_NO_POINT:
        memset(sig, 0xff, 32);
        break;
    case ALL_RANDOM:
        randombytes_buf(sig, 64);
        break;
    }
}

static void
make(const struct way *way, const struct kind *k, uint8_t *out)
{
    static struct dmw w;
    char text[512];
    struct dmw_chunk c = k->chunk;
    uint8_t type = way->is_outbound ? 226 : 255, sig[64];

    c.type = way->is_outbound ? 4 : 5;
    snprintf(text, sizeof text, "%s", dmw_text(c.type));
    replace(text, k);
    c.data = kd_slice_str(text);
    c.padding = (uint32_t)(512 - 69 - c.data.n);
    dmw_free(&w);
    struct kd_slice made =
        dmw_message(&w, &(struct dmw_recipe){.instead = &c,
                                             .no_bounces = !way->has_bounces,
                                             .placeholders = way->is_outbound});
    assert_true(made.n <= ROOM && (size == 0 || made.n == size));
    size = made.n;
    memcpy(out, made.p, made.n);
    mailw_signature(kd_slice(out, size), type, sig);
    spoil(sig, k);
    mailw_put_signature(out, size, type, sig);
    if (way->is_outbound) { /* 225 as well: nothing of his holds */
        mailw_signature(kd_slice(out, size), 225, sig);
        sig[40] ^= 1;
        mailw_put_signature(out, size, 225, sig);
    }
    if (k->last == SLOT_RANDOM)
        randombytes_buf(out + dmw_find(&w, 255, 0)->slots + 128, 64);
}

static kd_err
walk(const uint8_t *octets, const struct way *way)
{
    const struct dime_source source = dime_source_of(kd_slice(octets, size));
    struct mail_signed signed_;
    struct mail_opened opened;

    if (way->is_outbound)
        return mail_sign_outbound(&x->origin, &source, &x->outbound, &signed_);
    return mail_open_inbound(&x->destination, &source, &x->inbound, &opened);
}

/* --- the measure --- */

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
choose(size_t kind, size_t n_kinds, uint8_t *out)
{
    memset(out, 0, size);
    for (size_t k = 0; k < n_kinds; k++) {
        uint8_t mask = (uint8_t)(0 - (unsigned)(k == kind));
        for (size_t i = 0; i < size; i++)
            out[i] |= messages[k][i] & mask;
    }
}

static void
measure(struct measured *out, size_t n, const struct way *way)
{
    static uint8_t octets[ROOM];

    for (size_t i = 0; i < n; i++) {
        out[i].kind = (uint8_t)randombytes_uniform((uint32_t)way->n_kinds);
        choose(out[i].kind, way->n_kinds, octets);
        double before = ns();
        kd_err err = walk(octets, way);
        out[i].time = ns() - before;
        assert_int_equal(err, KD_INVALID);
    }
}

static int
by_time(const void *a, const void *b)
{
    double p = ((const struct measured *)a)->time,
           q = ((const struct measured *)b)->time;

    return (p > q) - (p < q);
}

struct moments {
    double n, mean, m2;
};

static void
add(struct moments *m, double value)
{
    double delta = value - m->mean;

    m->n++;
    m->mean += delta / m->n;
    m->m2 += delta * (value - m->mean);
}

static double
welch(const struct moments *a, const struct moments *b)
{
    double va = a->m2 / (a->n - 1) / a->n, vb = b->m2 / (b->n - 1) / b->n;

    return (a->mean - b->mean) / sqrt(va + vb);
}

/* Kinds refused by 255 or 226 alone stand in front. */
static size_t
n_in_front(const struct way *way)
{
    size_t n = 0;

    while (n < way->n_kinds && way->kinds[n].last != NOTHING)
        n++;
    return n;
}

/* Of those that are of the kind, or (n_kinds) fail in front of a verdict, against all
 * others. */
static double
compare(const struct measured *all, size_t n, const struct way *way, size_t k)
{
    struct moments own = {0, 0, 0}, others = {0, 0, 0};
    size_t front = n_in_front(way);

    for (size_t i = 0; i < n; i++) {
        bool is_own = k < way->n_kinds ? all[i].kind == k : all[i].kind < front;
        add(is_own ? &own : &others, all[i].time);
    }
    return fabs(welch(&own, &others));
}

/* The largest |t|, and whose it is. Front and rest are compared where there are both.
 */
static double
largest_t(struct measured *all, size_t n, const struct way *way, size_t *worst)
{
    size_t front = n_in_front(way), n_comparisons = way->n_kinds;
    double most = -1;

    qsort(all, n, sizeof *all, by_time);
    n_comparisons += front > 0 && front < way->n_kinds;
    for (size_t crop = 0; crop < LEN(kept); crop++)
        for (size_t k = 0; k < n_comparisons; k++) {
            double t = compare(all, (size_t)((double)n * kept[crop]), way, k);
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
    assert_true(way->n_kinds <= KINDS_MAX);
    size = 0;
    for (size_t k = 0; k < way->n_kinds; k++)
        make(way, &way->kinds[k], messages[k]);
    for (size_t i = 0; i < TRIES && t >= T_MAX; i++) {
        measure(all + i * n, n, way);
        size_t sum = (i + 1) * n;
        t = largest_t(all, sum, way, &worst);
        printf("%s: %zu measurements of %zu kinds, median %.0f ns, largest |t| %.2f "
               "(%s)\n",
               way->name, sum, way->n_kinds, all[sum / 2].time, t,
               worst < way->n_kinds ? way->kinds[worst].name : "in front or behind");
    }
    free(all);
    assert_true(t < T_MAX);
}

/* --- tests --- */

static int
set_up(void **state)
{
    (void)state;
    x = mailw(0);
    return 0;
}

static void
refusals_behind_the_key_take_equally_long(void **state)
{
    static const struct way way = {"OpenEnvelope", inbound, LEN(inbound), false, false};

    (void)state;
    times_do_not_differ(&way, test_rounds(WHOLE));
}

static void
refusals_take_equally_long_with_bounce_signatures(void **state)
{
    static const struct way way = {"OpenEnvelope, 248 and 249", inbound, LEN(inbound),
                                   false, true};

    (void)state;
    times_do_not_differ(&way, test_rounds(WHOLE) / FEWER);
}

static void
refusals_to_sign_what_was_tampered_with_take_equally_long(void **state)
{
    static const struct way way = {"SignOutbound", outbound, LEN(outbound), true, true};

    (void)state;
    times_do_not_differ(&way, test_rounds(WHOLE) / FEWER);
}

/* That the measure sees what it is to see: one kind that is 3 % slower. */
static void
the_measure_tells_what_differs(void **state)
{
    enum { N = 20000 };
    static const struct way way = {"", inbound, LEN(inbound), false, false};
    static struct measured all[N];
    size_t worst = 0;

    (void)state;
    size = 0;
    for (size_t k = 0; k < way.n_kinds; k++)
        make(&way, &way.kinds[k], messages[k]);
    measure(all, N, &way);
    for (size_t i = 0; i < N; i++)
        all[i].time *= all[i].kind == 9 ? 1.03 : 1;
    assert_true(largest_t(all, N, &way, &worst) > T_MAX);
    assert_int_equal(worst, 9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_behind_the_key_take_equally_long),
        cmocka_unit_test(refusals_take_equally_long_with_bounce_signatures),
        cmocka_unit_test(refusals_to_sign_what_was_tampered_with_take_equally_long),
        cmocka_unit_test(the_measure_tells_what_differs),
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
