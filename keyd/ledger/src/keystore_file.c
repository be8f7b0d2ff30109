/* The key store file: replaced as a whole, and only by what a committed record names.
 *
 *   stage     keystore.new written, synced, read back
 *   commit    the record {generation, SHA-256}            <- the moment of truth
 *   activate  keystore.new renamed to keystore, directory synced
 *
 * A crash before the commit leaves a keystore.new that nobody named: removed at the
 * next open. A crash after it leaves one that is named: renamed at the next open.
 *
 * An operator who has to begin with a new key store renames the old one, keyd being
 * stopped, to keystore.set-aside. That very file in that very place, and none in the
 * other's, is how it is told from a loss: then there is no key store, and the vault may
 * make one that continues the generations. */
#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char in_place[] = "keystore";
static const char staged[] = "keystore.new";
static const char set_aside[] = "keystore.set-aside";

static kd_err
write_whole(int fd, struct kd_slice s)
{
    for (size_t at = 0; at < s.n;) {
        ssize_t k = pwrite(fd, s.p + at, s.n - at, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return KD_IO;
        at += (size_t)k;
    }
    return KD_OK;
}

static kd_err
read_whole(int fd, uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = pread(fd, p + at, n - at, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return KD_IO;
        at += (size_t)k;
    }
    return KD_OK;
}

/* The file's octets into buf. KD_NOT_FOUND, KD_INVALID (no regular file of a sensible
 * size, or not ours to read), KD_IO, KD_NOMEM. */
static kd_err
file_read(int dir, const char *name, struct kd_buf *buf)
{
    struct stat st;
    kd_err err = KD_OK;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT                     ? KD_NOT_FOUND
               : errno == EACCES || errno == ELOOP ? KD_INVALID
                                                   : kd_store_errno(errno);
    if (fstat(fd, &st) != 0) {
        err = KD_IO;
    } else if (!S_ISREG(st.st_mode) || st.st_size <= 0 ||
               st.st_size > KD_STORE_KEYSTORE_MAX) {
        err = KD_INVALID;
    } else {
        kd_buf_reset(buf);
        uint8_t *p = kd_buf_add(buf, (size_t)st.st_size);
        err = p == NULL ? buf->err : read_whole(fd, p, (size_t)st.st_size);
    }
    close(fd);
    return err;
}

/* True if the file is there and has this digest. */
static kd_err
file_is(struct kd_store *s, const char *name, const uint8_t *sha256, bool *is)
{
    uint8_t digest[KD_SHA256_SIZE];
    kd_err err = file_read(s->dir, name, &s->keystore);

    *is = false;
    if (err == KD_NOT_FOUND || err == KD_INVALID)
        return KD_OK;
    if (err != KD_OK)
        return err;
    crypto_hash_sha256(digest, s->keystore.p, s->keystore.n);
    *is = memcmp(digest, sha256, sizeof digest) == 0;
    return KD_OK;
}

kd_err
kd_keystore_in_place(struct kd_store *s, const uint8_t sha256[KD_SHA256_SIZE], bool *is)
{
    return file_is(s, in_place, sha256, is);
}

static kd_err
put_in_place(struct kd_store *s)
{
    if (renameat(s->dir, staged, s->dir, in_place) != 0 || fsync(s->dir) != 0)
        return kd_store_errno(errno);
    s->staged = false;
    s->set_aside = false;
    return KD_OK;
}

/* No key store in place, and the one recorded set aside. */
static kd_err
is_set_aside(struct kd_store *s, bool *is)
{
    struct stat st;

    *is = false;
    if (fstatat(s->dir, in_place, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return KD_OK;
    return errno == ENOENT ? file_is(s, set_aside, s->keystore_sha256, is) : KD_IO;
}

kd_err
kd_keystore_resolve(struct kd_store *s, char why[KD_STORE_WHY_MAX])
{
    bool named = false;
    bool good = false;
    kd_err err = KD_OK;

    if (s->keystore_generation != 0)
        err = file_is(s, staged, s->keystore_sha256, &named);
    if (err != KD_OK)
        return kd_store_why(why, err, "%s cannot be read", staged);
    if (named && (err = put_in_place(s)) != KD_OK)
        return kd_store_why(why, err, "%s cannot be renamed", staged);
    if (!named && unlinkat(s->dir, staged, 0) != 0 && errno != ENOENT)
        return kd_store_why(why, kd_store_errno(errno), "%s cannot be removed", staged);
    if (s->keystore_generation == 0)
        return KD_OK;
    if ((err = file_is(s, in_place, s->keystore_sha256, &good)) != KD_OK)
        return kd_store_why(why, err, "%s cannot be read", in_place);
    if (!good && (err = is_set_aside(s, &s->set_aside)) != KD_OK)
        return kd_store_why(why, err, "%s cannot be read", set_aside);
    if (!good && !s->set_aside)
        return kd_store_why(why, KD_INVALID,
                            "%s is not the one recorded (generation %llu)", in_place,
                            (unsigned long long)s->keystore_generation);
    return KD_OK;
}

static kd_err
write_staged(int dir, struct kd_slice octets)
{
    kd_err err;

    if (unlinkat(dir, staged, 0) != 0 && errno != ENOENT)
        return KD_IO;
    int fd =
        openat(dir, staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return KD_IO;
    err = write_whole(fd, octets);
    if (err == KD_OK && fsync(fd) != 0)
        err = KD_IO;
    if (close(fd) != 0 && err == KD_OK)
        err = KD_IO;
    /* The name must be durable too before a record can point at it. */
    if (err == KD_OK && fsync(dir) != 0)
        err = KD_IO;
    return err;
}

kd_err
kd_store_keystore_stage(struct kd_store *s, struct kd_slice octets)
{
    bool same;
    kd_err err;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (octets.n == 0 || octets.n > KD_STORE_KEYSTORE_MAX)
        return KD_TOO_LARGE;
    s->staged = false;
    crypto_hash_sha256(s->staged_sha256, octets.p, octets.n);
    if ((err = write_staged(s->dir, octets)) != KD_OK)
        return err;
    if ((err = file_is(s, staged, s->staged_sha256, &same)) != KD_OK)
        return err;
    if (!same)
        return KD_IO;
    s->staged = true;
    return KD_OK;
}

kd_err
kd_store_keystore_activate(struct kd_store *s)
{
    kd_err err = KD_OK;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (s->in_batch)
        return KD_INVALID;
    if (!s->staged)
        return KD_OK;
    if (memcmp(s->staged_sha256, s->keystore_sha256, sizeof s->staged_sha256) == 0)
        err = put_in_place(s);
    else if (unlinkat(s->dir, staged, 0) != 0 && errno != ENOENT)
        err = KD_IO;
    s->staged = false;
    if (err != KD_OK) {
        s->broken = true; /* the next open finishes it */
        return KD_UNAVAILABLE;
    }
    return KD_OK;
}

kd_err
kd_store_keystore_read(struct kd_store *s, struct kd_slice *octets,
                       uint64_t *generation)
{
    uint8_t digest[KD_SHA256_SIZE];

    if (s->broken)
        return KD_UNAVAILABLE;
    kd_err err = file_read(s->dir, in_place, &s->keystore);
    if (err != KD_OK)
        return err;
    crypto_hash_sha256(digest, s->keystore.p, s->keystore.n);
    if (s->keystore_generation != 0 &&
        memcmp(digest, s->keystore_sha256, sizeof digest) != 0)
        return KD_INVALID;
    *octets = kd_buf_slice(&s->keystore);
    *generation = s->keystore_generation;
    return KD_OK;
}

kd_err
kd_store_keystore_aside(struct kd_store *s, struct kd_slice *octets,
                        uint64_t *generation)
{
    bool same;
    kd_err err;

    if (s->broken)
        return KD_UNAVAILABLE;
    if (!s->set_aside)
        return KD_NOT_FOUND;
    if ((err = file_is(s, set_aside, s->keystore_sha256, &same)) != KD_OK)
        return err;
    if (!same)
        return KD_INVALID;
    *octets = kd_buf_slice(&s->keystore);
    *generation = s->keystore_generation;
    return KD_OK;
}
