/* The captured front-end: somebody has the submission server of example.com and the
 * MTAs of example.com and example.org, with the credentials these have, and asks keyd
 * for what they should not get. First all that is right is served, then the oracle is
 * shown to notice what is planted, then the abuses are played; at the end the logs are
 * compared with what was received.
 *
 *   captured_frontend [--brief|--all] [SEED [ABUSES]]
 *
 * Of the abuses it says what each way got the first time; --all, every time; --brief,
 * only what was not as it must be.
 *
 * Exit status 0 if nothing was given away that should not have been. */
#include "story.h"

#include "scale.h"
#include "suite.h"
#include "test.h"

#include <dime/fingerprint.h>
#include <dime/naked.h>
#include <keyd/base/be.h>
#include <keyd/base/clock.h>

#include <math.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    ABUSES_WHOLE = 10000, /* a tenth is played by default */
    SEALS = 5,            /* naked mail an hour in example.com */
    LISTENED = 200,       /* abuses between two looks at what was heard */
    RECORDS_EACH = 20,
    TRIES = 100,
};

struct way {
    const char *title; /* of a chapter: only that */
    const char *name, *tries;
    way_function *function;
    enum keyd_status status;
    const char *detail; /* NULL: any; with OK what the answer holds */
};

static const struct way ways[] = {
#define CHAPTER(text) {.title = (text)},
#define WAY(name, tries, status, detail)                                               \
    {NULL, #name, tries, way_##name, status, detail},
#include "ways.def"
#undef CHAPTER
#undef WAY
};

/* --- what follows from the seed --- */

static uint64_t
draw(struct story *s)
{
    uint8_t seed[randombytes_SEEDBYTES] = {0};
    uint64_t n;

    kd_put_be64(seed, s->seed);
    kd_put_be64(seed + 8, ++s->drawn);
    randombytes_buf_deterministic(&n, sizeof n, seed);
    return n;
}

size_t
story_pick(struct story *s, size_t n)
{
    return (size_t)(draw(s) % n);
}

uint64_t
story_new(struct story *s)
{
    return draw(s) >> 32;
}

/* --- what is said --- */

void
say(struct attempt *a, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    kd_ignore(vsnprintf(a->what, sizeof a->what, format, list)); /* may be cut */
    va_end(list);
}

void
found(struct attempt *a, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    kd_ignore(vsnprintf(a->hole, sizeof a->hole, format, list)); /* may be cut */
    va_end(list);
}

/* --- messages --- */

void
write_both(struct story *s, struct dmw_recipe r)
{
    dmw_free(&s->blank);
    dmw_free(&s->whole);
    r.placeholders = true;
    dmw_message(&s->blank, &r);
    r.placeholders = false;
    dmw_message(&s->whole, &r);
}

struct dmw_recipe
alices(struct story *s)
{
    enum { SMALL = 3000, LARGE = 60000 /* comes as a descriptor */ };
    static const uint8_t octets[LARGE];
    static struct dmw_chunk parts[2];
    struct dmw_recipe r = {.seed = story_new(s), .no_bounces = story_pick(s, 4) == 0};

    if (story_pick(s, 2) == 0) {
        size_t n = story_pick(s, 8) == 0 ? LARGE : 1 + story_pick(s, SMALL);
        parts[0] =
            (struct dmw_chunk){.type = 67, .data = {octets, 1 + story_pick(s, SMALL)}};
        parts[1] = (struct dmw_chunk){.type = 131, .data = {octets, n}};
        r.contents = parts;
        r.n_contents = 1 + story_pick(s, 2);
    }
    return r;
}

void
write_alices(struct story *s)
{
    write_both(s, alices(s));
}

void
write_by(struct story *s, const struct post_person *p)
{
    struct dmw_chunk c = post_envelope(
        4, post_origin_text(p->address, p->core, "example.org", s->org.full));
    struct dmw_recipe r = alices(s);

    c.by = r.tree_by = r.author_by = &p->pair;
    r.instead = &c;
    write_both(s, r);
}

struct kd_slice
write_of_net(struct story *s, const struct dmw_chunk *destination)
{
    struct dmw_recipe r = alices(s);

    r.instead = destination;
    r.org_by = &s->net.sok;
    r.tree_by = r.author_by = &s->mallory.pair;
    write_both(s, r);
    return octets_of(&s->whole);
}

void
write_naked(const uint8_t recipient[33], struct kd_buf *out)
{
    const struct dime_content part = {
        .type = 67, .data = dime_source_of(kd_slice_str("Hello, Bob.\r\n"))};
    const struct dime_naked_plan plan = {.recipient = recipient,
                                         .common = kd_slice_str(dmw_text(33)),
                                         .headers = kd_slice_str(dmw_text(34)),
                                         .contents = &part,
                                         .n_contents = 1};

    kd_buf_init(out, 1 << 20);
    assert_int_equal(dime_naked_build(&plan, out), KD_OK);
}

/* --- asking --- */

static void
got(struct attempt *a, const struct keyd_answer *answer)
{
    a->status = answer->status;
    kd_ignore(
        snprintf(a->detail, sizeof a->detail, "%s", answer->detail)); /* as above */
}

void
try_sign(struct story *s, struct attempt *a, const char *account,
         const char *destination, const uint8_t *origin_fp, struct kd_slice m)
{
    struct keyd_answer *answer =
        post_sign(s->submit, account, destination, origin_fp, m);

    got(a, answer);
    if (answer->status == KEYD_OK)
        found(a, "%s", judge_signatures(s, m, answer, &s->signed_by[0]));
    keyd_client_answer_free(answer);
}

static bool
is_text(struct keyd_octets o, const char *text)
{
    return text == NULL ? o.n == 0 : o.n == strlen(text) && memcmp(o.p, text, o.n) == 0;
}

static void
judge_inbound(struct story *s, struct attempt *a, const struct post *at,
              const struct keyd_answer *answer, const char *named)
{
    size_t side = strcmp(at->domain, s->com.domain) == 0 ? 0 : 1;

    if (answer->op == KEYD_OP_MAKE_BOUNCE) {
        found(a, "%s",
              judge_bounce(ask_slice(answer->out.bounce.bounce),
                           sg_world()->other_pok.key, &s->signed_by[side]));
        return;
    }
    struct keyd_octets who = answer->op == KEYD_OP_OPEN_ENVELOPE
                                 ? answer->out.envelope.recipient
                                 : answer->out.bounced.author;
    s->n_opened[side]++;
    if (!is_text(who, named))
        found(a, "was told %.*s", (int)who.n, (const char *)who.p);
    else if (named == NULL && answer->op == KEYD_OP_OPEN_ENVELOPE)
        kd_ignore(snprintf(a->detail, sizeof a->detail, "%s", /* as above */
                           answer->out.envelope.verdict == KEYD_ENVELOPE_UNKNOWN
                               ? "586, and names nobody"
                               : "510, and names nobody"));
}

void
try_inbound(struct story *s, struct attempt *a, struct post *at, enum keyd_op op,
            const struct post_inbound *in, const char *named)
{
    struct keyd_answer *answer;

    for (size_t i = 0;; i++) {
        answer = op == KEYD_OP_MAKE_BOUNCE
                     ? post_make_bounce(at->mta, in, KEYD_RETURNED_METADATA)
                     : post_inbound(at->mta, op, in);
        if (answer->status != KEYD_BUSY || i == TRIES ||
            strcmp(answer->detail, "origin-over-rate") != 0)
            break;
        s->n_waited++; /* not what is tried here */
        kd_ignore(poll(NULL, 0, (int)answer->retry_after_ms));
        keyd_client_answer_free(answer);
    }
    got(a, answer);
    if (answer->status == KEYD_OK)
        judge_inbound(s, a, at, answer, named);
    keyd_client_answer_free(answer);
}

void
try_seal(struct story *s, struct attempt *a, struct post *at, const char *recipient,
         const struct kd_buf *mail)
{
    const struct keyd_request q = {
        .op = KEYD_OP_SEAL_NAKED,
        .in.seal_naked = {KEYD_STR(recipient), {mail->p, mail->n}}};
    struct keyd_answer *answer = ask(at->milter, &q);
    size_t side = strcmp(at->domain, s->com.domain) == 0 ? 0 : 1;
    const struct sg_world *w = sg_world();

    got(a, answer);
    if (answer->status == KEYD_OK) {
        assert_int_equal(answer->out.naked.signature.n, 64);
        memcpy(mail->p + mail->n - 64, answer->out.naked.signature.p, 64);
        found(a, "%s",
              judge_last(kd_buf_slice(mail), side == 0 ? w->sok.key : w->other_pok.key,
                         &s->signed_by[side]));
    }
    keyd_client_answer_free(answer);
}

struct post_inbound
from_net(const struct story *s, const struct post *to, struct kd_slice message)
{
    return (struct post_inbound){.origin = "example.net",
                                 .origin_fp = s->net.full,
                                 .domain = to->domain,
                                 .domain_fp = to->full,
                                 .signet = kd_buf_slice(&s->net.signet),
                                 .message = message};
}

/* --- the world --- */

static void
listen_in(struct story *s)
{
    s->submit = tap_start(&s->taps[0], &s->com.d, "submission");
    s->com_mta = tap_start(&s->taps[1], &s->com.d, "mta");
    s->org_mta = tap_start(&s->taps[2], &s->org.d, "mta");
    s->com.mta = s->com_mta;
    s->org.mta = s->org_mta;
}

static void
stop_listening(struct story *s)
{
    keyd_client_free(s->submit);
    keyd_client_free(s->com_mta);
    keyd_client_free(s->org_mta);
    s->com.mta = s->org.mta = NULL;
    for (size_t i = 0; i < STORY_LINES; i++)
        tap_end(&s->taps[i]);
}

static void
make_stranger(struct stranger *n)
{
    n->pok = sg_pair_text("captured example.net above");
    n->sok = sg_pair_text("captured example.net");
    const struct sg_sok soks[] = {{3, &n->sok}};
    const struct sg_org recipe = {
        .pok = &n->pok, .soks = soks, .n_soks = 1, .identifier = "example.net"};
    struct dime_signet parsed;
    enum dime_reason why;

    sg_make_org(&n->signet, &recipe);
    assert_int_equal(dime_signet_parse(kd_buf_slice(&n->signet), &parsed, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&parsed, DIME_PART_CORE, n->core), KD_OK);
    assert_int_equal(dime_fingerprint(&parsed, DIME_PART_FULL, n->full), KD_OK);
}

static void
start(struct story *s)
{
    static const struct post_options com = {
        .in_domain = " author-grace = 0\n"
                     " quotas = { \"SealNaked 1/hour burst 5\" }\n"};
    struct post_person now;

    post_start_com(&s->com, &com);
    post_start_org(&s->org, NULL);
    keyd_client_free(s->com.mta);
    keyd_client_free(s->org.mta);
    make_stranger(&s->net);
    post_issue(&s->com, "mallory@example.com", "mallory", 0, &s->mallory);
    post_issue(&s->com, "carol@example.com", "carol", 0, &s->carol);
    post_issue(&s->com, "carol@example.com", "carol", 1, &now);
    post_issue(&s->com, "frozen@example.com", "frozen", 0, &s->frozen);
    post_account(&s->com, s->frozen.address, KEYD_ACCOUNT_FREEZE);
    post_issue(&s->com, "closed@example.com", "closed", 0, &s->closed);
    post_account(&s->com, s->closed.address, KEYD_ACCOUNT_CLOSE);
    listen_in(s);
    s->before[0] = post_seq(&s->com);
    s->before[1] = post_seq(&s->org);
}

static void
end(struct story *s)
{
    stop_listening(s);
    post_end(&s->com);
    post_end(&s->org);
    dmw_free(&s->blank);
    dmw_free(&s->whole);
    dmw_free(&s->other);
    kd_buf_free(&s->net.signet);
    for (size_t i = 0; i < STORY_SIDES; i++)
        free(s->signed_by[i].p);
}

/* --- what is right is served --- */

static bool
is_served(const char *what, const struct attempt *a)
{
    bool ok = a->status == KEYD_OK && a->hole[0] == '\0';

    printf("     %-57s %s%s%s\n", what, keyd_client_status_text(a->status),
           a->detail[0] == '\0' ? "" : ", ", a->hole[0] != '\0' ? a->hole : a->detail);
    return ok;
}

static bool
serves_signatures(struct story *s)
{
    struct attempt a = {.status = KEYD_OK};

    write_alices(s);
    try_sign(s, &a, "alice@example.com", "example.org", s->com.full,
             octets_of(&s->blank));
    bool ok = is_served("alice's message is signed", &a);
    write_by(s, &s->mallory);
    try_sign(s, &a, s->mallory.address, "example.org", NULL, octets_of(&s->blank));
    ok &= is_served("mallory's own message is signed", &a);
    for (size_t i = 0; i < SEALS; i++) {
        struct kd_buf b;
        write_naked(sg_world()->alice_enc, &b);
        try_seal(s, &a, &s->com, "alice@example.com", &b);
        if (i == 0 || a.status != KEYD_OK || a.hole[0] != '\0')
            ok &= is_served("naked mail for alice is sealed", &a); /* as is the rest */
        kd_buf_free(&b);
    }
    return ok;
}

static bool
serves_mail(struct story *s)
{
    struct attempt a = {.status = KEYD_OK};
    struct dmw_recipe r = alices(s);

    r.no_bounces = false;
    write_both(s, r);
    struct post_inbound in = post_from(&s->com, &s->org, octets_of(&s->whole));
    try_inbound(s, &a, &s->org, KEYD_OP_OPEN_ENVELOPE, &in, "bob@example.org");
    bool ok = is_served("the MTA of example.org is told that it is for bob", &a);
    struct keyd_answer *answer =
        post_make_bounce(s->org.mta, &in, KEYD_RETURNED_MESSAGE);
    got(&a, answer);
    if (answer->status == KEYD_OK) {
        judge_inbound(s, &a, &s->org, answer, NULL);
        in = post_from(&s->org, &s->com, ask_slice(answer->out.bounce.bounce));
        ok &= is_served("it bounces it", &a);
        try_inbound(s, &a, &s->com, KEYD_OP_OPEN_BOUNCE, &in, "alice@example.com");
    }
    ok &= is_served("the MTA of example.com is told that alice wrote it", &a);
    keyd_client_answer_free(answer);
    return ok;
}

static bool
serves(struct story *s)
{
    bool signatures = serves_signatures(s);
    bool mail = serves_mail(s);

    return signatures && mail;
}

/* --- abuses --- */

struct tally {
    size_t tried, good; /* got what they must get */
};

static bool
play(struct story *s, const struct way *w, size_t number, bool is_told)
{
    struct attempt a = {.status = KEYD_FAILED};

    w->function(s, &a);
    bool ok = a.status == w->status && a.hole[0] == '\0';
    if (w->status == KEYD_OK) /* the oracle has judged the rest */
        ok = ok && (a.detail[0] == '\0' || strcmp(a.detail, w->detail) == 0);
    else
        ok = ok && (w->detail == NULL || strcmp(a.detail, w->detail) == 0);
    if (!ok || is_told)
        printf("%s%5zu %-64s -> %s %s%s%s\n", ok ? "" : "HOLE ", number, a.what,
               keyd_client_status_text(a.status),
               w->status == KEYD_OK && a.detail[0] == '\0' ? w->detail : a.detail,
               a.hole[0] == '\0' ? "" : ": ", a.hole);
    return ok;
}

static bool
nothing_was_heard(struct story *s)
{
    const char *what = judge_lines(s);

    if (*what != '\0')
        printf("HOLE  over the sockets came %s\n", what);
    stop_listening(s);
    listen_in(s);
    return *what == '\0';
}

enum telling { TELL_FAULTS, TELL_FIRST, TELL_ALL };

static bool
play_all(struct story *s, size_t n, enum telling telling)
{
    static struct tally tally[LEN(ways)];
    size_t first = 0, played = 0, n_good = 0;
    bool ok = true;

    while (played < n) {
        /* each once, then any */
        bool is_first = first < LEN(ways);
        size_t i = is_first ? first++ : story_pick(s, LEN(ways));
        if (ways[i].title != NULL) {
            if (telling != TELL_FAULTS && is_first)
                printf("  -- %s\n", ways[i].title);
            continue;
        }
        bool is_told = telling == TELL_ALL || (telling == TELL_FIRST && is_first);
        tally[i].tried++;
        tally[i].good += play(s, &ways[i], ++played, is_told);
        if (telling == TELL_FIRST && first == LEN(ways) && is_first && played < n)
            printf("  -- and %zu more of the same kinds\n", n - played);
        if (played % LISTENED == 0)
            ok &= nothing_was_heard(s);
    }
    ok &= nothing_was_heard(s);
    for (size_t i = 0; i < LEN(ways); i++) {
        if (ways[i].title != NULL) {
            printf("%s\n", ways[i].title);
            continue;
        }
        printf("%s%5zu x %-48s -> %s, %s\n",
               tally[i].tried == tally[i].good ? "" : "HOLE ", tally[i].tried,
               ways[i].tries, keyd_client_status_text(ways[i].status),
               ways[i].detail == NULL ? "whatever for" : ways[i].detail);
        n_good += tally[i].good;
    }
    printf("%zu abuses, %zu got what they must get\n", n, n_good);
    return ok && n_good == n;
}

/* --- timing --- */

static int
compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Of the fastest nine tenths. */
static double
mean_of(double *v, size_t *n, double *variance)
{
    double sum = 0, squares = 0;

    qsort(v, *n, sizeof *v, compare);
    *n = *n * 9 / 10;
    for (size_t i = 0; i < *n; i++)
        sum += v[i];
    double mean = sum / (double)*n;
    for (size_t i = 0; i < *n; i++)
        squares += (v[i] - mean) * (v[i] - mean);
    *variance = squares / (double)(*n - 1);
    return mean;
}

/* Sockets, processes and a disk lie between, on a machine that does other things: a
 * gross difference is seen here, a small one by the timing test of the walkers. */
static bool
timing_tells_nothing(struct story *s)
{
    const double most = 10;
    double variance[2], mean[2];

    if (s->n_took[0] < 100)
        return true;
    for (size_t i = 0; i < 2; i++)
        mean[i] = mean_of(s->took[i], &s->n_took[i], &variance[i]);
    double t = (mean[0] - mean[1]) / sqrt(variance[0] / (double)s->n_took[0] +
                                          variance[1] / (double)s->n_took[1]);
    printf("timing: bad signature %.1f us, bad text %.1f us, t = %.2f of %zu and %zu\n",
           mean[0], mean[1], t, s->n_took[0], s->n_took[1]);
    return fabs(t) < most;
}

/* --- the logs --- */

static bool
log_agrees(struct story *s, struct post *p, size_t side, size_t n_abuses)
{
    size_t max = RECORDS_EACH * (n_abuses + 100), n_failed = 0;
    struct kd_audit_record *r = calloc(max, sizeof *r);

    assert_non_null(r);
    size_t n = post_records(p, s->before[side], r, max);
    assert_true(n <= max);
    const char *why =
        judge_records(r, n, &s->signed_by[side], s->n_opened[side], &n_failed);
    printf("%s%s: %zu records of keys used, %zu of them for a refusal; %zu signatures "
           "received, %zu envelopes opened: %s\n",
           *why == '\0' ? "" : "HOLE ", p->domain, n, n_failed, s->signed_by[side].n,
           s->n_opened[side], *why == '\0' ? "the log has these and no others" : why);
    free(r);
    return *why == '\0';
}

/* --- */

static const char introduction[] =
    "example.com and example.org are organizations, each with a keyd of its own.\n"
    "alice, carol and mallory have addresses at the one, bob has his at the other;\n"
    "example.net is a stranger's. An intruder has the submission server of\n"
    "example.com and the servers that take mail in for both, with all that these may\n"
    "do; mallory is his, and so is example.net. What do the two keyds give away?\n"
    "\n"
    "A message is a list of numbered chunks: 2 is the point its keys come from, 4\n"
    "tells its origin who wrote it, 5 its destination who gets it; 225 and 226 are\n"
    "its author's signatures, 248, 249 and 255 his organization's. Naked mail comes\n"
    "from outside and is sealed for its recipient.\n"
    "\n"
    "Left of the arrow stands what is tried, right of it what keyd answered. HOLE\n"
    "before a line would mean that it got more than it should have.\n"
    "\n";

static bool
tell(struct story *s, size_t n, enum telling telling)
{
    fputs(introduction, stdout);
    printf("What is right is served:\n");
    bool ok = serves(s);
    printf("What judges the answers finds what is planted for it:\n");
    ok &= oracle_notices(s);
    printf("The front-ends are captured:\n");
    ok &= play_all(s, n, telling);
    printf("Afterwards, what is right is served:\n");
    struct attempt a = {.status = KEYD_OK};
    write_alices(s);
    try_sign(s, &a, "alice@example.com", "example.org", s->com.full,
             octets_of(&s->blank));
    ok &= is_served("alice's message is signed", &a);
    ok &= timing_tells_nothing(s);
    ok &= log_agrees(s, &s->com, 0, n);
    ok &= log_agrees(s, &s->org, 1, n);
    if (s->n_waited != 0)
        printf("the meter of strangers said to wait %zu times\n", s->n_waited);
    return ok;
}

static bool
is_known(const char *option)
{
    return strcmp(option, "--brief") == 0 || strcmp(option, "--all") == 0;
}

int
main(int argc, char **argv)
{
    static struct story s;
    char **rest = argv + 1;
    enum telling telling = TELL_FIRST;

    suite_begin(1, argv);
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0 && !is_known(argv[1])) {
        fputs("usage: captured_frontend [--brief|--all] [SEED [ABUSES]]\n", stderr);
        return 64;
    }
    if (argc > 1 && strncmp(argv[1], "--", 2) == 0) {
        telling = strcmp(argv[1], "--brief") == 0 ? TELL_FAULTS : TELL_ALL;
        rest++;
    }
    s.seed = rest[0] != NULL ? strtoull(rest[0], NULL, 0) : randombytes_random();
    size_t n = rest[0] != NULL && rest[1] != NULL ? strtoul(rest[1], NULL, 0)
                                                  : test_rounds(ABUSES_WHOLE);
    printf("seed %llu, %zu abuses\n", (unsigned long long)s.seed, n);
    int64_t since = kd_clock_ms();
    start(&s);
    bool ok = tell(&s, n, telling);
    end(&s);
    printf("%s (seed %llu, %lld ms)\n",
           ok ? "Nothing was given away that should not have been."
              : "HOLES, see above",
           (unsigned long long)s.seed, (long long)(kd_clock_ms() - since));
    return ok ? 0 : 1;
}
