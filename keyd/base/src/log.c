#include <keyd/base/log.h>

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_SIZE = 1000 };

static const char *log_name = "keyd";
static enum kd_log_level log_least = KD_INFO;

void
kd_log_setup(const char *name, enum kd_log_level least)
{
    log_name = name;
    log_least = least;
}

void
kd_log(enum kd_log_level level, const char *fmt, ...)
{
    /* Priorities the journal understands (sd-daemon(3)): debug, info, warning. */
    static const char *const mark[] = {"<7>", "<6>", "<4>"};
    char line[LINE_MAX_SIZE];

    if (level < log_least)
        return;
    int at = snprintf(line, sizeof line - 1, "%s%s ", mark[level], log_name);
    if (at < 0 || (size_t)at >= sizeof line - 1)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof line - 1 - (size_t)at, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t size = strlen(line);
    line[size++] = '\n';
    kd_ignore(write(STDERR_FILENO, line, size)); /* nowhere to complain to */
}

const char *
kd_log_text(struct kd_slice s, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool plain = c > 0x20 && c < 0x7f && c != '"' && c != '\\';
        if ((plain ? 1U : 4U) > size - 1 - at)
            break;
        if (plain) {
            out[at++] = (char)c;
        } else {
            out[at++] = '\\';
            out[at++] = 'x';
            out[at++] = hex[c >> 4];
            out[at++] = hex[c & 15];
        }
    }
    out[at] = '\0';
    return out;
}
