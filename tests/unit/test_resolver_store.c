/* client/resolver/src/store.h: what is remembered, for how long, and what of it
 * survives files that are cut, flipped, foreign or of a later release. */
#include <store.h>

#include "../support/scale.h"
#include "../support/test.h"

#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DAY = 24 * 3600, NAMES = 24, SIGNET = 1500 };

static char top[64], dir[96];

static struct store *
open_at(const char *path, struct steps *steps)
{
    const char *why = NULL;
    struct store *s = NULL;
    kd_err err = store_open(path, steps, &s, &why);

    if (err != KD_OK)
        fail_msg("%s: %s (%s)", path, kd_err_text(err), why);
    return s;
}

static struct store *
open_new(void)
{
    static int number;

    snprintf(dir, sizeof dir, "%s/%d/state", top, number++);
    return open_at(dir, NULL);
}

/* --- records --- */

static bool
put(struct store *s, const char *text, bool is_secure, uint32_t ttl, unsigned days,
    int64_t now)
{
    bool is_kept = false;

    assert_int_equal(store_record_put(s, "example.com", kd_slice_str(text), is_secure,
                                      ttl, days, now, &is_kept),
                     KD_OK);
    return is_kept;
}

static bool
has(struct store *s, int64_t now, const char *text, bool is_secure, int64_t purge)
{
    struct store_record r;
    kd_err err = store_record_get(s, "example.com", now, &r);

    if (err == KD_NOT_FOUND)
        return false;
    assert_int_equal(err, KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&r.text), kd_slice_str(text)));
    assert_int_equal(r.is_secure, is_secure);
    assert_int_equal(r.purge_at, purge);
    kd_buf_free(&r.text);
    return true;
}

static void
T_MR_64_T_MR_65_T_MR_66_a_refresh_never_shortens(void **state)
{
    struct store *s = open_new();

    (void)state;
    assert_false(has(s, 0, "", false, 0));
    assert_false(put(s, "one", true, 300, 30, 0));
    assert_true(has(s, 0, "one", true, 30 * DAY));
    put(s, "two", true, 300, 1, DAY);
    assert_true(has(s, DAY, "two", true, 30 * DAY)); /* other values, the same end */
    put(s, "three", true, 300, 30, 2 * DAY);
    assert_true(has(s, 2 * DAY, "three", true, 32 * DAY));
    store_close(s);
    s = open_at(dir, NULL);
    assert_true(has(s, 32 * DAY - 1, "three", true, 32 * DAY));
    store_close(s);
}

static void
T_MR_67_DNSSEC_is_not_lost_silently(void **state)
{
    struct store *s = open_new();

    (void)state;
    put(s, "secure", true, 300, 30, 0);
    assert_true(put(s, "insecure", false, 300, 30, DAY));
    assert_true(has(s, DAY, "secure", true, 30 * DAY));
    assert_false(put(s, "insecure", false, 300, 30, 30 * DAY)); /* it lives no more */
    assert_true(has(s, 30 * DAY, "insecure", false, 60 * DAY));
    assert_false(put(s, "secure again", true, 300, 30, 31 * DAY));
    assert_true(has(s, 31 * DAY, "secure again", true, 61 * DAY));
    store_close(s);
}

static void
T_MR_68_T_MR_69_a_record_is_purged_and_refreshed_in_time(void **state)
{
    struct store *s = open_new();
    struct store_record r;

    (void)state;
    put(s, "one", false, 300, 7, 1000);
    assert_int_equal(store_record_get(s, "example.com", 1000, &r), KD_OK);
    assert_int_equal(r.refresh_at, 1300);
    kd_buf_free(&r.text);
    assert_int_equal(store_record_later(s, "example.com", 1400), KD_OK);
    assert_int_equal(store_record_get(s, "example.com", 1000, &r), KD_OK);
    assert_int_equal(r.refresh_at, 1400);
    kd_buf_free(&r.text);
    assert_int_equal(store_record_later(s, "example.net", 1400), KD_NOT_FOUND);
    assert_true(has(s, 1000 + 7 * DAY - 1, "one", false, 1000 + 7 * DAY));
    assert_false(has(s, 1000 + 7 * DAY, "one", false, 0));
    /* nobody pins a domain for ever, however long it says, or with a wrong clock */
    put(s, "long", false, 300, 65535, 0);
    assert_true(has(s, 0, "long", false, 365 * DAY));
    put(s, "future", false, 300, 30, 40000L * DAY);
    assert_true(has(s, 0, "future", false, 365 * DAY));
    store_close(s);
}

/* --- the ring --- */

struct one {
    char name[48];
    uint8_t octets[SIGNET], core[DIME_FINGERPRINT_SIZE], full[DIME_FINGERPRINT_SIZE];
};

static void
one_make(struct one *o, unsigned who, unsigned version)
{
    uint8_t seed[randombytes_SEEDBYTES] = {(uint8_t)who, (uint8_t)(who >> 8),
                                           (uint8_t)version, (uint8_t)(version >> 8)};

    snprintf(o->name, sizeof o->name, "user%u@example.com", who);
    randombytes_buf_deterministic(o->octets, sizeof o->octets, seed);
    seed[9] = 1;
    randombytes_buf_deterministic(o->core, sizeof o->core, seed);
    seed[9] = 2;
    randombytes_buf_deterministic(o->full, sizeof o->full, seed);
}

static kd_err
one_put(struct store *s, const struct one *o, int64_t now)
{
    return store_signet_put(s, o->name, kd_slice(o->octets, sizeof o->octets), o->core,
                            o->full, false, now);
}

/* Whether it is the current one. Anything else than it or nothing is a failure. */
static bool
one_is_there(struct store *s, const struct one *o)
{
    struct store_signet got;
    kd_err err = store_signet_get(s, o->name, &got);

    if (err != KD_OK)
        return false;
    assert_int_equal(got.octets.n, sizeof o->octets);
    assert_memory_equal(got.octets.p, o->octets, sizeof o->octets);
    kd_buf_free(&got.octets);
    return true;
}

static void
the_ring_keeps_what_was_and_what_is(void **state)
{
    struct store *s = open_new();
    struct store_signet got;
    struct one a, b;

    (void)state;
    one_make(&a, 1, 1);
    one_make(&b, 1, 2);
    assert_int_equal(store_signet_get(s, a.name, &got), KD_NOT_FOUND);
    assert_int_equal(store_signet_confirm(s, a.name, 5), KD_NOT_FOUND);
    assert_int_equal(one_put(s, &a, 100), KD_OK);
    assert_int_equal(store_signet_confirm(s, a.name, 200), KD_OK);
    assert_int_equal(one_put(s, &b, 300), KD_OK);
    store_close(s);
    s = open_at(dir, NULL);
    assert_true(one_is_there(s, &b));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_signet_find(s, a.name, i == 0 ? a.core : a.full, &got),
                         KD_OK);
        assert_memory_equal(got.octets.p, a.octets, sizeof a.octets);
        assert_int_equal(got.first_seen, 100);
        assert_int_equal(got.confirmed_at, 200);
        kd_buf_free(&got.octets);
    }
    assert_int_equal(store_signet_find(s, "user2@example.com", a.core, &got),
                     KD_NOT_FOUND);
    /* back to the one before: as such */
    assert_int_equal(one_put(s, &a, 400), KD_OK);
    assert_true(one_is_there(s, &a));
    assert_int_equal(store_signet_get(s, a.name, &got), KD_OK);
    assert_int_equal(got.first_seen, 400);
    kd_buf_free(&got.octets);
    store_close(s);
}

static void
what_waits_is_there_until_it_is_forgotten(void **state)
{
    struct store *s = open_new();
    struct hold h = {.first_seen = 7, .last_counted = 9, .times = 3, .contradicted = 1},
                got;
    uint8_t core[DIME_FINGERPRINT_SIZE] = {5}, out[DIME_FINGERPRINT_SIZE];
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, 4096);
    assert_int_equal(store_hold_get(s, "example.com", &got), KD_NOT_FOUND);
    assert_int_equal(store_hold_forget(s, "example.com"), KD_OK);
    assert_int_equal(store_hold_put(s, "example.com", &h), KD_OK);
    assert_int_equal(
        store_found_put(s, "a@example.com", kd_slice_str("octets"), core, 1), KD_OK);
    store_close(s);
    s = open_at(dir, NULL);
    assert_int_equal(store_hold_get(s, "example.com", &got), KD_OK);
    assert_memory_equal(&got, &h, sizeof h);
    assert_int_equal(store_found_get(s, "a@example.com", &b, out), KD_OK);
    assert_memory_equal(out, core, sizeof core);
    assert_true(kd_slice_eq(kd_buf_slice(&b), kd_slice_str("octets")));
    assert_int_equal(store_hold_forget(s, "example.com"), KD_OK);
    assert_int_equal(store_found_forget(s, "a@example.com"), KD_OK);
    store_close(s);
    s = open_at(dir, NULL);
    assert_int_equal(store_hold_get(s, "example.com", &got), KD_NOT_FOUND);
    assert_int_equal(store_found_get(s, "a@example.com", &b, out), KD_NOT_FOUND);
    store_close(s);
    kd_buf_free(&b);
}

static void
the_links_of_a_name_have_a_limit(void **state)
{
    enum { MANY = 1010 };
    struct store *s = open_new();
    struct store_signet got;
    struct one o;
    unsigned n = 0;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        one_make(&o, 1, i);
        assert_int_equal(one_put(s, &o, i), KD_OK);
    }
    for (unsigned i = 0; i < MANY; i++) {
        one_make(&o, 1, i);
        if (store_signet_find(s, o.name, o.full, &got) == KD_OK) {
            n++;
            kd_buf_free(&got.octets);
        } else {
            assert_true(i < 10); /* the oldest went */
        }
    }
    assert_int_equal(n, 1001);
    store_close(s);
}

/* --- directories and releases --- */

static void
a_directory_that_others_may_enter_is_refused(void **state)
{
    const char *why = NULL;
    struct store *s = open_new();

    (void)state;
    store_close(s);
    assert_int_equal(chmod(dir, 0750), 0);
    assert_int_equal(store_open(dir, NULL, &s, &why), KD_DENIED);
    assert_non_null(why);
    assert_int_equal(chmod(dir, 0700), 0);
    store_close(open_at(dir, NULL));
    assert_int_equal(store_open("/dev/null/x", NULL, &s, &why), KD_IO);
    assert_int_equal(store_open("", NULL, &s, &why), KD_TOO_LARGE);
}

static void
run_sql(const char *file, const char *sql)
{
    char path[160];
    sqlite3 *db = NULL;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void
files_of_a_later_release_stay_untouched(void **state)
{
    static const char *const files[] = {"cache.db", "ring.db", "ring.copy.db"};
    const char *why = NULL;
    struct store *s;
    struct one o;

    (void)state;
    one_make(&o, 1, 1);
    for (size_t i = 0; i < 3; i++) {
        s = open_new();
        assert_int_equal(one_put(s, &o, 1), KD_OK);
        store_close(s);
        run_sql(files[i], "PRAGMA user_version = 2");
        assert_int_equal(store_open(dir, NULL, &s, &why), KD_UNSUPPORTED);
        assert_non_null(strstr(why, "later release"));
        run_sql(files[i], "PRAGMA user_version = 1");
        s = open_at(dir, NULL);
        assert_true(one_is_there(s, &o));
        store_close(s);
    }
}

/* --- damage --- */

static const char *const ring_files[] = {"ring.db", "ring.copy.db"};

/* The files of a closed store, all in the main file. */
static void
fill(struct one *all)
{
    struct store *s = open_new();

    for (unsigned i = 0; i < NAMES; i++) {
        one_make(&all[i], i, 0);
        assert_int_equal(one_put(s, &all[i], 1), KD_OK);
        one_make(&all[i], i, 1);
        assert_int_equal(one_put(s, &all[i], 2), KD_OK);
    }
    assert_false(put(s, "pok=x", true, 300, 30, 0));
    store_close(s);
}

struct file {
    char path[160];
    uint8_t *p;
    size_t n;
};

static void
load(struct file *f, const char *name)
{
    struct stat st;

    snprintf(f->path, sizeof f->path, "%s/%s", dir, name);
    assert_int_equal(stat(f->path, &st), 0);
    f->n = (size_t)st.st_size;
    f->p = malloc(f->n);
    FILE *in = fopen(f->path, "rbe");
    assert_true(in != NULL && f->p != NULL && fread(f->p, 1, f->n, in) == f->n);
    fclose(in);
}

static void
save(const struct file *f, size_t n)
{
    FILE *out = fopen(f->path, "wbe");

    assert_true(out != NULL && fwrite(f->p, 1, n, out) == n);
    assert_int_equal(fclose(out), 0);
}

static void
all_are_there(const struct one *all, struct steps *steps)
{
    struct store *s = open_at(dir, steps);
    struct store_signet got;
    struct one before;

    for (unsigned i = 0; i < NAMES; i++) {
        if (!one_is_there(s, &all[i]))
            fail_msg("%s is lost", all[i].name);
        one_make(&before, i, 0);
        assert_int_equal(store_signet_find(s, before.name, before.core, &got), KD_OK);
        assert_memory_equal(got.octets.p, before.octets, sizeof before.octets);
        kd_buf_free(&got.octets);
    }
    store_close(s);
}

static void
a_copy_of_the_ring_that_is_flipped_or_cut_is_mended(void **state)
{
    struct one *all = calloc(NAMES, sizeof *all);
    struct file good[2];

    (void)state;
    assert_non_null(all);
    fill(all);
    for (size_t i = 0; i < 2; i++)
        load(&good[i], ring_files[i]);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < test_rounds(400); k++) {
            size_t at = randombytes_uniform((uint32_t)good[i].n);
            uint8_t bit = (uint8_t)(1U << randombytes_uniform(8));
            for (size_t other = 0; other < 2; other++)
                save(&good[other], good[other].n);
            if (k % 2 == 0) {
                good[i].p[at] ^= bit;
                save(&good[i], good[i].n);
                good[i].p[at] ^= bit;
            } else {
                save(&good[i], at);
            }
            all_are_there(all, NULL);
            all_are_there(all, NULL); /* and after it was mended */
        }
    for (size_t i = 0; i < 2; i++)
        free(good[i].p);
    free(all);
}

static void
T_RS_19_a_cache_that_is_flipped_or_cut_is_not_believed(void **state)
{
    struct one *all = calloc(NAMES, sizeof *all);
    struct file good;
    struct store_record r;
    unsigned n_lost = 0, n_told = 0, n_there = 0;

    (void)state;
    assert_non_null(all);
    fill(all);
    load(&good, "cache.db");
    for (size_t k = 0; k < test_rounds(1000); k++) {
        size_t at = randombytes_uniform((uint32_t)good.n);
        struct steps *steps = steps_new();
        save(&good, k % 4 == 0 ? at : good.n);
        if (k % 4 != 0) {
            good.p[at] ^= 4;
            save(&good, good.n);
            good.p[at] ^= 4;
        }
        struct store *s = open_at(dir, steps);
        kd_err err = store_record_get(s, "example.com", 0, &r);
        if (err == KD_OK) {
            n_there++;
            assert_true(kd_slice_eq(kd_buf_slice(&r.text), kd_slice_str("pok=x")));
            assert_true(r.is_secure);
            assert_int_equal(r.purge_at, 30 * DAY);
            kd_buf_free(&r.text);
        } else {
            n_lost++;
            n_told += err == KD_MALFORMED || steps_n(steps) != 0;
        }
        assert_false(put(s, "pok=y", true, 300, 30, 0)); /* it goes on */
        store_close(s);
        steps_free(steps);
    }
    print_message("%u there, %u lost, %u of them told\n", n_there, n_lost, n_told);
    assert_true(n_there != 0 && n_lost != 0);
    free(good.p);
    free(all);
}

static void
foreign_files_are_set_aside(void **state)
{
    struct steps *steps = steps_new();
    struct one *all = calloc(NAMES, sizeof *all);
    struct file f;

    (void)state;
    assert_non_null(all);
    fill(all);
    load(&f, "ring.db");
    memset(f.p, 'x', f.n);
    save(&f, f.n);
    run_sql("cache.db", "PRAGMA application_id = 1");
    all_are_there(all, steps);
    assert_int_equal(steps_n(steps) >= 2, 1);
    steps_free(steps);
    free(f.p);
    free(all);
}

/* --- several at once --- */

static void
two_processes_write_and_one_is_killed(void **state)
{
    enum { ROUNDS = 50, EACH = 20 };
    struct one o;
    int fds[2];
    unsigned acknowledged = 0;

    (void)state;
    store_close(open_new());
    for (unsigned round = 0; round < ROUNDS; round++) {
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct store *s = open_at(dir, NULL);
            for (unsigned i = 0;; i++) {
                one_make(&o, round * EACH + i % EACH, i / EACH);
                if (one_put(s, &o, i) != KD_OK || write(fds[1], &i, sizeof i) < 0)
                    _exit(1);
            }
        }
        struct store *mine = open_at(dir, NULL);
        unsigned last = 0, i;
        for (unsigned n = 0; n < 1 + randombytes_uniform(40); n++) {
            assert_int_equal(read(fds[0], &i, sizeof i), sizeof i);
            last = i;
            one_make(&o, 60000 + round, n);
            assert_int_equal(one_put(mine, &o, n), KD_OK);
        }
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(fds[1]);
        while (read(fds[0], &i, sizeof i) == sizeof i)
            last = i;
        close(fds[0]);
        store_close(mine);
        mine = open_at(dir, NULL);
        assert_true(one_is_there(mine, &o));
        struct store_signet got;
        for (i = 0; i <= last; i++) {
            one_make(&o, round * EACH + i % EACH, i / EACH);
            if (store_signet_find(mine, o.name, o.full, &got) != KD_OK)
                fail_msg("round %u: %u of %u acknowledged is lost", round, i, last);
            kd_buf_free(&got.octets);
            acknowledged++;
        }
        store_close(mine);
    }
    print_message("%u acknowledged, 0 lost\n", acknowledged);
}

static int
begin(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(top, sizeof top, "%.40s/store-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    return sodium_init() < 0 || mkdtemp(top) == NULL ? -1 : 0;
}

static int
end(void **state)
{
    char command[96];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", top);
    return system(command) == 0 ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_MR_64_T_MR_65_T_MR_66_a_refresh_never_shortens),
        cmocka_unit_test(T_MR_67_DNSSEC_is_not_lost_silently),
        cmocka_unit_test(T_MR_68_T_MR_69_a_record_is_purged_and_refreshed_in_time),
        cmocka_unit_test(the_ring_keeps_what_was_and_what_is),
        cmocka_unit_test(what_waits_is_there_until_it_is_forgotten),
        cmocka_unit_test(the_links_of_a_name_have_a_limit),
        cmocka_unit_test(a_directory_that_others_may_enter_is_refused),
        cmocka_unit_test(files_of_a_later_release_stay_untouched),
        cmocka_unit_test(a_copy_of_the_ring_that_is_flipped_or_cut_is_mended),
        cmocka_unit_test(T_RS_19_a_cache_that_is_flipped_or_cut_is_not_believed),
        cmocka_unit_test(foreign_files_are_set_aside),
        cmocka_unit_test(two_processes_write_and_one_is_killed),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
