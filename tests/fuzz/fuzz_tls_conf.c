/* What the gate of the remote listener is told: what decodes is what encode would have
 * written, and no name or key stands for two. */
#include "fuzz.h"

#include <keyd/conf/tls_conf.h>

static struct kd_tls_conf conf;
static struct kd_buf buffer;

static void
require_alone(void)
{
    for (size_t i = 0; i < conf.n_clients; i++)
        for (size_t k = 0; k < i; k++) {
            const struct kd_tls_client *a = &conf.clients[i], *b = &conf.clients[k];
            fuzz_require(!kd_slice_eq(a->name, b->name));
            fuzz_require(a->san.n == 0 || !kd_slice_eq(a->san, b->san));
            for (size_t x = 0; x < a->n_pins * b->n_pins; x++)
                fuzz_require(memcmp(a->pins[x / b->n_pins], b->pins[x % b->n_pins],
                                    KD_PIN_SIZE) != 0);
        }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (buffer.max == 0)
        kd_buf_init(&buffer, KD_TLS_CONF_SIZE_MAX);
    fuzz_begin(size);
    if (kd_tls_conf_decode(kd_slice(data, size), &conf) == KD_OK) {
        kd_tls_conf_encode(&conf, &buffer);
        fuzz_require(kd_slice_eq(kd_buf_slice(&buffer), kd_slice(data, size)));
        require_alone();
        kd_buf_free(&buffer);
        kd_buf_init(&buffer, KD_TLS_CONF_SIZE_MAX);
    }
    fuzz_end();
    return 0;
}
