/* What the key store asks of a token (keyd/token/device.h), from any thread. */
#include "pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <sodium.h>
#include <stdlib.h>

enum { SETTLED_MS = 2000 };
enum { LOST_MOST = 2, FAILED_MOST = 1 }; /* times that an operation is asked again */

static struct p11_token *
token_of(struct kd_device *d)
{
    return (struct p11_token *)d; /* its first member */
}

/* --- what is known --- */

static kd_err
pool_usable(struct kd_device *d, const struct kd_key_id *id)
{
    struct p11_token *t = token_of(d);

    pthread_mutex_lock(&t->lock);
    const struct pool_key *k = token_key(t, id);
    kd_err err = breaker_allows(&t->breaker);
    if (err == KD_OK && (k == NULL || (k->is_known && k->finding != P11_FINE)))
        err = KD_NOT_FOUND;
    if (err == KD_SEALED)
        err = KD_UNAVAILABLE;
    pthread_mutex_unlock(&t->lock);
    return err;
}

static kd_err
pool_key_caps(struct kd_device *d, const struct kd_key_id *id, struct kd_key_caps *out)
{
    struct p11_token *t = token_of(d);
    kd_err err = KD_OK;

    pthread_mutex_lock(&t->lock);
    if (token_key(t, id) == NULL)
        err = KD_NOT_FOUND;
    else if (t->status.max_message == 0)
        err = KD_UNAVAILABLE;
    else
        *out = (struct kd_key_caps){.max_message = (size_t)t->status.max_message};
    pthread_mutex_unlock(&t->lock);
    return err;
}

/* --- operations --- */

/* What this thread had last, for bad(). */
static _Thread_local struct {
    struct p11_token *token;
    unsigned host;
    uint64_t incarnation;
} last;

/* Of the module's words those that say that this process, its session or its handles
 * are of no use any more; others may be about the request. */
static bool
is_of_session(uint64_t rv)
{
    static const uint16_t words[] = {
        0x02,  /* CKR_HOST_MEMORY */
        0x30,  /* CKR_DEVICE_ERROR */
        0x31,  /* CKR_DEVICE_MEMORY */
        0x32,  /* CKR_DEVICE_REMOVED */
        0x60,  /* CKR_KEY_HANDLE_INVALID */
        0x82,  /* CKR_OBJECT_HANDLE_INVALID */
        0xb0,  /* CKR_SESSION_CLOSED */
        0xb1,  /* CKR_SESSION_COUNT */
        0xb3,  /* CKR_SESSION_HANDLE_INVALID */
        0xe0,  /* CKR_TOKEN_NOT_PRESENT */
        0xe1,  /* CKR_TOKEN_NOT_RECOGNIZED */
        0x101, /* CKR_USER_NOT_LOGGED_IN */
        0x190, /* CKR_CRYPTOKI_NOT_INITIALIZED */
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i] == rv)
            return true;
    return false;
}

/* An operation: what is asked, and how often it went wrong. */
struct operation {
    const struct kd_key_id *id;
    const uint8_t *point; /* or */
    struct kd_slice message;
    struct kd_token_sig *sig;
    uint8_t *z;
    unsigned n_lost, n_failed;
};

static enum call_end
ask(struct host *h, uint8_t key, struct operation *o, int64_t until, uint64_t *rv)
{
    if (o->point != NULL)
        return call_derive(h, key, o->point, until, rv, o->z);
    return call_sign(h, key, o->message, until, rv, o->sig);
}

static bool
is_empty(const struct operation *o)
{
    return o->point == NULL && o->sig->n == 0;
}

/* It went well; or not, and KD_BUSY stands for: again. With the lock. */
static kd_err
settle(struct p11_token *t, struct host *h, struct operation *o, enum call_end end,
       uint64_t rv, bool was_cut)
{
    bool wrong = end == CALL_MALFORMED || (end == CALL_DONE && rv == 0 && is_empty(o));

    h->n_done++;
    if (end == CALL_DONE && !wrong)
        atomic_store_explicit(&t->answered_at, kd_clock_ms(), memory_order_relaxed);
    if (end == CALL_DONE && rv == 0 && !wrong) {
        *(o->point != NULL ? &t->status.derived : &t->status.signed_) += 1;
        host_give_back(t, h);
        return KD_OK;
    }
    if (end == CALL_LATE && was_cut) { /* the caller had no time: nobody's fault */
        host_drop(t, h, true);
        return KD_TIMEOUT;
    }
    token_want_trial(t);
    if (end == CALL_LATE) {
        host_drop(t, h, true);
        token_see(t, SEEN_HANG);
        return KD_UNAVAILABLE;
    }
    if (wrong)
        token_event(t, P11_EVENT_FAULT, ++t->status.faults, 0);
    if (end == CALL_DONE && !wrong && !is_of_session(rv))
        host_give_back(t, h);
    else
        host_drop(t, h, end != CALL_GONE);
    if (end == CALL_GONE)
        return ++o->n_lost > LOST_MOST ? KD_UNAVAILABLE : KD_BUSY;
    if (++o->n_failed > FAILED_MOST)
        return wrong ? KD_FAILED : KD_UNAVAILABLE;
    return KD_BUSY;
}

static kd_err
operate(struct p11_token *t, struct operation *o, int64_t until)
{
    struct host *h;
    uint64_t rv;
    uint8_t key;
    kd_err err;

    pthread_mutex_lock(&t->lock);
    do {
        if ((err = host_take(t, o->id, until, &h, &key)) != KD_OK)
            break;
        last.token = t;
        last.host = h->number;
        last.incarnation = h->incarnation;
        h->size_ms = p11_message_ms(o->message.n);
        int64_t most = h->sent_at + t->conf.timeout_ms + h->size_ms;
        rv = 0;
        pthread_mutex_unlock(&t->lock);
        enum call_end end = ask(h, key, o, until < most ? until : most, &rv);
        pthread_mutex_lock(&t->lock);
        err = settle(t, h, o, end, rv, until < most);
    } while (err == KD_BUSY);
    pthread_mutex_unlock(&t->lock);
    return err;
}

static kd_err
pool_sign(struct kd_device *d, const struct kd_key_id *id, struct kd_slice message,
          int64_t until, struct kd_token_sig *sig)
{
    struct operation o = {.id = id, .message = message, .sig = sig};

    sig->n = 0;
    return operate(token_of(d), &o, until);
}

static kd_err
pool_ecdh(struct kd_device *d, const struct kd_key_id *id, const uint8_t point[65],
          int64_t until, uint8_t z[KD_ECDH_SIZE])
{
    struct operation o = {.id = id, .point = point, .z = z};
    kd_err err = operate(token_of(d), &o, until);

    if (err != KD_OK)
        kd_secret_wipe(z, KD_ECDH_SIZE);
    return err;
}

/* The process that gave it is not asked again. */
static void
pool_bad(struct kd_device *d, const struct kd_key_id *id)
{
    struct p11_token *t = token_of(d);

    (void)id;
    pthread_mutex_lock(&t->lock);
    token_event(t, P11_EVENT_FAULT, ++t->status.faults, 0);
    if (last.token == t && t->hosts[last.host].incarnation == last.incarnation &&
        t->hosts[last.host].state == HOST_IDLE)
        host_drop(t, &t->hosts[last.host], true);
    token_want_trial(t);
    pthread_mutex_unlock(&t->lock);
}

/* --- trials --- */

static kd_err
pool_probed(struct kd_device *d, const struct kd_key_id *id, int64_t since,
            int64_t until)
{
    struct p11_token *t = token_of(d);
    struct pool_key *k;
    int64_t now = kd_clock_ms(), most = now + WAIT_MS + t->conf.timeout_ms;
    bool waits = until > now; /* else it is asked for, and what is known is told */
    kd_err err;

    if (until > most)
        until = most;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        if ((k = token_key(t, id)) == NULL ||
            (k->is_known && k->finding != P11_FINE && k->bad_at >= since)) {
            err = k == NULL ? KD_NOT_FOUND : KD_FAILED;
            break;
        }
        if ((err = breaker_allows(&t->breaker)) != KD_OK)
            break;
        if (k->good_at >= since && k->good_at >= k->bad_at)
            break;
        if (k->bad_at >= since && k->bad_at > k->good_at) {
            err = KD_FAILED;
            break;
        }
        k->is_asked = true;
        pthread_cond_signal(&t->wake);
        if (!waits || !token_wait(t, &t->changed, until)) {
            err = waits ? KD_UNAVAILABLE : KD_TIMEOUT;
            break;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}

kd_err
p11_confirm(struct p11 *p, size_t token, const struct kd_key_id *id, int64_t until)
{
    return pool_probed(&p->tokens[token].device, id, kd_clock_ms(), until);
}

/* --- for the keeper --- */

kd_err
token_work(struct p11_token *t, struct work *w)
{
    kd_err err = KD_OK;

    pthread_mutex_lock(&t->lock);
    if (t->work != NULL) {
        err = KD_BUSY;
    } else {
        t->work = w;
        pthread_cond_signal(&t->wake);
        while (!w->is_done)
            kd_ignore(token_wait(t, &t->changed, INT64_MAX));
        err = w->err;
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}

static kd_err
pool_make(struct kd_device *d, const struct kd_key_spec *spec, struct kd_slice secret,
          struct kd_place *place, uint8_t *flags, uint8_t *public_key, size_t *n)
{
    struct work w = {.kind = WORK_MAKE, .spec = spec, .secret = secret};
    kd_err err = token_work(token_of(d), &w);

    if (err != KD_OK)
        return err;
    place->id_size = w.place.id_size;
    memcpy(place->id, w.place.id, sizeof place->id);
    *flags = w.flags;
    *n = w.n_public;
    memcpy(public_key, w.public_key, w.n_public);
    return KD_OK;
}

static kd_err
pool_unmake(struct kd_device *d, const struct kd_place *place,
            struct kd_slice public_key)
{
    struct work w = {.kind = WORK_UNMAKE, .place = *place, .n_public = public_key.n};

    if (public_key.n > sizeof w.public_key)
        return KD_INVALID;
    memcpy(w.public_key, public_key.p, public_key.n);
    return token_work(token_of(d), &w);
}

static kd_err
pool_look(struct kd_device *d, enum kd_key_alg alg, struct kd_slice public_key,
          struct kd_place *place, uint8_t *flags)
{
    struct work w = {
        .kind = WORK_LOOK, .place = *place, .alg = alg, .n_public = public_key.n};

    if (public_key.n > sizeof w.public_key)
        return KD_INVALID;
    memcpy(w.public_key, public_key.p, public_key.n);
    kd_err err = token_work(token_of(d), &w);
    if (err != KD_OK)
        return err;
    place->id_size = w.place.id_size;
    memcpy(place->id, w.place.id, sizeof place->id);
    *flags = w.flags;
    return KD_OK;
}

/* --- what is to be held --- */

/* What is known of a key that was held before is known still. */
static void
copy_keys(struct p11_token *t, const struct kd_device_keys *keys, struct pool_key *out)
{
    for (size_t i = 0; i < keys->n; i++) {
        const struct kd_device_key *from = &keys->list[i];
        const struct pool_key *old = token_key(t, &from->id);
        struct pool_key *k = &out[i];
        if (old != NULL)
            *k = *old;
        else
            *k = (struct pool_key){.finding = P11_FINE};
        k->is = *from;
        memcpy(k->public_key, from->public_key.p, from->public_key.n);
        k->is.public_key = kd_slice(k->public_key, from->public_key.n);
    }
}

/* The store's tags are older than our own: they lag behind by what is still to be
 * stored, and a list may have been made before. So they count when they come for the
 * first time, and again when they are of another token or under another latch key. */
static void
take_tags(struct p11_token *t, const struct kd_device_keys *keys, bool is_sealed)
{
    struct tags_owner of = {.serial = ""};

    if (is_sealed) /* nobody logs in; what is known is of use when it is opened again */
        return;
    crypto_generichash(of.mark, sizeof of.mark, keys->latch, sizeof keys->latch, NULL,
                       0);
    memcpy(of.serial, keys->serial, sizeof of.serial);
    memcpy(of.model, keys->model, sizeof of.model);
    if (memcmp(of.mark, t->tags_of.mark, sizeof of.mark) == 0 &&
        strcmp(of.serial, t->tags_of.serial) == 0 &&
        strcmp(of.model, t->tags_of.model) == 0)
        return;
    t->tags_of = of;
    t->tags_era++;
    t->tags_again_at = 0;
    t->out.tags = false;
    memcpy(t->good, keys->good, sizeof t->good);
    memcpy(t->tried, keys->tried, sizeof t->tried);
}

static kd_err
pool_hold(struct kd_device *d, const struct kd_device_keys *keys)
{
    struct p11_token *t = token_of(d);
    struct pool_key *fresh;

    if (keys->n > POOL_KEYS_MAX - 1)
        return KD_TOO_LARGE;
    for (size_t i = 0; i < keys->n; i++)
        if (keys->list[i].public_key.n > KD_KEY_PUBLIC_MAX)
            return KD_TOO_LARGE;
    if ((fresh = calloc(POOL_KEYS_MAX, sizeof *fresh)) == NULL)
        return KD_NOMEM;
    bool is_sealed = sodium_is_zero(keys->latch, sizeof keys->latch);
    bool is_new = keys->serial[0] == '\0' && keys->model[0] == '\0';
    pthread_mutex_lock(&t->lock);
    copy_keys(t, keys, fresh);
    struct pool_key *old = t->keys;
    t->keys = fresh;
    t->n_keys = keys->n;
    t->keys_serial++;
    t->limit_at = kd_clock_ms() + SETTLED_MS;
    memcpy(t->latch, keys->latch, sizeof t->latch);
    take_tags(t, keys, is_sealed);
    memcpy(t->serial, keys->serial, sizeof t->serial);
    memcpy(t->model, keys->model, sizeof t->model);
    token_see(t, is_sealed ? SEEN_NOTHING_TO_HOLD
                 : is_new  ? SEEN_NOT_ADOPTED
                           : SEEN_SOMETHING_TO_HOLD);
    pthread_cond_broadcast(&t->changed);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    free(old);
    return KD_OK;
}

const struct kd_device_ops pool_device = {
    .usable = pool_usable,
    .key_caps = pool_key_caps,
    .sign = pool_sign,
    .ecdh = pool_ecdh,
    .bad = pool_bad,
    .probed = pool_probed,
    .make = pool_make,
    .unmake = pool_unmake,
    .look = pool_look,
    .hold = pool_hold,
};
