#include "png.h"
#include "test.h"

#include <stdlib.h>

static void
put_png_chunk(struct kd_buf *b, const char *type, const uint8_t *data, uint32_t n)
{
    uint32_t crc = 0xffffffff;

    kd_buf_u32(b, n);
    size_t at = b->n;
    kd_buf_put(b, kd_slice(type, 4));
    kd_buf_put(b, kd_slice(data, n));
    for (size_t i = at; i < b->n; i++) {
        crc ^= b->p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
    }
    kd_buf_u32(b, ~crc);
}

struct kd_slice
make_png(struct kd_buf *b, uint32_t size)
{
    static const uint8_t magic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t header[] = {0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0};
    /* zlib of one filter octet and one grey pixel. */
    static const uint8_t pixel[] = {0x78, 0x01, 0x63, 0x60, 0x00,
                                    0x00, 0x00, 0x02, 0x00, 0x01};
    uint8_t *text = malloc(size);

    assert_non_null(text);
    memset(text, 'x', size);
    memcpy(text, "Comment", 8);
    kd_buf_init(b, (size_t)size + 1024);
    kd_buf_put(b, kd_slice(magic, sizeof magic));
    put_png_chunk(b, "IHDR", header, sizeof header);
    put_png_chunk(b, "tEXt", text, size);
    put_png_chunk(b, "IDAT", pixel, sizeof pixel);
    put_png_chunk(b, "IEND", NULL, 0);
    free(text);
    return kd_buf_slice(b);
}
