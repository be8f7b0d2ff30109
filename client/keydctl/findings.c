#include "findings.h"

#include <keyd/base/clock.h>
#include <stdarg.h>
#include <time.h>

static const char *const levels[] = {
    [FINDING_ALARM] = "alarm", [FINDING_WARNING] = "warning", [FINDING_NOTE] = "note"};

struct finding *
finding_add(struct findings *f, enum finding_level level, const char *code,
            const char *about, const char *fmt, ...)
{
    static struct finding lost;
    va_list args;

    f->counts[level]++;
    struct finding *x = f->n == FINDINGS_MAX ? &lost : &f->list[f->n];
    f->n_lost += f->n == FINDINGS_MAX;
    f->n += f->n < FINDINGS_MAX;
    *x = (struct finding){.level = level, .code = code};
    kd_ignore(snprintf(x->about, sizeof x->about, "%s", about));
    va_start(args, fmt);
    kd_ignore(vsnprintf(x->text, sizeof x->text, fmt, args));
    va_end(args);
    return x;
}

const char *
day_text(int64_t seconds, char out[DAY_TEXT])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, DAY_TEXT, "%Y-%m-%d", &tm) == 0)
        kd_ignore(snprintf(out, DAY_TEXT, "?"));
    return out;
}

void
finding_ends(struct findings *f, const char *code, const char *about, const char *what,
             int64_t until, int64_t within)
{
    int64_t now = kd_clock_wall_ms() / 1000, left = until - now;
    enum finding_level level = left <= 0        ? FINDING_ALARM
                               : left <= within ? FINDING_WARNING
                                                : FINDING_NOTE;
    char day[DAY_TEXT];

    enum { DAY = 86400 };
    struct finding *x =
        left <= 0 ? finding_add(f, level, code, about, "%s ended on %s", what,
                                day_text(until, day))
                  : finding_add(f, level, code, about, "%s ends on %s, in %lld days",
                                what, day_text(until, day), (long long)(left / DAY));
    x->until = until;
}

int
findings_status(const struct findings *f)
{
    return f->counts[FINDING_ALARM] != 0     ? EX_CRITICAL
           : f->counts[FINDING_WARNING] != 0 ? EX_WARNING
                                             : EX_OK;
}

void
findings_print(const struct findings *f)
{
    for (unsigned level = 0; level < FINDING_LEVELS; level++)
        for (size_t i = 0; i < f->n; i++)
            if (f->list[i].level == level)
                emit(stdout, "%-7s  %s: %s [%s]\n", levels[level], f->list[i].about,
                     f->list[i].text, f->list[i].code);
    if (f->n_lost != 0)
        emit(stdout, "and %zu more\n", f->n_lost);
}

json_t *
findings_to_json(const struct findings *f)
{
    json_t *list = json_array();

    for (unsigned level = 0; list != NULL && level < FINDING_LEVELS; level++)
        for (size_t i = 0; i < f->n; i++) {
            const struct finding *x = &f->list[i];
            if (x->level == level)
                list = json_list_add(
                    list, json_pack("{s:s, s:s, s:s, s:s, s:o}", "level", levels[level],
                                    "code", x->code, "about", x->about, "text", x->text,
                                    "until", json_time((uint64_t)x->until * 1000)));
        }
    return list;
}
