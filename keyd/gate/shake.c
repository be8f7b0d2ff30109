#include "shake.h"
#include "admit.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    STEPS_A_TURN = 8,        /* each at most a signature and a key agreement */
    NS_A_TURN = 1000 * 1000, /* and no more of them after this time */
    LINES_A_SECOND = 20,     /* of log about what strangers do */
    FROM_SIZE = INET6_ADDRSTRLEN + 8
};

struct shake {
    struct shake *prev, *next; /* all of the party, by age */
    struct shake *next_ready;  /* can go on */
    unsigned party;            /* when it began (admit.h) */
    bool is_ready;
    SSL *ssl;
    int fd;
    struct event *event;
    struct source *source;
    int64_t since;
    bool is_judged;
    struct cert_answer who; /* who.client is not kept: a reload frees it */
    uint8_t name[KD_POLICY_NAME_MAX];
    size_t name_size;
    uint32_t serial; /* of the rules by which */
    char from[FROM_SIZE];
};

/* Those of one party. The parties take turns, and where there is no room for one more
 * the largest gives way: whoever has many addresses would otherwise be before
 * everybody else, and push out those that have only begun. */
struct crowd {
    struct shake *first, *last; /* the oldest first */
    unsigned n;
    struct shake *ready, *last_ready;
};

static struct {
    void (*done)(struct gate *g, struct shaken *s);
    const struct material *newest;
    struct admit admit;
    struct crowd crowds[ADMIT_PARTIES];
    unsigned n, n_ready; /* of all */
    unsigned turn;       /* the crowd that had it last */
    int64_t lines_since;
    unsigned lines, lines_dropped;
} all;

/* --- the log --- */

/* Strangers do not fill a disk: what is too much is counted. */
static bool
may_log(int64_t now)
{
    if (now - all.lines_since >= 1000) {
        if (all.lines_dropped > 0)
            kd_log(KD_WARN, "%u more handshakes failed", all.lines_dropped);
        all.lines_since = now;
        all.lines = all.lines_dropped = 0;
    }
    if (all.lines < LINES_A_SECOND) {
        all.lines++;
        return true;
    }
    all.lines_dropped++;
    return false;
}

static void
log_failure(const struct shake *s, const char *why)
{
    if (may_log(kd_clock_ms()))
        kd_log(KD_INFO, "handshake failed: from=%s reason=\"%s\"", s->from, why);
}

static void
log_certificate(const struct shake *s)
{
    bool chain = s->who.verdict == CERT_UNTRUSTED;

    if (may_log(kd_clock_ms()))
        kd_log(KD_WARN, "certificate refused: from=%s reason=\"%s%s%s\"", s->from,
               cert_verdict_text(s->who.verdict), chain ? ": " : "",
               chain ? X509_verify_cert_error_string(s->who.chain_error) : "");
}

static void
name_source(const struct sockaddr *from, char out[FROM_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;

    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        kd_ignore(inet_ntop(AF_INET, &in.sin_addr, host, sizeof host) == NULL);
        port = ntohs(in.sin_port);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, from, sizeof in);
        kd_ignore(inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host) == NULL);
        port = ntohs(in.sin6_port);
    }
    kd_ignore(snprintf(out, FROM_SIZE, "%s#%u", host, port)); /* fits */
}

/* --- lists --- */

static void
append(struct shake *s)
{
    struct crowd *c = &all.crowds[s->party];

    s->prev = c->last;
    if (c->last == NULL)
        c->first = s;
    else
        c->last->next = s;
    c->last = s;
    c->n++;
    all.n++;
}

static void
take_off(struct shake *s)
{
    struct crowd *c = &all.crowds[s->party];

    if (s->prev == NULL)
        c->first = s->next;
    else
        s->prev->next = s->next;
    if (s->next == NULL)
        c->last = s->prev;
    else
        s->next->prev = s->prev;
    c->n--;
    all.n--;
}

static void
make_ready(struct shake *s)
{
    struct crowd *c = &all.crowds[s->party];

    if (s->is_ready)
        return;
    s->is_ready = true;
    s->next_ready = NULL;
    if (c->last_ready == NULL)
        c->ready = s;
    else
        c->last_ready->next_ready = s;
    c->last_ready = s;
    all.n_ready++;
}

static void
make_unready(struct shake *s)
{
    struct crowd *c = &all.crowds[s->party];
    struct shake *before = NULL;

    if (!s->is_ready)
        return;
    for (struct shake *at = c->ready; at != s; at = at->next_ready)
        before = at;
    if (before == NULL)
        c->ready = s->next_ready;
    else
        before->next_ready = s->next_ready;
    if (c->last_ready == s)
        c->last_ready = before;
    s->is_ready = false;
    all.n_ready--;
}

/* The first that is ready, of the party whose turn it is. */
static struct shake *
next_ready(void)
{
    for (unsigned i = 0; i < ADMIT_PARTIES; i++) {
        all.turn = (all.turn + 1) % ADMIT_PARTIES;
        if (all.crowds[all.turn].ready != NULL)
            return all.crowds[all.turn].ready;
    }
    return NULL;
}

/* Who gives way to one more of that party: the oldest of the largest, for it has had
 * the most time, and an honest one needs a few milliseconds. */
static struct shake *
gives_way(unsigned party)
{
    const struct crowd *most = &all.crowds[party];

    for (unsigned i = 0; i < ADMIT_PARTIES; i++)
        if (all.crowds[i].n > most->n)
            most = &all.crowds[i];
    return most->first;
}

/* --- one of them --- */

/* ssl and fd are closed unless they were handed over. */
static void
end_shake(struct shake *s, bool is_good)
{
    make_unready(s);
    take_off(s);
    admit_end(&all.admit, s->source, kd_slice(s->name, is_good ? s->name_size : 0),
              kd_clock_ms());
    if (s->event != NULL)
        event_free(s->event);
    SSL_free(s->ssl);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

int
shake_verify(X509_STORE_CTX *ctx, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct shake *s = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(ctx);

    (void)arg;
    if (s == NULL || leaf == NULL)
        return 0;
    s->is_judged = true;
    s->serial = all.newest->serial;
    cert_judge(&all.newest->rules, leaf, X509_STORE_CTX_get0_untrusted(ctx),
               kd_clock_wall_ms() / 1000, &s->who);
    if (s->who.verdict == CERT_GOOD) {
        s->name_size = s->who.client->name.n;
        memcpy(s->name, s->who.client->name.p, s->name_size);
        s->who.client = NULL;
        return 1;
    }
    /* One alert for everything: what is wrong stands in our log. */
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REJECTED);
    return 0;
}

void
shakes_rules(struct gate *g, const struct material *newest)
{
    all.newest = newest;
    admit_limits(&all.admit, &g->conf.limits);
}

static void
on_shake_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    make_ready(arg);
}

static bool
wait_for(struct gate *g, struct shake *s, short what)
{
    if (s->event != NULL)
        event_del(s->event);
    else if ((s->event = event_new(g->base, s->fd, what, on_shake_event, s)) == NULL)
        return false;
    return event_assign(s->event, g->base, s->fd, what, on_shake_event, s) == 0 &&
           event_add(s->event, NULL) == 0;
}

static void
hand_over(struct gate *g, struct shake *s)
{
    struct shaken out = {.ssl = s->ssl,
                         .fd = s->fd,
                         .name = kd_slice(s->name, s->name_size),
                         .good_until = s->who.good_until,
                         .serial = s->serial};

    if (s->event != NULL)
        event_free(s->event); /* before the connection has its own of that fd */
    SSL_set_app_data(s->ssl, NULL);
    s->event = NULL;
    s->ssl = NULL;
    s->fd = -1;
    all.done(g, &out);
    end_shake(s, true);
}

static const char *
failure_text(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());

    return text == NULL ? "closed by the peer" : text;
}

static void
step(struct gate *g, struct shake *s)
{
    ERR_clear_error();
    int r = SSL_accept(s->ssl);
    int e = r == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, r);

    if (r == 1 && s->is_judged && s->who.verdict == CERT_GOOD) {
        hand_over(g, s);
        return;
    }
    short what = e == SSL_ERROR_WANT_READ    ? EV_READ
                 : e == SSL_ERROR_WANT_WRITE ? EV_WRITE
                                             : 0;
    if (what != 0 && wait_for(g, s, what))
        return;
    if (s->is_judged && s->who.verdict != CERT_GOOD)
        log_certificate(s);
    else
        log_failure(s, failure_text());
    ERR_clear_error();
    end_shake(s, false);
}

/* --- all of them --- */

void
shakes_setup(struct gate *g, void (*done)(struct gate *g, struct shaken *s))
{
    all.done = done;
    admit_setup(&all.admit, &g->conf.limits, kd_clock_ms());
}

static const char *
admit_text(enum admit_verdict v)
{
    switch (v) {
    case ADMIT_TOO_MANY:
        return "too many unfinished ones of this source";
    case ADMIT_TOO_OFTEN:
        return "too many a second of this source";
    case ADMIT_STRANGERS:
        return "too many a second of strangers";
    case ADMIT_UNREADABLE:
        return "no address";
    case ADMIT_OK:
        break;
    }
    return "";
}

void
shake_begin(struct gate *g, const struct material *m, int fd,
            const struct sockaddr *from)
{
    struct shake *s = calloc(1, sizeof *s);
    int64_t now = kd_clock_ms();

    if (s == NULL) {
        close(fd);
        return;
    }
    name_source(from, s->from);
    enum admit_verdict v = admit_ask(&all.admit, from, now, &s->source);
    if (v != ADMIT_OK) {
        log_failure(s, admit_text(v));
        free(s);
        close(fd);
        return;
    }
    s->party = admit_party(s->source, now);
    while (all.n >= g->conf.limits.max_handshakes) {
        struct shake *other = gives_way(s->party);
        log_failure(other, "made room for another");
        end_shake(other, false);
    }
    s->fd = fd;
    s->since = now;
    s->who.verdict = CERT_UNKNOWN;
    append(s);
    s->ssl = SSL_new(m->ctx);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1 ||
        SSL_set_app_data(s->ssl, s) != 1) {
        end_shake(s, false);
        return;
    }
    make_ready(s);
}

bool
shakes_turn(struct gate *g)
{
    int64_t until = all.n_ready == 0 ? 0 : kd_clock_ns() + NS_A_TURN;

    for (unsigned i = 0; all.n_ready != 0 && i < STEPS_A_TURN; i++) {
        struct shake *s = next_ready();
        make_unready(s);
        step(g, s);
        if (kd_clock_ns() > until)
            break;
    }
    return all.n_ready != 0;
}

static void
end_old(struct crowd *c, int64_t since)
{
    while (c->first != NULL && c->first->since < since) {
        log_failure(c->first, "took too long");
        end_shake(c->first, false);
    }
}

void
shakes_tick(struct gate *g, int64_t now)
{
    int64_t most = (int64_t)g->conf.limits.handshake_timeout * 1000;

    for (unsigned i = 0; i < ADMIT_PARTIES; i++)
        end_old(&all.crowds[i], now - most);
}
