/* keyd-run: a provisioned daemon for somebody at a terminal or a script.
 *
 *   keyd-run [-n] [-t]   starts one, prints its directory, and stops it (and removes
 *                        the directory) at the end of its standard input; -n: no keys
 *                        yet; -t: a remote listener too, DIRECTORY/port says where,
 *                        for mx1.pem with mx1.key beside it, under ca.pem
 *
 * The sockets are DIRECTORY/run/submission.sock and so on; the caller is a principal of
 * every class. */
#include "tls_peer.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int
run(bool keys, const struct tls_place *place)
{
    struct daemon_options o = {.top = place == NULL ? NULL : place->top};
    struct daemon d;
    char c;

    if (!daemon_start(&d, &o) || (keys && !daemon_provision(&d, NULL)))
        return 1;
    if (place != NULL)
        tls_place_share(place, d.dir);
    printf("%s\n", d.dir);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        continue;
    int status = daemon_stop(&d);
    daemon_clear(&d);
    return status == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    static struct tls_place place;
    bool keys = true, remote = false;
    int opt;

    signal(SIGPIPE, SIG_IGN);
    while ((opt = getopt(argc, argv, "nt")) != -1) {
        if (opt == '?')
            return 64;
        keys &= opt != 'n';
        remote |= opt == 't';
    }
    if (remote)
        tls_place_make(&place, NULL);
    int status = run(keys, remote ? &place : NULL);
    if (remote)
        tls_place_clear(&place);
    return status;
}
