/* Users of a system test: keys and signing requests that follow from a text and two
 * numbers, so that a run can be made again. Built with dime-core's builders. */
#ifndef KEYD_TESTS_PEOPLE_H
#define KEYD_TESTS_PEOPLE_H

#include <keyd/base/buf.h>

enum { PERSON_SSR_MAX = 208 };

/* Keys of one step of one person's custody chain. */
struct person_keys {
    uint8_t seed[32]; /* Ed25519 */
    uint8_t key[32];
    uint8_t scalar[32]; /* secp256k1 */
    uint8_t enc[33];
};

/* step 0 is the root of the chain. Aborts if sodium cannot be initialised. */
void person_keys(const char *text, uint64_t person, uint32_t step,
                 struct person_keys *out);

/* Makes own's signing request; prev signs custody and is NULL for a root. Appends to
 * out. */
kd_err person_ssr(const struct person_keys *own, const struct person_keys *prev,
                  struct kd_buf *out) KD_MUST_USE;

/* The same for a root, in a buffer that this initialises and the caller frees; aborts
 * if it cannot be made. */
struct kd_slice person_request(const char *text, uint64_t person, struct kd_buf *b);

#endif
