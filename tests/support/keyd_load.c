/* keyd-load: load for a running daemon, from one process.
 *
 * --endpoint instead of --socket: the same load through an endpoint, unix:PATH or
 * tls:HOST:PORT, to compare the two.
 *
 * With --endpoints it is a steady load through libkeyd's endpoints (load_rate.h), to
 * see what a mail server sees of a reload, a drain, a restart:
 *
 *   keyd-load --endpoints unix:RUN/submission.sock --rate 200 --seconds 30
 *
 * Prints one line, or one JSON object, and exits 0 if every request ended well, 1 if
 * some did not, 2 if it could not begin, 64 for wrong usage. SIGTERM and SIGINT end the
 * run as the end of its time does: what is in flight is waited for. */
#include "load.h"
#include "load_rate.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
    (void)number;
    stop = 1;
}

static const char *const mixes[] = {"issue",  "rotate", "lookup",
                                    "verify", "sign",   "open"};

static int
usage(FILE *to, int status)
{
    fputs(
        "usage: keyd-load --socket PATH [options]\n"
        "       keyd-load --endpoint ADDRESS [--tls-...] [options]\n"
        "       keyd-load --endpoints LIST --rate N --seconds S [--issue PERCENT]\n"
        "                 [--look-up-issued] [--deadline MS] [--tls-certificate FILE\n"
        "                 --tls-key FILE --tls-ca FILE [--tls-name NAME]] [--domain\n"
        "                 NAME] [--seed TEXT] [--acks FILE] [--json]\n"
        "  --mix issue|rotate|lookup|verify|sign|open   what to ask (issue)\n"
        "  --connections N   (1)              --in-flight M  on each connection (32)\n"
        "  --seconds S       run so long      --count K      or so many requests\n"
        "  --domain NAME     (example.com)    --seed TEXT    users are TEXT-number "
        "(load)\n"
        "  --steps N         of a chain, for rotate (10)\n"
        "  --population N    addresses or messages (1000)\n"
        "  --content N       octets of text in a message (2000)\n"
        "  --known           which have signets already\n"
        "  --prepare N       requests made before the clock starts\n"
        "  --lazy            make more when they are used up, instead of ending\n"
        "  --rate N          at most so many a second\n"
        "  --give-up S       how long a request is tried again (30)\n"
        "  --acks FILE       append \"address sha256\" for every signet that came\n"
        "  --begin           \"begin\" on stderr when the clock starts\n"
        "  --json            print a JSON object\n",
        to);
    return status;
}

static bool
number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);

    if (*text == '\0' || *text == '-' || *end != '\0' || v > max)
        return false;
    *out = v;
    return true;
}

static bool
small_number(const char *text, unsigned *out)
{
    uint64_t v;

    if (!number(text, 64 << 20, &v)) /* octets of a message, at most */
        return false;
    *out = (unsigned)v;
    return true;
}

static bool
is_plain(const char *seed)
{
    return *seed != '\0' && strlen(seed) < 32 &&
           strspn(seed, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(seed);
}

enum load_option {
    OPT_SOCKET = 1,
    OPT_MIX,
    OPT_CONNECTIONS,
    OPT_IN_FLIGHT,
    OPT_SECONDS,
    OPT_COUNT,
    OPT_DOMAIN,
    OPT_SEED,
    OPT_STEPS,
    OPT_POPULATION,
    OPT_CONTENT,
    OPT_KNOWN,
    OPT_PREPARE,
    OPT_LAZY,
    OPT_RATE,
    OPT_GIVE_UP,
    OPT_ACKS,
    OPT_BEGIN,
    OPT_ENDPOINT,
    OPT_ENDPOINTS,
    OPT_ISSUE,
    OPT_LOOK_UP_ISSUED,
    OPT_DEADLINE,
    OPT_TLS_CERTIFICATE,
    OPT_TLS_KEY,
    OPT_TLS_CA,
    OPT_TLS_NAME,
    OPT_JSON,
    OPT_HELP
};

static const struct option options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"mix", required_argument, NULL, OPT_MIX},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"in-flight", required_argument, NULL, OPT_IN_FLIGHT},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"count", required_argument, NULL, OPT_COUNT},
    {"domain", required_argument, NULL, OPT_DOMAIN},
    {"seed", required_argument, NULL, OPT_SEED},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"population", required_argument, NULL, OPT_POPULATION},
    {"content", required_argument, NULL, OPT_CONTENT},
    {"known", no_argument, NULL, OPT_KNOWN},
    {"prepare", required_argument, NULL, OPT_PREPARE},
    {"lazy", no_argument, NULL, OPT_LAZY},
    {"rate", required_argument, NULL, OPT_RATE},
    {"give-up", required_argument, NULL, OPT_GIVE_UP},
    {"acks", required_argument, NULL, OPT_ACKS},
    {"begin", no_argument, NULL, OPT_BEGIN},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"endpoints", required_argument, NULL, OPT_ENDPOINTS},
    {"issue", required_argument, NULL, OPT_ISSUE},
    {"look-up-issued", no_argument, NULL, OPT_LOOK_UP_ISSUED},
    {"deadline", required_argument, NULL, OPT_DEADLINE},
    {"tls-certificate", required_argument, NULL, OPT_TLS_CERTIFICATE},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-ca", required_argument, NULL, OPT_TLS_CA},
    {"tls-name", required_argument, NULL, OPT_TLS_NAME},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool
set_mix(struct load_options *o, const char *text)
{
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        if (strcmp(text, mixes[i]) == 0) {
            o->mix = (enum load_mix)i;
            return true;
        }
    }
    return false;
}

/* What the steady load has of its own. */
static struct load_rate_options steady = {.issue = 20, .deadline_ms = 10000};
static struct keyd_tls tls; /* and of endpoints in general */

static bool
set_rate_option(enum load_option opt, const char *arg)
{
    switch ((int)opt) {
    case OPT_ENDPOINTS:
        steady.endpoints = arg;
        return true;
    case OPT_ISSUE:
        return small_number(arg, &steady.issue) && steady.issue <= 100;
    case OPT_LOOK_UP_ISSUED:
        steady.look_up_issued = true;
        return true;
    case OPT_DEADLINE:
        return small_number(arg, &steady.deadline_ms) && steady.deadline_ms > 0;
    case OPT_TLS_CERTIFICATE:
        tls.certificate = arg;
        steady.tls = &tls;
        return true;
    case OPT_TLS_KEY:
        tls.key = arg;
        return true;
    case OPT_TLS_CA:
        tls.ca = arg;
        return true;
    case OPT_TLS_NAME:
        tls.server_name = arg;
        return true;
    default:
        return false;
    }
}

static bool
set_option(struct load_options *o, enum load_option opt, const char *arg)
{
    char *end;

    switch (opt) {
    case OPT_SOCKET:
        o->socket = arg;
        return true;
    case OPT_ENDPOINT:
        o->endpoint = arg;
        o->tls = &tls;
        return true;
    case OPT_MIX:
        return set_mix(o, arg);
    case OPT_CONNECTIONS:
        return small_number(arg, &o->connections) && o->connections > 0;
    case OPT_IN_FLIGHT:
        return small_number(arg, &o->in_flight) && o->in_flight > 0;
    case OPT_SECONDS:
        o->seconds = strtod(arg, &end);
        return *end == '\0' && o->seconds > 0 && o->seconds < 1e6;
    case OPT_COUNT:
        return number(arg, UINT64_MAX, &o->count) && o->count > 0;
    case OPT_DOMAIN:
        o->domain = arg;
        return strlen(arg) < 200;
    case OPT_SEED:
        o->seed = arg;
        return is_plain(arg);
    case OPT_STEPS:
        return small_number(arg, &o->steps) && o->steps > 0;
    case OPT_POPULATION:
        return small_number(arg, &o->population) && o->population > 0;
    case OPT_CONTENT:
        return small_number(arg, &o->content);
    case OPT_KNOWN:
        o->known = true;
        return true;
    case OPT_BEGIN:
        o->say_begin = true;
        return true;
    case OPT_PREPARE:
        return number(arg, 100000000, &o->prepare);
    case OPT_LAZY:
        o->lazy = true;
        return true;
    case OPT_RATE:
        return small_number(arg, &o->rate);
    case OPT_GIVE_UP:
        return small_number(arg, &o->give_up);
    case OPT_ACKS:
        o->acks = fopen(arg, "ae");
        return o->acks != NULL;
    case OPT_ENDPOINTS:
    case OPT_ISSUE:
    case OPT_LOOK_UP_ISSUED:
    case OPT_DEADLINE:
    case OPT_TLS_CERTIFICATE:
    case OPT_TLS_KEY:
    case OPT_TLS_CA:
    case OPT_TLS_NAME:
        return set_rate_option(opt, arg);
    case OPT_JSON:
    case OPT_HELP:
    default:
        return false;
    }
}

static uint64_t
n_failed(const struct load_result *r)
{
    uint64_t n = r->n_gave_up + r->n_wrong;

    for (unsigned i = 0; i < LOAD_STATUSES; i++)
        n += r->failed[i];
    return n;
}

static double
rate(const struct load_result *r)
{
    return r->seconds > 0 ? (double)r->n_ok / r->seconds : 0;
}

static double
cpu_us(const struct load_result *r)
{
    return r->n_ok == 0 ? 0 : r->cpu_seconds * 1e6 / (double)r->n_ok;
}

static void
print_text(const struct load_options *o, const struct load_result *r)
{
    printf("%s: %llu in %.3f s, %.0f a second; p50 %u us, p99 %u us, max %u us; "
           "client %.1f us of CPU each; retried %llu, replayed %llu, reconnected %llu; "
           "wrong %llu, gave up %llu",
           mixes[o->mix], (unsigned long long)r->n_ok, r->seconds, rate(r), r->p50_us,
           r->p99_us, r->max_us, cpu_us(r), (unsigned long long)r->n_retried,
           (unsigned long long)r->n_replayed, (unsigned long long)r->n_reconnected,
           (unsigned long long)r->n_wrong, (unsigned long long)r->n_gave_up);
    for (unsigned i = 0; i < LOAD_STATUSES; i++) {
        if (r->failed[i] != 0)
            printf(", %s %llu", keyd_client_status_text((enum keyd_status)i),
                   (unsigned long long)r->failed[i]);
        if (r->retried[i] != 0)
            printf(", retried for %s %llu",
                   keyd_client_status_text((enum keyd_status)i),
                   (unsigned long long)r->retried[i]);
    }
    printf("%s\n", r->ran_out ? "; ran out of prepared requests" : "");
}

static void
print_counts(const char *name, const uint64_t counts[LOAD_STATUSES])
{
    const char *comma = "";

    printf(",\"%s\":{", name);
    for (unsigned i = 0; i < LOAD_STATUSES; i++) {
        if (counts[i] == 0)
            continue;
        printf("%s\"%s\":%llu", comma, keyd_client_status_text((enum keyd_status)i),
               (unsigned long long)counts[i]);
        comma = ",";
    }
    putchar('}');
}

static void
print_json(const struct load_options *o, const struct load_result *r)
{
    printf("{\"mix\":\"%s\",\"connections\":%u,\"in_flight\":%u,\"ok\":%llu,"
           "\"seconds\":%.4f,\"rate\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,"
           "\"client_cpu_us\":%.2f,\"retried\":%llu,\"replayed\":%llu,"
           "\"reconnected\":%llu,\"wrong\":%llu,\"gave_up\":%llu,\"ran_out\":%s",
           mixes[o->mix], o->connections, o->in_flight, (unsigned long long)r->n_ok,
           r->seconds, rate(r), r->p50_us, r->p99_us, r->max_us, cpu_us(r),
           (unsigned long long)r->n_retried, (unsigned long long)r->n_replayed,
           (unsigned long long)r->n_reconnected, (unsigned long long)r->n_wrong,
           (unsigned long long)r->n_gave_up, r->ran_out ? "true" : "false");
    print_counts("failed", r->failed);
    print_counts("retried_for", r->retried);
    puts("}");
}

/* --- the steady load --- */

static void
print_kind(const char *name, const struct load_rate_kind *k, bool json)
{
    printf(json
               ? "\"%s\":{\"ok\":%llu,\"failed\":%llu,\"repeated\":%llu,\"wrong\":%llu,"
                 "\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
                 "\"max_us\":%u},"
               : "%s: ok %llu, failed %llu, repeated %llu, wrong %llu; p50 %u us, p90 "
                 "%u us, "
                 "p99 %u us, p99.9 %u us, max %u us\n",
           name, (unsigned long long)k->n_ok, (unsigned long long)k->n_failed,
           (unsigned long long)k->n_repeated, (unsigned long long)k->n_wrong, k->p50_us,
           k->p90_us, k->p99_us, k->p999_us, k->max_us);
}

static void
print_steady(const struct load_rate_result *r, bool json)
{
    if (json)
        putchar('{');
    print_kind("look_ups", &r->look_ups, json);
    print_kind("issues", &r->issues, json);
    printf(json ? "\"seconds\":%.3f,\"connections_lost\":%llu,\"longest_gap_ms\":%u"
                : "%.3f s, connections lost %llu, longest time without an answer %u ms",
           r->seconds, (unsigned long long)r->n_lost, r->longest_gap_ms);
    if (json)
        print_counts("failed", r->failed);
    puts(json ? "}" : "");
}

static int
run_steady(const struct load_options *o, bool json)
{
    struct load_rate_result r;

    steady.domain = o->domain;
    steady.seed = o->seed;
    steady.rate = o->rate;
    steady.seconds = o->seconds;
    steady.acks = o->acks;
    steady.stop = o->stop;
    if (load_rate_run(&steady, &r) != 0)
        return 2;
    print_steady(&r, json);
    if (o->acks != NULL && fclose(o->acks) != 0)
        return 2;
    return r.look_ups.n_failed + r.issues.n_failed + r.look_ups.n_wrong +
                           r.issues.n_wrong ==
                       0 &&
                   r.look_ups.n_ok + r.issues.n_ok > 0
               ? 0
               : 1;
}

static bool
options_fit(const struct load_options *o)
{
    if (steady.endpoints != NULL)
        return o->socket == NULL && o->endpoint == NULL && o->rate > 0 &&
               o->seconds > 0;
    return (o->socket == NULL) != (o->endpoint == NULL) &&
           (o->seconds > 0 || o->count != 0);
}

int
main(int argc, char **argv)
{
    struct load_options o = {.domain = "example.com",
                             .seed = "load",
                             .connections = 1,
                             .in_flight = 32,
                             .steps = 10,
                             .population = 1000,
                             .content = 2000,
                             .give_up = 30,
                             .stop = &stop};
    struct load_result r;
    struct sigaction act = {.sa_handler = on_signal};
    bool json = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == OPT_HELP)
            return usage(stdout, 0);
        if (opt == OPT_JSON)
            json = true;
        else if (opt == '?' || !set_option(&o, (enum load_option)opt, optarg))
            return usage(stderr, EX_USAGE);
    }
    if (optind != argc || !options_fit(&o))
        return usage(stderr, EX_USAGE);
    if (sigaction(SIGTERM, &act, NULL) != 0 || sigaction(SIGINT, &act, NULL) != 0)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    if (steady.endpoints != NULL)
        return run_steady(&o, json);
    if (load_run(&o, &r) != 0)
        return 2;
    if (json)
        print_json(&o, &r);
    else
        print_text(&o, &r);
    if (o.acks != NULL && fclose(o.acks) != 0)
        return 2;
    return n_failed(&r) == 0 && r.n_ok > 0 ? 0 : 1;
}
