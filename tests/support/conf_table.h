/* The keys of keyd.conf as conf_keys.def has them, for tests that look at each. */
#ifndef KEYD_TESTS_CONF_TABLE_H
#define KEYD_TESTS_CONF_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum section { TOP, DOMAIN, LISTENER, PRINCIPAL, TOKEN };
enum type {
    INT,
    AUTO_INT,
    BOOL,
    HARDENING,
    LOG_LEVEL,
    CLASS,
    PATH,
    MODE,
    USER,
    GROUP,
    ROLE_USER,
    ROLE_GROUP,
    OPERATIONS,
    DOMAINS,
    FIELDS,
    REMOTE,
    PIN,
    ADDRESS,
    ACCOUNT_KEYS,
    TICKETS,
    DELAY,
    SIGNER,
    ACCOUNT_MODES,
    KEYS,
    QUOTAS,
    HOST_USER,
    AUTO_SIZE,
    TEXT,
    PROFILE,
    PATHS,
    ENVIRONMENT
};

static const struct key {
    enum section section;
    enum type type;
    const char *name;
    const char *def;
    int64_t min;
    int64_t max;
} keys[] = {
#define KD_CONF_KEY(section, member, key, type, def, min, max, doc)                    \
    {section, type, key, def, min, max},
#include <keyd/conf/conf_keys.def>
#undef KD_CONF_KEY
};
enum { N_KEYS = sizeof keys / sizeof keys[0] };

#endif
