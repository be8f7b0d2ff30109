#include "registry.h"

#include <dime/ed25519.h>
#include <keyd/base/be.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

void
reg_die(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

void
reg_octets(const struct reg *r, const char *label, uint64_t n, uint8_t out[32])
{
    uint8_t text[64];
    size_t size = strlen(label);

    reg_must(size + 12 <= sizeof text);
    kd_put_be32(text, r->seed);
    kd_put_be64(text + 4, n);
    memcpy(text + 12, label, size);
    crypto_hash_sha256(out, text, 12 + size);
}

static void
make_pair(struct reg *r, struct reg_pair *out)
{
    reg_octets(r, "signing", r->n_made++, out->seed);
    dime_ed25519_public(out->seed, out->key);
}

static void
make_enc_key(struct reg *r, uint8_t out[33])
{
    uint8_t x[32];

    do
        reg_octets(r, "encryption", r->n_made++, x);
    while (dime_secp_lift_x(x, out) != KD_OK);
}

void
reg_init(struct reg *r, const char *domain, uint32_t seed)
{
    *r = (struct reg){.domain = domain, .seed = seed, .clock_ms = 1700000000000};
    reg_must(sodium_init() >= 0);
    make_pair(r, &r->pok);
    make_pair(r, &r->sok);
    make_pair(r, &r->audit);
    make_enc_key(r, r->enc_key);
    kd_buf_init(&r->org_signet, DIME_SIGNET_MAX);
}

void
reg_free(struct reg *r)
{
    kd_buf_free(&r->org_signet);
}

void
reg_user_init(struct reg_user *u, const char *address)
{
    *u = (struct reg_user){0};
    reg_must(strlen(address) < sizeof u->address);
    memcpy(u->address, address, strlen(address) + 1);
    kd_buf_init(&u->ssr, DIME_SIGNET_MAX);
    kd_buf_init(&u->signet, DIME_SIGNET_MAX);
}

void
reg_user_free(struct reg_user *u)
{
    kd_buf_free(&u->ssr);
    kd_buf_free(&u->signet);
}

void
reg_item_init(struct reg_item *i)
{
    *i = (struct reg_item){0};
    kd_buf_init(&i->record, KD_AUDIT_RECORD_MAX);
    kd_buf_init(&i->octets, KD_CHECKPOINT_SIGNED_MAX);
}

void
reg_item_free(struct reg_item *i)
{
    kd_buf_free(&i->record);
    kd_buf_free(&i->octets);
}

/* --- records --- */

static void
start(struct reg *r, struct reg_item *i, enum kd_audit_op op)
{
    i->item = (struct kd_store_item){0};
    i->decoded = (struct kd_audit_record){
        .op = op,
        .class = KD_AUDIT_CLASS_SUBMISSION,
        .principal = kd_slice_str("uid:1001"),
        .domain = kd_slice_str(r->domain),
    };
}

void
reg_seal(struct reg *r, struct reg_item *i)
{
    struct kd_audit_record *d = &i->decoded;

    r->clock_ms += 7;
    memcpy(d->instance, r->tail.instance, sizeof d->instance);
    d->epoch = r->tail.epoch;
    d->seq = r->tail.seq + 1;
    d->time_ms = r->clock_ms;
    memcpy(d->prev, r->tail.hash, sizeof d->prev);
    kd_buf_reset(&i->record);
    reg_must(kd_audit_encode(d, &i->record) == KD_OK);
    i->item.record = kd_buf_slice(&i->record);
    r->tail.seq = d->seq;
    r->tail.time_ms = d->time_ms;
    kd_audit_hash(i->item.record, r->tail.hash);
}

void
reg_plain(struct reg *r, struct reg_item *i, enum kd_audit_op op)
{
    start(r, i, op);
    i->decoded.n_digests = 1;
    reg_octets(r, "message", r->tail.seq, i->decoded.digests[0]);
    reg_seal(r, i);
}

void
reg_idem(struct reg_item *i, uint64_t n)
{
    memset(&i->idem, 0, sizeof i->idem);
    kd_put_be64(i->idem.key, n);
    crypto_hash_sha256(i->idem.request, i->idem.key, sizeof i->idem.key);
    i->item.idem = &i->idem;
}

void
reg_account(struct reg *r, struct reg_item *i, enum kd_audit_op op, const char *address,
            const char *detail)
{
    start(r, i, op);
    if (address != NULL)
        i->decoded.address = kd_slice_str(address);
    if (detail != NULL)
        i->decoded.detail = kd_slice_str(detail);
    if (op == KD_AUDIT_REQUEST_RESET) {
        i->reset = (struct kd_reset_put){r->uptime_ms};
        i->item.reset = &i->reset;
    }
    reg_seal(r, i);
}

/* --- signets --- */

struct hand {
    const struct reg_pair *pair;
    struct kd_audit_record *record; /* takes the digests, if any */
};

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    struct hand *h = ctx;

    if (h->record != NULL) {
        reg_must(h->record->n_digests < KD_AUDIT_DIGESTS_MAX);
        crypto_hash_sha256(h->record->digests[h->record->n_digests++], message.p,
                           message.n);
    }
    return dime_ed25519_sign(h->pair->seed, h->pair->key, message, sig);
}

static struct dime_signet
parse(const struct kd_buf *b)
{
    struct dime_signet s;
    enum dime_reason why;

    reg_must(dime_signet_parse(kd_buf_slice(b), &s, &why) == KD_OK);
    return s;
}

static void
prints(const struct dime_signet *s, uint8_t core[64], uint8_t full[64], uint8_t id[64])
{
    reg_must(dime_fingerprint(s, DIME_PART_CORE, core) == KD_OK);
    reg_must(dime_fingerprint(s, DIME_PART_FULL, full) == KD_OK);
    reg_must(dime_fingerprint(s, DIME_PART_IDENTIFIED, id) == KD_OK);
}

void
reg_org(struct reg *r, struct reg_item *i, bool new_keys)
{
    struct hand h = {&r->pok, &i->decoded};
    enum dime_reason why;

    if (new_keys) {
        make_pair(r, &r->sok);
        make_enc_key(r, r->enc_key);
    }
    start(r, i, KD_AUDIT_ISSUE_ORG);
    struct dime_sok sok = {.perms = DIME_PERM_USERS | DIME_PERM_MESSAGES,
                           .authorised = true};
    memcpy(sok.key, r->sok.key, sizeof sok.key);
    struct dime_org_plan plan = {
        .layout = DIME_LAYOUT_L,
        .pok = r->pok.key,
        .enc_key = r->enc_key,
        .soks = &sok,
        .n_soks = 1,
        .identifier = kd_slice_str(r->domain),
    };
    kd_buf_reset(&r->org_signet);
    reg_must(dime_org_build(&plan, (struct dime_signer){sign, &h}, &r->org_signet,
                            &why) == KD_OK);
    struct dime_signet s = parse(&r->org_signet);
    i->org = (struct kd_org_put){.version = ++r->org_version,
                                 .signet = kd_buf_slice(&r->org_signet)};
    prints(&s, i->org.core_fp, i->org.full_fp, i->org.id_fp);
    memcpy(r->org_fp, i->org.full_fp, sizeof r->org_fp);
    i->keys[0].kind = KD_ORG_KEY_POK;
    memcpy(i->keys[0].key, r->pok.key, 32);
    i->keys[1].kind = KD_ORG_KEY_SOK;
    memcpy(i->keys[1].key, r->sok.key, 32);
    i->keys[2].kind = KD_ORG_KEY_ENCRYPTION;
    memcpy(i->keys[2].key, r->enc_key + 1, 32);
    i->item.org = &i->org;
    i->item.keys = i->keys;
    i->item.n_keys = 3;
    reg_seal(r, i);
}

/* The signet of the user's present SSR. */
static void
sign_user(struct reg *r, struct reg_item *i, struct reg_user *u)
{
    struct hand h = {&r->sok, &i->decoded};
    struct dime_signet ssr = parse(&u->ssr);
    enum dime_reason why;
    struct dime_user_plan plan = {.ssr = &ssr, .identifier = kd_slice_str(u->address)};

    i->decoded.address = kd_slice_str(u->address);
    i->decoded.generation = u->generation;
    i->decoded.link_seq = u->seq;
    i->decoded.has_key = true;
    memcpy(i->decoded.key_id, r->sok.key, sizeof i->decoded.key_id);
    kd_buf_reset(&u->signet);
    reg_must(dime_user_build(&plan, (struct dime_signer){sign, &h}, &u->signet, &why) ==
             KD_OK);
    struct dime_signet s = parse(&u->signet);
    i->signing = (struct kd_signing_put){
        .version = u->version,
        .core_size = s.end[DIME_PART_CORE] - DIME_HEADER_SIZE,
        .signet = kd_buf_slice(&u->signet),
    };
    prints(&s, i->signing.core_fp, i->signing.full_fp, i->signing.id_fp);
    memcpy(i->signing.org_fp, r->org_fp, sizeof r->org_fp);
    i->item.signing = &i->signing;
}

void
reg_issue(struct reg *r, struct reg_item *i, struct reg_user *u, bool reset)
{
    struct reg_pair before = u->pair;
    struct hand old = {&before, NULL};
    struct hand own = {&u->pair, NULL};
    struct dime_signer custody = {sign, &old};
    uint8_t enc_key[33];
    enum dime_reason why;
    bool root = reset || u->seq == 0;

    start(r, i, KD_AUDIT_ISSUE_USER);
    memset(&i->link, 0, sizeof i->link);
    i->link.uptime_ms = reset ? r->uptime_ms : 0;
    if (!root)
        memcpy(i->link.predecessor, u->ssr_fp, sizeof u->ssr_fp);
    else
        u->generation++;
    if (reset)
        i->decoded.notes |= KD_NOTE_RESET;
    u->seq = root ? 1 : u->seq + 1;
    u->version = 1;
    make_pair(r, &u->pair);
    make_enc_key(r, enc_key);
    struct dime_ssr_plan plan = {
        .layout = DIME_LAYOUT_L,
        .sign_key = u->pair.key,
        .enc_key = enc_key,
        .custody = root ? NULL : &custody,
    };
    kd_buf_reset(&u->ssr);
    reg_must(dime_ssr_build(&plan, (struct dime_signer){sign, &own}, &u->ssr, &why) ==
             KD_OK);
    struct dime_signet ssr = parse(&u->ssr);
    reg_must(dime_fingerprint(&ssr, DIME_PART_REQUEST, u->ssr_fp) == KD_OK);
    memcpy(i->link.ssr_fp, u->ssr_fp, sizeof u->ssr_fp);
    memcpy(i->link.signing_key, u->pair.key, 32);
    memcpy(i->link.encryption_key, enc_key + 1, 32);
    i->item.link = &i->link;
    sign_user(r, i, u);
    reg_seal(r, i);
}

void
reg_reissue(struct reg *r, struct reg_item *i, struct reg_user *u)
{
    start(r, i, KD_AUDIT_REISSUE_USER);
    u->version++;
    sign_user(r, i, u);
    reg_seal(r, i);
}

/* --- the rest --- */

void
reg_checkpoint(struct reg *r, struct reg_item *i)
{
    struct kd_checkpoint cp = {
        .epoch = r->tail.epoch, .seq = r->tail.seq, .time_ms = r->clock_ms};
    uint8_t sig[64];

    start(r, i, KD_AUDIT_CHECKPOINT);
    memcpy(cp.instance, r->tail.instance, sizeof cp.instance);
    memcpy(cp.hash, r->tail.hash, sizeof cp.hash);
    kd_buf_reset(&i->octets);
    reg_must(kd_checkpoint_encode(&cp, &i->octets) == KD_OK);
    struct hand h = {&r->audit, &i->decoded};
    reg_must(sign(&h, kd_buf_slice(&i->octets), sig) == KD_OK);
    kd_buf_put(&i->octets, kd_slice(sig, sizeof sig));
    i->item.checkpoint = kd_buf_slice(&i->octets);
    reg_seal(r, i);
}

void
reg_keystore(struct reg *r, struct reg_item *i, uint64_t generation,
             struct kd_slice octets)
{
    start(r, i, KD_AUDIT_KEYSTORE_CHANGE);
    i->decoded.keystore_generation = generation;
    crypto_hash_sha256(i->decoded.keystore_sha256, octets.p, octets.n);
    reg_seal(r, i);
}
