/* A world for the resolver: domains with signed and unsigned zones, each with a DMTP
 * host whose answers the test puts together, a recognised authority, and a clock that
 * the test turns. Hosts are on ports of their own addresses in the test's own network.
 */
#ifndef KEYD_TESTS_RS_WORLD_H
#define KEYD_TESTS_RS_WORLD_H

#include "dmtp_server.h"
#include "sg.h"
#include "zone.h"

#include <dime/resolver.h>

#include <pthread.h>

enum { RS_LINKS_MAX = 16, RS_DOMAINS = 2 };

/* What a host says of one address: the chain as it is served, the last one current. */
struct rs_user {
    const char *address;
    unsigned code; /* 0: 280 with the signet; else this reply to SGNT and VRFY */
    struct kd_buf links[RS_LINKS_MAX]; /* identified signets; cores go into histories */
    struct kd_buf cores[RS_LINKS_MAX];
    size_t n_links;
    bool no_history;              /* 576 to HIST */
    const struct kd_buf *instead; /* sent for whatever is asked of it */
};

struct rs_domain {
    const char *name, *host, *address;
    struct sg_pair pok, sok;
    struct kd_buf org;
    struct rs_user users[2];
    const char
        *witnesses; /* a domain that it speaks of as a syndicate, with `testimony` */
    struct kd_buf testimony;
    struct identity id;
    struct dmtp_server *server;
    pthread_mutex_t lock; /* of what is said */
    unsigned n_sgnt, n_vrfy, n_hist;
};

/* A signed zone that has nothing at first, and says so for 2 seconds. */
#define RS_FRESH "fresh.example"

/* Signed: example.com; unsigned: example.net. Of hostile.example nobody here is the
 * server (hostile_answers.h). */
enum { RS_SIGNED, RS_UNSIGNED };

struct rs_world {
    struct rs_domain domains[RS_DOMAINS];
    struct identity ca;
    char ca_file[128], dir[96];
    struct zones *zones;
    int64_t now;
};
extern struct rs_world rs;

/* What its host says: for a dmtp_server beside it; arg: &rs.domains[...]. */
void rs_say(void *arg, const char *command, struct kd_buf *reply);

/* After netns_enter. */
void rs_begin(void);
void rs_end(void);

/* The domain's record; more goes behind it ("pol=strict "). NULL: none at all. */
void rs_publish(size_t domain, const char *more);
/* Its organizational signet by its present keys; soks beside its own may be NULL. */
void rs_sign_org(size_t domain, const struct sg_pair *former);
/* The host with this certificate, of the authority or signed by itself. */
void rs_serve(size_t domain, bool is_self_signed);
void rs_stop_serving(size_t domain);

/* A next link for the address: by a key of that name, handed over by the one before it
 * unless custody is false. */
void rs_link(size_t domain, const char *address, const char *key, bool custody);
/* The current one signed anew, by the domain's present keys. */
void rs_sign_again(size_t domain, const char *address, const char *key);
struct rs_user *rs_user(size_t domain, const char *address);

/* A resolver of this world; dir below the world's, NULL: none. */
struct dime_resolver *rs_resolver(const char *dir);
/* Asks, tells the steps where it is not as wanted. */
const struct dime_answer *rs_ask(struct dime_resolver *r, const char *name,
                                 unsigned flags, enum dime_outcome want);
/* Whether a step of that word has that in it, with at least that weight. */
bool rs_told(const struct dime_answer *a, const char *word, const char *text,
             unsigned weight);

#endif
