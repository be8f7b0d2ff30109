#include "mail_ask.h"

#include "../vault/vault.h"

#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>

static kd_err
no_ledger(struct task *t)
{
    return run_refuse(t, KD_UNAVAILABLE, KD_REASON_NO_LEDGER);
}

/* --- authors --- */

static uint64_t
wall_ms(void)
{
    int64_t now = kd_clock_wall_ms();

    return now > 0 ? (uint64_t)now : 0;
}

void
mail_ask_author(struct vault *v, struct task *t, struct kd_slice address,
                uint32_t grace_s, struct mail_authors *a, task_step next)
{
    uint64_t now = wall_ms(), grace = (uint64_t)grace_s * 1000;

    a->since_ms = now > grace ? now - grace : 0;
    a->n = 0;
    kd_buf_init(&a->octets, KD_AUTHOR_OCTETS_MAX);
    kd_buf_reset(&t->ask);
    kd_ask_author_put(&t->ask, &(struct kd_ask_author){t->tag, address, a->since_ms});
    task_ask(v, t, KD_MSG_ask_author, next);
}

static void
let_go(struct mail_authors *a)
{
    if (a->held_of != NULL)
        a->held_of->author_octets -= a->held;
    a->held_of = NULL;
    a->held = 0;
}

static kd_err
hold(struct vault *v, size_t n, struct mail_authors *a)
{
    let_go(a);
    if (n > MAIL_AUTHORS_HELD_MAX - v->author_octets)
        return KD_BUSY;
    a->held_of = v;
    a->held = n;
    v->author_octets += n;
    return KD_OK;
}

static kd_err
copy_large(const struct task *t, struct mail_authors *a)
{
    size_t n;
    kd_err err = kd_memfd_check(t->told_fd, KD_AUTHOR_OCTETS_MAX, &n);

    if (err == KD_OK)
        err = hold(t->vault, n, a);
    return err == KD_OK ? kd_memfd_append(t->told_fd, n, &a->octets) : err;
}

static kd_err
copy_signets(const struct task *t, const struct kd_told_author *m,
             struct mail_authors *a)
{
    kd_buf_reset(&a->octets);
    if (t->told_fd >= 0)
        return m->signets.n != 0 ? KD_MALFORMED : copy_large(t, a);
    kd_buf_put(&a->octets, m->signets);
    return a->octets.err;
}

/* The newest first: the current one in all its forms, then those before it, none of
 * them superseded before what was asked for. */
static bool
is_in_place(const struct mail_authors *a, uint64_t superseded_ms)
{
    uint64_t before = a->n == 0 ? 0 : a->list[a->n - 1].superseded_ms;

    if (superseded_ms == 0)
        return before == 0;
    return a->n != 0 && superseded_ms >= a->since_ms &&
           (before == 0 || superseded_ms <= before);
}

static kd_err
list_signets(struct mail_authors *a)
{
    struct kd_cur c = kd_cur(kd_buf_slice(&a->octets));
    struct kd_told_signet m;

    a->n = 0;
    while (kd_cur_left(&c) != 0) {
        if (a->n == KD_AUTHOR_SIGNETS ||
            kd_told_signet_get(kd_list_next(&c), &m) != KD_OK ||
            !is_in_place(a, m.superseded))
            return KD_MALFORMED;
        a->list[a->n++] = (struct mail_author_signet){.superseded_ms = m.superseded,
                                                      .signet = m.signet};
    }
    return kd_cur_end(&c);
}

kd_err
mail_told_author(struct task *t, struct mail_authors *a)
{
    struct kd_told_author m;
    kd_err err = kd_told_author_get(t->told, &m);

    if (err == KD_OK && m.err != KD_OK)
        err = KD_UNAVAILABLE;
    if (err == KD_OK)
        err = account_get(m.account, &a->account);
    if (err == KD_OK)
        err = copy_signets(t, &m, a);
    if (err == KD_OK)
        err = list_signets(a);
    if (err == KD_OK)
        return KD_OK;
    a->n = 0;
    return err == KD_NOMEM || err == KD_BUSY ? err : no_ledger(t);
}

bool
mail_authors_are_large(const struct mail_authors *a)
{
    return a->held != 0;
}

static kd_err
believe(const struct task *t, size_t org, struct kd_slice address,
        struct mail_author_signet *s)
{
    struct dime_signet signet;
    enum dime_reason why;
    kd_err err;

    if (dime_signet_parse_own(DIME_USER, s->signet, &signet, &why) != KD_OK ||
        signet.part != DIME_PART_IDENTIFIED ||
        !kd_slice_eq(signet.identifier, address) ||
        !vault_signed(t->vault, org, &signet))
        return KD_UNAVAILABLE;
    if ((err = dime_fingerprint(&signet, DIME_PART_CORE, s->core)) != KD_OK)
        return err;
    return dime_fingerprint(&signet, DIME_PART_FULL, s->full);
}

kd_err
mail_authors_believe(struct task *t, size_t org, struct kd_slice address,
                     struct mail_authors *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        if (believe(t, org, address, &a->list[i]) == KD_OK)
            a->list[n++] = a->list[i];
        else if (i == 0)
            break;
    }
    if (n == 0 && a->n != 0) {
        a->n = 0;
        return run_refuse(t, KD_UNAVAILABLE, KD_REASON_STORED_DIFFERS);
    }
    a->n = n;
    return KD_OK;
}

void
mail_authors_free(struct mail_authors *a)
{
    kd_buf_free(&a->octets);
    let_go(a);
    a->n = 0;
}

/* --- recipients --- */

void
mail_ask_recipient(struct vault *v, struct task *t, struct kd_slice address,
                   const uint8_t *fp, task_step next)
{
    struct kd_ask_recipient m = {.tag = t->tag, .address = address};

    memcpy(m.fp, fp, sizeof m.fp);
    kd_buf_reset(&t->ask);
    kd_ask_recipient_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_recipient, next);
}

kd_err
mail_told_recipient(struct task *t, struct mail_recipient *out)
{
    struct kd_told_recipient m;
    struct mail_recipient r = {.is_known = false};

    if (kd_told_recipient_get(t->told, &m) != KD_OK || t->told_fd >= 0 ||
        m.err != KD_OK || m.known > 1 || (m.known == 0 && m.superseded != 0) ||
        account_get(m.account, &r.account) != KD_OK)
        return no_ledger(t);
    r.is_known = m.known != 0;
    r.superseded_ms = m.superseded;
    *out = r;
    return KD_OK;
}

enum mail_standing
mail_recipient_standing(const struct mail_recipient *r, uint32_t stale_s,
                        int64_t now_ms)
{
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 0;

    if (!r->is_known || r->account.state == KD_ACCOUNT_CLOSED)
        return MAIL_UNKNOWN;
    if (r->superseded_ms == 0)
        return MAIL_CURRENT;
    /* A clock that was put back a little makes nothing unknown. */
    if (now > r->superseded_ms && now - r->superseded_ms > (uint64_t)stale_s * 1000)
        return MAIL_UNKNOWN;
    return MAIL_STALE;
}

/* --- naked mail --- */

void
mail_ask_naked(struct vault *v, struct task *t, struct kd_slice address,
               const uint8_t *key, task_step next)
{
    struct kd_ask_naked m = {.tag = t->tag, .address = address};

    memcpy(m.key, key, sizeof m.key);
    kd_buf_reset(&t->ask);
    kd_ask_naked_put(&t->ask, &m);
    task_ask(v, t, KD_MSG_ask_naked, next);
}

kd_err
mail_told_naked(struct task *t, struct mail_naked_told *out)
{
    struct kd_told_naked m;
    struct mail_naked_told r = {.is_key_known = true};

    if (kd_told_naked_get(t->told, &m) != KD_OK || t->told_fd >= 0 || m.err != KD_OK ||
        m.has_signet > 1 || m.key_known > 1 ||
        account_get(m.account, &r.account) != KD_OK)
        return no_ledger(t);
    r.has_signet = m.has_signet != 0;
    r.is_key_known = m.key_known != 0;
    *out = r;
    return KD_OK;
}
