/* An object is first laid out in full with room for its signatures, and nothing is
 * signed before all of it was found fit to be issued. */
#include "field_read.h"
#include "signet_parse.h"

#include <dime/build.h>
#include <dime/identifier.h>
#include <dime/info.h>
#include <keyd/base/be.h>

struct draft {
    struct kd_buf *out;
    size_t start; /* of the object in out */
    bool began;   /* false: out was broken before, and stays so */
    enum dime_reason why;
    kd_err err; /* of the signer, the filter or out; KD_OK if why says it all */
};

static void
fail(struct draft *d, enum dime_reason why)
{
    if (d->why == DIME_FINE)
        d->why = why;
}

static void
begin(struct draft *d, struct kd_buf *out, uint16_t magic)
{
    *d = (struct draft){
        .out = out, .start = out->n, .began = out->err == KD_OK, .err = out->err};
    if (!d->began)
        fail(d, DIME_NOT_MADE);
    kd_buf_u16(out, magic);
    kd_buf_u24(out, 0);
}

/* Room for a signature field; returns where it is. */
static size_t
reserve_signature(struct draft *d, uint8_t type)
{
    size_t at = d->out->n;

    kd_buf_u8(d->out, type);
    uint8_t *room = kd_buf_add(d->out, DIME_SIG_SIZE);
    if (room != NULL)
        memset(room, 0, DIME_SIG_SIZE);
    return at;
}

/* Writes the length. From here on the object keeps its size, and out its memory. */
static void
close_layout(struct draft *d)
{
    struct kd_buf *out = d->out;

    if (d->why != DIME_FINE)
        return;
    if (out->err != KD_OK) {
        d->err = out->err;
        fail(d, out->err == KD_TOO_LARGE ? DIME_OVERSIZE : DIME_NOT_MADE);
        return;
    }
    size_t n = out->n - d->start - DIME_HEADER_SIZE;
    if (n > DIME_FIELDS_MAX) {
        fail(d, DIME_OVERSIZE);
        return;
    }
    kd_put_be24(out->p + d->start + 2, (uint32_t)n);
}

/* Signs what precedes the reserved field (D-046). In ascending order of fields. */
static void
fill_signature(struct draft *d, size_t at, const struct dime_signer *signer)
{
    size_t first = d->start + DIME_HEADER_SIZE;
    uint8_t sig[DIME_SIG_SIZE];

    if (d->why != DIME_FINE)
        return;
    d->err = signer->sign(signer->ctx, kd_slice(d->out->p + first, at - first), sig);
    if (d->err != KD_OK)
        fail(d, DIME_NOT_MADE);
    else
        memcpy(d->out->p + at + 1, sig, sizeof sig);
}

static kd_err
finish(struct draft *d, enum dime_reason *why)
{
    struct kd_buf *out = d->out;

    if (d->why == DIME_FINE)
        fail(d, dime_signet_structure(kd_slice(out->p + d->start, out->n - d->start)));
    *why = d->why;
    if (d->why == DIME_FINE)
        return KD_OK;
    if (d->began) {
        out->n = d->start;
        out->err = KD_OK;
    }
    return d->err != KD_OK ? d->err : dime_reason_err(d->why);
}

static void
put_keys(struct draft *d, uint8_t enc_type, enum dime_layout layout,
         const uint8_t *sign_key, const uint8_t *enc_key, const struct dime_sok *soks,
         size_t n_soks)
{
    dime_field_put_key(d->out, DIME_USER_SIGN_KEY, DIME_SHAPE_SIGN_KEY, layout, 0,
                       kd_slice(sign_key, DIME_ED25519_KEY_SIZE));
    for (size_t i = 0; i < n_soks; i++)
        dime_field_put_key(d->out, DIME_ORG_SOK, DIME_SHAPE_SOK, layout, soks[i].perms,
                           kd_slice(soks[i].key, sizeof soks[i].key));
    dime_field_put_key(d->out, enc_type, DIME_SHAPE_ENC_KEY, layout, 0,
                       kd_slice(enc_key, DIME_SECP_KEY_SIZE));
}

static void
put_info(struct draft *d, enum dime_kind kind, struct kd_slice info)
{
    enum dime_reason why;

    if (d->why != DIME_FINE)
        return;
    kd_err err = dime_info_filter(kind, info, d->out, &why);
    if (err != KD_OK) {
        d->err = err;
        fail(d, why);
    }
}

static enum dime_reason
check_keys(enum dime_layout layout, const uint8_t *sign_key, const uint8_t *enc_key)
{
    if (layout != DIME_LAYOUT_L && layout != DIME_LAYOUT_S33)
        return DIME_LAYOUT_NOT_ISSUED;
    if (!dime_ed25519_key_valid(sign_key))
        return DIME_BAD_POINT;
    if (!dime_secp_point_valid(kd_slice(enc_key, DIME_SECP_KEY_SIZE)))
        return DIME_BAD_ENC_POINT;
    return DIME_FINE;
}

static bool
is_repeated(const struct dime_org_plan *plan, size_t nth)
{
    const uint8_t *key = plan->soks[nth].key;

    if (memcmp(key, plan->pok, DIME_ED25519_KEY_SIZE) == 0)
        return true;
    for (size_t i = 0; i < nth; i++) {
        if (memcmp(key, plan->soks[i].key, DIME_ED25519_KEY_SIZE) == 0)
            return true;
    }
    return false;
}

static enum dime_reason
check_soks(const struct dime_org_plan *plan)
{
    if (plan->n_soks > DIME_SOKS_MAX)
        return DIME_TOO_MANY_SOKS;
    for (size_t i = 0; i < plan->n_soks; i++) {
        if (!dime_perms_valid(plan->soks[i].perms))
            return DIME_VOID_SOK;
        if (is_repeated(plan, i))
            return DIME_SOK_REPEATED;
        if (!dime_ed25519_key_valid(plan->soks[i].key))
            return DIME_BAD_POINT;
    }
    return DIME_FINE;
}

static enum dime_reason
check_org_plan(const struct dime_org_plan *plan)
{
    enum dime_reason why;

    if ((why = check_keys(plan->layout, plan->pok, plan->enc_key)) != DIME_FINE)
        return why;
    if ((why = check_soks(plan)) != DIME_FINE)
        return why;
    return dime_identifier_is_domain(plan->identifier) ? DIME_FINE
                                                       : DIME_IDENTIFIER_FORM;
}

kd_err
dime_org_build(const struct dime_org_plan *plan, struct dime_signer pok,
               struct kd_buf *out, enum dime_reason *why)
{
    struct draft d;

    if ((*why = check_org_plan(plan)) != DIME_FINE)
        return dime_reason_err(*why);
    begin(&d, out, DIME_MAGIC_ORG);
    put_keys(&d, DIME_ORG_ENC_KEY, plan->layout, plan->pok, plan->enc_key, plan->soks,
             plan->n_soks);
    size_t self = reserve_signature(&d, DIME_ORG_SELF_SIGNATURE);
    put_info(&d, DIME_ORG, plan->info);
    size_t full = reserve_signature(&d, DIME_FIELD_FULL_SIGNATURE);
    dime_field_put_identifier(out, plan->layout, plan->identifier);
    size_t identified = reserve_signature(&d, DIME_FIELD_IDENTIFIED_SIGNATURE);
    close_layout(&d);
    fill_signature(&d, self, &pok);
    fill_signature(&d, full, &pok);
    fill_signature(&d, identified, &pok);
    return finish(&d, why);
}

kd_err
dime_user_build(const struct dime_user_plan *plan, struct dime_signer org,
                struct kd_buf *out, enum dime_reason *why)
{
    struct kd_slice request;
    struct draft d;

    *why = DIME_FINE;
    if (dime_signet_part(plan->ssr, DIME_PART_REQUEST, &request) != KD_OK)
        *why = DIME_WRONG_KIND;
    else if (!dime_identifier_is_address(plan->identifier))
        *why = DIME_IDENTIFIER_FORM;
    if (*why != DIME_FINE)
        return dime_reason_err(*why);
    begin(&d, out, DIME_MAGIC_USER);
    kd_buf_put(out, request);
    size_t core = reserve_signature(&d, DIME_USER_ORG_SIGNATURE);
    put_info(&d, DIME_USER, plan->info);
    size_t full = reserve_signature(&d, DIME_FIELD_FULL_SIGNATURE);
    dime_field_put_identifier(out, plan->ssr->layout, plan->identifier);
    size_t identified = reserve_signature(&d, DIME_FIELD_IDENTIFIED_SIGNATURE);
    close_layout(&d);
    fill_signature(&d, core, &org);
    fill_signature(&d, full, &org);
    fill_signature(&d, identified, &org);
    return finish(&d, why);
}

kd_err
dime_ssr_build(const struct dime_ssr_plan *plan, struct dime_signer own,
               struct kd_buf *out, enum dime_reason *why)
{
    struct draft d;
    size_t custody = 0;

    if ((*why = check_keys(plan->layout, plan->sign_key, plan->enc_key)) != DIME_FINE)
        return dime_reason_err(*why);
    begin(&d, out, DIME_MAGIC_SSR);
    put_keys(&d, DIME_USER_ENC_KEY, plan->layout, plan->sign_key, plan->enc_key, NULL,
             0);
    if (plan->custody != NULL)
        custody = reserve_signature(&d, DIME_USER_CUSTODY);
    size_t user = reserve_signature(&d, DIME_USER_USER_SIGNATURE);
    close_layout(&d);
    if (plan->custody != NULL)
        fill_signature(&d, custody, plan->custody);
    fill_signature(&d, user, &own);
    return finish(&d, why);
}
