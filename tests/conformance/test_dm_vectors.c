/* Messages of libdime and of an independent writer, opened in every role: keys and
 * plaintexts are those of the traces, verdicts those of the decisions. */
#include "dmr.h"
#include "sg.h"
#include "test.h"

#include <dime/dkey.h>
#include <keyd/base/be.h>
#include <keyd/base/secret.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { REGION = 1 << 16 };

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

static void
open_file(const char *name, enum dime_actor actor)
{
    char path[128];

    snprintf(path, sizeof path, "libdime/%s.bin", name);
    struct kd_slice octets = sg_file(path);
    /* of exactly their size, for memory checkers */
    uint8_t *copy = malloc(octets.n);
    assert_non_null(copy);
    memcpy(copy, octets.p, octets.n);
    struct kd_slice exact = kd_slice(copy, octets.n);
    struct dime_source source = dime_source_of(exact);
    dmr_open(&source, 0, actor, scalars[actor], &keys, &opened);
    opened.m.source.p = NULL; /* nothing below reads it */
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

/* Of a payload the library gives out data, size and flags. */
static void
check_plaintext(const struct trace *t, const struct dime_message *m,
                const struct dime_chunk *c, const struct dime_chunk_key *key)
{
    uint8_t octets[1 << 15], sig[64];
    const char *word = strstr(t->line, "plaintext: ");
    size_t n;

    assert_non_null(word);
    assert_int_equal(sodium_hex2bin(octets, sizeof octets, word + 11, strlen(word + 11),
                                    NULL, &n, NULL),
                     0);
    assert_int_equal(n, c->size);
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
    if (octets[67] == 0) {
        assert_int_equal(dime_payload_open(m, c, key, keys.author, &p, &data), KD_OK);
        assert_int_equal(data.n, p.size);
        assert_memory_equal(data.p, octets + 69, p.size);
    }
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
        snprintf(path, sizeof path, "libdime/%s.bin", verdicts[i].file);
        struct kd_slice octets = sg_file(path);
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
    assert_int_equal(n_traces, 18);
    assert_true(n_chunks > 18 * 4 * 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_gets_the_verdict_of_the_decisions),
        cmocka_unit_test(keys_and_plaintexts_are_those_of_the_traces),
    };

    return cmocka_run_group_tests(tests, load_keys, NULL);
}
