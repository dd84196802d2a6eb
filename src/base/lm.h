/* The base include of every file: Python.h through compat.h, and the few macros that
   all rooms share. */
#ifndef LM_BASE_LM_H
#define LM_BASE_LM_H

#include "base/compat.h"

#include <assert.h>
#include <stdint.h>

#define LM_CONTAINER_OF(ptr, Type, member) \
    ((Type *)((char *)(ptr)-offsetof(Type, member)))
#define LM_LIKELY(x) __builtin_expect(!!(x), 1)
#define LM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define LM_UNUSED __attribute__((unused))

/* On the way of every step: compilers keep a function that several call out of line. */
#define LM_INLINE static inline __attribute__((always_inline))
/* Beside that way: what it needs (registers, and the check of the stack's end where the
   address of a local is handed out) would cost the caller each time. */
#define LM_APART __attribute__((noinline))

/* An invariant: checked in debug builds (-UNDEBUG), a statement of fact elsewhere. */
#define LM_ASSERT(x) assert(x)

/* Of many objects those at the far end of a queue have left the caches: the one that
   comes so many places on is fetched meanwhile. Any address may be given. */
#define LM_AHEAD 4

static inline void
lm_prefetch(const void *address)
{
    __builtin_prefetch(address);
    __builtin_prefetch((const void *)((uintptr_t)address + 64));
}

#endif
