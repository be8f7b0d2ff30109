#ifndef DIME_SRC_SIGNET_PARSE_H
#define DIME_SRC_SIGNET_PARSE_H

#include <dime/signet.h>

/* What dime_signet_parse says of an object whose keys are known to be valid: all but
 * the checks of the two points, which cost more than everything else. */
enum dime_reason dime_signet_structure(struct kd_slice octets);

#endif
