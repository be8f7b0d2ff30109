/* Tokens, as the vault and their hosts are told of them. */
#include "codec.h"

#include <assert.h>

bool
kd_conf_host_is_valid(unsigned host)
{
    unsigned own = host % KD_CONF_TOKEN_HOSTS;

    return host / KD_CONF_TOKEN_HOSTS < KD_CONF_TOKENS_MAX &&
           (own < KD_CONF_TOKEN_SESSIONS || own == KD_CONF_TOKEN_MAKER);
}

/* Its length is in the range of its key; out is all zero. NULL is empty. */
static void
copy_text(char *out, size_t size, const char *text)
{
    if (text != NULL)
        memcpy(out, text, strnlen(text, size - 1));
}

static bool
name_is_valid(const char *name)
{
    return kd_principal_name_is_valid(kd_slice_str(name));
}

/* The vault's. */

void
kd_part_make_tokens(const struct kd_conf *conf, struct kd_conf_for_vault *out)
{
    assert(conf->n_tokens <= KD_CONF_TOKENS_MAX);
    out->n_tokens = conf->n_tokens;
    for (size_t i = 0; i < conf->n_tokens; i++) {
        const struct kd_conf_token *from = &conf->tokens[i];
        struct kd_token_conf *t = &out->tokens[i];
        *t = (struct kd_token_conf){.sessions = from->sessions,
                                    .timeout = from->timeout,
                                    .recycle_after = from->recycle_after,
                                    .max_memory = from->max_memory,
                                    .max_message = from->max_message};
        copy_text(t->name, sizeof t->name, from->name);
    }
}

void
kd_part_put_tokens(struct kd_buf *b, const struct kd_conf_for_vault *c)
{
    kd_buf_u8(b, (uint8_t)c->n_tokens);
    for (size_t i = 0; i < c->n_tokens; i++) {
        const struct kd_token_conf *t = &c->tokens[i];
        kd_part_put_text(b, t->name);
        kd_buf_u32(b, t->sessions);
        kd_buf_u32(b, t->timeout);
        kd_buf_u32(b, t->recycle_after);
        kd_buf_u32(b, t->max_memory);
        kd_buf_u32(b, t->max_message);
    }
}

static void
take_token(struct kd_cur *c, struct kd_token_conf *t)
{
    kd_part_take_text(c, t->name, sizeof t->name);
    t->sessions = kd_part_take_u32(c, KD_CONF_TOKEN, "sessions");
    t->timeout = kd_part_take_u32(c, KD_CONF_TOKEN, "timeout");
    t->recycle_after = kd_part_take_u32(c, KD_CONF_TOKEN, "recycle-after");
    t->max_memory = kd_part_take_u32(c, KD_CONF_TOKEN, "max-memory");
    t->max_message = kd_part_take_u32(c, KD_CONF_TOKEN, "max-message");
    if (!name_is_valid(t->name))
        kd_cur_fail(c, KD_MALFORMED);
}

void
kd_part_take_tokens(struct kd_cur *c, struct kd_conf_for_vault *out)
{
    uint8_t n = kd_part_take_at_most(c, KD_CONF_TOKENS_MAX);

    for (size_t i = 0; i < n && c->err == KD_OK; i++) {
        take_token(c, &out->tokens[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->tokens[i].name, out->tokens[k].name) == 0)
                kd_cur_fail(c, KD_MALFORMED);
    }
    if (c->err == KD_OK)
        out->n_tokens = n;
}

/* A host's. */

kd_err
kd_conf_for_p11_make(const struct kd_conf *conf, unsigned host,
                     struct kd_conf_for_p11 *out)
{
    unsigned own = host % KD_CONF_TOKEN_HOSTS;

    if (!kd_conf_host_is_valid(host) || host / KD_CONF_TOKEN_HOSTS >= conf->n_tokens)
        return KD_NOT_FOUND;
    const struct kd_conf_token *t = &conf->tokens[host / KD_CONF_TOKEN_HOSTS];
    *out = (struct kd_conf_for_p11){.hardening = conf->hardening,
                                    .log_level = conf->log_level,
                                    .host = (uint8_t)host,
                                    .is_maker = own == KD_CONF_TOKEN_MAKER,
                                    .profile = t->profile,
                                    .timeout = t->timeout,
                                    .match = t->match};
    copy_text(out->name, sizeof out->name, t->name);
    copy_text(out->module, sizeof out->module, t->module);
    for (size_t i = 0; i < t->paths.n; i++)
        copy_text(out->paths[out->n_paths++], sizeof out->paths[0], t->paths.list[i]);
    for (size_t i = 0; i < t->environment.n; i++) {
        const char *value = strchr(t->environment.list[i], '=') + 1;
        if (value[0] == '/' && value[1] != '\0')
            copy_text(out->files[out->n_files++], sizeof out->files[0], value);
    }
    return KD_OK;
}

static void
put_list(struct kd_buf *b, size_t n, const char (*list)[KD_CONF_TOKEN_TEXT_MAX + 1])
{
    kd_buf_u8(b, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        kd_part_put_text(b, list[i]);
}

void
kd_conf_for_p11_encode(const struct kd_conf_for_p11 *c, struct kd_buf *b)
{
    kd_part_put_head(b, KD_PART_P11, c->hardening, c->log_level);
    kd_buf_u8(b, c->host);
    kd_buf_u8(b, (uint8_t)c->profile);
    kd_buf_u32(b, c->timeout);
    kd_part_put_text(b, c->name);
    kd_part_put_text(b, c->module);
    kd_part_put_text(b, c->match.label);
    kd_part_put_text(b, c->match.serial);
    kd_part_put_text(b, c->match.manufacturer);
    kd_part_put_text(b, c->match.model);
    put_list(b, c->n_paths, c->paths);
    put_list(b, c->n_files, c->files);
}

static void
take_match(struct kd_cur *cur, struct kd_token_match *m)
{
    kd_part_take_text(cur, m->label, sizeof m->label);
    kd_part_take_text(cur, m->serial, sizeof m->serial);
    kd_part_take_text(cur, m->manufacturer, sizeof m->manufacturer);
    kd_part_take_text(cur, m->model, sizeof m->model);
    if (m->label[0] == '\0' && m->serial[0] == '\0' && m->manufacturer[0] == '\0' &&
        m->model[0] == '\0')
        kd_cur_fail(cur, KD_MALFORMED);
}

static size_t
take_list(struct kd_cur *cur, char (*list)[KD_CONF_TOKEN_TEXT_MAX + 1])
{
    size_t n = kd_part_take_at_most(cur, KD_CONF_TOKEN_LIST_MAX);

    for (size_t i = 0; i < n && cur->err == KD_OK; i++) {
        kd_part_take_path(cur, list[i], sizeof list[i]);
        if (list[i][0] == '\0')
            kd_cur_fail(cur, KD_MALFORMED);
    }
    return cur->err == KD_OK ? n : 0;
}

kd_err
kd_conf_for_p11_decode(struct kd_slice octets, struct kd_conf_for_p11 *out)
{
    struct kd_cur cur = kd_cur(octets);
    struct kd_conf_for_p11 c = {0};

    kd_part_take_head(&cur, KD_PART_P11, &c.hardening, &c.log_level);
    c.host = kd_cur_u8(&cur);
    c.is_maker = c.host % KD_CONF_TOKEN_HOSTS == KD_CONF_TOKEN_MAKER;
    c.profile = (enum kd_p11_profile)kd_part_take_at_most(&cur, KD_P11_PROFILES - 1);
    c.timeout = kd_part_take_u32(&cur, KD_CONF_TOKEN, "timeout");
    kd_part_take_text(&cur, c.name, sizeof c.name);
    kd_part_take_path(&cur, c.module, sizeof c.module);
    take_match(&cur, &c.match);
    c.n_paths = take_list(&cur, c.paths);
    c.n_files = take_list(&cur, c.files);
    if (!kd_conf_host_is_valid(c.host) || !name_is_valid(c.name) || c.module[0] == '\0')
        kd_cur_fail(&cur, KD_MALFORMED);
    kd_err err = kd_cur_end(&cur);
    if (err == KD_OK)
        *out = c;
    return err;
}
