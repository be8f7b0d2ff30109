/* An answer and all that it points to, counted. */
#ifndef DIME_RESOLVER_ANSWER_H
#define DIME_RESOLVER_ANSWER_H

#include "steps.h"

#include <dime/resolver.h>

#include <stdatomic.h>

/* What is known of a domain, shared by the answers about its addresses. */
struct domain {
    atomic_uint refs;
    char name[DIME_MREC_HOST_MAX + 1];
    struct dime_mrec record;
    bool is_secure, is_kept;
    int64_t record_until;
    size_t n_org; /* octets of its signet; 0: none */
    uint8_t org[];
};

/* A copy with one reference; NULL without memory. org may be empty. */
struct domain *domain_new(const char *name, const struct dime_mrec *record,
                          struct kd_slice org);
struct domain *domain_ref(struct domain *d);
void domain_free(struct domain *d);

/* What an answer is made of; copied, but for the domain, of which it takes a
 * reference. */
struct answer_parts {
    enum dime_outcome outcome;
    const char *name;      /* NULL: empty */
    struct domain *domain; /* NULL: none */
    int64_t fresh_until;
    struct kd_slice user_signet;
    const uint8_t *known, *found; /* NULL: none */
    const struct steps *steps;
};

/* With one reference; NULL without memory. */
const struct dime_answer *answer_new(const struct answer_parts *parts);

/* Another reference. */
const struct dime_answer *answer_ref(const struct dime_answer *answer);

#endif
