/* Texts of keyd.conf and what becomes of them, for tests of its parser. Failures are
 * the test's failures. */
#ifndef KEYD_TESTS_CONF_TEXT_H
#define KEYD_TESTS_CONF_TEXT_H

#include <keyd/conf/conf.h>

/* What every good file needs; three lines. */
#define TAIL                                                                           \
    "domain \"example.com\" { }\n"                                                     \
    "principal \"op\" { uid = 0 class = admin operations = { \"Unseal\" } }\n"         \
    "\n"

/* Those of the last text. */
extern struct kd_conf_problems problems;

/* Two machines with accounts that are not this one's. */
extern const struct kd_conf_env as_user, as_root;

kd_err parse_octets(struct kd_slice text, const struct kd_conf_env *env,
                    struct kd_conf **out) KD_MUST_USE;

/* The configuration, to be freed. */
struct kd_conf *accepted(const char *text, const struct kd_conf_env *env);

/* As a user's, without so much as a warning. */
void accepted_silently(const char *text);

/* There is one on that line whose text has that part; printed if not. */
bool has_problem(uint32_t line, bool is_warning, const char *part);

/* One error, on that line, and no other. */
void refused_octets(struct kd_slice text, const struct kd_conf_env *env, uint32_t line,
                    const char *part);
void refused(const char *text, uint32_t line, const char *part);
void refused_as_root(const char *text, uint32_t line, const char *part);

/* The same where one mistake shows in two places. */
void refused_with_others(const char *text, uint32_t line, const char *part);

#endif
