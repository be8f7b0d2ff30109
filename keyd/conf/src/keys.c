#include "keys.h"

#define TOP_STRUCT struct kd_conf
#define DOMAIN_STRUCT struct kd_conf_domain
#define LISTENER_STRUCT struct kd_conf_listener
#define PRINCIPAL_STRUCT struct kd_conf_principal
#define TOKEN_STRUCT struct kd_conf_token

const struct kd_conf_key kd_conf_keys[] = {
#define KD_CONF_KEY(sec, member, key, kind, dflt, least, most, doc)                    \
    {.name = key,                                                                      \
     .def = dflt,                                                                      \
     .min = least,                                                                     \
     .max = most,                                                                      \
     .offset = offsetof(sec##_STRUCT, member),                                         \
     .size = sizeof(((sec##_STRUCT *)NULL)->member),                                   \
     .section = KD_CONF_##sec,                                                         \
     .type = KD_CONF_##kind},
#include <keyd/conf/conf_keys.def>
#undef KD_CONF_KEY
};

const size_t kd_conf_n_keys = sizeof kd_conf_keys / sizeof kd_conf_keys[0];

const struct kd_conf_key *
kd_conf_key_find(enum kd_conf_section section, struct kd_slice name)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++)
        if (kd_conf_keys[i].section == section &&
            kd_slice_eq(name, kd_slice_str(kd_conf_keys[i].name)))
            return &kd_conf_keys[i];
    return NULL;
}

const char *
kd_conf_section_name(enum kd_conf_section section)
{
    static const char *const names[] = {"", "domain", "listener", "principal", "token"};

    return names[section];
}

bool
kd_conf_key_is_list(const struct kd_conf_key *key)
{
    return key->type == KD_CONF_OPERATIONS || key->type == KD_CONF_DOMAINS ||
           key->type == KD_CONF_FIELDS || key->type == KD_CONF_ACCOUNT_KEYS ||
           key->type == KD_CONF_ACCOUNT_MODES || key->type == KD_CONF_KEYS ||
           key->type == KD_CONF_QUOTAS || key->type == KD_CONF_PATHS ||
           key->type == KD_CONF_ENVIRONMENT;
}

int64_t
kd_conf_key_least(const struct kd_conf_key *key)
{
    return key->type == KD_CONF_DELAY ? kd_delay_least((uint32_t)key->min) : key->min;
}

bool
kd_conf_key_is_limit(const struct kd_conf_key *key)
{
    size_t first = offsetof(struct kd_conf, limits);

    return key->section == KD_CONF_TOP && key->type == KD_CONF_INT &&
           key->offset >= first && key->offset - first < sizeof(struct kd_limits);
}
