/* Accounts on a running daemon: what is frozen, closed, reset; tickets; and the kill
 * switch, under load and under kill -9. The registry is judged by keyd-check. */
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "sg.h"
#include "suite.h"
#include "test.h"

#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/ticket/ticket.h>

#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DELAY_S = 2, /* reset-delay of example.com */
    RESTART_MS = 10000,
    RACES = 200,
    KILLS_WHOLE = 300,
};

static struct daemon keyd;
static keyd_client *submit, *admin;
static uint8_t account_seed[32], account_key[32];

/* --- asking --- */

static struct kd_slice
ssr_of(const char *text, uint32_t step, bool custody, struct kd_buf *b)
{
    struct person_keys own, prev;

    person_keys(text, 0, step, &own);
    if (custody)
        person_keys(text, 0, step - 1, &prev);
    kd_buf_init(b, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, custody ? &prev : NULL, b), KD_OK);
    return kd_buf_slice(b);
}

/* Issues step `step` of a person's chain; a root if there is no custody. */
static void
issue_ends(const char *address, const char *text, uint32_t step, bool custody,
           enum keyd_status status, const char *detail)
{
    struct kd_buf b;
    struct kd_slice ssr = ssr_of(text, step, custody, &b);

    ask_issue_ends(submit, address, ssr, status, detail);
    kd_buf_free(&b);
}

static struct keyd_answer *
account_on(keyd_client *c, const char *address, enum keyd_account_action action,
           enum keyd_freeze_reason reason)
{
    const struct keyd_request q = {
        .op = KEYD_OP_FREEZE_ADDRESS,
        .in.freeze_address = {KEYD_STR(address), action, reason}};

    return ask(c, &q);
}

static void
account_becomes(const char *address, enum keyd_account_action action,
                enum keyd_freeze_reason reason, enum keyd_account_state state,
                bool changed)
{
    struct keyd_answer *a = account_on(admin, address, action, reason);

    if (a->status != KEYD_OK)
        fail_msg("%s: %s (%s)", address, keyd_client_status_text(a->status), a->detail);
    assert_int_equal(a->out.account.state, state);
    assert_int_equal(a->out.account.changed, changed);
    if (state == KEYD_ACCOUNT_FROZEN && action == KEYD_ACCOUNT_FREEZE)
        assert_int_equal(a->out.account.reason, reason);
    keyd_client_answer_free(a);
}

static struct keyd_answer *
reset_on(keyd_client *c, enum keyd_reset_action action, const char *address)
{
    const struct keyd_request q = {.op = KEYD_OP_RESET_ADDRESS,
                                   .in.reset_address = {action, KEYD_STR(address)}};

    return ask(c, &q);
}

static void
reset_done(enum keyd_reset_action action, const char *address)
{
    ask_ends(reset_on(admin, action, address), KEYD_OK, NULL);
}

static struct keyd_answer *
stop_on(keyd_client *c, enum keyd_stop_action action, const char *name)
{
    const struct keyd_request q = {
        .op = KEYD_OP_STOP_PRINCIPAL,
        .in.stop_principal = {.action = action, .name = KEYD_STR(name)}};

    return ask(c, &q);
}

static void
connect_all(void)
{
    submit = ask_connect(&keyd, "submission");
    admin = ask_connect(&keyd, "admin");
}

static void
disconnect_all(void)
{
    keyd_client_free(submit);
    keyd_client_free(admin);
    submit = admin = NULL;
}

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* clocks have to go on */
}

static void
restart(void)
{
    disconnect_all();
    assert_int_equal(daemon_stop(&keyd), 0);
    assert_true(daemon_launch(&keyd));
    assert_true(daemon_wait(&keyd, RESTART_MS));
    connect_all();
}

/* --- freezing --- */

static void
frozen_address_is_denied_and_still_looked_up(void **state)
{
    static const char address[] = "alice@example.com";
    struct keyd_answer *a, *found;

    (void)state;
    issue_ends(address, "alice", 0, false, KEYD_OK, NULL);
    account_becomes(address, KEYD_ACCOUNT_SHOW, 0, KEYD_ACCOUNT_OPEN, false);
    account_becomes(address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_THEFT,
                    KEYD_ACCOUNT_FROZEN, true);
    account_becomes(address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_THEFT,
                    KEYD_ACCOUNT_FROZEN, false);
    issue_ends(address, "alice", 1, true, KEYD_DENIED, "address-frozen");
    issue_ends(address, "alice", 0, false, KEYD_DENIED, "address-frozen"); /* again */
    /* VRFY and HIST go on */
    assert_int_equal(
        keyd_client_lookup_signet(submit, KEYD_STR(address), KEYD_NONE, &found),
        KEYD_OK);
    assert_true(found->out.signet.current);
    assert_int_equal(keyd_client_verify_current(submit, KEYD_STR(address),
                                                found->out.signet.core_fp, &a),
                     KEYD_OK);
    assert_int_equal(a->out.verify.verdict, KEYD_CURRENT);
    keyd_client_answer_free(a);
    keyd_client_answer_free(found);
    restart();
    issue_ends(address, "alice", 1, true, KEYD_DENIED, "address-frozen");
    account_becomes(address, KEYD_ACCOUNT_THAW, 0, KEYD_ACCOUNT_OPEN, true);
    account_becomes(address, KEYD_ACCOUNT_THAW, 0, KEYD_ACCOUNT_OPEN, false);
    issue_ends(address, "alice", 1, true, KEYD_OK, NULL);
}

static void
address_without_a_signet_can_be_frozen_and_closed_for_ever(void **state)
{
    static const char address[] = "nobody@example.com";

    (void)state;
    account_becomes(address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_ABUSE,
                    KEYD_ACCOUNT_FROZEN, true);
    issue_ends(address, "nobody", 0, false, KEYD_DENIED, "address-frozen");
    account_becomes(address, KEYD_ACCOUNT_CLOSE, 0, KEYD_ACCOUNT_CLOSED, true);
    issue_ends(address, "nobody", 0, false, KEYD_DENIED, "address-closed");
    ask_ends(account_on(admin, address, KEYD_ACCOUNT_THAW, 0), KEYD_CONFLICT,
             "address-closed");
    ask_ends(account_on(admin, address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_OTHER),
             KEYD_CONFLICT, "address-closed");
    account_becomes(address, KEYD_ACCOUNT_CLOSE, 0, KEYD_ACCOUNT_CLOSED, false);
    restart();
    issue_ends(address, "nobody", 0, false, KEYD_DENIED, "address-closed");
}

static void
submission_may_freeze_but_not_thaw(void **state)
{
    static const char address[] = "thief@example.com";

    (void)state;
    ask_ends(account_on(submit, address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_THEFT),
             KEYD_OK, NULL);
    ask_ends(account_on(submit, address, KEYD_ACCOUNT_THAW, 0), KEYD_DENIED,
             "operators-only");
    ask_ends(account_on(submit, address, KEYD_ACCOUNT_ATTEST, 0), KEYD_DENIED,
             "operators-only");
    ask_ends(account_on(submit, "x@example.org", KEYD_ACCOUNT_SHOW, 0), KEYD_DENIED,
             "not-permitted");
    /* a reason goes with freezing, and only with it */
    struct keyd_answer *a = NULL;
    const struct keyd_request q = {
        .op = KEYD_OP_FREEZE_ADDRESS,
        .in.freeze_address = {KEYD_STR(address), KEYD_ACCOUNT_FREEZE, 0}};
    assert_int_equal(keyd_client_call(submit, &q, &a), KEYD_USAGE);
}

static void
same_key_again_changes_nothing_and_is_answered_again(void **state)
{
    const uint8_t key[KEYD_KEY_SIZE] = {1, 2, 3};
    struct keyd_request q = {.op = KEYD_OP_FREEZE_ADDRESS,
                             .idempotency_key = key,
                             .in.freeze_address = {KEYD_STR("again@example.com"),
                                                   KEYD_ACCOUNT_FREEZE,
                                                   KEYD_FREEZE_OTHER}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct keyd_answer *a = ask(admin, &q);
        assert_int_equal(a->status, KEYD_OK);
        assert_true(a->out.account.changed);
        keyd_client_answer_free(a);
    }
    q.in.freeze_address.reason = KEYD_FREEZE_ABUSE;
    ask_ends(ask(admin, &q), KEYD_INVALID, "idempotency-key-used");
}

/* T-OP-19: what an operator has attested may be claimed, by a paranoid account. */
static void
T_OP_19_level_eci_takes_an_attestation(void **state)
{
    static const char address[] = "eci@example.com";
    static uint8_t field[] = {3, 1, 16};
    const struct sg_pair pair = sg_pair_text("eci");
    uint8_t enc[33];
    struct kd_buf b;

    (void)state;
    sg_enc_text("eci", enc);
    const struct sg_user recipe = {
        .request = true, .pair = &pair, .enc = enc, .before_5 = {field, sizeof field}};
    struct ask_issue in = {.address = address,
                           .ssr = sg_make_user(&b, &recipe),
                           .mode = KEYD_ACCOUNT_PARANOID};
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "level-claim");
    account_becomes(address, KEYD_ACCOUNT_ATTEST, 0, KEYD_ACCOUNT_OPEN, true);
    in.mode = KEYD_ACCOUNT_CAUTIOUS;
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "level-claim");
    account_becomes(address, KEYD_ACCOUNT_REVOKE, 0, KEYD_ACCOUNT_OPEN, true);
    in.mode = KEYD_ACCOUNT_PARANOID;
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "level-claim");
    account_becomes(address, KEYD_ACCOUNT_ATTEST, 0, KEYD_ACCOUNT_OPEN, true);
    ask_ends(ask_issue(submit, &in), KEYD_OK, NULL);
    kd_buf_free(&b);
}

struct outcome {
    bool done;
    enum keyd_status status;
    char detail[49];
};

static void
keep_outcome(void *cookie, struct keyd_answer *a)
{
    struct outcome *o = cookie;

    o->done = true;
    o->status = a->status;
    snprintf(o->detail, sizeof o->detail, "%s", a->detail);
    keyd_client_answer_free(a);
}

static void
process_both(const struct outcome *one, const struct outcome *other)
{
    while (!one->done || !other->done) {
        assert_int_equal(keyd_client_process(submit, 0), KEYD_OK);
        assert_int_equal(keyd_client_process(admin, 1), KEYD_OK);
    }
}

/* Sent at the same time; which comes first is the registry's to say, and it never says
 * both: keyd-check looks at the order at the end. */
static void
freeze_in_flight_with_an_issuance_is_decided_by_the_commit(void **state)
{
    unsigned n_issued = 0;

    (void)state;
    for (unsigned i = 0; i < RACES; i++) {
        struct outcome issued = {false}, frozen = {false};
        struct kd_buf b;
        char text[32], address[64];
        snprintf(text, sizeof text, "race %u", i);
        snprintf(address, sizeof address, "race%u@example.com", i);
        struct kd_slice ssr = ssr_of(text, 0, false, &b);
        const struct keyd_request issue = {
            .op = KEYD_OP_ISSUE_USER_SIGNET,
            .in.issue_user_signet = {.address = KEYD_STR(address),
                                     .ssr = {ssr.p, ssr.n},
                                     .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
        const struct keyd_request freeze = {.op = KEYD_OP_FREEZE_ADDRESS,
                                            .in.freeze_address = {KEYD_STR(address),
                                                                  KEYD_ACCOUNT_FREEZE,
                                                                  KEYD_FREEZE_THEFT}};
        assert_int_equal(
            keyd_client_submit(submit, &issue, keep_outcome, &issued, NULL), KEYD_OK);
        assert_int_equal(keyd_client_process(submit, 0), KEYD_OK);
        nap(i % 4 == 0 ? 0 : 1);
        assert_int_equal(
            keyd_client_submit(admin, &freeze, keep_outcome, &frozen, NULL), KEYD_OK);
        process_both(&issued, &frozen);
        assert_int_equal(frozen.status, KEYD_OK);
        struct keyd_answer *a = NULL;
        enum keyd_status found =
            keyd_client_lookup_signet(submit, KEYD_STR(address), KEYD_NONE, &a);
        keyd_client_answer_free(a);
        if (issued.status == KEYD_OK) {
            assert_int_equal(found, KEYD_OK);
            n_issued++;
        } else {
            assert_int_equal(issued.status, KEYD_DENIED);
            assert_string_equal(issued.detail, "address-frozen");
            assert_int_equal(found, KEYD_NOT_FOUND);
        }
        kd_buf_free(&b);
    }
    print_message("%u races: %u issued first, %u frozen first\n", RACES, n_issued,
                  RACES - n_issued);
}

/* --- resets --- */

static void
skip_without_short_delays(void)
{
    if (SHORT_DELAYS)
        return;
    print_message("skipped: this build's reset-delay is 72 hours at least\n");
    skip();
}

static void
T_OP_20_reset_takes_delay_and_approval_and_is_used_once(void **state)
{
    static const char address[] = "carol@example.com";
    struct keyd_answer *a;
    uint8_t old[64], old_root[64];

    (void)state;
    skip_without_short_delays();
    issue_ends(address, "carol", 0, false, KEYD_OK, NULL);
    a = ask(submit, &(struct keyd_request){.op = KEYD_OP_LOOKUP_SIGNET,
                                           .in.lookup_signet.name = KEYD_STR(address)});
    memcpy(old_root, a->out.signet.core_fp.p, 64);
    keyd_client_answer_free(a);
    issue_ends(address, "carol", 1, true, KEYD_OK, NULL);
    a = ask(submit, &(struct keyd_request){.op = KEYD_OP_LOOKUP_SIGNET,
                                           .in.lookup_signet.name = KEYD_STR(address)});
    memcpy(old, a->out.signet.core_fp.p, 64);
    keyd_client_answer_free(a);

    issue_ends(address, "carol anew", 0, false, KEYD_INVALID, "custody-missing");
    a = reset_on(submit, KEYD_RESET_REQUEST, address);
    assert_int_equal(a->status, KEYD_OK);
    assert_true(a->out.resets.changed && a->out.resets.n_resets == 1);
    assert_int_equal(a->out.resets.resets[0].generation, 2);
    assert_in_range(a->out.resets.resets[0].remaining_ms, 1, DELAY_S * 1000);
    keyd_client_answer_free(a);
    a = reset_on(submit, KEYD_RESET_REQUEST, address); /* its delay goes on */
    assert_int_equal(a->status, KEYD_OK);
    assert_false(a->out.resets.changed);
    keyd_client_answer_free(a);
    issue_ends(address, "carol anew", 0, false, KEYD_DENIED, "reset-waiting");
    /* the delay alone does not do, and approving is for operators */
    nap(DELAY_S * 1000 + 100);
    issue_ends(address, "carol anew", 0, false, KEYD_DENIED, "reset-waiting");
    ask_ends(reset_on(submit, KEYD_RESET_APPROVE, address), KEYD_DENIED,
             "operators-only");
    assert_int_equal(ask_counter(&keyd, "resets-pending"), 1);
    reset_done(KEYD_RESET_APPROVE, address);
    issue_ends(address, "carol anew", 0, false, KEYD_OK, NULL);
    assert_int_equal(ask_counter(&keyd, "resets-pending"), 0);
    issue_ends(address, "carol once more", 0, false, KEYD_INVALID, "custody-missing");
    issue_ends(address, "carol anew", 1, true, KEYD_OK, NULL);

    /* generation 2; what was before is found by its fingerprint */
    a = ask(submit, &(struct keyd_request){.op = KEYD_OP_LOOKUP_SIGNET,
                                           .in.lookup_signet.name = KEYD_STR(address)});
    assert_true(a->out.signet.generation == 2 && a->out.signet.seq == 2);
    keyd_client_answer_free(a);
    assert_int_equal(keyd_client_lookup_signet(submit, KEYD_STR(address),
                                               (struct keyd_octets){old, 64}, &a),
                     KEYD_OK);
    assert_true(a->out.signet.generation == 1 && a->out.signet.seq == 2);
    assert_false(a->out.signet.current);
    keyd_client_answer_free(a);
    assert_int_equal(keyd_client_lookup_history(submit, KEYD_STR(address),
                                                (struct keyd_octets){old_root, 64},
                                                KEYD_NONE, KEYD_NONE, &a),
                     KEYD_OK);
    assert_int_equal(a->out.history.n_cores, 2);
    keyd_client_answer_free(a);
    assert_int_equal(keyd_client_lookup_history(submit, KEYD_STR(address), KEYD_NONE,
                                                KEYD_NONE, KEYD_NONE, &a),
                     KEYD_OK);
    assert_int_equal(a->out.history.n_cores, 2); /* of generation 2 */
    keyd_client_answer_free(a);
}

static void
approval_alone_does_not_shorten_the_delay_and_a_restart_does_not_begin_it(void **state)
{
    static const char address[] = "dan@example.com";

    (void)state;
    skip_without_short_delays();
    issue_ends(address, "dan", 0, false, KEYD_OK, NULL);
    int64_t asked = kd_clock_ms();
    reset_done(KEYD_RESET_REQUEST, address);
    reset_done(KEYD_RESET_APPROVE, address);
    issue_ends(address, "dan anew", 0, false, KEYD_DENIED, "reset-waiting");
    restart();
    assert_int_equal(ask_counter(&keyd, "resets-pending"), 1);
    while (kd_clock_ms() - asked < DELAY_S * 1000)
        nap(50);
    /* What the vault counted before the restart and had not told is counted again. */
    struct kd_buf b;
    struct kd_slice ssr = ssr_of("dan anew", 0, false, &b);
    for (int i = 0;; i++) {
        struct keyd_answer *a = ask_plain(submit, address, ssr);
        enum keyd_status status = a->status;
        keyd_client_answer_free(a);
        if (status == KEYD_OK)
            break;
        assert_true(i < (DELAY_S + 2) * 20);
        nap(50);
    }
    kd_buf_free(&b);
}

static void
custody_ends_a_reset(void **state)
{
    static const char address[] = "erin@example.com";

    (void)state;
    issue_ends(address, "erin", 0, false, KEYD_OK, NULL);
    reset_done(KEYD_RESET_REQUEST, address);
    reset_done(KEYD_RESET_APPROVE, address);
    issue_ends(address, "erin", 1, true, KEYD_OK, NULL);
    ask_ends(reset_on(admin, KEYD_RESET_CANCEL, address), KEYD_NOT_FOUND, "no-reset");
    issue_ends(address, "thief of erin", 0, false, KEYD_INVALID, "custody-missing");
    reset_done(KEYD_RESET_REQUEST, address);
    reset_done(KEYD_RESET_CANCEL, address);
    issue_ends(address, "thief of erin", 0, false, KEYD_INVALID, "custody-missing");
}

static void
resets_of_frozen_and_closed_addresses(void **state)
{
    static const char address[] = "frank@example.com";

    (void)state;
    ask_ends(reset_on(admin, KEYD_RESET_REQUEST, "no-signet@example.com"),
             KEYD_NOT_FOUND, "no-signet");
    issue_ends(address, "frank", 0, false, KEYD_OK, NULL);
    /* a theft: frozen first, recovered then */
    account_becomes(address, KEYD_ACCOUNT_FREEZE, KEYD_FREEZE_THEFT,
                    KEYD_ACCOUNT_FROZEN, true);
    reset_done(KEYD_RESET_REQUEST, address);
    issue_ends(address, "frank anew", 0, false, KEYD_DENIED, "address-frozen");
    reset_done(KEYD_RESET_CANCEL, address);
    account_becomes(address, KEYD_ACCOUNT_CLOSE, 0, KEYD_ACCOUNT_CLOSED, true);
    ask_ends(reset_on(admin, KEYD_RESET_REQUEST, address), KEYD_DENIED,
             "address-closed");
}

static void
pending_resets_are_listed_page_by_page(void **state)
{
    enum { N = 40 };
    struct keyd_request q = {.op = KEYD_OP_RESET_ADDRESS,
                             .in.reset_address.action = KEYD_RESET_LIST};
    struct keyd_answer *page = NULL;
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        char address[64], text[32];
        snprintf(address, sizeof address, "list%02u@example.com", i);
        snprintf(text, sizeof text, "list %u", i);
        issue_ends(address, text, 0, false, KEYD_OK, NULL);
        reset_done(KEYD_RESET_REQUEST, address);
    }
    do {
        struct keyd_answer *next = ask(admin, &q);
        keyd_client_answer_free(page);
        page = next;
        assert_int_equal(page->status, KEYD_OK);
        assert_true(page->out.resets.n_resets <= 32);
        for (size_t i = 0; i < page->out.resets.n_resets; i++) {
            char address[64];
            snprintf(address, sizeof address, "list%02u@example.com", n++);
            assert_true(kd_slice_eq(ask_slice(page->out.resets.resets[i].address),
                                    kd_slice_str(address)));
        }
        q.in.reset_address.address = page->out.resets.next;
    } while (page->out.resets.next.n != 0);
    keyd_client_answer_free(page);
    assert_int_equal(n, N);
    assert_int_equal(ask_counter(&keyd, "resets-pending"), N);
}

/* --- tickets: on a daemon whose domain wants them --- */

static struct kd_buf
ticket_of(const char *address, struct kd_slice ssr, enum kd_ticket_purpose purpose,
          uint64_t expires_ms)
{
    struct dime_signet s;
    enum dime_reason why;
    struct kd_ticket t = {
        .address = kd_slice_str(address), .purpose = purpose, .expires_ms = expires_ms};
    uint8_t sig[64];
    struct kd_buf b;

    assert_int_equal(dime_signet_parse_as(DIME_SSR, ssr, &s, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_REQUEST, t.request), KD_OK);
    kd_ticket_key_id(account_key, t.key_id);
    kd_buf_init(&b, KD_TICKET_MAX);
    assert_int_equal(kd_ticket_encode(&t, &b), KD_OK);
    assert_int_equal(
        dime_ed25519_sign(account_seed, account_key, kd_buf_slice(&b), sig), KD_OK);
    kd_buf_put(&b, kd_slice(sig, sizeof sig));
    return b;
}

static void
issue_with(const char *address, struct kd_slice ssr, struct kd_slice ticket,
           enum keyd_status status, const char *detail)
{
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL,
                                 .ticket = {ticket.p, ticket.n}}};

    ask_ends(ask(submit, &q), status, detail);
}

static uint64_t
in_a_minute(void)
{
    return (uint64_t)kd_clock_wall_ms() + 60000;
}

static void
first_signet_takes_a_ticket_for_just_this_request(void **state)
{
    static const char address[] = "gina@example.com";
    const struct kd_slice none = kd_slice(NULL, 0);
    struct kd_buf b, other, next;
    struct kd_slice ssr = ssr_of("gina", 0, false, &b);
    struct kd_slice another = ssr_of("not gina", 0, false, &other);
    struct kd_buf good = ticket_of(address, ssr, KD_TICKET_FOR_FIRST, in_a_minute());
    struct kd_buf bad[] = {
        ticket_of(address, another, KD_TICKET_FOR_FIRST, in_a_minute()),
        ticket_of("mallory@example.com", ssr, KD_TICKET_FOR_FIRST, in_a_minute()),
        ticket_of(address, ssr, KD_TICKET_FOR_RESET, in_a_minute()),
        ticket_of(address, ssr, KD_TICKET_FOR_FIRST, 1),
    };

    (void)state;
    issue_with(address, ssr, none, KEYD_DENIED, "ticket-needed");
    for (size_t i = 0; i < 3; i++)
        issue_with(address, ssr, kd_buf_slice(&bad[i]), KEYD_DENIED, "ticket-mismatch");
    issue_with(address, ssr, kd_buf_slice(&bad[3]), KEYD_DENIED, "ticket-expired");
    good.p[good.n - 1] ^= 1;
    issue_with(address, ssr, kd_buf_slice(&good), KEYD_DENIED, "ticket-bad");
    good.p[good.n - 1] ^= 1;
    issue_with(address, ssr, kd_slice(good.p, good.n - 1), KEYD_DENIED, "ticket-bad");
    issue_with(address, ssr, kd_buf_slice(&good), KEYD_OK, NULL);
    issue_with(address, ssr, none, KEYD_OK, NULL); /* it was issued: the same again */
    /* a step with custody has its owner's word */
    struct kd_slice step = ssr_of("gina", 1, true, &next);
    struct kd_buf late = ticket_of(address, step, KD_TICKET_FOR_FIRST, in_a_minute());
    issue_with(address, step, kd_buf_slice(&late), KEYD_DENIED, "ticket-mismatch");
    issue_with(address, step, none, KEYD_OK, NULL);
    kd_buf_free(&late);
    kd_buf_free(&next);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        kd_buf_free(&bad[i]);
    kd_buf_free(&good);
    kd_buf_free(&b);
    kd_buf_free(&other);
}

static void
new_chain_takes_a_ticket_for_a_reset(void **state)
{
    static const char address[] = "gina@example.com";
    struct kd_buf b;
    struct kd_slice ssr = ssr_of("gina anew", 0, false, &b);
    struct kd_buf first = ticket_of(address, ssr, KD_TICKET_FOR_FIRST, in_a_minute());
    struct kd_buf reset = ticket_of(address, ssr, KD_TICKET_FOR_RESET, in_a_minute());

    (void)state;
    skip_without_short_delays();
    reset_done(KEYD_RESET_REQUEST, address);
    reset_done(KEYD_RESET_APPROVE, address);
    nap(DELAY_S * 1000 + 100);
    issue_with(address, ssr, kd_slice(NULL, 0), KEYD_DENIED, "ticket-needed");
    issue_with(address, ssr, kd_buf_slice(&first), KEYD_DENIED, "ticket-mismatch");
    issue_with(address, ssr, kd_buf_slice(&reset), KEYD_OK, NULL);
    kd_buf_free(&first);
    kd_buf_free(&reset);
    kd_buf_free(&b);
}

/* --- the kill switch --- */

enum { WORKERS = 8 };

/* Of the parent and its workers; times on CLOCK_MONOTONIC, ns. */
struct shared {
    _Atomic int64_t stopped_at; /* when StopPrincipal was answered; 0: not yet */
    struct {
        _Atomic int64_t last_good; /* when the last request that was served was sent */
        _Atomic int64_t first_refused; /* when the first refusal was there */
        _Atomic unsigned n_good, n_refused;
        _Atomic bool told; /* the open connection was told why */
    } worker[WORKERS];
};

static void
become(uid_t uid)
{
    if (setgroups(0, NULL) != 0 ||
        setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) ||
        setresuid(uid, uid, uid) != 0)
        _exit(99);
}

/* One request: a look-up, or for odd workers an issuance of its own address. */
static enum keyd_status
worker_asks(keyd_client *c, unsigned i, unsigned n)
{
    struct keyd_answer *a = NULL;
    struct person_keys own;
    struct kd_buf b;
    char address[64];
    enum keyd_status s;

    if (i % 2 == 0) {
        s = keyd_client_lookup_signet(c, KEYD_STR("example.com"), KEYD_NONE, &a);
        keyd_client_answer_free(a);
        return s;
    }
    snprintf(address, sizeof address, "w%u-%u@example.com", i, n);
    person_keys("worker", i * 100000 + n, 0, &own);
    kd_buf_init(&b, PERSON_SSR_MAX);
    if (person_ssr(&own, NULL, &b) != KD_OK)
        _exit(98);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {b.p, b.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    s = keyd_client_call(c, &q, &a);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
    return s;
}

static void
worker_notes(struct shared *sh, unsigned i, int64_t sent, bool good)
{
    if (good) {
        sh->worker[i].last_good = sent;
        sh->worker[i].n_good++;
        return;
    }
    sh->worker[i].n_refused++;
    if (sh->worker[i].first_refused == 0)
        sh->worker[i].first_refused = kd_clock_ns();
}

/* Asks on and on, connecting anew when it is thrown out, until ten refusals have come
 * after the answer of StopPrincipal. */
static void
worker_main(struct shared *sh, unsigned i)
{
    char path[108];

    become(DAEMON_SUBMITD);
    daemon_socket(&keyd, "submission", path);
    for (unsigned n = 0, late = 0; late < 10 && n < 200000;) {
        keyd_client *c = keyd_client_new();
        int64_t sent = kd_clock_ns();
        if (c == NULL)
            _exit(97);
        enum keyd_status s = keyd_client_connect(c, path, 5000);
        while (s == KEYD_OK) {
            sent = kd_clock_ns();
            s = worker_asks(c, i, n++);
            if (s == KEYD_OK)
                worker_notes(sh, i, sent, true);
        }
        if (strcmp(keyd_client_detail(c), "principal-stopped") == 0)
            sh->worker[i].told = true;
        worker_notes(sh, i, sent, false);
        late += sh->stopped_at != 0 && sent > sh->stopped_at;
        keyd_client_free(c);
    }
    _exit(0);
}

static pid_t
worker_start(struct shared *sh, unsigned i)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        worker_main(sh, i);
    assert_true(pid > 0);
    return pid;
}

static void
report(const struct shared *sh)
{
    unsigned good = 0;
    int64_t first = INT64_MAX, last_good = 0;

    for (unsigned i = 0; i < WORKERS; i++) {
        good += sh->worker[i].n_good;
        if (sh->worker[i].last_good > last_good)
            last_good = sh->worker[i].last_good;
        if (sh->worker[i].first_refused < first)
            first = sh->worker[i].first_refused;
        assert_true(sh->worker[i].n_good > 0);
        assert_true(sh->worker[i].n_refused >= 10);
        if (sh->worker[i].last_good >= sh->stopped_at)
            fail_msg("worker %u: a request sent %lld us after the answer was served", i,
                     (long long)(sh->worker[i].last_good - sh->stopped_at) / 1000);
        assert_true(sh->worker[i].told);
    }
    print_message(
        "stopped under load: %u requests served; the last that was served was "
        "sent %lld us before the answer, the first refusal was there %lld us "
        "%s it\n",
        good, (long long)(sh->stopped_at - last_good) / 1000,
        (long long)llabs((long long)(sh->stopped_at - first)) / 1000,
        first < sh->stopped_at ? "before" : "after");
}

static void
no_request_is_accepted_after_the_answer_of_stop(void **state)
{
    struct shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[WORKERS];

    (void)state;
    assert_true(sh != MAP_FAILED);
    if (geteuid() != 0) {
        print_message("skipped: needs root to become another principal\n");
        skip();
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = worker_start(sh, i);
    for (unsigned i = 0; i < WORKERS; i++)
        while (sh->worker[i].n_good < 20)
            nap(1);
    struct keyd_answer *a = stop_on(admin, KEYD_STOP_STOP, "submitd");
    sh->stopped_at = kd_clock_ns();
    assert_int_equal(a->status, KEYD_OK);
    assert_true(a->out.stopped.changed && a->out.stopped.n_stopped == 1);
    keyd_client_answer_free(a);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(daemon_reap(pids[i], 60000), 0);
    report(sh);
    munmap(sh, sizeof *sh);
    /* others go on */
    issue_ends("helen@example.com", "helen", 0, false, KEYD_OK, NULL);
}

/* As submitd: 0 if a look-up is served, 1 if it is told that it is stopped. */
static int
submitd_is_stopped(void)
{
    char path[108];
    keyd_client *c = keyd_client_new();

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        become(DAEMON_SUBMITD);
        daemon_socket(&keyd, "submission", path);
        enum keyd_status s = keyd_client_connect(c, path, 5000);
        if (s == KEYD_OK)
            s = worker_asks(c, 0, 0);
        _exit(s == KEYD_OK                                              ? 0
              : strcmp(keyd_client_detail(c), "principal-stopped") == 0 ? 1
                                                                        : 2);
    }
    keyd_client_free(c);
    return daemon_reap(pid, 30000);
}

static void
stop_lasts_until_it_is_allowed_again(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(submitd_is_stopped(), 1);
    restart();
    assert_int_equal(submitd_is_stopped(), 1);
    assert_int_equal(ask_counter(&keyd, "principals-stopped"), 1);
    /* a new vault, the same gates; then new gates, the same vault */
    pid_t vault = daemon_role(&keyd, KEYD_PROCESS_VAULT, "");
    assert_int_equal(kill(vault, SIGKILL), 0);
    assert_true(daemon_wait(&keyd, RESTART_MS));
    assert_int_equal(submitd_is_stopped(), 1);
    pid_t gate = daemon_role(&keyd, KEYD_PROCESS_GATE, "submission");
    assert_int_equal(kill(gate, SIGKILL), 0);
    nap(200);
    assert_int_equal(submitd_is_stopped(), 1);
    disconnect_all();
    assert_true(daemon_wait(&keyd, RESTART_MS));
    connect_all();
    struct keyd_answer *a = stop_on(admin, KEYD_STOP_ALLOW, "submitd");
    assert_int_equal(a->status, KEYD_OK);
    assert_true(a->out.stopped.changed && a->out.stopped.n_stopped == 0);
    keyd_client_answer_free(a);
    assert_int_equal(submitd_is_stopped(), 0);
    a = stop_on(admin, KEYD_STOP_ALLOW, "submitd");
    ask_ends(a, KEYD_NOT_FOUND == a->status ? KEYD_NOT_FOUND : KEYD_OK, NULL);
}

static void
who_can_be_stopped(void **state)
{
    char own[32];

    (void)state;
    ask_ends(stop_on(admin, KEYD_STOP_STOP, "nobody-here"), KEYD_NOT_FOUND,
             "no-such-principal");
    ask_ends(stop_on(admin, KEYD_STOP_STOP, "NOT A NAME"), KEYD_NOT_FOUND,
             "no-such-principal");
    snprintf(own, sizeof own, "caller-%s", "admin");
    ask_ends(stop_on(admin, KEYD_STOP_STOP, own), KEYD_INVALID, "own-principal");
    /* of this very uid, on another listener */
    ask_ends(stop_on(admin, KEYD_STOP_STOP, "caller-submission"), KEYD_OK, NULL);
    struct keyd_answer *a = NULL;
    enum keyd_status s =
        keyd_client_lookup_signet(submit, KEYD_STR("example.com"), KEYD_NONE, &a);
    assert_true(s == KEYD_DENIED || s == KEYD_UNAVAILABLE);
    keyd_client_answer_free(a);
    ask_ends(stop_on(admin, KEYD_STOP_ALLOW, "caller-submission"), KEYD_OK, NULL);
    disconnect_all();
    connect_all();
    issue_ends("ida@example.com", "ida", 0, false, KEYD_OK, NULL);
}

/* --- kill -9 --- */

/* Kills one of the roles a moment from now. */
static pid_t
killer_start(unsigned round)
{
    static const char *const names[] = {"keyd-vault", "keyd-ledger", "keyd-gate"};
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&keyd, list, DAEMON_CHILDREN_MAX);
    unsigned us = randombytes_uniform(4000);
    pid_t victim = 0;

    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, names[round % 3]) == 0)
            victim = list[i].pid;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(us);
        if (victim != 0)
            kill(victim, SIGKILL);
        _exit(0);
    }
    return pid;
}

/* The same request with the same key, until it is known what became of it. */
static void
until_it_is_done(struct keyd_request *q)
{
    uint8_t key[KEYD_KEY_SIZE];
    char path[108];

    randombytes_buf(key, sizeof key);
    q->idempotency_key = key;
    daemon_socket(&keyd, "admin", path);
    for (int64_t since = kd_clock_ms();;) {
        keyd_client *c = keyd_client_new();
        struct keyd_answer *a = NULL;
        enum keyd_status s = keyd_client_connect(c, path, 2000);
        if (s == KEYD_OK)
            s = keyd_client_call(c, q, &a);
        char detail[49] = "";
        if (a != NULL)
            snprintf(detail, sizeof detail, "%s", a->detail);
        keyd_client_answer_free(a);
        keyd_client_free(c);
        if (s == KEYD_OK)
            return;
        if (s == KEYD_INVALID || s == KEYD_DENIED || s == KEYD_CONFLICT ||
            s == KEYD_NOT_FOUND || s == KEYD_FAILED)
            fail_msg("%s (%s)", keyd_client_status_text(s), detail);
        assert_true(kd_clock_ms() - since < 30000);
        nap(2);
    }
}

/* What was acknowledged last of each. */
static void
assert_stands(enum keyd_account_state state, bool stopped, bool pending)
{
    assert_true(daemon_wait(&keyd, RESTART_MS));
    connect_all();
    account_becomes("crash@example.com", KEYD_ACCOUNT_SHOW, 0, state, false);
    struct keyd_answer *a = stop_on(admin, KEYD_STOP_LIST, "");
    assert_int_equal(a->out.stopped.n_stopped, stopped);
    keyd_client_answer_free(a);
    a = reset_on(admin, KEYD_RESET_LIST, "");
    bool found = false;
    for (size_t i = 0; i < a->out.resets.n_resets; i++)
        found |= kd_slice_eq(ask_slice(a->out.resets.resets[i].address),
                             kd_slice_str("crash@example.com"));
    assert_int_equal(found, pending);
    keyd_client_answer_free(a);
    disconnect_all();
}

static void
kill_9_during_freeze_stop_and_reset_loses_nothing_acknowledged(void **state)
{
    const struct keyd_octets address = KEYD_STR("crash@example.com");
    size_t rounds = test_rounds(KILLS_WHOLE);

    (void)state;
    issue_ends("crash@example.com", "crash", 0, false, KEYD_OK, NULL);
    disconnect_all();
    bool on = false;
    for (unsigned i = 0; i < rounds; i++) {
        on = !on;
        struct keyd_request q[] = {
            {.op = KEYD_OP_FREEZE_ADDRESS,
             .in.freeze_address = {address,
                                   on ? KEYD_ACCOUNT_FREEZE : KEYD_ACCOUNT_THAW,
                                   on ? KEYD_FREEZE_OTHER : KEYD_FREEZE_NONE}},
            {.op = KEYD_OP_STOP_PRINCIPAL,
             .in.stop_principal = {on ? KEYD_STOP_STOP : KEYD_STOP_ALLOW, KEYD_NONE,
                                   KEYD_STR("foreign")}},
            {.op = KEYD_OP_RESET_ADDRESS,
             .in.reset_address = {on ? KEYD_RESET_REQUEST : KEYD_RESET_CANCEL,
                                  address}},
        };
        pid_t killer = killer_start(i);
        for (size_t k = 0; k < sizeof q / sizeof *q; k++)
            until_it_is_done(&q[k]);
        assert_int_equal(daemon_reap(killer, 10000), 0);
        assert_stands(on ? KEYD_ACCOUNT_FROZEN : KEYD_ACCOUNT_OPEN, on, on);
    }
    connect_all();
    print_message("%zu kills during freeze, stop and reset\n", rounds);
}

/* --- the whole --- */

static void
check_registry_of(const struct daemon *d)
{
    const char *const arguments[] = {d->state, NULL};
    int checked =
        daemon_reap(daemon_spawn(d, "keyd-check", "check.out", arguments), 120000);

    if (checked != 0) {
        char path[160], line[512];
        snprintf(path, sizeof path, "%s/check.out", d->dir);
        FILE *f = fopen(path, "re");
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            fputs(line, stderr);
        if (f != NULL)
            fclose(f);
    }
    assert_int_equal(checked, 0);
}

static int
start_with(const char *tickets)
{
    static char in_domain[400];
    char key[64], delay[40] = "";

    sodium_bin2base64(key, sizeof key, account_key, sizeof account_key,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    if (SHORT_DELAYS)
        snprintf(delay, sizeof delay, " reset-delay = %d\n", DELAY_S);
    snprintf(in_domain, sizeof in_domain,
             " account-key = { \"%s\" }\n require-ticket = %s\n%s"
             " issue-profile-fields = { 16 }",
             key, tickets, delay);
    const struct daemon_options options = {.in_domain = in_domain};
    if (!daemon_start(&keyd, &options) || !daemon_provision(&keyd, NULL))
        return 1;
    connect_all();
    return 0;
}

static int
end(void **state)
{
    (void)state;
    disconnect_all();
    int status = daemon_stop(&keyd);
    check_registry_of(&keyd);
    daemon_clear(&keyd);
    return status;
}

static int
start_open(void **state)
{
    (void)state;
    return start_with("none");
}

static int
start_strict(void **state)
{
    (void)state;
    return start_with("both");
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest accounts[] = {
        cmocka_unit_test(frozen_address_is_denied_and_still_looked_up),
        cmocka_unit_test(address_without_a_signet_can_be_frozen_and_closed_for_ever),
        cmocka_unit_test(submission_may_freeze_but_not_thaw),
        cmocka_unit_test(same_key_again_changes_nothing_and_is_answered_again),
        cmocka_unit_test(T_OP_19_level_eci_takes_an_attestation),
        cmocka_unit_test(freeze_in_flight_with_an_issuance_is_decided_by_the_commit),
        cmocka_unit_test(T_OP_20_reset_takes_delay_and_approval_and_is_used_once),
        cmocka_unit_test(
            approval_alone_does_not_shorten_the_delay_and_a_restart_does_not_begin_it),
        cmocka_unit_test(custody_ends_a_reset),
        cmocka_unit_test(resets_of_frozen_and_closed_addresses),
        cmocka_unit_test(pending_resets_are_listed_page_by_page),
        cmocka_unit_test(no_request_is_accepted_after_the_answer_of_stop),
        cmocka_unit_test(stop_lasts_until_it_is_allowed_again),
        cmocka_unit_test(who_can_be_stopped),
        cmocka_unit_test(
            kill_9_during_freeze_stop_and_reset_loses_nothing_acknowledged),
    };
    const struct CMUnitTest tickets[] = {
        cmocka_unit_test(first_signet_takes_a_ticket_for_just_this_request),
        cmocka_unit_test(new_chain_takes_a_ticket_for_a_reset),
    };

    suite_begin(argc, argv);
    if (kd_secret_setup(65536) != KD_OK)
        return 1;
    memset(account_seed, 0x41, sizeof account_seed);
    dime_ed25519_public(account_seed, account_key);
    int failed = cmocka_run_group_tests(accounts, start_open, end);
    return failed + cmocka_run_group_tests(tickets, start_strict, end);
}
