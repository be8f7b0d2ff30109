/* The matrix's requests: one of each operation, as a caller who may would make it. */
#ifndef KEYD_TESTS_MATRIX_ASK_H
#define KEYD_TESTS_MATRIX_ASK_H

#include "matrix.h"
#include "people.h"

/* What a request points to. */
struct matrix_ask {
    struct keyd_request q;
    struct kd_buf ssr;
    char address[64];
    char secret[4096];
    uint8_t id[16], fp[64], key[16], certificate[256];
};

/* Needs kd_secret_setup; before any request is made. */
void matrix_ask_setup(void);

/* Fills q for an operation about example.com. What is marked, of a caller on the admin
 * listener and with operators enrolled, is well asked, always the same and under the
 * same key; else it asks for what is not there. False for an operation that there is no
 * request for. */
bool matrix_ask(struct matrix_ask *a, enum kd_op op, const struct matrix_about *about,
                const struct caller *c);
void matrix_ask_clear(struct matrix_ask *a);

/* SetQuorum of the operators among the callers, two approvals, everything marked. */
struct keyd_request matrix_enrolment(void);

#endif
