/* What an author may have signed: the input is the plaintext of a payload behind its
 * signature, which is made here, so that everything behind the signature is reached.
 * The verdict is compared with one found otherwise: by writing each encoding that is
 * right for this data and looking whether it is this one. */
#include "dmw.h"
#include "fuzz.h"

#include <dime/span.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <stdlib.h>

enum { REGION = 1 << 14, SIGNATURE = 64, HEAD = 5, SLOTS = 128 };

/* The first octet of the input: the chunk's type, and what becomes of the signature. */
enum { TYPES = 7, SIGNED = 0, SPOILT = 1, BY_ANOTHER = 2, SIGNING = 3 };
static const uint8_t types[TYPES] = {4, 5, 33, 34, 67, 131, 65};

static const struct dmw_key key = {.iv = {9}, .key = {8}};
static struct dime_kek *kek;
static struct dime_chunk_key *chunk_key;

static void
start(void)
{
    if (kek != NULL)
        return;
    fuzz_require(kd_secret_setup(REGION) == KD_OK);
    kek = kd_secret_new(sizeof *kek);
    chunk_key = kd_secret_new(sizeof *chunk_key);
    fuzz_require(kek != NULL && chunk_key != NULL);
    kek->key[3] = 1;
    memcpy(chunk_key->iv, key.iv, sizeof chunk_key->iv);
    memcpy(chunk_key->key, key.key, sizeof chunk_key->key);
}

/* Whether body ends, behind head and data, in total octets of the value pad. */
static bool
ends_in(struct kd_slice body, size_t data, size_t total, uint8_t pad)
{
    if (HEAD + data + total != body.n || body.p[4] != pad)
        return false;
    for (size_t i = 0; i < total; i++)
        if (body.p[body.n - 1 - i] != pad)
            return false;
    return true;
}

static bool
is_right(struct kd_slice body)
{
    size_t data = (size_t)body.p[0] << 16 | (size_t)body.p[1] << 8 | body.p[2];
    uint8_t flags = body.p[3];

    for (unsigned bit = 0; bit < 8; bit++)
        if ((flags >> bit & 1) != 0 && bit != 0 && bit != 1 && bit != 2 && bit != 7)
            return false;
    if (data == 0)
        return false;
    for (unsigned pad = 0; pad <= 256; pad++) {
        if ((flags & 1) == 0 && ends_in(body, data, pad, (uint8_t)pad))
            return true;
        for (unsigned alignment = 0; (flags & 1) != 0 && pad < 256 && alignment <= 16;
             alignment++)
            if (ends_in(body, data, 16 * (size_t)pad + alignment, (uint8_t)pad))
                return true;
    }
    return false;
}

/* header, payload and keyslots of a chunk; free() it */
static struct kd_slice
seal(uint8_t type, struct kd_slice body, unsigned signing)
{
    const struct sg_world *world = sg_world();
    struct sg_pair by = signing == BY_ANOTHER ? world->bob : world->alice;
    size_t n = SIGNATURE + body.n;
    uint8_t *plain = malloc(n), *chunk = malloc(4 + n + SLOTS);

    fuzz_require(plain != NULL && chunk != NULL);
    memcpy(plain + SIGNATURE, body.p, body.n);
    kd_ignore(sg_signer(&by, body, plain)); /* aborts itself */
    plain[11] ^= signing == SPOILT;
    chunk[0] = type;
    kd_put_be24(chunk + 1, (uint32_t)n);
    dmw_seal(&key, kd_slice(plain, n), chunk + 4);
    free(plain);
    for (size_t slot = 0; slot < 2; slot++) {
        static const uint8_t random[16] = {7};
        fuzz_require(
            dime_slot_seal(kek, chunk_key, random, chunk + 4 + n + 64 * slot) == KD_OK);
    }
    return kd_slice(chunk, 4 + n + SLOTS);
}

struct seen {
    kd_err check, open, envelope, read;
    struct dime_payload checked, opened;
    struct kd_buf data, envelope_data, read_data, span_data;
    bool more, has_span;
    struct dime_span span;
};

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

/* Who knows the author to vouch for the message sees the same. */
static void
look_vouched(const struct dime_reader *plain, const struct dime_chunk *c,
             const struct seen *s)
{
    struct dime_reader r = *plain;
    struct dime_payload opened;
    struct dime_span span;
    struct kd_buf data;
    uint64_t at = 0;
    kd_err err;

    r.vouched = true;
    kd_buf_init(&data, DIME_DATA_MAX);
    fuzz_require(dime_reader_open(&r, c, &opened, &data) == s->open);
    fuzz_require(kd_slice_eq(kd_buf_slice(&data), kd_buf_slice(&s->data)));
    fuzz_require(s->open != KD_OK ||
                 (opened.flags == s->opened.flags && opened.size == s->opened.size));
    kd_buf_free(&data);
    fuzz_require(dime_span_next(&r, &at, r.m->end, &span, &err));
    fuzz_require(span.state == s->span.state && span.flags == s->span.flags &&
                 span.size == s->span.size && span.rejects == s->span.rejects);
}

static void
look(const struct dime_message *m, const struct dime_chunk *c, struct seen *s)
{
    const uint8_t *author = sg_world()->alice.key;
    const struct dime_reader reader = {
        .m = m, .actor = DIME_RECIPIENT, .kek = kek, .author = author};
    uint64_t at = 0;
    kd_err err = KD_OK;

    s->read = KD_INVALID;
    s->check = dime_payload_check(m, c, chunk_key, author, &s->checked, &s->more);
    if (s->check == KD_OK)
        s->read = dime_payload_read(m, c, chunk_key, &s->checked, keep, &s->read_data);
    s->open = dime_payload_open(m, c, chunk_key, author, &s->opened, &s->data);
    s->envelope = dime_envelope_payload_open(m, c, chunk_key, &s->envelope_data);
    if (c->def->slots == 2) {
        s->has_span = dime_span_next(&reader, &at, m->end, &s->span, &err);
        fuzz_require(s->has_span && err == KD_OK && at == m->end);
        if (s->span.state == DIME_SPAN_GOOD)
            fuzz_require(dime_span_read(&reader, &s->span, keep, &s->span_data) ==
                         KD_OK);
        look_vouched(&reader, c, s);
    }
}

static void
require_data(kd_err err, const struct kd_buf *got, struct kd_slice body)
{
    size_t data = kd_be24(body.p);

    if (err == KD_OK)
        fuzz_require(kd_slice_eq(kd_buf_slice(got), kd_slice(body.p + HEAD, data)));
    else
        fuzz_require(got->n == 0 && err == KD_INVALID);
}

static void
compare(const struct seen *s, struct kd_slice body, uint8_t type, bool is_signed)
{
    bool right = is_right(body), good = right && is_signed;
    uint8_t flags = body.p[3];
    bool single = (flags & ~(type == 33 || type == 34 ? 5 : 1)) == 0;

    fuzz_require(s->check == (good ? KD_OK : KD_INVALID));
    fuzz_require(s->more == ((flags & 128) != 0));
    fuzz_require(s->open == (good && single ? KD_OK : KD_INVALID));
    fuzz_require(s->envelope == (right && single ? KD_OK : KD_INVALID));
    require_data(s->read, &s->read_data, body);
    require_data(s->open, &s->data, body);
    require_data(s->envelope, &s->envelope_data, body);
    if (good)
        fuzz_require(s->checked.flags == flags && s->checked.size == kd_be24(body.p));
    if (!s->has_span)
        return;
    bool whole = good && (flags & 128) == 0;
    fuzz_require((s->span.state != DIME_SPAN_CORRUPT) == whole);
    fuzz_require((s->span.state == DIME_SPAN_GOOD) == (whole && (flags & 2) == 0));
    fuzz_require(s->span.rejects == (is_signed && kd_be24(body.p) == 0));
    require_data(s->span.state == DIME_SPAN_GOOD ? KD_OK : KD_INVALID, &s->span_data,
                 body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = size == 0 ? 0 : (size - 1) / 16 * 16;

    if (n == 0 || SIGNATURE + n > DIME_PAYLOAD_MAX)
        return 0;
    start();
    uint8_t type = types[data[0] % TYPES];
    unsigned signing = data[0] / TYPES % SIGNING;
    struct kd_slice body = kd_slice(data + 1, n);
    struct kd_slice chunk = seal(type, body, signing);
    const struct dime_chunk_def *def = dime_chunk_def(type);
    struct dime_chunk c = {.def = def, .size = (uint32_t)(SIGNATURE + n)};
    const struct dime_message m = {.source = dime_source_of(chunk),
                                   .defs = def - type, /* the table it is from */
                                   .end = 4 + SIGNATURE + n + 64 * (size_t)def->slots};
    struct seen s = {.checked = {0, 0}};
    struct kd_buf *bufs[] = {&s.data, &s.envelope_data, &s.read_data, &s.span_data};

    for (size_t i = 0; i < 4; i++)
        kd_buf_init(bufs[i], n);
    fuzz_begin(size);
    look(&m, &c, &s);
    fuzz_end();
    compare(&s, body, type, signing == SIGNED);
    for (size_t i = 0; i < 4; i++)
        kd_buf_free(bufs[i]);
    sg_free(chunk);
    return 0;
}
