/* What libkeyd makes of a server: any octets, in any pieces, on a unix socket or on
 * a stream where objects go in parts. Input: the kind of stream, then pieces, each an
 * octet (the top bit: a descriptor comes with it; the rest: size, doubled) and its
 * octets. Ids: Hello has 1, the requests 2 to 7, parts what comes after.
 *
 * Whatever comes, each request ends once, with a status that there is, and nothing is
 * left behind. */
#include "fuzz.h"

#include "client.h" /* for a stream that is not TLS and has parts */

#include <keyd/base/memfd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_REQUESTS = 6, WINDOW = 256 * 1024 };

static size_t n_ended;
static volatile uint8_t touched; /* so that reading is not left out */

static void
check_signet(const struct keyd_answer *a)
{
    uint8_t sum = 0;

    fuzz_require(a->out.signet.signet.n > 0 &&
                 a->out.signet.signet.n <= KD_RPC_OBJECT_MAX);
    for (size_t i = 0; i < a->out.signet.signet.n; i++)
        sum ^= a->out.signet.signet.p[i];
    touched = sum;
    fuzz_require(a->out.signet.full_fp.n == KEYD_FP_SIZE);
}

static void
on_answer(void *cookie, struct keyd_answer *a)
{
    bool *ended = cookie;

    fuzz_require(!*ended);
    *ended = true;
    n_ended++;
    fuzz_require(strlen(a->detail) <= 48);
    fuzz_require(strcmp(keyd_client_status_text(a->status), "unknown status") != 0);
    if (a->status == KEYD_OK &&
        (a->op == KEYD_OP_LOOKUP_SIGNET || a->op == KEYD_OP_ISSUE_USER_SIGNET))
        check_signet(a);
    keyd_client_answer_free(a);
}

static void
submit_all(keyd_client *c, bool ended[N_REQUESTS])
{
    static const uint8_t image[50000];
    const struct keyd_octets name = KEYD_STR("a@example.org");
    const struct keyd_request all[N_REQUESTS] = {
        {.op = KEYD_OP_LOOKUP_SIGNET, .in.lookup_signet = {name, KEYD_NONE}},
        {.op = KEYD_OP_ISSUE_USER_SIGNET,
         .in.issue_user_signet = {.address = name,
                                  .ssr = name,
                                  .account_mode = KEYD_ACCOUNT_CAUTIOUS}},
        {.op = KEYD_OP_ISSUE_USER_SIGNET,
         .in.issue_user_signet = {.address = name,
                                  .ssr = name,
                                  .account_mode = KEYD_ACCOUNT_CAUTIOUS,
                                  .image = {image, sizeof image}}},
        {.op = KEYD_OP_STATUS},
        {.op = KEYD_OP_AUDIT_READ, .in.audit_read = {1, 0}},
        {.op = KEYD_OP_LOOKUP_HISTORY, .in.lookup_history = {.address = name}},
    };

    for (size_t i = 0; i < N_REQUESTS; i++)
        if (keyd_client_submit(c, &all[i], on_answer, &ended[i], NULL) != KEYD_OK)
            abort();
}

/* What the client says is read and forgotten, so that it never waits. */
static void
drain(int sock)
{
    static uint8_t octets[65536];
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(sizeof(int))];
    } control;

    for (;;) {
        struct iovec iov = {octets, sizeof octets};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.octets,
                             .msg_controllen = sizeof control.octets};
        if (recvmsg(sock, &msg, MSG_DONTWAIT) <= 0)
            return;
        for (struct cmsghdr *m = CMSG_FIRSTHDR(&msg); m != NULL;
             m = CMSG_NXTHDR(&msg, m)) {
            int fd;
            memcpy(&fd, CMSG_DATA(m), sizeof fd);
            close(fd);
        }
    }
}

static void
send_piece(int sock, const uint8_t *p, size_t n, int fd)
{
    union {
        struct cmsghdr align;
        uint8_t octets[CMSG_SPACE(sizeof(int))];
    } control = {0};
    union {
        const uint8_t *given;
        void *taken;
    } base = {.given = p};
    struct iovec iov = {base.taken, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.octets;
        msg.msg_controllen = sizeof control.octets;
        struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
        m->cmsg_level = SOL_SOCKET;
        m->cmsg_type = SCM_RIGHTS;
        m->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(m), &fd, sizeof fd);
    }
    kd_ignore(sendmsg(sock, &msg, MSG_NOSIGNAL)); /* a client that left is no matter */
}

static void
play(keyd_client *c, int sock, const uint8_t *data, size_t size, int object)
{
    enum keyd_status status = keyd_client_process(c, 0);

    for (size_t at = 0; status == KEYD_OK && at < size;) {
        bool with_fd = (data[at] & 0x80) != 0;
        size_t n = (size_t)(data[at++] & 0x7f) * 2 + 1;
        if (n > size - at)
            n = size - at;
        if (n > 0)
            send_piece(sock, data + at, n, with_fd ? object : -1);
        at += n;
        status = keyd_client_process(c, 0);
        drain(sock);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int object = -1;
    bool ended[N_REQUESTS] = {false};
    uint8_t octets[64] = {1};
    int pair[2];

    if (size == 0)
        return 0;
    if (object < 0 && kd_memfd_seal(kd_slice(octets, sizeof octets), &object) != KD_OK)
        abort();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        abort();
    fuzz_begin(size + WINDOW / 16); /* requests, and the parts ahead */
    n_ended = 0;
    keyd_client *c = keyd_client_new();
    if (c == NULL || keyd_client_adopt(c, pair[0]) != KEYD_OK)
        abort();
    c->solo.is_parted = (data[0] & 1) != 0;
    submit_all(c, ended);
    play(c, pair[1], data + 1, size - 1, object);
    fuzz_require(keyd_client_pending(c) + n_ended == N_REQUESTS);
    keyd_client_free(c);
    fuzz_end();
    fuzz_require(n_ended == N_REQUESTS);
    close(pair[1]);
    return 0;
}
