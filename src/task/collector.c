/* Waiting for the cycle collector of another thread: see collector.h. */
#include "task/collector.h"

#include "base/clock.h"
#include "base/lm.h"

#if LM_FREE_THREADED
#define LONGEST_WAIT_NS ((int64_t)1000000000)

void
lm_collector_wait(PyObject *obj)
{
    int64_t until_ns = lm_clock_ns() + LONGEST_WAIT_NS;
    while (lm_collector_has(obj) && lm_clock_ns() < until_ns) {
        lm_nap(50000);
    }
}

#endif
