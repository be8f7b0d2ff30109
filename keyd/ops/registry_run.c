/* RegistryBackup, RegistryRestore, AuditDrop: the vault's halves. */
#include "quorum.h"

#include <sodium.h>

/* --- backup: the ledger does it, this decides and records that it was asked for --- */

static void
tell_backup(struct task *t, const struct kd_told_backup *m)
{
    struct kd_backup_done done = {.state = m->state,
                                  .reason = m->failed,
                                  .pages = m->pages,
                                  .total = m->total,
                                  .seq = m->seq,
                                  .size = m->size};

    memcpy(done.hash, m->hash, sizeof done.hash);
    kd_backup_done_put(&t->reply, &done);
}

static void
backup_told(struct vault *v, struct task *t)
{
    struct kd_told_backup m;

    if (kd_told_backup_get(t->told, &m) != KD_OK || m.err > KD_FAILED ||
        m.reason >= KD_REASON_COUNT || m.failed >= KD_REASON_COUNT) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    if (m.err != KD_OK) {
        task_finish(v, t, (kd_err)m.err, m.reason);
        return;
    }
    tell_backup(t, &m);
    if (m.is_new == 0) {
        task_finish(v, t, KD_OK, 0);
        return;
    }
    run_commit_bare(v, t, KD_AUDIT_BACKUP);
}

void
run_registry_backup(struct vault *v, struct task *t)
{
    struct kd_backup_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_backup_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    if (v->state == VAULT_STARTING || v->state == VAULT_FAILED) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    struct kd_ask_backup m = {.tag = t->tag, .poll = job.poll, .name = job.name};
    kd_ask_backup_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_backup, backup_told);
}

/* --- restore: an older or other registry is taken for good --- */

static void
tell_restored(struct vault *v, struct task *t, uint64_t epoch, uint64_t seq)
{
    struct kd_restore_done m = {.epoch = epoch, .seq = seq};
    struct vault_facts facts;

    vault_facts(v, &facts);
    m.state = (uint8_t)vault_state_of(&facts);
    kd_restore_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

static void
restore_recorded(struct vault *v, struct task *t)
{
    uint64_t seq = v->chain.first - 1;

    if (t->err != KD_OK) {
        task_finish(v, t, t->err, 0);
        return;
    }
    if (v->store_found != 0)
        v->store_recorded = v->store_found;
    v->store_found = 0;
    v->standing = KD_STANDS_WELL;
    v->outside.n = 0; /* of the branch that was set aside */
    v->checkpoint_due = 0;
    vault_event(v, EVENT_REGISTRY_ACCEPTED, v->chain.epoch, seq);
    vault_open(v);
    tell_restored(v, t, v->chain.epoch, seq);
}

static void
put_why(const struct vault *v, struct kd_audit_record *record)
{
    static const uint32_t notes[KD_STANDS_COUNT] = {
        [KD_STANDS_BEHIND] = KD_NOTE_BEHIND,
        [KD_STANDS_FORKED] = KD_NOTE_FORKED,
        [KD_STANDS_MISSING] = KD_NOTE_NO_CHECKPOINT,
        [KD_STANDS_UNREADABLE] = KD_NOTE_NO_CHECKPOINT,
    };

    record->notes |= notes[v->standing];
    if (v->outside.seq <= INT64_MAX)
        record->about_seq = v->outside.seq;
    if (v->outside.n != 0) {
        record->n_digests = 1;
        crypto_hash_sha256(record->digests[0], v->outside.octets, v->outside.n);
    }
    if (v->store_found != 0) {
        record->notes |= KD_NOTE_KEYSTORE_OTHER;
        record->keystore_generation = v->store_found;
        crypto_hash_sha256(record->keystore_sha256, v->store, v->store_size);
    }
}

/* What the operators gave while nothing could be recorded. */
static void
record_approvals(struct vault *v, const uint8_t id[KD_APPROVAL_ID_SIZE])
{
    const struct kd_pending *p = kd_pending_find(&v->approvals.pendings, id);

    for (size_t i = 0; p != NULL && p->running && i < v->approvals.quorum.n; i++) {
        struct kd_audit_record record = {
            .op = KD_AUDIT_APPROVE,
            .class = KD_AUDIT_CLASS_ADMIN,
            .outcome = KD_OUTCOME_DONE,
            .n_digests = 1,
        };
        struct run_names names;
        if ((p->given >> i & 1) == 0)
            continue;
        int n = snprintf(names.principal, sizeof names.principal, "op:%s",
                         v->approvals.quorum.operators[i].name);
        record.principal = kd_slice(names.principal, (size_t)n);
        memcpy(record.digests[0], p->digest, sizeof record.digests[0]);
        kd_err err = chain_append(v, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, NULL);
        if (err != KD_OK)
            vault_event(v, EVENT_PEER_MALFORMED, KD_CLASS_COUNT, err);
    }
}

/* The one record that is made while the vault is held. Sent again and again until the
 * ledger has it, as every record is. */
static void
restore_fresh(struct vault *v, struct task *t)
{
    struct kd_audit_record record;
    struct run_names names;
    uint8_t id[KD_APPROVAL_ID_SIZE];
    bool approved = t->admission == ADMITTED_APPROVED;

    if (!vault_is_held(v) || v->chain.accepts) {
        task_finish(v, t, KD_CONFLICT, KD_REASON_NOT_HELD);
        return;
    }
    run_record(&record, &names, v, t, KD_AUDIT_RESTORE, kd_slice(NULL, 0));
    put_why(v, &record);
    memcpy(id, t->approval_id, sizeof id);
    chain_fence(v);
    v->chain.accepts = true;
    task_commit(v, t, &record, KD_ROW_RESTORE, kd_slice(NULL, 0), -1, restore_recorded);
    if (approved) /* if it failed, the request does not run any more */
        record_approvals(v, id);
    v->chain.accepts = false;
}

static void
restore_again(struct vault *v, struct task *t, struct kd_slice octets)
{
    struct kd_audit_record record;

    if (kd_audit_decode(octets, &record) != KD_OK || record.op != KD_AUDIT_RESTORE)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
    else
        tell_restored(v, t, record.epoch, record.seq);
}

static bool
is_head(const struct vault *v, const struct kd_restore_job *job)
{
    return job->seq == v->chain.next - 1 &&
           memcmp(job->hash, v->chain.head, sizeof job->hash) == 0;
}

/* Of a request that is repeated after it was done the head is another by now: so the
 * key is looked up first. */
static void
restore_if_head(struct vault *v, struct task *t)
{
    struct kd_restore_job job;

    if (kd_restore_job_get(t->body, &job) != KD_OK)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (!vault_is_held(v))
        task_finish(v, t, KD_CONFLICT, KD_REASON_NOT_HELD);
    else if (!is_head(v, &job))
        task_finish(v, t, KD_CONFLICT, KD_REASON_OTHER_HEAD);
    else
        restore_fresh(v, t);
}

/* What is accepted: everything up to this record, and nothing that came after it. */
bool
describe_registry_restore(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_restore_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return false;
    if (kd_restore_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (v->ledger_phase != LEDGER_READY)
        return describe_refuse(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    char why[KD_REASON_NAME_MAX] = "not-held";
    if (vault_is_held(v))
        kd_fact_text(text, "because", kd_reason_name(run_held(v), why));
    kd_fact_number(text, "last-record", job.seq);
    kd_fact_hex(text, "record-hash", kd_slice(job.hash, sizeof job.hash));
    if (v->outside.n != 0)
        kd_fact_number(text, "known-outside", v->outside.seq);
    if (v->store_found != 0)
        kd_fact_number(text, "key-store-generation", v->store_found);
    return true;
}

void
run_registry_restore(struct vault *v, struct task *t)
{
    struct kd_restore_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_restore_job_get(t->body, &job) != KD_OK)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (v->ledger_phase != LEDGER_READY)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        run_once(v, t, restore_if_head, restore_again);
}

/* --- drop: exported records go --- */

static void
tell_dropped(struct vault *v, struct task *t, uint64_t through)
{
    struct kd_drop_done m = {.first = through + 1};

    kd_drop_done_put(&t->reply, &m);
    task_finish(v, t, KD_OK, 0);
}

static void
drop_recorded(struct vault *v, struct task *t)
{
    struct kd_drop_job job;

    if (t->err != KD_OK || kd_drop_job_get(t->body, &job) != KD_OK)
        task_finish(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_LAST_SEGMENT : 0);
    else
        tell_dropped(v, t, job.through);
}

/* The checkpoint must be by our own key: what is left of the log begins there. */
static bool
is_ours(const struct vault *v, struct kd_slice octets, uint64_t through)
{
    struct kd_checkpoint c;

    return v->has_audit && kd_checkpoint_verify(octets, v->audit_key, &c) == KD_OK &&
           c.seq == through &&
           memcmp(c.instance, v->chain.instance, sizeof c.instance) == 0;
}

static void
drop_told(struct vault *v, struct task *t)
{
    struct kd_audit_record record;
    struct kd_told_drop m;
    struct kd_drop_job job;
    struct run_names names;

    if (kd_told_drop_get(t->told, &m) != KD_OK || m.err > KD_FAILED ||
        m.reason >= KD_REASON_COUNT || kd_drop_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
        return;
    }
    if (m.err != KD_OK) {
        task_finish(v, t, (kd_err)m.err, m.reason);
        return;
    }
    if (!is_ours(v, m.checkpoint, job.through)) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    run_record(&record, &names, v, t, KD_AUDIT_DROP, kd_slice(NULL, 0));
    record.about_seq = job.through;
    record.n_digests = 2;
    memcpy(record.digests[0], job.segment, sizeof record.digests[0]);
    crypto_hash_sha256(record.digests[1], m.checkpoint.p, m.checkpoint.n);
    task_commit(v, t, &record, KD_ROW_DROP, kd_slice(NULL, 0), -1, drop_recorded);
}

static void
drop_fresh(struct vault *v, struct task *t)
{
    struct kd_ask_drop m = {.tag = t->tag};
    struct kd_drop_job job;

    if (kd_drop_job_get(t->body, &job) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    m.through = job.through;
    memcpy(m.segment, job.segment, sizeof m.segment);
    kd_buf_reset(&t->ask);
    kd_ask_drop_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_drop, drop_told);
}

static void
drop_again(struct vault *v, struct task *t, struct kd_slice octets)
{
    struct kd_audit_record record;

    if (kd_audit_decode(octets, &record) != KD_OK || record.op != KD_AUDIT_DROP)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
    else
        tell_dropped(v, t, record.about_seq);
}

bool
describe_audit_drop(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_drop_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return false;
    if (kd_drop_job_get(t->body, &job) != KD_OK || job.through > INT64_MAX)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    kd_fact_number(text, "through-record", job.through);
    kd_fact_hex(text, "segment", kd_slice(job.segment, sizeof job.segment));
    return true;
}

void
run_audit_drop(struct vault *v, struct task *t)
{
    struct kd_drop_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (kd_drop_job_get(t->body, &job) != KD_OK || job.through > INT64_MAX)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (v->state == VAULT_STARTING || v->state == VAULT_FAILED)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        run_once(v, t, drop_fresh, drop_again);
}
