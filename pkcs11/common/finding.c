#include <keyd/p11/finding.h>

static const struct {
    const char *word, *text, *advice;
} rows[] = {
#define P11_FINDING(code, word, text, advice) {word, text, advice},
#include <keyd/p11/findings.def>
#undef P11_FINDING
};

const char *
p11_finding_word(enum p11_finding_code code)
{
    return (unsigned)code < P11_FINDINGS ? rows[code].word : "";
}

const char *
p11_finding_text(enum p11_finding_code code)
{
    return (unsigned)code < P11_FINDINGS ? rows[code].text : "";
}

const char *
p11_finding_advice(enum p11_finding_code code)
{
    return (unsigned)code < P11_FINDINGS ? rows[code].advice : "";
}
