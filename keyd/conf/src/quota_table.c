#include <keyd/conf/quota_table.h>

#include <stdlib.h>

enum { NS_A_MS = 1000000, OF_ROW = 2, LONG_AGO = 8 };

_Static_assert(KD_QUOTA_CELLS > 3 * (KD_POLICY_QUOTAS_MAX + KD_POLICY_ROWS_MAX),
               "three policies of the largest size find room");
_Static_assert(KD_QUOTA_CELLS - 1 <= UINT16_MAX, "a cell's index fits");

/* --- marks --- */

/* FNV-1a. */
static uint64_t
mix(uint64_t h, const void *octets, size_t n)
{
    const uint8_t *p = octets;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t
mix_number(uint64_t h, uint64_t v)
{
    uint8_t octets[8];

    for (unsigned i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(v >> 8 * i);
    return mix(h, octets, sizeof octets);
}

/* A principal under another name, class or uid is another. */
static uint64_t
mark_owner(const struct kd_policy *policy, size_t row, uint64_t kind)
{
    struct kd_caller caller = kd_policy_caller_at(policy, row);
    struct kd_slice name = kd_policy_name_at(policy, row);
    uint64_t h = mix_number(UINT64_C(0xcbf29ce484222325), kind);

    h = mix_number(h, caller.klass);
    h = mix_number(h, caller.uid);
    return mix(h, name.p, name.n);
}

uint64_t
kd_quota_mark_row(const struct kd_policy *policy, size_t row)
{
    uint64_t h = mark_owner(policy, row, OF_ROW);

    return h == 0 ? 1 : h;
}

/* The row or domain that line `at` belongs to. */
static size_t
owner_of(const struct kd_policy *policy, bool of_domain, size_t at)
{
    size_t low = 0;
    size_t high = of_domain ? kd_policy_n_domains(policy) : kd_policy_n_rows(policy);

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2, from, to;
        if (of_domain)
            kd_policy_domain_quotas(policy, middle, &from, &to);
        else
            from = kd_policy_first_quota(policy, middle);
        if (from <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint64_t
kd_quota_mark_line(const struct kd_policy *policy, bool of_domain, size_t at)
{
    const struct kd_quota *q = kd_policy_quota(policy, of_domain, at);
    size_t owner = owner_of(policy, of_domain, at);
    uint64_t h;

    if (of_domain) {
        struct kd_slice name = kd_policy_domain(policy, owner);
        h = mix(mix_number(UINT64_C(0xcbf29ce484222325), of_domain), name.p, name.n);
    } else {
        h = mark_owner(policy, owner, of_domain);
    }
    h = mix_number(h, q->op);
    h = mix_number(h, q->rate.n);
    h = mix_number(h, q->rate.seconds);
    h = mix_number(h, q->rate.burst);
    h = mix_number(h, q->in_flight);
    return h == 0 ? 1 : h;
}

/* --- cells --- */

const struct kd_quota_cell *
kd_quota_find(const struct kd_quota_region *region, uint64_t mark)
{
    for (size_t i = 0; i < KD_QUOTA_CELLS; i++) {
        const struct kd_quota_cell *c = &region->cells[(mark + i) % KD_QUOTA_CELLS];
        uint64_t is = atomic_load_explicit(&c->mark, memory_order_relaxed);
        if (is == mark)
            return c;
        if (is == 0)
            return NULL;
    }
    return NULL;
}

/* Makes a free cell, or one that was not claimed lately, this mark's. Another process
 * may do the same at the same time: one of the two wins, and both have it. */
static bool
take_cell(struct kd_quota_cell *c, uint64_t was, uint64_t mark)
{
    if (!atomic_compare_exchange_strong(&c->mark, &was, mark))
        return was == mark;
    atomic_store(&c->rate, 0);
    atomic_store(&c->refused, 0);
    return true;
}

/* A configuration that long ago has nothing in flight any more. */
static bool
is_old(const struct kd_quota_cell *c, uint32_t serial)
{
    return serial - atomic_load(&c->serial) > LONG_AGO;
}

/* The mark's own cell, or the first that is free, or where none is, the first that no
 * configuration has had lately (serial 0: not known yet which those are). */
static size_t
claim_cell(struct kd_quota_region *region, uint64_t mark, uint32_t serial)
{
    size_t old = KD_QUOTA_CELLS, first = mark % KD_QUOTA_CELLS;

    for (size_t n = 0; n < KD_QUOTA_CELLS; n++) {
        size_t i = (first + n) % KD_QUOTA_CELLS;
        struct kd_quota_cell *c = &region->cells[i];
        uint64_t is = atomic_load(&c->mark);
        if (is == mark || (is == 0 && take_cell(c, 0, mark)))
            return i;
        if (serial != 0 && old == KD_QUOTA_CELLS && is_old(c, serial))
            old = i;
    }
    if (old != KD_QUOTA_CELLS) {
        struct kd_quota_cell *c = &region->cells[old];
        if (take_cell(c, atomic_load(&c->mark), mark))
            return old;
    }
    return first; /* there is always room; counted together with another at worst */
}

/* A set of cells, of each region. */
struct cell_set {
    uint64_t rows[KD_QUOTA_CELLS / 64], domains[KD_QUOTA_CELLS / 64];
};

static void
add_cells(uint64_t *set, const uint16_t *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        set[cells[i] / 64] |= UINT64_C(1) << cells[i] % 64;
}

/* What the configuration before did not have is nobody's in flight in our slot. */
static uint16_t
claim(const struct kd_quota_table *t, bool of_domain, uint64_t mark, uint32_t serial,
      const struct cell_set *had)
{
    struct kd_quota_region *region = of_domain ? t->domains : t->rows;
    const uint64_t *set = of_domain ? had->domains : had->rows;
    size_t i = claim_cell(region, mark, serial);
    struct kd_quota_cell *c = &region->cells[i];

    if ((set[i / 64] >> i % 64 & 1) == 0)
        atomic_store(&c->in_flight[t->slot], 0);
    if (serial != 0)
        atomic_store(&c->serial, serial);
    return (uint16_t)i;
}

kd_err
kd_quota_claim(const struct kd_quota_table *t, const struct kd_policy *policy,
               uint32_t serial, const struct kd_quota_map *before,
               struct kd_quota_map *out)
{
    size_t n_lines = kd_policy_n_quotas(policy, false);
    size_t n_domains = kd_policy_n_quotas(policy, true);
    size_t n_rows = kd_policy_n_rows(policy);
    uint16_t *cells = calloc(n_lines + n_rows + n_domains + 1, sizeof *cells);
    struct cell_set had = {{0}, {0}};

    if (cells == NULL)
        return KD_NOMEM;
    if (before != NULL && before->of_lines != NULL) {
        add_cells(had.rows, before->of_lines, before->n_rows_and_lines);
        add_cells(had.domains, before->of_domains, before->n_domains);
    }
    *out = (struct kd_quota_map){.of_lines = cells,
                                 .of_rows = cells + n_lines,
                                 .of_domains = cells + n_lines + n_rows,
                                 .n_rows_and_lines = n_lines + n_rows,
                                 .n_domains = n_domains};
    for (size_t i = 0; i < n_lines; i++)
        out->of_lines[i] =
            claim(t, false, kd_quota_mark_line(policy, false, i), serial, &had);
    for (size_t i = 0; i < n_rows; i++)
        out->of_rows[i] = claim(t, false, kd_quota_mark_row(policy, i), serial, &had);
    for (size_t i = 0; i < n_domains; i++)
        out->of_domains[i] =
            claim(t, true, kd_quota_mark_line(policy, true, i), serial, &had);
    return KD_OK;
}

void
kd_quota_map_clear(struct kd_quota_map *map)
{
    free(map->of_lines);
    *map = (struct kd_quota_map){0};
}

/* --- counting --- */

/* What one request counts in. */
struct counting {
    const struct kd_quota_table *t;
    const struct kd_quota_match *match;
    struct kd_quota_cell *cells[KD_QUOTA_MATCHES_MAX];
};

static uint32_t
in_flight_of(const struct kd_quota_cell *cell)
{
    uint32_t n = 0;

    for (size_t i = 0; i < KD_QUOTA_SLOTS; i++)
        n += atomic_load_explicit(&cell->in_flight[i], memory_order_relaxed);
    return n;
}

/* Never below nothing: the cell may have become another line's. */
static void
give_flight(const struct kd_quota_table *t, struct kd_quota_cell *cell)
{
    _Atomic uint16_t *own = &cell->in_flight[t->slot];
    uint16_t n = atomic_load_explicit(own, memory_order_relaxed);

    if (n != 0) /* ours alone */
        atomic_store_explicit(own, (uint16_t)(n - 1), memory_order_relaxed);
}

/* Ours is counted first, so that two who ask at once never both get the last place. */
static bool
take_flight(const struct kd_quota_table *t, struct kd_quota_cell *cell, uint32_t most)
{
    atomic_fetch_add_explicit(&cell->in_flight[t->slot], 1, memory_order_seq_cst);
    if (in_flight_of(cell) <= most)
        return true;
    give_flight(t, cell);
    return false;
}

/* Takes what line i has; false, with the wait or 0, if it has none. */
static bool
take_line(const struct counting *x, unsigned i, int64_t now, int64_t *wait)
{
    const struct kd_quota *q = x->match->of[i].quota;
    struct kd_quota_cell *cell = x->cells[i];

    *wait = 0;
    if (q->in_flight != 0 && !take_flight(x->t, cell, q->in_flight))
        return false;
    if (q->rate.n == 0 || kd_rate_take(&q->rate, &cell->rate, now, wait))
        return true;
    if (q->in_flight != 0)
        give_flight(x->t, cell);
    return false;
}

static void
put_back(const struct counting *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct kd_quota *q = x->match->of[i].quota;
        if (q->in_flight != 0)
            give_flight(x->t, x->cells[i]);
        if (q->rate.n != 0)
            kd_rate_give(&x->cells[i]->rate);
    }
}

/* Whether line i and those behind it have something too: the wait is the longest. */
static int64_t
longest_wait(const struct counting *x, unsigned i, int64_t now, int64_t wait)
{
    for (; i < x->match->n; i++) {
        const struct kd_quota *q = x->match->of[i].quota;
        int64_t other = 0;
        if (q->rate.n != 0 && !kd_rate_has(&q->rate, &x->cells[i]->rate, now, &other) &&
            other > wait)
            wait = other;
    }
    return wait;
}

static uint32_t
milliseconds(int64_t wait)
{
    int64_t ms = wait / NS_A_MS + (wait % NS_A_MS != 0);

    return ms > KD_QUOTA_WAIT_MAX_MS ? KD_QUOTA_WAIT_MAX_MS : (uint32_t)ms;
}

static void
find_cells(struct counting *x, const struct kd_quota_map *map)
{
    for (unsigned i = 0; i < x->match->n; i++) {
        size_t at = x->match->of[i].at;
        x->cells[i] = x->match->of[i].of_domain
                          ? &x->t->domains->cells[map->of_domains[at]]
                          : &x->t->rows->cells[map->of_lines[at]];
    }
}

kd_err
kd_quota_take(const struct kd_quota_table *t, const struct kd_quota_map *map,
              const struct kd_quota_match *match, int64_t now,
              struct kd_quota_held *held, uint32_t *wait_ms)
{
    struct counting x = {.t = t, .match = match};
    int64_t wait;

    held->n = 0;
    *wait_ms = 0;
    find_cells(&x, map);
    for (unsigned i = 0; i < match->n; i++) {
        if (take_line(&x, i, now, &wait))
            continue;
        put_back(&x, i);
        *wait_ms = milliseconds(longest_wait(&x, i + 1, now, wait));
        atomic_fetch_add_explicit(&x.cells[i]->refused, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->rows->cells[map->of_rows[match->row]].refused, 1,
                                  memory_order_relaxed);
        return KD_BUSY;
    }
    for (unsigned i = 0; i < match->n; i++)
        if (match->of[i].quota->in_flight != 0)
            held->of[held->n++] = x.cells[i];
    return KD_OK;
}

void
kd_quota_give(const struct kd_quota_table *t, struct kd_quota_held *held)
{
    for (unsigned i = 0; i < held->n; i++)
        give_flight(t, held->of[i]);
    held->n = 0;
}

struct kd_quota_level
kd_quota_level(const struct kd_quota_cell *cell, const struct kd_quota *q, int64_t now)
{
    return (struct kd_quota_level){
        .left = q->rate.n == 0 ? 0 : kd_rate_left(&q->rate, &cell->rate, now),
        .in_flight = in_flight_of(cell),
        .refused = atomic_load_explicit(&cell->refused, memory_order_relaxed)};
}
