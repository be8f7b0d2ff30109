/* dime message verify, open: a message as one of its actors reads it. */
#include "bounce.h"
#include "directory.h"
#include "report.h"
#include "signets.h"

#include <stdlib.h>

struct read_job {
    const struct options *o;
    struct loaded in;
    struct signets signets;
    struct dime_dkey *keys;
    struct report report;
    bool is_open;
};

/* The report, made while the message is there; what becomes of the mail comes last,
 * when the message is forgotten: two copies of a large one are one too many. */
static int
tell(struct read_job *j, struct directory *d)
{
    const char *why = j->report.reading.refused;
    const char *kind = message_kind(j->in.octets);
    json_t *json = NULL;
    int status = HOLDS;

    if (j->o->json && (json = report_to_json(&j->report, kind)) == NULL)
        return json_finish(NULL, TROUBLE);
    if (!j->o->json)
        report_print(&j->report, kind);
    loaded_free(&j->in);
    if (d->fd >= 0)
        status = directory_write_mail(d, &j->report);
    if (status != HOLDS) {
        json_decref(json);
        return status;
    }
    if (j->report.has_mail && !j->o->json)
        emit(stdout, "the mail is in mail.eml\n");
    if (why == NULL && !j->o->json) {
        emit(stdout, "%s holds\n", kind);
        return HOLDS;
    }
    if (j->o->json && !json_put(json, "mail", json_boolean(j->report.has_mail))) {
        json_decref(json);
        return json_finish(NULL, TROUBLE);
    }
    return why == NULL ? json_finish(json, HOLDS) : tell_failure(j->o, json, kind, why);
}

/* Everything is loaded. */
static int
read_message(struct read_job *j)
{
    const struct dime_source source = dime_source_of(j->in.octets);
    const struct reading_keys keys = {
        .own = j->keys,
        .author = signets_get(&j->signets, SIGNET_AUTHOR),
        .origin = signets_get(&j->signets, SIGNET_ORIGIN),
        .destination = signets_get(&j->signets, SIGNET_DESTINATION),
        .recipient = signets_get(&j->signets, SIGNET_RECIPIENT)};
    struct directory d = {.fd = -1};
    struct report *r = &j->report;
    kd_err err = reading_open(&r->reading, &source, j->o->actor, &keys);
    int status = HOLDS;

    if (err != KD_OK) {
        complain(j->o->file, kd_err_text(err));
        return TROUBLE;
    }
    r->anchored_origin = j->signets.anchored[SIGNET_ORIGIN];
    r->anchored_destination = j->signets.anchored[SIGNET_DESTINATION];
    report_judge(r);
    for (size_t i = 0; i < r->n_warnings; i++)
        emit(stderr, "%s: %s: warning: %s\n", tool_name, j->o->file, r->warnings[i]);
    if (j->is_open && j->o->out != NULL && r->reading.refused == NULL) {
        status = directory_make(&d, j->o->out);
        if (status == HOLDS)
            status = directory_write_parts(&d, r);
    }
    if (status == HOLDS)
        status = tell(j, &d);
    directory_close(&d, r, status);
    return status;
}

static int
load_and_read(struct read_job *j)
{
    const struct options *o = j->o;
    const char *const paths[SIGNET_ROLES] = {[SIGNET_ORIGIN] = o->origin,
                                             [SIGNET_DESTINATION] = o->destination,
                                             [SIGNET_AUTHOR] = o->author,
                                             [SIGNET_RECIPIENT] = o->recipient};
    const char *why = NULL;
    int status = message_load(&j->in, o->file, &why);

    if (status == FAILS)
        return tell_failure(o, NULL, "unknown", why);
    if (status == HOLDS && (status = keys_load(o->keys, &j->keys, &why)) == FAILS) {
        snprintf(j->signets.why, sizeof j->signets.why, "%s: %s", o->keys, why);
        why = j->signets.why;
    }
    if (status == HOLDS)
        status = signets_load(&j->signets, paths, o, &why);
    if (status == FAILS)
        return tell_failure(o, NULL, message_kind(j->in.octets), why);
    if (status != HOLDS)
        return status;
    if (strcmp(message_kind(j->in.octets), "bounce") == 0)
        return bounce_tell(o, j->in.octets, j->keys, &j->signets);
    return read_message(j);
}

static int
run(const struct options *o, bool is_open)
{
    const char *verb = is_open ? "message open" : "message verify";
    struct read_job *j;

    if (!o->has_actor || o->keys == NULL) {
        complain(verb, "--as ROLE and --keys KEYFILE are needed: all signatures lie "
                       "behind keyslots");
        return TROUBLE;
    }
    if (o->out != NULL && strcmp(o->out, "-") == 0) {
        complain(verb, "-o makes a directory, and cannot be standard output");
        return TROUBLE;
    }
    if ((j = calloc(1, sizeof *j)) == NULL) {
        complain(verb, kd_err_text(KD_NOMEM));
        return TROUBLE;
    }
    j->o = o;
    j->is_open = is_open;
    int status = load_and_read(j);
    reading_close(&j->report.reading);
    signets_free(&j->signets);
    dime_dkey_free(j->keys);
    loaded_free(&j->in);
    free(j);
    return status;
}

int
verb_message_verify(const struct options *o)
{
    return run(o, false);
}

int
verb_message_open(const struct options *o)
{
    return run(o, true);
}
