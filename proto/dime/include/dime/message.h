/* D/MIME messages (P6; magic 1847), read where they lie.
 *
 *   u16 1847   u32 length of what follows   chunks
 *   chunk:     u8 type   u24 payload size   payload   keyslots of 64 octets
 *
 * Parsing decides structure: which chunks there are, in which order, of which sizes,
 * and whether the ephemeral key is a key. It allocates nothing, copies no payload and
 * decrypts nothing, so a message of 64 MiB costs a walk over the heads of its chunks.
 * What the chunks hold is opened with dime/payload.h, signatures are checked with
 * dime/message_verify.h. */
#ifndef DIME_MESSAGE_H
#define DIME_MESSAGE_H

#include <dime/keys.h>
#include <dime/source.h>

enum {
    DIME_MAGIC_TRACING = 1837,
    DIME_MAGIC_MESSAGE = 1847,
    DIME_MAGIC_NAKED = 1908,
    DIME_MAGIC_BOUNCE = 1931,

    DIME_MESSAGE_HEADER = 6,
    DIME_MESSAGE_MAX = 64 << 20, /* the usual limit, header included (D-124) */
    DIME_CHUNK_HEADER = 4,
    DIME_SLOT_SIZE = 64,
    DIME_SLOTS_MAX = 4,
    DIME_PAYLOAD_MAX = 16777200, /* DM-12 */
    DIME_PAYLOAD_MIN = 80,       /* the fixed octets and one of data, aligned */
    DIME_PAYLOAD_FIXED = 69,     /* signature, data length, flags, pad length */
    DIME_DATA_MAX = DIME_PAYLOAD_MAX - DIME_PAYLOAD_FIXED, /* of one chunk (DM-26) */
};

/* Who has keys to parts of a message; also the order of the slots (D-096). */
enum dime_actor {
    DIME_AUTHOR,
    DIME_ORIGIN,
    DIME_DESTINATION,
    DIME_RECIPIENT,
    DIME_ACTOR_COUNT
};

/* "author", "origin", "destination" or "recipient". */
const char *dime_actor_name(enum dime_actor actor);

enum dime_section {
    DIME_SECTION_ENVELOPE,
    DIME_SECTION_METADATA,
    DIME_SECTION_DISPLAY,
    DIME_SECTION_ATTACHMENTS,
    DIME_SECTION_SIGNATURES,
    DIME_SECTION_COUNT
};

enum dime_form {
    DIME_FORM_CLEAR,           /* a key to encrypt for */
    DIME_FORM_PAYLOAD,         /* as dime/payload.h has it */
    DIME_FORM_SIGNATURE,       /* the same of 64 octets */
    DIME_FORM_CLEAR_KEYS,      /* a key to encrypt for and one to verify with */
    DIME_FORM_CLEAR_CHUNKS,    /* of another object */
    DIME_FORM_CLEAR_SIGNATURE, /* readable by all */
};

enum dime_chunk_count { DIME_CHUNK_ONCE, DIME_CHUNK_OPTIONAL, DIME_CHUNK_MANY };

#define DIME_CHUNK(type, name, label, section, form, access, count)                    \
    DIME_CHUNK_##name = (type),
enum dime_chunk_type {
#include <dime/chunks.def>
};
#undef DIME_CHUNK

struct dime_chunk_def {
    const char *label;
    uint8_t type;
    uint8_t access; /* bit: enum dime_actor */
    uint8_t slots;  /* how many */
    enum dime_section section;
    enum dime_form form;
    enum dime_chunk_count count;
};

/* The table's line, static storage; NULL for a type that has no meaning. Messages; the
 * tables of bounces and of naked mail are others (dime/bounce.h, dime/naked.h). */
const struct dime_chunk_def *dime_chunk_def(uint8_t type);

/* The number of the actor's slot, or -1 if the type grants it none. */
int dime_chunk_slot(const struct dime_chunk_def *def, enum dime_actor actor);

/* A chunk as it stands in its source. */
struct dime_chunk {
    const struct dime_chunk_def *def; /* NULL: absent */
    uint64_t at;                      /* of its header */
    uint32_t size;                    /* of the payload */
};

static inline uint64_t
dime_chunk_payload(const struct dime_chunk *c)
{
    return c->at + DIME_CHUNK_HEADER;
}

static inline uint64_t
dime_chunk_slots(const struct dime_chunk *c)
{
    return dime_chunk_payload(c) + c->size;
}

static inline uint64_t
dime_chunk_end(const struct dime_chunk *c)
{
    return dime_chunk_slots(c) + (uint64_t)c->def->slots * DIME_SLOT_SIZE;
}

enum dime_flaw {
#define DIME_FLAW(code, reply, text) DIME_FLAW_##code,
#include <dime/message_reasons.def>
#undef DIME_FLAW
    DIME_FLAW_COUNT
};

/* One sentence without a full stop; the code's own name ("ORDER"). Static, not NULL. */
const char *dime_flaw_text(enum dime_flaw flaw);
const char *dime_flaw_name(enum dime_flaw flaw);

/* The DMTP reply at DATA: 451, 552 or 578; 0 for DIME_FLAW_NONE. */
unsigned dime_flaw_reply(enum dime_flaw flaw);

/* A message; the source is borrowed. Naked mail and the returned part of a bounce are
 * this too, of another table or with less in it, so that all that reads messages reads
 * them. */
struct dime_message {
    struct dime_source source;
    const struct dime_chunk_def *defs; /* the table, by type; label NULL: none */
    uint64_t traced;                   /* octets of tracing data in front, dropped */
    uint64_t begin;    /* of the ephemeral chunk: all signatures begin here */
    uint64_t display;  /* of the first display chunk */
    uint64_t attached; /* where display ends */
    uint64_t signs;    /* where attachments end and signatures begin */
    uint64_t end;
    uint32_t n_chunks, n_display, n_attached;
    uint8_t ephemeral[DIME_SECP_KEY_SIZE];
    struct dime_chunk alternate, origin, destination, common, headers; /* or absent */
    struct dime_chunk tree, author, metadata_bounce, display_bounce, organization;
};

/* max: of the whole, header included. An object of another kind (DIME_FLAW_MAGIC) is
 * none of the caller's, a message without 255 (DIME_FLAW_UNSIGNED) is not yet signed or
 * refused with a code of its own; all else is one corrupt message to whoever sent it.
 * KD_MALFORMED with *why (may be NULL), KD_TOO_LARGE; KD_IO from a file, which says
 * nothing about the message, whatever *why is. *out is written on success alone. */
kd_err dime_message_parse(const struct dime_source *source, uint64_t max,
                          struct dime_message *out, enum dime_flaw *why) KD_MUST_USE;

/* The chunks of a parsed message in order, from *at (m->begin, m->display, ...): false
 * at until. Reads the heads again, which were good: KD_IO ends the walk early and is
 * left in *err. */
bool dime_message_next(const struct dime_message *m, uint64_t *at, uint64_t until,
                       struct dime_chunk *out, kd_err *err);

/* The chunk of that type that stands at most once; NULL if it is absent or may stand
 * more often, and of type 2, which is kept as the key it holds. */
const struct dime_chunk *dime_message_chunk(const struct dime_message *m, uint8_t type);

/* The magic number a binary object begins with, tracing skipped; 0 if it is too short.
 */
uint16_t dime_object_magic(const struct dime_source *source);

/* Who takes what a server was given at DATA (DM-9), by its magic number. */
enum dime_data_kind {
    DIME_DATA_MESSAGE, /* dime_message_parse */
    DIME_DATA_BOUNCE,  /* dime_bounce_parse */
    DIME_DATA_OTHER,   /* nobody: 451. Naked mail is never sent (D-173) */
};
enum dime_data_kind dime_data_kind(const struct dime_source *source);

#endif
