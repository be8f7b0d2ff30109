/* Signets and requests. SIGNET_KINDS (set by the build) says which magic numbers this
 * target is after; others must be refused or be of the other target.
 *
 * What must hold of whatever parses: the walk covers it octet for octet, its parts
 * nest, its fingerprints and splits agree, and made again from its parts it is the
 * same object. */
#include "fuzz.h"

#include <dime/build.h>
#include <dime/fingerprint.h>
#include <dime/identifier.h>
#include <dime/info.h>
#include <dime/verify.h>

#include <stdlib.h>

/* Every field in its place, and the same octets when put together again. */
static void
walk_all(const struct dime_signet *s)
{
    struct dime_walk w;
    struct dime_field f, found;
    const uint8_t *at = s->raw.p + DIME_HEADER_SIZE;
    uint8_t last = 0;

    dime_walk_signet(&w, s);
    while (dime_walk_next(&w, &f)) {
        fuzz_require(f.type >= last && f.raw.p == at && f.raw.n > 0);
        if (f.type != last) {
            fuzz_require(s->first[f.type] == (uint32_t)(at - s->raw.p));
            fuzz_require(dime_signet_covered(s, f.type).n ==
                         s->first[f.type] - DIME_HEADER_SIZE);
            if (dime_signet_find(s, f.type, &found) == KD_OK)
                fuzz_require(found.type == f.type && found.raw.p >= at);
        }
        at += f.raw.n;
        last = f.type;
    }
    fuzz_require(w.why == DIME_FINE);
    fuzz_require(at == s->raw.p + s->raw.n);
}

static void
check_parts(const struct dime_signet *s, struct kd_buf *out)
{
    for (int i = 0; i < DIME_PART_COUNT; i++) {
        enum dime_part part = (enum dime_part)i;
        uint8_t fp[DIME_FINGERPRINT_SIZE], again[DIME_FINGERPRINT_SIZE];
        struct dime_signet cut;
        enum dime_reason why;
        fuzz_require(i == 0 || s->end[i] >= s->end[i - 1] || s->kind == DIME_SSR);
        kd_buf_reset(out);
        if (dime_split(s, part, out) != KD_OK)
            continue;
        fuzz_require(part <= s->part);
        fuzz_require(dime_signet_parse(kd_buf_slice(out), &cut, &why) == KD_OK ||
                     why == DIME_AMBIGUOUS_LAYOUT);
        if (why == DIME_FINE && cut.layout == s->layout) {
            fuzz_require(cut.part == part && cut.kind == s->kind);
            fuzz_require(dime_fingerprint(s, part, fp) == KD_OK);
            fuzz_require(dime_fingerprint(&cut, part, again) == KD_OK);
            fuzz_require(memcmp(fp, again, sizeof fp) == 0);
        }
        if (part == s->part)
            fuzz_require(kd_slice_eq(kd_buf_slice(out), s->raw));
    }
}

/* Writes the signature that stands in the object already: built from its parts it must
 * come out the same. */
struct replay {
    const struct dime_signet *s;
    unsigned n_signed;
};

static kd_err
replay_sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    static const uint8_t org[] = {DIME_ORG_SELF_SIGNATURE, DIME_FIELD_FULL_SIGNATURE,
                                  DIME_FIELD_IDENTIFIED_SIGNATURE};
    static const uint8_t user[] = {DIME_USER_ORG_SIGNATURE, DIME_FIELD_FULL_SIGNATURE,
                                   DIME_FIELD_IDENTIFIED_SIGNATURE};
    struct replay *r = ctx;
    uint8_t type = (r->s->kind == DIME_ORG ? org : user)[r->n_signed++];

    fuzz_require(message.n == dime_signet_covered(r->s, type).n);
    memcpy(sig, dime_signet_signature(r->s, type), DIME_SIG_SIZE);
    return KD_OK;
}

/* True if a builder would write exactly these octets: nothing to filter, and lengths
 * in the form we emit. */
static bool
is_as_we_write(const struct dime_signet *s, struct kd_buf *scratch)
{
    struct kd_slice info = dime_signet_info(s);
    struct dime_field id;
    enum dime_reason why;
    bool two = s->layout == DIME_LAYOUT_S33 || s->layout == DIME_LAYOUT_S32;

    kd_buf_reset(scratch);
    if (s->part != DIME_PART_IDENTIFIED ||
        dime_info_filter(s->kind, info, scratch, &why) != KD_OK ||
        !kd_slice_eq(kd_buf_slice(scratch), info) ||
        dime_signet_find(s, DIME_FIELD_IDENTIFIER, &id) != KD_OK)
        return false;
    return id.raw.n - id.value.n == (two ? 3 : 2);
}

static void
rebuild_org(const struct dime_signet *s, struct kd_buf *out)
{
    struct replay r = {.s = s};
    struct dime_org_plan plan = {.layout = s->layout,
                                 .pok = s->sign_key,
                                 .enc_key = s->enc_key,
                                 .soks = s->soks,
                                 .n_soks = s->n_soks,
                                 .info = dime_signet_info(s),
                                 .identifier = s->identifier};
    enum dime_reason why;
    uint32_t n_sok_fields = 0;
    struct dime_walk w;
    struct dime_field f;

    dime_walk_signet(&w, s);
    while (dime_walk_next(&w, &f))
        n_sok_fields += f.type == DIME_ORG_SOK && f.value.n != 0;
    if (!is_as_we_write(s, out) || n_sok_fields != s->n_soks ||
        s->first[DIME_ORG_SELF_SIGNATURE] == 0)
        return;
    kd_buf_reset(out);
    if (dime_org_build(&plan, (struct dime_signer){replay_sign, &r}, out, &why) ==
        KD_OK)
        fuzz_require(kd_slice_eq(kd_buf_slice(out), s->raw));
}

static void
rebuild_user(const struct dime_signet *s, struct kd_buf *out)
{
    struct replay r = {.s = s};
    struct dime_user_plan plan = {
        .ssr = s, .info = dime_signet_info(s), .identifier = s->identifier};
    enum dime_reason why;

    if (!is_as_we_write(s, out))
        return;
    kd_buf_reset(out);
    if (dime_user_build(&plan, (struct dime_signer){replay_sign, &r}, out, &why) ==
        KD_OK)
        fuzz_require(kd_slice_eq(kd_buf_slice(out), s->raw));
}

/* Verdicts of any kind must be consistent; they are not to be had for free octets. */
static void
verify(const struct dime_signet *s)
{
    struct dime_verdict v;
    kd_err err;

    if (s->kind == DIME_ORG)
        err = dime_org_verify(s, NULL, 0, &v);
    else if (s->kind == DIME_SSR)
        err = dime_ssr_verify(s, NULL, &v);
    else
        err = dime_user_verify(s, NULL, NULL, &v);
    fuzz_require((err == KD_OK) == v.holds);
    fuzz_require(v.holds == (v.why == DIME_FINE));
    fuzz_require(!v.bound || (v.holds && s->part == DIME_PART_IDENTIFIED));
    if (s->kind == DIME_USER)
        fuzz_require(!v.holds);
}

static void
try_info(const uint8_t *data, size_t size, struct kd_buf *out)
{
    enum dime_kind kind = SIGNET_ORG ? DIME_ORG : DIME_USER;
    struct kd_buf again;
    enum dime_reason why;

    kd_buf_reset(out);
    if (dime_info_filter(kind, kd_slice(data, size), out, &why) != KD_OK)
        return;
    /* what passed passes again, unchanged */
    kd_buf_init(&again, DIME_SIGNET_MAX);
    fuzz_require(dime_info_filter(kind, kd_buf_slice(out), &again, &why) == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(out), kd_buf_slice(&again)));
    kd_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dime_signet s;
    enum dime_reason why;
    struct kd_buf out;

    kd_buf_init(&out, DIME_SIGNET_MAX);
    fuzz_begin(size);
    kd_err err = dime_signet_parse(kd_slice(data, size), &s, &why);
    fuzz_require(err == dime_reason_err(why));
    if (err == KD_OK && (s.kind == DIME_ORG) == SIGNET_ORG) {
        fuzz_require(s.raw.p == data && s.raw.n == size);
        walk_all(&s);
        check_parts(&s, &out);
        verify(&s);
        if (s.kind == DIME_ORG)
            rebuild_org(&s, &out);
        else if (s.kind == DIME_USER)
            rebuild_user(&s, &out);
    }
    try_info(data, size, &out);
    if (size > DIME_HEADER_SIZE)
        try_info(data + DIME_HEADER_SIZE, size - DIME_HEADER_SIZE, &out);
    fuzz_end();
    kd_buf_free(&out);
    return 0;
}
