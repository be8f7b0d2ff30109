#include "p11_world.h"

#include "p11_host.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/err.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HOSTS = P11_WORLD_TOKENS * P11_HOSTS_A_TOKEN,
    PATIENCE_MS = 20000,
    STEP_MS = 20
};

static struct {
    size_t n;
    unsigned sessions;
    char folder[64];
    struct softhsm hsm[P11_WORLD_TOKENS];
    struct p11 *pool;
    struct p11_host hosts[HOSTS];
    pthread_mutex_t lock; /* of hosts */
    pthread_t thread;
    atomic_bool ends;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *
p11_world_name(size_t i)
{
    static const char *const names[P11_WORLD_TOKENS] = {"alpha", "beta"};

    return names[i];
}

const struct softhsm *
p11_world_token(size_t i)
{
    return &world.hsm[i];
}

/* --- the supervisor's part --- */

static void
reap_host(unsigned number, int options)
{
    struct p11_host *h = &world.hosts[number];

    if (h->pid <= 0 || waitpid(h->pid, NULL, options) <= 0)
        return;
    h->pid = 0;
    close(h->ctl);
}

/* The one before, if it is still there, has lost its channel. */
static void
start_host(unsigned number)
{
    struct kd_conf_for_p11 c;
    const struct softhsm *s = &world.hsm[p11_host_token(number)];
    int fd;

    pthread_mutex_lock(&world.lock);
    if (world.hosts[number].pid > 0) {
        /* One that makes keys could leave a token half written: it ends by itself. */
        if (number % P11_HOSTS_A_TOKEN != P11_MAKER)
            kill(world.hosts[number].pid, SIGKILL);
        reap_host(number, 0);
    }
    p11_host_conf(s, number, &c);
    p11_host_start_with(&world.hosts[number], &c, s->environment, P11_WORLD_UID, &fd);
    pthread_mutex_unlock(&world.lock);
    p11_link(world.pool, number, fd);
}

static void
take_note(const struct p11_note *n)
{
    switch (n->say) {
    case P11_SAY_KILL:
    case P11_SAY_START:
    case P11_SAY_MAKER:
        start_host(n->host);
        break;
    case P11_SAY_PIN:
        if (world.hosts[n->host].pid > 0) /* else it is asked for again */
            kd_ignore(p11_host_pin(&world.hosts[n->host], SOFTHSM_PIN));
        break;
    case P11_SAY_TAGS:
        p11_tags_stored(world.pool, n->token, KD_OK);
        break;
    case P11_SAY_EVENT:
        break;
    }
}

/* What ended in order is replaced, but for the one that makes keys. */
static void
replace_ended(void)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        bool had = world.hosts[i].pid > 0;
        pthread_mutex_lock(&world.lock);
        reap_host(i, WNOHANG);
        pthread_mutex_unlock(&world.lock);
        if (had && world.hosts[i].pid == 0 && i % P11_HOSTS_A_TOKEN != P11_MAKER)
            start_host(i);
    }
}

static void *
supervise(void *arg)
{
    struct p11_note n;

    (void)arg;
    while (!world.ends) {
        struct pollfd p = {.fd = p11_event_fd(world.pool), .events = POLLIN};
        kd_ignore(poll(&p, 1, STEP_MS));
        while (p11_next(world.pool, &n))
            take_note(&n);
        replace_ended();
    }
    return NULL;
}

size_t
p11_world_pids(pid_t *out, size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&world.lock);
    for (unsigned i = 0; i < HOSTS && n < max; i++)
        if (world.hosts[i].pid > 0)
            out[n++] = world.hosts[i].pid;
    pthread_mutex_unlock(&world.lock);
    return n;
}

/* --- begin and end --- */

static void
see(size_t i, struct p11_status *s)
{
    int64_t until = kd_clock_ms() + PATIENCE_MS;

    do {
        assert_true(kd_clock_ms() < until);
        kd_ignore(poll(NULL, 0, STEP_MS)); /* between two looks */
        p11_status(world.pool, i, s);
    } while (s->serial[0] == '\0');
}

bool
p11_world_begin(size_t n, unsigned sessions)
{
    struct p11_conf conf[P11_WORLD_TOKENS];
    struct p11_status s;

    if (geteuid() != 0 || softhsm_module() == NULL)
        return false;
    world.n = n;
    world.sessions = sessions;
    snprintf(world.folder, sizeof world.folder, "/tmp/keyd-p11-world-XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    assert_int_equal(chmod(world.folder, 0755), 0);
    for (size_t i = 0; i < n; i++) {
        conf[i] = (struct p11_conf){.sessions = sessions,
                                    .timeout_ms = 3000,
                                    .recycle_after = 1000000,
                                    .max_memory_mib = 1024,
                                    .max_message = 64 << 20};
        snprintf(conf[i].name, sizeof conf[i].name, "%s", p11_world_name(i));
        assert_true(softhsm_make(&world.hsm[i], world.folder, p11_world_name(i),
                                 P11_WORLD_UID));
    }
    assert_int_equal(p11_new(conf, n, &world.pool), KD_OK);
    assert_int_equal(pthread_create(&world.thread, NULL, supervise, NULL), 0);
    /* Looked at, and let go until a store has them adopted. */
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < sessions; k++)
            start_host((unsigned)(i * P11_HOSTS_A_TOKEN) + k);
    struct kd_token *t = p11_world_store();
    for (size_t i = 0; i < n; i++)
        see(i, &s);
    kd_token_free(t);
    return true;
}

void
p11_world_end(void)
{
    world.ends = true;
    pthread_join(world.thread, NULL);
    for (unsigned i = 0; i < HOSTS; i++)
        if (world.hosts[i].pid > 0) {
            kill(world.hosts[i].pid, SIGKILL);
            reap_host(i, 0);
        }
    assert_true(softhsm_script("rm -rf $1", world.folder, ""));
}

/* --- keys --- */

struct kd_token *
p11_world_store(void)
{
    static const struct kd_slot_secret credential = {
        .type = KD_SLOT_CREDENTIAL,
        .octets = {(const uint8_t *)"0123456789abcdef0123456789abcdef", 32},
    };
    struct p11_status s;
    struct kd_token *t;

    assert_int_equal(kd_soft_create(&credential, &t), KD_OK);
    for (size_t i = 0; i < world.n; i++) {
        assert_int_equal(
            kd_soft_attach(t, p11_world_name(i), p11_device(world.pool, i)), KD_OK);
        p11_status(world.pool, i, &s);
        if (s.serial[0] != '\0')
            assert_int_equal(kd_soft_adopt(t, p11_world_name(i), s.serial, s.model),
                             KD_OK);
    }
    return t;
}

static void
make(struct kd_token *t, const struct kd_key_spec *spec, struct kd_key_info *out)
{
    int64_t until = kd_clock_ms() + PATIENCE_MS;
    struct kd_made *made;
    kd_err err;

    while ((err = kd_token_make(t, spec, kd_slice(NULL, 0), &made)) != KD_OK) {
        if ((err != KD_UNAVAILABLE && err != KD_BUSY) || kd_clock_ms() > until)
            fail_msg("make: %s", kd_err_text(err));
        kd_ignore(poll(NULL, 0, STEP_MS)); /* hosts are coming up */
    }
    assert_int_equal(kd_token_take(t, made, out), KD_OK);
    kd_token_drop(made);
}

void
p11_world_generate(struct kd_token *t, const struct kd_key_spec *spec,
                   struct kd_key_info *out)
{
    if (spec->tokens[0].n == 0)
        assert_int_equal(kd_token_generate(t, spec, out), KD_OK);
    else
        make(t, spec, out);
    assert_int_equal(kd_token_set_state(t, &out->id, KD_KEY_ACTIVE), KD_OK);
}

void
p11_world_wait(struct kd_token *t)
{
    int64_t until = kd_clock_ms() + PATIENCE_MS;
    struct kd_key_info key;
    kd_err err;

    for (size_t i = 0; kd_token_at(t, i, &key) == KD_OK; i++)
        while ((err = kd_token_probe(t, &key.id)) != KD_OK) {
            if ((err != KD_UNAVAILABLE && err != KD_BUSY && err != KD_TIMEOUT) ||
                kd_clock_ms() > until)
                fail_msg("probe: %s", kd_err_text(err));
            kd_ignore(poll(NULL, 0, STEP_MS)); /* hosts bind it */
        }
}
