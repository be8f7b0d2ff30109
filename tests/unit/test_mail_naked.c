/* SealNaked at the library's level. */
#include "mailw.h"
#include "test.h"

#include <keyd/base/be.h>

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIMIT = 1 << 24 };

static struct mailw *x;
static struct kd_buf mail; /* not sealed */

static int
set_up(void **state)
{
    const struct dime_content part = {
        .type = 67, .data = dime_source_of(kd_slice_str("Hello.\r\n"))};
    const struct dime_naked_plan plan = {.recipient = sg_world()->bob_enc,
                                         .common = kd_slice_str(dmw_text(33)),
                                         .headers = kd_slice_str(dmw_text(34)),
                                         .contents = &part,
                                         .n_contents = 1};

    (void)state;
    x = mailw(1 << 16);
    kd_buf_init(&mail, LIMIT);
    assert_int_equal(dime_naked_build(&plan, &mail), KD_OK);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    kd_buf_free(&mail);
    return 0;
}

static struct dime_naked
parsed(void)
{
    const struct dime_source source = dime_source_of(kd_buf_slice(&mail));
    struct dime_naked n;

    assert_int_equal(dime_naked_parse(&source, LIMIT, &n, NULL), KD_OK);
    return n;
}

static kd_err
seal(const uint8_t signer[32], struct mail_naked *out)
{
    const struct dime_source memory = dime_source_of(kd_buf_slice(&mail));
    struct mail_naked from_file;
    int fd = mailw_file(kd_buf_slice(&mail));
    const struct dime_source file = dime_source_file(fd, mail.n);
    kd_err err = mail_seal_naked(&x->destination, &memory, LIMIT, signer, out);

    assert_int_equal(mail_seal_naked(&x->destination, &file, LIMIT, signer, &from_file),
                     err);
    assert_memory_equal(&from_file, out, sizeof *out);
    close(fd);
    if (err != KD_OK) {
        assert_true(mailw_is_zero(out->organization, 64));
        assert_true(mailw_is_zero(out->digest, 32));
    }
    return err;
}

static void
naked_mail_gets_the_signature_of_its_domain(void **state)
{
    struct dime_naked n = parsed();
    const struct dime_source source = dime_source_of(kd_buf_slice(&mail));
    size_t size = (size_t)(n.m.organization.at - n.m.begin);
    struct mail_naked out;
    uint8_t hash[32];

    (void)state;
    assert_int_equal(mail_look_at_naked(&source, LIMIT, &out), KD_OK);
    assert_false(out.key_used);
    assert_memory_equal(out.signer, n.signer, 32);
    assert_int_equal(seal(n.signer, &out), KD_OK);
    assert_true(out.key_used);
    crypto_hash_sha256(hash, mail.p + n.m.begin, size);
    assert_memory_equal(out.digest, hash, 32);
    assert_int_equal(crypto_sign_verify_detached(out.organization, mail.p + n.m.begin,
                                                 size, sg_world()->other_pok.key),
                     0);
}

static void
a_key_nobody_asked_about_gets_none(void **state)
{
    struct mail_naked out;
    uint8_t signer[32];

    (void)state;
    memcpy(signer, parsed().signer, 32);
    signer[31] ^= 0x80;
    assert_int_equal(seal(signer, &out), KD_INVALID);
    assert_false(out.key_used);
}

static void
mail_that_is_sealed_already_gets_none(void **state)
{
    struct dime_naked n = parsed();
    const struct dime_source source = dime_source_of(kd_buf_slice(&mail));
    size_t at = (size_t)dime_chunk_payload(&n.m.organization);
    struct mail_naked out;

    (void)state;
    for (size_t i = 0; i < 64; i += 9) {
        mail.p[at + i] = 1;
        assert_int_equal(mail_look_at_naked(&source, LIMIT, &out), KD_INVALID);
        assert_int_equal(seal(n.signer, &out), KD_INVALID);
        assert_false(out.key_used);
        mail.p[at + i] = 0;
    }
}

static void
what_is_no_naked_mail_gets_none(void **state)
{
    const struct dime_source msg = dime_source_of(mailw_msg());
    const struct dime_source naked = dime_source_of(kd_buf_slice(&mail));
    const struct dime_source empty = {.p = mail.p};
    struct mail_naked out;

    (void)state;
    assert_int_equal(
        mail_seal_naked(&x->destination, &msg, LIMIT, sg_world()->alice.key, &out),
        KD_MALFORMED);
    assert_int_equal(out.flaw, DIME_FLAW_MAGIC);
    assert_int_equal(
        mail_seal_naked(&x->destination, &naked, mail.n - 1, parsed().signer, &out),
        KD_TOO_LARGE);
    assert_int_equal(out.flaw, DIME_FLAW_TOO_LARGE);
    assert_int_equal(
        mail_seal_naked(&x->destination, &empty, LIMIT, parsed().signer, &out),
        KD_MALFORMED);
    assert_false(out.key_used);
}

static void
errors_of_the_token_are_passed_on(void **state)
{
    const struct dime_source source = dime_source_of(kd_buf_slice(&mail));
    struct mail_keys k = x->destination;
    struct mail_naked out;

    (void)state;
    k.signer = x->origin_enc;
    assert_int_equal(mail_seal_naked(&k, &source, LIMIT, parsed().signer, &out),
                     KD_DENIED);
    memset(&k.signer, 7, sizeof k.signer);
    assert_int_equal(mail_seal_naked(&k, &source, LIMIT, parsed().signer, &out),
                     KD_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(naked_mail_gets_the_signature_of_its_domain),
        cmocka_unit_test(a_key_nobody_asked_about_gets_none),
        cmocka_unit_test(mail_that_is_sealed_already_gets_none),
        cmocka_unit_test(what_is_no_naked_mail_gets_none),
        cmocka_unit_test(errors_of_the_token_are_passed_on),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
