/* keyd-check DIRECTORY [--acks FILE] [--audit-key HEX]
 *
 * Says what is wrong with a registry, one line each. Exit status 0 if nothing is, 1 if
 * something is, 2 for a wrong usage. Run it on the directory of a daemon that has
 * stopped; it works on a copy. */
#include "check.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void
print(void *arg, const char *text)
{
    (void)arg;
    puts(text);
}

static int
usage(void)
{
    fputs("usage: keyd-check DIRECTORY [--acks FILE] [--audit-key HEX]\n", stderr);
    return 2;
}

int
main(int argc, char **argv)
{
    struct check_conf conf = {.report = print};
    uint8_t key[32];
    size_t n;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--acks") == 0 && i + 1 < argc) {
            conf.acks = argv[++i];
        } else if (strcmp(argv[i], "--audit-key") == 0 && i + 1 < argc) {
            i++;
            if (sodium_hex2bin(key, sizeof key, argv[i], strlen(argv[i]), NULL, &n,
                               NULL) != 0 ||
                n != sizeof key)
                return usage();
            conf.audit_key = key;
        } else if (argv[i][0] != '-' && conf.dir == NULL) {
            conf.dir = argv[i];
        } else {
            return usage();
        }
    }
    if (conf.dir == NULL)
        return usage();
    unsigned wrong = check_registry(&conf);
    fprintf(stderr, "keyd-check: %u violations\n", wrong);
    return wrong == 0 ? 0 : 1;
}
