/* The second reader: libconfuse, over a text the scan has found no fault with. */
#ifndef KEYD_CONF_SRC_READ_H
#define KEYD_CONF_SRC_READ_H

#include "scan.h"

/* Reads the text with libconfuse and compares all of it with the scan: sections in
 * order, titles, keys given, number and content of values. A difference is a problem
 * (with its line), never something to choose from. KD_OK also then; KD_NOMEM. */
kd_err kd_read_agrees(struct kd_slice text, const struct kd_scan *scan,
                      struct kd_conf_problems *problems) KD_MUST_USE;

#endif
