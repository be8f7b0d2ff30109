#include "asking.h"

enum { AGAIN_SECONDS = 300 }; /* while a host cannot be asked */

void
pinned_get(struct asking *a, const char *name, enum dime_kind kind, struct pinned *out)
{
    enum dime_reason why;

    *out = (struct pinned){.is_there = false};
    if (a->store == NULL)
        return;
    kd_err err = store_signet_get(a->store, name, &out->row);
    if (err == KD_NOT_FOUND)
        return;
    if (err != KD_OK) {
        steps_warn(a->steps, STEP_RING, "the ring cannot be read: %s",
                   kd_err_text(err));
        return;
    }
    struct kd_slice octets = kd_buf_slice(&out->row.octets);
    out->is_there =
        dime_signet_parse_as(kind, octets, &out->signet, &why) == KD_OK &&
        dime_fingerprint(&out->signet, DIME_PART_CORE, out->core) == KD_OK &&
        dime_fingerprint(&out->signet, DIME_PART_FULL, out->full) == KD_OK;
    if (!out->is_there)
        steps_alarm(a->steps, STEP_RING, "what the ring has of it is no signet");
}

void
pinned_free(struct pinned *p)
{
    kd_buf_free(&p->row.octets);
    p->is_there = false;
}

void
pinned_put(struct asking *a, const char *name, const struct dime_signet *signet,
           bool is_accepted)
{
    uint8_t core[DIME_FINGERPRINT_SIZE], full[DIME_FINGERPRINT_SIZE];
    kd_err err = KD_OK;

    if (a->store == NULL)
        return;
    if (dime_fingerprint(signet, DIME_PART_CORE, core) != KD_OK ||
        dime_fingerprint(signet, DIME_PART_FULL, full) != KD_OK)
        err = KD_INVALID;
    else
        err = store_signet_put(a->store, name, signet->raw, core, full, is_accepted,
                               a->now);
    if (err != KD_OK)
        steps_alarm(a->steps, STEP_RING, "the ring cannot be written: %s",
                    kd_err_text(err));
}

enum dime_outcome
pinned_use(const struct pinned *p, struct kd_buf *octets, int64_t *fresh_until,
           int64_t until)
{
    kd_buf_reset(octets);
    kd_buf_put(octets, kd_buf_slice(&p->row.octets));
    *fresh_until = until;
    return octets->err == KD_OK ? DIME_IS_DARK : DIME_IS_UNREACHABLE;
}

enum dime_outcome
pinned_serves(struct asking *a, const struct pinned *p, int64_t lifetime,
              enum dime_outcome otherwise, struct kd_buf *octets, int64_t *fresh_until)
{
    if (!p->is_there)
        return otherwise;
    if (freshness_of(p->row.confirmed_at, lifetime, a->conf->grace, a->now) ==
        FRESH_STALE) {
        steps_warn(a->steps, STEP_VERIFY,
                   "the signet of the ring was not confirmed for too long");
        return DIME_IS_STALE;
    }
    steps_warn(a->steps, STEP_VERIFY,
               "not confirmed now: the signet of the ring serves");
    return pinned_use(p, octets, fresh_until, a->now + AGAIN_SECONDS);
}

enum dime_outcome
tell_fault(struct asking *a, enum step_code code, const struct validate_why *why)
{
    const char *more = why->reason == DIME_FINE ? "" : dime_reason_text(why->reason);

    if (why->fault == VALIDATE_UNBOUND) {
        steps_warn(a->steps, code, "%s", validate_text(why->fault));
        return DIME_IS_UNBOUND;
    }
    steps_alarm(a->steps, code, "%s%s%s", validate_text(why->fault),
                more[0] == '\0' ? "" : ": ", more);
    return DIME_IS_UNTRUSTED;
}
