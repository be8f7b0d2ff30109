/* The fields of a management record's text one after another, for reading and for
 * linting. */
#ifndef DIME_MREC_SCAN_H
#define DIME_MREC_SCAN_H

#include <dime/mrec.h>

enum mrec_field {
    MREC_POK,
    MREC_TLS,
    MREC_VER,
    MREC_EXP,
    MREC_SYN,
    MREC_DX,
    MREC_POL,
    MREC_SUB,
    MREC_FIELDS,
    MREC_UNKNOWN = MREC_FIELDS, /* of another name */
    MREC_BARE,                  /* without an equals sign */
};

struct mrec_token {
    enum mrec_field field;
    bool is_long;         /* the long name */
    bool is_spaced;       /* "pok =...": the name, a space, the sign */
    struct kd_slice name; /* empty for MREC_BARE */
    struct kd_slice value;
    size_t at, n; /* in the text */
};

struct mrec_scan {
    struct kd_slice text;
    size_t at;
};

/* The next field; false at the end. A field ends at a space, a tab, a semicolon or the
 * end of the text (MR-36, D-016). */
bool mrec_next(struct mrec_scan *s, struct mrec_token *out);

/* What a field of that name must be like; DIME_MREC_FINE if it is. */
enum dime_mrec_finding mrec_pok(struct kd_slice value,
                                uint8_t out[DIME_ED25519_KEY_SIZE]);
enum dime_mrec_finding mrec_tls(struct kd_slice value, uint8_t out[DIME_SIG_SIZE]);
enum dime_mrec_finding mrec_expiry(struct kd_slice value, uint16_t *days,
                                   bool *is_capped);
bool mrec_is_version_1(struct kd_slice value);
bool mrec_policy(struct kd_slice value, enum dime_mrec_policy *out);
bool mrec_sub(struct kd_slice value, enum dime_mrec_sub *out);

/* `sig=` with what looks like a primary key (D-013). */
bool mrec_is_sig(const struct mrec_token *t);

/* The first octet that may not stand in a record; text.n if none. */
size_t mrec_bad_octet(struct kd_slice text);

bool mrec_is_digits(struct kd_slice s);

#endif
