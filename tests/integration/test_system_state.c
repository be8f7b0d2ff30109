/* What the daemon makes of its state: altered, cut, old, somebody else's, not writable,
 * on a full disk; and what is usable while it is sealed. */
#include "ask.h"
#include "people.h"
#include "registry.h"
#include "shell.h"
#include "suite.h"
#include "tamper.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { REFUSED_MS = 2000, LEFT_FREE = 256 * 1024 };

static struct daemon keyd;
static char good[160], path[200]; /* a copy of the state as it was when all was well */

static struct kd_slice
request(uint64_t person, struct kd_buf *b)
{

    person_request("state", person, b);
    return kd_buf_slice(b);
}

static void
issue_ends(const struct daemon *d, uint64_t person, enum keyd_status status,
           const char *detail)
{
    keyd_client *c = ask_connect(d, "submission");
    char address[64];
    struct kd_buf b;

    snprintf(address, sizeof address, "p%u@example.com", (unsigned)person);
    ask_issue_ends(c, address, request(person, &b), status, detail);
    kd_buf_free(&b);
    keyd_client_free(c);
}

/* The good state again, and no daemon running. */
static void
restore(void)
{
    if (keyd.pid != 0)
        daemon_stop(&keyd);
    shell("rm -rf '%s'", keyd.state);
    shell("cp -a '%s' '%s'", good, keyd.state);
}

static const char *
in_state(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", keyd.state, name);
    return path;
}

/* Starts on the state as it lies there: it must refuse, soon and clearly. */
static void
assert_refused(const char *why)
{
    long at = daemon_log_end(&keyd);
    int64_t start = kd_clock_ms();

    assert_true(daemon_launch(&keyd));
    int status = daemon_wait_end(&keyd, 10000);
    if (status != EX_CONFIG)
        fail_msg("status %d where a refusal was expected, see %s", status, keyd.log);
    assert_true(kd_clock_ms() - start < REFUSED_MS);
    if (daemon_log_count(&keyd, at, "registry refused", NULL) == 0)
        fail_msg("no reason in %s", keyd.log);
    if (why != NULL && daemon_log_count(&keyd, at, why, NULL) == 0)
        fail_msg("\"%s\" is not in %s", why, keyd.log);
}

/* --- an altered log --- */

/* Another last octet, whatever it was: of a signature it is 0 once in sixteen. */
#define LAST_ALTERED(column)                                                           \
    "CAST(substr(" column ", 1, length(" column ") - 1) || CASE substr(" column        \
    ", -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB)"

static void
T_OP_25_an_altered_or_cut_log_is_detected_at_start(void **state)
{
    static const char *const changes[] = {
        "UPDATE audit SET record = " LAST_ALTERED("record") " WHERE seq = 5",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 5",
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "DELETE FROM audit WHERE seq = 5",
        "DELETE FROM audit",
        "UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 6), "
        "hash = (SELECT hash FROM audit WHERE seq = 6) WHERE seq = 5",
        "UPDATE audit SET epoch = epoch + 1 WHERE seq = 5",
        "UPDATE meta SET head_hash = zeroblob(32)",
        "UPDATE meta SET head_seq = head_seq - 1",
        "UPDATE meta SET instance = zeroblob(16)",
        /* Cut with care: the rows that were made since are still there. */
        "DELETE FROM audit WHERE seq > 8; UPDATE meta SET head_seq = 8, "
        "head_hash = (SELECT hash FROM audit WHERE seq = 8)",
        "DELETE FROM signing WHERE id = (SELECT max(id) FROM signing)",
    };

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        restore();
        print_message("%s\n", changes[i]);
        tamper(in_state("registry.db"), changes[i]);
        assert_refused(NULL);
    }
}

static void
an_altered_signet_is_neither_believed_nor_signed_upon(void **state)
{
    static const char altered[] = "UPDATE signing SET signet = " LAST_ALTERED(
        "signet") " WHERE link = "
                  "(SELECT id FROM link WHERE address = 'p1@example.com')";
    struct person_keys own, prev;
    struct kd_buf b;

    (void)state;
    restore();
    tamper(in_state("registry.db"), altered);
    assert_true(daemon_launch(&keyd));
    if (daemon_wait_end(&keyd, 1000) == EX_CONFIG)
        return; /* noticed at start: better still */
    assert_true(daemon_wait(&keyd, 10000));
    person_keys("state", 1, 1, &own);
    person_keys("state", 1, 0, &prev);
    kd_buf_init(&b, 4096);
    assert_int_equal(person_ssr(&own, &prev, &b), KD_OK);
    keyd_client *c = ask_connect(&keyd, "submission");
    ask_issue_ends(c, "p1@example.com", kd_buf_slice(&b), KEYD_UNAVAILABLE,
                   "stored-differs");
    keyd_client_free(c);
    kd_buf_free(&b);
    issue_ends(&keyd, 1, KEYD_UNAVAILABLE, "stored-differs");
    issue_ends(&keyd, 1000, KEYD_OK, NULL);
}

static void
a_registry_cut_in_half_or_empty_is_refused(void **state)
{
    struct stat st;

    (void)state;
    restore();
    assert_int_equal(stat(in_state("registry.db"), &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
    assert_refused("damaged");
    assert_int_equal(truncate(path, 0), 0);
    assert_refused("damaged");
}

static void
a_registry_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    restore();
    assert_int_equal(chmod(in_state("registry.db"), 0400), 0);
    assert_refused("read-only");
    restore();
    assert_int_equal(chown(in_state("registry.db"), 0, 0), 0);
    assert_refused(NULL);
}

/* --- key store --- */

/* Another key than those of the good state; no daemon running before and after. */
static void
change_key_store(void)
{
    struct keyd_answer *a = NULL;

    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    keyd_client *c = ask_connect(&keyd, "admin");
    assert_int_equal(keyd_client_generate_key(c, KEYD_ROLE_SOK, KEYD_ED25519,
                                              KEYD_STR("example.com"), KEYD_PERM_SIGNET,
                                              &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&keyd), 0);
}

static void
T_SEC_12_an_older_key_store_gives_no_keys(void **state)
{
    (void)state;
    restore();
    change_key_store();
    /* The store of before with the registry of now, as from a backup of one of them. */
    shell("cp -a '%s'/keystore* '%s'", good, keyd.state);
    assert_refused(NULL);
}

static void
T_SEC_12_an_older_registry_with_the_new_key_store_gives_no_keys(void **state)
{
    (void)state;
    restore();
    change_key_store();
    shell("rm -f '%s'/registry.db*", keyd.state);
    shell("cp -a '%s'/registry.db* '%s'", good, keyd.state);
    assert_refused(NULL);
}

static void
a_key_store_with_a_flipped_bit_gives_no_keys(void **state)
{
    struct stat st;

    (void)state;
    restore();
    assert_int_equal(stat(in_state("keystore"), &st), 0);
    for (off_t at = 0; at < st.st_size; at += 97) {
        uint8_t octet;
        restore();
        int fd = open(in_state("keystore"), O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &octet, 1, at), 1);
        octet ^= 4;
        assert_int_equal(pwrite(fd, &octet, 1, at), 1);
        close(fd);
        assert_refused(NULL);
    }
}

static void
T_SEC_12_after_a_reboot_without_a_credential_no_key_is_usable(void **state)
{
    const struct daemon_options sealed = {.sealed = true};
    uint8_t wrong[DAEMON_CREDENTIAL_SIZE] = {0}, right[DAEMON_CREDENTIAL_SIZE];
    struct keyd_answer *a = NULL;
    struct daemon d;

    (void)state;
    assert_true(daemon_start(&d, &sealed));
    assert_true(daemon_provision(&d, NULL));
    issue_ends(&d, 0, KEYD_OK, NULL);
    assert_int_equal(daemon_stop(&d), 0);
    assert_true(daemon_launch(&d) && daemon_wait(&d, 10000));
    issue_ends(&d, 1, KEYD_SEALED, "sealed");
    keyd_client *c = ask_connect(&d, "admin");
    assert_int_equal(keyd_client_generate_key(c, KEYD_ROLE_SOK, KEYD_ED25519,
                                              KEYD_STR("example.com"), 1, &a),
                     KEYD_SEALED);
    keyd_client_answer_free(a);
    /* What is public is answered all the same. */
    assert_int_equal(
        keyd_client_lookup_signet(c, KEYD_STR("p0@example.com"), KEYD_NONE, &a),
        KEYD_OK);
    keyd_client_answer_free(a);
    assert_int_equal(keyd_client_unseal(c, KEYD_SLOT_CREDENTIAL,
                                        (struct keyd_secret){wrong, sizeof wrong}, &a),
                     KEYD_DENIED);
    assert_string_equal(a->detail, "wrong-secret");
    keyd_client_answer_free(a);
    issue_ends(&d, 1, KEYD_SEALED, "sealed");
    memcpy(right, d.credential, sizeof right);
    assert_int_equal(keyd_client_unseal(c, KEYD_SLOT_CREDENTIAL,
                                        (struct keyd_secret){right, sizeof right}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    issue_ends(&d, 1, KEYD_OK, NULL);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&d), 0);
    daemon_clear(&d);
}

static enum keyd_status
unseal_with(keyd_client *c, const char *passphrase, char detail[49])
{
    char octets[2048];
    struct keyd_answer *a = NULL;
    size_t n = strlen(passphrase);

    memcpy(octets, passphrase, n);
    enum keyd_status s = keyd_client_unseal(c, KEYD_SLOT_PASSPHRASE,
                                            (struct keyd_secret){octets, n}, &a);
    snprintf(detail, 49, "%s", a == NULL ? "" : a->detail);
    keyd_client_answer_free(a);
    return s;
}

static void
a_passphrase_unseals_and_a_wrong_one_does_not(void **state)
{
    char octets[] = "correct horse battery", detail[49], longest[1026];
    struct keyd_answer *a = NULL;

    (void)state;
    restore();
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    keyd_client *c = ask_connect(&keyd, "admin");
    assert_int_equal(keyd_client_add_unseal_slot(
                         c, KEYD_SLOT_PASSPHRASE,
                         (struct keyd_secret){octets, sizeof octets - 1}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    assert_int_equal(unseal_with(c, "correct horse battery", detail), KEYD_CONFLICT);
    assert_string_equal(detail, "already-unsealed");
    assert_int_equal(keyd_client_seal(c, &a), KEYD_OK);
    keyd_client_answer_free(a);
    issue_ends(&keyd, 2000, KEYD_SEALED, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(unseal_with(c, "correct horse batterz", detail), KEYD_DENIED);
        assert_string_equal(detail, "wrong-secret");
    }
    assert_int_equal(unseal_with(c, "short", detail), KEYD_INVALID);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(unseal_with(c, longest, detail), KEYD_INVALID);
    issue_ends(&keyd, 2000, KEYD_SEALED, NULL);
    assert_int_equal(unseal_with(c, "correct horse battery", detail), KEYD_OK);
    issue_ends(&keyd, 2000, KEYD_OK, NULL);
    keyd_client_free(c);
}

/* --- two daemons --- */

static void
assert_second_ends(struct daemon *second)
{
    struct daemon_child before[DAEMON_CHILDREN_MAX];
    size_t n = daemon_children(&keyd, before, DAEMON_CHILDREN_MAX);
    int64_t start = kd_clock_ms();

    assert_true(daemon_launch(second));
    int status = daemon_wait_end(second, 10000);
    print_message("the second ends with %d after %d ms\n", status,
                  (int)(kd_clock_ms() - start));
    assert_true(status == EX_CONFIG || status == EX_OSERR);
    assert_true(kd_clock_ms() - start <= REFUSED_MS);
    assert_true(daemon_has_children(&keyd, before, n));
}

static void
a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on(void **state)
{
    struct daemon second;

    (void)state;
    restore();
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    const struct daemon_options same = {.state = keyd.state};
    assert_true(daemon_prepare(&second, &same));
    assert_second_ends(&second);
    assert_true(daemon_log_has(&second, "open in another process"));
    issue_ends(&keyd, 3000, KEYD_OK, NULL);
    daemon_clear(&second);
}

static void
a_second_daemon_on_the_same_sockets_is_refused_and_the_first_goes_on(void **state)
{
    struct daemon second = keyd;

    (void)state;
    second.pid = 0;
    assert_second_ends(&second);
    assert_true(daemon_log_has(&keyd, "another daemon answers"));
    issue_ends(&keyd, 3001, KEYD_OK, NULL);
}

/* --- changes of the key store at once --- */

enum { AT_ONCE = 24 };

struct many {
    enum keyd_status status[AT_ONCE];
    size_t n;
};

static void
keep_status(void *cookie, struct keyd_answer *a)
{
    struct many *m = cookie;

    assert_true(m->n < AT_ONCE);
    m->status[m->n++] = a->status;
    keyd_client_answer_free(a);
}

static void
answers_come(keyd_client *c, const struct many *m, size_t n)
{
    while (m->n < n)
        assert_int_equal(keyd_client_process(c, 20000), KEYD_OK);
}

static void
submit(keyd_client *c, enum keyd_op op, struct many *m)
{
    const struct keyd_request generate = {
        .op = KEYD_OP_GENERATE_KEY,
        .in.generate_key = {.role = KEYD_ROLE_SOK,
                            .algorithm = KEYD_ED25519,
                            .domain = KEYD_STR("example.com"),
                            .permissions = KEYD_PERM_SIGNET}};
    const struct keyd_request other = {.op = op};

    assert_int_equal(keyd_client_submit(c,
                                        op == KEYD_OP_GENERATE_KEY ? &generate : &other,
                                        keep_status, m, NULL),
                     KEYD_OK);
}

static size_t
count_keys(keyd_client *c)
{
    struct keyd_answer *a = NULL;
    struct keyd_octets from = KEYD_NONE;
    size_t n = 0;
    char after[64];

    do {
        assert_int_equal(keyd_client_public_keys(c, KEYD_NONE, from, &a), KEYD_OK);
        n += a->out.keys.n_keys;
        from = a->out.keys.next;
        assert_true(from.n <= sizeof after);
        if (from.n != 0)
            memcpy(after, from.p, from.n);
        from.p = (const uint8_t *)after;
        keyd_client_answer_free(a);
    } while (from.n != 0);
    return n;
}

/* Each works alone in the vault; who comes meanwhile waits its turn, in order. */
static void
changes_of_the_key_store_wait_for_each_other(void **state)
{
    struct many m = {.n = 0};

    (void)state;
    restore();
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    keyd_client *c = ask_connect(&keyd, "admin");
    size_t had = count_keys(c);
    for (size_t i = 0; i < AT_ONCE; i++)
        submit(c, KEYD_OP_GENERATE_KEY, &m);
    answers_come(c, &m, AT_ONCE);
    for (size_t i = 0; i < AT_ONCE; i++)
        assert_int_equal(m.status[i], KEYD_OK);
    assert_int_equal(count_keys(c), had + AT_ONCE);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&keyd), 0);
}

struct twins {
    enum keyd_status status[2];
    uint8_t id[2][16];
    size_t n;
};

static void
keep_twin(void *cookie, struct keyd_answer *a)
{
    struct twins *t = cookie;

    assert_true(t->n < 2);
    if (a->status == KEYD_OK)
        memcpy(t->id[t->n], a->out.keys.keys[0].id.p, sizeof t->id[0]);
    else
        print_message("a twin ended %s (%s)\n", keyd_client_status_text(a->status),
                      a->detail);
    t->status[t->n++] = a->status;
    keyd_client_answer_free(a);
}

/* As a client does that lost its connection: the same request comes while the first is
 * under way. It is done once, and both hear of that, the second when it asks again. */
static void
the_same_change_twice_at_once_is_done_once(void **state)
{
    static const uint8_t key[16] = {0x2a};
    const struct keyd_request q = {
        .op = KEYD_OP_GENERATE_KEY,
        .idempotency_key = key,
        .in.generate_key = {.role = KEYD_ROLE_SOK,
                            .algorithm = KEYD_ED25519,
                            .domain = KEYD_STR("example.com"),
                            .permissions = KEYD_PERM_SIGNET}};
    struct many m = {.n = 0};
    struct twins twins = {.n = 0};
    struct keyd_answer *a = NULL;

    (void)state;
    restore();
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    keyd_client *c = ask_connect(&keyd, "admin");
    size_t had = count_keys(c);
    submit(c, KEYD_OP_GENERATE_KEY, &m); /* the twins wait for it, and for each other */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(keyd_client_submit(c, &q, keep_twin, &twins, NULL), KEYD_OK);
    while (m.n < 1 || twins.n < 2)
        assert_int_equal(keyd_client_process(c, 20000), KEYD_OK);
    for (size_t i = 0; i < 2; i++)
        assert_true(twins.status[i] == KEYD_OK || twins.status[i] == KEYD_BUSY);
    assert_int_equal(count_keys(c), had + 2);
    assert_int_equal(keyd_client_call(c, &q, &a), KEYD_OK);
    for (size_t i = 0; i < 2; i++)
        if (twins.status[i] == KEYD_OK)
            assert_memory_equal(a->out.keys.keys[0].id.p, twins.id[i], 16);
    keyd_client_answer_free(a);
    assert_int_equal(count_keys(c), had + 2);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&keyd), 0);
}

/* Whose turn comes after a seal finds no keys. */
static void
changes_that_waited_for_a_seal_are_refused(void **state)
{
    struct many m = {.n = 0};
    struct keyd_answer *a = NULL;
    size_t n_good = 0, n_sealed = 0;
    uint8_t right[DAEMON_CREDENTIAL_SIZE];

    (void)state;
    restore();
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 10000));
    keyd_client *c = ask_connect(&keyd, "admin");
    size_t had = count_keys(c);
    for (size_t i = 0; i < AT_ONCE / 2; i++)
        submit(c, KEYD_OP_GENERATE_KEY, &m);
    submit(c, KEYD_OP_SEAL, &m);
    for (size_t i = 0; i < AT_ONCE / 2 - 1; i++)
        submit(c, KEYD_OP_GENERATE_KEY, &m);
    answers_come(c, &m, AT_ONCE);
    for (size_t i = 0; i < AT_ONCE; i++) {
        n_good += m.status[i] == KEYD_OK;
        n_sealed += m.status[i] == KEYD_SEALED;
    }
    print_message("%zu done, %zu sealed\n", n_good, n_sealed);
    assert_int_equal(n_good + n_sealed, AT_ONCE);
    assert_true(n_good >= 1); /* the seal itself */
    memcpy(right, keyd.credential, sizeof right);
    assert_int_equal(keyd_client_unseal(c, KEYD_SLOT_CREDENTIAL,
                                        (struct keyd_secret){right, sizeof right}, &a),
                     KEYD_OK);
    keyd_client_answer_free(a);
    assert_int_equal(count_keys(c), had + n_good - 1);
    keyd_client_free(c);
    assert_int_equal(daemon_stop(&keyd), 0);
}

/* --- a full disk --- */

/* Until the daemon says something else than OK; how many went well before. */
static uint64_t
issue_until_refused(const struct daemon *d, uint64_t from, FILE *acks,
                    enum keyd_status *status)
{
    keyd_client *c = ask_connect(d, "submission");
    uint64_t i = from;

    for (; i < from + 20000; i++) {
        char address[64];
        struct kd_buf b;
        snprintf(address, sizeof address, "p%u@example.com", (unsigned)i);
        const struct ask_issue in = {
            .address = address, .ssr = request(i, &b), .deadline_ms = 3000};
        struct keyd_answer *a = ask_issue(c, &in);
        *status = a->status;
        if (a->status == KEYD_OK) {
            uint8_t sha[32];
            crypto_hash_sha256(sha, a->out.signet.signet.p, a->out.signet.signet.n);
            fprintf(acks, "%s ", address);
            for (size_t k = 0; k < sizeof sha; k++)
                fprintf(acks, "%02x", sha[k]);
            fputc('\n', acks);
        }
        keyd_client_answer_free(a);
        kd_buf_free(&b);
        if (*status != KEYD_OK)
            break;
    }
    fflush(acks);
    keyd_client_free(c);
    return i - from;
}

static bool
works_again(struct daemon *d, uint64_t person)
{
    int64_t until = kd_clock_ms() + 150000;

    /* A daemon that gave up is started again, as its unit does. */
    while (kd_clock_ms() < until) {
        char socket[108];
        struct keyd_answer *a = NULL;
        struct kd_buf b;
        if (daemon_wait_end(d, 0) != 256 && !daemon_launch(d))
            return false;
        keyd_client *c = keyd_client_new();
        daemon_socket(d, "submission", socket);
        struct kd_slice ssr = request(person, &b);
        const struct keyd_request q = {
            .op = KEYD_OP_ISSUE_USER_SIGNET,
            .deadline_ms = 3000,
            .in.issue_user_signet = {.address = KEYD_STR("again@example.com"),
                                     .ssr = {ssr.p, ssr.n},
                                     .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
        bool ok = c != NULL && keyd_client_connect(c, socket, 1000) == KEYD_OK &&
                  keyd_client_call(c, &q, &a) == KEYD_OK;
        keyd_client_answer_free(a);
        keyd_client_free(c);
        kd_buf_free(&b);
        if (ok)
            return true;
        kd_ignore(poll(NULL, 0, 50)); /* until it has restarted */
    }
    return false;
}

static void
a_full_disk_stops_issuance_loses_nothing_and_is_recovered_from(void **state)
{
    char mount_point[160], filler[200], acks_path[200];
    struct daemon d;
    enum keyd_status status = KEYD_OK;

    (void)state;
    snprintf(mount_point, sizeof mount_point, "%s/disk", keyd.dir);
    if (geteuid() != 0 || mkdir(mount_point, 0755) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", mount_point, "tmpfs", 0, "size=8m,mode=755") != 0) {
        print_message("skipped: cannot mount a small file system here\n");
        skip();
    }
    char own_state[180];
    snprintf(own_state, sizeof own_state, "%s/state", mount_point);
    const struct daemon_options small = {.state = own_state};
    assert_true(daemon_start(&d, &small) && daemon_provision(&d, NULL));
    snprintf(acks_path, sizeof acks_path, "%s/acks", d.dir);
    FILE *acks = fopen(acks_path, "we");
    assert_non_null(acks);
    issue_ends(&d, 0, KEYD_OK, NULL);
    snprintf(filler, sizeof filler, "%s/filler", mount_point);
    shell_fill_disk(filler, LEFT_FREE);

    uint64_t n = issue_until_refused(&d, 1, acks, &status);
    print_message("full after %u signets: %s\n", (unsigned)n,
                  keyd_client_status_text(status));
    assert_int_not_equal(status, KEYD_OK);
    assert_int_not_equal(status, KEYD_INVALID);
    assert_true(daemon_log_wait(&d, "ending, to open again and resolve", 5000));
    kd_ignore(poll(NULL, 0, 500)); /* it goes on trying meanwhile */
    assert_int_equal(unlink(filler), 0);
    assert_true(works_again(&d, 100000));
    fclose(acks);
    assert_int_equal(daemon_stop(&d), 0);

    const char *const arguments[] = {d.state, "--acks", acks_path, NULL};
    assert_int_equal(
        daemon_reap(daemon_spawn(&d, "keyd-check", "check.out", arguments), 60000), 0);
    daemon_clear(&d);
    assert_int_equal(umount(mount_point), 0);
}

/* --- start and end --- */

static int
set_up(void **state)
{
    (void)state;
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, NULL) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    for (uint64_t i = 0; i < 10; i++)
        issue_ends(&keyd, i, KEYD_OK, NULL);
    if (daemon_stop(&keyd) != 0)
        return -1;
    snprintf(good, sizeof good, "%s/good", keyd.dir);
    shell("cp -a '%s' '%s'", keyd.state, good);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    daemon_clear(&keyd);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_OP_25_an_altered_or_cut_log_is_detected_at_start),
        cmocka_unit_test(an_altered_signet_is_neither_believed_nor_signed_upon),
        cmocka_unit_test(a_registry_cut_in_half_or_empty_is_refused),
        cmocka_unit_test(a_registry_that_cannot_be_written_is_refused),
        cmocka_unit_test(T_SEC_12_an_older_key_store_gives_no_keys),
        cmocka_unit_test(
            T_SEC_12_an_older_registry_with_the_new_key_store_gives_no_keys),
        cmocka_unit_test(a_key_store_with_a_flipped_bit_gives_no_keys),
        cmocka_unit_test(T_SEC_12_after_a_reboot_without_a_credential_no_key_is_usable),
        cmocka_unit_test(a_passphrase_unseals_and_a_wrong_one_does_not),
        cmocka_unit_test(
            a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on),
        cmocka_unit_test(
            a_second_daemon_on_the_same_sockets_is_refused_and_the_first_goes_on),
        cmocka_unit_test(changes_of_the_key_store_wait_for_each_other),
        cmocka_unit_test(the_same_change_twice_at_once_is_done_once),
        cmocka_unit_test(changes_that_waited_for_a_seal_are_refused),
        cmocka_unit_test(
            a_full_disk_stops_issuance_loses_nothing_and_is_recovered_from),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
