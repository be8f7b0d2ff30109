#include "matrix_raw.h"

#include "matrix.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int
raw_connect(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void
init(struct raw *r, bool is_tls)
{
    *r = (struct raw){.is_tls = is_tls, .fd = -1};
    kd_frame_in_init(&r->in, KD_FRAME_MAX);
    kd_frame_out_init(&r->out, 4 * KD_FRAME_MAX);
    kd_arena_init(&r->arena);
}

void
raw_open_unix(struct raw *r, const char *path)
{
    static const struct timeval patience = {10, 0};

    init(r, false);
    r->fd = raw_connect(path);
    r->is_open = r->fd >= 0 && setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
                                          sizeof patience) == 0;
}

void
raw_open_tls(struct raw *r, uint16_t port, const struct identity *id)
{
    init(r, true);
    r->is_open = tls_open(&r->tls, port, id);
}

void
raw_close(struct raw *r)
{
    if (r->is_tls)
        tls_close(&r->tls);
    else if (r->fd >= 0)
        close(r->fd);
    kd_frame_in_clear(&r->in);
    kd_frame_out_clear(&r->out);
    kd_arena_free(&r->arena);
}

/* --- one request, one answer --- */

static bool
send_unix(struct raw *r, Keyd__V1__Request *q)
{
    struct kd_rpc_fault fault;
    struct kd_slice s;

    q->id = ++r->id;
    if (kd_rpc_put_request(&r->out, q, -1, &fault) != KD_OK)
        return false;
    while (kd_frame_out_peek(&r->out, &s) == KD_OK && s.n != 0) {
        ssize_t n = send(r->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        kd_frame_out_drop(&r->out, (size_t)n);
    }
    return true;
}

static const Keyd__V1__Response *
receive_unix(struct raw *r)
{
    static struct kd_frame_scratch scratch;
    const Keyd__V1__Response *out;
    struct kd_rpc_fault fault;
    struct kd_frame frame;
    kd_err err;

    while ((err = kd_frame_next(&r->in, &frame)) == KD_NOT_FOUND) {
        ssize_t n = recv(r->fd, scratch.octets, sizeof scratch.octets, 0);
        if (n <= 0 ||
            kd_frame_feed(&r->in, kd_slice(scratch.octets, (size_t)n), -1) != KD_OK)
            return NULL;
    }
    if (err != KD_OK ||
        kd_rpc_decode_response(&r->arena, frame.body, false, &out, &fault) != KD_OK)
        return NULL;
    /* What was fed is read over by the next call. */
    return kd_frame_hold(&r->in) == KD_OK ? out : NULL;
}

static unsigned
exchange(struct raw *r, Keyd__V1__Request *q)
{
    const Keyd__V1__Response *a = NULL;

    if (!r->is_open)
        return NO_ANSWER;
    if (r->is_tls)
        a = tls_ask(&r->tls, q);
    else if (send_unix(r, q))
        a = receive_unix(r);
    return a == NULL ? NO_ANSWER : (unsigned)a->status;
}

unsigned
raw_hello(struct raw *r)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;

    hello.min_version = hello.max_version = 1;
    q.op_case = KEYD__V1__REQUEST__OP_HELLO;
    q.hello = &hello;
    return exchange(r, &q);
}

/* --- requests --- */

static const uint8_t upload[16] = "an upload of it";
static const uint8_t key[16] = "a key of its own";

static unsigned
ask_part(struct raw *r)
{
    static const uint8_t octets[100];
    Keyd__V1__UploadPartRequest part = KEYD__V1__UPLOAD_PART_REQUEST__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;

    part.upload_id = kd_rpc_data(kd_slice(upload, sizeof upload));
    part.total = 2 * sizeof octets;
    part.data = kd_rpc_data(kd_slice(octets, sizeof octets));
    q.op_case = KEYD__V1__REQUEST__OP_UPLOAD_PART;
    q.upload_part = &part;
    return exchange(r, &q);
}

static unsigned
ask_fetch(struct raw *r)
{
    Keyd__V1__FetchPartRequest part = KEYD__V1__FETCH_PART_REQUEST__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;

    part.object_id = kd_rpc_data(kd_slice(upload, sizeof upload));
    part.limit = 100;
    q.op_case = KEYD__V1__REQUEST__OP_FETCH_PART;
    q.fetch_part = &part;
    return exchange(r, &q);
}

static unsigned
ask_slot(struct raw *r, enum kd_op op)
{
    Keyd__V1__TokenInitRequest init_it = KEYD__V1__TOKEN_INIT_REQUEST__INIT;
    Keyd__V1__AddUnsealSlotRequest add = KEYD__V1__ADD_UNSEAL_SLOT_REQUEST__INIT;
    Keyd__V1__UnsealRequest unseal = KEYD__V1__UNSEAL_REQUEST__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;

    init_it.slot_kind = add.slot_kind = unseal.slot_kind =
        KEYD__V1__SLOT_KIND__SLOT_KIND_PASSPHRASE;
    q.upload_id = kd_rpc_data(kd_slice(upload, sizeof upload));
    if (op != KD_OP_Unseal)
        q.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
    if (op == KD_OP_TokenInit) {
        q.op_case = KEYD__V1__REQUEST__OP_TOKEN_INIT;
        q.token_init = &init_it;
    } else if (op == KD_OP_AddUnsealSlot) {
        q.op_case = KEYD__V1__REQUEST__OP_ADD_UNSEAL_SLOT;
        q.add_unseal_slot = &add;
    } else {
        q.op_case = KEYD__V1__REQUEST__OP_UNSEAL;
        q.unseal = &unseal;
    }
    return exchange(r, &q);
}

static unsigned
ask_import(struct raw *r)
{
    Keyd__V1__ImportKeyRequest import = KEYD__V1__IMPORT_KEY_REQUEST__INIT;
    Keyd__V1__Request q = KEYD__V1__REQUEST__INIT;

    import.signing_role = KEYD__V1__KEY_ROLE__KEY_ROLE_SOK;
    import.domain = kd_rpc_data(kd_slice_str("example.com"));
    import.permissions = KEYD_PERM_SIGNET;
    q.upload_id = kd_rpc_data(kd_slice(upload, sizeof upload));
    q.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
    q.op_case = KEYD__V1__REQUEST__OP_IMPORT_KEY;
    q.import_key = &import;
    return exchange(r, &q);
}

bool
raw_can_ask(enum kd_op op)
{
    return op == KD_OP_UploadPart || op == KD_OP_FetchPart || op == KD_OP_ImportKey ||
           (kd_op_flags(op) & KD_OPF_SECRET) != 0;
}

unsigned
raw_ask(struct raw *r, enum kd_op op)
{
    return op == KD_OP_UploadPart  ? ask_part(r)
           : op == KD_OP_FetchPart ? ask_fetch(r)
           : op == KD_OP_ImportKey ? ask_import(r)
                                   : ask_slot(r, op);
}
