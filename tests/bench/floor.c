#include "floor.h"

#include "people.h"

#include <dime/build.h>
#include <keyd/base/clock.h>

#include <sched.h>
#include <secp256k1.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 20, ROW_SIZE = 1024, ASK_SIZE = 200, ANSWER_SIZE = 100 };

#define must floor_must

_Noreturn void
floor_die(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    abort();
}

/* --- timing
 * --------------------------------------------------------------------------- */

typedef void (*operation)(void *ctx);

static int
by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

struct floor
floor_measure(operation op, void *ctx, double seconds)
{
    uint32_t *ns = malloc(SAMPLES_MAX * sizeof *ns);
    size_t n = 0, total = 0;

    must(ns != NULL);
    op(ctx); /* warm */
    int64_t begin = kd_clock_ns(), end = begin + (int64_t)(seconds * 1e9), now = begin;
    for (; now < end; total++) {
        int64_t from = now;
        op(ctx);
        now = kd_clock_ns();
        if (n < SAMPLES_MAX)
            ns[n++] = (uint32_t)(now - from);
    }
    qsort(ns, n, sizeof *ns, by_value);
    struct floor f = {.rate = (double)total * 1e9 / (double)(now - begin),
                      .p50_us = ns[n / 2] / 1e3,
                      .p99_us = ns[n - 1 - n / 100] / 1e3};
    free(ns);
    return f;
}

/* --- issuance
 * ------------------------------------------------------------------------- */

/* One signature of a real signet: what it covers, the signature, by whom. */
struct part {
    uint8_t message[512];
    size_t n;
    uint8_t sig[DIME_SIG_SIZE];
    uint8_t key[32];
};

static struct {
    bool is_made;
    secp256k1_context *curve;
    uint8_t org_key[32], org_secret[64];
    struct person_keys user;
    struct part by_user, custody, by_org[3], head;
} work;

static void
keep(struct part *p, const struct dime_signet *s, uint8_t type, const uint8_t key[32])
{
    struct kd_slice covered = dime_signet_covered(s, type);
    const uint8_t *sig = dime_signet_signature(s, type);

    must(sig != NULL && covered.n <= sizeof p->message);
    memcpy(p->message, covered.p, covered.n);
    p->n = covered.n;
    memcpy(p->sig, sig, sizeof p->sig);
    memcpy(p->key, key, sizeof p->key);
}

static kd_err
sign_as_org(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    (void)ctx;
    crypto_sign_detached(sig, NULL, message.p, message.n, work.org_secret);
    return KD_OK;
}

/* The signet of prev's (or, without, the first) signing request, into out. */
static void
make_signet(const struct person_keys *own, const struct person_keys *prev,
            struct kd_buf *out, struct dime_signet *made)
{
    struct kd_buf request;
    struct dime_signet ssr;
    enum dime_reason why;

    kd_buf_init(&request, 512);
    must(person_ssr(own, prev, &request) == KD_OK);
    must(dime_signet_parse(kd_buf_slice(&request), &ssr, &why) == KD_OK);
    struct dime_user_plan plan = {
        .ssr = &ssr, .identifier = kd_slice_str("load-123456@example.com")};
    must(dime_user_build(&plan, (struct dime_signer){sign_as_org, NULL}, out, &why) ==
         KD_OK);
    must(dime_signet_parse(kd_buf_slice(out), made, &why) == KD_OK);
    kd_buf_free(&request);
}

static void
make_work(void)
{
    struct person_keys before;
    struct kd_buf first, second;
    struct dime_signet head, step;

    if (work.is_made)
        return;
    must(sodium_init() >= 0);
    must((work.curve = secp256k1_context_create(SECP256K1_CONTEXT_NONE)) != NULL);
    crypto_sign_keypair(work.org_key, work.org_secret);
    person_keys("floor", 1, 0, &before);
    person_keys("floor", 1, 1, &work.user);
    kd_buf_init(&first, 1024);
    kd_buf_init(&second, 1024);
    make_signet(&before, NULL, &first, &head);
    make_signet(&work.user, &before, &second, &step);
    keep(&work.head, &head, DIME_FIELD_IDENTIFIED_SIGNATURE, work.org_key);
    keep(&work.by_user, &step, DIME_USER_USER_SIGNATURE, work.user.key);
    keep(&work.custody, &step, DIME_USER_CUSTODY, before.key);
    keep(&work.by_org[0], &step, DIME_USER_ORG_SIGNATURE, work.org_key);
    keep(&work.by_org[1], &step, DIME_FIELD_FULL_SIGNATURE, work.org_key);
    keep(&work.by_org[2], &step, DIME_FIELD_IDENTIFIED_SIGNATURE, work.org_key);
    kd_buf_free(&first);
    kd_buf_free(&second);
    work.is_made = true;
}

static void
verify(const struct part *p)
{
    must(crypto_sign_verify_detached(p->sig, p->message, p->n, p->key) == 0);
}

static void
look_at_key(void *ctx)
{
    (void)ctx;
    must(crypto_core_ed25519_is_valid_point(work.user.key) == 1);
}

static void
look_at_enc_key(void *ctx)
{
    secp256k1_pubkey point;

    (void)ctx;
    must(secp256k1_ec_pubkey_parse(work.curve, &point, work.user.enc,
                                   sizeof work.user.enc) == 1);
}

static void
sign_one(void *ctx)
{
    struct part *p = ctx;

    crypto_sign_detached(p->sig, NULL, p->message, p->n, work.org_secret);
}

static void
verify_one(void *ctx)
{
    verify(ctx);
}

static void
issue(void *ctx)
{
    const bool *is_step = ctx;

    look_at_key(NULL);
    look_at_enc_key(NULL);
    verify(&work.by_user);
    if (*is_step) {
        verify(&work.head);
        verify(&work.custody);
    }
    for (size_t i = 0; i < sizeof work.by_org / sizeof work.by_org[0]; i++) {
        sign_one(&work.by_org[i]);
        verify(&work.by_org[i]);
    }
}

struct floor
floor_issue(bool is_step, double seconds)
{
    make_work();
    return floor_measure(issue, &is_step, seconds);
}

void
floor_print_primitives(double seconds)
{
    static const struct {
        const char *name;
        operation op;
        void *ctx;
    } rows[] = {
        {"sign (253)", sign_one, &work.by_org[1]},
        {"verify (253)", verify_one, &work.by_org[1]},
        {"Ed25519 point", look_at_key, NULL},
        {"secp256k1 point", look_at_enc_key, NULL},
    };

    make_work();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("  %-18s %8.2f us\n", rows[i].name,
               floor_measure(rows[i].op, rows[i].ctx, seconds).p50_us);
}

/* --- commit
 * --------------------------------------------------------------------------- */

struct registry {
    sqlite3 *db;
    sqlite3_stmt *begin, *put, *commit;
    uint8_t row[ROW_SIZE];
};

static void
step(sqlite3_stmt *st)
{
    must(sqlite3_step(st) == SQLITE_DONE);
    must(sqlite3_reset(st) == SQLITE_OK);
}

static void
commit_row(void *ctx)
{
    struct registry *r = ctx;

    step(r->begin);
    must(sqlite3_bind_blob(r->put, 1, r->row, sizeof r->row, SQLITE_STATIC) ==
         SQLITE_OK);
    step(r->put);
    step(r->commit);
}

static void
prepare(struct registry *r, const char *sql, sqlite3_stmt **out)
{
    must(sqlite3_prepare_v2(r->db, sql, -1, out, NULL) == SQLITE_OK);
}

struct floor
floor_commit(const char *directory, double seconds)
{
    struct registry r = {0};
    char path[4096];
    int fd;

    must((size_t)snprintf(path, sizeof path, "%s/floor-XXXXXX", directory) <
         sizeof path);
    must((fd = mkstemp(path)) >= 0);
    close(fd);
    must(sqlite3_open(path, &r.db) == SQLITE_OK);
    must(sqlite3_exec(r.db,
                      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; "
                      "PRAGMA synchronous = FULL; "
                      "CREATE TABLE t(id INTEGER PRIMARY KEY, octets BLOB)",
                      NULL, NULL, NULL) == SQLITE_OK);
    prepare(&r, "BEGIN IMMEDIATE", &r.begin);
    prepare(&r, "INSERT INTO t(octets) VALUES(?1)", &r.put);
    prepare(&r, "COMMIT", &r.commit);
    struct floor f = floor_measure(commit_row, &r, seconds);
    must(sqlite3_finalize(r.begin) == SQLITE_OK);
    must(sqlite3_finalize(r.put) == SQLITE_OK);
    must(sqlite3_finalize(r.commit) == SQLITE_OK);
    must(sqlite3_close(r.db) == SQLITE_OK);
    must(unlink(path) == 0);
    return f;
}

/* --- between processes
 * ---------------------------------------------------------------- */

static void
bind_to_cpu(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    /* Where there is one CPU only, the floor is that of one. */
    kd_ignore(sched_setaffinity(0, sizeof set, &set));
}

static void
write_all(int fd, const uint8_t *p, size_t n)
{
    while (n != 0) {
        ssize_t k = write(fd, p, n);
        must(k > 0);
        p += k;
        n -= (size_t)k;
    }
}

/* False at the other end's end. */
static bool
read_all(int fd, uint8_t *p, size_t n)
{
    while (n != 0) {
        ssize_t k = read(fd, p, n);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void
ask(void *ctx)
{
    static uint8_t octets[ASK_SIZE];
    int fd = *(int *)ctx;

    write_all(fd, octets, ASK_SIZE);
    must(read_all(fd, octets, ANSWER_SIZE));
}

static _Noreturn void
answer_all(int fd)
{
    static uint8_t octets[ASK_SIZE];

    bind_to_cpu(1);
    while (read_all(fd, octets, ASK_SIZE))
        write_all(fd, octets, ANSWER_SIZE);
    _exit(0);
}

struct floor
floor_ipc(double seconds)
{
    cpu_set_t before;
    int fds[2], status;

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    must(sched_getaffinity(0, sizeof before, &before) == 0);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        close(fds[0]);
        answer_all(fds[1]);
    }
    close(fds[1]);
    bind_to_cpu(0);
    struct floor f = floor_measure(ask, &fds[0], seconds);
    close(fds[0]);
    must(waitpid(child, &status, 0) == child && status == 0);
    must(sched_setaffinity(0, sizeof before, &before) == 0);
    return f;
}
