/* People who write to each other, for tests of what builds messages, naked mail and
 * bounces: alice@example.com to bob@example.org, the keys of the specification's
 * vectors. Reads what was built with the library's readers, which others test. */
#ifndef KEYD_TESTS_MAIL_H
#define KEYD_TESTS_MAIL_H

#include <dime/build.h>
#include <dime/message_build.h>
#include <dime/message_verify.h>
#include <dime/span.h>

struct mail_people {
    struct dime_ed25519_secret *author;       /* in secret memory, never freed */
    struct dime_ed25519_secret *organization; /* example.com, primary */
    struct dime_ed25519_secret *destination;  /* example.org, primary */
    uint8_t scalars[DIME_ACTOR_COUNT][DIME_SCALAR_SIZE];
    uint8_t keys[DIME_ACTOR_COUNT][DIME_SECP_KEY_SIZE];
};

/* Sets secret memory up at the first call: room octets of it beside the people. */
const struct mail_people *mail_people(size_t room);

/* Texts of the appendix' MSG, the contents as given. */
void mail_plan(const struct dime_content *contents, size_t n, struct dime_plan *out);

/* One display part of that text. */
struct dime_content mail_text(const char *text);

void mail_kek(enum dime_actor actor, const uint8_t ephemeral[DIME_SECP_KEY_SIZE],
              struct dime_kek *out);

/* What a slot holds. */
struct mail_slot {
    uint8_t random[16];
    struct dime_chunk_key key;
};
void mail_slot(const struct dime_message *m, const struct dime_chunk *c,
               enum dime_actor actor, const struct dime_kek *kek,
               struct mail_slot *out);

/* Parses; aborts with the flaw if it is none. */
struct dime_message mail_parse(struct kd_slice octets);

/* A message as somebody sees it: texts of the chunks he has keys to (empty: none), the
 * data of all parts one behind the other, and how many those are. Verdicts are of the
 * signatures he can open, under the keys of the people. Aborts where a payload does not
 * open. */
struct mail_view {
    struct dime_verdicts verdicts;
    struct kd_buf origin, destination, common, headers, parts;
    size_t n_parts;
    uint32_t n_pieces;
};
void mail_open(const struct dime_message *m, enum dime_actor actor,
               struct mail_view *out);
void mail_view_free(struct mail_view *v);

/* --- objects of other kinds --- */

/* dime/build.h's signer that is one of the people. */
struct dime_signer mail_signer(struct dime_ed25519_secret *by);

/* A block of exactly that size, so that memory checkers see any step outside. free()
 * it.
 */
uint8_t *mail_exact(struct kd_slice octets);

/* The error that goes with a flaw. */
kd_err mail_error_of(enum dime_flaw flaw);

/* The object with the octets from at to end taken out and others put there, and its
 * header right. */
void mail_replace(const struct kd_buf *from, uint64_t at, uint64_t end,
                  struct kd_slice by, struct kd_buf *out);

/* Cuts the object at every octet, with the header it had and with one that tells the
 * truth about what is left. Aborts if a piece is not refused. */
void mail_cut_everywhere(const struct kd_buf *object,
                         enum dime_flaw (*flaw_of)(struct kd_slice octets));

/* Signatures made again, 225 in libdime's form if so asked, after other chunks were
 * changed: all of them, by the people, in the octets of the message. */
void mail_resign(uint8_t *octets, size_t n, bool legacy_tree);

#endif
