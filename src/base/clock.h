/* The loop's clock: CLOCK_MONOTONIC as the float that time.monotonic() gives. Runs no
   Python. */
#ifndef LM_BASE_CLOCK_H
#define LM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
lm_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The same at the kernel's last tick, some milliseconds ago: a fifth of the cost. */
static inline int64_t
lm_clock_tick_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* How far the ticks are apart: 1 to 10 ms, by the kernel's configuration. */
static inline int64_t
lm_clock_tick_length_ns(void)
{
    struct timespec ts = {.tv_sec = 1};
    clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Division, not multiplication by 1e-9: the same rounding as time.monotonic(). */
static inline double
lm_clock_now(void)
{
    return (double)lm_clock_ns() / 1e9;
}

#endif
