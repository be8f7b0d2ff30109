#include "vault_world.h"

#include "people.h"
#include "test.h"

#include <dime/build.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/conf/conf.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct vault vault;
static struct kd_chan supervisor; /* the other end of its ctl */

static const char conf_text[] =
    "domain \"example.com\" { }\n"
    "domain \"example.org\" { message-signer = pok }\n"
    "principal \"op\" { uid = 0 class = admin operations = { \"Unseal\", "
    "\"TokenList\", \"TokenDoctor\", \"TokenAdopt\" } }\n"
#define FRONT(name, uid, keys)                                                         \
    "principal \"" name "\" { uid = " uid                                              \
    " class = submission operations = { \"IssueUserSignet\" } domains = { "            \
    "\"example.com\", \"example.org\" } quotas = { \"* 1000/s\" } " keys " }\n"
    FRONT("anybody", "1001", "") FRONT("only-sok", "1002", "keys = { sok }") FRONT(
        "only-pok", "1003",
        "keys = { pok }") "principal \"gateway\" { uid = 1004 class = milter "
                          "operations = { \"SealNaked\" } "
                          "domains = { \"example.com\" } quotas = { \"* 1000/s\" } }\n"
                          "principal \"mx\" { uid = 1005 class = mta operations = { "
                          "\"OpenEnvelope\" } "
                          "domains = { \"example.com\", \"example.org\" } quotas = { "
                          "\"* 1000/s\" } }\n";

/* --- the vault --- */

static void
configure(void)
{
    static struct kd_conf_problems problems;
    const struct kd_conf_env env = {.n_cpus = 1};
    struct kd_conf *conf = NULL;
    struct kd_conf_for_vault c;
    struct kd_buf b;

    assert_int_equal(kd_conf_parse(kd_slice_str(conf_text), &env, &conf, &problems),
                     KD_OK);
    assert_int_equal(kd_conf_for_vault_make(conf, &c), KD_OK);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_vault_encode(&c, &b);
    kd_conf_for_vault_clear(&c);
    kd_conf_free(conf);
    assert_int_equal(vault_begin(&vault, kd_buf_slice(&b)), KD_OK);
    kd_buf_free(&b);
}

void
vault_world_new(void)
{
    static const uint8_t credential[32] = {1, 2, 3};
    const struct kd_slot_secret secret = {
        .type = KD_SLOT_CREDENTIAL, .octets = kd_slice(credential, sizeof credential)};
    int fds[2];

    memset(&vault, 0, sizeof vault);
    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&supervisor, fds[0]);
    kd_chan_init(&vault.ctl, fds[1]);
    configure();
    assert_int_equal(pool_start(&vault.pool, 1), KD_OK);
    assert_int_equal(kd_soft_create(&secret, &vault.token), KD_OK);
    vault.state = VAULT_OPERATIONAL;
    vault.chain.wall_began = kd_clock_wall_ms();
    vault.chain.began = kd_clock_ms();
}

void
vault_world_free(void)
{
    kd_token_free(vault.token);
    for (size_t i = 0; i < vault.n_orgs; i++)
        vault_org_free(vault.orgs[i]);
    assert_int_equal(vault.tasks.n, 0);
    vault_conf_drop(vault.conf);
    approvals_clear(&vault.approvals);
    munmap(vault.quotas.rows, sizeof *vault.quotas.rows);
    munmap(vault.quotas.domains, sizeof *vault.quotas.domains);
    kd_chan_close(&vault.ctl);
    kd_chan_close(&supervisor);
}

struct counting {
    enum vault_event event;
    unsigned n;
    struct kd_ctl_p11 *wants; /* room for max */
    size_t n_wants, max;
};

static kd_err
count_event(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct counting *c = ctx;
    struct kd_ctl_event m;

    assert_int_equal(fd, -1);
    if (type == KD_MSG_ctl_event) {
        assert_int_equal(kd_ctl_event_get(body, &m), KD_OK);
        c->n += m.event == c->event;
    } else if (type == KD_MSG_ctl_p11 && c->n_wants < c->max) {
        assert_int_equal(kd_ctl_p11_get(body, &c->wants[c->n_wants++]), KD_OK);
    }
    return KD_OK;
}

static void
hear(struct counting *c)
{
    do {
        assert_int_equal(kd_chan_flush(&vault.ctl), KD_OK);
        assert_int_equal(kd_chan_recv(&supervisor, 1000, count_event, c), KD_OK);
    } while (kd_chan_pending(&vault.ctl));
}

unsigned
events_since(enum vault_event event)
{
    struct counting c = {.event = event};

    hear(&c);
    return c.n;
}

size_t
wants_since(struct kd_ctl_p11 *out, size_t max)
{
    struct counting c = {.wants = out, .max = max};

    hear(&c);
    return c.n_wants;
}

/* --- keys and signets --- */

void
set_state(const struct kd_key_info *key, enum kd_key_state state)
{
    assert_int_equal(kd_token_set_state(vault.token, &key->id, state), KD_OK);
}

struct kd_key_info
new_key(const char *domain, enum kd_key_role role, uint8_t permissions)
{
    const struct kd_key_spec spec = {.role = role,
                                     .alg = role == KD_KEY_ROLE_ENC ? KD_ALG_SECP256K1
                                                                    : KD_ALG_ED25519,
                                     .permissions = permissions,
                                     .domain = kd_slice_str(domain)};
    struct kd_key_info info;

    assert_int_equal(kd_token_generate(vault.token, &spec, &info), KD_OK);
    set_state(&info, KD_KEY_ACTIVE);
    assert_int_equal(kd_token_get(vault.token, &info.id, &info), KD_OK);
    return info;
}

struct signing {
    struct kd_key_id id;
    enum kd_sign_purpose purpose;
};

static kd_err
sign(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    const struct signing *s = ctx;
    struct kd_token_sig out;
    kd_err err = kd_token_sign(vault.token, &s->id, s->purpose, message, &out);

    if (err == KD_OK)
        memcpy(sig, out.octets, 64);
    return err;
}

void
make_org(const char *domain, const struct kd_key_info *pok,
         const struct kd_key_info *sok, const struct kd_key_info *enc,
         struct kd_buf *out)
{
    struct signing by = {pok->id, KD_SIGN_ORG_SIGNET};
    struct dime_sok one = {.authorised = true};
    enum dime_reason why;
    const struct dime_org_plan plan = {.layout = DIME_LAYOUT_L,
                                       .pok = pok->public_key,
                                       .enc_key = enc->public_key,
                                       .soks = &one,
                                       .n_soks = sok != NULL,
                                       .identifier = kd_slice_str(domain)};

    if (sok != NULL) {
        one.perms = sok->permissions;
        memcpy(one.key, sok->public_key, sizeof one.key);
    }
    assert_int_equal(dime_org_build(&plan, (struct dime_signer){sign, &by}, out, &why),
                     KD_OK);
}

size_t
set_org(const char *domain, const struct kd_key_info *pok,
        const struct kd_key_info *sok, const struct kd_key_info *enc)
{
    struct kd_buf b;
    size_t place;

    kd_buf_init(&b, DIME_SIGNET_MAX);
    make_org(domain, pok, sok, enc, &b);
    assert_int_equal(vault_org_set(&vault, kd_slice_str(domain), 1, &b), KD_OK);
    kd_buf_free(&b);
    vault_keys_refresh(&vault);
    assert_int_equal(vault_org_place(&vault, kd_slice_str(domain), true, &place),
                     KD_OK);
    return place;
}

void
make_user(const char *address, unsigned person, const struct kd_key_info *by,
          struct kd_buf *out)
{
    struct signing with = {by->id, KD_SIGN_USER_SIGNET};
    struct dime_signet ssr;
    enum dime_reason why;
    struct kd_buf request;

    person_request("vault", person, &request);
    assert_int_equal(dime_signet_parse_as(DIME_SSR, kd_buf_slice(&request), &ssr, &why),
                     KD_OK);
    const struct dime_user_plan plan = {&ssr, kd_slice(NULL, 0), kd_slice_str(address)};
    assert_int_equal(
        dime_user_build(&plan, (struct dime_signer){sign, &with}, out, &why), KD_OK);
    kd_buf_free(&request);
}

struct task *
new_task(uint32_t uid, enum kd_op op)
{
    const struct kd_job job = {
        .op = (uint8_t)op, .uid = uid, .deadline = (uint64_t)kd_clock_ms() + 60000};
    struct task *t = task_new(&vault, KD_CLASS_SUBMISSION * KD_GATE_WORKERS_MAX,
                              vault.conf, &job, -1);

    assert_non_null(t);
    return t;
}
