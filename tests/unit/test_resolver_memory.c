/* client/resolver/src/memory.h and answer.h */
#include <answer.h>
#include <memory.h>

#include "../support/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dime_answer *
answer_of(const char *name, struct domain *d, int64_t fresh_until, const char *step)
{
    struct steps *s = steps_new();

    steps_add(s, STEP_DNS, "%s", step);
    steps_warn(s, STEP_HOLD, "told");
    const struct answer_parts parts = {.outcome = DIME_IS_DARK,
                                       .name = name,
                                       .domain = d,
                                       .fresh_until = fresh_until,
                                       .user_signet = kd_slice_str("signet"),
                                       .steps = s};
    const struct dime_answer *a = answer_new(&parts);
    assert_non_null(a);
    steps_free(s);
    return a;
}

static struct domain *
domain_of(const char *name)
{
    const struct dime_mrec record = {.policy = DIME_POLICY_STRICT, .n_poks = 1};
    struct domain *d = domain_new(name, &record, kd_slice_str("org"));

    assert_non_null(d);
    d->is_secure = true;
    return d;
}

static void
an_answer_has_all_its_parts(void **state)
{
    struct domain *d = domain_of("example.com");
    const struct dime_answer *a = answer_of("bob@example.com", d, 10, "asked");

    (void)state;
    domain_free(d); /* the answer has its own reference */
    assert_string_equal(a->name, "bob@example.com");
    assert_string_equal(a->domain, "example.com");
    assert_int_equal(a->record->policy, DIME_POLICY_STRICT);
    assert_true(a->is_secure);
    assert_true(kd_slice_eq(a->org_signet, kd_slice_str("org")));
    assert_true(kd_slice_eq(a->user_signet, kd_slice_str("signet")));
    assert_int_equal(a->n_steps, 2);
    assert_string_equal(a->steps[0].word, "dns");
    assert_string_equal(a->steps[0].text, "asked");
    assert_int_equal(a->steps[1].weight, 1);
    dime_answer_free(answer_ref(a));
    dime_answer_free(a);
    dime_answer_free(NULL);
    a = answer_new(&(struct answer_parts){.outcome = DIME_IS_BAD_NAME});
    assert_string_equal(a->name, "");
    assert_string_equal(a->domain, "");
    assert_null(a->record);
    assert_int_equal(a->n_steps, 0);
    dime_answer_free(a);
}

static void
fresh_answers_are_found_and_others_are_not(void **state)
{
    struct memory *m = memory_new(100);
    const struct dime_answer *a = answer_of("bob@example.com", NULL, 10, "one"), *got;

    (void)state;
    memory_put(m, a, 5);
    dime_answer_free(a);
    assert_null(memory_get(m, "alice@example.com", 5));
    got = memory_get(m, "bob@example.com", 9);
    assert_string_equal(got->steps[0].text, "one");
    dime_answer_free(got);
    assert_null(memory_get(m, "bob@example.com", 10));
    assert_null(memory_get(m, "bob@example.com", 5)); /* it is gone */

    a = answer_of("bob@example.com", NULL, 20, "two");
    memory_put(m, a, 5);
    dime_answer_free(a);
    a = answer_of("bob@example.com", NULL, 20, "three");
    memory_put(m, a, 5);
    dime_answer_free(a);
    got = memory_get(m, "bob@example.com", 9);
    assert_string_equal(got->steps[0].text, "three");
    dime_answer_free(got);
    a = answer_of("bob@example.com", NULL, 4,
                  "old"); /* not fresh: what is there goes */
    memory_put(m, a, 5);
    dime_answer_free(a);
    assert_null(memory_get(m, "bob@example.com", 5));

    a = answer_of("bob@example.com", NULL, 20, "four");
    memory_put(m, a, 5);
    memory_forget(m, "bob@example.com");
    assert_null(memory_get(m, "bob@example.com", 5));
    memory_put(m, a, 5);
    memory_forget_all(m);
    assert_null(memory_get(m, "bob@example.com", 5));
    dime_answer_free(a);
    memory_free(m);
    memory_free(NULL);
}

/* What was asked for stays, what was not goes; room is bounded. */
static void
the_one_not_asked_for_longest_goes(void **state)
{
    enum { N = 20000 };
    struct memory *m = memory_new(64);
    char name[32];
    unsigned n = 0;

    (void)state;
    const struct dime_answer *often = answer_of("often@example.com", NULL, 10, "x");
    memory_put(m, often, 0);
    dime_answer_free(often);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "u%u@example.com", i);
        const struct dime_answer *a = answer_of(name, NULL, 10, "x");
        memory_put(m, a, 0);
        dime_answer_free(a);
        a = memory_get(m, "often@example.com", 0);
        assert_non_null(a);
        dime_answer_free(a);
    }
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "u%u@example.com", i);
        const struct dime_answer *a = memory_get(m, name, 0);
        n += a != NULL;
        dime_answer_free(a);
    }
    assert_in_range(n, 64, 512);
    memory_free(m);
}

struct job {
    struct memory *m;
    unsigned seed;
};

static void *
work(void *arg)
{
    struct job *j = arg;
    char name[32];

    for (unsigned i = 0; i < 20000; i++) {
        j->seed = j->seed * 1103515245 + 12345;
        snprintf(name, sizeof name, "u%u@example.com", j->seed >> 16 & 63);
        const struct dime_answer *a = memory_get(j->m, name, 0);
        if (a != NULL && strcmp(a->name, name) != 0)
            abort();
        dime_answer_free(a);
        if ((j->seed >> 8 & 7) == 0) {
            a = answer_of(name, NULL, 10, name);
            memory_put(j->m, a, 0);
            dime_answer_free(a);
        } else if ((j->seed >> 8 & 63) == 1) {
            memory_forget(j->m, name);
        }
    }
    return NULL;
}

static void
threads_share_it(void **state)
{
    enum { THREADS = 4 };
    struct memory *m = memory_new(32);
    struct job jobs[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){m, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    memory_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_has_all_its_parts),
        cmocka_unit_test(fresh_answers_are_found_and_others_are_not),
        cmocka_unit_test(the_one_not_asked_for_longest_goes),
        cmocka_unit_test(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
