#include "slots.h"

#include <keyd/p11/marks.h>

#include <stdio.h>
#include <string.h>

/* A field of CK_TOKEN_INFO: padded with spaces, by some with NULs. */
static void
trim(char *out, const CK_UTF8CHAR *field, size_t n)
{
    const void *nul = memchr(field, 0, n);

    if (nul != NULL)
        n = (size_t)((const CK_UTF8CHAR *)nul - field);
    while (n > 0 && field[n - 1] == ' ')
        n--;
    memcpy(out, field, n);
    out[n] = '\0';
}

static bool
is(const char *wanted, const char *text)
{
    return wanted == NULL || wanted[0] == '\0' || strcmp(wanted, text) == 0;
}

static uint32_t
mechanisms(const struct module *m, CK_SLOT_ID slot)
{
    static const struct {
        CK_MECHANISM_TYPE type;
        CK_FLAGS flag;
        uint32_t mark;
    } rows[] = {
        {CKM_EDDSA, CKF_SIGN, P11_CAN_SIGN_ED25519},
        {CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, P11_CAN_MAKE_ED25519},
        {CKM_ECDH1_DERIVE, CKF_DERIVE, P11_CAN_DERIVE},
        {CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, P11_CAN_MAKE_EC},
        {CKM_RSA_PKCS, CKF_SIGN, P11_CAN_SIGN_RSA},
        {CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, P11_CAN_MAKE_RSA},
    };
    uint32_t set = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CK_MECHANISM_INFO info = {0};
        if (m->f->C_GetMechanismInfo(slot, rows[i].type, &info) == CKR_OK &&
            (info.flags & rows[i].flag) != 0)
            set |= rows[i].mark;
    }
    return set;
}

/* What is there, whether it matches or not. */
struct seen {
    unsigned n_tokens, n_blank;
    char labels[P11_WHAT_MAX + 1];
};

static void
note_label(struct seen *seen, const char *label)
{
    size_t at = strlen(seen->labels);

    /* Cut where there is no room: some are better than none. */
    (void)snprintf(seen->labels + at, sizeof seen->labels - at, "%s\"%s\"",
                   at == 0 ? "" : ", ", label);
}

/* Of one slot; true if it matches. */
static bool
look(const struct module *m, CK_SLOT_ID slot, const struct slot_wanted *wanted,
     struct slot_found *out, struct seen *seen)
{
    struct slot_found one = {.slot = slot};
    CK_TOKEN_INFO info;

    memset(&info, 0, sizeof info);
    if (m->f->C_GetTokenInfo(slot, &info) != CKR_OK)
        return false; /* pulled out meanwhile, or not recognised */
    seen->n_tokens++;
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) {
        seen->n_blank++;
        return false;
    }
    trim(one.label, info.label, sizeof info.label);
    trim(one.serial, info.serialNumber, sizeof info.serialNumber);
    trim(one.manufacturer, info.manufacturerID, sizeof info.manufacturerID);
    trim(one.model, info.model, sizeof info.model);
    one.flags = info.flags;
    note_label(seen, one.label);
    if (!is(wanted->label, one.label) || !is(wanted->serial, one.serial) ||
        !is(wanted->manufacturer, one.manufacturer) || !is(wanted->model, one.model))
        return false;
    if (out->n_match == 0)
        *out = one;
    return true;
}

enum p11_finding_code
slot_find(const struct module *m, const struct slot_wanted *wanted,
          struct slot_found *out, struct p11_finding *why)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    struct seen seen = {.n_tokens = 0};
    char text[2 * P11_WHAT_MAX];
    CK_RV rv = m->f->C_GetSlotList(CK_TRUE, slots, &n);

    *out = (struct slot_found){.n_match = 0};
    if (rv != CKR_OK)
        return finding_set(why, P11_NO_SLOT, rv, NULL);
    if (!ck_fits(n, SLOTS_MAX))
        return finding_set(why, P11_NO_SLOT, CKR_BUFFER_TOO_SMALL, "too many slots");
    for (CK_ULONG i = 0; i < n; i++)
        if (look(m, slots[i], wanted, out, &seen))
            out->n_match++;
    if (out->n_match == 1) {
        out->mechanisms = mechanisms(m, out->slot);
        return finding_set(why, P11_FINE, 0, NULL);
    }
    if (out->n_match > 1) {
        snprintf(text, sizeof text, "%u tokens", out->n_match);
        return finding_set(why, P11_TWO_TOKENS_MATCH, 0, text);
    }
    if (seen.n_tokens == 0)
        return finding_set(why, P11_NO_SLOT, 0, NULL);
    if (seen.n_tokens == seen.n_blank)
        return finding_set(why, P11_NOT_INITIALISED, 0, NULL);
    snprintf(text, sizeof text, "%u tokens there: %s", seen.n_tokens - seen.n_blank,
             seen.labels);
    return finding_set(why, P11_NO_SUCH_TOKEN, 0, text);
}
