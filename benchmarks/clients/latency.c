/* The latencies of a run in logarithmic buckets: see load.h. */
#include "load.h"

#include <string.h>

enum { FINE_BITS = 5, FINE = 1 << FINE_BITS, BUCKETS = 64 * FINE };

static uint64_t counts[BUCKETS];
static uint64_t total;

void
latency_note(uint64_t ns)
{
    unsigned bucket = (unsigned)ns;
    if (ns >= FINE) {
        unsigned exponent = 63 - (unsigned)__builtin_clzll(ns) - FINE_BITS;
        bucket = (exponent + 1) * FINE + ((ns >> exponent) & (FINE - 1));
    }
    counts[bucket]++;
    total++;
}

void
latency_reset(void)
{
    memset(counts, 0, sizeof(counts));
    total = 0;
}

double
latency_us(double share)
{
    uint64_t wanted = (uint64_t)((double)total * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += counts[i];
        if (seen > wanted) {
            unsigned exponent = i / FINE;
            double ns =
                i < FINE ? i : (double)((uint64_t)(FINE + i % FINE) << (exponent - 1));
            return ns / 1e3;
        }
    }
    return 0;
}
