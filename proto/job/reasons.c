#include <keyd/job/job.h>
#include <keyd/job/reasons.h>

#include <dime/reason.h>

static const char signet_prefix[] = "signet-";

static const struct {
    const char *name, *text;
} table[KD_REASON_COUNT] = {
#define KD_REASON(code, name, text) {name, text},
#include <keyd/job/reasons.def>
#undef KD_REASON
};

static const char restart_prefix[] = "needs-restart-";

static const struct {
    const char *key, *text;
} restart_keys[KD_RESTART_KEYS] = {
#define KD_RESTART_KEY(code, key) {key, "needs a restart, nothing was changed: " key},
#include <keyd/job/restart_keys.def>
#undef KD_RESTART_KEY
};

const char *
kd_restart_key_name(unsigned key)
{
    return key < KD_RESTART_KEYS ? restart_keys[key].key : NULL;
}

static void
restart_name(unsigned key, char out[KD_REASON_NAME_MAX])
{
    const size_t at = sizeof restart_prefix - 1;
    size_t n = strlen(restart_keys[key].key);

    if (n > KD_REASON_NAME_MAX - 1 - at)
        n = KD_REASON_NAME_MAX - 1 - at;
    memcpy(out, restart_prefix, at);
    memcpy(out + at, restart_keys[key].key, n);
    out[at + n] = '\0';
}

/* "signet-bad-magic" of BAD_MAGIC. */
static void
dime_name(enum dime_reason why, char out[KD_REASON_NAME_MAX])
{
    const char *name = dime_reason_name(why);
    size_t at = sizeof signet_prefix - 1;

    memcpy(out, signet_prefix, at);
    for (; *name != '\0' && at < KD_REASON_NAME_MAX - 1; name++)
        out[at++] = (char)(*name == '_'                   ? '-'
                           : *name >= 'A' && *name <= 'Z' ? *name - 'A' + 'a'
                                                          : *name);
    out[at] = '\0';
}

const char *
kd_reason_name(unsigned reason, char out[KD_REASON_NAME_MAX])
{
    out[0] = '\0';
    if (reason < KD_REASON_COUNT)
        memcpy(out, table[reason].name, strlen(table[reason].name) + 1);
    else if (reason > KD_REASON_DIME && reason - KD_REASON_DIME < DIME_REASON_COUNT)
        dime_name((enum dime_reason)(reason - KD_REASON_DIME), out);
    else if (reason >= KD_REASON_RESTART &&
             reason - KD_REASON_RESTART < KD_RESTART_KEYS)
        restart_name(reason - KD_REASON_RESTART, out);
    return out;
}

const char *
kd_reason_text(struct kd_slice name)
{
    char candidate[KD_REASON_NAME_MAX];

    if (name.n == 0)
        return NULL;
    for (unsigned i = 0; i < KD_REASON_COUNT; i++)
        if (kd_slice_eq(name, kd_slice_str(table[i].name)))
            return table[i].text;
    for (unsigned i = 1; i < DIME_REASON_COUNT; i++) {
        dime_name((enum dime_reason)i, candidate);
        if (kd_slice_eq(name, kd_slice_str(candidate)))
            return dime_reason_text((enum dime_reason)i);
    }
    for (unsigned i = 0; i < KD_RESTART_KEYS; i++) {
        restart_name(i, candidate);
        if (kd_slice_eq(name, kd_slice_str(candidate)))
            return restart_keys[i].text;
    }
    return NULL;
}

static const char *const freeze_words[] = {[KD_FREEZE_NONE] = "",
                                           [KD_FREEZE_THEFT] = "theft",
                                           [KD_FREEZE_ABUSE] = "abuse",
                                           [KD_FREEZE_OTHER] = "other"};

const char *
kd_freeze_reason_word(unsigned reason)
{
    return reason < sizeof freeze_words / sizeof *freeze_words ? freeze_words[reason]
                                                               : "";
}

unsigned
kd_freeze_reason_find(struct kd_slice word)
{
    for (unsigned i = KD_FREEZE_NONE; i <= KD_FREEZE_OTHER; i++)
        if (kd_slice_eq(word, kd_slice_str(freeze_words[i])))
            return i;
    return KD_FREEZE_OTHER;
}
