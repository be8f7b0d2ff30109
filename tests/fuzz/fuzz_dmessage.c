/* The structure of messages: memory and file give the same, chunks lie inside their
 * source one behind the other from begin to end, and sections meet. */
#include "fuzz.h"

#include <dime/message.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int file = -1;

static void
write_file(const uint8_t *data, size_t size)
{
    if (file < 0)
        file = memfd_create("message", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, 0) != 0 ||
        pwrite(file, data, size, 0) != (ssize_t)size)
        abort();
}

static void
check_chunk(const struct dime_message *m, const struct dime_chunk *c)
{
    const struct dime_chunk *kept = dime_message_chunk(m, c->def->type);

    fuzz_require(c->def == dime_chunk_def(c->def->type));
    if (c->def->count == DIME_CHUNK_MANY || c->def->type == DIME_CHUNK_EPHEMERAL)
        fuzz_require(kept == NULL);
    else
        fuzz_require(kept != NULL && kept->at == c->at && kept->size == c->size);
    fuzz_require((c->def->section >= DIME_SECTION_DISPLAY) == (c->at >= m->display));
    fuzz_require((c->def->section >= DIME_SECTION_ATTACHMENTS) ==
                 (c->at >= m->attached));
    fuzz_require((c->def->section >= DIME_SECTION_SIGNATURES) == (c->at >= m->signs));
}

static void
walk(const struct dime_message *m, const struct dime_message *other)
{
    uint64_t at = m->begin, other_at = m->begin, before = m->begin;
    struct dime_chunk c, d;
    uint32_t n = 0;
    kd_err err;

    while (dime_message_next(m, &at, m->end, &c, &err)) {
        fuzz_require(c.at == before && at == dime_chunk_end(&c) && at <= m->source.n);
        fuzz_require(dime_message_next(other, &other_at, m->end, &d, &err));
        fuzz_require(d.def == c.def && d.at == c.at && d.size == c.size);
        check_chunk(m, &c);
        before = at;
        n++;
    }
    fuzz_require(err == KD_OK && at == m->end && n == m->n_chunks);
    fuzz_require(m->end == m->source.n && m->n_display > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dime_source memory = dime_source_of(kd_slice(data, size));
    struct dime_source other;
    struct dime_message m, n;
    enum dime_flaw why, other_why;

    write_file(data, size);
    other = dime_source_file(file, size);
    fuzz_begin(size);
    kd_err err = dime_message_parse(&memory, DIME_MESSAGE_MAX, &m, &why);
    kd_err other_err = dime_message_parse(&other, DIME_MESSAGE_MAX, &n, &other_why);
    fuzz_require(err == KD_OK || err == KD_MALFORMED || err == KD_TOO_LARGE);
    fuzz_require(err == other_err && why == other_why);
    fuzz_require((err == KD_OK) == (why == DIME_FLAW_NONE));
    fuzz_require(dime_object_magic(&memory) == dime_object_magic(&other));
    if (err == KD_OK) {
        fuzz_require(dime_object_magic(&memory) == DIME_MAGIC_MESSAGE);
        walk(&m, &n);
    }
    fuzz_require(fuzz_heap_peak() == 0);
    fuzz_end();
    return 0;
}
