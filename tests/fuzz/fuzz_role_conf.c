/* What the supervisor tells the roles, and the policy alone. What decodes is what
 * encode would have written, and gives no class what it is not served. */
#include "fuzz.h"

#include <keyd/conf/role_conf.h>

static struct kd_buf buffer;

static void
require_same(struct kd_slice octets)
{
    fuzz_require(kd_slice_eq(kd_buf_slice(&buffer), octets));
    kd_buf_reset(&buffer);
}

/* A row is found by its caller, explained as it is checked, and has at most four quotas
 * for anything. */
static void
check_row(const struct kd_policy *p, size_t row, struct kd_slice domain)
{
    static const uint8_t id[KD_POLICY_KEY_ID_SIZE];
    struct kd_caller caller = kd_policy_caller_at(p, row);
    struct kd_policy_trace trace;
    struct kd_quota_match match;

    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        kd_policy_trace(p, &caller, op, domain, NULL, &trace);
        fuzz_require(trace.row == row);
        kd_err err = kd_policy_check(p, &caller, op, domain);
        fuzz_require((trace.verdict == KD_POLICY_ALLOWED) == (err == KD_OK));
        fuzz_require(kd_policy_decide(p, &caller, op, domain, &match) == err);
        fuzz_require(match.n <= KD_QUOTA_MATCHES_MAX);
        fuzz_require(err == KD_OK ? match.row == row : match.n == 0);
        for (unsigned i = 0; i < match.n; i++)
            fuzz_require(match.of[i].quota ==
                         kd_policy_quota(p, match.of[i].of_domain, match.of[i].at));
    }
    fuzz_require(!trace.any_key || kd_policy_check_key(p, &caller, 0, NULL) == KD_OK);
    kd_ignore(kd_policy_check_key(p, &caller, KD_POLICY_ROLES_MAX + 1, id));
}

static void
check_policy(const struct kd_policy *p)
{
    struct kd_slice domain =
        kd_policy_n_domains(p) == 0 ? kd_slice(NULL, 0) : kd_policy_domain(p, 0);

    for (unsigned klass = 0; klass <= KD_CLASS_COUNT; klass++)
        for (unsigned op = 0; op <= KD_OP_MAX + 1; op++) {
            static const uint32_t nobody[] = {KD_UID_OVERFLOW, KD_UID_NONE};
            struct kd_caller caller = kd_caller_local(klass, 0);
            fuzz_require(kd_op_is_served(op, klass) ||
                         kd_policy_check(p, &caller, op, domain) == KD_DENIED);
            for (size_t i = 0; i < 2; i++) {
                caller = kd_caller_local(klass, nobody[i]);
                fuzz_require(kd_policy_check(p, &caller, op, domain) == KD_DENIED);
            }
        }
    for (unsigned of = 0; of < 2; of++)
        for (size_t i = 0; i < kd_policy_n_quotas(p, of != 0); i++)
            fuzz_require(kd_quota_is_valid(kd_policy_quota(p, of != 0, i)));
    for (size_t row = 0; row < kd_policy_n_rows(p); row++)
        check_row(p, row, domain);
    for (size_t i = 0; i < kd_policy_n_domains(p); i++) {
        size_t found;
        fuzz_require(kd_policy_domain_find(p, kd_policy_domain(p, i), &found) == KD_OK);
        fuzz_require(found == i);
    }
}

static void
try_policy(struct kd_slice octets)
{
    struct kd_policy *p = NULL;

    if (kd_policy_decode(octets, &p) != KD_OK)
        return;
    fuzz_require(kd_slice_eq(kd_policy_octets(p), octets));
    check_policy(p);
    kd_policy_free(p);
}

static void
try_gate(struct kd_slice octets)
{
    struct kd_conf_for_gate c;

    if (kd_conf_for_gate_decode(octets, &c) != KD_OK)
        return;
    kd_conf_for_gate_encode(&c, &buffer);
    require_same(octets);
    check_policy(c.policy);
    kd_conf_for_gate_clear(&c);
}

static void
try_vault(struct kd_slice octets)
{
    struct kd_conf_for_vault c;

    if (kd_conf_for_vault_decode(octets, &c) != KD_OK)
        return;
    kd_conf_for_vault_encode(&c, &buffer);
    require_same(octets);
    check_policy(c.policy);
    for (size_t i = 0; i < kd_policy_n_domains(c.policy); i++) {
        const struct kd_domain_rules *r = &c.rules[i];
        fuzz_require(!kd_domain_rules_may_add(r, 15));
        fuzz_require(!kd_domain_rules_may_add(r, 253));
        fuzz_require(!kd_domain_rules_allow_mode(r, KD_ACCOUNT_MODES));
        fuzz_require(r->tickets == 0 || r->account_keys.n > 0);
        fuzz_require(r->reset_delay >= kd_delay_least(72 * 3600));
        fuzz_require(r->key_retention >= kd_delay_least(23 * 24 * 3600));
        fuzz_require(r->author_grace <= 72 * 3600);
        fuzz_require(r->recipient_stale >= kd_delay_least(72 * 3600));
        fuzz_require(r->message_signer <= KD_MESSAGE_SIGNER_POK);
    }
    fuzz_require(c.n_tokens <= KD_CONF_TOKENS_MAX);
    for (size_t i = 0; i < c.n_tokens; i++)
        fuzz_require(kd_principal_name_is_valid(kd_slice_str(c.tokens[i].name)) &&
                     c.tokens[i].sessions <= KD_CONF_TOKEN_SESSIONS);
    kd_conf_for_vault_clear(&c);
}

static void
try_ledger(struct kd_slice octets)
{
    struct kd_conf_for_ledger c;

    if (kd_conf_for_ledger_decode(octets, &c) != KD_OK)
        return;
    kd_conf_for_ledger_encode(&c, &buffer);
    require_same(octets);
}

static void
try_p11(struct kd_slice octets)
{
    struct kd_conf_for_p11 c;

    if (kd_conf_for_p11_decode(octets, &c) != KD_OK)
        return;
    kd_conf_for_p11_encode(&c, &buffer);
    require_same(octets);
    fuzz_require(kd_conf_host_is_valid(c.host));
    fuzz_require(c.module[0] == '/' && c.n_paths <= KD_CONF_TOKEN_LIST_MAX &&
                 c.n_files <= KD_CONF_TOKEN_LIST_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice octets = kd_slice(data, size);

    if (buffer.max == 0)
        kd_buf_init(&buffer, KD_ROLE_CONF_SIZE_MAX);
    fuzz_begin(size);
    try_policy(octets);
    try_gate(octets);
    try_vault(octets);
    try_ledger(octets);
    try_p11(octets);
    fuzz_end();
    kd_buf_free(&buffer);
    return 0;
}
