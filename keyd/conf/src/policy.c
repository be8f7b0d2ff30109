#include <keyd/base/be.h>
#include <keyd/base/cur.h>
#include <keyd/conf/policy.h>

#include <stdlib.h>

enum {
    VERSION = 1,
    HEADER_SIZE = 2 + 2 + 2 + 4,
    ROW_CLASS = 0,
    ROW_UID = 1,
    ROW_OPS = 5,
    ROW_NAME = 13,
    ROW_DOMAINS = ROW_NAME + KD_POLICY_NAME_MAX,
    LABEL_MAX = 63
};

/* The octets, and where the parts of them lie. */
struct kd_policy {
    size_t n_domains;
    size_t n_rows;
    size_t names_size;
    size_t row_size;
    size_t names_at;
    size_t rows_at;
    size_t size;
    uint8_t octets[];
};

_Static_assert(HEADER_SIZE + KD_POLICY_DOMAINS_MAX * (4 + KD_DOMAIN_MAX) +
                       KD_POLICY_ROWS_MAX * (ROW_DOMAINS + KD_POLICY_DOMAINS_MAX / 8) <=
                   KD_POLICY_SIZE_MAX,
               "the largest policy fits");

static bool
is_lower_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool
kd_domain_is_valid(struct kd_slice d)
{
    size_t label = 0; /* octets of the label so far */
    bool digits_only = true;

    if (d.n == 0 || d.n > KD_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < d.n; i++) {
        if (d.p[i] == '.') {
            if (label == 0 || d.p[i - 1] == '-')
                return false;
            label = 0;
            digits_only = true;
            continue;
        }
        if (!is_lower_or_digit(d.p[i]) && (d.p[i] != '-' || label == 0))
            return false;
        if (++label > LABEL_MAX)
            return false;
        if (d.p[i] < '0' || d.p[i] > '9')
            digits_only = false;
    }
    /* A last label of digits only would be an address of four numbers. */
    return label > 0 && d.p[d.n - 1] != '-' && !digits_only;
}

bool
kd_principal_name_is_valid(struct kd_slice name)
{
    if (name.n == 0 || name.n > KD_POLICY_NAME_MAX || !is_lower_or_digit(name.p[0]))
        return false;
    for (size_t i = 1; i < name.n; i++)
        if (!is_lower_or_digit(name.p[i]) && name.p[i] != '.' && name.p[i] != '_' &&
            name.p[i] != '-')
            return false;
    return true;
}

bool
kd_remote_name_is_valid(struct kd_slice name)
{
    static const char prefix[] = "uri:";
    size_t at = sizeof prefix - 1, scheme = at;

    if (name.n < at || memcmp(name.p, prefix, at) != 0)
        return kd_domain_is_valid(name);
    if (name.n > KD_REMOTE_MAX)
        return false;
    while (scheme < name.n && is_lower_or_digit(name.p[scheme]))
        scheme++;
    if (scheme == at || scheme + 1 >= name.n || name.p[scheme] != ':')
        return false;
    for (; at < name.n; at++)
        if (name.p[at] <= ' ' || name.p[at] > '~' || name.p[at] == '"' ||
            name.p[at] == '\\')
            return false;
    return true;
}

/* A remote principal is known by its name, not by a uid. */
static bool
uid_may_have_a_row(unsigned klass, uint32_t uid)
{
    return klass == KD_CLASS_TLS ? uid == KD_UID_NONE
                                 : uid != KD_UID_OVERFLOW && uid != KD_UID_NONE;
}

static int
compare_octets(struct kd_slice a, struct kd_slice b)
{
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    if (c != 0)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Reading a block that has been checked. */

static size_t
domain_end(const struct kd_policy *p, size_t i)
{
    return kd_be32(p->octets + HEADER_SIZE + 4 * i);
}

static const uint8_t *
row_at(const struct kd_policy *p, size_t i)
{
    return p->octets + p->rows_at + i * p->row_size;
}

static struct kd_slice
row_name(const uint8_t *row)
{
    return kd_slice(row + ROW_NAME,
                    strnlen((const char *)row + ROW_NAME, KD_POLICY_NAME_MAX));
}

static struct kd_caller
row_caller(const uint8_t *row)
{
    return row[ROW_CLASS] == KD_CLASS_TLS
               ? kd_caller_remote(row_name(row))
               : kd_caller_local(row[ROW_CLASS], kd_be32(row + ROW_UID));
}

/* The order of the rows. */
static int
compare_callers(const struct kd_caller *a, const struct kd_caller *b)
{
    if (a->klass != b->klass)
        return a->klass < b->klass ? -1 : 1;
    if (a->klass == KD_CLASS_TLS)
        return compare_octets(a->name, b->name);
    return (a->uid > b->uid) - (a->uid < b->uid);
}

size_t
kd_policy_n_domains(const struct kd_policy *p)
{
    return p->n_domains;
}

size_t
kd_policy_n_rows(const struct kd_policy *p)
{
    return p->n_rows;
}

struct kd_slice
kd_policy_domain(const struct kd_policy *p, size_t i)
{
    size_t from = i == 0 ? 0 : domain_end(p, i - 1);

    return kd_slice(p->octets + p->names_at + from, domain_end(p, i) - from);
}

kd_err
kd_policy_domain_find(const struct kd_policy *p, struct kd_slice domain, size_t *i)
{
    size_t low = 0;
    size_t high = p->n_domains;

    if (domain.n == 0)
        return KD_NOT_FOUND;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare_octets(domain, kd_policy_domain(p, middle));
        if (c == 0) {
            *i = middle;
            return KD_OK;
        }
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return KD_NOT_FOUND;
}

/* NULL if there is no such row. */
static const uint8_t *
row_find(const struct kd_policy *p, const struct kd_caller *caller)
{
    size_t low = 0;
    size_t high = p->n_rows;

    if (caller->klass >= KD_CLASS_COUNT ||
        !uid_may_have_a_row(caller->klass, caller->uid) ||
        (caller->klass != KD_CLASS_TLS && caller->name.n != 0))
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint8_t *row = row_at(p, middle);
        struct kd_caller is = row_caller(row);
        int c = compare_callers(caller, &is);
        if (c == 0)
            return row;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

enum kd_policy_verdict
kd_policy_explain(const struct kd_policy *p, const struct kd_caller *caller,
                  unsigned op, struct kd_slice domain)
{
    size_t i;

    const uint8_t *row = row_find(p, caller);
    if (row == NULL)
        return KD_POLICY_NO_PRINCIPAL;
    if (!kd_op_is_served(op, caller->klass))
        return KD_POLICY_NOT_SERVED;
    if ((kd_be64(row + ROW_OPS) & kd_op_bit(op)) == 0)
        return KD_POLICY_NOT_PERMITTED;
    if ((kd_op_flags(op) & KD_OPF_DOMAIN) == 0)
        return KD_POLICY_ALLOWED;
    if (domain.n == 0)
        return KD_POLICY_NO_DOMAIN;
    if (kd_policy_domain_find(p, domain, &i) != KD_OK ||
        (row[ROW_DOMAINS + i / 8] & 1U << i % 8) == 0)
        return KD_POLICY_OTHER_DOMAIN;
    return KD_POLICY_ALLOWED;
}

kd_err
kd_policy_check(const struct kd_policy *p, const struct kd_caller *caller, unsigned op,
                struct kd_slice domain)
{
    return kd_policy_explain(p, caller, op, domain) == KD_POLICY_ALLOWED ? KD_OK
                                                                         : KD_DENIED;
}

const char *
kd_policy_verdict_text(enum kd_policy_verdict verdict)
{
    static const char *const texts[] = {
        [KD_POLICY_ALLOWED] = "allowed",
        [KD_POLICY_NO_PRINCIPAL] = "no principal of that class has this uid or name",
        [KD_POLICY_NOT_SERVED] = "not an operation of this class",
        [KD_POLICY_NOT_PERMITTED] = "not among the principal's operations",
        [KD_POLICY_NO_DOMAIN] = "the operation needs a domain",
        [KD_POLICY_OTHER_DOMAIN] = "not among the principal's domains",
    };

    return texts[verdict];
}

kd_err
kd_policy_find(const struct kd_policy *p, struct kd_slice name, struct kd_caller *out)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (kd_slice_eq(row_name(row_at(p, i)), name)) {
            *out = row_caller(row_at(p, i));
            return KD_OK;
        }
    return KD_NOT_FOUND;
}

kd_err
kd_policy_name(const struct kd_policy *p, const struct kd_caller *caller,
               struct kd_slice *name)
{
    const uint8_t *row = row_find(p, caller);

    if (row == NULL)
        return KD_NOT_FOUND;
    *name = row_name(row);
    return KD_OK;
}

struct kd_slice
kd_policy_octets(const struct kd_policy *p)
{
    return kd_slice(p->octets, p->size);
}

void
kd_policy_free(struct kd_policy *p)
{
    free(p);
}

/* Checking a block. */

static kd_err
check_domains(const struct kd_policy *p)
{
    size_t from = 0;

    for (size_t i = 0; i < p->n_domains; i++) {
        size_t to = domain_end(p, i);
        if (to < from || to > p->names_size)
            return KD_MALFORMED;
        if (!kd_domain_is_valid(kd_policy_domain(p, i)))
            return KD_MALFORMED;
        if (i > 0 &&
            compare_octets(kd_policy_domain(p, i - 1), kd_policy_domain(p, i)) >= 0)
            return KD_MALFORMED;
        from = to;
    }
    return from == p->names_size ? KD_OK : KD_MALFORMED;
}

static kd_err
check_row(const struct kd_policy *p, const uint8_t *row)
{
    unsigned klass = row[ROW_CLASS];
    uint64_t ops = kd_be64(row + ROW_OPS);
    uint64_t everyone = kd_ops_of_class(klass, KD_OPF_EVERYONE);
    size_t name_size = row_name(row).n;

    if (klass >= KD_CLASS_COUNT)
        return KD_MALFORMED;
    if (!uid_may_have_a_row(klass, kd_be32(row + ROW_UID)))
        return KD_MALFORMED;
    if ((ops & ~kd_ops_of_class(klass, 0)) != 0 || (ops & everyone) != everyone)
        return KD_MALFORMED;
    if (!kd_principal_name_is_valid(kd_slice(row + ROW_NAME, name_size)))
        return KD_MALFORMED;
    for (size_t i = name_size; i < KD_POLICY_NAME_MAX; i++)
        if (row[ROW_NAME + i] != 0)
            return KD_MALFORMED;
    if (p->n_domains % 8 != 0 && row[p->row_size - 1] >> p->n_domains % 8 != 0)
        return KD_MALFORMED;
    return KD_OK;
}

static kd_err
check_rows(const struct kd_policy *p)
{
    for (size_t i = 0; i < p->n_rows; i++) {
        const uint8_t *row = row_at(p, i);
        if (check_row(p, row) != KD_OK)
            return KD_MALFORMED;
        if (i == 0)
            continue;
        struct kd_caller before = row_caller(row_at(p, i - 1)), is = row_caller(row);
        if (compare_callers(&before, &is) >= 0)
            return KD_MALFORMED;
    }
    return KD_OK;
}

kd_err
kd_policy_decode(struct kd_slice octets, struct kd_policy **out)
{
    struct kd_cur c = kd_cur(octets);
    kd_err err;

    unsigned version = kd_cur_u16(&c);
    size_t n_domains = kd_cur_u16(&c);
    size_t n_rows = kd_cur_u16(&c);
    size_t names_size = kd_cur_u32(&c);
    if (c.err != KD_OK || version != VERSION || n_domains > KD_POLICY_DOMAINS_MAX ||
        n_rows > KD_POLICY_ROWS_MAX || names_size > n_domains * KD_DOMAIN_MAX)
        return KD_MALFORMED;
    size_t row_size = ROW_DOMAINS + (n_domains + 7) / 8;
    /* In bounds: the counts above are small. */
    if (kd_cur_left(&c) != 4 * n_domains + names_size + n_rows * row_size)
        return KD_MALFORMED;
    struct kd_policy *p = malloc(sizeof *p + octets.n);
    if (p == NULL)
        return KD_NOMEM;
    *p = (struct kd_policy){.n_domains = n_domains,
                            .n_rows = n_rows,
                            .names_size = names_size,
                            .row_size = row_size,
                            .names_at = HEADER_SIZE + 4 * n_domains,
                            .rows_at = HEADER_SIZE + 4 * n_domains + names_size,
                            .size = octets.n};
    memcpy(p->octets, octets.p, octets.n);
    if ((err = check_domains(p)) != KD_OK || (err = check_rows(p)) != KD_OK) {
        free(p);
        return err;
    }
    *out = p;
    return KD_OK;
}

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

    return compare_octets(x->name, y->name);
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

    return compare_callers(&x, &y);
}

static void
put_domains(struct kd_buf *b, const struct sorted_domain *domains, size_t n)
{
    uint32_t end = 0;

    for (size_t i = 0; i < n; i++)
        kd_buf_u32(b, end += (uint32_t)domains[i].name.n);
    for (size_t i = 0; i < n; i++)
        kd_buf_put(b, domains[i].name);
}

/* rank: the caller's domain index -> index in the policy. */
static kd_err
put_row(struct kd_buf *b, const struct kd_policy_entry *e, const uint16_t *rank,
        size_t n_domains)
{
    if (e->klass >= KD_CLASS_COUNT || e->name.n > KD_POLICY_NAME_MAX)
        return KD_INVALID;
    kd_buf_u8(b, (uint8_t)e->klass);
    kd_buf_u32(b, e->uid);
    kd_buf_u64(b, e->ops | kd_ops_of_class(e->klass, KD_OPF_EVERYONE));
    uint8_t *name = kd_buf_add(b, KD_POLICY_NAME_MAX);
    if (name == NULL)
        return b->err;
    memset(name, 0, KD_POLICY_NAME_MAX);
    if (e->name.n > 0)
        memcpy(name, e->name.p, e->name.n);
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

static kd_err
put_policy(struct kd_buf *b, const struct sorted_domain *domains, const uint16_t *rank,
           size_t n_domains, const struct kd_policy_entry *entries, size_t n_entries)
{
    uint32_t names_size = 0;
    kd_err err;

    for (size_t i = 0; i < n_domains; i++)
        names_size += (uint32_t)domains[i].name.n;
    kd_buf_u16(b, VERSION);
    kd_buf_u16(b, (uint16_t)n_domains);
    kd_buf_u16(b, (uint16_t)n_entries);
    kd_buf_u32(b, names_size);
    put_domains(b, domains, n_domains);
    for (size_t i = 0; i < n_entries; i++)
        if ((err = put_row(b, &entries[i], rank, n_domains)) != KD_OK)
            return err;
    return b->err;
}

kd_err
kd_policy_build(const struct kd_slice *given, size_t n_domains,
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
    if ((err = put_policy(&b, domains, rank, n_domains, entries, n_entries)) != KD_OK)
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

kd_err
kd_policy_project(const struct kd_policy *p, enum kd_class klass, uint64_t ops,
                  struct kd_policy **out)
{
    struct kd_buf b;
    uint16_t n = 0;

    kd_buf_init(&b, KD_POLICY_SIZE_MAX);
    kd_buf_put(&b, kd_slice(p->octets, p->rows_at));
    for (size_t i = 0; i < p->n_rows; i++) {
        const uint8_t *row = row_at(p, i);
        uint64_t kept = ops | kd_ops_of_class(klass, KD_OPF_EVERYONE);
        if (row[ROW_CLASS] != klass)
            continue;
        uint8_t *copy = kd_buf_add(&b, p->row_size);
        if (copy == NULL)
            break;
        memcpy(copy, row, p->row_size);
        kd_put_be64(copy + ROW_OPS, kd_be64(row + ROW_OPS) & kept);
        n++;
    }
    kd_err err = b.err;
    if (err == KD_OK) {
        kd_put_be16(b.p + 4, n);
        err = kd_policy_decode(kd_buf_slice(&b), out);
    }
    kd_buf_free(&b);
    return err;
}
