/* The frame reader, fed in pieces. Input: pieces, each an octet (the top bit: a
 * descriptor comes with it; the rest: size) and its octets. The frames that come out
 * must be those of the joined stream, whatever the pieces. */
#include "fuzz.h"

#include <fcntl.h>
#include <keyd/base/be.h>
#include <keyd/rpc/rpc_frame.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_PIECES = 64 };

struct run {
    struct kd_frame_in in;
    struct kd_frame_out out; /* what came, framed again */
    size_t n_fed;
    int given[MAX_PIECES]; /* descriptors */
    size_t n_given;
};

static kd_err
drain(struct run *r)
{
    struct kd_frame f;
    kd_err err;

    while ((err = kd_frame_next(&r->in, &f)) == KD_OK) {
        fuzz_require(f.body.n > 0 && f.body.n <= KD_FRAME_MAX);
        if (kd_frame_put(&r->out, f.body, -1) != KD_OK)
            abort();
        if (f.fd >= 0)
            close(f.fd);
    }
    return err;
}

/* One piece; false once the stream is broken. */
static bool
feed(struct run *r, struct kd_slice piece, bool with_fd)
{
    int fd = with_fd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    uint8_t *copy = malloc(piece.n + 1); /* so that use after its life shows */

    if (copy == NULL)
        abort();
    memcpy(copy, piece.p, piece.n);
    if (fd >= 0)
        r->given[r->n_given++] = fd;
    kd_err err = kd_frame_feed(&r->in, kd_slice(copy, piece.n), fd);
    if (err == KD_OK)
        err = drain(r);
    r->n_fed += piece.n;
    free(copy);
    fuzz_require(err == KD_NOT_FOUND || err == KD_MALFORMED);
    fuzz_require((err == KD_MALFORMED) == (kd_frame_why(&r->in) != KD_RPC_NO_REASON));
    fuzz_require(r->in.kept_cap <= 2 * r->n_fed + 64);
    fuzz_require(r->in.n_fds <= 1);
    return err == KD_NOT_FOUND;
}

/* What came out is the beginning of what went in, flags apart. */
static void
check_output(const struct run *r, const uint8_t *stream)
{
    struct kd_slice s;

    if (kd_frame_out_peek(&r->out, &s) != KD_OK)
        abort();
    fuzz_require(s.n <= r->n_fed);
    for (size_t at = 0; at < s.n;) {
        uint32_t header = kd_be32(stream + at);
        size_t n = 4 + (header & 0x7fffffff);
        fuzz_require(n <= s.n - at);
        fuzz_require((header & 0x7fffffff) == kd_be32(s.p + at));
        fuzz_require(memcmp(stream + at + 4, s.p + at + 4, n - 4) == 0);
        at += n;
    }
    if (r->in.broken == KD_OK)
        fuzz_require(s.n + (r->in.kept_n - r->in.kept_at) == r->n_fed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t stream[MAX_PIECES * 128];
    struct run r = {0};
    bool going = true;

    kd_frame_in_init(&r.in, KD_FRAME_MAX);
    kd_frame_out_init(&r.out, 1 << 20);
    fuzz_begin(size);
    for (size_t i = 0, at = 0; i < MAX_PIECES && going && at < size; i++) {
        size_t n = data[at] & 0x7f;
        bool with_fd = (data[at++] & 0x80) != 0;
        if (n > size - at)
            n = size - at;
        memcpy(stream + r.n_fed, data + at, n);
        going = feed(&r, kd_slice(data + at, n), with_fd);
        at += n;
    }
    check_output(&r, stream);
    kd_frame_in_clear(&r.in);
    kd_frame_out_clear(&r.out);
    fuzz_end();
    for (size_t i = 0; i < r.n_given; i++)
        fuzz_require(fcntl(r.given[i], F_GETFD) < 0);
    return 0;
}
