/* An audit log checked record by record: sequence, hashes, epochs and time by the
 * chain, and what no chain can show, by the checkpoints that the vault signed. */
#include "keydctl_log.h"

#include <sodium.h>

static kd_err
broken(struct audit_check *c, uint64_t at, const char *why)
{
    c->broken_at = at;
    c->why = why;
    return KD_INVALID;
}

static kd_err
verify_by_any(const struct audit_check *c, struct kd_slice octets,
              struct kd_checkpoint *out)
{
    for (size_t i = 0; i < c->n_keys; i++)
        if (kd_checkpoint_verify(octets, c->keys[i], out) == KD_OK)
            return KD_OK;
    return KD_INVALID;
}

kd_err
audit_check_keep(struct audit_check *c, struct kd_slice octets)
{
    if (verify_by_any(c, octets, &c->kept) != KD_OK)
        return KD_INVALID;
    c->has_kept = true;
    return KD_OK;
}

kd_err
audit_check_base(struct audit_check *c, struct kd_slice octets)
{
    if (verify_by_any(c, octets, &c->base) != KD_OK)
        return KD_INVALID;
    c->has_base = true;
    return KD_OK;
}

/* The chain starts where the first record says; that it is the first of all, or comes
 * after records that were checked before, is for the caller to know. */
static kd_err
begin(struct audit_check *c, struct kd_slice octets)
{
    struct kd_audit_record record;
    static const uint8_t none[KD_SHA256_SIZE];

    if (kd_audit_decode(octets, &record) != KD_OK)
        return broken(c, 0, "the first record is not an audit record");
    if (record.seq == 1 && memcmp(record.prev, none, sizeof none) != 0)
        return broken(c, 1, "the first record names a record before it");
    if (c->has_base && record.seq == c->base.seq + 1 &&
        (memcmp(record.prev, c->base.hash, sizeof record.prev) != 0 ||
         memcmp(record.instance, c->base.instance, sizeof record.instance) != 0))
        return broken(c, record.seq,
                      "it does not follow the record that was dropped last");
    struct kd_audit_tail tail = {
        .epoch = record.epoch, .seq = record.seq - 1, .time_ms = record.time_ms};
    memcpy(tail.instance, record.instance, sizeof tail.instance);
    memcpy(tail.hash, record.prev, sizeof tail.hash);
    c->chain = kd_chain_after(&tail);
    c->first = record.seq;
    c->n_epochs = 1;
    c->begun = true;
    return KD_OK;
}

/* A checkpoint leaves a record of its own behind it, which names what was signed: one
 * cannot be taken away from the log unnoticed. */
static bool
has_its_checkpoint(const struct audit_check *c, const struct kd_audit_record *record)
{
    return record->seq == c->first || /* it lies before the part that is looked at */
           (c->covered == record->seq - 1 && record->n_digests == 1 &&
            memcmp(record->digests[0], c->last_signed, sizeof c->last_signed) == 0);
}

kd_err
audit_check_record(struct audit_check *c, struct kd_slice octets)
{
    struct kd_audit_record record;
    kd_err err;

    if (!c->begun && (err = begin(c, octets)) != KD_OK)
        return err;
    uint64_t seq = c->chain.tail.seq + 1, epoch = c->chain.tail.epoch;
    if (kd_chain_feed(&c->chain, octets, &record) != KD_OK)
        return broken(c, seq, c->chain.why);
    if (record.op == KD_AUDIT_CHECKPOINT && record.outcome == KD_OUTCOME_DONE &&
        !has_its_checkpoint(c, &record))
        return broken(c, seq, "the checkpoint that this record is about is missing");
    if (record.epoch != epoch)
        c->n_epochs++;
    c->n_records++;
    if (c->has_kept && seq == c->kept.seq &&
        memcmp(c->kept.hash, c->chain.tail.hash, sizeof c->kept.hash) != 0)
        return broken(c, seq, "not the record that the kept checkpoint was signed for");
    return KD_OK;
}

kd_err
audit_check_end(struct audit_check *c)
{
    const struct kd_audit_tail *tail = &c->chain.tail;

    if (!c->has_kept)
        return KD_OK;
    if (!c->begun || c->kept.seq > tail->seq)
        return broken(c, c->begun ? tail->seq + 1 : 1,
                      "the log ends before the record of the kept checkpoint");
    if (memcmp(c->kept.instance, tail->instance, sizeof tail->instance) != 0)
        return broken(c, c->first, "the kept checkpoint is of another registry");
    if (c->kept.seq < c->first)
        return broken(c, c->first,
                      "it begins behind the record of the kept checkpoint");
    return KD_OK;
}

kd_err
audit_check_checkpoint(struct audit_check *c, struct kd_slice octets)
{
    const struct kd_audit_tail *tail = &c->chain.tail;
    struct kd_checkpoint point;

    if (!c->begun)
        return broken(c, 0, "a checkpoint without a record before it");
    if (verify_by_any(c, octets, &point) != KD_OK)
        return broken(c, tail->seq, "a checkpoint that the audit key did not sign");
    if (memcmp(point.instance, tail->instance, sizeof point.instance) != 0)
        return broken(c, tail->seq, "a checkpoint of another registry");
    if (point.seq != tail->seq)
        return broken(c, tail->seq, "a checkpoint out of its place");
    if (memcmp(point.hash, tail->hash, sizeof point.hash) != 0)
        return broken(c, tail->seq,
                      "not the record that the checkpoint was signed for");
    crypto_hash_sha256(c->last_signed, octets.p, octets.n - KD_CHECKPOINT_SIG_SIZE);
    c->covered = point.seq;
    c->n_checkpoints++;
    return KD_OK;
}
