#include "shape.h"

#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX = 64 * 1024 };

static char head[4096];

void
shape_init(const struct daemon *d)
{
    FILE *f = fopen(d->conf, "re");
    size_t n;

    assert_non_null(f);
    n = fread(head, 1, sizeof head - 1, f);
    fclose(f);
    head[n] = '\0';
    char *sections = strstr(head, "\ndomain ");
    assert_non_null(sections);
    sections[1] = '\0';
}

/* --- the text --- */

struct text {
    char octets[TEXT_MAX];
    size_t n;
};

static void add(struct text *t, const char *fmt, ...) KD_PRINTF(2, 3);

static void
add(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(t->octets + t->n, sizeof t->octets - t->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof t->octets - t->n);
    t->n += (size_t)n;
}

static void
add_domains(struct text *t, const struct shape *s)
{
    if (!s->not_com)
        add(t, "domain \"example.com\" {\n issue-profile-fields = { 16 }\n}\n");
    if (s->net)
        add(t, "domain \"example.net\" {\n}\n");
    for (unsigned i = 0; i < s->more; i++)
        add(t, "domain \"%s%u.example\" {\n}\n", i % 2 == 0 ? "aaa" : "zzz", i);
}

static void
add_domain_list(struct text *t, const struct shape *s)
{
    add(t, " domains = {%s%s%s }\n", s->not_com ? "" : " \"example.com\"",
        !s->not_com && s->net ? "," : "", s->net ? " \"example.net\"" : "");
}

static void
add_submission(struct text *t, const struct shape *s)
{
    add(t, "principal \"caller-submission\" {\n uid = %u\n class = \"submission\"\n",
        (unsigned)geteuid());
    add(t, " operations = {%s%s%s }\n", s->issue ? " \"IssueUserSignet\"" : "",
        s->issue && s->lookup ? "," : "",
        s->lookup ? " \"LookupSignet\", \"VerifyCurrent\"" : "");
    if (s->issue || s->lookup)
        add_domain_list(t, s);
    add(t, "}\n");
}

/* All operators' operations, from the list that a daemon is started with. */
static void
add_admin(struct text *t, const struct shape *s)
{
    add(t, "principal \"caller-admin\" {\n uid = %u\n class = \"admin\"\n",
        (unsigned)geteuid());
    add(t, " operations = { \"TokenInit\", \"AddUnsealSlot\", \"Unseal\", \"Seal\", "
           "\"GenerateKey\", \"RetireKey\", \"ImportKey\", \"IssueOrgSignet\", "
           "\"LookupSignet\", \"AuditRead\", \"AuditHead\", \"Reload\", \"Drain\", "
           "\"TokenList\" }\n");
    add_domain_list(t, s);
    add(t, "}\n");
}

const char *
shape_text(const struct shape *s)
{
    static struct text t;

    t.n = 0;
    add(&t, "%s", head);
    if (s->top != NULL)
        add(&t, "%s\n", s->top);
    add_domains(&t, s);
    if (geteuid() == 0) /* as daemon.c has it: a listener's mode cannot change */
        add(&t, "listener \"admin\" {\n group = \"%d\"\n mode = \"0660\"\n}\n",
            DAEMON_GROUP);
    add_admin(&t, s);
    if (!s->is_gone)
        add_submission(&t, s);
    add(&t, "principal \"other\" {\n uid = 60999\n class = \"submission\"\n "
            "operations = { }\n}\n");
    if (s->sections != NULL)
        add(&t, "%s\n", s->sections);
    return t.octets;
}

void
shape_write(const struct daemon *d, const char *text)
{
    char path[160];

    snprintf(path, sizeof path, "%s.new", d->conf);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(rename(path, d->conf), 0);
}

void
shape_use(const struct daemon *d, keyd_client *admin, const struct shape *s)
{
    struct keyd_answer *a = NULL;

    shape_write(d, shape_text(s));
    enum keyd_status status = keyd_client_reload(admin, &a);
    if (status != KEYD_OK)
        fail_msg("reload: %s (%s)", keyd_client_status_text(status),
                 a == NULL ? keyd_client_detail(admin) : a->detail);
    keyd_client_answer_free(a);
}

/* --- a client that repeats --- */

static bool
is_to_repeat(enum keyd_status s)
{
    return s == KEYD_UNAVAILABLE || s == KEYD_BUSY || s == KEYD_UNKNOWN_OUTCOME ||
           s == KEYD_DEADLINE || s == KEYD_SEALED;
}

static bool
is_connected(struct steady *s)
{
    enum { CONNECT_MS = 2000 };

    if (s->c == NULL && (s->c = keyd_client_new()) == NULL)
        return false;
    if (keyd_client_fd(s->c) >= 0)
        return true;
    s->n_reconnected++;
    return keyd_client_connect(s->c, s->sockets[s->at], CONNECT_MS) == KEYD_OK;
}

/* To the other endpoint, if there is one. */
static void
move(struct steady *s)
{
    if (s->n < 2)
        return;
    keyd_client_close(s->c);
    s->at = (s->at + 1) % s->n;
    s->n_moved++;
}

enum keyd_status
steady_ask(struct steady *s, struct keyd_request *q, struct keyd_answer **answer)
{
    enum { PAUSE_MS = 10, PAUSE_MOST_MS = 50 };
    int64_t until = kd_clock_ms() + s->give_up_ms;
    uint8_t key[KEYD_KEY_SIZE];
    enum keyd_status status;

    assert_int_equal(getrandom(key, sizeof key, 0), sizeof key);
    if (q->op == KEYD_OP_ISSUE_USER_SIGNET)
        q->idempotency_key = key;
    for (;;) {
        *answer = NULL;
        status = is_connected(s) ? keyd_client_call(s->c, q, answer) : KEYD_UNAVAILABLE;
        if (!is_to_repeat(status) || kd_clock_ms() > until)
            return status;
        uint32_t after = *answer == NULL ? 0 : (*answer)->retry_after_ms;
        bool moves = *answer == NULL || strcmp((*answer)->detail, "draining") == 0;
        keyd_client_answer_free(*answer);
        s->n_retried++;
        if (moves)
            move(s);
        int ms = after > PAUSE_MOST_MS ? PAUSE_MOST_MS : PAUSE_MS;
        kd_ignore(poll(NULL, 0, s->n < 2 || !moves ? ms : 1)); /* between two tries */
    }
}

void
steady_clear(struct steady *s)
{
    keyd_client_free(s->c);
    s->c = NULL;
}
