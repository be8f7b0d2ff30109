#include "dns.h"

#include <keyd/base/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unbound.h>
#include <unistd.h>

static const char debian_anchor[] = "/usr/share/dns/root.key";
enum { CLASS_IN = 1, ANCHOR_FILE_MAX = 1024 * 1024 };

struct dns {
    struct ub_ctx *ub;
    int64_t max_ms;
    bool anchored;
    bool running; /* the thread was made */
    int stop;     /* eventfd */
    pthread_t thread;
};

/* A question under way: held by who waits and by libunbound's callback, whichever of
 * them comes last frees it. */
struct question {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    unsigned holders;
    bool done;
    int err;
    struct ub_result *result;
};

/* What is set against libunbound's defaults, or although it is the default today. */
static const struct {
    const char *name, *value;
} options[] = {
    {"module-config:", "validator iterator"},
    {"harden-glue:", "yes"},
    {"harden-dnssec-stripped:", "yes"},
    {"harden-below-nxdomain:", "yes"},
    {"harden-short-bufsize:", "yes"},
    {"harden-large-queries:", "yes"},
    {"val-permissive-mode:", "no"},
    {"ignore-cd-flag:", "yes"},
    {"serve-expired:", "no"}, /* our own cache knows for how long */
    /* Insecure answers are to be hard to guess: case of letters besides port and id. */
    {"use-caps-for-id:", "yes"},
    /* What leaks who is written to. */
    {"qname-minimisation:", "yes"},
    {"aggressive-nsec:", "yes"},
    {"minimal-responses:", "yes"},
    {"trust-anchor-signaling:", "no"},
    {"root-key-sentinel:", "no"},
    /* Bounds. */
    {"msg-cache-size:", "4m"},
    {"rrset-cache-size:", "8m"},
    {"key-cache-size:", "2m"},
    {"neg-cache-size:", "1m"},
    {"cache-max-ttl:", "86400"},
    {"cache-max-negative-ttl:", "3600"},
    {"num-queries-per-thread:", "512"},
    {"outgoing-range:", "256"},
    {"outgoing-num-tcp:", "16"},
    {"edns-buffer-size:", "1232"},
    /* Why something is bogus is kept only then; nothing is written anywhere. */
    {"val-log-level:", "2"},
    {"use-syslog:", "no"},
};

/* --- the thread that takes answers --- */

static void *
serve(void *arg)
{
    struct dns *d = arg;
    struct pollfd fds[] = {{.fd = ub_fd(d->ub), .events = POLLIN},
                           {.fd = d->stop, .events = POLLIN}};

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL; /* callers time out */
        if ((fds[1].revents & POLLIN) != 0)
            return NULL;
        if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
            ub_process(d->ub) != UB_NOERROR)
            return NULL;
    }
}

static void
question_free(struct question *q)
{
    ub_resolve_free(q->result);
    pthread_cond_destroy(&q->answered);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static void
let_go(struct question *q)
{
    bool last;

    pthread_mutex_lock(&q->lock);
    last = --q->holders == 0;
    pthread_mutex_unlock(&q->lock);
    if (last)
        question_free(q);
}

static void
on_answer(void *arg, int err, struct ub_result *result)
{
    struct question *q = arg;

    pthread_mutex_lock(&q->lock);
    q->done = true;
    q->err = err;
    q->result = result;
    pthread_cond_signal(&q->answered);
    pthread_mutex_unlock(&q->lock);
    let_go(q);
}

/* --- making --- */

static bool
is_local(const char *server)
{
    return strncmp(server, "127.", 4) == 0 || strncmp(server, "::1", 3) == 0;
}

/* Whether the file has anything that may be an anchor. Unbound reads an empty one, and
 * one that it cannot open only when the first question is asked. */
static kd_err
look_at_anchors(const char *path, bool *any)
{
    FILE *f = fopen(path, "re");
    char line[8192];
    size_t size = 0;

    if (f == NULL)
        return errno == ENOENT ? KD_NOT_FOUND : KD_IO;
    while (fgets(line, sizeof(line), f) != NULL && size < ANCHOR_FILE_MAX) {
        size += strlen(line);
        if (line[0] != ';' &&
            (strstr(line, "DNSKEY") != NULL || strstr(line, "DS") != NULL))
            *any = true;
    }
    bool failed = ferror(f) != 0;

    kd_ignore(fclose(f)); /* read only */
    return failed ? KD_IO : KD_OK;
}

static kd_err
set_anchors(struct dns *d, const struct dns_conf *conf, const char **why)
{
    const char *file = conf->anchor_file != NULL ? conf->anchor_file : debian_anchor;

    if (file[0] != '\0') {
        kd_err err = look_at_anchors(file, &d->anchored);

        if (err == KD_OK && ub_ctx_add_ta_file(d->ub, file) != UB_NOERROR)
            err = KD_INVALID;
        if (err != KD_OK && (conf->anchor_file != NULL || err != KD_NOT_FOUND)) {
            *why = "the file of trust anchors cannot be read";
            return KD_IO;
        }
    }
    for (size_t i = 0; i < conf->n_anchors; i++) {
        if (ub_ctx_add_ta(d->ub, conf->anchors[i]) != UB_NOERROR) {
            *why = "a trust anchor is not taken";
            return KD_INVALID;
        }
        d->anchored = true;
    }
    return KD_OK;
}

static kd_err
set_servers(struct dns *d, const struct dns_conf *conf, const char **why)
{
    bool local = conf->local_servers;
    int err = UB_NOERROR;

    for (size_t i = 0; i < conf->n_forwarders && err == UB_NOERROR; i++) {
        local = local || is_local(conf->forwarders[i]);
        err = ub_ctx_set_fwd(d->ub, conf->forwarders[i]);
    }
    for (size_t i = 0; i < conf->n_stubs && err == UB_NOERROR; i++) {
        local = local || is_local(conf->stubs[i].server);
        err = ub_ctx_set_stub(d->ub, conf->stubs[i].zone, conf->stubs[i].server, 0);
        if (err == UB_NOERROR && conf->stubs[i].insecure)
            err = ub_ctx_set_option(d->ub, "domain-insecure:", conf->stubs[i].zone);
    }
    if (err != UB_NOERROR) {
        *why = "a forwarder or stub zone is not taken";
        return KD_INVALID;
    }
    if (conf->root_hints != NULL) {
        if (access(conf->root_hints, R_OK) != 0) {
            *why = "the file of root hints cannot be read";
            return KD_IO;
        }
        err = ub_ctx_set_option(d->ub, "root-hints:", conf->root_hints);
    }
    if (err == UB_NOERROR)
        err = ub_ctx_set_option(d->ub, "do-not-query-localhost:", local ? "no" : "yes");
    if (err != UB_NOERROR)
        *why = "an option of the resolver is not taken";
    return err == UB_NOERROR ? KD_OK : KD_INVALID;
}

/* libunbound answers by itself that there is nothing below test., home.arpa. and others
 * (RFC 6303, RFC 6761): not below a stub zone, which somebody has there. */
static kd_err
open_stubs(struct dns *d, const struct dns_conf *conf, const char **why)
{
    for (size_t i = 0; i < conf->n_stubs; i++) {
        if (ub_ctx_zone_add(d->ub, conf->stubs[i].zone, "transparent") != UB_NOERROR) {
            *why = "a stub zone is not taken";
            return KD_INVALID;
        }
    }
    return KD_OK;
}

static kd_err
set_all(struct dns *d, const struct dns_conf *conf, const char **why)
{
    kd_err err;

    kd_ignore(ub_ctx_debugout(d->ub, NULL)); /* it would write to stderr */
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (ub_ctx_set_option(d->ub, options[i].name, options[i].value) != UB_NOERROR) {
            *why = options[i].name;
            return KD_INVALID;
        }
    }
    if ((err = set_anchors(d, conf, why)) != KD_OK ||
        (err = set_servers(d, conf, why)) != KD_OK)
        return err;
    if (ub_ctx_async(d->ub, 1) != UB_NOERROR)
        return KD_FAILED;
    /* Removes nothing, but has the context made now: an anchor that cannot be read is
     * told here and not by the first question. */
    if (ub_ctx_data_remove(d->ub, "nothing.invalid.") != UB_NOERROR) {
        *why = "the resolver does not start with these anchors and options";
        return KD_INVALID;
    }
    return open_stubs(d, conf, why);
}

/* No signal of the process is taken by a thread made in between. */
static void
block_signals(sigset_t *old)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

kd_err
dns_new(const struct dns_conf *conf, struct dns **out, const char **why)
{
    struct dns *d = calloc(1, sizeof(*d));
    const char *ignored;
    kd_err err = KD_NOMEM;
    sigset_t old;

    if (why == NULL)
        why = &ignored;
    *why = NULL;
    if (d == NULL)
        return KD_NOMEM;
    d->max_ms = conf->max_ms > 0 ? conf->max_ms : DNS_MAX_MS;
    if ((d->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
        (d->ub = ub_ctx_create()) == NULL)
        goto out;
    if ((err = set_all(d, conf, why)) != KD_OK)
        goto out;
    block_signals(&old);
    d->running = pthread_create(&d->thread, NULL, serve, d) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!d->running) {
        err = KD_UNAVAILABLE;
        goto out;
    }
    *out = d;
    return KD_OK;
out:
    dns_free(d);
    return err;
}

void
dns_free(struct dns *d)
{
    uint64_t one = 1;

    if (d == NULL)
        return;
    if (d->running) {
        kd_ignore(write(d->stop, &one, sizeof(one))); /* an eventfd takes it */
        pthread_join(d->thread, NULL);
    }
    if (d->ub != NULL)
        ub_ctx_delete(d->ub);
    if (d->stop >= 0)
        close(d->stop);
    free(d);
}

bool
dns_anchored(const struct dns *d)
{
    return d->anchored;
}

/* --- asking --- */

static struct question *
question_new(void)
{
    struct question *q = calloc(1, sizeof(*q));
    pthread_condattr_t attr;

    if (q == NULL)
        return NULL;
    q->holders = 2;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as kd_clock_ms */
    pthread_cond_init(&q->answered, &attr);
    pthread_condattr_destroy(&attr);
    return q;
}

static bool
wait_until(struct question *q, int64_t deadline)
{
    struct timespec at = {.tv_sec = deadline / 1000,
                          .tv_nsec = deadline % 1000 * 1000000};
    bool done;

    pthread_mutex_lock(&q->lock);
    while (!q->done && pthread_cond_timedwait(&q->answered, &q->lock, &at) != ETIMEDOUT)
        ;
    done = q->done;
    pthread_mutex_unlock(&q->lock);
    return done;
}

static enum dns_status
fail(struct dns_answer *out, enum dns_broken b, const char *why)
{
    *out = (struct dns_answer){.status = DNS_BROKEN, .broken = b};
    snprintf(out->why, sizeof(out->why), "%s", why);
    return DNS_BROKEN;
}

static void
take(const struct question *q, const char *name, struct dns_answer *out)
{
    const struct ub_result *r = q->result;

    if (q->err != UB_NOERROR || r == NULL) {
        fail(out, DNS_FAULT, ub_strerror(q->err));
        return;
    }
    struct dns_raw raw = {
        .qname = name,
        .canonname = r->canonname,
        .why_bogus = r->why_bogus,
        .rcode = r->rcode,
        .ttl = r->ttl,
        .havedata = r->havedata != 0,
        .nxdomain = r->nxdomain != 0,
        .secure = r->secure != 0,
        .bogus = r->bogus != 0,
        .data = r->data,
        .len = r->len,
    };

    dns_judge(&raw, out);
}

enum dns_status
dns_query(struct dns *d, const char *name, uint16_t type, int64_t deadline,
          struct dns_answer *out)
{
    int64_t now = kd_clock_ms();
    struct question *q;
    sigset_t old;
    int id, err;

    if (!dns_name_ok(name))
        return fail(out, DNS_FAULT, "not a name to ask for");
    if (deadline > now + d->max_ms)
        deadline = now + d->max_ms;
    if (deadline <= now)
        return fail(out, DNS_TIMEOUT, "the deadline is over");
    if ((q = question_new()) == NULL)
        return fail(out, DNS_FAULT, "out of memory");
    block_signals(&old); /* the first question makes libunbound's thread */
    err = ub_resolve_async(d->ub, name, type, CLASS_IN, q, on_answer, &id);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != UB_NOERROR) {
        question_free(q); /* nobody will call back */
        return fail(out, DNS_FAULT, ub_strerror(err));
    }
    if (wait_until(q, deadline)) {
        take(q, name, out);
        let_go(q);
        return out->status;
    }
    if (ub_cancel(d->ub, id) == UB_NOERROR)
        question_free(q); /* the callback does not come any more */
    else
        let_go(q); /* it comes, or is there already */
    return fail(out, DNS_TIMEOUT, "no answer before the deadline");
}
