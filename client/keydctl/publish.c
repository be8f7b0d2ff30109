/* keydctl publish show: the management record of a domain, to be put into its zone.
 *
 * Under _dime, where the specification looks, and under _dx, where libdime does
 * (D-005). pol= always (D-009), no sub= (D-008), keys as 43 characters without padding
 * (D-017). */
#include "keydctl.h"

#include <dime/base64.h>
#include <stdlib.h>

enum {
    STRING_MAX = 255,  /* octets of a character string in a TXT record */
    RECORD_WIDE = 512, /* what every resolver takes (MR-21) */
    STRINGS_MAX = 64,
    KEY_SIZE = 32,
};

static const char *const owners[] = {"_dime", "_dx"};
enum { N_OWNERS = sizeof owners / sizeof owners[0] };

/* The strings of one TXT record. Each ends in a space and no field is split, so that
 * joining them in whatever way gives the same record (D-015). */
struct record {
    char strings[STRINGS_MAX][STRING_MAX + 1];
    size_t n, size; /* strings; octets of all */
};

static bool
record_add(struct record *r, const char *name, const char *value)
{
    size_t n = strlen(name) + 1 + strlen(value) + 1;
    size_t used = r->n == 0 ? STRING_MAX : strlen(r->strings[r->n - 1]);

    if (n > STRING_MAX)
        return false;
    if (n > STRING_MAX - used) {
        if (r->n == STRINGS_MAX)
            return false;
        r->strings[r->n++][0] = '\0';
        used = 0;
    }
    kd_ignore(snprintf(r->strings[r->n - 1] + used, STRING_MAX + 1 - used, "%s=%s ",
                       name, value));
    r->size += n;
    return true;
}

static bool
is_published(const struct keyd_key *k, bool retained)
{
    return k->role == KEYD_ROLE_POK && k->public_key.n == KEY_SIZE &&
           (k->state == KEYD_KEY_ACTIVE || (retained && k->state == KEYD_KEY_RETAINED));
}

static int
record_make(const struct options *o, const struct key_list *keys, struct record *r)
{
    bool good = record_add(r, "ver", "1");
    size_t n = 0;

    for (size_t i = 0; i < keys->n; i++) {
        char text[64];
        if (!is_published(keys->keys[i], o->retained))
            continue;
        dime_base64_write(slice_of(keys->keys[i]->public_key), text);
        good = good && record_add(r, "pok", text);
        n++;
    }
    good = good && record_add(r, "pol", o->policy != NULL ? o->policy : "mixed");
    if (n == 0) {
        complain("publish", "the domain has no active primary key");
        return EX_DATAERR;
    }
    if (!good) {
        complain("publish", "more primary keys than a record holds");
        return EX_DATAERR;
    }
    if (r->size > RECORD_WIDE)
        complain("publish", "warning: above 512 octets, which some resolvers refuse");
    return EX_OK;
}

static void
print_record(const struct record *r, const char *domain)
{
    for (size_t i = 0; i < N_OWNERS; i++) {
        emit(stdout, "%s.%s. IN TXT", owners[i], domain);
        for (size_t k = 0; k < r->n; k++)
            emit(stdout, " \"%s\"", r->strings[k]);
        emit(stdout, "\n");
    }
}

static json_t *
record_to_json(const struct record *r, const char *domain)
{
    json_t *list = json_array(), *strings = json_array();
    bool good = true;

    for (size_t k = 0; k < r->n; k++)
        good = json_array_append_new(strings, json_string(r->strings[k])) == 0 && good;
    for (size_t i = 0; i < N_OWNERS; i++) {
        json_t *j = json_pack("{s:s+++, s:s, s:O}", "owner", owners[i], ".", domain,
                              ".", "type", "TXT", "strings", strings);
        good = json_array_append_new(list, j) == 0 && good;
    }
    json_decref(strings);
    if (good)
        return json_pack("{s:s, s:o}", "domain", domain, "records", list);
    json_decref(list);
    return NULL;
}

static bool
is_policy(const char *text)
{
    return text == NULL || strcmp(text, "experimental") == 0 ||
           strcmp(text, "mixed") == 0 || strcmp(text, "strict") == 0;
}

int
verb_publish_show(const struct options *o)
{
    struct record *record = calloc(1, sizeof *record);
    struct key_list keys = {0};
    struct session s = {0};
    struct name domain;
    int status = EX_OK;

    if (record == NULL) {
        complain("publish", kd_err_text(KD_NOMEM));
        return EX_OSERR;
    }
    if (o->domain == NULL)
        status = usage_error("--domain", "is needed");
    else if (!is_policy(o->policy))
        status = usage_error("--policy", "experimental, mixed or strict");
    else
        status = name_read("--domain", o->domain, NAME_DOMAIN, &domain);
    if (status == EX_OK && (status = session_open(&s, o)) == EX_OK)
        status = key_list_fetch(&s, domain.text, &keys);
    if (status == EX_OK)
        status = record_make(o, &keys, record);
    if (status == EX_OK && o->json)
        status = json_done(record_to_json(record, domain.text), EX_OK);
    else if (status == EX_OK)
        print_record(record, domain.text);
    key_list_free(&keys);
    session_close(&s);
    free(record);
    return status;
}
