/* Whose a loop is, on builds without the GIL: whoever runs it, from the begin of a run to
   its end; before, between and after runs whoever uses it, for as long as one call takes,
   for which others wait a while.
   With the GIL everything here is nothing.

   What a loop has belongs to its owner alone: the queue, the heap, the poll, spares, futures,
   tasks, transports. So nothing of it needs a lock. Each method that touches it is entered by
   way of LM_OWNED: it takes an idle loop for the call, and raises RuntimeError in a thread
   that finds it another's. What any thread may do stands in docs/threads.md. */
#ifndef LM_CORE_OWNER_H
#define LM_CORE_OWNER_H

#include "core/loop.h"

#if LM_FREE_THREADED

/* 1 where the calling thread may touch what the loop has. */
static inline int
lm_owner_is_home(const LmLoop *loop)
{
    return LM_LIKELY(LM_LOAD(loop->home) == lm_this_thread());
}

/* What a call has taken, to be let go of at its end. */
typedef struct {
    LmLoop *taken; /* an idle loop, held, or NULL */
    PyCriticalSection section;
    int is_locked; /* the object itself, which has no loop of ours */
} LmOwner;

/* 0, or -1 with RuntimeError set where the loop is another thread's. `loop` may be NULL for
   an object that belongs to none of ours: others who use it wait then. */
int lm_owner_take(LmOwner *owner, LmLoop *loop, PyObject *self);
void lm_owner_let_go(LmOwner *owner);
PyObject *lm_owner_show_none(void);
PyObject *lm_owner_show_type(PyObject *self);

static inline int
lm_owner_enter(LmOwner *owner, LmLoop *loop, PyObject *self)
{
    owner->taken = NULL;
    owner->is_locked = 0;
    return LM_LIKELY(loop != NULL) && lm_owner_is_home(loop)
               ? 0
               : lm_owner_take(owner, loop, self);
}

static inline void
lm_owner_leave(LmOwner *owner)
{
    if (LM_UNLIKELY(owner->taken != NULL || owner->is_locked)) {
        lm_owner_let_go(owner);
    }
}

#define LM_OWNED(function) function##_owned

/* `function` for tables, entered as said above; `loop_of` finds the loop of `self`, or NULL. */
#define LM_OWNED_BODY(loop_of, failure, call)            \
    LmOwner owner;                                       \
    if (lm_owner_enter(&owner, loop_of(self), self) < 0) \
        return failure;                                  \
    __typeof__(call) result = call;                      \
    lm_owner_leave(&owner);                              \
    return result;
#define LM_OWNED_METHOD(function, loop_of)                                  \
    static inline PyObject *function##_owned(PyObject *self, PyObject *arg) \
    {                                                                       \
        LM_OWNED_BODY(loop_of, NULL, function(self, arg))                   \
    }
#define LM_OWNED_FASTCALL(function, loop_of)                                        \
    static inline PyObject *function##_owned(PyObject *self, PyObject *const *args, \
                                             Py_ssize_t nargs, PyObject *kwnames)   \
    {                                                                               \
        LM_OWNED_BODY(loop_of, NULL, function(self, args, nargs, kwnames))          \
    }
#define LM_OWNED_POSITIONAL(function, loop_of)                                      \
    static inline PyObject *function##_owned(PyObject *self, PyObject *const *args, \
                                             Py_ssize_t nargs)                      \
    {                                                                               \
        LM_OWNED_BODY(loop_of, NULL, function(self, args, nargs))                   \
    }
#define LM_OWNED_SETTER(function, loop_of)                                             \
    static inline int function##_owned(PyObject *self, PyObject *value, void *closure) \
    {                                                                                  \
        LM_OWNED_BODY(loop_of, -1, function(self, value, closure))                     \
    }
#define LM_OWNED_INIT(function, loop_of)                               \
    static inline int function##_owned(PyObject *self, PyObject *args, \
                                       PyObject *kwargs)               \
    {                                                                  \
        LM_OWNED_BODY(loop_of, -1, function(self, args, kwargs))       \
    }
#define LM_OWNED_GETTER(function, loop_of)                                  \
    static inline PyObject *function##_owned(PyObject *self, void *closure) \
    {                                                                       \
        LM_OWNED_BODY(loop_of, NULL, function(self, closure))               \
    }
/* A getter that shows None, and a repr that says no more than what it is of, in a thread that
   finds the loop another's. */
#define LM_OWNED_SHOWN(function, loop_of)                                     \
    static inline PyObject *function##_owned(PyObject *self, void *closure)   \
    {                                                                         \
        LM_OWNED_BODY(loop_of, lm_owner_show_none(), function(self, closure)) \
    }
/* `other` answers in such a thread. */
#define LM_OWNED_METHOD_ELSE(function, loop_of, other)                      \
    static inline PyObject *function##_owned(PyObject *self, PyObject *arg) \
    {                                                                       \
        LM_OWNED_BODY(loop_of, other(self, arg), function(self, arg))       \
    }
#define LM_OWNED_FASTCALL_ELSE(function, loop_of, other)                            \
    static inline PyObject *function##_owned(PyObject *self, PyObject *const *args, \
                                             Py_ssize_t nargs, PyObject *kwnames)   \
    {                                                                               \
        LM_OWNED_BODY(loop_of, other(self, args, nargs, kwnames),                   \
                      function(self, args, nargs, kwnames))                         \
    }
#define LM_OWNED_REPR(function, loop_of)                                 \
    static inline PyObject *function##_owned(PyObject *self)             \
    {                                                                    \
        LM_OWNED_BODY(loop_of, lm_owner_show_type(self), function(self)) \
    }

#else

static inline int
lm_owner_is_home(const LmLoop *loop LM_UNUSED)
{
    return 1;
}

#define LM_OWNED(function) function
#define LM_OWNED_METHOD(function, loop_of)
#define LM_OWNED_FASTCALL(function, loop_of)
#define LM_OWNED_POSITIONAL(function, loop_of)
#define LM_OWNED_METHOD_ELSE(function, loop_of, other)
#define LM_OWNED_FASTCALL_ELSE(function, loop_of, other)
#define LM_OWNED_INIT(function, loop_of)
#define LM_OWNED_GETTER(function, loop_of)
#define LM_OWNED_SHOWN(function, loop_of)
#define LM_OWNED_REPR(function, loop_of)
#define LM_OWNED_SETTER(function, loop_of)

#endif

/* What the calling thread may keep for reuse, or NULL. */
#define LM_SPARE(loop, list) (lm_owner_is_home(loop) ? &(loop)->spares.list : NULL)

/* The loop is the calling thread's until lm_owner_end. -1 with RuntimeError set; 0 where it is
   that already, and nothing is to be ended, else 1. Others wait for who has begun but no run. */
int lm_owner_begin(LmLoop *loop);
int lm_owner_begin_run(LmLoop *loop);
void lm_owner_end(LmLoop *loop);

/* The same for a stretch of C code that runs no Python, for which others wait: 0 where the
   loop is the calling thread's, 1 where it was idle, -1 without an exception. Ends of objects,
   which come in any thread at any time, are to disturb no other. */
int lm_owner_begin_short(LmLoop *loop);
void lm_owner_end_short(LmLoop *loop);

#endif
