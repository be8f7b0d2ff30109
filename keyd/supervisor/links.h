/* The channels between the roles, and the descriptors that the supervisor hands out. */
#ifndef KEYD_SUPERVISOR_LINKS_H
#define KEYD_SUPERVISOR_LINKS_H

#include "child.h"

/* Hands fd to a child, as that link; takes it. */
void links_send(struct child *c, enum kd_link link, unsigned gate, uint32_t serial,
                int fd);

/* Makes the link anew: one end as a_link to a, the other as b_link to b. */
void links_join(struct supervisor *s, struct child *a, enum kd_link a_link,
                struct child *b, enum kd_link b_link, unsigned gate, struct link *link);

/* All links of a role that was started (again). */
void links_make(struct supervisor *s, struct child *c);

/* A gate accepts from when the vault knows how it stands: until then connections wait
 * in the kernel's queue, for the moment that a start takes. */
void links_hand_listener(struct supervisor *s, struct child *gate);

/* The vault reads the credential itself; it gets a descriptor opened anew each time, so
 * that a rotated file counts. */
void links_hand_credential(struct supervisor *s, struct child *vault);

/* A link broke. What to do about it shows in a moment: an end that died is on its way
 * to being started again, with all its links. */
void links_on_lost(struct supervisor *s, struct child *from, struct kd_slice body);

/* Makes broken links anew; returns how long the loop may sleep, at most timeout. */
int links_due(struct supervisor *s, int timeout);

#endif
