#include <keyd/p11/marks.h>
#include <p11-kit/pkcs11.h>

enum p11_finding_code
p11_pin_state(uint64_t flags, bool known)
{
    if ((flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        return P11_PIN_PAD;
    if ((flags & CKF_USER_PIN_INITIALIZED) == 0)
        return P11_PIN_NOT_SET;
    if ((flags & CKF_USER_PIN_LOCKED) != 0)
        return P11_PIN_LOCKED;
    if ((flags & CKF_USER_PIN_FINAL_TRY) != 0)
        return P11_PIN_FINAL_TRY;
    if ((flags & CKF_USER_PIN_TO_BE_CHANGED) != 0)
        return P11_PIN_TO_BE_CHANGED;
    if ((flags & CKF_USER_PIN_COUNT_LOW) != 0 && !known)
        return P11_PIN_COUNT_LOW;
    return P11_FINE;
}
