/* How much padding a payload gets (D-101, D-103): so much that sizes tell little, in
 * the default form, where the pad octet says how many. */
#ifndef DIME_SRC_PAD_H
#define DIME_SRC_PAD_H

#include <stdint.h>

/* What says who writes to whom has one size whenever it can: 512 octets of payload, or
 * the next multiple of 256. n: octets of data, DIME_ENVELOPE_MAX at most. */
uint8_t pad_envelope(uint32_t n);

/* 256 octets of payload at least, and blocks of 16 chosen by random, each number
 * equally likely that neither the octet nor the payload's limit forbids. n:
 * DIME_DATA_MAX at most. */
uint8_t pad_content(uint32_t n, uint32_t random);

#endif
