/* What a check found, from the worst on. */
#ifndef KEYDCTL_FINDINGS_H
#define KEYDCTL_FINDINGS_H

#include "keydctl.h"

enum finding_level { FINDING_ALARM, FINDING_WARNING, FINDING_NOTE, FINDING_LEVELS };

enum { FINDINGS_MAX = 512, FINDING_TEXT_MAX = 400 };

struct finding {
    enum finding_level level;
    const char *code;             /* a stable word */
    char about[FINDING_TEXT_MAX]; /* an owner name, a server, a host, a file */
    char text[FINDING_TEXT_MAX];  /* printable */
    int64_t until;                /* seconds since 1970: when it ends, or ended; or 0 */
};

struct findings {
    size_t n, n_lost;
    unsigned counts[FINDING_LEVELS];
    struct finding list[FINDINGS_MAX];
};

struct finding *finding_add(struct findings *f, enum finding_level level,
                            const char *code, const char *about, const char *fmt, ...)
    KD_PRINTF(5, 6);

/* Something ends then: an alarm if it has, a warning if it does within so many seconds,
 * else a note if it is to be told at all. */
void finding_ends(struct findings *f, const char *code, const char *about,
                  const char *what, int64_t until, int64_t within);

/* "2026-01-02"; returns out. */
enum { DAY_TEXT = 16 };
const char *day_text(int64_t seconds, char out[DAY_TEXT]);

/* EX_OK, EX_WARNING or EX_CRITICAL. */
int findings_status(const struct findings *f);
void findings_print(const struct findings *f);
json_t *findings_to_json(const struct findings *f);

#endif
