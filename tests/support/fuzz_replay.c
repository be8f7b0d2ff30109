/* Runs a fuzz target over files and folders named on the command line: every test
 * run replays the corpora. An empty corpus is an error, so that a wrong path shows. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static unsigned n_run;

static void
replay_file(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");

    if (f == NULL || stat(path, &st) != 0) {
        perror(path);
        exit(2);
    }
    uint8_t *octets = malloc((size_t)st.st_size + 1);
    if (octets == NULL ||
        fread(octets, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        perror(path);
        exit(2);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(octets, (size_t)st.st_size);
    free(octets);
    n_run++;
}

static void
replay_folder(const char *path, DIR *dir)
{
    struct dirent *e;

    while ((e = readdir(dir)) != NULL) {
        char name[4096];
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name)
            exit(2);
        replay_file(name);
    }
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            replay_file(argv[i]);
            continue;
        }
        replay_folder(argv[i], dir);
        closedir(dir);
    }
    printf("%u inputs\n", n_run);
    return n_run == 0 ? 1 : 0;
}
