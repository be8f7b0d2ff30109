/* Fields as they are shown. Octet 0: kind, octet 1: type, then for type 251 a length
 * and the name, then the value. What is shown stays within the input or is a constant,
 * and says of itself rightly whether it is text. */
#include "fuzz.h"

#include <dime/display.h>
#include <dime/utf8.h>
#include <keyd/base/cur.h>

static void
read_values(struct kd_slice v)
{
    static const char *const have[] = {"de-CH", "en-GB", "fr"};
    struct dime_list l = {v};
    struct kd_slice item;
    struct dime_crypto crypto;
    struct dime_alt_key alt;
    uint64_t limit;

    fuzz_require(dime_language_choose(v, v, have, 3) != NULL);
    while (dime_crypto_next(&l, &crypto))
        fuzz_require(crypto.symbol.n == 3 && dime_utf8_valid(crypto.address, NULL));
    l.rest = v;
    if (v.n <= 255) {
        while (dime_codec_next(v, &l, &item))
            fuzz_require(item.n != 0 && dime_codec_has(v, item));
    }
    if (dime_size_limit(v, &limit))
        fuzz_require(limit >= 1000000 && limit <= 999999999999u);
    if (dime_alt_key(v, &alt))
        fuzz_require(dime_level_text(alt.level) != NULL && alt.key.n + 2 == v.n);
    if (dime_url(v, true))
        fuzz_require(dime_url(v, false));
    fuzz_require(!dime_host(v) || !dime_email(v));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_cur c = kd_cur(kd_slice(data, size));
    enum dime_kind kind = kd_cur_u8(&c) % 2 == 0 ? DIME_ORG : DIME_USER;
    struct dime_field f = {.type = kd_cur_u8(&c)};
    struct dime_shown shown;

    fuzz_begin(size);
    f.def = dime_field_def(kind, f.type);
    if (f.type == DIME_FIELD_UNDEFINED)
        f.name = kd_cur_take(&c, kd_cur_u8(&c));
    f.value = kd_cur_take(&c, kd_cur_left(&c));
    if (c.err == KD_OK) {
        dime_show(&f, &shown);
        fuzz_require(dime_utf8_valid(shown.label, NULL) && shown.label.n != 0);
        fuzz_require(!shown.is_text || dime_utf8_valid(shown.value, NULL));
        fuzz_require(shown.value.n <= f.value.n);
        read_values(f.value);
    }
    fuzz_end();
    return 0;
}
