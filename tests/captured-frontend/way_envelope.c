/* story.h: ways of captured MTAs. */
#include "story.h"

#include "test.h"

#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <sodium.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { TIMED_AT_ONCE = 8 };

static const char bob[] = "bob@example.org";

static void
try_open(struct story *s, struct attempt *a, const struct post_inbound *in,
         const char *named)
{
    try_inbound(s, a, &s->org, KEYD_OP_OPEN_ENVELOPE, in, named);
}

/* Alice's message, whatever was done to it. */
static void
try_whole(struct story *s, struct attempt *a)
{
    struct post_inbound in = post_from(&s->com, &s->org, octets_of(&s->whole));

    try_open(s, a, &in, NULL);
}

void
way_forged_origin(struct story *s, struct attempt *a)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *others[] = {&w->alice, &w->bob, &w->other_pok, &s->net.sok,
                                      &s->mallory.pair};
    static const char *const names[] = {"alice", "bob", "example.org", "example.net",
                                        "mallory"};
    size_t i = story_pick(s, LEN(others));
    struct dmw_recipe r = alices(s);

    r.org_by = others[i];
    write_both(s, r);
    say(a, "alice's message, 255 by %s", names[i]);
    try_whole(s, a);
}

void
way_unsigned_origin(struct story *s, struct attempt *a)
{
    struct post_inbound in;

    write_alices(s);
    in = post_from(&s->com, &s->org, octets_of(&s->blank));
    say(a, "alice's message before the organization signed it");
    try_open(s, a, &in, NULL);
}

void
way_flipped_in_transit(struct story *s, struct attempt *a)
{
    write_alices(s);
    const struct dmw_mark *m = &s->whole.chunks[1 + story_pick(s, s->whole.n - 1)];
    size_t at = m->at + 4 + story_pick(s, m->slots - m->at - 4);
    s->whole.out.p[at] ^= (uint8_t)(1 << story_pick(s, 8));
    say(a, "chunk %u, octet %zu", m->type, at);
    try_whole(s, a);
}

void
way_spliced_envelope(struct story *s, struct attempt *a)
{
    struct dmw_recipe r = alices(s);

    write_both(s, r);
    r.seed = story_new(s);
    dmw_free(&s->other);
    dmw_message(&s->other, &r);
    uint8_t type = story_pick(s, 2) == 0 ? 5 : 4;
    const struct dmw_mark *m = dmw_find(&s->whole, type, 0);
    memcpy(s->whole.out.p + m->at, s->other.out.p + m->at, m->end - m->at);
    say(a, "chunk %u of another of her messages to bob", type);
    try_whole(s, a);
}

void
way_other_origin(struct story *s, struct attempt *a)
{
    write_alices(s);
    struct post_inbound in = from_net(s, &s->org, octets_of(&s->whole));
    say(a, "alice's message, as if from example.net");
    try_open(s, a, &in, NULL);
}

/* The signature is good, the domain's and the signet's; the text is alice's, whose
 * chunk was copied or written again. */
void
way_taken_over(struct story *s, struct attempt *a)
{
    struct kd_slice text = kd_slice_str(dmw_text(5));
    struct dmw_chunk c = post_envelope(5, text);
    struct post_inbound in = from_net(s, &s->org, write_of_net(s, &c));

    say(a, "example.net signs what has alice's chunk 5");
    try_open(s, a, &in, NULL);
}

void
way_other_signet(struct story *s, struct attempt *a)
{
    uint8_t fp[64];
    struct post_inbound in;

    if (story_pick(s, 2) == 0) {
        memcpy(fp, story_pick(s, 2) == 0 ? s->com.full : s->org.full, 64);
        const struct dmw_chunk c = post_envelope(
            5, post_destination_text(bob, s->mallory.core, "example.net", fp));
        in = from_net(s, &s->org, write_of_net(s, &c));
        say(a, "example.net's mail names another domain's signet");
        try_open(s, a, &in, NULL);
        return;
    }
    /* com's keys in a signet of the intruder's, so that alice's 255 verifies */
    const struct sg_sok soks[] = {{3, &sg_world()->sok}};
    const struct sg_org recipe = {
        .pok = &s->net.pok, .soks = soks, .n_soks = 1, .identifier = "example.net"};
    struct kd_buf b = {.p = NULL};
    struct dime_signet parsed;
    enum dime_reason why;
    write_alices(s);
    in = from_net(s, &s->org, octets_of(&s->whole));
    in.signet = sg_make_org(&b, &recipe);
    assert_int_equal(dime_signet_parse(in.signet, &parsed, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&parsed, DIME_PART_FULL, fp), KD_OK);
    in.origin_fp = fp;
    say(a, "alice's message; example.net's signet has example.com's key");
    try_open(s, a, &in, NULL);
    kd_buf_free(&b);
}

void
way_false_signet(struct story *s, struct attempt *a)
{
    uint8_t octets[1024], fp[64];
    struct post_inbound in;

    write_alices(s);
    in = post_from(&s->com, &s->org, octets_of(&s->whole));
    switch (story_pick(s, 5)) {
    case 0:
        memcpy(fp, s->com.full, 64);
        fp[story_pick(s, 64)] ^= 1;
        in.origin_fp = fp;
        say(a, "a fingerprint that is not the signet's");
        break;
    case 1:
        in.origin = "example.net";
        say(a, "example.com's signet as example.net's");
        break;
    case 2:
        memcpy(octets, in.signet.p, in.signet.n);
        octets[6 + story_pick(s, in.signet.n - 6)] ^= 1;
        in.signet.p = octets;
        say(a, "one bit of example.com's signet");
        break;
    case 3:
        in.signet.n -= 1 + story_pick(s, in.signet.n - 1);
        say(a, "the first %zu octets of example.com's signet", in.signet.n);
        break;
    default:
        in.signet = kd_slice(s->whole.out.p, 1500);
        say(a, "a message as the signet");
        break;
    }
    try_open(s, a, &in, NULL);
}

/* For this organization as destination, whose key opened chunk 4 as origin: what chunk
 * 4 holds is put where chunk 5 goes, and example.net signs it. */
static struct kd_slice
write_author_as_recipient(struct story *s)
{
    struct dmw *w = &s->other;
    struct dmw_chunk origin = {.type = 4, .data = kd_slice_str(dmw_text(4))};
    struct dmw_chunk c = {.data = kd_slice_str("Subject: x\r\n")};

    dmw_free(w);
    dmw_begin(w, story_new(s));
    w->people[DIME_DESTINATION] = w->people[DIME_ORIGIN];
    dmw_put(w, &origin);
    size_t at = w->chunks[1].at, end = w->out.n;
    uint8_t copy[2048];
    assert_true(end - at <= sizeof copy);
    memcpy(copy, w->out.p + at, end - at);
    copy[0] = 5;
    dmw_raw(w, kd_slice(copy, end - at));
    struct dmw_mark five = w->chunks[1];
    five.type = 5;
    five.at += end - at;
    five.slots += end - at;
    five.end += end - at;
    w->chunks[w->n++] = five;
    for (size_t i = 0; i < 3; i++) {
        c.type = i == 0 ? 33 : i == 1 ? 34 : 67;
        c.padding = 256 - 69 - (uint32_t)c.data.n;
        dmw_put(w, &c);
    }
    dmw_sign(w, 225, &s->mallory.pair, 0);
    dmw_sign(w, 226, &s->mallory.pair, 0);
    dmw_sign(w, 255, &s->net.sok, 0);
    return dmw_end(w);
}

void
way_author_as_recipient(struct story *s, struct attempt *a)
{
    struct post_inbound in = from_net(s, &s->com, write_author_as_recipient(s));

    say(a, "who wrote it? chunk 4 as chunk 5, to the MTA of example.com");
    try_inbound(s, a, &s->com, KEYD_OP_OPEN_ENVELOPE, &in, NULL);
}

/* --- oracles --- */

static struct dmw_chunk
nets_envelope(const struct story *s, const char *recipient, const uint8_t fp[64])
{
    return post_envelope(
        5, post_destination_text(recipient, fp, "example.net", s->net.full));
}

/* 255 is good, so chunk 5 is opened. */
void
way_envelope_padding(struct story *s, struct attempt *a)
{
    struct dmw_chunk c = nets_envelope(s, bob, s->mallory.core);

    switch (story_pick(s, 3)) {
    case 0:
        c.padding = 16 + (uint32_t)story_pick(s, 100);
        c.spoil_padding = 1 + (uint32_t)story_pick(s, 16);
        say(a, "octet %u of the padding is another", c.spoil_padding);
        break;
    case 1:
        c.has_octet = true;
        c.octet = (uint8_t)(255 - story_pick(s, 3));
        say(a, "the padding says it has %u octets", c.octet);
        break;
    default:
        c.has_length = true;
        c.length = 600 + (uint32_t)story_pick(s, 1 << 20);
        say(a, "the text says it has %u octets", c.length);
        break;
    }
    struct post_inbound in = from_net(s, &s->org, write_of_net(s, &c));
    try_open(s, a, &in, NULL);
}

void
way_envelope_point_off_curve(struct story *s, struct attempt *a)
{
    write_alices(s);
    uint8_t *point = s->whole.out.p + 6 + 4;
    switch (story_pick(s, 3)) {
    case 0:
        memset(point, 0, 33);
        say(a, "33 zero octets");
        break;
    case 1:
        memset(point + 1, 0xff, 32);
        say(a, "x above the field's prime");
        break;
    default:
        point[0] = (uint8_t)(4 + story_pick(s, 252));
        say(a, "a first octet of %u", point[0]);
        break;
    }
    try_whole(s, a);
}

/* Chosen for what it would tell about the key; example.net signs it again. */
void
way_envelope_point_of_choice(struct story *s, struct attempt *a)
{
    struct dmw_chunk c = nets_envelope(s, bob, s->mallory.core);
    char text[32];

    write_of_net(s, &c);
    struct dmw *w = &s->whole;
    snprintf(text, sizeof text, "point %llu", (unsigned long long)story_new(s));
    sg_enc_text(text, w->out.p + 6 + 4);
    w->out.n = dmw_find(w, 255, 0)->at;
    w->n--;
    dmw_sign(w, 255, &s->net.sok, 0);
    struct post_inbound in = from_net(s, &s->org, dmw_end(w));
    say(a, "a point whose logarithm it has, signed by example.net");
    try_open(s, a, &in, NULL);
}

static void
timed(struct story *s, struct attempt *a, bool good_signature)
{
    struct dmw_chunk c = nets_envelope(s, bob, s->mallory.core);

    if (good_signature) { /* and a text that means nothing */
        c.has_length = true;
        c.length = 4000;
    }
    write_of_net(s, &c);
    if (!good_signature)
        s->whole.out.p[dmw_find(&s->whole, 255, 0)->at + 4 + 20] ^= 1;
    struct post_inbound in = from_net(s, &s->org, octets_of(&s->whole));
    int64_t since = kd_clock_ns();
    try_open(s, a, &in, NULL);
    int64_t ns = kd_clock_ns() - since;
    if (a->status != KEYD_INVALID || strcmp(a->detail, "message-refused") != 0)
        found(a, "another answer to one of the two");
    size_t *n = &s->n_took[good_signature];
    if (*n < STORY_TIMED)
        s->took[good_signature][(*n)++] = (double)ns / 1000;
}

/* The durations are judged at the end. */
void
way_envelope_timing(struct story *s, struct attempt *a)
{
    for (size_t i = 0; i < TIMED_AT_ONCE; i++) {
        bool first = story_pick(s, 2) == 0;
        timed(s, a, first);
        timed(s, a, !first);
    }
    say(a, "%d refusals of either kind, timed", TIMED_AT_ONCE);
}

/* --- the rest --- */

void
way_envelope_other_key(struct story *s, struct attempt *a)
{
    uint8_t fp[64];

    write_alices(s);
    struct post_inbound in = post_from(&s->com, &s->org, octets_of(&s->whole));
    memcpy(fp, story_pick(s, 2) == 0 ? s->com.full : s->org.core, 64);
    fp[story_pick(s, 64)] ^= 2;
    in.domain_fp = fp;
    say(a, "alice's message, for a key that nobody has");
    try_open(s, a, &in, NULL);
}

void
way_envelope_corrupt(struct story *s, struct attempt *a)
{
    struct post_inbound in;
    uint8_t digest[64];

    write_alices(s);
    in = post_from(&s->com, &s->org, octets_of(&s->whole));
    switch (story_pick(s, 3)) {
    case 0:
        crypto_hash_sha512(digest, in.message.p, in.message.n);
        in.message = kd_slice(digest, 64);
        say(a, "a digest");
        break;
    case 1:
        in.message = in.signet;
        say(a, "the origin's signet");
        break;
    default:
        in.message.n -= 1 + story_pick(s, in.message.n - 1);
        say(a, "the first %zu octets of alice's message", in.message.n);
        break;
    }
    try_open(s, a, &in, NULL);
}

void
way_guessed_recipient(struct story *s, struct attempt *a)
{
    static const char *const names[] = {"bob", "admin", "alice", "root", "x"};
    char address[64];
    uint8_t fp[64];

    snprintf(address, sizeof address, "%s@example.org",
             names[story_pick(s, LEN(names))]);
    memcpy(fp, s->mallory.core, 64);
    fp[story_pick(s, 64)] ^= (uint8_t)(1 + story_pick(s, 255));
    struct dmw_chunk c = nets_envelope(s, address, fp);
    struct post_inbound in = from_net(s, &s->org, write_of_net(s, &c));
    say(a, "example.net's mail to %s, some signet", address);
    try_open(s, a, &in, NULL);
}

void
way_recipient_elsewhere(struct story *s, struct attempt *a)
{
    static const char *const names[] = {"alice@example.com", "bob@sub.example.org",
                                        "bob@example.net", "bob@xexample.org"};
    size_t i = story_pick(s, LEN(names));
    struct dmw_chunk c = nets_envelope(s, names[i], s->mallory.core);
    struct post_inbound in = from_net(s, &s->org, write_of_net(s, &c));

    say(a, "example.net's mail to %s", names[i]);
    try_open(s, a, &in, NULL);
}

void
way_envelope_wrong_desk(struct story *s, struct attempt *a)
{
    struct post at = s->org;

    write_alices(s);
    if (story_pick(s, 2) == 0) {
        struct kd_buf b;
        write_naked(sg_world()->bob_enc, &b);
        at.milter = s->org_mta;
        say(a, "SealNaked, on the MTA's socket");
        try_seal(s, a, &at, bob, &b);
        kd_buf_free(&b);
        return;
    }
    struct keyd_answer *answer = post_sign(s->com_mta, "alice@example.com",
                                           "example.org", NULL, octets_of(&s->blank));
    a->status = answer->status;
    memcpy(a->detail, answer->detail, strnlen(answer->detail, STORY_WHAT - 1));
    if (answer->status == KEYD_OK)
        found(a, "signatures for an MTA");
    keyd_client_answer_free(answer);
    say(a, "SignOutbound, on the MTA's socket");
}

void
way_envelope_replayed(struct story *s, struct attempt *a)
{
    write_alices(s);
    struct post_inbound in = post_from(&s->com, &s->org, octets_of(&s->whole));
    say(a, "alice's message to bob, as it came");
    try_open(s, a, &in, bob);
}
