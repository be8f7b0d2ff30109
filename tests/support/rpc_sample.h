/* Messages built from the tables, for tests: a valid one of every operation with all
 * sizes at their lower end, to be bent from there. */
#ifndef KEYD_TESTS_RPC_SAMPLE_H
#define KEYD_TESTS_RPC_SAMPLE_H

#include <keyd/rpc/rpc_pb.h>

/* The operations by position: the number of the oneof's field, 0 past the end. */
unsigned sample_case(size_t at);

/* Whether its request or result comes with a descriptor in the sample. */
bool sample_request_has_fd(unsigned oneof_case);

/* Built in the arena, whose budget the caller has set. */
Keyd__V1__Request *sample_request(struct kd_arena *a, unsigned oneof_case);

/* Puts the message of a request of that operation, if it has one, into the request and
 * not into an object: which of the two, the request has to say. */
void sample_inline(struct kd_arena *a, Keyd__V1__Request *r, unsigned oneof_case);
Keyd__V1__Response *sample_response(struct kd_arena *a, unsigned oneof_case);

/* Room for a value of n octets, filled. */
ProtobufCBinaryData sample_octets(struct kd_arena *a, size_t n);

/* A message of a type with every field at its lower end, repeated ones with n elements
 * (or their maximum if that is less). */
ProtobufCMessage *sample_message(struct kd_arena *a,
                                 const ProtobufCMessageDescriptor *type, size_t n);

#endif
