/* PKCS#11 2.40 and 3.0 as p11-kit's header has them, and what it lacks. */
#ifndef KEYD_P11_CRYPTOKI_H
#define KEYD_P11_CRYPTOKI_H

#include <keyd/p11/finding.h>
#include <p11-kit/pkcs11.h>

/* PKCS#11 3.0, 2.3.14: no prehash and no context, for modules that insist on it. */
struct eddsa_params {
    CK_BBOOL prehash;
    CK_ULONG context_size;
    CK_BYTE_PTR context;
};

/* A count or length that a module gave cannot be trusted before it was compared with
 * the room it was given. */
static inline bool
ck_fits(CK_ULONG n, size_t room)
{
    return n != CK_UNAVAILABLE_INFORMATION && n <= room;
}

/* Says what is wrong; what may be NULL. Printable ASCII goes in, '?' for the rest. */
enum p11_finding_code finding_set(struct p11_finding *f, enum p11_finding_code code,
                                  CK_RV rv, const char *what);

#endif
