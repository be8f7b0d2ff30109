#include "dm.h"

#include <keyd/base/be.h>

#include <stdlib.h>

enum { HEADER = 6, SLOT = 64, KEY = 33, SIGNATURE = 64, SMALLEST = 80 };

/* The generator of secp256k1. */
static const uint8_t point[KEY] = {0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac,
                                   0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02,
                                   0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2,
                                   0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98};

size_t
dm_slots(uint8_t type)
{
    switch (type) {
    case 3:
    case 33:
    case 34:
    case 65:
    case 66:
    case 67:
    case 129:
    case 130:
    case 131:
        return 2;
    case 4:
    case 5:
    case 225:
    case 226:
        return 3;
    case 248:
    case 249:
    case 255:
        return 4;
    default:
        return 0;
    }
}

uint32_t
dm_size(uint8_t type)
{
    if (type == 2)
        return KEY;
    return type >= 225 ? SIGNATURE : SMALLEST;
}

void
dm_begin(struct kd_buf *b, size_t max)
{
    kd_buf_init(b, max);
    kd_buf_u16(b, 1847);
    kd_buf_u32(b, 0);
}

size_t
dm_put(struct kd_buf *b, uint8_t type, uint32_t size, size_t slots)
{
    size_t at = b->n, n = size + slots * SLOT;
    uint8_t *p;

    kd_buf_u8(b, type);
    kd_buf_u24(b, size);
    if ((p = kd_buf_add(b, n)) == NULL)
        abort();
    memset(p, 0, n);
    if (type == 2 && size == KEY)
        memcpy(p, point, KEY);
    return at;
}

struct kd_slice
dm_end(struct kd_buf *b)
{
    if (b->err != KD_OK)
        abort();
    kd_put_be32(b->p + 2, (uint32_t)(b->n - HEADER));
    return kd_buf_slice(b);
}

struct kd_slice
dm_message(struct kd_buf *b, const uint8_t *types, size_t n)
{
    dm_begin(b, 1 << 20);
    for (size_t i = 0; i < n; i++)
        dm_put(b, types[i], dm_size(types[i]), dm_slots(types[i]));
    return dm_end(b);
}
