/* Messages cut, changed and put together at random: each is refused with a flaw or its
 * chunks lie inside it, one after the other, as a naive reading finds them; from memory
 * and from a file alike. */
#include "dm.h"
#include "dmj.h"
#include "scale.h"
#include "sg.h"
#include "test.h"

#include <keyd/base/be.h>

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

#define GOOD "libdime/messages", "libdime/independent"

/* Octets in memory and the same in a file, which change together. */
struct twin {
    uint8_t *p;
    size_t n;
    int fd;
    struct dmj_verdict v;
};

static void
twin_begin(struct twin *t, struct kd_slice octets)
{
    *t = (struct twin){.p = malloc(octets.n), .n = octets.n};
    assert_non_null(t->p);
    memcpy(t->p, octets.p, octets.n);
    assert_true((t->fd = memfd_create("twin", MFD_CLOEXEC)) >= 0);
    assert_true(pwrite(t->fd, t->p, t->n, 0) == (ssize_t)t->n);
}

static void
twin_end(struct twin *t)
{
    close(t->fd);
    free(t->p);
}

static void
twin_write(struct twin *t, size_t at, const uint8_t *octets, size_t n)
{
    memcpy(t->p + at, octets, n);
    assert_true(pwrite(t->fd, octets, n, (off_t)at) == (ssize_t)n);
}

/* Of the first n octets, which stand at the end of a block so that memory checkers see
 * any step outside. */
static enum dime_flaw
twin_flaw(struct twin *t, size_t n)
{
    uint8_t *exact = malloc(n + (n == 0));

    assert_non_null(exact);
    memcpy(exact, t->p, n);
    const char *why = dmj_judge(kd_slice(exact, n), t->fd, &t->v);
    if (why != NULL)
        fail_msg("%s (%s)", why, dime_flaw_name(t->v.flaw));
    free(exact);
    return t->v.flaw;
}

/* Calls f with every file *.bin of a folder of messages; how many there were. */
static size_t
for_each_file(const char *folder, void (*f)(const char *name, struct kd_slice octets))
{
    char path[1024];
    struct dirent *entry;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/%s", KEYD_VECTORS, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".bin") != 0 ||
            strncmp(entry->d_name, "attach", 6) == 0 ||
            strncmp(entry->d_name, "display", 7) == 0)
            continue; /* what is put into messages */
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        struct kd_slice octets = sg_file(path);
        f(path, octets);
        sg_free(octets);
        n++;
    }
    closedir(dir);
    return n;
}

/* --- the vectors as they are --- */

static size_t n_good;

static void
judge(const char *name, struct kd_slice octets)
{
    struct twin t;

    twin_begin(&t, octets);
    n_good += twin_flaw(&t, octets.n) == DIME_FLAW_NONE;
    if (strstr(name, "malformed") == NULL && t.v.flaw != DIME_FLAW_NONE)
        fail_msg("%s: %s", name, dime_flaw_name(t.v.flaw));
    twin_end(&t);
}

/* Which flaw each of them has is in test_dm_vectors. */
static void
every_vector_is_read_alike_from_memory_and_from_a_file(void **state)
{
    static const char *const good[] = {GOOD};
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < LEN(good); i++)
        n += for_each_file(good[i], judge);
    assert_int_equal(n, 18);
    assert_int_equal(for_each_file("libdime/malformed/messages", judge), 39);
    assert_int_equal(n_good, 18 + 19);
    struct kd_slice msg = sg_file("appendix/MSG.b64");
    judge("MSG", msg);
    sg_free(msg);
}

/* --- cut --- */

/* What a message is said to lack that ends behind a chunk of this type. */
static enum dime_flaw
flaw_behind(uint8_t type)
{
    return type < 226 ? DIME_FLAW_MISSING : DIME_FLAW_UNSIGNED;
}

static void
cut(const char *name, struct kd_slice octets)
{
    static struct dmj_chunk seen[64];
    const struct dmj_chunk *found;
    struct twin t;
    uint8_t length[4];
    size_t n, i = 0;

    twin_begin(&t, octets);
    assert_true(dmj_read(octets, &found, &n) && n <= LEN(seen));
    memcpy(seen, found, n * sizeof *seen);
    size_t header = seen[0].at - DIME_MESSAGE_HEADER;
    for (size_t at = 0; at < octets.n; at++) {
        /* with the header that it had */
        enum dime_flaw got = twin_flaw(&t, at);
        enum dime_flaw want = at >= header + DIME_MESSAGE_HEADER ? DIME_FLAW_LENGTH
                              : at >= header || at < 4           ? DIME_FLAW_SHORT
                                                                 : DIME_FLAW_TRACING;
        if (got != want)
            fail_msg("%s at %zu: %s", name, at, dime_flaw_name(got));
    }
    for (size_t at = seen[0].at; at < octets.n; at++) {
        /* with a header that says so */
        kd_put_be32(length, (uint32_t)(at - seen[0].at));
        twin_write(&t, header + 2, length, sizeof length);
        while (seen[i].end < at)
            i++;
        enum dime_flaw got = twin_flaw(&t, at);
        enum dime_flaw want = at == seen[0].at    ? DIME_FLAW_MISSING
                              : at == seen[i].end ? flaw_behind(seen[i].type)
                                                  : DIME_FLAW_CUT;
        if (got != want)
            fail_msg("%s cut to %zu: %s", name, at, dime_flaw_name(got));
    }
    twin_end(&t);
}

static void
a_good_message_cut_anywhere_is_refused(void **state)
{
    static const char *const good[] = {GOOD};
    struct kd_slice msg = sg_file("appendix/MSG.b64");

    (void)state;
    for (size_t i = 0; i < LEN(good); i++)
        assert_true(for_each_file(good[i], cut) >= 5);
    cut("MSG", msg);
    sg_free(msg);
}

/* A file that is not as long as was said: what is there is read, what is not is an
 * error where it is asked for. */
static void
a_file_that_becomes_shorter_is_an_error_where_it_ends(void **state)
{
    struct kd_slice octets = sg_file("libdime/messages/m1.signed.bin");
    size_t n_parsed = 0;
    struct twin t;

    (void)state;
    twin_begin(&t, octets);
    struct dime_source file = dime_source_file(t.fd, octets.n);
    for (size_t n = octets.n; n-- > 0;) {
        struct dime_message m;
        enum dime_flaw why;
        uint8_t octet;
        assert_int_equal(ftruncate(t.fd, (off_t)n), 0);
        kd_err err = dime_message_parse(&file, octets.n, &m, &why);
        assert_int_equal(dime_source_read(&file, n, &octet, 1), KD_MALFORMED);
        assert_true(n == 0 || dime_source_read(&file, n - 1, &octet, 1) == KD_OK);
        if (err == KD_OK) {
            n_parsed++; /* its last head was still there */
            continue;
        }
        assert_int_equal(err, KD_MALFORMED);
        assert_int_not_equal(why, DIME_FLAW_NONE);
    }
    assert_int_equal(n_parsed, 64 + 4 * 64); /* payload and slots of 255 */
    twin_end(&t);
    sg_free(octets);
}

static void
a_file_that_cannot_be_read_is_no_flaw_of_the_message(void **state)
{
    struct kd_slice octets = sg_file("libdime/messages/m1.signed.bin");
    struct dime_message m, good;
    struct dime_chunk c;
    struct twin t;
    kd_err err;

    (void)state;
    twin_begin(&t, octets);
    struct dime_source file = dime_source_file(t.fd, octets.n);
    assert_int_equal(dime_message_parse(&file, octets.n, &good, NULL), KD_OK);
    twin_end(&t);
    uint64_t at = good.begin;
    assert_false(dime_message_next(&good, &at, good.end, &c, &err));
    assert_int_equal(err, KD_IO);
    assert_int_equal(at, good.begin);
    assert_int_equal(dime_message_parse(&file, octets.n, &m, NULL), KD_IO);
    assert_int_equal(dime_object_magic(&file), 0);
    sg_free(octets);
}

/* --- changed --- */

static void
every_changed_bit_is_refused_or_leaves_chunks_inside(void **state)
{
    struct kd_slice octets = sg_file("libdime/messages/m1.signed.bin");
    size_t n[DIME_FLAW_COUNT] = {0};
    struct twin t;

    (void)state;
    twin_begin(&t, octets);
    for (size_t bit = 0; bit < 8 * octets.n; bit++) {
        uint8_t was = t.p[bit / 8], is = (uint8_t)(was ^ 1u << bit % 8);
        twin_write(&t, bit / 8, &is, 1);
        n[twin_flaw(&t, octets.n)]++;
        twin_write(&t, bit / 8, &was, 1);
    }
    assert_int_equal(twin_flaw(&t, octets.n), DIME_FLAW_NONE);
    for (unsigned i = 0; i < DIME_FLAW_COUNT; i++)
        if (n[i] != 0)
            printf("%s %zu, ", dime_flaw_name((enum dime_flaw)i), n[i]);
    printf("of %zu bits\n", 8 * octets.n);
    assert_int_equal(n[DIME_FLAW_MAGIC], 16);
    assert_int_equal(n[DIME_FLAW_LENGTH], 32);
    /* 11 heads of 4 octets; half of all keys are none, but for the prefix's low bit */
    size_t heads = 8 * 4 * 11, key = 8 * 33;
    assert_true(n[DIME_FLAW_NONE] >= 8 * octets.n - 48 - heads - key);
    assert_in_range(n[DIME_FLAW_EPHEMERAL], key / 3, key * 2 / 3);
    twin_end(&t);
    sg_free(octets);
}

/* --- at random --- */

struct dice {
    uint64_t round;
    uint32_t left[16];
    size_t n;
};

static uint32_t
throw_dice(struct dice *d, uint32_t below)
{
    uint8_t seed[randombytes_SEEDBYTES] = {0x64};

    if (d->n == 0) {
        kd_put_be64(seed + 1, ++d->round);
        randombytes_buf_deterministic(d->left, sizeof d->left, seed);
        d->n = LEN(d->left);
    }
    return d->left[--d->n] % below;
}

enum { LIST_MAX = 32, LIST_ROUNDS = 200000 };

/* A good list of types with up to three edits. */
static size_t
make_list(struct dice *d, uint8_t types[LIST_MAX])
{
    static const uint8_t whole[] = {2,   3,   4,   5,   33,  34, 67,
                                    131, 225, 226, 248, 249, 255};
    static const uint8_t pool[] = {2,   3,   4,   5,   33,  34,  65, 66, 67, 129, 130,
                                   131, 225, 226, 248, 249, 255, 0,  1,  6,  64,  200};
    size_t n = sizeof whole;

    memcpy(types, whole, n);
    for (uint32_t edits = throw_dice(d, 4); edits > 0; edits--) {
        size_t at = throw_dice(d, (uint32_t)n);
        switch (throw_dice(d, 4)) {
        case 0: /* leaves out */
            memmove(types + at, types + at + 1, --n - at);
            break;
        case 1: /* puts in */
            memmove(types + at + 1, types + at, n++ - at);
            types[at] = pool[throw_dice(d, LEN(pool))];
            break;
        case 2:
            types[at] = pool[throw_dice(d, LEN(pool))];
            break;
        default: { /* exchanges */
            size_t other = throw_dice(d, (uint32_t)n);
            uint8_t type = types[at];
            types[at] = types[other];
            types[other] = type;
        }
        }
    }
    return n;
}

static void
lists_of_chunks_at_random_are_judged_as_naively(void **state)
{
    static const enum dime_flaw expected[] = {
        DIME_FLAW_NONE,    DIME_FLAW_ORDER,    DIME_FLAW_REPEATED,   DIME_FLAW_MISSING,
        DIME_FLAW_HEADING, DIME_FLAW_UNSIGNED, DIME_FLAW_NO_DISPLAY, DIME_FLAW_TYPE};
    size_t rounds = test_rounds(LIST_ROUNDS), n[DIME_FLAW_COUNT] = {0};
    struct dice d = {0};
    struct kd_buf b;
    int fd = memfd_create("list", MFD_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < rounds; i++) {
        uint8_t types[LIST_MAX];
        struct dmj_verdict v;
        struct kd_slice octets = dm_message(&b, types, make_list(&d, types));
        assert_true(pwrite(fd, octets.p, octets.n, 0) == (ssize_t)octets.n);
        const char *why = dmj_judge(octets, fd, &v);
        if (why != NULL)
            fail_msg("list %zu: %s (%s)", i, why, dime_flaw_name(v.flaw));
        n[v.flaw]++;
        kd_buf_free(&b);
    }
    for (size_t i = 0; i < LEN(expected); i++)
        if (n[expected[i]] < rounds / 1000)
            fail_msg("only %zu of %s", n[expected[i]], dime_flaw_name(expected[i]));
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_read_alike_from_memory_and_from_a_file),
        cmocka_unit_test(a_good_message_cut_anywhere_is_refused),
        cmocka_unit_test(a_file_that_becomes_shorter_is_an_error_where_it_ends),
        cmocka_unit_test(a_file_that_cannot_be_read_is_no_flaw_of_the_message),
        cmocka_unit_test(every_changed_bit_is_refused_or_leaves_chunks_inside),
        cmocka_unit_test(lists_of_chunks_at_random_are_judged_as_naively),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
