#include "p11_liar.h"

#include "fuzz.h"
#include "p11_turns.h"

#include <dime/secp.h>
#include <keyd/base/be.h>
#include <keyd/p11/marks.h>

#include <p11-kit/pkcs11.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    HEADER = 8,
    PACKET_MAX = 60 * 1024,
    SIGNS_MOST = 64 * 1024, /* octets; a token with a limit */
    HONEST = 208,           /* below it nothing is changed */
    FDS_MOST = 6,
    NEVER_MS = 1000000,
};

int __wrap_p11_poll(struct p11_look *l, struct pollfd *p, nfds_t n, int timeout_ms);

/* A process, by the pool's end of its channel. */
struct process {
    bool is_there;
    int fd; /* its own end; -1: it has ended */
    unsigned host;
    bool said_here, is_dirty;
    uint16_t type; /* of the answer that it owes; 0: none */
    struct kd_buf body;
    int64_t due;
    uint64_t tag; /* of the operation */
    size_t key;   /* that it is about */
    uint8_t go;   /* of the login */
    uint8_t key_of[256];
    uint8_t pin_tag[KD_PIN_TAG_SIZE];
    uint8_t expected[KD_ECDH_SIZE];
    uint8_t text[SIGNS_MOST];
    size_t n_text;
};

struct liar liar;
static struct process *processes[LIAR_FDS];
static uint8_t packet[HEADER + PACKET_MAX];

uint8_t
liar_octet(void)
{
    return liar.is_honest || kd_cur_left(&liar.in) == 0 ? 0 : kd_cur_u8(&liar.in);
}

/* --- keys --- */

struct liar_key *
liar_add_key(enum kd_key_alg alg, const uint8_t secret[32])
{
    struct liar_key *k = &liar.keys[liar.n_keys++];
    uint8_t both[64];

    fuzz_require(liar.n_keys <= LIAR_KEYS);
    *k = (struct liar_key){.alg = alg, .n = alg == KD_ALG_SECP256K1 ? 33 : 32};
    memcpy(k->secret, secret, 32);
    if (alg == KD_ALG_SECP256K1)
        fuzz_require(dime_secp_public(secret, k->public_key) == KD_OK);
    else
        crypto_sign_seed_keypair(k->public_key, both, secret);
    return k;
}

size_t
liar_key_of(struct kd_slice public_key)
{
    for (size_t i = 0; i < liar.n_keys; i++)
        if (kd_slice_eq(kd_slice(liar.keys[i].public_key, liar.keys[i].n), public_key))
            return i;
    return LIAR_KEYS;
}

/* --- what is sent --- */

static struct liar_token *
token_of(const struct process *x)
{
    return &liar.tokens[p11_host_token(x->host)];
}

static void
end_process(struct process *x)
{
    if (x->fd >= 0)
        close(x->fd);
    x->fd = -1;
}

/* The answer as the pool will read it. */
static void
note_login(struct process *x, struct kd_slice body)
{
    struct liar_token *t = token_of(x);
    struct kd_p11_logged m;

    if (kd_p11_logged_get(body, &m) != KD_OK || m.finding >= P11_FINDINGS)
        return;
    if (m.finding == P11_FINE) {
        memcpy(t->good, x->pin_tag, sizeof t->good);
        memset(t->tried, 0, sizeof t->tried);
    } else if (m.finding == P11_PIN_REFUSED &&
               memcmp(t->good, x->pin_tag, sizeof t->good) == 0) {
        memset(t->good, 0, sizeof t->good);
        memcpy(t->tried, x->pin_tag, sizeof t->tried);
    }
}

static void
note_result(struct process *x, uint16_t type, struct kd_slice body)
{
    struct kd_p11_signed s;
    struct kd_p11_derived d;

    if (x->key >= liar.n_keys)
        return;
    if (type == KD_MSG_p11_signed && kd_p11_signed_get(body, &s) == KD_OK &&
        s.tag == x->tag && s.rv == 0 && s.signature.n == 64 &&
        crypto_sign_verify_detached(s.signature.p, x->text, x->n_text,
                                    liar.keys[x->key].public_key) == 0)
        token_of(x)->right[x->key]++;
    if (type == KD_MSG_p11_derived && kd_p11_derived_get(body, &d) == KD_OK &&
        d.tag == x->tag && d.rv == 0 && d.z.n == KD_ECDH_SIZE &&
        memcmp(d.z.p, x->expected, KD_ECDH_SIZE) == 0)
        token_of(x)->right[x->key]++;
}

static void
note_answer(struct process *x, uint16_t type, struct kd_slice body)
{
    struct kd_p11_tag tag;

    if (x->is_dirty)
        return;
    if (type == KD_MSG_p11_tag && kd_p11_tag_get(body, &tag) == KD_OK)
        memcpy(x->pin_tag, tag.tag, sizeof x->pin_tag);
    else if (type == KD_MSG_p11_logged)
        note_login(x, body);
    else
        note_result(x, type, body);
}

static void
send_octets(struct process *x, size_t n, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_MOST * sizeof(int))];
    } control = {0};
    struct iovec iov = {packet, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds != 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &x->fd, sizeof(int));
    }
    /* Gone, or full of what was sent unasked. */
    kd_ignore(sendmsg(x->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void
put_header(size_t size, uint16_t type, uint16_t zero)
{
    kd_put_be32(packet, (uint32_t)size);
    kd_put_be16(packet + 4, type);
    kd_put_be16(packet + 6, zero);
}

/* The second is read as the answer to what is asked next. */
static void
send_twice(struct process *x, uint16_t type, size_t size)
{
    note_answer(x, type, kd_slice(packet + HEADER, size));
    send_octets(x, HEADER + size, 0);
    x->is_dirty = liar.is_loose = true;
    send_octets(x, HEADER + size, 0);
}

static void
flip(size_t size)
{
    unsigned at = (unsigned)liar_octet() << 8;

    at |= liar_octet();
    if (size != 0)
        packet[HEADER + at % size] ^= (uint8_t)(1u << liar_octet() % 8);
}

/* What is wrong with the packet itself; lie: from HONEST on. */
static void
send_wrong(struct process *x, unsigned lie, uint16_t type, size_t size)
{
    size_t n = size;

    switch (lie % 12) {
    case 0:
        n = liar_octet() % (size + 1);
        put_header(n, type, 0);
        break;
    case 1:
        n = size + 1 + liar_octet();
        memset(packet + HEADER + size, liar_octet(), n - size);
        put_header(n, type, 0);
        break;
    case 2:
        put_header(size, (uint16_t)(type + liar_octet() % 16 - 8), 0);
        break;
    case 3:
        put_header(size + liar_octet() + 1, type, 0);
        break;
    case 4:
        put_header(size, type, 1);
        break;
    case 5:
        n = PACKET_MAX;
        put_header(n, type, 0);
        break;
    case 6: /* cut within the header */
        send_octets(x, liar_octet() % HEADER, 0);
        return;
    case 7:
        send_octets(x, HEADER + n, 1 + liar_octet() % FDS_MOST);
        return;
    case 8:
        send_twice(x, type, n);
        return;
    case 9:
        end_process(x);
        return;
    default:
        flip(size);
        break;
    }
    struct kd_slice body = kd_slice(packet + HEADER, n);
    if (kd_be32(packet) == n && kd_be16(packet + 6) == 0)
        note_answer(x, kd_be16(packet + 4), body);
    send_octets(x, HEADER + n, 0);
}

static void
send_answer(struct process *x)
{
    unsigned lie = liar_octet();
    uint16_t type = x->type;
    size_t n = x->body.n;

    fuzz_require(x->body.err == KD_OK && n + 257 <= PACKET_MAX);
    x->type = 0;
    put_header(n, type, 0);
    if (n != 0)
        memcpy(packet + HEADER, x->body.p, n);
    if (lie >= HONEST) {
        send_wrong(x, lie, type, n);
        return;
    }
    note_answer(x, type, kd_slice(packet + HEADER, n));
    send_octets(x, HEADER + n, 0);
    if (lie == HONEST - 1)
        end_process(x);
}

/* --- what is said --- */

static uint8_t
finding(void)
{
    uint8_t o = liar_octet();

    return o < HONEST ? P11_FINE : (uint8_t)(o % (P11_FINDINGS + 2));
}

static uint64_t
word(void)
{
    static const uint64_t words[] = {CKR_GENERAL_ERROR,   CKR_DEVICE_ERROR,
                                     CKR_DATA_LEN_RANGE,  CKR_SESSION_HANDLE_INVALID,
                                     CKR_FUNCTION_FAILED, CKR_KEY_HANDLE_INVALID,
                                     UINT64_MAX};
    uint8_t o = liar_octet();

    return o < HONEST ? CKR_OK : words[o % (sizeof words / sizeof *words)];
}

/* A text that is as it should be, or has octets that nobody should see. */
static struct kd_slice
text(const char *right, size_t most)
{
    static uint8_t wrong[4][96];
    static unsigned i;
    uint8_t o = liar_octet();
    uint8_t *p = wrong[i++ % 4];

    if (o < HONEST)
        return kd_slice_str(right);
    memset(p, liar_octet(), sizeof wrong[0]);
    return kd_slice(p, o % (most + 1));
}

static void
begin_answer(struct process *x, uint16_t type)
{
    x->type = type;
    kd_buf_reset(&x->body);
}

static void
say_here(struct process *x)
{
    static const uint32_t bits[] = {CKF_USER_PIN_COUNT_LOW,
                                    CKF_USER_PIN_FINAL_TRY,
                                    CKF_USER_PIN_LOCKED,
                                    CKF_USER_PIN_TO_BE_CHANGED,
                                    CKF_PROTECTED_AUTHENTICATION_PATH,
                                    CKF_WRITE_PROTECTED,
                                    CKF_USER_PIN_INITIALIZED,
                                    UINT32_MAX};
    uint8_t o = liar_octet();
    const struct kd_p11_here m = {
        .finding = finding(),
        .rv = word(),
        .what = text("", 95),
        .label = text("liar", 32),
        .serial = text(p11_host_token(x->host) == 0 ? "A1" : "B1", 16),
        .model = text("fake", 16),
        .manufacturer = text("tests", 32),
        .n_match = 1,
        .mechanisms = UINT32_MAX,
        .flags =
            (CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED) ^
            (o < HONEST ? 0 : bits[o % 8])};

    x->said_here = true;
    begin_answer(x, KD_MSG_p11_here);
    kd_p11_here_put(&x->body, &m);
}

static void
on_pin(struct process *x, struct kd_slice body)
{
    struct liar_token *t = token_of(x);
    struct kd_p11_pin m;
    struct kd_p11_tag out = {.finding = finding()};
    uint8_t o = liar_octet();

    fuzz_require(kd_p11_pin_get(body, &m) == KD_OK);
    fuzz_require(!sodium_is_zero(m.latch, sizeof m.latch));
    if (o >= 240) /* there is no file, or nobody says so */
        p11_no_pin(liar.pool, x->host, (kd_err)(o % KD_ERR_COUNT));
    if (o >= 232)
        return;
    crypto_generichash(out.tag, sizeof out.tag, &t->pin, 1, m.latch, sizeof m.latch);
    if (o >= HONEST)
        memset(out.tag, o, sizeof out.tag);
    begin_answer(x, KD_MSG_p11_tag);
    kd_p11_tag_put(&x->body, &out);
}

/* Nobody logs in with what was tried and not good, nor before that is durable, nor when
 * all is sealed. */
static void
check_login(const struct process *x, uint8_t go)
{
    enum { GO_NEW = 1, GO_KNOWN = 2 };
    struct liar_token *t = token_of(x);

    if (liar.is_loose)
        return;
    fuzz_require(go == GO_NEW || go == GO_KNOWN);
    fuzz_require(!t->is_sealed);
    fuzz_require(memcmp(t->tried, x->pin_tag, sizeof t->tried) != 0 ||
                 sodium_is_zero(t->tried, sizeof t->tried));
    if (go == GO_KNOWN) {
        fuzz_require(memcmp(t->good, x->pin_tag, sizeof t->good) == 0);
        return;
    }
    fuzz_require(memcmp(t->stored_tried, x->pin_tag, sizeof t->stored_tried) == 0);
    memcpy(t->tried, x->pin_tag, sizeof t->tried);
}

static void
on_login(struct process *x, struct kd_slice body)
{
    struct kd_p11_login m;

    fuzz_require(kd_p11_login_get(body, &m) == KD_OK);
    check_login(x, m.go);
    uint8_t o = liar_octet();
    const struct kd_p11_logged out = {.finding = o < HONEST ? P11_FINE
                                                 : o < 240  ? P11_PIN_REFUSED
                                                            : finding(),
                                      .rv = word(),
                                      .n_objects = o};
    begin_answer(x, KD_MSG_p11_logged);
    kd_p11_logged_put(&x->body, &out);
}

static void
on_bind(struct process *x, struct kd_slice body)
{
    struct kd_p11_bind m;

    fuzz_require(kd_p11_bind_get(body, &m) == KD_OK);
    size_t key = liar_key_of(m.public_key);
    uint8_t found = finding();
    const struct kd_p11_bound out = {
        .key = m.key,
        .finding = key == LIAR_KEYS && found == P11_FINE ? P11_KEY_MISSING : found,
        .rv = word(),
        .what = text("", 95),
        .id = m.id,
        .attributes = liar_octet()};
    x->key_of[m.key] = (uint8_t)key;
    begin_answer(x, KD_MSG_p11_bound);
    kd_p11_bound_put(&x->body, &out);
}

static void
sign(struct process *x, uint8_t sig[64])
{
    static const uint8_t neutral[64] = {1}; /* of the neutral element by itself */
    uint8_t public_key[32], both[64], o = liar_octet();
    size_t key = x->key < liar.n_keys ? x->key : 0;

    if (o >= HONEST && o < 224)
        key = o % liar.n_keys; /* another key's */
    crypto_sign_seed_keypair(public_key, both, liar.keys[key].secret);
    crypto_sign_detached(sig, NULL, x->text, x->n_text, both);
    if (o >= 240)
        memcpy(sig, neutral, 64);
    else if (o >= 224)
        sig[o % 64] ^= 1;
}

/* fd: what a large message lies in, or -1. */
static void
on_sign(struct process *x, struct kd_slice body, int fd)
{
    struct kd_p11_sign m;
    uint8_t sig[64] = {0};
    uint64_t rv = word();

    fuzz_require(kd_p11_sign_get(body, &m) == KD_OK);
    fuzz_require((fd >= 0) == (m.size != m.message.n));
    x->tag = m.tag;
    x->key = x->key_of[m.key];
    x->n_text = m.size;
    if (m.size > SIGNS_MOST) {
        x->n_text = 0;
        rv = CKR_DATA_LEN_RANGE;
    } else if (fd >= 0) {
        fuzz_require(pread(fd, x->text, m.size, 0) == (ssize_t)m.size);
    } else {
        memcpy(x->text, m.message.p, m.message.n);
    }
    if (rv == 0)
        sign(x, sig);
    const struct kd_p11_signed out = {.tag = m.tag,
                                      .rv = rv,
                                      .kib = (uint32_t)liar_octet() << 12,
                                      .signature = kd_slice(sig, rv == 0 ? 64 : 0)};
    begin_answer(x, KD_MSG_p11_signed);
    kd_p11_signed_put(&x->body, &out);
}

static void
on_derive(struct process *x, struct kd_slice body)
{
    struct kd_p11_derive m;
    uint8_t point[33], z[KD_ECDH_SIZE], o = liar_octet();

    fuzz_require(kd_p11_derive_get(body, &m) == KD_OK);
    x->tag = m.tag;
    x->key = x->key_of[m.key];
    memset(x->expected, 0, sizeof x->expected);
    point[0] = (uint8_t)(2 + (m.point[64] & 1));
    memcpy(point + 1, m.point + 1, 32);
    if (x->key < liar.n_keys)
        kd_ignore(dime_secp_ecdh(liar.keys[x->key].secret, point, x->expected));
    memcpy(z, x->expected, sizeof z);
    z[o % sizeof z] ^= o >= HONEST;
    const struct kd_p11_derived out = {.tag = m.tag,
                                       .rv = word(),
                                       .kib = 1,
                                       .z = kd_slice(z, o < 232 ? sizeof z : o - 232u)};
    begin_answer(x, KD_MSG_p11_derived);
    kd_p11_derived_put(&x->body, &out);
}

/* One object, and octets that are none; perhaps without an end. */
static void
on_list(struct process *x)
{
    uint8_t o = liar_octet();
    const struct kd_p11_object object = {.klass = o % 5,
                                         .id = text("id", 64),
                                         .label = text("label", 64),
                                         .public_key = kd_slice(NULL, 0),
                                         .attributes = o};
    struct kd_buf one, list;

    kd_buf_init(&one, 2048);
    kd_buf_init(&list, 4096);
    kd_p11_object_put(&one, &object);
    kd_buf_u32(&list, (uint32_t)one.n);
    kd_buf_put(&list, kd_buf_slice(&one));
    kd_buf_put(&list, text("", 95));
    const struct kd_p11_listed out = {.finding = finding(),
                                      .rv = word(),
                                      .next = o < HONEST ? 0 : o,
                                      .objects = kd_buf_slice(&list)};
    begin_answer(x, KD_MSG_p11_listed);
    kd_p11_listed_put(&x->body, &out);
    kd_buf_free(&one);
    kd_buf_free(&list);
}

static struct liar_key *
new_key(const struct kd_p11_make *m)
{
    uint8_t secret[32] = {0};
    enum kd_key_alg alg = m->derives ? KD_ALG_SECP256K1 : KD_ALG_ED25519;

    if (liar.n_keys == LIAR_KEYS || m->bits != 0)
        return NULL;
    memset(secret, (int)(0x40 + liar.n_keys), sizeof secret);
    return liar_add_key(alg, m->secret.n == 32 ? m->secret.p : secret);
}

/* It may call a key its own that is another's, or that everybody can sign with. */
static void
on_make(struct process *x, struct kd_slice body)
{
    static const uint8_t neutral[32] = {1};
    struct kd_p11_make m;
    uint8_t found = finding();

    fuzz_require(kd_p11_make_get(body, &m) == KD_OK);
    struct liar_key *k = found == P11_FINE ? new_key(&m) : NULL;
    struct kd_p11_made out = {
        .finding = k == NULL && found == P11_FINE ? P11_NOT_CREATED : found,
        .rv = word(),
        .what = text("", 95),
        .attributes = liar_octet(),
        .public_key = kd_slice(NULL, 0)};
    uint8_t o = liar_octet();
    if (k != NULL)
        out.public_key = kd_slice(k->public_key, k->n);
    if (k != NULL && o >= 240) {
        memcpy(k->public_key, neutral, sizeof neutral);
        out.public_key.n = 32;
    } else if (o >= HONEST) {
        out.public_key = kd_slice(liar.keys[o % 3].public_key, liar.keys[o % 3].n);
    }
    begin_answer(x, KD_MSG_p11_made);
    kd_p11_made_put(&x->body, &out);
}

static void
on_unmake(struct process *x)
{
    const struct kd_p11_unmade out = {.finding = finding(), .rv = word()};

    begin_answer(x, KD_MSG_p11_unmade);
    kd_p11_unmade_put(&x->body, &out);
}

static void
answer(struct process *x, uint16_t type, struct kd_slice body, int fd)
{
    switch (type) {
    case KD_MSG_p11_pin:
        on_pin(x, body);
        break;
    case KD_MSG_p11_login:
        on_login(x, body);
        break;
    case KD_MSG_p11_bind:
        on_bind(x, body);
        break;
    case KD_MSG_p11_sign:
        on_sign(x, body, fd);
        break;
    case KD_MSG_p11_derive:
        on_derive(x, body);
        break;
    case KD_MSG_p11_list:
        on_list(x);
        break;
    case KD_MSG_p11_make:
        on_make(x, body);
        break;
    case KD_MSG_p11_unmake:
        on_unmake(x);
        break;
    default:
        fuzz_fail("a question", __FILE__, __LINE__);
    }
}

/* --- questions --- */

/* False: none is there. */
static bool
take_question(struct process *x)
{
    static uint8_t question[64 * 1024];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {question, sizeof question};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    int fd = -1;

    ssize_t n = recvmsg(x->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return false;
    fuzz_require(n >= HEADER && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c != NULL)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    fuzz_require(kd_be32(question) == (size_t)n - HEADER);
    answer(x, kd_be16(question + 4), kd_slice(question + HEADER, (size_t)n - HEADER),
           fd);
    if (fd >= 0)
        close(fd);
    return true;
}

static int64_t
delay(void)
{
    uint8_t o = liar_octet();

    return o < HONEST ? 0 : o < 248 ? (o - HONEST) * 16 : NEVER_MS;
}

/* What the pool waits for comes now, later, or not within its time. */
static int
await_answer(struct process *x, int timeout_ms)
{
    if (x->fd >= 0 && x->type == 0) {
        if (!x->said_here)
            say_here(x);
        else if (!take_question(x) || x->type == 0)
            x->due = turns_now() + NEVER_MS; /* it asked nothing, or hears nothing */
        if (x->type != 0)
            x->due = turns_now() + delay();
    }
    int64_t left = x->due - turns_now();
    if (x->fd >= 0 && left > timeout_ms) {
        turns_sleep(timeout_ms);
        return x->fd < 0;
    }
    if (x->fd >= 0 && left > 0)
        turns_sleep(left);
    if (x->fd >= 0 && x->type != 0)
        send_answer(x);
    return 1;
}

int
__wrap_p11_poll(struct p11_look *l, struct pollfd *p, nfds_t n, int timeout_ms)
{
    (void)l;
    fuzz_require(n == 1 && p->fd >= 0 && p->fd < LIAR_FDS && processes[p->fd] != NULL);
    struct process *x = processes[p->fd];
    turns_pass(1);
    p->revents = p->events;
    fuzz_require(p->events == POLLIN); /* one question always has room */
    return await_answer(x, timeout_ms);
}

/* --- supervisor and vault --- */

void
liar_kill(unsigned host)
{
    for (size_t i = 0; i < LIAR_FDS; i++)
        if (processes[i] != NULL && processes[i]->host == host)
            end_process(processes[i]);
}

static void
forget(size_t fd)
{
    struct process *x = processes[fd];

    if (x == NULL)
        return;
    end_process(x);
    kd_buf_free(&x->body);
    free(x);
    processes[fd] = NULL;
}

void
liar_link(unsigned host)
{
    int ends[2];

    if (liar_octet() < 240)
        liar_kill(host);
    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 &&
                 ends[0] < LIAR_FDS);
    forget((size_t)ends[0]); /* the pool has closed it since */
    struct process *x = calloc(1, sizeof *x);
    fuzz_require(x != NULL);
    x->host = host;
    x->fd = ends[1];
    memset(x->key_of, LIAR_KEYS, sizeof x->key_of);
    kd_buf_init(&x->body, PACKET_MAX);
    processes[ends[0]] = x;
    p11_link(liar.pool, host, ends[0]);
}

void
liar_end(void)
{
    for (size_t i = 0; i < LIAR_FDS; i++)
        forget(i);
}

static void
store_tags(unsigned token)
{
    struct liar_token *t = &liar.tokens[token];
    kd_err err = liar_octet() < 224 ? KD_OK : KD_IO;

    if (err == KD_OK) {
        memcpy(t->stored_good, t->note.good, sizeof t->stored_good);
        memcpy(t->stored_tried, t->note.tried, sizeof t->stored_tried);
    }
    t->stores = false;
    p11_tags_stored(liar.pool, token, err);
}

static void
carry(const struct p11_note *note)
{
    uint8_t o;

    fuzz_require(note->token < liar.n_tokens &&
                 (note->say == P11_SAY_TAGS || note->say == P11_SAY_EVENT ||
                  p11_host_token(note->host) == note->token));
    switch (note->say) {
    case P11_SAY_KILL:
        liar_kill(note->host);
        break;
    case P11_SAY_START:
    case P11_SAY_MAKER:
        if (liar_octet() < 232) /* else it takes its time: it is asked again */
            liar_link(note->host);
        break;
    case P11_SAY_TAGS:
        fuzz_require(!liar.tokens[note->token].stores);
        o = liar_octet();
        liar.tokens[note->token].stores = true;
        liar.tokens[note->token].stores_after = o < HONEST ? 0 : o;
        liar.tokens[note->token].note = *note;
        break;
    case P11_SAY_PIN: /* on_pin has it */
    case P11_SAY_EVENT:
        break;
    }
}

void
liar_carry(void)
{
    struct p11_note note;

    while (p11_next(liar.pool, &note))
        carry(&note);
    for (unsigned i = 0; i < liar.n_tokens; i++)
        if (liar.tokens[i].stores && liar.tokens[i].stores_after-- == 0)
            store_tags(i);
}
