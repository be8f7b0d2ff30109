/* A provisioned daemon for bench.py, which stops it to fill its registry and starts it
 * again.
 *
 *   bench_daemon [-m|-t] [LINES]    LINES: put into the configuration before its
 *                                   sections; -t: a remote listener too
 *                                   (tls_place_share); -m: with the keys of
 *                                   example.com of the vectors, for messages (post.h)
 *
 * Prints "ready DIRECTORY PID MS" when it serves; MS is what that took since it was
 * launched. Reads "stop" (prints "stopped STATUS") and "start" (prints as above) until
 * the end of its input. */
#include "post.h"
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
serve(struct daemon *d, bool ok)
{
    char line[64];

    while (ok && fgets(line, sizeof line, stdin) != NULL)
        ok = obey(d, line);
    int status = daemon_stop(d);
    daemon_clear(d);
    return ok && status == 0 ? 0 : 1;
}

static int
run(const char *top, const struct tls_place *place)
{
    struct daemon d;
    struct daemon_options options = {.top = top};

    bool ok = daemon_prepare(&d, &options);
    if (ok && place != NULL)
        tls_place_share(place, d.dir);
    int64_t since = kd_clock_ns();
    ok = ok && daemon_launch(&d) && daemon_wait(&d, READY_MS) &&
         daemon_provision(&d, NULL);
    if (ok)
        say_ready(&d, since);
    return serve(&d, ok);
}

static int
run_for_messages(const char *top)
{
    /* alice has one signet that counts, as most people have most of the time */
    const struct post_options options = {.top = top,
                                         .in_domain = " author-grace = 0\n"};
    struct post p;
    int64_t since = kd_clock_ns();

    post_start_com(&p, &options);
    post_disconnect(&p);
    say_ready(&p.d, since);
    return serve(&p.d, true);
}

int
main(int argc, char **argv)
{
    static struct tls_place place;
    bool remote = argc > 1 && strcmp(argv[1], "-t") == 0;
    bool mail = argc > 1 && strcmp(argv[1], "-m") == 0;
    const char *lines = argc > 1 + (remote || mail) ? argv[1 + (remote || mail)] : NULL;

    signal(SIGPIPE, SIG_IGN);
    if (mail)
        return run_for_messages(lines);
    if (!remote)
        return run(lines, NULL);
    tls_place_make(&place, lines);
    int status = run(place.top, &place);
    tls_place_clear(&place);
    return status;
}
