/* Writes D/MIME messages chunk by chunk for tests, right and wrong ones, encrypted and
 * signed as asked. Knows the format by itself: nothing here uses the library's code for
 * chunks, keyslots, payloads or signatures. The people are those of the specification's
 * vectors; their encryption keys' scalars follow from texts. */
#ifndef KEYD_TESTS_DMW_H
#define KEYD_TESTS_DMW_H

#include "sg.h"

#include <dime/kek.h>

/* A chunk's key; iv first, as struct dime_chunk_key has it. */
struct dmw_key {
    uint8_t iv[16];
    uint8_t key[32];
};

struct dmw_person {
    uint8_t scalar[32], enc[33];
    struct dime_kek kek; /* for messages of this ephemeral key */
};

struct dmw_mark {
    uint8_t type;
    size_t at, slots, end; /* offsets: header, first slot, behind */
    struct dmw_key key;
};

enum { DMW_CHUNKS_MAX = 600, DMW_TREE_LEGACY = 1 };

struct dmw {
    struct kd_buf out;
    uint64_t seed; /* of the next random octets; a number of the test's gives another
                      message */
    struct dmw_person people[DIME_ACTOR_COUNT];
    struct dmw_mark chunks[DMW_CHUNKS_MAX];
    size_t n;
};

/* What is left zero is as in a good chunk of USER1. */
struct dmw_chunk {
    uint8_t type, flags;
    struct kd_slice data;
    uint32_t padding;         /* octets; rounded up to the next that align */
    const struct sg_pair *by; /* signer */

    /* lies */
    bool has_length, has_octet;
    uint32_t length;        /* in the head */
    uint8_t octet;          /* pad length in the head, and the padding itself */
    uint32_t spoil_padding; /* 1: the first octet of the padding is another, ... */
    uint32_t spoil_signed;  /* 1: after signing, the first octet behind the
                               signature, ... */
    bool spoil_signature;
    struct kd_slice plain; /* all of the payload, in place of all above but the type */
};

/* Which actor a key belongs to is this order: author USER1, origin example.com,
 * destination example.org, recipient BOB. */
void dmw_begin(struct dmw *w, uint64_t seed);
void dmw_put(struct dmw *w, const struct dmw_chunk *c);
void dmw_raw(struct dmw *w, struct kd_slice chunk); /* as it is; not in w->chunks */

/* A signature chunk over what is there. by NULL: 64 zero octets. */
void dmw_sign(struct dmw *w, uint8_t type, const struct sg_pair *by, unsigned how);

/* Writes the header's length. The octets are w's. */
struct kd_slice dmw_end(struct dmw *w);
void dmw_free(struct dmw *w);

/* The bare plaintext of a payload: signed, padded, spoilt as asked. free() it. */
struct kd_slice dmw_plain(const struct dmw_chunk *c);

/* AES-256-CBC without padding. */
void dmw_seal(const struct dmw_key *key, struct kd_slice plain, uint8_t *out);

/* The chunk of that type (the nth from 0). */
const struct dmw_mark *dmw_find(const struct dmw *w, uint8_t type, size_t nth);

/* A whole message, of what is not said as MSG of the vectors. */
struct dmw_recipe {
    uint64_t seed;
    const struct dmw_chunk *contents; /* NULL: one display chunk */
    size_t n_contents;
    const struct dmw_chunk *instead; /* of the chunk of its type among 4, 5, 33, 34 */
    bool no_headers, no_bounces, legacy_tree, placeholders;
    const struct sg_pair *tree_by, *author_by, *org_by; /* USER1, USER1, the SOK */
};
struct kd_slice dmw_message(struct dmw *w, const struct dmw_recipe *r);

/* The texts of MSG. */
const char *dmw_text(uint8_t type);

#endif
