/* Parts of a message's content: the data of one chunk, or of several that continue each
 * other (P6, "Flags"; DM-29, DM-32, DM-34, DM-48, DM-49, DM-51; D-121).
 *
 * A part is good if every piece is, all have one type and equal flags (128 aside), the
 * last has 128 clear, and there are no more than four unless they carry more than
 * 67,108,524 octets. Otherwise the whole part is corrupt, and all its pieces are passed
 * over. Compressed data is given out as it is: see dime/gzip.h. */
#ifndef DIME_SPAN_H
#define DIME_SPAN_H

#include <dime/payload.h>

enum { DIME_SPAN_PIECES = 4, DIME_SPAN_LARGE = 67108524 };

enum dime_span_state {
    DIME_SPAN_GOOD,
    DIME_SPAN_CORRUPT,
    DIME_SPAN_NEEDS_KEY, /* good, but flag 2: for the alternate key (D-123) */
};

struct dime_span {
    enum dime_span_state state;
    struct dime_chunk first;
    uint64_t end;  /* where the next part begins */
    uint32_t n;    /* pieces */
    uint8_t flags; /* of all of them, without 128; 0 if corrupt */
    uint64_t size; /* octets of data, all pieces; 0 if corrupt */
    bool rejects;  /* a piece says, signed, that it has no data: corrupt, and the whole
                      message is refused (DM-33) */
};

/* Who reads: author or recipient, with his KEK, and the author's signing key. */
struct dime_reader {
    const struct dime_message *m;
    enum dime_actor actor;
    const struct dime_kek *kek;
    const uint8_t *author;
    /* 226 of this message was found good under that key: no stranger chose what is
     * decrypted. Payloads in one piece are then verified by libsodium; else by code
     * whose time says nothing of them, at more than twice the cost ("Time" in
     * dime/message_verify.h). Verdicts are the same. */
    bool vouched;
};

/* A chunk that is one piece (4, 5, 33, 34), as dime_payload_open with its key; and
 * KD_DENIED if the reader has no slot. */
kd_err dime_reader_open(const struct dime_reader *r, const struct dime_chunk *c,
                        struct dime_payload *out, struct kd_buf *data) KD_MUST_USE;

/* The part that begins at *at, which moves behind it; until as in dime_message_next.
 * Checks every piece, gives nothing out. False at the end, or with *err: KD_DENIED for
 * an actor without keyslots, KD_NOMEM, KD_IO.
 *
 * Of a corrupt part a flag nobody vouches for says whether a next chunk of its type
 * belongs to it. Where it lies, what is left of the part comes as another one: so parts
 * are shown only under a good author's signature (D-100, D-125). */
bool dime_span_next(const struct dime_reader *r, uint64_t *at, uint64_t until,
                    struct dime_span *out, kd_err *err);

/* The data of a good part, in order; KD_INVALID for another. Who found it good has a
 * source that does not change: a length that did is KD_MALFORMED, other octets are
 * given out as they are. KD_NOMEM, KD_IO, the sink's. */
kd_err dime_span_read(const struct dime_reader *r, const struct dime_span *s,
                      dime_sink sink, void *ctx) KD_MUST_USE;

#endif
