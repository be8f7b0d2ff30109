#include <keyd/base/be.h>
#include <keyd/ledger/outside.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A slot: the tag, instance, epoch, seq, hash, and the first octets of the SHA-256 of
 * all that. */
static const uint8_t tag[8] = "keydhead";
enum {
    AT_INSTANCE = sizeof tag,
    AT_EPOCH = AT_INSTANCE + KD_INSTANCE_SIZE,
    AT_SEQ = AT_EPOCH + 8,
    AT_HASH = AT_SEQ + 8,
    AT_CHECK = AT_HASH + KD_SHA256_SIZE,
    CHECK_SIZE = 16,
    HEAD_SIZE = AT_CHECK + CHECK_SIZE,
    NAME_SIZE = KD_OUTSIDE_NAME_MAX + 16,
};

static void
name_of(const char *name, const char *suffix, char out[NAME_SIZE])
{
    kd_ignore(snprintf(out, NAME_SIZE, "%.*s%s", KD_OUTSIDE_NAME_MAX, name, suffix));
}

static kd_err
write_whole(int fd, const uint8_t *p, size_t n, off_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(fd, p + done, n - done, at + (off_t)done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return KD_IO;
        done += (size_t)k;
    }
    return KD_OK;
}

/* --- reading --- */

static void
slot_encode(const struct kd_checkpoint *head, uint8_t out[HEAD_SIZE])
{
    uint8_t digest[crypto_hash_sha256_BYTES];

    memcpy(out, tag, sizeof tag);
    memcpy(out + AT_INSTANCE, head->instance, sizeof head->instance);
    kd_put_be64(out + AT_EPOCH, head->epoch);
    kd_put_be64(out + AT_SEQ, head->seq);
    memcpy(out + AT_HASH, head->hash, sizeof head->hash);
    crypto_hash_sha256(digest, out, AT_CHECK);
    memcpy(out + AT_CHECK, digest, CHECK_SIZE);
}

static bool
slot_decode(const uint8_t in[HEAD_SIZE], struct kd_checkpoint *out)
{
    struct kd_checkpoint head = {0};
    uint8_t again[HEAD_SIZE];

    memcpy(head.instance, in + AT_INSTANCE, sizeof head.instance);
    head.epoch = kd_be64(in + AT_EPOCH);
    head.seq = kd_be64(in + AT_SEQ);
    memcpy(head.hash, in + AT_HASH, sizeof head.hash);
    slot_encode(&head, again);
    if (memcmp(in, again, sizeof again) != 0)
        return false;
    *out = head;
    return true;
}

static bool
is_newer(const struct kd_checkpoint *a, const struct kd_checkpoint *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->seq > b->seq;
}

/* A regular file's octets, at most max; KD_NOT_FOUND, KD_MALFORMED (another sort of
 * file, or larger), KD_IO. */
static kd_err
read_file(int dir, const char *name, uint8_t *out, size_t max, size_t *n)
{
    struct stat st;
    kd_err err = KD_OK;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? KD_NOT_FOUND : errno == ELOOP ? KD_MALFORMED : KD_IO;
    if (fstat(fd, &st) != 0)
        err = KD_IO;
    else if (!S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size > max)
        err = KD_MALFORMED;
    for (*n = 0; err == KD_OK && *n < (size_t)st.st_size;) {
        ssize_t k = pread(fd, out + *n, (size_t)st.st_size - *n, (off_t)*n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            err = KD_IO;
        else
            *n += (size_t)k;
    }
    close(fd);
    return err;
}

static kd_err
read_checkpoint(int dir, const char *name, struct kd_outside *out)
{
    kd_err err = read_file(dir, name, out->octets, sizeof out->octets, &out->n);

    if (err == KD_OK)
        err = kd_checkpoint_decode(kd_slice(out->octets, out->n), &out->checkpoint);
    out->has_checkpoint = err == KD_OK;
    out->damaged |= err == KD_MALFORMED;
    return err == KD_IO ? KD_IO : KD_OK;
}

static kd_err
read_head(int dir, const char *name, struct kd_outside *out)
{
    uint8_t octets[KD_OUTSIDE_SLOT + HEAD_SIZE];
    char head_name[NAME_SIZE];
    struct kd_checkpoint slot;
    size_t n;

    name_of(name, ".head", head_name);
    kd_err err = read_file(dir, head_name, octets, sizeof octets, &n);
    if (err == KD_NOT_FOUND || err == KD_IO)
        return err == KD_IO ? KD_IO : KD_OK;
    for (size_t at = 0; err == KD_OK && at < sizeof octets; at += KD_OUTSIDE_SLOT) {
        if (n < at + HEAD_SIZE || !slot_decode(octets + at, &slot))
            continue;
        if (!out->has_head || is_newer(&slot, &out->head))
            out->head = slot;
        out->has_head = true;
    }
    /* All zero: just made, by a process that came no further. */
    out->damaged |= !out->has_head && (err != KD_OK || !sodium_is_zero(octets, n));
    return KD_OK;
}

kd_err
kd_outside_read(int dir, const char *name, struct kd_outside *out)
{
    kd_err err;

    *out = (struct kd_outside){0};
    if ((err = read_checkpoint(dir, name, out)) != KD_OK)
        return err;
    return read_head(dir, name, out);
}

/* --- judging --- */

/* One of the two, if it is there. */
static kd_err
judge_one(struct kd_store *s, bool *has, const struct kd_checkpoint *noted,
          struct kd_checkpoint *known, enum kd_standing *out)
{
    enum kd_store_order order;
    kd_err err;

    if (!*has)
        return KD_OK;
    if ((err = kd_store_compare(s, noted, &order)) != KD_OK)
        return err;
    if (order == KD_ORDER_SET_ASIDE) {
        *has = false;
        return KD_OK;
    }
    if (is_newer(noted, known))
        *known = *noted;
    if (order == KD_ORDER_OTHER)
        *out = KD_STANDS_FORKED;
    else if (order == KD_ORDER_AHEAD && *out != KD_STANDS_FORKED)
        *out = KD_STANDS_BEHIND;
    return KD_OK;
}

kd_err
kd_outside_judge(struct kd_store *s, struct kd_outside *in, struct kd_checkpoint *known,
                 enum kd_standing *out)
{
    struct kd_audit_tail tail;
    bool was_there = in->has_checkpoint || in->has_head;
    kd_err err;

    *known = (struct kd_checkpoint){0};
    *out = KD_STANDS_WELL;
    kd_store_tail(s, &tail);
    if ((err = judge_one(s, &in->has_checkpoint, &in->checkpoint, known, out)) !=
            KD_OK ||
        (err = judge_one(s, &in->has_head, &in->head, known, out)) != KD_OK)
        return err;
    if (*out == KD_STANDS_WELL && in->damaged)
        *out = KD_STANDS_UNREADABLE;
    else if (*out == KD_STANDS_WELL && !was_there && tail.seq != 0)
        *out = KD_STANDS_MISSING;
    return KD_OK;
}

/* --- writing --- */

kd_err
kd_outside_head_open(int dir, const char *name, int *fd)
{
    char head_name[NAME_SIZE];
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    kd_err err = KD_OK;

    name_of(name, ".head", head_name);
    int f = openat(dir, head_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f < 0)
        return KD_IO;
    if (fcntl(f, F_SETLK, &all) != 0)
        err = errno == EAGAIN || errno == EACCES ? KD_BUSY : KD_IO;
    /* Never longer or shorter from here on, so that writing it needs no room. */
    if (err == KD_OK && ftruncate(f, KD_OUTSIDE_SLOT + HEAD_SIZE) != 0)
        err = KD_IO;
    if (err != KD_OK)
        close(f);
    else
        *fd = f;
    return err;
}

kd_err
kd_outside_head_write(int fd, unsigned slot, const struct kd_checkpoint *head)
{
    uint8_t octets[HEAD_SIZE];

    slot_encode(head, octets);
    return write_whole(fd, octets, sizeof octets,
                       (off_t)(slot % KD_OUTSIDE_SLOTS) * KD_OUTSIDE_SLOT);
}

kd_err
kd_outside_checkpoint_write(int dir, const char *name, struct kd_slice octets)
{
    char part[NAME_SIZE];
    kd_err err;

    name_of(name, ".new", part);
    if (unlinkat(dir, part, 0) != 0 && errno != ENOENT)
        return KD_IO;
    int fd =
        openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return KD_IO;
    err = write_whole(fd, octets.p, octets.n, 0);
    if (err == KD_OK && fsync(fd) != 0)
        err = KD_IO;
    if (close(fd) != 0 && err == KD_OK)
        err = KD_IO;
    if (err == KD_OK && (renameat(dir, part, dir, name) != 0 || fsync(dir) != 0))
        err = KD_IO;
    return err;
}

kd_err
kd_outside_checkpoint_remove(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
        return KD_IO;
    return fsync(dir) == 0 ? KD_OK : KD_IO;
}
