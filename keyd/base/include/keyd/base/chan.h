/* A channel between two of our processes: a SOCK_SEQPACKET pair, non-blocking.
 *
 * Small messages are gathered into packets of up to 60 KiB, because a wake-up costs
 * more than most messages do: put any number, flush once a turn. A message that
 * carries a descriptor travels in a packet of its own.
 *
 * The peer may be captured. Whatever it sends is either a well-formed message for the
 * handler to check or ends the channel with an error; it never ends the process, and
 * nothing is allocated by its word. One thread uses a channel. */
#ifndef KEYD_BASE_CHAN_H
#define KEYD_BASE_CHAN_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    KD_CHAN_BODY_MAX = 52 * 1024,   /* octets of one message's body */
    KD_CHAN_INLINE_MAX = 48 * 1024, /* larger objects travel as a sealed memfd */
    /* What may wait for a peer that does not read. A descriptor counts as FD_WEIGHT
     * octets, whatever is behind it. */
    KD_CHAN_BACKLOG_MAX = 64 * 1024 * 1024,
    KD_CHAN_FD_WEIGHT = 256 * 1024,
};

struct kd_chan_packet;
struct kd_chan_rest;

struct kd_chan {
    int fd;                              /* -1: no channel */
    struct kd_chan_packet *first, *last; /* to send; the last one may still grow */
    struct kd_chan_packet *spare;
    size_t backlog; /* octets queued, descriptors by their weight */
    /* Who serves sets this: above it nothing more is handed out, not even the rest of
     * a packet, until the peer has taken its answers. So a peer's questions never cost
     * more memory than this and one answer. 0: never pauses. */
    size_t pause_at;
    struct kd_chan_rest *rest; /* of a packet that was not handed out whole */
};

/* What recv hands out. body is borrowed for the call; fd is the handler's to close,
 * -1 if there is none. An error ends kd_chan_recv with it. */
typedef kd_err (*kd_chan_handler)(void *ctx, uint16_t type, struct kd_slice body,
                                  int fd);

/* Two connected ends, close-on-exec, non-blocking. */
kd_err kd_chan_pair(int fds[2]) KD_MUST_USE;

/* Takes fd. */
void kd_chan_init(struct kd_chan *ch, int fd);

/* Closes fd, frees what was queued, leaves fd -1. */
void kd_chan_close(struct kd_chan *ch);

/* Queues a message; takes message_fd (or -1) in every case. KD_TOO_LARGE, KD_NOMEM,
 * KD_BUSY when the backlog is at its maximum, KD_CLOSED when there is no channel. */
kd_err kd_chan_put(struct kd_chan *ch, uint16_t type, struct kd_slice body,
                   int message_fd) KD_MUST_USE;

/* The same with a body that was written to a buffer, whose error is this call's: a
 * message that could not be made whole is never sent as an empty one. */
kd_err kd_chan_put_buf(struct kd_chan *ch, uint16_t type, const struct kd_buf *body,
                       int message_fd) KD_MUST_USE;

/* Sends what the socket takes. KD_CLOSED if the peer is gone; what is left waits for
 * the next flush (poll for writing while kd_chan_pending). */
kd_err kd_chan_flush(struct kd_chan *ch) KD_MUST_USE;

/* Overwrites what was sent last and what this thread received last, on any channel: for
 * who sends or receives secrets, once they went. */
void kd_chan_wipe(struct kd_chan *ch);

static inline bool
kd_chan_pending(const struct kd_chan *ch)
{
    return ch->first != NULL;
}

/* True while pause_at keeps what came from being handed out. */
static inline bool
kd_chan_is_paused(const struct kd_chan *ch)
{
    return ch->pause_at != 0 && ch->backlog > ch->pause_at;
}

/* True if messages wait here that no poll will tell of: receive without waiting. */
static inline bool
kd_chan_has_rest(const struct kd_chan *ch)
{
    return ch->rest != NULL && !kd_chan_is_paused(ch);
}

/* Hands every message of at most max_packets packets to the handler. KD_OK when the
 * socket is drained, the maximum was reached or the channel paused; KD_CLOSED at the
 * peer's end; KD_MALFORMED for a packet that is none of ours. The handler may put and
 * may close this channel (what else came is dropped then), but not receive from any. */
kd_err kd_chan_recv(struct kd_chan *ch, unsigned max_packets, kd_chan_handler handler,
                    void *ctx) KD_MUST_USE;

#endif
