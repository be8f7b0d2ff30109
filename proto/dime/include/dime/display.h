/* What the informational fields of signets mean and how they are shown (part 5, SG-48
 * to SG-141). Values are hostile octets: they may be unusable, and then the field is
 * ignored while the signet stays what it is. Nothing here takes part in accepting a
 * signet, and nothing allocates: all results borrow from the value.
 *
 * A value of length 0 is absent (D-043) and never usable. */
#ifndef DIME_DISPLAY_H
#define DIME_DISPLAY_H

#include <dime/field.h>

struct dime_shown {
    const char *why;       /* NULL if usable, else why it is ignored; static text */
    struct kd_slice label; /* UTF-8: the value's own, or the specification's */
    struct kd_slice value; /* what to show */
    bool is_text;          /* value is valid UTF-8; else it is to be shown in base 64 */
};

/* What is shown of a field. An ignored one keeps its label and its octets, for who
 * wants to see them all the same; nothing may be concluded from them. A type that
 * means nothing here (def NULL, D-039) is ignored under the label "Unknown-Field". */
void dime_show(const struct dime_field *field, struct dime_shown *out);

/* Items between semicolons; empty ones are passed over, so that a last semicolon may
 * stand or not (SG-110). Start with {value}. */
struct dime_list {
    struct kd_slice rest;
};
bool dime_list_next(struct dime_list *l, struct kd_slice *item);

/* 21 Phone (SG-54 to SG-57, D-061). label is "Phone" if there is no valid one. False:
 * the field is to be ignored. */
struct dime_phone {
    struct kd_slice number;
    struct kd_slice label;
};
bool dime_phone(struct kd_slice value, struct dime_phone *out);

/* True for a tag in the shape of BCP 47: letters, then parts of letters and digits. */
bool dime_language_tag(struct kd_slice tag);

/* 22 Language (SG-58 to SG-62): the client's tag to use. First whole tags of the
 * user's list, then of that list by language alone, then the organization's list in
 * the same way, then "en-US". Tags compare without case. Empty slices are absent. */
const char *dime_language_choose(struct kd_slice user, struct kd_slice org,
                                 const char *const *supported, size_t n_supported);

/* 24 Cryptocurrency (D-062). Items that are not symbol and address are passed over. */
struct dime_crypto {
    struct kd_slice symbol;
    struct kd_slice address;
    bool is_known; /* one of the seven that must be recognised (SG-66) */
};
bool dime_crypto_next(struct dime_list *l, struct dime_crypto *out);

/* The first known symbol; "BTC" for an empty field (SG-67); NULL if none is known. */
const char *dime_crypto_preferred(struct kd_slice value);

/* 27 Message-Size-Limit (D-063). False: ignored. */
bool dime_size_limit(struct kd_slice value, uint64_t *octets);

/* The limit that holds: the smaller of those that are usable (SG-72); false if none. */
bool dime_size_limit_of(struct kd_slice org, struct kd_slice user, uint64_t *octets);

/* 93 Supported-Codecs (SG-129): the next item that did not occur before it in value. */
bool dime_codec_next(struct kd_slice value, struct dime_list *l, struct kd_slice *item);
bool dime_codec_has(struct kd_slice value, struct kd_slice codec);

/* 94 to 99, 201 (SG-130 to SG-139): value, and the label behind the first semicolon
 * or the given one. False if the value is empty or not UTF-8. */
struct dime_labelled {
    struct kd_slice value;
    struct kd_slice label;
};
bool dime_labelled(struct kd_slice value, const char *default_label,
                   struct dime_labelled *out);

/* 160 Website, 204 Web-Access-Location (SG-74): an absolute RFC 3986 URL with a host
 * and without user information. */
bool dime_url(struct kd_slice value, bool https_only);

/* Names and addresses as the host, contact and address fields take them: what is an
 * identifier in whatever case (dime/identifier.h), so never an IP address; and a name
 * of an onion service of version 2 or 3. */
bool dime_host(struct kd_slice value);
bool dime_onion(struct kd_slice value);
bool dime_email(struct kd_slice value);

/* An item of 205, 207, 209, 211: an Ed25519 signature in base 64, padded or not. */
bool dime_signature_text(struct kd_slice value);

/* 252 Image (SG-78): a PNG by its structure: signature, chunk lengths and CRCs, IHDR
 * first and sensible, IDAT together, IEND last. The compressed data is not read. */
struct dime_png {
    uint32_t width;
    uint32_t height;
};
bool dime_png(struct kd_slice value, struct dime_png *out);

enum dime_image { DIME_IMAGE_USER, DIME_IMAGE_ORG, DIME_IMAGE_SILHOUETTE };

/* Which image to show (SG-82). */
enum dime_image dime_image_choose(struct kd_slice user, struct kd_slice org);

/* 3 Alternate-Encryption-Key (D-057 to D-059). Levels are claims for display only and
 * never change what is accepted (SG-117). */
enum {
    DIME_LEVEL_PROGRAMS = 32 | 64 | 128,
    DIME_SCHEME_E521 = 1,
    DIME_SCHEME_X448 = 2,
};
struct dime_alt_key {
    uint8_t level;    /* the most significant level bit, 0 to 16 */
    uint8_t programs; /* program bits that count */
    uint8_t scheme;
    struct kd_slice key;
    bool is_known; /* scheme known, and the key as long as it asks */
};
bool dime_alt_key(struct kd_slice value, struct dime_alt_key *out);

/* "Unprotected", "S", "SEC", "TS", "TS//SA", "TS//SA//ECI"; bit 32, 64 or 128 to the
 * program's name. */
const char *dime_level_text(uint8_t level);
const char *dime_program_text(uint8_t bit);

/* 202 Endorsements (D-065): parsed and shown, never verified, never an input to
 * acceptance. fingerprint: 86 characters of base 64, or 64 octets. */
struct dime_endorsement {
    struct kd_slice signature;
    struct kd_slice address;
    struct kd_slice fingerprint;
};
bool dime_endorsement(struct kd_slice value, struct dime_endorsement *out);

/* True if the endorsement names one of these core fingerprints of its signer's current
 * chain; one that does not is to be ignored (SG-141). */
bool dime_endorsement_in_chain(const struct dime_endorsement *e,
                               const uint8_t (*core)[64], size_t n);

#endif
