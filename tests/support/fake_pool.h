/* p11.h without hosts, threads or modules, for unit tests of the vault: it says what
 * the test has it say, and notes what it is told. */
#ifndef KEYD_TESTS_FAKE_POOL_H
#define KEYD_TESTS_FAKE_POOL_H

#include <keyd/p11/p11.h>

enum { FAKE_POOL_NOTES = 16, FAKE_POOL_FINDINGS = 4 };

struct fake_pool {
    size_t n;
    struct p11_conf conf[KD_TOKENS_MAX];
    struct p11_status status[KD_TOKENS_MAX];
    struct p11_finding findings[KD_TOKENS_MAX][FAKE_POOL_FINDINGS];
    size_t n_findings[KD_TOKENS_MAX];
    struct p11_note notes[FAKE_POOL_NOTES]; /* to be given out */
    size_t n_notes;

    unsigned n_links, n_no_pins, host; /* that it was told; the last one's */
    unsigned n_stored;
    size_t stored; /* the last one's token, and what came of it */
    kd_err stored_err;
    struct kd_device *devices[KD_TOKENS_MAX]; /* what p11_device gives */
};
extern struct fake_pool fake_pool;

/* For p11_next to give out. */
void fake_pool_say(struct p11_note note);

#endif
