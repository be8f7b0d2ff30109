/* Holds on addresses and principals, and resets of custody chains: their rows follow
 * from the records, the schema's triggers say what may follow what. */
#include "sqlite_impl.h"

#include <keyd/base/be.h>

enum { EVENT_APPROVED = 1, EVENT_CANCELLED = 2 };

/* --- reading --- */

/* The last row of a name; KD_NOT_FOUND is "none". */
static kd_err
find_hold(struct kd_backend *b, enum kd_hold_kind kind, struct kd_slice name)
{
    sqlite3_stmt *st = sq_use(b, ST_HOLD);

    sq_bind_u64(st, 1, kind);
    sq_bind_text(st, 2, name);
    return sq_row(b, ST_HOLD);
}

static void
read_reset(sqlite3_stmt *st, struct kd_reset_row *out)
{
    *out = (struct kd_reset_row){
        .generation = (uint32_t)sq_u64(st, 0),
        .made_ms = sq_u64(st, 1),
        .delay_ms = sq_u64(st, 2),
        .uptime_ms = sq_u64(st, 3),
        .approved = sq_u64(st, 4) != 0,
        .address = sq_blob(st, 5),
    };
}

static kd_err
find_attested(struct kd_backend *b, struct kd_slice address, bool *attested)
{
    kd_err err = find_hold(b, KD_HOLD_LEVEL, address);

    if (err != KD_OK)
        return err == KD_NOT_FOUND ? KD_OK : err;
    *attested = sq_u64(sq_use(b, ST_HOLD), 0) != 0;
    sq_reset(b, ST_HOLD);
    return KD_OK;
}

static kd_err
find_reset(struct kd_backend *b, struct kd_slice address, struct kd_account *out)
{
    sq_bind_text(sq_use(b, ST_RESET), 1, address);
    kd_err err = sq_row(b, ST_RESET);
    if (err != KD_OK)
        return err == KD_NOT_FOUND ? KD_OK : err;
    read_reset(sq_use(b, ST_RESET), &out->reset);
    out->reset.address = kd_slice(NULL, 0);
    out->has_reset = true;
    sq_reset(b, ST_RESET);
    return KD_OK;
}

static kd_err
find_generation(struct kd_backend *b, struct kd_slice address, uint32_t *out)
{
    sq_bind_text(sq_use(b, ST_GENERATION), 1, address);
    kd_err err = sq_row(b, ST_GENERATION);
    if (err != KD_OK)
        return err == KD_NOT_FOUND ? KD_OK : err;
    *out = (uint32_t)sq_u64(sq_use(b, ST_GENERATION), 0);
    sq_reset(b, ST_GENERATION);
    return KD_OK;
}

kd_err
sq_find_account(struct kd_backend *b, struct kd_slice address, struct kd_account *out)
{
    struct kd_account a = {0};
    kd_err err;

    if ((err = find_attested(b, address, &a.attested)) != KD_OK ||
        (err = find_reset(b, address, &a)) != KD_OK ||
        (err = find_generation(b, address, &a.generation)) != KD_OK)
        return err;
    /* The last, since its text stays with the caller. */
    err = find_hold(b, KD_HOLD_ADDRESS, address);
    if (err == KD_OK) {
        sqlite3_stmt *st = sq_use(b, ST_HOLD);
        a.hold = (enum kd_hold)sq_u64(st, 0);
        a.reason = sq_blob(st, 1);
        a.since_ms = sq_u64(st, 2);
        b->held[ST_HOLD] = true;
    } else if (err != KD_NOT_FOUND) {
        return err;
    }
    *out = a;
    return KD_OK;
}

kd_err
sq_account(struct kd_backend *b, struct kd_slice address, struct kd_account *out)
{
    sq_release(b);
    return sq_find_account(b, address, out);
}

kd_err
sq_stopped(struct kd_backend *b, kd_stopped_visitor visitor, void *arg)
{
    sqlite3_stmt *st = sq_use(b, ST_STOPPED);
    kd_err err;

    sq_release(b);
    while ((err = sq_row(b, ST_STOPPED)) == KD_OK) {
        if (!visitor(arg, sq_blob(st, 0)))
            break;
    }
    sq_reset(b, ST_STOPPED);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

kd_err
sq_resets(struct kd_backend *b, struct kd_slice after, kd_reset_visitor visitor,
          void *arg)
{
    static const uint8_t nothing[1];
    sqlite3_stmt *st = sq_use(b, ST_RESETS);
    struct kd_reset_row row;
    kd_err err;

    sq_release(b);
    /* A null pointer would be NULL, than which nothing is greater. */
    sq_bind_text(st, 1, after.n == 0 ? kd_slice(nothing, 0) : after);
    while ((err = sq_row(b, ST_RESETS)) == KD_OK) {
        read_reset(st, &row);
        if (!visitor(arg, &row))
            break;
    }
    sq_reset(b, ST_RESETS);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

/* The one number of a statement that has just one row. */
static kd_err
one_number(struct kd_backend *b, enum sq_statement which, uint64_t *out)
{
    kd_err err;

    sq_release(b);
    if ((err = sq_row(b, which)) != KD_OK)
        return err == KD_NOT_FOUND ? KD_FAILED : err;
    *out = sq_u64(sq_use(b, which), 0);
    sq_reset(b, which);
    return KD_OK;
}

kd_err
sq_n_resets(struct kd_backend *b, uint32_t *n)
{
    uint64_t all = 0;
    kd_err err = one_number(b, ST_N_RESETS, &all);

    *n = all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
    return err;
}

kd_err
sq_uptime(struct kd_backend *b, uint64_t *ms)
{
    return one_number(b, ST_UPTIME, ms);
}

/* --- writing --- */

kd_err
sq_count_uptime(struct kd_backend *b, uint64_t ms)
{
    sq_bind_u64(sq_use(b, ST_PUT_UPTIME), 1, ms);
    return sq_run(b, ST_PUT_UPTIME);
}

static kd_err
put_hold(struct kd_backend *b, const struct kd_hold_change *h,
         const struct kd_audit_record *r)
{
    static const uint8_t nothing[1];
    sqlite3_stmt *st = sq_use(b, ST_PUT_HOLD);

    sq_bind_u64(st, 1, h->kind);
    sq_bind_text(st, 2, h->name);
    sq_bind_u64(st, 3, h->state);
    sq_bind_text(st, 4, h->detail.n == 0 ? kd_slice(nothing, 0) : h->detail);
    sq_bind_u64(st, 5, r->seq);
    sq_bind_u64(st, 6, r->time_ms);
    return sq_run(b, ST_PUT_HOLD);
}

static kd_err
put_reset(struct kd_backend *b, const struct kd_reset_put *put,
          const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_RESET);
    uint64_t delay;
    kd_err err;

    if (put == NULL || kd_store_reset_delay(r, &delay) != KD_OK)
        return KD_FAILED; /* store.c has looked */
    if ((err = sq_count_uptime(b, put->uptime_ms)) != KD_OK)
        return err;
    sq_bind_text(st, 1, r->address);
    sq_bind_u64(st, 2, delay);
    sq_bind_u64(st, 3, put->uptime_ms);
    sq_bind_u64(st, 4, r->seq);
    sq_bind_u64(st, 5, r->time_ms);
    return sq_run(b, ST_PUT_RESET);
}

static kd_err
put_reset_event(struct kd_backend *b, unsigned kind, const struct kd_audit_record *r)
{
    sqlite3_stmt *st = sq_use(b, ST_PUT_RESET_EVENT);
    kd_err err;

    sq_bind_text(st, 1, r->address);
    sq_bind_u64(st, 2, kind);
    sq_bind_u64(st, 3, r->seq);
    sq_bind_u64(st, 4, r->time_ms);
    if ((err = sq_run(b, ST_PUT_RESET_EVENT)) != KD_OK)
        return err;
    return sqlite3_changes(b->db) == 1 ? KD_OK : KD_CONFLICT; /* none is pending */
}

kd_err
sq_put_account(struct kd_backend *b, const struct kd_store_item *item,
               const struct kd_audit_record *r)
{
    struct kd_hold_change hold;

    if (!kd_store_makes_row(r))
        return KD_OK;
    if (kd_store_hold_change(r, &hold))
        return put_hold(b, &hold, r);
    if (r->op == KD_AUDIT_REQUEST_RESET)
        return put_reset(b, item->reset, r);
    return put_reset_event(
        b, r->op == KD_AUDIT_APPROVE_RESET ? EVENT_APPROVED : EVENT_CANCELLED, r);
}
