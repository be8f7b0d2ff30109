/* Mail as D/MIME carries it, and back: octet for octet (DM-93; D-109, D-112 to D-114;
 * open-design 6). Not to be linked by the vault.
 *
 * Every mail comes back as it was. Import exports what it made and compares; where the
 * octets differ, or where readers disagree about what the mail means, the whole mail is
 * one part ("raw", below). Mail is RFC 5322 octets: lines end in CR LF. Who reads Unix
 * text files turns the line ends first; otherwise the mail is raw.
 *
 * Chunk 33: the six common fields, unfolded (the CR LF of a fold is dropped, its white
 * space stays), without white space at both ends.
 *
 * Chunk 34: the other fields, verbatim and in their order, and fields of ours, one line
 * each unless it says so:
 *
 *   X-Dime-Here: Name, ...     at this place stood, one after the other, the fields
 *                              named. The name of a common field, as the mail spells
 *                              it: the line is "Name: value" ("Name:" if the value is
 *                              empty), the value that of chunk 33. A name that begins
 *                              with Content-: the next field of the header of the one
 *                              part, which must have this name.
 *   X-Dime-Original-<field>    at this place stood this common field, verbatim with its
 *                              folds and spaces; unfolded it must be what 33 says.
 *   X-Dime-Absent: Name, ...   required common fields that the mail had not; also
 *                              MIME-Version, where the one in this chunk is not the
 *                              mail's (D-109 wants one).
 *   X-Dime-Preamble: base64    what stands before the first delimiter of the multipart
 *   X-Dime-Epilogue: base64    in 34, its last CR LF included, and after the octets of
 *                              the last delimiter; without padding, folded. Without
 *                              them: nothing, and CR LF.
 *   X-Dime-Raw: message/rfc822 the mail is raw.
 *
 * Without X-Dime-Here (messages of others) the common fields come first, in the order
 * of 33, then the fields of 34, then those of the part.
 *
 * Parts. One part: its Content- fields move from 34 to the one chunk 67. A
 * multipart/mixed keeps its fields in 34, and the chunks are its parts. Any other
 * multipart is the one entry itself: its Content- fields move to chunk 65 (66:
 * alternative). A part with the disposition attachment, or within one, is 131 (a
 * multipart 129, 130); so is one that is neither inline nor text; others are 67. A
 * multipart is in the display section if any part of it is. If nothing were, the first
 * part is (D-108).
 *
 *   67, 131   header of the part, empty line, body. A part without fields is its body
 *             alone if that is plain text which cannot be taken for an entity (D-113).
 *             X-Dime-Position: k stands before the fields where sections put the parts
 *             in another order, or where there would be no field.
 *   65, 66, 129, 130
 *             Children: n
 *             Preamble: octets
 *             Epilogue: octets
 *             Position: k
 *                               (empty line)
 *             header of the part, empty line, preamble, epilogue (as above)
 *
 * Positions count multiparts and parts in document order from 1. Where every chunk has
 * one they give the order; otherwise the chunks are in order, and positions that are
 * there must say the same.
 *
 * Raw: 34 has X-Dime-Raw, 33 what can be read of the common fields without doubt (a
 * field that some reader could see a second time is left out), and
 * the one chunk 67 is "Content-Type: message/rfc822", "Content-Transfer-Encoding:
 * binary", an empty line and the mail. Export refuses a 33 or 34 that is not what
 * import makes of that mail.
 *
 * How mail is read. GMime decides what the values of Content-Type and
 * Content-Disposition mean. Where header fields and delimiters stand is found here, in
 * one pass: what is to come back octet for octet needs every octet accounted for, which
 * GMime's tree leaves out (white space behind delimiters, missing closes); and GMime's
 * parser holds 120 to 150 octets for every one of a mail made of short fields or empty
 * parts, so that the largest allowed would need 8 GiB. Tests compare this reading with
 * that of GMime's parser. GMime ends the process where there is no memory. */
#ifndef DIME_MIME_H
#define DIME_MIME_H

#include <dime/common.h>
#include <dime/message.h>

enum {
    DIME_MIME_PARTS = 1000,               /* multiparts and parts */
    DIME_MIME_DEPTH = 32,                 /* multiparts within each other */
    DIME_MIME_HEADERS_MAX = 1 << 20,      /* chunk 34 */
    DIME_MIME_VALUE_MAX = 16384,          /* a content type or disposition */
    DIME_MIME_MAIL_MAX = DIME_MESSAGE_MAX /* the mail */
};

enum dime_mime_raw {
#define DIME_MIME_RAW(code, text) DIME_MIME_##code,
#include <dime/mime_raw.def>
#undef DIME_MIME_RAW
    DIME_MIME_RAW_COUNT
};

/* Never NULL; static. */
const char *dime_mime_raw_text(enum dime_mime_raw why);

/* The data of a part: all its pieces joined, decompressed. */
struct dime_mime_part {
    uint8_t type; /* 65 to 67, 129 to 131 */
    struct kd_slice data;
};

/* What a message holds behind its envelope. All borrowed. */
struct dime_mime_content {
    struct dime_common_headers common;
    struct kd_slice headers; /* chunk 34; empty: absent */
    const struct dime_mime_part *parts;
    size_t n_parts;
};

/* The result of an import; content borrows from it, and nothing from the mail. */
struct dime_mime {
    struct dime_mime_content content;
    enum dime_mime_raw raw; /* DIME_MIME_MAPPED: it is not */
    struct dime_mime_store *own;
};

/* KD_TOO_LARGE above DIME_MIME_MAIL_MAX; KD_NOMEM. *out is to be freed on success. */
kd_err dime_mime_import(struct kd_slice mail, struct dime_mime *out) KD_MUST_USE;
void dime_mime_free(struct dime_mime *m);

/* The same for naked mail (dime/naked.h), which has chunks 67 and 131 alone (D-173): a
 * mail that would be mapped to a multipart chunk is raw (DIME_MIME_MULTIPART), one
 * whose parts a single multipart/mixed holds is mapped. Exported alike. */
kd_err dime_mime_import_naked(struct kd_slice mail, struct dime_mime *out) KD_MUST_USE;

/* Appends the mail. content may be anybody's: what is no mail, or would be another one
 * to its reader than the chunks say (a delimiter within a part, a Subject in 34 beside
 * that of 33, parts that do not add up, other fields X-Dime-), is KD_INVALID. So is the
 * mail beyond the limits above. Several parts without a multipart in 34 get one, with a
 * boundary of their hash. Data without header is text/plain in UTF-8, base64 unless it
 * is short lines of ASCII; application/octet-stream if it is not UTF-8. KD_TOO_LARGE
 * past the buffer's limit, KD_NOMEM. Nothing is appended on failure. */
kd_err dime_mime_export(const struct dime_mime_content *content,
                        struct kd_buf *out) KD_MUST_USE;

/* The data of a part of type 67 or 131 (D-113). */
struct dime_mime_entity {
    bool bare;              /* no header, or none that can be read: text/plain, UTF-8 */
    uint32_t position;      /* X-Dime-Position; 0: none */
    struct kd_slice fields; /* without that, each with its CR LF */
    struct kd_slice body;
};

/* KD_INVALID if the header is none of ours and not bare either: a bad position, or an
 * X-Dime- field that has no meaning there. */
kd_err dime_mime_entity(struct kd_slice data, struct dime_mime_entity *out) KD_MUST_USE;

/* True if a field of that name stands in the mail's header, however odd that is: any
 * line end may come before the name, white space behind it. */
bool dime_mime_has_field(struct kd_slice mail, const char *name);

/* True if the value of a From field names this one mailbox and no other, letter case
 * aside (D-129): what a reader shows as the sender is then who is meant. */
bool dime_mime_is_from(struct kd_slice value, struct kd_slice address);

#endif
