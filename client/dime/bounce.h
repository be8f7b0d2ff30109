/* A bounce as the origin of what bounced reads it. */
#ifndef DIME_TOOL_BOUNCE_H
#define DIME_TOOL_BOUNCE_H

#include "signets.h"

/* Tells what is in it: that the bouncing domain (the destination's signet) made it,
 * that the part it returns bears the origin's own signature, the report, and who the
 * author is to whom this is to be told. HOLDS, FAILS or TROUBLE; all told. */
int bounce_tell(const struct options *o, struct kd_slice octets,
                const struct dime_dkey *keys, const struct signets *signets);

#endif
