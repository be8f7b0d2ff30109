#include "softhsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

const char *
softhsm_module(void)
{
    static char path[PATH_MAX];

    if (access("/usr/bin/softhsm2-util", X_OK) != 0 || realpath(MODULE, path) == NULL)
        return NULL;
    return path;
}

bool
softhsm_script(const char *text, const char *a, const char *b)
{
    int status = -1;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-ec", text, "sh", a, b, (char *)NULL);
        _exit(127);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
        return true;
    fprintf(stderr, "softhsm: %s (%s %s): status %d\n", text, a, b, status);
    return false;
}

bool
softhsm_add(const struct softhsm *s, const char *label, unsigned uid)
{
    char user[160];
    int n = snprintf(user, sizeof user, "%s:%u", label, uid);

    return n > 0 && (size_t)n < sizeof user &&
           softhsm_script("l=${2%:*}; u=${2#*:}; as=; export SOFTHSM2_CONF=$1/conf\n"
                          "[ $(id -u) != 0 ] || as=\"setpriv --reuid $u --regid $u "
                          "--clear-groups\"\n"
                          "$as softhsm2-util --init-token --free --label \"$l\" "
                          "--pin " SOFTHSM_PIN " --so-pin 135790 >/dev/null",
                          s->folder, user);
}

void
softhsm_at(struct softhsm *s, const char *folder, const char *label)
{
    *s = (struct softhsm){.folder = ""};
    snprintf(s->folder, sizeof s->folder, "%s/%s", folder, label);
    snprintf(s->paths, sizeof s->paths, "%s/paths", s->folder);
    snprintf(s->conf, sizeof s->conf, "%s/conf", s->folder);
    snprintf(s->environment, sizeof s->environment, "SOFTHSM2_CONF=%s", s->conf);
    snprintf(s->pin, sizeof s->pin, "%s/pin", s->folder);
    snprintf(s->label, sizeof s->label, "%s", label);
}

bool
softhsm_make(struct softhsm *s, const char *folder, const char *label, unsigned uid)
{
    char owner[32];

    softhsm_at(s, folder, label);
    snprintf(owner, sizeof owner, "%u", uid);
    return softhsm_script(
               "mkdir $1; chmod 711 $1; mkdir -m 700 $1/paths $1/paths/tokens\n"
               "printf 'directories.tokendir = %s/paths/tokens\\n' $1 >$1/conf\n"
               "printf 'objectstore.backend = file\\nlog.level = ERROR\\n' >>$1/conf\n"
               "chmod 644 $1/conf; (umask 077; printf " SOFTHSM_PIN " >$1/pin)\n"
               "[ $(id -u) != 0 ] || chown -R $2:$2 $1/paths",
               s->folder, owner) &&
           softhsm_add(s, label, uid);
}

bool
softhsm_pull_out(const struct softhsm *s)
{
    return softhsm_script("mv $1/tokens $1/away", s->paths, "");
}

bool
softhsm_put_back(const struct softhsm *s)
{
    return softhsm_script("mv $1/away $1/tokens", s->paths, "");
}

bool
softhsm_digest(const struct softhsm *s, char out[65])
{
    char command[512];

    snprintf(command, sizeof command,
             "cd %s && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum",
             s->paths);
    FILE *p = popen(command, "r");
    bool ok = p != NULL && fread(out, 1, 64, p) == 64;
    out[64] = '\0';
    return (p == NULL || pclose(p) == 0) && ok;
}
