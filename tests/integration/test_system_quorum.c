/* The quorum on a running daemon: every operation that can take one, with too few
 * approvals, false ones and good ones; what makes a request void; and what is left when
 * too many operators are gone. */
#include "ask.h"
#include "people.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/ledger/audit.h>
#include <keyd/quorum/pending.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sanitizers keep copies of what was freed. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { OPERATORS = 5, ZOE = OPERATORS, UID = 61020 };

#define ADMIN_OPS                                                                      \
    "\"GenerateKey\", \"RetireKey\", \"ImportKey\", \"IssueOrgSignet\", "              \
    "\"AddUnsealSlot\", \"SetQuorum\", \"ApprovalList\", \"ApprovalShow\", "           \
    "\"ApprovalSign\", \"SignTlsRecord\""
#define PRINCIPAL(name, uid)                                                           \
    "principal \"" name "\" {\n uid = " uid                                            \
    "\n class = \"admin\"\n operations = { " ADMIN_OPS                                 \
    " }\n domains = { \"example.com\" }\n"                                             \
    " quotas = { \"* 1/hour burst 1000 in-flight 400\" }\n}\n"

static const char principals[] = PRINCIPAL("ben", "61021") PRINCIPAL("cid", "61022")
    PRINCIPAL("dan", "61023") PRINCIPAL("eve", "61024") PRINCIPAL("zoe", "61025");

/* The caller is the first operator. */
static const char *const names[OPERATORS + 1] = {"ben", "caller-admin", "cid",
                                                 "dan", "eve",          "zoe"};
enum { BEN, SELF, CID, DAN, EVE };

static uint8_t public_keys[OPERATORS + 1][32], secrets[OPERATORS + 1][64];
static struct daemon keyd;
static keyd_client *admin;
static struct daemon_org org;

static void
make_keys(void)
{
    uint8_t seed[32] = {0x51};

    for (size_t i = 0; i <= OPERATORS; i++) {
        seed[1] = (uint8_t)i;
        crypto_sign_seed_keypair(public_keys[i], secrets[i], seed);
    }
}

static const uint64_t all_marks =
    UINT64_C(1) << KEYD_OP_ADD_UNSEAL_SLOT | UINT64_C(1) << KEYD_OP_RESET_ADDRESS |
    UINT64_C(1) << KEYD_OP_GENERATE_KEY | UINT64_C(1) << KEYD_OP_RETIRE_KEY |
    UINT64_C(1) << KEYD_OP_IMPORT_KEY | UINT64_C(1) << KEYD_OP_ISSUE_ORG_SIGNET |
    UINT64_C(1) << KEYD_OP_SET_QUORUM | UINT64_C(1) << KEYD_OP_SIGN_TLS_RECORD;

/* The first n of the operators. */
static struct keyd_operator wanted[OPERATORS];

static struct keyd_request
set_request(uint32_t k, uint64_t marks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        wanted[i] = (struct keyd_operator){KEYD_STR(names[i]), {public_keys[i], 32}};
    return (struct keyd_request){
        .op = KEYD_OP_SET_QUORUM,
        .in.set_quorum = {
            .k = k, .marks = marks, .operators = wanted, .n_operators = n}};
}

static void
start_with(const char *top, bool quorum, uint32_t k, size_t n)
{
    const struct daemon_options options = {
        .top = top, .quorum = quorum, .sections = principals};

    assert_true(daemon_start(&keyd, &options));
    assert_true(daemon_init_token(&keyd));
    admin = ask_connect(&keyd, "admin");
    if (n == 0)
        return;
    assert_true(daemon_provision_domain(&keyd, "example.com", &org));
    const struct keyd_request q = set_request(k, all_marks, n);
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(admin);
    admin = NULL;
    daemon_clear(&keyd);
    return 0;
}

static int
start_five(void **state)
{
    (void)state;
    start_with(NULL, false, 2, OPERATORS);
    return 0;
}

/* A connection as one of the other principals, whose uid it is that the kernel names.
 */
static keyd_client *
connect_as(unsigned who)
{
    if (geteuid() != 0)
        skip();
    /* euid and egid are what SO_PEERCRED shows, of the moment of connect(). */
    assert_int_equal(setegid(DAEMON_GROUP), 0);
    assert_int_equal(seteuid(UID + who + (who == BEN ? 1 : 0)), 0); /* as listed */
    keyd_client *c = daemon_connect(&keyd, "admin");
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    assert_non_null(c);
    return c;
}

/* --- approving --- */

static struct keyd_answer *
show(const uint8_t id[16])
{
    const struct keyd_request q = {.op = KEYD_OP_APPROVAL_SHOW,
                                   .in.approval_show.id = {id, 16}};

    return ask(admin, &q);
}

static struct keyd_answer *
send_signature(const uint8_t id[16], const char *name, const uint8_t sig[64])
{
    const struct keyd_request q = {.op = KEYD_OP_APPROVAL_SIGN,
                                   .in.approval_sign = {.id = {id, 16},
                                                        .operator_name = KEYD_STR(name),
                                                        .signature = {sig, 64}}};

    return ask(admin, &q);
}

static struct keyd_answer *
approve(const uint8_t id[16], unsigned who)
{
    struct keyd_answer *a = show(id);
    uint8_t sig[64];

    assert_int_equal(a->status, KEYD_OK);
    crypto_sign_detached(sig, NULL, a->out.approvals.text.p, a->out.approvals.text.n,
                         secrets[who]);
    keyd_client_answer_free(a);
    return send_signature(id, names[who], sig);
}

static void
waits(struct keyd_answer *a, uint32_t missing, uint8_t id[16])
{
    if (a->status != KEYD_APPROVAL_NEEDED || a->approvals_missing != missing)
        fail_msg("%s (%s), %u missing, where %u were to be",
                 keyd_client_status_text(a->status), a->detail,
                 (unsigned)a->approvals_missing, (unsigned)missing);
    assert_string_equal(a->detail, "approvals-needed");
    memcpy(id, a->approval_id, 16);
    keyd_client_answer_free(a);
}

static size_t
n_waiting(void)
{
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_APPROVAL_LIST});
    assert_int_equal(a->status, KEYD_OK);
    size_t n = a->out.approvals.n_approvals;
    keyd_client_answer_free(a);
    return n;
}

/* --- one request of each operation --- */

static const char passphrase[] = "correct horse of the quorum";
static const char other_passphrase[] = "another horse of the quorum";

struct made {
    struct keyd_request q;
    uint8_t key[16];
    char object[4096]; /* sent, and wiped by each call */
    size_t n_object;
    char kept[4096];
    struct keyd_octets soks[1];
    uint8_t certificate[256];
    struct keyd_operator operators[OPERATORS];
};

static uint8_t retired[16], imports;

static void
make_key_file(struct made *m)
{
    uint8_t seed[32] = {0x77, ++imports}, scalar[32] = {0x01, imports};

    m->n_object = ask_key_file(DIME_DKEY_ORG, seed, scalar, m->kept);
    m->q.in.import_key.signing_role = KEYD_ROLE_SOK;
    m->q.in.import_key.permissions = KEYD_PERM_CERTIFICATE;
    m->q.in.import_key.domain = KEYD_STR("example.com");
    m->q.in.import_key.key_file = (struct keyd_secret){m->object, m->n_object};
}

static void
make_slot(struct made *m, const char *text)
{
    m->n_object = strlen(text);
    memcpy(m->kept, text, m->n_object);
    m->q.in.slot.kind = KEYD_SLOT_PASSPHRASE;
    m->q.in.slot.secret = (struct keyd_secret){m->object, m->n_object};
}

static void
make_request(enum keyd_op op, struct made *m)
{
    *m = (struct made){.q.op = op};
    randombytes_buf(m->key, sizeof m->key);
    m->q.idempotency_key = m->key;
    if (op == KEYD_OP_GENERATE_KEY) {
        m->q.in.generate_key.role = KEYD_ROLE_SOK;
        m->q.in.generate_key.algorithm = KEYD_ED25519;
        m->q.in.generate_key.permissions = KEYD_PERM_CERTIFICATE;
        m->q.in.generate_key.domain = KEYD_STR("example.com");
    } else if (op == KEYD_OP_RETIRE_KEY) {
        m->q.in.retire_key.id = (struct keyd_octets){retired, 16};
    } else if (op == KEYD_OP_IMPORT_KEY) {
        make_key_file(m);
    } else if (op == KEYD_OP_ISSUE_ORG_SIGNET) {
        m->soks[0] = (struct keyd_octets){org.sok, 16};
        m->q.in.issue_org_signet.domain = KEYD_STR("example.com");
        m->q.in.issue_org_signet.pok_id = (struct keyd_octets){org.pok, 16};
        m->q.in.issue_org_signet.encryption_id = (struct keyd_octets){org.enc, 16};
        m->q.in.issue_org_signet.sok_ids = m->soks;
        m->q.in.issue_org_signet.n_sok_ids = 1;
    } else if (op == KEYD_OP_SIGN_TLS_RECORD) {
        m->q.in.sign_tls_record.domain = KEYD_STR("example.com");
        m->q.in.sign_tls_record.pok_id = (struct keyd_octets){org.pok, 16};
        m->q.in.sign_tls_record.certificate =
            (struct keyd_octets){m->certificate, ask_certificate(m->certificate)};
    } else if (op == KEYD_OP_RESET_ADDRESS) {
        m->q.in.reset_address.action = KEYD_RESET_APPROVE;
        m->q.in.reset_address.address = KEYD_STR("lost@example.com");
    } else if (op == KEYD_OP_ADD_UNSEAL_SLOT) {
        make_slot(m, passphrase);
    } else {
        m->q = set_request(3, all_marks, OPERATORS);
        m->q.idempotency_key = m->key;
    }
}

/* Once more, whatever the last call wiped. */
static struct keyd_answer *
ask_made(keyd_client *c, struct made *m)
{
    memcpy(m->object, m->kept, m->n_object);
    return ask(c, &m->q);
}

static bool
text_has(const struct keyd_answer *a, const char *what)
{
    return memmem(a->out.approvals.text.p, a->out.approvals.text.n, what,
                  strlen(what)) != NULL;
}

static void
text_says(const struct keyd_answer *a, const struct made *m)
{
    static const struct {
        enum keyd_op op;
        const char *facts[6];
    } all[] = {
        {KEYD_OP_GENERATE_KEY,
         {"\noperation GenerateKey\n", "\nrole sok\n", "\nalgorithm ed25519\n",
          "\npermissions 4 certificates\n", "\ndomain \"example.com\"\n"}},
        {KEYD_OP_RETIRE_KEY,
         {"\noperation RetireKey\n", "\nkey ", " sok ed25519 active ",
          "\ndomain \"example.com\"\n"}},
        {KEYD_OP_IMPORT_KEY,
         {"\noperation ImportKey\n", "\nsigning-role sok\n", "\nencryption-key no\n",
          "\nsigning-key ", "\nkey-file commitment "}},
        {KEYD_OP_ISSUE_ORG_SIGNET,
         {"\noperation IssueOrgSignet\n", "\nprimary-key ", "\nencryption-key ",
          "\nsecondary-key ", "\nprofile sha-256 "}},
        {KEYD_OP_SIGN_TLS_RECORD,
         {"\noperation SignTlsRecord\n", "\ndomain \"example.com\"\n", "\nprimary-key ",
          "\ncertificate sha-256 "}},
        {KEYD_OP_ADD_UNSEAL_SLOT,
         {"\noperation AddUnsealSlot\n", "\nslot-kind passphrase\n",
          "\nsecret commitment "}},
        {KEYD_OP_SET_QUORUM,
         {"\noperation SetQuorum\n", "\nnew-quorum 3 approvals of 5 operators\n",
          "\nnew-mark SetQuorum\n", "\nnew-operator ben "}},
    };
    uint8_t digest[32];
    char hex[65];

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (size_t k = 0; all[i].op == m->q.op && all[i].facts[k] != NULL; k++)
            if (!text_has(a, all[i].facts[k]))
                fail_msg("%s is not in the text", all[i].facts[k]);
    assert_true(text_has(a, "\nrequester caller-admin\n"));
    /* No secret, and no plain hash of one. */
    if (m->n_object == 0)
        return;
    assert_null(memmem(a->out.approvals.text.p, a->out.approvals.text.n, m->kept,
                       m->n_object < 24 ? m->n_object : 24));
    crypto_hash_sha256(digest, (const uint8_t *)m->kept, m->n_object);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    assert_false(text_has(a, hex));
}

/* The way of every request: nothing, one approval, false ones, enough, and again. */
static void
goes_its_way(enum keyd_op op)
{
    struct made m, other;
    uint8_t id[16], again[16], sig[64] = {1};

    if (op == KEYD_OP_SET_QUORUM && geteuid() != 0)
        skip();
    make_request(op, &m);
    waits(ask_made(admin, &m), 2, id);
    waits(ask_made(admin, &m), 2, again); /* asking again is asking the same */
    assert_memory_equal(id, again, 16);
    struct keyd_answer *a = show(id);
    assert_int_equal(a->status, KEYD_OK);
    text_says(a, &m);
    struct kd_approval_head head;
    struct kd_slice facts;
    assert_int_equal(kd_approval_read(ask_slice(a->out.approvals.text), &head, &facts),
                     KD_OK);
    assert_memory_equal(head.id, id, 16);
    assert_int_equal(head.op, op);
    keyd_client_answer_free(a);

    ask_ends(send_signature(id, "ben", sig), KEYD_INVALID, "bad-signature");
    ask_ends(send_signature(id, "mallory", sig), KEYD_NOT_FOUND, "no-such-operator");
    ask_ends(approve(id, SELF), KEYD_DENIED, "own-request");
    ask_ends(approve(id, ZOE), KEYD_NOT_FOUND, "no-such-operator");
    a = approve(id, BEN);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.approval_sign.given, 1);
    assert_int_equal(a->out.approval_sign.needed, 2);
    keyd_client_answer_free(a);
    ask_ends(approve(id, BEN), KEYD_CONFLICT, "approved-before");
    waits(ask_made(admin, &m), 1, again);
    assert_memory_equal(id, again, 16);

    /* A signature over another text. */
    make_request(op, &other);
    waits(ask_made(admin, &other), 2, again);
    a = show(again);
    crypto_sign_detached(sig, NULL, a->out.approvals.text.p, a->out.approvals.text.n,
                         secrets[CID]);
    keyd_client_answer_free(a);
    ask_ends(send_signature(id, "cid", sig), KEYD_INVALID, "bad-signature");

    ask_ends(approve(id, CID), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    ask_ends(show(id), KEYD_NOT_FOUND, "no-such-approval"); /* used up */
    if (op == KEYD_OP_SET_QUORUM) /* what waited beside it was under other operators */
        ask_ends(show(again), KEYD_NOT_FOUND, "no-such-approval");
    else
        ask_ends(approve(again, CID), KEYD_OK, NULL);
}

static void
fresh_key(uint8_t id[16])
{
    struct made m;
    uint8_t waiting[16];

    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, waiting);
    ask_ends(approve(waiting, BEN), KEYD_OK, NULL);
    ask_ends(approve(waiting, CID), KEYD_OK, NULL);
    struct keyd_answer *a = ask_made(admin, &m);
    assert_int_equal(a->status, KEYD_OK);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    keyd_client_answer_free(a);
}

static void
T_OP_3_issuing_an_org_signet_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_ISSUE_ORG_SIGNET);
}

static void
generating_a_key_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_GENERATE_KEY);
}

/* What the quota of the others has left, with nothing in flight. */
static uint32_t
left_at_rest(unsigned who)
{
    const struct keyd_request q = {.op = KEYD_OP_POLICY_EXPLAIN,
                                   .in.policy_explain.principal = KEYD_STR(names[who])};
    struct keyd_answer *a = ask(admin, &q);

    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.policy.n_quotas, 1);
    assert_int_equal(a->out.policy.quotas[0].jobs.in_flight, 0);
    uint32_t left = a->out.policy.quotas[0].jobs.left;
    keyd_client_answer_free(a);
    return left;
}

/* It is looked at twice and more: when it is put into words, and when it is done. */
static void
a_request_counts_once_and_leaves_nothing_in_flight(void **state)
{
    struct made m;
    uint8_t id[16];

    (void)state;
    keyd_client *ben = connect_as(BEN);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    assert_int_equal(left_at_rest(BEN), 1000);
    waits(ask_made(ben, &m), 2, id);
    assert_int_equal(left_at_rest(BEN), 999);
    waits(ask_made(ben, &m), 2, id);
    assert_int_equal(left_at_rest(BEN), 998);
    keyd_client_answer_free(approve(id, CID));
    keyd_client_answer_free(approve(id, SELF));
    ask_ends(ask_made(ben, &m), KEYD_OK, NULL);
    assert_int_equal(left_at_rest(BEN), 997);
    ask_ends(ask_made(ben, &m), KEYD_OK, NULL); /* the same again */
    assert_int_equal(left_at_rest(BEN), 996);
    keyd_client_free(ben);
}

static void
retiring_a_key_waits_for_two_others(void **state)
{
    (void)state;
    fresh_key(retired);
    goes_its_way(KEYD_OP_RETIRE_KEY);
}

static void
importing_a_key_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_IMPORT_KEY);
}

static void
signing_for_a_certificate_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_SIGN_TLS_RECORD);
}

static void
adding_a_slot_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_ADD_UNSEAL_SLOT);
}

static void
changing_the_operators_waits_for_two_others(void **state)
{
    (void)state;
    goes_its_way(KEYD_OP_SET_QUORUM);
}

/* --- the same key again --- */

static void
a_request_that_was_done_is_answered_again_and_not_done_again(void **state)
{
    struct made m;
    uint8_t id[16], key[16];
    uint64_t n = ask_counter(&keyd, "keys");

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, DAN), KEYD_OK, NULL);
    for (int i = 0; i < 3; i++) {
        struct keyd_answer *a = ask_made(admin, &m);
        assert_int_equal(a->status, KEYD_OK);
        if (i == 0)
            memcpy(key, a->out.keys.keys[0].id.p, 16);
        assert_memory_equal(a->out.keys.keys[0].id.p, key, 16);
        keyd_client_answer_free(a);
    }
    assert_int_equal(ask_counter(&keyd, "keys"), n + 1);
    /* Another request under that key is neither. */
    m.q.in.generate_key.permissions = KEYD_PERM_SOFTWARE | KEYD_PERM_CERTIFICATE;
    ask_ends(ask_made(admin, &m), KEYD_INVALID, "idempotency-key-used");
    /* The same wish under a new key waits anew. */
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
}

static void
approvals_are_of_this_request_this_object_and_this_requester(void **state)
{
    struct made m;
    uint8_t id[16];

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    m.q.in.generate_key.role = KEYD_ROLE_POK;
    m.q.in.generate_key.permissions = 0;
    ask_ends(ask_made(admin, &m), KEYD_INVALID, "idempotency-key-used");
    m.q.op = KEYD_OP_RETIRE_KEY;
    m.q.in.retire_key.id = (struct keyd_octets){org.sok, 16};
    ask_ends(ask_made(admin, &m), KEYD_INVALID, "idempotency-key-used");

    make_request(KEYD_OP_IMPORT_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    make_key_file(&m);
    ask_ends(ask_made(admin, &m), KEYD_INVALID, "idempotency-key-used");

    make_request(KEYD_OP_ADD_UNSEAL_SLOT, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    make_slot(&m, other_passphrase);
    ask_ends(ask_made(admin, &m), KEYD_INVALID, "idempotency-key-used");
    make_slot(&m, passphrase);

    keyd_client *dan = connect_as(DAN);
    ask_ends(ask_made(dan, &m), KEYD_INVALID, "idempotency-key-used");
    keyd_client_free(dan);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
}

static void
who_is_no_operator_asks_for_nothing(void **state)
{
    struct made m;

    (void)state;
    keyd_client *zoe = connect_as(ZOE);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    ask_ends(ask_made(zoe, &m), KEYD_DENIED, "requester-not-operator");
    /* She may carry others' approvals: the signature counts, not the uid. */
    keyd_client_free(zoe);
}

/* Both are on their way before either is answered. */
static struct keyd_answer *both[2];

static void
keep_both(void *cookie, struct keyd_answer *a)
{
    both[cookie == NULL ? 0 : 1] = a;
}

static void
two_requests_at_once_run_once(void **state)
{
    struct made m;
    uint8_t id[16];
    uint64_t n = ask_counter(&keyd, "keys");

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, EVE), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    both[0] = both[1] = NULL;
    assert_int_equal(keyd_client_submit(admin, &m.q, keep_both, NULL, NULL), KEYD_OK);
    assert_int_equal(keyd_client_submit(admin, &m.q, keep_both, &m, NULL), KEYD_OK);
    while (keyd_client_pending(admin) != 0)
        assert_int_equal(keyd_client_process(admin, -1), KEYD_OK);
    unsigned n_done = 0;
    for (int i = 0; i < 2; i++) {
        assert_non_null(both[i]);
        n_done += both[i]->status == KEYD_OK;
        if (both[i]->status != KEYD_OK) {
            assert_int_equal(both[i]->status, KEYD_BUSY);
            assert_string_equal(both[i]->detail, "under-way");
        }
        keyd_client_answer_free(both[i]);
    }
    assert_true(n_done >= 1);
    assert_int_equal(ask_counter(&keyd, "keys"), n + 1);
    assert_int_equal(n_waiting(), 0);
}

static void
eight_requests_of_one_and_thirty_two_of_all_wait(void **state)
{
    keyd_client *c[4];
    struct made m;
    uint8_t id[16];

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        c[i] = i == SELF ? admin : connect_as(i);
    for (unsigned i = 0; i < 4; i++) {
        for (int k = 0; k < 8; k++) {
            make_request(KEYD_OP_GENERATE_KEY, &m);
            waits(ask_made(c[i], &m), 2, id);
        }
        make_request(KEYD_OP_GENERATE_KEY, &m);
        ask_ends(ask_made(c[i], &m), KEYD_BUSY, "too-many-wait");
    }
    assert_int_equal(n_waiting(), 32);
    assert_int_equal(ask_counter(&keyd, "approvals-waiting"), 32);
    keyd_client *eve = connect_as(EVE);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    ask_ends(ask_made(eve, &m), KEYD_BUSY, "too-many-wait");
    keyd_client_free(eve);
    for (unsigned i = 0; i < 4; i++)
        if (i != SELF)
            keyd_client_free(c[i]);
}

/* Only the approval is the operators' affair: asking, cancelling and looking go on. */
static void
approving_a_reset_waits_for_two_others(void **state)
{
    struct kd_buf ssr;
    struct made m;
    uint8_t id[16];

    (void)state;
    person_request("quorum", 77, &ssr);
    keyd_client *c = ask_connect(&keyd, "submission");
    ask_issue_ends(c, "lost@example.com", kd_buf_slice(&ssr), KEYD_OK, NULL);
    keyd_client_free(c);
    kd_buf_free(&ssr);
    make_request(KEYD_OP_RESET_ADDRESS, &m);
    m.q.in.reset_address.action = KEYD_RESET_REQUEST;
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    make_request(KEYD_OP_RESET_ADDRESS, &m);
    waits(ask_made(admin, &m), 2, id);
    struct keyd_answer *a = show(id);
    assert_true(text_has(a, "\noperation ResetAddress\n"));
    assert_true(text_has(a, "\naction approve\naddress \"lost@example.com\"\n"));
    keyd_client_answer_free(a);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    waits(ask_made(admin, &m), 1, id);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    a = ask_made(admin, &m);
    assert_int_equal(a->status, KEYD_OK);
    keyd_client_answer_free(a);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    /* Cancelled and asked for again: the old approval is no approval of the new one. */
    struct made other;
    make_request(KEYD_OP_RESET_ADDRESS, &other);
    other.q.in.reset_address.action = KEYD_RESET_CANCEL;
    ask_ends(ask_made(admin, &other), KEYD_OK, NULL);
    make_request(KEYD_OP_RESET_ADDRESS, &other);
    other.q.in.reset_address.action = KEYD_RESET_REQUEST;
    ask_ends(ask_made(admin, &other), KEYD_OK, NULL);
    keyd_client_answer_free(ask_made(admin, &m)); /* done long ago, whatever it says */
    const struct keyd_request list = {.op = KEYD_OP_RESET_ADDRESS,
                                      .in.reset_address.action = KEYD_RESET_LIST};
    a = ask(admin, &list);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.resets.n_resets, 1);
    assert_false(a->out.resets.resets[0].approved);
    keyd_client_answer_free(a);
}

/* --- what makes requests void --- */

static void
a_change_of_operators_or_k_makes_what_waits_void(void **state)
{
    struct made waiting, change;
    uint8_t id[16], change_id[16];

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &waiting);
    waits(ask_made(admin, &waiting), 2, id);
    ask_ends(approve(id, EVE), KEYD_OK, NULL);
    /* Without eve, who has approved. */
    make_request(KEYD_OP_SET_QUORUM, &change);
    change.q = set_request(2, all_marks, 4);
    change.q.idempotency_key = change.key;
    waits(ask_made(admin, &change), 2, change_id);
    ask_ends(approve(change_id, BEN), KEYD_OK, NULL);
    ask_ends(approve(change_id, CID), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &change), KEYD_OK, NULL);
    ask_ends(show(id), KEYD_NOT_FOUND, "no-such-approval");
    uint8_t now[16];
    waits(ask_made(admin, &waiting), 2, now);
    assert_memory_not_equal(id, now, 16);
    ask_ends(approve(now, EVE), KEYD_NOT_FOUND, "no-such-operator");
    ask_ends(approve(now, BEN), KEYD_OK, NULL);
    ask_ends(approve(now, DAN), KEYD_OK, NULL);
    /* k grows: two are not enough any more. */
    make_request(KEYD_OP_SET_QUORUM, &change);
    change.q = set_request(3, all_marks, 4);
    change.q.idempotency_key = change.key;
    waits(ask_made(admin, &change), 2, change_id);
    ask_ends(approve(change_id, BEN), KEYD_OK, NULL);
    ask_ends(approve(change_id, CID), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &change), KEYD_OK, NULL);
    waits(ask_made(admin, &waiting), 3, now);
    /* And the change itself is answered again from its record. */
    ask_ends(ask_made(admin, &change), KEYD_OK, NULL);
}

static void
sealing_makes_what_waits_void(void **state)
{
    struct made m;
    uint8_t id[16], now[16], credential[DAEMON_CREDENTIAL_SIZE];
    struct keyd_answer *a = NULL;

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(ask(admin, &(struct keyd_request){.op = KEYD_OP_SEAL}), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_SEALED, NULL);
    ask_ends(show(id), KEYD_SEALED, NULL);
    memcpy(credential, keyd.credential, sizeof credential);
    assert_int_equal(
        keyd_client_unseal(admin, KEYD_SLOT_CREDENTIAL,
                           (struct keyd_secret){credential, sizeof credential}, &a),
        KEYD_OK);
    keyd_client_answer_free(a);
    waits(ask_made(admin, &m), 2, now);
    assert_memory_not_equal(id, now, 16);
}

static void
restart(void)
{
    keyd_client_free(admin);
    daemon_stop(&keyd);
    assert_true(daemon_launch(&keyd));
    assert_true(daemon_wait(&keyd, 20000));
    admin = ask_connect(&keyd, "admin");
}

/* Also an approval kept from before: the text names the epoch, and the id is new. */
static void
a_restart_makes_what_waits_void(void **state)
{
    struct made m;
    uint8_t id[16], now[16], sig[64];

    (void)state;
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    struct keyd_answer *a = show(id);
    crypto_sign_detached(sig, NULL, a->out.approvals.text.p, a->out.approvals.text.n,
                         secrets[BEN]);
    keyd_client_answer_free(a);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    restart();
    ask_ends(send_signature(id, "ben", sig), KEYD_NOT_FOUND, "no-such-approval");
    waits(ask_made(admin, &m), 2, now);
    assert_memory_not_equal(id, now, 16);
    ask_ends(send_signature(now, "ben", sig), KEYD_INVALID, "bad-signature");
}

static void
a_request_expires_with_its_approvals(void **state)
{
    struct made m;
    uint8_t id[16], now[16];

    (void)state;
    start_with("approval-expiry = 5", false, 2, OPERATORS);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    int64_t until = kd_clock_ms() + 5200;
    while (kd_clock_ms() < until)
        kd_ignore(poll(NULL, 0, 50)); /* nothing else ends this wait */
    ask_ends(show(id), KEYD_NOT_FOUND, "no-such-approval");
    waits(ask_made(admin, &m), 2, now);
    assert_memory_not_equal(id, now, 16);
}

/* --- who decides --- */

static void
T_OP_3_without_operators_the_configuration_decides(void **state)
{
    static const enum keyd_op all[] = {KEYD_OP_GENERATE_KEY, KEYD_OP_ADD_UNSEAL_SLOT,
                                       KEYD_OP_IMPORT_KEY};
    struct made m;

    (void)state;
    start_with(NULL, true, 0, 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        make_request(all[i], &m);
        ask_ends(ask_made(admin, &m), KEYD_DENIED, "needs-quorum");
    }
    /* The first operators need nobody's approval; the next ones do. */
    make_request(KEYD_OP_SET_QUORUM, &m);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL); /* the same again is done already */
    make_request(KEYD_OP_SET_QUORUM, &m);
    uint8_t id[16];
    waits(ask_made(admin, &m), 3, id);
}

/* single-operator = yes, but there are operators: the key store has the word. */
static void
the_configuration_cannot_take_the_quorum_away(void **state)
{
    struct made m;
    uint8_t id[16];

    (void)state;
    restart();
    struct keyd_answer *a = ask(admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
    assert_int_equal(a->status, KEYD_OK);
    assert_false(a->out.status.single_operator);
    keyd_client_answer_free(a);
    assert_int_equal(ask_counter(&keyd, "operators"), OPERATORS);
    assert_int_equal(ask_counter(&keyd, "approvals-needed"), 2);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
}

static void
what_is_not_marked_is_done_alone_and_the_quorum_can_end_itself(void **state)
{
    struct made m;
    uint8_t id[16];

    (void)state;
    make_request(KEYD_OP_SET_QUORUM, &m);
    m.q = set_request(2, UINT64_C(1) << KEYD_OP_SET_QUORUM, 3);
    m.q.idempotency_key = m.key;
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    make_request(KEYD_OP_SET_QUORUM, &m);
    m.q = set_request(0, 0, 0);
    m.q.idempotency_key = m.key;
    waits(ask_made(admin, &m), 2, id);
    struct keyd_answer *a = show(id);
    assert_true(text_has(a, "\nnew-quorum none: the configuration decides again\n"));
    keyd_client_answer_free(a);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, CID), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    assert_int_equal(ask_counter(&keyd, "operators"), 0);
}

static void
operators_that_cannot_be_are_refused(void **state)
{
    static const uint8_t small_order[32] = {1};
    struct keyd_request q;

    (void)state;
    start_with(NULL, false, 0, 0);
    assert_true(daemon_provision_domain(&keyd, "example.com", &org));
    q = set_request(5, all_marks, 5);
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(1, all_marks, 5);
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, all_marks, 2);
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, all_marks | 2, 5);
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, 0, 5);
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, all_marks, 5);
    wanted[2].public_key = wanted[0].public_key;
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, all_marks, 5);
    wanted[2].public_key.p = small_order;
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    q = set_request(2, all_marks, 5);
    wanted[2].name = KEYD_STR("Cid");
    ask_ends(ask(admin, &q), KEYD_INVALID, "quorum-spec");
    /* Names that nobody here has: no change could ever be asked for. */
    q = set_request(2, all_marks, 3);
    for (size_t i = 0; i < 3; i++)
        wanted[i].name = (struct keyd_octets[]){KEYD_STR("ann"), KEYD_STR("bea"),
                                                KEYD_STR("caz")}[i];
    ask_ends(ask(admin, &q), KEYD_INVALID, "nobody-could-ask");
    /* A key of the organization. */
    struct keyd_answer *a =
        ask(admin, &(struct keyd_request){.op = KEYD_OP_PUBLIC_KEYS});
    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.keys.n_keys; i++) {
        if (a->out.keys.keys[i].public_key.n != 32)
            continue;
        q = set_request(2, all_marks, 5);
        wanted[2].public_key = a->out.keys.keys[i].public_key;
        ask_ends(ask(admin, &q), KEYD_INVALID, "key-reused");
    }
    keyd_client_answer_free(a);
    /* And an operator's key does not become one. */
    q = set_request(2, UINT64_C(1) << KEYD_OP_SET_QUORUM, 5);
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
    uint8_t seed[32] = {0x51, BEN}, scalar[32] = {0x02};
    char file[DIME_DKEY_TEXT_MAX];
    size_t n = ask_key_file(DIME_DKEY_ORG, seed, scalar, file);
    const struct keyd_request import = {
        .op = KEYD_OP_IMPORT_KEY,
        .in.import_key = {.key_file = {file, n},
                          .signing_role = KEYD_ROLE_SOK,
                          .domain = KEYD_STR("example.com"),
                          .permissions = KEYD_PERM_CERTIFICATE}};
    ask_ends(ask(admin, &import), KEYD_INVALID, "key-reused");
}

/* --- traces --- */

struct found {
    unsigned n_approve, n_done;
    uint8_t digest[32];
};

static void
look_at(struct kd_slice octets, struct found *f)
{
    struct kd_audit_record r;

    assert_int_equal(kd_audit_decode(octets, &r), KD_OK);
    if (r.op == KD_AUDIT_APPROVE && r.n_digests == 1 &&
        memcmp(r.digests[0], f->digest, 32) == 0) {
        bool ben = kd_slice_eq(r.principal, kd_slice_str("op:ben"));
        assert_true(ben || kd_slice_eq(r.principal, kd_slice_str("op:dan")));
        f->n_approve++;
    }
    if ((r.op == KD_AUDIT_GENERATE_KEY || r.op == KD_AUDIT_SIGN_TLS_RECORD) &&
        r.has_approval && memcmp(r.approval, f->digest, 32) == 0) {
        assert_true((r.notes & KD_NOTE_QUORUM) != 0);
        assert_true((r.notes & KD_NOTE_SINGLE_OPERATOR) == 0);
        assert_true(f->n_approve == 2); /* which came before */
        f->n_done++;
    }
}

/* Asked for and approved once, done n_records times. */
static void
join(enum keyd_op op, unsigned n_records)
{
    struct found f = {0};
    struct made m;
    uint8_t id[16];
    struct keyd_answer *a;

    make_request(op, &m);
    waits(ask_made(admin, &m), 2, id);
    a = show(id);
    crypto_hash_sha256(f.digest, a->out.approvals.text.p, a->out.approvals.text.n);
    assert_memory_equal(f.digest, a->out.approvals.approvals[0].digest.p, 32);
    keyd_client_answer_free(a);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, DAN), KEYD_OK, NULL);
    for (unsigned i = 0; i < n_records; i++)
        ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    for (uint64_t from = 1; from != 0;) {
        assert_int_equal(keyd_client_audit_read(admin, from, 0, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records; i++)
            look_at(ask_slice(a->out.audit.records[i].octets), &f);
        from = a->out.audit.next_seq;
        keyd_client_answer_free(a);
    }
    assert_int_equal(f.n_approve, 2);
    assert_int_equal(f.n_done, n_records);
}

static void
an_auditor_joins_the_approvals_with_what_was_done(void **state)
{
    (void)state;
    join(KEYD_OP_GENERATE_KEY, 1);
}

/* It stores nothing, and is done again: each use of the key names what allowed it. */
static void
what_is_signed_again_names_the_approvals_of_the_first_time(void **state)
{
    (void)state;
    join(KEYD_OP_SIGN_TLS_RECORD, 3);
}

/* A host of a token, which comes and goes, and to which nothing of requests is told. */
static bool
is_host(const struct daemon_child *c)
{
    return strcmp(c->name, "keyd-p11") == 0;
}

static size_t
hits_in_memory(pid_t pid, const char *what)
{
    static uint8_t octets[(1 << 20) + 64];
    char path[64], line[512];
    size_t hits = 0, read_in = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(mem >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        for (unsigned long at = from; at < to; at += 1 << 20) {
            size_t want = to - at < sizeof octets ? to - at : sizeof octets;
            ssize_t n = pread(mem, octets, want, (off_t)at);
            if (n <= 0)
                continue;
            read_in += (size_t)n;
            hits += memmem(octets, (size_t)n, what, strlen(what)) != NULL;
        }
    }
    fclose(maps);
    close(mem);
    assert_true(read_in > 1 << 20);
    return hits;
}

/* While it waits, and after: the request is bound to the passphrase by a commitment. */
static void
no_process_keeps_the_secret_of_a_request_that_waits(void **state)
{
    struct daemon_child child[DAEMON_CHILDREN_MAX];
    struct made m;
    uint8_t id[16];

    (void)state;
    if (geteuid() != 0 || SANITIZED)
        skip();
    make_request(KEYD_OP_ADD_UNSEAL_SLOT, &m);
    waits(ask_made(admin, &m), 2, id);
    size_t n = daemon_children(&keyd, child, DAEMON_CHILDREN_MAX);
    for (size_t i = 0; i < n; i++)
        assert_true(is_host(&child[i]) ||
                    hits_in_memory(child[i].pid, passphrase) == 0);
    /* The search finds what is there. */
    assert_true(hits_in_memory(daemon_role(&keyd, KEYD_PROCESS_VAULT, ""),
                               "slot-kind passphrase") > 0);
    ask_ends(approve(id, BEN), KEYD_OK, NULL);
    ask_ends(approve(id, DAN), KEYD_OK, NULL);
    ask_ends(ask_made(admin, &m), KEYD_OK, NULL);
    for (size_t i = 0; i < n; i++)
        assert_true(is_host(&child[i]) ||
                    hits_in_memory(child[i].pid, passphrase) == 0);
    assert_false(daemon_log_has(&keyd, passphrase));
}

/* --- when too many operators are gone --- */

static keyd_client *submit;

static void
issue(const char *address, uint64_t person, uint32_t step)
{
    struct person_keys own, before;
    struct kd_buf ssr;

    person_keys("quorum", person, step, &own);
    if (step > 0)
        person_keys("quorum", person, step - 1, &before);
    kd_buf_init(&ssr, 4096);
    assert_int_equal(person_ssr(&own, step > 0 ? &before : NULL, &ssr), KD_OK);
    ask_issue_ends(submit, address, kd_buf_slice(&ssr), KEYD_OK, NULL);
    kd_buf_free(&ssr);
}

static void
in_state(char out[160], const char *name)
{
    assert_true(snprintf(out, 160, "%s/%s", keyd.state, name) < 160);
}

static enum keyd_status
unseal_with(const uint8_t *secret, struct keyd_answer **a)
{
    static uint8_t octets[DAEMON_CREDENTIAL_SIZE];

    memcpy(octets, secret, sizeof octets);
    return keyd_client_unseal(admin, KEYD_SLOT_CREDENTIAL,
                              (struct keyd_secret){octets, sizeof octets}, a);
}

static void
start_again(void)
{
    assert_true(daemon_launch(&keyd));
    assert_true(daemon_wait(&keyd, 20000));
    admin = ask_connect(&keyd, "admin");
    submit = ask_connect(&keyd, "submission");
}

static void
end(void)
{
    keyd_client_free(submit);
    keyd_client_free(admin);
    admin = submit = NULL;
    daemon_stop(&keyd);
}

/* What is written in dime-keyd(8), "When too many operators are gone", step by step. */
static void
the_way_back_when_too_many_operators_are_gone(void **state)
{
    char keystore[160], aside[160], hidden[160];
    struct keyd_answer *a = NULL;
    struct made m;
    uint8_t id[16], other[DAEMON_CREDENTIAL_SIZE] = {1};

    (void)state;
    start_with(NULL, false, 2, 3); /* ben, caller-admin, cid: two of three keys lost */
    submit = ask_connect(&keyd, "submission");
    issue("alice@example.com", 1, 0);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    ask_ends(approve(id, BEN), KEYD_OK, NULL); /* the one that is left */
    waits(ask_made(admin, &m), 1, id);
    issue("bob@example.com", 2, 0); /* daily work goes on */
    issue("alice@example.com", 1, 1);
    struct daemon_org old = org;

    /* The key store is lost, not set aside: keyd refuses to run. */
    end();
    in_state(keystore, "keystore");
    in_state(aside, "keystore.set-aside");
    in_state(hidden, "keystore.hidden");
    assert_int_equal(rename(keystore, hidden), 0);
    assert_true(daemon_launch(&keyd));
    assert_int_equal(daemon_wait_end(&keyd, 20000), 78);
    /* Another file of that name does not do. */
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1 && fchmod(fd, 0644) == 0);
    close(fd);
    assert_true(daemon_launch(&keyd));
    assert_int_equal(daemon_wait_end(&keyd, 20000), 78);
    assert_int_equal(rename(hidden, aside), 0);

    start_again();
    assert_true(daemon_log_wait(&keyd, "was set aside", 5000));
    a = ask(admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
    assert_int_equal(a->out.status.state, KEYD_STATE_UNPROVISIONED);
    keyd_client_answer_free(a);
    ask_ends(ask_made(admin, &m), KEYD_SEALED, "not-initialised");
    /* A new one is made only after the old one's secret was given. */
    memcpy(other, keyd.credential, sizeof other);
    struct keyd_secret secret = {other, sizeof other};
    assert_int_equal(keyd_client_token_init(admin, KEYD_SLOT_CREDENTIAL, secret, &a),
                     KEYD_CONFLICT);
    assert_string_equal(a->detail, "keystore-set-aside");
    keyd_client_answer_free(a);
    memset(other, 1, sizeof other);
    assert_int_equal(unseal_with(other, &a), KEYD_DENIED);
    keyd_client_answer_free(a);
    assert_int_equal(unseal_with(keyd.credential, &a), KEYD_OK);
    assert_int_equal(a->out.slot.state, KEYD_STATE_UNPROVISIONED);
    keyd_client_answer_free(a);
    ask_ends(ask_made(admin, &m), KEYD_SEALED, "not-initialised"); /* no key is open */
    assert_true(daemon_init_token(&keyd));

    /* All old keys are listed, none is there. */
    assert_int_equal(
        keyd_client_public_keys(admin, KEYD_STR("example.com"), KEYD_NONE, &a),
        KEYD_OK);
    assert_int_equal(a->out.keys.n_keys, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(a->out.keys.keys[i].state, KEYD_KEY_DESTROYED);
    keyd_client_answer_free(a);
    make_request(KEYD_OP_ISSUE_ORG_SIGNET, &m);
    ask_ends(ask_made(admin, &m), KEYD_CONFLICT, "key-state");

    /* New keys and a new signet; operators anew; the users' chains go on. */
    assert_true(daemon_provision_domain(&keyd, "example.com", &org));
    assert_memory_not_equal(old.pok, org.pok, 16);
    const struct keyd_request q = set_request(2, all_marks, 4);
    ask_ends(ask(admin, &q), KEYD_OK, NULL);
    issue("alice@example.com", 1, 2);
    issue("bob@example.com", 2, 1);
    issue("carol@example.com", 3, 0);

    /* The old store does not come back. */
    end();
    assert_int_equal(rename(keystore, hidden), 0);
    assert_int_equal(rename(aside, keystore), 0);
    assert_true(daemon_launch(&keyd));
    assert_int_equal(daemon_wait_end(&keyd, 20000), 78);
    assert_int_equal(rename(keystore, aside), 0);
    assert_int_equal(rename(hidden, keystore), 0);
    start_again();
    issue("bob@example.com", 2, 2);
    make_request(KEYD_OP_GENERATE_KEY, &m);
    waits(ask_made(admin, &m), 2, id);
    end();
    const char *const check[] = {keyd.state, NULL};
    assert_int_equal(
        daemon_reap(daemon_spawn(&keyd, "keyd-check", "check", check), 20000), 0);
}

/* --- changes that wait for each other --- */

enum { BESIDE = 6 };

struct outcomes {
    enum keyd_status of[2 * BESIDE + 1];
    size_t n;
};

static void
keep_outcome(void *cookie, struct keyd_answer *a)
{
    struct outcomes *o = cookie;

    assert_true(o->n < 2 * BESIDE + 1);
    o->of[o->n++] = a->status;
    if (o->n > BESIDE + 1 && a->status == KEYD_BUSY)
        assert_string_equal(a->detail, "quorum-changed");
    keyd_client_answer_free(a);
}

/* All are asked for while there are no operators; those whose turn in the vault comes
 * after the enrolment are not done without approvals. */
static void
what_waited_while_operators_were_enrolled_is_not_done(void **state)
{
    const struct keyd_request generate = {
        .op = KEYD_OP_GENERATE_KEY,
        .in.generate_key = {.role = KEYD_ROLE_SOK,
                            .algorithm = KEYD_ED25519,
                            .domain = KEYD_STR("example.com"),
                            .permissions = KEYD_PERM_SIGNET}};
    struct outcomes o = {.n = 0};

    (void)state;
    start_with(NULL, false, 0, 0);
    const struct keyd_request enrol = set_request(2, all_marks, 3);
    for (size_t i = 0; i < 2 * BESIDE + 1; i++)
        assert_int_equal(keyd_client_submit(admin, i == BESIDE ? &enrol : &generate,
                                            keep_outcome, &o, NULL),
                         KEYD_OK);
    while (o.n < 2 * BESIDE + 1)
        assert_int_equal(keyd_client_process(admin, 20000), KEYD_OK);
    for (size_t i = 0; i <= BESIDE; i++)
        assert_int_equal(o.of[i], KEYD_OK);
    for (size_t i = BESIDE + 1; i < 2 * BESIDE + 1; i++)
        if (o.of[i] != KEYD_BUSY && o.of[i] != KEYD_APPROVAL_NEEDED)
            fail_msg("%zu ended %s", i, keyd_client_status_text(o.of[i]));
    print_message("the first behind the enrolment ended %s\n",
                  keyd_client_status_text(o.of[BESIDE + 1]));
    assert_int_equal(daemon_stop(&keyd), 0);
}

static void
keep_status(void *cookie, struct keyd_answer *a)
{
    struct outcomes *o = cookie;

    o->of[o->n++] = a->status;
    if (a->status == KEYD_INVALID)
        assert_string_equal(a->detail, "key-reused");
    keyd_client_answer_free(a);
}

/* Both are looked at before either is done. */
static void
a_key_is_not_imported_and_enrolled_as_an_operators_at_once(void **state)
{
    uint8_t seed[32] = {0x51}, scalar[32] = {0x01, 0x51};
    struct made generate, import;
    struct outcomes o = {.n = 0};

    (void)state;
    start_with(NULL, false, 0, 0);
    make_request(KEYD_OP_GENERATE_KEY, &generate);
    make_request(KEYD_OP_IMPORT_KEY, &import);
    size_t n = ask_key_file(DIME_DKEY_ORG, seed, scalar, import.object);
    import.q.in.import_key.key_file = (struct keyd_secret){import.object, n};
    const struct keyd_request enrol = set_request(2, all_marks, 3);
    const struct keyd_request *const all[] = {&generate.q, &import.q, &enrol};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(keyd_client_submit(admin, all[i], keep_status, &o, NULL),
                         KEYD_OK);
    while (o.n < 3)
        assert_int_equal(keyd_client_process(admin, 20000), KEYD_OK);
    assert_int_equal(o.of[0], KEYD_OK);
    assert_int_equal(o.of[1], KEYD_OK);
    assert_int_equal(o.of[2], KEYD_INVALID);
    assert_int_equal(daemon_stop(&keyd), 0);
}

int
main(void)
{
#define WITH_FIVE(test) cmocka_unit_test_setup_teardown(test, start_five, stop)
#define ALONE(test) cmocka_unit_test_teardown(test, stop)
    const struct CMUnitTest tests[] = {
        WITH_FIVE(T_OP_3_issuing_an_org_signet_waits_for_two_others),
        WITH_FIVE(generating_a_key_waits_for_two_others),
        WITH_FIVE(a_request_counts_once_and_leaves_nothing_in_flight),
        WITH_FIVE(retiring_a_key_waits_for_two_others),
        WITH_FIVE(importing_a_key_waits_for_two_others),
        WITH_FIVE(signing_for_a_certificate_waits_for_two_others),
        WITH_FIVE(adding_a_slot_waits_for_two_others),
        WITH_FIVE(changing_the_operators_waits_for_two_others),
        WITH_FIVE(approving_a_reset_waits_for_two_others),
        WITH_FIVE(a_request_that_was_done_is_answered_again_and_not_done_again),
        WITH_FIVE(approvals_are_of_this_request_this_object_and_this_requester),
        WITH_FIVE(who_is_no_operator_asks_for_nothing),
        WITH_FIVE(two_requests_at_once_run_once),
        WITH_FIVE(eight_requests_of_one_and_thirty_two_of_all_wait),
        WITH_FIVE(a_change_of_operators_or_k_makes_what_waits_void),
        WITH_FIVE(sealing_makes_what_waits_void),
        WITH_FIVE(a_restart_makes_what_waits_void),
        WITH_FIVE(the_configuration_cannot_take_the_quorum_away),
        WITH_FIVE(what_is_not_marked_is_done_alone_and_the_quorum_can_end_itself),
        WITH_FIVE(an_auditor_joins_the_approvals_with_what_was_done),
        WITH_FIVE(what_is_signed_again_names_the_approvals_of_the_first_time),
        WITH_FIVE(no_process_keeps_the_secret_of_a_request_that_waits),
        ALONE(a_request_expires_with_its_approvals),
        ALONE(T_OP_3_without_operators_the_configuration_decides),
        ALONE(operators_that_cannot_be_are_refused),
        ALONE(what_waited_while_operators_were_enrolled_is_not_done),
        ALONE(a_key_is_not_imported_and_enrolled_as_an_operators_at_once),
        ALONE(the_way_back_when_too_many_operators_are_gone),
    };

    if (sodium_init() < 0 || kd_secret_setup(64 * 1024) != KD_OK)
        return 1;
    make_keys();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
