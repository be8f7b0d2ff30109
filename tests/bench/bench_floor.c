/* The floors, for bench.py and to be looked at: one JSON object with those asked for.
 */
#include "floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* Messages: a text of 4 KiB; 64 MiB. */
enum { TEXT = 4096, LARGE = 64 << 20 };

static int
usage(void)
{
    fputs("usage: bench_floor SECONDS [issue|step|sign|open|sign-quick|open-quick|\n"
          "                           readings|ipc|commit=DIRECTORY]...\n"
          "       bench_floor SECONDS primitives\n",
          stderr);
    return EX_USAGE;
}

static void
print(const char *name, struct floor f)
{
    static const char *comma = "{";

    printf("%s\"%s\":{\"rate\":%.1f,\"p50_us\":%.2f,\"p99_us\":%.2f}", comma, name,
           f.rate, f.p50_us, f.p99_us);
    comma = ",";
}

int
main(int argc, char **argv)
{
    static const char commit[] = "commit=";
    double seconds = argc < 3 ? 0 : strtod(argv[1], NULL);

    if (!(seconds > 0 && seconds < 3600))
        return usage();
    if (argc == 3 && strcmp(argv[2], "primitives") == 0) {
        floor_print_primitives(seconds);
        return 0;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "issue") == 0)
            print("issue", floor_issue(false, seconds));
        else if (strcmp(argv[i], "step") == 0)
            print("step", floor_issue(true, seconds));
        else if (strcmp(argv[i], "sign") == 0)
            print("sign", floor_sign_outbound(TEXT, false, seconds));
        else if (strcmp(argv[i], "open") == 0)
            print("open", floor_open_envelope(TEXT, false, seconds));
        else if (strcmp(argv[i], "sign-quick") == 0)
            print("sign-quick", floor_sign_outbound(TEXT, true, seconds));
        else if (strcmp(argv[i], "open-quick") == 0)
            print("open-quick", floor_open_envelope(TEXT, true, seconds));
        else if (strcmp(argv[i], "readings") == 0)
            print("readings", floor_readings(LARGE, seconds));
        else if (strcmp(argv[i], "ipc") == 0)
            print("ipc", floor_ipc(seconds));
        else if (strncmp(argv[i], commit, sizeof commit - 1) == 0)
            print("commit", floor_commit(argv[i] + sizeof commit - 1, seconds));
        else
            return usage();
    }
    puts("}");
    return 0;
}
