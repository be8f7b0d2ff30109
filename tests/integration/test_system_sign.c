/* SignOutbound on a running daemon: what the organization signs is octet for octet what
 * the specification's vectors have, and it signs nothing else (T-OP-6 to 11, 24, 26;
 * T-SG-85). Messages are written, and judged, by code that is not keyd's. */
#include "letter.h"
#include "mailw.h"
#include "post_tls.h"
#include "scale.h"
#include "suite.h"
#include "test.h"

#include <dime/fingerprint.h>
#include <dime/message.h>
#include <keyd/base/clock.h>

#include <poll.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    INLINE_MAX = 40960,
    MESSAGE_MAX = 64 << 20,
    GRACE_S = 4,
    RETENTION_S = 4,
    RETENTION_LEAST_S = 1987200,
};

static struct post com;
static struct dmw blank, whole;

static int
clear(void **state)
{
    (void)state;
    dmw_free(&blank);
    dmw_free(&whole);
    return 0;
}

/* --- messages --- */

/* The message as its author leaves it, and as it is when all have signed. */
static void
write_both(struct dmw_recipe r)
{
    dmw_free(&blank);
    dmw_free(&whole);
    r.placeholders = true;
    dmw_message(&blank, &r);
    r.placeholders = false;
    dmw_message(&whole, &r);
    assert_int_equal(blank.out.n, whole.out.n);
}

static struct kd_slice
of(const struct dmw *w)
{
    return kd_buf_slice(&w->out);
}

/* SHA-256 of what the signature of a type covers in a complete message. */
static void
digest_of(const struct dmw *w, uint8_t type, uint8_t out[32])
{
    uint8_t last = type == 248 ? 34 : type == 249 ? 67 : 254;
    size_t end = 0;

    for (size_t i = 0; i < w->n; i++)
        if (w->chunks[i].type <= last)
            end = w->chunks[i].end;
    crypto_hash_sha256(out, w->out.p + 6, end - 6);
}

static void
is_recorded(struct post *p, uint64_t after, const struct dmw *w, unsigned notes)
{
    struct kd_audit_record r = post_record(p, after);
    uint8_t want[3][32];
    size_t n = 0;
    bool has_bounces = false;

    for (size_t i = 0; i < w->n; i++)
        has_bounces = has_bounces || w->chunks[i].type == 248;
    if (has_bounces) {
        digest_of(w, 248, want[n++]);
        digest_of(w, 249, want[n++]);
    }
    digest_of(w, 255, want[n++]);
    assert_int_equal(r.op, KD_AUDIT_SIGN_OUTBOUND);
    assert_int_equal(r.outcome, KD_OUTCOME_DONE);
    assert_int_equal(r.notes, notes);
    assert_int_equal(r.n_digests, n);
    assert_memory_equal(r.digests, want, n * 32);
    assert_memory_equal(r.key_id, p->signer, 16);
}

/* Both have been written: what is signed makes the one the other. */
static void
signs(struct post *p, keyd_client *c, const char *account, const uint8_t *origin_fp,
      unsigned notes)
{
    uint64_t before = post_seq(p);
    struct keyd_answer *a = post_sign(c, account, "example.org", origin_fp, of(&blank));

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    assert_int_equal(a->out.outbound.author_grace, (notes & KD_NOTE_AUTHOR_GRACE) != 0);
    post_complete(blank.out.p, blank.out.n, a);
    assert_memory_equal(blank.out.p, whole.out.p, whole.out.n);
    keyd_client_answer_free(a);
    is_recorded(p, before, &whole, notes);
}

/* A key was used, and for nothing: one record, which says so. */
static void
refuses_as(const char *account, const char *destination, struct kd_slice message)
{
    uint64_t before = post_seq(&com);

    post_sign_ends(com.submit, account, destination, NULL, message, KEYD_INVALID,
                   "message-refused");
    struct kd_audit_record r = post_record(&com, before);
    assert_int_equal(r.op, KD_AUDIT_SIGN_OUTBOUND);
    assert_int_equal(r.outcome, KD_OUTCOME_FAILED);
    assert_int_equal(r.n_digests, 0);
}

static void
refuses(struct kd_slice message)
{
    refuses_as("alice@example.com", "example.org", message);
}

/* No key was used, so there is no record. */
static void
refuses_before(const char *account, const char *destination, const uint8_t *origin_fp,
               struct kd_slice message, enum keyd_status status, const char *detail)
{
    uint64_t before = post_seq(&com);

    post_sign_ends(com.submit, account, destination, origin_fp, message, status,
                   detail);
    assert_int_equal(post_records(&com, before, NULL, 0), 0);
}

/* --- what is signed --- */

/* T-OP-6 */
static void
T_OP_6_chunks_248_249_and_255_are_as_in_MSG_octet_for_octet(void **state)
{
    struct kd_slice msg = mailw_msg();
    size_t n = 0;
    uint8_t *octets = mailw_blank_msg(&n);
    uint8_t fp[64];

    (void)state;
    assert_memory_not_equal(octets, msg.p, msg.n);
    struct keyd_answer *a = post_sign(com.submit, "alice@example.com", "example.org",
                                      com.full, kd_slice(octets, n));
    assert_int_equal(a->status, KEYD_OK);
    post_complete(octets, n, a);
    assert_memory_equal(octets, msg.p, msg.n);
    assert_false(a->out.outbound.author_grace);
    assert_int_equal(dime_fingerprint_read(
                         kd_slice_str("yWLf0Wu7vkidYS9f+bIkDfGFOUu0thmC9+tUnjmz6VNfPF8r"
                                      "rE85lzgqUpm+5d45HV8551aJssAXgG+s+5lc5g"),
                         fp),
                     KD_OK);
    assert_int_equal(a->out.outbound.destination_fp.n, 64);
    assert_memory_equal(a->out.outbound.destination_fp.p, fp, 64);
    keyd_client_answer_free(a);
    free(octets);
}

static void
T_OP_6_messages_of_other_shapes_are_signed_and_recorded(void **state)
{
    static uint8_t text[50000];
    const struct dmw_chunk parts[] = {
        {.type = 67, .data = {text, 3000}},
        {.type = 67, .data = {text, sizeof text}, .by = &sg_world()->alice},
        {.type = 131, .data = {text, 17}}};
    const struct dmw_recipe recipes[] = {{.seed = 1},
                                         {.seed = 2, .no_bounces = true},
                                         {.seed = 3, .no_headers = true},
                                         {.seed = 4, .legacy_tree = true},
                                         {.contents = parts, .n_contents = 1},
                                         {.contents = parts, .n_contents = 3}};

    (void)state;
    for (size_t i = 0; i < LEN(recipes); i++) {
        write_both(recipes[i]);
        signs(&com, com.submit, "alice@example.com", i % 2 == 0 ? com.full : NULL, 0);
    }
}

/* Ed25519 is deterministic: asked twice, the same; recorded twice. */
static void
a_message_signed_again_gets_the_same(void **state)
{
    (void)state;
    write_both((struct dmw_recipe){.seed = 5});
    signs(&com, com.submit, "alice@example.com", NULL, 0);
    write_both((struct dmw_recipe){.seed = 5});
    signs(&com, com.submit, "alice@example.com", NULL, 0);
}

/* The last message that travels in a request and the first that does not; sizes of
 * messages are odd, so what is of the limit's size is none. */
static void
T_OP_5_on_both_sides_of_the_limit_for_inline_messages_it_is_the_same(void **state)
{
    static uint8_t text[INLINE_MAX];
    struct dmw_chunk part = {.type = 67, .data = {text, 16}};
    const struct dmw_recipe r = {.contents = &part, .n_contents = 1};

    (void)state;
    write_both(r);
    part.data.n += (INLINE_MAX - blank.out.n) / 16 * 16;
    for (size_t i = 0; i < 2; i++) {
        write_both(r);
        assert_in_range(blank.out.n, INLINE_MAX - 16 + 16 * i, INLINE_MAX - 1 + 16 * i);
        signs(&com, com.submit, "alice@example.com", NULL, 0);
        part.data.n += 16;
    }
    for (size_t n = INLINE_MAX - 1; n <= INLINE_MAX; n++)
        refuses_before("alice@example.com", "example.org", NULL, kd_slice(text, n),
                       KEYD_INVALID, "message-corrupt");
}

/* --- what is not --- */

/* T-OP-7 */
static void
T_OP_7_nobody_has_anothers_message_signed(void **state)
{
    struct post_person mallory;

    (void)state;
    post_issue(&com, "mallory@example.com", "mallory", 0, &mallory);
    write_both((struct dmw_recipe){.seed = 7});
    refuses_as("mallory@example.com", "example.org", of(&blank));
    /* who has no signet, or is of another organization, does not even get to a key */
    refuses_before("nobody@example.com", "example.org", NULL, of(&blank),
                   KEYD_NOT_FOUND, "no-signet");
    refuses_before("alice@example.net", "example.org", NULL, of(&blank),
                   KEYD_UNAVAILABLE, "no-org-signet");
    refuses_before("alice@example.edu", "example.org", NULL, of(&blank), KEYD_DENIED,
                   "not-permitted");
    refuses_before("Alice@example.com", "example.org", NULL, of(&blank), KEYD_INVALID,
                   NULL);
    signs(&com, com.submit, "alice@example.com", NULL, 0);
}

/* The author's name without his signature, and his signature under another's name. */
static void
T_OP_7_mallory_names_alice_or_signs_what_alice_names(void **state)
{
    struct post_person m;
    const size_t at = strlen("Author: <alice@example.com>\r\nAuthor-Signet: [");
    uint8_t alice[64], org[64] = {1};

    (void)state;
    post_issue(&com, "mallory@example.com", "mallory", 0, &m);
    assert_int_equal(
        dime_fingerprint_read(kd_slice((const uint8_t *)dmw_text(4) + at, 86), alice),
        KD_OK);
    const struct {
        const char *author;
        const uint8_t *fp;
        const struct sg_pair *by, *chunk_by;
    } lies[] = {{"alice@example.com", alice, &m.pair, &m.pair},
                {"alice@example.com", m.core, &m.pair, &m.pair},
                {"mallory@example.com", alice, &m.pair, &m.pair},
                {"mallory@example.com", alice, NULL, NULL},
                {"mallory@example.com", m.core, &m.pair, NULL},
                {"mallory@example.com", m.core, NULL, &m.pair}};
    for (size_t i = 0; i < LEN(lies); i++) {
        struct dmw_chunk c = post_envelope(
            4, post_origin_text(lies[i].author, lies[i].fp, "example.org", org));
        c.by = lies[i].chunk_by;
        write_both((struct dmw_recipe){.seed = 70 + i,
                                       .instead = &c,
                                       .tree_by = lies[i].by,
                                       .author_by = lies[i].by});
        refuses_as("mallory@example.com", "example.org", of(&blank));
        refuses_as("alice@example.com", "example.org", of(&blank));
    }
    /* all of it right */
    struct dmw_chunk c =
        post_envelope(4, post_origin_text(m.address, m.core, "example.org", org));
    c.by = &m.pair;
    write_both((struct dmw_recipe){
        .seed = 79, .instead = &c, .tree_by = &m.pair, .author_by = &m.pair});
    signs(&com, com.submit, m.address, NULL, 0);
}

/* T-OP-8 */
static void
T_OP_8_bad_signatures_of_the_author_are_refused(void **state)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *wrong[] = {&w->sok, &w->alice0, &w->bob, &w->pok};

    (void)state;
    for (size_t i = 0; i < LEN(wrong); i++) {
        write_both((struct dmw_recipe){.seed = 8, .author_by = wrong[i]}); /* 226 */
        refuses(of(&blank));
        write_both((struct dmw_recipe){.seed = 8, .tree_by = wrong[i]}); /* 225 */
        refuses(of(&blank));
    }
    /* every chunk, one bit: signed by nobody */
    write_both((struct dmw_recipe){.seed = 8});
    for (size_t i = 0; i < blank.n; i++) {
        const struct dmw_mark *m = &blank.chunks[i];
        if (m->type == 2)
            continue; /* another key: none of its chunks opens */
        blank.out.p[m->at + 4 + 20] ^= 4;
        refuses(of(&blank));
        blank.out.p[m->at + 4 + 20] ^= 4;
    }
    signs(&com, com.submit, "alice@example.com", NULL, 0);
}

/* A person of this chain writes under the signet of that step. */
static void
write_by(const struct post_person *p, uint64_t seed)
{
    static const uint8_t org[64] = {9};
    struct dmw_chunk c =
        post_envelope(4, post_origin_text(p->address, p->core, "example.org", org));

    c.by = &p->pair;
    write_both((struct dmw_recipe){
        .seed = seed, .instead = &c, .tree_by = &p->pair, .author_by = &p->pair});
}

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* clocks have to go on */
}

/* T-OP-8, T-SG-85 */
static void
T_OP_8_T_SG_85_a_superseded_signet_signs_within_the_grace_and_not_after(void **state)
{
    struct post_person first, second, third;

    (void)state;
    post_issue(&com, "carol@example.com", "carol", 0, &first);
    write_by(&first, 80);
    signs(&com, com.submit, first.address, NULL, 0);
    post_issue(&com, "carol@example.com", "carol", 1, &second);
    int64_t since = kd_clock_ms();
    write_by(&first, 81);
    signs(&com, com.submit, first.address, NULL, KD_NOTE_AUTHOR_GRACE);
    write_by(&second, 82);
    signs(&com, com.submit, first.address, NULL, 0);
    /* each key for what names its signet */
    second.pair = first.pair;
    write_by(&second, 83);
    refuses_as(first.address, "example.org", of(&blank));
    while (kd_clock_ms() <= since + GRACE_S * 1000)
        nap(50);
    write_by(&first, 84);
    refuses_as(first.address, "example.org", of(&blank));
    /* the grace runs from when it was superseded, not from the newest signet */
    post_issue(&com, "carol@example.com", "carol", 2, &third);
    refuses_as(first.address, "example.org", of(&blank));
    write_by(&third, 85);
    signs(&com, com.submit, first.address, NULL, 0);
}

/* T-SG-85: secrets of the encryption key pair used for signing. */
static void
T_SG_85_a_message_signed_with_the_encryption_key_is_refused(void **state)
{
    struct sg_pair pair;
    uint8_t scalar[32];
    char hex[65];

    (void)state;
    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test alice enc", 19);
    sodium_bin2hex(hex, sizeof hex, scalar, 32);
    pair = sg_pair_hex(hex);
    write_both((struct dmw_recipe){.seed = 86, .tree_by = &pair, .author_by = &pair});
    refuses(of(&blank));
    write_both((struct dmw_recipe){.seed = 86, .author_by = &pair});
    refuses(of(&blank));
}

/* T-OP-9 */
static void
T_OP_9_a_destination_that_is_not_the_stated_one_is_refused(void **state)
{
    static const char *const others[] = {"example.net", "example.com", "xexample.org",
                                         "example.or", "sub.example.org"};

    (void)state;
    write_both((struct dmw_recipe){.seed = 9});
    for (size_t i = 0; i < LEN(others); i++)
        refuses_as("alice@example.com", others[i], of(&blank));
    refuses_before("alice@example.com", "example.org.", NULL, of(&blank), KEYD_INVALID,
                   NULL);
    refuses_before("alice@example.com", "Example.org", NULL, of(&blank), KEYD_INVALID,
                   NULL);
    signs(&com, com.submit, "alice@example.com", NULL, 0);
}

/* T-OP-10 */
static void
T_OP_10_a_message_without_the_place_for_255_is_refused(void **state)
{
    (void)state;
    write_both((struct dmw_recipe){.seed = 10});
    size_t end = dmw_find(&blank, 255, 0)->at;
    blank.out.n = end;
    dmw_end(&blank);
    refuses_before("alice@example.com", "example.org", NULL, of(&blank), KEYD_INVALID,
                   "message-unsigned");
}

/* What somebody put into the places is not zeros, be it signatures of our own. */
static void
T_OP_10_places_that_are_taken_are_refused(void **state)
{
    (void)state;
    write_both((struct dmw_recipe){.seed = 11});
    refuses(of(&whole));
    for (uint8_t type = 248; type != 0; type = type == 248   ? 249
                                               : type == 249 ? 255
                                                             : 0) {
        const struct dmw_mark *m = dmw_find(&blank, type, 0);
        uint8_t kept[64], *at = blank.out.p + m->at + 4;
        memcpy(kept, at, 64);
        memcpy(at, whole.out.p + m->at + 4, 64);
        refuses(of(&blank));
        memcpy(at, kept, 64);
    }
    signs(&com, com.submit, "alice@example.com", NULL, 0);
}

/* T-OP-5 */
static void
T_OP_5_what_is_no_whole_message_is_refused_before_any_key(void **state)
{
    struct kd_slice org2 = kd_slice(com.signet, com.signet_size);
    uint8_t digest[64] = {1};

    (void)state;
    write_both((struct dmw_recipe){.seed = 12});
    struct kd_slice m = of(&blank);
    refuses_before("alice@example.com", "example.org", NULL, kd_slice(m.p, m.n - 1),
                   KEYD_INVALID, "message-corrupt");
    refuses_before("alice@example.com", "example.org", NULL, kd_slice(m.p, 5),
                   KEYD_INVALID, "message-corrupt");
    refuses_before("alice@example.com", "example.org", NULL,
                   kd_slice(digest, sizeof digest), KEYD_INVALID, "message-corrupt");
    refuses_before("alice@example.com", "example.org", NULL, org2, KEYD_INVALID,
                   "message-corrupt");
    kd_buf_u8(&blank.out, 0);
    refuses_before("alice@example.com", "example.org", NULL, of(&blank), KEYD_INVALID,
                   "message-corrupt");
}

static void
frozen_and_closed_accounts_get_nothing(void **state)
{
    struct post_person p;

    (void)state;
    post_issue(&com, "frozen@example.com", "frozen", 0, &p);
    write_by(&p, 13);
    post_account(&com, p.address, KEYD_ACCOUNT_FREEZE);
    refuses_before(p.address, "example.org", NULL, of(&blank), KEYD_DENIED,
                   "address-frozen");
    post_account(&com, p.address, KEYD_ACCOUNT_THAW);
    signs(&com, com.submit, p.address, NULL, 0);
    write_by(&p, 14);
    post_account(&com, p.address, KEYD_ACCOUNT_CLOSE);
    refuses_before(p.address, "example.org", NULL, of(&blank), KEYD_DENIED,
                   "address-closed");
}

static void
T_OP_27_no_other_class_has_messages_signed(void **state)
{
    keyd_client *const others[] = {com.admin, com.mta, com.milter};

    (void)state;
    write_both((struct dmw_recipe){.seed = 27});
    for (size_t i = 0; i < LEN(others); i++)
        post_sign_ends(others[i], "alice@example.com", "example.org", NULL, of(&blank),
                       KEYD_UNSUPPORTED, "operation-not-served");
}

/* --- keys --- */

/* message-signer = pok: then it, and no SOK. */
static void
the_primary_key_signs_messages_where_the_configuration_says_so(void **state)
{
    const struct post_options o = {.in_domain = " message-signer = pok"};
    struct post p;

    (void)state;
    post_start_com(&p, &o);
    p.signer = p.pok;
    write_both((struct dmw_recipe){.seed = 20, .org_by = &sg_world()->pok});
    signs(&p, p.submit, "alice@example.com", NULL, 0);
    post_end(&p);
}

/* Both keys are used: policy has to give both. */
static void
caller_without_the_encryption_key_or_the_signing_key_gets_nothing(void **state)
{
    static const char *const keys[] = {" keys = { \"sok\" }", " keys = { \"enc\" }"};

    (void)state;
    write_both((struct dmw_recipe){.seed = 21});
    for (size_t i = 0; i < LEN(keys); i++) {
        const struct daemon_options o = {.in_caller = keys[i]};
        struct daemon d;
        assert_true(daemon_start(&d, &o) && daemon_provision(&d, NULL));
        keyd_client *c = ask_connect(&d, "submission");
        post_sign_ends(c, "alice@example.com", "example.org", NULL, of(&blank),
                       KEYD_DENIED, "key-not-permitted");
        keyd_client_free(c);
        assert_int_equal(daemon_stop(&d), 0);
        daemon_clear(&d);
    }
}

/* The organization has another encryption key by now; what was encrypted to the one
 * before is signed until its retention is over. Of the last tests: com's keys change.
 */
static void
T_OP_15_a_message_to_the_former_encryption_key_is_signed_within_retention(void **state)
{
    uint8_t old[64], enc[16], point[33], nobodys[64] = {1};

    (void)state;
    memcpy(old, com.full, 64);
    write_both((struct dmw_recipe){.seed = 22});
    refuses_before("alice@example.com", "example.org", nobodys, of(&blank),
                   KEYD_NOT_FOUND, "no-such-recipient-key");
    post_new_enc(&com, enc, point);
    post_issue_org(&com, enc, "Example");
    int64_t since = kd_clock_ms();
    signs(&com, com.submit, "alice@example.com", old, KD_NOTE_RETAINED_KEY);
    write_both((struct dmw_recipe){.seed = 23});
    refuses(of(&blank)); /* with the new one it does not open */
    struct keyd_answer *a = NULL;
    keyd_client_retire_key(com.admin, (struct keyd_octets){com.enc, 16}, &a);
    ask_ends(a, KEYD_OK, NULL);
    signs(&com, com.submit, "alice@example.com", old, KD_NOTE_RETAINED_KEY);
    if (!SHORT_DELAYS) {
        print_message("retention is not waited for: delays are not short\n");
        return;
    }
    while (kd_clock_ms() <= since + RETENTION_S * 1000)
        nap(50);
    write_both((struct dmw_recipe){.seed = 24});
    refuses_before("alice@example.com", "example.org", old, of(&blank), KEYD_NOT_FOUND,
                   "no-such-recipient-key");
}

/* --- large messages, many, from afar --- */

/* As large as a message can be, of four parts. */
static void
write_largest(uint64_t seed)
{
    enum { PART = 16776000, LEAST = PART - 16000 };
    static uint8_t octets[DIME_DATA_MAX];
    struct dmw_chunk parts[] = {{.type = 67, .data = {octets, PART}},
                                {.type = 67, .data = {octets, PART}},
                                {.type = 67, .data = {octets, PART}},
                                {.type = 67, .data = {octets, LEAST}}};
    const struct dmw_recipe r = {
        .seed = seed, .contents = parts, .n_contents = 4, .placeholders = true};

    dmw_free(&blank);
    dmw_message(&blank, &r);
    parts[3].data.n += (MESSAGE_MAX - blank.out.n) / 16 * 16;
    assert_true(parts[3].data.n <= sizeof octets);
    write_both(r);
    assert_in_range(blank.out.n, MESSAGE_MAX - 15, MESSAGE_MAX);
}

static size_t
most_kib(pid_t pid)
{
    char path[64], line[256];
    size_t kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoul(line + 6, NULL, 10);
    fclose(f);
    assert_true(kib != 0);
    return kib;
}

static void
counted(void *cookie, struct keyd_answer *a)
{
    const struct dmw_mark *m = dmw_find(&whole, 255, 0);

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    assert_memory_equal(a->out.outbound.organization.p, whole.out.p + m->at + 4, 64);
    ++*(size_t *)cookie;
    keyd_client_answer_free(a);
}

/* A client that waits for its turn. */
static keyd_client *
patient(void)
{
    char path[108], address[120];
    const struct keyd_endpoint e = {.address = address};
    keyd_client *c = keyd_client_new();

    daemon_socket(&com.d, "submission", path);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_non_null(c);
    assert_int_equal(keyd_client_add_endpoint(c, &e), KEYD_OK);
    return c;
}

/* --- many connections --- */

struct busy {
    keyd_client *client;
    size_t in_flight, n_signed;
};

static void
busy_answered(void *cookie, struct keyd_answer *a)
{
    struct busy *b = cookie;

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    b->in_flight--;
    b->n_signed++;
    keyd_client_answer_free(a);
}

enum { CONNECTIONS = 16, IN_FLIGHT = 32, ENOUGH = 8 * IN_FLIGHT };

static void
keep_busy(struct busy *busy, const struct keyd_request *q, int64_t ms)
{
    struct pollfd fds[CONNECTIONS];

    for (int64_t end = kd_clock_ms() + ms; kd_clock_ms() < end;) {
        for (size_t i = 0; i < CONNECTIONS; i++) {
            struct busy *b = &busy[i];
            for (; b->in_flight < IN_FLIGHT; b->in_flight++)
                assert_int_equal(
                    keyd_client_submit(b->client, q, busy_answered, b, NULL), KEYD_OK);
            assert_int_equal(keyd_client_process(b->client, 0), KEYD_OK);
            fds[i] = (struct pollfd){.fd = keyd_client_fd(b->client),
                                     .events = keyd_client_events(b->client)};
        }
        kd_ignore(poll(fds, CONNECTIONS, 100)); /* the next round finds out */
    }
}

static void
is_shared_fairly(const struct keyd_request *q)
{
    struct busy busy[CONNECTIONS] = {0};
    size_t least = SIZE_MAX, most = 0;

    for (size_t i = 0; i < CONNECTIONS; i++)
        busy[i].client = ask_connect(&com.d, "submission");
    /* A turn is of some requests at once: where the machine is slow, 1.2 seconds are
     * too few turns to tell a share by. */
    for (int round = 0; round < 12 && most < ENOUGH; round++) {
        keep_busy(busy, q, 1200);
        least = SIZE_MAX;
        for (size_t i = 0; i < CONNECTIONS; i++) {
            least = busy[i].n_signed < least ? busy[i].n_signed : least;
            most = busy[i].n_signed > most ? busy[i].n_signed : most;
        }
    }
    print_message("of %d connections: %zu to %zu signed\n", CONNECTIONS, least, most);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        while (busy[i].in_flight != 0)
            assert_int_equal(keyd_client_process(busy[i].client, 100), KEYD_OK);
        keyd_client_free(busy[i].client);
    }
    assert_true(least >= most / 4);
}

/* More is asked on each than the gate takes of all of them together: what waits is
 * partly read and partly not, and neither kind may keep the other from its turn. */
static void
every_connection_of_a_front_end_has_its_turn(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        /* Of about this size a piece that is read ends within a message, as is needed
         * for both kinds. */
        struct letter *letter = letter_new(97 + i, 1200 + 64 * i, NULL);
        assert_non_null(letter);
        struct keyd_request q = letter_request(letter, NULL);
        q.deadline_ms = 120000;
        is_shared_fairly(&q);
        free(letter);
    }
}

struct ending {
    bool is_there;
    enum keyd_status status;
    char detail[64];
};

static void
keep_ending(void *ctx, struct keyd_answer *a)
{
    struct ending *e = ctx;

    e->is_there = true;
    e->status = a->status;
    snprintf(e->detail, sizeof e->detail, "%s", a->detail);
    keyd_client_answer_free(a);
}

/* Whoever was told that the account is frozen (or closed) finds no mail of it signed
 * after that, however long it had been in work. */
static void
a_freeze_overtakes_what_is_being_signed(void **state)
{
    struct ending e = {false};
    keyd_client *c = patient();

    (void)state;
    write_largest(27);
    const struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .deadline_ms = 300000,
        .in.sign_outbound = {.account = KEYD_STR("alice@example.com"),
                             .destination = KEYD_STR("example.org"),
                             .message = {blank.out.p, blank.out.n}}};
    uint64_t before = post_seq(&com);
    assert_int_equal(keyd_client_submit(c, &q, keep_ending, &e, NULL), KEYD_OK);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(keyd_client_process(c, 10), KEYD_OK);
    assert_false(e.is_there); /* it takes a second */
    post_account(&com, "alice@example.com", KEYD_ACCOUNT_FREEZE);
    while (!e.is_there)
        assert_int_equal(keyd_client_process(c, 1000), KEYD_OK);
    post_account(&com, "alice@example.com", KEYD_ACCOUNT_THAW);
    assert_int_equal(e.status, KEYD_DENIED);
    assert_string_equal(e.detail, "address-frozen");
    struct kd_audit_record r = post_record(&com, before);
    assert_int_equal(r.outcome, KD_OUTCOME_FAILED);
    assert_int_equal(r.n_digests, 0);
    keyd_client_free(c);
}

/* The most counts from here on, where this may be asked for (root). */
static void
forget_most(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)pid);
    FILE *f = fopen(path, "we");
    bool forgot = f != NULL && fputs("5", f) >= 0;
    if (f == NULL || fclose(f) != 0 || !forgot)
        print_message("what was used before counts as well: %s\n", path);
}

/* T-OP-26: messages are signed in pieces of 64 KiB for each thread that signs, so what
 * memory they take has nothing to do with how large or how many they are. The gate
 * hands them on and holds nothing. The rest of what is allowed is code and heap that
 * had not been touched before. */
static void
T_OP_26_the_largest_message_is_signed_and_ten_at_once_in_bounded_memory(void **state)
{
    enum { AT_ONCE = 10, ROOM_KIB = 4 << 10, TOKEN_ROOM_KIB = 160 << 10 };
    pid_t vault = daemon_role(&com.d, KEYD_PROCESS_VAULT, "");
    pid_t gate = daemon_role(&com.d, KEYD_PROCESS_GATE, "submission");
    keyd_client *clients[AT_ONCE];
    size_t n = 0;

    /* What is signed in a token is gathered, and goes there whole; one at a time. */
    const size_t room = com.d.is_adopted ? (size_t)TOKEN_ROOM_KIB : (size_t)ROOM_KIB;

    (void)state;
    write_largest(26);
    const struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .deadline_ms = 300000,
        .in.sign_outbound = {.account = KEYD_STR("alice@example.com"),
                             .destination = KEYD_STR("example.org"),
                             .message = {blank.out.p, blank.out.n}}};
    forget_most(vault);
    forget_most(gate);
    size_t vault_kib = most_kib(vault), gate_kib = most_kib(gate);
    int64_t since = kd_clock_ms();
    uint64_t before = post_seq(&com);
    ask_ends(ask(com.submit, &q), KEYD_OK, NULL);
    is_recorded(&com, before, &whole, 0);
    print_message("one: %lld ms\n", (long long)(kd_clock_ms() - since));
    before = post_seq(&com);
    since = kd_clock_ms();
    for (size_t i = 0; i < AT_ONCE; i++) {
        clients[i] = patient();
        assert_int_equal(keyd_client_submit(clients[i], &q, counted, &n, NULL),
                         KEYD_OK);
    }
    while (n < AT_ONCE)
        for (size_t i = 0; i < AT_ONCE; i++)
            assert_int_equal(keyd_client_process(clients[i], 1), KEYD_OK);
    print_message("ten: %lld ms; vault %zu -> %zu KiB, gate %zu -> %zu KiB\n",
                  (long long)(kd_clock_ms() - since), vault_kib, most_kib(vault),
                  gate_kib, most_kib(gate));
    for (size_t i = 0; i < AT_ONCE; i++)
        keyd_client_free(clients[i]);
    assert_int_equal(post_records(&com, before, NULL, 0), AT_ONCE);
    if (INSTRUMENTED) /* which keeps copies of what was freed */
        return;
    assert_true(most_kib(vault) <= vault_kib + room);
    assert_true(most_kib(gate) <= gate_kib + ROOM_KIB);
}

struct outcomes {
    size_t n_signed, n_busy;
};

static void
busy_or_signed(void *cookie, struct keyd_answer *a)
{
    struct outcomes *o = cookie;

    if (a->status == KEYD_BUSY) {
        assert_string_equal(a->detail, "too-many-objects");
        o->n_busy++;
    } else {
        if (a->status != KEYD_OK)
            fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
        o->n_signed++;
    }
    keyd_client_answer_free(a);
}

/* So many of the largest messages on one connection, as objects, and a small one. */
static struct outcomes
ask_at_once(struct post *p, const struct keyd_request *q, size_t n_large)
{
    keyd_client *c = ask_connect(&p->d, "submission");
    struct outcomes o = {0, 0}, small = {0, 0};

    struct letter *letter = letter_new(11, 1000, NULL);
    assert_non_null(letter);
    const struct keyd_request inline_one = letter_request(letter, NULL);
    for (size_t i = 0; i < n_large; i++)
        assert_int_equal(keyd_client_submit(c, q, busy_or_signed, &o, NULL), KEYD_OK);
    assert_int_equal(keyd_client_submit(c, &inline_one, busy_or_signed, &small, NULL),
                     KEYD_OK);
    while (keyd_client_pending(c) > 0)
        assert_int_equal(keyd_client_process(c, 100), KEYD_OK);
    assert_int_equal(small.n_signed, 1);
    keyd_client_free(c);
    free(letter);
    return o;
}

/* Two objects of a principal are under way, and no third, whatever the pool has left;
 * where more may be, the pool takes three of the largest messages. On unix sockets as
 * over TLS (test_tls_parts.c): the descriptor counts as long as its request. */
static void
more_large_messages_than_there_is_room_for_are_busy_and_room_comes_back(void **state)
{
    const struct post_options many = {.top = "max-principal-uploads = 8\n"};
    struct outcomes o;
    struct post p;

    (void)state;
    write_largest(27);
    const struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .deadline_ms = 300000,
        .in.sign_outbound = {.account = KEYD_STR("alice@example.com"),
                             .destination = KEYD_STR("example.org"),
                             .message = {blank.out.p, blank.out.n}}};
    for (int i = 0; i < 2; i++) {
        uint64_t before = post_seq(&com);
        o = ask_at_once(&com, &q, 3);
        assert_int_equal(o.n_signed, 2);
        assert_int_equal(o.n_busy, 1);
        /* of what was refused nothing was done */
        assert_int_equal(post_records(&com, before, NULL, 0), 3);
    }
    post_start_com(&p, &many);
    o = ask_at_once(&p, &q, 4);
    assert_int_equal(o.n_signed, 3);
    assert_int_equal(o.n_busy, 1);
    post_end(&p);
}

static void
T_OP_26_a_message_above_the_limit_is_refused(void **state)
{
    uint8_t *octets = calloc(1, MESSAGE_MAX + 1);
    struct keyd_answer *a = NULL;
    struct keyd_request q = {
        .op = KEYD_OP_SIGN_OUTBOUND,
        .in.sign_outbound = {.account = KEYD_STR("alice@example.com"),
                             .destination = KEYD_STR("example.org"),
                             .message = {octets, MESSAGE_MAX + 1}}};

    (void)state;
    assert_non_null(octets);
    assert_int_equal(keyd_client_call(com.submit, &q, &a), KEYD_USAGE);
    q.in.sign_outbound.message.n = MESSAGE_MAX; /* of zeros: goes, and is no message */
    ask_ends(ask(com.submit, &q), KEYD_INVALID, "message-corrupt");
    free(octets);
}

/* In parts over TLS, as well as in one request. */
static void
over_TLS_messages_of_every_size_are_signed(void **state)
{
    static uint8_t octets[3 << 20];
    static const size_t sizes[] = {100, 48000, 60000, sizeof octets};
    struct tls_place place;
    struct post p;

    (void)state;
    tls_place_make(&place, NULL);
    post_start_com(&p, &(struct post_options){.top = place.top});
    keyd_client *c = post_tls_connect(&p, &place);
    for (size_t i = 0; i < LEN(sizes); i++) {
        const struct dmw_chunk part = {.type = 67, .data = {octets, sizes[i]}};
        write_both(
            (struct dmw_recipe){.seed = 30 + i, .contents = &part, .n_contents = 1});
        signs(&p, c, "alice@example.com", p.full, 0);
    }
    keyd_client_free(c);
    post_end(&p);
    tls_place_clear(&place);
}

/* --- kill -9 --- */

enum { KILL_MESSAGES = 128, KILLS_WHOLE = 100 };

struct kill_message {
    uint8_t *blank;
    size_t n;
    uint8_t organization[64]; /* the payload that is to come */
    uint8_t digest[32];
};

/* Of the process that asks, seen by the test. */
struct released {
    atomic_bool is_asking;
    atomic_bool of[KILL_MESSAGES];
};

static struct released *released;

struct asked {
    const struct kill_message *m;
    atomic_bool *released;
};

static void
release(void *cookie, struct keyd_answer *a)
{
    const struct asked *q = cookie;

    if (a->status == KEYD_OK) {
        if (memcmp(a->out.outbound.organization.p, q->m->organization, 64) != 0)
            _exit(3);
        atomic_store(q->released, true);
    }
    keyd_client_answer_free(a);
}

/* All at once, until the daemon is gone; in a process of its own. */
static _Noreturn void
ask_all(const struct kill_message *list)
{
    static struct asked asked[KILL_MESSAGES];
    keyd_client *c = daemon_connect(&com.d, "submission");

    if (c == NULL)
        _exit(2);
    for (size_t i = 0; i < KILL_MESSAGES; i++) {
        const struct keyd_request q = {
            .op = KEYD_OP_SIGN_OUTBOUND,
            .in.sign_outbound = {.account = KEYD_STR("alice@example.com"),
                                 .destination = KEYD_STR("example.org"),
                                 .message = {list[i].blank, list[i].n}}};
        asked[i] = (struct asked){&list[i], &released->of[i]};
        if (keyd_client_submit(c, &q, release, &asked[i], NULL) != KEYD_OK)
            _exit(4);
    }
    atomic_store(&released->is_asking, true);
    while (keyd_client_pending(c) > 0 && keyd_client_process(c, 100) == KEYD_OK)
        ;
    _exit(0);
}

static void
write_all(struct kill_message *list, uint64_t seed)
{
    for (size_t i = 0; i < KILL_MESSAGES; i++) {
        write_both((struct dmw_recipe){.seed = seed + i});
        list[i].n = blank.out.n;
        list[i].blank = malloc(blank.out.n);
        assert_non_null(list[i].blank);
        memcpy(list[i].blank, blank.out.p, blank.out.n);
        memcpy(list[i].organization, whole.out.p + dmw_find(&whole, 255, 0)->at + 4,
               64);
        digest_of(&whole, 255, list[i].digest);
    }
}

static bool
has_record(const struct kd_audit_record *r, size_t n, const uint8_t digest[32])
{
    for (size_t i = 0; i < n; i++)
        if (r[i].n_digests == 3 && memcmp(r[i].digests[2], digest, 32) == 0)
            return true;
    return false;
}

/* T-OP-24: whatever was signed and given away is in the log, and the log is whole
 * (post_end has it checked). */
static void
T_OP_24_no_signature_that_was_given_away_lacks_its_record(void **state)
{
    static struct kill_message list[KILL_MESSAGES];
    static struct kd_audit_record records[KILL_MESSAGES];
    size_t n_released = 0, n_recorded = 0, rounds = test_rounds(KILLS_WHOLE);

    (void)state;
    released = mmap(NULL, sizeof *released, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(released != MAP_FAILED);
    for (size_t round = 0; round < rounds; round++) {
        uint64_t before = post_seq(&com);
        memset(released, 0, sizeof *released);
        write_all(list, 1000 + round * KILL_MESSAGES);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            ask_all(list);
        while (!atomic_load(&released->is_asking))
            nap(1);
        nap((int)randombytes_uniform(40));
        post_kill(&com);
        assert_int_equal(daemon_reap(pid, 30000), 0);
        post_start_again(&com);
        size_t n = post_records(&com, before, records, KILL_MESSAGES);
        assert_true(n <= KILL_MESSAGES);
        n_recorded += n;
        for (size_t i = 0; i < KILL_MESSAGES; i++) {
            n_released += atomic_load(&released->of[i]);
            if (atomic_load(&released->of[i]))
                assert_true(has_record(records, n, list[i].digest));
            free(list[i].blank);
        }
    }
    munmap(released, sizeof *released);
    print_message("%zu kills: %zu recorded, %zu of them given away\n", rounds,
                  n_recorded, n_released);
}

/* --- */

static int
start(void **state)
{
    char in_domain[128];
    const struct post_options o = {.in_domain = in_domain};

    (void)state;
    snprintf(in_domain, sizeof in_domain, " author-grace = %d\n key-retention = %d\n",
             GRACE_S, SHORT_DELAYS ? RETENTION_S : RETENTION_LEAST_S);
    post_start_com(&com, &o);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    post_end(&com);
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, clear)

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(T_OP_6_chunks_248_249_and_255_are_as_in_MSG_octet_for_octet),
        TEST(T_OP_6_messages_of_other_shapes_are_signed_and_recorded),
        TEST(a_message_signed_again_gets_the_same),
        TEST(T_OP_5_on_both_sides_of_the_limit_for_inline_messages_it_is_the_same),
        TEST(T_OP_7_nobody_has_anothers_message_signed),
        TEST(T_OP_7_mallory_names_alice_or_signs_what_alice_names),
        TEST(T_OP_8_bad_signatures_of_the_author_are_refused),
        TEST(T_OP_8_T_SG_85_a_superseded_signet_signs_within_the_grace_and_not_after),
        TEST(T_SG_85_a_message_signed_with_the_encryption_key_is_refused),
        TEST(T_OP_9_a_destination_that_is_not_the_stated_one_is_refused),
        TEST(T_OP_10_a_message_without_the_place_for_255_is_refused),
        TEST(T_OP_10_places_that_are_taken_are_refused),
        TEST(T_OP_5_what_is_no_whole_message_is_refused_before_any_key),
        TEST(frozen_and_closed_accounts_get_nothing),
        TEST(T_OP_27_no_other_class_has_messages_signed),
        TEST(the_primary_key_signs_messages_where_the_configuration_says_so),
        TEST(caller_without_the_encryption_key_or_the_signing_key_gets_nothing),
        TEST(every_connection_of_a_front_end_has_its_turn),
        TEST(a_freeze_overtakes_what_is_being_signed),
        TEST(T_OP_26_the_largest_message_is_signed_and_ten_at_once_in_bounded_memory),
        TEST(more_large_messages_than_there_is_room_for_are_busy_and_room_comes_back),
        TEST(T_OP_26_a_message_above_the_limit_is_refused),
        TEST(over_TLS_messages_of_every_size_are_signed),
        TEST(T_OP_24_no_signature_that_was_given_away_lacks_its_record),
        TEST(T_OP_15_a_message_to_the_former_encryption_key_is_signed_within_retention),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, start, stop);
}
