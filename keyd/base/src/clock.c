#include <keyd/base/clock.h>

#include <time.h>

static int64_t
read_ns(clockid_t id)
{
    struct timespec t = {0};

    /* Cannot fail for these clocks and a valid address. */
    if (clock_gettime(id, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
kd_clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000;
}

int64_t
kd_clock_ms(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t
kd_clock_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t
kd_clock_boot_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / 1000000;
}
