/* Memory that libev can count on. libev ends the process where it gets none, and it asks
   for some within calls that have no way to fail; so each poll holds a reserve that is
   large enough for all that libev could ask for while no descriptor is above the highest
   one noted. Nothing of it is touched, and so little of it is real, until the system is
   out of memory.

   Enough, because: libev holds at most LM_RESERVE_SLOTS - 1 blocks for a loop (its struct,
   descriptors, changes, pending events, kernel events, timers, due timers, forks,
   refused descriptors) and one more while an array moves; an array grows to at most twice what it
   has to hold; and every slot has room for the largest of them.

   libev's allocator is the process's. Others that use the same libev get what they got
   before, the C library's realloc. Runs no Python. */
#ifndef LM_POLL_RESERVE_H
#define LM_POLL_RESERVE_H

#include "base/lm.h"

enum { LM_RESERVE_SLOTS = 10 };

typedef struct LmReserve {
    struct LmRegion *regions; /* the newest first; older ones while libev uses a slot */
    int limit;                /* descriptors below this are provided for */
    int err; /* what libev could not do; its own answer would be to abort */
} LmReserve;

/* Before libev is called in any other way. Idempotent. */
void lm_reserve_install(void);

/* Provides for the descriptor. -1 with MemoryError set. */
int lm_reserve_grow(LmReserve *reserve, int fd);

static inline int
lm_reserve_cover(LmReserve *reserve, int fd)
{
    return LM_LIKELY(fd < reserve->limit) ? 0 : lm_reserve_grow(reserve, fd);
}

/* Of the poll whose libev this thread calls, or NULL: for callbacks of libev's that get no
   argument. */
extern _Thread_local LmReserve *lm_reserve_here;

/* Around the calls of libev that may allocate: what it asks for in this thread comes from
   this reserve where the system gives nothing. */
static inline LmReserve **
lm_reserve_enter(LmReserve *reserve)
{
    LmReserve **here = &lm_reserve_here;
    *here = reserve;
    /* So that the compiler does not look for the thread's word once more. */
    __asm__("" : "+r"(here));
    return here;
}

static inline void
lm_reserve_leave(LmReserve **here)
{
    *here = NULL;
}

/* After libev has let go of everything. */
void lm_reserve_release(LmReserve *reserve);

#endif
