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

/* Which of two entries goes first: one never used, then strangers, then by age. One
 * with unfinished handshakes stays. */
static bool
goes_before(const struct source *a, const struct source *b, int64_t now)
{
    if (b == NULL || !a->is_used)
        return b == NULL || b->is_used;
    bool a_known = a->known_until > now, b_known = b->known_until > now;
    if (a_known != b_known)
        return b_known;
    return b->is_used && a->bucket.at < b->bucket.at;
}

/* NULL if every entry has unfinished handshakes. */
static struct source *
source_of(struct admit *a, const uint8_t *key, int64_t now)
{
    struct source *spare = NULL;

    for (size_t i = 0; i < ADMIT_SOURCES; i++) {
        struct source *s = &a->list[i];
        if (s->is_used && memcmp(s->key, key, sizeof s->key) == 0)
            return s;
        if (s->n_unfinished == 0 && goes_before(s, spare, now))
            spare = s;
    }
    if (spare == NULL)
        return NULL;
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
admit_end(struct source *s, bool is_good, int64_t now)
{
    assert(s->n_unfinished > 0);
    s->n_unfinished--;
    if (is_good)
        s->known_until = now + ADMIT_KNOWN_MS;
}
