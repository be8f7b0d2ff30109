/* The listening sockets, made before anything is confined and handed to the gates. */
#ifndef KEYD_SUPERVISOR_LISTEN_H
#define KEYD_SUPERVISOR_LISTEN_H

#include "child.h"

/* Directories and sockets of every open listener, those that the service manager hands
 * over before our own (sd_listen_fds(3), told apart by their paths); -1 in s->listeners
 * for the others. KD_BUSY if another daemon answers on one of them. Logged. */
kd_err listen_all(struct supervisor *s) KD_MUST_USE;

/* Removes the files of our own sockets at the end. */
void listen_remove(struct supervisor *s);

#endif
