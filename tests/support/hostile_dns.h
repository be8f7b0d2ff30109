/* A server of DNS that answers what the test says, octet by octet: UDP and TCP on port
 * 53 of one address, from a thread. For the test's own network (netns.h). */
#ifndef KEYD_TESTS_HOSTILE_DNS_H
#define KEYD_TESTS_HOSTILE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hostile_query {
    const uint8_t *p; /* as it came */
    size_t n;
    size_t question; /* octets of the question behind the header */
    char name[256];  /* lower case, no trailing dot */
    uint16_t type;
    bool tcp;
};

/* Writes an answer of at most max octets to out and returns its size; 0: none comes.
 * Called from the server's thread, one at a time. */
typedef size_t hostile_answer(void *arg, const struct hostile_query *q, uint8_t *out,
                              size_t max);

struct hostile_dns;
struct hostile_dns *hostile_dns_start(const char *address, hostile_answer *answer,
                                      void *arg);
void hostile_dns_stop(struct hostile_dns *h);

/* The questions that came for a name (NULL: all) and a type (0: all). */
unsigned hostile_dns_asked(struct hostile_dns *h, const char *name, uint16_t type);

/* --- writing answers --- */

enum { HOSTILE_ANSWER, HOSTILE_AUTHORITY, HOSTILE_ADDITIONAL };

struct hostile_msg {
    uint8_t *p;
    size_t n, max;
};

/* Header (authoritative, with the id of q) and question. */
struct hostile_msg hostile_begin(const struct hostile_query *q, unsigned rcode,
                                 uint8_t *out, size_t max);
/* A record. name: NULL is the question's; else as text. */
void hostile_rr(struct hostile_msg *m, int section, const char *name, uint16_t type,
                uint32_t ttl, const void *rdata, size_t n);
/* The same with a text in strings of 255 octets; with a name. */
void hostile_txt(struct hostile_msg *m, const char *name, uint32_t ttl,
                 const char *text);
void hostile_name(struct hostile_msg *m, int section, const char *name, uint16_t type,
                  uint32_t ttl, const char *target);
/* What a zone has where it has nothing: its SOA. */
void hostile_soa(struct hostile_msg *m, const char *zone, uint32_t ttl);
void hostile_raw(struct hostile_msg *m, const void *p, size_t n);
size_t hostile_wire(const char *name, uint8_t out[256]);

#endif
