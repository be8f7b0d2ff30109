/* What a remote listener and its principals are written as. */
#include <keyd/conf/conf.h>

#include <arpa/inet.h>

static int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
kd_conf_pin_parse(struct kd_slice text, uint8_t sha256[KD_PIN_SIZE])
{
    if (text.n != (size_t)2 * KD_PIN_SIZE)
        return false;
    for (size_t i = 0; i < KD_PIN_SIZE; i++) {
        int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        sha256[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* 1 to 65535 without a leading 0; 0 for anything else. */
static uint16_t
parse_port(struct kd_slice text)
{
    uint32_t n = 0;

    if (text.n == 0 || text.n > 5 || text.p[0] == '0')
        return 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return 0;
        n = n * 10 + (uint32_t)(text.p[i] - '0');
    }
    return n > UINT16_MAX ? 0 : (uint16_t)n;
}

bool
kd_conf_address_parse(struct kd_slice text, struct kd_conf_address *out)
{
    struct kd_conf_address a = {0};
    char host[INET6_ADDRSTRLEN];
    size_t colon = text.n;

    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || text.n >= sizeof a.text)
        return false;
    struct kd_slice name = kd_slice(text.p, colon - 1);
    a.family = 4;
    if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']') {
        name = kd_slice(name.p + 1, name.n - 2);
        a.family = 6;
    }
    a.port = parse_port(kd_slice(text.p + colon, text.n - colon));
    if (a.port == 0 || name.n == 0 || name.n >= sizeof host)
        return false;
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    if (strlen(host) != name.n ||
        inet_pton(a.family == 4 ? AF_INET : AF_INET6, host, a.octets) != 1)
        return false;
    memcpy(a.text, text.p, text.n);
    *out = a;
    return true;
}
