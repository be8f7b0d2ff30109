#include "seen.h"

#include "test.h"

struct keyd_answer *seen[SEEN_MAX];
size_t n_seen;

void
seen_note(void *cookie, struct keyd_answer *answer)
{
    assert_ptr_equal(cookie, seen);
    assert_true(n_seen < SEEN_MAX);
    seen[n_seen++] = answer;
}

void
seen_forget(void)
{
    while (n_seen > 0)
        keyd_client_answer_free(seen[--n_seen]);
}
