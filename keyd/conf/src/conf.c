#include "check.h"
#include "problems.h"
#include "read.h"

#include <sodium.h>
#include <stdlib.h>

/* Sections of one type in the scan. */
static size_t
count_sections(const struct kd_scan *scan, enum kd_conf_section type)
{
    size_t n = 0;

    for (size_t i = 0; i < scan->n_sections; i++)
        n += scan->sections[i].type == type;
    return n;
}

static bool
too_many(struct kd_conf_reading *r, enum kd_conf_section type, size_t n, size_t max)
{
    if (n > max)
        kd_conf_error(r->problems, 0, "more than %zu %s sections", max,
                      kd_conf_section_name(type));
    return n > max;
}

static int
compare_domains(const void *a, const void *b)
{
    const struct kd_conf_domain *x = a;
    const struct kd_conf_domain *y = b;

    return strcmp(x->name, y->name);
}

static void
read_domains(struct kd_conf_reading *r)
{
    struct kd_conf *c = r->conf;
    size_t n = count_sections(r->scan, KD_CONF_DOMAIN);

    if (n == 0)
        kd_conf_error(r->problems, 0, "no domain section: there is nothing to serve");
    if (too_many(r, KD_CONF_DOMAIN, n, KD_POLICY_DOMAINS_MAX))
        return;
    struct kd_conf_domain *domains = calloc(n + 1, sizeof *domains);
    if (domains == NULL) {
        r->err = KD_NOMEM;
        return;
    }
    c->domains = domains;
    for (size_t i = 1; i < r->scan->n_sections && r->err == KD_OK; i++) {
        const struct kd_scan_section *s = &r->scan->sections[i];
        if (s->type != KD_CONF_DOMAIN)
            continue;
        if (!kd_domain_is_valid(s->title))
            kd_conf_error(r->problems, s->line,
                          "domain \"%s\": not a domain in lower-case A-labels without "
                          "a dot at the end",
                          KD_CONF_QUOTE(s->title));
        struct kd_conf_domain *d = &c->domains[c->n_domains];
        if ((d->name = kd_conf_copy(r, s->title)) == NULL)
            return;
        d->line = s->line;
        c->n_domains++;
        kd_conf_set_section(r, i, d);
        kd_conf_check_domain(r, i, d);
    }
    if (r->err == KD_OK)
        qsort(c->domains, c->n_domains, sizeof *c->domains, compare_domains);
}

static void
read_listeners(struct kd_conf_reading *r, struct kd_conf_places *places)
{
    for (size_t i = 1; i < r->scan->n_sections && r->err == KD_OK; i++) {
        const struct kd_scan_section *s = &r->scan->sections[i];
        enum kd_class klass;
        if (s->type != KD_CONF_LISTENER)
            continue;
        if (!kd_class_find(s->title, &klass)) {
            kd_conf_error(r->problems, s->line,
                          "listener \"%s\": not mta, submission, milter, tls or admin",
                          KD_CONF_QUOTE(s->title));
            continue;
        }
        if (places->listeners[klass] != 0)
            continue; /* reported by the scan */
        places->listeners[klass] = i;
        kd_conf_set_section(r, i, &r->conf->listeners[klass]);
    }
}

/* 0 if the section does not give the key. */
static uint32_t
line_of(const struct kd_scan *scan, size_t section, const char *key)
{
    const struct kd_scan_entry *e = kd_scan_find(scan, section, key);

    return e == NULL ? 0 : e->line;
}

static struct kd_policy_lines
lines_of(const struct kd_scan *scan, size_t section)
{
    struct kd_policy_lines l = {.section = scan->sections[section].line,
                                .operations = line_of(scan, section, "operations"),
                                .domains = line_of(scan, section, "domains"),
                                .keys = line_of(scan, section, "keys")};
    const struct kd_scan_entry *e = kd_scan_find(scan, section, "operations");

    for (size_t i = 0; e != NULL && i < e->n; i++) {
        const struct kd_scan_value *v = &scan->values[e->first + i];
        uint32_t below = v->line - e->line;
        l.op[kd_op_find(v->text)] = below > UINT8_MAX ? UINT8_MAX : (uint8_t)below;
    }
    l.op[KD_OP_NONE] = 0; /* of names that are no operation */
    return l;
}

static void
read_principals(struct kd_conf_reading *r, struct kd_conf_places *places)
{
    struct kd_conf *c = r->conf;
    size_t n = count_sections(r->scan, KD_CONF_PRINCIPAL);

    if (too_many(r, KD_CONF_PRINCIPAL, n, KD_POLICY_ROWS_MAX))
        return;
    c->principals = calloc(n + 1, sizeof *c->principals);
    places->principals = calloc(n + 1, sizeof *places->principals);
    if (c->principals == NULL || places->principals == NULL)
        r->err = KD_NOMEM;
    for (size_t i = 1; i < r->scan->n_sections && r->err == KD_OK; i++) {
        const struct kd_scan_section *s = &r->scan->sections[i];
        if (s->type != KD_CONF_PRINCIPAL)
            continue;
        if (!kd_principal_name_is_valid(s->title))
            kd_conf_error(r->problems, s->line,
                          "principal \"%s\": a name has 1 to %d of a-z 0-9 . _ - and "
                          "starts with a letter or digit",
                          KD_CONF_QUOTE(s->title), KD_POLICY_NAME_MAX);
        struct kd_conf_principal *p = &c->principals[c->n_principals];
        if ((p->name = kd_conf_copy(r, s->title)) == NULL)
            return;
        places->principals[c->n_principals++] = i;
        kd_conf_set_section(r, i, p);
        kd_conf_set_domains(r, i, p);
        p->keys.is_given = kd_scan_find(r->scan, i, "keys") != NULL;
        p->lines = lines_of(r->scan, i);
    }
}

static bool
is_token_name(struct kd_slice name)
{
    return name.n <= KD_CONF_TOKEN_NAME_MAX && kd_principal_name_is_valid(name) &&
           !kd_slice_eq(name, kd_slice_str("here"));
}

static void
read_tokens(struct kd_conf_reading *r, struct kd_conf_places *places)
{
    struct kd_conf *c = r->conf;
    size_t n = count_sections(r->scan, KD_CONF_TOKEN);

    if (n == 0 || too_many(r, KD_CONF_TOKEN, n, KD_CONF_TOKENS_MAX))
        return;
    if ((c->tokens = calloc(n, sizeof *c->tokens)) == NULL) {
        r->err = KD_NOMEM;
        return;
    }
    for (size_t i = 1; i < r->scan->n_sections && r->err == KD_OK; i++) {
        const struct kd_scan_section *s = &r->scan->sections[i];
        if (s->type != KD_CONF_TOKEN)
            continue;
        if (!is_token_name(s->title))
            kd_conf_error(r->problems, s->line,
                          "token \"%s\": a name has 1 to %d of a-z 0-9 . _ - and "
                          "starts with a letter or digit; \"here\" is keyd's own store",
                          KD_CONF_QUOTE(s->title), KD_CONF_TOKEN_NAME_MAX);
        struct kd_conf_token *t = &c->tokens[c->n_tokens];
        if ((t->name = kd_conf_copy(r, s->title)) == NULL)
            return;
        t->line = s->line;
        places->tokens[c->n_tokens++] = i;
        kd_conf_set_section(r, i, t);
        kd_conf_set_match(r, i, t);
    }
}

static kd_err
make_policy(struct kd_conf *c)
{
    struct kd_slice *domains = calloc(c->n_domains + 1, sizeof *domains);
    struct kd_policy_domain_entry *with = calloc(c->n_domains + 1, sizeof *with);
    struct kd_policy_entry *entries = calloc(c->n_principals + 1, sizeof *entries);
    kd_err err = KD_NOMEM;

    if (domains == NULL || with == NULL || entries == NULL)
        goto out;
    for (size_t i = 0; i < c->n_domains; i++) {
        const struct kd_conf_domain *d = &c->domains[i];
        domains[i] = kd_slice_str(d->name);
        with[i] = (struct kd_policy_domain_entry){d->quotas.list, d->quotas.n, d->line};
    }
    for (size_t i = 0; i < c->n_principals; i++) {
        const struct kd_conf_principal *p = &c->principals[i];
        entries[i] = (struct kd_policy_entry){
            .name = kd_slice_str(p->name),
            .klass = p->klass,
            .uid = p->uid,
            .ops = p->ops,
            .domains = p->domains,
            .n_domains = p->n_domains,
            .has_keys = p->keys.is_given,
            .key_roles = p->keys.roles,
            .key_ids = (const uint8_t(*)[KD_POLICY_KEY_ID_SIZE])p->keys.ids,
            .n_key_ids = p->keys.n,
            .quotas = p->quotas.list,
            .n_quotas = p->quotas.n,
            .lines = p->lines};
    }
    err = kd_policy_build(domains, c->n_domains, with, entries, c->n_principals,
                          &c->policy);
out:
    free(with);
    free(entries);
    free(domains);
    return err;
}

/* As many problems as can be told apart: the scan's and the values' together, those
 * that need the whole only when everything else is well. */
static kd_err
read_all(struct kd_conf_reading *r, struct kd_slice text, struct kd_conf_places *places)
{
    kd_err err;

    kd_conf_set_section(r, 0, r->conf);
    read_domains(r);
    read_listeners(r, places);
    read_principals(r, places);
    read_tokens(r, places);
    if (r->err != KD_OK || r->problems->n_errors > 0)
        return r->err;
    if ((err = kd_read_agrees(text, r->scan, r->problems)) != KD_OK)
        return err;
    kd_conf_check(r, places);
    if (r->err != KD_OK || r->problems->n_errors > 0)
        return r->err;
    return make_policy(r->conf);
}

kd_err
kd_conf_parse(struct kd_slice text, const struct kd_conf_env *env, struct kd_conf **out,
              struct kd_conf_problems *problems)
{
    struct kd_conf_env real;
    struct kd_scan scan = {0};
    struct kd_conf_places places = {0};
    struct kd_conf *conf = NULL;
    kd_err err;

    *problems = (struct kd_conf_problems){0};
    if (env == NULL) {
        kd_conf_env_real(&real);
        env = &real;
    }
    if (text.n > KD_CONF_SIZE_MAX) {
        kd_conf_error(problems, 0, "file of more than %d octets", KD_CONF_SIZE_MAX);
        return KD_INVALID;
    }
    if ((err = kd_scan_text(text, &scan, problems)) != KD_OK)
        goto out;
    if ((conf = calloc(1, sizeof *conf)) == NULL) {
        err = KD_NOMEM;
        goto out;
    }
    crypto_hash_sha256(conf->digest, text.p, text.n);
    struct kd_conf_reading r = {
        .env = env, .scan = &scan, .conf = conf, .problems = problems};
    if ((err = read_all(&r, text, &places)) != KD_OK)
        goto out;
    if (problems->n_errors > 0) {
        err = KD_INVALID;
        goto out;
    }
    *out = conf;
    conf = NULL;
out:
    if (err == KD_TOO_LARGE)
        kd_conf_error(problems, 0, "too many sections, key ids or quotas");
    if (err == KD_TOO_LARGE)
        err = KD_INVALID;
    kd_conf_sort_problems(problems);
    kd_conf_free(conf);
    free(places.principals);
    kd_scan_clear(&scan);
    return err;
}

void
kd_conf_free(struct kd_conf *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_domains; i++) {
        kd_conf_clear_section(KD_CONF_DOMAIN, &c->domains[i]);
        free(c->domains[i].name);
    }
    for (size_t i = 0; i < c->n_principals; i++) {
        kd_conf_clear_section(KD_CONF_PRINCIPAL, &c->principals[i]);
        free(c->principals[i].name);
        free(c->principals[i].domains);
    }
    for (size_t i = 0; i < c->n_tokens; i++) {
        kd_conf_clear_section(KD_CONF_TOKEN, &c->tokens[i]);
        free(c->tokens[i].name);
    }
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        kd_conf_clear_section(KD_CONF_LISTENER, &c->listeners[klass]);
    kd_conf_clear_section(KD_CONF_TOP, c);
    kd_policy_free(c->policy);
    free(c->domains);
    free(c->principals);
    free(c->tokens);
    free(c);
}
