/* Big-endian integers at an address the caller has checked. */
#ifndef KEYD_BASE_BE_H
#define KEYD_BASE_BE_H

#include <stdint.h>

static inline uint16_t
kd_be16(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t
kd_be24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t
kd_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | kd_be24(p + 1);
}

static inline uint64_t
kd_be64(const uint8_t *p)
{
    return (uint64_t)kd_be32(p) << 32 | kd_be32(p + 4);
}

static inline void
kd_put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void
kd_put_be24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    kd_put_be16(p + 1, (uint16_t)v);
}

static inline void
kd_put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    kd_put_be24(p + 1, v & 0xffffff);
}

static inline void
kd_put_be64(uint8_t *p, uint64_t v)
{
    kd_put_be32(p, (uint32_t)(v >> 32));
    kd_put_be32(p + 4, (uint32_t)v);
}

#endif
