/* Conditions as numbers, all bits set or none, for what must not be branched on.
 * Numbers compared are below 2^31. */
#ifndef KEYD_MAIL_MASK_H
#define KEYD_MAIL_MASK_H

#include <stddef.h>
#include <stdint.h>

/* A number to the compiler, not a condition: what it could derive from how a mask was
 * made is hidden from it. */
static inline uint32_t
mask_hide(uint32_t m)
{
    __asm__("" : "+r"(m));
    return m;
}

static inline uint32_t
mask_below(uint32_t a, uint32_t b)
{
    return 0 - ((a - b) >> 31);
}

static inline uint32_t
mask_same(uint32_t a, uint32_t b)
{
    return ~mask_below(0, a ^ b);
}

static inline uint32_t
mask_between(uint32_t x, uint32_t first, uint32_t last)
{
    return ~mask_below(x, first) & mask_below(x, last + 1);
}

static inline uint32_t
mask_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint32_t differ = 0;

    for (size_t i = 0; i < n; i++)
        differ |= (uint32_t)(a[i] ^ b[i]);
    return mask_hide(mask_same(differ, 0));
}

/* out becomes from where the mask is set. */
static inline void
mask_copy(uint32_t mask, uint8_t *out, const uint8_t *from, size_t n)
{
    uint8_t m = (uint8_t)mask_hide(mask);

    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(out[i] ^ ((out[i] ^ from[i]) & m));
}

#endif
