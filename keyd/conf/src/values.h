/* From what stands in the text to the typed members. */
#ifndef KEYD_CONF_SRC_VALUES_H
#define KEYD_CONF_SRC_VALUES_H

#include "scan.h"

/* What a reading carries along. */
struct kd_conf_reading {
    const struct kd_conf_env *env;
    const struct kd_scan *scan;
    struct kd_conf *conf;
    struct kd_conf_problems *problems;
    kd_err err; /* KD_NOMEM: the rest is void */
};

/* Sets every member of the section (by index) whose structure is at base, from the
 * text or the default. Problems go to the list, the member keeps zero. The members of
 * DOMAINS keys are set by kd_conf_set_domains, when all domains are known. */
void kd_conf_set_section(struct kd_conf_reading *r, size_t section, void *base);

/* The domains a principal lists, as indices into those of the configuration, which are
 * sorted. */
void kd_conf_set_domains(struct kd_conf_reading *r, size_t section,
                         struct kd_conf_principal *p);

/* Owned copy as a string; NULL and r->err when out of memory. */
char *kd_conf_copy(struct kd_conf_reading *r, struct kd_slice text);

/* Releases what the members of that section's structure own. */
void kd_conf_clear_section(enum kd_conf_section type, void *base);

/* Is path the folder or something in it? Both plain and absolute. */
bool kd_conf_path_is_within(const char *path, const char *folder);

#endif
