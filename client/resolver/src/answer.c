#include "answer.h"

#include <stdlib.h>

struct answer {
    struct dime_answer is; /* first */
    atomic_uint refs;
    struct domain *domain;
};

static const struct {
    const char *word;
    bool is_temporary;
} outcomes[DIME_OUTCOMES] = {
#define OUTCOME(code, word, is_temporary) [DIME_IS_##code] = {word, is_temporary},
#include "outcomes.def"
#undef OUTCOME
};

const char *
dime_outcome_name(enum dime_outcome outcome)
{
    return (unsigned)outcome < DIME_OUTCOMES ? outcomes[outcome].word : "?";
}

bool
dime_outcome_is_temporary(enum dime_outcome outcome)
{
    return (unsigned)outcome < DIME_OUTCOMES && outcomes[outcome].is_temporary;
}

/* --- domains --- */

struct domain *
domain_new(const char *name, const struct dime_mrec *record, struct kd_slice org)
{
    struct domain *d = calloc(1, sizeof *d + org.n);

    if (d == NULL || strlen(name) >= sizeof d->name) {
        free(d);
        return NULL;
    }
    atomic_init(&d->refs, 1);
    memcpy(d->name, name, strlen(name) + 1);
    d->record = *record;
    d->n_org = org.n;
    if (org.n != 0)
        memcpy(d->org, org.p, org.n);
    return d;
}

struct domain *
domain_ref(struct domain *d)
{
    if (d != NULL)
        atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void
domain_free(struct domain *d)
{
    if (d != NULL && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        free(d);
}

/* --- answers --- */

/* Everything lies in one block, behind the answer: from an offset on that only grows.
 */
struct block {
    uint8_t *p;
    size_t at;
};

static struct kd_slice
put(struct block *b, const void *octets, size_t n)
{
    uint8_t *to = b->p + b->at;

    if (n != 0)
        memcpy(to, octets, n);
    b->at += n;
    return kd_slice(n == 0 ? NULL : to, n);
}

static const char *
put_text(struct block *b, const char *text)
{
    const char *t = text == NULL ? "" : text;

    return (const char *)put(b, t, strlen(t) + 1).p;
}

static size_t
text_size(const char *text)
{
    return text == NULL ? 1 : strlen(text) + 1;
}

static size_t
size_of(const struct answer_parts *parts)
{
    size_t n = text_size(parts->name) + parts->user_signet.n;

    for (size_t i = 0; i < steps_n(parts->steps); i++)
        n += text_size(steps_get(parts->steps, i)->text);
    return n;
}

static void
fill(struct dime_answer *is, const struct answer_parts *parts, struct dime_step *steps,
     struct block *b)
{
    is->outcome = parts->outcome;
    is->domain = "";
    if (parts->domain != NULL) {
        const struct domain *d = parts->domain;
        is->domain = d->name;
        is->record = &d->record;
        is->is_secure = d->is_secure;
        is->is_kept = d->is_kept;
        is->record_until = d->record_until;
        is->org_signet = kd_slice(d->n_org == 0 ? NULL : d->org, d->n_org);
    }
    is->fresh_until = parts->fresh_until;
    if (parts->known != NULL)
        memcpy(is->known, parts->known, sizeof is->known);
    if (parts->found != NULL)
        memcpy(is->found, parts->found, sizeof is->found);
    is->user_signet = put(b, parts->user_signet.p, parts->user_signet.n);
    is->name = put_text(b, parts->name);
    is->n_steps = steps_n(parts->steps);
    is->n_steps_lost = steps_lost(parts->steps);
    is->steps = steps;
    for (size_t i = 0; i < is->n_steps; i++) {
        const struct step *s = steps_get(parts->steps, i);
        steps[i] = (struct dime_step){step_word(s->code), put_text(b, s->text),
                                      (unsigned)s->weight};
    }
}

const struct dime_answer *
answer_new(const struct answer_parts *parts)
{
    size_t n_steps = steps_n(parts->steps);
    size_t head = sizeof(struct answer) + n_steps * sizeof(struct dime_step);
    struct answer *a = calloc(1, head + size_of(parts));

    if (a == NULL)
        return NULL;
    struct block b = {(uint8_t *)a, head};
    fill(&a->is, parts, (struct dime_step *)(a + 1), &b);
    a->domain = domain_ref(parts->domain);
    atomic_init(&a->refs, 1);
    return &a->is;
}

/* The count is the one thing in an answer that changes. */
static struct answer *
whole(const struct dime_answer *answer)
{
    return (struct answer *)(uintptr_t)answer;
}

const struct dime_answer *
answer_ref(const struct dime_answer *answer)
{
    if (answer != NULL)
        atomic_fetch_add_explicit(&whole(answer)->refs, 1, memory_order_relaxed);
    return answer;
}

void
dime_answer_free(const struct dime_answer *answer)
{
    struct answer *a = whole(answer);

    if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    domain_free(a->domain);
    free(a);
}
