#include "values.h"
#include "problems.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

enum { FIELD_FIRST = 16, FIELD_LAST = 252 };
enum { ACCOUNT_KEY_TEXT = 43 }; /* base64 of 32 octets without padding */
enum { DIGITS_MAX = 18 };       /* of an int64_t, whatever they are */

/* The value being set. */
struct setting {
    struct kd_conf_reading *r;
    const struct kd_conf_key *key;
    const struct kd_scan_value *value;
    void *member;
};

static void
refuse(const struct setting *s, const char *wanted)
{
    kd_conf_error(s->r->problems, s->value->line, "%s: \"%s\" is not %s", s->key->name,
                  KD_CONF_QUOTE(s->value->text), wanted);
}

char *
kd_conf_copy(struct kd_conf_reading *r, struct kd_slice text)
{
    char *copy = strndup((const char *)text.p, text.n);

    if (copy == NULL)
        r->err = KD_NOMEM;
    return copy;
}

static bool
is_word(const struct kd_scan_value *v, const char *word)
{
    return kd_slice_eq(v->text, kd_slice_str(word));
}

/* Decimal digits only; more than fit are a number too large for everything. */
static bool
parse_number(struct kd_slice text, int64_t *out)
{
    int64_t n = 0;

    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = i < DIGITS_MAX ? n * 10 + (text.p[i] - '0') : INT64_MAX;
    }
    *out = n;
    return true;
}

static void
set_int(const struct setting *s)
{
    int64_t n;

    if (s->value->form != KD_SCAN_NUMBER || !parse_number(s->value->text, &n)) {
        refuse(s, "a number");
        return;
    }
    int64_t least = kd_conf_key_least(s->key);
    if (n < least || n > s->key->max) {
        kd_conf_error(s->r->problems, s->value->line,
                      "%s: %s is not within %lld to %lld", s->key->name,
                      KD_CONF_QUOTE(s->value->text), (long long)least,
                      (long long)s->key->max);
        return;
    }
    assert(s->key->size == sizeof(uint32_t));
    *(uint32_t *)s->member = (uint32_t)n;
}

static void
set_auto_int(const struct setting *s)
{
    uint32_t n = s->r->env->n_cpus;

    if (!is_word(s->value, "auto")) {
        set_int(s);
        return;
    }
    if (n < s->key->min)
        n = (uint32_t)s->key->min;
    if (n > s->key->max)
        n = (uint32_t)s->key->max;
    assert(s->key->size == sizeof(uint32_t));
    *(uint32_t *)s->member = n;
}

static void
set_auto_size(const struct setting *s)
{
    if (!is_word(s->value, "auto"))
        set_int(s); /* else 0 */
}

static void
set_bool(const struct setting *s)
{
    bool yes = is_word(s->value, "yes");

    if (!yes && !is_word(s->value, "no")) {
        refuse(s, "yes or no");
        return;
    }
    assert(s->key->size == sizeof(bool));
    *(bool *)s->member = yes;
}

static void
set_hardening(const struct setting *s)
{
    bool relaxed = is_word(s->value, "relaxed");

    if (!relaxed && !is_word(s->value, "strict")) {
        refuse(s, "strict or relaxed");
        return;
    }
    assert(s->key->size == sizeof(enum kd_hardening));
    *(enum kd_hardening *)s->member =
        relaxed ? KD_HARDENING_RELAXED : KD_HARDENING_STRICT;
}

static void
set_log_level(const struct setting *s)
{
    static const struct {
        const char *word;
        enum kd_log_level level;
    } levels[] = {{"debug", KD_DEBUG}, {"info", KD_INFO}, {"warn", KD_WARN}};

    assert(s->key->size == sizeof(enum kd_log_level));
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (is_word(s->value, levels[i].word)) {
            *(enum kd_log_level *)s->member = levels[i].level;
            return;
        }
    refuse(s, "debug, info or warn");
}

static void
set_class(const struct setting *s)
{
    assert(s->key->size == sizeof(enum kd_class));
    if (!kd_class_find(s->value->text, s->member))
        refuse(s, "mta, submission, milter, tls or admin");
}

/* Absolute, no empty part, no "." or "..", no "/" at the end. */
static bool
path_is_plain(struct kd_slice path)
{
    size_t from = 1;

    if (path.n < 2 || path.p[0] != '/')
        return false;
    for (size_t i = 1; i <= path.n; i++) {
        if (i < path.n && path.p[i] != '/')
            continue;
        struct kd_slice part = kd_slice(path.p + from, i - from);
        if (part.n == 0 || kd_slice_eq(part, kd_slice_str(".")) ||
            kd_slice_eq(part, kd_slice_str("..")))
            return false;
        from = i + 1;
    }
    return true;
}

static bool
length_is_in_range(const struct setting *s)
{
    int64_t n = (int64_t)s->value->text.n;

    if (n >= s->key->min && n <= s->key->max)
        return true;
    kd_conf_error(s->r->problems, s->value->line,
                  "%s: %lld octets, not within %lld to %lld", s->key->name,
                  (long long)n, (long long)s->key->min, (long long)s->key->max);
    return false;
}

static bool
value_is_path(const struct setting *s)
{
    if (s->value->form == KD_SCAN_STRING && path_is_plain(s->value->text))
        return true;
    refuse(s, "an absolute path without \"..\", \".\" or double slashes");
    return false;
}

static void
set_path(const struct setting *s)
{
    if (!length_is_in_range(s) || !value_is_path(s))
        return;
    assert(s->key->size == sizeof(char *));
    *(char **)s->member = kd_conf_copy(s->r, s->value->text);
}

static void
set_text(const struct setting *s)
{
    if (!length_is_in_range(s))
        return;
    if (s->value->form != KD_SCAN_STRING) {
        refuse(s, "a text in double quotes");
        return;
    }
    assert(s->key->size == sizeof(char *));
    *(char **)s->member = kd_conf_copy(s->r, s->value->text);
}

static void
set_profile(const struct setting *s)
{
    static const char *const words[KD_P11_PROFILES] = {[KD_P11_PROFILE_FILES] = "files",
                                                       [KD_P11_PROFILE_PCSC] = "pcsc",
                                                       [KD_P11_PROFILE_NET] = "net"};
    unsigned profile = 0;

    assert(s->key->size == sizeof(enum kd_p11_profile));
    while (profile < KD_P11_PROFILES && !is_word(s->value, words[profile]))
        profile++;
    if (profile < KD_P11_PROFILES)
        *(enum kd_p11_profile *)s->member = (enum kd_p11_profile)profile;
    else
        refuse(s, "files, pcsc or net");
}

static void
set_mode(const struct setting *s)
{
    assert(s->key->size == sizeof(uint32_t));
    if (s->value->form == KD_SCAN_STRING && is_word(s->value, "0600"))
        *(uint32_t *)s->member = 0600;
    else if (s->value->form == KD_SCAN_STRING && is_word(s->value, "0660"))
        *(uint32_t *)s->member = 0660;
    else
        refuse(s, "\"0600\" or \"0660\", in double quotes");
}

/* Names as useradd(8) makes them. */
static bool
is_account_name(struct kd_slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool is_other = (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!is_letter && !(is_other && i > 0))
            return false;
    }
    return name.n > 0;
}

static bool
look_up(const struct setting *s, const char *name, uint32_t *id)
{
    const struct kd_conf_env *env = s->r->env;
    bool is_group = s->key->type == KD_CONF_GROUP || s->key->type == KD_CONF_ROLE_GROUP;

    if ((is_group ? env->find_group : env->find_user)(env->arg, name, id) == KD_OK)
        return true;
    kd_conf_error(s->r->problems, s->value->line, "%s: there is no %s %s", s->key->name,
                  is_group ? "group" : "user", name);
    return false;
}

static void
set_id(const struct setting *s)
{
    bool is_late = s->key->type == KD_CONF_HOST_USER; /* check.c looks it up */
    bool is_role =
        s->key->type == KD_CONF_ROLE_USER || s->key->type == KD_CONF_ROLE_GROUP;
    struct kd_conf_id *id = s->member;
    int64_t number;

    assert(s->key->size == sizeof *id);
    if (!length_is_in_range(s))
        return;
    bool is_number = parse_number(s->value->text, &number);
    if (is_number ? number >= UINT32_MAX : !is_account_name(s->value->text)) {
        refuse(s, "a name or a number of an account");
        return;
    }
    if ((id->name = kd_conf_copy(s->r, s->value->text)) == NULL)
        return;
    if (is_number) {
        id->id = (uint32_t)number;
        id->is_known = true;
    } else if (!is_late && (!is_role || s->r->env->as_root)) {
        id->is_known = look_up(s, id->name, &id->id);
    }
    if (id->is_known && (id->id == KD_UID_OVERFLOW || id->id == KD_UID_NONE)) {
        kd_conf_error(s->r->problems, s->value->line,
                      "%s: %s is nobody: the kernel shows that number for accounts it "
                      "cannot map",
                      s->key->name, id->name);
        id->is_known = false;
    }
}

static void
set_remote(const struct setting *s)
{
    if (!length_is_in_range(s))
        return;
    if (s->value->form != KD_SCAN_STRING || !kd_remote_name_is_valid(s->value->text)) {
        refuse(s, "a domain in lower case (no wildcard, no dot at the end) or uri: and "
                  "a URI, in double quotes");
        return;
    }
    assert(s->key->size == sizeof(char *));
    *(char **)s->member = kd_conf_copy(s->r, s->value->text);
}

static void
set_pin(const struct setting *s)
{
    struct kd_conf_pin *pin = s->member;

    assert(s->key->size == sizeof *pin);
    pin->is_set = s->value->form == KD_SCAN_STRING &&
                  kd_conf_pin_parse(s->value->text, pin->sha256);
    if (!pin->is_set)
        refuse(s, "64 hexadecimal digits in double quotes");
}

static void
set_address(const struct setting *s)
{
    struct kd_conf_address *a = s->member;

    assert(s->key->size == sizeof *a);
    if (!length_is_in_range(s))
        return;
    if (s->value->form != KD_SCAN_STRING || !kd_conf_address_parse(s->value->text, a))
        refuse(s, "a numeric address and a port, \"192.0.2.1:4433\" or "
                  "\"[2001:db8::1]:4433\"");
}

/* Lists: called once an item. */

static void
add_operation(const struct setting *s)
{
    uint64_t *mask = s->member;
    enum kd_op op = kd_op_find(s->value->text);

    assert(s->key->size == sizeof *mask);
    if (op == KD_OP_NONE)
        refuse(s, "an operation (names and case as in keyd.conf(5))");
    else if ((*mask & kd_op_bit(op)) != 0)
        refuse(s, "new: it is in the list already");
    else
        *mask |= kd_op_bit(op);
}

static void
add_field(const struct setting *s)
{
    uint8_t *set = s->member;
    int64_t n;

    assert(s->key->size == KD_PROFILE_FIELDS_SIZE);
    if (s->value->form != KD_SCAN_NUMBER || !parse_number(s->value->text, &n) ||
        n < FIELD_FIRST || n > FIELD_LAST)
        refuse(s, "the number of a field that may be added (16 to 252)");
    else if ((set[n / 8] & 1U << n % 8) != 0)
        refuse(s, "new: it is in the list already");
    else
        set[n / 8] |= (uint8_t)(1U << n % 8);
}

/* 43 characters, with or without the one of padding; a point that a signature can be
 * verified under. */
static void
add_account_key(const struct setting *s)
{
    struct kd_account_keys *keys = s->member;
    struct kd_slice text = s->value->text;
    uint8_t key[KD_ACCOUNT_KEY_SIZE];
    size_t n;

    assert(s->key->size == sizeof *keys);
    if (text.n == ACCOUNT_KEY_TEXT + 1 && text.p[ACCOUNT_KEY_TEXT] == '=')
        text.n--;
    if (keys->n == KD_ACCOUNT_KEYS_MAX)
        return; /* reported */
    if (text.n != ACCOUNT_KEY_TEXT ||
        sodium_base642bin(key, sizeof key, (const char *)text.p, text.n, NULL, &n, NULL,
                          sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
        n != sizeof key || crypto_core_ed25519_is_valid_point(key) != 1) {
        refuse(s, "an Ed25519 public key in base64");
        return;
    }
    for (size_t i = 0; i < keys->n; i++)
        if (memcmp(keys->key[i], key, sizeof key) == 0) {
            refuse(s, "new: it is in the list already");
            return;
        }
    memcpy(keys->key[keys->n++], key, sizeof key);
}

static void
add_account_mode(const struct setting *s)
{
    static const char *const words[KD_ACCOUNT_MODES] = {
        [KD_ACCOUNT_TRUSTFUL] = "trustful",
        [KD_ACCOUNT_CAUTIOUS] = "cautious",
        [KD_ACCOUNT_PARANOID] = "paranoid"};
    uint8_t *set = s->member;
    unsigned mode = 0;

    assert(s->key->size == sizeof *set);
    while (mode < KD_ACCOUNT_MODES && !is_word(s->value, words[mode]))
        mode++;
    if (mode == KD_ACCOUNT_MODES)
        refuse(s, "trustful, cautious or paranoid");
    else if ((*set & 1U << mode) != 0)
        refuse(s, "new: it is in the list already");
    else
        *set |= (uint8_t)(1U << mode);
}

/* 0 if it is none. */
static unsigned
role_of(struct kd_slice word)
{
#define KD_ROLE(code, number, name, algs, allowed, needed, domain, text)               \
    if (kd_slice_eq(word, kd_slice_str(name)))                                         \
        return number;
#include <keyd/token/roles.def>
#undef KD_ROLE
    return 0;
}

/* 32 hexadecimal digits, in lower case as keydctl shows them. */
static bool
parse_key_id(struct kd_slice text, uint8_t id[KD_POLICY_KEY_ID_SIZE])
{
    size_t n;

    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] >= 'A' && text.p[i] <= 'F')
            return false;
    return text.n == 2 * (size_t)KD_POLICY_KEY_ID_SIZE &&
           sodium_hex2bin(id, KD_POLICY_KEY_ID_SIZE, (const char *)text.p, text.n, NULL,
                          &n, NULL) == 0 &&
           n == KD_POLICY_KEY_ID_SIZE;
}

static void
add_key(const struct setting *s)
{
    struct kd_conf_keys *keys = s->member;
    unsigned role = role_of(s->value->text);
    uint8_t id[KD_POLICY_KEY_ID_SIZE];
    bool is_there = (keys->roles & 1U << role) != 0;

    assert(s->key->size == sizeof *keys && role <= KD_POLICY_ROLES_MAX);
    if (role == 0 && !parse_key_id(s->value->text, id)) {
        refuse(s, "pok, sok, enc, dkim, audit or an id of 32 hexadecimal digits");
        return;
    }
    for (size_t i = 0; role == 0 && i < keys->n; i++)
        is_there |= memcmp(keys->ids[i], id, sizeof id) == 0;
    if (is_there)
        refuse(s, "new: it is in the list already");
    else if (role != 0)
        keys->roles |= (uint16_t)(1U << role);
    else if (keys->ids == NULL &&
             (keys->ids = calloc(KD_CONF_KEY_IDS_MAX, sizeof *keys->ids)) == NULL)
        s->r->err = KD_NOMEM;
    else if (keys->n < KD_CONF_KEY_IDS_MAX) /* else reported */
        memcpy(keys->ids[keys->n++], id, sizeof id);
}

static void
add_quota(const struct setting *s)
{
    struct kd_conf_quotas *quotas = s->member;
    struct kd_quota q;
    const char *why;

    assert(s->key->size == sizeof *quotas);
    if (kd_quota_parse(s->value->text, &q, &why) != KD_OK) {
        kd_conf_error(s->r->problems, s->value->line, "%s: \"%s\": %s", s->key->name,
                      KD_CONF_QUOTE(s->value->text), why);
        return;
    }
    q.line = s->value->line;
    for (size_t i = 0; i < quotas->n; i++)
        if (quotas->list[i].op == q.op) {
            kd_conf_error(s->r->problems, s->value->line,
                          "%s: %s has a line already, at line %u", s->key->name,
                          q.op == KD_OP_NONE ? "*" : kd_op_name(q.op),
                          quotas->list[i].line);
            return;
        }
    if (quotas->list == NULL &&
        (quotas->list = calloc(KD_POLICY_OWN_QUOTAS_MAX, sizeof q)) == NULL)
        s->r->err = KD_NOMEM;
    else if (quotas->n < KD_POLICY_OWN_QUOTAS_MAX) /* else reported */
        quotas->list[quotas->n++] = q;
}

static void
add_text(const struct setting *s)
{
    struct kd_conf_texts *texts = s->member;

    size_t max = (size_t)s->key->max;

    assert(s->key->size == sizeof *texts);
    for (size_t i = 0; i < texts->n; i++)
        if (is_word(s->value, texts->list[i])) {
            refuse(s, "new: it is in the list already");
            return;
        }
    if (texts->list == NULL && (texts->list = calloc(max, sizeof *texts->list)) == NULL)
        s->r->err = KD_NOMEM;
    else if (texts->n < max && /* else reported */
             (texts->list[texts->n] = kd_conf_copy(s->r, s->value->text)) != NULL)
        texts->n++;
}

static bool
item_is_too_long(const struct setting *s)
{
    bool is_too_long = s->value->text.n > KD_CONF_TOKEN_TEXT_MAX;

    if (is_too_long)
        kd_conf_error(s->r->problems, s->value->line, "%s: more than %d octets",
                      s->key->name, KD_CONF_TOKEN_TEXT_MAX);
    return is_too_long;
}

static void
add_path(const struct setting *s)
{
    if (!item_is_too_long(s) && value_is_path(s))
        add_text(s);
}

/* NAME=VALUE, the name as a shell takes it; 0: not so. */
static size_t
variable_size(struct kd_slice text)
{
    size_t n = 0;

    for (; n < text.n && text.p[n] != '='; n++) {
        uint8_t c = text.p[n];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!is_letter && (n == 0 || c < '0' || c > '9'))
            return 0;
    }
    return n < text.n ? n : 0;
}

/* What steers the loader, the C library or a cryptographic library, and not the module;
 * and what would be a secret in a place that everybody reads. NULL: neither. */
static const char *
variable_trouble(struct kd_slice name)
{
    static const char *const prefixes[] = {"LD_", "GLIBC_", "MALLOC_", "OPENSSL_",
                                           "SSL_"};
    static const char *const names[] = {
        "GCONV_PATH",       "LOCPATH",     "NLSPATH", "HOSTALIASES", "RES_OPTIONS",
        "RESOLV_HOST_CONF", "LOCALDOMAIN", "TZDIR",   "GETCONF_DIR"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]);
        if (name.n >= n && memcmp(name.p, prefixes[i], n) == 0)
            return "it changes how programs are loaded or libraries work";
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (kd_slice_eq(name, kd_slice_str(names[i])))
            return "it changes how programs are loaded or libraries work";
    if (memmem(name.p, name.n, "PIN", 3) != NULL ||
        memmem(name.p, name.n, "PASSW", 5) != NULL)
        return "a PIN comes from pin-file, never from the environment";
    return NULL;
}

static void
add_variable(const struct setting *s)
{
    const struct kd_conf_texts *texts = s->member;
    size_t n = variable_size(s->value->text);
    const char *trouble = variable_trouble(kd_slice(s->value->text.p, n));

    if (item_is_too_long(s))
        return;
    if (s->value->form != KD_SCAN_STRING || n == 0) {
        refuse(s, "NAME=VALUE, in double quotes");
        return;
    }
    if (trouble != NULL) {
        kd_conf_error(s->r->problems, s->value->line, "%s: %s is refused: %s",
                      s->key->name, KD_CONF_QUOTE(kd_slice(s->value->text.p, n)),
                      trouble);
        return;
    }
    for (size_t i = 0; i < texts->n; i++)
        if (strncmp(texts->list[i], (const char *)s->value->text.p, n + 1) == 0) {
            refuse(s, "new: the name is in the list already");
            return;
        }
    add_text(s);
}

static void
set_tickets(const struct setting *s)
{
    static const struct {
        const char *word;
        uint8_t set;
    } words[] = {{"none", 0},
                 {"first", KD_TICKET_FIRST},
                 {"reset", KD_TICKET_RESET},
                 {"both", KD_TICKET_ALL}};

    assert(s->key->size == sizeof(uint8_t));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (is_word(s->value, words[i].word)) {
            *(uint8_t *)s->member = words[i].set;
            return;
        }
    refuse(s, "none, first, reset or both");
}

static void
set_signer(const struct setting *s)
{
    bool is_pok = is_word(s->value, "pok");

    assert(s->key->size == sizeof(uint8_t));
    if (is_pok || is_word(s->value, "sok"))
        *(uint8_t *)s->member = is_pok ? KD_MESSAGE_SIGNER_POK : KD_MESSAGE_SIGNER_SOK;
    else
        refuse(s, "sok or pok");
}

static void (*const setters[])(const struct setting *s) = {
    [KD_CONF_DELAY] = set_int,
    [KD_CONF_INT] = set_int,
    [KD_CONF_AUTO_INT] = set_auto_int,
    [KD_CONF_BOOL] = set_bool,
    [KD_CONF_HARDENING] = set_hardening,
    [KD_CONF_LOG_LEVEL] = set_log_level,
    [KD_CONF_CLASS] = set_class,
    [KD_CONF_PATH] = set_path,
    [KD_CONF_MODE] = set_mode,
    [KD_CONF_USER] = set_id,
    [KD_CONF_GROUP] = set_id,
    [KD_CONF_ROLE_USER] = set_id,
    [KD_CONF_ROLE_GROUP] = set_id,
    [KD_CONF_OPERATIONS] = add_operation,
    [KD_CONF_FIELDS] = add_field,
    [KD_CONF_REMOTE] = set_remote,
    [KD_CONF_PIN] = set_pin,
    [KD_CONF_ADDRESS] = set_address,
    [KD_CONF_ACCOUNT_KEYS] = add_account_key,
    [KD_CONF_ACCOUNT_MODES] = add_account_mode,
    [KD_CONF_TICKETS] = set_tickets,
    [KD_CONF_SIGNER] = set_signer,
    [KD_CONF_KEYS] = add_key,
    [KD_CONF_QUOTAS] = add_quota,
    [KD_CONF_HOST_USER] = set_id,
    [KD_CONF_AUTO_SIZE] = set_auto_size,
    [KD_CONF_TEXT] = set_text,
    [KD_CONF_PROFILE] = set_profile,
    [KD_CONF_PATHS] = add_path,
    [KD_CONF_ENVIRONMENT] = add_variable,
};

static void
set_one(const struct setting *s)
{
    size_t type = s->key->type;

    if (type == KD_CONF_DOMAINS)
        return; /* later, see the header */
    assert(type < sizeof setters / sizeof *setters && setters[type] != NULL);
    setters[type](s);
}

/* Defaults are written in the table as in a file. */
static struct kd_scan_value
default_value(const struct kd_conf_key *key)
{
    struct kd_slice text = kd_slice_str(key->def);
    int64_t n;

    return (struct kd_scan_value){
        .text = text, .form = parse_number(text, &n) ? KD_SCAN_NUMBER : KD_SCAN_STRING};
}

static void
set_key(struct kd_conf_reading *r, size_t section, const struct kd_conf_key *key,
        void *base)
{
    const struct kd_scan_entry *e = kd_scan_find(r->scan, section, key->name);
    struct setting s = {.r = r, .key = key, .member = (char *)base + key->offset};

    if (e == NULL && key->def == NULL) {
        kd_conf_error(r->problems, r->scan->sections[section].line, "%s is missing",
                      key->name);
    } else if (e == NULL && key->def[0] != '\0') {
        struct kd_scan_value value = default_value(key);
        s.value = &value;
        set_one(&s);
    } else if (e != NULL) {
        if (kd_conf_key_is_list(key) && e->n > (size_t)key->max)
            kd_conf_error(r->problems, e->line, "%s: more than %lld items", key->name,
                          (long long)key->max);
        for (size_t i = 0; i < e->n; i++) {
            s.value = &r->scan->values[e->first + i];
            set_one(&s);
            if (!kd_conf_key_is_list(key)) /* a list here has been reported */
                break;
        }
    }
}

void
kd_conf_set_section(struct kd_conf_reading *r, size_t section, void *base)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++)
        if (kd_conf_keys[i].section == r->scan->sections[section].type)
            set_key(r, section, &kd_conf_keys[i], base);
}

/* KD_POLICY_DOMAINS_MAX if it is not served. */
static size_t
find_domain(const struct kd_conf *conf, struct kd_slice name)
{
    for (size_t i = 0; i < conf->n_domains; i++)
        if (kd_slice_eq(name, kd_slice_str(conf->domains[i].name)))
            return i;
    return KD_POLICY_DOMAINS_MAX;
}

void
kd_conf_set_domains(struct kd_conf_reading *r, size_t section,
                    struct kd_conf_principal *p)
{
    const struct kd_scan_entry *e = kd_scan_find(r->scan, section, "domains");

    if (e == NULL || e->n == 0 || r->conf->domains == NULL) /* too many: reported */
        return;
    if ((p->domains = calloc(e->n, sizeof *p->domains)) == NULL) {
        r->err = KD_NOMEM;
        return;
    }
    for (size_t i = 0; i < e->n; i++) {
        const struct kd_scan_value *v = &r->scan->values[e->first + i];
        size_t found = find_domain(r->conf, v->text);
        bool is_new = true;
        for (size_t k = 0; k < p->n_domains; k++)
            if (p->domains[k] == found)
                is_new = false;
        if (found == KD_POLICY_DOMAINS_MAX)
            kd_conf_error(r->problems, v->line,
                          "domains: there is no section domain \"%s\"",
                          KD_CONF_QUOTE(v->text));
        else if (!is_new)
            kd_conf_error(r->problems, v->line, "domains: \"%s\" is there already",
                          KD_CONF_QUOTE(v->text));
        else
            p->domains[p->n_domains++] = (uint16_t)found;
    }
}

static void
free_texts(struct kd_conf_texts *texts)
{
    for (size_t i = 0; i < texts->n; i++)
        free(texts->list[i]);
    free(texts->list);
}

void
kd_conf_clear_section(enum kd_conf_section type, void *base)
{
    for (size_t i = 0; i < kd_conf_n_keys; i++) {
        const struct kd_conf_key *key = &kd_conf_keys[i];
        void *member = (char *)base + key->offset;
        if (key->section != type)
            continue;
        if (key->type == KD_CONF_PATH || key->type == KD_CONF_REMOTE ||
            key->type == KD_CONF_TEXT)
            free(*(char **)member);
        if (key->type == KD_CONF_PATHS || key->type == KD_CONF_ENVIRONMENT)
            free_texts(member);
        if (key->type == KD_CONF_KEYS)
            free(((struct kd_conf_keys *)member)->ids);
        if (key->type == KD_CONF_QUOTAS)
            free(((struct kd_conf_quotas *)member)->list);
        if (key->size == sizeof(struct kd_conf_id) &&
            (key->type == KD_CONF_USER || key->type == KD_CONF_GROUP ||
             key->type == KD_CONF_ROLE_USER || key->type == KD_CONF_ROLE_GROUP ||
             key->type == KD_CONF_HOST_USER))
            free(((struct kd_conf_id *)member)->name);
    }
}

bool
kd_conf_path_is_within(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}
