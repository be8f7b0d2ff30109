#include <dime/message_build.h>

#include "chunk.h"
#include "seal.h"

#include <dime/common.h>
#include <dime/envelope.h>

/* The ephemeral chunk and five signatures with their slots, and the header. */
enum { FIXED_ROOM = 2048, SLOTS_OF_ENVELOPE = 3, SLOTS_OF_CONTENT = 2 };

/* What our own readers would refuse is not written (D-110, D-112). */
static bool
texts_are_good(const struct dime_plan *plan)
{
    struct dime_envelope envelope;
    struct dime_common_headers common;

    return plan->common.n > 0 &&
           dime_envelope_parse(DIME_ENVELOPE_ORIGIN, plan->origin, &envelope) ==
               KD_OK &&
           dime_envelope_parse(DIME_ENVELOPE_DESTINATION, plan->destination,
                               &envelope) == KD_OK &&
           dime_common_parse(plan->common, &common) == KD_OK;
}

static kd_err
check_plan(const struct dime_plan *plan, const struct kd_buf *out)
{
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        if (plan->keys[i] == NULL)
            return KD_INVALID;
    if (!texts_are_good(plan) || plan->headers.n == 0 ||
        plan->headers.n > DIME_DATA_MAX)
        return KD_INVALID;
    return seal_check_contents(chunk_defs_message, plan->contents, plan->n_contents,
                               out);
}

static size_t
expected_size(const struct dime_plan *plan)
{
    size_t n = FIXED_ROOM;

    n += seal_room(plan->origin.n, SLOTS_OF_ENVELOPE);
    n += seal_room(plan->destination.n, SLOTS_OF_ENVELOPE);
    n += seal_room(plan->common.n, SLOTS_OF_CONTENT);
    n += seal_room(plan->headers.n, SLOTS_OF_CONTENT);
    for (size_t i = 0; i < plan->n_contents; i++)
        n += seal_room(plan->contents[i].data.n, SLOTS_OF_CONTENT);
    return n;
}

kd_err
dime_message_build_with(const struct dime_plan *plan, dime_random fill, void *ctx,
                        struct kd_buf *out)
{
    struct sealer s;
    kd_err err;

    if ((err = check_plan(plan, out)) != KD_OK)
        return err;
    seal_begin(&s, DIME_MAGIC_MESSAGE, chunk_defs_message, fill, ctx, out,
               expected_size(plan));
    seal_signed_by(&s, plan->author);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        seal_for(&s, (enum dime_actor)i, plan->keys[i]);
    seal_ephemeral(&s, NULL);
    seal_envelope(&s, DIME_CHUNK_ORIGIN, plan->origin);
    seal_envelope(&s, DIME_CHUNK_DESTINATION, plan->destination);
    seal_slice(&s, DIME_CHUNK_COMMON, plan->common);
    seal_slice(&s, DIME_CHUNK_HEADERS, plan->headers);
    for (size_t i = 0; i < plan->n_contents; i++)
        seal_content(&s, &plan->contents[i]);
    seal_tree(&s, DIME_CHUNK_AUTHOR_TREE);
    seal_signature(&s, DIME_CHUNK_AUTHOR);
    if (plan->metadata_bounce)
        seal_blank(&s, DIME_CHUNK_METADATA_BOUNCE);
    if (plan->display_bounce)
        seal_blank(&s, DIME_CHUNK_DISPLAY_BOUNCE);
    seal_blank(&s, DIME_CHUNK_ORGANIZATION);
    return seal_end(&s);
}

kd_err
dime_message_build(const struct dime_plan *plan, struct kd_buf *out)
{
    return dime_message_build_with(plan, NULL, NULL, out);
}
