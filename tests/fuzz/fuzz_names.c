/* Names and addresses as people have them: what is taken is a name inside, and so is
 * every name that is walked for it. */
#include "fuzz.h"
#include "names.h"

#include <arpa/inet.h>
#include <string.h>

static void
check_name(const char *name)
{
    char again[DNS_NAME_MAX + 1];
    struct in_addr ip;

    fuzz_require(dns_name_ok(name));
    fuzz_require(strpbrk(name, "_:[]@") == NULL);
    fuzz_require(inet_aton(name, &ip) == 0);
    fuzz_require(name_normal(kd_slice_str(name), again) == KD_OK);
    fuzz_require(strcmp(name, again) == 0);
}

static void
check_walk(const struct suffixes *s, const char *name)
{
    static struct name_list list, shorter;

    if (suffixes_walk(s, name, &list) != KD_OK)
        return;
    fuzz_require(list.n <= NAMES_MAX);
    if (list.n == 0)
        return;
    fuzz_require(strcmp(list.names[list.n - 1], name) == 0);
    for (size_t i = 0; i + 1 < list.n; i++) {
        const char *deeper = strchr(list.names[i + 1], '.');

        fuzz_require(deeper != NULL && strcmp(deeper + 1, list.names[i]) == 0);
    }
    /* above the first is a suffix, at which nothing is asked */
    fuzz_require(strchr(list.names[0], '.') != NULL);
    fuzz_require(suffixes_walk(s, strchr(list.names[0], '.') + 1, &shorter) == KD_OK);
    fuzz_require(shorter.n == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct suffixes *suffixes;
    char name[DNS_NAME_MAX + 1];

    if (suffixes == NULL)
        fuzz_require(suffixes_new(NULL, &suffixes) == KD_OK);
    fuzz_begin(size);
    if (name_normal(kd_slice(data, size), name) == KD_OK) {
        check_name(name);
        check_walk(suffixes, name);
    }
    fuzz_end();
    return 0;
}
