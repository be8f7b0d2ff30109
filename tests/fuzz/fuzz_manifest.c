/* The manifest of a backup, and names of backups: what decodes is the one text that
 * encode writes for it. */
#include "fuzz.h"

#include <keyd/ledger/manifest.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kd_buf again;
    struct kd_manifest m;

    if (again.max == 0)
        kd_buf_init(&again, KD_MANIFEST_MAX);
    fuzz_begin(size);
    kd_err err = kd_manifest_decode(kd_slice(data, size), &m);
    bool name = kd_backup_name_is_good(kd_slice(data, size));
    fuzz_end();
    if (err == KD_OK) {
        kd_buf_reset(&again);
        fuzz_require(kd_manifest_encode(&m, &again) == KD_OK);
        fuzz_require(kd_slice_eq(kd_buf_slice(&again), kd_slice(data, size)));
    }
    /* A good name stays in its folder. */
    fuzz_require(!name || (memchr(data, '/', size) == NULL &&
                           memchr(data, '\0', size) == NULL && data[0] != '.'));
    return 0;
}
