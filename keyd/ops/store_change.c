#include "store_change.h"

#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- what devices made and nobody stored --- */

struct dropping {
    size_t n;
    struct kd_made *made[CHANGE_KEYS_MAX];
};

static void
drop(struct task *t)
{
    struct dropping *d = t->data;

    for (size_t i = 0; i < d->n; i++)
        kd_token_drop(d->made[i]);
    t->err = KD_OK;
}

static void
dropped(struct vault *v, struct task *t)
{
    task_finish(v, t, KD_OK, 0);
}

/* Seconds in the device. Without memory for it the keys stay where they are, and only
 * the log knows. */
static void
drop_later(struct vault *v, const struct store_change *c)
{
    enum { DEADLINE_MS = 60 * 1000 };
    const struct kd_job job = {.op = KD_OP_TokenList,
                               .deadline = (uint64_t)(kd_clock_ms() + DEADLINE_MS)};
    struct dropping *d = calloc(1, sizeof *d);
    struct task *t = d == NULL ? NULL : task_new(v, TASK_INTERNAL, v->conf, &job, -1);

    vault_event(v, EVENT_KEY_LEFT, 0, 0);
    if (t == NULL) {
        free(d);
        return;
    }
    d->n = c->n_made;
    memcpy(d->made, c->made, sizeof d->made);
    t->data = d;
    t->data_free = free;
    task_work_apart(v, t, TASK_ANY_DEVICE, drop, dropped);
}

static void
release_made(struct store_change *c)
{
    if (c->n_made == 0)
        return;
    if (!c->is_stored) {
        drop_later(c->vault, c);
        return;
    }
    for (size_t i = 0; i < c->n_made; i++)
        kd_token_drop(c->made[i]); /* taken: only memory */
}

static void
change_free(void *data)
{
    struct store_change *c = data;

    release_made(c);
    if (c->ended != NULL)
        c->ended(c->vault, c, c->is_stored ? KD_OK : c->result);
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
    c->vault = v;
    c->result = KD_UNAVAILABLE;
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
    /* Sealed and opened again since it was prepared: as good as sealed. */
    if (c->prepare != NULL && c->opening != t->vault->tokens.openings) {
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

    c->result = err;
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
    c->is_stored = true;
    tokens_attach(v);
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
    record.notes |= c->notes;
    record.detail = c->detail;
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

static void
prepare_work(struct task *t)
{
    struct store_change *c = t->data;

    t->err = c->prepare(t, c);
}

static void
prepared(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;

    c->result = t->err;
    if (t->err != KD_OK)
        task_finish(v, t, t->err, t->reason);
    else
        start(v, t);
}

static void
start_prepared(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;

    if (v->token == NULL) {
        run_refuse_sealed(v, t);
        return;
    }
    c->token = v->token;
    c->opening = v->tokens.openings;
    task_work_apart(v, t, c->devices, prepare_work, prepared);
}

void
store_change_start(struct vault *v, struct task *t)
{
    struct store_change *c = t->data;

    if (v->state == VAULT_STARTING || v->state == VAULT_FAILED)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        run_once(v, t, c->fresh != NULL ? c->fresh : store_change_go, answer_again);
}

void
store_change_go(struct vault *v, struct task *t)
{
    const struct store_change *c = t->data;

    if (c->prepare != NULL)
        start_prepared(v, t);
    else
        start(v, t);
}

/* --- tags of PINs --- */

static kd_err
tags_change(struct task *t, struct store_change *c)
{
    (void)t;
    return kd_soft_set_tags(c->token, c->device.name, c->device.good, c->device.tried);
}

static void
tags_ended(struct vault *v, const struct store_change *c, kd_err err)
{
    tokens_tags_stored(v, c->device.i, err);
}

static void
no_reply(struct vault *v, struct task *t, struct store_change *c)
{
    (void)v;
    (void)t;
    (void)c;
}

void
store_change_tags(struct vault *v, size_t token, const char *name,
                  const uint8_t good[KD_PIN_TAG_SIZE],
                  const uint8_t tried[KD_PIN_TAG_SIZE])
{
    enum { DEADLINE_MS = 60 * 1000 };
    const struct kd_job job = {.op = KD_OP_TokenAdopt,
                               .deadline = (uint64_t)(kd_clock_ms() + DEADLINE_MS)};
    struct task *t = task_new(v, TASK_INTERNAL, v->conf, &job, -1);
    struct store_change *c = t == NULL ? NULL : store_change_new(v, t);

    if (c == NULL) {
        tokens_tags_stored(v, token, KD_NOMEM);
        return;
    }
    c->audit = KD_AUDIT_KEYSTORE_CHANGE;
    c->notes =
        sodium_is_zero(tried, KD_PIN_TAG_SIZE) ? KD_NOTE_PIN_GOOD : KD_NOTE_PIN_TRIED;
    c->change = tags_change;
    c->reply = no_reply;
    c->ended = tags_ended;
    c->device.i = token;
    memcpy(c->device.name, name, strlen(name) + 1);
    memcpy(c->device.good, good, sizeof c->device.good);
    memcpy(c->device.tried, tried, sizeof c->device.tried);
    if (!run_allowed(v, t, kd_slice(NULL, 0)))
        return;
    if (v->state != VAULT_OPERATIONAL)
        task_finish(v, t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
    else
        task_work_alone(v, t, work, commit);
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

/* Who has the secret; the numbers are those of the protocol. */
static void
put_holding(struct kd_token *token, const struct kd_key_info *info,
            struct kd_buf *names, struct kd_buf *objects, struct kd_key_line *m)
{
    enum { STORE = 1, TOKEN, SEALED };
    struct kd_store_token table[KD_TOKENS_MAX];
    struct kd_held held;

    if (info->state == KD_KEY_DESTROYED ||
        kd_token_held(token, &info->id, &held) != KD_OK)
        return;
    size_t n = held.holding == KD_OWN ? 0 : kd_soft_tokens(token, table);
    for (unsigned i = 0; i < held.n_places && n != 0; i++) {
        if (held.places[i].token >= n)
            continue;
        kd_list_put(names, kd_slice_str(table[held.places[i].token].name));
        if (held.holding == KD_HELD)
            kd_list_put(objects, kd_slice(held.places[i].id, held.places[i].id_size));
    }
    m->holding = held.holding == KD_OWN    ? STORE
                 : held.holding == KD_HELD ? TOKEN
                                           : SEALED;
    m->attested = held.holding == KD_HELD ? held.flags : 0;
    m->away = held.holding != KD_OWN && kd_token_usable(token, &info->id) != KD_OK;
    m->tokens = kd_buf_slice(names);
    m->objects = kd_buf_slice(objects);
}

void
key_line_put(struct kd_buf *b, const struct task *t, const struct kd_key_info *info)
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
    struct kd_buf line, names, objects;

    memcpy(m.id, info->id.octets, sizeof m.id);
    kd_buf_init(&names, KD_JOB_TOKENS_MAX);
    kd_buf_init(&objects, KD_JOB_OBJECTS_MAX);
    if (t->caller.klass == KD_CLASS_ADMIN && t->vault->token != NULL)
        put_holding(t->vault->token, info, &names, &objects, &m);
    kd_buf_init(&line, 2048);
    kd_key_line_put(&line, &m);
    kd_list_put(b, kd_buf_slice(&line));
    kd_buf_join(b, &line);
    kd_buf_free(&line);
    kd_buf_free(&names);
    kd_buf_free(&objects);
}
