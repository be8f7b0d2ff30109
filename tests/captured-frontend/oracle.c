/* story.h: what a front-end was given, judged. */
#include "story.h"

#include "test.h"

#include <dime/message.h>
#include <dime/naked.h>
#include <dime/secp.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
digests_add(struct digests *d, struct kd_slice covered)
{
    if (d->n == d->room) {
        d->room = d->room == 0 ? 256 : 2 * d->room;
        d->p = reallocarray(d->p, d->room, sizeof *d->p);
        assert_non_null(d->p);
    }
    crypto_hash_sha256(d->p[d->n++].octets, covered.p, covered.n);
}

/* --- signatures --- */

/* What the signature of that type covers in a message of that layout. */
static struct kd_slice
covered_by(const struct dmw *layout, struct kd_slice message, uint8_t type)
{
    uint8_t last = type == 248 ? 34 : type == 249 ? 67 : 254;
    size_t end = 0;

    for (size_t i = 0; i < layout->n; i++)
        if (layout->chunks[i].type <= last)
            end = layout->chunks[i].end;
    return kd_slice(message.p + 6, end - 6);
}

static bool
has_chunk(const struct dmw *w, uint8_t type)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->chunks[i].type == type)
            return true;
    return false;
}

/* Puts a signature where it belongs; false if it is not of that place. */
static bool
put(const struct dmw *w, uint8_t *message, uint8_t type, struct keyd_octets sig)
{
    if (!has_chunk(w, type))
        return sig.n == 0;
    if (sig.n != 64)
        return false;
    memcpy(message + dmw_find(w, type, 0)->at + 4, sig.p, 64);
    return true;
}

const char *
judge_signatures(struct story *s, struct kd_slice asked,
                 const struct keyd_answer *answer, struct digests *out)
{
    static const uint8_t types[] = {248, 249, 255};
    struct kd_slice blank = octets_of(&s->blank), whole = octets_of(&s->whole);

    /* What its author wrote, to the octet? */
    if (asked.n != blank.n || blank.n != whole.n ||
        memcmp(asked.p, blank.p, blank.n) != 0)
        return "a signature over what nobody wrote";
    uint8_t *message = malloc(blank.n);
    assert_non_null(message);
    memcpy(message, blank.p, blank.n);
    bool fits = put(&s->blank, message, 248, answer->out.outbound.metadata_bounce) &&
                put(&s->blank, message, 249, answer->out.outbound.display_bounce) &&
                put(&s->blank, message, 255, answer->out.outbound.organization) &&
                memcmp(message, whole.p, whole.n) == 0;
    for (size_t i = 0; fits && i < sizeof types; i++)
        if (has_chunk(&s->blank, types[i]))
            digests_add(out,
                        covered_by(&s->whole, kd_slice(message, whole.n), types[i]));
    free(message);
    return fits ? "" : "another signature than the author's message gets";
}

const char *
judge_last(struct kd_slice object, const uint8_t key[32], struct digests *out)
{
    const size_t chunk = 4 + 64;

    if (object.n < 6 + chunk)
        return "an object without a signature";
    struct kd_slice covered = kd_slice(object.p + 6, object.n - 6 - chunk);
    if (crypto_sign_verify_detached(object.p + object.n - 64, covered.p, covered.n,
                                    key) != 0)
        return "a signature over something else";
    digests_add(out, covered);
    return "";
}

/* AES-256-CBC without padding, in place. */
static void
unseal(const uint8_t iv[16], const uint8_t key[32], uint8_t *octets, size_t n)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int k = 0;

    assert_non_null(ctx);
    assert_true(EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, iv) == 1 &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
                EVP_DecryptUpdate(ctx, octets, &k, octets, (int)n) == 1 &&
                (size_t)k == n);
    EVP_CIPHER_CTX_free(ctx);
}

/* The key of what its slot gives to who has the KEK. */
static struct dmw_key
key_in(const struct dime_kek *kek, const uint8_t slot[64])
{
    uint8_t plain[64];
    struct dmw_key out;

    memcpy(plain, slot, sizeof plain);
    unseal(kek->iv, kek->key, plain, sizeof plain);
    for (size_t i = 0; i < sizeof out.iv; i++)
        out.iv[i] = plain[i] ^ plain[16 + i];
    memcpy(out.key, plain + 32, sizeof out.key);
    return out;
}

const char *
judge_bounce(struct kd_slice bounce, const uint8_t key[32], struct digests *out)
{
    const size_t at = 6 + 4 + 33, head = 4, slot = 64;
    uint8_t plain[4096], scalar[32];
    struct dime_kek kek;

    if (bounce.n < at + head || bounce.p[at] != 6)
        return "a bounce without a report";
    size_t n = (size_t)bounce.p[at + 2] << 8 | bounce.p[at + 3];
    if (bounce.p[at + 1] != 0 || n % 16 != 0 || n <= 64 || n > sizeof plain ||
        bounce.n - at - head < n + slot)
        return "a bounce with another report";
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    if (dime_kek_agree(scalar, bounce.p + 6 + 4, &kek) != KD_OK)
        return "a bounce with a point that is none";
    struct dmw_key k = key_in(&kek, bounce.p + at + head + n);
    memcpy(plain, bounce.p + at + head, n);
    unseal(k.iv, k.key, plain, n);
    if (crypto_sign_verify_detached(plain, plain + 64, n - 64, key) != 0)
        return "a report with a signature over something else";
    digests_add(out, kd_slice(plain + 64, n - 64));
    return judge_last(bounce, key, out);
}

/* --- the log --- */

static int
compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

static bool
is_opening(const struct kd_audit_record *r)
{
    return r->op == KD_AUDIT_OPEN_ENVELOPE || r->op == KD_AUDIT_OPEN_BOUNCE;
}

const char *
judge_records(const struct kd_audit_record *r, size_t n, const struct digests *received,
              size_t n_opened, size_t *n_failed)
{
    struct digest *recorded = calloc(3 * n + 1, sizeof *recorded);
    struct digest *given = calloc(received->n + 1, sizeof *given);
    size_t n_recorded = 0, n_done = 0;

    assert_true(recorded != NULL && given != NULL);
    *n_failed = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].outcome != KD_OUTCOME_DONE) {
            ++*n_failed;
            continue;
        }
        n_done += is_opening(&r[i]);
        for (size_t k = 0; k < r[i].n_digests && !is_opening(&r[i]); k++)
            memcpy(recorded[n_recorded++].octets, r[i].digests[k], 32);
    }
    if (received->n != 0)
        memcpy(given, received->p, received->n * sizeof *given);
    qsort(recorded, n_recorded, sizeof *recorded, compare);
    qsort(given, received->n, sizeof *given, compare);
    bool same = n_recorded == received->n &&
                memcmp(recorded, given, n_recorded * sizeof *given) == 0;
    free(recorded);
    free(given);
    if (!same)
        return "the log's signatures are not those that were received";
    return n_done == n_opened ? "" : "the log has another number of envelopes opened";
}

/* --- what came over the sockets --- */

struct needle {
    uint8_t octets[16];
};

enum { NEEDLES_MAX = 256 };

static void
add(struct needle *list, size_t *n, const uint8_t *p, size_t size)
{
    for (size_t at = 0; at + sizeof list->octets <= size; at += sizeof list->octets) {
        assert_true(*n < NEEDLES_MAX);
        memcpy(list[(*n)++].octets, p + at, sizeof list->octets);
    }
}

/* Shared secrets and key encryption keys of all messages here, chunk keys of one. */
static size_t
keys_of(const struct dmw *w, struct needle list[NEEDLES_MAX])
{
    uint8_t ephemeral[33], z[DIME_ECDH_SIZE];
    size_t n = 0;

    sg_enc_text("keyd-test ephemeral", ephemeral);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        const struct dmw_person *p = &w->people[i];
        assert_int_equal(dime_secp_ecdh(p->scalar, ephemeral, z), KD_OK);
        add(list, &n, z, sizeof z);
        add(list, &n, p->kek.iv, sizeof p->kek.iv);
        add(list, &n, p->kek.key, sizeof p->kek.key);
    }
    for (size_t i = 1; i < w->n; i++) {
        add(list, &n, w->chunks[i].key.iv, sizeof w->chunks[i].key.iv);
        add(list, &n, w->chunks[i].key.key, sizeof w->chunks[i].key.key);
    }
    return n;
}

static bool
told(const struct tap *t, const char *text)
{
    const struct kd_buf *b = &t->heard[1];

    return b->n != 0 && memmem(b->p, b->n, text, strlen(text)) != NULL;
}

const char *
judge_lines(const struct story *s)
{
    struct needle list[NEEDLES_MAX];
    size_t n = keys_of(&s->whole, list);

    for (size_t i = 0; i < STORY_LINES; i++)
        for (size_t k = 0; k < n; k++)
            if (tap_has(&s->taps[i], list[k].octets, sizeof list[k].octets))
                return "a key of a message";
    /* The submission server is told nothing about either, the origin's MTA only of the
     * author, the destination's only of the recipient; of texts, nobody. */
    for (size_t i = 0; i < STORY_LINES; i++)
        if (told(&s->taps[i], "Hello, Bob") || told(&s->taps[i], "Subject:") ||
            told(&s->taps[i], "-Signet: ["))
            return "a text of a message";
    if (told(&s->taps[0], "bob@") || told(&s->taps[1], "bob@"))
        return "the recipient, at the origin";
    return told(&s->taps[2], "alice@") ? "the author, at the destination" : "";
}

/* --- does it notice? --- */

static bool
notices(const char *what, const char *verdict, bool bad)
{
    printf("     planted: %-48s %s\n", what, *verdict == '\0' ? "good" : verdict);
    return (*verdict != '\0') == bad;
}

/* Under the key of the place, as keyd returns it. */
static void
sign_planted(const struct dmw *w, uint8_t type, struct kd_slice over,
             uint8_t payload[64])
{
    struct sg_pair sok = sg_world()->sok;
    uint8_t sig[64];

    kd_ignore(sg_signer(&sok, over, sig)); /* aborts itself */
    dmw_seal(&dmw_find(w, type, 0)->key, kd_slice(sig, 64), payload);
}

static bool
notices_signatures(struct story *s)
{
    uint8_t payloads[3][64], digest[32];
    struct digests none = {.p = NULL};
    struct keyd_answer a = {.op = KEYD_OP_SIGN_OUTBOUND,
                            .out.outbound = {.metadata_bounce = {payloads[0], 64},
                                             .display_bounce = {payloads[1], 64},
                                             .organization = {payloads[2], 64}}};
    struct kd_slice asked, whole;

    write_both(s, (struct dmw_recipe){.seed = story_new(s)});
    asked = octets_of(&s->blank);
    whole = octets_of(&s->whole);
    sign_planted(&s->blank, 248, covered_by(&s->whole, whole, 248), payloads[0]);
    sign_planted(&s->blank, 249, covered_by(&s->whole, whole, 249), payloads[1]);
    sign_planted(&s->blank, 255, covered_by(&s->whole, whole, 255), payloads[2]);
    bool ok =
        notices("the right signatures", judge_signatures(s, asked, &a, &none), false);
    crypto_hash_sha256(digest, whole.p, whole.n);
    sign_planted(&s->blank, 255, kd_slice(digest, 32), payloads[2]);
    ok &= notices("a signature over a bare digest",
                  judge_signatures(s, asked, &a, &none), true);
    sign_planted(&s->blank, 255, kd_slice(s->com.signet, s->com.signet_size),
                 payloads[2]);
    ok &= notices("a signature over a signet", judge_signatures(s, asked, &a, &none),
                  true);
    sign_planted(&s->blank, 255, covered_by(&s->whole, whole, 255), payloads[2]);
    uint8_t *changed = malloc(asked.n);
    assert_non_null(changed);
    memcpy(changed, asked.p, asked.n);
    changed[200] ^= 1;
    ok &= notices("the right signatures for a changed message",
                  judge_signatures(s, kd_slice(changed, asked.n), &a, &none), true);
    free(changed);
    free(none.p);
    return ok;
}

static bool
notices_records(void)
{
    struct kd_audit_record r[] = {{.op = KD_AUDIT_SIGN_OUTBOUND, .n_digests = 1},
                                  {.op = KD_AUDIT_OPEN_ENVELOPE, .n_digests = 1}};
    struct digests d = {.p = NULL};
    size_t n_failed;

    r[0].outcome = r[1].outcome = KD_OUTCOME_DONE;
    digests_add(&d, kd_slice_str("signed"));
    memcpy(r[0].digests[0], d.p[0].octets, 32);
    bool ok = notices("a log with what was received",
                      judge_records(r, 2, &d, 1, &n_failed), false);
    ok &= notices("a signature that is in no record",
                  judge_records(r + 1, 1, &d, 1, &n_failed), true);
    ok &= notices("an envelope opened without a record",
                  judge_records(r, 2, &d, 2, &n_failed), true);
    r[0].digests[0][31] ^= 1;
    ok &= notices("a record of something else", judge_records(r, 2, &d, 1, &n_failed),
                  true);
    d.n = 0;
    ok &= notices("a record of what nobody received",
                  judge_records(r, 2, &d, 1, &n_failed), true);
    free(d.p);
    return ok;
}

static bool
notices_lines(struct story *s)
{
    struct kd_buf *heard = &s->taps[2].heard[1];
    size_t n = heard->n;

    bool ok = notices("the lines as they are", judge_lines(s), false);
    kd_buf_put(heard, kd_slice_str("alice@example.com"));
    ok &= notices("the author's name at the destination", judge_lines(s), true);
    heard->n = n;
    kd_buf_put(heard, kd_slice(s->whole.chunks[1].key.key, 32));
    ok &= notices("the key of a chunk", judge_lines(s), true);
    heard->n = n;
    kd_buf_put(heard, kd_slice(s->whole.people[DIME_ORIGIN].kek.key, 32));
    ok &= notices("the key encryption key", judge_lines(s), true);
    heard->n = n;
    return ok;
}

bool
oracle_notices(struct story *s)
{
    /* The daemon is silent: nobody else writes what is heard. */
    bool signatures = notices_signatures(s);
    bool records = notices_records();
    bool lines = notices_lines(s);

    return signatures && records && lines;
}
