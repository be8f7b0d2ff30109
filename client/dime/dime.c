/* dime: looks at DIME objects, makes a user's keys, signing requests and messages, and
 * resolves names. Needs no daemon; but for the last it talks to nobody. */
#include "dime_tool.h"

#include <dime/base64.h>
#include <getopt.h>
#include <keyd/base/secret.h>
#include <stdlib.h>

const char tool_name[] = "dime";

enum { SECRET_MEMORY = 65536 };

static const struct verb {
    const char *noun;
    const char *name;
    int (*run)(const struct options *o);
    unsigned options;
    bool wants_file;
    bool needs_keys;
    const char *synopsis;
} verbs[] = {
#define DIME_VERB(noun, verb, function, takes, wants_file, needs_keys, synopsis)       \
    {noun, verb, function, takes, wants_file, needs_keys, synopsis},
#include "dime_verbs.def"
#undef DIME_VERB
};
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"org", required_argument, NULL, OPT_ORG},
    {"prev", required_argument, NULL, OPT_PREV},
    {"pok", required_argument, NULL, OPT_POK},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"as", required_argument, NULL, OPT_AS},
    {"author", required_argument, NULL, OPT_AUTHOR},
    {"origin", required_argument, NULL, OPT_ORIGIN},
    {"destination", required_argument, NULL, OPT_DESTINATION},
    {"recipient", required_argument, NULL, OPT_RECIPIENT},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"armor", no_argument, NULL, OPT_ARMOR},
    {"binary", no_argument, NULL, OPT_BINARY},
    {"display-bounce", no_argument, NULL, OPT_DISPLAY_BOUNCE},
    {"no-gzip", no_argument, NULL, OPT_NO_GZIP},
    {"state", required_argument, NULL, 'S'},
    {"anchor", required_argument, NULL, 'A'},
    {"forwarder", required_argument, NULL, 'F'},
    {"hints", required_argument, NULL, 'H'},
    {"ca", required_argument, NULL, 'C'},
    {"timeout", required_argument, NULL, 'T'},
    {"fresh", no_argument, NULL, OPT_FRESH},
    {"offline", no_argument, NULL, OPT_OFFLINE},
    {"witness", no_argument, NULL, OPT_WITNESS},
    {"libdime", no_argument, NULL, OPT_LIBDIME},
    {"accept", required_argument, NULL, OPT_ACCEPT},
    {"policy", required_argument, NULL, OPT_POLICY},
    {"core", no_argument, NULL, 'c'},
    {"full", no_argument, NULL, 'f'},
    {"id", no_argument, NULL, 'i'},
    {"ssr", no_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

static int
usage(FILE *f, int status)
{
    for (size_t i = 0; i < N_VERBS; i++)
        emit(f, "%s dime %s%s%s %s\n", i == 0 ? "usage:" : "      ", verbs[i].noun,
             verbs[i].name[0] == '\0' ? "" : " ", verbs[i].name, verbs[i].synopsis);
    return status;
}

static int
verb_usage(const struct verb *v)
{
    emit(stderr, "usage: dime %s%s%s %s\n", v->noun, v->name[0] == '\0' ? "" : " ",
         v->name, v->synopsis);
    return TROUBLE;
}

/* A primary key as management records have it: 43 characters; padding is forgiven. In
 * front of it may stand the domain whose key it is. */
static bool
add_pok(struct options *o, const char *text)
{
    struct kd_slice s = kd_slice_str(text);
    size_t chars = dime_base64_chars(DIME_ED25519_KEY_SIZE);
    const char *equals = strchr(text, '=');

    if (equals != NULL && s.n > chars + 1) {
        size_t n = (size_t)(equals - text);
        if (o->n_poks < POKS_MAX)
            o->pok_domains[o->n_poks] = kd_slice(s.p, n);
        s = kd_slice(s.p + n + 1, s.n - n - 1);
    }
    if (s.n == chars + 1 && s.p[chars] == '=')
        s.n = chars;
    if (o->n_poks == POKS_MAX ||
        dime_base64_read(s, o->poks[o->n_poks], DIME_ED25519_KEY_SIZE) != KD_OK)
        return false;
    o->n_poks++;
    return true;
}

static bool
set_part(struct options *o, enum dime_part part)
{
    if (o->has_part)
        return false;
    o->has_part = true;
    o->part = part;
    return true;
}

static bool
set_actor(struct options *o, const char *text)
{
    if (o->has_actor)
        return false;
    o->has_actor = true;
    for (o->actor = 0; o->actor < DIME_ACTOR_COUNT; o->actor++)
        if (strcmp(text, dime_actor_name(o->actor)) == 0)
            return true;
    return false;
}

/* Where an option that has a text goes. */
static const char **
text_place(struct options *o, int option)
{
    switch (option) {
    case OPT_OUT:
        return &o->out;
    case OPT_ORG:
        return &o->org;
    case OPT_PREV:
        return &o->prev;
    case OPT_KEYS:
        return &o->keys;
    case OPT_AUTHOR:
        return &o->author;
    case OPT_ORIGIN:
        return &o->origin;
    case OPT_DESTINATION:
        return &o->destination;
    case OPT_RECIPIENT:
        return &o->recipient;
    case OPT_FROM:
        return &o->from;
    case OPT_TO:
        return &o->to;
    case 'S':
        return &o->state;
    case 'A':
        return &o->anchor;
    case 'F':
        return &o->forwarder;
    case 'H':
        return &o->hints;
    case 'C':
        return &o->ca;
    case 'T':
        return &o->timeout;
    case OPT_ACCEPT:
        return &o->accept;
    case OPT_POLICY:
        return &o->policy;
    default:
        return NULL;
    }
}

/* What is said once is not said again. */
static bool
take_option(struct options *o, int option, const char *text)
{
    const char **place = text_place(o, option);

    switch (option) {
    case OPT_AS:
        return set_actor(o, text);
    case OPT_POK:
        return add_pok(o, text);
    case OPT_JSON:
        o->json = true;
        return true;
    case OPT_ARMOR:
    case OPT_BINARY:
    case OPT_DISPLAY_BOUNCE:
    case OPT_NO_GZIP:
    case OPT_FRESH:
    case OPT_OFFLINE:
    case OPT_WITNESS:
    case OPT_LIBDIME:
        o->flags |= (unsigned)option;
        return true;
    case 'c':
        return set_part(o, DIME_PART_CORE);
    case 'f':
        return set_part(o, DIME_PART_FULL);
    case 'i':
        return set_part(o, DIME_PART_IDENTIFIED);
    case 's':
        return set_part(o, DIME_PART_REQUEST);
    default:
        if (place == NULL || *place != NULL)
            return false;
        *place = text;
        return true;
    }
}

static unsigned
option_bit(int option)
{
    switch (option) {
    case 'c':
    case 'f':
    case 'i':
    case 's':
        return OPT_PART;
    case 'S':
    case 'A':
    case 'F':
    case 'H':
    case 'C':
    case 'T':
        return OPT_RESOLVER;
    default:
        return (unsigned)option;
    }
}

/* argv[0] is the verb. */
static bool
read_options(const struct verb *v, int argc, char **argv, struct options *o)
{
    int c;

    while ((c = getopt_long(argc, argv, "o:", long_options, NULL)) != -1) {
        int option = c == 'o' ? OPT_OUT : c;
        if (c == '?' || (v->options & option_bit(option)) == 0 ||
            !take_option(o, option, optarg))
            return false;
    }
    if (argc - optind != (v->wants_file ? 1 : 0))
        return false;
    o->file = v->wants_file ? argv[optind] : NULL;
    return true;
}

static int
run(const struct verb *v, int argc, char **argv)
{
    static struct options o; /* zero; a page of keys is no thing for the stack */

    if (!read_options(v, argc, argv, &o)) {
        complain(v->noun, "an option or a word is wrong, missing or one too many");
        return verb_usage(v);
    }
    if (v->needs_keys &&
        (kd_process_undumpable() != KD_OK || kd_secret_setup(SECRET_MEMORY) != KD_OK)) {
        complain("secret memory", "cannot be had");
        return TROUBLE;
    }
    int status = v->run(&o);
    /* What did not reach standard output must not pass for done. */
    if (ferror(stdout) || fflush(stdout) != 0) {
        complain("standard output", "cannot be written");
        return TROUBLE;
    }
    return status;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0))
        return usage(stdout, HOLDS);
    for (size_t i = 0; i < N_VERBS && argc > 1; i++) {
        bool is_alone = verbs[i].name[0] == '\0';
        if (strcmp(argv[1], verbs[i].noun) == 0 &&
            (is_alone || (argc > 2 && strcmp(argv[2], verbs[i].name) == 0)))
            return run(&verbs[i], argc - (is_alone ? 1 : 2), argv + (is_alone ? 1 : 2));
    }
    return usage(stderr, TROUBLE);
}
