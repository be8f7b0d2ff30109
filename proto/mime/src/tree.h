/* The parts of a mail: where each begins and ends. One pass, without recursion; time
 * and memory are linear in the mail.
 *
 * A mail whose delimiters two readers could take differently has no tree: see the
 * reasons in mime_raw.def. */
#ifndef DIME_MIME_TREE_H
#define DIME_MIME_TREE_H

#include "content_type.h"

enum { MIME_NO_PARENT = UINT32_MAX };

/* Offsets in the mail, which has at most DIME_MIME_MAIL_MAX octets.
 *
 *   head .. head_end          fields
 *   body .. end               behind the empty line
 *   body .. first             of a multipart: preamble; first: the first delimiter
 *   epilogue .. end           behind the octets of the last delimiter */
struct mime_node {
    uint32_t parent;
    uint32_t n_children; /* 0: no multipart */
    uint32_t head, head_end, body, end, first, epilogue;
    uint32_t boundary;
    uint8_t boundary_size; /* 0: no multipart */
    bool mixed, alternative, digest;
    bool text; /* by its type, or as the default */
    bool is_inline, is_attachment;
};

struct mime_tree {
    struct mime_node *node; /* in document order; the first is the mail itself */
    uint32_t n, cap;
    enum dime_mime_raw why; /* DIME_MIME_MAPPED: there is a tree */
};

/* KD_NOMEM; a mail without a tree is no error. *out is to be freed in any case. */
kd_err mime_tree_read(struct kd_slice mail, struct mime_tree *out) KD_MUST_USE;
void mime_tree_free(struct mime_tree *t);

#endif
