/* The queues, the poll and the turn under the names by which asyncio's own turn, in Python,
   uses them: loopmod/queues.py builds `_ready` and `_scheduled` of these, selector.py beside
   it `_selector`. Relies on core/patched.h. */
#include "face/loop_type.h"

#include "base/clock.h"
#include "base/type_help.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/run.h"
#include "core/timers.h"

#include <math.h>

/* As long as asyncio ever waits. */
#define LONGEST_WAIT_S (24 * 3600.0)

PyObject *
lm_loop_method_pop_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    lm_loop_leave_task(loop);
    if (lm_ready_take_sent(loop) < 0) {
        return NULL;
    }
    if (lm_ring_length(&loop->ready) == 0) {
        Py_RETURN_NONE;
    }
    return lm_patched_show(loop, lm_ring_pop(&loop->ready));
}

PyObject *
lm_loop_method_push_ready(PyObject *self, PyObject *handle)
{
    LmLoop *loop = (LmLoop *)self;
    LmReadyItem item = lm_patched_item(loop, Py_NewRef(handle));
    return lm_none_if(lm_ready_push_threadsafe(loop, item.fn, item.obj));
}

PyObject *
lm_loop_method_take_timers(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    const LmHeapSlot *top;
    if (loop->timers.size == 0) {
        Py_RETURN_NONE;
    }
    PyObject *taken = PyList_New(0);
    while (taken != NULL && (top = lm_heap_top(&loop->timers)) != NULL) {
        LmHandle *handle = LM_CONTAINER_OF(top->node, LmHandle, node);
        if (PyList_Append(taken, lm_handle_object(handle)) < 0) {
            Py_CLEAR(taken);
            return NULL;
        }
        lm_handle_unschedule(loop, handle);
        handle->node.index = LM_HEAP_ELSEWHERE;
    }
    return taken;
}

PyObject *
lm_loop_method_put_timer(PyObject *self, PyObject *obj)
{
    LmLoop *loop = (LmLoop *)self;
    LmHandle *handle = lm_handle(obj);
    if (!Py_IS_TYPE(obj, lm_type(loop->st->TimerHandleType)) || handle->loop != loop ||
        handle->node.index != LM_HEAP_ELSEWHERE) {
        PyErr_SetString(PyExc_ValueError, "not a timer that was taken out");
        return NULL;
    }
    handle->node.index = LM_HEAP_NOWHERE;
    return handle->is_cancelled || lm_timers_add(loop, handle) == 0 ? Py_NewRef(Py_None)
                                                                    : NULL;
}

static int
deadline_of(PyObject *timeout, int64_t *deadline_ns)
{
    *deadline_ns = LM_POLL_FOREVER;
    if (timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    seconds = seconds < LONGEST_WAIT_S ? seconds : LONGEST_WAIT_S;
    *deadline_ns = seconds > 0 ? lm_clock_ns() + (int64_t)ceil(seconds * 1e9) : 0;
    return 0;
}

/* The last items of the queue, in their order, taken out of it as handles. */
static PyObject *
take_last(LmLoop *loop, size_t count)
{
    PyObject *handles = PyList_New(0);
    LmReadyItem *items = PyMem_Calloc(count + 1, sizeof(*items));
    if (handles == NULL || items == NULL) {
        Py_XDECREF(handles);
        PyMem_Free(items);
        return items == NULL ? PyErr_NoMemory() : NULL;
    }
    for (size_t i = count; i-- > 0;) {
        items[i] = loop->ready.items[--loop->ready.tail & loop->ready.mask];
    }
    for (size_t i = 0; i < count; i++) {
        PyObject *handle = lm_patched_show(loop, items[i]);
        if (handle == NULL || PyList_Append(handles, handle) < 0) {
            PyErr_WriteUnraisable((PyObject *)loop); /* memory is out */
        }
        Py_XDECREF(handle);
    }
    PyMem_Free(items);
    return handles;
}

PyObject *
lm_loop_method_poll(PyObject *self, PyObject *timeout)
{
    LmLoop *loop = (LmLoop *)self;
    int64_t deadline_ns;
    if (deadline_of(timeout, &deadline_ns) < 0 || lm_run_poll(loop, deadline_ns) < 0) {
        return NULL;
    }
    size_t before = lm_ring_length(&loop->ready);
    lm_poll_dispatch(&loop->poll);
    return take_last(loop, lm_ring_length(&loop->ready) - before);
}

/* Where it is patched, asyncio's own: what overrides ours calls it for that. */
PyObject *
lm_loop_method_run_once(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0) {
        return NULL;
    }
    if (LM_LOAD(loop->is_patched)) {
        return PyObject_CallMethod(self, "_run_patched_turn", NULL);
    }
    return lm_none_if(lm_run_turn(loop));
}

PyObject *
lm_loop_get_ready_count(PyObject *self, void *closure LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (lm_ready_take_sent(loop) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(lm_ring_length(&loop->ready));
}

/* Whether any thread but the one that made it has used the loop, or made a task for it. With
   the GIL that is not noted, and may be. */
PyObject *
lm_loop_get_had_guests(PyObject *self LM_UNUSED, void *closure LM_UNUSED)
{
#if LM_FREE_THREADED
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->had_guests));
#else
    Py_RETURN_TRUE;
#endif
}

PyObject *
lm_loop_get_patched(PyObject *self, void *closure LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->is_patched));
}

PyObject *
lm_loop_get_own_select(PyObject *self, void *closure LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->has_own_select));
}

int
lm_loop_set_own_select(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    LM_STORE(loop->has_own_select, value == Py_True);
    lm_patched_look_closer(loop);
    return 0;
}
