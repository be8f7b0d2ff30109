/* What the keeper does for a thread that waits: pairs made, taken in, removed, with
 * nothing else at work in the token; keys looked for; a doctor's look. */
#include "pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { ID_SIZE = 16, LABEL_MAX = 64, DRAIN_MS = 5000, MADE_ROOM = 2048 };

/* What a module says of keys that it does not know, or not so; anything else is about
 * how it is now: no room, no right to write. */
static bool
is_of_kind(uint64_t rv)
{
    static const uint16_t words[] = {
        0x00,  /* none */
        0x10,  /* CKR_ATTRIBUTE_READ_ONLY */
        0x12,  /* CKR_ATTRIBUTE_TYPE_INVALID */
        0x13,  /* CKR_ATTRIBUTE_VALUE_INVALID */
        0x54,  /* CKR_FUNCTION_NOT_SUPPORTED */
        0x62,  /* CKR_KEY_SIZE_RANGE */
        0x63,  /* CKR_KEY_TYPE_INCONSISTENT */
        0x70,  /* CKR_MECHANISM_INVALID */
        0x71,  /* CKR_MECHANISM_PARAM_INVALID */
        0xd0,  /* CKR_TEMPLATE_INCOMPLETE */
        0xd1,  /* CKR_TEMPLATE_INCONSISTENT */
        0x130, /* CKR_DOMAIN_PARAMS_INVALID */
        0x140, /* CKR_CURVE_NOT_SUPPORTED */
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i] == rv)
            return true;
    return false;
}

static kd_err
of_finding(enum p11_finding_code code, uint64_t rv)
{
    switch ((int)code) {
    case P11_FINE:
        return KD_OK;
    case P11_MECHANISM_MISSING:
        return KD_UNSUPPORTED;
    case P11_NOT_CREATED:
        return is_of_kind(rv) ? KD_UNSUPPORTED : KD_IO;
    case P11_WRITE_PROTECTED:
        return KD_IO;
    case P11_KEY_TWICE:
        return KD_CONFLICT;
    case P11_KEY_MISSING:
        return KD_NOT_FOUND;
    case P11_OTHER_KEY:
    case P11_ATTRIBUTE:
    case P11_POINT_UNREADABLE:
    case P11_PROBE_FAILED:
        return KD_FAILED;
    default:
        return KD_UNAVAILABLE;
    }
}

static uint8_t
flags_of(uint32_t attributes, bool is_import)
{
    uint8_t flags = 0;

    if (is_import)
        return KD_HELD_IMPORTED;
    if ((attributes & (P11_LOCAL | P11_ALWAYS_SENSITIVE)) ==
        (P11_LOCAL | P11_ALWAYS_SENSITIVE))
        flags |= KD_HELD_MADE_INSIDE;
    if ((attributes & P11_NEVER_EXTRACTABLE) != 0)
        flags |= KD_HELD_NEVER_EXTRACTABLE;
    return flags;
}

/* --- the maker --- */

/* Operations end and none begins; hosts stay, unused. */
static bool
drain(struct p11_token *t)
{
    int64_t until = kd_clock_ms() + DRAIN_MS;
    bool busy = true;

    token_see(t, SEEN_DRAIN);
    while (busy) {
        busy = false;
        for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
            busy = busy || t->hosts[i].state == HOST_BUSY;
        if (busy && !token_wait(t, &t->changed, until))
            return false;
    }
    return true;
}

static struct host *
await_maker(struct p11_token *t)
{
    struct host *h = &t->hosts[P11_MAKER];
    int64_t until = kd_clock_ms() + LINK_MS;

    if (h->state != HOST_NONE)
        host_drop(t, h, true);
    t->out.maker = true;
    token_say(t);
    while (h->state != HOST_LINKED && token_wait(t, &t->wake, until))
        ;
    if (h->state != HOST_LINKED)
        return NULL;
    h->state = HOST_BUSY;
    return h;
}

static void
label_of(const struct kd_key_spec *spec, char out[LABEL_MAX + 1])
{
    snprintf(out, LABEL_MAX + 1, "keyd %s %.*s", kd_key_role_name(spec->role),
             (int)(spec->domain.n < LABEL_MAX ? spec->domain.n : LABEL_MAX),
             (const char *)spec->domain.p);
}

static void
unmake(struct host *h, struct work *w, struct p11_finding *why)
{
    struct kd_p11_unmake m = {kd_slice(w->place.id, w->place.id_size),
                              kd_slice(w->public_key, w->n_public)};
    struct kd_p11_unmade out;
    uint8_t answer[64];
    struct kd_buf b;
    size_t n = 0;

    kd_buf_init(&b, 2048);
    kd_p11_unmake_put(&b, &m);
    enum call_end end = call_host(h, KD_MSG_p11_unmake, &b, -1, KD_MSG_p11_unmade,
                                  kd_clock_ms() + MAKE_MS, answer, sizeof answer, &n);
    kd_buf_free(&b);
    *why = (struct p11_finding){.code = P11_MODULE_DIES};
    if (end == CALL_DONE && kd_p11_unmade_get(kd_slice(answer, n), &out) == KD_OK &&
        out.finding < P11_FINDINGS) {
        why->code = (enum p11_finding_code)out.finding;
        why->rv = out.rv;
    }
}

static void
ask_to_make(struct host *h, struct work *w, uint8_t *answer, struct kd_p11_made *out,
            struct p11_finding *why)
{
    char label[LABEL_MAX + 1];
    struct kd_p11_make m = {.algorithm = (uint8_t)w->spec->alg,
                            .derives = w->spec->alg == KD_ALG_SECP256K1,
                            .bits = w->spec->alg == KD_ALG_RSA
                                        ? (w->spec->bits == 0 ? 2048 : w->spec->bits)
                                        : 0,
                            .secret = w->secret};
    struct kd_buf b;
    size_t n = 0;

    label_of(w->spec, label);
    m.label = kd_slice_str(label);
    memcpy(m.id, w->place.id, sizeof m.id);
    kd_buf_init(&b, 512);
    kd_p11_make_put(&b, &m);
    enum call_end end = call_host(h, KD_MSG_p11_make, &b, -1, KD_MSG_p11_made,
                                  kd_clock_ms() + MAKE_MS, answer, MADE_ROOM, &n);
    kd_secret_wipe(b.p, b.n);
    kd_buf_free(&b);
    *why = (struct p11_finding){.code = end == CALL_LATE ? P11_MODULE_HANGS
                                                         : P11_MODULE_DIES};
    if (end == CALL_DONE && kd_p11_made_get(kd_slice(answer, n), out) == KD_OK &&
        out->finding < P11_FINDINGS && out->public_key.n <= KD_KEY_PUBLIC_MAX) {
        why->code = (enum p11_finding_code)out->finding;
        why->rv = out->rv;
        size_t size = out->what.n < P11_WHAT_MAX ? out->what.n : P11_WHAT_MAX;
        if (size != 0)
            memcpy(why->what, out->what.p, size);
    }
}

/* Made, found again by its id, and tried under the public key that was told. */
static void
make(struct p11_token *t, struct host *h, struct work *w, struct p11_finding *why)
{
    uint8_t answer[MADE_ROOM], bound_answer[BOUND_MAX];
    struct kd_p11_made made;
    struct kd_p11_bound bound;
    struct p11_finding ignored;
    uint64_t rv = 0;

    w->place.id_size = ID_SIZE;
    randombytes_buf(w->place.id, ID_SIZE);
    ask_to_make(h, w, answer, &made, why);
    if (why->code != P11_FINE)
        return;
    w->n_public = made.public_key.n;
    memcpy(w->public_key, made.public_key.p, w->n_public);
    w->flags = flags_of(made.attributes, w->secret.n != 0);
    struct kd_slice key = kd_slice(w->public_key, w->n_public);
    bind_key(t, h, 0, w->spec->alg, kd_slice(w->place.id, ID_SIZE), key, bound_answer,
             &bound, why);
    if (why->code == P11_FINE &&
        trial_key(h, 0, w->spec->alg, key,
                  kd_clock_ms() + (int64_t)t->conf.timeout_ms * 2, &rv) != KD_OK)
        *why = (struct p11_finding){.code = P11_PROBE_FAILED, .rv = rv};
    if (why->code != P11_FINE)
        unmake(h, w, &ignored); /* what stays is an orphan, which the doctor tells */
}

static void
with_maker(struct p11_token *t, struct work *w)
{
    struct p11_finding why = {.code = P11_MODULE_HANGS};
    struct host *h = NULL;

    if (t->breaker.state != P11_CLOSED && t->breaker.state != P11_STARTING) {
        w->err = KD_UNAVAILABLE;
        return;
    }
    if (drain(t) && (h = await_maker(t)) != NULL) {
        pthread_mutex_unlock(&t->lock);
        if (bring_up(t, h, &why) == P11_FINE) {
            if (w->kind == WORK_MAKE)
                make(t, h, w, &why);
            else
                unmake(h, w, &why);
        }
        pthread_mutex_lock(&t->lock);
        host_drop(t, h, why.code == P11_MODULE_HANGS);
    }
    w->err = of_finding(why.code, why.rv);
    if (w->err != KD_OK) {
        t->status.finding = why.code;
        t->status.rv = why.rv;
        token_event(t, P11_EVENT_NOT_MADE, why.code, why.rv);
    }
    if (w->kind == WORK_MAKE)
        t->made = why;
    t->made_at = kd_clock_ms();
    t->served_at = t->made_at;
    token_see(t, SEEN_DRAINED);
}

/* --- looking --- */

static struct host *
own_one(struct p11_token *t, int64_t until)
{
    for (;;) {
        for (size_t i = 0; i < P11_SESSIONS_MAX; i++)
            if (t->hosts[i].state == HOST_IDLE) {
                t->hosts[i].state = HOST_BUSY;
                t->hosts[i].sent_at = kd_clock_ms();
                return &t->hosts[i];
            }
        if (t->breaker.state != P11_CLOSED || !token_wait(t, &t->changed, until))
            return NULL;
    }
}

/* In place of this one, which is let go, a process that comes up now. */
static struct host *
own_fresh(struct p11_token *t, struct host *old, int64_t after)
{
    unsigned number = old->number;
    struct host *h = &t->hosts[number];
    int64_t until = kd_clock_ms() + LINK_MS;

    host_drop(t, old, false);
    while ((h->state != HOST_LINKED || h->linked_at < after) &&
           token_wait(t, &t->wake, until))
        ;
    if (h->state != HOST_LINKED)
        return NULL;
    keeper_raise(t, h);
    if (h->state != HOST_IDLE)
        return NULL;
    h->state = HOST_BUSY;
    h->sent_at = kd_clock_ms();
    return h;
}

/* By a number that no request of the list uses. Without the lock. */
static void
look_in(struct p11_token *t, struct host *h, struct work *w, struct p11_finding *why)
{
    enum { NUMBER = POOL_KEYS_MAX - 1 };
    uint8_t answer[BOUND_MAX];
    struct kd_p11_bound m;
    struct kd_slice key = kd_slice(w->public_key, w->n_public);
    uint64_t rv = 0;

    bind_key(t, h, NUMBER, w->alg, kd_slice(w->place.id, w->place.id_size), key, answer,
             &m, why);
    if (why->code == P11_FINE && m.id.n > KD_PLACE_ID_MAX)
        why->code = P11_KEY_MISSING;
    if (why->code == P11_FINE &&
        trial_key(h, NUMBER, w->alg, key, kd_clock_ms() + t->conf.timeout_ms, &rv) !=
            KD_OK)
        why->code = P11_PROBE_FAILED;
    if (why->code != P11_FINE)
        return;
    w->place.id_size = (uint8_t)m.id.n;
    memcpy(w->place.id, m.id.p, m.id.n);
    w->flags = (uint8_t)(KD_HELD_ADOPTED | flags_of(m.attributes, false));
}

/* What somebody's own tool has put there a process that loaded the module before may
 * never see: it is looked for again by a fresh one, and those that are older may not
 * bind it. */
static void
look_for(struct p11_token *t, struct work *w)
{
    int64_t began = kd_clock_ms();
    struct p11_finding why = {.code = P11_KEY_MISSING};
    struct host *h = own_one(t, began + WAIT_MS);

    for (int i = 0; h != NULL && i < 2; i++) {
        pthread_mutex_unlock(&t->lock);
        look_in(t, h, w, &why);
        pthread_mutex_lock(&t->lock);
        if (why.code != P11_KEY_MISSING || h->linked_at >= began)
            break;
        h = own_fresh(t, h, began);
        t->made_at = began;
    }
    w->err = h == NULL ? KD_UNAVAILABLE : of_finding(why.code, why.rv);
    t->looked = why;
    if (h == NULL)
        return;
    if (why.code == P11_MODULE_HANGS || why.code == P11_MODULE_DIES)
        host_drop(t, h, true);
    else
        host_give_back(t, h);
}

void
keeper_work(struct p11_token *t, struct work *w)
{
    switch (w->kind) {
    case WORK_MAKE:
    case WORK_UNMAKE:
        with_maker(t, w);
        break;
    case WORK_LOOK:
        look_for(t, w);
        break;
    case WORK_DOCTOR:
        keeper_doctor(t, w);
        break;
    case WORK_NONE:
        break;
    }
}
