/* The resolver as a whole among those who mean ill: servers of the DNS, hosts, and who
 * writes into its files. Whatever they do, the verdict is one of those that are named
 * here; never "legacy", so that nothing is sent naked for it; what was pinned stays in
 * the ring; and when they stop, everything is as it was. */
#include "hostile_answers.h"
#include "netns.h"
#include "rs_world.h"
#include "suite.h"

#include <dime/armor.h>
#include <dime/base64.h>
#include <dime/policy.h>
#include <keyd/base/clock.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { HOUR = 3600, QUICK_MS = 900, PATIENT_MS = 8000 };

static const char alice[] = "alice@example.com";

/* --- what holds whatever happens ----------------------------------------------------
 */

/* Outcomes that an attack may have, as a set. */
#define IS(outcome) (1U << DIME_IS_##outcome)

/* Short where somebody is silent: nothing else is waited for. */
static int64_t patience = PATIENT_MS;

static const struct dime_answer *
ask(struct dime_resolver *r, const char *name, unsigned flags, unsigned allowed,
    const char *what)
{
    const struct dime_query q = {
        .name = name, .flags = flags, .deadline = kd_clock_ms() + patience};
    const struct dime_answer *a = NULL;

    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    if ((allowed >> a->outcome & 1) == 0) {
        for (size_t i = 0; i < a->n_steps; i++)
            print_message("  %s: %s\n", a->steps[i].word, a->steps[i].text);
        fail_msg("%s: %s is %s", what, name, dime_outcome_name(a->outcome));
    }
    assert_true(a->outcome != DIME_IS_LEGACY);
    for (unsigned ours = 0; ours < DIME_STANCES; ours++)
        assert_true(dime_policy_send((enum dime_stance)ours, a) != DIME_SEND_NAKED ||
                    a->outcome == DIME_IS_NOT_ENABLED || ours == DIME_STANCE_LEGACY);
    return a;
}

/* What the ring has of alice, without anybody being asked. */
static void
is_pinned(struct dime_resolver *r, struct kd_slice signet)
{
    const struct dime_answer *a = rs_ask(r, alice, DIME_QUERY_OFFLINE, DIME_IS_DARK);

    assert_true(kd_slice_eq(a->user_signet, signet));
    dime_answer_free(a);
}

static struct kd_slice
current(void)
{
    struct rs_user *u = rs_user(RS_SIGNED, alice);

    return kd_buf_slice(&u->links[u->n_links - 1]);
}

/* An attack on alice's host: to who knows her, and to who does not. */
struct attack {
    const char *name;
    unsigned known, unknown; /* outcomes */
};

static void
stands(const struct attack *x)
{
    struct dime_resolver *r = rs_resolver("hostile");

    rs.now += 2 * HOUR; /* what is known is to be confirmed */
    dime_answer_free(ask(r, alice, 0, x->known, x->name));
    dime_resolver_free(r);
    r = rs_resolver(NULL);
    dime_answer_free(ask(r, alice, 0, x->unknown, x->name));
    dime_resolver_free(r);
}

/* When it is over. */
static void
is_over(void)
{
    struct dime_resolver *r = rs_resolver("hostile");

    is_pinned(r, current());
    const struct dime_answer *a = rs_ask(r, alice, DIME_QUERY_FRESH, DIME_IS_DARK);
    assert_true(kd_slice_eq(a->user_signet, current()));
    dime_answer_free(a);
    dime_resolver_free(r);
}

/* --- hosts --------------------------------------------------------------------------
 */

static void
serve(const struct dmtp_server_conf *conf)
{
    struct rs_domain *d = &rs.domains[RS_SIGNED];
    struct dmtp_server_conf c = *conf;
    struct dmtp_server_seen seen;

    dmtp_server_stop(d->server, &seen);
    c.address = d->address;
    c.port = 26;
    c.id = &d->id;
    d->server = dmtp_server_start(&c);
}

static void
serve_well(void)
{
    serve(&(struct dmtp_server_conf){.answer = rs_say, .arg = &rs.domains[RS_SIGNED]});
}

static void
hosts_that_hang_stall_or_never_end(void **state)
{
    static const struct {
        enum dmtp_stage at;
        enum dmtp_trouble trouble;
    } all[] = {
        {DMTP_AT_BANNER, DMTP_HANGS_UP},       {DMTP_AT_BANNER, DMTP_IS_SILENT},
        {DMTP_AT_BANNER, DMTP_ENDLESS_LINE},   {DMTP_AT_TLS, DMTP_HANGS_UP},
        {DMTP_AT_TLS, DMTP_IS_SILENT},         {DMTP_AT_COMMAND, DMTP_HANGS_UP},
        {DMTP_AT_COMMAND, DMTP_SAYS_421},      {DMTP_AT_COMMAND, DMTP_IS_SILENT},
        {DMTP_AT_COMMAND, DMTP_IS_SLOW},       {DMTP_AT_COMMAND, DMTP_ENDLESS_LINE},
        {DMTP_AT_COMMAND, DMTP_ENDLESS_LINES}, {DMTP_AT_COMMAND, DMTP_CUT_IN_HALF},
        {DMTP_AT_COMMAND, DMTP_ENDS_TLS},
    };

    (void)state;
    patience = QUICK_MS;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[64];
        snprintf(name, sizeof name, "host: %d at %d", (int)all[i].trouble,
                 (int)all[i].at);
        /* Known: it serves for a day (D-077). Else it is later's matter. */
        const struct attack x = {name, IS(DARK), IS(UNREACHABLE) | IS(NO_TIME)};
        serve(&(struct dmtp_server_conf){.at = all[i].at, .trouble = all[i].trouble});
        stands(&x);
        serve_well();
        is_over();
    }
    patience = PATIENT_MS;
}

/* What it says instead; to everything. */
static const char *said;

static void
say_text(void *arg, const char *command, struct kd_buf *reply)
{
    (void)arg;
    (void)command;
    kd_buf_printf(reply, "%s", said);
}

/* To SGNT a signet of 16 MiB in good order, as lines of armour. */
static void
say_16_MiB(void *arg, const char *command, struct kd_buf *reply)
{
    enum { LINES = (16 << 20) / 64 };

    (void)arg;
    if (strncmp(command, "SGNT", 4) != 0 && strncmp(command, "VRFY", 4) != 0) {
        kd_buf_printf(reply, "221 BYE\n");
        return;
    }
    unsigned code = strchr(command, '@') == NULL ? 270 : 280;
    kd_buf_printf(reply, "%u------BEGIN %s SIGNET-----\n", code,
                  code == 270 ? "ORGANIZATIONAL" : "USER");
    for (unsigned i = 0; i < LINES && reply->err == KD_OK; i++)
        kd_buf_printf(reply,
                      "%u-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                      "AAAA\n",
                      code);
    kd_buf_printf(reply, "%u OK\n", code);
}

/* Sanitizers keep copies of what was freed. */
#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_KIB = 1 << 20 };
#else
enum { MEMORY_KIB = 48 << 10 };
#endif

static long
memory_kib(void)
{
    struct rusage u;

    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

static void
a_signet_of_16_MiB_is_not_taken(void **state)
{
    const struct attack x = {"16 MiB", IS(DARK), IS(UNREACHABLE) | IS(NO_TIME)};

    (void)state;
    serve(&(struct dmtp_server_conf){.answer = say_16_MiB});
    stands(&x);
    long before = memory_kib();
    for (int i = 0; i < 5; i++)
        stands(&x);
    /* The server is of this process, and has one of them in memory. */
    assert_true(memory_kib() - before < MEMORY_KIB);
    serve_well();
    is_over();
}

static void
replies_that_are_none_are_not_believed(void **state)
{
    static const char *const texts[] = {
        "250 OK\n",
        "280 OK\n",
        "270 OK\n",
        "271 CURRENT\n281 CURRENT\n",
        "2800 OK\n",
        "999 OK\n",
        "-1 OK\n",
        "280-not armour\n280 OK\n",
        "280------BEGIN USER SIGNET-----\n280 OK\n",
        "280------BEGIN USER SIGNET-----\n280-????\n280------END USER SIGNET-----\n"
        "280 OK\n",
        "280-a\n270 OK\n",
        "\n\n\n\n",
        "500 \xff\xfe\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct attack x = {
            texts[i], IS(DARK) | IS(UNTRUSTED) | IS(NO_SIGNET) | IS(UNREACHABLE),
            IS(UNREACHABLE) | IS(NO_TIME) | IS(UNTRUSTED)};
        said = texts[i];
        serve(&(struct dmtp_server_conf){.answer = say_text});
        stands(&x);
        serve_well();
        is_over();
    }
}

/* A host that knows signets, but not whose: D-069, and chains that do not hold. */
static void
signets_of_others_stale_ones_and_forks_are_told(void **state)
{
    struct rs_user *u = rs_user(RS_SIGNED, alice);
    struct rs_user *bob = rs_user(RS_SIGNED, "bob@example.com");
    size_t n = u->n_links;

    (void)state;
    rs_link(RS_SIGNED, "bob@example.com", "bob one", false);
    u->instead = &bob->links[0]; /* valid, and somebody else's */
    stands(&(struct attack){"wrong identifier", IS(UNTRUSTED), IS(UNTRUSTED)});
    u->instead = &u->cores[n - 1]; /* says not whose it is */
    stands(&(struct attack){"split", IS(UNBOUND) | IS(DARK), IS(UNBOUND)});
    u->instead = NULL;
    is_over();

    u->n_links = n - 1; /* what was current before */
    stands(&(struct attack){"stale", IS(CHAIN_BROKEN), IS(DARK)});
    u->n_links = n;
    is_over();

    /* Handed over by the one before alice's, as hers was: a fork. */
    u->n_links = n - 1;
    struct kd_buf link = u->links[n - 1], core = u->cores[n - 1];
    rs_link(RS_SIGNED, alice, "alice forked", true);
    stands(&(struct attack){"fork", IS(CHAIN_BROKEN), IS(DARK)});
    kd_buf_free(&u->links[n - 1]);
    kd_buf_free(&u->cores[n - 1]);
    u->links[n - 1] = link;
    u->cores[n - 1] = core;
    u->n_links = n;
    is_over();

    u->no_history = true; /* a new one, and nobody tells how it came to be */
    rs_link(RS_SIGNED, alice, "alice next", false);
    stands(
        &(struct attack){"no history", IS(CHAIN_BROKEN), IS(DARK) | IS(CHAIN_BROKEN)});
    kd_buf_free(&u->links[n]);
    kd_buf_free(&u->cores[n]);
    u->n_links = n;
    u->no_history = false;
    is_over();
}

/* The organization's by a key that the record does not have. */
static void
an_organizational_signet_by_a_strangers_key_is_refused(void **state)
{
    struct rs_domain *d = &rs.domains[RS_SIGNED];
    struct sg_pair pok = d->pok;

    (void)state;
    d->pok = sg_pair_text("a stranger's");
    rs_sign_org(RS_SIGNED, NULL);
    stands(&(struct attack){"stranger's org", IS(DARK), IS(UNTRUSTED)});
    struct dime_resolver *r = rs_resolver("hostile");
    dime_answer_free(
        ask(r, "example.com", DIME_QUERY_FRESH, IS(UNTRUSTED), "stranger's org"));
    dime_resolver_free(r);
    d->pok = pok;
    rs_sign_org(RS_SIGNED, NULL);
    is_over();
}

/* --- the DNS ------------------------------------------------------------------------
 */

static size_t
good_record(const struct hostile_query *q, uint8_t *out, size_t max)
{
    struct hostile_msg m = hostile_begin(q, 0, out, max);
    char text[128], pok[64];

    dime_base64_write(kd_slice(rs.domains[RS_SIGNED].pok.key, 32), pok);
    snprintf(text, sizeof text, "pok=%s dx=dx.example.com ", pok);
    hostile_txt(&m, NULL, 1, text);
    return m.n;
}

static void
answers_that_nobody_can_use_are_broken_records(void **state)
{
    (void)state;
    patience = QUICK_MS;
    for (size_t i = 0; i < n_hostile_answers; i++) {
        struct hostile_script s = hostile_answers[i];
        struct hostile_dns *h = hostile_dns_start(HOSTILE, hostile_follow, &s);
        struct dime_resolver *r = rs_resolver(NULL);
        dime_answer_free(
            ask(r, "hostile.example", 0, IS(RECORD_BROKEN) | IS(NO_TIME), s.name));
        dime_answer_free(
            ask(r, "x@hostile.example", 0, IS(RECORD_BROKEN) | IS(NO_TIME), s.name));
        dime_resolver_free(r);
        hostile_dns_stop(h);
    }
    patience = PATIENT_MS;
}

/* Who has seen its record knows it to be a DIME domain. */
static void
what_was_known_outlives_a_server_that_turns(void **state)
{
    struct hostile_script s = {"good", good_record};
    struct hostile_dns *h = hostile_dns_start(HOSTILE, hostile_follow, &s);
    struct dime_resolver *r = rs_resolver("turns");
    const struct dime_answer *a;

    (void)state;
    a = ask(r, "hostile.example", 0, ~0U & ~IS(LEGACY), "good");
    assert_non_null(a->record);
    dime_answer_free(a);
    dime_resolver_free(r);
    hostile_dns_stop(h);
    patience = QUICK_MS;
    for (size_t i = 0; i < n_hostile_answers; i++) {
        rs.now += 2 * HOUR;
        s = hostile_answers[i];
        h = hostile_dns_start(HOSTILE, hostile_follow, &s);
        r = rs_resolver("turns");
        dime_answer_free(ask(r, "hostile.example", 0, ~0U & ~IS(LEGACY), s.name));
        dime_resolver_free(r);
        hostile_dns_stop(h);
    }
    patience = PATIENT_MS;
}

/* --- its own files ------------------------------------------------------------------
 */

static const char *const files[] = {"ring.db", "ring.copy.db", "cache.db"};

static char *
path_of(size_t which, char out[256])
{
    snprintf(out, 256, "%s/hostile/%s", rs.dir, files[which]);
    return out;
}

/* A bit, a cut, a hole or other octets. */
static void
damage(size_t which)
{
    char path[256];
    FILE *f = fopen(path_of(which, path), "r+e");
    uint8_t octet;

    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size > 0);
    long at = (long)randombytes_uniform((uint32_t)size);
    if (randombytes_uniform(4) == 0) {
        assert_int_equal(ftruncate(fileno(f), at), 0);
    } else {
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        assert_int_equal(fread(&octet, 1, 1, f), 1);
        octet ^= (uint8_t)(1U << randombytes_uniform(8));
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        assert_int_equal(fwrite(&octet, 1, 1, f), 1);
    }
    assert_int_equal(fclose(f), 0);
}

/* Who has lost the ring would begin anew, with the first signet that is shown. */
static void
still_knows(struct dime_resolver *r)
{
    const struct dime_answer *a = rs_ask(r, alice, DIME_QUERY_FRESH, DIME_IS_DARK);

    assert_true(kd_slice_eq(a->user_signet, current()));
    assert_false(rs_told(a, "chain", "from the root", 0));
    dime_answer_free(a);
    is_pinned(r, current());
}

static void
files_that_are_flipped_or_cut_lose_nothing_of_the_ring(void **state)
{
    enum { ROUNDS = 60 };
    struct dime_resolver *r;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        size_t which = (size_t)i % 3;
        damage(which);
        r = rs_resolver("hostile");
        /* Without a cache nobody knows, offline, that there is a record. */
        dime_answer_free(ask(r, alice, DIME_QUERY_OFFLINE,
                             IS(DARK) | IS(STALE) | IS(UNREACHABLE), files[which]));
        still_knows(r);
        dime_resolver_free(r);
    }
}

static void
files_that_are_damaged_while_they_are_used(void **state)
{
    enum { ROUNDS = 30 };

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct dime_resolver *r = rs_resolver("hostile");
        dime_answer_free(rs_ask(r, alice, 0, DIME_IS_DARK));
        damage((size_t)i % 3);
        for (int k = 0; k < 3; k++) {
            rs.now += 2 * HOUR;
            dime_answer_free(ask(r, alice, 0,
                                 IS(DARK) | IS(UNREACHABLE) | IS(RECORD_BROKEN),
                                 files[i % 3]));
        }
        dime_resolver_free(r);
        r = rs_resolver("hostile");
        still_knows(r);
        dime_resolver_free(r);
    }
}

/* --- */

static int
begin(void **state)
{
    (void)state;
    rs_begin();
    rs_link(RS_SIGNED, alice, "alice one", false);
    rs_link(RS_SIGNED, alice, "alice two", true);
    struct dime_resolver *r = rs_resolver("hostile");
    dime_answer_free(rs_ask(r, alice, 0, DIME_IS_DARK));
    dime_resolver_free(r);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    rs_end();
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_that_hang_stall_or_never_end),
        cmocka_unit_test(a_signet_of_16_MiB_is_not_taken),
        cmocka_unit_test(replies_that_are_none_are_not_believed),
        cmocka_unit_test(signets_of_others_stale_ones_and_forks_are_told),
        cmocka_unit_test(an_organizational_signet_by_a_strangers_key_is_refused),
        cmocka_unit_test(answers_that_nobody_can_use_are_broken_records),
        cmocka_unit_test(what_was_known_outlives_a_server_that_turns),
        cmocka_unit_test(files_that_are_flipped_or_cut_lose_nothing_of_the_ring),
        cmocka_unit_test(files_that_are_damaged_while_they_are_used),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}
