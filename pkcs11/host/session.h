/* One session of one token, logged in once, and the keys that were bound in it. Handles
 * are found when a key is bound and never again: a token whose handles go stale is a
 * matter for a new process. */
#ifndef KEYD_P11_SESSION_H
#define KEYD_P11_SESSION_H

#include "module.h"
#include "quirks.h"

enum { SESSION_KEYS_MAX = 256, SESSION_SIG_MAX = 512 };

struct bound {
    bool is_bound;
    enum kd_key_alg alg;
    CK_OBJECT_HANDLE handle;
    uint32_t quirks;
};

struct session {
    const struct module *m;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE handle;
    bool is_open;
    struct bound keys[SESSION_KEYS_MAX];
};

/* read-only unless may_write. */
enum p11_finding_code session_open(struct session *s, const struct module *m,
                                   CK_SLOT_ID slot, bool may_write,
                                   struct p11_finding *why);

/* Once a process. */
enum p11_finding_code session_login(struct session *s, struct kd_slice pin,
                                    struct p11_finding *why);

/* The signature as the module gives it, at most SESSION_SIG_MAX octets; a length it
 * cannot have is *n 0. RSA: message is a SHA-256 (PKCS#1 v1.5 over its DigestInfo). */
CK_RV session_sign(struct session *s, unsigned key, struct kd_slice message,
                   uint8_t sig[SESSION_SIG_MAX], size_t *n);

/* x of the shared point, in secret memory; padded to 32 octets on the left where the
 * module leaves zeros out. point: uncompressed. */
CK_RV session_derive(struct session *s, unsigned key, const uint8_t point[65],
                     uint8_t z[KD_ECDH_SIZE], size_t *n);

#endif
