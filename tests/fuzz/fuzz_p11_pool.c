/* The pool of PKCS#11 hosts, and keys that it holds, against hosts that say what the
 * input says (p11_liar.h), while the input also has clients ask, operators seal and
 * change PINs, and processes come and go. Whatever they say: no signature leaves that
 * does not hold, a PIN is tried once (p11_liar.c), nobody waits for longer than was
 * said, a doubt is cleared only by a trial that went right, what operators read is
 * text, no descriptor stays, and honest hosts bring all of it back. */
#include "../support/fake_device.h"
#include "fuzz.h"
#include "p11_liar.h"
#include "p11_turns.h"

#include <dime/secp.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ACTIONS_MAX = 32,
    SLACK_MS = 500, /* threads have their turns in steps of 50 ms */
    MOST_MS = 30000,
    MAKE_MOST_MS = 600000, /* an order to make keys has no end of its own */
    BACK_MS = 240000,
    LARGE = 60000, /* octets: as a file */
    N_KEYS = 3,
    FINDINGS = 8,
    LAST_PIN = 200, /* that no input has put into the file */
};

static const char *const names[LIAR_TOKENS] = {"alpha", "beta"};
static const char *const serials[LIAR_TOKENS] = {"A1", "B1"};
static const struct kd_slot_secret slot = {
    .type = KD_SLOT_CREDENTIAL,
    .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32}};

static struct kd_buf octets; /* of the key store that all begin with */
static struct kd_key_info keys[N_KEYS];
static uint8_t *z, text[LARGE];
static struct kd_token *store; /* NULL: sealed */

/* --- chance --- */

static uint64_t chance;

static void
chance_buf(void *const out, const size_t n)
{
    uint8_t *p = out;

    for (size_t i = 0; i < n; i++) { /* splitmix64 */
        uint64_t x = chance += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        p[i] = (uint8_t)(x >> 56);
    }
}

static uint32_t
chance_u32(void)
{
    uint32_t x;

    chance_buf(&x, sizeof x);
    return x;
}

/* Never 0: then a trial of a key that agrees would be after a rare point, which takes
 * longer than all the rest. */
static uint32_t
chance_uniform(const uint32_t below)
{
    return below < 2 ? 0 : 1 + chance_u32() % (below - 1);
}

static const char *
chance_name(void)
{
    return "the same for the same input";
}

static struct randombytes_implementation same = {.implementation_name = chance_name,
                                                 .random = chance_u32,
                                                 .uniform = chance_uniform,
                                                 .buf = chance_buf};

/* --- the key store --- */

/* Devices that do right make it: keys in both tokens, one in the first alone. */
static void
make_key(struct kd_token *t, size_t i, size_t n_places)
{
    static const enum kd_key_role roles[N_KEYS] = {KD_KEY_ROLE_POK, KD_KEY_ROLE_SOK,
                                                   KD_KEY_ROLE_ENC};
    const struct kd_key_spec spec = {
        .role = roles[i],
        .alg = roles[i] == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1 : KD_ALG_ED25519,
        .permissions = roles[i] == KD_KEY_ROLE_ENC ? 0 : KD_PERM_MESSAGE,
        .domain = kd_slice_str("example.com"),
        .tokens = {kd_slice_str(names[0]),
                   n_places > 1 ? kd_slice_str(names[1]) : kd_slice(NULL, 0)}};
    struct kd_made *made = NULL;

    memset(z, (int)i + 1, KD_ECDH_SIZE);
    liar_add_key(spec.alg, z);
    fuzz_require(kd_token_make(t, &spec, kd_slice(z, 32), &made) == KD_OK);
    fuzz_require(kd_token_take(t, made, &keys[i]) == KD_OK);
    kd_token_drop(made);
    fuzz_require(kd_token_set_state(t, &keys[i].id, KD_KEY_ACTIVE) == KD_OK);
}

static void
set_up(void)
{
    static struct fake_device devices[LIAR_TOKENS];
    struct kd_token *t;

    fuzz_require(randombytes_set_implementation(&same) == 0 && sodium_init() >= 0 &&
                 kd_secret_setup((size_t)256 * 1024) == KD_OK &&
                 (z = kd_secret_new(KD_ECDH_SIZE)) != NULL);
    memcpy(text, "\2\0\0\x21", 4);
    text[37] = 3;
    kd_buf_init(&octets, KD_STORE_MAX);
    fuzz_require(kd_soft_create(&slot, &t) == KD_OK);
    for (size_t i = 0; i < LIAR_TOKENS; i++) {
        fake_device_init(&devices[i], names[i]);
        fuzz_require(kd_soft_attach(t, names[i], &devices[i].device) == KD_OK &&
                     kd_soft_adopt(t, names[i], serials[i], "fake") == KD_OK);
    }
    for (size_t i = 0; i < N_KEYS; i++)
        make_key(t, i, i == 1 ? 1 : 2);
    fuzz_require(kd_soft_serialise(t, &octets) == KD_OK);
    kd_token_free(t);
}

static void
unseal(void)
{
    if (store != NULL)
        return;
    fuzz_require(kd_soft_open(kd_buf_slice(&octets), &slot, &store) == KD_OK);
    for (size_t i = 0; i < liar.n_tokens; i++) {
        struct liar_token *t = &liar.tokens[i];
        fuzz_require(kd_soft_set_tags(store, names[i], t->stored_good,
                                      t->stored_tried) == KD_OK);
        t->is_sealed = false;
        fuzz_require(kd_soft_attach(store, names[i], p11_device(liar.pool, i)) ==
                     KD_OK);
    }
}

static void
seal(void)
{
    kd_token_free(store);
    store = NULL;
    for (size_t i = 0; i < liar.n_tokens; i++)
        liar.tokens[i].is_sealed = true;
}

/* --- what clients ask --- */

/* As long as devices take, or less. */
static int64_t
choose_until(void)
{
    uint8_t o = liar_octet();
    int64_t until = o < 128 ? INT64_MAX : turns_now() + (o - 128) * 8;

    kd_token_set_until(until == INT64_MAX ? 0 : until);
    return until;
}

static void
check_time(int64_t began, int64_t until)
{
    int64_t most = until < began + MOST_MS ? until : began + MOST_MS;

    fuzz_require(turns_now() <= most + SLACK_MS);
    kd_token_set_until(0);
}

static kd_err
sign(const struct kd_key_info *key, size_t n)
{
    struct kd_token_sig sig = {.n = 9};
    struct kd_slice message = kd_slice(text, n);
    kd_err err = kd_token_sign(store, &key->id, KD_SIGN_MESSAGE, message, &sig);

    fuzz_require(err == KD_OK || sig.n == 9);
    fuzz_require(err != KD_OK || (sig.n == 64 && crypto_sign_verify_detached(
                                                     sig.octets, message.p, message.n,
                                                     key->public_key) == 0));
    return err;
}

static void
try_sign(uint8_t o)
{
    int64_t began = turns_now(), until = choose_until();

    kd_ignore(sign(&keys[o % 2], o < 224 ? 100 + o : LARGE));
    check_time(began, until);
}

/* What is wrong is for a doubt to tell. */
static kd_err
agree(void)
{
    uint8_t scalar[32] = {[31] = 7}, point[33];

    fuzz_require(dime_secp_public(scalar, point) == KD_OK);
    kd_err err = kd_token_ecdh(store, &keys[2].id, kd_slice(point, sizeof point), z);
    fuzz_require(err == KD_OK || sodium_is_zero(z, KD_ECDH_SIZE));
    return err;
}

static void
try_agree(void)
{
    int64_t began = turns_now(), until = choose_until();

    memset(z, 0, KD_ECDH_SIZE);
    kd_ignore(agree());
    check_time(began, until);
}

static void
try_confirm(uint8_t o)
{
    size_t token = o % liar.n_tokens, key = o / 2 % N_KEYS;
    unsigned right = liar.tokens[token].right[key];
    int64_t began = turns_now(), until = began + o * 8;

    if (p11_confirm(liar.pool, token, &keys[key].id, until) == KD_OK)
        fuzz_require(liar.tokens[token].right[key] > right);
    check_time(began, until);
}

/* --- what operators do --- */

static bool
is_text(const char *s, size_t room)
{
    size_t n = strnlen(s, room);

    for (size_t i = 0; i < n; i++)
        if (s[i] < ' ' || s[i] > '~')
            return false;
    return n < room;
}

static void
check_status(void)
{
    struct p11_status s;

    for (size_t i = 0; i < liar.n_tokens; i++) {
        p11_status(liar.pool, i, &s);
        fuzz_require(s.state < P11_STATES && s.finding < P11_FINDINGS);
        fuzz_require(is_text(s.serial, sizeof s.serial) &&
                     is_text(s.model, sizeof s.model) &&
                     is_text(s.label, sizeof s.label) &&
                     is_text(s.manufacturer, sizeof s.manufacturer));
        fuzz_require(s.max_message <= KD_MAIL_OBJECT_MAX);
    }
}

static void
ask_doctor(uint8_t o)
{
    struct p11_finding found[FINDINGS];
    int64_t began = turns_now(), until = began + o * 16;
    size_t n = p11_doctor(liar.pool, o % liar.n_tokens, found, FINDINGS, until);

    check_time(began, until);
    fuzz_require(n <= FINDINGS);
    for (size_t i = 0; i < n; i++)
        fuzz_require(found[i].code > P11_FINE && found[i].code < P11_FINDINGS &&
                     found[i].id_size <= P11_ID_MAX &&
                     is_text(found[i].what, sizeof found[i].what));
}

/* A key that is taken is one that only its owner signs with. */
static void
make(uint8_t o)
{
    const struct kd_key_spec spec = {
        .role = o % 2 == 0 ? KD_KEY_ROLE_SOK : KD_KEY_ROLE_ENC,
        .alg = o % 2 == 0 ? KD_ALG_ED25519 : KD_ALG_SECP256K1,
        .permissions = o % 2 == 0 ? KD_PERM_MESSAGE : 0,
        .domain = kd_slice_str("example.com"),
        .tokens = {kd_slice_str(names[o / 2 % liar.n_tokens])}};
    struct kd_made *made = NULL;
    struct kd_key_info info;
    int64_t began = turns_now();
    kd_err err = kd_token_make(store, &spec, kd_slice(NULL, 0), &made);

    if (err == KD_OK)
        err = kd_token_take(store, made, &info);
    if (err == KD_OK && spec.alg == KD_ALG_ED25519)
        fuzz_require(crypto_core_ed25519_is_valid_point(info.public_key) == 1);
    if (err == KD_OK)
        fuzz_require(kd_token_set_state(store, &info.id, KD_KEY_ACTIVE) == KD_OK);
    kd_token_drop(made);
    fuzz_require(turns_now() - began <= MAKE_MOST_MS);
}

/* --- what comes from outside --- */

static void
disturb(uint8_t o)
{
    unsigned host = liar_octet() % (unsigned)(liar.n_tokens * P11_HOSTS_A_TOKEN);

    switch (o % 4) {
    case 0:
        liar_kill(host);
        break;
    case 1:
        liar_link(host);
        break;
    case 2:
        p11_no_pin(liar.pool, host, (kd_err)(o % KD_ERR_COUNT));
        break;
    default: /* none of ours */
        p11_link(liar.pool, (unsigned)(liar.n_tokens + o) * P11_HOSTS_A_TOKEN,
                 dup(p11_event_fd(liar.pool)));
        break;
    }
}

static void
go_on(uint8_t turns)
{
    for (unsigned i = 0; i <= turns; i++) {
        turns_pass(1 + turns % 32);
        liar_carry();
        turns_yield();
    }
}

static void
act(void)
{
    uint8_t what = kd_cur_u8(&liar.in) % 16, o = liar_octet();

    if (what >= 12 && what != 15) {
        go_on(o / 4);
    } else if (what == 11) {
        disturb(o);
    } else if (what == 10) {
        liar.tokens[o % liar.n_tokens].pin = (uint8_t)(1 + o / 2 % 8);
    } else if (what == 9 && store != NULL) {
        seal();
    } else if (store == NULL) {
        unseal();
    } else if (what < 4) {
        try_sign(o);
    } else if (what == 4) {
        try_agree();
    } else if (what == 5) {
        try_confirm(o);
    } else if (what == 6) {
        kd_ignore(kd_token_probe(store, &keys[o % N_KEYS].id));
    } else if (what == 7) {
        ask_doctor(o);
    } else if (what == 8) {
        make(o);
    } else {
        turns_pass(o * 64);
    }
    check_status();
}

/* --- begin and end --- */

static void
begin(void)
{
    struct p11_conf conf[LIAR_TOKENS];
    uint8_t o = liar_octet();

    liar.n_tokens = 1 + o % LIAR_TOKENS;
    for (size_t i = 0; i < liar.n_tokens; i++) {
        conf[i] = (struct p11_conf){.sessions = 1 + o / 2 % P11_SESSIONS_MAX,
                                    .timeout_ms = o < 128 ? 300 : 1200,
                                    .recycle_after = o % 16 == 7 ? 3 : 1000000,
                                    .max_memory_mib = 64,
                                    .max_message = o >= 208 ? 0 : 64 << 20};
        memcpy(conf[i].name, names[i], strlen(names[i]) + 1);
        liar.tokens[i] = (struct liar_token){.pin = 1};
    }
    turns_between = liar_carry;
    turns_begin();
    fuzz_require(p11_new(conf, liar.n_tokens, &liar.pool) == KD_OK);
    unseal();
    for (unsigned i = 0; i < liar.n_tokens; i++)
        for (unsigned k = 0; k < conf[i].sessions; k++)
            liar_link(i * P11_HOSTS_A_TOKEN + k);
}

/* A host that refused long messages when it was tried is taken at its word. */
static bool
is_back(const struct kd_key_info *key)
{
    enum { SIZE = 100 };
    size_t most = kd_token_key_limit(store, &key->id);
    kd_err err = sign(key, SIZE);

    return err == KD_OK || (most != 0 && most < SIZE && err == KD_TOO_LARGE);
}

static bool
are_back(void)
{
    struct p11_status s;

    for (size_t i = 0; i < liar.n_tokens; i++) {
        p11_status(liar.pool, i, &s);
        if (s.state != P11_CLOSED)
            return false;
    }
    return is_back(&keys[0]) && is_back(&keys[1]) && agree() == KD_OK;
}

/* Honest processes, and a PIN that nobody has tried: all of it works again. */
static void
come_back(void)
{
    int64_t until = turns_now() + BACK_MS;

    liar.is_honest = true;
    for (unsigned i = 0; i < liar.n_tokens; i++)
        liar.tokens[i].pin = LAST_PIN;
    for (unsigned i = 0; i < liar.n_tokens * P11_HOSTS_A_TOKEN; i++)
        liar_kill(i);
    unseal();
    while (!are_back()) {
        fuzz_require(turns_now() < until);
        go_on(10);
    }
}

static bool
is_idle(struct p11_token *t)
{
    bool idle = t->work == NULL;

    for (size_t i = 0; i < P11_HOSTS_A_TOKEN; i++)
        idle = idle && t->hosts[i].state != HOST_BUSY;
    return idle;
}

static void
free_token(struct p11_token *t)
{
    for (size_t i = 0; i < P11_HOSTS_A_TOKEN; i++) {
        struct host *h = &t->hosts[i];
        if (h->fd >= 0)
            close(h->fd);
        if (h->next_fd >= 0)
            close(h->next_fd);
        kd_secret_free(h->secret, SECRET_ANSWER_MAX);
    }
    free(t->keys);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
}

static void
end(void)
{
    int64_t until = turns_now() + MAKE_MOST_MS;

    seal();
    for (size_t i = 0; i < liar.n_tokens; i++)
        while (!is_idle(&liar.pool->tokens[i])) {
            fuzz_require(turns_now() < until);
            go_on(10);
        }
    turns_end();
    for (size_t i = 0; i < liar.n_tokens; i++)
        free_token(&liar.pool->tokens[i]);
    close(liar.pool->event_fd);
    free(liar.pool);
    liar_end();
}

static unsigned
fds_open(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < LIAR_FDS; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready)
        set_up();
    ready = true;
    unsigned n = fds_open();
    liar.in = kd_cur(kd_slice(data, size));
    liar.is_honest = liar.is_loose = false;
    chance = 0;
    liar.n_keys = N_KEYS;
    begin();
    for (unsigned i = 0; i < ACTIONS_MAX && kd_cur_left(&liar.in) != 0; i++)
        act();
    come_back();
    end();
    fuzz_require(fds_open() == n);
    return 0;
}
