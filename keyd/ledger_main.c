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

enum { AS_LONG_AS_IT_TAKES = 1000000 };

static struct ledger ledger;

static void
open_store(struct ledger *l)
{
    const struct kd_store_conf conf = {.dir = ".", .create = true};
    char why[KD_STORE_WHY_MAX] = "";
    kd_err err = kd_store_open(&kd_store_sqlite, &conf, &l->store, why);

    if (err != KD_OK) {
        kd_log(KD_WARN, "registry refused: %s (%s)", why, kd_err_text(err));
        /* Asking again is of no use before an operator has looked, unless it was only
         * the disk or memory: the supervisor tells this status from a crash. */
        _exit(err == KD_NOMEM || err == KD_UNAVAILABLE ? 1 : KD_ROLE_EXIT_REFUSED);
    }
}

static void
setup(struct ledger *l)
{
    struct kd_buf octets;
    struct kd_sandbox_path dir = {.access = KD_PATH_WRITE};
    const struct kd_sandbox_paths paths = {&dir, 1};
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&l->ctl, "keyd-ledger", &octets);
    if ((err = kd_conf_for_ledger_decode(kd_buf_slice(&octets), &l->conf)) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup("keyd-ledger", l->conf.log_level);
    ledger_begin(l);
    if ((dir.fd = kd_role_directory()) < 0)
        kd_role_die("cannot open the state directory", KD_IO);
    kd_store_setup(&kd_store_sqlite);
    kd_role_confine(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    kd_role_enter(KD_ROLE_LEDGER, &paths, l->conf.hardening);
    close(dir.fd);
    open_store(l);
    kd_role_ready(&l->ctl);
}

int
main(void)
{
    setup(&ledger);
    for (;;)
        ledger_step(&ledger, AS_LONG_AS_IT_TAKES);
}
