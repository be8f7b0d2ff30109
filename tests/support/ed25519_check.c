#include "ed25519_check.h"

#include "eddsa.h"

#include <keyd/base/memfd.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

kd_err
stream_run(struct dime_ed25519_stream *s, size_t budget)
{
    bool more = true;
    kd_err err = KD_OK;

    while (err == KD_OK && more)
        err = dime_ed25519_stream_step(s, budget, &more);
    return err;
}

kd_err
stream_verdict(const uint8_t key[32], struct kd_slice message, int fd,
               const uint8_t sig[64], size_t budget)
{
    struct dime_stream_part part = {.head = message, .fd = -1};
    struct dime_ed25519_stream *s = NULL;
    kd_err err;

    if (fd != -1)
        part = (struct dime_stream_part){.fd = fd, .n = message.n};
    err = dime_ed25519_stream_verify(key, sig, &part, 1, message.n, &s);
    if (err == KD_OK)
        err = stream_run(s, budget);
    if (err == KD_OK)
        err = dime_ed25519_stream_verdict(s);
    dime_ed25519_stream_free(s);
    return err;
}

/* To the end whatever can be said before. */
static kd_err
verifier_verdict(const uint8_t key[32], struct kd_slice message, const uint8_t sig[64])
{
    struct dime_ed25519_verifier v;
    size_t at = 0;

    if (!dime_ed25519_key_valid(key))
        return KD_INVALID;
    dime_ed25519_verifier_init(&v, key, sig);
    for (size_t n = 1; at < message.n; n = n * 3 + 1) {
        size_t left = message.n - at;
        n = n < left ? n : left;
        dime_ed25519_verifier_add(&v, kd_slice(message.p + at, n));
        at += n;
    }
    return dime_ed25519_verifier_end(&v);
}

kd_err
verdict(const uint8_t key[32], struct kd_slice message, const uint8_t sig[64])
{
    kd_err direct = dime_ed25519_verify(key, message, sig);
    int fd;

    if (kd_memfd_seal(message, &fd) != KD_OK)
        abort();
    kd_err memory = stream_verdict(key, message, -1, sig, 1000);
    kd_err file = stream_verdict(key, message, fd, sig, 1000);
    close(fd);
    kd_err pieces = verifier_verdict(key, message, sig);
    kd_err quick = dime_ed25519_key_valid(key) ? eddsa_verify_quick(key, message, sig)
                                               : KD_INVALID;
    if (direct != memory || direct != file || direct != pieces || direct != quick) {
        fprintf(stderr,
                "verdicts differ: direct %s, stream of memory %s, of a file %s, "
                "pieces %s, quick %s\n",
                kd_err_text(direct), kd_err_text(memory), kd_err_text(file),
                kd_err_text(pieces), kd_err_text(quick));
        abort();
    }
    return direct;
}
