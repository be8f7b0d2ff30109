/* What a configuration may say and hardly means (kd_conf_lint). */
#include "problems.h"

/* In flight of one gate at its vault, whatever is configured (vault/task.h). */
enum { IN_FLIGHT_OF_GATE = 3072 };

enum {
#define KD_ROLE(code, number, name, algs, allowed, needed, domain, text)               \
    code = (number),
#include <keyd/token/roles.def>
#undef KD_ROLE
};

static bool
has_op(const struct kd_conf_principal *p, unsigned op)
{
    return (p->ops & kd_op_bit(op)) != 0;
}

static bool
serves(const struct kd_conf_principal *p, size_t domain)
{
    for (size_t i = 0; i < p->n_domains; i++)
        if (p->domains[i] == domain)
            return true;
    return false;
}

/* Operations of the principal that carry one of the flags; 0: those it lists. */
static uint64_t
ops_with(const struct kd_conf_principal *p, unsigned flags)
{
    uint64_t listed = p->ops & ~kd_ops_of_class(p->klass, KD_OPF_EVERYONE);

    return flags == 0 ? listed : listed & kd_ops_of_class(p->klass, flags);
}

/* Principals. */

static void
lint_rights(const struct kd_conf_principal *p, struct kd_conf_problems *problems)
{
    if (ops_with(p, 0) == 0)
        kd_conf_warn(problems, p->lines.section,
                     "principal \"%s\": lists no operation: it can ask for Status and "
                     "PublicKeys only",
                     p->name);
    if (p->keys.is_given && ops_with(p, KD_OPF_KEY) == 0)
        kd_conf_warn(problems, p->lines.keys,
                     "keys: no operation of principal \"%s\" uses a key", p->name);
    else if (p->keys.is_given && p->keys.roles == 0 && p->keys.n == 0)
        kd_conf_warn(
            problems, p->lines.keys,
            "keys: principal \"%s\" may use none: its operations with keys are "
            "all refused",
            p->name);
}

/* What an operation cannot do without: a key of a role, whatever the domain. */
static const struct {
    unsigned flag, role;
} needs[] = {{KD_OPF_POK, KD_KEY_ROLE_POK},
             {KD_OPF_SOK, KD_KEY_ROLE_SOK},
             {KD_OPF_ENC, KD_KEY_ROLE_ENC}};

static const char *
role_name(unsigned role)
{
    switch (role) {
#define KD_ROLE(code, number, name, algs, allowed, needed, domain, text)               \
    case code:                                                                         \
        return name;
#include <keyd/token/roles.def>
#undef KD_ROLE
    default:
        return NULL;
    }
}

static bool
has_role(const struct kd_conf_principal *p, unsigned role)
{
    return (p->keys.roles & 1U << role) != 0;
}

/* The first domain whose messages are signed by a key that the principal may not have
 * used. */
static void
lint_signer(const struct kd_conf *c, const struct kd_conf_principal *p, unsigned op,
            struct kd_conf_problems *problems)
{
    for (size_t i = 0; i < p->n_domains; i++) {
        const struct kd_conf_domain *d = &c->domains[p->domains[i]];
        unsigned signer = d->rules.message_signer == KD_MESSAGE_SIGNER_POK
                              ? KD_KEY_ROLE_POK
                              : KD_KEY_ROLE_SOK;
        if (has_role(p, signer))
            continue;
        kd_conf_warn(problems, p->lines.keys,
                     "keys: without \"%s\", the message-signer, every %s of principal "
                     "\"%s\" is refused for domain \"%s\"",
                     role_name(signer), kd_op_name(op), p->name, d->name);
        return;
    }
}

/* A list of roles that an operation cannot work with. Of ids in it nobody knows here
 * what keys they are. */
static void
lint_keys(const struct kd_conf *c, const struct kd_conf_principal *p,
          struct kd_conf_problems *problems)
{
    if (!p->keys.is_given || p->keys.n != 0 || p->keys.roles == 0)
        return;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!has_op(p, op))
            continue;
        for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
            if ((kd_op_flags(op) & needs[i].flag) != 0 && !has_role(p, needs[i].role))
                kd_conf_warn(problems, p->lines.keys,
                             "keys: without \"%s\" every %s of principal \"%s\" is "
                             "refused",
                             role_name(needs[i].role), kd_op_name(op), p->name);
        if ((kd_op_flags(op) & KD_OPF_SIGNER) != 0)
            lint_signer(c, p, op, problems);
    }
}

static bool
same_caller(const struct kd_conf_principal *a, const struct kd_conf_principal *b)
{
    return a->klass != KD_CLASS_TLS && b->klass != KD_CLASS_TLS && a->uid == b->uid;
}

/* Said once, at the later of the two; an operator's rights for a front-end weigh more.
 */
static void
lint_pair(const struct kd_conf_principal *p, const struct kd_conf_principal *other,
          struct kd_conf_problems *problems)
{
    bool admin = p->klass == KD_CLASS_ADMIN || other->klass == KD_CLASS_ADMIN;
    const struct kd_conf_principal *front = p->klass == KD_CLASS_ADMIN ? other : p;

    if (!same_caller(p, other))
        return;
    if (admin)
        kd_conf_warn(problems, p->lines.section,
                     "principal \"%s\": the uid %u of front-end \"%s\" has admin "
                     "rights: who captures the front-end is an operator",
                     p->name, p->uid, front->name);
    else
        kd_conf_warn(problems, p->lines.section,
                     "principal \"%s\": has the uid %u of principal \"%s\" (class %s): "
                     "who captures one program has the rights of both",
                     p->name, p->uid, other->name, kd_class_name(other->klass));
}

static void
lint_operators(const struct kd_conf *c, struct kd_conf_problems *problems)
{
    const struct kd_conf_principal *second = NULL;
    size_t n = 0;

    for (size_t i = 0; i < c->n_principals; i++) {
        const struct kd_conf_principal *p = &c->principals[i];
        if (p->klass != KD_CLASS_ADMIN || ops_with(p, KD_OPF_CHANGES) == 0)
            continue;
        if (++n == 2)
            second = p;
    }
    if (c->single_operator && n > 1)
        kd_conf_warn(problems, second->lines.section,
                     "single-operator, and %zu admin principals may change keys: each "
                     "of them can do alone what a quorum would have to",
                     n);
}

/* Quotas. */

static const struct kd_quota *
rate_for(const struct kd_conf_quotas *quotas, unsigned op)
{
    for (size_t i = 0; i < quotas->n; i++)
        if ((quotas->list[i].op == op || quotas->list[i].op == KD_OP_NONE) &&
            quotas->list[i].rate.n != 0)
            return &quotas->list[i];
    return NULL;
}

static void
lint_missing(const struct kd_conf_principal *p, struct kd_conf_problems *problems)
{
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        bool signs = kd_op_uses_key(op) && p->klass != KD_CLASS_ADMIN;
        if (signs && has_op(p, op) && rate_for(&p->quotas, op) == NULL)
            kd_conf_warn(problems, p->lines.section,
                         "principal \"%s\": no quota on %s: captured, it makes as many "
                         "as the machine can sign",
                         p->name, kd_op_name(op));
    }
    if (p->klass == KD_CLASS_TLS && p->quotas.n == 0)
        kd_conf_warn(problems, p->lines.section,
                     "principal \"%s\": a remote front-end without quotas", p->name);
}

/* Slower in no way than the line of every operation, which counts as well. */
static bool
is_wider(const struct kd_quota *q, const struct kd_quota *every)
{
    uint64_t a = (uint64_t)q->rate.n * every->rate.seconds;
    uint64_t b = (uint64_t)every->rate.n * q->rate.seconds;
    bool flight = q->in_flight == 0 ||
                  (every->in_flight != 0 && q->in_flight >= every->in_flight);
    bool rate = q->rate.n == 0 ||
                (every->rate.n != 0 && a >= b && q->rate.burst >= every->rate.burst);

    return rate && flight;
}

/* What stands in one list: the owner's name for the text. */
static void
lint_list(const struct kd_conf *c, const struct kd_conf_quotas *quotas,
          struct kd_conf_problems *problems)
{
    uint64_t most = (uint64_t)c->limits.max_in_flight * c->limits.max_connections;
    char text[KD_QUOTA_TEXT];

    for (size_t i = 0; i < quotas->n; i++) {
        const struct kd_quota *q = &quotas->list[i];
        for (size_t k = 0; k < quotas->n; k++)
            if (q->op != KD_OP_NONE && quotas->list[k].op == KD_OP_NONE &&
                is_wider(q, &quotas->list[k]))
                kd_conf_warn(problems, q->line,
                             "quotas: \"%s\" never decides: the line of * (line %u) is "
                             "narrower",
                             kd_quota_text(q, text), quotas->list[k].line);
        if (q->in_flight > most)
            kd_conf_warn(problems, q->line,
                         "quotas: \"%s\": more in flight than max-in-flight times "
                         "max-connections (%llu) allow",
                         kd_quota_text(q, text), (unsigned long long)most);
    }
}

/* A listener's gates have so much in flight at the vault and no more. */
static void
lint_flight(const struct kd_conf *c, const struct kd_conf_principal *p,
            struct kd_conf_problems *problems)
{
    uint64_t most = (uint64_t)IN_FLIGHT_OF_GATE * c->listeners[p->klass].workers;
    char text[KD_QUOTA_TEXT];

    for (size_t i = 0; i < p->quotas.n; i++) {
        const struct kd_quota *q = &p->quotas.list[i];
        if (q->in_flight > most)
            kd_conf_warn(problems, q->line,
                         "quotas: \"%s\": the gates of class %s have at most %llu in "
                         "flight",
                         kd_quota_text(q, text), kd_class_name(p->klass),
                         (unsigned long long)most);
    }
}

static void
lint_own_quotas(const struct kd_conf *c, const struct kd_conf_principal *p,
                struct kd_conf_problems *problems)
{
    char text[KD_QUOTA_TEXT];

    for (size_t i = 0; i < p->quotas.n; i++) {
        const struct kd_quota *q = &p->quotas.list[i];
        if (q->op != KD_OP_NONE && !has_op(p, q->op))
            kd_conf_warn(
                problems, q->line,
                "quotas: \"%s\" never counts: principal \"%s\" may not ask for "
                "it",
                kd_quota_text(q, text), p->name);
    }
    lint_list(c, &p->quotas, problems);
    lint_flight(c, p, problems);
}

/* Domains. */

static bool
somebody_may(const struct kd_conf *c, size_t domain, unsigned op)
{
    for (size_t i = 0; i < c->n_principals; i++)
        if (serves(&c->principals[i], domain) &&
            (op == KD_OP_NONE ? ops_with(&c->principals[i], KD_OPF_DOMAIN) != 0
                              : has_op(&c->principals[i], op)))
            return true;
    return false;
}

static void
lint_domain(const struct kd_conf *c, size_t i, struct kd_conf_problems *problems)
{
    const struct kd_conf_domain *d = &c->domains[i];
    char text[KD_QUOTA_TEXT];

    if (!somebody_may(c, i, KD_OP_NONE)) {
        kd_conf_warn(problems, d->line,
                     "domain \"%s\": no principal has it: nobody serves it", d->name);
        return;
    }
    for (size_t k = 0; k < d->quotas.n; k++) {
        const struct kd_quota *q = &d->quotas.list[k];
        bool about_domains =
            q->op == KD_OP_NONE || (kd_op_flags(q->op) & KD_OPF_DOMAIN) != 0;
        if (!about_domains)
            kd_conf_warn(
                problems, q->line,
                "quotas: \"%s\" never counts: the operation is about no domain",
                kd_quota_text(q, text));
        else if (!somebody_may(c, i, q->op))
            kd_conf_warn(problems, q->line,
                         "quotas: \"%s\" never counts: nobody may ask for it in domain "
                         "\"%s\"",
                         kd_quota_text(q, text), d->name);
    }
    lint_list(c, &d->quotas, problems);
}

/* Tokens. */

static void
lint_token(const struct kd_conf_token *t, struct kd_conf_problems *problems)
{
    static const char *const open_folders[] = {"/tmp/", "/var/tmp/", "/home/",
                                               "/dev/shm/"};

    if (t->sessions == 1)
        kd_conf_warn(problems, t->line,
                     "token \"%s\": one session: requests wait while its process is "
                     "replaced",
                     t->name);
    for (size_t i = 0; i < sizeof open_folders / sizeof *open_folders; i++)
        if (strncmp(t->module, open_folders[i], strlen(open_folders[i])) == 0)
            kd_conf_warn(problems, t->line,
                         "token \"%s\": its module lies in a folder where others "
                         "write: who changes it has the token",
                         t->name);
    if (t->match.serial[0] == '\0')
        kd_conf_warn(problems, t->line,
                     "token \"%s\": no serial: another token with the same label would "
                     "keep it from use",
                     t->name);
    if (t->profile == KD_P11_PROFILE_NET)
        kd_conf_warn(
            problems, t->line,
            "token \"%s\": profile net: no process of keyd is kept from TCP by "
            "the supervisor's filter any more",
            t->name);
}

void
kd_conf_lint(const struct kd_conf *c, struct kd_conf_problems *problems)
{
    for (size_t i = 0; i < c->n_principals; i++) {
        const struct kd_conf_principal *p = &c->principals[i];
        lint_rights(p, problems);
        lint_keys(c, p, problems);
        for (size_t k = 0; k < i; k++)
            lint_pair(p, &c->principals[k], problems);
        lint_missing(p, problems);
        lint_own_quotas(c, p, problems);
    }
    for (size_t i = 0; i < c->n_domains; i++)
        lint_domain(c, i, problems);
    lint_operators(c, problems);
    for (size_t i = 0; i < c->n_tokens; i++)
        lint_token(&c->tokens[i], problems);
    kd_conf_sort_problems(problems);
}
