/* Frames on a byte stream: u32, big endian, whose top bit says that a descriptor
 * belongs to this frame and whose other bits are the size of the message, 1..65536;
 * then the message. Both ends use this. PROTOCOL.md is the definition.
 *
 * Parsing (feed, next) and reading (recv) are apart, so that a TLS stream feeds the
 * same reader. An idle connection holds a struct kd_frame_in and a struct kd_frame_out
 * and no other memory (together below 300 octets).
 *
 * Descriptors. SCM_RIGHTS come with the first octet of the sendmsg that carried them:
 * recvmsg may put octets of earlier messages in front, never any of later ones behind.
 * So a descriptor sent with octets of its own frame is here when the frame's last octet
 * is, and when all octets read are parsed, a descriptor may be waiting only for a
 * flagged frame that has begun. Everything else ends the connection and is closed: two
 * in one recvmsg, one that no frame begun asks for, a flagged frame without one,
 * a truncated control message. Nobody can park descriptors here. */
#ifndef KEYD_RPC_RPC_FRAME_H
#define KEYD_RPC_RPC_FRAME_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>
#include <keyd/rpc/rpc_status.h>

enum {
    KD_FRAME_HEADER = 4,
    KD_FRAME_MAX = 65536, /* octets of a message */
    KD_FRAME_IN_FDS = 2,  /* received, waiting for their frame */
    KD_FRAME_OUT_FDS = 8, /* queued to be sent */
};

/* What recv reads into; one for all connections of a loop. */
struct kd_frame_scratch {
    uint8_t octets[KD_FRAME_MAX + KD_FRAME_HEADER];
};

struct kd_frame_in {
    struct kd_slice fresh; /* fed and not parsed, borrowed */
    uint8_t *kept;         /* copied because it must outlive what was fed */
    size_t kept_n, kept_cap;
    size_t kept_at; /* parsed up to here */
    size_t max;
    kd_err broken; /* sticky; KD_OK while the stream is sound */
    enum kd_rpc_reason why;
    bool parked; /* complete frames may be among what was kept */
    uint8_t n_fds;
    int fds[KD_FRAME_IN_FDS];
};

struct kd_frame {
    struct kd_slice body; /* borrowed until the next call on this reader */
    int fd;               /* the caller's to close; -1: none */
};

/* max: the largest message taken, at most KD_FRAME_MAX. */
void kd_frame_in_init(struct kd_frame_in *in, size_t max);

/* Frees, closes descriptors nobody took; leaves it as after init. */
void kd_frame_in_clear(struct kd_frame_in *in);

/* Gives octets to parse, borrowed until kd_frame_next says KD_NOT_FOUND or
 * kd_frame_hold is called, and at most one descriptor that came with them (-1: none),
 * taken in every case. Call only when nothing is left of what was fed before.
 *   KD_MALFORMED  the stream is broken (see kd_frame_why); it stays broken
 *   KD_BUSY       frames are still parked; nothing was taken but the descriptor */
kd_err kd_frame_feed(struct kd_frame_in *in, struct kd_slice octets,
                     int fd) KD_MUST_USE;

/* The next complete frame, in order.
 *   KD_NOT_FOUND  all is parsed; the beginning of a frame has been copied if there is
 *                 one, so that the octets fed may be overwritten
 *   KD_MALFORMED  as above
 *   KD_NOMEM      as if the stream were broken */
kd_err kd_frame_next(struct kd_frame_in *in, struct kd_frame *out) KD_MUST_USE;

/* Copies what is not parsed yet, so that the octets fed may be overwritten although
 * frames are left: a caller that can take no more now goes on with next later, and
 * reads nothing until then. KD_NOMEM as above. */
kd_err kd_frame_hold(struct kd_frame_in *in) KD_MUST_USE;

/* One recvmsg of a non-blocking socket, then feed.
 *   KD_UNAVAILABLE  nothing to read now
 *   KD_CLOSED       the peer is gone, between frames
 *   KD_MALFORMED    as feed; also the end of the stream within a frame
 *   KD_BUSY         as feed, nothing was read
 *   KD_IO           the socket failed */
kd_err kd_frame_recv(struct kd_frame_in *in, int sock,
                     struct kd_frame_scratch *scratch) KD_MUST_USE;

/* True within a frame: some of its octets have come (slow senders are timed by this).
 */
bool kd_frame_is_partial(const struct kd_frame_in *in);

/* Why the stream is broken; KD_RPC_NO_REASON if it is not, or for want of memory. */
enum kd_rpc_reason kd_frame_why(const struct kd_frame_in *in);

/* ---- writing */

struct kd_frame_fd {
    uint64_t at; /* position in the stream of its frame's first octet */
    int fd;
};

struct kd_frame_out {
    uint8_t *p;
    size_t n, cap;
    size_t at;     /* sent up to here */
    size_t max;    /* the most octets waiting */
    uint64_t sent; /* position in the stream of p[at] */
    unsigned n_fds;
    struct kd_frame_fd fds[KD_FRAME_OUT_FDS];
};

/* max_queue: octets, headers included, that may wait; at least one frame fits. */
void kd_frame_out_init(struct kd_frame_out *out, size_t max_queue);

/* Frees, closes descriptors that were not sent; leaves it as after init. */
void kd_frame_out_clear(struct kd_frame_out *out);

/* Octets waiting. A caller that stops reading requests above some mark bounds it. */
static inline size_t
kd_frame_out_queued(const struct kd_frame_out *out)
{
    return out->n - out->at;
}

/* Room for a message of n octets at the end of the queue, its header written; the
 * caller fills all of it. fd (or -1) is taken on success and closed once sent.
 *   KD_TOO_LARGE  n is 0 or above KD_FRAME_MAX
 *   KD_BUSY       no room in the queue, or too many descriptors in it
 *   KD_NOMEM */
kd_err kd_frame_reserve(struct kd_frame_out *out, size_t n, int fd,
                        uint8_t **at) KD_MUST_USE;

/* The same with the message at hand. */
kd_err kd_frame_put(struct kd_frame_out *out, struct kd_slice message,
                    int fd) KD_MUST_USE;

/* Sends what a non-blocking unix socket takes.
 *   KD_OK           nothing is left
 *   KD_UNAVAILABLE  the rest waits until the socket is writable
 *   KD_CLOSED       the peer is gone
 *   KD_IO           the socket failed */
kd_err kd_frame_flush(struct kd_frame_out *out, int sock) KD_MUST_USE;

/* For streams that are not sockets: what waits (borrowed), and that n octets of it are
 * gone. Not for queues with descriptors: KD_UNSUPPORTED as long as there is one. */
kd_err kd_frame_out_peek(const struct kd_frame_out *out,
                         struct kd_slice *octets) KD_MUST_USE;
void kd_frame_out_drop(struct kd_frame_out *out, size_t n);

#endif
