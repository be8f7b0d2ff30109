/* What message operations ask the ledger, and what is believed of its answers. The
 * ledger may be captured: numbers are checked for sense, and a signet counts only if it
 * is ours. That a chain ends where the ledger says, and when a signet was superseded,
 * it alone knows (design.md, "Processes").
 *
 * In three steps: mail_ask_* on the main thread; mail_told_* in the step that it names,
 * which copies what is needed; of authors, mail_authors_believe on a crypto thread. */
#ifndef KEYD_OPS_MAIL_ASK_H
#define KEYD_OPS_MAIL_ASK_H

#include "account.h"

/* --- the author of a message --- */

struct mail_author_signet {
    uint64_t superseded_ms;     /* 0: current */
    struct kd_slice signet;     /* lies in the octets of the list */
    uint8_t core[64], full[64]; /* after believe */
};

/* Signets may be as large as 16 MiB: so many octets of large ones are held at a time by
 * all tasks together, whoever asks. */
enum { MAIL_AUTHORS_HELD_MAX = 4 * KD_AUTHOR_OCTETS_MAX };

/* Zeroed before mail_ask_author; freed with mail_authors_free. */
struct mail_authors {
    uint64_t since_ms;
    struct kd_account_part account;
    struct kd_buf octets;
    struct vault *held_of; /* large ones count there; or NULL */
    size_t held;
    size_t n; /* 0: the address has no signet */
    struct mail_author_signet list[KD_AUTHOR_SIGNETS]; /* the newest first */
};

/* Asks for the signets of the address that are current, or were superseded at most
 * grace_s seconds ago (D-087). a lives as long as the task's data. */
void mail_ask_author(struct vault *v, struct task *t, struct kd_slice address,
                     uint32_t grace_s, struct mail_authors *a, task_step next);

/* Copies the answer. KD_UNAVAILABLE and the task's reason: the ledger failed, or what
 * it said makes no sense; KD_BUSY for large signets that there is no room for;
 * KD_NOMEM. Whether the account is open is the caller's to ask.
 */
kd_err mail_told_author(struct task *t, struct mail_authors *a) KD_MUST_USE;

/* They are so large that believing takes long. */
bool mail_authors_are_large(const struct mail_authors *a);

/* Keeps those that are of this address and by a key of ours (vault_signed), with their
 * fingerprints. A former one whose signer was revoked is left out; the newest must
 * hold, else KD_UNAVAILABLE and the task's reason. */
kd_err mail_authors_believe(struct task *t, size_t org, struct kd_slice address,
                            struct mail_authors *a) KD_MUST_USE;

void mail_authors_free(struct mail_authors *a);

/* --- the recipient of a message --- */

struct mail_recipient {
    bool is_known;          /* the fingerprint is of one of its signets */
    uint64_t superseded_ms; /* 0: current */
    struct kd_account_part account;
};

/* fp: 64 octets. An empty address is asked for all the same, and known to nobody. */
void mail_ask_recipient(struct vault *v, struct task *t, struct kd_slice address,
                        const uint8_t *fp, task_step next);
kd_err mail_told_recipient(struct task *t, struct mail_recipient *out) KD_MUST_USE;

/* Mail for it: to its current signet; to one superseded at most so many seconds ago
 * (D-078); or 586. An account that is frozen still receives, one that is closed does
 * not. */
enum mail_standing { MAIL_CURRENT = 1, MAIL_STALE, MAIL_UNKNOWN };
enum mail_standing mail_recipient_standing(const struct mail_recipient *r,
                                           uint32_t stale_s, int64_t now_ms);

/* --- naked mail --- */

struct mail_naked_told {
    bool has_signet; /* the recipient has a current one */
    bool
        is_key_known; /* the one-time key is or was a signing key of somebody (GW-16) */
    struct kd_account_part account;
};

/* key: 32 octets. */
void mail_ask_naked(struct vault *v, struct task *t, struct kd_slice address,
                    const uint8_t *key, task_step next);
kd_err mail_told_naked(struct task *t, struct mail_naked_told *out) KD_MUST_USE;

#endif
