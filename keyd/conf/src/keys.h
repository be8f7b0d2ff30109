/* conf_keys.def as a table. */
#ifndef KEYD_CONF_SRC_KEYS_H
#define KEYD_CONF_SRC_KEYS_H

#include <keyd/conf/conf.h>

enum kd_conf_section {
    KD_CONF_TOP,
    KD_CONF_DOMAIN,
    KD_CONF_LISTENER,
    KD_CONF_PRINCIPAL,
    KD_CONF_TOKEN,
    KD_CONF_SECTION_COUNT
};

enum kd_conf_type {
    KD_CONF_INT,
    KD_CONF_AUTO_INT,
    KD_CONF_BOOL,
    KD_CONF_HARDENING,
    KD_CONF_LOG_LEVEL,
    KD_CONF_CLASS,
    KD_CONF_PATH,
    KD_CONF_MODE,
    KD_CONF_USER,
    KD_CONF_GROUP,
    KD_CONF_ROLE_USER,
    KD_CONF_ROLE_GROUP,
    KD_CONF_OPERATIONS,
    KD_CONF_DOMAINS,
    KD_CONF_FIELDS,
    KD_CONF_REMOTE,
    KD_CONF_PIN,
    KD_CONF_ADDRESS,
    KD_CONF_ACCOUNT_KEYS,
    KD_CONF_TICKETS,
    KD_CONF_DELAY,
    KD_CONF_SIGNER,
    KD_CONF_ACCOUNT_MODES,
    KD_CONF_KEYS,
    KD_CONF_QUOTAS,
    KD_CONF_HOST_USER,
    KD_CONF_AUTO_SIZE,
    KD_CONF_TEXT,
    KD_CONF_PROFILE,
    KD_CONF_PATHS,
    KD_CONF_ENVIRONMENT
};

struct kd_conf_key {
    const char *name;
    const char *def; /* "" none, NULL required */
    int64_t min;
    int64_t max;
    size_t offset; /* in the section's structure */
    size_t size;   /* of the member */
    enum kd_conf_section section;
    enum kd_conf_type type;
};

extern const struct kd_conf_key kd_conf_keys[];
extern const size_t kd_conf_n_keys;

/* NULL if the section has no such key. */
const struct kd_conf_key *kd_conf_key_find(enum kd_conf_section section,
                                           struct kd_slice name);

/* "domain", "listener", "principal", "token"; "" for the top. */
const char *kd_conf_section_name(enum kd_conf_section section);

/* Its min, or of a DELAY what this build takes. */
int64_t kd_conf_key_least(const struct kd_conf_key *key);

bool kd_conf_key_is_list(const struct kd_conf_key *key);

/* Is it one of the limits that travel to the roles? */
bool kd_conf_key_is_limit(const struct kd_conf_key *key);

#endif
