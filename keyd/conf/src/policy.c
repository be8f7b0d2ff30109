#include "policy_block.h"

#include <keyd/base/cur.h>

#include <stdlib.h>

enum { LABEL_MAX = 63 };

_Static_assert(POLICY_HEADER + KD_POLICY_DOMAINS_MAX * (DOMAIN_SIZE + KD_DOMAIN_MAX) +
                       KD_POLICY_ROWS_MAX * (ROW_DOMAINS + KD_POLICY_DOMAINS_MAX / 8) +
                       KD_POLICY_KEYS_MAX * KEY_SIZE +
                       KD_POLICY_QUOTAS_MAX * QUOTA_SIZE <=
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

int
policy_compare_octets(struct kd_slice a, struct kd_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n); /* an empty one may be NULL */

    if (c != 0)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Reading a block that has been checked. */

static size_t
domain_end(const struct kd_policy *p, size_t i)
{
    return kd_be32(p->octets + POLICY_HEADER + DOMAIN_SIZE * i);
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
int
policy_compare_callers(const struct kd_caller *a, const struct kd_caller *b)
{
    if (a->klass != b->klass)
        return a->klass < b->klass ? -1 : 1;
    if (a->klass == KD_CLASS_TLS)
        return policy_compare_octets(a->name, b->name);
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
        int c = policy_compare_octets(domain, kd_policy_domain(p, middle));
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
        const uint8_t *row = policy_row(p, middle);
        struct kd_caller is = row_caller(row);
        int c = policy_compare_callers(caller, &is);
        if (c == 0)
            return row;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static size_t
row_index(const struct kd_policy *p, const uint8_t *row)
{
    return (size_t)(row - (p->octets + p->rows_at)) / p->row_size;
}

/* of_domain: the domain's index, KD_POLICY_DOMAINS_MAX for an operation about none. */
static enum kd_policy_verdict
decide(const struct kd_policy *p, const uint8_t *row, unsigned op,
       struct kd_slice domain, size_t *of_domain)
{
    size_t i;

    *of_domain = KD_POLICY_DOMAINS_MAX;
    if (row == NULL)
        return KD_POLICY_NO_PRINCIPAL;
    if (!kd_op_is_served(op, row[ROW_CLASS]))
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
    *of_domain = i;
    return KD_POLICY_ALLOWED;
}

enum kd_policy_verdict
kd_policy_explain(const struct kd_policy *p, const struct kd_caller *caller,
                  unsigned op, struct kd_slice domain)
{
    size_t of_domain;

    return decide(p, row_find(p, caller), op, domain, &of_domain);
}

bool
kd_policy_somebody_may(const struct kd_policy *p, uint64_t ops, size_t domain)
{
    if (domain >= p->n_domains)
        return false;
    for (size_t i = 0; i < p->n_rows; i++) {
        const uint8_t *row = policy_row(p, i);
        uint64_t served = kd_ops_of_class(row[ROW_CLASS], 0);
        if ((kd_be64(row + ROW_OPS) & served & ops) != 0 &&
            (row[ROW_DOMAINS + domain / 8] & 1U << domain % 8) != 0)
            return true;
    }
    return false;
}

static bool
row_has_key(const struct kd_policy *p, const uint8_t *row, unsigned role,
            const uint8_t *id)
{
    unsigned roles = kd_be16(row + ROW_ROLES);
    size_t i = row_index(p, row);

    if (roles == ROLES_ANY ||
        (role != 0 && role <= KD_POLICY_ROLES_MAX && (roles & 1U << role) != 0))
        return true;
    for (size_t k = p->row_keys[i]; id != NULL && k < p->row_keys[i + 1]; k++)
        if (memcmp(policy_key(p, k) + 2, id, KD_POLICY_KEY_ID_SIZE) == 0)
            return true;
    return false;
}

kd_err
kd_policy_check_key(const struct kd_policy *p, const struct kd_caller *caller,
                    unsigned role, const uint8_t *id)
{
    const uint8_t *row = row_find(p, caller);

    return row != NULL && row_has_key(p, row, role, id) ? KD_OK : KD_DENIED;
}

static struct kd_policy_lines
row_lines(const uint8_t *row)
{
    struct kd_policy_lines l = {.section = kd_be32(row + ROW_LINES),
                                .operations = kd_be32(row + ROW_LINES + 4),
                                .domains = kd_be32(row + ROW_LINES + 8),
                                .keys = kd_be32(row + ROW_LINES + 12)};

    memcpy(l.op, row + ROW_OP_LINES, sizeof l.op);
    return l;
}

void
kd_policy_trace(const struct kd_policy *p, const struct kd_caller *caller, unsigned op,
                struct kd_slice domain, const struct kd_policy_key *key,
                struct kd_policy_trace *out)
{
    const uint8_t *row = row_find(p, caller);
    size_t i;

    *out = (struct kd_policy_trace){.row = KD_POLICY_ROWS_MAX};
    if (kd_policy_domain_find(p, domain, &i) == KD_OK)
        out->domain_line = kd_be32(p->octets + POLICY_HEADER + DOMAIN_SIZE * i + 4);
    if (row == NULL) {
        out->verdict = KD_POLICY_NO_PRINCIPAL;
        return;
    }
    out->row = row_index(p, row);
    out->name = row_name(row);
    out->ops = kd_be64(row + ROW_OPS);
    out->any_key = kd_be16(row + ROW_ROLES) == ROLES_ANY;
    out->lines = row_lines(row);
    if (op == KD_OP_NONE)
        return;
    out->verdict = decide(p, row, op, domain, &i);
    if ((out->ops & kd_op_bit(op)) != 0 && (kd_op_flags(op) & KD_OPF_EVERYONE) == 0 &&
        out->lines.operations != 0)
        out->op_line = out->lines.operations + out->lines.op[op];
    if (out->verdict == KD_POLICY_ALLOWED && key != NULL && key->is_given &&
        !row_has_key(p, row, key->role, key->id))
        out->verdict = KD_POLICY_OTHER_KEY;
}

static void
add_matches(const struct kd_policy *p, bool of_domain, size_t from, size_t to,
            unsigned op, struct kd_quota_match *out)
{
    for (size_t i = from; i < to; i++) {
        const struct kd_quota *q = &p->quotas[i];
        if (q->op != KD_OP_NONE && q->op != op)
            continue;
        out->of[out->n].of_domain = of_domain;
        out->of[out->n].at = (uint16_t)(of_domain ? i - p->n_row_quotas : i);
        out->of[out->n++].quota = q;
    }
}

kd_err
kd_policy_decide(const struct kd_policy *p, const struct kd_caller *caller, unsigned op,
                 struct kd_slice domain, struct kd_quota_match *out)
{
    const uint8_t *row = row_find(p, caller);
    size_t i, of_domain;

    out->n = 0;
    if (decide(p, row, op, domain, &of_domain) != KD_POLICY_ALLOWED)
        return KD_DENIED;
    i = row_index(p, row);
    out->row = (uint16_t)i;
    add_matches(p, false, p->row_quotas[i], p->row_quotas[i + 1], op, out);
    if (of_domain < p->n_domains)
        add_matches(p, true, p->domain_quotas[of_domain],
                    p->domain_quotas[of_domain + 1], op, out);
    return KD_OK;
}

size_t
kd_policy_n_quotas(const struct kd_policy *p, bool of_domains)
{
    return of_domains ? p->n_quotas - p->n_row_quotas : p->n_row_quotas;
}

const struct kd_quota *
kd_policy_quota(const struct kd_policy *p, bool of_domains, size_t i)
{
    return &p->quotas[of_domains ? p->n_row_quotas + i : i];
}

struct kd_caller
kd_policy_caller_at(const struct kd_policy *p, size_t row)
{
    return row_caller(policy_row(p, row));
}

struct kd_slice
kd_policy_name_at(const struct kd_policy *p, size_t row)
{
    return row_name(policy_row(p, row));
}

size_t
kd_policy_of_class(const struct kd_policy *p, unsigned klass, size_t *first)
{
    size_t n = 0;

    *first = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        *first += policy_row(p, i)[ROW_CLASS] < klass;
        n += policy_row(p, i)[ROW_CLASS] == klass;
    }
    return n;
}

size_t
kd_policy_first_quota(const struct kd_policy *p, size_t row)
{
    return p->row_quotas[row];
}

void
kd_policy_domain_quotas(const struct kd_policy *p, size_t domain, size_t *from,
                        size_t *to)
{
    *from = p->domain_quotas[domain] - p->n_row_quotas;
    *to = p->domain_quotas[domain + 1] - p->n_row_quotas;
}

kd_err
kd_policy_find(const struct kd_policy *p, struct kd_slice name, struct kd_caller *out)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (kd_slice_eq(kd_policy_name_at(p, i), name)) {
            *out = kd_policy_caller_at(p, i);
            return KD_OK;
        }
    return KD_NOT_FOUND;
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
        [KD_POLICY_OTHER_KEY] = "not among the principal's keys",
    };

    return texts[verdict];
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
    if (p != NULL)
        free(p->quotas);
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
        if (i > 0 && policy_compare_octets(kd_policy_domain(p, i - 1),
                                           kd_policy_domain(p, i)) >= 0)
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
    unsigned roles = kd_be16(row + ROW_ROLES);
    if (roles != ROLES_ANY && (roles & (ROLES_ANY | 1)) != 0)
        return KD_MALFORMED;
    if (p->n_domains % 8 != 0 && row[p->row_size - 1] >> p->n_domains % 8 != 0)
        return KD_MALFORMED;
    return KD_OK;
}

static kd_err
check_rows(const struct kd_policy *p)
{
    for (size_t i = 0; i < p->n_rows; i++) {
        const uint8_t *row = policy_row(p, i);
        if (check_row(p, row) != KD_OK)
            return KD_MALFORMED;
        if (i == 0)
            continue;
        struct kd_caller before = row_caller(policy_row(p, i - 1)),
                         is = row_caller(row);
        if (policy_compare_callers(&before, &is) >= 0)
            return KD_MALFORMED;
    }
    return KD_OK;
}

/* Key ids: of rows that there are and that are not open to any key, in order. */
static kd_err
check_keys(struct kd_policy *p)
{
    size_t at = 0;

    for (size_t i = 0; i < p->n_keys; i++) {
        const uint8_t *key = policy_key(p, i);
        size_t row = kd_be16(key);
        if (row >= p->n_rows || kd_be16(policy_row(p, row) + ROW_ROLES) == ROLES_ANY)
            return KD_MALFORMED;
        if (i > 0 && memcmp(policy_key(p, i - 1), key, KEY_SIZE) >= 0)
            return KD_MALFORMED;
        while (at <= row)
            p->row_keys[at++] = (uint16_t)i;
    }
    while (at <= p->n_rows)
        p->row_keys[at++] = (uint16_t)p->n_keys;
    return KD_OK;
}

/* One line; its place in the order is the caller's to check. */
static kd_err
take_quota(struct kd_policy *p, const uint8_t *octets, struct kd_quota *q)
{
    bool of_domain = octets[0] == 1;
    size_t index = kd_be16(octets + 1);

    *q = (struct kd_quota){
        .op = octets[3],
        .rate = {kd_be32(octets + 4), kd_be16(octets + 8), kd_be32(octets + 10)},
        .in_flight = kd_be32(octets + 14),
        .line = kd_be32(octets + 18)};
    if (octets[0] > 1 || index >= (of_domain ? p->n_domains : p->n_rows) ||
        !kd_quota_is_valid(q))
        return KD_MALFORMED;
    p->n_row_quotas += !of_domain;
    return KD_OK;
}

/* Where the lines of each row or domain begin. */
static void
index_quotas(const struct kd_policy *p, uint8_t kind, size_t n, uint16_t *first)
{
    size_t i = kind == 0 ? 0 : p->n_row_quotas;

    for (size_t at = 0; at <= n; at++) {
        while (i < p->n_quotas && policy_quota_octets(p, i)[0] == kind &&
               kd_be16(policy_quota_octets(p, i) + 1) < at)
            i++;
        first[at] = (uint16_t)i;
    }
}

static kd_err
check_quotas(struct kd_policy *p)
{
    enum { ORDER = 4, OWNER = 3 };
    size_t own = 0;

    if ((p->quotas = calloc(p->n_quotas + 1, sizeof *p->quotas)) == NULL)
        return KD_NOMEM;
    for (size_t i = 0; i < p->n_quotas; i++) {
        const uint8_t *octets = policy_quota_octets(p, i);
        if (take_quota(p, octets, &p->quotas[i]) != KD_OK)
            return KD_MALFORMED;
        if (i > 0 && memcmp(octets - QUOTA_SIZE, octets, ORDER) >= 0)
            return KD_MALFORMED;
        own = i > 0 && memcmp(octets - QUOTA_SIZE, octets, OWNER) == 0 ? own + 1 : 1;
        if (own > KD_POLICY_OWN_QUOTAS_MAX)
            return KD_MALFORMED;
    }
    index_quotas(p, 0, p->n_rows, p->row_quotas);
    index_quotas(p, 1, p->n_domains, p->domain_quotas);
    return KD_OK;
}

/* The counts of the header, held to their limits and to the size. */
static kd_err
take_header(struct kd_slice octets, struct kd_policy *p)
{
    struct kd_cur c = kd_cur(octets);

    unsigned version = kd_cur_u16(&c);
    p->n_domains = kd_cur_u16(&c);
    p->n_rows = kd_cur_u16(&c);
    p->names_size = kd_cur_u32(&c);
    p->n_keys = kd_cur_u16(&c);
    p->n_quotas = kd_cur_u16(&c);
    if (c.err != KD_OK || version != POLICY_VERSION ||
        p->n_domains > KD_POLICY_DOMAINS_MAX || p->n_rows > KD_POLICY_ROWS_MAX ||
        p->n_keys > KD_POLICY_KEYS_MAX || p->n_quotas > KD_POLICY_QUOTAS_MAX ||
        p->names_size > p->n_domains * KD_DOMAIN_MAX)
        return KD_MALFORMED;
    p->row_size = ROW_DOMAINS + (p->n_domains + 7) / 8;
    p->names_at = POLICY_HEADER + DOMAIN_SIZE * p->n_domains;
    p->rows_at = p->names_at + p->names_size;
    p->keys_at = p->rows_at + p->n_rows * p->row_size;
    p->quotas_at = p->keys_at + p->n_keys * KEY_SIZE;
    p->size = p->quotas_at + p->n_quotas * QUOTA_SIZE;
    return p->size == octets.n ? KD_OK : KD_MALFORMED;
}

kd_err
kd_policy_decode(struct kd_slice octets, struct kd_policy **out)
{
    struct kd_policy head = {0};
    kd_err err = take_header(octets, &head);

    if (err != KD_OK)
        return err;
    struct kd_policy *p = malloc(sizeof *p + octets.n);
    if (p == NULL)
        return KD_NOMEM;
    *p = head;
    memcpy(p->octets, octets.p, octets.n);
    if ((err = check_domains(p)) != KD_OK || (err = check_rows(p)) != KD_OK ||
        (err = check_keys(p)) != KD_OK || (err = check_quotas(p)) != KD_OK) {
        kd_policy_free(p);
        return err;
    }
    *out = p;
    return KD_OK;
}
