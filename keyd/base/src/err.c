#include <keyd/base/err.h>

const char *
kd_err_text(kd_err err)
{
    static const char *const texts[] = {
#define KD_ERROR(code, text) text,
#include <keyd/base/errors.def>
#undef KD_ERROR
    };

    return (unsigned)err < KD_ERR_COUNT ? texts[err] : "unknown error";
}
