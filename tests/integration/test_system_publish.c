/* A domain as keyd publishes it, in a world of its own: what keydctl publish show
 * prints is put into a signed zone, a DMTP host hands out keyd's signet, and publish
 * check says what is well, what is not and what ends soon. A resolver believes it. */
#include "ask.h"
#include "dmtp_server.h"
#include "hostile_dns.h"
#include "netns.h"
#include "suite.h"
#include "test.h"
#include "zone.h"

#include <dime/resolver.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define HOST "127.0.0.21"
#define SECOND "127.0.0.54"

enum { OUTPUT_MAX = 1 << 18, DAY = 86400, WELL = 0, LOOK_SOON = 1, LOOK_NOW = 2 };

static struct daemon keyd;
static struct daemon_org org;
static struct kd_buf signet; /* that the host hands out */
static struct identity ca, mx;
static struct dmtp_server *server;
static struct zones *zones;
static char ca_file[160], mx_file[160], anchor[160], published[8192];

/* --- the world ----------------------------------------------------------------------
 */

static void
say(void *arg, const char *command, struct kd_buf *reply)
{
    const struct kd_slice list[] = {kd_buf_slice(&signet)};

    (void)arg;
    if (strncmp(command, "QUIT", 4) == 0)
        kd_buf_printf(reply, "221 BYE\n");
    else if (signet.n == 0 || strncmp(command, "SGNT", 4) != 0)
        kd_buf_printf(reply, "576 SIGNET UNAVAILABLE\n");
    else
        dmtp_say_objects(reply, 270, list, 1);
}

static void
stop_host(void)
{
    struct dmtp_server_seen seen;

    if (server != NULL)
        dmtp_server_stop(server, &seen);
    server = NULL;
    identity_clear(&mx);
}

static void
serve_until(long days)
{
    const struct identity *list[] = {&mx};

    stop_host();
    identity_make(&mx, &(struct cert_spec){.issuer = &ca,
                                           .key = "rsa2048",
                                           .cn = "mx.example.com",
                                           .san = "DNS:mx.example.com",
                                           .eku = "serverAuth",
                                           .to = days * DAY});
    certs_write(mx_file, list, 1);
    server = dmtp_server_start(&(struct dmtp_server_conf){
        .address = HOST, .port = 26, .id = &mx, .answer = say});
}

/* --- keydctl ------------------------------------------------------------------------
 */

static char output[OUTPUT_MAX];

/* Its exit status; what it printed is in output. */
static int
keydctl(const char *const *more, const char *verb)
{
    char program[4096], socket[108], command[8192];

    daemon_program("bin", "keydctl", program);
    daemon_socket(&keyd, "admin", socket);
    int n = snprintf(command, sizeof command,
                     "'%s' publish %s --domain example.com --config '%s' --socket '%s'",
                     program, verb, keyd.conf, socket);
    for (; *more != NULL; more++)
        n += snprintf(command + n, sizeof command - (size_t)n, " '%s'", *more);
    n += snprintf(command + n, sizeof command - (size_t)n, " 2>&1");
    assert_true(n > 0 && (size_t)n < sizeof command);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    size_t size = fread(output, 1, sizeof output - 1, f);
    output[size] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const world[] = {"--loopback", "--anchor", anchor, "--hints"};

/* publish check as JSON; its findings. */
static json_t *
check(int want, const char *option, const char *value)
{
    const char *const more[] = {
        world[0], world[1], world[2], world[3],    zones_hints(zones),
        "--ca",   ca_file,  "--json", "--timeout", "8",
        option,   value,    NULL};
    json_error_t e;
    int status = keydctl(more, "check");

    if (status != want)
        fail_msg("publish check ended with %d, not %d:\n%s", status, want, output);
    json_t *j = json_loads(output, JSON_DISABLE_EOF_CHECK, &e);
    if (j == NULL)
        fail_msg("no JSON: %s:\n%s", e.text, output);
    return j;
}

/* The finding of that code, which must be there with that level. */
static const json_t *
finding(const json_t *j, const char *code, const char *level)
{
    const json_t *x;
    size_t i;

    json_array_foreach(
        json_object_get(j, "findings"), i,
        x) if (strcmp(json_string_value(json_object_get(x, "code")), code) == 0 &&
               strcmp(json_string_value(json_object_get(x, "level")), level) ==
                   0) return x;
    fail_msg("no %s %s:\n%s", level, code, output);
    return NULL;
}

static bool
has(const json_t *j, const char *code)
{
    const json_t *x;
    size_t i;

    json_array_foreach(json_object_get(j, "findings"), i,
                       x) if (strcmp(json_string_value(json_object_get(x, "code")),
                                     code) == 0) return true;
    return false;
}

/* --- the zone -----------------------------------------------------------------------
 */

static void
show(void)
{
    const char *const more[] = {"--dx", "mx.example.com", "--certificate", mx_file,
                                NULL};

    if (keydctl(more, "show") != 0)
        fail_msg("publish show: %s", output);
    /* With what it reminds of, on stderr, in the same file. */
    published[0] = '\0';
    for (char *line = strtok(output, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (line[0] == '_') {
            strcat(published, line);
            strcat(published, "\n");
        }
}

static const char *
records(const char *more)
{
    static char text[12288];

    snprintf(text, sizeof text, "mx A " HOST "\n%s%s\n", published, more);
    return text;
}

static void
put_anchor(void)
{
    FILE *f = fopen(anchor, "we");

    assert_non_null(f);
    fprintf(f, "%s\n", zones_anchor(zones));
    assert_int_equal(fclose(f), 0);
}

static void
put_zone(enum zone_kind kind)
{
    const struct zone_spec spec = {
        .name = "example.com", .kind = kind, .records = records("")};

    if (zones != NULL)
        zones_stop(zones);
    zones = zones_start(&spec, 1);
    put_anchor();
}

static int
begin(void **state)
{
    const struct identity *list[] = {&ca};

    (void)state;
    assert_true(daemon_start(&keyd, NULL));
    assert_true(daemon_provision(&keyd, &org));
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", keyd.dir);
    snprintf(mx_file, sizeof mx_file, "%s/mx.pem", keyd.dir);
    snprintf(anchor, sizeof anchor, "%s/anchor", keyd.dir);
    identity_root(&ca, "authority");
    certs_write(ca_file, list, 1);
    kd_buf_init(&signet, 8192);
    kd_buf_put(&signet, kd_slice(org.signet, org.size));
    serve_until(90);
    show();
    put_zone(ZONE_SIGNED);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    stop_host();
    zones_stop(zones);
    identity_clear(&ca);
    kd_buf_free(&signet);
    daemon_clear(&keyd);
    return 0;
}

/* --- what is well -------------------------------------------------------------------
 */

static void
T_MR_40_what_was_published_as_it_was_shown_is_well(void **state)
{
    (void)state;
    json_t *j = check(WELL, "--certificate", mx_file);

    assert_int_equal(json_integer_value(json_object_get(j, "hosts")), 1);
    assert_int_equal(json_integer_value(json_object_get(j, "servers")), 1);
    /* What is well is told, with its end. */
    const json_t *x = finding(j, "signature-end", "note");
    assert_true(json_is_string(json_object_get(x, "until")));
    finding(j, "certificate-end", "note");
    assert_false(has(j, "dnssec-none") || has(j, "server-tcp"));
    json_decref(j);
}

/* Whoever resolves the domain comes to keyd's signet. */
static void
a_resolver_believes_what_keyd_publishes(void **state)
{
    const struct dime_resolver_conf conf = {.anchor_file = anchor,
                                            .hints_file = zones_hints(zones),
                                            .is_local = true,
                                            .ca_file = ca_file};
    const struct dime_query q = {.name = "example.com",
                                 .deadline = kd_clock_ms() + 15000};
    struct dime_resolver *r = NULL;
    const struct dime_answer *a = NULL;
    const char *why;
    bool is_pinned = false;

    (void)state;
    assert_int_equal(dime_resolver_new(&conf, &r, &why), KD_OK);
    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    assert_int_equal(a->outcome, DIME_IS_DARK);
    assert_true(a->is_secure);
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&signet)));
    assert_int_equal(a->record->n_tls, 2);
    for (size_t i = 0; i < a->n_steps; i++)
        is_pinned |= strcmp(a->steps[i].word, "certificate") == 0 &&
                     strstr(a->steps[i].text, "matches the record") != NULL;
    assert_true(is_pinned);
    dime_answer_free(a);
    dime_resolver_free(r);
}

/* --- what ends soon -----------------------------------------------------------------
 */

static void
ends_are_told_ahead(void **state)
{
    (void)state;
    /* 90 days are ahead of 100, and the zone's signatures of no more than 3. */
    json_t *j = check(LOOK_SOON, "--ahead", "100");
    const json_t *x = finding(j, "certificate-end", "warning");
    assert_non_null(strstr(json_string_value(json_object_get(x, "text")), " days"));
    json_decref(j);

    serve_until(10);
    show();
    zones_change(zones, "example.com", records(""));
    j = check(LOOK_SOON, "--certificate", mx_file);
    finding(j, "certificate-end", "warning");
    json_decref(j);
    json_decref(check(WELL, "--ahead", "5"));
    serve_until(90);
    show();
    zones_change(zones, "example.com", records(""));
}

/* --- what is not well ---------------------------------------------------------------
 */

static void
other_certificates_and_values_are_told(void **state)
{
    char old[160];

    (void)state;
    snprintf(old, sizeof old, "%s/old.pem", keyd.dir);
    const struct identity *list[] = {&mx};
    certs_write(old, list, 1);
    serve_until(80); /* renewed, and not published */
    json_t *j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "certificate-unlisted", "alarm");
    finding(j, "certificate-refused", "alarm");
    finding(j, "value-unknown", "warning");
    finding(j, "no-host", "alarm");
    json_decref(j);
    j = check(LOOK_NOW, "--certificate", old); /* what the values are of */
    finding(j, "certificate-unknown", "warning");
    assert_false(has(j, "certificate-unlisted"));
    json_decref(j);
    show();
    zones_change(zones, "example.com", records(""));
    json_decref(check(WELL, "--certificate", mx_file));
}

static void
another_signet_or_none_is_told(void **state)
{
    struct keyd_answer *a;
    keyd_client *admin = ask_connect(&keyd, "admin");
    struct keyd_request q = {.op = KEYD_OP_ISSUE_ORG_SIGNET};
    struct keyd_octets sok = {org.sok, 16};

    (void)state;
    q.in.issue_org_signet.domain = KEYD_STR("example.com");
    q.in.issue_org_signet.pok_id = (struct keyd_octets){org.pok, 16};
    q.in.issue_org_signet.encryption_id = (struct keyd_octets){org.enc, 16};
    q.in.issue_org_signet.sok_ids = &sok;
    q.in.issue_org_signet.n_sok_ids = 1;
    const struct keyd_profile_field field = {.type = 200,
                                             .value = KEYD_STR("abuse@example.com")};
    q.in.issue_org_signet.profile = &field;
    q.in.issue_org_signet.n_profile = 1;
    json_t *j = check(WELL, "--certificate", mx_file);
    finding(j, "abuse-contact", "note");
    json_decref(j);
    a = ask(admin, &q);
    assert_int_equal(a->status, KEYD_OK);
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "signet-differs", "alarm"); /* the host has the old one */
    json_decref(j);
    kd_buf_reset(&signet);
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "signet-none", "alarm");
    json_decref(j);
    kd_buf_put(&signet, ask_slice(a->out.signet.signet));
    j = check(WELL, "--certificate", mx_file);
    assert_false(has(j, "abuse-contact"));
    json_decref(j);
    keyd_client_answer_free(a);
    keyd_client_free(admin);
}

static void
a_host_that_is_away_is_told(void **state)
{
    (void)state;
    struct dmtp_server_seen seen;
    dmtp_server_stop(server, &seen);
    server = NULL;
    json_t *j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "host-unreached", "warning");
    finding(j, "no-host", "alarm");
    json_decref(j);
    server = dmtp_server_start(&(struct dmtp_server_conf){
        .address = HOST, .port = 26, .id = &mx, .answer = say});
    json_decref(check(WELL, "--certificate", mx_file));
}

static size_t
other_record(void *arg, const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);

    (void)arg;
    if (q->tcp)
        return 0;
    hostile_txt(&m, NULL, 60, "ver=1 pok=other ");
    return m.n;
}

static void
a_server_that_is_behind_or_has_no_TCP_is_told(void **state)
{
    struct hostile_dns *h = hostile_dns_start(SECOND, other_record, NULL);

    (void)state;
    zones_change(zones, "example.com", records("@ NS ns2\nns2 A " SECOND));
    const char *const more[] = {world[0], world[1],           world[2],
                                world[3], zones_hints(zones), "--ca",
                                ca_file,  "--json",           NULL};
    json_error_t e;
    int status = keydctl(more, "check");
    assert_true(status == LOOK_SOON || status == LOOK_NOW); /* or it was believed */
    json_t *j = json_loads(output, JSON_DISABLE_EOF_CHECK, &e);
    finding(j, "server-tcp", "warning");
    finding(j, "server-differs", "warning");
    json_decref(j);
    hostile_dns_stop(h);
    zones_change(zones, "example.com", records(""));
}

static void
keys_that_are_not_published_or_not_ours_are_told(void **state)
{
    static const char stranger[] =
        "_dime TXT \"ver=1 pok=5zyGJDCUMa70B5Z13ystwRu/48GlG9ooQIA8ze/6vAM \" "
        "\"dx=mx.example.com \"\n";
    char text[1024];

    (void)state;
    snprintf(text, sizeof text, "mx A " HOST "\n%s", stranger);
    zones_change(zones, "example.com", text);
    json_t *j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "key-unknown", "alarm");
    finding(j, "key-missing", "alarm");
    finding(j, "record-absent", "warning"); /* at _dx */
    finding(j, "no-values", "warning");
    json_decref(j);
    zones_change(zones, "example.com", "mx A " HOST);
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "record-absent", "alarm");
    json_decref(j);
    zones_change(zones, "example.com",
                 "mx A " HOST "\n_dime TXT \"ver=2 pok=x \"\n_dx TXT \"pok = y\"");
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "record-broken", "alarm");
    json_decref(j);
    zones_change(zones, "example.com", records(""));
}

static void
T_MR_40_DNSSEC_is_checked(void **state)
{
    (void)state;
    put_zone(ZONE_UNSIGNED);
    json_t *j = check(LOOK_SOON, "--certificate", mx_file);
    finding(j, "dnssec-none", "warning");
    json_decref(j);
    put_zone(ZONE_BOGUS);
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "dnssec-bogus", "alarm");
    json_decref(j);
    put_zone(ZONE_EXPIRED);
    j = check(LOOK_NOW, "--certificate", mx_file);
    finding(j, "dnssec-bogus", "alarm");
    json_decref(j);
    put_zone(ZONE_SIGNED);
}

static void
what_cannot_be_asked_is_no_verdict(void **state)
{
    const char *const wrong[][3] = {{"--ahead", "x", NULL},
                                    {"--certificate", "/nonexistent", NULL},
                                    {"--anchor", "/nonexistent", NULL},
                                    {"--hints", "/nonexistent", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_true(keydctl(wrong[i], "check") >= 64);
    const char *const none[] = {world[0], world[1],           world[2],
                                world[3], zones_hints(zones), NULL};
    assert_true(keydctl(none, "check") <= LOOK_NOW);
    /* As text: the worst first, and a line of all. */
    assert_non_null(strstr(output, "example.com: "));
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_40_what_was_published_as_it_was_shown_is_well),
        cmocka_unit_test(a_resolver_believes_what_keyd_publishes),
        cmocka_unit_test(ends_are_told_ahead),
        cmocka_unit_test(other_certificates_and_values_are_told),
        cmocka_unit_test(another_signet_or_none_is_told),
        cmocka_unit_test(a_host_that_is_away_is_told),
        cmocka_unit_test(a_server_that_is_behind_or_has_no_TCP_is_told),
        cmocka_unit_test(keys_that_are_not_published_or_not_ours_are_told),
        cmocka_unit_test(T_MR_40_DNSSEC_is_checked),
        cmocka_unit_test(what_cannot_be_asked_is_no_verdict),
    };

    suite_begin(argc, argv);
    if (kd_secret_setup(64 * 1024) != KD_OK)
        return 1;
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}
