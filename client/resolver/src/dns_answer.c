#include "dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3, LABEL_MAX = 63 };

const char *
dns_status_text(enum dns_status s)
{
    static const char *const texts[] = {[DNS_FOUND] = "found",
                                        [DNS_NODATA] = "no data",
                                        [DNS_NXDOMAIN] = "no such name",
                                        [DNS_BROKEN] = "broken"};

    return (unsigned)s <= DNS_BROKEN ? texts[s] : "?";
}

const char *
dns_broken_text(enum dns_broken b)
{
    static const char *const texts[] = {[DNS_WHOLE] = "whole",
                                        [DNS_BOGUS] = "bogus",
                                        [DNS_SERVFAIL] = "servers failed",
                                        [DNS_TIMEOUT] = "timed out",
                                        [DNS_TOO_LARGE] = "too large",
                                        [DNS_FAULT] = "our own fault"};

    return (unsigned)b <= DNS_FAULT ? texts[b] : "?";
}

void
dns_answer_clear(struct dns_answer *a)
{
    free(a->octets);
    *a = (struct dns_answer){.status = DNS_BROKEN, .broken = DNS_FAULT};
}

bool
dns_name_ok(const char *name)
{
    size_t n = strnlen(name, DNS_NAME_MAX + 1), label = 0;

    if (n == 0 || n > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];

        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_') ||
            ++label > LABEL_MAX)
            return false;
    }
    return label > 0;
}

static void
broken(struct dns_answer *out, enum dns_broken b, const char *why)
{
    dns_answer_clear(out);
    out->broken = b;
    snprintf(out->why, sizeof(out->why), "%s", why);
}

/* Where the name led. A name that is longer than names are, or that we would not ask
 * for, is an alias all the same. */
static void
judge_canonical(const struct dns_raw *r, struct dns_answer *out)
{
    const char *name = r->canonname != NULL ? r->canonname : r->qname;
    size_t n = strlen(name);

    if (n > 1 && name[n - 1] == '.')
        n--;
    out->alias = n != strlen(r->qname) || strncasecmp(name, r->qname, n) != 0;
    if (n > DNS_NAME_MAX)
        n = 0;
    for (size_t i = 0; i < n; i++)
        out->canonical[i] =
            (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    out->canonical[n] = '\0';
}

/* Copies the data of all records behind each other. */
static void
judge_data(const struct dns_raw *r, struct dns_answer *out)
{
    size_t n = 0, size = 0, at = 0;

    for (; r->data != NULL && r->data[n] != NULL; n++) {
        if (r->len[n] < 0 || (size_t)r->len[n] > DNS_ANSWER_MAX - size ||
            n == DNS_RECORDS_MAX) {
            broken(out, DNS_TOO_LARGE,
                   "more records or octets than an answer may have");
            return;
        }
        size += (size_t)r->len[n];
    }
    if (n == 0) {
        broken(out, DNS_SERVFAIL, "an answer that says it has data has none");
        return;
    }
    if ((out->octets = malloc(size + 1)) == NULL) {
        broken(out, DNS_FAULT, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = (size_t)r->len[i];

        memcpy(out->octets + at, r->data[i], len);
        out->rdata[i] = kd_slice(out->octets + at, len);
        at += len;
    }
    out->n = n;
    out->status = DNS_FOUND;
    out->broken = DNS_WHOLE;
}

void
dns_judge(const struct dns_raw *r, struct dns_answer *out)
{
    char text[64];

    *out = (struct dns_answer){.status = DNS_BROKEN, .broken = DNS_FAULT};
    if (r->bogus) { /* whatever else it says */
        broken(out, DNS_BOGUS,
               r->why_bogus != NULL ? r->why_bogus : "validation failed");
        return;
    }
    if (r->rcode != RCODE_NOERROR && r->rcode != RCODE_NXDOMAIN) {
        snprintf(text, sizeof(text), "no usable answer from any server (rcode %d)",
                 r->rcode);
        broken(out, DNS_SERVFAIL, text);
        return;
    }
    out->secure = r->secure;
    out->ttl = r->ttl > 0 ? (uint32_t)r->ttl : 0;
    judge_canonical(r, out);
    if (r->havedata) {
        judge_data(r, out);
        return;
    }
    out->status = r->nxdomain || r->rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
    out->broken = DNS_WHOLE;
}
