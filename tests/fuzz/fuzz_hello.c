/* The first frames of a connection, with the gate's own code: a socket, serve.c,
 * request.c. Input: the class of the listener, the size of pieces, and what the client
 * sends before it says no more. Whatever that is,
 *   - it gets one clean answer to its first frame, or the end, by rules worked out here
 *     from the frame alone
 *   - only versions that both ends know are agreed on, and once
 *   - nothing goes to vault or ledger, and nothing but Hello succeeds, before it
 *   - the answers are the same however the octets come
 *   - nothing of the connection is left. */
#include "fuzz.h"

#include "../support/daemon.h"

#include "../../keyd/gate/request.h"
#include "../../keyd/gate/serve.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/conf/conf.h>

#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLASSES = 4, /* with sockets of their own */
    STREAM_MOST = 16384,
    ANSWERS_MOST = 1 << 20,
    FRAMES_MOST = STREAM_MOST / 4, /* one for each frame of the client at most */
    TURNS_MOST = 2000
};

static const enum kd_class classes[CLASSES] = {KD_CLASS_ADMIN, KD_CLASS_SUBMISSION,
                                               KD_CLASS_MTA, KD_CLASS_MILTER};
static struct gate gate;
static struct kd_conf_for_gate confs[CLASSES];
static struct kd_quota_map maps[CLASSES];
static int vault = -1, ledger = -1; /* the other ends of the gate's channels */

/* --- the gate --- */

static void
read_conf(void)
{
    static struct kd_conf_problems problems;
    static struct daemon place; /* for its configuration; it never runs */
    struct kd_conf *conf;

    fuzz_require(daemon_prepare(&place, NULL));
    fuzz_require(kd_conf_load(place.conf, NULL, &conf, &problems) == KD_OK);
    for (size_t i = 0; i < CLASSES; i++)
        fuzz_require(kd_conf_for_gate_make(conf, classes[i], &confs[i]) == KD_OK);
    kd_conf_free(conf);
    daemon_clear(&place);
}

static int
link_to(struct kd_role_link *link)
{
    int fds[2];

    kd_role_unlinked(link);
    fuzz_require(kd_chan_pair(fds) == KD_OK);
    kd_chan_init(&link->chan, fds[0]);
    return fds[1];
}

static void
make_gate(void)
{
    struct gate *g = &gate;

    kd_log_setup("hello", KD_WARN + 1);
    read_conf();
    g->listener = -1;
    g->stops_known = true;
    kd_arena_init(&g->arena);
    kd_buf_init(&g->body, KD_JOB_BODY_MAX);
    kd_buf_init(&g->message, KD_CHAN_BODY_MAX);
    kd_buf_init(&g->stopped, 16384);
    fuzz_require(kd_quota_shared_map(-1, -1, KD_CLASS_ADMIN, 0, &g->quotas,
                                     &g->all_quotas) == KD_OK);
    for (size_t i = 0; i < CLASSES; i++)
        fuzz_require(kd_quota_claim(&g->quotas, confs[i].policy, 0, NULL, &maps[i]) ==
                     KD_OK);
    fuzz_require((g->base = event_base_new()) != NULL);
    vault = link_to(&g->vault);
    ledger = link_to(&g->ledger);
}

/* How many packets of messages have come, which are read and forgotten. */
static size_t
messages(struct kd_role_link *link, int fd)
{
    uint8_t octets[64]; /* the rest of each is cut off */
    size_t n = 0;

    fuzz_require(kd_chan_flush(&link->chan) == KD_OK);
    while (recv(fd, octets, sizeof octets, MSG_DONTWAIT) >= 0)
        n++;
    return n;
}

/* --- a client --- */

struct run {
    struct kd_buf answers;
    size_t n_messages;
};

static bool
take_answers(int fd, struct run *r)
{
    uint8_t octets[4096];
    ssize_t n;
    bool any = false;

    while ((n = recv(fd, octets, sizeof octets, MSG_DONTWAIT)) > 0) {
        kd_buf_put(&r->answers, kd_slice(octets, (size_t)n));
        any = true;
    }
    fuzz_require(r->answers.err == KD_OK);
    return any;
}

/* Until nothing moves any more. */
static void
turns(int fd, struct run *r)
{
    struct gate *g = &gate;
    unsigned still = 0;

    for (unsigned i = 0; still < 2; i++) {
        fuzz_require(i < TURNS_MOST);
        event_base_loop(g->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        bool more = serve_settle(g);
        size_t n = messages(&g->vault, vault) + messages(&g->ledger, ledger);
        r->n_messages += n;
        still = take_answers(fd, r) || more || n > 0 ? 0 : still + 1;
    }
}

static void
speak(struct kd_slice stream, size_t piece, enum kd_class klass, struct run *r)
{
    struct gate *g = &gate;
    struct kd_caller who = kd_caller_local(klass, (uint32_t)geteuid());
    int fds[2];

    kd_buf_init(&r->answers, ANSWERS_MOST);
    r->n_messages = 0;
    fuzz_require(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    fuzz_require(serve_open(g, fds[0], &who) != NULL);
    for (size_t at = 0; at < stream.n;) {
        size_t n = stream.n - at < piece ? stream.n - at : piece;
        ssize_t sent = send(fds[1], stream.p + at, n, MSG_NOSIGNAL);
        if (sent < 0)
            break; /* it has ended the connection */
        at += (size_t)sent;
        turns(fds[1], r);
    }
    kd_ignore(shutdown(fds[1], SHUT_WR)); /* gone already: as good */
    turns(fds[1], r);
    request_fail_all(g, true);
    request_fail_all(g, false);
    turns(fds[1], r);
    fuzz_require(g->n_conns == 0 && g->conns == NULL && g->pending.n == 0);
    close(fds[1]);
}

/* --- what must have come of it --- */

struct expected {
    bool is_known; /* the first frame is whole */
    Keyd__V1__Status status;
    uint64_t id;
    bool ends; /* there is no second answer */
};

/* By the first frame alone, of a caller that policy knows or does not. */
static struct expected
expect(struct kd_slice stream, bool is_known)
{
    static struct kd_arena arena;
    static bool is_made;
    struct expected e = {.ends = true};
    struct kd_rpc_fault fault = {0};
    const Keyd__V1__Request *r;

    if (!is_made)
        kd_arena_init(&arena);
    is_made = true;
    e.status = kd_rpc_status(KD_MALFORMED);
    if (stream.n < KD_FRAME_HEADER)
        return e;
    uint32_t size = kd_be32(stream.p);
    if (size == 0 ||
        size > KD_FRAME_MAX) { /* or with a descriptor, and there is none */
        e.is_known = (size & 0x7fffffff) == 0 || (size & 0x7fffffff) > KD_FRAME_MAX;
        return e;
    }
    if (stream.n - KD_FRAME_HEADER < size)
        return e;
    e.is_known = true;
    kd_err err = kd_rpc_decode_request(
        &arena, kd_slice(stream.p + KD_FRAME_HEADER, size), false, &r, &fault);
    if (err != KD_OK) {
        e.status = kd_rpc_status(err);
        e.id = fault.id;
        e.ends = err == KD_MALFORMED || fault.id == 0;
        return e;
    }
    e.id = r->id;
    if (!is_known) {
        e.status = kd_rpc_status(KD_DENIED);
        return e;
    }
    if (r->op_case != KEYD__V1__REQUEST__OP_HELLO) {
        e.status = kd_rpc_status(KD_INVALID);
        return e;
    }
    bool common = r->hello->min_version <= KD_RPC_VERSION_MAX &&
                  r->hello->max_version >= KD_RPC_VERSION_MIN;
    e.status = kd_rpc_status(common ? KD_OK : KD_UNSUPPORTED);
    e.ends = false;
    return e;
}

static void
check_hello(const Keyd__V1__HelloResult *h, const struct kd_conf_for_gate *conf)
{
    fuzz_require(h->version >= KD_RPC_VERSION_MIN && h->version <= KD_RPC_VERSION_MAX);
    fuzz_require(h->max_frame == conf->limits.max_frame);
    fuzz_require(h->max_in_flight == conf->limits.max_in_flight);
    fuzz_require(h->idle_timeout_ms == conf->limits.idle_timeout * 1000);
    fuzz_require(h->max_object <= KD_RPC_OBJECT_MAX);
    fuzz_require(kd_slice_eq(kd_rpc_slice(h->class_name),
                             kd_slice_str(kd_class_name(conf->klass))));
}

static void
check_answers(const struct run *r, struct expected e,
              const struct kd_conf_for_gate *conf)
{
    static struct kd_arena arena;
    static bool is_made;
    struct kd_slice left = kd_buf_slice(&r->answers);
    struct kd_rpc_fault fault;
    const Keyd__V1__Response *a;
    unsigned n = 0, n_hello = 0;

    if (!is_made)
        kd_arena_init(&arena);
    is_made = true;
    for (; left.n != 0; n++) {
        fuzz_require(left.n > KD_FRAME_HEADER);
        size_t size = kd_be32(left.p);
        fuzz_require(size <= left.n - KD_FRAME_HEADER);
        fuzz_require(kd_rpc_decode_response(&arena,
                                            kd_slice(left.p + KD_FRAME_HEADER, size),
                                            false, &a, &fault) == KD_OK);
        left =
            kd_slice(left.p + KD_FRAME_HEADER + size, left.n - KD_FRAME_HEADER - size);
        if (n == 0 && e.is_known)
            fuzz_require(a->status == e.status && a->id == e.id);
        if (a->status != KEYD__V1__STATUS__STATUS_OK)
            continue;
        /* Nobody else answers here. */
        fuzz_require(a->result_case == KEYD__V1__RESPONSE__RESULT_HELLO);
        fuzz_require(n_hello++ == 0);
        check_hello(a->hello, conf);
    }
    fuzz_require(!e.is_known || n >= 1);
    fuzz_require(!e.ends || n <= 1);
    fuzz_require(n_hello == 1 || r->n_messages == 0);
}

static int
by_octets(const void *a, const void *b)
{
    const struct kd_slice *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int c = memcmp(x->p, y->p, n);

    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

/* The frames, which are whole, in an order of their own: what was under way at the same
 * time may be answered in any. */
static size_t
sort_answers(const struct run *r, struct kd_slice frames[FRAMES_MOST])
{
    struct kd_slice left = kd_buf_slice(&r->answers);
    size_t n = 0;

    while (left.n != 0) {
        size_t size = KD_FRAME_HEADER + kd_be32(left.p);
        fuzz_require(n < FRAMES_MOST && size <= left.n);
        frames[n++] = kd_slice(left.p, size);
        left = kd_slice(left.p + size, left.n - size);
    }
    qsort(frames, n, sizeof *frames, by_octets);
    return n;
}

static bool
same_answers(const struct run *a, const struct run *b)
{
    static struct kd_slice of_a[FRAMES_MOST], of_b[FRAMES_MOST];
    size_t n = sort_answers(a, of_a);

    if (sort_answers(b, of_b) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!kd_slice_eq(of_a[i], of_b[i]))
            return false;
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice name;
    struct run whole, pieces;

    if (gate.base == NULL)
        make_gate();
    if (size < 2 || size > STREAM_MOST)
        return 0;
    size_t klass = data[0] % CLASSES;
    struct kd_slice stream = kd_slice(data + 2, size - 2);
    gate.conf = confs[klass]; /* borrowed: nothing here takes another */
    gate.quota_map = maps[klass];
    gate.max_conns = gate_max_conns(&gate.conf);
    gate.principals.is_shared = kd_policy_n_rows(gate.conf.policy) > 1;
    speak(stream, stream.n, classes[klass], &whole);
    speak(stream, 1 + data[1] % 64 + stream.n / 64, classes[klass], &pieces);
    struct kd_caller who = kd_caller_local(classes[klass], (uint32_t)geteuid());
    bool is_known = kd_policy_name(gate.conf.policy, &who, &name) == KD_OK;
    check_answers(&whole, expect(stream, is_known), &gate.conf);
    check_answers(&pieces, expect(stream, is_known), &gate.conf);
    fuzz_require(same_answers(&whole, &pieces));
    fuzz_require((whole.n_messages == 0) == (pieces.n_messages == 0));
    kd_buf_free(&whole.answers);
    kd_buf_free(&pieces.answers);
    return 0;
}
