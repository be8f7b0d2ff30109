#include "looking.h"

#include "lookup.h"
#include "rdata.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { CERTIFICATE_MAX = 1 << 20 }; /* octets of what a handshake can bring */

/* --- threads ------------------------------------------------------------------------
 */

struct look_thread {
    pthread_t thread;
    bool runs;
    struct looking *l;
    size_t i;
    void (*look)(struct looking *l, size_t i);
};

static void *
run(void *arg)
{
    const struct look_thread *t = arg;

    t->look(t->l, t->i);
    return NULL;
}

void
look_at_each(struct looking *l, size_t n, void (*look)(struct looking *l, size_t i))
{
    struct look_thread *threads = calloc(n + 1, sizeof *threads);
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no signal is a thread's */
    for (size_t i = 0; threads != NULL && i < n; i++) {
        threads[i] = (struct look_thread){.l = l, .i = i, .look = look};
        threads[i].runs =
            pthread_create(&threads[i].thread, NULL, run, &threads[i]) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    for (size_t i = 0; i < n; i++)
        if (threads == NULL || !threads[i].runs)
            look(l, i);
    for (size_t i = 0; threads != NULL && i < n; i++)
        if (threads[i].runs)
            pthread_join(threads[i].thread, NULL);
    free(threads);
}

/* --- what the parts share -----------------------------------------------------------
 */

void
look_why(const struct steps *steps, const char *otherwise,
         char out[DIME_INSPECT_WHY_MAX])
{
    const struct step *worst = NULL;

    for (size_t i = 0; i < steps_n(steps); i++) {
        const struct step *s = steps_get(steps, i);
        if (s->weight != STEP_NOTE && (worst == NULL || s->weight >= worst->weight))
            worst = s;
    }
    kd_ignore(snprintf(out, DIME_INSPECT_WHY_MAX, "%.*s", DIME_INSPECT_WHY_MAX - 1,
                       worst != NULL ? worst->text : otherwise));
}

size_t
look_up_addresses(struct looking *l, const char *name, struct host_addr *out,
                  size_t max, bool *failed)
{
    static const struct {
        uint16_t type;
        int family;
        size_t size;
    } kinds[] = {{DNS_AAAA, AF_INET6, 16}, {DNS_A, AF_INET, 4}};
    size_t n = 0;

    *failed = false;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct dns_answer a;
        if (dns_query(l->reach.dns, name, kinds[k].type, l->deadline, &a) == DNS_BROKEN)
            *failed = true;
        for (size_t i = 0; i < a.n && n < max; i++) {
            struct host_addr one = {.family = kinds[k].family};
            if (a.rdata[i].n != kinds[k].size)
                continue;
            memcpy(one.octets, a.rdata[i].p, kinds[k].size);
            if (hosts_address_ok(&one, l->reach.hosts.local_addresses))
                out[n++] = one;
        }
        dns_answer_clear(&a);
    }
    return n;
}

void
look_address_text(const struct host_addr *a, char out[64])
{
    if (inet_ntop(a->family, a->octets, out, 64) == NULL)
        out[0] = '\0';
}

/* --- records ------------------------------------------------------------------------
 */

/* The strings of TXT data that was read before: those of the record in it. */
static bool
cut(struct kd_slice rdata, struct dime_seen_record *r)
{
    r->n_strings = 0;
    for (size_t at = 0; at < rdata.n;) {
        size_t size = rdata.p[at++];
        if (size > rdata.n - at || r->n_strings == DIME_MREC_PARTS_MAX)
            return false;
        r->strings[r->n_strings++] = kd_slice(rdata.p + at, size);
        at += size;
    }
    return true;
}

/* Whose strings are the text. */
static void
find_strings(const struct looked_owner *o, struct dime_seen_record *r)
{
    uint8_t *joined = malloc(DNS_ANSWER_MAX);
    size_t n;

    for (size_t i = 0; joined != NULL && i < o->answer.n; i++) {
        if (rdata_txt(o->answer.rdata[i], joined, &n) == KD_OK &&
            kd_slice_eq(kd_slice(joined, n), r->text) && cut(o->answer.rdata[i], r))
            break;
        r->n_strings = 0;
    }
    free(joined);
}

/* Both lie in one object: snprintf() may not read what it could write. */
static void
put_owner(const char *prefix, const char *domain, char *out)
{
    size_t n = strlen(prefix), m = strlen(domain);

    memcpy(out, prefix, n);
    out[n] = '.';
    memcpy(out + n + 1, domain, m + 1); /* it was measured */
}

static void
look_at_record(struct looking *l, size_t i)
{
    struct dime_seen_record *r = &l->seen.records[i];
    struct looked_owner *o = &l->owners[i];
    struct steps *steps = steps_new();
    struct record found;

    put_owner(dime_mrec_owners[i], l->seen.domain, r->owner);
    dns_query(l->reach.dns, r->owner, DNS_TXT, l->deadline, &o->answer);
    r->is_bogus = o->answer.status == DNS_BROKEN && o->answer.broken == DNS_BOGUS;
    switch (lookup_judge(&o->answer, &found)) {
    case RECORD_PRESENT:
        r->state = DIME_SEEN_PRESENT;
        r->parsed = found.mrec;
        o->text = found.text;
        r->text = kd_slice(found.text, found.n_text);
        found.text = NULL;
        find_strings(o, r);
        break;
    case RECORD_ABSENT:
        r->state = DIME_SEEN_ABSENT;
        break;
    case RECORD_BROKEN:
        r->state = DIME_SEEN_BROKEN;
        /* Through the steps, which escape what others wrote. */
        steps_warn(steps, STEP_RECORD, "%s", found.why);
        look_why(steps, "broken", r->why);
        break;
    }
    r->is_secure = o->answer.status != DNS_BROKEN && o->answer.secure;
    r->ttl = o->answer.ttl;
    record_clear(&found);
    steps_free(steps);
}

/* --- all of it ----------------------------------------------------------------------
 */

kd_err
dime_inspect(const struct dime_resolver_conf *conf, const char *domain,
             int64_t deadline, struct dime_inspection **out, const char **why)
{
    struct looking *l;

    *why = "not the name of a domain";
    if (!dns_name_ok(domain) || strlen(domain) > DNS_NAME_MAX - sizeof "_dime")
        return KD_INVALID;
    *why = kd_err_text(KD_NOMEM);
    if ((l = calloc(1, sizeof *l)) == NULL)
        return KD_NOMEM;
    *why = NULL;
    memcpy(l->seen.domain, domain, strlen(domain) + 1);
    l->deadline = deadline;
    for (size_t i = 0; i < DIME_INSPECT_HOSTS_MAX; i++) {
        kd_buf_init(&l->certificates[i], CERTIFICATE_MAX);
        kd_buf_init(&l->signets[i], DMTP_SIGNET_MAX);
    }
    kd_err err = reach_open(conf, &l->reach, why);
    if (err != KD_OK) {
        *why = *why == NULL ? kd_err_text(err) : *why;
        dime_inspection_free(&l->seen);
        return err;
    }
    look_at_each(l, DIME_MREC_OWNERS, look_at_record);
    look_at_zone(l);
    look_at_hosts(l);
    *out = &l->seen;
    return KD_OK;
}

void
dime_inspection_free(struct dime_inspection *i)
{
    struct looking *l = (struct looking *)i;

    if (l == NULL)
        return;
    reach_close(&l->reach);
    for (size_t k = 0; k < DIME_MREC_OWNERS; k++) {
        dns_answer_clear(&l->owners[k].answer);
        free(l->owners[k].text);
    }
    for (size_t k = 0; k < DIME_INSPECT_HOSTS_MAX; k++) {
        kd_buf_free(&l->certificates[k]);
        kd_buf_free(&l->signets[k]);
    }
    free(l);
}
