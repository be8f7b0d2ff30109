#include "dmtp_reply.h"

#include <dime/armor.h>
#include <dime/base64.h>

enum { CODE_DIGITS = 3 };

static void
bad(struct dmtp_reader *r, const char *why)
{
    r->state = DMTP_BAD;
    r->why = why;
}

void
dmtp_reader_init(struct dmtp_reader *r)
{
    *r = (struct dmtp_reader){.state = DMTP_BAD, .why = "no reply was asked for"};
    kd_buf_init(&r->text, 0);
}

void
dmtp_reader_free(struct dmtp_reader *r)
{
    kd_buf_free(&r->text);
}

void
dmtp_reader_begin(struct dmtp_reader *r, struct dmtp_limits limits)
{
    kd_buf_reset(&r->text);
    /* codes are not kept, an LF is written for each line */
    r->text.max = limits.octets;
    r->limits = limits;
    r->state = DMTP_MORE;
    r->why = "";
    r->code = 0;
    r->n_lines = r->n_octets = r->n = 0;
    r->has_cr = false;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A code alone is a last line without words, as SMTP allows. */
static void
take_line(struct dmtp_reader *r)
{
    const char *p = r->line;
    bool is_last = r->n == CODE_DIGITS || (r->n > CODE_DIGITS && p[3] == ' ');

    if (r->n < CODE_DIGITS || !is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2]) ||
        (!is_last && p[3] != '-')) {
        bad(r, "a line without a code");
        return;
    }
    unsigned code = (unsigned)(p[0] - '0') * 100 + (unsigned)(p[1] - '0') * 10 +
                    (unsigned)(p[2] - '0');
    if (code < 100 || (r->code != 0 && code != r->code)) {
        bad(r, r->code != 0 ? "lines of several codes" : "a code below 100");
        return;
    }
    if (++r->n_lines > r->limits.lines) {
        bad(r, "too many lines");
        return;
    }
    r->code = code;
    if (r->n > CODE_DIGITS + 1)
        kd_buf_put(&r->text, kd_slice(p + CODE_DIGITS + 1, r->n - CODE_DIGITS - 1));
    kd_buf_u8(&r->text, '\n');
    r->n = 0;
    if (r->text.err != KD_OK)
        bad(r, r->text.err == KD_NOMEM ? "out of memory" : "the reply is too long");
    else if (is_last)
        r->state = DMTP_WHOLE;
}

static void
take_octet(struct dmtp_reader *r, char c)
{
    bool had_cr = r->has_cr;

    r->has_cr = c == '\r';
    if (++r->n_octets > r->limits.octets)
        bad(r, "the reply is too long");
    else if (c == '\n')
        take_line(r);
    else if (had_cr)
        bad(r, "a CR that ends no line");
    else if (c == '\0')
        bad(r, "a NUL");
    else if (c != '\r' && r->n == sizeof r->line)
        bad(r, "a line is too long");
    else if (c != '\r')
        r->line[r->n++] = c;
}

size_t
dmtp_reader_add(struct dmtp_reader *r, struct kd_slice octets)
{
    size_t n = 0;

    while (r->state == DMTP_MORE && n < octets.n) {
        char c = (char)octets.p[n++];
        take_octet(r, c);
        if (c == '\n')
            break;
    }
    return n;
}

struct kd_slice
dmtp_reader_text(const struct dmtp_reader *r)
{
    return r->state == DMTP_WHOLE ? kd_buf_slice(&r->text) : kd_slice(NULL, 0);
}

enum dmtp_class
dmtp_class_of(unsigned code)
{
    switch (code / 100) {
    case 2:
        return DMTP_SUCCESS;
    case 3:
        return DMTP_GO_ON;
    case 4:
        return DMTP_TEMPORARY;
    case 5:
        return DMTP_PERMANENT;
    default:
        return DMTP_STRANGE;
    }
}

/* ---- words and lines */

/* Takes the next line off *text, without the LF; false at the end. */
static bool
next_line(struct kd_slice *text, struct kd_slice *line)
{
    if (text->n == 0)
        return false;
    const uint8_t *lf = memchr(text->p, '\n', text->n);
    size_t n = lf != NULL ? (size_t)(lf - text->p) : text->n;
    size_t taken = lf != NULL ? n + 1 : n;

    *line = kd_slice(text->p, n);
    *text = kd_slice(text->p + taken, text->n - taken);
    return true;
}

static bool
is_word(struct kd_slice word, const char *lower)
{
    if (word.n != strlen(lower))
        return false;
    for (size_t i = 0; i < word.n; i++) {
        uint8_t c = word.p[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)lower[i])
            return false;
    }
    return true;
}

bool
dmtp_text_says_dmtp(struct kd_slice text, size_t word)
{
    struct kd_slice line;

    if (!next_line(&text, &line))
        return false;
    for (size_t at = 0, count = 0; at < line.n;) {
        size_t from = at;
        while (at < line.n && line.p[at] != ' ')
            at++;
        struct kd_slice w = kd_slice(line.p + from, at - from);
        at++;
        if (w.n == 0)
            continue;
        count++;
        if ((word == 0 || count == word) &&
            (is_word(w, "dmtp") || is_word(w, "dmtpv1")))
            return true;
    }
    return false;
}

/* ---- signets */

static kd_err
malformed(const char **why, const char *text)
{
    if (why != NULL)
        *why = text;
    return KD_MALFORMED;
}

static kd_err
too_large(const char **why, const char *text)
{
    if (why != NULL)
        *why = text;
    return KD_TOO_LARGE;
}

/* Room at the end of out, which is left as it was if there is none. */
static kd_err
make_room(struct kd_buf *out, size_t n, uint8_t **p, const char **why)
{
    if (n > out->max - out->n)
        return too_large(why, "more octets than are taken");
    *p = kd_buf_add(out, n);
    return *p != NULL ? KD_OK : out->err;
}

static kd_err
add_armor(struct kd_slice text, struct kd_buf *out, const char **why)
{
    struct dime_armor a;
    uint8_t *p;
    kd_err err;

    if ((err = dime_armor_parse(text, &a, why)) != KD_OK ||
        (err = make_room(out, a.size, &p, why)) != KD_OK)
        return err;
    if ((err = dime_armor_decode(&a, p, why)) != KD_OK)
        out->n -= a.size;
    return err;
}

/* What stands between the brackets at the end of a line; false if there are none. */
static bool
in_brackets(struct kd_slice line, struct kd_slice *inside)
{
    const uint8_t *open = line.n == 0 ? NULL : memchr(line.p, '[', line.n);

    if (open == NULL || line.p[line.n - 1] != ']')
        return false;
    size_t from = (size_t)(open - line.p) + 1;
    *inside = kd_slice(line.p + from, line.n - 1 - from);
    return true;
}

/* Base 64 of one line, with padding or without. */
static kd_err
add_base64(struct kd_slice chars, struct kd_buf *out, const char **why)
{
    uint8_t *p;
    kd_err err;

    if (chars.n % 4 == 0)
        for (int i = 0; i < 2 && chars.n > 0 && chars.p[chars.n - 1] == '='; i++)
            chars.n--;
    size_t rest = chars.n % 4;
    size_t n = chars.n / 4 * 3 + (rest == 0 ? 0 : rest - 1);
    if (n == 0 || rest == 1)
        return malformed(why, "base 64 of a wrong length");
    if ((err = make_room(out, n, &p, why)) != KD_OK)
        return err;
    if (dime_base64_read(chars, p, n) == KD_OK)
        return KD_OK;
    out->n -= n;
    return malformed(why, "no base 64 between the brackets");
}

kd_err
dmtp_text_signet(struct kd_slice text, bool libdime, struct kd_buf *out,
                 const char **why)
{
    struct kd_slice rest = text, line, inside;

    /* One line is no armour. */
    if (libdime && next_line(&rest, &line) && rest.n == 0 && in_brackets(line, &inside))
        return add_base64(inside, out, why);
    return add_armor(text, out, why);
}

/* ---- histories */

static bool
starts_with(struct kd_slice s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

/* Links end where they are in the buffer, which may move while it grows. */
struct links {
    struct kd_buf *out;
    struct kd_slice *list;
    size_t n, max;
    const char **why;
};

static kd_err
add_link(struct links *l, struct kd_slice text, bool is_armor)
{
    size_t before = l->out->n;
    kd_err err;

    if (l->n == l->max)
        return too_large(l->why, "more links than are taken");
    err = is_armor ? add_armor(text, l->out, l->why) : add_base64(text, l->out, l->why);
    if (err == KD_OK)
        l->list[l->n++].n = l->out->n - before;
    return err;
}

static kd_err
add_links(struct links *l, struct kd_slice text, bool libdime)
{
    const uint8_t *from = NULL; /* of the armour that is not closed yet */
    struct kd_slice line, inside;
    kd_err err = KD_OK;

    while (err == KD_OK && next_line(&text, &line)) {
        if (starts_with(line, "-----BEGIN ")) {
            if (from != NULL)
                return malformed(l->why, "armour in armour");
            from = line.p;
        } else if (starts_with(line, "-----END ")) {
            if (from == NULL)
                return malformed(l->why, "an end without armour");
            err = add_link(l, kd_slice(from, (size_t)(line.p + line.n - from)), true);
            from = NULL;
        } else if (from == NULL && libdime && line.n > 0 && line.p[0] == '[' &&
                   in_brackets(line, &inside)) {
            err = add_link(l, inside, false);
        }
    }
    if (err == KD_OK && from != NULL)
        return malformed(l->why, "armour without an end");
    return err;
}

kd_err
dmtp_text_links(struct kd_slice text, bool libdime, struct kd_buf *out,
                struct kd_slice *links, size_t max, size_t *n, const char **why)
{
    struct links l = {.out = out, .list = links, .max = max, .why = why};
    kd_err err = add_links(&l, text, libdime);

    if (err != KD_OK)
        return err;
    if (l.n == 0)
        return malformed(why, "a history without links");
    const uint8_t *p = out->p;
    for (size_t i = 0; i < l.n; i++) {
        links[i].p = p;
        p += links[i].n;
    }
    *n = l.n;
    return KD_OK;
}
