/* The codec of the messages between our processes (channels: keyd/base/chan.h).
 *
 * struct kd_<name> holds integers, octet arrays (FIX) and slices (VAR). A slice that
 * was got borrows the body it was read from. kd_<name>_get checks every length against
 * the table and refuses leftovers: KD_MALFORMED. kd_<name>_put appends to a buffer,
 * whose sticky error tells of a VAR that is too long (KD_TOO_LARGE). */
#ifndef KEYD_JOB_JOB_H
#define KEYD_JOB_JOB_H

#include <keyd/base/buf.h>
#include <keyd/base/chan.h>
#include <keyd/base/cur.h>

enum {
    KD_JOB_BODY_MAX = KD_CHAN_INLINE_MAX + 1024,
    KD_MAIL_INLINE_MAX = 40 * 1024, /* of a message in a job; larger ones are objects */
    KD_MAIL_MESSAGE_MAX = 64 * 1024 * 1024,
    KD_MAIL_SIGNET_MAX = 1024 * 1024, /* that stands behind a message in an object */
    KD_MAIL_OBJECT_MAX = KD_MAIL_MESSAGE_MAX + KD_MAIL_SIGNET_MAX,
    KD_MAIL_BOUNCE_MAX = 16 * 1024 * 1024 + 65536, /* one chunk, and what is around */
    KD_JOB_TOKENS_MAX = 2 * (4 + 31),              /* names of PKCS#11 tokens */
    KD_JOB_OBJECTS_MAX = 2 * (4 + 32),             /* a key's ids in them */
    KD_JOB_FINDINGS_MAX = 64,
};

enum {
    KD_AUTHOR_SIGNETS = 8,                       /* in told_author */
    KD_AUTHOR_OCTETS_MAX = 16777220 + 64 * 1024, /* of them: one of any size fits */
};
/* How long ago a former organizational signet was superseded, that a vault is told of:
 * no key-retention is longer (conf_keys.def). */
#define KD_FORMER_MS (UINT64_C(366) * 24 * 3600 * 1000)

/* Message types, for all channels together: a message on the wrong channel is then
 * unknown there. */
enum kd_message_type {
    KD_MSG_NONE,
    KD_MSG_CTL_CONF,       /* body: the role's configuration (role_conf.h) */
    KD_MSG_KEYSTORE,       /* ledger -> vault: the key store, octets or a descriptor */
    KD_MSG_KEYSTORE_ASIDE, /* the same, of one that an operator set aside */
#define KD_MESSAGE(name, fields) KD_MSG_##name,
#include <keyd/job/messages.def>
#undef KD_MESSAGE
};

#define U8(name) uint8_t name;
#define U16(name) uint16_t name;
#define U32(name) uint32_t name;
#define U64(name) uint64_t name;
#define FIX(name, octets) uint8_t name[octets];
#define VAR(name, most) struct kd_slice name;
#define KD_MESSAGE(name, fields)                                                       \
    struct kd_##name {                                                                 \
        fields                                                                         \
    };                                                                                 \
    kd_err kd_##name##_get(struct kd_slice body, struct kd_##name *out) KD_MUST_USE;   \
    void kd_##name##_put(struct kd_buf *b, const struct kd_##name *m);
#include <keyd/job/messages.def>
#undef KD_MESSAGE
#undef U8
#undef U16
#undef U32
#undef U64
#undef FIX
#undef VAR

/* What a descriptor that the supervisor hands out is. */
enum kd_link {
    KD_LINK_LISTENER,   /* gate: a listening socket */
    KD_LINK_VAULT,      /* gate, ledger: a channel to the vault */
    KD_LINK_LEDGER,     /* vault: a channel to the ledger; gate: its read-only one */
    KD_LINK_GATE,       /* vault, ledger: a channel to the gate of a class */
    KD_LINK_CREDENTIAL, /* vault: the credential file, opened for reading */
    KD_LINK_STATE_DIRECTORY, /* ledger */
    KD_LINK_P11, /* vault: a channel to the host of number `gate`; host: to the vault */
    KD_LINK_PIN  /* host: its PIN file, opened for reading */
};

/* What the vault wants done with a host. */
enum kd_p11_want {
    KD_P11_KILL,  /* end it; another comes in its place */
    KD_P11_START, /* one that ended on its own, without waiting any longer */
    KD_P11_MAKE,  /* start the maker */
    KD_P11_PIN,   /* hand it the PIN file, opened anew */
    KD_P11_WANTS
};

/* Steps of a change of the configuration, and of draining (supervisor/reload.h). */
enum kd_turn {
    KD_TURN_NUMBER,  /* the configuration you have has this serial; no answer */
    KD_TURN_SHADOW,  /* the policy that is watched with the next one; sealed memfd */
    KD_TURN_PREPARE, /* decode and keep the next one; sealed memfd */
    KD_TURN_TAKE,    /* use it */
    KD_TURN_DROP,    /* forget it; no answer */
    KD_TURN_FINISH,  /* all use it; vault only, no answer */
    KD_TURN_DRAIN,   /* take no more requests */
    KD_TURN_SERVE,   /* take them again */
    KD_TURNS
};

/* What only the supervisor can do. */
enum kd_wish { KD_WISH_RELOAD, KD_WISH_DRAIN, KD_WISH_SERVE, KD_WISH_STOP, KD_WISHES };

/* Which signet the ledger tells of. */
enum kd_told { KD_TOLD_NONE, KD_TOLD_STORED, KD_TOLD_HEAD };

/* Accounts; the numbers of the first and third are those of keyd.proto. */
enum kd_account_action {
    KD_ACCOUNT_SHOW = 1,
    KD_ACCOUNT_FREEZE,
    KD_ACCOUNT_THAW,
    KD_ACCOUNT_CLOSE,
    KD_ACCOUNT_ATTEST,
    KD_ACCOUNT_REVOKE
};
enum kd_account_state { KD_ACCOUNT_OPEN, KD_ACCOUNT_FROZEN, KD_ACCOUNT_CLOSED };
enum kd_freeze_reason {
    KD_FREEZE_NONE,
    KD_FREEZE_THEFT,
    KD_FREEZE_ABUSE,
    KD_FREEZE_OTHER
};
enum kd_reset_action {
    KD_RESET_LIST = 1,
    KD_RESET_REQUEST,
    KD_RESET_APPROVE,
    KD_RESET_CANCEL
};
enum kd_reset_state { KD_RESET_NONE, KD_RESET_WAITING, KD_RESET_APPROVED };
enum kd_stop_action { KD_STOP_LIST = 1, KD_STOP_STOP, KD_STOP_ALLOW };

enum {
    KD_STOPPED_MAX = 256, /* principals stopped at a time */
    KD_RESETS_PAGE = 32   /* of a list */
};

/* What comes with an audit record. */
enum kd_row {
    KD_ROW_NONE,
    KD_ROW_ISSUE,
    KD_ROW_ORG,
    KD_ROW_KEYSTORE,
    KD_ROW_CHECKPOINT,
    KD_ROW_RESET,
    KD_ROW_RESTORE, /* no body: what the record says of the key store counts */
    KD_ROW_DROP     /* no body: up to the record that the record is about */
};

/* What is wrong around the ledger: a set. */
enum kd_health {
    KD_HEALTH_DISK_LOW = 1,        /* no new signing until there is room */
    KD_HEALTH_NO_RESERVE = 2,      /* the reserve could not be laid by */
    KD_HEALTH_OUTSIDE_FAILING = 4, /* the checkpoint cannot be written outside ... */
    KD_HEALTH_OUTSIDE_OVERDUE = 8, /* ... for longer than is allowed */
    KD_HEALTH_NO_OUTSIDE = 16      /* none is configured: no fault, but said */
};

enum kd_copy_state {
    KD_COPY_NONE,
    KD_COPY_COPYING,
    KD_COPY_VERIFYING,
    KD_COPY_DONE,
    KD_COPY_FAILED
};

/* Lists inside a VAR: items behind a u32 length. */
void kd_list_put(struct kd_buf *b, struct kd_slice item);
static inline struct kd_slice
kd_list_next(struct kd_cur *c)
{
    return kd_cur_take(c, kd_cur_u32(c));
}

#endif
