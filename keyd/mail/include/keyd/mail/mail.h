/* What keyd does with messages: the walkers of SignOutbound, OpenEnvelope, OpenBounce,
 * MakeBounce and SealNaked. Each takes a whole object and what the caller knows beside
 * it, decides alone, and gives finished chunks and texts, never a shared secret, a key
 * or a signature over free data (D-085, D-086). They know no vault and no ledger, run
 * on a crypto thread, and take as long as their object is large.
 *
 * The order is the security (D-087 to D-090):
 *
 *   structure      what everybody can see: KD_MALFORMED or KD_TOO_LARGE and a flaw, or
 *                  KD_INVALID for a point that is none of a message's own. No key was
 *                  used
 *   the key        ECDH with a point that was found good
 *   signatures     over the ciphertext. What came in from outside is opened only behind
 *                  a good 255 (of a bounce: behind our own signature); before that, the
 *                  64 octets of that one
 *   texts          judged without a branch on what they hold
 *   the verdict    one: KD_INVALID for whatever did not hold behind the key
 *
 * A fault behind the key ends nothing. It is carried along, and the steps after it are
 * done with a key that opens nothing and with texts that mean nothing, so that all
 * failures take the time that the object's size and its chunks, which are public, let
 * them take. A caller answers them all alike.
 *
 * Errors of the token (KD_SEALED, KD_DENIED, KD_UNAVAILABLE, KD_TIMEOUT, KD_NOT_FOUND
 * for a key that is gone) and of the machine (KD_NOMEM, KD_IO, KD_FAILED) are passed on
 * at once: they say nothing about the object.
 *
 * out is written whatever the result is: key_used says that a private key was used, so
 * that a record is due; the rest holds what its comments say. Sources in memory must
 * not change meanwhile; files are sealed memfds, which the caller received and checked
 * (kd_memfd_check). */
#ifndef KEYD_MAIL_MAIL_H
#define KEYD_MAIL_MAIL_H

#include <dime/bounce.h>
#include <dime/message_verify.h>
#include <dime/naked.h>
#include <dime/signet.h>
#include <keyd/token/token.h>

enum {
    MAIL_FP_SIZE = 64,
    MAIL_SHA256_SIZE = 32,
    MAIL_AUTHORS_MAX = 16,
    MAIL_OPENERS_MAX = 3,
    /* Of a larger object not all keys of a foreign signet are tried: each is one more
     * hashing of all of it. */
    MAIL_MANY_KEYS_SIZE = 1 << 20,
    MAIL_FEW_KEYS = 8,
    /* A payload of chunk 4 or 5 that can hold a text; larger ones hold none. */
    MAIL_ENVELOPE_PAYLOAD_MAX = 8192,
};

/* Keys of ours. Borrowed, as all that is pointed to. */
struct mail_keys {
    struct kd_token *token;
    struct kd_key_id opener; /* the encryption key that the message is for */
    struct kd_key_id signer; /* of messages, now; unused where nothing is signed */
    /* All encryption keys of the organization: no ephemeral key is one (D-090). */
    const uint8_t (*ours)[DIME_SECP_KEY_SIZE];
    size_t n_ours;
};

/* --- SignOutbound --- */

/* A signet of the author that counts: his current one, and those superseded so lately
 * that mail written under them is still taken (D-087). */
struct mail_author {
    uint8_t sign_key[DIME_ED25519_KEY_SIZE];
    uint8_t enc_key[DIME_SECP_KEY_SIZE];
    uint8_t core[MAIL_FP_SIZE], full[MAIL_FP_SIZE];
};

/* Of an identified user signet that the caller has found to be the account's and by a
 * key of ours. KD_INVALID for a signet of another kind or part. */
kd_err mail_author_of(const struct dime_signet *signet,
                      struct mail_author *out) KD_MUST_USE;

struct mail_outbound {
    struct kd_slice account;           /* who is authenticated: an address */
    struct kd_slice destination;       /* a domain, as the caller states it */
    const struct mail_author *authors; /* the current one first; at least one */
    size_t n_authors;
    uint64_t max; /* octets of a message */
};

struct mail_signed {
    bool key_used;
    enum dime_flaw flaw;
    /* On KD_OK: */
    bool has_metadata, has_display; /* 248, 249: those whose chunks are there */
    uint8_t metadata[DIME_SIG_SIZE], display[DIME_SIG_SIZE],
        organization[DIME_SIG_SIZE]; /* payloads, encrypted under their chunks' keys */
    /* SHA-256 of what 248, 249 (those that are there) and 255 cover, in this order. */
    uint8_t digests[3][MAIL_SHA256_SIZE];
    unsigned n_digests;
    unsigned author; /* which of the signets the message names */
    uint8_t destination_fp[MAIL_FP_SIZE];
};

/* The author of the message (chunk 4) is the account, by one of the signets, and its
 * destination the stated one; 225, 226 and chunk 4 itself verify under that signet (225
 * in libdime's form, too, D-115); the chunks that are to be signed hold 64 zero octets:
 * then signs them. KD_MALFORMED with DIME_FLAW_UNSIGNED for a message without 255
 * (T-OP-10). Signs with the purpose of messages. */
kd_err mail_sign_outbound(const struct mail_keys *k, const struct dime_source *m,
                          const struct mail_outbound *in,
                          struct mail_signed *out) KD_MUST_USE;

/* --- OpenEnvelope --- */

/* Where something came from, and the organizational signet that was named with it,
 * which the caller has found to hold (dime_org_verify) and to be that domain's.
 * Whether it is the domain's in truth, keyd cannot know: only that the author meant
 * it. */
struct mail_inbound {
    struct kd_slice origin; /* a domain: MAIL */
    const struct dime_signet *signet;
    const uint8_t *origin_core, *origin_full; /* its fingerprints, 64 octets each */
    uint64_t max;                             /* octets of the object */
};

/* At least as many keys as work is done for under a foreign signet and an object of n
 * octets, seen in the signet's beginning alone (MAIL_SIGNET_HEAD octets are enough), of
 * which nothing was checked: for metering strangers before any work is done. */
enum { MAIL_SIGNET_HEAD = 2400 };
size_t mail_keys_at_most(struct kd_slice signet, uint64_t n);

struct mail_opened {
    bool key_used;
    enum dime_flaw flaw;
    /* SHA-256 of the chunks 2 and 5 as they are in the message; if key_used. */
    uint8_t digest[MAIL_SHA256_SIZE];
    /* 248 and 249, which are noted only (D-118). On KD_OK; else NOT_ASKED. */
    enum dime_message_verdict metadata, display;
    /* The recipient, as chunk 5 names him. On KD_OK; else empty and zeros. */
    size_t address_n;
    char address[DIME_IDENTIFIER_MAX + 1];
    uint8_t address_fp[MAIL_FP_SIZE];
};

/* 255 by one of the signet's keys for messages; then chunk 5 is opened, whose Origin is
 * origin and Origin-Signet the core or full fingerprint of this very signet (D-088).
 * Whether the recipient is ours is for the caller to see. */
kd_err mail_open_inbound(const struct mail_keys *k, const struct dime_source *m,
                         const struct mail_inbound *in,
                         struct mail_opened *out) KD_MUST_USE;

/* --- OpenBounce --- */

struct mail_bounced {
    struct mail_inbound from; /* the bouncing domain and its signet */
    /* Encryption keys that the returned message may have been for, the first the one
     * that the bounce is for (k->opener is not looked at). All are tried. */
    const struct kd_key_id *openers;
    size_t n_openers;
    /* Keys under which we can have signed it: any but revoked ones. */
    const uint8_t (*signers)[DIME_ED25519_KEY_SIZE];
    size_t n_signers;
};

struct mail_bounce {
    bool key_used;
    enum dime_flaw flaw;
    /* SHA-256 of the chunks that were opened, as they are: 2 and 4 of the returned
     * part, 2 and 6 of the bounce; if key_used. */
    uint8_t digest[MAIL_SHA256_SIZE];
    /* On KD_OK; else empty and zeros. */
    enum dime_return part;
    uint16_t klass, subject, detail;
    int64_t time; /* UNIX */
    uint8_t message[MAIL_FP_SIZE];
    uint8_t author_fp[MAIL_FP_SIZE];
    size_t author_n;
    char author[DIME_IDENTIFIER_MAX + 1];
};

/* The bounce's 255 by a key of the bouncing domain: readable, so before any key of ours
 * is used. Then the returned part's own signature by one of ours, and only then its
 * chunk 4, whose Destination is the bouncing domain, and the report, which is by the
 * key that made 255 and names the same domain and part (T-OP-16). Destination-Signet is
 * not looked at: the domain may have changed its signet since. */
kd_err mail_open_bounce(const struct mail_keys *k, const struct dime_source *b,
                        const struct mail_bounced *in,
                        struct mail_bounce *out) KD_MUST_USE;

/* --- MakeBounce --- */

struct mail_to_bounce {
    struct mail_inbound from; /* of the message that bounces */
    struct kd_slice domain;   /* ours */
    enum dime_return part;
    uint16_t klass, subject, detail; /* RFC 3463 */
    int64_t time;                    /* UNIX */
};

struct mail_made_bounce {
    struct mail_opened opened; /* key_used, flaw and digest are of interest */
    /* SHA-256 of what the report's signature covers, and 255. On KD_OK. */
    uint8_t digests[2][MAIL_SHA256_SIZE];
};

/* Opens the message as mail_open_inbound does, so that nobody gets our name on a bounce
 * of what was not for us, then appends the bounce (object 1931) to octets.
 * KD_NOT_FOUND: the message has no signature for that part, or no good one;
 * KD_TOO_LARGE without a flaw: the part is larger than can be returned; return another
 * part. Holds the object in memory. */
kd_err mail_make_bounce(const struct mail_keys *k, const struct dime_source *m,
                        const struct mail_to_bounce *in, struct mail_made_bounce *out,
                        struct kd_buf *octets) KD_MUST_USE;

/* --- SealNaked --- */

struct mail_naked {
    bool key_used;
    enum dime_flaw flaw;
    uint8_t signer[DIME_ED25519_KEY_SIZE]; /* the one-time key; unless flaw */
    uint8_t organization[DIME_SIG_SIZE];   /* 255, readable. On KD_OK of the seal */
    uint8_t digest[MAIL_SHA256_SIZE];      /* of what it covers; the same */
};

/* Reads naked mail that is to be sealed: whole, and its 255 64 zero octets, else
 * KD_INVALID. Uses no key. The caller asks whether the one-time key is a key of
 * anybody's, which it must not be (GW-16). */
kd_err mail_look_at_naked(const struct dime_source *m, uint64_t max,
                          struct mail_naked *out) KD_MUST_USE;

/* The same, and signs. signer: what the caller asked about; KD_INVALID if the mail's is
 * another one. */
kd_err mail_seal_naked(const struct mail_keys *k, const struct dime_source *m,
                       uint64_t max, const uint8_t signer[DIME_ED25519_KEY_SIZE],
                       struct mail_naked *out) KD_MUST_USE;

#endif
