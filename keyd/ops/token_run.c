/* TokenInit, AddUnsealSlot, Unseal, Seal: the vault's halves. */
#include "quorum.h"
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
    const struct vault *v = t->vault;
    struct kd_slot_secret secret;
    kd_err err;

    if (c->token != NULL || v->store != NULL)
        return run_refuse(t, KD_CONFLICT, KD_REASON_ALREADY_INITIALISED);
    /* A new store continues the recorded one or nothing: its list of keys, without
     * which no chain could go on, is believed only from one that was opened. */
    if (v->aside != NULL && !v->aside_opened)
        return run_refuse(t, KD_CONFLICT, KD_REASON_KEYSTORE_SET_ASIDE);
    if (v->aside == NULL && v->store_recorded != 0)
        return run_refuse(t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
    if ((err = slot_secret_read(t, c->job.slot.kind, &secret)) != KD_OK)
        return err;
    err = refuse_secret(t, kd_soft_create(&secret, &c->token));
    secret_free(&secret);
    if (err == KD_OK && v->aside != NULL)
        err = kd_soft_inherit(c->token, kd_slice(v->aside, v->aside_size));
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

bool
describe_add_unseal_slot(struct vault *v, struct task *t, struct kd_buf *text)
{
    struct kd_slot_job job;

    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return false;
    if (kd_slot_job_get(t->body, &job) != KD_OK)
        return describe_refuse(v, t, KD_MALFORMED, KD_REASON_NONE);
    if (job.kind != KD_SLOT_PASSPHRASE && job.kind != KD_SLOT_CREDENTIAL)
        return describe_refuse(v, t, KD_INVALID, KD_REASON_SECRET_SIZE);
    kd_fact_text(text, "slot-kind",
                 job.kind == KD_SLOT_PASSPHRASE ? "passphrase" : "credential");
    return describe_secret(v, t, "secret", text);
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

    if (v->store == NULL && v->aside == NULL) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_NOT_INITIALISED);
        return;
    }
    if (v->token != NULL) {
        t->err = run_refuse(t, KD_CONFLICT, KD_REASON_ALREADY_UNSEALED);
        return;
    }
    if ((t->err = slot_secret_read(t, u->job.kind, &secret)) != KD_OK)
        return;
    struct kd_slice store = v->store != NULL ? kd_slice(v->store, v->store_size)
                                             : kd_slice(v->aside, v->aside_size);
    t->err = kd_soft_open(store, &secret, &u->token);
    secret_free(&secret);
    if (t->err == KD_DENIED)
        t->err = run_refuse(t, KD_DENIED, KD_REASON_WRONG_SECRET);
    else
        t->err = refuse_secret(t, t->err);
}

/* Under the audit key, or the one of the store that was before this. */
static bool
verify_checkpoint(struct vault *v, struct kd_slice octets, struct kd_checkpoint *c)
{
    struct kd_key_info info;

    for (size_t i = 0; kd_token_at(v->token, i, &info) == KD_OK; i++)
        if (info.role == KD_KEY_ROLE_AUDIT && info.state != KD_KEY_REVOKED &&
            kd_checkpoint_verify(octets, info.public_key, c) == KD_OK)
            return true;
    return false;
}

/* The key store is one that the log knows, and the log is at least as long as the last
 * checkpoint that our own key signed. What an operator may accept holds the vault, with
 * the keys open: who the operators are stands in their store. */
static kd_err
check_against_log(struct vault *v, const struct unsealing *u)
{
    struct kd_checkpoint c;
    uint64_t generation = kd_soft_generation(u->token);

    v->token = u->token;
    vault_keys_refresh(v);
    v->store_found = generation != v->store_recorded ? generation : 0;
    if (v->store_found != 0 && !vault_is_held(v))
        vault_hold(v, KD_STANDS_KEYSTORE);
    /* Of a forger it may be too, but then it only keeps things as they are. */
    if (v->outside.n != 0 && !vault_is_held(v) &&
        !verify_checkpoint(v, kd_slice(v->outside.octets, v->outside.n), &c))
        vault_hold(v, KD_STANDS_UNREADABLE);
    if (v->checkpoint_size == 0)
        return KD_OK;
    if (!verify_checkpoint(v, kd_slice(v->checkpoint, v->checkpoint_size), &c) ||
        memcmp(c.instance, v->chain.instance, sizeof c.instance) != 0 ||
        c.seq >= v->chain.next) {
        vault_event(v, EVENT_CHECKPOINT_BAD, v->checkpoint_size, v->chain.next);
        v->standing = KD_STANDS_UNKNOWN; /* the registry itself disagrees */
        vault_raise(v, KD_STATE_CHECKPOINT_BAD);
        return KD_INVALID;
    }
    return KD_OK;
}

/* The keys go again: only that they are the organization's is known now. */
static void
opened_aside(struct vault *v, struct unsealing *u)
{
    v->token = NULL;
    vault_keys_refresh(v);
    v->aside_opened = true;
    vault_event(v, EVENT_SET_ASIDE_OPENED, kd_token_count(u->token),
                v->store_recorded + 1);
    kd_token_free(u->token);
    u->token = NULL;
}

static void
open_for_work(struct vault *v, struct unsealing *u)
{
    u->token = NULL;
    if (!vault_is_held(v)) {
        v->state = VAULT_OPERATIONAL;
        tokens_attach(v);
    }
    vault_clear(v, KD_STATE_KEY_STORE_BAD);
    v->probe.is_made = false;
    kd_token_set_verify(v->token, v->conf->is.verify_sampled);
    vault_event(v, EVENT_UNSEALED, kd_token_count(v->token), v->store_recorded);
}

/* The store is good, but another one or the registry's state is what was noted outside:
 * that can be accepted, and who may do so stands in the store. It stays open for that
 * alone, since nothing else is done while the vault is held. */
static void
keep_for_acceptance(struct vault *v, struct unsealing *u)
{
    bool keeps = vault_is_held(v) && v->store != NULL;

    v->token = keeps ? u->token : NULL;
    vault_keys_refresh(v);
    if (keeps)
        u->token = NULL;
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
    if (t->err == KD_OK && v->state == VAULT_FAILED && !vault_is_held(v))
        t->err = run_refuse(t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    if (t->err == KD_OK && (t->err = check_against_log(v, u)) != KD_OK) {
        keep_for_acceptance(v, u);
        kd_ignore(run_refuse(
            t, t->err, vault_is_held(v) ? run_held(v) : KD_REASON_STORED_DIFFERS));
        v->state = VAULT_FAILED;
    }
    if (t->err != KD_OK) {
        task_finish(v, t, t->err, t->reason);
        return;
    }
    if (v->store == NULL)
        opened_aside(v, u);
    else
        open_for_work(v, u);
    const struct kd_unseal_done m = {v->token != NULL};
    kd_unseal_done_put(&t->reply, &m);
    if (vault_is_held(v)) { /* open, but nothing is recorded before the acceptance */
        task_finish(v, t, KD_OK, 0);
        return;
    }
    run_commit_bare(v, t, KD_AUDIT_UNSEAL);
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
    else if (v->state == VAULT_STARTING ||
             (v->state == VAULT_FAILED && !vault_is_held(v)))
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else if (tokens_is_busy(v)) /* what was sealed is still being left */
        task_finish(v, t, KD_BUSY, KD_REASON_UNDER_WAY);
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
    tokens_release(v, v->token);
    v->token = NULL;
    if (v->state == VAULT_OPERATIONAL)
        v->state = VAULT_SEALED;
    vault_keys_refresh(v);
    vault_event(v, EVENT_SEALED, 0, 0);
    if (vault_is_held(v)) {
        task_finish(v, t, KD_OK, 0);
        return;
    }
    run_commit_bare(v, t, KD_AUDIT_SEAL);
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
