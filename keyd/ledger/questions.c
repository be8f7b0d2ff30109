/* What the vault asks, and what a new one is told. */
#include "ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>
#include <keyd/base/memfd.h>
#include <keyd/job/reasons.h>

#include <unistd.h>

enum { HEALTH_MS = 1000, FORMERS_A_DOMAIN = 64 };

/* Asked for in place of an empty address: nobody has it. */
static const char nobody[] = "@";

static void
put_account(struct kd_buf *b, const struct kd_account *a)
{
    struct kd_account_part m = {
        .state = (uint8_t)a->hold,
        .reason = a->hold == KD_HOLD_FROZEN ? (uint8_t)kd_freeze_reason_find(a->reason)
                                            : KD_FREEZE_NONE,
        .since = a->since_ms,
        .attested = a->attested,
        .generation = a->generation,
    };

    if (a->has_reset) {
        m.reset = a->reset.approved ? KD_RESET_APPROVED : KD_RESET_WAITING;
        m.requested = a->reset.made_ms;
        m.delay = a->reset.delay_ms;
        m.uptime = a->reset.uptime_ms;
    }
    kd_account_part_put(b, &m);
}

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
    ledger_send(l, &l->vault.chan, KD_MSG_told_issue, fd);
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
        ledger_disk_failed("query", err);
    struct kd_told_issue m = {.tag = ask.tag,
                              .err = (uint8_t)err,
                              .signing_key_known = s.signing_key_known,
                              .encryption_key_known = s.encryption_key_known,
                              .key_seen = s.idem_seen};
    memcpy(m.key_request, s.idem_request, sizeof m.key_request);
    struct kd_buf account;
    kd_buf_init(&account, 64);
    put_account(&account, &s.account);
    if (account.err != KD_OK) /* an account that is not told of could be frozen */
        m.err = (uint8_t)account.err;
    m.account = kd_buf_slice(&account);
    if (err == KD_OK && s.issued) {
        m.is = KD_TOLD_STORED;
        row = &s.stored;
    } else if (err == KD_OK && s.has_head) {
        m.is = KD_TOLD_HEAD;
        row = &s.head;
    }
    tell_issue(l, &m, row);
    kd_buf_free(&account);
    return KD_OK;
}

static kd_err
on_ask_account(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_account ask;
    struct kd_account a = {0};
    struct kd_buf account;
    uint64_t seq;
    kd_err err = kd_ask_account_get(body, &ask);

    if (err != KD_OK)
        return err;
    struct kd_told_account m = {.tag = ask.tag};
    err = ask.has_key ? kd_store_idem_find(l->store, ask.key, m.key_request, &seq)
                      : KD_NOT_FOUND;
    m.key_seen = err == KD_OK;
    if (err == KD_OK || err == KD_NOT_FOUND)
        err = kd_store_account(l->store, ask.address, &a);
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    m.err = (uint8_t)err;
    kd_buf_init(&account, 64);
    put_account(&account, &a);
    m.account = kd_buf_slice(&account);
    kd_told_account_put(&l->scratch, &m);
    kd_buf_join(&l->scratch, &account);
    ledger_send(l, &l->vault.chan, KD_MSG_told_account, -1);
    kd_buf_free(&account);
    return KD_OK;
}

/* --- messages --- */

/* State and reason of the address, into an empty buffer; *part borrows it. */
static kd_err
find_account(struct ledger *l, struct kd_slice address, struct kd_buf *b,
             struct kd_slice *part)
{
    struct kd_account a = {0};
    kd_err err = kd_store_account(l->store, address, &a);

    if (err == KD_OK)
        put_account(b, &a);
    if (err == KD_OK)
        err = b->err;
    *part = kd_buf_slice(b);
    return err;
}

static bool
add_author_signet(void *arg, const struct kd_signet_row *row)
{
    const struct kd_told_signet m = {.superseded = row->superseded_ms,
                                     .signet = row->signet};
    struct kd_buf *list = arg;
    size_t size = row->signet.n + 8 + 4; /* of the message */

    /* What there is no room for is older than what there is. */
    if (list->err != KD_OK || size + 4 > list->max - list->n)
        return false;
    kd_buf_u32(list, (uint32_t)size);
    kd_told_signet_put(list, &m);
    return list->err == KD_OK;
}

static kd_err
on_ask_author(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_author ask;
    struct kd_buf account, signets;
    int fd = -1;
    kd_err err = kd_ask_author_get(body, &ask);

    if (err != KD_OK)
        return err;
    struct kd_told_author m = {.tag = ask.tag};
    kd_buf_init(&account, 64);
    kd_buf_init(&signets, KD_AUTHOR_OCTETS_MAX);
    err = kd_store_user_since(l->store, ask.address, ask.since, KD_AUTHOR_SIGNETS,
                              add_author_signet, &signets);
    if (err == KD_OK)
        err = signets.err;
    if (err == KD_OK)
        err = find_account(l, ask.address, &account, &m.account);
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    if (err == KD_OK)
        err = kd_memfd_if_large(kd_buf_slice(&signets), KD_CHAN_INLINE_MAX, &m.signets,
                                &fd);
    m.err = (uint8_t)err;
    kd_told_author_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_told_author, fd);
    kd_buf_free(&account);
    kd_buf_free(&signets);
    return KD_OK;
}

static kd_err
on_ask_recipient(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_recipient ask;
    struct kd_signet_row row = {0};
    struct kd_buf account;
    kd_err err = kd_ask_recipient_get(body, &ask);

    if (err != KD_OK)
        return err;
    struct kd_told_recipient m = {.tag = ask.tag};
    struct kd_slice address = ask.address.n == 0 ? kd_slice_str(nobody) : ask.address;
    kd_buf_init(&account, 64);
    err = kd_store_user_by_fp(l->store, address, ask.fp, &row);
    m.known = err == KD_OK;
    m.superseded = row.superseded_ms;
    if (err == KD_OK || err == KD_NOT_FOUND)
        err = find_account(l, address, &account, &m.account);
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    m.err = (uint8_t)err;
    kd_told_recipient_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_told_recipient, -1);
    kd_buf_free(&account);
    return KD_OK;
}

/* Whether the address has one now; of which only its fingerprint is read. */
static kd_err
find_signet(struct ledger *l, struct kd_slice address, bool *has)
{
    static const uint8_t none[KD_FP_SIZE];
    uint8_t newest[KD_FP_SIZE];
    bool current;
    kd_err err = kd_store_user_verify(l->store, address, none, &current, newest);

    *has = err == KD_OK;
    return err == KD_NOT_FOUND ? KD_OK : err;
}

static kd_err
on_ask_naked(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_naked ask;
    struct kd_buf account;
    bool known = true, has_signet = false;
    kd_err err = kd_ask_naked_get(body, &ask);

    if (err != KD_OK)
        return err;
    struct kd_told_naked m = {.tag = ask.tag};
    kd_buf_init(&account, 64);
    err = kd_store_signing_key_known(l->store, ask.key, &known);
    if (err == KD_OK)
        err = find_signet(l, ask.address, &has_signet);
    if (err == KD_OK)
        err = find_account(l, ask.address, &account, &m.account);
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    m.err = (uint8_t)err;
    m.has_signet = has_signet;
    m.key_known = known;
    kd_told_naked_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_told_naked, -1);
    kd_buf_free(&account);
    return KD_OK;
}

/* --- resets, requests, counters --- */

struct resets_page {
    struct kd_buf lines;
    unsigned n;
    bool more;
};

static bool
add_reset(void *arg, const struct kd_reset_row *row)
{
    struct resets_page *page = arg;
    const struct kd_account a = {
        .generation = row->generation, .has_reset = true, .reset = *row};
    struct kd_buf account, line;

    if (page->n == KD_RESETS_PAGE) {
        page->more = true;
        return false;
    }
    kd_buf_init(&account, 64);
    kd_buf_init(&line, 512);
    put_account(&account, &a);
    kd_told_reset_put(&line,
                      &(struct kd_told_reset){.address = row->address,
                                              .account = kd_buf_slice(&account)});
    kd_buf_join(&line, &account);
    kd_list_put(&page->lines, kd_buf_slice(&line));
    kd_buf_join(&page->lines, &line);
    page->n++;
    kd_buf_free(&account);
    kd_buf_free(&line);
    return true;
}

static kd_err
on_ask_resets(struct ledger *l, struct kd_slice body)
{
    struct kd_ask_resets ask;
    struct resets_page page = {.n = 0};
    kd_err err = kd_ask_resets_get(body, &ask);

    if (err != KD_OK)
        return err;
    kd_buf_init(&page.lines, 32768);
    err = kd_store_resets(l->store, ask.after, add_reset, &page);
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    struct kd_told_resets m = {.tag = ask.tag,
                               .err = (uint8_t)err,
                               .more = page.more,
                               .lines = kd_buf_slice(&page.lines)};
    kd_told_resets_put(&l->scratch, &m);
    kd_buf_join(&l->scratch, &page.lines);
    ledger_send(l, &l->vault.chan, KD_MSG_told_resets, -1);
    kd_buf_free(&page.lines);
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
        if (err == KD_NOT_FOUND) { /* exported and dropped: told without the record */
            err = KD_OK;
            kd_told_key_put(&l->scratch, &m);
        }
    }
    if (err == KD_UNAVAILABLE)
        ledger_disk_failed("query", err);
    if (l->scratch.n == 0) {
        m.err = (uint8_t)(err == KD_OK ? KD_FAILED : err);
        kd_told_key_put(&l->scratch, &m);
    }
    ledger_send(l, &l->vault.chan, KD_MSG_told_key, -1);
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

/* What the vault has counted; of use only to resets that are pending. */
static kd_err
on_uptime(struct ledger *l, struct kd_slice body)
{
    struct kd_uptime m;
    kd_err err = kd_uptime_get(body, &m);

    if (err != KD_OK || m.ms > INT64_MAX)
        return KD_MALFORMED;
    if (l->n_resets == 0)
        return KD_OK;
    batch_open(l);
    l->n_open++;
    if ((err = kd_store_count_uptime(l->store, m.ms)) != KD_OK)
        ledger_disk_failed("uptime", err);
    batch_commit(l);
    return KD_OK;
}

kd_err
questions_on_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct ledger *l = ctx;
    kd_err err;

    if (type == KD_MSG_commit) {
        batch_set_aside(l, body, fd);
        return KD_OK;
    }
    if (type == KD_MSG_refused && fd < 0)
        err = on_refused(l, body);
    else if (type == KD_MSG_ask_issue && fd < 0)
        err = on_ask_issue(l, body);
    else if (type == KD_MSG_ask_key && fd < 0)
        err = on_ask_key(l, body);
    else if (type == KD_MSG_ask_backup && fd < 0)
        err = copy_on_ask(l, body);
    else if (type == KD_MSG_ask_drop && fd < 0)
        err = drop_on_ask(l, body);
    else if (type == KD_MSG_ask_account && fd < 0)
        err = on_ask_account(l, body);
    else if (type == KD_MSG_ask_author && fd < 0)
        err = on_ask_author(l, body);
    else if (type == KD_MSG_ask_recipient && fd < 0)
        err = on_ask_recipient(l, body);
    else if (type == KD_MSG_ask_naked && fd < 0)
        err = on_ask_naked(l, body);
    else if (type == KD_MSG_ask_resets && fd < 0)
        err = on_ask_resets(l, body);
    else if (type == KD_MSG_uptime && fd < 0)
        err = on_uptime(l, body);
    else
        err = KD_MALFORMED;
    if (fd >= 0)
        close(fd);
    if (err != KD_OK)
        kd_log(KD_WARN, "message %u of the vault refused: %s", type, kd_err_text(err));
    return err;
}

/* --- how things stand around us --- */

static uint8_t
health_flags(const struct ledger *l)
{
    unsigned flags = 0;

    if (l->room.is_low)
        flags |= KD_HEALTH_DISK_LOW;
    if (l->room.lacks_reserve)
        flags |= KD_HEALTH_NO_RESERVE;
    if (!l->outside.is_configured)
        flags |= KD_HEALTH_NO_OUTSIDE;
    if (outside_is_failing(l))
        flags |= KD_HEALTH_OUTSIDE_FAILING;
    if (outside_is_overdue(l))
        flags |= KD_HEALTH_OUTSIDE_OVERDUE;
    return (uint8_t)flags;
}

void
questions_health_if_due(struct ledger *l)
{
    int64_t now = kd_clock_ms();
    struct kd_ledger_health m = {.flags = health_flags(l),
                                 .free = l->room.free,
                                 .outside = l->outside.written,
                                 .failures = l->outside.failures};
    bool is_first = l->health.free == UINT64_MAX;
    bool differs = m.flags != l->health.flags || m.outside != l->health.outside;
    bool moved = m.free != l->health.free || m.failures != l->health.failures;

    /* Numbers move all the time; what they mean seldom. */
    if (l->vault.chan.fd < 0 ||
        !(is_first || differs || (moved && now >= l->health_at)))
        return;
    l->health = m;
    l->health_at = now + HEALTH_MS;
    kd_ledger_health_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_health, -1);
}

/* --- what a new vault is told --- */

static bool
tell_org(void *arg, const struct kd_org_row *row)
{
    struct ledger *l = arg;
    struct kd_ledger_org m = {.domain = row->domain,
                              .version = row->version,
                              .superseded = row->superseded_ms};
    int fd = -1;

    if (kd_memfd_if_large(row->signet, KD_CHAN_INLINE_MAX, &m.signet, &fd) != KD_OK) {
        kd_chan_close(&l->vault.chan);
        return false;
    }
    kd_ledger_org_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_org, fd);
    return true;
}

/* Those that may still open mail, then the current ones. */
static void
tell_orgs(struct ledger *l)
{
    int64_t now = kd_clock_wall_ms();
    uint64_t since =
        now > 0 && (uint64_t)now > KD_FORMER_MS ? (uint64_t)now - KD_FORMER_MS : 0;
    kd_err err = kd_store_org_formers(l->store, since, FORMERS_A_DOMAIN, tell_org, l);

    if (err == KD_OK)
        err = kd_store_org_heads(l->store, tell_org, l);
    if (err != KD_OK)
        ledger_disk_failed("organizational signets", err);
}

static bool
add_stopped(void *arg, struct kd_slice name)
{
    kd_list_put(arg, name);
    return true;
}

static void
tell_accounts(struct ledger *l)
{
    struct kd_ledger_accounts m = {0};
    struct kd_buf stopped;
    kd_err err;

    kd_buf_init(&stopped, 32768);
    if ((err = kd_store_stopped(l->store, add_stopped, &stopped)) != KD_OK ||
        (err = kd_store_uptime(l->store, &m.uptime)) != KD_OK ||
        (err = kd_store_n_resets(l->store, &l->n_resets)) != KD_OK ||
        (err = stopped.err) != KD_OK)
        ledger_disk_failed("accounts", err);
    m.resets = l->n_resets;
    m.stopped = kd_buf_slice(&stopped);
    kd_ledger_accounts_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_accounts, -1);
    kd_buf_free(&stopped);
}

void
questions_tell_resets(struct ledger *l)
{
    uint32_t before = l->n_resets;
    kd_err err = kd_store_n_resets(l->store, &l->n_resets);

    if (err != KD_OK)
        ledger_disk_failed("resets", err);
    if (l->n_resets == before)
        return;
    kd_ledger_resets_put(&l->scratch, &(struct kd_ledger_resets){l->n_resets});
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_resets, -1);
}

static void
tell_keystore(struct ledger *l)
{
    struct kd_ledger_ready m = {0};
    struct kd_slice store, inl;
    int fd = -1;
    uint16_t type = KD_MSG_KEYSTORE;
    kd_err err = kd_store_keystore_read(l->store, &store, &m.keystore);

    if (err == KD_NOT_FOUND) {
        type = KD_MSG_KEYSTORE_ASIDE;
        err = kd_store_keystore_aside(l->store, &store, &m.keystore);
    }

    if (err == KD_OK &&
        (err = kd_memfd_if_large(store, KD_CHAN_INLINE_MAX, &inl, &fd)) == KD_OK)
        err = kd_chan_put(&l->vault.chan, type, inl, fd);
    if (err != KD_OK && err != KD_NOT_FOUND && err != KD_CLOSED)
        ledger_disk_failed("key store", err);
    kd_ledger_ready_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_ready, -1);
}

void
questions_greet(struct ledger *l)
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
        ledger_disk_failed("checkpoint", err);
    m.standing = (uint8_t)l->outside.standing;
    m.outside_epoch = l->outside.known.epoch;
    m.outside_seq = l->outside.known.seq;
    if (l->outside.found.has_checkpoint)
        m.outside = kd_slice(l->outside.found.octets, l->outside.found.n);
    kd_ledger_state_put(&l->scratch, &m);
    ledger_send(l, &l->vault.chan, KD_MSG_ledger_state, -1);
    tell_orgs(l);
    tell_accounts(l);
    tell_keystore(l);
    drop_forget(l);
    l->health = (struct kd_ledger_health){.free = UINT64_MAX}; /* of nobody */
    questions_health_if_due(l);
}
