/* keydctl policy check, explain: the configuration before it is loaded, and what the
 * one that is running decides. */
#include "keydctl_policy.h"

#include <keyd/conf/conf.h>
#include <stdlib.h>

/* --- check ------------------------------------------------------------------------ */

static json_t *
problems_to_json(const char *file, const struct kd_conf_problems *problems, bool valid)
{
    json_t *list = json_array();

    for (size_t i = 0; i < problems->n; i++) {
        const struct kd_conf_problem *p = &problems->list[i];
        json_t *j =
            json_pack("{s:I, s:s, s:s}", "line", (json_int_t)p->line, "severity",
                      p->is_warning ? "warning" : "error", "text", p->text);
        list = json_list_add(list, j);
    }
    return json_pack("{s:s, s:b, s:b, s:o}", "file", file, "valid", valid, "more",
                     problems->more, "problems", list);
}

void
conf_print_problems(FILE *f, const char *file, const struct kd_conf_problems *problems)
{
    char line[512];

    for (size_t i = 0; kd_conf_problems_line(file, problems, i, line, sizeof line); i++)
        emit(f, "%s\n", line);
}

kd_err
conf_read(const char *path, struct kd_conf **out, struct kd_conf_problems *problems)
{
    struct kd_conf_env env;

    kd_conf_env_real(&env);
    env.check_files = env.as_root = false;
    return kd_conf_load(path, &env, out, problems);
}

int
verb_policy_check(const struct options *o)
{
    static struct kd_conf_problems problems;
    struct kd_conf *conf = NULL;
    kd_err err = conf_read(o->args[0], &conf, &problems);

    if (err == KD_OK)
        kd_conf_lint(conf, &problems);
    kd_conf_free(conf);
    bool valid = err == KD_OK && (!o->strict || problems.n == 0);
    int status = valid                               ? EX_OK
                 : err == KD_OK || err == KD_INVALID ? EX_NEGATIVE
                                                     : EX_UNREADABLE;
    if (o->json) {
        int printed = json_done(problems_to_json(o->args[0], &problems, valid), status);
        return printed == status ? status : EX_UNREADABLE;
    }
    conf_print_problems(stdout, o->args[0], &problems);
    if (problems.n == 0)
        emit(stdout, "%s: good\n", o->args[0]);
    return status;
}

/* --- explain: what is asked ------------------------------------------------------- */

struct question {
    struct keyd_octets name, class_name; /* one of the two */
    uint32_t uid;
    enum keyd_key_role role;
    uint8_t id[KD_POLICY_KEY_ID_SIZE];
    bool has_id;
};

/* "submitd" or "submission/2001". */
static int
read_who(const char *who, struct question *q)
{
    const char *slash = strchr(who, '/');
    struct kd_slice name = kd_slice_str(who);
    enum kd_class klass;
    uint64_t uid = 0;

    if (slash == NULL && kd_principal_name_is_valid(name)) {
        q->name = octets_of(name);
        return EX_OK;
    }
    if (slash != NULL)
        name.n = (size_t)(slash - who);
    if (slash == NULL || !kd_class_find(name, &klass) ||
        !number_read(slash + 1, 0, KD_UID_NONE, &uid))
        return usage_error(who, "not a principal's name, and not CLASS/UID");
    q->class_name = octets_of(name);
    q->uid = (uint32_t)uid;
    return EX_OK;
}

static int
read_key(const char *text, struct question *q)
{
    for (unsigned role = KEYD_ROLE_POK; text != NULL && role <= KEYD_ROLE_AUDIT; role++)
        if (strcmp(text, key_role_text((enum keyd_key_role)role)) == 0)
            q->role = (enum keyd_key_role)role;
    if (text == NULL || q->role != KEYD_ROLE_NONE)
        return EX_OK;
    q->has_id = true;
    if (!hex_read(text, q->id, sizeof q->id))
        return usage_error("--key",
                           "pok, sok, enc, dkim, audit or 32 hexadecimal digits");
    return EX_OK;
}

static int
read_question(const struct options *o, struct explained *x, struct question *q)
{
    int status = read_who(o->args[0], q);

    *x =
        (struct explained){.who = o->args[0], .key = o->asked_key, .config = o->config};
    if (status == EX_OK)
        status = read_key(o->asked_key, q);
    if (status == EX_OK && o->domain != NULL)
        status = name_read("--domain", o->domain, NAME_DOMAIN, &x->domain);
    if (status == EX_OK && o->args[1] != NULL) {
        x->op = kd_op_find(kd_slice_str(o->args[1]));
        if (x->op == KD_OP_NONE)
            return usage_error(o->args[1], "not an operation: see keyd.conf(5)");
    }
    return status;
}

/* --- explain: by keyd ------------------------------------------------------------- */

static int
ask_keyd(const struct options *o, const struct question *q, struct explained *x)
{
    struct keyd_request request = {
        .op = KEYD_OP_POLICY_EXPLAIN,
        .in.policy_explain = {
            .principal = q->name,
            .class_name = q->class_name,
            .uid = q->uid,
            .operation = x->op,
            .domain = octets_of(kd_slice((uint8_t *)x->domain.text, x->domain.n)),
            .key_id = {q->id, q->has_id ? sizeof q->id : 0},
            .key_role = q->role}};
    struct keyd_answer *a = NULL;
    int status = session_once(o, &request, &a);

    x->a = a;
    if (status == EX_OK)
        status = explained_show(x, o->json);
    keyd_client_answer_free(a);
    return status;
}

/* --- explain: by a file ----------------------------------------------------------- */

/* What keyd would answer, without levels. */
struct found {
    struct keyd_answer a;
    struct keyd_policy_decision decisions[KD_OP_MAX];
    struct keyd_policy_quota quotas[2 * KD_POLICY_OWN_QUOTAS_MAX];
};

static void
find_quota(struct found *f, const struct kd_quota *q, bool of_domain)
{
    f->quotas[f->a.out.policy.n_quotas++] =
        (struct keyd_policy_quota){.of_domain = of_domain,
                                   .operation = q->op,
                                   .rate = q->rate.n,
                                   .seconds = q->rate.seconds,
                                   .burst = q->rate.burst,
                                   .in_flight_max = q->in_flight,
                                   .line = q->line};
}

static void
find_quotas(struct found *f, const struct kd_policy *p, size_t row,
            struct kd_slice domain)
{
    size_t i, to;

    for (i = kd_policy_first_quota(p, row); i < kd_policy_first_quota(p, row + 1); i++)
        find_quota(f, kd_policy_quota(p, false, i), false);
    if (kd_policy_domain_find(p, domain, &i) != KD_OK)
        return;
    kd_policy_domain_quotas(p, i, &i, &to);
    for (; i < to; i++)
        find_quota(f, kd_policy_quota(p, true, i), true);
}

static void
find(const struct kd_policy *p, const struct question *q, const struct explained *x,
     struct found *f)
{
    const struct kd_policy_key key = {
        .is_given = x->key != NULL, .role = q->role, .id = q->has_id ? q->id : NULL};
    struct kd_slice domain = kd_slice((const uint8_t *)x->domain.text, x->domain.n);
    struct kd_caller caller = kd_caller_local(KD_CLASS_COUNT, q->uid);
    struct kd_policy_trace trace;
    enum kd_class klass;

    if (q->name.n != 0)
        kd_ignore(
            kd_policy_find(p, slice_of(q->name), &caller)); /* else it is nobody */
    else if (kd_class_find(slice_of(q->class_name), &klass))
        caller.klass = klass;
    kd_policy_trace(p, &caller, KD_OP_NONE, domain, NULL, &trace);
    const char *name = kd_class_name(caller.klass);
    f->a.out.policy.principal = octets_of(trace.name);
    f->a.out.policy.class_name = octets_of(kd_slice_str(name == NULL ? "" : name));
    f->a.out.policy.uid = caller.uid;
    f->a.out.policy.section_line = trace.lines.section;
    f->a.out.policy.operations_line = trace.lines.operations;
    f->a.out.policy.domains_line = trace.lines.domains;
    f->a.out.policy.keys_line = trace.lines.keys;
    f->a.out.policy.domain_line = trace.domain_line;
    f->a.out.policy.decisions = f->decisions;
    f->a.out.policy.quotas = f->quotas;
    if (trace.row != KD_POLICY_ROWS_MAX)
        find_quotas(f, p, trace.row, domain);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (x->op != KD_OP_NONE ? op != x->op : !kd_op_is_served(op, caller.klass))
            continue;
        kd_policy_trace(p, &caller, op, domain, &key, &trace);
        f->decisions[f->a.out.policy.n_decisions++] = (struct keyd_policy_decision){
            op, (enum keyd_policy_verdict)(trace.verdict + 1), trace.op_line};
    }
}

static int
ask_file(const struct options *o, const struct question *q, struct explained *x)
{
    static struct kd_conf_problems problems;
    static struct found found;
    struct kd_conf *conf = NULL;
    kd_err err = conf_read(o->config, &conf, &problems);

    if (err != KD_OK) {
        conf_print_problems(stderr, o->config, &problems);
        return err == KD_INVALID ? EX_DATAERR : EX_NOINPUT;
    }
    find(conf->policy, q, x, &found);
    x->a = &found.a;
    int status = explained_show(x, o->json);
    kd_conf_free(conf);
    return status;
}

int
verb_policy_explain(const struct options *o)
{
    struct explained x;
    struct question q = {0};
    int status = read_question(o, &x, &q);

    if (status != EX_OK)
        return status;
    return o->config != NULL ? ask_file(o, &q, &x) : ask_keyd(o, &q, &x);
}
