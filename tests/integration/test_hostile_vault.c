/* A vault among hostile neighbours: what captured ledgers and gates say to it. None of
 * it ends the process, takes more than its share of memory, or gets an answer that is
 * not its own. */
#include "suite.h"
#include "test.h"
#include "world.h"

#include <keyd/base/clock.h>
#include <keyd/job/reasons.h>
#include <keyd/job/state.h>
#include <keyd/ledger/audit.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

#include <stdio.h>
#include <stdlib.h>

static struct world world;

/* --- changes of the key store --- */

static void
sealing_between_question_and_answer_ends_a_change_well(void **state)
{
    struct world *w = &world;
    unsigned reason = 0;

    (void)state;
    new_world(w);
    provision(w);
    uint64_t change = put_generate(w, "0123456789abcdef");
    struct message *asked = link_expect(&w->ledger, KD_MSG_ask_key);
    uint64_t seal = put_job(w, &w->admin, KD_OP_Seal, NULL, kd_slice(NULL, 0), -1);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_SEAL);
    assert_int_equal(done(&w->admin, seal, NULL), KD_OK);
    tell_key_is_new(w, asked);
    message_free(asked);
    assert_int_equal(done(&w->admin, change, &reason), KD_SEALED);
    assert_int_equal(reason, KD_REASON_SEALED);
    assert_int_equal(vault_state(w), SEALED_STATE);
    end_world(w);
}

/* What is in memory after a refusal is what is stored: the next change follows on it.
 */
static void
a_refused_change_leaves_the_key_store_as_it_was(void **state)
{
    struct world *w = &world;

    (void)state;
    new_world(w);
    provision(w);
    uint64_t stored = w->keystore;
    for (int i = 0; i < 3; i++) {
        uint64_t refused =
            i == 1 ? put_slot_job(w, KD_OP_AddUnsealSlot, NULL) : put_generate(w, NULL);
        kd_ignore(store_next(w, KD_CONFLICT));
        assert_int_equal(done(&w->admin, refused, NULL), KD_CONFLICT);
    }
    assert_int_equal(w->keystore, stored);
    uint64_t good = put_generate(w, NULL);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_GENERATE_KEY);
    assert_int_equal(done(&w->admin, good, NULL), KD_OK);
    assert_int_equal(w->keystore, stored + 1);

    struct kd_store *store = malloc(sizeof *store);
    assert_non_null(store);
    assert_int_equal(kd_store_parse(kd_buf_slice(&w->store), store), KD_OK);
    assert_int_equal(store->n_slots, 1);
    assert_int_equal(store->n_keys, 2); /* for checkpoints, and the good one */
    free(store);
    end_world(w);
}

/* --- the ledger's channel --- */

/* One message again and again, as many to a packet as go in. */
static void
flood(struct peer_link *l, uint16_t type, struct kd_slice body, unsigned n)
{
    for (unsigned i = 0; i < n && !l->is_closed; i++) {
        kd_ignore(kd_chan_put(&l->chan, type, body, -1)); /* closed: a good end */
        if (l->chan.backlog > 1024 * 1024)
            kd_ignore(link_drain(l, SOON_MS));
    }
    kd_ignore(link_drain(l, SOON_MS)); /* the same */
}

static void
ledger_that_is_ready_again_and_again_is_cut_off(void **state)
{
    struct world *w = &world;
    const struct kd_ledger_ready ready = {1};
    uint8_t key[17];

    (void)state;
    new_world(w);
    provision(w);
    for (unsigned i = 0; i < 2000; i++) { /* questions that stay open */
        snprintf((char *)key, sizeof key, "%016u", i);
        kd_ignore(put_generate(w, (const char *)key));
    }
    struct kd_buf body;
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    kd_ledger_ready_put(&body, &ready);
    flood(&w->ledger, KD_MSG_ledger_ready, kd_buf_slice(&body), 200 * 1000);
    kd_buf_free(&body);
    assert_true(link_closes(&w->ledger, SOON_MS));
    assert_true(peer_most_kib(&w->vault) < MOST_KIB);
    end_world(w);
}

/* Signets that hold by a key of somebody's, more than are kept, and octets that are no
 * signet: the vault starts, within its memory, and says once that there were such. */
static void
former_signets_that_a_ledger_makes_up_do_not_keep_a_vault_from_starting(void **state)
{
    struct world *w = &world;
    struct kd_ledger_org m = {.domain = kd_slice_str("example.com"),
                              .signet = kd_slice_str("no signet at all")};
    const struct kd_ledger_accounts accounts = {.uptime = 1000};
    static uint8_t junk[20000];
    char domain[32];

    (void)state;
    new_world(w);
    provision(w);
    link_clear(&w->admin);
    link_clear(&w->submission);
    link_clear(&w->ledger);
    assert_int_equal(peer_stop(&w->vault), 0);
    peer_start(&w->vault, KD_ROLE_VAULT, KD_CLASS_ADMIN, &w->d, w->conf);
    peer_join(&w->vault, &w->admin, KD_LINK_GATE, ADMIN);
    peer_join(&w->vault, &w->submission, KD_LINK_GATE, SUBMISSION);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
    LINK_PUT(&w->ledger, ledger_state, &w->state, -1);
    randombytes_buf(junk, sizeof junk);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(domain, sizeof domain, "d%u.example", i % 97);
        m.domain = kd_slice_str(i % 3 == 0 ? "example.com" : domain);
        m.superseded = 1 + i;
        m.signet = kd_slice(junk, 1 + i % sizeof junk);
        if (i % 100 == 0) {
            m.signet = kd_slice(NULL, 0);
            LINK_PUT(&w->ledger, ledger_org, &m, sealed_octets(junk, sizeof junk));
        } else {
            LINK_PUT(&w->ledger, ledger_org, &m, -1);
        }
        if (w->ledger.chan.backlog > 1024 * 1024)
            assert_true(link_drain(&w->ledger, SOON_MS));
    }
    LINK_PUT(&w->ledger, ledger_accounts, &accounts, -1);
    link_put(&w->ledger, KD_MSG_KEYSTORE, kd_buf_slice(&w->store), -1);
    LINK_PUT(&w->ledger, ledger_ready, &(struct kd_ledger_ready){w->keystore}, -1);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_START);
    assert_int_equal(vault_state(w), SEALED_STATE);
    assert_true(peer_most_kib(&w->vault) < MOST_KIB);
    end_world(w);
}

/* What is not acknowledged is sent once on a channel, however often the ledger says
 * where it stands. */
static void
ledger_that_stands_there_again_and_again_is_cut_off(void **state)
{
    struct world *w = &world;

    (void)state;
    new_world(w);
    provision_domain(w);
    for (unsigned i = 0; i < 500; i++)
        kd_ignore(put_issue(w, i));
    for (unsigned i = 0; i < 500; i++)
        tell_nothing_is_known(w);
    for (unsigned i = 0; i < 500; i++)
        message_free(link_expect(&w->ledger, KD_MSG_commit));
    struct kd_buf body;
    kd_buf_init(&body, KD_CHAN_BODY_MAX);
    kd_ledger_state_put(&body, &w->state);
    flood(&w->ledger, KD_MSG_ledger_state, kd_buf_slice(&body), 200 * 1000);
    kd_buf_free(&body);
    assert_true(link_closes(&w->ledger, SOON_MS));
    assert_true(peer_most_kib(&w->vault) < MOST_KIB);
    end_world(w);
}

/* A new channel is given nothing before its ledger has spoken: a record of the middle
 * would be refused there. */
static void
a_new_ledger_speaks_first(void **state)
{
    struct world *w = &world;
    struct message *m;

    (void)state;
    new_world(w);
    provision(w);
    uint64_t one = put_generate(w, NULL);
    message_free(link_expect(&w->ledger, KD_MSG_commit));
    link_clear(&w->ledger);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
    uint64_t two = put_generate(w, "0123456789abcdef");
    assert_int_equal(vault_state(w), OPEN_STATE); /* it has had its turn */
    assert_null(link_wait(&w->ledger, KD_MSG_commit, 50));
    assert_null(link_wait(&w->ledger, KD_MSG_ask_key, 0));
    ledger_greets(w);
    m = link_expect(&w->ledger, KD_MSG_ask_key);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_GENERATE_KEY);
    assert_int_equal(done(&w->admin, one, NULL), KD_OK);
    tell_key_is_new(w, m);
    message_free(m);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_GENERATE_KEY);
    assert_int_equal(done(&w->admin, two, NULL), KD_OK);
    end_world(w);
}

/* --- a ledger that went back --- */

static void
a_ledger_that_went_back_ends_what_waits_and_leaves_seal(void **state)
{
    struct world *w = &world;
    struct kd_ledger_state before;

    (void)state;
    new_world(w);
    before = w->state;
    provision(w);
    uint64_t change = put_generate(w, NULL);
    message_free(link_expect(&w->ledger, KD_MSG_commit));
    w->state = before;
    relink_ledger(w);
    ledger_greets(w);
    assert_int_equal(done(&w->admin, change, NULL), KD_UNKNOWN);
    assert_int_equal(vault_state(w), FAILED_STATE);
    uint64_t seal = put_job(w, &w->admin, KD_OP_Seal, NULL, kd_slice(NULL, 0), -1);
    assert_int_equal(done(&w->admin, seal, NULL), KD_UNAVAILABLE); /* not recorded */
    seal = put_job(w, &w->admin, KD_OP_Seal, NULL, kd_slice(NULL, 0), -1);
    assert_int_equal(done(&w->admin, seal, NULL), KD_SEALED);
    assert_int_equal(vault_state(w), FAILED_STATE);
    end_world(w);
}

static void
unsealing_does_not_heal_a_vault_that_failed_meanwhile(void **state)
{
    struct world *w = &world;
    struct kd_ledger_state before;
    uint8_t kind = KD_SLOT_PASSPHRASE;
    static const char passphrase[] = "correct horse battery";

    (void)state;
    new_world(w);
    before = w->state;
    uint64_t id = put_job(w, &w->admin, KD_OP_TokenInit, NULL, kd_slice(&kind, 1),
                          sealed_octets(passphrase, sizeof passphrase - 1));
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_KEYSTORE_CHANGE);
    assert_int_equal(done(&w->admin, id, NULL), KD_OK);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_CHECKPOINT);
    id = put_job(w, &w->admin, KD_OP_Seal, NULL, kd_slice(NULL, 0), -1);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_SEAL);
    assert_int_equal(done(&w->admin, id, NULL), KD_OK);
    /* Stretching takes long enough for a ledger to come back. */
    id = put_job(w, &w->admin, KD_OP_Unseal, NULL, kd_slice(&kind, 1),
                 sealed_octets(passphrase, sizeof passphrase - 1));
    w->state = before;
    relink_ledger(w);
    ledger_greets(w);
    assert_int_equal(done(&w->admin, id, NULL), KD_UNAVAILABLE);
    assert_int_equal(vault_state(w), FAILED_STATE);
    end_world(w);
}

/* --- a key store that is not the recorded one --- */

static uint64_t
put_restore(struct world *w)
{
    struct kd_restore_job m = {.seq = w->state.seq};
    struct kd_buf b;

    memcpy(m.hash, w->state.hash, sizeof m.hash);
    kd_buf_init(&b, 256);
    kd_restore_job_put(&b, &m);
    uint64_t id =
        put_job(w, &w->admin, KD_OP_RegistryRestore, NULL, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    return id;
}

static void
a_key_store_that_is_not_recorded_works_after_its_acceptance_and_not_before(void **state)
{
    struct world *w = &world;
    unsigned reason = 0;

    (void)state;
    new_world(w);
    provision(w);
    link_clear(&w->admin);
    link_clear(&w->submission);
    link_clear(&w->ledger);
    assert_int_equal(peer_stop(&w->vault), 0);
    w->keystore += 3; /* as far as its ledger knows now */
    vault_starts(w);
    assert_int_equal(done(&w->admin, put_restore(w), &reason), KD_SEALED);
    assert_int_equal(done(&w->admin, put_slot_job(w, KD_OP_Unseal, NULL), &reason),
                     KD_OK);
    assert_int_equal(vault_state(w), FAILED_STATE);
    assert_int_equal(done(&w->admin, put_generate(w, NULL), &reason), KD_UNAVAILABLE);
    assert_int_equal(reason, KD_REASON_KEYSTORE_OTHER);
    assert_int_equal(done(&w->submission, put_issue(w, 1), &reason), KD_UNAVAILABLE);

    uint64_t epoch = w->state.epoch;
    uint64_t id = put_restore(w);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_RESTORE);
    assert_true(w->state.epoch > epoch + 100);
    assert_int_equal(done(&w->admin, id, NULL), KD_OK);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_START);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_UNSEAL);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_CHECKPOINT);
    assert_int_equal(vault_state(w), KD_SERVICE_DEGRADED); /* no signet */
    w->keystore -= 3; /* that is the recorded one now */
    id = put_generate(w, NULL);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_GENERATE_KEY);
    assert_int_equal(done(&w->admin, id, NULL), KD_OK);
    end_world(w);
}

/* --- a gate of principals that are elsewhere --- */

/* A gate of the remote listener says who asks, by name. What it says of others than its
 * own principals, or as no gate of that class speaks, gets nothing. */
static const char remote_top[] =
    "listener \"tls\" {\n address = \"127.0.0.1:4433\"\n certificate = \"/c\"\n key = "
    "\"/k\"\n client-ca = \"/a\"\n allow-unpinned = yes\n}\n"
    "principal \"mx1\" {\n class = \"tls\"\n san = \"mx1.example.com\"\n operations = "
    "{ \"IssueUserSignet\" }\n domains = { \"example.com\" }\n}\n"
    "principal \"mx2\" {\n class = \"tls\"\n san = \"mx2.example.com\"\n operations = "
    "{ }\n}\n";

static uint64_t
put_job_of(struct world *w, struct peer_link *gate, const char *name, uint32_t uid,
           enum kd_op op, struct kd_slice body)
{
    struct kd_job job = {.id = ++w->next_job,
                         .op = (uint8_t)op,
                         .uid = uid,
                         .remote = kd_slice_str(name),
                         .deadline = (uint64_t)kd_clock_ms() + 60000,
                         .body = body};

    LINK_PUT(gate, job, &job, -1);
    return job.id;
}

/* The channel ends, and a new one takes its place. */
static void
is_dropped(struct world *w, struct peer_link *gate, unsigned number)
{
    unsigned before = vault_state(w);

    assert_true(link_closes(gate, SOON_MS));
    link_clear(gate);
    peer_join(&w->vault, gate, KD_LINK_GATE, number);
    /* Everybody else goes on. */
    assert_int_equal(vault_state(w), before);
    assert_true(peer_lives(&w->vault));
}

static void
a_remote_gate_that_claims_other_principals_gets_nothing(void **state)
{
    static const char *const others[] = {"mx2",   "mx3",          "MX1",
                                         "mx1.",  "caller-admin", "caller-submission",
                                         "dmtpd", "keyd",         "uid:0"};
    const struct kd_issue_job issue = {.address = kd_slice_str("a@example.com"),
                                       .ssr = kd_slice_str("no request")};
    struct peer_link tls = {0};
    struct kd_slice nothing = kd_slice(NULL, 0);
    struct world w;
    struct kd_buf b;
    unsigned reason;

    (void)state;
    new_world_with(&w, remote_top);
    provision_domain(&w);
    peer_join(&w.vault, &tls, KD_LINK_GATE, REMOTE);
    kd_buf_init(&b, 1024);
    kd_issue_job_put(&b, &issue);
    struct kd_slice body = kd_buf_slice(&b);

    uint64_t id = put_job_of(&w, &tls, "mx1", UINT32_MAX, KD_OP_IssueUserSignet, body);
    assert_int_equal(done(&tls, id, &reason), KD_MALFORMED); /* allowed; no request */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        id = put_job_of(&w, &tls, others[i], UINT32_MAX, KD_OP_IssueUserSignet, body);
        assert_int_equal(done(&tls, id, &reason), KD_DENIED);
        assert_int_equal(reason, KD_REASON_NOT_PERMITTED);
    }
    /* a principal's name and a uid together is nobody */
    id = put_job_of(&w, &tls, "mx1", 0, KD_OP_IssueUserSignet, body);
    assert_int_equal(done(&tls, id, &reason), KD_DENIED);
    /* objects in parts are the gate's own affair */
    id = put_job_of(&w, &tls, "mx1", UINT32_MAX, KD_OP_UploadPart, nothing);
    assert_int_not_equal(done(&tls, id, NULL), KD_OK);

    /* what no gate of this class would say ends its channel, and nothing else */
    put_job_of(&w, &tls, "mx1", UINT32_MAX, KD_OP_Seal, nothing);
    is_dropped(&w, &tls, REMOTE);
    put_job_of(&w, &tls, "", 0, KD_OP_Status, nothing);
    is_dropped(&w, &tls, REMOTE);
    put_job_of(&w, &w.submission, "mx1", UINT32_MAX, KD_OP_IssueUserSignet, body);
    is_dropped(&w, &w.submission, SUBMISSION);
    id = put_job_of(&w, &tls, "mx1", UINT32_MAX, KD_OP_Status, nothing);
    assert_int_equal(done(&tls, id, NULL), KD_OK);

    kd_buf_free(&b);
    link_clear(&tls);
    end_world(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_between_question_and_answer_ends_a_change_well),
        cmocka_unit_test(a_refused_change_leaves_the_key_store_as_it_was),
        cmocka_unit_test(ledger_that_is_ready_again_and_again_is_cut_off),
        cmocka_unit_test(
            former_signets_that_a_ledger_makes_up_do_not_keep_a_vault_from_starting),
        cmocka_unit_test(ledger_that_stands_there_again_and_again_is_cut_off),
        cmocka_unit_test(a_new_ledger_speaks_first),
        cmocka_unit_test(a_ledger_that_went_back_ends_what_waits_and_leaves_seal),
        cmocka_unit_test(unsealing_does_not_heal_a_vault_that_failed_meanwhile),
        cmocka_unit_test(
            a_key_store_that_is_not_recorded_works_after_its_acceptance_and_not_before),
        cmocka_unit_test(a_remote_gate_that_claims_other_principals_gets_nothing),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
