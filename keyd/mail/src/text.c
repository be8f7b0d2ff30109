#include "text.h"

#include "mask.h"

#include <assert.h>

enum {
    LOCAL_MAX = 64, /* of an address, and labels: dime/identifier.h */
    LABEL_MAX = 63,
    ADDRESS_MIN = 3,
    ADDRESS_MAX = DIME_IDENTIFIER_CHARS,
    DOMAIN_MAX = 253,
    FP_CHARS = DIME_FINGERPRINT_CHARS,
    /* Of all that follows an address: three names, a domain, two fingerprints. */
    TAIL_MAX = 3 * 32 + DOMAIN_MAX + 2 * FP_CHARS,
};

static const struct {
    const char *address, *address_fp, *domain, *domain_fp; /* what is in front */
} names[] = {
    [DIME_ENVELOPE_ORIGIN] = {"Author: <", ">\r\nAuthor-Signet: [",
                              "]\r\nDestination: <", ">\r\nDestination-Signet: ["},
    [DIME_ENVELOPE_DESTINATION] = {"Recipient: <", ">\r\nRecipient-Signet: [",
                                   "]\r\nOrigin: <", ">\r\nOrigin-Signet: ["},
};
static const char last[] = "]\r\n";

/* --- what is behind the address --- */

/* The octets that are to be there, all known but the fingerprints. */
struct tail {
    uint32_t n, address_fp, domain_fp; /* offsets of the two */
    uint8_t octets[TAIL_MAX];
    uint8_t known[TAIL_MAX]; /* 0xff or 0 */
};

static void
put_known(struct tail *t, struct kd_slice s)
{
    assert(s.n <= sizeof t->octets - t->n);
    memcpy(t->octets + t->n, s.p, s.n);
    memset(t->known + t->n, 0xff, s.n);
    t->n += (uint32_t)s.n;
}

static void
put_unknown(struct tail *t, uint32_t *at)
{
    assert(sizeof t->octets - t->n >= FP_CHARS);
    *at = t->n;
    memset(t->octets + t->n, 0, FP_CHARS);
    memset(t->known + t->n, 0, FP_CHARS);
    t->n += FP_CHARS;
}

static void
make_tail(const struct text_form *form, struct tail *t)
{
    assert(form->domain.n <= DOMAIN_MAX);
    t->n = 0;
    put_known(t, kd_slice_str(names[form->kind].address_fp));
    put_unknown(t, &t->address_fp);
    put_known(t, kd_slice_str(names[form->kind].domain));
    put_known(t, form->domain);
    put_known(t, kd_slice_str(names[form->kind].domain_fp));
    put_unknown(t, &t->domain_fp);
    put_known(t, kd_slice_str(last));
}

static uint32_t
tail_is(const struct tail *t, const uint8_t *octets)
{
    uint32_t differ = 0;

    for (uint32_t i = 0; i < t->n; i++)
        differ |= (uint32_t)((octets[i] ^ t->octets[i]) & t->known[i]);
    return mask_same(differ, 0);
}

/* --- fingerprints --- */

/* The six bits of a character; *good loses its bits for one that has none. */
static uint32_t
six_bits(uint32_t c, uint32_t *good)
{
    uint32_t upper = mask_between(c, 'A', 'Z'), lower = mask_between(c, 'a', 'z');
    uint32_t digit = mask_between(c, '0', '9');
    uint32_t plus = mask_same(c, '+'), slash = mask_same(c, '/');

    *good &= upper | lower | digit | plus | slash;
    return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
           (plus & 62) | (slash & 63);
}

/* 86 characters: 21 times four, and two of which four bits must be zero. */
static uint32_t
read_fingerprint(const uint8_t *chars, uint8_t out[DIME_FINGERPRINT_SIZE])
{
    uint32_t good = ~(uint32_t)0, bits;

    for (size_t i = 0; i < FP_CHARS / 4; i++) {
        bits = six_bits(chars[4 * i], &good) << 18;
        bits |= six_bits(chars[4 * i + 1], &good) << 12;
        bits |= six_bits(chars[4 * i + 2], &good) << 6;
        bits |= six_bits(chars[4 * i + 3], &good);
        out[3 * i] = (uint8_t)(bits >> 16);
        out[3 * i + 1] = (uint8_t)(bits >> 8);
        out[3 * i + 2] = (uint8_t)bits;
    }
    bits = six_bits(chars[FP_CHARS - 2], &good) << 6;
    bits |= six_bits(chars[FP_CHARS - 1], &good);
    out[DIME_FINGERPRINT_SIZE - 1] = (uint8_t)(bits >> 4);
    return good & mask_same(bits & 15, 0);
}

/* --- addresses --- */

/* What the characters so far make. */
struct address {
    uint32_t good;      /* no fault so far */
    uint32_t in_domain; /* behind the "@" */
    uint32_t part;      /* characters of the atom or label at hand */
    uint32_t digits;    /* all of them are */
    uint32_t hyphen;    /* the last one is */
};

static uint32_t
is_alnum(uint32_t c)
{
    return mask_between(c, 'a', 'z') | mask_between(c, '0', '9');
}

/* The other characters of an atom (RFC 5322). */
static uint32_t
is_special(uint32_t c)
{
    return mask_same(c, '!') | mask_between(c, '#', '\'') | mask_between(c, '*', '+') |
           mask_same(c, '-') | mask_same(c, '/') | mask_same(c, '=') |
           mask_same(c, '?') | mask_between(c, '^', '`') | mask_between(c, '{', '~');
}

/* An atom or a label may end here. */
static uint32_t
may_end(const struct address *a)
{
    uint32_t label = mask_below(a->part, LABEL_MAX + 1) & ~a->hyphen;

    return mask_below(0, a->part) & (~a->in_domain | label);
}

/* here: all bits or none. A step that is not here changes nothing. */
static void
address_step(struct address *a, uint32_t i, uint32_t c, uint32_t here)
{
    uint32_t dot = mask_same(c, '.'), at = mask_same(c, '@'),
             hyphen = mask_same(c, '-');
    uint32_t in_label = is_alnum(c) | (hyphen & mask_below(0, a->part));
    uint32_t in_atom = is_alnum(c) | is_special(c);
    uint32_t ends = dot | (at & ~a->in_domain & mask_below(i, LOCAL_MAX + 1));
    uint32_t fine =
        (ends & may_end(a)) | (a->in_domain & in_label) | (~a->in_domain & in_atom);

    a->good &= fine | ~here;
    a->in_domain |= at & here;
    a->part = (a->part + (1 & here)) & ~(ends & here);
    a->digits = (a->digits & (mask_between(c, '0', '9') | ~here)) | (ends & here);
    a->hyphen = (a->hyphen & ~here) | (hyphen & here & ~ends);
}

static uint32_t
is_address(const uint8_t *octets, uint32_t n)
{
    struct address a = {.good = ~(uint32_t)0, .digits = ~(uint32_t)0};

    for (uint32_t i = 0; i < ADDRESS_MAX; i++)
        address_step(&a, i, octets[i], mask_below(i, n));
    return a.good & a.in_domain & may_end(&a) & ~a.digits;
}

/* expected: not empty. */
static uint32_t
is_this_address(struct kd_slice expected, const uint8_t *octets, uint32_t n)
{
    assert(expected.n <= ADDRESS_MAX);
    return mask_same(n, (uint32_t)expected.n) &
           mask_equal(octets, expected.p, expected.n);
}

/* --- all of it --- */

uint32_t
text_judge(const struct text_form *form, const uint8_t *room, uint32_t n,
           struct text_values *out)
{
    struct kd_slice head = kd_slice_str(names[form->kind].address);
    uint32_t head_n = (uint32_t)head.n;
    struct tail tail;

    make_tail(form, &tail);
    uint32_t fixed = head_n + tail.n;
    uint32_t good = mask_between(n, fixed + ADDRESS_MIN, fixed + ADDRESS_MAX);
    uint32_t address_n = (n - fixed) & mask_hide(good); /* so offsets are in the room */
    const uint8_t *behind = room + head_n + address_n;

    good &= mask_equal(room, head.p, head.n);
    good &= tail_is(&tail, behind);
    good &= read_fingerprint(behind + tail.address_fp, out->address_fp);
    good &= read_fingerprint(behind + tail.domain_fp, out->domain_fp);
    good &= form->address.n != 0
                ? is_this_address(form->address, room + head_n, address_n)
                : is_address(room + head_n, address_n);
    out->address_at = head_n;
    out->address_n = address_n;
    return mask_hide(good);
}
