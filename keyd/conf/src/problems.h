/* Collecting problems. */
#ifndef KEYD_CONF_SRC_PROBLEMS_H
#define KEYD_CONF_SRC_PROBLEMS_H

#include <keyd/conf/conf.h>

void kd_conf_error(struct kd_conf_problems *p, uint32_t line, const char *fmt, ...)
    KD_PRINTF(3, 4);
void kd_conf_warn(struct kd_conf_problems *p, uint32_t line, const char *fmt, ...)
    KD_PRINTF(3, 4);

/* By line; those of one line stay in their order. */
void kd_conf_sort_problems(struct kd_conf_problems *p);

/* What the operator wrote, fit for a problem's text. Use in its argument list only. */
enum { KD_CONF_QUOTE_SIZE = 72 };
#define KD_CONF_QUOTE(slice)                                                           \
    kd_log_text(slice, (char[KD_CONF_QUOTE_SIZE]){0}, KD_CONF_QUOTE_SIZE)

#endif
