/* What is looked at before anything is sealed. */
#include "chunk.h"
#include "seal.h"

enum { PAD_MAX = 255 };

static bool
is_content(const struct dime_chunk_def *def, const struct dime_content *c)
{
    return def != NULL && def->form == DIME_FORM_PAYLOAD &&
           def->count == DIME_CHUNK_MANY && c->data.n > 0 &&
           (c->flags == 0 || c->flags == DIME_PAYLOAD_GZIP);
}

kd_err
seal_check_contents(const struct dime_chunk_def *defs,
                    const struct dime_content *contents, size_t n,
                    const struct kd_buf *out)
{
    uint64_t left = out->max - out->n;
    enum dime_section last = DIME_SECTION_DISPLAY;

    if (n == 0)
        return KD_INVALID;
    for (size_t i = 0; i < n; i++) {
        const struct dime_chunk_def *def = chunk_def_of(defs, contents[i].type);
        if (!is_content(def, &contents[i]) || def->section < last)
            return KD_INVALID;
        if (i == 0 && def->section != DIME_SECTION_DISPLAY)
            return KD_INVALID;
        if (contents[i].data.n > left)
            return KD_TOO_LARGE;
        left -= contents[i].data.n;
        last = def->section;
    }
    return KD_OK;
}

size_t
seal_room(uint64_t n, size_t slots)
{
    size_t chunks = (size_t)(n / DIME_DATA_MAX) + 1;
    size_t each =
        DIME_CHUNK_HEADER + DIME_PAYLOAD_FIXED + PAD_MAX + 1 + slots * DIME_SLOT_SIZE;

    return (size_t)n + chunks * each;
}
