#include <dime/naked.h>

#include "chunk.h"
#include "seal.h"

#include <dime/common.h>

/* The ephemeral chunk and three signatures, and the header. */
enum { FIXED_ROOM = 1024, SLOTS = 1 };

static kd_err
read_signer(struct dime_naked *n, enum dime_flaw *why)
{
    uint64_t at = n->m.begin + DIME_CHUNK_HEADER + DIME_SECP_KEY_SIZE;
    kd_err err = dime_source_read(&n->m.source, at, n->signer, sizeof n->signer);

    *why = DIME_FLAW_EPHEMERAL;
    if (err != KD_OK)
        return err;
    return dime_ed25519_key_valid(n->signer) ? KD_OK : KD_MALFORMED;
}

kd_err
dime_naked_parse(const struct dime_source *source, uint64_t max, struct dime_naked *out,
                 enum dime_flaw *why)
{
    struct dime_naked n = {.m = {.source = *source, .defs = chunk_defs_naked}};
    enum dime_flaw unused, *flaw = why == NULL ? &unused : why;
    kd_err err;

    *flaw = DIME_FLAW_TOO_LARGE;
    if (source->n > max)
        return KD_TOO_LARGE;
    if ((err = message_read_header(&n.m, DIME_MAGIC_NAKED, flaw)) != KD_OK ||
        (err = message_read_chunks(&n.m, flaw)) != KD_OK)
        return err;
    if ((*flaw = message_find_missing(&n.m)) != DIME_FLAW_NONE)
        return KD_MALFORMED;
    if ((err = message_read_ephemeral(&n.m, flaw)) != KD_OK ||
        (err = read_signer(&n, flaw)) != KD_OK)
        return err;
    *flaw = DIME_FLAW_NONE;
    *out = n;
    return KD_OK;
}

kd_err
dime_naked_signature(const struct dime_naked *n, uint8_t sig[DIME_SIG_SIZE])
{
    return dime_source_read(&n->m.source, dime_chunk_payload(&n->m.organization), sig,
                            DIME_SIG_SIZE);
}

/* What our own readers would refuse is not written (D-112). */
static kd_err
check_plan(const struct dime_naked_plan *plan, const struct kd_buf *out)
{
    struct dime_common_headers common;

    if (plan->recipient == NULL || plan->common.n == 0 || plan->headers.n == 0 ||
        plan->headers.n > DIME_DATA_MAX ||
        dime_common_parse(plan->common, &common) != KD_OK)
        return KD_INVALID;
    return seal_check_contents(chunk_defs_naked, plan->contents, plan->n_contents, out);
}

static size_t
expected_size(const struct dime_naked_plan *plan)
{
    size_t n = FIXED_ROOM;

    n += seal_room(plan->common.n, SLOTS) + seal_room(plan->headers.n, SLOTS);
    for (size_t i = 0; i < plan->n_contents; i++)
        n += seal_room(plan->contents[i].data.n, SLOTS);
    return n;
}

kd_err
dime_naked_build(const struct dime_naked_plan *plan, struct kd_buf *out)
{
    uint8_t signer[DIME_ED25519_KEY_SIZE] = {0};
    struct sealer s;
    kd_err err;

    if ((err = check_plan(plan, out)) != KD_OK)
        return err;
    seal_begin(&s, DIME_MAGIC_NAKED, chunk_defs_naked, NULL, NULL, out,
               expected_size(plan));
    seal_signed_once(&s, signer);
    seal_for(&s, DIME_RECIPIENT, plan->recipient);
    seal_ephemeral(&s, signer);
    seal_slice(&s, DIME_CHUNK_COMMON, plan->common);
    seal_slice(&s, DIME_CHUNK_HEADERS, plan->headers);
    for (size_t i = 0; i < plan->n_contents; i++)
        seal_content(&s, &plan->contents[i]);
    seal_tree(&s, DIME_CHUNK_AUTHOR_TREE);
    seal_signature(&s, DIME_CHUNK_AUTHOR);
    seal_blank(&s, DIME_CHUNK_ORGANIZATION);
    return seal_end(&s);
}

kd_err
dime_naked_sign(const struct dime_naked *n, uint8_t *octets,
                struct dime_signer organization)
{
    const struct dime_message *m = &n->m;
    uint8_t sig[DIME_SIG_SIZE];
    kd_err err;

    if (m->source.p != octets)
        return KD_INVALID;
    err = organization.sign(
        organization.ctx,
        kd_slice(octets + m->begin, (size_t)(m->organization.at - m->begin)), sig);
    if (err == KD_OK)
        memcpy(octets + dime_chunk_payload(&m->organization), sig, sizeof sig);
    return err;
}
