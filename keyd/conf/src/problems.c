#include "problems.h"

#include <stdarg.h>
#include <stdio.h>

static void
add(struct kd_conf_problems *p, uint32_t line, bool is_warning, const char *text)
{
    if (!is_warning)
        p->n_errors++;
    if (p->n == KD_CONF_PROBLEMS_MAX) {
        p->more = true;
        return;
    }
    struct kd_conf_problem *one = &p->list[p->n++];
    one->line = line;
    one->is_warning = is_warning;
    memcpy(one->text, text, sizeof one->text);
}

void
kd_conf_error(struct kd_conf_problems *p, uint32_t line, const char *fmt, ...)
{
    char text[KD_CONF_PROBLEM_TEXT] = "";
    va_list ap;

    va_start(ap, fmt);
    kd_ignore(vsnprintf(text, sizeof text, fmt, ap)); /* cut if too long */
    va_end(ap);
    add(p, line, false, text);
}

void
kd_conf_warn(struct kd_conf_problems *p, uint32_t line, const char *fmt, ...)
{
    char text[KD_CONF_PROBLEM_TEXT] = "";
    va_list ap;

    va_start(ap, fmt);
    kd_ignore(vsnprintf(text, sizeof text, fmt, ap)); /* cut if too long */
    va_end(ap);
    add(p, line, true, text);
}

void
kd_conf_sort_problems(struct kd_conf_problems *p)
{
    for (size_t i = 1; i < p->n; i++) {
        struct kd_conf_problem one = p->list[i];
        size_t at = i;
        for (; at > 0 && p->list[at - 1].line > one.line; at--)
            p->list[at] = p->list[at - 1];
        p->list[at] = one;
    }
}

const char *
kd_conf_problem_format(const char *file, const struct kd_conf_problem *p, char *out,
                       size_t size)
{
    const char *kind = p->is_warning ? "warning" : "error";

    if (p->line == 0)
        kd_ignore(snprintf(out, size, "%s: %s: %s", file, kind, p->text));
    else
        kd_ignore(snprintf(out, size, "%s:%u: %s: %s", file, p->line, kind, p->text));
    return out; /* cut if too long */
}

bool
kd_conf_problems_line(const char *file, const struct kd_conf_problems *p, size_t i,
                      char *out, size_t size)
{
    if (i > p->n || (i == p->n && !p->more))
        return false;
    if (i == p->n)
        kd_ignore(snprintf(out, size, "%s: more problems were found", file));
    else
        kd_conf_problem_format(file, &p->list[i], out, size);
    return true;
}
