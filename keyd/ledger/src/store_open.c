/* Opening: what must hold before anybody is answered. The log's tail is walked, the
 * rows, the checkpoints and the head that the registry recorded must agree with it,
 * and an outside checkpoint must lie on it. */
#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TAIL_CHECK = 16384 };

kd_err
kd_store_why(char why[KD_STORE_WHY_MAX], kd_err err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    kd_ignore(vsnprintf(why, KD_STORE_WHY_MAX, fmt, ap)); /* cut is good enough */
    va_end(ap);
    return err;
}

kd_err
kd_store_errno(int e)
{
    switch (e) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return KD_UNAVAILABLE;
    default:
        return KD_IO;
    }
}

/* --- walking the log --- */

struct walk {
    struct kd_chain chain;
    uint64_t n_rows; /* that the records say there are, by what became of them */
    bool first;      /* the next row tells where the chain starts */
    bool failed;     /* see chain.why */
};

/* The state before a record that is believed because it lies behind what is checked. */
static kd_err
start_before(struct walk *w, const struct kd_backend_record *row)
{
    struct kd_audit_record r;

    if (kd_audit_decode(row->record, &r) != KD_OK || r.seq == 0)
        return KD_INVALID;
    w->chain.tail.epoch = r.epoch;
    w->chain.tail.seq = r.seq - 1;
    w->chain.tail.time_ms = r.time_ms;
    memcpy(w->chain.tail.hash, r.prev, sizeof r.prev);
    return KD_OK;
}

/* True if a row of its own must be there. */
static bool
made_row(const struct kd_audit_record *r, kd_err stored)
{
    return stored == KD_OK && r->outcome == KD_OUTCOME_DONE &&
           (r->op == KD_AUDIT_ISSUE_USER || r->op == KD_AUDIT_REISSUE_USER ||
            r->op == KD_AUDIT_ISSUE_ORG || kd_store_makes_row(r));
}

static bool
walk_one(void *arg, const struct kd_backend_record *row)
{
    struct walk *w = arg;
    const struct kd_audit_tail *tail = &w->chain.tail;
    struct kd_audit_record r;

    w->failed = true;
    if (w->first && start_before(w, row) != KD_OK) {
        w->chain.why = "record does not parse";
        return false;
    }
    w->first = false;
    if (kd_chain_feed(&w->chain, row->record, &r) != KD_OK)
        return false;
    if (row->seq != tail->seq || row->epoch != tail->epoch ||
        !kd_slice_eq(row->hash, kd_slice(tail->hash, sizeof tail->hash))) {
        w->chain.why = "row and record differ";
        return false;
    }
    w->n_rows += made_row(&r, row->stored);
    w->failed = false;
    return true;
}

static kd_err
walk_tail(struct kd_store *s, const struct kd_store_conf *conf,
          const struct kd_backend_head *head, char why[KD_STORE_WHY_MAX])
{
    uint64_t n = conf->tail_check == 0 ? TAIL_CHECK : conf->tail_check;
    uint64_t begin = head->base.seq + 1;
    uint64_t from =
        conf->check == KD_CHECK_FULL || head->seq < n ? 1 : head->seq - n + 1;

    if (from < begin)
        from = begin;
    struct kd_audit_tail base = head->base;
    memcpy(base.instance, head->instance, sizeof base.instance);
    struct walk w = {.chain = kd_chain_after(&base), .first = from != begin};
    s->base = base;
    s->fence = head->fence;
    /* Beyond the head there must be nothing: walk on until there is nothing. */
    kd_err err = s->ops->records(s->backend, from, INT64_MAX, walk_one, &w);
    if (err != KD_OK)
        return kd_store_why(why, err, "log cannot be read");
    const struct kd_audit_tail *tail = &w.chain.tail;
    if (w.failed)
        return kd_store_why(why, KD_INVALID, "log altered after record %llu: %s",
                            (unsigned long long)tail->seq, w.chain.why);
    if (tail->seq != head->seq ||
        memcmp(tail->hash, head->hash, sizeof head->hash) != 0)
        return kd_store_why(why, KD_INVALID,
                            "log altered or truncated: it ends at record %llu, the "
                            "registry says %llu",
                            (unsigned long long)tail->seq,
                            (unsigned long long)head->seq);
    if (head->referred > tail->seq)
        return kd_store_why(why, KD_INVALID,
                            "log truncated: a row names record %llu, the log ends at "
                            "%llu",
                            (unsigned long long)head->referred,
                            (unsigned long long)tail->seq);
    uint64_t n_rows;
    if ((err = s->ops->rows_since(s->backend, from, w.n_rows, &n_rows)) != KD_OK)
        return kd_store_why(why, err, "rows cannot be read");
    if (n_rows != w.n_rows)
        return kd_store_why(why, KD_INVALID,
                            "registry altered: %llu rows since record %llu, where "
                            "the log has %llu",
                            (unsigned long long)n_rows, (unsigned long long)from,
                            (unsigned long long)w.n_rows);
    s->chain = w.chain;
    s->committed = w.chain.tail;
    return KD_OK;
}

struct find {
    bool found;
    uint64_t epoch;
    uint8_t hash[KD_SHA256_SIZE];
};

static bool
find_one(void *arg, const struct kd_backend_record *row)
{
    struct find *f = arg;

    f->found = true;
    f->epoch = row->epoch;
    kd_audit_hash(row->record, f->hash);
    return false;
}

/* True if the checkpoint lies on the log. */
static kd_err
lies_on_log(struct kd_store *s, const struct kd_checkpoint *cp, bool *lies)
{
    struct find f = {0};
    kd_err err = KD_OK;

    if (cp->seq == s->base.seq && cp->seq != 0) {
        f = (struct find){.found = true, .epoch = s->base.epoch};
        memcpy(f.hash, s->base.hash, sizeof f.hash);
    } else {
        err = s->ops->records(s->backend, cp->seq, cp->seq, find_one, &f);
    }
    if (err != KD_OK)
        return err;
    *lies = f.found && f.epoch == cp->epoch &&
            memcmp(cp->instance, s->chain.tail.instance, sizeof cp->instance) == 0 &&
            memcmp(f.hash, cp->hash, sizeof f.hash) == 0;
    return KD_OK;
}

kd_err
kd_store_compare(struct kd_store *s, const struct kd_checkpoint *noted,
                 enum kd_store_order *out)
{
    bool lies = true;
    kd_err err = KD_OK;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (s->in_batch)
        return KD_INVALID;
    if (memcmp(noted->instance, s->chain.tail.instance, sizeof noted->instance) != 0)
        *out = KD_ORDER_OTHER;
    else if (noted->epoch < s->fence)
        *out = KD_ORDER_SET_ASIDE;
    else if (noted->seq > s->chain.tail.seq)
        *out = KD_ORDER_AHEAD;
    else if (noted->seq < s->base.seq || noted->seq == 0)
        *out = KD_ORDER_LIES;
    else if ((err = lies_on_log(s, noted, &lies)) == KD_OK)
        *out = lies ? KD_ORDER_LIES : KD_ORDER_OTHER;
    if (err == KD_IO || err == KD_NOMEM || err == KD_FAILED) {
        s->broken = true;
        return KD_UNAVAILABLE;
    }
    return err;
}

static kd_err
check_checkpoints(struct kd_store *s, const struct kd_checkpoint *outside,
                  char why[KD_STORE_WHY_MAX])
{
    struct kd_slice octets;
    struct kd_checkpoint cp;
    bool lies;
    kd_err err = s->ops->checkpoint_last(s->backend, &octets);

    if (err != KD_OK && err != KD_NOT_FOUND)
        return kd_store_why(why, err, "checkpoints cannot be read");
    if (err == KD_OK) {
        if (kd_checkpoint_decode(octets, &cp) != KD_OK)
            return kd_store_why(why, KD_INVALID, "last checkpoint does not parse");
        if ((err = lies_on_log(s, &cp, &lies)) != KD_OK)
            return kd_store_why(why, err, "log cannot be read");
        if (!lies)
            return kd_store_why(why, KD_INVALID,
                                "log altered: checkpoint of record %llu does not fit",
                                (unsigned long long)cp.seq);
    }
    if (outside == NULL)
        return KD_OK;
    if ((err = lies_on_log(s, outside, &lies)) != KD_OK)
        return kd_store_why(why, err, "log cannot be read");
    if (!lies)
        return kd_store_why(why, KD_INVALID,
                            "registry older than or other than the outside checkpoint "
                            "(record %llu, registry ends at %llu)",
                            (unsigned long long)outside->seq,
                            (unsigned long long)s->chain.tail.seq);
    return KD_OK;
}

static kd_err
check_all(struct kd_store *s, const struct kd_store_conf *conf,
          char why[KD_STORE_WHY_MAX])
{
    struct kd_backend_head head = {0};
    kd_err err = s->ops->head(s->backend, &head);

    if (err != KD_OK)
        return kd_store_why(why, err, "registry cannot be read");
    if ((err = walk_tail(s, conf, &head, why)) != KD_OK)
        return err;
    if ((err = check_checkpoints(s, conf->outside, why)) != KD_OK)
        return err;
    s->keystore_generation = head.keystore_generation;
    memcpy(s->keystore_sha256, head.keystore_sha256, sizeof s->keystore_sha256);
    return kd_keystore_resolve(s, why);
}

void
kd_store_setup(const struct kd_store_ops *ops)
{
    ops->setup();
}

kd_err
kd_store_open(const struct kd_store_ops *ops, const struct kd_store_conf *conf,
              struct kd_store **out, char why[KD_STORE_WHY_MAX])
{
    kd_err err;
    struct kd_store *s = calloc(1, sizeof *s);

    why[0] = '\0';
    if (s == NULL)
        return kd_store_why(why, KD_NOMEM, "out of memory");
    s->ops = ops;
    kd_buf_init(&s->keystore, KD_STORE_KEYSTORE_MAX);
    s->dir = open(conf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0) {
        err = kd_store_why(why, errno == ENOENT ? KD_NOT_FOUND : kd_store_errno(errno),
                           "registry directory: %s", strerror(errno));
        goto out;
    }
    if ((err = ops->open(conf, &s->backend, why)) != KD_OK)
        goto out;
    if ((err = check_all(s, conf, why)) != KD_OK) {
        if (err == KD_IO)
            err = ops->is_damaged(s->backend) ? KD_INVALID : KD_UNAVAILABLE;
        goto out;
    }
    *out = s;
    s = NULL;
out:
    kd_store_close(s);
    return err;
}

void
kd_store_close(struct kd_store *s)
{
    if (s == NULL)
        return;
    if (s->in_batch)
        kd_store_abort(s);
    if (s->backend != NULL)
        s->ops->close(s->backend);
    if (s->dir >= 0)
        close(s->dir);
    kd_buf_free(&s->keystore);
    free(s);
}
