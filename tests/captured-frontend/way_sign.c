/* story.h: ways of a captured submission server. */
#include "story.h"

#include "test.h"

#include <dime/fingerprint.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const char alice[] = "alice@example.com", destination[] = "example.org";

static void
try_blank(struct story *s, struct attempt *a, const char *account)
{
    try_sign(s, a, account, destination, NULL, octets_of(&s->blank));
}

/* --- authors --- */

void
way_foreign_author(struct story *s, struct attempt *a)
{
    if (story_pick(s, 2) == 0) {
        write_alices(s);
        say(a, "alice's message, asked for as %s", s->mallory.address);
        try_blank(s, a, s->mallory.address);
    } else {
        write_by(s, &s->mallory);
        say(a, "mallory's message, asked for as %s", alice);
        try_blank(s, a, alice);
    }
}

static void
alice_fp(uint8_t out[64])
{
    const char *text = strchr(dmw_text(4), '[') + 1;

    assert_int_equal(dime_fingerprint_read(kd_slice((const uint8_t *)text, 86), out),
                     KD_OK);
}

/* Mallory writes: whose name and signet, and by whose key chunk 4 itself. */
void
way_forged_author(struct story *s, struct attempt *a)
{
    const struct sg_pair *m = &s->mallory.pair, *bob = &sg_world()->bob;
    const char *const mallory = s->mallory.address;
    uint8_t hers[64], *own = s->mallory.core;

    alice_fp(hers);
    const struct {
        const char *what, *author, *account;
        const uint8_t *fp;
        const struct sg_pair *by;
    } lies[] = {{"alice, her signet", alice, alice, hers, m},
                {"alice, mallory's signet", alice, alice, own, m},
                {"mallory, alice's signet", mallory, alice, hers, m},
                {"alice, her signet", alice, mallory, hers, m},
                {"alice, mallory's signet", alice, mallory, own, m},
                {"mallory, alice's signet", mallory, mallory, hers, m},
                {"mallory, by bob's key", mallory, mallory, own, bob}};
    size_t i = story_pick(s, LEN(lies));
    struct dmw_chunk c = post_envelope(
        4, post_origin_text(lies[i].author, lies[i].fp, destination, s->org.full));
    c.by = lies[i].by;
    struct dmw_recipe r = alices(s);
    r.instead = &c;
    r.tree_by = r.author_by = m;
    write_both(s, r);
    say(a, "by mallory; author: %s; as %s", lies[i].what, lies[i].account);
    try_blank(s, a, lies[i].account);
}

void
way_forged_signature(struct story *s, struct attempt *a)
{
    const struct sg_world *w = sg_world();
    const struct sg_pair *others[] = {&w->alice0, &w->bob, &s->mallory.pair,
                                      &s->net.sok};
    static const char *const names[] = {"alice's former", "bob's", "mallory's",
                                        "example.net's"};
    size_t i = story_pick(s, LEN(others)), which = story_pick(s, 3);
    struct dmw_recipe r = alices(s);

    if (which != 0)
        r.tree_by = others[i];
    if (which != 1)
        r.author_by = others[i];
    write_both(s, r);
    say(a, "%s by %s key",
        which == 0   ? "226"
        : which == 1 ? "225"
                     : "225 and 226",
        names[i]);
    try_blank(s, a, alice);
}

/* Superseded, and there is no grace in this domain. */
void
way_stale_signet(struct story *s, struct attempt *a)
{
    write_by(s, &s->carol);
    say(a, "%s by the signet she had before", s->carol.address);
    try_blank(s, a, s->carol.address);
}

void
way_swapped_signet(struct story *s, struct attempt *a)
{
    struct post_person p = s->mallory;
    uint8_t fp[64];

    alice_fp(fp);
    switch (story_pick(s, 4)) {
    case 0:
        memcpy(p.core, fp, 64);
        say(a, "mallory's message names alice's signet");
        break;
    case 1:
        memcpy(p.core, s->carol.core, 64);
        say(a, "mallory's message names carol's former signet");
        break;
    case 2:
        memcpy(p.core, s->com.full, 64);
        say(a, "mallory's message names the organization's signet");
        break;
    default:
        p.core[story_pick(s, 64)] ^= 1;
        say(a, "mallory's message names a signet that is not there");
        break;
    }
    write_by(s, &p);
    try_blank(s, a, p.address);
}

void
way_encryption_key(struct story *s, struct attempt *a)
{
    struct sg_pair pair;
    uint8_t scalar[32];
    char hex[65];
    struct dmw_recipe r = alices(s);

    crypto_hash_sha256(scalar, (const uint8_t *)"keyd-test alice enc", 19);
    sodium_bin2hex(hex, sizeof hex, scalar, 32);
    pair = sg_pair_hex(hex);
    r.author_by = &pair;
    if (story_pick(s, 2) == 0)
        r.tree_by = &pair;
    write_both(s, r);
    say(a, "alice's message, signed with the scalar she decrypts with");
    try_blank(s, a, alice);
}

void
way_frozen(struct story *s, struct attempt *a)
{
    write_by(s, &s->frozen);
    say(a, "a good message by %s", s->frozen.address);
    try_blank(s, a, s->frozen.address);
}

void
way_closed(struct story *s, struct attempt *a)
{
    write_by(s, &s->closed);
    say(a, "a good message by %s", s->closed.address);
    try_blank(s, a, s->closed.address);
}

void
way_nobody(struct story *s, struct attempt *a)
{
    write_alices(s);
    say(a, "alice's message as nobody@example.com");
    try_blank(s, a, "nobody@example.com");
}

void
way_foreign_domain(struct story *s, struct attempt *a)
{
    static const char *const accounts[] = {"alice@example.edu", "bob@example.org",
                                           "alice@sub.example.com"};
    size_t i = story_pick(s, LEN(accounts));

    write_alices(s);
    say(a, "alice's message as %s", accounts[i]);
    try_blank(s, a, accounts[i]);
}

/* --- alice's messages, changed --- */

/* One of what its author has signed. */
static const struct dmw_mark *
pick_chunk(struct story *s, uint8_t last)
{
    const struct dmw_mark *m;

    do
        m = &s->blank.chunks[1 + story_pick(s, s->blank.n - 1)];
    while (m->type > last);
    return m;
}

/* Her other message has the same ephemeral key, so its chunks open here, too. */
void
way_spliced_chunk(struct story *s, struct attempt *a)
{
    struct dmw_recipe r = alices(s);

    write_both(s, r);
    r.seed = story_new(s);
    r.placeholders = true;
    dmw_free(&s->other);
    dmw_message(&s->other, &r);
    const struct dmw_mark *m = pick_chunk(s, 226);
    memcpy(s->blank.out.p + m->at, s->other.out.p + m->at, m->end - m->at);
    say(a, "chunk %u of alice's other message", m->type);
    try_blank(s, a, alice);
}

void
way_swapped_recipient(struct story *s, struct attempt *a)
{
    static const char *const names[] = {"eve@example.org", "alice@example.com",
                                        "bob@example.net"};
    size_t i = story_pick(s, LEN(names));
    const struct dmw_chunk c =
        post_envelope(5, post_destination_text(names[i], s->mallory.core, "example.com",
                                               s->com.full));
    struct dmw_recipe r = alices(s);

    write_both(s, r);
    r.instead = &c;
    r.placeholders = true;
    dmw_free(&s->other);
    dmw_message(&s->other, &r);
    const struct dmw_mark *m = dmw_find(&s->blank, 5, 0);
    const struct dmw_mark *from = dmw_find(&s->other, 5, 0);
    assert_int_equal(m->end - m->at, from->end - from->at);
    memcpy(s->blank.out.p + m->at, s->other.out.p + from->at, m->end - m->at);
    say(a, "alice's message to bob, re-aimed at %s", names[i]);
    try_blank(s, a, alice);
}

void
way_other_destination(struct story *s, struct attempt *a)
{
    static const char *const others[] = {"example.net", "example.com", "xexample.org",
                                         "example.or",  "org",         "a.example.org"};
    size_t i = story_pick(s, LEN(others));

    write_alices(s);
    say(a, "alice's message to example.org, sent to %s", others[i]);
    try_sign(s, a, alice, others[i], NULL, octets_of(&s->blank));
}

void
way_flipped_bit(struct story *s, struct attempt *a)
{
    write_alices(s);
    const struct dmw_mark *m = pick_chunk(s, 255);
    size_t at = m->at + 4 + story_pick(s, m->slots - m->at - 4);
    unsigned bit = (unsigned)story_pick(s, 8);
    s->blank.out.p[at] ^= (uint8_t)(1 << bit);
    say(a, "chunk %u, octet %zu, bit %u", m->type, at, bit);
    try_blank(s, a, alice);
}

void
way_place_taken(struct story *s, struct attempt *a)
{
    uint8_t types[] = {248, 249, 255};
    struct dmw_recipe r = alices(s);

    r.no_bounces = false;
    write_both(s, r);
    uint8_t type = types[story_pick(s, LEN(types))];
    const struct dmw_mark *m = dmw_find(&s->blank, type, 0);
    uint8_t *at = s->blank.out.p + m->at + 4;
    if (story_pick(s, 2) == 0) {
        memcpy(at, s->whole.out.p + m->at + 4, 64);
        say(a, "%u: the signature it will have", type);
    } else {
        uint8_t chosen[64] = {0};
        crypto_hash_sha512(chosen, (const uint8_t *)&s->drawn, sizeof s->drawn);
        dmw_seal(&m->key, kd_slice(chosen, sizeof chosen), at);
        say(a, "%u: 64 octets of choice", type);
    }
    try_blank(s, a, alice);
}

void
way_no_place(struct story *s, struct attempt *a)
{
    write_alices(s);
    s->blank.out.n = dmw_find(&s->blank, 255, 0)->at;
    dmw_end(&s->blank);
    say(a, "alice's message without 255");
    try_blank(s, a, alice);
}

/* --- what is no message --- */

static void
try_octets(struct story *s, struct attempt *a, const struct kd_buf *b)
{
    assert_int_equal(b->err, KD_OK);
    try_sign(s, a, alice, destination, NULL, kd_buf_slice(b));
}

static void
put_header(struct kd_buf *b, uint16_t magic, size_t n)
{
    kd_buf_u16(b, magic);
    kd_buf_u32(b, (uint32_t)n);
}

void
way_bare_digest(struct story *s, struct attempt *a)
{
    uint8_t digest[64];
    size_t n = story_pick(s, 2) == 0 ? 32 : 64, dress = story_pick(s, 3);
    static const uint8_t start[] = {2, 0, 0, 33};
    struct kd_buf b;

    write_alices(s);
    if (n == 32)
        crypto_hash_sha256(digest, s->whole.out.p, s->whole.out.n);
    else
        crypto_hash_sha512(digest, s->whole.out.p, s->whole.out.n);
    kd_buf_init(&b, 4096);
    if (dress > 0)
        put_header(&b, 1847, n + (dress > 1 ? sizeof start : 0));
    if (dress > 1)
        kd_buf_put(&b, kd_slice(start, sizeof start));
    kd_buf_put(&b, kd_slice(digest, n));
    say(a, "%zu octets of a digest%s", n,
        dress == 0   ? ""
        : dress == 1 ? " behind a message's header"
                     : " in chunk 2");
    try_octets(s, a, &b);
    kd_buf_free(&b);
}

void
way_signet_as_message(struct story *s, struct attempt *a)
{
    static const uint8_t chunk[] = {2, 0, 0, 33};
    struct kd_slice ssr = sg_file("appendix/SSR1.b64");
    bool is_org = story_pick(s, 2) == 0;
    struct kd_slice from = is_org ? kd_slice(s->com.signet, s->com.signet_size) : ssr;
    size_t dress = story_pick(s, 3);
    uint8_t point[33];
    struct kd_buf b;

    sg_enc_text("keyd-test ephemeral", point);
    kd_buf_init(&b, 8192);
    if (dress == 0) {
        kd_buf_put(&b, from);
    } else {
        put_header(&b, 1847, from.n - 6 + (dress == 2 ? 37 : 0));
        if (dress == 2) {
            kd_buf_put(&b, kd_slice(chunk, sizeof chunk));
            kd_buf_put(&b, kd_slice(point, sizeof point));
        }
        kd_buf_put(&b, kd_slice(from.p + 6, from.n - 6));
    }
    say(a, "%s%s", is_org ? "the organizational signet" : "a signing request",
        dress == 0   ? " as it is"
        : dress == 1 ? "'s fields in a message's header"
                     : "'s fields behind a good chunk 2");
    try_octets(s, a, &b);
    kd_buf_free(&b);
    sg_free(ssr);
}

void
way_message_as_signet(struct story *s, struct attempt *a)
{
    struct kd_buf b;

    write_alices(s);
    kd_buf_init(&b, 1 << 20);
    kd_buf_put(&b, octets_of(&s->blank));
    if (story_pick(s, 2) == 0) {
        b.n = 6 + 37;
        b.p[0] = DIME_MAGIC_SSR >> 8;
        b.p[1] = DIME_MAGIC_SSR & 255;
        b.p[2] = b.p[3] = b.p[4] = 0;
        b.p[5] = 37;
        say(a, "IssueUserSignet of chunk 2 in a request's header");
    } else {
        b.n = PERSON_SSR_MAX; /* no more can be asked for */
        say(a, "IssueUserSignet of the first octets of alice's message");
    }
    struct keyd_answer *answer = ask_plain(s->submit, alice, kd_buf_slice(&b));
    a->status = answer->status;
    memcpy(a->detail, answer->detail, strnlen(answer->detail, STORY_WHAT - 1));
    if (answer->status == KEYD_OK)
        found(a, "a signet of a message");
    keyd_client_answer_free(answer);
    kd_buf_free(&b);
}

void
way_other_object(struct story *s, struct attempt *a)
{
    struct kd_buf b;

    write_alices(s);
    switch (story_pick(s, 4)) {
    case 0:
        write_naked(sg_world()->bob_enc, &b);
        say(a, "naked mail");
        break;
    case 1:
        write_naked(sg_world()->bob_enc, &b);
        b.p[0] = 1847 >> 8;
        b.p[1] = 1847 & 255;
        say(a, "naked mail in a message's header");
        break;
    case 2:
        kd_buf_init(&b, 1 << 20);
        kd_buf_put(&b, octets_of(&s->blank));
        b.n -= 1 + story_pick(s, b.n - 1);
        say(a, "the first %zu octets of alice's message", b.n);
        break;
    default:
        kd_buf_init(&b, 1 << 20);
        kd_buf_put(&b, octets_of(&s->blank));
        kd_buf_u8(&b, 0);
        b.p[0] = 1931 >> 8;
        b.p[1] = 1931 & 255;
        say(a, "alice's message in a bounce's header");
        break;
    }
    try_octets(s, a, &b);
    kd_buf_free(&b);
}

/* --- points, padding --- */

void
way_point_off_curve(struct story *s, struct attempt *a)
{
    write_alices(s);
    uint8_t *point = s->blank.out.p + 6 + 4;
    switch (story_pick(s, 4)) {
    case 0:
        memset(point, 0, 33);
        say(a, "33 zero octets");
        break;
    case 1:
        memset(point + 1, 0xff, 32);
        say(a, "x above the field's prime");
        break;
    case 2:
        point[0] = (uint8_t)(4 + story_pick(s, 252));
        say(a, "a first octet of %u", point[0]);
        break;
    default: /* x = 5 has no y */
        memset(point, 0, 33);
        point[0] = (uint8_t)(2 + story_pick(s, 2));
        point[32] = 5;
        say(a, "an x that is on the twist, sign %u", point[0]);
        break;
    }
    try_blank(s, a, alice);
}

/* All of it right but that: slots and signatures are made for this point. */
static struct kd_slice
write_for_point(struct story *s, const uint8_t point[33])
{
    static const uint8_t types[] = {4, 5, 33, 34, 67};
    struct dmw *w = &s->blank;

    dmw_free(w);
    dmw_begin(w, story_new(s));
    memcpy(w->out.p + 6 + 4, point, 33);
    for (size_t i = 0; i < DIME_ACTOR_COUNT; i++)
        assert_int_equal(dime_kek_agree(w->people[i].scalar, point, &w->people[i].kek),
                         KD_OK);
    for (size_t i = 0; i < LEN(types); i++) {
        size_t least = types[i] < 6 ? 512 : 256;
        struct dmw_chunk c = {.type = types[i],
                              .data = kd_slice_str(dmw_text(types[i]))};
        c.padding = (uint32_t)(least - 69 - c.data.n);
        dmw_put(w, &c);
    }
    dmw_sign(w, 225, &sg_world()->alice, 0);
    dmw_sign(w, 226, &sg_world()->alice, 0);
    dmw_sign(w, 255, NULL, 0);
    return dmw_end(w);
}

void
way_point_of_a_key(struct story *s, struct attempt *a)
{
    static const char *const texts[] = {"keyd-test origin enc", "keyd-test alice enc"};
    static const char *const names[] = {"the organization's", "alice's"};
    size_t i = story_pick(s, LEN(texts));
    uint8_t point[33];

    sg_enc_text(texts[i], point);
    write_alices(s);
    say(a, "alice's message, its point %s encryption key", names[i]);
    try_sign(s, a, alice, destination, NULL, write_for_point(s, point));
}

void
way_point_of_choice(struct story *s, struct attempt *a)
{
    uint8_t point[33];
    char text[32];

    write_alices(s);
    snprintf(text, sizeof text, "point %llu", (unsigned long long)story_new(s));
    sg_enc_text(text, point);
    if (story_pick(s, 2) == 0) {
        point[0] ^= 1;
        say(a, "the negative of a point whose logarithm it has");
    } else {
        say(a, "a point whose logarithm it has");
    }
    memcpy(s->blank.out.p + 6 + 4, point, 33);
    try_blank(s, a, alice);
}

/* Mallory's own message, so that all other signatures are good. */
void
way_padding(struct story *s, struct attempt *a)
{
    struct dmw_chunk c =
        post_envelope(4, post_origin_text(s->mallory.address, s->mallory.core,
                                          destination, s->org.full));
    struct dmw_recipe r = alices(s);
    const struct sg_pair *m = &s->mallory.pair;

    c.by = r.tree_by = r.author_by = m;
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
    r.instead = &c;
    write_both(s, r);
    try_blank(s, a, s->mallory.address);
}

/* --- the rest --- */

void
way_other_key(struct story *s, struct attempt *a)
{
    uint8_t fp[64];

    write_alices(s);
    memcpy(fp, story_pick(s, 2) == 0 ? s->org.full : s->net.full, 64);
    fp[story_pick(s, 64)] ^= 16;
    say(a, "alice's message, decrypted by the key of another signet");
    try_sign(s, a, alice, destination, fp, octets_of(&s->blank));
}

/* The quota was used up at the beginning, by what was right. */
void
way_over_quota(struct story *s, struct attempt *a)
{
    struct kd_buf b;

    write_naked(sg_world()->alice_enc, &b);
    say(a, "good naked mail for alice, one more this hour");
    try_seal(s, a, &s->com, alice, &b);
    kd_buf_free(&b);
}

void
way_wrong_desk(struct story *s, struct attempt *a)
{
    static const enum keyd_op ops[] = {KEYD_OP_OPEN_ENVELOPE, KEYD_OP_OPEN_BOUNCE};
    size_t i = story_pick(s, LEN(ops) + 1);
    struct post at = s->com;

    write_alices(s);
    at.mta = at.milter = s->submit;
    if (i == LEN(ops)) {
        struct kd_buf b;
        write_naked(sg_world()->alice_enc, &b);
        say(a, "SealNaked, on the submission socket");
        try_seal(s, a, &at, alice, &b);
        kd_buf_free(&b);
        return;
    }
    struct post_inbound in = post_from(&s->com, &s->com, octets_of(&s->whole));
    say(a, "%s, on the submission socket", i == 0 ? "OpenEnvelope" : "OpenBounce");
    try_inbound(s, a, &at, ops[i], &in, NULL);
}

void
way_replayed(struct story *s, struct attempt *a)
{
    write_alices(s);
    say(a, "alice's message, which she did send, to where she sent it");
    try_blank(s, a, alice);
}
