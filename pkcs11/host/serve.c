#include "serve.h"
#include "make.h"

#include "../../keyd/role.h"

#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/p11/marks.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    MESSAGE_MAX = 80 * 1024 * 1024, /* the largest D/MIME object, and a margin */
    ANSWER_MAX = 48 * 1024,
    LIST_ROOM = 40960,
    TELL_EVERY = 64, /* operations between two looks at our own size */
    LOOK_MS = 20000, /* cards are slow to come up */
    BIND_MS = 5000,
    LIST_MS = 10000,
    MAKE_MS = 60000,
};

/* A module that hangs in a call of ours ends with this process, also when nobody is
 * left who would end it: SIGALRM is not caught. 0: no call. */
static void
alarm_in(uint32_t ms)
{
    struct itimerval t = {
        .it_value = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000}};

    if (setitimer(ITIMER_REAL, &t, NULL) != 0)
        kd_role_die("setitimer", KD_FAILED);
}

/* What a vault that is itself would not send. */
static _Noreturn void
refuse(const char *what)
{
    kd_role_die(what, KD_MALFORMED);
}

static void
answer(struct host *h, uint16_t type, const struct kd_buf *b)
{
    if (kd_chan_put_buf(&h->chan, type, b, -1) != KD_OK)
        kd_role_die("no memory for an answer", KD_NOMEM);
}

#define ANSWER(h, name, m)                                                             \
    do {                                                                               \
        struct kd_buf b_;                                                              \
        kd_buf_init(&b_, ANSWER_MAX);                                                  \
        kd_##name##_put(&b_, (m));                                                     \
        answer((h), KD_MSG_##name, &b_);                                               \
        kd_secret_wipe(b_.p, b_.n);                                                    \
        kd_buf_free(&b_);                                                              \
    } while (0)

/* --- what is there --- */

static uint32_t
resident_kib(const struct host *h)
{
    char text[96];
    ssize_t n = pread(h->statm, text, sizeof text - 1, 0);
    unsigned long size, resident;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%lu %lu", &size, &resident) == 2
               ? (uint32_t)(resident * ((unsigned long)getpagesize() / 1024))
               : 0;
}

static struct kd_slice
text_of(const char *s)
{
    return kd_slice(s, strlen(s));
}

void
serve_here(struct host *h)
{
    struct slot_wanted wanted = {h->conf->match.label, h->conf->match.serial,
                                 h->conf->match.manufacturer, h->conf->match.model};
    struct kd_p11_here m;

    h->slot = (struct slot_found){.n_match = 0};
    if (h->why.code == P11_FINE) {
        alarm_in(LOOK_MS);
        slot_find(&h->module, &wanted, &h->slot, &h->why);
        alarm_in(0);
    }
    h->kib = resident_kib(h);
    m = (struct kd_p11_here){
        .finding = (uint8_t)h->why.code,
        .rv = h->why.rv,
        .what = text_of(h->why.what),
        .n_match = (uint8_t)h->slot.n_match,
        .label = text_of(h->slot.label),
        .serial = text_of(h->slot.serial),
        .model = text_of(h->slot.model),
        .manufacturer = text_of(h->slot.manufacturer),
        .slot = h->slot.slot,
        .flags = (uint32_t)h->slot.flags,
        .library = (uint16_t)(h->module.library.major << 8 | h->module.library.minor),
        .mechanisms = h->slot.mechanisms,
        .kib = h->kib};
    ANSWER(h, p11_here, &m);
}

/* --- PIN and login --- */

static void
tell_tag(struct host *h)
{
    struct kd_p11_tag m = {.finding = P11_PIN_MISSING};

    h->tag_wanted = false;
    if (h->pin.n != 0 && pin_tag(&h->pin, h->latch, m.tag) == KD_OK) {
        m.finding = P11_FINE;
        h->is_told = true;
    } else {
        h->has_pin = false;
    }
    ANSWER(h, p11_tag, &m);
}

void
serve_pin(struct host *h, int fd)
{
    if (pin_read(&h->pin, fd) != KD_OK)
        h->pin.n = 0;
    h->has_pin = true;
    h->is_told = false;
    if (h->tag_wanted)
        tell_tag(h);
}

static void
on_pin(struct host *h, struct kd_slice body)
{
    struct kd_p11_pin m;

    if (kd_p11_pin_get(body, &m) != KD_OK || h->is_logged)
        refuse("p11_pin");
    memcpy(h->latch, m.latch, KD_LATCH_KEY_SIZE);
    kd_secret_wipe(&m, sizeof m);
    h->tag_wanted = true;
    if (h->has_pin)
        tell_tag(h);
}

static void
forget_pin(struct host *h)
{
    pin_wipe(&h->pin);
    kd_secret_wipe(h->latch, KD_LATCH_KEY_SIZE);
    h->has_pin = h->is_told = h->tag_wanted = false;
}

/* go 0: not with this one. 1: log in. 2: the same, and the PIN was good before. */
static void
on_login(struct host *h, struct kd_slice body)
{
    struct kd_p11_login m;
    struct kd_p11_logged out = {.n_objects = 0};
    struct p11_finding why;

    if (kd_p11_login_get(body, &m) != KD_OK || h->is_logged ||
        (m.go != 0 && !h->is_told))
        refuse("p11_login");
    if (m.go == 0) {
        if (h->is_told) /* else the next one is here already */
            forget_pin(h);
        return;
    }
    alarm_in(LOOK_MS);
    enum p11_finding_code code = p11_pin_state(h->slot.flags, m.go == 2);
    finding_set(&why, code, 0, NULL);
    if (code == P11_FINE)
        code = session_open(&h->session, &h->module, h->slot.slot, h->conf->is_maker,
                            &why);
    if (code == P11_FINE)
        code = session_login(&h->session, kd_slice(h->pin.octets, h->pin.n), &why);
    forget_pin(h);
    h->is_logged = code == P11_FINE;
    if (h->is_logged)
        out.n_objects = object_count(&h->session);
    alarm_in(0);
    out.finding = (uint8_t)code;
    out.rv = why.rv;
    ANSWER(h, p11_logged, &out);
}

/* --- keys --- */

static void
on_bind(struct host *h, struct kd_slice body)
{
    struct kd_p11_bind m;
    struct kd_p11_bound out;
    struct key_found found;
    struct p11_finding why;

    if (kd_p11_bind_get(body, &m) != KD_OK ||
        (m.derives != 0) != (m.algorithm == KD_ALG_SECP256K1))
        refuse("p11_bind");
    struct key_wanted wanted = {.key = m.key,
                                .alg = (enum kd_key_alg)m.algorithm,
                                .id = m.id,
                                .public_key = m.public_key};
    alarm_in(BIND_MS);
    object_bind(&h->session, &wanted, &found, &why);
    alarm_in(0);
    out = (struct kd_p11_bound){.key = m.key,
                                .finding = (uint8_t)why.code,
                                .rv = why.rv,
                                .what = text_of(why.what),
                                .id = kd_slice(found.id, found.id_size),
                                .attributes = found.attributes,
                                .quirks = found.quirks};
    ANSWER(h, p11_bound, &out);
}

static uint32_t
operation_ms(const struct host *h, size_t octets)
{
    return 2 * h->conf->timeout + p11_message_ms(octets);
}

static uint32_t
count_done(struct host *h)
{
    if (h->n_done++ % TELL_EVERY == 0)
        h->kib = resident_kib(h);
    return h->kib;
}

/* Takes fd. The message, or *whole for the caller to free. */
static struct kd_slice
message_of(const struct kd_p11_sign *m, int fd, uint8_t **whole)
{
    size_t size;

    *whole = NULL;
    if (fd < 0) {
        if (m->size != m->message.n)
            refuse("p11_sign: size");
        return m->message;
    }
    if (m->message.n != 0 || kd_memfd_check(fd, MESSAGE_MAX, &size) != KD_OK ||
        m->size > size || m->size == 0)
        refuse("p11_sign: descriptor");
    if ((*whole = malloc(m->size)) == NULL)
        kd_role_die("p11_sign", KD_NOMEM);
    if (kd_memfd_read(fd, 0, *whole, m->size) != KD_OK)
        refuse("p11_sign: octets");
    close(fd);
    return kd_slice(*whole, m->size);
}

static void
on_sign(struct host *h, struct kd_slice body, int fd)
{
    struct kd_p11_sign m;
    struct kd_p11_signed out;
    uint8_t sig[SESSION_SIG_MAX], *whole;
    size_t n = 0;

    if (kd_p11_sign_get(body, &m) != KD_OK)
        refuse("p11_sign");
    struct kd_slice message = message_of(&m, fd, &whole);
    alarm_in(operation_ms(h, message.n));
    out.rv = session_sign(&h->session, m.key, message, sig, &n);
    alarm_in(0);
    free(whole);
    out.tag = m.tag;
    out.kib = count_done(h);
    out.signature = kd_slice(sig, out.rv == CKR_OK ? n : 0);
    ANSWER(h, p11_signed, &out);
}

static void
on_derive(struct host *h, struct kd_slice body)
{
    struct kd_p11_derive m;
    struct kd_p11_derived out;
    size_t n = 0;

    if (kd_p11_derive_get(body, &m) != KD_OK)
        refuse("p11_derive");
    alarm_in(operation_ms(h, 0));
    out.rv = session_derive(&h->session, m.key, m.point, h->z, &n);
    alarm_in(0);
    out.tag = m.tag;
    out.kib = count_done(h);
    out.z = kd_slice(h->z, out.rv == CKR_OK ? n : 0);
    ANSWER(h, p11_derived, &out);
    kd_secret_wipe(h->z, KD_ECDH_SIZE);
}

static void
on_list(struct host *h, struct kd_slice body)
{
    struct kd_p11_list m;
    struct kd_p11_listed out;
    struct p11_finding why;
    struct kd_buf objects;

    if (kd_p11_list_get(body, &m) != KD_OK)
        refuse("p11_list");
    kd_buf_init(&objects, LIST_ROOM);
    alarm_in(LIST_MS);
    object_list(&h->session, m.from, LIST_ROOM, &objects, &out.next, &why);
    alarm_in(0);
    out.finding = (uint8_t)why.code;
    out.rv = why.rv;
    out.objects = kd_buf_slice(&objects);
    if (objects.err != KD_OK)
        kd_role_die("p11_list", objects.err);
    ANSWER(h, p11_listed, &out);
    kd_buf_free(&objects);
}

/* --- making --- */

static void
on_make(struct host *h, struct kd_slice body)
{
    struct kd_p11_make m;
    struct kd_p11_made out = {.attributes = 0};
    struct p11_finding why;
    uint8_t key[KD_KEY_PUBLIC_MAX];
    size_t n = 0;

    if (kd_p11_make_get(body, &m) != KD_OK ||
        (m.derives != 0) != (m.algorithm == KD_ALG_SECP256K1))
        refuse("p11_make");
    struct pair_wanted wanted = {.alg = (enum kd_key_alg)m.algorithm,
                                 .id = kd_slice(m.id, sizeof m.id),
                                 .label = m.label,
                                 .bits = m.bits,
                                 .secret = m.secret};
    alarm_in(MAKE_MS);
    pair_make(&h->session, &wanted, key, &n, &out.attributes, &why);
    alarm_in(0);
    out.finding = (uint8_t)why.code;
    out.rv = why.rv;
    out.what = text_of(why.what);
    out.public_key = kd_slice(key, why.code == P11_FINE ? n : 0);
    ANSWER(h, p11_made, &out);
}

static void
on_unmake(struct host *h, struct kd_slice body)
{
    struct kd_p11_unmake m;
    struct kd_p11_unmade out;
    struct p11_finding why;

    if (kd_p11_unmake_get(body, &m) != KD_OK)
        refuse("p11_unmake");
    alarm_in(MAKE_MS);
    pair_unmake(&h->session, m.id, m.public_key, &why);
    alarm_in(0);
    out = (struct kd_p11_unmade){.finding = (uint8_t)why.code, .rv = why.rv};
    ANSWER(h, p11_unmade, &out);
}

/* Of one that is logged in. */
static bool
serve_key(struct host *h, uint16_t type, struct kd_slice body, int fd)
{
    bool makes = h->conf->is_maker;

    if (!h->is_logged || (fd >= 0 && type != KD_MSG_p11_sign))
        return false;
    if (type == KD_MSG_p11_sign)
        on_sign(h, body, fd);
    else if (type == KD_MSG_p11_derive)
        on_derive(h, body);
    else if (type == KD_MSG_p11_bind)
        on_bind(h, body);
    else if (type == KD_MSG_p11_list)
        on_list(h, body);
    else if (type == KD_MSG_p11_make && makes)
        on_make(h, body);
    else if (type == KD_MSG_p11_unmake && makes)
        on_unmake(h, body);
    else
        return false;
    return true;
}

kd_err
serve_request(void *host, uint16_t type, struct kd_slice body, int fd)
{
    struct host *h = host;

    if (h->why.code != P11_FINE)
        refuse("a request to a host without a token");
    if (type == KD_MSG_p11_pin && fd < 0)
        on_pin(h, body);
    else if (type == KD_MSG_p11_login && fd < 0)
        on_login(h, body);
    else if (!serve_key(h, type, body, fd))
        refuse("a request that is none");
    return KD_OK;
}
