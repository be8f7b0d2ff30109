/* Tokens of SoftHSM for tests, each in a folder of its own, so that one can be pulled
 * out alone. Functions that answer bool report on stderr why not. */
#ifndef KEYD_TESTS_SOFTHSM_H
#define KEYD_TESTS_SOFTHSM_H

#include <limits.h>
#include <stdbool.h>

#define SOFTHSM_PIN "2468"

struct softhsm {
    char folder[128];
    char paths[160];       /* what the daemon's `paths` names; tokens/ lies there */
    char environment[192]; /* SOFTHSM2_CONF=... */
    char conf[160], pin[160];
    char label[33];
};

/* Debian's module, without links; NULL where softhsm2 is missing. */
const char *softhsm_module(void);

/* Where the token of that label in that folder is, whether or not it was made. */
void softhsm_at(struct softhsm *s, const char *folder, const char *label);

/* A token of that label in folder/label, whose files are uid's. */
bool softhsm_make(struct softhsm *s, const char *folder, const char *label,
                  unsigned uid);

/* One more in the same folder. */
bool softhsm_add(const struct softhsm *s, const char *label, unsigned uid);

/* The token's files away, and back. */
bool softhsm_pull_out(const struct softhsm *s);
bool softhsm_put_back(const struct softhsm *s);

/* SHA-256 over names and octets of all its files. */
bool softhsm_digest(const struct softhsm *s, char out[65]);

/* A shell's script with two arguments, $1 and $2. */
bool softhsm_script(const char *text, const char *a, const char *b);

#endif
