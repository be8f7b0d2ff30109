#include "hostile_dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { HEADER = 12, TCP_MAX = 65535, LOG_MAX = 4096, CLASS_IN = 1, TCP_WAIT_S = 2 };

struct hostile_dns {
    int udp, tcp, stop;
    hostile_answer *answer;
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock;
    size_t n_log;
    struct {
        char name[256];
        uint16_t type;
    } log[LOG_MAX];
};

static void
put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* --- writing --- */

size_t
hostile_wire(const char *name, uint8_t out[256])
{
    size_t n = 0;

    while (*name != '\0') {
        size_t label = strcspn(name, ".");

        if (label > 63 || n + label + 2 > 256)
            abort();
        out[n++] = (uint8_t)label;
        memcpy(out + n, name, label);
        n += label;
        name += label + (name[label] == '.');
    }
    out[n++] = 0;
    return n;
}

void
hostile_raw(struct hostile_msg *m, const void *p, size_t n)
{
    if (n > m->max - m->n)
        abort(); /* the test's own fault */
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

struct hostile_msg
hostile_begin(const struct hostile_query *q, unsigned rcode, uint8_t *out, size_t max)
{
    struct hostile_msg m = {.p = out, .max = max};
    uint8_t header[HEADER] = {q->p[0], q->p[1], 0x84, (uint8_t)rcode, 0, 1};

    hostile_raw(&m, header, sizeof(header));
    hostile_raw(&m, q->p + HEADER, q->question);
    return m;
}

void
hostile_rr(struct hostile_msg *m, int section, const char *name, uint16_t type,
           uint32_t ttl, const void *rdata, size_t n)
{
    uint8_t wire[256] = {0xc0, HEADER}, fixed[10];
    size_t n_wire = name != NULL ? hostile_wire(name, wire) : 2;
    uint8_t *count = m->p + 6 + 2 * section;

    put16(fixed, type);
    put16(fixed + 2, CLASS_IN);
    put16(fixed + 4, ttl >> 16);
    put16(fixed + 6, ttl & 0xffff);
    put16(fixed + 8, n);
    hostile_raw(m, wire, n_wire);
    hostile_raw(m, fixed, sizeof(fixed));
    hostile_raw(m, rdata, n);
    put16(count, (size_t)(count[0] << 8 | count[1]) + 1);
}

void
hostile_txt(struct hostile_msg *m, const char *name, uint32_t ttl, const char *text)
{
    static _Thread_local uint8_t rdata[TCP_MAX];
    size_t n = strlen(text), at = 0;

    do {
        size_t part = n > 255 ? 255 : n;

        if (at + part + 1 > sizeof(rdata))
            abort();
        rdata[at++] = (uint8_t)part;
        memcpy(rdata + at, text, part);
        at += part;
        text += part;
        n -= part;
    } while (n > 0);
    hostile_rr(m, HOSTILE_ANSWER, name, 16, ttl, rdata, at);
}

void
hostile_name(struct hostile_msg *m, int section, const char *name, uint16_t type,
             uint32_t ttl, const char *target)
{
    uint8_t rdata[258] = {0, 10};
    size_t skip = type == 15 ? 2 : 0; /* an MX's preference */

    hostile_rr(m, section, name, type, ttl, rdata,
               skip + hostile_wire(target, rdata + skip));
}

void
hostile_soa(struct hostile_msg *m, const char *zone, uint32_t ttl)
{
    uint8_t rdata[600];
    size_t n = hostile_wire("ns", rdata);

    n += hostile_wire("admin", rdata + n);
    memset(rdata + n, 0, 20);
    put16(rdata + n + 18, ttl);
    hostile_rr(m, HOSTILE_AUTHORITY, zone, 6, ttl, rdata, n + 20);
}

/* --- serving --- */

static bool
read_query(const uint8_t *p, size_t n, bool tcp, struct hostile_query *q)
{
    size_t at = HEADER, out = 0;

    *q = (struct hostile_query){.p = p, .n = n, .tcp = tcp};
    while (at < n && p[at] != 0) {
        size_t label = p[at++];

        if (label > 63 || at + label >= n || out + label + 2 > sizeof(q->name))
            return false;
        if (out > 0)
            q->name[out++] = '.';
        for (size_t i = 0; i < label; i++, at++)
            q->name[out++] = (char)(p[at] >= 'A' && p[at] <= 'Z' ? p[at] + 32 : p[at]);
    }
    if (at + 5 > n)
        return false;
    q->type = (uint16_t)(p[at + 1] << 8 | p[at + 2]);
    q->question = at + 5 - HEADER;
    return true;
}

static size_t
answer_one(struct hostile_dns *h, const uint8_t *p, size_t n, bool tcp, uint8_t *out,
           size_t max)
{
    struct hostile_query q;

    if (!read_query(p, n, tcp, &q))
        return 0;
    pthread_mutex_lock(&h->lock);
    if (h->n_log < LOG_MAX) {
        memcpy(h->log[h->n_log].name, q.name, sizeof(q.name));
        h->log[h->n_log++].type = q.type;
    }
    pthread_mutex_unlock(&h->lock);
    return h->answer(h->arg, &q, out, max);
}

static void
serve_udp(struct hostile_dns *h, uint8_t *out)
{
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    uint8_t in[4096];
    ssize_t n = recvfrom(h->udp, in, sizeof(in), 0, (struct sockaddr *)&from, &size);

    if (n <= 0)
        return;
    size_t answer = answer_one(h, in, (size_t)n, false, out, TCP_MAX - 100);

    if (answer > 0 &&
        sendto(h->udp, out, answer, 0, (struct sockaddr *)&from, size) < 0)
        perror("hostile_dns: sendto");
}

static bool
read_all(int fd, uint8_t *p, size_t n)
{
    return recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

static void
serve_tcp(struct hostile_dns *h, uint8_t *out)
{
    struct timeval wait = {.tv_sec = TCP_WAIT_S};
    int fd = accept4(h->tcp, NULL, NULL, SOCK_CLOEXEC);
    uint8_t in[4096], size[2];

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (read_all(fd, size, 2)) {
        size_t n = (size_t)(size[0] << 8 | size[1]);

        if (n <= sizeof(in) && read_all(fd, in, n)) {
            size_t answer = answer_one(h, in, n, true, out + 2, TCP_MAX);

            put16(out, answer);
            if (answer > 0)
                send(fd, out, answer + 2, MSG_NOSIGNAL);
        }
    }
    close(fd);
}

static void *
serve(void *arg)
{
    struct hostile_dns *h = arg;
    struct pollfd fds[] = {{.fd = h->udp, .events = POLLIN},
                           {.fd = h->tcp, .events = POLLIN},
                           {.fd = h->stop, .events = POLLIN}};
    uint8_t *out = malloc(TCP_MAX + 2);

    while (out != NULL && poll(fds, 3, -1) >= 0) {
        if ((fds[2].revents & POLLIN) != 0)
            break;
        if ((fds[0].revents & POLLIN) != 0)
            serve_udp(h, out);
        if ((fds[1].revents & POLLIN) != 0)
            serve_tcp(h, out);
    }
    free(out);
    return NULL;
}

static int
listen_at(const char *address, int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

    inet_pton(AF_INET, address, &at.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        (type == SOCK_STREAM && listen(fd, 64) != 0)) {
        perror("hostile_dns: bind");
        exit(1);
    }
    return fd;
}

struct hostile_dns *
hostile_dns_start(const char *address, hostile_answer *answer, void *arg)
{
    struct hostile_dns *h = calloc(1, sizeof(*h));

    if (h == NULL)
        abort();
    h->answer = answer;
    h->arg = arg;
    h->udp = listen_at(address, SOCK_DGRAM);
    h->tcp = listen_at(address, SOCK_STREAM);
    h->stop = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&h->lock, NULL);
    if (pthread_create(&h->thread, NULL, serve, h) != 0)
        abort();
    return h;
}

void
hostile_dns_stop(struct hostile_dns *h)
{
    if (h == NULL)
        return;
    if (eventfd_write(h->stop, 1) != 0)
        abort();
    pthread_join(h->thread, NULL);
    pthread_mutex_destroy(&h->lock);
    close(h->udp);
    close(h->tcp);
    close(h->stop);
    free(h);
}

unsigned
hostile_dns_asked(struct hostile_dns *h, const char *name, uint16_t type)
{
    unsigned n = 0;

    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_log; i++)
        n += (name == NULL || strcmp(name, h->log[i].name) == 0) &&
             (type == 0 || type == h->log[i].type);
    pthread_mutex_unlock(&h->lock);
    return n;
}
