/* All that is wrong with a token, for an operator. What the keeper knows is said
 * without asking; where the token is in use, its keys are tried and its objects listed
 * besides. Whose keys other objects are only the key store knows: the vault sorts them.
 */
#include "pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/cur.h>

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_MS = 50, MANY_OBJECTS = 64, SLOW_MS = 50, LIST_MS = 5000, LISTS_MAX = 64 };

static void
add(struct work *w, enum p11_finding_code code, uint64_t rv, const char *what)
{
    if (w->n_findings >= w->findings_max)
        return;
    struct p11_finding *f = &w->findings[w->n_findings++];
    *f = (struct p11_finding){.code = code, .rv = rv};
    snprintf(f->what, sizeof f->what, "%s", what);
}

static void
name_of(const struct pool_key *k, char out[64])
{
    snprintf(out, 64, "key %02x%02x%02x%02x...", k->is.id.octets[0], k->is.id.octets[1],
             k->is.id.octets[2], k->is.id.octets[3]);
}

static void
add_keys(const struct p11_token *t, struct work *w)
{
    char text[P11_WHAT_MAX + 1], name[64];

    for (size_t i = 0; i < t->n_keys; i++) {
        const struct pool_key *k = &t->keys[i];
        if (!k->is_known || k->finding == P11_FINE)
            continue;
        name_of(k, name);
        if (k->what[0] == '\0')
            snprintf(text, sizeof text, "%s", name);
        else
            snprintf(text, sizeof text, "%.24s: %.60s", name, k->what);
        add(w, k->finding, k->rv, text);
    }
}

/* --- its objects --- */

static bool
is_ours(const struct p11_token *t, struct kd_slice id)
{
    for (size_t i = 0; i < t->n_keys; i++)
        if (kd_slice_eq(kd_slice(t->keys[i].is.place.id, t->keys[i].is.place.id_size),
                        id))
            return true;
    return false;
}

static void
add_orphan(struct work *w, const struct kd_p11_object *o)
{
    char text[P11_WHAT_MAX + 1], id[2 * 16 + 1] = "", label[33] = "";

    for (size_t i = 0; i < o->id.n && i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", o->id.p[i]);
    for (size_t i = 0; i < o->label.n && i < 32; i++) {
        uint8_t c = o->label.p[i];
        label[i] = (char)(c >= ' ' && c <= '~' ? c : '?');
        label[i + 1] = '\0';
    }
    snprintf(text, sizeof text, "id %s, \"%s\"", id, label);
    size_t at = w->n_findings;
    add(w, P11_ORPHAN, 0, text);
    if (w->n_findings == at || o->id.n > P11_ID_MAX)
        return;
    w->findings[at].id_size = (uint8_t)o->id.n;
    if (o->id.n != 0)
        memcpy(w->findings[at].id, o->id.p, o->id.n);
}

/* False: it does not go on. With the lock. */
static bool
add_objects(const struct p11_token *t, struct work *w, struct kd_slice list)
{
    enum { PRIVATE_KEY = 3 };
    struct kd_cur c = kd_cur(list);
    struct kd_p11_object o;

    while (kd_cur_left(&c) != 0) {
        struct kd_slice one = kd_list_next(&c);
        if (c.err != KD_OK || kd_p11_object_get(one, &o) != KD_OK)
            return false;
        if (o.klass == PRIVATE_KEY && !is_ours(t, o.id))
            add_orphan(w, &o);
    }
    return true;
}

static enum call_end
list_from(struct host *h, uint32_t from, int64_t until, uint8_t *answer,
          struct kd_p11_listed *out)
{
    struct kd_p11_list m = {from};
    struct kd_buf b;
    size_t n = 0;

    kd_buf_init(&b, 16);
    kd_p11_list_put(&b, &m);
    enum call_end end = call_host(h, KD_MSG_p11_list, &b, -1, KD_MSG_p11_listed, until,
                                  answer, ANSWER_MAX, &n);
    kd_buf_free(&b);
    if (end == CALL_DONE && kd_p11_listed_get(kd_slice(answer, n), out) != KD_OK)
        end = CALL_MALFORMED;
    return end;
}

/* The list could not be had. */
static void
add_ended(struct work *w, enum call_end end)
{
    add(w, end == CALL_LATE ? P11_MODULE_HANGS : P11_MODULE_DIES, 0,
        "while its objects were listed");
}

/* False: the host is of no use any more. */
static bool
look_at_objects(struct p11_token *t, struct work *w, struct host *h)
{
    uint8_t *answer = malloc(ANSWER_MAX);
    struct kd_p11_listed m = {.next = 0};
    enum call_end end = CALL_DONE;
    uint32_t from = 0;
    int64_t last = kd_clock_ms() + LIST_MS;

    for (unsigned i = 0; answer != NULL && i < LISTS_MAX && end == CALL_DONE; i++) {
        pthread_mutex_unlock(&t->lock);
        end = list_from(h, from, last, answer, &m);
        pthread_mutex_lock(&t->lock);
        if (end == CALL_DONE && m.finding != P11_FINE) {
            add(w,
                m.finding < P11_FINDINGS ? (enum p11_finding_code)m.finding
                                         : P11_MODULE_DIES,
                m.rv, "its objects could not be listed");
            break;
        }
        if (end == CALL_DONE && !add_objects(t, w, m.objects))
            end = CALL_MALFORMED;
        from = m.next;
        if (from == 0 || kd_clock_ms() >= last || w->is_left)
            break;
    }
    if (end != CALL_DONE)
        add_ended(w, end);
    free(answer);
    return end == CALL_DONE;
}

/* --- its keys --- */

struct tried {
    enum kd_key_alg alg;
    uint8_t public_key[KD_KEY_PUBLIC_MAX];
    size_t n;
    char name[64];
};

static bool
copy_key(const struct p11_token *t, const struct host *h, size_t i, struct tried *out)
{
    const struct pool_key *k = &t->keys[i];

    if (h->keys_serial != t->keys_serial || !k->is.is_probed || !k->is_known ||
        k->finding != P11_FINE)
        return false;
    out->alg = k->is.alg;
    out->n = k->is.public_key.n;
    memcpy(out->public_key, k->public_key, out->n);
    name_of(k, out->name);
    return true;
}

/* Now, and not when the keeper next does: what was right a while ago may be gone. False
 * as above. */
static bool
try_keys(struct p11_token *t, struct work *w, struct host *h)
{
    struct tried k;
    uint64_t rv = 0;
    kd_err err = KD_OK;

    for (size_t i = 0; i < t->n_keys && kd_clock_ms() < w->until && !w->is_left; i++) {
        if (!copy_key(t, h, i, &k))
            continue;
        pthread_mutex_unlock(&t->lock);
        err = trial_key(h, (uint8_t)i, k.alg, kd_slice(k.public_key, k.n),
                        kd_clock_ms() + t->conf.timeout_ms, &rv);
        pthread_mutex_lock(&t->lock);
        if (err == KD_OK)
            continue;
        add(w, P11_PROBE_FAILED, rv, k.name);
        token_want_trial(t);
        if (err == KD_CLOSED || rv == 0) /* gone, late, or wrong */
            return false;
    }
    return true;
}

static struct host *
own_idle(struct p11_token *t)
{
    for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
        if (t->hosts[i].state == HOST_IDLE) {
            t->hosts[i].state = HOST_BUSY;
            t->hosts[i].sent_at = kd_clock_ms();
            return &t->hosts[i];
        }
    return NULL;
}

/* For the keeper: what only a host can tell. */
void
keeper_doctor(struct p11_token *t, struct work *w)
{
    struct host *h = NULL;

    w->err = KD_UNAVAILABLE;
    if (t->breaker.state != P11_CLOSED || (h = own_idle(t)) == NULL)
        return;
    if (try_keys(t, w, h) && look_at_objects(t, w, h))
        host_give_back(t, h);
    else
        host_drop(t, h, true);
    w->err = KD_OK;
}

/* Nothing was found since nothing was looked at: which is no good news. */
static void
add_unseen(const struct p11_token *t, struct work *w)
{
    const char *what = t->breaker.state == P11_IDLE ? "the keys are sealed"
                       : t->breaker.state == P11_CLOSED
                           ? "none of its processes was free"
                           : NULL;
    char text[64];

    if (what == NULL) {
        snprintf(text, sizeof text, "it is %s", p11_state_name(t->breaker.state));
        what = text;
    }
    add(w, P11_NOT_LOOKED_AT, 0, what);
}

static void
add_known(const struct p11_token *t, struct work *w)
{
    bool is_of_now = t->breaker.state != P11_CLOSED && t->breaker.state != P11_IDLE;
    char text[64];

    if (t->status.finding != P11_FINE && is_of_now)
        add(w, t->status.finding, t->status.rv, t->what);
    add_keys(t, w);
    if (t->looked.code != P11_FINE && t->looked.code != P11_KEY_MISSING)
        add(w, t->looked.code, t->looked.rv, t->looked.what);
    if (t->made.code != P11_FINE && t->breaker.state != P11_IDLE)
        add(w, t->made.code, t->made.rv, "when a key was last to be made");
    if (t->breaker.state == P11_CLOSED && t->n_objects > MANY_OBJECTS) {
        snprintf(text, sizeof text, "%u objects", t->n_objects);
        add(w, P11_MANY_OBJECTS, 0, text);
    }
}

/* Has the keeper look, but does not wait for it longer than until: it may be behind a
 * host that hangs. Then the work is left to it, which frees it. With the lock. */
static void
have_looked_at(struct p11_token *t, struct work *w, int64_t until)
{
    while (t->work != NULL)
        if (!token_wait(t, &t->changed, until))
            return;
    t->work = w;
    pthread_cond_signal(&t->wake);
    while (!w->is_done && token_wait(t, &t->changed, until))
        ;
    if (w->is_begun) {
        w->is_left = !w->is_done;
    } else {
        t->work = NULL;
        pthread_cond_broadcast(&t->changed);
    }
}

static struct work *
new_look(size_t max, int64_t until)
{
    struct work *w = calloc(1, sizeof *w);

    if (w == NULL || (w->findings = calloc(max, sizeof *w->findings)) == NULL) {
        free(w);
        return NULL;
    }
    w->kind = WORK_DOCTOR;
    w->findings_max = max;
    w->until = until;
    return w;
}

void
work_free(struct work *w)
{
    free(w->findings);
    free(w);
}

/* What is wrong comes first, notes at the end, as the work finds them. */
size_t
p11_doctor(struct p11 *p, size_t token, struct p11_finding *out, size_t max,
           int64_t until)
{
    struct p11_token *t = &p->tokens[token];
    struct work known = {.findings = out, .findings_max = max}, *w = NULL;

    if (max == 0 || (w = new_look(max, until)) == NULL)
        return 0;
    pthread_mutex_lock(&t->lock);
    have_looked_at(t, w, until); /* then all of this is as new as it can be */
    /* A key was just made, or all are in work: one is free in a moment. */
    while (w->is_done && w->err != KD_OK && t->breaker.state == P11_CLOSED &&
           kd_clock_ms() + AGAIN_MS < until) {
        kd_ignore(token_wait(t, &t->changed, kd_clock_ms() + AGAIN_MS));
        w->is_begun = w->is_done = false;
        have_looked_at(t, w, until);
    }
    add_known(t, &known);
    bool is_ours = !w->is_left;
    for (size_t i = 0; is_ours && i < w->n_findings && known.n_findings < max; i++)
        out[known.n_findings++] = w->findings[i];
    if (known.n_findings == 0 && (!w->is_done || w->err != KD_OK))
        add_unseen(t, &known);
    pthread_mutex_unlock(&t->lock);
    if (is_ours)
        work_free(w);
    return known.n_findings;
}
