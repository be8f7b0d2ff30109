/* Sections token of keyd.conf: what names a token, whom its processes belong to, what
 * they may touch; and what the vault and those processes are told of it. */
#include "../support/conf_text.h"
#include "../support/test.h"

#include <keyd/p11/p11.h>

#include <stdio.h>
#include <stdlib.h>

/* On line 4, with a PIN file and a name to be known by. */
#define KNOWN " pin-file = \"/etc/pins/a\" "
#define TOKEN(name, keys)                                                              \
    "token \"" name "\" { module = \"/usr/lib/x/m.so\"" KNOWN keys " }\n"
#define LABELLED(name, keys) TOKEN(name, "label = \"" name "\" " keys)

static void
the_numbers_of_hosts_agree(void **state)
{
    (void)state;
    _Static_assert((int)KD_CONF_TOKENS_MAX == (int)KD_TOKENS_MAX &&
                       (int)KD_CONF_TOKEN_NAME_MAX == (int)KD_TOKEN_NAME_MAX &&
                       (int)KD_CONF_TOKEN_HOSTS == (int)P11_HOSTS_A_TOKEN &&
                       (int)KD_CONF_TOKEN_SESSIONS == (int)P11_SESSIONS_MAX &&
                       (int)KD_CONF_TOKEN_MAKER == (int)P11_MAKER,
                   "token_conf.h, device.h and p11.h");
    static const uint8_t good[] = {0, 1, 2, 3, 7, 8, 11, 15, 24, 27, 31};
    size_t n = 0;
    for (unsigned host = 0; host < 256; host++)
        n += kd_conf_host_is_valid(host);
    assert_int_equal(n, KD_CONF_TOKENS_MAX * (KD_CONF_TOKEN_SESSIONS + 1));
    for (size_t i = 0; i < sizeof good; i++)
        assert_true(kd_conf_host_is_valid(good[i]));
}

static void
a_section_has_what_it_says_and_defaults(void **state)
{
    struct kd_conf *c = accepted(
        TAIL "token \"alpha\" {\n"
             "  module = \"/usr/lib/softhsm/libsofthsm2.so\"\n"
             "  uri = \"pkcs11:token=my%20token;serial=0123456789abcdef\"\n"
             "  pin-file = \"/run/credentials/x\"\n"
             "  paths = { \"/var/lib/softhsm/tokens\", \"/opt/x\" }\n"
             "  environment = { \"SOFTHSM2_CONF=/etc/s.conf\", \"X=\", \"Y=a=b\" }\n"
             "}\n" LABELLED(
                 "beta", "profile = pcsc sessions = 4 timeout = 3000 recycle-after = "
                         "100 max-memory = 8 max-message = 1024 user = \"p11\" "
                         "group = \"1234\""),
        &as_user);
    const struct kd_conf_token *a = &c->tokens[0], *b = &c->tokens[1];

    (void)state;
    assert_int_equal(problems.n, 0);
    assert_int_equal(c->n_tokens, 2);
    assert_string_equal(a->name, "alpha");
    assert_int_equal(a->line, 4);
    assert_string_equal(a->module, "/usr/lib/softhsm/libsofthsm2.so");
    assert_string_equal(a->match.label, "my token");
    assert_string_equal(a->match.serial, "0123456789abcdef");
    assert_string_equal(a->match.manufacturer, "");
    assert_string_equal(a->match.model, "");
    assert_string_equal(a->pin_file, "/run/credentials/x");
    assert_int_equal(a->paths.n, 2);
    assert_string_equal(a->paths.list[1], "/opt/x");
    assert_int_equal(a->environment.n, 3);
    assert_string_equal(a->environment.list[2], "Y=a=b");
    assert_int_equal(a->profile, KD_P11_PROFILE_FILES);
    assert_int_equal(a->sessions, 2);
    assert_int_equal(a->timeout, 600);
    assert_int_equal(a->recycle_after, 50000);
    assert_int_equal(a->max_memory, 64);
    assert_int_equal(a->max_message, 0);
    assert_string_equal(kd_conf_token_user(c, a)->name, "dime-keyd-p11");
    assert_null(a->group.name);
    assert_int_equal(b->profile, KD_P11_PROFILE_PCSC);
    assert_int_equal(b->sessions, 4);
    assert_int_equal(b->max_message, 1024);
    assert_string_equal(kd_conf_token_user(c, b)->name, "p11");
    assert_int_equal(b->group.id, 1234);
    kd_conf_free(c);
}

static void
names_are_short_and_plain(void **state)
{
    (void)state;
    refused(TAIL LABELLED("here", ""), 4, "is keyd's own store");
    refused(TAIL LABELLED("A", ""), 4, "a name has 1 to 31");
    refused(TAIL TOKEN("", "serial = \"1\""), 4, "a name has 1 to 31");
    refused(TAIL TOKEN("a2345678901234567890123456789012", "label = \"x\""), 4,
            "a name has 1 to 31");
    accepted_silently(TAIL TOKEN("a234567890123456789012345678901", "label = \"x\""));
    refused(TAIL LABELLED("a", "") LABELLED("a", ""), 5, "is there already, at line 4");
}

static void
more_than_four_are_refused(void **state)
{
    (void)state;
    accepted_silently(TAIL LABELLED("a", "") LABELLED("b", "") LABELLED("c", "")
                          LABELLED("d", ""));
    refused(TAIL LABELLED("a", "") LABELLED("b", "") LABELLED("c", "") LABELLED("d", "")
                LABELLED("e", ""),
            0, "more than 4 token sections");
}

static void
a_token_has_to_be_known_by_something(void **state)
{
    (void)state;
    refused(TAIL TOKEN("a", ""), 4, "takes uri, label or serial");
    refused(TAIL "token \"a\" { label = \"a\"" KNOWN "}\n", 4, "module is missing");
    accepted_silently(TAIL TOKEN("a", "serial = \"1\""));
    accepted_silently(TAIL TOKEN("a", "uri = \"pkcs11:model=SoftHSM%20v2\""));
    refused(TAIL TOKEN("a", "label = \"blank \""), 4, "without the blanks");
    refused(TAIL TOKEN("a", "label = \"123456789012345678901234567890123\""), 4,
            "33 octets, not within 1 to 32");
    refused(TAIL TOKEN("a", "serial = \"12345678901234567\""), 4,
            "17 octets, not within 1 to 16");
    refused(TAIL TOKEN("a", "label = word"), 4, "not a text in double quotes");
}

static void
uri_and_plain_words_have_to_agree(void **state)
{
    struct kd_conf *c =
        accepted(TAIL TOKEN("a", "uri = \"pkcs11:token=t;manufacturer=m\" "
                                 "label = \"t\" serial = \"s\""),
                 &as_user);

    (void)state;
    assert_string_equal(c->tokens[0].match.label, "t");
    assert_string_equal(c->tokens[0].match.manufacturer, "m");
    assert_string_equal(c->tokens[0].match.serial, "s");
    kd_conf_free(c);
    refused(TAIL TOKEN("a", "uri = \"pkcs11:token=t\" label = \"u\""), 4,
            "label: the uri says \"t\"");
    refused(TAIL TOKEN("a", "uri = \"pkcs11:serial=1\" serial = \"2\""), 4,
            "serial: the uri says \"1\"");
}

/* Each is one problem, which says what to do. */
static void
uris_that_say_more_or_nothing_are_refused(void **state)
{
    static const struct {
        const char *uri, *why;
    } bad[] = {
        {"pkcs11:token=t?pin-value=1234", "\"pin-value\": the PIN comes from pin-file"},
        {"pkcs11:token=t;pin-source=/x", "\"pin-source\": the PIN comes from pin-file"},
        {"pkcs11:token=t?pin-source=/x", "the PIN comes from pin-file"},
        {"pkcs11:token=t?module-path=/x", "the module is named by its path"},
        {"pkcs11:token=t;object=k", "keys are found by themselves"},
        {"pkcs11:token=t;type=private", "keys are found by themselves"},
        {"pkcs11:id=%01;token=t", "keys are found by themselves"},
        {"pkcs11:token=t;slot-id=1", "slots are renumbered"},
        {"pkcs11:slot-description=1", "name the token, not the slot"},
        {"pkcs11:library-version=2", "name the token, not the library"},
        {"pkcs11:x-vendor=1", "only token, serial, manufacturer and model"},
        {"pkcs11:Token=t", "only token, serial, manufacturer and model"},
        {"pkcs11:token=t;", "only token, serial, manufacturer and model"},
        {"pkcs11:token=t;;serial=1", "only token, serial, manufacturer and model"},
        {"pkcs11:token=t;token=u", "\"token\" is given twice"},
        {"pkcs11:", "8 to 255"},
        {"pkcs11: ", "only token, serial, manufacturer and model"},
        {"PKCS11:token=t", "begins with pkcs11:"},
        {"pkcs12:token=t", "begins with pkcs11:"},
        {"token=t;serial=1", "begins with pkcs11:"},
        {"pkcs11:token", "not one of RFC 7512"},
        {"pkcs11:token=%", "not one of RFC 7512"},
        {"pkcs11:token=%4", "not one of RFC 7512"},
        {"pkcs11:token=%zz", "not one of RFC 7512"},
        {"pkcs11:token=123456789012345678901234567890123", "not one of RFC 7512"},
        {"pkcs11:serial=12345678901234567", "not one of RFC 7512"},
        {"pkcs11:token=", "is blank or has a NUL"},
        {"pkcs11:token=%20%20", "is blank or has a NUL"},
        {"pkcs11:token=a%00b", "is blank or has a NUL"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, TAIL TOKEN("a", "uri = \"%s\""), bad[i].uri);
        refused(text, 4, bad[i].why);
    }
}

static void
environment_that_is_not_the_modules_is_refused(void **state)
{
    static const char *const bad[] = {
        "LD_PRELOAD=/x",   "LD_LIBRARY_PATH=/x", "LD_=1",           "GLIBC_TUNABLES=x",
        "MALLOC_CHECK_=1", "OPENSSL_CONF=/x",    "SSL_CERT_DIR=/x", "GCONV_PATH=/x",
        "HOSTALIASES=/x",  "MY_PIN=1234",        "PIN=1",           "DB_PASSWORD=x"};
    static const char *const malformed[] = {"",      "X",     "=x",   "1X=y",
                                            "A-B=c", "A B=c", " A=b", "A\xc3\xa4=b"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, TAIL LABELLED("a", "environment = { \"%s\" }"),
                 bad[i]);
        refused(text, 4, "is refused: ");
    }
    for (size_t i = 0; i + 1 < sizeof malformed / sizeof *malformed; i++) {
        char text[512];
        snprintf(text, sizeof text, TAIL LABELLED("a", "environment = { \"%s\" }"),
                 malformed[i]);
        refused(text, 4, "is not NAME=VALUE");
    }
    refused(TAIL LABELLED("a", "environment = { \"X=1\", \"X=2\" }"), 4,
            "is not new: the name is in the list already");
    accepted_silently(TAIL LABELLED("a", "environment = { \"X=1\", \"XX=2\" }"));
    refused(TAIL LABELLED("a", "environment = { \"A=\", \"B=\", \"C=\", \"D=\", "
                               "\"E=\", \"F=\", \"G=\", \"H=\", \"I=\" }"),
            4, "environment: more than 8 items");
}

static void
long_items_are_refused(void **state)
{
    char item[300], text[640];

    (void)state;
    memset(item, 'x', sizeof item);
    item[0] = '/';
    item[255] = '\0';
    snprintf(text, sizeof text, TAIL LABELLED("a", "paths = { \"%s\" }"), item);
    accepted_silently(text);
    item[255] = 'x';
    item[256] = '\0';
    snprintf(text, sizeof text, TAIL LABELLED("a", "paths = { \"%s\" }"), item);
    refused(text, 4, "paths: more than 255 octets");
    item[0] = 'A';
    item[1] = '=';
    snprintf(text, sizeof text, TAIL LABELLED("a", "environment = { \"%s\" }"), item);
    refused(text, 4, "environment: more than 255 octets");
}

static void
paths_do_not_reach_what_is_keyds(void **state)
{
    (void)state;
    refused(TAIL LABELLED("a", "paths = { \"/var/lib/dime-keyd\" }"), 4,
            "and state-directory lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"/var/lib/dime-keyd/x\" }"), 4,
            "and state-directory lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"/var\" }"), 4,
            "and state-directory lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"/run/dime-keyd\" }"), 4,
            "and run-directory lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"/usr/lib\" }"), 4,
            "and module lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"/etc/pins\" }"), 4,
            "and pin-file lie in each other");
    refused("credential = \"/srv/secret/c\"\n" TAIL LABELLED(
                "a", "paths = { \"/srv/secret\" }"),
            5, "and credential lie in each other");
    refused(TAIL LABELLED("a", "paths = { \"relative\" }"), 4, "not an absolute path");
    refused(TAIL LABELLED("a", "paths = { \"/a/../b\" }"), 4, "not an absolute path");
    refused(TAIL LABELLED("a", "paths = { \"/a\", \"/a\" }"), 4, "is not new");
    accepted_silently(TAIL LABELLED("a", "paths = { \"/var/lib/dime-keyd2\" }"));
    refused(TAIL
            "token \"a\" { label = \"a\" module = \"/var/lib/dime-keyd/m.so\"" KNOWN
            "}\n",
            4, "module: not in state-directory");
    refused(TAIL "token \"a\" { label = \"a\" module = \"/m.so\" pin-file = "
                 "\"/run/dime-keyd/pin\" }\n",
            4, "pin-file: not in state-directory or run-directory");
}

static void
a_token_without_a_pin_file_is_warned_of(void **state)
{
    (void)state;
    kd_conf_free(
        accepted(TAIL "token \"a\" { module = \"/m.so\" label = \"a\" }\n", &as_user));
    assert_int_equal(problems.n, 1);
    assert_true(has_problem(4, true, "no pin-file"));
}

static void
two_sections_for_one_token_are_refused(void **state)
{
    (void)state;
    refused(TAIL TOKEN("a", "label = \"x\"") TOKEN("b", "uri = \"pkcs11:token=x\""), 5,
            "token \"b\": the same as token \"a\"");
    accepted_silently(TAIL TOKEN("a", "label = \"x\"") TOKEN("b", "serial = \"x\""));
}

static void
users_of_tokens_are_nobody_elses(void **state)
{
    struct kd_conf *c;

    (void)state;
    /* without a token nobody looks for its user */
    c = accepted(TAIL, &as_root);
    assert_false(c->user_p11.is_known);
    assert_int_equal(c->n_tokens, 0);
    kd_conf_free(c);
    refused_as_root(TAIL LABELLED("a", ""), 0, "there is no user dime-keyd-p11");
    c = accepted("user-p11 = \"submitd\"\n" TAIL LABELLED("a", ""), &as_root);
    assert_int_equal(kd_conf_token_user(c, &c->tokens[0])->id, 2001);
    kd_conf_free(c);
    c = accepted(TAIL LABELLED("a", "user = \"2001\""), &as_root);
    assert_int_equal(kd_conf_token_user(c, &c->tokens[0])->id, 2001);
    kd_conf_free(c);
    refused_as_root(TAIL LABELLED("a", "user = \"absent\""), 4, "there is no user");
    refused_as_root(TAIL LABELLED("a", "user = \"root\""), 4, "does not run as root");
    refused_as_root("user-p11 = \"0\"\n" TAIL LABELLED("a", ""), 5,
                    "does not run as root");
    refused_as_root("user-p11 = \"nobody\"\n" TAIL LABELLED("a", ""), 1, "is nobody");
    refused_as_root(TAIL LABELLED("a", "user = \"dime-keyd-vault\""), 4,
                    "the same user as user-vault");
    refused_as_root(TAIL LABELLED("a", "user = \"twin\""), 4,
                    "the same user as user-gate");
    refused_as_root(TAIL "principal \"x\" { uid = 2001 class = mta operations = {} }\n"
                         "token \"a\" { module = \"/m\" label = \"a\"" KNOWN
                         "user = \"submitd\" }\n",
                    5, "the uid of principal \"x\"");
    refused_as_root(TAIL LABELLED("a", "user = \"2001\" group = \"dime-keyd\""), 4,
                    "the group of the roles");
    refused_as_root(TAIL LABELLED("a", "user = \"2001\" group = \"0\""), 4,
                    "not root's");
}

static void
traps_are_linted(void **state)
{
    struct kd_conf *c = accepted(TAIL "token \"a\" { module = \"/tmp/m.so\"" KNOWN
                                      "label = \"a\" sessions = 1 profile = net }\n"
                                      "token \"b\" { module = \"/usr/lib/m.so\"" KNOWN
                                      "serial = \"1\" }\n",
                                 &as_user);

    (void)state;
    kd_conf_lint(c, &problems);
    assert_true(has_problem(4, true, "one session"));
    assert_true(has_problem(4, true, "a folder where others write"));
    assert_true(has_problem(4, true, "no serial"));
    assert_true(has_problem(4, true, "profile net"));
    for (size_t i = 0; i < problems.n; i++)
        assert_int_not_equal(problems.list[i].line, 5);
    kd_conf_free(c);
}

/* --- what the roles are told --- */

static struct kd_conf *
two_tokens(void)
{
    return accepted(
        "log-level = warn\n" TAIL "token \"alpha\" { module = \"/usr/lib/a.so\"" KNOWN
        "uri = \"pkcs11:token=t;serial=s;manufacturer=m;model=o\"\n"
        "  paths = { \"/p/one\", \"/p/two\" }\n"
        "  environment = { \"A=/etc/a.conf\", \"B=no/path\", \"C=/\", \"D=/etc/d\" }\n"
        "}\n" LABELLED("beta", "profile = net sessions = 3 timeout = 3000 "
                               "max-message = 4096"),
        &as_user);
}

static void
the_vault_is_told_names_and_numbers(void **state)
{
    struct kd_conf *conf = two_tokens();
    struct kd_conf_for_vault c, d;
    struct kd_buf b;

    (void)state;
    assert_int_equal(kd_conf_for_vault_make(conf, &c), KD_OK);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_vault_encode(&c, &b);
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &d), KD_OK);
    assert_int_equal(d.n_tokens, 2);
    assert_string_equal(d.tokens[0].name, "alpha");
    assert_int_equal(d.tokens[0].sessions, 2);
    assert_int_equal(d.tokens[0].max_message, 0);
    assert_string_equal(d.tokens[1].name, "beta");
    assert_int_equal(d.tokens[1].sessions, 3);
    assert_int_equal(d.tokens[1].timeout, 3000);
    assert_int_equal(d.tokens[1].recycle_after, 50000);
    assert_int_equal(d.tokens[1].max_memory, 64);
    assert_int_equal(d.tokens[1].max_message, 4096);
    kd_conf_for_vault_clear(&d);
    memcpy(c.tokens[1].name, "alpha", 6);
    kd_buf_reset(&b);
    kd_conf_for_vault_encode(&c, &b);
    assert_int_equal(kd_conf_for_vault_decode(kd_buf_slice(&b), &d), KD_MALFORMED);
    kd_conf_for_vault_clear(&c);
    kd_buf_free(&b);
    kd_conf_free(conf);
}

static void
a_host_is_told_of_its_token_alone(void **state)
{
    struct kd_conf *conf = two_tokens();
    struct kd_conf_for_p11 c, d;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    assert_int_equal(kd_conf_for_p11_make(conf, 7, &c), KD_OK);
    kd_conf_for_p11_encode(&c, &b);
    assert_int_equal(kd_conf_for_p11_decode(kd_buf_slice(&b), &d), KD_OK);
    assert_int_equal(d.host, 7);
    assert_true(d.is_maker);
    assert_int_equal(d.log_level, KD_WARN);
    assert_int_equal(d.profile, KD_P11_PROFILE_FILES);
    assert_int_equal(d.timeout, 600);
    assert_string_equal(d.name, "alpha");
    assert_string_equal(d.module, "/usr/lib/a.so");
    assert_string_equal(d.match.label, "t");
    assert_string_equal(d.match.serial, "s");
    assert_string_equal(d.match.manufacturer, "m");
    assert_string_equal(d.match.model, "o");
    assert_int_equal(d.n_paths, 2);
    assert_string_equal(d.paths[1], "/p/two");
    assert_int_equal(d.n_files, 2);
    assert_string_equal(d.files[0], "/etc/a.conf");
    assert_string_equal(d.files[1], "/etc/d");
    /* Nobody is told where a PIN is. */
    assert_null(memmem(b.p, b.n, "/etc/pins", 9));
    assert_int_equal(kd_conf_for_p11_make(conf, 8, &c), KD_OK);
    assert_false(c.is_maker);
    assert_string_equal(c.name, "beta");
    assert_int_equal(c.profile, KD_P11_PROFILE_NET);
    assert_int_equal(kd_conf_for_p11_make(conf, 16, &c), KD_NOT_FOUND);
    assert_int_equal(kd_conf_for_p11_make(conf, 4, &c), KD_NOT_FOUND);
    kd_buf_free(&b);
    kd_conf_free(conf);
}

static kd_err
decode(const struct kd_conf_for_p11 *c)
{
    struct kd_conf_for_p11 d;
    struct kd_buf b;

    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_p11_encode(c, &b);
    kd_err err = kd_conf_for_p11_decode(kd_buf_slice(&b), &d);
    kd_buf_free(&b);
    return err;
}

static void
a_hosts_part_that_nobody_wrote_is_refused(void **state)
{
    struct kd_conf *conf = two_tokens();
    struct kd_conf_for_p11 good, c;
    struct kd_buf b;

    (void)state;
    assert_int_equal(kd_conf_for_p11_make(conf, 0, &good), KD_OK);
    assert_int_equal(decode(&good), KD_OK);
    c = good;
    c.host = 5;
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.profile = KD_P11_PROFILES;
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.timeout = 99;
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.name[0] = '/';
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.module[0] = 'x';
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.module[0] = '\0';
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.match = (struct kd_token_match){0};
    assert_int_equal(decode(&c), KD_MALFORMED);
    c = good;
    c.paths[1][0] = '\0';
    assert_int_equal(decode(&c), KD_MALFORMED);
    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    kd_conf_for_p11_encode(&good, &b);
    for (size_t n = 0; n < b.n; n++)
        assert_int_not_equal(kd_conf_for_p11_decode(kd_slice(b.p, n), &c), KD_OK);
    kd_buf_u8(&b, 0);
    assert_int_equal(kd_conf_for_p11_decode(kd_buf_slice(&b), &c), KD_MALFORMED);
    kd_buf_free(&b);
    kd_conf_free(conf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_of_hosts_agree),
        cmocka_unit_test(a_section_has_what_it_says_and_defaults),
        cmocka_unit_test(names_are_short_and_plain),
        cmocka_unit_test(more_than_four_are_refused),
        cmocka_unit_test(a_token_has_to_be_known_by_something),
        cmocka_unit_test(uri_and_plain_words_have_to_agree),
        cmocka_unit_test(uris_that_say_more_or_nothing_are_refused),
        cmocka_unit_test(environment_that_is_not_the_modules_is_refused),
        cmocka_unit_test(long_items_are_refused),
        cmocka_unit_test(paths_do_not_reach_what_is_keyds),
        cmocka_unit_test(a_token_without_a_pin_file_is_warned_of),
        cmocka_unit_test(two_sections_for_one_token_are_refused),
        cmocka_unit_test(users_of_tokens_are_nobody_elses),
        cmocka_unit_test(traps_are_linted),
        cmocka_unit_test(the_vault_is_told_names_and_numbers),
        cmocka_unit_test(a_host_is_told_of_its_token_alone),
        cmocka_unit_test(a_hosts_part_that_nobody_wrote_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
