#include "steps.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room comes as it is needed: most look-ups take a dozen. */
struct steps {
    struct step *list;
    size_t n, cap, lost;
};

static const char *const words[STEP_CODES] = {
#define STEP(code, word) [STEP_##code] = (word),
#include "steps.def"
#undef STEP
};

const char *
step_word(enum step_code code)
{
    return (unsigned)code < STEP_CODES ? words[code] : "?";
}

struct steps *
steps_new(void)
{
    return calloc(1, sizeof(struct steps));
}

void
steps_free(struct steps *s)
{
    if (s != NULL)
        free(s->list);
    free(s);
}

static struct step *
next(struct steps *s)
{
    if (s->n == STEPS_MAX) {
        s->lost++;
        return NULL;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap == 0 ? 16 : 2 * s->cap;
        struct step *list = realloc(s->list, cap * sizeof *list);
        if (list == NULL) {
            s->lost++;
            return NULL;
        }
        s->list = list;
        s->cap = cap;
    }
    return &s->list[s->n++];
}

/* What would move a terminal's cursor or end a line of a log is shown, not sent. */
static void
show(char out[STEP_TEXT_MAX], const char *text)
{
    size_t at = 0;

    for (const char *p = text; *p != '\0' && at + 5 < STEP_TEXT_MAX; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\\') {
            out[at++] = '\\';
            out[at++] = '\\';
        } else if (c < 0x20 || c > 0x7e) {
            at += (size_t)snprintf(out + at, 5, "\\x%02x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    out[at] = '\0';
}

static void KD_PRINTF(4, 0) add(struct steps *s, enum step_code code,
                                enum step_weight weight, const char *fmt, va_list args)
{
    char text[STEP_TEXT_MAX];
    struct step *step = s == NULL ? NULL : next(s);

    if (step == NULL)
        return;
    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = '\0';
    step->code = code;
    step->weight = weight;
    show(step->text, text);
}

void
steps_add(struct steps *s, enum step_code code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(s, code, STEP_NOTE, fmt, args);
    va_end(args);
}

void
steps_warn(struct steps *s, enum step_code code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(s, code, STEP_WARNING, fmt, args);
    va_end(args);
}

void
steps_alarm(struct steps *s, enum step_code code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(s, code, STEP_ALARM, fmt, args);
    va_end(args);
}

void
steps_join(struct steps *s, const struct steps *other)
{
    if (s == NULL || other == NULL)
        return;
    for (size_t i = 0; i < other->n; i++) {
        struct step *step = next(s);
        if (step != NULL)
            *step = other->list[i];
    }
    s->lost += other->lost;
}

size_t
steps_n(const struct steps *s)
{
    return s == NULL ? 0 : s->n;
}

const struct step *
steps_get(const struct steps *s, size_t i)
{
    return i < steps_n(s) ? &s->list[i] : NULL;
}

size_t
steps_lost(const struct steps *s)
{
    return s == NULL ? 0 : s->lost;
}
