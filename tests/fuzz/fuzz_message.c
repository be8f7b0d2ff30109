/* The decoder of requests, or of responses (RPC_REQUEST). Input: an octet (bit 0:
 * a descriptor came with it), the message. What decodes must encode to the same octets,
 * and be fit to be sent. */
#include "fuzz.h"

#include <keyd/rpc/rpc_pb.h>
#include <stdlib.h>

#if RPC_REQUEST
typedef Keyd__V1__Request message;
#define decode kd_rpc_decode_request
#define check kd_rpc_check_request
#else
typedef Keyd__V1__Response message;
#define decode kd_rpc_decode_response
#define check kd_rpc_check_response
#endif

static void
check_message(const message *m, struct kd_slice octets, bool has_fd)
{
    struct kd_rpc_fault fault;
    struct kd_buf again;

    fuzz_require(check(m, has_fd, &fault) == KD_OK);
    kd_buf_init(&again, KD_FRAME_MAX);
    if (kd_rpc_encode(&m->base, &again) != KD_OK)
        abort();
    fuzz_require(kd_slice_eq(kd_buf_slice(&again), octets));
    kd_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_arena arena;
    struct kd_rpc_fault fault;
    const message *m = NULL;

    if (size == 0)
        return 0;
    struct kd_slice octets = kd_slice(data + 1, size - 1);
    bool has_fd = (data[0] & 1) != 0;
    kd_arena_init(&arena);
    fuzz_begin(size);
    kd_err err = decode(&arena, octets, has_fd, &m, &fault);
    fuzz_require(arena.held <= KD_RPC_ARENA_MAX);
    fuzz_require(err == KD_OK || err == KD_INVALID || err == KD_MALFORMED);
    fuzz_require((err == KD_OK) == (fault.reason == KD_RPC_NO_REASON));
    fuzz_require((m != NULL) == (err == KD_OK));
    if (m != NULL)
        check_message(m, octets, has_fd);
    kd_arena_free(&arena);
    fuzz_end();
    return 0;
}
