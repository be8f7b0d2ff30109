/* The software token and its key store, versions 1 and 2.
 *
 * WHAT IT IS
 *
 * A key store is one run of octets: a public header, sealed secrets, an authenticator.
 * The vault opens it into a token (token.h, backend "soft"), changes the token, and
 * asks for new octets, which it hands to the ledger to write. No file I/O here.
 *
 * Every secret is sealed under a random 256-bit master key. The master key is wrapped
 * once per slot, under a key made from a passphrase or from a credential file: whoever
 * has the secret of one slot opens the store. Parsing needs no secret and shows all
 * that is public.
 *
 * LAYOUT (integers big endian, sizes in octets; nothing between, nothing after; what is
 * marked 2 is there in version 2 only)
 *
 *   header
 *        8  magic "KEYDSTOR"
 *        2  version, 1 or 2
 *        8  generation, from 1; grows with every serialising
 *       16  instance id; random, for the life of the store
 *        1  number of slots, 1..8
 *      106  each slot
 *             1  type: 1 passphrase, 2 credential (3, share, is reserved)
 *            16  salt; also the slot's name, so unique in the store
 *             8  created, ms since 1970
 *             1  KDF: 1 Argon2id 1.3 with one lane (passphrase), 0 (credential)
 *             4  passes, 3..10; 0 without KDF
 *             4  memory in KiB, 262144..1048576; 0 without KDF
 *            24  nonce
 *            48  the master key, wrapped: ciphertext 32, tag 16
 *        2  size of the policy area, 0..32768
 *        .  policy area: authenticated, opaque here (operators, quorum,
 *           single-operator)
 *   2    1  number of tokens, 1..4
 *   2    .  each token that was adopted
 *             1  size of its name, 1..31
 *             .  name: a-z 0-9 . _ -, unique in the store
 *             1  size of the serial number, 1..16
 *             .  serial number, without the padding; no control characters
 *             1  size of the model, 0..16
 *             .  model, likewise
 *            16  tag of the PIN that was good, 16 tag of the one that was tried last
 *                (p11.h); zeros: none
 *        2  number of keys, 0..256
 *        .  each key
 *             1  role            (roles.def)
 *             1  algorithm       (algorithms.def)
 *             1  state           (states.def)
 *             1  permission bits
 *             8  created, ms since 1970
 *             1  size of the domain, 0..254
 *             .  domain, lower-case A-labels
 *             2  size of the public key
 *             .  public key
 *   2         1  who has the secret: 0 the store, 1 tokens, 2 the store, under keys of
 *                tokens
 *   2         1  what is attested (enum kd_held_flags); 0 but for 1
 *   2         1  number of places: 0 for 0, else 1..2
 *   2         .  each place
 *                  1  token, in the order above; the second place is in another
 *                  1  size of the id, 1..32; 16 for 2
 *                  .  CKA_ID there; for 2 the id of the key it is sealed under
 *   sealed
 *        .  each key that is not destroyed, in the header's order
 *            72  who has the secret is 0:
 *                  24  nonce, fresh at every serialising
 *                  48  seed or scalar: ciphertext 32, tag 16
 *             0  1
 *           121  each place of a 2:
 *                  24  nonce, fresh at every serialising
 *                  97  ciphertext 81, tag 16 of
 *                        33  ephemeral key
 *                        48  seed or scalar under the token's key: ciphertext 32, tag
 * 16 authenticator 32  over everything before
 *
 * Version 2 has at least one token: a store without is written as version 1, so that it
 * opens where version 2 is not known. Keys of role `seal` and RSA keys are always held
 * by tokens.
 *
 * At most 1 MiB in all. The id of a key (16 octets) is computed, never stored.
 *
 * KEYS, with H = BLAKE2b, keyed where a key is named, and master the 256-bit key:
 *
 *   slot key, passphrase   Argon2id(passphrase, salt, passes, memory), 32 octets
 *   slot key, credential   H-256(key = H-512(key = "keyd credential v1", credential),
 *                                instance | salt)
 *   wrapped master         XChaCha20-Poly1305(slot key, nonce, master,
 *                            ad = "keyd slot v1" | instance | slot up to the nonce)
 *   sealing key            H-256(key = master, "keyd seal v1" | instance)
 *   authenticator key      H-256(key = master, "keyd store v1" | instance)
 *   sealed secret          XChaCha20-Poly1305(sealing key, nonce, secret,
 *                            ad = whole header | id of the key)
 *   authenticator          H-256(key = authenticator key, everything before)
 *
 * and for what is sealed under a token's key S (D-084), with e the ephemeral key:
 *
 *   Z                      ECDH(e, S), which only the token computes from public e
 *   token's sealing key    H-256(key = Z, "keyd token seal v1" | instance | S | e)
 *   seed or scalar         XChaCha20-Poly1305(token's sealing key, nonce 0, secret,
 *                            ad = instance | role | permissions | domain | id of the
 *                            key)
 *   tags of PINs           under H-256(key = master,
 *                            "keyd pin v1" | instance | name of the token)
 *
 * So a secret opens only in the very header, generation included, that it was sealed
 * for; what is not a secret is covered by the authenticator, also when there are no
 * keys. Slots are bound to the instance but not to the generation: nobody has every
 * slot's secret when a store is written. An older store is thus a good store; that it
 * is older shows in its generation, which the audit log also knows.
 *
 * LIMITS. Memory and passes are checked when parsing, before anything is allocated:
 * a store that asks for 64 GiB is refused, as is one that asks for less than Argon2id
 * "moderate". Parsing allocates nothing.
 *
 * SECRETS. Passphrase and credential come in and master, slot keys, seeds and scalars
 * stay in kd_secret memory. For each key it takes 256 octets there, for a token 64 more
 * and while opening 256. Argon2's own working memory is libsodium's: anonymous pages,
 * mapped for the one call and unmapped after it; the process must not be dumpable or
 * swapped. A passphrase of n slots may be tried n times, 0.6 s each: a bounded wait,
 * but not one for an event loop.
 *
 * SYSTEM CALLS after kd_secret_setup: getrandom, futex, and what malloc makes (brk,
 * mmap of anonymous memory without exec, munmap, mremap, madvise); Argon2 mmap
 * (PRIVATE, ANONYMOUS, POPULATE, read and write) and munmap. No others.
 *
 * Removing a slot does not change the master key: an old copy of the store still opens
 * with the removed secret. Against that only new keys help. */
#ifndef KEYD_TOKEN_SOFT_STORE_H
#define KEYD_TOKEN_SOFT_STORE_H

#include <keyd/base/buf.h>
#include <keyd/token/device.h>

enum {
    KD_STORE_MAX = 1024 * 1024,
    KD_STORE_SLOTS_MAX = 8,
    KD_STORE_KEYS_MAX = 256,
    KD_STORE_POLICY_MAX = 32768,
    KD_STORE_INSTANCE_SIZE = 16,
    KD_STORE_SALT_SIZE = 16,
    KD_STORE_NONCE_SIZE = 24,
    KD_STORE_WRAPPED_SIZE = 48,
    KD_STORE_TAG_SIZE = 32,

    KD_STORE_PASSES_MIN = 3,
    KD_STORE_PASSES_MAX = 10,
    KD_STORE_KIB_MIN = 256 * 1024,
    KD_STORE_KIB_MAX = 1024 * 1024,

    KD_PASSPHRASE_MIN = 8,
    KD_PASSPHRASE_MAX = 1024,
    KD_CREDENTIAL_MIN = 32,
    KD_CREDENTIAL_MAX = 4096,

    KD_SOFT_MESSAGE_MAX = 256 * 1024 * 1024,
};

enum kd_slot_type {
    KD_SLOT_PASSPHRASE = 1,
    KD_SLOT_CREDENTIAL = 2,
};

struct kd_store_slot {
    enum kd_slot_type type;
    uint8_t salt[KD_STORE_SALT_SIZE];
    int64_t created_ms;
    uint32_t passes;
    uint32_t kib;
    uint8_t nonce[KD_STORE_NONCE_SIZE];
    uint8_t wrapped[KD_STORE_WRAPPED_SIZE];
};

/* A token that was adopted: the store's keys may be in it. */
struct kd_store_token {
    char name[KD_TOKEN_NAME_MAX + 1]; /* as in the configuration */
    char serial[KD_TOKEN_SERIAL_MAX + 1];
    char model[KD_TOKEN_MODEL_MAX + 1];
    uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE]; /* zeros: none */
};

/* A key as the header has it; slices borrow from the parsed octets. */
struct kd_store_key {
    enum kd_key_role role;
    enum kd_key_alg alg;
    enum kd_key_state state;
    uint8_t permissions;
    int64_t created_ms;
    struct kd_slice domain;
    struct kd_slice public_key;
    struct kd_held held;
};

/* What a store shows without a secret (about 50 KiB; not for small stacks). */
struct kd_store {
    uint64_t generation;
    uint8_t instance[KD_STORE_INSTANCE_SIZE];
    size_t n_slots;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    struct kd_slice policy;
    size_t n_tokens; /* 0: version 1 */
    struct kd_store_token tokens[KD_TOKENS_MAX];
    size_t n_keys;
    struct kd_store_key keys[KD_STORE_KEYS_MAX];
    struct kd_slice header; /* whole, from the magic on */
    struct kd_slice sealed;
    struct kd_slice tag;
};

/* Reads the octets, which must outlive *out. Nothing in it is authentic before the
 * store has been opened. KD_MALFORMED; KD_TOO_LARGE for a count, size or KDF parameter
 * over its ceiling; KD_INVALID for one below its floor, an impossible key, a repeated
 * key or salt; KD_UNSUPPORTED for another version, slot type or algorithm. *out is
 * scratch when it fails. */
kd_err kd_store_parse(struct kd_slice octets, struct kd_store *out) KD_MUST_USE;

/* Writes the header again from its fields; equal to out->header for what was parsed. */
void kd_store_put_header(const struct kd_store *store, struct kd_buf *out);

/* The secret of a slot. Passphrase: 8 to 1,024 octets as typed, no normalisation (the
 * caller has cut the line end). Credential: 32 to 4,096 random octets; not words, it
 * is not stretched. passes and kib: for a new passphrase slot, 0 for the floor;
 * ignored when opening. The octets are best kept in kd_secret memory; not copied. */
struct kd_slot_secret {
    enum kd_slot_type type;
    struct kd_slice octets;
    uint32_t passes;
    uint32_t kib;
};

/* A new, empty token: new instance id and master key, generation 0, one slot.
 * KD_INVALID for a slot secret out of bounds, KD_NOMEM also when secret memory is
 * used up. */
kd_err kd_soft_create(const struct kd_slot_secret *first,
                      struct kd_token **out) KD_MUST_USE;

/* Opens a store. Tries every slot of the secret's type. The public key of every secret
 * is derived anew and the pair tried before the token exists.
 *   KD_DENIED  no slot takes the secret (wrong, or the slot was altered; one answer)
 *   KD_INVALID the store was altered, or the slot secret is out of bounds
 *   KD_NOMEM   memory, secret memory, or Argon2's memory is not to be had
 *   and those of kd_store_parse. */
kd_err kd_soft_open(struct kd_slice octets, const struct kd_slot_secret *secret,
                    struct kd_token **out) KD_MUST_USE;

/* For a token just created: what came of the store before it. The generations go on,
 * and its keys are listed as destroyed, so that what they signed can still be verified
 * and none of them is taken in again; revoked ones are left out, since nothing they
 * signed is to be believed. The table of tokens goes on as well, without the tags of
 * PINs: where keys were held they still lie in the tokens, and only the tokens' own
 * tools remove them. No secret is read. The octets must be authentic: opened by
 * kd_soft_open. KD_INVALID for a token that has keys or was serialised; errors of
 * kd_store_parse. */
kd_err kd_soft_inherit(struct kd_token *t, struct kd_slice octets) KD_MUST_USE;

/* The functions below take only tokens made by the two above, else KD_UNSUPPORTED (0 or
 * zeros from those without an error). A sealed token still shows what is public; the
 * rest is KD_SEALED. A master key whose copies differ is KD_FAILED. */

/* The token as octets, with the next generation and fresh nonces, appended to out
 * (whose max is at least KD_STORE_MAX). The octets have been opened again and compared
 * before they are given. If they are then not stored, kd_soft_return makes the
 * generation free again; without that there is a gap in the generations. */
kd_err kd_soft_serialise(struct kd_token *t, struct kd_buf *out) KD_MUST_USE;

/* Where a token stands, to go back there when a change is not stored: keys and slots
 * made since are forgotten (those of kd_token_take go back to what made them); states,
 * places, the table of tokens and the generation are what they were. Not undone: slots
 * removed, the policy area, and that a secret was destroyed. Nobody else may change the
 * token in between. */
struct kd_soft_mark {
    uint64_t generation;
    size_t n_slots, n_keys, n_tokens;
    struct kd_store_token tokens[KD_TOKENS_MAX];
    uint8_t states[KD_STORE_KEYS_MAX];
    uint8_t n_places[KD_STORE_KEYS_MAX];
    uint8_t flags[KD_STORE_KEYS_MAX];
};
kd_err kd_soft_mark(struct kd_token *t, struct kd_soft_mark *out) KD_MUST_USE;
kd_err kd_soft_return(struct kd_token *t, const struct kd_soft_mark *mark) KD_MUST_USE;

uint64_t kd_soft_generation(struct kd_token *t);
void kd_soft_instance(struct kd_token *t, uint8_t out[KD_STORE_INSTANCE_SIZE]);

/* Devices. The store has a table of the tokens adopted, by name as in the
 * configuration; keys name them by their place in it. */
size_t kd_soft_tokens(struct kd_token *t, struct kd_store_token out[KD_TOKENS_MAX]);

/* The device of that name is there from now on, and told what it holds whenever that
 * changes (device.h, hold); right after opening. A name that the table does not have is
 * held nothing. The device outlives the token, or its sealing: from then on it is not
 * called. A name again is another device. KD_BUSY for a fifth, KD_INVALID for a name
 * that cannot be one, KD_NOMEM; what hold answers. */
kd_err kd_soft_attach(struct kd_token *t, const char *name,
                      struct kd_device *device) KD_MUST_USE;

/* Changes of the table; to be stored like others, undone by kd_soft_return. A token
 * that has keys is not changed for another (KD_CONFLICT); one that has none is, and
 * nothing is known of its PIN then. KD_CONFLICT: the same one (serial number and model)
 * was adopted under another name that has keys or a device. KD_INVALID: without a
 * serial number, or one with control characters; KD_BUSY: a fifth; set_tags:
 * KD_NOT_FOUND. */
kd_err kd_soft_adopt(struct kd_token *t, const char *name, const char *serial,
                     const char *model) KD_MUST_USE;
kd_err kd_soft_set_tags(struct kd_token *t, const char *name,
                        const uint8_t good[KD_PIN_TAG_SIZE],
                        const uint8_t tried[KD_PIN_TAG_SIZE]) KD_MUST_USE;

/* A held key is also in a second token, where it was looked for and tried (device.h,
 * look). place->token does not count, name does. KD_NOT_FOUND: no such key or token;
 * KD_CONFLICT: not a held key, or it is in that token; KD_BUSY: it is in two. */
kd_err kd_soft_add_place(struct kd_token *t, const struct kd_key_id *id,
                         const char *name, const struct kd_place *place,
                         uint8_t flags) KD_MUST_USE;

/* Opens what is sealed under keys of devices and not open yet; blocks. KD_OK: nothing
 * is left closed; else the first error, KD_FAILED for what does not open with what the
 * token derived. */
kd_err kd_soft_open_sealed(struct kd_token *t) KD_MUST_USE;

/* Slots. KD_BUSY when there are eight; KD_CONFLICT rather than removing the last one;
 * KD_NOT_FOUND. salt (may be NULL): the name of the new slot. Signing goes on while a
 * passphrase is stretched. */
kd_err kd_soft_add_slot(struct kd_token *t, const struct kd_slot_secret *secret,
                        uint8_t salt[KD_STORE_SALT_SIZE]) KD_MUST_USE;
kd_err kd_soft_remove_slot(struct kd_token *t,
                           const uint8_t salt[KD_STORE_SALT_SIZE]) KD_MUST_USE;
size_t kd_soft_slots(struct kd_token *t, struct kd_store_slot out[KD_STORE_SLOTS_MAX]);

/* The policy area; what it means is the vault's affair. Appended to out. */
kd_err kd_soft_policy(struct kd_token *t, struct kd_buf *out) KD_MUST_USE;
kd_err kd_soft_set_policy(struct kd_token *t, struct kd_slice policy) KD_MUST_USE;

#endif
