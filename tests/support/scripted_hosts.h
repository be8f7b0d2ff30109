/* The pool of PKCS#11 hosts with hosts that are threads of the test: they speak a
 * host's messages and do what the test says, so that states and races are driven
 * exactly. The test's own thread, or one made here, carries the pool's notes. */
#ifndef KEYD_TESTS_SCRIPTED_HOSTS_H
#define KEYD_TESTS_SCRIPTED_HOSTS_H

#include <keyd/p11/p11.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    SCRIPTED_KEYS = 4,
    SCRIPTED_PINS = 4,
    SCRIPTED_EVENTS = 256,
    SCRIPTED_RIGHT_PIN = 1,
    SCRIPTED_LARGE = 1 << 20, /* a message of at least so much is one */
};

struct scripted {
    struct p11 *p;
    struct kd_device *device;
    unsigned sessions;
    struct kd_device_key keys[SCRIPTED_KEYS]; /* Ed25519 */
    uint8_t secret[SCRIPTED_KEYS][64], public_key[SCRIPTED_KEYS][32];

    /* What hosts do. */
    _Atomic unsigned pin;     /* in the file; what it is the tag of */
    _Atomic unsigned missing; /* keys that are not found, a bit each */
    _Atomic unsigned quits;   /* hosts that end at the next occasion, a bit each */
    _Atomic int sign_ms, trial_ms, large_ms, tag_ms; /* before they answer */
    _Atomic int trial_in_large_ms; /* of a trial while a large message is signed */
    _Atomic int bad_trials;        /* so many do not hold */
    _Atomic int n_blank;           /* so many hosts find the token not initialised */
    _Atomic uint32_t refuses_once; /* the next message of so many octets */
    _Atomic bool is_paused;        /* none is linked but the one that makes keys */
    _Atomic bool list_hangs;
    _Atomic int n_large; /* in work */

    /* What they saw. */
    _Atomic unsigned n_logins, logins[SCRIPTED_PINS], known[SCRIPTED_PINS];
    _Atomic unsigned n_trials;

    /* What the vault does: storing the tags is left to the test if it holds them. */
    _Atomic bool holds_tags;
    _Atomic unsigned n_tags, events[SCRIPTED_EVENTS];
    pthread_mutex_t lock;
    uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE]; /* the last that were said */
};

/* Threads that go on as long as the program. Two tests never share one. */
struct scripted *scripted_new(unsigned sessions, uint32_t timeout_ms);
struct scripted *scripted_paused(unsigned sessions, uint32_t timeout_ms);
/* How much it signs in one go is to be found by trying; refuses_once: see above. */
struct scripted *scripted_limited(unsigned sessions, uint32_t timeout_ms,
                                  uint32_t refuses_once);

/* It holds the first n keys, with these tags or none; latch: which latch key. */
void scripted_hold(struct scripted *s, size_t n, uint8_t latch, const uint8_t *good,
                   const uint8_t *tried);
void scripted_seal(struct scripted *s);

/* The tag of a PIN under that latch key. */
void scripted_tag(unsigned pin, uint8_t latch, uint8_t tag[KD_PIN_TAG_SIZE]);

struct p11_status scripted_status(struct scripted *s);

/* Whether the state comes within ms. */
bool scripted_becomes(struct scripted *s, enum p11_state state, int64_t ms);

#endif
