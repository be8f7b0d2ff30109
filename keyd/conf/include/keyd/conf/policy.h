/* Who may ask for what, with which keys, and how much of it: caller -> operations,
 * domains, keys, quotas. Default deny. A caller on a unix listener is known by {class,
 * uid}, a remote one (class tls) by its principal's name, which the gate found by its
 * certificate.
 *
 * A policy is one block of octets without pointers, which is also its serialised form:
 * what the supervisor built is what the vault reads, after checking all of it.
 *
 *   u16 version (2)   u16 n_domains   u16 n_rows   u32 size of names   u16 n_keys
 *   u16 n_quotas
 *   n_domains x { u32 end of the domain in names, u32 line of its section }
 *   names             domains, one after the other, in strictly ascending octet order
 *   n_rows x          a principal, in strictly ascending order of (class, uid, and of
 *                     class tls, where the uid is -1, the name):
 *                     u8 class, u32 uid, u64 operations (bit = number), name in 32
 *                     octets padded with zeros, u16 key roles (bit = role; bit 15
 *                     alone: any key), lines of keyd.conf (u32 section, operations,
 *                     domains, keys; for each operation u8 how far below "operations",
 *                     255 for that and more), domains allowed as (n_domains + 7) / 8
 *                     octets (domain i: bit i % 8 of octet i / 8)
 *   n_keys x          { u16 row, id }, in strictly ascending order
 *   n_quotas x        { u8 0 of a row, 1 of a domain, u16 its index, u8 operation (0:
 *                     every one), u32 n, u16 seconds, u32 burst, u32 in flight, u32
 *                     line }, in strictly ascending order of the first three
 *
 * Lines are 0 where there is no text behind; they explain and decide nothing.
 *
 * Not in it, whatever the configuration says: uid 65534 (which the kernel shows for
 * users it cannot map) and, but for class tls, uid -1. Uid 0 has what its row says,
 * like any other. */
#ifndef KEYD_CONF_POLICY_H
#define KEYD_CONF_POLICY_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>
#include <keyd/conf/quota.h>
#include <keyd/ops/ops.h>

enum {
    KD_POLICY_DOMAINS_MAX = 1024,
    KD_POLICY_ROWS_MAX = 256,
    KD_POLICY_NAME_MAX = 32,   /* of a principal */
    KD_POLICY_KEYS_MAX = 1024, /* key ids of all principals */
    KD_POLICY_KEY_ID_SIZE = 16,
    KD_POLICY_ROLES_MAX = 14,      /* a key's role is 1 to this */
    KD_POLICY_QUOTAS_MAX = 4096,   /* lines of all principals and domains */
    KD_POLICY_OWN_QUOTAS_MAX = 16, /* of one of them */
    KD_DOMAIN_MAX = 253,           /* octets of a domain */
    KD_REMOTE_MAX = 255,           /* of what a certificate names */
    KD_PIN_SIZE = 32,              /* of a public key's SHA-256 */
    KD_POLICY_SIZE_MAX = 512 * 1024
};

#define KD_UID_OVERFLOW UINT32_C(65534)
#define KD_UID_NONE UINT32_MAX

struct kd_policy;

/* Who asks. */
struct kd_caller {
    unsigned klass;       /* enum kd_class, as the channel says */
    uint32_t uid;         /* KD_UID_NONE of class tls */
    struct kd_slice name; /* of class tls the principal's, else empty; borrowed */
};

static inline struct kd_caller
kd_caller_local(unsigned klass, uint32_t uid)
{
    return (struct kd_caller){.klass = klass, .uid = uid};
}

static inline struct kd_caller
kd_caller_remote(struct kd_slice name)
{
    return (struct kd_caller){.klass = KD_CLASS_TLS, .uid = KD_UID_NONE, .name = name};
}

/* Where in keyd.conf something stands; all 0 for what is not from there. */
struct kd_policy_lines {
    uint32_t section;
    uint32_t operations, domains, keys; /* the list's key; 0: not given */
    uint8_t op[KD_OP_MAX + 1]; /* lines below that of operations, at most 255 */
};

/* One principal, for building. */
struct kd_policy_entry {
    struct kd_slice name; /* [a-z0-9] then [a-z0-9._-], at most KD_POLICY_NAME_MAX */
    enum kd_class klass;
    uint32_t uid;            /* KD_UID_NONE of class tls */
    uint64_t ops;            /* those of every principal are added by themselves */
    const uint16_t *domains; /* indices into the domains given beside */
    size_t n_domains;
    bool has_keys;      /* else any key */
    uint16_t key_roles; /* bit = role */
    const uint8_t (*key_ids)[KD_POLICY_KEY_ID_SIZE];
    size_t n_key_ids;
    const struct kd_quota *quotas; /* each operation at most once */
    size_t n_quotas;
    struct kd_policy_lines lines;
};

/* What a domain has besides its name. */
struct kd_policy_domain_entry {
    const struct kd_quota *quotas;
    size_t n_quotas;
    uint32_t line;
};

/* Lower-case letters, digits and hyphens in labels of 1 to 63 octets, at most
 * KD_DOMAIN_MAX in all, no trailing dot, the last label not all digits (D-052). */
bool kd_domain_is_valid(struct kd_slice domain);

/* [a-z0-9] then [a-z0-9._-], at most KD_POLICY_NAME_MAX. */
bool kd_principal_name_is_valid(struct kd_slice name);

/* What a remote principal's certificate names: a dNSName, which is a valid domain, or
 * "uri:" and a URI of printable ASCII with a scheme. */
bool kd_remote_name_is_valid(struct kd_slice name);

/* In any order. with: for each domain; NULL for nothing. KD_INVALID for a bad domain,
 * name, uid, class, key role, quota or operation of another class; KD_CONFLICT for a
 * domain twice, a {class, uid} twice, a remote principal's name twice, a key id or an
 * operation's quota twice in one place; KD_TOO_LARGE. */
kd_err kd_policy_build(const struct kd_slice *domains, size_t n_domains,
                       const struct kd_policy_domain_entry *with,
                       const struct kd_policy_entry *entries, size_t n_entries,
                       struct kd_policy **out) KD_MUST_USE;

void kd_policy_free(struct kd_policy *policy); /* accepts NULL */

/* The decision. domain: what the operation is about; empty where it is about none, and
 * not looked at for operations without KD_OPF_DOMAIN. KD_OK or KD_DENIED. */
kd_err kd_policy_check(const struct kd_policy *policy, const struct kd_caller *caller,
                       unsigned op, struct kd_slice domain) KD_MUST_USE;

/* The same with the reason, for operators; never told to the client. */
enum kd_policy_verdict {
    KD_POLICY_ALLOWED,
    KD_POLICY_NO_PRINCIPAL,  /* nobody of that class and uid, or name */
    KD_POLICY_NOT_SERVED,    /* no operation, or not of that class */
    KD_POLICY_NOT_PERMITTED, /* the principal's operations lack it */
    KD_POLICY_NO_DOMAIN,     /* it needs a domain, none was given */
    KD_POLICY_OTHER_DOMAIN,  /* not served, or not among the principal's */
    KD_POLICY_OTHER_KEY      /* the principal's keys lack it */
};
enum kd_policy_verdict kd_policy_explain(const struct kd_policy *policy,
                                         const struct kd_caller *caller, unsigned op,
                                         struct kd_slice domain);
const char *kd_policy_verdict_text(enum kd_policy_verdict verdict);

/* True if there is a principal that may ask for one of the operations (bits) in the
 * domain of that index; of keys nothing is asked. */
bool kd_policy_somebody_may(const struct kd_policy *policy, uint64_t ops,
                            size_t domain);

/* May the caller have this key used? role: a number of <keyd/token/roles.def>, 0 where
 * it is not known; id: KD_POLICY_KEY_ID_SIZE octets, NULL where the key has none yet.
 * KD_OK or KD_DENIED. Asked by who chooses the key, beside kd_policy_check. */
kd_err kd_policy_check_key(const struct kd_policy *policy,
                           const struct kd_caller *caller, unsigned role,
                           const uint8_t *id) KD_MUST_USE;

/* Both decisions, and where they stand written. With an operation of 0: whether there
 * is such a principal. */
struct kd_policy_trace {
    enum kd_policy_verdict verdict;
    size_t row;           /* the rest is of it; KD_POLICY_ROWS_MAX: no principal */
    struct kd_slice name; /* borrowed */
    uint64_t ops;
    bool any_key;
    struct kd_policy_lines lines;
    uint32_t op_line;     /* where the operation is listed; 0: of everyone, or not */
    uint32_t domain_line; /* the domain's section; 0: not served */
};
struct kd_policy_key {
    bool is_given;
    unsigned role;
    const uint8_t *id;
};
void kd_policy_trace(const struct kd_policy *policy, const struct kd_caller *caller,
                     unsigned op, struct kd_slice domain,
                     const struct kd_policy_key *key, struct kd_policy_trace *out);

/* The quotas that count for an operation: of the row its own line and that of every
 * operation, of the domain the same. at: its index among the lines of rows, or of
 * domains. Borrowed. */
enum { KD_QUOTA_MATCHES_MAX = 4 };
struct kd_quota_match {
    uint8_t n;
    uint16_t row; /* of the caller */
    struct {
        bool of_domain;
        uint16_t at;
        const struct kd_quota *quota;
    } of[KD_QUOTA_MATCHES_MAX];
};

/* kd_policy_check, and in what the operation counts (nothing if it is denied): who
 * decides what is done asks both at once. */
kd_err kd_policy_decide(const struct kd_policy *policy, const struct kd_caller *caller,
                        unsigned op, struct kd_slice domain,
                        struct kd_quota_match *out) KD_MUST_USE;

/* All lines, those of rows or those of domains, in the policy's order. */
size_t kd_policy_n_quotas(const struct kd_policy *policy, bool of_domains);
const struct kd_quota *kd_policy_quota(const struct kd_policy *policy, bool of_domains,
                                       size_t i);

/* Rows, in the policy's order. caller_at: its name is borrowed. of_class: the first of
 * the class, and how many; first_quota: index of its first line among those of rows, of
 * the number of rows: how many lines there are. */
struct kd_caller kd_policy_caller_at(const struct kd_policy *policy, size_t row);
struct kd_slice kd_policy_name_at(const struct kd_policy *policy, size_t row);
size_t kd_policy_of_class(const struct kd_policy *policy, unsigned klass,
                          size_t *first);
size_t kd_policy_first_quota(const struct kd_policy *policy, size_t row);

/* The lines of a domain, from to before to, among those of domains. */
void kd_policy_domain_quotas(const struct kd_policy *policy, size_t domain,
                             size_t *from, size_t *to);

/* The principal of that name: names are unique in a configuration. KD_NOT_FOUND. */
kd_err kd_policy_find(const struct kd_policy *policy, struct kd_slice name,
                      struct kd_caller *out) KD_MUST_USE;

/* The principal's name, borrowed from the policy; KD_NOT_FOUND means that it may not
 * even connect. */
kd_err kd_policy_name(const struct kd_policy *policy, const struct kd_caller *caller,
                      struct kd_slice *name) KD_MUST_USE;

/* Domains served, in ascending order; borrowed. find: KD_NOT_FOUND or the index. */
size_t kd_policy_n_domains(const struct kd_policy *policy);
struct kd_slice kd_policy_domain(const struct kd_policy *policy, size_t i);
kd_err kd_policy_domain_find(const struct kd_policy *policy, struct kd_slice domain,
                             size_t *i) KD_MUST_USE;
size_t kd_policy_n_rows(const struct kd_policy *policy);

/* What one class needs to know: its rows, with no operations but those in ops (and
 * those of every principal), their quotas and those of all domains; no keys. The lines
 * of its rows are then numbered from 0. */
kd_err kd_policy_project(const struct kd_policy *policy, enum kd_class klass,
                         uint64_t ops, struct kd_policy **out) KD_MUST_USE;

/* The octets above, borrowed; and back, with every rule checked. KD_MALFORMED. */
struct kd_slice kd_policy_octets(const struct kd_policy *policy);
kd_err kd_policy_decode(struct kd_slice octets, struct kd_policy **out) KD_MUST_USE;

#endif
