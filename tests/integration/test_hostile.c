/* Roles among hostile neighbours: what a captured gate says to vault and ledger, what a
 * captured ledger says to the vault and to gates. None of it ends the process, takes
 * more than its share of memory, or gets an answer that is not its own. */
#include "peer.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/reasons.h>
#include <keyd/ledger/audit.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WORKERS = 4, /* role.h: gates of a class */
    ADMIN = KD_CLASS_ADMIN * WORKERS,
    SUBMISSION = KD_CLASS_SUBMISSION * WORKERS,
    MTA = KD_CLASS_MTA * WORKERS,
    SOON_MS = 5000,
    SEALED_STATE = 2,
    OPERATIONAL_STATE = 3,
    FAILED_STATE = 4,
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
    uint64_t next_job;
};

static struct kd_buf out; /* the message being made */

#define PUT(link, name, message, fd)                                                   \
    do {                                                                               \
        kd_buf_reset(&out);                                                            \
        kd_##name##_put(&out, message);                                                \
        link_put(link, KD_MSG_##name, kd_buf_slice(&out), fd);                         \
    } while (0)

static void
ledger_greets(struct world *w)
{
    const struct kd_ledger_ready ready = {w->keystore};

    PUT(&w->ledger, ledger_state, &w->state, -1);
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
new_world(struct world *w)
{
    const struct daemon_options options = {.sealed = true};

    memset(w, 0, sizeof *w);
    assert_true(daemon_prepare(&w->d, &options));
    w->conf = peer_conf(&w->d);
    randombytes_buf(w->state.instance, sizeof w->state.instance);
    kd_buf_init(&w->store, KD_STORE_MAX);
    kd_buf_init(&out, KD_CHAN_BODY_MAX);
    vault_starts(w);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing_between_question_and_answer_ends_a_change_well),
        cmocka_unit_test(a_refused_change_leaves_the_key_store_as_it_was),
        cmocka_unit_test(
            a_gate_that_talks_nonsense_is_started_again_and_the_vault_is_not),
    };

    if (strcmp(program_invocation_short_name, "keyd-gate") == 0)
        return be_a_hostile_gate();
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
