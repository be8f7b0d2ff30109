/* keydctl key list, show, generate, retire, import, attach. */
#include "keydctl.h"

#include <dime/dkey.h>

enum { TOKENS_MAX = 2 }; /* that have one key */

static const char *const roles[] = {
    [KEYD_ROLE_NONE] = "none", [KEYD_ROLE_POK] = "pok",   [KEYD_ROLE_SOK] = "sok",
    [KEYD_ROLE_ENC] = "enc",   [KEYD_ROLE_DKIM] = "dkim", [KEYD_ROLE_AUDIT] = "audit",
    [KEYD_ROLE_SEAL] = "seal",
};

static const char *const algorithms[] = {
    [KEYD_ED25519] = "ed25519",
    [KEYD_SECP256K1] = "secp256k1",
    [KEYD_RSA] = "rsa",
};

static const char *const states[] = {
    [KEYD_KEY_PRE_ACTIVE] = "pre-active", [KEYD_KEY_ACTIVE] = "active",
    [KEYD_KEY_RETAINED] = "retained",     [KEYD_KEY_REVOKED] = "revoked",
    [KEYD_KEY_DESTROYED] = "destroyed",
};

static const struct {
    uint32_t bit;
    const char *name;
} permissions[] = {{KEYD_PERM_SIGNET, "users"},
                   {KEYD_PERM_MESSAGE, "messages"},
                   {KEYD_PERM_CERTIFICATE, "certificates"},
                   {KEYD_PERM_SOFTWARE, "software"}};
enum { N_PERMISSIONS = sizeof permissions / sizeof permissions[0] };

static const struct {
    uint32_t bit;
    const char *name;
} attestations[] = {{KEYD_MADE_INSIDE, "made-inside"},
                    {KEYD_NEVER_EXTRACTABLE, "never-extractable"},
                    {KEYD_IMPORTED, "imported"},
                    {KEYD_FOUND_THERE, "found-there"}};
enum { N_ATTESTATIONS = sizeof attestations / sizeof attestations[0] };

static const char *
text_of(const char *const *table, size_t n, size_t i)
{
    return i < n && table[i] != NULL ? table[i] : "unknown";
}
#define TEXT_OF(table, i) text_of(table, sizeof table / sizeof *table, (size_t)(i))

const char *
key_role_text(enum keyd_key_role role)
{
    return TEXT_OF(roles, role);
}

const char *
key_state_text(enum keyd_key_state state)
{
    return TEXT_OF(states, state);
}

/* --- showing ------------------------------------------------------------------------
 */

static void
permissions_text(uint32_t set, char out[64])
{
    size_t at = 0;

    kd_ignore(snprintf(out, 64, "-"));
    for (size_t i = 0; i < N_PERMISSIONS; i++)
        if ((set & permissions[i].bit) != 0)
            at += (size_t)snprintf(out + at, 64 - at, "%s%s", at == 0 ? "" : ",",
                                   permissions[i].name);
}

static json_t *
permissions_to_json(uint32_t set)
{
    json_t *list = json_array();

    for (size_t i = 0; i < N_PERMISSIONS; i++)
        if ((set & permissions[i].bit) != 0)
            list = json_list_add(list, json_string(permissions[i].name));
    return list;
}

/* "here", "alpha", "alpha+beta", "sealed:alpha"; "-" where it was not told. */
enum { WHERE_TEXT = 80 };
static void
where_text(const struct keyd_key *k, char out[WHERE_TEXT])
{
    struct kd_buf b;

    kd_buf_init(&b, WHERE_TEXT - 1);
    if (k->holding == KEYD_HOLDING_SEALED)
        kd_buf_printf(&b, "sealed:");
    for (size_t i = 0; i < k->n_tokens; i++) {
        kd_buf_printf(&b, i == 0 ? "" : "+");
        kd_buf_put(&b, slice_of(k->tokens[i]));
    }
    if (k->n_tokens == 0)
        kd_buf_printf(&b, k->holding == KEYD_HOLDING_STORE ? "here" : "-");
    kd_ignore(snprintf(out, WHERE_TEXT, "%.*s", (int)b.n, (const char *)b.p));
    kd_buf_free(&b);
}

static void
attested_text(const struct keyd_key *k, char out[80])
{
    size_t at = 0;

    kd_ignore(snprintf(out, 80, "-"));
    for (size_t i = 0; i < N_ATTESTATIONS; i++)
        if ((k->attested & attestations[i].bit) != 0)
            at += (size_t)snprintf(out + at, 80 - at, "%s%s", at == 0 ? "" : ",",
                                   attestations[i].name);
}

static json_t *
attested_to_json(const struct keyd_key *k)
{
    json_t *list = json_array();

    for (size_t i = 0; i < N_ATTESTATIONS; i++)
        if ((k->attested & attestations[i].bit) != 0)
            list = json_list_add(list, json_string(attestations[i].name));
    return list;
}

static json_t *
key_tokens_to_json(const struct keyd_key *k)
{
    json_t *list = json_array();

    for (size_t i = 0; i < k->n_tokens; i++)
        list = json_list_add(list, json_octets(slice_of(k->tokens[i])));
    return list;
}

/* As the vendor's tool names it; of two tokens both, which may differ. */
static json_t *
objects_to_json(const struct keyd_key *k)
{
    json_t *list = json_array();

    for (size_t i = 0; i < k->n_objects; i++)
        list = json_list_add(list, json_hex(slice_of(k->objects[i])));
    return list;
}

static void
print_objects(const struct keyd_key *k)
{
    enum { OCTETS_MAX = 32 };

    for (size_t i = 0; i < k->n_objects && i < k->n_tokens; i++) {
        char hex[2 * OCTETS_MAX + 1] = "";
        if (k->objects[i].n <= OCTETS_MAX)
            hex_write(slice_of(k->objects[i]), hex);
        emit(stdout, "object       %s in ", hex);
        print_text(stdout, slice_of(k->tokens[i]));
        emit(stdout, "\n");
    }
}

static const char *
holding_text(enum keyd_key_holding holding)
{
    static const char *const holdings[] = {
        [KEYD_HOLDING_UNTOLD] = "untold",
        [KEYD_HOLDING_STORE] = "store",
        [KEYD_HOLDING_TOKEN] = "token",
        [KEYD_HOLDING_SEALED] = "sealed",
    };

    return TEXT_OF(holdings, holding);
}

static json_t *
key_to_json(const struct keyd_key *k)
{
    json_t *j = json_object();
    bool good =
        json_put(j, "id", json_hex(slice_of(k->id))) &&
        json_put(j, "role", json_string(key_role_text(k->role))) &&
        json_put(j, "algorithm", json_string(TEXT_OF(algorithms, k->algorithm))) &&
        json_put(j, "state", json_string(key_state_text(k->state))) &&
        json_put(j, "permissions", permissions_to_json(k->permissions)) &&
        json_put(j, "domain", json_octets(slice_of(k->domain))) &&
        json_put(j, "created", json_time(k->created_ms)) &&
        json_put(j, "holding", json_string(holding_text(k->holding))) &&
        json_put(j, "tokens", key_tokens_to_json(k)) &&
        json_put(j, "attested", attested_to_json(k)) &&
        json_put(j, "away", json_boolean(k->away)) &&
        json_put(j, "objects", objects_to_json(k)) &&
        json_put(j, "public_key", json_base64(slice_of(k->public_key)));

    if (good)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *
keys_to_json(const struct keyd_key *const *keys, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        list = json_list_add(list, key_to_json(keys[i]));
    return list;
}

static void
id_text(const struct keyd_key *k, char out[33])
{
    hex_write(kd_slice(k->id.p, k->id.n <= 16 ? k->id.n : 0), out);
}

static void
print_key(const struct keyd_key *k)
{
    char id[33], allowed[64], created[TIME_TEXT], where[WHERE_TEXT], attested[80];

    id_text(k, id);
    where_text(k, where);
    attested_text(k, attested);
    permissions_text(k->permissions, allowed);
    emit(stdout,
         "id           %s\nrole         %s\nalgorithm    %s\nstate        %s\n"
         "permissions  %s\ndomain       ",
         id, key_role_text(k->role), TEXT_OF(algorithms, k->algorithm),
         key_state_text(k->state), allowed);
    print_text(stdout, slice_of(k->domain));
    emit(stdout, "\ncreated      %s\nwhere        ", time_text(k->created_ms, created));
    print_text(stdout, kd_slice_str(where));
    emit(stdout, "%s\nattested     %s\n", k->away ? " (away)" : "", attested);
    print_objects(k);
    emit(stdout, "public key   ");
    print_base64(stdout, slice_of(k->public_key));
    emit(stdout, "\n");
}

static void
print_key_line(const struct keyd_key *k)
{
    char id[33], allowed[64], where[WHERE_TEXT], attested[80];

    id_text(k, id);
    permissions_text(k->permissions, allowed);
    where_text(k, where);
    attested_text(k, attested);
    emit(stdout, "%-32s  %-5s  %-9s  %-10s  %-36s  ", id, key_role_text(k->role),
         TEXT_OF(algorithms, k->algorithm), key_state_text(k->state), allowed);
    print_text(stdout, kd_slice_str(where));
    emit(stdout, "%*s  %-29s  ", strlen(where) < 16 ? (int)(16 - strlen(where)) : 0, "",
         attested);
    print_text(stdout, slice_of(k->domain));
    emit(stdout, "\n");
}

/* Keys as an operation answered them. */
static int
tell_keys(const struct options *o, const struct keyd_answer *a)
{
    if (o->json && a->out.keys.n_keys == 1)
        return json_done(key_to_json(&a->out.keys.keys[0]), EX_OK);
    if (o->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < a->out.keys.n_keys; i++)
            kd_ignore(json_array_append_new(list, key_to_json(&a->out.keys.keys[i])));
        return json_done(json_pack("{s:o}", "keys", list), EX_OK);
    }
    for (size_t i = 0; i < a->out.keys.n_keys; i++) {
        if (i != 0)
            emit(stdout, "\n");
        print_key(&a->out.keys.keys[i]);
    }
    return EX_OK;
}

/* --- list, show ---------------------------------------------------------------------
 */

int
verb_key_list(const struct options *o)
{
    struct name domain = {"", 0};
    struct key_list list = {0};
    struct session s = {0};
    int status = o->domain == NULL
                     ? EX_OK
                     : name_read("--domain", o->domain, NAME_DOMAIN, &domain);

    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = key_list_fetch(&s, domain.n == 0 ? NULL : domain.text, &list);
    if (status == EX_OK && o->json)
        status = json_done(json_pack("{s:o}", "keys", keys_to_json(list.keys, list.n)),
                           EX_OK);
    else if (status == EX_OK) {
        emit(stdout, "%-32s  %-5s  %-9s  %-10s  %-36s  %-16s  %-29s  %s\n", "id",
             "role", "algorithm", "state", "permissions", "where", "attested",
             "domain");
        for (size_t i = 0; i < list.n; i++)
            print_key_line(list.keys[i]);
    }
    key_list_free(&list);
    session_close(&s);
    return status;
}

int
verb_key_show(const struct options *o)
{
    const struct keyd_key *found = NULL;
    struct key_list list = {0};
    struct session s = {0};
    uint8_t id[16];
    int status = EX_OK;

    if (!hex_read(o->args[0], id, sizeof id))
        return usage_error(o->args[0], "an id of a key has 32 hexadecimal digits");
    if ((status = session_open(&s, o)) == EX_OK)
        status = key_list_fetch(&s, NULL, &list);
    for (size_t i = 0; status == EX_OK && i < list.n; i++)
        if (kd_slice_eq(slice_of(list.keys[i]->id), kd_slice(id, sizeof id)))
            found = list.keys[i];
    if (status == EX_OK && found == NULL) {
        complain(o->args[0], "no such key");
        status = EX_NOUSER;
    } else if (status == EX_OK && o->json) {
        status = json_done(key_to_json(found), EX_OK);
    } else if (status == EX_OK) {
        print_key(found);
    }
    key_list_free(&list);
    session_close(&s);
    return status;
}

/* --- generate, retire, import -------------------------------------------------------
 */

/* "users,messages"; none at all is written "none". */
static bool
permissions_read(const char *text, uint32_t *out)
{
    uint32_t set = 0;

    if (strcmp(text, "none") == 0) {
        *out = 0;
        return true;
    }
    for (const char *p = text;;) {
        size_t n = strcspn(p, ","), i = 0;
        while (i < N_PERMISSIONS && (strlen(permissions[i].name) != n ||
                                     memcmp(permissions[i].name, p, n) != 0))
            i++;
        if (i == N_PERMISSIONS)
            return false;
        set |= permissions[i].bit;
        if (p[n] == '\0')
            break;
        p += n + 1;
    }
    *out = set;
    return true;
}

/* What --permissions says, or what a key of the role has when nothing is said: a
 * secondary key signs for users and messages, others need no permission. */
static int
permissions_of(const struct options *o, enum keyd_key_role role, uint32_t *out)
{
    *out = role == KEYD_ROLE_SOK ? KEYD_PERM_SIGNET | KEYD_PERM_MESSAGE : 0;
    if (o->permissions == NULL || permissions_read(o->permissions, out))
        return EX_OK;
    return usage_error("--permissions",
                       "a list of users, messages, certificates, software; or none");
}

static bool
role_read(const char *text, enum keyd_key_role first, enum keyd_key_role last,
          enum keyd_key_role *out)
{
    for (size_t i = (size_t)first; i <= (size_t)last; i++) {
        if (strcmp(roles[i], text) == 0) {
            *out = (enum keyd_key_role)i;
            return true;
        }
    }
    return false;
}

static int
domain_needed(const struct options *o, struct name *out)
{
    if (o->domain == NULL)
        return usage_error("--domain", "is needed");
    return name_read("--domain", o->domain, NAME_DOMAIN, out);
}

/* The tokens named with --token; storage is the caller's. */
static int
tokens_of(const struct options *o, size_t max, struct keyd_octets *storage)
{
    if (o->token.n > max)
        return usage_error("--token", max == 1 ? "one token; two only with --sealed"
                                               : "two tokens at most");
    if (o->token.n == 2 && strcmp(o->token.items[0], o->token.items[1]) == 0)
        return usage_error("--token", "the same token twice");
    if (o->sealed && o->token.n == 0)
        return usage_error("--sealed", "goes with --token");
    for (size_t i = 0; i < o->token.n; i++)
        storage[i] = KEYD_STR(o->token.items[i]);
    return EX_OK;
}

/* Makes the request and shows the keys it answers with. */
static int
change_keys(struct session *s, struct keyd_request *q)
{
    struct keyd_answer *a = NULL;
    int status = session_call(s, q, &a);

    if (status == EX_OK)
        status = tell_keys(s->o, a);
    keyd_client_answer_free(a);
    return status;
}

/* --bits: an RSA key, which only a token can have and only DKIM uses. */
static int
bits_of(const struct options *o, enum keyd_key_role role, uint32_t *out)
{
    uint64_t bits = 0;

    if (o->bits == NULL)
        return EX_OK;
    if (role != KEYD_ROLE_DKIM || o->token.n == 0)
        return usage_error("--bits", "goes with --role dkim and --token");
    if (!number_read(o->bits, 2048, 4096, &bits) || bits % 1024 != 0)
        return usage_error("--bits", "2048, 3072 or 4096");
    *out = (uint32_t)bits;
    return EX_OK;
}

int
verb_key_generate(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_GENERATE_KEY};
    struct keyd_octets tokens[TOKENS_MAX];
    struct session s = {0};
    struct name domain;
    int status;

    if (o->role == NULL ||
        !role_read(o->role, KEYD_ROLE_POK, KEYD_ROLE_DKIM, &q.in.generate_key.role))
        return usage_error("--role", "pok, sok, enc or dkim is needed");
    if ((status = domain_needed(o, &domain)) != EX_OK ||
        (status = permissions_of(o, q.in.generate_key.role,
                                 &q.in.generate_key.permissions)) != EX_OK ||
        (status = tokens_of(o, o->sealed ? TOKENS_MAX : 1, tokens)) != EX_OK ||
        (status = bits_of(o, q.in.generate_key.role, &q.in.generate_key.bits)) != EX_OK)
        return status;
    q.in.generate_key.domain = KEYD_STR(domain.text);
    q.in.generate_key.algorithm = q.in.generate_key.bits != 0 ? KEYD_RSA
                                  : q.in.generate_key.role == KEYD_ROLE_ENC
                                      ? KEYD_SECP256K1
                                      : KEYD_ED25519;
    q.in.generate_key.tokens = tokens;
    q.in.generate_key.n_tokens = o->token.n;
    q.in.generate_key.sealed = o->sealed;
    if ((status = session_open(&s, o)) == EX_OK)
        status = change_keys(&s, &q);
    session_close(&s);
    return status;
}

int
verb_key_retire(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_RETIRE_KEY};
    struct session s = {0};
    uint8_t id[16];

    if (!hex_read(o->args[0], id, sizeof id))
        return usage_error(o->args[0], "an id of a key has 32 hexadecimal digits");
    q.in.retire_key.id = (struct keyd_octets){id, sizeof id};
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = change_keys(&s, &q);
    session_close(&s);
    return status;
}

/* The file is read into secret memory and sent as it is: keyd parses it. */
int
verb_key_import(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_IMPORT_KEY};
    enum keyd_key_role role = KEYD_ROLE_POK;
    struct keyd_octets tokens[TOKENS_MAX];
    struct session s = {0};
    struct secret file = {0};
    struct name domain;
    int status;

    if (o->as != NULL && !role_read(o->as, KEYD_ROLE_NONE, KEYD_ROLE_SOK, &role))
        return usage_error("--as", "pok, sok or none");
    if (role == KEYD_ROLE_NONE && !o->with_encryption)
        return usage_error("--as none", "needs --with-encryption, or nothing is taken");
    if ((status = domain_needed(o, &domain)) != EX_OK ||
        (status = permissions_of(o, role, &q.in.import_key.permissions)) != EX_OK ||
        (status = tokens_of(o, TOKENS_MAX, tokens)) != EX_OK)
        return status;
    q.in.import_key.tokens = tokens;
    q.in.import_key.n_tokens = o->token.n;
    q.in.import_key.sealed = o->sealed;
    q.in.import_key.signing_role = role;
    q.in.import_key.encryption_key = o->with_encryption;
    q.in.import_key.domain = KEYD_STR(domain.text);
    if ((status = session_open(&s, o)) == EX_OK)
        status = secret_from_file(o->args[0], DIME_DKEY_FILE_MAX, false, &file);
    q.in.import_key.key_file = (struct keyd_secret){file.p, file.n};
    if (status == EX_OK)
        status = change_keys(&s, &q);
    secret_free(&file);
    session_close(&s);
    return status;
}

/* --- attach -------------------------------------------------------------------------
 */

int
verb_key_attach(const struct options *o)
{
    struct keyd_request q = {.op = KEYD_OP_ATTACH_KEY};
    struct session s = {0};
    uint8_t id[16];

    if (!hex_read(o->args[0], id, sizeof id))
        return usage_error(o->args[0], "an id of a key has 32 hexadecimal digits");
    if (o->token.n != 1)
        return usage_error("--token", "one token is needed");
    q.in.attach_key.id = (struct keyd_octets){id, sizeof id};
    q.in.attach_key.token = KEYD_STR(o->token.items[0]);
    int status = session_open(&s, o);
    if (status == EX_OK)
        status = change_keys(&s, &q);
    session_close(&s);
    return status;
}
