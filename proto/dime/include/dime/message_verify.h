/* The signatures over a message's ciphertext (P6, "Types"; D-115 to D-118), which are
 * what authorship rests on (D-100).
 *
 *   225  author: the SHA-512 of every chunk before it, one after the other
 *   226  author: all chunks from the ephemeral one to 225
 *   248  organization: envelope and metadata
 *   249  organization: envelope, metadata and display
 *   255  organization: all chunks before it
 *
 * Chunks are taken as transmitted, heads and keyslots included; the message header and
 * tracing are in none.
 *
 * Time. What is signed here everybody can see, but the signature is decrypted, and CBC
 * lets strangers choose what: one moves a payload's keyslot and four of its blocks into
 * a signature chunk, and S is then plaintext of that payload XOR what he likes. Code
 * that refuses S above the group order at once would tell him four bits of any block
 * that way, and every addition that depends on S tells a little. So signatures are
 * verified at one cost whatever they are (dime/ed25519_verifier.h), which is more than
 * twice libsodium's.
 *
 * Who lets 226 vouch (claims->vouching) has the rest verified by libsodium once 226 has
 * been found good: from there on everything in front of it, keyslots too, is as its
 * signer made it, and the keyslots of 248, 249 and 255 open nothing of it unless they
 * repeat one of it, which is looked for. That is for a user's own programs, whose time
 * nobody else sees closely, and not for servers, which answer strangers: the signer of
 * 226 need not be who encrypted. The author's organization can put another user of its
 * own into 4, 225 and 226, to whose keys it has slots, and sign what it moved. To it,
 * and to nobody else, the time of the rest says how many digits S has (some 2 us in
 * 36), but not whether S is above the order.
 *
 * A message above 64 KiB or in a file is read once for all of its signatures, at one
 * cost each, which is little beside the reading. */
#ifndef DIME_MESSAGE_VERIFY_H
#define DIME_MESSAGE_VERIFY_H

#include <dime/message.h>

enum dime_message_verdict {
    DIME_VERDICT_NOT_ASKED, /* or the chunk is absent */
    DIME_VERDICT_GOOD,
    DIME_VERDICT_LEGACY, /* 225 in libdime's form, believed because 226 is good */
    DIME_VERDICT_BAD,
};

/* A signature to be checked. */
struct dime_claim {
    const uint8_t *sig; /* 64 octets, opened; NULL: not asked */
    /* Keys one of which must have made it, 32 octets each, valid: the author's, or the
     * organization's primary key and the secondary ones that may sign messages. */
    const uint8_t (*keys)[DIME_ED25519_KEY_SIZE];
    size_t n_keys;
};

struct dime_claims {
    struct dime_claim tree, author, metadata_bounce, display_bounce, organization;
    bool vouching; /* a good 226 vouches for the time of the others; see above */
};

struct dime_verdicts {
    enum dime_message_verdict tree, author, metadata_bounce, display_bounce,
        organization;
};

/* Without the author's claim, libdime's tree is not believed. KD_OK whatever the
 * verdicts are; KD_IO, KD_NOMEM, KD_MALFORMED for a file that has changed. Holds 64 KiB
 * for a file, 64 octets for a chunk of a small message, and some 400 octets for a key
 * of a claim, each of which is one more hashing of what the signature covers. */
kd_err dime_message_verify(const struct dime_message *m,
                           const struct dime_claims *claims,
                           struct dime_verdicts *out) KD_MUST_USE;

/* Whether a chunk lies under a signature chunk (of its type). */
bool dime_message_is_signed_by(const struct dime_chunk *c, uint8_t signature_type);

/* Where what a signature covers ends; it begins at m->begin. Of 255 that is its own
 * chunk (of an unsigned message its end), so 248 and 249 are finished before it. */
uint64_t dime_message_signed_until(const struct dime_message *m,
                                   uint8_t signature_type);

#endif
