/* dime message show, armor, dearmor: the structure of a message, which everybody sees
 * who has it. */
#include "dime_tool.h"

#include <dime/armor.h>
#include <dime/bounce.h>
#include <dime/naked.h>
#include <keyd/base/be.h>

/* A message in armour, with room for its line ends and text around it; and how many
 * chunks are listed in JSON, of which there can be 170,000. */
enum { FILE_MAX_SIZE = DIME_MESSAGE_MAX / 2 * 3, LISTED_MAX = 4096 };

int
message_load(struct loaded *l, const char *path, const char **why)
{
    int status = loaded_read(l, path, FILE_MAX_SIZE, why);

    if (status == HOLDS && l->armoured)
        kd_buf_free(&l->file);
    return status;
}

const char *
message_kind(struct kd_slice octets)
{
    const struct dime_source source = dime_source_of(octets);

    switch (dime_object_magic(&source)) {
    case DIME_MAGIC_MESSAGE:
        return "message";
    case DIME_MAGIC_NAKED:
        return "naked-message";
    case DIME_MAGIC_BOUNCE:
        return "bounce";
    default:
        return "unknown";
    }
}

/* --- Any of the three ------------------------------------------------------------- */

struct shown {
    struct kd_slice octets;
    struct dime_message m; /* a bounce's own chunks */
    bool is_bounce;
    struct dime_bounce bounce;
};

static kd_err
parse(struct shown *s, enum dime_flaw *flaw)
{
    const struct dime_source source = dime_source_of(s->octets);
    struct dime_naked naked;
    kd_err err;

    switch (dime_object_magic(&source)) {
    case DIME_MAGIC_NAKED:
        err = dime_naked_parse(&source, DIME_MESSAGE_MAX, &naked, flaw);
        if (err == KD_OK)
            s->m = naked.m;
        return err;
    case DIME_MAGIC_BOUNCE:
        s->is_bounce = true;
        err = dime_bounce_parse(&source, DIME_MESSAGE_MAX, &s->bounce, flaw);
        if (err == KD_OK)
            s->m = s->bounce.outer;
        return err;
    default:
        return dime_message_parse(&source, DIME_MESSAGE_MAX, &s->m, flaw);
    }
}

/* --- JSON ------------------------------------------------------------------------- */

static json_t *
slots_to_json(const struct dime_chunk_def *def)
{
    json_t *j = json_array();

    for (int a = 0; a < DIME_ACTOR_COUNT; a++)
        if (dime_chunk_slot(def, (enum dime_actor)a) >= 0)
            j = json_list_add(j, json_string(dime_actor_name((enum dime_actor)a)));
    return j;
}

static json_t *
chunk_to_json(const struct dime_message *m, const struct dime_chunk *c, size_t number)
{
    json_t *j = json_object();

    if (json_put(j, "number", json_integer((json_int_t)number)) &&
        json_put(j, "type", json_integer(c->def->type)) &&
        json_put(j, "label", json_string(c->def->label)) &&
        json_put(j, "at", json_integer((json_int_t)(c->at - m->begin))) &&
        json_put(j, "size", json_integer(c->size)) &&
        json_put(j, "slots", slots_to_json(c->def)))
        return j;
    json_decref(j);
    return NULL;
}

json_t *
chunks_to_json(const struct dime_message *m)
{
    json_t *j = json_array();
    uint64_t at = m->begin;
    struct dime_chunk c;
    kd_err err = KD_OK;

    for (size_t i = 0; i < LISTED_MAX && dime_message_next(m, &at, m->end, &c, &err);
         i++)
        j = json_list_add(j, chunk_to_json(m, &c, i));
    return j;
}

static json_t *
shown_to_json(const struct shown *s)
{
    json_t *j = json_object();
    bool good = json_put(j, "type", json_string(message_kind(s->octets))) &&
                json_put(j, "valid", json_true()) &&
                json_put(j, "size", json_integer((json_int_t)s->octets.n)) &&
                json_put(j, "tracing", json_integer((json_int_t)s->m.traced)) &&
                json_put(j, "n_chunks", json_integer(s->m.n_chunks)) &&
                json_put(j, "chunks", chunks_to_json(&s->m));

    if (s->is_bounce)
        good = good &&
               json_put(j, "returns", json_string(dime_return_name(s->bounce.part))) &&
               json_put(j, "returned", chunks_to_json(&s->bounce.returned));
    else
        good = good &&
               json_put(j, "ephemeral",
                        json_base64(kd_slice(s->m.ephemeral, sizeof s->m.ephemeral)));
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

/* --- Text ------------------------------------------------------------------------- */

void
chunks_print(const struct dime_message *m)
{
    uint64_t at = m->begin;
    struct dime_chunk c;
    kd_err err = KD_OK;

    while (dime_message_next(m, &at, m->end, &c, &err)) {
        emit(stdout, "%3u %-40s %8u octets", (unsigned)c.def->type, c.def->label,
             (unsigned)c.size);
        for (int a = 0, n = 0; a < DIME_ACTOR_COUNT; a++)
            if (dime_chunk_slot(c.def, (enum dime_actor)a) >= 0)
                emit(stdout, "%s%s", n++ == 0 ? "  for " : ", ",
                     dime_actor_name((enum dime_actor)a));
        emit(stdout, "\n");
    }
}

static void
shown_print(const struct shown *s)
{
    emit(stdout, "%s, %zu octets, %u chunks\n", message_kind(s->octets), s->octets.n,
         (unsigned)s->m.n_chunks);
    if (s->m.traced > 0)
        emit(stdout, "tracing data of %llu octets in front, ignored\n",
             (unsigned long long)s->m.traced);
    if (!s->is_bounce) {
        emit(stdout, "ephemeral key ");
        print_base64(stdout, kd_slice(s->m.ephemeral, sizeof s->m.ephemeral));
        emit(stdout, "\n");
    }
    chunks_print(&s->m);
    if (s->is_bounce) {
        emit(stdout, "returned: %s\n", dime_return_name(s->bounce.part));
        chunks_print(&s->bounce.returned);
    }
}

/* --- Verbs ------------------------------------------------------------------------ */

static int
tell_flaw(const struct options *o, struct kd_slice octets, enum dime_flaw flaw)
{
    json_t *j = NULL;

    if (o->json) {
        j = json_object();
        if (!json_put(j, "type", json_string(message_kind(octets))) ||
            !json_put(j, "flaw", json_string(dime_flaw_name(flaw)))) {
            json_decref(j);
            return json_finish(NULL, TROUBLE);
        }
    }
    return tell_failure(o, j, "unknown", dime_flaw_text(flaw));
}

int
verb_message_show(const struct options *o)
{
    struct shown s = {.is_bounce = false};
    enum dime_flaw flaw = DIME_FLAW_NONE;
    const char *why = NULL;
    struct loaded in;
    int status = message_load(&in, o->file, &why);

    if (status == FAILS) {
        status = tell_failure(o, NULL, "unknown", why);
    } else if (status == HOLDS) {
        s.octets = in.octets;
        if (parse(&s, &flaw) != KD_OK)
            status = tell_flaw(o, in.octets, flaw);
        else if (o->json)
            status = json_finish(shown_to_json(&s), HOLDS);
        else
            shown_print(&s);
    }
    loaded_free(&in);
    return status;
}

static int
rewrite(const struct options *o, const char *verb, bool armoured)
{
    struct shown s = {.is_bounce = false};
    enum dime_flaw flaw = DIME_FLAW_NONE;
    const char *why = NULL;
    struct loaded in;

    if (need_out(o, verb) != HOLDS)
        return TROUBLE;
    int status = message_load(&in, o->file, &why);
    if (status == HOLDS) {
        s.octets = in.octets;
        if (parse(&s, &flaw) != KD_OK) {
            why = dime_flaw_text(flaw);
            status = FAILS;
        }
    }
    if (status == HOLDS)
        status = object_write(o->out, in.octets, armoured);
    else if (status == FAILS)
        status = tell_failure(o, NULL, "unknown", why);
    loaded_free(&in);
    return status;
}

int
verb_message_armor(const struct options *o)
{
    return rewrite(o, "message armor", true);
}

int
verb_message_dearmor(const struct options *o)
{
    return rewrite(o, "message dearmor", false);
}
