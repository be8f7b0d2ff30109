/* The suite of every backend of keyd/token/token.h, with keys in tokens of SoftHSM, and
 * with keys in two of them and in the store. */
#include "p11_world.h"
#include "test.h"
#include "token_suite.h"

#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>

enum { SKIPPED = 77 };

/* Keys of the log never leave the store. */
static struct kd_token *
make_in(const struct kd_key_spec *specs, size_t n, bool is_mixed)
{
    struct kd_token *t = p11_world_store();
    struct kd_key_info key;

    for (size_t i = 0; i < n; i++) {
        struct kd_key_spec spec = specs[i];
        size_t place = is_mixed ? i % (P11_WORLD_TOKENS + 1) : 0;
        if (spec.role != KD_KEY_ROLE_AUDIT && place < P11_WORLD_TOKENS)
            spec.tokens[0] = kd_slice_str(p11_world_name(place));
        p11_world_generate(t, &spec, &key);
    }
    p11_world_wait(t);
    return t;
}

static struct kd_token *
make_softhsm(const struct kd_key_spec *specs, size_t n)
{
    return make_in(specs, n, false);
}

static struct kd_token *
make_mixed(const struct kd_key_spec *specs, size_t n)
{
    return make_in(specs, n, true);
}

int
main(void)
{
    static const struct token_backend softhsm = {"softhsm", make_softhsm};
    static const struct token_backend mixed = {"mixed", make_mixed};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sodium_init() < 0 || kd_secret_setup((size_t)256 * 1024) != KD_OK ||
        !p11_world_begin(P11_WORLD_TOKENS, 2)) {
        puts("skipped: needs root, softhsm2 and locked memory");
        return SKIPPED;
    }
    int failed = token_suite_run(&softhsm) + token_suite_run(&mixed) +
                 token_stream_suite_run(&softhsm);
    p11_world_end();
    return failed;
}
