/* Mail without D/MIME as a gateway stores it (D-173): imported, sealed to its
 * recipient, opened by him, exported, and the same octets. */
#include "../support/mail.h"
#include "../support/mime_check.h"
#include "../support/vector.h"

#include <dime/naked.h>

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the four above first */
#include <cmocka.h>

enum { SECRET_ROOM = 8192, VALUE_MAX = DIME_COMMON_LINE_MAX - 64 };

static int
set_up(void **state)
{
    (void)state;
    mail_people(SECRET_ROOM);
    return 0;
}

/* --- the gateway --- */

static void
seal(const struct dime_mime_content *c, struct kd_buf *out)
{
    struct dime_content *contents = calloc(c->n_parts, sizeof *contents);
    struct kd_buf common;

    assert_non_null(contents);
    for (size_t i = 0; i < c->n_parts; i++)
        contents[i] = (struct dime_content){.type = c->parts[i].type,
                                            .data = dime_source_of(c->parts[i].data)};
    kd_buf_init(&common, DIME_COMMON_MAX);
    assert_int_equal(dime_common_put(&c->common, &common), KD_OK);
    const struct dime_naked_plan plan = {.recipient =
                                             mail_people(0)->keys[DIME_RECIPIENT],
                                         .common = kd_buf_slice(&common),
                                         .headers = c->headers,
                                         .contents = contents,
                                         .n_contents = c->n_parts};
    kd_buf_init(out, DIME_MESSAGE_MAX);
    assert_int_equal(dime_naked_build(&plan, out), KD_OK);
    kd_buf_free(&common);
    free(contents);
}

/* --- the recipient --- */

struct opened {
    struct kd_buf common, headers, data;
    struct dime_mime_part *parts; /* their data one after the other in data */
    size_t n_parts;
};

static void
open_text(const struct dime_naked *n, const struct dime_chunk *c,
          const struct dime_kek *kek, struct kd_buf *out)
{
    struct dime_chunk_key key;
    struct dime_payload payload;

    kd_buf_init(out, DIME_DATA_MAX);
    assert_int_equal(dime_chunk_key_of(&n->m, c, DIME_RECIPIENT, kek, &key), KD_OK);
    assert_int_equal(dime_payload_open(&n->m, c, &key, n->signer, &payload, out),
                     KD_OK);
}

static kd_err
put(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

static void
open_all(struct kd_slice octets, struct opened *out)
{
    struct dime_source source = dime_source_of(octets);
    struct dime_naked n;
    struct dime_kek kek;
    struct dime_span s;
    kd_err err;

    assert_int_equal(dime_naked_parse(&source, DIME_MESSAGE_MAX, &n, NULL), KD_OK);
    mail_kek(DIME_RECIPIENT, n.m.ephemeral, &kek);
    open_text(&n, &n.m.common, &kek, &out->common);
    open_text(&n, &n.m.headers, &kek, &out->headers);
    kd_buf_init(&out->data, DIME_MESSAGE_MAX);
    out->n_parts = 0;
    assert_non_null(out->parts =
                        calloc(n.m.n_display + n.m.n_attached, sizeof *out->parts));
    const struct dime_reader r = {
        .m = &n.m, .actor = DIME_RECIPIENT, .kek = &kek, .author = n.signer};
    for (uint64_t at = n.m.display; dime_span_next(&r, &at, n.m.signs, &s, &err);) {
        struct dime_mime_part *p = &out->parts[out->n_parts++];
        assert_int_equal(s.state, DIME_SPAN_GOOD);
        assert_int_equal(dime_span_read(&r, &s, put, &out->data), KD_OK);
        *p = (struct dime_mime_part){s.first.def->type, {NULL, (size_t)s.size}};
    }
    assert_int_equal(err, KD_OK);
    const uint8_t *at = out->data.p;
    for (size_t i = 0; i < out->n_parts; at += out->parts[i++].data.n)
        out->parts[i].data.p = at;
}

static void
opened_free(struct opened *o)
{
    kd_buf_free(&o->common);
    kd_buf_free(&o->headers);
    kd_buf_free(&o->data);
    free(o->parts);
}

/* Through all of it. How it was carried. */
static enum dime_mime_raw
go_through(struct kd_slice mail)
{
    struct dime_mime_content content;
    struct kd_buf sealed, out;
    struct dime_mime m;
    struct opened o;

    assert_int_equal(dime_mime_import_naked(mail, &m), KD_OK);
    enum dime_mime_raw way = m.raw;
    seal(&m.content, &sealed);
    dime_mime_free(&m);
    open_all(kd_buf_slice(&sealed), &o);
    content = (struct dime_mime_content){
        .headers = kd_buf_slice(&o.headers), .parts = o.parts, .n_parts = o.n_parts};
    assert_int_equal(dime_common_parse(kd_buf_slice(&o.common), &content.common),
                     KD_OK);
    kd_buf_init(&out, DIME_MIME_MAIL_MAX);
    assert_int_equal(dime_mime_export(&content, &out), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&out), mail));
    kd_buf_free(&out);
    opened_free(&o);
    kd_buf_free(&sealed);
    return way;
}

/* --- what holds --- */

static bool
has_multipart(const char *types)
{
    return strstr(types, "65") != NULL || strstr(types, "66") != NULL ||
           strstr(types, "129") != NULL || strstr(types, "130") != NULL;
}

/* DM-93 of a gateway. */
static void
every_mail_of_the_corpus_is_kept_and_comes_back_octet_for_octet(void **state)
{
    size_t n_multipart = 0, n_mapped = 0;

    (void)state;
    for (size_t i = 0; i < n_mime_cases; i++) {
        struct kd_slice mail = mime_mail(mime_cases[i].name);
        bool multipart = has_multipart(mime_cases[i].types);
        enum dime_mime_raw want = multipart ? DIME_MIME_MULTIPART : mime_cases[i].way;
        enum dime_mime_raw got = go_through(mail);
        if (got != want)
            fail_msg("%s: %s", mime_cases[i].name, dime_mime_raw_text(got));
        n_multipart += multipart;
        n_mapped += got == DIME_MIME_MAPPED;
        vector_free(mail);
    }
    printf("%zu mails: %zu mapped, %zu raw for a multipart, %zu for other reasons\n",
           n_mime_cases, n_mapped, n_multipart, n_mime_cases - n_mapped - n_multipart);
    assert_true(n_multipart >= 5 && n_mapped >= 10);
}

static void
an_alternative_is_one_part_and_a_mixed_is_its_parts(void **state)
{
    static const char alternative[] =
        "From: a@legacy.example\r\nSubject: two ways\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
        "--b\r\n\r\ntext\r\n"
        "--b\r\nContent-Type: text/html\r\n\r\n<p>text\r\n--b--\r\n";
    static const char mixed[] =
        "From: a@legacy.example\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\n\r\ntext\r\n"
        "--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--b--\r\n";
    struct dime_mime m;

    (void)state;
    assert_int_equal(dime_mime_import_naked(kd_slice_str(alternative), &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_MULTIPART);
    assert_string_equal(mime_types(&m.content), "67");
    /* what its recipient lists mail by is there all the same */
    assert_true(kd_slice_eq(m.content.common.value[DIME_COMMON_SUBJECT],
                            kd_slice_str("two ways")));
    dime_mime_free(&m);
    assert_int_equal(go_through(kd_slice_str(alternative)), DIME_MIME_MULTIPART);

    assert_int_equal(dime_mime_import_naked(kd_slice_str(mixed), &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_MAPPED);
    assert_string_equal(mime_types(&m.content), "67 131");
    dime_mime_free(&m);
    assert_int_equal(go_through(kd_slice_str(mixed)), DIME_MIME_MAPPED);
    /* in a message the one is mapped as well */
    assert_int_equal(dime_mime_import(kd_slice_str(alternative), &m), KD_OK);
    assert_int_equal(m.raw, DIME_MIME_MAPPED);
    dime_mime_free(&m);
}

/* --- chunk 33 when it is full --- */

/* Six values of so many octets, the last of other ones. */
static struct kd_buf
mail_of_values(size_t each, size_t last)
{
    struct kd_buf mail;

    kd_buf_init(&mail, 1 << 20);
    for (int i = 0; i < DIME_COMMON_COUNT; i++) {
        size_t n = i + 1 < DIME_COMMON_COUNT ? each : last;
        kd_buf_printf(&mail, "%s: ", dime_common_name((enum dime_common)i));
        uint8_t *p = kd_buf_add(&mail, n);
        assert_non_null(p);
        memset(p, 'a' + i, n);
        kd_buf_printf(&mail, "\r\n");
    }
    kd_buf_printf(&mail, "MIME-Version: 1.0\r\n\r\ntext\r\n");
    assert_int_equal(mail.err, KD_OK);
    return mail;
}

/* What is imported can be built: values that fit one by one and not together go raw. */
static void
common_values_that_do_not_fit_together_are_carried_raw(void **state)
{
    enum { ROOM = DIME_COMMON_MAX - 512, EACH = ROOM / DIME_COMMON_COUNT };
    static const struct {
        size_t each, last;
        enum dime_mime_raw way;
    } sizes[] = {
        {EACH, ROOM - 5 * EACH, DIME_MIME_MAPPED},
        {EACH, ROOM - 5 * EACH + 1, DIME_MIME_COMMON_VALUE},
        {VALUE_MAX, VALUE_MAX, DIME_MIME_COMMON_VALUE},
        {1, VALUE_MAX, DIME_MIME_MAPPED},
        {1, VALUE_MAX + 1, DIME_MIME_COMMON_VALUE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kd_buf mail = mail_of_values(sizes[i].each, sizes[i].last);
        assert_int_equal(go_through(kd_buf_slice(&mail)), sizes[i].way);
        /* and as an author's message, whose plan is held to the same text */
        struct dime_mime m;
        struct kd_buf common;
        assert_int_equal(dime_mime_import(kd_buf_slice(&mail), &m), KD_OK);
        assert_int_equal(m.raw, sizes[i].way);
        kd_buf_init(&common, DIME_COMMON_MAX);
        assert_int_equal(dime_common_put(&m.content.common, &common), KD_OK);
        const struct dime_content part = {
            .type = 67, .data = dime_source_of(m.content.parts[0].data)};
        struct dime_plan plan;
        struct kd_buf message;
        mail_plan(&part, 1, &plan);
        plan.common = kd_buf_slice(&common);
        plan.headers = m.content.headers;
        kd_buf_init(&message, DIME_MESSAGE_MAX);
        assert_int_equal(dime_message_build(&plan, &message), KD_OK);
        kd_buf_free(&message);
        kd_buf_free(&common);
        dime_mime_free(&m);
        kd_buf_free(&mail);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            every_mail_of_the_corpus_is_kept_and_comes_back_octet_for_octet),
        cmocka_unit_test(an_alternative_is_one_part_and_a_mixed_is_its_parts),
        cmocka_unit_test(common_values_that_do_not_fit_together_are_carried_raw),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
