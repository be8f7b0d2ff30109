/* The walkers of message operations over a token with fixed keys: whatever octets come,
 * nothing is released that was not signed for it.
 *
 * The low three bits of the first octet say which walker, the rest is the object, or
 * the text of an envelope. Who makes these inputs has no key, so what passes can only
 * be what the keys' owners made, the parts aside that nobody signs. */
#include "fuzz.h"
#include "mailw.h"
#include "text.h"

#include <keyd/base/be.h>
#include <sodium.h>
#include <stdlib.h>

enum { ROOM = 1 << 12, LIMIT = 1 << 20 };

static struct mailw *x;
static uint8_t *blank; /* MSG as its author made it */
static size_t blank_n;

static void
set_up(void)
{
    if (x != NULL)
        return;
    x = mailw(ROOM);
    blank = mailw_blank_msg(&blank_n);
    /* What libraries keep from their first use is not this input's. */
    const struct dime_source first = dime_source_of(kd_slice(blank, blank_n));
    struct mail_signed unused;
    fuzz_require(mail_sign_outbound(&x->origin, &first, &x->outbound, &unused) ==
                 KD_OK);
}

/* --- what may differ from what was made --- */

static struct dime_message
parsed(struct kd_slice octets)
{
    const struct dime_source source = dime_source_of(octets);
    struct dime_message m;

    fuzz_require(dime_message_parse(&source, LIMIT, &m, NULL) == KD_OK);
    return m;
}

/* The octets that a signature of the type covers are the good object's. Behind those,
 * the places for ours may be there or not, and slots of others hold anything. */
static bool
is_made(struct kd_slice octets, struct kd_slice good, uint8_t type)
{
    struct dime_message a = parsed(octets), b = parsed(good);
    uint64_t n = dime_message_signed_until(&b, type) - b.begin;

    return dime_message_signed_until(&a, type) - a.begin == n &&
           memcmp(octets.p + a.begin, good.p + b.begin, n) == 0;
}

/* --- the walkers --- */

static void
sign(const struct dime_source *source, struct kd_slice octets)
{
    struct mail_signed out;
    kd_err err = mail_sign_outbound(&x->origin, source, &x->outbound, &out);

    if (err == KD_OK) {
        fuzz_require(is_made(octets, kd_slice(blank, blank_n), 226));
        return;
    }
    fuzz_require(err == KD_INVALID || err == KD_MALFORMED || err == KD_TOO_LARGE);
    fuzz_require(err == KD_INVALID || !out.key_used);
    fuzz_require(mailw_is_zero(out.organization, 64) && out.n_digests == 0);
}

static void
open_message(const struct dime_source *source, struct kd_slice octets)
{
    struct mail_opened out;
    kd_err err = mail_open_inbound(&x->destination, source, &x->inbound, &out);

    if (err == KD_OK) {
        fuzz_require(is_made(octets, mailw_msg(), 255));
        return;
    }
    fuzz_require(err == KD_INVALID || err == KD_MALFORMED || err == KD_TOO_LARGE);
    fuzz_require(err == KD_INVALID || !out.key_used);
    fuzz_require(out.address_n == 0 && mailw_is_zero(out.address, sizeof out.address) &&
                 mailw_is_zero(out.address_fp, 64));
}

/* A bounce that was made by our friends names alice; those of the corpus are. */
static void
open_bounce(const struct dime_source *source)
{
    struct mail_bounce out;
    kd_err err = mail_open_bounce(&x->origin, source, &x->bounced, &out);

    if (err == KD_OK) {
        fuzz_require(strcmp(out.author, "alice@example.com") == 0);
        return;
    }
    fuzz_require(err == KD_INVALID || err == KD_MALFORMED || err == KD_TOO_LARGE);
    fuzz_require(out.author_n == 0 && mailw_is_zero(out.author, sizeof out.author));
}

/* Anybody's naked mail is sealed, if it is one and nobody has. */
static void
seal(const struct dime_source *source, struct kd_slice octets)
{
    struct mail_naked look, out;
    struct dime_naked n;
    bool is_naked = dime_naked_parse(source, LIMIT, &n, NULL) == KD_OK;
    kd_err err = mail_look_at_naked(source, LIMIT, &look);

    fuzz_require(is_naked == (err == KD_OK || err == KD_INVALID));
    if (!is_naked)
        return;
    bool is_blank = mailw_is_zero(octets.p + dime_chunk_payload(&n.m.organization), 64);
    fuzz_require((err == KD_OK) == is_blank);
    fuzz_require(mail_seal_naked(&x->destination, source, LIMIT, look.signer, &out) ==
                 err);
    fuzz_require(err != KD_OK ||
                 crypto_sign_verify_detached(out.organization, octets.p + n.m.begin,
                                             n.m.organization.at - n.m.begin,
                                             sg_world()->other_pok.key) == 0);
}

/* Nothing is bounced but what was for us. */
static void
bounce(const struct dime_source *source, struct kd_slice octets)
{
    struct mail_made_bounce made;
    struct kd_buf b;

    kd_buf_init(&b, LIMIT);
    kd_err err = mail_make_bounce(&x->destination, source, &x->to_bounce, &made, &b);
    fuzz_require((err == KD_OK) == (b.n != 0));
    if (err == KD_OK)
        fuzz_require(is_made(octets, mailw_msg(), 255));
    kd_buf_free(&b);
}

/* Judged as the ordinary reader reads. */
static void
judge(enum dime_envelope_kind kind, struct kd_slice text)
{
    static uint8_t room[TEXT_ROOM];
    struct text_form form = {
        .kind = kind,
        .domain =
            kd_slice_str(kind == DIME_ENVELOPE_ORIGIN ? "example.org" : "example.com")};
    struct text_values values;
    struct dime_envelope e;

    if (text.n > sizeof room)
        return;
    memset(room, 0, sizeof room);
    if (text.n != 0)
        memcpy(room, text.p, text.n);
    bool good = text_judge(&form, room, (uint32_t)text.n, &values) != 0;
    bool read = dime_envelope_parse(kind, text, &e) == KD_OK &&
                kd_slice_eq(e.domain, form.domain);
    fuzz_require(good == read);
    fuzz_require(!good || kd_slice_eq(e.address, kd_slice(room + values.address_at,
                                                          values.address_n)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    set_up();
    struct kd_slice octets = kd_slice(data + 1, size - 1);
    const struct dime_source source = dime_source_of(octets);
    fuzz_begin(size);
    switch (data[0] & 7) {
    case 0:
        sign(&source, octets);
        break;
    case 1:
        open_message(&source, octets);
        break;
    case 2:
        open_bounce(&source);
        break;
    case 3:
        seal(&source, octets);
        break;
    case 4:
        bounce(&source, octets);
        break;
    case 5:
        judge(DIME_ENVELOPE_ORIGIN, octets);
        break;
    default:
        judge(DIME_ENVELOPE_DESTINATION, octets);
        break;
    }
    fuzz_end();
    return 0;
}
