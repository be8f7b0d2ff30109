/* A message, or naked mail, as one of its actors reads it: what his key opens, which
 * signatures are good, and the parts of the content. Nobody else's keys are asked for
 * but public ones. Content is given out only under a good signature of the author
 * (D-100, D-125). */
#ifndef DIME_READING_H
#define DIME_READING_H

#include <dime/common.h>
#include <dime/dkey.h>
#include <dime/envelope.h>
#include <dime/naked.h>
#include <dime/signet.h>
#include <dime/span.h>

enum {
    READING_SIGNATURES = 5,
    READING_TEXTS = 4,
    /* Of a mail there cannot be more (dime/mime.h). */
    READING_PARTS_MAX = 1000,
    /* All parts together, decompressed. */
    READING_DATA_MAX = DIME_MESSAGE_MAX,
};

/* The types, in ascending order. */
extern const uint8_t reading_signature_types[READING_SIGNATURES];
extern const uint8_t reading_text_types[READING_TEXTS];

enum reading_signature {
    SIGNATURE_ABSENT,
    SIGNATURE_CLOSED,      /* no keyslot for who reads */
    SIGNATURE_UNCHECKED,   /* whose key it needs is not known here */
    SIGNATURE_PLACEHOLDER, /* not made yet (D-119) */
    SIGNATURE_BAD,
    SIGNATURE_LEGACY, /* good in libdime's form (D-115) */
    SIGNATURE_GOOD,
};

/* "good" and so on. */
const char *reading_signature_name(enum reading_signature state);

enum reading_text {
    TEXT_ABSENT,
    TEXT_CLOSED,    /* no keyslot, or no good signature of the author */
    TEXT_ALTERNATE, /* needs the alternate key (D-123) */
    TEXT_CORRUPT,
    TEXT_OPEN,
};

enum reading_part_state { PART_GOOD, PART_CORRUPT, PART_ALTERNATE };

/* "good", "corrupt", "alternate". */
const char *reading_part_name(enum reading_part_state state);

struct reading_part {
    struct dime_span span;
    uint64_t size; /* of the data, decompressed; 0 unless good */
    enum reading_part_state state;
    uint32_t chunk; /* number of its first one in the message, from 0 */
};

/* Who reads, and whom he believes; all borrowed, signets verified by the caller, NULL
 * for what is not known. Of naked mail the destination keeps it. */
struct reading_keys {
    const struct dime_dkey *own;
    const struct dime_signet *author, *origin, *destination, *recipient;
};

struct reading {
    struct dime_naked n; /* n.m is the message; the rest for naked mail alone */
    bool naked;
    enum dime_actor actor;
    struct reading_keys keys;
    const uint8_t *author; /* signing key; NULL: not known */
    struct dime_kek *kek;
    enum reading_signature signatures[READING_SIGNATURES];
    enum reading_text texts[READING_TEXTS];
    struct kd_buf text[READING_TEXTS]; /* as they are, 34 decompressed */
    bool has_origin, has_destination, has_common;
    struct dime_envelope origin, destination; /* chunks 4 and 5 */
    struct dime_common_headers common;
    struct reading_part *parts;
    size_t n_parts;
    bool is_corrupt; /* envelope or metadata are */
    bool complete;   /* metadata and parts are there, all good, none for another key */
    uint64_t given;  /* octets that parts came to, corrupt ones too */
    /* Why this actor does not go on with it; NULL: he does. One text for everything
     * that is wrong behind the encryption (DM-50). */
    const char *refused;
    enum dime_flaw flaw; /* of the structure */
};

/* KD_OK whatever the message is like: refused says. KD_NOMEM, KD_IO, KD_FAILED (no
 * secret memory) otherwise. reading_close in every case. r is large. */
kd_err reading_open(struct reading *r, const struct dime_source *source,
                    enum dime_actor actor, const struct reading_keys *keys) KD_MUST_USE;
void reading_close(struct reading *r);

/* The data of a good part, decompressed. reading_open has done this once, so for a
 * source that does not change only the sink's errors come. */
kd_err reading_part_data(const struct reading *r, const struct reading_part *part,
                         dime_sink sink, void *ctx) KD_MUST_USE;

/* Which fingerprint of the signet an envelope chunk names (D-111): "core", "full" or
 * "none". fp: 86 characters. */
const char *reading_agrees(const struct dime_signet *s, struct kd_slice fp);

#endif
