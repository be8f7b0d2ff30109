/* The pool of PKCS#11 hosts against hosts that do what the test says: which PIN is
 * tried and how often, what counts as a hang and what does not, doubts, the doctor. */
#include "../support/scripted_hosts.h"
#include "../support/suite.h"

#include "../../pkcs11/pool/pool.h"

#include <keyd/base/clock.h>
#include <keyd/base/secret.h>

#include <poll.h>
#include <string.h>

enum { SOON_MS = 3000, LATCH = 1, OTHER_LATCH = 2, WRONG_PIN = 2 };

enum event {
#define KD_EVENT(name, level, text) EVENT_##name,
#include <keyd/events.def>
#undef KD_EVENT
};

static bool
comes_to(_Atomic unsigned *count, unsigned n, int64_t ms)
{
    int64_t until = kd_clock_ms() + ms;

    while (*count < n) {
        if (kd_clock_ms() >= until)
            return false;
        kd_ignore(poll(NULL, 0, 2));
    }
    return true;
}

static void
nap(int ms)
{
    kd_ignore(poll(NULL, 0, ms));
}

static struct scripted *
up(unsigned sessions, uint32_t timeout_ms, size_t n_keys)
{
    struct scripted *s = scripted_new(sessions, timeout_ms);

    scripted_hold(s, n_keys, LATCH, NULL, NULL);
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    while (scripted_status(s).hosts < sessions)
        nap(2);
    return s;
}

/* --- PIN --- */

static void
a_refused_pin_is_not_tried_again_because_a_list_is_older(void **state)
{
    struct scripted *s = scripted_new(1, 1000);

    (void)state;
    s->pin = WRONG_PIN;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(scripted_becomes(s, P11_REFUSED, SOON_MS));
    assert_int_equal(s->n_logins, 1);
    for (int i = 0; i < 3; i++) {
        scripted_seal(s);
        scripted_hold(s, 1, LATCH, NULL, NULL); /* as it was before the login */
        assert_true(scripted_becomes(s, P11_REFUSED, SOON_MS));
        assert_int_equal(scripted_status(s).finding, P11_PIN_REFUSED);
    }
    assert_int_equal(s->n_logins, 1);
    scripted_seal(s);
}

static void
a_good_pin_is_known_before_the_store_has_it(void **state)
{
    struct scripted *s = up(1, 1000, 1);
    uint8_t tag[KD_PIN_TAG_SIZE];

    (void)state;
    scripted_tag(SCRIPTED_RIGHT_PIN, LATCH, tag);
    assert_memory_equal(s->good, tag, sizeof tag);
    for (unsigned i = 1; i <= 3; i++) {
        scripted_hold(s, 1, LATCH, NULL, tag); /* the store: tried, nothing else yet */
        s->quits = 1;
        assert_true(comes_to(&s->known[SCRIPTED_RIGHT_PIN], i, SOON_MS));
    }
    assert_int_equal(s->events[EVENT_TOKEN_PIN_REFUSED], 0);
    assert_int_equal(s->logins[SCRIPTED_RIGHT_PIN], 4);
    scripted_seal(s);
}

/* Of another token, or after another key store: what the pool knew is of no use. */
static void
tags_under_another_latch_key_are_the_stores(void **state)
{
    struct scripted *s = up(1, 1000, 1);
    uint8_t tag[KD_PIN_TAG_SIZE];

    (void)state;
    scripted_seal(s);
    scripted_tag(SCRIPTED_RIGHT_PIN, OTHER_LATCH, tag);
    scripted_hold(s, 1, OTHER_LATCH, NULL, tag);
    assert_true(scripted_becomes(s, P11_REFUSED, SOON_MS));
    assert_int_equal(s->n_logins, 1);
    scripted_seal(s);
    scripted_hold(s, 1, LATCH, tag, NULL); /* and back: none is known here any more */
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    assert_int_equal(s->known[SCRIPTED_RIGHT_PIN], 0);
    scripted_seal(s);
}

/* That the last tags were stored says nothing of those that are to be. */
static void
a_pin_is_tried_only_after_its_own_tag_was_stored(void **state)
{
    struct scripted *s = scripted_new(1, 1000);
    uint8_t wrong[KD_PIN_TAG_SIZE];

    (void)state;
    s->holds_tags = true;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(comes_to(&s->n_tags, 1, SOON_MS));
    nap(100);
    assert_int_equal(s->n_logins, 0);
    p11_tags_stored(s->p, 0, KD_OK);
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    assert_true(
        comes_to(&s->n_tags, 2, SOON_MS)); /* that it was good, not stored yet */
    s->pin = WRONG_PIN;
    s->quits = 1;
    nap(200);
    p11_tags_stored(s->p, 0, KD_OK);
    assert_true(comes_to(&s->n_tags, 3, SOON_MS));
    nap(200);
    assert_int_equal(s->logins[WRONG_PIN], 0);
    scripted_tag(WRONG_PIN, LATCH, wrong);
    assert_memory_equal(s->tried, wrong, sizeof wrong);
    p11_tags_stored(s->p, 0, KD_OK);
    assert_true(comes_to(&s->logins[WRONG_PIN], 1, SOON_MS));
    s->holds_tags = false;
    scripted_seal(s);
}

static void
nobody_logs_in_once_it_is_sealed(void **state)
{
    struct scripted *s = scripted_new(1, 1000);

    (void)state;
    s->holds_tags = true;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(comes_to(&s->n_tags, 1, SOON_MS));
    scripted_seal(s);
    p11_tags_stored(s->p, 0, KD_OK);
    nap(200);
    assert_int_equal(s->n_logins, 0);
    assert_int_equal(scripted_status(s).state, P11_IDLE);
    s->holds_tags = false; /* and the PIN, which was not tried, is not told as tried */
    p11_tags_stored(s->p, 0, KD_SEALED);
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    scripted_seal(s);
}

static void
that_a_pin_was_good_is_stored_again_if_it_could_not_be(void **state)
{
    struct scripted *s = scripted_new(1, 1000);
    uint8_t tag[KD_PIN_TAG_SIZE], none[KD_PIN_TAG_SIZE] = {0};

    (void)state;
    s->holds_tags = true;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(comes_to(&s->n_tags, 1, SOON_MS));
    p11_tags_stored(s->p, 0, KD_OK);
    assert_true(comes_to(&s->n_tags, 2, SOON_MS));
    p11_tags_stored(s->p, 0, KD_IO);
    assert_true(comes_to(&s->n_tags, 3, 2 * SOON_MS));
    scripted_tag(SCRIPTED_RIGHT_PIN, LATCH, tag);
    assert_memory_equal(s->good, tag, sizeof tag);
    assert_memory_equal(s->tried, none, sizeof none);
    p11_tags_stored(s->p, 0, KD_OK);
    scripted_seal(s);
}

static void
a_missing_pin_is_the_one_that_is_waited_for(void **state)
{
    struct scripted *s = scripted_new(1, 1000);

    (void)state;
    s->tag_ms = 400;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    nap(150);
    p11_no_pin(s->p, 1, KD_NOT_FOUND); /* late, of one that is gone */
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    assert_int_equal(s->events[EVENT_TOKEN_REFUSED], 0);
    scripted_seal(s);

    s = scripted_new(1, 1000);
    s->tag_ms = 1500;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    nap(150);
    p11_no_pin(s->p, 0, KD_NOT_FOUND);
    assert_true(scripted_becomes(s, P11_REFUSED, SOON_MS));
    assert_int_equal(scripted_status(s).finding, P11_PIN_MISSING);
    scripted_seal(s);

    s = scripted_new(1, 1000);
    s->tag_ms = 1500;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    nap(150);
    p11_no_pin(s->p, 0, KD_UNAVAILABLE); /* no such process: not the file */
    assert_true(scripted_becomes(s, P11_OPEN, SOON_MS)); /* it passes */
    assert_int_equal(scripted_status(s).finding, P11_LOGIN_FAILED);
    s->tag_ms = 0;
    assert_true(scripted_becomes(s, P11_CLOSED, 2 * SOON_MS));
    scripted_seal(s);

    s = scripted_new(1, 1000);
    s->tag_ms = 3000; /* it was asked too often, and says nothing */
    scripted_hold(s, 1, LATCH, NULL, NULL);
    assert_true(scripted_becomes(s, P11_OPEN, SOON_MS));
    assert_int_equal(scripted_status(s).finding, P11_LOGIN_FAILED);
    s->tag_ms = 0;
    assert_true(scripted_becomes(s, P11_CLOSED, 2 * SOON_MS));
    scripted_seal(s);
}

/* --- what is a hang --- */

struct load {
    struct scripted *s;
    _Atomic bool ends;
    pthread_t thread;
};

static void *
load_main(void *arg)
{
    struct load *l = arg;
    struct kd_token_sig sig;

    while (!l->ends)
        if (l->s->device->ops->sign(l->s->device, &l->s->keys[0].id,
                                    kd_slice_str("some message"), INT64_MAX,
                                    &sig) != KD_OK)
            nap(5);
    return NULL;
}

static void
load_begin(struct load *l, struct scripted *s)
{
    *l = (struct load){.s = s};
    assert_int_equal(pthread_create(&l->thread, NULL, load_main, l), 0);
}

static void
load_end(struct load *l)
{
    l->ends = true;
    pthread_join(l->thread, NULL);
}

static kd_err
doubt(struct scripted *s, size_t key, int64_t ms)
{
    return p11_confirm(s->p, 0, &s->keys[key].id, kd_clock_ms() + ms);
}

static void
a_busy_token_has_more_time_for_a_trial_than_one_that_answers_nobody(void **state)
{
    enum { TIMEOUT = 900, SLOW = TIMEOUT / 2 };
    struct scripted *s = up(3, TIMEOUT, 1);
    static struct load load; /* its thread may outlive a failure */

    (void)state;
    s->sign_ms = 10;
    load_begin(&load, s);
    nap(100);
    s->trial_ms = SLOW;
    for (int i = 0; i < 4; i++)
        assert_int_equal(doubt(s, 0, SOON_MS), KD_OK);
    assert_int_equal(scripted_status(s).opened, 0);
    load_end(&load);
    nap(TIMEOUT);
    assert_int_not_equal(doubt(s, 0, SOON_MS), KD_OK);
    assert_true(scripted_becomes(s, P11_OPEN, TIMEOUT));
    scripted_seal(s);
}

static void
a_token_that_hangs_under_load_is_away_within_a_second(void **state)
{
    struct scripted *s = up(4, 600, 1); /* as configured if nothing is said */
    static struct load loads[3];

    (void)state;
    for (size_t i = 0; i < 3; i++)
        load_begin(&loads[i], s);
    nap(200);
    s->trial_ms = s->sign_ms = 60000;
    int64_t began = kd_clock_ms();
    assert_true(scripted_becomes(s, P11_OPEN, SOON_MS));
    assert_in_range(kd_clock_ms() - began, 0, 1000);
    s->trial_ms = s->sign_ms = 0;
    for (size_t i = 0; i < 3; i++)
        load_end(&loads[i]);
    assert_true(scripted_becomes(s, P11_CLOSED, 5000));
    scripted_seal(s);
}

struct large {
    struct scripted *s;
    kd_err err;
};

static void *
sign_large(void *arg)
{
    enum { SIZE = 48 << 20 }; /* two seconds, as it is reckoned */
    struct large *l = arg;
    struct kd_token_sig sig;
    uint8_t *text = calloc(1, SIZE);

    l->err = KD_NOMEM;
    if (text != NULL)
        l->err = l->s->device->ops->sign(l->s->device, &l->s->keys[0].id,
                                         kd_slice(text, SIZE), INT64_MAX, &sig);
    free(text);
    return NULL;
}

static void
a_large_message_takes_its_time_and_is_no_hang(void **state)
{
    struct scripted *s = up(1, 300, 1);
    static struct large large;

    (void)state;
    large.s = s;
    s->large_ms = 1800;
    sign_large(&large);
    assert_int_equal(large.err, KD_OK);
    assert_int_equal(scripted_status(s).opened, 0);
    assert_int_equal(scripted_status(s).state, P11_CLOSED);
    s->large_ms = 5000; /* beyond what it may take */
    sign_large(&large);
    assert_int_equal(large.err, KD_UNAVAILABLE);
    scripted_seal(s);
}

/* A token that does one thing at a time. */
static void
a_trial_waits_for_a_large_message(void **state)
{
    struct scripted *s = up(2, 300, 1);
    static struct large large;
    pthread_t thread;

    (void)state;
    large.s = s;
    s->large_ms = 1500;
    s->trial_in_large_ms = 500;
    assert_int_equal(pthread_create(&thread, NULL, sign_large, &large), 0);
    while (s->n_large == 0)
        nap(2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(doubt(s, 0, SOON_MS), KD_OK);
    pthread_join(thread, NULL);
    assert_int_equal(large.err, KD_OK);
    assert_int_equal(scripted_status(s).opened, 0);
    scripted_seal(s);
}

/* --- keys --- */

struct doubter {
    struct scripted *s;
    size_t key;
    kd_err err;
};

static void *
doubt_main(void *arg)
{
    struct doubter *d = arg;

    d->err = doubt(d->s, d->key, 700);
    return NULL;
}

static void
doubts_about_keys_that_are_not_bound_hurt_nobody(void **state)
{
    struct scripted *s = up(2, 1000, 1);
    static struct doubter doubters[3];
    pthread_t threads[3];

    (void)state;
    s->missing = 2 | 4 | 8;
    scripted_hold(s, 4, LATCH, NULL, NULL);
    nap(100);
    s->tag_ms = 300; /* a host that is lost is not back at once */
    unsigned trials = s->n_trials, logins = s->n_logins;
    for (size_t i = 0; i < 3; i++) {
        doubters[i] = (struct doubter){.s = s, .key = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, doubt_main, &doubters[i]),
                         0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_not_equal(doubters[i].err, KD_OK);
    }
    assert_in_range(s->n_trials - trials, 0,
                    5); /* nor is anything tried all the time */
    assert_int_equal(s->n_logins, logins);
    assert_int_equal(scripted_status(s).opened, 0);
    assert_int_equal(scripted_status(s).state, P11_CLOSED);
    scripted_seal(s);
}

static void
a_key_that_is_back_is_found(void **state)
{
    struct scripted *s = up(2, 1000, 1);
    struct kd_token_sig sig;

    (void)state;
    nap(1200); /* no key was bad when they were last looked at */
    s->missing = 2;
    scripted_hold(s, 2, LATCH, NULL, NULL);
    nap(100);
    assert_int_equal(s->device->ops->usable(s->device, &s->keys[1].id), KD_NOT_FOUND);
    s->missing = 0; /* restored from its clone */
    for (int i = 0;
         i < 300 && s->device->ops->usable(s->device, &s->keys[1].id) != KD_OK; i++)
        nap(10);
    assert_int_equal(s->device->ops->sign(s->device, &s->keys[1].id,
                                          kd_slice_str("text"), INT64_MAX, &sig),
                     KD_OK);
    assert_int_equal(doubt(s, 1, SOON_MS), KD_OK);
    scripted_seal(s);
}

static void
a_key_made_before_it_is_up_does_not_make_it_count_as_up(void **state)
{
    struct scripted *s = scripted_paused(1, 1000);
    const struct kd_key_spec spec = {.role = KD_KEY_ROLE_POK,
                                     .alg = KD_ALG_ED25519,
                                     .domain = kd_slice_str("example.com")};
    struct kd_place place = {0};
    uint8_t flags, key[KD_KEY_PUBLIC_MAX];
    size_t n;

    (void)state;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    kd_err err = s->device->ops->make(s->device, &spec, kd_slice(NULL, 0), &place,
                                      &flags, key, &n);
    assert_int_equal(err, KD_UNSUPPORTED);
    assert_int_equal(scripted_status(s).state, P11_STARTING);
    s->n_blank = 2; /* whoever looked while it was written saw nothing in it */
    s->is_paused = false;
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    assert_int_equal(s->n_blank, 0);
    assert_int_equal(s->events[EVENT_TOKEN_CLOSED], 1);
    assert_int_equal(s->events[EVENT_TOKEN_OPEN], 0);
    scripted_seal(s);
}

static void
a_token_that_is_blank_although_nobody_writes_it_is_away(void **state)
{
    struct scripted *s = scripted_paused(1, 1000);

    (void)state;
    s->n_blank = 2;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    s->is_paused = false;
    assert_true(scripted_becomes(s, P11_OPEN, SOON_MS));
    assert_true(scripted_becomes(s, P11_CLOSED, SOON_MS));
    scripted_seal(s);
}

/* It would be taken for the token's limit until the daemon is started again. */
static void
a_message_that_was_refused_once_is_no_limit(void **state)
{
    struct scripted *s = scripted_limited(1, 1000, 1024);
    int64_t until = kd_clock_ms() + 3 * SOON_MS;

    (void)state;
    scripted_hold(s, 1, LATCH, NULL, NULL);
    while (scripted_status(s).max_message == 0 && kd_clock_ms() < until)
        nap(10);
    assert_int_equal(s->refuses_once, 0);
    assert_int_equal(scripted_status(s).max_message, 16 * 1024); /* files: no */
    scripted_seal(s);
}

/* --- trials that nobody waits for --- */

/* Health asks so: that a key was not tried lately is no fault of the key's. */
static void
a_trial_that_is_only_asked_for_is_made_and_alarms_nobody(void **state)
{
    enum { PAST = 1 };
    struct scripted *s = up(2, 1000, 2);
    const struct kd_device_ops *ops = s->device->ops;
    int64_t since = kd_clock_ms() + 1;
    int64_t until = since + SOON_MS;
    kd_err err;

    (void)state;
    assert_int_equal(ops->probed(s->device, &s->keys[1].id, since, PAST), KD_TIMEOUT);
    do {
        nap(10);
        err = ops->probed(s->device, &s->keys[1].id, since, PAST);
    } while (err == KD_TIMEOUT && kd_clock_ms() < until);
    assert_int_equal(err, KD_OK);
    scripted_seal(s);
}

/* Nor has anybody to ask, however many keys there are. */
static void
each_key_of_an_idle_token_is_tried_within_what_counts_as_lately(void **state)
{
    enum { LATELY_MS = 60000, SLACK_MS = 1000 };

    (void)state;
    for (size_t n = 1; n <= 29; n++) {
        assert_true((int64_t)n * (trial_every_ms(n, false) + SLACK_MS) <= LATELY_MS);
        assert_true((int64_t)n * (trial_every_ms(n, true) + SLACK_MS) <= LATELY_MS);
    }
    assert_true(trial_every_ms(250, false) >= SLACK_MS); /* nor all the time */
    assert_true(trial_every_ms(0, false) > 0);
}

/* --- what is told --- */

static void
a_pin_file_that_is_no_good_is_said_to_be_what_it_is(void **state)
{
    static const struct {
        kd_err err;
        const char *says;
    } rows[] = {{KD_NOT_FOUND, "no file"}, {KD_DENIED, "0400"}, {KD_INVALID, "256"}};
    struct p11_finding found[4];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scripted *s = scripted_new(1, 1000);
        s->tag_ms = 1500;
        scripted_hold(s, 1, LATCH, NULL, NULL);
        nap(150);
        p11_no_pin(s->p, 0, rows[i].err);
        assert_true(scripted_becomes(s, P11_REFUSED, SOON_MS));
        assert_in_range(p11_doctor(s->p, 0, found, 4, kd_clock_ms() + 1000), 1, 4);
        assert_int_equal(found[0].code, P11_PIN_MISSING);
        assert_non_null(strstr(found[0].what, rows[i].says));
        scripted_seal(s);
    }
}

/* "Nothing is wrong" would be said of what nobody has looked at. */
static void
the_doctor_says_that_nobody_has_looked(void **state)
{
    struct scripted *s = up(1, 1000, 1);
    struct p11_finding found[4];

    (void)state;
    assert_int_equal(p11_doctor(s->p, 0, found, 4, kd_clock_ms() + 1000), 0);
    scripted_seal(s);
    assert_int_equal(p11_doctor(s->p, 0, found, 4, kd_clock_ms() + 1000), 1);
    assert_int_equal(found[0].code, P11_NOT_LOOKED_AT);
}

/* Not the keeper's last trial counts, but one now. */
static void
the_doctor_tries_the_keys(void **state)
{
    struct scripted *s = up(2, 1000, 2);
    struct p11_finding found[4];
    size_t n = 0;

    (void)state;
    for (int i = 0; n == 0 && i < 5; i++) { /* the keeper may have been first */
        s->bad_trials = 1;
        n = p11_doctor(s->p, 0, found, 4, kd_clock_ms() + 2000);
        assert_int_equal(s->bad_trials, 0);
    }
    assert_in_range(n, 1, 4);
    assert_int_equal(found[0].code, P11_PROBE_FAILED);
    assert_non_null(strstr(found[0].what, "key "));
    scripted_seal(s);
}

static void
the_doctor_comes_back_in_time_with_what_is_known(void **state)
{
    struct scripted *s = up(2, 1000, 1);
    struct p11_finding found[8];

    (void)state;
    s->missing = 2;
    scripted_hold(s, 2, LATCH, NULL, NULL);
    for (int i = 0; i < 300 && p11_doctor(s->p, 0, found, 8, kd_clock_ms() + 1000) == 0;
         i++)
        nap(10);
    assert_int_equal(found[0].code, P11_KEY_MISSING);
    s->list_hangs = true;
    for (int i = 0; i < 3; i++) { /* the second and third wait behind the first */
        int64_t began = kd_clock_ms();
        assert_int_equal(p11_doctor(s->p, 0, found, 8, began + 300), 1);
        assert_in_range(kd_clock_ms() - began, 0, 600);
        assert_int_equal(found[0].code, P11_KEY_MISSING);
    }
    s->list_hangs = false;
    assert_true(scripted_becomes(s, P11_CLOSED, 8000));
    scripted_seal(s);
}

static void
a_ready_token_tells_no_old_finding(void **state)
{
    struct scripted *s = up(2, 1000, 1);

    (void)state;
    nap(20); /* the trial that brought it up is older than the doubt */
    s->bad_trials = 1;
    kd_ignore(doubt(s, 0, 500)); /* it does not hold once */
    for (int i = 0; i < SOON_MS / 2 && scripted_status(s).faults == 0; i++)
        nap(2);
    assert_int_equal(scripted_status(s).state, P11_CLOSED);
    assert_int_equal(scripted_status(s).finding, P11_FINE);
    assert_int_equal(scripted_status(s).faults, 1);
    scripted_seal(s);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_pin_is_not_tried_again_because_a_list_is_older),
        cmocka_unit_test(a_good_pin_is_known_before_the_store_has_it),
        cmocka_unit_test(tags_under_another_latch_key_are_the_stores),
        cmocka_unit_test(a_pin_is_tried_only_after_its_own_tag_was_stored),
        cmocka_unit_test(nobody_logs_in_once_it_is_sealed),
        cmocka_unit_test(that_a_pin_was_good_is_stored_again_if_it_could_not_be),
        cmocka_unit_test(a_missing_pin_is_the_one_that_is_waited_for),
        cmocka_unit_test(
            a_busy_token_has_more_time_for_a_trial_than_one_that_answers_nobody),
        cmocka_unit_test(a_token_that_hangs_under_load_is_away_within_a_second),
        cmocka_unit_test(a_large_message_takes_its_time_and_is_no_hang),
        cmocka_unit_test(a_trial_waits_for_a_large_message),
        cmocka_unit_test(doubts_about_keys_that_are_not_bound_hurt_nobody),
        cmocka_unit_test(a_key_that_is_back_is_found),
        cmocka_unit_test(a_key_made_before_it_is_up_does_not_make_it_count_as_up),
        cmocka_unit_test(a_token_that_is_blank_although_nobody_writes_it_is_away),
        cmocka_unit_test(a_message_that_was_refused_once_is_no_limit),
        cmocka_unit_test(a_trial_that_is_only_asked_for_is_made_and_alarms_nobody),
        cmocka_unit_test(
            each_key_of_an_idle_token_is_tried_within_what_counts_as_lately),
        cmocka_unit_test(a_pin_file_that_is_no_good_is_said_to_be_what_it_is),
        cmocka_unit_test(the_doctor_says_that_nobody_has_looked),
        cmocka_unit_test(the_doctor_tries_the_keys),
        cmocka_unit_test(the_doctor_comes_back_in_time_with_what_is_known),
        cmocka_unit_test(a_ready_token_tells_no_old_finding),
    };

    suite_begin(argc, argv);
    if (kd_secret_setup(256 * 1024) != KD_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
