/* Life, clock and checks of a loop: see loop.h. Relies on ready, timers and the poll.
   May run Python where an overridden time() is asked or references are dropped. */
#include "core/loop.h"

#include "base/clock.h"
#include "core/handle.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/timers.h"

void
lm_loop_init(LmLoop *loop, LmState *st)
{
    loop->st = lm_state_hold(st);
    loop->interp = PyInterpreterState_Get();
    loop->is_plain = 1;
    lm_list_push_back(&st->loops, &loop->among);
    lm_list_init(&loop->kept);
    lm_heap_init(&loop->timers);
    lm_poll_init(&loop->poll);
}

void
lm_loop_clear(LmLoop *loop)
{
    lm_ring_clear(&loop->ready);
    lm_timers_clear(loop);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->shown_handle);
    lm_ring_clear(&loop->joined);
}

void
lm_loop_close(LmLoop *loop)
{
    loop->is_closed = 1;
    lm_ring_clear(&loop->ready);
    lm_timers_clear(loop);
    lm_handle_trim_spare(loop->st);
    loop->st->is_patch_new |= loop->has_own_methods;
    lm_poll_close(&loop->poll);
}

int
lm_loop_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->shown_handle);
    int failed = lm_ready_traverse(loop, visit, arg);
    return failed ? failed : lm_timers_traverse(loop, visit, arg);
}

int
lm_loop_send_next(LmLoop *loop)
{
    LmReadyItem item = lm_ring_pop(&loop->joined);
    return item.fn(loop, item.obj);
}

int
lm_loop_send_joined(LmLoop *loop)
{
    int failed = 0;
    while (failed == 0 && lm_ring_length(&loop->joined) > 0) {
        failed = lm_loop_send_next(loop);
    }
    return failed;
}

int
lm_loop_refuse_closed(void)
{
    PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    return -1;
}

int
lm_loop_check_thread(LmLoop *loop)
{
    if (loop->thread_id == 0 || loop->thread_id == PyThread_get_thread_ident()) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "Non-thread-safe operation invoked on an event loop other "
                    "than the current one");
    return -1;
}

int
lm_loop_now(LmLoop *loop, double *now)
{
    if (LM_UNLIKELY(lm_patched_is_clock_new(loop->st)) && lm_patched_look(loop) < 0) {
        return -1;
    }
    if (LM_LIKELY(!loop->has_own_time)) {
        *now = lm_clock_now();
        return 0;
    }
    PyObject *value = PyObject_CallMethodNoArgs((PyObject *)loop, loop->st->str.time);
    if (value == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(value);
    Py_DECREF(value);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

LmPoll *
lm_loop_poll(LmLoop *loop)
{
    if (LM_UNLIKELY(loop->poll.ev == NULL)) {
        if (lm_loop_check_closed(loop) < 0 || lm_poll_open(&loop->poll) < 0) {
            return NULL;
        }
    }
    return &loop->poll;
}

LmLoop *
lm_loop_native(LmState *st, PyObject *loop)
{
    if (!PyObject_TypeCheck(loop, lm_type(st->LoopType)) ||
        !((LmLoop *)loop)->is_plain) {
        return NULL;
    }
    return (LmLoop *)loop;
}

/* The definition behind a method of a C type, or NULL. */
static const PyMethodDef *
definition_of(PyObject *method)
{
    return Py_IS_TYPE(method, &PyMethodDescr_Type)
               ? ((PyMethodDescrObject *)method)->d_method
               : NULL;
}

/* 1 where `name` found on the object is not the C type's own method of that name; Python's
   Loop has it in a descriptor of its own. */
static int
is_overridden(LmLoop *loop, PyObject *name)
{
    PyObject *mine = PyObject_GetAttr(loop->st->LoopType, name);
    PyObject *found = mine ? PyObject_GetAttr((PyObject *)Py_TYPE(loop), name) : NULL;
    int differs = found == NULL ? -1 : definition_of(found) != definition_of(mine);
    Py_XDECREF(mine);
    Py_XDECREF(found);
    if (differs == 0) {
        PyObject *bound = PyObject_GetAttr((PyObject *)loop, name);
        if (bound == NULL) {
            return -1;
        }
        differs = !PyCFunction_Check(bound) ||
                  PyCFunction_GET_SELF(bound) != (PyObject *)loop;
        Py_DECREF(bound);
    }
    return differs;
}

int
lm_loop_note_overrides(LmLoop *loop)
{
    int own_time = is_overridden(loop, loop->st->str.time);
    int own_call_soon =
        own_time < 0 ? -1 : is_overridden(loop, loop->st->str.call_soon);
    int own_call_at =
        own_call_soon < 0 ? -1 : is_overridden(loop, loop->st->str.call_at);
    int own_turn = own_call_at < 0 ? -1 : is_overridden(loop, loop->st->str._run_once);
    if (own_turn < 0) {
        return -1;
    }
    loop->has_own_turn = (uint8_t)own_turn;
    loop->has_own_time = (uint8_t)own_time;
    loop->is_plain = !own_call_soon && !own_call_at;
    return 0;
}

char *
lm_loop_scratch(LmLoop *loop)
{
    if (loop->scratch == NULL) {
        /* Pages are touched, and so cost memory, only as far as reads fill them. */
        loop->scratch = PyMem_RawMalloc(LM_SCRATCH_SIZE);
        if (loop->scratch == NULL) {
            PyErr_NoMemory();
        }
    }
    return loop->scratch;
}
