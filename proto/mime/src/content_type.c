#include "content_type.h"

#include <dime/utf8.h>

#include <gmime/gmime.h>
#include <pthread.h>
#include <strings.h>

enum {
    BOUNDARY_MAX = 70, /* RFC 2046, 5.1.1 */
    /* Each parameter costs GMime some 300 octets. */
    PARAMETERS_MAX = 64,
};

static void
start_gmime(void)
{
    g_mime_init();
}

bool
mime_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    return pthread_once(&once, start_gmime) == 0;
}

/* The unfolded value as a string. */
static enum dime_mime_raw
value_read(struct kd_slice body, char out[DIME_MIME_VALUE_MAX + 1])
{
    size_t n = 0, parameters = 0;

    if (body.n > DIME_MIME_VALUE_MAX)
        return DIME_MIME_TYPE_SIZE;
    if (!dime_utf8_valid(body, NULL))
        return DIME_MIME_NOT_UTF8;
    for (size_t i = 0; i < body.n; i++) {
        parameters += body.p[i] == ';';
        if (body.p[i] != '\r' && body.p[i] != '\n')
            out[n++] = (char)body.p[i];
    }
    out[n] = '\0';
    if (parameters > PARAMETERS_MAX)
        return DIME_MIME_TYPE_SIZE;
    return mime_start() ? DIME_MIME_MAPPED : DIME_MIME_TYPE_SIZE;
}

static bool
is_boundary(const char *s, size_t n)
{
    if (n == 0 || n > BOUNDARY_MAX || s[n - 1] == ' ')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!g_ascii_isalnum(s[i]) && strchr("'()+_,-./:=? ", s[i]) == NULL)
            return false;
    return true;
}

static bool
is_edge(uint8_t c)
{
    return strchr("=\"; \t\r\n", c) != NULL;
}

/* Where the boundary stands in the field as it is: one that GMime had to decode is
 * another one to simpler readers. */
static bool
find_literal(struct kd_slice body, const char *s, size_t n, struct kd_slice *out)
{
    const uint8_t *end = body.p + body.n;
    const uint8_t *p = body.p;

    while ((p = memmem(p, (size_t)(end - p), s, n)) != NULL) {
        if (p > body.p && strchr("=\" \t\n", p[-1]) != NULL && p[-1] != '\0' &&
            (p + n == end || is_edge(p[n]))) {
            *out = kd_slice(p, n);
            return true;
        }
        p++;
    }
    return false;
}

static enum dime_mime_raw
boundary_read(GMimeContentType *type, struct kd_slice body, struct mime_type *out)
{
    GMimeParamList *list = g_mime_content_type_get_parameters(type);
    const char *found = NULL;

    for (int i = 0; i < g_mime_param_list_length(list); i++) {
        GMimeParam *param = g_mime_param_list_get_parameter_at(list, i);
        if (strcasecmp(g_mime_param_get_name(param), "boundary") != 0)
            continue;
        if (found != NULL)
            return DIME_MIME_BOUNDARY;
        found = g_mime_param_get_value(param);
    }
    if (found == NULL || !is_boundary(found, strlen(found)) ||
        !find_literal(body, found, strlen(found), &out->boundary))
        return DIME_MIME_BOUNDARY;
    return DIME_MIME_MAPPED;
}

enum dime_mime_raw
mime_type_read(struct kd_slice body, struct mime_type *out)
{
    char value[DIME_MIME_VALUE_MAX + 1];
    enum dime_mime_raw why = value_read(body, value);

    *out = (struct mime_type){0};
    if (why != DIME_MIME_MAPPED)
        return why;
    GMimeContentType *type = g_mime_content_type_parse(NULL, value);
    out->multipart = g_mime_content_type_is_type(type, "multipart", "*");
    out->mixed = g_mime_content_type_is_type(type, "multipart", "mixed");
    out->alternative = g_mime_content_type_is_type(type, "multipart", "alternative");
    out->digest = g_mime_content_type_is_type(type, "multipart", "digest");
    out->text = g_mime_content_type_is_type(type, "text", "*");
    if (out->multipart)
        why = boundary_read(type, body, out);
    g_object_unref(type);
    return why;
}

enum dime_mime_raw
mime_disposition_read(struct kd_slice body, struct mime_disposition *out)
{
    char value[DIME_MIME_VALUE_MAX + 1];
    enum dime_mime_raw why = value_read(body, value);

    *out = (struct mime_disposition){0};
    if (why != DIME_MIME_MAPPED)
        return why;
    GMimeContentDisposition *d = g_mime_content_disposition_parse(NULL, value);
    const char *name = g_mime_content_disposition_get_disposition(d);
    out->is_inline = name != NULL && strcasecmp(name, "inline") == 0;
    out->is_attachment = name != NULL && strcasecmp(name, "attachment") == 0;
    g_object_unref(d);
    return DIME_MIME_MAPPED;
}
