#include "dmtp.h"

#include "cert.h"
#include "dmtp_link.h"
#include "revoked.h"

#include <errno.h>
#include <keyd/base/clock.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GOODBYE_MS = 5000 }; /* for a host that is not wanted */

static const struct dmtp_limits few = {64, 16 << 10};

const char *
dmtp_end_text(enum dmtp_end end)
{
    static const char *const texts[] = {
        [DMTP_DONE] = "done",
        [DMTP_NO_CONNECTION] = "no connection",
        [DMTP_NO_TLS] = "no TLS as it must be",
        [DMTP_NO_DMTP] = "no DMTP there",
        [DMTP_UNTRUSTED] = "the certificate does not hold",
        [DMTP_CLOSED] = "closed by the host",
        [DMTP_GARBAGE] = "no reply that can be read",
        [DMTP_LATE] = "not in time",
        [DMTP_NO_MEMORY] = "out of memory",
    };

    return (unsigned)end < sizeof texts / sizeof texts[0] ? texts[end] : "?";
}

/* ---- what connections share */

/* Chain, key and name are judged when the handshake is done, so that who is refused is
 * told so by QUIT or a clean end (TR-34, MR-66). */
static int
later(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1;
}

/* D-132. The security level is that of our own lists here: what may be too weak in a
 * certificate is cert.c's. */
static bool
set_protocol(SSL_CTX *ctx, bool only_tls12)
{
    enum { CERTIFICATES_MAX = 64 << 10 };

    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_max_cert_list(ctx, CERTIFICATES_MAX);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_cert_verify_callback(ctx, later, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, only_tls12 ? TLS1_2_VERSION
                                                         : TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE-RSA-AES256-GCM-SHA384") == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") == 1 &&
           SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384:P-521") == 1 &&
           SSL_CTX_set1_sigalgs_list(
               ctx,
               "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:"
               "RSA+SHA384:RSA+SHA512:ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512") == 1 &&
           SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp) == 1;
}

static kd_err
fill_context(struct dmtp_context *ctx, const struct dmtp_conf *conf, const char **why)
{
    *why = "out of memory";
    if ((ctx->tls = SSL_CTX_new(TLS_client_method())) == NULL ||
        (ctx->authorities = X509_STORE_new()) == NULL)
        return KD_NOMEM;
    *why = "TLS cannot be set up";
    if (!set_protocol(ctx->tls, conf->only_tls12))
        return KD_FAILED;
    *why = "the recognised authorities cannot be read";
    if (conf->ca_file != NULL
            ? X509_STORE_load_file(ctx->authorities, conf->ca_file) != 1
            : X509_STORE_set_default_paths(ctx->authorities) != 1)
        return KD_IO;
    return KD_OK;
}

kd_err
dmtp_context_new(const struct dmtp_conf *conf, struct dmtp_context **out,
                 const char **why)
{
    static const struct dmtp_times usual = {.setup = 240000,
                                            .command = 120000,
                                            .signet = 60000,
                                            .quit = 60000,
                                            .silence = 15000};
    struct dmtp_context *ctx = calloc(1, sizeof *ctx);

    *why = "out of memory";
    if (ctx == NULL)
        return KD_NOMEM;
    ctx->takes_libdime = conf->takes_libdime;
    ctx->times = conf->times != NULL ? *conf->times : usual;
    kd_err err = fill_context(ctx, conf, why);
    ERR_clear_error();
    if (err == KD_OK)
        *out = ctx;
    else
        dmtp_context_free(ctx);
    return err;
}

void
dmtp_context_free(struct dmtp_context *ctx)
{
    if (ctx == NULL)
        return;
    SSL_CTX_free(ctx->tls);
    X509_STORE_free(ctx->authorities);
    free(ctx);
}

/* ---- opening: what the parts of it share */

struct opening {
    struct dmtp *d;
    const struct dmtp_target *target;
    int64_t deadline; /* of this address */
    struct steps *steps;
};

static enum dmtp_end
receive(const struct opening *o, const char *what)
{
    return dmtp_receive(o->d, what, few, o->d->ctx->times.setup, o->deadline, o->steps);
}

static enum dmtp_end
connect_to(const struct opening *o, const struct sockaddr_storage *address)
{
    char text[NET_TEXT_MAX];
    int64_t until = dmtp_until(o->deadline, o->d->ctx->times.setup);

    net_text(address, text);
    kd_err err = net_connect(&o->d->net, address, o->target->port, until);
    if (err == KD_OK) {
        steps_add(o->steps, STEP_CONNECT, "%s, %s port %u", o->target->host, text,
                  o->target->port);
        return DMTP_DONE;
    }
    steps_add(o->steps, STEP_CONNECT, "%s, %s port %u: %s", o->target->host, text,
              o->target->port, err == KD_TIMEOUT ? "not in time" : strerror(errno));
    return DMTP_NO_CONNECTION;
}

/* ---- in clear */

static enum dmtp_end
refuse_early_octets(const struct opening *o)
{
    if (o->d->at == o->d->n)
        return DMTP_DONE;
    steps_alarm(o->steps, STEP_TLS, "octets in clear in front of the handshake");
    return DMTP_NO_TLS;
}

static enum dmtp_end
expect_banner(const struct opening *o)
{
    enum dmtp_end end = receive(o, "banner");

    if (end != DMTP_DONE)
        return end;
    if (o->d->reader.code == 220 &&
        dmtp_text_says_dmtp(dmtp_reader_text(&o->d->reader), 0))
        return DMTP_DONE;
    steps_warn(o->steps, STEP_DMTP, "the banner does not say DMTP");
    return DMTP_NO_DMTP;
}

/* Silence is taken for a host that begins its handshake without a word (D-144). */
static enum dmtp_end
expect_starttls(const struct opening *o)
{
    if (!net_can_read(&o->d->net, dmtp_until(o->deadline, o->d->ctx->times.silence))) {
        steps_add(o->steps, STEP_TLS, "no reply to STARTTLS; the handshake is begun");
        return DMTP_DONE;
    }
    enum dmtp_end end = receive(o, "STARTTLS");
    if (end == DMTP_DONE && dmtp_class_of(o->d->reader.code) != DMTP_SUCCESS)
        end = DMTP_NO_DMTP;
    return end;
}

/* D-145: what an attacker put in front of the handshake must not be read behind it. */
static enum dmtp_end
elevate(const struct opening *o)
{
    char line[512];
    enum dmtp_end end;

    int n = snprintf(line, sizeof line, "STARTTLS <%s> MODE=DMTP\n", o->target->host);
    if (n < 0 || (size_t)n >= sizeof line)
        return DMTP_NO_DMTP;
    if ((end = expect_banner(o)) != DMTP_DONE ||
        (end = refuse_early_octets(o)) != DMTP_DONE ||
        (end =
             dmtp_send(o->d, line, dmtp_until(o->deadline, o->d->ctx->times.setup))) !=
            DMTP_DONE ||
        (end = expect_starttls(o)) != DMTP_DONE)
        return end;
    return refuse_early_octets(o);
}

/* ---- TLS */

static enum dmtp_end
handshake_failed(const struct opening *o)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);

    if (o->d->net.was_late)
        reason = "not in time";
    steps_warn(o->steps, STEP_TLS, "no handshake: %s",
               reason != NULL ? reason : "closed by the host");
    ERR_clear_error();
    o->d->is_broken = o->d->is_over = true;
    return o->d->net.was_late ? DMTP_LATE : DMTP_NO_TLS;
}

static enum dmtp_end
handshake(const struct opening *o)
{
    struct dmtp *d = o->d;
    BIO *bio;

    if ((d->tls = SSL_new(d->ctx->tls)) == NULL || (bio = net_bio(&d->net)) == NULL) {
        d->is_broken = true;
        return DMTP_NO_MEMORY;
    }
    SSL_set_bio(d->tls, bio, bio);
    d->net.deadline = dmtp_until(o->deadline, d->ctx->times.setup);
    d->net.was_late = false;
    ERR_clear_error();
    /* The macro for it casts the const away, which clang tells. */
    if (SSL_ctrl(d->tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 (void *)(uintptr_t)o->target->host) != 1 ||
        SSL_connect(d->tls) != 1)
        return handshake_failed(o);
    steps_add(o->steps, STEP_TLS, "%s, %s", SSL_get_version(d->tls),
              SSL_get_cipher_name(d->tls));
    return DMTP_DONE;
}

static struct kd_slice
staple_of(const SSL *tls)
{
    const unsigned char *p = NULL;
    long n = SSL_get_tlsext_status_ocsp_resp((SSL *)(uintptr_t)tls, &p);

    return n > 0 ? kd_slice(p, (size_t)n) : kd_slice(NULL, 0);
}

static enum dmtp_end
judge_revocation(const struct opening *o, const struct cert_verdict *v, int64_t now)
{
    switch (revoked_check(v->chain, o->d->ctx->authorities, staple_of(o->d->tls), now,
                          o->deadline, o->steps)) {
    case REVOKED_NOT:
    case REVOKED_UNKNOWN:
        return DMTP_DONE;
    case REVOKED_IS:
    case REVOKED_BAD_STAPLE:
    default:
        return DMTP_UNTRUSTED;
    }
}

static enum dmtp_end
judge_verdict(const struct opening *o, const struct cert_verdict *v, int64_t now)
{
    if (v->why == CERT_NO_MEMORY)
        return DMTP_NO_MEMORY;
    if (!cert_passes(v)) {
        steps_alarm(o->steps, STEP_CERTIFICATE, "%s is refused: %s", o->target->host,
                    cert_text(v));
        if (v->why == CERT_WEAK_KEY) /* TR-34 */
            dmtp_quit(o->d, dmtp_until(o->deadline, GOODBYE_MS));
        return DMTP_UNTRUSTED;
    }
    steps_add(o->steps, STEP_CERTIFICATE, "%s: %s", o->target->host, cert_text(v));
    o->d->is_pinned = v->why == CERT_PINNED || v->why == CERT_PINNED_VALID;
    return cert_wants_revocation(v) ? judge_revocation(o, v, now) : DMTP_DONE;
}

static int64_t
seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* For dmtp_shown. */
static void
show(struct dmtp_shown *out, const struct cert_question *q, enum cert_why verdict)
{
    struct cert_question without = *q;
    struct cert_verdict v;
    uint8_t *der = NULL;
    int n = q->cert == NULL ? 0 : i2d_X509(q->cert, &der);

    if (n <= 0)
        return;
    out->is_reached = true;
    kd_buf_reset(&out->certificate);
    kd_buf_put(&out->certificate, kd_slice(der, (size_t)n));
    OPENSSL_free(der);
    out->from = seconds_of(X509_get0_notBefore(q->cert));
    out->until = out->chain_until = seconds_of(X509_get0_notAfter(q->cert));
    for (int i = 0; i < sk_X509_num(q->others); i++) {
        int64_t end = seconds_of(X509_get0_notAfter(sk_X509_value(q->others, i)));
        out->chain_until = end < out->chain_until ? end : out->chain_until;
    }
    without.is_secure = false;
    cert_judge(&without, &v);
    out->verdict = verdict;
    out->without_dns = v.why;
    cert_verdict_clear(&v);
}

static enum dmtp_end
judge(const struct opening *o)
{
    const struct dmtp_target *t = o->target;
    int64_t now = kd_clock_wall_ms() / 1000;
    X509 *cert = SSL_get1_peer_certificate(o->d->tls);
    const struct cert_question q = {.record = t->record,
                                    .is_secure = t->is_secure,
                                    .is_relaxed = t->is_relaxed,
                                    .host = t->host,
                                    .domain = t->domain,
                                    .cert = cert,
                                    .others = SSL_get_peer_cert_chain(o->d->tls),
                                    .authorities = o->d->ctx->authorities,
                                    .is_tls13 =
                                        SSL_version(o->d->tls) >= TLS1_3_VERSION,
                                    .now = now};
    struct cert_verdict v;

    cert_judge(&q, &v);
    if (t->shown != NULL)
        show(t->shown, &q, v.why);
    enum dmtp_end end = judge_verdict(o, &v, now);
    cert_verdict_clear(&v);
    X509_free(cert);
    ERR_clear_error();
    return end;
}

/* ---- through TLS */

/* Behind STARTTLS the host says which mode it is in (TR-65, TR-69, D-143). */
static enum dmtp_end
expect_mode(const struct opening *o)
{
    enum dmtp_end end = receive(o, "behind TLS");

    if (end != DMTP_DONE)
        return end;
    if (o->d->reader.code == 250 &&
        dmtp_text_says_dmtp(dmtp_reader_text(&o->d->reader), 2))
        return DMTP_DONE;
    steps_warn(o->steps, STEP_DMTP, "the host is not in its mode for DMTP");
    return DMTP_NO_DMTP;
}

static enum dmtp_end
set_up(const struct opening *o)
{
    bool is_dual = o->target->mode == DMTP_DUAL;
    enum dmtp_end end;

    if (is_dual && (end = elevate(o)) != DMTP_DONE)
        return end;
    if ((end = handshake(o)) != DMTP_DONE || (end = judge(o)) != DMTP_DONE)
        return end;
    return is_dual ? expect_mode(o) : expect_banner(o);
}

static struct dmtp *
dmtp_new(struct dmtp_context *ctx)
{
    struct dmtp *d = calloc(1, sizeof *d);

    if (d == NULL)
        return NULL;
    d->ctx = ctx;
    d->net.sock = -1;
    dmtp_reader_init(&d->reader);
    kd_buf_init(&d->octets, DMTP_HISTORY_MAX);
    return d;
}

static enum dmtp_end
open_one(struct dmtp_context *ctx, const struct dmtp_target *target, size_t which,
         int64_t deadline, struct steps *steps, struct dmtp **out)
{
    struct opening o = {dmtp_new(ctx), target, deadline, steps};

    if (o.d == NULL)
        return DMTP_NO_MEMORY;
    enum dmtp_end end = connect_to(&o, &target->addresses[which]);
    if (end == DMTP_DONE)
        end = set_up(&o);
    if (end == DMTP_DONE) {
        *out = o.d;
        return end;
    }
    dmtp_end_tls(o.d, dmtp_until(deadline, GOODBYE_MS));
    dmtp_free(o.d);
    return end;
}

enum dmtp_end
dmtp_open(struct dmtp_context *ctx, const struct dmtp_target *target, int64_t deadline,
          struct steps *steps, struct dmtp **out)
{
    enum dmtp_end end = DMTP_NO_CONNECTION;
    bool is_untrusted = false;

    for (size_t i = 0; i < target->n_addresses && end != DMTP_NO_MEMORY; i++) {
        int64_t now = kd_clock_ms();
        if (now >= deadline) {
            end = DMTP_LATE;
            break;
        }
        int64_t share = (deadline - now) / (int64_t)(target->n_addresses - i);
        end = open_one(ctx, target, i, now + share, steps, out);
        if (end == DMTP_DONE)
            return end;
        is_untrusted |= end == DMTP_UNTRUSTED;
    }
    return is_untrusted ? DMTP_UNTRUSTED : end;
}

void
dmtp_close(struct dmtp *d, int64_t deadline)
{
    if (d == NULL)
        return;
    if (!d->is_over)
        dmtp_quit(d, deadline);
    dmtp_end_tls(d, dmtp_until(deadline, GOODBYE_MS));
    dmtp_free(d);
}

bool
dmtp_is_pinned(const struct dmtp *d)
{
    return d->is_pinned;
}
