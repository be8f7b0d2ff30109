/* What was done to come to an answer, told as it is done: for people, and as JSON.
 * Bounded; what does not fit is counted. Texts from outside come through here: octets
 * that are not printable ASCII are shown as \xNN, the backslash as \\. */
#ifndef DIME_RESOLVER_STEPS_H
#define DIME_RESOLVER_STEPS_H

#include <keyd/base/err.h>
#include <stddef.h>

enum step_code {
#define STEP(code, word) STEP_##code,
#include "steps.def"
#undef STEP
    STEP_CODES
};

/* A step that somebody should be told of even if all went well (D-004). */
enum step_weight { STEP_NOTE, STEP_WARNING, STEP_ALARM };

enum { STEP_TEXT_MAX = 480, STEPS_MAX = 256 };

struct step {
    enum step_code code;
    enum step_weight weight;
    char text[STEP_TEXT_MAX]; /* printable ASCII, no line ends */
};

struct steps;

/* NULL without memory: nobody listens then, which is allowed below. One thread at a
 * time. */
struct steps *steps_new(void);
void steps_free(struct steps *s);

/* Adds a note. Longer texts are cut. s may be NULL. */
void steps_add(struct steps *s, enum step_code code, const char *fmt, ...)
    KD_PRINTF(3, 4);
void steps_warn(struct steps *s, enum step_code code, const char *fmt, ...)
    KD_PRINTF(3, 4);
void steps_alarm(struct steps *s, enum step_code code, const char *fmt, ...)
    KD_PRINTF(3, 4);

/* Appends what another told, in its order (of a thread that is done). */
void steps_join(struct steps *s, const struct steps *other);

size_t steps_n(const struct steps *s);
const struct step *steps_get(const struct steps *s, size_t i);
size_t steps_lost(const struct steps *s); /* that found no room */

/* The stable word, never NULL. */
const char *step_word(enum step_code code);

#endif
