#include "mailw.h"

#include <dime/fingerprint.h>
#include <keyd/base/memfd.h>
#include <keyd/base/secret.h>
#include <keyd/token/soft_store.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { REGION = 1 << 16 };

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "test support: %s\n", what);
        abort();
    }
}

/* --- keys --- */

static struct kd_key_id
import(struct kd_token *t, enum kd_key_role role, uint8_t permissions,
       const char *domain, const uint8_t secret[32])
{
    const struct kd_key_spec spec = {.role = role,
                                     .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1
                                                                    : KD_ALG_ED25519,
                                     .permissions = permissions,
                                     .domain = kd_slice_str(domain)};
    uint8_t *copy = kd_secret_new(32);
    struct kd_key_info key;

    must(copy != NULL, "secret memory");
    memcpy(copy, secret, 32);
    must(kd_token_import(t, &spec, kd_slice(copy, 32), &key) == KD_OK, domain);
    must(kd_token_set_state(t, &key.id, KD_KEY_ACTIVE) == KD_OK, domain);
    kd_secret_free(copy, 32);
    return key.id;
}

static struct kd_key_id
import_enc(struct kd_token *t, const char *domain, const char *text, uint8_t point[33])
{
    uint8_t scalar[32];

    crypto_hash_sha256(scalar, (const uint8_t *)text, strlen(text));
    sg_enc_text(text, point);
    return import(t, KD_KEY_ROLE_ENC, 0, domain, scalar);
}

static void
make_token(struct mailw *x)
{
    static const struct kd_slot_secret credential = {
        .type = KD_SLOT_CREDENTIAL,
        .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32}};
    const struct sg_world *world = sg_world();

    must(kd_soft_create(&credential, &x->token) == KD_OK, "token");
    x->origin_enc =
        import_enc(x->token, "example.com", "keyd-test origin enc", x->ours[0]);
    x->destination_enc =
        import_enc(x->token, "example.org", "keyd-test destination enc", x->ours[1]);
    x->former_enc =
        import_enc(x->token, "example.com", "keyd-test former enc", x->ours[2]);
    x->sok = import(x->token, KD_KEY_ROLE_SOK, KD_PERM_SIGNET | KD_PERM_MESSAGE,
                    "example.com", world->sok.seed);
    x->other_pok = import(x->token, KD_KEY_ROLE_POK, KD_PERM_MESSAGE, "example.org",
                          world->other_pok.seed);
}

/* --- signets --- */

static void
load_org(const char *file, struct mailw_org *out)
{
    enum dime_reason why;

    out->octets = sg_file(file);
    must(dime_signet_parse(out->octets, &out->signet, &why) == KD_OK, file);
    must(dime_fingerprint(&out->signet, DIME_PART_CORE, out->core) == KD_OK, file);
    must(dime_fingerprint(&out->signet, DIME_PART_FULL, out->full) == KD_OK, file);
}

static void
load_author(const char *file, struct mail_author *out)
{
    struct kd_slice octets = sg_file(file);
    struct dime_signet signet;
    enum dime_reason why;

    must(dime_signet_parse(octets, &signet, &why) == KD_OK, file);
    must(mail_author_of(&signet, out) == KD_OK, file);
    sg_free(octets);
}

/* --- all of it --- */

static void
say_who_we_are(struct mailw *x)
{
    const struct mail_keys both = {
        .token = x->token, .ours = (const uint8_t(*)[33])x->ours, .n_ours = 3};

    x->origin = x->destination = both;
    x->origin.opener = x->origin_enc;
    x->origin.signer = x->sok;
    x->destination.opener = x->destination_enc;
    x->destination.signer = x->other_pok;
}

static void
say_what_is_right(struct mailw *x)
{
    x->outbound = (struct mail_outbound){.account = kd_slice_str("alice@example.com"),
                                         .destination = kd_slice_str("example.org"),
                                         .authors = &x->alice,
                                         .n_authors = 1,
                                         .max = MAILW_MAX};
    x->inbound = (struct mail_inbound){.origin = kd_slice_str("example.com"),
                                       .signet = &x->org.signet,
                                       .origin_core = x->org.core,
                                       .origin_full = x->org.full,
                                       .max = MAILW_MAX};
    x->bounced = (struct mail_bounced){.from = {.origin = kd_slice_str("example.org"),
                                                .signet = &x->other_org.signet,
                                                .origin_core = x->other_org.core,
                                                .origin_full = x->other_org.full,
                                                .max = MAILW_MAX},
                                       .openers = &x->origin_enc,
                                       .n_openers = 1,
                                       .signers = &sg_world()->sok.key,
                                       .n_signers = 1};
    x->to_bounce = (struct mail_to_bounce){.from = x->inbound,
                                           .domain = kd_slice_str("example.org"),
                                           .part = DIME_RETURN_METADATA,
                                           .klass = 5,
                                           .subject = 1,
                                           .detail = 1,
                                           .time = 1704067200};
}

struct mailw *
mailw(size_t room)
{
    static struct mailw x;

    if (x.token != NULL)
        return &x;
    must(sodium_init() >= 0, "libsodium");
    must(kd_secret_setup(REGION + room) == KD_OK, "secret memory");
    make_token(&x);
    load_org("appendix/ORG2.b64", &x.org);
    load_org("appendix/DEST.b64", &x.other_org);
    load_author("appendix/USER0.b64", &x.alice0);
    load_author("appendix/USER1.b64", &x.alice);
    say_who_we_are(&x);
    say_what_is_right(&x);
    return &x;
}

/* --- messages --- */

struct kd_slice
mailw_msg(void)
{
    static struct kd_slice msg;

    if (msg.p == NULL)
        msg = sg_file("appendix/MSG.b64");
    return msg;
}

/* The chunk and its key, as its origin has it. */
static struct dime_chunk
find(struct kd_slice message, uint8_t type, struct dime_chunk_key *key)
{
    const struct dime_source source = dime_source_of(message);
    uint8_t scalar[32];
    struct dime_message m;
    struct dime_kek kek;

    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    must(dime_message_parse(&source, UINT32_MAX, &m, NULL) == KD_OK, "message");
    must(dime_kek_agree(scalar, m.ephemeral, &kek) == KD_OK, "KEK");
    const struct dime_chunk *c = dime_message_chunk(&m, type);
    must(c != NULL, "chunk");
    must(dime_chunk_key_of(&m, c, DIME_ORIGIN, &kek, key) == KD_OK, "slot");
    return *c;
}

void
mailw_signature(struct kd_slice message, uint8_t type, uint8_t sig[64])
{
    const struct dime_message m = {.source = dime_source_of(message)};
    struct dime_chunk_key key;
    struct dime_chunk c = find(message, type, &key);

    must(dime_signature_open(&m, &c, &key, sig) == KD_OK, "signature");
}

void
mailw_put_signature(uint8_t *message, size_t n, uint8_t type, const uint8_t sig[64])
{
    struct dime_chunk_key key;
    struct dime_chunk c = find(kd_slice(message, n), type, &key);

    must(dime_signature_seal(&key, sig, message + dime_chunk_payload(&c)) == KD_OK,
         "signature");
}

uint8_t *
mailw_blank_msg(size_t *n)
{
    static const uint8_t zeros[64];
    struct kd_slice msg = mailw_msg();
    uint8_t *octets = malloc(msg.n);

    must(octets != NULL, "memory");
    memcpy(octets, msg.p, msg.n);
    mailw_put_signature(octets, msg.n, 248, zeros);
    mailw_put_signature(octets, msg.n, 249, zeros);
    mailw_put_signature(octets, msg.n, 255, zeros);
    *n = msg.n;
    return octets;
}

int
mailw_file(struct kd_slice octets)
{
    int fd = -1;

    must(kd_memfd_seal(octets, &fd) == KD_OK, "memfd");
    return fd;
}

bool
mailw_is_zero(const void *p, size_t n)
{
    const uint8_t *octets = p;

    for (size_t i = 0; i < n; i++)
        if (octets[i] != 0)
            return false;
    return true;
}
