/* Look-ups: what gates read, without the vault. Public data, and for operators the
 * log. */
#include "ledger.h"

#include <dime/signet.h>
#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>

#include <sodium.h>
#include <unistd.h>

enum { HISTORY_MOST = 48, AUDIT_MOST = 64 };

static bool
is_address(struct kd_slice name)
{
    return name.n != 0 && memchr(name.p, '@', name.n) != NULL;
}

/* What is stored is what was issued: header, and the fingerprint of all behind it. Who
 * looks a signet up verifies it himself; but one that rotted on the disk is a fault
 * here, and not the sort of answer that a key service gives. */
static kd_err
check_stored(struct kd_slice signet, uint16_t magic, const uint8_t id_fp[KD_FP_SIZE])
{
    enum { HEADER = 5, SAY_EVERY_MS = 60 * 1000 };
    static int64_t said;
    uint8_t digest[crypto_hash_sha512_BYTES];

    _Static_assert(sizeof digest == KD_FP_SIZE, "a fingerprint is a SHA-512");
    if (signet.n > HEADER && kd_be16(signet.p) == magic &&
        kd_be24(signet.p + 2) == signet.n - HEADER) {
        crypto_hash_sha512(digest, signet.p + HEADER, signet.n - HEADER);
        if (memcmp(digest, id_fp, sizeof digest) == 0)
            return KD_OK;
    }
    if (said == 0 || kd_clock_ms() - said > SAY_EVERY_MS) {
        said = kd_clock_ms();
        kd_log(KD_WARN, "a stored signet is not what was issued: verify the registry");
    }
    return KD_FAILED;
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

    if (err == KD_OK)
        err = check_stored(row.signet, DIME_MAGIC_USER, row.id_fp);
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

    if (err == KD_OK)
        err = check_stored(row.signet, DIME_MAGIC_ORG, row.id_fp);
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
        ledger_disk_failed("look-up", err);
    if (err != KD_OK)
        m = (struct kd_looked_signet){.err = (uint8_t)err};
    m.tag = ask.tag;
    kd_looked_signet_put(&l->scratch, &m);
    ledger_send(l, ch, KD_MSG_looked_signet, fd);
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
        ledger_disk_failed("look-up", err);
    m.err = (uint8_t)err;
    kd_looked_verify_put(&l->scratch, &m);
    ledger_send(l, ch, KD_MSG_looked_verify, -1);
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
        ledger_disk_failed("look-up", err);
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
    ledger_send(l, ch, KD_MSG_looked_history, -1);
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
        ledger_disk_failed("audit page", err);
    m.tag = ask.tag;
    m.err = (uint8_t)err;
    if (err == KD_OK) {
        m.next = page.next;
        m.records = kd_buf_slice(&page.records);
        m.checkpoints = kd_buf_slice(&page.checkpoints);
    }
    kd_looked_audit_put(&l->scratch, &m);
    ledger_send(l, ch, KD_MSG_looked_audit, -1);
    kd_buf_free(&page.records);
    kd_buf_free(&page.checkpoints);
    return KD_OK;
}

/* The last checkpoint, and where the log begins. base is memory for its checkpoint:
 * what the store hands out does not outlive its next call. */
static kd_err
put_ends(struct ledger *l, struct kd_looked_head *m, uint8_t *base, size_t size)
{
    struct kd_audit_tail tail;
    struct kd_slice octets;
    kd_err err = KD_OK;

    kd_store_base(l->store, &tail);
    m->first = tail.seq + 1;
    if (tail.seq != 0 &&
        (err = kd_store_checkpoint_at(l->store, tail.seq, &octets)) == KD_OK &&
        octets.n <= size) {
        memcpy(base, octets.p, octets.n);
        m->base = kd_slice(base, octets.n);
    }
    if (err == KD_OK || err == KD_NOT_FOUND)
        err = kd_store_checkpoint_last(l->store, &m->checkpoint);
    return err == KD_NOT_FOUND ? KD_OK : err;
}

static kd_err
on_look_head(struct ledger *l, struct kd_chan *ch, struct kd_slice body)
{
    uint8_t base[KD_CHECKPOINT_SIGNED_MAX];
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
    err = put_ends(l, &m, base, sizeof base);
    if (err != KD_OK)
        ledger_disk_failed("checkpoint", err);
    kd_looked_head_put(&l->scratch, &m);
    ledger_send(l, ch, KD_MSG_looked_head, -1);
    return KD_OK;
}

kd_err
looks_on_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
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
    struct looks_from *from = ctx;
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
