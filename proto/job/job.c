#include <keyd/job/job.h>

/* Reads a VAR of at most most octets. */
static struct kd_slice
get_var(struct kd_cur *c, size_t most)
{
    uint32_t n = kd_cur_u32(c);

    if (n > most)
        kd_cur_fail(c, KD_MALFORMED);
    return kd_cur_take(c, n);
}

static void
put_var(struct kd_buf *b, struct kd_slice s, size_t most)
{
    if (s.n > most) {
        if (b->err == KD_OK)
            b->err = KD_TOO_LARGE;
        return;
    }
    kd_list_put(b, s);
}

void
kd_list_put(struct kd_buf *b, struct kd_slice item)
{
    kd_buf_u32(b, (uint32_t)item.n);
    kd_buf_put(b, item);
}

#define U8(name) m.name = kd_cur_u8(&c);
#define U16(name) m.name = kd_cur_u16(&c);
#define U32(name) m.name = kd_cur_u32(&c);
#define U64(name) m.name = kd_cur_u64(&c);
#define FIX(name, octets) kd_cur_copy(&c, m.name, octets);
#define VAR(name, most) m.name = get_var(&c, most);
#define KD_MESSAGE(name, fields)                                                       \
    kd_err kd_##name##_get(struct kd_slice body, struct kd_##name *out)                \
    {                                                                                  \
        struct kd_cur c = kd_cur(body);                                                \
        struct kd_##name m = {0};                                                      \
        fields;                                                                        \
        kd_err err = kd_cur_end(&c);                                                   \
        if (err == KD_OK)                                                              \
            *out = m;                                                                  \
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

#define U8(name) kd_buf_u8(b, m->name);
#define U16(name) kd_buf_u16(b, m->name);
#define U32(name) kd_buf_u32(b, m->name);
#define U64(name) kd_buf_u64(b, m->name);
#define FIX(name, octets) kd_buf_put(b, kd_slice(m->name, octets));
#define VAR(name, most) put_var(b, m->name, most);
#define KD_MESSAGE(name, fields)                                                       \
    void kd_##name##_put(struct kd_buf *b, const struct kd_##name *m)                  \
    {                                                                                  \
        fields                                                                         \
    }
#include <keyd/job/messages.def>
#undef KD_MESSAGE
