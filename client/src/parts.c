/* Objects in parts: each part is a request of its own, a few in flight for every object
 * and a few objects at a time. */
#include "client.h"

#include <keyd/base/memfd.h>
#include <stdlib.h>
#include <sys/random.h>

enum { PART_OVERHEAD = 64 }; /* of a message that carries a part */

static uint32_t
part_size(const struct link *l)
{
    uint32_t most = l->server.max_frame - PART_OVERHEAD;

    return most < KD_RPC_INLINE_MAX ? most : KD_RPC_INLINE_MAX;
}

static uint32_t
next_size(const struct link *l, const struct call *call)
{
    uint32_t left = call->size - call->asked;

    return left < part_size(l) ? left : part_size(l);
}

enum keyd_status
parts_upload(struct link *l, struct call *call)
{
    size_t size = 0;

    (void)l;
    if (kd_memfd_check(call->fd, KD_RPC_OBJECT_MAX, &size) != KD_OK)
        return KEYD_PROTOCOL; /* it is our own */
    if (getrandom(call->object_id, sizeof call->object_id, 0) !=
        (ssize_t)sizeof call->object_id)
        return KEYD_NOMEM;
    call->size = (uint32_t)size;
    call->asked = call->moved = 0;
    return KEYD_OK;
}

void
parts_fetch(struct call *call, const Keyd__V1__Response *m)
{
    memcpy(call->object_id, m->object_id.data, sizeof call->object_id);
    call->size = answer_object_size(m);
    call->asked = call->moved = 0;
    call->held = 0;
    call->response = m;
}

static kd_err
send_part(struct link *l, struct call *call, uint32_t n)
{
    Keyd__V1__UploadPartRequest part = KEYD__V1__UPLOAD_PART_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;
    uint8_t *octets = malloc(n);
    kd_err err;

    if (octets == NULL)
        return KD_NOMEM;
    if ((err = kd_memfd_read(call->fd, call->asked, octets, n)) == KD_OK) {
        part.upload_id = kd_rpc_data(kd_slice(call->object_id, sizeof call->object_id));
        part.offset = call->asked;
        part.total = call->size;
        part.data = kd_rpc_data(kd_slice(octets, n));
        m.id = ++l->client->last_id;
        m.op_case = KEYD__V1__REQUEST__OP_UPLOAD_PART;
        m.upload_part = &part;
        err = link_request(l, &m, FLIGHT_UPLOAD, call, call->asked, n);
    }
    free(octets);
    return err;
}

static kd_err
ask_part(struct link *l, struct call *call, uint32_t at, uint32_t n)
{
    Keyd__V1__FetchPartRequest part = KEYD__V1__FETCH_PART_REQUEST__INIT;
    Keyd__V1__Request m = KEYD__V1__REQUEST__INIT;

    part.object_id = kd_rpc_data(kd_slice(call->object_id, sizeof call->object_id));
    part.offset = at;
    part.limit = n;
    m.id = ++l->client->last_id;
    m.op_case = KEYD__V1__REQUEST__OP_FETCH_PART;
    m.fetch_part = &part;
    return link_request(l, &m, FLIGHT_FETCH, call, at, n);
}

/* Room for an object grows with what comes: a size that is only claimed costs
 * nothing. */
static bool
hold(struct call *call, uint32_t need)
{
    uint32_t room = call->held > call->size / 2 ? call->size : call->held * 2;

    if (need <= call->held)
        return true;
    if (room < need)
        room = need;
    if (!box_hold(call->box, room))
        return false;
    call->held = room;
    return true;
}

static kd_err
move(struct link *l, struct call *call)
{
    while (call->asked < call->size && call->parts < PARTS_AHEAD && link_has_room(l)) {
        uint32_t n = next_size(l, call);
        if (call->stage == CALL_FETCHING && !hold(call, call->asked + n))
            return KD_NOMEM;
        kd_err err = call->stage == CALL_UPLOADING ? send_part(l, call, n)
                                                   : ask_part(l, call, call->asked, n);
        if (err != KD_OK)
            return err;
        call->parts++;
        call->asked += n;
    }
    return KD_OK;
}

void
parts_turn(struct link *l)
{
    struct call *call, *after;
    unsigned fetching = 0;

    if (l->n_moves == 0 || l->phase != LINK_READY)
        return;
    for (call = TAILQ_FIRST(&l->calls); call != NULL; call = after) {
        after = TAILQ_NEXT(call, entry);
        if (call->stage != CALL_UPLOADING && call->stage != CALL_FETCHING)
            continue;
        if (call->stage == CALL_FETCHING && ++fetching > MOVES_MAX)
            continue;
        if (move(l, call) == KD_OK)
            continue;
        bool changed = call->stage == CALL_FETCHING && call->changing;
        link_forget(l, call);
        call_end(l->client, call, changed ? KEYD_UNKNOWN_OUTCOME : KEYD_NOMEM,
                 "out-of-memory");
    }
}

/* What came must be what was asked for; a part may be shorter, then the rest of it is
 * asked for again. */
static bool
take_fetched(struct link *l, const struct flight *f, struct call *call,
             ProtobufCBinaryData data)
{
    if (data.len == 0 || data.len > f->n) {
        link_end(l, KEYD_PROTOCOL, "bad-part");
        return false;
    }
    memcpy(call->box->object + f->at, data.data, data.len);
    call->moved += (uint32_t)data.len;
    if (data.len == f->n)
        return true;
    if (ask_part(l, call, f->at + (uint32_t)data.len, f->n - (uint32_t)data.len) ==
        KD_OK) {
        call->parts++;
        return true;
    }
    link_end(l, KEYD_NOMEM, "out-of-memory");
    return false;
}

bool
parts_answered(struct link *l, const struct flight *f, struct call *call,
               const Keyd__V1__Response *m)
{
    if (f->kind == FLIGHT_FETCH)
        return take_fetched(l, f, call, m->fetch_part->data);
    if (m->upload_part->received != (uint64_t)f->at + f->n) {
        link_end(l, KEYD_PROTOCOL, "bad-part");
        return false;
    }
    call->moved += f->n;
    return true;
}
