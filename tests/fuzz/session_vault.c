#include "session_vault.h"

#include "fuzz.h"

#include "../../keyd/vault/step.h"
#include "../../keyd/vault/vault.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct vault vault;
static int ctl = -1; /* the supervisor's end */

/* --- what a session does not need --- */

#define FOR_ALL __attribute__((visibility("default"))) /* for libraries as well */

/* No machine loses power here; processes end, and what they wrote is there. */
FOR_ALL int
fsync(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

FOR_ALL int
fdatasync(int fd)
{
    return fsync(fd);
}

/* A session allocates little: what it frees is kept for longer than it lasts even so,
 * and memory is not taken from the kernel anew all the time. */
FOR_ALL const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "quarantine_size_mb=4:malloc_context_size=8:max_malloc_fill_size=256";
}

/* --- life --- */

/* All of them, each from where it is: one that ends may let others go on. */
static void
end_tasks(struct vault *v)
{
    for (unsigned round = 0; v->tasks.n > 0; round++) {
        fuzz_require(round < TASKS_MAX);
        task_take_done(v);
        chain_give_up(v);
        for (unsigned i = 0; i < TASKS_MAX; i++) {
            struct task *t = v->tasks.slot[i];
            if (t != NULL && t->stage != TASK_WORKING && t->stage != TASK_HELD &&
                t->stage != TASK_COMMITTING)
                task_finish(v, t, KD_UNAVAILABLE, 0);
        }
    }
    kd_ignore(pool_take_done(&v->pool)); /* none is left */
}

void
session_vault_free(void)
{
    struct vault *v = &vault;

    if (v->conf == NULL)
        return;
    /* What a process's end does by itself: nobody hears an answer any more. */
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_chan_close(&v->gates[i].link.chan);
    kd_chan_close(&v->ledger.chan);
    v->state = VAULT_FAILED;
    end_tasks(v);
    for (uint64_t seq = v->chain.first; seq < v->chain.next; seq++) {
        struct chain_item *item = &v->chain.ring[seq % CHAIN_ROOM];
        free(item->body);
        if (item->fd >= 0)
            close(item->fd);
    }
    kd_token_free(v->token);
    free(v->store);
    for (size_t i = 0; i < v->n_orgs; i++)
        vault_org_free(v->orgs[i]);
    vault_conf_drop(v->conf);
    approvals_clear(&v->approvals);
    munmap(v->quotas.rows, sizeof *v->quotas.rows);
    munmap(v->quotas.domains, sizeof *v->quotas.domains);
    kd_chan_close(&v->ctl);
    if (ctl >= 0)
        close(ctl);
    ctl = -1;
    memset(v, 0, sizeof *v);
}

void
session_vault_new(struct kd_slice conf)
{
    struct vault *v = &vault;
    int fds[2];

    session_vault_free();
    fuzz_require(kd_chan_pair(fds) == KD_OK);
    ctl = fds[0];
    kd_chan_init(&v->ctl, fds[1]);
    fuzz_require(vault_begin(v, conf) == KD_OK);
    fuzz_require(pool_start(&v->pool, 1) == KD_OK);
}

void
session_vault_link_gate(unsigned gate, int fd)
{
    struct kd_ctl_link as = {KD_LINK_GATE, (uint8_t)gate, 0};

    kd_role_relink_asking(&vault.gates[gate].link, &as, fd);
    vault.gates[gate].generation++;
}

void
session_vault_link_ledger(int fd)
{
    struct kd_ctl_link as = {KD_LINK_LEDGER, 0, 0};

    kd_role_relink(&vault.ledger, &as, fd);
    vault.ledger_phase = LEDGER_SILENT;
}

bool
session_vault_is_quiet(void)
{
    struct pollfd p[KD_GATES_MAX + 1];
    nfds_t n = 0;

    if (vault.pool.done.first != NULL || kd_chan_pending(&vault.ledger.chan))
        return false;
    p[n++] = (struct pollfd){.fd = vault.ledger.chan.fd, .events = POLLIN};
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        struct kd_chan *ch = &vault.gates[i].link.chan;
        if (kd_chan_pending(ch))
            return false;
        if (ch->fd >= 0)
            p[n++] = (struct pollfd){.fd = ch->fd, .events = POLLIN};
    }
    return poll(p, n, 0) == 0;
}

void
session_vault_step(void)
{
    uint8_t octets[4096];

    vault_step(&vault, 0);
    while (read(ctl, octets, sizeof octets) > 0)
        continue; /* events: a supervisor would log them */
}

bool
session_vault_is_open(void)
{
    return vault.token != NULL;
}

bool
session_vault_has_failed(void)
{
    return vault.state == VAULT_FAILED;
}
