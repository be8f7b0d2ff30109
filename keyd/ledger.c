/* keyd-ledger: the registry and the audit log; the only writer.
 *
 * Holds     registry, log, the sealed key store file (it cannot open it). No keys.
 * Talks to  the vault: answers its questions, stores its records, acknowledges after
 *           COMMIT; and the gates, which only read: what they send is checked like any
 *           input and never ends this process.
 * May call  sandbox_ledger.def, and of the file system only its own directory.
 *
 * A turn answers every question from what is committed, sets the records that came
 * aside, and then stores those in one transaction (group commit); only then are answers
 * and acknowledgements flushed. An error of the disk means that the outcome is unknown:
 * the process ends, the next one opens and resolves. */
#include "role.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/job/job.h>
#include <keyd/ledger/store.h>
#include <keyd/ops/ops.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PACKETS_A_TURN = 64,
    TICK_MS = 1000,
    SIGNET_MAX = 16777220,
    HISTORY_MOST = 48,
    AUDIT_MOST = 64,
    COUNT_MS = 10 * 1000,
    PURGE_MS = 3600 * 1000,
    PURGE_MOST = 10000,
    IDEM_KEEP_MS = 14LL * 24 * 3600 * 1000,
};

/* A commit message that waits for the end of the turn. */
struct record {
    struct record *next;
    int fd; /* owned, -1 if none */
    size_t n;
    uint8_t octets[];
};

static struct ledger {
    struct kd_chan ctl;
    struct kd_role_link vault;
    struct kd_role_link gates[KD_GATES_MAX];
    struct kd_conf_for_ledger conf;
    struct kd_store *store;
    uint64_t looked[KD_CLASS_COUNT]; /* look-ups by class: counted, never recorded */
    uint64_t refused[KD_OP_MAX + 1]; /* refusals of the vault by operation */
    int64_t count_at, purge_at;      /* CLOCK_MONOTONIC, ms: when to do so next */
    struct record *first, *last;     /* that came this turn */
    unsigned n_open;                 /* items in the open batch */
    struct kd_buf acks;    /* ack messages of the open batch, each behind a length */
    bool keystore_staged;  /* to be activated after the commit */
    struct kd_buf scratch; /* the message being made */
} ledger;

/* The disk or our memory failed, or the commit's outcome is unknown. */
static _Noreturn void
disk_failed(const char *where, kd_err err)
{
    kd_log(KD_WARN, "%s: %s; ending, to open again and resolve", where,
           kd_err_text(err));
    _exit(1);
}

/* Queues the message in scratch; without memory for it the peer must ask again. */
static void
send_scratch(struct ledger *l, struct kd_chan *ch, uint16_t type, int fd)
{
    kd_err err = l->scratch.err;

    if (err == KD_OK)
        err = kd_chan_put(ch, type, kd_buf_slice(&l->scratch), fd);
    else if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        kd_chan_close(ch);
    kd_buf_reset(&l->scratch);
}

/* --- batches --- */

static void
commit_batch(struct ledger *l)
{
    if (l->n_open == 0)
        return;
    kd_err err = kd_store_commit(l->store);
    if (err == KD_OK && l->keystore_staged)
        err = kd_store_keystore_activate(l->store);
    if (err != KD_OK)
        disk_failed("commit", err);
    struct kd_cur c = kd_cur(kd_buf_slice(&l->acks));
    while (kd_cur_left(&c) != 0) {
        struct kd_slice ack = kd_list_next(&c);
        if (kd_chan_put(&l->vault.chan, KD_MSG_ack, ack, -1) != KD_OK)
            kd_chan_close(
                &l->vault.chan); /* it sends again what it has no answer for */
    }
    kd_buf_reset(&l->acks);
    l->n_open = 0;
    l->keystore_staged = false;
}

static void
open_batch(struct ledger *l)
{
    kd_err err = l->n_open == 0 ? kd_store_begin(l->store) : KD_OK;

    if (err != KD_OK)
        disk_failed("begin", err);
}

/* The object of a row: inline, or copied from the descriptor into *large. */
static kd_err
row_object(struct kd_slice inl, int fd, size_t max, struct kd_buf *large,
           struct kd_slice *out)
{
    kd_err err;

    *out = inl;
    if (fd < 0)
        return KD_OK;
    if (inl.n != 0)
        return KD_MALFORMED;
    if ((err = kd_memfd_append(fd, max, large)) != KD_OK)
        return err;
    *out = kd_buf_slice(large);
    return KD_OK;
}

/* What the store takes, and where it borrows from until it is added. */
struct rows {
    struct kd_store_item item;
    struct kd_link_put link;
    struct kd_signing_put signing;
    struct kd_org_put org;
    struct kd_idem_put idem;
    struct kd_org_key_put keys[KD_STORE_KEYS_MAX];
    struct kd_buf large;
};

static kd_err
rows_issue(struct rows *r, struct kd_slice body, int fd)
{
    struct kd_row_issue m;
    kd_err err = kd_row_issue_get(body, &m);

    if (err != KD_OK)
        return err;
    memcpy(r->link.predecessor, m.predecessor, sizeof r->link.predecessor);
    memcpy(r->link.ssr_fp, m.ssr, sizeof r->link.ssr_fp);
    memcpy(r->link.signing_key, m.signing_key, sizeof r->link.signing_key);
    memcpy(r->link.encryption_key, m.encryption_key, sizeof r->link.encryption_key);
    r->signing.version = m.version;
    r->signing.core_size = m.core_size;
    memcpy(r->signing.core_fp, m.core, sizeof r->signing.core_fp);
    memcpy(r->signing.full_fp, m.full, sizeof r->signing.full_fp);
    memcpy(r->signing.id_fp, m.id, sizeof r->signing.id_fp);
    memcpy(r->signing.org_fp, m.org, sizeof r->signing.org_fp);
    r->item.link = &r->link;
    r->item.signing = &r->signing;
    return row_object(m.signet, fd, SIGNET_MAX, &r->large, &r->signing.signet);
}

static kd_err
rows_org(struct rows *r, struct kd_slice body, int fd)
{
    struct kd_row_org m;
    kd_err err = kd_row_org_get(body, &m);

    if (err != KD_OK)
        return err;
    r->org.version = m.version;
    memcpy(r->org.core_fp, m.core, sizeof r->org.core_fp);
    memcpy(r->org.full_fp, m.full, sizeof r->org.full_fp);
    memcpy(r->org.id_fp, m.id, sizeof r->org.id_fp);
    r->item.org = &r->org;
    return row_object(m.signet, fd, SIGNET_MAX, &r->large, &r->org.signet);
}

static kd_err
rows_keystore(struct ledger *l, struct rows *r, struct kd_slice body, int fd)
{
    struct kd_row_keystore m;
    struct kd_slice store;
    kd_err err = kd_row_keystore_get(body, &m);

    if (err != KD_OK)
        return err;
    struct kd_cur c = kd_cur(m.keys);
    for (r->item.n_keys = 0; kd_cur_left(&c) != 0; r->item.n_keys++) {
        if (r->item.n_keys == KD_STORE_KEYS_MAX)
            return KD_MALFORMED;
        struct kd_org_key_put *k = &r->keys[r->item.n_keys];
        k->kind = (enum kd_org_key_kind)kd_cur_u8(&c);
        kd_cur_copy(&c, k->key, sizeof k->key);
    }
    if ((err = kd_cur_end(&c)) != KD_OK)
        return err;
    r->item.keys = r->keys;
    err = row_object(m.store, fd, KD_STORE_KEYSTORE_MAX, &r->large, &store);
    if (err != KD_OK)
        return err;
    /* One change a batch: what is staged is what the batch's commit makes current. */
    commit_batch(l);
    if ((err = kd_store_keystore_stage(l->store, store)) == KD_OK)
        l->keystore_staged = true;
    return err;
}

static kd_err
make_rows(struct ledger *l, struct rows *r, const struct kd_commit *m, int fd)
{
    struct kd_row_checkpoint checkpoint;
    kd_err err = KD_OK;

    r->item.record = m->record;
    if (m->has_key != 0) {
        memcpy(r->idem.key, m->key, sizeof r->idem.key);
        memcpy(r->idem.request, m->request, sizeof r->idem.request);
        r->item.idem = &r->idem;
    }
    if (m->row == KD_ROW_ISSUE)
        return rows_issue(r, m->row_body, fd);
    if (m->row == KD_ROW_ORG)
        return rows_org(r, m->row_body, fd);
    if (m->row == KD_ROW_KEYSTORE)
        return rows_keystore(l, r, m->row_body, fd);
    if (m->row == KD_ROW_CHECKPOINT) {
        if ((err = kd_row_checkpoint_get(m->row_body, &checkpoint)) == KD_OK)
            r->item.checkpoint = checkpoint.octets;
        return err;
    }
    return m->row == KD_ROW_NONE && m->row_body.n == 0 ? KD_OK : KD_MALFORMED;
}

static void
queue_ack(struct ledger *l, const struct kd_store_ack *ack)
{
    struct kd_ack m = {
        .epoch = ack->epoch, .seq = ack->seq, .outcome = (uint8_t)ack->outcome};

    memcpy(m.hash, ack->hash, sizeof m.hash);
    kd_ack_put(&l->scratch, &m);
    kd_list_put(&l->acks, kd_buf_slice(&l->scratch));
    kd_buf_reset(&l->scratch);
    if (l->acks.err != KD_OK)
        disk_failed("acknowledgement", l->acks.err);
}

/* Adds one to the batch. KD_INVALID, KD_MALFORMED: the vault is at fault. */
static kd_err
store_record(struct ledger *l, struct kd_slice body, int fd)
{
    struct rows *r = calloc(1, sizeof *r);
    struct kd_store_ack ack = {0};
    struct kd_commit m;

    if (r == NULL)
        disk_failed("memory", KD_NOMEM);
    kd_buf_init(&r->large, SIGNET_MAX);
    kd_err err = kd_commit_get(body, &m);
    if (err == KD_OK)
        err = make_rows(l, r, &m, fd);
    if (err == KD_OK) {
        open_batch(l);
        l->n_open++;
        err = kd_store_add(l->store, &r->item, &ack);
    }
    if (err == KD_UNAVAILABLE || err == KD_NOMEM || err == KD_IO)
        disk_failed("record", err);
    if (err == KD_OK) {
        queue_ack(l, &ack);
        if (l->n_open >= l->conf.group_commit_max || l->keystore_staged)
            commit_batch(l);
    }
    kd_buf_free(&r->large);
    free(r);
    return err;
}

/* Takes fd. */
static void
set_aside(struct ledger *l, struct kd_slice body, int fd)
{
    struct record *r = malloc(sizeof *r + body.n);

    if (r == NULL)
        disk_failed("memory", KD_NOMEM);
    /* cppcheck-suppress nullPointerRedundantCheck; disk_failed does not return */
    *r = (struct record){.fd = fd, .n = body.n};
    if (body.n != 0)
        memcpy(r->octets, body.p, body.n);
    if (l->last == NULL)
        l->first = r;
    else
        l->last->next = r;
    l->last = r;
}

/* Stores what came this turn. A vault that sends a record which cannot be is not to be
 * believed about the next ones: its channel is closed. */
static void
store_records(struct ledger *l)
{
    kd_err err = KD_OK;

    while (l->first != NULL) {
        struct record *r = l->first;
        l->first = r->next;
        if (err == KD_OK &&
            (err = store_record(l, kd_slice(r->octets, r->n), r->fd)) != KD_OK)
            kd_log(KD_WARN, "record of the vault refused: %s", kd_err_text(err));
        if (r->fd >= 0)
            close(r->fd);
        free(r);
    }
    l->last = NULL;
    commit_batch(l);
    if (err != KD_OK)
        kd_chan_close(&l->vault.chan);
}

/* --- the vault's questions --- */

static void
tell_issue(struct ledger *l, struct kd_told_issue *m, const struct kd_signet_row *row)
{
    int fd = -1;

    if (row != NULL) {
        m->generation = row->generation;
        m->seq = row->seq;
        kd_err err =
            kd_memfd_if_large(row->signet, KD_CHAN_INLINE_MAX, &m->signet, &fd);
        if (err != KD_OK)
            m->err = (uint8_t)err;
    }
    kd_told_issue_put(&l->scratch, m);
    send_scratch(l, &l->vault.chan, KD_MSG_told_issue, fd);
}

static kd_err
on_ask_issue(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_issue ask;
    struct kd_issue_query q = {0};
    struct kd_issue_state s = {0};
    const struct kd_signet_row *row = NULL;
    kd_err err = kd_ask_issue_get(body, &ask);

    if (err != KD_OK)
        return err;
    q.address = ask.address;
    memcpy(q.ssr_fp, ask.ssr, sizeof q.ssr_fp);
    memcpy(q.signing_key, ask.signing_key, sizeof q.signing_key);
    memcpy(q.encryption_key, ask.encryption_key, sizeof q.encryption_key);
    q.has_idem = ask.has_key != 0;
    memcpy(q.idem, ask.key, sizeof q.idem);
    err = kd_store_issue_query(l->store, &q, &s);
    if (err == KD_UNAVAILABLE)
        disk_failed("query", err);
    struct kd_told_issue m = {.tag = ask.tag,
                              .err = (uint8_t)err,
                              .signing_key_known = s.signing_key_known,
                              .encryption_key_known = s.encryption_key_known,
                              .key_seen = s.idem_seen};
    memcpy(m.key_request, s.idem_request, sizeof m.key_request);
    if (err == KD_OK && s.issued) {
        m.is = KD_TOLD_STORED;
        row = &s.stored;
    } else if (err == KD_OK && s.has_head) {
        m.is = KD_TOLD_HEAD;
        row = &s.head;
    }
    tell_issue(l, &m, row);
    return KD_OK;
}

struct one_record {
    uint64_t seq;
    struct kd_told_key *m;
    struct ledger *l;
};

static bool
tell_record(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    struct one_record *one = arg;

    if (seq != one->seq)
        return false;
    one->m->err = (uint8_t)stored;
    one->m->record = record;
    kd_told_key_put(&one->l->scratch, one->m); /* while the record is borrowed */
    return false;
}

static kd_err
on_ask_key(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_key ask;
    kd_err err = kd_ask_key_get(body, &ask);
    uint64_t seq = 0;

    if (err != KD_OK)
        return err;
    struct kd_told_key m = {.tag = ask.tag};
    err = kd_store_idem_find(l->store, ask.key, m.request, &seq);
    if (err == KD_OK) {
        struct one_record one = {seq, &m, l};
        err = kd_store_records(l->store, seq, tell_record, &one);
    }
    if (err == KD_UNAVAILABLE)
        disk_failed("query", err);
    if (l->scratch.n == 0) {
        m.err = (uint8_t)(err == KD_OK ? KD_FAILED : err);
        kd_told_key_put(&l->scratch, &m);
    }
    send_scratch(l, &l->vault.chan, KD_MSG_told_key, -1);
    return KD_OK;
}

static kd_err
on_refused(struct ledger *l, struct kd_slice body)
{
    struct kd_refused m;
    kd_err err = kd_refused_get(body, &m);

    if (err != KD_OK || kd_op_name(m.op) == NULL)
        return KD_MALFORMED;
    l->refused[m.op] += m.n;
    return KD_OK;
}

static kd_err
on_vault_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct ledger *l = ctx;
    kd_err err;

    if (type == KD_MSG_commit) {
        set_aside(l, body, fd);
        return KD_OK;
    }
    if (type == KD_MSG_refused && fd < 0)
        err = on_refused(l, body);
    else if (type == KD_MSG_ask_issue && fd < 0)
        err = on_ask_issue(l, body);
    else if (type == KD_MSG_ask_key && fd < 0)
        err = on_ask_key(l, body);
    else
        err = KD_MALFORMED;
    if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        kd_log(KD_WARN, "message %u of the vault refused: %s", type, kd_err_text(err));
    return err;
}

/* --- counters --- */

static void
add_counter(struct ledger *l, const char *kind, const char *of, uint64_t *n)
{
    char name[KD_STORE_COUNTER_MAX];

    if (*n == 0)
        return;
    int size = snprintf(name, sizeof name, "%s.%s", kind, of);
    for (int i = 0; i < size; i++) /* operations are in camel case */
        name[i] =
            (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    open_batch(l);
    l->n_open++;
    kd_err err = kd_store_count(l->store, kd_slice(name, (size_t)size), *n);
    if (err != KD_OK)
        disk_failed("counter", err);
    *n = 0;
}

static void
store_counters_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms();

    if (now < l->count_at)
        return;
    l->count_at = now + COUNT_MS;
    for (unsigned i = 0; i < KD_CLASS_COUNT; i++)
        add_counter(l, "looked-up", kd_class_name(i), &l->looked[i]);
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (kd_op_name(op) != NULL)
            add_counter(l, "refused", kd_op_name(op), &l->refused[op]);
    commit_batch(l);
}

/* Idempotency keys serve retries; after two weeks nobody retries (issuance is bound to
 * its request for ever). */
static void
purge_keys_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms(), before = kd_clock_wall_ms() - IDEM_KEEP_MS;
    unsigned n;

    if (now < l->purge_at || before < 0)
        return;
    l->purge_at = now + PURGE_MS;
    open_batch(l);
    l->n_open++;
    kd_err err = kd_store_purge_idem(l->store, (uint64_t)before, PURGE_MOST, &n);
    if (err != KD_OK)
        disk_failed("idempotency keys", err);
    commit_batch(l);
}

/* --- what a new vault is told --- */

static bool
tell_org(void *arg, const struct kd_org_row *row)
{
    struct ledger *l = arg;
    struct kd_ledger_org m = {.domain = row->domain, .version = row->version};
    int fd = -1;

    if (kd_memfd_if_large(row->signet, KD_CHAN_INLINE_MAX, &m.signet, &fd) != KD_OK) {
        kd_chan_close(&l->vault.chan);
        return false;
    }
    kd_ledger_org_put(&l->scratch, &m);
    send_scratch(l, &l->vault.chan, KD_MSG_ledger_org, fd);
    return true;
}

static void
tell_keystore(struct ledger *l)
{
    struct kd_ledger_ready m = {0};
    struct kd_slice store, inl;
    int fd = -1;
    kd_err err = kd_store_keystore_read(l->store, &store, &m.keystore);

    if (err == KD_OK &&
        (err = kd_memfd_if_large(store, KD_CHAN_INLINE_MAX, &inl, &fd)) == KD_OK)
        err = kd_chan_put(&l->vault.chan, KD_MSG_KEYSTORE, inl, fd);
    if (err != KD_OK && err != KD_NOT_FOUND && err != KD_CLOSED)
        disk_failed("key store", err);
    kd_ledger_ready_put(&l->scratch, &m);
    send_scratch(l, &l->vault.chan, KD_MSG_ledger_ready, -1);
}

static void
greet_vault(struct ledger *l)
{
    struct kd_audit_tail tail;
    struct kd_ledger_state m = {0};

    kd_store_tail(l->store, &tail);
    memcpy(m.instance, tail.instance, sizeof m.instance);
    m.epoch = tail.epoch;
    m.seq = tail.seq;
    m.time = tail.time_ms;
    memcpy(m.hash, tail.hash, sizeof m.hash);
    kd_err err = kd_store_checkpoint_last(l->store, &m.checkpoint);
    if (err != KD_OK && err != KD_NOT_FOUND)
        disk_failed("checkpoint", err);
    kd_ledger_state_put(&l->scratch, &m);
    send_scratch(l, &l->vault.chan, KD_MSG_ledger_state, -1);
    if ((err = kd_store_org_heads(l->store, tell_org, l)) != KD_OK)
        disk_failed("organizational signets", err);
    tell_keystore(l);
}

/* --- look-ups --- */

static bool
is_address(struct kd_slice name)
{
    return name.n != 0 && memchr(name.p, '@', name.n) != NULL;
}

static kd_err
look_user(struct ledger *l, const struct kd_look_signet *ask,
          struct kd_looked_signet *m, int *fd)
{
    struct kd_signet_row row;
    kd_err err =
        ask->fingerprint.n == 0
            ? kd_store_user_current(l->store, ask->name, &row)
            : kd_store_user_by_fp(l->store, ask->name, ask->fingerprint.p, &row);

    if (err != KD_OK)
        return err;
    m->is_user = 1;
    m->current = row.head && row.newest;
    m->generation = row.generation;
    m->seq = row.seq;
    memcpy(m->core, row.core_fp, sizeof m->core);
    memcpy(m->full, row.full_fp, sizeof m->full);
    return kd_memfd_if_large(row.signet, KD_CHAN_INLINE_MAX, &m->signet, fd);
}

static kd_err
look_org(struct ledger *l, const struct kd_look_signet *ask, struct kd_looked_signet *m,
         int *fd)
{
    struct kd_org_row row;
    kd_err err =
        ask->fingerprint.n == 0
            ? kd_store_org_current(l->store, ask->name, &row)
            : kd_store_org_by_fp(l->store, ask->name, ask->fingerprint.p, &row);

    if (err != KD_OK)
        return err;
    m->current = row.current;
    m->generation = 1;
    m->seq = row.version;
    memcpy(m->core, row.core_fp, sizeof m->core);
    memcpy(m->full, row.full_fp, sizeof m->full);
    return kd_memfd_if_large(row.signet, KD_CHAN_INLINE_MAX, &m->signet, fd);
}

static kd_err
on_look_signet(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    struct kd_look_signet ask;
    struct kd_looked_signet m = {0};
    int fd = -1;
    kd_err err = kd_look_signet_get(body, &ask);

    if (err != KD_OK || (ask.fingerprint.n != 0 && ask.fingerprint.n != KD_FP_SIZE))
        return KD_MALFORMED;
    err =
        is_address(ask.name) ? look_user(l, &ask, &m, &fd) : look_org(l, &ask, &m, &fd);
    if (err == KD_UNAVAILABLE)
        disk_failed("look-up", err);
    if (err != KD_OK)
        m = (struct kd_looked_signet){.err = (uint8_t)err};
    m.tag = ask.tag;
    kd_looked_signet_put(&l->scratch, &m);
    send_scratch(l, ch, KD_MSG_looked_signet, fd);
    return KD_OK;
}

static kd_err
on_look_verify(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    enum { CURRENT = 1, SUPERSEDED = 2, NEVER = 3 };
    struct kd_look_verify ask;
    struct kd_looked_verify m = {0};
    bool current = false;
    kd_err err = kd_look_verify_get(body, &ask);

    if (err != KD_OK)
        return err;
    m.tag = ask.tag;
    if (is_address(ask.name)) {
        struct kd_signet_row row;
        err = kd_store_user_verify(l->store, ask.name, ask.fingerprint, &current,
                                   m.fingerprint);
        m.verdict = current ? CURRENT : NEVER;
        if (err == KD_OK && !current &&
            kd_store_user_by_fp(l->store, ask.name, ask.fingerprint, &row) == KD_OK)
            m.verdict = SUPERSEDED;
    } else {
        struct kd_org_row row;
        err = kd_store_org_current(l->store, ask.name, &row);
        if (err == KD_OK) {
            memcpy(m.fingerprint, row.full_fp, sizeof m.fingerprint);
            current = memcmp(row.full_fp, ask.fingerprint, sizeof row.full_fp) == 0;
            m.verdict = current ? CURRENT : NEVER;
        }
        if (err == KD_OK && !current &&
            kd_store_org_by_fp(l->store, ask.name, ask.fingerprint, &row) == KD_OK)
            m.verdict = SUPERSEDED;
    }
    if (err == KD_UNAVAILABLE)
        disk_failed("look-up", err);
    m.err = (uint8_t)err;
    kd_looked_verify_put(&l->scratch, &m);
    send_scratch(l, ch, KD_MSG_looked_verify, -1);
    return KD_OK;
}

/* A page token: the chain's generation, the next step, the last one wanted. */
static kd_err
history_range(struct ledger *l, const struct kd_look_history *ask, struct kd_history *h,
              uint32_t *from)
{
    struct kd_cur c = kd_cur(ask->page);

    if (ask->page.n == 0) {
        kd_err err = kd_store_user_history(l->store, ask->address,
                                           ask->start.n == 0 ? NULL : ask->start.p,
                                           ask->stop.n == 0 ? NULL : ask->stop.p, h);
        *from = h->first;
        return err;
    }
    *h = (struct kd_history){.generation = kd_cur_u32(&c)};
    *from = h->first = kd_cur_u32(&c);
    h->last = h->head = kd_cur_u32(&c);
    return kd_cur_end(&c) == KD_OK && h->first <= h->last ? KD_OK : KD_NOT_FOUND;
}

struct core_page {
    struct kd_buf *cores;
    uint32_t n, most, next;
};

static bool
add_core(void *arg, uint32_t seq, struct kd_slice core)
{
    struct core_page *page = arg;

    if (page->n == page->most || core.n + 4 > KD_CHAN_INLINE_MAX - page->cores->n)
        return false;
    kd_list_put(page->cores, core);
    page->n++;
    page->next = seq + 1;
    return true;
}

static kd_err
on_look_history(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    struct kd_look_history ask;
    struct kd_looked_history m = {0};
    struct kd_history h = {0};
    struct kd_buf cores;
    uint8_t token[12];
    uint32_t from = 0;
    kd_err err = kd_look_history_get(body, &ask);

    if (err != KD_OK || (ask.start.n != 0 && ask.start.n != KD_FP_SIZE) ||
        (ask.stop.n != 0 && ask.stop.n != KD_FP_SIZE))
        return KD_MALFORMED;
    kd_buf_init(&cores, KD_CHAN_INLINE_MAX);
    struct core_page page = {&cores, 0, HISTORY_MOST, 0};
    if (ask.most != 0 && ask.most < HISTORY_MOST)
        page.most = ask.most;
    err = history_range(l, &ask, &h, &from);
    if (err == KD_OK)
        err = kd_store_user_cores(l->store, ask.address, &h, from, add_core, &page);
    if (err == KD_OK)
        err = cores.err; /* a page that lacks what it should have is no page */
    if (err == KD_UNAVAILABLE)
        disk_failed("look-up", err);
    m.tag = ask.tag;
    m.err = (uint8_t)err;
    if (err == KD_OK && page.n != 0 && page.next <= h.last) {
        kd_put_be32(token, h.generation);
        kd_put_be32(token + 4, page.next);
        kd_put_be32(token + 8, h.last);
        m.next = kd_slice(token, sizeof token);
    }
    m.cores = err == KD_OK ? kd_buf_slice(&cores) : kd_slice(NULL, 0);
    kd_looked_history_put(&l->scratch, &m);
    send_scratch(l, ch, KD_MSG_looked_history, -1);
    kd_buf_free(&cores);
    return KD_OK;
}

enum { PAGE_RECORDS_MAX = 40960, PAGE_CHECKPOINTS_MAX = 8192 };

struct audit_page {
    struct kd_buf records, checkpoints;
    uint32_t n, most;
    uint64_t next; /* the first that is not on the page; 0: all are */
};

static bool
add_record(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    struct audit_page *page = arg;

    (void)stored;
    if (page->n == page->most || record.n + 4 > PAGE_RECORDS_MAX - page->records.n) {
        page->next = seq;
        return false;
    }
    kd_list_put(&page->records, record);
    page->n++;
    return true;
}

static bool
add_checkpoint(void *arg, uint64_t seq, struct kd_slice octets)
{
    struct audit_page *page = arg;

    if ((page->next != 0 && seq >= page->next) ||
        octets.n + 12 > PAGE_CHECKPOINTS_MAX - page->checkpoints.n)
        return false;
    kd_buf_u32(&page->checkpoints, (uint32_t)octets.n + 8);
    kd_buf_u64(&page->checkpoints, seq);
    kd_buf_put(&page->checkpoints, octets);
    return true;
}

static kd_err
on_look_audit(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    struct kd_look_audit ask;
    struct kd_looked_audit m = {0};
    struct audit_page page = {.most = AUDIT_MOST};
    kd_err err = kd_look_audit_get(body, &ask);

    if (err != KD_OK)
        return err;
    if (ask.most != 0 && ask.most < AUDIT_MOST)
        page.most = ask.most;
    kd_buf_init(&page.records, PAGE_RECORDS_MAX);
    kd_buf_init(&page.checkpoints, PAGE_CHECKPOINTS_MAX);
    err = kd_store_records(l->store, ask.from, add_record, &page);
    if (err == KD_OK)
        err = kd_store_checkpoints(l->store, ask.from, add_checkpoint, &page);
    if (err == KD_OK)
        err = page.records.err != KD_OK ? page.records.err : page.checkpoints.err;
    if (err == KD_UNAVAILABLE)
        disk_failed("audit page", err);
    m.tag = ask.tag;
    m.err = (uint8_t)err;
    if (err == KD_OK) {
        m.next = page.next;
        m.records = kd_buf_slice(&page.records);
        m.checkpoints = kd_buf_slice(&page.checkpoints);
    }
    kd_looked_audit_put(&l->scratch, &m);
    send_scratch(l, ch, KD_MSG_looked_audit, -1);
    kd_buf_free(&page.records);
    kd_buf_free(&page.checkpoints);
    return KD_OK;
}

static kd_err
on_look_head(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    struct kd_look_head ask;
    struct kd_looked_head m = {0};
    struct kd_audit_tail tail;
    kd_err err = kd_look_head_get(body, &ask);

    if (err != KD_OK)
        return err;
    kd_store_tail(l->store, &tail);
    m.tag = ask.tag;
    m.epoch = tail.epoch;
    m.seq = tail.seq;
    m.time = tail.time_ms;
    memcpy(m.hash, tail.hash, sizeof m.hash);
    err = kd_store_checkpoint_last(l->store, &m.checkpoint);
    if (err != KD_OK && err != KD_NOT_FOUND)
        disk_failed("checkpoint", err);
    kd_looked_head_put(&l->scratch, &m);
    send_scratch(l, ch, KD_MSG_looked_head, -1);
    return KD_OK;
}

struct from_gate {
    struct ledger *l;
    unsigned gate;
};

static kd_err
on_gate_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    static const struct {
        uint16_t type;
        enum kd_op op;
        kd_err (*on)(struct ledger *l, struct kd_chan *ch, struct kd_slice body);
    } looks[] = {
        {KD_MSG_look_signet, KD_OP_LookupSignet, on_look_signet},
        {KD_MSG_look_history, KD_OP_LookupHistory, on_look_history},
        {KD_MSG_look_verify, KD_OP_VerifyCurrent, on_look_verify},
        {KD_MSG_look_audit, KD_OP_AuditRead, on_look_audit},
        {KD_MSG_look_head, KD_OP_AuditHead, on_look_head},
    };
    struct from_gate *from = ctx;
    struct kd_role_link *g = &from->l->gates[from->gate];
    enum kd_class klass = kd_gate_class(from->gate);
    kd_err err = KD_MALFORMED;

    for (size_t i = 0; fd < 0 && i < sizeof looks / sizeof *looks; i++)
        /* A gate reads what its class may, whatever it says. */
        if (looks[i].type == type && kd_op_is_served(looks[i].op, klass))
            err = looks[i].on(from->l, &g->chan, body);
    if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        kd_log(KD_WARN, "message %u of gate %s refused", type, kd_class_name(klass));
    if (err == KD_OK)
        from->l->looked[klass]++;
    return err;
}

/* --- start and loop --- */

static kd_err
on_ctl_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct ledger *l = ctx;
    struct kd_ctl_link m;

    if (type != KD_MSG_ctl_link || fd < 0 || kd_ctl_link_get(body, &m) != KD_OK ||
        m.gate >= KD_GATES_MAX)
        kd_role_die("bad message from the supervisor", KD_MALFORMED);
    if (m.link == KD_LINK_VAULT) {
        store_records(l); /* what the old vault sent counts; nobody hears of it */
        kd_role_relink_asking(&l->vault, &m, fd);
        greet_vault(l);
    } else if (m.link == KD_LINK_GATE) {
        kd_role_relink_asking(&l->gates[m.gate], &m, fd);
    } else {
        close(fd);
    }
    return KD_OK;
}

static void
open_store(struct ledger *l)
{
    const struct kd_store_conf conf = {.dir = ".", .create = true};
    char why[KD_STORE_WHY_MAX] = "";
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &l->store, why);

    if (err != KD_OK) {
        kd_log(KD_WARN, "registry refused: %s (%s)", why, kd_err_text(err));
        /* Asking again is of no use before an operator has looked, unless it was only
         * the disk or memory: the supervisor tells this status from a crash. */
        _exit(err == KD_NOMEM || err == KD_UNAVAILABLE ? 1 : KD_ROLE_EXIT_REFUSED);
    }
}

static void
setup(struct ledger *l)
{
    struct kd_buf octets;
    struct kd_sandbox_path dir = {.access = KD_PATH_WRITE};
    const struct kd_sandbox_paths paths = {&dir, 1};
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&l->ctl, "keyd-ledger", &octets);
    if ((err = kd_conf_for_ledger_decode(kd_buf_slice(&octets), &l->conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup("keyd-ledger", l->conf.log_level);
    kd_role_unlinked(&l->vault);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_role_unlinked(&l->gates[i]);
    kd_buf_init(&l->acks, (size_t)1 << 20);
    kd_buf_init(&l->scratch, KD_CHAN_BODY_MAX);
    if ((dir.fd = kd_role_directory()) < 0)
        kd_role_die("cannot open the state directory", KD_IO);
    kd_store_setup(&kd_store_sqlite);
    kd_role_confine(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    kd_role_enter(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    close(dir.fd);
    open_store(l);
    kd_role_ready(&l->ctl);
}

static void
wait_for_work(struct ledger *l)
{
    struct pollfd p[KD_GATES_MAX + 2];

    p[0] = kd_role_watch(&l->ctl);
    p[1] = kd_role_watch(&l->vault.chan);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        p[2 + i] = kd_role_watch(&l->gates[i].chan);
    kd_ignore(poll(p, KD_GATES_MAX + 2, TICK_MS)); /* failures show when receiving */
}

static void
turn(struct ledger *l)
{
    wait_for_work(l);
    kd_role_serve_ctl(&l->ctl, on_ctl_message, l);
    kd_role_serve(&l->ctl, &l->vault, PACKETS_A_TURN, on_vault_message, l);
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        struct from_gate from = {l, i};
        kd_role_serve(&l->ctl, &l->gates[i], PACKETS_A_TURN, on_gate_message, &from);
    }
    store_records(l);
    store_counters_if_due(l);
    purge_keys_if_due(l);
    kd_role_flush(&l->ctl, &l->vault);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_role_flush(&l->ctl, &l->gates[i]);
    kd_role_flush_ctl(&l->ctl);
    kd_err err = kd_store_tend(l->store);
    if (err != KD_OK)
        disk_failed("checkpoint of the write-ahead log", err);
}

int
main(void)
{
    setup(&ledger);
    for (;;)
        turn(&ledger);
}
