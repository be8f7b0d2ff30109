/* Naked mail at rest (object 1908; D-173): what came without D/MIME, encrypted to its
 * recipient by the gateway before it is stored, and never sent on.
 *
 *   u16 1908   u32 length of what follows   chunks
 *   2          cleartext: ephemeral key to encrypt for 33, one-time signing key 32
 *   33 34      as in messages, one slot: the recipient's
 *   67 131     the same; 67 at least once, both any number
 *   225 226    by the one-time key, one slot: the recipient's
 *   255        cleartext, by the domain that keeps it, over all chunks before it
 *
 * There are no chunks for multiparts: a gateway imports mail by dime_mime_import_naked
 * (dime/mime.h), which carries a mail that needs them whole, in one 67.
 *
 * The one-time key is forgotten when the mail is made. It proves that nothing was
 * changed since, and says nothing about who wrote it: no signet has it, so nobody's
 * mail can be forged this way (GW-16). */
#ifndef DIME_NAKED_H
#define DIME_NAKED_H

#include <dime/build.h>
#include <dime/message_build.h>

enum { DIME_NAKED_KEYS_SIZE = DIME_SECP_KEY_SIZE + DIME_ED25519_KEY_SIZE };

/* As dime_chunk_def. */
const struct dime_chunk_def *dime_naked_chunk_def(uint8_t type);

/* All that reads messages reads the mail (m): dime/span.h as the recipient and with the
 * signer for author, dime/message_verify.h with the signer's key for 225 and 226 and
 * the domain's for 255, whose signature dime_naked_signature gives. */
struct dime_naked {
    struct dime_message m;
    uint8_t signer[DIME_ED25519_KEY_SIZE]; /* passed dime_ed25519_key_valid */
};

/* As dime_message_parse; there is no tracing in front. DIME_FLAW_EPHEMERAL is said of
 * either key. */
kd_err dime_naked_parse(const struct dime_source *source, uint64_t max,
                        struct dime_naked *out, enum dime_flaw *why) KD_MUST_USE;

/* The 64 octets of 255; zeros until the domain has signed. KD_IO, KD_MALFORMED. */
kd_err dime_naked_signature(const struct dime_naked *n,
                            uint8_t sig[DIME_SIG_SIZE]) KD_MUST_USE;

struct dime_naked_plan {
    const uint8_t *recipient;            /* encryption key, 33 octets, valid */
    struct kd_slice common;              /* dime/common.h */
    struct kd_slice headers;             /* never empty (D-109) */
    const struct dime_content *contents; /* of type 67, at least one, then 131 */
    size_t n_contents;
};

/* Appends the object, 255 still zero; as dime_message_build, whose common text and
 * contents are refused alike. */
kd_err dime_naked_build(const struct dime_naked_plan *plan,
                        struct kd_buf *out) KD_MUST_USE;

/* Signs 255 in the octets of parsed mail in memory, which are written to. The errors of
 * the signer; KD_INVALID if the octets are not the mail's. */
kd_err dime_naked_sign(const struct dime_naked *n, uint8_t *octets,
                       struct dime_signer organization) KD_MUST_USE;

#endif
