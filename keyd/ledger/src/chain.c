#include <keyd/ledger/audit.h>

struct kd_chain
kd_chain_after(const struct kd_audit_tail *tail)
{
    return (struct kd_chain){.tail = *tail};
}

/* What is wrong with r as the record after the tail; NULL if nothing is. */
static const char *
objection(const struct kd_audit_tail *tail, const struct kd_audit_record *r)
{
    if (memcmp(r->instance, tail->instance, sizeof r->instance) != 0)
        return "record of another registry";
    if (r->seq <= tail->seq)
        return "sequence number again";
    if (r->seq - tail->seq != 1)
        return "gap in the sequence";
    if (memcmp(r->prev, tail->hash, sizeof r->prev) != 0)
        return "hash of the record before differs";
    if (r->epoch < tail->epoch)
        return "epoch went back";
    if (r->time_ms < tail->time_ms &&
        tail->time_ms - r->time_ms > KD_AUDIT_CLOCK_BACK_MS)
        return "time went back";
    return NULL;
}

kd_err
kd_chain_feed(struct kd_chain *chain, struct kd_slice octets,
              struct kd_audit_record *record)
{
    struct kd_audit_record r;
    struct kd_audit_tail *tail = &chain->tail;

    if (kd_audit_decode(octets, &r) != KD_OK) {
        chain->why = "record does not parse";
        return KD_MALFORMED;
    }
    chain->why = objection(tail, &r);
    if (chain->why != NULL)
        return KD_INVALID;
    tail->epoch = r.epoch;
    tail->seq = r.seq;
    if (r.time_ms > tail->time_ms)
        tail->time_ms = r.time_ms;
    kd_audit_hash(octets, tail->hash);
    if (record != NULL)
        *record = r;
    return KD_OK;
}
