#include "part.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum part_kind { PART_COMING, PART_WHOLE, PART_OFFERED };

struct part {
    struct part *next;
    enum part_kind kind;
    struct principal *principal; /* whose room it took: a reload may give the connection
                                    another */
    uint8_t id[PART_ID_SIZE];
    int fd;
    size_t total; /* what it takes of the pool */
    size_t at;    /* received so far */
    int64_t since;
};

static struct part **
find(struct conn *c, struct kd_slice id, bool is_offered)
{
    for (struct part **at = &c->parts; *at != NULL; at = &(*at)->next)
        if (((*at)->kind == PART_OFFERED) == is_offered &&
            kd_slice_eq(id, kd_slice((*at)->id, PART_ID_SIZE)))
            return at;
    return NULL;
}

/* Takes it off the list and gives back what it took; its descriptor is the caller's. */
static int
unlink_part(struct gate *g, struct part **at)
{
    struct part *p = *at;
    int fd = p->fd;

    *at = p->next;
    principal_give_object(&g->principals, p->principal, p->total);
    free(p);
    return fd;
}

static void
drop(struct gate *g, struct part **at)
{
    close(unlink_part(g, at));
}

/* Takes fd on success, and room for it. */
static kd_err
add(struct gate *g, struct conn *c, enum part_kind kind, int fd, size_t total,
    struct part **out)
{
    kd_err err =
        principal_take_object(&g->principals, c->principal, &g->conf.limits, total);
    struct part *p = err == KD_OK ? calloc(1, sizeof *p) : NULL;

    if (p == NULL) {
        if (err == KD_OK)
            principal_give_object(&g->principals, c->principal, total);
        return KD_BUSY;
    }
    *p = (struct part){.next = c->parts,
                       .kind = kind,
                       .principal = c->principal,
                       .fd = fd,
                       .total = total,
                       .since = kd_clock_ms()};
    c->parts = p;
    *out = p;
    return KD_OK;
}

static kd_err
begin_upload(struct gate *g, struct conn *c, struct kd_slice id, size_t total,
             enum kd_rpc_reason *why)
{
    struct part *p;
    kd_err err;

    if (total > g->conf.limits.max_upload) {
        *why = KD_RPC_OBJECT_SIZE;
        return KD_INVALID;
    }
    int fd = memfd_create("upload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return KD_UNAVAILABLE;
    if ((err = add(g, c, PART_COMING, fd, total, &p)) != KD_OK) {
        close(fd);
        *why = KD_RPC_TOO_MANY_OBJECTS;
        return err;
    }
    memcpy(p->id, id.p, PART_ID_SIZE);
    return KD_OK;
}

/* Nobody else has the descriptor yet, so what is sealed is what was received. */
static kd_err
write_part(struct part *p, struct kd_slice data)
{
    enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

    if (pwrite(p->fd, data.p, data.n, (off_t)p->at) != (ssize_t)data.n)
        return KD_UNAVAILABLE;
    p->at += data.n;
    if (p->at < p->total)
        return KD_OK;
    p->kind = PART_WHOLE;
    return fcntl(p->fd, F_ADD_SEALS, SEALS) == 0 ? KD_OK : KD_UNAVAILABLE;
}

kd_err
part_upload(struct gate *g, struct conn *c, const Keyd__V1__UploadPartRequest *m,
            uint64_t *received, enum kd_rpc_reason *why)
{
    struct kd_slice id = kd_rpc_slice(m->upload_id), data = kd_rpc_slice(m->data);
    struct part **at = find(c, id, false);
    kd_err err;

    *why = KD_RPC_NO_REASON;
    if (at == NULL) {
        if (m->offset != 0) {
            *why = KD_RPC_UPLOAD_UNKNOWN;
            return KD_INVALID;
        }
        if ((err = begin_upload(g, c, id, m->total, why)) != KD_OK)
            return err;
        at = &c->parts;
    }
    struct part *p = *at;
    if (p->kind != PART_COMING || m->offset != p->at || m->total != p->total ||
        data.n > p->total - p->at) {
        drop(g, at);
        *why = KD_RPC_UPLOAD_ORDER;
        return KD_INVALID;
    }
    if ((err = write_part(p, data)) != KD_OK) {
        drop(g, at);
        return err;
    }
    *received = p->at;
    return KD_OK;
}

kd_err
part_take(struct gate *g, struct conn *c, struct kd_slice id, int *fd)
{
    struct part **at = find(c, id, false);

    if (at == NULL || (*at)->kind != PART_WHOLE)
        return KD_NOT_FOUND;
    *fd = unlink_part(g, at);
    return KD_OK;
}

void
part_drop(struct gate *g, struct conn *c, struct kd_slice id)
{
    struct part **at = find(c, id, false);

    if (at != NULL)
        drop(g, at);
}

kd_err
part_offer(struct gate *g, struct conn *c, int fd, uint8_t id[PART_ID_SIZE])
{
    struct part *p;
    size_t size;
    kd_err err = kd_memfd_check(fd, KD_RPC_OBJECT_MAX, &size);

    if (err == KD_OK)
        err = add(g, c, PART_OFFERED, fd, size, &p);
    if (err != KD_OK)
        return err;
    /* Its name is known on this connection alone; it need only be new there. */
    kd_put_be64(p->id + PART_ID_SIZE - sizeof(uint64_t), ++c->n_parts);
    memcpy(id, p->id, PART_ID_SIZE);
    return KD_OK;
}

kd_err
part_fetch(struct gate *g, struct conn *c, const Keyd__V1__FetchPartRequest *m,
           struct kd_buf *out)
{
    struct part **at = find(c, kd_rpc_slice(m->object_id), true);
    struct part *p = at == NULL ? NULL : *at;

    if (p == NULL)
        return KD_NOT_FOUND;
    if (m->offset > p->total)
        return KD_INVALID;
    size_t offset = (size_t)m->offset, left = p->total - offset;
    size_t n = left < m->limit ? left : m->limit;
    uint8_t *octets = kd_buf_add(out, n);
    if (n != 0 && octets == NULL)
        return out->err;
    kd_err err = n == 0 ? KD_OK : kd_memfd_read(p->fd, offset, octets, n);
    if (err == KD_OK && n == left)
        drop(g, at);
    return err;
}

void
parts_tick(struct gate *g, struct conn *c, int64_t now)
{
    int64_t most = (int64_t)g->conf.limits.upload_timeout * 1000;

    for (struct part **at = &c->parts; *at != NULL;) {
        if (now - (*at)->since > most)
            drop(g, at);
        else
            at = &(*at)->next;
    }
}

void
parts_clear(struct gate *g, struct conn *c)
{
    while (c->parts != NULL)
        drop(g, &c->parts);
}
