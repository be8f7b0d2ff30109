/* keyd-ledger: the registry and the audit log; the only writer.
 *
 * Holds     registry, log, the sealed key store file (it cannot open it). No keys.
 * Talks to  the vault: answers its questions, stores its records, acknowledges after
 *           COMMIT; and the gates, which only read: what they send is checked like any
 *           input and never ends this process.
 * May call  sandbox_ledger.def, and of the file system only its own directory.
 *
 * A turn answers every question from what is committed, sets the records that came
 * aside, and then stores those in one transaction (group commit); only then are answers
 * and acknowledgements flushed. An error of the disk means that the outcome is unknown:
 * the process ends, the next one opens and resolves. */
#include "ledger/ledger.h"

#include <keyd/base/log.h>

#include <unistd.h>

enum { THREADS = 2 /* one for what is kept outside, one for backups */ };

static struct ledger ledger;

static void
open_store(struct ledger *l)
{
    const struct kd_store_conf conf = {.dir = ".", .create = true};
    char why[KD_STORE_WHY_MAX] = "";
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &l->store, why);

    if (err != KD_OK) {
        /* Asking again is of no use before an operator has looked, unless it was only
         * the disk or memory: the supervisor tells this status from a crash, after
         * which it starts the ledger again, with growing waits. */
        bool may_pass = err == KD_NOMEM || err == KD_UNAVAILABLE;
        kd_log(KD_WARN, "registry %s: %s (%s)",
               may_pass ? "cannot be opened now, to be tried again" : "refused", why,
               kd_err_text(err));
        _exit(may_pass ? 1 : KD_ROLE_EXIT_REFUSED);
    }
}

static void
setup(struct ledger *l)
{
    struct kd_buf octets;
    struct kd_sandbox_path list[2] = {{.access = KD_PATH_TREE},
                                      {.access = KD_PATH_WRITE}};
    struct kd_sandbox_paths paths = {list, 1};
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&l->ctl, "keyd-ledger", &octets);
    if ((err = kd_conf_for_ledger_decode(kd_buf_slice(&octets), &l->conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup("keyd-ledger", l->conf.log_level);
    ledger_begin(l);
    if ((list[0].fd = kd_role_directory()) < 0)
        kd_role_die("cannot open the state directory", KD_IO);
    outside_setup(l);
    if ((list[1].fd = l->outside.dir) >= 0)
        paths.n = 2;
    kd_store_setup(&kd_store_sqlite);
    kd_role_confine(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    if ((err = pool_start(&l->pool, THREADS)) != KD_OK)
        kd_role_die("threads", err);
    kd_role_enter(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    close(list[0].fd);
    room_setup(l);
    open_store(l);
    outside_look(l);
    l->drop.is_sweeping = true; /* of a drop that was cut short; mostly of nothing */
    kd_role_ready(&l->ctl);
}

int
main(void)
{
    int wait_ms = 0;

    setup(&ledger);
    for (;;)
        wait_ms = ledger_step(&ledger, wait_ms);
}
