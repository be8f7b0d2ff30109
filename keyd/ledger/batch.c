/* Group commit: what came in a turn, in one transaction, and its acknowledgements. */
#include "ledger.h"

#include <keyd/base/log.h>
#include <keyd/base/memfd.h>

#include <stdlib.h>
#include <unistd.h>

enum { SIGNET_MAX = 16777220 };

struct ledger_record {
    struct ledger_record *next;
    int fd; /* owned, -1 if none */
    size_t n;
    uint8_t octets[];
};

void
batch_commit(struct ledger *l)
{
    if (l->n_open == 0)
        return;
    kd_err err = kd_store_commit(l->store);
    if (err == KD_OK && l->keystore_staged)
        err = kd_store_keystore_activate(l->store);
    if (err != KD_OK)
        ledger_disk_failed("commit", err);
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
    l->room.n_commits++;
    if (l->batch_restores)
        outside_accepted(l);
    else
        outside_committed(l, l->batch_has_checkpoint);
    l->drop.is_sweeping |= l->batch_drops;
    l->batch_has_checkpoint = l->batch_restores = l->batch_drops = false;
    if (l->resets_moved)
        questions_tell_resets(l);
    l->resets_moved = false;
}

void
batch_open(struct ledger *l)
{
    kd_err err = l->n_open == 0 ? kd_store_begin(l->store) : KD_OK;

    if (err != KD_OK)
        ledger_disk_failed("begin", err);
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
    struct kd_reset_put reset;
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
    r->link.uptime_ms = m.uptime;
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
    batch_commit(l);
    if ((err = kd_store_keystore_stage(l->store, store)) == KD_OK)
        l->keystore_staged = true;
    return err;
}

static kd_err
rows_reset(struct rows *r, struct kd_slice body)
{
    struct kd_row_reset m;
    kd_err err = kd_row_reset_get(body, &m);

    r->reset = (struct kd_reset_put){m.uptime};
    r->item.reset = &r->reset;
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
    if (m->row == KD_ROW_RESET)
        return rows_reset(r, m->row_body);
    if (m->row == KD_ROW_CHECKPOINT) {
        if ((err = kd_row_checkpoint_get(m->row_body, &checkpoint)) == KD_OK)
            r->item.checkpoint = checkpoint.octets;
        return err;
    }
    r->item.restore = m->row == KD_ROW_RESTORE;
    r->item.drop = m->row == KD_ROW_DROP;
    return (m->row == KD_ROW_NONE || r->item.restore || r->item.drop) &&
                   m->row_body.n == 0
               ? KD_OK
               : KD_MALFORMED;
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
        ledger_disk_failed("acknowledgement", l->acks.err);
}

/* Adds one to the batch. KD_INVALID, KD_MALFORMED: the vault is at fault. */
static kd_err
store_record(struct ledger *l, struct kd_slice body, int fd)
{
    struct rows *r = calloc(1, sizeof *r);
    struct kd_store_ack ack = {0};
    struct kd_commit m;

    if (r == NULL)
        ledger_disk_failed("memory", KD_NOMEM);
    kd_buf_init(&r->large, SIGNET_MAX);
    kd_err err = kd_commit_get(body, &m);
    if (err == KD_OK)
        err = make_rows(l, r, &m, fd);
    if (err == KD_OK) {
        batch_open(l);
        l->n_open++;
        err = kd_store_add(l->store, &r->item, &ack);
    }
    if (err == KD_UNAVAILABLE || err == KD_NOMEM || err == KD_IO)
        ledger_disk_failed("record", err);
    if (err == KD_OK) {
        queue_ack(l, &ack);
        if (ack.outcome == KD_OK) {
            l->batch_has_checkpoint |= r->item.checkpoint.n != 0;
            l->batch_restores |= r->item.restore;
            l->batch_drops |= r->item.drop;
        }
        /* While none is pending, only one that is asked for changes how many are. */
        l->resets_moved |= l->n_resets != 0 || r->item.reset != NULL;
        if (l->n_open >= l->conf.group_commit_max || l->keystore_staged)
            batch_commit(l);
    }
    kd_buf_free(&r->large);
    free(r);
    return err;
}

/* Takes fd. */
void
batch_set_aside(struct ledger *l, struct kd_slice body, int fd)
{
    struct ledger_record *r = malloc(sizeof *r + body.n);

    if (r == NULL)
        ledger_disk_failed("memory", KD_NOMEM);
    /* cppcheck-suppress nullPointerRedundantCheck; ledger_disk_failed does not return
     */
    *r = (struct ledger_record){.fd = fd, .n = body.n};
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
void
batch_store(struct ledger *l)
{
    kd_err err = KD_OK;

    while (l->first != NULL) {
        struct ledger_record *r = l->first;
        l->first = r->next;
        if (err == KD_OK &&
            (err = store_record(l, kd_slice(r->octets, r->n), r->fd)) != KD_OK)
            kd_log(KD_WARN, "record of the vault refused: %s", kd_err_text(err));
        if (r->fd >= 0)
            close(r->fd);
        free(r);
    }
    l->last = NULL;
    batch_commit(l);
    if (err != KD_OK)
        kd_chan_close(&l->vault.chan);
}
