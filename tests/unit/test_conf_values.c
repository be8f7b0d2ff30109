/* The keys of keyd.conf one by one: each at its bounds, defaults, and where it lands.
 */
#include "../support/conf_table.h"
#include "../support/conf_text.h"
#include "../support/test.h"

#include <stdio.h>
#include <stdlib.h>

/* The file with that one key given, on line 4 (or among those of another section). */
static const char *
with_key(const struct key *key, const char *value, char *text, size_t size)
{
    /* the one other key of the file that a limit is compared with */
    const char *also = strcmp(key->name, "max-principal-frames") == 0
                           ? ""
                           : "max-principal-frames = 268435456\n";
    const char *pool =
        strcmp(key->name, "upload-pool") == 0 ? "max-upload = 65536\n" : "";
    const char *hello =
        strcmp(key->name, "first-octet-timeout") == 0 ? "hello-timeout = 60\n"
        : strcmp(key->name, "hello-timeout") == 0     ? "first-octet-timeout = 1\n"
                                                      : "";
    static const char *const format[] = {
        [TOP] = TAIL "%s = %s\n%s%s%s",
        [DOMAIN] = TAIL "domain \"a.example\" { %s = %s }\n%s%s%s",
        [LISTENER] = TAIL "listener \"admin\" { %s = %s }\n%s%s%s",
        [PRINCIPAL] =
            TAIL "principal \"x\" { class = mta operations = {} %s = %s }\n%s%s%s",
        [TOKEN] = TAIL "token \"t\" { module = \"/lib/m.so\" pin-file = \"/etc/pin\" "
                       "label = \"t\" %s = %s }\n%s%s%s"};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n =
        snprintf(text, size, format[key->section], key->name, value, also, pool, hello);
#pragma GCC diagnostic pop
    assert_true(n > 0 && (size_t)n < size);
    return text;
}

static void
every_number_is_accepted_within_its_range_and_not_beyond(void **state)
{
    char value[24], text[512];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct key *key = &keys[i];
        if (key->type != INT && key->type != AUTO_INT && key->type != AUTO_SIZE &&
            key->type != DELAY)
            continue;
        int64_t least =
            key->type == DELAY ? kd_delay_least((uint32_t)key->min) : key->min;
        n++;
        snprintf(value, sizeof value, "%lld", (long long)least);
        accepted_silently(with_key(key, value, text, sizeof text));
        snprintf(value, sizeof value, "%lld", (long long)key->max);
        accepted_silently(with_key(key, value, text, sizeof text));
        snprintf(value, sizeof value, "%lld", (long long)key->max + 1);
        refused(with_key(key, value, text, sizeof text), 4, "is not within");
        refused(with_key(key, "18446744073709551617", text, sizeof text), 4,
                "is not within");
        refused(with_key(key, "no", text, sizeof text), 4, "is not a number");
        if (least == 0)
            continue;
        snprintf(value, sizeof value, "%lld", (long long)least - 1);
        refused(with_key(key, value, text, sizeof text), 4, "is not within");
    }
    assert_int_equal(n, 39);
}

static void
numbers_land_in_their_members(void **state)
{
    struct kd_conf *c = accepted(
        "crypto-threads = 2 verify-sampled = 3 group-commit-max = 4\n"
        "audit-checkpoint-interval = 11 max-connections = 12 max-in-flight = 13\n"
        "drain-timeout = 25\n"
        "max-frame = 16401 max-principal-frames = 65542 max-upload = 65543\n"
        "max-principal-uploads = 14 upload-pool = 1048577 upload-timeout = 15\n"
        "hello-timeout = 16 first-octet-timeout = 10 frame-timeout = 17\n"
        "write-timeout = 18 idle-timeout = 19 max-remote-connections = 20\n"
        "max-handshakes = 21 handshake-timeout = 22 handshake-rate = 23\n"
        "handshake-rate-total = 24 origin-rate = 26 stranger-rate = 27\n"
        "listener \"admin\" { workers = 4 }\n" TAIL,
        &as_user);

    (void)state;
    assert_int_equal(c->crypto_threads, 2);
    assert_int_equal(c->verify_sampled, 3);
    assert_int_equal(c->group_commit_max, 4);
    assert_int_equal(c->audit_checkpoint_interval, 11);
    assert_int_equal(c->drain_timeout, 25);
    assert_int_equal(c->limits.max_connections, 12);
    assert_int_equal(c->limits.max_in_flight, 13);
    assert_int_equal(c->limits.max_frame, 16401);
    assert_int_equal(c->limits.max_principal_frames, 65542);
    assert_int_equal(c->limits.max_upload, 65543);
    assert_int_equal(c->limits.max_principal_uploads, 14);
    assert_int_equal(c->limits.upload_pool, 1048577);
    assert_int_equal(c->limits.upload_timeout, 15);
    assert_int_equal(c->limits.hello_timeout, 16);
    assert_int_equal(c->limits.first_octet_timeout, 10);
    assert_int_equal(c->limits.frame_timeout, 17);
    assert_int_equal(c->limits.write_timeout, 18);
    assert_int_equal(c->limits.idle_timeout, 19);
    assert_int_equal(c->limits.max_remote_connections, 20);
    assert_int_equal(c->limits.max_handshakes, 21);
    assert_int_equal(c->limits.handshake_timeout, 22);
    assert_int_equal(c->limits.handshake_rate, 23);
    assert_int_equal(c->limits.handshake_rate_total, 24);
    assert_int_equal(c->limits.origin_rate, 26);
    assert_int_equal(c->limits.stranger_rate, 27);
    assert_int_equal(c->listeners[KD_CLASS_ADMIN].workers, 4);
    kd_conf_free(c);
}

static void
defaults_are_those_of_the_table(void **state)
{
    struct kd_conf *c = accepted(TAIL, &as_user);

    (void)state;
    assert_string_equal(c->state_directory, "/var/lib/dime-keyd");
    assert_string_equal(c->run_directory, "/run/dime-keyd");
    assert_null(c->libexec_directory);
    assert_null(c->credential);
    assert_string_equal(c->user_gate.name, "dime-keyd-gate");
    assert_false(c->user_gate.is_known);
    assert_int_equal(c->hardening, KD_HARDENING_STRICT);
    assert_int_equal(c->log_level, KD_INFO);
    assert_false(c->single_operator);
    assert_int_equal(c->crypto_threads, 4);
    assert_int_equal(c->limits.max_frame, 65536);
    assert_int_equal(c->limits.idle_timeout, 300);
    /* the admin listener alone: no other class has a principal */
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        assert_int_equal(c->listeners[klass].is_open, klass == KD_CLASS_ADMIN);
    assert_string_equal(c->listeners[KD_CLASS_ADMIN].socket,
                        "/run/dime-keyd/admin/admin.sock");
    assert_int_equal(c->listeners[KD_CLASS_ADMIN].mode, 0600);
    assert_int_equal(c->listeners[KD_CLASS_MTA].mode, 0660);
    assert_string_equal(c->listeners[KD_CLASS_MTA].socket, "/run/dime-keyd/mta.sock");
    assert_null(c->listeners[KD_CLASS_ADMIN].group.name);
    kd_conf_free(c);
}

static void
every_default_is_a_value_that_may_be_written(void **state)
{
    char text[512], value[300];

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        if (keys[i].def == NULL || keys[i].def[0] == '\0')
            continue;
        bool quoted = keys[i].type == PATH;
        snprintf(value, sizeof value, "%s%s%s", quoted ? "\"" : "", keys[i].def,
                 quoted ? "\"" : "");
        kd_conf_free(accepted(with_key(&keys[i], value, text, sizeof text), &as_user));
    }
}

static void
threads_follow_the_cpus_within_their_range(void **state)
{
    static const uint32_t cases[][2] = {{0, 1}, {1, 1}, {5, 5}, {16, 16}, {96, 16}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kd_conf_env env = as_user;
        env.n_cpus = cases[i][0];
        struct kd_conf *c = accepted("crypto-threads = auto\n" TAIL, &env);
        assert_int_equal(c->crypto_threads, cases[i][1]);
        kd_conf_free(c);
    }
}

static void
words_are_taken_as_listed_only(void **state)
{
    (void)state;
    accepted_silently(
        "hardening = relaxed log-level = debug single-operator = yes\n" TAIL);
    accepted_silently("hardening = \"strict\" log-level = \"warn\"\n" TAIL);
    refused("hardening = none\n" TAIL, 1, "\"none\" is not strict or relaxed");
    refused("hardening = Strict\n" TAIL, 1, "is not strict or relaxed");
    refused("log-level = error\n" TAIL, 1, "is not debug, info or warn");
    refused("single-operator = true\n" TAIL, 1, "is not yes or no");
    refused("single-operator = 1\n" TAIL, 1, "is not yes or no");
    refused("single-operator = on\n" TAIL, 1, "is not yes or no");
}

static void
paths_are_absolute_and_plain(void **state)
{
    static const char *const bad[] = {"",        "/",     "a/b",   "./a",
                                      "/a/../b", "/a/.",  "/a//b", "/a/b/",
                                      "~/a",     "/../a", "//a"};
    char text[600], path[300];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct kd_conf *conf = NULL;
        snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, bad[i]);
        assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
        assert_int_equal(problems.n_errors, 1);
        assert_int_equal(problems.list[0].line, 1);
    }
    accepted_silently("state-directory = \"/a b/..c/.d\"\n" TAIL);
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[255] = '\0';
    snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, path);
    accepted_silently(text);
    path[255] = 'p';
    path[256] = '\0';
    snprintf(text, sizeof text, "state-directory = \"%s\"\n" TAIL, path);
    refused(text, 1, "256 octets, not within 2 to 255");
}

static void
profile_fields_are_those_that_may_be_added(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "domain \"a.example\" { issue-profile-fields = { 16, 252, 27 } }\n",
        &as_user);

    (void)state;
    /* sorted: a.example before example.com */
    assert_string_equal(c->domains[0].name, "a.example");
    for (unsigned f = 0; f < 256; f++)
        assert_int_equal((c->domains[0].rules.profile_fields[f / 8] >> f % 8) & 1,
                         f == 16 || f == 27 || f == 252);
    kd_conf_free(c);
    refused(TAIL "domain \"a.example\" {\n issue-profile-fields = { 16,\n 15 }\n}\n", 6,
            "\"15\" is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 253 } }\n", 4,
            "is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 256 } }\n", 4,
            "is not the number of a field");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { 16, 16 } }\n", 4,
            "in the list already");
    refused(TAIL "domain \"a.example\" { issue-profile-fields = { Name } }\n", 4,
            "is not the number of a field");
}

#define KEY_A "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define KEY_B "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw"

static void
account_keys_are_points_in_base64(void **state)
{
    static const uint8_t a[] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7,
                                0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
                                0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
                                0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    static const char *const bad[] = {
        "", KEY_A "==", KEY_A "A", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUR",
        /* URL alphabet; bits left over; zero octets; an order-8 point */
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURp",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU"};
    char text[512];
    struct kd_conf *c = accepted("domain \"a.example\" { account-key = { \"" KEY_A
                                 "\", \"" KEY_B "=\" } require-ticket = both }\n" TAIL,
                                 &as_user);

    (void)state;
    assert_int_equal(problems.n, 0);
    assert_int_equal(c->domains[0].rules.account_keys.n, 2);
    assert_memory_equal(c->domains[0].rules.account_keys.key[0], a, sizeof a);
    assert_int_equal(c->domains[1].rules.account_keys.n, 0);
    kd_conf_free(c);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text,
                 TAIL "domain \"a.example\" { account-key = { \"%s\" } "
                      "require-ticket = first }\n",
                 bad[i]);
        refused(text, 4, "is not an Ed25519 public key in base64");
    }
    refused(TAIL "domain \"a.example\" { require-ticket = first account-key = {\n"
                 "\"" KEY_A "\",\n\"" KEY_A "=\" } }\n",
            6, "in the list already");
}

static void
a_ticket_takes_a_key_and_a_key_a_ticket(void **state)
{
    (void)state;
    refused(TAIL "domain \"a.example\" {\nrequire-ticket = reset\n}\n", 5,
            "without an account-key nobody can make one");
    refused(TAIL "domain \"a.example\" {\nrequire-ticket = reset account-key = {}\n}\n",
            5, "without an account-key nobody can make one");
    kd_conf_free(accepted(
        TAIL "domain \"a.example\" { account-key = { \"" KEY_A "\" } }\n", &as_user));
    assert_true(has_problem(4, true, "tickets are not looked at"));
    refused(TAIL "domain \"a.example\" { require-ticket = yes }\n", 4,
            "is not none, first, reset or both");
}

static void
account_modes_are_all_unless_named(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "domain \"a.example\" { account-modes = { trustful, paranoid } }\n",
        &as_user);

    (void)state;
    assert_false(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_CAUTIOUS));
    assert_true(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_TRUSTFUL));
    assert_true(kd_domain_rules_allow_mode(&c->domains[0].rules, KD_ACCOUNT_PARANOID));
    for (unsigned mode = 0; mode < 40; mode++)
        assert_int_equal(kd_domain_rules_allow_mode(&c->domains[1].rules, mode),
                         mode < KD_ACCOUNT_MODES);
    kd_conf_free(c);
    refused(TAIL "domain \"a.example\" { account-modes = { } }\n", 4,
            "name at least one");
    refused(TAIL "domain \"a.example\" { account-modes = { Paranoid } }\n", 4,
            "is not trustful, cautious or paranoid");
    refused(TAIL "domain \"a.example\" { account-modes = { cautious, cautious } }\n", 4,
            "in the list already");
}

static void
a_reset_waits_three_days_or_longer(void **state)
{
    struct kd_conf *c =
        accepted(TAIL "domain \"a.example\" { reset-delay = 600000 }\n", &as_user);

    (void)state;
    assert_int_equal(c->domains[0].rules.reset_delay, 600000);
    assert_int_equal(c->domains[1].rules.reset_delay, 72 * 3600);
    kd_conf_free(c);
    if (kd_delay_least(72 * 3600) == 72 * 3600)
        refused(TAIL "domain \"a.example\" { reset-delay = 259199 }\n", 4,
                "is not within 259200");
    refused(TAIL "domain \"a.example\" { reset-delay = 0 }\n", 4, "is not within");
}

static void
a_domain_says_how_its_mail_is_kept_and_signed(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "domain \"a.example\" { message-signer = pok key-retention = 31622400 "
             "author-grace = 0 recipient-stale = 2592000 }\n",
        &as_user);
    const struct kd_domain_rules *r = &c->domains[0].rules;

    (void)state;
    assert_int_equal(r->message_signer, KD_MESSAGE_SIGNER_POK);
    assert_int_equal(r->key_retention, 366 * 24 * 3600);
    assert_int_equal(r->author_grace, 0);
    assert_int_equal(r->recipient_stale, 30 * 24 * 3600);
    r = &c->domains[1].rules;
    assert_int_equal(r->message_signer, KD_MESSAGE_SIGNER_SOK);
    assert_int_equal(r->key_retention, 71 * 24 * 3600);
    assert_int_equal(r->author_grace, 24 * 3600);
    assert_int_equal(r->recipient_stale, 7 * 24 * 3600);
    kd_conf_free(c);
    refused(TAIL "domain \"a.example\" { message-signer = enc }\n", 4,
            "is not sok or pok");
    refused(TAIL "domain \"a.example\" { author-grace = 259201 }\n", 4,
            "is not within");
    if (kd_delay_least(72 * 3600) == 1)
        return; /* a build for tests of what happens after them */
    refused(TAIL "domain \"a.example\" { key-retention = 1987199 }\n", 4,
            "is not within 1987200");
    refused(TAIL "domain \"a.example\" { recipient-stale = 259199 }\n", 4,
            "is not within 259200");
}

#define X(rest)                                                                        \
    TAIL "principal \"x\" { uid = 1 class = mta operations = { } " rest " }\n"

static void
keys_are_roles_and_ids(void **state)
{
    struct kd_conf *c = accepted(
        X("keys = { \"sok\", dkim,\n\"000102030405060708090a0b0c0d0eff\" }"), &as_user);
    static const uint8_t id[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};

    (void)state;
    assert_true(c->principals[1].keys.is_given);
    assert_int_equal(c->principals[1].keys.roles, 1 << 2 | 1 << 4);
    assert_int_equal(c->principals[1].keys.n, 1);
    assert_memory_equal(c->principals[1].keys.ids[0], id, sizeof id);
    assert_false(c->principals[0].keys.is_given);
    kd_conf_free(c);
    c = accepted(X("keys = { }"), &as_user);
    assert_true(c->principals[1].keys.is_given);
    kd_conf_free(c);
    refused(X("keys = {\n\"SOK\" }"), 5, "is not pok, sok, enc, dkim, audit or an id");
    refused(X("keys = { \"000102030405060708090A0B0C0D0EFF\" }"), 4, "or an id");
    refused(X("keys = { \"000102030405060708090a0b0c0d0e\" }"), 4, "or an id");
    refused(X("keys = { \"000102030405060708090a0b0c0d0eff00\" }"), 4, "or an id");
    refused(X("keys = { sok,\nsok }"), 5, "in the list already");
    refused(X("keys = { \"000102030405060708090a0b0c0d0eff\",\n"
              "\"000102030405060708090a0b0c0d0eff\" }"),
            5, "in the list already");
}

static void
quotas_keep_their_lines_and_one_for_each_operation(void **state)
{
    struct kd_conf *c =
        accepted("domain \"a.example\" { quotas = { \"* 9/s\" } }\n" X(
                     "quotas = {\n\"LookupSignet 5/s burst 2\",\n\"* in-flight 3\" }"),
                 &as_user);

    (void)state;
    assert_int_equal(c->domains[0].quotas.n, 1);
    assert_int_equal(c->domains[0].quotas.list[0].line, 1);
    assert_int_equal(c->principals[1].quotas.n, 2);
    assert_int_equal(c->principals[1].quotas.list[0].op, KD_OP_LookupSignet);
    assert_int_equal(c->principals[1].quotas.list[0].line, 6);
    assert_int_equal(c->principals[1].quotas.list[1].line, 7);
    assert_int_equal(kd_policy_n_quotas(c->policy, false), 2);
    assert_int_equal(kd_policy_n_quotas(c->policy, true), 1);
    kd_conf_free(c);
    refused(X("quotas = { \"* 5/s\",\n\"* 6/s\" }"), 5,
            "* has a line already, at line 4");
    refused(X("quotas = { \"* 5/d\" }"), 4, "a rate is");
    refused(X("quotas = { 5 }"), 4, "starts with an operation");
}

static void
lines_of_principals_reach_the_policy(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "principal \"x\" {\n uid = 1 class = mta\n operations = {\n"
             "\"LookupSignet\",\n\"VerifyCurrent\" }\n domains = { \"example.com\" }\n"
             " keys = { sok }\n}\n",
        &as_user);
    struct kd_policy_trace t;
    struct kd_caller caller;

    (void)state;
    assert_int_equal(kd_policy_find(c->policy, kd_slice_str("x"), &caller), KD_OK);
    kd_policy_trace(c->policy, &caller, KD_OP_VerifyCurrent,
                    kd_slice_str("example.com"), NULL, &t);
    assert_int_equal(t.verdict, KD_POLICY_ALLOWED);
    assert_int_equal(t.lines.section, 4);
    assert_int_equal(t.lines.operations, 6);
    assert_int_equal(t.op_line, 8);
    assert_int_equal(t.lines.domains, 9);
    assert_int_equal(t.lines.keys, 10);
    assert_int_equal(t.domain_line, 1);
    kd_conf_free(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_accepted_within_its_range_and_not_beyond),
        cmocka_unit_test(numbers_land_in_their_members),
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(every_default_is_a_value_that_may_be_written),
        cmocka_unit_test(threads_follow_the_cpus_within_their_range),
        cmocka_unit_test(words_are_taken_as_listed_only),
        cmocka_unit_test(paths_are_absolute_and_plain),
        cmocka_unit_test(profile_fields_are_those_that_may_be_added),
        cmocka_unit_test(account_keys_are_points_in_base64),
        cmocka_unit_test(a_ticket_takes_a_key_and_a_key_a_ticket),
        cmocka_unit_test(account_modes_are_all_unless_named),
        cmocka_unit_test(a_reset_waits_three_days_or_longer),
        cmocka_unit_test(a_domain_says_how_its_mail_is_kept_and_signed),
        cmocka_unit_test(keys_are_roles_and_ids),
        cmocka_unit_test(quotas_keep_their_lines_and_one_for_each_operation),
        cmocka_unit_test(lines_of_principals_reach_the_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
