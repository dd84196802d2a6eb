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
    if (LM_LIKELY(queued <= flow->high_water) || flow->is_paused || protocol == NULL) {
        return 0;
    }
    flow->is_paused = 1;
    return tell_protocol(loop, transport, protocol, loop->st->str.pause_writing,
                         "protocol.pause_writing() failed");
}

int
lm_flow_shrunk(LmFlow *flow, size_t queued, LmLoop *loop, PyObject *transport,
               PyObject *protocol)
{
    if (LM_LIKELY(!flow->is_paused) || queued > flow->low_water || protocol == NULL) {
        return 0;
    }
    flow->is_paused = 0;
    return tell_protocol(loop, transport, protocol, loop->st->str.resume_writing,
                         "protocol.resume_writing() failed");
}

static int
limit_of(PyObject *value, double *limit)
{
    *limit = PyFloat_AsDouble(value);
    return *limit == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* asyncio takes any number; the marks are compared with byte counts. */
static size_t
bytes_of(double limit)
{
    return limit >= (double)PY_SSIZE_T_MAX ? (size_t)PY_SSIZE_T_MAX : (size_t)limit;
}

int
lm_flow_parse_limits(PyObject *high, PyObject *low, size_t usual_high, size_t *high_out,
                     size_t *low_out)
{
    double high_mark = (double)usual_high, low_mark = 0;
    if (low != Py_None && limit_of(low, &low_mark) < 0) {
        return -1;
    }
    if (high == Py_None) {
        high_mark = low == Py_None ? (double)usual_high : 4 * low_mark;
    }
    else if (limit_of(high, &high_mark) < 0) {
        return -1;
    }
    if (low == Py_None) {
        low_mark = (double)((long long)high_mark / 4);
    }
    if (!(high_mark >= low_mark && low_mark >= 0)) {
        PyErr_Format(PyExc_ValueError, "high (%lld) must be >= low (%lld) must be >= 0",
                     (long long)high_mark, (long long)low_mark);
        return -1;
    }
    *high_out = bytes_of(high_mark);
    *low_out = bytes_of(low_mark);
    return 0;
}

int
lm_flow_set_limits(LmFlow *flow, PyObject *high, PyObject *low)
{
    return lm_flow_parse_limits(high, low, DEFAULT_HIGH_WATER, &flow->high_water,
                                &flow->low_water);
}
