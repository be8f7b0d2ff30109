/* keydctl policy explain: a decision in words that an operator can act on. */
#include "keydctl_policy.h"

#include <stdlib.h>

/* --- what it comes to ------------------------------------------------------------- */

static const struct {
    const char *word; /* in JSON */
    const char *text;
} verdicts[] = {
    [KEYD_POLICY_ALLOWED] = {"allowed", "allowed"},
    [KEYD_POLICY_NO_PRINCIPAL] = {"no-principal", "there is no such principal"},
    [KEYD_POLICY_NOT_SERVED] = {"not-served", "not an operation of its class"},
    [KEYD_POLICY_NOT_PERMITTED] = {"not-permitted", "not among its operations"},
    [KEYD_POLICY_NO_DOMAIN] = {"no-domain", "it depends on the domain"},
    [KEYD_POLICY_OTHER_DOMAIN] = {"other-domain", "not among its domains"},
    [KEYD_POLICY_OTHER_KEY] = {"other-key", "not among its keys"},
};

static unsigned
verdict_index(enum keyd_policy_verdict v)
{
    return v < KEYD_POLICY_ALLOWED || v > KEYD_POLICY_OTHER_KEY
               ? KEYD_POLICY_NO_PRINCIPAL
               : (unsigned)v;
}

static const char *
op_text(uint32_t op)
{
    const char *name = kd_op_name(op);

    return op == 0 ? "*" : name == NULL ? "unknown" : name;
}

static bool
is_lookup(uint32_t op)
{
    return (kd_op_flags(op) & KD_OPF_LOOKUP) != 0;
}

static bool
counts_for(const struct keyd_policy_quota *q, uint32_t op)
{
    return (q->operation == 0 || q->operation == op) && op != KD_OP_Hello &&
           (!q->of_domain || (kd_op_flags(op) & KD_OPF_DOMAIN) != 0);
}

/* "line 12", or where it can only be. */
static const char *
line_text(uint32_t line, char out[24])
{
    if (line == 0)
        return "not given";
    kd_ignore(snprintf(out, 24, "line %u", (unsigned)line));
    return out;
}

/* --- text ------------------------------------------------------------------------- */

static void
print_quota_line(const struct explained *x, const struct keyd_policy_quota *q)
{
    const struct kd_quota quota = {.op = (uint8_t)q->operation,
                                   .rate = {q->rate, q->seconds, q->burst},
                                   .in_flight = q->in_flight_max};
    char text[KD_QUOTA_TEXT], line[24];

    emit(stdout, "%s (%s, %s)", kd_quota_text(&quota, text),
         q->of_domain ? x->domain.text : "its own", line_text(q->line, line));
}

static void
print_level(const struct keyd_policy_quota *q, bool lookups, const char *what)
{
    uint32_t left = lookups ? q->lookups.left : q->jobs.left;
    uint32_t in_flight = lookups ? q->lookups.in_flight : q->jobs.in_flight;
    uint64_t refused = lookups ? q->lookups.refused : q->jobs.refused;

    emit(stdout, ":%s", what);
    if (q->rate != 0)
        emit(stdout, " %u of %u left", (unsigned)left, (unsigned)q->burst);
    if (q->in_flight_max != 0)
        emit(stdout, "%s %u of %u in flight", q->rate != 0 ? "," : "",
             (unsigned)in_flight, (unsigned)q->in_flight_max);
    emit(stdout, ", %ju refused", (uintmax_t)refused);
}

static void
print_quotas(const struct explained *x, uint32_t op)
{
    bool some = false;

    for (size_t i = 0; i < x->a->out.policy.n_quotas; i++) {
        const struct keyd_policy_quota *q = &x->a->out.policy.quotas[i];
        if (op != KD_OP_NONE && !counts_for(q, op))
            continue;
        emit(stdout, "%-11s", some ? "" : "quotas");
        print_quota_line(x, q);
        some = true;
        if (x->config == NULL &&
            (op == KD_OP_NONE ? !is_lookup(q->operation) : !is_lookup(op)))
            print_level(q, false,
                        op == KD_OP_NONE && q->operation == 0 ? " vault" : "");
        if (x->config == NULL &&
            (op == KD_OP_NONE ? q->operation == 0 || is_lookup(q->operation)
                              : is_lookup(op)))
            print_level(q, true,
                        op == KD_OP_NONE && q->operation == 0 ? " look-ups" : "");
        emit(stdout, "\n");
    }
    if (!some)
        emit(stdout, "%-11s%s\n", "quotas", "none: as much as the limits allow");
}

static void
print_who(const struct explained *x)
{
    const struct keyd_octets *name = &x->a->out.policy.principal;
    char line[24];

    emit(stdout, "%-11s", "who");
    if (name->n == 0) {
        emit(stdout, "no principal is \"%s\"\n", x->who);
        return;
    }
    emit(stdout, "principal \"");
    print_text(stdout, slice_of(*name));
    emit(stdout, "\" of class ");
    print_text(stdout, slice_of(x->a->out.policy.class_name));
    if (x->a->out.policy.uid != KD_UID_NONE)
        emit(stdout, ", uid %u", (unsigned)x->a->out.policy.uid);
    emit(stdout, " (%s)\n", line_text(x->a->out.policy.section_line, line));
    if (x->a->out.policy.stopped)
        emit(stdout, "%-11sall it asks is refused, until \"keydctl principal allow\"\n",
             "STOPPED");
}

/* What would have to be written, and where. */
static void
print_missing(const struct explained *x, const struct keyd_policy_decision *d)
{
    const char *op = op_text(d->operation);
    char line[24];

    switch (d->verdict) {
    case KEYD_POLICY_NO_PRINCIPAL:
        emit(stdout, "%-11s%s\n", "missing",
             strchr(x->who, '/') == NULL
                 ? "a section principal of this name"
                 : "a section principal with this class and uid");
        break;
    case KEYD_POLICY_NOT_SERVED:
        emit(stdout, "%-11s%s is served to:", "missing", op);
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
            if (kd_op_is_served(d->operation, klass))
                emit(stdout, " %s", kd_class_name(klass));
        emit(stdout, "\n");
        break;
    case KEYD_POLICY_NOT_PERMITTED:
        emit(stdout, "%-11s\"%s\" in its operations (%s)\n", "missing", op,
             line_text(x->a->out.policy.operations_line, line));
        break;
    case KEYD_POLICY_NO_DOMAIN:
        emit(stdout, "%-11s--domain; its domains are listed (%s)\n", "missing",
             line_text(x->a->out.policy.domains_line, line));
        break;
    case KEYD_POLICY_OTHER_DOMAIN:
        if (x->a->out.policy.domain_line == 0)
            emit(stdout, "%-11sa section domain \"%s\": it is not served\n", "missing",
                 x->domain.text);
        else
            emit(stdout, "%-11s\"%s\" in its domains (%s)\n", "missing", x->domain.text,
                 line_text(x->a->out.policy.domains_line, line));
        break;
    case KEYD_POLICY_OTHER_KEY:
        emit(stdout, "%-11s\"%s\" in its keys (%s)\n", "missing", x->key,
             line_text(x->a->out.policy.keys_line, line));
        break;
    case KEYD_POLICY_ALLOWED:
        break;
    }
}

static bool
is_allowed(const struct explained *x, const struct keyd_policy_decision *d)
{
    return d->verdict == KEYD_POLICY_ALLOWED && !x->a->out.policy.stopped;
}

/* The way to a yes, part by part. */
static void
print_path(const struct explained *x, const struct keyd_policy_decision *d)
{
    unsigned flags = kd_op_flags(d->operation);
    char line[24];

    if (d->line != 0)
        emit(stdout, "%-11slisted (%s)\n", "operation", line_text(d->line, line));
    else if ((flags & KD_OPF_EVERYONE) != 0)
        emit(stdout, "%-11severy principal has it\n", "operation");
    if ((flags & KD_OPF_DOMAIN) != 0 && d->verdict == KEYD_POLICY_ALLOWED)
        emit(stdout, "%-11s%s is listed (%s)\n", "domain", x->domain.text,
             line_text(x->a->out.policy.domains_line, line));
    if ((flags & KD_OPF_KEY) == 0 || d->verdict != KEYD_POLICY_ALLOWED)
        return;
    if (x->a->out.policy.keys_line == 0)
        emit(stdout, "%-11sany that the operation uses\n", "keys");
    else
        emit(stdout, "%-11s%s%s (%s)\n", "keys",
             x->key == NULL ? "those listed; --key asks for one" : x->key,
             x->key == NULL ? "" : " is listed",
             line_text(x->a->out.policy.keys_line, line));
}

static void
print_one(const struct explained *x, const struct keyd_policy_decision *d)
{
    if (is_allowed(x, d) || d->verdict != KEYD_POLICY_ALLOWED)
        emit(stdout, "%s: %s%s\n", op_text(d->operation),
             d->verdict == KEYD_POLICY_ALLOWED ? "" : "denied: ",
             verdicts[verdict_index(d->verdict)].text);
    else
        emit(stdout, "%s: denied: the principal is stopped\n", op_text(d->operation));
    print_who(x);
    print_path(x, d);
    print_missing(x, d);
    if (d->verdict == KEYD_POLICY_ALLOWED)
        print_quotas(x, d->operation);
}

static void
print_table(const struct explained *x)
{
    char line[24];

    print_who(x);
    if (x->a->out.policy.n_decisions != 0)
        emit(stdout, "\n%-16s %-9s %s\n", "operation", "listed", "decision");
    for (size_t i = 0; i < x->a->out.policy.n_decisions; i++) {
        const struct keyd_policy_decision *d = &x->a->out.policy.decisions[i];
        bool everyone = (kd_op_flags(d->operation) & KD_OPF_EVERYONE) != 0;
        emit(stdout, "%-16s %-9s %s\n", op_text(d->operation),
             d->line != 0 ? line_text(d->line, line)
             : everyone   ? "always"
                          : "-",
             d->verdict == KEYD_POLICY_NO_DOMAIN
                 ? "allowed for its domains"
                 : verdicts[verdict_index(d->verdict)].text);
    }
    if (x->a->out.policy.principal.n != 0) {
        emit(stdout, "\n");
        print_quotas(x, KD_OP_NONE);
    }
}

/* --- JSON ------------------------------------------------------------------------- */

static json_t *
json_line_number(uint32_t line)
{
    return line == 0 ? json_null() : json_integer((json_int_t)line);
}

static json_t *
level_to_json(uint32_t left, uint32_t in_flight, uint64_t refused)
{
    return json_pack("{s:I, s:I, s:I}", "left", (json_int_t)left, "in_flight",
                     (json_int_t)in_flight, "refused", (json_int_t)refused);
}

static json_t *
quota_to_json(const struct explained *x, const struct keyd_policy_quota *q)
{
    json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "of",
                          q->of_domain ? "domain" : "principal", "operation",
                          op_text(q->operation), "rate", (json_int_t)q->rate, "seconds",
                          (json_int_t)q->seconds, "burst", (json_int_t)q->burst,
                          "in_flight_max", (json_int_t)q->in_flight_max, "line",
                          json_line_number(q->line));
    bool both = q->operation == 0;

    if (j == NULL || x->config != NULL)
        return j;
    if ((both || !is_lookup(q->operation)) &&
        !json_put(j, "vault",
                  level_to_json(q->jobs.left, q->jobs.in_flight, q->jobs.refused)))
        goto fail;
    if ((both || is_lookup(q->operation)) &&
        !json_put(
            j, "gates",
            level_to_json(q->lookups.left, q->lookups.in_flight, q->lookups.refused)))
        goto fail;
    return j;
fail:
    json_decref(j);
    return NULL;
}

static json_t *
quotas_to_json(const struct explained *x)
{
    json_t *list = json_array();

    for (size_t i = 0; i < x->a->out.policy.n_quotas; i++) {
        const struct keyd_policy_quota *q = &x->a->out.policy.quotas[i];
        if (x->op != KD_OP_NONE && !counts_for(q, x->op))
            continue;
        list = json_list_add(list, quota_to_json(x, q));
    }
    return list;
}

static json_t *
decisions_to_json(const struct explained *x)
{
    json_t *list = json_array();

    for (size_t i = 0; i < x->a->out.policy.n_decisions; i++) {
        const struct keyd_policy_decision *d = &x->a->out.policy.decisions[i];
        json_t *j =
            json_pack("{s:s, s:b, s:s, s:o}", "operation", op_text(d->operation),
                      "allowed", d->verdict == KEYD_POLICY_ALLOWED, "verdict",
                      verdicts[verdict_index(d->verdict)].word, "line",
                      json_line_number(d->line));
        list = json_list_add(list, j);
    }
    return list;
}

static json_t *
explained_to_json(const struct explained *x)
{
    json_t *j = json_object();
    bool known = x->a->out.policy.principal.n != 0;
    bool good =
        json_put(j, "who", json_string(x->who)) &&
        json_put(j, "principal",
                 known ? json_octets(slice_of(x->a->out.policy.principal))
                       : json_null()) &&
        json_put(j, "class",
                 known ? json_octets(slice_of(x->a->out.policy.class_name))
                       : json_null()) &&
        json_put(j, "uid",
                 known && x->a->out.policy.uid != KD_UID_NONE
                     ? json_integer((json_int_t)x->a->out.policy.uid)
                     : json_null()) &&
        json_put(j, "section_line", json_line_number(x->a->out.policy.section_line)) &&
        json_put(j, "operations_line",
                 json_line_number(x->a->out.policy.operations_line)) &&
        json_put(j, "domains_line", json_line_number(x->a->out.policy.domains_line)) &&
        json_put(j, "keys_line", json_line_number(x->a->out.policy.keys_line)) &&
        json_put(j, "domain_line", json_line_number(x->a->out.policy.domain_line)) &&
        json_put(j, "stopped", json_boolean(x->a->out.policy.stopped)) &&
        json_put(j, "decisions", decisions_to_json(x)) &&
        json_put(j, "quotas", quotas_to_json(x));

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

int
explained_show(const struct explained *x, bool json)
{
    const struct keyd_policy_decision *d = x->a->out.policy.decisions;
    bool one = x->op != KD_OP_NONE && x->a->out.policy.n_decisions == 1;
    int status = one && !is_allowed(x, d) ? EX_NEGATIVE : EX_OK;

    if (json)
        return json_done(explained_to_json(x), status);
    if (one)
        print_one(x, d);
    else
        print_table(x);
    return status;
}
