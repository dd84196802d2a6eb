/* The transport below: see below.h. */
#include "tls/below.h"

#include "base/held.h"
#include "net/transport.h"
#include "tls/later.h"

void
lm_tls_below_set(LmTlsBelow *below, PyObject *self, PyObject *transport)
{
    PyObject *socket_transport = below->loop->st->SocketTransportType;
    below->is_ours = Py_IS_TYPE(transport, lm_type(socket_transport));
    Py_XDECREF(lm_shared_swap(self, &below->transport, Py_NewRef(transport)));
}

PyObject *
lm_tls_below_take(LmTlsBelow *below, PyObject *self)
{
    below->is_ours = 0;
    return lm_shared_swap(self, &below->transport, NULL);
}

/* transport.<method>(...), of at most two arguments. New reference; None where there is no
   transport. */
static PyObject *
call_below(const LmTlsBelow *below, const char *method, const char *format,
           PyObject *first, PyObject *second)
{
    if (below->transport == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *transport = Py_NewRef(below->transport);
    PyObject *result = PyObject_CallMethod(transport, method, format, first, second);
    Py_DECREF(transport);
    return result;
}

/* The same where the result does not matter. */
static int
tell_below(const LmTlsBelow *below, const char *method, const char *format,
           PyObject *argument)
{
    return lm_done(call_below(below, method, format, argument, NULL));
}

int
lm_tls_below_write(const LmTlsBelow *below, PyObject *bytes)
{
    if (LM_UNLIKELY(!below->is_ours)) {
        PyObject *name = below->loop->st->str.write;
        return below->transport != NULL
                   ? lm_done(lm_held_call_one(below->transport, name, bytes))
                   : 0;
    }
    PyObject *transport = Py_NewRef(below->transport);
    int failed = lm_transport(transport)->kind->write(transport, bytes);
    Py_DECREF(transport);
    return failed;
}

int
lm_tls_below_write_raw(const LmTlsBelow *below, const char *data, size_t size)
{
    if (below->is_ours) {
        PyObject *transport = Py_NewRef(below->transport);
        int failed = lm_transport(transport)->kind->write_raw(transport, data, size);
        Py_DECREF(transport);
        return failed;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    int failed = bytes != NULL ? lm_tls_below_write(below, bytes) : -1;
    Py_XDECREF(bytes);
    return failed;
}

int
lm_tls_below_pause_reading(LmTlsBelow *below, int is_paused)
{
    below->is_reading_paused = (uint8_t)is_paused;
    return tell_below(below, is_paused ? "pause_reading" : "resume_reading", NULL,
                      NULL);
}

int
lm_tls_below_close(const LmTlsBelow *below)
{
    return tell_below(below, "close", NULL, NULL);
}

int
lm_tls_below_close_soon(const LmTlsBelow *below)
{
    if (below->transport == NULL) {
        return 0;
    }
    PyObject *close = lm_held_attr(below->transport, below->loop->st->str.close);
    int failed = close != NULL ? lm_tls_call_soon(below->loop, close, NULL) : -1;
    Py_XDECREF(close);
    return failed;
}

int
lm_tls_below_force_close(const LmTlsBelow *below, PyObject *exc)
{
    if (!below->is_ours) {
        return tell_below(below, "_force_close", "(O)", exc);
    }
    PyObject *transport = Py_NewRef(below->transport);
    int failed = lm_transport_force_close(transport, exc);
    Py_DECREF(transport);
    return failed;
}

PyObject *
lm_tls_below_is_closing(const LmTlsBelow *below, PyObject *self)
{
    PyObject *transport = lm_shared_get(self, &below->transport);
    if (transport == NULL) {
        Py_RETURN_FALSE;
    }
    LmState *st = below->loop->st;
    PyObject *answer =
        Py_IS_TYPE(transport, lm_type(st->SocketTransportType))
            ? PyBool_FromLong(LM_LOAD(lm_transport(transport)->is_closing))
            : PyObject_CallMethod(transport, "is_closing", NULL);
    Py_DECREF(transport);
    return answer;
}
