#include "asking.h"
#include "memory.h"
#include "reach.h"
#include "records.h"
#include "underway.h"
#include "walk.h"

#include <dime/identifier.h>
#include <dime/policy.h>
#include <keyd/base/clock.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { ANSWERS = 4096, LEGACY_SECONDS = 3600 };

struct dime_resolver {
    struct settings settings;
    int64_t (*now)(void *arg);
    void *now_arg;
    char **relaxed; /* domains, own copies */
    size_t n_relaxed;

    struct reach reach;
    struct suffixes *suffixes;
    struct lookup lookup;
    struct store *store;
    struct memory *memory;
    struct underway underway;
    bool has_underway;
    /* What was found when the store was opened: the first answer tells it. */
    struct steps *_Atomic opening;
};

static int64_t
wall_clock(void *arg)
{
    (void)arg;
    return kd_clock_wall_ms() / 1000;
}

/* --- making one --- */

static int64_t
or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static bool
copy_relaxed(struct dime_resolver *r, const struct dime_resolver_conf *conf)
{
    r->relaxed = calloc(conf->n_relaxed + 1, sizeof *r->relaxed);
    for (size_t i = 0; r->relaxed != NULL && i < conf->n_relaxed; i++) {
        r->relaxed[i] = strdup(conf->relaxed[i]);
        if (r->relaxed[i] == NULL)
            return false;
        r->n_relaxed++;
    }
    return r->relaxed != NULL;
}

static kd_err
open_parts(struct dime_resolver *r, const struct dime_resolver_conf *conf,
           struct steps *steps, const char **why)
{
    kd_err err = reach_open(conf, &r->reach, why);

    if (err != KD_OK)
        return err;
    if ((err = suffixes_new(conf->suffix_file, &r->suffixes)) != KD_OK) {
        *why = "the Public Suffix List cannot be read";
        return err;
    }
    if (conf->state_dir != NULL)
        err = store_open(conf->state_dir, steps, &r->store, why);
    return err;
}

static void
set(struct dime_resolver *r, const struct dime_resolver_conf *conf)
{
    r->settings =
        (struct settings){.user_lifetime = or_default(conf->user_lifetime, FRESH_USER),
                          .org_lifetime = or_default(conf->org_lifetime, FRESH_ORG),
                          .grace = or_default(conf->grace, FRESH_GRACE),
                          .takes_libdime = conf->takes_libdime};
    r->now = conf->now != NULL ? conf->now : wall_clock;
    r->now_arg = conf->now_arg;
}

kd_err
dime_resolver_new(const struct dime_resolver_conf *conf, struct dime_resolver **out,
                  const char **why)
{
    struct dime_resolver *r = calloc(1, sizeof *r);
    kd_err err = KD_NOMEM;

    *why = kd_err_text(KD_NOMEM);
    if (r == NULL)
        return KD_NOMEM;
    set(r, conf);
    r->has_underway = underway_init(&r->underway);
    r->memory = memory_new(ANSWERS);
    if (r->has_underway && r->memory != NULL && copy_relaxed(r, conf)) {
        *why = NULL;
        r->opening = steps_new();
        err = open_parts(r, conf, r->opening, why);
    }
    if (err != KD_OK) {
        if (*why == NULL)
            *why = kd_err_text(err);
        dime_resolver_free(r);
        return err;
    }
    r->lookup = (struct lookup){.dns = r->reach.dns, .numeric_type = conf->record_type};
    *out = r;
    return KD_OK;
}

void
dime_resolver_free(struct dime_resolver *r)
{
    if (r == NULL)
        return;
    steps_free(r->opening);
    memory_free(r->memory);
    store_close(r->store);
    suffixes_free(r->suffixes);
    reach_close(&r->reach);
    if (r->has_underway)
        underway_clear(&r->underway);
    for (size_t i = 0; i < r->n_relaxed; i++)
        free(r->relaxed[i]);
    free(r->relaxed);
    free(r);
}

/* --- names --- */

struct understood {
    char name[DIME_IDENTIFIER_CHARS + 1];
    const char *domain; /* in it */
};

/* An address's local part in lower case, the domain as A-labels. */
static bool
understand(const char *text, struct understood *out)
{
    const char *at = strrchr(text, '@');
    size_t n_local = at == NULL ? 0 : (size_t)(at - text) + 1;
    char domain[DNS_NAME_MAX + 1];

    if (n_local > 65 || name_normal(kd_slice_str(text + n_local), domain) != KD_OK ||
        n_local + strlen(domain) >= sizeof out->name)
        return false;
    for (size_t i = 0; i < n_local; i++)
        out->name[i] =
            (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    memcpy(out->name + n_local, domain, strlen(domain) + 1);
    out->domain = out->name + n_local;
    struct kd_slice s = kd_slice_str(out->name);
    return at == NULL ? dime_identifier_is_domain(s) : dime_identifier_is_address(s);
}

/* --- one resolution --- */

struct resolution {
    struct dime_resolver *r;
    const struct dime_query *query;
    struct steps *steps;
    struct understood is;
    int64_t now;

    struct record_life lives[NAMES_MAX]; /* of the names of the walk, in its order */
    char looked[NAMES_MAX][DNS_NAME_MAX + 1];
    size_t n_lives;

    struct answer_parts parts; /* what the answer becomes */
    struct kd_buf org, user;
    uint8_t known[DIME_FINGERPRINT_SIZE], found[DIME_FINGERPRINT_SIZE];
};

static enum record_state
look(void *arg, const char *name, int64_t deadline, struct record *out)
{
    struct resolution *z = arg;
    const struct records records = {.lookup = &z->r->lookup,
                                    .store = z->r->store,
                                    .steps = z->steps,
                                    .flags = z->query->flags,
                                    .now = z->now,
                                    .deadline = deadline};
    struct record_life life;
    enum record_state state = records_get(&records, name, out, &life);

    if (z->n_lives < NAMES_MAX) {
        memcpy(z->looked[z->n_lives], name, strlen(name) + 1);
        z->lives[z->n_lives++] = life;
    }
    return state;
}

static const struct record_life *
life_of(const struct resolution *z, const char *name)
{
    for (size_t i = 0; i < z->n_lives; i++)
        if (strcmp(z->looked[i], name) == 0)
            return &z->lives[i];
    return &z->lives[0];
}

static bool
is_relaxed(const struct dime_resolver *r, const char *domain)
{
    for (size_t i = 0; i < r->n_relaxed; i++)
        if (strcmp(r->relaxed[i], domain) == 0)
            return true;
    return false;
}

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The facts that an answer of the same domain has already, or new ones. */
static struct domain *
domain_for(struct resolution *z, const struct walk *w, struct kd_slice org)
{
    const struct record_life *life = life_of(z, w->supplied);
    const struct dime_answer *other = memory_get(z->r->memory, w->supplied, z->now);
    struct domain *d = other == NULL ? NULL : answer_domain(other);

    if (d != NULL && d->is_secure == w->record.secure && d->is_kept == life->is_kept &&
        d->record_until == life->until &&
        kd_slice_eq(kd_slice(d->org, d->n_org), org) &&
        memcmp(&d->record, &w->record.mrec, sizeof d->record) == 0) {
        d = domain_ref(d);
    } else if ((d = domain_new(w->supplied, &w->record.mrec, org)) != NULL) {
        d->is_secure = w->record.secure;
        d->is_kept = life->is_kept;
        d->record_until = life->until;
    }
    dime_answer_free(other);
    return d;
}

/* The signets, under a record that is there. */
static enum dime_outcome
find_signets(struct resolution *z, struct asking *a)
{
    struct dime_signet org;
    enum dime_reason why;
    int64_t org_until = 0, user_until = 0;
    enum dime_outcome out = org_find(a, &z->org, &org_until);

    if (out != DIME_IS_DARK)
        return out;
    if (dime_signet_parse_as(DIME_ORG, kd_buf_slice(&z->org), &org, &why) != KD_OK)
        return DIME_IS_UNTRUSTED; /* it was parsed before */
    z->parts.fresh_until = earlier(z->parts.fresh_until, org_until);
    if ((a->flags & DIME_QUERY_WITNESS) != 0)
        witness_ask(a, &org);
    if (z->is.domain == z->is.name)
        return DIME_IS_DARK;
    out = user_find(a, &org, &z->user, &user_until, z->known, z->found);
    z->parts.fresh_until = earlier(z->parts.fresh_until, user_until);
    return out;
}

static enum dime_outcome
with_record(struct resolution *z, const struct walk *w)
{
    struct session session = {.hosts_conf = &z->r->reach.hosts,
                              .dmtp = z->r->reach.dmtp,
                              .domain = w->supplied,
                              .record = &w->record.mrec,
                              .is_secure = w->record.secure,
                              .is_relaxed = is_relaxed(z->r, w->supplied),
                              .deadline = z->query->deadline,
                              .steps = z->steps};
    struct asking a = {.conf = &z->r->settings,
                       .store = z->r->store,
                       .session = &session,
                       .steps = z->steps,
                       .flags = z->query->flags,
                       .now = z->now,
                       .deadline = z->query->deadline,
                       .name = z->is.name,
                       .fingerprint = z->query->fingerprint,
                       .supplier = w->supplied,
                       .record = &w->record.mrec,
                       .is_secure = w->record.secure};

    z->parts.fresh_until = life_of(z, w->supplied)->refresh_at;
    enum dime_outcome out = find_signets(z, &a);
    session_close(&session);
    return out;
}

static enum dime_outcome
of_walk(struct resolution *z, struct walk *w)
{
    switch (w->record.state) {
    case RECORD_PRESENT:
        break;
    case RECORD_ABSENT:
        z->parts.fresh_until =
            z->now + (w->ttl < LEGACY_SECONDS ? w->ttl : LEGACY_SECONDS);
        return DIME_IS_LEGACY;
    case RECORD_BROKEN:
        steps_alarm(z->steps, STEP_RECORD, "%s: %s", w->supplied, w->record.why);
        if ((z->query->flags & DIME_QUERY_OFFLINE) != 0)
            return DIME_IS_UNREACHABLE;
        return kd_clock_ms() >= z->query->deadline ? DIME_IS_NO_TIME
                                                   : DIME_IS_RECORD_BROKEN;
    }
    enum dime_outcome out = with_record(z, w);
    z->parts.domain = domain_for(z, w, kd_buf_slice(&z->org));
    return out;
}

static enum dime_outcome
run(struct resolution *z)
{
    struct name_list *names = calloc(1, sizeof *names);
    struct walk *w = calloc(1, sizeof *w);
    enum dime_outcome out = DIME_IS_BAD_NAME;

    if (names == NULL || w == NULL) {
        out = DIME_IS_UNREACHABLE;
    } else if (suffixes_walk(z->r->suffixes, z->is.domain, names) == KD_OK) {
        kd_ignore(walk_run(names, look, z, z->query->deadline, z->steps, w));
        out = of_walk(z, w);
        walk_clear(w);
    } else {
        steps_warn(z->steps, STEP_NAME, "more labels than are looked at");
    }
    free(names);
    free(w);
    return out;
}

static const struct dime_answer *
conclude(struct resolution *z, enum dime_outcome outcome)
{
    bool has_chain = outcome == DIME_IS_CHAIN_BROKEN;

    steps_add(z->steps, STEP_VERDICT, "%s", dime_outcome_name(outcome));
    z->parts.outcome = outcome;
    z->parts.user_signet = kd_buf_slice(&z->user);
    z->parts.known = has_chain ? z->known : NULL;
    z->parts.found = has_chain ? z->found : NULL;
    z->parts.steps = z->steps;
    if (dime_outcome_is_temporary(outcome) && outcome != DIME_IS_NOT_ENABLED)
        z->parts.fresh_until = 0; /* it is asked again */
    const struct dime_answer *a = answer_new(&z->parts);
    domain_free(z->parts.domain);
    return a;
}

/* From memory, or found now by this thread alone. */
static const struct dime_answer *
resolve(struct resolution *z)
{
    struct dime_resolver *r = z->r;
    bool is_plain = z->query->fingerprint == NULL;
    bool may_remember =
        is_plain && (z->query->flags & ~(unsigned)DIME_QUERY_OFFLINE) == 0;
    struct underway_name mine;
    bool waited = false;
    const struct dime_answer *a =
        may_remember ? memory_get(r->memory, z->is.name, z->now) : NULL;

    if (a != NULL)
        return a;
    if (!underway_begin(&r->underway, &mine, z->is.name, z->query->deadline, &waited))
        return conclude(z, DIME_IS_NO_TIME);
    if (waited && may_remember)
        a = memory_get(r->memory, z->is.name, z->now);
    if (a == NULL) {
        a = conclude(z, run(z));
        if (a != NULL && is_plain)
            memory_put(r->memory, a, z->now);
    }
    underway_end(&r->underway, &mine);
    return a;
}

kd_err
dime_resolve(struct dime_resolver *r, const struct dime_query *query,
             const struct dime_answer **out)
{
    struct resolution *z = calloc(1, sizeof *z);
    const struct dime_answer *a;

    if (z == NULL)
        return KD_NOMEM;
    z->r = r;
    z->query = query;
    z->now = r->now(r->now_arg);
    kd_buf_init(&z->org, DMTP_SIGNET_MAX);
    kd_buf_init(&z->user, DMTP_SIGNET_MAX);
    bool is_name = understand(query->name, &z->is);
    z->steps = steps_new();
    struct steps *opening = atomic_exchange(&r->opening, NULL);
    if (opening != NULL)
        steps_join(z->steps, opening);
    steps_free(opening);
    if (is_name)
        z->parts.name = z->is.name;
    else
        steps_warn(z->steps, STEP_NAME, "neither a domain nor an address");
    a = is_name ? resolve(z) : conclude(z, DIME_IS_BAD_NAME);
    steps_free(z->steps);
    kd_buf_free(&z->org);
    kd_buf_free(&z->user);
    free(z);
    if (a == NULL)
        return KD_NOMEM;
    *out = a;
    return KD_OK;
}

kd_err
dime_resolver_accept(struct dime_resolver *r, const char *address,
                     const uint8_t fingerprint[DIME_FINGERPRINT_SIZE])
{
    struct understood is;
    struct kd_buf octets;
    struct dime_signet signet;
    enum dime_reason why;
    uint8_t core[DIME_FINGERPRINT_SIZE], full[DIME_FINGERPRINT_SIZE];

    if (r->store == NULL || !understand(address, &is))
        return KD_NOT_FOUND;
    kd_buf_init(&octets, DMTP_SIGNET_MAX);
    kd_err err = store_found_get(r->store, is.name, &octets, core);
    if (err == KD_OK && memcmp(core, fingerprint, sizeof core) != 0)
        err = KD_NOT_FOUND;
    if (err == KD_OK && (dime_signet_parse_as(DIME_USER, kd_buf_slice(&octets), &signet,
                                              &why) != KD_OK ||
                         dime_fingerprint(&signet, DIME_PART_FULL, full) != KD_OK))
        err = KD_INVALID;
    if (err == KD_OK)
        err = store_signet_put(r->store, is.name, kd_buf_slice(&octets), core, full,
                               true, r->now(r->now_arg));
    if (err == KD_OK)
        err = store_found_forget(r->store, is.name);
    memory_forget(r->memory, is.name);
    kd_buf_free(&octets);
    return err;
}
