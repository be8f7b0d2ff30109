/* The same keys in two tokens of SoftHSM on a running daemon: taken into both, or put
 * there by somebody's own tool and attached; what is signed while one of them is pulled
 * out, under load. One token is chosen by its serial number, the other one by its URI.
 * The tests go on from each other. */
#include "load_rate.h"
#include "mailw.h"
#include "people.h"
#include "post.h"
#include "softhsm_key.h"
#include "test.h"
#include "tokens.h"

#include <dime/dkey.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RATE = 100, ATTACHED = 2 };

static const struct keyd_octets both[] = {{(const uint8_t *)"alpha", 5},
                                          {(const uint8_t *)"beta", 4}};

static struct post com;
static char top[] = "/tmp/keyd-clones-XXXXXX";
static struct softhsm alpha, beta;
static bool is_there;
static uint8_t attached[16];

/* As the token's own tool shows it. */
static void
serial_selection(const struct softhsm *s, char out[64])
{
    char command[512], serial[32];

    snprintf(command, sizeof command,
             "%s softhsm2-util --show-slots | grep -B1 'Initialized:.*yes' | "
             "sed -n 's/ *Serial number: *//p'",
             s->environment);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%31s", serial), 1);
    assert_int_equal(pclose(p), 0);
    snprintf(out, 64, "serial = \"%s\"", serial);
}

static int
begin(void **state)
{
    static char sections[4096];
    char by_serial[64];
    const struct daemon_options o = {
        .top = "user-p11 = \"61010\"\n", .sections = sections, .no_token = true};

    (void)state;
    is_there = geteuid() == 0 && softhsm_module() != NULL;
    if (!is_there)
        return 0;
    assert_int_equal(kd_secret_setup(1 << 16), KD_OK);
    assert_non_null(mkdtemp(top));
    assert_true(softhsm_script("chmod 711 $1", top, ""));
    assert_true(softhsm_make(&alpha, top, "alpha", DAEMON_P11));
    assert_true(softhsm_make(&beta, top, "beta", DAEMON_P11));
    serial_selection(&alpha, by_serial);
    tokens_section(&alpha, "alpha", by_serial, sections, sizeof sections);
    tokens_section(&beta, "beta",
                   "uri = \"pkcs11:token=beta;manufacturer=SoftHSM%20project\"",
                   sections, sizeof sections);
    tokens_section(&alpha, "alias", "label = \"alpha\"", sections, sizeof sections);
    com = (struct post){.domain = "example.com"};
    assert_true(daemon_start(&com.d, &o));
    assert_true(daemon_init_token(&com.d));
    post_connect(&com);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    if (!is_there)
        return 0;
    post_disconnect(&com);
    daemon_clear(&com.d);
    return softhsm_script("rm -rf $1", top, "") ? 0 : -1;
}

static void
needs_softhsm(void)
{
    if (is_there)
        return;
    print_message("skipped: needs root and softhsm2\n");
    skip();
}

/* --- keys --- */

static void
is_in(const uint8_t id[16], size_t n_tokens, size_t first)
{
    const struct keyd_key *k;
    struct keyd_answer *a = tokens_key(com.admin, id, &k);

    assert_int_equal(k->holding, KEYD_HOLDING_TOKEN);
    assert_int_equal(k->n_tokens, n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        assert_true(
            kd_slice_eq(ask_slice(k->tokens[i]), ask_slice(both[(first + i) % 2])));
    keyd_client_answer_free(a);
}

static void
the_serial_number_and_the_uri_choose_the_token(void **state)
{
    char serial[17], by_serial[64], wanted[64];

    (void)state;
    needs_softhsm();
    tokens_adopt(com.admin, "alpha");
    tokens_adopt(com.admin, "beta");
    tokens_serial(com.admin, "alpha", serial);
    serial_selection(&alpha, by_serial);
    snprintf(wanted, sizeof wanted, "serial = \"%s\"", serial);
    assert_string_equal(by_serial, wanted);
    struct keyd_answer *a = tokens_list(com.admin);
    assert_true(tokens_text_is(tokens_named(a, "alpha")->label, "alpha"));
    assert_true(tokens_text_is(tokens_named(a, "beta")->label, "beta"));
    keyd_client_answer_free(a);
}

/* Its keys would be counted, and its PIN tried, as if there were two. */
static void
a_token_is_adopted_under_one_name_only(void **state)
{
    char serial[17], again[17];

    (void)state;
    needs_softhsm();
    tokens_serial(com.admin, "alpha", serial);
    tokens_serial(com.admin, "alias", again);
    assert_string_equal(serial, again);
    const struct keyd_request q = {.op = KEYD_OP_TOKEN_ADOPT,
                                   .in.token = {KEYD_STR("alias"), KEYD_STR(serial)}};
    ask_ends(ask(com.admin, &q), KEYD_CONFLICT, "token-other-name");
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
}

/* A file as magma wrote it: both of its keys are in the token, and are those that are
 * in the file. */
static void
a_key_file_of_magma_goes_into_a_token(void **state)
{
    struct kd_slice file = sg_file("prime/org.key");
    char octets[DIME_DKEY_TEXT_MAX];
    struct dime_dkey *key = NULL;
    unsigned found = 0;

    (void)state;
    needs_softhsm();
    assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
    assert_in_range(file.n, 1, sizeof octets);
    memcpy(octets, file.p, file.n);
    const struct keyd_request q = {.op = KEYD_OP_IMPORT_KEY,
                                   .in.import_key = {.key_file = {octets, file.n},
                                                     .signing_role = KEYD_ROLE_POK,
                                                     .encryption_key = true,
                                                     .domain = KEYD_STR("example.net"),
                                                     .tokens = both + 1,
                                                     .n_tokens = 1}};
    struct keyd_answer *a = ask(com.admin, &q);
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    for (size_t i = 0; i < a->out.keys.n_keys; i++) {
        const struct keyd_key *k = &a->out.keys.keys[i];
        struct kd_slice right = k->role == KEYD_ROLE_POK ? kd_slice(key->sign_pk, 32)
                                                         : kd_slice(key->enc_pk, 33);
        assert_true(kd_slice_eq(ask_slice(k->public_key), right));
        assert_int_equal(k->attested, KEYD_IMPORTED);
        is_in(k->id.p, 1, 1);
        found |= 1u << k->role;
    }
    assert_int_equal(found, 1u << KEYD_ROLE_POK | 1u << KEYD_ROLE_ENC);
    keyd_client_answer_free(a);
    dime_dkey_free(key);
    sg_free(file);
}

static void
keys_are_taken_into_both(void **state)
{
    (void)state;
    needs_softhsm();
    post_import_com(&com, both, 2, 2, false);
    is_in(com.pok, 2, 0);
    is_in(com.enc, 2, 0);
    is_in(com.sok, 2, 0);
}

/* --- keys of somebody's own tool --- */

static void
attach_ends(enum keyd_status status, const char *detail)
{
    const struct keyd_request q = {.op = KEYD_OP_ATTACH_KEY,
                                   .in.attach_key = {{attached, 16}, both[1]}};

    ask_ends(ask(com.admin, &q), status, detail);
}

/* A SOK of alpha's alone. */
static void
import_alone(const uint8_t seed[32])
{
    static const uint8_t scalar[32] = {9};
    struct post keys = {.admin = com.admin, .domain = com.domain};

    post_import(&keys, &(struct post_keys){.seed = seed,
                                           .scalar = scalar,
                                           .role = KEYD_ROLE_SOK,
                                           .permissions = KEYD_PERM_CERTIFICATE,
                                           .tokens = both,
                                           .n_tokens = 1});
    memcpy(attached, keys.sok, sizeof attached);
}

static void
a_clone_with_wrong_attributes_is_not_attached(void **state)
{
    static const uint8_t seed[32] = "a key that others keep a copy of";

    (void)state;
    needs_softhsm();
    import_alone(seed);
    is_in(attached, 1, 0);
    attach_ends(KEYD_NOT_FOUND, "key-not-there");
    assert_true(softhsm_put_key(
        &beta, DAEMON_P11,
        &(struct softhsm_key){.seed = seed, .id = "wide", .extractable = true}));
    attach_ends(KEYD_CONFLICT, "key-unfit");
    const struct keyd_request q = {.op = KEYD_OP_TOKEN_DOCTOR,
                                   .in.token.name = KEYD_STR("beta")};
    struct keyd_answer *a = ask(com.admin, &q);
    assert_in_range(a->out.doctor.n_findings, 1, 100);
    const struct keyd_token_finding *f = &a->out.doctor.findings[0];
    assert_true(tokens_text_is(f->finding, "attribute"));
    assert_true(tokens_text_is(f->what, "CKA_EXTRACTABLE is true, must be false"));
    keyd_client_answer_free(a);
    is_in(attached, 1, 0);
}

static void
a_clone_that_another_tool_made_is_attached(void **state)
{
    static const uint8_t seed[32] = "another key that lies in a safe.";

    (void)state;
    needs_softhsm();
    import_alone(seed);
    assert_true(softhsm_put_key(
        &beta, DAEMON_P11, &(struct softhsm_key){.seed = seed, .id = "from the safe"}));
    attach_ends(KEYD_OK, NULL);
    is_in(attached, ATTACHED, 0);
    attach_ends(KEYD_CONFLICT, "key-places");
}

/* --- what clients send --- */

struct counts {
    uint64_t derived, faults, away;
};

static struct counts
counts_of(const char *name)
{
    struct keyd_answer *a = tokens_list(com.admin);
    const struct keyd_token *t = tokens_named(a, name);
    struct counts c = {t->n_derived, t->n_faults, t->n_away};

    assert_int_equal(t->state, KEYD_TOKEN_READY);
    assert_int_equal(t->finding.n, 0);
    keyd_client_answer_free(a);
    return c;
}

/* A message whose envelope is for a point that is none, as often as it likes: no token
 * hears of it. */
static void
points_that_are_none_change_nothing(void **state)
{
    /* A magic number and a size; a chunk's type and size. */
    enum { CHUNK = 6, POINT = 10, TIMES = 20 };
    static const char *const points[] = {
        "000000000000000000000000000000000000000000000000000000000000000000",
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "0779be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "020000000000000000000000000000000000000000000000000000000000000005",
        "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
        "03ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    struct counts before, after;
    size_t n = 0, n_point;

    (void)state;
    needs_softhsm();
    uint8_t *octets = mailw_blank_msg(&n);
    assert_int_equal(octets[CHUNK], 2);
    before = counts_of("alpha");
    for (size_t i = 0; i < TIMES * sizeof points / sizeof *points; i++) {
        const char *point = points[i / TIMES];
        assert_int_equal(sodium_hex2bin(octets + POINT, 33, point, strlen(point), NULL,
                                        &n_point, NULL),
                         0);
        assert_int_equal(n_point, 33);
        struct keyd_answer *a = post_sign(com.submit, "alice@example.com",
                                          "example.org", com.full, kd_slice(octets, n));
        assert_int_equal(a->status, KEYD_INVALID);
        keyd_client_answer_free(a);
    }
    free(octets);
    after = counts_of("alpha");
    assert_int_equal(after.derived, before.derived);
    assert_int_equal(after.faults, before.faults);
    assert_int_equal(after.away, before.away);
    counts_of("beta");
}

/* --- fail-over --- */

static bool
is_away(const uint8_t id[16])
{
    const struct keyd_key *k;
    struct keyd_answer *a = tokens_key(com.admin, id, &k);
    bool away = k->away;

    keyd_client_answer_free(a);
    return away;
}

struct load {
    pthread_t thread;
    char endpoint[128];
    volatile sig_atomic_t stop;
    struct load_rate_result result;
    int status;
};

static void *
run_load(void *arg)
{
    struct load *l = arg;
    const struct load_rate_options o = {.endpoints = l->endpoint,
                                        .domain = "example.com",
                                        .seed = "clones",
                                        .rate = RATE,
                                        .issue = 100,
                                        .deadline_ms = 5000,
                                        .seconds = 120,
                                        .stop = &l->stop};

    l->status = load_rate_run(&o, &l->result);
    return NULL;
}

static void
out_and_back(struct softhsm *s, const char *name, int64_t *out, int64_t *back)
{
    assert_true(softhsm_pull_out(s));
    *out = tokens_become(com.admin, name, KEYD_TOKEN_AWAY);
    assert_false(is_away(com.pok) || is_away(com.sok) || is_away(com.enc) ||
                 is_away(attached));
    assert_true(softhsm_put_back(s));
    *back = tokens_become(com.admin, name, KEYD_TOKEN_READY);
}

/* What has a clone goes on when either token is gone, and nobody notices. */
static void
under_load_either_token_may_be_pulled_out(void **state)
{
    struct load l = {.stop = 0};
    char path[108];
    int64_t out[2], back[2];

    (void)state;
    needs_softhsm();
    daemon_socket(&com.d, "submission", path);
    snprintf(l.endpoint, sizeof l.endpoint, "unix:%s", path);
    assert_int_equal(pthread_create(&l.thread, NULL, run_load, &l), 0);
    sleep(1);
    for (int i = 0; i < 2; i++) {
        out_and_back(&alpha, "alpha", &out[0], &back[0]);
        out_and_back(&beta, "beta", &out[1], &back[1]);
    }
    sleep(1);
    l.stop = 1;
    pthread_join(l.thread, NULL);
    assert_int_equal(l.status, 0);
    print_message("alpha away after %lld ms, back after %lld; beta %lld, %lld; "
                  "%llu issued, %llu failed, %llu asked again, p99 %u ms, most %u ms\n",
                  (long long)out[0], (long long)back[0], (long long)out[1],
                  (long long)back[1], (unsigned long long)l.result.issues.n_ok,
                  (unsigned long long)l.result.issues.n_failed,
                  (unsigned long long)l.result.issues.n_repeated,
                  l.result.issues.p99_us / 1000, l.result.issues.max_us / 1000);
    assert_true(l.result.issues.n_ok > RATE);
    assert_int_equal(l.result.issues.n_failed + l.result.issues.n_wrong, 0);
    assert_int_equal(l.result.n_lost, 0);
}

/* Also what the POK signs, and where nothing but a clone is left. */
static void
with_one_token_gone_an_organization_signs_its_own_signet(void **state)
{
    (void)state;
    needs_softhsm();
    assert_true(softhsm_pull_out(&alpha));
    tokens_become(com.admin, "alpha", KEYD_TOKEN_AWAY);
    post_issue_org(&com, com.enc, "Example, still");
    assert_true(softhsm_pull_out(&beta));
    tokens_become(com.admin, "beta", KEYD_TOKEN_AWAY);
    assert_true(is_away(com.pok) && is_away(attached));
    assert_true(softhsm_put_back(&beta));
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    post_issue_org(&com, com.enc, "Example, again");
    assert_true(softhsm_put_back(&alpha));
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_serial_number_and_the_uri_choose_the_token),
        cmocka_unit_test(a_token_is_adopted_under_one_name_only),
        cmocka_unit_test(a_key_file_of_magma_goes_into_a_token),
        cmocka_unit_test(keys_are_taken_into_both),
        cmocka_unit_test(a_clone_with_wrong_attributes_is_not_attached),
        cmocka_unit_test(a_clone_that_another_tool_made_is_attached),
        cmocka_unit_test(points_that_are_none_change_nothing),
        cmocka_unit_test(under_load_either_token_may_be_pulled_out),
        cmocka_unit_test(with_one_token_gone_an_organization_signs_its_own_signet),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
