#include <dime/bounce.h>
#include <dime/naked.h>

#include "chunk.h"

/* Bits of enum dime_actor. */
#define ACCESS_NONE 0
#define ACCESS_AR (1 << DIME_AUTHOR | 1 << DIME_RECIPIENT)
#define ACCESS_AOR (1 << DIME_AUTHOR | 1 << DIME_ORIGIN | 1 << DIME_RECIPIENT)
#define ACCESS_ADR (1 << DIME_AUTHOR | 1 << DIME_DESTINATION | 1 << DIME_RECIPIENT)
#define ACCESS_AODR (ACCESS_AOR | 1 << DIME_DESTINATION)
#define ACCESS_O (1 << DIME_ORIGIN)
#define ACCESS_R (1 << DIME_RECIPIENT)
#define SLOTS_NONE 0
#define SLOTS_O 1
#define SLOTS_R 1
#define SLOTS_AR 2
#define SLOTS_AOR 3
#define SLOTS_ADR 3
#define SLOTS_AODR 4

#define DIME_CHUNK(number, id, text, in, of, who, how_many)                            \
    [number] = {.label = (text),                                                       \
                .type = (number),                                                      \
                .access = ACCESS_##who,                                                \
                .slots = SLOTS_##who,                                                  \
                .section = DIME_SECTION_##in,                                          \
                .form = DIME_FORM_##of,                                                \
                .count = DIME_CHUNK_##how_many},
const struct dime_chunk_def chunk_defs_message[CHUNK_TYPES] = {
#include <dime/chunks.def>
};
const struct dime_chunk_def chunk_defs_bounce[CHUNK_TYPES] = {
#include <dime/chunks_bounce.def>
};
const struct dime_chunk_def chunk_defs_naked[CHUNK_TYPES] = {
#include <dime/chunks_naked.def>
};
#undef DIME_CHUNK

const struct dime_chunk_def *
chunk_def_of(const struct dime_chunk_def *defs, uint8_t type)
{
    return defs[type].label == NULL ? NULL : &defs[type];
}

const struct dime_chunk_def *
dime_chunk_def(uint8_t type)
{
    return chunk_def_of(chunk_defs_message, type);
}

const struct dime_chunk_def *
dime_bounce_chunk_def(uint8_t type)
{
    return chunk_def_of(chunk_defs_bounce, type);
}

const struct dime_chunk_def *
dime_naked_chunk_def(uint8_t type)
{
    return chunk_def_of(chunk_defs_naked, type);
}

int
dime_chunk_slot(const struct dime_chunk_def *def, enum dime_actor actor)
{
    int before = 0;

    if ((def->access >> actor & 1) == 0)
        return -1;
    for (unsigned i = 0; i < (unsigned)actor; i++)
        before += def->access >> i & 1;
    return before;
}

const char *
dime_actor_name(enum dime_actor actor)
{
    static const char *const names[DIME_ACTOR_COUNT] = {
        [DIME_AUTHOR] = "author",
        [DIME_ORIGIN] = "origin",
        [DIME_DESTINATION] = "destination",
        [DIME_RECIPIENT] = "recipient",
    };

    return actor < DIME_ACTOR_COUNT ? names[actor] : "";
}
