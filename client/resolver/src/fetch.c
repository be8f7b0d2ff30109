#include "fetch.h"

#include "net.h"

#include <errno.h>
#include <keyd/base/clock.h>
#include <limits.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/http.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ADDRESSES_MAX = 4, HOST_MAX = 253 };

/* ---- names: the C library has no look-up with a deadline, so a thread does it, and is
 * left alone if it takes too long. Who is last frees. */

struct search {
    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned users;
    bool is_done;
    char host[HOST_MAX + 1];
    size_t n;
    struct sockaddr_storage found[ADDRESSES_MAX];
};

static void
search_leave(struct search *s)
{
    pthread_mutex_lock(&s->lock);
    bool is_last = --s->users == 0;
    pthread_mutex_unlock(&s->lock);
    if (!is_last)
        return;
    pthread_cond_destroy(&s->done);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void *
search_thread(void *arg)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct search *s = arg;
    struct addrinfo *list = NULL;

    if (getaddrinfo(s->host, NULL, &hints, &list) != 0)
        list = NULL;
    pthread_mutex_lock(&s->lock);
    for (const struct addrinfo *a = list; a != NULL && s->n < ADDRESSES_MAX;
         a = a->ai_next)
        if (a->ai_addrlen <= sizeof s->found[0])
            memcpy(&s->found[s->n++], a->ai_addr, a->ai_addrlen);
    s->is_done = true;
    pthread_cond_signal(&s->done);
    pthread_mutex_unlock(&s->lock);
    if (list != NULL)
        freeaddrinfo(list);
    search_leave(s);
    return NULL;
}

static struct search *
search_new(const char *host)
{
    struct search *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;
    pthread_attr_t detached;
    pthread_t thread;

    if (s == NULL)
        return NULL;
    memcpy(s->host, host, strlen(host) + 1);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->done, &attr);
    pthread_condattr_destroy(&attr);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    s->users = 2;
    if (pthread_create(&thread, &detached, search_thread, s) != 0) {
        s->users = 1;
        search_leave(s);
        s = NULL;
    }
    pthread_attr_destroy(&detached);
    return s;
}

/* How many of them; 0 if there are none in time. */
static size_t
find_addresses(const char *host, int64_t deadline,
               struct sockaddr_storage found[ADDRESSES_MAX])
{
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000),
                             .tv_nsec = (long)(deadline % 1000) * 1000000};
    struct search *s = search_new(host);
    size_t n = 0;

    if (s == NULL)
        return 0;
    pthread_mutex_lock(&s->lock);
    while (!s->is_done && pthread_cond_timedwait(&s->done, &s->lock, &until) == 0)
        ;
    if (s->is_done) {
        n = s->n;
        memcpy(found, s->found, n * sizeof *found);
    }
    pthread_mutex_unlock(&s->lock);
    search_leave(s);
    return n;
}

/* ---- the exchange */

struct url {
    char *host, *port, *path;
    int port_n;
};

static void
url_clear(struct url *u)
{
    OPENSSL_free(u->host);
    OPENSSL_free(u->port);
    OPENSSL_free(u->path);
}

static kd_err
url_read(const char *text, struct url *u)
{
    int uses_tls = 0;

    if (OSSL_HTTP_parse_url(text, &uses_tls, NULL, &u->host, &u->port, &u->port_n,
                            &u->path, NULL, NULL) != 1)
        return KD_UNSUPPORTED;
    if (!uses_tls && u->port_n > 0 && u->port_n <= UINT16_MAX && u->host[0] != '\0' &&
        strlen(u->host) <= HOST_MAX)
        return KD_OK;
    url_clear(u);
    return KD_UNSUPPORTED;
}

static BIO *
exchange(struct net *n, const struct url *u, const char *type, struct kd_slice body,
         size_t max)
{
    BIO *link = net_bio(n), *request = NULL, *out = NULL;

    if (link != NULL && body.n != 0 && body.n <= INT_MAX)
        request = BIO_new_mem_buf(body.p, (int)body.n);
    if (link != NULL && (body.n == 0 || request != NULL))
        out = OSSL_HTTP_transfer(NULL, u->host, u->port, u->path, 0, NULL, NULL, link,
                                 link, NULL, NULL, 0, NULL, type, request, NULL, 1, max,
                                 0, 0);
    BIO_free(request);
    BIO_free(link);
    ERR_clear_error();
    return out;
}

static kd_err
fetch_from(const struct url *u, const char *type, struct kd_slice body, size_t max,
           int64_t deadline, BIO **out, const char **why)
{
    struct sockaddr_storage found[ADDRESSES_MAX];
    size_t n = find_addresses(u->host, deadline, found);
    struct net net;

    *why = n == 0 ? "its name has no address" : "it cannot be reached";
    for (size_t i = 0; i < n; i++) {
        if (net_connect(&net, &found[i], (uint16_t)u->port_n, deadline) != KD_OK)
            continue;
        *out = exchange(&net, u, type, body, max);
        net_close(&net);
        if (*out != NULL)
            return KD_OK;
        *why = net.was_late ? "it does not answer in time" : "it does not answer";
    }
    return KD_UNAVAILABLE;
}

kd_err
fetch(const char *url, const char *type, struct kd_slice body, size_t max,
      int64_t deadline, BIO **out, const char **why)
{
    struct url u = {0};

    if (url_read(url, &u) != KD_OK) {
        ERR_clear_error();
        *why = "no URL that is asked";
        return KD_UNSUPPORTED;
    }
    kd_err err = fetch_from(&u, type, body, max, deadline, out, why);
    url_clear(&u);
    return err;
}
