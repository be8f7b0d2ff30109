/* PKCS#11 tokens of a daemon that runs, as its operators see them. Failures are the
 * test's. */
#ifndef KEYD_TESTS_TOKENS_H
#define KEYD_TESTS_TOKENS_H

#include "ask.h"
#include "softhsm.h"

/* A section for that token of SoftHSM, selected by these lines, behind what is in out
 * already. */
void tokens_section(const struct softhsm *s, const char *name, const char *selection,
                    char *out, size_t room);

/* TokenList; the caller frees it. */
struct keyd_answer *tokens_list(keyd_client *admin);
const struct keyd_token *tokens_named(const struct keyd_answer *list, const char *name);

/* Waits until the token is in that state; how long it took, ms. */
int64_t tokens_become(keyd_client *admin, const char *name,
                      enum keyd_token_state state);

/* Its serial number, once it has been seen. */
void tokens_serial(keyd_client *admin, const char *name, char out[17]);

/* TokenAdopt of what is seen, and waits until it is in use. */
void tokens_adopt(keyd_client *admin, const char *name);

/* PublicKeys' line of that key, which lies in the answer. */
struct keyd_answer *tokens_key(keyd_client *admin, const uint8_t id[16],
                               const struct keyd_key **out);

bool tokens_text_is(struct keyd_octets o, const char *text);

#endif
