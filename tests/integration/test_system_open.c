/* What arrives, on running daemons of both organizations: OpenEnvelope, OpenBounce,
 * MakeBounce and SealNaked tell what they should, and nothing else to anybody (T-OP-11
 * to 16). Messages and forgeries are written by code that is not keyd's. */
#include "mailw.h"
#include "post_tls.h"
#include "suite.h"
#include "tap.h"
#include "test.h"

#include <dime/bounce.h>
#include <dime/fingerprint.h>
#include <dime/kek.h>
#include <dime/message_verify.h>
#include <dime/naked.h>
#include <dime/payload.h>
#include <dime/secp.h>
#include <dime/span.h>
#include <keyd/base/clock.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    STALE_S = 3,
    STALE_LEAST_S = 259200,
    RETENTION_S = 4,
    RETENTION_LEAST_S = 1987200,
    LIMIT = 1 << 25,
};

static struct post com, org;
static struct dmw written;

static int
clear(void **state)
{
    (void)state;
    dmw_free(&written);
    return 0;
}

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms)); /* clocks have to go on */
}

static struct kd_slice
write_message(struct dmw_recipe r)
{
    dmw_free(&written);
    return dmw_message(&written, &r);
}

/* For that recipient, said to be from there. */
static struct kd_slice
write_to(const char *recipient, const uint8_t fp[64], const char *origin,
         const uint8_t origin_fp[64], uint64_t seed)
{
    const struct dmw_chunk c =
        post_envelope(5, post_destination_text(recipient, fp, origin, origin_fp));

    return write_message((struct dmw_recipe){.seed = seed, .instead = &c});
}

static struct kd_slice
write_for(const struct post_person *p, uint64_t seed)
{
    return write_to(p->address, p->core, "example.com", com.full, seed);
}

/* SHA-256 of the chunks that are opened: 2 and another. */
static void
digest_of(struct kd_slice message, uint8_t type, uint8_t out[32])
{
    const struct dime_source source = dime_source_of(message);
    struct dime_message m;
    crypto_hash_sha256_state h;

    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    const struct dime_chunk *c = dime_message_chunk(&m, type);
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, message.p + 6, 4 + 33);
    crypto_hash_sha256_update(&h, message.p + c->at, dime_chunk_end(c) - c->at);
    crypto_hash_sha256_final(&h, out);
}

/* --- OpenEnvelope --- */

/* A key was used: one record, with what was opened and the key. */
static void
is_recorded(struct post *p, uint64_t before, struct kd_slice message,
            enum kd_audit_outcome outcome, unsigned notes)
{
    struct kd_audit_record r = post_record(p, before);
    uint8_t digest[32];

    digest_of(message, 5, digest);
    assert_int_equal(r.op, KD_AUDIT_OPEN_ENVELOPE);
    assert_int_equal(r.outcome, outcome);
    assert_int_equal(r.notes, notes);
    assert_int_equal(r.n_digests, 1);
    assert_memory_equal(r.digests[0], digest, 32);
    assert_memory_equal(r.key_id, p->enc, 16);
}

static void
opens_at(struct post *p, const struct post_inbound *in, enum keyd_envelope verdict,
         const char *recipient, unsigned notes)
{
    uint64_t before = post_seq(p);
    struct keyd_answer *a = post_inbound(p->mta, KEYD_OP_OPEN_ENVELOPE, in);
    struct keyd_octets to = a->out.envelope.recipient;

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    assert_int_equal(a->out.envelope.verdict, verdict);
    if (recipient == NULL) {
        assert_int_equal(to.n, 0);
        assert_int_equal(a->out.envelope.recipient_fp.n, 0);
    } else {
        assert_int_equal(to.n, strlen(recipient));
        assert_memory_equal(to.p, recipient, to.n);
        assert_int_equal(a->out.envelope.recipient_fp.n, 64);
    }
    keyd_client_answer_free(a);
    is_recorded(p, before, in->message, KD_OUTCOME_DONE, notes);
}

static void
opens_in(const struct post_inbound *in, enum keyd_envelope verdict,
         const char *recipient, unsigned notes)
{
    opens_at(&org, in, verdict, recipient, notes);
}

static void
opens(struct kd_slice message, enum keyd_envelope verdict, const char *recipient)
{
    struct post_inbound in = post_from(&com, &org, message);

    opens_in(&in, verdict, recipient, 0);
}

/* Whatever is wrong behind the key, there is one answer. */
static void
refuses_at(struct post *p, const struct post_inbound *in)
{
    uint64_t before = post_seq(p);
    struct keyd_answer *a = post_inbound(p->mta, KEYD_OP_OPEN_ENVELOPE, in);

    assert_int_equal(a->status, KEYD_INVALID);
    assert_string_equal(a->detail, "message-refused");
    assert_int_equal(a->retry_after_ms, 0);
    keyd_client_answer_free(a);
    is_recorded(p, before, in->message, KD_OUTCOME_FAILED, 0);
}

static void
refuses_in(const struct post_inbound *in)
{
    refuses_at(&org, in);
}

static void
refuses(struct kd_slice message)
{
    struct post_inbound in = post_from(&com, &org, message);

    refuses_in(&in);
}

/* No key was used: no record. */
static void
refuses_before(const struct post_inbound *in, enum keyd_status status,
               const char *detail)
{
    uint64_t before = post_seq(&org);

    ask_ends(post_inbound(org.mta, KEYD_OP_OPEN_ENVELOPE, in), status, detail);
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
}

/* T-OP-12 */
static void
T_OP_12_MSG_is_for_bob(void **state)
{
    struct post_inbound in = post_from(&com, &org, mailw_msg());
    uint8_t fp[64];

    (void)state;
    opens_in(&in, KEYD_ENVELOPE_CURRENT, "bob@example.org", 0);
    struct keyd_answer *a = post_inbound(org.mta, KEYD_OP_OPEN_ENVELOPE, &in);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(dime_fingerprint_read(
                         kd_slice_str("r7jvjk+xzInR66tkV5Dx39b0u1D/l3hBlX0KKs5GOf7u/0qI"
                                      "/pU8dIYFA8r7cqAWdVsxi7fYi2lx6LCMEqi/OA"),
                         fp),
                     KD_OK);
    assert_memory_equal(a->out.envelope.recipient_fp.p, fp, 64);
    assert_int_equal(a->out.envelope.metadata_bounce, KEYD_BOUNCE_SIGNATURE_GOOD);
    assert_int_equal(a->out.envelope.display_bounce, KEYD_BOUNCE_SIGNATURE_GOOD);
    keyd_client_answer_free(a);
}

/* What com's keyd signs, org's opens. */
static void
T_OP_12_what_the_one_signs_the_other_opens(void **state)
{
    struct kd_slice m =
        write_message((struct dmw_recipe){.seed = 1, .placeholders = true});
    struct keyd_answer *a =
        post_sign(com.submit, "alice@example.com", "example.org", NULL, m);

    (void)state;
    post_complete(written.out.p, written.out.n, a);
    keyd_client_answer_free(a);
    opens(m, KEYD_ENVELOPE_CURRENT, "bob@example.org");
}

static void
messages_without_or_with_bad_bounce_signatures_are_taken_and_that_is_said(void **state)
{
    struct kd_slice m =
        write_message((struct dmw_recipe){.seed = 2, .no_bounces = true});
    struct post_inbound in = post_from(&com, &org, m);
    struct keyd_answer *a = post_inbound(org.mta, KEYD_OP_OPEN_ENVELOPE, &in);

    (void)state;
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.envelope.metadata_bounce, KEYD_BOUNCE_SIGNATURE_NONE);
    assert_int_equal(a->out.envelope.display_bounce, KEYD_BOUNCE_SIGNATURE_NONE);
    keyd_client_answer_free(a);
    opens(m, KEYD_ENVELOPE_CURRENT, "bob@example.org");
    /* 248 and 249 by bob, 255 as it should be */
    write_message((struct dmw_recipe){.seed = 3, .org_by = &sg_world()->bob});
    written.out.n = dmw_find(&written, 255, 0)->at;
    written.n--;
    dmw_sign(&written, 255, &sg_world()->sok, 0);
    in.message = dmw_end(&written);
    a = post_inbound(org.mta, KEYD_OP_OPEN_ENVELOPE, &in);
    assert_int_equal(a->status, KEYD_OK);
    assert_int_equal(a->out.envelope.metadata_bounce, KEYD_BOUNCE_SIGNATURE_BAD);
    assert_int_equal(a->out.envelope.display_bounce, KEYD_BOUNCE_SIGNATURE_BAD);
    keyd_client_answer_free(a);
}

/* T-OP-12: with 255 broken chunk 5 is not opened. What the answer shows is what a
 * message shows whose chunk 5 cannot be read, and what every other fault shows. */
static void
T_OP_12_every_fault_behind_the_key_has_one_answer(void **state)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *wrong[] = {&w->alice, &w->alice0, &w->bob, &w->other_pok};
    static const struct kd_slice texts[] = {
        {(const uint8_t *)"Recipient: <bob@example.org>\r\n", 30}, {NULL, 0}};

    (void)state;
    for (size_t i = 0; i < LEN(wrong); i++)
        refuses(write_message((struct dmw_recipe){.seed = 4, .org_by = wrong[i]}));
    refuses(write_message((struct dmw_recipe){.seed = 4, .placeholders = true}));
    /* one bit of every chunk, 255 among them: 255 is over all before it */
    write_message((struct dmw_recipe){.seed = 5});
    for (size_t i = 1; i < written.n; i++) {
        uint8_t *at = written.out.p + written.chunks[i].at + 4;
        at[9] ^= 1;
        refuses(kd_buf_slice(&written.out));
        at[9] ^= 1;
    }
    opens(kd_buf_slice(&written.out), KEYD_ENVELOPE_CURRENT, "bob@example.org");
    /* a good 255 over a chunk 5 that says something else */
    for (size_t i = 0; i < LEN(texts); i++) {
        struct dmw_chunk c = post_envelope(5, texts[i]);
        refuses(write_message((struct dmw_recipe){.seed = 6, .instead = &c}));
    }
    refuses(write_to("bob@example.org", org.full, "example.net", com.full, 7));
    refuses(write_to("bob@example.org", org.full, "example.com", org.full, 8));
    refuses(write_to("bob@example.org", org.full, "example.org", com.full, 9));
    refuses(write_to("example.org", org.full, "example.com", com.full, 10));
}

/* D-088: the author meant another signet of the origin than the one that was named. */
static void
the_origin_is_who_the_author_meant(void **state)
{
    struct post_inbound in = post_from(&com, &org, mailw_msg());
    struct kd_buf b = {.p = NULL};
    struct dime_signet s;
    enum dime_reason why;
    uint8_t full[64], wrong[64] = {1};

    (void)state;
    in.origin_fp = wrong;
    refuses_before(&in, KEYD_INVALID, "bad-origin-signet");
    in = post_from(&com, &org, mailw_msg());
    in.origin = "example.net";
    refuses_before(&in, KEYD_INVALID, "bad-origin-signet");
    in = post_from(&com, &org, mailw_msg());
    in.signet.n--;
    refuses_before(&in, KEYD_INVALID, "bad-origin-signet");
    in.signet = mailw_msg();
    refuses_before(&in, KEYD_INVALID, "bad-origin-signet");
    /* by the keys of com, but another domain's, of which the author did not speak */
    const struct sg_sok sok = {3, &sg_world()->sok};
    const struct sg_org recipe = {
        .soks = &sok, .n_soks = 1, .identifier = "example.net"};
    in = post_from(&com, &org, mailw_msg());
    in.origin = "example.net";
    in.signet = sg_make_org(&b, &recipe);
    assert_int_equal(dime_signet_parse(in.signet, &s, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_FULL, full), KD_OK);
    in.origin_fp = full;
    refuses_in(&in);
    kd_buf_free(&b);
}

static void
T_OP_5_what_is_no_whole_message_is_refused_before_any_key(void **state)
{
    struct kd_slice msg = mailw_msg();
    struct post_inbound in = post_from(&com, &org, kd_slice(msg.p, msg.n - 1));

    (void)state;
    refuses_before(&in, KEYD_INVALID, "message-corrupt");
    in.message = in.signet;
    refuses_before(&in, KEYD_INVALID, "message-corrupt");
    in.message = kd_slice(msg.p + 6, 64);
    refuses_before(&in, KEYD_INVALID, "message-corrupt");
    /* in an object, as in the request */
    uint8_t *large = calloc(1, 3 << 20);
    assert_non_null(large);
    in.message = kd_slice(large, 3 << 20);
    refuses_before(&in, KEYD_INVALID, "message-corrupt");
    free(large);
}

static void
large_messages_come_as_objects_with_the_signet_behind(void **state)
{
    static uint8_t octets[5 << 20];
    static const size_t sizes[] = {40000, 41000, sizeof octets};

    (void)state;
    for (size_t i = 0; i < LEN(sizes); i++) {
        const struct dmw_chunk part = {.type = 67, .data = {octets, sizes[i]}};
        opens(write_message((struct dmw_recipe){
                  .seed = 20 + i, .contents = &part, .n_contents = 1}),
              KEYD_ENVELOPE_CURRENT, "bob@example.org");
        written.out.p[written.out.n - 300] ^= 1; /* 255 itself */
        refuses(kd_buf_slice(&written.out));
    }
}

/* T-OP-13 */
static void
T_OP_13_an_unknown_recipient_or_fingerprint_is_586_and_names_nobody(void **state)
{
    struct post_person dave;
    uint8_t wrong[64];

    (void)state;
    post_issue(&org, "dave@example.org", "dave", 0, &dave);
    opens(write_for(&dave, 30), KEYD_ENVELOPE_CURRENT, dave.address);
    memcpy(wrong, dave.core, 64);
    wrong[63] ^= 1;
    opens(write_to(dave.address, wrong, "example.com", com.full, 31),
          KEYD_ENVELOPE_UNKNOWN, NULL);
    opens(write_to("bob@example.org", dave.core, "example.com", com.full, 32),
          KEYD_ENVELOPE_UNKNOWN, NULL);
    opens(write_to("nobody@example.org", dave.core, "example.com", com.full, 33),
          KEYD_ENVELOPE_UNKNOWN, NULL);
    opens(write_to(dave.address, dave.core, "example.com", com.core, 34),
          KEYD_ENVELOPE_CURRENT, dave.address); /* Origin-Signet: core or full */
}

static void
a_recipient_of_another_domain_is_510_and_names_nobody(void **state)
{
    struct post_person dave;

    (void)state;
    post_issue(&org, "dave@example.org", "dave", 0, &dave);
    opens(write_to("dave@example.net", dave.core, "example.com", com.full, 35),
          KEYD_ENVELOPE_ELSEWHERE, NULL);
    opens(write_to("dave@example.com", dave.core, "example.com", com.full, 36),
          KEYD_ENVELOPE_ELSEWHERE, NULL);
    opens(write_to("dave@sub.example.org", dave.core, "example.com", com.full, 37),
          KEYD_ENVELOPE_ELSEWHERE, NULL);
}

static void
a_superseded_recipient_signet_is_stale_and_then_unknown(void **state)
{
    struct post_person first, second;

    (void)state;
    post_issue(&org, "erin@example.org", "erin", 0, &first);
    post_issue(&org, "erin@example.org", "erin", 1, &second);
    int64_t since = kd_clock_ms();
    opens(write_for(&first, 40), KEYD_ENVELOPE_STALE, first.address);
    opens(write_for(&second, 41), KEYD_ENVELOPE_CURRENT, first.address);
    if (!SHORT_DELAYS) {
        print_message("staleness is not waited for: delays are not short\n");
        return;
    }
    while (kd_clock_ms() <= since + STALE_S * 1000)
        nap(50);
    opens(write_for(&first, 42), KEYD_ENVELOPE_UNKNOWN, NULL);
    opens(write_for(&second, 43), KEYD_ENVELOPE_CURRENT, first.address);
}

static void
a_frozen_account_receives_and_a_closed_one_is_unknown(void **state)
{
    struct post_person p;

    (void)state;
    post_issue(&org, "frozen@example.org", "frozen", 0, &p);
    post_account(&org, p.address, KEYD_ACCOUNT_FREEZE);
    opens(write_for(&p, 44), KEYD_ENVELOPE_CURRENT, p.address);
    post_account(&org, p.address, KEYD_ACCOUNT_CLOSE);
    opens(write_for(&p, 45), KEYD_ENVELOPE_UNKNOWN, NULL);
}

/* --- bounces --- */

/* One record, whose second digest is of what 255 covers. */
static void
is_signed_bounce(struct post *p, uint64_t before, const struct kd_buf *bounce,
                 const uint8_t key[32])
{
    struct kd_audit_record r = post_record(p, before);
    size_t covered = bounce->n - 6 - 4 - 64;
    uint8_t digest[32];

    assert_int_equal(r.op, KD_AUDIT_MAKE_BOUNCE);
    assert_int_equal(r.outcome, KD_OUTCOME_DONE);
    assert_int_equal(r.n_digests, 2);
    assert_memory_equal(r.key_id, p->signer, 16);
    crypto_hash_sha256(digest, bounce->p + 6, covered);
    assert_memory_equal(r.digests[1], digest, 32);
    assert_int_equal(crypto_sign_verify_detached(bounce->p + bounce->n - 64,
                                                 bounce->p + 6, covered, key),
                     0);
}

/* Of a message to p's organization, whose messages are signed by that key. */
static struct kd_slice
make_bounce_by(struct post *p, const uint8_t key[32], struct kd_slice message,
               enum keyd_returned part, struct kd_buf *out)
{
    const struct post_inbound in = post_from(&com, p, message);
    uint64_t before = post_seq(p);
    struct keyd_answer *a = post_make_bounce(p->mta, &in, part);

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    kd_buf_init(out, LIMIT);
    kd_buf_put(out, ask_slice(a->out.bounce.bounce));
    keyd_client_answer_free(a);
    is_signed_bounce(p, before, out, key);
    return kd_buf_slice(out);
}

static struct kd_slice
make_bounce(struct kd_slice message, enum keyd_returned part, struct kd_buf *out)
{
    return make_bounce_by(&org, sg_world()->other_pok.key, message, part, out);
}

static struct keyd_answer *
open_bounce_at(struct post *p, const struct post *from, struct kd_slice bounce)
{
    const struct post_inbound in = post_from(from, p, bounce);

    return post_inbound(p->mta, KEYD_OP_OPEN_BOUNCE, &in);
}

static struct keyd_answer *
open_bounce(struct kd_slice bounce)
{
    return open_bounce_at(&com, &org, bounce);
}

static void
tells_alice_at(struct post *p, const struct post *from, struct kd_slice bounce,
               enum keyd_returned part, struct kd_slice message)
{
    uint64_t before = post_seq(p);
    struct keyd_answer *a = open_bounce_at(p, from, bounce);
    uint8_t id[64];

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    assert_int_equal(a->out.bounced.author.n, strlen("alice@example.com"));
    assert_memory_equal(a->out.bounced.author.p, "alice@example.com",
                        a->out.bounced.author.n);
    assert_int_equal(a->out.bounced.part, part);
    assert_int_equal(a->out.bounced.klass, 5);
    assert_int_equal(a->out.bounced.subject, 1);
    assert_int_equal(a->out.bounced.detail, 1);
    assert_in_range(kd_clock_wall_ms() / 1000 - (int64_t)a->out.bounced.time_s, 0, 60);
    crypto_hash_sha512(id, message.p, message.n);
    assert_memory_equal(a->out.bounced.message_id.p, id, 64);
    keyd_client_answer_free(a);
    struct kd_audit_record r = post_record(p, before);
    assert_int_equal(r.op, KD_AUDIT_OPEN_BOUNCE);
    assert_int_equal(r.outcome, KD_OUTCOME_DONE);
    assert_memory_equal(r.key_id, p->enc, 16);
}

static void
tells_alice(struct kd_slice bounce, enum keyd_returned part, struct kd_slice message)
{
    tells_alice_at(&com, &org, bounce, part, message);
}

static void
is_dropped_at(struct post *p, const struct post *from, struct kd_slice bounce)
{
    uint64_t before = post_seq(p);

    ask_ends(open_bounce_at(p, from, bounce), KEYD_INVALID, "message-refused");
    struct kd_audit_record r = post_record(p, before);
    assert_int_equal(r.op, KD_AUDIT_OPEN_BOUNCE);
    assert_int_equal(r.outcome, KD_OUTCOME_FAILED);
}

static void
is_dropped(struct kd_slice bounce)
{
    is_dropped_at(&com, &org, bounce);
}

/* T-OP-16 */
static void
T_OP_16_a_bounce_of_what_we_signed_tells_who_wrote_it(void **state)
{
    static uint8_t octets[2 << 20];
    const struct dmw_chunk large = {.type = 67, .data = {octets, sizeof octets}};
    struct kd_buf b;

    (void)state;
    for (enum keyd_returned part = KEYD_RETURNED_METADATA;
         part <= KEYD_RETURNED_MESSAGE; part++) {
        tells_alice(make_bounce(mailw_msg(), part, &b), part, mailw_msg());
        kd_buf_free(&b);
    }
    struct kd_slice m = write_message(
        (struct dmw_recipe){.seed = 50, .contents = &large, .n_contents = 1});
    tells_alice(make_bounce(m, KEYD_RETURNED_MESSAGE, &b), KEYD_RETURNED_MESSAGE, m);
    kd_buf_free(&b);
}

/* Signs the report, then 255. */
struct forger {
    struct sg_pair by[2];
    size_t n;
};

static kd_err
sign_next(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    struct forger *f = ctx;

    return sg_signer(&f->by[f->n++ % 2], message, sig);
}

struct forgery {
    struct kd_slice message;
    const char *domain;
    const struct sg_pair *report_by, *by;
    enum dime_return part; /* METADATA */
};

static struct kd_slice
forge(struct forgery f, struct kd_buf *out)
{
    const struct sg_pair *pok = &sg_world()->other_pok;
    struct forger forger = {
        .by = {f.report_by != NULL ? *f.report_by : *pok, f.by != NULL ? *f.by : *pok}};
    const struct dime_source source = dime_source_of(f.message);
    struct dime_message m;
    static const uint8_t zeros[64];
    char id[87];

    dime_fingerprint_text(zeros, id);
    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    const struct dime_report report = {
        .domain = kd_slice_str(f.domain != NULL ? f.domain : "example.org"),
        .klass = 5,
        .message = kd_slice(id, 86),
        .part = f.part};
    const struct dime_bounce_plan plan = {.origin = sg_world()->org_enc,
                                          .report = &report,
                                          .message = &m,
                                          .organization = {sign_next, &forger}};
    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_bounce_build(&plan, out), KD_OK);
    return kd_buf_slice(out);
}

/* T-OP-16: a forged 248, and what else a bouncing domain can make up. */
static void
T_OP_16_a_bounce_of_what_we_did_not_sign_is_dropped(void **state)
{
    const struct sg_world *w = sg_world();
    struct forgery lies[] = {
        {.report_by = &w->bob}, {.domain = "example.net"}, {.domain = "example.com"}};
    struct kd_buf b;

    (void)state;
    /* control: as org's keyd would have made it */
    struct keyd_answer *a =
        open_bounce(forge((struct forgery){.message = mailw_msg()}, &b));
    assert_int_equal(a->status, KEYD_OK);
    keyd_client_answer_free(a);
    kd_buf_free(&b);
    const struct sg_pair *others[] = {&w->bob, &w->alice, &w->other_pok};
    for (size_t i = 0; i < LEN(others); i++) {
        struct kd_slice m =
            write_message((struct dmw_recipe){.seed = 51 + i, .org_by = others[i]});
        is_dropped(forge((struct forgery){.message = m}, &b));
        kd_buf_free(&b);
    }
    is_dropped(forge((struct forgery){.message = write_message((struct dmw_recipe){
                                          .seed = 56, .placeholders = true})},
                     &b));
    kd_buf_free(&b);
    for (size_t i = 0; i < LEN(lies); i++) {
        lies[i].message = mailw_msg();
        is_dropped(forge(lies[i], &b));
        kd_buf_free(&b);
    }
    /* to example.net, and example.org bounces it */
    const struct dmw_chunk c = post_envelope(
        4, post_origin_text("alice@example.com", com.core, "example.net", org.full));
    is_dropped(forge((struct forgery){.message = write_message((struct dmw_recipe){
                                          .seed = 57, .instead = &c})},
                     &b));
    kd_buf_free(&b);
}

/* Its 255 can be read by everybody: no key is used for what has a bad one. */
static void
T_OP_16_a_bounce_that_the_domain_did_not_sign_is_refused_before_any_key(void **state)
{
    uint64_t before = post_seq(&com);
    struct kd_buf b;

    (void)state;
    ask_ends(open_bounce(forge(
                 (struct forgery){.message = mailw_msg(), .by = &sg_world()->bob}, &b)),
             KEYD_INVALID, "message-refused");
    kd_buf_free(&b);
    make_bounce(mailw_msg(), KEYD_RETURNED_METADATA, &b);
    uint64_t made = post_seq(&com);
    assert_int_equal(made, before);
    for (size_t i = 8; i < b.n; i += b.n / 40) {
        b.p[i] ^= 8;
        ask_ends(open_bounce(kd_buf_slice(&b)), KEYD_INVALID, NULL);
        b.p[i] ^= 8;
    }
    assert_int_equal(post_records(&com, before, NULL, 0), 0);
    kd_buf_free(&b);
}

/* Nobody gets our name on a bounce of mail that was not for us, or of what we cannot
 * tell who signed. */
static void
no_bounce_is_made_of_what_was_not_for_us(void **state)
{
    struct post_inbound in = post_from(&com, &org, mailw_msg());
    uint64_t before = post_seq(&org);
    struct kd_audit_record r;

    (void)state;
    in.message =
        write_message((struct dmw_recipe){.seed = 58, .org_by = &sg_world()->bob});
    ask_ends(post_make_bounce(org.mta, &in, KEYD_RETURNED_METADATA), KEYD_INVALID,
             "message-refused");
    r = post_record(&org, before);
    assert_int_equal(r.op, KD_AUDIT_MAKE_BOUNCE);
    assert_int_equal(r.outcome, KD_OUTCOME_FAILED);
    in.message = write_message((struct dmw_recipe){.seed = 59, .no_bounces = true});
    ask_ends(post_make_bounce(org.mta, &in, KEYD_RETURNED_METADATA), KEYD_NOT_FOUND,
             "nothing-to-return");
    ask_ends(post_make_bounce(org.mta, &in, KEYD_RETURNED_MESSAGE), KEYD_OK, NULL);
    in.message = kd_slice(mailw_msg().p, 100);
    before = post_seq(&org);
    ask_ends(post_make_bounce(org.mta, &in, KEYD_RETURNED_METADATA), KEYD_INVALID,
             "message-corrupt");
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
}

/* --- naked mail --- */

#define NAKED_TEXT "Hello.\r\n"

static void
write_naked(struct kd_buf *out, struct dime_naked *n)
{
    const struct dime_content part = {.type = 67,
                                      .data = dime_source_of(kd_slice_str(NAKED_TEXT))};
    const struct dime_naked_plan plan = {.recipient = sg_world()->bob_enc,
                                         .common = kd_slice_str(dmw_text(33)),
                                         .headers = kd_slice_str(dmw_text(34)),
                                         .contents = &part,
                                         .n_contents = 1};

    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_naked_build(&plan, out), KD_OK);
    const struct dime_source source = dime_source_of(kd_buf_slice(out));
    assert_int_equal(dime_naked_parse(&source, LIMIT, n, NULL), KD_OK);
}

static struct keyd_answer *
seal_at(struct post *p, const char *recipient, const struct kd_buf *mail)
{
    const struct keyd_request q = {
        .op = KEYD_OP_SEAL_NAKED,
        .in.seal_naked = {KEYD_STR(recipient), {mail->p, mail->n}}};

    return ask(p->milter, &q);
}

static struct keyd_answer *
seal(const char *recipient, const struct kd_buf *mail)
{
    return seal_at(&org, recipient, mail);
}

/* Has it sealed, puts 255 into its place, and looks at that and at the record. */
static void
seals(struct post *p, const uint8_t key[32], struct kd_buf *mail,
      const struct dime_naked *n)
{
    size_t at = (size_t)dime_chunk_payload(&n->m.organization);
    uint64_t before = post_seq(p);
    struct keyd_answer *a = seal_at(p, "bob@example.org", mail);
    uint8_t digest[32], sig[64];

    if (a->status != KEYD_OK)
        fail_msg("%s (%s)", keyd_client_status_text(a->status), a->detail);
    memcpy(mail->p + at, a->out.naked.signature.p, 64);
    keyd_client_answer_free(a);
    struct kd_audit_record r = post_record(p, before);
    crypto_hash_sha256(digest, mail->p + 6, at - 4 - 6);
    assert_int_equal(r.op, KD_AUDIT_SEAL_NAKED);
    assert_int_equal(r.outcome, KD_OUTCOME_DONE);
    assert_int_equal(r.n_digests, 1);
    assert_memory_equal(r.digests[0], digest, 32);
    assert_memory_equal(r.key_id, p->signer, 16);
    assert_int_equal(dime_naked_signature(n, sig), KD_OK);
    assert_int_equal(crypto_sign_verify_detached(sig, mail->p + 6, at - 4 - 6, key), 0);
}

static kd_err
put(void *ctx, struct kd_slice piece)
{
    kd_buf_put(ctx, piece);
    return KD_OK;
}

/* Whoever has that encryption key, given as the text it follows from. */
static void
kek_of(const char *text, const struct dime_naked *n, struct dime_kek *out)
{
    uint8_t scalar[32];

    crypto_hash_sha256(scalar, (const uint8_t *)text, strlen(text));
    assert_int_equal(dime_kek_agree(scalar, n->m.ephemeral, out), KD_OK);
}

/* 225 and 226 as they open with that key, by the one-time key, and 255 by that one. */
static struct dime_verdicts
verdicts_with(const struct dime_naked *n, const struct dime_kek *kek,
              const uint8_t key[32])
{
    const struct dime_chunk *chunks[] = {&n->m.tree, &n->m.author};
    uint8_t sigs[3][64], domain[1][32];
    struct dime_chunk_key chunk_key;
    struct dime_verdicts v;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            dime_chunk_key_of(&n->m, chunks[i], DIME_RECIPIENT, kek, &chunk_key),
            KD_OK);
        assert_int_equal(dime_signature_open(&n->m, chunks[i], &chunk_key, sigs[i]),
                         KD_OK);
    }
    assert_int_equal(dime_naked_signature(n, sigs[2]), KD_OK);
    memcpy(domain[0], key, 32);
    const uint8_t(*own)[32] = &n->signer;
    const uint8_t(*of_domain)[32] = (const uint8_t(*)[32])domain;
    const struct dime_claims claims = {.tree = {sigs[0], own, 1},
                                       .author = {sigs[1], own, 1},
                                       .organization = {sigs[2], of_domain, 1}};
    assert_int_equal(dime_message_verify(&n->m, &claims, &v), KD_OK);
    return v;
}

/* All that he can read of it, one after the other; every chunk's own signature is by
 * the one-time key. */
static void
is_read_as(const struct dime_naked *n, const struct dime_kek *kek, const char *want)
{
    const struct dime_reader r = {
        .m = &n->m, .actor = DIME_RECIPIENT, .kek = kek, .author = n->signer};
    const struct dime_chunk *chunks[] = {&n->m.common, &n->m.headers};
    struct dime_chunk_key key;
    struct dime_payload payload;
    struct dime_span span;
    struct kd_buf text;
    kd_err err = KD_OK;

    kd_buf_init(&text, LIMIT);
    for (size_t i = 0; i < LEN(chunks); i++) {
        assert_int_equal(dime_chunk_key_of(&n->m, chunks[i], DIME_RECIPIENT, kek, &key),
                         KD_OK);
        assert_int_equal(
            dime_payload_open(&n->m, chunks[i], &key, n->signer, &payload, &text),
            KD_OK);
    }
    for (uint64_t at = n->m.display;
         dime_span_next(&r, &at, n->m.signs, &span, &err);) {
        assert_int_equal(span.state, DIME_SPAN_GOOD);
        assert_int_equal(dime_span_read(&r, &span, put, &text), KD_OK);
    }
    assert_int_equal(err, KD_OK);
    assert_int_equal(text.n, strlen(want));
    assert_memory_equal(text.p, want, text.n);
    kd_buf_free(&text);
}

/* What a gateway keeps is what bob gets, opens and finds good, with his own key and
 * the domain's; and nobody else opens anything of it. */
static void
naked_mail_is_sealed_and_read_by_its_recipient(void **state)
{
    const uint8_t *domain = sg_world()->other_pok.key;
    struct dime_verdicts v;
    struct dime_naked n;
    struct dime_kek kek;
    struct kd_buf b;
    char text[2048];

    (void)state;
    write_naked(&b, &n);
    kek_of("keyd-test bob enc", &n, &kek);
    assert_int_equal(verdicts_with(&n, &kek, domain).organization, DIME_VERDICT_BAD);
    seals(&org, domain, &b, &n);
    v = verdicts_with(&n, &kek, domain);
    assert_int_equal(v.tree, DIME_VERDICT_GOOD);
    assert_int_equal(v.author, DIME_VERDICT_GOOD);
    assert_int_equal(v.organization, DIME_VERDICT_GOOD);
    assert_int_equal(verdicts_with(&n, &kek, sg_world()->bob.key).organization,
                     DIME_VERDICT_BAD);
    assert_in_range(
        snprintf(text, sizeof text, "%s%s" NAKED_TEXT, dmw_text(33), dmw_text(34)), 1,
        sizeof text - 1);
    is_read_as(&n, &kek, text);
    /* with alice's key nothing opens */
    kek_of("keyd-test alice enc", &n, &kek);
    v = verdicts_with(&n, &kek, domain);
    assert_int_equal(v.tree, DIME_VERDICT_BAD);
    assert_int_equal(v.author, DIME_VERDICT_BAD);
    /* again: its place is taken */
    uint64_t before = post_seq(&org);
    ask_ends(seal("bob@example.org", &b), KEYD_INVALID, "message-refused");
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
    kd_buf_free(&b);
}

/* GW-16 */
static void
naked_mail_by_a_key_that_is_somebodys_is_not_sealed(void **state)
{
    const struct sg_world *w = sg_world();
    struct post_person first, second;
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    post_issue(&org, "fred@example.org", "fred", 0, &first);
    post_issue(&org, "fred@example.org", "fred", 1, &second);
    /* of the organization's, one that is in no signet yet */
    struct keyd_answer *a = NULL;
    uint8_t own[32];
    assert_int_equal(keyd_client_generate_key(org.admin, KEYD_ROLE_SOK, KEYD_ED25519,
                                              KEYD_STR(org.domain), KEYD_PERM_MESSAGE,
                                              &a),
                     KEYD_OK);
    assert_int_equal(a->out.keys.keys[0].public_key.n, sizeof own);
    memcpy(own, a->out.keys.keys[0].public_key.p, sizeof own);
    keyd_client_answer_free(a);
    const uint8_t *keys[] = {w->bob.key, w->other_pok.key, first.pair.key,
                             second.pair.key, own};
    write_naked(&b, &n);
    uint64_t before = post_seq(&org);
    for (size_t i = 0; i < LEN(keys); i++) {
        memcpy(b.p + 6 + 4 + 33, keys[i], 32);
        ask_ends(seal("bob@example.org", &b), KEYD_INVALID, "one-time-key-known");
    }
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
    memcpy(b.p + 6 + 4 + 33, n.signer, 32);
    post_issue(&org, "gone@example.org", "gone", 0, &first);
    post_account(&org, "gone@example.org", KEYD_ACCOUNT_CLOSE);
    ask_ends(seal("gone@example.org", &b), KEYD_DENIED, "address-closed");
    b.n--;
    ask_ends(seal("bob@example.org", &b), KEYD_INVALID, "message-corrupt");
    const struct kd_buf msg = {.p = (uint8_t *)(uintptr_t)mailw_msg().p,
                               .n = mailw_msg().n};
    ask_ends(seal("bob@example.org", &msg), KEYD_INVALID, "message-corrupt");
    kd_buf_free(&b);
}

/* GW-1: such mail is encrypted to the recipient's current signet. For who has none it
 * cannot have been, whatever the gateway did, and is not sealed. */
static void
naked_mail_for_an_address_without_a_signet_is_not_sealed(void **state)
{
    const char *late = "late@example.org", *closed = "never@example.org";
    struct post_person p;
    struct dime_naked n;
    struct kd_buf b;

    (void)state;
    write_naked(&b, &n);
    uint64_t before = post_seq(&org);
    ask_ends(seal(late, &b), KEYD_NOT_FOUND, "no-signet");
    /* by somebody's key as well: the recipient is asked about first */
    memcpy(b.p + 6 + 4 + 33, sg_world()->bob.key, 32);
    ask_ends(seal(late, &b), KEYD_NOT_FOUND, "no-signet");
    memcpy(b.p + 6 + 4 + 33, n.signer, 32);
    post_account(&org, closed, KEYD_ACCOUNT_CLOSE);
    ask_ends(seal(closed, &b), KEYD_DENIED, "address-closed");
    ask_ends(seal("bob@sub.example.org", &b), KEYD_DENIED, "not-permitted");
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
    post_issue(&org, late, "late", 0, &p);
    post_account(&org, late, KEYD_ACCOUNT_FREEZE);
    ask_ends(seal(late, &b), KEYD_OK, NULL);
    assert_int_equal(post_record(&org, before).op, KD_AUDIT_SEAL_NAKED);
    kd_buf_free(&b);
}

/* --- over TLS --- */

/* Its mail transfer agent is another machine's from now on. */
static void
move_away(struct post *p, const struct tls_place *place)
{
    keyd_client_free(p->mta);
    p->mta = post_tls_connect(p, place);
}

/* A message of so many octets, or up to 15 fewer. */
static struct kd_slice
write_of_size(size_t n, uint64_t seed)
{
    static const uint8_t octets[5 << 20];
    struct dmw_chunk part = {.type = 67, .data = {octets, 16}};
    const struct dmw_recipe r = {.seed = seed, .contents = &part, .n_contents = 1};

    size_t least = write_message(r).n;
    assert_true(n >= least && n - least < sizeof octets - 16);
    part.data.n += (n - least) / 16 * 16;
    struct kd_slice m = write_message(r);
    assert_in_range(m.n, n - 15, n);
    return m;
}

/* There, back and told about; and with one bit another, nothing of it. */
static void
goes_there_and_back(struct post *from, struct post *to, struct kd_slice m)
{
    const struct post_inbound in = post_from(from, to, m);
    struct kd_buf b;

    opens_at(to, &in, KEYD_ENVELOPE_CURRENT, "bob@example.org", 0);
    for (enum keyd_returned part = KEYD_RETURNED_METADATA;
         part <= KEYD_RETURNED_MESSAGE; part++) {
        make_bounce_by(to, sg_world()->other_pok.key, m, part, &b);
        tells_alice_at(from, to, kd_buf_slice(&b), part, m);
        /* what comes back is as large as what went */
        assert_true(part != KEYD_RETURNED_MESSAGE || b.n > m.n);
        b.p[b.n - 1] ^= 1;
        uint64_t before = post_seq(from);
        ask_ends(open_bounce_at(from, to, kd_buf_slice(&b)), KEYD_INVALID,
                 "message-refused");
        assert_int_equal(post_records(from, before, NULL, 0), 0);
        kd_buf_free(&b);
    }
    written.out.p[written.out.n - 300] ^= 1; /* 255 itself */
    refuses_at(to, &in);
    ask_ends(post_make_bounce(to->mta, &in, KEYD_RETURNED_MESSAGE), KEYD_INVALID,
             "message-refused");
}

/* Below what a request takes, just there, just above it (then it goes in parts, and the
 * signet behind it), above what an answer takes, and well above both. */
static void
over_TLS_messages_are_opened_bounced_and_told_of_in_every_size(void **state)
{
    static const size_t sizes[] = {6000, 40960, 40960 + 16, 60000, 3 << 20};
    static const uint8_t octets[70000];
    const struct dmw_chunk part = {.type = 67, .data = {octets, sizeof octets}};
    struct tls_place here, there;
    struct post from, to;
    struct kd_buf b;

    (void)state;
    tls_place_make(&here, NULL);
    tls_place_make_of(&there, NULL, "example.org");
    post_start_com(&from, &(struct post_options){.top = here.top});
    post_start_org(&to, &(struct post_options){.top = there.top});
    move_away(&from, &here);
    move_away(&to, &there);
    for (size_t i = 0; i < LEN(sizes); i++)
        goes_there_and_back(&from, &to, write_of_size(sizes[i], 90 + i));
    /* a bounce that is an object, of what nobody signed */
    struct kd_slice m = write_message((struct dmw_recipe){
        .seed = 96, .org_by = &sg_world()->bob, .contents = &part, .n_contents = 1});
    is_dropped_at(
        &from, &to,
        forge((struct forgery){.message = m, .part = DIME_RETURN_MESSAGE}, &b));
    assert_true(b.n > sizeof octets);
    kd_buf_free(&b);
    post_end(&from);
    post_end(&to);
    tls_place_clear(&here);
    tls_place_clear(&there);
}

/* --- message-signer = pok --- */

#define POK_SIGNS " message-signer = pok"

/* The POK signs, no SOK does, and it is the POK that the record names. */
static void
the_primary_key_signs_bounces_and_naked_mail_where_the_configuration_says_so(
    void **state)
{
    const struct post_options o = {.in_domain = POK_SIGNS, .org_pok_signs = true};
    const struct sg_pair pok = sg_pair_text("keyd-test example.org above");
    struct dime_naked n;
    struct kd_buf b;
    struct post p;

    (void)state;
    post_start_org(&p, &o);
    p.signer = p.pok;
    for (enum keyd_returned part = KEYD_RETURNED_METADATA;
         part <= KEYD_RETURNED_MESSAGE; part++) {
        make_bounce_by(&p, pok.key, mailw_msg(), part, &b);
        tells_alice_at(&com, &p, kd_buf_slice(&b), part, mailw_msg());
        kd_buf_free(&b);
    }
    write_naked(&b, &n);
    seals(&p, pok.key, &b, &n);
    kd_buf_free(&b);
    post_end(&p);
}

/* No key was used, though there is a SOK that could sign, and a key that could open. */
static void
signs_nothing(struct post *p, enum keyd_status status, const char *detail)
{
    const struct post_inbound in = post_from(&com, p, mailw_msg());
    uint64_t before = post_seq(p);
    struct dime_naked n;
    struct kd_buf b;

    write_naked(&b, &n);
    ask_ends(post_make_bounce(p->mta, &in, KEYD_RETURNED_MESSAGE), status, detail);
    ask_ends(seal_at(p, "bob@example.org", &b), status, detail);
    kd_buf_free(&b);
    assert_int_equal(post_records(p, before, NULL, 0), 0);
    ask_ends(post_inbound(p->mta, KEYD_OP_OPEN_ENVELOPE, &in), KEYD_OK, NULL);
}

static void
without_a_primary_key_that_signs_messages_no_bounce_and_no_naked_mail_is_signed(
    void **state)
{
    const struct post_options no_bit = {.in_domain = POK_SIGNS};
    const struct post_options has_bit = {.in_domain = POK_SIGNS, .org_pok_signs = true};
    struct keyd_answer *a = NULL;
    struct post p;

    (void)state;
    post_start_org(&p, &no_bit);
    signs_nothing(&p, KEYD_UNAVAILABLE, "no-signing-key");
    post_end(&p);
    /* one that has the bit, until it goes offline */
    post_start_org(&p, &has_bit);
    keyd_client_retire_key(p.admin, (struct keyd_octets){p.pok, 16}, &a);
    ask_ends(a, KEYD_OK, NULL);
    signs_nothing(&p, KEYD_UNAVAILABLE, "no-signing-key");
    post_end(&p);
}

static void
callers_who_may_not_use_the_primary_key_get_no_bounce_and_no_naked_mail_signed(
    void **state)
{
    const struct post_options o = {.in_domain = POK_SIGNS,
                                   .in_caller = " keys = { \"sok\", \"enc\" }",
                                   .org_pok_signs = true};
    struct post p;

    (void)state;
    post_start_org(&p, &o);
    signs_nothing(&p, KEYD_DENIED, "key-not-permitted");
    post_end(&p);
}

/* --- strangers --- */

/* How long a stranger has to wait for that; 0: not at all. */
static uint32_t
waits(enum keyd_op op, const char *domain, struct kd_slice message)
{
    struct post_inbound in = post_from(&com, &org, message);
    uint32_t retry_ms = 0;

    in.origin = domain;
    struct keyd_answer *a = op == KEYD_OP_MAKE_BOUNCE
                                ? post_make_bounce(org.mta, &in, KEYD_RETURNED_METADATA)
                                : post_inbound(org.mta, op, &in);
    if (a->status == KEYD_BUSY) {
        assert_string_equal(a->detail, "origin-over-rate");
        retry_ms = a->retry_after_ms;
    } else {
        assert_int_equal(a->status, KEYD_INVALID);
    }
    keyd_client_answer_free(a);
    return retry_ms;
}

/* Objects as dear as can be, of nothing: a few take what all strangers have together;
 * who has sent something good has his own. */
static void
T_SEC_9_strangers_are_metered_before_any_key(void **state)
{
    static const char *const domains[] = {"a.example", "b.example", "c.example"};
    struct kd_slice large = {calloc(1, 64 << 20), 64 << 20};
    uint32_t retry_ms = 0;

    (void)state;
    assert_non_null(large.p);
    opens(mailw_msg(), KEYD_ENVELOPE_CURRENT, "bob@example.org");
    uint64_t before = post_seq(&org);
    for (size_t i = 0; i < 240 && retry_ms == 0; i++) /* a slow machine refills it */
        retry_ms = waits(KEYD_OP_OPEN_ENVELOPE, domains[i % 3], large);
    assert_in_range(retry_ms, 1, 30000);
    /* whatever they want; of a bounce our own keys are tried, too */
    uint32_t envelope_ms = waits(KEYD_OP_MAKE_BOUNCE, domains[0], large);
    uint32_t bounce_ms = waits(KEYD_OP_OPEN_BOUNCE, domains[0], large);
    assert_in_range(envelope_ms, 1, 30000);
    assert_in_range(bounce_ms, envelope_ms + 500, 30000);
    assert_int_equal(post_records(&org, before, NULL, 0), 0);
    opens(mailw_msg(), KEYD_ENVELOPE_CURRENT, "bob@example.org");
    free((void *)(uintptr_t)large.p);
}

/* What is bad opens no bucket of one's own. */
static void
a_stranger_stays_one_until_something_of_it_was_good(void **state)
{
    enum { TRIES = 20 };
    struct kd_slice msg = mailw_msg(), nothing = kd_slice_str("nothing");
    uint8_t *octets = malloc(msg.n);
    unsigned n_busy = 0;

    (void)state;
    assert_non_null(octets);
    memcpy(octets, msg.p, msg.n);
    const struct dime_source source = dime_source_of(msg);
    struct dime_message m;
    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    octets[dime_chunk_payload(&m.organization)] ^= 1;
    struct kd_slice bad = kd_slice(octets, msg.n);
    post_kill(&org); /* which forgets who has passed */
    post_start_again(&org);
    assert_int_equal(waits(KEYD_OP_OPEN_ENVELOPE, "example.com", bad), 0);
    assert_int_equal(post_record(&org, post_seq(&org) - 1).outcome, KD_OUTCOME_FAILED);
    for (size_t i = 0; i < TRIES; i++) {
        for (size_t k = 0; k < 10000; k++)
            if (waits(KEYD_OP_OPEN_ENVELOPE, "a.example", nothing) != 0)
                break;
        n_busy += waits(KEYD_OP_OPEN_ENVELOPE, "example.com", bad) != 0;
    }
    assert_in_range(n_busy, TRIES / 2, TRIES);
    while (waits(KEYD_OP_OPEN_ENVELOPE, "a.example", nothing) != 0)
        nap(20);
    nap(100);
    opens(msg, KEYD_ENVELOPE_CURRENT, "bob@example.org");
    free(octets);
}

/* The key has been used when the ledger is asked whose signet it is: nobody gets the
 * answer, and the record comes when it can. */
static void
an_envelope_whose_recipient_is_not_told_in_time_is_recorded(void **state)
{
    const struct post_inbound in = post_from(&com, &org, mailw_msg());
    const struct keyd_request q = {
        .op = KEYD_OP_OPEN_ENVELOPE,
        .deadline_ms = 300,
        .in.inbound = {.origin = KEYD_STR(in.origin),
                       .origin_fp = {in.origin_fp, 64},
                       .domain = KEYD_STR(in.domain),
                       .domain_fp = {in.domain_fp, 64},
                       .origin_signet = {in.signet.p, in.signet.n},
                       .message = {in.message.p, in.message.n}}};
    pid_t ledger = daemon_role(&org.d, KEYD_PROCESS_LEDGER, "");
    uint64_t before = post_seq(&org);

    (void)state;
    assert_true(ledger > 0);
    assert_int_equal(kill(ledger, SIGSTOP), 0);
    struct keyd_answer *a = ask(org.mta, &q);
    nap(1500); /* the vault's own clock has come to it */
    assert_int_equal(kill(ledger, SIGCONT), 0);
    assert_int_not_equal(a->status, KEYD_OK);
    keyd_client_answer_free(a);
    for (unsigned i = 0; i < 50 && post_records(&org, before, NULL, 0) == 0; i++)
        nap(100);
    is_recorded(&org, before, in.message, KD_OUTCOME_FAILED, 0);
    opens(mailw_msg(), KEYD_ENVELOPE_CURRENT, "bob@example.org");
}

/* --- what each side gets to know --- */

/* Log, state, and all that went over the sockets. */
static void
never_has(const struct post *p, const struct tap *t, const void *what, size_t n)
{
    assert_false(tap_has(t, what, n));
    assert_false(tap_tree_has(p->d.dir, what, n));
}

static void
has(const struct post *p, const struct tap *t, const void *what, size_t n)
{
    assert_true(tap_has(t, what, n));
    assert_true(tap_tree_has(p->d.dir, what, n));
}

/* T-OP-11: with daemons of their own, logging all they log, which have done nothing
 * else. */
static void
T_OP_11_origin_never_holds_bob_and_destination_never_holds_alice(void **state)
{
    static const char alice[] = "alice", bob[] = "bob@", bob_chunk[] = "<bob";
    const struct post_options verbose = {.top = "log-level = debug"};
    struct post from, to;
    struct tap from_tap, to_tap;
    uint8_t alice_fp[64], bob_fp[64];
    struct kd_buf b;
    struct dmw w;

    (void)state;
    post_start_com(&from, &verbose);
    post_start_org(&to, &verbose);
    keyd_client *submit = tap_start(&from_tap, &from.d, "submission");
    keyd_client *mta = tap_start(&to_tap, &to.d, "mta");
    struct kd_slice m = dmw_message(&w, &(struct dmw_recipe){.placeholders = true});
    struct keyd_answer *a =
        post_sign(submit, "alice@example.com", "example.org", from.full, m);
    post_complete(w.out.p, w.out.n, a);
    keyd_client_answer_free(a);
    post_sign_ends(submit, "alice@example.com", "example.net", NULL, m, KEYD_INVALID,
                   "message-refused");
    struct post_inbound in = post_from(&from, &to, m);
    a = post_inbound(mta, KEYD_OP_OPEN_ENVELOPE, &in);
    assert_int_equal(a->status, KEYD_OK);
    assert_memory_equal(a->out.envelope.recipient.p, "bob@example.org", 15);
    keyd_client_answer_free(a);
    a = post_make_bounce(mta, &in, KEYD_RETURNED_MESSAGE);
    assert_int_equal(a->status, KEYD_OK);
    kd_buf_init(&b, LIMIT);
    kd_buf_put(&b, ask_slice(a->out.bounce.bounce));
    keyd_client_answer_free(a);
    w.out.p[w.out.n - 300] ^= 1;
    ask_ends(post_inbound(mta, KEYD_OP_OPEN_ENVELOPE, &in), KEYD_INVALID,
             "message-refused");
    /* the origin opens the bounce */
    struct tap bounce_tap;
    keyd_client *from_mta = tap_start(&bounce_tap, &from.d, "mta");
    struct post_inbound back = post_from(&to, &from, kd_buf_slice(&b));
    a = post_inbound(from_mta, KEYD_OP_OPEN_BOUNCE, &back);
    assert_int_equal(a->status, KEYD_OK);
    keyd_client_answer_free(a);
    keyd_client_free(submit);
    keyd_client_free(mta);
    keyd_client_free(from_mta);

    assert_int_equal(
        dime_fingerprint_read(
            kd_slice((const uint8_t *)strchr(dmw_text(4), '[') + 1, 86), alice_fp),
        KD_OK);
    assert_int_equal(
        dime_fingerprint_read(
            kd_slice((const uint8_t *)strchr(dmw_text(5), '[') + 1, 86), bob_fp),
        KD_OK);
    has(&from, &from_tap, alice, strlen(alice));
    has(&to, &to_tap, bob, strlen(bob));
    assert_true(tap_has(&to_tap, bob_fp, 64));
    assert_true(tap_has(&bounce_tap, alice_fp, 64));
    never_has(&to, &to_tap, alice, strlen(alice));
    never_has(&to, &to_tap, alice_fp, 16);
    never_has(&to, &to_tap, strchr(dmw_text(4), '[') + 1, 16);
    never_has(&from, &from_tap, bob, strlen(bob));
    never_has(&from, &from_tap, bob_chunk, strlen(bob_chunk));
    never_has(&from, &from_tap, bob_fp, 16);
    never_has(&from, &from_tap, strchr(dmw_text(5), '[') + 1, 16);
    never_has(&from, &bounce_tap, bob, strlen(bob));
    never_has(&from, &bounce_tap, bob_fp, 16);
    tap_end(&from_tap);
    tap_end(&to_tap);
    tap_end(&bounce_tap);
    kd_buf_free(&b);
    dmw_free(&w);
    post_end(&from);
    post_end(&to);
}

/* --- T-OP-14 --- */

enum { NEEDLE = 16, NEEDLES_MAX = 256 };

static uint8_t needles[NEEDLES_MAX][NEEDLE];
static size_t n_needles;

static void
add_needles(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at + NEEDLE <= n; at += NEEDLE) {
        assert_true(n_needles < NEEDLES_MAX);
        memcpy(needles[n_needles++], p + at, NEEDLE);
    }
}

/* Shared secrets, key encryption keys and chunk keys of a message. */
static void
add_keys_of(const struct dmw *w)
{
    uint8_t ephemeral[33], z[DIME_ECDH_SIZE];

    sg_enc_text("keyd-test ephemeral", ephemeral);
    n_needles = 0;
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++) {
        const struct dmw_person *p = &w->people[i];
        assert_int_equal(dime_secp_ecdh(p->scalar, ephemeral, z), KD_OK);
        add_needles(z, sizeof z);
        add_needles(p->kek.iv, sizeof p->kek.iv);
        add_needles(p->kek.key, sizeof p->kek.key);
    }
    for (size_t i = 1; i < w->n; i++) {
        add_needles(w->chunks[i].key.iv, sizeof w->chunks[i].key.iv);
        add_needles(w->chunks[i].key.key, sizeof w->chunks[i].key.key);
    }
}

static size_t
search(const uint8_t *p, size_t n)
{
    size_t hits = 0;

    for (size_t i = 0; i < n_needles; i++)
        hits += memmem(p, n, needles[i], NEEDLE) != NULL;
    return hits;
}

static size_t
search_process(pid_t pid)
{
    static uint8_t octets[1 << 20];
    char path[64], line[512];
    size_t hits = 0, read_in = 0;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(maps != NULL && mem >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        for (unsigned long at = from; at < to; at += sizeof octets - NEEDLE) {
            size_t want = to - at < sizeof octets ? to - at : sizeof octets;
            ssize_t k = pread(mem, octets, want, (off_t)at);
            if (k <= 0)
                continue;
            read_in += (size_t)k;
            hits += search(octets, (size_t)k);
        }
    }
    fclose(maps);
    close(mem);
    assert_true(read_in > 100000);
    return hits;
}

/* T-OP-14: neither what a front-end is told nor the memory of what it talks to. */
static void
T_OP_14_no_front_end_and_no_gate_has_a_key_of_a_message(void **state)
{
    struct tap out, in_tap;
    keyd_client *submit = tap_start(&out, &com.d, "submission");
    keyd_client *mta = tap_start(&in_tap, &org.d, "mta");
    struct kd_slice m =
        write_message((struct dmw_recipe){.seed = 60, .placeholders = true});

    (void)state;
    struct keyd_answer *a =
        post_sign(submit, "alice@example.com", "example.org", NULL, m);
    post_complete(written.out.p, written.out.n, a);
    keyd_client_answer_free(a);
    struct post_inbound in = post_from(&com, &org, m);
    ask_ends(post_inbound(mta, KEYD_OP_OPEN_ENVELOPE, &in), KEYD_OK, NULL);
    ask_ends(post_make_bounce(mta, &in, KEYD_RETURNED_DISPLAY), KEYD_OK, NULL);
    written.out.p[written.out.n - 300] ^= 1;
    ask_ends(post_inbound(mta, KEYD_OP_OPEN_ENVELOPE, &in), KEYD_INVALID, NULL);
    add_keys_of(&written);
    for (size_t i = 0; i < n_needles; i++) {
        assert_false(tap_has(&out, needles[i], NEEDLE));
        assert_false(tap_has(&in_tap, needles[i], NEEDLE));
        assert_false(tap_tree_has(com.d.dir, needles[i], NEEDLE));
        assert_false(tap_tree_has(org.d.dir, needles[i], NEEDLE));
    }
    keyd_client_free(submit);
    keyd_client_free(mta);
    tap_end(&out);
    tap_end(&in_tap);
    if (INSTRUMENTED || geteuid() != 0) {
        print_message("memory is not searched: %s\n",
                      INSTRUMENTED ? "an instrumented build" : "that takes root");
        return;
    }
    /* This test has them: they must be found. */
    assert_true(search_process(getpid()) >= n_needles);
    assert_int_equal(
        search_process(daemon_role(&com.d, KEYD_PROCESS_GATE, "submission")), 0);
    assert_int_equal(search_process(daemon_role(&org.d, KEYD_PROCESS_GATE, "mta")), 0);
    assert_int_equal(search_process(daemon_role(&com.d, KEYD_PROCESS_LEDGER, "")), 0);
    assert_int_equal(search_process(daemon_role(&org.d, KEYD_PROCESS_LEDGER, "")), 0);
    /* nor has the vault them any more */
    assert_int_equal(search_process(daemon_role(&com.d, KEYD_PROCESS_VAULT, "")), 0);
    assert_int_equal(search_process(daemon_role(&org.d, KEYD_PROCESS_VAULT, "")), 0);
}

/* --- the last: org's keys change --- */

/* T-OP-15, the half of it that needs no ceremony. */
static void
T_OP_15_mail_to_the_former_encryption_key_opens_within_retention_and_is_576_after(
    void **state)
{
    struct post_inbound in = post_from(&com, &org, mailw_msg());
    uint8_t old[64], enc[16], point[33], nobodys[64] = {1};

    (void)state;
    in.domain_fp = nobodys;
    refuses_before(&in, KEYD_NOT_FOUND, "no-such-recipient-key");
    memcpy(old, org.full, 64);
    post_new_enc(&org, enc, point);
    post_issue_org(&org, enc, NULL);
    int64_t since = kd_clock_ms();
    in.domain_fp = old;
    opens_in(&in, KEYD_ENVELOPE_CURRENT, "bob@example.org", KD_NOTE_RETAINED_KEY);
    struct keyd_answer *a = NULL;
    keyd_client_retire_key(org.admin, (struct keyd_octets){org.enc, 16}, &a);
    ask_ends(a, KEYD_OK, NULL);
    opens_in(&in, KEYD_ENVELOPE_CURRENT, "bob@example.org", KD_NOTE_RETAINED_KEY);
    /* after a restart, too */
    post_kill(&org);
    post_start_again(&org);
    if (kd_clock_ms() < since + RETENTION_S * 1000 - 500)
        opens_in(&in, KEYD_ENVELOPE_CURRENT, "bob@example.org", KD_NOTE_RETAINED_KEY);
    /* under the new signet the old key is not tried */
    uint64_t before = post_seq(&org);
    in.domain_fp = org.full;
    ask_ends(post_inbound(org.mta, KEYD_OP_OPEN_ENVELOPE, &in), KEYD_INVALID,
             "message-refused");
    assert_memory_equal(post_record(&org, before).key_id, enc, 16);
    if (!SHORT_DELAYS) {
        print_message("retention is not waited for: delays are not short\n");
        return;
    }
    while (kd_clock_ms() <= since + RETENTION_S * 1000)
        nap(50);
    in.domain_fp = old;
    refuses_before(&in, KEYD_NOT_FOUND, "no-such-recipient-key");
}

/* --- */

static int
start(void **state)
{
    char in_domain[128];
    const struct post_options o = {.in_domain = in_domain};

    (void)state;
    snprintf(in_domain, sizeof in_domain,
             " recipient-stale = %d\n key-retention = %d\n",
             SHORT_DELAYS ? STALE_S : STALE_LEAST_S,
             SHORT_DELAYS ? RETENTION_S : RETENTION_LEAST_S);
    post_start_com(&com, NULL);
    post_start_org(&org, &o);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    post_end(&com);
    post_end(&org);
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, clear)

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(T_OP_12_MSG_is_for_bob),
        TEST(T_OP_12_what_the_one_signs_the_other_opens),
        TEST(messages_without_or_with_bad_bounce_signatures_are_taken_and_that_is_said),
        TEST(T_OP_12_every_fault_behind_the_key_has_one_answer),
        TEST(the_origin_is_who_the_author_meant),
        TEST(T_OP_5_what_is_no_whole_message_is_refused_before_any_key),
        TEST(large_messages_come_as_objects_with_the_signet_behind),
        TEST(T_OP_13_an_unknown_recipient_or_fingerprint_is_586_and_names_nobody),
        TEST(a_recipient_of_another_domain_is_510_and_names_nobody),
        TEST(a_superseded_recipient_signet_is_stale_and_then_unknown),
        TEST(a_frozen_account_receives_and_a_closed_one_is_unknown),
        TEST(T_OP_16_a_bounce_of_what_we_signed_tells_who_wrote_it),
        TEST(T_OP_16_a_bounce_of_what_we_did_not_sign_is_dropped),
        TEST(T_OP_16_a_bounce_that_the_domain_did_not_sign_is_refused_before_any_key),
        TEST(no_bounce_is_made_of_what_was_not_for_us),
        TEST(naked_mail_is_sealed_and_read_by_its_recipient),
        TEST(naked_mail_by_a_key_that_is_somebodys_is_not_sealed),
        TEST(a_stranger_stays_one_until_something_of_it_was_good),
        TEST(an_envelope_whose_recipient_is_not_told_in_time_is_recorded),
        TEST(naked_mail_for_an_address_without_a_signet_is_not_sealed),
        TEST(over_TLS_messages_are_opened_bounced_and_told_of_in_every_size),
        TEST(
            the_primary_key_signs_bounces_and_naked_mail_where_the_configuration_says_so),
        TEST(
            without_a_primary_key_that_signs_messages_no_bounce_and_no_naked_mail_is_signed),
        TEST(
            callers_who_may_not_use_the_primary_key_get_no_bounce_and_no_naked_mail_signed),
        TEST(T_SEC_9_strangers_are_metered_before_any_key),
        TEST(T_OP_11_origin_never_holds_bob_and_destination_never_holds_alice),
        TEST(T_OP_14_no_front_end_and_no_gate_has_a_key_of_a_message),
        TEST(
            T_OP_15_mail_to_the_former_encryption_key_opens_within_retention_and_is_576_after),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, start, stop);
}
