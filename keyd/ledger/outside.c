/* The checkpoint kept outside: looked at once at start, then written behind every
 * commit by a thread of its own, since other storage may be slow or hang. Nobody waits
 * for it; if it fails for longer than is allowed, the vault is told to sign no more. */
#include "ledger.h"

#include <keyd/base/clock.h>
#include <keyd/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* A head at most so often: commits may come by the thousand, and each write costs a
 * wake-up. */
enum { HEAD_MS = 5, AGAIN_MS = 1000 };

static const char *
file_name(const struct ledger *l)
{
    return strrchr(l->conf.checkpoint_file, '/') + 1; /* it is absolute */
}

void
outside_setup(struct ledger *l)
{
    char path[KD_CHECKPOINT_PATH_MAX];
    struct outside *o = &l->outside;

    o->dir = o->head = -1;
    if (l->conf.checkpoint_file[0] == '\0')
        return;
    o->is_configured = true;
    kd_ignore(snprintf(path, sizeof path, "%s", l->conf.checkpoint_file));
    char *slash = strrchr(path, '/');
    slash[slash == path ? 1 : 0] = '\0';
    o->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->dir < 0)
        kd_log(KD_WARN, "the folder of checkpoint-file cannot be opened (errno %d)",
               errno);
}

/* --- looking --- */

static void
take_lock(struct ledger *l)
{
    struct outside *o = &l->outside;
    kd_err err = o->dir < 0 || o->head >= 0
                     ? KD_OK
                     : kd_outside_head_open(o->dir, file_name(l), &o->head);

    if (err == KD_BUSY) {
        kd_log(KD_WARN, "registry refused: the checkpoint file is in use by another "
                        "keyd, perhaps on a copy of this state");
        _exit(KD_ROLE_EXIT_REFUSED);
    }
    if (err != KD_OK)
        kd_log(KD_WARN, "the checkpoint file's head cannot be opened (errno %d)",
               errno);
}

/* The registry's own last checkpoint is newer than the one outside, or there is none:
 * as after a crash between the two. */
static void
catch_up(struct ledger *l)
{
    struct outside *o = &l->outside;
    struct kd_checkpoint last;
    struct kd_slice octets;
    kd_err err = kd_store_checkpoint_last(l->store, &octets);

    if (err != KD_OK && err != KD_NOT_FOUND)
        ledger_disk_failed("checkpoint", err);
    o->head_due = true;
    if (err != KD_OK || kd_checkpoint_decode(octets, &last) != KD_OK ||
        octets.n > sizeof o->octets)
        return;
    o->checkpoint_due = !o->found.has_checkpoint || last.seq != o->found.checkpoint.seq;
    if (!o->checkpoint_due)
        o->written = last.seq;
    memcpy(o->octets, octets.p, octets.n);
    o->n = octets.n;
    o->seq = last.seq;
}

void
outside_look(struct ledger *l)
{
    struct outside *o = &l->outside;
    kd_err err;

    o->standing = KD_STANDS_UNKNOWN;
    if (!o->is_configured)
        return;
    if (o->dir >= 0 && kd_outside_read(o->dir, file_name(l), &o->found) != KD_OK) {
        kd_log(KD_WARN, "the checkpoint file cannot be read (errno %d)", errno);
        o->found.damaged = true;
    }
    bool there = o->found.has_checkpoint || o->found.has_head || o->found.damaged;
    if ((err = kd_outside_judge(l->store, &o->found, &o->known, &o->standing)) != KD_OK)
        ledger_disk_failed("comparison with the checkpoint", err);
    if (there || o->standing == KD_STANDS_WELL)
        take_lock(l);
    if (o->standing == KD_STANDS_WELL)
        catch_up(l);
    else
        kd_log(KD_WARN,
               "the registry does not fit what is kept outside (standing %d, known "
               "record %llu of epoch %llu)",
               (int)o->standing, (unsigned long long)o->known.seq,
               (unsigned long long)o->known.epoch);
}

/* --- writing --- */

static void
write_job(struct pool_item *item)
{
    struct outside_job *j = (struct outside_job *)item;

    j->err = KD_OK;
    if (j->with_head)
        j->err = kd_outside_head_write(j->head_fd, j->slot, &j->head);
    if (j->err == KD_OK && j->is_synced && fdatasync(j->head_fd) != 0)
        j->err = KD_IO;
    if (j->err == KD_OK && j->n != 0)
        j->err =
            kd_outside_checkpoint_write(j->dir, j->name, kd_slice(j->octets, j->n));
    if (j->err == KD_OK && j->removes)
        j->err = kd_outside_checkpoint_remove(j->dir, j->name);
    j->error = j->err == KD_OK ? 0 : errno;
}

static void
write_done(struct ledger *l, struct ledger_job *job)
{
    struct outside_job *j = (struct outside_job *)job;
    struct outside *o = &l->outside;
    int64_t now = kd_clock_ms();

    o->is_busy = false;
    if (j->err == KD_OK) {
        if (j->n != 0)
            o->written = j->seq;
        if (o->failing_since != 0)
            kd_log(KD_INFO, "the checkpoint file is written again");
        o->failing_since = 0;
        return;
    }
    o->failures++;
    if (o->failing_since == 0) {
        o->failing_since = now;
        kd_log(KD_WARN, "the checkpoint file cannot be written (errno %d)", j->error);
    }
    o->head_due |= j->with_head;
    o->checkpoint_due |= j->n != 0;
    o->removal_due |= j->removes;
    o->again_at = now + AGAIN_MS;
}

static void
head_now(const struct ledger *l, struct kd_checkpoint *out)
{
    struct kd_audit_tail tail;

    kd_store_tail(l->store, &tail);
    *out = (struct kd_checkpoint){.epoch = tail.epoch, .seq = tail.seq};
    memcpy(out->instance, tail.instance, sizeof out->instance);
    memcpy(out->hash, tail.hash, sizeof out->hash);
}

static void
post(struct ledger *l, int64_t now)
{
    struct outside *o = &l->outside;
    struct outside_job *j = &o->job;

    *j = (struct outside_job){.base = {.item = {.work = write_job}, .done = write_done},
                              .dir = o->dir,
                              .head_fd = o->head,
                              .name = file_name(l),
                              .with_head = true,
                              .is_synced = o->checkpoint_due || o->failing_since != 0,
                              .slot = o->slot++,
                              .removes = o->removal_due,
                              .seq = o->seq};
    head_now(l, &j->head);
    if (o->checkpoint_due) {
        memcpy(j->octets, o->octets, o->n);
        j->n = o->n;
    }
    o->head_due = o->checkpoint_due = o->removal_due = false;
    o->again_at = now + HEAD_MS;
    o->is_busy = true;
    pool_run(&l->pool, &j->base.item);
}

bool
outside_is_failing(const struct ledger *l)
{
    const struct outside *o = &l->outside;

    return o->is_configured && (o->dir < 0 || o->failing_since != 0 ||
                                (o->standing == KD_STANDS_WELL && o->head < 0));
}

bool
outside_is_overdue(const struct ledger *l)
{
    return outside_is_failing(l) && kd_clock_ms() - l->outside.failing_since >=
                                        (int64_t)l->conf.checkpoint_grace * 1000;
}

int
outside_turn(struct ledger *l)
{
    struct outside *o = &l->outside;
    int64_t now = kd_clock_ms();

    if (o->standing != KD_STANDS_WELL || o->is_busy ||
        !(o->head_due || o->checkpoint_due || o->removal_due))
        return INT_MAX;
    if (o->head < 0 || o->dir < 0) { /* other storage that is not there */
        if (o->failing_since == 0)
            o->failing_since = now;
        return INT_MAX;
    }
    if (now < o->again_at)
        return (int)(o->again_at - now);
    post(l, now);
    return INT_MAX;
}

void
outside_committed(struct ledger *l, bool with_checkpoint)
{
    struct outside *o = &l->outside;
    struct kd_slice octets;
    struct kd_checkpoint last;

    if (o->standing != KD_STANDS_WELL)
        return;
    o->head_due = true;
    if (!with_checkpoint)
        return;
    kd_err err = kd_store_checkpoint_last(l->store, &octets);
    if (err == KD_NOT_FOUND) /* its row was not taken */
        return;
    if (err != KD_OK || kd_checkpoint_decode(octets, &last) != KD_OK ||
        octets.n > sizeof o->octets)
        ledger_disk_failed("checkpoint", err);
    memcpy(o->octets, octets.p, octets.n);
    o->n = octets.n;
    o->seq = last.seq;
    o->checkpoint_due = true;
}

void
outside_accepted(struct ledger *l)
{
    struct outside *o = &l->outside;

    if (!o->is_configured)
        return;
    o->standing = KD_STANDS_WELL;
    take_lock(l);
    /* What was there is of the other branch. */
    o->found = (struct kd_outside){0};
    o->n = 0;
    catch_up(l);
    o->removal_due = o->n == 0;
}

void
outside_end(struct ledger *l)
{
    struct outside *o = &l->outside;
    struct kd_checkpoint head;

    if (o->standing != KD_STANDS_WELL || o->head < 0)
        return;
    /* One that is being written now has the other slot. */
    head_now(l, &head);
    kd_ignore(kd_outside_head_write(o->head, o->slot, &head)); /* a courtesy */
}
