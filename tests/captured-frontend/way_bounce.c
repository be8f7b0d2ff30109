/* story.h: ways with bounces and naked mail. */
#include "story.h"

#include "test.h"

#include <dime/bounce.h>
#include <dime/fingerprint.h>
#include <dime/naked.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { LIMIT = 1 << 20 };

static const char bob[] = "bob@example.org";

/* --- bounces --- */

struct forgery {
    struct kd_slice message;
    const char *domain;                   /* that the report names */
    const struct sg_pair *report_by, *by; /* of the report, of 255 */
    size_t n;
};

static kd_err
sign_next(void *ctx, struct kd_slice message, uint8_t sig[64])
{
    struct forgery *f = ctx;
    struct sg_pair pair = f->n++ == 0 ? *f->report_by : *f->by;

    return sg_signer(&pair, message, sig);
}

/* A bounce of the message's metadata, initialises out. */
static void
forge(struct forgery f, struct kd_buf *out)
{
    const struct dime_source source = dime_source_of(f.message);
    static const uint8_t zeros[64];
    struct dime_message m;
    char id[DIME_FINGERPRINT_CHARS + 1];
    uint8_t origin[33];

    sg_enc_text("keyd-test origin enc", origin);
    dime_fingerprint_text(zeros, id);
    assert_int_equal(dime_message_parse(&source, UINT32_MAX, &m, NULL), KD_OK);
    const struct dime_report report = {.domain = kd_slice_str(f.domain),
                                       .klass = 5,
                                       .message = kd_slice_str(id),
                                       .part = DIME_RETURN_METADATA};
    const struct dime_bounce_plan plan = {.origin = origin,
                                          .report = &report,
                                          .message = &m,
                                          .organization = {sign_next, &f}};
    kd_buf_init(out, LIMIT);
    assert_int_equal(dime_bounce_build(&plan, out), KD_OK);
}

static struct dmw_recipe
with_bounces(struct story *s)
{
    struct dmw_recipe r = alices(s);

    r.no_bounces = false;
    return r;
}

/* By org's right keys, of what com did not sign. */
void
way_bounce_of_unsigned(struct story *s, struct attempt *a)
{
    const struct sg_pair *org = &sg_world()->other_pok;
    const struct sg_pair *others[] = {&s->mallory.pair, &s->net.sok, org};
    static const char *const names[] = {"mallory", "example.net", "example.org"};
    size_t i = story_pick(s, LEN(others) + 1);
    struct dmw_recipe r = with_bounces(s);
    struct kd_buf b;

    if (i < LEN(others))
        r.org_by = others[i];
    write_both(s, r);
    struct kd_slice m = octets_of(i < LEN(others) ? &s->whole : &s->blank);
    forge((struct forgery){m, "example.org", org, org, 0}, &b);
    struct post_inbound in = post_from(&s->org, &s->com, kd_buf_slice(&b));
    say(a, "a bounce of alice's message, 248 by %s",
        i < LEN(others) ? names[i] : "nobody");
    try_inbound(s, a, &s->com, KEYD_OP_OPEN_BOUNCE, &in, NULL);
    kd_buf_free(&b);
}

void
way_bounce_forged(struct story *s, struct attempt *a)
{
    const struct sg_pair *org = &sg_world()->other_pok, *net = &s->net.sok;
    const struct forgery lies[] = {{.report_by = org, .by = net},
                                   {.report_by = net, .by = org},
                                   {.report_by = net, .by = net},
                                   {.report_by = org, .by = org}};
    size_t i = story_pick(s, LEN(lies));
    struct forgery f = lies[i];
    struct kd_buf b;

    write_both(s, with_bounces(s));
    f.message = octets_of(&s->whole);
    f.domain = i == LEN(lies) - 1 ? "example.net" : "example.org";
    forge(f, &b);
    struct post_inbound in = post_from(&s->org, &s->com, kd_buf_slice(&b));
    static const char *const what[] = {"255", "the report", "all of it", NULL};
    if (what[i] != NULL)
        say(a, "example.org's bounce, %s by example.net", what[i]);
    else
        say(a, "example.org's bounce, with example.net's report");
    try_inbound(s, a, &s->com, KEYD_OP_OPEN_BOUNCE, &in, NULL);
    kd_buf_free(&b);
}

/* Who saw the message in passing asks who wrote it. */
void
way_bounce_of_others(struct story *s, struct attempt *a)
{
    const struct sg_pair *net = &s->net.sok;
    struct kd_buf b;

    write_both(s, with_bounces(s));
    forge((struct forgery){octets_of(&s->whole), "example.net", net, net, 0}, &b);
    struct post_inbound in = from_net(s, &s->com, kd_buf_slice(&b));
    say(a, "example.net bounces what alice sent to example.org");
    try_inbound(s, a, &s->com, KEYD_OP_OPEN_BOUNCE, &in, NULL);
    kd_buf_free(&b);
}

void
way_bounce_as_message(struct story *s, struct attempt *a)
{
    const struct sg_pair *org = &sg_world()->other_pok;
    struct kd_buf b;

    write_both(s, with_bounces(s));
    if (story_pick(s, 2) == 0) {
        struct post_inbound in = post_from(&s->org, &s->com, octets_of(&s->whole));
        say(a, "OpenBounce of a message");
        try_inbound(s, a, &s->com, KEYD_OP_OPEN_BOUNCE, &in, NULL);
        return;
    }
    forge((struct forgery){octets_of(&s->whole), "example.org", org, org, 0}, &b);
    if (story_pick(s, 2) == 0) {
        b.p[0] = 1847 >> 8;
        b.p[1] = 1847 & 255;
    }
    struct post_inbound in = post_from(&s->org, &s->com, kd_buf_slice(&b));
    say(a, "OpenEnvelope of a bounce");
    try_inbound(s, a, &s->com, KEYD_OP_OPEN_ENVELOPE, &in, NULL);
    kd_buf_free(&b);
}

void
way_made_bounce(struct story *s, struct attempt *a)
{
    const struct sg_pair *others[] = {&sg_world()->bob, &s->net.sok,
                                      &sg_world()->other_pok};
    static const char *const names[] = {"bob", "example.net", "example.org"};
    size_t i = story_pick(s, LEN(others));
    struct dmw_recipe r = with_bounces(s);
    struct post_inbound in;

    if (story_pick(s, 2) == 0) {
        r.org_by = others[i];
        write_both(s, r);
        in = post_from(&s->com, &s->org, octets_of(&s->whole));
        say(a, "MakeBounce of alice's message, 255 by %s", names[i]);
    } else {
        write_both(s, r);
        in = from_net(s, &s->org, octets_of(&s->whole));
        say(a, "MakeBounce of alice's message, as if from example.net");
    }
    try_inbound(s, a, &s->org, KEYD_OP_MAKE_BOUNCE, &in, NULL);
}

/* --- naked mail --- */

void
way_naked_with_known_key(struct story *s, struct attempt *a)
{
    const struct sg_world *w = sg_world();
    const uint8_t *keys[] = {w->bob.key, w->other_pok.key};
    static const char *const names[] = {"bob's", "the organization's"};
    size_t i = story_pick(s, LEN(keys));
    struct kd_buf b;

    write_naked(w->bob_enc, &b);
    memcpy(b.p + 6 + 4 + 33, keys[i], 32);
    say(a, "naked mail to bob, its one-time key %s", names[i]);
    try_seal(s, a, &s->org, bob, &b);
    kd_buf_free(&b);
}

void
way_naked_taken(struct story *s, struct attempt *a)
{
    struct kd_buf b;

    write_naked(sg_world()->bob_enc, &b);
    b.p[b.n - 1 - story_pick(s, 64)] ^= (uint8_t)(1 + story_pick(s, 255));
    say(a, "naked mail to bob, where the signature goes: octets of choice");
    try_seal(s, a, &s->org, bob, &b);
    kd_buf_free(&b);
}

void
way_naked_other_object(struct story *s, struct attempt *a)
{
    struct kd_buf b;

    kd_buf_init(&b, LIMIT);
    write_alices(s);
    if (story_pick(s, 3) == 0) {
        kd_buf_put(&b, kd_slice(s->org.signet, s->org.signet_size));
        say(a, "SealNaked of a signet");
    } else {
        kd_buf_put(&b, octets_of(&s->blank));
        if (story_pick(s, 2) == 0) {
            b.p[0] = 1908 >> 8;
            b.p[1] = 1908 & 255;
        }
        say(a, "SealNaked of alice's message%s",
            b.p[1] == (1908 & 255) ? " in naked mail's header" : "");
    }
    try_seal(s, a, &s->org, bob, &b);
    kd_buf_free(&b);
}
