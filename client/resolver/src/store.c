#include "store.h"

#include "ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DAY = 24 * 3600,
    LIVES_MOST = DIME_MREC_EXPIRY_MAX * DAY,
    LINKS_MOST = 1000,
    SIGNET_MOST = 1 << 19,
    FULL_ID = 1 + DIME_FINGERPRINT_SIZE,
};

/* Kinds of rows; on disk. */
enum { KIND_RECORD = 1, KIND_SIGNET = 2, KIND_FOUND = 3, KIND_HOLD = 4 };

/* The first octet of a signet's id. */
enum { ID_CURRENT = 0, ID_SUPERSEDED = 1 };

struct store {
    pthread_mutex_t lock;
    struct rows cache;
    char cache_path[PATH_MAX];
    struct ring ring;
};

/* --- opening --- */

static const char foreign[] = "the state directory may be entered by others";

/* Made, with what is above it, if it is not there; then it must be ours alone. */
static kd_err
enter(const char *dir, const char **why)
{
    char path[PATH_MAX];
    struct stat st;
    size_t n = strlen(dir);

    *why = "the state directory cannot be made";
    if (n == 0 || n >= sizeof path - 32)
        return KD_TOO_LARGE;
    memcpy(path, dir, n + 1);
    for (char *p = path + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            if (mkdir(path, 0700) != 0 && errno != EEXIST)
                return KD_IO;
            *p = '/';
        }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return errno == EACCES || errno == EROFS ? KD_DENIED : KD_IO;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return KD_IO;
    *why = foreign;
    return st.st_uid == geteuid() && (st.st_mode & 077) == 0 ? KD_OK : KD_DENIED;
}

static void
set_cache_aside(struct store *s)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char from[PATH_MAX + 8], to[PATH_MAX + 16];

    rows_close(&s->cache);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        kd_ignore(snprintf(from, sizeof from, "%s%s", s->cache_path, tails[i]));
        kd_ignore(snprintf(to, sizeof to, "%s.damaged%s", s->cache_path, tails[i]));
        kd_ignore(remove(to));
        kd_ignore(rename(from, to));
    }
}

static kd_err
open_cache(struct store *s, const char *dir, struct steps *steps, const char **why)
{
    kd_ignore(snprintf(s->cache_path, sizeof s->cache_path, "%s/cache.db", dir));
    kd_err err = rows_open(&s->cache, s->cache_path);
    if (err == KD_MALFORMED) {
        steps_alarm(steps, STEP_CACHE,
                    "cache.db is damaged: set aside, and begun anew; domains that were "
                    "known count as new");
        set_cache_aside(s);
        err = rows_open(&s->cache, s->cache_path);
    }
    *why = err == KD_UNSUPPORTED ? "the cache is of a later release"
                                 : "the cache cannot be opened";
    return err;
}

kd_err
store_open(const char *dir, struct steps *steps, struct store **out, const char **why)
{
    struct store *s = calloc(1, sizeof *s);

    *why = kd_err_text(KD_NOMEM);
    if (s == NULL)
        return KD_NOMEM;
    kd_err err = pthread_mutex_init(&s->lock, NULL) == 0 ? KD_OK : KD_NOMEM;
    if (err != KD_OK) {
        free(s);
        return err;
    }
    if ((err = enter(dir, why)) == KD_OK &&
        (err = open_cache(s, dir, steps, why)) == KD_OK)
        err = ring_open(&s->ring, dir, steps, why);
    if (err != KD_OK) {
        store_close(s);
        return err;
    }
    *out = s;
    return KD_OK;
}

void
store_close(struct store *s)
{
    if (s == NULL)
        return;
    rows_close(&s->cache);
    ring_close(&s->ring);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- records --- */

static int64_t
number(struct kd_cur *c)
{
    return (int64_t)kd_cur_u64(c);
}

/* The row's, whatever the time is. */
static kd_err
read_record(struct store *s, const char *domain, struct store_record *out)
{
    struct kd_buf b;
    int64_t stamp;

    kd_buf_init(&b, ROWS_BODY_MAX);
    kd_err err =
        rows_get(&s->cache, KIND_RECORD, domain, kd_slice(NULL, 0), &stamp, &b);
    if (err == KD_OK) {
        struct kd_cur c = kd_cur(kd_buf_slice(&b));
        out->is_secure = kd_cur_u8(&c) != 0;
        out->fetched_at = number(&c);
        out->refresh_at = number(&c);
        out->purge_at = number(&c);
        kd_buf_init(&out->text, DIME_MREC_TEXT_MAX);
        kd_buf_put(&out->text, kd_cur_take(&c, kd_cur_left(&c)));
        err = c.err != KD_OK ? c.err : out->text.err;
        if (err != KD_OK)
            kd_buf_free(&out->text);
    }
    kd_buf_free(&b);
    return err;
}

static kd_err
write_record(struct store *s, const char *domain, const struct store_record *r,
             struct kd_slice text)
{
    struct kd_buf b;
    int64_t top = 0;

    kd_buf_init(&b, ROWS_BODY_MAX);
    kd_buf_u8(&b, r->is_secure);
    kd_buf_u64(&b, (uint64_t)r->fetched_at);
    kd_buf_u64(&b, (uint64_t)r->refresh_at);
    kd_buf_u64(&b, (uint64_t)r->purge_at);
    kd_buf_put(&b, text);
    kd_err err = b.err;
    if (err == KD_OK)
        err = rows_top(&s->cache, &top);
    const struct row row = {.kind = KIND_RECORD,
                            .name = domain,
                            .stamp = top + 1,
                            .body = kd_buf_slice(&b)};
    if (err == KD_OK)
        err = rows_put(&s->cache, &row);
    kd_buf_free(&b);
    return err;
}

/* Begun anew, since it is damaged. */
static kd_err
renew_cache(struct store *s)
{
    set_cache_aside(s);
    return rows_open(&s->cache, s->cache_path);
}

/* A damaged row is not believed and stands in nobody's way; nor does a damaged file. */
static kd_err
heal(struct store *s, const char *domain, kd_err err)
{
    if (err != KD_MALFORMED ||
        rows_drop(&s->cache, KIND_RECORD, domain, kd_slice(NULL, 0)) == KD_OK)
        return err;
    kd_err again = renew_cache(s);
    return again == KD_OK ? KD_MALFORMED : again;
}

/* A time from a clock that was wrong is cut down to what may be. */
static int64_t
at_most(int64_t t, int64_t most)
{
    return t < most ? t : most;
}

kd_err
store_record_get(struct store *s, const char *domain, int64_t now,
                 struct store_record *out)
{
    pthread_mutex_lock(&s->lock);
    kd_err err = heal(s, domain, read_record(s, domain, out));
    pthread_mutex_unlock(&s->lock);
    if (err != KD_OK)
        return err;
    out->purge_at = at_most(out->purge_at, now + LIVES_MOST);
    out->refresh_at = at_most(out->refresh_at, out->purge_at);
    if (now < out->purge_at)
        return KD_OK;
    kd_buf_free(&out->text);
    return KD_NOT_FOUND;
}

/* Within a transaction. */
static kd_err
put_record(struct store *s, const char *domain, struct kd_slice text,
           const struct store_record *from, int64_t now, bool *is_kept)
{
    struct store_record old, new = *from;
    kd_err err = read_record(s, domain, &old);

    if (err == KD_MALFORMED) {
        err = rows_drop(&s->cache, KIND_RECORD, domain, kd_slice(NULL, 0));
        return err == KD_OK ? write_record(s, domain, &new, text) : err;
    }
    if (err != KD_OK)
        return err == KD_NOT_FOUND ? write_record(s, domain, &new, text) : err;
    int64_t lives = at_most(old.purge_at, now + LIVES_MOST);
    *is_kept = old.is_secure && !new.is_secure &&now < lives;
    if (lives > new.purge_at)
        new.purge_at = lives;
    if (*is_kept) {
        old.refresh_at = new.refresh_at;
        err = write_record(s, domain, &old, kd_buf_slice(&old.text));
    } else {
        err = write_record(s, domain, &new, text);
    }
    kd_buf_free(&old.text);
    return err;
}

static kd_err
end(struct store *s, kd_err err)
{
    if (err == KD_OK)
        err = rows_commit(&s->cache);
    if (err != KD_OK)
        rows_undo(&s->cache);
    return err;
}

kd_err
store_record_put(struct store *s, const char *domain, struct kd_slice text,
                 bool is_secure, uint32_t ttl, unsigned expiry_days, int64_t now,
                 bool *is_kept)
{
    int64_t days =
        expiry_days < DIME_MREC_EXPIRY_MAX ? expiry_days : DIME_MREC_EXPIRY_MAX;
    const struct store_record new = {.is_secure = is_secure,
                                     .fetched_at = now,
                                     .refresh_at = now + ttl,
                                     .purge_at = now + days * DAY};
    kd_err err = KD_OK;

    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < 2; i++) {
        *is_kept = false;
        err = rows_begin(&s->cache);
        if (err == KD_OK)
            err = put_record(s, domain, text, &new, now, is_kept);
        err = end(s, err);
        if (err != KD_MALFORMED || (err = renew_cache(s)) != KD_OK)
            break;
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

kd_err
store_record_later(struct store *s, const char *domain, int64_t refresh_at)
{
    struct store_record old;

    pthread_mutex_lock(&s->lock);
    kd_err err = rows_begin(&s->cache);
    if (err == KD_OK && (err = read_record(s, domain, &old)) == KD_OK) {
        old.refresh_at = refresh_at;
        err = write_record(s, domain, &old, kd_buf_slice(&old.text));
        kd_buf_free(&old.text);
    }
    err = end(s, err);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* --- signets --- */

struct signet_body {
    int64_t first_seen, confirmed_at, superseded_at;
    bool is_accepted;
    const uint8_t *core;
    struct kd_slice octets;
};

static bool
body_read(struct kd_slice body, struct signet_body *out)
{
    struct kd_cur c = kd_cur(body);

    out->first_seen = number(&c);
    out->confirmed_at = number(&c);
    out->superseded_at = number(&c);
    out->is_accepted = kd_cur_u8(&c) != 0;
    out->core = kd_cur_take(&c, DIME_FINGERPRINT_SIZE).p;
    out->octets = kd_cur_take(&c, kd_cur_left(&c));
    return c.err == KD_OK && out->core != NULL;
}

static void
body_put(struct kd_buf *b, const struct signet_body *s)
{
    kd_buf_reset(b);
    kd_buf_u64(b, (uint64_t)s->first_seen);
    kd_buf_u64(b, (uint64_t)s->confirmed_at);
    kd_buf_u64(b, (uint64_t)s->superseded_at);
    kd_buf_u8(b, s->is_accepted);
    kd_buf_put(b, kd_slice(s->core, DIME_FINGERPRINT_SIZE));
    kd_buf_put(b, s->octets);
}

static bool
is_live(const struct ring_row *r, uint8_t id)
{
    return r->n_id == FULL_ID && r->id[0] == id && r->body.n != 0;
}

/* The one that was written last, should two be there. */
static const struct ring_row *
current_of(const struct ring_rows *rows)
{
    const struct ring_row *best = NULL;

    for (size_t i = 0; i < rows->n; i++)
        if (is_live(&rows->list[i], ID_CURRENT) &&
            (best == NULL || rows->list[i].stamp > best->stamp))
            best = &rows->list[i];
    return best;
}

static kd_err
give_signet(const struct ring_row *row, struct store_signet *out)
{
    struct signet_body b;

    if (row == NULL)
        return KD_NOT_FOUND;
    if (!body_read(kd_buf_slice(&row->body), &b))
        return KD_MALFORMED;
    *out = (struct store_signet){.first_seen = b.first_seen,
                                 .confirmed_at = b.confirmed_at,
                                 .is_accepted = b.is_accepted};
    kd_buf_init(&out->octets, SIGNET_MOST);
    kd_buf_put(&out->octets, b.octets);
    if (out->octets.err == KD_OK)
        return KD_OK;
    kd_buf_free(&out->octets);
    return KD_NOMEM;
}

kd_err
store_signet_get(struct store *s, const char *name, struct store_signet *out)
{
    struct ring_rows rows;

    pthread_mutex_lock(&s->lock);
    kd_err err = ring_list(&s->ring, KIND_SIGNET, name, &rows);
    pthread_mutex_unlock(&s->lock);
    if (err != KD_OK)
        return err;
    err = give_signet(current_of(&rows), out);
    ring_rows_free(&rows);
    return err;
}

kd_err
store_signet_find(struct store *s, const char *name,
                  const uint8_t fingerprint[DIME_FINGERPRINT_SIZE],
                  struct store_signet *out)
{
    struct ring_rows rows;
    struct signet_body b;
    const struct ring_row *found = NULL;

    pthread_mutex_lock(&s->lock);
    kd_err err = ring_list(&s->ring, KIND_SIGNET, name, &rows);
    pthread_mutex_unlock(&s->lock);
    if (err != KD_OK)
        return err;
    for (size_t i = 0; i < rows.n; i++) {
        const struct ring_row *r = &rows.list[i];
        bool is_there = r->n_id == FULL_ID && body_read(kd_buf_slice(&r->body), &b) &&
                        (memcmp(r->id + 1, fingerprint, DIME_FINGERPRINT_SIZE) == 0 ||
                         memcmp(b.core, fingerprint, DIME_FINGERPRINT_SIZE) == 0);
        if (is_there && (found == NULL || r->stamp > found->stamp))
            found = r;
    }
    err = give_signet(found, out);
    ring_rows_free(&rows);
    return err;
}

/* What a change writes, at most: the old one away, its superseded self, the new one,
 * the oldest of too many away. */
enum { CHANGES_MOST = 5 };

struct change {
    const char *name;
    struct row rows[CHANGES_MOST];
    uint8_t ids[CHANGES_MOST][FULL_ID];
    struct kd_buf bodies[CHANGES_MOST];
    size_t n;
};

/* An empty body takes a row away, and is kept so that the other copy's does not come
 * back. */
static void
change_add(struct change *c, uint8_t id, const uint8_t *full,
           const struct signet_body *body)
{
    size_t i = c->n++;

    c->ids[i][0] = id;
    memcpy(c->ids[i] + 1, full, DIME_FINGERPRINT_SIZE);
    kd_buf_init(&c->bodies[i], ROWS_BODY_MAX);
    if (body != NULL)
        body_put(&c->bodies[i], body);
    c->rows[i] = (struct row){.kind = KIND_SIGNET,
                              .name = c->name,
                              .id = kd_slice(c->ids[i], FULL_ID),
                              .body = kd_buf_slice(&c->bodies[i])};
}

static kd_err
change_write(struct store *s, struct change *c)
{
    kd_err err = KD_OK;

    for (size_t i = 0; i < c->n; i++)
        err = err == KD_OK ? c->bodies[i].err : err;
    if (err == KD_OK)
        err = ring_put(&s->ring, c->rows, c->n);
    for (size_t i = 0; i < c->n; i++)
        kd_buf_free(&c->bodies[i]);
    return err;
}

/* Of too many that were superseded the one that was so longest. */
static void
forget_oldest(struct change *c, const struct ring_rows *rows)
{
    const struct ring_row *oldest = NULL;
    size_t n = 0;

    for (size_t i = 0; i < rows->n; i++)
        if (is_live(&rows->list[i], ID_SUPERSEDED)) {
            n++;
            if (oldest == NULL || rows->list[i].stamp < oldest->stamp)
                oldest = &rows->list[i];
        }
    if (n >= LINKS_MOST)
        change_add(c, ID_SUPERSEDED, oldest->id + 1, NULL);
}

static void
supersede(struct change *c, const struct ring_row *old, int64_t now)
{
    struct signet_body b;

    change_add(c, ID_CURRENT, old->id + 1, NULL);
    if (!body_read(kd_buf_slice(&old->body), &b))
        return;
    b.superseded_at = now;
    change_add(c, ID_SUPERSEDED, old->id + 1, &b);
}

kd_err
store_signet_put(struct store *s, const char *name, struct kd_slice octets,
                 const uint8_t core[DIME_FINGERPRINT_SIZE],
                 const uint8_t full[DIME_FINGERPRINT_SIZE], bool is_accepted,
                 int64_t now)
{
    struct ring_rows rows;
    struct signet_body old_body, body = {.first_seen = now,
                                         .confirmed_at = now,
                                         .is_accepted = is_accepted,
                                         .core = core,
                                         .octets = octets};
    struct change c = {.name = name};

    if (octets.n > SIGNET_MOST)
        return KD_TOO_LARGE;
    pthread_mutex_lock(&s->lock);
    kd_err err = ring_list(&s->ring, KIND_SIGNET, name, &rows);
    if (err == KD_OK) {
        const struct ring_row *old = current_of(&rows);
        bool is_same =
            old != NULL && memcmp(old->id + 1, full, DIME_FINGERPRINT_SIZE) == 0;
        if (is_same && body_read(kd_buf_slice(&old->body), &old_body)) {
            body.first_seen = old_body.first_seen;
            body.is_accepted = is_accepted || old_body.is_accepted;
        } else if (old != NULL && !is_same) {
            supersede(&c, old, now);
            forget_oldest(&c, &rows);
        }
        change_add(&c, ID_CURRENT, full, &body);
        err = change_write(s, &c);
        ring_rows_free(&rows);
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

kd_err
store_signet_confirm(struct store *s, const char *name, int64_t now)
{
    struct ring_rows rows;
    struct signet_body body;
    struct change c = {.name = name};

    pthread_mutex_lock(&s->lock);
    kd_err err = ring_list(&s->ring, KIND_SIGNET, name, &rows);
    if (err == KD_OK) {
        const struct ring_row *old = current_of(&rows);
        err = KD_NOT_FOUND;
        if (old != NULL && body_read(kd_buf_slice(&old->body), &body)) {
            body.confirmed_at = now;
            change_add(&c, ID_CURRENT, old->id + 1, &body);
            err = change_write(s, &c);
        }
        ring_rows_free(&rows);
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* --- what waits --- */

static kd_err
put_one(struct store *s, unsigned kind, const char *name, struct kd_slice body)
{
    struct row row = {.kind = kind, .name = name, .body = body};

    pthread_mutex_lock(&s->lock);
    kd_err err = ring_put(&s->ring, &row, 1);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static kd_err
get_one(struct store *s, unsigned kind, const char *name, struct kd_buf *b)
{
    pthread_mutex_lock(&s->lock);
    kd_err err = ring_get(&s->ring, kind, name, kd_slice(NULL, 0), b);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* Nothing is written where nothing is. */
static kd_err
forget_one(struct store *s, unsigned kind, const char *name)
{
    struct kd_buf b;

    kd_buf_init(&b, ROWS_BODY_MAX);
    kd_err err = get_one(s, kind, name, &b);
    kd_buf_free(&b);
    return err == KD_NOT_FOUND ? KD_OK : put_one(s, kind, name, kd_slice(NULL, 0));
}

kd_err
store_found_put(struct store *s, const char *name, struct kd_slice octets,
                const uint8_t core[DIME_FINGERPRINT_SIZE], int64_t now)
{
    struct kd_buf b;

    kd_buf_init(&b, SIGNET_MOST);
    kd_buf_u64(&b, (uint64_t)now);
    kd_buf_put(&b, kd_slice(core, DIME_FINGERPRINT_SIZE));
    kd_buf_put(&b, octets);
    kd_err err =
        b.err == KD_OK ? put_one(s, KIND_FOUND, name, kd_buf_slice(&b)) : b.err;
    kd_buf_free(&b);
    return err;
}

kd_err
store_found_get(struct store *s, const char *name, struct kd_buf *octets,
                uint8_t core[DIME_FINGERPRINT_SIZE])
{
    struct kd_buf b;

    kd_buf_init(&b, ROWS_BODY_MAX);
    kd_err err = get_one(s, KIND_FOUND, name, &b);
    if (err == KD_OK) {
        struct kd_cur c = kd_cur(kd_buf_slice(&b));
        kd_ignore(number(&c)); /* when it was found */
        kd_cur_copy(&c, core, DIME_FINGERPRINT_SIZE);
        kd_buf_reset(octets);
        kd_buf_put(octets, kd_cur_take(&c, kd_cur_left(&c)));
        err = c.err != KD_OK ? c.err : octets->err;
    }
    kd_buf_free(&b);
    return err;
}

kd_err
store_found_forget(struct store *s, const char *name)
{
    return forget_one(s, KIND_FOUND, name);
}

kd_err
store_hold_put(struct store *s, const char *domain, const struct hold *hold)
{
    struct kd_buf b;

    kd_buf_init(&b, 256);
    kd_buf_put(&b, kd_slice(hold->pok, sizeof hold->pok));
    kd_buf_u64(&b, (uint64_t)hold->first_seen);
    kd_buf_u64(&b, (uint64_t)hold->last_counted);
    kd_buf_u32(&b, hold->times);
    kd_buf_u32(&b, hold->contradicted);
    kd_err err =
        b.err == KD_OK ? put_one(s, KIND_HOLD, domain, kd_buf_slice(&b)) : b.err;
    kd_buf_free(&b);
    return err;
}

kd_err
store_hold_get(struct store *s, const char *domain, struct hold *out)
{
    struct kd_buf b;
    struct hold h;

    kd_buf_init(&b, 256);
    kd_err err = get_one(s, KIND_HOLD, domain, &b);
    if (err == KD_OK) {
        struct kd_cur c = kd_cur(kd_buf_slice(&b));
        kd_cur_copy(&c, h.pok, sizeof h.pok);
        h.first_seen = number(&c);
        h.last_counted = number(&c);
        h.times = kd_cur_u32(&c);
        h.contradicted = kd_cur_u32(&c);
        if ((err = kd_cur_end(&c)) == KD_OK)
            *out = h;
    }
    kd_buf_free(&b);
    return err;
}

kd_err
store_hold_forget(struct store *s, const char *domain)
{
    return forget_one(s, KIND_HOLD, domain);
}
