/* Checks of a loop, and what of it is asked from everywhere: see loop.h. */
#include "core/loop.h"

#include "base/sys.h"

int
lm_loop_run_next_postponed(LmLoop *loop)
{
    LmReadyItem item = lm_ring_pop(&loop->postponed);
    return item.fn(loop, item.obj);
}

int
lm_loop_run_postponed(LmLoop *loop)
{
    int failed = 0;
    while (failed == 0 && lm_ring_length(&loop->postponed) > 0) {
        failed = lm_loop_run_next_postponed(loop);
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
lm_loop_runs_elsewhere(const LmLoop *loop)
{
    unsigned long runner = LM_LOAD(loop->thread_id);
    return runner != 0 && runner != PyThread_get_thread_ident();
}

int
lm_loop_check_thread(LmLoop *loop)
{
    if (!lm_loop_runs_elsewhere(loop)) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "Non-thread-safe operation invoked on an event loop other than the "
                    "current one");
    return -1;
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
    int is_plain = lm_loop_is_ours(st, loop) && LM_LOAD(((LmLoop *)loop)->is_plain);
    return is_plain ? (LmLoop *)loop : NULL;
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
    int own_running = own_turn < 0 ? -1 : is_overridden(loop, loop->st->str.is_running);
    if (own_running < 0) {
        return -1;
    }
    loop->has_own_turn = (uint8_t)own_turn;
    loop->has_own_running = (uint8_t)own_running;
    LM_STORE(loop->has_own_time, (uint8_t)own_time);
    LM_STORE(loop->is_plain, !own_call_soon && !own_call_at);
    return 0;
}

char *
lm_loop_scratch(LmLoop *loop)
{
    if (loop->scratch == NULL) {
        lm_sys_keep_blocks(2 * LM_SCRATCH_SIZE); /* for who receives into new ones */
        /* Pages are touched, and so cost memory, only as far as reads fill them. */
        loop->scratch = PyMem_RawMalloc(LM_SCRATCH_SIZE);
        if (loop->scratch == NULL) {
            PyErr_NoMemory();
        }
    }
    return loop->scratch;
}
