/* What the keys of keyd.conf say of each other, and what lint makes of a good file. */
#include "../support/conf_text.h"
#include "../support/test.h"

#include <stdio.h>
#include <stdlib.h>

static kd_err
mta_check(const struct kd_policy *p, uint32_t uid, unsigned op, struct kd_slice domain)
{
    const struct kd_caller caller = kd_caller_local(KD_CLASS_MTA, uid);

    return kd_policy_check(p, &caller, op, domain);
}

/* --- lints --- */

/* What lint adds to a good file: exactly these. */
static void
lints(const char *text, size_t n, uint32_t line, const char *part)
{
    struct kd_conf *c = accepted(text, &as_user);

    kd_conf_lint(c, &problems);
    if (problems.n != n)
        print_error("%s", text);
    assert_int_equal(problems.n_errors, 0);
    if (n > 0)
        assert_true(has_problem(line, true, part));
    assert_int_equal(problems.n, n);
    kd_conf_free(c);
}

#define OPERATOR                                                                       \
    "domain \"example.com\" { }\nprincipal \"op\" { uid = 0 class = admin "            \
    "operations = { \"Unseal\", \"GenerateKey\" } domains = { \"example.com\" } }\n"
#define FRONT(class, ops, rest)                                                        \
    OPERATOR "principal \"x\" { uid = 1 class = " class " operations = { " ops         \
                                                        " } domains = { "              \
                                                        "\"example.com\" } " rest      \
                                                        " }\n"

static void
lint_finds_what_is_hardly_meant(void **state)
{
    (void)state;
    lints(OPERATOR, 0, 0, "");
    lints(FRONT("submission", "\"IssueUserSignet\"",
                "quotas = { \"IssueUserSignet 5/s\" } keys = { sok }"),
          0, 0, "");
    lints(FRONT("submission", "\"IssueUserSignet\"", "quotas = { \"* 5/s\" }"), 0, 0,
          "");
    lints(OPERATOR "principal \"x\" { uid = 1 class = mta operations = { } }\n", 1, 3,
          "lists no operation");
    lints(OPERATOR "domain \"a.example\" { }\n", 1, 3, "nobody serves it");
    lints(FRONT("submission", "\"IssueUserSignet\"", ""), 1, 3,
          "no quota on IssueUserSignet");
    lints(FRONT("submission", "\"IssueUserSignet\"",
                "quotas = { \"IssueUserSignet in-flight 3\" }"),
          1, 3, "no quota on IssueUserSignet");
    lints(FRONT("mta", "\"LookupSignet\"", "quotas = {\n\"VerifyCurrent 3/s\" }"), 1, 4,
          "may not ask for it");
    lints(FRONT("mta", "\"LookupSignet\"",
                "quotas = {\n\"LookupSignet 30/s\", \"* 30/s\" }"),
          1, 4, "never decides");
    lints(FRONT("mta", "\"LookupSignet\"",
                "quotas = {\n\"LookupSignet 30/s burst 20\", \"* 30/s\" }"),
          0, 0, "");
    lints("max-connections = 2\n" FRONT("mta", "\"LookupSignet\"",
                                        "quotas = {\n\"* in-flight 65\" }"),
          1, 5, "more in flight than max-in-flight");
    lints(FRONT("mta", "\"LookupSignet\"", "quotas = {\n\"* in-flight 3073\" }"), 1, 4,
          "have at most 3072 in flight");
    lints(FRONT("mta", "\"LookupSignet\"", "keys = { sok }"), 1, 3,
          "no operation of principal \"x\" uses a key");
    lints(
        FRONT("submission", "\"IssueUserSignet\"", "quotas = { \"* 5/s\" } keys = { }"),
        1, 3, "may use none");
    lints(FRONT("mta", "\"LookupSignet\"", "") "principal \"y\" { uid = 1 class = "
                                               "submission operations = { "
                                               "\"LookupSignet\" } domains = { "
                                               "\"example.com\" } }\n",
          1, 4, "has the uid 1 of principal \"x\" (class mta)");
    lints(
        FRONT("mta", "\"LookupSignet\"", "") "principal \"y\" { uid = 1 class = admin "
                                             "operations = { \"Unseal\" } }\n",
        1, 4, "of front-end \"x\" has admin rights");
    lints("single-operator = yes\n" OPERATOR
          "principal \"y\" { uid = 1 class = admin operations = { \"AuditRead\" } }\n",
          0, 0, "");
    lints("single-operator = yes\n" OPERATOR
          "principal \"y\" { uid = 1 class = admin operations = { \"TokenInit\" } }\n",
          1, 4, "2 admin principals may change keys");
    lints("domain \"example.com\" { quotas = {\n\"Status 3/s\" } }\nprincipal \"op\" { "
          "uid "
          "= 0 class = admin operations = { \"GenerateKey\" } domains = { "
          "\"example.com\" "
          "} }\n",
          1, 2, "about no domain");
    lints("domain \"example.com\" { quotas = {\n\"LookupSignet 3/s\" } }\nprincipal "
          "\"op\" { uid = 0 class = admin operations = { \"GenerateKey\" } domains = { "
          "\"example.com\" } }\n",
          1, 2, "nobody may ask for it in domain \"example.com\"");
}

/* A front-end of two domains, the second of which signs with its POK. */
#define MAIL(class, op, keys)                                                          \
    "domain \"a.example\" { }\ndomain \"b.example\" { message-signer = pok }\n"        \
    "principal \"op\" { uid = 0 class = admin operations = { \"GenerateKey\" } "       \
    "domains = { \"a.example\", \"b.example\" } }\nprincipal \"x\" { uid = 1 "         \
    "class = " class " operations = { " op " } quotas = { \"* 5/s\" } "                \
                     "domains = { \"a.example\", \"b.example\" }\nkeys = { " keys      \
                     " } }\n"

static void
keys_that_an_operation_cannot_do_without_are_missed(void **state)
{
    (void)state;
    lints(MAIL("mta", "\"OpenEnvelope\"", "enc"), 0, 0, "");
    lints(MAIL("mta", "\"OpenEnvelope\"", "sok, pok"), 1, 5,
          "keys: without \"enc\" every OpenEnvelope of principal \"x\" is refused");
    lints(MAIL("mta", "\"OpenBounce\"", "dkim"), 1, 5,
          "without \"enc\" every OpenBounce");
    lints(MAIL("mta", "\"MakeBounce\"", "sok, pok"), 1, 5,
          "without \"enc\" every MakeBounce");
    lints(MAIL("submission", "\"SignOutbound\"", "enc, sok, pok"), 0, 0, "");
    lints(MAIL("submission", "\"SignOutbound\"", "sok, pok"), 1, 5,
          "without \"enc\" every SignOutbound");
    lints(MAIL("submission", "\"IssueUserSignet\"", "pok"), 1, 5,
          "without \"sok\" every IssueUserSignet");
    /* Both are missing. */
    lints(MAIL("submission", "\"SignOutbound\", \"IssueUserSignet\"", "pok, enc"), 2, 5,
          "without \"sok\" every IssueUserSignet");
    /* message-signer is each domain's own. */
    lints(MAIL("submission", "\"SignOutbound\"", "enc, sok"), 1, 5,
          "keys: without \"pok\", the message-signer, every SignOutbound of principal "
          "\"x\" is refused for domain \"b.example\"");
    lints(MAIL("submission", "\"SignOutbound\"", "enc, pok"), 1, 5,
          "without \"sok\", the message-signer, every SignOutbound of principal \"x\" "
          "is refused for domain \"a.example\"");
    lints(MAIL("milter", "\"SealNaked\"", "sok"), 1, 5,
          "without \"pok\", the message-signer, every SealNaked");
    lints(MAIL("milter", "\"SealNaked\"", "sok, pok"), 0, 0, "");
    /* What key an id is nobody knows here. */
    lints(MAIL("mta", "\"OpenEnvelope\"", "sok, \"00112233445566778899aabbccddeeff\""),
          0, 0, "");
    /* Without the list, any key; one of none is said of once, for all. */
    lints(FRONT("mta", "\"OpenEnvelope\"", "quotas = { \"* 5/s\" }"), 0, 0, "");
    lints(MAIL("mta", "\"OpenEnvelope\"", ""), 1, 5, "may use none");
    /* An operator's. */
    lints("domain \"example.com\" { }\nprincipal \"op\" { uid = 0 class = admin "
          "operations = { \"IssueOrgSignet\" } domains = { \"example.com\" }\n"
          "keys = { sok, enc } }\n",
          1, 3, "without \"pok\" every IssueOrgSignet");
}

/* A new operation with keys that are the domain's has to say which. */
static void
every_operation_of_a_front_end_says_what_keys_it_needs(void **state)
{
    const unsigned any = KD_OPF_POK | KD_OPF_SOK | KD_OPF_ENC | KD_OPF_SIGNER;

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        if (kd_op_uses_key(op) && (kd_op_classes(op) & KD_ON_ADMIN) == 0)
            assert_int_not_equal(kd_op_flags(op) & any, 0);
        else if (!kd_op_uses_key(op))
            assert_int_equal(kd_op_flags(op) & any, 0);
}

/* Whether it changes something or only signs or opens: who has it without a quota, has
 * it as often as the machine can. */
static void
every_operation_of_a_front_end_that_uses_a_key_wants_a_quota(void **state)
{
    char text[1024], part[64];
    unsigned n = 0;

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
            if (!kd_op_uses_key(op) || !kd_op_is_served(op, klass) ||
                klass == KD_CLASS_ADMIN || klass == KD_CLASS_TLS)
                continue;
            n++;
            snprintf(text, sizeof text,
                     OPERATOR "principal \"x\" { uid = 1 class = %s operations = { "
                              "\"%s\" } domains = { \"example.com\" } }\n",
                     kd_class_name(klass), kd_op_name(op));
            snprintf(part, sizeof part, "no quota on %s", kd_op_name(op));
            lints(text, 1, 3, part);
        }
    assert_true(n > 0);
}

static void
operations_listed_twice_are_an_error(void **state)
{
    (void)state;
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { "
            "\"LookupSignet\",\n\"LookupSignet\" } domains = { \"example.com\" } }\n",
            5, "in the list already");
}

/* --- what keys say of each other --- */

static void
domains_served_are_valid_and_there(void **state)
{
    (void)state;
    refused("principal \"op\" { uid = 0 class = admin operations = {} }\n", 0,
            "no domain section");
    refused(TAIL "domain \"Example.net\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"example.net.\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"\" { }\n", 4, "not a domain in lower-case");
    refused(TAIL "domain \"192.0.2.1\" { }\n", 4, "not a domain in lower-case");
}

static void
the_most_domains_and_principals_fit_and_one_more_does_not(void **state)
{
    static char text[KD_CONF_SIZE_MAX];
    size_t at = 0;

    (void)state;
    at += (size_t)snprintf(text, sizeof text, "%s", TAIL);
    for (unsigned i = 1; i < KD_POLICY_DOMAINS_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "domain \"d%u.example\" {}\n", i);
    for (unsigned i = 1; i < KD_POLICY_ROWS_MAX; i++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at,
                             "principal \"p%u\" { uid = %u class = mta operations = { "
                             "\"LookupSignet\" } domains = { \"d%u.example\" } }\n",
                             i, i, i);
    struct kd_conf *c = accepted(text, &as_user);
    assert_int_equal(c->n_domains, KD_POLICY_DOMAINS_MAX);
    assert_int_equal(kd_policy_n_rows(c->policy), KD_POLICY_ROWS_MAX);
    assert_int_equal(
        mta_check(c->policy, 255, KD_OP_LookupSignet, kd_slice_str("d255.example")),
        KD_OK);
    assert_int_equal(
        mta_check(c->policy, 255, KD_OP_LookupSignet, kd_slice_str("d254.example")),
        KD_DENIED);
    kd_conf_free(c);
    snprintf(text + at, sizeof text - at, "domain \"one.more\" {}\n");
    refused(text, 0, "more than 1024 domain sections");
    snprintf(text + at, sizeof text - at,
             "principal \"more\" { uid = 9999 class = mta operations = {} }\n");
    refused(text, 0, "more than 256 principal sections");
}

static void
roles_have_users_of_their_own(void **state)
{
    struct kd_conf *c = accepted(TAIL, &as_root);

    (void)state;
    assert_int_equal(problems.n, 0);
    assert_int_equal(c->user_gate.id, 901);
    assert_int_equal(c->user_ledger.id, 903);
    assert_int_equal(c->group.id, 900);
    assert_true(c->user_vault.is_known);
    kd_conf_free(c);
    kd_conf_free(accepted("user-gate = 5 user-vault = \"6\"\n" TAIL, &as_root));
    refused_as_root("user-gate = missing\n" TAIL, 1, "there is no user missing");
    refused_as_root("group = missing\n" TAIL, 1, "there is no group missing");
    refused_as_root("user-vault = root\n" TAIL, 1, "a role does not run as root");
    refused_as_root("user-vault = 0\n" TAIL, 1, "a role does not run as root");
    refused_as_root("user-vault = nobody\n" TAIL, 1, "is nobody");
    refused_as_root("user-vault = 65534\n" TAIL, 1, "is nobody");
    refused_as_root("user-vault = 4294967295\n" TAIL, 1, "a name or a number");
    refused_as_root("user-vault = \"a b\"\n" TAIL, 1, "a name or a number");
    refused_as_root("user-vault = \"\"\n" TAIL, 1, "0 octets, not within 1 to 32");
    refused_as_root("\nuser-vault = twin\n" TAIL, 2, "the same user as user-gate");
    refused("user-vault = dime-keyd-gate\n" TAIL, 1, "the same user as user-gate");
    kd_conf_free(accepted("hardening = relaxed\nuser-vault = twin\n" TAIL, &as_root));
    assert_true(has_problem(2, true, "the same user as user-gate"));
}

static void
a_principal_is_no_role(void **state)
{
    (void)state;
    refused_as_root(TAIL "principal \"g\" { uid = 901 class = mta operations = {} }\n",
                    4, "has the uid of user-gate");
    kd_conf_free(accepted("hardening = relaxed\n" TAIL
                          "principal \"g\" { uid = 901 class = mta operations = {} }\n",
                          &as_root));
    assert_true(has_problem(5, true, "has the uid of user-gate"));
    accepted_silently(TAIL
                      "principal \"g\" { uid = 901 class = mta operations = {} }\n");
}

static void
folders_do_not_lie_in_each_other(void **state)
{
    (void)state;
    refused_with_others("state-directory = \"/a\"\nrun-directory = \"/a/b\"\n" TAIL, 2,
                        "each other");
    refused("state-directory = \"/a/b\"\nrun-directory = \"/a\"\n" TAIL, 2,
            "each other");
    refused_with_others("state-directory = \"/a\"\nrun-directory = \"/a\"\n" TAIL, 2,
                        "each other");
    accepted_silently("state-directory = \"/a\"\nrun-directory = \"/ab\"\n" TAIL);
    refused("libexec-directory = \"/var/lib/dime-keyd/bin\"\n" TAIL, 1,
            "where roles can write");
    refused("\ncredential = \"/var/lib/dime-keyd/secret\"\n" TAIL, 2,
            "inside state-directory");
    accepted_silently("credential = \"/etc/dime-keyd/secret\"\n" TAIL);
}

static void
limits_fit_each_other(void **state)
{
    (void)state;
    accepted_silently("max-frame = 65536 max-principal-frames = 65536\n" TAIL);
    refused("upload-pool = 1048576\n" TAIL, 1, "less than one object");
    refused("first-octet-timeout = 6\nhello-timeout = 5\n" TAIL, 2,
            "shorter than first-octet-timeout");
}

static void
listeners_are_of_served_classes(void **state)
{
    struct kd_conf *c;

    (void)state;
    refused(TAIL "listener \"smtp\" { }\n", 4,
            "not mta, submission, milter, tls or admin");
    c = accepted(TAIL "listener \"milter\" { }\n", &as_user);
    assert_true(has_problem(4, true, "no principal is of that class"));
    assert_true(c->listeners[KD_CLASS_MILTER].is_open);
    kd_conf_free(c);
    c = accepted(TAIL "principal \"m\" { uid = 5 class = milter operations = {} }\n"
                      "listener \"milter\" {\n socket = \"/run/m/s\" mode = \"0600\"\n"
                      " group = submitd }\n",
                 &as_user);
    assert_int_equal(problems.n, 0);
    assert_string_equal(c->listeners[KD_CLASS_MILTER].socket, "/run/m/s");
    assert_int_equal(c->listeners[KD_CLASS_MILTER].mode, 0600);
    assert_int_equal(c->listeners[KD_CLASS_MILTER].group.id, 2001);
    kd_conf_free(c);
    refused(TAIL "listener \"admin\" { group = missing }\n", 4, "there is no group");
}

/* A remote listener, line 4, and two of its keys' hashes. */
#define REMOTE_AT(address, more)                                                       \
    TAIL "listener \"tls\" { address = " address " certificate = \"/c\" "              \
         "key = \"/k\" client-ca = \"/a\" " more " }\n"
#define UNPINNED REMOTE_AT("\"0.0.0.0:4433\"", "allow-unpinned = yes")
#define PINNED REMOTE_AT("\"0.0.0.0:4433\"", "")
#define PRINCIPAL_AT(name, keys)                                                       \
    "principal \"" name "\" { class = tls operations = {} " keys " }\n"
#define PIN_A "\"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\""
#define PIN_B "\"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""

static void
the_remote_listener_has_an_address_and_no_socket(void **state)
{
    static const char *const bad[] = {
        "\"localhost:4433\"", "\"0.0.0.0\"",        "\"0.0.0.0:0\"",
        "\"0.0.0.0:65536\"",  "\"0.0.0.0:04433\"",  "\"0.0.0.0:443x\"",
        "\"[0.0.0.0]:4433\"", "\"::1:4433\"",       "\"[::1]4433\"",
        "\"[::1%lo]:4433\"",  "\"[::1:4433\"",      "\"1.2.3.4.5:4433\"",
        "\"010.0.0.1:4433\"", "\"  1.2.3.4:4433\"", "\":4433567890\"",
        "\"[::g]:44335678\""};
    struct kd_conf *c;
    char text[640];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text,
                 TAIL "listener \"tls\" { address = %s certificate = \"/c\" key = "
                      "\"/k\" }\n",
                 bad[i]);
        refused(text, 4, "a numeric address and a port");
    }
    c = accepted(REMOTE_AT("\"[2001:db8::1]:4433\"", ""), &as_user);
    assert_true(c->listeners[KD_CLASS_TLS].is_open);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.family, 6);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.port, 4433);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.octets[0], 0x20);
    assert_int_equal(c->listeners[KD_CLASS_TLS].workers, 1);
    assert_null(c->listeners[KD_CLASS_TLS].socket);
    assert_null(c->listeners[KD_CLASS_TLS].denied_keys);
    assert_false(c->listeners[KD_CLASS_TLS].allow_unpinned);
    kd_conf_free(c);
    c = accepted(REMOTE_AT("\"192.0.2.1:1\"", "denied-keys = \"/d\""), &as_user);
    assert_int_equal(c->listeners[KD_CLASS_TLS].address.family, 4);
    assert_string_equal(c->listeners[KD_CLASS_TLS].address.text, "192.0.2.1:1");
    kd_conf_free(c);
    refused(REMOTE_AT("\"0.0.0.0:4433\"", "socket = \"/run/x\""), 4,
            "socket: listener \"tls\" has none");
    refused(REMOTE_AT("\"0.0.0.0:4433\"", "mode = \"0600\""), 4,
            "mode: listener \"tls\" has none");
    refused(TAIL "listener \"mta\" { client-ca = \"/a\" }\n", 4,
            "client-ca: listener \"mta\" has none");
    refused(TAIL "listener \"tls\" { address = \"0.0.0.0:4433\" key = \"/k\" }\n", 4,
            "certificate is missing");
    refused(
        REMOTE_AT("\"0.0.0.0:4433\"", "denied-keys = \"/var/lib/dime-keyd/denied\""), 4,
        "denied-keys: inside state-directory");
    refused_with_others(TAIL PRINCIPAL_AT("x", "pin = " PIN_A), 0,
                        "no listener \"tls\" section");
}

static void
a_remote_principal_has_a_name_or_a_key(void **state)
{
    static const char *const bad_names[] = {
        "*.example.com",   "mx.example.com.",   "MX.example.com", "mx..example.com",
        "192.0.2.1",       "mx_1.example.com",  "uri:",           "uri:spiffe",
        "uri:spiffe:",     "uri:sp iffe://a",   "uri::a",         "user@example.com",
        "-mx.example.com", "mx1.example.com/x", "URI:spiffe://a"};
    struct kd_conf *c;
    char text[640];

    (void)state;
    c = accepted(UNPINNED PRINCIPAL_AT("x", "san = \"mx1.example.com\""), &as_user);
    assert_string_equal(c->principals[1].san, "mx1.example.com");
    assert_int_equal(c->principals[1].uid, KD_UID_NONE);
    assert_false(c->principals[1].pin.is_set);
    kd_conf_free(c);
    c = accepted(PINNED PRINCIPAL_AT("x", "san = \"uri:spiffe://example.com/X?y\" "
                                          "pin = " PIN_A " next-pin = " PIN_B),
                 &as_user);
    assert_true(c->principals[1].pin.is_set && c->principals[1].next_pin.is_set);
    assert_int_equal(c->principals[1].pin.sha256[31], 0xff);
    assert_int_equal(c->principals[1].next_pin.sha256[0], 0x10);
    kd_conf_free(c);
    accepted_silently(PINNED PRINCIPAL_AT("x", "pin = " PIN_A));
    refused(PINNED PRINCIPAL_AT("x", "san = \"mx1.example.com\""), 5, "has no pin");
    refused(PINNED PRINCIPAL_AT("x", ""), 5, "takes san, pin or both");
    refused(PINNED PRINCIPAL_AT("x", "uid = 5 pin = " PIN_A), 5,
            "uid: a principal of class tls has none");
    refused(TAIL "principal \"y\" { uid = 5 class = mta operations = {} pin = " PIN_A
                 " }\n",
            4, "pin: a principal of class mta has none");
    refused(PINNED PRINCIPAL_AT("x", "pin = \"00\""), 5, "64 hexadecimal digits");
    refused(PINNED PRINCIPAL_AT("x", "pin = " PIN_A " next-pin = " PIN_A), 5,
            "the same as pin");
    refused(PINNED PRINCIPAL_AT("x", "pin = " PIN_A)
                PRINCIPAL_AT("y", "pin = " PIN_B " next-pin = " PIN_A),
            6, "principal \"x\" has the same key");
    refused(UNPINNED PRINCIPAL_AT("x", "san = \"a.example\"")
                PRINCIPAL_AT("y", "san = \"a.example\""),
            6, "principal \"x\" has the same");
    refused(TAIL "listener \"tls\" { address = \"0.0.0.0:4433\" certificate = \"/c\" "
                 "key = \"/k\" allow-unpinned = yes }\n" PRINCIPAL_AT(
                     "x", "san = \"a.example\""),
            5, "has no client-ca");
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        snprintf(text, sizeof text,
                 UNPINNED "principal \"x\" { class = tls operations = "
                          "{} san = \"%s\" pin = " PIN_A " }\n",
                 bad_names[i]);
        refused(text, 5, "a domain in lower case");
    }
}

static void
a_remote_principal_has_no_operation_of_operators(void **state)
{
    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        char text[640];
        if (kd_op_name(op) == NULL || kd_op_classes(op) != KD_ON_ADMIN)
            continue;
        snprintf(text, sizeof text,
                 PINNED "principal \"x\" { class = tls operations = { \"%s\" } domains "
                        "= { \"example.com\" } pin = " PIN_A " }\n",
                 kd_op_name(op));
        refused_with_others(text, 5, "is not served to class tls");
    }
}

static void
modes_of_sockets_are_two(void **state)
{
    static const char *const bad[] = {"\"0666\"", "\"660\"",  "\"0700\"", "\"0640\"",
                                      "\"\"",     "\"4660\"", "0600x",    "660"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_conf *conf = NULL;
        snprintf(text, sizeof text, TAIL "listener \"admin\" { mode = %s }\n", bad[i]);
        assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
        assert_int_equal(problems.list[0].line, 4);
        assert_int_equal(problems.n_errors, 1);
    }
    accepted_silently(TAIL "listener \"admin\" { mode = \"0660\" }\n");
}

#define MTA "principal \"m\" { uid = 5 class = mta operations = {} }\n"

static void
sockets_do_not_share_a_place(void **state)
{
    char text[512], path[120];

    (void)state;
    refused(TAIL MTA "listener \"admin\" {\n socket = \"/run/dime-keyd/mta.sock\" }\n"
                     "listener \"mta\" { socket = \"/elsewhere/s\" }\n",
            6, "not run-directory");
    refused(TAIL MTA
            "listener \"mta\" {\n socket = \"/run/dime-keyd/admin/admin.sock\" }\n",
            0, "listener \"mta\" has the same");
    refused(TAIL MTA "listener \"mta\" { socket = \"/run/x/mta\" }\n"
                     "listener \"admin\" {\n socket = \"/run/x/admin\" }\n",
            7, "a folder of its own (mode 0700), not that of listener \"mta\"");
    refused(TAIL MTA "listener \"mta\" { socket = \"/var/lib/dime-keyd/s\" }\n", 5,
            "inside state-directory");
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    snprintf(text, sizeof text, TAIL MTA "listener \"mta\" { socket = \"%s\" }\n",
             path);
    refused(text, 5, "108 octets, not within 2 to 107");
}

static void
a_principal_has_one_uid(void **state)
{
    struct kd_conf *c;

    (void)state;
    refused(TAIL "principal \"x\" { class = mta operations = {} }\n", 4,
            "one of uid and user");
    refused(TAIL
            "principal \"x\" { uid = 1 user = submitd class = mta operations = {} }\n",
            4, "one of uid and user");
    refused(TAIL "principal \"x\" {\n uid = 65534 class = mta operations = {} }\n", 5,
            "65534 is nobody");
    refused(TAIL "principal \"x\" { user = nobody class = mta operations = {} }\n", 4,
            "is nobody");
    refused(TAIL "principal \"x\" { uid = 4294967295 class = mta operations = {} }\n",
            4, "is not within 0 to 4294967294");
    refused(TAIL "principal \"x\" { user = missing class = mta operations = {} }\n", 4,
            "there is no user missing");
    c = accepted(TAIL
                 "principal \"x\" { user = submitd class = mta operations = {} }\n",
                 &as_user);
    assert_int_equal(mta_check(c->policy, 2001, KD_OP_Status, kd_slice(NULL, 0)),
                     KD_OK);
    assert_int_equal(c->principals[1].uid, 2001);
    kd_conf_free(c);
}

static void
the_same_uid_twice_in_a_class_is_refused(void **state)
{
    (void)state;
    refused(TAIL MTA "principal \"n\" { uid = 5 class = mta operations = {} }\n", 5,
            "uid 5 of class mta is principal \"m\" already");
    refused(TAIL "principal \"m\" { uid = 2001 class = mta operations = {} }\n"
                 "principal \"n\" { user = submitd class = mta operations = {} }\n",
            5, "uid 2001 of class mta is principal \"m\" already");
    accepted_silently(TAIL MTA
                      "principal \"n\" { uid = 5 class = milter operations = {} }\n");
}

static void
principals_say_class_and_operations(void **state)
{
    (void)state;
    refused(TAIL "principal \"x\" { uid = 1 operations = {} }\n", 4,
            "class is missing");
    refused(TAIL "principal \"x\" { uid = 1 class = mta }\n", 4,
            "operations is missing");
    refused(TAIL "principal \"x\" { uid = 1 class = smtp operations = {} }\n", 4,
            "is not mta, submission, milter, tls or admin");
    refused(TAIL "principal \"X y\" { uid = 1 class = mta operations = {} }\n", 4,
            "a name has 1 to 32");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta\n operations = { \"Sign\" } }\n",
            5, "\"Sign\" is not an operation");
    refused(TAIL "principal \"x\" { uid = 1 class = admin\n operations = { \"Seal\","
                 " \"Seal\" } }\n",
            5, "in the list already");
}

static void
operations_of_another_class_are_refused(void **state)
{
    char text[256];

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++)
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
            bool needs = (kd_op_flags(op) & KD_OPF_DOMAIN) != 0;
            if (kd_op_name(op) == NULL || klass == KD_CLASS_TLS)
                continue;
            snprintf(text, sizeof text,
                     TAIL "principal \"x\" { uid = 1 class = %s\n operations = {\n"
                          "\"%s\" }\n%s }\n",
                     kd_class_name(klass), kd_op_name(op),
                     needs ? "domains = { \"example.com\" }" : "");
            if (kd_op_is_served(op, klass))
                accepted_silently(text);
            else
                refused(text, 6, "is not served to class");
        }
}

static void
domains_of_a_principal_are_served_ones(void **state)
{
    (void)state;
    refused(TAIL "principal \"x\" { uid = 1 class = mta\n"
                 " operations = { \"LookupSignet\" }\n"
                 " domains = { \"example.com\",\n  \"example.net\" } }\n",
            7, "there is no section domain \"example.net\"");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "domains = { \"example.com\", \"example.com\" } }\n",
            4, "is there already");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "}\n",
            4, "its operations need domains");
    refused(TAIL
            "principal \"x\" { uid = 1 class = mta operations = { \"LookupSignet\" } "
            "domains = { } }\n",
            4, "its operations need domains");
    kd_conf_free(accepted(TAIL "principal \"x\" { uid = 1 class = mta operations = { } "
                               "domains = { \"example.com\" } }\n",
                          &as_user));
    assert_true(
        has_problem(4, true, "no operation of principal \"x\" is about a domain"));
}

static void
a_service_without_an_operator_is_warned_of(void **state)
{
    (void)state;
    kd_conf_free(accepted("domain \"example.com\" { }\n", &as_user));
    assert_true(has_problem(0, true, "no principal is of class admin"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lint_finds_what_is_hardly_meant),
        cmocka_unit_test(keys_that_an_operation_cannot_do_without_are_missed),
        cmocka_unit_test(every_operation_of_a_front_end_says_what_keys_it_needs),
        cmocka_unit_test(every_operation_of_a_front_end_that_uses_a_key_wants_a_quota),
        cmocka_unit_test(operations_listed_twice_are_an_error),
        cmocka_unit_test(domains_served_are_valid_and_there),
        cmocka_unit_test(the_most_domains_and_principals_fit_and_one_more_does_not),
        cmocka_unit_test(roles_have_users_of_their_own),
        cmocka_unit_test(a_principal_is_no_role),
        cmocka_unit_test(folders_do_not_lie_in_each_other),
        cmocka_unit_test(limits_fit_each_other),
        cmocka_unit_test(listeners_are_of_served_classes),
        cmocka_unit_test(the_remote_listener_has_an_address_and_no_socket),
        cmocka_unit_test(a_remote_principal_has_a_name_or_a_key),
        cmocka_unit_test(a_remote_principal_has_no_operation_of_operators),
        cmocka_unit_test(modes_of_sockets_are_two),
        cmocka_unit_test(sockets_do_not_share_a_place),
        cmocka_unit_test(a_principal_has_one_uid),
        cmocka_unit_test(the_same_uid_twice_in_a_class_is_refused),
        cmocka_unit_test(principals_say_class_and_operations),
        cmocka_unit_test(operations_of_another_class_are_refused),
        cmocka_unit_test(domains_of_a_principal_are_served_ones),
        cmocka_unit_test(a_service_without_an_operator_is_warned_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
