#include "report.h"

#include "dime_tool.h"

#include <dime/mime.h>

static const char *const labels[READING_SIGNATURES] = {
    "author's tree signature", "author's signature",
    "organization's signature over the metadata",
    "organization's signature over the display", "organization's signature"};

/* --- Judging ---------------------------------------------------------------------- */

static void
warn(struct report *r, const char *text)
{
    if (r->n_warnings < WARNINGS_MAX)
        r->warnings[r->n_warnings++] = text;
}

/* One name of the envelope and the signet that was given for it. */
struct named {
    const char *what;
    const struct dime_signet *signet;
    struct kd_slice name, fp;
    const char *other_name, *other_signet, *nameless;
};

enum { NAMED = 4 };

static size_t
named_in(const struct reading *r, struct named out[NAMED])
{
    const struct reading_keys *k = &r->keys;
    const struct dime_envelope *o = &r->origin, *d = &r->destination;
    size_t n = 0;

    if (r->has_origin && k->author != NULL)
        out[n++] = (struct named){"author",
                                  k->author,
                                  o->address,
                                  o->address_fp,
                                  "the author's signet is another address's",
                                  "the message names another signet of its author",
                                  "the author's signet does not say whose it is"};
    if (r->has_destination && k->origin != NULL)
        out[n++] = (struct named){"origin",
                                  k->origin,
                                  d->domain,
                                  d->domain_fp,
                                  "the origin's signet is another domain's",
                                  "the message names another signet of its origin",
                                  "the origin's signet does not say whose it is"};
    if (r->has_origin && k->destination != NULL)
        out[n++] = (struct named){"destination",
                                  k->destination,
                                  o->domain,
                                  o->domain_fp,
                                  "the destination's signet is another domain's",
                                  "the message names another signet of its destination",
                                  "the destination's signet does not say whose it is"};
    if (r->has_destination && k->recipient != NULL)
        out[n++] = (struct named){"recipient",
                                  k->recipient,
                                  d->address,
                                  d->address_fp,
                                  "the recipient's signet is another address's",
                                  "the message names another signet of its recipient",
                                  "the recipient's signet does not say whose it is"};
    return n;
}

/* A fingerprint that changed may be an older signet of the same name and key; another
 * name is another sender. */
static void
judge_names(struct report *r)
{
    struct named names[NAMED];
    size_t n = named_in(&r->reading, names);

    for (size_t i = 0; i < n; i++) {
        const struct named *m = &names[i];
        if (m->signet->identifier.n != 0 &&
            !kd_slice_eq(m->signet->identifier, m->name) && r->reading.refused == NULL)
            r->reading.refused = m->other_name;
        if (m->signet->identifier.n == 0)
            warn(r, m->nameless);
        if (strcmp(reading_agrees(m->signet, m->fp), "none") == 0)
            warn(r, m->other_signet);
    }
}

/* Without its organization's, anybody makes a user's signet. */
static void
judge_signets(struct report *r)
{
    const struct reading_keys *k = &r->reading.keys;

    if (k->author != NULL && k->origin == NULL)
        warn(r, "the author's signet is not verified: the origin's is needed");
    if (k->recipient != NULL && k->destination == NULL)
        warn(r, "the recipient's signet is not verified: the destination's is needed");
    if (k->origin != NULL && !r->anchored_origin)
        warn(r, "the origin's signet is not anchored: no --pok for that domain");
    if (k->destination != NULL && !r->anchored_destination)
        warn(r, "the destination's signet is not anchored: no --pok for that domain");
}

void
report_judge(struct report *r)
{
    const struct reading *g = &r->reading;
    enum { METADATA = 2, DISPLAY };

    judge_signets(r);
    judge_names(r);
    for (size_t i = METADATA; i <= DISPLAY; i++)
        if (g->signatures[i] == SIGNATURE_BAD)
            warn(r, "a signature for bounces is bad");
    if (g->signatures[0] == SIGNATURE_LEGACY)
        warn(r, "the author's tree signature has libdime's old form");
    if (g->has_common && g->has_origin &&
        !dime_mime_is_from(g->common.value[DIME_COMMON_FROM], g->origin.address))
        warn(r, "From does not name the author"); /* D-129 */
    if (g->n_parts > 0 && !g->complete)
        warn(r, "not every part can be read");
}

/* --- JSON ---------------------------------------------------------------------------
 */

static json_t *
text_to_json(struct kd_slice s)
{
    return json_stringn(s.n == 0 ? "" : (const char *)s.p, s.n);
}

static json_t *
envelope_to_json(bool has, const struct dime_envelope *e, const char *const names[4])
{
    const struct kd_slice values[] = {e->address, e->address_fp, e->domain,
                                      e->domain_fp};

    if (!has)
        return json_null();
    json_t *j = json_object();
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (!json_put(j, names[i], text_to_json(values[i]))) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static json_t *
envelopes_to_json(const struct reading *r)
{
    static const char *const of_origin[] = {"author", "author-signet", "destination",
                                            "destination-signet"};
    static const char *const of_destination[] = {"recipient", "recipient-signet",
                                                 "origin", "origin-signet"};
    json_t *j = json_object();

    if (json_put(j, "origin", envelope_to_json(r->has_origin, &r->origin, of_origin)) &&
        json_put(j, "destination",
                 envelope_to_json(r->has_destination, &r->destination, of_destination)))
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
agreement_to_json(const struct reading *r)
{
    struct named names[NAMED];
    size_t n = named_in(r, names);
    json_t *j = json_object();

    for (size_t i = 0; i < n; i++) {
        if (!json_put(j, names[i].what,
                      json_string(reading_agrees(names[i].signet, names[i].fp)))) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static json_t *
signatures_to_json(const struct reading *r)
{
    json_t *j = json_object();

    for (size_t i = 0; i < READING_SIGNATURES; i++) {
        char type[4];
        snprintf(type, sizeof type, "%u", reading_signature_types[i]);
        json_t *s = json_object();
        bool good =
            json_put(s, "state", json_string(reading_signature_name(r->signatures[i])));
        if (!json_put(j, type, s) || !good) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

static json_t *
common_to_json(const struct reading *r)
{
    if (!r->has_common)
        return json_null();
    json_t *j = json_object();
    for (int i = 0; i < DIME_COMMON_COUNT; i++) {
        if (r->common.value[i].p != NULL &&
            !json_put(j, dime_common_name((enum dime_common)i),
                      text_to_json(r->common.value[i]))) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

void
report_part_name(size_t i, char out[PART_NAME_SIZE])
{
    snprintf(out, PART_NAME_SIZE, "part-%zu.bin", i + 1);
}

static json_t *
part_to_json(const struct report *r, size_t i)
{
    const struct reading_part *p = &r->reading.parts[i];
    json_t *j = json_object(), *chunks = json_array();
    char name[PART_NAME_SIZE];

    for (uint32_t k = 0; k < p->span.n; k++)
        chunks = json_list_add(chunks, json_integer((json_int_t)p->chunk + k));
    bool good = json_put(j, "type", json_integer(p->span.first.def->type)) &&
                json_put(j, "state", json_string(reading_part_name(p->state))) &&
                json_put(j, "size", json_integer((json_int_t)p->size)) &&
                json_put(j, "compressed",
                         json_boolean((p->span.flags & DIME_PAYLOAD_GZIP) != 0));
    good = json_put(j, "chunks", chunks) && good;
    report_part_name(i, name);
    if (r->has_files && p->state == PART_GOOD)
        good = good && json_put(j, "file", json_string(name));
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
parts_to_json(const struct report *r)
{
    json_t *j = json_array();

    for (size_t i = 0; i < r->reading.n_parts; i++)
        j = json_list_add(j, part_to_json(r, i));
    return j;
}

static json_t *
warnings_to_json(const struct report *r)
{
    json_t *j = json_array();

    for (size_t i = 0; i < r->n_warnings; i++)
        j = json_list_add(j, json_string(r->warnings[i]));
    return j;
}

static bool
put_content(json_t *j, const struct report *r)
{
    const struct reading *g = &r->reading;

    return json_put(j, "complete", json_boolean(g->complete)) &&
           json_put(j, "n_chunks", json_integer(g->n.m.n_chunks)) &&
           json_put(j, "chunks", chunks_to_json(&g->n.m)) &&
           json_put(j, "signatures", signatures_to_json(g)) &&
           json_put(j, "envelope", envelopes_to_json(g)) &&
           json_put(j, "agrees", agreement_to_json(g)) &&
           json_put(j, "common", common_to_json(g)) &&
           json_put(j, "headers", json_boolean(g->texts[3] == TEXT_OPEN)) &&
           json_put(j, "parts", parts_to_json(r));
}

json_t *
report_to_json(const struct report *r, const char *kind)
{
    const struct reading *g = &r->reading;
    bool parsed = g->flaw == DIME_FLAW_NONE;
    json_t *j = json_object();
    bool good = json_put(j, "type", json_string(kind)) &&
                json_put(j, "valid", json_boolean(g->refused == NULL)) &&
                json_put(j, "role", json_string(dime_actor_name(g->actor))) &&
                json_put(j, "flaw",
                         parsed ? json_null() : json_string(dime_flaw_name(g->flaw))) &&
                json_put(j, "warnings", warnings_to_json(r));

    if (parsed)
        good = good && put_content(j, r);
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

/* --- Text ------------------------------------------------------------------------- */

static void
print_named(const char *name, struct kd_slice value)
{
    emit(stdout, "%-12s ", name);
    print_text(stdout, value);
    emit(stdout, "\n");
}

static void
print_envelope(const struct reading *r)
{
    if (r->has_origin)
        print_named("author", r->origin.address);
    if (r->has_destination)
        print_named("origin", r->destination.domain);
    if (r->has_origin)
        print_named("destination", r->origin.domain);
    if (r->has_destination)
        print_named("recipient", r->destination.address);
}

static void
print_parts(const struct report *r)
{
    const struct reading *g = &r->reading;

    for (size_t i = 0; i < g->n_parts; i++) {
        const struct reading_part *p = &g->parts[i];
        char name[PART_NAME_SIZE];
        emit(stdout, "part %zu: %s, ", i + 1, p->span.first.def->label);
        if (p->state == PART_GOOD)
            emit(stdout, "%llu octets", (unsigned long long)p->size);
        else
            emit(stdout, "%s",
                 p->state == PART_CORRUPT ? "corrupt" : "needs the alternate key");
        if ((p->span.flags & DIME_PAYLOAD_GZIP) != 0)
            emit(stdout, ", compressed");
        report_part_name(i, name);
        if (r->has_files && p->state == PART_GOOD)
            emit(stdout, " (%s)", name);
        emit(stdout, "\n");
    }
}

void
report_print(const struct report *r, const char *kind)
{
    const struct reading *g = &r->reading;

    if (g->flaw != DIME_FLAW_NONE)
        return;
    emit(stdout, "%s, read by its %s\n", kind, dime_actor_name(g->actor));
    print_envelope(g);
    for (size_t i = 0; i < READING_SIGNATURES; i++)
        emit(stdout, "%u %s: %s\n", (unsigned)reading_signature_types[i], labels[i],
             reading_signature_name(g->signatures[i]));
    for (int i = 0; g->has_common && g->n_parts > 0 && i < DIME_COMMON_COUNT; i++)
        if (g->common.value[i].p != NULL)
            print_named(dime_common_name((enum dime_common)i), g->common.value[i]);
    print_parts(r);
}
