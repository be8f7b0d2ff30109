/* OpenEnvelope's walk, which MakeBounce takes, too. */
#ifndef KEYD_MAIL_INBOUND_H
#define KEYD_MAIL_INBOUND_H

#include <keyd/mail/mail.h>

/* mail_open_inbound of a parsed message; *out is zeros. */
kd_err inbound_open(const struct mail_keys *k, const struct dime_message *m,
                    const struct mail_inbound *in, struct mail_opened *out) KD_MUST_USE;

#endif
