/* RegistryBackup, RegistryRestore, AuditDrop: the gate's halves. */
#include "rpc.h"

#include <keyd/job/reasons.h>
#include <keyd/job/state.h>

static kd_err
pack_backup(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
            struct ask *ask)
{
    struct kd_backup_job m = {.poll = r->registry_backup->poll != 0,
                              .name = kd_rpc_slice(r->registry_backup->name)};

    (void)tag;
    (void)ask;
    kd_backup_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_backup(struct kd_slice body, struct answer *a)
{
    struct kd_backup_done m;
    kd_err err = kd_backup_done_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.state == KD_COPY_NONE || m.state > KD_COPY_FAILED)
        return KD_MALFORMED;
    Keyd__V1__RegistryBackupResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_REGISTRY_BACKUP);
    out->state = (Keyd__V1__BackupState)m.state; /* they count alike */
    out->pages = m.pages;
    out->pages_total = m.total;
    if (m.state == KD_COPY_DONE) {
        memcpy(a->fps[0], m.hash, sizeof m.hash);
        out->seq = m.seq;
        out->record_hash = kd_rpc_data(kd_slice(a->fps[0], sizeof m.hash));
        out->size = m.size;
    }
    if (m.state == KD_COPY_FAILED)
        out->reason = kd_rpc_data(kd_slice_str(kd_reason_name(m.reason, a->word)));
    return KD_OK;
}

const struct op_rpc op_rpc_registry_backup = {
    .op = KD_OP_RegistryBackup, .pack = pack_backup, .unpack = unpack_backup};

static kd_err
pack_restore(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
             struct ask *ask)
{
    struct kd_restore_job m = {.seq = r->registry_restore->seq};

    (void)tag;
    (void)ask;
    /* Its size is checked: 32. */
    memcpy(m.hash, r->registry_restore->record_hash.data, sizeof m.hash);
    kd_restore_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_restore(struct kd_slice body, struct answer *a)
{
    struct kd_restore_done m;
    kd_err err = kd_restore_done_get(body, &m);

    if (err != KD_OK)
        return err;
    if (m.state < KD_SERVICE_UNPROVISIONED || m.state > KD_SERVICE_STARTING)
        return KD_MALFORMED;
    Keyd__V1__RegistryRestoreResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_REGISTRY_RESTORE);
    out->epoch = m.epoch;
    out->seq = m.seq;
    out->state = (Keyd__V1__ServiceState)m.state;
    return KD_OK;
}

const struct op_rpc op_rpc_registry_restore = {
    .op = KD_OP_RegistryRestore, .pack = pack_restore, .unpack = unpack_restore};

static kd_err
pack_drop(const Keyd__V1__Request *r, uint64_t tag, struct kd_buf *body,
          struct ask *ask)
{
    struct kd_drop_job m = {.through = r->audit_drop->through_seq};

    (void)tag;
    (void)ask;
    /* Its size is checked: 32. */
    memcpy(m.segment, r->audit_drop->segment_hash.data, sizeof m.segment);
    kd_drop_job_put(body, &m);
    return body->err;
}

static kd_err
unpack_drop(struct kd_slice body, struct answer *a)
{
    struct kd_drop_done m;
    kd_err err = kd_drop_done_get(body, &m);

    if (err != KD_OK)
        return err;
    Keyd__V1__AuditDropResult *out =
        rpc_result(a, KEYD__V1__RESPONSE__RESULT_AUDIT_DROP);
    out->first_seq = m.first;
    return KD_OK;
}

const struct op_rpc op_rpc_audit_drop = {
    .op = KD_OP_AuditDrop, .pack = pack_drop, .unpack = unpack_drop};
