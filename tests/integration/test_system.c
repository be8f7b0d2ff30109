/* Conformance of the running daemon: the objects of the specification's test vectors go
 * in and come out octet for octet, and what must be refused is. */
#include "ask.h"
#include "people.h"
#include "png.h"
#include "sg.h"
#include "suite.h"
#include "test.h"

#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <grp.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct daemon keyd;
static keyd_client *submit, *mta, *admin;

/* What was issued, for the tests over all of it. */
enum { KEPT_MAX = 256 };
static struct kd_slice kept[KEPT_MAX];
static size_t n_kept;

static void
keep(struct kd_slice signet)
{
    uint8_t *p = malloc(signet.n);

    assert_non_null(p);
    assert_true(n_kept < KEPT_MAX);
    memcpy(p, signet.p, signet.n);
    kept[n_kept++] = kd_slice(p, signet.n);
}

static struct kd_slice
ssr_of(const char *text, uint64_t person, uint32_t step, bool custody, struct kd_buf *b)
{
    struct person_keys own, prev;

    person_keys(text, person, step, &own);
    if (custody)
        person_keys(text, person, step - 1, &prev);
    kd_buf_init(b, 4096);
    assert_int_equal(person_ssr(&own, custody ? &prev : NULL, b), KD_OK);
    return kd_buf_slice(b);
}

/* Issues a root or a step of a person's chain and keeps it. */
static void
issue_step(const char *address, const char *text, uint64_t person, uint32_t step)
{
    struct kd_buf b;
    struct kd_slice ssr = ssr_of(text, person, step, step > 0, &b);
    struct keyd_answer *a = ask_plain(submit, address, ssr);

    if (a->status == KEYD_OK && n_kept < KEPT_MAX)
        keep(ask_slice(a->out.signet.signet));
    ask_ends(a, KEYD_OK, NULL);
    kd_buf_free(&b);
}

/* --- the vectors of the specification --- */

static uint8_t pok_id[16], sok_id[16], enc_id[16];

static void
scalar_of(const char *text, uint8_t out[32])
{
    crypto_hash_sha256(out, (const uint8_t *)text, strlen(text));
}

static struct keyd_answer *
issue_org(const char *domain, const uint8_t *pok, const uint8_t *sok,
          const uint8_t *enc, const char *name)
{
    const struct keyd_octets soks[] = {{sok, 16}};
    const struct keyd_profile_field profile[] = {
        {.type = 16, .value = KEYD_STR(name == NULL ? "" : name)}};
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR(domain),
                                .profile = profile,
                                .n_profile = name == NULL ? 0 : 1,
                                .pok_id = {pok, 16},
                                .sok_ids = soks,
                                .n_sok_ids = 1,
                                .encryption_id = {enc, 16}}};

    return ask(admin, &q);
}

static void
T_OP_1_org_signet_of_imported_keys_is_ORG2_octet_for_octet(void **state)
{
    const struct sg_world *w = sg_world();
    struct kd_slice org2 = sg_file("appendix/ORG2.b64");
    uint8_t scalar[32], other[32];

    (void)state;
    scalar_of("keyd-test origin enc", scalar);
    scalar_of("keyd-test not taken", other);
    ask_import(&keyd, "example.com", w->pok.seed, scalar, KEYD_ROLE_POK, 0, true,
               pok_id, enc_id);
    ask_import(&keyd, "example.com", w->sok.seed, other, KEYD_ROLE_SOK,
               KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, false, sok_id, NULL);
    struct keyd_answer *a = issue_org("example.com", pok_id, sok_id, enc_id, "Example");
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.signet.signet.n, org2.n);
    assert_memory_equal(a->out.signet.signet.p, org2.p, org2.n);
    keep(org2);
    keyd_client_answer_free(a);
    sg_free(org2);
}

static void
T_SG_90_custody_request_without_the_signet_before_it_is_refused(void **state)
{
    struct kd_slice ssr1 = sg_file("appendix/SSR1.b64");

    (void)state;
    ask_issue_ends(submit, "alice@example.com", ssr1, KEYD_INVALID, "no-predecessor");
    sg_free(ssr1);
}

static void
T_OP_1_SSR0_gives_USER0_octet_for_octet(void **state)
{
    struct kd_slice ssr0 = sg_file("appendix/SSR0.b64");
    struct kd_slice user0 = sg_file("appendix/USER0.b64");

    (void)state;
    struct keyd_answer *a = ask_plain(submit, "alice@example.com", ssr0);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.signet.signet.n, user0.n);
    assert_memory_equal(a->out.signet.signet.p, user0.p, user0.n);
    assert_false(a->out.signet.replayed);
    keep(user0);
    keyd_client_answer_free(a);
    sg_free(ssr0);
    sg_free(user0);
}

static struct keyd_answer *
issue_ssr1(const char *name)
{
    struct kd_slice ssr1 = sg_file("appendix/SSR1.b64");
    const struct keyd_profile_field profile[] = {{.type = 16, .value = KEYD_STR(name)}};
    const struct ask_issue in = {.address = "alice@example.com",
                                 .ssr = ssr1,
                                 .profile = profile,
                                 .n_profile = 1};
    struct keyd_answer *a = ask_issue(submit, &in);

    sg_free(ssr1);
    return a;
}

static void
T_OP_1_SSR1_after_it_gives_USER1_octet_for_octet(void **state)
{
    struct kd_slice user1 = sg_file("appendix/USER1.b64");
    struct keyd_answer *a = issue_ssr1("Alice");

    (void)state;
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.signet.signet.n, user1.n);
    assert_memory_equal(a->out.signet.signet.p, user1.p, user1.n);
    assert_int_equal(a->out.signet.seq, 2);
    keep(user1);
    keyd_client_answer_free(a);
    sg_free(user1);
}

static void
T_OP_4_another_name_for_the_same_keys_needs_a_rotation(void **state)
{
    (void)state;
    ask_ends(issue_ssr1("Alice B."), KEYD_CONFLICT, "rotation-required");
    struct keyd_answer *a = issue_ssr1("Alice");
    assert_int_equal(a->status, KEYD_OK);
    assert_true(a->out.signet.replayed);
    keyd_client_answer_free(a);
}

static void
T_SG_90_custody_by_another_key_than_the_published_one_is_refused(void **state)
{
    struct person_keys own, wrong;
    struct kd_buf b;

    (void)state;
    issue_step("dave@example.com", "dave", 0, 0);
    person_keys("dave", 0, 1, &own);
    person_keys("dave", 1, 0, &wrong);
    kd_buf_init(&b, 4096);
    assert_int_equal(person_ssr(&own, &wrong, &b), KD_OK);
    ask_issue_ends(submit, "dave@example.com", kd_buf_slice(&b), KEYD_INVALID,
                   "signet-bad-custody");
    kd_buf_free(&b);
    issue_step("dave@example.com", "dave", 0, 1);
}

/* --- who may sign --- */

static void
T_OP_2_a_SOK_for_messages_only_signs_no_user_signet(void **state)
{
    uint8_t pok[16], sok[16], enc[16];
    const struct sg_pair p = sg_pair_text("net pok"), s = sg_pair_text("net sok");
    uint8_t scalar[32], other[32];
    struct kd_buf b;

    (void)state;
    scalar_of("net enc", scalar);
    scalar_of("net not taken", other);
    ask_import(&keyd, "example.net", p.seed, scalar, KEYD_ROLE_POK, 0, true, pok, enc);
    ask_import(&keyd, "example.net", s.seed, other, KEYD_ROLE_SOK, KEYD_PERM_MESSAGE,
               false, sok, NULL);
    ask_ends(issue_org("example.net", pok, sok, enc, NULL), KEYD_OK, NULL);
    uint64_t refused = ask_counter(&keyd, "refused");
    struct kd_slice ssr = ssr_of("net", 0, 0, false, &b);
    ask_issue_ends(submit, "eve@example.net", ssr, KEYD_UNAVAILABLE, "no-signing-key");
    /* A refusal is counted; only uses of keys have records. */
    assert_true(ask_counter(&keyd, "refused") > refused);
    kd_buf_free(&b);
}

/* Runs f as another user in a process of its own; its result is the exit status. */
static int
as_user(uid_t uid, int (*f)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) != 0 ||
            setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) ||
            setresuid(uid, uid, uid) != 0)
            _exit(99);
        _exit(f());
    }
    return daemon_reap(pid, 30000);
}

/* Status of an issuance on a class's socket, or 90 if not connected. */
static int
issue_on(const char *class, const char *address)
{
    char path[108];
    struct keyd_answer *a = NULL;
    struct person_keys own;
    struct kd_buf b;
    keyd_client *c = keyd_client_new();

    person_keys("other user", 0, 0, &own);
    kd_buf_init(&b, 4096);
    daemon_socket(&keyd, class, path);
    if (c == NULL || person_ssr(&own, NULL, &b) != KD_OK)
        return 91;
    enum keyd_status s = keyd_client_connect(c, path, 5000);
    if (s != KEYD_OK)
        return s == KEYD_DENIED ? KEYD_DENIED : 90;
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {b.p, b.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    s = keyd_client_call(c, &q, &a);
    return (int)s;
}

static int
issue_on_milter(void)
{
    return issue_on("milter", "u1@example.com");
}

static int
issue_on_submission(void)
{
    return issue_on("submission", "u1@example.com");
}

static int
issue_for_net(void)
{
    return issue_on("submission", "u1@example.net");
}

static int
connect_admin(void)
{
    return issue_on("admin", "u1@example.com");
}

static void
skip_unless_root(void)
{
    if (geteuid() != 0) {
        print_message("skipped: needs root to change its uid\n");
        skip();
    }
}

static void
T_OP_27_milter_identity_cannot_have_signets_issued(void **state)
{
    (void)state;
    skip_unless_root();
    assert_int_equal(as_user(DAEMON_MILTER, issue_on_milter), KEYD_UNSUPPORTED);
    assert_int_equal(as_user(DAEMON_MILTER, issue_on_submission), KEYD_DENIED);
}

static void
uid_without_a_principal_is_denied(void **state)
{
    (void)state;
    skip_unless_root();
    assert_int_equal(as_user(DAEMON_NOBODY, issue_on_submission), KEYD_DENIED);
    assert_int_equal(as_user(65534, issue_on_submission), KEYD_DENIED);
    assert_int_equal(as_user(DAEMON_DMTPD, issue_on_submission), KEYD_DENIED);
    assert_int_equal(as_user(DAEMON_GATE, issue_on_submission), KEYD_DENIED);
}

static void
principal_of_another_domain_is_denied(void **state)
{
    (void)state;
    skip_unless_root();
    assert_int_equal(as_user(DAEMON_FOREIGN, issue_on_submission), KEYD_DENIED);
    assert_int_equal(as_user(DAEMON_SUBMITD, issue_for_net), KEYD_DENIED);
}

static void
admin_socket_is_out_of_reach_of_others(void **state)
{
    (void)state;
    skip_unless_root();
    assert_int_equal(as_user(DAEMON_SUBMITD, connect_admin), KEYD_DENIED);
}

static void
principal_with_everything_right_is_served(void **state)
{
    (void)state;
    skip_unless_root();
    assert_int_equal(as_user(DAEMON_SUBMITD, issue_on_submission), KEYD_OK);
}

static void
a_domain_that_is_not_served_is_denied(void **state)
{
    struct kd_buf b;
    struct kd_slice ssr = ssr_of("org", 0, 0, false, &b);

    (void)state;
    ask_issue_ends(submit, "bob@example.org", ssr, KEYD_DENIED, "not-permitted");
    kd_buf_free(&b);
}

/* --- what is no request --- */

static void
assert_not_issued(struct kd_slice ssr, const char *what)
{
    struct keyd_answer *a = ask_plain(submit, "mallory@example.com", ssr);

    if (a->status != KEYD_INVALID)
        fail_msg("%s: %s (%s)", what, keyd_client_status_text(a->status), a->detail);
    keyd_client_answer_free(a);
}

static void
T_OP_5_octets_that_are_no_whole_request_are_refused(void **state)
{
    static const char *const others[] = {"USER0", "USER1", "ORG1",
                                         "ORG2",  "DEST",  "BOB"};
    struct kd_slice ssr0 = sg_file("appendix/SSR1.b64");
    uint8_t octets[512];

    (void)state;
    for (size_t n = 1; n < ssr0.n; n++)
        assert_not_issued(kd_slice(ssr0.p, n), "a part of a request");
    memcpy(octets, ssr0.p, ssr0.n);
    memset(octets + ssr0.n, 0, sizeof octets - ssr0.n);
    assert_not_issued(kd_slice(octets, ssr0.n + 1), "an octet behind the request");
    assert_not_issued(kd_slice(octets, 2 * ssr0.n), "many octets behind the request");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char name[32];
        snprintf(name, sizeof name, "appendix/%s.b64", others[i]);
        struct kd_slice s = sg_file(name);
        assert_not_issued(s, others[i]);
        sg_free(s);
    }
    for (size_t i = 0; i < 200; i++) {
        randombytes_buf(octets, sizeof octets);
        assert_not_issued(kd_slice(octets, 1 + randombytes_uniform(sizeof octets)),
                          "random octets");
    }
    sg_free(ssr0);
}

static void
every_flipped_bit_of_a_request_is_refused(void **state)
{
    struct kd_buf b;
    struct kd_slice ssr = ssr_of("flip", 0, 0, false, &b);

    (void)state;
    for (size_t i = 0; i < ssr.n; i++) {
        b.p[i] ^= (uint8_t)(1 << (i % 8));
        assert_not_issued(kd_slice(b.p, b.n), "a flipped bit");
        b.p[i] ^= (uint8_t)(1 << (i % 8));
    }
    ask_issue_ends(submit, "flip@example.com", kd_slice(b.p, b.n), KEYD_OK, NULL);
    kd_buf_free(&b);
}

static void
T_SG_88_request_with_field_16_or_6_is_refused(void **state)
{
    const struct sg_pair pair = sg_pair_text("t-sg-88");
    struct kd_buf b;

    (void)state;
    sg_begin(&b, DIME_MAGIC_SSR);
    sg_sign_key(&b, DIME_LAYOUT_L, pair.key);
    sg_enc_key(&b, 2, DIME_LAYOUT_L, sg_world()->bob_enc);
    sg_sign(&b, 5, &pair);
    size_t good = b.n;
    sg_len1(&b, 16, "Mallory");
    assert_not_issued(sg_end(&b), "field 16");
    b.n = good;
    sg_sign(&b, 6, &pair);
    assert_not_issued(sg_end(&b), "field 6");
    kd_buf_free(&b);
}

static void
T_SG_89_request_signed_by_the_old_key_is_refused(void **state)
{
    const struct sg_pair fresh = sg_pair_text("t-sg-89");
    const struct sg_user recipe = {.request = true,
                                   .pair = &fresh,
                                   .enc = sg_world()->bob_enc,
                                   .custody_by = &sg_world()->alice,
                                   .user_by = &sg_world()->alice};
    struct kd_buf b;
    struct kd_slice ssr = sg_make_user(&b, &recipe);

    (void)state;
    ask_issue_ends(submit, "alice@example.com", ssr, KEYD_INVALID,
                   "signet-bad-user-signature");
    kd_buf_free(&b);
}

static void
T_SG_94_a_private_key_file_is_refused_wherever_it_comes_in(void **state)
{
    static const uint16_t magics[] = {1952, 2013, 1947, 1976};
    uint8_t octets[77] = {0, 0, 0, 0, 72, 1, 0x20};

    (void)state;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        octets[0] = (uint8_t)(magics[i] >> 8);
        octets[1] = (uint8_t)magics[i];
        randombytes_buf(octets + 7, 32);
        ask_issue_ends(submit, "mallory@example.com", kd_slice(octets, sizeof octets),
                       KEYD_INVALID, "signet-bad-magic");
    }
}

static void
T_SG_94_a_users_private_keys_are_not_imported(void **state)
{
    char file[DIME_DKEY_TEXT_MAX];
    uint8_t scalar[32];

    (void)state;
    scalar_of("t-sg-94", scalar);
    size_t n = ask_key_file(DIME_DKEY_USER, sg_world()->bob.seed, scalar, file);
    const struct keyd_request q = {.op = KEYD_OP_IMPORT_KEY,
                                   .in.import_key = {.key_file = {file, n},
                                                     .signing_role = KEYD_ROLE_SOK,
                                                     .domain = KEYD_STR("example.com"),
                                                     .permissions = KEYD_PERM_SIGNET}};
    ask_ends(ask(admin, &q), KEYD_INVALID, "user-key-file");
}

/* --- claims, custody, keys --- */

/* A root request with the alternate key field that claims this level. */
static struct kd_slice
claim(struct kd_buf *b, const struct sg_pair *pair, const uint8_t enc[33],
      uint8_t level)
{
    uint8_t field[] = {3, 1, level};
    const struct sg_user recipe = {
        .request = true, .pair = pair, .enc = enc, .before_5 = {field, sizeof field}};

    return sg_make_user(b, &recipe);
}

static void
T_OP_19_a_level_beyond_the_account_is_refused(void **state)
{
    static const struct {
        uint8_t level;
        enum keyd_account_mode mode;
        bool good;
    } cases[] = {
        {16, KEYD_ACCOUNT_CAUTIOUS, false}, {16, KEYD_ACCOUNT_PARANOID, false},
        {8, KEYD_ACCOUNT_CAUTIOUS, false},  {1, KEYD_ACCOUNT_TRUSTFUL, false},
        {4, KEYD_ACCOUNT_CAUTIOUS, true},   {8, KEYD_ACCOUNT_PARANOID, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32], address[64];
        uint8_t enc[33];
        struct kd_buf b;
        snprintf(text, sizeof text, "t-op-19 %zu", i);
        snprintf(address, sizeof address, "claim%zu@example.com", i);
        const struct sg_pair pair = sg_pair_text(text);
        sg_enc_text(text, enc);
        const struct ask_issue in = {.address = address,
                                     .ssr = claim(&b, &pair, enc, cases[i].level),
                                     .mode = cases[i].mode};
        ask_ends(ask_issue(submit, &in), cases[i].good ? KEYD_OK : KEYD_INVALID,
                 cases[i].good ? NULL : "level-claim");
        kd_buf_free(&b);
    }
}

static void
T_OP_20_a_second_root_for_an_address_is_refused(void **state)
{
    struct kd_buf b;
    struct kd_slice ssr = ssr_of("second root", 0, 0, false, &b);

    (void)state;
    ask_issue_ends(submit, "alice@example.com", ssr, KEYD_INVALID, "custody-missing");
    kd_buf_free(&b);
}

/* A root request of these very keys. */
static void
assert_reused(const struct sg_pair *pair, const uint8_t enc[33], const char *what)
{
    const struct sg_user recipe = {.request = true, .pair = pair, .enc = enc};
    struct kd_buf b;
    struct keyd_answer *a =
        ask_plain(submit, "reuse@example.com", sg_make_user(&b, &recipe));

    if (a->status != KEYD_INVALID || strcmp(a->detail, "key-reused") != 0)
        fail_msg("%s: %s (%s)", what, keyd_client_status_text(a->status), a->detail);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
}

static void
T_OP_21_a_key_known_from_anywhere_is_refused(void **state)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair fresh = sg_pair_text("t-op-21"), net = sg_pair_text("net pok");
    uint8_t enc[33], flipped[33];

    (void)state;
    sg_enc_text("t-op-21", enc);
    assert_reused(&w->alice, enc, "the current signing key of another address");
    assert_reused(&w->alice0, enc, "an older signing key of another address");
    assert_reused(&w->pok, enc, "the POK");
    assert_reused(&w->sok, enc, "a SOK");
    assert_reused(&net, enc, "the POK of another domain");
    assert_reused(&fresh, w->alice_enc, "the encryption key of another address");
    assert_reused(&fresh, w->alice0_enc, "an older encryption key of another address");
    assert_reused(&fresh, w->org_enc, "the organization's encryption key");
    /* 02 and 03 with the same x are one secret with two signs. */
    memcpy(flipped, w->org_enc, sizeof flipped);
    flipped[0] ^= 1;
    assert_reused(&fresh, flipped, "the organization's encryption key, other sign");
    memcpy(flipped, w->alice_enc, sizeof flipped);
    flipped[0] ^= 1;
    assert_reused(&fresh, flipped, "the encryption key of another address, other sign");
}

static void
T_OP_21_an_older_own_key_is_refused(void **state)
{
    struct person_keys first, second;
    struct kd_buf b;

    (void)state;
    issue_step("frank@example.com", "frank", 0, 0);
    issue_step("frank@example.com", "frank", 0, 1);
    person_keys("frank", 0, 0, &first);
    person_keys("frank", 0, 1, &second);
    kd_buf_init(&b, 4096);
    assert_int_equal(person_ssr(&first, &second, &b), KD_OK);
    ask_issue_ends(submit, "frank@example.com", kd_buf_slice(&b), KEYD_INVALID,
                   "key-reused");
    kd_buf_free(&b);
}

/* --- fields --- */

static size_t
count_fields(struct kd_slice signet, uint8_t type)
{
    struct dime_signet s;
    struct dime_walk w;
    struct dime_field f;
    enum dime_reason why;
    size_t n = 0;

    assert_int_equal(dime_signet_parse_as(DIME_USER, signet, &s, &why), KD_OK);
    dime_walk_signet(&w, &s);
    while (dime_walk_next(&w, &f))
        n += f.type == type;
    return n;
}

static void
T_SG_76_an_undefined_field_of_an_unusable_name_is_dropped(void **state)
{
    const struct keyd_profile_field profile[] = {
        {.type = 251, .name = KEYD_STR("good"), .value = KEYD_STR("kept")},
        {.type = 251, .name = KEYD_STR("with space"), .value = KEYD_STR("dropped")},
        {.type = 251, .name = KEYD_STR("con\ttrol"), .value = KEYD_STR("dropped")},
        {.type = 251, .name = KEYD_STR("\xff\xfe"), .value = KEYD_STR("dropped")},
    };
    struct kd_buf b;
    const struct ask_issue in = {.address = "grace@example.com",
                                 .ssr = ssr_of("grace", 0, 0, false, &b),
                                 .profile = profile,
                                 .n_profile = 4};
    struct keyd_answer *a = ask_issue(submit, &in);
    struct dime_signet s;
    struct dime_field f;
    enum dime_reason why;

    (void)state;
    assert_int_equal(a->status, KEYD_OK);
    struct kd_slice signet = ask_slice(a->out.signet.signet);
    assert_int_equal(count_fields(signet, 251), 1);
    assert_int_equal(dime_signet_parse_as(DIME_USER, signet, &s, &why), KD_OK);
    assert_int_equal(dime_signet_find_named(&s, kd_slice_str("good"), &f), KD_OK);
    assert_true(kd_slice_eq(f.value, kd_slice_str("kept")));
    keep(signet);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
}

static void
a_field_that_the_configuration_does_not_list_is_dropped(void **state)
{
    const struct keyd_profile_field profile[] = {
        {.type = 16, .value = KEYD_STR("Heidi")},
        {.type = 17, .value = KEYD_STR("not listed")},
    };
    struct kd_buf b;
    const struct ask_issue in = {.address = "heidi@example.com",
                                 .ssr = ssr_of("heidi", 0, 0, false, &b),
                                 .profile = profile,
                                 .n_profile = 2};
    struct keyd_answer *a = ask_issue(submit, &in);

    (void)state;
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(count_fields(ask_slice(a->out.signet.signet), 16), 1);
    assert_int_equal(count_fields(ask_slice(a->out.signet.signet), 17), 0);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
}

/* --- look-ups --- */

static void
T_OP_23_history_after_50_rotations_has_51_cores(void **state)
{
    enum { STEPS = 51 };
    uint8_t page[64], last_fp[64];
    struct keyd_octets next = KEYD_NONE;
    struct dime_signet core;
    enum dime_reason why;
    struct kd_buf b;
    size_t n = 0, pages = 0;

    (void)state;
    for (uint32_t i = 0; i < STEPS; i++) {
        struct keyd_answer *a =
            ask_plain(submit, "ivan@example.com", ssr_of("ivan", 0, i, i > 0, &b));
        assert_int_equal(a->status, KEYD_OK);
        assert_int_equal(a->out.signet.seq, i + 1);
        memcpy(last_fp, a->out.signet.core_fp.p, sizeof last_fp);
        keyd_client_answer_free(a);
        kd_buf_free(&b);
    }
    do {
        struct keyd_answer *a = NULL;
        struct person_keys keys;
        uint8_t fp[64];
        assert_int_equal(keyd_client_lookup_history(mta, KEYD_STR("ivan@example.com"),
                                                    KEYD_NONE, KEYD_NONE, next, &a),
                         KEYD_OK);
        for (size_t i = 0; i < a->out.history.n_cores; i++, n++) {
            assert_int_equal(dime_signet_parse_as(DIME_USER,
                                                  ask_slice(a->out.history.cores[i]),
                                                  &core, &why),
                             KD_OK);
            person_keys("ivan", 0, (uint32_t)n, &keys);
            assert_memory_equal(core.sign_key, keys.key, 32);
            assert_int_equal(core.part, DIME_PART_CORE);
        }
        if (a->out.history.next.n == 0) {
            assert_int_equal(dime_fingerprint(&core, DIME_PART_CORE, fp), KD_OK);
            assert_memory_equal(fp, last_fp, sizeof fp);
        }
        assert_true(a->out.history.next.n <= sizeof page);
        if (a->out.history.next.n > 0)
            memcpy(page, a->out.history.next.p, a->out.history.next.n);
        next = (struct keyd_octets){a->out.history.next.n == 0 ? NULL : page,
                                    a->out.history.next.n};
        keyd_client_answer_free(a);
        pages++;
    } while (next.n > 0);
    assert_int_equal(n, STEPS);
    assert_true(pages > 1);
}

static void
look_ups_tell_current_superseded_and_unknown_apart(void **state)
{
    struct kd_slice user0 = sg_file("appendix/USER0.b64");
    struct kd_slice user1 = sg_file("appendix/USER1.b64");
    struct keyd_answer *a = NULL;
    struct dime_signet s;
    enum dime_reason why;
    uint8_t fp[2][64], none[64] = {1};

    (void)state;
    assert_int_equal(dime_signet_parse(user0, &s, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, fp[0]), KD_OK);
    assert_int_equal(dime_signet_parse(user1, &s, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, fp[1]), KD_OK);
    const struct {
        const uint8_t *fp;
        enum keyd_verdict verdict;
    } cases[] = {{fp[1], KEYD_CURRENT}, {fp[0], KEYD_UPDATE}, {none, KEYD_UNKNOWN}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            keyd_client_verify_current(mta, KEYD_STR("alice@example.com"),
                                       (struct keyd_octets){cases[i].fp, 64}, &a),
            KEYD_OK);
        assert_int_equal(a->out.verify.verdict, cases[i].verdict);
        assert_memory_equal(a->out.verify.current_fp.p, fp[1], 64);
        keyd_client_answer_free(a);
    }
    assert_int_equal(keyd_client_lookup_signet(mta, KEYD_STR("alice@example.com"),
                                               (struct keyd_octets){fp[0], 64}, &a),
                     KEYD_OK);
    assert_true(kd_slice_eq(ask_slice(a->out.signet.signet), user0));
    assert_false(a->out.signet.current);
    keyd_client_answer_free(a);
    assert_int_equal(
        keyd_client_lookup_signet(mta, KEYD_STR("nobody@example.com"), KEYD_NONE, &a),
        KEYD_NOT_FOUND);
    keyd_client_answer_free(a);
    sg_free(user0);
    sg_free(user1);
}

/* --- idempotency, races, images --- */

static void
an_idempotency_key_binds_one_request(void **state)
{
    const uint8_t key[16] = "sixteen octets!";
    struct kd_buf first, second;
    struct ask_issue in = {.address = "judy@example.com",
                           .ssr = ssr_of("judy", 0, 0, false, &first),
                           .key = key};
    struct keyd_answer *a = ask_issue(submit, &in), *b = ask_issue(submit, &in);

    (void)state;
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(b->status, KEYD_OK);
    assert_false(a->out.signet.replayed);
    assert_true(b->out.signet.replayed);
    assert_true(
        kd_slice_eq(ask_slice(a->out.signet.signet), ask_slice(b->out.signet.signet)));
    keyd_client_answer_free(a);
    keyd_client_answer_free(b);
    in.address = "judy2@example.com";
    in.ssr = ssr_of("judy", 1, 0, false, &second);
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "idempotency-key-used");
    kd_buf_free(&first);
    kd_buf_free(&second);
}

/* The request is its descriptor as well: under the same key another file of keys is
 * another request, and the same one is answered again. */
static void
an_idempotency_key_binds_the_key_file_too(void **state)
{
    static const uint8_t key[16] = "of this import";
    const struct person_keys *of = NULL;
    struct person_keys people[2];
    keyd_client *c = ask_connect(&keyd, "admin");

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char file[DIME_DKEY_TEXT_MAX];
        person_keys("import", i / 2, 0, &people[i / 2]);
        of = &people[i / 2];
        size_t n = ask_key_file(DIME_DKEY_ORG, of->seed, of->scalar, file);
        const struct keyd_request q = {
            .op = KEYD_OP_IMPORT_KEY,
            .idempotency_key = key,
            .in.import_key = {.key_file = {file, n},
                              .signing_role = KEYD_ROLE_SOK,
                              .domain = KEYD_STR("example.net"),
                              .permissions = 2}};
        struct keyd_answer *a = ask(c, &q);
        if (i == 2) {
            ask_ends(a, KEYD_INVALID, "idempotency-key-used");
            break;
        }
        assert_int_equal(a->status, KEYD_OK);
        assert_int_equal(a->out.keys.n_keys, 1);
        assert_memory_equal(a->out.keys.keys[0].public_key.p, of->key, 32);
        keyd_client_answer_free(a);
    }
    keyd_client_free(c);
}

enum { RACERS = 8 };

static void
take(void *cookie, struct keyd_answer *a)
{
    *(struct keyd_answer **)cookie = a;
}

/* Sends requests[i] on a connection of its own, all before any answer is read. */
static void
race(const struct kd_slice *ssrs, const char *address, struct keyd_answer **answers)
{
    keyd_client *clients[RACERS];

    for (size_t i = 0; i < RACERS; i++) {
        const struct keyd_request q = {
            .op = KEYD_OP_ISSUE_USER_SIGNET,
            .in.issue_user_signet = {.address = KEYD_STR(address),
                                     .ssr = {ssrs[i].p, ssrs[i].n},
                                     .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
        clients[i] = ask_connect(&keyd, "submission");
        answers[i] = NULL;
        assert_int_equal(keyd_client_submit(clients[i], &q, take, &answers[i], NULL),
                         KEYD_OK);
    }
    for (size_t i = 0; i < RACERS; i++)
        assert_int_equal(keyd_client_process(clients[i], 0), KEYD_OK);
    for (size_t i = 0; i < RACERS; i++) {
        while (answers[i] == NULL)
            assert_int_equal(keyd_client_process(clients[i], -1), KEYD_OK);
        keyd_client_free(clients[i]);
    }
}

static size_t
history_length(const char *address)
{
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_lookup_history(mta, KEYD_STR(address), KEYD_NONE,
                                                KEYD_NONE, KEYD_NONE, &a),
                     KEYD_OK);
    size_t n = a->out.history.n_cores;
    keyd_client_answer_free(a);
    return n;
}

static void
the_same_request_from_eight_connections_makes_one_row(void **state)
{
    struct keyd_answer *answers[RACERS];
    struct kd_slice ssrs[RACERS];
    struct kd_buf b;
    size_t fresh = 0;

    (void)state;
    ssrs[0] = ssr_of("ken", 0, 0, false, &b);
    for (size_t i = 1; i < RACERS; i++)
        ssrs[i] = ssrs[0];
    race(ssrs, "ken@example.com", answers);
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(answers[i]->status, KEYD_OK);
        assert_true(kd_slice_eq(ask_slice(answers[i]->out.signet.signet),
                                ask_slice(answers[0]->out.signet.signet)));
        fresh += !answers[i]->out.signet.replayed;
    }
    for (size_t i = 0; i < RACERS; i++)
        keyd_client_answer_free(answers[i]);
    assert_int_equal(fresh, 1);
    assert_int_equal(history_length("ken@example.com"), 1);
    kd_buf_free(&b);
}

static void
of_two_different_roots_for_an_address_one_wins(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 20; round++) {
        struct keyd_answer *answers[RACERS];
        struct kd_slice ssrs[RACERS];
        struct kd_buf b[RACERS];
        char address[64];
        size_t won = 0;
        snprintf(address, sizeof address, "race%u@example.com", round);
        for (uint32_t i = 0; i < RACERS; i++)
            ssrs[i] = ssr_of("race", round, i, false, &b[i]);
        race(ssrs, address, answers);
        for (size_t i = 0; i < RACERS; i++) {
            won += answers[i]->status == KEYD_OK;
            if (answers[i]->status != KEYD_OK && answers[i]->status != KEYD_INVALID &&
                answers[i]->status != KEYD_CONFLICT)
                fail_msg("%s (%s)", keyd_client_status_text(answers[i]->status),
                         answers[i]->detail);
            keyd_client_answer_free(answers[i]);
            kd_buf_free(&b[i]);
        }
        assert_int_equal(won, 1);
        assert_int_equal(history_length(address), 1);
    }
}

static void
an_image_of_1_MiB_goes_in_and_the_signet_comes_out_as_memfds(void **state)
{
    struct kd_buf b, png;
    struct ask_issue in = {.address = "lena@example.com",
                           .ssr = ssr_of("lena", 0, 0, false, &b),
                           .image = make_png(&png, 1 << 20)};
    struct keyd_answer *a = ask_issue(submit, &in), *found = NULL;
    struct dime_signet s;
    struct dime_field f;
    enum dime_reason why;

    (void)state;
    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    struct kd_slice signet = ask_slice(a->out.signet.signet);
    assert_true(signet.n > 1 << 20);
    assert_int_equal(dime_signet_parse_as(DIME_USER, signet, &s, &why), KD_OK);
    assert_int_equal(dime_signet_find(&s, 252, &f), KD_OK);
    assert_true(kd_slice_eq(f.value, kd_buf_slice(&png)));
    assert_int_equal(
        keyd_client_lookup_signet(mta, KEYD_STR("lena@example.com"), KEYD_NONE, &found),
        KEYD_OK);
    assert_true(kd_slice_eq(ask_slice(found->out.signet.signet), signet));
    keyd_client_answer_free(found);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
    kd_buf_free(&png);
}

/* More descriptors than a queue of answers holds: what is asked together comes. */
static void
many_large_signets_asked_for_together_all_come(void **state)
{
    enum { TOGETHER = 32 };
    keyd_client *c = ask_connect(&keyd, "mta");
    struct keyd_answer *answers[TOGETHER] = {0};
    const struct keyd_request q = {
        .op = KEYD_OP_LOOKUP_SIGNET,
        .in.lookup_signet = {.name = KEYD_STR("lena@example.com")}};

    (void)state;
    for (size_t i = 0; i < TOGETHER; i++)
        assert_int_equal(keyd_client_submit(c, &q, take, &answers[i], NULL), KEYD_OK);
    for (size_t i = 0; i < TOGETHER; i++) {
        while (answers[i] == NULL)
            assert_int_equal(keyd_client_process(c, -1), KEYD_OK);
        assert_int_equal(answers[i]->status, KEYD_OK);
        assert_true(answers[i]->out.signet.signet.n > 1 << 20);
    }
    for (size_t i = 0; i < TOGETHER; i++)
        keyd_client_answer_free(answers[i]);
    keyd_client_free(c);
}

static void
an_image_that_is_no_png_is_refused(void **state)
{
    struct kd_buf b, png;
    struct ask_issue in = {.address = "leo@example.com",
                           .ssr = ssr_of("leo", 0, 0, false, &b),
                           .image = make_png(&png, 100)};

    (void)state;
    png.p[40] ^= 1;
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "bad-image");
    in.image.n -= 5;
    png.p[40] ^= 1;
    ask_ends(ask_issue(submit, &in), KEYD_INVALID, "bad-image");
    kd_buf_free(&b);
    kd_buf_free(&png);
}

static void
a_deadline_of_a_millisecond_ends_in_time_and_does_no_harm(void **state)
{
    struct kd_buf b;
    struct ask_issue in = {.address = "mia@example.com",
                           .ssr = ssr_of("mia", 0, 0, false, &b),
                           .deadline_ms = 1};
    int64_t start = kd_clock_ms();
    struct keyd_answer *a = ask_issue(submit, &in);

    (void)state;
    assert_true(a->status == KEYD_OK || a->status == KEYD_DEADLINE ||
                a->status == KEYD_UNKNOWN_OUTCOME);
    assert_true(kd_clock_ms() - start < 5000);
    keyd_client_answer_free(a);
    in.deadline_ms = 0;
    ask_ends(ask_issue(submit, &in), KEYD_OK, NULL);
    assert_int_equal(history_length("mia@example.com"), 1);
    kd_buf_free(&b);
}

/* --- over everything that was signed --- */

static bool
verifies(const uint8_t key[32], struct kd_slice message, const uint8_t *sig)
{
    return sig != NULL && dime_ed25519_verify(key, message, sig) == KD_OK;
}

/* The signature of one field under any of the organization's keys, as if it were that
 * of another field of any object. */
static void
assert_means_nothing_elsewhere(const uint8_t *sig, size_t owner, uint8_t type)
{
    static const uint8_t types[] = {4, 5, 6, 253, 255};
    const struct sg_world *w = sg_world();
    struct dime_signet s;
    enum dime_reason why;

    for (size_t i = 0; i < n_kept; i++) {
        assert_int_equal(dime_signet_parse(kept[i], &s, &why), KD_OK);
        for (size_t k = 0; k < sizeof types; k++) {
            struct kd_slice covered = dime_signet_covered(&s, types[k]);
            if ((i == owner && types[k] == type) || covered.n == 0)
                continue;
            if (verifies(w->sok.key, covered, sig) ||
                verifies(w->pok.key, covered, sig))
                fail_msg("signature %u of object %zu is also %u of object %zu", type,
                         owner, types[k], i);
        }
        /* A whole object or its hash, as a certificate's signature covers. */
        uint8_t hash[64];
        crypto_hash_sha512(hash, kept[i].p, kept[i].n);
        if (verifies(w->sok.key, kept[i], sig) || verifies(w->pok.key, kept[i], sig) ||
            verifies(w->sok.key, kd_slice(hash, 64), sig) ||
            verifies(w->pok.key, kd_slice(hash, 64), sig))
            fail_msg("signature %u of object %zu covers object %zu", type, owner, i);
    }
}

static void
T_SEC_3_every_signature_made_verifies_as_nothing_else(void **state)
{
    static const uint8_t user_types[] = {6, 253, 255}, org_types[] = {4, 253, 255};
    struct dime_signet s;
    enum dime_reason why;

    (void)state;
    assert_true(n_kept > 5);
    for (size_t i = 0; i < n_kept; i++) {
        assert_int_equal(dime_signet_parse(kept[i], &s, &why), KD_OK);
        const uint8_t *types = s.kind == DIME_ORG ? org_types : user_types;
        const uint8_t *key =
            s.kind == DIME_ORG ? sg_world()->pok.key : sg_world()->sok.key;
        for (size_t k = 0; k < 3; k++) {
            const uint8_t *sig = dime_signet_signature(&s, types[k]);
            struct kd_slice covered = dime_signet_covered(&s, types[k]);
            assert_true(verifies(key, covered, sig));
            /* No hash (64, 32 octets), DER (30), message (02) or text of our own. */
            assert_true(covered.n > 64 && covered.p[0] == 1);
            assert_means_nothing_elsewhere(sig, i, types[k]);
        }
    }
}

static void
T_SEC_3_a_signet_read_as_another_kind_does_not_hold(void **state)
{
    static const uint16_t magics[] = {DIME_MAGIC_ORG, DIME_MAGIC_USER, DIME_MAGIC_SSR};

    (void)state;
    for (size_t i = 0; i < n_kept; i++) {
        uint8_t octets[2048];
        assert_true(kept[i].n <= sizeof octets);
        memcpy(octets, kept[i].p, kept[i].n);
        for (size_t k = 0; k < 3; k++) {
            octets[0] = (uint8_t)(magics[k] >> 8);
            octets[1] = (uint8_t)magics[k];
            struct kd_slice swapped = kd_slice(octets, kept[i].n);
            if (kd_slice_eq(swapped, kept[i]))
                continue;
            struct dime_signet s;
            struct dime_verdict v;
            enum dime_reason why;
            if (dime_signet_parse(swapped, &s, &why) != KD_OK)
                continue;
            kd_err err = s.kind == DIME_ORG ? dime_org_verify(&s, NULL, 0, &v)
                                            : dime_ssr_verify(&s, NULL, &v);
            assert_int_not_equal(err, KD_OK);
        }
    }
}

static void
T_SEC_9_64_SOKs_and_a_hundred_bad_signatures_cost_little(void **state)
{
    enum { SOKS = 64, REQUESTS = 100 };
    static uint8_t ids[SOKS][16];
    struct keyd_octets list[SOKS];
    struct keyd_answer *answers[REQUESTS] = {NULL};
    struct kd_buf b;

    (void)state;
    memcpy(ids[0], sok_id, 16);
    for (size_t i = 1; i < SOKS; i++) {
        struct keyd_answer *a = NULL;
        assert_int_equal(keyd_client_generate_key(admin, KEYD_ROLE_SOK, KEYD_ED25519,
                                                  KEYD_STR("example.com"),
                                                  KEYD_PERM_SIGNET, &a),
                         KEYD_OK);
        memcpy(ids[i], a->out.keys.keys[0].id.p, 16);
        keyd_client_answer_free(a);
    }
    for (size_t i = 0; i < SOKS; i++)
        list[i] = (struct keyd_octets){ids[i], 16};
    const struct keyd_request org = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR("example.com"),
                                .pok_id = {pok_id, 16},
                                .sok_ids = list,
                                .n_sok_ids = SOKS,
                                .encryption_id = {enc_id, 16}}};
    ask_ends(ask(admin, &org), KEYD_OK, NULL);

    /* The worst for the vault: all is right but custody, which it checks last. */
    struct person_keys own, wrong;
    person_keys("t-sec-9", 0, 1, &own);
    person_keys("t-sec-9", 1, 0, &wrong);
    kd_buf_init(&b, 4096);
    assert_int_equal(person_ssr(&own, &wrong, &b), KD_OK);
    int64_t start = kd_clock_ms();
    for (size_t i = 0; i < REQUESTS; i++) {
        const struct keyd_request q = {
            .op = KEYD_OP_ISSUE_USER_SIGNET,
            .in.issue_user_signet = {.address = KEYD_STR("alice@example.com"),
                                     .ssr = {b.p, b.n},
                                     .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
        assert_int_equal(keyd_client_submit(submit, &q, take, &answers[i], NULL),
                         KEYD_OK);
    }
    while (keyd_client_pending(submit) > 0)
        assert_int_equal(keyd_client_process(submit, -1), KEYD_OK);
    int64_t ms = kd_clock_ms() - start;
    for (size_t i = 0; i < REQUESTS; i++)
        ask_ends(answers[i], KEYD_INVALID, "signet-bad-custody");
    print_message("100 requests of bad custody under 64 SOKs: %d ms\n", (int)ms);
    assert_true(ms < 2000);
    issue_step("nina@example.com", "nina", 0, 0);
    kd_buf_free(&b);
}

/* --- start and end --- */

static struct daemon_child before[DAEMON_CHILDREN_MAX];
static size_t n_before;

static int
set_up(void **state)
{
    (void)state;
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, NULL) ||
        !daemon_init_token(&keyd))
        return -1;
    n_before = daemon_children(&keyd, before, DAEMON_CHILDREN_MAX);
    submit = daemon_connect(&keyd, "submission");
    mta = daemon_connect(&keyd, "mta");
    admin = daemon_connect(&keyd, "admin");
    return submit == NULL || mta == NULL || admin == NULL ? -1 : 0;
}

static void
no_process_was_started_again(void **state)
{
    (void)state;
    assert_true(daemon_has_children(&keyd, before, n_before));
}

static int
tear_down(void **state)
{
    (void)state;
    keyd_client_free(submit);
    keyd_client_free(mta);
    keyd_client_free(admin);
    for (size_t i = 0; i < n_kept; i++)
        sg_free(kept[i]);
    int status = daemon_stop(&keyd);
    daemon_clear(&keyd);
    return status;
}

int
main(int argc, char **argv)
{
    /* In order: what is issued first is there for what comes later. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_1_org_signet_of_imported_keys_is_ORG2_octet_for_octet),
        cmocka_unit_test(
            T_SG_90_custody_request_without_the_signet_before_it_is_refused),
        cmocka_unit_test(T_OP_1_SSR0_gives_USER0_octet_for_octet),
        cmocka_unit_test(T_OP_1_SSR1_after_it_gives_USER1_octet_for_octet),
        cmocka_unit_test(T_OP_4_another_name_for_the_same_keys_needs_a_rotation),
        cmocka_unit_test(
            T_SG_90_custody_by_another_key_than_the_published_one_is_refused),
        cmocka_unit_test(T_OP_2_a_SOK_for_messages_only_signs_no_user_signet),
        cmocka_unit_test(T_OP_27_milter_identity_cannot_have_signets_issued),
        cmocka_unit_test(uid_without_a_principal_is_denied),
        cmocka_unit_test(principal_of_another_domain_is_denied),
        cmocka_unit_test(admin_socket_is_out_of_reach_of_others),
        cmocka_unit_test(principal_with_everything_right_is_served),
        cmocka_unit_test(a_domain_that_is_not_served_is_denied),
        cmocka_unit_test(T_OP_5_octets_that_are_no_whole_request_are_refused),
        cmocka_unit_test(every_flipped_bit_of_a_request_is_refused),
        cmocka_unit_test(T_SG_88_request_with_field_16_or_6_is_refused),
        cmocka_unit_test(T_SG_89_request_signed_by_the_old_key_is_refused),
        cmocka_unit_test(T_SG_94_a_private_key_file_is_refused_wherever_it_comes_in),
        cmocka_unit_test(T_SG_94_a_users_private_keys_are_not_imported),
        cmocka_unit_test(T_OP_19_a_level_beyond_the_account_is_refused),
        cmocka_unit_test(T_OP_20_a_second_root_for_an_address_is_refused),
        cmocka_unit_test(T_OP_21_a_key_known_from_anywhere_is_refused),
        cmocka_unit_test(T_OP_21_an_older_own_key_is_refused),
        cmocka_unit_test(T_SG_76_an_undefined_field_of_an_unusable_name_is_dropped),
        cmocka_unit_test(a_field_that_the_configuration_does_not_list_is_dropped),
        cmocka_unit_test(T_OP_23_history_after_50_rotations_has_51_cores),
        cmocka_unit_test(look_ups_tell_current_superseded_and_unknown_apart),
        cmocka_unit_test(an_idempotency_key_binds_one_request),
        cmocka_unit_test(an_idempotency_key_binds_the_key_file_too),
        cmocka_unit_test(the_same_request_from_eight_connections_makes_one_row),
        cmocka_unit_test(of_two_different_roots_for_an_address_one_wins),
        cmocka_unit_test(an_image_of_1_MiB_goes_in_and_the_signet_comes_out_as_memfds),
        cmocka_unit_test(many_large_signets_asked_for_together_all_come),
        cmocka_unit_test(an_image_that_is_no_png_is_refused),
        cmocka_unit_test(a_deadline_of_a_millisecond_ends_in_time_and_does_no_harm),
        cmocka_unit_test(T_SEC_3_every_signature_made_verifies_as_nothing_else),
        cmocka_unit_test(T_SEC_3_a_signet_read_as_another_kind_does_not_hold),
        cmocka_unit_test(T_SEC_9_64_SOKs_and_a_hundred_bad_signatures_cost_little),
        cmocka_unit_test(no_process_was_started_again),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
