/* Armour: what is read is written and read back alike, in both styles; any octets
 * survive being armoured. */
#include "fuzz.h"

#include <dime/armor.h>

static void
round_trip(enum dime_armor_label label, enum dime_armor_style style,
           struct kd_slice octets)
{
    struct kd_buf text, back;
    struct kd_slice out;
    enum dime_armor_label read = DIME_ARMOR_NONE;

    kd_buf_init(&text, 2 * octets.n + 256);
    kd_buf_init(&back, octets.n);
    dime_armor_put(&text, label, style, octets);
    fuzz_require(text.err == KD_OK);
    kd_err err = dime_object_load(kd_buf_slice(&text), &back, &out, &read, NULL);
    fuzz_require(err == KD_OK && read == label && kd_slice_eq(out, octets));
    kd_buf_free(&back);
    kd_buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice out;
    struct kd_buf b;
    enum dime_armor_label label = DIME_ARMOR_NONE;
    const char *why = NULL;

    fuzz_begin(size);
    kd_buf_init(&b, size);
    kd_err err = dime_object_load(kd_slice(data, size), &b, &out, &label, &why);
    fuzz_require((err == KD_OK) == (why == NULL));
    if (err == KD_OK && label != DIME_ARMOR_NONE) {
        round_trip(label, DIME_ARMOR_FILE, out);
        round_trip(label, DIME_ARMOR_WIRE, out);
    }
    kd_buf_free(&b);
    fuzz_end();
    if (size != 0)
        round_trip(DIME_ARMOR_ENCRYPTED_MESSAGE, DIME_ARMOR_FILE, kd_slice(data, size));
    return 0;
}
