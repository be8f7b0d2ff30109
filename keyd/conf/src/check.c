#include "check.h"
#include "problems.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOCKET_PATH_MAX = 107 }; /* of sockaddr_un, less the NUL */

static uint32_t
top_line(const struct kd_conf_reading *r, const char *key)
{
    const struct kd_scan_entry *e = kd_scan_find(r->scan, 0, key);

    return e == NULL ? 0 : e->line;
}

/* Roles. */

void
kd_conf_list_roles(const struct kd_conf *c, struct kd_conf_role roles[KD_CONF_ROLES])
{
    roles[0] = (struct kd_conf_role){"user-gate", &c->user_gate};
    roles[1] = (struct kd_conf_role){"user-vault", &c->user_vault};
    roles[2] = (struct kd_conf_role){"user-ledger", &c->user_ledger};
}

bool
kd_conf_same_user(const struct kd_conf_id *a, const struct kd_conf_id *b)
{
    if (a->is_known && b->is_known)
        return a->id == b->id;
    return strcmp(a->name, b->name) == 0;
}

static void
check_roles(struct kd_conf_reading *r)
{
    struct kd_conf_role roles[KD_CONF_ROLES];

    kd_conf_list_roles(r->conf, roles);
    for (size_t i = 0; i < KD_CONF_ROLES; i++) {
        if (roles[i].user->is_known && roles[i].user->id == 0)
            kd_conf_error(r->problems, top_line(r, roles[i].key),
                          "%s: a role does not run as root", roles[i].key);
        for (size_t k = 0; k < i; k++)
            if (kd_conf_same_user(roles[i].user, roles[k].user))
                KD_CONF_STRICTLY(
                    r, top_line(r, roles[i].key),
                    "%s: the same user as %s: one captured role could take over "
                    "the other",
                    roles[i].key, roles[k].key);
    }
}

/* Folders and the credential. */

static void
check_folders(struct kd_conf_reading *r)
{
    const struct kd_conf *c = r->conf;

    if (kd_conf_path_is_within(c->run_directory, c->state_directory) ||
        kd_conf_path_is_within(c->state_directory, c->run_directory))
        kd_conf_error(r->problems, top_line(r, "run-directory"),
                      "run-directory and state-directory lie in each other");
    if (c->libexec_directory != NULL &&
        (kd_conf_path_is_within(c->libexec_directory, c->state_directory) ||
         kd_conf_path_is_within(c->libexec_directory, c->run_directory)))
        kd_conf_error(r->problems, top_line(r, "libexec-directory"),
                      "libexec-directory: programs do not lie where roles can write");
    if (c->credential != NULL &&
        kd_conf_path_is_within(c->credential, c->state_directory))
        kd_conf_error(
            r->problems, top_line(r, "credential"),
            "credential: inside state-directory it would be copied and stolen "
            "together with what it opens");
}

/* The checkpoint is what an older copy of the state is told by: beside the state it
 * would be copied and put back with it. */
static void
check_checkpoint_file(struct kd_conf_reading *r)
{
    const struct kd_conf *c = r->conf;
    uint32_t line = top_line(r, "checkpoint-file");
    struct stat folder, state;
    char path[PATH_MAX];

    if (c->checkpoint_file == NULL)
        return;
    if (kd_conf_path_is_within(c->checkpoint_file, c->state_directory)) {
        kd_conf_error(r->problems, line,
                      "checkpoint-file: inside state-directory it would be put back "
                      "together with what it is to tell the age of");
        return;
    }
    if (!r->env->check_files)
        return;
    kd_ignore(snprintf(path, sizeof path, "%s", c->checkpoint_file));
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        slash[slash == path ? 1 : 0] = '\0';
    if (stat(path, &folder) != 0 || !S_ISDIR(folder.st_mode))
        kd_conf_error(r->problems, line, "checkpoint-file: there is no folder %s",
                      KD_CONF_QUOTE(kd_slice_str(path)));
    else if (stat(c->state_directory, &state) == 0 && state.st_dev == folder.st_dev)
        kd_conf_warn(r->problems, line,
                     "checkpoint-file: on the same disk as state-directory: an older "
                     "image of the disk brings the older checkpoint along");
}

static void
check_credential_file(struct kd_conf_reading *r)
{
    const struct kd_conf *c = r->conf;
    uint32_t line = top_line(r, "credential");
    struct stat st, state;

    if (c->credential == NULL || !r->env->check_files)
        return;
    if (lstat(c->credential, &st) != 0) {
        kd_conf_error(r->problems, line, "credential: %s", strerror(errno));
        return;
    }
    if (!S_ISREG(st.st_mode)) {
        kd_conf_error(r->problems, line, "credential: not a regular file");
        return;
    }
    if ((st.st_mode & 07777) != 0400 && (st.st_mode & 07777) != 0600)
        kd_conf_error(r->problems, line, "credential: mode is %04o, not 0400 or 0600",
                      (unsigned)st.st_mode & 07777);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        kd_conf_error(r->problems, line, "credential: belongs to uid %u",
                      (unsigned)st.st_uid);
    /* Where the folder is not there yet, its disk cannot be told. */
    if (stat(c->state_directory, &state) == 0 && state.st_dev == st.st_dev)
        kd_conf_warn(r->problems, line,
                     "credential: on the same disk as state-directory: who steals the "
                     "disk has the keys (use LoadCredentialEncrypted= with a TPM, or "
                     "let an operator unseal)");
}

/* Limits. */

static void
check_limits(struct kd_conf_reading *r)
{
    const struct kd_limits *l = &r->conf->limits;

    if (l->max_principal_frames < l->max_frame)
        kd_conf_error(r->problems, top_line(r, "max-principal-frames"),
                      "max-principal-frames: less than one frame (max-frame)");
    if (l->upload_pool < l->max_upload)
        kd_conf_error(r->problems, top_line(r, "upload-pool"),
                      "upload-pool: less than one object (max-upload)");
    if (l->hello_timeout < l->first_octet_timeout)
        kd_conf_error(r->problems, top_line(r, "hello-timeout"),
                      "hello-timeout: shorter than first-octet-timeout");
}

/* Domains. */

void
kd_conf_check_domain(struct kd_conf_reading *r, size_t section,
                     struct kd_conf_domain *d)
{
    const struct kd_scan_entry *modes = kd_scan_find(r->scan, section, "account-modes");
    const struct kd_scan_entry *keys = kd_scan_find(r->scan, section, "account-key");

    if (modes == NULL)
        d->rules.account_modes = KD_ACCOUNT_MODES_ALL;
    else if (modes->n == 0)
        kd_conf_error(r->problems, modes->line,
                      "account-modes: nobody could have an account: name at least one");
    if (d->rules.tickets != 0 && (keys == NULL || keys->n == 0))
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "require-ticket"),
                      "require-ticket: without an account-key nobody can make one");
    if (d->rules.tickets == 0 && d->rules.account_keys.n > 0)
        kd_conf_warn(r->problems, kd_scan_line(r->scan, section, "account-key"),
                     "account-key: require-ticket is none: tickets are not looked at");
}

/* Principals. */

static uint32_t
operation_line(const struct kd_conf_reading *r, size_t section, enum kd_op op)
{
    const struct kd_scan_entry *e = kd_scan_find(r->scan, section, "operations");

    for (size_t i = 0; e != NULL && i < e->n; i++)
        if (kd_op_find(r->scan->values[e->first + i].text) == op)
            return r->scan->values[e->first + i].line;
    return kd_scan_line(r->scan, section, "operations");
}

static void
check_operations(struct kd_conf_reading *r, size_t section,
                 const struct kd_conf_principal *p)
{
    bool needs_domain = false;

    for (unsigned op = 1; op <= KD_OP_MAX; op++) {
        if ((p->ops & kd_op_bit(op)) == 0)
            continue;
        if (!kd_op_is_served(op, p->klass))
            kd_conf_error(r->problems, operation_line(r, section, (enum kd_op)op),
                          "operations: %s is not served to class %s", kd_op_name(op),
                          kd_class_name(p->klass));
        if ((kd_op_flags(op) & KD_OPF_DOMAIN) != 0)
            needs_domain = true;
    }
    if (needs_domain && p->n_domains == 0)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, NULL),
                      "principal \"%s\": its operations need domains", p->name);
    if (!needs_domain && p->n_domains > 0)
        kd_conf_warn(r->problems, kd_scan_line(r->scan, section, "domains"),
                     "domains: no operation of principal \"%s\" is about a domain",
                     p->name);
}

/* uid, or the user's; true if there is one that may be a principal. */
static bool
settle_uid(struct kd_conf_reading *r, size_t section, struct kd_conf_principal *p)
{
    bool has_uid = kd_scan_find(r->scan, section, "uid") != NULL;
    bool has_user = kd_scan_find(r->scan, section, "user") != NULL;
    uint32_t line = kd_scan_line(r->scan, section, has_uid ? "uid" : "user");

    if (has_uid == has_user) {
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, NULL),
                      "principal \"%s\": takes one of uid and user", p->name);
        return false;
    }
    if (has_user)
        p->uid = p->user.id;
    if (p->uid == KD_UID_OVERFLOW) {
        kd_conf_error(
            r->problems, line,
            "uid 65534 is nobody: the kernel shows it for users it cannot map");
        return false;
    }
    return true;
}

static void
check_is_no_role(struct kd_conf_reading *r, size_t section,
                 const struct kd_conf_principal *p)
{
    struct kd_conf_role roles[KD_CONF_ROLES];

    kd_conf_list_roles(r->conf, roles);
    for (size_t i = 0; i < KD_CONF_ROLES && r->env->as_root; i++)
        if (roles[i].user->is_known && roles[i].user->id == p->uid && p->uid != 0)
            KD_CONF_STRICTLY(
                r, kd_scan_line(r->scan, section, NULL),
                "principal \"%s\": has the uid of %s: a client could take over "
                "the role",
                p->name, roles[i].key);
}

/* Keys that are of a principal in another class than its own. */
static void
check_other_keys(struct kd_conf_reading *r, size_t section,
                 const struct kd_conf_principal *p)
{
    static const char *const local[] = {"uid", "user"};
    static const char *const remote[] = {"san", "pin", "next-pin"};
    bool is_remote = p->klass == KD_CLASS_TLS;

    for (size_t i = 0; i < (is_remote ? 2U : 3U); i++) {
        const char *key = is_remote ? local[i] : remote[i];
        if (kd_scan_find(r->scan, section, key) != NULL)
            kd_conf_error(r->problems, kd_scan_line(r->scan, section, key),
                          "%s: a principal of class %s has none", key,
                          kd_class_name(p->klass));
    }
}

static bool
same_pin(const struct kd_conf_pin *a, const struct kd_conf_pin *b)
{
    return a->is_set && b->is_set && memcmp(a->sha256, b->sha256, KD_PIN_SIZE) == 0;
}

/* One certificate, one principal: no name and no key stands for two. */
static void
check_remote_is_alone(struct kd_conf_reading *r, size_t section,
                      const struct kd_conf_principal *p,
                      const struct kd_conf_principal *other)
{
    if (other->klass != KD_CLASS_TLS)
        return;
    if (p->san != NULL && other->san != NULL && strcmp(p->san, other->san) == 0)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "san"),
                      "san: principal \"%s\" has the same", other->name);
    if (same_pin(&p->pin, &other->pin) || same_pin(&p->pin, &other->next_pin) ||
        same_pin(&p->next_pin, &other->pin) || same_pin(&p->next_pin, &other->next_pin))
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "pin"),
                      "pin: principal \"%s\" has the same key", other->name);
}

static void
check_remote(struct kd_conf_reading *r, size_t section, struct kd_conf_principal *p)
{
    const struct kd_conf_listener *l = &r->conf->listeners[KD_CLASS_TLS];
    uint32_t line = kd_scan_line(r->scan, section, NULL);

    p->uid = KD_UID_NONE;
    if (p->san == NULL && !p->pin.is_set)
        kd_conf_error(r->problems, line,
                      "principal \"%s\": takes san, pin or both: what its certificate "
                      "is known by",
                      p->name);
    if (p->next_pin.is_set && !p->pin.is_set)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "next-pin"),
                      "next-pin: there is no pin before it");
    if (same_pin(&p->pin, &p->next_pin))
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "next-pin"),
                      "next-pin: the same as pin");
    if (p->san != NULL && l->client_ca == NULL)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "san"),
                      "san: listener \"tls\" has no client-ca to trace it to");
    if (p->san != NULL && !p->pin.is_set && !l->allow_unpinned)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, "san"),
                      "principal \"%s\": has no pin, and listener \"tls\" does not "
                      "say allow-unpinned = yes",
                      p->name);
}

static void
check_principals(struct kd_conf_reading *r, const struct kd_conf_places *places)
{
    struct kd_conf *c = r->conf;

    for (size_t i = 0; i < c->n_principals; i++) {
        struct kd_conf_principal *p = &c->principals[i];
        size_t section = places->principals[i];
        check_operations(r, section, p);
        check_other_keys(r, section, p);
        p->ops |= kd_ops_of_class(p->klass, KD_OPF_EVERYONE);
        if (p->klass == KD_CLASS_TLS) {
            check_remote(r, section, p);
            for (size_t k = 0; k < i; k++)
                check_remote_is_alone(r, section, p, &c->principals[k]);
            continue;
        }
        if (!settle_uid(r, section, p))
            continue;
        check_is_no_role(r, section, p);
        for (size_t k = 0; k < i; k++)
            if (c->principals[k].klass == p->klass && c->principals[k].uid == p->uid)
                kd_conf_error(
                    r->problems, kd_scan_line(r->scan, section, NULL),
                    "principal \"%s\": uid %u of class %s is principal \"%s\" "
                    "already",
                    p->name, p->uid, kd_class_name(p->klass), c->principals[k].name);
    }
}

/* Listeners. */

static uint32_t
listener_line(const struct kd_conf_reading *r, const struct kd_conf_places *places,
              unsigned klass, const char *key)
{
    return places->listeners[klass] == 0
               ? 0
               : kd_scan_line(r->scan, places->listeners[klass], key);
}

static void
fill_listener(struct kd_conf_reading *r, unsigned klass)
{
    struct kd_conf_listener *l = &r->conf->listeners[klass];
    bool is_admin = klass == KD_CLASS_ADMIN;

    if (l->workers == 0)
        l->workers = 1;
    if (klass == KD_CLASS_TLS)
        return;
    if (l->mode == 0)
        l->mode = is_admin ? 0600 : 0660;
    if (l->socket != NULL)
        return;
    if (asprintf(&l->socket, "%s/%s%s.sock", r->conf->run_directory,
                 is_admin ? "admin/" : "", kd_class_name(klass)) < 0) {
        l->socket = NULL;
        r->err = KD_NOMEM;
    }
}

static size_t
folder_size(const char *path)
{
    return (size_t)(strrchr(path, '/') - path);
}

static bool
same_folder(const char *a, const char *b)
{
    size_t n = folder_size(a);

    return n == folder_size(b) && memcmp(a, b, n) == 0;
}

/* Two listeners; klass is the one to blame. */
static void
check_pair(struct kd_conf_reading *r, const struct kd_conf_places *places,
           unsigned klass, unsigned other)
{
    const char *a = r->conf->listeners[klass].socket;
    const char *b = r->conf->listeners[other].socket;

    if (strcmp(a, b) == 0)
        kd_conf_error(r->problems, listener_line(r, places, klass, "socket"),
                      "socket: listener \"%s\" has the same", kd_class_name(other));
    else if (klass == KD_CLASS_ADMIN && same_folder(a, b))
        kd_conf_error(r->problems, listener_line(r, places, klass, "socket"),
                      "socket: the admin socket takes a folder of its own (mode 0700), "
                      "not that of listener \"%s\"",
                      kd_class_name(other));
}

/* Keys that this listener has no use for, and those it cannot do without. */
static void
check_listener_keys(struct kd_conf_reading *r, const struct kd_conf_places *places,
                    unsigned klass)
{
    static const struct {
        const char *key;
        bool of_tls, is_required;
    } keys[] = {{"socket", false, false},       {"mode", false, false},
                {"group", false, false},        {"address", true, true},
                {"certificate", true, true},    {"key", true, true},
                {"client-ca", true, false},     {"denied-keys", true, false},
                {"allow-unpinned", true, false}};
    size_t section = places->listeners[klass];
    bool is_tls = klass == KD_CLASS_TLS;

    for (size_t i = 0; i < sizeof keys / sizeof *keys && section != 0; i++) {
        bool is_given = kd_scan_find(r->scan, section, keys[i].key) != NULL;
        if (is_given && keys[i].of_tls != is_tls)
            kd_conf_error(r->problems, kd_scan_line(r->scan, section, keys[i].key),
                          "%s: listener \"%s\" has none", keys[i].key,
                          kd_class_name(klass));
        if (is_tls && !is_given && keys[i].is_required)
            kd_conf_error(r->problems, kd_scan_line(r->scan, section, NULL),
                          "listener \"tls\": %s is missing", keys[i].key);
    }
}

/* What decides who is who does not lie where a role can write. */
static void
check_tls_files(struct kd_conf_reading *r, const struct kd_conf_places *places)
{
    const struct kd_conf_listener *l = &r->conf->listeners[KD_CLASS_TLS];
    const struct {
        const char *key, *path;
    } files[] = {{"certificate", l->certificate},
                 {"key", l->key},
                 {"client-ca", l->client_ca},
                 {"denied-keys", l->denied_keys}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i].path != NULL &&
            kd_conf_path_is_within(files[i].path, r->conf->state_directory))
            kd_conf_error(r->problems,
                          listener_line(r, places, KD_CLASS_TLS, files[i].key),
                          "%s: inside state-directory", files[i].key);
}

static void
check_listener(struct kd_conf_reading *r, const struct kd_conf_places *places,
               unsigned klass)
{
    const struct kd_conf *c = r->conf;
    const struct kd_conf_listener *l = &c->listeners[klass];
    uint32_t line = listener_line(r, places, klass, "socket");

    if (strlen(l->socket) > SOCKET_PATH_MAX)
        kd_conf_error(r->problems, line, "socket: more than %d octets",
                      SOCKET_PATH_MAX);
    if (kd_conf_path_is_within(l->socket, c->state_directory))
        kd_conf_error(r->problems, line, "socket: inside state-directory");
    if (klass == KD_CLASS_ADMIN && strlen(c->run_directory) == folder_size(l->socket) &&
        kd_conf_path_is_within(l->socket, c->run_directory))
        kd_conf_error(r->problems, line,
                      "socket: the admin socket takes a folder of its own (mode 0700), "
                      "not run-directory");
    for (unsigned other = 0; other < klass; other++)
        if (c->listeners[other].is_open && other != KD_CLASS_TLS)
            check_pair(r, places, klass, other);
}

static bool
has_principal(const struct kd_conf *c, unsigned klass)
{
    for (size_t i = 0; i < c->n_principals; i++)
        if (c->principals[i].klass == klass)
            return true;
    return false;
}

static void
check_listeners(struct kd_conf_reading *r, const struct kd_conf_places *places)
{
    struct kd_conf *c = r->conf;

    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++) {
        bool has_section = places->listeners[klass] != 0;
        bool is_used = has_principal(c, klass);
        c->listeners[klass].is_open = has_section || is_used || klass == KD_CLASS_ADMIN;
        check_listener_keys(r, places, klass);
        if (klass == KD_CLASS_TLS && is_used && !has_section)
            kd_conf_error(r->problems, 0,
                          "principals of class tls, but no listener \"tls\" section");
        if (has_section && !is_used)
            kd_conf_warn(r->problems, listener_line(r, places, klass, NULL),
                         "listener \"%s\": no principal is of that class: nobody can "
                         "use it",
                         kd_class_name(klass));
        fill_listener(r, klass);
    }
    if (!has_principal(c, KD_CLASS_ADMIN))
        kd_conf_warn(r->problems, 0,
                     "no principal is of class admin: nobody can unseal or look after "
                     "the service");
    /* The admin class is the last: pairs are compared with those before. */
    for (unsigned klass = 0; klass < KD_CLASS_COUNT && r->err == KD_OK; klass++)
        if (c->listeners[klass].is_open && klass != KD_CLASS_TLS)
            check_listener(r, places, klass);
    check_tls_files(r, places);
}

void
kd_conf_check(struct kd_conf_reading *r, const struct kd_conf_places *places)
{
    check_roles(r);
    check_folders(r);
    check_checkpoint_file(r);
    check_credential_file(r);
    check_limits(r);
    check_principals(r, places);
    check_listeners(r, places);
    kd_conf_check_tokens(r, places);
}
