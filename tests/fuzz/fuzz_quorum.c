/* The first octet says what the rest is: 0 the operators' area of a key store, 1 a text
 * to be approved, 2 the values of a request that becomes one, 3 a digest somebody
 * types. What is accepted is written again octet for octet; what is rendered is always
 * a text, and the same one twice. */
#include "fuzz.h"

#include <keyd/base/cur.h>
#include <keyd/ops/ops.h>
#include <keyd/quorum/approval.h>

static void
area(struct kd_slice s)
{
    struct kd_quorum q;
    struct kd_buf b;

    fuzz_begin(s.n);
    kd_err err = kd_quorum_decode(s, &q);
    fuzz_end();
    fuzz_require(err == KD_OK || err == KD_MALFORMED || err == KD_INVALID ||
                 err == KD_UNSUPPORTED);
    if (err != KD_OK)
        return;
    kd_buf_init(&b, KD_QUORUM_AREA_MAX);
    kd_quorum_put(&q, &b);
    fuzz_require(b.err == KD_OK && kd_slice_eq(kd_buf_slice(&b), s));
    fuzz_require(q.n == 0 || (q.k >= 2 && q.k < q.n));
    fuzz_require(q.n == 0 || kd_quorum_marks(&q, KD_OP_SetQuorum));
    kd_buf_free(&b);
}

static void
text(struct kd_slice s)
{
    struct kd_approval_head h;
    struct kd_slice facts;
    struct kd_buf b;

    fuzz_begin(s.n);
    kd_err err = kd_approval_read(s, &h, &facts);
    fuzz_end();
    fuzz_require(err == KD_OK || err == KD_MALFORMED);
    if (err != KD_OK)
        return;
    for (size_t i = 0; i < s.n; i++)
        fuzz_require(s.p[i] == '\n' || (s.p[i] >= 0x20 && s.p[i] < 0x7f));
    kd_buf_init(&b, KD_APPROVAL_TEXT_MAX);
    kd_approval_put_head(&b, &h);
    kd_buf_put(&b, facts);
    fuzz_require(b.err == KD_OK && kd_slice_eq(kd_buf_slice(&b), s));
    kd_buf_free(&b);
}

static void
render(struct kd_slice s, struct kd_buf *out)
{
    struct kd_cur c = kd_cur(s);
    struct kd_approval_head h = {.op = KD_OP_ImportKey,
                                 .requester = kd_slice_str("alice"),
                                 .k = 2,
                                 .n = 3,
                                 .made_s = kd_cur_u32(&c),
                                 .epoch = kd_cur_u64(&c)};

    h.not_after_s = h.made_s + 3600;
    kd_cur_copy(&c, h.id, sizeof h.id);
    if (c.err != KD_OK)
        return;
    kd_approval_put_head(out, &h);
    while (kd_cur_left(&c) != 0) {
        size_t n = kd_cur_u8(&c);
        if (n > kd_cur_left(&c))
            n = kd_cur_left(&c);
        struct kd_slice value = kd_cur_take(&c, n);
        kd_fact_value(out, "field-16", value);
        if (n % 4 == 1)
            kd_fact_key(out, "key", value, "sok ed25519", value);
        if (n % 4 == 2)
            kd_fact_digest(out, "profile", value);
        if (n % 4 == 3)
            kd_fact_number(out, "number", n);
    }
}

static void
values(struct kd_slice s)
{
    struct kd_approval_head h;
    struct kd_slice facts;
    struct kd_buf one, two;

    kd_buf_init(&one, KD_APPROVAL_TEXT_MAX);
    kd_buf_init(&two, KD_APPROVAL_TEXT_MAX);
    render(s, &one);
    render(s, &two);
    fuzz_require(one.err == two.err &&
                 kd_slice_eq(kd_buf_slice(&one), kd_buf_slice(&two)));
    if (one.err == KD_OK && one.n != 0)
        fuzz_require(kd_approval_read(kd_buf_slice(&one), &h, &facts) == KD_OK);
    else
        fuzz_require(one.err == KD_OK || one.err == KD_TOO_LARGE);
    kd_buf_free(&one);
    kd_buf_free(&two);
}

static void
typed(struct kd_slice s)
{
    uint8_t digest[KD_APPROVAL_DIGEST_SIZE];
    char line[128], groups[KD_APPROVAL_GROUPS_MAX];

    kd_approval_digest(s, digest);
    fuzz_require(kd_approval_digest_starts(digest, kd_approval_groups(digest, groups)));
    if (s.n >= sizeof line)
        return;
    memcpy(line, s.p, s.n);
    line[s.n] = '\0';
    (void)kd_approval_digest_starts(digest, line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct kd_slice rest = kd_slice(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        area(rest);
        break;
    case 1:
        text(rest);
        break;
    case 2:
        values(rest);
        break;
    default:
        typed(rest);
    }
    return 0;
}
