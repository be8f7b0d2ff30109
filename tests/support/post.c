#include "post.h"

#include "test.h"

#include <dime/fingerprint.h>
#include <dime/message.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REGION = 1 << 16, DEADLINE_MS = 120000 };

#define ALL_DOMAINS "\"example.com\", \"example.net\", \"example.org\""

/* --- organizations --- */

static void
scalar_of(const char *text, uint8_t out[32])
{
    crypto_hash_sha256(out, (const uint8_t *)text, strlen(text));
}

void
post_connect(struct post *p)
{
    p->admin = ask_connect(&p->d, "admin");
    p->submit = ask_connect(&p->d, "submission");
    p->mta = ask_connect(&p->d, "mta");
    p->milter = ask_connect(&p->d, "milter");
}

void
post_disconnect(struct post *p)
{
    keyd_client_free(p->admin);
    keyd_client_free(p->submit);
    keyd_client_free(p->mta);
    keyd_client_free(p->milter);
    p->admin = p->submit = p->mta = p->milter = NULL;
}

static void
start(struct post *p, const char *domain, const struct daemon_options *o)
{
    static bool has_region;

    if (!has_region)
        assert_int_equal(kd_secret_setup(REGION), KD_OK);
    has_region = true;
    *p = (struct post){.domain = domain};
    if (!daemon_start(&p->d, o) || !daemon_init_token(&p->d))
        fail_msg("the daemon of %s does not start", domain);
    post_connect(p);
}

void
post_issue_org(struct post *p, const uint8_t enc[16], const char *name)
{
    static const uint8_t none[16];
    const struct keyd_octets soks[] = {{p->sok, 16}};
    const struct keyd_profile_field profile[] = {
        {.type = 16, .value = KEYD_STR(name == NULL ? "" : name)}};
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR(p->domain),
                                .profile = profile,
                                .n_profile = name == NULL ? 0 : 1,
                                .pok_id = {p->pok, 16},
                                .sok_ids = soks,
                                .n_sok_ids = memcmp(p->sok, none, 16) != 0,
                                .encryption_id = {enc, 16}}};
    struct keyd_answer *a = ask(p->admin, &q);
    struct dime_signet s;
    enum dime_reason why;

    if (a->status != KEYD_OK)
        fail_msg("IssueOrgSignet: %s", a->detail);
    assert_in_range(a->out.signet.signet.n, 1, sizeof p->signet);
    p->signet_size = a->out.signet.signet.n;
    memcpy(p->signet, a->out.signet.signet.p, p->signet_size);
    memcpy(p->full, a->out.signet.full_fp.p, 64);
    keyd_client_answer_free(a);
    assert_int_equal(dime_signet_parse(kd_slice(p->signet, p->signet_size), &s, &why),
                     KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, p->core), KD_OK);
}

static void
issue_ssr(struct post *p, const char *address, struct kd_slice ssr, const char *name,
          uint8_t core[64])
{
    const struct keyd_profile_field profile[] = {
        {.type = 16, .value = KEYD_STR(name == NULL ? "" : name)}};
    const struct ask_issue in = {
        .address = address, .ssr = ssr, .profile = profile, .n_profile = name != NULL};
    struct keyd_answer *a = ask_issue(p->submit, &in);

    if (a->status != KEYD_OK)
        fail_msg("%s: %s", address, a->detail);
    if (core != NULL)
        memcpy(core, a->out.signet.core_fp.p, 64);
    keyd_client_answer_free(a);
}

void
post_issue_alice(struct post *p)
{
    struct kd_slice ssr0 = sg_file("appendix/SSR0.b64");
    struct kd_slice ssr1 = sg_file("appendix/SSR1.b64");

    issue_ssr(p, "alice@example.com", ssr0, NULL, NULL);
    issue_ssr(p, "alice@example.com", ssr1, "Alice", NULL);
    sg_free(ssr0);
    sg_free(ssr1);
}

void
post_import(struct post *p, const struct post_keys *k)
{
    char file[DIME_DKEY_TEXT_MAX];
    const struct keyd_request q = {
        .op = KEYD_OP_IMPORT_KEY,
        .in.import_key = {
            .key_file = {file, ask_key_file(DIME_DKEY_ORG, k->seed, k->scalar, file)},
            .signing_role = k->role,
            .encryption_key = k->has_encryption,
            .domain = KEYD_STR(p->domain),
            .permissions = k->permissions,
            .tokens = k->tokens,
            .n_tokens = k->n_tokens,
            .sealed = k->is_sealed}};
    struct keyd_answer *a = ask(p->admin, &q);

    if (a->status != KEYD_OK)
        fail_msg("ImportKey: %s (%s)", keyd_client_status_text(a->status), a->detail);
    for (size_t i = 0; i < a->out.keys.n_keys; i++) {
        const struct keyd_key *key = &a->out.keys.keys[i];
        memcpy(key->role == KEYD_ROLE_POK   ? p->pok
               : key->role == KEYD_ROLE_SOK ? p->sok
                                            : p->enc,
               key->id.p, 16);
    }
    keyd_client_answer_free(a);
}

void
post_import_com(struct post *p, const struct keyd_octets *tokens, size_t n_pok,
                size_t n_sok, bool seals_sok)
{
    const struct sg_world *w = sg_world();
    uint8_t scalar[32], other[32];

    scalar_of("keyd-test origin enc", scalar);
    scalar_of("keyd-test not taken", other);
    post_import(p, &(struct post_keys){.seed = w->pok.seed,
                                       .scalar = scalar,
                                       .role = KEYD_ROLE_POK,
                                       .permissions = KEYD_PERM_MESSAGE,
                                       .has_encryption = true,
                                       .tokens = tokens,
                                       .n_tokens = n_pok});
    post_import(p,
                &(struct post_keys){.seed = w->sok.seed,
                                    .scalar = other,
                                    .role = KEYD_ROLE_SOK,
                                    .permissions = KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE,
                                    .tokens = tokens,
                                    .n_tokens = n_sok,
                                    .is_sealed = seals_sok});
    post_issue_org(p, p->enc, "Example");
    p->signer = p->sok;
    post_issue_alice(p);
}

void
post_start_com(struct post *p, const struct post_options *options)
{
    const struct post_options in =
        options == NULL ? (struct post_options){.in_caller = NULL} : *options;
    char section[1024];
    const struct daemon_options o = {.in_domain = section,
                                     .in_caller = in.in_caller,
                                     .in_token = in.in_token,
                                     .top = in.top};
    const struct sg_world *w = sg_world();
    uint8_t scalar[32], other[32];

    assert_true(snprintf(section, sizeof section, " issue-profile-fields = { 16 }\n%s",
                         in.in_domain == NULL ? "" : in.in_domain) <
                (int)sizeof section);
    start(p, "example.com", &o);
    scalar_of("keyd-test origin enc", scalar);
    scalar_of("keyd-test not taken", other);
    ask_import(&p->d, p->domain, w->pok.seed, scalar, KEYD_ROLE_POK, KEYD_PERM_MESSAGE,
               true, p->pok, p->enc);
    ask_import(&p->d, p->domain, w->sok.seed, other, KEYD_ROLE_SOK,
               KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, false, p->sok, NULL);
    post_issue_org(p, p->enc, "Example");
    p->signer = p->sok;
    post_issue_alice(p);
}

void
post_start_org(struct post *p, const struct post_options *options)
{
    const struct post_options in =
        options == NULL ? (struct post_options){.in_caller = NULL} : *options;
    char sections[1024];
    const struct daemon_options o = {.domains = ALL_DOMAINS,
                                     .sections = sections,
                                     .in_caller = in.in_caller,
                                     .top = in.top};
    const struct sg_world *w = sg_world();
    const struct sg_user bob = {
        .request = true, .pair = &w->bob, .enc = w->bob_enc, .user_by = &w->bob};
    struct kd_buf b = {.p = NULL};
    const struct sg_pair pok = sg_pair_text("keyd-test example.org above");
    uint8_t scalar[32], other[32];

    assert_true(snprintf(sections, sizeof sections, "domain \"example.org\" {\n%s\n}\n",
                         in.in_domain == NULL ? "" : in.in_domain) <
                (int)sizeof sections);
    start(p, "example.org", &o);
    scalar_of("keyd-test destination enc", scalar);
    scalar_of("keyd-test not taken either", other);
    ask_import(&p->d, p->domain, pok.seed, scalar, KEYD_ROLE_POK,
               in.org_pok_signs ? KEYD_PERM_MESSAGE : 0, true, p->pok, p->enc);
    ask_import(&p->d, p->domain, w->other_pok.seed, other, KEYD_ROLE_SOK,
               KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, false, p->sok, NULL);
    post_issue_org(p, p->enc, NULL);
    p->signer = p->sok;
    issue_ssr(p, "bob@example.org", sg_make_user(&b, &bob), NULL, NULL);
    kd_buf_free(&b);
}

static void
check_registry_of(const struct daemon *d)
{
    const char *const arguments[] = {d->state, NULL};
    pid_t pid = daemon_spawn(d, "keyd-check", "check.out", arguments);

    if (daemon_reap(pid, 120000) == 0)
        return;
    char path[160], line[512];
    snprintf(path, sizeof path, "%s/check.out", d->dir);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        fputs(line, stderr);
    if (f != NULL)
        fclose(f);
    fail_msg("keyd-check is not content with %s", d->state);
}

void
post_end(struct post *p)
{
    bool ran = p->d.pid != 0;

    post_disconnect(p);
    if (ran) {
        assert_int_equal(daemon_stop(&p->d), 0);
        check_registry_of(&p->d);
    }
    daemon_clear(&p->d);
}

void
post_kill(struct post *p)
{
    post_disconnect(p);
    daemon_kill(&p->d);
}

void
post_start_again(struct post *p)
{
    assert_true(daemon_launch(&p->d));
    assert_true(daemon_wait(&p->d, 20000));
    post_connect(p);
}

void
post_new_enc(struct post *p, uint8_t id[16], uint8_t point[33])
{
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_generate_key(p->admin, KEYD_ROLE_ENC, KEYD_SECP256K1,
                                              KEYD_STR(p->domain), 0, &a),
                     KEYD_OK);
    memcpy(id, a->out.keys.keys[0].id.p, 16);
    memcpy(point, a->out.keys.keys[0].public_key.p, 33);
    keyd_client_answer_free(a);
}

void
post_account(struct post *p, const char *address, enum keyd_account_action action)
{
    const struct keyd_request q = {.op = KEYD_OP_FREEZE_ADDRESS,
                                   .in.freeze_address = {KEYD_STR(address), action,
                                                         action == KEYD_ACCOUNT_FREEZE
                                                             ? KEYD_FREEZE_THEFT
                                                             : KEYD_FREEZE_NONE}};

    ask_ends(ask(p->admin, &q), KEYD_OK, NULL);
}

/* --- people --- */

void
post_issue(struct post *p, const char *address, const char *text, uint32_t step,
           struct post_person *out)
{
    struct person_keys own, prev;
    struct kd_buf b;

    person_keys(text, 0, step, &own);
    if (step > 0)
        person_keys(text, 0, step - 1, &prev);
    kd_buf_init(&b, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, step > 0 ? &prev : NULL, &b), KD_OK);
    *out = (struct post_person){.address = address, .text = text, .step = step};
    memcpy(out->pair.seed, own.seed, 32);
    memcpy(out->pair.key, own.key, 32);
    issue_ssr(p, address, kd_buf_slice(&b), NULL, out->core);
    kd_buf_free(&b);
}

static struct kd_slice
envelope_text(char out[1024], const char *who, const char *address,
              const uint8_t address_fp[64], const char *where, const char *domain,
              const uint8_t domain_fp[64])
{
    char a[DIME_FINGERPRINT_CHARS + 1], d[DIME_FINGERPRINT_CHARS + 1];

    dime_fingerprint_text(address_fp, a);
    dime_fingerprint_text(domain_fp, d);
    int n = snprintf(out, 1024,
                     "%s: <%s>\r\n%s-Signet: [%s]\r\n%s: <%s>\r\n%s-Signet: [%s]\r\n",
                     who, address, who, a, where, domain, where, d);
    assert_in_range(n, 1, 1023);
    return kd_slice((const uint8_t *)out, (size_t)n);
}

struct kd_slice
post_origin_text(const char *author, const uint8_t author_fp[64],
                 const char *destination, const uint8_t domain_fp[64])
{
    static char text[1024];

    return envelope_text(text, "Author", author, author_fp, "Destination", destination,
                         domain_fp);
}

struct kd_slice
post_destination_text(const char *recipient, const uint8_t recipient_fp[64],
                      const char *origin, const uint8_t origin_fp[64])
{
    static char text[1024];

    return envelope_text(text, "Recipient", recipient, recipient_fp, "Origin", origin,
                         origin_fp);
}

struct dmw_chunk
post_envelope(uint8_t type, struct kd_slice text)
{
    size_t least = 512 - 69;

    return (struct dmw_chunk){.type = type,
                              .data = text,
                              .padding =
                                  text.n < least ? (uint32_t)(least - text.n) : 0};
}

/* --- operations --- */

static struct keyd_octets
octets(struct kd_slice s)
{
    return (struct keyd_octets){s.p, s.n};
}

struct keyd_answer *
post_sign(keyd_client *c, const char *account, const char *destination,
          const uint8_t *origin_fp, struct kd_slice message)
{
    const struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .deadline_ms = DEADLINE_MS,
        .in.sign_outbound = {.account = KEYD_STR(account),
                             .destination = KEYD_STR(destination),
                             .origin_fp = {origin_fp, origin_fp == NULL ? 0 : 64},
                             .message = octets(message)}};

    return ask(c, &q);
}

void
post_sign_ends(keyd_client *c, const char *account, const char *destination,
               const uint8_t *origin_fp, struct kd_slice message,
               enum keyd_status status, const char *detail)
{
    ask_ends(post_sign(c, account, destination, origin_fp, message), status, detail);
}

static void
put_payload(uint8_t *message, const struct dime_message *m, uint8_t type,
            struct keyd_octets payload)
{
    const struct dime_chunk *c = dime_message_chunk(m, type);

    if (payload.n == 0) {
        assert_true(c == NULL || c->def == NULL);
        return;
    }
    assert_non_null(c);
    assert_int_equal(payload.n, 64);
    memcpy(message + dime_chunk_payload(c), payload.p, 64);
}

void
post_complete(uint8_t *message, size_t n, const struct keyd_answer *signatures)
{
    const struct dime_source source = dime_source_of(kd_slice(message, n));
    struct dime_message m;

    assert_int_equal(signatures->status, KEYD_OK);
    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    put_payload(message, &m, 248, signatures->out.outbound.metadata_bounce);
    put_payload(message, &m, 249, signatures->out.outbound.display_bounce);
    put_payload(message, &m, 255, signatures->out.outbound.organization);
}

struct post_inbound
post_from(const struct post *from, const struct post *to, struct kd_slice message)
{
    return (struct post_inbound){.origin = from->domain,
                                 .origin_fp = from->full,
                                 .domain = to->domain,
                                 .domain_fp = to->full,
                                 .signet = kd_slice(from->signet, from->signet_size),
                                 .message = message};
}

static struct keyd_request
request(enum keyd_op op, const struct post_inbound *in)
{
    return (struct keyd_request){.op = op,
                                 .deadline_ms = DEADLINE_MS,
                                 .in.inbound = {.origin = KEYD_STR(in->origin),
                                                .origin_fp = {in->origin_fp, 64},
                                                .domain = KEYD_STR(in->domain),
                                                .domain_fp = {in->domain_fp, 64},
                                                .origin_signet = octets(in->signet),
                                                .message = octets(in->message)}};
}

struct keyd_answer *
post_inbound(keyd_client *c, enum keyd_op op, const struct post_inbound *in)
{
    const struct keyd_request q = request(op, in);

    return ask(c, &q);
}

struct keyd_answer *
post_make_bounce(keyd_client *c, const struct post_inbound *in, enum keyd_returned part)
{
    struct keyd_request q = request(KEYD_OP_MAKE_BOUNCE, in);

    q.in.inbound.part = part;
    q.in.inbound.klass = 5;
    q.in.inbound.subject = 1;
    q.in.inbound.detail = 1;
    return ask(c, &q);
}

/* --- records --- */

uint64_t
post_seq(struct post *p)
{
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_audit_head(p->admin, &a), KEYD_OK);
    uint64_t seq = a->out.audit_head.seq;
    keyd_client_answer_free(a);
    return seq;
}

static bool
is_of_messages(const struct kd_audit_record *r)
{
    return r->op == KD_AUDIT_SIGN_OUTBOUND || r->op == KD_AUDIT_OPEN_ENVELOPE ||
           r->op == KD_AUDIT_OPEN_BOUNCE || r->op == KD_AUDIT_MAKE_BOUNCE ||
           r->op == KD_AUDIT_SEAL_NAKED;
}

size_t
post_records(struct post *p, uint64_t after, struct kd_audit_record *out, size_t max)
{
    uint64_t from = after + 1;
    size_t n = 0;

    if (post_seq(p) <= after)
        return 0;
    while (from != 0) {
        struct keyd_answer *a = NULL;
        assert_int_equal(keyd_client_audit_read(p->admin, from, 0, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records; i++) {
            struct keyd_octets o = a->out.audit.records[i].octets;
            struct kd_audit_record r;
            assert_int_equal(kd_audit_decode(kd_slice(o.p, o.n), &r), KD_OK);
            if (!is_of_messages(&r))
                continue;
            /* What messages are about stands in no record. */
            assert_int_equal(r.address.n, 0);
            assert_int_equal(r.detail.n, 0);
            assert_true(r.has_key);
            r.principal = r.domain = r.address = r.detail = kd_slice(NULL, 0);
            if (n < max)
                out[n] = r;
            n++;
        }
        from = a->out.audit.next_seq;
        keyd_client_answer_free(a);
    }
    return n;
}

struct kd_audit_record
post_record(struct post *p, uint64_t after)
{
    struct kd_audit_record r;

    assert_int_equal(post_records(p, after, &r, 1), 1);
    return r;
}
