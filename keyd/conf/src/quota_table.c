#include <keyd/conf/quota_table.h>

enum { NS_A_MS = 1000000 };

_Static_assert(sizeof(struct kd_quota_cell) == 64, "a cell is a cache line");

static struct kd_quota_cell *
cell_of(const struct kd_quota_table *t, bool of_domain, size_t at)
{
    return &(of_domain ? t->domains : t->rows)->cells[at];
}

/* FNV-1a over what a line says; any change of it is another line. */
static uint64_t
mark_of(const struct kd_quota *q)
{
    const uint64_t parts[] = {q->op, q->rate.n, q->rate.seconds, q->rate.burst,
                              q->in_flight};
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (unsigned shift = 0; shift < 32; shift += 8)
            h = (h ^ (parts[i] >> shift & 0xff)) * UINT64_C(0x100000001b3);
    return h == 0 ? 1 : h;
}

static void
claim_lines(const struct kd_quota_table *t, const struct kd_policy *policy,
            bool of_domains, bool keep_in_flight)
{
    size_t n = kd_policy_n_quotas(policy, of_domains);

    for (size_t i = 0; i < n; i++) {
        struct kd_quota_cell *cell = cell_of(t, of_domains, i);
        uint64_t mark = mark_of(kd_policy_quota(policy, of_domains, i));
        if (!keep_in_flight)
            atomic_store(&cell->in_flight[t->slot], 0);
        if (atomic_load(&cell->made_for) == mark)
            continue;
        atomic_store(&cell->rate, 0);
        atomic_store(&cell->refused, 0);
        atomic_store(&cell->made_for, mark);
    }
}

void
kd_quota_claim(const struct kd_quota_table *t, const struct kd_policy *policy,
               bool keep_in_flight)
{
    claim_lines(t, policy, false, keep_in_flight);
    claim_lines(t, policy, true, keep_in_flight);
}

static uint32_t
in_flight_of(const struct kd_quota_cell *cell)
{
    uint32_t n = 0;

    for (size_t i = 0; i < KD_QUOTA_SLOTS; i++)
        n += atomic_load_explicit(&cell->in_flight[i], memory_order_relaxed);
    return n;
}

static void
give_flight(const struct kd_quota_table *t, struct kd_quota_cell *cell)
{
    atomic_fetch_sub_explicit(&cell->in_flight[t->slot], 1, memory_order_relaxed);
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

/* Takes what one line has; false, with the wait or 0, if it has none. */
static bool
take_line(const struct kd_quota_table *t, struct kd_quota_cell *cell,
          const struct kd_quota *q, int64_t now, int64_t *wait)
{
    *wait = 0;
    if (q->in_flight != 0 && !take_flight(t, cell, q->in_flight))
        return false;
    if (q->rate.n == 0 || kd_rate_take(&q->rate, &cell->rate, now, wait))
        return true;
    if (q->in_flight != 0)
        give_flight(t, cell);
    return false;
}

static void
put_back(const struct kd_quota_table *t, const struct kd_quota_match *m, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct kd_quota_cell *cell = cell_of(t, m->of[i].of_domain, m->of[i].at);
        if (m->of[i].quota->in_flight != 0)
            give_flight(t, cell);
        if (m->of[i].quota->rate.n != 0)
            kd_rate_give(&cell->rate);
    }
}

/* Whether line i and those behind it have something too: the wait is the longest. */
static int64_t
longest_wait(const struct kd_quota_table *t, const struct kd_quota_match *m, unsigned i,
             int64_t now, int64_t wait)
{
    for (; i < m->n; i++) {
        const struct kd_quota *q = m->of[i].quota;
        const struct kd_quota_cell *cell = cell_of(t, m->of[i].of_domain, m->of[i].at);
        int64_t other = 0;
        if (q->rate.n != 0 && !kd_rate_has(&q->rate, &cell->rate, now, &other) &&
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

kd_err
kd_quota_take(const struct kd_quota_table *t, const struct kd_policy *policy,
              const struct kd_caller *caller, unsigned op, struct kd_slice domain,
              int64_t now, struct kd_quota_held *held, uint32_t *wait_ms)
{
    struct kd_quota_match m;
    int64_t wait;

    held->n = 0;
    *wait_ms = 0;
    kd_policy_quotas(policy, caller, op, domain, &m);
    for (unsigned i = 0; i < m.n; i++) {
        struct kd_quota_cell *cell = cell_of(t, m.of[i].of_domain, m.of[i].at);
        if (take_line(t, cell, m.of[i].quota, now, &wait))
            continue;
        put_back(t, &m, i);
        *wait_ms = milliseconds(longest_wait(t, &m, i + 1, now, wait));
        atomic_fetch_add_explicit(&cell->refused, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->rows->refused[m.row], 1, memory_order_relaxed);
        return KD_BUSY;
    }
    for (unsigned i = 0; i < m.n; i++)
        if (m.of[i].quota->in_flight != 0)
            held->of[held->n++] = cell_of(t, m.of[i].of_domain, m.of[i].at);
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

static bool
lines_are_at_rest(const struct kd_quota_table *t, const struct kd_policy *policy,
                  bool of_domains)
{
    size_t n = kd_policy_n_quotas(policy, of_domains);

    for (size_t i = 0; i < n; i++)
        if (in_flight_of(cell_of(t, of_domains, i)) != 0)
            return false;
    return true;
}

bool
kd_quota_is_at_rest(const struct kd_quota_table *t, const struct kd_policy *policy)
{
    return lines_are_at_rest(t, policy, false) && lines_are_at_rest(t, policy, true);
}
