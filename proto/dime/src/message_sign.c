#include <dime/message_build.h>

#include "seal.h"

#include <dime/message_verify.h>
#include <keyd/base/secret.h>

/* key: secret memory for one chunk's. */
static kd_err
sign_chunk(const struct dime_message *m, uint8_t *octets, const struct dime_chunk *c,
           const struct dime_kek *kek, const struct dime_ed25519_secret *organization,
           struct dime_chunk_key *key)
{
    uint64_t until = dime_message_signed_until(m, c->def->type);
    uint8_t sig[DIME_SIG_SIZE];
    kd_err err;

    if ((err = dime_chunk_key_of(m, c, DIME_ORIGIN, kek, key)) != KD_OK)
        return err;
    err = seal_sign(organization,
                    kd_slice(octets + m->begin, (size_t)(until - m->begin)), sig);
    if (err != KD_OK)
        return err;
    return dime_signature_seal(key, sig, octets + dime_chunk_payload(c));
}

kd_err
dime_message_sign(const struct dime_message *m, uint8_t *octets,
                  const struct dime_kek *kek,
                  const struct dime_ed25519_secret *organization)
{
    /* 255 last: it covers the others as they will be. */
    const struct dime_chunk *const chunks[] = {&m->metadata_bounce, &m->display_bounce,
                                               &m->organization};
    struct dime_chunk_key *key;
    kd_err err = KD_OK;

    if (m->source.p != octets || m->organization.def == NULL)
        return KD_INVALID;
    if ((key = kd_secret_new(sizeof *key)) == NULL)
        return KD_NOMEM;
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks && err == KD_OK; i++)
        if (chunks[i]->def != NULL)
            err = sign_chunk(m, octets, chunks[i], kek, organization, key);
    kd_secret_free(key, sizeof *key);
    return err;
}

static kd_err
copy(const struct dime_message *m, uint64_t at, uint64_t until, struct kd_buf *out)
{
    size_t n = (size_t)(until - at);
    uint8_t *room = kd_buf_add(out, n);

    return room == NULL ? out->err : dime_source_read(&m->source, at, room, n);
}

kd_err
dime_message_drop(const struct dime_message *m, uint8_t type, struct kd_buf *out)
{
    const struct dime_chunk *c = dime_message_chunk(m, type);
    size_t start = out->n;
    kd_err err = out->err;

    if (type != DIME_CHUNK_METADATA_BOUNCE && type != DIME_CHUNK_DISPLAY_BOUNCE)
        return KD_INVALID;
    if (c == NULL)
        return KD_NOT_FOUND;
    if (err != KD_OK)
        return err;
    kd_buf_u16(out, DIME_MAGIC_MESSAGE);
    kd_buf_u32(out, (uint32_t)(m->end - m->begin - (dime_chunk_end(c) - c->at)));
    if ((err = copy(m, m->begin, c->at, out)) == KD_OK)
        err = copy(m, dime_chunk_end(c), m->end, out);
    if (err != KD_OK) {
        out->n = start;
        out->err = KD_OK;
    }
    return err;
}
