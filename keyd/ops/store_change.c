#include "store_change.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
change_free(void *data)
{
    struct store_change *c = data;

    kd_buf_free(&c->store);
    kd_buf_free(&c->policy);
    free(c);
}

struct store_change *
store_change_new(struct vault *v, struct task *t)
{
    struct store_change *c = calloc(1, sizeof *c);

    if (c == NULL) {
        task_finish(v, t, KD_NOMEM, 0);
        return NULL;
    }
    kd_buf_init(&c->store, KD_STORE_MAX);
    kd_buf_init(&c->policy, KD_STORE_POLICY_MAX);
    t->data = c;
    t->data_free = change_free;
    return c;
}

static void
work(struct task *t)
{
    struct store_change *c = t->data;

    c->token = t->vault->token;
    /* It was open when the request came; another may have been alone since. */
    if (c->token == NULL && !c->makes_token) {
        t->err = run_refuse(t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    if (c->token != NULL) {
        if ((t->err = kd_soft_mark(c->token, &c->mark)) != KD_OK ||
            (t->err = kd_soft_policy(c->token, &c->policy)) != KD_OK)
            return;
        c->is_marked = true;
    }
    if ((t->err = c->change(t, c)) == KD_OK)
        t->err = kd_soft_serialise(c->token, &c->store);
}

static void
give_up(struct vault *v, struct task *t, kd_err err, uint16_t reason)
{
    struct store_change *c = t->data;

    if (c->token != NULL && c->token != v->token)
        kd_token_free(c->token);
    else if (c->is_marked &&
             (kd_soft_return(c->token, &c->mark) != KD_OK ||
              kd_soft_set_policy(c->token, kd_buf_slice(&c->policy)) != KD_OK))
        vault_event(v, EVENT_KEYSTORE_BAD, err, kd_soft_generation(c->token));
    task_finish(v, t, err, reason);
}

/* Token, store and everything derived are the new ones from here on. */
static void
settled(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;

    if (t->err != KD_OK) {
        give_up(v, t, t->err, t->err == KD_CONFLICT ? KD_REASON_KEY_EXISTS : 0);
        return;
    }
    uint64_t generation = kd_soft_generation(c->token);
    free(v->aside);
    v->aside = NULL;
    v->aside_opened = false;
    free(v->store);
    v->store = NULL;
    v->store_size = 0;
    if (kd_buf_take(&c->store, &v->store, &v->store_size) != KD_OK)
        v->store_size = 0; /* it was serialised: cannot happen, and costs one unseal */
    v->store_recorded = generation;
    v->token = c->token;
    if (v->state != VAULT_FAILED) /* held meanwhile: this lifts nothing */
        v->state = VAULT_OPERATIONAL;
    c->generation = generation;
    vault_keys_refresh(v);
    vault_event(v, EVENT_KEY_CHANGED, kd_token_count(v->token), generation);
    c->reply(v, t, c);
    task_finish(v, t, KD_OK, 0);
}

/* The organization's public keys of this change, for the list that no user may have a
 * key of: kind as in store.h (POK 1, SOK 2, encryption 3). */
static void
put_known(struct store_change *c, struct kd_buf *b)
{
    struct kd_key_info info;

    for (size_t i = 0; i < c->n_keys; i++) {
        if (kd_token_get(c->token, &c->keys[i], &info) != KD_OK)
            continue;
        size_t skip = info.alg == KD_ALG_SECP256K1 ? 1 : 0;
        if (info.role > KD_KEY_ROLE_ENC || info.public_size != 32 + skip)
            continue;
        kd_buf_u8(b, (uint8_t)info.role);
        kd_buf_put(b, kd_slice(info.public_key + skip, 32));
    }
}

static void
commit(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;
    struct kd_audit_record record;
    struct run_names names;
    struct kd_row_keystore row = {0};
    struct kd_buf known, body;
    int fd = -1;

    if (t->err != KD_OK) {
        give_up(v, t, t->err, t->reason);
        return;
    }
    struct kd_slice store = kd_buf_slice(&c->store);
    run_record(&record, &names, v, t, c->audit, c->domain);
    record.keystore_generation = kd_soft_generation(c->token);
    crypto_hash_sha256(record.keystore_sha256, store.p, store.n);
    if (c->makes_token && v->aside != NULL)
        record.notes |= KD_NOTE_NEW_KEYSTORE;
    if (c->has_digest) {
        record.n_digests = 1;
        memcpy(record.digests[0], c->digest, sizeof c->digest);
    }
    if (c->n_keys > 0) {
        record.has_key = true;
        memcpy(record.key_id, c->keys[0].octets, sizeof record.key_id);
    }
    kd_buf_init(&known, (size_t)33 * CHANGE_KEYS_MAX);
    kd_buf_init(&body, KD_CHAN_INLINE_MAX);
    put_known(c, &known);
    row.keys = kd_buf_slice(&known);
    kd_err err = kd_memfd_if_large(store, RUN_ROW_SIGNET_MAX, &row.store, &fd);
    kd_row_keystore_put(&body, &row);
    if (err == KD_OK) /* keys that are not listed could become a user's */
        err = known.err != KD_OK ? known.err : body.err;
    if (err == KD_OK) {
        task_commit(v, t, &record, KD_ROW_KEYSTORE, kd_buf_slice(&body), fd, settled);
    } else {
        if (fd >= 0)
            close(fd);
        give_up(v, t, err, 0);
    }
    kd_buf_free(&known);
    kd_buf_free(&body);
}

/* The record of a request with this very key: answered again from what it says. */
static void
answer_again(struct vault *v, struct task *t, struct kd_slice octets)
{
    struct store_change *c = t->data;
    struct kd_audit_record record;
    kd_err err;

    if (kd_audit_decode(octets, &record) != KD_OK || record.op != c->audit) {
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
        return;
    }
    c->token = v->token;
    if (c->token == NULL && !c->makes_token) {
        task_finish(v, t, KD_SEALED, KD_REASON_SEALED);
        return;
    }
    if (c->again != NULL && (err = c->again(c, record.keystore_generation)) != KD_OK) {
        task_finish(v, t, err, 0);
        return;
    }
    if (record.has_key) {
        c->n_keys = 1;
        memcpy(c->keys[0].octets, record.key_id, sizeof c->keys[0].octets);
    }
    c->reply(v, t, c);
    task_finish(v, t, KD_OK, 0);
}

static void
start(struct vault *v, struct task *t)
{
    task_work_alone(v, t, work, commit);
}

void
store_change_start(struct vault *v, struct task *t)
{
    if (v->state == VAULT_STARTING || v->state == VAULT_FAILED)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        run_once(v, t, start, answer_again);
}

kd_err
slot_secret_read(struct task *t, uint8_t kind, struct kd_slot_secret *out)
{
    struct stat st;
    size_t size;

    /* A task of our own has the credential file itself; from outside it is a memfd. */
    if (task_is_internal(t)) {
        if (t->fd < 0 || fstat(t->fd, &st) != 0 || st.st_size < 0)
            return run_refuse(t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
        size = (size_t)st.st_size;
    } else if (t->fd < 0 || kd_memfd_check(t->fd, KD_CREDENTIAL_MAX, &size) != KD_OK) {
        return run_refuse(t, KD_INVALID, KD_REASON_BAD_DESCRIPTOR);
    }
    if (size == 0 || size > KD_CREDENTIAL_MAX)
        return run_refuse(t, KD_INVALID, KD_REASON_SECRET_SIZE);
    uint8_t *octets = kd_secret_new(size);
    if (octets == NULL)
        return KD_NOMEM;
    kd_err err = kd_memfd_read(t->fd, 0, octets, size);
    if (err != KD_OK) {
        kd_secret_free(octets, size);
        return err;
    }
    *out = (struct kd_slot_secret){.type = (enum kd_slot_type)kind,
                                   .octets = kd_slice(octets, size)};
    return KD_OK;
}

void
key_line_put(struct kd_buf *b, const struct kd_key_info *info)
{
    struct kd_key_line m = {
        .role = (uint8_t)info->role,
        .algorithm = (uint8_t)info->alg,
        .permissions = info->permissions,
        .state = (uint8_t)info->state,
        .domain = kd_slice(info->domain, info->domain_size),
        .public_key = kd_slice(info->public_key, info->public_size),
        .created = (uint64_t)info->created_ms,
    };
    struct kd_buf line;

    memcpy(m.id, info->id.octets, sizeof m.id);
    kd_buf_init(&line, 2048);
    kd_key_line_put(&line, &m);
    kd_list_put(b, kd_buf_slice(&line));
    kd_buf_join(b, &line);
    kd_buf_free(&line);
}
