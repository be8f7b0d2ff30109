#include "policy_block.h"

#include <stdlib.h>

/* Building: sort, write the octets, and let decode check them. */

struct sorted_domain {
    struct kd_slice name;
    uint16_t given; /* index in the caller's array */
};

static int
compare_domains(const void *a, const void *b)
{
    const struct sorted_domain *x = a;
    const struct sorted_domain *y = b;

    return policy_compare_octets(x->name, y->name);
}

static struct kd_caller
entry_caller(const struct kd_policy_entry *e)
{
    return e->klass == KD_CLASS_TLS ? kd_caller_remote(e->name)
                                    : kd_caller_local(e->klass, e->uid);
}

static int
compare_entries(const void *a, const void *b)
{
    struct kd_caller x = entry_caller(a);
    struct kd_caller y = entry_caller(b);

    return policy_compare_callers(&x, &y);
}

static void
put_domains(struct kd_buf *b, const struct sorted_domain *domains, size_t n,
            const struct kd_policy_domain_entry *with)
{
    uint32_t end = 0;

    for (size_t i = 0; i < n; i++) {
        kd_buf_u32(b, end += (uint32_t)domains[i].name.n);
        kd_buf_u32(b, with == NULL ? 0 : with[domains[i].given].line);
    }
    for (size_t i = 0; i < n; i++)
        kd_buf_put(b, domains[i].name);
}

static void
put_name(struct kd_buf *b, struct kd_slice name)
{
    uint8_t *at = kd_buf_add(b, KD_POLICY_NAME_MAX);

    if (at == NULL)
        return;
    memset(at, 0, KD_POLICY_NAME_MAX);
    if (name.n > 0)
        memcpy(at, name.p, name.n);
}

static void
put_lines(struct kd_buf *b, const struct kd_policy_lines *l)
{
    kd_buf_u32(b, l->section);
    kd_buf_u32(b, l->operations);
    kd_buf_u32(b, l->domains);
    kd_buf_u32(b, l->keys);
    kd_buf_put(b, kd_slice(l->op, sizeof l->op));
}

/* rank: the caller's domain index -> index in the policy. */
static kd_err
put_row(struct kd_buf *b, const struct kd_policy_entry *e, const uint16_t *rank,
        size_t n_domains)
{
    if (e->klass >= KD_CLASS_COUNT || e->name.n > KD_POLICY_NAME_MAX ||
        (e->key_roles & ROLES_ANY) != 0)
        return KD_INVALID;
    kd_buf_u8(b, (uint8_t)e->klass);
    kd_buf_u32(b, e->uid);
    kd_buf_u64(b, e->ops | kd_ops_of_class(e->klass, KD_OPF_EVERYONE));
    put_name(b, e->name);
    kd_buf_u16(b, e->has_keys ? e->key_roles : ROLES_ANY);
    put_lines(b, &e->lines);
    size_t size = (n_domains + 7) / 8;
    uint8_t *set = kd_buf_add(b, size);
    if (set == NULL)
        return b->err;
    memset(set, 0, size);
    for (size_t i = 0; i < e->n_domains; i++) {
        if (e->domains[i] >= n_domains)
            return KD_INVALID;
        unsigned bit = rank[e->domains[i]];
        set[bit / 8] |= (uint8_t)(1U << bit % 8);
    }
    return KD_OK;
}

static int
compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KD_POLICY_KEY_ID_SIZE);
}

/* The ids of a row, sorted where they were put. */
static kd_err
put_keys(struct kd_buf *b, size_t row, const struct kd_policy_entry *e)
{
    uint8_t ids[KD_POLICY_KEYS_MAX][KD_POLICY_KEY_ID_SIZE];

    if (!e->has_keys || e->n_key_ids == 0)
        return KD_OK;
    if (e->n_key_ids > KD_POLICY_KEYS_MAX)
        return KD_TOO_LARGE;
    memcpy(ids, e->key_ids, e->n_key_ids * sizeof ids[0]);
    qsort(ids, e->n_key_ids, sizeof ids[0], compare_ids);
    for (size_t i = 0; i < e->n_key_ids; i++) {
        if (i > 0 && compare_ids(ids[i - 1], ids[i]) == 0)
            return KD_CONFLICT;
        kd_buf_u16(b, (uint16_t)row);
        kd_buf_put(b, kd_slice(ids[i], sizeof ids[i]));
    }
    return KD_OK;
}

/* The lines of a row or domain, by operation. */
static kd_err
put_quotas(struct kd_buf *b, uint8_t kind, size_t index, const struct kd_quota *quotas,
           size_t n)
{
    size_t put = 0;

    if (n > KD_POLICY_OWN_QUOTAS_MAX)
        return KD_TOO_LARGE;
    for (unsigned op = 0; op <= KD_OP_MAX; op++) {
        const struct kd_quota *found = NULL;
        for (size_t i = 0; i < n; i++) {
            if (quotas[i].op != op)
                continue;
            if (found != NULL)
                return KD_CONFLICT;
            found = &quotas[i];
        }
        if (found == NULL)
            continue;
        if (found->rate.seconds > UINT16_MAX)
            return KD_INVALID;
        put++;
        kd_buf_u8(b, kind);
        kd_buf_u16(b, (uint16_t)index);
        kd_buf_u8(b, found->op);
        kd_buf_u32(b, found->rate.n);
        kd_buf_u16(b, (uint16_t)found->rate.seconds);
        kd_buf_u32(b, found->rate.burst);
        kd_buf_u32(b, found->in_flight);
        kd_buf_u32(b, found->line);
    }
    return put == n ? KD_OK : KD_INVALID;
}

/* Sorted copies of what the caller gave; KD_CONFLICT for anything twice. */
static kd_err
sort_input(const struct kd_slice *given, size_t n_domains,
           struct sorted_domain *domains, uint16_t *rank,
           struct kd_policy_entry *entries, size_t n_entries)
{
    for (size_t i = 0; i < n_domains; i++) {
        if (!kd_domain_is_valid(given[i]))
            return KD_INVALID;
        domains[i] = (struct sorted_domain){given[i], (uint16_t)i};
    }
    qsort(domains, n_domains, sizeof *domains, compare_domains);
    for (size_t i = 0; i < n_domains; i++) {
        rank[domains[i].given] = (uint16_t)i;
        if (i > 0 && kd_slice_eq(domains[i - 1].name, domains[i].name))
            return KD_CONFLICT;
    }
    qsort(entries, n_entries, sizeof *entries, compare_entries);
    for (size_t i = 1; i < n_entries; i++)
        if (compare_entries(&entries[i - 1], &entries[i]) == 0)
            return KD_CONFLICT;
    return KD_OK;
}

/* What is to be put, in the policy's order. */
struct parts {
    const struct sorted_domain *domains;
    const uint16_t *rank;
    size_t n_domains;
    const struct kd_policy_domain_entry *with;
    const struct kd_policy_entry *entries;
    size_t n_entries;
};

static size_t
count_keys(const struct parts *x)
{
    size_t n = 0;

    for (size_t i = 0; i < x->n_entries; i++)
        n += x->entries[i].has_keys ? x->entries[i].n_key_ids : 0;
    return n;
}

static size_t
count_quotas(const struct parts *x)
{
    size_t n = 0;

    for (size_t i = 0; i < x->n_entries; i++)
        n += x->entries[i].n_quotas;
    for (size_t i = 0; x->with != NULL && i < x->n_domains; i++)
        n += x->with[i].n_quotas;
    return n;
}

static kd_err
put_lists(struct kd_buf *b, const struct parts *x)
{
    kd_err err;

    for (size_t i = 0; i < x->n_entries; i++)
        if ((err = put_keys(b, i, &x->entries[i])) != KD_OK)
            return err;
    for (size_t i = 0; i < x->n_entries; i++)
        if ((err = put_quotas(b, 0, i, x->entries[i].quotas, x->entries[i].n_quotas)) !=
            KD_OK)
            return err;
    for (size_t i = 0; x->with != NULL && i < x->n_domains; i++) {
        const struct kd_policy_domain_entry *with = &x->with[x->domains[i].given];
        if ((err = put_quotas(b, 1, i, with->quotas, with->n_quotas)) != KD_OK)
            return err;
    }
    return b->err;
}

static kd_err
put_policy(struct kd_buf *b, const struct parts *x)
{
    uint32_t names_size = 0;
    size_t n_keys = count_keys(x), n_quotas = count_quotas(x);
    kd_err err;

    if (n_keys > KD_POLICY_KEYS_MAX || n_quotas > KD_POLICY_QUOTAS_MAX)
        return KD_TOO_LARGE;
    for (size_t i = 0; i < x->n_domains; i++)
        names_size += (uint32_t)x->domains[i].name.n;
    kd_buf_u16(b, POLICY_VERSION);
    kd_buf_u16(b, (uint16_t)x->n_domains);
    kd_buf_u16(b, (uint16_t)x->n_entries);
    kd_buf_u32(b, names_size);
    kd_buf_u16(b, (uint16_t)n_keys);
    kd_buf_u16(b, (uint16_t)n_quotas);
    put_domains(b, x->domains, x->n_domains, x->with);
    for (size_t i = 0; i < x->n_entries; i++)
        if ((err = put_row(b, &x->entries[i], x->rank, x->n_domains)) != KD_OK)
            return err;
    return put_lists(b, x);
}

kd_err
kd_policy_build(const struct kd_slice *given, size_t n_domains,
                const struct kd_policy_domain_entry *with,
                const struct kd_policy_entry *given_entries, size_t n_entries,
                struct kd_policy **out)
{
    struct sorted_domain *domains = NULL;
    struct kd_policy_entry *entries = NULL;
    uint16_t *rank = NULL;
    struct kd_buf b;
    kd_err err;

    if (n_domains > KD_POLICY_DOMAINS_MAX || n_entries > KD_POLICY_ROWS_MAX)
        return KD_TOO_LARGE;
    kd_buf_init(&b, KD_POLICY_SIZE_MAX);
    domains = calloc(n_domains + 1, sizeof *domains);
    entries = calloc(n_entries + 1, sizeof *entries);
    rank = calloc(n_domains + 1, sizeof *rank);
    if (domains == NULL || entries == NULL || rank == NULL) {
        err = KD_NOMEM;
        goto out;
    }
    if (n_entries > 0)
        memcpy(entries, given_entries, n_entries * sizeof *entries);
    if ((err = sort_input(given, n_domains, domains, rank, entries, n_entries)) !=
        KD_OK)
        goto out;
    const struct parts parts = {.domains = domains,
                                .rank = rank,
                                .n_domains = n_domains,
                                .with = with,
                                .entries = entries,
                                .n_entries = n_entries};
    if ((err = put_policy(&b, &parts)) != KD_OK)
        goto out;
    err = kd_policy_decode(kd_buf_slice(&b), out);
    if (err == KD_MALFORMED) /* uid, name or operation: the rules are in one place */
        err = KD_INVALID;
out:
    kd_buf_free(&b);
    free(rank);
    free(entries);
    free(domains);
    return err;
}

/* Copies the rows of a class without their keys; returns the number. */
static uint16_t
project_rows(const struct kd_policy *p, enum kd_class klass, uint64_t ops,
             struct kd_buf *b)
{
    uint64_t kept = ops | kd_ops_of_class(klass, KD_OPF_EVERYONE);
    uint16_t n = 0;

    for (size_t i = 0; i < p->n_rows; i++) {
        const uint8_t *row = policy_row(p, i);
        if (row[ROW_CLASS] != klass)
            continue;
        uint8_t *copy = kd_buf_add(b, p->row_size);
        if (copy == NULL)
            break;
        memcpy(copy, row, p->row_size);
        kd_put_be64(copy + ROW_OPS, kd_be64(row + ROW_OPS) & kept);
        kd_put_be16(copy + ROW_ROLES, ROLES_ANY);
        n++;
    }
    return n;
}

/* The lines of n rows from first on, numbered anew, and those of all domains. */
static uint16_t
project_quotas(const struct kd_policy *p, size_t first, size_t n, struct kd_buf *b)
{
    uint16_t put = 0;

    for (size_t i = 0; i < p->n_quotas; i++) {
        const uint8_t *octets = policy_quota_octets(p, i);
        size_t row = kd_be16(octets + 1);
        bool of_domain = octets[0] != 0;
        if (!of_domain && (row < first || row - first >= n))
            continue;
        uint8_t *copy = kd_buf_add(b, QUOTA_SIZE);
        if (copy == NULL)
            break;
        memcpy(copy, octets, QUOTA_SIZE);
        if (!of_domain)
            kd_put_be16(copy + 1, (uint16_t)(row - first));
        put++;
    }
    return put;
}

kd_err
kd_policy_project(const struct kd_policy *p, enum kd_class klass, uint64_t ops,
                  struct kd_policy **out)
{
    struct kd_buf b;
    size_t first;

    kd_buf_init(&b, KD_POLICY_SIZE_MAX);
    kd_buf_put(&b, kd_slice(p->octets, p->rows_at));
    uint16_t n = project_rows(p, klass, ops, &b);
    kd_policy_of_class(p, klass, &first);
    uint16_t n_quotas = project_quotas(p, first, n, &b);
    kd_err err = b.err;
    if (err == KD_OK) {
        kd_put_be16(b.p + POLICY_N_ROWS_AT, n);
        kd_put_be16(b.p + POLICY_N_KEYS_AT, 0);
        kd_put_be16(b.p + POLICY_N_QUOTAS_AT, n_quotas);
        err = kd_policy_decode(kd_buf_slice(&b), out);
    }
    kd_buf_free(&b);
    return err;
}
