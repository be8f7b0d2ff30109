/* What a section token says, as the roles are told it: the vault names and numbers, a
 * host (keyd-p11) which module to load and which token to look for. Nobody is told a
 * PIN, nor the name of a file that has one. */
#ifndef KEYD_CONF_TOKEN_CONF_H
#define KEYD_CONF_TOKEN_CONF_H

#include <stdbool.h>
#include <stdint.h>

enum {
    /* As KD_TOKENS_MAX, P11_HOSTS_A_TOKEN, P11_SESSIONS_MAX, P11_MAKER of
     * keyd/p11/p11.h: hosts are numbered by the token's place in the configuration,
     * then their own. */
    KD_CONF_TOKENS_MAX = 4,
    KD_CONF_TOKEN_HOSTS = 8,
    KD_CONF_TOKEN_SESSIONS = 4,
    KD_CONF_TOKEN_MAKER = 7,
    KD_CONF_TOKEN_NAME_MAX = 31,
    KD_CONF_TOKEN_LIST_MAX = 8, /* paths, and assignments of its environment */
    KD_CONF_TOKEN_TEXT_MAX = 255,
};

/* What a module may do beside computing and reading files. */
enum kd_p11_profile {
    KD_P11_PROFILE_FILES, /* nothing: SoftHSM */
    KD_P11_PROFILE_PCSC,  /* connect to a local socket: pcscd */
    KD_P11_PROFILE_NET,   /* and by TCP: a connector such as YubiHSM's */
    KD_P11_PROFILES
};

/* As CK_TOKEN_INFO has them, without the padding; empty: any. At least one is not. */
struct kd_token_match {
    char label[33];
    char serial[17];
    char manufacturer[33];
    char model[17];
};

/* One token, for the vault. */
struct kd_token_conf {
    char name[KD_CONF_TOKEN_NAME_MAX + 1];
    uint32_t sessions;      /* hosts that serve */
    uint32_t timeout;       /* ms, of one operation */
    uint32_t recycle_after; /* operations */
    uint32_t max_memory;    /* MiB that a host may grow by */
    uint32_t max_message;   /* octets; 0: what a trial shows */
};

/* Whether a token may have a host of that number, whatever its sessions are. */
bool kd_conf_host_is_valid(unsigned host);

#endif
