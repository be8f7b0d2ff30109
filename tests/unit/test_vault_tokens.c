/* PKCS#11 tokens in the vault: what it carries between pool, supervisor and key store,
 * and what it answers operators. The pool says what the test has it say. */
#include "fake_device.h"
#include "fake_pool.h"
#include "test.h"
#include "vault_world.h"

#include "../../keyd/ops/run.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { ADMIN_GATE = KD_CLASS_ADMIN * KD_GATE_WORKERS_MAX };

static struct kd_chan gate; /* the other end of the admin gate's channel */

static int
begin(void **state)
{
    static const char *const names[] = {"alpha", "beta"};
    int fds[2];

    (void)state;
    vault_world_new();
    memset(&fake_pool, 0, sizeof fake_pool);
    for (size_t i = 0; i < 2; i++) {
        struct kd_token_conf *c = &vault.conf->is.tokens[i];
        *c = (struct kd_token_conf){.sessions = 2 + (uint32_t)i, .timeout = 600};
        snprintf(c->name, sizeof c->name, "%s", names[i]);
    }
    vault.conf->is.n_tokens = 2;
    assert_int_equal(tokens_start(&vault), KD_OK);
    tokens_attach(&vault);
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&gate, fds[0]);
    kd_chan_init(&vault.gates[ADMIN_GATE].link.chan, fds[1]);
    kd_ignore(events_since(EVENT_OPEN));
    return 0;
}

static int
end(void **state)
{
    (void)state;
    kd_chan_close(&vault.gates[ADMIN_GATE].link.chan);
    kd_chan_close(&gate);
    vault_world_free();
    return 0;
}

/* --- asking --- */

struct answered {
    unsigned n;
    struct kd_done done;
    uint8_t body[KD_JOB_BODY_MAX];
};

static kd_err
on_answer(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct answered *a = ctx;

    assert_int_equal(type, KD_MSG_done);
    assert_int_equal(fd, -1);
    assert_int_equal(kd_done_get(body, &a->done), KD_OK);
    if (a->done.body.n != 0)
        memcpy(a->body, a->done.body.p, a->done.body.n);
    a->done.body = kd_slice(a->body, a->done.body.n);
    a->n++;
    return KD_OK;
}

/* As root, who has no quotas in the way. */
static struct kd_done
ask(enum kd_op op, struct kd_buf *body)
{
    static struct answered a;
    const struct kd_job job = {.op = (uint8_t)op,
                               .deadline = (uint64_t)kd_clock_ms() + 60000,
                               .body = kd_buf_slice(body)};
    struct task *t = task_new(&vault, ADMIN_GATE, vault.conf, &job, -1);

    a.n = 0;
    assert_non_null(t);
    t->is_counted = true;
    run_start(&vault, t);
    task_take_done(&vault);
    assert_int_equal(kd_chan_flush(&vault.gates[ADMIN_GATE].link.chan), KD_OK);
    assert_int_equal(kd_chan_recv(&gate, 10, on_answer, &a), KD_OK);
    assert_int_equal(a.n, 1);
    kd_buf_free(body);
    return a.done;
}

static struct kd_done
ask_named(enum kd_op op, const char *name, const char *serial)
{
    const struct kd_token_job m = {kd_slice_str(name), kd_slice_str(serial)};
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_token_job_put(&b, &m);
    return ask(op, &b);
}

/* --- the pool and the supervisor --- */

static void
the_pool_is_made_as_configured(void **state)
{
    (void)state;
    assert_int_equal(fake_pool.n, 2);
    assert_string_equal(fake_pool.conf[1].name, "beta");
    assert_int_equal(fake_pool.conf[1].sessions, 3);
    assert_int_equal(fake_pool.conf[0].timeout_ms, 600);
}

static void
what_the_pool_wants_of_hosts_goes_to_the_supervisor(void **state)
{
    static const struct {
        enum p11_say say;
        enum kd_p11_want want;
    } cases[] = {{P11_SAY_KILL, KD_P11_KILL},
                 {P11_SAY_START, KD_P11_START},
                 {P11_SAY_MAKER, KD_P11_MAKE},
                 {P11_SAY_PIN, KD_P11_PIN}};
    struct kd_ctl_p11 got[8];

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        fake_pool_say(
            (struct p11_note){.say = cases[i].say, .token = 1, .host = 8 + i});
    tokens_step(&vault);
    assert_int_equal(wants_since(got, 8), 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(got[i].host, 8 + i);
        assert_int_equal(got[i].want, cases[i].want);
    }
}

static void
what_happens_to_a_token_is_logged_by_its_name(void **state)
{
    (void)state;
    fake_pool_say((struct p11_note){.say = P11_SAY_EVENT,
                                    .token = 1,
                                    .event = EVENT_TOKEN_REFUSED,
                                    .a = 1,
                                    .b = 2});
    tokens_step(&vault);
    assert_int_equal(events_since(EVENT_TOKEN_REFUSED), 1);
}

static void
only_hosts_of_configured_tokens_are_linked(void **state)
{
    struct kd_buf b;
    int fd = dup(0);

    (void)state;
    assert_int_equal(tokens_link(&vault, 15, fd), KD_OK);
    assert_int_equal(fake_pool.n_links, 1);
    assert_int_equal(fake_pool.host, 15);
    for (unsigned host = 16; host < 256; host += 60) {
        fd = dup(0);
        assert_int_equal(tokens_link(&vault, host, fd), KD_MALFORMED);
        assert_int_equal(close(fd), -1); /* it was taken */
    }
    for (unsigned host = 0; host < 32; host += 16) {
        const struct kd_ctl_no_pin m = {(uint8_t)host, KD_NOT_FOUND};
        kd_buf_init(&b, 16);
        kd_ctl_no_pin_put(&b, &m);
        assert_int_equal(tokens_no_pin(&vault, kd_buf_slice(&b)),
                         host < 16 ? KD_OK : KD_MALFORMED);
        kd_buf_free(&b);
    }
    assert_int_equal(fake_pool.n_links, 1);
    assert_int_equal(fake_pool.n_no_pins, 1);
}

/* Without a registry that could note it, nothing is stored, and the pool is told. */
static void
tags_that_cannot_be_stored_are_told_so(void **state)
{
    (void)state;
    vault.health.flags = KD_HEALTH_DISK_LOW;
    fake_pool_say((struct p11_note){.say = P11_SAY_TAGS, .token = 1, .tried = {1}});
    tokens_step(&vault);
    assert_int_equal(fake_pool.n_stored, 1);
    assert_int_equal(fake_pool.stored, 1);
    assert_int_not_equal(fake_pool.stored_err, KD_OK);
    vault.health.flags = 0;
    vault.state = VAULT_FAILED;
    fake_pool_say((struct p11_note){.say = P11_SAY_TAGS, .token = 0, .good = {1}});
    tokens_step(&vault);
    assert_int_equal(fake_pool.n_stored, 2);
    assert_int_equal(fake_pool.stored, 0);
    assert_int_not_equal(fake_pool.stored_err, KD_OK);
    assert_int_equal(vault.tasks.n, 0);
}

/* --- what operators are told --- */

static struct kd_token_line
line_at(struct kd_done done, size_t at)
{
    struct kd_tokens_done m;
    struct kd_token_line line = {0};

    assert_int_equal(done.err, KD_OK);
    assert_int_equal(kd_tokens_done_get(done.body, &m), KD_OK);
    struct kd_cur c = kd_cur(m.tokens);
    for (size_t i = 0; i <= at; i++)
        assert_int_equal(kd_token_line_get(kd_list_next(&c), &line), KD_OK);
    return line;
}

static void
the_list_says_how_tokens_are(void **state)
{
    struct kd_buf none;

    (void)state;
    fake_pool.status[0] =
        (struct p11_status){.state = P11_CLOSED,
                            .hosts = 2,
                            .signed_ = 7,
                            .serial = "0123456789abcdef",
                            .label = "a label of all 32 octets, spaces",
                            .since = kd_clock_ms() - 5000};
    fake_pool.status[1] = (struct p11_status){
        .state = P11_REFUSED, .finding = P11_PIN_REFUSED, .rv = 0xa0, .opened = 3};
    assert_int_equal(kd_soft_adopt(vault.token, "alpha", "0123456789abcdef", "model"),
                     KD_OK);
    kd_buf_init(&none, 1);
    struct kd_done done = ask(KD_OP_TokenList, &none);
    struct kd_token_line a = line_at(done, 0), b = line_at(done, 1);
    assert_true(kd_slice_eq(a.name, kd_slice_str("alpha")));
    assert_int_equal(a.state, 3);
    assert_int_equal(a.hosts, 2);
    assert_int_equal(a.n_signed, 7);
    assert_int_equal(a.adopted, 1);
    assert_true(kd_slice_eq(a.adopted_serial, kd_slice_str("0123456789abcdef")));
    assert_int_equal(a.label.n, 32);
    assert_in_range(a.state_ms, 5000, 60000);
    assert_true(kd_slice_eq(b.name, kd_slice_str("beta")));
    assert_int_equal(b.state, 7);
    assert_int_equal(b.finding, P11_PIN_REFUSED);
    assert_int_equal(b.rv, 0xa0);
    assert_int_equal(b.adopted, 0);
    assert_int_equal(b.n_away, 3);
}

static void
every_state_of_the_pool_has_its_number_in_the_protocol(void **state)
{
    (void)state;
    for (unsigned i = 0; i < P11_STATES; i++) {
        struct kd_buf none;
        fake_pool.status[0].state = (enum p11_state)i;
        kd_buf_init(&none, 1);
        assert_int_equal(line_at(ask(KD_OP_TokenList, &none), 0).state, i + 1);
    }
}

static void
the_doctor_tells_all_that_was_found(void **state)
{
    struct kd_doctor_done m;
    struct kd_finding_line line;

    (void)state;
    fake_pool.findings[0][0] = (struct p11_finding){
        .code = P11_ATTRIBUTE, .rv = 0x12, .what = "key 00ff: CKA_EXTRACTABLE is true"};
    fake_pool.n_findings[0] = 1;
    fake_pool.findings[1][0] = (struct p11_finding){.code = P11_NO_SLOT};
    fake_pool.findings[1][1] = (struct p11_finding){.code = P11_SLOW, .what = "812 us"};
    fake_pool.n_findings[1] = 2;
    struct kd_done done = ask_named(KD_OP_TokenDoctor, "", "");
    assert_int_equal(done.err, KD_OK);
    assert_int_equal(kd_doctor_done_get(done.body, &m), KD_OK);
    struct kd_cur c = kd_cur(m.findings);
    assert_int_equal(kd_finding_line_get(kd_list_next(&c), &line), KD_OK);
    assert_true(kd_slice_eq(line.token, kd_slice_str("alpha")));
    assert_int_equal(line.finding, P11_ATTRIBUTE);
    assert_int_equal(line.rv, 0x12);
    assert_true(
        kd_slice_eq(line.what, kd_slice_str("key 00ff: CKA_EXTRACTABLE is true")));
    assert_int_equal(kd_finding_line_get(kd_list_next(&c), &line), KD_OK);
    assert_true(kd_slice_eq(line.token, kd_slice_str("beta")));
    assert_int_equal(kd_finding_line_get(kd_list_next(&c), &line), KD_OK);
    assert_int_equal(line.finding, P11_SLOW);
    assert_int_equal(kd_cur_end(&c), KD_OK);

    done = ask_named(KD_OP_TokenDoctor, "beta", "");
    assert_int_equal(kd_doctor_done_get(done.body, &m), KD_OK);
    c = kd_cur(m.findings);
    assert_int_equal(kd_finding_line_get(kd_list_next(&c), &line), KD_OK);
    assert_int_equal(line.finding, P11_NO_SLOT);
    done = ask_named(KD_OP_TokenDoctor, "gamma", "");
    assert_int_equal(done.err, KD_NOT_FOUND);
    assert_int_equal(done.reason, KD_REASON_NO_SUCH_TOKEN);
    assert_int_equal(vault.tasks.n_apart, 0);
}

/* --- sections that are gone --- */

/* A key in a token that was adopted as "gone", which is no section's name (any more).
 */
static struct kd_key_id
key_of_a_section_that_is_gone(struct fake_device *d, struct kd_held *held)
{
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = KD_PERM_SIGNET,
                                     .domain = kd_slice_str("example.com"),
                                     .tokens = {kd_slice_str("gone")}};
    struct kd_key_info info;
    struct kd_made *made;

    fake_device_init(d, "gone");
    assert_int_equal(kd_soft_adopt(vault.token, "gone", "77", "m"), KD_OK);
    assert_int_equal(kd_soft_attach(vault.token, "gone", &d->device), KD_OK);
    assert_int_equal(kd_token_make(vault.token, &spec, kd_slice(NULL, 0), &made),
                     KD_OK);
    assert_int_equal(kd_token_take(vault.token, made, &info), KD_OK);
    kd_token_drop(made);
    assert_int_equal(kd_token_set_state(vault.token, &info.id, KD_KEY_ACTIVE), KD_OK);
    assert_int_equal(kd_token_held(vault.token, &info.id, held), KD_OK);
    return info.id;
}

static void
doctor_says(const char *asked, const char *const (*rows)[3])
{
    struct kd_done done = ask_named(KD_OP_TokenDoctor, asked, "");
    struct kd_doctor_done m;
    struct kd_finding_line line;

    assert_int_equal(done.err, KD_OK);
    assert_int_equal(kd_doctor_done_get(done.body, &m), KD_OK);
    struct kd_cur c = kd_cur(m.findings);
    for (; (*rows)[0] != NULL; rows++) {
        char text[P11_WHAT_MAX + 1];
        assert_int_equal(kd_finding_line_get(kd_list_next(&c), &line), KD_OK);
        assert_true(kd_slice_eq(line.token, kd_slice_str((*rows)[0])));
        assert_string_equal(p11_finding_word((enum p11_finding_code)line.finding),
                            (*rows)[1]);
        snprintf(text, sizeof text, "%.*s", (int)line.what.n,
                 (const char *)line.what.p);
        assert_string_equal(text, (*rows)[2]);
    }
    assert_int_equal(kd_cur_end(&c), KD_OK);
}

/* "Remove it with the vendor's tool" would be the end of a key that is in use. */
static void
a_key_of_a_section_that_is_gone_is_not_called_left_over(void **state)
{
    static const char *const all[][3] = {{"alpha", "orphan", "id 01"},
                                         {"alpha", "others-key", "\"gone\": 1 key"},
                                         {"gone", "section-gone", "\"gone\": 1 key"},
                                         {NULL, NULL, NULL}};
    static struct fake_device d; /* the key store has it until the end */
    struct kd_held held;

    (void)state;
    key_of_a_section_that_is_gone(&d, &held);
    for (size_t i = 0; i < 2; i++)
        fake_pool.findings[0][i] = (struct p11_finding){
            .code = P11_ORPHAN, .what = "id 01", .id_size = 1, .id = {1}};
    fake_pool.findings[0][0].id_size = held.places[0].id_size;
    memcpy(fake_pool.findings[0][0].id, held.places[0].id, held.places[0].id_size);
    fake_pool.n_findings[0] = 2;
    doctor_says("", all);
    doctor_says("alpha", all);
}

static void
a_section_that_is_gone_is_told_with_its_keys(void **state)
{
    static const char *const gone[][3] = {{"gone", "section-gone", "\"gone\": 1 key"},
                                          {NULL, NULL, NULL}};
    static const char *const none[][3] = {{NULL, NULL, NULL}};
    static struct fake_device d; /* the key store has it until the end */
    struct kd_held held;

    (void)state;
    doctor_says("", none);
    key_of_a_section_that_is_gone(&d, &held);
    doctor_says("", gone);
    doctor_says("gone", gone);
    doctor_says("beta", none); /* was not asked about */
    vault.tokens.n = 0;        /* no section at all */
    doctor_says("", gone);
}

/* The token itself, under a new name: to adopt it again would make orphans of its keys.
 */
static void
a_token_under_another_name_is_not_advised_to_be_adopted(void **state)
{
    static const char *const as[][3] = {{"alpha", "adopted-as", "\"gone\": 1 key"},
                                        {NULL, NULL, NULL}};
    static const char *const new_one[][3] = {{"alpha", "not-adopted", ""},
                                             {NULL, NULL, NULL}};
    static struct fake_device d; /* the key store has it until the end */
    struct kd_held held;

    (void)state;
    key_of_a_section_that_is_gone(&d, &held);
    fake_pool.status[0] =
        (struct p11_status){.state = P11_NEW, .serial = "77", .model = "m"};
    fake_pool.findings[0][0] = (struct p11_finding){.code = P11_NOT_ADOPTED};
    fake_pool.n_findings[0] = 1;
    doctor_says("alpha", as);
    fake_pool.status[0].model[0] = 'n'; /* another token */
    doctor_says("alpha", new_one);
}

/* Somebody has to do something, and is not told to wait. */
static void
a_token_that_is_refused_is_not_said_to_come_back(void **state)
{
    static struct fake_device d; /* the key store has it until the end */
    struct kd_held held;
    struct kd_key_id id = key_of_a_section_that_is_gone(&d, &held);

    (void)state;
    assert_int_equal(tokens_why_away(&vault, &id), KD_REASON_TOKEN_REFUSED);
    memcpy(vault.tokens.names[1], "gone", sizeof "gone"); /* configured again */
    fake_pool.status[1].state = P11_OPEN;
    assert_int_equal(tokens_why_away(&vault, &id), KD_REASON_TOKEN_AWAY);
    fake_pool.status[1].state = P11_REFUSED;
    assert_int_equal(tokens_why_away(&vault, &id), KD_REASON_TOKEN_REFUSED);
}

/* --- what may be adopted --- */

static void
only_the_token_that_was_named_is_adopted(void **state)
{
    static const struct {
        const char *name, *serial;
        enum p11_state state;
        kd_err err;
        enum kd_reason reason;
    } cases[] = {
        {"gamma", "1", P11_NEW, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN},
        {"alpha", "2", P11_NEW, KD_CONFLICT, KD_REASON_TOKEN_OTHER},
        {"alpha", "", P11_NEW, KD_CONFLICT, KD_REASON_TOKEN_OTHER},
        {"alpha", "1", P11_OPEN, KD_UNAVAILABLE, KD_REASON_TOKEN_AWAY},
        {"alpha", "1", P11_STARTING, KD_UNAVAILABLE, KD_REASON_TOKEN_AWAY},
        {"beta", "", P11_REFUSED, KD_UNAVAILABLE, KD_REASON_TOKEN_REFUSED}, /* unseen */
    };

    (void)state;
    vault.conf->is.single_operator = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_pool.status[0] =
            (struct p11_status){.state = cases[i].state, .serial = "1", .model = "m"};
        fake_pool.status[1] = (struct p11_status){.state = cases[i].state};
        struct kd_done done =
            ask_named(KD_OP_TokenAdopt, cases[i].name, cases[i].serial);
        assert_int_equal(done.err, cases[i].err);
        assert_int_equal(done.reason, cases[i].reason);
    }
    /* Nor the same again. */
    fake_pool.status[0].state = P11_CLOSED;
    assert_int_equal(kd_soft_adopt(vault.token, "alpha", "1", "m"), KD_OK);
    assert_int_equal(ask_named(KD_OP_TokenAdopt, "alpha", "1").reason,
                     KD_REASON_TOKEN_ADOPTED);
}

/* --- why the service is degraded --- */

static void
what_is_wrong_with_a_token_of_ours_degrades_the_service(void **state)
{
    static const struct {
        enum p11_state state;
        enum p11_finding_code finding;
        int64_t for_ms;
        uint64_t reasons;
    } cases[] = {
#define BIT(reason) UINT64_C(1) << KD_STATE_##reason
        {P11_CLOSED, P11_FINE, 0, 0},
        {P11_DRAINED, P11_FINE, 0, 0},
        {P11_STARTING, P11_FINE, 100, 0},
        {P11_STARTING, P11_FINE, 60000, BIT(TOKEN_AWAY)},
        {P11_OPEN, P11_NO_SLOT, 0, BIT(TOKEN_AWAY)},
        {P11_HALF, P11_FINE, 0, BIT(TOKEN_AWAY)},
        {P11_REFUSED, P11_SERIAL_CHANGED, 0, BIT(TOKEN_REFUSED)},
        {P11_REFUSED, P11_PIN_MISSING, 0, BIT(TOKEN_PIN)},
        {P11_REFUSED, P11_PIN_LOCKED, 0, BIT(TOKEN_PIN)},
        {P11_REFUSED, P11_PIN_REFUSED, 0, BIT(TOKEN_PIN)},
        {P11_REFUSED, P11_PIN_UNRECORDED, 0, BIT(TOKEN_PIN)},
        {P11_REFUSED, P11_LOGIN_FAILED, 0, BIT(TOKEN_REFUSED)},
#undef BIT
    };

    (void)state;
    /* Not of one that nobody has adopted. */
    fake_pool.status[0] = fake_pool.status[1] =
        (struct p11_status){.state = P11_REFUSED, .finding = P11_NO_SLOT};
    assert_int_equal(tokens_reasons(&vault), 0);
    assert_int_equal(kd_soft_adopt(vault.token, "beta", "1", "m"), KD_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_pool.status[1] =
            (struct p11_status){.state = cases[i].state,
                                .finding = cases[i].finding,
                                .since = kd_clock_ms() - cases[i].for_ms};
        assert_int_equal(tokens_reasons(&vault), cases[i].reasons);
    }
}

/* The token is well, its key is not there: an alarm until the key is retired. */
static void
a_missing_key_that_was_retired_is_no_alarm(void **state)
{
    const uint64_t alarm = UINT64_C(1) << KD_STATE_TOKEN_KEY_BAD;
    static struct fake_device d; /* the key store has it until the end */
    struct kd_held held;
    struct kd_key_id id = key_of_a_section_that_is_gone(&d, &held);

    (void)state;
    memcpy(vault.tokens.names[1], "gone", sizeof "gone");
    fake_pool.status[1].state = P11_CLOSED;
    assert_int_equal(tokens_reasons(&vault), 0);
    d.away = true;
    assert_int_equal(tokens_reasons(&vault), alarm);
    assert_int_equal(kd_token_set_state(vault.token, &id, KD_KEY_RETAINED), KD_OK);
    assert_int_equal(tokens_reasons(&vault), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(the_pool_is_made_as_configured),
        TEST(what_the_pool_wants_of_hosts_goes_to_the_supervisor),
        TEST(what_happens_to_a_token_is_logged_by_its_name),
        TEST(only_hosts_of_configured_tokens_are_linked),
        TEST(tags_that_cannot_be_stored_are_told_so),
        TEST(the_list_says_how_tokens_are),
        TEST(every_state_of_the_pool_has_its_number_in_the_protocol),
        TEST(the_doctor_tells_all_that_was_found),
        TEST(a_key_of_a_section_that_is_gone_is_not_called_left_over),
        TEST(a_section_that_is_gone_is_told_with_its_keys),
        TEST(a_token_under_another_name_is_not_advised_to_be_adopted),
        TEST(a_token_that_is_refused_is_not_said_to_come_back),
        TEST(a_missing_key_that_was_retired_is_no_alarm),
        TEST(only_the_token_that_was_named_is_adopted),
        TEST(what_is_wrong_with_a_token_of_ours_degrades_the_service),
    };
#undef TEST

    if (sodium_init() < 0 || kd_secret_setup((size_t)512 * 1024) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
