#include <dime/field.h>
#include <dime/utf8.h>

#define DIME_FIELD(type, name, label, shape, count, rule)                              \
    [type] = {label, DIME_SHAPE_##shape, DIME_##count, DIME_RULE_##rule, type},

static const struct dime_field_def org_fields[256] = {
#include <dime/fields_org.def>
};

static const struct dime_field_def user_fields[256] = {
#include <dime/fields_user.def>
};

#undef DIME_FIELD

const struct dime_field_def *
dime_field_def(enum dime_kind kind, uint8_t type)
{
    if (kind == DIME_SSR && type > DIME_USER_USER_SIGNATURE)
        return NULL;
    const struct dime_field_def *def =
        kind == DIME_ORG ? &org_fields[type] : &user_fields[type];
    return def->label == NULL ? NULL : def;
}

const char *
dime_layout_name(enum dime_layout layout)
{
    static const char *const names[DIME_LAYOUT_COUNT] = {"L", "M", "P", "S", "S"};

    return (size_t)layout < DIME_LAYOUT_COUNT ? names[layout] : "?";
}

bool
dime_field_name_usable(struct kd_slice name)
{
    uint32_t point;

    if (name.n == 0)
        return false;
    while (dime_utf8_next(&name, &point)) {
        if (point < 0x20 || dime_utf8_is_space(point))
            return false;
    }
    return name.n == 0; /* else it stopped at what is no UTF-8 */
}
