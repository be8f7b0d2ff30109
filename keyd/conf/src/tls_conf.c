#include <keyd/base/cur.h>
#include <keyd/conf/tls_conf.h>

enum { VERSION = 1 };

_Static_assert((KD_TLS_CHAIN_MAX + KD_TLS_ROOTS_MAX) * KD_TLS_CERT_MAX +
                       KD_TLS_KEY_MAX + KD_TLS_DENIED_MAX * KD_PIN_SIZE +
                       KD_POLICY_ROWS_MAX * (KD_POLICY_NAME_MAX + KD_REMOTE_MAX +
                                             KD_TLS_PINS_MAX * KD_PIN_SIZE + 3) +
                       256 <=
                   KD_TLS_CONF_SIZE_MAX,
               "the largest of them fits");

static int
compare(struct kd_slice a, struct kd_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static void
put_sized(struct kd_buf *b, struct kd_slice s)
{
    kd_buf_u32(b, (uint32_t)s.n);
    kd_buf_put(b, s);
}

static void
put_short(struct kd_buf *b, struct kd_slice s)
{
    kd_buf_u8(b, (uint8_t)s.n);
    kd_buf_put(b, s);
}

void
kd_tls_conf_encode(const struct kd_tls_conf *c, struct kd_buf *b)
{
    kd_buf_u8(b, VERSION);
    kd_buf_u8(b, c->allow_unpinned);
    kd_buf_u8(b, (uint8_t)c->n_chain);
    for (size_t i = 0; i < c->n_chain; i++)
        put_sized(b, c->chain[i]);
    put_sized(b, c->key);
    kd_buf_u8(b, (uint8_t)c->n_roots);
    for (size_t i = 0; i < c->n_roots; i++)
        put_sized(b, c->roots[i]);
    kd_buf_u32(b, (uint32_t)(c->denied.n / KD_PIN_SIZE));
    kd_buf_put(b, c->denied);
    kd_buf_u16(b, (uint16_t)c->n_clients);
    for (size_t i = 0; i < c->n_clients; i++) {
        const struct kd_tls_client *p = &c->clients[i];
        put_short(b, p->name);
        put_short(b, p->san);
        kd_buf_u8(b, (uint8_t)p->n_pins);
        kd_buf_put(b, kd_slice(p->pins, p->n_pins * KD_PIN_SIZE));
    }
}

static uint32_t
take_at_most(struct kd_cur *c, uint32_t v, uint32_t most)
{
    if (v <= most)
        return v;
    kd_cur_fail(c, KD_MALFORMED);
    return 0;
}

/* Never empty. */
static struct kd_slice
take_sized(struct kd_cur *c, uint32_t most)
{
    uint32_t n = take_at_most(c, kd_cur_u32(c), most);

    if (n == 0)
        kd_cur_fail(c, KD_MALFORMED);
    return kd_cur_take(c, n);
}

static void
take_certs(struct kd_cur *c, struct kd_slice *list, uint32_t most, size_t *n)
{
    *n = take_at_most(c, kd_cur_u8(c), most);
    for (size_t i = 0; i < *n; i++)
        list[i] = take_sized(c, KD_TLS_CERT_MAX);
}

static void
take_denied(struct kd_cur *c, struct kd_slice *denied)
{
    size_t n = take_at_most(c, kd_cur_u32(c), KD_TLS_DENIED_MAX);

    *denied = kd_cur_take(c, n * KD_PIN_SIZE);
    for (size_t i = 1; c->err == KD_OK && i < n; i++)
        if (memcmp(denied->p + (i - 1) * KD_PIN_SIZE, denied->p + i * KD_PIN_SIZE,
                   KD_PIN_SIZE) >= 0)
            kd_cur_fail(c, KD_MALFORMED);
}

static bool
has_pin(const struct kd_tls_client *p, const uint8_t *pin)
{
    for (size_t i = 0; i < p->n_pins; i++)
        if (memcmp(p->pins[i], pin, KD_PIN_SIZE) == 0)
            return true;
    return false;
}

/* Two principals that one certificate could be. */
static bool
overlap(const struct kd_tls_client *a, const struct kd_tls_client *b)
{
    if (a->san.n != 0 && kd_slice_eq(a->san, b->san))
        return true;
    for (size_t i = 0; i < a->n_pins; i++)
        if (has_pin(b, a->pins[i]))
            return true;
    return false;
}

static void
take_client(struct kd_cur *c, struct kd_tls_client *p)
{
    p->name = kd_cur_take(c, kd_cur_u8(c));
    p->san = kd_cur_take(c, kd_cur_u8(c));
    p->n_pins = take_at_most(c, kd_cur_u8(c), KD_TLS_PINS_MAX);
    kd_cur_copy(c, p->pins, p->n_pins * KD_PIN_SIZE);
    if (!kd_principal_name_is_valid(p->name) ||
        (p->san.n != 0 && !kd_remote_name_is_valid(p->san)) ||
        (p->san.n == 0 && p->n_pins == 0))
        kd_cur_fail(c, KD_MALFORMED);
}

kd_err
kd_tls_conf_decode(struct kd_slice octets, struct kd_tls_conf *out)
{
    struct kd_cur cur = kd_cur(octets), *c = &cur;

    *out = (struct kd_tls_conf){0};
    if (kd_cur_u8(c) != VERSION)
        kd_cur_fail(c, KD_UNSUPPORTED);
    out->allow_unpinned = take_at_most(c, kd_cur_u8(c), 1) != 0;
    take_certs(c, out->chain, KD_TLS_CHAIN_MAX, &out->n_chain);
    if (out->n_chain == 0)
        kd_cur_fail(c, KD_MALFORMED);
    out->key = take_sized(c, KD_TLS_KEY_MAX);
    take_certs(c, out->roots, KD_TLS_ROOTS_MAX, &out->n_roots);
    take_denied(c, &out->denied);
    out->n_clients = take_at_most(c, kd_cur_u16(c), KD_POLICY_ROWS_MAX);
    for (size_t i = 0; i < out->n_clients && c->err == KD_OK; i++) {
        struct kd_tls_client *p = &out->clients[i];
        take_client(c, p);
        if (i > 0 && compare(out->clients[i - 1].name, p->name) >= 0)
            kd_cur_fail(c, KD_MALFORMED);
        for (size_t k = 0; k < i && c->err == KD_OK; k++)
            if (overlap(&out->clients[k], p))
                kd_cur_fail(c, KD_MALFORMED);
    }
    return kd_cur_end(c);
}
