/* What the objects of the room have: asyncio's private attributes as fields behind the base
   class's struct. Each is an object of any kind, or NULL where it was deleted or __init__ has
   not run: members may be set to anything. So C code works on them only where they are what
   asyncio puts there, and leaves all else to asyncio's code, which finds the same fields by
   their names.

   Types give no deallocator and no traverse of their own: CPython's for classes in Python
   know the members, the dict and the weak references. */
#ifndef LM_SYNC_FIELDS_H
#define LM_SYNC_FIELDS_H

#include "base/state.h"
#include "base/threads.h"

/* Whether an attribute of the instance may hide a method of its class. */
enum { LM_SYNC_CLEAN, LM_SYNC_DICT_SHOWN, LM_SYNC_HIDES };

typedef struct {
    PyObject *loop; /* None where it is NULL */
    uint8_t may_hide;
} LmSync;

/* Event, Lock, and the semaphores. */
typedef struct {
    LmSync sync;
    PyObject *waiters;
    PyObject *value; /* Event and Semaphore: _value; Lock: _locked */
    PyObject *bound; /* BoundedSemaphore */
} LmGate;

/* Set once, at import, to the same in every interpreter. */
extern Py_ssize_t lm_sync_offset;

static inline LmSync *
lm_sync(PyObject *self)
{
    return (LmSync *)((char *)self + lm_sync_offset);
}

static inline LmGate *
lm_gate(PyObject *self)
{
    return (LmGate *)lm_sync(self);
}

/* In place of what stood there. With the object locked, without a GIL: who looks at the
   member meanwhile does so without. What goes may run Python. */
static inline void
lm_sync_set(PyObject **place, PyObject *value)
{
    PyObject *old = *place;
    LM_STORE_RELEASE(*place, Py_NewRef(value));
    Py_XDECREF(old);
}

/* 1 or 0 where it is True or False, else -1. */
static inline int
lm_sync_flag(const PyObject *value)
{
    return value == Py_True ? 1 : value == Py_False ? 0 : -1;
}

int lm_fields_init(LmState *st);

/* What a type's table takes in, besides its members: places in the struct are `offsetof` in
   LmGate or its like. */
typedef struct {
    const char *name; /* "loopmod.Event" */
    const char *doc;
    PyObject *bases; /* borrowed: asyncio's class, or a tuple */
    const PyMemberDef
        *members; /* without the offset of the struct; ended by a NULL name */
    size_t size;
    initproc init;
} LmSyncSpec;

/* Makes the type and adds it to the module: a new reference, or NULL with an exception. */
PyObject *lm_sync_type_new(PyObject *module, const LmSyncSpec *spec);

/* Waiters, in a deque. */

static inline int
lm_is_deque(const LmState *st, PyObject *object)
{
    return object != NULL && Py_IS_TYPE(object, lm_type(st->deque));
}

/* How many; of a deque. */
static inline Py_ssize_t
lm_deque_size(PyObject *deque)
{
    return Py_TYPE(deque)->tp_as_sequence->sq_length(deque);
}

/* deque.append, .popleft and .remove. */
static inline int
lm_deque_append(const LmState *st, PyObject *deque, PyObject *item)
{
    PyObject *done = st->deque_append(deque, item);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static inline PyObject *
lm_deque_popleft(const LmState *st, PyObject *deque)
{
    return st->deque_popleft(deque, NULL);
}

static inline int
lm_deque_remove(const LmState *st, PyObject *deque, PyObject *item)
{
    PyObject *done = st->deque_remove(deque, item);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* self.<name>.remove(future), whatever is there. -1 with an exception set. */
int lm_sync_remove(PyObject *self, const char *name, PyObject *future);

/* self.<name> += change, whatever is there. -1 with an exception set. */
int lm_sync_change(PyObject *self, const char *name, long change);

/* future.set_result(result) unless it is done: 1 where it was not, 0 where it was, -1 with an
   exception set. The caller holds it. */
int lm_sync_wake(LmState *st, PyObject *future, PyObject *result);

/* future.done() and future.cancelled(): 1, 0 or -1. */
int lm_sync_is_done(LmState *st, PyObject *future);
int lm_sync_is_cancelled(LmState *st, PyObject *future);

/* 1 where there is one in the deque that is not cancelled, else 0; -1 with an exception. */
int lm_sync_any_waits(LmState *st, PyObject *deque);

#endif
