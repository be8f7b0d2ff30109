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
    enum { ALIGNED = 64 };
    size_t room = sizeof(crypto_generichash_state) + ALIGNED;

    if (p->n == 0)
        return KD_NOT_FOUND;
    /* The state has both in it, and the library leaves it where it is. */
    uint8_t *memory = kd_secret_new(room);
    if (memory == NULL)
        return KD_NOMEM;
    crypto_generichash_state *state =
        (void *)(memory + (ALIGNED - (uintptr_t)memory % ALIGNED));
    bool done = crypto_generichash_init(state, latch, KD_LATCH_KEY_SIZE,
                                        KD_PIN_TAG_SIZE) == 0 &&
                crypto_generichash_update(state, p->octets, p->n) == 0 &&
                crypto_generichash_final(state, tag, KD_PIN_TAG_SIZE) == 0;
    kd_secret_free(memory, room);
    return done ? KD_OK : KD_FAILED;
}
