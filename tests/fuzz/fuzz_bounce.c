/* Bounces, and reports alone. A second, naive reading says what is a bounce; what is
 * one is verified and opened as its origin. What is read as a report is written alike.
 */
#include "dmj.h"
#include "fuzz.h"
#include "mail.h"

#include <dime/bounce.h>
#include <keyd/base/be.h>

enum { SECRET_ROOM = 4096, SLOT = 64 };

/* --- the naive reading --- */

struct chunks {
    const struct dmj_chunk *c;
    size_t n;
};

/* Takes one of that type if it is next. */
static bool
take(const struct chunks *t, size_t *i, uint8_t type)
{
    bool is_next = *i < t->n && t->c[*i].type == type;

    *i += is_next;
    return is_next;
}

static size_t
take_all(const struct chunks *t, size_t *i, uint8_t from, uint8_t to)
{
    size_t start = *i;

    while (*i < t->n && t->c[*i].type >= from && t->c[*i].type <= to)
        ++*i;
    return *i - start;
}

static bool
is_part(const struct chunks *t)
{
    size_t i = 0;

    if (!take(t, &i, 2))
        return false;
    take(t, &i, 3);
    if (!take(t, &i, 4) || !take(t, &i, 5) || !take(t, &i, 33))
        return false;
    take(t, &i, 34);
    if (take_all(t, &i, 65, 67) == 0)
        return take(t, &i, 248) && i == t->n;
    if (take(t, &i, 249))
        return i == t->n;
    take_all(t, &i, 129, 131);
    if (!take(t, &i, 225) || !take(t, &i, 226))
        return false;
    take(t, &i, 248);
    take(t, &i, 249);
    return take(t, &i, 255) && i == t->n;
}

static bool
is_bounce(const uint8_t *data, size_t size)
{
    struct chunks part;

    if (size < 6 + 37 + 4 || kd_be16(data) != 1931 || kd_be32(data + 2) != size - 6)
        return false;
    if (data[6] != 2 || kd_be24(data + 7) != 33 ||
        !dime_secp_point_valid(kd_slice(data + 10, 33)))
        return false;
    size_t at = 43, report = kd_be24(data + at + 1);
    if (data[at] != 6 || report % 16 != 0 || report < 80 || report > 16777200 ||
        4 + report + SLOT > size - at)
        return false;
    at += 4 + report + SLOT;
    if (size - at < 4 || data[at] != 7)
        return false;
    size_t back = kd_be24(data + at + 1);
    if (back > size - at - 4)
        return false;
    struct kd_slice octets = kd_slice(data + at + 4, back);
    at += 4 + back;
    if (size - at != 68 || data[at] != 255 || kd_be24(data + at + 1) != 64)
        return false;
    return dmj_read_chunks(octets, 0, &part.c, &part.n) && is_part(&part) &&
           dime_secp_point_valid(kd_slice(octets.p + 4, 33));
}

/* --- what is checked --- */

static void
check_bounce(const struct dime_bounce *b)
{
    const struct mail_people *p = mail_people(0);
    struct dime_report report;
    struct dime_kek kek;
    struct kd_buf text;

    fuzz_require(b->returned.begin >= b->outer.begin &&
                 b->returned.end <= b->organization.at);
    kd_err err = dime_bounce_verify(b, &p->destination->use.key, 1);
    fuzz_require(err == KD_OK || err == KD_INVALID);
    mail_kek(DIME_ORIGIN, b->returned.ephemeral, &kek);
    err = dime_bounce_verify_return(b, &kek, &p->organization->use.key, 1);
    fuzz_require(err == KD_OK || err == KD_INVALID);
    mail_kek(DIME_ORIGIN, b->outer.ephemeral, &kek);
    kd_buf_init(&text, 16384);
    err = dime_bounce_report(b, &kek, p->destination->use.key, &report, &text);
    fuzz_require(err == KD_OK || (err == KD_INVALID && text.n == 0));
    fuzz_require(err != KD_OK || report.part == b->part);
    kd_buf_free(&text);
}

static void
check_report(struct kd_slice text)
{
    struct dime_report r;
    struct kd_buf again;

    if (dime_report_parse(text, &r) != KD_OK)
        return;
    kd_buf_init(&again, DIME_REPORT_MAX);
    fuzz_require(dime_report_put(&r, &again) == KD_OK);
    fuzz_require(kd_slice_eq(kd_buf_slice(&again), text));
    fuzz_require(r.klass == 4 || r.klass == 5);
    fuzz_require(r.message.n == 86 && r.part < DIME_RETURN_COUNT && r.time >= 0);
    kd_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kd_slice octets = kd_slice(data, size);
    struct dime_source source = dime_source_of(octets);
    struct dime_bounce b;
    enum dime_flaw why;

    mail_people(SECRET_ROOM);
    fuzz_begin(size);
    kd_err err = dime_bounce_parse(&source, UINT32_MAX, &b, &why);
    fuzz_require((err == KD_OK) == (why == DIME_FLAW_NONE));
    fuzz_require((err == KD_OK) == is_bounce(data, size));
    if (err == KD_OK)
        check_bounce(&b);
    check_report(octets);
    fuzz_end();
    return 0;
}
