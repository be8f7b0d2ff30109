/* The data of records as they travel: hostile octets. */
#ifndef DIME_RESOLVER_RDATA_H
#define DIME_RESOLVER_RDATA_H

#include "dns.h"

/* Joins the strings of TXT data without anything between them (D-015): writes at most
 * rdata.n octets. KD_MALFORMED: no string, or one that is longer than what is there. */
kd_err rdata_txt(struct kd_slice rdata, uint8_t *out, size_t *n) KD_MUST_USE;

/* An MX: its preference and its host as dns_query takes it; "" is the root, the MX that
 * says that there is none (RFC 7505). KD_MALFORMED: not one whole name, or octets in it
 * that no host has. */
kd_err rdata_mx(struct kd_slice rdata, uint16_t *preference,
                char host[DNS_NAME_MAX + 1]) KD_MUST_USE;

/* The name of an NS, the same. */
kd_err rdata_name(struct kd_slice rdata, char name[DNS_NAME_MAX + 1]) KD_MUST_USE;

#endif
