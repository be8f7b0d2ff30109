#include "ask.h"

#include "test.h"

#include <keyd/base/secret.h>

#include <stdio.h>
#include <stdlib.h>

keyd_client *
ask_connect(const struct daemon *d, const char *class)
{
    keyd_client *c = daemon_connect(d, class);

    assert_non_null(c);
    return c;
}

struct keyd_answer *
ask(keyd_client *c, const struct keyd_request *q)
{
    struct keyd_answer *a = NULL;
    enum keyd_status s = keyd_client_call(c, q, &a);

    if (a == NULL)
        fail_msg("no answer: %s %s", keyd_client_status_text(s), keyd_client_detail(c));
    return a;
}

static struct keyd_octets
octets(struct kd_slice s)
{
    return (struct keyd_octets){s.p, s.n};
}

struct keyd_answer *
ask_issue(keyd_client *c, const struct ask_issue *in)
{
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .idempotency_key = in->key,
        .deadline_ms = in->deadline_ms,
        .in.issue_user_signet = {.address = KEYD_STR(in->address),
                                 .ssr = octets(in->ssr),
                                 .account_mode =
                                     in->mode == 0 ? KEYD_ACCOUNT_TRUSTFUL : in->mode,
                                 .profile = in->profile,
                                 .n_profile = in->n_profile,
                                 .image = octets(in->image)}};

    return ask(c, &q);
}

struct keyd_answer *
ask_plain(keyd_client *c, const char *address, struct kd_slice ssr)
{
    const struct ask_issue in = {.address = address, .ssr = ssr};

    return ask_issue(c, &in);
}

void
ask_ends(struct keyd_answer *a, enum keyd_status status, const char *detail)
{
    if (a->status != status || (detail != NULL && strcmp(a->detail, detail) != 0))
        fail_msg("%s (%s) where %s (%s) was expected",
                 keyd_client_status_text(a->status), a->detail,
                 keyd_client_status_text(status), detail == NULL ? "any" : detail);
    keyd_client_answer_free(a);
}

void
ask_issue_ends(keyd_client *c, const char *address, struct kd_slice ssr,
               enum keyd_status status, const char *detail)
{
    ask_ends(ask_plain(c, address, ssr), status, detail);
}

uint64_t
ask_counter(const struct daemon *d, const char *name)
{
    keyd_client *c = ask_connect(d, "admin");
    struct keyd_answer *a = ask(c, &(struct keyd_request){.op = KEYD_OP_STATUS});
    uint64_t value = UINT64_MAX;

    assert_int_equal(a->status, KEYD_OK);
    for (size_t i = 0; i < a->out.status.n_counters; i++) {
        const struct keyd_counter *k = &a->out.status.counters[i];
        if (k->name.n == strlen(name) && memcmp(k->name.p, name, k->name.n) == 0)
            value = k->value;
    }
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_true(value != UINT64_MAX);
    return value;
}

size_t
ask_key_file(enum dime_dkey_kind kind, const uint8_t *seed, const uint8_t *scalar,
             char out[DIME_DKEY_TEXT_MAX])
{
    struct dime_dkey *key = NULL;
    char *text = kd_secret_new(DIME_DKEY_TEXT_MAX);
    size_t n = 0;

    assert_non_null(text);
    assert_int_equal(dime_dkey_make(kind, seed, scalar, &key), KD_OK);
    assert_int_equal(dime_dkey_write(key, text, &n), KD_OK);
    memcpy(out, text, n);
    dime_dkey_free(key);
    kd_secret_free(text, DIME_DKEY_TEXT_MAX);
    return n;
}

void
ask_import(const struct daemon *d, const char *domain, const uint8_t *seed,
           const uint8_t *scalar, enum keyd_key_role role, uint32_t permissions,
           bool encryption, uint8_t sign_id[16], uint8_t enc_id[16])
{
    char file[DIME_DKEY_TEXT_MAX];
    size_t n = ask_key_file(DIME_DKEY_ORG, seed, scalar, file);
    keyd_client *c = ask_connect(d, "admin");
    struct keyd_request q = {.op = KEYD_OP_IMPORT_KEY,
                             .in.import_key = {.key_file = {file, n},
                                               .signing_role = role,
                                               .encryption_key = encryption,
                                               .domain = KEYD_STR(domain),
                                               .permissions = permissions}};
    q.in.import_key.n_tokens = daemon_places(d, &q.in.import_key.tokens);
    struct keyd_answer *a = ask(c, &q);
    if (a->status != KEYD_OK)
        fail_msg("import: %s (%s)", keyd_client_status_text(a->status), a->detail);
    for (size_t i = 0; i < a->out.keys.n_keys; i++) {
        const struct keyd_key *k = &a->out.keys.keys[i];
        uint8_t *id = k->role == KEYD_ROLE_ENC ? enc_id : sign_id;
        if (id != NULL)
            memcpy(id, k->id.p, 16);
    }
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

size_t
ask_certificate(uint8_t out[256])
{
    static const uint8_t head[] = {
        0x30, 0x81, 0xa4, 0x30, 0x81, 0x99, 0x02, 0x01, 0x01, /* serial number */
        0x30, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00,       /* up to the subject */
        0x30, 0x81, 0x8b};                                    /* its key */
    static const uint8_t tail[] = {0x30, 0x02, 0x05, 0x00, 0x03, 0x02, 0x00, 0xff};
    enum { KEY = 0x8b };

    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 0x2a, KEY);
    memcpy(out + sizeof head + KEY, tail, sizeof tail);
    return sizeof head + KEY + sizeof tail;
}
