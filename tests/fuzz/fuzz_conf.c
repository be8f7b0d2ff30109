/* The text of keyd.conf. What is accepted is read alike by both readers, and reaches
 * every role unchanged; what is refused says why in printable text. */
#include "fuzz.h"

#include <keyd/conf/conf.h>

static struct kd_conf_problems problems;

/* Every account exists; a few have numbers that are refused. */
static kd_err
find_account(void *arg, const char *name, uint32_t *id)
{
    (void)arg;
    *id = 1000;
    for (const char *c = name; *c != '\0'; c++)
        *id = *id * 31 + (uint8_t)*c;
    if (strcmp(name, "root") == 0)
        *id = 0;
    if (strcmp(name, "nobody") == 0)
        *id = KD_UID_OVERFLOW;
    return strcmp(name, "missing") == 0 ? KD_NOT_FOUND : KD_OK;
}

static void
check_problems(void)
{
    fuzz_require(problems.n <= KD_CONF_PROBLEMS_MAX);
    for (size_t i = 0; i < problems.n; i++) {
        const char *text = problems.list[i].text;
        fuzz_require(strncmp(text, "libconfuse ", 11) != 0); /* the readers agree */
        for (; *text != '\0'; text++)
            fuzz_require(*text >= 0x20 && *text < 0x7f);
        fuzz_require(i == 0 || problems.list[i - 1].line <= problems.list[i].line);
    }
}

static void
check_roles(const struct kd_conf *conf)
{
    struct kd_conf_for_vault vault, vault_got;
    struct kd_conf_for_ledger ledger, ledger_got;
    struct kd_buf b;

    kd_buf_init(&b, KD_ROLE_CONF_SIZE_MAX);
    fuzz_require(kd_conf_for_vault_make(conf, &vault) == KD_OK);
    kd_conf_for_vault_encode(&vault, &b);
    fuzz_require(kd_conf_for_vault_decode(kd_buf_slice(&b), &vault_got) == KD_OK);
    kd_conf_for_vault_clear(&vault);
    kd_conf_for_vault_clear(&vault_got);
    kd_buf_reset(&b);
    kd_conf_for_ledger_make(conf, &ledger);
    kd_conf_for_ledger_encode(&ledger, &b);
    fuzz_require(kd_conf_for_ledger_decode(kd_buf_slice(&b), &ledger_got) == KD_OK);
    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
        struct kd_conf_for_gate gate, gate_got;
        kd_buf_reset(&b);
        fuzz_require(kd_conf_for_gate_make(conf, (enum kd_class)klass, &gate) == KD_OK);
        kd_conf_for_gate_encode(&gate, &b);
        fuzz_require(kd_conf_for_gate_decode(kd_buf_slice(&b), &gate_got) == KD_OK);
        kd_conf_for_gate_clear(&gate);
        kd_conf_for_gate_clear(&gate_got);
    }
    for (unsigned host = 0; host < 256; host++) {
        struct kd_conf_for_p11 p11, p11_got;
        kd_err err = kd_conf_for_p11_make(conf, host, &p11);
        fuzz_require(err == KD_OK || err == KD_NOT_FOUND);
        if (err != KD_OK)
            continue;
        kd_buf_reset(&b);
        kd_conf_for_p11_encode(&p11, &b);
        fuzz_require(kd_conf_for_p11_decode(kd_buf_slice(&b), &p11_got) == KD_OK);
    }
    kd_buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kd_conf_env env = {.as_root = size % 2 == 0,
                                    .n_cpus = 2,
                                    .find_user = find_account,
                                    .find_group = find_account};
    struct kd_conf *conf = NULL;

    /* libconfuse keeps some 230 octets for each key that a section may have, written or
     * not, so 2 KiB for one that is written in 20 octets; and 32 KiB of buffers for any
     * text. */
    fuzz_begin(7 * size + 8192);
    kd_err err = kd_conf_parse(kd_slice(data, size), &env, &conf, &problems);
    fuzz_end();
    fuzz_require(err == KD_OK || err == KD_INVALID);
    fuzz_require((err == KD_OK) == (problems.n_errors == 0));
    fuzz_require((err == KD_OK) == (conf != NULL));
    check_problems();
    if (conf != NULL) {
        check_roles(conf);
        kd_conf_lint(conf, &problems);
        check_problems();
        fuzz_require(problems.n_errors == 0);
    }
    kd_conf_free(conf);
    return 0;
}
