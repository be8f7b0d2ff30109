#include <keyd/p11/finding.h>

#include <stdio.h>

static const struct {
    uint64_t rv;
    const char *name;
} rows[] = {
#define P11_RV(number, name) {number, name},
#include <keyd/p11/rv.def>
#undef P11_RV
};

const char *
p11_rv_name(uint64_t rv, char out[48])
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].rv != rv)
            continue;
        snprintf(out, 48, "%s (0x%llx)", rows[i].name, (unsigned long long)rv);
        return out;
    }
    snprintf(out, 48, "0x%llx", (unsigned long long)rv);
    return out;
}
