#include <dime/message.h>

#include "chunk.h"

#include <keyd/base/be.h>

#include <stddef.h>

enum { TRACING_CHUNK = 0, TRACING_HEADER = 4 };

/* --- one chunk --- */

static enum dime_flaw
flaw_of_type(uint8_t type)
{
    switch (type) {
    case 1:
    case 32:
    case 64:
    case 128:
    case 224:
        return DIME_FLAW_HEADING;
    default:
        return DIME_FLAW_TYPE;
    }
}

static bool
size_is_of_form(enum dime_form form, uint32_t size)
{
    switch (form) {
    case DIME_FORM_CLEAR:
        return size == DIME_SECP_KEY_SIZE;
    case DIME_FORM_CLEAR_KEYS:
        return size == DIME_SECP_KEY_SIZE + DIME_ED25519_KEY_SIZE;
    case DIME_FORM_SIGNATURE:
    case DIME_FORM_CLEAR_SIGNATURE:
        return size == DIME_SIG_SIZE;
    case DIME_FORM_CLEAR_CHUNKS:
        return size != 0;
    case DIME_FORM_PAYLOAD:
        return size >= DIME_PAYLOAD_MIN && size <= DIME_PAYLOAD_MAX && size % 16 == 0;
    }
    return false;
}

kd_err
chunk_read(const struct dime_message *m, uint64_t at, uint64_t until,
           struct dime_chunk *out, enum dime_flaw *why)
{
    uint8_t head[DIME_CHUNK_HEADER];
    kd_err err;

    *why = DIME_FLAW_CUT;
    if (until - at < sizeof head)
        return KD_MALFORMED;
    if ((err = dime_source_read(&m->source, at, head, sizeof head)) != KD_OK)
        return err;
    *out = (struct dime_chunk){
        .def = chunk_def_of(m->defs, head[0]), .at = at, .size = kd_be24(head + 1)};
    if (out->def == NULL)
        *why = flaw_of_type(head[0]);
    else if (!size_is_of_form(out->def->form, out->size))
        *why = DIME_FLAW_PAYLOAD_SIZE;
    else if (dime_chunk_end(out) > until)
        return KD_MALFORMED;
    else
        *why = DIME_FLAW_NONE;
    return *why == DIME_FLAW_NONE ? KD_OK : KD_MALFORMED;
}

/* --- the chunks that stand at most once --- */

/* Where each has its place; the ephemeral one is kept as the key it is. */
static const struct {
    uint8_t type;
    size_t offset;
} places[] = {
    {DIME_CHUNK_ALTERNATE, offsetof(struct dime_message, alternate)},
    {DIME_CHUNK_ORIGIN, offsetof(struct dime_message, origin)},
    {DIME_CHUNK_DESTINATION, offsetof(struct dime_message, destination)},
    {DIME_CHUNK_COMMON, offsetof(struct dime_message, common)},
    {DIME_CHUNK_HEADERS, offsetof(struct dime_message, headers)},
    {DIME_CHUNK_AUTHOR_TREE, offsetof(struct dime_message, tree)},
    {DIME_CHUNK_AUTHOR, offsetof(struct dime_message, author)},
    {DIME_CHUNK_METADATA_BOUNCE, offsetof(struct dime_message, metadata_bounce)},
    {DIME_CHUNK_DISPLAY_BOUNCE, offsetof(struct dime_message, display_bounce)},
    {DIME_CHUNK_ORGANIZATION, offsetof(struct dime_message, organization)},
};

enum { N_PLACES = sizeof places / sizeof *places };

static void
keep(struct dime_message *m, const struct dime_chunk *c)
{
    for (size_t i = 0; i < N_PLACES; i++)
        if (places[i].type == c->def->type)
            memcpy((uint8_t *)m + places[i].offset, c, sizeof *c);
}

static const struct dime_chunk *
place(const struct dime_message *m, size_t i)
{
    return (const void *)((const uint8_t *)m + places[i].offset);
}

const struct dime_chunk *
dime_message_chunk(const struct dime_message *m, uint8_t type)
{
    for (size_t i = 0; i < N_PLACES; i++)
        if (places[i].type == type)
            return place(m, i)->def == NULL ? NULL : place(m, i);
    return NULL;
}

/* --- the order --- */

/* Sections ascend, and so do the types of those whose chunks stand once (D-106). */
static enum dime_flaw
check_order(const struct dime_chunk_def *before, const struct dime_chunk_def *now)
{
    if (before == NULL)
        return now->type == DIME_CHUNK_EPHEMERAL ? DIME_FLAW_NONE : DIME_FLAW_MISSING;
    if (now->section < before->section)
        return DIME_FLAW_ORDER;
    if (now->section > before->section || now->count == DIME_CHUNK_MANY)
        return DIME_FLAW_NONE;
    if (now->type == before->type)
        return DIME_FLAW_REPEATED;
    return now->type < before->type ? DIME_FLAW_ORDER : DIME_FLAW_NONE;
}

static void
count(struct dime_message *m, const struct dime_chunk *c)
{
    enum dime_section section = c->def->section;

    m->n_chunks++;
    m->n_display += section == DIME_SECTION_DISPLAY;
    m->n_attached += section == DIME_SECTION_ATTACHMENTS;
    /* Each section begins where the one before ends, itself empty or not. */
    if (section <= DIME_SECTION_METADATA)
        m->display = dime_chunk_end(c);
    if (section <= DIME_SECTION_DISPLAY)
        m->attached = dime_chunk_end(c);
    if (section <= DIME_SECTION_ATTACHMENTS)
        m->signs = dime_chunk_end(c);
}

kd_err
message_read_chunks(struct dime_message *m, enum dime_flaw *why)
{
    const struct dime_chunk_def *before = NULL;
    struct dime_chunk c;
    kd_err err;

    m->display = m->attached = m->signs = m->begin;
    for (uint64_t at = m->begin; at < m->end; at = dime_chunk_end(&c)) {
        if ((err = chunk_read(m, at, m->end, &c, why)) != KD_OK)
            return err;
        if ((*why = check_order(before, c.def)) != DIME_FLAW_NONE)
            return KD_MALFORMED;
        keep(m, &c);
        count(m, &c);
        before = c.def;
    }
    return KD_OK;
}

static bool
is_required(const struct dime_message *m, uint8_t type)
{
    const struct dime_chunk_def *def = chunk_def_of(m->defs, type);

    return def != NULL && def->count == DIME_CHUNK_ONCE;
}

enum dime_flaw
message_find_missing(const struct dime_message *m)
{
    if (m->n_chunks == 0)
        return DIME_FLAW_MISSING;
    for (size_t i = 0; i < N_PLACES; i++)
        if (place(m, i)->def == NULL && places[i].type != DIME_CHUNK_ORGANIZATION &&
            is_required(m, places[i].type))
            return DIME_FLAW_MISSING;
    if (m->n_display == 0)
        return DIME_FLAW_NO_DISPLAY;
    return m->organization.def == NULL ? DIME_FLAW_UNSIGNED : DIME_FLAW_NONE;
}

/* --- the object --- */

/* Octets of tracing data in front of an object, header included; 0 if there are none.
 */
static kd_err
skip_tracing(const struct dime_source *s, uint64_t *n)
{
    uint8_t head[TRACING_HEADER];
    kd_err err;

    *n = 0;
    if (s->n < sizeof head)
        return KD_OK;
    if ((err = dime_source_read(s, 0, head, sizeof head)) != KD_OK)
        return err;
    if (kd_be16(head) != DIME_MAGIC_TRACING)
        return KD_OK;
    *n = sizeof head + kd_be16(head + 2);
    return *n <= s->n ? KD_OK : KD_MALFORMED;
}

/* The chunk form of the same: cleartext, no slots, before all others. */
static kd_err
skip_tracing_chunk(struct dime_message *m)
{
    uint8_t head[DIME_CHUNK_HEADER];
    uint64_t size;
    kd_err err;

    if (m->end - m->begin < sizeof head)
        return KD_OK; /* cut, as will be found */
    if ((err = dime_source_read(&m->source, m->begin, head, sizeof head)) != KD_OK)
        return err;
    if (head[0] != TRACING_CHUNK)
        return KD_OK;
    size = sizeof head + (uint64_t)kd_be24(head + 1);
    if (size > m->end - m->begin)
        return KD_MALFORMED;
    m->begin += size;
    m->traced += size;
    return KD_OK;
}

kd_err
message_read_header(struct dime_message *m, uint16_t magic, enum dime_flaw *why)
{
    uint8_t head[DIME_MESSAGE_HEADER];
    kd_err err;

    *why = DIME_FLAW_SHORT;
    if (m->source.n - m->traced < sizeof head)
        return KD_MALFORMED;
    if ((err = dime_source_read(&m->source, m->traced, head, sizeof head)) != KD_OK)
        return err;
    *why = DIME_FLAW_MAGIC;
    if (kd_be16(head) != magic)
        return KD_MALFORMED;
    *why = DIME_FLAW_LENGTH;
    m->begin = m->traced + sizeof head;
    m->end = m->source.n;
    return kd_be32(head + 2) == m->end - m->begin ? KD_OK : KD_MALFORMED;
}

static kd_err
read_header(struct dime_message *m, enum dime_flaw *why)
{
    kd_err err;

    *why = DIME_FLAW_TRACING;
    if ((err = skip_tracing(&m->source, &m->traced)) != KD_OK)
        return err;
    if ((err = message_read_header(m, DIME_MAGIC_MESSAGE, why)) != KD_OK)
        return err;
    *why = DIME_FLAW_TRACING;
    return skip_tracing_chunk(m);
}

kd_err
message_read_ephemeral(struct dime_message *m, enum dime_flaw *why)
{
    kd_err err = dime_source_read(&m->source, m->begin + DIME_CHUNK_HEADER,
                                  m->ephemeral, sizeof m->ephemeral);

    *why = DIME_FLAW_EPHEMERAL;
    if (err != KD_OK)
        return err;
    return dime_secp_point_valid(kd_slice(m->ephemeral, sizeof m->ephemeral))
               ? KD_OK
               : KD_MALFORMED;
}

kd_err
dime_message_parse(const struct dime_source *source, uint64_t max,
                   struct dime_message *out, enum dime_flaw *why)
{
    struct dime_message m = {.source = *source, .defs = chunk_defs_message};
    enum dime_flaw unused, *flaw = why == NULL ? &unused : why;
    kd_err err;

    *flaw = DIME_FLAW_TOO_LARGE;
    if (source->n > max)
        return KD_TOO_LARGE;
    if ((err = read_header(&m, flaw)) != KD_OK ||
        (err = message_read_chunks(&m, flaw)) != KD_OK)
        return err;
    if ((*flaw = message_find_missing(&m)) != DIME_FLAW_NONE)
        return KD_MALFORMED;
    /* Last, since it costs the most. */
    if ((err = message_read_ephemeral(&m, flaw)) != KD_OK)
        return err;
    *flaw = DIME_FLAW_NONE;
    *out = m;
    return KD_OK;
}

bool
dime_message_next(const struct dime_message *m, uint64_t *at, uint64_t until,
                  struct dime_chunk *out, kd_err *err)
{
    enum dime_flaw why;

    *err = KD_OK;
    if (*at >= until)
        return false;
    *err = chunk_read(m, *at, until, out, &why);
    if (*err != KD_OK)
        return false;
    *at = dime_chunk_end(out);
    return true;
}

uint16_t
dime_object_magic(const struct dime_source *source)
{
    uint8_t octets[2];
    uint64_t at;

    if (skip_tracing(source, &at) != KD_OK ||
        dime_source_read(source, at, octets, sizeof octets) != KD_OK)
        return 0;
    return kd_be16(octets);
}

enum dime_data_kind
dime_data_kind(const struct dime_source *source)
{
    switch (dime_object_magic(source)) {
    case DIME_MAGIC_MESSAGE:
        return DIME_DATA_MESSAGE;
    case DIME_MAGIC_BOUNCE:
        return DIME_DATA_BOUNCE;
    default:
        return DIME_DATA_OTHER;
    }
}

/* --- words and replies --- */

const char *
dime_flaw_text(enum dime_flaw flaw)
{
    static const char *const texts[DIME_FLAW_COUNT] = {
#define DIME_FLAW(code, reply, text) [DIME_FLAW_##code] = (text),
#include <dime/message_reasons.def>
#undef DIME_FLAW
    };

    return flaw < DIME_FLAW_COUNT ? texts[flaw] : texts[DIME_FLAW_NONE];
}

const char *
dime_flaw_name(enum dime_flaw flaw)
{
    static const char *const names[DIME_FLAW_COUNT] = {
#define DIME_FLAW(code, reply, text) [DIME_FLAW_##code] = #code,
#include <dime/message_reasons.def>
#undef DIME_FLAW
    };

    return flaw < DIME_FLAW_COUNT ? names[flaw] : names[DIME_FLAW_NONE];
}

unsigned
dime_flaw_reply(enum dime_flaw flaw)
{
    static const unsigned replies[DIME_FLAW_COUNT] = {
#define DIME_FLAW(code, reply, text) [DIME_FLAW_##code] = (reply),
#include <dime/message_reasons.def>
#undef DIME_FLAW
    };

    return flaw < DIME_FLAW_COUNT ? replies[flaw] : replies[DIME_FLAW_NONE];
}
