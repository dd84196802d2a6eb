/* Handle and TimerHandle: a callback with its arguments and context, subclasses of
   asyncio's classes.

   A handle is what a program may have a million of, so what is an object is kept where
   the base class has its slots for objects; every name that the base offers is shadowed
   by a getter here. Only the base's own descriptors, called by hand, reach the slots:
   what stands there may be missing or of another type, and is looked at before it is
   used. What a wrong type would make unsafe stands behind the slots. Life of a handle:

       new --> QUEUED (owned by the ready queue or the heap) --lm_handle_run_item--> RAN
                  |                                                                   |
                  +---------------- lm_handle_cancel ----------> CANCELLED <----------+

   A cancelled handle has let go of its callback and arguments; the queue skips it. Without a
   GIL other threads may cancel one, too: that only marks it (core/owner.h).

   The cycle collector is told of a handle late. What a running loop has queued is alive,
   and most handles die right after their callback; so in a running loop a new handle is
   not tracked. It is once it leaves the queue while others hold it, or when the run ends
   (lm_handle_track_queued): no cycle escapes. */
#ifndef LM_CORE_HANDLE_H
#define LM_CORE_HANDLE_H

#include "core/owner.h"

#define LM_HANDLE_INLINE_ARGS 2
#define LM_HANDLE_TUPLE 3 /* nargs where the arguments are a tuple in args[0] */

typedef struct LmHandle {
    /* As many as asyncio.Handle has slots. */
    PyObject *args[LM_HANDLE_INLINE_ARGS];
    PyObject *callback; /* NULL once cancelled */
    PyObject *context;  /* None: an empty one (core/context.h) */
    PyObject *when;     /* the caller's own object where it was no exact float */
    PyObject *repr;     /* debug mode: text kept at cancellation, else NULL */
    PyObject *source_traceback; /* debug mode: where it was scheduled, else NULL */
    /* Slots of TimerHandle, and the list of weak references where it is not kept before
       the object. */
    void *unused[LM_HANDLE_UNUSED];

    LmLoop *loop; /* owned; NULL only in a handle that is being freed */
    double due;
    LmHeapNode node;
    uint8_t nargs; /* up to LM_HANDLE_TUPLE */
    uint8_t is_cancelled;
    uint8_t is_safe; /* an LmSafeHandle (core/safe_handle.h) */
    uint8_t is_tracked : 1;
    uint8_t is_stray : 1; /* made by a thread that has no spares, and no spare itself */
    uint8_t is_context_shown : 1;
} LmHandle;

/* Where the struct begins in an instance, the same in all types: at the base's first slot,
   or behind the base where its slots are not those known (handle_type.c). */
static inline LmHandle *
lm_handle(PyObject *self)
{
    return (LmHandle *)((char *)self + lm_handle_offset);
}

static inline PyObject *
lm_handle_object(LmHandle *handle)
{
    return (PyObject *)((char *)handle - lm_handle_offset);
}

int lm_handle_init(PyObject *module, LmState *st);

/* The most timers with which new ones are still tracked late: bounds the walk at the end of
   a run. */
#define LM_MOST_TRACKED_LATE 32768

void lm_handle_track(PyObject *handle);

/* Gives up the queue's reference. */
static inline void
lm_handle_leave_queue(PyObject *handle)
{
    if (Py_REFCNT(handle) > 1 && !lm_handle(handle)->is_tracked) {
        lm_handle_track(handle);
    }
    Py_DECREF(handle);
}

/* Takes it out of the heap; nothing where it is not there. Drops the heap's reference: the
   caller has one too. */
void lm_handle_unschedule(LmLoop *loop, LmHandle *handle);

/* The run ends: tracks all that is queued. */
void lm_handle_track_queued(LmLoop *loop);

/* Frees a handle that was kept for reuse. */
void lm_handle_free(PyObject *handle);

/* A handle of the callback; `context` NULL copies the current one. New reference, or
   NULL with an exception. */
PyObject *lm_handle_new(LmLoop *loop, PyObject *callback, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *context);

/* The same, for the ready queue and nothing else. */
PyObject *lm_handle_new_queued(LmLoop *loop, PyObject *callback, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *context);

/* A timer handle, not yet scheduled. `when` is kept where it is no exact float, else
   may be NULL. */
PyObject *lm_handle_new_timer(LmLoop *loop, double due, PyObject *when,
                              PyObject *callback, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *context);

/* A handle for call_soon_threadsafe; from 3.14 on it can be cancelled from any thread. */
PyObject *lm_handle_new_threadsafe(LmLoop *loop, PyObject *callback,
                                   PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *context);

/* 1 where all that running the callback takes is there. */
int lm_handle_is_whole(const LmHandle *handle);

/* The arguments of a whole handle, borrowed. */
PyObject *const *lm_handle_args(const LmHandle *handle, Py_ssize_t *nargs);

/* Lets go of callback and arguments. */
void lm_handle_drop_callback(LmHandle *handle);

/* Runs the callback in its context, reports its exception to the loop's handler. A
   ready-queue function. */
int lm_handle_run_item(LmLoop *loop, PyObject *handle);

/* The same of a callback that nothing would call again, and that takes being called once
   more: what leaves the loop (KeyboardInterrupt) may have come before it did anything, and
   then it is called in the next run. */
int lm_handle_run_last_item(LmLoop *loop, PyObject *handle);

/* lm_handle_run_item without consuming the reference. */
int lm_handle_run(LmLoop *loop, PyObject *handle);

/* A ready item that is no handle failed: reports the exception that is set as that of a
   callback, the method `def` of `self`, which is made only for that. 0, or -1 with an
   exception that has to leave the loop. */
int lm_handle_report_fault(LmLoop *loop, PyMethodDef *def, PyObject *self);

/* The same of a callback that had no handle: of `callable(*args)` in the context. */
int lm_handle_report_call(LmLoop *loop, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *context);

/* -1 only where debug mode's text of the handle could not be made. */
int lm_handle_cancel(PyObject *handle);

/* Schedules the callback for the next turn, from C. 0, or -1 with an exception set. */
int lm_handle_call_soon(LmLoop *loop, PyObject *callback, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *context);

/* The same of a method of `self`, with one argument or, where that is NULL, without. */
int lm_handle_call_soon_method(LmLoop *loop, PyMethodDef *def, PyObject *self,
                               PyObject *arg, PyObject *context);

#endif
