/* Abuse of a listener by one of its principals while another of the same class works:
 * as many connections as there may be (ten thousand, over TLS two thousand) that are
 * idle, silent, half closed, never read, speak an octet a second or nonsense, come and
 * go as fast as they can, or do not end their handshake. The other one's requests go
 * well (99.9 %) and soon (p99 is printed; at most 50 ms is the goal), all roles
 * together stay below 256 MiB, nobody is restarted, and five seconds later it is as
 * before.
 *
 * What the abuser does is a way of using links, how a link is made a transport
 * (abuse.h). */
#include "abuse.h"
#include "ask.h"
#include "people.h"
#include "scale.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>
#include <keyd/base/secret.h>

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINKS_MOST = 10000,
    MEMORY_KIB = 256 * 1024,
    P99_MS = 50,
    ALONE_MS = 500,
    WAITS_US = 1000 * 1000,
    RECOVERY_MS = 5000,
    CALLS_MOST = 400000,
    MADE_LEAST = 300,
    LARGE = 30000 /* octets of a signet that is looked up */
};

static struct daemon keyd;
static struct tls_place place;
static struct identity abuser;
static char mx1[160], mx1_key[160];

/* --- the roles --- */

struct roles {
    struct daemon_child list[DAEMON_CHILDREN_MAX];
    size_t n;
};

static struct roles
roles_now(void)
{
    struct roles r;

    r.n = daemon_children(&keyd, r.list, DAEMON_CHILDREN_MAX);
    return r;
}

static size_t
resident_kib(const struct roles *r)
{
    size_t sum = 0;

    for (size_t i = 0; i <= r->n; i++) {
        char path[64];
        unsigned long size = 0, rss = 0;
        snprintf(path, sizeof path, "/proc/%d/statm",
                 (int)(i == r->n ? keyd.pid : r->list[i].pid));
        FILE *f = fopen(path, "re");
        if (f != NULL && fscanf(f, "%lu %lu", &size, &rss) == 2)
            sum += rss * 4;
        if (f != NULL)
            fclose(f);
    }
    return sum;
}

static size_t
descriptors(const struct roles *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/fd", (int)r->list[i].pid);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
            n += e->d_name[0] != '.';
        if (dir != NULL)
            closedir(dir);
    }
    return n;
}

static bool
same_roles(const struct roles *a, const struct roles *b)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            n += a->list[i].pid == b->list[k].pid;
    return n == a->n && a->n == b->n;
}

/* --- the honest one --- */

struct honest {
    keyd_client *c;
    uint64_t n, n_bad;
    size_t n_us;
    enum keyd_status last_bad;
};

static uint32_t call_us[CALLS_MOST];
static unsigned n_person;

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static enum keyd_status
issue(keyd_client *c)
{
    struct person_keys own;
    struct keyd_answer *a = NULL;
    char address[64];
    struct kd_buf ssr;

    person_keys("abuse", n_person, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    snprintf(address, sizeof address, "honest%u@example.com", n_person++);
    const struct keyd_request q = {
        .op = KEYD_OP_ISSUE_USER_SIGNET,
        .in.issue_user_signet = {.address = KEYD_STR(address),
                                 .ssr = {ssr.p, ssr.n},
                                 .account_mode = KEYD_ACCOUNT_TRUSTFUL}};
    int64_t began = kd_clock_ns();
    enum keyd_status s = keyd_client_call(c, &q, &a);
    call_us[0] = (uint32_t)((kd_clock_ns() - began) / 1000);
    keyd_client_answer_free(a);
    kd_buf_free(&ssr);
    return s;
}

static enum keyd_status
look_up(keyd_client *c)
{
    struct keyd_answer *a = NULL;
    int64_t began = kd_clock_ns();
    enum keyd_status s =
        keyd_client_lookup_signet(c, KEYD_STR("example.com"), KEYD_NONE, &a);

    call_us[0] = (uint32_t)((kd_clock_ns() - began) / 1000);
    keyd_client_answer_free(a);
    return s;
}

static enum keyd_status
connect_to(keyd_client *c, const struct transport *t)
{
    const struct keyd_tls tls = {
        .certificate = mx1, .key = mx1_key, .ca = place.ca, .server_name = "localhost"};
    char path[108];

    if (t == &unix_transport) {
        daemon_socket(&keyd, "submission", path);
        return keyd_client_connect(c, path, 5000);
    }
    snprintf(path, sizeof path, "tls:127.0.0.1:%u", place.port);
    const struct keyd_endpoint e = {.address = path, .tls = &tls};
    enum keyd_status s = keyd_client_add_endpoint(c, &e);
    return s == KEYD_OK ? keyd_client_set_deadline(c, 5000) : s;
}

/* Connects, or goes on with what it has; a connection is made anew every 50 calls. Over
 * TLS the first of these calls makes it, and that is of its time. */
static enum keyd_status
connect_honestly(struct honest *h, const struct transport *t)
{
    if (h->c != NULL && h->n % 50 != 0)
        return KEYD_OK;
    keyd_client_free(h->c);
    h->c = keyd_client_new();
    assert_non_null(h->c);
    enum keyd_status s = connect_to(h->c, t);
    if (s == KEYD_OK)
        return s;
    keyd_client_free(h->c);
    h->c = NULL;
    return s;
}

/* Works for so long; times of calls are added to call_us. */
static void
work(struct honest *h, const struct transport *t, int64_t ms, const struct roles *r,
     size_t *most_kib)
{
    int64_t until = kd_clock_ms() + ms;

    while (kd_clock_ms() < until && h->n_us < CALLS_MOST - 1) {
        enum keyd_status s = connect_honestly(h, t);
        if (s == KEYD_OK)
            s = h->n % 4 == 0 ? issue(h->c) : look_up(h->c);
        if (s == KEYD_OK) {
            h->n_us++;
            call_us[h->n_us] = call_us[0];
        } else {
            h->n_bad++;
            h->last_bad = s;
        }
        h->n++;
        if (h->n % 20 == 0) {
            size_t kib = resident_kib(r);
            *most_kib = kib > *most_kib ? kib : *most_kib;
        }
        kd_ignore(poll(NULL, 0, 2)); /* about 300 calls a second */
    }
}

static uint32_t
p99_us(struct honest *h)
{
    qsort(call_us + 1, h->n_us, sizeof *call_us, by_value);
    return h->n_us == 0 ? UINT32_MAX : call_us[1 + h->n_us * 99 / 100];
}

/* Without any abuse. */
static uint32_t
alone_p99_us(const struct transport *t, const struct roles *r)
{
    struct honest alone = {0};
    size_t most_kib = 0;

    work(&alone, t, ALONE_MS, r, &most_kib);
    keyd_client_free(alone.c);
    assert_int_equal(alone.n_bad, 0);
    return p99_us(&alone);
}

/* How long it takes until a new client is served and nothing is left of the abuse; -1:
 * too long. */
static int64_t
recover(const struct transport *t, size_t had)
{
    int64_t ended = kd_clock_ms();

    while (kd_clock_ms() - ended < 2 * RECOVERY_MS) {
        keyd_client *c = keyd_client_new();
        assert_non_null(c);
        bool served = connect_to(c, t) == KEYD_OK && look_up(c) == KEYD_OK;
        keyd_client_free(c);
        struct roles now = roles_now();
        if (served && descriptors(&now) <= had + 2)
            return kd_clock_ms() - ended;
    }
    return -1;
}

static pid_t
start_abuser(const struct way *w, const struct transport *t, struct abuse_count *count)
{
    pid_t parent = getpid();

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_abuser(w, t, parent, count);
    assert_true(pid > 0); /* it is killed later, and -1 is everybody */
    return pid;
}

/* The honest client's p99 in microseconds. */
static uint32_t
abuse_once(const struct way *w, const struct transport *t)
{
    struct roles before = roles_now(), after;
    size_t most_kib = 0, had = descriptors(&before);
    struct honest beside = {0};
    int64_t ms =
        (test_scale() >= TEST_SCALE_WHOLE ? 2500 : 1500) * (int64_t)test_scale();
    struct abuse_count *links = mmap(NULL, sizeof *links, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(links != MAP_FAILED);
    uint32_t alone_us = alone_p99_us(t, &before);
    pid_t pid = start_abuser(w, t, links);
    most_kib = 0;
    work(&beside, t, ms, &before, &most_kib); /* from its first connection on */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    int64_t took = recover(t, had);
    keyd_client_free(beside.c);
    uint32_t us = p99_us(&beside);
    after = roles_now();
    print_message(
        "%s, %s: %zu links, %zu up, %zu made; honest: %llu calls, %llu failed, p99 %u "
        "us (alone %u us), goal 50 ms: %s; %zu MiB; as before after %lld ms\n",
        t->name, w->name, (size_t)links->open, (size_t)links->up, (size_t)links->made,
        (unsigned long long)beside.n, (unsigned long long)beside.n_bad, us, alone_us,
        us <= P99_MS * 1000 ? "met" : "MISSED", most_kib / 1024, (long long)took);
    assert_true(links->made >= MADE_LEAST); /* it was abused */
    munmap(links, sizeof *links);
    if (beside.n_bad * 1000 > beside.n)
        fail_msg("%llu of %llu failed, the last: %s", (unsigned long long)beside.n_bad,
                 (unsigned long long)beside.n,
                 keyd_client_status_text(beside.last_bad));
    assert_true(same_roles(&before, &after));
    assert_true(most_kib <= MEMORY_KIB);
    assert_true(took >= 0 && took <= RECOVERY_MS);
    return us;
}

/* The goal is printed: how soon 50 ms are over is the machine's business as well, which
 * others use. Who has to wait for a second waits for the abuser; or for one lost
 * packet, of a hundred calls the hundredth, which does not happen three times. */
static void
abuse(const struct way *w, const struct transport *t)
{
    uint32_t us = abuse_once(w, t);

    for (int again = 0; again < 2 && us > WAITS_US; again++)
        us = abuse_once(w, t);
    assert_true(us <= WAITS_US);
}

static void
abuse_by(const char *name, unsigned on)
{
    static const struct transport *const transports[] = {
        &unix_transport, &tls_transport, &tcp_transport, &steps_transport};
    const struct way *w = way_find(name);
    unsigned n = 0;

    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
        if ((w->on & on & transports[i]->bit) != 0) {
            abuse(w, transports[i]);
            n++;
        }
    assert_true(n > 0);
}

#define ABUSE(function, name)                                                          \
    static void function##_leave_room_for_others(void **state)                         \
    {                                                                                  \
        (void)state;                                                                   \
        abuse_by(name, ON_UNIX);                                                       \
    }                                                                                  \
    static void function##_over_tls_leave_room_for_others(void **state)                \
    {                                                                                  \
        (void)state;                                                                   \
        abuse_by(name, ON_TLS | ON_TCP);                                               \
    }
#define ABUSE_HANDSHAKE(function, name)                                                \
    static void function##_leave_room_for_others(void **state)                         \
    {                                                                                  \
        (void)state;                                                                   \
        abuse_by(name, ON_TCP | ON_STEPS);                                             \
    }
ABUSE(idle_connections, "idle after Hello")
ABUSE(silent_connections, "silent before Hello")
ABUSE(half_closed_connections, "half closed")
ABUSE(those_who_never_read, "never reading")
ABUSE(those_who_send_an_octet_a_second, "an octet a second")
ABUSE(half_frames, "half a large frame")
ABUSE(those_who_speak_nonsense, "nonsense")
ABUSE(those_who_come_and_go, "coming and going")
ABUSE_HANDSHAKE(those_who_begin_no_handshake, "no handshake")
ABUSE_HANDSHAKE(handshakes_left_unfinished, "handshakes left unfinished")
ABUSE_HANDSHAKE(handshakes_aborted, "handshakes aborted")

/* --- start and end --- */

/* A signet so large that answers fill queues soon. */
static void
issue_large(void)
{
    static uint8_t octets[LARGE];
    struct person_keys own;
    struct kd_buf ssr;
    keyd_client *c = ask_connect(&keyd, "submission");
    const struct keyd_profile_field profile[] = {
        {.type = 251, .name = KEYD_STR("x"), .value = {octets, sizeof octets}}};

    memset(octets, 'x', sizeof octets);
    person_keys("large", 0, 0, &own);
    kd_buf_init(&ssr, PERSON_SSR_MAX);
    assert_int_equal(person_ssr(&own, NULL, &ssr), KD_OK);
    const struct ask_issue in = {.address = "large@example.com",
                                 .ssr = kd_buf_slice(&ssr),
                                 .profile = profile,
                                 .n_profile = 1};
    ask_ends(ask_issue(c, &in), KEYD_OK, NULL);
    kd_buf_free(&ssr);
    keyd_client_free(c);
}

static void
make_certificates(void)
{
    const struct identity *list[] = {&place.mx1};

    snprintf(mx1, sizeof mx1, "%s/mx1.pem", keyd.dir);
    snprintf(mx1_key, sizeof mx1_key, "%s/mx1.key", keyd.dir);
    certs_write(mx1, list, 1);
    key_write(mx1_key, &place.mx1);
    identity_make(&abuser, &(struct cert_spec){.issuer = &place.root,
                                               .san = "DNS:abuser.example.com"});
}

static int
set_up(void **state)
{
    const struct rlimit files = {LINKS_MOST + 512, LINKS_MOST + 512};
    struct rlimit had;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: needs another user for the abuser\n");
        exit(77);
    }
    if (getrlimit(RLIMIT_NOFILE, &had) != 0 ||
        (had.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) != 0)) {
        print_message("skipped: too few descriptors\n");
        exit(77);
    }
    /* What else runs here should count little; without the right to, it counts. */
    kd_ignore(setpriority(PRIO_PROCESS, 0, -15));
    tls_place_make(&place, NULL);
    const struct daemon_options options = {
        .top = place.top,
        .sections = "principal \"abuser\" {\n class = \"tls\"\n"
                    " san = \"abuser.example.com\"\n"
                    " operations = { \"LookupSignet\" }\n"
                    " domains = { \"example.com\" }\n}\n"};
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, &options) ||
        !daemon_provision(&keyd, NULL))
        return -1;
    make_certificates();
    ways_setup();
    unix_abuse_setup(&keyd);
    tls_abuse_setup(&place, &abuser);
    issue_large();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    ways_clear();
    tls_abuse_clear();
    identity_clear(&abuser);
    remove(mx1);
    remove(mx1_key);
    assert_int_equal(daemon_stop(&keyd), 0);
    daemon_clear(&keyd);
    tls_place_clear(&place);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_leave_room_for_others),
        cmocka_unit_test(silent_connections_leave_room_for_others),
        cmocka_unit_test(half_closed_connections_leave_room_for_others),
        cmocka_unit_test(those_who_never_read_leave_room_for_others),
        cmocka_unit_test(those_who_send_an_octet_a_second_leave_room_for_others),
        cmocka_unit_test(half_frames_leave_room_for_others),
        cmocka_unit_test(those_who_speak_nonsense_leave_room_for_others),
        cmocka_unit_test(those_who_come_and_go_leave_room_for_others),
        cmocka_unit_test(idle_connections_over_tls_leave_room_for_others),
        cmocka_unit_test(silent_connections_over_tls_leave_room_for_others),
        cmocka_unit_test(half_closed_connections_over_tls_leave_room_for_others),
        cmocka_unit_test(those_who_never_read_over_tls_leave_room_for_others),
        cmocka_unit_test(
            those_who_send_an_octet_a_second_over_tls_leave_room_for_others),
        cmocka_unit_test(half_frames_over_tls_leave_room_for_others),
        cmocka_unit_test(those_who_speak_nonsense_over_tls_leave_room_for_others),
        cmocka_unit_test(those_who_come_and_go_over_tls_leave_room_for_others),
        cmocka_unit_test(those_who_begin_no_handshake_leave_room_for_others),
        cmocka_unit_test(handshakes_left_unfinished_leave_room_for_others),
        cmocka_unit_test(handshakes_aborted_leave_room_for_others),
    };

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* of one test, * and ? allowed */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
