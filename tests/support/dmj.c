#include "dmj.h"

#include "dm.h"

#include <keyd/base/be.h>

#include <stdio.h>
#include <stdlib.h>

enum { MOST_CHUNKS = 320000, SLOT = 64, UNTOUCHED = 0x5a };

/* --- the table once more; slots and sizes are in dm.c --- */

static bool
is_signature(uint8_t type)
{
    return type == 225 || type == 226 || type == 248 || type == 249 || type == 255;
}

static bool
is_display(uint8_t type)
{
    return type >= 65 && type <= 67;
}

static bool
is_attachment(uint8_t type)
{
    return type >= 129 && type <= 131;
}

static bool
is_size_right(uint8_t type, uint32_t size)
{
    if (type == 2 || is_signature(type))
        return size == dm_size(type);
    return size % 16 == 0 && size >= dm_size(type) && size <= 16777200;
}

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

/* --- reading --- */

static struct dmj_chunk found[MOST_CHUNKS];

/* The types one after the other, as one would say it aloud. */
static bool
is_in_order(const struct dmj_chunk *c, size_t n)
{
    static const struct {
        uint8_t type;
        bool required;
    } before[] = {{2, true}, {3, false}, {4, true}, {5, true}, {33, true}, {34, false}},
      after[] = {{225, true}, {226, true}, {248, false}, {249, false}, {255, true}};
    size_t i = 0;

    for (size_t k = 0; k < sizeof before / sizeof *before; k++) {
        if (i < n && c[i].type == before[k].type)
            i++;
        else if (before[k].required)
            return false;
    }
    if (i == n || !is_display(c[i].type))
        return false;
    while (i < n && is_display(c[i].type))
        i++;
    while (i < n && is_attachment(c[i].type))
        i++;
    for (size_t k = 0; k < sizeof after / sizeof *after; k++) {
        if (i < n && c[i].type == after[k].type)
            i++;
        else if (after[k].required)
            return false;
    }
    return i == n;
}

/* Takes tracing data off, the object first, then the chunk behind the header. */
static bool
find_chunks(struct kd_slice octets, size_t *at)
{
    *at = 0;
    if (octets.n >= 4 && kd_be16(octets.p) == 1837)
        *at = 4 + (size_t)kd_be16(octets.p + 2);
    if (*at > octets.n || octets.n - *at < 6)
        return false;
    if (kd_be16(octets.p + *at) != 1847 ||
        kd_be32(octets.p + *at + 2) != octets.n - *at - 6)
        return false;
    *at += 6;
    if (octets.n - *at >= 4 && octets.p[*at] == 0)
        *at += 4 + (size_t)kd_be24(octets.p + *at + 1);
    return *at <= octets.n;
}

bool
dmj_read_chunks(struct kd_slice octets, size_t at, const struct dmj_chunk **chunks,
                size_t *n)
{
    *chunks = found;
    *n = 0;
    while (at < octets.n) {
        if (octets.n - at < 4)
            return false;
        must(*n < MOST_CHUNKS, "too many chunks");
        struct dmj_chunk *c = &found[(*n)++];
        *c = (struct dmj_chunk){.at = (uint32_t)at,
                                .size = kd_be24(octets.p + at + 1),
                                .type = octets.p[at]};
        size_t slots = dm_slots(c->type), whole = 4 + (size_t)c->size + slots * SLOT;
        if ((slots == 0 && c->type != 2) || whole > octets.n - at ||
            !is_size_right(c->type, c->size))
            return false;
        at += whole;
        c->end = (uint32_t)at;
    }
    return true;
}

bool
dmj_read(struct kd_slice octets, const struct dmj_chunk **chunks, size_t *n)
{
    size_t at;

    *n = 0;
    return find_chunks(octets, &at) && dmj_read_chunks(octets, at, chunks, n) &&
           is_in_order(found, *n) &&
           dime_secp_point_valid(kd_slice(octets.p + found[0].at + 4, 33));
}

/* --- comparing --- */

static bool
same_chunk(const struct dime_chunk *a, const struct dime_chunk *b)
{
    return a->def == b->def && a->at == b->at && a->size == b->size;
}

bool
dmj_same(const struct dime_message *a, const struct dime_message *b)
{
    for (unsigned type = 0; type < 256; type++) {
        const struct dime_chunk *x = dime_message_chunk(a, (uint8_t)type);
        const struct dime_chunk *y = dime_message_chunk(b, (uint8_t)type);
        if ((x == NULL) != (y == NULL) || (x != NULL && !same_chunk(x, y)))
            return false;
    }
    return a->traced == b->traced && a->begin == b->begin && a->display == b->display &&
           a->attached == b->attached && a->signs == b->signs && a->end == b->end &&
           a->n_chunks == b->n_chunks && a->n_display == b->n_display &&
           a->n_attached == b->n_attached && a->defs == b->defs &&
           memcmp(a->ephemeral, b->ephemeral, sizeof a->ephemeral) == 0;
}

static bool
is_seen(const struct dime_chunk *c, const struct dmj_chunk *seen)
{
    return c->def != NULL && c->def->type == seen->type && c->at == seen->at &&
           c->size == seen->size && dime_chunk_end(c) == seen->end;
}

static const char *
compare_walk(const struct dime_message *m, const struct dmj_chunk *seen, size_t n)
{
    uint64_t at = m->begin;
    struct dime_chunk c;
    size_t i = 0;
    kd_err err;

    for (; dime_message_next(m, &at, m->end, &c, &err); i++)
        if (i == n || !is_seen(&c, &seen[i]) || at != seen[i].end)
            return "another chunk in the walk";
    if (err != KD_OK || i != n || at != m->end)
        return "the walk ends elsewhere";
    return NULL;
}

/* Where the first chunk stands whose type is at least that. */
static uint64_t
first_from(const struct dmj_chunk *seen, uint8_t type)
{
    while (seen->type < type)
        seen++;
    return seen->at;
}

static const char *
compare_sections(const struct dime_message *m, const struct dmj_chunk *seen, size_t n)
{
    uint32_t n_display = 0, n_attached = 0;

    for (size_t i = 0; i < n; i++) {
        n_display += is_display(seen[i].type);
        n_attached += is_attachment(seen[i].type);
    }
    if (m->n_chunks != n || m->n_display != n_display || m->n_attached != n_attached)
        return "other numbers of chunks";
    if (m->traced + 6 != seen[0].at || m->begin != seen[0].at ||
        m->display != first_from(seen, 65) || m->attached != first_from(seen, 129) ||
        m->signs != first_from(seen, 225) || m->end != seen[n - 1].end)
        return "sections begin elsewhere";
    return NULL;
}

/* Those that stand once are where they are, and no others are. The ephemeral one is not
 * kept as a chunk. */
static const char *
compare_singles(const struct dime_message *m, const struct dmj_chunk *seen, size_t n)
{
    size_t n_kept = 0, n_singles = 0;

    for (unsigned type = 0; type < 256; type++)
        n_kept += dime_message_chunk(m, (uint8_t)type) != NULL;
    for (size_t i = 0; i < n; i++) {
        uint8_t type = seen[i].type;
        if (type == 2 || is_display(type) || is_attachment(type))
            continue;
        const struct dime_chunk *c = dime_message_chunk(m, type);
        if (c == NULL || !is_seen(c, &seen[i]))
            return "a chunk that stands once is kept wrong";
        n_singles++;
    }
    return n_kept == n_singles ? NULL : "a chunk is kept that is not there";
}

static const char *
compare(const struct dime_message *m, struct kd_slice octets,
        const struct dmj_chunk *seen, size_t n)
{
    const char *why;

    if (memcmp(m->ephemeral, octets.p + seen[0].at + 4, sizeof m->ephemeral) != 0)
        return "another ephemeral key";
    if ((why = compare_sections(m, seen, n)) != NULL ||
        (why = compare_singles(m, seen, n)) != NULL)
        return why;
    return compare_walk(m, seen, n);
}

static bool
is_untouched(const struct dime_message *m)
{
    const uint8_t *octets = (const uint8_t *)m;

    for (size_t i = 0; i < sizeof *m; i++)
        if (octets[i] != UNTOUCHED)
            return false;
    return true;
}

const char *
dmj_judge(struct kd_slice octets, int fd, struct dmj_verdict *out)
{
    struct dime_source memory = dime_source_of(octets);
    struct dime_source file = dime_source_file(fd, octets.n);
    struct dime_message again;
    const struct dmj_chunk *seen;
    enum dime_flaw flaw;
    const char *why;
    size_t n;

    memset(&out->m, UNTOUCHED, sizeof out->m);
    out->err = dime_message_parse(&memory, UINT32_MAX, &out->m, &out->flaw);
    if (out->err != KD_OK && !is_untouched(&out->m))
        return "a refused message is written";
    if ((out->err == KD_OK) != (out->flaw == DIME_FLAW_NONE))
        return "error and flaw are not of one mind";
    if (out->err != KD_OK && out->err != KD_MALFORMED)
        return "an error that no octets make";
    if (dime_message_parse(&file, UINT32_MAX, &again, &flaw) != out->err ||
        flaw != out->flaw)
        return "memory and file are judged differently";
    if (dime_message_parse(&memory, octets.n, &again, NULL) != out->err)
        return "the limit is not the message's";
    if (dmj_read(octets, &seen, &n) != (out->err == KD_OK))
        return "the naive reading says otherwise";
    if (out->err != KD_OK)
        return NULL;
    if (dime_message_parse(&file, octets.n, &again, NULL) != KD_OK ||
        !dmj_same(&out->m, &again))
        return "memory and file are read differently";
    if ((why = compare(&out->m, octets, seen, n)) != NULL)
        return why;
    return compare_walk(&again, seen, n);
}
