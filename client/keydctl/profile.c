/* The fields that a signet is to have: --field and --image. */
#include "keydctl.h"

#include <dime/display.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>

enum {
    NAMED = 251,
    IMAGE_MAX = 0xffffff - 4096, /* octets that leave room for the other fields */
    VALUE_MAX = 32768,           /* of the protocol */
    NAME_MAX_SIZE = 255,
};

/* A field by its number or its label, whatever the case; 0 if there is none. */
static unsigned
type_of(struct kd_slice name, enum dime_kind kind)
{
    char text[64];
    uint64_t number;

    if (name.n == 0 || name.n >= sizeof text)
        return 0;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (number_read(text, DIME_FIELD_INFO_FIRST, DIME_FIELD_INFO_LAST, &number))
        return (unsigned)number;
    for (unsigned t = DIME_FIELD_INFO_FIRST; t <= DIME_FIELD_INFO_LAST; t++) {
        const struct dime_field_def *def = dime_field_def(kind, (uint8_t)t);
        if (def != NULL && strcasecmp(def->label, text) == 0)
            return t;
    }
    return 0;
}

static size_t
value_max(const struct dime_field_def *def)
{
    return def->shape == DIME_SHAPE_LEN1 ? UINT8_MAX : VALUE_MAX;
}

/* Why the field would be of no use in a signet; NULL if it is. keyd would take some of
 * these, and readers would then ignore them. */
static const char *
why_not(const struct keyd_profile_field *f, enum dime_kind kind)
{
    const struct dime_field_def *def =
        f->type == 0 ? NULL : dime_field_def(kind, (uint8_t)f->type);
    struct dime_shown shown;

    if (def == NULL)
        return "no field of that number or label";
    if (def->rule == DIME_RULE_IMAGE)
        return "the image is given with --image";
    if ((f->type == NAMED) != (f->name.n != 0))
        return f->type == NAMED ? "a name is needed: 251:NAME=VALUE"
                                : "only field 251 takes a name";
    if (f->value.n == 0)
        return "empty";
    if (f->value.n > value_max(def) || f->name.n > NAME_MAX_SIZE)
        return "too long";
    const struct dime_field field = {.type = (uint8_t)f->type,
                                     .def = def,
                                     .name = slice_of(f->name),
                                     .value = slice_of(f->value)};
    dime_show(&field, &shown);
    return shown.why;
}

/* FIELD=VALUE or 251:NAME=VALUE. */
static const char *
field_read(const char *text, enum dime_kind kind, struct keyd_profile_field *out)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL)
        return "FIELD=VALUE is needed";
    struct kd_slice left = kd_slice(text, (size_t)(equals - text)), name = {NULL, 0};
    const uint8_t *colon = memchr(left.p, ':', left.n);
    if (colon != NULL) {
        size_t n = (size_t)(colon - left.p);
        name = kd_slice(colon + 1, left.n - n - 1);
        left.n = n;
    }
    *out = (struct keyd_profile_field){.type = type_of(left, kind),
                                       .name = octets_of(name),
                                       .value = KEYD_STR(equals + 1)};
    return why_not(out, kind);
}

/* Fields stand in ascending order; those of one type as they were given. */
static void
insert(struct profile *p, const struct keyd_profile_field *field)
{
    size_t at = p->n++;

    for (; at > 0 && p->fields[at - 1].type > field->type; at--)
        p->fields[at] = p->fields[at - 1];
    p->fields[at] = *field;
}

static int
image_read(const char *path, struct kd_buf *image)
{
    const char *why = NULL;
    int fd = open_read(path);

    if (fd < 0) {
        complain(path, strerror(errno));
        return EX_NOINPUT;
    }
    int status = file_read(fd, path, image, &why);
    close_read(fd);
    if (status == TROUBLE)
        return EX_NOINPUT;
    struct dime_png png;
    if (status == HOLDS && !dime_png(kd_buf_slice(image), &png))
        why = "not a valid PNG";
    if (why == NULL)
        return EX_OK;
    complain(path, why);
    return EX_DATAERR;
}

int
profile_read(const struct options *o, enum dime_kind kind, struct profile *out)
{
    *out = (struct profile){.n = 0};
    kd_buf_init(&out->image, IMAGE_MAX);
    for (size_t i = 0; i < o->field.n; i++) {
        struct keyd_profile_field field;
        const char *why = field_read(o->field.items[i], kind, &field);
        if (why != NULL)
            return usage_error(o->field.items[i], why);
        insert(out, &field);
    }
    return o->image == NULL ? EX_OK : image_read(o->image, &out->image);
}

void
profile_free(struct profile *p)
{
    kd_buf_free(&p->image);
}

static bool
has_field(const struct dime_signet *signet, uint32_t type, struct kd_slice name,
          struct kd_slice value)
{
    struct dime_walk w;
    struct dime_field f;

    dime_walk_signet(&w, signet);
    while (dime_walk_next(&w, &f))
        if (f.type == type && kd_slice_eq(f.name, name) && kd_slice_eq(f.value, value))
            return true;
    return false;
}

void
profile_compare(const struct profile *p, const struct dime_signet *signet)
{
    char what[32];

    for (size_t i = 0; i < p->n; i++) {
        const struct keyd_profile_field *f = &p->fields[i];
        if (has_field(signet, f->type, slice_of(f->name), slice_of(f->value)))
            continue;
        kd_ignore(snprintf(what, sizeof what, "field %u", (unsigned)f->type));
        complain(what, "warning: not in the signet; keyd.conf lets it not be added, or "
                       "the signet is an older one");
    }
    if (p->image.n != 0 && !has_field(signet, DIME_FIELD_INFO_LAST, kd_slice(NULL, 0),
                                      kd_buf_slice(&p->image)))
        complain("field 252", "warning: the image is not in the signet");
}
