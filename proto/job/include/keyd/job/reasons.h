/* Why an operation was refused: between vault and gate a number, on the wire a name,
 * for people a sentence. */
#ifndef KEYD_JOB_REASONS_H
#define KEYD_JOB_REASONS_H

#include <keyd/base/slice.h>

enum kd_reason {
#define KD_REASON(code, name, text) KD_REASON_##code,
#include <keyd/job/reasons.def>
#undef KD_REASON
    KD_REASON_COUNT,
    KD_REASON_DIME = 256,    /* plus enum dime_reason */
    KD_REASON_RESTART = 1024 /* plus enum kd_restart_key */
};

/* What of the configuration cannot change in a daemon that runs. */
enum kd_restart_key {
#define KD_RESTART_KEY(code, key) KD_RESTART_##code,
#include <keyd/job/restart_keys.def>
#undef KD_RESTART_KEY
    KD_RESTART_KEYS
};

/* The key as written in keyd.conf; NULL for a number that is none. */
const char *kd_restart_key_name(unsigned key);

enum { KD_REASON_NAME_MAX = 49 }; /* octets, with the NUL */

/* The name, "" for a number that is no reason; returns out. */
const char *kd_reason_name(unsigned reason, char out[KD_REASON_NAME_MAX]);

/* The sentence for a name, without a full stop; NULL if the name is none of these. */
const char *kd_reason_text(struct kd_slice name);

/* Why an address is frozen, as its record says; "" for a number that is no such reason.
 * A word that is none is KD_FREEZE_OTHER. */
const char *kd_freeze_reason_word(unsigned reason);
unsigned kd_freeze_reason_find(struct kd_slice word);

#endif
