/* The texts of chunks 4 and 5 judged without a branch on what they hold.
 *
 * Whoever sends a message can put blocks of other people's payloads where chunk 4 or 5
 * is, and learns from success what he guessed of them. From failure he must learn
 * nothing: not how far a text was right. dime_envelope_parse, which says the same of
 * every text, stops where it goes wrong. Here all is looked at, and time depends on the
 * expected domain alone. */
#ifndef KEYD_MAIL_TEXT_H
#define KEYD_MAIL_TEXT_H

#include <dime/envelope.h>
#include <dime/fingerprint.h>
#include <dime/identifier.h>

enum { TEXT_ROOM = DIME_ENVELOPE_MAX };

/* What is expected. */
struct text_form {
    enum dime_envelope_kind kind;
    struct kd_slice address; /* empty: any address */
    struct kd_slice domain;
};

/* A text's values, whatever they are worth. */
struct text_values {
    uint32_t address_at, address_n; /* in the text; within the room */
    uint8_t address_fp[DIME_FINGERPRINT_SIZE];
    uint8_t domain_fp[DIME_FINGERPRINT_SIZE];
};

/* All bits set if the text, n octets at the beginning of room, is as
 * dime_envelope_parse wants it and says what is expected; else none. room: TEXT_ROOM
 * octets, all of which are initialised. form: public; its values are an address and a
 * domain. */
uint32_t text_judge(const struct text_form *form, const uint8_t *room, uint32_t n,
                    struct text_values *out);

#endif
