/* Tokens of the module that fails as it is told (fake_p11), in a folder of their own,
 * for tests of a running daemon. Failures are the test's. */
#ifndef KEYD_TESTS_FAKE_WORLD_H
#define KEYD_TESTS_FAKE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fake_world {
    char top[64];
};

/* False: this is not root, or there is no such module. */
bool fake_world_begin(struct fake_world *w);
void fake_world_end(struct fake_world *w);

/* A token of that name and label; its PIN is 2468. words: as fake_p11.c has them. */
void fake_world_token(struct fake_world *w, const char *name, const char *serial,
                      const char *words);

/* A file of its folder, never seen half written: token, keys, script; the PIN is in
 * pin-NAME. */
void fake_world_put(const struct fake_world *w, const char *name, const char *file,
                    const char *text, mode_t mode);

/* Its section of the configuration, behind what is in out already; more: keys of it. */
void fake_world_section(const struct fake_world *w, const char *name, const char *more,
                        char *out, size_t room);

#endif
