/* keyd-vault: the keys, and what may be done with them.
 *
 * Holds     the open token (seeds in secret memory), policy, the audit chain's head.
 * Talks to  the gates: jobs in, answers out. Each gate speaks for its own class, and
 *           may be captured: what it sends is checked like any input.
 *           the ledger: questions, records to store. It may be captured too: its
 *           signets are verified, its acknowledgements compared, and nothing is
 *           released without one.
 *           the supervisor, which it trusts.
 *           hosts of PKCS#11 tokens (keyd/p11/p11.h), which run vendors' modules: what
 *           they give is verified, or tried against our own arithmetic.
 * May call  sandbox_vault.def: no files, no network, no new threads.
 *
 * The main thread alone owns channels, sequence and policy; crypto threads work on one
 * task each (pool.h, vault/task.h). */
#include "role.h"
#include "vault/step.h"
#include "vault/vault.h"

#include <keyd/base/log.h>
#include <keyd/base/secret.h>

#include <openssl/crypto.h>

enum { SECRET_MEMORY = 512 * 1024, AS_LONG_AS_IT_TAKES = 1000000 };

static struct vault vault;

static void
setup(struct vault *v)
{
    struct kd_buf octets;
    kd_err err;

    kd_buf_init(&octets, KD_ROLE_CONF_SIZE_MAX);
    kd_role_start(&v->ctl, "keyd-vault", &octets);
    if ((err = kd_secret_setup(SECRET_MEMORY)) != KD_OK)
        kd_role_die("no secret memory (RLIMIT_MEMLOCK?)", err);
    if ((err = vault_begin(v, kd_buf_slice(&octets))) != KD_OK)
        kd_role_die("bad configuration", err);
    kd_buf_free(&octets);
    kd_log_setup("keyd-vault", v->conf->is.log_level);
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        kd_role_die("libcrypto", KD_FAILED);
    kd_role_confine(KD_ROLE_VAULT, NULL, v->conf->is.hardening);
    if ((err = tokens_start(v)) != KD_OK)
        kd_role_die("PKCS#11 tokens", err);
    unsigned sessions[KD_CONF_TOKENS_MAX];
    for (size_t i = 0; i < v->conf->is.n_tokens; i++)
        sessions[i] = v->conf->is.tokens[i].sessions;
    if ((err = pool_start_waiting(&v->pool, v->conf->is.crypto_threads, sessions,
                                  (unsigned)v->conf->is.n_tokens)) != KD_OK)
        kd_role_die("crypto threads", err);
    kd_token_set_until(1); /* this thread never waits for a device: as good as past */
    kd_role_enter(KD_ROLE_VAULT, NULL, v->conf->is.hardening);
    kd_role_ready(&v->ctl);
}

int
main(void)
{
    setup(&vault);
    for (;;)
        vault_step(&vault, AS_LONG_AS_IT_TAKES);
}
