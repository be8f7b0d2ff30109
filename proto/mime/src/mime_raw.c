#include <dime/mime.h>

const char *
dime_mime_raw_text(enum dime_mime_raw why)
{
    static const char *const text[] = {
#define DIME_MIME_RAW(code, text) text,
#include <dime/mime_raw.def>
#undef DIME_MIME_RAW
    };

    return (unsigned)why < DIME_MIME_RAW_COUNT ? text[why] : "unknown";
}
