#include "pad.h"

#include <dime/message.h>

enum { SMALLEST = 256, STEP = 16, OCTET_MAX = 255 };

static uint32_t
round_up(uint32_t n, uint32_t step)
{
    return (n + step - 1) / step * step;
}

uint8_t
pad_envelope(uint32_t n)
{
    uint32_t size = DIME_PAYLOAD_FIXED + n;

    /* 512, or more: two fingerprints alone leave nothing below 257 octets, which one
     * octet could not pad to 512. */
    return (uint8_t)(round_up(size, SMALLEST) - size);
}

uint8_t
pad_content(uint32_t n, uint32_t random)
{
    uint32_t size = DIME_PAYLOAD_FIXED + n;
    uint32_t least = size < SMALLEST ? SMALLEST - size : round_up(size, STEP) - size;
    uint32_t by_octet = (OCTET_MAX - least) / STEP;
    uint32_t by_size = (DIME_PAYLOAD_MAX - size - least) / STEP;
    uint32_t choices = (by_octet < by_size ? by_octet : by_size) + 1;

    /* 32 bits spread over at most 16 choices: no remainder to speak of */
    return (uint8_t)(least + STEP * (uint32_t)((uint64_t)random * choices >> 32));
}
