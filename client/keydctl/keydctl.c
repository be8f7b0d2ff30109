/* keydctl: the operators' tool.
 *
 * Talks to keyd on its sockets, with the rights of the user that runs it and no others.
 * Holds passphrases, credentials and key files on their way, in secret memory only. */
#include "keydctl.h"

#include <getopt.h>
#include <keyd/base/secret.h>
#include <stdlib.h>

const char tool_name[] = "keydctl";

enum {
    SECRET_MEMORY = 65536,
    TIMEOUT_MS = 30000,
    TIMEOUT_MAX_S = 600,
    FIRST_LONG = 256, /* what getopt_long returns for the first option of the table */
};

enum socket { NO_SOCKET, ADMIN_SOCKET, SUBMISSION_SOCKET, MTA_SOCKET };

static const char *const sockets[] = {
    [ADMIN_SOCKET] = "/run/dime-keyd/admin/admin.sock",
    [SUBMISSION_SOCKET] = "/run/dime-keyd/submission.sock",
    [MTA_SOCKET] = "/run/dime-keyd/mta.sock",
};

enum flags { TAKES_SECRET = 1, JUDGES = 2, LAST_MAY_LACK = 4 };

/* --- tables -------------------------------------------------------------------------
 */

enum option_number {
#define KEYDCTL_TEXT(id, member, name, letter) NUMBER_##id,
#define KEYDCTL_FLAG KEYDCTL_TEXT
#define KEYDCTL_LIST KEYDCTL_TEXT
#include "keydctl_options.def"
#undef KEYDCTL_TEXT
#undef KEYDCTL_FLAG
#undef KEYDCTL_LIST
    N_OPTIONS
};

enum kind { TEXT, FLAG, LIST };

static const struct option_line {
    const char *name;
    char letter;
    enum kind kind;
    size_t offset; /* of its member */
} option_lines[] = {
#define KEYDCTL_TEXT(id, member, name, letter)                                         \
    {name, letter, TEXT, offsetof(struct options, member)},
#define KEYDCTL_FLAG(id, member, name, letter)                                         \
    {name, letter, FLAG, offsetof(struct options, member)},
#define KEYDCTL_LIST(id, member, name, letter)                                         \
    {name, letter, LIST, offsetof(struct options, member)},
#include "keydctl_options.def"
#undef KEYDCTL_TEXT
#undef KEYDCTL_FLAG
#undef KEYDCTL_LIST
};

static const struct verb {
    const char *noun;
    const char *name;
    int (*run)(const struct options *o);
    enum socket socket;
    unsigned flags;
    int n_args;
    bool takes[N_OPTIONS];
    const char *synopsis;
} verbs[] = {
#define KEYDCTL_VERB(noun, verb, function, socket, flags, args, takes, synopsis)       \
    {noun, verb, function, socket, flags, args, {takes}, synopsis},
#define TAKE(id) [NUMBER_##id] = true,
#include "keydctl_verbs.def"
#undef TAKE
#undef KEYDCTL_VERB
};
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static bool
takes_option(const struct verb *v, size_t option)
{
    bool is_common = option == NUMBER_JSON ||
                     (v->socket != NO_SOCKET &&
                      (option == NUMBER_SOCKET || option == NUMBER_TIMEOUT));

    return is_common || v->takes[option];
}

/* --- usage --------------------------------------------------------------------------
 */

static void
print_synopsis(FILE *f, const char *before, const struct verb *v)
{
    emit(f, "%s keydctl %s%s%s%s%s\n", before, v->noun, *v->name != '\0' ? " " : "",
         v->name, *v->synopsis != '\0' ? " " : "", v->synopsis);
}

static int
usage(FILE *f, int status)
{
    for (size_t i = 0; i < N_VERBS; i++)
        print_synopsis(f, i == 0 ? "usage:" : "      ", &verbs[i]);
    emit(f,
         "Every verb takes --json; those that speak to keyd take --socket PATH and\n"
         "--timeout SECONDS, those that change something --idempotency-key HEX; "
         "status,\n"
         "health and look-ups --endpoint ADDRESS and --tls DIRECTORY in its place.\n");
    return status;
}

static int
verb_usage(const struct verb *v)
{
    print_synopsis(stderr, "usage:", v);
    return (v->flags & JUDGES) != 0 ? EX_UNREADABLE : EX_USAGE;
}

/* --- options ------------------------------------------------------------------------
 */

static bool
take_option(struct options *o, const struct option_line *line, const char *text)
{
    void *member = (char *)o + line->offset;

    switch (line->kind) {
    case TEXT:
        if (*(const char **)member != NULL)
            return false;
        *(const char **)member = text;
        return true;
    case FLAG:
        *(bool *)member = true;
        return true;
    case LIST:
        break;
    }
    struct text_list *list = member;
    if (list->n == LIST_MAX)
        return false;
    list->items[list->n++] = text;
    return true;
}

/* The index of what getopt_long returned, or N_OPTIONS. */
static size_t
option_index(int c)
{
    if (c >= FIRST_LONG)
        return (size_t)(c - FIRST_LONG);
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (option_lines[i].letter != 0 && option_lines[i].letter == c)
            return i;
    return N_OPTIONS;
}

/* argv[0] is the last word of noun and verb, and becomes what getopt calls us. */
static bool
read_options(const struct verb *v, int argc, char **argv, struct options *o)
{
    struct option longs[N_OPTIONS + 1] = {0};
    char shorts[2 * N_OPTIONS + 1];
    static char self[] = "keydctl";
    size_t n = 0;
    int c;

    argv[0] = self;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option_line *line = &option_lines[i];
        int has_value = line->kind == FLAG ? no_argument : required_argument;
        longs[i] = (struct option){line->name, has_value, NULL, FIRST_LONG + (int)i};
        if (line->letter == 0)
            continue;
        shorts[n++] = line->letter;
        if (line->kind != FLAG)
            shorts[n++] = ':';
    }
    shorts[n] = '\0';
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        size_t i = option_index(c);
        if (i == N_OPTIONS || !takes_option(v, i) ||
            !take_option(o, &option_lines[i], optarg))
            return false;
    }
    int n_words = argc - optind;
    bool lacks_last = (v->flags & LAST_MAY_LACK) != 0 && n_words == v->n_args - 1;
    if (n_words != v->n_args && !lacks_last)
        return false;
    for (int i = 0; i < n_words; i++)
        o->args[i] = argv[optind + i];
    return true;
}

/* Values that mean the same for every verb. */
static bool
read_common(const struct verb *v, struct options *o)
{
    uint64_t seconds = 0;

    o->timeout_ms = TIMEOUT_MS;
    if (o->timeout != NULL) {
        if (!number_read(o->timeout, 1, TIMEOUT_MAX_S, &seconds)) {
            kd_ignore(usage_error("--timeout", "a number of seconds from 1 to 600"));
            return false;
        }
        o->timeout_ms = (uint32_t)seconds * 1000;
    }
    if (o->idempotency_key != NULL &&
        !hex_read(o->idempotency_key, o->key, sizeof o->key)) {
        kd_ignore(usage_error("--idempotency-key", "32 hexadecimal digits"));
        return false;
    }
    o->has_key = o->idempotency_key != NULL;
    if (o->socket != NULL && o->endpoint.n != 0) {
        kd_ignore(usage_error("--endpoint", "not together with --socket"));
        return false;
    }
    if (takes_option(v, NUMBER_ENDPOINT) && o->socket == NULL) {
        o->endpoints = o->endpoint.n == 0 ? getenv("KEYD_ENDPOINTS") : NULL;
        o->is_many =
            o->endpoint.n != 0 || (o->endpoints != NULL && *o->endpoints != '\0');
        if (o->tls == NULL)
            o->tls = getenv("KEYD_TLS");
    }
    if (v->socket != NO_SOCKET && o->socket == NULL)
        o->socket = sockets[v->socket];
    return true;
}

/* --- main ---------------------------------------------------------------------------
 */

static int
run(const struct verb *v, int argc, char **argv)
{
    static struct options o; /* zero; its lists are no thing for the stack */

    if (!read_options(v, argc, argv, &o) || !read_common(v, &o))
        return verb_usage(v);
    if (kd_process_undumpable() != KD_OK ||
        ((v->flags & TAKES_SECRET) != 0 && kd_secret_setup(SECRET_MEMORY) != KD_OK)) {
        complain("secret memory", "cannot be had");
        return EX_OSERR;
    }
    int status = v->run(&o);
    /* What did not reach standard output must not pass for done. */
    if (ferror(stdout) || fflush(stdout) != 0) {
        complain("standard output", "cannot be written");
        return EX_IOERR;
    }
    return status;
}

/* A noun that there is, with another verb: the verbs that it has; else all of them. */
static int
unknown_verb(int argc, char **argv)
{
    bool is_noun = false;

    if (argc < 2)
        return usage(stderr, EX_USAGE);
    for (size_t i = 0; i < N_VERBS; i++) {
        if (strcmp(argv[1], verbs[i].noun) != 0)
            continue;
        if (!is_noun)
            complain(argc > 2 ? argv[2] : argv[1],
                     argc > 2 ? "no such verb" : "a verb is needed");
        print_synopsis(stderr, is_noun ? "      " : "usage:", &verbs[i]);
        is_noun = true;
    }
    if (!is_noun)
        complain(argv[1], "no such verb; keydctl --help shows all");
    return EX_USAGE;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0))
        return usage(stdout, EX_OK);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        emit(stdout, "%s\n", "keydctl " KEYD_VERSION);
        return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    }
    for (size_t i = 0; argc >= 2 && i < N_VERBS; i++) {
        const struct verb *v = &verbs[i];
        int words = *v->name == '\0' ? 1 : 2;
        if (argc > words && strcmp(argv[1], v->noun) == 0 &&
            (words == 1 || strcmp(argv[2], v->name) == 0))
            return run(v, argc - words, argv + words);
    }
    return unknown_verb(argc, argv);
}
