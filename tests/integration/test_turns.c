/* The steps of a reload (job.h, enum kd_turn) and of a request, with the test as the
 * supervisor, the ledger and the gates of a vault, and as the supervisor of a gate. */
#include "peer.h"
#include "people.h"
#include "shape.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/job/reasons.h>
#include <keyd/job/state.h>
#include <keyd/ledger/audit.h>

#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WORKERS = 4, /* role.h: gates of a class */
    ADMIN = KD_CLASS_ADMIN * WORKERS,
    SUBMISSION = KD_CLASS_SUBMISSION * WORKERS,
};

enum { ACCOUNTS_UID = 61030 };
static const struct shape may_issue = {
    .issue = true,
    .sections =
        "principal \"accounts\" {\n uid = 61030\n class = \"submission\"\n"
        " operations = { \"FreezeAddress\" }\n domains = { \"example.com\" }\n}"};
static const struct shape may_look_up = {.lookup = true};

static struct daemon keyd; /* its directory and configuration; it never runs */
static struct peer vault;
static struct peer_link ledger, admin, submission;
static struct kd_conf *first;
static uint64_t next_job;
/* --- the supervisor --- */

static struct kd_conf *
conf_of(const struct shape *s)
{
    shape_write(&keyd, shape_text(s));
    return peer_conf(&keyd);
}

static int
memfd_of(struct kd_slice octets)
{
    int fd = -1;

    assert_int_equal(kd_memfd_seal(octets, &fd), KD_OK);
    return fd;
}

/* What a vault is told of it. */
static int
for_vault(const struct kd_conf *conf, uint8_t hash[32])
{
    struct kd_conf_for_vault c;
    struct kd_buf b;

    assert_int_equal(kd_conf_for_vault_make(conf, &c), KD_OK);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_vault_encode(&c, &b);
    assert_int_equal(b.err, KD_OK);
    if (hash != NULL)
        crypto_hash_sha256(hash, b.p, b.n);
    int fd = memfd_of(kd_buf_slice(&b));
    kd_conf_for_vault_clear(&c);
    kd_buf_free(&b);
    return fd;
}

static int
for_gate(const struct kd_conf *conf, enum kd_class klass)
{
    struct kd_conf_for_gate c;
    struct kd_buf b;

    assert_int_equal(kd_conf_for_gate_make(conf, klass, &c), KD_OK);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_gate_encode(&c, &b);
    int fd = memfd_of(kd_buf_slice(&b));
    kd_conf_for_gate_clear(&c);
    kd_buf_free(&b);
    return fd;
}

static void
turn(struct peer *p, enum kd_turn step, uint32_t serial, int fd)
{
    const struct kd_ctl_turn m = {.turn = (uint8_t)step, .serial = serial};

    LINK_PUT(&p->ctl, ctl_turn, &m, fd);
}

/* The answer to that step. */
static kd_err
turned(struct peer *p, enum kd_turn step, uint32_t serial)
{
    struct kd_ctl_turned m;
    struct message *message = link_expect(&p->ctl, KD_MSG_ctl_turned);

    assert_int_equal(kd_ctl_turned_get(message->body, &m), KD_OK);
    message_free(message);
    assert_int_equal(m.turn, step);
    assert_int_equal(m.serial, serial);
    return (kd_err)m.err;
}

/* --- the gates --- */

static kd_err
done(struct peer_link *gate, uint64_t id, struct kd_buf *body)
{
    struct kd_done m;
    struct message *message = link_expect(gate, KD_MSG_done);

    assert_int_equal(kd_done_get(message->body, &m), KD_OK);
    assert_int_equal(m.id, id);
    if (body != NULL)
        kd_buf_put(body, m.body);
    message_free(message);
    return (kd_err)m.err;
}

static void
put_job(struct peer_link *gate, enum kd_op op, uint32_t conf, struct kd_slice body)
{
    const struct kd_job job = {.id = ++next_job,
                               .op = (uint8_t)op,
                               .conf = conf,
                               .uid = geteuid(),
                               .deadline = (uint64_t)kd_clock_ms() + 60000,
                               .body = body};

    LINK_PUT(gate, job, &job, -1);
}

/* An issuance under a configuration: SEALED for who may issue (there is no key store),
 * DENIED for who may not. */
static kd_err
issue_under(uint32_t conf)
{
    struct kd_buf ssr, b;

    kd_buf_init(&b, KD_JOB_BODY_MAX);
    person_request("turns", next_job, &ssr);
    const struct kd_issue_job m = {.address = kd_slice_str("turns@example.com"),
                                   .ssr = kd_buf_slice(&ssr)};
    kd_issue_job_put(&b, &m);
    put_job(&submission, KD_OP_IssueUserSignet, conf, kd_buf_slice(&b));
    kd_buf_free(&b);
    kd_buf_free(&ssr);
    return done(&submission, next_job, NULL);
}

static void
status_under(uint32_t conf, struct kd_buf *body, struct kd_status_done *m)
{
    kd_buf_init(body, KD_JOB_BODY_MAX);
    put_job(&admin, KD_OP_Status, conf, kd_slice(NULL, 0));
    assert_int_equal(done(&admin, next_job, body), KD_OK);
    assert_int_equal(kd_status_done_get(kd_buf_slice(body), m), KD_OK);
}

/* --- the ledger --- */

static struct kd_ack last; /* of the last record */

static void
next_record(struct kd_audit_record *r)
{
    struct kd_commit m;
    struct message *message = link_expect(&ledger, KD_MSG_commit);

    assert_int_equal(kd_commit_get(message->body, &m), KD_OK);
    assert_int_equal(kd_audit_decode(m.record, r), KD_OK);
    last = (struct kd_ack){.epoch = r->epoch, .seq = r->seq, .outcome = KD_OK};
    kd_audit_hash(m.record, last.hash);
    message_free(message);
}

static int
start_with(const char *stopped_at_first)
{
    const struct daemon_options options = {.sealed = true};
    const struct kd_ledger_ready ready = {0};
    struct kd_ledger_accounts accounts = {.uptime = 1000};
    struct kd_ledger_state stands = {0};
    struct kd_audit_record r;
    struct kd_buf stopped;

    next_job = 0;
    if (!daemon_prepare(&keyd, &options))
        return -1;
    shape_init(&keyd);
    first = conf_of(&may_issue);
    randombytes_buf(stands.instance, sizeof stands.instance);
    kd_buf_init(&stopped, 1024);
    if (stopped_at_first != NULL)
        kd_list_put(&stopped, kd_slice_str(stopped_at_first));
    accounts.stopped = kd_buf_slice(&stopped);
    peer_start(&vault, KD_ROLE_VAULT, KD_CLASS_ADMIN, &keyd, first);
    turn(&vault, KD_TURN_NUMBER, 1, -1);
    peer_join(&vault, &admin, KD_LINK_GATE, ADMIN);
    peer_join(&vault, &submission, KD_LINK_GATE, SUBMISSION);
    peer_join(&vault, &ledger, KD_LINK_LEDGER, 0);
    LINK_PUT(&ledger, ledger_state, &stands, -1);
    LINK_PUT(&ledger, ledger_accounts, &accounts, -1);
    LINK_PUT(&ledger, ledger_ready, &ready, -1);
    next_record(&r);
    kd_buf_free(&stopped);
    return r.op == KD_AUDIT_START ? 0 : -1;
}

static int
start(void **state)
{
    (void)state;
    return start_with(NULL);
}

static int
start_with_one_stopped(void **state)
{
    (void)state;
    return start_with("submission:caller-submission");
}

static int
stop(void **state)
{
    (void)state;
    bool lives = peer_lives(&vault);
    link_clear(&admin);
    link_clear(&submission);
    link_clear(&ledger);
    int status = peer_stop(&vault);
    kd_conf_free(first);
    daemon_clear(&keyd);
    return lives && status == 0 ? 0 : -1;
}

/* Answers the question about an account: there is nothing against it. */
static void
tell_account(void)
{
    const struct kd_account_part open = {.generation = 1};
    struct kd_told_account m = {.err = KD_OK};
    struct kd_ask_account asked;
    struct message *message = link_expect(&ledger, KD_MSG_ask_account);
    struct kd_buf part;

    assert_int_equal(kd_ask_account_get(message->body, &asked), KD_OK);
    message_free(message);
    kd_buf_init(&part, 64);
    kd_account_part_put(&part, &open);
    m.tag = asked.tag;
    m.account = kd_buf_slice(&part);
    LINK_PUT(&ledger, told_account, &m, -1);
    kd_buf_free(&part);
}

/* --- the vault --- */

static void
each_job_is_decided_under_the_configuration_its_gate_took_it_under(void **state)
{
    struct kd_conf *next = conf_of(&may_look_up);

    (void)state;
    assert_int_equal(issue_under(1), KD_SEALED);
    assert_int_equal(issue_under(0), KD_UNAVAILABLE); /* there never was one */
    turn(&vault, KD_TURN_PREPARE, 2, for_vault(next, NULL));
    assert_int_equal(turned(&vault, KD_TURN_PREPARE, 2), KD_OK);
    /* Prepared is not in force, whatever a gate says. */
    assert_int_equal(issue_under(2), KD_UNAVAILABLE);
    assert_int_equal(issue_under(1), KD_SEALED);
    turn(&vault, KD_TURN_TAKE, 2, -1);
    assert_int_equal(turned(&vault, KD_TURN_TAKE, 2), KD_OK);
    assert_int_equal(issue_under(2), KD_DENIED);
    assert_int_equal(issue_under(1), KD_SEALED); /* a gate that has not heard yet */
    assert_int_equal(issue_under(3), KD_UNAVAILABLE);
    turn(&vault, KD_TURN_FINISH, 2, -1);
    assert_int_equal(issue_under(1), KD_SEALED); /* still on its way */
    /* A gate that claims so for ever gains some seconds. */
    int64_t until = kd_clock_ms() + 8000;
    while (issue_under(1) != KD_UNAVAILABLE) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, 100)); /* between two tries */
    }
    assert_int_equal(issue_under(2), KD_DENIED);
    kd_conf_free(next);
}

/* A gate may claim to have taken the job before. */
static void
who_is_stopped_and_then_gone_is_not_served_under_what_was_before(void **state)
{
    static const struct shape without = {.is_gone = true};
    struct kd_conf *next = conf_of(&without);

    (void)state;
    assert_int_equal(issue_under(1), KD_DENIED);
    turn(&vault, KD_TURN_PREPARE, 2, for_vault(next, NULL));
    assert_int_equal(turned(&vault, KD_TURN_PREPARE, 2), KD_OK);
    turn(&vault, KD_TURN_TAKE, 2, -1);
    assert_int_equal(turned(&vault, KD_TURN_TAKE, 2), KD_OK);
    assert_int_equal(issue_under(2), KD_DENIED);
    assert_int_equal(issue_under(1), KD_DENIED);
    kd_conf_free(next);
}

static void
several_changes_in_a_row_are_kept_apart(void **state)
{
    struct kd_conf *denies = conf_of(&may_look_up), *allows = conf_of(&may_issue);

    (void)state;
    for (uint32_t serial = 2; serial < 12; serial++) {
        turn(&vault, KD_TURN_PREPARE, serial,
             for_vault(serial % 2 == 0 ? denies : allows, NULL));
        turn(&vault, KD_TURN_TAKE, serial, -1);
        assert_int_equal(turned(&vault, KD_TURN_PREPARE, serial), KD_OK);
        assert_int_equal(turned(&vault, KD_TURN_TAKE, serial), KD_OK);
        turn(&vault, KD_TURN_FINISH, serial, -1);
    }
    for (uint32_t serial = 1; serial < 12; serial++)
        assert_int_equal(issue_under(serial), serial % 2 == 0 ? KD_DENIED : KD_SEALED);
    kd_conf_free(denies);
    kd_conf_free(allows);
}

static void
what_does_not_decode_is_refused_and_changes_nothing(void **state)
{
    static const uint8_t nonsense[] = "\2\1\0\0 and so on";

    (void)state;
    turn(&vault, KD_TURN_PREPARE, 2, -1);
    assert_true(turned(&vault, KD_TURN_PREPARE, 2) != KD_OK);
    turn(&vault, KD_TURN_PREPARE, 3, memfd_of(kd_slice(nonsense, sizeof nonsense)));
    assert_true(turned(&vault, KD_TURN_PREPARE, 3) != KD_OK);
    turn(&vault, KD_TURN_PREPARE, 4, for_gate(first, KD_CLASS_ADMIN)); /* another's */
    assert_true(turned(&vault, KD_TURN_PREPARE, 4) != KD_OK);
    turn(&vault, KD_TURN_SHADOW, 5, memfd_of(kd_slice(nonsense, sizeof nonsense)));
    assert_true(turned(&vault, KD_TURN_SHADOW, 5) != KD_OK);
    turn(&vault, KD_TURN_PREPARE, 6, open("/dev/null", O_RDONLY | O_CLOEXEC));
    assert_true(turned(&vault, KD_TURN_PREPARE, 6) != KD_OK);
    turn(&vault, KD_TURN_DROP, 6, -1);
    assert_int_equal(issue_under(1), KD_SEALED);
}

static void
a_change_is_recorded_with_what_was_taken(void **state)
{
    struct kd_conf *next = conf_of(&may_look_up);
    struct kd_audit_record r;
    uint8_t hash[32];

    (void)state;
    turn(&vault, KD_TURN_PREPARE, 2, for_vault(next, hash));
    turn(&vault, KD_TURN_TAKE, 2, -1);
    assert_int_equal(turned(&vault, KD_TURN_PREPARE, 2), KD_OK);
    assert_int_equal(turned(&vault, KD_TURN_TAKE, 2), KD_OK);
    next_record(&r);
    assert_int_equal(r.op, KD_AUDIT_RELOAD);
    assert_int_equal(r.n_digests, 2);
    assert_memory_equal(r.digests[0], hash, sizeof hash);
    assert_memory_equal(r.digests[1], next->digest, sizeof hash);
    kd_conf_free(next);
}

/* The account is frozen, and what is asked then, for the answer, nobody answers. */
static void
what_was_recorded_is_never_said_not_to_be_done(void **state)
{
    const struct kd_freeze_job freeze = {.address = kd_slice_str("turns@example.com"),
                                         .action = KD_ACCOUNT_FREEZE,
                                         .reason = KD_FREEZE_THEFT};
    struct kd_audit_record r;
    struct kd_buf body;

    (void)state;
    LINK_PUT(&ledger, ack, &last, -1);
    kd_buf_init(&body, 512);
    kd_freeze_job_put(&body, &freeze);
    const struct kd_job job = {.id = ++next_job,
                               .op = KD_OP_FreezeAddress,
                               .conf = 1,
                               .uid = ACCOUNTS_UID,
                               .deadline = (uint64_t)kd_clock_ms() + 1500,
                               .has_key = 1,
                               .key = {7},
                               .body = kd_buf_slice(&body)};
    LINK_PUT(&submission, job, &job, -1);
    tell_account();
    next_record(&r);
    assert_int_equal(r.op, KD_AUDIT_FREEZE_ADDRESS);
    LINK_PUT(&ledger, ack, &last, -1);
    message_free(link_expect(&ledger, KD_MSG_ask_account));
    assert_int_equal(done(&submission, next_job, NULL), KD_UNKNOWN);
    kd_buf_free(&body);
}

/* Under it nothing was decided: START tells, when the ledger is there. */
static void
a_change_before_the_ledger_spoke_needs_no_record_of_its_own(void **state)
{
    struct kd_conf *next;
    struct kd_audit_record r;
    struct peer_link l;
    struct peer p;
    uint8_t hash[32];

    (void)state;
    next = conf_of(&may_look_up);
    peer_start(&p, KD_ROLE_VAULT, KD_CLASS_ADMIN, &keyd, first);
    turn(&p, KD_TURN_PREPARE, 2, for_vault(next, hash));
    turn(&p, KD_TURN_TAKE, 2, -1);
    assert_int_equal(turned(&p, KD_TURN_PREPARE, 2), KD_OK);
    assert_int_equal(turned(&p, KD_TURN_TAKE, 2), KD_OK);
    peer_join(&p, &l, KD_LINK_LEDGER, 0);
    const struct kd_ledger_ready ready = {0};
    const struct kd_ledger_accounts accounts = {.uptime = 1000};
    struct kd_ledger_state stands = {0};
    LINK_PUT(&l, ledger_state, &stands, -1);
    LINK_PUT(&l, ledger_accounts, &accounts, -1);
    LINK_PUT(&l, ledger_ready, &ready, -1);
    struct kd_commit m;
    struct message *message = link_expect(&l, KD_MSG_commit);
    assert_int_equal(kd_commit_get(message->body, &m), KD_OK);
    assert_int_equal(kd_audit_decode(m.record, &r), KD_OK);
    message_free(message);
    assert_int_equal(r.op, KD_AUDIT_START);
    assert_memory_equal(r.digests[0], hash, sizeof hash);
    link_clear(&l);
    assert_int_equal(peer_stop(&p), 0);
    kd_conf_free(next);
}

/* --- a captured gate and the policy that is watched --- */

static void
watch(const struct kd_conf *watched)
{
    turn(&vault, KD_TURN_SHADOW, 2, memfd_of(kd_policy_octets(watched->policy)));
    turn(&vault, KD_TURN_PREPARE, 2, for_vault(first, NULL));
    turn(&vault, KD_TURN_TAKE, 2, -1);
    assert_int_equal(turned(&vault, KD_TURN_PREPARE, 2), KD_OK);
    assert_int_equal(turned(&vault, KD_TURN_TAKE, 2), KD_OK);
    turn(&vault, KD_TURN_FINISH, 2, -1);
}

static void
a_gate_counts_for_its_own_class_only(void **state)
{
    struct kd_conf *watched = conf_of(&may_look_up);
    struct kd_shadow_seen seen = {
        .op = KD_OP_LookupSignet, .would_allow = 1, .uid = geteuid(), .n = 7};
    struct kd_status_done m;
    struct kd_shadow_line line;
    struct kd_buf body;

    (void)state;
    watch(watched);
    LINK_PUT(&submission, shadow_seen, &seen, -1);
    seen.uid = 4711; /* nobody's, in both policies */
    LINK_PUT(&submission, shadow_seen, &seen, -1);
    assert_int_equal(issue_under(2), KD_SEALED); /* and is refused by the other */
    status_under(2, &body, &m);
    assert_true(m.shadow_on);
    assert_int_equal(m.shadow_pairs, 2);
    struct kd_cur c = kd_cur(m.shadow);
    assert_int_equal(kd_shadow_line_get(kd_list_next(&c), &line), KD_OK);
    assert_int_equal(line.op, KD_OP_LookupSignet);
    assert_int_equal(line.would_allow, 7);
    assert_int_equal(line.would_refuse, 0);
    assert_int_equal(kd_shadow_line_get(kd_list_next(&c), &line), KD_OK);
    assert_int_equal(line.op, KD_OP_IssueUserSignet);
    assert_int_equal(line.would_refuse, 1);
    kd_buf_free(&body);
    /* What the vault decides it counts itself. */
    seen.op = KD_OP_IssueUserSignet;
    LINK_PUT(&submission, shadow_seen, &seen, -1);
    assert_true(link_closes(&submission, 5000));
    kd_conf_free(watched);
}

static void
lookups_of_another_class_end_the_channel(void **state)
{
    struct kd_conf *watched = conf_of(&may_look_up);
    const struct kd_shadow_seen seen = {
        .op = KD_OP_AuditRead, .would_allow = 1, .uid = geteuid(), .n = 1};

    (void)state;
    watch(watched);
    LINK_PUT(&submission, shadow_seen, &seen, -1);
    assert_true(link_closes(&submission, 5000));
    kd_conf_free(watched);
}

/* --- a gate --- */

static void
a_gate_takes_its_own_class_only(void **state)
{
    static const uint8_t nonsense[] = "\1\1\0\0 and so on";
    struct kd_conf *next = conf_of(&may_look_up);
    struct peer gate;

    (void)state;
    peer_start(&gate, KD_ROLE_GATE, KD_CLASS_SUBMISSION, &keyd, first);
    turn(&gate, KD_TURN_NUMBER, 1, -1);
    turn(&gate, KD_TURN_PREPARE, 2, for_gate(next, KD_CLASS_ADMIN));
    assert_int_equal(turned(&gate, KD_TURN_PREPARE, 2), KD_UNSUPPORTED);
    turn(&gate, KD_TURN_PREPARE, 3, memfd_of(kd_slice(nonsense, sizeof nonsense)));
    assert_true(turned(&gate, KD_TURN_PREPARE, 3) != KD_OK);
    turn(&gate, KD_TURN_SHADOW, 4, memfd_of(kd_slice(nonsense, sizeof nonsense)));
    assert_true(turned(&gate, KD_TURN_SHADOW, 4) != KD_OK);
    turn(&gate, KD_TURN_PREPARE, 5, for_gate(next, KD_CLASS_SUBMISSION));
    assert_int_equal(turned(&gate, KD_TURN_PREPARE, 5), KD_OK);
    turn(&gate, KD_TURN_TAKE, 5, -1);
    assert_int_equal(turned(&gate, KD_TURN_TAKE, 5), KD_OK);
    /* Nothing is in flight: it says so at once, each time. */
    turn(&gate, KD_TURN_DRAIN, 6, -1);
    assert_int_equal(turned(&gate, KD_TURN_DRAIN, 6), KD_OK);
    turn(&gate, KD_TURN_SERVE, 7, -1);
    assert_int_equal(turned(&gate, KD_TURN_SERVE, 7), KD_OK);
    assert_true(peer_lives(&gate));
    assert_int_equal(peer_stop(&gate), 0);
    kd_conf_free(next);
}

int
main(void)
{
#define WITH_VAULT(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        WITH_VAULT(each_job_is_decided_under_the_configuration_its_gate_took_it_under),
        cmocka_unit_test_setup_teardown(
            who_is_stopped_and_then_gone_is_not_served_under_what_was_before,
            start_with_one_stopped, stop),
        WITH_VAULT(several_changes_in_a_row_are_kept_apart),
        WITH_VAULT(what_does_not_decode_is_refused_and_changes_nothing),
        WITH_VAULT(a_change_is_recorded_with_what_was_taken),
        WITH_VAULT(what_was_recorded_is_never_said_not_to_be_done),
        WITH_VAULT(a_change_before_the_ledger_spoke_needs_no_record_of_its_own),
        WITH_VAULT(a_gate_counts_for_its_own_class_only),
        WITH_VAULT(lookups_of_another_class_end_the_channel),
        WITH_VAULT(a_gate_takes_its_own_class_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
