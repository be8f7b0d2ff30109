/* Radix-64 armour of DIME objects (part 5 "Encoding", part 6 PEM; D-053, D-054, D-127).
 *
 *     text before                                  ignored
 *     -----BEGIN USER SIGNET-----
 *     Bv0AAdYBIUA/XcAjqobE0Gg7hYQW9c86slvX...      base 64, lines of any width
 *     =tjB1                                        optional CRC-24 of RFC 4880, 6.1
 *     -----END USER SIGNET-----
 *     text after                                   ignored
 *
 * Read: lines end LF or CRLF; padding or none; both labels equal and known; exactly
 * one block. Empty lines, blanks or anything else between the two boundary lines is
 * refused, and so are trailing bits that are not zero: one text, one object.
 *
 * Base 64 is coded by libsodium without branches or look-ups on its octets, and the
 * CRC is computed so too: what is decoded may be a private key. */
#ifndef DIME_ARMOR_H
#define DIME_ARMOR_H

#include <keyd/base/buf.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum dime_armor_label {
    DIME_ARMOR_NONE, /* not armour, or no label is known for it */
#define DIME_ARMOR_LABEL(id, text, magic) DIME_ARMOR_##id,
#include <dime/armor_labels.def>
#undef DIME_ARMOR_LABEL
};

enum dime_armor_style {
    DIME_ARMOR_FILE, /* as libdime writes files: 64 columns, padding, CRC */
    DIME_ARMOR_WIRE  /* as DMTP and D/MIME show it: 64 columns, neither */
};

/* One block in a text, which it borrows. */
struct dime_armor {
    enum dime_armor_label label;
    struct kd_slice body; /* lines of base 64 without the padding */
    struct kd_slice crc;  /* the four characters, or empty */
    size_t size;          /* octets the body decodes to; at least 1 */
};

/* Finds the block and measures it, so that the caller can choose the memory.
 * KD_MALFORMED: *why says what is wrong (static text; why may be NULL). */
kd_err dime_armor_parse(struct kd_slice text, struct dime_armor *out,
                        const char **why) KD_MUST_USE;

/* Decodes exactly a->size octets to out, which may be secret memory: no copy is left
 * elsewhere, and out is wiped on failure. KD_MALFORMED: a character that is not base
 * 64, trailing bits that are not zero, a wrong CRC. */
kd_err dime_armor_decode(const struct dime_armor *a, uint8_t *out,
                         const char **why) KD_MUST_USE;

/* The label an object of this magic number is written under; DIME_ARMOR_NONE if none.
 */
enum dime_armor_label dime_armor_label_of(uint16_t magic);
const char *dime_armor_label_text(enum dime_armor_label label);

/* Octets of text that dime_armor_encode writes for n octets; no NUL is counted. */
size_t dime_armor_size(enum dime_armor_label label, enum dime_armor_style style,
                       size_t n);

/* Writes dime_armor_size() octets to out, without a NUL. Both may be secret memory.
 * label is not DIME_ARMOR_NONE. */
void dime_armor_encode(enum dime_armor_label label, enum dime_armor_style style,
                       struct kd_slice octets, char *out);

/* The same at the end of a buffer. Not for secrets. */
void dime_armor_put(struct kd_buf *b, enum dime_armor_label label,
                    enum dime_armor_style style, struct kd_slice octets);

/* True if these are the octets of a text to be read as armour. Every binary object
 * starts with an octet below 8, which no text does; anything else is armour if a line
 * of it starts like a boundary. */
bool dime_armor_is(struct kd_slice file);

/* A file with an object, armoured or binary, to the binary octets: borrowed from file
 * or decoded into b (initialised by the caller; its limit holds for the decoded
 * octets). *label is DIME_ARMOR_NONE for binary. Not for key files: see dkey.h.
 * KD_MALFORMED with *why; KD_TOO_LARGE, KD_NOMEM from the buffer. */
kd_err dime_object_load(struct kd_slice file, struct kd_buf *b, struct kd_slice *out,
                        enum dime_armor_label *label, const char **why) KD_MUST_USE;

#endif
