/* Time, replaceable from tests. */
#ifndef KEYD_BASE_CLOCK_H
#define KEYD_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970, wall clock. */
int64_t kd_clock_wall_ms(void);

/* Milliseconds and nanoseconds that only go forward (CLOCK_MONOTONIC). */
int64_t kd_clock_ms(void);
int64_t kd_clock_ns(void);

/* Milliseconds since boot, those of sleep included (CLOCK_BOOTTIME). */
int64_t kd_clock_boot_ms(void);

#endif
