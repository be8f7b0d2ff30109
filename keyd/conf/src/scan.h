/* The strict reading of the text: one way of writing, the line of everything.
 *
 *   file    = { item }
 *   item    = KEY "=" value | SECTION string "{" { KEY "=" value } "}"
 *   value   = scalar | "{" [ scalar { "," scalar } [ "," ] ] "}"
 *   scalar  = string | word | number
 *   string  = quote, printable ASCII but quote and backslash and "${", quote
 *   word    = letter { letter | digit | "-" }
 *   number  = "0" | digit but 0, { digit }
 *
 * A value begins on the line of its key. Comments run from # to the end of the line and
 * may hold anything but control characters. */
#ifndef KEYD_CONF_SRC_SCAN_H
#define KEYD_CONF_SRC_SCAN_H

#include "keys.h"

enum kd_scan_form { KD_SCAN_WORD, KD_SCAN_NUMBER, KD_SCAN_STRING };

struct kd_scan_value {
    struct kd_slice text; /* of the text scanned, without quotes */
    uint32_t line;
    enum kd_scan_form form;
};

struct kd_scan_entry {
    const struct kd_conf_key *key;
    size_t section; /* index */
    uint32_t line;
    size_t first; /* index of its first value */
    size_t n;
};

struct kd_scan_section {
    enum kd_conf_section type;
    struct kd_slice title;
    uint32_t line;
    size_t first_entry; /* index of its first entry, if it has one */
};

enum { KD_SCAN_SECTIONS_MAX = 2048 };

/* Section 0 is the file itself. Borrows from the text. */
struct kd_scan {
    struct kd_scan_section *sections;
    size_t n_sections;
    struct kd_scan_entry *entries;
    size_t n_entries;
    struct kd_scan_value *values;
    size_t n_values;
};

/* Goes through the whole text whatever it finds. KD_OK also if there are problems (what
 * was understood is there); KD_NOMEM, KD_TOO_LARGE. */
kd_err kd_scan_text(struct kd_slice text, struct kd_scan *out,
                    struct kd_conf_problems *problems) KD_MUST_USE;

void kd_scan_clear(struct kd_scan *s);

/* NULL if the section (by index) does not give the key. */
const struct kd_scan_entry *kd_scan_find(const struct kd_scan *s, size_t section,
                                         const char *key);

/* Of the key if given, else of the section. */
uint32_t kd_scan_line(const struct kd_scan *s, size_t section, const char *key);

#endif
