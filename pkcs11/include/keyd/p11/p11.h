/* The vault's side of PKCS#11: pools of hosts, one host a process and session
 * (keyd-p11, which alone loads the vendor's module), and a keeper thread for each
 * token.
 *
 * Nothing here loads a module, opens a file or knows a PIN. The supervisor starts and
 * kills hosts; the vault's main thread carries its notes there and descriptors here.
 *
 * STATE. A token's breaker is moved by our own trials only, never by what a client's
 * operation did: that just asks for a trial (p11_breaker.h).
 *
 * PIN. A host has the PIN, from the descriptor of a file that the supervisor opens for
 * it. Before it logs in it tells a tag of it, BLAKE2b-128 under the token's latch key,
 * made from the key store's master key. A PIN that was good is told by its tag; any
 * other is recorded as tried, durably, before the one host that may try it does. What
 * was tried and refused is never tried again, by no host and after no restart, until
 * the file has another PIN. */
#ifndef KEYD_P11_P11_H
#define KEYD_P11_P11_H

#include <keyd/p11/finding.h>
#include <keyd/token/device.h>

enum {
    P11_SESSIONS_MAX = 4, /* hosts of a token that serve */
    P11_HOSTS_A_TOKEN = 8,
    P11_MAKER = 7, /* the one that makes keys: its token directory is writable */
    P11_HOSTS_MAX = KD_TOKENS_MAX * P11_HOSTS_A_TOKEN,
};

/* Of all hosts: the token's place in the configuration, then its own number. */
static inline unsigned
p11_host_token(unsigned host)
{
    return host / P11_HOSTS_A_TOKEN;
}

struct p11_conf {
    char name[KD_TOKEN_NAME_MAX + 1];
    uint32_t sessions;       /* 1 to P11_SESSIONS_MAX */
    uint32_t timeout_ms;     /* of one operation */
    uint32_t recycle_after;  /* operations */
    uint32_t max_memory_mib; /* that a host may grow by */
    uint32_t max_message;    /* octets; 0: what a trial shows */
};

enum p11_state {
    P11_NEW,      /* not adopted: it is looked at, never logged in to */
    P11_STARTING, /* first bring-up after unsealing */
    P11_CLOSED,   /* in use */
    P11_OPEN,     /* away: requests fail at once, trials go on */
    P11_HALF,     /* back, being tried */
    P11_DRAINED,  /* keys are made */
    P11_REFUSED,  /* an operator has to mend something; looked at now and then */
    P11_IDLE,     /* nothing is to be held: sealed */
    P11_STATES
};
const char *p11_state_name(enum p11_state state);

struct p11;

/* Makes the keepers' threads, so before the filter. */
kd_err p11_new(const struct p11_conf *conf, size_t n, struct p11 **out) KD_MUST_USE;

/* For the key store (soft_store.h, kd_soft_attach). Lives as long as the process. */
struct kd_device *p11_device(struct p11 *p, size_t token);

/* Readable when notes wait. */
int p11_event_fd(const struct p11 *p);

/* A host's channel; takes fd. */
void p11_link(struct p11 *p, unsigned host, int fd);

/* The supervisor could not open the PIN file of the host's token (ctl_no_pin). */
void p11_no_pin(struct p11 *p, unsigned host, kd_err err);

/* What the main thread carries. */
enum p11_say {
    P11_SAY_KILL,  /* host */
    P11_SAY_START, /* host: again, at once */
    P11_SAY_MAKER, /* host: the maker of its token */
    P11_SAY_PIN,   /* host wants its PIN (again) */
    P11_SAY_TAGS,  /* store good and tried, then p11_tags_stored */
    P11_SAY_EVENT  /* event of events.def with a, b */
};
struct p11_note {
    enum p11_say say;
    unsigned token, host;
    uint16_t event;
    uint64_t a, b;
    uint8_t good[KD_PIN_TAG_SIZE], tried[KD_PIN_TAG_SIZE];
};
bool p11_next(struct p11 *p, struct p11_note *out);
/* The tags are durable, or not: then nobody logs in and it is asked again. */
void p11_tags_stored(struct p11 *p, size_t token, kd_err err);

struct p11_status {
    enum p11_state state;
    enum p11_finding_code finding; /* why it is not closed */
    uint64_t rv;                   /* the module's word with it */
    uint64_t signed_, derived, faults, recycled, opened;
    uint32_t hosts; /* ready */
    uint32_t mechanisms;
    uint64_t max_message;
    int64_t since; /* CLOCK_MONOTONIC, ms: of the state */
    char serial[KD_TOKEN_SERIAL_MAX + 1];
    char model[KD_TOKEN_MODEL_MAX + 1];
    char label[33];
    char manufacturer[33];
};
void p11_status(struct p11 *p, size_t token, struct p11_status *out);

/* All that is wrong with it, the first cause first; asks a host, waits until `until`.
 * The number found; 0: nothing is. */
size_t p11_doctor(struct p11 *p, size_t token, struct p11_finding *out, size_t max,
                  int64_t until);

/* After a verdict that rests on what the token derived, and that is final if the token
 * was right: waits for a trial of the key that began after now. KD_OK: it does right.
 */
kd_err p11_confirm(struct p11 *p, size_t token, const struct kd_key_id *id,
                   int64_t until) KD_MUST_USE;

#endif
