#include "admit.h"

#include <assert.h>
#include <netinet/in.h>

enum { WHOLE = 1000 }; /* one handshake */

static void
fill(struct bucket *b, uint32_t rate, int64_t now)
{
    int64_t most = (int64_t)rate * ADMIT_BURST * WHOLE, passed = now - b->at;

    if (passed > 0) {
        /* so many a second are as many thousandths a millisecond */
        b->tokens += passed > ADMIT_BURST * 1000 ? most : passed * rate;
        b->at = now;
    }
    if (b->tokens > most)
        b->tokens = most;
}

void
admit_limits(struct admit *a, const struct kd_limits *limits)
{
    a->rate = limits->handshake_rate;
    a->rate_strangers = limits->handshake_rate_total;
    a->most_unfinished = limits->max_handshakes / ADMIT_SOURCE_PART;
}

void
admit_setup(struct admit *a, const struct kd_limits *limits, int64_t now)
{
    *a = (struct admit){.strangers = {.at = now - ADMIT_BURST * 1000}};
    admit_limits(a, limits);
}

static bool
key_of(const struct sockaddr *from, uint8_t key[sizeof((struct source *)0)->key])
{
    enum { V4 = 4, V6 = 6, V4_SIZE = 4, PREFIX = 8, MAPPED_AT = 12 };
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    memset(key, 0, sizeof((struct source *)0)->key);
    if (from->sa_family == AF_INET) {
        memcpy(&in, from, sizeof in);
        key[0] = V4;
        memcpy(key + 1, &in.sin_addr, V4_SIZE);
        return true;
    }
    if (from->sa_family != AF_INET6)
        return false;
    memcpy(&in6, from, sizeof in6);
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        key[0] = V4;
        memcpy(key + 1, in6.sin6_addr.s6_addr + MAPPED_AT, V4_SIZE);
        return true;
    }
    key[0] = V6;
    memcpy(key + 1, in6.sin6_addr.s6_addr, PREFIX);
    return true;
}

/* Which of two entries goes first: one never used, then strangers, then of the party
 * that has most, so that none has the others forgotten, then by age. One with
 * unfinished handshakes stays. */
static bool
goes_before(const struct admit *all, const struct source *a, const struct source *b,
            int64_t now)
{
    if (b == NULL || !a->is_used)
        return b == NULL || b->is_used;
    bool a_known = a->known_until > now, b_known = b->known_until > now;
    if (a_known != b_known)
        return b_known;
    uint32_t a_has = all->parties[a->party].n_sources,
             b_has = all->parties[b->party].n_sources;
    if (a_known && a_has != b_has)
        return a_has > b_has;
    return b->is_used && a->bucket.at < b->bucket.at;
}

/* --- parties --- */

static void
leave_party(struct admit *a, struct source *s)
{
    if (s->party == ADMIT_STRANGERS_PARTY)
        return;
    assert(a->parties[s->party].n_sources > 0);
    a->parties[s->party].n_sources--;
    s->party = ADMIT_STRANGERS_PARTY;
}

/* One with no sources is free. There are as many as principals; after a reload that
 * renames many the new ones may wait among the strangers until sources are forgotten.
 */
static void
join_party(struct admit *a, struct source *s, struct kd_slice name)
{
    uint16_t at = ADMIT_STRANGERS_PARTY;

    assert(name.n <= sizeof a->parties->name);
    for (uint16_t i = 1; i < ADMIT_PARTIES; i++) {
        struct party *p = &a->parties[i];
        if (p->n_sources != 0 && kd_slice_eq(kd_slice(p->name, p->name_size), name)) {
            at = i;
            break;
        }
        if (p->n_sources == 0 && at == ADMIT_STRANGERS_PARTY)
            at = i;
    }
    if (at == s->party)
        return;
    leave_party(a, s);
    if (at == ADMIT_STRANGERS_PARTY)
        return;
    struct party *p = &a->parties[at];
    memcpy(p->name, name.p, name.n);
    p->name_size = name.n;
    p->n_sources++;
    s->party = at;
}

unsigned
admit_party(const struct source *s, int64_t now)
{
    return s->known_until > now ? s->party : ADMIT_STRANGERS_PARTY;
}

/* --- sources --- */

/* NULL if every entry has unfinished handshakes. */
static struct source *
source_of(struct admit *a, const uint8_t *key, int64_t now)
{
    struct source *spare = NULL;

    for (size_t i = 0; i < ADMIT_SOURCES; i++) {
        struct source *s = &a->list[i];
        if (s->is_used && memcmp(s->key, key, sizeof s->key) == 0)
            return s;
        if (s->n_unfinished == 0 && goes_before(a, s, spare, now))
            spare = s;
    }
    if (spare == NULL)
        return NULL;
    leave_party(a, spare);
    *spare = (struct source){.is_used = true, .bucket.at = now - ADMIT_BURST * 1000};
    memcpy(spare->key, key, sizeof spare->key);
    fill(&spare->bucket, a->rate, now);
    return spare;
}

enum admit_verdict
admit_ask(struct admit *a, const struct sockaddr *from, int64_t now,
          struct source **source)
{
    uint8_t key[sizeof((struct source *)0)->key];

    if (!key_of(from, key))
        return ADMIT_UNREADABLE;
    struct source *s = source_of(a, key, now);
    if (s == NULL)
        return ADMIT_TOO_MANY;
    fill(&s->bucket, a->rate, now);
    fill(&a->strangers, a->rate_strangers, now);
    if (s->n_unfinished >= a->most_unfinished)
        return ADMIT_TOO_MANY;
    if (s->bucket.tokens < WHOLE)
        return ADMIT_TOO_OFTEN;
    bool is_stranger = s->known_until <= now;
    if (is_stranger && a->strangers.tokens < WHOLE)
        return ADMIT_STRANGERS;
    s->bucket.tokens -= WHOLE;
    a->strangers.tokens -= is_stranger ? WHOLE : 0;
    s->n_unfinished++;
    *source = s;
    return ADMIT_OK;
}

void
admit_end(struct admit *a, struct source *s, struct kd_slice name, int64_t now)
{
    assert(s->n_unfinished > 0);
    s->n_unfinished--;
    if (name.n == 0)
        return;
    s->known_until = now + ADMIT_KNOWN_MS;
    join_party(a, s, name);
}
