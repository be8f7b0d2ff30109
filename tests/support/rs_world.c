#include "rs_world.h"

#include "test.h"

#include <dime/base64.h>
#include <keyd/base/clock.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DMTP_PORT = 26, SOON_MS = 15000 };

struct rs_world rs;

/* --- what hosts say --- */

static bool
has_name(const char *command, const char *name)
{
    char text[300];

    snprintf(text, sizeof text, "FOR=<%s>", name);
    return strstr(command, text) != NULL;
}

/* Whether the command has that fingerprint behind the word. */
static bool
has_print(const char *command, const char *word, struct kd_slice octets,
          enum dime_part part)
{
    struct dime_signet s;
    enum dime_reason why;
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1], wanted[128];

    if (dime_signet_parse(octets, &s, &why) != KD_OK ||
        dime_fingerprint(&s, part, fp) != KD_OK)
        return false;
    dime_fingerprint_text(fp, text);
    snprintf(wanted, sizeof wanted, "%s=[%s]", word, text);
    return strstr(command, wanted) != NULL;
}

static void
say_org(struct rs_domain *d, const char *command, struct kd_buf *reply)
{
    const struct kd_slice list[] = {kd_buf_slice(&d->org)};

    if (strncmp(command, "VRFY", 4) == 0 &&
        has_print(command, "FINGERPRINT", kd_buf_slice(&d->org), DIME_PART_FULL))
        kd_buf_printf(reply, "271 ORGANIZATIONAL SIGNET CURRENT\n");
    else
        dmtp_say_objects(reply, 270, list, 1);
}

static void
say_history(struct rs_user *u, const char *command, struct kd_buf *reply)
{
    struct kd_slice list[RS_LINKS_MAX];
    size_t first = 0, n = 0;
    bool has_start = strstr(command, "START=") != NULL;

    while (has_start && first < u->n_links &&
           !has_print(command, "START", kd_buf_slice(&u->links[first]), DIME_PART_CORE))
        first++;
    if (u->no_history || first == u->n_links) {
        kd_buf_printf(reply, "576 SIGNET UNAVAILABLE\n");
        return;
    }
    for (size_t i = first; i < u->n_links; i++)
        list[n++] = kd_buf_slice(&u->cores[i]);
    dmtp_say_objects(reply, 290, list, n);
}

static void
say_user(struct rs_user *u, const char *command, struct kd_buf *reply)
{
    const struct kd_buf *current = u->instead != NULL ? u->instead
                                   : u->n_links != 0  ? &u->links[u->n_links - 1]
                                                      : NULL;
    struct kd_slice octets =
        current == NULL ? kd_slice(NULL, 0) : kd_buf_slice(current);

    if (u->code != 0)
        kd_buf_printf(reply, "%u TEXT\n", u->code);
    else if (current == NULL)
        kd_buf_printf(reply, "576 SIGNET UNAVAILABLE\n");
    else if (strncmp(command, "HIST", 4) == 0)
        say_history(u, command, reply);
    else if (strncmp(command, "VRFY", 4) == 0 &&
             has_print(command, "FINGERPRINT", kd_buf_slice(current), DIME_PART_CORE))
        kd_buf_printf(reply, "281 USER SIGNET CURRENT\n");
    else
        dmtp_say_objects(reply, 280, &octets, 1);
}

void
rs_say(void *arg, const char *command, struct kd_buf *reply)
{
    struct rs_domain *d = arg;

    pthread_mutex_lock(&d->lock);
    d->n_sgnt += strncmp(command, "SGNT", 4) == 0;
    d->n_vrfy += strncmp(command, "VRFY", 4) == 0;
    d->n_hist += strncmp(command, "HIST", 4) == 0;
    bool is_said = false;
    if (strncmp(command, "QUIT", 4) == 0) {
        kd_buf_printf(reply, "221 BYE\n");
        is_said = true;
    } else if (has_name(command, d->name)) {
        say_org(d, command, reply);
        is_said = true;
    } else if (d->witnesses != NULL && has_name(command, d->witnesses)) {
        const struct kd_slice list[] = {kd_buf_slice(&d->testimony)};
        dmtp_say_objects(reply, 270, list, 1);
        is_said = true;
    }
    for (size_t i = 0; i < 2 && !is_said; i++)
        if (d->users[i].address != NULL && has_name(command, d->users[i].address)) {
            say_user(&d->users[i], command, reply);
            is_said = true;
        }
    if (!is_said)
        kd_buf_printf(reply, "576 SIGNET UNAVAILABLE\n");
    pthread_mutex_unlock(&d->lock);
}

/* --- what domains are --- */

static void
records_of(const struct rs_domain *d, const char *more, char *out, size_t size)
{
    char pok[64];

    dime_base64_write(kd_slice(d->pok.key, 32), pok);
    snprintf(out, size, "dx A %s\n%s%s%s%s%s", d->address, more == NULL ? ";" : "",
             "_dime 60 TXT \"pok=", pok, " dx=", d->host);
    size_t n = strlen(out);
    snprintf(out + n, size - n, " %s\"\n", more == NULL ? "" : more);
}

void
rs_publish(size_t domain, const char *more)
{
    char text[2048];

    records_of(&rs.domains[domain], more, text, sizeof text);
    zones_change(rs.zones, rs.domains[domain].name, text);
}

void
rs_sign_org(size_t domain, const struct sg_pair *former)
{
    struct rs_domain *d = &rs.domains[domain];
    const struct sg_sok soks[] = {{3, &d->sok}, {1, former}};

    pthread_mutex_lock(&d->lock);
    kd_buf_free(&d->org);
    sg_make_org(&d->org, &(struct sg_org){.soks = soks,
                                          .n_soks = former == NULL ? 1 : 2,
                                          .identifier = d->name,
                                          .pok = &d->pok,
                                          .self_by = &d->pok,
                                          .full_by = &d->pok,
                                          .id_by = &d->pok});
    pthread_mutex_unlock(&d->lock);
}

void
rs_serve(size_t domain, bool is_self_signed)
{
    struct rs_domain *d = &rs.domains[domain];
    char san[256];

    snprintf(san, sizeof san, "DNS:%s", d->host);
    identity_make(&d->id, &(struct cert_spec){.issuer = is_self_signed ? NULL : &rs.ca,
                                              .key = "rsa2048",
                                              .cn = d->host,
                                              .san = san,
                                              .eku = "serverAuth"});
    d->server = dmtp_server_start(&(struct dmtp_server_conf){.address = d->address,
                                                             .port = DMTP_PORT,
                                                             .id = &d->id,
                                                             .answer = rs_say,
                                                             .arg = d});
}

void
rs_stop_serving(size_t domain)
{
    struct rs_domain *d = &rs.domains[domain];
    struct dmtp_server_seen seen;

    if (d->server == NULL)
        return;
    dmtp_server_stop(d->server, &seen);
    d->server = NULL;
    identity_clear(&d->id);
}

/* --- people --- */

struct rs_user *
rs_user(size_t domain, const char *address)
{
    struct rs_domain *d = &rs.domains[domain];

    for (size_t i = 0; i < 2; i++) {
        if (d->users[i].address == NULL)
            d->users[i].address = address;
        if (strcmp(d->users[i].address, address) == 0)
            return &d->users[i];
    }
    fail_msg("more people than the world has room for");
    return NULL;
}

static void
make_link(size_t domain, struct rs_user *u, size_t i, const struct sg_pair *pair,
          const struct sg_pair *custody)
{
    struct rs_domain *d = &rs.domains[domain];
    uint8_t enc[33];
    struct sg_user recipe = {.pair = pair,
                             .enc = enc,
                             .custody_by = custody,
                             .org_by = &d->sok,
                             .full_by = &d->sok,
                             .id_by = &d->sok,
                             .identifier = u->address};
    char name[64];

    snprintf(name, sizeof name, "enc %02x%02x%02x", pair->key[0], pair->key[1],
             pair->key[2]);
    sg_enc_text(name, enc);
    pthread_mutex_lock(&d->lock);
    kd_buf_init(&u->links[i], 8192);
    kd_buf_init(&u->cores[i], 8192);
    sg_make_user(&u->links[i], &recipe);
    recipe.until = DIME_PART_CORE;
    sg_make_user(&u->cores[i], &recipe);
    u->n_links = i + 1;
    pthread_mutex_unlock(&d->lock);
}

/* The pairs of a chain's links. */
static struct sg_pair pairs[RS_DOMAINS][2][RS_LINKS_MAX];

void
rs_link(size_t domain, const char *address, const char *key, bool custody)
{
    struct rs_user *u = rs_user(domain, address);
    struct sg_pair *list = pairs[domain][u - rs.domains[domain].users];
    size_t i = u->n_links;

    assert_true(i < RS_LINKS_MAX);
    list[i] = sg_pair_text(key);
    make_link(domain, u, i, &list[i], custody && i > 0 ? &list[i - 1] : NULL);
}

void
rs_sign_again(size_t domain, const char *address, const char *key)
{
    struct rs_user *u = rs_user(domain, address);
    struct sg_pair *list = pairs[domain][u - rs.domains[domain].users];
    size_t i = u->n_links - 1;

    list[i] = sg_pair_text(key);
    kd_buf_free(&u->links[i]);
    kd_buf_free(&u->cores[i]);
    make_link(domain, u, i, &list[i], i > 0 ? &list[i - 1] : NULL);
}

/* --- all of it --- */

static void
begin_domain(size_t i, const char *name, const char *host, const char *address)
{
    struct rs_domain *d = &rs.domains[i];
    char text[64];

    *d = (struct rs_domain){.name = name, .host = host, .address = address};
    pthread_mutex_init(&d->lock, NULL);
    snprintf(text, sizeof text, "pok of %s", name);
    d->pok = sg_pair_text(text);
    snprintf(text, sizeof text, "sok of %s", name);
    d->sok = sg_pair_text(text);
    kd_buf_init(&d->org, 8192);
    rs_sign_org(i, NULL);
}

void
rs_begin(void)
{
    static char records[RS_DOMAINS][2048];
    const char *tmp = getenv("TMPDIR");
    struct zone_spec specs[RS_DOMAINS + 2] = {
        [RS_DOMAINS] = {.name = RS_FRESH, .kind = ZONE_SIGNED},
        [RS_DOMAINS + 1] = {
            .name = "hostile.example", .kind = ZONE_ELSEWHERE, .at = "127.0.0.66"}};

    begin_domain(RS_SIGNED, "example.com", "dx.example.com", "127.0.0.21");
    begin_domain(RS_UNSIGNED, "example.net", "dx.example.net", "127.0.0.22");
    for (size_t i = 0; i < RS_DOMAINS; i++) {
        records_of(&rs.domains[i], "", records[i], sizeof records[i]);
        specs[i] =
            (struct zone_spec){.name = rs.domains[i].name,
                               .kind = i == RS_SIGNED ? ZONE_SIGNED : ZONE_UNSIGNED,
                               .records = records[i]};
    }
    snprintf(rs.dir, sizeof rs.dir, "%s/rs-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(rs.dir));
    identity_root(&rs.ca, "authority");
    snprintf(rs.ca_file, sizeof rs.ca_file, "%s/ca.pem", rs.dir);
    const struct identity *list[] = {&rs.ca};
    certs_write(rs.ca_file, list, 1);
    rs.zones = zones_start(specs, RS_DOMAINS + 2);
    zones_set_absence(rs.zones, RS_FRESH, 2);
    zones_change(rs.zones, RS_FRESH, "");
    rs.now = 1800000000;
    for (size_t i = 0; i < RS_DOMAINS; i++)
        rs_serve(i, false);
}

void
rs_end(void)
{
    char command[256];

    for (size_t i = 0; i < RS_DOMAINS; i++)
        rs_stop_serving(i);
    zones_stop(rs.zones);
    identity_clear(&rs.ca);
    snprintf(command, sizeof command, "rm -rf '%s'", rs.dir);
    assert_int_equal(system(command), 0);
}

static int64_t
now(void *arg)
{
    (void)arg;
    return rs.now;
}

struct dime_resolver *
rs_resolver(const char *dir)
{
    char state[256], anchor[160];
    const char *why = NULL;
    struct dime_resolver *r = NULL;

    snprintf(state, sizeof state, "%s/%s", rs.dir, dir == NULL ? "" : dir);
    snprintf(anchor, sizeof anchor, "%s/anchor", rs.dir);
    FILE *f = fopen(anchor, "we");
    assert_non_null(f);
    fprintf(f, "%s\n", zones_anchor(rs.zones));
    assert_int_equal(fclose(f), 0);
    const struct dime_resolver_conf conf = {.state_dir = dir == NULL ? NULL : state,
                                            .anchor_file = anchor,
                                            .hints_file = zones_hints(rs.zones),
                                            .is_local = true,
                                            .ca_file = rs.ca_file,
                                            .now = now};
    kd_err err = dime_resolver_new(&conf, &r, &why);
    if (err != KD_OK)
        fail_msg("resolver: %s (%s)", kd_err_text(err), why);
    return r;
}

const struct dime_answer *
rs_ask(struct dime_resolver *r, const char *name, unsigned flags,
       enum dime_outcome want)
{
    const struct dime_query q = {
        .name = name, .flags = flags, .deadline = kd_clock_ms() + SOON_MS};
    const struct dime_answer *a = NULL;

    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    if (a->outcome == want)
        return a;
    for (size_t i = 0; i < a->n_steps; i++)
        print_message("  %s %u: %s\n", a->steps[i].word, a->steps[i].weight,
                      a->steps[i].text);
    fail_msg("%s is %s, not %s", name, dime_outcome_name(a->outcome),
             dime_outcome_name(want));
    return a;
}

bool
rs_told(const struct dime_answer *a, const char *word, const char *text,
        unsigned weight)
{
    for (size_t i = 0; i < a->n_steps; i++)
        if (strcmp(a->steps[i].word, word) == 0 &&
            strstr(a->steps[i].text, text) != NULL && a->steps[i].weight >= weight)
            return true;
    return false;
}
