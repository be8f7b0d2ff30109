/* What the files of libkeyd share. */
#ifndef KEYD_CLIENT_SRC_CLIENT_H
#define KEYD_CLIENT_SRC_CLIENT_H

#include <keyd/rpc/rpc_pb.h>
#include <keyd_client.h>
#include <sys/queue.h>

/* What the caller gets, with all it points to. Made when the request is submitted, so
 * that a call can always be ended. */
struct box {
    struct keyd_answer answer; /* first: the caller's pointer is this one */
    struct kd_arena arena;     /* holds the decoded response */
    uint8_t *object;           /* what came in a descriptor */
    char detail[49];
    keyd_client_done done;
    void *cookie;
    TAILQ_ENTRY(box) link;
};
TAILQ_HEAD(boxes, box);

/* A request under way. Once its box is gone (its deadline passed) it only waits for the
 * answer, to know the id again. */
struct call {
    uint64_t id;
    unsigned oneof_case;
    bool changing;
    int64_t deadline_ms; /* kd_clock_ms */
    struct kd_buf message;
    int fd;
    struct box *box;
    TAILQ_ENTRY(call) link;
};
TAILQ_HEAD(calls, call);

/* Ids and keys of a request before it is encoded. */
struct request_head {
    uint64_t id;
    uint32_t deadline_ms;
    const uint8_t *key; /* KEYD_KEY_SIZE octets or NULL */
};

/* Encodes a request; *fd becomes the sealed memfd that goes with it, or -1. KEYD_USAGE,
 * KEYD_NOMEM. */
enum keyd_status request_encode(const struct keyd_request *in,
                                const struct request_head *head, struct kd_arena *arena,
                                struct kd_buf *out, int *fd) KD_MUST_USE;

/* Overwrites the secrets of a request with zeros. */
void request_wipe(const struct keyd_request *in);

/* Fills the box from a response of status OK that lives in the box's arena; fd (or -1)
 * stays the caller's. KEYD_PROTOCOL if the descriptor is not what the response says,
 * KEYD_NOMEM. */
enum keyd_status answer_fill(struct box *box, const Keyd__V1__Response *m,
                             int fd) KD_MUST_USE;

void box_free(struct box *box);

#endif
