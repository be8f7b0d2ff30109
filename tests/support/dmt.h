/* What tests share that write messages (dmw.h) and open them (dmr.h): one message, what
 * came of opening it, and the keys that are believed. */
#ifndef KEYD_TESTS_DMT_H
#define KEYD_TESTS_DMT_H

#include "dmr.h"
#include "dmw.h"

extern struct dmw w;             /* what was written last */
extern struct dmr r;             /* what was opened last */
extern struct dmr_keys believed; /* USER1, the POK and the SOK of example.com */

/* Of a group of tests: secret memory, and the keys. */
int dmt_begin(void **state);

struct kd_slice write_message(const struct dmw_recipe *recipe);

/* Into r, from a block of exactly that size; the keys are those of w's people. */
void open_as(enum dime_actor actor, struct kd_slice octets);

/* Written and opened by the recipient. */
void open_parts(const struct dmw_chunk *parts, size_t n, uint64_t seed);

/* Opened as everybody; the recipient last. */
void accepted_by_all(struct kd_slice octets);

/* A part of r is good, and holds that. */
void assert_part(size_t i, uint8_t type, struct kd_slice want);

#endif
