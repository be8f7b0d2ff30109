#include "hosts.h"

#include "rdata.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { PORT_DMTP = 26, PORT_SMTP = 25, PORT_SUBMISSION = 587 };

struct hosts {
    struct hosts_conf conf;
    char domain[DNS_NAME_MAX + 1];
    enum host_kind kind; /* whose turn it is */
    bool failed;         /* a question was not answered */
    bool secure_mx;
    size_t n, at;  /* of this kind */
    size_t served; /* of this kind, that resolved */
    char names[DNS_RECORDS_MAX][DNS_NAME_MAX + 1];
};

_Static_assert((int)DIME_MREC_HOSTS_MAX <= (int)DNS_RECORDS_MAX, "dx values fit");

const char *
host_kind_text(enum host_kind k)
{
    static const char *const texts[HOST_KINDS] = {"dx", "mx", "domain"};

    return (unsigned)k < HOST_KINDS ? texts[k] : "?";
}

/* --- order --- */

/* Nothing secret hangs on it: only that hosts share the load, and that nobody knows
 * beforehand which is asked. */
static uint32_t
system_below(uint32_t limit)
{
    uint32_t v, end = UINT32_MAX - UINT32_MAX % limit;

    do {
        if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
            return 0;
    } while (v >= end);
    return v % limit;
}

static void
swap(char a[DNS_NAME_MAX + 1], char b[DNS_NAME_MAX + 1])
{
    char t[DNS_NAME_MAX + 1];

    memcpy(t, a, sizeof(t));
    memcpy(a, b, sizeof(t));
    memcpy(b, t, sizeof(t));
}

static void
shuffle(struct hosts *h, size_t from, size_t to)
{
    for (size_t n = to - from; n > 1; n--)
        swap(h->names[from + n - 1], h->names[from + h->conf.below((uint32_t)n)]);
}

/* --- mail exchangers --- */

struct mx {
    uint16_t preference;
    char name[DNS_NAME_MAX + 1];
};

static int
by_preference(const void *a, const void *b)
{
    const struct mx *x = a, *y = b;

    return (x->preference > y->preference) - (x->preference < y->preference);
}

/* Takes what is a host name of those in the answer. */
static size_t
read_mx(const struct dns_answer *a, struct steps *steps, struct mx *mx)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        char raw[DNS_NAME_MAX + 1];

        if (rdata_mx(a->rdata[i], &mx[n].preference, raw) != KD_OK) {
            steps_warn(steps, STEP_HOSTS, "an MX that names no host is ignored");
        } else if (raw[0] == '\0') {
            steps_add(steps, STEP_HOSTS, "the MX says that there is none");
        } else if (dime_mrec_kind(dime_mrec_host(kd_slice_str(raw), mx[n].name)) !=
                   DIME_MREC_BROKEN) {
            n++;
        } else {
            steps_warn(steps, STEP_HOSTS, "MX %s is no host name and is ignored", raw);
        }
    }
    return n;
}

static bool
is_known(const struct hosts *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->names[i], name) == 0)
            return true;
    return false;
}

/* By preference, random among equals, no name twice. */
static void
order_mx(struct hosts *h, struct mx *mx, size_t n)
{
    qsort(mx, n, sizeof(*mx), by_preference);
    h->n = 0;
    for (size_t i = 0; i < n;) {
        size_t from = h->n;
        uint16_t preference = mx[i].preference;

        for (; i < n && mx[i].preference == preference; i++)
            if (!is_known(h, mx[i].name))
                memcpy(h->names[h->n++], mx[i].name, sizeof(mx[i].name));
        shuffle(h, from, h->n);
    }
}

static kd_err
start_mx(struct hosts *h, int64_t deadline, struct steps *steps)
{
    struct mx *mx = calloc(DNS_RECORDS_MAX, sizeof(*mx));
    struct dns_answer a;

    if (mx == NULL)
        return KD_NOMEM;
    if (dns_query(h->conf.dns, h->domain, DNS_MX, deadline, &a) == DNS_BROKEN) {
        steps_warn(steps, STEP_HOSTS, "MX of %s: %s: %s", h->domain,
                   dns_broken_text(a.broken), a.why);
        h->failed = true;
    }
    h->secure_mx = a.secure;
    order_mx(h, mx, read_mx(&a, steps, mx));
    steps_add(steps, STEP_HOSTS, "%s has %zu MX hosts, %s", h->domain, h->n,
              a.secure ? "secure" : "insecure");
    dns_answer_clear(&a);
    free(mx);
    return KD_OK;
}

/* --- addresses --- */

/* An address that no host on the network has: an answer of the DNS shall not lead to
 * ourselves or to everybody. */
bool
hosts_address_ok(const struct host_addr *a, bool local)
{
    static const uint8_t loopback6[16] = {[15] = 1},
                         mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *p = a->octets;

    if (a->family == AF_INET6 && memcmp(p, mapped, sizeof(mapped)) == 0)
        return false;
    if (a->family == AF_INET6 && memcmp(p, loopback6, sizeof(loopback6)) == 0)
        return local;
    if (a->family == AF_INET6) /* unspecified and its like; multicast; link-local */
        return p[0] != 0 && p[0] != 0xff && !(p[0] == 0xfe && (p[1] & 0xc0) == 0x80);
    if (p[0] == 127)
        return local;
    /* this network; link-local; multicast, reserved, broadcast */
    return p[0] != 0 && !(p[0] == 169 && p[1] == 254) && p[0] < 224;
}

void
hosts_sockaddr(const struct host_addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    out->ss_family = (sa_family_t)a->family;
    if (a->family == AF_INET)
        memcpy(&((struct sockaddr_in *)out)->sin_addr, a->octets, 4);
    else
        memcpy(&((struct sockaddr_in6 *)out)->sin6_addr, a->octets, 16);
}

static void
add_addresses(const struct hosts *h, const struct dns_answer *a, int family, size_t max,
              struct steps *steps, struct host *out)
{
    size_t size = family == AF_INET ? 4 : 16;

    for (size_t i = 0; i < a->n && out->n_addrs < max; i++) {
        struct host_addr addr = {.family = family};

        if (a->rdata[i].n == size)
            memcpy(addr.octets, a->rdata[i].p, size);
        if (a->rdata[i].n == size && hosts_address_ok(&addr, h->conf.local_addresses))
            out->addrs[out->n_addrs++] = addr;
        else
            steps_warn(steps, STEP_HOSTS, "%s: an address that cannot be its own",
                       out->name);
    }
}

/* One question for addresses. False: the name is an alias and no host's. */
static bool
ask_addresses(struct hosts *h, int family, size_t max, int64_t deadline,
              struct steps *steps, struct host *out)
{
    struct dns_answer a;
    bool ok = true;

    if (dns_query(h->conf.dns, out->name, family == AF_INET ? DNS_A : DNS_AAAA,
                  deadline, &a) == DNS_BROKEN) {
        steps_warn(steps, STEP_HOSTS, "%s: %s: %s", out->name,
                   dns_broken_text(a.broken), a.why);
        h->failed = true;
    } else if (a.alias && !h->conf.follow_aliases) {
        steps_warn(steps, STEP_HOSTS, "%s is an alias and is ignored", out->name);
        ok = false;
    } else {
        add_addresses(h, &a, family, max, steps, out);
    }
    dns_answer_clear(&a);
    return ok;
}

/* Half of the room is AAAA's at most, so that A finds some. */
static bool
resolve(struct hosts *h, int64_t deadline, struct steps *steps, struct host *out)
{
    if (!ask_addresses(h, AF_INET6, HOST_ADDRS_MAX / 2, deadline, steps, out) ||
        !ask_addresses(h, AF_INET, HOST_ADDRS_MAX, deadline, steps, out))
        return false;
    if (out->n_addrs == 0)
        steps_warn(steps, STEP_HOSTS, "%s has no address and is ignored", out->name);
    return out->n_addrs > 0;
}

/* --- one after another --- */

static void
set_ports(const struct hosts *h, struct host *out)
{
    if (out->kind != HOST_MX || h->conf.mx_port_26)
        out->ports[out->n_ports++] = (struct host_port){PORT_DMTP, false};
    if (out->kind != HOST_DX) {
        out->ports[out->n_ports++] = (struct host_port){PORT_SMTP, true};
        out->ports[out->n_ports++] = (struct host_port){PORT_SUBMISSION, true};
    }
}

kd_err
hosts_new(const struct hosts_conf *conf, const char *domain,
          const struct dime_mrec *record, struct hosts **out)
{
    struct hosts *h;

    if (!dns_name_ok(domain))
        return KD_INVALID;
    if ((h = calloc(1, sizeof(*h))) == NULL)
        return KD_NOMEM;
    h->conf = *conf;
    if (h->conf.dx_tries == 0)
        h->conf.dx_tries = HOSTS_DX_TRIES;
    if (h->conf.mx_tries == 0)
        h->conf.mx_tries = HOSTS_MX_TRIES;
    if (h->conf.below == NULL)
        h->conf.below = system_below;
    memcpy(h->domain, domain, strlen(domain) + 1);
    h->kind = HOST_DX;
    h->n = record->n_dx;
    for (size_t i = 0; i < h->n; i++)
        memcpy(h->names[i], record->dx[i], strlen(record->dx[i]) + 1);
    shuffle(h, 0, h->n);
    *out = h;
    return KD_OK;
}

void
hosts_free(struct hosts *h)
{
    free(h);
}

/* The turn of the next kind. */
static kd_err
next_kind(struct hosts *h, int64_t deadline, struct steps *steps)
{
    h->kind++;
    h->n = h->at = h->served = 0;
    if (h->kind == HOST_MX)
        return start_mx(h, deadline, steps);
    if (h->kind == HOST_DOMAIN && h->conf.domain_itself) {
        memcpy(h->names[0], h->domain, sizeof(h->domain));
        h->n = 1;
    }
    return KD_OK;
}

static size_t
tries(const struct hosts *h)
{
    return h->kind == HOST_DX   ? h->conf.dx_tries
           : h->kind == HOST_MX ? h->conf.mx_tries
                                : 1;
}

kd_err
hosts_next(struct hosts *h, int64_t deadline, struct steps *steps, struct host *out)
{
    while (h->kind < HOST_KINDS) {
        struct host host = {.kind = h->kind};

        if (h->at == h->n || h->served == tries(h)) {
            kd_err err = next_kind(h, deadline, steps);

            if (err != KD_OK)
                return err;
            continue;
        }
        memcpy(host.name, h->names[h->at++], sizeof(host.name));
        if (!resolve(h, deadline, steps, &host))
            continue;
        host.secure_name = h->kind == HOST_MX && h->secure_mx;
        set_ports(h, &host);
        h->served++;
        steps_add(steps, STEP_HOSTS, "%s host %s, %zu addresses",
                  host_kind_text(h->kind), host.name, host.n_addrs);
        *out = host;
        return KD_OK;
    }
    return h->failed ? KD_UNAVAILABLE : KD_NOT_FOUND;
}
