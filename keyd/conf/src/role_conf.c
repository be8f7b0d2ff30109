#include "codec.h"

#include <keyd/base/be.h>

#include <assert.h>
#include <stdlib.h>

enum { VERSION = 4 };
enum { WORKERS_MAX = 4 }; /* of a listener, as its key workers */

_Static_assert(KD_POLICY_SIZE_MAX +
                       KD_POLICY_DOMAINS_MAX * sizeof(struct kd_domain_rules) +
                       sizeof(struct kd_conf_for_p11) + 4096 <=
                   KD_ROLE_CONF_SIZE_MAX,
               "the largest configuration of a role fits");

static bool
is_in_range(const struct kd_conf_key *key, uint32_t v)
{
    return (v >= kd_conf_key_least(key) && v <= key->max) ||
           (v == 0 && key->type == KD_CONF_AUTO_SIZE);
}

uint32_t
kd_part_take_u32(struct kd_cur *c, enum kd_conf_section section, const char *key_name)
{
    const struct kd_conf_key *key = kd_conf_key_find(section, kd_slice_str(key_name));
    uint32_t v = kd_cur_u32(c);

    assert(key != NULL);
    if (!is_in_range(key, v))
        kd_cur_fail(c, KD_MALFORMED);
    return v;
}

static uint32_t
take_u32(struct kd_cur *c, const char *key_name)
{
    return kd_part_take_u32(c, KD_CONF_TOP, key_name);
}

uint8_t
kd_part_take_at_most(struct kd_cur *c, uint8_t most)
{
    uint8_t v = kd_cur_u8(c);

    if (v > most)
        kd_cur_fail(c, KD_MALFORMED);
    return v;
}

/* The limits are the INT keys whose members lie in struct kd_limits; the table's order
 * is the order of the octets. */
static void
put_limits(struct kd_buf *b, const struct kd_limits *limits)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++) {
        const struct kd_conf_key *key = &kd_conf_keys[i];
        uint32_t v;
        if (!kd_conf_key_is_limit(key))
            continue;
        memcpy(&v,
               (const char *)limits + (key->offset - offsetof(struct kd_conf, limits)),
               sizeof v);
        kd_buf_u32(b, v);
    }
}

static void
take_limits(struct kd_cur *c, struct kd_limits *limits)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++) {
        const struct kd_conf_key *key = &kd_conf_keys[i];
        if (!kd_conf_key_is_limit(key))
            continue;
        uint32_t v = take_u32(c, key->name);
        memcpy((char *)limits + (key->offset - offsetof(struct kd_conf, limits)), &v,
               sizeof v);
    }
}

void
kd_part_put_text(struct kd_buf *b, const char *text)
{
    kd_buf_u32(b, (uint32_t)strlen(text));
    kd_buf_put(b, kd_slice_str(text));
}

void
kd_part_take_text(struct kd_cur *c, char *out, size_t size)
{
    struct kd_slice text = kd_cur_take(c, kd_cur_u32(c));

    if (text.n >= size || (text.n != 0 && memchr(text.p, '\0', text.n) != NULL))
        kd_cur_fail(c, KD_MALFORMED);
    if (c->err == KD_OK && text.n != 0)
        memcpy(out, text.p, text.n);
}

void
kd_part_take_path(struct kd_cur *c, char *out, size_t size)
{
    kd_part_take_text(c, out, size);
    if (out[0] != '\0' && (out[0] != '/' || out[1] == '\0'))
        kd_cur_fail(c, KD_MALFORMED);
}

void
kd_part_put_head(struct kd_buf *b, uint8_t role, enum kd_hardening hardening,
                 enum kd_log_level level)
{
    kd_buf_u8(b, role);
    kd_buf_u8(b, VERSION);
    kd_buf_u8(b, (uint8_t)hardening);
    kd_buf_u8(b, (uint8_t)level);
}

void
kd_part_take_head(struct kd_cur *c, uint8_t role, enum kd_hardening *hardening,
                  enum kd_log_level *level)
{
    if (kd_cur_u8(c) != role || kd_cur_u8(c) != VERSION)
        kd_cur_fail(c, KD_UNSUPPORTED);
    *hardening = (enum kd_hardening)kd_part_take_at_most(c, KD_HARDENING_RELAXED);
    *level = (enum kd_log_level)kd_part_take_at_most(c, KD_WARN);
}

static void
put_policy(struct kd_buf *b, const struct kd_policy *policy)
{
    struct kd_slice octets = kd_policy_octets(policy);

    kd_buf_u32(b, (uint32_t)octets.n);
    kd_buf_put(b, octets);
}

/* *out is written only if nothing failed so far and the policy is good. */
static void
take_policy(struct kd_cur *c, struct kd_policy **out)
{
    struct kd_slice octets = kd_cur_take(c, kd_cur_u32(c));
    kd_err err;

    if (c->err == KD_OK && (err = kd_policy_decode(octets, out)) != KD_OK)
        kd_cur_fail(c, err);
}

/* A gate's policy speaks of its class only, and of look-ups only. */
static void
check_gate_policy(struct kd_cur *cur, const struct kd_conf_for_gate *c)
{
    struct kd_policy *own = NULL;
    kd_err err;

    if (cur->err != KD_OK)
        return;
    err = kd_policy_project(c->policy, c->klass,
                            kd_ops_of_class(c->klass, KD_OPF_LOOKUP), &own);
    if (err != KD_OK)
        kd_cur_fail(cur, err);
    else if (!kd_slice_eq(kd_policy_octets(own), kd_policy_octets(c->policy)))
        kd_cur_fail(cur, KD_MALFORMED);
    kd_policy_free(own);
}

kd_err
kd_conf_for_gate_make(const struct kd_conf *conf, enum kd_class klass,
                      struct kd_conf_for_gate *out)
{
    struct kd_conf_for_gate c = {.hardening = conf->hardening,
                                 .log_level = conf->log_level,
                                 .klass = klass,
                                 .limits = conf->limits};
    kd_err err = kd_policy_project(conf->policy, klass,
                                   kd_ops_of_class(klass, KD_OPF_LOOKUP), &c.policy);

    if (err == KD_OK)
        *out = c;
    return err;
}

void
kd_conf_for_gate_encode(const struct kd_conf_for_gate *c, struct kd_buf *b)
{
    kd_part_put_head(b, KD_PART_GATE, c->hardening, c->log_level);
    kd_buf_u8(b, (uint8_t)c->klass);
    kd_buf_u8(b, (uint8_t)c->worker);
    put_limits(b, &c->limits);
    put_policy(b, c->policy);
}

kd_err
kd_conf_for_gate_decode(struct kd_slice octets, struct kd_conf_for_gate *out)
{
    struct kd_cur cur = kd_cur(octets);
    struct kd_conf_for_gate c = {0};

    kd_part_take_head(&cur, KD_PART_GATE, &c.hardening, &c.log_level);
    c.klass = (enum kd_class)kd_part_take_at_most(&cur, KD_CLASS_COUNT - 1);
    c.worker = kd_part_take_at_most(&cur, WORKERS_MAX - 1);
    take_limits(&cur, &c.limits);
    take_policy(&cur, &c.policy);
    check_gate_policy(&cur, &c);
    kd_err err = kd_cur_end(&cur);
    if (err == KD_OK)
        *out = c;
    else
        kd_conf_for_gate_clear(&c);
    return err;
}

void
kd_conf_for_gate_clear(struct kd_conf_for_gate *c)
{
    kd_policy_free(c->policy);
    *c = (struct kd_conf_for_gate){0};
}

kd_err
kd_conf_for_vault_make(const struct kd_conf *conf, struct kd_conf_for_vault *out)
{
    struct kd_conf_for_vault c = {.hardening = conf->hardening,
                                  .log_level = conf->log_level,
                                  .single_operator = conf->single_operator,
                                  .approval_expiry = conf->approval_expiry,
                                  .crypto_threads = conf->crypto_threads,
                                  .verify_sampled = conf->verify_sampled,
                                  .audit_checkpoint_interval =
                                      conf->audit_checkpoint_interval,
                                  .limits = conf->limits};
    struct kd_domain_rules *rules = calloc(conf->n_domains + 1, sizeof *rules);
    kd_err err = rules == NULL ? KD_NOMEM : KD_OK;

    memcpy(c.digest, conf->digest, sizeof c.digest);
    if (err == KD_OK)
        err = kd_policy_decode(kd_policy_octets(conf->policy), &c.policy);
    if (err != KD_OK) {
        free(rules);
        return err;
    }
    for (size_t i = 0; i < conf->n_domains; i++)
        rules[i] = conf->domains[i].rules;
    kd_part_make_tokens(conf, &c);
    *out = c;
    out->rules = rules;
    return KD_OK;
}

static void
put_rules(struct kd_buf *b, const struct kd_domain_rules *r)
{
    kd_buf_put(b, kd_slice(r->profile_fields, sizeof r->profile_fields));
    kd_buf_u8(b, r->account_keys.n);
    for (size_t i = 0; i < r->account_keys.n; i++)
        kd_buf_put(b, kd_slice(r->account_keys.key[i], KD_ACCOUNT_KEY_SIZE));
    kd_buf_u8(b, r->tickets);
    kd_buf_u8(b, r->account_modes);
    kd_buf_u32(b, r->reset_delay);
    kd_buf_u8(b, r->message_signer);
    kd_buf_u32(b, r->key_retention);
    kd_buf_u32(b, r->author_grace);
    kd_buf_u32(b, r->recipient_stale);
}

void
kd_conf_for_vault_encode(const struct kd_conf_for_vault *c, struct kd_buf *b)
{
    kd_part_put_head(b, KD_PART_VAULT, c->hardening, c->log_level);
    kd_buf_u8(b, c->single_operator);
    kd_buf_u32(b, c->approval_expiry);
    kd_buf_u32(b, c->crypto_threads);
    kd_buf_u32(b, c->verify_sampled);
    kd_buf_u32(b, c->audit_checkpoint_interval);
    kd_buf_put(b, kd_slice(c->digest, sizeof c->digest));
    put_limits(b, &c->limits);
    put_policy(b, c->policy);
    for (size_t i = 0; i < kd_policy_n_domains(c->policy); i++)
        put_rules(b, &c->rules[i]);
    kd_part_put_tokens(b, c);
}

static void
take_account_keys(struct kd_cur *cur, struct kd_account_keys *keys)
{
    keys->n = kd_part_take_at_most(cur, KD_ACCOUNT_KEYS_MAX);
    if (cur->err != KD_OK)
        return;
    for (size_t i = 0; i < keys->n; i++) {
        kd_cur_copy(cur, keys->key[i], KD_ACCOUNT_KEY_SIZE);
        for (size_t k = 0; k < i; k++)
            if (memcmp(keys->key[i], keys->key[k], KD_ACCOUNT_KEY_SIZE) == 0)
                kd_cur_fail(cur, KD_MALFORMED);
    }
}

static void
take_rules(struct kd_cur *cur, struct kd_domain_rules *r)
{
    kd_cur_copy(cur, r->profile_fields, sizeof r->profile_fields);
    /* Fields 1 to 15 are cryptographic and 253 to 255 end a signet. */
    if (r->profile_fields[0] != 0 || r->profile_fields[1] != 0 ||
        (r->profile_fields[31] & 0xe0) != 0)
        kd_cur_fail(cur, KD_MALFORMED);
    take_account_keys(cur, &r->account_keys);
    r->tickets = kd_part_take_at_most(cur, KD_TICKET_ALL);
    r->account_modes = kd_part_take_at_most(cur, KD_ACCOUNT_MODES_ALL);
    r->reset_delay = kd_part_take_u32(cur, KD_CONF_DOMAIN, "reset-delay");
    r->message_signer = kd_part_take_at_most(cur, KD_MESSAGE_SIGNER_POK);
    r->key_retention = kd_part_take_u32(cur, KD_CONF_DOMAIN, "key-retention");
    r->author_grace = kd_part_take_u32(cur, KD_CONF_DOMAIN, "author-grace");
    r->recipient_stale = kd_part_take_u32(cur, KD_CONF_DOMAIN, "recipient-stale");
    if (r->account_modes == 0 || (r->tickets != 0 && r->account_keys.n == 0))
        kd_cur_fail(cur, KD_MALFORMED);
}

/* The policy says how many there are. */
static void
take_all_rules(struct kd_cur *cur, struct kd_conf_for_vault *c)
{
    size_t n = c->policy == NULL ? 0 : kd_policy_n_domains(c->policy);

    if (cur->err != KD_OK)
        return;
    if ((c->rules = calloc(n + 1, sizeof *c->rules)) == NULL) {
        kd_cur_fail(cur, KD_NOMEM);
        return;
    }
    for (size_t i = 0; i < n && cur->err == KD_OK; i++)
        take_rules(cur, &c->rules[i]);
}

kd_err
kd_conf_for_vault_decode(struct kd_slice octets, struct kd_conf_for_vault *out)
{
    struct kd_cur cur = kd_cur(octets);
    struct kd_conf_for_vault c = {0};

    kd_part_take_head(&cur, KD_PART_VAULT, &c.hardening, &c.log_level);
    c.single_operator = kd_part_take_at_most(&cur, 1) != 0;
    c.approval_expiry = take_u32(&cur, "approval-expiry");
    c.crypto_threads = take_u32(&cur, "crypto-threads");
    c.verify_sampled = take_u32(&cur, "verify-sampled");
    c.audit_checkpoint_interval = take_u32(&cur, "audit-checkpoint-interval");
    kd_cur_copy(&cur, c.digest, sizeof c.digest);
    take_limits(&cur, &c.limits);
    take_policy(&cur, &c.policy);
    take_all_rules(&cur, &c);
    kd_part_take_tokens(&cur, &c);
    kd_err err = kd_cur_end(&cur);
    if (err == KD_OK)
        *out = c;
    else
        kd_conf_for_vault_clear(&c);
    return err;
}

void
kd_conf_for_vault_clear(struct kd_conf_for_vault *c)
{
    kd_policy_free(c->policy);
    free(c->rules);
    *c = (struct kd_conf_for_vault){0};
}

bool
kd_domain_rules_may_add(const struct kd_domain_rules *rules, unsigned field)
{
    return field <= 255 && (rules->profile_fields[field / 8] & 1U << field % 8) != 0;
}

bool
kd_domain_rules_allow_mode(const struct kd_domain_rules *rules, unsigned mode)
{
    return mode < KD_ACCOUNT_MODES && (rules->account_modes & 1U << mode) != 0;
}

void
kd_conf_for_ledger_make(const struct kd_conf *conf, struct kd_conf_for_ledger *out)
{
    *out = (struct kd_conf_for_ledger){.hardening = conf->hardening,
                                       .log_level = conf->log_level,
                                       .group_commit_max = conf->group_commit_max,
                                       .checkpoint_grace = conf->checkpoint_grace,
                                       .reserve_space = conf->reserve_space,
                                       .limits = conf->limits};
    if (conf->checkpoint_file != NULL) /* its length is in the range of its key */
        memcpy(out->checkpoint_file, conf->checkpoint_file,
               strnlen(conf->checkpoint_file, sizeof out->checkpoint_file - 1));
}

void
kd_conf_for_ledger_encode(const struct kd_conf_for_ledger *c, struct kd_buf *b)
{
    kd_part_put_head(b, KD_PART_LEDGER, c->hardening, c->log_level);
    kd_buf_u32(b, c->group_commit_max);
    kd_buf_u32(b, c->checkpoint_grace);
    kd_buf_u32(b, c->reserve_space);
    put_limits(b, &c->limits);
    kd_part_put_text(b, c->checkpoint_file);
}

kd_err
kd_conf_for_ledger_decode(struct kd_slice octets, struct kd_conf_for_ledger *out)
{
    struct kd_cur cur = kd_cur(octets);
    struct kd_conf_for_ledger c = {0};

    kd_part_take_head(&cur, KD_PART_LEDGER, &c.hardening, &c.log_level);
    c.group_commit_max = take_u32(&cur, "group-commit-max");
    c.checkpoint_grace = take_u32(&cur, "checkpoint-grace");
    c.reserve_space = take_u32(&cur, "reserve-space");
    take_limits(&cur, &c.limits);
    kd_part_take_path(&cur, c.checkpoint_file, sizeof c.checkpoint_file);
    kd_err err = kd_cur_end(&cur);
    if (err == KD_OK)
        *out = c;
    return err;
}
