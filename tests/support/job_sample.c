#include "job_sample.h"

#include <sodium.h>
#include <stdlib.h>

static uint32_t
below(uint32_t n)
{
    return n == 0 ? 0 : randombytes_uniform(n);
}

/* Small numbers mostly: they are operations, results, lengths. */
static uint64_t
some_number(void)
{
    switch (below(4)) {
    case 0:
        return below(4);
    case 1:
        return below(64);
    case 2:
        return randombytes_random();
    default:
        return (uint64_t)randombytes_random() << 32 | randombytes_random();
    }
}

static struct kd_slice
some_octets(size_t most)
{
    static const char *const words[] = {
        "alice@example.com", "example.com", "bob@example.net", "", "@", "example.org"};
    static uint8_t noise[KD_CHAN_BODY_MAX];
    static bool filled;

    if (!filled)
        randombytes_buf(noise, sizeof noise);
    filled = true;
    if (below(2) == 0) {
        struct kd_slice s = kd_slice_str(words[below(sizeof words / sizeof *words)]);
        return s.n <= most ? s : kd_slice(NULL, 0);
    }
    uint32_t n =
        below(8) == 0 ? (uint32_t)most : below(most < 300 ? (uint32_t)most + 1 : 300);
    if (n > 8192)
        n = 8192;
    return kd_slice(noise + below((uint32_t)sizeof noise - n), n);
}

#define U8(name) m.name = (uint8_t)some_number();
#define U16(name) m.name = (uint16_t)some_number();
#define U32(name) m.name = (uint32_t)some_number();
#define U64(name) m.name = some_number();
#define FIX(name, octets) randombytes_buf(m.name, octets);
#define VAR(name, most) m.name = some_octets(most);
#define KD_MESSAGE(name, fields)                                                       \
    static void sample_##name(struct kd_buf *b)                                        \
    {                                                                                  \
        struct kd_##name m;                                                            \
        fields kd_##name##_put(b, &m);                                                 \
    }                                                                                  \
    static kd_err rewrite_##name(struct kd_slice octets, struct kd_buf *b)             \
    {                                                                                  \
        struct kd_##name m;                                                            \
        kd_err err = kd_##name##_get(octets, &m);                                      \
        if (err == KD_OK)                                                              \
            kd_##name##_put(b, &m);                                                    \
        return err;                                                                    \
    }
#include <keyd/job/messages.def>
#undef KD_MESSAGE
#undef U8
#undef U16
#undef U32
#undef U64
#undef FIX
#undef VAR

static const struct {
    uint16_t type;
    const char *name;
    void (*sample)(struct kd_buf *b);
    kd_err (*rewrite)(struct kd_slice octets, struct kd_buf *b);
} messages[JOB_TYPES] = {
#define KD_MESSAGE(name, fields) {KD_MSG_##name, #name, sample_##name, rewrite_##name},
#include <keyd/job/messages.def>
#undef KD_MESSAGE
};

uint16_t
job_type(size_t i)
{
    return messages[i].type;
}

const char *
job_name(size_t i)
{
    return messages[i].name;
}

size_t
job_find(struct kd_slice name)
{
    size_t i = 0;

    while (i < JOB_TYPES && !kd_slice_eq(name, kd_slice_str(messages[i].name)))
        i++;
    return i;
}

bool
job_split(struct kd_slice file, size_t *i, struct kd_slice *body)
{
    const uint8_t *end = file.n == 0 ? NULL : memchr(file.p, '\n', file.n);

    if (end == NULL)
        return false;
    size_t n = (size_t)(end - file.p);
    *i = job_find(kd_slice(file.p, n));
    *body = kd_slice(file.p + n + 1, file.n - n - 1);
    return true;
}

void
job_sample(size_t i, struct kd_buf *out)
{
    messages[i].sample(out);
}

kd_err
job_rewrite(size_t i, struct kd_slice octets, struct kd_buf *out)
{
    return messages[i].rewrite(octets, out);
}

void
job_bend(struct kd_buf *b)
{
    switch (below(4)) {
    case 0:
        b->n = below((uint32_t)b->n + 1);
        break;
    case 1:
        for (uint32_t k = 1 + below(16); k > 0 && b->n < 4096; k--)
            kd_buf_u8(b, (uint8_t)randombytes_random());
        break;
    default:
        for (uint32_t k = 1 + below(4); k > 0 && b->n > 0; k--)
            b->p[below((uint32_t)b->n)] = (uint8_t)some_number();
        break;
    }
}
