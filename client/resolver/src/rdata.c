#include "rdata.h"

kd_err
rdata_txt(struct kd_slice rdata, uint8_t *out, size_t *n)
{
    size_t at = 0, written = 0;

    if (rdata.n == 0)
        return KD_MALFORMED;
    while (at < rdata.n) {
        size_t size = rdata.p[at++];

        if (size > rdata.n - at)
            return KD_MALFORMED;
        memcpy(out + written, rdata.p + at, size);
        written += size;
        at += size;
    }
    *n = written;
    return KD_OK;
}

/* An uncompressed name, to the end of the data. */
kd_err
rdata_name(struct kd_slice wire, char out[DNS_NAME_MAX + 1])
{
    char name[DNS_NAME_MAX + 1];
    size_t at = 0, n = 0;

    while (at < wire.n && wire.p[at] != 0) {
        size_t size = wire.p[at++];

        /* room for a dot, the label and the end */
        if (size > wire.n - at || size + 1 > DNS_NAME_MAX - n + (n == 0))
            return KD_MALFORMED;
        if (n > 0)
            name[n++] = '.';
        for (size_t i = 0; i < size; i++, at++) {
            char c = (char)wire.p[at];

            name[n++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
            if (c == '.' || c == '\0')
                return KD_MALFORMED;
        }
    }
    name[n] = '\0';
    if (at + 1 != wire.n || (n > 0 && !dns_name_ok(name)))
        return KD_MALFORMED;
    memcpy(out, name, n + 1);
    return KD_OK;
}

kd_err
rdata_mx(struct kd_slice rdata, uint16_t *preference, char host[DNS_NAME_MAX + 1])
{
    kd_err err;

    if (rdata.n < 3)
        return KD_MALFORMED;
    if ((err = rdata_name(kd_slice(rdata.p + 2, rdata.n - 2), host)) != KD_OK)
        return err;
    *preference = (uint16_t)(rdata.p[0] << 8 | rdata.p[1]);
    return KD_OK;
}
