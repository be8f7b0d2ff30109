/* Who is calling, on the unix listeners: the uid that the kernel gave at connect(), and
 * nothing that happens to the process or the descriptor afterwards. */
#include "ask.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/err.h>
#include <keyd/base/secret.h>
#include <keyd/rpc/rpc_frame.h>
#include <keyd/rpc/rpc_pb.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OVERFLOW_UID = 65534, WAIT_MS = 10000, NOT_SERVED = 100, NO_CONNECTION = 101 };

static struct daemon keyd;

/* --- one look-up, by hand, over any descriptor --- */

static int
connect_to(const char *klass)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    daemon_socket(&keyd, klass, sun.sun_path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&sun, sizeof sun) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool
send_request(int fd, const Keyd__V1__Request *m)
{
    uint8_t head[4];
    struct kd_buf b;

    kd_buf_init(&b, KD_FRAME_MAX);
    bool ok = kd_rpc_encode(&m->base, &b) == KD_OK;
    kd_put_be32(head, (uint32_t)b.n);
    ok = ok && send(fd, head, 4, MSG_NOSIGNAL) == 4 &&
         send(fd, b.p, b.n, MSG_NOSIGNAL) == (ssize_t)b.n;
    kd_buf_free(&b);
    return ok;
}

/* The status of the next answer, or NOT_SERVED when there is none. */
static int
read_status(int fd)
{
    static uint8_t octets[KD_FRAME_MAX];
    uint8_t head[4];
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (poll(&p, 1, WAIT_MS) != 1 || recv(fd, head, 4, MSG_WAITALL) != 4)
        return NOT_SERVED;
    uint32_t n = kd_be32(head);
    if (n > sizeof octets || recv(fd, octets, n, MSG_WAITALL) != (ssize_t)n)
        return NOT_SERVED;
    Keyd__V1__Response *r = keyd__v1__response__unpack(NULL, n, octets);
    int status = r == NULL ? NOT_SERVED : (int)r->status;
    if (r != NULL)
        keyd__v1__response__free_unpacked(r, NULL);
    return status;
}

/* Hello, then a look-up of example.com: its status, or that of Hello if it is no OK. */
static int
look_up(int fd)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;

    if (fd < 0)
        return NO_CONNECTION;
    hello.min_version = hello.max_version = 1;
    m.id = 1;
    m.op_case = KEYD__V1__REQUEST__OP_HELLO;
    m.hello = &hello;
    if (!send_request(fd, &m))
        return NOT_SERVED;
    int status = read_status(fd);
    if (status != KEYD__V1__STATUS__STATUS_OK)
        return status;
    look.name = kd_rpc_data(kd_slice_str("example.com"));
    m.id = 2;
    m.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
    m.lookup_signet = &look;
    return send_request(fd, &m) ? read_status(fd) : NOT_SERVED;
}

/* --- in a process of its own --- */

static void
become(uid_t uid)
{
    const gid_t group = DAEMON_GROUP;

    if (setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
        setresuid(uid, uid, uid) != 0)
        _exit(126);
}

/* What the function's process exits with. */
static int
in_a_process(int (*what)(void *arg), void *arg)
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(what(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct who {
    uid_t uid;
    const char *klass;
};

static int
as(void *arg)
{
    const struct who *w = arg;

    become(w->uid);
    return look_up(connect_to(w->klass));
}

static void
each_uid_is_served_on_its_listener_and_on_no_other(void **state)
{
    static const struct {
        struct who who;
        int status;
    } cells[] = {
        {{DAEMON_DMTPD, "mta"}, KEYD__V1__STATUS__STATUS_OK},
        {{DAEMON_SUBMITD, "submission"}, KEYD__V1__STATUS__STATUS_OK},
        {{DAEMON_DMTPD, "submission"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_SUBMITD, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_MILTER, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_AUDITOR, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_NOBODY, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_NOBODY, "submission"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{OVERFLOW_UID, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{OVERFLOW_UID, "submission"}, KEYD__V1__STATUS__STATUS_DENIED},
        /* The roles themselves are nobody here. */
        {{DAEMON_VAULT, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_LEDGER, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_GATE, "mta"}, KEYD__V1__STATUS__STATUS_DENIED},
        /* Whoever the directory lets through. An auditor reads the log and no signets.
         */
        {{DAEMON_DMTPD, "admin"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{DAEMON_AUDITOR, "admin"}, KEYD__V1__STATUS__STATUS_DENIED},
        {{OVERFLOW_UID, "admin"}, KEYD__V1__STATUS__STATUS_DENIED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        struct who who = cells[i].who;
        int status = in_a_process(as, &who);
        if (status != cells[i].status)
            fail_msg("uid %u on %s: %d instead of %d", (unsigned)who.uid, who.klass,
                     status, cells[i].status);
    }
}

static int
connect_as_one_and_become_another(void *arg)
{
    const uid_t *uids = arg;

    const gid_t group = DAEMON_GROUP;
    if (setgroups(1, &group) != 0 || setresgid(group, group, group) != 0 ||
        setresuid(uids[0], uids[0], 0) != 0)
        return 126;
    int fd = connect_to("mta");
    if (seteuid(0) != 0 || setresuid(uids[1], uids[1], uids[1]) != 0)
        return 126;
    return look_up(fd);
}

static void
who_connected_counts_and_not_what_it_became(void **state)
{
    uid_t known_first[] = {DAEMON_DMTPD, DAEMON_NOBODY};
    uid_t unknown_first[] = {DAEMON_NOBODY, DAEMON_DMTPD};

    (void)state;
    assert_int_equal(in_a_process(connect_as_one_and_become_another, known_first),
                     KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(in_a_process(connect_as_one_and_become_another, unknown_first),
                     KEYD__V1__STATUS__STATUS_DENIED);
}

/* --- a descriptor that is passed on --- */

struct hand {
    int pair[2];
    uid_t uid;
    bool gives; /* else takes */
};

static int
send_fd(int sock, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char octet = 'x';
    struct iovec iov = {&octet, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(sock, &msg, 0) == 1 ? 0 : 126;
}

static int
receive_fd(int sock)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char octet;
    int fd = -1;
    struct iovec iov = {&octet, 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};

    if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    return fd;
}

static int
connect_and_give(void *arg)
{
    const struct hand *h = arg;

    become(h->uid);
    int fd = connect_to("mta");
    return fd < 0 ? NO_CONNECTION : send_fd(h->pair[0], fd);
}

static int
take_and_look(void *arg)
{
    const struct hand *h = arg;

    become(h->uid);
    return look_up(receive_fd(h->pair[1]));
}

static int
passed_from_to(uid_t from, uid_t to)
{
    struct hand h = {.uid = from};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, h.pair), 0);
    assert_int_equal(in_a_process(connect_and_give, &h), 0);
    h.uid = to;
    int status = in_a_process(take_and_look, &h);
    close(h.pair[0]);
    close(h.pair[1]);
    return status;
}

static void
a_descriptor_speaks_for_who_connected_it(void **state)
{
    (void)state;
    assert_int_equal(passed_from_to(DAEMON_DMTPD, DAEMON_NOBODY),
                     KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(passed_from_to(DAEMON_NOBODY, DAEMON_DMTPD),
                     KEYD__V1__STATUS__STATUS_DENIED);
    assert_int_equal(passed_from_to(OVERFLOW_UID, DAEMON_DMTPD),
                     KEYD__V1__STATUS__STATUS_DENIED);
}

/* --- another user namespace --- */

static bool
write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

enum { CANNOT = 120 };

/* A user who calls itself root, or dmtpd, in a namespace of its own: the kernel knows
 * better. */
static int
as_somebody_inside(void *arg)
{
    const uid_t *uids = arg; /* outside, and as it calls itself */
    char map[64];

    become(uids[0]);
    /* Else the files of its own in /proc are root's. */
    if (prctl(PR_SET_DUMPABLE, 1) != 0 || unshare(CLONE_NEWUSER) != 0)
        return CANNOT;
    snprintf(map, sizeof map, "%u %u 1", uids[1], uids[0]);
    if (!write_map("/proc/self/setgroups", "deny") ||
        !write_map("/proc/self/uid_map", map))
        return CANNOT;
    if (getuid() != uids[1])
        return 126;
    return look_up(connect_to("mta"));
}

/* Without any map its uid is the overflow uid, to itself and to nobody else. */
static int
as_nobody_inside(void *arg)
{
    const uid_t *uid = arg;

    become(*uid);
    if (unshare(CLONE_NEWUSER) != 0)
        return CANNOT;
    return getuid() != OVERFLOW_UID ? 126 : look_up(connect_to("mta"));
}

static void
a_namespace_of_ones_own_makes_nobody_of_anybody(void **state)
{
    uid_t root_inside[] = {DAEMON_NOBODY, 0};
    uid_t dmtpd_inside[] = {DAEMON_NOBODY, DAEMON_DMTPD};
    uid_t still_itself[] = {DAEMON_DMTPD, 0};
    uid_t nobody = DAEMON_NOBODY;
    int status = in_a_process(as_nobody_inside, &nobody);

    (void)state;
    if (status == CANNOT) {
        print_message("skipped: no user namespaces here\n");
        skip();
    }
    assert_int_equal(status, KEYD__V1__STATUS__STATUS_DENIED);
    assert_int_equal(in_a_process(as_somebody_inside, root_inside),
                     KEYD__V1__STATUS__STATUS_DENIED);
    assert_int_equal(in_a_process(as_somebody_inside, dmtpd_inside),
                     KEYD__V1__STATUS__STATUS_DENIED);
    assert_int_equal(in_a_process(as_somebody_inside, still_itself),
                     KEYD__V1__STATUS__STATUS_OK);
}

/* A principal of this uid cannot even be configured into existence. */
static void
the_overflow_uid_is_no_principal_whatever_is_configured(void **state)
{
    static const char section[] =
        "principal \"nobody\" {\n uid = 65534\n class = \"mta\"\n"
        " operations = { \"LookupSignet\" }\n domains = { \"example.com\" }\n}\n";
    struct daemon d;

    (void)state;
    assert_true(daemon_prepare(&d, NULL));
    FILE *f = fopen(d.conf, "ae");
    assert_non_null(f);
    fputs(section, f);
    assert_int_equal(fclose(f), 0);
    struct daemon was = keyd;
    if (!daemon_launch(&d) || daemon_wait_end(&d, 1000) == 256) {
        assert_true(daemon_wait(&d, WAIT_MS)); /* taken, then: it must be of no use */
        keyd = d;
        struct who who = {OVERFLOW_UID, "mta"};
        int status = in_a_process(as, &who);
        keyd = was;
        assert_int_equal(daemon_stop(&d), 0);
        assert_int_equal(status, KEYD__V1__STATUS__STATUS_DENIED);
    }
    daemon_clear(&d);
}

/* --- start and end --- */

static int
set_up(void **state)
{
    (void)state;
    suite_needs_root("needs other users");
    return kd_secret_setup(65536) == KD_OK && daemon_start(&keyd, NULL) &&
                   daemon_provision(&keyd, NULL)
               ? 0
               : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    assert_int_equal(daemon_stop(&keyd), 0);
    daemon_clear(&keyd);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_uid_is_served_on_its_listener_and_on_no_other),
        cmocka_unit_test(who_connected_counts_and_not_what_it_became),
        cmocka_unit_test(a_descriptor_speaks_for_who_connected_it),
        cmocka_unit_test(a_namespace_of_ones_own_makes_nobody_of_anybody),
        cmocka_unit_test(the_overflow_uid_is_no_principal_whatever_is_configured),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
