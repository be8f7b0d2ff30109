#include "fake_pool.h"

#include <string.h>
#include <unistd.h>

struct fake_pool fake_pool;

void
fake_pool_say(struct p11_note note)
{
    fake_pool.notes[fake_pool.n_notes++] = note;
}

kd_err
p11_new(const struct p11_conf *conf, size_t n, struct p11 **out)
{
    fake_pool.n = n;
    memcpy(fake_pool.conf, conf, n * sizeof *conf);
    *out = (struct p11 *)&fake_pool;
    return KD_OK;
}

struct kd_device *
p11_device(struct p11 *p, size_t token)
{
    (void)p;
    return fake_pool.devices[token];
}

int
p11_event_fd(const struct p11 *p)
{
    (void)p;
    return -1;
}

void
p11_link(struct p11 *p, unsigned host, int fd)
{
    (void)p;
    fake_pool.n_links++;
    fake_pool.host = host;
    close(fd);
}

void
p11_no_pin(struct p11 *p, unsigned host, kd_err err)
{
    (void)p;
    (void)err;
    fake_pool.n_no_pins++;
    fake_pool.host = host;
}

bool
p11_next(struct p11 *p, struct p11_note *out)
{
    (void)p;
    if (fake_pool.n_notes == 0)
        return false;
    *out = fake_pool.notes[0];
    memmove(fake_pool.notes, fake_pool.notes + 1,
            --fake_pool.n_notes * sizeof *fake_pool.notes);
    return true;
}

void
p11_tags_stored(struct p11 *p, size_t token, kd_err err)
{
    (void)p;
    fake_pool.n_stored++;
    fake_pool.stored = token;
    fake_pool.stored_err = err;
}

void
p11_status(struct p11 *p, size_t token, struct p11_status *out)
{
    (void)p;
    *out = fake_pool.status[token];
}

size_t
p11_doctor(struct p11 *p, size_t token, struct p11_finding *out, size_t max,
           int64_t until)
{
    size_t n = fake_pool.n_findings[token];

    (void)p;
    (void)until;
    n = n < max ? n : max;
    memcpy(out, fake_pool.findings[token], n * sizeof *out);
    return n;
}
