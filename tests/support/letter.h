/* Messages for a load of SignOutbound and OpenEnvelope: from alice@example.com, whose
 * signet is USER1 of the specification's vectors, to herself, each another one, with
 * all that is needed to see whether what comes back is right. The daemon has the keys
 * of example.com of the vectors (post.h). */
#ifndef KEYD_TESTS_LETTER_H
#define KEYD_TESTS_LETTER_H

#include <keyd/base/slice.h>
#include <keyd_client.h>

/* The organization as others see it: its identified signet. */
struct letter_org {
    uint8_t signet[4096];
    size_t signet_n;
    uint8_t full[64];
};

/* LookupSignet. False: reported on stderr. */
bool letter_org_get(keyd_client *c, struct letter_org *out);

struct letter {
    size_t n;
    uint8_t organization[64]; /* the payload of 255 that is to come */
    uint8_t record[32];       /* what the record of the operation has last */
    uint8_t octets[];         /* n */
};

/* To be signed, or (org) to be opened. content: octets of text, and beyond 32 KiB of
 * attachments. NULL: no memory. */
struct letter *letter_new(uint64_t seed, size_t content, const struct letter_org *org);

/* What is asked about it; borrows both. */
struct keyd_request letter_request(const struct letter *l,
                                   const struct letter_org *org);

/* Whether that is the answer. */
bool letter_is_right(const struct letter *l, const struct keyd_answer *a);

#endif
