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
#include <stdlib.h>
#include <unistd.h>

/* What a client of the remote listener needs. */
static void
write_remote(const struct daemon *d, const struct tls_place *p)
{
    const struct identity *own[] = {&p->mx1}, *root[] = {&p->root};
    char path[160];

    snprintf(path, sizeof path, "%s/mx1.pem", d->dir);
    certs_write(path, own, 1);
    snprintf(path, sizeof path, "%s/mx1.key", d->dir);
    key_write(path, &p->mx1);
    snprintf(path, sizeof path, "%s/ca.pem", d->dir);
    certs_write(path, root, 1);
    snprintf(path, sizeof path, "%s/port", d->dir);
    FILE *f = fopen(path, "we");
    if (f == NULL || fprintf(f, "%u\n", p->port) < 0 || fclose(f) != 0)
        abort();
}

static int
run(bool keys, const struct tls_place *place)
{
    struct daemon_options o = {.top = place == NULL ? NULL : place->top};
    struct daemon d;
    char c;

    if (!daemon_start(&d, &o) || (keys && !daemon_provision(&d, NULL)))
        return 1;
    if (place != NULL)
        write_remote(&d, place);
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
