/* Between two items: see switch.h. Relies on loopmod._support for the function that is
   called. */
#include "core/switch.h"

/* A thread asks for the GIL when it has waited for an interval, and gets it the next time:
   within another quarter, or after the item that runs then. */
#define TIMES_PER_INTERVAL 4

/* However long the interval, and where there is no other thread: signal handlers and
   pending calls do not wait longer. */
#define LONGEST_NS (10 * 1000000)

#if LM_FREE_THREADED
/* Nobody waits for a GIL, and where one was switched on every interval counts: the list of
   threads is not ours to read while they come and go. */
static void
note_threads(LmLoop *loop)
{
    loop->lone_thread = NULL;
    loop->switch_mask = LM_SWITCH_ITEMS - 1;
}
#else
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

static void
note_threads(LmLoop *loop)
{
    loop->lone_thread = find_lone_thread(loop->interp);
    loop->switch_mask = loop->lone_thread != NULL ? LM_SWITCH_MASK : 0;
}
#endif

void
lm_switch_begin(LmLoop *loop)
{
    note_threads(loop);
}

/* A look comes up to a tick late, and is to come within the second interval still: ticks
   are 1 to 4 ms apart with most kernels, and 10 ms with some. */
static void
note_clock(LmLoop *loop)
{
    int64_t tick_ns = lm_clock_tick_length_ns();
    loop->switch_by_ticks =
        tick_ns * 5 <= loop->switch_every_ns * TIMES_PER_INTERVAL * 4;
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
    double every_ns = seconds * 1e9 / TIMES_PER_INTERVAL;
    loop->switch_every_ns = every_ns < LONGEST_NS ? (int64_t)every_ns : LONGEST_NS;
    note_clock(loop);
    loop->switched_at_ns = lm_switch_now(loop);
    note_threads(loop);
    return 0;
}

int
lm_switch_look(LmLoop *loop, int64_t now_ns)
{
    int is_alone = lm_switch_is_alone(loop);
    int64_t passed_ns = now_ns - loop->switched_at_ns;
    if (passed_ns < (is_alone ? LONGEST_NS : loop->switch_every_ns)) {
        if (!LM_FREE_THREADED) {
            loop->switch_mask = is_alone ? LM_SWITCH_MASK : 0;
        }
        return 0;
    }
    lm_loop_leave_task(loop);
    return note_interval(loop, PyObject_CallNoArgs(loop->st->run_once));
}
