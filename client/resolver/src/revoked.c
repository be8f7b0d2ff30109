#include "revoked.h"

#include "fetch.h"

#include <keyd/base/clock.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <time.h>

/* What is asked about. */
struct subject {
    X509 *cert, *issuer;
    X509_STORE *authorities;
    int64_t now;
};

/* What a response of OCSP amounts to. */
enum said { SAID_GOOD, SAID_REVOKED, SAID_UNKNOWN, SAID_NOTHING };

static bool
is_current(const struct subject *s, const ASN1_TIME *from, const ASN1_TIME *to)
{
    time_t early = (time_t)s->now - REVOKED_SKEW, late = (time_t)s->now + REVOKED_SKEW;

    return from != NULL && X509_cmp_time(from, &late) < 0 &&
           (to == NULL || X509_cmp_time(to, &early) > 0);
}

/* Responders name certificates by the hash that they like. */
static bool
find_status(const struct subject *s, OCSP_BASICRESP *basic, int *status,
            ASN1_GENERALIZEDTIME **from, ASN1_GENERALIZEDTIME **to)
{
    const EVP_MD *const hashes[] = {EVP_sha1(), EVP_sha256()};
    bool found = false;

    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0] && !found; i++) {
        OCSP_CERTID *id = OCSP_cert_to_id(hashes[i], s->cert, s->issuer);
        found = id != NULL &&
                OCSP_resp_find_status(basic, id, status, NULL, NULL, from, to) == 1;
        OCSP_CERTID_free(id);
    }
    return found;
}

/* The issuer itself may have signed it, or whom it made a responder. Nobody else of the
 * chain may: the certificate would vouch for itself. */
static bool
is_signed(const struct subject *s, OCSP_BASICRESP *basic)
{
    STACK_OF(X509) *issuer = sk_X509_new_null();
    bool ok = issuer != NULL && sk_X509_push(issuer, s->issuer) > 0 &&
              OCSP_basic_verify(basic, issuer, s->authorities, OCSP_TRUSTOTHER) == 1;

    sk_X509_free(issuer);
    return ok;
}

static enum said
judge_response(const struct subject *s, OCSP_RESPONSE *response, const char **why)
{
    ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
    int status = V_OCSP_CERTSTATUS_UNKNOWN;
    OCSP_BASICRESP *basic = NULL;
    enum said said = SAID_NOTHING;

    if (response == NULL)
        *why = "it is no OCSP response";
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        *why = "the responder failed";
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        *why = "it is no OCSP response";
    else if (!is_signed(s, basic))
        *why = "its signature does not hold";
    else if (!find_status(s, basic, &status, &from, &to))
        *why = "it is about another certificate";
    else if (!is_current(s, from, to))
        *why = "it is not of now";
    else
        said = status == V_OCSP_CERTSTATUS_GOOD      ? SAID_GOOD
               : status == V_OCSP_CERTSTATUS_REVOKED ? SAID_REVOKED
                                                     : SAID_UNKNOWN;
    if (said == SAID_UNKNOWN)
        *why = "the authority does not know the certificate";
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return said;
}

static enum revoked
revoked(struct steps *steps, const char *who)
{
    steps_alarm(steps, STEP_REVOCATION, "revoked, says %s", who);
    return REVOKED_IS;
}

/* ---- a staple */

static enum revoked
judge_staple(const struct subject *s, struct kd_slice staple, struct steps *steps)
{
    const unsigned char *p = staple.p;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &p, (long)staple.n);
    const char *why = "";

    if (r != NULL && p != staple.p + staple.n) {
        OCSP_RESPONSE_free(r);
        r = NULL;
    }
    enum said said = judge_response(s, r, &why);
    OCSP_RESPONSE_free(r);
    if (said == SAID_REVOKED)
        return revoked(steps, "the staple");
    if (said != SAID_GOOD) {
        steps_warn(steps, STEP_REVOCATION, "the staple is not good: %s", why);
        return REVOKED_BAD_STAPLE;
    }
    steps_add(steps, STEP_REVOCATION, "not revoked, says the staple");
    return REVOKED_NOT;
}

/* ---- a responder */

static int
make_request(const struct subject *s, unsigned char **der)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), s->cert, s->issuer);
    int n = -1;

    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL; /* the request's now */
        n = i2d_OCSP_REQUEST(request, der);
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    return n;
}

static enum said
ask_responder(const struct subject *s, const char *url, int64_t deadline,
              const char **why)
{
    unsigned char *der = NULL;
    enum said said = SAID_NOTHING;
    BIO *body = NULL;

    int n = make_request(s, &der);
    *why = "out of memory";
    if (n > 0 && fetch(url, "application/ocsp-request", kd_slice(der, (size_t)n),
                       REVOKED_OCSP_MAX, deadline, &body, why) == KD_OK) {
        OCSP_RESPONSE *r = d2i_OCSP_RESPONSE_bio(body, NULL);
        said = judge_response(s, r, why);
        OCSP_RESPONSE_free(r);
    }
    BIO_free(body);
    OPENSSL_free(der);
    return said;
}

static enum revoked
ask_responders(const struct subject *s, STACK_OF(OPENSSL_STRING) * urls,
               int64_t deadline, struct steps *steps)
{
    for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && i < REVOKED_URLS_MAX; i++) {
        const char *url = sk_OPENSSL_STRING_value(urls, i), *why = "";
        switch (ask_responder(s, url, deadline, &why)) {
        case SAID_GOOD:
            steps_add(steps, STEP_REVOCATION, "not revoked, says %s", url);
            return REVOKED_NOT;
        case SAID_REVOKED:
            return revoked(steps, url);
        case SAID_UNKNOWN:
        case SAID_NOTHING:
        default:
            steps_warn(steps, STEP_REVOCATION, "%s says nothing that counts: %s", url,
                       why);
        }
    }
    return REVOKED_UNKNOWN;
}

/* ---- a list */

static enum said
judge_list(const struct subject *s, X509_CRL *list, const char **why)
{
    X509_REVOKED *entry = NULL;

    if (list == NULL)
        *why = "it is no list";
    else if (X509_NAME_cmp(X509_CRL_get_issuer(list),
                           X509_get_subject_name(s->issuer)) != 0 ||
             X509_CRL_verify(list, X509_get0_pubkey(s->issuer)) != 1)
        *why = "its signature does not hold";
    else if (!is_current(s, X509_CRL_get0_lastUpdate(list),
                         X509_CRL_get0_nextUpdate(list)))
        *why = "it is not of now";
    else
        return X509_CRL_get0_by_cert(list, &entry, s->cert) == 1 ? SAID_REVOKED
                                                                 : SAID_GOOD;
    return SAID_NOTHING;
}

static enum revoked
ask_list(const struct subject *s, const char *url, int64_t deadline,
         struct steps *steps)
{
    const char *why = "";
    BIO *body = NULL;
    enum said said = SAID_NOTHING;

    if (fetch(url, NULL, kd_slice(NULL, 0), REVOKED_LIST_MAX, deadline, &body, &why) ==
        KD_OK) {
        X509_CRL *list = d2i_X509_CRL_bio(body, NULL);
        said = judge_list(s, list, &why);
        X509_CRL_free(list);
        ERR_clear_error();
    }
    BIO_free(body);
    if (said == SAID_REVOKED)
        return revoked(steps, url);
    if (said == SAID_GOOD)
        steps_add(steps, STEP_REVOCATION, "not revoked, says %s", url);
    else
        steps_warn(steps, STEP_REVOCATION, "%s says nothing that counts: %s", url, why);
    return said == SAID_GOOD ? REVOKED_NOT : REVOKED_UNKNOWN;
}

/* The URL in a name, with a NUL behind it and none in it; else NULL. */
static const char *
url_of(const GENERAL_NAME *name)
{
    if (name->type != GEN_URI)
        return NULL;
    const ASN1_STRING *s = name->d.uniformResourceIdentifier;
    const char *p = (const char *)ASN1_STRING_get0_data(s);
    return p != NULL && strlen(p) == (size_t)ASN1_STRING_length(s) ? p : NULL;
}

static enum revoked
ask_point(const struct subject *s, const DIST_POINT *point, int64_t deadline,
          struct steps *steps)
{
    const DIST_POINT_NAME *where = point->distpoint;
    enum revoked verdict = REVOKED_UNKNOWN;

    if (where == NULL || where->type != 0 || point->CRLissuer != NULL)
        return verdict;
    const GENERAL_NAMES *names = where->name.fullname;
    for (int i = 0; verdict == REVOKED_UNKNOWN && i < sk_GENERAL_NAME_num(names) &&
                    i < REVOKED_URLS_MAX;
         i++) {
        const char *url = url_of(sk_GENERAL_NAME_value(names, i));
        if (url != NULL)
            verdict = ask_list(s, url, deadline, steps);
    }
    return verdict;
}

static enum revoked
ask_lists(const struct subject *s, int64_t deadline, struct steps *steps)
{
    CRL_DIST_POINTS *points =
        X509_get_ext_d2i(s->cert, NID_crl_distribution_points, NULL, NULL);
    enum revoked verdict = REVOKED_UNKNOWN;

    if (points == NULL)
        steps_add(steps, STEP_REVOCATION, "nobody to ask, no list");
    for (int i = 0; verdict == REVOKED_UNKNOWN && i < sk_DIST_POINT_num(points) &&
                    i < REVOKED_URLS_MAX;
         i++)
        verdict = ask_point(s, sk_DIST_POINT_value(points, i), deadline, steps);
    CRL_DIST_POINTS_free(points);
    return verdict;
}

enum revoked
revoked_check(const STACK_OF(X509) * chain, X509_STORE *authorities,
              struct kd_slice staple, int64_t now, int64_t deadline,
              struct steps *steps)
{
    int64_t patience = kd_clock_ms() + REVOKED_PATIENCE_MS;
    int64_t until = deadline < patience ? deadline : patience;
    enum revoked verdict;

    if (sk_X509_num(chain) < 2) {
        steps_add(steps, STEP_REVOCATION, "it is an authority of its own");
        return REVOKED_UNKNOWN;
    }
    struct subject s = {sk_X509_value(chain, 0), sk_X509_value(chain, 1), authorities,
                        now};
    if (staple.n != 0)
        return judge_staple(&s, staple, steps);
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(s.cert);
    if (sk_OPENSSL_STRING_num(urls) > 0)
        verdict = ask_responders(&s, urls, until, steps);
    else
        verdict = ask_lists(&s, until, steps);
    X509_email_free(urls);
    return verdict;
}
