#include "origins.h"

#include <sodium.h>
#include <string.h>

#define MIB (UINT64_C(1024) * 1024)

/* Beside the reading, a signature verified at one cost (dime/ed25519_verifier.h) is as
 * much work as hashing so much. */
enum { SIGNATURE_OCTETS = 96 << 10 };

static struct kd_rate
rate_of(uint32_t a_second)
{
    uint32_t burst = ORIGINS_BURST_SECONDS * a_second;

    return (struct kd_rate){a_second, 1, burst > ORIGINS_BURST ? burst : ORIGINS_BURST};
}

_Static_assert((int)ORIGINS_RATE_MAX <= (int)KD_RATE_N_MAX &&
                   ORIGINS_RATE_MAX * ORIGINS_BURST_SECONDS <= (int)KD_RATE_BURST_MAX,
               "what may be set is a rate");

void
origins_init(struct origins *o)
{
    memset(o, 0, sizeof *o);
    randombytes_buf(o->key, sizeof o->key);
}

unsigned
origins_cost(size_t readings, uint64_t octets)
{
    uint64_t most = ORIGINS_BURST - 1;

    /* Each alone first: neither product may overflow. */
    if (readings > most || octets / MIB > most)
        return ORIGINS_BURST;
    octets += SIGNATURE_OCTETS;
    uint64_t whole = octets / MIB, rest = octets % MIB;
    uint64_t units = readings * whole + readings * rest / MIB;
    return 1 + (unsigned)(units < most ? units : most);
}

static uint64_t
hash_of(const struct origins *o, struct kd_slice origin)
{
    uint8_t octets[crypto_shorthash_BYTES];
    uint64_t hash;

    _Static_assert(sizeof octets == sizeof hash &&
                       sizeof o->key == crypto_shorthash_KEYBYTES,
                   "SipHash");
    crypto_shorthash(octets, origin.p, origin.n, o->key);
    memcpy(&hash, octets, sizeof hash);
    return hash == 0 ? 1 : hash;
}

static struct origins_cell *
find(struct origins *o, uint64_t hash)
{
    struct origins_cell *set = o->cells[hash % ORIGINS_SETS];

    for (size_t i = 0; i < ORIGINS_WAYS; i++)
        if (set[i].hash == hash)
            return &set[i];
    return NULL;
}

/* What a bucket lacked it lacks under another rate, too: a state counts in events of
 * its rate. */
static void
carry(kd_rate_state *state, uint32_t from, uint32_t to, int64_t now)
{
    const struct kd_rate was = rate_of(from == 0 ? to : from), is = rate_of(to);
    uint32_t used = was.burst - kd_rate_left(&was, state, now);
    int64_t wait;

    atomic_store_explicit(state, 0, memory_order_relaxed);
    if (used != 0)
        kd_ignore(kd_rate_take_n(&is, state, used < is.burst ? used : is.burst, now,
                                 &wait)); /* the bucket is full */
}

static void
take_over(struct origins *o, const struct origins_rates *rates, int64_t now)
{
    carry(&o->strangers, o->rates.strangers, rates->strangers, now);
    for (size_t i = 0; i < ORIGINS_SETS; i++)
        for (size_t k = 0; k < ORIGINS_WAYS; k++)
            carry(&o->cells[i][k].state, o->rates.known, rates->known, now);
    o->rates = *rates;
}

kd_err
origins_take(struct origins *o, const struct origins_rates *rates,
             struct kd_slice origin, unsigned cost, int64_t now, uint32_t *retry_ms)
{
    struct origins_cell *cell = find(o, hash_of(o, origin));
    uint32_t n = cost == 0 ? 1 : cost > ORIGINS_BURST ? ORIGINS_BURST : cost;
    const struct kd_rate r = rate_of(cell == NULL ? rates->strangers : rates->known);
    int64_t wait;

    if (rates->known != o->rates.known || rates->strangers != o->rates.strangers)
        take_over(o, rates, now);

    if (kd_rate_take_n(&r, cell == NULL ? &o->strangers : &cell->state, n, now, &wait))
        return KD_OK;
    /* At most burst / rate: some forty seconds at the strangers' usual one. */
    *retry_ms = (uint32_t)((wait + 999999) / 1000000);
    return KD_BUSY;
}

void
origins_passed(struct origins *o, struct kd_slice origin, int64_t now)
{
    uint64_t hash = hash_of(o, origin);
    struct origins_cell *cell = find(o, hash), *set = o->cells[hash % ORIGINS_SETS];

    if (cell == NULL) {
        cell = &set[0];
        for (size_t i = 0; i < ORIGINS_WAYS && cell->hash != 0; i++)
            if (set[i].hash == 0 || set[i].passed_at < cell->passed_at)
                cell = &set[i];
        cell->hash = hash;
        atomic_store_explicit(&cell->state, 0, memory_order_relaxed);
    }
    cell->passed_at = now;
}
