/* What is kept outside of a registry, where its log begins, copies of it: the store's
 * part, without a daemon. */
#include "../support/registry.h"
#include "../support/tamper.h"

#include <keyd/ledger/manifest.h>
#include <keyd/ledger/outside.h>

#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants some of the above first */
#include <cmocka.h>

struct world {
    char dir[64], outside[80];
    struct kd_store *store;
    struct kd_store_conf conf;
    char why[KD_STORE_WHY_MAX];
    struct reg reg;
    struct reg_item item;
    struct kd_store_ack ack;
    int folder;
};

static void
must_open(struct world *w)
{
    if (kd_store_open(&kd_store_sqlite, &w->conf, &w->store, w->why) != KD_OK)
        fail_msg("%s", w->why);
}

static void
reopen(struct world *w)
{
    kd_store_close(w->store);
    w->store = NULL;
    must_open(w);
}

static kd_err
put(struct world *w)
{
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    kd_err err = kd_store_add(w->store, &w->item.item, &w->ack);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    if (err != KD_OK)
        kd_store_tail(w->store, &w->reg.tail);
    return err == KD_OK ? w->ack.outcome : err;
}

static void
plain(struct world *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        reg_plain(&w->reg, &w->item, KD_AUDIT_UNSEAL);
        assert_int_equal(put(w), KD_OK);
    }
}

/* The record that is covered. */
static uint64_t
checkpoint(struct world *w)
{
    uint64_t seq = w->reg.tail.seq;

    reg_checkpoint(&w->reg, &w->item);
    assert_int_equal(put(w), KD_OK);
    return seq;
}

static struct kd_checkpoint
head_of(const struct world *w)
{
    struct kd_audit_tail t;
    struct kd_checkpoint c = {0};

    kd_store_tail(w->store, &t);
    c.epoch = t.epoch;
    c.seq = t.seq;
    memcpy(c.instance, t.instance, sizeof c.instance);
    memcpy(c.hash, t.hash, sizeof c.hash);
    return c;
}

static int
world_start(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct kd_audit_tail tail;

    reg_must(w != NULL);
    strcpy(w->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/kd-outside-XXXXXX"
                                                 : "/tmp/kd-outside-XXXXXX");
    reg_must(mkdtemp(w->dir) != NULL);
    snprintf(w->outside, sizeof w->outside, "%s/outside", w->dir);
    reg_must(mkdir(w->outside, 0700) == 0);
    w->folder = open(w->outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->conf = (struct kd_store_conf){.dir = w->dir, .create = true};
    reg_init(&w->reg, "example.com", 7);
    reg_item_init(&w->item);
    must_open(w);
    kd_store_tail(w->store, &tail);
    w->reg.tail = tail;
    w->reg.tail.epoch = 1;
    *state = w;
    return 0;
}

static int
world_end(void **state)
{
    struct world *w = *state;
    char command[160];

    kd_store_close(w->store);
    close(w->folder);
    reg_item_free(&w->item);
    reg_free(&w->reg);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    int status = system(command);
    free(w);
    return status;
}

/* --- comparing --- */

static void
assert_order(struct world *w, const struct kd_checkpoint *c, enum kd_store_order want)
{
    enum kd_store_order is;

    assert_int_equal(kd_store_compare(w->store, c, &is), KD_OK);
    assert_int_equal(is, want);
}

static void
a_head_is_on_the_log_ahead_of_it_or_other(void **state)
{
    struct world *w = *state;

    plain(w, 5);
    struct kd_checkpoint c = head_of(w);
    assert_order(w, &c, KD_ORDER_LIES);
    plain(w, 5);
    assert_order(w, &c, KD_ORDER_LIES);
    c.hash[7] ^= 1;
    assert_order(w, &c, KD_ORDER_OTHER);
    c = head_of(w);
    c.seq++;
    assert_order(w, &c, KD_ORDER_AHEAD);
    c = head_of(w);
    c.epoch++;
    assert_order(w, &c, KD_ORDER_OTHER);
    c = head_of(w);
    c.instance[0] ^= 1;
    assert_order(w, &c, KD_ORDER_OTHER);
}

static enum kd_standing
stands(struct world *w)
{
    struct kd_outside o;
    struct kd_checkpoint known;
    enum kd_standing is;

    assert_int_equal(kd_outside_read(w->folder, "c", &o), KD_OK);
    assert_int_equal(kd_outside_judge(w->store, &o, &known, &is), KD_OK);
    return is;
}

static void
write_head(struct world *w, unsigned slot, const struct kd_checkpoint *c)
{
    int fd = -1;

    assert_int_equal(kd_outside_head_open(w->folder, "c", &fd), KD_OK);
    assert_int_equal(kd_outside_head_write(fd, slot, c), KD_OK);
    close(fd);
}

static void
the_files_outside_are_judged_by_the_newer_of_them(void **state)
{
    struct world *w = *state;
    struct kd_slice octets;

    assert_int_equal(stands(w), KD_STANDS_WELL); /* nothing anywhere */
    plain(w, 3);
    assert_int_equal(stands(w), KD_STANDS_MISSING);
    checkpoint(w);
    assert_int_equal(kd_store_checkpoint_last(w->store, &octets), KD_OK);
    assert_int_equal(kd_outside_checkpoint_write(w->folder, "c", octets), KD_OK);
    assert_int_equal(stands(w), KD_STANDS_WELL);
    struct kd_checkpoint c = head_of(w);
    write_head(w, 0, &c);
    assert_int_equal(stands(w), KD_STANDS_WELL);
    c.seq += 1;
    write_head(w, 1, &c);
    assert_int_equal(stands(w), KD_STANDS_BEHIND);
    c.instance[3] ^= 4;
    c.seq += 1;
    write_head(w, 0, &c);
    assert_int_equal(stands(w), KD_STANDS_FORKED);
    assert_int_equal(kd_outside_checkpoint_remove(w->folder, "c"), KD_OK);
    assert_int_equal(kd_outside_checkpoint_remove(w->folder, "c"), KD_OK);
    assert_int_equal(stands(w), KD_STANDS_FORKED);
}

/* Each flip of the checkpoint is seen: by its form, by the log, or by its signature. */
static void
every_flipped_bit_of_a_checkpoint_is_noticed(void **state)
{
    struct world *w = *state;
    uint8_t good[KD_CHECKPOINT_SIGNED_MAX], bad[KD_CHECKPOINT_SIGNED_MAX];
    struct kd_checkpoint c;
    struct kd_slice octets;

    plain(w, 4);
    checkpoint(w);
    plain(w, 4);
    assert_int_equal(kd_store_checkpoint_last(w->store, &octets), KD_OK);
    size_t n = octets.n;
    memcpy(good, octets.p, n);
    unsigned by_form = 0, by_log = 0, by_signature = 0;
    for (size_t bit = 0; bit < n * 8; bit++) {
        memcpy(bad, good, n);
        bad[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(kd_outside_checkpoint_write(w->folder, "c", kd_slice(bad, n)),
                         KD_OK);
        enum kd_standing is = stands(w);
        by_form += is == KD_STANDS_UNREADABLE;
        by_log += is == KD_STANDS_BEHIND || is == KD_STANDS_FORKED;
        if (is != KD_STANDS_WELL)
            continue;
        assert_int_not_equal(
            kd_checkpoint_verify(kd_slice(bad, n), w->reg.audit.key, &c), KD_OK);
        by_signature++;
    }
    print_message("%u by form, %u by the log, %u by signature\n", by_form, by_log,
                  by_signature);
    assert_true(by_form > 0 && by_log > 0 && by_signature > 0);
}

static void
every_flipped_bit_of_a_head_leaves_the_other_slot_or_is_noticed(void **state)
{
    struct world *w = *state;
    char path[100];
    uint8_t octet;

    plain(w, 2);
    struct kd_checkpoint c = head_of(w);
    write_head(w, 0, &c);
    snprintf(path, sizeof path, "%s/c.head", w->outside);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (off_t at = 0; at < 88; at++) {
        assert_int_equal(pread(fd, &octet, 1, at), 1);
        octet ^= 16;
        assert_int_equal(pwrite(fd, &octet, 1, at), 1);
        assert_int_equal(stands(w), KD_STANDS_UNREADABLE);
        write_head(w, 1, &c);
        assert_int_equal(stands(w), KD_STANDS_WELL);
        write_head(w, 0, &c);
        assert_int_equal(pwrite(fd, (uint8_t[88]){0}, 88, 4096), 88);
    }
    close(fd);
}

static void
a_head_file_has_one_owner(void **state)
{
    struct world *w = *state;
    int fd = -1, status;

    assert_int_equal(kd_outside_head_open(w->folder, "c", &fd), KD_OK);
    pid_t pid = fork();
    if (pid == 0) {
        int other = -1;
        _exit(kd_outside_head_open(w->folder, "c", &other) == KD_BUSY ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fd);
}

/* --- an acceptance --- */

static void
restore(struct world *w, uint64_t epoch)
{
    reg_plain(&w->reg, &w->item, KD_AUDIT_UNSEAL);
    kd_store_tail(w->store, &w->reg.tail);
    w->reg.tail.epoch = epoch;
    w->item.decoded.op = KD_AUDIT_RESTORE;
    w->item.decoded.about_seq = 77;
    w->item.item.restore = true;
    reg_seal(&w->reg, &w->item);
}

static void
an_acceptance_sets_aside_what_was_noted_before_its_epoch(void **state)
{
    struct world *w = *state;

    plain(w, 5);
    struct kd_checkpoint ahead = head_of(w), other = head_of(w);
    ahead.seq += 100;
    other.hash[0] ^= 1;
    assert_order(w, &ahead, KD_ORDER_AHEAD);
    restore(w, 1001);
    assert_int_equal(put(w), KD_OK);
    assert_order(w, &ahead, KD_ORDER_SET_ASIDE);
    assert_order(w, &other, KD_ORDER_SET_ASIDE);
    reopen(w);
    assert_order(w, &ahead, KD_ORDER_SET_ASIDE);
    ahead.epoch = 1001;
    assert_order(w, &ahead, KD_ORDER_AHEAD);
    ahead.instance[0] ^= 1; /* of another registry it says nothing */
    ahead.epoch = 1;
    assert_order(w, &ahead, KD_ORDER_OTHER);
    plain(w, 2);
}

static void
record_and_row_of_an_acceptance_go_together(void **state)
{
    struct world *w = *state;

    plain(w, 1);
    restore(w, 50);
    w->item.item.restore = false;
    assert_int_equal(put(w), KD_INVALID);
    reg_plain(&w->reg, &w->item, KD_AUDIT_UNSEAL);
    w->item.item.restore = true;
    assert_int_equal(put(w), KD_INVALID);
}

/* --- dropping --- */

static void
drop(struct world *w, uint64_t through)
{
    reg_plain(&w->reg, &w->item, KD_AUDIT_UNSEAL);
    kd_store_tail(w->store, &w->reg.tail);
    w->item.decoded.op = KD_AUDIT_DROP;
    w->item.decoded.about_seq = through;
    w->item.item.drop = true;
    reg_seal(&w->reg, &w->item);
}

static unsigned
sweep(struct world *w, unsigned most)
{
    unsigned n = 0;

    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_sweep(w->store, most, &n), KD_OK);
    assert_int_equal(kd_store_commit(w->store), KD_OK);
    return n;
}

static bool
count_one(void *arg, uint64_t seq, struct kd_slice record, kd_err stored)
{
    uint64_t *first = arg;

    (void)record;
    (void)stored;
    if (*first == 0)
        *first = seq;
    return true;
}

static uint64_t
first_from(struct world *w, uint64_t from)
{
    uint64_t first = 0;

    assert_int_equal(kd_store_records(w->store, from, count_one, &first), KD_OK);
    return first;
}

static void
only_up_to_a_checkpoint_that_is_not_the_last_records_are_dropped(void **state)
{
    struct world *w = *state;
    struct kd_audit_tail base;
    uint64_t first = 0;

    plain(w, 10);
    uint64_t one = checkpoint(w);
    plain(w, 10);
    uint64_t two = checkpoint(w);
    drop(w, two);
    assert_int_equal(put(w), KD_CONFLICT);
    drop(w, one - 1);
    assert_int_equal(put(w), KD_CONFLICT);
    struct kd_checkpoint before = {.seq = one};
    assert_int_equal(sweep(w, 100), 0);
    drop(w, one);
    assert_int_equal(put(w), KD_OK);
    kd_store_base(w->store, &base);
    assert_int_equal(base.seq, one);
    /* At once, whatever rows are still there. */
    assert_int_equal(kd_store_records(w->store, one, count_one, &first), KD_NOT_FOUND);
    assert_int_equal(first_from(w, one + 1), one + 1);
    drop(w, one);
    assert_int_equal(put(w), KD_CONFLICT);
    assert_int_equal(sweep(w, 4), 4);
    reopen(w);
    assert_int_equal(sweep(w, 100), one - 4);
    assert_int_equal(sweep(w, 100), 0);
    w->conf.check = KD_CHECK_FULL;
    reopen(w);
    kd_store_base(w->store, &base);
    assert_int_equal(base.seq, one);
    before.epoch = base.epoch;
    memcpy(before.instance, base.instance, sizeof before.instance);
    memcpy(before.hash, base.hash, sizeof before.hash);
    assert_order(w, &before, KD_ORDER_LIES);
    before.hash[1] ^= 1;
    assert_order(w, &before, KD_ORDER_OTHER);
    plain(w, 3);
}

static void
an_altered_log_behind_the_base_is_refused(void **state)
{
    static const char *const changes[] = {
        "UPDATE mark SET base_hash = zeroblob(32)",
        "UPDATE mark SET base_seq = base_seq - 1",
        "UPDATE mark SET base_seq = base_seq + 1",
        "UPDATE mark SET base_seq = 0",
        "DELETE FROM audit WHERE seq = (SELECT base_seq + 1 FROM mark)",
    };
    struct world *w = *state;
    char path[100], keep[100], command[512];

    plain(w, 10);
    uint64_t one = checkpoint(w);
    plain(w, 10);
    checkpoint(w);
    drop(w, one);
    assert_int_equal(put(w), KD_OK);
    assert_int_equal(sweep(w, 100), one);
    kd_store_close(w->store);
    w->store = NULL;
    snprintf(path, sizeof path, "%s/registry.db", w->dir);
    snprintf(keep, sizeof keep, "%s/keep.db", w->dir);
    snprintf(command, sizeof command, "cp '%s' '%s'", path, keep);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        snprintf(command, sizeof command, "rm -f '%s'-* && cp '%s' '%s'", path, keep,
                 path);
        assert_int_equal(system(command), 0);
        tamper(path, changes[i]);
        kd_err err = kd_store_open(&kd_store_sqlite, &w->conf, &w->store, w->why);
        if (err != KD_INVALID)
            fail_msg("%s: %s", changes[i], kd_err_text(err));
    }
    snprintf(command, sizeof command, "rm -f '%s'-* && cp '%s' '%s'", path, keep, path);
    assert_int_equal(system(command), 0);
    must_open(w);
}

static void
a_segment_hash_takes_every_record_in_its_place(void **state)
{
    uint8_t ab[32] = {0}, ba[32] = {0}, joined[32] = {0};

    (void)state;
    kd_segment_add(ab, kd_slice_str("a"));
    kd_segment_add(ab, kd_slice_str("b"));
    kd_segment_add(ba, kd_slice_str("b"));
    kd_segment_add(ba, kd_slice_str("a"));
    kd_segment_add(joined, kd_slice_str("ab"));
    assert_memory_not_equal(ab, ba, 32);
    assert_memory_not_equal(ab, joined, 32);
}

/* --- a copy --- */

static void
a_copy_has_what_is_committed_while_it_is_made(void **state)
{
    struct world *w = *state;
    struct kd_store_copied at = {0};
    struct kd_store_copy *copy = NULL;
    char folder[80], path[100];
    struct kd_store *second = NULL;
    struct kd_audit_tail a, b;
    unsigned n_steps = 0;

    plain(w, 400);
    snprintf(folder, sizeof folder, "%s/copy", w->dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/registry.db", folder);
    assert_int_equal(kd_store_copy_begin(w->store, path, &copy), KD_OK);
    for (; !at.done; n_steps++) {
        assert_int_equal(kd_store_copy_step(copy, 2, &at), KD_OK);
        if (!at.done)
            plain(w, 3);
    }
    assert_true(n_steps > 5);
    assert_int_equal(kd_store_copy_end(copy), KD_OK);
    kd_store_tail(w->store, &a);
    plain(w, 5); /* not in it */

    const struct kd_store_conf conf = {.dir = folder, .check = KD_CHECK_FULL};
    if (kd_store_open(&kd_store_sqlite, &conf, &second, w->why) != KD_OK)
        fail_msg("%s", w->why);
    kd_store_tail(second, &b);
    assert_memory_equal(&a, &b, sizeof a);
    kd_store_close(second);
}

static void
a_copy_that_is_given_up_does_the_store_no_harm(void **state)
{
    struct world *w = *state;
    struct kd_store_copied at = {0};
    struct kd_store_copy *copy = NULL;
    char path[100];

    plain(w, 100);
    snprintf(path, sizeof path, "%s/none/registry.db", w->dir);
    assert_int_equal(kd_store_copy_begin(w->store, path, &copy), KD_IO);
    snprintf(path, sizeof path, "%s/copy.db", w->dir);
    assert_int_equal(kd_store_copy_begin(w->store, path, &copy), KD_OK);
    assert_int_equal(kd_store_copy_step(copy, 1, &at), KD_OK);
    assert_false(at.done);
    assert_int_equal(kd_store_begin(w->store), KD_OK);
    assert_int_equal(kd_store_copy_step(copy, 1, &at), KD_INVALID);
    kd_store_abort(w->store);
    kd_ignore(kd_store_copy_end(copy)); /* of no use */
    plain(w, 3);
    reopen(w);
}

/* --- manifests --- */

static void
a_manifest_is_read_as_it_was_written_and_in_no_other_way(void **state)
{
    struct kd_manifest m = {.tail = {.epoch = 3, .seq = 99, .time_ms = 5},
                            .keystore_generation = 2,
                            .registry = {.size = 4096},
                            .keystore = {.size = 0}};
    struct kd_manifest got;
    struct kd_buf text;

    (void)state;
    randombytes_buf(m.tail.hash, sizeof m.tail.hash);
    randombytes_buf(m.registry.sha256, sizeof m.registry.sha256);
    kd_buf_init(&text, KD_MANIFEST_MAX);
    assert_int_equal(kd_manifest_encode(&m, &text), KD_OK);
    assert_int_equal(kd_manifest_decode(kd_buf_slice(&text), &got), KD_OK);
    assert_memory_equal(&m, &got, sizeof m);
    for (size_t n = 0; n < text.n; n++) {
        assert_int_equal(kd_manifest_decode(kd_slice(text.p, n), &got), KD_MALFORMED);
        for (unsigned bit = 0; bit < 8; bit++) {
            text.p[n] ^= (uint8_t)(1U << bit);
            if (kd_manifest_decode(kd_buf_slice(&text), &got) == KD_OK)
                assert_memory_not_equal(&m, &got, sizeof m);
            text.p[n] ^= (uint8_t)(1U << bit);
        }
    }
    m.tail.seq = UINT64_MAX;
    assert_int_equal(kd_manifest_encode(&m, &text), KD_INVALID);
    kd_buf_free(&text);
}

static void
names_of_backups_stay_in_their_folder(void **state)
{
    static const char *const bad[] = {"",   ".",  "..", "a/b",      "A",  "a b",
                                      "-a", "_a", ".a", "\xc3\xa4", "a\n"};
    static const char *const good[] = {"a", "0", "monday", "2026-11-22.1", "a_b-c."};
    char longest[66];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(kd_backup_name_is_good(kd_slice_str(bad[i])));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(kd_backup_name_is_good(kd_slice_str(good[i])));
    memset(longest, 'a', sizeof longest);
    assert_true(kd_backup_name_is_good(kd_slice(longest, 64)));
    assert_false(kd_backup_name_is_good(kd_slice(longest, 65)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_start, world_end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_head_is_on_the_log_ahead_of_it_or_other),
        TEST(the_files_outside_are_judged_by_the_newer_of_them),
        TEST(every_flipped_bit_of_a_checkpoint_is_noticed),
        TEST(every_flipped_bit_of_a_head_leaves_the_other_slot_or_is_noticed),
        TEST(a_head_file_has_one_owner),
        TEST(an_acceptance_sets_aside_what_was_noted_before_its_epoch),
        TEST(record_and_row_of_an_acceptance_go_together),
        TEST(only_up_to_a_checkpoint_that_is_not_the_last_records_are_dropped),
        TEST(an_altered_log_behind_the_base_is_refused),
        TEST(a_copy_has_what_is_committed_while_it_is_made),
        TEST(a_copy_that_is_given_up_does_the_store_no_harm),
        cmocka_unit_test(a_segment_hash_takes_every_record_in_its_place),
        cmocka_unit_test(a_manifest_is_read_as_it_was_written_and_in_no_other_way),
        cmocka_unit_test(names_of_backups_stay_in_their_folder),
    };

    kd_store_setup(&kd_store_sqlite);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
