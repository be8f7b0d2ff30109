/* Management records: the text by which a domain says that it runs DIME, with which
 * primary keys, hosts and policy (P4 "Management record", MR-30 to MR-82).
 *
 * One text is read here. Which TXT records of a name are one, is
 * dime_mrec_is_candidate; a name with more than one candidate, or with one that does
 * not parse, has a broken record, never none (D-011, D-012). Strings of one TXT record
 * are joined without anything between them (D-015). */
#ifndef DIME_MREC_H
#define DIME_MREC_H

#include <dime/keys.h>
#include <keyd/base/buf.h>

enum {
    DIME_MREC_TEXT_MAX = 65535, /* octets: what TXT data can hold */
    DIME_MREC_POKS_MAX = 16,    /* limits on memory: more is refused */
    DIME_MREC_TLS_MAX = 64,
    DIME_MREC_HOSTS_MAX = 32,   /* of dx and of syn, each */
    DIME_MREC_HOST_MAX = 253,   /* characters of a host name */
    DIME_MREC_STRING_MAX = 255, /* octets of a string in TXT data */
    DIME_MREC_WIDE_MAX = 512,   /* octets that every resolver takes (MR-21) */
    DIME_MREC_EXPIRY = 30,      /* days, if it says nothing (MR-47) */
    DIME_MREC_EXPIRY_MAX = 365, /* days; what is above acts as this (D-020) */
    DIME_MREC_POK_CHARS = 43,
    DIME_MREC_TLS_CHARS = 86,
};

/* What a domain sends and takes (MR-84 to MR-100); mixed if it says nothing. */
enum dime_mrec_policy {
    DIME_POLICY_MIXED,
    DIME_POLICY_EXPERIMENTAL,
    DIME_POLICY_STRICT,
    DIME_POLICIES
};

/* Whose record holds for subdomains (MR-117 to MR-120); mixed if it says nothing. */
enum dime_mrec_sub { DIME_SUB_MIXED, DIME_SUB_EXPLICIT, DIME_SUB_STRICT, DIME_SUBS };

/* Host names are lower case, without a trailing dot. No value stands twice. */
struct dime_mrec {
    enum dime_mrec_policy policy;
    enum dime_mrec_sub sub;
    uint16_t expiry_days; /* 1 to DIME_MREC_EXPIRY_MAX */
    size_t n_poks, n_tls, n_dx, n_syn;
    uint8_t poks[DIME_MREC_POKS_MAX][DIME_ED25519_KEY_SIZE]; /* valid (D-018) */
    uint8_t tls[DIME_MREC_TLS_MAX][DIME_SIG_SIZE];
    char dx[DIME_MREC_HOSTS_MAX][DIME_MREC_HOST_MAX + 1];
    char syn[DIME_MREC_HOSTS_MAX][DIME_MREC_HOST_MAX + 1];
};

/* Findings about a record: why it is broken, and what its publisher should mend
 * (dime/mrec_findings.def). */
enum dime_mrec_finding {
#define DIME_MREC(code, kind, text) DIME_MREC_##code,
#include <dime/mrec_findings.def>
#undef DIME_MREC
    DIME_MREC_FINDINGS
};

/* Advice: it is read as it is meant. Fault: readers may differ, or a publisher may not
 * do so. Broken: no record. */
enum dime_mrec_kind { DIME_MREC_ADVICE, DIME_MREC_FAULT, DIME_MREC_BROKEN };

struct dime_mrec_note {
    enum dime_mrec_finding finding;
    size_t at, n; /* octets of the joined text that it is about; n 0: of the whole */
};

/* A short lower-case text and the stable word ("SPACE_BEFORE_EQUALS"), never NULL. */
const char *dime_mrec_text(enum dime_mrec_finding finding);
const char *dime_mrec_name(enum dime_mrec_finding finding);
enum dime_mrec_kind dime_mrec_kind(enum dime_mrec_finding finding);

/* "mixed", "experimental", "strict"; "mixed", "explicit", "strict". */
const char *dime_mrec_policy_name(enum dime_mrec_policy policy);
const char *dime_mrec_sub_name(enum dime_mrec_sub sub);

/* Whether text is meant as a management record: a field of one of its names occurs,
 * also with space before the sign, or a `sig=` of 43 characters (D-011, D-013). */
bool dime_mrec_is_candidate(struct kd_slice text);

/* Reads a record. KD_OK; KD_MALFORMED, or KD_UNSUPPORTED for another version, with the
 * first cause in *why (may be NULL) and *out untouched. Time and memory are linear in
 * the text. */
kd_err dime_mrec_parse(struct kd_slice text, struct dime_mrec *out,
                       struct dime_mrec_note *why) KD_MUST_USE;

/* A host name as dx and syn have it (D-023): labels of letters, digits and hyphens, at
 * least two, an optional trailing dot, no IP address, no port. Writes it in lower case
 * without the dot. */
enum dime_mrec_finding dime_mrec_host(struct kd_slice text,
                                      char out[DIME_MREC_HOST_MAX + 1]);

/* Everything that can be said of a record as it is published: of its text, and of how
 * it is cut into strings. Writes at most max notes in the order of the text, those of
 * the whole last, and returns how many there are in all. strings may be one alone. */
size_t dime_mrec_lint(const struct kd_slice *strings, size_t n_strings,
                      struct dime_mrec_note *notes, size_t max);

/* Joins the strings of TXT data. KD_TOO_LARGE above DIME_MREC_TEXT_MAX. */
kd_err dime_mrec_join(const struct kd_slice *strings, size_t n,
                      struct kd_buf *out) KD_MUST_USE;

/* Reads TXT data as people have it: the bare text; or quoted strings with the escapes
 * of zone files (RFC 1035, 5.1), as dig(1) shows them or behind owner, TTL, class and
 * type, in one line or in parentheses, with comments. Several records that are alike
 * count once. The strings' octets go to out, the strings lie in it, borrowed until it
 * changes. KD_MALFORMED: a quote, escape or parenthesis that is not closed.
 * KD_CONFLICT: records that differ. KD_TOO_LARGE: more than max strings or than out may
 * hold. KD_NOT_FOUND: nothing there. */
enum { DIME_MREC_PARTS_MAX = 512 };
kd_err dime_mrec_read_strings(struct kd_slice text, struct kd_buf *out,
                              struct kd_slice *strings, size_t max,
                              size_t *n) KD_MUST_USE;

/* A record cut into strings as they are published: each of at most 255 octets, ending
 * in a space, no field in two of them (MR-17 to MR-20). */
struct dime_mrec_strings {
    size_t n, size; /* strings; octets of all */
    char text[64][DIME_MREC_STRING_MAX + 1];
};

/* Writes a record in short lower-case names: pol always (D-009), sub never when it is
 * mixed (D-008), exp only if it is not the default, tls in the order given (the form
 * over SHA-512 of the main certificate first, D-025). KD_INVALID: no primary key.
 * KD_TOO_LARGE: more than the strings hold, or a host of more than 250 characters. */
kd_err dime_mrec_write(const struct dime_mrec *m,
                       struct dime_mrec_strings *out) KD_MUST_USE;

/* The two owner names under which it is published, first the specification's
 * (D-005): "_dime" and "_dx". */
enum { DIME_MREC_OWNERS = 2 };
extern const char *const dime_mrec_owners[DIME_MREC_OWNERS];

/* For a zone file: a line for each owner. For nsupdate(1): what replaces the records of
 * both owners, ended by `send`. domain without a trailing dot. */
void dime_mrec_put_zone(struct kd_buf *out, const struct dime_mrec_strings *record,
                        const char *domain, uint32_t ttl);
void dime_mrec_put_update(struct kd_buf *out, const struct dime_mrec_strings *record,
                          const char *domain, uint32_t ttl);

/* The tls value of a certificate is a primary key's signature over SHA-512 of the DER
 * (libdime's form, published first) or over the DER itself (D-025). KD_OK if one of
 * the record's values is one under one of its keys; *which (may be NULL) counts from
 * 0. KD_NOT_FOUND if none is, KD_TOO_LARGE above 64 KiB. */
kd_err dime_mrec_tls_match(const struct dime_mrec *m, struct kd_slice der,
                           size_t *which) KD_MUST_USE;

#endif
