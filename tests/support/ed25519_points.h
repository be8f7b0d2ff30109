/* Hostile points of edwards25519, and signatures made of chosen parts. */
#ifndef KEYD_TESTS_ED25519_POINTS_H
#define KEYD_TESTS_ED25519_POINTS_H

#include <dime/ed25519.h>

/* All encodings of the eight points of small order; the first eight are canonical. */
enum { SMALL_ORDER_CANONICAL = 8, SMALL_ORDER_ALL = 14 };
extern const uint8_t small_order[SMALL_ORDER_ALL][32];

/* The group order L, little endian. */
extern const uint8_t group_order[32];

/* i times a point of order eight, i from 0 to 7; 0 is the neutral point. */
void torsion_point(unsigned i, uint8_t out[32]);

/* The sum of two points given by valid encodings. */
void point_add(const uint8_t a[32], const uint8_t b[32], uint8_t out[32]);

/* h of RFC 8032 section 5.1.7: the hash of R, A and message modulo L. */
void challenge(const uint8_t R[32], const uint8_t A[32], struct kd_slice message,
               uint8_t h[32]);

/* sig = R, r + ha for any octets as R and A. */
void forge(const uint8_t a[32], const uint8_t r[32], const uint8_t R[32],
           const uint8_t A[32], struct kd_slice message, uint8_t sig[64]);

#endif
