#include <keyd/quorum/approval.h>

#include <keyd/base/cur.h>
#include <keyd/conf/policy.h>
#include <keyd/ops/ops.h>

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

enum {
    LINE_SIZE_MAX = 4096,
    WORD_MAX = 32,
    VALUE_MAX = 64,      /* shown as it is up to here, else as its digest */
    NAME_SIZE_MAX = 254, /* a domain or address */
    TIME_SIZE = 20,      /* 2026-01-02T03:04:05Z */
};
#define TIME_LAST UINT64_C(253402300799) /* 9999-12-31T23:59:59Z */

/* --- writing --- */

static void
put_hex(struct kd_buf *out, struct kd_slice octets)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < octets.n; i++) {
        kd_buf_u8(out, (uint8_t)digits[octets.p[i] >> 4]);
        kd_buf_u8(out, (uint8_t)digits[octets.p[i] & 15]);
    }
}

void
kd_fact_text(struct kd_buf *out, const char *word, const char *value)
{
    kd_buf_printf(out, "%s %s\n", word, value);
}

void
kd_fact_number(struct kd_buf *out, const char *word, uint64_t value)
{
    kd_buf_printf(out, "%s %" PRIu64 "\n", word, value);
}

void
kd_fact_hex(struct kd_buf *out, const char *word, struct kd_slice octets)
{
    kd_buf_printf(out, "%s ", word);
    put_hex(out, octets);
    kd_buf_u8(out, '\n');
}

static void
put_digest(struct kd_buf *out, struct kd_slice of)
{
    uint8_t digest[32];

    crypto_hash_sha256(digest, of.p, of.n);
    kd_buf_printf(out, "sha-256 ");
    put_hex(out, kd_slice(digest, sizeof digest));
    kd_buf_printf(out, " of %zu octets\n", of.n);
}

void
kd_fact_digest(struct kd_buf *out, const char *word, struct kd_slice of)
{
    kd_buf_printf(out, "%s ", word);
    put_digest(out, of);
}

static bool
is_plain(struct kd_slice s, size_t most)
{
    if (s.n > most)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static void
put_value(struct kd_buf *out, const char *word, struct kd_slice octets, size_t most)
{
    if (octets.n == 0) {
        kd_fact_text(out, word, "-");
    } else if (is_plain(octets, most)) {
        kd_buf_printf(out, "%s \"", word);
        kd_buf_put(out, octets);
        kd_buf_put(out, kd_slice("\"\n", 2));
    } else {
        kd_fact_digest(out, word, octets);
    }
}

void
kd_fact_value(struct kd_buf *out, const char *word, struct kd_slice octets)
{
    put_value(out, word, octets, VALUE_MAX);
}

void
kd_fact_name(struct kd_buf *out, const char *word, struct kd_slice name)
{
    put_value(out, word, name, NAME_SIZE_MAX);
}

void
kd_fact_key(struct kd_buf *out, const char *word, struct kd_slice id, const char *kind,
            struct kd_slice public_key)
{
    kd_buf_printf(out, "%s ", word);
    put_hex(out, id);
    kd_buf_printf(out, " %s ", kind);
    if (public_key.n <= VALUE_MAX) {
        put_hex(out, public_key);
        kd_buf_u8(out, '\n');
    } else {
        put_digest(out, public_key);
    }
}

static void
put_time(struct kd_buf *out, const char *word, uint64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (seconds > TIME_LAST || gmtime_r(&t, &tm) == NULL) {
        if (out->err == KD_OK)
            out->err = KD_INVALID;
        return;
    }
    kd_buf_printf(out, "%s %04d-%02d-%02dT%02d:%02d:%02dZ\n", word, tm.tm_year + 1900,
                  tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool
head_is_good(const struct kd_approval_head *h)
{
    return (kd_op_flags(h->op) & KD_OPF_QUORUM) != 0 && h->n >= KD_OPERATORS_MIN &&
           h->n <= KD_OPERATORS_MAX && h->k >= KD_QUORUM_MIN && h->k < h->n &&
           kd_principal_name_is_valid(h->requester) && h->made_s <= h->not_after_s &&
           h->not_after_s <= TIME_LAST;
}

void
kd_approval_put_head(struct kd_buf *out, const struct kd_approval_head *h)
{
    if (!head_is_good(h)) {
        if (out->err == KD_OK)
            out->err = KD_INVALID;
        return;
    }
    kd_buf_put(out, kd_slice_str(KD_APPROVAL_TAG));
    kd_fact_hex(out, "instance", kd_slice(h->instance, sizeof h->instance));
    kd_fact_number(out, "epoch", h->epoch);
    kd_fact_hex(out, "id", kd_slice(h->id, sizeof h->id));
    kd_fact_text(out, "operation", kd_op_name(h->op));
    kd_buf_printf(out, "requester %.*s\n", (int)h->requester.n,
                  (const char *)h->requester.p);
    kd_fact_hex(out, "idempotency-key", kd_slice(h->key, sizeof h->key));
    put_time(out, "made-at", h->made_s);
    put_time(out, "not-after", h->not_after_s);
    kd_buf_printf(out, "approvals %u of %u\n", h->k, h->n);
    kd_buf_printf(out, "quorum sha-256 ");
    put_hex(out, kd_slice(h->quorum, sizeof h->quorum));
    kd_buf_u8(out, '\n');
}

/* --- reading --- */

/* The next line without its end. */
static struct kd_slice
next_line(struct kd_cur *c)
{
    struct kd_cur look = *c;
    size_t n = 0;

    while (kd_cur_left(&look) != 0 && kd_cur_u8(&look) != '\n')
        n++;
    struct kd_slice line = kd_cur_take(c, n);
    if (kd_cur_u8(c) != '\n' || n > LINE_SIZE_MAX)
        kd_cur_fail(c, KD_MALFORMED);
    return line;
}

/* The value of the next line, which begins with this word. */
static struct kd_slice
next_value(struct kd_cur *c, const char *word)
{
    struct kd_slice line = next_line(c);
    size_t n = strlen(word);

    if (line.n <= n + 1 || memcmp(line.p, word, n) != 0 || line.p[n] != ' ') {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    return kd_slice(line.p + n + 1, line.n - n - 1);
}

static bool
hex_digit(uint8_t c, uint8_t *out)
{
    if (c >= '0' && c <= '9')
        *out = (uint8_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *out = (uint8_t)(c - 'a' + 10);
    else
        return false;
    return true;
}

static void
read_hex(struct kd_cur *c, struct kd_slice value, uint8_t *out, size_t n)
{
    uint8_t high, low;

    if (value.n != 2 * n) {
        kd_cur_fail(c, KD_MALFORMED);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!hex_digit(value.p[2 * i], &high) || !hex_digit(value.p[2 * i + 1], &low)) {
            kd_cur_fail(c, KD_MALFORMED);
            return;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
}

/* Shortest decimal. */
static uint64_t
read_number(struct kd_cur *c, struct kd_slice value)
{
    uint64_t v = 0;

    if (value.n == 0 || value.n > 20 || (value.n > 1 && value.p[0] == '0'))
        kd_cur_fail(c, KD_MALFORMED);
    for (size_t i = 0; i < value.n && c->err == KD_OK; i++) {
        uint64_t digit = (uint64_t)value.p[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            kd_cur_fail(c, KD_MALFORMED);
        else
            v = v * 10 + digit;
    }
    return v;
}

static uint64_t
read_time(struct kd_cur *c, struct kd_slice value)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    int field[6] = {0};
    unsigned at = 0;

    if (value.n != TIME_SIZE) {
        kd_cur_fail(c, KD_MALFORMED);
        return 0;
    }
    for (size_t i = 0; i < TIME_SIZE; i++) {
        bool digit = value.p[i] >= '0' && value.p[i] <= '9';
        if (form[i] == 'd' ? !digit : value.p[i] != form[i]) {
            kd_cur_fail(c, KD_MALFORMED);
            return 0;
        }
        if (digit)
            field[at] = field[at] * 10 + (value.p[i] - '0');
        else
            at++;
    }
    struct tm tm = {.tm_year = field[0] - 1900,
                    .tm_mon = field[1] - 1,
                    .tm_mday = field[2],
                    .tm_hour = field[3],
                    .tm_min = field[4],
                    .tm_sec = field[5]};
    time_t t = timegm(&tm);
    if (t < 0)
        kd_cur_fail(c, KD_MALFORMED);
    return t < 0 ? 0 : (uint64_t)t;
}

/* "2 of 3" */
static void
read_approvals(struct kd_cur *c, struct kd_slice value, struct kd_approval_head *h)
{
    const uint8_t *of = value.n < 6 ? NULL : memchr(value.p, ' ', value.n);
    size_t n = of == NULL ? 0 : (size_t)(of - value.p);

    if (of == NULL || value.n - n < 5 || memcmp(of, " of ", 4) != 0) {
        kd_cur_fail(c, KD_MALFORMED);
        return;
    }
    uint64_t k = read_number(c, kd_slice(value.p, n));
    uint64_t m = read_number(c, kd_slice(of + 4, value.n - n - 4));
    h->k = k <= KD_OPERATORS_MAX ? (unsigned)k : 0;
    h->n = m <= KD_OPERATORS_MAX ? (unsigned)m : 0;
}

static void
read_head(struct kd_cur *c, struct kd_approval_head *h)
{
    static const char sha256[] = "sha-256 ";
    enum { SHA256 = sizeof sha256 - 1 };
    struct kd_slice tag = kd_cur_take(c, sizeof KD_APPROVAL_TAG - 1);

    if (!kd_slice_eq(tag, kd_slice_str(KD_APPROVAL_TAG))) {
        kd_cur_fail(c, KD_MALFORMED);
        return;
    }
    read_hex(c, next_value(c, "instance"), h->instance, sizeof h->instance);
    h->epoch = read_number(c, next_value(c, "epoch"));
    read_hex(c, next_value(c, "id"), h->id, sizeof h->id);
    h->op = kd_op_find(next_value(c, "operation"));
    h->requester = next_value(c, "requester");
    read_hex(c, next_value(c, "idempotency-key"), h->key, sizeof h->key);
    h->made_s = read_time(c, next_value(c, "made-at"));
    h->not_after_s = read_time(c, next_value(c, "not-after"));
    read_approvals(c, next_value(c, "approvals"), h);
    struct kd_slice digest = next_value(c, "quorum");
    if (digest.n < SHA256 || memcmp(digest.p, sha256, SHA256) != 0)
        kd_cur_fail(c, KD_MALFORMED);
    else
        read_hex(c, kd_slice(digest.p + SHA256, digest.n - SHA256), h->quorum,
                 sizeof h->quorum);
}

/* word SP value, all of it visible. */
static bool
fact_is_good(struct kd_slice line)
{
    size_t word = 0;

    while (word < line.n && word <= WORD_MAX &&
           ((line.p[word] >= 'a' && line.p[word] <= 'z') ||
            (line.p[word] >= '0' && line.p[word] <= '9') || line.p[word] == '-'))
        word++;
    if (word == 0 || word > WORD_MAX || line.n - word < 2 || line.p[word] != ' ')
        return false;
    for (size_t i = word; i < line.n; i++)
        if (line.p[i] < 0x20 || line.p[i] > 0x7e)
            return false;
    return true;
}

/* One text for one head: what was read is written again and compared, so that no other
 * way of writing a time or a number slips in. */
static bool
is_canonical(const struct kd_approval_head *h, struct kd_slice text, size_t size)
{
    struct kd_buf b;

    kd_buf_init(&b, KD_APPROVAL_TEXT_MAX);
    kd_approval_put_head(&b, h);
    bool same = b.err == KD_OK && kd_slice_eq(kd_buf_slice(&b), kd_slice(text.p, size));
    kd_buf_free(&b);
    return same;
}

kd_err
kd_approval_read(struct kd_slice text, struct kd_approval_head *head,
                 struct kd_slice *facts)
{
    struct kd_cur c = kd_cur(text);
    struct kd_approval_head h = {0};

    if (text.n > KD_APPROVAL_TEXT_MAX)
        return KD_MALFORMED;
    read_head(&c, &h);
    if (c.err != KD_OK)
        return KD_MALFORMED;
    size_t size = text.n - kd_cur_left(&c);
    if (!head_is_good(&h) || !is_canonical(&h, text, size))
        return KD_MALFORMED;
    while (kd_cur_left(&c) != 0 && c.err == KD_OK)
        if (!fact_is_good(next_line(&c)))
            kd_cur_fail(&c, KD_MALFORMED);
    if (kd_cur_end(&c) != KD_OK)
        return KD_MALFORMED;
    *head = h;
    *facts = kd_slice(text.p + size, text.n - size);
    return KD_OK;
}

/* --- digest --- */

void
kd_approval_digest(struct kd_slice text, uint8_t out[KD_APPROVAL_DIGEST_SIZE])
{
    crypto_hash_sha256(out, text.p, text.n);
}

const char *
kd_approval_groups(const uint8_t digest[KD_APPROVAL_DIGEST_SIZE],
                   char out[KD_APPROVAL_GROUPS_MAX])
{
    size_t at = 0;

    for (size_t i = 0; i < KD_APPROVAL_DIGEST_SIZE; i += 2)
        at += (size_t)snprintf(out + at, KD_APPROVAL_GROUPS_MAX - at, "%s%02x%02x",
                               i == 0 ? "" : " ", digest[i], digest[i + 1]);
    return out;
}

bool
kd_approval_digest_starts(const uint8_t digest[KD_APPROVAL_DIGEST_SIZE],
                          const char *typed)
{
    enum { DIGITS_MIN = 8 };
    unsigned n = 0;
    uint8_t digit;

    for (; *typed != '\0'; typed++) {
        uint8_t c = (uint8_t)*typed;
        if (c == ' ' || c == '-')
            continue;
        if (c >= 'A' && c <= 'F')
            c = (uint8_t)(c - 'A' + 'a');
        if (n == 2 * KD_APPROVAL_DIGEST_SIZE || !hex_digit(c, &digit) ||
            digit != (digest[n / 2] >> (n % 2 == 0 ? 4 : 0) & 15))
            return false;
        n++;
    }
    return n >= DIGITS_MIN;
}
