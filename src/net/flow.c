/* Write flow control: see flow.h. Runs the protocol's methods. */
#include "net/flow.h"

#include "core/fault.h"

#define DEFAULT_HIGH_WATER (64 * 1024)

static int
tell_protocol(LmLoop *loop, PyObject *transport, PyObject *protocol, PyObject *method,
              const char *fault)
{
    /* The protocol may close the transport. */
    Py_INCREF(loop);
    Py_INCREF(protocol);
    PyObject *done = PyObject_CallMethodNoArgs(protocol, method);
    int failed = 0;
    if (done == NULL) {
        failed = lm_fault_report((PyObject *)loop, loop->st, fault, "transport",
                                 transport, "protocol", protocol, NULL);
    }
    Py_XDECREF(done);
    Py_DECREF(protocol);
    Py_DECREF(loop);
    return failed;
}

int
lm_flow_grown(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
              PyObject *protocol)
{
    if (LM_LIKELY(queued <= flow->marks.high) || flow->is_paused || protocol == NULL) {
        return 0;
    }
    LM_STORE(flow->is_paused, 1);
    return tell_protocol(loop, transport, protocol, loop->st->str.pause_writing,
                         "protocol.pause_writing() failed");
}

int
lm_flow_shrunk(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
               PyObject *protocol)
{
    if (LM_LIKELY(!flow->is_paused) || queued > flow->marks.low || protocol == NULL) {
        return 0;
    }
    LM_STORE(flow->is_paused, 0);
    return tell_protocol(loop, transport, protocol, loop->st->str.resume_writing,
                         "protocol.resume_writing() failed");
}

void
lm_marks_init(LmMarks *marks, size_t high)
{
    marks->high = high;
    marks->low = high / 4;
    marks->given = NULL;
}

/* A number that is at least 0 as a count of bytes, the largest for what is beyond. -1 with
   an exception set. */
static int
bytes_of(PyObject *number, int rounds_up, size_t *bytes)
{
    PyObject *whole = PyNumber_Long(number);
    int is_beyond = whole == NULL && PyErr_ExceptionMatches(PyExc_OverflowError);
    if (is_beyond) {
        PyErr_Clear(); /* infinite */
        *bytes = (size_t)PY_SSIZE_T_MAX;
        return 0;
    }
    int has_more =
        whole != NULL && rounds_up ? PyObject_RichCompareBool(number, whole, Py_GT) : 0;
    if (whole == NULL || has_more < 0) {
        Py_XDECREF(whole);
        return -1;
    }
    Py_ssize_t value = PyNumber_AsSsize_t(whole, NULL); /* clipped */
    Py_DECREF(whole);
    *bytes = (size_t)value + (size_t)has_more;
    return 0;
}

/* Fills in what was not given, as asyncio does; both are references of the caller's. -1
   with an exception set. */
static int
complete(PyObject **high, PyObject **low, size_t usual_high)
{
    PyObject *four = PyLong_FromLong(4);
    if (four != NULL && *high == Py_None) {
        Py_SETREF(*high, *low == Py_None ? PyLong_FromSize_t(usual_high)
                                         : PyNumber_Multiply(four, *low));
    }
    if (four != NULL && *high != NULL && *low == Py_None) {
        Py_SETREF(*low, PyNumber_FloorDivide(*high, four));
    }
    Py_XDECREF(four);
    return four == NULL || *high == NULL || *low == NULL ? -1 : 0;
}

/* -1 with ValueError set unless high >= low >= 0. */
static int
check_order(PyObject *high, PyObject *low)
{
    PyObject *zero = PyLong_FromLong(0);
    int is_right = zero != NULL ? PyObject_RichCompareBool(high, low, Py_GE) : -1;
    if (is_right > 0) {
        is_right = PyObject_RichCompareBool(low, zero, Py_GE);
    }
    Py_XDECREF(zero);
    if (is_right == 0) {
        PyErr_Format(PyExc_ValueError, "high (%R) must be >= low (%R) must be >= 0",
                     high, low);
    }
    return is_right > 0 ? 0 : -1;
}

static int
is_usual_int(PyObject *number, size_t bytes)
{
    return PyLong_CheckExact(number) && bytes < (size_t)PY_SSIZE_T_MAX;
}

static int
set_complete(LmMarks *marks, PyObject *high, PyObject *low, int rounds_up)
{
    LmMarks set = {0, 0, NULL};
    if (check_order(high, low) < 0 || bytes_of(high, rounds_up, &set.high) < 0 ||
        bytes_of(low, 0, &set.low) < 0) {
        return -1;
    }
    if (!is_usual_int(high, set.high) || !is_usual_int(low, set.low)) {
        set.given = PyTuple_Pack(2, low, high);
        if (set.given == NULL) {
            return -1;
        }
    }
    PyObject *old = marks->given;
    *marks = set;
    Py_XDECREF(old);
    return 0;
}

int
lm_marks_set(LmMarks *marks, PyObject *high, PyObject *low, size_t usual_high,
             int rounds_up)
{
    Py_INCREF(high);
    Py_INCREF(low);
    int failed = complete(&high, &low, usual_high);
    if (failed == 0) {
        failed = set_complete(marks, high, low, rounds_up);
    }
    Py_XDECREF(high);
    Py_XDECREF(low);
    return failed;
}

PyObject *
lm_marks_low(const LmMarks *marks)
{
    return marks->given != NULL ? Py_NewRef(PyTuple_GET_ITEM(marks->given, 0))
                                : PyLong_FromSize_t(marks->low);
}

PyObject *
lm_marks_high(const LmMarks *marks)
{
    return marks->given != NULL ? Py_NewRef(PyTuple_GET_ITEM(marks->given, 1))
                                : PyLong_FromSize_t(marks->high);
}

PyObject *
lm_marks_show(const LmMarks *marks)
{
    return marks->given != NULL
               ? Py_NewRef(marks->given)
               : Py_BuildValue("(nn)", (Py_ssize_t)marks->low, (Py_ssize_t)marks->high);
}

PyObject *
lm_marks_see(PyObject *owner LM_UNUSED, const LmMarks *marks)
{
    PyObject *shown;
    LM_BEGIN_SECTION(owner)
    shown = lm_marks_show(marks);
    LM_END_SECTION
    return shown;
}

void
lm_flow_init(LmFlow *flow)
{
    lm_marks_init(&flow->marks, DEFAULT_HIGH_WATER);
}

int
lm_flow_set_limits(LmFlow *flow, PyObject *high, PyObject *low)
{
    return lm_marks_set(&flow->marks, high, low, DEFAULT_HIGH_WATER, 0);
}
