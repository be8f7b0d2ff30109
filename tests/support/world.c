#include "world.h"

#include "people.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/job/reasons.h>
#include <keyd/ledger/audit.h>
#include <keyd/token/soft_store.h>
#include <keyd/token/token.h>

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

struct kd_slice
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

void
ledger_greets(struct world *w)
{
    const struct kd_ledger_ready ready = {w->keystore};
    const struct kd_ledger_accounts accounts = {.uptime = 1000};

    LINK_PUT(&w->ledger, ledger_state, &w->state, -1);
    LINK_PUT(&w->ledger, ledger_accounts, &accounts, -1);
    if (w->keystore != 0)
        link_put(&w->ledger, KD_MSG_KEYSTORE, kd_buf_slice(&w->store), -1);
    LINK_PUT(&w->ledger, ledger_ready, &ready, -1);
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

enum kd_audit_op
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
    LINK_PUT(&w->ledger, ack, &ack, -1);
    message_free(message);
    return r.op;
}

void
vault_starts(struct world *w)
{
    peer_start(&w->vault, KD_ROLE_VAULT, KD_CLASS_ADMIN, &w->d, w->conf);
    peer_join(&w->vault, &w->admin, KD_LINK_GATE, ADMIN);
    peer_join(&w->vault, &w->submission, KD_LINK_GATE, SUBMISSION);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
    ledger_greets(w);
    assert_int_equal(store_next(w, KD_OK), KD_AUDIT_START);
}

uint64_t
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
    LINK_PUT(gate, job, &job, fd);
    return job.id;
}

kd_err
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

int
sealed_octets(const void *p, size_t n)
{
    int fd = -1;

    assert_int_equal(kd_memfd_seal(kd_slice(p, n), &fd), KD_OK);
    return fd;
}

uint64_t
put_slot_job(struct world *w, enum kd_op op, const char *key)
{
    uint8_t kind = KD_SLOT_CREDENTIAL;

    return put_job(w, &w->admin, op, key, kd_slice(&kind, 1),
                   sealed_octets(w->d.credential, sizeof w->d.credential));
}

uint64_t
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

unsigned
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

void
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

void
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

uint64_t
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

void
tell_nothing_is_known(struct world *w)
{
    struct kd_ask_issue ask;
    struct kd_told_issue told = {.is = KD_TOLD_NONE, .account = open_account()};
    struct message *message = link_expect(&w->ledger, KD_MSG_ask_issue);

    assert_int_equal(kd_ask_issue_get(message->body, &ask), KD_OK);
    told.tag = ask.tag;
    LINK_PUT(&w->ledger, told_issue, &told, -1);
    message_free(message);
}

void
new_world_with(struct world *w, const char *top)
{
    const struct daemon_options options = {.sealed = true, .top = top};

    memset(w, 0, sizeof *w);
    assert_true(daemon_prepare(&w->d, &options));
    w->conf = peer_conf(&w->d);
    randombytes_buf(w->state.instance, sizeof w->state.instance);
    kd_buf_init(&w->store, KD_STORE_MAX);
    vault_starts(w);
}

void
new_world(struct world *w)
{
    new_world_with(w, NULL);
}

void
end_world(struct world *w)
{
    assert_true(peer_lives(&w->vault));
    link_clear(&w->admin);
    link_clear(&w->submission);
    link_clear(&w->ledger);
    assert_int_equal(peer_stop(&w->vault), 0);
    kd_conf_free(w->conf);
    kd_buf_free(&w->store);
    daemon_clear(&w->d);
}

void
tell_key_is_new(struct world *w, const struct message *asked)
{
    struct kd_ask_key ask;
    struct kd_told_key told = {.err = KD_NOT_FOUND};

    assert_int_equal(kd_ask_key_get(asked->body, &ask), KD_OK);
    told.tag = ask.tag;
    LINK_PUT(&w->ledger, told_key, &told, -1);
}

void
relink_ledger(struct world *w)
{
    link_clear(&w->ledger);
    peer_join(&w->vault, &w->ledger, KD_LINK_LEDGER, 0);
}
