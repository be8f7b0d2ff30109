#include "conf_text.h"

#include "test.h"

struct kd_conf_problems problems;

/* Accounts of a machine that is not ours. */
static const struct {
    const char *name;
    uint32_t id;
} accounts[] = {{"root", 0},
                {"nobody", 65534},
                {"dime-keyd", 900},
                {"dime-keyd-gate", 901},
                {"dime-keyd-vault", 902},
                {"dime-keyd-ledger", 903},
                {"submitd", 2001},
                {"twin", 901}};

static kd_err
find_account(void *arg, const char *name, uint32_t *id)
{
    (void)arg;
    for (size_t i = 0; i < sizeof accounts / sizeof accounts[0]; i++)
        if (strcmp(name, accounts[i].name) == 0) {
            *id = accounts[i].id;
            return KD_OK;
        }
    return KD_NOT_FOUND;
}

const struct kd_conf_env as_user = {
    .n_cpus = 4, .find_user = find_account, .find_group = find_account};
const struct kd_conf_env as_root = {.as_root = true,
                                    .n_cpus = 4,
                                    .find_user = find_account,
                                    .find_group = find_account};

kd_err
parse_octets(struct kd_slice text, const struct kd_conf_env *env, struct kd_conf **out)
{
    return kd_conf_parse(text, env, out, &problems);
}

struct kd_conf *
accepted(const char *text, const struct kd_conf_env *env)
{
    struct kd_conf *conf = NULL;
    kd_err err = parse_octets(kd_slice_str(text), env, &conf);

    for (size_t i = 0; i < problems.n && err != KD_OK; i++)
        print_error("%u: %s\n", problems.list[i].line, problems.list[i].text);
    assert_int_equal(err, KD_OK);
    return conf;
}

void
accepted_silently(const char *text)
{
    kd_conf_free(accepted(text, &as_user));
    assert_int_equal(problems.n, 0);
}

bool
has_problem(uint32_t line, bool is_warning, const char *part)
{
    for (size_t i = 0; i < problems.n; i++)
        if (problems.list[i].line == line &&
            problems.list[i].is_warning == is_warning &&
            strstr(problems.list[i].text, part) != NULL)
            return true;
    print_error("wanted %u: %s; there is:\n", line, part);
    for (size_t i = 0; i < problems.n; i++)
        print_error("  %u%s: %s\n", problems.list[i].line,
                    problems.list[i].is_warning ? " (warning)" : "",
                    problems.list[i].text);
    return false;
}

void
refused_octets(struct kd_slice text, const struct kd_conf_env *env, uint32_t line,
               const char *part)
{
    struct kd_conf *conf = NULL;

    assert_int_equal(parse_octets(text, env, &conf), KD_INVALID);
    assert_null(conf);
    assert_true(has_problem(line, false, part));
    if (problems.n_errors != 1)
        print_error("%s", (const char *)text.p);
    assert_int_equal(problems.n_errors, 1);
}

void
refused_with_others(const char *text, uint32_t line, const char *part)
{
    struct kd_conf *conf = NULL;

    assert_int_equal(parse_octets(kd_slice_str(text), &as_user, &conf), KD_INVALID);
    assert_true(has_problem(line, false, part));
}

void
refused(const char *text, uint32_t line, const char *part)
{
    refused_octets(kd_slice_str(text), &as_user, line, part);
}

void
refused_as_root(const char *text, uint32_t line, const char *part)
{
    refused_octets(kd_slice_str(text), &as_root, line, part);
}
