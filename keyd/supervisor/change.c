#include "change.h"

static bool
differs(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

/* By number where that is known: a name that was given another uid is another user. */
static bool
id_differs(const struct kd_conf_id *a, const struct kd_conf_id *b)
{
    return a->is_known != b->is_known ||
           (a->is_known ? a->id != b->id : differs(a->name, b->name));
}

static uint64_t
bit(bool is_set, enum kd_restart_key key)
{
    return is_set ? UINT64_C(1) << key : 0;
}

static uint64_t
of_top(const struct kd_conf *a, const struct kd_conf *b)
{
    return bit(differs(a->state_directory, b->state_directory),
               KD_RESTART_STATE_DIRECTORY) |
           bit(differs(a->run_directory, b->run_directory), KD_RESTART_RUN_DIRECTORY) |
           bit(differs(a->libexec_directory, b->libexec_directory),
               KD_RESTART_LIBEXEC_DIRECTORY) |
           bit(id_differs(&a->user_gate, &b->user_gate), KD_RESTART_USER_GATE) |
           bit(id_differs(&a->user_vault, &b->user_vault), KD_RESTART_USER_VAULT) |
           bit(id_differs(&a->user_ledger, &b->user_ledger), KD_RESTART_USER_LEDGER) |
           bit(id_differs(&a->group, &b->group), KD_RESTART_GROUP) |
           bit(a->hardening != b->hardening, KD_RESTART_HARDENING) |
           bit(a->crypto_threads != b->crypto_threads, KD_RESTART_CRYPTO_THREADS) |
           bit(differs(a->checkpoint_file, b->checkpoint_file),
               KD_RESTART_CHECKPOINT_FILE) |
           bit(a->reserve_space != b->reserve_space, KD_RESTART_RESERVE_SPACE);
}

static uint64_t
of_listener(const struct kd_conf_listener *a, const struct kd_conf_listener *b)
{
    if (!b->is_open)
        return 0;
    if (!a->is_open)
        return bit(true, KD_RESTART_LISTENER);
    return bit(differs(a->socket, b->socket), KD_RESTART_SOCKET) |
           bit(a->mode != b->mode, KD_RESTART_MODE) |
           bit(id_differs(&a->group, &b->group), KD_RESTART_LISTENER_GROUP) |
           bit(a->workers != b->workers, KD_RESTART_WORKERS) |
           bit(strcmp(a->address.text, b->address.text) != 0, KD_RESTART_ADDRESS);
}

static bool
texts_differ(const struct kd_conf_texts *a, const struct kd_conf_texts *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = strcmp(a->list[i], b->list[i]) == 0;
    return !same;
}

static bool
token_differs(const struct kd_conf_token *a, const struct kd_conf_token *b)
{
    return strcmp(a->name, b->name) != 0 || strcmp(a->module, b->module) != 0 ||
           memcmp(&a->match, &b->match, sizeof a->match) != 0 ||
           differs(a->pin_file, b->pin_file) || a->profile != b->profile ||
           texts_differ(&a->paths, &b->paths) ||
           texts_differ(&a->environment, &b->environment) ||
           a->sessions != b->sessions || a->timeout != b->timeout ||
           a->recycle_after != b->recycle_after || a->max_memory != b->max_memory ||
           a->max_message != b->max_message || id_differs(&a->user, &b->user) ||
           id_differs(&a->group, &b->group);
}

/* Of the vault threads are made for each, of the supervisor what it may write. */
static uint64_t
of_tokens(const struct kd_conf *a, const struct kd_conf *b)
{
    bool differ = a->n_tokens != b->n_tokens;

    for (size_t i = 0; !differ && i < a->n_tokens; i++)
        differ = token_differs(&a->tokens[i], &b->tokens[i]);
    return bit(differ, KD_RESTART_TOKEN) |
           bit(a->n_tokens > 0 && id_differs(&a->user_p11, &b->user_p11),
               KD_RESTART_USER_P11);
}

/* What a gate of the remote listener needs at most. */
static uint64_t
remote_files(const struct kd_conf *c)
{
    return (uint64_t)c->limits.max_remote_connections + c->limits.max_handshakes;
}

uint64_t
change_most_connections(const struct kd_conf *conf)
{
    const struct kd_limits *l = &conf->limits;
    uint64_t remote = conf->listeners[KD_CLASS_TLS].is_open
                          ? (uint64_t)l->max_remote_connections + l->max_handshakes
                          : 0;

    return remote > l->max_connections ? remote : l->max_connections;
}

uint64_t
change_needs_restart(const struct kd_conf *started, const struct kd_conf *next,
                     uint64_t files)
{
    uint64_t keys = of_top(started, next) | of_tokens(started, next);

    for (unsigned klass = 0; klass < KD_CLASS_COUNT; klass++)
        keys |= of_listener(&started->listeners[klass], &next->listeners[klass]);
    uint64_t most = change_most_connections(next);
    if (most > change_most_connections(started) && most + CHANGE_FILES_BESIDE > files)
        keys |= bit(true, KD_RESTART_MAX_CONNECTIONS);
    if (remote_files(next) > remote_files(started) &&
        remote_files(next) + CHANGE_FILES_BESIDE > files)
        keys |= bit(true, KD_RESTART_MAX_REMOTE_CONNECTIONS);
    return keys;
}
