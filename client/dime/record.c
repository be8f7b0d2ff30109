/* dime record: the text of a management record, read and judged. */
#include "dime_tool.h"

#include <dime/base64.h>
#include <dime/mrec.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_LARGEST = 1 << 18, NOTES_MAX = 256 };

struct record {
    struct kd_buf file, octets;
    size_t n;
    struct kd_slice strings[DIME_MREC_PARTS_MAX];
    struct kd_slice text; /* the strings joined: they lie one behind another */
    struct dime_mrec m;
};

/* What is named may be a file or the text itself; a text has an equals sign and is no
 * file's name. */
static bool
is_text(const char *file)
{
    return file != NULL && strcmp(file, "-") != 0 && strchr(file, '=') != NULL &&
           access(file, F_OK) != 0;
}

/* A text from anywhere is not repeated in a complaint. */
static int
record_fails(const struct options *o, const char *why)
{
    struct options told = *o;

    if (is_text(o->file))
        told.file = "record";
    return tell_failure(&told, NULL, "record", why);
}

static const char *
why_unread(kd_err err)
{
    switch ((int)err) {
    case KD_CONFLICT:
        return "there are several records, and they differ";
    case KD_NOT_FOUND:
        return "there is no record";
    case KD_TOO_LARGE:
        return "more than TXT data can be";
    case KD_MALFORMED:
        return "a quote, escape or parenthesis that is not closed";
    default:
        return kd_err_text(err);
    }
}

/* HOLDS with the strings there; FAILS with *why; TROUBLE, complained of. */
static int
record_load(struct record *r, const char *file, const char **why)
{
    struct kd_slice text;
    int status = HOLDS;

    kd_buf_init(&r->file, FILE_LARGEST);
    kd_buf_init(&r->octets, DIME_MREC_TEXT_MAX);
    if (is_text(file)) {
        text = kd_slice_str(file);
    } else {
        int fd = open_read(file);
        if (fd < 0)
            return trouble(file);
        status = file_read(fd, file, &r->file, why);
        close_read(fd);
        text = kd_buf_slice(&r->file);
    }
    if (status != HOLDS)
        return status;
    kd_err err = dime_mrec_read_strings(text, &r->octets, r->strings,
                                        DIME_MREC_PARTS_MAX, &r->n);
    r->text = kd_buf_slice(&r->octets);
    *why = why_unread(err);
    return err == KD_OK ? HOLDS : FAILS;
}

static void
record_free(struct record *r)
{
    if (r == NULL)
        return;
    kd_buf_free(&r->file);
    kd_buf_free(&r->octets);
    free(r);
}

static struct record *
record_new(void)
{
    struct record *r = calloc(1, sizeof *r);

    if (r == NULL)
        complain("record", kd_err_text(KD_NOMEM));
    return r;
}

/* --- parse --- */

static json_t *
keys_to_json(const uint8_t *octets, size_t n, size_t size)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        list = json_list_add(list, json_base64(kd_slice(octets + i * size, size)));
    return list;
}

static json_t *
hosts_to_json(const char list[][DIME_MREC_HOST_MAX + 1], size_t n)
{
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++)
        out = json_list_add(out, json_string(list[i]));
    return out;
}

static json_t *
record_to_json(const struct dime_mrec *m)
{
    json_t *j =
        json_pack("{s:s, s:b, s:i, s:s, s:s, s:i}", "type", "record", "valid", 1,
                  "version", 1, "policy", dime_mrec_policy_name(m->policy), "subdomain",
                  dime_mrec_sub_name(m->sub), "expiry", (int)m->expiry_days);

    if (j == NULL)
        return NULL;
    if (json_put(j, "pok", keys_to_json(m->poks[0], m->n_poks, sizeof m->poks[0])) &&
        json_put(j, "tls", keys_to_json(m->tls[0], m->n_tls, sizeof m->tls[0])) &&
        json_put(j, "dx", hosts_to_json(m->dx, m->n_dx)) &&
        json_put(j, "syn", hosts_to_json(m->syn, m->n_syn)))
        return j;
    json_decref(j);
    return NULL;
}

static void
record_print(const struct dime_mrec *m)
{
    emit(stdout, "version       1\n");
    for (size_t i = 0; i < m->n_poks; i++) {
        emit(stdout, "primary key   ");
        print_base64(stdout, kd_slice(m->poks[i], sizeof m->poks[i]));
        emit(stdout, "\n");
    }
    for (size_t i = 0; i < m->n_tls; i++) {
        emit(stdout, "certificate   ");
        print_base64(stdout, kd_slice(m->tls[i], sizeof m->tls[i]));
        emit(stdout, "\n");
    }
    emit(stdout, "policy        %s\n", dime_mrec_policy_name(m->policy));
    emit(stdout, "subdomains    %s\n", dime_mrec_sub_name(m->sub));
    emit(stdout, "expiry        %u days\n", m->expiry_days);
    for (size_t i = 0; i < m->n_dx; i++)
        emit(stdout, "host          %s\n", m->dx[i]);
    for (size_t i = 0; i < m->n_syn; i++)
        emit(stdout, "syndicate     %s\n", m->syn[i]);
}

/* The part of the text that a note is about, shown so that it moves no terminal. */
static void
print_part(FILE *f, struct kd_slice part)
{
    enum { SHOWN = 60 };

    for (size_t i = 0; i < part.n && i < SHOWN; i++)
        if (part.p[i] >= 0x20 && part.p[i] <= 0x7e && part.p[i] != '\\')
            emit(f, "%c", part.p[i]);
        else
            emit(f, "\\%03u", part.p[i]);
    if (part.n > SHOWN)
        emit(f, "...");
}

int
verb_record_parse(const struct options *o)
{
    struct record *r = record_new();
    struct dime_mrec_note note;
    const char *why = NULL;

    if (r == NULL)
        return TROUBLE;
    int status = record_load(r, o->file, &why);
    if (status == HOLDS && dime_mrec_parse(r->text, &r->m, &note) != KD_OK) {
        status = FAILS;
        why = dime_mrec_text(note.finding);
    }
    if (status == FAILS)
        status = record_fails(o, why);
    else if (status == HOLDS && o->json)
        status = json_finish(record_to_json(&r->m), HOLDS);
    else if (status == HOLDS)
        record_print(&r->m);
    record_free(r);
    return status;
}

/* --- lint --- */

static const char *
kind_word(enum dime_mrec_kind kind)
{
    static const char *const words[] = {[DIME_MREC_ADVICE] = "advice",
                                        [DIME_MREC_FAULT] = "fault",
                                        [DIME_MREC_BROKEN] = "broken"};

    return words[kind];
}

static struct kd_slice
part_of(const struct record *r, const struct dime_mrec_note *n)
{
    if (n->at > r->text.n || n->n > r->text.n - n->at)
        return kd_slice(NULL, 0);
    return kd_slice(r->text.p + n->at, n->n);
}

static void
note_print(const struct record *r, const struct dime_mrec_note *n)
{
    emit(stdout, "%-7s %s", kind_word(dime_mrec_kind(n->finding)),
         dime_mrec_text(n->finding));
    if (n->n != 0) {
        emit(stdout, " (at %zu: ", n->at);
        print_part(stdout, part_of(r, n));
        emit(stdout, ")");
    }
    emit(stdout, "\n");
}

static json_t *
notes_to_json(const struct dime_mrec_note *notes, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        list = json_list_add(
            list, json_pack("{s:s, s:s, s:s, s:I, s:I}", "code",
                            dime_mrec_name(notes[i].finding), "kind",
                            kind_word(dime_mrec_kind(notes[i].finding)), "text",
                            dime_mrec_text(notes[i].finding), "at",
                            (json_int_t)notes[i].at, "size", (json_int_t)notes[i].n));
    return list;
}

static json_t *
lint_to_json(const struct dime_mrec_note *notes, size_t n, size_t n_all, bool valid)
{
    json_t *j = json_pack("{s:s, s:b, s:I}", "type", "record", "valid", valid, "more",
                          (json_int_t)(n_all - n));

    if (j == NULL || json_put(j, "notes", notes_to_json(notes, n)))
        return j;
    json_decref(j);
    return NULL;
}

/* It holds unless something must be mended; advice is none. */
static int
lint(const struct options *o, const struct record *r)
{
    struct dime_mrec_note notes[NOTES_MAX];
    size_t n_all = dime_mrec_lint(r->strings, r->n, notes, NOTES_MAX);
    size_t n = n_all < NOTES_MAX ? n_all : NOTES_MAX;
    bool valid = n == n_all;

    for (size_t i = 0; i < n; i++)
        valid = valid && dime_mrec_kind(notes[i].finding) == DIME_MREC_ADVICE;
    if (o->json)
        return json_finish(lint_to_json(notes, n, n_all, valid), valid ? HOLDS : FAILS);
    for (size_t i = 0; i < n; i++)
        note_print(r, &notes[i]);
    if (n_all != n)
        emit(stdout, "fault   and %zu more\n", n_all - n);
    return valid ? HOLDS : FAILS;
}

int
verb_record_lint(const struct options *o)
{
    struct record *r = record_new();
    const char *why = NULL;

    if (r == NULL)
        return TROUBLE;
    int status = record_load(r, o->file, &why);
    if (status == FAILS)
        status = record_fails(o, why);
    else if (status == HOLDS)
        status = lint(o, r);
    record_free(r);
    return status;
}
