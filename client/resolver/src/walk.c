#include "walk.h"

#include <stdio.h>
#include <stdlib.h>

void
walk_clear(struct walk *w)
{
    record_clear(&w->record);
    w->supplied[0] = '\0';
}

/* Moves what is in *from. */
static void
keep(struct walk *w, struct record *from, const char *name)
{
    record_clear(&w->record);
    w->record = *from;
    memset(from, 0, sizeof(*from));
    memcpy(w->supplied, name, strlen(name) + 1);
}

/* The name is legacy: what was found on the way holds for others. */
static enum record_state
end_absent(struct walk *w, bool secure)
{
    walk_clear(w);
    w->record.state = RECORD_ABSENT;
    w->record.secure = secure;
    w->record.ttl = w->ttl < RECORD_ABSENT_MAX_S ? w->ttl : RECORD_ABSENT_MAX_S;
    return RECORD_ABSENT;
}

/* At the end of the walk: the deepest record decides. */
static enum record_state
decide(const char *name, bool secure, struct steps *steps, struct walk *w)
{
    if (w->record.state != RECORD_PRESENT) {
        steps_add(steps, STEP_WALK, "%s: no record on the way", name);
        return end_absent(w, secure);
    }
    w->inherited = strcmp(w->supplied, name) != 0;
    if (w->inherited && w->record.mrec.sub == DIME_SUB_EXPLICIT) {
        steps_add(steps, STEP_WALK,
                  "%s: %s holds for itself alone (explicit), so there is no record",
                  name, w->supplied);
        return end_absent(w, secure);
    }
    steps_add(steps, STEP_WALK, "%s: the record of %s holds (subdomains: %s)", name,
              w->supplied, dime_mrec_sub_name(w->record.mrec.sub));
    return RECORD_PRESENT;
}

enum record_state
walk_run(const struct name_list *names, walk_look *look, void *arg, int64_t deadline,
         struct steps *steps, struct walk *out)
{
    struct record *r = calloc(1, sizeof(*r));
    bool secure = names->n > 0;

    memset(out, 0, sizeof(*out));
    out->record.state = RECORD_ABSENT; /* nothing yet */
    out->ttl = RECORD_ABSENT_MAX_S;
    if (r == NULL) {
        out->record.state = RECORD_BROKEN;
        snprintf(out->record.why, sizeof(out->record.why), "out of memory");
        return RECORD_BROKEN;
    }
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->names[i];
        enum record_state state = look(arg, name, deadline, r);

        if (state == RECORD_BROKEN) {
            steps_warn(steps, STEP_WALK, "%s: broken, so nothing is known below", name);
            keep(out, r, name);
            free(r);
            return RECORD_BROKEN;
        }
        if (i == 0 || r->ttl < out->ttl)
            out->ttl = r->ttl;
        secure = secure && r->secure;
        if (state == RECORD_PRESENT)
            keep(out, r, name);
        record_clear(r);
        if (state == RECORD_PRESENT && out->record.mrec.sub == DIME_SUB_STRICT)
            break;
    }
    record_clear(r);
    free(r);
    return decide(names->n > 0 ? names->names[names->n - 1] : "the name", secure, steps,
                  out);
}
