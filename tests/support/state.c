#include "state.h"

#include "people.h"
#include "shell.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/ledger/outside.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* For what must come, on however busy a machine. */
enum { WAIT_MS = 60000, REASON_MS = 20000, NAP_MS = 5 };

/* --- life --- */

void
storage_prepare(struct storage *s, const char *more, const char *state)
{
    const char *base = getenv("TMPDIR");

    *s = (struct storage){0};
    if (base == NULL || strlen(base) > 30)
        base = "/tmp";
    snprintf(s->outside, sizeof s->outside, "%s/keyd-outside-XXXXXX", base);
    assert_non_null(mkdtemp(s->outside));
    if (geteuid() == 0)
        assert_int_equal(chown(s->outside, DAEMON_LEDGER, DAEMON_GROUP), 0);
    snprintf(s->checkpoint, sizeof s->checkpoint, "%s/checkpoint", s->outside);
    snprintf(s->top, sizeof s->top, "checkpoint-file = \"%s\"\n%s", s->checkpoint,
             more == NULL ? "" : more);
    const struct daemon_options o = {.top = s->top, .state = state};
    assert_true(daemon_prepare(&s->d, &o));
    s->d.options.top = s->top;
}

void
storage_start(struct storage *s, const char *more)
{
    storage_prepare(s, more, NULL);
    assert_true(daemon_launch(&s->d) && daemon_wait(&s->d, WAIT_MS) &&
                daemon_provision(&s->d, NULL));
}

void
storage_clear(struct storage *s)
{
    daemon_clear(&s->d);
    if (getenv("KEYD_TEST_KEEP") == NULL && s->outside[0] != '\0')
        shell("rm -rf '%s'", s->outside);
    *s = (struct storage){0};
}

void
storage_stop(struct storage *s)
{
    assert_int_equal(daemon_stop(&s->d), 0);
}

/* example.net is served and has no signet: that is no matter of storage. */
static bool
is_of_storage(struct keyd_octets reason)
{
    return !kd_slice_eq(ask_slice(reason), kd_slice_str("org-signet-missing"));
}

static enum keyd_service_state
state_of(const struct keyd_answer *a)
{
    if (a->out.status.state != KEYD_STATE_DEGRADED)
        return a->out.status.state;
    for (size_t i = 0; i < a->out.status.n_reasons; i++)
        if (is_of_storage(a->out.status.reasons[i]))
            return KEYD_STATE_DEGRADED;
    return KEYD_STATE_OPERATIONAL;
}

enum keyd_service_state
storage_state(const struct storage *s)
{
    char path[108];
    struct keyd_answer *a = NULL;
    keyd_client *c = keyd_client_new();
    enum keyd_service_state is = KEYD_STATE_STARTING;

    daemon_socket(&s->d, "admin", path);
    if (c != NULL && keyd_client_connect(c, path, 1000) == KEYD_OK &&
        keyd_client_status(c, &a) == KEYD_OK)
        is = state_of(a);
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return is;
}

void
storage_wait(struct storage *s, enum keyd_service_state want, int timeout_ms)
{
    int64_t until = kd_clock_ms() + timeout_ms;

    while (storage_state(s) != want) {
        if (kd_clock_ms() > until)
            fail_msg("in state %d, not %d, see %s", (int)storage_state(s), (int)want,
                     s->d.log);
        kd_ignore(poll(NULL, 0, NAP_MS)); /* between two looks */
    }
}

void
storage_launch(struct storage *s, enum keyd_service_state want)
{
    assert_true(daemon_launch(&s->d));
    storage_wait(s, want, WAIT_MS);
}

static bool
reason_is(const struct storage *s, const char *reason)
{
    keyd_client *c = ask_connect(&s->d, "admin");
    struct keyd_answer *a = ask(c, &(struct keyd_request){.op = KEYD_OP_STATUS});

    assert_int_equal(a->status, KEYD_OK);
    bool is = *reason == '\0' && state_of(a) == KEYD_STATE_OPERATIONAL;
    for (size_t i = 0; i < a->out.status.n_reasons; i++)
        is = is ||
             kd_slice_eq(ask_slice(a->out.status.reasons[i]), kd_slice_str(reason));
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return is;
}

void
storage_reason(const struct storage *s, const char *reason)
{
    int64_t until = kd_clock_ms() + REASON_MS;

    while (!reason_is(s, reason)) {
        if (kd_clock_ms() > until)
            fail_msg("\"%s\" is not the reason, see %s", reason, s->d.log);
        kd_ignore(poll(NULL, 0, NAP_MS)); /* between two looks */
    }
}

/* --- work --- */

static void
issue_on(keyd_client *c, uint64_t person, enum keyd_status status, const char *detail)
{
    char address[64];
    struct kd_buf b;

    person_request("storage", person, &b);
    snprintf(address, sizeof address, "p%u@example.com", (unsigned)person);
    ask_issue_ends(c, address, kd_buf_slice(&b), status, detail);
    kd_buf_free(&b);
}

void
storage_issue(const struct storage *s, uint64_t person, enum keyd_status status,
              const char *detail)
{
    keyd_client *c = ask_connect(&s->d, "submission");

    issue_on(c, person, status, detail);
    keyd_client_free(c);
}

void
storage_issue_many(const struct storage *s, uint64_t from, uint64_t n)
{
    keyd_client *c = ask_connect(&s->d, "submission");

    for (uint64_t i = from; i < from + n; i++)
        issue_on(c, i, KEYD_OK, NULL);
    keyd_client_free(c);
}

void
storage_look(const struct storage *s, uint64_t person, enum keyd_status status)
{
    keyd_client *c = ask_connect(&s->d, "mta");
    struct keyd_answer *a = NULL;
    char address[64];

    snprintf(address, sizeof address, "p%u@example.com", (unsigned)person);
    assert_int_equal(keyd_client_lookup_signet(c, KEYD_STR(address), KEYD_NONE, &a),
                     status);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

/* --- copies --- */

void
storage_keep(const struct storage *s, const char *name, bool with_outside)
{
    shell("rm -rf '%s/%s' && cp -a '%s' '%s/%s'", s->d.dir, name, s->d.state, s->d.dir,
          name);
    if (with_outside)
        shell("rm -rf '%s/%s.outside' && cp -a '%s' '%s/%s.outside'", s->d.dir, name,
              s->outside, s->d.dir, name);
}

void
storage_put_back(struct storage *s, const char *name, bool with_outside)
{
    if (s->d.pid != 0) /* a test that failed left it */
        daemon_kill(&s->d);
    shell("rm -rf '%s' && cp -a '%s/%s' '%s'", s->d.state, s->d.dir, name, s->d.state);
    if (with_outside)
        shell("rm -f '%s'/* && cp -a '%s/%s.outside/.' '%s'", s->outside, s->d.dir,
              name, s->outside);
}

void
storage_head(const struct storage *s, struct storage_head *out)
{
    keyd_client *c = ask_connect(&s->d, "admin");
    struct keyd_answer *a = ask(c, &(struct keyd_request){.op = KEYD_OP_AUDIT_HEAD});
    int64_t until = kd_clock_ms() + WAIT_MS;

    while (a->status == KEYD_UNAVAILABLE && kd_clock_ms() < until) {
        keyd_client_answer_free(a); /* a ledger that was killed is on its way back */
        kd_ignore(poll(NULL, 0, NAP_MS));
        a = ask(c, &(struct keyd_request){.op = KEYD_OP_AUDIT_HEAD});
    }
    assert_int_equal(a->status, KEYD_OK);
    *out = (struct storage_head){.seq = a->out.audit_head.seq,
                                 .epoch = a->out.audit_head.epoch,
                                 .first = a->out.audit_head.first_seq};
    if (a->out.audit_head.record_hash.n == sizeof out->hash)
        memcpy(out->hash, a->out.audit_head.record_hash.p, sizeof out->hash);
    keyd_client_answer_free(a);
    keyd_client_free(c);
}

void
storage_outside(const struct storage *s)
{
    struct storage_head head;
    struct kd_outside known = {0};
    int64_t until = kd_clock_ms() + WAIT_MS;
    int dir = open(s->outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(dir >= 0);
    storage_head(s, &head);
    while (kd_outside_read(dir, "checkpoint", &known) != KD_OK || !known.has_head ||
           known.head.seq < head.seq) {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, NAP_MS)); /* between two looks */
    }
    close(dir);
}

struct keyd_answer *
storage_accept(const struct storage *s, const struct storage_head *head)
{
    keyd_client *c = ask_connect(&s->d, "admin");
    const struct keyd_request q = {
        .op = KEYD_OP_REGISTRY_RESTORE,
        .in.registry_restore = {head->seq, {head->hash, sizeof head->hash}}};
    struct keyd_answer *a = ask(c, &q);
    int64_t until = kd_clock_ms() + WAIT_MS;

    while (strcmp(a->detail, "starting") == 0 && kd_clock_ms() < until) {
        keyd_client_answer_free(a); /* it opens its keys, to know its operators */
        kd_ignore(poll(NULL, 0, NAP_MS));
        a = ask(c, &q);
    }
    keyd_client_free(c);
    return a;
}

/* --- tools --- */

void
storage_keydctl(const struct storage *s, int exit_status, char *out, size_t size,
                const char *fmt, ...)
{
    char command[2048], program[4096], socket[108], arguments[1024], text[8192];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(arguments, sizeof arguments, fmt, ap);
    va_end(ap);
    daemon_program("bin", "keydctl", program);
    daemon_socket(&s->d, "admin", socket);
    bool local = strncmp(arguments, "registry install", 16) == 0;
    int n = snprintf(command, sizeof command, "'%.900s' %s %s%s 2>&1", program,
                     arguments, local ? "" : "--socket ", local ? "" : socket);
    assert_true(n > 0 && n < (int)sizeof command);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    size_t got = fread(text, 1, sizeof text - 1, f);
    text[got] = '\0';
    int status = pclose(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != exit_status)
        fail_msg("keydctl %s: %d where %d was expected: %s", arguments,
                 WEXITSTATUS(status), exit_status, text);
    if (out != NULL)
        snprintf(out, size, "%s", text);
}

void
storage_check(const struct storage *s)
{
    const char *const arguments[] = {s->d.state, NULL};

    assert_int_equal(
        daemon_reap(daemon_spawn(&s->d, "keyd-check", "check.out", arguments), 60000),
        0);
}
