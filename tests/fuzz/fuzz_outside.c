/* The files kept outside of the registry: the first octet says how long the checkpoint
 * is, the rest is NAME.head. What is read as good is written again as it was. */
#include "fuzz.h"

#include <keyd/ledger/outside.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int folder = -1;
static char path[] = "/tmp/keyd-fuzz-XXXXXX";

static void
remove_folder(void)
{
    kd_ignore(unlinkat(folder, "c", 0));
    kd_ignore(unlinkat(folder, "c.head", 0));
    kd_ignore(rmdir(path));
}

static void
make_folder(void)
{
    fuzz_require(mkdtemp(path) != NULL);
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fuzz_require(folder >= 0 && atexit(remove_folder) == 0);
}

static void
put(const char *name, const uint8_t *p, size_t n)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    fuzz_require(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_outside o, again;

    if (folder < 0)
        make_folder();
    if (size == 0)
        return 0;
    size_t n = data[0] < size - 1 ? data[0] : size - 1;
    put("c", data + 1, n);
    put("c.head", data + 1 + n, size - 1 - n);
    fuzz_begin(size);
    kd_err err = kd_outside_read(folder, "c", &o);
    fuzz_end();
    fuzz_require(err == KD_OK);
    fuzz_require(!o.has_checkpoint || o.n == n);
    if (o.has_head) {
        int fd = -1;
        fuzz_require(kd_outside_head_open(folder, "c", &fd) == KD_OK);
        fuzz_require(kd_outside_head_write(fd, 0, &o.head) == KD_OK);
        close(fd);
        fuzz_require(kd_outside_read(folder, "c", &again) == KD_OK && again.has_head);
        fuzz_require(again.head.seq == o.head.seq && again.head.epoch == o.head.epoch);
    }
    return 0;
}
