/* Hosts of PKCS#11 tokens that say what an input says: the pool's own questions,
 * answered as they should be or not, late, or never. Where the input has ended they are
 * honest. They have the keys: what does right is known here, and so is which PIN was
 * tried when. */
#ifndef KEYD_TESTS_P11_LIAR_H
#define KEYD_TESTS_P11_LIAR_H

#include <keyd/base/cur.h>
#include <keyd/p11/p11.h>

enum { LIAR_TOKENS = 2, LIAR_KEYS = 16, LIAR_FDS = 512 };

struct liar_key {
    enum kd_key_alg alg;
    uint8_t secret[32], public_key[33];
    size_t n;
};

struct liar_token {
    uint8_t pin; /* in its file */
    bool is_sealed;
    uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE]; /* as logins went */
    /* As they were stored, and what is to be. */
    uint8_t stored_good[KD_PIN_TAG_SIZE], stored_tried[KD_PIN_TAG_SIZE];
    bool stores;
    unsigned stores_after;
    struct p11_note note;
    unsigned right[LIAR_KEYS]; /* so often the key did right */
};

struct liar {
    struct p11 *pool;
    size_t n_tokens;
    struct kd_cur in;
    bool is_honest; /* whatever the input says */
    bool is_loose;  /* answers came before their questions: nobody knows what counts */
    struct liar_key keys[LIAR_KEYS];
    size_t n_keys;
    struct liar_token tokens[LIAR_TOKENS];
};
extern struct liar liar;

/* Of the input; 0 stands for what is right. */
uint8_t liar_octet(void);

/* One of a secret. */
struct liar_key *liar_add_key(enum kd_key_alg alg, const uint8_t secret[32]);
/* LIAR_KEYS: none. */
size_t liar_key_of(struct kd_slice public_key);

/* What the vault's main thread and the supervisor do with the pool's notes. */
void liar_carry(void);

/* A process for that number is there, in place of the one before. */
void liar_link(unsigned host);
/* It ended. */
void liar_kill(unsigned host);
/* All did; nothing is left open here. */
void liar_end(void);

#endif
