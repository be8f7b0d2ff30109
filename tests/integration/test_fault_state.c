/* Single bits that flip in the state of a daemon that is down: registry, records of the
 * log and signets in it, key store, the checkpoint kept elsewhere. The real daemon is
 * started on each. It refuses with a reason, or stays sealed or degraded; or it serves,
 * and then every signet it gives is the one that was issued, what it issues verifies,
 * the log that it shows begins with that it had, and no process crashes. A question may
 * be refused. (test_fault_bits.c does the same to the registry's library, more often.)
 */
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "shell.h"
#include "state.h"
#include "suite.h"

#include <dime/verify.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    FLIPS = 3000, /* of the whole test; a tenth in an ordinary run */
    PEOPLE = 5,
    RECORDS_MOST = 64,
    SIGNET_MOST = 2048,
    FILE_MOST = 4 << 20,
    START_MS = 20000,
    QUESTION_MS = 5000
};

static struct storage s;

static struct octets {
    uint8_t p[SIGNET_MOST];
    size_t n;
} signets[PEOPLE], org, records[RECORDS_MOST]; /* records: by their number */
static uint64_t n_records;

/* --- asking --- */

static bool
keep(struct octets *o, struct keyd_octets from)
{
    if (from.n == 0 || from.n > sizeof o->p)
        return false;
    memcpy(o->p, from.p, from.n);
    o->n = from.n;
    return true;
}

static bool
is_same(const struct octets *o, struct keyd_octets other)
{
    return o->n == other.n && memcmp(o->p, other.p, o->n) == 0;
}

static keyd_client *
client(const char *klass)
{
    keyd_client *c = keyd_client_new();
    char path[108];

    assert_non_null(c);
    daemon_socket(&s.d, klass, path);
    if (keyd_client_connect(c, path, QUESTION_MS) == KEYD_OK &&
        keyd_client_set_deadline(c, QUESTION_MS) == KEYD_OK)
        return c;
    keyd_client_free(c);
    return NULL;
}

static void
name_of(uint64_t person, char name[32])
{
    if (person == PEOPLE)
        snprintf(name, 32, "example.com");
    else
        snprintf(name, 32, "p%u@example.com", (unsigned)person);
}

/* Compares, or keeps where nothing is kept yet. How many were refused. */
static unsigned
look_all_up(void)
{
    keyd_client *c = client("mta");
    unsigned refused = c == NULL ? PEOPLE + 1 : 0;

    for (uint64_t i = 0; i <= PEOPLE && c != NULL; i++) {
        struct octets *o = i == PEOPLE ? &org : &signets[i];
        struct keyd_answer *a = NULL;
        char name[32];
        name_of(i, name);
        if (keyd_client_lookup_signet(c, KEYD_STR(name), KEYD_NONE, &a) != KEYD_OK)
            refused++;
        else if (o->n == 0)
            assert_true(keep(o, a->out.signet.signet));
        else if (!is_same(o, a->out.signet.signet))
            fail_msg("%s: not the signet that was issued", name);
        keyd_client_answer_free(a);
    }
    keyd_client_free(c);
    return refused;
}

/* The same of the log: its first n_records, or all while nothing is kept. */
static bool
read_log(void)
{
    keyd_client *c = client("admin");
    bool keeps = n_records == 0;
    uint64_t from = 1;

    while (c != NULL && from != 0) {
        struct keyd_answer *a = NULL;
        if (keyd_client_audit_read(c, from, 0, &a) != KEYD_OK) {
            keyd_client_answer_free(a);
            keyd_client_free(c);
            return false;
        }
        for (size_t i = 0; i < a->out.audit.n_records; i++) {
            const struct keyd_audit_item *r = &a->out.audit.records[i];
            assert_true(!keeps || r->seq < RECORDS_MOST);
            if (keeps) {
                assert_true(keep(&records[r->seq], r->octets));
                n_records = r->seq;
            } else if (r->seq <= n_records && !is_same(&records[r->seq], r->octets)) {
                fail_msg("another record %u", (unsigned)r->seq);
            }
        }
        from = a->out.audit.next_seq;
        keyd_client_answer_free(a);
    }
    keyd_client_free(c);
    return c != NULL;
}

/* A new user; what comes back verifies and is what a look-up gives. */
static bool
issue(uint64_t person)
{
    keyd_client *c = client("submission");
    struct keyd_answer *a = NULL, *b = NULL;
    struct dime_signet user, of_org;
    struct dime_verdict verdict;
    enum dime_reason why;
    struct kd_buf ssr;
    char name[32];

    if (c == NULL)
        return false;
    person_request("bits", person, &ssr);
    name_of(person, name);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(name),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    bool done = keyd_client_call(c, &q, &a) == KEYD_OK;
    if (done) {
        struct kd_slice signet = ask_slice(a->out.signet.signet);
        assert_int_equal(
            dime_signet_parse_as(DIME_ORG, kd_slice(org.p, org.n), &of_org, &why),
            KD_OK);
        assert_int_equal(dime_signet_parse_as(DIME_USER, signet, &user, &why), KD_OK);
        assert_true(kd_slice_eq(user.identifier, kd_slice_str(name)));
        assert_int_equal(dime_user_verify(&user, &of_org, NULL, &verdict), KD_OK);
        assert_true(verdict.bound);
        if (keyd_client_lookup_signet(c, KEYD_STR(name), KEYD_NONE, &b) == KEYD_OK)
            assert_true(kd_slice_eq(ask_slice(b->out.signet.signet), signet));
    }
    keyd_client_answer_free(a);
    keyd_client_answer_free(b);
    keyd_client_free(c);
    kd_buf_free(&ssr);
    return done;
}

/* --- a try --- */

enum outcome { REFUSED, NOT_OPEN, PARTLY, WHOLE, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {
    "refused", "sealed or degraded", "some question refused", "as before"};

static enum outcome
ask_everything(uint64_t person)
{
    unsigned refused = look_all_up();
    bool shown = read_log();
    bool issued = issue(person);

    if (issued)
        assert_true(look_all_up() <= refused); /* no one has gone for it */
    return refused == 0 && shown && issued ? WHOLE : PARTLY;
}

/* Comes to a state, or ends; true: it is up. */
static bool
wait_for_it(enum keyd_service_state *is, int *status)
{
    int64_t until = kd_clock_ms() + START_MS;

    for (;;) {
        int how = 0;
        if (waitpid(s.d.pid, &how, WNOHANG) == s.d.pid) {
            s.d.pid = 0;
            *status = WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
            return false;
        }
        *is = storage_state(&s);
        if (*is != KEYD_STATE_STARTING)
            return true;
        if (kd_clock_ms() > until)
            fail_msg("neither up nor down, see %s", s.d.log);
        kd_ignore(poll(NULL, 0, 5)); /* between two looks */
    }
}

static enum outcome
try_it(uint64_t person)
{
    long from = daemon_log_end(&s.d);
    enum keyd_service_state is = KEYD_STATE_STARTING;
    enum outcome out = REFUSED;
    int status = 0;

    assert_true(daemon_launch(&s.d));
    if (wait_for_it(&is, &status)) {
        out = ask_everything(person);
        if (is != KEYD_STATE_OPERATIONAL)
            out = NOT_OPEN;
        status = daemon_stop(&s.d);
        assert_int_equal(status, 0);
    } else {
        assert_true(status > 0); /* not by a signal, and not as if all were well */
        if (daemon_log_count(&s.d, from, "refused", NULL) == 0 &&
            daemon_log_count(&s.d, from, "warn", NULL) == 0)
            fail_msg("status %d without a reason, see %s", status, s.d.log);
    }
    assert_int_equal(daemon_log_count(&s.d, from, "ended by signal", NULL), 0);
    return out;
}

/* --- where --- */

struct place {
    char path[200];
    size_t at, n; /* the part of the file */
};

static size_t
load(const char *path, uint8_t *octets)
{
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    size_t n = fread(octets, 1, FILE_MOST, f);
    fclose(f);
    assert_true(n > 0 && n < FILE_MOST);
    return n;
}

static struct place
whole_of(const char *dir, const char *name)
{
    struct place p = {.at = 0};
    struct stat st;

    snprintf(p.path, sizeof p.path, "%s/%s", dir, name);
    assert_int_equal(stat(p.path, &st), 0);
    p.n = (size_t)st.st_size;
    return p;
}

/* Where these octets lie in the registry's file. */
static struct place
octets_in(const char *dir, const struct octets *r)
{
    static uint8_t octets[FILE_MOST];
    struct place p = whole_of(dir, "registry.db");
    size_t n = load(p.path, octets);
    const uint8_t *found = memmem(octets, n, r->p, r->n);

    assert_non_null(found); /* those of this test fit into a page */
    p.at = (size_t)(found - octets);
    p.n = r->n;
    return p;
}

static void
flip(const struct place *p, size_t *at, unsigned *bit)
{
    int fd = open(p->path, O_RDWR | O_CLOEXEC);
    uint8_t octet = 0;

    *at = p->at + randombytes_uniform((uint32_t)p->n);
    *bit = randombytes_uniform(8);
    assert_true(fd >= 0 && pread(fd, &octet, 1, (off_t)*at) == 1);
    octet ^= (uint8_t)(1U << *bit);
    assert_true(pwrite(fd, &octet, 1, (off_t)*at) == 1);
    close(fd);
}

static struct place
place_of(unsigned kind)
{
    switch (kind) {
    case 0:
        return whole_of(s.d.state, "registry.db");
    case 1:
        return octets_in(s.d.state,
                         &records[1 + randombytes_uniform((uint32_t)n_records)]);
    case 2:
        return whole_of(s.d.state, "keystore");
    case 3:
        return octets_in(s.d.state, &signets[randombytes_uniform(PEOPLE)]);
    default:
        return whole_of(s.outside, "checkpoint");
    }
}

static void
flip_many(unsigned kind, const char *what, size_t n)
{
    unsigned count[OUTCOMES] = {0};
    int64_t began = kd_clock_ms();

    for (size_t i = 0; i < n; i++) {
        size_t at;
        unsigned bit;
        storage_put_back(&s, "good", true);
        struct place p = place_of(kind);
        flip(&p, &at, &bit);
        /* Said before, for the case that it fails. */
        FILE *f = fopen(s.d.log, "ae");
        assert_non_null(f);
        fprintf(f, "test: %s octet %zu bit %u\n", what, at, bit);
        fclose(f);
        count[try_it(PEOPLE + 1 + i)]++;
    }
    print_message("%s: %zu flips in %.1f s", what, n,
                  (double)(kd_clock_ms() - began) / 1000);
    for (unsigned i = 0; i < OUTCOMES; i++)
        print_message(", %u %s", count[i], outcome_names[i]);
    print_message("\n");
}

static void
a_daemon_on_a_flipped_registry_is_right_or_refuses(void **state)
{
    (void)state;
    flip_many(0, "registry", test_rounds(FLIPS * 3 / 10));
}

static void
a_daemon_on_a_flipped_record_is_right_or_refuses(void **state)
{
    (void)state;
    flip_many(1, "records", test_rounds(FLIPS * 2 / 10));
}

static void
a_daemon_on_a_flipped_key_store_is_right_or_refuses(void **state)
{
    (void)state;
    flip_many(2, "key store", test_rounds(FLIPS * 3 / 10));
}

static void
a_daemon_on_a_flipped_signet_is_right_or_shows_it(void **state)
{
    (void)state;
    flip_many(3, "signets", test_rounds(FLIPS / 10));
}

static void
a_daemon_beside_a_flipped_checkpoint_is_right_or_refuses(void **state)
{
    (void)state;
    flip_many(4, "checkpoint", test_rounds(FLIPS / 10));
}

/* --- start and end --- */

/* All that is in the write-ahead log goes to its place, so that nothing that is flipped
 * there is hidden behind it. */
static void
empty_the_wal(void)
{
    char path[200];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/registry.db", s.d.state);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int
set_up(void **state)
{
    (void)state;
    assert_int_equal(kd_secret_setup(65536), KD_OK);
    storage_start(&s, NULL);
    assert_true(look_all_up() == PEOPLE); /* the organization's is there */
    for (uint64_t i = 0; i < PEOPLE; i++)
        assert_true(issue(i));
    assert_int_equal(look_all_up(), 0);
    assert_true(read_log() && n_records > PEOPLE);
    storage_outside(&s);
    storage_stop(&s);
    empty_the_wal();
    storage_keep(&s, "good", true);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    storage_clear(&s);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_on_a_flipped_registry_is_right_or_refuses),
        cmocka_unit_test(a_daemon_on_a_flipped_record_is_right_or_refuses),
        cmocka_unit_test(a_daemon_on_a_flipped_key_store_is_right_or_refuses),
        cmocka_unit_test(a_daemon_on_a_flipped_signet_is_right_or_shows_it),
        cmocka_unit_test(a_daemon_beside_a_flipped_checkpoint_is_right_or_refuses),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
