/* Names resolved by way of many hosts: which are tried, in which order, on which ports,
 * and which certificates count; dead ones, wrong ones, and none. Real zones, real hosts
 * (rs_world.h); these are the world's own and those that a test begins beside them. */
#include "netns.h"
#include "rs_world.h"
#include "suite.h"

#include <dime/base64.h>
#include <dime/policy.h>
#include <keyd/base/clock.h>

#include <string.h>
#include <time.h>

enum { DAY = 86400, WARNING = 1, ALARM = 2 };

/* --- hosts beside the world's -------------------------------------------------------
 */

/* As example.com's own, at another place. */
struct extra {
    struct identity id;
    struct dmtp_server *server;
};

static void
extra_start(struct extra *x, const char *host, const char *address, uint16_t port,
            const struct cert_spec *like)
{
    struct cert_spec spec = like != NULL ? *like : (struct cert_spec){.issuer = &rs.ca};
    char san[256];

    snprintf(san, sizeof san, "DNS:%s", host);
    spec.key = "rsa2048";
    spec.cn = host;
    spec.san = san;
    spec.eku = "serverAuth";
    identity_make(&x->id, &spec);
    x->server = dmtp_server_start(&(struct dmtp_server_conf){.address = address,
                                                             .port = port,
                                                             .is_dual = port != 26,
                                                             .id = &x->id,
                                                             .answer = rs_say,
                                                             .arg = &rs.domains[0]});
}

static void
extra_stop(struct extra *x, struct dmtp_server_seen *seen)
{
    dmtp_server_stop(x->server, seen);
    identity_clear(&x->id);
}

/* The zone of example.com: its record with those fields, and more records. */
static void
publish(const char *fields, const char *more)
{
    char text[8192], pok[64];

    dime_base64_write(kd_slice(rs.domains[RS_SIGNED].pok.key, 32), pok);
    snprintf(text, sizeof text,
             "dx A 127.0.0.21\n_dime 60 TXT \"ver=1 pok=%s \" \"%s\"\n%s\n", pok,
             fields, more);
    zones_change(rs.zones, "example.com", text);
}

static void
publish_usual(void)
{
    rs_publish(RS_SIGNED, "");
}

/* A value of the record for that certificate, by that key, over SHA-512. */
static const char *
tls_value(const struct identity *id, const struct sg_pair *by, char out[128])
{
    uint8_t hash[64], sig[64], *der = NULL;
    int n = i2d_X509(id->cert, &der);

    assert_true(n > 0);
    crypto_hash_sha512(hash, der, (unsigned long long)n);
    OPENSSL_free(der);
    assert_int_equal(sg_signer((void *)(uintptr_t)by, kd_slice(hash, sizeof hash), sig),
                     KD_OK);
    dime_base64_write(kd_slice(sig, sizeof sig), out);
    return out;
}

/* Resolves example.com with a resolver that knows nothing yet. */
static const struct dime_answer *
ask_anew(enum dime_outcome want)
{
    struct dime_resolver *r = rs_resolver(NULL);
    const struct dime_answer *a = rs_ask(r, "example.com", 0, want);

    dime_resolver_free(r); /* the answer is its own */
    return a;
}

/* The place of the step of that word with that text; n_steps: there is none. */
static size_t
place(const struct dime_answer *a, const char *word, const char *text)
{
    size_t i = 0;

    while (i < a->n_steps && (strcmp(a->steps[i].word, word) != 0 ||
                              strstr(a->steps[i].text, text) == NULL))
        i++;
    return i;
}

/* --- which, and in which order ------------------------------------------------------
 */

static void
T_MR_72_a_dx_that_does_not_resolve_is_passed_over(void **state)
{
    (void)state;
    publish("dx=none.example.com dx=dx.example.com ", "");
    const struct dime_answer *a = ask_anew(DIME_IS_DARK);
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&rs.domains[0].org)));
    dime_answer_free(a);
    publish_usual();
}

static void
T_MR_73_T_TR_21_five_dead_dx_and_then_the_MX(void **state)
{
    struct extra mx;
    struct dmtp_server_seen seen;
    unsigned orders = 0, first = 0;

    (void)state;
    extra_start(&mx, "mx.example.com", "127.0.0.40", 25, NULL);
    publish("dx=d1.example.com dx=d2.example.com dx=d3.example.com "
            "dx=d4.example.com dx=d5.example.com ",
            "d1 A 127.0.0.31\nd2 A 127.0.0.32\nd3 A 127.0.0.33\nd4 A 127.0.0.34\n"
            "d5 A 127.0.0.35\n@ MX 10 mx\nmx A 127.0.0.40\n");
    /* Of 12 runs one at least begins with another host: 5^-11 otherwise. */
    for (int run = 0; run < 12; run++) {
        const struct dime_answer *a = ask_anew(DIME_IS_DARK);
        size_t last = place(a, "hosts", "mx host mx.example.com");
        unsigned tried = 0, now_first = 0;
        size_t at = a->n_steps;
        assert_true(last < a->n_steps);
        for (unsigned k = 1; k <= 5; k++) {
            char text[64];
            snprintf(text, sizeof text, "dx host d%u.example.com", k);
            size_t i = place(a, "hosts", text);
            tried += i < last;
            if (i < at) {
                at = i;
                now_first = k;
            }
        }
        assert_true(tried >= 3);
        orders += run > 0 && now_first != first;
        first = now_first;
        dime_answer_free(a);
    }
    assert_true(orders > 0);
    extra_stop(&mx, &seen);
    assert_true(seen.connections >= 12);
    publish_usual();
}

static void
T_MR_74_T_TR_25_without_dx_the_MX_on_25_and_then_587(void **state)
{
    struct extra mx;
    struct dmtp_server_seen seen;

    (void)state;
    publish("", "@ MX 10 mx\nmx A 127.0.0.40\n");
    extra_start(&mx, "mx.example.com", "127.0.0.40", 25, NULL);
    dime_answer_free(ask_anew(DIME_IS_DARK));
    extra_stop(&mx, &seen);
    assert_non_null(strstr(seen.text, "STARTTLS"));
    extra_start(&mx, "mx.example.com", "127.0.0.40", 587, NULL);
    dime_answer_free(ask_anew(DIME_IS_DARK));
    extra_stop(&mx, &seen);
    assert_true(seen.handshakes == 1);
    dime_answer_free(ask_anew(DIME_IS_UNREACHABLE));
    publish_usual();
}

static void
T_TR_22_of_four_MX_the_fourth_is_tried(void **state)
{
    struct extra mx;
    struct dmtp_server_seen seen;

    (void)state;
    publish("", "@ MX 10 m1\n@ MX 20 m2\n@ MX 30 m3\n@ MX 40 m4\nm1 A 127.0.0.41\n"
                "m2 A 127.0.0.42\nm3 A 127.0.0.43\nm4 A 127.0.0.44\n");
    extra_start(&mx, "m4.example.com", "127.0.0.44", 25, NULL);
    const struct dime_answer *a = ask_anew(DIME_IS_DARK);
    for (unsigned k = 1; k < 4; k++) { /* by preference */
        char one[64], next[64];
        snprintf(one, sizeof one, "mx host m%u.example.com", k);
        snprintf(next, sizeof next, "mx host m%u.example.com", k + 1);
        assert_true(place(a, "hosts", one) < place(a, "hosts", next));
    }
    dime_answer_free(a);
    extra_stop(&mx, &seen);
    publish_usual();
}

static void
T_TR_26_the_domain_itself_only_where_that_is_wanted(void **state)
{
    char anchor[160];
    struct extra self;
    struct dmtp_server_seen seen;
    const struct dime_query q = {.name = "example.com",
                                 .deadline = kd_clock_ms() + 15000};

    (void)state;
    publish("", "@ A 127.0.0.45\n");
    extra_start(&self, "example.com", "127.0.0.45", 26, NULL);
    dime_answer_free(ask_anew(DIME_IS_UNREACHABLE));
    snprintf(anchor, sizeof anchor, "%s/anchor", rs.dir);
    const struct dime_resolver_conf conf = {.anchor_file = anchor,
                                            .hints_file = zones_hints(rs.zones),
                                            .is_local = true,
                                            .ca_file = rs.ca_file,
                                            .tries_domain = true};
    struct dime_resolver *r = NULL;
    const struct dime_answer *a = NULL;
    const char *why;
    assert_int_equal(dime_resolver_new(&conf, &r, &why), KD_OK);
    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    assert_int_equal(a->outcome, DIME_IS_DARK);
    dime_answer_free(a);
    dime_resolver_free(r);
    extra_stop(&self, &seen);
    assert_int_equal(seen.handshakes, 1);
    publish_usual();
}

static void
T_MR_75_T_MR_76_aliases_and_names_without_addresses_are_passed_over(void **state)
{
    (void)state;
    publish("dx=alias.example.com dx=none.example.com dx=dx.example.com ",
            "alias CNAME dx\n");
    const struct dime_answer *a = ask_anew(DIME_IS_DARK);
    /* In whatever order: who is passed over before the good one is told of. */
    size_t good = place(a, "hosts", "dx host dx.example.com");
    assert_true(good < a->n_steps);
    assert_int_equal(place(a, "hosts", "dx host alias"), a->n_steps);
    dime_answer_free(a);
    publish("dx=alias.example.com dx=none.example.com ", "alias CNAME dx\n");
    a = ask_anew(DIME_IS_UNREACHABLE);
    assert_true(rs_told(a, "hosts", "alias.example.com is an alias", WARNING));
    assert_true(rs_told(a, "hosts", "none.example.com has no address", WARNING));
    dime_answer_free(a);
    publish_usual();
}

/* --- which certificates -------------------------------------------------------------
 */

static void
T_MR_81_T_TR_14_a_value_by_a_secondary_key_is_none(void **state)
{
    char fields[512], value[128];

    (void)state;
    snprintf(fields, sizeof fields, "dx=dx.example.com tls=%s ",
             tls_value(&rs.domains[0].id, &rs.domains[0].sok, value));
    publish(fields, "");
    const struct dime_answer *a = ask_anew(DIME_IS_UNTRUSTED);
    assert_true(rs_told(a, "certificate", "refused", ALARM));
    dime_answer_free(a);
    snprintf(fields, sizeof fields, "dx=dx.example.com tls=%s ",
             tls_value(&rs.domains[0].id, &rs.domains[0].pok, value));
    publish(fields, "");
    dime_answer_free(ask_anew(DIME_IS_DARK));
    publish_usual();
}

static void
T_MR_82_a_host_that_does_not_match_is_left_in_order_and_the_next_serves(void **state)
{
    char fields[512], value[128];
    struct extra wrong;
    struct dmtp_server_seen seen;
    bool was_first = false;

    (void)state;
    extra_start(&wrong, "dy.example.com", "127.0.0.46", 26, NULL);
    snprintf(fields, sizeof fields, "dx=dy.example.com dx=dx.example.com tls=%s ",
             tls_value(&rs.domains[0].id, &rs.domains[0].pok, value));
    publish(fields, "dy A 127.0.0.46\n");
    for (int run = 0; run < 30 && !was_first; run++) { /* 2^-30 that it never is */
        const struct dime_answer *a = ask_anew(DIME_IS_DARK);
        was_first = place(a, "certificate", "dy.example.com is refused") < a->n_steps;
        dime_answer_free(a);
    }
    assert_true(was_first);
    extra_stop(&wrong, &seen);
    assert_true(seen.ended_tls);
    assert_null(strstr(seen.text, "SGNT"));
    publish_usual();
}

static void
T_MR_83_T_TR_13_with_DNSSEC_alone_a_host_is_not_believed(void **state)
{
    const struct cert_spec bad[] = {{.issuer = NULL},
                                    {.issuer = &rs.ca, .from = -9 * DAY, .to = -DAY}};

    (void)state;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct extra x;
        struct dmtp_server_seen seen;
        extra_start(&x, "dy.example.com", "127.0.0.46", 26, &bad[k]);
        publish("dx=dy.example.com ", "dy A 127.0.0.46\n");
        dime_answer_free(ask_anew(DIME_IS_UNTRUSTED));
        extra_stop(&x, &seen);
        assert_null(strstr(seen.text, "SGNT"));
    }
    publish_usual();
}

/* T-TR-11: self-signed, ended, another's name: with DNSSEC the value is enough. */
static void
T_TR_11_with_DNSSEC_a_value_is_enough_for_any_certificate(void **state)
{
    const struct cert_spec odd[] = {
        {.issuer = NULL},
        {.issuer = NULL, .from = -9 * DAY, .to = -DAY},
    };
    char fields[512], value[128];

    (void)state;
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
        struct extra x;
        struct dmtp_server_seen seen;
        extra_start(&x, "other.invalid", "127.0.0.46", 26, &odd[k]);
        snprintf(fields, sizeof fields, "dx=dy.example.com tls=%s ",
                 tls_value(&x.id, &rs.domains[0].pok, value));
        publish(fields, "dy A 127.0.0.46\n");
        dime_answer_free(ask_anew(DIME_IS_DARK));
        extra_stop(&x, &seen);
        assert_string_equal(seen.sni, "dy.example.com");
    }
    publish_usual();
}

/* The unsigned domain: a value that matches does not make up for X.509. */
static void
T_MR_84_T_TR_16_without_DNSSEC_a_value_is_not_enough(void **state)
{
    struct rs_domain *d = &rs.domains[RS_UNSIGNED];
    const struct cert_spec odd[] = {{.issuer = NULL},
                                    {.issuer = &rs.ca, .from = -9 * DAY, .to = -DAY}};
    char text[1024], value[128], pok[64];

    (void)state;
    dime_base64_write(kd_slice(d->pok.key, 32), pok);
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
        struct extra x;
        struct dmtp_server_seen seen;
        struct dime_resolver *r = rs_resolver(NULL);
        extra_start(&x, "dy.example.net", "127.0.0.46", 26, &odd[k]);
        snprintf(text, sizeof text,
                 "dy A 127.0.0.46\n_dime 60 TXT \"ver=1 pok=%s \" "
                 "\"dx=dy.example.net tls=%s \"\n",
                 pok, tls_value(&x.id, &d->pok, value));
        zones_change(rs.zones, "example.net", text);
        dime_answer_free(rs_ask(r, "example.net", 0, DIME_IS_UNTRUSTED));
        dime_resolver_free(r);
        extra_stop(&x, &seen);
        assert_null(strstr(seen.text, "SGNT"));
    }
    rs_publish(RS_UNSIGNED, "");
}

/* T-TR-18: good for its own name, which is not the domain's (D-029). */
static void
T_TR_18_without_DNSSEC_a_host_elsewhere_is_a_stranger(void **state)
{
    struct rs_domain *d = &rs.domains[RS_UNSIGNED];
    struct dime_resolver *r = rs_resolver(NULL);
    char text[1024], pok[64];
    struct extra x;
    struct dmtp_server_seen seen;

    (void)state;
    dime_base64_write(kd_slice(d->pok.key, 32), pok);
    extra_start(&x, "mail." RS_FRESH, "127.0.0.46", 26, NULL);
    snprintf(text, sizeof text,
             "_dime 60 TXT \"ver=1 pok=%s \" \"dx=mail." RS_FRESH " \"\n", pok);
    zones_change(rs.zones, RS_FRESH, "mail A 127.0.0.46\n");
    zones_change(rs.zones, "example.net", text);
    dime_answer_free(rs_ask(r, "example.net", 0, DIME_IS_UNTRUSTED));
    dime_resolver_free(r);
    extra_stop(&x, &seen);
    assert_null(strstr(seen.text, "SGNT"));
    rs_publish(RS_UNSIGNED, "");
    zones_change(rs.zones, RS_FRESH, "");
}

/* --- none ---------------------------------------------------------------------------
 */

static void
T_TR_23_without_a_record_no_host_is_asked(void **state)
{
    struct dmtp_server_seen seen;
    struct extra mx;

    (void)state;
    zones_change(rs.zones, "example.com",
                 "@ MX 10 mx\n@ A 127.0.0.40\nmx A 127.0.0.40\ndx A 127.0.0.40\n");
    extra_start(&mx, "mx.example.com", "127.0.0.40", 25, NULL);
    dime_answer_free(ask_anew(DIME_IS_LEGACY));
    extra_stop(&mx, &seen);
    assert_int_equal(seen.connections, 0);
    publish_usual();
}

static void
T_MR_33_two_records_are_broken_and_never_legacy(void **state)
{
    char text[512], pok[64];

    (void)state;
    dime_base64_write(kd_slice(rs.domains[0].pok.key, 32), pok);
    snprintf(
        text, sizeof text,
        "dx A 127.0.0.21\n_dime TXT \"pok=%s \"\n_dime TXT \"pok=%s pol=strict \"\n",
        pok, pok);
    zones_change(rs.zones, "example.com", text);
    const struct dime_answer *a = ask_anew(DIME_IS_RECORD_BROKEN);
    assert_int_equal(dime_policy_send(DIME_STANCE_MIXED, a), DIME_SEND_LATER);
    dime_answer_free(a);
    publish_usual();
}

/* What the domain's own host says of an address, over a connection that holds. */
static void
T_MR_102_an_address_of_an_experimental_domain_is_not_enabled(void **state)
{
    struct rs_user *bob = rs_user(RS_SIGNED, "bob@example.com");
    struct dime_resolver *r;
    const struct dime_answer *a;

    (void)state;
    rs_publish(RS_SIGNED, "pol=experimental ");
    bob->code = 476;
    r = rs_resolver(NULL);
    a = rs_ask(r, "bob@example.com", 0, DIME_IS_NOT_ENABLED);
    assert_int_equal(dime_policy_send(DIME_STANCE_MIXED, a), DIME_SEND_NAKED);
    assert_int_equal(dime_policy_send(DIME_STANCE_STRICT, a), DIME_SEND_NEVER);
    dime_answer_free(a);
    dime_resolver_free(r);
    /* 576 is no such word. */
    bob->code = 576;
    r = rs_resolver(NULL);
    a = rs_ask(r, "bob@example.com", 0, DIME_IS_NO_SIGNET);
    assert_true(dime_policy_send(DIME_STANCE_MIXED, a) != DIME_SEND_NAKED);
    dime_answer_free(a);
    dime_resolver_free(r);
    bob->code = 0;
    publish_usual();
}

static void
T_RS_18_a_record_that_appears_is_seen_when_its_absence_is_over(void **state)
{
    struct dime_resolver *r = rs_resolver("rs18");
    const struct timespec nap = {.tv_sec = 3};
    char text[256], pok[64];

    (void)state;
    zones_change(rs.zones, RS_FRESH, "");
    dime_answer_free(rs_ask(r, RS_FRESH, 0, DIME_IS_LEGACY));
    dime_base64_write(kd_slice(rs.domains[0].pok.key, 32), pok);
    snprintf(text, sizeof text, "_dime TXT \"pok=%s \"\n", pok);
    zones_change(rs.zones, RS_FRESH, text);
    dime_answer_free(rs_ask(r, RS_FRESH, 0, DIME_IS_LEGACY)); /* still within it */
    assert_int_equal(nanosleep(&nap, NULL), 0); /* libunbound's clock is the real one */
    rs.now += 3;
    const struct dime_answer *a = rs_ask(r, RS_FRESH, 0, DIME_IS_UNREACHABLE);
    assert_non_null(a->record);
    assert_true(a->is_secure);
    dime_answer_free(a);
    dime_resolver_free(r);
    zones_change(rs.zones, RS_FRESH, "");
}

static int
begin(void **state)
{
    (void)state;
    rs_begin();
    return 0;
}

static int
end(void **state)
{
    (void)state;
    rs_end();
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_72_a_dx_that_does_not_resolve_is_passed_over),
        cmocka_unit_test(T_MR_73_T_TR_21_five_dead_dx_and_then_the_MX),
        cmocka_unit_test(T_MR_74_T_TR_25_without_dx_the_MX_on_25_and_then_587),
        cmocka_unit_test(T_TR_22_of_four_MX_the_fourth_is_tried),
        cmocka_unit_test(T_TR_26_the_domain_itself_only_where_that_is_wanted),
        cmocka_unit_test(
            T_MR_75_T_MR_76_aliases_and_names_without_addresses_are_passed_over),
        cmocka_unit_test(T_MR_81_T_TR_14_a_value_by_a_secondary_key_is_none),
        cmocka_unit_test(
            T_MR_82_a_host_that_does_not_match_is_left_in_order_and_the_next_serves),
        cmocka_unit_test(T_MR_83_T_TR_13_with_DNSSEC_alone_a_host_is_not_believed),
        cmocka_unit_test(T_TR_11_with_DNSSEC_a_value_is_enough_for_any_certificate),
        cmocka_unit_test(T_MR_84_T_TR_16_without_DNSSEC_a_value_is_not_enough),
        cmocka_unit_test(T_TR_18_without_DNSSEC_a_host_elsewhere_is_a_stranger),
        cmocka_unit_test(T_TR_23_without_a_record_no_host_is_asked),
        cmocka_unit_test(T_MR_33_two_records_are_broken_and_never_legacy),
        cmocka_unit_test(T_MR_102_an_address_of_an_experimental_domain_is_not_enabled),
        cmocka_unit_test(
            T_RS_18_a_record_that_appears_is_seen_when_its_absence_is_over),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}
