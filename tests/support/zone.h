/* A small world of DNS: a signed root and zones right below it, served by Knot on
 * 127.0.0.53 in the test's own network (netns.h). */
#ifndef KEYD_TESTS_ZONE_H
#define KEYD_TESTS_ZONE_H

#include <stddef.h>

enum zone_kind {
    ZONE_UNSIGNED,
    ZONE_SIGNED,
    ZONE_BOGUS,     /* every signature but that of the keys has a changed bit */
    ZONE_EXPIRED,   /* signed months ago */
    ZONE_WRONG_DS,  /* signed by another key than its parent says */
    ZONE_STRIPPED,  /* its parent says that it is signed, it is not */
    ZONE_SERVFAIL,  /* its server cannot load it */
    ZONE_HIDDEN,    /* unsigned and served, but the root does not know it */
    ZONE_ELSEWHERE, /* at another address, where the test answers, or nobody does */
};

#define ZONE_SERVER "127.0.0.53"

struct zone_spec {
    const char *name; /* "example.com" */
    enum zone_kind kind;
    /* Lines of a zone file, names below the zone's ("_dime TXT \"pok=...\""). SOA and
     * NS are there already, 300 seconds are the TTL, 60 that of what is not there. */
    const char *records;
    const char *at; /* ZONE_ELSEWHERE: an address */
};

struct zones;

/* Makes keys and files in a folder of its own below TMPDIR, signs and serves. Fails the
 * test if that does not go; ends it as skipped where Knot is not installed. */
struct zones *zones_start(const struct zone_spec *specs, size_t n);
void zones_stop(struct zones *z);

/* What resolvers need: the root's key as text, and a file of hints. */
const char *zones_anchor(const struct zones *z);
const char *zones_hints(const struct zones *z);

/* From its next change on: for how many seconds what is not there may be kept. */
void zones_set_absence(struct zones *z, const char *name, unsigned seconds);

/* The zone has other records now, signed as before; kept in caches as TTLs say. */
void zones_change(struct zones *z, const char *name, const char *records);

#endif
