/* Objects as text and as JSON. */
#include "tool.h"

#include <dime/base64.h>
#include <dime/display.h>
#include <dime/fingerprint.h>
#include <dime/utf8.h>
#include <stdlib.h>

static const struct {
    const char *name;
    enum dime_part part;
} fingerprints[] = {{"core", DIME_PART_CORE},
                    {"full", DIME_PART_FULL},
                    {"id", DIME_PART_IDENTIFIED},
                    {"ssr", DIME_PART_REQUEST}};
enum { N_FINGERPRINTS = sizeof fingerprints / sizeof fingerprints[0] };

static const struct {
    uint8_t bit;
    const char *name;
} permissions[] = {{DIME_PERM_USERS, "user-signets"},
                   {DIME_PERM_MESSAGES, "messages"},
                   {DIME_PERM_TLS, "tls-certificates"},
                   {DIME_PERM_SOFTWARE, "software"},
                   {16, "reserved-16"},
                   {32, "reserved-32"},
                   {64, "reserved-64"},
                   {128, "reserved-128"}};
enum { N_PERMISSIONS = sizeof permissions / sizeof permissions[0] };

const char *
kind_name(enum dime_kind kind)
{
    switch (kind) {
    case DIME_ORG:
        return "org-signet";
    case DIME_USER:
        return "user-signet";
    case DIME_SSR:
        break;
    }
    return "ssr";
}

/* --- One field, with what the signet as a whole knows about it ------------------ */

struct entry {
    struct dime_field field;
    struct dime_shown shown;
};

struct entries {
    const struct dime_signet *signet;
    struct dime_walk walk;
    size_t n_soks;
};

static void
entries_init(struct entries *e, const struct dime_signet *s)
{
    *e = (struct entries){.signet = s};
    dime_walk_signet(&e->walk, s);
}

static bool
entries_next(struct entries *e, struct entry *out)
{
    if (!dime_walk_next(&e->walk, &out->field))
        return false;
    dime_show(&out->field, &out->shown);
    if (e->signet->kind == DIME_ORG && out->field.type == DIME_ORG_SOK) {
        const struct dime_sok *sok = &e->signet->soks[e->n_soks++];
        if (!sok->authorised && out->shown.why == NULL)
            out->shown.why = "not a valid key, or one that is there already";
    }
    return true;
}

/* --- JSON ------------------------------------------------------------------------ */

bool
json_put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

json_t *
json_list_add(json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *
json_base64(struct kd_slice octets)
{
    char *text = malloc(dime_base64_chars(octets.n) + 1);

    if (text == NULL)
        return NULL;
    dime_base64_write(octets, text);
    json_t *j = json_string_nocheck(text);
    free(text);
    return j;
}

static json_t *
json_text(struct kd_slice s)
{
    return json_stringn(s.n == 0 ? "" : (const char *)s.p, s.n);
}

static json_t *
flags_to_json(uint8_t flags)
{
    json_t *j = json_array();

    for (size_t i = 0; i < N_PERMISSIONS; i++)
        if ((flags & permissions[i].bit) != 0)
            j = json_list_add(j, json_string(permissions[i].name));
    return j;
}

static bool
put_level(json_t *j, struct kd_slice value)
{
    struct dime_alt_key key;
    json_t *programs = json_array();
    bool good = dime_alt_key(value, &key) &&
                json_put(j, "level", json_string(dime_level_text(key.level))) &&
                json_put(j, "scheme", json_integer(key.scheme));

    for (unsigned bit = 32; good && bit <= 128; bit <<= 1) {
        if ((key.programs & bit) != 0)
            good = json_array_append_new(
                       programs, json_string(dime_program_text((uint8_t)bit))) == 0;
    }
    return json_put(j, "programs", programs) && good;
}

static json_t *
entry_to_json(const struct entry *e)
{
    const struct dime_shown *s = &e->shown;
    enum dime_rule rule = e->field.def != NULL ? e->field.def->rule : DIME_RULE_UTF8;
    json_t *j = json_object();
    bool good = json_put(j, "type", json_integer(e->field.type)) &&
                json_put(j, "label", json_text(s->label)) &&
                json_put(j, "value",
                         s->is_text ? json_text(s->value) : json_base64(s->value)) &&
                json_put(j, "encoding", json_string(s->is_text ? "utf-8" : "base64")) &&
                json_put(j, "usable", json_boolean(s->why == NULL));

    if (s->why != NULL)
        good = good && json_put(j, "reason", json_string(s->why));
    if (rule == DIME_RULE_SOK)
        good = good && json_put(j, "permissions", flags_to_json(e->field.flags));
    if (rule == DIME_RULE_ALTERNATE_KEY && s->why == NULL)
        good = good && put_level(j, e->field.value);
    if (rule == DIME_RULE_ENDORSEMENT)
        good = good && json_put(j, "verified", json_false()); /* D-065 */
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
fields_to_json(const struct dime_signet *s)
{
    json_t *j = json_array();
    struct entries all;
    struct entry e;

    entries_init(&all, s);
    while (entries_next(&all, &e))
        j = json_list_add(j, entry_to_json(&e));
    return j;
}

static json_t *
fingerprints_to_json(const struct dime_signet *s)
{
    json_t *j = json_object();
    uint8_t fp[DIME_FINGERPRINT_SIZE];

    for (size_t i = 0; i < N_FINGERPRINTS; i++) {
        if (dime_fingerprint(s, fingerprints[i].part, fp) == KD_OK &&
            !json_put(j, fingerprints[i].name, json_base64(kd_slice(fp, sizeof fp)))) {
            json_decref(j);
            return NULL;
        }
    }
    return j;
}

json_t *
signet_to_json(const struct dime_signet *s)
{
    json_t *j = json_object();
    bool good = json_put(j, "type", json_string(kind_name(s->kind))) &&
                json_put(j, "valid", json_true()) &&
                json_put(j, "layout", json_string(dime_layout_name(s->layout)));

    if (s->kind != DIME_SSR) {
        good = good && json_put(j, "split", json_string(dime_part_name(s->part))) &&
               json_put(j, "identifier",
                        s->identifier.n == 0 ? json_null() : json_text(s->identifier));
    }
    good = good && json_put(j, "fingerprints", fingerprints_to_json(s)) &&
           json_put(j, "fields", fields_to_json(s));
    if (good)
        return j;
    json_decref(j);
    return NULL;
}

/* In ASCII: a terminal may be what reads it, and obeys U+009B. */
int
json_finish(json_t *j, int status)
{
    if (j == NULL) {
        complain("JSON", kd_err_text(KD_NOMEM));
        return TROUBLE;
    }
    if (json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) != 0 ||
        fputc('\n', stdout) == EOF) {
        complain("standard output", "cannot be written");
        status = TROUBLE;
    }
    json_decref(j);
    return status;
}

/* --- Text ------------------------------------------------------------------------- */

void
print_base64(FILE *f, struct kd_slice octets)
{
    enum { OCTETS = 48 };
    char text[OCTETS / 3 * 4 + 1];

    for (size_t done = 0; done < octets.n;) {
        size_t left = octets.n - done, n = left < OCTETS ? left : OCTETS;
        dime_base64_write(kd_slice(octets.p + done, n), text);
        emit(f, "%s", text);
        done += n;
    }
}

void
print_text(FILE *f, struct kd_slice s)
{
    uint32_t cp;
    struct kd_slice rest = s;

    while (dime_utf8_next(&rest, &cp)) {
        size_t n = (size_t)(rest.p - s.p);
        if (cp == '\\')
            emit(f, "\\\\");
        else if (dime_utf8_is_control(cp))
            emit(f, "\\u{%x}", (unsigned)cp);
        else
            emit(f, "%.*s", (int)n, (const char *)s.p);
        s = rest;
    }
}

static void
print_details(FILE *f, const struct entry *e)
{
    enum dime_rule rule = e->field.def != NULL ? e->field.def->rule : DIME_RULE_UTF8;
    struct dime_png png;
    struct dime_alt_key key;

    if (rule == DIME_RULE_SOK) {
        emit(f, " [");
        for (size_t i = 0, n = 0; i < N_PERMISSIONS; i++) {
            if ((e->field.flags & permissions[i].bit) != 0)
                emit(f, "%s%s", n++ == 0 ? "" : " ", permissions[i].name);
        }
        emit(f, "]");
    }
    if (rule == DIME_RULE_IMAGE && dime_png(e->field.value, &png))
        emit(f, " [PNG, %u x %u]", (unsigned)png.width, (unsigned)png.height);
    if (rule == DIME_RULE_ALTERNATE_KEY && dime_alt_key(e->field.value, &key))
        emit(f, " [claims %s]", dime_level_text(key.level));
    if (rule == DIME_RULE_ENDORSEMENT)
        emit(f, " [not verified]");
    if (e->shown.why != NULL)
        emit(f, " [ignored: %s]", e->shown.why);
}

static void
print_entry(FILE *f, const struct entry *e)
{
    enum { LONG = 1024 };
    const struct dime_shown *s = &e->shown;

    emit(f, "%3u ", (unsigned)e->field.type);
    print_text(f, s->label);
    print_details(f, e);
    emit(f, ": ");
    if (s->is_text)
        print_text(f, s->value);
    else if (s->value.n > LONG)
        emit(f, "(%zu octets)", s->value.n);
    else
        print_base64(f, s->value);
    emit(f, "\n");
}

void
signet_print(FILE *f, const struct dime_signet *s)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    struct entries all;
    struct entry e;

    emit(f, "%s, layout %s", kind_name(s->kind), dime_layout_name(s->layout));
    if (s->kind != DIME_SSR)
        emit(f, ", %s", dime_part_name(s->part));
    emit(f, "\n");
    for (size_t i = 0; i < N_FINGERPRINTS; i++) {
        char text[DIME_FINGERPRINT_CHARS + 1];
        if (dime_fingerprint(s, fingerprints[i].part, fp) != KD_OK)
            continue;
        dime_fingerprint_text(fp, text);
        emit(f, "fingerprint %-4s %s\n", fingerprints[i].name, text);
    }
    entries_init(&all, s);
    while (entries_next(&all, &e))
        print_entry(f, &e);
}
