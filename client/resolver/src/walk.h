/* Whose management record holds for a name: the walk from its registrable domain down
 * to itself (D-006 to D-008). */
#ifndef DIME_RESOLVER_WALK_H
#define DIME_RESOLVER_WALK_H

#include "lookup.h"
#include "names.h"

/* The record of one name, always written; a cache may stand here. */
typedef enum record_state walk_look(void *arg, const char *name, int64_t deadline,
                                    struct record *out);

struct walk {
    /* Present: the record that holds. Absent: the name is legacy; secure and ttl are
     * those of all that was asked. Broken: why, of the first that was. */
    struct record record;
    char supplied[DNS_NAME_MAX + 1]; /* present: the name whose record it is; broken:
                                        the name that is */
    bool inherited;                  /* present: of an ancestor */
    uint32_t ttl; /* seconds until any of the answers is to be renewed */
};

/* Always writes *out, which walk_clear empties. No name: absent, nothing is asked. */
enum record_state walk_run(const struct name_list *names, walk_look *look, void *arg,
                           int64_t deadline, struct steps *steps, struct walk *out);
void walk_clear(struct walk *w);

#endif
