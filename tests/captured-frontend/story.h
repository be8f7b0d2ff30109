/* A front-end that an intruder has taken over, with the credentials it has, against
 * daemons of two organizations. Ways of abuse stand in ways.def; what each got is
 * judged here, by code that is not keyd's. */
#ifndef KEYD_TESTS_STORY_H
#define KEYD_TESTS_STORY_H

#include "post.h"
#include "tap.h"

enum {
    STORY_WHAT = 128,
    STORY_SIDES = 2,    /* com and org */
    STORY_LINES = 3,    /* connections that are listened to */
    STORY_TIMED = 4096, /* durations kept of each kind */
};

/* One abuse and what it got. */
struct attempt {
    char what[STORY_WHAT]; /* was tried */
    enum keyd_status status;
    char detail[STORY_WHAT];
    char hole[STORY_WHAT]; /* what it got and should not have; "": nothing */
};

/* SHA-256 of what a signature covers that a front-end was given. */
struct digest {
    uint8_t octets[32];
};

struct digests {
    struct digest *p;
    size_t n, room;
};

/* A domain of the intruder's own, with a signet that holds. */
struct stranger {
    struct sg_pair pok, sok;
    struct kd_buf signet;
    uint8_t core[64], full[64];
};

struct story {
    uint64_t seed, drawn; /* all that is chosen follows from these */
    struct post com, org;
    struct tap taps[STORY_LINES];
    keyd_client *submit, *com_mta, *org_mta; /* through taps */
    struct dmw blank, whole, other;
    struct post_person mallory, carol, frozen, closed;
    struct stranger net; /* example.net */
    uint64_t before[STORY_SIDES];
    struct digests signed_by[STORY_SIDES];
    size_t n_opened[STORY_SIDES]; /* by OpenEnvelope and OpenBounce */
    size_t n_waited;              /* times the meter of strangers said to wait */
    double took[2][STORY_TIMED];  /* µs */
    size_t n_took[2];
};

/* One of n, at random. */
size_t story_pick(struct story *s, size_t n);

/* A number no message had. */
uint64_t story_new(struct story *s);

void say(struct attempt *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void found(struct attempt *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- messages: as their author leaves them (blank), and as they are when the
 * organization has signed (whole) --- */

void write_both(struct story *s, struct dmw_recipe r);

/* Alice's to bob, of one shape or another. */
struct dmw_recipe alices(struct story *s);
void write_alices(struct story *s);

/* By that person, by the signet it says. */
void write_by(struct story *s, const struct post_person *p);

/* Signed by example.net for example.org, chunk 5 as given. */
struct kd_slice write_of_net(struct story *s, const struct dmw_chunk *destination);

static inline struct kd_slice
octets_of(const struct dmw *w)
{
    return kd_buf_slice(&w->out);
}

/* --- asking: each fills in what the abuse got, and judges it --- */

void try_sign(struct story *s, struct attempt *a, const char *account,
              const char *destination, const uint8_t *origin_fp, struct kd_slice m);

/* named: whom a good answer may name (the recipient or, of a bounce, the author), or
 * NULL: nobody. */
void try_inbound(struct story *s, struct attempt *a, struct post *at, enum keyd_op op,
                 const struct post_inbound *in, const char *named);
void try_seal(struct story *s, struct attempt *a, struct post *at,
              const char *recipient, const struct kd_buf *mail);

/* Naked mail for that key; out is initialised here. */
void write_naked(const uint8_t recipient[33], struct kd_buf *out);

/* As post_from, of the intruder's domain. */
struct post_inbound from_net(const struct story *s, const struct post *to,
                             struct kd_slice message);

/* --- oracle.c --- */

/* "" if these are the signatures that make blank whole, and their digests are written
 * down; else why not. */
const char *judge_signatures(struct story *s, struct kd_slice asked,
                             const struct keyd_answer *answer, struct digests *out);

/* "" if that key made the last 64 octets, over all that is before their chunk; the
 * digest is written down. */
const char *judge_last(struct kd_slice object, const uint8_t key[32],
                       struct digests *out);

/* The same of a bounce to example.com, and of its report, which is opened for it. */
const char *judge_bounce(struct kd_slice bounce, const uint8_t key[32],
                         struct digests *out);

/* "" if the log has exactly these signatures, and so many were opened. */
const char *judge_records(const struct kd_audit_record *r, size_t n,
                          const struct digests *received, size_t n_opened,
                          size_t *n_failed);

/* "" if nothing on the tapped lines is anything that is not the front-end's. */
const char *judge_lines(const struct story *s);

void digests_add(struct digests *d, struct kd_slice covered);

/* Plants what each of these must notice; false, and says so, if one does not. */
bool oracle_notices(struct story *s);

/* --- ways --- */

typedef void way_function(struct story *s, struct attempt *a);
#define CHAPTER(title)
#define WAY(name, tries, status, detail) way_function way_##name;
#include "ways.def"
#undef CHAPTER
#undef WAY

#endif
