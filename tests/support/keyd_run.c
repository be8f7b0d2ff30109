/* keyd-run: a provisioned daemon for somebody at a terminal or a script.
 *
 *   keyd-run [-n]      starts one, prints its directory, and stops it (and removes the
 *                      directory) at the end of its standard input; -n: no keys
 *
 * The sockets are DIRECTORY/run/submission.sock and so on; the caller is a principal of
 * every class. */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    struct daemon d;
    char c;
    bool keys = argc < 2 || strcmp(argv[1], "-n") != 0;

    signal(SIGPIPE, SIG_IGN);
    if (!daemon_start(&d, NULL) || (keys && !daemon_provision(&d, NULL)))
        return 1;
    printf("%s\n", d.dir);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        continue;
    int status = daemon_stop(&d);
    daemon_clear(&d);
    return status == 0 ? 0 : 1;
}
