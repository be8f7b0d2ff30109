/* Signatures in pieces (token.h).
 *
 * They are made in rounds: one for all that do not wait for others, one for the last.
 * A round reads the octets up to its last end
 *
 *   for the nonces      on from where the round before stopped: all nonces are of one
 *                       key, so one hash, looked at where each signature's octets end
 *   for the challenges  from the start
 *   to check            from the start again, with nothing kept of the reading before:
 *                       a signature over what was misread never leaves
 *
 * and then gives its signatures to the text's `made`. For a backend that signs only
 * what it has whole, and for a key that devices hold, the octets are gathered in memory
 * instead. */
#include <keyd/token/backend.h>

#include "held.h"
#include "tables.h"

#include <dime/ed25519_verifier.h>
#include <keyd/base/secret.h>
#include <keyd/base/sha256.h>

#include <assert.h>
#include <stdlib.h>

enum { MOVE_COST = 512 }; /* in octets of budget: a system call, roughly */

enum leg { LEG_NONCE, LEG_CHALLENGE, LEG_CHECK, LEG_GATHER, LEG_DONE };

/* In secret memory. Signatures too: a wrong one can give the key away. */
struct stream_secret {
    struct dime_ed25519_nonce nonce;
    struct dime_ed25519_signer signers[KD_SIGN_AT_ONCE];
    uint8_t sigs[KD_SIGN_AT_ONCE][DIME_SIG_SIZE];
};

/* A reading: which signatures it is for, the next one whose octets end, and where it
 * is. */
struct place {
    struct dime_parts_cursor cursor;
    uint64_t at;
};

struct kd_token_stream {
    struct kd_token *token; /* held */
    struct kd_key_id id;
    uint8_t public_key[DIME_ED25519_KEY_SIZE];
    struct kd_token_text text;
    bool verifies;
    bool is_held;

    kd_err err;
    enum leg leg;
    unsigned first, end; /* signatures of this round */
    unsigned next;       /* whose nonce is not made */
    struct place place;
    struct place resume; /* of the nonces, while something else is read */

    struct stream_secret *secret;
    struct dime_ed25519_verifier verifiers[KD_SIGN_AT_ONCE];
    struct kd_sha256 hash;
    uint8_t digests[KD_SIGN_AT_ONCE][KD_SIGN_DIGEST_SIZE];
    uint8_t *whole; /* NULL: in pieces */
};

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* --- the key --- */

/* The key's position, if it may still sign; the lock is held. */
static kd_err
find_key(const struct kd_token_stream *s, size_t *at)
{
    kd_err err = kd_token_find(s->token, &s->id, at);

    if (err != KD_OK)
        return err;
    err = kd_key_allows(s->token->ops->info(s->token, *at), s->text.purpose);
    if (err != KD_OK)
        return err;
    return s->token->sealed ? KD_SEALED : KD_OK;
}

static kd_err
check_key(const struct kd_token_stream *s)
{
    size_t at;
    kd_err err = kd_token_lock_shared(s->token);

    if (err != KD_OK)
        return err;
    err = find_key(s, &at);
    kd_token_unlock(s->token);
    return err;
}

/* --- beginning --- */

static bool
has_files(const struct kd_token_text *text)
{
    for (size_t i = 0; i < text->n_parts; i++)
        if (text->parts[i].n != 0)
            return true;
    return false;
}

static kd_err
read_head(const struct kd_token_stream *s, uint8_t head[KD_PURPOSE_HEAD], size_t *n)
{
    struct dime_parts_cursor c = s->place.cursor;
    struct kd_slice octets;

    *n = 0;
    while (*n < KD_PURPOSE_HEAD && !dime_parts_at_end(&c)) {
        kd_err err = dime_parts_next(&c, KD_PURPOSE_HEAD - *n, &octets);
        if (err != KD_OK)
            return err;
        if (octets.n != 0)
            memcpy(head + *n, octets.p, octets.n);
        *n += octets.n;
    }
    return KD_OK;
}

/* Every one of the signatures is over a message for the purpose. */
static kd_err
check_text(const struct kd_token_stream *s, uint64_t size)
{
    const struct kd_token_text *text = &s->text;
    uint8_t head[KD_PURPOSE_HEAD];
    size_t n;
    kd_err err;

    if (text->n_ends == 0 || text->n_ends > KD_SIGN_AT_ONCE ||
        text->ends[text->n_ends - 1] != size)
        return KD_INVALID;
    if ((err = read_head(s, head, &n)) != KD_OK)
        return err;
    for (unsigned i = 0; i < text->n_ends; i++) {
        uint64_t end = text->ends[i];
        if (i > 0 && end < text->ends[i - 1])
            return KD_INVALID;
        err = kd_purpose_begins(text->purpose, kd_slice(head, (size_t)least(n, end)),
                                end);
        if (err != KD_OK)
            return err;
    }
    return KD_OK;
}

/* Each signature counts as one of those that are sampled. */
static void
decide_to_verify(struct kd_token_stream *s, const struct kd_token_caps *caps,
                 const struct kd_key_info *key)
{
    s->verifies = has_files(&s->text);
    for (unsigned i = 0; i < s->text.n_ends; i++)
        s->verifies |= kd_token_verifies(s->token, caps, key, s->text.purpose);
}

static kd_err
begin_locked(struct kd_token_stream *s, uint64_t size)
{
    struct kd_token *t = s->token;
    struct kd_token_caps caps = t->ops->caps(t);
    size_t at;
    kd_err err = find_key(s, &at);

    if (err != KD_OK)
        return err;
    const struct kd_key_info *key = t->ops->info(t, at);
    if (key->alg != KD_ALG_ED25519)
        return KD_UNSUPPORTED;
    if ((err = check_text(s, size)) != KD_OK)
        return err;
    if (size > kd_token_limit(t, at))
        return KD_TOO_LARGE;
    memcpy(s->public_key, key->public_key, sizeof s->public_key);
    decide_to_verify(s, &caps, key);
    s->is_held = kd_token_is_held(t, at);
    if (!s->is_held && t->ops->begin != NULL)
        return t->ops->begin(t, at, &s->secret->nonce);
    s->leg = LEG_GATHER;
    s->whole = malloc((size_t)size);
    return s->whole == NULL ? KD_NOMEM : KD_OK;
}

static kd_err
begin(struct kd_token_stream *s, uint64_t size)
{
    uint8_t *buffer = malloc(DIME_PARTS_BUFFER);
    kd_err err;

    s->place.cursor =
        (struct dime_parts_cursor){s->text.parts, s->text.n_parts, buffer, 0, 0};
    if (buffer == NULL || (s->secret = kd_secret_new(sizeof *s->secret)) == NULL)
        return KD_NOMEM;
    s->end = s->text.n_ends > 1 ? s->text.n_ends - 1 : 1;
    kd_sha256_init(&s->hash);
    if ((err = kd_token_lock_shared(s->token)) != KD_OK)
        return err;
    err = begin_locked(s, size);
    kd_token_unlock(s->token);
    return err;
}

kd_err
kd_token_sign_begin(struct kd_token *t, const struct kd_key_id *id,
                    const struct kd_token_text *text, struct kd_token_stream **out)
{
    uint64_t size;
    kd_err err = dime_parts_measure(text->parts, text->n_parts, text->max, true, &size);

    if (err != KD_OK)
        return err;
    struct kd_token_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return KD_NOMEM;
    s->token = t;
    s->id = *id;
    s->text = *text;
    kd_token_hold(t);
    if ((err = begin(s, size)) == KD_OK)
        *out = s;
    else
        kd_token_sign_free(s);
    return err;
}

static void
drop_secret(struct kd_token_stream *s)
{
    kd_secret_free(s->secret, sizeof *s->secret);
    s->secret = NULL;
}

void
kd_token_sign_free(struct kd_token_stream *s)
{
    if (s == NULL)
        return;
    drop_secret(s);
    kd_token_release(s->token);
    free(s->place.cursor.buffer);
    free(s->whole);
    kd_secret_wipe(s, sizeof *s);
    free(s);
}

/* --- octets --- */

static void
rewind_to_start(struct kd_token_stream *s)
{
    s->place.cursor.part = 0;
    s->place.cursor.at = 0;
    s->place.at = 0;
}

/* How far to read: the next place where one of the signatures ends. */
static uint64_t
next_end(const struct kd_token_stream *s)
{
    unsigned i = s->first;

    while (i + 1 < s->end && s->text.ends[i] <= s->place.at)
        i++;
    return s->text.ends[i];
}

static void
add(struct kd_token_stream *s, struct kd_slice octets)
{
    switch (s->leg) {
    case LEG_NONCE:
        dime_ed25519_nonce_add(&s->secret->nonce, octets);
        kd_sha256_add(&s->hash, octets);
        break;
    case LEG_GATHER:
        memcpy(s->whole + s->place.at, octets.p, octets.n);
        kd_sha256_add(&s->hash, octets);
        break;
    case LEG_CHALLENGE:
    case LEG_CHECK:
        for (unsigned i = s->first; i < s->end; i++) {
            if (s->place.at >= s->text.ends[i])
                continue;
            if (s->leg == LEG_CHALLENGE)
                dime_ed25519_signer_add(&s->secret->signers[i], octets);
            else
                dime_ed25519_verifier_add(&s->verifiers[i], octets);
        }
        break;
    case LEG_DONE:
        break;
    }
    s->place.at += octets.n;
}

/* The octets of one signature have been read for the first time. */
static kd_err
commit(struct kd_token_stream *s, unsigned i)
{
    struct kd_sha256 so_far = s->hash;

    kd_sha256_final(&so_far, s->digests[i]);
    if (s->leg == LEG_GATHER)
        return KD_OK;
    return dime_ed25519_nonce_commit(&s->secret->nonce, &s->secret->signers[i]);
}

static kd_err
commit_due(struct kd_token_stream *s)
{
    kd_err err = KD_OK;

    if (s->leg != LEG_NONCE && s->leg != LEG_GATHER)
        return KD_OK;
    while (err == KD_OK && s->next < s->end && s->text.ends[s->next] == s->place.at)
        err = commit(s, s->next++);
    return err;
}

/* --- ends of readings --- */

static struct kd_token_sig
sig_of(const struct kd_token_stream *s, unsigned i)
{
    struct kd_token_sig sig = {.n = DIME_SIG_SIZE};

    memcpy(sig.octets, s->secret->sigs[i], DIME_SIG_SIZE);
    return sig;
}

/* The round's signatures are good. */
static kd_err
give(struct kd_token_stream *s)
{
    kd_err err = KD_OK;

    if (s->end == s->text.n_ends) {
        s->leg = LEG_DONE;
        return KD_OK;
    }
    for (unsigned i = s->first; i < s->end && err == KD_OK; i++) {
        struct kd_token_sig sig = sig_of(s, i);
        if (s->text.made != NULL)
            err = s->text.made(s->text.ctx, i, &sig);
    }
    s->first = s->end;
    s->end = s->text.n_ends;
    s->leg = s->whole != NULL ? LEG_GATHER : LEG_NONCE;
    s->place = s->resume;
    return err;
}

static kd_err
end_nonces(struct kd_token_stream *s)
{
    s->resume = s->place;
    rewind_to_start(s);
    s->leg = LEG_CHALLENGE;
    return KD_OK;
}

static kd_err
finish_locked(struct kd_token_stream *s)
{
    size_t at;
    kd_err err = find_key(s, &at);

    for (unsigned i = s->first; i < s->end && err == KD_OK; i++)
        err = s->token->ops->finish(s->token, at, &s->secret->signers[i],
                                    s->secret->sigs[i]);
    return err;
}

static kd_err
end_challenges(struct kd_token_stream *s)
{
    kd_err err = kd_token_lock_shared(s->token);

    if (err != KD_OK)
        return err;
    err = finish_locked(s);
    kd_token_unlock(s->token);
    if (err != KD_OK)
        return err;
    if (!s->verifies)
        return give(s);
    for (unsigned i = s->first; i < s->end; i++)
        dime_ed25519_verifier_init(&s->verifiers[i], s->public_key, s->secret->sigs[i]);
    rewind_to_start(s);
    s->leg = LEG_CHECK;
    return KD_OK;
}

static kd_err
end_check(struct kd_token_stream *s)
{
    for (unsigned i = s->first; i < s->end; i++)
        if (dime_ed25519_verifier_end(&s->verifiers[i]) != KD_OK)
            return kd_token_fault(s->token);
    return give(s);
}

/* Of a backend that signs what it has whole. */
static kd_err
sign_whole_locked(struct kd_token_stream *s, unsigned i)
{
    struct kd_slice message = kd_slice(s->whole, (size_t)s->text.ends[i]);
    struct kd_token_sig sig = {.n = 0};
    size_t at;
    kd_err err = find_key(s, &at);

    if (err != KD_OK)
        return err;
    if ((err = s->token->ops->sign(s->token, at, message, &sig)) != KD_OK)
        goto out;
    if (sig.n != DIME_SIG_SIZE ||
        (s->verifies &&
         dime_ed25519_verify_trusted_key(s->public_key, message, sig.octets) != KD_OK))
        err = kd_token_fault(s->token);
    else
        memcpy(s->secret->sigs[i], sig.octets, DIME_SIG_SIZE);
out:
    kd_secret_wipe(&sig, sizeof sig);
    return err;
}

static kd_err
sign_whole_held(struct kd_token_stream *s, unsigned i)
{
    struct kd_slice message = kd_slice(s->whole, (size_t)s->text.ends[i]);
    struct kd_token_sig sig;
    kd_err err = kd_held_sign(s->token, &s->id, s->text.purpose, message, &sig);

    if (err == KD_OK)
        memcpy(s->secret->sigs[i], sig.octets, DIME_SIG_SIZE);
    return err;
}

static kd_err
end_gathering(struct kd_token_stream *s)
{
    kd_err err = KD_OK;

    s->resume = s->place;
    for (unsigned i = s->first; i < s->end && err == KD_OK; i++) {
        if (s->is_held) {
            err = sign_whole_held(s, i);
            continue;
        }
        if ((err = kd_token_lock_shared(s->token)) != KD_OK)
            return err;
        err = sign_whole_locked(s, i);
        kd_token_unlock(s->token);
    }
    return err == KD_OK ? give(s) : err;
}

static kd_err
end_leg(struct kd_token_stream *s)
{
    switch (s->leg) {
    case LEG_NONCE:
        return end_nonces(s);
    case LEG_CHALLENGE:
        return end_challenges(s);
    case LEG_CHECK:
        return end_check(s);
    case LEG_GATHER:
        return end_gathering(s);
    case LEG_DONE:
        break;
    }
    return KD_OK;
}

/* --- steps --- */

/* One move: some octets, the next part, or the end of a reading. */
static kd_err
move(struct kd_token_stream *s, size_t budget, size_t *n)
{
    struct kd_slice octets;
    kd_err err = commit_due(s);

    *n = 0;
    if (err != KD_OK)
        return err;
    if (s->place.at == s->text.ends[s->end - 1])
        return end_leg(s);
    err = dime_parts_next(&s->place.cursor,
                          (size_t)least(budget, next_end(s) - s->place.at), &octets);
    if (err != KD_OK)
        return err;
    if (octets.n != 0)
        add(s, octets);
    *n = octets.n;
    return KD_OK;
}

kd_err
kd_token_sign_step(struct kd_token_stream *s, size_t budget, bool *more)
{
    assert(budget > 0);
    if (s->err == KD_OK && s->leg != LEG_DONE)
        s->err = check_key(s);
    while (s->err == KD_OK && s->leg != LEG_DONE && budget > 0) {
        size_t n;
        s->err = move(s, budget, &n);
        budget -= (size_t)least(budget, n < MOVE_COST ? MOVE_COST : n);
    }
    if (s->err != KD_OK)
        drop_secret(s);
    *more = s->err == KD_OK && s->leg != LEG_DONE;
    return s->err;
}

kd_err
kd_token_sign_end(const struct kd_token_stream *s, struct kd_token_sig *sigs,
                  uint8_t (*digests)[KD_SIGN_DIGEST_SIZE])
{
    if (s->err != KD_OK)
        return s->err;
    if (s->leg != LEG_DONE)
        return KD_FAILED;
    for (unsigned i = 0; i < s->text.n_ends; i++) {
        if (sigs != NULL)
            sigs[i] = sig_of(s, i);
        if (digests != NULL)
            memcpy(digests[i], s->digests[i], KD_SIGN_DIGEST_SIZE);
    }
    return KD_OK;
}
