#include <dime/mime.h>

#include "content_type.h"

#include <dime/utf8.h>
#include <gmime/gmime.h>

static bool
names(InternetAddressList *list, const char *address)
{
    if (list == NULL || internet_address_list_length(list) != 1)
        return false;
    InternetAddress *one = internet_address_list_get_address(list, 0);
    if (!INTERNET_ADDRESS_IS_MAILBOX(one))
        return false;
    const char *addr = internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(one));
    return addr != NULL && g_ascii_strcasecmp(addr, address) == 0;
}

bool
dime_mime_is_from(struct kd_slice value, struct kd_slice address)
{
    if (value.n == 0 || value.n > DIME_MIME_VALUE_MAX || address.n == 0 ||
        memchr(value.p, '\0', value.n) != NULL || !dime_utf8_valid(value, NULL) ||
        !mime_start())
        return false;
    char *text = g_strndup((const char *)value.p, value.n);
    char *want = g_strndup((const char *)address.p, address.n);
    InternetAddressList *list = internet_address_list_parse(NULL, text);
    bool is = names(list, want);
    if (list != NULL)
        g_object_unref(list);
    g_free(want);
    g_free(text);
    return is;
}
