/* What keyd's figures are divided by: the least that the same work costs on this
 * machine, measured in the same run (design.md, "Speed"). */
#ifndef KEYD_BENCH_FLOOR_H
#define KEYD_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

/* What one floor took: operations, and microseconds of each. */
struct floor {
    double rate; /* operations a second */
    double p50_us, p99_us;
};

/* Calls it for so long, at least once. */
struct floor floor_measure(void (*operation)(void *ctx), void *ctx, double seconds);

/* Says what, and aborts: a floor that is not what it should be is none. */
_Noreturn void floor_die(const char *what);

#define floor_must(x)                                                                  \
    do {                                                                               \
        if (!(x))                                                                      \
            floor_die(#x);                                                             \
    } while (0)

/* The primitives that one issuance executes, in this process on one core: of a first
 * one
 *   the two new keys looked at (libsodium's point check, libsecp256k1's parser),
 *   field 5 verified, fields 6, 253 and 255 signed, each verified before release;
 * of a step of a chain also field 4 and the head's field 255 verified. Hashes, parsing
 * and records are left out: they are keyd's own to make cheap. */
struct floor floor_issue(bool is_step, double seconds);

/* What SignOutbound and OpenEnvelope of a message with a text of so many octets execute
 * (tests/support/letter.h: one of ours to ourselves), in this process on one core:
 *   ECDH, its point looked at; AES of what is opened and sealed; SHA-512 of what is
 *   signed;
 *   SignOutbound: the author's signet verified, chunk 4, 225 and 226 verified, 248, 249
 *   and 255 signed, each verified before release;
 *   OpenEnvelope: the origin's signet's keys looked at and its signatures verified;
 *   255, 248 and 249 verified.
 * A signature whose octets are secret until it holds is verified at one cost, good or
 * bad (dime/ed25519_verifier.h), and under each key of its origin that may have made
 * it: that is what has to be executed here. With quick set it is verified by
 * libsodium's fastest, and under the right key alone, which is what a program could do
 * that has nothing to hide from who asks. */
struct floor floor_sign_outbound(size_t text, bool quick, double seconds);
struct floor floor_open_envelope(size_t text, bool quick, double seconds);

/* Four readings of so many octets by OpenSSL's SHA-512: tree, 226, and 255 twice. */
struct floor floor_readings(size_t octets, double seconds);

/* One durable commit of one row of 1 KiB: SQLite, write-ahead log, synchronous FULL, a
 * file of its own in this directory. Aborts if it cannot be made. */
struct floor floor_commit(const char *directory, double seconds);

/* One request of 200 octets and its answer of 100 between two processes, each bound to
 * a CPU of its own, over a unix stream socket. */
struct floor floor_ipc(double seconds);

/* The parts of floor_issue, one by one, printed. */
void floor_print_primitives(double seconds);

#endif
