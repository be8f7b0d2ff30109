/* The file itself, and what this machine says about users. */
#include "problems.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACCOUNT_BUFFER = 64 * 1024 };

static kd_err
find_user(void *arg, const char *name, uint32_t *uid)
{
    static _Thread_local char buffer[ACCOUNT_BUFFER];
    struct passwd pw, *found = NULL;

    (void)arg;
    if (getpwnam_r(name, &pw, buffer, sizeof buffer, &found) != 0 || found == NULL)
        return KD_NOT_FOUND;
    *uid = pw.pw_uid;
    return KD_OK;
}

static kd_err
find_group(void *arg, const char *name, uint32_t *gid)
{
    static _Thread_local char buffer[ACCOUNT_BUFFER];
    struct group gr, *found = NULL;

    (void)arg;
    if (getgrnam_r(name, &gr, buffer, sizeof buffer, &found) != 0 || found == NULL)
        return KD_NOT_FOUND;
    *gid = gr.gr_gid;
    return KD_OK;
}

void
kd_conf_env_real(struct kd_conf_env *env)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    *env = (struct kd_conf_env){.check_files = true,
                                .as_root = geteuid() == 0,
                                .n_cpus = n < 1 ? 1 : (uint32_t)n,
                                .find_user = find_user,
                                .find_group = find_group};
}

static bool
is_of_others(const struct stat *st)
{
    return st->st_uid != 0 && st->st_uid != geteuid();
}

/* Who can write the file decides who may do what, so only root and ourselves may. */
static void
check_file(const struct stat *st, struct kd_conf_problems *problems)
{
    if (is_of_others(st))
        kd_conf_error(problems, 0, "belongs to uid %u, not to root or to uid %u",
                      (unsigned)st->st_uid, (unsigned)geteuid());
    if ((st->st_mode & 022) != 0)
        kd_conf_error(problems, 0, "mode %04o: group or others can write it",
                      (unsigned)st->st_mode & 07777);
}

/* Who can write the folder can put another file in its place. */
static void
check_folder(const char *path, struct kd_conf_problems *problems)
{
    char *copy = strdup(path);
    struct stat st;

    if (copy == NULL || stat(dirname(copy), &st) != 0)
        kd_conf_error(problems, 0, "its folder: %s", strerror(errno));
    else if (is_of_others(&st))
        kd_conf_error(problems, 0, "its folder belongs to uid %u", (unsigned)st.st_uid);
    else if ((st.st_mode & 022) != 0)
        kd_conf_error(problems, 0,
                      "its folder, mode %04o: group or others can write it",
                      (unsigned)st.st_mode & 07777);
    free(copy);
}

/* Whole, or an errno; a file that grows while being read is refused by the caller. */
static int
read_whole(int fd, uint8_t *out, size_t max, size_t *size)
{
    size_t at = 0;

    while (at < max) {
        ssize_t n = read(fd, out + at, max - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *size = at;
    return 0;
}

static kd_err
load(int fd, const char *path, const struct kd_conf_env *env, struct kd_conf **out,
     struct kd_conf_problems *problems)
{
    struct kd_conf_problems of_file = {0};
    struct stat st;
    size_t size = 0;

    if (fstat(fd, &st) != 0) {
        kd_conf_error(problems, 0, "%s", strerror(errno));
        return KD_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        kd_conf_error(problems, 0, "not a regular file");
        return KD_INVALID;
    }
    if (env->check_files) {
        check_file(&st, &of_file);
        check_folder(path, &of_file);
    }
    uint8_t *text = malloc(KD_CONF_SIZE_MAX + 1);
    if (text == NULL)
        return KD_NOMEM;
    int failed = read_whole(fd, text, KD_CONF_SIZE_MAX + 1, &size);
    if (failed != 0) {
        kd_conf_error(problems, 0, "%s", strerror(failed));
        free(text);
        return KD_IO;
    }
    struct kd_conf *conf = NULL;
    kd_err err = kd_conf_parse(kd_slice(text, size), env, &conf, problems);
    free(text);
    for (size_t i = 0; i < of_file.n; i++)
        kd_conf_error(problems, 0, "%s", of_file.list[i].text);
    kd_conf_sort_problems(problems);
    if (err == KD_OK && problems->n_errors > 0)
        err = KD_INVALID;
    if (err == KD_OK)
        *out = conf;
    else
        kd_conf_free(conf);
    return err;
}

kd_err
kd_conf_load(const char *path, const struct kd_conf_env *env, struct kd_conf **out,
             struct kd_conf_problems *problems)
{
    struct kd_conf_env real;

    *problems = (struct kd_conf_problems){0};
    if (env == NULL) {
        kd_conf_env_real(&real);
        env = &real;
    }
    /* A FIFO must not make us wait, nor a terminal become ours. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        kd_conf_error(problems, 0, "%s", strerror(errno));
        return KD_IO;
    }
    kd_err err = load(fd, path, env, out, problems);
    close(fd);
    return err;
}
