#include "field_read.h"

#include <dime/info.h>

void
dime_walk_info(struct dime_walk *w, enum dime_kind kind, struct kd_slice stream)
{
    /* Informational fields are laid out the same in every layout. */
    *w = (struct dime_walk){.cur = kd_cur(stream),
                            .kind = kind,
                            .layout = DIME_LAYOUT_L,
                            .why = DIME_FINE,
                            .info = true};
}

/* Empty means absent, but an undefined field with a name may have an empty value. */
static bool
is_worth_issuing(const struct dime_field *field)
{
    if (field->type == DIME_FIELD_UNDEFINED)
        return dime_field_name_usable(field->name);
    return field->value.n != 0;
}

static enum dime_reason
check_next(const struct dime_field *field, uint8_t last)
{
    if (field->def == NULL)
        return DIME_UNASSIGNED_FIELD;
    if (field->type < last)
        return DIME_ORDER;
    if (field->type == last && field->def->count == DIME_UNIQUE)
        return DIME_DUPLICATE;
    return DIME_FINE;
}

kd_err
dime_info_filter(enum dime_kind kind, struct kd_slice stream, struct kd_buf *out,
                 enum dime_reason *why)
{
    struct dime_walk w;
    struct dime_field field;
    uint8_t last = 0;

    dime_walk_info(&w, kind, stream);
    while (dime_walk_next(&w, &field)) {
        if ((*why = check_next(&field, last)) != DIME_FINE)
            return dime_reason_err(*why);
        last = field.type;
        if (is_worth_issuing(&field))
            kd_buf_put(out, field.raw);
    }
    *why = w.why;
    if (*why == DIME_FINE && out->err != KD_OK) {
        *why = out->err == KD_TOO_LARGE ? DIME_OVERSIZE : DIME_NOT_MADE;
        return out->err;
    }
    return dime_reason_err(*why);
}
