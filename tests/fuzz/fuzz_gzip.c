/* Compressed parts. As a member: refused or read, in one piece as in many, never beyond
 * the limits. As data: what is compressed comes back, whatever it is. */
#include "fuzz.h"

#include <dime/gzip.h>

enum {
    MOST = 4 << 20,
    /* zlib's compressor holds this much for any input, which the heap oracle, made for
     * readers, has no room for */
    COMPRESSOR = 320 << 10,
};

struct sum {
    uint64_t n;
    uint32_t mix;
};

static kd_err
add(void *ctx, struct kd_slice piece)
{
    struct sum *s = ctx;

    for (size_t i = 0; i < piece.n; i++)
        s->mix = s->mix * 31 + piece.p[i];
    s->n += piece.n;
    return KD_OK;
}

static kd_err
read_in(struct kd_slice data, size_t step, struct sum *sum)
{
    struct dime_gunzip *z;

    *sum = (struct sum){0};
    fuzz_require(dime_gunzip_new(data.n, MOST, &z) == KD_OK);
    for (size_t at = 0; at < data.n; at += step) {
        size_t n = data.n - at < step ? data.n - at : step;
        if (dime_gunzip_feed(z, kd_slice(data.p + at, n), add, sum) != KD_OK)
            break;
    }
    kd_err err = dime_gunzip_end(z);
    dime_gunzip_free(z);
    fuzz_require(err == KD_OK || err == KD_INVALID);
    fuzz_require(sum->n <= MOST);
    fuzz_require(sum->n <= DIME_GZIP_FREE || sum->n <= DIME_GZIP_RATIO * data.n);
    return err;
}

static void
put_and_read(struct kd_slice data)
{
    struct kd_buf member, back;
    bool compressed;

    kd_buf_init(&member, MOST);
    kd_buf_init(&back, MOST);
    fuzz_require(dime_gzip_put(data, &member) == KD_OK);
    fuzz_require(dime_gunzip(kd_buf_slice(&member), MOST, &back) == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(&back), data));
    size_t n = member.n;
    kd_buf_reset(&member);
    fuzz_require(dime_gzip_choose(DIME_GZIP_SMALLER, data, &member, &compressed) ==
                 KD_OK);
    fuzz_require(compressed == (n < data.n));
    fuzz_require(member.n == (compressed ? n : data.n));
    kd_buf_free(&member);
    kd_buf_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice input = kd_slice(data, size);
    struct sum whole, pieces;

    fuzz_begin(size);
    kd_err err = read_in(input, size + 1, &whole);
    kd_err again = read_in(input, 7, &pieces);
    fuzz_require(err == again);
    if (err == KD_OK)
        fuzz_require(whole.n == pieces.n && whole.mix == pieces.mix);
    fuzz_end();
    fuzz_begin(size + COMPRESSOR / 16);
    put_and_read(input);
    fuzz_end();
    return 0;
}
