/* Informational fields (16 to 252) without a header: the profile that comes with an
 * issuance request, or the draft of an organizational signet. */
#ifndef DIME_INFO_H
#define DIME_INFO_H

#include <dime/signet.h>
#include <keyd/base/buf.h>

/* Walks such a stream as dime_walk_next does. The octets are not checked before: when
 * the walk ends, w->why is DIME_FINE or says what stopped it. Order and multiplicity
 * are not looked at; types outside 16 to 252 stop it. */
void dime_walk_info(struct dime_walk *w, enum dime_kind kind, struct kd_slice stream);

/* Appends to out what may be issued in a signet of the kind: empty fields and
 * undefined fields without a usable name are dropped (SG-45, D-043). Refused as a
 * whole: wrong order, a unique field twice, types without a meaning (D-039), octets
 * that do not parse. On failure out may hold a part, *why says what is wrong. */
kd_err dime_info_filter(enum dime_kind kind, struct kd_slice stream, struct kd_buf *out,
                        enum dime_reason *why) KD_MUST_USE;

#endif
