/* The one interface to keys, whatever holds them. Nobody above asks which backend it
 * is; what a backend cannot do it says in its capabilities.
 *
 * The rules about keys stand here, once for all backends: which role signs what and
 * how such a message starts (uses.def, purposes.def), in which state (states.def),
 * and that nothing unverified leaves. A backend only computes (backend.h).
 *
 * Keys are named by their id, which is made of algorithm and public key: never by a
 * slot, a handle or a label, which vendors renumber. Everything but new and free may
 * be called from several threads at once. */
#ifndef KEYD_TOKEN_TOKEN_H
#define KEYD_TOKEN_TOKEN_H

#include <dime/parts.h>
#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    KD_TOKEN_ID_SIZE = 16,
    KD_KEY_DOMAIN_MAX = 254, /* D-052 */
    KD_KEY_PUBLIC_MAX = 1024,
    KD_SIG_MAX = 512,
    KD_ECDH_SIZE = 32,
    KD_PROBE_SIZE = 42,
    KD_SIGN_DIGEST_SIZE = 32,
    KD_SIGN_AT_ONCE = 3,
};

/* Permission bits: those of signet field 2 (D-034). */
enum {
    KD_PERM_SIGNET = 1,
    KD_PERM_MESSAGE = 2,
    KD_PERM_CERTIFICATE = 4,
    KD_PERM_SOFTWARE = 8,
};

enum kd_key_alg {
#define KD_ALGORITHM(code, number, name, pmin, pmax, secret, sig, soft) code = (number),
#include <keyd/token/algorithms.def>
#undef KD_ALGORITHM
};
#define KD_ALG_BIT(alg) (1u << (alg))

enum kd_key_role {
#define KD_ROLE(code, number, name, algs, allowed, needed, domain, text)               \
    code = (number),
#include <keyd/token/roles.def>
#undef KD_ROLE
};

enum kd_key_state {
#define KD_STATE(code, number, name, signs, agrees, probed, secret, next)              \
    code = (number),
#include <keyd/token/states.def>
#undef KD_STATE
};
#define KD_STATE_BIT(state) (1u << (state))

enum kd_sign_purpose {
#define KD_PURPOSE(code, name, start, next_at, next, min, max, always) code,
#include <keyd/token/purposes.def>
#undef KD_PURPOSE
    KD_SIGN_COUNT
};

struct kd_key_id {
    uint8_t octets[KD_TOKEN_ID_SIZE];
};

/* All that is public about a key. */
struct kd_key_info {
    struct kd_key_id id;
    enum kd_key_role role;
    enum kd_key_alg alg;
    enum kd_key_state state;
    uint8_t permissions;
    int64_t created_ms;
    size_t domain_size;
    char domain[KD_KEY_DOMAIN_MAX + 1]; /* with a NUL; empty for audit keys */
    size_t public_size;
    uint8_t public_key[KD_KEY_PUBLIC_MAX]; /* Ed25519 32, secp256k1 33 (02|03, x) */
};

enum { KD_PLACES_MAX = 2, KD_PLACE_ID_MAX = 32 };

/* Where a device (device.h) has a key. */
struct kd_place {
    uint8_t token; /* in the order of the key store's table */
    uint8_t id_size;
    uint8_t id[KD_PLACE_ID_MAX]; /* CKA_ID */
};

/* What a new key shall be. domain: lower-case A-labels. */
struct kd_key_spec {
    enum kd_key_role role;
    enum kd_key_alg alg;
    uint8_t permissions;
    struct kd_slice domain;
    /* Names of the tokens that are to have it; none: the key store itself. Two take the
     * same secret in, none makes one for two. */
    struct kd_slice tokens[KD_PLACES_MAX];
    bool is_sealed; /* the secret in the key store, under a key of the token (D-084) */
    uint16_t bits;  /* RSA: 2048, 3072, 4096; else 0 */
};

/* Who has a key's secret. */
enum kd_holding { KD_OWN, KD_HELD, KD_SEALED_UNDER };
/* What is attested about a held key. */
enum kd_held_flags {
    KD_HELD_MADE_INSIDE = 1,       /* by our order, in the token; CKA_LOCAL */
    KD_HELD_NEVER_EXTRACTABLE = 2, /* as the token says */
    KD_HELD_IMPORTED = 4,          /* the secret has been outside */
    KD_HELD_ADOPTED = 8            /* it was found there */
};
struct kd_held {
    enum kd_holding holding;
    uint8_t flags;
    uint8_t n_places; /* of a sealed key: of the keys it is sealed under */
    struct kd_place places[KD_PLACES_MAX];
};

enum {
    KD_TOKEN_GENERATES = 1,
    KD_TOKEN_IMPORTS = 2,
    KD_TOKEN_SETS_STATE = 4,
    KD_TOKEN_VERIFY_ALL = 8, /* what it signs is never released unverified */
};

struct kd_token_caps {
    const char *name;   /* "soft", ... */
    unsigned flags;     /* KD_TOKEN_* */
    unsigned algs;      /* KD_ALG_BIT of those it handles */
    size_t max_message; /* octets it can sign in one go (D-084) */
    size_t max_keys;
};

struct kd_token_sig {
    size_t n;
    uint8_t octets[KD_SIG_MAX];
};

struct kd_token;

struct kd_token_caps kd_token_caps(const struct kd_token *t);

/* Verify one in `every` of the signatures whose purpose does not ask for all; 1, the
 * start value, is all of them. Counted per thread. Never less than every 1,000th. */
void kd_token_set_verify(struct kd_token *t, unsigned every);

/* Faults stopped so far: copies of a secret that differ, signatures that do not verify.
 * Anything but 0 is for an operator to look at. */
uint64_t kd_token_faults(const struct kd_token *t);

/* The list; positions hold as long as nothing is generated or imported. The public
 * part stays readable when sealed. KD_NOT_FOUND past the end. */
size_t kd_token_count(struct kd_token *t);
kd_err kd_token_at(struct kd_token *t, size_t at, struct kd_key_info *out) KD_MUST_USE;
kd_err kd_token_get(struct kd_token *t, const struct kd_key_id *id,
                    struct kd_key_info *out) KD_MUST_USE;

/* KD_OK if a key with this metadata may sign for the purpose, else KD_DENIED. Pure. */
kd_err kd_key_allows(const struct kd_key_info *key,
                     enum kd_sign_purpose purpose) KD_MUST_USE;

/* KD_OK if a key with this metadata may agree on secrets (ECDH), else KD_DENIED. Pure.
 */
kd_err kd_key_agrees(const struct kd_key_info *key) KD_MUST_USE;

/* KD_OK if a message may be signed for the purpose by its start and size, else
 * KD_INVALID. Pure. */
kd_err kd_purpose_fits(enum kd_sign_purpose purpose,
                       struct kd_slice message) KD_MUST_USE;

/* Signs. *out is written only with a signature good for release.
 *   KD_NOT_FOUND    no such key          KD_DENIED     role, bits or state forbid it
 *   KD_INVALID      not such a message   KD_TOO_LARGE  beyond the backend's limit
 *   KD_SEALED       locked               KD_FAILED     a fault; nothing is released
 *   KD_UNAVAILABLE, KD_TIMEOUT  the backend cannot now
 * For KD_SIGN_DKIM the message is the SHA-256 (RFC 6376, RFC 8463, 3). */
kd_err kd_token_sign(struct kd_token *t, const struct kd_key_id *id,
                     enum kd_sign_purpose purpose, struct kd_slice message,
                     struct kd_token_sig *out) KD_MUST_USE;

/* What is signed in pieces: parts in memory and in sealed memfds (dime/parts.h), in
 * order, with up to three signatures, all by one key and for one purpose, over the
 * octets from the start to each end. Signatures that share octets share their hashing:
 * one pass for all nonces and digests, then two for each signature. */
struct kd_token_text {
    enum kd_sign_purpose purpose;
    const struct dime_stream_part *parts;
    size_t n_parts;
    uint64_t max; /* octets of all parts */

    /* Ascending; the last one is where the parts end. */
    unsigned n_ends;
    uint64_t ends[KD_SIGN_AT_ONCE];

    /* Called from a step with each signature but the last, once it is good for release:
     * octets behind the last end but one may depend on it, and are written before it
     * returns. Its error ends the stream. NULL: nobody asks. */
    kd_err (*made)(void *ctx, unsigned which, const struct kd_token_sig *sig);
    void *ctx;
};

/* Signs in steps, so that one thread can take turns between several:
 *
 *   err = kd_token_sign_begin(t, &id, &text, &s);
 *   for (bool more = true; err == KD_OK && more;)
 *       err = kd_token_sign_step(s, budget, &more);
 *   if (err == KD_OK)
 *       err = kd_token_sign_end(s, sigs, digests);
 *   kd_token_sign_free(s);
 *
 * No lock is held between the steps and while a step hashes. The secret is only looked
 * at where a nonce is begun and a signature is finished; there, and at the start of
 * each step, the key has to be what it was: a stream whose token was sealed meanwhile
 * ends with KD_SEALED, one whose key was retired, revoked or destroyed with KD_DENIED,
 * and what it had is wiped. Neither waits for a stream. The stream keeps the token's
 * memory (not its secrets) until it is freed, so kd_token_free may come first. One
 * stream is used by one thread at a time.
 *
 * text is copied; its parts are borrowed until the stream is freed, and no octet below
 * the last end but one may change from begin on, none at all from the last call of
 * `made` on: what reads differently a second time gives the key away. Therefore a file
 * has to carry all seals (KD_INVALID), and signatures over files are always read again
 * and verified, those over memory as kd_token_sign does it.
 *
 * Errors as kd_token_sign's; KD_TOO_LARGE past max, KD_MALFORMED for a range beyond a
 * file's end, KD_IO, KD_NOMEM, and KD_INVALID for ends out of order. */
struct kd_token_stream;
kd_err kd_token_sign_begin(struct kd_token *t, const struct kd_key_id *id,
                           const struct kd_token_text *text,
                           struct kd_token_stream **out) KD_MUST_USE;

/* Reads up to about budget octets (not 0), at least 512 for each part; *more: call
 * again. Errors stay. A backend that signs only what it has whole takes as long as it
 * takes. */
kd_err kd_token_sign_step(struct kd_token_stream *s, size_t budget,
                          bool *more) KD_MUST_USE;

/* All signatures, in the order of the ends, and SHA-256 of what each covers, taken from
 * the reading that made the nonces. KD_FAILED before the end. Either may be NULL. */
kd_err kd_token_sign_end(const struct kd_token_stream *s, struct kd_token_sig *sigs,
                         uint8_t (*digests)[KD_SIGN_DIGEST_SIZE]) KD_MUST_USE;

/* Wipes and releases; accepts NULL, at any time. */
void kd_token_sign_free(struct kd_token_stream *s);

/* ECDH: z is the plain x coordinate (D-093). z must lie in kd_secret memory, else
 * KD_FAILED; it belongs to the caller, never leaves the vault, and is wiped on
 * failure. Only a canonical compressed point (D-090) gets as far as a key: anything
 * else is KD_INVALID, which says nothing about the token's health. Errors as above. */
kd_err kd_token_ecdh(struct kd_token *t, const struct kd_key_id *id,
                     struct kd_slice peer, uint8_t z[KD_ECDH_SIZE]) KD_MUST_USE;

/* Works the key for real: signs fresh octets and verifies them, or agrees with a fresh
 * key pair and compares. That, not a status call, is health. KD_DENIED for a key in a
 * state that has nothing to probe. */
kd_err kd_token_probe(struct kd_token *t, const struct kd_key_id *id) KD_MUST_USE;

/* Makes a key in state pre-active. Whoever keeps the token's octets stores them
 * before activating the key. KD_UNSUPPORTED by capability or algorithm, KD_INVALID for
 * a spec that contradicts roles.def, KD_BUSY when full. */
kd_err kd_token_generate(struct kd_token *t, const struct kd_key_spec *spec,
                         struct kd_key_info *out) KD_MUST_USE;

/* The same with a secret from elsewhere (Ed25519 seed, secp256k1 scalar, 32 octets; in
 * secret memory, the caller wipes it). KD_CONFLICT if the token has the key in any
 * role or state, KD_INVALID for a scalar out of range. */
kd_err kd_token_import(struct kd_token *t, const struct kd_key_spec *spec,
                       struct kd_slice secret, struct kd_key_info *out) KD_MUST_USE;

/* Making keys is slow where a device does it: so in three steps, the first of which
 * holds no lock and blocks for seconds. kd_token_generate and kd_token_import are all
 * three for keys of the store's own (KD_UNSUPPORTED else).
 *
 *   err = kd_token_make(t, &spec, secret, &made);      on a worker; secret empty: new
 *   err = kd_token_take(t, made, &info);               alone; then the store is written
 *   kd_token_drop(made);                               what was not taken is unmade;
 * slow
 *
 * A taken key whose store was then not written: kd_soft_return gives it back to `made`,
 * so drop comes last in every case. */
struct kd_made;
kd_err kd_token_make(struct kd_token *t, const struct kd_key_spec *spec,
                     struct kd_slice secret, struct kd_made **out) KD_MUST_USE;
kd_err kd_token_take(struct kd_token *t, struct kd_made *made,
                     struct kd_key_info *out) KD_MUST_USE;
void kd_token_drop(struct kd_made *made); /* accepts NULL */

/* Where a key's secret is. */
kd_err kd_token_held(struct kd_token *t, const struct kd_key_id *id,
                     struct kd_held *out) KD_MUST_USE;

/* What can be signed with a key as it is now: octets in one go; 0 for one that agrees.
 */
size_t kd_token_key_limit(struct kd_token *t, const struct kd_key_id *id);

/* Whether asking for the key makes sense now, before any work is put into it: KD_OK;
 * KD_UNAVAILABLE, KD_BUSY of a device that is away or makes keys. Never blocks. */
kd_err kd_token_usable(struct kd_token *t, const struct kd_key_id *id) KD_MUST_USE;

/* Which devices work with these keys could wait for: bit n is place.token n; 0: none,
 * it only computes. Never blocks. */
unsigned kd_token_waits(struct kd_token *t, const struct kd_key_id *ids, size_t n);

/* After a verdict that is final if what was derived with the key was right: KD_OK if a
 * trial that began since agrees, at once for a key of our own. Blocks. */
kd_err kd_token_confirm(struct kd_token *t, const struct kd_key_id *id) KD_MUST_USE;

/* Until when this thread's calls may wait for a device (CLOCK_MONOTONIC, ms); 0, the
 * start value: as long as the device's own limits. */
void kd_token_set_until(int64_t ms);

/* One step of a key's life (states.def): activate, retire (KD_KEY_RETAINED), revoke,
 * destroy. KD_DENIED for a step that is not in the table. */
kd_err kd_token_set_state(struct kd_token *t, const struct kd_key_id *id,
                          enum kd_key_state state) KD_MUST_USE;

/* Wipes every secret; what needs one answers KD_SEALED from now on. Waits for running
 * operations. There is no way back but opening anew. */
void kd_token_seal(struct kd_token *t);

/* Seals and releases, as soon as no stream holds it; accepts NULL. */
void kd_token_free(struct kd_token *t);

/* The id of a public key: the first 16 octets of SHA-256 of algorithm, public key. */
struct kd_key_id kd_key_id(enum kd_key_alg alg, struct kd_slice public_key);

/* KD_OK if role, algorithm, bits and domain go together, else KD_INVALID. */
kd_err kd_key_spec_check(const struct kd_key_spec *spec) KD_MUST_USE;

/* Names as in the tables; "?" for what is not there. */
const char *kd_alg_name(enum kd_key_alg alg);
const char *kd_key_role_name(enum kd_key_role role);
const char *kd_key_role_text(enum kd_key_role role);
const char *kd_state_name(enum kd_key_state state);
const char *kd_purpose_name(enum kd_sign_purpose purpose);

#endif
