/* keyd-run: a provisioned daemon for somebody at a terminal or a script.
 *
 *   keyd-run [-n] [-t] [-c]
 *
 * starts one, prints its directory, and stops it (and removes the directory) at the end
 * of its standard input. Until then a line "stop" stops it and a line "start" starts it
 * again; each is answered by the same line when that was done, where started means that
 * the process is there and not what state it is in.
 *
 *   -n  no keys yet
 *   -t  a remote listener too: DIRECTORY/port says where, for mx1.pem with mx1.key
 *       beside it, under ca.pem
 *   -c  the newest checkpoint is kept outside of the state:
 * DIRECTORY/outside/checkpoint
 *
 * The sockets are DIRECTORY/run/submission.sock and so on; the caller is a principal of
 * every class. */
#include "tls_peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A folder that the ledger can write. */
struct outside {
    char dir[64];
    char top[128]; /* of the configuration */
};

static bool
outside_make(struct outside *o)
{
    const char *base = getenv("TMPDIR");

    if (base == NULL || strlen(base) > 30)
        base = "/tmp";
    snprintf(o->dir, sizeof o->dir, "%s/keyd-outside-XXXXXX", base);
    if (mkdtemp(o->dir) == NULL) {
        perror(o->dir);
        o->dir[0] = '\0';
        return false;
    }
    snprintf(o->top, sizeof o->top, "checkpoint-file = \"%s/checkpoint\"\n", o->dir);
    if (geteuid() == 0 && chown(o->dir, DAEMON_LEDGER, DAEMON_GROUP) != 0) {
        perror(o->dir);
        return false;
    }
    return true;
}

static void
outside_clear(const struct outside *o)
{
    static const char *const files[] = {"checkpoint", "checkpoint.head"};
    char path[128];

    if (o->dir[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", o->dir, files[i]);
        unlink(path);
    }
    if (rmdir(o->dir) != 0)
        perror(o->dir);
}

/* Does what it is told until the end of the input; false: something was not done. */
static bool
obey(struct daemon *d)
{
    char line[16];

    while (fgets(line, sizeof line, stdin) != NULL) {
        bool ok = strcmp(line, "stop\n") == 0    ? daemon_stop(d) == 0
                  : strcmp(line, "start\n") == 0 ? daemon_launch(d)
                                                 : false;
        if (!ok)
            return false;
        fputs(line, stdout);
        fflush(stdout);
    }
    return true;
}

static int
run(bool keys, const char *top, const struct outside *outside,
    const struct tls_place *place)
{
    struct daemon_options o = {.top = top};
    char path[128];
    struct daemon d;

    if (!daemon_start(&d, &o) || (keys && !daemon_provision(&d, NULL)))
        return 1;
    if (place != NULL)
        tls_place_share(place, d.dir);
    snprintf(path, sizeof path, "%s/outside", d.dir);
    if (outside->dir[0] != '\0' && symlink(outside->dir, path) != 0)
        abort();
    printf("%s\n", d.dir);
    fflush(stdout);
    bool ok = obey(&d);
    int status = daemon_stop(&d);
    daemon_clear(&d);
    return ok && status == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    static struct tls_place place;
    static struct outside outside;
    bool keys = true, remote = false, checkpoint = false;
    int opt, status = 1;

    signal(SIGPIPE, SIG_IGN);
    while ((opt = getopt(argc, argv, "nct")) != -1) {
        if (opt == '?')
            return 64;
        keys &= opt != 'n';
        remote |= opt == 't';
        checkpoint |= opt == 'c';
    }
    if (remote)
        tls_place_make(&place, NULL);
    if (!checkpoint || outside_make(&outside)) {
        char top[sizeof outside.top + sizeof place.top];
        snprintf(top, sizeof top, "%s%s", outside.top, place.top);
        status = run(keys, top, &outside, remote ? &place : NULL);
    }
    outside_clear(&outside);
    if (remote)
        tls_place_clear(&place);
    return status;
}
