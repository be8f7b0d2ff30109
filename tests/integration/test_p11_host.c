/* keyd-p11 on a real token of SoftHSM: what it tells, binds, signs, derives, makes, and
 * what it refuses. The test is its supervisor and its vault. */
#include "p11_host.h"
#include "test.h"

#include <dime/secp.h>
#include <keyd/base/clock.h>
#include <keyd/base/memfd.h>
#include <keyd/base/sandbox.h>
#include <keyd/p11/marks.h>
#include <keyd/p11/p11.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <secp256k1.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { P11_UID = 61011, ROOM = KD_CHAN_BODY_MAX };

static char top[] = "/tmp/keyd-p11-host-XXXXXX";
static struct softhsm hsm;
static uint8_t body[ROOM];
static size_t n_body;

/* Keys that the maker made first, for all tests. */
static struct made {
    uint8_t id[16], public_key[1024];
    size_t n;
    uint8_t algorithm;
} ed, k1, rsa, taken_ed, taken_k1;
static const uint8_t seed[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

/* --- asking --- */

static struct kd_buf
buf(void)
{
    struct kd_buf b;

    kd_buf_init(&b, ROOM);
    return b;
}

#define ASK(h, name, m, answer)                                                        \
    do {                                                                               \
        struct kd_buf b_ = buf();                                                      \
        kd_##name##_put(&b_, (m));                                                     \
        assert_int_equal(p11_host_ask((h), KD_MSG_##name, &b_, body, &n_body),         \
                         KD_MSG_##answer);                                             \
        kd_buf_free(&b_);                                                              \
    } while (0)

static struct kd_slice
got(void)
{
    return kd_slice(body, n_body);
}

static struct kd_p11_here
here(struct p11_host *h)
{
    struct kd_p11_here m;

    assert_int_equal(p11_host_recv(h, body, &n_body), KD_MSG_p11_here);
    assert_int_equal(kd_p11_here_get(got(), &m), KD_OK);
    return m;
}

static enum p11_finding_code
login(struct p11_host *h, const char *pin, uint8_t go)
{
    struct kd_p11_pin ask = {.latch = {42}};
    struct kd_p11_tag tag;
    struct kd_p11_login let = {go};
    struct kd_p11_logged m;

    assert_true(p11_host_pin(h, pin));
    ASK(h, p11_pin, &ask, p11_tag);
    assert_int_equal(kd_p11_tag_get(got(), &tag), KD_OK);
    if (tag.finding != P11_FINE)
        return (enum p11_finding_code)tag.finding;
    ASK(h, p11_login, &let, p11_logged);
    assert_int_equal(kd_p11_logged_get(got(), &m), KD_OK);
    return (enum p11_finding_code)m.finding;
}

static void
start(struct p11_host *h, unsigned number)
{
    struct kd_conf_for_p11 c;

    p11_host_conf(&hsm, number, &c);
    p11_host_start(h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(h).finding, P11_FINE);
    assert_int_equal(login(h, SOFTHSM_PIN, 1), P11_FINE);
}

static struct kd_p11_bound
bind_as(struct p11_host *h, uint8_t key, const struct made *k, bool by_id)
{
    struct kd_p11_bind m = {.key = key,
                            .algorithm = k->algorithm,
                            .derives = k->algorithm == KD_ALG_SECP256K1,
                            .id = by_id ? kd_slice(k->id, 16) : kd_slice(NULL, 0),
                            .public_key = kd_slice(k->public_key, k->n)};
    struct kd_p11_bound out;

    ASK(h, p11_bind, &m, p11_bound);
    assert_int_equal(kd_p11_bound_get(got(), &out), KD_OK);
    assert_int_equal(out.key, key);
    return out;
}

static struct kd_p11_signed
sign(struct p11_host *h, uint8_t key, struct kd_slice message)
{
    struct kd_p11_sign m = {
        .tag = 77, .key = key, .size = (uint32_t)message.n, .message = message};
    struct kd_p11_signed out;

    ASK(h, p11_sign, &m, p11_signed);
    assert_int_equal(kd_p11_signed_get(got(), &out), KD_OK);
    assert_int_equal(out.tag, 77);
    return out;
}

static struct kd_p11_made
make_pair(struct p11_host *h, struct made *k, uint8_t algorithm, uint8_t id,
          struct kd_slice secret)
{
    struct kd_p11_make m = {.algorithm = algorithm,
                            .derives = algorithm == KD_ALG_SECP256K1,
                            .label = kd_slice("keyd test", 9),
                            .bits = algorithm == KD_ALG_RSA ? 2048 : 0,
                            .secret = secret};
    struct kd_p11_made out;

    memset(m.id, id, sizeof m.id);
    ASK(h, p11_make, &m, p11_made);
    assert_int_equal(kd_p11_made_get(got(), &out), KD_OK);
    memcpy(k->id, m.id, sizeof m.id);
    k->algorithm = algorithm;
    k->n = out.public_key.n;
    memcpy(k->public_key, out.public_key.p, out.public_key.n);
    return out;
}

static void
check_ed(const struct made *k, struct kd_slice message, struct kd_slice sig)
{
    assert_int_equal(sig.n, 64);
    assert_int_equal(
        crypto_sign_verify_detached(sig.p, message.p, message.n, k->public_key), 0);
}

/* --- set up --- */

static int
begin(void **state)
{
    struct p11_host h;

    (void)state;
    if (softhsm_module() == NULL) {
        print_message("skipped: softhsm2 is missing\n");
        exit(77);
    }
    assert_true(sodium_init() >= 0);
    assert_non_null(mkdtemp(top));
    assert_int_equal(chmod(top, 0711), 0);
    assert_true(softhsm_make(&hsm, top, "alpha", P11_UID));
    start(&h, P11_MAKER);
    struct kd_p11_made m = make_pair(&h, &ed, KD_ALG_ED25519, 1, kd_slice(NULL, 0));
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(ed.n, 32);
    const uint32_t inside =
        P11_SENSITIVE | P11_ALWAYS_SENSITIVE | P11_NEVER_EXTRACTABLE | P11_LOCAL;
    assert_int_equal(m.attributes & inside, inside);
    assert_int_equal(m.attributes & (P11_EXTRACTABLE | P11_MODIFIABLE), 0);
    m = make_pair(&h, &k1, KD_ALG_SECP256K1, 2, kd_slice(NULL, 0));
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(k1.n, 33);
    m = make_pair(&h, &rsa, KD_ALG_RSA, 3, kd_slice(NULL, 0));
    assert_int_equal(m.finding, P11_FINE);
    m = make_pair(&h, &taken_ed, KD_ALG_ED25519, 4, kd_slice(seed, 32));
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(m.attributes & P11_LOCAL, 0);
    m = make_pair(&h, &taken_k1, KD_ALG_SECP256K1, 5, kd_slice(seed, 32));
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(p11_host_end(&h), 0);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    assert_true(softhsm_script("rm -rf $1", top, ""));
    return 0;
}

/* --- tests --- */

static void
it_tells_which_token_is_there_and_what_it_can_do(void **state)
{
    const uint32_t all = P11_CAN_SIGN_ED25519 | P11_CAN_MAKE_ED25519 | P11_CAN_DERIVE |
                         P11_CAN_MAKE_EC | P11_CAN_SIGN_RSA | P11_CAN_MAKE_RSA;
    struct kd_conf_for_p11 c;
    struct p11_host h;

    (void)state;
    p11_host_conf(&hsm, 0, &c);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    struct kd_p11_here m = here(&h);
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(m.n_match, 1);
    assert_true(kd_slice_eq(m.label, kd_slice("alpha", 5)));
    assert_int_equal(m.serial.n, 16);
    assert_true(kd_slice_eq(m.model, kd_slice("SoftHSM v2", 10)));
    assert_int_equal(m.mechanisms, all);
    assert_in_range(m.kib, 1000, 100000);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
signatures_of_made_and_taken_keys_hold(void **state)
{
    static const char text[] = "what is signed";
    struct kd_slice message = kd_slice(text, sizeof text);
    uint8_t pub[32], sec[64], sig[64];
    struct p11_host h;

    (void)state;
    start(&h, 0);
    assert_int_equal(bind_as(&h, 0, &ed, true).finding, P11_FINE);
    assert_int_equal(bind_as(&h, 9, &taken_ed, true).finding, P11_FINE);
    struct kd_p11_signed s = sign(&h, 0, message);
    assert_int_equal(s.rv, 0);
    check_ed(&ed, message, s.signature);
    /* deterministic: the same as without a token */
    crypto_sign_seed_keypair(pub, sec, seed);
    assert_memory_equal(pub, taken_ed.public_key, 32);
    crypto_sign_detached(sig, NULL, message.p, message.n, sec);
    s = sign(&h, 9, message);
    assert_memory_equal(s.signature.p, sig, 64);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
a_large_message_comes_as_a_sealed_file(void **state)
{
    enum { LARGE = 8 * 1024 * 1024 };
    uint8_t *large = calloc(1, LARGE);
    struct kd_p11_sign m = {.tag = 5, .key = 0, .size = LARGE};
    struct kd_p11_signed out;
    struct kd_buf b = buf();
    struct p11_host h;
    int fd;

    (void)state;
    assert_non_null(large);
    start(&h, 0);
    assert_int_equal(bind_as(&h, 0, &ed, true).finding, P11_FINE);
    assert_int_equal(kd_memfd_seal(kd_slice(large, LARGE), &fd), KD_OK);
    kd_p11_sign_put(&b, &m);
    assert_int_equal(kd_chan_put_buf(&h.chan, KD_MSG_p11_sign, &b, fd), KD_OK);
    assert_int_equal(kd_chan_flush(&h.chan), KD_OK);
    assert_int_equal(p11_host_recv(&h, body, &n_body), KD_MSG_p11_signed);
    assert_int_equal(kd_p11_signed_get(got(), &out), KD_OK);
    check_ed(&ed, kd_slice(large, LARGE), out.signature);
    kd_buf_free(&b);
    free(large);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
widen(const uint8_t point[33], uint8_t out[65])
{
    secp256k1_pubkey key;
    size_t n = 65;

    assert_int_equal(
        secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, point, 33), 1);
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, out, &n, &key,
                                  SECP256K1_EC_UNCOMPRESSED);
}

static void
it_agrees_as_the_library_does(void **state)
{
    uint8_t secret[32], pub[33], z[32], own[32], x[33];
    struct kd_p11_derived out;
    struct kd_p11_derive m = {.tag = 9, .key = 1};
    struct p11_host h;

    (void)state;
    start(&h, 0);
    assert_int_equal(bind_as(&h, 1, &taken_k1, true).finding, P11_FINE);
    assert_int_equal(dime_secp_public(seed, x), KD_OK);
    assert_memory_equal(x, taken_k1.public_key, 33);
    for (unsigned i = 0; i < 64; i++) {
        randombytes_buf(secret, sizeof secret);
        if (dime_secp_public(secret, pub) != KD_OK)
            continue;
        widen(pub, m.point);
        ASK(&h, p11_derive, &m, p11_derived);
        assert_int_equal(kd_p11_derived_get(got(), &out), KD_OK);
        assert_int_equal(out.rv, 0);
        assert_int_equal(out.z.n, 32);
        memcpy(z, out.z.p, 32);
        assert_int_equal(dime_secp_ecdh(seed, pub, own), KD_OK);
        assert_memory_equal(z, own, 32);
    }
    assert_int_equal(p11_host_end(&h), 0);
}

static void
rsa_signatures_hold(void **state)
{
    uint8_t hash[32];
    const uint8_t *der = rsa.public_key;
    struct p11_host h;

    (void)state;
    crypto_hash_sha256(hash, (const uint8_t *)"mail", 4);
    start(&h, 0);
    assert_int_equal(bind_as(&h, 2, &rsa, true).finding, P11_FINE);
    struct kd_p11_signed s = sign(&h, 2, kd_slice(hash, 32));
    assert_int_equal(s.rv, 0);
    EVP_PKEY *key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, (long)rsa.n);
    assert_non_null(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestVerify(ctx, s.signature.p, s.signature.n, (const uint8_t *)"mail", 4),
        1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
a_key_is_found_by_its_public_key_alone(void **state)
{
    struct p11_host h;

    (void)state;
    start(&h, 0);
    struct kd_p11_bound m = bind_as(&h, 0, &ed, false);
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(m.id.n, 16);
    assert_memory_equal(m.id.p, ed.id, 16);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
other_keys_and_missing_ones_are_not_bound(void **state)
{
    struct made other = ed, missing = ed;
    struct p11_host h;

    (void)state;
    start(&h, 0);
    other.public_key[0] ^= 1;
    assert_int_equal(bind_as(&h, 0, &other, true).finding, P11_OTHER_KEY);
    memset(missing.id, 200, sizeof missing.id);
    assert_int_equal(bind_as(&h, 0, &missing, true).finding, P11_KEY_MISSING);
    other = k1;
    memcpy(other.id, ed.id, sizeof ed.id);
    assert_int_equal(bind_as(&h, 0, &other, true).finding, P11_OTHER_KEY);
    /* and nothing is signed with what was not bound */
    struct kd_p11_signed s = sign(&h, 0, kd_slice("x", 1));
    assert_int_not_equal(s.rv, 0);
    assert_int_equal(s.signature.n, 0);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
what_was_made_is_listed_and_can_be_removed(void **state)
{
    struct kd_p11_list from = {0};
    struct kd_p11_listed list;
    struct made k;
    struct p11_host h;

    (void)state;
    start(&h, P11_MAKER);
    assert_int_equal(make_pair(&h, &k, KD_ALG_ED25519, 60, kd_slice(NULL, 0)).finding,
                     P11_FINE);
    unsigned n = 0, ours = 0;
    do {
        ASK(&h, p11_list, &from, p11_listed);
        assert_int_equal(kd_p11_listed_get(got(), &list), KD_OK);
        assert_int_equal(list.finding, P11_FINE);
        struct kd_cur c = kd_cur(list.objects);
        while (kd_cur_left(&c) != 0) {
            struct kd_p11_object o;
            assert_int_equal(kd_p11_object_get(kd_list_next(&c), &o), KD_OK);
            n++;
            ours += o.id.n == 16 && memcmp(o.id.p, k.id, 16) == 0;
        }
        from.from = list.next;
    } while (list.next != 0);
    assert_int_equal(n, 12);
    assert_int_equal(ours, 2);
    struct kd_p11_unmake away = {kd_slice(k.id, 16), kd_slice(ed.public_key, 32)};
    struct kd_p11_unmade m;
    ASK(&h, p11_unmake, &away, p11_unmade);
    assert_int_equal(kd_p11_unmade_get(got(), &m), KD_OK);
    assert_int_equal(m.finding, P11_OTHER_KEY);
    away.public_key = kd_slice(k.public_key, k.n);
    ASK(&h, p11_unmake, &away, p11_unmade);
    assert_int_equal(kd_p11_unmade_get(got(), &m), KD_OK);
    assert_int_equal(m.finding, P11_FINE);
    assert_int_equal(bind_as(&h, 0, &k, true).finding, P11_KEY_MISSING);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
an_id_is_never_given_twice(void **state)
{
    struct made k;
    struct p11_host h;

    (void)state;
    start(&h, P11_MAKER);
    assert_int_equal(make_pair(&h, &k, KD_ALG_ED25519, 1, kd_slice(NULL, 0)).finding,
                     P11_KEY_TWICE);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
a_wrong_pin_is_tried_once_and_told(void **state)
{
    struct kd_conf_for_p11 c;
    struct p11_host h;

    (void)state;
    p11_host_conf(&hsm, 0, &c);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(&h).finding, P11_FINE);
    assert_int_equal(login(&h, "9999", 1), P11_PIN_REFUSED);
    assert_int_equal(p11_host_end(&h), 0);
    start(&h, 0); /* and the right one is taken again */
    assert_int_equal(p11_host_end(&h), 0);
}

static void
an_empty_or_huge_pin_is_none(void **state)
{
    char huge[400];
    struct kd_conf_for_p11 c;
    struct p11_host h;

    (void)state;
    memset(huge, '1', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    p11_host_conf(&hsm, 0, &c);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(&h).finding, P11_FINE);
    assert_int_equal(login(&h, "", 1), P11_PIN_MISSING);
    assert_int_equal(login(&h, "\n", 1), P11_PIN_MISSING);
    assert_int_equal(login(&h, huge, 1), P11_PIN_MISSING);
    assert_int_equal(login(&h, SOFTHSM_PIN "\n", 1), P11_FINE);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
the_tag_of_a_pin_tells_it_from_others(void **state)
{
    struct kd_p11_pin ask = {.latch = {1}};
    struct kd_p11_login no = {0};
    struct kd_p11_tag m;
    struct kd_conf_for_p11 c;
    uint8_t tags[3][16];
    static const char *const pins[] = {"1234", "1235", "1234"};
    struct kd_buf b = buf();
    struct p11_host h;

    (void)state;
    p11_host_conf(&hsm, 0, &c);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(&h).finding, P11_FINE);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(p11_host_pin(&h, pins[i]));
        ASK(&h, p11_pin, &ask, p11_tag);
        assert_int_equal(kd_p11_tag_get(got(), &m), KD_OK);
        assert_int_equal(m.finding, P11_FINE);
        memcpy(tags[i], m.tag, 16);
        kd_p11_login_put(&b, &no);
        assert_int_equal(kd_chan_put_buf(&h.chan, KD_MSG_p11_login, &b, -1), KD_OK);
        assert_int_equal(kd_chan_flush(&h.chan), KD_OK);
        kd_buf_reset(&b);
    }
    assert_memory_equal(tags[0], tags[2], 16);
    assert_memory_not_equal(tags[0], tags[1], 16);
    kd_buf_free(&b);
    assert_int_equal(p11_host_end(&h), 0);
}

/* --- what cannot be used --- */

static void
expect_here(const struct kd_conf_for_p11 *c, const char *environment,
            enum p11_finding_code code, const char *what)
{
    char text[P11_WHAT_MAX + 1];
    struct p11_host h;

    p11_host_start(&h, c, environment, P11_UID);
    struct kd_p11_here m = here(&h);
    snprintf(text, sizeof text, "%.*s", (int)m.what.n, (const char *)m.what.p);
    print_message("    %s: %s %s\n", p11_finding_word((enum p11_finding_code)m.finding),
                  p11_finding_text((enum p11_finding_code)m.finding), text);
    assert_string_equal(p11_finding_word((enum p11_finding_code)m.finding),
                        p11_finding_word(code));
    assert_non_null(strstr(text, what));
    /* it stays, and does nothing */
    assert_int_equal(waitpid(h.pid, NULL, WNOHANG), 0);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
files_that_are_no_module_are_named(void **state)
{
    static const char *const script =
        "m=$1/m; mkdir -p $m; echo text >$m/text.so\n"
        "cp $2 $m/other.so; printf '\\267' | dd of=$m/other.so bs=1 seek=18 "
        "conv=notrunc status=none\n"
        "cp $(readlink -f /usr/lib/x86_64-linux-gnu/libz.so.1 || "
        "readlink -f /usr/lib/*/libz.so.1) $m/libz.so\n"
        "cp $2 $m/open.so; chmod 666 $m/open.so\n"
        "head -c 100000 $2 >$m/cut.so";
    static const struct {
        const char *file;
        enum p11_finding_code code;
    } rows[] = {
        {"none.so", P11_MODULE_MISSING},        {"text.so", P11_MODULE_NOT_ELF},
        {"other.so", P11_MODULE_OTHER_MACHINE}, {"libz.so", P11_MODULE_NOT_PKCS11},
        {"open.so", P11_MODULE_WRITABLE},       {"cut.so", P11_MODULE_CUT}};
    struct kd_conf_for_p11 c;

    (void)state;
    assert_true(softhsm_script(script, top, softhsm_module()));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        p11_host_conf(&hsm, 0, &c);
        snprintf(c.module, sizeof c.module, "%s/m/%s", top, rows[i].file);
        expect_here(&c, hsm.environment, rows[i].code, "");
    }
}

/* Nor is what the host's own user could change: what runs there would be his choice. */
static void
a_module_of_the_hosts_own_user_is_not_loaded(void **state)
{
    static const char *const script = "m=$1/own; mkdir -p $m/theirs; cp $2 $m/file.so\n"
                                      "cp $2 $m/theirs/good.so\n"
                                      "chown 61011 $m/file.so $m/theirs";
    static const char *const files[] = {"file.so", "theirs/good.so"};
    struct kd_conf_for_p11 c;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_true(softhsm_script(script, top, softhsm_module()));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        p11_host_conf(&hsm, 0, &c);
        snprintf(c.module, sizeof c.module, "%s/own/%s", top, files[i]);
        expect_here(&c, hsm.environment, P11_MODULE_WRITABLE, "own");
    }
}

/* Where the link leads is let in too, or it could not be loaded from there. */
static void
a_module_behind_a_link_is_loaded_from_its_own_folder(void **state)
{
    static const char *const script =
        "mkdir -p $1/links $1/real && cp $2 $1/real/module.so && "
        "ln -sf ../real/module.so $1/links/module.so";
    struct kd_conf_for_p11 c;
    char maps[64], line[512];
    bool is_real = false;
    struct p11_host h;

    (void)state;
    assert_true(softhsm_script(script, top, softhsm_module()));
    p11_host_conf(&hsm, 0, &c);
    snprintf(c.module, sizeof c.module, "%s/links/module.so", top);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(&h).finding, P11_FINE);
    snprintf(maps, sizeof maps, "/proc/%d/maps", (int)h.pid);
    FILE *f = fopen(maps, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        is_real = is_real || strstr(line, "/real/module.so") != NULL;
    fclose(f);
    assert_true(is_real);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
tokens_that_are_not_there_or_twice_are_named(void **state)
{
    struct kd_conf_for_p11 c;

    (void)state;
    p11_host_conf(&hsm, 0, &c);
    snprintf(c.match.label, sizeof c.match.label, "beta");
    expect_here(&c, hsm.environment, P11_NO_SUCH_TOKEN, "1 tokens there: \"alpha\"");
    assert_true(softhsm_add(&hsm, "twin", P11_UID));
    assert_true(softhsm_add(&hsm, "twin", P11_UID));
    snprintf(c.match.label, sizeof c.match.label, "twin");
    expect_here(&c, hsm.environment, P11_TWO_TOKENS_MATCH, "2 tokens");
}

static void
files_that_the_module_needs_and_cannot_read_are_named(void **state)
{
    struct softhsm other;
    struct kd_conf_for_p11 c;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_true(softhsm_make(&other, top, "gamma", P11_UID));
    p11_host_conf(&other, 0, &c);
    assert_int_equal(chmod(other.conf, 0600), 0);
    expect_here(&c, other.environment, P11_PATH_UNREADABLE, "gamma/conf");
    assert_int_equal(chmod(other.conf, 0644), 0);
    assert_true(softhsm_script("chown -R 0:0 $1/tokens/*; chmod 700 $1/tokens/*",
                               other.paths, ""));
    expect_here(&c, other.environment, P11_PATH_UNREADABLE, "gamma/paths/tokens");
    assert_true(softhsm_script("rm -r $1/tokens", other.paths, ""));
    expect_here(&c, other.environment, P11_INITIALIZE_FAILED, "");
}

/* --- a vault that is not itself --- */

static void
expect_end(const char *what, uint16_t type, const void *octets, size_t n, bool logged,
           bool fd)
{
    struct kd_conf_for_p11 c;
    struct p11_host h;

    p11_host_conf(&hsm, 0, &c);
    p11_host_start(&h, &c, hsm.environment, P11_UID);
    assert_int_equal(here(&h).finding, P11_FINE);
    if (logged)
        assert_int_equal(login(&h, SOFTHSM_PIN, 1), P11_FINE);
    assert_int_equal(kd_chan_put(&h.chan, type, kd_slice(octets, n), fd ? dup(0) : -1),
                     KD_OK);
    assert_int_equal(kd_chan_flush(&h.chan), KD_OK);
    assert_int_equal(p11_host_recv(&h, body, &n_body), 0);
    int status = p11_host_end(&h);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        fail_msg("%s: status %x", what, (unsigned)status);
}

static void
a_vault_that_is_not_itself_ends_it(void **state)
{
    static const uint8_t zeros[200];
    struct kd_p11_make make = {.algorithm = KD_ALG_ED25519, .label = kd_slice("x", 1)};
    struct kd_p11_sign sign_fd = {.tag = 1, .size = 10};
    struct kd_buf b = buf(), s = buf();

    (void)state;
    expect_end("unknown type", 9999, NULL, 0, false, false);
    expect_end("sign before login", KD_MSG_p11_sign, zeros, 20, false, false);
    expect_end("login before a tag", KD_MSG_p11_login, "\1", 1, false, false);
    expect_end("short pin", KD_MSG_p11_pin, zeros, 31, false, false);
    expect_end("pin after login", KD_MSG_p11_pin, zeros, 32, true, false);
    expect_end("short derive", KD_MSG_p11_derive, zeros, 20, true, false);
    expect_end("bind with a descriptor", KD_MSG_p11_list, zeros, 4, true, true);
    kd_p11_make_put(&b, &make);
    expect_end("make of one that serves", KD_MSG_p11_make, b.p, b.n, true, false);
    kd_p11_sign_put(&s, &sign_fd);
    expect_end("a file that is not sealed", KD_MSG_p11_sign, s.p, s.n, true, true);
    expect_end("a size that is not the message's", KD_MSG_p11_sign, s.p, s.n, true,
               false);
    kd_buf_free(&b);
    kd_buf_free(&s);
}

/* --- the token's files --- */

static void
hosts_that_are_killed_leave_the_token_as_it_was(void **state)
{
    enum { KILLS = 100 };
    char before[65], after[65];
    struct kd_conf_for_p11 c;
    struct p11_host h;
    unsigned early = 0;

    (void)state;
    if (!kd_sandbox_is_real())
        skip();
    assert_true(softhsm_digest(&hsm, before));
    p11_host_conf(&hsm, 0, &c);
    for (unsigned i = 0; i < KILLS; i++) {
        struct kd_p11_pin ask = {.latch = {1}};
        struct kd_p11_login go = {1};
        struct kd_buf b = buf();
        p11_host_start(&h, &c, hsm.environment, P11_UID);
        assert_true(p11_host_pin(&h, SOFTHSM_PIN));
        kd_p11_pin_put(&b, &ask);
        assert_int_equal(kd_chan_put_buf(&h.chan, KD_MSG_p11_pin, &b, -1), KD_OK);
        kd_buf_reset(&b);
        kd_p11_login_put(&b, &go);
        assert_int_equal(kd_chan_put_buf(&h.chan, KD_MSG_p11_login, &b, -1), KD_OK);
        assert_int_equal(kd_chan_flush(&h.chan), KD_OK);
        usleep(randombytes_uniform(6000));
        p11_host_kill(&h);
        kd_buf_free(&b);
        assert_true(softhsm_digest(&hsm, after));
        early += strcmp(before, after) != 0;
    }
    assert_int_equal(early, 0);
    start(&h, 0);
    assert_int_equal(bind_as(&h, 0, &ed, true).finding, P11_FINE);
    assert_int_equal(p11_host_end(&h), 0);
}

static void
a_host_starts_in_milliseconds(void **state)
{
    int64_t best = INT64_MAX;
    struct p11_host h;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        int64_t from = (int64_t)kd_clock_ns();
        start(&h, 0);
        assert_int_equal(bind_as(&h, 0, &ed, true).finding, P11_FINE);
        int64_t took = (int64_t)kd_clock_ns() - from;
        best = took < best ? took : best;
        assert_int_equal(p11_host_end(&h), 0);
    }
    print_message("    exec to a bound key: %.1f ms (best of 10)\n",
                  (double)best / 1e6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_tells_which_token_is_there_and_what_it_can_do),
        cmocka_unit_test(signatures_of_made_and_taken_keys_hold),
        cmocka_unit_test(a_large_message_comes_as_a_sealed_file),
        cmocka_unit_test(it_agrees_as_the_library_does),
        cmocka_unit_test(rsa_signatures_hold),
        cmocka_unit_test(a_key_is_found_by_its_public_key_alone),
        cmocka_unit_test(other_keys_and_missing_ones_are_not_bound),
        cmocka_unit_test(what_was_made_is_listed_and_can_be_removed),
        cmocka_unit_test(an_id_is_never_given_twice),
        cmocka_unit_test(a_wrong_pin_is_tried_once_and_told),
        cmocka_unit_test(an_empty_or_huge_pin_is_none),
        cmocka_unit_test(the_tag_of_a_pin_tells_it_from_others),
        cmocka_unit_test(files_that_are_no_module_are_named),
        cmocka_unit_test(a_module_of_the_hosts_own_user_is_not_loaded),
        cmocka_unit_test(a_module_behind_a_link_is_loaded_from_its_own_folder),
        cmocka_unit_test(tokens_that_are_not_there_or_twice_are_named),
        cmocka_unit_test(files_that_the_module_needs_and_cannot_read_are_named),
        cmocka_unit_test(a_vault_that_is_not_itself_ends_it),
        cmocka_unit_test(hosts_that_are_killed_leave_the_token_as_it_was),
        cmocka_unit_test(a_host_starts_in_milliseconds),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
