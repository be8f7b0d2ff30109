/* The field tables of signets and the layout of one field (P5, "Field layout"). */
#ifndef DIME_FIELD_H
#define DIME_FIELD_H

#include <dime/reason.h>
#include <keyd/base/slice.h>

enum dime_kind { DIME_ORG, DIME_USER, DIME_SSR };

/* How public keys are laid out (D-030 to D-033). All else is the same in all. */
enum dime_layout {
    DIME_LAYOUT_L,   /* libdime: 01 21 40 k32, SOK 02 22 PP 40 k32, 03 0021 k33 */
    DIME_LAYOUT_M,   /* its older copy: as L, but 03 21 k33 */
    DIME_LAYOUT_P,   /* magma prime: 01 20 k32, SOK 02 21 PP k32, 03 21 k33 */
    DIME_LAYOUT_S33, /* the specification: 01 k32, SOK 02 PP k32, 03 k33 */
    DIME_LAYOUT_S32, /* the specification to the letter: 03 x32 */
    DIME_LAYOUT_COUNT
};

/* "L", "M", "P" or "S". */
const char *dime_layout_name(enum dime_layout layout);

enum dime_shape {
    DIME_SHAPE_SIGN_KEY,
    DIME_SHAPE_SOK,
    DIME_SHAPE_ENC_KEY,
    DIME_SHAPE_SIGNATURE,  /* 64 octets, no length */
    DIME_SHAPE_LEN1,       /* one octet of length, then the value */
    DIME_SHAPE_LEN2,       /* two octets of length */
    DIME_SHAPE_LEN3,       /* three octets of length */
    DIME_SHAPE_NAMED,      /* one octet of length, name, two octets of length, value */
    DIME_SHAPE_IDENTIFIER, /* one octet of length, or 00 and one more (D-051) */
};

/* What a value means. Reading the value by it is not the format's business: a field
 * whose value breaks its rule is not shown or used, the signet stays valid. */
enum dime_rule {
    DIME_RULE_KEY,
    DIME_RULE_SOK,
    DIME_RULE_ALTERNATE_KEY,
    DIME_RULE_SIGNATURE,
    DIME_RULE_IDENTIFIER,
    DIME_RULE_UTF8,
    DIME_RULE_PHONE,
    DIME_RULE_LANGUAGE,
    DIME_RULE_LIST,
    DIME_RULE_CRYPTOCURRENCY,
    DIME_RULE_SIZE_LIMIT,
    DIME_RULE_URL,
    DIME_RULE_HTTPS_URL,
    DIME_RULE_EMAIL,
    DIME_RULE_HOSTS,
    DIME_RULE_ONION_HOSTS,
    DIME_RULE_SIGNATURES,
    DIME_RULE_CODECS,
    DIME_RULE_LABELLED,
    DIME_RULE_ADDRESSES,
    DIME_RULE_ENDORSEMENT,
    DIME_RULE_UNDEFINED,
    DIME_RULE_IMAGE,
};

enum dime_count { DIME_UNIQUE, DIME_MANY };

#define DIME_FIELD(type, name, label, shape, count, rule) DIME_FIELD_##name = (type),
enum dime_common_field {
#include <dime/fields_common.def>
};
#undef DIME_FIELD
#define DIME_FIELD(type, name, label, shape, count, rule) DIME_ORG_##name = (type),
enum dime_org_field {
#include <dime/fields_org.def>
};
#undef DIME_FIELD
#define DIME_FIELD(type, name, label, shape, count, rule) DIME_USER_##name = (type),
enum dime_user_field {
#include <dime/fields_user.def>
};
#undef DIME_FIELD

enum {
    DIME_FIELD_INFO_FIRST = 16, /* informational fields are 16 to 252 */
    DIME_FIELD_INFO_LAST = 252,
};

struct dime_field_def {
    const char *label;
    enum dime_shape shape;
    enum dime_count count;
    enum dime_rule rule;
    uint8_t type;
};

/* The table's line, static storage; NULL if the type means nothing in this kind. A
 * request (DIME_SSR) has the user's fields 1 to 5. */
const struct dime_field_def *dime_field_def(enum dime_kind kind, uint8_t type);

/* One field as it stands in an object; the slices are borrowed from it. */
struct dime_field {
    uint8_t type;
    uint8_t flags;                    /* of a SOK: its permissions; else 0 */
    const struct dime_field_def *def; /* NULL if the type means nothing here */
    struct kd_slice raw;              /* the field with type and lengths */
    struct kd_slice name;             /* of an undefined field (251), else empty */
    struct kd_slice value;            /* of a key field: the key octets alone */
};

/* True if an undefined field of this name may be used: not empty, UTF-8, no code
 * point below U+0020, no White_Space (SG-37 to SG-46, D-042). */
bool dime_field_name_usable(struct kd_slice name);

#endif
