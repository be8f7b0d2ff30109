/* Bounces (object 1931; open-design.md 5): from the domain that could not deliver to
 * the domain that sent, the only one that can learn who the author is.
 *
 *   u16 1931   u32 length of what follows   chunks
 *   2          cleartext: an ephemeral key of this bounce
 *   6 Report   payload, one slot: the origin's; its signature is the bouncing domain's
 *   7 Return   cleartext: chunks of the message that bounces, as they were
 *   255        cleartext, by the bouncing domain, over all chunks before it
 *
 * Who gets one verifies 255 (dime_bounce_verify), then that the returned part bears its
 * own signature (dime_bounce_verify_return), and only then opens chunk 4 of that part.
 */
#ifndef DIME_BOUNCE_H
#define DIME_BOUNCE_H

#include <dime/build.h>
#include <dime/envelope.h>
#include <dime/payload.h>

#define DIME_CHUNK(type, name, label, section, form, access, count)                    \
    DIME_BOUNCE_##name = (type),
enum dime_bounce_chunk_type {
#include <dime/chunks_bounce.def>
};
#undef DIME_CHUNK

enum {
    DIME_RETURN_MAX = (1 << 24) - 1, /* octets of one chunk; return less of a larger */
    DIME_REPORT_MAX = 1024,
};

/* What is returned of the message: chunks from 2 on, and the signature over them. */
enum dime_return {
    DIME_RETURN_METADATA, /* 2 to 34, 248 */
    DIME_RETURN_DISPLAY,  /* 2 to 67, 249 */
    DIME_RETURN_MESSAGE,  /* all */
    DIME_RETURN_COUNT
};

/* "metadata", "display", "message". */
const char *dime_return_name(enum dime_return part);

/* 248, 249, 255. */
uint8_t dime_return_signature_type(enum dime_return part);

/* --- the report --- */

/* What chunk 6 says, in the manner of RFC 3464, in this order and nothing else:
 *
 *   Reporting-MTA: dns; example.org
 *   Action: failed
 *   Status: 5.1.1
 *   Last-Attempt-Date: Mon, 01 Jan 2024 00:00:00 +0000
 *   X-Dime-Message: [86 characters]
 *   X-Dime-Returned: metadata
 *
 * each line ending CR LF. The recipient, whom RFC 3464 would name, is not the origin's
 * to know (DM-89). The data of its chunk is shorter than 65,536 octets, so what a chunk
 * signature covers begins with octet 0, and with what no other object of the same key
 * does. */
struct dime_report {
    struct kd_slice domain;          /* that bounces */
    uint16_t klass, subject, detail; /* RFC 3463: 4 or 5; 0 to 999 */
    int64_t time;                    /* UNIX; year 1970 to 9999 */
    struct kd_slice message;         /* identifier: 86 characters, canonical base 64 */
    enum dime_return part;
};

/* Slices are borrowed from text. KD_MALFORMED for all but what put writes. */
kd_err dime_report_parse(struct kd_slice text, struct dime_report *out) KD_MUST_USE;

/* Appends the text; KD_INVALID if it could not be read back. */
kd_err dime_report_put(const struct dime_report *r, struct kd_buf *out) KD_MUST_USE;

/* --- the object --- */

struct dime_bounce {
    struct dime_message outer; /* whose chunks are here */
    struct dime_chunk report, back, organization;
    enum dime_return part;
    /* The returned part, parsed: the chunks it has, and between begin and end nothing
     * else. Its signature chunk is the one of dime_return_signature_type. Signatures
     * are opened and verified as those of a message. */
    struct dime_message returned;
};

/* As dime_chunk_def. */
const struct dime_chunk_def *dime_bounce_chunk_def(uint8_t type);

/* As dime_message_parse; there is no tracing in front. What is wrong with the returned
 * part has the flaws of messages, DIME_FLAW_MISSING if it is none of the three. */
kd_err dime_bounce_parse(const struct dime_source *source, uint64_t max,
                         struct dime_bounce *out, enum dime_flaw *why) KD_MUST_USE;

/* 255: KD_OK if one of the keys made it, all valid; KD_INVALID; KD_IO, KD_NOMEM. */
kd_err dime_bounce_verify(const struct dime_bounce *b,
                          const uint8_t (*keys)[DIME_ED25519_KEY_SIZE],
                          size_t n_keys) KD_MUST_USE;

/* The returned part's signature, opened by its origin's KEK (of the part's own
 * ephemeral key), under one of its keys. Errors as above. */
kd_err dime_bounce_verify_return(const struct dime_bounce *b,
                                 const struct dime_kek *kek,
                                 const uint8_t (*keys)[DIME_ED25519_KEY_SIZE],
                                 size_t n_keys) KD_MUST_USE;

/* Opens the report by the origin's KEK (of the bounce's ephemeral key); its slices are
 * borrowed from text, which gets its octets. by: the key that verified 255. KD_INVALID
 * for whatever is wrong in it, another part than the one returned included. */
kd_err dime_bounce_report(const struct dime_bounce *b, const struct dime_kek *kek,
                          const uint8_t by[DIME_ED25519_KEY_SIZE],
                          struct dime_report *out, struct kd_buf *text) KD_MUST_USE;

struct dime_bounce_plan {
    const uint8_t *origin;              /* encryption key, 33 octets, valid */
    const struct dime_report *report;   /* its part is what is returned */
    const struct dime_message *message; /* that bounces */
    struct dime_signer organization;    /* makes chunk 6's signature, then 255 */
};

/* Appends the object. KD_NOT_FOUND if the message has no signature for the part,
 * KD_TOO_LARGE if it does not fit a chunk; errors of the signer; else as
 * dime_message_build. */
kd_err dime_bounce_build(const struct dime_bounce_plan *plan,
                         struct kd_buf *out) KD_MUST_USE;

#endif
