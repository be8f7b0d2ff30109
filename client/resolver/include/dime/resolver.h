/* The signet resolver: whether a name can be written dark mail to, with which signet,
 * and why (P4, P5, P9 of the specification; D-005 to D-029, D-069 to D-079).
 *
 * A name is a domain or an address. What is found is believed by the management record,
 * by DNSSEC or a certificate authority, and by signatures; never by a connection alone.
 * An error is never an absence: no mistake or attack turns a DIME domain into a legacy
 * one.
 *
 * A resolver is shared by threads. Its calls block until the deadline, at most. What
 * it has learnt is kept on disk, and answers come from there, without anybody else
 * being asked, as long as it is fresh. It asks only DNS, the domain's own hosts and,
 * for the organization alone, its syndicates: nobody learns more than that of who
 * writes to whom. */
#ifndef DIME_RESOLVER_H
#define DIME_RESOLVER_H

#include <dime/fingerprint.h>
#include <dime/mrec.h>

struct dime_resolver;

enum { DIME_RESOLVER_NAMES_MAX = 16 };

/* What is left zero or NULL is the default. Strings are copied. */
struct dime_resolver_conf {
    const char
        *state_dir; /* made with mode 0700 if it is not there; NULL: none is kept */

    /* DNS */
    const char *anchor_file; /* the root's keys; default: Debian's dns-root-data */
    const char *forwarder;   /* "ADDRESS[@PORT]"; NULL: the root is asked itself */
    const char *hints_file;  /* other roots, for tests and closed networks */
    const char *suffix_file; /* Public Suffix List; default: the system's */
    uint16_t record_type;    /* a numeric type that is asked before TXT; 0: none */

    /* Hosts */
    const char *ca_file;  /* recognised authorities; default: the system's */
    bool follows_aliases; /* dx and MX values that are aliases (D-023) */
    bool tries_domain;    /* the domain itself, after dx and MX (TR-23) */
    bool tries_26_on_mx;  /* D-136 */
    bool takes_libdime;   /* its dialect, and splits where it sends them (D-137) */
    bool only_tls12;      /* D-132 */
    const char *const *relaxed; /* domains whose hosts may lie elsewhere (D-029) */
    size_t n_relaxed;

    /* Seconds (D-077) */
    int64_t user_lifetime, org_lifetime, grace;

    /* Wall-clock seconds since 1970; NULL: the system's. Called by any thread. */
    int64_t (*now)(void *arg);
    void *now_arg;
};

/* What a name is. Only DIME_IS_DARK has a signet to write to. */
enum dime_outcome {
    DIME_IS_DARK,   /* a valid, current signet of that name */
    DIME_IS_LEGACY, /* no management record, surely: the domain does not run DIME */
    DIME_IS_NOT_ENABLED,   /* 476: a valid address that has no signet, said by its own
                            * host
                            */
    DIME_IS_NO_SIGNET,     /* 576: the host has no signet for it; final */
    DIME_IS_BAD_NAME,      /* neither a domain nor an address */
    DIME_IS_RECORD_BROKEN, /* its record cannot be had or read: later */
    DIME_IS_UNREACHABLE,   /* no host of it answers as it must: later */
    DIME_IS_UNTRUSTED, /* a host's certificate, or a signet, does not hold: an alarm */
    DIME_IS_UNBOUND,   /* the signet does not say whose it is: not without the user */
    DIME_IS_CHAIN_BROKEN, /* it was not handed over by the one known before: the same */
    DIME_IS_STALE,        /* known, but unconfirmed for too long: later */
    DIME_IS_NO_TIME,      /* the deadline came first */
    DIME_OUTCOMES
};

/* "dark", "legacy" ...: stable words. */
const char *dime_outcome_name(enum dime_outcome outcome);
/* Whether asking again later may help. */
bool dime_outcome_is_temporary(enum dime_outcome outcome);

enum dime_query_flags {
    DIME_QUERY_FRESH = 1,   /* ask, whatever is known */
    DIME_QUERY_OFFLINE = 2, /* ask nobody */
    DIME_QUERY_WITNESS = 4, /* ask the syndicates, too */
};

struct dime_query {
    const char *name;
    const uint8_t *fingerprint; /* of that very signet (64 octets), or NULL */
    unsigned flags;
    int64_t deadline; /* kd_clock_ms() */
};

/* A step on the way, in the order in which it was taken. */
struct dime_step {
    const char *word; /* stable: "dns", "certificate" ... */
    const char *text; /* for people; printable ASCII */
    unsigned weight;  /* 0 a note, 1 a warning, 2 an alarm (D-004) */
};

/* Read only, shared; released once by each who got it. */
struct dime_answer {
    enum dime_outcome outcome;
    const char *name;   /* as it was understood: lower case, A-labels */
    const char *domain; /* whose record it is; empty if none was found */

    const struct dime_mrec *record; /* NULL: none */
    bool is_secure;                 /* by DNSSEC */
    bool is_kept;         /* the record is the one that was known; DNS has none now */
    int64_t record_until; /* it lives so long, if it is never seen again */

    struct kd_slice org_signet, user_signet; /* binary; empty if there is none */
    uint8_t known[DIME_FINGERPRINT_SIZE];    /* CHAIN_BROKEN: core of what was known */
    uint8_t found[DIME_FINGERPRINT_SIZE];    /* and of what was found */
    int64_t fresh_until;

    const struct dime_step *steps;
    size_t n_steps, n_steps_lost;
};

/* KD_OK; KD_INVALID for what cannot be meant, KD_IO with the state directory at fault,
 * KD_NOMEM. *why says it, in static storage. */
kd_err dime_resolver_new(const struct dime_resolver_conf *conf,
                         struct dime_resolver **out, const char **why) KD_MUST_USE;
/* When no thread is in a call of it. */
void dime_resolver_free(struct dime_resolver *r);

/* KD_OK with an answer, whatever it is; KD_NOMEM. */
kd_err dime_resolve(struct dime_resolver *r, const struct dime_query *query,
                    const struct dime_answer **out) KD_MUST_USE;
void dime_answer_free(const struct dime_answer *answer);

/* A user has compared fingerprints, and takes the signet of an answer CHAIN_BROKEN: its
 * chain begins anew with it (D-070). fingerprint is the core's. KD_NOT_FOUND if that is
 * not what was found last. */
kd_err
dime_resolver_accept(struct dime_resolver *r, const char *address,
                     const uint8_t fingerprint[DIME_FINGERPRINT_SIZE]) KD_MUST_USE;

#endif
