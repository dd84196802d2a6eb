/* Taking and letting go of a loop: see owner.h. */
#include "core/owner.h"

#if LM_FREE_THREADED
#include "base/clock.h"

#include <sched.h>

static int
refuse_foreign(LmLoop *loop)
{
    if (LM_LOAD(loop->is_debug) && lm_loop_check_thread(loop) < 0) {
        return -1; /* in asyncio's words */
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "the event loop is another thread's at this moment: use "
                    "loop.call_soon_threadsafe()");
    return -1;
}

/* In `home`: the thread has the loop for a moment. Its other bits are an address. */
#define FOR_SHORT ((uintptr_t)1)

/* What the last owner did is seen by the next. */
static int
take_as(LmLoop *loop, uintptr_t home)
{
    uintptr_t found = 0;
    while (!__atomic_compare_exchange_n(&loop->home, &found, home, 0, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        if (!(found & FOR_SHORT)) {
            return 0;
        }
        sched_yield();
        found = 0;
    }
    return 1;
}

#define LONGEST_CALL_NS ((int64_t)1000000000)

/* A loop that another thread has for one call, in which it does not wait for events, is free
   soon: a collector calls from any thread, and its finalizers are not to make a runner's next
   call fail. Bounded, since that thread may wait for this one. A runner's loop is known by a
   word of its own: a thread that begins or ends a call right now has said nothing. */
static LM_APART int
take_after_call(LmLoop *loop)
{
    int64_t until_ns = lm_clock_ns() + LONGEST_CALL_NS;
    while (!take_as(loop, lm_this_thread())) {
        if (LM_LOAD(loop->is_runners) || LM_LOAD(loop->is_asleep) ||
            lm_clock_ns() >= until_ns) {
            return 0;
        }
        lm_nap(20000);
    }
    return 1;
}

static int
take_idle(LmLoop *loop)
{
    if (!take_as(loop, lm_this_thread()) && !take_after_call(loop)) {
        return 0;
    }
    if (LM_UNLIKELY(PyThreadState_GetID(PyThreadState_Get()) != loop->made_by)) {
        LM_STORE(loop->had_guests, 1);
    }
    return 1;
}

int
lm_owner_take(LmOwner *owner, LmLoop *loop, PyObject *self)
{
    if (loop == NULL) {
        PyCriticalSection_Begin(&owner->section, self);
        owner->is_locked = 1;
        return 0;
    }
    if (!take_idle(loop)) {
        return refuse_foreign(loop);
    }
    owner->taken = (LmLoop *)Py_NewRef(loop);
    return 0;
}

void
lm_owner_let_go(LmOwner *owner)
{
    if (owner->taken != NULL) {
        lm_owner_end(owner->taken);
        Py_DECREF(owner->taken);
    }
    if (owner->is_locked) {
        PyCriticalSection_End(&owner->section);
    }
}

/* Both after a refusal. */
PyObject *
lm_owner_show_none(void)
{
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyObject *
lm_owner_show_type(PyObject *self)
{
    PyErr_Clear();
    return PyUnicode_FromFormat("<%s at %p>", lm_type_name(Py_TYPE(self)), self);
}

int
lm_owner_begin(LmLoop *loop)
{
    return lm_owner_is_home(loop) ? 0 : take_idle(loop) ? 1 : refuse_foreign(loop);
}

int
lm_owner_begin_run(LmLoop *loop)
{
    int is_taken = lm_owner_begin(loop);
    if (is_taken > 0) {
        LM_STORE(loop->is_runners, 1);
    }
    return is_taken;
}

/* Numbers of tasks' names that none got are for other loops. */
static void
return_names(LmLoop *loop)
{
    uint64_t last = loop->last_name;
    if (last != loop->first_name &&
        __atomic_compare_exchange_n(&loop->st->shared->task_names, &last,
                                    loop->first_name, 0, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        loop->last_name = loop->first_name;
    }
}

void
lm_owner_end(LmLoop *loop)
{
    return_names(loop);
    LM_STORE(loop->is_runners, 0);
    LM_STORE_RELEASE(loop->home, 0);
}

int
lm_owner_begin_short(LmLoop *loop)
{
    return lm_owner_is_home(loop)                        ? 0
           : take_as(loop, lm_this_thread() | FOR_SHORT) ? 1
                                                         : -1;
}

void
lm_owner_end_short(LmLoop *loop)
{
    LM_STORE_RELEASE(loop->home, 0);
}

#else

int
lm_owner_begin(LmLoop *loop LM_UNUSED)
{
    return 1;
}

int
lm_owner_begin_run(LmLoop *loop LM_UNUSED)
{
    return 1;
}

int
lm_owner_begin_short(LmLoop *loop LM_UNUSED)
{
    return 0;
}

void
lm_owner_end_short(LmLoop *loop LM_UNUSED)
{
}

void
lm_owner_end(LmLoop *loop LM_UNUSED)
{
}

#endif
