/* Single bits that flip in what is on the disk: registry, write-ahead log, key store.
 * Each is refused at the next opening with a reason, or harmless: every question is
 * answered as before; or what is answered differs and shows it, because a signet does
 * not verify or the checker of the registry sees it. Never is another key or another
 * signet believed, and nothing crashes or hangs.
 *
 *   test_fault_bits VICTIM        the path of store_victim, which fills the registry */
#include "../support/check.h"
#include "../support/registry.h"
#include "../support/scale.h"
#include "../support/shell.h"

#include <dime/verify.h>
#include <keyd/base/be.h>

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants some of the above first */
#include <cmocka.h>

enum { FLIPS = 10000, HANG_SECONDS = 20, FILE_MOST = 16 << 20 };

static const char *victim_path;
static char base[64], work[96], with_log[96], without_log[96];

struct file {
    const char *name;
    uint8_t octets[FILE_MOST];
    size_t n; /* 0: not there */
};

static struct file files[] = {
    {.name = "registry.db"}, {.name = "registry.db-wal"}, {.name = "keystore"}};
enum { N_FILES = sizeof files / sizeof *files };

static void
load(const char *dir)
{
    char path[200];

    for (size_t i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        FILE *f = fopen(path, "re");
        files[i].n = f == NULL ? 0 : fread(files[i].octets, 1, FILE_MOST, f);
        assert_true(files[i].n < FILE_MOST);
        if (f != NULL)
            fclose(f);
    }
}

/* The files as they are in memory, and no others. */
static void
put_back(void)
{
    char path[200];

    snprintf(path, sizeof path, "%s/registry.db-journal", work);
    unlink(path);
    for (size_t i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", work, files[i].name);
        unlink(path);
        if (files[i].n == 0)
            continue;
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, files[i].octets, files[i].n), (ssize_t)files[i].n);
        close(fd);
    }
}

/* --- all that is answered, as one digest --- */

struct answers {
    crypto_hash_sha256_state hash;
    unsigned n_records, n_users;
    bool refused;    /* some question was: that is no false answer */
    bool unverified; /* a signet that shows that it is not ours */
};

static void
add(struct answers *a, const void *p, size_t n)
{
    const uint8_t size[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                             (uint8_t)n};

    crypto_hash_sha256_update(&a->hash, size, sizeof size);
    crypto_hash_sha256_update(&a->hash, p == NULL ? size : p, n);
}

static bool
add_record(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    struct answers *a = arg;
    const uint32_t numbers[] = {(uint32_t)seq, (uint32_t)stored};

    a->n_records++;
    add(a, numbers, sizeof numbers);
    add(a, record.p, record.n);
    return true;
}

static const char *const names[] = {"u0-0@example.com", "u0-1@example.com",
                                    "u0-2@example.com", "nobody@example.com"};

static void
ask_user(struct answers *a, struct kd_store *s, const char *name,
         const struct dime_signet *org)
{
    struct kd_signet_row row;
    struct dime_signet user;
    struct dime_verdict verdict;
    enum dime_reason why;
    kd_err err = kd_store_user_current(s, kd_slice_str(name), &row);

    add(a, &err, sizeof err);
    if (err != KD_OK) {
        a->refused |= err != KD_NOT_FOUND;
        return;
    }
    a->n_users++;
    add(a, &row.generation, sizeof row.generation);
    add(a, &row.seq, sizeof row.seq);
    add(a, row.signet.p, row.signet.n);
    if (dime_signet_parse_as(DIME_USER, row.signet, &user, &why) != KD_OK ||
        org == NULL || dime_user_verify(&user, org, NULL, &verdict) != KD_OK ||
        !kd_slice_eq(user.identifier, kd_slice_str(name)))
        a->unverified = true;
}

static void
ask_all(struct kd_store *s, struct answers *a, uint8_t digest[32])
{
    struct kd_org_row org;
    struct dime_signet signet;
    struct kd_slice octets;
    enum dime_reason why;
    uint64_t generation = 0;
    uint8_t copy[4096];

    *a = (struct answers){0};
    crypto_hash_sha256_init(&a->hash);
    kd_err err = kd_store_records(s, 1, add_record, a);
    a->refused |= err != KD_OK;
    err = kd_store_org_current(s, kd_slice_str("example.com"), &org);
    add(a, &err, sizeof err);
    bool has_org = err == KD_OK && org.signet.n <= sizeof copy;
    if (has_org) {
        memcpy(copy, org.signet.p, org.signet.n);
        add(a, copy, org.signet.n);
        has_org = dime_signet_parse_as(DIME_ORG, kd_slice(copy, org.signet.n), &signet,
                                       &why) == KD_OK;
    }
    a->unverified |= !has_org;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ask_user(a, s, names[i], has_org ? &signet : NULL);
    err = kd_store_keystore_read(s, &octets, &generation);
    add(a, &err, sizeof err);
    if (err == KD_OK)
        add(a, octets.p, octets.n);
    else
        a->refused = true;
    crypto_hash_sha256_final(&a->hash, digest);
}

static kd_err
open_it(struct kd_store **s, char why[KD_STORE_WHY_MAX])
{
    const struct kd_store_conf conf = {.dir = work};

    return kd_store_open(&kd_store_sqlite, &conf, s, why);
}

/* --- flips --- */

struct count {
    unsigned refused, harmless, unverified, partial, checked, older;
};

/* Where the log ended before. */
static struct kd_checkpoint head;

/* True if a checkpoint kept elsewhere shows that the log went back. */
static bool
is_seen_outside(void)
{
    const struct kd_store_conf conf = {.dir = work, .outside = &head};
    char why[KD_STORE_WHY_MAX];
    struct kd_store *s = NULL;
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &s, why);

    kd_store_close(s);
    return err == KD_INVALID;
}

static void
forget(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

/* One bit of one file; good is what all answers make together. */
static void
flip(size_t file, size_t at, uint8_t bit, const uint8_t good[32], struct count *n)
{
    const struct check_conf conf = {.dir = work, .report = forget};
    char why[KD_STORE_WHY_MAX];
    struct answers a;
    uint8_t digest[32];
    struct kd_store *s = NULL;

    alarm(HANG_SECONDS); /* SIGALRM fails the test */
    files[file].octets[at] ^= bit;
    put_back();
    kd_err err = open_it(&s, why);
    if (err != KD_OK) {
        if (why[0] == '\0')
            fail_msg("%s octet %zu bit %u: refused without a reason", files[file].name,
                     at, bit);
        n->refused++;
        goto out;
    }
    ask_all(s, &a, digest);
    kd_store_close(s);
    if (memcmp(digest, good, sizeof digest) == 0) {
        n->harmless++;
        goto out;
    }
    /* Something else is answered now. */
    if (a.unverified)
        n->unverified++;
    else if (a.refused)
        n->partial++;
    else if (check_registry(&conf) != 0)
        n->checked++;
    else if (is_seen_outside())
        n->older++;
    else
        fail_msg("%s octet %zu bit %u: other answers, and nothing shows it",
                 files[file].name, at, bit);
out:
    files[file].octets[at] ^= bit;
    alarm(0);
}

/* Octets of the last commit in a write-ahead log (SQLite's file format, 4.1), up to the
 * end of the file: what may lie behind it is read as no part of the log. */
static size_t
last_commit(const struct file *f)
{
    enum { HEADER = 32, FRAME = 24, SALTS = 8 };
    size_t last = HEADER, before = HEADER;

    if (strstr(f->name, "-wal") == NULL)
        return 0;
    size_t page = kd_be32(f->octets + 8);
    for (size_t at = HEADER; f->n - at >= FRAME + page; at += FRAME + page) {
        const uint8_t *frame = f->octets + at;
        if (memcmp(frame + 8, f->octets + 16, SALTS) != 0)
            break;
        if (kd_be32(frame + 4) == 0)
            continue;
        before = last;
        last = at + FRAME + page;
    }
    return f->n - before;
}

static void
flip_many(const char *dir, size_t file, size_t n)
{
    char why[KD_STORE_WHY_MAX];
    struct count count = {0};
    struct kd_audit_tail tail;
    struct answers a;
    uint8_t good[32];
    struct kd_store *s;

    load(dir);
    assert_true(files[file].n > 0);
    put_back();
    assert_int_equal(open_it(&s, why), KD_OK);
    ask_all(s, &a, good);
    assert_true(a.n_records > 20 && a.n_users == 3 && !a.refused && !a.unverified);
    kd_store_tail(s, &tail);
    head = (struct kd_checkpoint){
        .epoch = tail.epoch, .seq = tail.seq, .time_ms = tail.time_ms};
    memcpy(head.instance, tail.instance, sizeof head.instance);
    memcpy(head.hash, tail.hash, sizeof head.hash);
    kd_store_close(s);
    for (size_t i = 0; i < n; i++)
        flip(file, randombytes_uniform((uint32_t)files[file].n),
             (uint8_t)(1U << randombytes_uniform(8)), good, &count);
    print_message("%s: %zu flips: %u refused, %u harmless, %u seen by the signature, "
                  "%u by a question refused, %u by the checker, %u by an outside "
                  "checkpoint\n",
                  files[file].name, n, count.refused, count.harmless, count.unverified,
                  count.partial, count.checked, count.older);
    /* The last commit alone can be taken for one that never was: so many are expected
     * in it, and no more than five standard deviations above. */
    double expected =
        (double)n * (double)last_commit(&files[file]) / (double)files[file].n;
    double above = count.older - expected;
    assert_true(above <= 0 || above * above <= 25 * expected);
}

static void
flips_in_the_registry_are_seen_or_harmless(void **state)
{
    (void)state;
    flip_many(without_log, 0, test_rounds(FLIPS * 5 / 10));
}

static void
flips_in_the_write_ahead_log_are_seen_or_harmless(void **state)
{
    (void)state;
    flip_many(with_log, 1, test_rounds(FLIPS * 4 / 10));
}

static void
flips_in_the_key_store_are_refused(void **state)
{
    (void)state;
    flip_many(without_log, 2, test_rounds(FLIPS / 10));
}

/* --- start and end --- */

static int
set_up(void **state)
{
    char why[KD_STORE_WHY_MAX];
    struct kd_store *s;
    const char *tmp = getenv("TMPDIR");

    (void)state;
    kd_store_setup(&kd_store_sqlite);
    snprintf(base, sizeof base, "%.40s/kd-bits-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(work, sizeof work, "%s/work", base);
    snprintf(with_log, sizeof with_log, "%s/with", base);
    snprintf(without_log, sizeof without_log, "%s/without", base);
    /* The victim is killed, so that its log is there and full of what it wrote. */
    shell("mkdir -m 700 %s; for t in 0.1 0.2 0.4 0.8 1.6 3.2 6.4; do "
          "rm -rf %s %s/acks; mkdir -m 700 %s; "
          "timeout -s KILL $t %s %s %s/acks 0 100000 2>/dev/null; "
          "test $(wc -l <%s/acks) -gt 60 && break; done; cp %s/* %s",
          work, with_log, base, with_log, victim_path, with_log, base, base, with_log,
          work);
    if (open_it(&s, why) != KD_OK)
        return -1;
    kd_store_close(s);
    shell("rm -rf %s && cp -a %s %s", without_log, work, without_log);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    shell("rm -rf %s", base);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flips_in_the_registry_are_seen_or_harmless),
        cmocka_unit_test(flips_in_the_write_ahead_log_are_seen_or_harmless),
        cmocka_unit_test(flips_in_the_key_store_are_refused),
    };

    if (argc != 2 || sodium_init() < 0)
        return 64;
    victim_path = argv[1];
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
