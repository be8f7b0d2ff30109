/* Tokens: who their processes are, what those may write, and that no two sections mean
 * the same. What the files are is looked at where they are used. */
#include "check.h"
#include "problems.h"

static uint32_t
line_of(const struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i,
        const char *key)
{
    return kd_scan_line(r->scan, places->tokens[i], key);
}

const struct kd_conf_id *
kd_conf_token_user(const struct kd_conf *conf, const struct kd_conf_token *token)
{
    return token->user.name != NULL ? &token->user : &conf->user_p11;
}

/* Users. */

/* The user of all tokens that have none of their own. */
static void
look_up_user(struct kd_conf_reading *r)
{
    struct kd_conf_id *user = &r->conf->user_p11;
    bool is_needed = false;

    for (size_t i = 0; i < r->conf->n_tokens; i++)
        is_needed |= r->conf->tokens[i].user.name == NULL;
    if (!is_needed || user->is_known || !r->env->as_root)
        return;
    user->is_known = r->env->find_user(r->env->arg, user->name, &user->id) == KD_OK;
    if (!user->is_known)
        kd_conf_error(r->problems, kd_scan_line(r->scan, 0, "user-p11"),
                      "user-p11: there is no user %s, and there are tokens",
                      user->name);
    else if (user->id == KD_UID_OVERFLOW || user->id == KD_UID_NONE)
        kd_conf_error(r->problems, kd_scan_line(r->scan, 0, "user-p11"),
                      "user-p11: %s is nobody", user->name);
}

static void
check_user(struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i)
{
    const struct kd_conf *c = r->conf;
    const struct kd_conf_token *t = &c->tokens[i];
    const struct kd_conf_id *user = kd_conf_token_user(c, t);
    const char *key = t->user.name != NULL ? "user" : "user-p11";
    uint32_t line = line_of(r, places, i, "user");
    struct kd_conf_role roles[KD_CONF_ROLES];

    kd_conf_list_roles(c, roles);
    if (user->is_known && user->id == 0)
        kd_conf_error(r->problems, line, "%s: a module does not run as root", key);
    for (size_t k = 0; k < KD_CONF_ROLES; k++)
        if (kd_conf_same_user(user, roles[k].user))
            KD_CONF_STRICTLY(r, line,
                             "%s: the same user as %s: a vendor's module could take "
                             "over the role",
                             key, roles[k].key);
    for (size_t k = 0; k < c->n_principals && r->env->as_root; k++)
        if (user->is_known && user->id != 0 && c->principals[k].klass != KD_CLASS_TLS &&
            c->principals[k].uid == user->id)
            KD_CONF_STRICTLY(r, line,
                             "%s: the uid of principal \"%s\": a vendor's module could "
                             "take over the client, or the client the module",
                             key, c->principals[k].name);
}

/* Being in the roles' group is being let in at the listeners' sockets. */
static void
check_group(struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i)
{
    const struct kd_conf_id *group = &r->conf->tokens[i].group;
    uint32_t line = line_of(r, places, i, "group");

    if (group->name == NULL)
        return;
    if (group->is_known && group->id == 0)
        kd_conf_error(r->problems, line, "group: not root's");
    else if (kd_conf_same_user(group, &r->conf->group))
        KD_CONF_STRICTLY(r, line,
                         "group: the group of the roles, which may open the listeners' "
                         "sockets");
}

/* Folders. */

static bool
lie_in_each_other(const char *a, const char *b)
{
    return kd_conf_path_is_within(a, b) || kd_conf_path_is_within(b, a);
}

static void
check_paths(struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i)
{
    const struct kd_conf *c = r->conf;
    const struct kd_conf_token *t = &c->tokens[i];
    uint32_t line = line_of(r, places, i, "paths");
    const struct {
        const char *key, *path;
    } others[] = {{"state-directory", c->state_directory},
                  {"run-directory", c->run_directory},
                  {"libexec-directory", c->libexec_directory},
                  {"credential", c->credential},
                  {"checkpoint-file", c->checkpoint_file},
                  {"module", t->module},
                  {"pin-file", t->pin_file}};

    for (size_t k = 0; k < t->paths.n; k++)
        for (size_t o = 0; o < sizeof others / sizeof *others; o++)
            if (others[o].path != NULL &&
                lie_in_each_other(t->paths.list[k], others[o].path))
                kd_conf_error(r->problems, line,
                              "paths: \"%s\" and %s lie in each other: the module may "
                              "write the one and never the other",
                              t->paths.list[k], others[o].key);
}

static void
check_files(struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i)
{
    const struct kd_conf *c = r->conf;
    const struct kd_conf_token *t = &c->tokens[i];
    const struct {
        const char *key, *path;
    } files[] = {{"module", t->module}, {"pin-file", t->pin_file}};

    for (size_t k = 0; k < sizeof files / sizeof *files; k++)
        if (files[k].path != NULL &&
            (kd_conf_path_is_within(files[k].path, c->state_directory) ||
             kd_conf_path_is_within(files[k].path, c->run_directory)))
            kd_conf_error(r->problems, line_of(r, places, i, files[k].key),
                          "%s: not in state-directory or run-directory, where roles "
                          "write",
                          files[k].key);
    if (t->pin_file == NULL)
        kd_conf_warn(r->problems, line_of(r, places, i, NULL),
                     "token \"%s\": no pin-file: keys in it cannot be used", t->name);
}

/* All together. */

/* Two keepers of one token would each give it a wrong PIN. */
static void
check_is_alone(struct kd_conf_reading *r, const struct kd_conf_places *places, size_t i)
{
    const struct kd_conf_token *t = &r->conf->tokens[i];

    for (size_t k = 0; k < i; k++) {
        const struct kd_conf_token *other = &r->conf->tokens[k];
        if (strcmp(t->module, other->module) == 0 &&
            memcmp(&t->match, &other->match, sizeof t->match) == 0)
            kd_conf_error(r->problems, line_of(r, places, i, NULL),
                          "token \"%s\": the same as token \"%s\"", t->name,
                          other->name);
    }
}

void
kd_conf_check_tokens(struct kd_conf_reading *r, const struct kd_conf_places *places)
{
    look_up_user(r);
    for (size_t i = 0; i < r->conf->n_tokens; i++) {
        check_user(r, places, i);
        check_group(r, places, i);
        check_paths(r, places, i);
        check_files(r, places, i);
        check_is_alone(r, places, i);
    }
}
