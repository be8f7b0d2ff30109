/* Private key files: what is read is written in libdime's form and read back alike,
 * and writing it again gives the same octets. */
#include "fuzz.h"

#include <dime/dkey_write.h>
#include <keyd/base/secret.h>

static void
round_trip(const struct dime_dkey *key)
{
    char *text = kd_secret_new(DIME_DKEY_TEXT_MAX);
    char *again = kd_secret_new(DIME_DKEY_TEXT_MAX);
    struct dime_dkey *back = NULL;
    size_t n = 0, n_again = 0;

    fuzz_require(text != NULL && again != NULL);
    fuzz_require(dime_dkey_write(key, text, &n) == KD_OK);
    fuzz_require(dime_dkey_load(kd_slice(text, n), &back, NULL) == KD_OK);
    fuzz_require(memcmp(back, key, sizeof *key) == 0);
    fuzz_require(dime_dkey_write(back, again, &n_again) == KD_OK);
    fuzz_require(kd_slice_eq(kd_slice(text, n), kd_slice(again, n_again)));
    dime_dkey_free(back);
    kd_secret_free(again, DIME_DKEY_TEXT_MAX);
    kd_secret_free(text, DIME_DKEY_TEXT_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct dime_dkey *key = NULL;
    const char *why = NULL;

    if (!ready)
        fuzz_require(kd_secret_setup(65536) == KD_OK);
    ready = true;
    fuzz_begin(size);
    kd_err err = dime_dkey_load(kd_slice(data, size), &key, &why);
    fuzz_require((err == KD_OK) == (why == NULL) && (err == KD_OK) == (key != NULL));
    fuzz_end();
    if (key != NULL)
        round_trip(key);
    dime_dkey_free(key);
    /* A block that was not given back shows here. */
    void *all = kd_secret_new(65536);
    fuzz_require(all != NULL);
    kd_secret_free(all, 65536);
    return 0;
}
