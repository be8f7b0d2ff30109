/* PNG by its structure (PNG specification, second edition, 5 and 11.2). The image data
 * is compressed and stays unread: what decodes it checks it again. */
#include <dime/display.h>

#include <keyd/base/cur.h>

enum { CHUNK_MAX = 0x7fffffff, TYPE_SIZE = 4, IHDR_SIZE = 13, PALETTE_MAX = 3 * 256 };

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* CRC-32 of ISO 3309, four bits at a time. */
static uint32_t
crc32(struct kd_slice s)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < s.n; i++) {
        crc ^= s.p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

struct chunk {
    struct kd_slice type;
    struct kd_slice data;
};

static bool
next_chunk(struct kd_cur *c, struct chunk *out)
{
    size_t n = kd_cur_u32(c);

    if (n > CHUNK_MAX)
        kd_cur_fail(c, KD_MALFORMED);
    out->type = kd_cur_take(c, TYPE_SIZE);
    out->data = kd_cur_take(c, n);
    uint32_t stated = kd_cur_u32(c);
    if (c->err != KD_OK)
        return false;
    for (size_t i = 0; i < TYPE_SIZE; i++) {
        uint8_t letter = out->type.p[i] & (uint8_t)~0x20u;
        if (letter < 'A' || letter > 'Z')
            return false;
    }
    return crc32(kd_slice(out->type.p, TYPE_SIZE + n)) == stated;
}

static bool
is_type(const struct chunk *k, const char *type)
{
    return memcmp(k->type.p, type, TYPE_SIZE) == 0;
}

/* The depths that go with a colour type, as a set of bits. */
static unsigned
depths_of(uint8_t colour)
{
    switch (colour) {
    case 0: /* greyscale */
        return 1 | 2 | 4 | 8 | 16;
    case 3: /* palette */
        return 1 | 2 | 4 | 8;
    case 2: /* truecolour */
    case 4: /* greyscale and alpha */
    case 6: /* truecolour and alpha */
        return 8 | 16;
    default:
        return 0;
    }
}

static bool
read_header(const struct chunk *k, struct dime_png *png, uint8_t *colour)
{
    struct kd_cur c = kd_cur(k->data);

    if (!is_type(k, "IHDR") || k->data.n != IHDR_SIZE)
        return false;
    png->width = kd_cur_u32(&c);
    png->height = kd_cur_u32(&c);
    uint8_t depth = kd_cur_u8(&c);
    *colour = kd_cur_u8(&c);
    uint8_t compression = kd_cur_u8(&c);
    uint8_t filter = kd_cur_u8(&c);
    uint8_t interlace = kd_cur_u8(&c);
    if (kd_cur_end(&c) != KD_OK)
        return false;
    if (png->width == 0 || png->width > CHUNK_MAX || png->height == 0 ||
        png->height > CHUNK_MAX)
        return false;
    bool one_bit = depth != 0 && (depth & (depth - 1)) == 0;
    return one_bit && (depths_of(*colour) & depth) != 0 && compression == 0 &&
           filter == 0 && interlace <= 1;
}

struct order {
    uint8_t colour;
    bool has_palette;
    bool has_data;
    bool data_ended;
};

/* Chunks between IHDR and IEND. An unknown critical chunk (its first letter is upper
 * case) makes the image one that nobody can show. */
static bool
take_chunk(struct order *o, const struct chunk *k)
{
    if (is_type(k, "IDAT")) {
        if (o->data_ended || (o->colour == 3 && !o->has_palette))
            return false;
        o->has_data = true;
        return true;
    }
    o->data_ended = o->has_data;
    if (is_type(k, "PLTE")) {
        bool fits = k->data.n != 0 && k->data.n <= PALETTE_MAX && k->data.n % 3 == 0;
        if (o->has_palette || o->has_data || !fits || o->colour == 0 || o->colour == 4)
            return false;
        o->has_palette = true;
        return true;
    }
    return (k->type.p[0] & 0x20) != 0;
}

bool
dime_png(struct kd_slice v, struct dime_png *out)
{
    struct kd_cur c = kd_cur(v);
    struct chunk k;
    struct dime_png png;
    struct order o = {0};

    if (!kd_slice_eq(kd_cur_take(&c, sizeof signature),
                     kd_slice(signature, sizeof signature)))
        return false;
    if (!next_chunk(&c, &k) || !read_header(&k, &png, &o.colour))
        return false;
    for (;;) {
        if (!next_chunk(&c, &k))
            return false;
        if (is_type(&k, "IEND"))
            break;
        if (!take_chunk(&o, &k))
            return false;
    }
    if (k.data.n != 0 || !o.has_data || kd_cur_end(&c) != KD_OK)
        return false;
    *out = png;
    return true;
}

enum dime_image
dime_image_choose(struct kd_slice user, struct kd_slice org)
{
    struct dime_png png;

    if (dime_png(user, &png))
        return DIME_IMAGE_USER;
    return dime_png(org, &png) ? DIME_IMAGE_ORG : DIME_IMAGE_SILHOUETTE;
}
