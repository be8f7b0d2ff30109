#include "pin.h"

#include <keyd/base/secret.h>

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

enum { ROOM = PIN_MAX + 2 }; /* a line end, and one octet that shows there is more */

kd_err
pin_setup(struct pin *p)
{
    p->n = 0;
    return (p->octets = kd_secret_new(ROOM)) == NULL ? KD_NOMEM : KD_OK;
}

void
pin_wipe(struct pin *p)
{
    kd_secret_wipe(p->octets, ROOM);
    p->n = 0;
}

kd_err
pin_read(struct pin *p, int fd)
{
    size_t n = 0;
    ssize_t got = 0;

    pin_wipe(p);
    do {
        got = read(fd, p->octets + n, ROOM - n);
        n += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && n < ROOM) || (got < 0 && errno == EINTR));
    close(fd);
    if (got >= 0 && n > 0 && n < ROOM && p->octets[n - 1] == '\n')
        n--;
    if (got < 0 || n == 0 || n > PIN_MAX) {
        pin_wipe(p);
        return got < 0 ? KD_IO : KD_INVALID;
    }
    p->n = n;
    return KD_OK;
}

kd_err
pin_tag(const struct pin *p, const uint8_t latch[KD_LATCH_KEY_SIZE],
        uint8_t tag[KD_PIN_TAG_SIZE])
{
    if (p->n == 0)
        return KD_NOT_FOUND;
    return crypto_generichash(tag, KD_PIN_TAG_SIZE, p->octets, p->n, latch,
                              KD_LATCH_KEY_SIZE) == 0
               ? KD_OK
               : KD_FAILED;
}
