/* Bounces and the reports in them. */
#include "dmj.h"
#include "mail.h"
#include "test.h"

#include <dime/bounce.h>

#include <keyd/base/be.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIMIT = 1 << 20, SECRET_ROOM = 4096 };

#define IDENTIFIER                                                                     \
    "pHYQF1IrjqpYfaVMecpSsjDBQRMpGpLmwvPdP2hNsleJzjXgCAs2q1Aq7RkNIcR+QWKeLDc8eHQF9oi"  \
    "nDQylYQ"

static const char report_text[] =
    "Reporting-MTA: dns; example.org\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Last-Attempt-Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
    "X-Dime-Message: [" IDENTIFIER "]\r\n"
    "X-Dime-Returned: metadata\r\n";

static const struct mail_people *people;
static struct kd_buf original; /* signed by its origin, 248 and 249 too */

static int
set_up(void **state)
{
    struct dime_content two[2] = {mail_text("Hello, Bob.\r\n"), mail_text("attached")};
    struct dime_plan plan;
    struct dime_kek kek;

    (void)state;
    people = mail_people(SECRET_ROOM);
    two[1].type = DIME_CHUNK_ATTACHMENTS_CONTENT;
    mail_plan(two, 2, &plan);
    kd_buf_init(&original, LIMIT);
    assert_int_equal(dime_message_build(&plan, &original), KD_OK);
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    mail_kek(DIME_ORIGIN, m.ephemeral, &kek);
    assert_int_equal(dime_message_sign(&m, original.p, &kek, people->organization),
                     KD_OK);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    kd_buf_free(&original);
    return 0;
}

/* --- helpers --- */

static struct dime_report
report_of(enum dime_return part)
{
    return (struct dime_report){.domain = kd_slice_str("example.org"),
                                .klass = 5,
                                .subject = 1,
                                .detail = 1,
                                .time = 1704067200,
                                .message = kd_slice_str(IDENTIFIER),
                                .part = part};
}

static kd_err
try_build(const struct dime_message *m, enum dime_return part, struct kd_buf *out)
{
    struct dime_report report = report_of(part);
    struct dime_bounce_plan plan = {.origin = people->keys[DIME_ORIGIN],
                                    .report = &report,
                                    .message = m,
                                    .organization = mail_signer(people->destination)};

    return dime_bounce_build(&plan, out);
}

static void
build(enum dime_return part, struct kd_buf *out)
{
    struct dime_message m = mail_parse(kd_buf_slice(&original));

    kd_buf_init(out, LIMIT);
    assert_int_equal(try_build(&m, part, out), KD_OK);
}

/* *out is written if there is no flaw, and then alone. */
static enum dime_flaw
parse(struct kd_slice octets, struct dime_bounce *out)
{
    static struct dime_bounce untouched;
    uint8_t *copy = mail_exact(octets);
    struct dime_source source = dime_source_of(kd_slice(copy, octets.n));
    enum dime_flaw why;

    memset(out, 0x5a, sizeof *out);
    memset(&untouched, 0x5a, sizeof untouched);
    kd_err err = dime_bounce_parse(&source, LIMIT, out, &why);
    free(copy);
    assert_int_equal(err, mail_error_of(why));
    if (err != KD_OK)
        assert_memory_equal(out, &untouched, sizeof untouched);
    else
        out->outer.source = out->returned.source = dime_source_of(octets);
    return why;
}

static enum dime_flaw
flaw_of(struct kd_slice octets)
{
    struct dime_bounce unused;

    return parse(octets, &unused);
}

static struct dime_bounce
parsed(const struct kd_buf *b)
{
    struct dime_bounce out;

    assert_int_equal(parse(kd_buf_slice(b), &out), DIME_FLAW_NONE);
    return out;
}

static kd_err
verify(const struct dime_bounce *b)
{
    return dime_bounce_verify(b, &people->destination->use.key, 1);
}

static kd_err
verify_return(const struct dime_bounce *b)
{
    struct dime_kek kek;

    mail_kek(DIME_ORIGIN, b->returned.ephemeral, &kek);
    return dime_bounce_verify_return(b, &kek, &people->organization->use.key, 1);
}

static kd_err
read_report(const struct dime_bounce *b, struct dime_report *out, struct kd_buf *text)
{
    struct dime_kek kek;

    mail_kek(DIME_ORIGIN, b->outer.ephemeral, &kek);
    return dime_bounce_report(b, &kek, people->destination->use.key, out, text);
}

/* --- reports --- */

static void
assert_report(const struct dime_report *a, const struct dime_report *b)
{
    assert_true(kd_slice_eq(a->domain, b->domain));
    assert_int_equal(a->klass, b->klass);
    assert_int_equal(a->subject, b->subject);
    assert_int_equal(a->detail, b->detail);
    assert_int_equal(a->time, b->time);
    assert_true(kd_slice_eq(a->message, b->message));
    assert_int_equal(a->part, b->part);
}

static void
a_report_is_written_as_documented(void **state)
{
    struct dime_report r = report_of(DIME_RETURN_METADATA), again;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_REPORT_MAX);
    assert_int_equal(dime_report_put(&r, &b), KD_OK);
    assert_true(kd_slice_eq(kd_buf_slice(&b), kd_slice_str(report_text)));
    assert_int_equal(dime_report_parse(kd_buf_slice(&b), &again), KD_OK);
    assert_report(&r, &again);
    kd_buf_free(&b);
}

static void
reports_are_read_as_they_were_written(void **state)
{
    static const int64_t times[] = {0, 951782400, 1709164800, 4102444799, 253402300799};
    static const uint16_t numbers[] = {0, 1, 9, 10, 99, 100, 999};
    struct dime_report again;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_REPORT_MAX);
    for (size_t t = 0; t < 5; t++) {
        for (size_t i = 0; i < 7; i++) {
            struct dime_report r = report_of((enum dime_return)(i % DIME_RETURN_COUNT));
            r.time = times[t];
            r.klass = i % 2 == 0 ? 4 : 5;
            r.subject = numbers[i];
            r.detail = numbers[6 - i];
            kd_buf_reset(&b);
            assert_int_equal(dime_report_put(&r, &b), KD_OK);
            assert_int_equal(dime_report_parse(kd_buf_slice(&b), &again), KD_OK);
            assert_report(&r, &again);
        }
    }
    kd_buf_free(&b);
}

static void
what_could_not_be_read_back_is_not_written(void **state)
{
    struct dime_report good = report_of(DIME_RETURN_DISPLAY), bad[12];
    struct kd_buf b;

    (void)state;
    for (size_t i = 0; i < 12; i++)
        bad[i] = good;
    bad[0].domain = kd_slice_str("Example.org");
    bad[1].domain = kd_slice(NULL, 0);
    bad[2].domain = kd_slice_str("example.org\r\nX: y");
    bad[3].klass = 2;
    bad[4].klass = 6;
    bad[5].subject = 1000;
    bad[6].detail = 65535;
    bad[7].time = -1;
    bad[8].time = 253402300800; /* year 10000 */
    bad[9].message.n--;
    bad[10].message = kd_slice_str(IDENTIFIER "=");
    bad[11].part = DIME_RETURN_COUNT;
    kd_buf_init(&b, DIME_REPORT_MAX);
    kd_buf_put(&b, kd_slice_str("x"));
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(dime_report_put(&bad[i], &b), KD_INVALID);
    bad[0] = good;
    bad[0].time = INT64_MAX;
    assert_int_equal(dime_report_put(&bad[0], &b), KD_INVALID);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.err, KD_OK);
    kd_buf_free(&b);
}

/* Every octet but those of free values: another one there is another report or none. */
static void
reports_in_any_other_form_are_refused(void **state)
{
    struct dime_report r;
    struct kd_buf b;
    char text[sizeof report_text];
    size_t n = sizeof report_text - 1;

    (void)state;
    kd_buf_init(&b, DIME_REPORT_MAX);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(dime_report_parse(kd_slice(report_text, cut), &r),
                         KD_MALFORMED);
    for (size_t i = 0; i < n; i++) {
        for (unsigned octet = 0; octet < 256; octet++) {
            memcpy(text, report_text, n);
            text[i] = (char)octet;
            if (dime_report_parse(kd_slice(text, n), &r) != KD_OK)
                continue;
            kd_buf_reset(&b);
            assert_int_equal(dime_report_put(&r, &b), KD_OK);
            assert_true(kd_slice_eq(kd_buf_slice(&b), kd_slice(text, n)));
        }
    }
    static const char *const wrong[] = {"Status: 5.1.01\r\n",
                                        "Status: 5.1\r\n",
                                        "Status: 5.1.1.\r\n",
                                        "Status: 5.1.1.1\r\n",
                                        "Status: 05.1.1\r\n",
                                        "Status: 2.1.1\r\n",
                                        "Status: 5..1\r\n",
                                        "Status:  5.1.1\r\n",
                                        "status: 5.1.1\r\n",
                                        "Status: 5.1.1\n",
                                        "Status: 5.1.1\r\n\r\n",
                                        "Status: 5.1.99999\r\n",
                                        ""};
    const char *at = strstr(report_text, "Status"), *after = strstr(at, "Last");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kd_buf_reset(&b);
        kd_buf_put(&b, kd_slice(report_text, (size_t)(at - report_text)));
        kd_buf_put(&b, kd_slice_str(wrong[i]));
        kd_buf_put(&b, kd_slice_str(after));
        assert_int_equal(dime_report_parse(kd_buf_slice(&b), &r), KD_MALFORMED);
    }
    kd_buf_free(&b);
}

/* --- what holds --- */

static void
the_origin_reads_a_bounce_of_each_part(void **state)
{
    static const struct {
        enum dime_return part;
        uint32_t n_chunks;
    } cases[] = {
        {DIME_RETURN_METADATA, 6}, {DIME_RETURN_DISPLAY, 7}, {DIME_RETURN_MESSAGE, 12}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct dime_report expected = report_of(cases[i].part), r;
        struct kd_buf b, text;
        build(cases[i].part, &b);
        struct dime_bounce bounce = parsed(&b);
        assert_int_equal(bounce.part, cases[i].part);
        assert_int_equal(bounce.returned.n_chunks, cases[i].n_chunks);
        assert_int_equal(verify(&bounce), KD_OK);
        assert_int_equal(verify_return(&bounce), KD_OK);
        kd_buf_init(&text, DIME_REPORT_MAX);
        assert_int_equal(read_report(&bounce, &r, &text), KD_OK);
        assert_report(&expected, &r);
        kd_buf_free(&text);
        kd_buf_free(&b);
    }
}

/* The whole point: chunk 4 of what came back says who wrote it. */
static void
the_author_is_found_in_the_returned_part(void **state)
{
    struct dime_chunk_key key;
    struct dime_kek kek;
    struct kd_buf b, text;

    (void)state;
    build(DIME_RETURN_METADATA, &b);
    struct dime_bounce bounce = parsed(&b);
    mail_kek(DIME_ORIGIN, bounce.returned.ephemeral, &kek);
    assert_int_equal(dime_chunk_key_of(&bounce.returned, &bounce.returned.origin,
                                       DIME_ORIGIN, &kek, &key),
                     KD_OK);
    kd_buf_init(&text, DIME_ENVELOPE_MAX);
    assert_int_equal(dime_envelope_payload_open(&bounce.returned,
                                                &bounce.returned.origin, &key, &text),
                     KD_OK);
    kd_buf_u8(&text, 0);
    assert_non_null(strstr((const char *)text.p, "Author: <alice@example.com>\r\n"));
    kd_buf_free(&text);
    kd_buf_free(&b);
}

static void
returned_octets_are_those_of_the_message(void **state)
{
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    struct dime_bounce bounce;
    struct kd_buf b;

    (void)state;
    build(DIME_RETURN_MESSAGE, &b);
    bounce = parsed(&b);
    assert_int_equal(bounce.back.size, m.end - m.begin);
    assert_memory_equal(b.p + bounce.returned.begin, original.p + m.begin,
                        m.end - m.begin);
    kd_buf_free(&b);
    build(DIME_RETURN_DISPLAY, &b);
    bounce = parsed(&b);
    assert_memory_equal(b.p + bounce.returned.begin, original.p + m.begin,
                        m.attached - m.begin);
    kd_buf_free(&b);
}

static void
a_file_is_read_as_memory_is(void **state)
{
    struct dime_bounce in_memory, in_file;
    struct dime_report r;
    struct kd_buf b, text;
    enum dime_flaw why;

    (void)state;
    build(DIME_RETURN_DISPLAY, &b);
    in_memory = parsed(&b);
    int fd = memfd_create("bounce", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.p, b.n), b.n);
    struct dime_source source = dime_source_file(fd, b.n);
    assert_int_equal(dime_bounce_parse(&source, LIMIT, &in_file, &why), KD_OK);
    assert_int_equal(verify(&in_file), KD_OK);
    assert_int_equal(verify_return(&in_file), KD_OK);
    kd_buf_init(&text, DIME_REPORT_MAX);
    assert_int_equal(read_report(&in_file, &r, &text), KD_OK);
    assert_true(dmj_same(&in_file.outer, &in_memory.outer));
    assert_true(dmj_same(&in_file.returned, &in_memory.returned));
    assert_int_equal(in_file.part, in_memory.part);
    assert_int_equal(in_file.report.at, in_memory.report.at);
    assert_int_equal(in_file.back.at, in_memory.back.at);
    assert_int_equal(in_file.organization.at, in_memory.organization.at);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(verify(&in_file), KD_MALFORMED);
    close(fd);
    kd_buf_free(&text);
    kd_buf_free(&b);
}

static void
what_the_message_does_not_have_is_not_returned(void **state)
{
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    struct kd_buf b, out;

    (void)state;
    kd_buf_init(&b, LIMIT);
    kd_buf_init(&out, LIMIT);
    assert_int_equal(dime_message_drop(&m, DIME_CHUNK_METADATA_BOUNCE, &b), KD_OK);
    m = mail_parse(kd_buf_slice(&b));
    assert_int_equal(try_build(&m, DIME_RETURN_METADATA, &out), KD_NOT_FOUND);
    assert_int_equal(try_build(&m, DIME_RETURN_COUNT, &out), KD_INVALID);
    assert_int_equal(out.n, 0);
    assert_int_equal(try_build(&m, DIME_RETURN_DISPLAY, &out), KD_OK);
    kd_buf_free(&b);
    kd_buf_free(&out);
}

static void
what_does_not_fit_a_chunk_is_not_returned(void **state)
{
    struct dime_content large = mail_text("");
    struct dime_plan plan;
    struct kd_buf b, out;
    void *octets = calloc(1, DIME_DATA_MAX);

    (void)state;
    large.data = dime_source_of(kd_slice(octets, DIME_DATA_MAX));
    mail_plan(&large, 1, &plan);
    kd_buf_init(&b, 32 << 20);
    assert_int_equal(dime_message_build(&plan, &b), KD_OK);
    struct dime_message m = mail_parse(kd_buf_slice(&b));
    kd_buf_init(&out, 32 << 20);
    assert_int_equal(try_build(&m, DIME_RETURN_DISPLAY, &out), KD_TOO_LARGE);
    assert_int_equal(try_build(&m, DIME_RETURN_MESSAGE, &out), KD_TOO_LARGE);
    assert_int_equal(out.n, 0);
    assert_int_equal(try_build(&m, DIME_RETURN_METADATA, &out), KD_OK);
    kd_buf_free(&out);
    kd_buf_free(&b);
    free(octets);
}

static kd_err
refuse(void *ctx, struct kd_slice message, uint8_t sig[DIME_SIG_SIZE])
{
    unsigned *left = ctx;

    (void)message;
    memset(sig, 0, DIME_SIG_SIZE);
    return (*left)-- == 0 ? KD_SEALED : KD_OK;
}

static void
a_signer_that_refuses_leaves_nothing(void **state)
{
    struct dime_report report = report_of(DIME_RETURN_METADATA);
    struct dime_message m = mail_parse(kd_buf_slice(&original));

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        unsigned left = i % 2; /* the report's signature, or 255 */
        struct dime_bounce_plan plan = {.origin = people->keys[DIME_ORIGIN],
                                        .report = &report,
                                        .message = &m,
                                        .organization = {refuse, &left}};
        struct kd_buf out;
        kd_buf_init(&out, LIMIT);
        assert_int_equal(dime_bounce_build(&plan, &out), KD_SEALED);
        assert_int_equal(out.n, 0);
        kd_buf_free(&out);
    }
}

/* --- what does not --- */

static void
keys_of_others_verify_nothing(void **state)
{
    struct dime_report r;
    struct dime_kek kek;
    struct kd_buf b, text;

    (void)state;
    build(DIME_RETURN_METADATA, &b);
    struct dime_bounce bounce = parsed(&b);
    const uint8_t(*other)[32] = &people->author->use.key;
    uint8_t both[2][32];
    memcpy(both[0], people->author->use.key, 32);
    memcpy(both[1], people->destination->use.key, 32);
    assert_int_equal(dime_bounce_verify(&bounce, other, 1), KD_INVALID);
    assert_int_equal(dime_bounce_verify(&bounce, other, 0), KD_INVALID);
    assert_int_equal(dime_bounce_verify(&bounce, (const uint8_t(*)[32])both, 2), KD_OK);
    mail_kek(DIME_ORIGIN, bounce.returned.ephemeral, &kek);
    assert_int_equal(dime_bounce_verify_return(&bounce, &kek, other, 1), KD_INVALID);
    mail_kek(DIME_DESTINATION, bounce.returned.ephemeral, &kek);
    assert_int_equal(
        dime_bounce_verify_return(&bounce, &kek, &people->organization->use.key, 1),
        KD_INVALID);
    kd_buf_init(&text, DIME_REPORT_MAX);
    assert_int_equal(
        dime_bounce_report(&bounce, &kek, people->destination->use.key, &r, &text),
        KD_INVALID);
    mail_kek(DIME_ORIGIN, bounce.outer.ephemeral, &kek);
    assert_int_equal(dime_bounce_report(&bounce, &kek, *other, &r, &text), KD_INVALID);
    assert_int_equal(text.n, 0);
    kd_buf_free(&text);
    kd_buf_free(&b);
}

/* That keyd drops it is for the tests of keyd. */
static void
a_returned_part_that_we_never_signed_is_found_out(void **state)
{
    struct dime_content text = mail_text("forged");
    struct dime_plan plan;
    struct dime_message m;
    struct kd_buf forged, b;

    (void)state;
    mail_plan(&text, 1, &plan);
    kd_buf_init(&forged, LIMIT);
    assert_int_equal(dime_message_build(&plan, &forged), KD_OK); /* 248 is zeros */
    m = mail_parse(kd_buf_slice(&forged));
    for (int part = 0; part < DIME_RETURN_COUNT; part++) {
        kd_buf_init(&b, LIMIT);
        assert_int_equal(try_build(&m, (enum dime_return)part, &b), KD_OK);
        struct dime_bounce bounce = parsed(&b);
        assert_int_equal(verify(&bounce), KD_OK);
        assert_int_equal(verify_return(&bounce), KD_INVALID);
        kd_buf_free(&b);
    }
    kd_buf_free(&forged);
}

/* A report that tells of another part than there is, well signed. */
static void
a_report_of_another_part_is_refused(void **state)
{
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    struct dime_bounce a, b;
    struct kd_buf metadata, display, mixed, text;
    struct dime_report r;

    (void)state;
    build(DIME_RETURN_METADATA, &metadata);
    build(DIME_RETURN_DISPLAY, &display);
    a = parsed(&metadata);
    b = parsed(&display);
    mail_replace(
        &metadata, a.back.at, dime_chunk_end(&a.back),
        kd_slice(display.p + b.back.at, (size_t)(dime_chunk_end(&b.back) - b.back.at)),
        &mixed);
    a = parsed(&mixed);
    assert_int_equal(a.part, DIME_RETURN_DISPLAY);
    assert_int_equal(verify(&a), KD_INVALID);
    kd_buf_init(&text, DIME_REPORT_MAX);
    assert_int_equal(read_report(&a, &r, &text), KD_INVALID);
    assert_int_equal(text.n, 0);
    (void)m;
    kd_buf_free(&metadata);
    kd_buf_free(&display);
    kd_buf_free(&mixed);
    kd_buf_free(&text);
}

static void
a_bounce_cut_at_any_octet_is_refused(void **state)
{
    struct kd_buf b;

    (void)state;
    build(DIME_RETURN_MESSAGE, &b);
    mail_cut_everywhere(&b, flaw_of);
    kd_buf_free(&b);
}

/* The chunks inside the Return chunk, cut at every octet, its size telling the truth.
 */
static void
a_returned_part_cut_at_any_octet_is_refused(void **state)
{
    struct dime_bounce whole, bounce;
    struct kd_buf b, cut;

    (void)state;
    build(DIME_RETURN_DISPLAY, &b);
    whole = parsed(&b);
    for (uint32_t n = 0; n < whole.back.size; n++) {
        mail_replace(&b, dime_chunk_payload(&whole.back) + n,
                     dime_chunk_end(&whole.back), kd_slice(NULL, 0), &cut);
        kd_put_be24(cut.p + whole.back.at + 1, n);
        assert_int_not_equal(parse(kd_buf_slice(&cut), &bounce), DIME_FLAW_NONE);
        kd_buf_free(&cut);
    }
    kd_buf_free(&b);
}

static void
chunks_are_these_four_in_this_order(void **state)
{
    struct dime_bounce whole, bounce;
    struct dime_chunk c, chunks[4];
    struct kd_buf b, other;
    size_t n = 0;
    kd_err err;

    (void)state;
    build(DIME_RETURN_METADATA, &b);
    whole = parsed(&b);
    for (uint64_t at = whole.outer.begin;
         dime_message_next(&whole.outer, &at, whole.outer.end, &c, &err);)
        chunks[n++] = c;
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++) {
        struct kd_slice chunk = kd_slice(
            b.p + chunks[i].at, (size_t)(dime_chunk_end(&chunks[i]) - chunks[i].at));
        mail_replace(&b, chunks[i].at, dime_chunk_end(&chunks[i]), kd_slice(NULL, 0),
                     &other);
        assert_int_equal(parse(kd_buf_slice(&other), &bounce),
                         i == 3 ? DIME_FLAW_UNSIGNED : DIME_FLAW_MISSING);
        kd_buf_free(&other);
        for (size_t to = 0; to < n; to++) {
            mail_replace(&b, chunks[to].at, chunks[to].at, chunk, &other);
            assert_int_not_equal(parse(kd_buf_slice(&other), &bounce), DIME_FLAW_NONE);
            kd_buf_free(&other);
        }
    }
    /* a type at a time in each place */
    for (size_t i = 0; i < n; i++) {
        for (unsigned type = 0; type < 256; type++) {
            uint8_t was = b.p[chunks[i].at];
            b.p[chunks[i].at] = (uint8_t)type;
            assert_int_equal(parse(kd_buf_slice(&b), &bounce) == DIME_FLAW_NONE,
                             type == was);
            b.p[chunks[i].at] = was;
        }
    }
    kd_buf_free(&b);
}

/* Chunks of the original in other selections than the three. */
static void
parts_that_are_none_of_the_three_are_refused(void **state)
{
    /* by the number of the chunk: 2 4 5 33 34 67 131 225 226 248 249 255 */
    static const uint16_t wrong[] = {
        0x000,      0x001,      0x01f,                  /* no signature */
        0x21f & ~2, 0x21f & ~4, 0x21f & ~8, 0x21f & ~1, /* less before 248 */
        0x23f,                                          /* 67 under 248 */
        0x41f,                                          /* no 67 under 249 */
        0x47f,                                          /* an attachment under 249 */
        0x63f,      0x61f,                              /* both signatures */
        0x6bf,      0x73f,      0xa1f, /* an author's signature, 255 without */
        0x81f,      0x83f,      0xe7f,      0xf7f & ~0x20, 0x7ff};
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    struct dime_chunk chunks[12];
    struct dime_bounce whole, bounce;
    struct kd_buf b, other, part;
    size_t n = 0;
    kd_err err;

    (void)state;
    for (uint64_t at = m.begin;
         n < 12 && dime_message_next(&m, &at, m.end, &chunks[n], &err);)
        n++;
    assert_int_equal(n, 12);
    build(DIME_RETURN_METADATA, &b);
    whole = parsed(&b);
    kd_buf_init(&part, LIMIT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        kd_buf_reset(&part);
        for (size_t k = 0; k < n; k++)
            if ((wrong[i] >> k & 1) != 0)
                kd_buf_put(&part, kd_slice(original.p + chunks[k].at,
                                           (size_t)(dime_chunk_end(&chunks[k]) -
                                                    chunks[k].at)));
        mail_replace(&b, dime_chunk_payload(&whole.back), dime_chunk_end(&whole.back),
                     kd_buf_slice(&part), &other);
        kd_put_be24(other.p + whole.back.at + 1, (uint32_t)part.n);
        assert_int_not_equal(parse(kd_buf_slice(&other), &bounce), DIME_FLAW_NONE);
        kd_buf_free(&other);
    }
    kd_buf_free(&part);
    kd_buf_free(&b);
}

static void
no_bit_is_without_the_bouncing_domains_signature(void **state)
{
    struct dime_bounce bounce;
    struct kd_buf b;

    (void)state;
    build(DIME_RETURN_METADATA, &b);
    for (size_t i = 0; i < b.n; i++) {
        b.p[i] ^= (uint8_t)(1 << i % 8);
        if (parse(kd_buf_slice(&b), &bounce) == DIME_FLAW_NONE)
            assert_int_equal(verify(&bounce), KD_INVALID);
        b.p[i] ^= (uint8_t)(1 << i % 8);
    }
    kd_buf_free(&b);
}

/* T-DM-29: at DATA it goes to who reads bounces, and is no message. */
static void
T_DM_29_a_bounce_is_for_the_bounce_handler(void **state)
{
    struct kd_buf b;

    (void)state;
    for (int part = 0; part < DIME_RETURN_COUNT; part++) {
        struct dime_message m;
        enum dime_flaw why;
        build((enum dime_return)part, &b);
        struct dime_source source = dime_source_of(kd_buf_slice(&b));
        assert_int_equal(dime_data_kind(&source), DIME_DATA_BOUNCE);
        assert_int_equal(flaw_of(kd_buf_slice(&b)), DIME_FLAW_NONE);
        assert_int_equal(dime_message_parse(&source, LIMIT, &m, &why), KD_MALFORMED);
        assert_int_equal(why, DIME_FLAW_MAGIC);
        kd_buf_free(&b);
    }
}

static void
messages_have_no_chunks_of_bounces(void **state)
{
    static const uint8_t types[] = {DIME_BOUNCE_REPORT, DIME_BOUNCE_RETURN};
    struct dime_message m = mail_parse(kd_buf_slice(&original));
    struct kd_buf b;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dime_source source;
        enum dime_flaw why;
        assert_null(dime_chunk_def(types[i]));
        kd_buf_init(&b, LIMIT);
        kd_buf_put(&b, kd_buf_slice(&original));
        b.p[m.display] = types[i];
        source = dime_source_of(kd_buf_slice(&b));
        struct dime_message bad;
        assert_int_equal(dime_message_parse(&source, LIMIT, &bad, &why), KD_MALFORMED);
        assert_int_equal(why, DIME_FLAW_TYPE);
        kd_buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_written_as_documented),
        cmocka_unit_test(reports_are_read_as_they_were_written),
        cmocka_unit_test(what_could_not_be_read_back_is_not_written),
        cmocka_unit_test(reports_in_any_other_form_are_refused),
        cmocka_unit_test(the_origin_reads_a_bounce_of_each_part),
        cmocka_unit_test(the_author_is_found_in_the_returned_part),
        cmocka_unit_test(returned_octets_are_those_of_the_message),
        cmocka_unit_test(a_file_is_read_as_memory_is),
        cmocka_unit_test(what_the_message_does_not_have_is_not_returned),
        cmocka_unit_test(what_does_not_fit_a_chunk_is_not_returned),
        cmocka_unit_test(a_signer_that_refuses_leaves_nothing),
        cmocka_unit_test(keys_of_others_verify_nothing),
        cmocka_unit_test(a_returned_part_that_we_never_signed_is_found_out),
        cmocka_unit_test(a_report_of_another_part_is_refused),
        cmocka_unit_test(a_bounce_cut_at_any_octet_is_refused),
        cmocka_unit_test(a_returned_part_cut_at_any_octet_is_refused),
        cmocka_unit_test(chunks_are_these_four_in_this_order),
        cmocka_unit_test(parts_that_are_none_of_the_three_are_refused),
        cmocka_unit_test(no_bit_is_without_the_bouncing_domains_signature),
        cmocka_unit_test(T_DM_29_a_bounce_is_for_the_bounce_handler),
        cmocka_unit_test(messages_have_no_chunks_of_bounces),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
