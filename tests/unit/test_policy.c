/* The policy: its matrix, its octets, and what each role is told. */
#include <keyd/base/be.h>
#include <keyd/conf/conf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

static const struct kd_slice none = {NULL, 0};

static struct kd_slice
str(const char *s)
{
    return kd_slice_str(s);
}

/* A local caller; of class tls the remote one of that number. */
static struct kd_caller
caller_of(unsigned klass, uint32_t number)
{
    static char name[16];

    if (klass != KD_CLASS_TLS)
        return kd_caller_local(klass, number);
    assert_true(snprintf(name, sizeof name, "r%u", number) > 0);
    return kd_caller_remote(kd_slice_str(name));
}

static kd_err
check(const struct kd_policy *p, unsigned klass, uint32_t number, unsigned op,
      struct kd_slice domain)
{
    struct kd_caller caller = caller_of(klass, number);

    return kd_policy_check(p, &caller, op, domain);
}

static enum kd_policy_verdict
explain(const struct kd_policy *p, unsigned klass, uint32_t number, unsigned op,
        struct kd_slice domain)
{
    struct kd_caller caller = caller_of(klass, number);

    return kd_policy_explain(p, &caller, op, domain);
}

static kd_err
name_of(const struct kd_policy *p, unsigned klass, uint32_t number,
        struct kd_slice *name)
{
    struct kd_caller caller = caller_of(klass, number);

    return kd_policy_name(p, &caller, name);
}

/* Two domains given in descending order, a row on each class, given unsorted:
 * uid 1000 + class, all operations of its class, the first domain given. */
static struct kd_policy *
full_policy(void)
{
    static const uint16_t first[] = {0};
    const struct kd_slice domains[] = {str("example.org"), str("example.com")};
    struct kd_policy_entry entries[KD_CLASS_COUNT];
    struct kd_policy *p = NULL;
    size_t n = 0;

    for (unsigned klass = KD_CLASS_COUNT; klass-- > 0;)
        entries[n++] = (struct kd_policy_entry){
            .name = str(klass == KD_CLASS_TLS ? "r1003" : kd_class_name(klass)),
            .klass = (enum kd_class)klass,
            .uid = klass == KD_CLASS_TLS ? KD_UID_NONE : 1000 + klass,
            .ops = kd_ops_of_class(klass, 0),
            .domains = first,
            .n_domains = 1};
    assert_int_equal(kd_policy_build(domains, 2, NULL, entries, n, &p), KD_OK);
    return p;
}

/* One row: uid 1001 of class mta, may look up signets of example.com. */
static struct kd_policy *
small_policy(void)
{
    static const uint16_t only[] = {0};
    const struct kd_slice domains[] = {str("example.com")};
    const struct kd_policy_entry entry = {.name = str("dmtpd"),
                                          .klass = KD_CLASS_MTA,
                                          .uid = 1001,
                                          .ops = kd_op_bit(KD_OP_LookupSignet),
                                          .domains = only,
                                          .n_domains = 1};
    struct kd_policy *p = NULL;

    assert_int_equal(kd_policy_build(domains, 1, NULL, &entry, 1, &p), KD_OK);
    return p;
}

/* The whole matrix, written down a second time: an operation that is added, or served
 * to another class, must be put here too. */
static const struct {
    const char *name;
    const char *classes; /* m s i t a: mta submission milter tls admin */
    const char *flags;   /* c d k e l s: changes domain key everyone look-up secret;
                          * P S E M: keys needed: POK SOK encryption, of messages */
} matrix[] = {
    {"Hello", "msita", "e"},
    {"Status", "msita", "e"},
    {"PublicKeys", "msita", "e"},
    {"UploadPart", "t", "e"},
    {"FetchPart", "t", "e"},
    {"LookupSignet", "msta", "dl"},
    {"LookupHistory", "msta", "dl"},
    {"VerifyCurrent", "msta", "dl"},
    {"IssueUserSignet", "st", "cdkS"},
    {"FreezeAddress", "sta", "cd"},
    {"ResetAddress", "sta", "cdq"},
    {"SignOutbound", "st", "dkEM"},
    {"OpenEnvelope", "mt", "dkE"},
    {"OpenBounce", "mt", "dkE"},
    {"MakeBounce", "mt", "dkEM"},
    {"SealNaked", "it", "dkM"},
    {"TokenInit", "a", "cs"},
    {"AddUnsealSlot", "a", "cksq"},
    {"Unseal", "a", "sr"},
    {"Seal", "a", "r"},
    {"GenerateKey", "a", "cdkq"},
    {"RetireKey", "a", "cdkq"},
    {"ImportKey", "a", "cdkq"},
    {"IssueOrgSignet", "a", "cdkqPE"},
    {"AuditRead", "a", "l"},
    {"Reload", "a", ""},
    {"Drain", "a", "r"},
    {"AuditHead", "a", "l"},
    {"SetQuorum", "a", "ckq"},
    {"ApprovalList", "a", "kr"},
    {"ApprovalShow", "a", "kr"},
    {"ApprovalSign", "a", "kr"},
    {"PolicyExplain", "a", ""},
    {"StopPrincipal", "a", "c"},
    {"TokenList", "a", "r"},
    {"TokenDoctor", "a", "r"},
    {"TokenAdopt", "a", "ckq"},
    {"AttachKey", "a", "cdkq"},
    {"SignTlsRecord", "a", "cdkqP"},
    {"RegistryBackup", "a", ""},
    {"RegistryRestore", "a", "cqr"},
    {"AuditDrop", "a", "ckqf"},
};
enum { MATRIX_SIZE = sizeof matrix / sizeof matrix[0] };

static bool
cell_is_served(size_t i, unsigned klass)
{
    return strchr(matrix[i].classes, "msita"[klass]) != NULL;
}

static void
every_operation_is_in_the_matrix_with_its_flags(void **state)
{
    static const struct {
        char letter;
        unsigned flag;
    } flags[] = {{'c', KD_OPF_CHANGES},  {'d', KD_OPF_DOMAIN}, {'k', KD_OPF_KEY},
                 {'e', KD_OPF_EVERYONE}, {'l', KD_OPF_LOOKUP}, {'s', KD_OPF_SECRET},
                 {'q', KD_OPF_QUORUM},   {'r', KD_OPF_RESCUE}, {'f', KD_OPF_FREES},
                 {'P', KD_OPF_POK},      {'S', KD_OPF_SOK},    {'E', KD_OPF_ENC},
                 {'M', KD_OPF_SIGNER}};
    size_t n = 0;

    (void)state;
    for (unsigned op = 0; op <= KD_OP_MAX; op++)
        n += kd_op_name(op) != NULL;
    assert_int_equal(n, MATRIX_SIZE);
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        enum kd_op op = kd_op_find(str(matrix[i].name));
        unsigned want = 0;
        assert_int_not_equal(op, KD_OP_NONE);
        assert_string_equal(kd_op_name(op), matrix[i].name);
        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++)
            if (strchr(matrix[i].flags, flags[k].letter) != NULL)
                want |= flags[k].flag;
        assert_int_equal(kd_op_flags(op), want);
    }
    assert_int_equal(kd_op_find(str("hello")), KD_OP_NONE);
    assert_int_equal(kd_op_find(none), KD_OP_NONE);
    assert_null(kd_op_name(KD_OP_NONE));
    assert_null(kd_op_name(63));
    assert_int_equal(kd_op_classes(64), 0);
    assert_int_equal(kd_op_bit(4000), 0);
}

static void
every_cell_of_operation_and_class_is_decided_as_written(void **state)
{
    struct kd_policy *p = full_policy();

    (void)state;
    for (size_t i = 0; i < MATRIX_SIZE; i++)
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
            enum kd_op op = kd_op_find(str(matrix[i].name));
            bool served = cell_is_served(i, klass);
            bool needs_domain = strchr(matrix[i].flags, 'd') != NULL;
            kd_err want = served ? KD_OK : KD_DENIED;
            kd_err bare = needs_domain ? KD_DENIED : want;

            assert_int_equal(kd_op_is_served(op, klass), served);
            assert_int_equal(check(p, klass, 1000 + klass, op, str("example.org")),
                             want);
            assert_int_equal(check(p, klass, 1000 + klass, op, none), bare);
            /* served, but not to this principal */
            assert_int_equal(check(p, klass, 1000 + klass, op, str("example.com")),
                             bare);
            /* another's uid on this class, this uid on another class */
            assert_int_equal(check(p, klass, 1001 + klass, op, str("example.org")),
                             KD_DENIED);
            assert_int_equal(check(p, (klass + 1) % KD_CLASS_COUNT, 1000 + klass, op,
                                   str("example.org")),
                             KD_DENIED);
        }
    kd_policy_free(p);
}

static void
somebody_may_only_what_a_row_of_that_domain_says(void **state)
{
    struct kd_policy *p = full_policy(), *small = small_policy();

    (void)state;
    /* The domains are in order; all rows have example.org, which is the second. */
    for (size_t i = 0; i < MATRIX_SIZE; i++) {
        uint64_t op = kd_op_bit(kd_op_find(str(matrix[i].name)));
        assert_false(kd_policy_somebody_may(p, op, 0));
        assert_true(kd_policy_somebody_may(p, op, 1));
        assert_false(kd_policy_somebody_may(p, op, 2));
        assert_false(kd_policy_somebody_may(p, op, KD_POLICY_DOMAINS_MAX));
        assert_int_equal(kd_policy_somebody_may(small, op, 0),
                         strcmp(matrix[i].name, "LookupSignet") == 0 ||
                             (strchr(matrix[i].flags, 'e') != NULL &&
                              strchr(matrix[i].classes, 'm') != NULL));
    }
    assert_false(kd_policy_somebody_may(p, 0, 1));
    assert_true(kd_policy_somebody_may(small, UINT64_MAX, 0));
    kd_policy_free(p);
    kd_policy_free(small);
}

static void
numbers_that_are_no_operation_or_class_are_denied(void **state)
{
    struct kd_policy *p = full_policy();

    (void)state;
    for (unsigned op = 0; op < 300; op++)
        if (kd_op_name(op) == NULL)
            assert_int_equal(check(p, KD_CLASS_ADMIN, 1004, op, str("example.org")),
                             KD_DENIED);
    assert_int_equal(check(p, KD_CLASS_ADMIN, 1004, UINT32_MAX, str("example.org")),
                     KD_DENIED);
    assert_int_equal(check(p, KD_CLASS_COUNT, 1004, KD_OP_Hello, none), KD_DENIED);
    assert_int_equal(check(p, UINT32_MAX, 1004, KD_OP_Hello, none), KD_DENIED);
    kd_policy_free(p);
}

static void
unknown_uids_and_root_are_denied_everything(void **state)
{
    static const uint32_t uids[] = {0,     1,      999,        1005,
                                    65533, 65534,  65535,      0x7fffffff,
                                    65536, 131072, UINT32_MAX, UINT32_MAX - 1};
    struct kd_policy *p = full_policy();
    struct kd_slice name;

    (void)state;
    for (size_t i = 0; i < sizeof uids / sizeof uids[0]; i++)
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
            for (unsigned op = 0; op <= KD_OP_MAX; op++)
                assert_int_equal(check(p, klass, uids[i], op, str("example.org")),
                                 KD_DENIED);
            assert_int_equal(name_of(p, klass, uids[i], &name), KD_NOT_FOUND);
        }
    kd_policy_free(p);
}

/* A gate's claim of the other kind is nobody's, whatever the rest of it says. */
static void
remote_callers_are_known_by_name_and_local_ones_by_uid(void **state)
{
    struct kd_policy *p = full_policy();
    const struct kd_caller bad[] = {
        {KD_CLASS_TLS, 1003, str("r1003")},
        {KD_CLASS_TLS, KD_UID_NONE, none},
        {KD_CLASS_TLS, KD_UID_NONE, str("r100")},
        {KD_CLASS_TLS, KD_UID_NONE, str("r10033")},
        {KD_CLASS_TLS, KD_UID_NONE, kd_slice("r1003", 6)},
        {KD_CLASS_MTA, 1000, str("mta")},
        {KD_CLASS_MTA, 1000, str("r1003")},
        {KD_CLASS_MTA, KD_UID_NONE, str("r1003")},
        {KD_CLASS_ADMIN, KD_UID_NONE, none},
    };
    const struct kd_caller good = kd_caller_remote(str("r1003"));

    (void)state;
    assert_int_equal(kd_policy_check(p, &good, KD_OP_Status, none), KD_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(kd_policy_check(p, &bad[i], KD_OP_Status, none), KD_DENIED);
    kd_policy_free(p);
}

static void
root_has_what_its_row_says(void **state)
{
    const struct kd_policy_entry entry = {.name = str("operator"),
                                          .klass = KD_CLASS_ADMIN,
                                          .uid = 0,
                                          .ops = kd_op_bit(KD_OP_Unseal)};
    struct kd_policy *p = NULL;

    (void)state;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &entry, 1, &p), KD_OK);
    assert_int_equal(check(p, KD_CLASS_ADMIN, 0, KD_OP_Unseal, none), KD_OK);
    assert_int_equal(check(p, KD_CLASS_ADMIN, 0, KD_OP_Hello, none), KD_OK);
    assert_int_equal(check(p, KD_CLASS_ADMIN, 0, KD_OP_Seal, none), KD_DENIED);
    assert_int_equal(check(p, KD_CLASS_MTA, 0, KD_OP_Hello, none), KD_DENIED);
    kd_policy_free(p);
}

static void
the_reason_of_a_refusal_is_told_apart(void **state)
{
    struct kd_policy *p = small_policy();
    struct kd_slice com = str("example.com");

    (void)state;
    assert_int_equal(explain(p, KD_CLASS_MTA, 7, KD_OP_Hello, none),
                     KD_POLICY_NO_PRINCIPAL);
    assert_int_equal(explain(p, KD_CLASS_MTA, 1001, KD_OP_Unseal, none),
                     KD_POLICY_NOT_SERVED);
    assert_int_equal(explain(p, KD_CLASS_MTA, 1001, KD_OP_LookupHistory, com),
                     KD_POLICY_NOT_PERMITTED);
    assert_int_equal(explain(p, KD_CLASS_MTA, 1001, KD_OP_LookupSignet, none),
                     KD_POLICY_NO_DOMAIN);
    assert_int_equal(
        explain(p, KD_CLASS_MTA, 1001, KD_OP_LookupSignet, str("example.co")),
        KD_POLICY_OTHER_DOMAIN);
    assert_int_equal(
        explain(p, KD_CLASS_MTA, 1001, KD_OP_LookupSignet, str("EXAMPLE.COM")),
        KD_POLICY_OTHER_DOMAIN);
    assert_int_equal(explain(p, KD_CLASS_MTA, 1001, KD_OP_LookupSignet, com),
                     KD_POLICY_ALLOWED);
    for (unsigned v = KD_POLICY_ALLOWED; v <= KD_POLICY_OTHER_KEY; v++)
        assert_non_null(kd_policy_verdict_text((enum kd_policy_verdict)v));
    kd_policy_free(p);
}

static void
names_and_domains_are_found(void **state)
{
    struct kd_policy *p = full_policy();
    struct kd_slice name;
    size_t i;

    (void)state;
    assert_int_equal(name_of(p, KD_CLASS_MILTER, 1002, &name), KD_OK);
    assert_true(kd_slice_eq(name, str("milter")));
    assert_int_equal(kd_policy_n_domains(p), 2);
    assert_true(kd_slice_eq(kd_policy_domain(p, 0), str("example.com")));
    assert_true(kd_slice_eq(kd_policy_domain(p, 1), str("example.org")));
    assert_int_equal(kd_policy_domain_find(p, str("example.org"), &i), KD_OK);
    assert_int_equal(i, 1);
    assert_int_equal(kd_policy_domain_find(p, str("example.net"), &i), KD_NOT_FOUND);
    assert_int_equal(kd_policy_domain_find(p, str("example.comx"), &i), KD_NOT_FOUND);
    assert_int_equal(kd_policy_domain_find(p, none, &i), KD_NOT_FOUND);
    kd_policy_free(p);
}

static void
many_domains_and_principals_are_all_found(void **state)
{
    static char names[KD_POLICY_DOMAINS_MAX][32];
    static struct kd_slice domains[KD_POLICY_DOMAINS_MAX];
    static struct kd_policy_entry entries[KD_POLICY_ROWS_MAX];
    static uint16_t one[KD_POLICY_ROWS_MAX];
    struct kd_policy *p = NULL;

    (void)state;
    for (unsigned i = 0; i < KD_POLICY_DOMAINS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "d%u.example", (i * 37) % 1024);
        domains[i] = str(names[i]);
    }
    for (unsigned i = 0; i < KD_POLICY_ROWS_MAX; i++) {
        one[i] = (uint16_t)(i * 4 + 3);
        entries[i] = (struct kd_policy_entry){.name = str("p"),
                                              .klass = KD_CLASS_MTA,
                                              .uid = (i * 101) % 256 + 5000,
                                              .ops = kd_op_bit(KD_OP_VerifyCurrent),
                                              .domains = &one[i],
                                              .n_domains = 1};
    }
    assert_int_equal(kd_policy_build(domains, KD_POLICY_DOMAINS_MAX, NULL, entries,
                                     KD_POLICY_ROWS_MAX, &p),
                     KD_OK);
    assert_true(kd_policy_octets(p).n <= KD_POLICY_SIZE_MAX);
    for (unsigned i = 0; i < KD_POLICY_ROWS_MAX; i++)
        for (unsigned d = i % 7; d < KD_POLICY_DOMAINS_MAX; d += 7)
            assert_int_equal(
                check(p, KD_CLASS_MTA, entries[i].uid, KD_OP_VerifyCurrent, domains[d]),
                d == one[i] ? KD_OK : KD_DENIED);
    kd_policy_free(p);
    assert_int_equal(
        kd_policy_build(domains, KD_POLICY_DOMAINS_MAX + 1, NULL, NULL, 0, &p),
        KD_TOO_LARGE);
    assert_int_equal(
        kd_policy_build(NULL, 0, NULL, entries, KD_POLICY_ROWS_MAX + 1, &p),
        KD_TOO_LARGE);
}

/* --- keys, quotas and lines ------------------------------------------------------ */

static const uint8_t id_a[16] = {1, 2, 3}, id_b[16] = {0xff}, id_c[16] = {9};

/* "all": any key; "roles": sok and id_a; "ids": id_b, id_a; "none": none. Lines. */
static struct kd_policy *
keyed_policy(void)
{
    static const uint8_t some[][16] = {{0xff}, {1, 2, 3}};
    static const uint16_t only[] = {0};
    static const struct kd_quota own[] = {{KD_OP_IssueUserSignet, {5, 1, 50}, 16, 31},
                                          {KD_OP_NONE, {500, 1, 1000}, 0, 32},
                                          {KD_OP_LookupSignet, {9, 60, 3}, 0, 33}};
    static const struct kd_quota shared[] = {{KD_OP_NONE, {7, 3600, 1}, 0, 12},
                                             {KD_OP_LookupSignet, {8, 1, 1}, 0, 13}};
    const struct kd_slice domains[] = {str("example.org"), str("example.com")};
    const struct kd_policy_domain_entry with[] = {{shared, 2, 10}, {NULL, 0, 20}};
    struct kd_policy_entry entries[4];
    struct kd_policy *p = NULL;

    for (unsigned i = 0; i < 4; i++) {
        static const char *const names[] = {"all", "roles", "ids", "none"};
        entries[i] = (struct kd_policy_entry){
            .name = str(names[i]),
            .klass = KD_CLASS_SUBMISSION,
            .uid = 100 - i, /* the rows come the other way round */
            .ops = kd_op_bit(KD_OP_IssueUserSignet) | kd_op_bit(KD_OP_LookupSignet),
            .domains = only,
            .n_domains = 1,
            .has_keys = i != 0,
            .lines = {.section = 100 + i, .operations = 200 + i, .keys = 300 + i}};
        entries[i].lines.op[KD_OP_LookupSignet] = 5;
    }
    entries[1].key_roles = 1 << 2;
    entries[1].key_ids = some + 1;
    entries[1].n_key_ids = 1;
    entries[2].key_ids = some;
    entries[2].n_key_ids = 2;
    entries[2].quotas = own;
    entries[2].n_quotas = 3;
    entries[0].quotas = own;
    entries[0].n_quotas = 1;
    assert_int_equal(kd_policy_build(domains, 2, with, entries, 4, &p), KD_OK);
    return p;
}

static bool
has_key(const struct kd_policy *p, const char *name, unsigned role, const uint8_t *id)
{
    struct kd_caller caller;

    assert_int_equal(kd_policy_find(p, str(name), &caller), KD_OK);
    return kd_policy_check_key(p, &caller, role, id) == KD_OK;
}

static void
keys_are_those_listed_or_any(void **state)
{
    struct kd_policy *p = keyed_policy();
    const struct kd_caller nobody = kd_caller_local(KD_CLASS_SUBMISSION, 5);

    (void)state;
    for (unsigned role = 0; role <= 20; role++) {
        assert_true(has_key(p, "all", role, id_c) && has_key(p, "all", role, NULL));
        assert_int_equal(has_key(p, "roles", role, id_c), role == 2);
        assert_int_equal(has_key(p, "roles", role, NULL), role == 2);
        assert_true(has_key(p, "roles", role, id_a));
        assert_int_equal(has_key(p, "roles", role, id_b), role == 2);
        assert_true(has_key(p, "ids", role, id_a) && has_key(p, "ids", role, id_b));
        assert_false(has_key(p, "ids", role, id_c) || has_key(p, "ids", role, NULL));
        assert_false(has_key(p, "none", role, id_a) || has_key(p, "none", role, NULL));
        assert_int_equal(kd_policy_check_key(p, &nobody, role, id_a), KD_DENIED);
    }
    kd_policy_free(p);
}

static void
quotas_that_match_are_found(void **state)
{
    struct kd_policy *p = keyed_policy();
    struct kd_quota_match m;
    struct kd_caller caller;

    (void)state;
    assert_int_equal(kd_policy_n_quotas(p, false), 4);
    assert_int_equal(kd_policy_n_quotas(p, true), 2);
    assert_int_equal(kd_policy_find(p, str("ids"), &caller), KD_OK);
    assert_int_equal(
        kd_policy_decide(p, &caller, KD_OP_LookupSignet, str("example.org"), &m),
        KD_OK);
    assert_int_equal(m.n, 4);
    assert_int_equal(m.of[0].quota->line, 32);
    assert_int_equal(m.of[1].quota->line, 33);
    assert_true(m.of[2].of_domain && m.of[3].of_domain);
    assert_int_equal(m.of[2].quota->line, 12);
    assert_int_equal(m.of[2].at, 0);
    assert_int_equal(m.of[3].quota->rate.n, 8);
    assert_int_equal(
        kd_policy_decide(p, &caller, KD_OP_LookupSignet, str("example.com"), &m),
        KD_DENIED); /* not his domain: nothing counts */
    assert_int_equal(m.n, 0);
    assert_int_equal(kd_policy_decide(p, &caller, KD_OP_Status, str("example.org"), &m),
                     KD_OK);
    assert_int_equal(m.n, 1);
    assert_int_equal(kd_policy_find(p, str("none"), &caller), KD_OK);
    assert_int_equal(
        kd_policy_decide(p, &caller, KD_OP_IssueUserSignet, str("example.org"), &m),
        KD_OK);
    assert_int_equal(m.n, 1);
    assert_true(m.of[0].of_domain);
    caller = kd_caller_local(KD_CLASS_MTA, 1);
    assert_int_equal(
        kd_policy_decide(p, &caller, KD_OP_LookupSignet, str("example.org"), &m),
        KD_DENIED);
    assert_int_equal(m.n, 0);
    kd_policy_free(p);
}

static void
a_decision_is_traced_to_its_lines(void **state)
{
    struct kd_policy *p = keyed_policy();
    const struct kd_policy_key sok = {true, 2, id_c}, enc = {true, 3, id_c};
    struct kd_policy_trace t;
    struct kd_caller caller;

    (void)state;
    assert_int_equal(kd_policy_find(p, str("roles"), &caller), KD_OK);
    kd_policy_trace(p, &caller, KD_OP_LookupSignet, str("example.org"), &sok, &t);
    assert_int_equal(t.verdict, KD_POLICY_ALLOWED);
    assert_true(kd_slice_eq(t.name, str("roles")));
    assert_int_equal(t.lines.section, 101);
    assert_int_equal(t.op_line, 206);
    assert_int_equal(t.lines.keys, 301);
    assert_int_equal(t.domain_line, 10);
    kd_policy_trace(p, &caller, KD_OP_LookupSignet, str("example.org"), &enc, &t);
    assert_int_equal(t.verdict, KD_POLICY_OTHER_KEY);
    kd_policy_trace(p, &caller, KD_OP_LookupSignet, str("example.com"), &enc, &t);
    assert_int_equal(t.verdict, KD_POLICY_OTHER_DOMAIN);
    assert_int_equal(t.domain_line, 20);
    kd_policy_trace(p, &caller, KD_OP_VerifyCurrent, str("example.net"), NULL, &t);
    assert_int_equal(t.verdict, KD_POLICY_NOT_PERMITTED);
    assert_int_equal(t.op_line, 0);
    assert_int_equal(t.domain_line, 0);
    kd_policy_trace(p, &caller, KD_OP_Status, none, NULL, &t);
    assert_int_equal(t.verdict, KD_POLICY_ALLOWED);
    assert_int_equal(t.op_line, 0);
    caller.uid = 7;
    kd_policy_trace(p, &caller, KD_OP_NONE, none, NULL, &t);
    assert_int_equal(t.row, KD_POLICY_ROWS_MAX);
    assert_int_equal(kd_policy_find(p, str("nobody"), &caller), KD_NOT_FOUND);
    kd_policy_free(p);
}

static void
a_gate_has_its_quotas_and_those_of_domains_and_no_keys(void **state)
{
    struct kd_policy *p = keyed_policy(), *gate = NULL, *other = NULL, *again = NULL;
    uint64_t ops = kd_ops_of_class(KD_CLASS_SUBMISSION, KD_OPF_LOOKUP);
    struct kd_caller caller;

    (void)state;
    assert_int_equal(kd_policy_project(p, KD_CLASS_SUBMISSION, ops, &gate), KD_OK);
    assert_int_equal(kd_policy_n_quotas(gate, false), 4);
    assert_int_equal(kd_policy_n_quotas(gate, true), 2);
    assert_int_equal(kd_policy_find(gate, str("none"), &caller), KD_OK);
    assert_int_equal(kd_policy_check_key(gate, &caller, 0, NULL), KD_OK);
    assert_int_equal(kd_policy_project(gate, KD_CLASS_SUBMISSION, ops, &again), KD_OK);
    assert_true(kd_slice_eq(kd_policy_octets(gate), kd_policy_octets(again)));
    assert_int_equal(kd_policy_project(p, KD_CLASS_MTA, ops, &other), KD_OK);
    assert_int_equal(kd_policy_n_quotas(other, false), 0);
    assert_int_equal(kd_policy_n_quotas(other, true), 2);
    kd_policy_free(p);
    kd_policy_free(gate);
    kd_policy_free(other);
    kd_policy_free(again);
}

/* Counted from 0 in each class, as where the gates count. */
static void
the_lines_of_a_class_are_numbered_anew(void **state)
{
    static const struct kd_quota q[] = {{KD_OP_NONE, {5, 1, 5}, 0, 0}};
    struct kd_policy_entry entries[3];
    struct kd_policy *p = NULL, *gate = NULL;
    size_t first;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        entries[i] = (struct kd_policy_entry){.name = str(i == 0   ? "a"
                                                          : i == 1 ? "b"
                                                                   : "c"),
                                              .klass = i == 0 ? KD_CLASS_MTA
                                                              : KD_CLASS_SUBMISSION,
                                              .uid = i,
                                              .quotas = q,
                                              .n_quotas = 1};
    assert_int_equal(kd_policy_build(NULL, 0, NULL, entries, 3, &p), KD_OK);
    assert_int_equal(kd_policy_of_class(p, KD_CLASS_SUBMISSION, &first), 2);
    assert_int_equal(first, 1);
    assert_int_equal(kd_policy_first_quota(p, first), 1);
    assert_int_equal(kd_policy_first_quota(p, 3), 3);
    assert_int_equal(kd_policy_project(p, KD_CLASS_SUBMISSION, 0, &gate), KD_OK);
    assert_int_equal(kd_policy_n_quotas(gate, false), 2);
    assert_int_equal(kd_policy_first_quota(gate, 1), 1);
    kd_policy_free(p);
    kd_policy_free(gate);
}

static void
bad_keys_and_quotas_are_refused(void **state)
{
    static const uint8_t twice[][16] = {{1}, {2}, {1}};
    static const struct kd_quota good = {KD_OP_NONE, {1, 1, 1}, 0, 0};
    const struct kd_quota same[] = {good, good};
    const struct kd_quota bad[] = {
        {KD_OP_Hello, {1, 1, 1}, 0, 0},     {62, {1, 1, 1}, 0, 0},
        {KD_OP_NONE, {1, 1, 0}, 0, 0},      {KD_OP_NONE, {0, 1, 1}, 0, 0},
        {KD_OP_NONE, {1, 2, 1}, 0, 0},      {KD_OP_NONE, {1000001, 1, 1}, 0, 0},
        {KD_OP_NONE, {0, 0, 0}, 0, 0},      {KD_OP_NONE, {1, 1, 1}, 65536, 0},
        {KD_OP_NONE, {1, 1, 1000001}, 0, 0}};
    struct kd_quota many[KD_POLICY_OWN_QUOTAS_MAX + 1] = {{0}};
    struct kd_policy_entry e = {.name = str("a"), .klass = KD_CLASS_ADMIN, .uid = 1};
    struct kd_policy *p = NULL;

    (void)state;
    e.n_quotas = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e.quotas = &bad[i];
        assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_INVALID);
    }
    e.quotas = same;
    e.n_quotas = 2;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_CONFLICT);
    e.quotas = many;
    e.n_quotas = KD_POLICY_OWN_QUOTAS_MAX + 1;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_TOO_LARGE);
    e.n_quotas = 0;
    e.has_keys = true;
    e.key_roles = 1; /* role 0 */
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_INVALID);
    e.key_roles = 1 << 15;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_INVALID);
    e.key_roles = 0;
    e.key_ids = twice;
    e.n_key_ids = 3;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_CONFLICT);
    e.n_key_ids = 2;
    assert_int_equal(kd_policy_build(NULL, 0, NULL, &e, 1, &p), KD_OK);
    kd_policy_free(p);
}

/* Each octet of a block with everything in it, changed: refused, or another policy that
 * encodes as it came. */
static void
every_flipped_bit_is_refused_or_another_policy(void **state)
{
    struct kd_policy *p = keyed_policy(), *got = NULL;
    struct kd_slice octets = kd_policy_octets(p);
    uint8_t *copy = malloc(octets.n);

    (void)state;
    assert_non_null(copy);
    for (size_t bit = 0; bit < 8 * octets.n; bit++) {
        memcpy(copy, octets.p, octets.n);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (kd_policy_decode(kd_slice(copy, octets.n), &got) != KD_OK)
            continue;
        assert_memory_equal(kd_policy_octets(got).p, copy, octets.n);
        kd_policy_free(got);
    }
    for (size_t n = 0; n < octets.n; n++) {
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, octets.p, n);
        assert_int_equal(kd_policy_decode(kd_slice(exact, n), &got), KD_MALFORMED);
        free(exact);
    }
    free(copy);
    kd_policy_free(p);
}

static void
bad_entries_are_refused(void **state)
{
    static const uint16_t other[] = {1};
    const struct kd_slice domains[] = {str("example.com")};
    const struct kd_policy_entry good = {.name = str("a"),
                                         .klass = KD_CLASS_MTA,
                                         .uid = 1,
                                         .ops = kd_op_bit(KD_OP_Status)};
    const struct kd_policy_entry bad[] = {
        {.name = str("a"), .klass = KD_CLASS_MTA, .uid = 65534},
        {.name = str("a"), .klass = KD_CLASS_MTA, .uid = UINT32_MAX},
        {.name = str("a"), .klass = KD_CLASS_TLS, .uid = 1},
        {.name = str("a"), .klass = KD_CLASS_COUNT, .uid = 1},
        {.name = str(""), .klass = KD_CLASS_MTA, .uid = 1},
        {.name = str("A"), .klass = KD_CLASS_MTA, .uid = 1},
        {.name = str("-a"), .klass = KD_CLASS_MTA, .uid = 1},
        {.name = str("a b"), .klass = KD_CLASS_MTA, .uid = 1},
        {.name = str("aaaaaaaaaabbbbbbbbbbccccccccccddd"), .klass = KD_CLASS_MTA},
        {.name = str("a"), .klass = KD_CLASS_MTA, .ops = kd_op_bit(KD_OP_Unseal)},
        {.name = str("a"), .klass = KD_CLASS_MTA, .ops = UINT64_C(1) << 62},
        {.name = str("a"), .klass = KD_CLASS_MTA, .ops = 1},
        {.name = str("a"), .klass = KD_CLASS_MTA, .domains = other, .n_domains = 1},
    };
    struct kd_policy_entry twice[] = {good, good};
    const struct kd_policy_entry remote[] = {
        {.name = str("b"), .klass = KD_CLASS_TLS, .uid = KD_UID_NONE},
        {.name = str("a"), .klass = KD_CLASS_TLS, .uid = KD_UID_NONE},
        {.name = str("b"), .klass = KD_CLASS_TLS, .uid = KD_UID_NONE}};
    const struct kd_slice same[] = {str("a.b"), str("c.d"), str("a.b")};
    struct kd_policy *p = NULL;

    (void)state;
    assert_int_equal(kd_policy_build(domains, 1, NULL, &good, 1, &p), KD_OK);
    kd_policy_free(p);
    p = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(kd_policy_build(domains, 1, NULL, &bad[i], 1, &p), KD_INVALID);
    twice[1].name = str("b");
    assert_int_equal(kd_policy_build(domains, 1, NULL, twice, 2, &p), KD_CONFLICT);
    assert_int_equal(kd_policy_build(same, 3, NULL, NULL, 0, &p), KD_CONFLICT);
    assert_int_equal(kd_policy_build(domains, 1, NULL, remote, 3, &p), KD_CONFLICT);
    assert_int_equal(kd_policy_build(domains, 1, NULL, remote, 2, &p), KD_OK);
    kd_policy_free(p);
    p = NULL;
    assert_null(p);
}

static void
domains_are_lower_case_a_labels(void **state)
{
    static const char *const good[] = {
        "example.com",    "a.b",    "xn--bcher-kva.example",
        "localhost",      "1.a",    "a-b.c-d.e",
        "4.3.2.1.x-addr", "a1.b2c", "3com.example"};
    static const char *const bad[] = {
        "",          ".",    "example.com.", ".example.com", "a..b",  "Example.com",
        "a_b.c",     "-a.b", "a-.b",         "a.b-",         "a.-b",  "a b.c",
        "192.0.2.1", "1",    "a.1",          "b\xc3\xbc.de", "a@b.c", "a.b\n",
        "*.a"};
    char longest[260];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(kd_domain_is_valid(str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(kd_domain_is_valid(str(bad[i])));
    assert_false(kd_domain_is_valid(kd_slice("a\0b.c", 5)));
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 64 == 63 ? '.' : 'a';
    assert_true(kd_domain_is_valid(kd_slice(longest, 63)));
    assert_false(kd_domain_is_valid(kd_slice(longest, 64)));
    assert_true(kd_domain_is_valid(kd_slice(longest, 253)));
    assert_false(kd_domain_is_valid(kd_slice(longest, 254)));
    longest[63] = 'a';
    assert_false(kd_domain_is_valid(kd_slice(longest, 66)));
}

static void
octets_come_back_as_they_were(void **state)
{
    struct kd_policy *p = full_policy();
    struct kd_policy *again = NULL;

    (void)state;
    assert_int_equal(kd_policy_decode(kd_policy_octets(p), &again), KD_OK);
    assert_true(kd_slice_eq(kd_policy_octets(p), kd_policy_octets(again)));
    assert_int_equal(check(again, KD_CLASS_SUBMISSION, 1001, KD_OP_IssueUserSignet,
                           str("example.org")),
                     KD_OK);
    kd_policy_free(p);
    kd_policy_free(again);
}

static void
every_truncation_and_addition_is_refused(void **state)
{
    struct kd_policy *p = full_policy();
    struct kd_policy *out = NULL;
    struct kd_slice octets = kd_policy_octets(p);
    uint8_t copy[4096];

    (void)state;
    assert_true(octets.n < sizeof copy);
    memcpy(copy, octets.p, octets.n);
    copy[octets.n] = 0;
    for (size_t n = 0; n < octets.n; n++)
        assert_int_equal(kd_policy_decode(kd_slice(copy, n), &out), KD_MALFORMED);
    assert_int_equal(kd_policy_decode(kd_slice(copy, octets.n + 1), &out),
                     KD_MALFORMED);
    assert_null(out);
    kd_policy_free(p);
}

/* No single bit may be flipped into a policy that is not canonical, nor make one that
 * gives a class what it is not served. */
static void
every_bit_flip_is_refused_or_canonical(void **state)
{
    struct kd_policy *p = full_policy();
    struct kd_slice octets = kd_policy_octets(p);
    uint8_t copy[4096];
    size_t n_refused = 0;

    (void)state;
    memcpy(copy, octets.p, octets.n);
    for (size_t bit = 0; bit < octets.n * 8; bit++) {
        struct kd_policy *out = NULL;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        kd_err err = kd_policy_decode(kd_slice(copy, octets.n), &out);
        if (err == KD_OK) {
            assert_true(kd_slice_eq(kd_policy_octets(out), kd_slice(copy, octets.n)));
            for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
                for (unsigned op = 0; op <= KD_OP_MAX; op++)
                    if (!kd_op_is_served(op, klass))
                        assert_int_equal(
                            check(out, klass, 1000 + klass, op, str("example.org")),
                            KD_DENIED);
        } else {
            assert_int_equal(err, KD_MALFORMED);
            n_refused++;
        }
        kd_policy_free(out);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(n_refused > octets.n); /* most of the 8 x n */
    kd_policy_free(p);
}

static void
a_class_is_told_its_own_look_ups_only(void **state)
{
    struct kd_policy *p = full_policy();
    struct kd_policy *own = NULL;

    (void)state;
    assert_int_equal(
        kd_policy_project(p, KD_CLASS_SUBMISSION,
                          kd_ops_of_class(KD_CLASS_SUBMISSION, KD_OPF_LOOKUP), &own),
        KD_OK);
    assert_int_equal(kd_policy_n_rows(own), 1);
    assert_int_equal(
        check(own, KD_CLASS_SUBMISSION, 1001, KD_OP_LookupSignet, str("example.org")),
        KD_OK);
    assert_int_equal(check(own, KD_CLASS_SUBMISSION, 1001, KD_OP_Hello, none), KD_OK);
    assert_int_equal(check(own, KD_CLASS_SUBMISSION, 1001, KD_OP_IssueUserSignet,
                           str("example.org")),
                     KD_DENIED);
    assert_int_equal(check(own, KD_CLASS_MTA, 1000, KD_OP_Hello, none), KD_DENIED);
    kd_policy_free(own);
    kd_policy_free(p);
}

/* What roles are told. */

static struct kd_conf *
some_conf(void)
{
    static const char text[] =
        "hardening = relaxed log-level = debug single-operator = yes\n"
        "crypto-threads = 3 verify-sampled = 7 group-commit-max = 99\n"
        "audit-checkpoint-interval = 61 max-frame = 20000 idle-timeout = 86400\n"
        "domain \"example.org\" { issue-profile-fields = { 16, 252 } }\n"
        "domain \"example.com\" { issue-profile-fields = { 19 }\n"
        "  account-key = { \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo\" }\n"
        "  require-ticket = reset account-modes = { paranoid } reset-delay = 300000\n"
        "  message-signer = pok key-retention = 2000000 author-grace = 0\n"
        "  recipient-stale = 300001 }\n"
        "principal \"submitd\" { uid = 1001 class = submission\n"
        "  operations = { \"IssueUserSignet\", \"LookupSignet\" }\n"
        "  domains = { \"example.org\" } }\n"
        "principal \"dmtpd\" { uid = 1002 class = mta\n"
        "  operations = { \"LookupSignet\" } domains = { \"example.com\" } }\n"
        "principal \"root\" { uid = 0 class = admin operations = { \"Unseal\" } }\n";
    static const struct kd_conf_env env = {.n_cpus = 2};
    static struct kd_conf_problems problems;
    struct kd_conf *conf = NULL;

    assert_int_equal(kd_conf_parse(str(text), &env, &conf, &problems), KD_OK);
    assert_int_equal(problems.n, 0);
    return conf;
}

static void
the_vault_is_told_all_of_the_policy(void **state)
{
    struct kd_conf *conf = some_conf();
    struct kd_conf_for_vault made, got = {0};
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    assert_int_equal(kd_conf_for_vault_make(conf, &made), KD_OK);
    kd_conf_for_vault_encode(&made, &b);
    kd_conf_free(conf);
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_OK);
    assert_int_equal(got.hardening, KD_HARDENING_RELAXED);
    assert_int_equal(got.log_level, KD_DEBUG);
    assert_true(got.single_operator);
    assert_int_equal(got.crypto_threads, 3);
    assert_int_equal(got.verify_sampled, 7);
    assert_int_equal(got.audit_checkpoint_interval, 61);
    assert_memory_equal(got.digest, made.digest, sizeof got.digest);
    assert_memory_equal(&got.limits, &made.limits, sizeof got.limits);
    assert_int_equal(got.limits.max_frame, 20000);
    assert_int_equal(kd_policy_n_rows(got.policy), 3);
    assert_int_equal(check(got.policy, KD_CLASS_SUBMISSION, 1001, KD_OP_IssueUserSignet,
                           str("example.org")),
                     KD_OK);
    /* example.com comes first in the policy, whatever the order in the file */
    assert_true(kd_domain_rules_may_add(&got.rules[0], 19));
    assert_false(kd_domain_rules_may_add(&got.rules[0], 16));
    assert_true(kd_domain_rules_may_add(&got.rules[1], 16));
    assert_true(kd_domain_rules_may_add(&got.rules[1], 252));
    assert_false(kd_domain_rules_may_add(&got.rules[1], 19));
    assert_false(kd_domain_rules_may_add(&got.rules[0], 256));
    assert_int_equal(got.rules[0].account_keys.n, 1);
    assert_int_equal(got.rules[0].account_keys.key[0][0], 0xd7);
    assert_int_equal(got.rules[0].tickets, KD_TICKET_RESET);
    assert_int_equal(got.rules[0].account_modes, 1 << KD_ACCOUNT_PARANOID);
    assert_int_equal(got.rules[0].reset_delay, 300000);
    assert_int_equal(got.rules[1].account_keys.n, 0);
    assert_int_equal(got.rules[1].tickets, 0);
    assert_int_equal(got.rules[1].account_modes, KD_ACCOUNT_MODES_ALL);
    assert_int_equal(got.rules[1].reset_delay, 259200);
    assert_int_equal(got.rules[0].message_signer, KD_MESSAGE_SIGNER_POK);
    assert_int_equal(got.rules[0].key_retention, 2000000);
    assert_int_equal(got.rules[0].author_grace, 0);
    assert_int_equal(got.rules[0].recipient_stale, 300001);
    assert_int_equal(got.rules[1].message_signer, KD_MESSAGE_SIGNER_SOK);
    assert_int_equal(got.rules[1].key_retention, 71 * 24 * 3600);
    assert_int_equal(got.rules[1].author_grace, 24 * 3600);
    assert_int_equal(got.rules[1].recipient_stale, 7 * 24 * 3600);
    kd_conf_for_vault_clear(&made);
    kd_conf_for_vault_clear(&got);
    kd_buf_free(&b);
}

static struct kd_domain_rules
with_the_key_twice(const struct kd_domain_rules *rules)
{
    struct kd_domain_rules r = *rules;

    r.account_keys.n = 2;
    memcpy(r.account_keys.key[1], r.account_keys.key[0], KD_ACCOUNT_KEY_SIZE);
    return r;
}

static void
rules_that_contradict_each_other_do_not_decode(void **state)
{
    struct kd_conf_for_vault made, got = {0};
    struct kd_conf *conf = some_conf();

    (void)state;
    assert_int_equal(kd_conf_for_vault_make(conf, &made), KD_OK);
    kd_conf_free(conf);
    for (unsigned i = 0; i < 11; i++) {
        struct kd_domain_rules *r = &made.rules[0], kept = *r;
        struct kd_buf b;
        if (i == 0)
            r->account_keys.n = 0;
        else if (i == 1)
            r->account_modes = 0;
        else if (i == 2)
            r->account_modes = KD_ACCOUNT_MODES_ALL + 1;
        else if (i == 3)
            r->tickets = KD_TICKET_ALL + 1;
        else if (i == 4)
            r->reset_delay = kd_delay_least(72 * 3600) - 1;
        else if (i == 5)
            r->profile_fields[1] = 0x80;
        else if (i == 6)
            r->message_signer = KD_MESSAGE_SIGNER_POK + 1;
        else if (i == 7)
            r->key_retention = 366 * 24 * 3600 + 1;
        else if (i == 8)
            r->author_grace = 72 * 3600 + 1;
        else if (i == 9)
            r->recipient_stale = kd_delay_least(72 * 3600) - 1;
        else
            *r = with_the_key_twice(r);
        kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
        kd_conf_for_vault_encode(&made, &b);
        assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got),
                         KD_MALFORMED);
        *r = kept;
        kd_buf_reset(&b);
        kd_conf_for_vault_encode(&made, &b);
        assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_OK);
        kd_conf_for_vault_clear(&got);
        kd_buf_free(&b);
    }
    kd_conf_for_vault_clear(&made);
}

static void
a_gate_is_told_its_class_only(void **state)
{
    struct kd_conf *conf = some_conf();
    struct kd_conf_for_gate made, got = {0};
    struct kd_policy *whole = NULL;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    assert_int_equal(kd_conf_for_gate_make(conf, KD_CLASS_SUBMISSION, &made), KD_OK);
    kd_conf_for_gate_encode(&made, &b);
    assert_int_equal(kd_conf_for_gate_decode(kd_buf_slice(&b), &got), KD_OK);
    assert_int_equal(got.klass, KD_CLASS_SUBMISSION);
    assert_int_equal(got.limits.idle_timeout, 86400);
    assert_int_equal(kd_policy_n_rows(got.policy), 1);
    assert_int_equal(check(got.policy, KD_CLASS_SUBMISSION, 1001, KD_OP_LookupSignet,
                           str("example.org")),
                     KD_OK);
    assert_int_equal(check(got.policy, KD_CLASS_SUBMISSION, 1001, KD_OP_IssueUserSignet,
                           str("example.org")),
                     KD_DENIED);
    kd_conf_for_gate_clear(&got);

    /* more than look-ups, or more than its class, is not a gate's configuration */
    assert_int_equal(kd_policy_decode(kd_policy_octets(conf->policy), &whole), KD_OK);
    kd_policy_free(made.policy);
    made.policy = whole;
    kd_buf_reset(&b);
    kd_conf_for_gate_encode(&made, &b);
    assert_int_equal(kd_conf_for_gate_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    kd_conf_for_gate_clear(&made);
    kd_conf_free(conf);
    kd_buf_free(&b);
}

static void
the_ledger_is_told_its_numbers(void **state)
{
    struct kd_conf *conf = some_conf();
    struct kd_conf_for_ledger made, got = {0};
    struct kd_conf_for_gate gate = {0};
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_ledger_make(conf, &made);
    kd_conf_for_ledger_encode(&made, &b);
    assert_int_equal(kd_conf_for_ledger_decode(kd_buf_slice(&b), &got), KD_OK);
    assert_int_equal(got.group_commit_max, 99);
    assert_memory_equal(&got.limits, &made.limits, sizeof got.limits);
    assert_int_equal(kd_conf_for_gate_decode(kd_buf_slice(&b), &gate), KD_UNSUPPORTED);
    kd_conf_free(conf);
    kd_buf_free(&b);
}

/* Of each role: every truncation, an octet too much, another version, and every number
 * of the limits out of its range. */
static void
damaged_octets_of_a_role_are_refused(void **state)
{
    struct kd_conf *conf = some_conf();
    struct kd_conf_for_vault vault, got = {0};
    struct kd_conf_for_ledger got_ledger = {0}, ledger;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    assert_int_equal(kd_conf_for_vault_make(conf, &vault), KD_OK);
    kd_conf_for_vault_encode(&vault, &b);
    for (size_t n = 0; n < b.n; n++)
        assert_int_not_equal(kd_conf_for_vault_decode(kd_slice(b.p, n), &got), KD_OK);
    b.p[1]++;
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_UNSUPPORTED);
    b.p[1]--;
    b.p[4] = 2; /* single_operator */
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    b.p[4] = 1;
    b.p[b.n - KD_PROFILE_FIELDS_SIZE - 20] = 2; /* field 1 of the last domain */
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    b.p[b.n - KD_PROFILE_FIELDS_SIZE - 20] = 0;
    kd_buf_u8(&b, 0);
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &got), KD_MALFORMED);
    kd_conf_for_vault_clear(&vault);

    kd_conf_for_ledger_make(conf, &ledger);
    kd_buf_reset(&b);
    kd_conf_for_ledger_encode(&ledger, &b);
    for (size_t at = 4; at < b.n; at += 4) {
        uint32_t old = kd_be32(b.p + at);
        if (at == 8 || at == b.n - 4)
            continue; /* no grace, and no checkpoint-file, may be */
        kd_put_be32(b.p + at, 0);
        assert_int_equal(kd_conf_for_ledger_decode(kd_buf_slice(&b), &got_ledger),
                         KD_MALFORMED);
        kd_put_be32(b.p + at, old);
    }
    assert_int_equal(kd_conf_for_ledger_decode(kd_buf_slice(&b), &got_ledger), KD_OK);
    kd_conf_free(conf);
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_is_in_the_matrix_with_its_flags),
        cmocka_unit_test(every_cell_of_operation_and_class_is_decided_as_written),
        cmocka_unit_test(somebody_may_only_what_a_row_of_that_domain_says),
        cmocka_unit_test(numbers_that_are_no_operation_or_class_are_denied),
        cmocka_unit_test(unknown_uids_and_root_are_denied_everything),
        cmocka_unit_test(remote_callers_are_known_by_name_and_local_ones_by_uid),
        cmocka_unit_test(root_has_what_its_row_says),
        cmocka_unit_test(the_reason_of_a_refusal_is_told_apart),
        cmocka_unit_test(names_and_domains_are_found),
        cmocka_unit_test(many_domains_and_principals_are_all_found),
        cmocka_unit_test(keys_are_those_listed_or_any),
        cmocka_unit_test(quotas_that_match_are_found),
        cmocka_unit_test(a_decision_is_traced_to_its_lines),
        cmocka_unit_test(a_gate_has_its_quotas_and_those_of_domains_and_no_keys),
        cmocka_unit_test(the_lines_of_a_class_are_numbered_anew),
        cmocka_unit_test(bad_keys_and_quotas_are_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_another_policy),
        cmocka_unit_test(bad_entries_are_refused),
        cmocka_unit_test(domains_are_lower_case_a_labels),
        cmocka_unit_test(octets_come_back_as_they_were),
        cmocka_unit_test(every_truncation_and_addition_is_refused),
        cmocka_unit_test(every_bit_flip_is_refused_or_canonical),
        cmocka_unit_test(a_class_is_told_its_own_look_ups_only),
        cmocka_unit_test(the_vault_is_told_all_of_the_policy),
        cmocka_unit_test(rules_that_contradict_each_other_do_not_decode),
        cmocka_unit_test(a_gate_is_told_its_class_only),
        cmocka_unit_test(the_ledger_is_told_its_numbers),
        cmocka_unit_test(damaged_octets_of_a_role_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
