/* A hundred thousand signatures and as many derivations in a token of SoftHSM, whose
 * module leaks with each: the vault's own memory and descriptors stay what they were,
 * and the token's processes are replaced in time, without a request noticing. */
#include "post.h"
#include "scale.h"
#include "suite.h"

#include <keyd/base/err.h>

#include <dirent.h>

enum {
    DERIVATIONS_WHOLE = 100 * 1000,
    WARM_UP = 1000,
    RECYCLE_AFTER = 2000,
    GROWTH_KIB =
        1024, /* an arena more; a leak of 94 octets each would be ten times that */
};

static struct post com;

static size_t
vault_kib(pid_t vault)
{
    char path[64], line[256];
    unsigned long kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)vault);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %lu", &kib) == 1)
            break;
    fclose(f);
    assert_true(kib > 0);
    return kib;
}

static size_t
count_fds(pid_t vault)
{
    char path[64];
    size_t n = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)vault);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void
run_load(const char *class, const char *mix, size_t count)
{
    char socket[108], number[32];

    daemon_socket(&com.d, class, socket);
    snprintf(number, sizeof number, "%zu", count);
    const char *const arguments[] = {"--socket",      socket, "--mix",       mix,
                                     "--connections", "2",    "--in-flight", "8",
                                     "--count",       number, "--lazy",      NULL};
    pid_t pid = daemon_spawn(&com.d, "keyd-load", "load.out", arguments);
    assert_true(pid > 0);
    assert_int_equal(daemon_reap(pid, 1800 * 1000), 0);
}

struct done {
    uint64_t n_signed, n_derived, n_recycled, n_away, n_faults;
};

static struct done
done_so_far(void)
{
    /* An idle one would have been closed meanwhile. */
    keyd_client *c = ask_connect(&com.d, "admin");
    struct keyd_answer *a = ask(c, &(struct keyd_request){.op = KEYD_OP_TOKEN_LIST});

    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.tokens.n_tokens, 1);
    const struct keyd_token *t = &a->out.tokens.tokens[0];
    struct done d = {t->n_signed, t->n_derived, t->n_recycled, t->n_away, t->n_faults};
    keyd_client_answer_free(a);
    keyd_client_free(c);
    return d;
}

/* Of the warm-up and the rest, half each are messages signed and opened. */
static void
work(size_t derivations)
{
    run_load("submission", "sign", derivations / 2);
    run_load("mta", "open", derivations / 2);
}

static void
memory_is_flat_and_hosts_are_replaced_in_time(void **state)
{
    size_t derivations = test_rounds(DERIVATIONS_WHOLE);

    (void)state;
    work(WARM_UP);
    pid_t vault = daemon_role(&com.d, KEYD_PROCESS_VAULT, "");
    assert_true(vault > 0);
    size_t kib = vault_kib(vault), fds = count_fds(vault);
    struct done before = done_so_far();
    work(derivations);
    struct done after = done_so_far();
    size_t kib_after = vault_kib(vault), fds_after = count_fds(vault);
    print_message(
        "%llu signatures, %llu derivations, %llu processes replaced; vault %zu "
        "-> %zu KiB, %zu -> %zu descriptors\n",
        (unsigned long long)(after.n_signed - before.n_signed),
        (unsigned long long)(after.n_derived - before.n_derived),
        (unsigned long long)(after.n_recycled - before.n_recycled), kib, kib_after, fds,
        fds_after);
    assert_true(after.n_signed - before.n_signed >= derivations);
    assert_true(after.n_derived - before.n_derived >= derivations);
    assert_true(after.n_recycled - before.n_recycled >=
                2 * derivations / RECYCLE_AFTER / 2);
    assert_int_equal(after.n_away, 0);
    assert_int_equal(after.n_faults, 0);
    assert_true(kib_after <= kib + GROWTH_KIB);
    assert_in_range(fds_after, fds - 2, fds + 2); /* a host that is being replaced */
}

static int
begin(void **state)
{
    (void)state;
    com = (struct post){.domain = "example.com"};
    post_start_com(&com, &(struct post_options){.in_token = "recycle-after = 2000"});
    return 0;
}

static int
end(void **state)
{
    (void)state;
    post_end(&com);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_flat_and_hosts_are_replaced_in_time)};

    suite_begin(argc, argv);
    if (setenv("TOKEN", "softhsm", 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, begin, end);
}
