/* Organizational signets (magic 1776), user signets (1789) and signing requests
 * (1215), read where they lie.
 *
 * Parsing decides structure and keys; it checks no signature and no policy: see
 * dime/verify.h. Nothing is allocated or copied but keys, so a signet of 16 MiB costs
 * what a small one does (D-045). */
#ifndef DIME_SIGNET_H
#define DIME_SIGNET_H

#include <dime/field.h>
#include <dime/keys.h>
#include <keyd/base/cur.h>

enum {
    DIME_MAGIC_SSR = 1215,
    DIME_MAGIC_ORG = 1776,
    DIME_MAGIC_USER = 1789,

    DIME_HEADER_SIZE = 5,           /* magic u16, length u24 of what follows */
    DIME_FIELDS_MAX = 0xffffff,     /* octets of fields */
    DIME_SIGNET_MAX = 0xffffff + 5, /* octets of an object */
    DIME_SOKS_MAX = 64,             /* D-035 */
    DIME_IDENTIFIER_MAX = 254,      /* octets (D-051) */
};

/* How far an object reaches; also the parts that have fingerprints. */
enum dime_part {
    DIME_PART_REQUEST,    /* user fields 1 to 5 */
    DIME_PART_CORE,       /* user fields 1 to 6, organizational fields 1 to 4 */
    DIME_PART_FULL,       /* fields 1 to 253 */
    DIME_PART_IDENTIFIED, /* fields 1 to 255 */
    DIME_PART_COUNT
};

/* "request", "core", "full" or "identified". */
const char *dime_part_name(enum dime_part part);

/* Permissions of a SOK (SG-90). */
enum {
    DIME_PERM_USERS = 1,
    DIME_PERM_MESSAGES = 2,
    DIME_PERM_TLS = 4,
    DIME_PERM_SOFTWARE = 8,
};

/* False for the octets that void a SOK: any reserved bit, or none of the first three
 * permissions (D-034). */
bool dime_perms_valid(uint8_t perms);

struct dime_sok {
    uint8_t perms;
    bool authorised; /* false: void permissions, no point, or a repeated key (D-034) */
    uint8_t key[DIME_ED25519_KEY_SIZE];
};

struct dime_signet {
    enum dime_kind kind;
    enum dime_layout layout;
    enum dime_part part;                     /* how far it reaches */
    struct kd_slice raw;                     /* borrowed: the whole object */
    uint8_t sign_key[DIME_ED25519_KEY_SIZE]; /* field 1; an organization's is its POK */
    uint8_t enc_key[DIME_SECP_KEY_SIZE];     /* compressed, whatever the layout */
    struct dime_sok soks[DIME_SOKS_MAX];     /* in field order; organizational only */
    size_t n_soks;
    struct kd_slice identifier;    /* borrowed; empty unless identified */
    uint32_t end[DIME_PART_COUNT]; /* offset in raw behind the part's last field */
    uint32_t first[256];           /* offset of a type's first field; 0 if absent */
};

/* Reads the whole of octets, which the signet borrows. On failure *why says what is
 * wrong and the result is dime_reason_err(*why): KD_MALFORMED, or KD_UNSUPPORTED for
 * more than 64 SOKs; *out is then not to be used. On success *why is DIME_FINE.
 *
 * All five layouts are tried, each on the whole object; exactly one must match
 * (D-002). Linear in the size. */
kd_err dime_signet_parse(struct kd_slice octets, struct dime_signet *out,
                         enum dime_reason *why) KD_MUST_USE;

/* The same; another kind than asked for is DIME_WRONG_KIND. */
kd_err dime_signet_parse_as(enum dime_kind kind, struct kd_slice octets,
                            struct dime_signet *out, enum dime_reason *why) KD_MUST_USE;

/* The same for octets that this process made, or whose signature 255 it verifies under
 * its own key next: the two points were checked when they were issued, and checking
 * them costs more than all else. Never for what somebody else made. */
kd_err dime_signet_parse_own(enum dime_kind kind, struct kd_slice octets,
                             struct dime_signet *out,
                             enum dime_reason *why) KD_MUST_USE;

/* Walks fields in order. */
struct dime_walk {
    struct kd_cur cur;
    enum dime_kind kind;
    enum dime_layout layout;
    enum dime_reason why; /* DIME_FINE, or why the walk stopped */
    bool info;            /* informational fields only */
};

void dime_walk_signet(struct dime_walk *w, const struct dime_signet *s);

/* The next field; false at the end. Over a parsed signet nothing can fail; over other
 * octets (dime_walk_info) w->why then says whether it was the end. */
bool dime_walk_next(struct dime_walk *w, struct dime_field *out);

/* The first field of a type. KD_NOT_FOUND if absent or empty (D-043). */
kd_err dime_signet_find(const struct dime_signet *s, uint8_t type,
                        struct dime_field *out) KD_MUST_USE;

/* The first undefined field (251) of that name (SG-34); its value may be empty.
 * KD_NOT_FOUND if there is none or the name is not usable (SG-46). */
kd_err dime_signet_find_named(const struct dime_signet *s, struct kd_slice name,
                              struct dime_field *out) KD_MUST_USE;

/* A signature's 64 octets, borrowed; NULL if the field is absent. */
const uint8_t *dime_signet_signature(const struct dime_signet *s, uint8_t type);

/* What a signature in field type covers: the encoded fields of lower types, without
 * the header (D-046). For a type that is absent: empty. */
struct kd_slice dime_signet_covered(const struct dime_signet *s, uint8_t type);

/* The encoded fields of a part, without the header: what its fingerprint covers. A
 * part beyond what the object reaches is all of it. KD_NOT_FOUND if the kind has no
 * such part: a request has only DIME_PART_REQUEST, an organization none of it. */
kd_err dime_signet_part(const struct dime_signet *s, enum dime_part part,
                        struct kd_slice *out) KD_MUST_USE;

/* The encoded informational fields 16 to 252, borrowed; empty if there are none. */
struct kd_slice dime_signet_info(const struct dime_signet *s);

/* True if fields 1 to 5 of both are the same octets: the same link of a custody chain
 * signed anew (D-073). Users' objects only. */
bool dime_signet_same_link(const struct dime_signet *a, const struct dime_signet *b);

#endif
