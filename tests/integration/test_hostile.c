/* Roles among hostile neighbours: what a captured gate says to vault and ledger, what a
 * captured ledger says to the vault and to gates. None of it ends the process, takes
 * more than its share of memory, or gets an answer that is not its own. */
#include "peer.h"
#include "people.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/reasons.h>
#include <keyd/job/state.h>
#include <keyd/ledger/audit.h>
#include <keyd/rpc/rpc_pb.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    WORKERS = 4, /* role.h: gates of a class */
    ADMIN = KD_CLASS_ADMIN * WORKERS,
    SUBMISSION = KD_CLASS_SUBMISSION * WORKERS,
    MTA = KD_CLASS_MTA * WORKERS,
    REMOTE = KD_CLASS_TLS * WORKERS,
    SOON_MS = 5000,
    OUTCOMES = 8192, /* more than a vault has without acknowledgement */
    SEALED_STATE = KD_SERVICE_SEALED,
    /* Open, but its domains have no organizational signets. */
    OPEN_STATE = KD_SERVICE_DEGRADED,
    FAILED_STATE = KD_SERVICE_FAILED,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    MOST_KIB = 2 * 1024 * 1024, /* shadow and quarantine count */
#else
    MOST_KIB = 100 * 1024,
#endif
};

/* --- a vault, and the test as its ledger and gates --- */

struct world {
    struct daemon d;
    struct kd_conf *conf;
    struct peer vault;
    struct peer_link ledger, admin, submission;
    /* What the ledger has. */
    struct kd_ledger_state state;
    struct kd_buf store;
    uint64_t keystore;
    uint8_t outcomes[OUTCOMES]; /* of the last records, by number */
    uint64_t next_job;
};

static struct kd_buf out; /* the message being made */

#define PUT(link, name, message, fd)                                                   \
    do {                                                                               \
        kd_buf_reset(&out);                                                            \
        kd_##name##_put(&out, message);                                                \
        link_put(link, KD_MSG_##name, kd_buf_slice(&out), fd);                         \
    } while (0)

/* The account part of an answer about an address that nobody has spoken of. */
static struct kd_slice
open_account(void)
{
    static uint8_t octets[64];
    struct kd_buf b;

    kd_buf_init(&b, sizeof octets);
    kd_account_part_put(&b, &(struct kd_account_part){.state = KD_ACCOUNT_OPEN});
    memcpy(octets, b.p, b.n);
    struct kd_slice s = kd_slice(octets, b.n);
    kd_buf_free(&b);
    return s;
}

static void
ledger_greets(struct world *w)
{
    const struct kd_ledger_ready ready = {w->keystore};
    const struct kd_ledger_accounts accounts = {.uptime = 1000};

    PUT(&w->ledger, ledger_state, &w->state, -1);
    PUT(&w->ledger, ledger_accounts, &accounts, -1);
    if (w->keystore != 0)
        link_put(&w->ledger, KD_MSG_KEYSTORE, kd_buf_slice(&w->store), -1);
    PUT(&w->ledger, ledger_ready, &ready, -1);
}

/* The next record, which must continue the chain. The message is borrowed by *m. */
static struct message *
next_commit(struct world *w, struct kd_commit *m, struct kd_audit_record *r)
{
    struct message *message = link_expect(&w->ledger, KD_MSG_commit);

    assert_int_equal(kd_commit_get(message->body, m), KD_OK);
    assert_int_equal(kd_audit_decode(m->record, r), KD_OK);
    assert_int_equal(r->seq, w->state.seq + 1);
    assert_memory_equal(r->prev, w->state.hash, 32);
    return message;
}

/* Stores the next record with this outcome and acknowledges it. */
static enum kd_audit_op
store_next(struct world *w, kd_err outcome)
{
    struct kd_commit m;
    struct kd_audit_record r;
    struct kd_row_keystore row;
    struct kd_ack ack = {.outcome = (uint8_t)outcome};
    struct message *message = next_commit(w, &m, &r);

    if (m.row == KD_ROW_KEYSTORE && outcome == KD_OK) {
        assert_int_equal(kd_row_keystore_get(m.row_body, &row), KD_OK);
        assert_int_equal(r.keystore_generation, w->keystore + 1);
        kd_buf_reset(&w->store);
        kd_buf_put(&w->store, row.store);
        w->keystore = r.keystore_generation;
    }
    w->state.epoch = ack.epoch = r.epoch;
    w->state.seq = ack.seq = r.seq;
    w->state.time = r.time_ms;
    kd_audit_hash(m.record, w->state.hash);
    memcpy(ack.hash, w->state.hash, sizeof ack.hash);
    w->outcomes[r.seq % OUTCOMES] = (uint8_t)outcome;
    PUT(&w->ledger, ack, &ack, -1);
    message_free(message);
    return r.op;
}

static void
vault_starts(struct world *w)
{
    peer_start(&w->vault, KD_ROLE_VAULT, KD_CLASS_ADMIN, &w->d, w->conf);
    peer_join(&w->vault, &w->admin, KD_LINK_GATE, ADMIN);
    peer_join(&w->vault, &w->submission, KD_LINK_GATE, SUBMISSION);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
    ledger_greets(w);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_START);
}

/* A job; returns its id. Takes fd. */
static uint64_t
put_job(struct world *w, struct peer_link *gate, enum kd_op op, const char *key,
        struct kd_slice body, int fd)
{
    struct kd_job job = {.id = ++w->next_job,
                         .op = (uint8_t)op,
                         .uid = geteuid(),
                         .deadline = (uint64_t)kd_clock_ms() + 60000,
                         .has_key = key != NULL,
                         .body = body};

    if (key != NULL)
        memcpy(job.key, key, sizeof job.key);
    PUT(gate, job, &job, fd);
    return job.id;
}

/* The answer to a job. */
static kd_err
done(struct peer_link *gate, uint64_t id, unsigned *reason)
{
    for (;;) {
        struct kd_done m;
        struct message *message = link_expect(gate, KD_MSG_done);
        assert_int_equal(kd_done_get(message->body, &m), KD_OK);
        message_free(message);
        if (m.id != id)
            continue;
        if (reason != NULL)
            *reason = m.reason;
        return (kd_err)m.err;
    }
}

static int
sealed_octets(const void *p, size_t n)
{
    int fd = -1;

    assert_int_equal(kd_memfd_seal(kd_slice(p, n), &fd), KD_OK);
    return fd;
}

static uint64_t
put_slot_job(struct world *w, enum kd_op op, const char *key)
{
    uint8_t kind = KD_SLOT_CREDENTIAL;

    return put_job(w, &w->admin, op, key, kd_slice(&kind, 1),
                   sealed_octets(w->d.credential, sizeof w->d.credential));
}

static uint64_t
put_generate(struct world *w, const char *key)
{
    const struct kd_generate_job m = {.domain = kd_slice_str("example.com"),
                                      .role = KD_KEY_ROLE_SOK,
                                      .algorithm = KD_ALG_ED25519,
                                      .permissions = KD_PERM_SIGNET};
    uint8_t octets[64];
    struct kd_buf b;

    kd_buf_init(&b, sizeof octets);
    kd_generate_job_put(&b, &m);
    memcpy(octets, b.p, b.n);
    size_t n = b.n;
    kd_buf_free(&b);
    return put_job(w, &w->admin, KD_OP_GenerateKey, key, kd_slice(octets, n), -1);
}

static unsigned
vault_state(struct world *w)
{
    struct kd_done m;
    struct kd_status_done status;
    uint64_t id = put_job(w, &w->admin, KD_OP_Status, NULL, kd_slice(NULL, 0), -1);
    struct message *message = link_expect(&w->admin, KD_MSG_done);

    assert_int_equal(kd_done_get(message->body, &m), KD_OK);
    assert_int_equal(m.id, id);
    assert_int_equal(kd_status_done_get(m.body, &status), KD_OK);
    message_free(message);
    return status.state;
}

static void
provision(struct world *w)
{
    uint64_t id = put_slot_job(w, KD_OP_TokenInit, NULL);

    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_KEYSTORE_CHANGE);
    assert_int_equal(done(&w->admin, id, NULL), KD_OK);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_CHECKPOINT);
}

static void
make_key(struct world *w, enum kd_key_role role, uint8_t permissions, uint8_t id[16])
{
    const struct kd_generate_job m = {
        .domain = kd_slice_str("example.com"),
        .role = (uint8_t)role,
        .algorithm = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1 : KD_ALG_ED25519,
        .permissions = permissions};
    struct kd_done d;
    struct kd_keys_done keys;
    struct kd_key_line line;
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_generate_job_put(&b, &m);
    uint64_t job = put_job(w, &w->admin, KD_OP_GenerateKey, NULL, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_GENERATE_KEY);
    struct message *message = link_expect(&w->admin, KD_MSG_done);
    assert_int_equal(kd_done_get(message->body, &d), KD_OK);
    assert_int_equal(d.id, job);
    assert_int_equal(d.err, KD_OK);
    assert_int_equal(kd_keys_done_get(d.body, &keys), KD_OK);
    struct kd_cur c = kd_cur(keys.keys);
    assert_int_equal(kd_key_line_get(kd_list_next(&c), &line), KD_OK);
    memcpy(id, line.id, 16);
    message_free(message);
}

/* Keys and an organizational signet for example.com. */
static void
provision_domain(struct world *w)
{
    struct kd_issue_org_job m = {.domain = kd_slice_str("example.com")};
    uint8_t sok[16];
    struct kd_buf b;

    provision(w);
    make_key(w, KD_KEY_ROLE_POK, 0, m.pok);
    make_key(w, KD_KEY_ROLE_SOK, KD_PERM_SIGNET | KD_PERM_MESSAGE, sok);
    make_key(w, KD_KEY_ROLE_ENC, 0, m.encryption);
    m.soks = kd_slice(sok, sizeof sok);
    kd_buf_init(&b, 1024);
    kd_issue_org_job_put(&b, &m);
    uint64_t job =
        put_job(w, &w->admin, KD_OP_IssueOrgSignet, NULL, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_ISSUE_ORG);
    assert_int_equal(done(&w->admin, job, NULL), KD_OK);
}

/* Asks for a first signet; returns the job's id. */
static uint64_t
put_issue(struct world *w, unsigned person)
{
    char address[64];
    struct kd_buf ssr, b;

    kd_buf_init(&b, KD_JOB_BODY_MAX);
    person_request("hostile", person, &ssr);
    snprintf(address, sizeof address, "hostile-%u@example.com", person);
    const struct kd_issue_job m = {.address = kd_slice_str(address),
                                   .ssr = kd_buf_slice(&ssr)};
    kd_issue_job_put(&b, &m);
    uint64_t job =
        put_job(w, &w->submission, KD_OP_IssueUserSignet, NULL, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    kd_buf_free(&ssr);
    return job;
}

/* Answers the next question: nobody has this address or these keys. */
static void
tell_nothing_is_known(struct world *w)
{
    struct kd_ask_issue ask;
    struct kd_told_issue told = {.is = KD_TOLD_NONE, .account = open_account()};
    struct message *message = link_expect(&w->ledger, KD_MSG_ask_issue);

    assert_int_equal(kd_ask_issue_get(message->body, &ask), KD_OK);
    told.tag = ask.tag;
    PUT(&w->ledger, told_issue, &told, -1);
    message_free(message);
}

static void
new_world_with(struct world *w, const char *top)
{
    const struct daemon_options options = {.sealed = true, .top = top};

    memset(w, 0, sizeof *w);
    assert_true(daemon_prepare(&w->d, &options));
    w->conf = peer_conf(&w->d);
    randombytes_buf(w->state.instance, sizeof w->state.instance);
    kd_buf_init(&w->store, KD_STORE_MAX);
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
    vault_starts(w);
}

static void
new_world(struct world *w)
{
    new_world_with(w, NULL);
}

static void
end_world(struct world *w)
{
    assert_true(peer_lives(&w->vault));
    link_clear(&w->admin);
    link_clear(&w->submission);
    link_clear(&w->ledger);
    assert_int_equal(peer_stop(&w->vault), 0);
    kd_conf_free(w->conf);
    kd_buf_free(&w->store);
    kd_buf_free(&out);
    daemon_clear(&w->d);
}

static struct world world;

/* --- changes of the key store --- */

static void
tell_key_is_new(struct world *w, const struct message *asked)
{
    struct kd_ask_key ask;
    struct kd_told_key told = {.err = KD_NOT_FOUND};

    assert_int_equal(kd_ask_key_get(asked->body, &ask), KD_OK);
    told.tag = ask.tag;
    PUT(&w->ledger, told_key, &told, -1);
}

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
    kd_buf_reset(&out);
    kd_ledger_ready_put(&out, &ready);
    struct kd_buf body = out;
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
    flood(&w->ledger, KD_MSG_ledger_ready, kd_buf_slice(&body), 200 * 1000);
    kd_buf_free(&body);
    assert_true(link_closes(&w->ledger, SOON_MS));
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
    kd_buf_reset(&out);
    kd_ledger_state_put(&out, &w->state);
    struct kd_buf body = out;
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
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
relink_ledger(struct world *w)
{
    link_clear(&w->ledger);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
}

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

/* --- the ledger and its gates --- */

struct ledger_world {
    struct daemon d;
    struct kd_conf *conf;
    struct peer ledger;
    struct peer_link vault, mta, admin;
};

static void
new_ledger_world(struct ledger_world *w)
{
    const struct daemon_options options = {.sealed = true};

    memset(w, 0, sizeof *w);
    assert_true(daemon_prepare(&w->d, &options));
    w->conf = peer_conf(&w->d);
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
    assert_int_equal(mkdir(w->conf->state_directory, 0700), 0);
    peer_start(&w->ledger, KD_ROLE_LEDGER, KD_CLASS_ADMIN, &w->d, w->conf);
    peer_join(&w->ledger, &w->vault, KD_LINK_VAULT, 0);
    peer_join(&w->ledger, &w->mta, KD_LINK_GATE, MTA);
    peer_join(&w->ledger, &w->admin, KD_LINK_GATE, ADMIN);
    message_free(link_expect(&w->vault, KD_MSG_ledger_ready));
}

static void
end_ledger_world(struct ledger_world *w)
{
    assert_true(peer_lives(&w->ledger));
    link_clear(&w->vault);
    link_clear(&w->mta);
    link_clear(&w->admin);
    assert_int_equal(peer_stop(&w->ledger), 0);
    kd_conf_free(w->conf);
    kd_buf_free(&out);
    daemon_clear(&w->d);
}

/* Records of a vault's start until the log fills an audit page. */
static void
fill_log(struct ledger_world *w)
{
    struct message *greeting = link_expect(&w->vault, KD_MSG_ledger_state);
    struct kd_ledger_state state;
    uint8_t prev[32];

    assert_int_equal(kd_ledger_state_get(greeting->body, &state), KD_OK);
    memcpy(prev, state.hash, sizeof prev);
    for (unsigned i = 1; i <= 200; i++) {
        struct kd_audit_record r = {.epoch = 1,
                                    .seq = i,
                                    .time_ms = 1,
                                    .op = KD_AUDIT_START,
                                    .class = KD_AUDIT_CLASS_SELF,
                                    .principal = kd_slice_str("keyd"),
                                    .n_digests = 3};
        struct kd_commit m = {.row = KD_ROW_NONE};
        struct kd_buf octets;
        memcpy(r.instance, state.instance, sizeof r.instance);
        memcpy(r.prev, prev, sizeof r.prev);
        kd_buf_init(&octets, KD_AUDIT_RECORD_MAX);
        assert_int_equal(kd_audit_encode(&r, &octets), KD_OK);
        kd_audit_hash(kd_buf_slice(&octets), prev);
        m.record = kd_buf_slice(&octets);
        PUT(&w->vault, commit, &m, -1);
        kd_buf_free(&octets);
    }
    for (unsigned i = 0; i < 200; i++)
        message_free(link_expect(&w->vault, KD_MSG_ack));
    message_free(greeting);
}

/* 20 octets ask for 25,000: who asks and does not read waits. */
static void
a_gate_that_asks_and_does_not_read_costs_little_memory(void **state)
{
    struct ledger_world w;
    const struct kd_look_audit page = {.tag = 1, .from = 1};
    const struct kd_look_head head = {.tag = 2};
    struct kd_buf body;
    unsigned n = 0;

    (void)state;
    new_ledger_world(&w);
    fill_log(&w);
    kd_buf_init(&body, 64);
    kd_look_audit_put(&body, &page);
    while (kd_chan_put(&w.admin.chan, KD_MSG_look_audit, kd_buf_slice(&body), -1) ==
               KD_OK &&
           n++ < 100 * 1000)
        if (w.admin.chan.backlog > 1024 * 1024) {
            assert_int_equal(kd_chan_flush(&w.admin.chan), KD_OK);
            if (kd_chan_pending(&w.admin.chan))
                break;
        }
    kd_buf_free(&body);
    /* Another is served meanwhile, and the first one when it reads. */
    PUT(&w.mta, look_head, &head, -1);
    assert_true(link_closes(&w.mta, SOON_MS)); /* not of its class: that is an answer */
    struct message *m = link_expect(&w.admin, KD_MSG_looked_audit);
    struct kd_looked_audit looked;
    assert_int_equal(kd_looked_audit_get(m->body, &looked), KD_OK);
    assert_int_equal(looked.err, KD_OK);
    message_free(m);
    assert_true(peer_most_kib(&w.ledger) < MOST_KIB);
    end_ledger_world(&w);
}

/* --- a gate and its ledger --- */

static void
send_frame(int fd, const Keyd__V1__Request *r)
{
    uint8_t octets[4096];
    size_t n = keyd__v1__request__get_packed_size(r);

    assert_true(n <= sizeof octets - 4);
    kd_put_be32(octets, (uint32_t)n);
    keyd__v1__request__pack(r, octets + 4);
    assert_int_equal(write(fd, octets, n + 4), (ssize_t)(n + 4));
}

static Keyd__V1__Response *
read_frame(int fd)
{
    uint8_t octets[8192];
    uint32_t n;

    assert_int_equal(recv(fd, octets, 4, MSG_WAITALL), 4);
    n = kd_be32(octets);
    assert_true(n <= sizeof octets);
    assert_int_equal(recv(fd, octets, n, MSG_WAITALL), (ssize_t)n);
    Keyd__V1__Response *r = keyd__v1__response__unpack(NULL, n, octets);
    assert_non_null(r);
    return r;
}

static int
listener_at(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(strlen(path) < sizeof sun.sun_path);
    memcpy(sun.sun_path, path, strlen(path) + 1);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const struct timeval patience = {10, 0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sun.sun_path, path, strlen(path) + 1);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

static void
ask_hello(int fd)
{
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;

    hello.min_version = hello.max_version = 1;
    r.id = 1;
    r.op_case = KEYD__V1__REQUEST__OP_HELLO;
    r.hello = &hello;
    send_frame(fd, &r);
    Keyd__V1__Response *answer = read_frame(fd);
    assert_int_equal(answer->status, KEYD__V1__STATUS__STATUS_OK);
    keyd__v1__response__free_unpacked(answer, NULL);
}

/* Whatever is said under the tag of another's request goes nowhere. */
static void
a_ledger_does_not_answer_for_the_vault(void **state)
{
    struct daemon d;
    const struct daemon_options options = {.sealed = true};
    struct peer gate;
    struct peer_link vault, ledger;
    char path[160];

    (void)state;
    assert_true(daemon_prepare(&d, &options));
    struct kd_conf *conf = peer_conf(&d);
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
    snprintf(path, sizeof path, "%s/socket", d.dir);
    int listener = listener_at(path);
    peer_start(&gate, KD_ROLE_GATE, KD_CLASS_ADMIN, &d, conf);
    peer_join(&gate, &vault, KD_LINK_VAULT, ADMIN);
    peer_join(&gate, &ledger, KD_LINK_LEDGER, ADMIN);
    peer_give(&gate, KD_LINK_LISTENER, ADMIN, listener);
    int client = connect_to(path);
    ask_hello(client);

    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    Keyd__V1__StatusRequest status = KEYD__V1__STATUS_REQUEST__INIT;
    r.id = 2;
    r.op_case = KEYD__V1__REQUEST__OP_SERVICE_STATUS;
    r.service_status = &status;
    send_frame(client, &r);
    struct message *asked = link_expect(&vault, KD_MSG_job);
    struct kd_job job;
    assert_int_equal(kd_job_get(asked->body, &job), KD_OK);
    /* The body of a vault's answer, after the eight octets that name the request. */
    struct kd_status_done forged = {.state = OPEN_STATE};
    kd_buf_reset(&out);
    kd_buf_u64(&out, job.id);
    link_put(&ledger, KD_MSG_looked_head, kd_buf_slice(&out), -1);
    kd_buf_reset(&out);
    kd_status_done_put(&out, &forged);
    struct kd_looked_head head = {.tag = job.id};
    PUT(&ledger, looked_head, &head, -1);
    assert_true(link_drain(&ledger, SOON_MS));
    kd_ignore(poll(NULL, 0, 100)); /* time for it to do what it must not */
    forged.state = SEALED_STATE;
    struct kd_buf body;
    kd_buf_init(&body, 256);
    kd_status_done_put(&body, &forged);
    const struct kd_done good = {.id = job.id, .body = kd_buf_slice(&body)};
    PUT(&vault, done, &good, -1);
    kd_buf_free(&body);
    Keyd__V1__Response *answer = read_frame(client);
    assert_int_equal(answer->id, 2);
    assert_int_equal(answer->status, KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(answer->result_case, KEYD__V1__RESPONSE__RESULT_SERVICE_STATUS);
    assert_int_equal(answer->service_status->state,
                     KEYD__V1__SERVICE_STATE__SERVICE_STATE_SEALED);
    keyd__v1__response__free_unpacked(answer, NULL);
    message_free(asked);
    close(client);
    assert_true(peer_lives(&gate));
    link_clear(&vault);
    link_clear(&ledger);
    assert_int_equal(peer_stop(&gate), 0);
    kd_conf_free(conf);
    kd_buf_free(&out);
    daemon_clear(&d);
}

/* --- storms --- */

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
    struct kd_buf b;

    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    uint32_t which = any(6);
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
    else
        kd_ack_put(&b, &ack);
    if (any(20) == 0)
        spoil(&b);
    static const uint16_t types[] = {KD_MSG_told_issue,    KD_MSG_told_key,
                                     KD_MSG_told_account,  KD_MSG_told_resets,
                                     KD_MSG_ledger_resets, KD_MSG_ack};
    uint16_t type = any(100) == 0 ? (uint16_t)any(60) : types[which];
    if (b.err == KD_OK && type != KD_MSG_ledger_state)
        link_put(&w->ledger, type, kd_slice(b.p, b.n),
                 which == 0 ? any_descriptor(w) : -1);
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
    PUT(&w->ledger, ack, &ack, -1);
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
        PUT(&w->ledger, told_issue, &told, -1);
    else if (type == KD_MSG_ask_key)
        tell_key_is_new(w, m);
    else if (type == KD_MSG_ask_account)
        PUT(&w->ledger, told_account, &account, -1);
    else if (type == KD_MSG_ask_resets)
        PUT(&w->ledger, told_resets, &resets, -1);
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
    PUT(&w.admin, look_head, &head, -1);
    message_free(link_expect(&w.admin, KD_MSG_looked_head));
    assert_true(peer_most_kib(&w.ledger) < MOST_KIB);
    assert_true(peer_descriptors(&w.ledger) <= descriptors + 2);
    end_ledger_world(&w);
}

/* --- a gate that says nonsense, under the real supervisor --- */

/* This program under the name keyd-gate: nonsense on every channel to the vault. */
static kd_err
spoil_link(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_ctl_link m;
    struct peer_link l = {.chan.fd = fd};

    (void)ctx;
    if (type == KD_MSG_ctl_link && fd >= 0 && kd_ctl_link_get(body, &m) == KD_OK &&
        m.link == KD_LINK_VAULT) {
        kd_ignore(link_raw(&l, kd_slice_str("nonsense"), -1)); /* more will come */
        return KD_OK; /* and never looked at again: the vault has to say so */
    }
    if (fd >= 0)
        close(fd);
    return KD_OK;
}

static int
be_a_hostile_gate(void)
{
    struct kd_chan ctl;
    struct pollfd p = {.fd = 3, .events = POLLIN};

    kd_chan_init(&ctl, 3);
    while (kd_chan_recv(&ctl, 1, spoil_link, NULL) == KD_OK)
        kd_ignore(poll(&p, 1, -1)); /* what failed shows when receiving */
    return 0;
}

static void
link_program(const char *directory, const char *name, const char *target)
{
    char path[4096];

    assert_true(snprintf(path, sizeof path, "%s/%s", directory, name) <
                (int)sizeof path);
    assert_int_equal(symlink(target, path), 0);
}

static pid_t
pid_of(const struct daemon *d, const char *name)
{
    struct daemon_child children[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(d, children, DAEMON_CHILDREN_MAX);

    for (size_t i = 0; i < n; i++)
        if (strcmp(children[i].name, name) == 0)
            return children[i].pid;
    return 0;
}

static void
a_gate_that_talks_nonsense_is_started_again_and_the_vault_is_not(void **state)
{
    char program[4096], self[4096], top[256], libexec[128];
    struct daemon_options options = {.sealed = true, .top = top};
    struct daemon d;

    (void)state;
    snprintf(libexec, sizeof libexec, "/tmp/keyd-hostile-%d", (int)getpid());
    assert_int_equal(mkdir(libexec, 0755), 0);
    assert_int_equal(chmod(libexec, 0755), 0);
    snprintf(top, sizeof top, "libexec-directory = \"%s\"", libexec);
    daemon_program("bin", "keyd-vault", program);
    link_program(libexec, "keyd-vault", program);
    daemon_program("bin", "keyd-ledger", program);
    link_program(libexec, "keyd-ledger", program);
    daemon_program("tests", "test_hostile", self);
    link_program(libexec, "keyd-gate", self);
    assert_true(daemon_prepare(&d, &options));
    assert_true(daemon_launch(&d));
    assert_true(daemon_log_wait(&d, "ledger open: epoch 1", SOON_MS));
    pid_t vault = pid_of(&d, "keyd-vault"), ledger = pid_of(&d, "keyd-ledger");
    assert_true(vault > 0 && ledger > 0);
    assert_true(daemon_log_wait(&d, "loses its links too often", 4 * SOON_MS));
    kd_ignore(poll(NULL, 0, 500)); /* long enough for a few hundred links more */
    assert_int_equal(pid_of(&d, "keyd-vault"), vault);
    assert_int_equal(pid_of(&d, "keyd-ledger"), ledger);
    assert_false(daemon_log_has(&d, "keyd-vault loses its links"));
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
    static const char *const names[] = {"keyd-vault", "keyd-ledger", "keyd-gate"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(program, sizeof program, "%s/%s", libexec, names[i]);
        assert_int_equal(unlink(program), 0);
    }
    assert_int_equal(rmdir(libexec), 0);
}

/* --- a start that cannot unseal itself --- */

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

    PUT(gate, job, &job, -1);
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

static void
a_credential_of_impossible_size_leaves_the_sockets_open(void **state)
{
    struct daemon d;

    (void)state;
    assert_true(daemon_start(&d, NULL));
    assert_true(daemon_init_token(&d));
    assert_int_equal(daemon_stop(&d), 0);
    assert_int_equal(truncate(d.credential_path, 10), 0);
    assert_true(daemon_launch(&d));
    assert_true(daemon_log_wait(&d, "unseal refused", 2 * SOON_MS));
    keyd_client *c = daemon_connect(&d, "admin");
    struct keyd_answer *a = NULL;
    assert_non_null(c);
    assert_int_equal(keyd_client_status(c, &a), KEYD_OK);
    assert_int_equal(a->out.status.state, KEYD_STATE_SEALED);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_between_question_and_answer_ends_a_change_well),
        cmocka_unit_test(a_refused_change_leaves_the_key_store_as_it_was),
        cmocka_unit_test(ledger_that_is_ready_again_and_again_is_cut_off),
        cmocka_unit_test(ledger_that_stands_there_again_and_again_is_cut_off),
        cmocka_unit_test(a_new_ledger_speaks_first),
        cmocka_unit_test(a_ledger_that_went_back_ends_what_waits_and_leaves_seal),
        cmocka_unit_test(unsealing_does_not_heal_a_vault_that_failed_meanwhile),
        cmocka_unit_test(
            a_key_store_that_is_not_recorded_works_after_its_acceptance_and_not_before),
        cmocka_unit_test(a_gate_that_asks_and_does_not_read_costs_little_memory),
        cmocka_unit_test(a_ledger_does_not_answer_for_the_vault),
        cmocka_unit_test(the_vault_survives_a_storm),
        cmocka_unit_test(the_ledger_survives_a_storm_of_its_gates),
        cmocka_unit_test(
            a_gate_that_talks_nonsense_is_started_again_and_the_vault_is_not),
        cmocka_unit_test(a_remote_gate_that_claims_other_principals_gets_nothing),
        cmocka_unit_test(a_credential_of_impossible_size_leaves_the_sockets_open),
    };

    if (strcmp(program_invocation_short_name, "keyd-gate") == 0)
        return be_a_hostile_gate();
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
