/* What can be wrong with a token, told alike by hosts, the vault and keydctl. */
#ifndef KEYD_P11_FINDING_H
#define KEYD_P11_FINDING_H

#include <stdbool.h>
#include <stdint.h>

enum p11_finding_code {
#define P11_FINDING(code, word, text, advice) P11_##code,
#include <keyd/p11/findings.def>
#undef P11_FINDING
    P11_FINDINGS
};

enum { P11_WHAT_MAX = 95, P11_ID_MAX = 64 };

struct p11_finding {
    enum p11_finding_code code;
    uint64_t rv;                 /* the module's word; 0: none */
    char what[P11_WHAT_MAX + 1]; /* which file, slot, key or attribute; printable */
    uint8_t id_size;             /* ORPHAN: the object's CKA_ID */
    uint8_t id[P11_ID_MAX];
};

/* True for what is told without being a fault. */
static inline bool
p11_finding_is_note(enum p11_finding_code code)
{
    return code >= P11_ORPHAN && code < P11_FINDINGS;
}

/* "" beyond the table. */
const char *p11_finding_word(enum p11_finding_code code);
const char *p11_finding_text(enum p11_finding_code code);
const char *p11_finding_advice(enum p11_finding_code code);

/* "CKR_PIN_INCORRECT (0xa0)", or the number alone. */
const char *p11_rv_name(uint64_t rv, char out[48]);

#endif
