/* keyd.conf(5) against the tables: every key and every operation. */
#include "../support/conf_table.h"
#include "../support/conf_text.h"
#include "../support/test.h"

#include <stdio.h>
#include <unistd.h>

struct manual_key {
    enum section section;
    char name[40];
    char text[1024]; /* to the next one, as written */
};

static struct manual_key manual[128];
static size_t n_manual;
static char manual_ops[64][128]; /* "LookupSignet * mta, submission, admin" */
static size_t n_manual_ops;

static void
read_manual_line(const char *line, enum section *section)
{
    static const char *const titles[] = {"file", "domain section", "listener section",
                                         "principal section", "token section"};
    char name[40], flag[8], rest[64];

    for (unsigned i = TOP; i <= TOKEN; i++)
        if (strncmp(line, ".Ss Keys of ", 12) == 0 && strstr(line, titles[i]) != NULL)
            *section = (enum section)i;
    if (sscanf(line, ".It Ic %39s", name) == 1) {
        assert_true(n_manual < sizeof manual / sizeof manual[0]);
        manual[n_manual].section = *section;
        memcpy(manual[n_manual++].name, name, sizeof name);
    } else if (sscanf(line, ".It Li %39s No %7s Ta %63[^\n]", name, flag, rest) == 3 ||
               (flag[0] = '\0',
                sscanf(line, ".It Li %39s Ta %63[^\n]", name, rest) == 2)) {
        assert_true(n_manual_ops < 64);
        snprintf(manual_ops[n_manual_ops++], 128, "%s%s%s %s", name,
                 flag[0] == '\0' ? "" : " ", flag, rest);
    } else if (n_manual > 0) {
        size_t at = strlen(manual[n_manual - 1].text);
        snprintf(manual[n_manual - 1].text + at, sizeof manual[0].text - at, "%s",
                 line);
    }
}

static int
read_manual(void **state)
{
    FILE *f = fopen(KEYD_SOURCE "/keyd/man/keyd.conf.5", "r");
    enum section section = TOP;
    char line[512];

    (void)state;
    if (f == NULL)
        return -1;
    n_manual = n_manual_ops = 0;
    memset(manual, 0, sizeof manual);
    while (fgets(line, sizeof line, f) != NULL)
        read_manual_line(line, &section);
    return fclose(f);
}

/* The text of several keys described together stands with the last of them. */
static const char *
manual_text(const struct key *key)
{
    size_t i = 0;

    while (i < n_manual && (manual[i].section != key->section ||
                            strcmp(manual[i].name, key->name) != 0))
        i++;
    if (i == n_manual)
        return NULL;
    while (i + 1 < n_manual && manual[i].text[0] == '\0')
        i++;
    return manual[i].text;
}

static void
every_key_is_in_the_manual_with_its_range_and_default(void **state)
{
    char part[300];

    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        const char *text = manual_text(&keys[i]);
        if (text == NULL) {
            fail_msg("keyd.conf(5) lacks %s", keys[i].name);
            continue;
        }
        if ((keys[i].type == INT || keys[i].type == AUTO_INT ||
             keys[i].type == AUTO_SIZE || keys[i].type == DELAY) &&
            keys[i].section != PRINCIPAL) {
            snprintf(part, sizeof part, "From %lld to %lld; the default is",
                     (long long)keys[i].min, (long long)keys[i].max);
            assert_non_null(strstr(text, part));
        }
        if (keys[i].def == NULL)
            assert_non_null(strstr(text, "Required"));
        else if (keys[i].def[0] != '\0' && strstr(text, keys[i].def) == NULL)
            fail_msg("keyd.conf(5) does not say that %s defaults to %s", keys[i].name,
                     keys[i].def);
    }
}

static void
every_key_of_the_manual_is_one(void **state)
{
    (void)state;
    assert_true(n_manual > 0);
    for (size_t m = 0; m < n_manual; m++) {
        bool found = false;
        for (size_t i = 0; i < N_KEYS; i++)
            if (keys[i].section == manual[m].section &&
                strcmp(keys[i].name, manual[m].name) == 0)
                found = true;
        if (!found)
            fail_msg("%s is no key", manual[m].name);
    }
    assert_int_equal(n_manual, N_KEYS);
}

static void
every_operation_is_in_the_manual_with_its_classes(void **state)
{
    size_t n = 0;

    (void)state;
    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        char want[128];
        bool found = false;
        if (kd_op_name(op) == NULL || (kd_op_flags(op) & KD_OPF_EVERYONE) != 0)
            continue;
        n++;
        int at = snprintf(want, sizeof want, "%s%s", kd_op_name(op),
                          (kd_op_flags(op) & KD_OPF_DOMAIN) != 0 ? " *" : "");
        const char *between = " ";
        for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
            if (kd_op_is_served(op, klass)) {
                at += snprintf(want + at, sizeof want - (size_t)at, "%s%s", between,
                               kd_class_name(klass));
                between = ", ";
            }
        for (size_t i = 0; i < n_manual_ops; i++)
            found = found || strcmp(manual_ops[i], want) == 0;
        if (!found)
            fail_msg("keyd.conf(5) lacks \"%s\"", want);
    }
    assert_int_equal(n, n_manual_ops);
}

int
main(void)
{
#define OF_THE_MANUAL(test) cmocka_unit_test_setup(test, read_manual)
    const struct CMUnitTest tests[] = {
        OF_THE_MANUAL(every_key_is_in_the_manual_with_its_range_and_default),
        OF_THE_MANUAL(every_key_of_the_manual_is_one),
        OF_THE_MANUAL(every_operation_is_in_the_manual_with_its_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
