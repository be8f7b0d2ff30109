/* What a DMTP server sends, in pieces. The first octet says how large they are, and
 * whether libdime's forms are taken. However it is cut, the same replies come out. */
#include "fuzz.h"

#include <dmtp_reply.h>
#include <stdlib.h>

enum { LINKS = 16, SIGNET = 4096, HISTORY = 16384 };
static const struct dmtp_limits limits = {256, 65536};

static struct dmtp_reader reader, whole;

static void
look_at(const struct dmtp_reader *r, bool libdime)
{
    struct kd_slice text = dmtp_reader_text(r), links[LINKS];
    struct kd_buf out;
    size_t n = 0, sum = 0;

    fuzz_require(r->code >= 100 && r->code <= 999);
    fuzz_require(r->n_lines > 0 && r->n_lines <= limits.lines);
    fuzz_require(text.n > 0 && text.p[text.n - 1] == '\n');
    fuzz_require(memchr(text.p, '\0', text.n) == NULL &&
                 memchr(text.p, '\r', text.n) == NULL);
    kd_buf_init(&out, SIGNET);
    if (dmtp_text_signet(text, libdime, &out, NULL) == KD_OK)
        fuzz_require(out.n > 0 && out.n <= SIGNET && out.n < text.n);
    else
        fuzz_require(out.n == 0);
    kd_buf_free(&out);
    kd_buf_init(&out, HISTORY);
    if (dmtp_text_links(text, libdime, &out, links, LINKS, &n, NULL) == KD_OK) {
        fuzz_require(n > 0 && n <= LINKS);
        for (size_t i = 0; i < n; i++) {
            fuzz_require(links[i].n > 0 && links[i].p == out.p + sum);
            sum += links[i].n;
        }
        fuzz_require(sum == out.n);
    }
    kd_buf_free(&out);
    kd_ignore(dmtp_text_says_dmtp(text, 0));
    kd_ignore(dmtp_text_says_dmtp(text, 2));
}

/* The next reply out of pieces of that size; how much of it was taken. */
static size_t
read_one(struct dmtp_reader *r, struct kd_slice octets, size_t piece)
{
    size_t at = 0;

    dmtp_reader_begin(r, limits);
    while (r->state == DMTP_MORE && at < octets.n) {
        size_t n = octets.n - at < piece ? octets.n - at : piece;
        size_t taken = dmtp_reader_add(r, kd_slice(octets.p + at, n));
        fuzz_require(taken > 0 && taken <= n);
        at += taken;
    }
    return at;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t piece = (data[0] & 0x7fu) + 1;
    bool libdime = (data[0] & 0x80) != 0;
    struct kd_slice rest = kd_slice(data + 1, size - 1);
    fuzz_begin(size + 16384);
    dmtp_reader_init(&reader);
    dmtp_reader_init(&whole);
    while (rest.n > 0) {
        size_t n = read_one(&reader, rest, piece);
        fuzz_require(read_one(&whole, rest, rest.n) == n);
        fuzz_require(reader.state == whole.state && reader.code == whole.code);
        fuzz_require(kd_slice_eq(dmtp_reader_text(&reader), dmtp_reader_text(&whole)));
        fuzz_require(reader.state != DMTP_BAD || reader.why[0] != '\0');
        if (reader.state != DMTP_WHOLE)
            break;
        look_at(&reader, libdime);
        rest = kd_slice(rest.p + n, rest.n - n);
    }
    dmtp_reader_free(&reader);
    dmtp_reader_free(&whole);
    fuzz_end();
    return 0;
}
