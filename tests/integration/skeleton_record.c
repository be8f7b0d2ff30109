/* Record before release, at speed, through crashes: the assumption under the whole
 * design, with the real channels and the real SQLite but no real crypto.
 *
 *   client -> gate -> vault -> ledger
 *
 * The vault numbers and chains the records and keeps every result until the ledger
 * has acknowledged {seq, hash}; the ledger commits what has queued in one
 * transaction; an error from a sync ends it, and the vault sends again what has no
 * acknowledgement. Run with no argument it does everything; "bench" only phase 1.
 *
 *   1  group commit against one commit a request: printed as a ratio
 *   2  kill -9 of a random process, 100 times x KEYD_TEST_SCALE
 *   3  EIO at sync N for N = 1..40, done or not done by the disk
 *
 * At the end of each phase: no acknowledged record lost, no key twice, no gap, the
 * chain whole. */
#include <keyd/base/be.h>
#include <keyd/base/buf.h>
#include <keyd/base/chan.h>
#include <keyd/base/clock.h>
#include <keyd/base/cur.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #x, errno);  \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

enum { KEY = 16, HASH = 32, CLIENTS_MAX = 64, PENDING_MAX = 4096, DRAIN = 64 };
enum role { GATE, VAULT, LEDGER, ROLES };
/* One message type a direction is enough here. */
enum { CTL_UP = 1, CTL_DOWN, REQ, RES, BUSY, COMMIT, ACK, STATE };

static const char *db_path;
static unsigned batch_max;       /* records a transaction; 1: commit per request */
static unsigned fail_sync_at;    /* the Nth sync of the ledger fails */
static bool fail_after_doing_it; /* ... although the disk has it */

/* --- the faulty disk: SQLite's own calls land here -------------------------------- */

static unsigned n_syncs;
int fdatasync(int fd) __attribute__((visibility("default")));
int fsync(int fd) __attribute__((visibility("default")));

static int
sync_or_fail(long number, int fd)
{
    bool fail = fail_sync_at != 0 && ++n_syncs == fail_sync_at;
    int r = fail && !fail_after_doing_it ? 0 : (int)syscall(number, fd);

    if (!fail)
        return r;
    errno = EIO;
    return -1;
}

int
fdatasync(int fd)
{
    return sync_or_fail(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
    return sync_or_fail(SYS_fsync, fd);
}

/* --- common to the roles --- */

struct peer {
    struct kd_chan ctl, up, down;
    bool up_new, down_new;
};

static kd_err
on_ctl(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct peer *me = ctx;
    struct kd_chan *ch = type == CTL_UP ? &me->up : &me->down;

    (void)body;
    kd_chan_close(ch);
    kd_chan_init(ch, fd);
    *(type == CTL_UP ? &me->up_new : &me->down_new) = true;
    return KD_OK;
}

static void
wait_readable(struct peer *me)
{
    struct pollfd p[3];
    struct kd_chan *ch[3] = {&me->ctl, &me->up, &me->down};

    for (int i = 0; i < 3; i++) {
        p[i] = (struct pollfd){.fd = ch[i]->fd, .events = POLLIN};
        if (kd_chan_pending(ch[i]))
            p[i].events |= POLLOUT;
    }
    kd_ignore(poll(p, 3, -1)); /* EINTR and errors show at the next receive */
}

/* A closed channel is simply gone until the supervisor brings another. */
static void
receive(struct kd_chan *ch, kd_chan_handler handler, void *ctx)
{
    if (ch->fd >= 0 && kd_chan_recv(ch, DRAIN, handler, ctx) != KD_OK)
        kd_chan_close(ch);
}

static void
flush(struct kd_chan *ch)
{
    if (ch->fd >= 0 && kd_chan_flush(ch) != KD_OK)
        kd_chan_close(ch);
}

static void
put(struct kd_chan *ch, uint16_t type, const void *p, size_t n)
{
    kd_ignore(
        kd_chan_put(ch, type, kd_slice(p, n), -1)); /* gone: the peer asks again */
}

/* --- gate: passes on; a request in a vault that died is answered "busy" --- */

static kd_err
gate_from_client(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct peer *me = ctx;

    (void)fd;
    if (me->down.fd < 0)
        type = BUSY;
    put(type == BUSY ? &me->up : &me->down, type, body.p, body.n);
    return KD_OK;
}

static kd_err
gate_from_vault(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct peer *me = ctx;

    (void)fd;
    put(&me->up, type, body.p, body.n);
    return KD_OK;
}

static void
run_gate(struct peer *me)
{
    for (;;) {
        wait_readable(me);
        receive(&me->ctl, on_ctl, me);
        if (me->down_new) {
            me->down_new = false;
            put(&me->up, BUSY, NULL, 0); /* all of them: the client asks again */
        }
        receive(&me->down, gate_from_vault, me);
        receive(&me->up, gate_from_client, me);
        flush(&me->down);
        flush(&me->up);
        if (me->ctl.fd < 0)
            _exit(0);
    }
}

/* --- vault: numbers, chains, holds back --- */

struct pending {
    uint64_t seq;
    uint8_t hash[HASH];
    uint8_t record[8 + HASH + KEY + HASH]; /* seq, prev, key, result */
};

struct vault {
    struct peer peer;
    struct pending ring[PENDING_MAX];
    uint64_t first, next; /* unacknowledged: first <= seq < next */
    uint8_t head[HASH];   /* hash of next - 1 */
    bool open;            /* the ledger has said where it stands */
};

static struct pending *
slot(struct vault *v, uint64_t seq)
{
    return &v->ring[seq % PENDING_MAX];
}

static void
send_commit(struct vault *v, const struct pending *p)
{
    put(&v->peer.down, COMMIT, p->record, sizeof p->record);
}

static kd_err
vault_from_gate(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct vault *v = ctx;

    (void)fd;
    if (type != REQ || body.n != KEY)
        return KD_MALFORMED;
    if (!v->open || v->next - v->first == PENDING_MAX) {
        put(&v->peer.up, BUSY, body.p, body.n);
        return KD_OK;
    }
    struct pending *p = slot(v, v->next);
    p->seq = v->next++;
    kd_put_be64(p->record, p->seq);
    memcpy(p->record + 8, v->head, HASH);
    memcpy(p->record + 8 + HASH, body.p, KEY);
    crypto_hash_sha256(p->record + 8 + HASH + KEY, body.p, KEY); /* the "signature" */
    crypto_hash_sha256(p->hash, p->record, sizeof p->record);
    memcpy(v->head, p->hash, HASH);
    send_commit(v, p);
    return KD_OK;
}

/* Where the ledger stands must be a place we have been; then send the rest again. */
static kd_err
vault_on_state(struct vault *v, struct kd_cur c)
{
    uint8_t hash[HASH];
    uint64_t seq = kd_cur_u64(&c);

    kd_cur_copy(&c, hash, HASH);
    if (kd_cur_end(&c) != KD_OK)
        return KD_MALFORMED;
    if (v->next == 0) { /* a new vault believes; the first record tells if it erred */
        v->first = v->next = seq + 1;
        memcpy(v->head, hash, HASH);
    } else if (seq + 1 < v->first || seq >= v->next ||
               (seq >= v->first && memcmp(slot(v, seq)->hash, hash, HASH) != 0)) {
        fprintf(stderr, "vault: the ledger went back\n");
        _exit(3);
    }
    for (uint64_t s = v->first; s < v->next; s++)
        send_commit(v, slot(v, s));
    v->open = true;
    return KD_OK;
}

static kd_err
vault_from_ledger(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct vault *v = ctx;
    struct kd_cur c = kd_cur(body);

    (void)fd;
    if (type == STATE)
        return vault_on_state(v, c);
    uint64_t seq = kd_cur_u64(&c);
    struct kd_slice hash = kd_cur_take(&c, HASH);
    if (type != ACK || kd_cur_end(&c) != KD_OK)
        return KD_MALFORMED;
    if (seq != v->first || seq >= v->next ||
        memcmp(slot(v, seq)->hash, hash.p, HASH) != 0)
        return KD_OK; /* an acknowledgement of anything else is dropped */
    put(&v->peer.up, RES, slot(v, seq)->record, sizeof slot(v, seq)->record);
    v->first++;
    return KD_OK;
}

static void
run_vault(struct vault *v)
{
    struct peer *me = &v->peer;

    for (;;) {
        wait_readable(me);
        receive(&me->ctl, on_ctl, me);
        if (me->down_new) {
            me->down_new = false;
            v->open = false;
        }
        receive(&me->down, vault_from_ledger, v);
        receive(&me->up, vault_from_gate, v);
        flush(&me->down);
        flush(&me->up);
        if (me->ctl.fd < 0)
            _exit(0);
    }
}

/* --- ledger: one transaction for what has queued --- */

struct ledger {
    struct peer peer;
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *commit, *find;
    uint64_t seq;
    uint8_t head[HASH];
    unsigned n_open;
    struct kd_buf acks;
};

static void
ledger_begin(struct ledger *l)
{
    MUST(sqlite3_step(l->begin) == SQLITE_DONE);
    sqlite3_reset(l->begin);
}

/* Anything but success means unknown: never go on from here. */
static void
ledger_commit(struct ledger *l)
{
    if (sqlite3_step(l->commit) != SQLITE_DONE)
        _exit(1);
    sqlite3_reset(l->commit);
    struct kd_slice acks = kd_buf_slice(&l->acks);
    for (size_t at = 0; at < acks.n; at += 8 + HASH)
        put(&l->peer.up, ACK, acks.p + at, 8 + HASH);
    kd_buf_reset(&l->acks);
    l->n_open = 0;
}

static bool
already_stored(struct ledger *l, uint64_t seq, const uint8_t hash[HASH])
{
    sqlite3_bind_int64(l->find, 1, (sqlite3_int64)seq);
    bool same = sqlite3_step(l->find) == SQLITE_ROW &&
                memcmp(sqlite3_column_blob(l->find, 0), hash, HASH) == 0;
    sqlite3_reset(l->find);
    return same;
}

static void
ledger_append(struct ledger *l, struct kd_slice record, uint64_t seq,
              const uint8_t *hash)
{
    sqlite3_bind_int64(l->insert, 1, (sqlite3_int64)seq);
    sqlite3_bind_blob(l->insert, 2, hash, HASH, SQLITE_TRANSIENT);
    sqlite3_bind_blob(l->insert, 3, record.p + 8 + HASH, KEY, SQLITE_TRANSIENT);
    sqlite3_bind_blob(l->insert, 4, record.p, (int)record.n, SQLITE_TRANSIENT);
    int r = sqlite3_step(l->insert);
    if (r != SQLITE_DONE)
        _exit(1);
    sqlite3_reset(l->insert);
    l->seq = seq;
    memcpy(l->head, hash, HASH);
}

static kd_err
ledger_from_vault(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    struct ledger *l = ctx;
    uint8_t hash[HASH];

    (void)fd;
    if (type != COMMIT || body.n != sizeof(((struct pending *)0)->record))
        return KD_MALFORMED;
    uint64_t seq = kd_be64(body.p);
    crypto_hash_sha256(hash, body.p, body.n);
    if (l->n_open++ == 0)
        ledger_begin(l);
    if (seq == l->seq + 1 && memcmp(body.p + 8, l->head, HASH) == 0)
        ledger_append(l, body, seq, hash);
    else if (!already_stored(l, seq, hash))
        return KD_INVALID;
    kd_buf_u64(&l->acks, seq);
    kd_buf_put(&l->acks, kd_slice(hash, HASH));
    if (l->n_open >= batch_max)
        ledger_commit(l);
    return KD_OK;
}

static void
ledger_open(struct ledger *l)
{
    static const char setup[] =
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA "
        "synchronous=FULL;"
        "CREATE TABLE IF NOT EXISTS audit(seq INTEGER PRIMARY KEY, hash BLOB, key BLOB,"
        " record BLOB) STRICT;"
        "CREATE INDEX IF NOT EXISTS audit_key ON audit(key)";
    sqlite3_stmt *tail;

    if (sqlite3_open(db_path, &l->db) != SQLITE_OK ||
        sqlite3_exec(l->db, setup, NULL, NULL, NULL) != SQLITE_OK)
        _exit(1); /* the disk may fail here too */
    MUST(sqlite3_prepare_v2(l->db, "BEGIN IMMEDIATE", -1, &l->begin, NULL) ==
         SQLITE_OK);
    MUST(sqlite3_prepare_v2(l->db, "COMMIT", -1, &l->commit, NULL) == SQLITE_OK);
    MUST(sqlite3_prepare_v2(l->db, "INSERT INTO audit VALUES(?,?,?,?)", -1, &l->insert,
                            NULL) == SQLITE_OK);
    MUST(sqlite3_prepare_v2(l->db, "SELECT hash FROM audit WHERE seq=?", -1, &l->find,
                            NULL) == SQLITE_OK);
    MUST(sqlite3_prepare_v2(l->db,
                            "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", -1,
                            &tail, NULL) == SQLITE_OK);
    if (sqlite3_step(tail) == SQLITE_ROW) {
        l->seq = (uint64_t)sqlite3_column_int64(tail, 0);
        memcpy(l->head, sqlite3_column_blob(tail, 1), HASH);
    }
    sqlite3_finalize(tail);
    kd_buf_init(&l->acks, (size_t)1 << 20);
}

static void
run_ledger(struct ledger *l)
{
    struct peer *me = &l->peer;

    ledger_open(l);
    for (;;) {
        wait_readable(me);
        receive(&me->ctl, on_ctl, me);
        if (me->up_new) {
            uint8_t state[8 + HASH];
            me->up_new = false;
            kd_put_be64(state, l->seq);
            memcpy(state + 8, l->head, HASH);
            put(&me->up, STATE, state, sizeof state);
        }
        receive(&me->up, ledger_from_vault, l);
        if (l->n_open != 0)
            ledger_commit(l);
        flush(&me->up);
        if (me->ctl.fd < 0)
            _exit(0);
    }
}

/* --- supervisor and clients, in the test itself --- */

struct client {
    uint8_t key[KEY];
    bool waiting;
};

static struct {
    pid_t pid[ROLES];
    struct kd_chan ctl[ROLES];
    struct kd_chan gate; /* the clients' side */
    struct client client[CLIENTS_MAX];
    unsigned n_clients, n_waiting;
    uint64_t n_acked, n_left;
    FILE *acked;
    unsigned n_spawned;
} world;

static void
child_main(enum role role, int ctl)
{
    static struct vault vault;
    static struct ledger ledger;
    static struct peer gate;
    struct peer *me = role == GATE ? &gate : role == VAULT ? &vault.peer : &ledger.peer;

    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    kd_chan_init(&me->ctl, ctl);
    me->up.fd = me->down.fd = -1;
    if (role == GATE)
        run_gate(me);
    else if (role == VAULT)
        run_vault(&vault);
    else
        run_ledger(&ledger);
}

static void
spawn(enum role role)
{
    int fds[2];

    MUST(kd_chan_pair(fds) == KD_OK);
    kd_chan_close(&world.ctl[role]);
    world.pid[role] = fork();
    MUST(world.pid[role] >= 0);
    if (world.pid[role] == 0) {
        close(fds[0]);
        for (int i = 0; i < ROLES; i++)
            kd_chan_close(&world.ctl[i]);
        kd_chan_close(&world.gate);
        child_main(role, fds[1]);
    }
    close(fds[1]);
    kd_chan_init(&world.ctl[role], fds[0]);
    world.n_spawned++;
}

/* Joins two neighbours anew; GATE joins the clients (up) to the gate. */
static void
wire(enum role below)
{
    int fds[2];

    MUST(kd_chan_pair(fds) == KD_OK);
    if (below == GATE) {
        kd_chan_close(&world.gate);
        kd_chan_init(&world.gate, fds[0]);
    } else {
        kd_ignore(
            kd_chan_put(&world.ctl[below - 1], CTL_DOWN, kd_slice(NULL, 0), fds[0]));
        kd_ignore(kd_chan_flush(&world.ctl[below - 1])); /* dead: it is next in line */
    }
    kd_ignore(kd_chan_put(&world.ctl[below], CTL_UP, kd_slice(NULL, 0), fds[1]));
    kd_ignore(kd_chan_flush(&world.ctl[below]));
}

static void
reap_and_respawn(void)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        MUST(!WIFEXITED(status) || WEXITSTATUS(status) != 3);
        for (enum role r = GATE; r < ROLES; r++) {
            if (world.pid[r] != pid)
                continue;
            fail_sync_at = 0; /* one fault a run */
            spawn(r);
            wire(r);
            if (r + 1 < ROLES)
                wire(r + 1);
        }
    }
}

static void
ask(struct client *c)
{
    put(&world.gate, REQ, c->key, KEY);
}

static void
ask_next(struct client *c)
{
    c->waiting = world.n_left > 0;
    if (!c->waiting) {
        world.n_waiting--;
        return;
    }
    world.n_left--;
    randombytes_buf(c->key, KEY);
    ask(c);
}

static kd_err
client_from_gate(void *ctx, uint16_t type, struct kd_slice body, int fd)
{
    (void)ctx;
    (void)fd;
    if (type == BUSY)
        return KD_OK; /* asked again by the timer */
    struct kd_slice key = kd_slice(body.p + 8 + HASH, KEY);
    for (unsigned i = 0; i < world.n_clients; i++) {
        struct client *c = &world.client[i];
        if (!c->waiting || memcmp(c->key, key.p, KEY) != 0)
            continue;
        MUST(fwrite(body.p, body.n, 1, world.acked) == 1);
        world.n_acked++;
        ask_next(c);
    }
    return KD_OK;
}

static void
ask_all_again(void)
{
    for (unsigned i = 0; i < world.n_clients; i++)
        if (world.client[i].waiting)
            ask(&world.client[i]);
}

/* While a batch is somewhere between the processes, not before and not after. */
static void
kill_one(void)
{
    struct timespec moment = {.tv_nsec = randombytes_uniform(600000)};

    kd_ignore(nanosleep(&moment, NULL)); /* shorter is as good */
    kill(world.pid[randombytes_uniform(ROLES)], SIGKILL);
}

/* Runs until every request is answered, killing kills processes on the way. */
static void
run_clients(unsigned n_clients, uint64_t n_requests, unsigned kills)
{
    int64_t last_answer = kd_clock_ms(), next_kill = last_answer + 5;
    uint64_t seen = 0;

    world.n_clients = world.n_waiting = n_clients;
    world.n_left = n_requests;
    for (unsigned i = 0; i < n_clients; i++)
        ask_next(&world.client[i]);
    while (world.n_waiting > 0 || kills > 0) {
        if (world.n_waiting == 0) { /* more work while there is something to kill */
            world.n_left = n_requests;
            world.n_waiting = n_clients;
            for (unsigned i = 0; i < n_clients; i++)
                ask_next(&world.client[i]);
        }
        flush(&world.gate);
        if (kills > 0 && kd_clock_ms() >= next_kill) {
            kill_one();
            kills--;
            next_kill = kd_clock_ms() + 5 + randombytes_uniform(40);
        }
        struct pollfd p = {.fd = world.gate.fd, .events = POLLIN};
        kd_ignore(poll(&p, 1, 5));
        receive(&world.gate, client_from_gate, NULL);
        reap_and_respawn();
        int64_t now = kd_clock_ms();
        if (world.n_acked != seen) {
            seen = world.n_acked;
            last_answer = now;
        } else if (now - last_answer > 50) {
            ask_all_again();
            last_answer = now;
        }
    }
}

static void
world_start(const char *path)
{
    db_path = path;
    n_syncs = 0;
    world.n_acked = 0;
    world.n_spawned = 0;
    MUST((world.acked = tmpfile()) != NULL);
    world.gate.fd = -1;
    for (int i = 0; i < ROLES; i++)
        world.ctl[i] = (struct kd_chan){.fd = -1};
    for (enum role r = GATE; r < ROLES; r++)
        spawn(r);
    for (enum role r = GATE; r < ROLES; r++)
        wire(r);
}

static void
world_stop(void)
{
    for (int i = 0; i < ROLES; i++) {
        kill(world.pid[i], SIGKILL);
        MUST(waitpid(world.pid[i], NULL, 0) == world.pid[i]);
        kd_chan_close(&world.ctl[i]);
    }
    kd_chan_close(&world.gate);
}

/* I1 and I3 of security.md on what is left: every acknowledged record is there to the
 * octet, numbers have no gap, each record chains to the one before. Returns rows. */
static uint64_t
check_database(void)
{
    sqlite3 *db;
    sqlite3_stmt *all, *one;
    uint64_t n = 0;
    uint8_t head[HASH] = {0}, hash[HASH], record[sizeof(((struct pending *)0)->record)];

    MUST(sqlite3_open(db_path, &db) == SQLITE_OK);
    MUST(sqlite3_prepare_v2(db, "SELECT seq, record FROM audit ORDER BY seq", -1, &all,
                            NULL) == SQLITE_OK);
    while (sqlite3_step(all) == SQLITE_ROW) {
        const uint8_t *r = sqlite3_column_blob(all, 1);
        MUST((uint64_t)sqlite3_column_int64(all, 0) == ++n);
        MUST(sqlite3_column_bytes(all, 1) == sizeof record && kd_be64(r) == n);
        MUST(memcmp(r + 8, head, HASH) == 0);
        crypto_hash_sha256(head, r, sizeof record);
    }
    sqlite3_finalize(all);
    MUST(sqlite3_prepare_v2(db, "SELECT record FROM audit WHERE seq=?", -1, &one,
                            NULL) == SQLITE_OK);
    rewind(world.acked);
    uint64_t n_acked = 0;
    while (fread(record, sizeof record, 1, world.acked) == 1) {
        sqlite3_bind_int64(one, 1, (sqlite3_int64)kd_be64(record));
        MUST(sqlite3_step(one) == SQLITE_ROW);
        MUST(memcmp(sqlite3_column_blob(one, 0), record, sizeof record) == 0);
        crypto_hash_sha256(hash, record + 8 + HASH, KEY);
        MUST(memcmp(hash, record + 8 + HASH + KEY, HASH) == 0);
        sqlite3_reset(one);
        n_acked++;
    }
    MUST(n_acked == world.n_acked);
    sqlite3_finalize(one);
    sqlite3_close(db);
    fclose(world.acked);
    return n;
}

static double
bench(const char *path, unsigned clients, unsigned batch)
{
    batch_max = batch;
    kd_ignore(unlink(path));
    world_start(path);
    int64_t t0 = kd_clock_ns();
    run_clients(clients, batch == 1 ? 4000 : 20000, 0);
    double rate = (double)world.n_acked * 1e9 / (double)(kd_clock_ns() - t0);
    world_stop();
    check_database();
    return rate;
}

static void
remove_database(const char *path)
{
    static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
    char name[256];

    for (int i = 0; i < 4; i++) {
        kd_ignore(snprintf(name, sizeof name, "%s%s", path, suffix[i]));
        kd_ignore(unlink(name)); /* most are not there */
    }
}

static void
phase_speed(const char *path)
{
    for (unsigned clients = 16; clients <= 64; clients *= 4) {
        remove_database(path);
        double one = bench(path, clients, 1);
        remove_database(path);
        double group = bench(path, clients, 1024);
        printf("record-before-release, %2u clients: commit per request %.0f/s, "
               "group commit %.0f/s, ratio %.1f\n",
               clients, one, group, group / one);
    }
}

static void
phase_kills(const char *path, unsigned kills)
{
    remove_database(path);
    batch_max = 1024;
    world_start(path);
    run_clients(32, 2000, kills);
    world_stop();
    uint64_t rows = check_database();
    MUST(rows > world.n_acked); /* some kill did lose an answer after its commit */
    printf("kills: %u kill -9, %u processes started, %llu acknowledged, 0 lost, "
           "%llu records, chain whole\n",
           kills, world.n_spawned, (unsigned long long)world.n_acked,
           (unsigned long long)rows);
}

static void
phase_disk_errors(const char *path)
{
    uint64_t acked = 0;
    unsigned restarts = 0;

    for (unsigned n = 1; n <= 40; n++) {
        for (int done = 0; done < 2; done++) {
            remove_database(path);
            fail_sync_at = n;
            fail_after_doing_it = done != 0;
            world_start(path);
            run_clients(8, 400, 0);
            world_stop();
            check_database();
            acked += world.n_acked;
            restarts += world.n_spawned - ROLES;
        }
    }
    fail_sync_at = 0;
    MUST(restarts >= 60); /* the faults did happen */
    printf("disk: EIO at sync 1..40, done or not: %u ledgers ended and came back, "
           "%llu acknowledged, 0 lost, chains whole\n",
           restarts, (unsigned long long)acked);
}

int
main(int argc, char **argv)
{
    char dir[] = "/var/tmp/keyd-skeleton-XXXXXX", path[64];
    const char *scale = getenv("KEYD_TEST_SCALE");
    unsigned kills = 100 * (scale == NULL ? 1 : (unsigned)atoi(scale));

    MUST(sodium_init() >= 0 && mkdtemp(dir) != NULL);
    kd_ignore(snprintf(path, sizeof path, "%s/audit.db", dir));
    signal(SIGPIPE, SIG_IGN);
    phase_speed(path);
    if (argc < 2 || strcmp(argv[1], "bench") != 0) {
        phase_kills(path, kills);
        phase_disk_errors(path);
    }
    remove_database(path);
    return rmdir(dir) == 0 ? 0 : 1;
}
