/* Answers that are fresh, in memory: what makes a name that was asked for before cost
 * nothing. Bounded; the one that was not asked for longest goes first. Threads do not
 * wait for one another unless their names fall together. */
#ifndef DIME_RESOLVER_MEMORY_H
#define DIME_RESOLVER_MEMORY_H

#include <dime/resolver.h>

struct memory;

/* Room for so many answers, at least; NULL without memory. */
struct memory *memory_new(size_t n);
void memory_free(struct memory *m);

/* A reference to the answer for that name, if it is fresh at now; else NULL. */
const struct dime_answer *memory_get(struct memory *m, const char *name, int64_t now);

/* Takes a reference of its own. An answer that is not fresh at now is not kept, and
 * what was there for its name goes. */
void memory_put(struct memory *m, const struct dime_answer *answer, int64_t now);

/* What is said of a name, or of all names, is no longer so. */
void memory_forget(struct memory *m, const char *name);
void memory_forget_all(struct memory *m);

#endif
