/* Tokens that sign little in one go (D-084), on a running daemon: the limit is found by
 * trying; which keys are kept in such a token, and which are sealed under it; a policy
 * that wants what it cannot do. The tests go on from each other. */
#include "fake_world.h"
#include "mailw.h"
#include "post.h"
#include "shell.h"
#include "suite.h"
#include "test.h"
#include "tokens.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 4096, LARGE = 100 * 1024, PATIENCE_MS = 20000 };

static const struct keyd_octets in_alpha[] = {{(const uint8_t *)"alpha", 5}};

static struct fake_world fakes;
static struct post com;

static void
start(void)
{
    static char sections[2048], user[32];
    const struct daemon_options o = {.no_token = true,
                                     .top = user,
                                     .in_domain = " issue-profile-fields = { 16 }\n"
                                                  " message-signer = sok\n",
                                     .sections = sections};

    sections[0] = '\0';
    snprintf(user, sizeof user, "user-p11 = \"%d\"\n", DAEMON_P11);
    fake_world_section(&fakes, "alpha", "", sections, sizeof sections);
    com = (struct post){.domain = "example.com"};
    assert_true(daemon_start(&com.d, &o));
    assert_true(daemon_init_token(&com.d));
    post_connect(&com);
    tokens_adopt(com.admin, "alpha");
}

static int
begin(void **state)
{
    (void)state;
    if (!fake_world_begin(&fakes)) {
        puts("skipped: needs root and fake_p11.so");
        exit(SUITE_SKIPPED);
    }
    assert_int_equal(kd_secret_setup(1 << 16), KD_OK);
    fake_world_token(&fakes, "alpha", "F000", "limit=4096");
    start();
    return 0;
}

static int
end(void **state)
{
    (void)state;
    post_disconnect(&com);
    daemon_clear(&com.d);
    fake_world_end(&fakes);
    return 0;
}

/* --- keys --- */

static struct keyd_request
generation(enum keyd_key_role role, uint32_t permissions)
{
    return (struct keyd_request){.op = KEYD_OP_GENERATE_KEY,
                                 .in.generate_key = {.role = role,
                                                     .algorithm = KEYD_ED25519,
                                                     .domain = KEYD_STR("example.com"),
                                                     .permissions = permissions,
                                                     .tokens = in_alpha,
                                                     .n_tokens = 1}};
}

static void
is_held(const uint8_t id[16], enum keyd_key_holding holding)
{
    const struct keyd_key *k;
    struct keyd_answer *a = tokens_key(com.admin, id, &k);

    assert_int_equal(k->holding, holding);
    assert_int_equal(k->n_tokens, 1);
    assert_true(tokens_text_is(k->tokens[0], "alpha"));
    keyd_client_answer_free(a);
}

static uint64_t
told_limit(void)
{
    struct keyd_answer *a = tokens_list(com.admin);
    uint64_t limit = tokens_named(a, "alpha")->max_message;

    keyd_client_answer_free(a);
    return limit;
}

/* Nothing in the configuration says it. */
static void
the_limit_is_found_by_trying(void **state)
{
    static const uint8_t seed[32] = {1}, scalar[32] = {2};
    int64_t until = kd_clock_ms() + PATIENCE_MS;

    (void)state;
    assert_int_equal(told_limit(), 0);
    post_import(&com, &(struct post_keys){.seed = seed,
                                          .scalar = scalar,
                                          .role = KEYD_ROLE_SOK,
                                          .permissions = KEYD_PERM_CERTIFICATE,
                                          .tokens = in_alpha,
                                          .n_tokens = 1});
    while (told_limit() == 0 && kd_clock_ms() < until)
        kd_ignore(poll(NULL, 0, 50)); /* between two looks */
    assert_int_equal(told_limit(), LIMIT);
    is_held(com.sok, KEYD_HOLDING_TOKEN);
}

static void
D_084_a_key_that_signs_users_and_messages_is_refused(void **state)
{
    struct keyd_request q =
        generation(KEYD_ROLE_SOK, KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE);

    (void)state;
    ask_ends(ask(com.admin, &q), KEYD_UNSUPPORTED, "token-limit");
}

static void
D_084_a_key_for_messages_is_sealed_by_itself(void **state)
{
    struct keyd_request q = generation(KEYD_ROLE_SOK, KEYD_PERM_MESSAGE);
    uint8_t id[16];

    (void)state;
    struct keyd_answer *a = ask(com.admin, &q);
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
    is_held(id, KEYD_HOLDING_SEALED);
    /* One that signs signets alone stays in the token. */
    q = generation(KEYD_ROLE_SOK, KEYD_PERM_SIGNET);
    a = ask(com.admin, &q);
    assert_int_equal(a->status, KEYD_OK);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
    is_held(id, KEYD_HOLDING_TOKEN);
}

/* --- messages --- */

/* Octet for octet what the vectors' key signs. */
static void
D_084_a_message_of_100_KiB_is_signed_with_a_sealed_key(void **state)
{
    static uint8_t text[LARGE];
    const struct dmw_chunk part = {.type = 67, .data = {text, sizeof text}};
    struct dmw_recipe r = {.contents = &part, .n_contents = 1, .placeholders = true};
    struct dmw blank = {0}, whole = {0};

    (void)state;
    post_import_com(&com, in_alpha, 1, 1, true);
    is_held(com.pok, KEYD_HOLDING_TOKEN);
    is_held(com.enc, KEYD_HOLDING_TOKEN);
    is_held(com.sok, KEYD_HOLDING_SEALED);
    dmw_message(&blank, &r);
    r.placeholders = false;
    dmw_message(&whole, &r);
    struct keyd_answer *a = post_sign(com.submit, "alice@example.com", "example.org",
                                      com.full, kd_buf_slice(&blank.out));
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    post_complete(blank.out.p, blank.out.n, a);
    assert_true(whole.out.n > LARGE);
    assert_int_equal(blank.out.n, whole.out.n);
    assert_memory_equal(blank.out.p, whole.out.p, whole.out.n);
    keyd_client_answer_free(a);
    dmw_free(&blank);
    dmw_free(&whole);
}

/* --- policies --- */

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

/* The primary key is in the token, and the token cannot sign a message. */
static void
a_policy_that_needs_what_the_token_lacks_is_refused_when_it_is_loaded(void **state)
{
    struct keyd_answer *a = NULL;

    (void)state;
    assert_false(has_reason("token-unfit"));
    shell("sed -i 's/message-signer = sok/message-signer = pok/' %s", com.d.conf);
    long from = daemon_log_end(&com.d);
    assert_int_not_equal(keyd_client_reload(com.admin, &a), KEYD_OK);
    assert_non_null(a);
    ask_ends(a, KEYD_FAILED, "role-refused");
    assert_int_equal(daemon_log_count(&com.d, from, "no message of example.com",
                                      "takes 4096 octets"),
                     1);
    assert_false(has_reason("token-unfit")); /* the former one is in force */
    shell("sed -i 's/message-signer = pok/message-signer = sok/' %s", com.d.conf);
    a = NULL;
    assert_int_equal(keyd_client_reload(com.admin, &a), KEYD_OK);
    keyd_client_answer_free(a);
}

/* A firmware that takes less than the one before: keyd starts, since all else goes on,
 * and says what does not. */
static void
what_became_unfit_later_is_told_and_the_rest_goes_on(void **state)
{
    int64_t until;

    (void)state;
    post_disconnect(&com);
    assert_int_equal(daemon_stop(&com.d), 0);
    shell("sed -i 's/message-signer = sok/message-signer = pok/' %s", com.d.conf);
    assert_true(daemon_launch(&com.d));
    assert_true(daemon_wait(&com.d, PATIENCE_MS));
    post_connect(&com);
    tokens_become(com.admin, "alpha", KEYD_TOKEN_READY);
    until = kd_clock_ms() + PATIENCE_MS;
    while (!has_reason("token-unfit") && kd_clock_ms() < until)
        kd_ignore(poll(NULL, 0, 50)); /* between two looks */
    assert_true(has_reason("token-unfit"));
    assert_true(daemon_log_has(&com.d, "takes 4096 octets"));
    struct kd_buf b;
    ask_ends(ask_plain(com.submit, "bob@example.com", person_request("limit", 1, &b)),
             KEYD_OK, NULL);
    kd_buf_free(&b);
    size_t n = 0;
    uint8_t *octets = mailw_blank_msg(&n);
    post_sign_ends(com.submit, "alice@example.com", "example.org", com.full,
                   kd_slice(octets, n), KEYD_INVALID, "token-limit");
    free(octets);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_found_by_trying),
        cmocka_unit_test(D_084_a_key_that_signs_users_and_messages_is_refused),
        cmocka_unit_test(D_084_a_key_for_messages_is_sealed_by_itself),
        cmocka_unit_test(D_084_a_message_of_100_KiB_is_signed_with_a_sealed_key),
        cmocka_unit_test(
            a_policy_that_needs_what_the_token_lacks_is_refused_when_it_is_loaded),
        cmocka_unit_test(what_became_unfit_later_is_told_and_the_rest_goes_on),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, begin, end);
}
