#include "session_ledger.h"

#include "fuzz.h"

#include "../../keyd/ledger/ledger.h"

#include <keyd/base/log.h>

#include <poll.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct ledger ledger;
static int ctl = -1;
static bool is_set_up;

void
session_ledger_free(void)
{
    struct ledger *l = &ledger;

    if (l->store == NULL)
        return;
    kd_chan_close(&l->vault.chan);
    for (unsigned i = 0; i < KD_GATES_MAX; i++)
        kd_chan_close(&l->gates[i].chan);
    batch_store(l); /* frees what was set aside */
    kd_store_close(l->store);
    kd_buf_free(&l->acks);
    kd_buf_free(&l->scratch);
    kd_chan_close(&l->ctl);
    if (ctl >= 0)
        close(ctl);
    ctl = -1;
    *l = (struct ledger){0};
}

void
session_ledger_new(const char *dir, struct kd_slice conf)
{
    struct ledger *l = &ledger;
    const struct kd_store_conf store = {.dir = dir, .create = true};
    char why[KD_STORE_WHY_MAX] = "";
    int fds[2];

    session_ledger_free();
    if (!is_set_up) {
        /* One thread: no locks, and nobody asks how much memory there is. */
        kd_ignore(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD));
        kd_ignore(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0));
        kd_store_setup(&kd_store_sqlite);
    }
    is_set_up = true;
    fuzz_require(kd_chan_pair(fds) == KD_OK);
    ctl = fds[0];
    kd_chan_init(&l->ctl, fds[1]);
    fuzz_require(kd_conf_for_ledger_decode(conf, &l->conf) == KD_OK);
    ledger_begin(l);
    outside_setup(l); /* nothing is configured to be */
    fuzz_require(pool_start(&l->pool, 1) == KD_OK);
    kd_err err = kd_store_open(&kd_store_sqlite, &store, &l->store, why);
    if (err != KD_OK)
        fuzz_fail(why, __FILE__, __LINE__);
}

void
session_ledger_link_gate(unsigned gate, int fd)
{
    struct kd_ctl_link as = {KD_LINK_GATE, (uint8_t)gate, 0};

    kd_role_relink_asking(&ledger.gates[gate], &as, fd);
}

void
session_ledger_link_vault(int fd)
{
    struct kd_ctl_link as = {KD_LINK_VAULT, 0, 0};

    batch_store(&ledger);
    kd_role_relink_asking(&ledger.vault, &as, fd);
    questions_greet(&ledger);
}

bool
session_ledger_is_quiet(void)
{
    struct pollfd p[KD_GATES_MAX + 1];
    nfds_t n = 0;

    if (ledger.pool.done.first != NULL || kd_chan_pending(&ledger.vault.chan))
        return false;
    p[n++] = (struct pollfd){.fd = ledger.vault.chan.fd, .events = POLLIN};
    for (unsigned i = 0; i < KD_GATES_MAX; i++) {
        struct kd_chan *ch = &ledger.gates[i].chan;
        if (kd_chan_pending(ch))
            return false;
        if (ch->fd >= 0)
            p[n++] = (struct pollfd){.fd = ch->fd, .events = POLLIN};
    }
    return poll(p, n, 0) == 0;
}

void
session_ledger_step(void)
{
    uint8_t octets[4096];

    kd_ignore(ledger_step(&ledger, 0)); /* how long a loop could wait */
    while (read(ctl, octets, sizeof octets) > 0)
        continue; /* links that were lost: nobody makes them anew here */
}

bool
session_ledger_current(struct kd_slice address, uint8_t sha256[32])
{
    struct kd_signet_row row;

    if (kd_store_user_current(ledger.store, address, &row) != KD_OK)
        return false;
    crypto_hash_sha256(sha256, row.signet.p, row.signet.n);
    return true;
}
