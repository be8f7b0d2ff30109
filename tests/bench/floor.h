/* What keyd's figures are divided by: the least that the same work costs on this
 * machine, measured in the same run (design.md, "Speed"). */
#ifndef KEYD_BENCH_FLOOR_H
#define KEYD_BENCH_FLOOR_H

#include <stdbool.h>

/* What one floor took: operations, and microseconds of each. */
struct floor {
    double rate; /* operations a second */
    double p50_us, p99_us;
};

/* The primitives that one issuance executes, in this process on one core: of a first
 * one
 *   the two new keys looked at (libsodium's point check, libsecp256k1's parser),
 *   field 5 verified, fields 6, 253 and 255 signed, each verified before release;
 * of a step of a chain also field 4 and the head's field 255 verified. Hashes, parsing
 * and records are left out: they are keyd's own to make cheap. */
struct floor floor_issue(bool is_step, double seconds);

/* One durable commit of one row of 1 KiB: SQLite, write-ahead log, synchronous FULL, a
 * file of its own in this directory. Aborts if it cannot be made. */
struct floor floor_commit(const char *directory, double seconds);

/* One request of 200 octets and its answer of 100 between two processes, each bound to
 * a CPU of its own, over a unix stream socket. */
struct floor floor_ipc(double seconds);

/* The parts of floor_issue, one by one, printed. */
void floor_print_primitives(double seconds);

#endif
