#include "read.h"
#include "problems.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* One more than the keys of the largest section and its subsections. */
enum { OPTIONS_MAX = 64 };

/* libconfuse's error callback has no argument of the caller's. */
static _Thread_local struct kd_conf_problems *report_to;

static void report(cfg_t *cfg, const char *fmt, va_list ap) KD_PRINTF(2, 0);

static void
report(cfg_t *cfg, const char *fmt, va_list ap)
{
    char text[160];
    int n = vsnprintf(text, sizeof text, fmt, ap);

    kd_conf_error(report_to, cfg->line < 0 ? 0 : (uint32_t)cfg->line,
                  "libconfuse does not read this: %s",
                  n < 0 ? "" : KD_CONF_QUOTE(kd_slice_str(text)));
}

static cfg_opt_t
option_of(const struct kd_conf_key *key)
{
    switch (key->type) {
    case KD_CONF_INT:
    case KD_CONF_DELAY:
        return (cfg_opt_t)CFG_INT(key->name, 0, CFGF_NODEFAULT);
    case KD_CONF_BOOL:
        return (cfg_opt_t)CFG_BOOL(key->name, cfg_false, CFGF_NODEFAULT);
    case KD_CONF_FIELDS:
        return (cfg_opt_t)CFG_INT_LIST(key->name, NULL, CFGF_NODEFAULT);
    case KD_CONF_OPERATIONS:
    case KD_CONF_DOMAINS:
    case KD_CONF_ACCOUNT_KEYS:
    case KD_CONF_ACCOUNT_MODES:
    case KD_CONF_KEYS:
    case KD_CONF_QUOTAS:
    case KD_CONF_PATHS:
    case KD_CONF_ENVIRONMENT:
        return (cfg_opt_t)CFG_STR_LIST(key->name, NULL, CFGF_NODEFAULT);
    case KD_CONF_AUTO_INT:
    case KD_CONF_HARDENING:
    case KD_CONF_LOG_LEVEL:
    case KD_CONF_CLASS:
    case KD_CONF_PATH:
    case KD_CONF_MODE:
    case KD_CONF_USER:
    case KD_CONF_GROUP:
    case KD_CONF_ROLE_USER:
    case KD_CONF_ROLE_GROUP:
    case KD_CONF_REMOTE:
    case KD_CONF_PIN:
    case KD_CONF_ADDRESS:
    case KD_CONF_TICKETS:
    case KD_CONF_SIGNER:
    case KD_CONF_HOST_USER:
    case KD_CONF_AUTO_SIZE:
    case KD_CONF_TEXT:
    case KD_CONF_PROFILE:
        break;
    }
    return (cfg_opt_t)CFG_STR(key->name, NULL, CFGF_NODEFAULT);
}

/* Fills options with those of the section and an end; returns how many but the end. */
static size_t
options_of(enum kd_conf_section section, cfg_opt_t options[OPTIONS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < kd_conf_n_keys && n < OPTIONS_MAX - KD_CONF_SECTION_COUNT;
         i++)
        if (kd_conf_keys[i].section == section)
            options[n++] = option_of(&kd_conf_keys[i]);
    options[n] = (cfg_opt_t)CFG_END();
    return n;
}

/* Is value i of the option what the scan has? */
static bool
value_agrees(cfg_opt_t *option, unsigned i, struct kd_slice text)
{
    char number[24];

    switch (option->type) {
    case CFGT_INT:
        kd_ignore(snprintf(number, sizeof number, "%ld", cfg_opt_getnint(option, i)));
        return kd_slice_eq(text, kd_slice_str(number));
    case CFGT_BOOL:
        return kd_slice_eq(
            text, kd_slice_str(cfg_opt_getnbool(option, i) == cfg_true ? "yes" : "no"));
    case CFGT_STR:
        return cfg_opt_getnstr(option, i) != NULL &&
               kd_slice_eq(text, kd_slice_str(cfg_opt_getnstr(option, i)));
    case CFGT_NONE:
    case CFGT_FLOAT:
    case CFGT_SEC:
    case CFGT_FUNC:
    case CFGT_PTR:
    case CFGT_COMMENT:
        break;
    }
    return false;
}

static void
compare_key(cfg_t *cfg, const struct kd_scan *scan, size_t section,
            const struct kd_conf_key *key, struct kd_conf_problems *problems)
{
    const struct kd_scan_entry *e = kd_scan_find(scan, section, key->name);
    cfg_opt_t *option = cfg_getopt(cfg, key->name);
    size_t n = e == NULL ? 0 : e->n;
    bool same = option != NULL && cfg_opt_size(option) == n;

    for (size_t i = 0; same && i < n; i++)
        same = value_agrees(option, (unsigned)i, scan->values[e->first + i].text);
    if (!same)
        kd_conf_error(problems, kd_scan_line(scan, section, key->name),
                      "libconfuse reads %s differently", key->name);
}

static void
compare_section(cfg_t *cfg, const struct kd_scan *scan, size_t section,
                struct kd_conf_problems *problems)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++)
        if (kd_conf_keys[i].section == scan->sections[section].type)
            compare_key(cfg, scan, section, &kd_conf_keys[i], problems);
}

static void
compare_all(cfg_t *cfg, const struct kd_scan *scan, struct kd_conf_problems *problems)
{
    unsigned seen[KD_CONF_SECTION_COUNT] = {0};

    compare_section(cfg, scan, 0, problems);
    for (size_t i = 1; i < scan->n_sections; i++) {
        const struct kd_scan_section *s = &scan->sections[i];
        cfg_t *sub = cfg_getnsec(cfg, kd_conf_section_name(s->type), seen[s->type]++);
        if (sub == NULL || cfg_title(sub) == NULL ||
            !kd_slice_eq(s->title, kd_slice_str(cfg_title(sub))))
            kd_conf_error(problems, s->line,
                          "libconfuse reads this section differently");
        else
            compare_section(sub, scan, i, problems);
    }
    for (unsigned type = KD_CONF_DOMAIN; type < KD_CONF_SECTION_COUNT; type++)
        if (cfg_size(cfg, kd_conf_section_name(type)) != seen[type])
            kd_conf_error(problems, 0, "libconfuse sees more sections");
}

/* libconfuse takes the words of a comment inside a list for items, so it gets none. The
 * scan has seen to it that quotes come in pairs on a line. */
static void
blank_comments(char *text, size_t n)
{
    bool in_string = false;
    bool in_comment = false;

    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            in_comment = false;
        else if (in_comment)
            text[i] = ' ';
        else if (text[i] == '"')
            in_string = !in_string;
        else if (text[i] == '#' && !in_string) {
            in_comment = true;
            text[i] = ' ';
        }
    }
}

kd_err
kd_read_agrees(struct kd_slice text, const struct kd_scan *scan,
               struct kd_conf_problems *problems)
{
    cfg_opt_t options[KD_CONF_SECTION_COUNT][OPTIONS_MAX];
    kd_err err = KD_OK;

    char *copy = strndup((const char *)text.p, text.n);
    if (copy == NULL)
        return KD_NOMEM;
    blank_comments(copy, text.n);
    size_t n = options_of(KD_CONF_TOP, options[KD_CONF_TOP]);
    for (unsigned type = KD_CONF_DOMAIN; type < KD_CONF_SECTION_COUNT; type++) {
        options_of(type, options[type]);
        options[KD_CONF_TOP][n++] =
            (cfg_opt_t)CFG_SEC(kd_conf_section_name(type), options[type],
                               CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    }
    options[KD_CONF_TOP][n] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(options[KD_CONF_TOP], CFGF_NONE);
    if (cfg == NULL) {
        err = KD_NOMEM;
        goto out;
    }
    report_to = problems;
    cfg_set_error_function(cfg, report);
    size_t before = problems->n_errors;
    int result = cfg_parse_buf(cfg, copy);
    if (result == CFG_SUCCESS)
        compare_all(cfg, scan, problems);
    else if (problems->n_errors == before)
        kd_conf_error(problems, 0, "libconfuse does not read this file");
    report_to = NULL;
out:
    if (cfg != NULL)
        cfg_free(cfg);
    free(copy);
    return err;
}
