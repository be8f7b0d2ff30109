/* The form of a certificate (dime/certificate.h): real ones of every kind have it;
 * nothing else that keyd's keys sign has, and no DER that is cut, bent or longer. */
#include "certs.h"
#include "test.h"

#include <dime/certificate.h>
#include <keyd/base/err.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct der {
    uint8_t octets[DIME_CERTIFICATE_MAX + 64];
    size_t n;
};

static struct der made;

static void
make(const struct cert_spec *spec)
{
    struct identity id;
    uint8_t *p = made.octets;

    identity_make(&id, spec);
    int n = i2d_X509(id.cert, NULL);
    assert_true(n > 0 && (size_t)n <= sizeof made.octets);
    made.n = (size_t)i2d_X509(id.cert, &p);
    identity_clear(&id);
}

static bool
ok(void)
{
    return dime_certificate_ok(kd_slice(made.octets, made.n));
}

static void
certificates_of_every_kind_have_the_form(void **state)
{
    static const char *const keys[] = {"ed25519", "p256",    "p384",
                                       "p521",    "rsa2048", "rsa4096"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        make(&(struct cert_spec){
            .key = keys[i], .cn = "mx", .san = "DNS:mx.example.com"});
        assert_true(ok());
    }
    make(&(struct cert_spec){.key = "p256", .is_ca = true});
    assert_true(ok());
    make(&(struct cert_spec){.key = "p256", .is_version_1 = true}); /* no [0], no [3] */
    assert_true(ok());
}

/* What the original authors' tools were given. */
static void
the_certificate_of_the_vectors_has_the_form(void **state)
{
    FILE *f = fopen(KEYD_VECTORS "/mrec/dx.orga.example.crt.pem", "r");
    uint8_t *p = made.octets;

    (void)state;
    assert_non_null(f);
    X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
    kd_ignore(fclose(f));
    assert_non_null(x);
    made.n = (size_t)i2d_X509(x, &p);
    X509_free(x);
    assert_true(ok());
}

/* Whatever is shorter, longer or says another length. */
static void
no_part_and_no_more_of_one_has_it(void **state)
{
    static const uint8_t lengths[][2] = {{1, 0x80}, {1, 0x81}, {1, 0x83}, {1, 0x84},
                                         {2, 0x00}, {5, 0x80}, {5, 0x83}};
    struct der whole;

    (void)state;
    make(&(struct cert_spec){.key = "rsa2048"});
    whole = made;
    for (made.n = 0; made.n < whole.n; made.n++)
        assert_false(ok());
    made.n = whole.n + 1;
    assert_false(ok());
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        made = whole;
        made.octets[lengths[i][0]] = lengths[i][1];
        assert_false(ok());
    }
    /* Any other length on the first two levels does not add up. */
    for (size_t at = 2; at < 8; at++) {
        for (unsigned value = 0; value < 256; value++) {
            made = whole;
            made.octets[at] = (uint8_t)value;
            assert_int_equal(ok(), value == whole.octets[at]);
        }
    }
}

static size_t
put(uint8_t *out, uint8_t tag, size_t n)
{
    out[0] = tag;
    out[1] = 0x82;
    out[2] = (uint8_t)(n >> 8);
    out[3] = (uint8_t)n;
    return 4;
}

/* A certificate's outline with one thing else. */
struct outline {
    uint8_t version[8], serial[8];
    size_t n_version, n_serial;
    unsigned sequences;
    uint8_t behind[8];
    size_t n_behind;
    uint8_t tag; /* of the signature */
};

static void
draw(const struct outline *o)
{
    static uint8_t tbs[DIME_CERTIFICATE_MAX];
    enum { FILL = 0x180 };
    size_t n = 0;

    memcpy(tbs, o->version, o->n_version);
    n += o->n_version;
    memcpy(tbs + n, o->serial, o->n_serial);
    n += o->n_serial;
    for (unsigned i = 0; i < o->sequences; i++) {
        n += put(tbs + n, 0x30, FILL);
        memset(tbs + n, 0xff, FILL);
        n += FILL;
    }
    memcpy(tbs + n, o->behind, o->n_behind);
    n += o->n_behind;
    made.n = put(made.octets, 0x30, 4 + n + 8);
    made.n += put(made.octets + made.n, 0x30, n);
    memcpy(made.octets + made.n, tbs, n);
    made.n += n;
    memcpy(made.octets + made.n, (uint8_t[]){0x30, 2, 5, 0, o->tag, 2, 0, 1}, 8);
    made.n += 8;
}

static void
an_outline_with_one_thing_else_has_it_not(void **state)
{
    const struct outline good = {.version = {0xa0, 3, 2, 1, 2},
                                 .n_version = 5,
                                 .serial = {2, 1, 7},
                                 .n_serial = 3,
                                 .sequences = 5,
                                 .tag = 3};
    struct outline o = good;

    (void)state;
    draw(&o);
    assert_true(ok());
    o.n_version = 0;
    draw(&o);
    assert_true(ok());
#define BAD(change)                                                                    \
    o = good;                                                                          \
    change;                                                                            \
    draw(&o);                                                                          \
    assert_false(ok())
    BAD(o.n_serial = 0);
    BAD(o.serial[1] = 0; o.n_serial = 2);
    BAD(o.serial[0] = 4);
    BAD(o.sequences = 4);
    BAD(o.sequences = 6);
    BAD(o.tag = 4);
    BAD(o.version[2] = 4);
    BAD(o.version[0] = 0x80);
    BAD(memcpy(o.behind, "\x04\x01\x01", 3); o.n_behind = 3);
    BAD(memcpy(o.behind, "\xa3\x03\x02\x01\x01", 5); o.n_behind = 5);
    BAD(memcpy(o.behind, "\xa3\x02\x30\x01", 4); o.n_behind = 4);
#undef BAD
    o = good;
    memcpy(o.behind, "\x81\x01\x00\xa3\x02\x30\x00", 7);
    o.n_behind = 7;
    draw(&o);
    assert_true(ok());
}

/* A request for one, and a key: DER of the same tools. */
static void
other_DER_has_it_not(void **state)
{
    struct identity id;
    uint8_t *p = made.octets;
    X509_REQ *request = X509_REQ_new();

    (void)state;
    identity_make(&id, &(struct cert_spec){.key = "rsa2048"});
    assert_int_equal(X509_REQ_set_pubkey(request, id.key), 1);
    assert_true(X509_REQ_sign(request, id.key, EVP_sha256()) > 0);
    made.n = (size_t)i2d_X509_REQ(request, &p);
    assert_false(ok());
    p = made.octets;
    made.n = (size_t)i2d_PUBKEY(id.key, &p);
    assert_true(made.n >= DIME_CERTIFICATE_MIN);
    assert_false(ok());
    X509_REQ_free(request);
    identity_clear(&id);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_every_kind_have_the_form),
        cmocka_unit_test(the_certificate_of_the_vectors_has_the_form),
        cmocka_unit_test(no_part_and_no_more_of_one_has_it),
        cmocka_unit_test(an_outline_with_one_thing_else_has_it_not),
        cmocka_unit_test(other_DER_has_it_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
