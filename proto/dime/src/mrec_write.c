#include "mrec_scan.h"

#include <dime/base64.h>
#include <stdio.h>

const char *const dime_mrec_owners[DIME_MREC_OWNERS] = {"_dime", "_dx"};

/* "name=value " into the last string, or into another. */
static bool
put(struct dime_mrec_strings *out, const char *name, const char *value)
{
    size_t n = strlen(name) + 1 + strlen(value) + 1;
    size_t used = out->n == 0 ? DIME_MREC_STRING_MAX : strlen(out->text[out->n - 1]);

    if (n > DIME_MREC_STRING_MAX)
        return false;
    if (n > DIME_MREC_STRING_MAX - used) {
        if (out->n == sizeof out->text / sizeof out->text[0])
            return false;
        out->text[out->n++][0] = '\0';
        used = 0;
    }
    kd_ignore(snprintf(out->text[out->n - 1] + used, DIME_MREC_STRING_MAX + 1 - used,
                       "%s=%s ", name, value)); /* it was measured */
    out->size += n;
    return true;
}

static bool
put_octets(struct dime_mrec_strings *out, const char *name, struct kd_slice octets)
{
    char text[DIME_MREC_TLS_CHARS + 1];

    dime_base64_write(octets, text);
    return put(out, name, text);
}

static bool
put_hosts(struct dime_mrec_strings *out, const char *name,
          const char list[][DIME_MREC_HOST_MAX + 1], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!put(out, name, list[i]))
            return false;
    return true;
}

kd_err
dime_mrec_write(const struct dime_mrec *m, struct dime_mrec_strings *out)
{
    struct dime_mrec_strings s = {0};
    char days[8];
    bool good = put(&s, "ver", "1");

    if (m->n_poks == 0)
        return KD_INVALID;
    for (size_t i = 0; i < m->n_poks; i++)
        good = good && put_octets(&s, "pok", kd_slice(m->poks[i], sizeof m->poks[i]));
    for (size_t i = 0; i < m->n_tls; i++)
        good = good && put_octets(&s, "tls", kd_slice(m->tls[i], sizeof m->tls[i]));
    good = good && put(&s, "pol", dime_mrec_policy_name(m->policy));
    if (m->sub != DIME_SUB_MIXED)
        good = good && put(&s, "sub", dime_mrec_sub_name(m->sub));
    if (m->expiry_days != DIME_MREC_EXPIRY) {
        kd_ignore(snprintf(days, sizeof days, "%u", m->expiry_days)); /* five digits */
        good = good && put(&s, "exp", days);
    }
    good = good && put_hosts(&s, "dx", m->dx, m->n_dx) &&
           put_hosts(&s, "syn", m->syn, m->n_syn);
    if (!good)
        return KD_TOO_LARGE;
    *out = s;
    return KD_OK;
}

/* Nothing in a record needs an escape: base 64, words, digits and host names. */
static void
put_strings(struct kd_buf *out, const struct dime_mrec_strings *record)
{
    for (size_t i = 0; i < record->n; i++)
        kd_buf_printf(out, " \"%s\"", record->text[i]);
    kd_buf_printf(out, "\n");
}

void
dime_mrec_put_zone(struct kd_buf *out, const struct dime_mrec_strings *record,
                   const char *domain, uint32_t ttl)
{
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        kd_buf_printf(out, "%s.%s. %u IN TXT", dime_mrec_owners[i], domain, ttl);
        put_strings(out, record);
    }
}

void
dime_mrec_put_update(struct kd_buf *out, const struct dime_mrec_strings *record,
                     const char *domain, uint32_t ttl)
{
    for (size_t i = 0; i < DIME_MREC_OWNERS; i++) {
        kd_buf_printf(out, "update delete %s.%s. TXT\n", dime_mrec_owners[i], domain);
        kd_buf_printf(out, "update add %s.%s. %u TXT", dime_mrec_owners[i], domain,
                      ttl);
        put_strings(out, record);
    }
    kd_buf_printf(out, "send\n");
}
