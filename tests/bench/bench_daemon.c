/* A provisioned daemon for bench.py, which stops it to fill its registry and starts it
 * again.
 *
 *   bench_daemon [-t] [LINES]    LINES: put into the configuration before its sections;
 *                                -t: a remote listener too (tls_place_share)
 *
 * Prints "ready DIRECTORY PID MS" when it serves; MS is what that took since it was
 * launched. Reads "stop" (prints "stopped STATUS") and "start" (prints as above) until
 * the end of its input. */
#include "tls_peer.h"

#include <keyd/base/clock.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { READY_MS = 60000 };

static void
say_ready(const struct daemon *d, int64_t since_ns)
{
    printf("ready %s %d %.1f\n", d->dir, (int)d->pid,
           (double)(kd_clock_ns() - since_ns) / 1e6);
    fflush(stdout);
}

static bool
start(struct daemon *d)
{
    int64_t since = kd_clock_ns();

    if (!daemon_launch(d) || !daemon_wait(d, READY_MS))
        return false;
    say_ready(d, since);
    return true;
}

static bool
obey(struct daemon *d, const char *line)
{
    if (strcmp(line, "start\n") == 0)
        return start(d);
    if (strcmp(line, "stop\n") != 0)
        return false;
    printf("stopped %d\n", daemon_stop(d));
    fflush(stdout);
    return true;
}

static int
run(const char *top, const struct tls_place *place)
{
    struct daemon d;
    struct daemon_options options = {.top = top};
    char line[64];

    bool ok = daemon_prepare(&d, &options);
    if (ok && place != NULL)
        tls_place_share(place, d.dir);
    int64_t since = kd_clock_ns();
    ok = ok && daemon_launch(&d) && daemon_wait(&d, READY_MS) &&
         daemon_provision(&d, NULL);
    if (ok)
        say_ready(&d, since);
    while (ok && fgets(line, sizeof line, stdin) != NULL)
        ok = obey(&d, line);
    int status = daemon_stop(&d);
    daemon_clear(&d);
    return ok && status == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    static struct tls_place place;
    bool remote = argc > 1 && strcmp(argv[1], "-t") == 0;
    const char *lines = argc > 1 + remote ? argv[1 + remote] : NULL;

    signal(SIGPIPE, SIG_IGN);
    if (!remote)
        return run(lines, NULL);
    tls_place_make(&place, lines);
    int status = run(place.top, &place);
    tls_place_clear(&place);
    return status;
}
