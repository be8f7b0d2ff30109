/* The remote listener's certificates changed under load, callers that a reload or the
 * clock ends, a gate that dies. */
#include "tls_suite.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void
reload(const char *said)
{
    mark_log();
    assert_int_equal(kill(keyd.pid, SIGHUP), 0);
    wait_for_log(said);
}

static bool
shows(const struct identity *server)
{
    struct tls_peer t;
    bool same = false;

    if (tls_open(&t, place.port, &place.mx1))
        same = X509_cmp(SSL_get0_peer_certificate(t.ssl), server->cert) == 0;
    tls_close(&t);
    return same;
}

static void
certificates_change_under_load_and_nothing_fails(void **state)
{
    enum { CLIENTS = 3, RELOADS = 25 };
    struct honest h[CLIENTS];
    struct tls_peer old;

    (void)state;
    assert_true(tls_greet(&old, place.port, &place.mx2));
    for (int i = 0; i < CLIENTS; i++)
        start_honest(&h[i]);
    for (int i = 0; i < RELOADS; i++) {
        tls_place_renew(&place);
        reload("certificates loaded");
        assert_true(shows(&place.server));
        assert_true(tls_status(&old));
    }
    for (int i = 0; i < CLIENTS; i++)
        end_honest(&h[i]);
    tls_close(&old);
}

static void
bad_material_is_refused_and_the_old_goes_on(void **state)
{
    const struct identity *one[] = {&place.server};
    const struct identity *root[] = {&place.root};
    const struct identity *wrong_order[] = {&place.root, &place.server};
    struct identity expired, fresh, bare;

    (void)state;
    identity_make(&fresh,
                  &(struct cert_spec){.issuer = &place.root, .eku = "serverAuth"});
    key_write(place.key, &fresh);
    reload("not the key of the certificate");
    wait_for_log("going on with those before");
    assert_true(shows(&place.server));
    key_write(place.key, &place.server);

    identity_make(&expired, &(struct cert_spec){.issuer = &place.root,
                                                .with_key = place.server.key,
                                                .eku = "serverAuth",
                                                .from = -100,
                                                .to = -50});
    one[0] = &expired;
    certs_write(place.cert, one, 1);
    reload("a certificate that has expired");
    assert_true(shows(&place.server));
    certs_write(place.cert, wrong_order, 2);
    reload("not in order");
    identity_clear(&expired);
    identity_make(&expired, &(struct cert_spec){.issuer = &place.root,
                                                .with_key = place.server.key});
    certs_write(place.cert, one, 1);
    reload("extended key usage lacks serverAuth");
    one[0] = &place.server;
    certs_write(place.cert, one, 1);

    assert_int_equal(unlink(place.ca), 0);
    reload("No such file");
    certs_write(place.ca, one, 1);
    reload("a certificate that is no CA");
    /* As "openssl req -x509" makes it without being told. */
    identity_make(&bare, &(struct cert_spec){.is_ca = true, .no_usage = true});
    one[0] = &bare;
    certs_write(place.ca, one, 1);
    reload("without the key usage keyCertSign");
    identity_clear(&bare);
    certs_write(place.ca, root, 1);
    assert_int_equal(chmod(place.key, 0604), 0);
    reload("others can read it");
    assert_int_equal(chmod(place.key, 0600), 0);
    assert_int_equal(chmod(place.cert, 0666), 0);
    reload("others can write it");
    assert_int_equal(chmod(place.cert, 0644), 0);
    tls_place_deny(&place, "0123\n");
    reload("a line that is not 64 hexadecimal digits");
    tls_place_deny(&place, "# none\n");
    assert_true(shows(&place.server));
    reload("certificates loaded");
    assert_true(shows(&place.server));
    identity_clear(&expired);
    identity_clear(&fresh);
}

static void
who_is_denied_by_a_reload_is_ended_at_the_next_request(void **state)
{
    struct tls_peer t, other;
    char pin[65], text[200];

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_true(tls_greet(&other, place.port, &place.mx2));
    identity_pin_text(&place.mx1, pin);
    snprintf(text, sizeof text, "# lost\n  %s  # mx1\n\n%s\n", pin, pin);
    tls_place_deny(&place, text);
    reload("certificates loaded: serial");
    wait_for_log("denied=1");
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    const Keyd__V1__Response *a = tls_ask(&t, &r);
    assert_true(a != NULL && a->status == KEYD__V1__STATUS__STATUS_DENIED);
    assert_null(tls_receive(&t));
    assert_true(tls_status(&other));
    tls_close(&t);
    tls_close(&other);
    is_refused(&place.mx1, NULL, "its key is denied");
    tls_place_deny(&place, "");
    reload("denied=0");
    assert_true(tls_greet(&t, place.port, &place.mx1));
    tls_close(&t);
}

/* The configuration with one text in place of another of the same size. */
static void
change_conf(const char *from, const char *to)
{
    static char text[65536];
    FILE *f = fopen(keyd.conf, "r+e");

    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    char *at = strstr(text, from);
    assert_true(at != NULL && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
    rewind(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void
a_principal_that_a_reload_removes_leaves_no_upload_behind(void **state)
{
    static const char before[] = "san = \"mx1.example.com\"";
    static const char after[] = "san = \"mx9.example.com\"";
    struct tls_peer t, other;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_true(tls_greet(&other, place.port, &place.mx3));
    IS(part(&t, 1, 0, 1048576, 1), OK, "");
    IS(part(&t, 2, 0, 1048576, 1), OK, "");
    IS(part(&other, 1, 0, 1, 1), BUSY, "too-many-objects"); /* the pool is taken */
    change_conf("principal \"mx1\"", "principal \"mx9\"");
    change_conf(before, after);
    reload("certificates loaded: serial");
    /* It belongs to nobody now: refused, and gone with all that it took. */
    IS(part(&t, 1, 1, 1048576, 1), DENIED, "not-permitted");
    assert_null(tls_receive(&t));
    tls_close(&t);
    assert_true(tls_status(&other)); /* the gate that served it still serves */
    IS(part(&other, 1, 0, 1, 1), OK, "");
    change_conf("principal \"mx9\"", "principal \"mx1\"");
    change_conf(after, before);
    reload("certificates loaded: serial");
    assert_true(tls_greet(&t, place.port, &place.mx1));
    IS(part(&t, 1, 0, 100, 100), OK, "");
    IS(part(&t, 2, 0, 100, 100), OK, "");
    tls_close(&t);
    tls_close(&other);
}

static void
a_connection_lasts_no_longer_than_its_certificate(void **state)
{
    struct identity id;
    struct tls_peer t;

    (void)state;
    identity_make(&id, &(struct cert_spec){.issuer = &place.root, MX1, .to = 3});
    assert_true(tls_greet(&t, place.port, &id));
    assert_true(tls_status(&t));
    sleep(5);
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    const Keyd__V1__Response *a = tls_ask(&t, &r);
    assert_true(a != NULL && a->status == KEYD__V1__STATUS__STATUS_UNAVAILABLE);
    assert_null(tls_receive(&t));
    tls_close(&t);
    identity_clear(&id);
}

static void
a_gate_that_died_comes_back_with_its_certificates(void **state)
{
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&keyd, list, DAEMON_CHILDREN_MAX);
    struct tls_peer t;
    bool killed = false;

    (void)state;
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, "keyd-gate-tls") == 0) {
            killed = true;
            assert_int_equal(kill(list[i].pid, SIGKILL), 0);
        }
    assert_true(killed);
    bool back = false;
    for (int i = 0; i < 200 && !back; i++) {
        usleep(20000);
        if ((back = tls_greet(&t, place.port, &place.mx1)))
            tls_close(&t);
    }
    assert_true(back);
}

static void
no_process_left_its_sandbox_or_crashed(void **state)
{
    (void)state;
    tls_suite_ends_well(1 /* the gate above */);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_change_under_load_and_nothing_fails),
        cmocka_unit_test(bad_material_is_refused_and_the_old_goes_on),
        cmocka_unit_test(who_is_denied_by_a_reload_is_ended_at_the_next_request),
        cmocka_unit_test(a_principal_that_a_reload_removes_leaves_no_upload_behind),
        cmocka_unit_test(a_connection_lasts_no_longer_than_its_certificate),
        cmocka_unit_test(a_gate_that_died_comes_back_with_its_certificates),
        cmocka_unit_test(no_process_left_its_sandbox_or_crashed),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, tls_suite_start, tls_suite_end);
}
