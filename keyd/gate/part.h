/* Objects in parts, where there are no descriptors (PROTOCOL.md): what a client sends
 * piece by piece becomes a memfd that nobody can change any more, and what an answer
 * would carry as a descriptor is handed out piece by piece. They belong to the
 * connection, count among the principal's objects (principal.h), and are kept for
 * upload-timeout. */
#ifndef KEYD_GATE_PART_H
#define KEYD_GATE_PART_H

#include "gate.h"

enum { PART_ID_SIZE = 16 };

/* A part of an upload; *received: octets of it so far. The last part seals it.
 *   KD_INVALID  *why: out of order or another total (the upload is gone), too large
 *   KD_BUSY     a limit is reached
 *   KD_UNAVAILABLE  no memory for it (the upload is gone) */
kd_err part_upload(struct gate *g, struct conn *c,
                   const Keyd__V1__UploadPartRequest *part, uint64_t *received,
                   enum kd_rpc_reason *why) KD_MUST_USE;

/* The descriptor of a complete upload, the caller's from now on, and the room it took
 * is free. KD_NOT_FOUND. */
kd_err part_take(struct gate *g, struct conn *c, struct kd_slice id,
                 int *fd) KD_MUST_USE;

/* Drops an upload if there is one. */
void part_drop(struct gate *g, struct conn *c, struct kd_slice id);

/* Keeps an answer's object for the client to fetch; takes fd on success. KD_BUSY. */
kd_err part_offer(struct gate *g, struct conn *c, int fd,
                  uint8_t id[PART_ID_SIZE]) KD_MUST_USE;

/* Appends a part of such an object to out; with its last octet the object is gone.
 * KD_NOT_FOUND, KD_INVALID for an offset past its end. */
kd_err part_fetch(struct gate *g, struct conn *c,
                  const Keyd__V1__FetchPartRequest *part,
                  struct kd_buf *out) KD_MUST_USE;

/* Drops what was kept too long, or everything. */
void parts_tick(struct gate *g, struct conn *c, int64_t now);
void parts_clear(struct gate *g, struct conn *c);

#endif
