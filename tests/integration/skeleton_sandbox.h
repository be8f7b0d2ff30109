/* The processes of skeleton_sandbox.c. */
#ifndef KEYD_TESTS_SKELETON_SANDBOX_H
#define KEYD_TESTS_SKELETON_SANDBOX_H

#include <keyd/base/sandbox.h>

/* Every step must work; the number of the line says which did not. */
#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x))                                                                      \
            must_failed(__FILE__, __LINE__, #x);                                       \
    } while (0)
_Noreturn void must_failed(const char *file, int line, const char *what);

/* What a process does before its sandbox, whatever its role. */
void prepare(void);

/* Work that any role may come to do. fds: the two ends of a channel, taken. */
void allocate_all_sizes(void);
void tell_the_time(void);
void make_and_read_memfd(void);
void pass_memfd(int fds[2]);
void limit_memory(size_t size);

/* The cases. They end their process; the directory is empty or left by the case that
 * ran before. */
void vault_works(const char *directory);
void vault_aborts(const char *directory);
void vault_aborts_past_a_handler(const char *directory);
void vault_thread_aborts(const char *directory);
void vault_fails_an_assertion(const char *directory);
void vault_overruns_its_stack(const char *directory);
void vault_overruns_a_buffer(const char *directory);
void vault_frees_nonsense(const char *directory);
void vault_runs_out_of_memory(const char *directory);
void ledger_works(const char *directory);
void ledger_aborts(const char *directory);
void ledger_recovers(const char *directory);
void ledger_fills_the_disk(const char *directory);
void ledger_may_only_read(const char *directory);
void ledger_runs_out_of_memory(const char *directory);
void gate_works(const char *directory);
void gate_aborts(const char *directory);

#endif
