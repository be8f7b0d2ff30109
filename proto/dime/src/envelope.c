#include <dime/envelope.h>

#include <dime/base64.h>
#include <dime/identifier.h>

#include <keyd/base/cur.h>

/* A line is its name with the opening bracket, a value, and the end. No value may hold
 * its closing bracket, so the first one ends it. */
struct line {
    const char *before, *after;
};

enum { N_LINES = 4, FP_OCTETS = 64 };

static const struct line forms[][N_LINES] = {
    [DIME_ENVELOPE_ORIGIN] = {{"Author: <", ">\r\n"},
                              {"Author-Signet: [", "]\r\n"},
                              {"Destination: <", ">\r\n"},
                              {"Destination-Signet: [", "]\r\n"}},
    [DIME_ENVELOPE_DESTINATION] = {{"Recipient: <", ">\r\n"},
                                   {"Recipient-Signet: [", "]\r\n"},
                                   {"Origin: <", ">\r\n"},
                                   {"Origin-Signet: [", "]\r\n"}},
};

static void
take_text(struct kd_cur *c, const char *text)
{
    if (!kd_slice_eq(kd_cur_take(c, strlen(text)), kd_slice_str(text)))
        kd_cur_fail(c, KD_MALFORMED);
}

static struct kd_slice
take_value(struct kd_cur *c, const struct line *form)
{
    const uint8_t *closing = NULL;
    struct kd_slice value;

    take_text(c, form->before);
    if (kd_cur_left(c) != 0)
        closing = memchr(c->base + c->at, form->after[0], kd_cur_left(c));
    if (closing == NULL) {
        kd_cur_fail(c, KD_MALFORMED);
        return kd_slice(NULL, 0);
    }
    value = kd_cur_take(c, (size_t)(closing - c->base) - c->at);
    take_text(c, form->after);
    return value;
}

static bool
is_fingerprint(struct kd_slice s)
{
    uint8_t octets[FP_OCTETS];

    return s.n == DIME_FP_TEXT_SIZE &&
           dime_base64_read(s, octets, sizeof octets) == KD_OK;
}

static bool
is_good(const struct dime_envelope *e)
{
    return dime_identifier_is_address(e->address) && is_fingerprint(e->address_fp) &&
           dime_identifier_is_domain(e->domain) && is_fingerprint(e->domain_fp);
}

kd_err
dime_envelope_parse(enum dime_envelope_kind kind, struct kd_slice text,
                    struct dime_envelope *out)
{
    const struct line *form = forms[kind];
    struct kd_cur c = kd_cur(text);
    struct dime_envelope e;
    kd_err err;

    if (text.n > DIME_ENVELOPE_MAX)
        return KD_MALFORMED;
    e.address = take_value(&c, &form[0]);
    e.address_fp = take_value(&c, &form[1]);
    e.domain = take_value(&c, &form[2]);
    e.domain_fp = take_value(&c, &form[3]);
    if ((err = kd_cur_end(&c)) != KD_OK)
        return err;
    if (!is_good(&e))
        return KD_MALFORMED;
    *out = e;
    return KD_OK;
}

kd_err
dime_envelope_put(enum dime_envelope_kind kind, const struct dime_envelope *e,
                  struct kd_buf *out)
{
    const struct kd_slice values[N_LINES] = {e->address, e->address_fp, e->domain,
                                             e->domain_fp};

    if (!is_good(e))
        return KD_INVALID;
    for (size_t i = 0; i < N_LINES; i++) {
        kd_buf_put(out, kd_slice_str(forms[kind][i].before));
        kd_buf_put(out, values[i]);
        kd_buf_put(out, kd_slice_str(forms[kind][i].after));
    }
    return out->err;
}
