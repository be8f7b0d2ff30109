/* The supervisor's side of tokens' hosts without a daemon: which there are, when they
 * are started again, what the vault may want of them, and who is given a PIN file. */
#include "../support/test.h"
#include "child.h"
#include "hosts.h"
#include "links.h"

#include <keyd/base/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOMEBODY = 61234 };

struct place {
    char folder[48], program[64], pin[64], conf[2048];
    struct supervisor s;
    struct kd_chan vault; /* the vault's end of its control channel */
};
static struct place p;

static void
write_file(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static struct kd_conf *
conf_of(const char *text)
{
    static const struct kd_conf_env env = {.n_cpus = 2};
    static struct kd_conf_problems problems;
    struct kd_conf *c = NULL;

    if (kd_conf_parse(kd_slice_str(text), &env, &c, &problems) != KD_OK)
        fail_msg("%s: %s", text, problems.list[0].text);
    return c;
}

/* A process that waits to be killed. */
static pid_t
start_sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    assert_true(pid > 0);
    return pid;
}

static void
connect_child(struct child *c, struct kd_chan *other)
{
    int fds[2];

    assert_int_equal(kd_chan_pair(fds), KD_OK);
    kd_chan_init(&c->ctl, fds[0]);
    kd_chan_init(other, fds[1]);
}

static int
make_place(void **state)
{
    struct supervisor *s = &p.s;

    (void)state;
    memset(&p, 0, sizeof p);
    strcpy(p.folder, "/tmp/test_hosts.XXXXXX");
    if (mkdtemp(p.folder) == NULL)
        return -1;
    snprintf(p.program, sizeof p.program, "%s/keyd-p11", p.folder);
    snprintf(p.pin, sizeof p.pin, "%s/pin", p.folder);
    write_file(p.program, "#!/bin/false\n", 0755);
    write_file(p.pin, "1234\n", 0400);
    snprintf(p.conf, sizeof p.conf,
             "user-p11 = \"%d\"\ndomain \"example.com\" { }\n"
             "token \"alpha\" { module = \"/m.so\" label = \"a\" pin-file = \"%s\"\n"
             "  environment = { \"A=/x\", \"B=2\" } }\n"
             "token \"beta\" { module = \"/m.so\" label = \"b\" sessions = 1 user = "
             "\"%d\" group = \"77\" }\n",
             SOMEBODY, p.pin, SOMEBODY + 1);
    s->conf = s->started = conf_of(p.conf);
    s->children[0] =
        (struct child){.role = KD_ROLE_VAULT, .ctl.fd = -1, .pid = start_sleeper()};
    s->n_children = 1;
    connect_child(&s->children[0], &p.vault);
    return hosts_plan(s, p.folder) == KD_OK ? 0 : -1;
}

static int
drop_place(void **state)
{
    (void)state;
    for (unsigned i = 0; i < p.s.n_children; i++) {
        struct child *c = &p.s.children[i];
        if (c->pid > 0) {
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
        }
        kd_chan_close(&c->ctl);
    }
    kd_chan_close(&p.vault);
    kd_conf_free(p.s.conf);
    unlink(p.program);
    unlink(p.pin);
    return rmdir(p.folder);
}

static struct child *
host(unsigned number)
{
    struct child *c = child_of(&p.s, KD_ROLE_P11, number);

    assert_non_null(c);
    return c;
}

static kd_err
want(unsigned number, unsigned what)
{
    const struct kd_ctl_p11 m = {(uint8_t)number, (uint8_t)what};
    struct kd_buf b;

    kd_buf_init(&b, 64);
    kd_ctl_p11_put(&b, &m);
    kd_err err = hosts_on_want(&p.s, kd_buf_slice(&b));
    kd_buf_free(&b);
    return err;
}

/* --- the table --- */

static void
hosts_are_planned_as_configured(void **state)
{
    static const unsigned numbers[] = {0, 1, 7, 8, 15};
    static const char *const names[] = {"keyd-p11 alpha 1", "keyd-p11 alpha 2",
                                        "keyd-p11 alpha maker", "keyd-p11 beta 1",
                                        "keyd-p11 beta maker"};

    (void)state;
    assert_int_equal(p.s.n_children, 6);
    for (size_t i = 0; i < 5; i++) {
        const struct child *c = host(numbers[i]);
        bool is_alpha = numbers[i] < 8;
        assert_string_equal(c->name, names[i]);
        assert_string_equal(c->path, p.program);
        assert_true(child_is_host(c));
        assert_int_equal(host_is_wanted(&p.s, c), numbers[i] % 8 != 7);
        if (is_alpha) {
            assert_string_equal(c->environment[0], "A=/x");
            assert_string_equal(c->environment[1], "B=2");
            assert_null(c->environment[2]);
        } else {
            assert_null(c->environment[0]);
        }
        if (geteuid() != 0) {
            assert_int_equal(c->uid, geteuid());
            continue;
        }
        assert_int_equal(c->uid, is_alpha ? SOMEBODY : SOMEBODY + 1);
        assert_int_equal(c->gid, c->uid); /* it has no account */
        assert_int_equal(c->n_groups, is_alpha ? 0 : 1);
        assert_int_equal(c->group, is_alpha ? 0 : 77);
    }
}

static void
without_tokens_there_are_no_hosts(void **state)
{
    static struct supervisor s;

    (void)state;
    s.conf = s.started = conf_of("domain \"example.com\" { }\n");
    assert_int_equal(hosts_plan(&s, "/nonexistent"), KD_OK);
    assert_int_equal(s.n_children, 0);
    assert_int_equal(hosts_due(&s, 1234), 1234);
    assert_true(hosts_check(s.conf));
    hosts_end(&s);
    kd_conf_free(s.conf);
}

static void
a_program_that_is_missing_is_told(void **state)
{
    static struct supervisor s;

    (void)state;
    s.conf = p.s.conf;
    assert_int_equal(hosts_plan(&s, "/nonexistent"), KD_NOT_FOUND);
}

/* --- life --- */

static int
exited(int status)
{
    return status << 8;
}

static void
end(struct child *c, int status)
{
    c->pid = 0;
    host_ended(&p.s, c, status);
}

static bool
starts_in(const struct child *c, int64_t ms)
{
    int64_t in = c->start_at - kd_clock_ms();

    return in <= ms && in > ms - 100;
}

static void
one_that_keeps_ending_waits_a_second_at_most(void **state)
{
    static const int64_t waits[] = {0,    0,    250,  500,  1000, 1000, 1000, 1000,
                                    1000, 1000, 1000, 1000, 1000, 1000, 1000};
    static const int statuses[] = {SIGSEGV, 1 << 8, 127 << 8, SIGSYS, 3 << 8};

    (void)state;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        end(host(0), statuses[i % 5]);
        assert_true(starts_in(host(0), waits[i]));
    }
    assert_false(p.s.is_stopping);
    assert_int_equal(p.s.exit_status, 0);
    end(host(1), SIGSEGV); /* each counts for itself */
    assert_true(starts_in(host(1), 0));
}

static void
one_that_was_recycled_or_killed_from_outside_comes_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        host(0)->started_at = kd_clock_ms() - (i % 2 == 0 ? 0 : 2000);
        end(host(0), i % 2 == 0 ? SIGKILL : exited(0));
        assert_true(starts_in(host(0), 0));
    }
}

static void
one_that_ends_at_once_in_order_does_not_spin(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) { /* let go, as the vault does now and then */
        host(0)->started_at = kd_clock_ms();
        end(host(0), exited(0));
        assert_true(starts_in(host(0), 0));
    }
    for (int i = 0; i < 5; i++) {
        host(0)->started_at = kd_clock_ms();
        end(host(0), exited(0));
    }
    assert_true(starts_in(host(0), 1000));
}

static void
what_the_vault_ends_counts_as_a_crash(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        host(0)->is_ended_by_us = true;
        end(host(0), SIGKILL);
    }
    assert_true(starts_in(host(0), 1000));
    assert_int_equal(want(0, KD_P11_START), KD_OK); /* unless it wants it */
    assert_true(host(0)->start_at <= kd_clock_ms());
}

static bool
is_killed(struct child *c)
{
    int status;
    pid_t pid = c->pid;

    c->pid = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void
hosts_end_with_the_vault_but_for_one_that_writes(void **state)
{
    struct child *maker = host(7);

    (void)state;
    host(0)->pid = start_sleeper();
    host(8)->pid = start_sleeper();
    maker->pid = start_sleeper();
    hosts_end(&p.s);
    assert_true(is_killed(host(0)));
    assert_true(is_killed(host(8)));
    assert_int_equal(kill(maker->pid, 0), 0);
    assert_int_equal(waitpid(maker->pid, NULL, WNOHANG), 0);
    int wait = hosts_due(&p.s, 100000);
    assert_true(wait > 50000 && wait <= 60000);
    maker->kill_at = kd_clock_ms() - 1; /* it does not end */
    hosts_due(&p.s, 100000);
    assert_true(is_killed(maker));
}

static void
nothing_is_started_without_a_vault(void **state)
{
    pid_t pid = p.s.children[0].pid;

    (void)state;
    p.s.children[0].pid = 0;
    assert_int_equal(want(7, KD_P11_MAKE), KD_OK);
    assert_false(host_is_wanted(&p.s, host(0)));
    assert_false(host_is_wanted(&p.s, host(7)));
    p.s.children[0].pid = pid;
    assert_true(host_is_wanted(&p.s, host(0)));
}

/* --- what the vault wants --- */

static void
the_one_that_makes_keys_starts_when_it_is_wanted(void **state)
{
    (void)state;
    assert_int_equal(want(0, KD_P11_MAKE), KD_OK);
    assert_false(host_is_wanted(&p.s, host(7)));
    assert_int_equal(want(7, KD_P11_START), KD_OK);
    assert_false(host_is_wanted(&p.s, host(7)));
    assert_int_equal(want(7, KD_P11_MAKE), KD_OK);
    assert_true(host_is_wanted(&p.s, host(7)));
    host(7)->pid = start_sleeper();
    host_link(&p.s, host(7));
    kill(host(7)->pid, SIGKILL);
    waitpid(host(7)->pid, NULL, 0);
    end(host(7), exited(0));
    assert_false(host_is_wanted(&p.s, host(7))); /* once */
}

static void
a_host_is_killed_when_the_vault_wants_it(void **state)
{
    (void)state;
    host(1)->pid = start_sleeper();
    assert_int_equal(want(1, KD_P11_KILL), KD_OK);
    assert_true(host(1)->is_ended_by_us);
    assert_true(is_killed(host(1)));
    assert_int_equal(want(1, KD_P11_KILL), KD_OK); /* nobody there: nobody else */
    assert_int_equal(waitpid(p.s.children[0].pid, NULL, WNOHANG), 0);
}

static void
a_vault_that_talks_nonsense_is_found_out(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 256; n++) {
        bool is_there = n == 0 || n == 1 || n == 7 || n == 8 || n == 15;
        assert_int_equal(want(n, KD_P11_KILL), is_there ? KD_OK : KD_MALFORMED);
    }
    for (unsigned what = KD_P11_WANTS; what < 256; what++)
        assert_int_equal(want(0, what), KD_MALFORMED);
    assert_int_equal(hosts_on_want(&p.s, kd_slice("\0", 1)), KD_MALFORMED);
    assert_int_equal(hosts_on_want(&p.s, kd_slice("\0\0\0", 3)), KD_MALFORMED);
}

/* --- the PIN --- */

static void
only_a_good_pin_file_is_opened(void **state)
{
    char text[300], link[64];
    int fd;

    (void)state;
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_OK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    static const mode_t bad[] = {0644, 0640, 0404, 0440, 0410, 0401, 0420, 0402};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(p.pin, "1234", bad[i]);
        assert_int_equal(hosts_open_pin(p.pin, &fd), KD_DENIED);
    }
    write_file(p.pin, "1234", 0600);
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_OK);
    close(fd);
    snprintf(link, sizeof link, "%s/link", p.folder);
    assert_int_equal(symlink(p.pin, link), 0);
    assert_int_equal(hosts_open_pin(link, &fd), KD_DENIED);
    unlink(link);
    assert_int_equal(hosts_open_pin(link, &fd), KD_NOT_FOUND);
    assert_int_equal(hosts_open_pin(p.folder, &fd), KD_INVALID);
    assert_int_equal(mkfifo(link, 0400), 0);
    assert_int_equal(hosts_open_pin(link, &fd), KD_INVALID); /* nobody waits */
    unlink(link);
    write_file(p.pin, "", 0400);
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_INVALID);
    memset(text, '1', sizeof text);
    text[256] = '\0';
    write_file(p.pin, text, 0400);
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_OK);
    close(fd);
    text[256] = '1';
    text[257] = '\0';
    write_file(p.pin, text, 0400);
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_INVALID);
    if (geteuid() != 0)
        return;
    write_file(p.pin, "1234", 0400);
    assert_int_equal(chown(p.pin, SOMEBODY, 0), 0);
    assert_int_equal(hosts_open_pin(p.pin, &fd), KD_DENIED);
}

struct got {
    unsigned n_pins, n_refused, n_links;
    struct kd_ctl_link link;
    struct kd_ctl_no_pin no_pin;
    int fd; /* of the last link */
};

static kd_err
on_message(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct got *got = ctx;

    if (type == KD_MSG_ctl_no_pin) {
        assert_int_equal(kd_ctl_no_pin_get(body, &got->no_pin), KD_OK);
        assert_int_equal(fd, -1);
        got->n_refused++;
        return KD_OK;
    }
    assert_int_equal(type, KD_MSG_ctl_link);
    assert_int_equal(kd_ctl_link_get(body, &got->link), KD_OK);
    assert_true(fd >= 0);
    got->n_pins += got->link.link == KD_LINK_PIN;
    got->n_links += got->link.link == KD_LINK_P11;
    if (got->fd >= 0)
        close(got->fd);
    got->fd = fd;
    return KD_OK;
}

/* What lies at the other end of one of our channels. */
static struct got
receive(struct child *from, struct kd_chan *to)
{
    struct got got = {.fd = -1};
    kd_err err = KD_OK;

    while (err == KD_OK && kd_chan_pending(&from->ctl)) {
        assert_int_equal(kd_chan_flush(&from->ctl), KD_OK);
        err = kd_chan_recv(to, 100, on_message, &got);
    }
    assert_int_equal(err, KD_OK);
    return got;
}

static void
the_pin_file_is_opened_anew_for_each(void **state)
{
    static const char *const pins[] = {"1234\n", "5678", "1234\n"};
    struct kd_chan other;
    char text[16];

    (void)state;
    host(1)->pid = start_sleeper();
    connect_child(host(1), &other);
    for (size_t i = 0; i < 3; i++) {
        write_file(p.pin, pins[i], 0400);
        assert_int_equal(want(1, KD_P11_PIN), KD_OK);
        struct got got = receive(host(1), &other);
        assert_int_equal(got.n_pins, 1);
        assert_int_equal(got.link.gate, 1);
        ssize_t n = read(got.fd, text, sizeof text);
        assert_int_equal(n, strlen(pins[i]));
        assert_memory_equal(text, pins[i], strlen(pins[i]));
        assert_int_equal(fcntl(got.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        close(got.fd);
        assert_false(kd_chan_pending(&p.s.children[0].ctl));
    }
    kd_chan_close(&other);
}

static void
the_vault_hears_of_a_pin_file_that_cannot_be_had(void **state)
{
    struct kd_chan other;
    struct got got;

    (void)state;
    host(0)->pid = start_sleeper();
    connect_child(host(0), &other);
    unlink(p.pin);
    assert_int_equal(want(0, KD_P11_PIN), KD_OK);
    got = receive(&p.s.children[0], &p.vault);
    assert_int_equal(got.n_refused, 1);
    assert_int_equal(got.no_pin.host, 0);
    assert_int_equal(got.no_pin.err, KD_NOT_FOUND);
    write_file(p.pin, "1234", 0644);
    assert_int_equal(want(0, KD_P11_PIN), KD_OK);
    got = receive(&p.s.children[0], &p.vault);
    assert_int_equal(got.no_pin.err, KD_DENIED);
    assert_int_equal(want(8, KD_P11_PIN), KD_OK); /* beta has none */
    got = receive(&p.s.children[0], &p.vault);
    assert_int_equal(got.no_pin.host, 8);
    assert_int_equal(got.no_pin.err, KD_NOT_FOUND);
    write_file(p.pin, "1234", 0400);
    assert_int_equal(want(1, KD_P11_PIN), KD_OK); /* it does not run */
    got = receive(&p.s.children[0], &p.vault);
    assert_int_equal(got.no_pin.host, 1);
    assert_int_equal(got.no_pin.err, KD_UNAVAILABLE);
    assert_false(kd_chan_pending(&host(0)->ctl));
    kd_chan_close(&other);
}

static void
a_vault_that_asks_without_end_is_answered_at_a_rate(void **state)
{
    struct got got;

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(want(8, KD_P11_PIN), KD_OK);
    got = receive(&p.s.children[0], &p.vault);
    assert_in_range(got.n_refused, 120, 130);
    assert_int_equal(want(0, KD_P11_PIN), KD_OK); /* another token's */
    got = receive(&p.s.children[0], &p.vault);
    assert_int_equal(got.n_refused, 1);
    /* Each new process has its PIN nevertheless, once. */
    host(8)->pid = start_sleeper();
    for (int i = 0; i < 10; i++) {
        host(8)->has_asked = false;
        for (int k = 0; k < 5; k++)
            assert_int_equal(want(8, KD_P11_PIN), KD_OK);
        got = receive(&p.s.children[0], &p.vault);
        assert_int_equal(got.n_refused, 1); /* beta has no PIN file */
    }
    assert_int_equal(want(8, KD_P11_KILL), KD_OK); /* and ending is never refused */
    assert_true(is_killed(host(8)));
}

static void
vault_and_host_get_the_ends_of_one_channel(void **state)
{
    struct kd_chan other;
    char text[8];

    (void)state;
    host(8)->pid = start_sleeper();
    connect_child(host(8), &other);
    links_make(&p.s, host(8));
    struct got a = receive(&p.s.children[0], &p.vault), b = receive(host(8), &other);
    assert_int_equal(a.n_links, 1);
    assert_int_equal(b.n_links, 1);
    assert_int_equal(a.link.gate, 8);
    assert_int_equal(b.link.gate, 8);
    assert_int_equal(write(a.fd, "ping", 4), 4);
    assert_int_equal(read(b.fd, text, sizeof text), 4);
    close(a.fd);
    assert_int_equal(read(b.fd, text, sizeof text), 0);
    close(b.fd);
    kd_chan_close(&other);
}

static void
files_that_are_wrong_are_told(void **state)
{
    (void)state;
    assert_false(hosts_check(p.s.conf)); /* there is no /m.so */
}

int
main(void)
{
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)
    const struct CMUnitTest tests[] = {
        IN_PLACE(hosts_are_planned_as_configured),
        IN_PLACE(without_tokens_there_are_no_hosts),
        IN_PLACE(a_program_that_is_missing_is_told),
        IN_PLACE(one_that_keeps_ending_waits_a_second_at_most),
        IN_PLACE(one_that_was_recycled_or_killed_from_outside_comes_at_once),
        IN_PLACE(one_that_ends_at_once_in_order_does_not_spin),
        IN_PLACE(what_the_vault_ends_counts_as_a_crash),
        IN_PLACE(hosts_end_with_the_vault_but_for_one_that_writes),
        IN_PLACE(nothing_is_started_without_a_vault),
        IN_PLACE(the_one_that_makes_keys_starts_when_it_is_wanted),
        IN_PLACE(a_host_is_killed_when_the_vault_wants_it),
        IN_PLACE(a_vault_that_talks_nonsense_is_found_out),
        IN_PLACE(only_a_good_pin_file_is_opened),
        IN_PLACE(the_pin_file_is_opened_anew_for_each),
        IN_PLACE(the_vault_hears_of_a_pin_file_that_cannot_be_had),
        IN_PLACE(a_vault_that_asks_without_end_is_answered_at_a_rate),
        IN_PLACE(vault_and_host_get_the_ends_of_one_channel),
        IN_PLACE(files_that_are_wrong_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
