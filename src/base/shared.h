/* What of the module's state is written after import: the state itself (state.h) is not, and
   so costs no thread anything that looks at it.

   Each group below stands on cache lines of its own, apart by who writes it and when: no
   write by one thread takes a line from another that only looks, or writes something else.
   Words that several threads use are touched by LM_LOAD, LM_STORE and LM_ADD, or with
   `loops_lock`. */
#ifndef LM_BASE_SHARED_H
#define LM_BASE_SHARED_H

#include "base/list.h"
#include "base/lm.h"
#include "base/threads.h"

#define LM_MOST_PATCH_DICTS 32
#define LM_SYNC_VERDICTS 64

typedef struct LmShared {
    char before[LM_CACHE_LINE];

    /* Looked at wherever something is due; written when something was patched, or nested
       runs were allowed. */
    int nesting_allowed;         /* allow_nested_runs() was called */
    int is_patch_new;            /* something was patched since the last look */
    int is_turn_patched;         /* turns are asyncio's own */
    int is_run_patched;          /* and run_forever() */
    unsigned stream_versions[2]; /* of the stream classes, by which they were judged */
    PyObject
        *stream_methods; /* (function, its code, ...) of what net/stream_feed.c does in
                                 their place, or NULL */
    struct LmLoop
        *running; /* with the GIL: one that runs, borrowed, or NULL: sync/plain.c */
    uint32_t sync_patched; /* methods of asyncio's that are patched: sync/plain.h */
    uint64_t sync_verdicts[LM_SYNC_VERDICTS]; /* of classes, by their versions */
    PyObject
        *stream_retired; /* without a GIL: what stood there before, since another thread
                                 may look at it still */
    char after_looks[LM_CACHE_LINE];

    /* Written when a loop is made or freed, and by whatever else says that it holds the
       state (life.h). */
    size_t holders;
    LmMutex loops_lock;
    LmList loops;          /* all of the interpreter's (core/patched.h) */
    PyObject *patch_codes; /* functions with their code (core/patched.h) */
#if PY_VERSION_HEX < 0x030C0000
    uint64_t patch_versions[LM_MOST_PATCH_DICTS]; /* of the dicts, at the last look */
#endif
    char after_loops[LM_CACHE_LINE];

    /* Number of the last default task name given: without a GIL loops take many at once. */
    uint64_t task_names;
    char after_names[LM_CACHE_LINE];
} LmShared;

#endif
