/* What records about accounts and principals say, for every back end. */
#include <keyd/ledger/backend.h>

static bool
is_reset(enum kd_audit_op op)
{
    return op == KD_AUDIT_REQUEST_RESET || op == KD_AUDIT_APPROVE_RESET ||
           op == KD_AUDIT_CANCEL_RESET;
}

bool
kd_store_hold_change(const struct kd_audit_record *r, struct kd_hold_change *out)
{
    static const struct {
        enum kd_audit_op op;
        enum kd_hold_kind kind;
        unsigned state;
    } changes[] = {
        {KD_AUDIT_FREEZE_ADDRESS, KD_HOLD_ADDRESS, KD_HOLD_FROZEN},
        {KD_AUDIT_THAW_ADDRESS, KD_HOLD_ADDRESS, KD_HOLD_NONE},
        {KD_AUDIT_CLOSE_ADDRESS, KD_HOLD_ADDRESS, KD_HOLD_CLOSED},
        {KD_AUDIT_STOP_PRINCIPAL, KD_HOLD_PRINCIPAL, 1},
        {KD_AUDIT_ALLOW_PRINCIPAL, KD_HOLD_PRINCIPAL, 0},
        {KD_AUDIT_ATTEST_LEVEL, KD_HOLD_LEVEL, 1},
        {KD_AUDIT_REVOKE_LEVEL, KD_HOLD_LEVEL, 0},
    };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (changes[i].op != r->op)
            continue;
        *out = (struct kd_hold_change){
            .kind = changes[i].kind,
            .state = changes[i].state,
            .name = changes[i].kind == KD_HOLD_PRINCIPAL ? r->detail : r->address,
        };
        if (r->op == KD_AUDIT_FREEZE_ADDRESS)
            out->detail = r->detail;
        return true;
    }
    return false;
}

bool
kd_store_makes_row(const struct kd_audit_record *r)
{
    struct kd_hold_change ignored;

    return r->outcome == KD_OUTCOME_DONE &&
           (is_reset(r->op) || kd_store_hold_change(r, &ignored));
}

kd_err
kd_store_reset_delay(const struct kd_audit_record *r, uint64_t *ms)
{
    enum { DIGITS_MAX = 10 }; /* three hundred years */
    uint64_t seconds = 0;

    if (r->detail.n == 0 || r->detail.n > DIGITS_MAX ||
        (r->detail.p[0] == '0' && r->detail.n > 1))
        return KD_INVALID;
    for (size_t i = 0; i < r->detail.n; i++) {
        if (r->detail.p[i] < '0' || r->detail.p[i] > '9')
            return KD_INVALID;
        seconds = seconds * 10 + (uint64_t)(r->detail.p[i] - '0');
    }
    *ms = seconds * 1000;
    return KD_OK;
}
