#include "lookup.h"

#include "rdata.h"

#include <keyd/base/clock.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
record_clear(struct record *r)
{
    free(r->text);
    memset(r, 0, sizeof(*r));
    r->state = RECORD_BROKEN;
}

const char *
record_state_text(enum record_state s)
{
    static const char *const texts[] = {[RECORD_PRESENT] = "present",
                                        [RECORD_ABSENT] = "absent",
                                        [RECORD_BROKEN] = "broken"};

    return (unsigned)s <= RECORD_BROKEN ? texts[s] : "?";
}

static enum record_state broken(struct record *out, const char *fmt, ...)
    KD_PRINTF(2, 3);
static enum record_state
broken(struct record *out, const char *fmt, ...)
{
    va_list ap;

    record_clear(out);
    va_start(ap, fmt);
    kd_ignore(vsnprintf(out->why, sizeof(out->why), fmt, ap)); /* cut */
    va_end(ap);
    return RECORD_BROKEN;
}

/* --- one answer --- */

/* Joins the data of one record into text and says whether it is meant as one of ours.
 */
static kd_err
look_for_candidate(struct kd_slice rdata, uint8_t *text, size_t *n, bool *is)
{
    kd_err err = rdata_txt(rdata, text, n);

    if (err == KD_OK)
        *is = dime_mrec_is_candidate(kd_slice(text, *n));
    return err;
}

static enum record_state
parse(struct record *out)
{
    struct dime_mrec_note why;
    kd_err err = dime_mrec_parse(kd_slice(out->text, out->n_text), &out->mrec, &why);

    if (err != KD_OK)
        return broken(out, "%s", dime_mrec_text(why.finding));
    out->state = RECORD_PRESENT;
    return RECORD_PRESENT;
}

/* The one candidate goes to out->text; two are broken (D-012). */
static enum record_state
pick(const struct dns_answer *a, uint8_t *scratch, struct record *out)
{
    for (size_t i = 0; i < a->n; i++) {
        bool is = false;
        size_t n;
        uint8_t *text;

        if (look_for_candidate(a->rdata[i], scratch, &n, &is) != KD_OK)
            return broken(out, "data of a record that does not parse");
        if (!is)
            continue;
        if (out->text != NULL)
            return broken(out, "more than one management record");
        if ((text = malloc(n)) == NULL)
            return broken(out, "out of memory");
        memcpy(text, scratch, n);
        out->text = text;
        out->n_text = n;
    }
    if (out->text != NULL)
        return parse(out);
    out->state = RECORD_ABSENT;
    return RECORD_ABSENT;
}

enum record_state
lookup_judge(const struct dns_answer *a, struct record *out)
{
    uint8_t *scratch;

    memset(out, 0, sizeof(*out));
    if (a->status == DNS_BROKEN)
        return broken(out, "%s: %s", dns_broken_text(a->broken), a->why);
    out->secure = a->secure;
    out->ttl = a->ttl;
    if (a->status == DNS_FOUND) {
        size_t most = 1;

        for (size_t i = 0; i < a->n; i++)
            most = a->rdata[i].n > most ? a->rdata[i].n : most;
        if ((scratch = malloc(most)) == NULL)
            return broken(out, "out of memory");
        pick(a, scratch, out);
        free(scratch);
    } else {
        out->state = RECORD_ABSENT;
    }
    if (out->state == RECORD_ABSENT && out->ttl > RECORD_ABSENT_MAX_S)
        out->ttl = RECORD_ABSENT_MAX_S;
    return out->state;
}

/* --- asking --- */

static void
tell(struct steps *steps, const char *owner, unsigned type, const struct dns_answer *a,
     const struct record *r)
{
    if (a->status == DNS_BROKEN)
        steps_warn(steps, STEP_DNS, "%s type %u: %s", owner, type,
                   dns_broken_text(a->broken));
    else
        steps_add(steps, STEP_DNS, "%s type %u: %s%s, for %u s%s%s", owner, type,
                  dns_status_text(a->status), a->secure ? ", secure" : ", insecure",
                  (unsigned)a->ttl, a->alias ? ", alias of " : "",
                  a->alias ? a->canonical : "");
    if (r->state == RECORD_PRESENT)
        steps_add(steps, STEP_RECORD, "%s: present: %.*s", owner,
                  r->n_text < 400 ? (int)r->n_text : 400, (const char *)r->text);
    else if (r->state == RECORD_BROKEN)
        steps_warn(steps, STEP_RECORD, "%s: broken: %s", owner, r->why);
    else
        steps_add(steps, STEP_RECORD, "%s: absent", owner);
}

/* One question. How it failed goes to *how. */
static enum record_state
ask(const struct lookup *l, const char *owner, uint16_t type, int64_t deadline,
    struct steps *steps, struct record *out, enum dns_broken *how)
{
    struct dns_answer a;

    dns_query(l->dns, owner, type, deadline, &a);
    *how = a.broken;
    lookup_judge(&a, out);
    if (out->state == RECORD_PRESENT)
        memcpy(out->owner, owner, strlen(owner) + 1);
    tell(steps, owner, type, &a, out);
    dns_answer_clear(&a);
    return out->state;
}

/* Asks at an owner name below. *out is what was absent before: that counts, too. */
static enum record_state
ask_txt(const struct lookup *l, const char *prefix, const char *name, int64_t deadline,
        struct steps *steps, struct record *out)
{
    char owner[DNS_NAME_MAX + 1];
    bool secure = out->secure;
    uint32_t ttl = out->ttl;
    enum dns_broken how;
    int n = snprintf(owner, sizeof(owner), "%s.%s", prefix, name);

    record_clear(out);
    if (n < 0 || (size_t)n >= sizeof(owner))
        return broken(out, "the name is too long to have a record below it");
    if (ask(l, owner, DNS_TXT, deadline, steps, out, &how) == RECORD_ABSENT) {
        out->secure = out->secure && secure;
        out->ttl = out->ttl < ttl ? out->ttl : ttl;
    }
    return out->state;
}

/* Whether the type may be unknown to a server on the way, or the question failed: then
 * TXT is asked for (MR-9). What is there but wrong is no such failure. */
static bool
may_be_unsupported(enum dns_broken how)
{
    return how == DNS_SERVFAIL || how == DNS_TIMEOUT;
}

enum record_state
lookup_record(const struct lookup *l, const char *name, int64_t deadline,
              struct steps *steps, struct record *out)
{
    bool failed = false;
    enum dns_broken how;

    memset(out, 0, sizeof(*out));
    if (l->numeric_type != 0) {
        int64_t now = kd_clock_ms(), half = deadline - (deadline - now) / 2;

        if (ask(l, name, l->numeric_type, half, steps, out, &how) == RECORD_PRESENT ||
            (out->state == RECORD_BROKEN && !may_be_unsupported(how)))
            return out->state;
        failed = out->state == RECORD_BROKEN;
        record_clear(out);
    }
    out->state = RECORD_ABSENT; /* so far; all that follows only lessens this */
    out->secure = true;
    out->ttl = RECORD_ABSENT_MAX_S;
    for (size_t i = 0; i < DIME_MREC_OWNERS && out->state == RECORD_ABSENT; i++)
        ask_txt(l, dime_mrec_owners[i], name, deadline, steps, out);
    if (out->state == RECORD_ABSENT && failed)
        return broken(out, "the question for type %u failed, and no TXT is there",
                      (unsigned)l->numeric_type);
    return out->state;
}
