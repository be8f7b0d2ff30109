/* Finding keys in a token, and what they are. A handle, an id and a label are not
 * identity: the public key is. */
#ifndef KEYD_P11_OBJECTS_H
#define KEYD_P11_OBJECTS_H

#include "session.h"

#include <keyd/base/buf.h>

enum { OBJECTS_MAX = 10000, OBJECT_ID_MAX = 64, OBJECT_LABEL_MAX = 64 };

/* What is wanted, and what was found out. */
struct key_wanted {
    unsigned key; /* its number from now on */
    enum kd_key_alg alg;
    struct kd_slice id;         /* empty: by public key */
    struct kd_slice public_key; /* as the key store has it */
};
struct key_found {
    uint8_t id[KD_PLACE_ID_MAX];
    size_t id_size;
    uint32_t attributes; /* enum p11_attribute */
    uint32_t quirks;
};

/* Finds the one private key, checks it against its public object and its attributes,
 * and binds it. That it is the right one is proved by its use afterwards. */
enum p11_finding_code object_bind(struct session *s, const struct key_wanted *wanted,
                                  struct key_found *out, struct p11_finding *why);

/* Appends messages p11_object behind u32 lengths, at most room octets, of the objects
 * from number from on; *next 0 at the end. */
enum p11_finding_code object_list(struct session *s, uint32_t from, size_t room,
                                  struct kd_buf *out, uint32_t *next,
                                  struct p11_finding *why);

/* How many there are, counted to OBJECTS_MAX. */
uint32_t object_count(struct session *s);

/* The public octets of a key from its public object. False if they are in no form we
 * know. */
bool object_public(struct session *s, CK_OBJECT_HANDLE object, enum kd_key_alg alg,
                   uint8_t out[KD_KEY_PUBLIC_MAX], size_t *n, uint32_t *quirks);

/* Objects of a class with an id, at most max; more than there is room for count. */
CK_RV object_find(struct session *s, CK_OBJECT_CLASS klass, struct kd_slice id,
                  CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n);

/* Whether a private key may be used: what is wrong, or P11_FINE. */
enum p11_finding_code object_attributes(struct session *s, CK_OBJECT_HANDLE key,
                                        bool derives, uint32_t *attributes,
                                        uint32_t *quirks, struct p11_finding *why);

#endif
