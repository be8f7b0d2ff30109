/* Which signets a resolver believes (client/resolver/src/validate.h), for how long
 * (fresh.h), and what it makes of a primary key that changes (hold.h). */
#include <fresh.h>
#include <hold.h>
#include <validate.h>

#include "../support/sg.h"
#include "../support/test.h"

enum { DAY = 24 * 3600 };

static struct kd_buf b_org, b_user;
static struct dime_signet org, user;
static struct dime_mrec record;
static struct validate_why why;

static void
record_of(const struct sg_pair *a, const struct sg_pair *b)
{
    record = (struct dime_mrec){.n_poks = b == NULL ? 1 : 2, .expiry_days = 30};
    memcpy(record.poks[0], a->key, 32);
    if (b != NULL)
        memcpy(record.poks[1], b->key, 32);
}

static enum validate_fault
org_fault(const struct sg_org *recipe, const char *domain)
{
    kd_buf_free(&b_org);
    kd_err err = validate_org(sg_make_org(&b_org, recipe), domain, &record, &org, &why);
    assert_int_equal(err, why.fault == VALIDATE_FINE ? KD_OK : KD_INVALID);
    return why.fault;
}

static enum validate_fault
user_fault(const struct sg_user *recipe, const char *address, const char *supplier)
{
    kd_buf_free(&b_user);
    kd_err err = validate_user(sg_make_user(&b_user, recipe), address, supplier, &org,
                               &user, &why);
    assert_int_equal(err, why.fault == VALIDATE_FINE ? KD_OK : KD_INVALID);
    return why.fault;
}

/* example.com's, with the SOK that signs its users. */
static const struct sg_sok soks[1] = {{3, NULL}};

static void
good_org(void)
{
    const struct sg_sok list[] = {{soks[0].perms, &sg_world()->sok}};

    record_of(&sg_world()->pok, NULL);
    assert_int_equal(
        org_fault(&(struct sg_org){.soks = list, .n_soks = 1}, "example.com"),
        VALIDATE_FINE);
}

static void
T_RS_1_an_organizational_signet_is_by_a_key_of_the_record(void **state)
{
    const struct sg_world *w = sg_world();

    (void)state;
    good_org();
    record_of(&w->other_pok, &w->pok);
    assert_int_equal(org_fault(&(struct sg_org){0}, "example.com"), VALIDATE_FINE);
    record_of(&w->other_pok, NULL);
    assert_int_equal(org_fault(&(struct sg_org){0}, "example.com"), VALIDATE_OTHER_POK);
    record.n_poks = 0;
    assert_int_equal(org_fault(&(struct sg_org){0}, "example.com"), VALIDATE_OTHER_POK);
    record_of(&w->pok, NULL);
    assert_int_equal(org_fault(&(struct sg_org){0}, "example.org"),
                     VALIDATE_OTHER_NAME);
    assert_int_equal(
        org_fault(&(struct sg_org){.identifier = "www.example.com"}, "example.com"),
        VALIDATE_OTHER_NAME);
    assert_int_equal(org_fault(&(struct sg_org){.full_by = &w->sok}, "example.com"),
                     VALIDATE_SIGNATURE);
    assert_int_equal(org_fault(&(struct sg_org){.id_by = &w->sok}, "example.com"),
                     VALIDATE_SIGNATURE);
    assert_int_equal(
        org_fault(&(struct sg_org){.until = DIME_PART_FULL}, "example.com"),
        VALIDATE_UNBOUND);
    kd_buf_free(&b_user);
    struct kd_slice s = sg_make_user(&b_user, &(struct sg_user){0});
    assert_int_equal(validate_org(s, "example.com", &record, &org, &why), KD_INVALID);
    assert_int_equal(why.fault, VALIDATE_FORM);
    assert_int_equal(
        validate_org(kd_slice_str("x"), "example.com", &record, &org, &why),
        KD_INVALID);
    assert_int_equal(why.fault, VALIDATE_FORM);
}

static void
T_RS_4_each_signature_of_a_user_signet_is_looked_at(void **state)
{
    const struct sg_pair *other = &sg_world()->bob;

    (void)state;
    good_org();
    assert_int_equal(
        user_fault(&(struct sg_user){0}, "alice@example.com", "example.com"),
        VALIDATE_FINE);
    const struct sg_user bad[] = {
        {.user_by = other}, {.org_by = other}, {.full_by = other}, {.id_by = other}};
    static const enum dime_reason reasons[] = {
        DIME_BAD_USER_SIGNATURE, DIME_BAD_ORG_SIGNATURE, DIME_BAD_FULL_SIGNATURE,
        DIME_BAD_IDENTIFIED_SIGNATURE};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(user_fault(&bad[i], "alice@example.com", "example.com"),
                         VALIDATE_SIGNATURE);
        assert_int_equal(why.reason, reasons[i]);
    }
}

static void
T_RS_5_somebody_elses_signet_is_refused(void **state)
{
    (void)state;
    good_org();
    assert_int_equal(user_fault(&(struct sg_user){0}, "bob@example.com", "example.com"),
                     VALIDATE_OTHER_NAME);
    assert_int_equal(user_fault(&(struct sg_user){.identifier = "alice@example.org"},
                                "alice@example.org", "example.org"),
                     VALIDATE_OTHER_NAME);
    assert_int_equal(user_fault(&(struct sg_user){.identifier = "alice@example.org"},
                                "alice@example.org", "example.com"),
                     VALIDATE_OTHER_NAME);
    assert_int_equal(user_fault(&(struct sg_user){.identifier = "Alice@example.com"},
                                "alice@example.com", "example.com"),
                     VALIDATE_OTHER_NAME);
}

static void
T_RS_6_a_split_signet_is_unbound(void **state)
{
    (void)state;
    good_org();
    assert_int_equal(user_fault(&(struct sg_user){.until = DIME_PART_FULL},
                                "alice@example.com", "example.com"),
                     VALIDATE_UNBOUND);
    assert_int_equal(user_fault(&(struct sg_user){.until = DIME_PART_CORE},
                                "alice@example.com", "example.com"),
                     VALIDATE_UNBOUND);
    /* unbound, and bad: that comes first */
    assert_int_equal(user_fault(&(struct sg_user){.until = DIME_PART_FULL,
                                                  .full_by = &sg_world()->bob},
                                "alice@example.com", "example.com"),
                     VALIDATE_SIGNATURE);
}

static void
T_RS_7_a_signet_has_the_fingerprint_it_was_asked_for_by(void **state)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];

    (void)state;
    good_org();
    assert_int_equal(
        user_fault(&(struct sg_user){0}, "alice@example.com", "example.com"),
        VALIDATE_FINE);
    for (unsigned part = DIME_PART_CORE; part <= DIME_PART_FULL; part++) {
        assert_int_equal(dime_fingerprint(&user, (enum dime_part)part, fp), KD_OK);
        assert_int_equal(validate_fingerprint(&user, fp, &why), KD_OK);
        fp[63] ^= 1;
        assert_int_equal(validate_fingerprint(&user, fp, &why), KD_INVALID);
        assert_int_equal(why.fault, VALIDATE_FINGERPRINT);
    }
    assert_int_equal(dime_fingerprint(&org, DIME_PART_FULL, fp), KD_OK);
    assert_int_equal(validate_fingerprint(&org, fp, &why), KD_OK);
    assert_int_equal(dime_fingerprint(&org, DIME_PART_CORE, fp), KD_OK);
    assert_int_equal(validate_fingerprint(&org, fp, &why), KD_INVALID);
}

/* A subdomain without a record of its own is its parent's, and no other name is. */
static void
T_MR_54_subdomains_are_the_parents(void **state)
{
    static const char *const no[] = {"alice@xexample.com", "alice@example.com.evil.com",
                                     "alice@com", "alice@a.example.org"};

    (void)state;
    good_org();
    assert_int_equal(
        user_fault(&(struct sg_user){.identifier = "alice@a.b.example.com"},
                   "alice@a.b.example.com", "example.com"),
        VALIDATE_FINE);
    /* its own record supplied: then its own signet speaks */
    assert_int_equal(user_fault(&(struct sg_user){.identifier = "alice@b.example.com"},
                                "alice@b.example.com", "b.example.com"),
                     VALIDATE_OTHER_NAME);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(
            user_fault(&(struct sg_user){.identifier = no[i]}, no[i], "example.com"),
            VALIDATE_OTHER_NAME);
    /* the signatures are looked at all the same */
    assert_int_equal(user_fault(&(struct sg_user){.identifier = "alice@b.example.com",
                                                  .id_by = &sg_world()->bob},
                                "alice@b.example.com", "example.com"),
                     VALIDATE_SIGNATURE);
}

/* --- primary keys that change --- */

static const struct sg_pair *old_key, *new_key;

static void
changed(const struct sg_sok *list, size_t n)
{
    old_key = &sg_world()->other_pok;
    new_key = &sg_world()->pok;
    record_of(new_key, NULL);
    assert_int_equal(
        org_fault(&(struct sg_org){.soks = list, .n_soks = n}, "example.com"),
        VALIDATE_FINE);
}

static enum hold_verdict
judge(struct hold *h, bool is_secure, int64_t now)
{
    return hold_judge(h, old_key->key, &record, is_secure, &org, now);
}

static void
T_RS_14_with_DNSSEC_a_new_key_is_taken_and_told(void **state)
{
    struct hold h = {0};

    (void)state;
    changed(NULL, 0);
    assert_int_equal(judge(&h, true, 1000), HOLD_SECURE);
    assert_int_equal(h.times, 0);
    old_key = new_key;
    assert_int_equal(judge(&h, false, 1000), HOLD_SAME);
}

static void
T_RS_15_without_DNSSEC_a_new_key_waits_for_a_day(void **state)
{
    struct hold h = {0};
    int64_t t = 1000000;

    (void)state;
    changed(NULL, 0);
    assert_int_equal(judge(&h, false, t), HOLD_HELD);
    assert_int_equal(hold_left(&h, t), DAY);
    for (int i = 0; i < 100; i++) /* asking often does not help */
        assert_int_equal(judge(&h, false, t + i), HOLD_HELD);
    assert_int_equal(h.times, 1);
    assert_int_equal(judge(&h, false, t + 4 * 3600), HOLD_HELD);
    assert_int_equal(judge(&h, false, t + 8 * 3600), HOLD_HELD);
    assert_int_equal(judge(&h, false, t + DAY - 1), HOLD_HELD);
    assert_int_equal(h.times, 4);
    assert_int_equal(judge(&h, false, t + DAY), HOLD_OVER);
    /* once, and a day later: not seen often enough */
    h = (struct hold){0};
    assert_int_equal(judge(&h, false, t), HOLD_HELD);
    assert_int_equal(judge(&h, false, t + 3 * DAY), HOLD_HELD);
    assert_true(hold_left(&h, t + 3 * DAY) > 0);
    assert_int_equal(judge(&h, false, t + 3 * DAY + 3600), HOLD_HELD);
    assert_int_equal(judge(&h, false, t + 3 * DAY + 7200), HOLD_OVER);
}

static void
another_new_key_a_witness_or_a_clock_begin_a_hold_anew(void **state)
{
    struct hold h = {0};
    int64_t t = 1000000;

    (void)state;
    changed(NULL, 0);
    assert_int_equal(judge(&h, false, t), HOLD_HELD);
    assert_int_equal(judge(&h, false, t + 7200), HOLD_HELD);
    hold_contradict(&h, t + 8000);
    assert_int_equal(h.times, 1);
    assert_int_equal(h.contradicted, 1);
    assert_int_equal(hold_left(&h, t + 8000), DAY);
    h.pok[0] ^= 1; /* it was another */
    assert_int_equal(judge(&h, false, t + 9000), HOLD_HELD);
    assert_int_equal(h.first_seen, t + 9000);
    assert_int_equal(h.contradicted, 0);
    assert_int_equal(judge(&h, false, t), HOLD_HELD); /* the clock went back */
    assert_int_equal(h.first_seen, t);
    h = (struct hold){0};
    hold_contradict(&h, t);
    assert_int_equal(h.times, 0);
}

static void
T_RS_16_an_old_key_that_is_listed_is_an_orderly_change(void **state)
{
    const struct sg_sok good[] = {{1, &sg_world()->other_pok}};
    const struct sg_sok none[] = {{0, &sg_world()->other_pok}};
    struct hold h = {0};

    (void)state;
    changed(good, 1);
    assert_int_equal(judge(&h, true, 1000), HOLD_LISTED);
    assert_int_equal(judge(&h, false, 1000), HOLD_LISTED);
    changed(none, 1); /* without any permission it is void */
    assert_int_equal(judge(&h, false, 1000), HOLD_HELD);
    changed(NULL, 0);
    record_of(new_key, old_key);
    assert_int_equal(judge(&h, false, 1000), HOLD_LISTED);
}

/* --- how long a signet is believed --- */

static void
T_RS_8_users_an_hour_organizations_sixteen_days_and_a_day_of_grace(void **state)
{
    (void)state;
    assert_int_equal(freshness_of(1000, FRESH_USER, FRESH_GRACE, 1000), FRESH);
    assert_int_equal(freshness_of(1000, FRESH_USER, FRESH_GRACE, 1000 + 3599), FRESH);
    assert_int_equal(freshness_of(1000, FRESH_USER, FRESH_GRACE, 1000 + 61 * 60),
                     FRESH_DUE);
    assert_int_equal(freshness_of(1000, FRESH_USER, FRESH_GRACE, 1000 + 3600 + DAY - 1),
                     FRESH_DUE);
    assert_int_equal(freshness_of(1000, FRESH_USER, FRESH_GRACE, 1000 + 3600 + DAY),
                     FRESH_STALE);
    assert_int_equal(freshness_of(0, FRESH_ORG, FRESH_GRACE, 16 * DAY - 1), FRESH);
    assert_int_equal(freshness_of(0, FRESH_ORG, FRESH_GRACE, 16 * DAY), FRESH_DUE);
    assert_int_equal(freshness_of(5000, FRESH_ORG, FRESH_GRACE, 4999), FRESH_DUE);
}

static int
begin(void **state)
{
    (void)state;
    kd_buf_init(&b_org, 65536);
    kd_buf_init(&b_user, 65536);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    kd_buf_free(&b_org);
    kd_buf_free(&b_user);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T_RS_1_an_organizational_signet_is_by_a_key_of_the_record),
        cmocka_unit_test(T_RS_4_each_signature_of_a_user_signet_is_looked_at),
        cmocka_unit_test(T_RS_5_somebody_elses_signet_is_refused),
        cmocka_unit_test(T_RS_6_a_split_signet_is_unbound),
        cmocka_unit_test(T_RS_7_a_signet_has_the_fingerprint_it_was_asked_for_by),
        cmocka_unit_test(T_MR_54_subdomains_are_the_parents),
        cmocka_unit_test(T_RS_14_with_DNSSEC_a_new_key_is_taken_and_told),
        cmocka_unit_test(T_RS_15_without_DNSSEC_a_new_key_waits_for_a_day),
        cmocka_unit_test(another_new_key_a_witness_or_a_clock_begin_a_hold_anew),
        cmocka_unit_test(T_RS_16_an_old_key_that_is_listed_is_an_orderly_change),
        cmocka_unit_test(
            T_RS_8_users_an_hour_organizations_sixteen_days_and_a_day_of_grace),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
