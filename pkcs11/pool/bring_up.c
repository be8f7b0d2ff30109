/* A fresh host, from what it tells unasked to keys that do right. */
#include "pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static enum p11_finding_code
found(struct p11_finding *why, enum p11_finding_code code, uint64_t rv,
      struct kd_slice what)
{
    size_t n = what.n < P11_WHAT_MAX ? what.n : P11_WHAT_MAX;

    why->code = code;
    why->rv = rv;
    for (size_t i = 0; i < n; i++) /* as the host says it: it may say anything */
        why->what[i] = (char)(what.p[i] >= ' ' && what.p[i] <= '~' ? what.p[i] : '?');
    why->what[n] = '\0';
    return code;
}

static enum p11_finding_code
ended(struct p11_finding *why, enum call_end end)
{
    return found(why, end == CALL_LATE ? P11_MODULE_HANGS : P11_MODULE_DIES, 0,
                 kd_slice(NULL, 0));
}

static enum p11_finding_code
plain(struct p11_finding *why, enum p11_finding_code code)
{
    return found(why, code, 0, kd_slice(NULL, 0));
}

/* A token that was up before comes up in its usual time, or not at all: the keeper does
 * not wait for it as for one that it does not know. */
static int64_t
until(struct p11_token *t, int64_t ms, unsigned times)
{
    pthread_mutex_lock(&t->lock);
    bool known = t->was_up;
    pthread_mutex_unlock(&t->lock);
    return kd_clock_ms() + (known ? (int64_t)t->conf.timeout_ms * times : ms);
}

/* --- what is there --- */

/* A text of the token's, for people: what is not printable is not. */
static void
keep_text(char *out, size_t room, struct kd_slice text)
{
    size_t n = text.n < room - 1 ? text.n : room - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)(text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?');
    out[n] = '\0';
}

static void
keep(struct p11_token *t, const struct kd_p11_here *m)
{
    pthread_mutex_lock(&t->lock);
    t->status.mechanisms = m->mechanisms;
    keep_text(t->status.label, sizeof t->status.label, m->label);
    keep_text(t->status.serial, sizeof t->status.serial, m->serial);
    keep_text(t->status.model, sizeof t->status.model, m->model);
    keep_text(t->status.manufacturer, sizeof t->status.manufacturer, m->manufacturer);
    pthread_mutex_unlock(&t->lock);
}

/* flags: of the token. */
static enum p11_finding_code
look(struct p11_token *t, struct host *h, uint32_t *flags, struct p11_finding *why)
{
    uint8_t *answer = malloc(ANSWER_MAX);
    struct kd_p11_here m;
    size_t n = 0;

    if (answer == NULL)
        return plain(why, P11_MODULE_DIES);
    enum call_end end =
        call_await(h, KD_MSG_p11_here, until(t, HERE_MS, 2), answer, ANSWER_MAX, &n);
    if (end == CALL_DONE && (kd_p11_here_get(kd_slice(answer, n), &m) != KD_OK ||
                             m.finding >= P11_FINDINGS))
        end = CALL_MALFORMED;
    if (end != CALL_DONE) {
        ended(why, end);
    } else {
        if (m.finding == P11_FINE)
            keep(t, &m);
        *flags = m.flags;
        h->kib_first = h->kib = m.kib;
        found(why, (enum p11_finding_code)m.finding, m.rv, m.what);
    }
    free(answer);
    return why->code;
}

/* It is the one that was adopted. */
static enum p11_finding_code
compare(struct p11_token *t, struct p11_finding *why)
{
    char text[2 * P11_WHAT_MAX];

    pthread_mutex_lock(&t->lock);
    bool is_new = t->serial[0] == '\0' && t->model[0] == '\0';
    bool is_same = strcmp(t->serial, t->status.serial) == 0 &&
                   strcmp(t->model, t->status.model) == 0;
    snprintf(text, sizeof text, "serial %s, model %s; adopted: %s, %s",
             t->status.serial, t->status.model, t->serial, t->model);
    pthread_mutex_unlock(&t->lock);
    if (is_new)
        return plain(why, P11_NOT_ADOPTED);
    return is_same ? plain(why, P11_FINE)
                   : found(why, P11_SERIAL_CHANGED, 0, kd_slice_str(text));
}

/* --- PIN --- */

/* A PIN's tag, and whose tags it can be compared with. */
struct pin_tag {
    uint8_t octets[KD_PIN_TAG_SIZE];
    uint64_t era;
};

/* Has the supervisor open the PIN file, and tells the host the key of the tag. */
static enum call_end
send_latch(struct p11_token *t, struct host *h, uint64_t *era)
{
    struct kd_p11_pin m;
    struct kd_buf b;

    pthread_mutex_lock(&t->lock);
    bool is_sealed = sodium_is_zero(t->latch, sizeof t->latch);
    memcpy(m.latch, t->latch, sizeof m.latch);
    *era = t->tags_era;
    t->has_no_pin = false;
    t->pin_host = h->number;
    if (!is_sealed)
        t->out.pin |= 1u << h->number;
    token_say(t);
    pthread_mutex_unlock(&t->lock);
    if (is_sealed) /* since it was begun */
        return CALL_FAILED;
    kd_buf_init(&b, 64);
    kd_p11_pin_put(&b, &m);
    enum call_end end = call_tell(h, KD_MSG_p11_pin, &b);
    kd_secret_wipe(&m, sizeof m);
    kd_secret_wipe(b.p, b.n);
    kd_buf_free(&b);
    return end;
}

/* The supervisor says what is wrong with the file. That it says nothing, because it was
 * asked too often, or does not find the host, is not the file's fault, and passes. */
static enum p11_finding_code
no_pin(struct p11_finding *why, bool is_said, kd_err err)
{
    /* As the supervisor judges it. */
    const char *what =
        err == KD_NOT_FOUND ? "there is no file, or no `pin-file` in the configuration"
        : err == KD_DENIED  ? "it has to be root's (or keyd's starter's), mode 0400 or "
                              "0600, and no link"
        : err == KD_INVALID ? "it has to be a regular file of 1 to 256 octets"
                            : "it could not be read";

    return is_said && err != KD_UNAVAILABLE
               ? found(why, P11_PIN_MISSING, 0, kd_slice_str(what))
               : found(why, P11_LOGIN_FAILED, 0,
                       kd_slice_str("the PIN was not handed over in time"));
}

static enum p11_finding_code
ask_tag(struct p11_token *t, struct host *h, struct pin_tag *tag,
        struct p11_finding *why)
{
    struct kd_p11_tag out;
    uint8_t answer[64];
    size_t n = 0;
    int64_t last = kd_clock_ms() + TAG_MS;
    enum call_end end = send_latch(t, h, &tag->era);

    /* In small steps: that there is no PIN comes by another way. */
    while (end == CALL_DONE) {
        int64_t step = kd_clock_ms() + 20;
        end = call_await(h, KD_MSG_p11_tag, step < last ? step : last, answer,
                         sizeof answer, &n);
        if (end != CALL_LATE)
            break;
        pthread_mutex_lock(&t->lock);
        bool none = t->has_no_pin;
        kd_err err = none ? t->no_pin : KD_OK;
        pthread_mutex_unlock(&t->lock);
        if (none || kd_clock_ms() >= last)
            return no_pin(why, none, err);
        end = CALL_DONE;
    }
    if (end == CALL_DONE && (kd_p11_tag_get(kd_slice(answer, n), &out) != KD_OK ||
                             out.finding >= P11_FINDINGS))
        end = CALL_MALFORMED;
    if (end != CALL_DONE)
        return ended(why, end);
    memcpy(tag->octets, out.tag, KD_PIN_TAG_SIZE);
    return plain(why, (enum p11_finding_code)out.finding);
}

/* Durable, or it is not tried. */
static bool
store_tags(struct p11_token *t)
{
    int64_t last = kd_clock_ms() + STORED_MS;

    t->tags = TAGS_SAID;
    t->out.tags = true;
    token_say(t);
    while ((t->tags == TAGS_SAID || t->tags == TAGS_GIVEN) &&
           token_wait(t, &t->wake, last))
        ;
    bool stored = t->tags == TAGS_KEPT;
    if (t->tags == TAGS_GIVEN) /* it may still be stored, and was not tried */
        t->out.tags = true;
    t->tags = TAGS_KEPT;
    return stored;
}

/* The tag was asked for under what is held now, which is something. */
static bool
is_current(const struct p11_token *t, const struct pin_tag *tag)
{
    return tag->era == t->tags_era && !sodium_is_zero(t->latch, sizeof t->latch);
}

/* That it is tried now. If it is not after all, it is not told as tried either. */
static bool
record(struct p11_token *t, const struct pin_tag *tag)
{
    uint8_t before[KD_PIN_TAG_SIZE];

    memcpy(before, t->tried, sizeof before);
    memcpy(t->tried, tag->octets, sizeof t->tried);
    bool stored = store_tags(t);
    if (stored && is_current(t, tag))
        return true;
    if (tag->era == t->tags_era) {
        memcpy(t->tried, before, sizeof before);
        t->out.tags = t->out.tags || stored;
        token_say(t);
    }
    return false;
}

enum { GO_NOT = 0, GO_NEW = 1, GO_KNOWN = 2 };

/* Whether this PIN may be tried at all; what has to be recorded first is. */
static enum p11_finding_code
decide(struct p11_token *t, const struct pin_tag *tag, uint32_t flags, uint8_t *go,
       struct p11_finding *why)
{
    enum p11_finding_code code = P11_FINE;

    pthread_mutex_lock(&t->lock);
    bool known = sodium_memcmp(tag->octets, t->good, KD_PIN_TAG_SIZE) == 0;
    *go = known ? GO_KNOWN : GO_NEW;
    if (!is_current(t, tag)) {
        code = P11_PIN_UNRECORDED;
    } else if (sodium_memcmp(tag->octets, t->tried, KD_PIN_TAG_SIZE) == 0) {
        code = P11_PIN_REFUSED;
    } else if ((code = p11_pin_state(flags, known)) == P11_FINE && !known) {
        token_event(t, P11_EVENT_PIN_TRIED, 0, 0);
        if (!record(t, tag))
            code = P11_PIN_UNRECORDED;
    }
    pthread_mutex_unlock(&t->lock);
    if (code != P11_FINE)
        *go = GO_NOT;
    return plain(why, code);
}

/* What came of it is recorded: good, or tried and refused. */
static void
note_login(struct p11_token *t, const struct pin_tag *tag, enum p11_finding_code code)
{
    pthread_mutex_lock(&t->lock);
    bool was_good = sodium_memcmp(tag->octets, t->good, KD_PIN_TAG_SIZE) == 0;
    if (tag->era != t->tags_era) {
        /* of another token, or under another key: it tells nothing of this one */
    } else if (code == P11_FINE && !was_good) {
        memcpy(t->good, tag->octets, sizeof t->good);
        memset(t->tried, 0, sizeof t->tried);
        t->out.tags = true;
        token_say(t);
    } else if (code == P11_PIN_REFUSED && was_good) { /* it was changed there */
        memset(t->good, 0, sizeof t->good);
        memcpy(t->tried, tag->octets, sizeof t->tried);
        t->out.tags = true;
        token_say(t);
    }
    pthread_mutex_unlock(&t->lock);
}

static enum p11_finding_code
login(struct p11_token *t, struct host *h, uint32_t flags, struct p11_finding *why)
{
    struct pin_tag tag = {.era = 0};
    uint8_t answer[64];
    struct kd_p11_login m;
    struct kd_p11_logged out;
    struct kd_buf b;
    size_t n = 0;

    if (ask_tag(t, h, &tag, why) != P11_FINE ||
        decide(t, &tag, flags, &m.go, why) != P11_FINE)
        return why->code;
    kd_buf_init(&b, 16);
    kd_p11_login_put(&b, &m);
    enum call_end end = call_host(h, KD_MSG_p11_login, &b, -1, KD_MSG_p11_logged,
                                  until(t, LOGIN_MS, 1), answer, sizeof answer, &n);
    kd_buf_free(&b);
    if (end == CALL_DONE && (kd_p11_logged_get(kd_slice(answer, n), &out) != KD_OK ||
                             out.finding >= P11_FINDINGS))
        end = CALL_MALFORMED;
    if (end != CALL_DONE)
        return ended(why, end);
    note_login(t, &tag, (enum p11_finding_code)out.finding);
    pthread_mutex_lock(&t->lock);
    t->n_objects = out.n_objects;
    pthread_mutex_unlock(&t->lock);
    return found(why, (enum p11_finding_code)out.finding, out.rv, kd_slice(NULL, 0));
}

enum p11_finding_code
bring_up(struct p11_token *t, struct host *h, struct p11_finding *why)
{
    uint32_t flags = 0;

    if (look(t, h, &flags, why) != P11_FINE || compare(t, why) != P11_FINE)
        return why->code;
    return login(t, h, flags, why);
}

/* --- keys --- */

/* A copy, since the list may change meanwhile. */
struct one {
    struct kd_device_key is;
    uint8_t public_key[KD_KEY_PUBLIC_MAX];
    uint64_t serial;
    bool is_tried;
};

static bool
copy_key(struct p11_token *t, size_t i, uint64_t serial, struct one *out)
{
    pthread_mutex_lock(&t->lock);
    bool there = i < t->n_keys && t->keys_serial == serial;
    if (there) {
        out->is = t->keys[i].is;
        memcpy(out->public_key, t->keys[i].public_key, sizeof out->public_key);
        out->is.public_key = kd_slice(out->public_key, t->keys[i].is.public_key.n);
        out->is_tried = t->keys[i].is_known && t->keys[i].finding == P11_FINE;
    }
    pthread_mutex_unlock(&t->lock);
    return there;
}

/* Who waits for its trial has its answer, and it is looked at again soon. */
static void
note_bad(struct p11_token *t, struct pool_key *k)
{
    int64_t now = kd_clock_ms();

    k->bad_at = now;
    k->is_asked = false;
    if (t->recheck_at > now + KEY_AGAIN_MS)
        t->recheck_at = now + KEY_AGAIN_MS;
}

/* What was found out about it; the list may be another one by now. */
static void
note_key(struct p11_token *t, size_t i, uint64_t serial, const struct p11_finding *why,
         const struct kd_p11_bound *m, int64_t tried_at)
{
    pthread_mutex_lock(&t->lock);
    if (t->keys_serial == serial && i < t->n_keys) {
        struct pool_key *k = &t->keys[i];
        bool is_news =
            why->code != P11_FINE && (!k->is_known || k->finding != why->code);
        k->is_known = true;
        k->finding = why->code;
        k->rv = why->rv;
        memcpy(k->what, why->what, sizeof k->what);
        if (m != NULL) {
            k->attributes = m->attributes;
            k->quirks = m->quirks;
        }
        if (tried_at != 0 && why->code == P11_FINE)
            k->good_at = tried_at;
        else if (why->code != P11_FINE)
            note_bad(t, k);
        if (is_news)
            token_event(t, P11_EVENT_KEY_BAD, why->code, why->rv);
        pthread_cond_broadcast(&t->changed);
    }
    pthread_mutex_unlock(&t->lock);
}

enum p11_finding_code
bind_key(struct p11_token *t, struct host *h, uint8_t number, enum kd_key_alg alg,
         struct kd_slice id, struct kd_slice public_key, uint8_t *answer,
         struct kd_p11_bound *out, struct p11_finding *why)
{
    struct kd_p11_bind m = {.key = number,
                            .algorithm = (uint8_t)alg,
                            .derives = alg == KD_ALG_SECP256K1,
                            .id = id,
                            .public_key = public_key};
    struct kd_buf b;
    size_t n = 0;

    kd_buf_init(&b, 2048);
    kd_p11_bind_put(&b, &m);
    enum call_end end = call_host(h, KD_MSG_p11_bind, &b, -1, KD_MSG_p11_bound,
                                  until(t, BIND_MS, 1), answer, BOUND_MAX, &n);
    kd_buf_free(&b);
    if (end == CALL_DONE && (kd_p11_bound_get(kd_slice(answer, n), out) != KD_OK ||
                             out->finding >= P11_FINDINGS || out->key != number))
        end = CALL_MALFORMED;
    if (end != CALL_DONE)
        return ended(why, end);
    return found(why, (enum p11_finding_code)out->finding, out->rv, out->what);
}

/* Faults of one key, which the others do not share. */
static bool
is_of_key(enum p11_finding_code code)
{
    return code >= P11_KEY_MISSING && code <= P11_PROBE_FAILED;
}

static int64_t
made_at(struct p11_token *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t at = t->made_at;
    pthread_mutex_unlock(&t->lock);
    return at;
}

struct tally {
    unsigned tried, right; /* bits of algorithms */
    int64_t ms;            /* for one trial */
    bool is_in_use;
    struct p11_finding last;
};

/* False: the host itself is no good, *why says it. */
static bool
bring_key(struct p11_token *t, struct host *h, size_t i, uint64_t serial, bool all,
          struct tally *tally, struct p11_finding *why)
{
    uint8_t answer[BOUND_MAX];
    struct kd_p11_bound m;
    struct one k;
    uint64_t rv = 0;
    int64_t began = 0;

    if (!copy_key(t, i, serial, &k))
        return true; /* another list: it is bound again */
    bind_key(t, h, (uint8_t)i, k.is.alg, kd_slice(k.is.place.id, k.is.place.id_size),
             k.is.public_key, answer, &m, why);
    if (why->code != P11_FINE && !is_of_key(why->code))
        return false;
    if (why->code == P11_KEY_MISSING && h->linked_at < made_at(t))
        return false;
    bool tries = why->code == P11_FINE && k.is.is_probed &&
                 (all || !k.is_tried || (tally->right >> k.is.alg & 1) == 0);
    if (tries) {
        began = kd_clock_ms();
        if (tally->is_in_use)
            h->longer = trial_patience(t, began);
        kd_err err =
            trial_key(h, (uint8_t)i, k.is.alg, k.is.public_key, began + tally->ms, &rv);
        h->longer = (struct patience){.until = 0};
        tally->tried |= 1u << k.is.alg;
        if (err == KD_OK) {
            tally->right |= 1u << k.is.alg;
        } else {
            found(why, P11_PROBE_FAILED, rv, kd_slice(NULL, 0));
            tally->last = *why;
            if (err != KD_FAILED && rv == 0)
                return false; /* no answer, or the process is gone */
        }
    }
    note_key(t, i, serial, why, &m, tries ? began : 0);
    return true;
}

enum p11_finding_code
bring_keys(struct p11_token *t, struct host *h, bool all, struct p11_finding *why)
{
    struct tally tally = {.ms = t->conf.timeout_ms};

    pthread_mutex_lock(&t->lock);
    if (t->breaker.state == P11_CLOSED) { /* it is known to be quick */
        tally.is_in_use = true;
        tally.ms = trial_ms(t);
    }
    uint64_t serial = t->keys_serial;
    size_t n = t->n_keys;
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < n; i++)
        if (!bring_key(t, h, i, serial, all, &tally, why))
            return why->code == P11_FINE ? plain(why, P11_MODULE_DIES) : why->code;
    h->keys_serial = serial;
    /* A kind of which none does right is the token's fault, or else the key's. */
    if ((tally.tried & ~tally.right) != 0) {
        *why = tally.last;
        return why->code;
    }
    return plain(why, P11_FINE);
}
