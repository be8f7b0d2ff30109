/* What is common to all back ends: checks of arguments, the chain, the state of the
 * batch, and the rule that a store that failed once answers no more. */
#include "store_impl.h"

#include <keyd/base/be.h>
#include <sodium.h>

enum {
    SIGNET_HEADER = 5, /* magic (2), length of the fields (3) */
    CORE_MAX = 64 * 1024,
};

/* --- state --- */

/* What the disk or memory did to us ends the store. */
static kd_err
settle(struct kd_store *s, kd_err err)
{
    if (err == KD_IO || err == KD_NOMEM || err == KD_FAILED) {
        s->broken = true;
        return KD_UNAVAILABLE;
    }
    return err;
}

/* Reads happen between batches: a reader must not see what may yet be undone. */
static kd_err
may_read(const struct kd_store *s)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    return s->in_batch ? KD_INVALID : KD_OK;
}

static bool
name_fits(struct kd_slice s)
{
    return s.n != 0 && s.n <= KD_AUDIT_ADDRESS_MAX && memchr(s.p, '\0', s.n) == NULL;
}

static kd_err
may_look_up(const struct kd_store *s, struct kd_slice name)
{
    kd_err err = may_read(s);

    /* No such row can exist, and the text goes no further. */
    if (err == KD_OK && !name_fits(name))
        err = KD_NOT_FOUND;
    return err;
}

void
kd_store_tail(const struct kd_store *s, struct kd_audit_tail *out)
{
    *out = s->chain.tail;
}

void
kd_store_base(const struct kd_store *s, struct kd_audit_tail *out)
{
    *out = s->base;
}

/* --- reading --- */

kd_err
kd_store_user_current(struct kd_store *s, struct kd_slice address,
                      struct kd_signet_row *out)
{
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->user_current(s->backend, address, out));
}

kd_err
kd_store_user_by_fp(struct kd_store *s, struct kd_slice address,
                    const uint8_t fp[KD_FP_SIZE], struct kd_signet_row *out)
{
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->user_by_fp(s->backend, address, fp, out));
}

kd_err
kd_store_user_since(struct kd_store *s, struct kd_slice address, uint64_t since_ms,
                    unsigned max, kd_signet_visitor visitor, void *arg)
{
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err == KD_NOT_FOUND ? KD_OK : err;
    return settle(s,
                  s->ops->user_since(s->backend, address, since_ms, max, visitor, arg));
}

kd_err
kd_store_user_verify(struct kd_store *s, struct kd_slice address,
                     const uint8_t core_fp[KD_FP_SIZE], bool *current,
                     uint8_t newest[KD_FP_SIZE])
{
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err;
    if ((err = s->ops->user_verify(s->backend, address, newest)) != KD_OK)
        return settle(s, err);
    *current = memcmp(core_fp, newest, KD_FP_SIZE) == 0;
    return KD_OK;
}

kd_err
kd_store_user_history(struct kd_store *s, struct kd_slice address, const uint8_t *start,
                      const uint8_t *stop, struct kd_history *out)
{
    struct kd_history h;
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err;
    if ((err = s->ops->user_history(s->backend, address, start, stop, &h)) != KD_OK)
        return settle(s, err);
    if (h.first > h.last)
        return KD_NOT_FOUND;
    *out = h;
    return KD_OK;
}

kd_err
kd_store_user_cores(struct kd_store *s, struct kd_slice address,
                    const struct kd_history *history, uint32_t from,
                    kd_history_visitor visitor, void *arg)
{
    kd_err err = may_look_up(s, address);

    if (err != KD_OK)
        return err;
    return settle(s,
                  s->ops->user_cores(s->backend, address, history, from, visitor, arg));
}

kd_err
kd_store_user_next(struct kd_store *s, uint64_t after, bool heads_only,
                   struct kd_signet_row *out)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->user_next(s->backend, after, heads_only, out));
}

kd_err
kd_store_org_current(struct kd_store *s, struct kd_slice domain, struct kd_org_row *out)
{
    kd_err err = may_look_up(s, domain);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->org_current(s->backend, domain, out));
}

kd_err
kd_store_org_by_fp(struct kd_store *s, struct kd_slice domain,
                   const uint8_t full_fp[KD_FP_SIZE], struct kd_org_row *out)
{
    kd_err err = may_look_up(s, domain);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->org_by_fp(s->backend, domain, full_fp, out));
}

kd_err
kd_store_org_history(struct kd_store *s, struct kd_slice domain, kd_org_visitor visitor,
                     void *arg)
{
    kd_err err = may_look_up(s, domain);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->org_history(s->backend, domain, visitor, arg));
}

kd_err
kd_store_org_heads(struct kd_store *s, kd_org_visitor visitor, void *arg)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    return settle(s, s->ops->org_heads(s->backend, visitor, arg));
}

kd_err
kd_store_org_formers(struct kd_store *s, uint64_t since_ms, unsigned max,
                     kd_org_visitor visitor, void *arg)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    return settle(s, s->ops->org_formers(s->backend, since_ms, max, visitor, arg));
}

/* --- accounts and principals --- */

kd_err
kd_store_account(struct kd_store *s, struct kd_slice address, struct kd_account *out)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    if (!name_fits(address))
        return KD_INVALID;
    *out = (struct kd_account){0};
    return settle(s, s->ops->account(s->backend, address, out));
}

kd_err
kd_store_stopped(struct kd_store *s, kd_stopped_visitor visitor, void *arg)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->stopped(s->backend, visitor, arg));
}

kd_err
kd_store_resets(struct kd_store *s, struct kd_slice after, kd_reset_visitor visitor,
                void *arg)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    if (after.n != 0 && !name_fits(after))
        return KD_INVALID;
    return settle(s, s->ops->resets(s->backend, after, visitor, arg));
}

kd_err
kd_store_n_resets(struct kd_store *s, uint32_t *n)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->n_resets(s->backend, n));
}

kd_err
kd_store_uptime(struct kd_store *s, uint64_t *ms)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->uptime(s->backend, ms));
}

kd_err
kd_store_issue_query(struct kd_store *s, const struct kd_issue_query *query,
                     struct kd_issue_state *out)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    if (!name_fits(query->address))
        return KD_INVALID;
    *out = (struct kd_issue_state){0};
    return settle(s, s->ops->issue_query(s->backend, query, out));
}

kd_err
kd_store_signing_key_known(struct kd_store *s, const uint8_t key[32], bool *known)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->signing_key_known(s->backend, key, known));
}

kd_err
kd_store_idem_find(struct kd_store *s, const uint8_t key[KD_IDEM_SIZE],
                   uint8_t request[KD_SHA256_SIZE], uint64_t *audit_seq)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->idem_find(s->backend, key, request, audit_seq));
}

struct record_adapter {
    kd_record_visitor visitor;
    void *arg;
};

static bool
adapt_record(void *arg, const struct kd_backend_record *row)
{
    const struct record_adapter *a = arg;

    return a->visitor(a->arg, row->seq, row->record, row->stored);
}

kd_err
kd_store_records(struct kd_store *s, uint64_t from, kd_record_visitor visitor,
                 void *arg)
{
    struct record_adapter a = {visitor, arg};
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    if (from <= s->base.seq) /* what is left of them goes with the next sweep */
        return KD_NOT_FOUND;
    return settle(s, s->ops->records(s->backend, from, INT64_MAX, adapt_record, &a));
}

kd_err
kd_store_checkpoints(struct kd_store *s, uint64_t from, kd_checkpoint_visitor visitor,
                     void *arg)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->checkpoints(s->backend, from, visitor, arg));
}

kd_err
kd_store_checkpoint_last(struct kd_store *s, struct kd_slice *signed_octets)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->checkpoint_last(s->backend, signed_octets));
}

kd_err
kd_store_checkpoint_at(struct kd_store *s, uint64_t seq, struct kd_slice *signed_octets)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->checkpoint_at(s->backend, seq, signed_octets));
}

kd_err
kd_store_counters(struct kd_store *s, kd_counter_visitor visitor, void *arg)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->counters(s->backend, visitor, arg));
}

kd_err
kd_store_stats(struct kd_store *s, struct kd_store_stats *out)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    return settle(s, s->ops->stats(s->backend, out));
}

/* --- the rules of an item --- */

/* A signet whose header counts its fields; with core_size, one whose core hashes to
 * core_fp, so that what HIST will cut out is what was fingerprinted. */
static bool
signet_is_whole(struct kd_slice signet, const uint32_t *core_size,
                const uint8_t *core_fp)
{
    uint8_t fp[KD_FP_SIZE];

    if (signet.n <= SIGNET_HEADER || signet.n > KD_STORE_SIGNET_MAX ||
        kd_be24(signet.p + 2) != signet.n - SIGNET_HEADER)
        return false;
    if (core_size == NULL)
        return true;
    if (*core_size == 0 || *core_size > CORE_MAX ||
        *core_size > signet.n - SIGNET_HEADER)
        return false;
    crypto_hash_sha512(fp, signet.p + SIGNET_HEADER, *core_size);
    return memcmp(fp, core_fp, sizeof fp) == 0;
}

static bool
signing_is_good(const struct kd_store_item *item, const struct kd_audit_record *r)
{
    const struct kd_signing_put *g = item->signing;

    if (g == NULL)
        return item->link == NULL;
    if (!kd_audit_op_has_link(r->op) ||
        !signet_is_whole(g->signet, &g->core_size, g->core_fp))
        return false;
    if (item->link == NULL)
        return g->version > 1;
    /* What starts a chain anew says so. */
    bool renews = r->generation > 1 && r->link_seq == 1;
    return g->version == 1 && renews == ((r->notes & KD_NOTE_RESET) != 0) &&
           item->link->uptime_ms <= INT64_MAX;
}

/* A reset is asked for with what was counted; its delay stands in the record. */
static bool
reset_is_good(const struct kd_store_item *item, const struct kd_audit_record *r)
{
    bool asks = r->op == KD_AUDIT_REQUEST_RESET && r->outcome == KD_OUTCOME_DONE;
    uint64_t delay;

    if (asks != (item->reset != NULL))
        return false;
    return !asks || (item->reset->uptime_ms <= INT64_MAX &&
                     kd_store_reset_delay(r, &delay) == KD_OK);
}

static bool
org_is_good(const struct kd_store_item *item, const struct kd_audit_record *r)
{
    const struct kd_org_put *o = item->org;

    return o == NULL || (o->version != 0 && r->domain.n != 0 &&
                         signet_is_whole(o->signet, NULL, NULL));
}

static bool
keys_are_good(const struct kd_store_item *item)
{
    if (item->n_keys > KD_STORE_KEYS_MAX)
        return false;
    for (size_t i = 0; i < item->n_keys; i++) {
        if (item->keys[i].kind < KD_ORG_KEY_POK ||
            item->keys[i].kind > KD_ORG_KEY_ENCRYPTION)
            return false;
    }
    return true;
}

/* The staged file is what the record names; of an acceptance, the file in place. Its
 * being the next generation is for the back end: another answer there is a conflict. */
static kd_err
check_keystore(struct kd_store *s, const struct kd_store_item *item,
               const struct kd_audit_record *r)
{
    bool good = false;
    kd_err err = KD_OK;

    if (!kd_audit_changes_keystore(r))
        return KD_OK;
    if (item->restore)
        err = kd_keystore_in_place(s, r->keystore_sha256, &good);
    else
        good = s->staged && memcmp(r->keystore_sha256, s->staged_sha256,
                                   sizeof r->keystore_sha256) == 0;
    if (err != KD_OK)
        return err;
    return good ? KD_OK : KD_INVALID;
}

static bool
log_change_is_good(const struct kd_store_item *item, const struct kd_audit_record *r)
{
    return item->restore == (r->op == KD_AUDIT_RESTORE) &&
           item->drop == (r->op == KD_AUDIT_DROP) && (!item->drop || r->about_seq != 0);
}

static bool
has_rows(const struct kd_store_item *item)
{
    return item->link != NULL || item->signing != NULL || item->org != NULL ||
           item->idem != NULL || item->n_keys != 0 || item->checkpoint.n != 0 ||
           item->reset != NULL || item->restore || item->drop;
}

static bool
find_hash(void *arg, const struct kd_backend_record *row)
{
    struct kd_store_ack *ack = arg;

    ack->epoch = row->epoch;
    ack->seq = row->seq;
    ack->outcome = row->stored;
    if (row->hash.n == sizeof ack->hash)
        memcpy(ack->hash, row->hash.p, sizeof ack->hash);
    return false;
}

/* A checkpoint that goes with a record must be of a head before it, on this chain. */
static kd_err
check_checkpoint(struct kd_store *s, struct kd_slice octets)
{
    struct kd_checkpoint cp;
    struct kd_store_ack at = {0};
    kd_err err;

    if (octets.n == 0)
        return KD_OK;
    if (kd_checkpoint_decode(octets, &cp) != KD_OK || cp.seq > s->chain.tail.seq ||
        memcmp(cp.instance, s->chain.tail.instance, sizeof cp.instance) != 0)
        return KD_INVALID;
    if ((err = s->ops->records(s->backend, cp.seq, cp.seq, find_hash, &at)) != KD_OK)
        return err;
    if (at.seq != cp.seq || at.epoch != cp.epoch ||
        memcmp(at.hash, cp.hash, sizeof at.hash) != 0)
        return KD_INVALID;
    return KD_OK;
}

static kd_err
check_item(struct kd_store *s, const struct kd_store_item *item,
           const struct kd_audit_record *r)
{
    kd_err err;

    if (has_rows(item) && r->outcome != KD_OUTCOME_DONE)
        return KD_INVALID;
    if (!signing_is_good(item, r) || !org_is_good(item, r) || !keys_are_good(item) ||
        !log_change_is_good(item, r) || !reset_is_good(item, r))
        return KD_INVALID;
    if ((err = check_keystore(s, item, r)) != KD_OK)
        return err;
    return check_checkpoint(s, item->checkpoint);
}

/* --- a batch --- */

kd_err
kd_store_begin(struct kd_store *s)
{
    kd_err err = may_read(s);

    if (err != KD_OK)
        return err;
    if ((err = s->ops->begin(s->backend)) != KD_OK)
        return settle(s, err);
    s->in_batch = true;
    s->committed = s->chain.tail;
    s->batch_generation = s->keystore_generation;
    memcpy(s->batch_sha256, s->keystore_sha256, sizeof s->batch_sha256);
    s->batch_base = s->base;
    s->batch_fence = s->fence;
    return KD_OK;
}

/* A record at or before the head: the same one again, or a fault of the vault's. */
static kd_err
acknowledge_again(struct kd_store *s, const struct kd_audit_record *r,
                  struct kd_slice octets, struct kd_store_ack *ack)
{
    struct kd_store_ack at = {0};
    uint8_t hash[KD_SHA256_SIZE];
    kd_err err = s->ops->records(s->backend, r->seq, r->seq, find_hash, &at);

    if (err != KD_OK)
        return err;
    kd_audit_hash(octets, hash);
    if (at.seq != r->seq || memcmp(hash, at.hash, sizeof hash) != 0)
        return KD_INVALID;
    *ack = at;
    return KD_OK;
}

/* What the item changes beside its rows, once the batch is committed. */
static void
note_changes(struct kd_store *s, const struct kd_store_item *item,
             const struct kd_audit_record *r, const struct kd_audit_tail *last)
{
    if (kd_audit_changes_keystore(r)) {
        s->batch_generation = r->keystore_generation;
        memcpy(s->batch_sha256, r->keystore_sha256, sizeof s->batch_sha256);
    }
    if (item->restore)
        s->batch_fence = r->epoch;
    if (item->drop)
        s->batch_base = *last;
}

struct last_dropped {
    struct kd_audit_tail tail;
    bool found;
};

static bool
take_last(void *arg, const struct kd_backend_record *row)
{
    struct last_dropped *last = arg;
    struct kd_audit_record r;

    if (kd_audit_decode(row->record, &r) != KD_OK)
        return false;
    last->found = true;
    memcpy(last->tail.instance, r.instance, sizeof r.instance);
    last->tail.epoch = r.epoch;
    last->tail.seq = r.seq;
    last->tail.time_ms = r.time_ms;
    kd_audit_hash(row->record, last->tail.hash);
    return false;
}

static kd_err
find_last_dropped(struct kd_store *s, const struct kd_store_item *item, uint64_t seq,
                  struct kd_audit_tail *out)
{
    struct last_dropped last = {0};
    kd_err err;

    if (!item->drop)
        return KD_OK;
    if (seq <= s->batch_base.seq)
        return KD_OK; /* a conflict, as the back end will say */
    if ((err = s->ops->records(s->backend, seq, seq, take_last, &last)) != KD_OK)
        return err;
    *out = last.tail;
    return last.found ? KD_OK : KD_INVALID;
}

static kd_err
add_next(struct kd_store *s, const struct kd_store_item *item, struct kd_store_ack *ack)
{
    struct kd_audit_record r;
    struct kd_chain next = s->chain;
    struct kd_audit_tail last = {0};
    kd_err outcome = KD_OK;
    kd_err err = kd_chain_feed(&next, item->record, &r);

    if (err != KD_OK)
        return err;
    if ((err = check_item(s, item, &r)) != KD_OK ||
        (err = find_last_dropped(s, item, r.about_seq, &last)) != KD_OK)
        return err;
    if ((err = s->ops->add(s->backend, item, &r, next.tail.hash, &outcome)) != KD_OK)
        return err;
    s->chain = next;
    if (outcome == KD_OK)
        note_changes(s, item, &r, &last);
    *ack = (struct kd_store_ack){
        .epoch = r.epoch,
        .seq = r.seq,
        .outcome = outcome,
    };
    memcpy(ack->hash, next.tail.hash, sizeof ack->hash);
    return KD_OK;
}

kd_err
kd_store_add(struct kd_store *s, const struct kd_store_item *item,
             struct kd_store_ack *ack)
{
    struct kd_audit_record r;
    kd_err err;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->in_batch)
        return KD_INVALID;
    if ((err = kd_audit_decode(item->record, &r)) != KD_OK)
        return err;
    if (r.seq <= s->chain.tail.seq)
        err = acknowledge_again(s, &r, item->record, ack);
    else
        err = add_next(s, item, ack);
    return settle(s, err);
}

static bool
counter_is_good(struct kd_slice name)
{
    if (name.n == 0 || name.n > KD_STORE_COUNTER_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' &&
            c != '_' && c != '.')
            return false;
    }
    return true;
}

kd_err
kd_store_count(struct kd_store *s, struct kd_slice name, uint64_t n)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->in_batch || !counter_is_good(name) || n > INT64_MAX)
        return KD_INVALID;
    return settle(s, s->ops->count(s->backend, name, n));
}

kd_err
kd_store_count_uptime(struct kd_store *s, uint64_t ms)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->in_batch || ms > INT64_MAX)
        return KD_INVALID;
    return settle(s, s->ops->count_uptime(s->backend, ms));
}

kd_err
kd_store_purge_idem(struct kd_store *s, uint64_t before_ms, unsigned max, unsigned *n)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->in_batch || before_ms > INT64_MAX)
        return KD_INVALID;
    return settle(s, s->ops->purge_idem(s->backend, before_ms, max, n));
}

kd_err
kd_store_sweep(struct kd_store *s, unsigned max, unsigned *n)
{
    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->in_batch)
        return KD_INVALID;
    return settle(s, s->ops->sweep(s->backend, max, n));
}

kd_err
kd_store_commit(struct kd_store *s)
{
    if (s->broken || !s->in_batch)
        return KD_UNKNOWN;
    s->in_batch = false;
    if (s->ops->commit(s->backend, &s->chain.tail) != KD_OK) {
        s->broken = true;
        return KD_UNKNOWN;
    }
    s->committed = s->chain.tail;
    s->keystore_generation = s->batch_generation;
    memcpy(s->keystore_sha256, s->batch_sha256, sizeof s->keystore_sha256);
    s->base = s->batch_base;
    s->fence = s->batch_fence;
    return KD_OK;
}

void
kd_store_abort(struct kd_store *s)
{
    if (!s->in_batch)
        return;
    s->in_batch = false;
    s->ops->abort(s->backend);
    s->chain.tail = s->committed;
}

kd_err
kd_store_tend(struct kd_store *s)
{
    if (s->broken || s->in_batch)
        return KD_UNKNOWN;
    if (s->ops->tend(s->backend) != KD_OK) {
        s->broken = true;
        return KD_UNKNOWN;
    }
    return KD_OK;
}
