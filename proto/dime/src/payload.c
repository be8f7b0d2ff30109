#include "payload.h"

#include "aes.h"
#include "eddsa.h"

#include <dime/ed25519_verifier.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <stdlib.h>

/* Offsets in a payload. */
enum { AT_LENGTH = 64, AT_FLAGS = 67, AT_PAD = 68, AT_DATA = DIME_PAYLOAD_FIXED };

enum {
    PIECE = 64 << 10,        /* decrypted at a time */
    PADDING_MAX = 256,       /* default: an octet, and libdime's 256 as 0 (D-101) */
    ALT_MAX = 16 * 255 + 16, /* alternate (D-102) */
    ALT_ALIGNMENT_MAX = 16,  /* 0 to 15, and libdime's 16 */
    ALL_FLAGS = DIME_PAYLOAD_FLAGS,
};

/* --- decrypting in pieces --- */

typedef kd_err (*piece_fn)(void *ctx, uint32_t at, struct kd_slice plain);

static bool
is_payload(const struct dime_chunk *c)
{
    return c->def->form == DIME_FORM_PAYLOAD && c->size >= DIME_PAYLOAD_MIN &&
           c->size <= DIME_PAYLOAD_MAX && c->size % AES_BLOCK == 0;
}

static size_t
piece_size(const struct dime_chunk *c)
{
    return c->size < PIECE ? c->size : PIECE;
}

/* One piece, in buffer. */
static kd_err
decrypt_piece(const struct dime_source *s, uint64_t at, size_t n, struct aes_cbc *aes,
              uint8_t *buffer)
{
    struct kd_slice sealed;
    kd_err err;

    if ((err = dime_source_view(s, at, n, buffer, &sealed)) != KD_OK)
        return err;
    return aes_cbc_add(aes, sealed.p, n, buffer);
}

/* The payload's octets until until, a multiple of 16, by way of buffer (of piece_size
 * octets, the caller's to wipe). */
static kd_err
decrypt(const struct dime_message *m, const struct dime_chunk *c,
        const struct dime_chunk_key *key, uint32_t until, uint8_t *buffer, piece_fn fn,
        void *ctx)
{
    struct aes_cbc aes = {NULL};
    kd_err err = aes_cbc_begin(&aes, false, key->key, key->iv);

    for (uint32_t at = 0; err == KD_OK && at < until;) {
        uint32_t n = until - at < PIECE ? until - at : PIECE;
        err = decrypt_piece(&m->source, dime_chunk_payload(c) + at, n, &aes, buffer);
        if (err == KD_OK)
            err = fn(ctx, at, kd_slice(buffer, n));
        at += n;
    }
    aes_cbc_end(&aes);
    return err;
}

/* --- judging, without a branch on what was decrypted --- */

/* All bits set if it is so, none if not. Numbers are below 2^31. */

static uint32_t
below(uint32_t a, uint32_t b)
{
    uint32_t sign = (a - b) >> 31;

    __asm__("" : "+r"(sign)); /* a number to the compiler, not a condition */
    return 0 - sign;
}

static uint32_t
same(uint32_t a, uint32_t b)
{
    return ~below(0, a ^ b);
}

/* What judging needs of a payload. */
struct essence {
    uint32_t n;       /* of the payload */
    uint32_t tail_at; /* offset of tail in it */
    uint8_t head[AT_DATA];
    uint8_t tail[ALT_MAX]; /* no padding reaches further */
};

/* Whether so much padding may go with that octet. */
static uint32_t
amount_is_right(uint32_t total, uint32_t pad, uint32_t alternate)
{
    uint32_t by_default = (below(total, PADDING_MAX) & same(pad, total)) |
                          (same(total, PADDING_MAX) & same(pad, 0));
    uint32_t by_blocks =
        ~below(total, 16 * pad) & below(total - 16 * pad, ALT_ALIGNMENT_MAX + 1);

    return (alternate & by_blocks) | (~alternate & by_default);
}

/* Whether all octets of the padding are pad. The whole tail is looked at, however much
 * of it is padding. */
static uint32_t
padding_is(const struct essence *e, uint32_t total, uint32_t pad)
{
    uint32_t from = e->n - total, wrong = 0;

    for (uint32_t at = e->tail_at; at < e->n; at++)
        wrong |= (e->tail[at - e->tail_at] ^ pad) & ~below(at, from);
    return same(wrong, 0);
}

/* All bits or none. */
static uint32_t
is_well_formed(const struct essence *e, uint32_t flags_allowed)
{
    uint32_t length = kd_be24(e->head + AT_LENGTH);
    uint32_t flags = e->head[AT_FLAGS], pad = e->head[AT_PAD];
    uint32_t room = e->n - AT_DATA;
    uint32_t good = below(0, length) & ~below(room, length);
    uint32_t total = (room - length) & good;
    uint32_t alternate = 0 - (flags & DIME_PAYLOAD_ALT_PADDING);

    good &= same(flags & ~flags_allowed, 0);
    good &= amount_is_right(total, pad, alternate);
    return good & padding_is(e, total, pad);
}

/* --- a check --- */

/* On the heap, wiped; buffer holds the whole plaintext if it fits one piece. */
struct check {
    struct essence essence;
    struct payload_author author;
    bool streams; /* the signature is verified piece by piece */
    struct dime_ed25519_verifier verifier;
    uint8_t buffer[];
};

static struct check *
check_new(const struct dime_chunk *c, struct payload_author author)
{
    struct check *k = malloc(sizeof *k + piece_size(c));

    if (k == NULL)
        return NULL;
    k->author = author;
    k->streams = author.key != NULL && !(author.vouched && c->size <= PIECE);
    k->essence.n = c->size;
    k->essence.tail_at =
        c->size - AT_DATA > ALT_MAX ? c->size - ALT_MAX : (uint32_t)AT_DATA;
    return k;
}

static void
check_free(struct check *k, const struct dime_chunk *c)
{
    if (k == NULL)
        return;
    kd_secret_wipe(k, sizeof *k + piece_size(c));
    free(k);
}

static void
keep_tail(struct essence *e, uint32_t at, struct kd_slice plain)
{
    uint32_t skip = at < e->tail_at ? e->tail_at - at : 0;

    if (skip < plain.n)
        memcpy(e->tail + (at + skip - e->tail_at), plain.p + skip, plain.n - skip);
}

static kd_err
check_piece(void *ctx, uint32_t at, struct kd_slice plain)
{
    struct check *k = ctx;
    size_t skip = at == 0 ? AT_LENGTH : 0; /* the first piece is a head at least */

    if (at == 0) {
        memcpy(k->essence.head, plain.p, sizeof k->essence.head);
        if (k->streams)
            dime_ed25519_verifier_init(&k->verifier, k->author.key, plain.p);
    }
    if (k->streams)
        dime_ed25519_verifier_add(&k->verifier,
                                  kd_slice(plain.p + skip, plain.n - skip));
    keep_tail(&k->essence, at, plain);
    return KD_OK;
}

/* After the last piece. */
static kd_err
check_signature(struct check *k)
{
    const uint8_t *sig = k->buffer; /* of a payload in one piece */
    struct kd_slice rest =
        kd_slice(k->buffer + AT_LENGTH, k->essence.n - (size_t)AT_LENGTH);

    if (k->author.key == NULL)
        return KD_OK;
    if (k->streams)
        return dime_ed25519_verifier_end(&k->verifier);
    return eddsa_verify_quick(k->author.key, rest, sig);
}

static kd_err
check_run(struct check *k, const struct dime_message *m, const struct dime_chunk *c,
          const struct dime_chunk_key *key, uint32_t flags_allowed,
          struct payload_said *out)
{
    kd_err err = decrypt(m, c, key, c->size, k->buffer, check_piece, k);

    if (err != KD_OK)
        return err;
    kd_err sig = check_signature(k);
    uint32_t is_signed = 0 - (uint32_t)(sig == KD_OK);
    uint32_t good = is_well_formed(&k->essence, flags_allowed) & is_signed;
    out->flags = k->essence.head[AT_FLAGS];
    out->size = kd_be24(k->essence.head + AT_LENGTH);
    out->more = (out->flags & DIME_PAYLOAD_CONTINUES) != 0;
    out->empty = (same(out->size, 0) & is_signed) != 0;
    return good != 0 ? KD_OK : KD_INVALID;
}

kd_err
payload_judge(const struct dime_message *m, const struct dime_chunk *c,
              const struct dime_chunk_key *key, struct payload_author author,
              struct payload_said *out)
{
    *out = (struct payload_said){0};
    if (!is_payload(c))
        return KD_INVALID;
    struct check *k = check_new(c, author);
    if (k == NULL)
        return KD_NOMEM;
    kd_err err = check_run(k, m, c, key, ALL_FLAGS, out);
    check_free(k, c);
    return err;
}

kd_err
dime_payload_check(const struct dime_message *m, const struct dime_chunk *c,
                   const struct dime_chunk_key *key,
                   const uint8_t author[DIME_ED25519_KEY_SIZE],
                   struct dime_payload *out, bool *maybe_more)
{
    struct payload_said said;
    kd_err err =
        payload_judge(m, c, key, (struct payload_author){.key = author}, &said);

    if (err == KD_OK)
        *out = (struct dime_payload){.flags = said.flags, .size = said.size};
    if (maybe_more != NULL)
        *maybe_more = said.more;
    return err;
}

/* --- reading --- */

struct reading {
    const uint32_t *expected; /* NULL: what the payload says */
    uint32_t room;            /* for data in the payload */
    uint32_t left;            /* of the data */
    dime_sink sink;
    void *ctx;
};

static kd_err
read_head(struct reading *r, struct kd_slice plain)
{
    r->left = kd_be24(plain.p + AT_LENGTH);
    if (r->left > r->room || (r->expected != NULL && r->left != *r->expected))
        return KD_MALFORMED;
    return KD_OK;
}

static kd_err
read_piece(void *ctx, uint32_t at, struct kd_slice plain)
{
    struct reading *r = ctx;
    size_t skip = at == 0 ? AT_DATA : 0;
    kd_err err;

    if (at == 0 && (err = read_head(r, plain)) != KD_OK)
        return err;
    size_t n = plain.n - skip < r->left ? plain.n - skip : r->left;
    r->left -= (uint32_t)n;
    return n == 0 ? KD_OK : r->sink(r->ctx, kd_slice(plain.p + skip, n));
}

kd_err
payload_give(const struct dime_message *m, const struct dime_chunk *c,
             const struct dime_chunk_key *key, const uint32_t *size, dime_sink sink,
             void *ctx)
{
    struct reading r = {.expected = size, .sink = sink, .ctx = ctx};

    if (!is_payload(c) || (size != NULL && *size > c->size - AT_DATA))
        return KD_INVALID;
    r.room = c->size - AT_DATA;
    uint8_t *buffer = malloc(piece_size(c));
    if (buffer == NULL)
        return KD_NOMEM;
    kd_err err = decrypt(m, c, key, c->size, buffer, read_piece, &r);
    kd_secret_wipe(buffer, piece_size(c));
    free(buffer);
    return err;
}

kd_err
dime_payload_read(const struct dime_message *m, const struct dime_chunk *c,
                  const struct dime_chunk_key *key, const struct dime_payload *checked,
                  dime_sink sink, void *ctx)
{
    return payload_give(m, c, key, &checked->size, sink, ctx);
}

/* --- opening --- */

static kd_err
put(void *ctx, struct kd_slice piece)
{
    struct kd_buf *data = ctx;

    kd_buf_put(data, piece);
    return data->err;
}

/* Flags of chunks whose data is one piece. */
static uint32_t
flags_of_single(const struct dime_chunk *c)
{
    return DIME_PAYLOAD_ALT_PADDING |
           (c->def->section == DIME_SECTION_METADATA ? DIME_PAYLOAD_GZIP : 0u);
}

static kd_err
open_checked(const struct dime_message *m, const struct dime_chunk *c,
             const struct dime_chunk_key *key, struct payload_author author,
             struct payload_said *said, struct kd_buf *data)
{
    if (!is_payload(c))
        return KD_INVALID;
    struct check *k = check_new(c, author);
    if (k == NULL)
        return KD_NOMEM;
    kd_err err = check_run(k, m, c, key, flags_of_single(c), said);
    if (err == KD_OK && c->size <= PIECE)
        err = put(data, kd_slice(k->buffer + AT_DATA, said->size));
    else if (err == KD_OK)
        err = payload_give(m, c, key, &said->size, put, data);
    check_free(k, c);
    return err;
}

kd_err
payload_open(const struct dime_message *m, const struct dime_chunk *c,
             const struct dime_chunk_key *key, struct payload_author author,
             struct dime_payload *out, struct kd_buf *data)
{
    struct payload_said said;
    size_t before = data->n;
    kd_err err = open_checked(m, c, key, author, &said, data);

    if (err == KD_OK)
        *out = (struct dime_payload){.flags = said.flags, .size = said.size};
    else
        data->n = before;
    return err;
}

kd_err
dime_payload_open(const struct dime_message *m, const struct dime_chunk *c,
                  const struct dime_chunk_key *key,
                  const uint8_t author[DIME_ED25519_KEY_SIZE], struct dime_payload *out,
                  struct kd_buf *data)
{
    return payload_open(m, c, key, (struct payload_author){.key = author}, out, data);
}

kd_err
dime_envelope_payload_open(const struct dime_message *m, const struct dime_chunk *c,
                           const struct dime_chunk_key *key, struct kd_buf *data)
{
    struct dime_payload unused;

    return payload_open(m, c, key, (struct payload_author){.key = NULL}, &unused, data);
}

/* --- signature chunks --- */

kd_err
dime_signature_open(const struct dime_message *m, const struct dime_chunk *c,
                    const struct dime_chunk_key *key, uint8_t sig[DIME_SIG_SIZE])
{
    uint8_t sealed[DIME_SIG_SIZE];
    kd_err err;

    if (c->def->form != DIME_FORM_SIGNATURE || c->size != sizeof sealed)
        return KD_INVALID;
    err = dime_source_read(&m->source, dime_chunk_payload(c), sealed, sizeof sealed);
    if (err != KD_OK)
        return err;
    return aes_cbc_once(false, key->key, key->iv, sealed, sizeof sealed, sig);
}

kd_err
dime_signature_seal(const struct dime_chunk_key *key, const uint8_t sig[DIME_SIG_SIZE],
                    uint8_t payload[DIME_SIG_SIZE])
{
    return aes_cbc_once(true, key->key, key->iv, sig, DIME_SIG_SIZE, payload);
}
