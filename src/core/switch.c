/* Between two items: see switch.h. Relies on loopmod._support for the function that is
   called. */
#include "core/switch.h"

#include "base/clock.h"

/* A thread asks for the GIL when it has waited for an interval, and gets it at the next
   look: by the next quarter, or after the item that runs then. */
#define LOOKS_PER_INTERVAL 4

/* However long the interval: a signal handler does not wait longer. */
#define LONGEST_NS (10 * 1000000)

/* The interpreter's only thread state, or NULL where there are more, or more interpreters,
   which may share the GIL. */
static PyThreadState *
find_lone_thread(PyInterpreterState *interp)
{
    if (PyInterpreterState_Next(PyInterpreterState_Head()) != NULL) {
        return NULL;
    }
    PyThreadState *first = PyInterpreterState_ThreadHead(interp);
    return PyThreadState_Next(first) == NULL ? first : NULL;
}

void
lm_switch_begin(LmLoop *loop)
{
    loop->interp = PyInterpreterState_Get();
    loop->lone_thread = find_lone_thread(loop->interp);
}

/* Takes the reference to what the function returned: the interval in seconds, or NULL. */
static int
note_interval(LmLoop *loop, PyObject *interval)
{
    double seconds = interval != NULL ? PyFloat_AsDouble(interval) : -1.0;
    Py_XDECREF(interval);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    double every_ns = seconds * 1e9 / LOOKS_PER_INTERVAL;
    loop->switch_every_ns = every_ns < LONGEST_NS ? (int64_t)every_ns : LONGEST_NS;
    loop->switched_at_ns = lm_clock_ns();
    loop->lone_thread = find_lone_thread(loop->interp);
    return 0;
}

int
lm_switch_look(LmLoop *loop)
{
    if (lm_clock_ns() - loop->switched_at_ns < loop->switch_every_ns) {
        return 0;
    }
    lm_loop_leave_task(loop);
    return note_interval(loop, PyObject_CallNoArgs(loop->st->run_once));
}
