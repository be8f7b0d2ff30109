#include "paths.h"

#include "../../keyd/role.h"

#include <keyd/p11/module_file.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 3,
    ENTRIES_MAX = 4096,
    CONFINED_MAX = 16 + 2 * KD_CONF_TOKEN_LIST_MAX
};

/* Where libraries, and what they read as a matter of course, are. */
static const char *const common[] = {
    "/usr/lib",       "/usr/lib64",       "/lib",           "/lib64",
    "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl"};

struct confined {
    struct kd_sandbox_path list[CONFINED_MAX];
    size_t n;
};

/* What is not there is nothing to allow; that it should be is told by paths_look. */
static void
allow(struct confined *c, const char *path, enum kd_path_access access)
{
    int fd = c->n < CONFINED_MAX ? open(path, O_PATH | O_CLOEXEC) : -1;

    if (fd >= 0)
        c->list[c->n++] = (struct kd_sandbox_path){fd, access};
}

static void
allow_folder_of(struct confined *c, const char *path)
{
    char folder[P11_MODULE_PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path || strlen(path) >= sizeof folder)
        return;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    allow(c, folder, KD_PATH_READ);
}

void
paths_confine(const struct kd_conf_for_p11 *conf, enum kd_role role)
{
    struct confined c = {.n = 0};
    char real[P11_MODULE_PATH_MAX];
    struct p11_finding ignored;

    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        allow(&c, common[i], KD_PATH_READ);
    allow_folder_of(&c, conf->module);
    /* It may be a link to elsewhere; one that is not to be loaded is told later. */
    if (p11_module_resolve(conf->module, geteuid(), real, &ignored) == P11_FINE)
        allow_folder_of(&c, real);
    for (size_t i = 0; i < conf->n_files; i++)
        allow(&c, conf->files[i], KD_PATH_READ);
    for (size_t i = 0; i < conf->n_paths; i++)
        allow(&c, conf->paths[i], conf->is_maker ? KD_PATH_TREE : KD_PATH_READ);
    struct kd_sandbox_paths paths = {c.list, c.n};
    kd_role_confine(role, &paths, conf->hardening);
    for (size_t i = 0; i < c.n; i++)
        close(c.list[i].fd);
}

/* By trying: rights, mounts and Landlock all count. Nothing is left behind. */
static bool
is_writable(const FTSENT *e)
{
    bool folder = e->fts_info == FTS_D;
    int fd = folder ? open(e->fts_path, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)
                    : open(e->fts_path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static enum p11_finding_code
told(struct p11_finding *why, enum p11_finding_code code, const char *path, int error)
{
    char text[P11_WHAT_MAX + 1];

    if (error == 0)
        return finding_set(why, code, 0, path);
    kd_ignore(snprintf(text, sizeof text, "%.60s: %s", path, strerror(error)));
    return finding_set(why, code, 0, text);
}

static enum p11_finding_code
look_at(const FTSENT *e, bool may_write, struct p11_finding *why)
{
    int fd;

    switch (e->fts_info) {
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return told(why, P11_PATH_UNREADABLE, e->fts_path, e->fts_errno);
    case FTS_F:
        if ((fd = open(e->fts_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
            return told(why, P11_PATH_UNREADABLE, e->fts_path, errno);
        close(fd);
        break;
    case FTS_D:
        break;
    default: /* links, sockets, the way back out */
        return P11_FINE;
    }
    return !may_write && is_writable(e) ? told(why, P11_PATH_WRITABLE, e->fts_path, 0)
                                        : P11_FINE;
}

static enum p11_finding_code
look_below(const char *path, bool may_write, struct p11_finding *why)
{
    char own[KD_CONF_TOKEN_TEXT_MAX + 1];
    char *const list[] = {own, NULL};
    enum p11_finding_code code = P11_FINE;
    unsigned n = 0;
    FTSENT *e;

    kd_ignore(snprintf(own, sizeof own, "%s", path)); /* as long as it can be */
    FTS *f = fts_open(list, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
    if (f == NULL)
        return told(why, P11_PATH_UNREADABLE, path, errno);
    while (code == P11_FINE && n++ < ENTRIES_MAX && (e = fts_read(f)) != NULL) {
        code = look_at(e, may_write, why);
        if (e->fts_info == FTS_D && e->fts_level >= DEPTH_MAX)
            kd_ignore(fts_set(f, e, FTS_SKIP)); /* then it is looked at */
    }
    kd_ignore(fts_close(f)); /* read only */
    return code;
}

enum p11_finding_code
paths_look(const struct kd_conf_for_p11 *conf, struct p11_finding *why)
{
    enum p11_finding_code code = finding_set(why, P11_FINE, 0, NULL);
    bool may_write = conf->is_maker || !kd_sandbox_is_real();

    for (size_t i = 0; i < conf->n_files && code == P11_FINE; i++)
        code = look_below(conf->files[i], true, why);
    for (size_t i = 0; i < conf->n_paths && code == P11_FINE; i++)
        code = look_below(conf->paths[i], may_write, why);
    return code;
}
