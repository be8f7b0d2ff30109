#include "authority.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ocsp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

/* ---- what is said */

static void
put_der(struct kd_buf *out, unsigned char *der, int n)
{
    MUST(n > 0);
    kd_buf_reset(out);
    kd_buf_put(out, kd_slice(der, (size_t)n));
    MUST(out->err == KD_OK);
    OPENSSL_free(der);
}

void
ocsp_make(struct kd_buf *out, const struct ocsp_spec *s)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(s->uses_sha256 ? EVP_sha256() : EVP_sha1(),
                                      s->cert->cert, s->issuer->cert);
    ASN1_TIME *from = X509_gmtime_adj(NULL, s->from);
    ASN1_TIME *to = X509_gmtime_adj(NULL, s->to);
    unsigned char *der = NULL;

    MUST(basic != NULL && id != NULL && from != NULL && to != NULL);
    MUST(OCSP_basic_add1_status(basic, id, s->status, 0,
                                s->status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL,
                                from, to) != NULL);
    MUST(OCSP_basic_sign(basic, s->signer->cert, s->signer->key, EVP_sha256(), NULL,
                         0) == 1);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    MUST(r != NULL);
    int n = i2d_OCSP_RESPONSE(r, &der);
    put_der(out, der, n);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
}

void
crl_make(struct kd_buf *out, const struct identity *issuer,
         const struct identity *signer, const struct identity *cert, long to)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -3600), *until = X509_gmtime_adj(NULL, to);
    unsigned char *der = NULL;

    MUST(list != NULL && X509_CRL_set_version(list, 1) == 1);
    MUST(X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->cert)) == 1);
    MUST(X509_CRL_set1_lastUpdate(list, from) == 1);
    MUST(X509_CRL_set1_nextUpdate(list, until) == 1);
    if (cert != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        MUST(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert->cert)) ==
             1);
        MUST(X509_REVOKED_set_revocationDate(entry, from) == 1);
        MUST(X509_CRL_add0_revoked(list, entry) == 1);
    }
    MUST(X509_CRL_sign(list, signer->key, EVP_sha256()) > 0);
    int n = i2d_X509_CRL(list, &der);
    put_der(out, der, n);
    X509_CRL_free(list);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
}

/* ---- who says it */

struct authority {
    pthread_t thread;
    pthread_mutex_t lock;
    int listener, stop[2];
    uint16_t port;
    unsigned asked;
    enum authority_manner manner;
    const char *type;
    struct kd_buf body;
};

static bool
is_stopped(const struct authority *a, int ms)
{
    struct pollfd p = {.fd = a->stop[0], .events = POLLIN};

    return poll(&p, 1, ms) > 0;
}

/* To the end of the head; a body is not looked at. */
static void
read_request(int sock)
{
    char text[8192];
    ssize_t n = recv(sock, text, sizeof text, 0);

    kd_ignore(n);
}

static void
put(int sock, const void *p, size_t n)
{
    kd_ignore(send(sock, p, n, MSG_NOSIGNAL));
}

static void
never_end(const struct authority *a, int sock)
{
    static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: application/"
                               "ocsp-response\r\n\r\n\x30\x84\x40\x00\x00\x00";
    static const char zeros[65536];

    put(sock, head, sizeof head - 1);
    while (!is_stopped(a, 0) && send(sock, zeros, sizeof zeros, MSG_NOSIGNAL) > 0)
        ;
}

static void
say(struct authority *a, int sock)
{
    char head[256];

    pthread_mutex_lock(&a->lock);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.0 200 OK\r\nContent-Type: %s\r\nContent-Length: "
                     "%zu\r\n\r\n",
                     a->type, a->body.n);
    put(sock, head, (size_t)n);
    put(sock, a->body.p, a->body.n);
    pthread_mutex_unlock(&a->lock);
}

static void
serve(struct authority *a, int sock)
{
    pthread_mutex_lock(&a->lock);
    a->asked++;
    enum authority_manner manner = a->manner;
    pthread_mutex_unlock(&a->lock);
    read_request(sock);
    switch (manner) {
    case AUTHORITY_ANSWERS:
        say(a, sock);
        break;
    case AUTHORITY_IS_SILENT:
        is_stopped(a, 30000);
        break;
    case AUTHORITY_NEVER_ENDS:
        never_end(a, sock);
        break;
    case AUTHORITY_IS_WRONG:
        put(sock, "HTTP/1.0 404 Not Found\r\n\r\n", 26);
        break;
    case AUTHORITY_HANGS_UP:
    default:
        break;
    }
    shutdown(sock, SHUT_RDWR);
    close(sock);
}

static void *
run(void *arg)
{
    struct authority *a = arg;
    struct pollfd p[2] = {{.fd = a->listener, .events = POLLIN},
                          {.fd = a->stop[0], .events = POLLIN}};

    while (poll(p, 2, -1) > 0 && p[1].revents == 0) {
        int sock = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
        if (sock >= 0)
            serve(a, sock);
    }
    return NULL;
}

struct authority *
authority_start(void)
{
    struct authority *a = calloc(1, sizeof *a);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;

    MUST(a != NULL && pipe(a->stop) == 0);
    kd_buf_init(&a->body, 1 << 20);
    pthread_mutex_init(&a->lock, NULL);
    a->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(a->listener >= 0);
    MUST(bind(a->listener, (struct sockaddr *)&in, sizeof in) == 0);
    MUST(listen(a->listener, 16) == 0);
    MUST(getsockname(a->listener, (struct sockaddr *)&in, &n) == 0);
    a->port = ntohs(in.sin_port);
    a->manner = AUTHORITY_HANGS_UP;
    MUST(pthread_create(&a->thread, NULL, run, a) == 0);
    return a;
}

void
authority_say(struct authority *a, enum authority_manner manner, const char *type,
              struct kd_slice body)
{
    pthread_mutex_lock(&a->lock);
    a->manner = manner;
    a->type = type;
    kd_buf_reset(&a->body);
    kd_buf_put(&a->body, body);
    pthread_mutex_unlock(&a->lock);
}

uint16_t
authority_port(const struct authority *a)
{
    return a->port;
}

unsigned
authority_asked(struct authority *a)
{
    pthread_mutex_lock(&a->lock);
    unsigned n = a->asked;
    pthread_mutex_unlock(&a->lock);
    return n;
}

void
authority_stop(struct authority *a)
{
    MUST(write(a->stop[1], "x", 1) == 1);
    pthread_join(a->thread, NULL);
    close(a->stop[0]);
    close(a->stop[1]);
    close(a->listener);
    kd_buf_free(&a->body);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
