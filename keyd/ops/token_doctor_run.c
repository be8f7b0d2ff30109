/* TokenDoctor, the vault's half: what the pool finds out about each token, and what
 * only the key store knows: which section's keys its objects are. */
#include "run.h"

#include <keyd/base/clock.h>

#include <stdio.h>
#include <stdlib.h>

enum {
    ANSWERING_MS = 500,
    /* In an answer: of a token, and beside that what the key store says. */
    OF_ONE = KD_JOB_FINDINGS_MAX / KD_TOKENS_MAX - KD_TOKENS_MAX - 1,
    FOUND_MAX = 64 /* before other sections' keys are taken from among them */
};

struct looking {
    struct p11 *p11; /* lives as long as the process */
    size_t first, last;
    struct {
        size_t n;
        struct p11_finding list[FOUND_MAX];
    } of[KD_TOKENS_MAX];

    /* The key store's tokens, and which of them have to be told of. */
    struct kd_store_token table[KD_TOKENS_MAX];
    size_t n_table;
    unsigned gone;
};

/* Each has its share of the time there is. */
static void
look(struct task *t)
{
    struct looking *x = t->data;

    for (size_t i = x->first; i < x->last; i++) {
        int64_t now = kd_clock_ms(), left = t->deadline - ANSWERING_MS - now;
        int64_t until = now + (left > 0 ? left / (int64_t)(x->last - i) : 0);
        x->of[i].n = p11_doctor(x->p11, i, x->of[i].list, FOUND_MAX, until);
    }
    t->err = KD_OK;
}

/* --- what the key store knows --- */

static bool
is_configured(const struct vault *v, const struct kd_store_token *s)
{
    size_t i;

    return tokens_find(v, kd_slice_str(s->name), &i) == KD_OK;
}

/* Where a key is kept that has this id in its token. */
static bool
place_of_id(const struct vault *v, struct kd_slice id, size_t *place)
{
    struct kd_key_info info;
    struct kd_held held;

    for (size_t i = 0; v->token != NULL && kd_token_at(v->token, i, &info) == KD_OK;
         i++) {
        if (info.state == KD_KEY_DESTROYED ||
            kd_token_held(v->token, &info.id, &held) != KD_OK ||
            held.holding != KD_HELD)
            continue;
        for (unsigned k = 0; k < held.n_places; k++) {
            *place = held.places[k].token;
            if (kd_slice_eq(kd_slice(held.places[k].id, held.places[k].id_size), id))
                return true;
        }
    }
    return false;
}

/* The table's token that is the one seen there, with keys, but has another name. */
static bool
other_name(const struct vault *v, const struct looking *x, size_t i, size_t *place)
{
    struct p11_status s;

    p11_status(v->tokens.p11, i, &s);
    for (*place = 0; *place < x->n_table; ++*place) {
        const struct kd_store_token *one = &x->table[*place];
        if (strcmp(one->name, v->tokens.names[i]) != 0 &&
            strcmp(one->serial, s.serial) == 0 && strcmp(one->model, s.model) == 0 &&
            tokens_keys(v, *place) != 0)
            return true;
    }
    return false;
}

/* --- the answer --- */

static void
put(struct kd_buf *lines, const char *token, const struct p11_finding *f)
{
    struct kd_finding_line line = {
        .token = kd_slice_str(token),
        .finding = (uint8_t)f->code,
        .what = kd_slice(f->what, strnlen(f->what, P11_WHAT_MAX)),
        .rv = f->rv};
    struct kd_buf one;

    kd_buf_init(&one, 256);
    kd_finding_line_put(&one, &line);
    kd_list_put(lines, kd_buf_slice(&one));
    kd_buf_join(lines, &one);
    kd_buf_free(&one);
}

static void
put_keys(struct kd_buf *lines, const char *token, enum p11_finding_code code,
         const char *name, size_t n)
{
    struct p11_finding f = {.code = code};

    snprintf(f.what, sizeof f.what, "\"%s\": %zu %s", name, n, n == 1 ? "key" : "keys");
    put(lines, token, &f);
}

/* One token's: an object that is another section's key is none that is left over, and
 * one that is ours under another name is not to be taken for a new one. */
static void
put_found(const struct vault *v, struct looking *x, size_t i, struct kd_buf *lines)
{
    const char *name = v->tokens.names[i];
    size_t n_others[KD_TOKENS_MAX] = {0}, place = 0, n = 0;

    for (size_t k = 0; k < x->of[i].n; k++) {
        const struct p11_finding *f = &x->of[i].list[k];
        if (f->code == P11_ORPHAN &&
            place_of_id(v, kd_slice(f->id, f->id_size), &place)) {
            n_others[place]++;
        } else if (n++ >= OF_ONE) {
            continue;
        } else if (f->code == P11_NOT_ADOPTED && other_name(v, x, i, &place)) {
            put_keys(lines, name, P11_ADOPTED_AS, x->table[place].name,
                     tokens_keys(v, place));
        } else {
            put(lines, name, f);
        }
    }
    for (place = 0; place < x->n_table; place++) {
        if (n_others[place] == 0)
            continue;
        if (!is_configured(v, &x->table[place]))
            x->gone |= 1u << place;
        put_keys(lines, name, P11_OTHERS_KEY, x->table[place].name, n_others[place]);
    }
}

/* Sections that are gone, with keys, if they were asked about. */
static void
note_gone(const struct vault *v, const struct task *t, struct looking *x)
{
    struct kd_token_job job;
    bool all = kd_token_job_get(t->body, &job) == KD_OK && job.name.n == 0;

    x->n_table = v->token == NULL ? 0 : kd_soft_tokens(v->token, x->table);
    for (size_t place = 0; place < x->n_table; place++)
        if ((all || kd_slice_eq(job.name, kd_slice_str(x->table[place].name))) &&
            !is_configured(v, &x->table[place]) && tokens_keys(v, place) != 0)
            x->gone |= 1u << place;
}

static void
looked(struct vault *v, struct task *t)
{
    struct looking *x = t->data;
    struct kd_doctor_done m;
    struct kd_buf lines;

    kd_buf_init(&lines, 16384);
    note_gone(v, t, x);
    for (size_t i = x->first; i < x->last; i++)
        put_found(v, x, i, &lines);
    for (size_t place = 0; place < x->n_table; place++)
        if ((x->gone >> place & 1) != 0)
            put_keys(&lines, x->table[place].name, P11_SECTION_GONE,
                     x->table[place].name, tokens_keys(v, place));
    m.findings = kd_buf_slice(&lines);
    kd_doctor_done_put(&t->reply, &m);
    kd_buf_join(&t->reply, &lines);
    kd_buf_free(&lines);
    task_finish(v, t, t->reply.err, 0);
}

void
run_token_doctor(struct vault *v, struct task *t)
{
    struct kd_store_token adopted;
    struct kd_token_job job;
    size_t i = 0, place;

    if (kd_token_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    bool is_one = job.name.n != 0 && tokens_find(v, job.name, &i) == KD_OK;
    bool is_gone = job.name.n != 0 && !is_one &&
                   tokens_adopted(v, job.name, &place, &adopted) == KD_OK;
    if (job.name.n != 0 && !is_one && !is_gone) {
        task_finish(v, t, KD_NOT_FOUND, KD_REASON_NO_SUCH_TOKEN);
        return;
    }
    struct looking *x = calloc(1, sizeof *x);
    if (x == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = x;
    t->data_free = free;
    x->p11 = v->tokens.p11;
    x->first = i;
    x->last = is_one ? i + 1 : is_gone ? i : v->tokens.n;
    task_work_apart(v, t, TASK_ANY_DEVICE, look, looked);
}
