/* Sessions: sequences of requests, disturbed, against the gate's decoding, a vault and
 * a ledger with a real registry, all in this process. Whatever the sequence,
 *   I1  a signet that was answered is in the registry, then and at the end
 *   I2, I3  the registry is whole (check.h), every use of a key recorded
 *   I4  a signet that was answered is of the address asked for and verifies under an
 *       organizational signet of ours
 *   no operation on a message gives anything: nobody here can make one that holds
 * and every answer is one that the gate can put into a frame. */
#include "fuzz.h"
#include "session_ledger.h"
#include "session_vault.h"

#include "../support/check.h"
#include "../support/daemon.h"
#include "../support/people.h"

#include "../../keyd/ops/rpc.h"
#include "../../keyd/role.h"

#include <dime/bounce.h>
#include <dime/fingerprint.h>
#include <dime/verify.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/conf/conf.h>
#include <keyd/rpc/rpc_pb.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ADMIN = 0, /* of the gates below */
    SUBMISSION,
    MTA,
    MILTER,
    GATES,
    PEOPLE = 6,
    VARIANTS = 3,   /* keys of a person */
    STEPS_MOST = 8, /* of a chain of custody */
    ACTIONS_MOST = 20,
    TURNS = 12,      /* until everything has settled */
    QUIET_TURNS = 2, /* so many with nothing to take: it has */
    JOBS_MOST = 256,
    ORGS_MOST = 16,
    FILE_MOST = 1 << 20
};

/* --- a state to begin with: keys and an organizational signet --- */

struct file {
    const char *name;
    size_t n;
    uint8_t octets[FILE_MOST];
};
static struct file files[] = {{.name = "registry.db"}, {.name = "keystore"}};

static struct daemon place; /* its configuration and credential; it never runs */
static char dir[160], acks_path[180];
static struct kd_buf vault_conf, ledger_conf;
static uint8_t keys_of_org[3][16];

static const enum kd_class classes[GATES] = {[ADMIN] = KD_CLASS_ADMIN,
                                             [SUBMISSION] = KD_CLASS_SUBMISSION,
                                             [MTA] = KD_CLASS_MTA,
                                             [MILTER] = KD_CLASS_MILTER};

/* What the session has open and knows. */
struct person {
    uint32_t n;       /* steps that were answered OK, in order */
    uint32_t variant; /* which keys */
};
struct job {
    uint64_t id;
    enum kd_op op;
    int person; /* -1: none */
    bool next_step;
};
static struct session {
    const uint8_t *p;
    size_t n;
    struct kd_chan gates[GATES], looks;
    struct person people[PEOPLE];
    struct job jobs[JOBS_MOST];
    size_t n_jobs;
    struct kd_buf orgs[ORGS_MOST];
    size_t n_orgs;
    FILE *acks;
    uint64_t next_id;
    bool disturbed;
} session;

static uint8_t
byte(void)
{
    if (session.n == 0)
        return 0;
    session.n--;
    return *session.p++;
}

/* --- both ends together --- */

static kd_err on_answer(void *ctx, uint16_t type, struct kd_slice body, int fd);

static kd_err
forget(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    (void)ctx;
    (void)type;
    (void)body;
    if (fd >= 0)
        close(fd);
    return KD_OK;
}

static void
link_gate(unsigned gate)
{
    int fds[2];

    kd_chan_close(&session.gates[gate]);
    fuzz_require(kd_chan_pair(fds) == KD_OK);
    kd_chan_init(&session.gates[gate], fds[0]);
    session_vault_link_gate(classes[gate] * KD_GATE_WORKERS_MAX, fds[1]);
}

static void
link_looks(void)
{
    int fds[2];

    kd_chan_close(&session.looks);
    fuzz_require(kd_chan_pair(fds) == KD_OK);
    kd_chan_init(&session.looks, fds[0]);
    session_ledger_link_gate(KD_CLASS_ADMIN * KD_GATE_WORKERS_MAX, fds[1]);
}

static void
link_core(void)
{
    int fds[2];

    fuzz_require(kd_chan_pair(fds) == KD_OK);
    session_vault_link_ledger(fds[0]);
    session_ledger_link_vault(fds[1]);
}

/* Takes what has come; a channel that was closed for what was said on it is replaced,
 * as a supervisor would. */
static void
hear(void)
{
    for (unsigned i = 0; i < GATES; i++)
        if (session.gates[i].fd >= 0 &&
            (kd_chan_flush(&session.gates[i]) != KD_OK ||
             kd_chan_recv(&session.gates[i], 64, on_answer, NULL) != KD_OK))
            link_gate(i);
    if (session.looks.fd >= 0 &&
        (kd_chan_flush(&session.looks) != KD_OK ||
         kd_chan_recv(&session.looks, 64, forget, NULL) != KD_OK))
        link_looks();
}

static void
settle(unsigned turns)
{
    for (unsigned i = 0, quiet = 0; i < turns && quiet < QUIET_TURNS; i++) {
        hear();
        session_vault_step();
        session_ledger_step();
        quiet = session_vault_is_quiet() && session_ledger_is_quiet() ? quiet + 1 : 0;
    }
    hear();
}

/* --- asking --- */

static struct job *
put_job(unsigned gate, enum kd_op op, struct kd_slice body, int fd)
{
    struct kd_job m = {.id = ++session.next_id,
                       .op = (uint8_t)op,
                       .uid = geteuid(),
                       .deadline = (uint64_t)kd_clock_ms() + 60000,
                       .body = body};
    struct kd_buf b;

    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    if (byte() % 4 == 1) {
        m.has_key = 1;
        m.key[0] = byte() % 8;
    }
    kd_job_put(&b, &m);
    kd_ignore(kd_chan_put(&session.gates[gate], KD_MSG_job, kd_buf_slice(&b),
                          fd)); /* closed: no answer */
    kd_buf_free(&b);
    if (session.n_jobs == JOBS_MOST)
        session.n_jobs = 0;
    session.jobs[session.n_jobs] = (struct job){.id = m.id, .op = op, .person = -1};
    return &session.jobs[session.n_jobs++];
}

static void
address_of(int person, char out[32])
{
    snprintf(out, 32, "s%d@example.com", person);
}

/* The signing request of a person's step; made once, as it is always the same. */
static struct kd_slice
request_of(int who, uint32_t step, uint32_t variant)
{
    static struct {
        uint8_t octets[PERSON_SSR_MAX];
        size_t n; /* 0: not made yet */
    } made[PEOPLE][VARIANTS][STEPS_MOST + 2], *m;
    struct person_keys own, prev;
    struct kd_buf ssr;

    fuzz_require(who < PEOPLE && variant < VARIANTS && step < STEPS_MOST + 2);
    m = &made[who][variant][step];
    if (m->n == 0) {
        person_keys("session", (uint64_t)who + 100 * variant, step, &own);
        if (step > 0)
            person_keys("session", (uint64_t)who + 100 * variant, step - 1, &prev);
        kd_buf_init(&ssr, PERSON_SSR_MAX);
        fuzz_require(person_ssr(&own, step > 0 ? &prev : NULL, &ssr) == KD_OK);
        memcpy(m->octets, ssr.p, ssr.n);
        m->n = ssr.n;
        kd_buf_free(&ssr);
    }
    return kd_slice(m->octets, m->n);
}

/* A request for the person's step, chained to the one before. */
static void
issue(int who, uint32_t step, uint32_t variant, bool next_step, int of)
{
    struct kd_buf body;
    char address[32];

    kd_buf_init(&body, KD_JOB_BODY_MAX);
    address_of(of, address);
    const struct kd_issue_job m = {.address = kd_slice_str(address),
                                   .ssr = request_of(who, step, variant)};
    kd_issue_job_put(&body, &m);
    struct job *j = put_job(SUBMISSION, KD_OP_IssueUserSignet, kd_buf_slice(&body), -1);
    j->person = of;
    j->next_step = next_step;
    kd_buf_free(&body);
}

static void
slot_job(enum kd_op op, bool right)
{
    uint8_t kind = 2; /* by credential: a passphrase would be stretched */
    uint8_t secret[DAEMON_CREDENTIAL_SIZE];
    int fd;

    memcpy(secret, place.credential, sizeof secret);
    secret[0] ^= right ? 0 : 1;
    fuzz_require(kd_memfd_seal(kd_slice(secret, sizeof secret), &fd) == KD_OK);
    put_job(ADMIN, op, kd_slice(&kind, 1), fd);
}

static void
generate(uint8_t role, uint8_t permissions)
{
    const struct kd_generate_job m = {.domain = kd_slice_str("example.com"),
                                      .role = role,
                                      .algorithm = role == 3 ? 2 : 1,
                                      .permissions = permissions};
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_generate_job_put(&b, &m);
    put_job(ADMIN, KD_OP_GenerateKey, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
}

static void
issue_org(void)
{
    struct kd_issue_org_job m = {.domain = kd_slice_str("example.com"),
                                 .soks = kd_slice(keys_of_org[1], 16)};
    struct kd_buf b;

    memcpy(m.pok, keys_of_org[0], 16);
    memcpy(m.encryption, keys_of_org[2], 16);
    kd_buf_init(&b, 1024);
    kd_issue_org_job_put(&b, &m);
    put_job(ADMIN, KD_OP_IssueOrgSignet, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
}

/* The first gate that may ask for it. */
static unsigned
gate_of(enum kd_op op)
{
    unsigned gate = 0;

    while (gate < GATES - 1 && !kd_op_is_served(op, classes[gate]))
        gate++;
    return gate;
}

static const enum kd_op mail_ops[] = {KD_OP_SignOutbound, KD_OP_OpenEnvelope,
                                      KD_OP_OpenBounce, KD_OP_MakeBounce,
                                      KD_OP_SealNaked};
enum { MAIL_OPS = sizeof mail_ops / sizeof *mail_ops };

/* The job around a message: good names, the signet that comes with it our own. */
static void
mail_job(enum kd_op op, const struct dime_signet *org, const uint8_t *fp,
         struct kd_slice message, struct kd_buf *out)
{
    const struct kd_slice domain = kd_slice_str("example.com");
    struct kd_inbound_job in = {.origin = domain,
                                .domain = domain,
                                .origin_signet = org->raw,
                                .message = message};
    char address[32];

    address_of(byte() % PEOPLE, address);
    if (op == KD_OP_SignOutbound) {
        const struct kd_sign_outbound_job m = {.account = kd_slice_str(address),
                                               .destination = domain,
                                               .origin_fp =
                                                   kd_slice(fp, DIME_FINGERPRINT_SIZE),
                                               .message = message};
        kd_sign_outbound_job_put(out, &m);
    } else if (op == KD_OP_SealNaked) {
        const struct kd_seal_naked_job m = {.recipient = kd_slice_str(address),
                                            .message = message};
        kd_seal_naked_job_put(out, &m);
    } else {
        in.part = op == KD_OP_MakeBounce ? byte() % (DIME_RETURN_COUNT + 1) : 0;
        in.klass = op == KD_OP_MakeBounce ? 5 : 0;
        memcpy(in.origin_fp, fp, DIME_FINGERPRINT_SIZE);
        memcpy(in.domain_fp, fp, DIME_FINGERPRINT_SIZE);
        kd_inbound_job_put(out, &in);
    }
}

/* Octets of the input as a message. None is one whose signatures hold, so none may come
 * to anything: on_answer sees to it. */
static void
mail(void)
{
    enum kd_op op = mail_ops[byte() % MAIL_OPS];
    uint8_t fp[DIME_FINGERPRINT_SIZE] = {0};
    struct dime_signet org;
    enum dime_reason why;
    struct kd_buf body;
    size_t n;

    fuzz_require(dime_signet_parse_as(DIME_ORG, kd_buf_slice(&session.orgs[0]), &org,
                                      &why) == KD_OK);
    if (byte() % 4 != 3) /* else that of no signet */
        fuzz_require(dime_fingerprint(&org, DIME_PART_FULL, fp) == KD_OK);
    n = byte();
    n = n > session.n ? session.n : n;
    const struct kd_slice message = kd_slice(session.p, n);
    session.p += n;
    session.n -= n;
    kd_buf_init(&body, KD_JOB_BODY_MAX);
    mail_job(op, &org, fp, message, &body);
    fuzz_require(body.err == KD_OK);
    put_job(gate_of(op), op, kd_buf_slice(&body), -1);
    kd_buf_free(&body);
}

/* Octets of the input as a request of a client: decoded, packed and sent as a gate
 * does. */
static void
raw_request(void)
{
    static struct kd_arena arena;
    static bool is_made;
    size_t n = byte() % 64;
    const Keyd__V1__Request *r;
    struct kd_rpc_fault fault;
    struct ask ask = {0};
    struct kd_buf body;

    if (!is_made)
        kd_arena_init(&arena);
    is_made = true;
    n = n > session.n ? session.n : n;
    struct kd_slice message = kd_slice(session.p, n);
    session.p += n;
    session.n -= n;
    if (kd_rpc_decode_request(&arena, message, false, &r, &fault) != KD_OK)
        return;
    const struct kd_rpc_op *op = kd_rpc_op(r->op_case);
    const struct op_rpc *rpc = op == NULL ? NULL : op_rpc_find((enum kd_op)op->number);
    if (rpc == NULL)
        return;
    kd_buf_init(&body, KD_JOB_BODY_MAX);
    if (rpc->pack(r, ++session.next_id, &body, &ask) == KD_OK) {
        if (rpc->message != KD_MSG_NONE)
            kd_ignore(
                kd_chan_put(&session.looks, rpc->message, kd_buf_slice(&body), -1));
        else
            put_job(gate_of(rpc->op), rpc->op, kd_buf_slice(&body), -1);
    }
    kd_buf_free(&body);
}

/* Octets of the input as a message between processes. */
static void
raw_message(struct kd_chan *ch)
{
    uint16_t type = byte();
    size_t n = byte();

    n = n > session.n ? session.n : n;
    kd_ignore(
        kd_chan_put(ch, type, kd_slice(session.p, n), -1)); /* closed: not heard */
    session.p += n;
    session.n -= n;
}

/* --- answers --- */

static void
note_ack(const char *address, struct kd_slice signet)
{
    uint8_t sha[32];
    char hex[65];

    crypto_hash_sha256(sha, signet.p, signet.n);
    sodium_bin2hex(hex, sizeof hex, sha, sizeof sha);
    fprintf(session.acks, "%s %s\n", address, hex);
}

static bool
is_ours(const struct dime_signet *user)
{
    struct dime_signet org;
    struct dime_verdict verdict;
    enum dime_reason why;

    for (size_t i = 0; i < session.n_orgs; i++)
        if (dime_signet_parse_as(DIME_ORG, kd_buf_slice(&session.orgs[i]), &org,
                                 &why) == KD_OK &&
            dime_user_verify(user, &org, NULL, &verdict) == KD_OK && verdict.bound)
            return true;
    return false;
}

static void
on_issued(const struct job *j, const struct kd_issue_done *m)
{
    struct dime_signet user;
    enum dime_reason why;
    char address[32];
    uint8_t sha[32], current[32];

    address_of(j->person, address);
    fuzz_require(dime_signet_parse_as(DIME_USER, m->signet, &user, &why) == KD_OK);
    fuzz_require(kd_slice_eq(user.identifier, kd_slice_str(address)));
    fuzz_require(is_ours(&user)); /* I4 */
    note_ack(address, m->signet);
    struct person *p = &session.people[j->person];
    if (!m->replayed) { /* I1: nothing can have come after it yet but our own */
        crypto_hash_sha256(sha, m->signet.p, m->signet.n);
        fuzz_require(session_ledger_current(kd_slice_str(address), current));
    }
    if (j->next_step && !m->replayed && m->seq == p->n + 1)
        p->n++;
}

static void
keep_org(struct kd_slice signet)
{
    if (session.n_orgs == ORGS_MOST)
        return;
    struct kd_buf *b = &session.orgs[session.n_orgs++];
    kd_buf_init(b, 65536);
    kd_buf_put(b, signet);
}

/* What the gate makes of it must be within the limits of the protocol. */
static void
check_frame(enum kd_op op, struct kd_slice body)
{
    static struct answer a; /* large */
    static struct kd_quota_shared none;
    const struct op_rpc *rpc = op_rpc_find(op);
    struct kd_rpc_fault fault;

    memset(&a, 0, sizeof a);
    keyd__v1__response__init(&a.r);
    a.r.id = 1;
    a.fd = -1;
    a.quotas = &none; /* the gates' */
    fuzz_require(rpc != NULL && rpc->unpack(body, &a) == KD_OK);
    fuzz_require(kd_rpc_check_response(&a.r, false, &fault) == KD_OK);
}

static kd_err
on_answer(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_done m;
    struct kd_issue_done issued;
    const struct job *j = NULL;

    (void)ctx;
    bool has_fd = fd >= 0;
    if (has_fd)
        close(fd);
    if (type != KD_MSG_done)
        return KD_OK;
    fuzz_require(kd_done_get(body, &m) == KD_OK);
    for (size_t i = 0; i < JOBS_MOST; i++)
        if (session.jobs[i].id == m.id && m.id != 0)
            j = &session.jobs[i];
    if (j == NULL || m.err != KD_OK)
        return KD_OK;
    for (size_t i = 0; i < MAIL_OPS; i++)
        fuzz_require(j->op != mail_ops[i]);
    if (has_fd)
        return KD_OK;
    check_frame(j->op, m.body);
    if (j->op != KD_OP_IssueUserSignet && j->op != KD_OP_IssueOrgSignet)
        return KD_OK;
    fuzz_require(kd_issue_done_get(m.body, &issued) == KD_OK);
    if (j->op == KD_OP_IssueOrgSignet)
        keep_org(issued.signet);
    else if (j->person >= 0)
        on_issued(j, &issued);
    return KD_OK;
}

/* --- sessions --- */

static void
put_files(void)
{
    char path[200];
    static const char *const others[] = {"registry.db-wal", "registry.db-journal",
                                         "keystore.new"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, others[i]);
        unlink(path);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        unlink(path);
        if (files[i].n == 0)
            continue;
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        fuzz_require(fd >= 0 &&
                     write(fd, files[i].octets, files[i].n) == (ssize_t)files[i].n);
        close(fd);
    }
}

static void
new_ledger(void)
{
    session_ledger_new(dir, kd_buf_slice(&ledger_conf));
    link_looks();
}

static void
new_vault(void)
{
    session_vault_new(kd_buf_slice(&vault_conf));
    for (unsigned i = 0; i < GATES; i++)
        link_gate(i);
}

static void
begin(void)
{
    memset(session.jobs, 0, sizeof session.jobs);
    memset(session.people, 0, sizeof session.people);
    session.n_jobs = 0;
    for (unsigned i = 0; i < GATES; i++)
        session.gates[i].fd = -1;
    session.looks.fd = -1;
    session.acks = fopen(acks_path, "we");
    fuzz_require(session.acks != NULL);
    new_ledger();
    new_vault();
    link_core();
    settle(TURNS);
}

static void
end(void)
{
    for (unsigned i = 0; i < GATES; i++)
        kd_chan_close(&session.gates[i]);
    kd_chan_close(&session.looks);
    session_vault_free();
    session_ledger_free();
    fuzz_require(fclose(session.acks) == 0);
}

static void
read_files(void)
{
    char path[200];

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        FILE *f = fopen(path, "re");
        fuzz_require(f != NULL);
        files[i].n = fread(files[i].octets, 1, FILE_MOST, f);
        fuzz_require(files[i].n > 0 && files[i].n < FILE_MOST);
        fclose(f);
    }
}

static void
make_confs(void)
{
    static struct kd_conf_problems problems;
    struct kd_conf *conf;
    struct kd_conf_for_vault v;
    struct kd_conf_for_ledger l;

    fuzz_require(kd_conf_load(place.conf, NULL, &conf, &problems) == KD_OK);
    kd_buf_init(&vault_conf, KD_ROLE_CONF_SIZE_MAX);
    kd_buf_init(&ledger_conf, KD_ROLE_CONF_SIZE_MAX);
    fuzz_require(kd_conf_for_vault_make(conf, &v) == KD_OK);
    kd_conf_for_vault_encode(&v, &vault_conf);
    kd_conf_for_vault_clear(&v);
    kd_conf_for_ledger_make(conf, &l);
    kd_conf_for_ledger_encode(&l, &ledger_conf);
    kd_conf_free(conf);
    fuzz_require(vault_conf.err == KD_OK && ledger_conf.err == KD_OK);
}

/* The ids of the keys, from the answer to PublicKeys, in the order they were made: an
 * audit key first. */
static unsigned n_ids;

static kd_err
on_keys(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_done m;
    struct kd_keys_done keys;
    struct kd_key_line line;

    (void)ctx;
    fuzz_require(fd < 0);
    if (type != KD_MSG_done || kd_done_get(body, &m) != KD_OK || m.err != KD_OK ||
        kd_keys_done_get(m.body, &keys) != KD_OK)
        return KD_OK;
    for (struct kd_cur c = kd_cur(keys.keys); kd_cur_left(&c) != 0;)
        if (kd_key_line_get(kd_list_next(&c), &line) == KD_OK && line.role >= 1 &&
            line.role <= 3) {
            memcpy(keys_of_org[line.role - 1], line.id, 16);
            n_ids++;
        }
    return KD_OK;
}

static void
ask_keys(void)
{
    struct kd_keys_job m = {.domain = kd_slice_str("example.com")};
    struct kd_buf b;

    kd_buf_init(&b, 512);
    kd_keys_job_put(&b, &m);
    put_job(ADMIN, KD_OP_PublicKeys, kd_buf_slice(&b), -1);
    kd_buf_free(&b);
    for (unsigned i = 0; i < TURNS; i++) {
        fuzz_require(kd_chan_flush(&session.gates[ADMIN]) == KD_OK);
        session_vault_step();
        session_ledger_step();
        fuzz_require(kd_chan_recv(&session.gates[ADMIN], 64, on_keys, NULL) == KD_OK);
    }
    fuzz_require(n_ids == 3);
}

static void
remove_place(void)
{
    daemon_clear(&place);
}

static void
provision(void)
{
    static const char memory[] = "/dev/shm";
    const struct daemon_options options = {.sealed = true};

    if (access(memory, W_OK) == 0) /* files are made anew all the time */
        fuzz_require(setenv("TMPDIR", memory, 1) == 0);
    fuzz_require(sodium_init() >= 0 && kd_secret_setup(512 * 1024) == KD_OK);
    kd_log_setup("session", KD_WARN + 1);
    fuzz_require(daemon_prepare(&place, &options));
    snprintf(dir, sizeof dir, "%s", place.state);
    snprintf(acks_path, sizeof acks_path, "%s/acks", place.dir);
    fuzz_require(mkdir(dir, 0700) == 0 && atexit(remove_place) == 0);
    make_confs();
    begin();
    slot_job(KD_OP_TokenInit, true);
    settle(TURNS);
    generate(1, 0);
    settle(TURNS);
    generate(2, 3);
    settle(TURNS);
    generate(3, 0);
    settle(TURNS);
    ask_keys();
    issue_org();
    settle(TURNS);
    fuzz_require(session.n_orgs == 1);
    end();
    read_files();
}

static void
act(void)
{
    int who = byte() % PEOPLE;
    struct person *p = &session.people[who];

    switch (byte() % 25) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (p->n < STEPS_MOST)
            issue(who, p->n, p->variant, true, who);
        break;
    case 5: /* the same again */
        if (p->n > 0)
            issue(who, p->n - 1, p->variant, false, who);
        break;
    case 6: /* a first one where there is one */
        issue(who, 0, p->variant + 1 + byte() % 2, false, who);
        break;
    case 7: /* keys of another */
        issue((who + 1) % PEOPLE, session.people[(who + 1) % PEOPLE].n, 0, false, who);
        break;
    case 8: /* a step too many */
        issue(who, p->n + 1, p->variant, false, who);
        break;
    case 9:
        generate(1 + byte() % 5, byte() % 16);
        break;
    case 10:
        issue_org();
        break;
    case 11:
        put_job(ADMIN, KD_OP_Seal, kd_slice(NULL, 0), -1);
        break;
    case 12:
    case 13:
        slot_job(KD_OP_Unseal, byte() % 4 != 0);
        break;
    case 14:
        slot_job(KD_OP_AddUnsealSlot, true);
        break;
    case 15:
        put_job(ADMIN, KD_OP_Status, kd_slice(NULL, 0), -1);
        break;
    case 16:
        raw_request();
        break;
    case 17:
        raw_message(&session.gates[(byte() + SUBMISSION) % GATES]);
        break;
    case 18:
        raw_message(&session.looks);
        break;
    case 19: /* the ledger ends and comes back */
        new_ledger();
        link_core();
        break;
    case 20: /* the vault does: sealed, and nothing under way is known any more */
        new_vault();
        link_core();
        slot_job(KD_OP_Unseal, true);
        break;
    case 21: /* the channel between them breaks, and with it what was on its way */
        link_core();
        break;
    case 22:
        link_gate(SUBMISSION);
        break;
    case 24:
        mail();
        break;
    default:
        settle(byte() % 4); /* only so far */
        return;
    }
    if (byte() % 3 != 0)
        settle(TURNS);
}

static void
print(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_provisioned;
    const struct check_conf conf = {.dir = dir, .acks = acks_path, .report = print};

    if (!is_provisioned)
        provision();
    is_provisioned = true;
    session.p = data;
    session.n = size;
    while (session.n_orgs > 1)
        kd_buf_free(&session.orgs[--session.n_orgs]);
    put_files();
    begin();
    slot_job(KD_OP_Unseal, true);
    settle(TURNS);
    fuzz_require(session_vault_is_open());
    for (unsigned i = 0; i < ACTIONS_MOST && session.n > 0; i++)
        act();
    settle(TURNS * 2);
    fuzz_require(!session_vault_has_failed()); /* nobody went back */
    end();
    fuzz_require(check_registry(&conf) == 0);
    return 0;
}
