/* Names resolved against real servers: a DNSSEC-signed zone and an unsigned one, DMTP
 * hosts with certificates of a recognised authority. */
#include "netns.h"
#include "rs_world.h"
#include "suite.h"

#include <keyd/base/clock.h>

#include <string.h>

enum { HOUR = 3600, DAY = 24 * HOUR, ALARM = 2, WARNING = 1 };

static void
done(struct dime_resolver *r, const struct dime_answer *a)
{
    dime_answer_free(a);
    dime_resolver_free(r);
}

static void
T_RS_1_with_DNSSEC_the_record_is_enough(void **state)
{
    struct dime_resolver *r = rs_resolver("rs1");
    const struct dime_answer *a = rs_ask(r, "example.com", 0, DIME_IS_DARK);

    (void)state;
    assert_true(a->is_secure);
    assert_string_equal(a->domain, "example.com");
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&rs.domains[RS_SIGNED].org)));
    assert_int_equal(a->user_signet.n, 0);
    done(r, a);
}

static void
T_RS_2_without_it_an_authority_must_know_the_host(void **state)
{
    struct dime_resolver *r = rs_resolver("rs2");
    const struct dime_answer *a = rs_ask(r, "example.net", 0, DIME_IS_DARK);

    (void)state;
    assert_false(a->is_secure);
    done(r, a);
    rs_stop_serving(RS_UNSIGNED);
    rs_serve(RS_UNSIGNED, true);
    r = rs_resolver("rs2b");
    a = rs_ask(r, "example.net", 0, DIME_IS_UNTRUSTED);
    assert_true(rs_told(a, "certificate", "", WARNING));
    done(r, a);
    rs_stop_serving(RS_UNSIGNED);
    rs_serve(RS_UNSIGNED, false);
}

static void
T_RS_3_a_record_alone_gives_no_signet(void **state)
{
    struct dime_resolver *r = rs_resolver("rs3");

    (void)state;
    rs_stop_serving(RS_SIGNED);
    done(r, rs_ask(r, "example.com", 0, DIME_IS_UNREACHABLE));
    rs_serve(RS_SIGNED, false);
}

static void
T_RS_5_somebody_elses_signet_is_refused_on_the_wire(void **state)
{
    struct dime_resolver *r = rs_resolver("rs5");
    struct rs_user *bob = rs_user(RS_SIGNED, "bob@example.com");

    (void)state;
    rs_link(RS_SIGNED, "alice@example.com", "alice one", false);
    bob->instead = &rs_user(RS_SIGNED, "alice@example.com")->links[0];
    const struct dime_answer *a = rs_ask(r, "bob@example.com", 0, DIME_IS_UNTRUSTED);
    assert_int_equal(a->user_signet.n, 0);
    assert_true(rs_told(a, "user-signet", "somebody else", ALARM));
    bob->instead = NULL;
    done(r, a);
}

static void
T_RS_8_after_an_hour_the_host_is_asked_whether_it_is_current(void **state)
{
    struct dime_resolver *r = rs_resolver("rs8");
    struct rs_domain *d = &rs.domains[RS_SIGNED];

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    unsigned sgnt = d->n_sgnt, vrfy = d->n_vrfy;
    rs.now += 59 * 60;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    assert_int_equal(d->n_sgnt, sgnt);
    assert_int_equal(d->n_vrfy, vrfy);
    rs.now += 2 * 60;
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_int_equal(d->n_vrfy, vrfy + 1);
    assert_int_equal(d->n_sgnt, sgnt);
    assert_true(rs_told(a, "verify", "current", 0));
    dime_answer_free(a);
    rs.now += 59 * 60; /* it was extended */
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    assert_int_equal(d->n_vrfy, vrfy + 1);
    dime_resolver_free(r);
}

static void
T_RS_12_T_RS_9_a_chain_is_followed_from_the_root_and_from_what_is_known(void **state)
{
    struct dime_resolver *r = rs_resolver("rs9"), *first;
    struct rs_domain *d = &rs.domains[RS_SIGNED];

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    rs_link(RS_SIGNED, "alice@example.com", "alice two", true);
    rs_link(RS_SIGNED, "alice@example.com", "alice three", true);
    rs.now += 2 * HOUR;
    unsigned hist = d->n_hist;
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_int_equal(d->n_hist, hist + 1);
    assert_true(rs_told(a, "chain", "3 links, from the known one", 0));
    dime_answer_free(a);
    first = rs_resolver("rs12");
    a = rs_ask(first, "alice@example.com", 0, DIME_IS_DARK);
    assert_true(rs_told(a, "chain", "3 links, from the root", 0));
    done(first, a);
    dime_resolver_free(r);
}

static void
T_RS_10_T_RS_11_a_broken_chain_is_the_users_to_decide(void **state)
{
    struct dime_resolver *r = rs_resolver("rs11");

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    rs_link(RS_SIGNED, "alice@example.com", "alice stolen", false);
    rs.now += 2 * HOUR;
    const struct dime_answer *a =
        rs_ask(r, "alice@example.com", 0, DIME_IS_CHAIN_BROKEN);
    assert_int_equal(a->user_signet.n, 0);
    assert_true(rs_told(a, "chain", "nobody handed over", ALARM));
    uint8_t known[DIME_FINGERPRINT_SIZE], found[DIME_FINGERPRINT_SIZE];
    memcpy(known, a->known, sizeof known);
    memcpy(found, a->found, sizeof found);
    dime_answer_free(a);
    /* a restart changes nothing; neither does the wrong fingerprint */
    dime_resolver_free(r);
    r = rs_resolver("rs11");
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_CHAIN_BROKEN));
    assert_int_equal(dime_resolver_accept(r, "alice@example.com", known), KD_NOT_FOUND);
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_CHAIN_BROKEN));
    assert_int_equal(dime_resolver_accept(r, "Alice@Example.com", found), KD_OK);
    a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_true(a->user_signet.n != 0);
    done(r, a);
    rs_user(RS_SIGNED, "alice@example.com")->n_links = 3;
}

static void
T_RS_14_a_primary_key_that_DNSSEC_says_is_new_is_taken_and_told(void **state)
{
    struct dime_resolver *r = rs_resolver("rs14");
    struct rs_domain *d = &rs.domains[RS_SIGNED];
    struct sg_pair old = d->pok;

    (void)state;
    dime_answer_free(rs_ask(r, "example.com", 0, DIME_IS_DARK));
    dime_resolver_free(r); /* its DNS cache */
    d->pok = sg_pair_text("another pok");
    rs_sign_org(RS_SIGNED, NULL);
    rs_publish(RS_SIGNED, "");
    rs.now += DAY;
    r = rs_resolver("rs14");
    const struct dime_answer *a = rs_ask(r, "example.com", 0, DIME_IS_DARK);
    assert_true(rs_told(a, "hold", "DNSSEC says so", ALARM));
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&d->org)));
    dime_answer_free(a);
    dime_resolver_free(r);
    d->pok = old;
    rs_sign_org(RS_SIGNED, NULL);
    rs_publish(RS_SIGNED, "");
}

static void
T_RS_15_one_that_it_does_not_say_is_held(void **state)
{
    struct dime_resolver *r = rs_resolver("rs15");
    struct rs_domain *d = &rs.domains[RS_UNSIGNED];
    struct sg_pair old = d->pok;
    struct kd_buf before;

    (void)state;
    kd_buf_init(&before, 8192);
    kd_buf_put(&before, kd_buf_slice(&d->org));
    dime_answer_free(rs_ask(r, "example.net", 0, DIME_IS_DARK));
    dime_resolver_free(r);
    d->pok = sg_pair_text("a thief's pok");
    rs_sign_org(RS_UNSIGNED, NULL);
    rs_publish(RS_UNSIGNED, "");
    for (int hours = 0; hours < 24; hours += 5) {
        rs.now += 5 * HOUR;
        r = rs_resolver("rs15"); /* held over restarts */
        const struct dime_answer *a = rs_ask(r, "example.net", 0, DIME_IS_DARK);
        bool is_held = kd_slice_eq(a->org_signet, kd_buf_slice(&before));
        assert_true(is_held);
        assert_true(rs_told(a, "hold", "the old one is kept", ALARM));
        done(r, a);
    }
    rs.now += 5 * HOUR;
    r = rs_resolver("rs15");
    const struct dime_answer *a = rs_ask(r, "example.net", 0, DIME_IS_DARK);
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&d->org)));
    assert_true(rs_told(a, "hold", "is taken after", ALARM));
    done(r, a);
    d->pok = old;
    rs_sign_org(RS_UNSIGNED, NULL);
    rs_publish(RS_UNSIGNED, "");
    kd_buf_free(&before);
}

static void
T_RS_16_an_orderly_change_is_taken_and_old_user_signets_verify(void **state)
{
    struct dime_resolver *r = rs_resolver("rs16");
    struct rs_domain *d = &rs.domains[RS_SIGNED];
    struct sg_pair old = d->pok;

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    dime_resolver_free(r);
    d->pok = sg_pair_text("the next pok");
    rs_sign_org(RS_SIGNED, &old);
    rs_publish(RS_SIGNED, "");
    rs.now += DAY;
    r = rs_resolver("rs16");
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_true(rs_told(a, "hold", "the old one is listed", 0));
    assert_false(rs_told(a, "hold", "", WARNING));
    done(r, a);
    d->pok = old;
    rs_sign_org(RS_SIGNED, NULL);
    rs_publish(RS_SIGNED, "");
}

static void
T_MR_70_T_MR_71_a_record_that_is_gone_lives_on(void **state)
{
    struct dime_resolver *r = rs_resolver("mr70");

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    dime_resolver_free(r);
    rs_publish(RS_SIGNED, NULL);
    rs.now += 2 * HOUR;
    r = rs_resolver("mr70"); /* after a restart */
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_true(a->is_kept);
    assert_true(rs_told(a, "refresh", "what was known is kept", WARNING));
    done(r, a);
    r = rs_resolver("mr70-new"); /* who has never seen it */
    a = rs_ask(r, "alice@example.com", 0, DIME_IS_LEGACY);
    done(r, a);
    rs.now += 31 * DAY;
    r = rs_resolver("mr70");
    a = rs_ask(r, "alice@example.com", 0, DIME_IS_LEGACY);
    done(r, a);
    rs_publish(RS_SIGNED, "");
}

static void
addresses_without_signets_are_told_apart(void **state)
{
    struct dime_resolver *r = rs_resolver("none");
    struct rs_user *bob = rs_user(RS_SIGNED, "bob@example.com");

    (void)state;
    bob->code = 476;
    dime_answer_free(rs_ask(r, "bob@example.com", 0, DIME_IS_NOT_ENABLED));
    rs.now += 2 * HOUR;
    bob->code = 576;
    dime_answer_free(rs_ask(r, "bob@example.com", 0, DIME_IS_NO_SIGNET));
    rs.now += 2 * HOUR;
    bob->code = 450; /* nobody else is there to be asked */
    dime_answer_free(rs_ask(r, "bob@example.com", 0, DIME_IS_UNREACHABLE));
    bob->code = 0;
    dime_answer_free(rs_ask(r, "not a name", 0, DIME_IS_BAD_NAME));
    dime_answer_free(rs_ask(r, "192.0.2.1", 0, DIME_IS_BAD_NAME));
    dime_answer_free(rs_ask(r, "x@@example.com", 0, DIME_IS_BAD_NAME));
    dime_resolver_free(r);
}

static void
what_is_fresh_costs_nothing_and_offline_asks_nobody(void **state)
{
    struct dime_resolver *r = rs_resolver("fresh");
    struct rs_domain *d = &rs.domains[RS_SIGNED];

    (void)state;
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    unsigned asked = d->n_sgnt + d->n_vrfy + d->n_hist;
    const struct dime_answer *again = rs_ask(r, "ALICE@Example.COM", 0, DIME_IS_DARK);
    assert_ptr_equal(a, again);
    dime_answer_free(again);
    done(r, a);
    r = rs_resolver("fresh");
    dime_answer_free(rs_ask(r, "alice@example.com", DIME_QUERY_OFFLINE, DIME_IS_DARK));
    dime_answer_free(
        rs_ask(r, "carol@example.com", DIME_QUERY_OFFLINE, DIME_IS_UNREACHABLE));
    dime_answer_free(
        rs_ask(r, "dave@example.net", DIME_QUERY_OFFLINE, DIME_IS_UNREACHABLE));
    assert_int_equal(d->n_sgnt + d->n_vrfy + d->n_hist, asked);
    dime_answer_free(rs_ask(r, "alice@example.com", DIME_QUERY_FRESH, DIME_IS_DARK));
    assert_true(d->n_sgnt + d->n_vrfy + d->n_hist > asked);
    dime_resolver_free(r);
}

/* D-077: a day of grace behind the hour, then it is stale. */
static void
a_signet_that_nobody_confirms_serves_for_a_day(void **state)
{
    struct dime_resolver *r = rs_resolver("stale");

    (void)state;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    rs_stop_serving(RS_SIGNED);
    rs.now += 2 * HOUR;
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_DARK);
    assert_true(rs_told(a, "verify", "not confirmed now", WARNING));
    dime_answer_free(a);
    rs.now += DAY;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_STALE));
    rs_serve(RS_SIGNED, false);
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    dime_resolver_free(r);
}

static void
T_RS_6_a_split_signet_is_the_users_to_decide(void **state)
{
    struct dime_resolver *r = rs_resolver("rs6");
    struct rs_user *alice = rs_user(RS_SIGNED, "alice@example.com");

    (void)state;
    alice->instead = &alice->cores[alice->n_links - 1];
    const struct dime_answer *a = rs_ask(r, "alice@example.com", 0, DIME_IS_UNBOUND);
    assert_true(a->user_signet.n != 0); /* to be looked at, not to be used by itself */
    alice->instead = NULL;
    done(r, a);
}

static const struct dime_answer *
ask_print(struct dime_resolver *r, const char *name, const uint8_t *fp)
{
    const struct dime_query q = {
        .name = name, .fingerprint = fp, .deadline = kd_clock_ms() + 15000};
    const struct dime_answer *a = NULL;

    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    return a;
}

static void
T_RS_7_what_was_asked_for_by_fingerprint_has_it(void **state)
{
    struct rs_user *alice = rs_user(RS_SIGNED, "alice@example.com");
    struct dime_signet s;
    enum dime_reason why;
    uint8_t core[DIME_FINGERPRINT_SIZE];

    (void)state;
    assert_int_equal(dime_signet_parse(kd_buf_slice(&alice->links[0]), &s, &why),
                     KD_OK);
    assert_int_equal(dime_fingerprint(&s, DIME_PART_CORE, core), KD_OK);
    /* the host sends the current one, whatever is asked */
    struct dime_resolver *r = rs_resolver("rs7");
    const struct dime_answer *a = ask_print(r, "alice@example.com", core);
    assert_int_equal(a->outcome, DIME_IS_UNTRUSTED);
    assert_true(rs_told(a, "user-signet", "fingerprint", ALARM));
    dime_answer_free(a);
    /* the right one */
    alice->instead = &alice->links[0];
    a = ask_print(r, "alice@example.com", core);
    assert_int_equal(a->outcome, DIME_IS_DARK);
    assert_true(kd_slice_eq(a->user_signet, kd_buf_slice(&alice->links[0])));
    alice->instead = NULL;
    dime_answer_free(a);
    /* a superseded one is in the ring, and nobody is asked */
    dime_resolver_free(r);
    alice->n_links = 1;
    r = rs_resolver("rs7b");
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    alice->n_links = 3;
    rs.now += 2 * HOUR;
    dime_answer_free(rs_ask(r, "alice@example.com", 0, DIME_IS_DARK));
    unsigned asked = rs.domains[RS_SIGNED].n_sgnt;
    a = ask_print(r, "alice@example.com", core);
    assert_int_equal(a->outcome, DIME_IS_DARK);
    assert_true(kd_slice_eq(a->user_signet, kd_buf_slice(&alice->links[0])));
    assert_int_equal(rs.domains[RS_SIGNED].n_sgnt, asked);
    done(r, a);
}

/* Nobody asked for witnesses: a change that nothing vouches for does (D-076). */
static void
T_RS_15_a_syndicate_that_knows_the_old_signet_prolongs_the_wait(void **state)
{
    struct rs_domain *d = &rs.domains[RS_UNSIGNED], *w = &rs.domains[RS_SIGNED];
    struct dime_resolver *r = rs_resolver("rs15s");
    struct sg_pair old = d->pok;

    (void)state;
    w->witnesses = "example.net";
    kd_buf_init(&w->testimony, 8192);
    kd_buf_put(&w->testimony, kd_buf_slice(&d->org));
    dime_answer_free(rs_ask(r, "example.net", 0, DIME_IS_DARK));
    d->pok = sg_pair_text("another thief's pok");
    rs_sign_org(RS_UNSIGNED, NULL);
    rs_publish(RS_UNSIGNED, "syn=dx.example.com ");
    dime_resolver_free(r);
    for (int hours = 0; hours < 40; hours += 5) {
        rs.now += 5 * HOUR;
        r = rs_resolver("rs15s");
        const struct dime_answer *a = rs_ask(r, "example.net", 0, DIME_IS_DARK);
        assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&w->testimony)));
        assert_true(rs_told(a, "syndicate", "has another signet", ALARM));
        done(r, a);
    }
    d->pok = old;
    rs_sign_org(RS_UNSIGNED, NULL);
    rs_publish(RS_UNSIGNED, "");
    w->witnesses = NULL;
    kd_buf_free(&w->testimony);
}

/* A cache that was thrown away is told of in the first answer: what it knew is what
 * kept domains DIME ones. */
static void
what_was_lost_at_the_opening_is_told_once(void **state)
{
    char path[256];
    struct dime_resolver *r = rs_resolver("lost");

    (void)state;
    dime_answer_free(rs_ask(r, "example.com", 0, DIME_IS_DARK));
    dime_resolver_free(r);
    snprintf(path, sizeof path, "%s/lost/cache.db", rs.dir);
    FILE *f = fopen(path, "r+e");
    assert_non_null(f);
    fputs("no database at all, but words", f);
    assert_int_equal(fclose(f), 0);
    r = rs_resolver("lost");
    const struct dime_answer *a = rs_ask(r, "example.com", 0, DIME_IS_DARK);
    assert_true(rs_told(a, "cache", "", ALARM));
    dime_answer_free(a);
    a = rs_ask(r, "example.com", DIME_QUERY_FRESH, DIME_IS_DARK);
    assert_false(rs_told(a, "cache", "", WARNING));
    done(r, a);
}

static void
T_RS_17_a_syndicate_is_a_witness_and_no_source(void **state)
{
    struct rs_domain *d = &rs.domains[RS_SIGNED], *w = &rs.domains[RS_UNSIGNED];
    struct dime_resolver *r;

    (void)state;
    rs_publish(RS_SIGNED, "syn=dx.example.net");
    w->witnesses = "example.com";
    kd_buf_init(&w->testimony, 8192);
    kd_buf_put(&w->testimony, kd_buf_slice(&d->org));
    r = rs_resolver("rs17");
    const struct dime_answer *a =
        rs_ask(r, "example.com", DIME_QUERY_WITNESS, DIME_IS_DARK);
    assert_true(rs_told(a, "syndicate", "has the same signet", 0));
    done(r, a);
    kd_buf_reset(&w->testimony);
    kd_buf_put(&w->testimony, kd_buf_slice(&w->org)); /* somebody else's */
    r = rs_resolver("rs17b");
    a = rs_ask(r, "example.com", DIME_QUERY_WITNESS, DIME_IS_DARK);
    assert_true(rs_told(a, "syndicate", "has another signet", ALARM));
    assert_true(kd_slice_eq(a->org_signet, kd_buf_slice(&d->org)));
    done(r, a);
    /* without the domain's own host the witness gives nothing */
    kd_buf_reset(&w->testimony);
    kd_buf_put(&w->testimony, kd_buf_slice(&d->org));
    rs_stop_serving(RS_SIGNED);
    r = rs_resolver("rs17c");
    done(r, rs_ask(r, "example.com", DIME_QUERY_WITNESS, DIME_IS_UNREACHABLE));
    rs_serve(RS_SIGNED, false);
    rs_publish(RS_SIGNED, "");
    w->witnesses = NULL;
    kd_buf_free(&w->testimony);
}

static int
begin(void **state)
{
    (void)state;
    rs_begin();
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
        cmocka_unit_test(T_RS_1_with_DNSSEC_the_record_is_enough),
        cmocka_unit_test(T_RS_2_without_it_an_authority_must_know_the_host),
        cmocka_unit_test(T_RS_3_a_record_alone_gives_no_signet),
        cmocka_unit_test(T_RS_5_somebody_elses_signet_is_refused_on_the_wire),
        cmocka_unit_test(T_RS_8_after_an_hour_the_host_is_asked_whether_it_is_current),
        cmocka_unit_test(
            T_RS_12_T_RS_9_a_chain_is_followed_from_the_root_and_from_what_is_known),
        cmocka_unit_test(T_RS_10_T_RS_11_a_broken_chain_is_the_users_to_decide),
        cmocka_unit_test(
            T_RS_14_a_primary_key_that_DNSSEC_says_is_new_is_taken_and_told),
        cmocka_unit_test(T_RS_15_one_that_it_does_not_say_is_held),
        cmocka_unit_test(
            T_RS_15_a_syndicate_that_knows_the_old_signet_prolongs_the_wait),
        cmocka_unit_test(what_was_lost_at_the_opening_is_told_once),
        cmocka_unit_test(
            T_RS_16_an_orderly_change_is_taken_and_old_user_signets_verify),
        cmocka_unit_test(T_MR_70_T_MR_71_a_record_that_is_gone_lives_on),
        cmocka_unit_test(addresses_without_signets_are_told_apart),
        cmocka_unit_test(what_is_fresh_costs_nothing_and_offline_asks_nobody),
        cmocka_unit_test(a_signet_that_nobody_confirms_serves_for_a_day),
        cmocka_unit_test(T_RS_6_a_split_signet_is_the_users_to_decide),
        cmocka_unit_test(T_RS_7_what_was_asked_for_by_fingerprint_has_it),
        cmocka_unit_test(T_RS_17_a_syndicate_is_a_witness_and_no_source),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}
