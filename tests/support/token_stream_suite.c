/* Signing in pieces, for every backend. */
#include "token_suite.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka.h wants setjmp.h and stdarg.h first */
#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define DOMAIN kd_slice_str("example.com")

enum { BIG = 3 * DIME_PARTS_BUFFER, LIMIT = 1 << 20 };

static const struct token_backend *backend;
static uint8_t octets[BIG]; /* begins as a message does */
static int whole;           /* the same, sealed */

static struct kd_token *
make(struct kd_key_info *key)
{
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_SOK,
                                     .alg = KD_ALG_ED25519,
                                     .permissions = 2,
                                     .domain = DOMAIN};
    struct kd_token *t = backend->make(&spec, 1);

    assert_non_null(t);
    *key = token_key_at(t, 0);
    return t;
}

static kd_err
run(struct kd_token_stream *s, size_t budget)
{
    bool more = true;
    kd_err err = KD_OK;

    while (more)
        err = kd_token_sign_step(s, budget, &more);
    return err;
}

static kd_err
sign(struct kd_token *t, const struct kd_key_info *key,
     const struct kd_token_text *text, size_t budget, struct kd_token_sig *sigs,
     uint8_t (*digests)[KD_SIGN_DIGEST_SIZE])
{
    struct kd_token_stream *s = NULL;
    kd_err err = kd_token_sign_begin(t, &key->id, text, &s);

    if (err == KD_OK)
        err = run(s, budget);
    if (err == KD_OK)
        err = kd_token_sign_end(s, sigs, digests);
    kd_token_sign_free(s);
    return err;
}

/* By libsodium alone. */
static void
check(const struct kd_key_info *key, struct kd_slice m, const struct kd_token_sig *sig,
      const uint8_t digest[KD_SIGN_DIGEST_SIZE])
{
    uint8_t want[KD_SIGN_DIGEST_SIZE];

    assert_int_equal(sig->n, 64);
    assert_int_equal(
        crypto_sign_verify_detached(sig->octets, m.p, m.n, key->public_key), 0);
    assert_int_equal(crypto_hash_sha256(want, m.p, m.n), 0);
    assert_memory_equal(digest, want, sizeof want);
}

static struct kd_token_text
text_of(const struct dime_stream_part *parts, size_t n_parts, uint64_t end)
{
    return (struct kd_token_text){.purpose = KD_SIGN_MESSAGE,
                                  .parts = parts,
                                  .n_parts = n_parts,
                                  .max = LIMIT,
                                  .n_ends = 1,
                                  .ends = {end}};
}

static void
pieces_are_signed_as_the_whole(void **state)
{
    static const size_t sizes[] = {65,
                                   66,
                                   79,
                                   80,
                                   81,
                                   127,
                                   128,
                                   129,
                                   DIME_PARTS_BUFFER - 1,
                                   DIME_PARTS_BUFFER,
                                   DIME_PARTS_BUFFER + 1,
                                   BIG};
    struct kd_key_info key;
    struct kd_token *t = make(&key);

    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++)
        for (int from_file = 0; from_file < 2; from_file++) {
            struct kd_slice m = kd_slice(octets, sizes[i]);
            const struct dime_stream_part part =
                from_file ? (struct dime_stream_part){.fd = whole, .n = m.n}
                          : (struct dime_stream_part){.head = m, .fd = -1};
            const struct kd_token_text text = text_of(&part, 1, m.n);
            uint8_t digest[1][KD_SIGN_DIGEST_SIZE];
            struct kd_token_sig sig, want;
            assert_int_equal(sign(t, &key, &text, 5000, &sig, digest), KD_OK);
            check(&key, m, &sig, digest[0]);
            assert_int_equal(kd_token_sign(t, &key.id, KD_SIGN_MESSAGE, m, &want),
                             KD_OK);
            assert_memory_equal(sig.octets, want.octets, 64);
        }
    assert_int_equal(kd_token_faults(t), 0);
    kd_token_free(t);
}

/* Cuts the octets anywhere into heads and ranges, empty ones too. */
static size_t
cut(struct dime_stream_part *parts, size_t max, size_t size)
{
    size_t n = 0;

    for (size_t at = 0; at < size;) {
        uint32_t left = (uint32_t)(size - at);
        uint32_t head = n + 1 == max ? 0 : randombytes_uniform(left + 1) / 3;
        uint32_t range = n + 1 == max ? left : randombytes_uniform(left - head + 1) / 2;
        parts[n++] = (struct dime_stream_part){.head = kd_slice(octets + at, head),
                                               .fd = range == 0 ? -1 : whole,
                                               .off = at + head,
                                               .n = range};
        at += head + range;
    }
    return n;
}

static uint64_t
between(uint64_t least, uint64_t most)
{
    return least + randombytes_uniform((uint32_t)(most - least + 1));
}

/* However the octets lie, wherever the signatures end, however long the steps are. */
static void
three_at_once_are_as_one_by_one(void **state)
{
    static const size_t budgets[] = {1, 511, 512, 700, 65535, SIZE_MAX};
    struct dime_stream_part parts[9];
    struct kd_key_info key;
    struct kd_token *t = make(&key);

    (void)state;
    for (unsigned round = 0; round < 120; round++) {
        size_t size = 65 + randombytes_uniform(round < 110 ? 2000 : BIG - 65 + 1);
        struct kd_token_text text = text_of(parts, cut(parts, LEN(parts), size), size);
        uint8_t digests[KD_SIGN_AT_ONCE][KD_SIGN_DIGEST_SIZE];
        struct kd_token_sig sigs[KD_SIGN_AT_ONCE];
        text.n_ends = 1 + round % 3;
        text.ends[text.n_ends - 1] = size;
        for (unsigned i = text.n_ends - 1; i > 0; i--) /* equal ones, too */
            text.ends[i - 1] =
                round % 7 == 0 ? text.ends[i] : between(65, text.ends[i]);
        assert_int_equal(
            sign(t, &key, &text, budgets[round % LEN(budgets)], sigs, digests), KD_OK);
        for (unsigned i = 0; i < text.n_ends; i++)
            check(&key, kd_slice(octets, (size_t)text.ends[i]), &sigs[i], digests[i]);
    }
    kd_token_free(t);
}

struct filling {
    const struct kd_key_info *key;
    uint8_t *text; /* where the signatures go */
    size_t at[2];
    const uint64_t *ends;
    unsigned n;
    kd_err err;
};

static kd_err
fill(void *ctx, unsigned which, const struct kd_token_sig *sig)
{
    struct filling *f = ctx;

    assert_int_equal(which, f->n++);
    assert_int_equal(crypto_sign_verify_detached(sig->octets, f->text,
                                                 (size_t)f->ends[which],
                                                 f->key->public_key),
                     0); /* good before anybody has it */
    memcpy(f->text + f->at[which], sig->octets, 64);
    return f->err;
}

/* As chunks 248 and 249 lie in what 255 covers; those two in memory, the rest in a
 * file. */
static void
last_signature_covers_the_others(void **state)
{
    static uint8_t text[BIG];
    const size_t at[2] = {BIG - 200, BIG - 100};
    const struct dime_stream_part parts[] = {
        {.fd = whole, .n = BIG - 200},
        {.head = kd_slice(text + BIG - 200, 64),
         .fd = whole,
         .off = BIG - 136,
         .n = 36},
        {.head = kd_slice(text + BIG - 100, 100), .fd = -1},
    };
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_text in = text_of(parts, LEN(parts), BIG);

    (void)state;
    in.n_ends = 3;
    in.ends[0] = 1000;
    in.ends[1] = BIG - 300;
    in.ends[2] = BIG;
    for (size_t budget = 1000; budget < 1 << 20; budget *= 3) {
        struct filling f = {&key, text, {at[0], at[1]}, in.ends, 0, KD_OK};
        uint8_t digests[KD_SIGN_AT_ONCE][KD_SIGN_DIGEST_SIZE];
        struct kd_token_sig sigs[KD_SIGN_AT_ONCE];
        memcpy(text, octets, BIG);
        in.made = fill;
        in.ctx = &f;
        assert_int_equal(sign(t, &key, &in, budget, sigs, digests), KD_OK);
        assert_int_equal(f.n, 2);
        for (unsigned i = 0; i < 3; i++)
            check(&key, kd_slice(text, (size_t)in.ends[i]), &sigs[i], digests[i]);
    }
    kd_token_free(t);
}

static void
who_cannot_take_a_signature_ends_the_stream(void **state)
{
    static uint8_t text[1000];
    const struct dime_stream_part part = {.head = kd_slice(text, sizeof text),
                                          .fd = -1};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_text in = text_of(&part, 1, sizeof text);
    struct filling f = {&key, text, {800, 900}, in.ends, 0, KD_NOMEM};
    struct kd_token_sig sigs[KD_SIGN_AT_ONCE] = {{.n = 9}};

    (void)state;
    memcpy(text, octets, sizeof text);
    in.n_ends = 3;
    in.ends[0] = 500;
    in.ends[1] = 600;
    in.ends[2] = sizeof text;
    in.made = fill;
    in.ctx = &f;
    assert_int_equal(sign(t, &key, &in, 100, sigs, NULL), KD_NOMEM);
    assert_int_equal(f.n, 1); /* the second is not offered then */
    assert_int_equal(sigs[0].n, 9);
    kd_token_free(t);
}

static void
nothing_comes_out_before_the_end_of_a_stream(void **state)
{
    const struct dime_stream_part part = {.fd = whole, .n = 20000};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    const struct kd_token_text text = text_of(&part, 1, part.n);
    struct kd_token_stream *s;
    struct kd_token_sig sig = {.n = 9};
    unsigned n_steps = 0;
    bool more = true;

    (void)state;
    assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_OK);
    while (more) {
        assert_int_equal(kd_token_sign_end(s, &sig, NULL), KD_FAILED);
        assert_int_equal(sig.n, 9);
        assert_int_equal(kd_token_sign_step(s, 3000, &more), KD_OK);
        n_steps++;
    }
    assert_true(n_steps > 6);
    assert_int_equal(kd_token_sign_end(s, &sig, NULL), KD_OK);
    assert_int_equal(sig.n, 64);
    assert_int_equal(kd_token_sign_step(s, 1, &more), KD_OK); /* does no harm */
    assert_false(more);
    kd_token_sign_free(s);
    kd_token_sign_free(NULL);
    kd_token_free(t);
}

/* --- what is refused --- */

static void
streams_are_bound_by_role_and_purpose(void **state)
{
    static const struct {
        enum kd_key_role role;
        uint8_t permissions;
    } keys[] = {{KD_KEY_ROLE_POK, 0}, {KD_KEY_ROLE_POK, 2}, {KD_KEY_ROLE_SOK, 1},
                {KD_KEY_ROLE_SOK, 2}, {KD_KEY_ROLE_SOK, 4}, {KD_KEY_ROLE_SOK, 7},
                {KD_KEY_ROLE_DKIM, 0}};
    struct kd_key_spec specs[LEN(keys)];
    size_t n_ok = 0;

    (void)state; /* T-OP-2 */
    for (size_t i = 0; i < LEN(keys); i++)
        specs[i] = (struct kd_key_spec){.role = keys[i].role,
                                        .alg = KD_ALG_ED25519,
                                        .permissions = keys[i].permissions,
                                        .domain = DOMAIN};
    struct kd_token *t = backend->make(specs, LEN(specs));
    assert_non_null(t);
    for (size_t i = 0; i < LEN(keys); i++)
        for (int p = 0; p < KD_SIGN_COUNT; p++)
            for (int m = 0; m < KD_SIGN_COUNT; m++) {
                struct kd_key_info key = token_key_at(t, i);
                struct kd_slice message = token_message_for((enum kd_sign_purpose)m);
                const struct dime_stream_part part = {.head = message, .fd = -1};
                struct kd_token_text text = text_of(&part, 1, message.n);
                struct kd_token_sig sig, want;
                text.purpose = (enum kd_sign_purpose)p;
                kd_err err = kd_token_sign(t, &key.id, text.purpose, message, &want);
                assert_int_equal(sign(t, &key, &text, 100, &sig, NULL), err);
                if (err != KD_OK)
                    continue;
                assert_memory_equal(sig.octets, want.octets, 64);
                n_ok++;
            }
    assert_true(n_ok > LEN(keys));
    kd_token_free(t);
}

/* Each of the signatures has to be over a message for the purpose: by where it ends,
 * and wherever its head lies. */
static void
octets_of_another_purpose_are_not_signed_in_pieces(void **state)
{
    uint8_t m[200] = {2, 0, 0, 33, [37] = 4};
    const struct dime_stream_part parts[] = {
        {.head = kd_slice(m, 2), .fd = -1},
        {.head = kd_slice(m + 2, 35), .fd = -1},
        {.fd = -1},
        {.head = kd_slice(m + 37, 163), .fd = -1},
    };
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_text text = text_of(parts, LEN(parts), sizeof m);

    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        m[37] = (uint8_t)type;
        text.purpose = KD_SIGN_MESSAGE;
        assert_int_equal(sign(t, &key, &text, 100, NULL, NULL),
                         type == 3 || type == 4 ? KD_OK : KD_INVALID);
        text.purpose = KD_SIGN_BOUNCE;
        assert_int_equal(sign(t, &key, &text, 100, NULL, NULL),
                         type == 6 ? KD_OK : KD_INVALID);
    }
    m[37] = 4;
    text.purpose = KD_SIGN_MESSAGE;
    text.n_ends = 2;
    text.ends[1] = sizeof m;
    for (uint64_t end = 0; end <= sizeof m + 1; end++) {
        text.ends[0] = end;
        assert_int_equal(sign(t, &key, &text, 100, NULL, NULL),
                         end < 65 || end > sizeof m ? KD_INVALID : KD_OK);
    }
    text.purpose = KD_SIGN_COUNT;
    assert_int_equal(sign(t, &key, &text, 100, NULL, NULL), KD_DENIED);
    kd_token_free(t);
}

static void
ends_that_are_none_are_refused(void **state)
{
    static const struct {
        unsigned n;
        uint64_t ends[KD_SIGN_AT_ONCE];
    } bad[] = {{0, {1000}},       {4, {100, 200, 1000}},  {1, {999}},  {1, {1001}},
               {2, {1000, 999}},  {3, {300, 200, 1000}},  {2, {1000}}, {3, {100, 200}},
               {1, {UINT64_MAX}}, {2, {UINT64_MAX, 1000}}};
    const struct dime_stream_part part = {.fd = whole, .n = 1000};
    struct kd_key_info key;
    struct kd_token *t = make(&key);

    (void)state;
    for (size_t i = 0; i < LEN(bad); i++) {
        struct kd_token_text text = text_of(&part, 1, 0);
        text.n_ends = bad[i].n;
        memcpy(text.ends, bad[i].ends, sizeof text.ends);
        if (sign(t, &key, &text, 100, NULL, NULL) != KD_INVALID)
            fail_msg("ends %zu were taken", i);
    }
    kd_token_free(t);
}

static kd_err
sign_file(struct kd_token *t, const struct kd_key_info *key, int fd, uint64_t off,
          uint64_t n)
{
    const struct dime_stream_part part = {.fd = fd, .off = off, .n = n};
    const struct kd_token_text text = text_of(&part, 1, n);

    return sign(t, key, &text, 1000, NULL, NULL);
}

static void
files_that_can_change_are_not_signed(void **state)
{
    static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(pwrite(fd, octets, 1000, 0), 1000);
    for (size_t i = 0; i < LEN(seals); i++) {
        assert_int_equal(sign_file(t, &key, fd, 0, 1000), KD_INVALID);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
    }
    assert_int_equal(sign_file(t, &key, fd, 0, 1000), KD_OK);
    assert_int_equal(sign_file(t, &key, fd, 0, 1001), KD_MALFORMED);
    assert_int_equal(sign_file(t, &key, fd, 1, 1000), KD_MALFORMED);
    assert_int_equal(sign_file(t, &key, fd, UINT64_MAX, 100), KD_MALFORMED);
    assert_int_equal(sign_file(t, &key, fd, 0, LIMIT + 1), KD_TOO_LARGE);
    assert_int_equal(sign_file(t, &key, fd, 0, UINT64_MAX), KD_TOO_LARGE);
    close(fd);
    assert_int_equal(sign_file(t, &key, -1, 0, 1000), KD_INVALID);
    kd_token_free(t);
}

static void
text_past_the_stated_limit_is_too_large(void **state)
{
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    uint64_t size = (uint64_t)kd_token_caps(t).max_message + 1;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const struct dime_stream_part part = {.fd = fd, .n = size};
    struct kd_token_text text = text_of(&part, 1, size);

    (void)state;
    text.max = UINT64_MAX;
    /* The rest is a hole, which takes no memory. */
    assert_int_equal(pwrite(fd, octets, 100, 0), 100);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS,
                           F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
                     0);
    assert_int_equal(sign(t, &key, &text, 1, NULL, NULL), KD_TOO_LARGE);
    close(fd);
    kd_token_free(t);
}

static void
only_keys_that_are_there_and_sign_begin_a_stream(void **state)
{
    const struct kd_key_spec specs[] = {
        {.role = KD_KEY_ROLE_SOK,
         .alg = KD_ALG_ED25519,
         .permissions = 2,
         .domain = DOMAIN},
        {.role = KD_KEY_ROLE_ENC,
         .alg = KD_ALG_SECP256K1,
         .permissions = 0,
         .domain = DOMAIN},
    };
    const struct dime_stream_part part = {.fd = whole, .n = 1000};
    const struct kd_token_text text = text_of(&part, 1, part.n);
    struct kd_token *t = backend->make(specs, LEN(specs));

    (void)state;
    assert_non_null(t);
    struct kd_key_info sok = token_key_at(t, 0), enc = token_key_at(t, 1), none = sok;
    none.id.octets[15] ^= 1;
    assert_int_equal(sign(t, &sok, &text, 1000, NULL, NULL), KD_OK);
    assert_int_equal(sign(t, &enc, &text, 1000, NULL, NULL), KD_DENIED);
    assert_int_equal(sign(t, &none, &text, 1000, NULL, NULL), KD_NOT_FOUND);
    kd_token_seal(t);
    assert_int_equal(sign(t, &sok, &text, 1000, NULL, NULL), KD_SEALED);
    kd_token_free(t);
}

/* --- what becomes of a stream when its key or its token goes --- */

enum going { SEAL, FREE, RETIRE, REVOKE, DESTROY, GOINGS };

static void
go(struct kd_token *t, const struct kd_key_id *id, enum going how)
{
    static const enum kd_key_state states[GOINGS][2] = {
        [RETIRE] = {KD_KEY_RETAINED},
        [REVOKE] = {KD_KEY_REVOKED},
        [DESTROY] = {KD_KEY_RETAINED, KD_KEY_DESTROYED},
    };

    if (how == SEAL)
        kd_token_seal(t);
    if (how == FREE)
        kd_token_free(t);
    for (size_t i = 0; i < 2 && states[how][i] != 0; i++)
        assert_int_equal(kd_token_set_state(t, id, states[how][i]), KD_OK);
}

/* After n steps; false when the stream was over by then. */
static bool
goes_after(enum going how, unsigned n)
{
    const struct dime_stream_part part = {.fd = whole, .n = 10000};
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    struct kd_token_text text = text_of(&part, 1, part.n);
    struct kd_token_stream *s;
    struct kd_token_sig sigs[2] = {{.n = 9}, {.n = 9}};
    bool more = true;

    text.n_ends = 2;
    text.ends[0] = 6000;
    text.ends[1] = part.n;
    assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &s), KD_OK);
    for (unsigned i = 0; i < n && more; i++)
        assert_int_equal(kd_token_sign_step(s, 1500, &more), KD_OK);
    bool was_over = !more;
    go(t, &key.id, how);
    kd_err want = was_over ? KD_OK : how == SEAL || how == FREE ? KD_SEALED : KD_DENIED;
    assert_int_equal(kd_token_sign_step(s, 1500, &more), want);
    if (want != KD_OK) {
        assert_false(more);
        assert_int_equal(kd_token_sign_step(s, 1500, &more), want); /* errors stay */
    }
    assert_int_equal(kd_token_sign_end(s, sigs, NULL), want);
    assert_int_equal(sigs[1].n, want == KD_OK ? 64 : 9);
    kd_token_sign_free(s);
    if (how != FREE)
        kd_token_free(t);
    return !was_over;
}

static void
stream_ends_when_its_key_goes(void **state)
{
    (void)state;
    for (int how = 0; how < GOINGS; how++) {
        struct kd_key_info key;
        struct kd_token *t = make(&key);
        bool sets = (kd_token_caps(t).flags & KD_TOKEN_SETS_STATE) != 0;
        unsigned n = 0;
        kd_token_free(t);
        if (!sets && how >= RETIRE)
            continue;
        while (goes_after((enum going)how, n))
            n++;
        assert_true(n > 6);
    }
}

static void
streams_of_one_key_take_turns(void **state)
{
    enum { N = 5 };
    struct dime_stream_part parts[N];
    struct kd_token_stream *streams[N];
    struct kd_key_info key;
    struct kd_token *t = make(&key);
    bool more[N], any = true;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        parts[i] = (struct dime_stream_part){.fd = whole, .n = BIG - 1000 * i};
        const struct kd_token_text text = text_of(&parts[i], 1, parts[i].n);
        assert_int_equal(kd_token_sign_begin(t, &key.id, &text, &streams[i]), KD_OK);
        more[i] = true;
    }
    while (any) {
        any = false;
        for (size_t i = 0; i < N; i++)
            if (more[i]) {
                assert_int_equal(
                    kd_token_sign_step(streams[i], 10000 + 777 * i, &more[i]), KD_OK);
                any |= more[i];
            }
    }
    for (size_t i = 0; i < N; i++) {
        uint8_t digest[1][KD_SIGN_DIGEST_SIZE];
        struct kd_token_sig sig;
        assert_int_equal(kd_token_sign_end(streams[i], &sig, digest), KD_OK);
        check(&key, kd_slice(octets, (size_t)parts[i].n), &sig, digest[0]);
        kd_token_sign_free(streams[i]);
    }
    kd_token_free(t);
}

int
token_stream_suite_run(const struct token_backend *b)
{
    static const uint8_t head[] = {2, 0, 0, 33};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_signed_as_the_whole),
        cmocka_unit_test(three_at_once_are_as_one_by_one),
        cmocka_unit_test(last_signature_covers_the_others),
        cmocka_unit_test(who_cannot_take_a_signature_ends_the_stream),
        cmocka_unit_test(nothing_comes_out_before_the_end_of_a_stream),
        cmocka_unit_test(streams_are_bound_by_role_and_purpose),
        cmocka_unit_test(octets_of_another_purpose_are_not_signed_in_pieces),
        cmocka_unit_test(ends_that_are_none_are_refused),
        cmocka_unit_test(files_that_can_change_are_not_signed),
        cmocka_unit_test(text_past_the_stated_limit_is_too_large),
        cmocka_unit_test(only_keys_that_are_there_and_sign_begin_a_stream),
        cmocka_unit_test(stream_ends_when_its_key_goes),
        cmocka_unit_test(streams_of_one_key_take_turns),
    };

    backend = b;
    randombytes_buf(octets, sizeof octets);
    memcpy(octets, head, sizeof head);
    octets[37] = 4;
    if (kd_memfd_seal(kd_slice(octets, sizeof octets), &whole) != KD_OK)
        return 1;
    int failed = cmocka_run_group_tests_name(b->name, tests, NULL, NULL);
    close(whole);
    return failed;
}
