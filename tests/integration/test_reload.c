/* A configuration taken anew by a running daemon: all of it or nothing, at once for
 * every request, whatever else goes on. */
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "shape.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/ledger/audit.h>
#include <keyd/rpc/rpc_pb.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct daemon keyd;
static keyd_client *admin;
static atomic_uint_fast64_t next_person;

static const struct shape both = {.issue = true, .lookup = true, .net = true};
static const struct shape only_issue = {.issue = true, .net = true};
static const struct shape only_lookup = {.lookup = true, .net = true};
static const struct shape neither = {.net = true};

/* --- asking --- */

/* A first signet for somebody new of the domain. */
static enum keyd_status
issue_for(keyd_client *c, const char *domain, char *detail, size_t size)
{
    uint64_t person = atomic_fetch_add(&next_person, 1);
    struct keyd_answer *a = NULL;
    struct kd_buf ssr;
    char address[64];

    person_request("reload", person, &ssr);
    snprintf(address, sizeof address, "p%llu@%s", (unsigned long long)person, domain);
    enum keyd_status status = keyd_client_issue_user_signet(
        c, KEYD_STR(address), (struct keyd_octets){ssr.p, ssr.n}, KEYD_ACCOUNT_TRUSTFUL,
        NULL, 0, KEYD_NONE, &a);
    if (detail != NULL)
        snprintf(detail, size, "%s", a == NULL ? "" : a->detail);
    keyd_client_answer_free(a);
    kd_buf_free(&ssr);
    return status;
}

static enum keyd_status
issue(keyd_client *c)
{
    return issue_for(c, "example.com", NULL, 0);
}

static enum keyd_status
look_up(keyd_client *c)
{
    struct keyd_answer *a = NULL;
    enum keyd_status status =
        keyd_client_lookup_signet(c, KEYD_STR("example.com"), KEYD_NONE, &a);

    keyd_client_answer_free(a);
    return status;
}

/* Reload; the status, and the word that came with it. */
static enum keyd_status
reload(char detail[64])
{
    struct keyd_answer *a = NULL;
    enum keyd_status status = keyd_client_reload(admin, &a);

    snprintf(detail, 64, "%s", a == NULL ? "" : a->detail);
    keyd_client_answer_free(a);
    return status;
}

static void
expect(keyd_client *c, const struct shape *s)
{
    assert_int_equal(issue(c), s->issue ? KEYD_OK : KEYD_DENIED);
    assert_int_equal(look_up(c), s->lookup ? KEYD_OK : KEYD_DENIED);
}

static int
start(void **state)
{
    static const struct daemon_options options = {.top = "drain-timeout = 3"};

    (void)state;
    if (!daemon_start(&keyd, &options) || !daemon_provision(&keyd, NULL) ||
        !daemon_provision_domain(&keyd, "example.net", NULL))
        return -1;
    shape_init(&keyd);
    admin = daemon_connect(&keyd, "admin");
    return admin == NULL ? -1 : 0;
}

static int
stop(void **state)
{
    (void)state;
    keyd_client_free(admin);
    daemon_clear(&keyd);
    return 0;
}

/* A role may just be on its way up again. */
static keyd_client *
connect_soon(const char *class)
{
    enum { WAIT_MS = 10000 };
    int64_t until = kd_clock_ms() + WAIT_MS;
    char path[108];
    keyd_client *c = keyd_client_new();

    assert_non_null(c);
    daemon_socket(&keyd, class, path);
    while (keyd_client_connect(c, path, 2000) != KEYD_OK) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, 5)); /* between two tries */
    }
    return c;
}

/* --- what is in force --- */

static void
what_is_allowed_follows_the_answer(void **state)
{
    keyd_client *c = ask_connect(&keyd, "submission");
    const struct shape *const shapes[] = {&both, &neither, &only_issue, &only_lookup};

    (void)state;
    for (size_t i = 0; i < 10 * sizeof shapes / sizeof *shapes; i++) {
        const struct shape *s = shapes[i % 4];
        shape_use(&keyd, admin, s);
        expect(c, s);
    }
    keyd_client_free(c);
}

static void
a_connection_of_a_principal_that_is_gone_ends_at_its_next_request(void **state)
{
    static const struct shape gone = {.is_gone = true};
    keyd_client *c, *looks;
    struct keyd_answer *a = NULL;

    (void)state;
    shape_use(&keyd, admin, &both);
    c = ask_connect(&keyd, "submission");
    looks = ask_connect(&keyd, "admin");
    expect(c, &both);
    shape_use(&keyd, admin, &gone);
    assert_int_equal(look_up(c), KEYD_DENIED);
    assert_int_equal(keyd_client_process(c, 1000), KEYD_UNAVAILABLE);
    /* Others go on, and it is known again when it is there again. */
    assert_int_equal(keyd_client_status(looks, &a), KEYD_OK);
    keyd_client_answer_free(a);
    shape_use(&keyd, admin, &both);
    keyd_client_free(c);
    c = ask_connect(&keyd, "submission");
    expect(c, &both);
    keyd_client_free(c);
    keyd_client_free(looks);
}

/* --- the record --- */

struct found {
    struct kd_audit_record record;
    char principal[64];
    bool is_there;
};

/* The last record of a reload. */
static void
last_reload(struct found *out)
{
    struct keyd_answer *a = NULL;
    struct kd_audit_record r;
    uint64_t seq = 1;

    *out = (struct found){.is_there = false};
    while (seq != 0) {
        assert_int_equal(keyd_client_audit_read(admin, seq, 0, &a), KEYD_OK);
        for (size_t i = 0; i < a->out.audit.n_records; i++) {
            struct keyd_octets o = a->out.audit.records[i].octets;
            assert_int_equal(kd_audit_decode(kd_slice(o.p, o.n), &r), KD_OK);
            if (r.op != KD_AUDIT_RELOAD)
                continue;
            out->is_there = true;
            out->record = r;
            snprintf(out->principal, sizeof out->principal, "%.*s", (int)r.principal.n,
                     (const char *)r.principal.p);
        }
        seq = a->out.audit.next_seq;
        keyd_client_answer_free(a);
    }
}

static void
hash_of_file(uint8_t out[32])
{
    static uint8_t octets[64 * 1024];
    FILE *f = fopen(keyd.conf, "re");

    assert_non_null(f);
    size_t n = fread(octets, 1, sizeof octets, f);
    fclose(f);
    crypto_hash_sha256(out, octets, n);
}

static void
the_log_has_who_asked_and_the_digest_of_the_file(void **state)
{
    struct keyd_answer *a = NULL;
    struct found found;
    uint8_t hash[32];
    char me[32];

    (void)state;
    shape_write(&keyd, shape_text(&both));
    hash_of_file(hash);
    assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
    assert_int_equal(a->out.reload.digest.n, sizeof hash);
    assert_memory_equal(a->out.reload.digest.p, hash, sizeof hash);
    keyd_client_answer_free(a);
    last_reload(&found);
    assert_true(found.is_there);
    assert_int_equal(found.record.n_digests, 2);
    assert_memory_equal(found.record.digests[1], hash, sizeof hash);
    snprintf(me, sizeof me, "uid:%u", (unsigned)geteuid());
    assert_string_equal(found.principal, me);
    /* A signal names nobody. */
    shape_write(&keyd, shape_text(&only_issue));
    hash_of_file(hash);
    assert_int_equal(kill(keyd.pid, SIGHUP), 0);
    for (int i = 0; i < 1000; i++) {
        last_reload(&found);
        if (memcmp(found.record.digests[1], hash, sizeof hash) == 0)
            break;
        kd_ignore(poll(NULL, 0, 5)); /* between two looks */
    }
    assert_memory_equal(found.record.digests[1], hash, sizeof hash);
    assert_string_equal(found.principal, "keyd");
}

/* --- files that are refused --- */

struct bad {
    const char *name;
    const char *text;   /* before everything, or NULL */
    const char *behind; /* at the end, or NULL */
    const char *detail;
};

#define BAD "bad-configuration"
#define RESTART "needs-restart-"

static const struct bad bads[] = {
    {"no such key", "no-such-key = 1", NULL, BAD},
    {"key twice", "log-level = info\nlog-level = info", NULL, BAD},
    {"number too large", "max-in-flight = 1025", NULL, BAD},
    {"number too small", "max-in-flight = 0", NULL, BAD},
    {"no number", "max-in-flight = many", NULL, BAD},
    {"octal", "max-in-flight = 010", NULL, BAD},
    {"word that is none", "log-level = loud", NULL, BAD},
    {"relative path", "shadow-policy = \"here\"", NULL, BAD},
    {"limits that contradict", "upload-pool = 1048576", NULL, BAD},
    {"brace open", NULL, "principal \"x\" {", BAD},
    {"brace too many", NULL, "}", BAD},
    {"string open", NULL, "principal \"x {\n}", BAD},
    {"section of no type", NULL, "principle \"x\" {\n}", BAD},
    {"domain twice", NULL, "domain \"example.com\" {\n}", BAD},
    {"domain in capitals", NULL, "domain \"Example.org\" {\n}", BAD},
    {"principal twice", NULL,
     "principal \"other\" {\n uid = 7\n class = \"mta\"\n operations = { }\n}", BAD},
    {"uid twice", NULL,
     "principal \"y\" {\n uid = 60999\n class = \"submission\"\n operations = { }\n}",
     BAD},
    {"nobody's uid", NULL,
     "principal \"y\" {\n uid = 65534\n class = \"mta\"\n operations = { }\n}", BAD},
    {"class of no name", NULL,
     "principal \"y\" {\n uid = 7\n class = \"root\"\n operations = { }\n}", BAD},
    {"operation of another class", NULL,
     "principal \"y\" {\n uid = 7\n class = \"mta\"\n operations = { \"Seal\" }\n}",
     BAD},
    {"operation of no name", NULL,
     "principal \"y\" {\n uid = 7\n class = \"mta\"\n operations = { \"Sign\" }\n}",
     BAD},
    {"domain not served", NULL,
     "principal \"y\" {\n uid = 7\n class = \"mta\"\n operations = { \"LookupSignet\" "
     "}\n"
     " domains = { \"example.org\" }\n}",
     BAD},
    {"environment", "log-level = ${HOME}", NULL, BAD},
    {"include", "include(\"/etc/passwd\")", NULL, BAD},
    {"semicolon", "log-level = info;", NULL, BAD},
    {"octets beyond ASCII", "# \xc3\xa9\nlog-level = \"\xc3\xa9\"", NULL, BAD},
    {"control characters", "log-level = info\x01", NULL, BAD},
    {"shadow that is not there", "shadow-policy = \"/nowhere/keyd.conf\"", NULL,
     "bad-shadow-policy"},
    {"shadow that is none", "shadow-policy = \"/etc/passwd\"", NULL,
     "bad-shadow-policy"},
    {"threads", "crypto-threads = 7", NULL, RESTART "crypto-threads"},
    {"programs", "libexec-directory = \"/usr/libexec\"", NULL,
     RESTART "libexec-directory"},
    {"one listener more", NULL,
     "listener \"milter\" {\n socket = \"/tmp/keyd-m.sock\"\n}", RESTART "socket"},
    {"workers", NULL, "listener \"submission\" {\n workers = 2\n}", RESTART "workers"},
    {"mode", NULL, "listener \"submission\" {\n mode = \"0600\"\n}", RESTART "mode"},
    {"token", NULL,
     "token \"t\" {\n module = \"/m.so\"\n label = \"t\"\n user = \"61077\"\n}",
     RESTART "token"},
};
enum { N_BADS = sizeof bads / sizeof *bads };

/* Where the text has a key, what is put in its place. */
static const struct {
    const char *key, *line, *detail;
} changes[] = {
    {"state-directory", "state-directory = \"/tmp/keyd-elsewhere\"",
     RESTART "state-directory"},
    {"run-directory", "run-directory = \"/tmp/keyd-elsewhere\"",
     RESTART "run-directory"},
    {"hardening", "hardening = relaxed", RESTART "hardening"},
    {"user-vault", "user-vault = \"61077\"", RESTART "user-vault"},
    {"group", "group = \"61077\"", RESTART "group"},
};
enum { N_CHANGES = sizeof changes / sizeof *changes };

/* The old one is in force, and says so. */
static void
expect_refused(keyd_client *c, const char *name, const char *detail, uint32_t serial)
{
    struct keyd_answer *a = NULL;
    char word[64];
    enum keyd_status status = reload(word);

    if (status != KEYD_INVALID || strcmp(word, detail) != 0)
        fail_msg("%s: %s (%s), not %s", name, keyd_client_status_text(status), word,
                 detail);
    expect(c, &only_issue);
    shape_write(&keyd, shape_text(&only_issue));
    assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
    assert_true(a->out.reload.serial > serial);
    keyd_client_answer_free(a);
}

static uint32_t
serial_now(void)
{
    struct keyd_answer *a = NULL;

    assert_int_equal(keyd_client_reload(admin, &a), KEYD_OK);
    uint32_t serial = a->out.reload.serial;
    keyd_client_answer_free(a);
    return serial;
}

static void
a_bad_file_leaves_the_old_one_in_force(void **state)
{
    keyd_client *c = ask_connect(&keyd, "submission");

    (void)state;
    shape_use(&keyd, admin, &only_issue);
    for (size_t i = 0; i < N_BADS; i++) {
        const struct shape s = {.lookup = true,
                                .net = true,
                                .top = bads[i].text,
                                .sections = bads[i].behind};
        uint32_t serial = serial_now();
        shape_write(&keyd, shape_text(&s));
        expect_refused(c, bads[i].name, bads[i].detail, serial);
    }
    assert_true(daemon_log_has(&keyd, "needs a restart: crypto-threads"));
    assert_true(daemon_log_has(&keyd, "no-such-key"));
    keyd_client_free(c);
}

/* The text with the key's line replaced; false if it has none such. */
static bool
replace_line(const char *text, const char *key, const char *line, char out[65536])
{
    const char *at = strstr(text, key);

    if (at == NULL || (at != text && at[-1] != '\n'))
        return false;
    const char *end = strchr(at, '\n');
    assert_non_null(end);
    snprintf(out, 65536, "%.*s%s%s", (int)(at - text), text, line, end);
    return true;
}

static void
what_needs_a_restart_is_named(void **state)
{
    static char text[65536];
    keyd_client *c = ask_connect(&keyd, "submission");

    (void)state;
    shape_use(&keyd, admin, &only_issue);
    for (size_t i = 0; i < N_CHANGES; i++) {
        uint32_t serial = serial_now();
        /* Users and groups stand there only where the daemon was started as root. */
        if (!replace_line(shape_text(&only_lookup), changes[i].key, changes[i].line,
                          text))
            continue;
        shape_write(&keyd, text);
        expect_refused(c, changes[i].key, changes[i].detail, serial);
    }
    keyd_client_free(c);
}

static void
a_file_that_cannot_be_read_leaves_the_old_one_in_force(void **state)
{
    keyd_client *c = ask_connect(&keyd, "submission");
    uint32_t serial = serial_now();

    (void)state;
    shape_use(&keyd, admin, &only_issue);
    assert_int_equal(unlink(keyd.conf), 0);
    expect_refused(c, "no file", BAD, serial);
    assert_int_equal(unlink(keyd.conf), 0);
    assert_int_equal(mkdir(keyd.conf, 0755), 0);
    char word[64];
    assert_int_equal(reload(word), KEYD_INVALID);
    assert_string_equal(word, BAD);
    assert_int_equal(rmdir(keyd.conf), 0);
    assert_int_equal(mkfifo(keyd.conf, 0644), 0);
    expect_refused(c, "a FIFO", BAD, serial);
    assert_int_equal(chmod(keyd.conf, 0666), 0);
    expect_refused(c, "others can write it", BAD, serial);
    assert_int_equal(truncate(keyd.conf, 300 * 1024), 0);
    expect_refused(c, "too large", BAD, serial);
    assert_int_equal(truncate(keyd.conf, 0), 0);
    expect_refused(c, "empty", BAD, serial);
    keyd_client_free(c);
}

/* A role that does not answer: nobody uses the new one. */
static void
a_role_that_does_not_answer_leaves_all_on_the_old_one(void **state)
{
    static const enum keyd_process_role roles[] = {
        KEYD_PROCESS_VAULT, KEYD_PROCESS_LEDGER, KEYD_PROCESS_GATE};
    char word[64];

    (void)state;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        keyd_client *c;
        shape_use(&keyd, admin, &only_issue);
        pid_t pid = daemon_role(&keyd, roles[i],
                                roles[i] == KEYD_PROCESS_GATE ? "submission" : "");
        shape_write(&keyd, shape_text(&only_lookup));
        if (roles[i] == KEYD_PROCESS_VAULT) {
            /* It could not answer for the others either: a signal asks. */
            assert_int_equal(kill(pid, SIGSTOP), 0);
            assert_int_equal(kill(keyd.pid, SIGHUP), 0);
            assert_true(daemon_log_wait(&keyd, "is refused (role-not-running)", 9000));
            shape_write(&keyd, shape_text(&only_issue)); /* it will be tried again */
        } else {
            assert_int_equal(kill(pid, SIGSTOP), 0);
            assert_int_equal(reload(word), KEYD_UNAVAILABLE);
            assert_string_equal(word, "role-not-running");
        }
        assert_int_equal(kill(pid, SIGCONT), 0);
        c = ask_connect(&keyd, "submission");
        expect(c, &only_issue);
        keyd_client_free(c);
    }
    shape_use(&keyd, admin, &both);
}

/* --- under load --- */

/* When which of two configurations was in force: for each reload the time before it was
 * asked for and after it was answered. Requests that lie between two of them see
 * exactly one configuration; those across one see either. */
enum { TURNS_MAX = 4096 };
static struct {
    _Atomic int64_t asked, answered; /* 0: not yet; ns */
} turns[TURNS_MAX];
static atomic_uint n_turns; /* begun */
static atomic_bool is_over;

struct worker {
    pthread_t thread;
    uint64_t n, n_mixed, n_failed, n_old;
    enum keyd_status last_bad;
};

/* True if a request from t0 to t1 can have seen the configuration of even turns (odd).
 */
static bool
may_have_seen(int64_t t0, int64_t t1, bool odd)
{
    unsigned n = atomic_load(&n_turns);

    for (unsigned i = n; i-- > 0;) {
        int64_t asked = atomic_load(&turns[i].asked);
        int64_t answered = atomic_load(&turns[i].answered);
        if (asked > t1)
            continue; /* it came later */
        if ((i % 2 == 1) == odd)
            return true;
        if (answered != 0 && answered < t0)
            return false; /* it was all in force, and no other since */
    }
    return false;
}

/* One connection, one request after the other: issuing (the vault decides) and looking
 * up (the gate decides). Even turns allow only the first, odd ones only the second. */
static void *
work(void *arg)
{
    struct worker *w = arg;
    keyd_client *c = daemon_connect(&keyd, "submission");
    bool saw_odd = false;
    unsigned begun_before = 0; /* when the request before was sent */

    for (bool looks = false; c != NULL && !atomic_load(&is_over); looks = !looks) {
        unsigned begun = atomic_load(&n_turns);
        int64_t t0 = kd_clock_ns();
        enum keyd_status s = looks ? look_up(c) : issue(c);
        int64_t t1 = kd_clock_ns();
        w->n++;
        if (s != KEYD_OK && s != KEYD_DENIED) {
            w->n_failed++;
            w->last_bad = s;
            continue;
        }
        bool odd = (s == KEYD_OK) == looks;
        if (!may_have_seen(t0, t1, odd))
            w->n_mixed++;
        /* What was seen once is not followed by what was before it: with no turn begun
         * from before the one request to after the other. */
        if (w->n > 1 && atomic_load(&n_turns) == begun_before && odd != saw_odd)
            w->n_old += (begun_before % 2 == 0) != odd;
        saw_odd = odd;
        begun_before = begun;
    }
    keyd_client_free(c);
    return NULL;
}

static void
no_request_sees_a_mixture_under_load(void **state)
{
    enum { WORKERS = 3 };
    struct worker workers[WORKERS] = {0};
    size_t n = test_rounds(1000);
    uint64_t asked = 0;

    (void)state;
    assert_true(n <= TURNS_MAX);
    shape_use(&keyd, admin, &only_issue);
    atomic_store(&turns[0].asked, 1);
    atomic_store(&turns[0].answered, 1);
    atomic_store(&n_turns, 1);
    atomic_store(&is_over, false);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]),
                         0);
    for (unsigned i = 1; i < n; i++) {
        shape_write(&keyd, shape_text(i % 2 == 0 ? &only_issue : &only_lookup));
        atomic_store(&turns[i].asked, kd_clock_ns());
        atomic_store(&n_turns, i + 1);
        char word[64];
        enum keyd_status s = reload(word);
        if (s != KEYD_OK)
            fail_msg("reload %u: %s (%s)", i, keyd_client_status_text(s), word);
        atomic_store(&turns[i].answered, kd_clock_ns());
        kd_ignore(poll(NULL, 0, (int)(i % 4))); /* some requests of each in between */
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        asked += workers[i].n;
        assert_int_equal(workers[i].n_failed, 0);
        assert_int_equal(workers[i].n_mixed, 0);
        assert_int_equal(workers[i].n_old, 0);
    }
    print_message("%zu reloads, %llu requests\n", n, (unsigned long long)asked);
    assert_true(asked > n);
}

/* --- domains --- */

static void *
issue_all_the_time(void *arg)
{
    struct worker *w = arg;
    keyd_client *c = daemon_connect(&keyd, "submission");
    char detail[64];

    for (; c != NULL && !atomic_load(&is_over); w->n++) {
        /* Domains' numbers change under it: what it asks for stays what it asks for. */
        enum keyd_status s = issue_for(c, "example.com", detail, sizeof detail);
        if (s != KEYD_OK) {
            w->n_failed++;
            w->last_bad = s;
        }
    }
    keyd_client_free(c);
    return NULL;
}

static void
domains_come_and_go_while_others_are_issued_for(void **state)
{
    struct worker w = {0};
    keyd_client *c;
    size_t n = test_rounds(400);
    char detail[64];

    (void)state;
    shape_use(&keyd, admin, &both);
    c = ask_connect(&keyd, "submission");
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&w.thread, NULL, issue_all_the_time, &w), 0);
    for (unsigned i = 0; i < n; i++) {
        struct shape s = both;
        s.more = i % 23;
        s.net = i % 3 != 0;
        shape_use(&keyd, admin, &s);
        enum keyd_status status = issue_for(c, "example.net", detail, sizeof detail);
        assert_int_equal(status, s.net ? KEYD_OK : KEYD_DENIED);
        if (s.more != 0) {
            assert_int_equal(issue_for(c, "aaa0.example", detail, sizeof detail),
                             KEYD_DENIED);
        }
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    assert_int_equal(w.n_failed, 0);
    assert_true(w.n > n / 4);
    keyd_client_free(c);
}

/* The ledger tells its signet at the start only, served or not. */
static void
a_domain_not_served_at_the_start_is_there_when_it_is(void **state)
{
    static const struct shape without = {.issue = true, .lookup = true};
    keyd_client *c;

    (void)state;
    shape_use(&keyd, admin, &without);
    keyd_client_free(admin);
    assert_int_equal(daemon_stop(&keyd), 0);
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 20000));
    admin = daemon_connect(&keyd, "admin");
    assert_non_null(admin);
    c = ask_connect(&keyd, "submission");
    assert_int_equal(issue_for(c, "example.net", NULL, 0), KEYD_DENIED);
    shape_use(&keyd, admin, &both);
    assert_int_equal(issue_for(c, "example.net", NULL, 0), KEYD_OK);
    assert_int_equal(issue(c), KEYD_OK);
    keyd_client_free(c);
}

/* --- storms and deaths --- */

static void
a_storm_of_signals_ends_with_the_last_file(void **state)
{
    struct daemon_child before[DAEMON_CHILDREN_MAX];
    size_t n = test_rounds(1000), n_before;
    keyd_client *c;

    (void)state;
    shape_use(&keyd, admin, &both);
    n_before = daemon_children(&keyd, before, DAEMON_CHILDREN_MAX);
    for (size_t i = 0; i < n; i++) {
        shape_write(&keyd, shape_text(i % 2 == 0 ? &only_issue : &neither));
        assert_int_equal(kill(keyd.pid, SIGHUP), 0);
        if (i % 16 == 0)
            kd_ignore(poll(NULL, 0, 1)); /* lets some of them be taken */
    }
    shape_use(&keyd, admin, &only_lookup);
    c = ask_connect(&keyd, "submission");
    expect(c, &only_lookup);
    keyd_client_free(c);
    assert_true(daemon_has_children(&keyd, before, n_before));
}

/* As the gates and the vault have it: both the old one, or both the new. */
static bool
agree(bool *is_new)
{
    keyd_client *c = connect_soon("submission");
    enum keyd_status i, l;

    for (;;) { /* a vault that was killed unseals itself; the ledger comes back */
        i = issue(c);
        l = look_up(c);
        if ((i == KEYD_OK || i == KEYD_DENIED) && (l == KEYD_OK || l == KEYD_DENIED))
            break;
        keyd_client_free(c);
        kd_ignore(poll(NULL, 0, 10)); /* between two tries */
        c = connect_soon("submission");
    }
    keyd_client_free(c);
    *is_new = l == KEYD_OK;
    return (i == KEYD_OK) != (l == KEYD_OK);
}

static void
a_reload_while_a_role_dies_is_all_or_nothing(void **state)
{
    static const enum keyd_process_role roles[] = {
        KEYD_PROCESS_VAULT, KEYD_PROCESS_GATE, KEYD_PROCESS_LEDGER};
    size_t n = test_rounds(300), n_taken = 0, n_refused = 0, n_unknown = 0;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        enum keyd_process_role role = roles[i % 3];
        char word[64];
        bool is_new;
        shape_use(&keyd, admin, &only_issue);
        assert_true(agree(&is_new) && !is_new);
        pid_t victim =
            daemon_role(&keyd, role, role == KEYD_PROCESS_GATE ? "submission" : "");
        assert_true(victim > 0);
        shape_write(&keyd, shape_text(&only_lookup));
        /* From before it begins to after it has ended. */
        pid_t killer = fork();
        if (killer == 0) {
            usleep((useconds_t)(randombytes_uniform(1500)));
            kill(victim, SIGKILL);
            _exit(0);
        }
        enum keyd_status s = reload(word);
        assert_int_equal(daemon_reap(killer, 5000), 0);
        keyd_client_free(admin);
        admin = connect_soon("admin");
        assert_true(agree(&is_new));
        if (s == KEYD_OK) {
            assert_true(is_new);
            n_taken++;
        } else if (s == KEYD_UNAVAILABLE && strcmp(word, "role-not-running") == 0) {
            assert_false(is_new);
            n_refused++;
        } else { /* who asked was told by a vault that is gone */
            n_unknown++;
        }
        /* What was refused can be asked for again. */
        for (int k = 0; (s = reload(word)) != KEYD_OK; k++) {
            assert_true(k < 500);
            kd_ignore(poll(NULL, 0, 20)); /* between two tries */
        }
        assert_true(agree(&is_new) && is_new);
    }
    print_message("%zu deaths: %zu taken, %zu refused, %zu not heard of\n", n, n_taken,
                  n_refused, n_unknown);
}

/* A vault that is restarted after reloads has the newest, not the first. */
static void
a_role_that_is_started_again_has_the_newest(void **state)
{
    bool is_new;

    (void)state;
    shape_use(&keyd, admin, &both);
    shape_use(&keyd, admin, &only_lookup);
    for (size_t i = 0; i < 3; i++) {
        static const enum keyd_process_role roles[] = {
            KEYD_PROCESS_VAULT, KEYD_PROCESS_GATE, KEYD_PROCESS_LEDGER};
        pid_t pid = daemon_role(&keyd, roles[i],
                                roles[i] == KEYD_PROCESS_GATE ? "submission" : "");
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(agree(&is_new) && is_new);
    }
    keyd_client_free(admin);
    admin = connect_soon("admin");
}

/* --- who becomes another in the middle of a frame --- */

static int
raw_connect(void)
{
    const struct timeval limit = {1, 0};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    daemon_socket(&keyd, "submission", to.sun_path);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Some octets of a Hello, from one on. */
static void
send_hello(int fd, size_t from, size_t n)
{
    Keyd__V1__HelloRequest hello = KEYD__V1__HELLO_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;
    struct kd_frame_out out;
    struct kd_rpc_fault fault;
    struct kd_slice all;

    hello.min_version = hello.max_version = KD_RPC_VERSION_MIN;
    hello.client_name = kd_rpc_data(kd_slice_str("half"));
    r.id = 1;
    r.op_case = KEYD__V1__REQUEST__OP_HELLO;
    r.hello = &hello;
    kd_frame_out_init(&out, KD_FRAME_MAX);
    assert_int_equal(kd_rpc_put_request(&out, &r, -1, &fault), KD_OK);
    assert_int_equal(kd_frame_out_peek(&out, &all), KD_OK);
    n = n < all.n - from ? n : all.n - from;
    assert_int_equal(send(fd, all.p + from, n, MSG_NOSIGNAL), n);
    kd_frame_out_clear(&out);
}

/* True if there is any answer within a second. */
static bool
is_answered(int fd)
{
    uint8_t octets[4096];

    return recv(fd, octets, sizeof octets, 0) > 0;
}

static void
what_is_charged_goes_along_to_another_principal(void **state)
{
    static const struct shape gone = {.is_gone = true, .net = true};
    enum { HALF = 7, A_MOMENT_MS = 50 };

    (void)state;
    for (int i = 0; i < 2; i++) { /* away, and back again */
        shape_use(&keyd, admin, i == 0 ? &both : &gone);
        int fd = raw_connect();
        send_hello(fd, 0, HALF);
        kd_ignore(poll(NULL, 0, A_MOMENT_MS)); /* it is read, and waits for the rest */
        shape_use(&keyd, admin, i == 0 ? &gone : &both);
        send_hello(fd, HALF, SIZE_MAX);
        assert_true(is_answered(fd));
        close(fd);
        /* Others of the same principal have their turn as before. */
        fd = raw_connect();
        send_hello(fd, 0, SIZE_MAX);
        assert_true(is_answered(fd));
        close(fd);
    }
}

/* --- a policy that is only watched --- */

static bool
has_line(const struct keyd_answer *a, const char *operation, uint64_t refuse,
         uint64_t allow)
{
    for (size_t i = 0; i < a->out.status.n_shadow; i++) {
        const struct keyd_shadow_line *l = &a->out.status.shadow[i];
        if (l->operation.n == strlen(operation) &&
            memcmp(l->operation.p, operation, l->operation.n) == 0) {
            assert_int_equal(l->principal.n, strlen("caller-submission"));
            assert_memory_equal(l->principal.p, "caller-submission", l->principal.n);
            return l->would_refuse == refuse && l->would_allow == allow;
        }
    }
    return refuse == 0 && allow == 0;
}

/* Look-ups are told of a few times a second. */
static void
expect_shadow(uint64_t issue_refused, uint64_t look_allowed, uint32_t pairs)
{
    for (int i = 0;; i++) {
        struct keyd_answer *a =
            ask(admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
        bool good = a->out.status.shadow_on && a->out.status.shadow_pairs == pairs &&
                    has_line(a, "IssueUserSignet", issue_refused, 0) &&
                    has_line(a, "LookupSignet", 0, look_allowed);
        keyd_client_answer_free(a);
        if (good)
            return;
        assert_true(i < 300);
        kd_ignore(poll(NULL, 0, 10)); /* between two looks */
    }
}

static void
a_watched_policy_is_counted_and_decides_nothing(void **state)
{
    char path[160], top[256];
    const struct shape watching = {.issue = true, .net = true, .top = top};
    keyd_client *c, *mine;
    struct keyd_answer *a;
    FILE *f;

    (void)state;
    snprintf(path, sizeof path, "%s/shadow.conf", keyd.dir);
    snprintf(top, sizeof top, "shadow-policy = \"%s\"", path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(shape_text(&only_lookup), f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0644), 0);
    shape_use(&keyd, admin, &watching);
    c = ask_connect(&keyd, "submission");
    for (int i = 0; i < 3; i++)
        expect(c, &watching);
    expect_shadow(3, 3, 2);
    assert_true(daemon_log_wait(&keyd,
                                "would refuse IssueUserSignet to caller-submission: 1 "
                                "times so far",
                                1000));
    assert_true(daemon_log_has(&keyd, "would allow LookupSignet to caller-submission"));
    assert_false(
        daemon_log_has(&keyd, "caller-submission: 2 times so far")); /* a minute */
    /* The same two policies: the count goes on. */
    shape_use(&keyd, admin, &watching);
    expect(c, &watching);
    expect_shadow(4, 4, 2);
    /* Other principals are no business of a front-end's. */
    mine = ask_connect(&keyd, "submission");
    a = ask(mine, &(struct keyd_request){.op = KEYD_OP_STATUS});
    assert_int_equal(a->out.status.n_shadow, 0);
    assert_int_equal(a->out.status.n_reasons, 0);
    keyd_client_answer_free(a);
    keyd_client_free(mine);
    /* Others compared: from the beginning. */
    shape_use(&keyd, admin, &both);
    a = ask(admin, &(struct keyd_request){.op = KEYD_OP_STATUS});
    assert_false(a->out.status.shadow_on);
    assert_int_equal(a->out.status.n_shadow, 0);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

/* It must not keep the service from starting, and a vault started again watches too. */
static void
a_watched_policy_comes_with_every_start(void **state)
{
    char path[160], top[256];
    const struct shape watching = {.issue = true, .net = true, .top = top};
    keyd_client *c;

    (void)state;
    snprintf(path, sizeof path, "%s/shadow.conf", keyd.dir);
    snprintf(top, sizeof top, "shadow-policy = \"%s\"", path);
    shape_use(&keyd, admin, &watching);
    assert_int_equal(kill(daemon_role(&keyd, KEYD_PROCESS_VAULT, ""), SIGKILL), 0);
    keyd_client_free(admin);
    assert_true(daemon_wait(&keyd, 20000));
    admin = connect_soon("admin");
    c = connect_soon("submission");
    expect(c, &watching);
    expect_shadow(1, 1, 2);
    keyd_client_free(c);
    keyd_client_free(admin);
    assert_int_equal(daemon_stop(&keyd), 0);
    assert_int_equal(unlink(path), 0);
    assert_true(daemon_launch(&keyd) && daemon_wait(&keyd, 20000));
    assert_true(daemon_log_has(&keyd, "is not good: nothing is watched"));
    admin = connect_soon("admin");
    shape_use(&keyd, admin, &both);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_allowed_follows_the_answer),
        cmocka_unit_test(
            a_connection_of_a_principal_that_is_gone_ends_at_its_next_request),
        cmocka_unit_test(what_is_charged_goes_along_to_another_principal),
        cmocka_unit_test(the_log_has_who_asked_and_the_digest_of_the_file),
        cmocka_unit_test(a_bad_file_leaves_the_old_one_in_force),
        cmocka_unit_test(what_needs_a_restart_is_named),
        cmocka_unit_test(a_file_that_cannot_be_read_leaves_the_old_one_in_force),
        cmocka_unit_test(a_role_that_does_not_answer_leaves_all_on_the_old_one),
        cmocka_unit_test(no_request_sees_a_mixture_under_load),
        cmocka_unit_test(domains_come_and_go_while_others_are_issued_for),
        cmocka_unit_test(a_domain_not_served_at_the_start_is_there_when_it_is),
        cmocka_unit_test(a_storm_of_signals_ends_with_the_last_file),
        cmocka_unit_test(a_reload_while_a_role_dies_is_all_or_nothing),
        cmocka_unit_test(a_role_that_is_started_again_has_the_newest),
        cmocka_unit_test(a_watched_policy_is_counted_and_decides_nothing),
        cmocka_unit_test(a_watched_policy_comes_with_every_start),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, start, stop);
}
