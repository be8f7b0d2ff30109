/* A caller: a process of its own under its own uid, or with a certificate of its own.
 * First it connects, since a daemon that drains takes no connections any more; when it
 * is told to, it asks for every operation there is. */
#include "matrix.h"
#include "matrix_ask.h"
#include "matrix_raw.h"
#include "test.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_MS = 10000 };

struct self {
    const struct caller *c;
    const struct matrix_about *about;
    keyd_client *client[KD_OP_MAX + 1]; /* by operation; over TLS one for each */
    int fd;                             /* LOCAL: to be adopted */
    struct raw raw;
};

/* --- connecting --- */

static bool
become(const struct caller *c)
{
    bool ok = c->kind != LOCAL || c->uid == 0 ||
              (setgroups(0, NULL) == 0 &&
               setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) == 0 &&
               setresuid(c->uid, c->uid, c->uid) == 0);

    return ok && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}

static bool
connect_local(struct self *s)
{
    char path[108];

    daemon_socket(s->about->d, s->c->listener, path);
    s->fd = raw_connect(path);
    s->client[0] = keyd_client_new();
    raw_open_unix(&s->raw, path);
    return s->fd >= 0 && s->client[0] != NULL &&
           keyd_client_set_deadline(s->client[0], ASK_MS) == KEYD_OK;
}

/* An answer of "not now" makes libkeyd leave an endpoint alone for a while: so each
 * operation has a client of its own. */
static keyd_client *
remote_client(const struct self *s)
{
    static const struct keyd_options options = {.fail_at_once = true};
    const struct matrix_place *p = s->about->place;
    const struct keyd_tls tls = {.certificate = p->cert[s->c->identity],
                                 .key = p->key[s->c->identity],
                                 .ca = p->tls.ca,
                                 .server_name = "localhost"};
    char address[64];
    keyd_client *k = keyd_client_new();

    snprintf(address, sizeof address, "tls:127.0.0.1:%u", p->tls.port);
    const struct keyd_endpoint e = {.address = address, .tls = &tls};
    if (k == NULL || keyd_client_set_deadline(k, ASK_MS) != KEYD_OK ||
        keyd_client_set_options(k, &options) != KEYD_OK ||
        keyd_client_add_endpoint(k, &e) != KEYD_OK)
        return NULL;
    return k;
}

/* What is not served there is refused for good, and needs no client of its own. */
static unsigned
client_of(unsigned op)
{
    return kd_op_is_served(op, KD_CLASS_TLS) ? op : 0;
}

static bool
connect_remote(struct self *s)
{
    const struct matrix_place *p = s->about->place;
    struct keyd_answer *a = NULL;

    raw_open_tls(&s->raw, p->tls.port, p->ids[s->c->identity]);
    for (unsigned op = 0; op <= KD_OP_MAX; op++) {
        if (op != 0 && (raw_can_ask((enum kd_op)op) || client_of(op) == 0 ||
                        !is_asked(s->c, op, s->about)))
            continue;
        if ((s->client[op] = remote_client(s)) == NULL)
            return false;
        if (s->about->state != DRAINING)
            continue;
        if (keyd_client_status(s->client[op], &a) != KEYD_OK)
            return false;
        keyd_client_answer_free(a);
    }
    return true;
}

/* --- asking --- */

/* The server's answer to Hello. */
static enum keyd_status
greet(struct self *s)
{
    keyd_client *k = s->client[0];
    enum keyd_status status = keyd_client_adopt(k, s->fd);

    while (status == KEYD_OK && keyd_client_server(k)->version == 0)
        status = keyd_client_process(k, ASK_MS);
    return status;
}

static unsigned
call(const struct self *s, keyd_client *k, unsigned op)
{
    struct matrix_ask a;
    struct keyd_answer *answer = NULL;

    if (!matrix_ask(&a, (enum kd_op)op, s->about, s->c))
        _exit(98);
    unsigned status = keyd_client_call(k, &a.q, &answer);
    keyd_client_answer_free(answer);
    matrix_ask_clear(&a);
    return status;
}

static unsigned
call_remote(const struct self *s, unsigned op)
{
    keyd_client *k = s->client[client_of(op)];
    struct keyd_endpoint_info before, after;

    if (keyd_client_endpoint_info(k, 1, &before) != KEYD_OK)
        _exit(98);
    unsigned status = call(s, k, op);
    if (keyd_client_endpoint_info(k, 1, &after) != KEYD_OK)
        _exit(98);
    if (after.n_answered != before.n_answered)
        return status;
    return status == KEYD_UNAVAILABLE && after.why == KEYD_DENIED &&
                   strcmp(after.detail, "tls-refused") == 0
               ? REFUSED
               : NO_ANSWER;
}

static void
ask_local(struct self *s, uint8_t *got)
{
    unsigned connected = greet(s);

    /* A stranger's first frame is refused, whatever it is. */
    if (!s->c->is_stranger && raw_hello(&s->raw) != KEYD_OK)
        _exit(96);
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!is_asked(s->c, op, s->about))
            continue;
        if (cells[op].how != PARTS)
            got[op] = (uint8_t)(connected != KEYD_OK || op == KD_OP_Hello
                                    ? connected
                                    : call(s, s->client[0], op));
        else if (s->c->is_stranger && op == KD_OP_FetchPart)
            got[op] = KEYD_DENIED; /* the other one ended the connection */
        else
            got[op] = (uint8_t)raw_ask(&s->raw, (enum kd_op)op);
    }
}

static void
ask_remote(struct self *s, uint8_t *got)
{
    unsigned connected = raw_hello(&s->raw);

    if (connected == NO_ANSWER && s->c->kind == TURNED_OFF)
        connected = REFUSED;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if (!is_asked(s->c, op, s->about))
            continue;
        if (connected != KEYD_OK && (op == KD_OP_Hello || raw_can_ask((enum kd_op)op)))
            got[op] = (uint8_t)connected;
        else if (op == KD_OP_Hello)
            got[op] = KEYD_OK;
        else if (raw_can_ask((enum kd_op)op))
            got[op] = (uint8_t)raw_ask(&s->raw, (enum kd_op)op);
        else
            got[op] = (uint8_t)call_remote(s, op);
    }
}

static _Noreturn void
run(struct self *s, int go, int answers)
{
    uint8_t got[KD_OP_MAX + 1], octet = 0;
    bool is_local = s->c->kind == LOCAL;

    memset(got, NOT_ASKED, sizeof got);
    if (!become(s->c) || !(is_local ? connect_local(s) : connect_remote(s)))
        _exit(99);
    if (write(answers, &octet, 1) != 1 || read(go, &octet, 1) != 1)
        _exit(97);
    if (is_local)
        ask_local(s, got);
    else
        ask_remote(s, got);
    for (unsigned op = 0; op <= KD_OP_MAX; op++)
        keyd_client_free(s->client[op]);
    raw_close(&s->raw);
    _exit(write(answers, got, sizeof got) == sizeof got ? 0 : 97);
}

/* --- the other side of it --- */

void
asker_start(struct asker *a, const struct caller *c, const struct matrix_about *about)
{
    struct self s = {.c = c, .about = about, .fd = -1};
    int go[2], answers[2];
    uint8_t octet;

    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(answers), 0);
    fflush(NULL);
    *a = (struct asker){.caller = c, .pid = fork(), .go = go[1], .answers = answers[0]};
    assert_true(a->pid >= 0);
    if (a->pid == 0)
        run(&s, go[0], answers[1]);
    close(go[0]);
    close(answers[1]);
    if (read(a->answers, &octet, 1) != 1)
        fail_msg("%s could not connect", c->name);
}

void
asker_ask(struct asker *a, uint8_t got[KD_OP_MAX + 1])
{
    int status;

    assert_int_equal(write(a->go, "", 1), 1);
    ssize_t n = read(a->answers, got, KD_OP_MAX + 1);
    close(a->go);
    close(a->answers);
    assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
    if (status != 0 || n != KD_OP_MAX + 1)
        fail_msg("%s ended with %#x", a->caller->name, (unsigned)status);
}
