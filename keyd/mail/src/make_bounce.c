/* MakeBounce (open-design.md 5). */
#include "inbound.h"

#include <dime/fingerprint.h>
#include <dime/message_verify.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>

#include <stdlib.h>

/* SHA-512, by the older calls as in keyd/base/sha256.h. */
#define HASH_SIZE 64

enum { PIECE = 64 << 10 };

/* --- the message's identifier --- */

static kd_err
hash_chunks(const struct dime_message *m, SHA512_CTX *h)
{
    uint8_t *buffer = m->source.p == NULL ? malloc(PIECE) : NULL;
    struct kd_slice octets;
    kd_err err = KD_OK;

    if (m->source.p == NULL && buffer == NULL)
        return KD_NOMEM;
    for (uint64_t at = m->begin; at < m->end && err == KD_OK; at += octets.n) {
        uint64_t left = m->end - at;
        err = dime_source_view(&m->source, at, left < PIECE ? (size_t)left : PIECE,
                               buffer, &octets);
        if (err == KD_OK)
            kd_ignore(SHA512_Update(h, octets.p, octets.n));
    }
    free(buffer);
    return err;
}

/* SHA-512 of the object without tracing (D-157): a header that says how long that is,
 * and the chunks. */
static kd_err
identify(const struct dime_message *m, char text[DIME_FINGERPRINT_CHARS + 1])
{
    uint8_t header[DIME_MESSAGE_HEADER], hash[HASH_SIZE];
    SHA512_CTX h;
    kd_err err;

    kd_put_be16(header, DIME_MAGIC_MESSAGE);
    kd_put_be32(header + 2, (uint32_t)(m->end - m->begin));
    kd_ignore(SHA512_Init(&h));
    kd_ignore(SHA512_Update(&h, header, sizeof header));
    if ((err = hash_chunks(m, &h)) != KD_OK)
        return err;
    kd_ignore(SHA512_Final(hash, &h));
    dime_fingerprint_text(hash, text);
    return KD_OK;
}

/* --- report and part --- */

static struct dime_report
report_of(const struct mail_to_bounce *in, const char *id)
{
    return (struct dime_report){.domain = in->domain,
                                .klass = in->klass,
                                .subject = in->subject,
                                .detail = in->detail,
                                .time = in->time,
                                .message = kd_slice(id, DIME_FINGERPRINT_CHARS),
                                .part = in->part};
}

/* Of what everybody can see. */
static kd_err
check_part(const struct dime_message *m, enum dime_return part)
{
    uint8_t type = dime_return_signature_type(part);
    const struct dime_chunk *c = dime_message_chunk(m, type);

    if (c == NULL)
        return KD_NOT_FOUND;
    uint64_t size = dime_message_signed_until(m, type) - m->begin;
    return size > DIME_RETURN_MAX - (dime_chunk_end(c) - c->at) ? KD_TOO_LARGE : KD_OK;
}

/* That the report can be written, whatever the message's identifier. */
static bool
can_be_said(const struct mail_to_bounce *in)
{
    static const uint8_t zeros[HASH_SIZE];
    char id[DIME_FINGERPRINT_CHARS + 1];
    struct dime_report report;
    struct kd_buf text;

    dime_fingerprint_text(zeros, id);
    report = report_of(in, id);
    kd_buf_init(&text, DIME_REPORT_MAX);
    bool fits = dime_report_put(&report, &text) == KD_OK;
    kd_buf_free(&text);
    return fits;
}

/* Its origin would not know what it signed not. */
static bool
is_signed(const struct mail_opened *o, enum dime_return part)
{
    switch (part) {
    case DIME_RETURN_METADATA:
        return o->metadata == DIME_VERDICT_GOOD;
    case DIME_RETURN_DISPLAY:
        return o->display == DIME_VERDICT_GOOD;
    case DIME_RETURN_MESSAGE:
        return true;
    case DIME_RETURN_COUNT:
        break;
    }
    return false;
}

/* --- the signatures --- */

static const enum kd_sign_purpose purposes[] = {KD_SIGN_REPORT, KD_SIGN_BOUNCE};

enum { N_SIGNATURES = sizeof purposes / sizeof *purposes };

struct signing {
    const struct mail_keys *k;
    struct mail_made_bounce *out;
    size_t n; /* made so far: each has its purpose and there is no third */
};

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct signing *s = ctx;
    struct kd_token_sig made;
    struct kd_sha256 h;

    if (s->n == N_SIGNATURES)
        return KD_FAILED;
    kd_err err =
        kd_token_sign(s->k->token, &s->k->signer, purposes[s->n], message, &made);
    if (err == KD_OK && made.n != DIME_SIG_SIZE)
        err = KD_FAILED;
    if (err != KD_OK)
        return err == KD_INVALID ? KD_FAILED : err;
    kd_sha256_init(&h);
    kd_sha256_add(&h, message);
    kd_sha256_final(&h, s->out->digests[s->n++]);
    memcpy(sig, made.octets, DIME_SIG_SIZE);
    return KD_OK;
}

static kd_err
build(const struct mail_keys *k, const struct dime_message *m,
      const struct mail_to_bounce *in, struct mail_made_bounce *out,
      struct kd_buf *octets)
{
    struct signing signing = {.k = k, .out = out};
    char id[DIME_FINGERPRINT_CHARS + 1] = "";
    const struct dime_report report = report_of(in, id);
    const struct dime_bounce_plan plan = {.origin = in->from.signet->enc_key,
                                          .report = &report,
                                          .message = m,
                                          .organization = {sign, &signing}};
    kd_err err = identify(m, id);

    if (err == KD_OK)
        err = dime_bounce_build(&plan, octets);
    if (err != KD_OK)
        kd_secret_wipe(out->digests, sizeof out->digests);
    return err;
}

kd_err
mail_make_bounce(const struct mail_keys *k, const struct dime_source *source,
                 const struct mail_to_bounce *in, struct mail_made_bounce *out,
                 struct kd_buf *octets)
{
    struct dime_message m;
    kd_err err;

    *out = (struct mail_made_bounce){.opened = {.flaw = DIME_FLAW_NONE}};
    err = dime_message_parse(source, in->from.max, &m, &out->opened.flaw);
    if (err != KD_OK)
        return err;
    if (!can_be_said(in))
        return KD_INVALID;
    if ((err = check_part(&m, in->part)) != KD_OK ||
        (err = inbound_open(k, &m, &in->from, &out->opened)) != KD_OK)
        return err;
    if (!is_signed(&out->opened, in->part))
        return KD_NOT_FOUND;
    return build(k, &m, in, out, octets);
}
