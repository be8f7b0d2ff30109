#include <dime/armor.h>
#include <dime/base64.h>

#include <assert.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

enum { COLUMNS = 64, OCTETS_PER_LINE = 48, CRC_SIZE = 3, CRC_CHARS = 4 };

#define DASHES "-----"
static const char BEGIN[] = DASHES "BEGIN ";
static const char END[] = DASHES "END ";

static const struct {
    const char *text;
    uint16_t magic;
} labels[] = {
    [DIME_ARMOR_NONE] = {"", 0},
#define DIME_ARMOR_LABEL(id, text, magic) [DIME_ARMOR_##id] = {text, magic},
#include <dime/armor_labels.def>
#undef DIME_ARMOR_LABEL
};
enum { N_LABELS = sizeof labels / sizeof labels[0] };

static kd_err
malformed(const char **why, const char *text)
{
    if (why != NULL)
        *why = text;
    return KD_MALFORMED;
}

/* CRC-24 of RFC 4880, 6.1, bit by bit with masks: a table would be indexed by the
 * octets, which may be a key. */
static uint32_t
crc24(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xb704ce;

    for (size_t i = 0; i < n; i++) {
        crc ^= (uint32_t)p[i] << 16;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (0x1864cfbu & (0u - (crc >> 23 & 1)));
    }
    return crc & 0xffffff;
}

/* Takes the next line off *text, without its LF or CRLF; false at the end. */
static bool
next_line(struct kd_slice *text, struct kd_slice *line)
{
    if (text->n == 0)
        return false;
    const uint8_t *lf = memchr(text->p, '\n', text->n);
    size_t n = lf != NULL ? (size_t)(lf - text->p) : text->n;
    size_t taken = lf != NULL ? n + 1 : n;

    *line = kd_slice(text->p, n);
    text->p += taken;
    text->n -= taken;
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

static bool
starts_with(struct kd_slice s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static bool
is_boundary(struct kd_slice line)
{
    return starts_with(line, BEGIN) || starts_with(line, END);
}

/* The label of a line that is a boundary of the given kind. */
static enum dime_armor_label
boundary_label(struct kd_slice line, const char *kind)
{
    size_t head = strlen(kind), tail = strlen(DASHES);

    if (!starts_with(line, kind) || line.n - head < tail ||
        memcmp(line.p + line.n - tail, DASHES, tail) != 0)
        return DIME_ARMOR_NONE;
    struct kd_slice text = kd_slice(line.p + head, line.n - head - tail);
    for (int i = DIME_ARMOR_NONE + 1; i < N_LABELS; i++) {
        if (kd_slice_eq(text, kd_slice_str(labels[i].text)))
            return (enum dime_armor_label)i;
    }
    return DIME_ARMOR_NONE;
}

/* The number of '=' at the end of a line, up to the two that padding has. */
static size_t
padding_of(struct kd_slice line)
{
    size_t n = 0;

    while (n < 2 && n < line.n && line.p[line.n - 1 - n] == '=')
        n++;
    return n;
}

static bool
is_crc(struct kd_slice line)
{
    return line.n == 1 + CRC_CHARS && line.p[0] == '=' && line.p[1] != '=';
}

/* What is known of a block while its lines are walked. The order is: lines of base
 * 64, padding (at the end of one, or on lines of its own), CRC. */
struct walk {
    struct dime_armor *out;
    size_t n_chars;
    size_t n_padding;
};

static kd_err
take_body_line(struct walk *w, struct kd_slice line, const char **why)
{
    struct dime_armor *a = w->out;

    if (line.n == 0)
        return malformed(why, "empty line inside the armour");
    if (a->crc.n != 0)
        return malformed(why, "text behind the armour's CRC");
    if (is_crc(line)) {
        a->crc = kd_slice(line.p + 1, CRC_CHARS);
        return KD_OK;
    }
    size_t padding = padding_of(line);
    if (w->n_padding != 0 && padding != line.n)
        return malformed(why, "text behind the armour's padding");
    w->n_padding += padding;
    line.n -= padding;
    if (line.n == 0)
        return KD_OK;
    if (a->body.n == 0)
        a->body.p = line.p;
    a->body.n = (size_t)(line.p + line.n - a->body.p);
    w->n_chars += line.n;
    return KD_OK;
}

/* Four characters make three octets; a rest of one makes none. */
static kd_err
measure(struct walk *w, const char **why)
{
    size_t rest = w->n_chars % 4;

    if (w->n_chars == 0)
        return malformed(why, "the armour is empty");
    if (rest == 1)
        return malformed(why, "the armour's base 64 has a wrong length");
    if (w->n_padding != 0 && (rest == 0 || rest + w->n_padding != 4))
        return malformed(why, "the armour's padding is wrong");
    w->out->size = w->n_chars / 4 * 3 + (rest == 0 ? 0 : rest - 1);
    return KD_OK;
}

static kd_err
find_begin(struct kd_slice *text, enum dime_armor_label *label, const char **why)
{
    struct kd_slice line;

    while (next_line(text, &line)) {
        if (!is_boundary(line))
            continue;
        *label = boundary_label(line, BEGIN);
        if (*label == DIME_ARMOR_NONE)
            return malformed(why, "the armour's first line has no known label");
        return KD_OK;
    }
    return malformed(why, "there is no armour");
}

kd_err
dime_armor_parse(struct kd_slice text, struct dime_armor *out, const char **why)
{
    struct dime_armor a = {0};
    struct walk w = {.out = &a};
    struct kd_slice line;
    bool ended = false;
    kd_err err;

    if ((err = find_begin(&text, &a.label, why)) != KD_OK)
        return err;
    while (!ended && next_line(&text, &line)) {
        if (is_boundary(line)) {
            if (boundary_label(line, END) != a.label)
                return malformed(why,
                                 "the armour's last line does not match its first");
            ended = true;
        } else if ((err = take_body_line(&w, line, why)) != KD_OK)
            return err;
    }
    if (!ended)
        return malformed(why, "the armour has no last line");
    while (next_line(&text, &line)) {
        if (is_boundary(line))
            return malformed(why, "there is more than one armour block");
    }
    if ((err = measure(&w, why)) != KD_OK)
        return err;
    *out = a;
    return KD_OK;
}

static kd_err
check_crc(const struct dime_armor *a, const uint8_t *octets, const char **why)
{
    uint8_t stated[CRC_SIZE];
    kd_err err = KD_OK;

    if (a->crc.n == 0)
        return KD_OK;
    if (dime_base64_read(a->crc, stated, sizeof stated) != KD_OK)
        err = malformed(why, "the armour's CRC is not base 64");
    else if (kd_be24(stated) != crc24(octets, a->size))
        err = malformed(why, "the armour's CRC is wrong");
    /* 24 bits that depend on what may be a key. */
    kd_secret_wipe(stated, sizeof stated);
    return err;
}

kd_err
dime_armor_decode(const struct dime_armor *a, uint8_t *out, const char **why)
{
    kd_err err = KD_OK;

    /* A CR that stands inside a line is passed over too, but was counted as one of
     * its characters: the sizes differ then. */
    if (dime_base64_read_lines(a->body, out, a->size) != KD_OK)
        err = malformed(why, "the armour has a character that is not base 64, or bits "
                             "that are not zero at its end");
    if (err == KD_OK)
        err = check_crc(a, out, why);
    if (err != KD_OK)
        kd_secret_wipe(out, a->size);
    return err;
}

enum dime_armor_label
dime_armor_label_of(uint16_t magic)
{
    for (int i = DIME_ARMOR_NONE + 1; i < N_LABELS; i++) {
        if (labels[i].magic == magic)
            return (enum dime_armor_label)i;
    }
    return DIME_ARMOR_NONE;
}

const char *
dime_armor_label_text(enum dime_armor_label label)
{
    assert((int)label >= 0 && (int)label < N_LABELS);
    return labels[label].text;
}

static size_t
chars_of(enum dime_armor_style style, size_t n)
{
    return style == DIME_ARMOR_FILE ? (n + 2) / 3 * 4 : dime_base64_chars(n);
}

size_t
dime_armor_size(enum dime_armor_label label, enum dime_armor_style style, size_t n)
{
    size_t chars = chars_of(style, n);
    size_t size = strlen(BEGIN) + strlen(END);

    size += 2 * (strlen(dime_armor_label_text(label)) + strlen(DASHES) + 1);
    size += chars + (chars + COLUMNS - 1) / COLUMNS;
    if (style == DIME_ARMOR_FILE)
        size += 1 + CRC_CHARS + 1;
    return size;
}

static char *
put_text(char *at, const char *text)
{
    while (*text != '\0')
        *at++ = *text++;
    return at;
}

static char *
put_boundary(char *at, const char *kind, enum dime_armor_label label)
{
    at = put_text(at, kind);
    at = put_text(at, dime_armor_label_text(label));
    at = put_text(at, DASHES);
    *at++ = '\n';
    return at;
}

/* The NUL behind the characters falls on the place of the LF or of padding. */
static char *
put_base64(char *at, enum dime_armor_style style, struct kd_slice octets)
{
    char *end = at + chars_of(style, octets.n);

    dime_base64_write(octets, at);
    for (at += dime_base64_chars(octets.n); at < end; at++)
        *at = '=';
    *at = '\n';
    return at + 1;
}

void
dime_armor_encode(enum dime_armor_label label, enum dime_armor_style style,
                  struct kd_slice octets, char *out)
{
    char *at = put_boundary(out, BEGIN, label);

    assert(label != DIME_ARMOR_NONE);
    for (size_t done = 0; done < octets.n;) {
        size_t left = octets.n - done;
        size_t n = left < OCTETS_PER_LINE ? left : OCTETS_PER_LINE;
        at = put_base64(at, style, kd_slice(octets.p + done, n));
        done += n;
    }
    if (style == DIME_ARMOR_FILE) {
        uint8_t crc[CRC_SIZE];
        kd_put_be24(crc, crc24(octets.p, octets.n));
        *at++ = '=';
        at = put_base64(at, style, kd_slice(crc, sizeof crc));
        kd_secret_wipe(crc, sizeof crc);
    }
    const char *end = put_boundary(at, END, label);
    kd_ignore(end - out); /* looked at in developers' builds */
    assert((size_t)(end - out) == dime_armor_size(label, style, octets.n));
}

void
dime_armor_put(struct kd_buf *b, enum dime_armor_label label,
               enum dime_armor_style style, struct kd_slice octets)
{
    uint8_t *out = kd_buf_add(b, dime_armor_size(label, style, octets.n));

    if (out != NULL)
        dime_armor_encode(label, style, octets, (char *)out);
}

bool
dime_armor_is(struct kd_slice file)
{
    struct kd_slice line;

    if (file.n == 0 || file.p[0] < 8)
        return false;
    while (next_line(&file, &line)) {
        if (is_boundary(line))
            return true;
    }
    return false;
}

kd_err
dime_object_load(struct kd_slice file, struct kd_buf *b, struct kd_slice *out,
                 enum dime_armor_label *label, const char **why)
{
    struct dime_armor a;
    kd_err err;

    if (!dime_armor_is(file)) {
        *label = DIME_ARMOR_NONE;
        *out = file;
        return KD_OK;
    }
    if ((err = dime_armor_parse(file, &a, why)) != KD_OK)
        return err;
    kd_buf_reset(b);
    uint8_t *octets = kd_buf_add(b, a.size);
    if (octets == NULL) {
        if (why != NULL)
            *why = kd_err_text(b->err);
        return b->err;
    }
    if ((err = dime_armor_decode(&a, octets, why)) != KD_OK) {
        kd_buf_reset(b);
        return err;
    }
    *label = a.label;
    *out = kd_buf_slice(b);
    return KD_OK;
}
