#include "run.h"
#include "quorum.h"

#include <dime/display.h>
#include <dime/info.h>
#include <dime/signet.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>

enum { INFO_MAX = DIME_FIELDS_MAX - 1024 };

static const struct {
    enum kd_op op;
    task_step start;
} runs[] = {
    {KD_OP_IssueUserSignet, run_issue_user_signet},
    {KD_OP_IssueOrgSignet, run_issue_org_signet},
    {KD_OP_FreezeAddress, run_freeze_address},
    {KD_OP_ResetAddress, run_reset_address},
    {KD_OP_StopPrincipal, run_stop_principal},
    {KD_OP_SignOutbound, run_sign_outbound},
    {KD_OP_OpenEnvelope, run_open_envelope},
    {KD_OP_OpenBounce, run_open_bounce},
    {KD_OP_MakeBounce, run_make_bounce},
    {KD_OP_SealNaked, run_seal_naked},
    {KD_OP_Status, run_status},
    {KD_OP_PublicKeys, run_public_keys},
    {KD_OP_TokenInit, run_token_init},
    {KD_OP_AddUnsealSlot, run_add_unseal_slot},
    {KD_OP_Unseal, run_unseal},
    {KD_OP_Seal, run_seal},
    {KD_OP_GenerateKey, run_generate_key},
    {KD_OP_RetireKey, run_retire_key},
    {KD_OP_ImportKey, run_import_key},
    {KD_OP_SetQuorum, run_set_quorum},
    {KD_OP_ApprovalList, run_approval_list},
    {KD_OP_ApprovalShow, run_approval_show},
    {KD_OP_ApprovalSign, run_approval_sign},
    {KD_OP_PolicyExplain, run_policy_explain},
    {KD_OP_RegistryBackup, run_registry_backup},
    {KD_OP_RegistryRestore, run_registry_restore},
    {KD_OP_AuditDrop, run_audit_drop},
    {KD_OP_Reload, run_reload},
    {KD_OP_Drain, run_drain},
    {KD_OP_TokenList, run_token_list},
    {KD_OP_TokenDoctor, run_token_doctor},
    {KD_OP_TokenAdopt, run_token_adopt},
    {KD_OP_AttachKey, run_attach_key},
    {KD_OP_SignTlsRecord, run_sign_tls_record},
};

void
run_refuse_sealed(struct vault *v, struct task *t)
{
    if (v->state == VAULT_STARTING || v->opens_itself)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STARTING);
    else if (v->state == VAULT_UNPROVISIONED)
        task_finish(v, t, KD_SEALED, KD_REASON_NOT_INITIALISED);
    else
        task_finish(v, t, KD_SEALED, KD_REASON_SEALED);
}

enum kd_reason
run_held(const struct vault *v)
{
    static const enum kd_reason reasons[KD_STANDS_COUNT] = {
        [KD_STANDS_BEHIND] = KD_REASON_REGISTRY_BEHIND,
        [KD_STANDS_FORKED] = KD_REASON_REGISTRY_FORKED,
        [KD_STANDS_MISSING] = KD_REASON_CHECKPOINT_MISSING,
        [KD_STANDS_UNREADABLE] = KD_REASON_CHECKPOINT_UNREADABLE,
        [KD_STANDS_KEYSTORE] = KD_REASON_KEYSTORE_OTHER,
    };

    return reasons[v->standing];
}

bool
run_may_be_recorded(struct vault *v, struct task *t)
{
    const unsigned wanting = KD_HEALTH_DISK_LOW | KD_HEALTH_OUTSIDE_OVERDUE;
    unsigned flags = kd_op_flags(t->op);

    if (t->only_looks)
        return true;
    if (vault_is_held(v) && (flags & (KD_OPF_EVERYONE | KD_OPF_RESCUE)) == 0) {
        task_finish(v, t, KD_UNAVAILABLE, (uint16_t)run_held(v));
        return false;
    }
    if (kd_op_is_recorded(t->op) && (flags & (KD_OPF_RESCUE | KD_OPF_FREES)) == 0 &&
        (v->health.flags & wanting) != 0) {
        task_finish(v, t, KD_UNAVAILABLE,
                    (v->health.flags & KD_HEALTH_DISK_LOW) != 0
                        ? KD_REASON_DISK_FULL
                        : KD_REASON_CHECKPOINT_OVERDUE);
        return false;
    }
    return true;
}

void
run_start(struct vault *v, struct task *t)
{
    if (!task_is_internal(t) && stops_has(v, t->conf, &t->caller)) {
        task_finish(v, t, KD_DENIED, KD_REASON_PRINCIPAL_STOPPED);
        return;
    }
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        if (runs[i].op == t->op) {
            quorum_start(v, t, runs[i].start);
            return;
        }
    }
    task_finish(v, t, KD_UNSUPPORTED, 0);
}

/* After policy, so that nobody uses up what he may not have, and before any work. */
static bool
is_within_quota(struct vault *v, struct task *t, const struct kd_quota_match *match)
{
    /* What takes a quorum is looked at when it is described and when it is done. */
    if (t->is_counted)
        return true;
    kd_err err = kd_quota_take(&v->quotas, &t->conf->quotas, match, kd_clock_ns(),
                               &t->quota, &t->retry_ms);

    if (err == KD_OK) {
        t->is_counted = true;
        return true;
    }
    task_finish(v, t, err, KD_REASON_OVER_QUOTA);
    return false;
}

bool
run_allowed(struct vault *v, struct task *t, struct kd_slice domain)
{
    struct kd_quota_match match;
    bool allowed =
        task_is_internal(t) || kd_policy_decide(t->conf->is.policy, &t->caller, t->op,
                                                domain, &match) == KD_OK;

    if (!task_is_internal(t) && !t->is_watched) /* once a request */
        shadow_watch(v, t, domain, allowed);
    t->is_watched = true;
    if (!allowed) {
        task_finish(v, t, KD_DENIED, KD_REASON_NOT_PERMITTED);
        return false;
    }
    if (!run_may_be_recorded(v, t))
        return false;
    if ((kd_op_flags(t->op) & KD_OPF_KEY) != 0 && v->token == NULL) {
        run_refuse_sealed(v, t);
        return false;
    }
    /* What would be recorded now would be recorded at a wrong time. */
    if (kd_op_is_recorded(t->op) && !t->only_looks &&
        chain_clock(&v->chain, NULL) != CLOCK_GOOD) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_CLOCK);
        return false;
    }
    return task_is_internal(t) || is_within_quota(v, t, &match);
}

kd_err
run_key_allowed(struct task *t, unsigned role, const uint8_t *id)
{
    if (task_is_internal(t) ||
        kd_policy_check_key(t->conf->is.policy, &t->caller, role, id) == KD_OK)
        return KD_OK;
    return run_refuse(t, KD_DENIED, KD_REASON_KEY_NOT_PERMITTED);
}

kd_err
run_active_key(struct task *t, struct kd_slice domain, const uint8_t id[16],
               enum kd_key_role role, struct kd_key_info *out)
{
    struct kd_key_id key;

    memcpy(key.octets, id, sizeof key.octets);
    kd_err err = run_key_allowed(t, role, id);
    if (err != KD_OK)
        return err;
    if (kd_token_get(t->vault->token, &key, out) != KD_OK)
        return run_refuse(t, KD_NOT_FOUND, KD_REASON_NO_SUCH_KEY);
    if (out->role != role ||
        !kd_slice_eq(kd_slice(out->domain, out->domain_size), domain))
        return run_refuse(t, KD_INVALID, KD_REASON_KEY_SPEC);
    if (out->state != KD_KEY_ACTIVE)
        return run_refuse(t, KD_CONFLICT, KD_REASON_KEY_STATE);
    return KD_OK;
}

kd_err
run_of_device(struct task *t, kd_err err)
{
    if (t->reason != 0)
        return err;
    switch ((int)err) {
    case KD_UNAVAILABLE:
        return run_refuse(t, err, KD_REASON_TOKEN_AWAY);
    case KD_BUSY:
        return run_refuse(t, err, KD_REASON_TOKEN_DRAINED);
    case KD_TIMEOUT:
        return run_refuse(t, err, KD_REASON_TOO_LATE);
    default:
        return err;
    }
}

bool
run_keys_usable(struct vault *v, struct task *t, const struct kd_key_id *ids, size_t n)
{
    enum { AGAIN_MS = 1000 };

    for (size_t i = 0; v->token != NULL && i < n; i++) {
        kd_err err = kd_token_usable(v->token, &ids[i]);
        if (err == KD_OK)
            continue;
        t->retry_ms = AGAIN_MS;
        enum kd_reason reason = err == KD_BUSY        ? KD_REASON_TOKEN_DRAINED
                                : err == KD_NOT_FOUND ? KD_REASON_KEY_NOT_THERE
                                                      : tokens_why_away(v, &ids[i]);
        task_finish(v, t, err == KD_BUSY ? KD_BUSY : KD_UNAVAILABLE, (uint16_t)reason);
        return false;
    }
    return true;
}

void
run_record(struct kd_audit_record *record, struct run_names *names,
           const struct vault *v, const struct task *t, enum kd_audit_op op,
           struct kd_slice domain)
{
    static const enum kd_audit_class classes[KD_CLASS_COUNT] = {
        [KD_CLASS_MTA] = KD_AUDIT_CLASS_MTA,
        [KD_CLASS_SUBMISSION] = KD_AUDIT_CLASS_SUBMISSION,
        [KD_CLASS_MILTER] = KD_AUDIT_CLASS_MILTER,
        [KD_CLASS_TLS] = KD_AUDIT_CLASS_TLS,
        [KD_CLASS_ADMIN] = KD_AUDIT_CLASS_ADMIN,
    };
    bool own = task_is_internal(t);
    bool remote = t->caller.klass == KD_CLASS_TLS;
    (void)v; /* all of it is the task's */
    int n = own      ? snprintf(names->principal, sizeof names->principal, "keyd")
            : remote ? snprintf(names->principal, sizeof names->principal, "tls:%.*s",
                                (int)t->caller.name.n, (const char *)t->remote)
                     : snprintf(names->principal, sizeof names->principal, "uid:%u",
                                t->caller.uid);

    *record = (struct kd_audit_record){
        .op = op,
        .class = own ? KD_AUDIT_CLASS_SELF : classes[t->caller.klass],
        .outcome = KD_OUTCOME_DONE,
        .principal = kd_slice(names->principal, (size_t)n),
        .domain = domain,
    };
    if (approvals_single_operator(v, t->conf) && t->caller.klass == KD_CLASS_ADMIN &&
        !own)
        record->notes |= KD_NOTE_SINGLE_OPERATOR;
    if (t->admission == ADMITTED_APPROVED) {
        record->notes |= KD_NOTE_QUORUM;
        record->has_approval = true;
        memcpy(record->approval, t->approval, sizeof record->approval);
    }
}

static void
bare_recorded(struct vault *v, struct task *t)
{
    task_finish(v, t, t->err, 0);
}

void
run_commit_bare(struct vault *v, struct task *t, enum kd_audit_op op)
{
    struct kd_audit_record record;
    struct run_names names;

    run_record(&record, &names, v, t, op, kd_slice(NULL, 0));
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, bare_recorded);
}

kd_err
run_refuse(struct task *t, kd_err err, enum kd_reason reason)
{
    t->reason = (uint16_t)reason;
    return err;
}

kd_err
run_refuse_dime(struct task *t, unsigned why)
{
    t->reason = (uint16_t)(KD_REASON_DIME + why);
    return dime_reason_err((enum dime_reason)why);
}

/* Appends field 252 from the descriptor. */
static kd_err
add_image(struct task *t, struct kd_buf *info)
{
    size_t size;

    if (t->fd < 0 || kd_memfd_check(t->fd, INFO_MAX - info->n - 4, &size) != KD_OK)
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    kd_buf_u8(info, DIME_FIELD_INFO_LAST);
    kd_buf_u24(info, (uint32_t)size);
    uint8_t *at = kd_buf_add(info, size);
    if (at == NULL)
        return info->err;
    kd_err err = kd_memfd_read(t->fd, 0, at, size);
    struct dime_png png;
    if (err == KD_OK && !dime_png(kd_slice(at, size), &png))
        err = run_refuse(t, KD_INVALID, KD_REASON_BAD_IMAGE);
    return err;
}

/* Keeps the fields that the configuration lets be added. */
static void
keep_allowed(enum dime_kind kind, const uint8_t *allowed, struct kd_slice stream,
             struct kd_buf *out)
{
    struct dime_walk w;
    struct dime_field f;

    dime_walk_info(&w, kind, stream);
    while (dime_walk_next(&w, &f))
        if (allowed == NULL || (allowed[f.type / 8] >> f.type % 8 & 1) != 0)
            kd_buf_put(out, f.raw);
}

kd_err
run_profile(struct task *t, unsigned kind, struct kd_slice profile, bool with_image,
            const uint8_t *allowed, struct kd_buf *out)
{
    struct kd_buf wanted, clean;
    enum dime_reason why = DIME_FINE;
    kd_err err;

    kd_buf_init(&wanted, INFO_MAX);
    kd_buf_init(&clean, INFO_MAX);
    kd_buf_put(&wanted, profile);
    if (with_image && (err = add_image(t, &wanted)) != KD_OK)
        goto out;
    if ((err = wanted.err) != KD_OK)
        goto out;
    err = dime_info_filter((enum dime_kind)kind, kd_buf_slice(&wanted), &clean, &why);
    if (err != KD_OK) {
        err = why == DIME_FINE ? err : run_refuse_dime(t, why);
        goto out;
    }
    keep_allowed((enum dime_kind)kind, allowed, kd_buf_slice(&clean), out);
    err = out->err;
out:
    kd_buf_free(&wanted);
    kd_buf_free(&clean);
    return err;
}

static void
start_fresh(struct vault *v, struct task *t)
{
    if (quorum_still_holds(v, t))
        t->once_fresh(v, t);
}

static void
told_key(struct vault *v, struct task *t)
{
    struct kd_told_key m;

    if (kd_told_key_get(t->told, &m) != KD_OK ||
        (m.err != KD_OK && m.err != KD_NOT_FOUND))
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else if (m.err == KD_NOT_FOUND)
        start_fresh(v, t);
    else if (memcmp(m.request, t->request, sizeof t->request) != 0)
        task_finish(v, t, KD_INVALID, KD_REASON_IDEMPOTENCY_KEY_USED);
    else if (m.record.n == 0)
        task_finish(v, t, KD_CONFLICT, KD_REASON_RECORD_DROPPED);
    else
        t->once_again(v, t, m.record);
}

/* In secret memory: the object may be a private key. */
struct binding {
    crypto_hash_sha256_state hash;
    uint8_t octets[4096];
};

/* Another object is another request. Not so for passphrases: who steals the registry
 * could try words against the hash. */
kd_err
run_bind(struct task *t)
{
    size_t size;
    kd_err err = KD_OK;

    if (t->fd < 0 || t->is_bound || (kd_op_flags(t->op) & KD_OPF_SECRET) != 0)
        return KD_OK;
    if (kd_memfd_check(t->fd, DIME_SIGNET_MAX, &size) != KD_OK)
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    struct binding *b = kd_secret_new(sizeof *b);
    if (b == NULL)
        return KD_NOMEM;
    crypto_hash_sha256_init(&b->hash);
    crypto_hash_sha256_update(&b->hash, t->request, sizeof t->request);
    for (size_t at = 0; at < size && err == KD_OK;) {
        size_t n = size - at < sizeof b->octets ? size - at : sizeof b->octets;
        err = kd_memfd_read(t->fd, at, b->octets, n);
        crypto_hash_sha256_update(&b->hash, b->octets, n);
        at += n;
    }
    crypto_hash_sha256_final(&b->hash, t->request);
    kd_secret_free(b, sizeof *b);
    t->is_bound = err == KD_OK;
    return err;
}

void
run_once(struct vault *v, struct task *t, task_step fresh,
         void (*again)(struct vault *v, struct task *t, struct kd_slice record))
{
    struct kd_ask_key m = {.tag = t->tag};
    kd_err err;

    t->once_fresh = fresh;
    t->once_again = again;
    if (!t->has_key) {
        start_fresh(v, t);
        return;
    }
    if ((err = run_bind(t)) != KD_OK) {
        task_finish(v, t, err, t->reason);
        return;
    }
    kd_buf_reset(&t->ask);
    memcpy(m.key, t->key, sizeof m.key);
    kd_ask_key_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_key, told_key);
}
