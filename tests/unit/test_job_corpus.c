/* The corpus of fuzz_jobs has every message between the processes, as it is now. With
 * --write what is missing, or is not such a message any more, is made anew. */
#include "job_sample.h"
#include "test.h"

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define CORPUS KEYD_VECTORS "/../fuzz/corpus/jobs"

enum { FILE_MAX = 4096, TRIES = 200 };

/* Of these there are two more files: one octet less, one more. */
static const char *const bent[] = {
    "ack",           "commit",   "ctl_link",   "done",          "inbound_job",
    "issue_org_job", "key_line", "ledger_org", "looked_signet", "told_recipient"};
enum { N_BENT = sizeof bent / sizeof *bent };

static const char *
path_of(const char *name, const char *end)
{
    static char path[1024];

    snprintf(path, sizeof path, "%s/%s%s", CORPUS, name, end);
    return path;
}

/* Empty if there is no such file. */
static struct kd_slice
read_file(const char *path)
{
    static uint8_t octets[FILE_MAX + 1];
    FILE *f = fopen(path, "rbe");
    size_t n = f == NULL ? 0 : fread(octets, 1, sizeof octets, f);

    if (f != NULL)
        fclose(f);
    return kd_slice(octets, n);
}

/* KD_OK if the file is of that message and comes back as it was. */
static kd_err
read_as(struct kd_slice file, size_t want)
{
    struct kd_slice body;
    struct kd_buf b;
    size_t i;

    if (file.n > FILE_MAX || !job_split(file, &i, &body) || i != want)
        return KD_NOT_FOUND;
    kd_buf_init(&b, FILE_MAX);
    kd_err err = job_rewrite(i, body, &b);
    if (err == KD_OK && !kd_slice_eq(kd_buf_slice(&b), body))
        err = KD_FAILED;
    kd_buf_free(&b);
    return err;
}

static bool
has_good_file(size_t i)
{
    return read_as(read_file(path_of(job_name(i), "")), i) == KD_OK;
}

static bool
has_bent_files(const char *name)
{
    size_t i = job_find(kd_slice_str(name));

    return read_as(read_file(path_of(name, "_cut")), i) == KD_MALFORMED &&
           read_as(read_file(path_of(name, "_long")), i) == KD_MALFORMED;
}

static void
every_message_has_a_file_that_is_read_as_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < JOB_TYPES; i++)
        if (!has_good_file(i))
            fail_msg("%s: run test_job_corpus --write", job_name(i));
}

static void
an_octet_less_or_more_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_BENT; i++)
        if (!has_bent_files(bent[i]))
            fail_msg("%s: run test_job_corpus --write", bent[i]);
}

/* Also what was found once, whatever its name. */
static void
every_file_names_a_message(void **state)
{
    DIR *dir = opendir(CORPUS);
    struct dirent *e;
    struct kd_slice body;
    size_t i, n = 0;

    (void)state;
    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        struct kd_slice file = read_file(path_of(e->d_name, ""));
        if (!job_split(file, &i, &body) || i == JOB_TYPES)
            fail_msg("%s: of no message that there is", e->d_name);
        n++;
    }
    closedir(dir);
    assert_true(n >= JOB_TYPES + 2 * N_BENT);
}

/* A name may begin another's. */
static void
names_are_found_whole(void **state)
{
    struct kd_slice body = {NULL, 0};
    size_t i = 0;

    (void)state;
    for (size_t k = 0; k < JOB_TYPES; k++)
        assert_int_equal(job_find(kd_slice_str(job_name(k))), k);
    assert_int_equal(job_find(kd_slice_str("jo")), JOB_TYPES);
    assert_int_equal(job_find(kd_slice_str("jobs")), JOB_TYPES);
    assert_false(job_split(kd_slice(NULL, 0), &i, &body));
    assert_false(job_split(kd_slice_str("ack"), &i, &body));
    assert_true(job_split(kd_slice_str("ack\nx\n"), &i, &body));
    assert_int_equal(i, job_find(kd_slice_str("ack")));
    assert_true(kd_slice_eq(body, kd_slice_str("x\n")));
    assert_true(job_split(kd_slice_str("\n"), &i, &body));
    assert_int_equal(i, JOB_TYPES);
    assert_int_equal(body.n, 0);
}

/* --- writing --- */

static bool
write_file(const char *path, const char *name, struct kd_slice body)
{
    FILE *f = fopen(path, "wbe");

    if (f == NULL)
        return false;
    bool ok = fprintf(f, "%s\n", name) > 0 && fwrite(body.p, 1, body.n, f) == body.n;
    return fclose(f) == 0 && ok;
}

/* A small one: among many. */
static void
sample(size_t i, struct kd_buf *b)
{
    struct kd_buf one;

    for (int k = 0; k < TRIES && (k == 0 || b->n > 512); k++) {
        kd_buf_init(&one, KD_CHAN_BODY_MAX);
        job_sample(i, &one);
        if (k == 0 || one.n < b->n) {
            kd_buf_reset(b);
            kd_buf_put(b, kd_buf_slice(&one));
        }
        kd_buf_free(&one);
    }
}

static bool
is_bent(const char *name)
{
    for (size_t k = 0; k < N_BENT; k++)
        if (strcmp(name, bent[k]) == 0)
            return true;
    return false;
}

static bool
write_message(size_t i)
{
    const char *name = job_name(i);
    struct kd_buf b;
    bool ok;

    kd_buf_init(&b, KD_CHAN_BODY_MAX + 1);
    sample(i, &b);
    ok = write_file(path_of(name, ""), name, kd_buf_slice(&b));
    if (ok && is_bent(name)) {
        ok = write_file(path_of(name, "_cut"), name, kd_slice(b.p, b.n - 1));
        kd_buf_u8(&b, 0);
        ok = ok && write_file(path_of(name, "_long"), name, kd_buf_slice(&b));
    }
    kd_buf_free(&b);
    return ok;
}

static int
write_corpus(void)
{
    for (size_t i = 0; i < JOB_TYPES; i++) {
        const char *name = job_name(i);
        bool is_good = has_good_file(i) && (!is_bent(name) || has_bent_files(name));
        if (!is_good && !write_message(i)) {
            perror(path_of(name, ""));
            return 1;
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_has_a_file_that_is_read_as_it),
        cmocka_unit_test(an_octet_less_or_more_is_none),
        cmocka_unit_test(every_file_names_a_message),
        cmocka_unit_test(names_are_found_whole),
    };

    if (sodium_init() < 0)
        return 1;
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_corpus();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
