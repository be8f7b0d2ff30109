/* What a host of a PKCS#11 token says to the vault's pool: it runs a vendor's code, and
 * may say anything. Of the input are the answers, mostly of the right type with fields
 * that are nearly right, some cut, grown, or of another type, and then the end of the
 * channel; what is asked is the pool's own, from the first look at a token to
 * signatures, agreements, trials and lists. */
#include "../../pkcs11/pool/pool.h"
#include "fuzz.h"

#include <keyd/base/be.h>
#include <keyd/base/clock.h>
#include <keyd/base/cur.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 8, PACKET_MAX = 49152, ROUNDS = 6, ROOM = 256 * 1024, KEYS = 2 };

static struct kd_cur in;
static struct p11 pool;
static struct p11_token *const token = &pool.tokens[0];
static uint8_t *z;
static int peer;                /* the host's end */
static uint8_t offered_pin[16]; /* the tag that the host gave last */

static uint8_t
octet(void)
{
    return kd_cur_left(&in) == 0 ? 0 : kd_cur_u8(&in);
}

static uint32_t
number(void)
{
    uint8_t o = octet();

    return o < 200 ? o % 4 : o < 230 ? UINT32_MAX - o : (uint32_t)o << octet() % 24;
}

static struct kd_slice
octets(size_t most)
{
    static uint8_t room[8][1024];
    static unsigned next;
    uint8_t *p = room[next++ % 8];
    size_t n = octet() % (most + 1);

    for (size_t i = 0; i < n; i++)
        p[i] = octet();
    return kd_slice(p, n);
}

/* --- the host --- */

static void
say(uint16_t type, const struct kd_buf *b)
{
    static uint8_t packet[HEADER + PACKET_MAX];
    size_t n = b->n < PACKET_MAX - 64 ? b->n : PACKET_MAX - 64;
    uint8_t how = octet();

    if (n != 0)
        memcpy(packet + HEADER, b->p, n);
    if (how >= 240)
        type = (uint16_t)(type + how - 248);
    else if (how >= 230)
        n = n * (how - 230U) / 10;
    else if (how >= 220)
        n += how - 219U;
    kd_put_be32(packet, (uint32_t)(how == 219 ? n + 1 : n));
    kd_put_be16(packet + 4, type);
    kd_put_be16(packet + 6, how == 218);
    /* What does not fit into the socket is not said. */
    kd_ignore(send(peer, packet, how == 217 ? HEADER / 2 : HEADER + n,
                   MSG_DONTWAIT | MSG_NOSIGNAL));
}

#define SAY(name, ...)                                                                 \
    do {                                                                               \
        const struct kd_##name m_ = {__VA_ARGS__};                                     \
        struct kd_buf b_;                                                              \
        kd_buf_init(&b_, PACKET_MAX);                                                  \
        kd_##name##_put(&b_, &m_);                                                     \
        say(KD_MSG_##name, &b_);                                                       \
        kd_buf_free(&b_);                                                              \
    } while (0)

static uint8_t
finding(void)
{
    uint8_t o = octet();

    return o < 200 ? P11_FINE : o;
}

static uint64_t
word(void)
{
    return octet() < 200 ? 0 : octet();
}

/* The one that was adopted, or one that is nearly so. */
static void
say_here(void)
{
    uint8_t code = finding();
    struct kd_slice serial = octet() < 200 ? kd_slice_str("S1") : octets(16);
    struct kd_slice model = octet() < 200 ? kd_slice_str("M1") : octets(16);

    SAY(p11_here, .finding = code, .rv = word(), .what = octets(95), .n_match = octet(),
        .label = octets(32), .serial = serial, .model = model,
        .manufacturer = octets(32), .slot = number(), .flags = number(),
        .library = octet(), .mechanisms = number(), .kib = number());
}

static void
say_tag(void)
{
    struct kd_p11_tag m = {.finding = finding()};
    struct kd_buf b;

    memset(m.tag, octet() % 4, sizeof m.tag);
    memcpy(offered_pin, m.tag, sizeof offered_pin);
    kd_buf_init(&b, 64);
    kd_p11_tag_put(&b, &m);
    say(KD_MSG_p11_tag, &b);
    kd_buf_free(&b);
}

static void
say_bound(uint8_t key)
{
    uint8_t other = octet();

    SAY(p11_bound, .key = other < 220 ? key : other, .finding = finding(), .rv = word(),
        .what = octets(95), .id = octets(32), .attributes = number(),
        .quirks = number());
}

static uint64_t
tag_of(const struct host *h)
{
    uint8_t o = octet();

    return o < 220 ? h->tag + 1 : h->tag + o - 230;
}

static void
say_signed(uint64_t tag)
{
    SAY(p11_signed, .tag = tag, .rv = word(), .kib = number(),
        .signature = octet() < 128 ? kd_slice(octets(64).p, 64) : octets(255));
}

static void
say_derived(uint64_t tag)
{
    SAY(p11_derived, .tag = tag, .rv = word(), .kib = number(),
        .z = octet() < 200 ? kd_slice(octets(32).p, 32) : octets(32));
}

static void
put_object(struct kd_buf *list)
{
    struct kd_p11_object m = {.klass = octet() % 5,
                              .algorithm = octet(),
                              .id = octets(64),
                              .label = octets(64),
                              .public_key = octets(200),
                              .attributes = number()};
    struct kd_buf one;

    kd_buf_init(&one, 4096);
    kd_p11_object_put(&one, &m);
    kd_buf_u32(list, octet() < 230 ? (uint32_t)one.n : number());
    kd_buf_put(list, kd_buf_slice(&one));
    kd_buf_free(&one);
}

static void
say_listed(void)
{
    struct kd_buf list;

    kd_buf_init(&list, 40960);
    for (unsigned i = octet() % 8; i > 0; i--)
        put_object(&list);
    SAY(p11_listed, .finding = finding(), .rv = word(), .next = number(),
        .objects = kd_buf_slice(&list));
    kd_buf_free(&list);
}

/* --- the vault --- */

static void
begin_host(struct host *h)
{
    int pair[2];

    fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    h->fd = pair[0];
    h->next_fd = -1;
    h->state = HOST_BUSY;
    h->tag = octet();
    h->linked_at = INT64_MAX / 2; /* of a moment ago, whatever is missed */
    h->keys_serial = token->keys_serial;
    peer = pair[1];
}

/* It says no more; what it was told is still there to be read. */
static void
end_of_speech(void)
{
    fuzz_require(shutdown(peer, SHUT_WR) == 0);
}

/* How often it was told to log in; it is told nothing that is not a message. */
static unsigned
count_logins(void)
{
    static uint8_t packet[HEADER + PACKET_MAX];
    unsigned n_logins = 0;
    ssize_t n;

    while ((n = recv(peer, packet, sizeof packet, MSG_DONTWAIT)) > 0) {
        struct kd_cur c = kd_cur(kd_slice(packet, (size_t)n));
        uint32_t size = kd_cur_u32(&c);
        uint16_t type = kd_cur_u16(&c);
        fuzz_require(n >= HEADER && size == (size_t)n - HEADER);
        n_logins += type == KD_MSG_p11_login && packet[HEADER] != 0;
    }
    return n_logins;
}

static void
end_host(struct host *h)
{
    if (h->fd >= 0)
        close(h->fd);
    close(peer);
    h->fd = -1;
    h->state = HOST_NONE;
    token->out = (struct outbox){.kill = 0};
}

static void
is_text(const char *s, size_t room)
{
    size_t n = strnlen(s, room);

    fuzz_require(n < room);
    for (size_t i = 0; i < n; i++)
        fuzz_require(s[i] >= ' ' && s[i] <= '~');
}

static void
finding_is_one(const struct p11_finding *why)
{
    fuzz_require((unsigned)why->code < P11_FINDINGS);
    is_text(why->what, sizeof why->what);
}

/* From what it tells unasked to keys that it holds: none does right, whatever it says,
 * and a PIN that was refused is not tried again. */
static void
come_up(struct host *h)
{
    uint8_t tried[16];
    struct p11_finding why;

    say_here();
    say_tag();
    SAY(p11_logged, .finding = finding(), .rv = word(), .n_objects = number());
    for (uint8_t i = 0; i < KEYS; i++) {
        say_bound(i);
        if (i == 0)
            say_signed(h->tag + 1);
        else
            say_derived(h->tag + 2);
    }
    end_of_speech();
    memcpy(tried, token->tried, sizeof tried);
    enum p11_finding_code code = bring_up(token, h, &why);
    finding_is_one(&why);
    unsigned n = count_logins();
    fuzz_require(n <= 1 && (code != P11_FINE || n == 1));
    fuzz_require(n == 0 || memcmp(tried, offered_pin, sizeof tried) != 0);
    if (code != P11_FINE)
        return;
    code = bring_keys(token, h, true, &why);
    finding_is_one(&why);
    fuzz_require(code != P11_FINE || token->keys[0].finding != P11_FINE);
    is_text(token->status.label, sizeof token->status.label);
    is_text(token->status.serial, sizeof token->status.serial);
    is_text(token->status.model, sizeof token->status.model);
}

static void
sign(struct host *h)
{
    struct kd_token_sig sig;
    uint64_t rv = 0;

    say_signed(tag_of(h));
    end_of_speech();
    if (call_sign(h, 0, kd_slice("message", 7), kd_clock_ms() + 100, &rv, &sig) ==
        CALL_DONE)
        fuzz_require(sig.n <= sizeof sig.octets);
}

static void
derive(struct host *h)
{
    static const uint8_t point[65] = {4};
    uint64_t rv = 0;

    memset(z, 0x5a, KD_ECDH_SIZE);
    say_derived(tag_of(h));
    end_of_speech();
    enum call_end end = call_derive(h, 1, point, kd_clock_ms() + 100, &rv, z);
    for (size_t i = 0; i < KD_ECDH_SIZE && (end != CALL_DONE || rv != 0); i++)
        fuzz_require(z[i] == 0x5a);
    fuzz_require(sodium_is_zero(h->secret, SECRET_ANSWER_MAX));
}

/* Nobody finds a signature, or an agreement, of a key that he does not have. */
static void
try_one(struct host *h)
{
    uint8_t i = octet() % KEYS;
    const struct pool_key *k = &token->keys[i];
    uint64_t rv;

    if (i == 0)
        say_signed(tag_of(h));
    else
        say_derived(tag_of(h));
    end_of_speech();
    fuzz_require(trial_key(h, i, k->is.alg, k->is.public_key, kd_clock_ms() + 100,
                           &rv) != KD_OK);
}

static void
bind_one(struct host *h)
{
    uint8_t answer[BOUND_MAX];
    struct kd_p11_bound m;
    struct p11_finding why;

    say_bound(1);
    end_of_speech();
    if (bind_key(token, h, 1, KD_ALG_SECP256K1, octets(16),
                 token->keys[1].is.public_key, answer, &m, &why) == P11_FINE)
        fuzz_require(m.key == 1 && m.id.n <= 32);
    finding_is_one(&why);
}

/* The doctor's look, and a search for a key. */
static void
work_on(struct host *h, enum work_kind kind)
{
    struct p11_finding list[16];
    struct work w = {.kind = kind,
                     .alg = KD_ALG_ED25519,
                     .n_public = 32,
                     .findings = list,
                     .findings_max = 16,
                     .until = kd_clock_ms() + 100};

    h->state = HOST_IDLE;
    if (kind == WORK_LOOK) {
        say_bound(POOL_KEYS_MAX - 1);
        say_signed(h->tag + 1);
    } else {
        say_signed(h->tag + 1);
        say_derived(h->tag + 2);
        for (unsigned i = octet() % 4; i > 0; i--)
            say_listed();
    }
    end_of_speech();
    pthread_mutex_lock(&token->lock);
    keeper_work(token, &w);
    pthread_mutex_unlock(&token->lock);
    fuzz_require(kind != WORK_LOOK || w.err != KD_OK);
    for (size_t i = 0; i < w.n_findings; i++)
        finding_is_one(&list[i]);
}

/* --- once --- */

/* What the vault's main thread does: tags are stored at once. */
static void *
store_tags(void *arg)
{
    struct p11_note n;

    (void)arg;
    for (;;) {
        struct pollfd p = {.fd = pool.event_fd, .events = POLLIN};
        kd_ignore(poll(&p, 1, -1));
        while (p11_next(&pool, &n))
            if (n.say == P11_SAY_TAGS)
                p11_tags_stored(&pool, n.token, KD_OK);
    }
    return NULL;
}

static void
hold_keys(void)
{
    static const enum kd_key_alg algs[KEYS] = {KD_ALG_ED25519, KD_ALG_SECP256K1};
    static const uint8_t generator[33] =
        "\x02\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07"
        "\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98";
    uint8_t secret[64], seed[32] = {7};

    for (size_t i = 0; i < KEYS; i++) {
        struct pool_key *k = &token->keys[i];
        *k = (struct pool_key){.finding = P11_FINE, .is_known = true};
        k->is.alg = algs[i];
        k->is.is_probed = true;
        k->is.id.octets[0] = (uint8_t)i;
        k->is.place.id_size = 16;
        if (i == 0)
            crypto_sign_seed_keypair(k->public_key, secret, seed);
        else
            memcpy(k->public_key, generator, sizeof generator);
        k->is.public_key = kd_slice(k->public_key, i == 0 ? 32 : 33);
    }
    sodium_memzero(secret, sizeof secret);
    token->n_keys = KEYS;
}

static void
begin_all(void)
{
    pthread_t thread;

    if (sodium_init() < 0 || kd_secret_setup(1 << 17) != KD_OK ||
        (z = kd_secret_new(KD_ECDH_SIZE)) == NULL ||
        (token->hosts[0].secret = kd_secret_new(SECRET_ANSWER_MAX)) == NULL ||
        (token->keys = calloc(POOL_KEYS_MAX, sizeof *token->keys)) == NULL ||
        (pool.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
        pthread_mutex_init(&token->lock, NULL) != 0 ||
        pthread_cond_init(&token->wake, NULL) != 0 ||
        pthread_cond_init(&token->changed, NULL) != 0)
        abort();
    pool.n = 1;
    token->pool = &pool;
    token->conf = (struct p11_conf){
        .sessions = 1, .timeout_ms = 100, .recycle_after = 1000, .max_memory_mib = 64};
    for (size_t i = 0; i < P11_HOSTS_A_TOKEN; i++)
        token->hosts[i].fd = token->hosts[i].next_fd = -1;
    if (pthread_create(&thread, NULL, store_tags, NULL) != 0)
        abort();
}

/* A token in use, of which every input finds the same. */
static void
begin_token(void)
{
    pthread_mutex_lock(&token->lock);
    breaker_init(&token->breaker, kd_clock_ms());
    token->breaker.state = P11_CLOSED;
    token->status = (struct p11_status){.finding = P11_FINE};
    token->was_up = true;
    token->keys_serial = 1;
    memset(token->latch, 1, sizeof token->latch);
    memset(token->good, octet() % 4, sizeof token->good);
    memset(token->tried, octet() % 4, sizeof token->tried);
    strcpy(token->serial, "S1");
    strcpy(token->model, "M1");
    hold_keys();
    pthread_mutex_unlock(&token->lock);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct host *h = &token->hosts[0];

    if (z == NULL)
        begin_all();
    in = kd_cur(kd_slice(data, size));
    begin_token();
    fuzz_begin(size + ROOM);
    for (unsigned i = 0; i < ROUNDS && kd_cur_left(&in) != 0; i++) {
        begin_host(h);
        switch (octet() % 7) {
        case 0:
            come_up(h);
            break;
        case 1:
            sign(h);
            break;
        case 2:
            derive(h);
            break;
        case 3:
            try_one(h);
            break;
        case 4:
            bind_one(h);
            break;
        case 5:
            work_on(h, WORK_DOCTOR);
            break;
        default:
            work_on(h, WORK_LOOK);
            break;
        }
        pthread_mutex_lock(&token->lock);
        end_host(h);
        pthread_mutex_unlock(&token->lock);
        hold_keys();
    }
    fuzz_end();
    return 0;
}
