#include <dime/utf8.h>

/* The lead octet's number of continuation octets and the least code point that needs
 * them; -1 for an octet that leads nothing. */
static int
lead(uint8_t octet, uint32_t *bits, uint32_t *least)
{
    if (octet < 0x80) {
        *bits = octet;
        *least = 0;
        return 0;
    }
    if ((octet & 0xe0) == 0xc0) {
        *bits = octet & 0x1fu;
        *least = 0x80;
        return 1;
    }
    if ((octet & 0xf0) == 0xe0) {
        *bits = octet & 0x0fu;
        *least = 0x800;
        return 2;
    }
    if ((octet & 0xf8) == 0xf0) {
        *bits = octet & 0x07u;
        *least = 0x10000;
        return 3;
    }
    return -1;
}

bool
dime_utf8_next(struct kd_slice *s, uint32_t *code_point)
{
    uint32_t cp, least;

    if (s->n == 0)
        return false;
    int more = lead(s->p[0], &cp, &least);
    if (more < 0 || (size_t)more >= s->n)
        return false;
    for (int i = 1; i <= more; i++) {
        if ((s->p[i] & 0xc0) != 0x80)
            return false;
        cp = cp << 6 | (s->p[i] & 0x3fu);
    }
    if (cp < least || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return false;
    s->p += more + 1;
    s->n -= (size_t)more + 1;
    *code_point = cp;
    return true;
}

bool
dime_utf8_valid(struct kd_slice s, size_t *n_points)
{
    uint32_t cp;
    size_t n = 0;

    while (dime_utf8_next(&s, &cp))
        n++;
    if (s.n != 0)
        return false;
    if (n_points != NULL)
        *n_points = n;
    return true;
}

bool
dime_utf8_is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool
dime_utf8_is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || cp == 0x200e ||
           cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}
