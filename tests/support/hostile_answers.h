/* Answers of DNS that nobody can use, for the zone hostile.example at the address of
 * its server: to TXT at _dime there; to the rest of it that there is nothing. */
#ifndef KEYD_TESTS_HOSTILE_ANSWERS_H
#define KEYD_TESTS_HOSTILE_ANSWERS_H

#include "hostile_dns.h"

#define HOSTILE "127.0.0.66"

struct hostile_script {
    const char *name;
    size_t (*answer)(const struct hostile_query *q, uint8_t *out, size_t max);
};

extern const struct hostile_script hostile_answers[];
extern const size_t n_hostile_answers;

/* One of them: none comes. */
size_t hostile_give_nothing(const struct hostile_query *q, uint8_t *out, size_t max);

/* For hostile_dns_start; arg: a hostile_script. */
size_t hostile_follow(void *arg, const struct hostile_query *q, uint8_t *out,
                      size_t max);

#endif
