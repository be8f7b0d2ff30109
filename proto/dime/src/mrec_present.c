/* TXT data as people have it in files and on screens. */
#include <dime/mrec.h>

struct present {
    struct kd_slice text;
    size_t at, max;
    unsigned depth; /* of parentheses */
    struct kd_buf *out;
    size_t sizes[DIME_MREC_PARTS_MAX]; /* of the strings in out */
    size_t n, n_first;                 /* all; of the first record */
    size_t first_size;                 /* octets of the first record */
};

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Behind the backslash. */
static kd_err
take_escape(struct present *p)
{
    const uint8_t *c = p->text.p + p->at;
    size_t left = p->text.n - p->at;

    if (left == 0)
        return KD_MALFORMED;
    if (!is_digit(c[0])) {
        kd_buf_u8(p->out, c[0]);
        p->at++;
        return KD_OK;
    }
    if (left < 3 || !is_digit(c[1]) || !is_digit(c[2]))
        return KD_MALFORMED;
    unsigned v = (unsigned)(c[0] - '0') * 100 + (unsigned)(c[1] - '0') * 10 +
                 (unsigned)(c[2] - '0');
    if (v > 255)
        return KD_MALFORMED;
    kd_buf_u8(p->out, (uint8_t)v);
    p->at += 3;
    return KD_OK;
}

/* Behind the opening quote, up to and with the closing one. */
static kd_err
take_string(struct present *p)
{
    size_t began = p->out->n;
    kd_err err = KD_OK;

    for (;;) {
        if (p->at == p->text.n)
            return KD_MALFORMED;
        uint8_t c = p->text.p[p->at++];
        if (c == '"')
            break;
        if (c == '\\')
            err = take_escape(p);
        else
            kd_buf_u8(p->out, c);
        if (err != KD_OK || (err = p->out->err) != KD_OK)
            return err;
    }
    if (p->n == p->max)
        return KD_TOO_LARGE;
    p->sizes[p->n++] = p->out->n - began;
    return KD_OK;
}

/* A record has ended: the first is kept, the others must be like it. */
static kd_err
end_record(struct present *p)
{
    size_t n = p->n - p->n_first, size = p->out->n - p->first_size;

    if (p->n == 0 || (p->n_first != 0 && n == 0))
        return KD_OK;
    if (p->n_first == 0) {
        p->n_first = p->n;
        p->first_size = p->out->n;
        return KD_OK;
    }
    if (n != p->n_first || size != p->first_size ||
        memcmp(p->sizes, p->sizes + n, n * sizeof *p->sizes) != 0 ||
        (size != 0 && memcmp(p->out->p, p->out->p + size, size) != 0))
        return KD_CONFLICT;
    p->n = n;
    p->out->n = size;
    return KD_OK;
}

static void
skip_comment(struct present *p)
{
    while (p->at < p->text.n && p->text.p[p->at] != '\n')
        p->at++;
}

static kd_err
take_quoted(struct present *p)
{
    kd_err err = KD_OK;

    while (err == KD_OK && p->at < p->text.n) {
        uint8_t c = p->text.p[p->at++];
        if (c == '"')
            err = take_string(p);
        else if (c == ';')
            skip_comment(p);
        else if (c == '(')
            p->depth++;
        else if (c == ')' && p->depth-- == 0)
            err = KD_MALFORMED;
        else if (c == '\n' && p->depth == 0)
            err = end_record(p);
    }
    if (err == KD_OK && p->depth != 0)
        err = KD_MALFORMED;
    return err == KD_OK ? end_record(p) : err;
}

static kd_err
take_bare(struct present *p)
{
    struct kd_slice s = p->text;

    while (s.n != 0 && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
        s.n--;
    kd_buf_put(p->out, s);
    p->sizes[0] = s.n;
    p->n = s.n != 0;
    return p->out->err;
}

kd_err
dime_mrec_read_strings(struct kd_slice text, struct kd_buf *out,
                       struct kd_slice *strings, size_t max, size_t *n)
{
    struct present p = {.text = text,
                        .max = max < DIME_MREC_PARTS_MAX ? max : DIME_MREC_PARTS_MAX,
                        .out = out};
    size_t at = 0;

    kd_buf_reset(out);
    bool is_quoted = text.n != 0 && memchr(text.p, '"', text.n) != NULL;
    kd_err err = p.max == 0  ? KD_TOO_LARGE
                 : is_quoted ? take_quoted(&p)
                             : take_bare(&p);
    if (err == KD_OK && p.n == 0)
        err = KD_NOT_FOUND;
    if (err != KD_OK)
        return err;
    for (size_t i = 0; i < p.n; i++) {
        strings[i] = kd_slice(p.sizes[i] == 0 ? NULL : out->p + at, p.sizes[i]);
        at += p.sizes[i];
    }
    *n = p.n;
    return KD_OK;
}
