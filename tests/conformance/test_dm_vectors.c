/* Messages of libdime and of an independent writer, opened in every role: keys and
 * plaintexts are those of the traces, verdicts those of the decisions. */
#include "dmr.h"
#include "dmw.h"
#include "fuzz.h"
#include "test.h"

#include <dime/common.h>
#include <dime/dkey.h>
#include <dime/envelope.h>
#include <dime/fingerprint.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { REGION = 1 << 16, N_TRACES = 18 };

/* Alice writes from orga to Bob at orgb. */
static uint8_t scalars[DIME_ACTOR_COUNT][32];
static struct dmr_keys keys;
static struct dmr opened;

static int
load_keys(void **state)
{
    static const char *const files[DIME_ACTOR_COUNT] = {"alice", "orga", "orgb", "bob"};

    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        char name[64];
        struct dime_dkey *key;
        snprintf(name, sizeof name, "libdime/signets/%s.key", files[i]);
        struct kd_slice file = sg_file(name);
        assert_int_equal(dime_dkey_load(file, &key, NULL), KD_OK);
        memcpy(scalars[i], key->scalar, 32);
        if (i == DIME_AUTHOR)
            memcpy(keys.author, key->sign_pk, 32);
        if (i == DIME_ORIGIN)
            memcpy(keys.org[keys.n_org++], key->sign_pk, 32);
        dime_dkey_free(key);
        sg_free(file);
    }
    return 0;
}

static struct kd_slice
read_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "libdime/%s.bin", name);
    return sg_file(path);
}

static void
open_octets(struct kd_slice octets, enum dime_actor actor)
{
    struct dime_source source = dime_source_of(octets);

    dmr_open(&source, 0, actor, scalars[actor], &keys, &opened);
    opened.m.source.p = NULL; /* nothing else reads it */
}

static void
open_file(const char *name, enum dime_actor actor)
{
    struct kd_slice octets = read_file(name);
    /* of exactly their size, for memory checkers */
    uint8_t *copy = malloc(octets.n);

    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    open_octets(kd_slice(copy, octets.n), actor);
    free(copy);
    sg_free(octets);
}

/* --- verdicts --- */

#define MESSAGES "messages/"
#define INDEPENDENT "independent/"
#define MALFORMED "malformed/messages/"

/* accepts: A author, O origin, D destination, R recipient; good and corrupt: parts as
 * author and recipient see them; v: verdicts of 225, 226, 248, 249, 255 as the
 * recipient has them, one letter each: G good, L legacy, B bad, - absent. Of the texts
 * of envelope and common headers nothing is said here. */
static const struct {
    const char *file, *accepts;
    enum dime_flaw flaw;
    size_t good, corrupt;
    const char *v;
} verdicts[] = {
    {MESSAGES "m1.author", "AO", DIME_FLAW_NONE, 1, 0, "LGBBB"},
    {MESSAGES "m1.flags0", "AODR", DIME_FLAW_NONE, 1, 0, "LG-BG"},
    {MESSAGES "m1.flags1", "AODR", DIME_FLAW_NONE, 1, 0, "LGGBG"},
    {MESSAGES "m1.flags2", "AODR", DIME_FLAW_NONE, 1, 0, "LG-GG"},
    {MESSAGES "m1.nobounce", "AODR", DIME_FLAW_NONE, 1, 0, "LG--G"},
    {MESSAGES "m1.signed", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MESSAGES "m1.traced", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MESSAGES "m2.author", "AO", DIME_FLAW_NONE, 3, 0, "LGBBB"},
    {MESSAGES "m2.signed", "AODR", DIME_FLAW_NONE, 3, 0, "LGGGG"},
    {MESSAGES "m3.author", "AO", DIME_FLAW_NONE, 4, 0, "LGBBB"},
    {MESSAGES "m3.signed", "AODR", DIME_FLAW_NONE, 4, 0, "LGGGG"},
    {MESSAGES "m4.author", "AO", DIME_FLAW_NONE, 1, 0, "LGBBB"},
    {MESSAGES "m4.signed", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {INDEPENDENT "i1.minimal", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {INDEPENDENT "i2.nobounce", "AODR", DIME_FLAW_NONE, 1, 0, "LG--G"},
    {INDEPENDENT "i6.minpad", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {INDEPENDENT "i8.gzip", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {INDEPENDENT "i10.reserved-flag", "AODR", DIME_FLAW_NONE, 0, 1, "LGGGG"},
    {MALFORMED "chunk-len-unaligned", "", DIME_FLAW_PAYLOAD_SIZE, 0, 0, ""},
    {MALFORMED "common-dup", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "common-nosubject", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "common-unknown", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "dos-display-count", "AODR", DIME_FLAW_NONE, 401, 0, "LGGGG"},
    {MALFORMED "dos-envelope-oob", "O", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "dup-orgsig", "", DIME_FLAW_REPEATED, 0, 0, ""},
    {MALFORMED "empty", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "env-short-origin", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "env-wrongfp", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "env-wrongorigin", "AODR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "eph-32", "", DIME_FLAW_PAYLOAD_SIZE, 0, 0, ""},
    {MALFORMED "eph-badpoint", "", DIME_FLAW_EPHEMERAL, 0, 0, ""},
    {MALFORMED "eph-infinity", "", DIME_FLAW_EPHEMERAL, 0, 0, ""},
    {MALFORMED "eph-prefix4", "", DIME_FLAW_EPHEMERAL, 0, 0, ""},
    {MALFORMED "flip-destination-payload", "", DIME_FLAW_NONE, 1, 0, "BBBBB"},
    {MALFORMED "flip-display-payload", "", DIME_FLAW_NONE, 0, 1, "BBGBB"},
    {MALFORMED "flip-display-recipient-slot", "", DIME_FLAW_NONE, 0, 1, "BBGBB"},
    {MALFORMED "flip-orgsig-destination-slot", "AOR", DIME_FLAW_NONE, 1, 0, "LGGGG"},
    {MALFORMED "flip-orgsig-payload", "AO", DIME_FLAW_NONE, 1, 0, "LGGGB"},
    {MALFORMED "flip-origin-payload", "", DIME_FLAW_NONE, 1, 0, "BBBBB"},
    {MALFORMED "flip-tree-payload", "", DIME_FLAW_NONE, 1, 0, "BBGGB"},
    {MALFORMED "in-chunksig", "AODR", DIME_FLAW_NONE, 0, 1, "LGGGG"},
    {MALFORMED "in-datalen-zero", "OD", DIME_FLAW_NONE, 0, 1, "LGGGG"},
    {MALFORMED "in-padbyte", "AODR", DIME_FLAW_NONE, 0, 1, "LGGGG"},
    {MALFORMED "magic", "", DIME_FLAW_MAGIC, 0, 0, ""},
    {MALFORMED "missing-destination", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "missing-display", "", DIME_FLAW_NO_DISPLAY, 0, 0, ""},
    {MALFORMED "missing-ephemeral", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "missing-headers", "", DIME_FLAW_NONE, 1, 0, "BBBBB"},
    {MALFORMED "missing-origin", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "missing-tree", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "order-sig-first", "", DIME_FLAW_MISSING, 0, 0, ""},
    {MALFORMED "order-swap-meta", "", DIME_FLAW_ORDER, 0, 0, ""},
    {MALFORMED "short4", "", DIME_FLAW_SHORT, 0, 0, ""},
    {MALFORMED "size-minus1", "", DIME_FLAW_LENGTH, 0, 0, ""},
    {MALFORMED "size-plus1", "", DIME_FLAW_LENGTH, 0, 0, ""},
    {MALFORMED "trailing", "", DIME_FLAW_CUT, 0, 0, ""},
    {MALFORMED "unknown-chunk6", "", DIME_FLAW_TYPE, 0, 0, ""},
};

static char
letter(enum dime_message_verdict v)
{
    static const char letters[] = {[DIME_VERDICT_NOT_ASKED] = '-',
                                   [DIME_VERDICT_GOOD] = 'G',
                                   [DIME_VERDICT_LEGACY] = 'L',
                                   [DIME_VERDICT_BAD] = 'B'};

    return letters[v];
}

/* An author whose own keyslots are as they were may see what the recipient cannot. */
static void
check_content(size_t i, enum dime_actor actor)
{
    if (actor == DIME_ORIGIN || actor == DIME_DESTINATION) {
        assert_int_equal(opened.walked, KD_DENIED);
        return;
    }
    if (actor == DIME_AUTHOR && !dmr_accepts(&opened))
        return;
    if (opened.n_good != verdicts[i].good || opened.n_corrupt != verdicts[i].corrupt)
        fail_msg("%s: %zu good parts, %zu corrupt", verdicts[i].file, opened.n_good,
                 opened.n_corrupt);
}

static void
check_file(size_t i, enum dime_actor actor)
{
    bool accepts = strchr(verdicts[i].accepts, "AODR"[actor]) != NULL;
    const struct dime_verdicts *v = &opened.verdicts;

    if (opened.flaw != verdicts[i].flaw)
        fail_msg("%s: %s", verdicts[i].file, dime_flaw_name(opened.flaw));
    if (dmr_accepts(&opened) != accepts)
        fail_msg("%s: the %s says otherwise", verdicts[i].file, dime_actor_name(actor));
    if (opened.parsed != KD_OK)
        return;
    check_content(i, actor);
    const char got[] = {
        letter(v->tree),           letter(v->author),       letter(v->metadata_bounce),
        letter(v->display_bounce), letter(v->organization), 0};
    if (actor == DIME_RECIPIENT && strcmp(got, verdicts[i].v) != 0)
        fail_msg("%s: verdicts %s", verdicts[i].file, got);
}

static void
every_message_gets_the_verdict_of_the_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(verdicts); i++)
        for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++) {
            open_file(verdicts[i].file, (enum dime_actor)a);
            check_file(i, (enum dime_actor)a);
            dmr_free(&opened);
        }
}

/* --- that nothing is left out --- */

/* What is put into messages, and lies beside them. */
static bool
is_ingredient(const char *name)
{
    return strncmp(name, "attach", 6) == 0 || strncmp(name, "display", 7) == 0;
}

/* How many lines of the table are of the file, named without its ending. */
static size_t
lines_of(const char *folder, const char *name, size_t n_name)
{
    size_t n_folder = strlen(folder), n = 0;

    for (size_t i = 0; i < LEN(verdicts); i++) {
        const char *file = verdicts[i].file;
        n += strncmp(file, folder, n_folder) == 0 &&
             strlen(file + n_folder) == n_name &&
             memcmp(file + n_folder, name, n_name) == 0;
    }
    return n;
}

/* Each file of a folder has its line in the table, under one of the folders. */
static size_t
count_files(const char *from, const char *ending, const char *const *folders, size_t n)
{
    char path[1024];
    struct dirent *entry;
    size_t n_files = 0;

    snprintf(path, sizeof path, "%s/libdime/%s", KEYD_VECTORS, from);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t size = strlen(entry->d_name), lines = 0, cut = strlen(ending);
        if (size <= cut || strcmp(entry->d_name + size - cut, ending) != 0 ||
            is_ingredient(entry->d_name))
            continue;
        for (size_t i = 0; i < n; i++)
            lines += lines_of(folders[i], entry->d_name, size - cut);
        if (lines != 1)
            fail_msg("%s has %zu lines in the table", entry->d_name, lines);
        n_files++;
    }
    closedir(dir);
    return n_files;
}

static void
every_file_has_its_verdict_and_every_trace_its_message(void **state)
{
    static const char *const folders[] = {MESSAGES, INDEPENDENT, MALFORMED};
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < LEN(folders); i++)
        n += count_files(folders[i], ".bin", &folders[i], 1);
    assert_int_equal(n, LEN(verdicts)); /* and every line its file */
    assert_int_equal(count_files(MESSAGES "traces", ".trace.txt", folders, 2),
                     N_TRACES);
}

/* --- the texts --- */

/* Chunks 4, 5 and 33 as the recipient reads them, those aside that are good and name
 * Alice at orga, Bob at orgb and their signets. Where libdime's vectors name others,
 * the fingerprints have 4 characters, which D-110 refuses before anybody compares.
 * Names of a good text are compared by its reader, who has the signets (D-086 to
 * D-089). */
enum text { AS_ALICE_WROTE, OTHER_NAMES, NO_TEXT, NOT_OPENED };

static const struct {
    const char *file;
    enum text origin, destination, common;
} texts[] = {
    {MALFORMED "common-dup", 0, 0, NO_TEXT},
    {MALFORMED "common-unknown", 0, 0, NO_TEXT},
    {MALFORMED "dos-envelope-oob", 0, NOT_OPENED, 0},
    {MALFORMED "env-short-origin", NO_TEXT, 0, 0},
    {MALFORMED "env-wrongfp", 0, NO_TEXT, 0}, /* of 4 characters */
    {MALFORMED "env-wrongorigin", 0, NO_TEXT, 0},
    {MALFORMED "flip-destination-payload", 0, NOT_OPENED, 0},
    {MALFORMED "flip-origin-payload", NOT_OPENED, 0, 0},
};

/* Whether it is a fingerprint of the signet, of its core or of all of it (D-111). */
static bool
is_fingerprint_of(struct kd_slice text, const char *who)
{
    static const enum dime_part parts[] = {DIME_PART_CORE, DIME_PART_FULL};
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char name[64], chars[DIME_FINGERPRINT_CHARS + 1];
    struct dime_signet signet;
    enum dime_reason why;
    bool is_one = false;

    snprintf(name, sizeof name, "libdime/signets/%s.full.signet.bin", who);
    struct kd_slice octets = sg_file(name);
    assert_int_equal(dime_signet_parse(octets, &signet, &why), KD_OK);
    for (size_t i = 0; i < LEN(parts); i++) {
        assert_int_equal(dime_fingerprint(&signet, parts[i], fp), KD_OK);
        dime_fingerprint_text(fp, chars);
        is_one |= kd_slice_eq(text, kd_slice_str(chars));
    }
    sg_free(octets);
    return is_one;
}

static enum text
read_envelope(uint8_t type, const char *address, const char *who, const char *domain,
              const char *org)
{
    struct dime_envelope e;

    if (opened.opened[type] != KD_OK)
        return NOT_OPENED;
    if (dime_envelope_parse(type == DIME_CHUNK_ORIGIN ? DIME_ENVELOPE_ORIGIN
                                                      : DIME_ENVELOPE_DESTINATION,
                            kd_buf_slice(&opened.text[type]), &e) != KD_OK)
        return NO_TEXT;
    bool names = kd_slice_eq(e.address, kd_slice_str(address)) &&
                 kd_slice_eq(e.domain, kd_slice_str(domain)) &&
                 is_fingerprint_of(e.address_fp, who) &&
                 is_fingerprint_of(e.domain_fp, org);
    return names ? AS_ALICE_WROTE : OTHER_NAMES;
}

static enum text
read_common(void)
{
    struct dime_common_headers h;

    if (opened.opened[DIME_CHUNK_COMMON] != KD_OK)
        return NOT_OPENED;
    return dime_common_parse(kd_buf_slice(&opened.text[DIME_CHUNK_COMMON]), &h) == KD_OK
               ? AS_ALICE_WROTE
               : NO_TEXT;
}

static void
check_texts(const char *file)
{
    enum text want[3] = {AS_ALICE_WROTE, AS_ALICE_WROTE, AS_ALICE_WROTE};
    const enum text got[3] = {read_envelope(DIME_CHUNK_ORIGIN, "alice@orga.example",
                                            "alice", "orgb.example", "orgb"),
                              read_envelope(DIME_CHUNK_DESTINATION, "bob@orgb.example",
                                            "bob", "orga.example", "orga"),
                              read_common()};

    for (size_t i = 0; i < LEN(texts); i++)
        if (strcmp(texts[i].file, file) == 0) {
            want[0] = texts[i].origin;
            want[1] = texts[i].destination;
            want[2] = texts[i].common;
        }
    for (size_t i = 0; i < 3; i++)
        if (got[i] != want[i])
            fail_msg("%s: text %zu is %u, not %u", file, i, got[i], want[i]);
}

static void
texts_are_good_and_name_who_they_should_or_are_refused(void **state)
{
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < LEN(verdicts); i++) {
        open_file(verdicts[i].file, DIME_RECIPIENT);
        if (opened.parsed == KD_OK) {
            check_texts(verdicts[i].file);
            n++;
        }
        dmr_free(&opened);
    }
    assert_int_equal(n, 18 + 19);
}

/* --- cost --- */

/* What is held of a message is what was taken out of it here and the pieces that are
 * read at a time (dime/payload.h). Among them are two that make libdime write and read
 * outside of its blocks, and end. */
static void
all_cost_little_memory_and_time_for_everybody(void **state)
{
    enum { PIECES = 128 << 10, SECONDS = 5 };

    (void)state;
    for (size_t i = 0; i < LEN(verdicts); i++)
        for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++) {
            struct kd_slice octets = read_file(verdicts[i].file);
            clock_t before = clock();
            fuzz_begin(octets.n);
            open_octets(octets, (enum dime_actor)a);
            size_t heap = fuzz_heap_peak();
            double seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
            dmr_free(&opened);
            if (heap > octets.n + PIECES || seconds > SECONDS)
                fail_msg("%s: %zu octets, %.2f s", verdicts[i].file, heap, seconds);
            if (strstr(verdicts[i].file, "dos-") != NULL)
                printf("%s for the %s: %zu octets of %zu, %.0f ms\n", verdicts[i].file,
                       dime_actor_name((enum dime_actor)a), heap, octets.n,
                       seconds * 1000);
            sg_free(octets);
        }
}

/* --- traces --- */

struct trace {
    FILE *f;
    char line[1 << 16];
};

static bool
next_line(struct trace *t)
{
    if (fgets(t->line, sizeof t->line, t->f) == NULL)
        return false;
    t->line[strcspn(t->line, "\n")] = 0;
    assert_true(strlen(t->line) < sizeof t->line - 1);
    return true;
}

/* The hexadecimal word behind name equals the octets. */
static void
check_word(const struct trace *t, const char *name, const void *want, size_t n)
{
    uint8_t octets[1 << 15];
    const char *end, *word = strstr(t->line, name);
    size_t got;

    assert_non_null(word);
    word += strlen(name);
    assert_int_equal(
        sodium_hex2bin(octets, sizeof octets, word, strlen(word), NULL, &got, &end), 0);
    assert_true(*end == 0 || *end == ' ');
    assert_int_equal(got, n);
    assert_memory_equal(octets, want, n);
}

static enum dime_actor
actor_named(const char *name)
{
    for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++)
        if (strcmp(name, dime_actor_name((enum dime_actor)a)) == 0)
            return (enum dime_actor)a;
    fail_msg("%s is nobody", name);
    return DIME_ACTOR_COUNT;
}

static kd_err
keep(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return ((struct kd_buf *)ctx)->err;
}

/* Of a payload the library gives out data, size and flags; all of it is what the
 * trace's plaintext is under the trace's key, sealed here without the library. */
static void
check_plaintext(const struct trace *t, const struct dime_message *m,
                const struct dime_chunk *c, const struct dime_chunk_key *key)
{
    uint8_t octets[1 << 15], sealed[1 << 15], sig[64];
    const char *word = strstr(t->line, "plaintext: ");
    size_t n;

    assert_non_null(word);
    assert_int_equal(sodium_hex2bin(octets, sizeof octets, word + 11, strlen(word + 11),
                                    NULL, &n, NULL),
                     0);
    assert_int_equal(n, c->size);
    struct dmw_key same;
    memcpy(same.iv, key->iv, sizeof same.iv);
    memcpy(same.key, key->key, sizeof same.key);
    dmw_seal(&same, kd_slice(octets, n), sealed);
    assert_memory_equal(sealed, m->source.p + dime_chunk_payload(c), n);
    if (c->def->form == DIME_FORM_SIGNATURE) {
        assert_int_equal(dime_signature_open(m, c, key, sig), KD_OK);
        assert_memory_equal(sig, octets, 64);
        return;
    }
    struct dime_payload p;
    struct kd_buf data;
    bool more;
    kd_buf_init(&data, 1 << 16);
    kd_err err = dime_payload_check(m, c, key, keys.author, &p, &more);
    if ((octets[67] & 0x78) != 0) { /* i10 */
        assert_int_equal(err, KD_INVALID);
        return;
    }
    assert_int_equal(err, KD_OK);
    assert_int_equal(p.flags, octets[67]);
    assert_int_equal(p.size, kd_be24(octets + 64));
    assert_int_equal(dime_payload_read(m, c, key, &p, keep, &data), KD_OK);
    assert_int_equal(data.n, p.size);
    assert_memory_equal(data.p, octets + 69, p.size);
    kd_buf_free(&data);
}

static size_t
check_actor(struct trace *t, const struct dime_message *m)
{
    enum dime_actor actor = actor_named(t->line + 7);
    struct dime_kek *kek = kd_secret_new(sizeof *kek);
    struct dime_chunk_key *key = kd_secret_new(sizeof *key);
    struct dime_chunk c;
    size_t n = 0;
    kd_err err;

    assert_true(kek != NULL && key != NULL);
    assert_int_equal(dime_kek_agree(scalars[actor], m->ephemeral, kek), KD_OK);
    assert_true(next_line(t));
    check_word(t, "kek-iv: ", kek->iv, 16);
    assert_true(next_line(t));
    check_word(t, "kek-key: ", kek->key, 32);
    for (uint64_t at = m->begin; dime_message_next(m, &at, m->end, &c, &err); n++) {
        unsigned type, size, serial;
        assert_true(next_line(t));
        assert_int_equal(sscanf(t->line, "chunk type=%u payload=%u serial=%u", &type,
                                &size, &serial),
                         3);
        assert_int_equal(type, c.def->type);
        assert_int_equal(size, c.size);
        assert_int_equal(serial, dime_chunk_end(&c) - c.at);
        int slot = dime_chunk_slot(c.def, actor);
        if (c.def->form == DIME_FORM_CLEAR) {
            assert_true(next_line(t));
            check_word(t, "payload: ", m->ephemeral, sizeof m->ephemeral);
            continue;
        }
        err = dime_chunk_key_of(m, &c, actor, kek, key);
        assert_int_equal(err, slot < 0 ? KD_DENIED : KD_OK);
        if (slot < 0)
            continue;
        assert_true(next_line(t));
        char want[32];
        snprintf(want, sizeof want, "  slot: %d ", slot + 1);
        assert_memory_equal(t->line, want, strlen(want));
        check_word(t, "iv: ", key->iv, 16);
        check_word(t, "key: ", key->key, 32);
        assert_true(next_line(t));
        check_plaintext(t, m, &c, key);
    }
    assert_int_equal(err, KD_OK);
    kd_secret_free(kek, sizeof *kek);
    kd_secret_free(key, sizeof *key);
    return n;
}

/* T-DM-2 and T-DM-3 of other people: KEKs, chunk keys and plaintexts of all roles. */
static void
keys_and_plaintexts_are_those_of_the_traces(void **state)
{
    static struct trace t;
    size_t n_traces = 0, n_chunks = 0;

    (void)state;
    for (size_t i = 0; i < LEN(verdicts); i++) {
        const char *slash = strchr(verdicts[i].file, '/');
        char path[512];
        snprintf(path, sizeof path, "%s/libdime/messages/traces/%s.trace.txt",
                 KEYD_VECTORS, slash + 1);
        if (strncmp(verdicts[i].file, "malformed", 9) == 0)
            continue;
        assert_non_null(t.f = fopen(path, "r"));
        struct kd_slice octets = read_file(verdicts[i].file);
        struct dime_source source = dime_source_of(octets);
        struct dime_message m;
        assert_int_equal(dime_message_parse(&source, DIME_MESSAGE_MAX, &m, NULL),
                         KD_OK);
        size_t n_actors = 0;
        while (next_line(&t)) {
            if (strncmp(t.line, "actor: ", 7) != 0)
                fail_msg("%s: %s", path, t.line);
            n_chunks += check_actor(&t, &m);
            n_actors++;
        }
        assert_int_equal(n_actors, DIME_ACTOR_COUNT);
        fclose(t.f);
        sg_free(octets);
        n_traces++;
    }
    assert_int_equal(n_traces, N_TRACES);
    assert_true(n_chunks > N_TRACES * 4 * 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_gets_the_verdict_of_the_decisions),
        cmocka_unit_test(every_file_has_its_verdict_and_every_trace_its_message),
        cmocka_unit_test(texts_are_good_and_name_who_they_should_or_are_refused),
        cmocka_unit_test(all_cost_little_memory_and_time_for_everybody),
        cmocka_unit_test(keys_and_plaintexts_are_those_of_the_traces),
    };

    return cmocka_run_group_tests(tests, load_keys, NULL);
}
