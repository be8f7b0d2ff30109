/* Questions to the DNS, with a verdict that an error cannot turn into "there is
 * nothing": what is not a validated or at least whole answer is broken (D-011, D-022).
 *
 * libunbound resolves and validates by itself, from its own trust anchor; the AD bit of
 * others never counts. Neither /etc/hosts nor /etc/resolv.conf is read. */
#ifndef DIME_RESOLVER_DNS_H
#define DIME_RESOLVER_DNS_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum { DNS_A = 1, DNS_NS = 2, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28 };

enum {
    DNS_NAME_MAX = 253,     /* characters, without the trailing dot */
    DNS_RECORDS_MAX = 32,   /* of an answer; more is broken */
    DNS_ANSWER_MAX = 65536, /* octets of all data */
    DNS_WHY_MAX = 256,
    DNS_MAX_MS = 20000, /* of a question, where the configuration says nothing */
};

/* One stub zone: the server that is asked for what lies below a name. */
struct dns_stub {
    const char *zone;
    const char *server; /* address[@port] */
    bool insecure; /* not validated: a zone of the house that the root does not know */
};

/* Zeroes are the defaults. Borrowed during dns_new. */
struct dns_conf {
    /* DNSKEY or DS records in a file. NULL: Debian's, if it is there; "": none. */
    const char *anchor_file;
    const char *const *anchors; /* more of them, as text */
    size_t n_anchors;
    const char *const
        *forwarders; /* address[@port] of recursive servers; else from the root */
    size_t n_forwarders;
    const struct dns_stub *stubs;
    size_t n_stubs;
    const char *root_hints; /* a file; NULL: built in */
    /* Servers on 127.0.0.0/8 and ::1 may be asked; without, answers of the DNS do not
     * lead to them. A forwarder or stub that is there says so by itself. */
    bool local_servers;
    int64_t max_ms; /* for one question */
};

enum dns_status { DNS_FOUND, DNS_NODATA, DNS_NXDOMAIN, DNS_BROKEN };

enum dns_broken {
    DNS_WHOLE,
    DNS_BOGUS,     /* signatures or their absence are wrong */
    DNS_SERVFAIL,  /* no server gave an answer that can be used */
    DNS_TIMEOUT,   /* not before the deadline */
    DNS_TOO_LARGE, /* more than the limits above */
    DNS_FAULT,     /* ours: a question that is none, no memory */
};

struct dns_answer {
    enum dns_status status;
    enum dns_broken broken;
    bool secure;                      /* validated up to an anchor; of a denial, too */
    bool alias;                       /* the name led elsewhere by CNAME or DNAME */
    char canonical[DNS_NAME_MAX + 1]; /* where to, else the name itself */
    char why[DNS_WHY_MAX]; /* broken: for people; may hold what others wrote */
    uint32_t ttl;          /* seconds; of a denial, how long that may be kept */
    size_t n;
    struct kd_slice rdata[DNS_RECORDS_MAX]; /* into octets */
    uint8_t *octets;                        /* owned */
};

struct dns;

/* KD_INVALID: an option or anchor that libunbound does not take; KD_IO: a file that
 * cannot be read. *why is static or NULL. Threads of the process may be made before and
 * after, forks not: another process makes its own. */
kd_err dns_new(const struct dns_conf *conf, struct dns **out,
               const char **why) KD_MUST_USE;

/* Nobody may ask any longer. */
void dns_free(struct dns *d);

/* Whether there is an anchor at all: without one every answer is insecure. */
bool dns_anchored(const struct dns *d);

/* Asks, in class IN, and waits until the deadline (kd_clock_ms) at most. From any
 * thread. name: labels of a-z, 0-9, hyphen and underscore, no trailing dot. Always
 * writes *out, which dns_answer_clear empties. */
enum dns_status dns_query(struct dns *d, const char *name, uint16_t type,
                          int64_t deadline, struct dns_answer *out);

void dns_answer_clear(struct dns_answer *a);

/* "found", "no data", "no such name", "broken"; "bogus", ... */
const char *dns_status_text(enum dns_status s);
const char *dns_broken_text(enum dns_broken b);

/* A name as dns_query takes it. */
bool dns_name_ok(const char *name);

/* What libunbound answered, without its types, and the verdict on it: for dns_query,
 * and for tests that no server can make. data ends with NULL. */
struct dns_raw {
    const char *qname, *canonname, *why_bogus; /* the latter two may be NULL */
    int rcode, ttl;
    bool havedata, nxdomain, secure, bogus;
    char *const *data;
    const int *len;
};
void dns_judge(const struct dns_raw *r, struct dns_answer *out);

#endif
