/* Naked mail. A second, naive reading says what is one; what is one is opened as its
 * recipient and verified, whatever that gives. */
#include "fuzz.h"
#include "mail.h"

#include <dime/naked.h>
#include <keyd/base/be.h>

enum { SECRET_ROOM = 4096, SLOT = 64 };

/* The types of the chunks in order, as one would say it aloud. */
static bool
is_in_order(const uint8_t *types, size_t n)
{
    size_t i = 0;

    if (i == n || types[i++] != 2)
        return false;
    if (i == n || types[i++] != 33)
        return false;
    i += i < n && types[i] == 34;
    size_t display = i;
    while (i < n && types[i] == 67)
        i++;
    if (i == display)
        return false;
    while (i < n && types[i] == 131)
        i++;
    return n - i == 3 && types[i] == 225 && types[i + 1] == 226 && types[i + 2] == 255;
}

static bool
is_size_right(uint8_t type, size_t size)
{
    switch (type) {
    case 2:
        return size == 65;
    case 225:
    case 226:
    case 255:
        return size == 64;
    default:
        return size % 16 == 0 && size >= 80 && size <= 16777200;
    }
}

static bool
is_naked(const uint8_t *data, size_t size)
{
    static uint8_t types[65536];
    size_t n = 0, at = 6;

    if (size < 6 || kd_be16(data) != 1908 || kd_be32(data + 2) != size - 6)
        return false;
    while (at < size) {
        if (size - at < 4 || n == sizeof types)
            return false;
        size_t payload = kd_be24(data + at + 1);
        uint8_t type = types[n++] = data[at];
        size_t whole = 4 + payload + (type == 2 || type == 255 ? 0 : SLOT);
        if (!is_size_right(type, payload) || whole > size - at)
            return false;
        at += whole;
    }
    return is_in_order(types, n) && dime_secp_point_valid(kd_slice(data + 10, 33)) &&
           dime_ed25519_key_valid(data + 43);
}

static void
open_all(const struct dime_naked *n)
{
    struct dime_kek kek;
    struct dime_span s;
    kd_err err;

    mail_kek(DIME_RECIPIENT, n->m.ephemeral, &kek);
    const struct dime_reader r = {
        .m = &n->m, .actor = DIME_RECIPIENT, .kek = &kek, .author = n->signer};
    uint64_t last = n->m.display;
    uint32_t pieces = 0;
    for (uint64_t at = last; dime_span_next(&r, &at, n->m.signs, &s, &err);) {
        fuzz_require(at > last && at <= n->m.signs);
        pieces += s.n;
        last = at;
    }
    fuzz_require(err == KD_OK && last == n->m.signs);
    fuzz_require(pieces == n->m.n_display + n->m.n_attached);
}

/* Signed by a domain, it verifies as just that. */
static void
verify(const struct dime_naked *n)
{
    const uint8_t(*domain)[32] = &mail_people(0)->organization->use.key;
    uint8_t sig[DIME_SIG_SIZE];
    struct dime_verdicts v;

    fuzz_require(dime_naked_signature(n, sig) == KD_OK);
    const struct dime_claims claims = {.organization = {sig, domain, 1}};
    fuzz_require(dime_message_verify(&n->m, &claims, &v) == KD_OK);
    fuzz_require(v.organization == DIME_VERDICT_GOOD ||
                 v.organization == DIME_VERDICT_BAD);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dime_source source = dime_source_of(kd_slice(data, size));
    struct dime_naked n;
    enum dime_flaw why;

    mail_people(SECRET_ROOM);
    fuzz_begin(size);
    kd_err err = dime_naked_parse(&source, UINT32_MAX, &n, &why);
    fuzz_require((err == KD_OK) == (why == DIME_FLAW_NONE));
    fuzz_require((err == KD_OK) == is_naked(data, size));
    if (err == KD_OK) {
        open_all(&n);
        verify(&n);
    }
    fuzz_end();
    return 0;
}
