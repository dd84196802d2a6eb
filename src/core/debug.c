/* Debug mode: see debug.h. Relies on loopmod._support. */
#include "core/debug.h"

#include "base/held.h"

PyObject *
lm_debug_source_traceback(LmState *st, int is_whole)
{
    return lm_state_support(st, "source_traceback", "N", PyBool_FromLong(is_whole));
}

int
lm_debug_note_duration(LmLoop *loop, PyObject *obj, double seconds)
{
    PyObject *limit =
        PyObject_GetAttr((PyObject *)loop, loop->st->str.slow_callback_duration);
    double limit_s = limit ? PyFloat_AsDouble(limit) : -1.0;
    Py_XDECREF(limit);
    if (limit_s == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (seconds < limit_s) {
        return 0;
    }
    return lm_done(lm_state_support(loop->st, "log_slow", "Od", obj, seconds));
}

int
lm_debug_check_call(LmLoop *loop, PyObject *callback, const char *method,
                    int check_thread)
{
    if (check_thread && lm_loop_check_thread(loop) < 0) {
        return -1;
    }
    return lm_done(
        lm_state_support(loop->st, "check_callback", "Os", callback, method));
}
