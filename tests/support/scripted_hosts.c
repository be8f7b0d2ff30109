#include "scripted_hosts.h"
#include "test.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/cur.h>
#include <keyd/base/secret.h>
#include <keyd/job/job.h>
#include <keyd/p11/marks.h>

#include <p11-kit/pkcs11.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEADER = 8, PACKET_MAX = 64 * 1024, HANG_MS = 60000 };

static const char trial[] = "keyd tries whether";

struct one {
    struct scripted *s;
    unsigned number;
    int fd;
    uint8_t tag[KD_PIN_TAG_SIZE];
    unsigned pin;
    uint8_t packet[PACKET_MAX];
};

/* --- packets --- */

static bool
say(struct one *h, uint16_t type, struct kd_buf *b)
{
    uint8_t header[HEADER];
    struct iovec iov[] = {{header, sizeof header}, {b->p, b->n}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    kd_put_be32(header, (uint32_t)b->n);
    kd_put_be16(header + 4, type);
    kd_put_be16(header + 6, 0);
    bool sent = sendmsg(h->fd, &msg, MSG_NOSIGNAL) >= 0;
    kd_buf_free(b);
    return sent;
}

#define SAY(h, name, m)                                                                \
    (kd_buf_init(&buf, PACKET_MAX), kd_##name##_put(&buf, (m)),                        \
     say((h), KD_MSG_##name, &buf))

/* 0: it is over. A descriptor that comes along is not looked at. */
static uint16_t
hear(struct one *h, struct kd_slice *body)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {h->packet, sizeof h->packet};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    ssize_t n = 0;
    struct pollfd p = {.fd = h->fd, .events = POLLIN};

    while (poll(&p, 1, 5) == 0)
        if ((atomic_fetch_and(&h->s->quits, ~(1U << h->number)) >> h->number & 1) != 0)
            return 0;
    if ((n = recvmsg(h->fd, &msg, MSG_CMSG_CLOEXEC)) < HEADER)
        return 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c != NULL) {
        int fd;
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
        close(fd);
    }
    struct kd_cur cur = kd_cur(kd_slice(h->packet, (size_t)n));
    kd_ignore(kd_cur_u32(&cur));
    uint16_t type = kd_cur_u16(&cur);
    *body = kd_slice(h->packet + HEADER, (size_t)n - HEADER);
    return type;
}

/* So long, or until the pool has had enough of it. */
static void
take_time(struct one *h, int ms)
{
    struct pollfd p = {.fd = h->fd};

    if (ms > 0)
        kd_ignore(poll(&p, 1, ms));
}

/* --- what a host says --- */

static bool
say_here(struct one *h)
{
    struct kd_buf buf;
    bool is_blank = h->s->n_blank > 0;
    const struct kd_p11_here m = {.finding = is_blank ? P11_NOT_INITIALISED : P11_FINE,
                                  .what = kd_slice_str(""),
                                  .label = kd_slice_str("scripted"),
                                  .serial = kd_slice_str("S"),
                                  .model = kd_slice_str("M"),
                                  .manufacturer = kd_slice_str("tests"),
                                  .n_match = 1,
                                  .mechanisms = P11_CAN_SIGN_ED25519,
                                  .flags = CKF_USER_PIN_INITIALIZED |
                                           CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED};

    h->s->n_blank -= is_blank;
    return SAY(h, p11_here, &m);
}

static bool
on_pin(struct one *h, struct kd_slice body)
{
    struct kd_p11_pin m;
    struct kd_p11_tag out = {.finding = P11_FINE};
    struct kd_buf buf;

    if (kd_p11_pin_get(body, &m) != KD_OK)
        return false;
    take_time(h, h->s->tag_ms);
    h->pin = h->s->pin;
    scripted_tag(h->pin, m.latch[0], h->tag);
    memcpy(out.tag, h->tag, sizeof out.tag);
    return SAY(h, p11_tag, &out);
}

static bool
on_login(struct one *h, struct kd_slice body)
{
    struct kd_p11_login m;
    struct kd_buf buf;

    if (kd_p11_login_get(body, &m) != KD_OK || m.go == 0)
        return false;
    h->s->n_logins++;
    h->s->logins[h->pin]++;
    h->s->known[h->pin] += m.go == 2;
    const struct kd_p11_logged out = {
        .finding = h->pin == SCRIPTED_RIGHT_PIN ? P11_FINE : P11_PIN_REFUSED};
    return SAY(h, p11_logged, &out);
}

/* Which of the keys has that public key. */
static unsigned
which(const struct scripted *s, struct kd_slice public_key)
{
    for (unsigned i = 0; i < SCRIPTED_KEYS; i++)
        if (kd_slice_eq(kd_slice(s->public_key[i], 32), public_key))
            return i;
    return SCRIPTED_KEYS;
}

static bool
on_bind(struct one *h, struct kd_slice body)
{
    struct kd_p11_bind m;
    struct kd_buf buf;

    if (kd_p11_bind_get(body, &m) != KD_OK)
        return false;
    unsigned i = which(h->s, m.public_key);
    bool is_there = i < SCRIPTED_KEYS && (h->s->missing >> i & 1) == 0;
    const struct kd_p11_bound out = {.key = m.key,
                                     .finding = is_there ? P11_FINE : P11_KEY_MISSING,
                                     .what = kd_slice_str(""),
                                     .id = m.id};
    return SAY(h, p11_bound, &out);
}

static void
sign_after(struct one *h, const struct kd_p11_sign *m, bool is_trial)
{
    struct scripted *s = h->s;
    bool is_large = m->size >= SCRIPTED_LARGE;

    s->n_large += is_large;
    take_time(h, is_large                      ? s->large_ms
                 : is_trial && s->n_large != 0 ? s->trial_in_large_ms
                 : is_trial                    ? s->trial_ms
                                               : s->sign_ms);
    s->n_large -= is_large;
}

/* Keys are numbered as they are listed; a large message is not looked at. */
static bool
on_sign(struct one *h, struct kd_slice body)
{
    struct scripted *s = h->s;
    struct kd_p11_sign m;
    struct kd_buf buf;
    uint8_t sig[64] = {1};

    if (kd_p11_sign_get(body, &m) != KD_OK)
        return false;
    bool is_trial =
        m.message.n > sizeof trial && memcmp(m.message.p, trial, sizeof trial - 1) == 0;
    uint32_t refused = m.size;
    bool is_there = m.key < SCRIPTED_KEYS && (s->missing >> m.key & 1) == 0 &&
                    !atomic_compare_exchange_strong(&s->refuses_once, &refused, 0);
    s->n_trials += is_trial;
    sign_after(h, &m, is_trial);
    if (m.message.n != 0 && m.key < SCRIPTED_KEYS)
        crypto_sign_detached(sig, NULL, m.message.p, m.message.n, s->secret[m.key]);
    if (is_trial && s->bad_trials > 0) {
        s->bad_trials--;
        sig[0] ^= 1;
    }
    const struct kd_p11_signed out = {.tag = m.tag,
                                      .rv = is_there ? CKR_OK : CKR_KEY_HANDLE_INVALID,
                                      .signature = kd_slice(sig, is_there ? 64 : 0)};
    return SAY(h, p11_signed, &out);
}

static bool
on_list(struct one *h)
{
    const struct kd_p11_listed out = {.objects = kd_slice(NULL, 0)};
    struct kd_buf buf;

    if (h->s->list_hangs)
        take_time(h, HANG_MS);
    return SAY(h, p11_listed, &out);
}

static bool
on_make(struct one *h)
{
    const struct kd_p11_made out = {.finding = P11_NOT_CREATED,
                                    .what = kd_slice_str(""),
                                    .public_key = kd_slice(NULL, 0)};
    struct kd_buf buf;

    return SAY(h, p11_made, &out);
}

static bool
answer(struct one *h)
{
    struct kd_slice body = {0};

    switch (hear(h, &body)) {
    case KD_MSG_p11_pin:
        return on_pin(h, body);
    case KD_MSG_p11_login:
        return on_login(h, body);
    case KD_MSG_p11_bind:
        return on_bind(h, body);
    case KD_MSG_p11_sign:
        return on_sign(h, body);
    case KD_MSG_p11_list:
        return on_list(h);
    case KD_MSG_p11_make:
        return on_make(h);
    default:
        return false;
    }
}

/* --- their lives --- */

static void
live(struct one *h)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        abort();
    h->fd = ends[1];
    p11_link(h->s->p, h->number, ends[0]);
    for (bool goes_on = say_here(h); goes_on;)
        goes_on = answer(h);
    close(h->fd);
}

static void *
host_main(void *arg)
{
    struct one *h = arg;

    for (;;) { /* as a supervisor has another one there at once */
        while (h->s->is_paused && h->number != P11_MAKER)
            kd_ignore(poll(NULL, 0, 2));
        live(h);
        kd_ignore(poll(NULL, 0, 2));
        if (h->number == P11_MAKER)
            break;
    }
    free(h);
    return NULL;
}

static void
start_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) != 0)
        abort();
    pthread_detach(thread);
}

static void
start_host(struct scripted *s, unsigned number)
{
    struct one *h = calloc(1, sizeof *h);

    if (h == NULL)
        abort();
    h->s = s;
    h->number = number;
    start_thread(host_main, h);
}

static void
carry(struct scripted *s, const struct p11_note *note)
{
    switch (note->say) {
    case P11_SAY_MAKER:
        start_host(s, P11_MAKER);
        break;
    case P11_SAY_TAGS:
        pthread_mutex_lock(&s->lock);
        memcpy(s->good, note->good, sizeof s->good);
        memcpy(s->tried, note->tried, sizeof s->tried);
        pthread_mutex_unlock(&s->lock);
        s->n_tags++;
        if (!s->holds_tags)
            p11_tags_stored(s->p, 0, KD_OK);
        break;
    case P11_SAY_EVENT:
        s->events[note->event % SCRIPTED_EVENTS]++;
        break;
    case P11_SAY_KILL: /* they end with their channel, and start by themselves */
    case P11_SAY_START:
    case P11_SAY_PIN:
        break;
    }
}

static void *
carrier_main(void *arg)
{
    struct scripted *s = arg;
    struct p11_note note;

    for (;;) {
        struct pollfd p = {.fd = p11_event_fd(s->p), .events = POLLIN};
        kd_ignore(poll(&p, 1, -1));
        while (p11_next(s->p, &note))
            carry(s, &note);
    }
    return NULL;
}

/* --- for tests --- */

static void
make_keys(struct scripted *s)
{
    for (size_t i = 0; i < SCRIPTED_KEYS; i++) {
        struct kd_device_key *k = &s->keys[i];
        crypto_sign_keypair(s->public_key[i], s->secret[i]);
        k->alg = KD_ALG_ED25519;
        k->is_probed = true;
        k->public_key = kd_slice(s->public_key[i], 32);
        k->id = kd_key_id(k->alg, k->public_key);
        k->place.id_size = 1;
        k->place.id[0] = (uint8_t)(i + 1);
    }
}

static struct scripted *
begin(unsigned sessions, uint32_t timeout_ms, uint32_t max_message)
{
    const struct p11_conf conf = {.name = "scripted",
                                  .sessions = sessions,
                                  .timeout_ms = timeout_ms,
                                  .recycle_after = 1000000,
                                  .max_memory_mib = 64,
                                  .max_message = max_message};
    struct scripted *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->sessions = sessions;
    s->is_paused = true;
    s->pin = SCRIPTED_RIGHT_PIN;
    assert_int_equal(pthread_mutex_init(&s->lock, NULL), 0);
    make_keys(s);
    assert_int_equal(p11_new(&conf, 1, &s->p), KD_OK);
    s->device = p11_device(s->p, 0);
    start_thread(carrier_main, s);
    for (unsigned i = 0; i < sessions; i++)
        start_host(s, i);
    return s;
}

struct scripted *
scripted_paused(unsigned sessions, uint32_t timeout_ms)
{
    return begin(sessions, timeout_ms, 64 << 20);
}

struct scripted *
scripted_new(unsigned sessions, uint32_t timeout_ms)
{
    struct scripted *s = scripted_paused(sessions, timeout_ms);

    s->is_paused = false;
    return s;
}

struct scripted *
scripted_limited(unsigned sessions, uint32_t timeout_ms, uint32_t refuses_once)
{
    struct scripted *s = begin(sessions, timeout_ms, 0);

    s->refuses_once = refuses_once;
    s->is_paused = false;
    return s;
}

void
scripted_hold(struct scripted *s, size_t n, uint8_t latch, const uint8_t *good,
              const uint8_t *tried)
{
    struct kd_device_keys keys = {
        .n = n, .list = s->keys, .latch = {latch}, .serial = "S", .model = "M"};

    if (good != NULL)
        memcpy(keys.good, good, sizeof keys.good);
    if (tried != NULL)
        memcpy(keys.tried, tried, sizeof keys.tried);
    assert_int_equal(s->device->ops->hold(s->device, &keys), KD_OK);
}

void
scripted_seal(struct scripted *s)
{
    static const struct kd_device_keys nothing;

    assert_int_equal(s->device->ops->hold(s->device, &nothing), KD_OK);
}

void
scripted_tag(unsigned pin, uint8_t latch, uint8_t tag[KD_PIN_TAG_SIZE])
{
    const uint8_t text[] = {(uint8_t)pin, latch};

    crypto_generichash(tag, KD_PIN_TAG_SIZE, text, sizeof text, NULL, 0);
}

struct p11_status
scripted_status(struct scripted *s)
{
    struct p11_status is;

    p11_status(s->p, 0, &is);
    return is;
}

bool
scripted_becomes(struct scripted *s, enum p11_state state, int64_t ms)
{
    int64_t until = kd_clock_ms() + ms;

    while (scripted_status(s).state != state) {
        if (kd_clock_ms() >= until)
            return false;
        kd_ignore(poll(NULL, 0, 2));
    }
    return true;
}
