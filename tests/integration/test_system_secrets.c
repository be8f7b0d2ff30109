/* Where secrets are not: in no process but the vault, and there only in memory that
 * nobody reads from outside; in no file and no line of the log, at its most talkative.
 * And what each process is confined to. */
#include "ask.h"
#include "people.h"
#include "sg.h"
#include "suite.h"
#include "test.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static struct daemon keyd;
static const char passphrase[] = "Qv3kZp91xTam77LwRb0eNcY5";
static const char canary[] = "canary-of-the-search@example.com";

/* --- what is looked for --- */

/* Pieces of eight octets: whatever is in memory of a secret's raw octets, at 15 or
 * more, has one of them in it; the same for hex and base 64 of the whole. */
enum { PIECE = 8, PIECES_MAX = 1024 };

static struct piece {
    uint8_t octets[PIECE];
    const char *of;
} pieces[PIECES_MAX];
static size_t n_pieces;
static uint8_t first_two[65536];

static void
add_pieces(const char *of, const void *octets, size_t n)
{
    const uint8_t *p = octets;

    for (size_t at = 0; at + PIECE <= n; at += PIECE) {
        assert_true(n_pieces < PIECES_MAX);
        struct piece *piece = &pieces[n_pieces++];
        memcpy(piece->octets, p + at, PIECE);
        piece->of = of;
        first_two[p[at] | p[at + 1] << 8] = 1;
    }
}

static void
add_secret(const char *of, const void *octets, size_t n)
{
    char text[512];

    add_pieces(of, octets, n);
    sodium_bin2hex(text, sizeof text, octets, n);
    add_pieces(of, text, strlen(text));
    for (char *c = text; *c != '\0'; c++)
        if (*c >= 'a')
            *c = (char)(*c - 'a' + 'A');
    add_pieces(of, text, strlen(text));
    sodium_bin2base64(text, sizeof text, octets, n,
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    add_pieces(of, text, strlen(text));
}

static void
forget_secrets(void)
{
    n_pieces = 0;
    memset(first_two, 0, sizeof first_two);
}

/* A seed, and what signing expands it to. */
static void
add_seed(const char *of, const uint8_t seed[32])
{
    uint8_t expanded[64];

    add_secret(of, seed, 32);
    crypto_hash_sha512(expanded, seed, 32);
    expanded[0] &= 248;
    expanded[31] = (uint8_t)((expanded[31] & 63) | 64);
    add_secret(of, expanded, sizeof expanded);
}

/* What opens the key store. */
static void
add_slots(void)
{
    add_secret("the credential", keyd.credential, sizeof keyd.credential);
    add_secret("the passphrase", passphrase, sizeof passphrase - 1);
}

static void
add_all_secrets(void)
{
    uint8_t scalar[32];

    forget_secrets();
    add_seed("the POK", sg_world()->pok.seed);
    add_seed("the SOK", sg_world()->sok.seed);
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    add_secret("the encryption key", scalar, sizeof scalar);
    add_slots();
}

/* How often a piece is in the octets; *of is the last one's. */
static size_t
search(const uint8_t *p, size_t n, const char **of)
{
    size_t hits = 0;

    for (size_t at = 0; at + PIECE <= n; at++) {
        if (!first_two[p[at] | p[at + 1] << 8])
            continue;
        for (size_t i = 0; i < n_pieces; i++) {
            if (memcmp(p + at, pieces[i].octets, PIECE) == 0) {
                *of = pieces[i].of;
                hits++;
            }
        }
    }
    return hits;
}

/* All that can be read of a process's memory; *read_in is how much that was. */
static size_t
search_process(pid_t pid, size_t *read_in, const char **of)
{
    static uint8_t octets[1 << 20];
    char path[64], line[512];
    size_t hits = 0;

    *read_in = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    if (maps == NULL || mem < 0)
        fail_msg("memory of %d: %s", (int)pid, strerror(errno));
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        for (unsigned long at = from; at < to; at += sizeof octets - PIECE) {
            size_t want = to - at < sizeof octets ? to - at : sizeof octets;
            ssize_t k = pread(mem, octets, want, (off_t)at);
            if (k <= 0)
                continue;
            *read_in += (size_t)k;
            hits += search(octets, (size_t)k, of);
        }
    }
    fclose(maps);
    close(mem);
    return hits;
}

static size_t
search_file(const char *path, size_t *read_in, const char **of)
{
    static uint8_t octets[16 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, octets, sizeof octets);

    if (n < 0 || (size_t)n == sizeof octets)
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
    *read_in += (size_t)n;
    return search(octets, (size_t)n, of);
}

/* --- processes --- */

static struct daemon_child children[DAEMON_CHILDREN_MAX];
static size_t n_children;

static void
skip_unless_root(void)
{
    if (geteuid() != 0) {
        print_message("skipped: needs root to look into other processes\n");
        skip();
    }
}

/* The host of a token of software is where that token's keys are. */
static void
search_child(const struct daemon_child *c)
{
    const char *of = NULL;
    size_t n = 0;

    if (strcmp(c->name, "keyd-p11") == 0) {
        forget_secrets();
        add_slots();
    } else {
        add_all_secrets();
    }
    size_t hits = search_process(c->pid, &n, &of);
    print_message("%s %d: %zu KiB searched\n", c->name, (int)c->pid, n / 1024);
    assert_true(n > 512 * 1024);
    if (hits != 0)
        fail_msg("%s has octets of %s", c->name, of);
}

static void
T_SEC_7_no_process_but_the_vault_ever_had_a_secret_in_its_memory(void **state)
{
    const char *of = NULL;
    size_t n = 0;

    (void)state;
    skip_unless_root();
    add_all_secrets();
    /* This test holds them: it must be found out. */
    assert_true(search_process(getpid(), &n, &of) > 0);
    if (search_process(keyd.pid, &n, &of) != 0)
        fail_msg("the supervisor has octets of %s", of);
    for (size_t i = 0; i < n_children; i++)
        if (strcmp(children[i].name, "keyd-vault") != 0)
            search_child(&children[i]);
}

static void
what_a_client_said_is_found_by_the_same_search(void **state)
{
    const char *of = NULL;
    size_t n = 0, hits = 0;

    (void)state;
    skip_unless_root();
    forget_secrets();
    add_pieces("the canary", canary, sizeof canary - 1);
    keyd_client *c = ask_connect(&keyd, "mta");
    struct keyd_answer *a = NULL;
    assert_int_equal(keyd_client_lookup_signet(c, KEYD_STR(canary), KEYD_NONE, &a),
                     KEYD_NOT_FOUND);
    keyd_client_answer_free(a);
    for (size_t i = 0; i < n_children; i++)
        if (strcmp(children[i].name, "keyd-gate") == 0)
            hits += search_process(children[i].pid, &n, &of);
    keyd_client_free(c);
    assert_true(hits > 0);
}

static void
the_vault_has_secrets_in_hidden_memory_only(void **state)
{
    const char *of = NULL;
    size_t n = 0;

    (void)state;
    skip_unless_root();
    if (ask_counter(&keyd, "hidden-memory") == 0) {
        print_message("skipped: this kernel has no memfd_secret\n");
        skip();
    }
    add_all_secrets();
    size_t hits = search_process(daemon_role(&keyd, KEYD_PROCESS_VAULT, ""), &n, &of);
    assert_true(n > 512 * 1024);
    if (hits != 0)
        fail_msg("%zu pieces outside of it, of %s", hits, of);
}

/* The vault's region of secret memory. */
static uintptr_t
secret_region(pid_t vault)
{
    char path[64], line[512];
    unsigned long from = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)vault);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (from == 0 && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "/secretmem") != NULL)
            from = strtoul(line, NULL, 16);
    fclose(f);
    return from;
}

static int
read_memory(pid_t pid, uintptr_t at)
{
    uint8_t octets[64];
    struct iovec here = {octets, sizeof octets};
    struct iovec there = {(void *)at,
                          sizeof octets}; // NOLINT(performance-no-int-to-ptr)

    return process_vm_readv(pid, &here, 1, &there, 1, 0) > 0 ? 0 : errno;
}

static void
not_even_root_reads_the_vaults_secret_memory(void **state)
{
    (void)state;
    skip_unless_root();
    pid_t vault = daemon_role(&keyd, KEYD_PROCESS_VAULT, "");
    uintptr_t region = secret_region(vault);
    uint8_t octets[64];
    char path[64];

    if (region == 0) {
        print_message("skipped: this kernel has no memfd_secret\n");
        skip();
    }
    assert_int_equal(read_memory(vault, region), EFAULT);
    snprintf(path, sizeof path, "/proc/%d/mem", (int)vault);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(mem >= 0);
    assert_int_equal(pread(mem, octets, sizeof octets, (off_t)region), -1);
    assert_int_equal(errno, EIO);
    close(mem);
}

static void
the_vaults_own_user_reads_none_of_its_memory(void **state)
{
    (void)state;
    skip_unless_root();
    pid_t vault = daemon_role(&keyd, KEYD_PROCESS_VAULT, "");
    char line[512], path[64];
    unsigned long stack = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)vault);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "[heap]") != NULL)
            stack = strtoul(line, NULL, 16);
    fclose(f);
    assert_true(stack != 0);
    assert_int_equal(read_memory(vault, stack), 0); /* root does read it */
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (setgroups(0, NULL) != 0 ||
            setresgid(DAEMON_GROUP, DAEMON_GROUP, DAEMON_GROUP) != 0 ||
            setresuid(DAEMON_VAULT, DAEMON_VAULT, DAEMON_VAULT) != 0)
            _exit(1);
        snprintf(path, sizeof path, "/proc/%d/mem", (int)vault);
        bool closed = open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES;
        _exit(closed && read_memory(vault, stack) == EPERM ? 0 : 2);
    }
    assert_int_equal(daemon_reap(child, 5000), 0);
}

/* --- files --- */

static void
T_SEC_7_no_file_of_the_daemon_has_a_secret_in_it(void **state)
{
    const char *of = NULL;
    char path[512];
    size_t n = 0, n_files = 0;
    struct dirent *e;

    (void)state;
    add_all_secrets();
    DIR *dir = opendir(keyd.state);
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", keyd.state, e->d_name);
        if (e->d_type != DT_REG)
            continue;
        n_files++;
        if (search_file(path, &n, &of) != 0)
            fail_msg("%s has octets of %s", path, of);
    }
    closedir(dir);
    assert_true(n_files >= 2 && n > 65536);
    /* The search finds what is there. */
    forget_secrets();
    add_pieces("an address", "someone@example.com", 19);
    snprintf(path, sizeof path, "%s/registry.db-wal", keyd.state);
    size_t hits = search_file(path, &n, &of);
    snprintf(path, sizeof path, "%s/registry.db", keyd.state);
    assert_true(hits + search_file(path, &n, &of) > 0);
}

static void
T_SEC_7_the_log_says_neither_secrets_nor_who_asked_for_whom(void **state)
{
    const char *of = NULL;
    size_t n = 0;

    (void)state;
    add_all_secrets();
    add_pieces("an address", "someone@example.com", 19);
    add_pieces("an address", canary, sizeof canary - 1);
    if (search_file(keyd.log, &n, &of) != 0)
        fail_msg("the log has octets of %s", of);
    assert_true(daemon_log_has(&keyd, "bad frame")); /* it was at debug */
    forget_secrets();
    add_pieces("a line of the log", "unsealed", 8);
    assert_true(search_file(keyd.log, &n, &of) > 0);
}

/* --- confinement --- */

static bool
status_has(pid_t pid, const char *key, const char *value)
{
    char path[64], line[512], want[128];
    bool found = false;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    snprintf(want, sizeof want, "%s:\t%s\n", key, value);
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL)
        found = strcmp(line, want) == 0;
    if (f != NULL)
        fclose(f);
    return found;
}

static void
every_role_is_under_its_filter_without_privileges_and_with_its_own_uid(void **state)
{
    static const struct {
        const char *name;
        unsigned uid;
    } roles[] = {{"keyd-gate", DAEMON_GATE},
                 {"keyd-vault", DAEMON_VAULT},
                 {"keyd-ledger", DAEMON_LEDGER},
                 {"keyd-p11", DAEMON_P11}};

    (void)state;
    skip_unless_root();
    for (size_t i = 0; i < n_children; i++) {
        pid_t pid = children[i].pid;
        unsigned uid = 0;
        char uids[64];
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++)
            if (strcmp(children[i].name, roles[k].name) == 0)
                uid = roles[k].uid;
        snprintf(uids, sizeof uids, "%u\t%u\t%u\t%u", uid, uid, uid, uid);
        assert_true(status_has(pid, "Uid", uids));
        assert_true(status_has(pid, "Seccomp", "2"));
        assert_true(status_has(pid, "NoNewPrivs", "1"));
        assert_true(status_has(pid, "CapEff", "0000000000000000"));
        assert_true(status_has(pid, "CapPrm", "0000000000000000"));
        assert_true(status_has(pid, "CapInh", "0000000000000000"));
        assert_true(status_has(pid, "CapAmb", "0000000000000000"));
        assert_true(status_has(pid, "Groups", " "));
    }
    /* The supervisor starts others as other users (KILL, SETGID, SETUID); no more. */
    assert_true(status_has(keyd.pid, "CapEff", "00000000000000e0"));
    assert_true(status_has(keyd.pid, "CapBnd", "00000000000000e0"));
    assert_true(status_has(keyd.pid, "Seccomp", "2"));
    assert_true(status_has(keyd.pid, "NoNewPrivs", "1"));
}

/* socket, anon, pipe, null, or the path itself. */
static void
kind_of(const char *target, char out[32])
{
    if (strncmp(target, "socket:", 7) == 0)
        strcpy(out, "socket");
    else if (strncmp(target, "anon_inode:", 11) == 0)
        snprintf(out, 32, "%.31s", target + 11);
    else if (strncmp(target, "pipe:", 5) == 0)
        strcpy(out, "pipe");
    else {
        const char *slash = strrchr(target, '/');
        snprintf(out, 32, "%.31s", slash == NULL ? target : slash + 1);
    }
}

static void
assert_descriptors(pid_t pid, const char *const *allowed)
{
    char path[64], target[512], kind[32];
    struct dirent *e;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        bool known = false;
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        kind_of(target, kind);
        for (size_t i = 0; allowed[i] != NULL; i++)
            known = known || strcmp(kind, allowed[i]) == 0;
        if (!known && e->d_name[0] != '.')
            fail_msg("process %d has %s", (int)pid, target);
    }
    closedir(dir);
}

static void
every_role_has_the_descriptors_it_needs_and_no_others(void **state)
{
    static const char *const gate[] = {"null",        "log",  "socket",
                                       "[eventpoll]", "pipe", NULL};
    static const char *const vault[] = {"null",      "log",        "socket",
                                        "[eventfd]", "credential", NULL};
    static const char *const ledger[] = {"null",      "log",         "socket",
                                         "state",     "registry.db", "registry.db-wal",
                                         "[eventfd]", "reserve",     NULL};
    static const char *const host[] = {"null", "log", "socket", "statm", NULL};
    static const char *const supervisor[] = {
        "null", "log", "socket", "state", "[signalfd]", "memfd:keyd-quotas (deleted)",
        NULL};

    (void)state;
    skip_unless_root();
    assert_descriptors(keyd.pid, supervisor);
    for (size_t i = 0; i < n_children; i++)
        assert_descriptors(children[i].pid,
                           strcmp(children[i].name, "keyd-gate") == 0    ? gate
                           : strcmp(children[i].name, "keyd-vault") == 0 ? vault
                           : strcmp(children[i].name, "keyd-p11") == 0   ? host
                                                                         : ledger);
}

static void
T_SEC_7_no_process_can_leave_a_core(void **state)
{
    (void)state;
    skip_unless_root();
    for (size_t i = 0; i <= n_children; i++) {
        pid_t pid = i == n_children ? keyd.pid : children[i].pid;
        char path[64], line[256];
        struct stat st;
        bool none = false;
        snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
        FILE *f = fopen(path, "re");
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            none = none || (strncmp(line, "Max core file size", 18) == 0 &&
                            strstr(line, " 0                    0") != NULL);
        if (f != NULL)
            fclose(f);
        assert_true(none);
        /* Of a process that must not be dumped the kernel gives these to root. */
        snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, 0);
    }
}

static void
a_role_that_aborts_leaves_nothing_and_is_started_again(void **state)
{
    static const char *const names[] = {"keyd-gate", "keyd-ledger", "keyd-vault"};
    struct daemon_child now[DAEMON_CHILDREN_MAX];

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        pid_t pid = 0;
        size_t n = daemon_children(&keyd, now, DAEMON_CHILDREN_MAX);
        for (size_t i = 0; i < n; i++)
            if (strcmp(now[i].name, names[k]) == 0)
                pid = now[i].pid;
        assert_true(pid != 0);
        assert_int_equal(kill(pid, SIGABRT), 0);
        int64_t until = kd_clock_ms() + 5000;
        bool gone = false;
        while (!gone && kd_clock_ms() < until) {
            n = daemon_children(&keyd, now, DAEMON_CHILDREN_MAX);
            gone = n == n_children;
            for (size_t i = 0; i < n; i++)
                gone = gone && now[i].pid != pid;
        }
        assert_true(gone);
        assert_true(daemon_wait(&keyd, 5000));
    }
    char path[512];
    struct dirent *e;
    DIR *dir = opendir(keyd.state);
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, "%s", e->d_name);
        assert_true(strstr(path, "core") == NULL);
    }
    closedir(dir);
}

/* --- start and end --- */

static bool
add_passphrase(void)
{
    char octets[sizeof passphrase];
    struct keyd_answer *a = NULL;
    keyd_client *c = daemon_connect(&keyd, "admin");

    memcpy(octets, passphrase, sizeof octets);
    bool ok = c != NULL &&
              keyd_client_add_unseal_slot(
                  c, KEYD_SLOT_PASSPHRASE,
                  (struct keyd_secret){octets, sizeof passphrase - 1}, &a) == KEYD_OK;
    keyd_client_answer_free(a);
    a = NULL;
    memcpy(octets, passphrase, sizeof octets);
    ok = ok && keyd_client_seal(c, &a) == KEYD_OK;
    keyd_client_answer_free(a);
    a = NULL;
    ok = ok && keyd_client_unseal(c, KEYD_SLOT_PASSPHRASE,
                                  (struct keyd_secret){octets, sizeof passphrase - 1},
                                  &a) == KEYD_OK;
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return ok;
}

/* A frame that is no message, for a line in the log. */
static void
send_noise(void)
{
    static const uint8_t frame[] = {0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char path[108], octet;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    daemon_socket(&keyd, "submission", path);
    memcpy(to.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(fd, frame, sizeof frame, MSG_NOSIGNAL), sizeof frame);
    while (recv(fd, &octet, 1, 0) > 0)
        continue;
    close(fd);
}

/* Every operation there is, at least once, right and wrong. */
static int
set_up(void **state)
{
    const struct daemon_options talkative = {.top = "log-level = debug"};
    const struct sg_world *w = sg_world();
    uint8_t scalar[32], other[32], ids[3][16];
    struct kd_buf b;

    (void)state;
    if (kd_secret_setup(65536) != KD_OK || !daemon_start(&keyd, &talkative) ||
        !daemon_init_token(&keyd))
        return -1;
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test origin enc", 20);
    crypto_hash_sha256(other, (const uint8_t *)"keyd-test not taken", 19);
    ask_import(&keyd, "example.com", w->pok.seed, scalar, KEYD_ROLE_POK, 0, true,
               ids[0], ids[1]);
    ask_import(&keyd, "example.com", w->sok.seed, other, KEYD_ROLE_SOK,
               KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE, false, ids[2], NULL);
    const struct keyd_octets soks[] = {{ids[2], 16}};
    const struct keyd_request org = {
        .op = KEYD_OP_ISSUE_ORG_SIGNET,
        .in.issue_org_signet = {.domain = KEYD_STR("example.com"),
                                .pok_id = {ids[0], 16},
                                .sok_ids = soks,
                                .n_sok_ids = 1,
                                .encryption_id = {ids[1], 16}}};
    keyd_client *admin = ask_connect(&keyd, "admin");
    ask_ends(ask(admin, &org), KEYD_OK, NULL);
    keyd_client_free(admin);
    if (!add_passphrase())
        return -1;
    keyd_client *c = ask_connect(&keyd, "submission");
    for (uint64_t i = 0; i < 200; i++) {
        char address[64];
        person_request("secrets", i, &b);
        snprintf(address, sizeof address, "%ssomeone@example.com", i == 0 ? "" : "x");
        ask_issue_ends(c, address, kd_buf_slice(&b), i < 2 ? KEYD_OK : KEYD_INVALID,
                       NULL);
        kd_buf_free(&b);
    }
    ask_issue_ends(c, canary, kd_slice_str("no request"), KEYD_INVALID, NULL);
    keyd_client_free(c);
    send_noise();
    n_children = daemon_children(&keyd, children, DAEMON_CHILDREN_MAX);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    int status = daemon_stop(&keyd);
    daemon_clear(&keyd);
    return status;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            T_SEC_7_no_process_but_the_vault_ever_had_a_secret_in_its_memory),
        cmocka_unit_test(what_a_client_said_is_found_by_the_same_search),
        cmocka_unit_test(the_vault_has_secrets_in_hidden_memory_only),
        cmocka_unit_test(not_even_root_reads_the_vaults_secret_memory),
        cmocka_unit_test(the_vaults_own_user_reads_none_of_its_memory),
        cmocka_unit_test(T_SEC_7_no_file_of_the_daemon_has_a_secret_in_it),
        cmocka_unit_test(T_SEC_7_the_log_says_neither_secrets_nor_who_asked_for_whom),
        cmocka_unit_test(
            every_role_is_under_its_filter_without_privileges_and_with_its_own_uid),
        cmocka_unit_test(every_role_has_the_descriptors_it_needs_and_no_others),
        cmocka_unit_test(T_SEC_7_no_process_can_leave_a_core),
        cmocka_unit_test(a_role_that_aborts_leaves_nothing_and_is_started_again),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
