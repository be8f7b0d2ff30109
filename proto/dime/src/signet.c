/* Looking into a parsed signet. */
#include "field_read.h"

#include <dime/signet.h>

enum { PERMS_RESERVED = 0xf0 };

const char *
dime_part_name(enum dime_part part)
{
    static const char *const names[DIME_PART_COUNT] = {"request", "core", "full",
                                                       "identified"};

    return (size_t)part < DIME_PART_COUNT ? names[part] : "?";
}

bool
dime_perms_valid(uint8_t perms)
{
    return (perms & PERMS_RESERVED) == 0 &&
           (perms & (DIME_PERM_USERS | DIME_PERM_MESSAGES | DIME_PERM_TLS)) != 0;
}

static void
walk_from(struct dime_walk *w, const struct dime_signet *s, size_t at)
{
    *w = (struct dime_walk){
        .cur = kd_cur(s->raw), .kind = s->kind, .layout = s->layout, .why = DIME_FINE};
    kd_ignore(kd_cur_take(&w->cur, at).n); /* an offset of the parser's */
}

void
dime_walk_signet(struct dime_walk *w, const struct dime_signet *s)
{
    walk_from(w, s, DIME_HEADER_SIZE);
}

bool
dime_walk_next(struct dime_walk *w, struct dime_field *out)
{
    if (w->why != DIME_FINE || kd_cur_left(&w->cur) == 0)
        return false;
    uint8_t type = kd_cur_peek(&w->cur);
    if (w->info && (type < DIME_FIELD_INFO_FIRST || type > DIME_FIELD_INFO_LAST))
        w->why = DIME_NOT_INFORMATIONAL;
    else
        w->why = dime_field_read(&w->cur, w->kind, w->layout, out);
    return w->why == DIME_FINE;
}

kd_err
dime_signet_find(const struct dime_signet *s, uint8_t type, struct dime_field *out)
{
    struct dime_walk w;
    struct dime_field field;

    if (s->first[type] == 0)
        return KD_NOT_FOUND;
    walk_from(&w, s, s->first[type]);
    while (dime_walk_next(&w, &field) && field.type == type) {
        if (field.value.n != 0 || field.name.n != 0) {
            *out = field;
            return KD_OK;
        }
    }
    return KD_NOT_FOUND;
}

kd_err
dime_signet_find_named(const struct dime_signet *s, struct kd_slice name,
                       struct dime_field *out)
{
    struct dime_walk w;
    struct dime_field field;

    if (s->first[DIME_FIELD_UNDEFINED] == 0 || !dime_field_name_usable(name))
        return KD_NOT_FOUND;
    walk_from(&w, s, s->first[DIME_FIELD_UNDEFINED]);
    while (dime_walk_next(&w, &field) && field.type == DIME_FIELD_UNDEFINED) {
        if (kd_slice_eq(field.name, name)) {
            *out = field;
            return KD_OK;
        }
    }
    return KD_NOT_FOUND;
}

const uint8_t *
dime_signet_signature(const struct dime_signet *s, uint8_t type)
{
    struct dime_field field;

    if (dime_signet_find(s, type, &field) != KD_OK || field.def == NULL ||
        field.def->shape != DIME_SHAPE_SIGNATURE)
        return NULL;
    return field.value.p;
}

static struct kd_slice
fields_until(const struct dime_signet *s, uint32_t end)
{
    return kd_slice(s->raw.p + DIME_HEADER_SIZE, end - DIME_HEADER_SIZE);
}

struct kd_slice
dime_signet_covered(const struct dime_signet *s, uint8_t type)
{
    /* Fields ascend, so what precedes a unique field is of lower types. */
    return s->first[type] == 0 ? kd_slice(NULL, 0) : fields_until(s, s->first[type]);
}

kd_err
dime_signet_part(const struct dime_signet *s, enum dime_part part, struct kd_slice *out)
{
    if ((s->kind == DIME_ORG) ? part == DIME_PART_REQUEST
                              : s->kind == DIME_SSR && part != DIME_PART_REQUEST)
        return KD_NOT_FOUND;
    *out = fields_until(s, s->end[part]);
    return KD_OK;
}

struct kd_slice
dime_signet_info(const struct dime_signet *s)
{
    uint32_t end = s->first[DIME_FIELD_FULL_SIGNATURE];

    if (end == 0) /* a request or a core: nothing else may precede 253 */
        return kd_slice(NULL, 0);
    return kd_slice(s->raw.p + s->end[DIME_PART_CORE], end - s->end[DIME_PART_CORE]);
}

bool
dime_signet_same_link(const struct dime_signet *a, const struct dime_signet *b)
{
    struct kd_slice in_a, in_b;

    return dime_signet_part(a, DIME_PART_REQUEST, &in_a) == KD_OK &&
           dime_signet_part(b, DIME_PART_REQUEST, &in_b) == KD_OK &&
           kd_slice_eq(in_a, in_b);
}
