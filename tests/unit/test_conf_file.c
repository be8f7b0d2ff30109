/* The file that keyd.conf is: whose it is, who else can write it, the example. */
#include "../support/conf_text.h"
#include "../support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char folder[32];
    char file[64];
    char secret[64];
    char text[256]; /* as_user's base, with the credential */
};

static int
make_place(void **state)
{
    static struct place place;

    strcpy(place.folder, "/tmp/test_conf.XXXXXX");
    if (mkdtemp(place.folder) == NULL)
        return -1;
    snprintf(place.file, sizeof place.file, "%s/keyd.conf", place.folder);
    snprintf(place.secret, sizeof place.secret, "%s/secret", place.folder);
    snprintf(place.text, sizeof place.text, "\ncredential = \"%s\"\n" TAIL,
             place.secret);
    *state = &place;
    return 0;
}

static int
drop_place(void **state)
{
    struct place *place = *state;

    unlink(place->file);
    unlink(place->secret);
    return rmdir(place->folder);
}

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

static kd_err
load(const char *path)
{
    struct kd_conf_env env = as_user;
    struct kd_conf *conf = NULL;

    env.check_files = true;
    kd_err err = kd_conf_load(path, &env, &conf, &problems);
    kd_conf_free(conf);
    return err;
}

static void
files_that_others_can_write_are_refused(void **state)
{
    static const mode_t bad[] = {0620, 0602, 0666, 0660};
    struct place *place = *state;

    write_file(place->file, TAIL, 0644);
    assert_int_equal(load(place->file), KD_OK);
    assert_int_equal(problems.n, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(place->file, TAIL, bad[i]);
        assert_int_equal(load(place->file), KD_INVALID);
        assert_true(has_problem(0, false, "group or others can write it"));
    }
    write_file(place->file, TAIL, 0400);
    assert_int_equal(chmod(place->folder, 0770), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "its folder, mode 0770"));
    assert_int_equal(chmod(place->folder, 0755), 0);
    assert_int_equal(load(place->file), KD_OK);
    assert_int_equal(chmod(place->folder, 0700), 0);
}

static void
files_of_others_are_refused(void **state)
{
    struct place *place = *state;

    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    write_file(place->file, TAIL, 0644);
    assert_int_equal(chown(place->file, 4711, (gid_t)-1), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "belongs to uid 4711"));
    write_file(place->file, TAIL, 0644);
    assert_int_equal(chown(place->folder, 4711, (gid_t)-1), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(0, false, "its folder belongs to uid 4711"));
    assert_int_equal(chown(place->folder, 0, (gid_t)-1), 0);
}

static void
what_is_no_file_is_refused(void **state)
{
    struct place *place = *state;

    assert_int_equal(load(place->folder), KD_INVALID);
    assert_true(has_problem(0, false, "not a regular file"));
    unlink(place->file);
    assert_int_equal(load(place->file), KD_IO);
    assert_true(has_problem(0, false, "No such file"));
    assert_int_equal(mkfifo(place->file, 0600), 0);
    assert_int_equal(load(place->file), KD_INVALID); /* and does not wait */
    assert_true(has_problem(0, false, "not a regular file"));
    assert_int_equal(load("/dev/null"), KD_INVALID);
}

static void
problems_of_the_file_come_with_those_of_the_text(void **state)
{
    struct place *place = *state;

    write_file(place->file, "color = blue\n" TAIL, 0666);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_int_equal(problems.n, 2);
    assert_true(has_problem(0, false, "can write it"));
    assert_true(has_problem(1, false, "unknown key color"));
}

static void
the_credential_is_for_its_owner_only(void **state)
{
    static const mode_t bad[] = {0640, 0604, 0644, 0700, 0200, 04600};
    struct place *place = *state;

    write_file(place->file, place->text, 0644);
    unlink(place->secret);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(2, false, "credential: No such file"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(place->secret, "x", bad[i]);
        assert_int_equal(load(place->file), KD_INVALID);
        assert_true(has_problem(2, false, "not 0400 or 0600"));
    }
    write_file(place->secret, "x", 0400);
    assert_int_equal(load(place->file), KD_OK);
    write_file(place->secret, "x", 0600);
    assert_int_equal(load(place->file), KD_OK);
    unlink(place->secret);
    assert_int_equal(symlink(place->file, place->secret), 0);
    assert_int_equal(load(place->file), KD_INVALID);
    assert_true(has_problem(2, false, "not a regular file"));
}

static void
a_credential_on_the_same_disk_is_warned_of(void **state)
{
    struct place *place = *state;
    char text[512];

    write_file(place->secret, "x", 0400);
    snprintf(text, sizeof text,
             "credential = \"%s\"\nstate-directory = \"%s/state\"\n" TAIL,
             place->secret, place->folder);
    write_file(place->file, text, 0644);
    snprintf(text, sizeof text, "%s/state", place->folder);
    assert_int_equal(mkdir(text, 0700), 0);
    assert_int_equal(load(place->file), KD_OK);
    assert_true(has_problem(1, true, "on the same disk"));
    assert_int_equal(rmdir(text), 0);
}

static void
the_example_is_accepted(void **state)
{
    struct kd_conf *conf = NULL;

    (void)state;
    assert_int_equal(kd_conf_load(KEYD_SOURCE "/provisioning/examples/keyd.conf",
                                  &as_root, &conf, &problems),
                     KD_OK);
    assert_int_equal(problems.n, 0);
    assert_int_equal(conf->n_principals, 3);
    assert_int_equal(conf->listeners[KD_CLASS_SUBMISSION].workers, 2);
    kd_conf_free(conf);
}

int
main(void)
{
#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)
    const struct CMUnitTest tests[] = {
        IN_A_PLACE(files_that_others_can_write_are_refused),
        IN_A_PLACE(files_of_others_are_refused),
        IN_A_PLACE(what_is_no_file_is_refused),
        IN_A_PLACE(problems_of_the_file_come_with_those_of_the_text),
        IN_A_PLACE(the_credential_is_for_its_owner_only),
        IN_A_PLACE(a_credential_on_the_same_disk_is_warned_of),
        cmocka_unit_test(the_example_is_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
