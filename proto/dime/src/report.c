/* Reading is: take the values out, write the text they give, and compare. So exactly
 * what put writes is read, without a second description of the form. */
#include <dime/bounce.h>

#include <dime/base64.h>
#include <dime/identifier.h>
#include <keyd/base/cur.h>

#include <stdio.h>
#include <time.h>

enum {
    STATUS_PART_MAX = 999, /* RFC 3463 */
    FP_SIZE = 64,
    YEARS_FROM = 1900,
    YEAR_MAX = 9999,
};

static const struct {
    const char *name;
    uint8_t signature;
} parts[DIME_RETURN_COUNT] = {
    [DIME_RETURN_METADATA] = {"metadata", DIME_CHUNK_METADATA_BOUNCE},
    [DIME_RETURN_DISPLAY] = {"display", DIME_CHUNK_DISPLAY_BOUNCE},
    [DIME_RETURN_MESSAGE] = {"message", DIME_CHUNK_ORGANIZATION},
};

const char *
dime_return_name(enum dime_return part)
{
    return part < DIME_RETURN_COUNT ? parts[part].name : "";
}

uint8_t
dime_return_signature_type(enum dime_return part)
{
    return part < DIME_RETURN_COUNT ? parts[part].signature : 0;
}

/* --- writing --- */

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* RFC 5322, in no language but its own. False for years it cannot say. */
static bool
put_date(int64_t at, struct kd_buf *out)
{
    time_t t = (time_t)at;
    struct tm tm;

    if (at < 0 || gmtime_r(&t, &tm) == NULL || tm.tm_year > YEAR_MAX - YEARS_FROM)
        return false;
    kd_buf_printf(out, "Last-Attempt-Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n",
                  days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
                  tm.tm_year + YEARS_FROM, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return true;
}

static bool
is_fit(const struct dime_report *r)
{
    uint8_t octets[FP_SIZE];

    return dime_identifier_is_domain(r->domain) && (r->klass == 4 || r->klass == 5) &&
           r->subject <= STATUS_PART_MAX && r->detail <= STATUS_PART_MAX &&
           r->message.n == DIME_FP_TEXT_SIZE &&
           dime_base64_read(r->message, octets, sizeof octets) == KD_OK &&
           r->part < DIME_RETURN_COUNT;
}

kd_err
dime_report_put(const struct dime_report *r, struct kd_buf *out)
{
    size_t start = out->n;

    if (!is_fit(r))
        return KD_INVALID;
    kd_buf_put(out, kd_slice_str("Reporting-MTA: dns; "));
    kd_buf_put(out, r->domain);
    kd_buf_printf(out, "\r\nAction: failed\r\nStatus: %u.%u.%u\r\n", r->klass,
                  r->subject, r->detail);
    if (!put_date(r->time, out)) {
        out->n = start;
        return KD_INVALID;
    }
    kd_buf_put(out, kd_slice_str("X-Dime-Message: ["));
    kd_buf_put(out, r->message);
    kd_buf_printf(out, "]\r\nX-Dime-Returned: %s\r\n", dime_return_name(r->part));
    return out->err;
}

/* --- reading --- */

/* What stands between a beginning and an end of the next line. */
static struct kd_slice
next_value(struct kd_cur *c, const char *before, const char *after)
{
    struct kd_slice rest = kd_slice(c->base + c->at, kd_cur_left(c));
    struct kd_slice b = kd_slice_str(before), a = kd_slice_str(after);
    const uint8_t *end = rest.n == 0 ? NULL : memchr(rest.p, '\n', rest.n);
    struct kd_slice line =
        kd_cur_take(c, end == NULL ? rest.n : (size_t)(end + 1 - rest.p));

    if (line.n < b.n + a.n || !kd_slice_eq(kd_slice(line.p, b.n), b) ||
        !kd_slice_eq(kd_slice(line.p + line.n - a.n, a.n), a)) {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    return kd_slice(line.p + b.n, line.n - b.n - a.n);
}

/* Up to 4 digits; others give a number that is not written back alike. */
static uint32_t
number(struct kd_slice s)
{
    uint32_t n = 0;

    for (size_t i = 0; i < s.n && i < 4; i++)
        n = n * 10 + (uint32_t)(s.p[i] - '0') % 10;
    return n;
}

static uint16_t
status_part(struct kd_cur *c)
{
    const uint8_t *from = c->base + c->at;
    size_t n = 0;

    while (kd_cur_left(c) > 0 && kd_cur_peek(c) != '.') {
        kd_cur_u8(c);
        n++;
    }
    kd_cur_u8(c); /* the point; behind the last there is none */
    return (uint16_t)number(kd_slice(from, n));
}

static void
read_status(struct kd_slice s, struct dime_report *out)
{
    struct kd_cur c = kd_cur(s);

    out->klass = status_part(&c);
    out->subject = status_part(&c);
    out->detail = status_part(&c);
}

/* "Mon, 01 Jan 2024 00:00:00 +0000" */
static int64_t
read_date(struct kd_slice s)
{
    enum { SIZE = 31, DAY = 5, MONTH = 8, YEAR = 12, HOUR = 17, MINUTE = 20, SEC = 23 };
    struct tm tm = {0};

    if (s.n != SIZE)
        return -1;
    for (int i = 0; i < 12; i++)
        if (memcmp(s.p + MONTH, months[i], 3) == 0)
            tm.tm_mon = i;
    tm.tm_mday = (int)number(kd_slice(s.p + DAY, 2));
    tm.tm_year = (int)number(kd_slice(s.p + YEAR, 4)) - YEARS_FROM;
    tm.tm_hour = (int)number(kd_slice(s.p + HOUR, 2));
    tm.tm_min = (int)number(kd_slice(s.p + MINUTE, 2));
    tm.tm_sec = (int)number(kd_slice(s.p + SEC, 2));
    return (int64_t)timegm(&tm);
}

static enum dime_return
read_part(struct kd_slice s)
{
    for (int i = 0; i < DIME_RETURN_COUNT; i++)
        if (kd_slice_eq(s, kd_slice_str(parts[i].name)))
            return (enum dime_return)i;
    return DIME_RETURN_COUNT;
}

static bool
is_written_so(const struct dime_report *r, struct kd_slice text)
{
    struct kd_buf again;

    kd_buf_init(&again, DIME_REPORT_MAX);
    bool same =
        dime_report_put(r, &again) == KD_OK && kd_slice_eq(kd_buf_slice(&again), text);
    kd_buf_free(&again);
    return same;
}

kd_err
dime_report_parse(struct kd_slice text, struct dime_report *out)
{
    struct kd_cur c = kd_cur(text);
    struct dime_report r = {.part = DIME_RETURN_COUNT};

    if (text.n > DIME_REPORT_MAX)
        return KD_MALFORMED;
    r.domain = next_value(&c, "Reporting-MTA: dns; ", "\r\n");
    next_value(&c, "Action: failed", "\r\n");
    read_status(next_value(&c, "Status: ", "\r\n"), &r);
    r.time = read_date(next_value(&c, "Last-Attempt-Date: ", "\r\n"));
    r.message = next_value(&c, "X-Dime-Message: [", "]\r\n");
    r.part = read_part(next_value(&c, "X-Dime-Returned: ", "\r\n"));
    if (kd_cur_end(&c) != KD_OK || !is_written_so(&r, text))
        return KD_MALFORMED;
    *out = r;
    return KD_OK;
}
