#include "origins.h"

#include <sodium.h>
#include <string.h>

#define MIB (UINT64_C(1024) * 1024)

/* Beside the hashing, a key is as much work as hashing so much: three signatures are
 * verified under it at one cost each (dime/message_verify.h). */
enum { KEY_OCTETS = 128 << 10 };

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
origins_cost(size_t n_keys, uint64_t octets)
{
    uint64_t most = ORIGINS_BURST - 1;

    /* Each alone first: neither product may overflow. */
    if (n_keys > most || octets / MIB > most)
        return ORIGINS_BURST;
    octets += KEY_OCTETS;
    uint64_t whole = octets / MIB, rest = octets % MIB;
    uint64_t units = n_keys * whole + n_keys * rest / MIB;
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

kd_err
origins_take(struct origins *o, const struct origins_rates *rates,
             struct kd_slice origin, unsigned cost, int64_t now, uint32_t *retry_ms)
{
    struct origins_cell *cell = find(o, hash_of(o, origin));
    uint32_t n = cost == 0 ? 1 : cost > ORIGINS_BURST ? ORIGINS_BURST : cost;
    const struct kd_rate r = rate_of(cell == NULL ? rates->strangers : rates->known);
    int64_t wait;

    if (kd_rate_take_n(&r, cell == NULL ? &o->strangers : &cell->state, n, now, &wait))
        return KD_OK;
    /* At most burst / rate: some twenty seconds at the strangers' usual one. */
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
