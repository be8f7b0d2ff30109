#include "mime_fields.h"

#include <dime/utf8.h>

enum {
    VALUE_MAX = DIME_COMMON_LINE_MAX - 64,
    LINE_MAX_998 = 998, /* RFC 5322, 2.1.1 */
    DIGITS_MAX = 9,
};

enum dime_common
mime_common_find(struct kd_slice name)
{
    int i = 0;

    while (i < DIME_COMMON_COUNT &&
           !mime_name_is(name, dime_common_name((enum dime_common)i)))
        i++;
    return (enum dime_common)i;
}

bool
mime_value_fits(struct kd_slice value)
{
    if (value.n > VALUE_MAX || !dime_utf8_valid(value, NULL))
        return false;
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return false;
    return true;
}

/* A field that was found for the first time; its value, if it fits. */
static void
guess_one(struct kd_slice body, struct kd_buf *values, size_t *at, size_t *n)
{
    size_t before = values->n;

    /* folds are short; what is longer than this could not fit without them either */
    if (body.n > 2 * VALUE_MAX || body.n > MIME_VALUES_MAX - before)
        return;
    mime_unfold(body, values);
    if (values->err != KD_OK)
        return;
    if (!mime_value_fits(kd_slice(values->p + before, values->n - before))) {
        values->n = before;
        return;
    }
    *at = before;
    *n = values->n - before;
}

/* Where lines begin to some reader or other: behind a CR alone, too. */
static bool
begins_line(struct kd_slice head, size_t at)
{
    return at == 0 || head.p[at - 1] == '\n' || head.p[at - 1] == '\r';
}

/* The name of the field that begins s, white space before its colon or not; empty:
 * none. */
static struct kd_slice
name_at(struct kd_slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] > ' ' && s.p[n] < 0x7f && s.p[n] != ':')
        n++;
    size_t colon = n;
    while (colon < s.n && (s.p[colon] == ' ' || s.p[colon] == '\t'))
        colon++;
    return kd_slice(s.p, colon < s.n && s.p[colon] == ':' ? n : 0);
}

/* What stands before the empty line. */
static struct kd_slice
head_of(struct kd_slice mail)
{
    struct kd_slice rest = mail;
    struct mime_field f;

    while (mime_field_next_loose(&rest, &f))
        continue;
    return kd_slice(mail.p, mail.n - rest.n);
}

bool
dime_mime_has_field(struct kd_slice mail, const char *name)
{
    struct kd_slice head = head_of(mail);

    for (size_t at = 0; at < head.n; at++)
        if (begins_line(head, at) &&
            mime_name_is(name_at(kd_slice(head.p + at, head.n - at)), name))
            return true;
    return false;
}

/* Drops what a reader of other habits may see twice: one of the two would be what he
 * shows, the other what 33 says. */
static void
drop_doubtful(struct kd_slice head, struct mime_found *out)
{
    bool seen[DIME_COMMON_COUNT] = {false};

    for (size_t at = 0; at < head.n; at++) {
        if (!begins_line(head, at))
            continue;
        enum dime_common which =
            mime_common_find(name_at(kd_slice(head.p + at, head.n - at)));
        if (which == DIME_COMMON_COUNT)
            continue;
        if (seen[which])
            out->at[which] = SIZE_MAX;
        seen[which] = true;
    }
}

void
mime_common_guess(struct kd_slice mail, struct kd_buf *values, struct mime_found *out)
{
    bool seen[DIME_COMMON_COUNT] = {false};
    struct kd_slice rest = mail;
    struct mime_field f;

    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        out->at[i] = SIZE_MAX;
    while (mime_field_next_loose(&rest, &f)) {
        enum dime_common i = mime_common_find(f.name);
        if (i != DIME_COMMON_COUNT && !seen[i]) {
            guess_one(f.body, values, &out->at[i], &out->n[i]);
            seen[i] = true;
        }
    }
    drop_doubtful(kd_slice(mail.p, mail.n - rest.n), out);
}

struct dime_common_headers
mime_common_of(const struct mime_found *found, const struct kd_buf *values)
{
    struct dime_common_headers h = {0};

    for (int i = 0; i < DIME_COMMON_COUNT; i++)
        if (found->at[i] != SIZE_MAX)
            h.value[i] = found->n[i] == 0
                             ? kd_slice("", 0)
                             : kd_slice(values->p + found->at[i], found->n[i]);
    return h;
}

void
mime_absent_put(const struct mime_found *found, bool mime_version, struct kd_buf *out)
{
    const char *before = "X-Dime-Absent: ";

    for (int i = 0; i < DIME_COMMON_COUNT; i++) {
        enum dime_common which = (enum dime_common)i;
        if (!dime_common_is_required(which) || found->at[i] != SIZE_MAX)
            continue;
        kd_buf_printf(out, "%s%s", before, dime_common_name(which));
        before = ", ";
    }
    if (mime_version) {
        kd_buf_printf(out, "%sMIME-Version", before);
        before = ", ";
    }
    if (before[0] == ',')
        kd_buf_put(out, kd_slice("\r\n", 2));
}

void
mime_raw_headers_put(const struct mime_found *found, struct kd_buf *out)
{
    kd_buf_put(out,
               kd_slice_str("MIME-Version: 1.0\r\nX-Dime-Raw: message/rfc822\r\n"));
    mime_absent_put(found, true, out);
}

struct kd_slice
mime_raw_head(void)
{
    return kd_slice_str("Content-Type: message/rfc822\r\n"
                        "Content-Transfer-Encoding: binary\r\n\r\n");
}

bool
mime_number(struct kd_slice *s, uint32_t *out)
{
    uint32_t v = 0;
    size_t i = 0;

    for (; i < s->n && i < DIGITS_MAX && s->p[i] >= '0' && s->p[i] <= '9'; i++)
        v = v * 10 + (uint32_t)(s->p[i] - '0');
    if (i == 0 || (i > 1 && s->p[0] == '0') ||
        (i < s->n && s->p[i] >= '0' && s->p[i] <= '9'))
        return false;
    *s = kd_slice(s->p + i, s->n - i);
    *out = v;
    return true;
}

bool
mime_is_plain(struct kd_slice text)
{
    size_t line = 0;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c == '\r' && i + 1 < text.n && text.p[i + 1] == '\n') {
            line = 0;
            i++;
            continue;
        }
        if ((c < ' ' && c != '\t') || c > '~' || ++line > LINE_MAX_998)
            return false;
    }
    return true;
}
