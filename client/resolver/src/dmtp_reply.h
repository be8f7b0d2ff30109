/* Replies of a DMTP server, read out of octets that may be anything (P7 "Protocol
 * model"; TR-1 to TR-11, D-138, D-162, D-166), and what stands in them (D-137, D-165).
 *
 *     270-ORGANIZATIONAL SIGNET          lines of one code; the last has a space
 *     270------BEGIN ...                 text in front of and behind the armour
 *     270-...                            is ignored
 *     270 OK
 *
 * Lines end LF or CRLF. A CR elsewhere, a NUL, a line without a code, another code than
 * the first one's, and whatever is longer than allowed are refused at once: nothing is
 * waited for. Memory is that of the reply's text, within the limit. */
#ifndef DIME_RESOLVER_DMTP_REPLY_H
#define DIME_RESOLVER_DMTP_REPLY_H

#include <keyd/base/buf.h>

enum { DMTP_LINE_MAX = 4096 }; /* octets without the terminator */

struct dmtp_limits {
    size_t lines, octets; /* of one reply, terminators included */
};

enum dmtp_reading { DMTP_MORE, DMTP_WHOLE, DMTP_BAD };

struct dmtp_reader {
    struct dmtp_limits limits;
    enum dmtp_reading state;
    const char *why; /* of DMTP_BAD; static */
    unsigned code;   /* of the lines so far; 0: none yet */
    size_t n_lines, n_octets;
    struct kd_buf text; /* the lines behind code and sign, each ended by LF */
    size_t n;           /* octets in line */
    bool has_cr;        /* the last octet was a CR */
    char line[DMTP_LINE_MAX];
};

void dmtp_reader_init(struct dmtp_reader *r);
void dmtp_reader_free(struct dmtp_reader *r);

/* Before each reply. */
void dmtp_reader_begin(struct dmtp_reader *r, struct dmtp_limits limits);

/* Takes octets up to the end of the reply, of the line or of what is there, whichever
 * comes first, and returns how many. State says how it stands. */
size_t dmtp_reader_add(struct dmtp_reader *r, struct kd_slice octets);

/* The lines of a whole reply without their codes, each ended by LF; borrowed until the
 * next begin. */
struct kd_slice dmtp_reader_text(const struct dmtp_reader *r);

/* What a code is good for if nobody knows it (TR-209, D-162). */
enum dmtp_class {
    DMTP_SUCCESS,   /* 2xx: only where it is expected */
    DMTP_GO_ON,     /* 3xx: never expected here */
    DMTP_TEMPORARY, /* 4xx */
    DMTP_PERMANENT, /* 5xx */
    DMTP_STRANGE    /* no such class: a failure of the protocol */
};
enum dmtp_class dmtp_class_of(unsigned code);

/* Whether one of the words of a reply's first line is "DMTP" or "DMTPv1", in any case
 * (D-142, D-143). word: only that one, counted from 1; 0: any. */
bool dmtp_text_says_dmtp(struct kd_slice text, size_t word);

/* The one signet of a text, decoded to the end of out, whose limit holds. libdime: also
 * its form, "OK [base 64]" in one line. KD_MALFORMED with *why (static, may be NULL),
 * KD_TOO_LARGE, KD_NOMEM. */
kd_err dmtp_text_signet(struct kd_slice text, bool libdime, struct kd_buf *out,
                        const char **why) KD_MUST_USE;

/* All links of a text, at most max: decoded to out, which must be empty, and borrowed
 * from there. libdime: also "[base 64]", one in each line. KD_TOO_LARGE for more. */
kd_err dmtp_text_links(struct kd_slice text, bool libdime, struct kd_buf *out,
                       struct kd_slice *links, size_t max, size_t *n,
                       const char **why) KD_MUST_USE;

#endif
