/* Certificates of a domain's servers, from files. */
#ifndef KEYDCTL_CERTIFICATES_H
#define KEYDCTL_CERTIFICATES_H

#include "keydctl.h"

enum { CERTIFICATES_MAX = 32, CERTIFICATE_NAME_MAX = 256 };

struct certificate {
    const char *path; /* borrowed */
    struct kd_buf der;
    int64_t from, until;             /* seconds since 1970 */
    char name[CERTIFICATE_NAME_MAX]; /* of the subject; printable */
};

struct certificates {
    size_t n;
    struct certificate list[CERTIFICATES_MAX];
};

/* Adds the first certificate of a file, PEM or DER. EX_OK, or complained of: what no
 * server may show to a DMTP client is refused, too (TR-34, D-133). */
int certificates_add(struct certificates *all, const char *path);
void certificates_free(struct certificates *all);

/* Whether a certificate with the octets of this one is among them. */
bool certificates_has(const struct certificates *all, const struct certificate *one);

/* Those that the configuration names for a domain: server-certificates. path: the
 * configuration; NULL: the installed one, if it is there. *is_known: whether there was
 * one that could be read. EX_OK, or complained of. The paths live as long as *conf,
 * which is kd_conf_free's. */
struct kd_conf;
int certificates_configured(const char *path, const char *domain,
                            struct certificates *all, struct kd_conf **conf,
                            bool *is_known);

#endif
