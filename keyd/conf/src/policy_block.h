/* The octets of a policy (policy.h), for those who read and write them. */
#ifndef KEYD_CONF_SRC_POLICY_BLOCK_H
#define KEYD_CONF_SRC_POLICY_BLOCK_H

#include <keyd/base/be.h>
#include <keyd/conf/policy.h>

enum {
    POLICY_VERSION = 2,
    POLICY_HEADER = 2 + 2 + 2 + 4 + 2 + 2,
    POLICY_N_ROWS_AT = 4, /* the counts that projecting writes anew */
    POLICY_N_KEYS_AT = 10,
    POLICY_N_QUOTAS_AT = 12,
    DOMAIN_SIZE = 4 + 4,
    DOMAIN_LINE = 4,
    ROW_CLASS = 0,
    ROW_UID = 1,
    ROW_OPS = 5,
    ROW_NAME = 13,
    ROW_ROLES = ROW_NAME + KD_POLICY_NAME_MAX,
    ROW_LINES = ROW_ROLES + 2, /* section, operations, domains, keys */
    ROW_OP_LINES = ROW_LINES + 4 * 4,
    ROW_DOMAINS = ROW_OP_LINES + KD_OP_MAX + 1,
    KEY_SIZE = 2 + KD_POLICY_KEY_ID_SIZE,
    QUOTA_SIZE = 1 + 2 + 1 + 4 + 2 + 4 + 4 + 4,
    ROLES_ANY = 1 << 15
};

/* The octets, and where the parts of them lie. */
struct kd_policy {
    size_t n_domains, n_rows, n_keys, n_quotas;
    size_t names_size, row_size;
    size_t names_at, rows_at, keys_at, quotas_at;
    size_t size;
    size_t n_row_quotas; /* those of domains follow */
    uint16_t
        row_keys[KD_POLICY_ROWS_MAX + 1]; /* first of each row; the last: the end */
    uint16_t row_quotas[KD_POLICY_ROWS_MAX + 1];
    uint16_t domain_quotas[KD_POLICY_DOMAINS_MAX + 1];
    struct kd_quota *quotas; /* owned */
    uint8_t octets[];
};

static inline const uint8_t *
policy_row(const struct kd_policy *p, size_t i)
{
    return p->octets + p->rows_at + i * p->row_size;
}

static inline const uint8_t *
policy_key(const struct kd_policy *p, size_t i)
{
    return p->octets + p->keys_at + i * KEY_SIZE;
}

static inline const uint8_t *
policy_quota_octets(const struct kd_policy *p, size_t i)
{
    return p->octets + p->quotas_at + i * QUOTA_SIZE;
}

/* The order of domains, and that of rows. */
int policy_compare_octets(struct kd_slice a, struct kd_slice b);
int policy_compare_callers(const struct kd_caller *a, const struct kd_caller *b);

#endif
