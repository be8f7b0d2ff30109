/* Messages between the daemon's own processes, made at random: well-formed ones of any
 * type, and bent ones. */
#ifndef KEYD_TESTS_JOB_SAMPLE_H
#define KEYD_TESTS_JOB_SAMPLE_H

#include <keyd/job/job.h>

enum {
    JOB_TYPES = 0
#define KD_MESSAGE(name, fields) +1
#include <keyd/job/messages.def>
#undef KD_MESSAGE
};

/* The type of message i (0 to JOB_TYPES - 1), and its name. */
uint16_t job_type(size_t i);
const char *job_name(size_t i);

/* The message of that name; JOB_TYPES if there is none. */
size_t job_find(struct kd_slice name);

/* A corpus file: the name of a message, a line feed, a body. By name, so that a file
 * stays what it is whatever messages come before it. False: no line feed. *i is
 * JOB_TYPES for a name that is none. */
bool job_split(struct kd_slice file, size_t *i, struct kd_slice *body);

/* Appends a well-formed body of message i with random content. */
void job_sample(size_t i, struct kd_buf *out);

/* Reads octets as message i and, if that goes well, appends what it is written as. */
kd_err job_rewrite(size_t i, struct kd_slice octets, struct kd_buf *out) KD_MUST_USE;

/* Changes octets, cuts or lengthens what b holds. */
void job_bend(struct kd_buf *b);

#endif
