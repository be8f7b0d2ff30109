#include <dime/common.h>
#include <dime/utf8.h>

#include <keyd/base/cur.h>

static const struct {
    const char *name;
    bool is_required;
} table[DIME_COMMON_COUNT] = {
    [DIME_COMMON_DATE] = {"Date", true},
    [DIME_COMMON_TO] = {"To", true},
    [DIME_COMMON_CC] = {"CC", false},
    [DIME_COMMON_FROM] = {"From", true},
    [DIME_COMMON_ORGANIZATION] = {"Organization", false},
    [DIME_COMMON_SUBJECT] = {"Subject", true},
};

static const struct kd_slice colon = {(const uint8_t *)": ", 2};
static const struct kd_slice eol = {(const uint8_t *)"\r\n", 2};

const char *
dime_common_name(enum dime_common which)
{
    return which < DIME_COMMON_COUNT ? table[which].name : "";
}

bool
dime_common_is_required(enum dime_common which)
{
    return which < DIME_COMMON_COUNT && table[which].is_required;
}

/* DEL is above 0x7e and none of RFC 6532's sequences. */
static bool
is_value(struct kd_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == 0 || s.p[i] == 0x7f)
            return false;
    return s.n == 0 || dime_utf8_valid(s, NULL);
}

/* Octets of the line, its end included. */
static size_t
line_size(enum dime_common which, size_t value)
{
    return strlen(table[which].name) + colon.n + value + eol.n;
}

static enum dime_common
find_name(struct kd_slice line)
{
    for (unsigned i = 0; i < DIME_COMMON_COUNT; i++) {
        size_t n = strlen(table[i].name);
        if (line.n >= n + colon.n && memcmp(line.p, table[i].name, n) == 0 &&
            memcmp(line.p + n, colon.p, colon.n) == 0)
            return (enum dime_common)i;
    }
    return DIME_COMMON_COUNT;
}

/* The octets before the next LF, of which the last must be CR. */
static struct kd_slice
take_line(struct kd_cur *c)
{
    const uint8_t *lf = memchr(c->base + c->at, '\n', kd_cur_left(c));
    struct kd_slice line;

    if (lf == NULL) {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    line = kd_cur_take(c, (size_t)(lf - c->base) + 1 - c->at);
    if (line.n > DIME_COMMON_LINE_MAX || line.n < eol.n ||
        memcmp(line.p + line.n - eol.n, eol.p, eol.n) != 0) {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    return kd_slice(line.p, line.n - eol.n);
}

static void
read_line(struct kd_cur *c, struct dime_common_headers *h)
{
    struct kd_slice line = take_line(c), value;
    enum dime_common which = find_name(line);

    if (which == DIME_COMMON_COUNT || h->value[which].p != NULL) {
        kd_cur_fail(c, KD_MALFORMED);
        return;
    }
    size_t n = strlen(table[which].name) + colon.n;
    value = kd_slice(line.p + n, line.n - n);
    if (!is_value(value))
        kd_cur_fail(c, KD_MALFORMED);
    h->value[which] = value;
}

kd_err
dime_common_parse(struct kd_slice text, struct dime_common_headers *out)
{
    struct dime_common_headers h = {0};
    struct kd_cur c = kd_cur(text);
    kd_err err;

    if (text.n > DIME_COMMON_MAX)
        return KD_MALFORMED;
    while (kd_cur_left(&c) != 0)
        read_line(&c, &h);
    if ((err = kd_cur_end(&c)) != KD_OK)
        return err;
    *out = h;
    return KD_OK;
}

static bool
is_written(const struct dime_common_headers *h, enum dime_common which)
{
    return h->value[which].p != NULL || table[which].is_required;
}

static kd_err
check(const struct dime_common_headers *h)
{
    size_t all = 0;

    for (unsigned i = 0; i < DIME_COMMON_COUNT; i++) {
        struct kd_slice value = h->value[i];
        if (!is_written(h, (enum dime_common)i))
            continue;
        if (value.n > DIME_COMMON_LINE_MAX ||
            line_size((enum dime_common)i, value.n) > DIME_COMMON_LINE_MAX ||
            !is_value(value))
            return KD_INVALID;
        all += line_size((enum dime_common)i, value.n);
    }
    return all <= DIME_COMMON_MAX ? KD_OK : KD_INVALID;
}

kd_err
dime_common_put(const struct dime_common_headers *h, struct kd_buf *out)
{
    kd_err err;

    if ((err = check(h)) != KD_OK)
        return err;
    for (unsigned i = 0; i < DIME_COMMON_COUNT; i++) {
        if (!is_written(h, (enum dime_common)i))
            continue;
        kd_buf_put(out, kd_slice_str(table[i].name));
        kd_buf_put(out, colon);
        kd_buf_put(out, h->value[i]);
        kd_buf_put(out, eol);
    }
    return out->err;
}
