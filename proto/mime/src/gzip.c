#include <dime/gzip.h>

#include <stdlib.h>

#define ZLIB_CONST /* input is const */
#include <zlib.h>

enum {
    WINDOW_GZIP = 15 + 16, /* the largest window, in gzip's format and no other */
    MEM_LEVEL = 8,
    LEVEL = 9,
    OS_UNKNOWN = 255,
    STEP = 1 << 30, /* of input: zlib counts in 32 bits */
    PIECE = 16384,  /* of output */
};

struct dime_gunzip {
    z_stream z;
    uint64_t left; /* of the input */
    uint64_t room; /* for output */
    bool ended;    /* the member is whole */
    kd_err err;
    uint8_t out[PIECE];
};

static uint64_t
output_limit(uint64_t size, uint64_t max)
{
    uint64_t most = DIME_GZIP_FREE;

    if (size > DIME_GZIP_FREE / DIME_GZIP_RATIO)
        most =
            size > UINT64_MAX / DIME_GZIP_RATIO ? UINT64_MAX : size * DIME_GZIP_RATIO;
    return most < max ? most : max;
}

/* Fills out from where it was, as far as its limit. */
static kd_err
deflate_into(z_stream *z, struct kd_slice data, struct kd_buf *out)
{
    size_t at = 0;
    int got = Z_OK;

    while (got != Z_STREAM_END) {
        if (z->avail_in == 0 && at < data.n) {
            size_t n = data.n - at < STEP ? data.n - at : STEP;
            z->next_in = data.p + at;
            z->avail_in = (uInt)n;
            at += n;
        }
        size_t room = out->max - out->n < PIECE ? out->max - out->n : PIECE;
        uint8_t *p = room == 0 ? NULL : kd_buf_add(out, room);
        if (p == NULL)
            return out->err == KD_OK ? KD_TOO_LARGE : out->err;
        z->next_out = p;
        z->avail_out = (uInt)room;
        got = deflate(z, at == data.n ? Z_FINISH : Z_NO_FLUSH);
        out->n -= z->avail_out;
        if (got != Z_OK && got != Z_BUF_ERROR && got != Z_STREAM_END)
            return KD_FAILED;
    }
    return KD_OK;
}

static kd_err
put(struct kd_slice data, int strategy, struct kd_buf *out)
{
    z_stream z = {0};
    gz_header head = {.os = OS_UNKNOWN};
    size_t before = out->n;
    kd_err err;

    if (deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEM_LEVEL, strategy) != Z_OK)
        return KD_NOMEM;
    err = deflateSetHeader(&z, &head) == Z_OK ? deflate_into(&z, data, out) : KD_FAILED;
    /* says Z_DATA_ERROR where deflate was not brought to its end, which err tells */
    kd_ignore(deflateEnd(&z));
    if (err != KD_OK)
        out->n = before;
    return err;
}

kd_err
dime_gzip_put(struct kd_slice data, struct kd_buf *out)
{
    size_t before = out->n;
    kd_err err = out->err;

    if (err != KD_OK)
        return err;
    if ((err = put(data, Z_DEFAULT_STRATEGY, out)) != KD_OK)
        return err;
    if (data.n <= output_limit(out->n - before, UINT64_MAX))
        return KD_OK;
    /* A bomb to whoever reads it. Codes for single octets save a factor of 8 at most.
     */
    out->n = before;
    return put(data, Z_HUFFMAN_ONLY, out);
}

kd_err
dime_gzip_choose(enum dime_gzip_strategy strategy, struct kd_slice data,
                 struct kd_buf *out, bool *compressed)
{
    size_t before = out->n;
    kd_err err = out->err;

    if (err != KD_OK)
        return err;
    if (strategy != DIME_GZIP_NEVER) {
        err = dime_gzip_put(data, out);
        if (err != KD_OK &&
            (err != KD_TOO_LARGE || strategy == DIME_GZIP_ALWAYS || out->err != KD_OK))
            return err;
        if (err == KD_OK &&
            (strategy == DIME_GZIP_ALWAYS || out->n - before < data.n)) {
            *compressed = true;
            return KD_OK;
        }
        out->n = before;
    }
    if (data.n > out->max - out->n)
        return KD_TOO_LARGE;
    kd_buf_put(out, data);
    *compressed = false;
    return out->err;
}

kd_err
dime_gunzip_new(uint64_t size, uint64_t max, struct dime_gunzip **out)
{
    struct dime_gunzip *z = calloc(1, sizeof *z);

    if (z == NULL)
        return KD_NOMEM;
    if (inflateInit2(&z->z, WINDOW_GZIP) != Z_OK) {
        free(z);
        return KD_NOMEM;
    }
    z->left = size;
    z->room = output_limit(size, max);
    *out = z;
    return KD_OK;
}

void
dime_gunzip_free(struct dime_gunzip *z)
{
    if (z == NULL)
        return;
    /* fails only for a stream that was never made */
    kd_ignore(inflateEnd(&z->z));
    free(z);
}

/* Gives out what one call makes; *more says that there may be another. */
static kd_err
inflate_some(struct dime_gunzip *z, dime_sink sink, void *ctx, bool *more)
{
    z->z.next_out = z->out;
    z->z.avail_out = sizeof z->out;
    int got = inflate(&z->z, Z_NO_FLUSH);
    size_t n = sizeof z->out - z->z.avail_out;

    if (got == Z_MEM_ERROR)
        return KD_NOMEM;
    /* Z_BUF_ERROR: nothing to do without more input */
    if (got != Z_OK && got != Z_STREAM_END && got != Z_BUF_ERROR)
        return KD_INVALID;
    if (n > z->room)
        return KD_INVALID;
    z->room -= n;
    z->ended = got == Z_STREAM_END;
    if (z->ended && (z->z.avail_in != 0 || z->left != 0))
        return KD_INVALID;
    *more = !z->ended && (z->z.avail_in != 0 || z->z.avail_out == 0);
    return n == 0 ? KD_OK : sink(ctx, kd_slice(z->out, n));
}

static kd_err
feed_step(struct dime_gunzip *z, struct kd_slice step, dime_sink sink, void *ctx)
{
    bool more = true;
    kd_err err = KD_OK;

    if (z->ended || step.n > z->left)
        return KD_INVALID;
    z->left -= step.n;
    z->z.next_in = step.p;
    z->z.avail_in = (uInt)step.n;
    while (err == KD_OK && more)
        err = inflate_some(z, sink, ctx, &more);
    return err;
}

kd_err
dime_gunzip_feed(struct dime_gunzip *z, struct kd_slice piece, dime_sink sink,
                 void *ctx)
{
    for (size_t at = 0; z->err == KD_OK && at < piece.n;) {
        size_t n = piece.n - at < STEP ? piece.n - at : STEP;
        z->err = feed_step(z, kd_slice(piece.p + at, n), sink, ctx);
        at += n;
    }
    return z->err;
}

kd_err
dime_gunzip_end(const struct dime_gunzip *z)
{
    if (z->err != KD_OK)
        return z->err;
    return z->ended && z->left == 0 ? KD_OK : KD_INVALID;
}

static kd_err
append(void *ctx, struct kd_slice piece)
{
    struct kd_buf *out = ctx;

    kd_buf_put(out, piece);
    return out->err == KD_TOO_LARGE ? KD_INVALID : out->err;
}

kd_err
dime_gunzip(struct kd_slice data, uint64_t max, struct kd_buf *out)
{
    struct dime_gunzip *z = NULL;
    size_t before = out->n;
    kd_err err = out->err;

    if (err != KD_OK)
        return err;
    if (max > out->max - out->n)
        max = out->max - out->n;
    if ((err = dime_gunzip_new(data.n, max, &z)) != KD_OK)
        return err;
    err = dime_gunzip_feed(z, data, append, out);
    if (err == KD_OK)
        err = dime_gunzip_end(z);
    dime_gunzip_free(z);
    if (err != KD_OK)
        out->n = before;
    return err;
}
