#include "tree.h"

#include <dime/utf8.h>

#include <stdlib.h>

struct scan {
    struct kd_slice mail;
    struct mime_tree *tree;
    uint32_t
        open[DIME_MIME_DEPTH]; /* multiparts without a close yet, outermost first */
    uint32_t depth;
    uint32_t part; /* what the next delimiter ends; none: a preamble */
    size_t at;
    bool nomem;
};

enum { NO_PART = UINT32_MAX };

/* A line that begins with an open boundary. */
enum delimiter { NOT_ONE, NEXT, LAST, ODD };

struct found {
    enum delimiter what;
    size_t at, end; /* the octets of the delimiter, without its line end */
    uint32_t level; /* in open */
};

static struct mime_node *
add_node(struct scan *s)
{
    struct mime_tree *t = s->tree;

    if (t->n == t->cap) {
        uint32_t cap = t->cap == 0 ? 8 : t->cap * 2;
        struct mime_node *p = reallocarray(t->node, cap, sizeof *p);
        if (p == NULL) {
            s->nomem = true;
            return NULL;
        }
        t->node = p;
        t->cap = cap;
    }
    struct mime_node *node = &t->node[t->n++];
    *node = (struct mime_node){0};
    return node;
}

static bool
ends_line(const uint8_t *p, size_t n)
{
    return n >= 2 && p[0] == '\r' && p[1] == '\n';
}

/* What the line at p (n octets to the end of the mail) is to one boundary. */
static enum delimiter
match(const uint8_t *p, size_t n, struct kd_slice boundary, size_t *size)
{
    size_t at = 2 + boundary.n;

    if (n < at || memcmp(p + 2, boundary.p, boundary.n) != 0)
        return NOT_ONE;
    *size = at;
    if (ends_line(p + at, n - at))
        return NEXT;
    if (n - at < 2 || p[at] != '-' || p[at + 1] != '-')
        return ODD;
    *size = at += 2;
    while (at < n && (p[at] == ' ' || p[at] == '\t'))
        at++;
    return at == n || ends_line(p + at, n - at) ? LAST : ODD;
}

/* The line that begins with "--" at at, to all open boundaries. Exactly one may be the
 * whole line. One that is only the beginning of it does not count beside that: "--ab"
 * is a delimiter of "ab", not of "a". */
static struct found
match_all(const struct scan *s, size_t at)
{
    const uint8_t *p = s->mail.p + at;
    struct found found = {.what = NOT_ONE, .at = at};
    bool odd = false;

    for (uint32_t i = s->depth; i-- > 0;) {
        const struct mime_node *node = &s->tree->node[s->open[i]];
        size_t size;
        enum delimiter d =
            match(p, s->mail.n - at,
                  kd_slice(s->mail.p + node->boundary, node->boundary_size), &size);
        if (d == NEXT || d == LAST) {
            if (found.what != NOT_ONE)
                return (struct found){.what = ODD, .at = at};
            found = (struct found){.what = d, .at = at, .end = at + size, .level = i};
        }
        odd |= d == ODD;
    }
    if (found.what == NOT_ONE && odd)
        found.what = ODD;
    return found;
}

/* The next line that begins with an open boundary, whatever ends lines. */
static struct found
find_next(const struct scan *s)
{
    const uint8_t *mail = s->mail.p, *end = mail + s->mail.n, *p = mail + s->at;

    while ((p = memmem(p, (size_t)(end - p), "--", 2)) != NULL) {
        if (p[-1] == '\n' || p[-1] == '\r') { /* a header comes before */
            struct found found = match_all(s, (size_t)(p - mail));
            if (found.what != NOT_ONE)
                return found;
        }
        p += 2;
    }
    return (struct found){.what = NOT_ONE};
}

/* A boundary that is open already would end two multiparts. */
static bool
is_open(const struct scan *s, struct kd_slice boundary)
{
    for (uint32_t i = 0; i < s->depth; i++) {
        const struct mime_node *node = &s->tree->node[s->open[i]];
        if (kd_slice_eq(boundary,
                        kd_slice(s->mail.p + node->boundary, node->boundary_size)))
            return true;
    }
    return false;
}

struct types {
    struct kd_slice type, disposition;
};

/* The fields of a part; *types are the bodies of those that decide what it is. */
static enum dime_mime_raw
read_head(const struct scan *s, struct mime_node *node, struct types *types)
{
    struct kd_slice rest = kd_slice(s->mail.p + node->head, s->mail.n - node->head);
    struct mime_field f;
    enum dime_mime_raw why;

    *types = (struct types){0};
    for (;;) {
        node->head_end = (uint32_t)(rest.p - s->mail.p);
        if ((why = mime_field_next(&rest, &f)) != DIME_MIME_MAPPED)
            return why;
        if (f.raw.n == 0)
            break;
        if (mime_name_begins(f.name, "X-Dime-"))
            return DIME_MIME_OURS;
        /* a boundary may have a colon, and its delimiter then looks like a field */
        if (memcmp(f.raw.p, "--", 2) == 0 &&
            match_all(s, node->head_end).what != NOT_ONE)
            return DIME_MIME_DELIMITER;
        struct kd_slice *type = mime_name_is(f.name, "Content-Type") ? &types->type
                                : mime_name_is(f.name, "Content-Disposition")
                                    ? &types->disposition
                                    : NULL;
        if (type != NULL && type->p != NULL)
            return DIME_MIME_TYPE_TWICE;
        if (type != NULL)
            *type = f.body;
    }
    node->body = (uint32_t)(rest.p - s->mail.p);
    return dime_utf8_valid(
               kd_slice(s->mail.p + node->head, node->head_end - node->head), NULL)
               ? DIME_MIME_MAPPED
               : DIME_MIME_NOT_UTF8;
}

static enum dime_mime_raw
read_types(const struct scan *s, const struct types *types, struct mime_node *node)
{
    struct mime_disposition disposition = {0};
    struct mime_type type = {0};
    enum dime_mime_raw why = DIME_MIME_MAPPED;

    if (types->disposition.p != NULL)
        why = mime_disposition_read(types->disposition, &disposition);
    if (why == DIME_MIME_MAPPED && types->type.p != NULL)
        why = mime_type_read(types->type, &type);
    if (why != DIME_MIME_MAPPED)
        return why;
    if (types->type.p == NULL) /* RFC 2046, 5.1.5 */
        type.text =
            node->parent == MIME_NO_PARENT || !s->tree->node[node->parent].digest;
    node->is_inline = disposition.is_inline;
    node->is_attachment = disposition.is_attachment;
    node->mixed = type.mixed;
    node->alternative = type.alternative;
    node->digest = type.digest;
    node->text = type.text;
    if (type.multipart) {
        node->boundary = (uint32_t)(type.boundary.p - s->mail.p);
        node->boundary_size = (uint8_t)type.boundary.n;
        if (is_open(s, type.boundary))
            return DIME_MIME_BOUNDARY;
    }
    return DIME_MIME_MAPPED;
}

/* A part that begins at s->at. */
static enum dime_mime_raw
begin_part(struct scan *s)
{
    struct types types;
    enum dime_mime_raw why;

    if (s->tree->n == DIME_MIME_PARTS)
        return DIME_MIME_TOO_MANY;
    uint32_t index = s->tree->n;
    struct mime_node *node = add_node(s);
    if (node == NULL)
        return DIME_MIME_TOO_MANY;
    node->head = (uint32_t)s->at;
    node->parent = s->depth == 0 ? MIME_NO_PARENT : s->open[s->depth - 1];
    if ((why = read_head(s, node, &types)) != DIME_MIME_MAPPED ||
        (why = read_types(s, &types, node)) != DIME_MIME_MAPPED)
        return why;
    s->at = node->body;
    s->part = index;
    if (node->boundary_size == 0)
        return DIME_MIME_MAPPED;
    if (s->depth == DIME_MIME_DEPTH)
        return DIME_MIME_TOO_DEEP;
    s->open[s->depth++] = index;
    s->part = NO_PART;
    return DIME_MIME_MAPPED;
}

/* What stands before a delimiter of the innermost multipart ends there. */
static enum dime_mime_raw
end_part(struct scan *s, size_t at)
{
    const uint8_t *p = s->mail.p + at;

    if (p[-2] != '\r' || p[-1] != '\n')
        return DIME_MIME_DELIMITER;
    if (s->part == NO_PART) {
        s->tree->node[s->open[s->depth - 1]].first = (uint32_t)at;
        return DIME_MIME_MAPPED;
    }
    struct mime_node *node = &s->tree->node[s->part];
    if (at - 2 < (node->boundary_size == 0 ? node->body : node->epilogue))
        return DIME_MIME_NO_PARTS;
    node->end = (uint32_t)at - 2;
    return DIME_MIME_MAPPED;
}

static enum dime_mime_raw
step(struct scan *s)
{
    struct found found = find_next(s);
    enum dime_mime_raw why;

    if (found.what == NOT_ONE)
        return DIME_MIME_UNCLOSED;
    if (found.what == ODD)
        return DIME_MIME_DELIMITER;
    if (found.level != s->depth - 1)
        return DIME_MIME_UNCLOSED;
    if ((why = end_part(s, found.at)) != DIME_MIME_MAPPED)
        return why;
    uint32_t index = s->open[s->depth - 1];
    struct mime_node *multipart = &s->tree->node[index];
    if (found.what == NEXT) {
        multipart->n_children++;
        s->at = found.end + 2;
        return begin_part(s);
    }
    if (multipart->n_children == 0)
        return DIME_MIME_NO_PARTS;
    multipart->epilogue = (uint32_t)found.end;
    s->at = found.end;
    s->part = index;
    s->depth--;
    return DIME_MIME_MAPPED;
}

kd_err
mime_tree_read(struct kd_slice mail, struct mime_tree *out)
{
    struct scan s = {.mail = mail, .tree = out};
    enum dime_mime_raw why;

    *out = (struct mime_tree){0};
    if (mail.n > DIME_MIME_MAIL_MAX)
        return KD_TOO_LARGE;
    why = begin_part(&s);
    while (why == DIME_MIME_MAPPED && s.depth != 0)
        why = step(&s);
    if (s.nomem)
        return KD_NOMEM;
    if (why == DIME_MIME_MAPPED)
        out->node[0].end = (uint32_t)mail.n;
    out->why = why;
    return KD_OK;
}

void
mime_tree_free(struct mime_tree *t)
{
    free(t->node);
    *t = (struct mime_tree){0};
}
