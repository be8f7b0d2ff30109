/* Which token a section means. */
#include "check.h"
#include "problems.h"

#include <p11-kit/uri.h>

/* The attributes of RFC 7512 that say which token, and where libp11-kit puts them. */
static const struct {
    const char *name;
    size_t from, to; /* in CK_TOKEN_INFO and in struct kd_token_match */
    size_t size;     /* of the padded field */
} attributes[] = {
#define ATTRIBUTE(uri, field, member)                                                  \
    {                                                                                  \
        uri, offsetof(CK_TOKEN_INFO, field), offsetof(struct kd_token_match, member),  \
            sizeof(((CK_TOKEN_INFO *)NULL)->field)                                     \
    }
    ATTRIBUTE("token", label, label),
    ATTRIBUTE("serial", serialNumber, serial),
    ATTRIBUTE("manufacturer", manufacturerID, manufacturer),
    ATTRIBUTE("model", model, model),
#undef ATTRIBUTE
};
enum { N_ATTRIBUTES = sizeof attributes / sizeof *attributes };

static const char scheme[] = "pkcs11:";

/* Why an attribute that RFC 7512 knows is not taken. */
static const char *
attribute_trouble(struct kd_slice name)
{
    static const struct {
        const char *name, *why;
    } known[] = {
        {"pin-source", "the PIN comes from pin-file"},
        {"pin-value", "the PIN comes from pin-file, and never from a configuration"},
        {"module-name", "the module is named by its path: module"},
        {"module-path", "the module is named by its path: module"},
        {"object", "keys are found by themselves: name the token only"},
        {"type", "keys are found by themselves: name the token only"},
        {"id", "keys are found by themselves: name the token only"},
        {"slot-id", "slots are renumbered: name the token"},
        {"slot-description", "name the token, not the slot"},
        {"slot-manufacturer", "name the token, not the slot"},
        {"library-description", "name the token, not the library"},
        {"library-manufacturer", "name the token, not the library"},
        {"library-version", "name the token, not the library"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (kd_slice_eq(name, kd_slice_str(known[i].name)))
            return known[i].why;
    return "only token, serial, manufacturer and model are known";
}

/* N_ATTRIBUTES if it is none that is taken. */
static size_t
find_attribute(struct kd_slice name)
{
    size_t i = 0;

    while (i < N_ATTRIBUTES && !kd_slice_eq(name, kd_slice_str(attributes[i].name)))
        i++;
    return i;
}

/* Up to "=" or the end of the attribute. */
static struct kd_slice
name_of(const char *at)
{
    return kd_slice(at, strcspn(at, "=;?&"));
}

/* libp11-kit takes what it does not know in silence, and the last of two, so the names
 * are looked at here. False if a problem was found. */
static bool
names_are_good(struct kd_conf_reading *r, uint32_t line, const char *uri)
{
    bool seen[N_ATTRIBUTES] = {false};
    const char *at = uri + sizeof scheme - 1;

    if (strncmp(uri, scheme, sizeof scheme - 1) != 0) {
        kd_conf_error(r->problems, line, "uri: begins with pkcs11: (RFC 7512)");
        return false;
    }
    for (;;) {
        struct kd_slice name = name_of(at);
        size_t which = find_attribute(name);
        if (which == N_ATTRIBUTES) {
            kd_conf_error(r->problems, line, "uri: \"%s\": %s", KD_CONF_QUOTE(name),
                          attribute_trouble(name));
            return false;
        }
        if (seen[which]) {
            kd_conf_error(r->problems, line, "uri: \"%s\" is given twice",
                          attributes[which].name);
            return false;
        }
        seen[which] = true;
        at += strcspn(at, ";?");
        if (*at++ == '\0')
            return true;
    }
}

/* Fields are padded with blanks, those that are not given have NULs. False for one that
 * was given and says nothing, or has a NUL. */
static bool
copy_field(char *out, const char *field, size_t size)
{
    bool is_given = field[0] != '\0';

    while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == '\0'))
        size--;
    memcpy(out, field, size); /* out has room for one more, and is all zero */
    return !is_given || (size > 0 && strlen(out) == size);
}

static void
set_from_info(struct kd_conf_reading *r, uint32_t line, const char *info,
              struct kd_token_match *m)
{
    for (size_t i = 0; i < N_ATTRIBUTES; i++)
        if (!copy_field((char *)m + attributes[i].to, info + attributes[i].from,
                        attributes[i].size)) {
            kd_conf_error(r->problems, line, "uri: \"%s\" is blank or has a NUL",
                          attributes[i].name);
            return;
        }
}

static void
set_from_uri(struct kd_conf_reading *r, uint32_t line, struct kd_conf_token *t)
{
    P11KitUri *uri;

    if (!names_are_good(r, line, t->uri))
        return;
    if ((uri = p11_kit_uri_new()) == NULL) {
        r->err = KD_NOMEM;
        return;
    }
    /* What is too long for its field makes a URI that nothing matches. */
    if (p11_kit_uri_parse(t->uri, P11_KIT_URI_FOR_TOKEN, uri) == P11_KIT_URI_OK &&
        p11_kit_uri_any_unrecognized(uri) == 0)
        set_from_info(r, line, (const char *)p11_kit_uri_get_token_info(uri),
                      &t->match);
    else
        kd_conf_error(r->problems, line,
                      "uri: not one of RFC 7512: name=value pairs, as pct-encoded text "
                      "of at most 32 octets (serial, model: 16)");
    p11_kit_uri_free(uri);
}

/* The label or serial key, besides what the URI says. */
static void
add_text(struct kd_conf_reading *r, size_t section, const char *key, const char *text,
         char *member)
{
    if (text == NULL)
        return;
    if (member[0] != '\0' && strcmp(member, text) != 0)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, key),
                      "%s: the uri says \"%s\"", key,
                      KD_CONF_QUOTE(kd_slice_str(member)));
    else
        memcpy(member, text, strlen(text)); /* its length is in the range of its key */
}

/* Empty where there was a NUL, which is reported. */
static bool
ends_in_blank(const char *text)
{
    return text != NULL && text[0] != '\0' && text[strlen(text) - 1] == ' ';
}

void
kd_conf_set_match(struct kd_conf_reading *r, size_t section, struct kd_conf_token *t)
{
    struct kd_token_match *m = &t->match;

    if (t->uri != NULL)
        set_from_uri(r, kd_scan_line(r->scan, section, "uri"), t);
    else if (t->label == NULL && t->serial == NULL &&
             kd_scan_find(r->scan, section, "label") == NULL &&
             kd_scan_find(r->scan, section, "serial") == NULL &&
             kd_scan_find(r->scan, section, "uri") == NULL)
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, NULL),
                      "token \"%s\": takes uri, label or serial: what the token is "
                      "known by",
                      KD_CONF_QUOTE(r->scan->sections[section].title));
    if (ends_in_blank(t->label) || ends_in_blank(t->serial))
        kd_conf_error(r->problems, kd_scan_line(r->scan, section, NULL),
                      "token \"%s\": label and serial are written without the blanks "
                      "at their end",
                      KD_CONF_QUOTE(r->scan->sections[section].title));
    else {
        add_text(r, section, "label", t->label, m->label);
        add_text(r, section, "serial", t->serial, m->serial);
    }
}
