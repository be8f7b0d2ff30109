/* Mail in and out of D/MIME, and what another parser says about it. */
#ifndef KEYD_TESTS_MIME_CHECK_H
#define KEYD_TESTS_MIME_CHECK_H

#include <dime/mime.h>

/* A mail of tests/vectors/mime: mime_cases.def. */
struct mime_case {
    const char *name;
    enum dime_mime_raw way; /* how a message carries it */
    const char *types;      /* of its chunks there */
};
extern const struct mime_case mime_cases[];
extern const size_t n_mime_cases;

/* The octets; vector_free them. */
struct kd_slice mime_mail(const char *name);

/* Imports mail and exports it again, and fails the test unless the octets are the same.
 * The content to look at, to be freed. */
struct dime_mime mime_round_trip(struct kd_slice mail);

/* The content as it comes out of a message: chunk 33 as text and read again, the parts
 * in memory of their own. To be freed by mime_content_free. */
struct dime_mime_content mime_content_copy(const struct dime_mime_content *c);
void mime_content_free(struct dime_mime_content *c);

/* The types of the chunks as mime_cases.def writes them; static. */
const char *mime_types(const struct dime_mime_content *c);

/* How many parts of a mail that is mapped GMime's parser does not see at the same
 * octets as we do, or at all. */
uint32_t mime_compare_gmime(struct kd_slice mail);

#endif
