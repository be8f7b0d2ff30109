/* Keys in PKCS#11 tokens on a running daemon, in real tokens of SoftHSM: adopted, keys
 * made and taken in, used, told of; pulled out and put back. What is signed there is
 * octet for octet what the specification's vectors have. The tests go on from each
 * other. */
#include "mailw.h"
#include "post.h"
#include "test.h"
#include "tokens.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 15000 };

#define TOP "user-p11 = \"61010\"\n"
_Static_assert(DAEMON_P11 == 61010, "as TOP has it");

static const struct keyd_octets both[] = {{(const uint8_t *)"alpha", 5},
                                          {(const uint8_t *)"beta", 4}};

static struct post com;
static char top[] = "/tmp/keyd-softhsm-XXXXXX";
static struct softhsm alpha, beta;
static bool is_there;
static uint8_t sealed[16];

static const char *
sections(void)
{
    static char text[4096];

    text[0] = '\0';
    tokens_section(&alpha, "alpha", "label = \"alpha\"", text, sizeof text);
    tokens_section(&beta, "beta", "label = \"beta\"", text, sizeof text);
    return text;
}

static int
begin(void **state)
{
    struct daemon_options with = {.top = TOP,
                                  .in_domain = " issue-profile-fields = { 16 }\n"};

    (void)state;
    is_there = geteuid() == 0 && softhsm_module() != NULL;
    if (!is_there)
        return 0;
    assert_int_equal(kd_secret_setup(1 << 16), KD_OK);
    assert_non_null(mkdtemp(top));
    assert_true(softhsm_script("chmod 711 $1", top, ""));
    assert_true(softhsm_make(&alpha, top, "alpha", DAEMON_P11));
    assert_true(softhsm_make(&beta, top, "beta", DAEMON_P11));
    with.sections = sections();
    com = (struct post){.domain = "example.com"};
    assert_true(daemon_start(&com.d, &with));
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

/* --- tokens as keyd tells of them --- */

/* The first finding about the token; empty: it is well. */
static void
doctor(const char *name, char out[64])
{
    const struct keyd_request q = {.op = KEYD_OP_TOKEN_DOCTOR,
                                   .in.token.name = KEYD_STR(name)};
    struct keyd_answer *a = ask(com.admin, &q);

    assert_int_equal(a->status, KEYD_OK);
    *out = '\0';
    if (a->out.doctor.n_findings != 0) {
        const struct keyd_token_finding *f = &a->out.doctor.findings[0];
        assert_true(tokens_text_is(f->token, name));
        snprintf(out, 64, "%.*s", (int)f->finding.n, (const char *)f->finding.p);
    }
    keyd_client_answer_free(a);
}

static struct keyd_request
adoption(const char *name, const char *serial)
{
    return (struct keyd_request){.op = KEYD_OP_TOKEN_ADOPT,
                                 .in.token = {KEYD_STR(name), KEYD_STR(serial)}};
}

static struct keyd_request
generation(enum keyd_key_role role, uint32_t permissions)
{
    return (struct keyd_request){.op = KEYD_OP_GENERATE_KEY,
                                 .in.generate_key = {.role = role,
                                                     .algorithm = role == KEYD_ROLE_ENC
                                                                      ? KEYD_SECP256K1
                                                                      : KEYD_ED25519,
                                                     .domain = KEYD_STR("example.com"),
                                                     .permissions = permissions,
                                                     .tokens = both,
                                                     .n_tokens = 1}};
}

static void
ends(const struct keyd_request *q, enum keyd_status status, const char *detail)
{
    ask_ends(ask(com.admin, q), status, detail);
}

static void
is_held(const uint8_t id[16], enum keyd_key_holding holding, size_t n_tokens,
        uint32_t attested)
{
    const struct keyd_key *k;
    struct keyd_answer *a = tokens_key(com.admin, id, &k);

    assert_int_equal(k->holding, holding);
    assert_int_equal(k->n_tokens, n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        assert_true(kd_slice_eq(ask_slice(k->tokens[i]), ask_slice(both[i])));
    assert_int_equal(k->attested, attested);
    /* What the vendor's tool knows it by. */
    assert_int_equal(k->n_objects, holding == KEYD_HOLDING_TOKEN ? n_tokens : 0);
    for (size_t i = 0; i < k->n_objects; i++)
        assert_int_equal(k->objects[i].n, 16);
    keyd_client_answer_free(a);
}

static bool
has_reason(const char *word)
{
    struct keyd_answer *a =
        ask(com.admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
    bool has = false;

    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.status.n_reasons; i++)
        has = has || tokens_text_is(a->out.status.reasons[i], word);
    keyd_client_answer_free(a);
    return has;
}

/* --- the story --- */

static void
a_token_is_looked_at_and_not_used_before_it_is_adopted(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_SOK, KEYD_PERM_SIGNET);
    const struct keyd_octets other[] = {KEYD_STR("gamma")};
    char finding[64], serial[17];

    (void)state;
    needs_softhsm();
    tokens_become(com.admin, "alpha", KEYD_TOKEN_NEW);
    tokens_serial(com.admin, "alpha", serial);
    struct keyd_answer *a = tokens_list(com.admin);
    assert_true(tokens_text_is(tokens_named(a, "alpha")->label, "alpha"));
    assert_false(tokens_named(a, "alpha")->adopted);
    keyd_client_answer_free(a);
    doctor("alpha", finding);
    assert_string_equal(finding, "not-adopted");
    ends(&q, KEYD_CONFLICT, "token-not-adopted");
    q.in.generate_key.tokens = other;
    ends(&q, KEYD_NOT_FOUND, "no-such-token");
    assert_false(has_reason("token-away") || has_reason("token-refused"));
}

static void
a_token_is_adopted_by_the_serial_that_was_told(void **state)
{
    char a[17], b[17], finding[64];

    (void)state;
    needs_softhsm();
    tokens_serial(com.admin, "alpha", a);
    tokens_serial(com.admin, "beta", b);
    struct keyd_request q = adoption("alpha", b);
    ends(&q, KEYD_CONFLICT, "token-other");
    q = adoption("alpha", a);
    ends(&q, KEYD_OK, NULL);
    q = adoption("beta", b);
    ends(&q, KEYD_OK, NULL);
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    ends(&q, KEYD_CONFLICT, "token-adopted");
    doctor("alpha", finding);
    assert_string_equal(finding, "");
}

/* The keys of the vectors, and with them their signets. */
static void
keys_are_taken_in(void **state)
{
    (void)state;
    needs_softhsm();
    post_import_com(&com, both, 1, 2, false);
    is_held(com.pok, KEYD_HOLDING_TOKEN, 1, KEYD_IMPORTED);
    is_held(com.enc, KEYD_HOLDING_TOKEN, 1, KEYD_IMPORTED);
    is_held(com.sok, KEYD_HOLDING_TOKEN, 2, KEYD_IMPORTED);
}

static void
sign_msg(void)
{
    struct kd_slice msg = mailw_msg();
    size_t n = 0;
    uint8_t *octets = mailw_blank_msg(&n);
    struct keyd_answer *a = post_sign(com.submit, "alice@example.com", "example.org",
                                      com.full, kd_slice(octets, n));

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    post_complete(octets, n, a);
    assert_int_equal(n, msg.n);
    assert_memory_equal(octets, msg.p, msg.n);
    keyd_client_answer_free(a);
    free(octets);
}

/* The encryption key opens what the author says, two keys sign. */
static void
a_message_is_opened_and_signed_as_in_the_vectors(void **state)
{
    (void)state;
    needs_softhsm();
    sign_msg();
    struct keyd_answer *a = tokens_list(com.admin);
    const struct keyd_token *t = tokens_named(a, "alpha");
    assert_int_equal(t->keys, 3);
    assert_true(t->n_signed != 0 && t->n_derived != 0);
    assert_int_equal(t->n_faults, 0);
    keyd_client_answer_free(a);
}

static void
keys_are_made_inside(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_SOK, KEYD_PERM_CERTIFICATE);
    uint8_t id[16];

    (void)state;
    needs_softhsm();
    struct keyd_answer *a = ask(com.admin, &q);
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    assert_int_equal(a->out.keys.keys[0].state, KEYD_KEY_ACTIVE);
    keyd_client_answer_free(a);
    is_held(id, KEYD_HOLDING_TOKEN, 1, KEYD_MADE_INSIDE | KEYD_NEVER_EXTRACTABLE);
    /* What was made inside cannot be in two. */
    q.in.generate_key.n_tokens = 2;
    ends(&q, KEYD_UNSUPPORTED, "token-lacks");
}

/* The public key is a DER RSAPublicKey: a SEQUENCE of modulus and exponent. */
static void
an_rsa_key_for_dkim_lives_in_a_token_only(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_DKIM, 0);

    (void)state;
    needs_softhsm();
    q.in.generate_key.algorithm = KEYD_RSA;
    q.in.generate_key.bits = 2048;
    struct keyd_answer *a = ask(com.admin, &q);
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    struct kd_slice der = ask_slice(a->out.keys.keys[0].public_key);
    assert_int_equal(der.n, 270);
    assert_memory_equal(der.p, "\x30\x82\x01\x0a\x02\x82\x01\x01\x00", 9);
    assert_memory_equal(der.p + der.n - 5, "\x02\x03\x01\x00\x01", 5);
    keyd_client_answer_free(a);
    q.in.generate_key.n_tokens = 0;
    ends(&q, KEYD_UNSUPPORTED, "token-lacks");
}

static void
a_key_that_no_token_has_is_not_attached(void **state)
{
    struct keyd_request q = {.op = KEYD_OP_ATTACH_KEY,
                             .in.attach_key = {{com.pok, 16}, both[1]}};

    (void)state;
    needs_softhsm();
    ends(&q, KEYD_NOT_FOUND, "key-not-there");
    q.in.attach_key.id.p = com.sok; /* two have it */
    ends(&q, KEYD_CONFLICT, "key-places");
    q.in.attach_key.token = KEYD_STR("gamma");
    ends(&q, KEYD_NOT_FOUND, "no-such-token");
}

/* D-084 */
static void
a_key_is_sealed_under_a_token(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_SOK, KEYD_PERM_MESSAGE);

    (void)state;
    needs_softhsm();
    q.in.generate_key.sealed = true;
    struct keyd_answer *a = ask(com.admin, &q);
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    memcpy(sealed, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
    is_held(sealed, KEYD_HOLDING_SEALED, 1, 0);
    q = generation(KEYD_ROLE_ENC, 0);
    q.in.generate_key.sealed = true;
    ends(&q, KEYD_INVALID, "key-spec");
}

static bool
is_away(const uint8_t id[16])
{
    const struct keyd_key *k;
    struct keyd_answer *a = tokens_key(com.admin, id, &k);
    bool away = k->away;

    keyd_client_answer_free(a);
    return away;
}

/* What needs the token is refused, without a record; the rest goes on. */
static void
a_token_that_is_pulled_out_stops_only_what_needs_it(void **state)
{
    const struct keyd_octets soks[] = {{com.sok, 16}};
    const struct keyd_request org = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR("example.com"),
                                .pok_id = {com.pok, 16},
                                .sok_ids = soks,
                                .n_sok_ids = 1,
                                .encryption_id = {com.enc, 16}}};
    char finding[64];

    (void)state;
    needs_softhsm();
    assert_true(softhsm_pull_out(&alpha));
    tokens_become(com.admin, "alpha", KEYD_TOKEN_AWAY);
    assert_true(has_reason("token-away"));
    doctor("alpha", finding);
    assert_string_not_equal(finding, "");
    uint64_t before = post_seq(&com);
    ends(&org, KEYD_UNAVAILABLE, "token-away");
    size_t n = 0;
    uint8_t *octets = mailw_blank_msg(&n);
    post_sign_ends(com.submit, "alice@example.com", "example.org", com.full,
                   kd_slice(octets, n), KEYD_UNAVAILABLE, "token-away");
    free(octets);
    assert_int_equal(post_records(&com, before, NULL, 0), 0);
    /* In two tokens, or open since the start. */
    assert_true(is_away(com.pok));
    assert_false(is_away(com.sok));
    assert_false(is_away(sealed));
    struct kd_buf b;
    ask_ends(ask_plain(com.submit, "bob@example.com", person_request("token", 1, &b)),
             KEYD_OK, NULL);
    kd_buf_free(&b);
    assert_int_equal(tokens_become(com.admin, "beta", KEYD_TOKEN_READY) < 1000, true);
}

static void
a_token_that_is_put_back_is_used_again_by_itself(void **state)
{
    char finding[64];

    (void)state;
    needs_softhsm();
    assert_true(softhsm_put_back(&alpha));
    int64_t took = tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    print_message("back in use after %lld ms\n", (long long)took);
    assert_true(took <= 5000);
    sign_msg();
    doctor("alpha", finding);
    assert_string_equal(finding, "");
    assert_false(has_reason("token-away"));
}

/* Nobody has used it since, so nobody has noticed: the doctor tries its keys. */
static void
a_token_that_is_gone_unnoticed_is_found_by_the_doctor(void **state)
{
    char finding[64];

    (void)state;
    needs_softhsm();
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    assert_true(softhsm_pull_out(&beta));
    doctor("beta", finding);
    assert_true(softhsm_put_back(&beta));
    assert_string_not_equal(finding, "");
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    int64_t until = kd_clock_ms() + PATIENCE_MS;
    do
        doctor("beta", finding);
    while (*finding != '\0' && kd_clock_ms() < until);
    assert_string_equal(finding, "");
}

/* No mechanism is lacking: the module could not write, and its word is told. */
static void
a_key_that_is_not_made_for_want_of_rights_is_said_so(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_SOK, KEYD_PERM_CERTIFICATE);
    const struct keyd_request look = {.op = KEYD_OP_TOKEN_DOCTOR,
                                      .in.token.name = KEYD_STR("alpha")};
    char finding[64];

    (void)state;
    needs_softhsm();
    assert_true(softhsm_script("chmod 500 $1/$2/paths/tokens/*", top, "alpha"));
    ends(&q, KEYD_UNAVAILABLE, "token-not-created");
    struct keyd_answer *a = ask(com.admin, &look);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.doctor.n_findings, 1);
    assert_true(tokens_text_is(a->out.doctor.findings[0].finding, "not-created"));
    assert_int_not_equal(a->out.doctor.findings[0].module_error, 0);
    keyd_client_answer_free(a);
    assert_true(softhsm_script("chmod 700 $1/$2/paths/tokens/*", top, "alpha"));
    ends(&q, KEYD_OK, NULL);
    doctor("alpha", finding);
    assert_string_equal(finding, "");
}

static void
sealing_lets_go_of_tokens_and_unsealing_takes_them_again(void **state)
{
    char finding[64];

    (void)state;
    needs_softhsm();
    ends(&(struct keyd_request){.op = KEYD_OP_SEAL}, KEYD_OK, NULL);
    tokens_become(com.admin, "alpha", KEYD_TOKEN_IDLE);
    doctor("alpha", finding); /* and does not say that all is well */
    assert_string_equal(finding, "not-looked-at");
    assert_int_equal(daemon_unseal(&com.d, com.admin), KEYD_OK);
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    sign_msg();
}

static void
start_again(void)
{
    post_disconnect(&com);
    daemon_kill(&com.d);
    assert_true(daemon_launch(&com.d));
    assert_true(daemon_wait(&com.d, PATIENCE_MS));
    post_connect(&com);
}

static void
a_daemon_that_starts_again_has_its_tokens(void **state)
{
    (void)state;
    needs_softhsm();
    start_again();
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    tokens_become(com.admin, "beta", KEYD_TOKEN_READY);
    sign_msg();
    int64_t until = kd_clock_ms() + PATIENCE_MS; /* opened when its token is in use */
    while (is_away(sealed) && kd_clock_ms() < until)
        kd_ignore(poll(NULL, 0, 20));
    assert_false(is_away(sealed));
    is_held(com.sok, KEYD_HOLDING_TOKEN, 2, KEYD_IMPORTED);
}

/* Each PIN is tried once: the good one of both tokens, and never another. */
static void
each_pin_was_tried_once(void **state)
{
    (void)state;
    needs_softhsm();
    assert_int_equal(
        daemon_log_count(&com.d, 0, "token alpha", "a PIN that was never tried"), 1);
    assert_int_equal(
        daemon_log_count(&com.d, 0, "token beta", "a PIN that was never tried"), 1);
}

/* --- a section that has another name --- */

/* How often the doctor says so of the section. */
static unsigned
findings(const char *name, const char *word)
{
    struct keyd_answer *a =
        ask(com.admin, &(struct keyd_request){.op = KEYD_OP_TOKEN_DOCTOR});
    unsigned n = 0;

    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.doctor.n_findings; i++)
        n += tokens_text_is(a->out.doctor.findings[i].token, name) &&
             tokens_text_is(a->out.doctor.findings[i].finding, word);
    keyd_client_answer_free(a);
    return n;
}

/* Its keys live, and nothing that is advised may be their end. */
static void
a_section_that_was_renamed_is_to_get_its_name_again(void **state)
{
    const char *const rename = "sed -i 's/token \"alpha\"/token \"bravo\"/' $1";

    (void)state;
    needs_softhsm();
    assert_true(softhsm_script(rename, com.d.conf, ""));
    start_again();
    int64_t until = kd_clock_ms() + PATIENCE_MS;
    while (findings("bravo", "adopted-as") == 0 && kd_clock_ms() < until)
        kd_ignore(poll(NULL, 0, 50));
    assert_int_equal(findings("bravo", "adopted-as"), 1);
    assert_int_equal(findings("bravo", "not-adopted"), 0);
    assert_int_equal(findings("bravo", "orphan"), 0);
    assert_int_equal(findings("alpha", "section-gone"), 1);
    assert_true(has_reason("token-refused"));
    assert_true(softhsm_script("sed -i 's/token \"bravo\"/token \"alpha\"/' $1",
                               com.d.conf, ""));
    start_again();
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    assert_int_equal(findings("alpha", "section-gone"), 0);
    sign_msg();
}

/* --- operators --- */

enum { OPERATORS = 3 };

static uint8_t operator_secrets[OPERATORS][64];

static void
enroll(void)
{
    static const char *const names[OPERATORS] = {"ben", "caller-admin", "dan"};
    static uint8_t keys[OPERATORS][32];
    static struct keyd_operator operators[OPERATORS];
    uint8_t seed[32] = {0x70};

    for (size_t i = 0; i < OPERATORS; i++) {
        seed[1] = (uint8_t)i;
        crypto_sign_seed_keypair(keys[i], operator_secrets[i], seed);
        operators[i] = (struct keyd_operator){KEYD_STR(names[i]), {keys[i], 32}};
    }
    ends(
        &(struct keyd_request){
            .op = KEYD_OP_SET_QUORUM,
            .in.set_quorum = {.k = 2,
                              .marks = UINT64_C(1) << KEYD_OP_SET_QUORUM |
                                       UINT64_C(1) << KEYD_OP_TOKEN_ADOPT,
                              .operators = operators,
                              .n_operators = OPERATORS}},
        KEYD_OK, NULL);
}

static void
approve(const uint8_t id[16], size_t who, const char *must_say)
{
    static const char *const names[OPERATORS] = {"ben", "caller-admin", "dan"};
    struct keyd_answer *a =
        ask(com.admin, &(struct keyd_request){.op = KEYD_OP_APPROVAL_SHOW,
                                              .in.approval_show.id = {id, 16}});
    char text[4096];
    uint8_t sig[64];

    assert_int_equal(a->status, KEYD_OK);
    assert_in_range(a->out.approvals.text.n, 1, sizeof text - 1);
    memcpy(text, a->out.approvals.text.p, a->out.approvals.text.n);
    text[a->out.approvals.text.n] = '\0';
    if (strstr(text, must_say) == NULL)
        fail_msg("not in the text: %s\n%s", must_say, text);
    crypto_sign_detached(sig, NULL, (const uint8_t *)text, strlen(text),
                         operator_secrets[who]);
    keyd_client_answer_free(a);
    ends(
        &(struct keyd_request){
            .op = KEYD_OP_APPROVAL_SIGN,
            .in.approval_sign = {{id, 16}, KEYD_STR(names[who]), {sig, sizeof sig}}},
        KEYD_OK, NULL);
}

/* They approve of the very token: its serial number is in what they sign. */
static void
with_operators_a_token_is_adopted_when_they_have_approved(void **state)
{
    static const uint8_t key[16] = {0x51};
    const struct daemon_options o = {.top = TOP, .sections = sections()};
    char serial[17], says[64];
    uint8_t id[16];

    (void)state;
    needs_softhsm();
    post_disconnect(&com);
    daemon_clear(&com.d);
    com = (struct post){.domain = "example.com"};
    assert_true(daemon_start(&com.d, &o));
    assert_true(daemon_init_token(&com.d));
    post_connect(&com);
    enroll();
    tokens_become(com.admin, "alpha", KEYD_TOKEN_NEW);
    tokens_serial(com.admin, "alpha", serial);
    struct keyd_request q = adoption("alpha", serial);
    q.idempotency_key = key;
    struct keyd_answer *a = ask(com.admin, &q);
    assert_int_equal(a->status, KEYD_APPROVAL_NEEDED);
    assert_int_equal(a->approvals_missing, 2);
    memcpy(id, a->approval_id, sizeof id);
    keyd_client_answer_free(a);
    snprintf(says, sizeof says, "\nserial \"%s\"\n", serial);
    approve(id, 0, says);
    ends(&q, KEYD_APPROVAL_NEEDED, NULL);
    approve(id, 2, "\ntoken \"alpha\"\n");
    ends(&q, KEYD_OK, NULL);
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_looked_at_and_not_used_before_it_is_adopted),
        cmocka_unit_test(a_token_is_adopted_by_the_serial_that_was_told),
        cmocka_unit_test(keys_are_taken_in),
        cmocka_unit_test(a_message_is_opened_and_signed_as_in_the_vectors),
        cmocka_unit_test(keys_are_made_inside),
        cmocka_unit_test(an_rsa_key_for_dkim_lives_in_a_token_only),
        cmocka_unit_test(a_key_that_no_token_has_is_not_attached),
        cmocka_unit_test(a_key_is_sealed_under_a_token),
        cmocka_unit_test(a_token_that_is_pulled_out_stops_only_what_needs_it),
        cmocka_unit_test(a_token_that_is_put_back_is_used_again_by_itself),
        cmocka_unit_test(a_token_that_is_gone_unnoticed_is_found_by_the_doctor),
        cmocka_unit_test(a_key_that_is_not_made_for_want_of_rights_is_said_so),
        cmocka_unit_test(sealing_lets_go_of_tokens_and_unsealing_takes_them_again),
        cmocka_unit_test(a_daemon_that_starts_again_has_its_tokens),
        cmocka_unit_test(each_pin_was_tried_once),
        cmocka_unit_test(a_section_that_was_renamed_is_to_get_its_name_again),
        cmocka_unit_test(with_operators_a_token_is_adopted_when_they_have_approved),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
