/* What deciding and counting cost beside the work they guard: the time of one decision
 * with its quotas, and its share of the primitives of the operation, in this process.
 * Prints, and judges nothing; the goal is 3 % of an issuance.
 *
 *   bench_policy [json]    json: one object, for bench.py */
#include "floor.h"

#include <keyd/base/clock.h>
#include <keyd/conf/quota_table.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

enum { DOMAINS = 1000, PRINCIPALS = 200, LINES = 4, ROUNDS = 2000000 };

static char names[DOMAINS][32], principals[PRINCIPALS][16];

static void
must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_policy: %s\n", what);
    exit(1);
}

static struct kd_quota
line(const char *text)
{
    struct kd_quota q;
    const char *why;

    must(kd_quota_parse(kd_slice_str(text), &q, &why) == KD_OK, text);
    return q;
}

/* A large provider's: many domains and front-ends, two lines each. */
static struct kd_policy *
large_policy(const char *own, const char *every)
{
    struct kd_quota quotas[] = {line(own), line(every)};
    static struct kd_slice domains[DOMAINS];
    static struct kd_policy_domain_entry with[DOMAINS];
    static struct kd_policy_entry entries[PRINCIPALS];
    static uint16_t all[DOMAINS];
    struct kd_policy *p = NULL;

    for (unsigned i = 0; i < DOMAINS; i++) {
        snprintf(names[i], sizeof names[i], "mail%u.example.com", i);
        domains[i] = kd_slice_str(names[i]);
        with[i] = (struct kd_policy_domain_entry){quotas, i % 2 == 0 ? 2 : 0, 0};
        all[i] = (uint16_t)i;
    }
    for (unsigned i = 0; i < PRINCIPALS; i++) {
        snprintf(principals[i], sizeof principals[i], "p%u", i);
        entries[i] =
            (struct kd_policy_entry){.name = kd_slice_str(principals[i]),
                                     .klass = KD_CLASS_SUBMISSION,
                                     .uid = 2000 + i,
                                     .ops = kd_ops_of_class(KD_CLASS_SUBMISSION, 0),
                                     .domains = all,
                                     .n_domains = DOMAINS,
                                     .has_keys = true,
                                     .key_roles = 1 << 2,
                                     .quotas = quotas,
                                     .n_quotas = 2};
    }
    must(kd_policy_build(domains, DOMAINS, with, entries, PRINCIPALS, &p) == KD_OK,
         "policy");
    return p;
}

/* Nanoseconds of CPU. */
static double
cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Of one operation: decision, key where one is used, quotas taken and given back.
 * refused: how many of them a quota held back. */
static double
measure(const struct kd_policy *p, const struct kd_quota_table *t,
        const struct kd_quota_map *map, enum kd_op op, bool with_quotas,
        unsigned *refused)
{
    static const uint8_t id[16];
    double start = cpu();

    *refused = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct kd_caller caller =
            kd_caller_local(KD_CLASS_SUBMISSION, 2000 + i % PRINCIPALS);
        struct kd_slice domain = kd_slice_str(names[i * 2 % DOMAINS]);
        struct kd_quota_held held = {0};
        uint32_t wait;
        struct kd_quota_match match;
        must(kd_policy_decide(p, &caller, op, domain, &match) == KD_OK, "denied");
        if (op == KD_OP_IssueUserSignet)
            must(kd_policy_check_key(p, &caller, 2, id) == KD_OK, "key");
        if (with_quotas &&
            kd_quota_take(t, map, &match, kd_clock_ns(), &held, &wait) != KD_OK)
            ++*refused;
        kd_quota_give(t, &held);
    }
    return (cpu() - start) / ROUNDS;
}

/* Nanoseconds of CPU of one operation. */
struct costs {
    double decided, passed, refused;        /* an issuance */
    double look_up;                         /* passed; half of the lines count for it */
    unsigned n_passed_held, n_refused_held; /* that a quota held back */
};

static struct costs
measure_all(void)
{
    static const char wide[] = "* 1000000/s burst 1000000 in-flight 60000";
    struct kd_policy *open =
        large_policy("IssueUserSignet 1000000/s burst 1000000 in-flight 60000", wide);
    struct kd_policy *shut = large_policy("IssueUserSignet 1/hour burst 1", wide);
    struct kd_quota_table table;
    struct kd_quota_map map;
    struct costs c;
    unsigned none;

    must(kd_quota_private(&table) == KD_OK, "memory");
    must(kd_quota_claim(&table, open, 1, NULL, &map) == KD_OK, "memory");
    c.decided = measure(open, &table, &map, KD_OP_IssueUserSignet, false, &none);
    c.passed =
        measure(open, &table, &map, KD_OP_IssueUserSignet, true, &c.n_passed_held);
    c.look_up = measure(open, &table, &map, KD_OP_LookupSignet, true, &none);
    kd_quota_map_clear(&map);
    must(kd_quota_claim(&table, shut, 2, NULL, &map) == KD_OK, "memory");
    c.refused =
        measure(shut, &table, &map, KD_OP_IssueUserSignet, true, &c.n_refused_held);
    kd_quota_map_clear(&map);
    kd_policy_free(open);
    kd_policy_free(shut);
    return c;
}

static void
show(const char *what, double ns, double floor_us)
{
    printf("%-44s %8.0f ns  %6.2f %% of an issuance's primitives\n", what, ns,
           ns / (floor_us * 10));
}

static void
print_text(const struct costs *c, double floor_us)
{
    printf("%d domains, %d principals, %d lines count; an issuance's primitives take "
           "%.0f us\n",
           DOMAINS, PRINCIPALS, LINES, floor_us);
    show("policy and key", c->decided, floor_us);
    show("policy, key and quotas, passed", c->passed, floor_us);
    printf("%-44s %8u of %d\n", "  held back", c->n_passed_held, ROUNDS);
    show("policy, key and quotas, refused", c->refused, floor_us);
    printf("%-44s %8u of %d\n", "  held back", c->n_refused_held, ROUNDS);
    printf("%-44s %8.0f ns\n", "a look-up's policy and quotas, passed", c->look_up);
}

static void
print_json(const struct costs *c, double floor_us)
{
    printf("{\"domains\":%d,\"principals\":%d,\"lines\":%d,\"floor_us\":%.2f,"
           "\"decided_ns\":%.1f,\"passed_ns\":%.1f,\"refused_ns\":%.1f,"
           "\"look_up_ns\":%.1f}\n",
           DOMAINS, PRINCIPALS, LINES, floor_us, c->decided, c->passed, c->refused,
           c->look_up);
}

int
main(int argc, char **argv)
{
    bool json = argc == 2 && strcmp(argv[1], "json") == 0;

    if (argc > 1 && !json)
        return EX_USAGE;
    double floor_us = floor_issue(false, 1).p50_us;
    struct costs c = measure_all();
    if (json)
        print_json(&c, floor_us);
    else
        print_text(&c, floor_us);
    return 0;
}
