/* TokenInit, AddUnsealSlot, Unseal, Seal: the vault's halves. */
#include "store_change.h"

#include <keyd/base/secret.h>

#include <stdlib.h>

static void
secret_free(struct kd_slot_secret *s)
{
    /* The slice calls const what is ours. NOLINTNEXTLINE(performance-no-int-to-ptr) */
    kd_secret_free((void *)(uintptr_t)s->octets.p, s->octets.n);
}

/* A wrong size or kind is the caller's mistake, told apart from a wrong secret. */
static kd_err
refuse_secret(struct task *t, kd_err err)
{
    if (err == KD_INVALID)
        return run_refuse(t, err, KD_REASON_SECRET_SIZE);
    return err;
}

static void
reply_slot(struct vault *v, struct task *t, struct store_change *c)
{
    struct kd_slot_done m = {.slot = c->slot};

    (void)v;
    kd_slot_done_put(&t->reply, &m);
}

/* --- init --- */

/* The key for checkpoints belongs to the store from its first day. */
static kd_err
add_audit_key(struct store_change *c)
{
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_AUDIT, .alg = KD_ALG_ED25519};
    struct kd_key_info info;
    kd_err err = kd_token_generate(c->token, &spec, &info);

    if (err == KD_OK)
        err = kd_token_set_state(c->token, &info.id, KD_KEY_ACTIVE);
    if (err == KD_OK)
        c->keys[c->n_keys++] = info.id;
    return err;
}

static kd_err
init_change(struct task *t, struct store_change *c)
{
    struct kd_slot_secret secret;
    kd_err err;

    if (c->token != NULL || t->vault->store != NULL)
        return run_refuse(t, KD_CONFLICT, KD_REASON_ALREADY_INITIALISED);
    if ((err = slot_secret_read(t, c->job.slot.kind, &secret)) != KD_OK)
        return err;
    err = refuse_secret(t, kd_soft_create(&secret, &c->token));
    secret_free(&secret);
    if (err == KD_OK)
        err = add_audit_key(c);
    return err;
}

/* --- another slot --- */

static kd_err
slot_change(struct task *t, struct store_change *c)
{
    struct kd_slot_secret secret;
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];
    kd_err err = slot_secret_read(t, c->job.slot.kind, &secret);

    if (err != KD_OK)
        return err;
    err = refuse_secret(t, kd_soft_add_slot(c->token, &secret, NULL));
    secret_free(&secret);
    if (err == KD_OK)
        c->slot = (uint8_t)(kd_soft_slots(c->token, slots) - 1);
    return err;
}

/* Its slot is the last as long as nothing was changed since; then who asks must look.
 */
static kd_err
slot_again(struct store_change *c, uint64_t generation)
{
    struct kd_store_slot slots[KD_STORE_SLOTS_MAX];

    if (generation != kd_soft_generation(c->token))
        return KD_CONFLICT;
    c->slot = (uint8_t)(kd_soft_slots(c->token, slots) - 1);
    return KD_OK;
}

static void
start_slot(struct vault *v, struct task *t,
           kd_err (*change)(struct task *t, struct store_change *c))
{
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    struct store_change *c = store_change_new(v, t);
    if (c == NULL)
        return;
    if (kd_slot_job_get(t->body, &c->job.slot) != KD_OK) {
        task_finish(v, t, KD_MALFORMED, 0);
        return;
    }
    c->audit = KD_AUDIT_KEYSTORE_CHANGE;
    c->change = change;
    c->makes_token = change == init_change;
    c->again = c->makes_token ? NULL : slot_again;
    c->reply = reply_slot;
    store_change_start(v, t);
}

void
run_token_init(struct vault *v, struct task *t)
{
    start_slot(v, t, init_change);
}

void
run_add_unseal_slot(struct vault *v, struct task *t)
{
    start_slot(v, t, slot_change);
}

/* --- unseal --- */

struct unsealing {
    struct kd_slot_job job;
    struct kd_token *token;
};

static void
unsealing_free(void *data)
{
    struct unsealing *u = data;

    kd_token_free(u->token);
    free(u);
}

static void
unseal_work(struct task *t)
{
    struct vault *v = t->vault;
    struct unsealing *u = t->data;
    struct kd_slot_secret secret;

    if (v->store == NULL) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_NOT_INITIALISED);
        return;
    }
    if (v->token != NULL) {
        t->err = run_refuse(t, KD_CONFLICT, KD_REASON_ALREADY_UNSEALED);
        return;
    }
    if ((t->err = slot_secret_read(t, u->job.kind, &secret)) != KD_OK)
        return;
    t->err = kd_soft_open(kd_slice(v->store, v->store_size), &secret, &u->token);
    secret_free(&secret);
    if (t->err == KD_DENIED)
        t->err = run_refuse(t, KD_DENIED, KD_REASON_WRONG_SECRET);
    else
        t->err = refuse_secret(t, t->err);
}

static void
unseal_recorded(struct vault *v, struct task *t)
{
    task_finish(v, t, t->err, 0);
}

/* The key store is one that the log knows, and the log is at least as long as the last
 * checkpoint that our own key signed. */
static kd_err
check_against_log(struct vault *v, const struct unsealing *u)
{
    struct kd_checkpoint c;
    uint64_t generation = kd_soft_generation(u->token);

    if (generation != v->store_recorded) {
        vault_event(v, EVENT_KEYSTORE_OLD, generation, v->store_recorded);
        vault_raise(v, KD_STATE_KEY_STORE_OLD);
        return KD_INVALID;
    }
    v->token = u->token;
    vault_keys_refresh(v);
    if (v->checkpoint_size == 0)
        return KD_OK;
    if (!v->has_audit ||
        kd_checkpoint_verify(kd_slice(v->checkpoint, v->checkpoint_size), v->audit_key,
                             &c) != KD_OK ||
        memcmp(c.instance, v->chain.instance, sizeof c.instance) != 0 ||
        c.seq >= v->chain.next) {
        vault_event(v, EVENT_CHECKPOINT_BAD, v->checkpoint_size, v->chain.next);
        vault_raise(v, KD_STATE_CHECKPOINT_BAD);
        return KD_INVALID;
    }
    return KD_OK;
}

static void
refuse_store(struct vault *v, kd_err err)
{
    vault_event(v, EVENT_KEYSTORE_BAD, err, v->store_recorded);
    vault_raise(v, KD_STATE_KEY_STORE_BAD);
}

static void
unsealed(struct vault *v, struct task *t)
{
    struct unsealing *u = t->data;
    struct kd_audit_record record;
    struct run_names names;

    if (task_is_internal(t)) {
        v->opens_itself = false;
        if (t->err != KD_NOMEM && t->err != KD_IO)
            v->unseal_at = 0;
    }
    if (t->err == KD_DENIED || t->reason == KD_REASON_SECRET_SIZE ||
        t->reason == KD_REASON_BAD_DESCRIPTOR)
        vault_event(v, EVENT_WRONG_SECRET, u->job.kind, 0);
    else if (t->err != KD_OK && t->reason == 0)
        refuse_store(v, t->err);
    /* While the passphrase was stretched the ledger may have come back as another. */
    if (t->err == KD_OK && v->state == VAULT_FAILED)
        t->err = run_refuse(t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    if (t->err == KD_OK && (t->err = check_against_log(v, u)) != KD_OK) {
        v->token = NULL;
        vault_keys_refresh(v);
        v->state = VAULT_FAILED;
        kd_ignore(run_refuse(t, t->err, KD_REASON_STORED_DIFFERS));
    }
    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->reason);
        return;
    }
    u->token = NULL;
    v->state = VAULT_OPERATIONAL;
    vault_clear(v, KD_STATE_KEY_STORE_BAD);
    v->probe.is_made = false;
    kd_token_set_verify(v->token, v->conf->is.verify_sampled);
    vault_event(v, EVENT_UNSEALED, kd_token_count(v->token), v->store_recorded);
    run_record(&record, &names, v, t, KD_AUDIT_UNSEAL, kd_slice(NULL, 0));
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, unseal_recorded);
}

void
run_unseal(struct vault *v, struct task *t)
{
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    struct unsealing *u = calloc(1, sizeof *u);
    if (u == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return;
    }
    t->data = u;
    t->data_free = unsealing_free;
    if (kd_slot_job_get(t->body, &u->job) != KD_OK)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (v->state == VAULT_STARTING || v->state == VAULT_FAILED)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        task_work_alone(v, t, unseal_work, unsealed);
}

/* --- seal --- */

static void
seal_work(struct task *t)
{
    if (t->vault->token != NULL)
        kd_token_seal(t->vault->token);
    t->err = KD_OK;
}

static void
sealed(struct vault *v, struct task *t)
{
    struct kd_audit_record record;
    struct run_names names;

    kd_token_free(v->token);
    v->token = NULL;
    if (v->state == VAULT_OPERATIONAL)
        v->state = VAULT_SEALED;
    vault_keys_refresh(v);
    vault_event(v, EVENT_SEALED, 0, 0);
    run_record(&record, &names, v, t, KD_AUDIT_SEAL, kd_slice(NULL, 0));
    task_commit(v, t, &record, KD_ROW_NONE, kd_slice(NULL, 0), -1, unseal_recorded);
}

void
run_seal(struct vault *v, struct task *t)
{
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    v->unseal_at = 0; /* whoever seals does not want to see it opened by itself */
    if (t->body.n != 0)
        task_finish(v, t, KD_MALFORMED, 0);
    else if (v->token == NULL)
        task_finish(v, t, KD_SEALED, KD_REASON_SEALED);
    else
        task_work_alone(v, t, seal_work, sealed);
}
