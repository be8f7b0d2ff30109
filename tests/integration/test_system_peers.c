/* Captured processes: keyd-vault and keyd-ledger as they are, under a supervisor of the
 * test that gives them hostile neighbours. A gate that says anything at all, and
 * a ledger that does, end neither; the channel that carried nonsense is dropped, and
 * the others go on. */
#include "ask.h"
#include "forget.h"
#include "job_sample.h"
#include "people.h"
#include "role.h"
#include "scale.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/conf/conf.h>
#include <keyd/conf/role_conf.h>
#include <keyd/job/state.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES_WHOLE = 1000000, WAIT_MS = 10000 };

static struct daemon keyd; /* made the state; does not run */
static struct kd_conf *conf;

/* --- a supervisor for one role --- */

struct role {
    const char *name;
    pid_t pid;
    struct kd_chan ctl;
    bool ready;
    unsigned n_lost, n_events;
    uint32_t serial;
};

/* The test's end of a channel to a role. */
struct peer {
    struct role *role;
    enum kd_link link;
    unsigned gate;
    struct kd_chan chan;
    unsigned n_linked;
};

static _Noreturn void
become_role(const char *name, int ctl, uid_t uid, pid_t parent)
{
    char program[4096];
    char *argv[] = {program, NULL}, *environment[] = {NULL};
    const struct rlimit lock = {64 << 20, 64 << 20};
    char log[160];

    daemon_program("bin", name, program);
    snprintf(log, sizeof log, "%s/log", keyd.dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    kd_ignore(setrlimit(RLIMIT_MEMLOCK, &lock)); /* it says so if that is too little */
    if (fd < 0 || dup2(fd, 2) < 0 ||
        (geteuid() == 0 && (setgroups(0, NULL) != 0 ||
                            setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) != 0 ||
                            setresuid(uid, uid, uid) != 0)) ||
        chdir(uid == DAEMON_LEDGER ? keyd.state : "/") != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    if (ctl == KD_ROLE_CTL_FD ? fcntl(ctl, F_SETFD, 0) != 0
                              : dup2(ctl, KD_ROLE_CTL_FD) < 0)
        _exit(126);
    for (int i = 4; i < 256; i++)
        close(i);
    execve(program, argv, environment);
    _exit(127);
}

static kd_err
on_ctl(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct role *r = ctx;

    (void)body;
    if (fd >= 0)
        close(fd);
    r->ready = r->ready || type == KD_MSG_ctl_ready;
    r->n_lost += type == KD_MSG_ctl_lost;
    r->n_events += type == KD_MSG_ctl_event;
    return KD_OK;
}

static void
wait_for_input(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    kd_ignore(poll(&p, 1, ms)); /* whatever it says, receiving finds out */
}

/* Hears what the role has to say; it must be alive. */
static void
attend(struct role *r)
{
    int status;

    kd_err err = kd_chan_recv(&r->ctl, 1000, on_ctl, r);
    if (err == KD_OK && kd_chan_pending(&r->ctl))
        err = kd_chan_flush(&r->ctl);
    pid_t ended = waitpid(r->pid, &status, WNOHANG);
    if (err != KD_OK || ended != 0) {
        if (ended == 0)
            waitpid(r->pid, &status, 0);
        r->pid = 0;
        fail_msg("%s has ended (%s %d), see %s", r->name,
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                 keyd.log);
    }
}

static void
send_conf(struct role *r)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    if (strcmp(r->name, "keyd-vault") == 0) {
        struct kd_conf_for_vault v;
        assert_int_equal(kd_conf_for_vault_make(conf, &v), KD_OK);
        kd_conf_for_vault_encode(&v, &b);
        kd_conf_for_vault_clear(&v);
    } else {
        struct kd_conf_for_ledger l;
        kd_conf_for_ledger_make(conf, &l);
        kd_conf_for_ledger_encode(&l, &b);
    }
    assert_int_equal(b.err, KD_OK);
    assert_int_equal(kd_chan_put(&r->ctl, KD_MSG_CTL_CONF, kd_buf_slice(&b), -1),
                     KD_OK);
    assert_int_equal(kd_chan_flush(&r->ctl), KD_OK);
    kd_buf_free(&b);
}

static void
role_start(struct role *r, const char *name, uid_t uid)
{
    int fds[2];
    pid_t parent = getpid();

    *r = (struct role){.name = name};
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    fflush(NULL);
    r->pid = fork();
    if (r->pid == 0)
        become_role(name, fds[1], uid, parent);
    assert_true(r->pid > 0);
    close(fds[1]);
    kd_chan_init(&r->ctl, fds[0]);
    send_conf(r);
    for (int64_t until = kd_clock_ms() + WAIT_MS; !r->ready;) {
        assert_true(kd_clock_ms() < until);
        wait_for_input(r->ctl.fd, 100);
        attend(r);
    }
}

static void
role_stop(struct role *r)
{
    kd_chan_close(&r->ctl);
    if (r->pid > 0)
        assert_int_equal(daemon_reap(r->pid, WAIT_MS), 0);
    r->pid = 0;
}

static void
give_link(struct role *r, enum kd_link link, unsigned gate, int fd)
{
    struct kd_ctl_link m = {(uint8_t)link, (uint8_t)gate, ++r->serial};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_link_put(&b, &m);
    assert_int_equal(kd_chan_put(&r->ctl, KD_MSG_ctl_link, kd_buf_slice(&b), fd),
                     KD_OK);
    assert_int_equal(kd_chan_flush(&r->ctl), KD_OK);
    kd_buf_free(&b);
}

/* A new channel, in place of one there may have been. */
static void
peer_link(struct peer *p)
{
    int fds[2];

    kd_chan_close(&p->chan);
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&p->chan, fds[0]);
    give_link(p->role, p->link, p->gate, fds[1]);
    p->n_linked++;
}

static void
peer_init(struct peer *p, struct role *r, enum kd_link link, enum kd_class klass)
{
    *p = (struct peer){.role = r,
                       .link = link,
                       .gate = (unsigned)klass * KD_GATE_WORKERS_MAX,
                       .chan.fd = -1};
    peer_link(p);
}

/* Joins two roles with each other. */
static void
join(struct role *a, enum kd_link a_link, struct role *b, enum kd_link b_link)
{
    int fds[2];

    assert_int_equal(kd_chan_pair(fds), KD_OK);
    give_link(a, a_link, 0, fds[0]);
    give_link(b, b_link, 0, fds[1]);
}

/* --- saying things --- */

/* Sends the message; a channel that was dropped is replaced, as a supervisor would. */
static void
say(struct peer *p, uint16_t type, struct kd_slice body, int fd)
{
    kd_err err = p->chan.fd < 0 ? KD_CLOSED : kd_chan_put(&p->chan, type, body, fd);

    if (p->chan.fd < 0 && fd >= 0)
        close(fd);
    if (err == KD_OK)
        err = kd_chan_flush(&p->chan);
    for (int i = 0; err == KD_OK && kd_chan_pending(&p->chan) && i < 1000; i++) {
        struct pollfd w = {.fd = p->chan.fd, .events = POLLIN | POLLOUT};
        kd_ignore(poll(&w, 1, 10)); /* until it has taken what is queued */
        attend(p->role);
        err = kd_chan_recv(&p->chan, 64, forget, NULL);
        if (err == KD_OK)
            err = kd_chan_flush(&p->chan);
    }
    if (err == KD_OK)
        err = kd_chan_recv(&p->chan, 64, forget, NULL);
    if (err != KD_OK)
        peer_link(p);
}

/* Waits until the role has taken what was sent, so that little is lost when it drops
 * the channel for one of the messages. */
static void
let_take(struct peer *p)
{
    const struct timespec moment = {0, 20000};
    int left = 1;

    for (int i = 0; left > 0 && i < 50000; i++) {
        if (ioctl(p->chan.fd, SIOCOUTQ, &left) != 0 || left == 0)
            return;
        struct pollfd hup = {.fd = p->chan.fd, .events = 0};
        if (poll(&hup, 1, 0) == 1)
            return;
        kd_ignore(nanosleep(&moment, NULL)); /* another process is at work */
    }
}

static int
some_descriptor(void)
{
    int fd = -1;

    switch (randombytes_uniform(16)) {
    case 0:
        assert_int_equal(kd_memfd_seal(kd_slice_str("not what you think"), &fd), KD_OK);
        return fd;
    case 1:
        return open("/dev/zero", O_RDONLY | O_CLOEXEC);
    case 2:
        return open(keyd.conf, O_RDONLY | O_CLOEXEC);
    default:
        return -1;
    }
}

/* A job that gets as far as one can without permission, and sometimes further. */
static void
put_deep_job(struct kd_buf *b, const uint8_t *ops, size_t n_ops)
{
    static const char *const bodies[] = {"issue_job",    "keys_job",   "slot_job",
                                         "generate_job", "retire_job", "import_job",
                                         "issue_org_job"};
    const char *name = bodies[randombytes_uniform(7)];
    struct kd_buf body;
    struct kd_job job = {.id = randombytes_random(),
                         .op = ops[randombytes_uniform((uint32_t)n_ops)],
                         .uid = randombytes_uniform(3) == 0 ? randombytes_random() : 0,
                         .deadline =
                             (uint64_t)kd_clock_ms() + randombytes_uniform(2000),
                         .has_key = 1};

    kd_buf_init(&body, KD_JOB_BODY_MAX);
    for (size_t i = 0; i < JOB_TYPES; i++)
        if (strcmp(job_name(i), name) == 0)
            job_sample(i, &body);
    if (randombytes_uniform(4) == 0)
        job_bend(&body);
    randombytes_buf(job.key, sizeof job.key);
    job.body = kd_buf_slice(&body);
    kd_job_put(b, &job);
    kd_buf_free(&body);
}

static void
say_something(struct peer *p, const uint8_t *ops, size_t n_ops)
{
    static uint8_t noise[4096];
    size_t i = randombytes_uniform(JOB_TYPES);
    uint16_t type = job_type(i);
    struct kd_buf b;

    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    switch (randombytes_uniform(8)) {
    case 0: /* no message at all */
        randombytes_buf(noise, sizeof noise);
        if (send(p->chan.fd, noise, 1 + randombytes_uniform(sizeof noise),
                 MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
            errno != EAGAIN)
            peer_link(p);
        break;
    case 1:
        job_sample(i, &b);
        job_bend(&b);
        break;
    case 2:
        job_sample(i, &b);
        break;
    default:
        if (n_ops == 0) {
            job_sample(i, &b);
        } else {
            put_deep_job(&b, ops, n_ops);
            type = KD_MSG_job;
        }
        break;
    }
    if (b.err == KD_OK && b.n <= KD_CHAN_BODY_MAX)
        say(p, type, kd_buf_slice(&b), some_descriptor());
    kd_buf_free(&b);
}

/* --- asking properly --- */

struct answer {
    uint16_t type;
    uint64_t id;
    kd_err err;
    struct kd_buf body;
    bool come;
};

static kd_err
on_answer(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct answer *a = ctx;
    struct kd_done done;

    if (fd >= 0)
        close(fd);
    if (type != a->type)
        return KD_OK;
    if (type == KD_MSG_done) {
        if (kd_done_get(body, &done) != KD_OK || done.id != a->id)
            return KD_OK;
        a->err = (kd_err)done.err;
        kd_buf_reset(&a->body);
        kd_buf_put(&a->body, done.body);
    }
    a->come = true;
    return KD_OK;
}

static void
ask_peer(struct peer *p, uint16_t type, struct kd_slice body, struct answer *a)
{
    int64_t until = kd_clock_ms() + WAIT_MS;

    assert_true(p->chan.fd >= 0);
    assert_int_equal(kd_chan_put(&p->chan, type, body, -1), KD_OK);
    assert_int_equal(kd_chan_flush(&p->chan), KD_OK);
    while (!a->come) {
        if (kd_clock_ms() > until)
            fail_msg("%s does not answer an honest neighbour", p->role->name);
        wait_for_input(p->chan.fd, 50);
        attend(p->role);
        assert_int_equal(kd_chan_recv(&p->chan, 64, on_answer, a), KD_OK);
    }
}

static kd_err
ask_vault(struct peer *p, enum kd_op op, struct kd_slice body, struct kd_buf *reply)
{
    static uint64_t id = 1000;
    struct answer a = {.type = KD_MSG_done, .id = ++id};
    struct kd_job job = {.id = id,
                         .op = (uint8_t)op,
                         .uid = geteuid(),
                         .deadline = (uint64_t)kd_clock_ms() + WAIT_MS,
                         .has_key = 1,
                         .body = body};
    struct kd_buf b;

    randombytes_buf(job.key, sizeof job.key);
    kd_buf_init(&b, KD_CHAN_BODY_MAX);
    kd_buf_init(&a.body, KD_CHAN_BODY_MAX);
    kd_job_put(&b, &job);
    ask_peer(p, KD_MSG_job, kd_buf_slice(&b), &a);
    kd_buf_free(&b);
    if (reply != NULL)
        *reply = a.body;
    else
        kd_buf_free(&a.body);
    return a.err;
}

static struct kd_status_done
vault_status(struct peer *p)
{
    struct kd_status_done m;
    struct kd_buf reply;

    assert_int_equal(ask_vault(p, KD_OP_Status, kd_slice(NULL, 0), &reply), KD_OK);
    assert_int_equal(kd_status_done_get(kd_buf_slice(&reply), &m), KD_OK);
    kd_buf_free(&reply);
    m.shadow = m.quotas = kd_slice(NULL, 0); /* were borrowed */
    return m;
}

static uint8_t
vault_state_of(struct peer *p)
{
    return vault_status(p).state;
}

static void
wait_until_operational(struct peer *p)
{
    int64_t until = kd_clock_ms() + WAIT_MS;
    uint8_t s;

    /* example.net has no organizational signet, which degrades */
    while ((s = vault_state_of(p)) != KEYD_STATE_OPERATIONAL &&
           s != KEYD_STATE_DEGRADED) {
        assert_true(kd_clock_ms() < until);
        wait_for_input(p->role->ctl.fd, 5);
    }
}

static void
ask_ledger(struct peer *p)
{
    struct answer a = {.type = KD_MSG_looked_verify};
    struct kd_look_verify m = {.tag = 1, .name = kd_slice_str("example.com")};
    struct kd_buf b;

    kd_buf_init(&b, 1024);
    kd_look_verify_put(&b, &m);
    ask_peer(p, KD_MSG_look_verify, kd_buf_slice(&b), &a);
    kd_buf_free(&b);
}

static void
issue_honestly(struct peer *p)
{
    static uint64_t person;
    struct kd_buf ssr, body;
    char address[64];

    person_request("peers", person, &ssr);
    snprintf(address, sizeof address, "peer%u@example.com", (unsigned)person++);
    struct kd_issue_job m = {.address = kd_slice_str(address),
                             .ssr = kd_buf_slice(&ssr)};
    kd_buf_init(&body, 4096);
    kd_issue_job_put(&body, &m);
    assert_int_equal(ask_vault(p, KD_OP_IssueUserSignet, kd_buf_slice(&body), NULL),
                     KD_OK);
    kd_buf_free(&ssr);
    kd_buf_free(&body);
}

/* --- the tests --- */

static struct role vault, ledger;

static void
start_both(void)
{
    role_start(&ledger, "keyd-ledger", DAEMON_LEDGER);
    role_start(&vault, "keyd-vault", DAEMON_VAULT);
    int fd = open(keyd.credential_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    give_link(&vault, KD_LINK_CREDENTIAL, 0, fd);
    join(&vault, KD_LINK_LEDGER, &ledger, KD_LINK_VAULT);
}

static void
a_captured_gate_ends_neither_vault_nor_ledger_and_stops_no_other(void **state)
{
    static const uint8_t ops[] = {KD_OP_Status, KD_OP_PublicKeys,
                                  KD_OP_IssueUserSignet};
    size_t n = test_rounds(MESSAGES_WHOLE);
    struct peer admin, submission, mta_ledger, bad_vault, bad_ledger;

    (void)state;
    start_both();
    peer_init(&admin, &vault, KD_LINK_GATE, KD_CLASS_ADMIN);
    wait_until_operational(&admin);
    peer_init(&submission, &vault, KD_LINK_GATE, KD_CLASS_SUBMISSION);
    submission.gate++; /* the second gate of the listener that has a captured one */
    peer_link(&submission);
    peer_init(&mta_ledger, &ledger, KD_LINK_GATE, KD_CLASS_MTA);
    peer_init(&bad_vault, &vault, KD_LINK_GATE, KD_CLASS_SUBMISSION);
    peer_init(&bad_ledger, &ledger, KD_LINK_GATE, KD_CLASS_SUBMISSION);
    int64_t start = kd_clock_ms();
    for (size_t i = 0; i < n; i += 2) {
        say_something(&bad_vault, ops, sizeof ops);
        say_something(&bad_ledger, NULL, 0);
        if (i % 16 == 0) {
            let_take(&bad_vault);
            let_take(&bad_ledger);
        }
        if (i % 64 == 0) {
            attend(&vault);
            attend(&ledger);
        }
        if (i % 5000 == 0) {
            issue_honestly(&submission);
            ask_ledger(&mta_ledger);
        }
    }
    issue_honestly(&submission);
    ask_ledger(&mta_ledger);
    assert_int_equal(submission.n_linked, 2);
    assert_int_equal(mta_ledger.n_linked, 1);
    print_message("%zu messages in %d ms; %u and %u channels were dropped, %u events\n",
                  n, (int)(kd_clock_ms() - start), bad_vault.n_linked - 1,
                  bad_ledger.n_linked - 1, vault.n_events);
    assert_true(bad_vault.n_linked > n / 100 && bad_ledger.n_linked > n / 100);
    kd_chan_close(&admin.chan);
    kd_chan_close(&submission.chan);
    kd_chan_close(&mta_ledger.chan);
    kd_chan_close(&bad_vault.chan);
    kd_chan_close(&bad_ledger.chan);
    role_stop(&vault);
    role_stop(&ledger);
}

/* True if the channel ends within the time. */
static bool
is_dropped(struct peer *p)
{
    int64_t until = kd_clock_ms() + 5000;

    while (kd_clock_ms() < until) {
        wait_for_input(p->chan.fd, 50);
        attend(p->role);
        if (kd_chan_recv(&p->chan, 64, forget, NULL) != KD_OK)
            return true;
    }
    return false;
}

static void
T_OP_27_a_gate_that_asks_for_another_class_is_dropped(void **state)
{
    static const struct {
        enum kd_class klass;
        enum kd_op op;
    } cases[] = {
        {KD_CLASS_MILTER, KD_OP_IssueUserSignet},
        {KD_CLASS_MTA, KD_OP_IssueUserSignet},
        {KD_CLASS_ADMIN, KD_OP_IssueUserSignet},
        {KD_CLASS_SUBMISSION, KD_OP_Seal},
        {KD_CLASS_SUBMISSION, KD_OP_TokenInit},
        {KD_CLASS_MILTER, KD_OP_ImportKey},
        {KD_CLASS_MTA, KD_OP_GenerateKey},
        {KD_CLASS_MTA, KD_OP_IssueOrgSignet},
        {KD_CLASS_MTA, KD_OP_SignOutbound},
        {KD_CLASS_ADMIN, KD_OP_SignOutbound},
        {KD_CLASS_MILTER, KD_OP_SignOutbound},
        {KD_CLASS_SUBMISSION, KD_OP_OpenEnvelope},
        {KD_CLASS_MILTER, KD_OP_OpenEnvelope},
        {KD_CLASS_ADMIN, KD_OP_OpenEnvelope},
        {KD_CLASS_SUBMISSION, KD_OP_OpenBounce},
        {KD_CLASS_MILTER, KD_OP_OpenBounce},
        {KD_CLASS_SUBMISSION, KD_OP_MakeBounce},
        {KD_CLASS_MILTER, KD_OP_MakeBounce},
        {KD_CLASS_MTA, KD_OP_SealNaked},
        {KD_CLASS_SUBMISSION, KD_OP_SealNaked},
        {KD_CLASS_ADMIN, KD_OP_SealNaked},
    };
    struct peer admin, bad;

    (void)state;
    start_both();
    peer_init(&admin, &vault, KD_LINK_GATE, KD_CLASS_ADMIN);
    admin.gate++;
    peer_link(&admin);
    wait_until_operational(&admin);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kd_job job = {.id = 1,
                             .op = (uint8_t)cases[i].op,
                             .uid = 0,
                             .deadline = (uint64_t)kd_clock_ms() + WAIT_MS};
        struct kd_buf b;
        peer_init(&bad, &vault, KD_LINK_GATE, cases[i].klass);
        kd_buf_init(&b, 4096);
        kd_job_put(&b, &job);
        assert_int_equal(kd_chan_put(&bad.chan, KD_MSG_job, kd_buf_slice(&b), -1),
                         KD_OK);
        assert_int_equal(kd_chan_flush(&bad.chan), KD_OK);
        assert_true(is_dropped(&bad));
        kd_buf_free(&b);
        kd_chan_close(&bad.chan);
    }
    wait_until_operational(&admin);
    assert_int_equal(vault_status(&admin).peer_malformed, sizeof cases / sizeof *cases);
    /* The milter's gate reads no signets and nobody but admin's the log. */
    struct kd_look_head head = {.tag = 1};
    struct kd_look_verify verify = {.tag = 1, .name = kd_slice_str("example.com")};
    struct kd_buf b;
    kd_buf_init(&b, 4096);
    peer_init(&bad, &ledger, KD_LINK_GATE, KD_CLASS_MILTER);
    kd_look_verify_put(&b, &verify);
    assert_int_equal(kd_chan_put(&bad.chan, KD_MSG_look_verify, kd_buf_slice(&b), -1),
                     KD_OK);
    assert_int_equal(kd_chan_flush(&bad.chan), KD_OK);
    assert_true(is_dropped(&bad));
    kd_chan_close(&bad.chan);
    kd_buf_reset(&b);
    peer_init(&bad, &ledger, KD_LINK_GATE, KD_CLASS_SUBMISSION);
    kd_look_head_put(&b, &head);
    assert_int_equal(kd_chan_put(&bad.chan, KD_MSG_look_head, kd_buf_slice(&b), -1),
                     KD_OK);
    assert_int_equal(kd_chan_flush(&bad.chan), KD_OK);
    assert_true(is_dropped(&bad));
    kd_chan_close(&bad.chan);
    kd_chan_close(&admin.chan);
    kd_buf_free(&b);
    role_stop(&vault);
    role_stop(&ledger);
}

/* Did anything come on the channel that is no refusal? */
static kd_err
on_release(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct kd_done done;
    unsigned *released = ctx;

    if (fd >= 0)
        close(fd);
    if (type == KD_MSG_done && kd_done_get(body, &done) == KD_OK && done.err == KD_OK &&
        done.id == 1)
        ++*released;
    return KD_OK;
}

static void
a_captured_ledger_ends_the_vault_not_and_gets_no_signature_released(void **state)
{
    size_t n = test_rounds(MESSAGES_WHOLE) / 10;
    struct peer admin, submission, bad;
    unsigned released = 0;

    (void)state;
    start_both();
    peer_init(&admin, &vault, KD_LINK_GATE, KD_CLASS_ADMIN);
    wait_until_operational(&admin);
    peer_init(&submission, &vault, KD_LINK_GATE, KD_CLASS_SUBMISSION);
    issue_honestly(&submission);
    /* From here on the ledger is another. */
    peer_init(&bad, &vault, KD_LINK_LEDGER, KD_CLASS_MTA);
    for (size_t i = 0; i < n; i++) {
        if (i % 100 == 0) {
            struct person_keys own;
            struct kd_buf ssr, body, b;
            person_keys("unrecorded", i, 0, &own);
            kd_buf_init(&ssr, 4096);
            kd_buf_init(&body, 4096);
            kd_buf_init(&b, 8192);
            assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
            struct kd_issue_job m = {.address = kd_slice_str("gone@example.com"),
                                     .ssr = kd_buf_slice(&ssr)};
            kd_issue_job_put(&body, &m);
            struct kd_job job = {.id = 1,
                                 .op = KD_OP_IssueUserSignet,
                                 .uid = geteuid(),
                                 .deadline = (uint64_t)kd_clock_ms() + 2000,
                                 .body = kd_buf_slice(&body)};
            kd_job_put(&b, &job);
            assert_int_equal(
                kd_chan_put(&submission.chan, KD_MSG_job, kd_buf_slice(&b), -1), KD_OK);
            assert_int_equal(kd_chan_flush(&submission.chan), KD_OK);
            kd_buf_free(&ssr);
            kd_buf_free(&body);
            kd_buf_free(&b);
        }
        say_something(&bad, NULL, 0);
        if (i % 8 == 0)
            let_take(&bad);
        if (i % 64 == 0)
            attend(&vault);
        assert_int_equal(kd_chan_recv(&submission.chan, 64, on_release, &released),
                         KD_OK);
    }
    /* It answers still, whatever it thinks of its ledger. */
    kd_ignore(vault_state_of(&admin));
    assert_int_equal(released, 0);
    print_message("%zu messages of a captured ledger, %u channels dropped\n", n,
                  bad.n_linked - 1);
    kd_chan_close(&admin.chan);
    kd_chan_close(&submission.chan);
    kd_chan_close(&bad.chan);
    role_stop(&vault);
    role_stop(&ledger);
}

static void
the_registry_is_whole_afterwards(void **state)
{
    const char *const arguments[] = {keyd.state, NULL};

    (void)state;
    assert_int_equal(
        daemon_reap(daemon_spawn(&keyd, "keyd-check", "check.out", arguments), 60000),
        0);
}

/* --- start and end --- */

static int
set_up(void **state)
{
    static struct kd_conf_problems problems;
    const struct daemon_options quiet = {.top = "log-level = warn"};

    (void)state;
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, &quiet) ||
        !daemon_provision(&keyd, NULL) || daemon_stop(&keyd) != 0)
        return -1;
    return kd_conf_load(keyd.conf, NULL, &conf, &problems) == KD_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    kd_conf_free(conf);
    daemon_clear(&keyd);
    return 0;
}

static int
end_roles(void **state)
{
    (void)state;
    /* After a failure. */
    if (vault.pid > 0)
        kill(vault.pid, SIGKILL);
    if (ledger.pid > 0)
        kill(ledger.pid, SIGKILL);
    vault.pid = ledger.pid = 0;
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            a_captured_gate_ends_neither_vault_nor_ledger_and_stops_no_other,
            end_roles),
        cmocka_unit_test_teardown(T_OP_27_a_gate_that_asks_for_another_class_is_dropped,
                                  end_roles),
        cmocka_unit_test_teardown(
            a_captured_ledger_ends_the_vault_not_and_gets_no_signature_released,
            end_roles),
        cmocka_unit_test(the_registry_is_whole_afterwards),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
