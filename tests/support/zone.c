#include "zone.h"

#include "suite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { MAX_ZONES = 48, TEXT_MAX = 64 * 1024, MONTHS = 120 * 86400 };

struct one {
    struct zone_spec spec;
    unsigned absent_s; /* TTL of what is not there; 0: 60 */
    char file[512];
    char ds[512]; /* for the parent */
};

struct zones {
    char dir[256], conf[300], hints[300], socket[300];
    char anchor[1024];
    unsigned serial;
    size_t n;
    struct one root, zones[MAX_ZONES];
    pid_t knot;
};

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_error("zone: %s\n", text);
    exit(1);
}

/* --- programs --- */

/* Runs a command of ours in a shell; what it printed. */
static void run(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void
run(char *out, size_t size, const char *fmt, ...)
{
    char command[2048];
    size_t n = 0;
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command), fmt, ap);
    va_end(ap);
    if ((f = popen(command, "re")) == NULL)
        give_up("popen");
    if (size > 0) {
        n = fread(out, 1, size - 1, f);
        out[n] = '\0';
    }
    if (pclose(f) != 0)
        give_up("failed: %s", command);
}

static void
write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        give_up("cannot write %s", path);
}

/* --- files --- */

static bool
is_served(const struct one *o)
{
    return o->spec.kind != ZONE_ELSEWHERE;
}

static bool
is_signed(const struct one *o)
{
    return o->spec.kind == ZONE_SIGNED || o->spec.kind == ZONE_BOGUS ||
           o->spec.kind == ZONE_EXPIRED || o->spec.kind == ZONE_WRONG_DS;
}

static const char *
zone_name(const struct one *o)
{
    return o->spec.name[0] != '\0' ? o->spec.name : ".";
}

static void
write_conf(struct zones *z)
{
    static char text[TEXT_MAX];
    size_t at;

    at = (size_t)snprintf(
        text, sizeof(text),
        "server:\n    rundir: \"%s\"\n    pidfile: \"%s/pid\"\n    listen: \"%s@53\"\n"
        "    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
        "control:\n    listen: \"%s\"\n"
        "database:\n    storage: \"%s/db\"\n"
        "policy:\n  - id: p\n    manual: on\n    single-type-signing: on\n"
        "    algorithm: ecdsap256sha256\n"
        "zone:\n",
        z->dir, z->dir, ZONE_SERVER, z->socket, z->dir);
    for (size_t i = 0; i <= z->n; i++) {
        const struct one *o = i == 0 ? &z->root : &z->zones[i - 1];

        if (is_served(o))
            at += (size_t)snprintf(
                text + at, sizeof(text) - at,
                "  - domain: \"%s\"\n    file: \"%s\"\n    zonefile-load: whole\n"
                "    zonefile-sync: -1\n    journal-content: none\n%s",
                zone_name(o), o->file, is_signed(o) ? "    dnssec-policy: p\n" : "");
        if (at >= sizeof(text))
            give_up("the configuration is too long");
    }
    write_file(z->conf, text);
}

/* Changes a bit of every signature but those of the keys: a character in the middle of
 * its base 64. */
static void
spoil(const char *path)
{
    static char text[TEXT_MAX * 4];
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        give_up("cannot read %s", path);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    for (char *line = strtok(text, "\n"), *end; line != NULL;
         line = strtok(NULL, "\n")) {
        end = line + strlen(line);
        if (strstr(line, "\tRRSIG\t") != NULL && strstr(line, "RRSIG\tDNSKEY") == NULL)
            end[-20] = end[-20] == 'A' ? 'B' : 'A';
        if (end < text + n)
            *end = '\n';
        line = end;
    }
    write_file(path, text);
}

static void
sign(const struct zones *z, const struct one *o)
{
    char when[64] = "";

    if (!is_signed(o))
        return;
    if (o->spec.kind == ZONE_EXPIRED)
        snprintf(when, sizeof(when), "-t %lld", (long long)time(NULL) - MONTHS);
    run(NULL, 0, "kzonesign -c %s %s %s >>%s/log 2>&1", z->conf, when, zone_name(o),
        z->dir);
    if (o->spec.kind == ZONE_BOGUS)
        spoil(o->file);
}

static void
write_zone(struct zones *z, struct one *o)
{
    static char text[TEXT_MAX];
    int n;

    if (!is_served(o) || o->spec.kind == ZONE_SERVFAIL)
        return;
    n = snprintf(text, sizeof(text),
                 "$ORIGIN %s.\n$TTL 300\n@ SOA ns admin %u 3600 600 86400 %u\n"
                 "@ NS ns\nns A %s\n%s\n",
                 o->spec.name, ++z->serial, o->absent_s == 0 ? 60 : o->absent_s,
                 ZONE_SERVER, o->spec.records != NULL ? o->spec.records : "");
    if (n < 0 || (size_t)n >= sizeof(text))
        give_up("zone %s is too long", o->spec.name);
    write_file(o->file, text);
    sign(z, o);
}

/* The root's records: a delegation and, of what is signed, a DS for each zone. */
static char *
root_records(struct zones *z)
{
    static char text[TEXT_MAX];
    size_t at = 0;

    for (size_t i = 0; i < z->n; i++) {
        const struct one *o = &z->zones[i];

        if (o->spec.kind == ZONE_HIDDEN)
            continue;
        at += (size_t)snprintf(text + at, sizeof(text) - at,
                               "%s. NS ns.%s.\nns.%s. A %s\n%s\n", o->spec.name,
                               o->spec.name, o->spec.name,
                               is_served(o) ? ZONE_SERVER : o->spec.at, o->ds);
        if (at >= sizeof(text))
            give_up("the root is too long");
    }
    return text;
}

static void
make_key(struct zones *z, struct one *o)
{
    char digest[65] = "";

    if (is_signed(o)) {
        const char *when = o->spec.kind == ZONE_EXPIRED ? "created=-200d publish=-200d "
                                                          "ready=-200d active=-200d"
                                                        : "";

        run(NULL, 0,
            "keymgr -c %s %s generate algorithm=ecdsap256sha256 ksk=yes zsk=yes "
            "%s >>%s/log 2>&1",
            z->conf, zone_name(o), when, z->dir);
        run(o->ds, sizeof(o->ds), "keymgr -c %s %s ds | grep ' 13 2 '", z->conf,
            zone_name(o));
    }
    if (o->spec.kind == ZONE_WRONG_DS) {
        char *hex = strrchr(o->ds, ' ') + 1;

        hex[0] = hex[0] == '0' ? '1' : '0';
    }
    if (o->spec.kind == ZONE_STRIPPED) {
        memset(digest, 'a', sizeof(digest) - 1);
        snprintf(o->ds, sizeof(o->ds), "%s. DS 12345 13 2 %s", o->spec.name, digest);
    }
}

/* --- serving --- */

static bool
answers(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    inet_pton(AF_INET, ZONE_SERVER, &to.sin_addr);
    ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static void
serve(struct zones *z)
{
    char log[300];
    pid_t parent = getpid();

    snprintf(log, sizeof(log), "%s/log", z->dir);
    if ((z->knot = fork()) == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || getppid() != parent || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
            _exit(1);
        execlp("knotd", "knotd", "-c", z->conf, (char *)NULL);
        _exit(1);
    }
    if (z->knot < 0)
        give_up("fork");
    for (int i = 0; !answers(); i++) {
        if (i == 1000 || waitpid(z->knot, NULL, WNOHANG) != 0)
            give_up("knotd does not start: see %s", log);
        usleep(10000);
    }
}

struct zones *
zones_start(const struct zone_spec *specs, size_t n)
{
    const char *tmp = getenv("TMPDIR");
    struct zones *z = calloc(1, sizeof(*z));
    char path[300], dnskey[900];

    if (system("command -v knotd kzonesign keymgr >/dev/null") != 0) {
        print_message("skipped: no Knot\n");
        exit(SUITE_SKIPPED);
    }
    if (z == NULL || n > MAX_ZONES)
        give_up("zones");
    snprintf(z->dir, sizeof(z->dir), "%s/zones.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(z->dir) == NULL)
        give_up("no folder %s", z->dir);
    snprintf(path, sizeof(path), "%s/db", z->dir);
    if (mkdir(path, 0700) != 0)
        give_up("no folder %s", path);
    snprintf(z->conf, sizeof(z->conf), "%s/knot.conf", z->dir);
    snprintf(z->hints, sizeof(z->hints), "%s/hints", z->dir);
    snprintf(z->socket, sizeof(z->socket), "%s/s", z->dir);
    z->n = n;
    z->root.spec = (struct zone_spec){.name = "", .kind = ZONE_SIGNED};
    for (size_t i = 0; i <= n; i++) {
        struct one *o = i == 0 ? &z->root : &z->zones[i - 1];

        if (i > 0)
            o->spec = specs[i - 1];
        snprintf(o->file, sizeof(o->file), "%s/%zu.zone", z->dir, i);
    }
    write_conf(z);
    for (size_t i = 0; i <= n; i++)
        make_key(z, i == 0 ? &z->root : &z->zones[i - 1]);
    for (size_t i = 0; i < n; i++)
        write_zone(z, &z->zones[i]);
    z->root.spec.records = root_records(z);
    write_zone(z, &z->root);
    run(dnskey, sizeof(dnskey), "keymgr -c %s . dnskey", z->conf);
    dnskey[strcspn(dnskey, "\n")] = '\0';
    snprintf(z->anchor, sizeof(z->anchor), ". IN %s", dnskey + 2);
    write_file(z->hints, ". 3600 IN NS ns.\nns. 3600 IN A " ZONE_SERVER "\n");
    serve(z);
    return z;
}

void
zones_stop(struct zones *z)
{
    if (z == NULL)
        return;
    kill(z->knot, SIGTERM);
    waitpid(z->knot, NULL, 0);
    run(NULL, 0, "rm -rf -- '%s'", z->dir);
    free(z);
}

const char *
zones_anchor(const struct zones *z)
{
    return z->anchor;
}

const char *
zones_hints(const struct zones *z)
{
    return z->hints;
}

void
zones_set_absence(struct zones *z, const char *name, unsigned seconds)
{
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->zones[i].spec.name, name) == 0)
            z->zones[i].absent_s = seconds;
}

void
zones_change(struct zones *z, const char *name, const char *records)
{
    for (size_t i = 0; i < z->n; i++) {
        struct one *o = &z->zones[i];

        if (strcmp(o->spec.name, name) != 0)
            continue;
        o->spec.records = records;
        write_zone(z, o);
        run(NULL, 0, "knotc -b -s %s zone-reload %s >>%s/log 2>&1", z->socket, name,
            z->dir);
        return;
    }
    give_up("no zone %s", name);
}
