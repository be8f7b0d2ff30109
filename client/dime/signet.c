/* dime signet show, verify, fingerprint, split, armor, dearmor. */
#include "dime_tool.h"

#include <dime/build.h>
#include <dime/fingerprint.h>
#include <keyd/base/be.h>
#include <stdlib.h>

/* What the octets claim to be; they did not parse. */
static const char *
claimed_type(struct kd_slice octets)
{
    switch (octets.n >= 2 ? kd_be16(octets.p) : 0) {
    case DIME_MAGIC_ORG:
        return kind_name(DIME_ORG);
    case DIME_MAGIC_USER:
        return kind_name(DIME_USER);
    case DIME_MAGIC_SSR:
        return kind_name(DIME_SSR);
    default:
        return "unknown";
    }
}

/* o->file, or the status with which to leave; object_free in every case. */
static int
load_or_tell(const struct options *o, struct object *obj)
{
    const char *why = NULL;
    int status = object_load(obj, o->file, &why);

    return status == FAILS ? tell_failure(o, NULL, claimed_type(obj->in.octets), why)
                           : status;
}

int
verb_signet_show(const struct options *o)
{
    struct object obj;
    int status = load_or_tell(o, &obj);

    if (status == HOLDS && o->json)
        status = json_finish(signet_to_json(&obj.signet), HOLDS);
    else if (status == HOLDS)
        signet_print(stdout, &obj.signet);
    object_free(&obj);
    return status;
}

/* --- verify ----------------------------------------------------------------------- */

/* What is checked against what; org and prev are loaded if they were given. */
struct check {
    struct object subject, org, prev;
    bool has_org, has_prev;
    struct dime_verdict org_verdict;
    struct dime_verdict verdict;
    char why[512]; /* empty if it holds */
};

static void
say(struct check *c, const char *about, const char *why)
{
    if (about == NULL)
        snprintf(c->why, sizeof c->why, "%s", why);
    else
        snprintf(c->why, sizeof c->why, "%s: %s", about, why);
}

/* A signet named by an option, of one of two kinds. */
static int
load_other(struct check *c, struct object *obj, const char *path, const char *about,
           bool want_org)
{
    const char *why = NULL;
    int status = object_load(obj, path, &why);

    if (status == HOLDS && (obj->signet.kind == DIME_ORG) != want_org) {
        why = dime_reason_text(DIME_WRONG_KIND);
        status = FAILS;
    }
    if (status == FAILS)
        say(c, about, why);
    return status;
}

static void
verify_org(struct check *c, const struct options *o)
{
    if (dime_org_verify(&c->subject.signet, o->poks, o->n_poks, &c->verdict) != KD_OK)
        say(c, NULL, dime_reason_text(c->verdict.why));
}

static void
verify_user(struct check *c)
{
    const struct dime_signet *org = c->has_org ? &c->org.signet : NULL;
    const struct dime_signet *prev = c->has_prev ? &c->prev.signet : NULL;

    if (c->has_org && !c->org_verdict.holds)
        say(c, "the organizational signet", dime_reason_text(c->org_verdict.why));
    else if (dime_user_verify(&c->subject.signet, org, prev, &c->verdict) != KD_OK)
        say(c, NULL, dime_reason_text(c->verdict.why));
}

/* A request with a key of its organization would be signed to pass for that key. */
static bool
has_key_of(const struct dime_signet *s, const struct dime_signet *org)
{
    if (memcmp(s->sign_key, org->sign_key, sizeof s->sign_key) == 0 ||
        memcmp(s->enc_key, org->enc_key, sizeof s->enc_key) == 0)
        return true;
    for (size_t i = 0; i < org->n_soks; i++) {
        if (memcmp(s->sign_key, org->soks[i].key, sizeof s->sign_key) == 0)
            return true;
    }
    return false;
}

static void
verify_ssr(struct check *c)
{
    const struct dime_signet *prev = c->has_prev ? &c->prev.signet : NULL;

    if (dime_ssr_verify(&c->subject.signet, prev, &c->verdict) != KD_OK)
        say(c, NULL, dime_reason_text(c->verdict.why));
    else if (c->has_org && has_key_of(&c->subject.signet, &c->org.signet))
        say(c, NULL, "holds a key of the organization");
}

static bool
put_verdict(json_t *j, const struct check *c)
{
    const struct dime_verdict *v = &c->verdict;
    bool good = true;

    switch (c->subject.signet.kind) {
    case DIME_ORG:
        return json_put(j, "bound", json_boolean(v->bound)) &&
               json_put(j, "anchored", json_boolean(v->anchored));
    case DIME_USER:
        good = json_put(j, "bound", json_boolean(v->bound)) &&
               json_put(j, "anchored", json_boolean(c->org_verdict.anchored));
        break;
    case DIME_SSR:
        break;
    }
    return good && json_put(j, "chained", json_boolean(v->chained));
}

static int
tell_verdict(const struct options *o, const struct check *c)
{
    const struct dime_signet *s = &c->subject.signet;
    json_t *j = o->json ? signet_to_json(s) : NULL;

    if (o->json && (j == NULL || !put_verdict(j, c))) {
        json_decref(j);
        return json_finish(NULL, TROUBLE);
    }
    if (c->why[0] != '\0')
        return tell_failure(o, j, kind_name(s->kind), c->why);
    if (o->json)
        return json_finish(j, HOLDS);
    emit(stdout, "%s holds", kind_name(s->kind));
    if (s->kind != DIME_SSR && !c->verdict.bound)
        emit(stdout, ", not bound to an identifier");
    if (s->kind == DIME_ORG && !c->verdict.anchored)
        emit(stdout, ", not anchored");
    if (s->kind == DIME_USER && !c->org_verdict.anchored)
        emit(stdout, ", its organization not anchored");
    emit(stdout, "\n");
    return HOLDS;
}

/* The subject is loaded. Reads the others and checks. */
static int
verify_subject(struct check *c, const struct options *o)
{
    enum dime_kind kind = c->subject.signet.kind;
    int status = HOLDS;

    if (kind == DIME_ORG && (o->org != NULL || o->prev != NULL)) {
        complain(o->file,
                 "an organizational signet: --org and --prev say nothing of it");
        return TROUBLE;
    }
    if (o->org != NULL) {
        c->has_org = true;
        status = load_other(c, &c->org, o->org, "the organizational signet", true);
        if (status == HOLDS)
            kd_ignore(dime_org_verify(&c->org.signet, o->poks, o->n_poks,
                                      &c->org_verdict)); /* in the verdict */
    }
    if (status == HOLDS && o->prev != NULL) {
        c->has_prev = true;
        status = load_other(c, &c->prev, o->prev, "the previous signet", false);
    }
    if (status == TROUBLE)
        return TROUBLE;
    if (status == HOLDS && kind == DIME_ORG)
        verify_org(c, o);
    else if (status == HOLDS && kind == DIME_USER)
        verify_user(c);
    else if (status == HOLDS)
        verify_ssr(c);
    return tell_verdict(o, c);
}

int
verb_signet_verify(const struct options *o)
{
    struct check *c = calloc(1, sizeof *c);

    if (c == NULL) {
        complain(o->file, kd_err_text(KD_NOMEM));
        return TROUBLE;
    }
    int status = load_or_tell(o, &c->subject);
    if (status == HOLDS)
        status = verify_subject(c, o);
    object_free(&c->prev);
    object_free(&c->org);
    object_free(&c->subject);
    free(c);
    return status;
}

/* --- fingerprint, split, armor, dearmor ------------------------------------------- */

static enum dime_part
usual_part(const struct dime_signet *s)
{
    if (s->kind == DIME_SSR)
        return DIME_PART_REQUEST;
    return s->part == DIME_PART_CORE ? DIME_PART_CORE : DIME_PART_FULL;
}

int
verb_signet_fingerprint(const struct options *o)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1];
    struct object obj;
    int status = load_or_tell(o, &obj);

    if (status == HOLDS) {
        enum dime_part part = o->has_part ? o->part : usual_part(&obj.signet);
        if (dime_fingerprint(&obj.signet, part, fp) == KD_OK) {
            dime_fingerprint_text(fp, text);
            emit(stdout, "%s\n", text);
        } else {
            status = tell_failure(o, NULL, "", "this kind has no such fingerprint");
        }
    }
    object_free(&obj);
    return status;
}

/* The result has the form of what was given: armour stays armour. */
int
verb_signet_split(const struct options *o)
{
    struct object obj;
    struct kd_buf part;

    if (!o->has_part || (o->part != DIME_PART_CORE && o->part != DIME_PART_FULL)) {
        complain("signet split", "--core or --full is needed");
        return TROUBLE;
    }
    if (need_out(o, "signet split") != HOLDS)
        return TROUBLE;
    int status = load_or_tell(o, &obj);
    kd_buf_init(&part, DIME_SIGNET_MAX);
    if (status == HOLDS) {
        kd_err err = dime_split(&obj.signet, o->part, &part);
        if (err == KD_OK)
            status = object_write(o->out, kd_buf_slice(&part), obj.in.armoured);
        else if (err == KD_NOT_FOUND)
            status = tell_failure(o, NULL, "", "has no such part");
        else {
            complain(o->file, kd_err_text(err));
            status = TROUBLE;
        }
    }
    kd_buf_free(&part);
    object_free(&obj);
    return status;
}

static int
rewrite(const struct options *o, const char *verb, bool armoured)
{
    struct object obj;

    if (need_out(o, verb) != HOLDS)
        return TROUBLE;
    int status = load_or_tell(o, &obj);
    if (status == HOLDS)
        status = object_write(o->out, obj.in.octets, armoured);
    object_free(&obj);
    return status;
}

int
verb_signet_armor(const struct options *o)
{
    return rewrite(o, "signet armor", true);
}

int
verb_signet_dearmor(const struct options *o)
{
    return rewrite(o, "signet dearmor", false);
}
