#include "records.h"

#include <dime/resolver.h>

#include <stdlib.h>

enum {
    BROKEN_SECONDS = 60, /* after an error the DNS is asked again, with a live record */
};

/* What is remembered and lives; false if nothing. */
static bool
remembered(const struct records *r, const char *name, struct record *out,
           struct record_life *life)
{
    struct store_record row;
    struct dime_mrec_note why;

    if (r->store == NULL)
        return false;
    kd_err err = store_record_get(r->store, name, r->now, &row);
    if (err != KD_OK && err != KD_NOT_FOUND)
        steps_warn(r->steps, STEP_CACHE, "what was known of %s cannot be read: %s",
                   name, kd_err_text(err));
    if (err != KD_OK)
        return false;
    *out = (struct record){.state = RECORD_PRESENT, .secure = row.is_secure};
    *life = (struct record_life){.until = row.purge_at, .refresh_at = row.refresh_at};
    if (dime_mrec_parse(kd_buf_slice(&row.text), &out->mrec, &why) != KD_OK) {
        kd_buf_free(&row.text);
        steps_warn(r->steps, STEP_CACHE, "what was known of %s is no record: %s", name,
                   dime_mrec_text(why.finding));
        return false;
    }
    kd_buf_free(&row.text);
    return true;
}

/* The known one stays: the DNS has none, an error, or one without DNSSEC. */
static enum record_state
keep(const struct records *r, const char *name, struct record *known,
     struct record_life *life, const char *why, int64_t refresh_at, struct record *out,
     struct record_life *out_life)
{
    steps_warn(r->steps, STEP_REFRESH, "%s: %s; what was known is kept", name, why);
    if (refresh_at > life->refresh_at) {
        life->refresh_at = refresh_at;
        kd_err err = store_record_later(r->store, name, refresh_at);
        if (err != KD_OK)
            steps_warn(r->steps, STEP_CACHE, "that cannot be written down: %s",
                       kd_err_text(err));
    }
    record_clear(out);
    *out = *known;
    *out_life = *life;
    out_life->is_kept = true;
    return RECORD_PRESENT;
}

/* The DNS has one now. */
static enum record_state
take(const struct records *r, const char *name, struct record *known,
     struct record_life *known_life, bool is_known, struct record *out,
     struct record_life *life)
{
    bool is_kept = false;

    *life = (struct record_life){.until = r->now +
                                          (int64_t)out->mrec.expiry_days * 24 * 3600,
                                 .refresh_at = r->now + out->ttl};
    if (r->store == NULL)
        return RECORD_PRESENT;
    kd_err err =
        store_record_put(r->store, name, kd_slice(out->text, out->n_text), out->secure,
                         out->ttl, out->mrec.expiry_days, r->now, &is_kept);
    if (err != KD_OK)
        steps_warn(r->steps, STEP_CACHE, "the record of %s cannot be kept: %s", name,
                   kd_err_text(err));
    if (is_kept && is_known)
        return keep(r, name, known, known_life,
                    "the DNS has one without DNSSEC, where there was DNSSEC",
                    r->now + out->ttl, out, life);
    if (is_known && known_life->until > life->until)
        life->until = known_life->until;
    return RECORD_PRESENT;
}

enum record_state
records_get(const struct records *r, const char *name, struct record *out,
            struct record_life *life)
{
    struct record *known = calloc(1, sizeof *known);
    struct record_life known_life = {.is_kept = false};
    enum record_state state = RECORD_BROKEN;

    *out = (struct record){.state = RECORD_BROKEN};
    *life = known_life;
    if (known == NULL)
        return RECORD_BROKEN;
    bool is_known = remembered(r, name, known, &known_life);
    bool is_offline = (r->flags & DIME_QUERY_OFFLINE) != 0;
    bool is_fresh = is_known && r->now < known_life.refresh_at &&
                    (r->flags & DIME_QUERY_FRESH) == 0;
    if (is_fresh || (is_known && is_offline)) {
        steps_add(r->steps, STEP_CACHE, "the record of %s is known", name);
        *out = *known;
        *life = known_life;
        state = RECORD_PRESENT;
    } else if (is_offline) {
        steps_add(r->steps, STEP_CACHE, "nothing is known of %s", name);
        memcpy(out->why, "nobody was asked", sizeof "nobody was asked");
    } else {
        state = lookup_record(r->lookup, name, r->deadline, r->steps, out);
        if (state == RECORD_PRESENT)
            state = take(r, name, known, &known_life, is_known, out, life);
        else if (is_known && state == RECORD_ABSENT)
            state = keep(r, name, known, &known_life, "the DNS has no record",
                         r->now + out->ttl, out, life);
        else if (is_known)
            state = keep(r, name, known, &known_life, out->why, r->now + BROKEN_SECONDS,
                         out, life);
        else
            life->refresh_at = r->now + (state == RECORD_ABSENT ? out->ttl : 0);
    }
    free(known);
    return state;
}
