/* The resolver's files after somebody has written into them: opening, reading and
 * writing end with an error or with what was put in, never with anything else; and
 * what stood in one file of the ring alone is not lost.
 *
 * Input: changes of five octets to good files, each {file, u24 place, octet}. file: 0
 * and 1 the ring's, 2 the cache; 16 and on: the file is cut at that place. The last
 * file: 255, and all that follows is the cache as it is. */
#include "fuzz.h"
#include "store.h"

#include <keyd/base/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3, CHANGE = 5, NAMES = 6, SIGNET = 700, MOST = 1 << 20, CUT = 16 };
enum { NOW = 1800000000, WHOLE = 255 };

static const char *const files[FILES] = {"ring.db", "ring.copy.db", "cache.db"};
static char dir[128], damaged[160];
static struct {
    uint8_t *p;
    size_t n;
} good[FILES];

static struct name {
    char text[32];
    uint8_t octets[SIGNET], core[DIME_FINGERPRINT_SIZE], full[DIME_FINGERPRINT_SIZE];
} names[NAMES];

/* --- good files ---------------------------------------------------------------------
 */

static char *
path_of(size_t i, char out[256])
{
    kd_ignore(snprintf(out, 256, "%s/%s", damaged, files[i]));
    return out;
}

static void
load(size_t i)
{
    char path[256];
    FILE *f = fopen(path_of(i, path), "re");

    fuzz_require(f != NULL);
    good[i].p = malloc(MOST);
    good[i].n = fread(good[i].p, 1, MOST, f);
    fuzz_require(good[i].n != 0 && good[i].n < MOST);
    kd_ignore(fclose(f));
}

static void
clean(void)
{
    char path[300], command[512];

    kd_ignore(snprintf(path, sizeof path, "%s", damaged));
    kd_ignore(snprintf(command, sizeof command, "rm -rf '%s'", dir));
    kd_ignore(system(command));
}

static void
put_all(struct store *s)
{
    bool is_kept;

    for (size_t i = 0; i < NAMES; i++) {
        struct name *n = &names[i];
        kd_ignore(snprintf(n->text, sizeof n->text, "n%zu@example.com", i));
        memset(n->octets, 'a' + (int)i, sizeof n->octets);
        memset(n->core, 1 + (int)i, sizeof n->core);
        memset(n->full, 101 + (int)i, sizeof n->full);
        fuzz_require(store_signet_put(s, n->text, kd_slice(n->octets, SIGNET), n->core,
                                      n->full, false, NOW) == KD_OK);
    }
    fuzz_require(store_record_put(s, "example.com", kd_slice_str("pok=x "), true, 300,
                                  30, NOW, &is_kept) == KD_OK);
}

static void
make(void)
{
    const char *tmp = getenv("TMPDIR"), *why;
    struct store *s = NULL;

    kd_ignore(snprintf(dir, sizeof dir, "%s/fuzz-store-XXXXXX",
                       tmp == NULL || strlen(tmp) > 80 ? "/tmp" : tmp));
    fuzz_require(mkdtemp(dir) != NULL);
    kd_ignore(atexit(clean));
    kd_ignore(snprintf(damaged, sizeof damaged, "%s/state", dir));
    fuzz_require(store_open(damaged, NULL, &s, &why) == KD_OK);
    put_all(s);
    store_close(s);
    for (size_t i = 0; i < FILES; i++)
        load(i);
}

/* --- damaged ones -------------------------------------------------------------------
 */

static void
save(size_t i, const uint8_t *p, size_t n)
{
    char path[256], other[300];
    FILE *f = fopen(path_of(i, path), "we");

    fuzz_require(f != NULL);
    fuzz_require(fwrite(p, 1, n, f) == n && fclose(f) == 0);
    kd_ignore(snprintf(other, sizeof other, "%s-wal", path));
    kd_ignore(unlink(other));
    kd_ignore(snprintf(other, sizeof other, "%s-shm", path));
    kd_ignore(unlink(other));
}

/* Which files are no longer good, as a set. */
static unsigned
damage(const uint8_t *data, size_t size)
{
    static uint8_t copy[FILES][MOST];
    size_t n[FILES];
    unsigned changed = 0;

    for (size_t i = 0; i < FILES; i++) {
        memcpy(copy[i], good[i].p, good[i].n);
        n[i] = good[i].n;
    }
    for (; size >= CHANGE && data[0] != WHOLE; data += CHANGE, size -= CHANGE) {
        size_t i = data[0] % CUT % FILES;
        size_t at =
            ((size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]) % good[i].n;
        if (data[0] >= CUT)
            n[i] = at < n[i] ? at : n[i];
        else
            copy[i][at] = data[4];
        changed |= 1U << i;
    }
    if (size != 0 && data[0] == WHOLE && size - 1 <= MOST) {
        n[2] = size - 1;
        memcpy(copy[2], data + 1, n[2]);
        changed |= 1U << 2;
    }
    for (size_t i = 0; i < FILES; i++)
        save(i, copy[i], n[i]);
    return changed;
}

static void
look(struct store *s, bool has_all)
{
    struct store_record r;

    for (size_t i = 0; i < NAMES; i++) {
        struct store_signet got;
        kd_err err = store_signet_get(s, names[i].text, &got);
        fuzz_require(err == KD_OK || !has_all);
        if (err != KD_OK)
            continue;
        fuzz_require(
            kd_slice_eq(kd_buf_slice(&got.octets), kd_slice(names[i].octets, SIGNET)));
        kd_buf_free(&got.octets);
    }
    if (store_record_get(s, "example.com", NOW + 10, &r) == KD_OK) {
        fuzz_require(kd_slice_eq(kd_buf_slice(&r.text), kd_slice_str("pok=x ")));
        fuzz_require(r.is_secure);
        kd_buf_free(&r.text);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store *s = NULL;
    const char *why = NULL;

    if (good[0].p == NULL)
        make();
    unsigned changed = damage(data, size);
    bool has_all = (changed & 3) != 3; /* one file of the ring is as it was */
    kd_err err = store_open(damaged, NULL, &s, &why);
    /* A later release's files stay as they are, and nothing is opened. */
    fuzz_require(err == KD_OK || err == KD_UNSUPPORTED || err == KD_IO);
    fuzz_require(err != KD_IO || changed != 0);
    if (err != KD_OK) {
        fuzz_require(why != NULL);
        return 0;
    }
    look(s, has_all);
    if (has_all)
        put_all(s);
    store_close(s);
    if (has_all) { /* mended, it is good */
        fuzz_require(store_open(damaged, NULL, &s, &why) == KD_OK);
        look(s, true);
        store_close(s);
    }
    return 0;
}
