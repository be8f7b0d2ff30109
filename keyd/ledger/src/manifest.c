#include <keyd/base/cur.h>
#include <keyd/ledger/manifest.h>

static const char tag[] = "keyd backup 1\n";

bool
kd_backup_name_is_good(struct kd_slice name)
{
    if (name.n == 0 || name.n > KD_BACKUP_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return true;
}

/* --- writing --- */

static void
put_text(struct kd_buf *b, const char *text)
{
    kd_buf_put(b, kd_slice_str(text));
}

static void
put_hex(struct kd_buf *b, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        kd_buf_u8(b, (uint8_t)digits[p[i] >> 4]);
        kd_buf_u8(b, (uint8_t)digits[p[i] & 15]);
    }
}

static void
put_number(struct kd_buf *b, uint64_t v)
{
    kd_buf_printf(b, "%llu", (unsigned long long)v);
}

static void
put_line_number(struct kd_buf *b, const char *name, uint64_t v)
{
    put_text(b, name);
    put_number(b, v);
    put_text(b, "\n");
}

static void
put_line_hex(struct kd_buf *b, const char *name, const uint8_t *p, size_t n)
{
    put_text(b, name);
    put_hex(b, p, n);
    put_text(b, "\n");
}

static void
put_line_file(struct kd_buf *b, const char *name, const struct kd_manifest_file *f)
{
    put_text(b, name);
    put_number(b, f->size);
    put_text(b, " ");
    put_hex(b, f->sha256, sizeof f->sha256);
    put_text(b, "\n");
}

kd_err
kd_manifest_encode(const struct kd_manifest *m, struct kd_buf *out)
{
    if (m->tail.epoch > INT64_MAX || m->tail.seq > INT64_MAX ||
        m->tail.time_ms > INT64_MAX || m->keystore_generation > INT64_MAX ||
        m->registry.size > INT64_MAX || m->keystore.size > INT64_MAX)
        return KD_INVALID;
    put_text(out, tag);
    put_line_hex(out, "instance ", m->tail.instance, sizeof m->tail.instance);
    put_line_number(out, "epoch ", m->tail.epoch);
    put_line_number(out, "seq ", m->tail.seq);
    put_line_hex(out, "hash ", m->tail.hash, sizeof m->tail.hash);
    put_line_number(out, "time ", m->tail.time_ms);
    put_line_number(out, "keystore-generation ", m->keystore_generation);
    put_line_file(out, "registry ", &m->registry);
    put_line_file(out, "keystore ", &m->keystore);
    return out->err;
}

/* --- reading --- */

static void
take_text(struct kd_cur *c, const char *text)
{
    struct kd_slice want = kd_slice_str(text);

    if (!kd_slice_eq(kd_cur_take(c, want.n), want))
        kd_cur_fail(c, KD_MALFORMED);
}

static void
take_hex(struct kd_cur *c, uint8_t *out, size_t n)
{
    struct kd_slice text = kd_cur_take(c, 2 * n);

    for (size_t i = 0; i < text.n; i++) {
        uint8_t d = text.p[i];
        unsigned v = d >= '0' && d <= '9'   ? d - (unsigned)'0'
                     : d >= 'a' && d <= 'f' ? d - (unsigned)'a' + 10
                                            : 16;
        if (v == 16)
            kd_cur_fail(c, KD_MALFORMED);
        out[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
    }
}

/* Decimal without leading zeros, up to the character end, which is taken. */
static uint64_t
take_number(struct kd_cur *c, uint8_t end)
{
    uint64_t v = 0;
    uint8_t d;

    for (size_t i = 0; (d = kd_cur_u8(c)) != end; i++) {
        if (c->err != KD_OK)
            return 0;
        if (d < '0' || d > '9' || (i == 1 && v == 0) || v > INT64_MAX / 10 ||
            v * 10 > INT64_MAX - (d - (uint64_t)'0')) {
            kd_cur_fail(c, KD_MALFORMED);
            return 0;
        }
        v = v * 10 + (d - (uint64_t)'0');
    }
    return v;
}

static uint64_t
take_line_number(struct kd_cur *c, const char *name)
{
    take_text(c, name);
    return take_number(c, '\n');
}

static void
take_line_hex(struct kd_cur *c, const char *name, uint8_t *out, size_t n)
{
    take_text(c, name);
    take_hex(c, out, n);
    take_text(c, "\n");
}

static void
take_line_file(struct kd_cur *c, const char *name, struct kd_manifest_file *out)
{
    take_text(c, name);
    out->size = take_number(c, ' ');
    take_hex(c, out->sha256, sizeof out->sha256);
    take_text(c, "\n");
}

kd_err
kd_manifest_decode(struct kd_slice text, struct kd_manifest *out)
{
    struct kd_cur c = kd_cur(text);
    struct kd_manifest m = {0};
    struct kd_buf again;

    if (text.n > KD_MANIFEST_MAX)
        return KD_MALFORMED;
    take_text(&c, tag);
    take_line_hex(&c, "instance ", m.tail.instance, sizeof m.tail.instance);
    m.tail.epoch = take_line_number(&c, "epoch ");
    m.tail.seq = take_line_number(&c, "seq ");
    take_line_hex(&c, "hash ", m.tail.hash, sizeof m.tail.hash);
    m.tail.time_ms = take_line_number(&c, "time ");
    m.keystore_generation = take_line_number(&c, "keystore-generation ");
    take_line_file(&c, "registry ", &m.registry);
    take_line_file(&c, "keystore ", &m.keystore);
    if (kd_cur_end(&c) != KD_OK)
        return KD_MALFORMED;
    /* An empty number, say, reads as zero: only what we write is taken. */
    kd_buf_init(&again, KD_MANIFEST_MAX);
    kd_err err = kd_manifest_encode(&m, &again);
    if (err == KD_OK && !kd_slice_eq(kd_buf_slice(&again), text))
        err = KD_MALFORMED;
    kd_buf_free(&again);
    if (err == KD_OK)
        *out = m;
    return err;
}
