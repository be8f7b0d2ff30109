/* Who may ask for what: caller -> operations, domains. Default deny. A caller on a unix
 * listener is known by {class, uid}, a remote one (class tls) by its principal's name,
 * which the gate found by its certificate.
 *
 * A policy is one block of octets without pointers, which is also its serialised form:
 * what the supervisor built is what the vault reads, after checking all of it.
 *
 *   u16 version (1)   u16 n_domains   u16 n_rows   u32 size of names
 *   n_domains x u32   end of the domain in names
 *   names             domains, one after the other, in strictly ascending octet order
 *   n_rows x          u8 class, u32 uid, u64 operations (bit = number), principal's
 * name in 32 octets padded with zeros, domains allowed as (n_domains + 7) / 8 octets
 * (domain i: bit i % 8 of octet i / 8); in strictly ascending order of (class, uid, and
 * of class tls, where the uid is -1, the name)
 *
 * Not in it, whatever the configuration says: uid 65534 (which the kernel shows for
 * users it cannot map) and, but for class tls, uid -1. Uid 0 has what its row says,
 * like any other. */
#ifndef KEYD_CONF_POLICY_H
#define KEYD_CONF_POLICY_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>
#include <keyd/ops/ops.h>

enum {
    KD_POLICY_DOMAINS_MAX = 1024,
    KD_POLICY_ROWS_MAX = 256,
    KD_POLICY_NAME_MAX = 32, /* of a principal */
    KD_DOMAIN_MAX = 253,     /* octets of a domain */
    KD_REMOTE_MAX = 255,     /* of what a certificate names */
    KD_PIN_SIZE = 32,        /* of a public key's SHA-256 */
    KD_POLICY_SIZE_MAX = 320 * 1024
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

/* One principal, for building. */
struct kd_policy_entry {
    struct kd_slice name; /* [a-z0-9] then [a-z0-9._-], at most KD_POLICY_NAME_MAX */
    enum kd_class klass;
    uint32_t uid;            /* KD_UID_NONE of class tls */
    uint64_t ops;            /* those of every principal are added by themselves */
    const uint16_t *domains; /* indices into the domains given beside */
    size_t n_domains;
};

/* Lower-case letters, digits and hyphens in labels of 1 to 63 octets, at most
 * KD_DOMAIN_MAX in all, no trailing dot, the last label not all digits (D-052). */
bool kd_domain_is_valid(struct kd_slice domain);

/* [a-z0-9] then [a-z0-9._-], at most KD_POLICY_NAME_MAX. */
bool kd_principal_name_is_valid(struct kd_slice name);

/* What a remote principal's certificate names: a dNSName, which is a valid domain, or
 * "uri:" and a URI of printable ASCII with a scheme. */
bool kd_remote_name_is_valid(struct kd_slice name);

/* In any order. KD_INVALID for a bad domain, name, uid, class or operation of another
 * class; KD_CONFLICT for a domain twice, a {class, uid} twice or a remote principal's
 * name twice; KD_TOO_LARGE. */
kd_err kd_policy_build(const struct kd_slice *domains, size_t n_domains,
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
    KD_POLICY_OTHER_DOMAIN   /* not served, or not among the principal's */
};
enum kd_policy_verdict kd_policy_explain(const struct kd_policy *policy,
                                         const struct kd_caller *caller, unsigned op,
                                         struct kd_slice domain);
const char *kd_policy_verdict_text(enum kd_policy_verdict verdict);

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
 * those of every principal). */
kd_err kd_policy_project(const struct kd_policy *policy, enum kd_class klass,
                         uint64_t ops, struct kd_policy **out) KD_MUST_USE;

/* The octets above, borrowed; and back, with every rule checked. KD_MALFORMED. */
struct kd_slice kd_policy_octets(const struct kd_policy *policy);
kd_err kd_policy_decode(struct kd_slice octets, struct kd_policy **out) KD_MUST_USE;

#endif
