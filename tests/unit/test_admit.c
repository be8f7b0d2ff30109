/* Who may begin a handshake: rates and numbers of sources and strangers. */
#include "admit.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static struct admit a;
static int64_t now = 1000000;

static const struct kd_limits limits = {
    .max_handshakes = 64, .handshake_rate = 10, .handshake_rate_total = 100};

static int
setup(void **state)
{
    (void)state;
    now += 1000000;
    admit_setup(&a, &limits, now);
    return 0;
}

static struct sockaddr_storage
address(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(&out, &in, sizeof in);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        memcpy(&out, &in6, sizeof in6);
    }
    return out;
}

static enum admit_verdict
ask(const char *from, struct source **s)
{
    struct sockaddr_storage at = address(from);

    return admit_ask(&a, (struct sockaddr *)&at, now, s);
}

/* One that ends at once, with the certificate of that principal ("": a bad one). */
static enum admit_verdict
pass_as(const char *from, const char *name)
{
    struct source *s = NULL;
    enum admit_verdict v = ask(from, &s);

    if (v == ADMIT_OK)
        admit_end(&a, s, kd_slice_str(name), now);
    return v;
}

static enum admit_verdict
pass(const char *from, bool is_good)
{
    return pass_as(from, is_good ? "mx1" : "");
}

static unsigned
passes(const char *from, unsigned n)
{
    unsigned good = 0;

    for (unsigned i = 0; i < n; i++)
        good += pass(from, false) == ADMIT_OK;
    return good;
}

static void
a_source_has_its_rate_and_twice_as_many_at_once(void **state)
{
    (void)state;
    assert_int_equal(passes("192.0.2.1", 50), 20);
    assert_int_equal(pass("192.0.2.1", false), ADMIT_TOO_OFTEN);
    now += 100;
    assert_int_equal(passes("192.0.2.1", 5), 1);
    for (int i = 0; i < 100; i++, now += 100) /* ten seconds */
        assert_true(passes("192.0.2.1", 5) <= 2);
    now += 60000;
    assert_int_equal(passes("192.0.2.1", 50), 20);
}

static void
a_source_is_an_address_or_a_prefix_of_64(void **state)
{
    (void)state;
    assert_int_equal(passes("192.0.2.1", 50), 20);
    assert_int_equal(passes("192.0.2.2", 50), 20);
    assert_int_equal(passes("::ffff:192.0.2.1", 5), 0);
    assert_int_equal(passes("2001:db8:0:1::1", 50), 20);
    assert_int_equal(passes("2001:db8:0:1:ffff::2", 5), 0);
    assert_int_equal(passes("2001:db8:0:2::1", 50), 20);
}

static void
unfinished_ones_of_a_source_are_bounded(void **state)
{
    struct source *list[9];

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(ask("192.0.2.1", &list[i]), ADMIT_OK);
    assert_int_equal(ask("192.0.2.1", &list[8]), ADMIT_TOO_MANY);
    assert_int_equal(ask("192.0.2.2", &list[8]), ADMIT_OK);
    admit_end(&a, list[0], kd_slice_str(""), now);
    assert_int_equal(ask("192.0.2.1", &list[0]), ADMIT_OK);
}

static void
strangers_together_have_a_rate_and_who_is_known_is_not_among_them(void **state)
{
    unsigned good = 0;
    char from[32];

    (void)state;
    assert_int_equal(pass("198.51.100.1", true), ADMIT_OK);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(from, sizeof from, "192.0.%u.%u", i / 200, i % 200);
        good += pass(from, false) == ADMIT_OK;
    }
    assert_int_equal(good, 199);
    assert_int_equal(pass("203.0.113.1", false), ADMIT_STRANGERS);
    assert_int_equal(passes("198.51.100.1", 50), 19);
    now += ADMIT_KNOWN_MS - 1;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(from, sizeof from, "192.0.%u.%u", i / 200, i % 200);
        kd_ignore(pass(from, false));
    }
    assert_int_equal(pass("198.51.100.1", false), ADMIT_OK);
    now += 2;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(from, sizeof from, "192.0.%u.%u", i / 200, i % 200);
        kd_ignore(pass(from, false));
    }
    assert_int_equal(pass("198.51.100.1", false), ADMIT_STRANGERS);
}

static void
a_flood_of_sources_does_not_make_a_known_one_forgotten(void **state)
{
    char from[40];

    (void)state;
    assert_int_equal(pass("198.51.100.1", true), ADMIT_OK);
    for (unsigned i = 0; i < 20000; i++, now += 7) {
        snprintf(from, sizeof from, "2001:db8:%x:%x::1", i / 256, i % 256);
        kd_ignore(pass(from, false));
    }
    for (unsigned i = 0; i < 300; i++) {
        snprintf(from, sizeof from, "192.0.%u.%u", i / 200, i % 200);
        kd_ignore(pass(from, false));
    }
    assert_int_equal(pass("203.0.113.1", false), ADMIT_STRANGERS);
    assert_int_equal(pass("198.51.100.1", false), ADMIT_OK);
}

static void
entries_with_unfinished_ones_are_not_given_away(void **state)
{
    struct source *first, *s;
    char from[40];
    unsigned n = 0;

    (void)state;
    assert_int_equal(ask("198.51.100.1", &first), ADMIT_OK);
    for (unsigned i = 0; i < 2000; i++, now += 10) {
        snprintf(from, sizeof from, "2001:db8:%x:%x::1", i / 256, i % 256);
        n += ask(from, &s) == ADMIT_OK;
    }
    assert_int_equal(n, ADMIT_SOURCES - 1);
    assert_int_equal(first->n_unfinished, 1);
    admit_end(&a, first, kd_slice_str("mx1"), now);
}

static unsigned
party_of(const char *from)
{
    struct source *s = NULL;

    assert_int_equal(ask(from, &s), ADMIT_OK);
    unsigned party = admit_party(s, now);
    admit_end(&a, s, kd_slice_str(""), now);
    return party;
}

static void
sources_of_one_principal_are_one_party(void **state)
{
    (void)state;
    assert_int_equal(party_of("192.0.2.1"), ADMIT_STRANGERS_PARTY);
    assert_int_equal(pass_as("192.0.2.1", "mx1"), ADMIT_OK);
    assert_int_equal(pass_as("192.0.2.2", "mx1"), ADMIT_OK);
    assert_int_equal(pass_as("192.0.2.3", "mx2"), ADMIT_OK);
    unsigned one = party_of("192.0.2.1");
    assert_true(one != ADMIT_STRANGERS_PARTY && one < ADMIT_PARTIES);
    assert_int_equal(party_of("192.0.2.2"), one);
    assert_int_not_equal(party_of("192.0.2.3"), one);
    assert_int_not_equal(party_of("192.0.2.3"), ADMIT_STRANGERS_PARTY);
    assert_int_equal(pass_as("192.0.2.3", "mx1"), ADMIT_OK); /* another's now */
    assert_int_equal(party_of("192.0.2.3"), one);
    now += ADMIT_KNOWN_MS + 1;
    assert_int_equal(party_of("192.0.2.1"), ADMIT_STRANGERS_PARTY);
}

static void
a_principal_of_many_addresses_does_not_have_others_forgotten(void **state)
{
    char from[40];
    unsigned n = 0;

    (void)state;
    assert_int_equal(pass_as("198.51.100.1", "mx1"), ADMIT_OK);
    for (unsigned i = 0; i < 3000; i++, now += 10) {
        snprintf(from, sizeof from, "2001:db8:%x:%x::1", i / 256, i % 256);
        n += pass_as(from, "mx2") == ADMIT_OK;
    }
    assert_true(n > 2 * ADMIT_SOURCES);
    assert_int_not_equal(party_of("198.51.100.1"), ADMIT_STRANGERS_PARTY);
}

static void
every_principal_has_a_party_and_parties_are_used_again(void **state)
{
    char from[40], name[16];

    (void)state;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 1; i < ADMIT_PARTIES; i++, now += 10) {
            snprintf(from, sizeof from, "2001:db8:%x:%x::1", round, i);
            snprintf(name, sizeof name, "p%u-%u", round, i);
            assert_int_equal(pass_as(from, name), ADMIT_OK);
            /* Those of the second find all taken by names that are not used any more.
             */
            assert_true(round == 1 || party_of(from) != ADMIT_STRANGERS_PARTY);
        }
}

static void
what_has_no_address_is_refused(void **state)
{
    struct sockaddr_storage at = {.ss_family = AF_UNIX};
    struct source *s;

    (void)state;
    assert_int_equal(admit_ask(&a, (struct sockaddr *)&at, now, &s), ADMIT_UNREADABLE);
}

int
main(void)
{
#define FRESH(test) cmocka_unit_test_setup(test, setup)
    const struct CMUnitTest tests[] = {
        FRESH(a_source_has_its_rate_and_twice_as_many_at_once),
        FRESH(a_source_is_an_address_or_a_prefix_of_64),
        FRESH(unfinished_ones_of_a_source_are_bounded),
        FRESH(strangers_together_have_a_rate_and_who_is_known_is_not_among_them),
        FRESH(a_flood_of_sources_does_not_make_a_known_one_forgotten),
        FRESH(entries_with_unfinished_ones_are_not_given_away),
        FRESH(sources_of_one_principal_are_one_party),
        FRESH(a_principal_of_many_addresses_does_not_have_others_forgotten),
        FRESH(every_principal_has_a_party_and_parties_are_used_again),
        FRESH(what_has_no_address_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
