#include "ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Files up to here are read whole and compared when they are opened; of larger ones
 * only what differs at a glance, and each row when it is asked for. */
enum { LOOK_MOST = 16 << 20 };

static const char *const names[RING_COPIES] = {"ring.db", "ring.copy.db"};

/* --- mending --- */

struct mending {
    struct rows *to;
    unsigned n_mended;
    kd_err err;
};

/* Into the other copy, where that has none, or an older or a damaged one. */
static bool
give(void *arg, const struct row *row)
{
    struct mending *m = arg;
    struct kd_buf b;
    int64_t stamp = 0;

    kd_buf_init(&b, ROWS_BODY_MAX);
    kd_err has = rows_get(m->to, row->kind, row->name, row->id, &stamp, &b);
    kd_buf_free(&b);
    if (has == KD_OK && stamp >= row->stamp)
        return true;
    m->err = KD_OK;
    if (has == KD_MALFORMED) /* its stamp says nothing */
        m->err = rows_drop(m->to, row->kind, row->name, row->id);
    if (m->err == KD_OK)
        m->err = rows_put(m->to, row);
    m->n_mended += m->err == KD_OK;
    return m->err == KD_OK;
}

/* How giving went, at both ends. */
struct given {
    kd_err from, to; /* KD_MALFORMED: that file is damaged */
    unsigned n_mended, n_bad;
};

/* All that one has and the other has not, as far as it can be read. */
static struct given
give_all(struct rows *from, struct rows *to)
{
    struct mending m = {.to = to};
    struct given g = {.from = KD_OK, .to = rows_begin(to)};

    if (g.to != KD_OK)
        return g;
    g.from = rows_scan(from, give, &m, &g.n_bad);
    g.to = m.err == KD_OK ? rows_commit(to) : m.err;
    if (g.to != KD_OK)
        rows_undo(to);
    else
        g.n_mended = m.n_mended;
    return g;
}

/* Under another name, for whoever wants to look; the one before goes. */
static void
set_aside(const char *path)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char from[PATH_MAX + 8], to[PATH_MAX + 16];

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        kd_ignore(snprintf(from, sizeof from, "%s%s", path, tails[i]));
        kd_ignore(snprintf(to, sizeof to, "%s.damaged%s", path, tails[i]));
        kd_ignore(remove(to));       /* perhaps there is none */
        kd_ignore(rename(from, to)); /* the same; rows_open finds out */
    }
}

static kd_err
begin_anew(struct ring *g, size_t i)
{
    rows_close(&g->copies[i]);
    set_aside(g->paths[i]);
    return rows_open(&g->copies[i], g->paths[i]);
}

static bool
is_small(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size <= LOOK_MOST;
}

static bool
differ(struct ring *g)
{
    int64_t top[RING_COPIES] = {0};

    for (size_t i = 0; i < RING_COPIES; i++)
        if (rows_top(&g->copies[i], &top[i]) != KD_OK)
            return true;
    return top[0] != top[1];
}

static bool
is_fatal(kd_err err)
{
    return err != KD_OK && err != KD_MALFORMED;
}

/* A copy that is damaged as a file is made anew, and filled from the other. */
static kd_err
refill(struct ring *g, size_t i, struct steps *steps)
{
    steps_alarm(steps, STEP_RING, "%s is damaged: set aside, and made anew from %s",
                names[i], names[1 - i]);
    kd_err err = begin_anew(g, i);
    if (err != KD_OK)
        return err;
    struct given given = give_all(&g->copies[1 - i], &g->copies[i]);
    return is_fatal(given.from) ? given.from : given.to;
}

/* Each gives to the other. */
static kd_err
mend(struct ring *g, struct steps *steps)
{
    bool damaged[RING_COPIES] = {false};
    kd_err err = KD_OK;

    for (size_t i = 0; i < RING_COPIES; i++) {
        struct given given = give_all(&g->copies[i], &g->copies[1 - i]);
        if (is_fatal(given.from) || is_fatal(given.to))
            return is_fatal(given.from) ? given.from : given.to;
        damaged[i] = damaged[i] || given.from == KD_MALFORMED;
        damaged[1 - i] = damaged[1 - i] || given.to == KD_MALFORMED;
        if (given.n_bad != 0)
            steps_alarm(steps, STEP_RING, "%u damaged rows in %s", given.n_bad,
                        names[i]);
        if (given.n_mended != 0)
            steps_warn(steps, STEP_RING, "%u rows of %s mended from %s", given.n_mended,
                       names[1 - i], names[i]);
    }
    for (size_t i = 0; err == KD_OK && i < RING_COPIES; i++)
        if (damaged[i])
            err = refill(g, i, steps);
    return err;
}

/* --- opening --- */

/* One file that cannot be opened is made anew; the other fills it. */
static kd_err
open_one(struct ring *g, size_t i, struct steps *steps, bool *was_damaged)
{
    kd_err err = rows_open(&g->copies[i], g->paths[i]);

    if (err != KD_MALFORMED)
        return err;
    steps_alarm(steps, STEP_RING, "%s is damaged: set aside, and made anew", names[i]);
    *was_damaged = true;
    return begin_anew(g, i);
}

kd_err
ring_open(struct ring *g, const char *dir, struct steps *steps, const char **why)
{
    bool was_damaged[RING_COPIES] = {false};
    kd_err err = KD_OK;

    memset(g, 0, sizeof *g);
    for (size_t i = 0; i < RING_COPIES && err == KD_OK; i++) {
        int n = snprintf(g->paths[i], sizeof g->paths[i], "%s/%s", dir, names[i]);
        err = n < 0 || (size_t)n >= sizeof g->paths[i]
                  ? KD_TOO_LARGE
                  : open_one(g, i, steps, &was_damaged[i]);
    }
    if (err == KD_OK && was_damaged[0] && was_damaged[1])
        steps_alarm(steps, STEP_RING,
                    "both copies of the ring were damaged: it is lost");
    if (err == KD_OK && (was_damaged[0] || was_damaged[1] || differ(g) ||
                         (is_small(g->paths[0]) && is_small(g->paths[1]))))
        err = mend(g, steps);
    if (err == KD_OK)
        return KD_OK;
    *why = err == KD_UNSUPPORTED ? "the ring is of a later release"
           : err == KD_DENIED    ? "the ring may not be written"
                                 : "the ring cannot be opened";
    ring_close(g);
    return err;
}

void
ring_close(struct ring *g)
{
    for (size_t i = 0; i < RING_COPIES; i++)
        rows_close(&g->copies[i]);
}

/* --- rows --- */

kd_err
ring_get(struct ring *g, unsigned kind, const char *name, struct kd_slice id,
         struct kd_buf *b)
{
    int64_t best = -1;
    kd_err out = KD_NOT_FOUND;
    struct kd_buf one;

    kd_buf_init(&one, ROWS_BODY_MAX);
    for (size_t i = 0; i < RING_COPIES; i++) {
        int64_t stamp = 0;
        kd_err err = rows_get(&g->copies[i], kind, name, id, &stamp, &one);
        if (err == KD_OK && stamp > best) {
            best = stamp;
            kd_buf_reset(b);
            kd_buf_put(b, kd_buf_slice(&one));
            out = b->err;
        } else if (err != KD_OK && err != KD_NOT_FOUND && best < 0) {
            out = err;
        }
    }
    kd_buf_free(&one);
    return out == KD_OK && b->n == 0 ? KD_NOT_FOUND : out;
}

static bool
collect(void *arg, const struct row *row)
{
    struct ring_rows *rows = arg;
    struct ring_row *at = NULL;

    for (size_t i = 0; i < rows->n && at == NULL; i++)
        if (kd_slice_eq(kd_slice(rows->list[i].id, rows->list[i].n_id), row->id))
            at = &rows->list[i];
    if (at != NULL && at->stamp >= row->stamp)
        return true;
    if (at == NULL) {
        struct ring_row *list = realloc(rows->list, (rows->n + 1) * sizeof *rows->list);
        if (list == NULL)
            return false;
        rows->list = list;
        at = &list[rows->n++];
        *at = (struct ring_row){.n_id = row->id.n};
        memcpy(at->id, row->id.p, row->id.n);
        kd_buf_init(&at->body, ROWS_BODY_MAX);
    }
    at->stamp = row->stamp;
    kd_buf_reset(&at->body);
    kd_buf_put(&at->body, row->body);
    return at->body.err == KD_OK;
}

kd_err
ring_list(struct ring *g, unsigned kind, const char *name, struct ring_rows *out)
{
    unsigned n_bad = 0;
    kd_err errs[RING_COPIES];

    *out = (struct ring_rows){.n = 0};
    for (size_t i = 0; i < RING_COPIES; i++)
        errs[i] = rows_list(&g->copies[i], kind, name, kd_slice(NULL, 0), collect, out,
                            &n_bad);
    /* One good copy is enough. */
    if (errs[0] == KD_OK || errs[1] == KD_OK)
        return KD_OK;
    ring_rows_free(out);
    return errs[0];
}

void
ring_rows_free(struct ring_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        kd_buf_free(&rows->list[i].body);
    free(rows->list);
    *rows = (struct ring_rows){.n = 0};
}

static kd_err
put_into(struct rows *r, const struct row *rows, size_t n)
{
    struct kd_buf b;
    int64_t stamp;
    kd_err err = KD_OK;

    kd_buf_init(&b, ROWS_BODY_MAX);
    for (size_t i = 0; err == KD_OK && i < n; i++) {
        /* What is damaged has a stamp that says nothing. */
        if (rows_get(r, rows[i].kind, rows[i].name, rows[i].id, &stamp, &b) ==
            KD_MALFORMED)
            err = rows_drop(r, rows[i].kind, rows[i].name, rows[i].id);
        if (err == KD_OK)
            err = rows_put(r, &rows[i]);
    }
    kd_buf_free(&b);
    return err;
}

/* In one transaction. Of the first copy the stamps come. */
static kd_err
put_copy(struct ring *g, size_t i, struct row *rows, size_t n)
{
    struct rows *r = &g->copies[i];
    int64_t top = 0, other = 0;
    kd_err err = rows_begin(r);

    if (err == KD_OK && i == 0) {
        err = rows_top(r, &top);
        /* One may have lost its last commits: stamps go on from the higher one. */
        if (err == KD_OK && rows_top(&g->copies[1], &other) == KD_OK && other > top)
            top = other;
        for (size_t k = 0; k < n; k++)
            rows[k].stamp = top + 1;
    }
    if (err == KD_OK)
        err = put_into(r, rows, n);
    if (err == KD_OK)
        err = rows_commit(r);
    if (err != KD_OK)
        rows_undo(r);
    return err;
}

/* A file that was damaged while it was open: what can be read of it goes to the other
 * first. */
static kd_err
replace(struct ring *g, size_t i)
{
    struct given given = give_all(&g->copies[i], &g->copies[1 - i]);

    if (given.to != KD_OK)
        return given.to;
    kd_err err = begin_anew(g, i);
    if (err != KD_OK)
        return err;
    given = give_all(&g->copies[1 - i], &g->copies[i]);
    return given.from != KD_OK ? given.from : given.to;
}

kd_err
ring_put(struct ring *g, struct row *rows, size_t n)
{
    kd_err first = KD_OK;

    for (size_t i = 0; i < RING_COPIES; i++) {
        kd_err err = put_copy(g, i, rows, n);
        if (err == KD_MALFORMED && (err = replace(g, i)) == KD_OK)
            err = put_copy(g, i, rows, n);
        if (i == 0)
            first = err;
        if (first != KD_OK)
            return first;
    }
    return KD_OK; /* the second is mended at the next opening, if it must be */
}
