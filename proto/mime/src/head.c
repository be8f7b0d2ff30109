#include "head.h"

#include <strings.h>

static bool
is_white(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void
skip(struct kd_slice *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* Length of the first line of text, its end included; 0: there is no line end. */
static size_t
line_size(struct kd_slice text)
{
    const uint8_t *lf = text.n == 0 ? NULL : memchr(text.p, '\n', text.n);

    return lf == NULL ? 0 : (size_t)(lf - text.p) + 1;
}

static enum dime_mime_raw
check_line(const uint8_t *p, size_t n)
{
    if (n < 2 || p[n - 2] != '\r' || memchr(p, '\r', n) != p + n - 2)
        return DIME_MIME_LINE_END;
    return memchr(p, '\0', n) == NULL ? DIME_MIME_MAPPED : DIME_MIME_NUL;
}

static size_t
name_size(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && p[i] > ' ' && p[i] < 0x7f && p[i] != ':')
        i++;
    return i < n && p[i] == ':' ? i : 0;
}

enum dime_mime_raw
mime_field_next(struct kd_slice *text, struct mime_field *out)
{
    const uint8_t *p = text->p;
    size_t n = line_size(*text), all = 0;
    enum dime_mime_raw why;

    if (n == 0)
        return DIME_MIME_NO_HEADER_END;
    if ((why = check_line(p, n)) != DIME_MIME_MAPPED)
        return why;
    if (n == 2) {
        skip(text, 2);
        *out = (struct mime_field){0};
        return DIME_MIME_MAPPED;
    }
    size_t named = name_size(p, n);
    if (named == 0)
        return DIME_MIME_NO_FIELD;
    for (;;) {
        all += n;
        skip(text, n);
        if (text->n == 0 || !is_white(text->p[0]))
            break;
        if ((n = line_size(*text)) == 0)
            return DIME_MIME_NO_HEADER_END;
        if ((why = check_line(text->p, n)) != DIME_MIME_MAPPED)
            return why;
    }
    *out = (struct mime_field){.raw = kd_slice(p, all),
                               .name = kd_slice(p, named),
                               .body = kd_slice(p + named + 1, all - named - 3)};
    return DIME_MIME_MAPPED;
}

/* A line and those that continue it, of any line end; 0 at the end. */
static size_t
loose_size(struct kd_slice text)
{
    size_t all = 0;

    do {
        size_t n = line_size(kd_slice(text.p + all, text.n - all));
        all += n == 0 ? text.n - all : n;
    } while (all < text.n && is_white(text.p[all]));
    return all;
}

bool
mime_field_next_loose(struct kd_slice *text, struct mime_field *out)
{
    while (text->n != 0) {
        const uint8_t *p = text->p;
        size_t n = loose_size(*text);
        if (p[0] == '\n' || (n > 1 && p[0] == '\r' && p[1] == '\n'))
            return false;
        skip(text, n);
        size_t named = name_size(p, n);
        if (named == 0)
            continue;
        size_t end = n;
        end -= p[end - 1] == '\n';
        end -= p[end - 1] == '\r';
        *out = (struct mime_field){.raw = kd_slice(p, n),
                                   .name = kd_slice(p, named),
                                   .body = kd_slice(p + named + 1, end - named - 1)};
        return true;
    }
    return false;
}

bool
mime_name_is(struct kd_slice name, const char *what)
{
    return name.n == strlen(what) && mime_name_begins(name, what);
}

bool
mime_name_begins(struct kd_slice name, const char *prefix)
{
    size_t n = strlen(prefix);

    return name.n >= n && strncasecmp((const char *)name.p, prefix, n) == 0;
}

struct kd_slice
mime_trim(struct kd_slice s)
{
    while (s.n != 0 && is_white(s.p[0]))
        skip(&s, 1);
    while (s.n != 0 && is_white(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Without line ends as well. */
static struct kd_slice
trim_folds(struct kd_slice s)
{
    while (s.n != 0 && (is_white(s.p[0]) || s.p[0] == '\r' || s.p[0] == '\n'))
        skip(&s, 1);
    while (s.n != 0 &&
           (is_white(s.p[s.n - 1]) || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\n'))
        s.n--;
    return s;
}

void
mime_unfold(struct kd_slice body, struct kd_buf *out)
{
    struct kd_slice s = trim_folds(body);

    while (s.n != 0) {
        size_t n = line_size(s);
        if (n == 0) {
            kd_buf_put(out, s);
            return;
        }
        size_t end = n - 1;
        end -= end != 0 && s.p[end - 1] == '\r';
        kd_buf_put(out, kd_slice(s.p, end));
        skip(&s, n);
    }
}
