/* Future: a subclass of _asyncio.Future whose whole state stands in own fields behind
   the base's.

       PENDING --lm_future_set_result, lm_future_set_exception--> FINISHED
       PENDING --lm_future_cancel--> CANCELLED

   On leaving PENDING every waiter is scheduled and let go of (task/waiters.h). The
   base's own fields stay empty, so every method and getter of the base is overridden;
   Task (task/task.h) has the same fields at the same place.

   A future belongs to its loop's thread. `st` is there from tp_new on, `loop` from
   __init__ on, and both until it is freed: a loop of ours that has made it keeps the state
   for it (base/life.h). */
#ifndef LM_TASK_FUTURE_H
#define LM_TASK_FUTURE_H

#include "core/owner.h"

enum { LM_PENDING, LM_CANCELLED, LM_FINISHED };

/* Who is told when a future is done (task/waiters.h). */
typedef struct {
    PyObject *callable; /* a done callback, or a native task */
    PyObject *context;  /* of the callback, None for an empty one (core/context.h), or
                          LM_CONTEXT_LATER; NULL where a task waits, which has its own */
} LmWaiter;

/* What few futures have; each object may be NULL. */
typedef struct {
    PyObject *value;    /* the future's own: here it has no room for it any more */
    PyObject *value_tb; /* the exception's traceback when set, until it is raised */
    PyObject *cancel_message;
    PyObject *source_traceback;
    PyObject *raising;        /* task: exception to throw at the next step */
    uint8_t has_late_context; /* of one of the waiters */
    uint32_t more_begin;
    uint32_t more_end;
    uint32_t more_capacity;
    LmWaiter more[]; /* those that came after the first one, from begin to end */
} LmFutureRare;

typedef struct LmFuture {
    LmState *st;
    PyObject *loop; /* NULL until __init__ has run */
    union {
        PyObject *value; /* while there is nothing rare: lm_future_value */
        LmFutureRare *rare;
    };
    LmWaiter waiter; /* the first one */
    uint8_t state;
    uint8_t is_exception;
    uint8_t is_blocking;   /* yielded by __await__ and not yet taken by a task */
    uint8_t log_traceback; /* nobody has looked at the exception yet */
    uint8_t is_native;     /* the loop is ours and may be scheduled on directly */
    uint8_t is_task;
    uint8_t holds_state; /* itself, not by a loop that made it */
    uint8_t has_rare;
} LmFuture;

/* Where the fields of ours begin in an instance: behind those of the base, so futures and
   tasks differ, and the type tells. It does so in a slot that subclasses inherit and that
   CPython reads where a type has Py_TPFLAGS_HAVE_VECTORCALL, which these have not. */
static inline void
lm_future_place(PyObject *type, Py_ssize_t offset)
{
    lm_type(type)->tp_vectorcall_offset = offset;
}

static inline LmFuture *
lm_future(PyObject *self)
{
    return (LmFuture *)((char *)self + Py_TYPE(self)->tp_vectorcall_offset);
}

static inline PyObject *
lm_future_object(LmFuture *f)
{
    return (PyObject *)((char *)f - (f->is_task ? lm_task_offset : lm_future_offset));
}

/* Where the value stands. FINISHED: result or exception; CANCELLED: the CancelledError to
   raise, or NULL. */
static inline PyObject **
lm_future_value(LmFuture *f)
{
    return LM_LIKELY(!f->has_rare) ? &f->value : &f->rare->value;
}

/* One of the rare fields, borrowed, or NULL. */
#define LM_RARE(future, field) ((future)->has_rare ? (future)->rare->field : NULL)

/* The rare fields to be written to; NULL with MemoryError set. */
LmFutureRare *lm_future_rare(LmFuture *future);

/* The loop of ours that it belongs to, or NULL. */
static inline LmLoop *
lm_future_owner(PyObject *self)
{
    const LmFuture *f = lm_future(self);
    return f->is_native ? (LmLoop *)f->loop : NULL;
}

/* The loop to schedule on directly, or NULL where that has to go through its call_soon:
   a foreign loop, or one whose call_soon was replaced meanwhile. */
static inline LmLoop *
lm_future_direct_loop(LmFuture *future)
{
    LmLoop *loop = (LmLoop *)future->loop;
    return future->is_native && LM_LOAD(loop->is_plain) ? loop : NULL;
}

/* 1 where the fast paths apply: our types themselves, not Python subclasses, which may
   override anything. */
static inline int
lm_future_is_exact(LmState *st, PyObject *obj)
{
    return Py_IS_TYPE(obj, lm_type(st->FutureType)) ||
           Py_IS_TYPE(obj, lm_type(st->TaskType));
}

int lm_future_init(PyObject *module, LmState *st);

/* A pending future of the loop. New reference, or NULL with an exception set. */
PyObject *lm_future_new(LmLoop *loop);

/* Of tp_new: the type's state, held. */
void lm_future_hold_state(LmFuture *future, LmState *st);

/* Sets up the fields common to futures and tasks; `loop` NULL or None asks
   get_event_loop. -1 with exception. */
int lm_future_setup(PyObject *self, PyObject *loop);

/* -1 with RuntimeError set where __init__ has not run. */
int lm_future_check_ready(LmFuture *future);

/* 0, or -1 with an exception set (InvalidStateError where it is done; what scheduling a
   waiter raised). */
int lm_future_set_result(PyObject *self, PyObject *result);
int lm_future_set_exception(PyObject *self, PyObject *exc);

/* Of any future-like object: 1 where it is done, 0 where not, -1 with an exception. */
int lm_future_is_done(PyObject *future);

/* 1 where it was pending and is cancelled now, else 0; -1 with an exception set. */
int lm_future_cancel(PyObject *self, PyObject *message);

/* Keeps the message, which may be None, for the CancelledError. -1 with MemoryError set. */
int lm_future_note_cancel(LmFuture *future, PyObject *message);

/* The result as a new reference; NULL with the exception raised, or InvalidStateError
   set while pending. */
PyObject *lm_future_result(LmFuture *future);

/* The exception a waiter has to raise, as a new reference with its traceback put back;
   NULL where there is a result. The future is done. Failure to make one is itself the
   exception given. Where one is given, Python may have run: of a future that the caller
   does not hold nothing may be looked at afterwards. */
PyObject *lm_future_take_exception(LmFuture *future);

/* The CancelledError of a cancelled future or a task being cancelled. New reference,
   NULL with an exception. */
PyObject *lm_future_make_cancelled_error(LmFuture *future);

/* Parts of the type that Task has too (future_methods.h has its methods and getters). */
int lm_future_traverse_fields(LmFuture *future, visitproc visit, void *arg);
void lm_future_clear_fields(LmFuture *future);
void lm_future_report_unread(PyObject *self);

/* Wakes who waits by a future of any kind, which is asked by its methods: with None, or the
   exception unless that is NULL or None; not where it was cancelled. -1 with an exception
   set. Runs Python. */
int lm_future_wake(PyObject *waiter, PyObject *exc);

#endif
