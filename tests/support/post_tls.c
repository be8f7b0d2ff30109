#include "post_tls.h"

#include "test.h"

#include <stdio.h>

keyd_client *
post_tls_connect(const struct post *p, const struct tls_place *place)
{
    char cert[160], key[160], address[64];
    const struct keyd_tls tls = {
        .certificate = cert, .key = key, .ca = place->ca, .server_name = "localhost"};
    const struct keyd_endpoint e = {.address = address, .tls = &tls};
    keyd_client *c = keyd_client_new();

    tls_place_share(place, p->d.dir);
    snprintf(cert, sizeof cert, "%s/mx1.pem", p->d.dir);
    snprintf(key, sizeof key, "%s/mx1.key", p->d.dir);
    snprintf(address, sizeof address, "tls:127.0.0.1:%u", place->port);
    assert_non_null(c);
    assert_int_equal(keyd_client_add_endpoint(c, &e), KEYD_OK);
    return c;
}
