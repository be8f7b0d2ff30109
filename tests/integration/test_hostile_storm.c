/* Vault and ledger in storms of good, spoilt and ill-timed messages, the same every
 * time: they survive, within their memory. */
#include "ledger_world.h"
#include "people.h"
#include "scale.h"
#include "suite.h"
#include "test.h"
#include "world.h"

#include <keyd/base/clock.h>
#include <keyd/job/state.h>
#include <keyd/ledger/audit.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

#include <fcntl.h>
#include <unistd.h>

static struct world world;

enum { STORM_WHOLE = 1000 * 1000 };

static uint64_t storm_seed = 1;

/* xorshift: the same storm every time. */
static uint32_t
any(uint32_t below)
{
    storm_seed ^= storm_seed << 13;
    storm_seed ^= storm_seed >> 7;
    storm_seed ^= storm_seed << 17;
    return (uint32_t)(storm_seed >> 32) % below;
}

static void
spoil(struct kd_buf *b)
{
    for (uint32_t n = 1 + any(4); n > 0 && b->n > 0; n--)
        switch (any(4)) {
        case 0:
            b->p[any((uint32_t)b->n)] ^= (uint8_t)(1U << any(8));
            break;
        case 1:
            b->p[any((uint32_t)b->n)] = (uint8_t)any(256);
            break;
        case 2:
            b->n -= any((uint32_t)b->n + 1);
            break;
        default:
            kd_buf_u8(b, (uint8_t)any(256));
        }
}

/* A descriptor of one kind or another, or none. */
static int
any_descriptor(const struct world *w)
{
    int fds[2];

    switch (any(16)) {
    case 0:
        return sealed_octets(w->d.credential, sizeof w->d.credential);
    case 1:
        return sealed_octets(w, 3000);
    case 2:
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    case 3:
        assert_int_equal(pipe(fds), 0);
        close(fds[1]);
        return fds[0];
    default:
        return -1;
    }
}

/* The body of some job of op, as it should be. */
static void
put_any_body(enum kd_op op, struct kd_buf *b)
{
    struct kd_generate_job generate = {.domain = kd_slice_str("example.com"),
                                       .role = (uint8_t)any(6),
                                       .algorithm = (uint8_t)any(4),
                                       .permissions = (uint8_t)any(16)};
    struct kd_retire_job retire = {{0}};
    struct kd_import_job import = {
        .domain = kd_slice_str("example.com"), .signing_role = 2, .permissions = 2};
    struct kd_issue_org_job org = {.domain = kd_slice_str("example.com")};
    struct kd_keys_job keys = {.domain = kd_slice_str("example.com")};
    struct kd_slot_job slot = {KD_SLOT_CREDENTIAL};
    struct kd_buf ssr;

    switch ((unsigned)op) {
    case KD_OP_IssueUserSignet:
        person_request("storm", any(500), &ssr);
        if (any(4) == 0)
            spoil(&ssr);
        kd_issue_job_put(
            b, &(struct kd_issue_job){.address = kd_slice_str("storm@example.com"),
                                      .ssr = kd_buf_slice(&ssr),
                                      .with_image = any(8) == 0});
        kd_buf_free(&ssr);
        break;
    case KD_OP_FreezeAddress:
        kd_freeze_job_put(
            b, &(struct kd_freeze_job){.address = kd_slice_str("storm@example.com"),
                                       .action = (uint8_t)any(8),
                                       .reason = (uint8_t)any(3)});
        break;
    case KD_OP_ResetAddress:
        kd_reset_job_put(
            b, &(struct kd_reset_job){(uint8_t)any(6), kd_slice_str("a@example.com")});
        break;
    case KD_OP_StopPrincipal:
        kd_stop_job_put(b, &(struct kd_stop_job){(uint8_t)any(5), kd_slice(NULL, 0),
                                                 kd_slice_str("foreign")});
        break;
    case KD_OP_GenerateKey:
        kd_generate_job_put(b, &generate);
        break;
    case KD_OP_RetireKey:
        kd_retire_job_put(b, &retire);
        break;
    case KD_OP_ImportKey:
        kd_import_job_put(b, &import);
        break;
    case KD_OP_IssueOrgSignet:
        kd_issue_org_job_put(b, &org);
        break;
    case KD_OP_PublicKeys:
        kd_keys_job_put(b, &keys);
        break;
    case KD_OP_TokenInit:
    case KD_OP_Unseal:
        kd_slot_job_put(b, &slot);
        break;
    default:
        break;
    }
}

static void
storm_from_a_gate(struct world *w)
{
    static const enum kd_op ops[] = {
        KD_OP_IssueUserSignet, KD_OP_IssueUserSignet, KD_OP_IssueUserSignet,
        KD_OP_IssueUserSignet, KD_OP_IssueUserSignet, KD_OP_Status,
        KD_OP_PublicKeys,      KD_OP_GenerateKey,     KD_OP_RetireKey,
        KD_OP_ImportKey,       KD_OP_IssueOrgSignet,  KD_OP_TokenInit,
        KD_OP_Unseal,          KD_OP_LookupSignet,    KD_OP_FreezeAddress,
        KD_OP_ResetAddress,    KD_OP_StopPrincipal,   KD_OP_NONE};
    enum kd_op op = any(2000) == 0 ? KD_OP_Seal : ops[any(sizeof ops / sizeof *ops)];
    bool submission = op == KD_OP_IssueUserSignet || any(50) == 0;
    struct peer_link *gate = submission ? &w->submission : &w->admin;
    struct kd_buf body, message;

    if (gate->is_closed) {
        link_clear(gate);
        peer_join(&w->vault, gate, KD_LINK_GATE, submission ? SUBMISSION : ADMIN);
    }
    kd_buf_init(&body, KD_JOB_BODY_MAX);
    kd_buf_init(&message, KD_CHAN_BODY_MAX);
    put_any_body(op, &body);
    /* A kind of slot that was spoilt would have a passphrase stretched. */
    if (any(3) == 0 && op != KD_OP_Unseal && op != KD_OP_TokenInit)
        spoil(&body);
    struct kd_job job = {.id = ++w->next_job,
                         .op = (uint8_t)op,
                         .uid = any(10) == 0 ? any(70000) : geteuid(),
                         .deadline = (uint64_t)kd_clock_ms() + any(5000),
                         .has_key = any(3) == 0,
                         .key = {(uint8_t)any(50)},
                         .body = kd_slice(body.p, body.n)};
    if (any(50) == 0)
        job.deadline = (uint64_t)any(3) - 1;
    kd_job_put(&message, &job);
    if (any(500) == 0)
        spoil(&message);
    if (message.err == KD_OK)
        link_put(gate, KD_MSG_job, kd_slice(message.p, message.n), any_descriptor(w));
    kd_buf_free(&body);
    kd_buf_free(&message);
}

/* A ledger that lies beside the truth. */
static void
lie(struct world *w, uint64_t tag)
{
    struct kd_told_issue told = {.tag = any(2) == 0 ? tag : any(5000),
                                 .err = any(4) == 0 ? (uint8_t)any(30) : 0,
                                 .signing_key_known = any(8) == 0,
                                 .is = (uint8_t)any(4),
                                 .generation = any(3),
                                 .seq = any(3) - 1,
                                 .account = any(4) == 0 ? kd_slice(w, any(64))
                                                        : open_account(),
                                 .signet = kd_slice(w, any(3000))};
    struct kd_told_key key = {
        .tag = told.tag, .err = (uint8_t)any(3), .record = kd_slice(w, any(1024))};
    struct kd_ack ack = {w->state.epoch, w->state.seq + any(3), {0}, (uint8_t)any(3)};
    struct kd_told_account account = {.tag = told.tag,
                                      .err = told.err,
                                      .key_seen = any(4) == 0,
                                      .account = told.account};
    struct kd_told_resets resets = {
        .tag = told.tag, .more = any(2) == 0, .lines = kd_slice(w, any(3000))};
    struct kd_ledger_resets n_resets = {any(3)};
    struct kd_told_author author = {.tag = told.tag,
                                    .err = told.err,
                                    .account = told.account,
                                    .signets = kd_slice(w, any(3000))};
    struct kd_told_recipient recipient = {.tag = told.tag,
                                          .err = told.err,
                                          .known = (uint8_t)any(3),
                                          .superseded = any(2),
                                          .account = told.account};
    struct kd_told_naked naked = {told.tag, told.err, (uint8_t)any(3), (uint8_t)any(3),
                                  told.account};
    struct kd_buf b;

    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    uint32_t which = any(9);
    if (which == 0)
        kd_told_issue_put(&b, &told);
    else if (which == 1)
        kd_told_key_put(&b, &key);
    else if (which == 2)
        kd_told_account_put(&b, &account);
    else if (which == 3)
        kd_told_resets_put(&b, &resets);
    else if (which == 4)
        kd_ledger_resets_put(&b, &n_resets);
    else if (which == 5)
        kd_told_author_put(&b, &author);
    else if (which == 6)
        kd_told_recipient_put(&b, &recipient);
    else if (which == 7)
        kd_told_naked_put(&b, &naked);
    else
        kd_ack_put(&b, &ack);
    if (any(20) == 0)
        spoil(&b);
    static const uint16_t types[] = {
        KD_MSG_told_issue,     KD_MSG_told_key,      KD_MSG_told_account,
        KD_MSG_told_resets,    KD_MSG_ledger_resets, KD_MSG_told_author,
        KD_MSG_told_recipient, KD_MSG_told_naked,    KD_MSG_ack};
    uint16_t type = any(100) == 0 ? (uint16_t)any(60) : types[which];
    if (b.err == KD_OK && type != KD_MSG_ledger_state)
        link_put(&w->ledger, type, kd_slice(b.p, b.n),
                 which == 0 || which == 5 ? any_descriptor(w) : -1);
    kd_buf_free(&b);
}

/* True if the next record is there already: its acknowledgement was lost with the
 * channel. */
static bool
acknowledge_again(struct world *w)
{
    struct message *message = w->ledger.first;
    struct kd_commit m;
    struct kd_audit_record r;

    assert_int_equal(kd_commit_get(message->body, &m), KD_OK);
    assert_int_equal(kd_audit_decode(m.record, &r), KD_OK);
    if (r.seq > w->state.seq)
        return false;
    struct kd_ack ack = {
        .epoch = r.epoch, .seq = r.seq, .outcome = w->outcomes[r.seq % OUTCOMES]};
    kd_audit_hash(m.record, ack.hash);
    LINK_PUT(&w->ledger, ack, &ack, -1);
    message_free(link_expect(&w->ledger, KD_MSG_commit));
    return true;
}

/* Answers one message, honestly or not; false if there is none. */
static bool
ledger_turn(struct world *w, int ms)
{
    if (w->ledger.is_closed) {
        relink_ledger(w);
        ledger_greets(w);
    }
    const struct message *first = link_first(&w->ledger, ms);
    if (first == NULL)
        return false;
    uint16_t type = first->type;
    if (any(8) == 0)
        lie(w, any(5000));
    if (type == KD_MSG_commit) {
        if (!acknowledge_again(w))
            kd_ignore(store_next(w, any(8) == 0 ? KD_CONFLICT : KD_OK));
        return true;
    }
    struct message *m = link_expect(&w->ledger, type);
    struct kd_cur c = kd_cur(m->body);
    uint64_t tag = kd_cur_u64(&c);
    const struct kd_told_issue told = {.tag = tag, .account = open_account()};
    const struct kd_told_account account = {.tag = tag, .account = open_account()};
    const struct kd_told_resets resets = {.tag = tag};
    if (type != KD_MSG_refused && any(4) == 0)
        lie(w, tag);
    if (type == KD_MSG_ask_issue)
        LINK_PUT(&w->ledger, told_issue, &told, -1);
    else if (type == KD_MSG_ask_key)
        tell_key_is_new(w, m);
    else if (type == KD_MSG_ask_account)
        LINK_PUT(&w->ledger, told_account, &account, -1);
    else if (type == KD_MSG_ask_resets)
        LINK_PUT(&w->ledger, told_resets, &resets, -1);
    else
        assert_true(type == KD_MSG_refused || type == KD_MSG_uptime);
    message_free(m);
    return true;
}

static void
drop_answers(struct peer_link *gate)
{
    struct message *m;

    while ((m = link_wait(gate, KD_MSG_done, 0)) != NULL)
        message_free(m);
}

/* What is sent faster than it is read waits here, and there is an end to that: the
 * vault takes what it is given, in seconds. */
static void
let_it_catch_up(struct world *w, struct peer_link *gate)
{
    enum { MOST = KD_CHAN_BACKLOG_MAX / 4, PATIENCE_MS = 20000 };
    int64_t until = kd_clock_ms() + PATIENCE_MS;

    while (!gate->is_closed && gate->chan.backlog > MOST) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(kd_chan_flush(&gate->chan)); /* closed: it shows */
        drop_answers(gate);
        while (ledger_turn(w, 1))
            continue;
    }
}

static void
the_vault_survives_a_storm(void **state)
{
    struct world *w = &world;
    size_t n = test_rounds(STORM_WHOLE);

    (void)state;
    new_world(w);
    provision_domain(w);
    size_t descriptors = peer_descriptors(&w->vault);
    for (size_t i = 0; i < n; i++) {
        storm_from_a_gate(w);
        if (any(3) == 0)
            drop_answers(&w->submission);
        if (any(3) == 0)
            drop_answers(&w->admin);
        while (ledger_turn(w, 0))
            continue;
        let_it_catch_up(w, &w->submission);
        let_it_catch_up(w, &w->admin);
    }
    while (ledger_turn(w, 1000) || w->ledger.is_closed)
        continue;
    assert_true(peer_lives(&w->vault));
    link_clear(&w->admin);
    peer_join(&w->vault, &w->admin, KD_LINK_GATE, ADMIN);
    unsigned s = vault_state(w);
    assert_true(s == OPEN_STATE || s == SEALED_STATE);
    assert_true(peer_most_kib(&w->vault) < MOST_KIB);
    assert_true(peer_descriptors(&w->vault) <= descriptors + 2);
    end_world(w);
}

/* What look-ups and a vault's messages look like, some of them spoilt. */
static uint16_t
put_any_look(struct kd_buf *b)
{
    static const uint8_t fp[64];

    switch (any(5)) {
    case 0:
        kd_look_signet_put(
            b, &(struct kd_look_signet){any(9), kd_slice_str("a@example.com"),
                                        kd_slice(fp, any(2) == 0 ? 0 : sizeof fp)});
        return KD_MSG_look_signet;
    case 1:
        kd_look_history_put(
            b, &(struct kd_look_history){.tag = any(9),
                                         .address = kd_slice_str("a@example.com"),
                                         .page = kd_slice(fp, any(2) == 0 ? 0 : 12),
                                         .most = any(100)});
        return KD_MSG_look_history;
    case 2:
        kd_look_verify_put(
            b, &(struct kd_look_verify){.tag = any(9), .name = kd_slice_str("a@b.c")});
        return KD_MSG_look_verify;
    case 3:
        kd_look_audit_put(b, &(struct kd_look_audit){any(9), any(300), any(100)});
        return KD_MSG_look_audit;
    default:
        kd_look_head_put(b, &(struct kd_look_head){any(9)});
        return KD_MSG_look_head;
    }
}

static void
the_ledger_survives_a_storm_of_its_gates(void **state)
{
    struct ledger_world w;
    size_t n = test_rounds(STORM_WHOLE);
    const struct kd_look_head head = {.tag = 77};

    (void)state;
    new_ledger_world(&w);
    fill_log(&w);
    size_t descriptors = peer_descriptors(&w.ledger);
    for (size_t i = 0; i < n; i++) {
        struct peer_link *gate = any(2) == 0 ? &w.mta : &w.admin;
        struct kd_buf b;
        struct message *m;
        if (gate->is_closed) {
            link_clear(gate);
            peer_join(&w.ledger, gate, KD_LINK_GATE, gate == &w.mta ? MTA : ADMIN);
        }
        kd_buf_init(&b, 1024);
        uint16_t type = put_any_look(&b);
        if (any(20) == 0)
            spoil(&b);
        if (any(200) == 0)
            type = (uint16_t)any(80);
        /* What a socket cannot take is not waited for here. */
        if (gate->chan.backlog < 1024 * 1024)
            link_put(gate, type, kd_slice(b.p, b.n),
                     any(500) == 0 ? sealed_octets("x", 1) : -1);
        kd_buf_free(&b);
        if (any(8) == 0) {
            kd_ignore(link_drain(gate, 0));
            for (uint16_t t = KD_MSG_looked_signet; t <= KD_MSG_looked_head; t++)
                while ((m = link_wait(gate, t, 0)) != NULL)
                    message_free(m);
        }
    }
    link_clear(&w.admin);
    peer_join(&w.ledger, &w.admin, KD_LINK_GATE, ADMIN);
    LINK_PUT(&w.admin, look_head, &head, -1);
    message_free(link_expect(&w.admin, KD_MSG_looked_head));
    assert_true(peer_most_kib(&w.ledger) < MOST_KIB);
    assert_true(peer_descriptors(&w.ledger) <= descriptors + 2);
    end_ledger_world(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vault_survives_a_storm),
        cmocka_unit_test(the_ledger_survives_a_storm_of_its_gates),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
