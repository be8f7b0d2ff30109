/* The signet of a domain: fetched from its own hosts, believed by the primary keys of
 * its record (RS-5 to RS-7). */
#include "asking.h"

enum { HELD_SECONDS = 3600 }; /* a key that is waited for is looked at again */

/* The old one is kept: by its own key, which the record has no more. */
static enum dime_outcome
keep_old(struct asking *a, const struct pinned *old, const struct hold *hold,
         struct kd_buf *octets, int64_t *fresh_until)
{
    steps_alarm(
        a->steps, STEP_HOLD,
        "the primary key changed, without DNSSEC and without the old key: the old "
        "one is kept for %lld more seconds (seen %u times)",
        (long long)hold_left(hold, a->now), (unsigned)hold->times);
    return pinned_use(old, octets, fresh_until, a->now + HELD_SECONDS);
}

/* Whether the new signet takes the old one's place (D-076). */
static bool
is_taken(struct asking *a, const struct pinned *old, const struct dime_signet *signet,
         struct hold *hold)
{
    *hold = (struct hold){.times = 0};
    if (a->store != NULL && store_hold_get(a->store, a->supplier, hold) != KD_OK)
        *hold = (struct hold){.times = 0};
    enum hold_verdict v =
        hold_judge(hold, old->signet.sign_key, a->record, a->is_secure, signet, a->now);
    if (v == HOLD_SECURE)
        steps_alarm(a->steps, STEP_HOLD,
                    "the primary key changed without the old key; DNSSEC says so");
    else if (v == HOLD_OVER)
        steps_alarm(a->steps, STEP_HOLD,
                    "a new primary key is taken after %u sightings over a day, without "
                    "DNSSEC and without the old key",
                    (unsigned)hold->times);
    else if (v == HOLD_LISTED && !a->is_secure)
        steps_warn(a->steps, STEP_HOLD,
                   "a new primary key; the old one is listed beside it, which nobody "
                   "signed: there is no DNSSEC");
    else if (v == HOLD_LISTED)
        steps_add(a->steps, STEP_HOLD, "a new primary key; the old one is listed, too");
    if (a->store == NULL)
        return v != HOLD_HELD;
    kd_err err = v == HOLD_HELD ? store_hold_put(a->store, a->supplier, hold)
                                : store_hold_forget(a->store, a->supplier);
    if (err != KD_OK && err != KD_NOT_FOUND)
        steps_alarm(a->steps, STEP_RING, "the ring cannot be written: %s",
                    kd_err_text(err));
    return v != HOLD_HELD;
}

/* What a host sent. */
static enum dime_outcome
judge(struct asking *a, const struct pinned *old, struct kd_slice sent,
      struct kd_buf *octets, int64_t *fresh_until)
{
    struct dime_signet signet;
    struct validate_why why;
    struct hold hold;
    kd_err err = validate_org(sent, a->supplier, a->record, &signet, &why);

    if (err == KD_OK && a->fingerprint != NULL && strcmp(a->name, a->supplier) == 0)
        err = validate_fingerprint(&signet, a->fingerprint, &why);
    if (err != KD_OK)
        return tell_fault(a, STEP_ORG_SIGNET, &why);
    if (old->is_there && !is_taken(a, old, &signet, &hold)) {
        witness_ask(a, &signet); /* D-076: while it is waited, others are asked */
        return keep_old(a, old, &hold, octets, fresh_until);
    }
    steps_add(a->steps, STEP_ORG_SIGNET, "valid under a primary key of the record");
    pinned_put(a, a->supplier, &signet, false);
    kd_buf_reset(octets);
    kd_buf_put(octets, sent);
    *fresh_until = a->now + a->conf->org_lifetime;
    return octets->err == KD_OK ? DIME_IS_DARK : DIME_IS_UNREACHABLE;
}

static enum dime_outcome
of_reply(struct asking *a, const struct pinned *old, const struct dmtp_reply *reply,
         struct kd_buf *octets, int64_t *fresh_until)
{
    if (reply->code == 271 && old->is_there) {
        steps_add(a->steps, STEP_VERIFY, "the organizational signet is current");
        if (a->store != NULL &&
            store_signet_confirm(a->store, a->supplier, a->now) != KD_OK)
            steps_warn(a->steps, STEP_RING, "that could not be written down");
        return pinned_use(old, octets, fresh_until, a->now + a->conf->org_lifetime);
    }
    if (reply->code == 270)
        return judge(a, old, reply->signet, octets, fresh_until);
    steps_warn(a->steps, STEP_ORG_SIGNET, "the host has none of its domain (%u)",
               reply->code);
    return DIME_IS_UNREACHABLE;
}

/* By VRFY where one is known that the record still speaks for. */
static enum dime_outcome
ask_host(struct asking *a, const struct pinned *old, bool is_valid,
         struct kd_buf *octets, int64_t *fresh_until)
{
    const struct session_question q = {is_valid ? SESSION_VRFY : SESSION_SGNT,
                                       a->supplier, is_valid ? old->full : NULL};
    struct dmtp_reply reply;
    enum session_end end = session_ask(a->session, &q, &reply);

    if (end != SESSION_ANSWERED)
        return session_outcome(end);
    return of_reply(a, old, &reply, octets, fresh_until);
}

enum dime_outcome
org_find(struct asking *a, struct kd_buf *octets, int64_t *fresh_until)
{
    struct pinned old;
    struct dime_signet again;
    struct validate_why why;
    enum dime_outcome out;

    pinned_get(a, a->supplier, DIME_ORG, &old);
    bool is_valid =
        old.is_there && validate_org(kd_buf_slice(&old.row.octets), a->supplier,
                                     a->record, &again, &why) == KD_OK;
    if (is_valid && (a->flags & DIME_QUERY_FRESH) == 0 &&
        freshness_of(old.row.confirmed_at, a->conf->org_lifetime, a->conf->grace,
                     a->now) == FRESH) {
        steps_add(a->steps, STEP_ORG_SIGNET, "from the ring");
        out = pinned_use(&old, octets, fresh_until,
                         old.row.confirmed_at + a->conf->org_lifetime);
    } else if (!may_ask(a)) {
        out = is_valid ? pinned_serves(a, &old, a->conf->org_lifetime,
                                       DIME_IS_UNREACHABLE, octets, fresh_until)
                       : DIME_IS_UNREACHABLE;
    } else {
        out = ask_host(a, &old, is_valid, octets, fresh_until);
        if (is_valid && (out == DIME_IS_UNREACHABLE || out == DIME_IS_NO_TIME))
            out =
                pinned_serves(a, &old, a->conf->org_lifetime, out, octets, fresh_until);
    }
    pinned_free(&old);
    return out;
}
