/* Making a connection, what the transport below tells it, and its end out of order: see
   tls.h. The Python type stands in protocol_type.c. */
#include "tls/tls.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "net/stream_write.h"

/* With more than this waiting, appending is cheaper than moving it. */
#define LARGEST_LENT (64 * 1024)

/* --- what the parts of a connection have in common */

int
lm_tls_cancel_timer(PyObject **timer)
{
    PyObject *handle = *timer;
    if (handle == NULL) {
        return 0;
    }
    *timer = NULL;
    PyObject *done = PyObject_CallMethod(handle, "cancel", NULL);
    Py_DECREF(handle);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

PyObject *
lm_tls_call_later(LmTls *p, PyObject *delay, PyMethodDef *def)
{
    PyObject *callback = PyCFunction_New(def, (PyObject *)p);
    PyObject *handle = callback != NULL
                           ? PyObject_CallMethod((PyObject *)p->loop, "call_later",
                                                 "OO", delay, callback)
                           : NULL;
    Py_XDECREF(callback);
    return handle;
}

int
lm_tls_call_soon(LmTls *p, PyObject *callback, PyObject *arg)
{
    PyObject *handle = PyObject_CallMethodObjArgs(
        (PyObject *)p->loop, p->st->str.call_soon, callback, arg, NULL);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

int
lm_tls_debug_log(LmTls *p, const char *text)
{
    if (!p->loop->is_debug) {
        return 0;
    }
    PyObject *done = lm_state_support(p->st, "log_debug", "Os", p, text);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static PyObject *
resume(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    int failed = 0;
    switch (p->state) {
    case LM_DO_HANDSHAKE:
        failed = lm_tls_do_handshake(p);
        break;
    case LM_WRAPPED:
        failed = lm_tls_do_read(p);
        break;
    case LM_FLUSHING:
        failed = lm_tls_do_flush(p);
        break;
    case LM_SHUTDOWN:
        failed = lm_tls_do_shutdown(p);
        break;
    default:
        break;
    }
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef resume_def = {"_resume", resume, METH_NOARGS, NULL};

int
lm_tls_resume_soon(LmTls *p)
{
    PyObject *callback = PyCFunction_New(&resume_def, (PyObject *)p);
    int failed = callback != NULL ? lm_tls_call_soon(p, callback, NULL) : -1;
    Py_XDECREF(callback);
    return failed;
}

int
lm_tls_wakeup_waiter(LmTls *p, PyObject *exc)
{
    PyObject *waiter = p->waiter;
    if (waiter == NULL) {
        return 0;
    }
    p->waiter = NULL;
    PyObject *done = NULL;
    PyObject *cancelled = PyObject_CallMethod(waiter, "cancelled", NULL);
    int is_cancelled = cancelled != NULL ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (is_cancelled > 0) {
        done = Py_NewRef(Py_None);
    }
    else if (is_cancelled == 0) {
        int is_fault = exc != NULL && exc != Py_None;
        done = PyObject_CallMethod(waiter, is_fault ? "set_exception" : "set_result",
                                   "O", is_fault ? exc : Py_None);
    }
    Py_DECREF(waiter);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* --- the end out of order */

int
lm_tls_force_close(LmTls *p, PyObject *exc)
{
    if (p->transport == NULL) {
        return 0;
    }
    if (p->is_direct) {
        PyObject *held = Py_NewRef(p->transport);
        int failed = lm_transport_force_close(held, exc);
        Py_DECREF(held);
        return failed;
    }
    PyObject *transport = Py_NewRef(p->transport);
    PyObject *done = PyObject_CallMethod(transport, "_force_close", "O", exc);
    Py_DECREF(transport);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int
lm_tls_abort(LmTls *p, PyObject *exc)
{
    p->state = LM_UNWRAPPED;
    return lm_tls_force_close(p, exc);
}

int
lm_tls_fatal(LmTls *p, PyObject *exc, const char *message)
{
    PyObject *transport = Py_XNewRef(p->transport);
    int failed = lm_tls_force_close(p, exc);
    if (failed == 0 && PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        if (p->loop->is_debug) {
            PyObject *done =
                lm_state_support(p->st, "log_transport_error", "OsO", p, message, exc);
            failed = done != NULL ? 0 : -1;
            Py_XDECREF(done);
        }
    }
    else if (failed == 0 && !PyErr_GivenExceptionMatches(exc, p->st->CancelledError)) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        failed = lm_fault_report((PyObject *)p->loop, p->st, message, "transport",
                                 transport != NULL ? transport : Py_None, "protocol",
                                 (PyObject *)p, NULL);
    }
    Py_XDECREF(transport);
    return failed;
}

int
lm_tls_guard(LmTls *p, int failed, const char *message)
{
    if (LM_LIKELY(failed == 0)) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    failed = lm_tls_fatal(p, exc, message);
    Py_DECREF(exc);
    return failed;
}

/* --- from below */

int
lm_tls_on_connection_made(LmTls *p, PyObject *transport)
{
    p->is_direct = Py_IS_TYPE(transport, lm_type(p->st->SocketTransportType));
    Py_XSETREF(p->transport, Py_NewRef(transport));
    return lm_tls_start_handshake(p);
}

static int
tell_app_of_loss(LmTls *p, PyObject *exc)
{
    if (p->state == LM_DO_HANDSHAKE || p->app_protocol == NULL ||
        (p->app_state != LM_APP_CON_MADE && p->app_state != LM_APP_EOF_SEEN)) {
        return 0;
    }
    p->app_state = LM_APP_CON_LOST;
    PyObject *lost = lm_held_attr(p->app_protocol, p->st->str.connection_lost);
    int failed = lost != NULL ? lm_tls_call_soon(p, lost, exc) : -1;
    Py_XDECREF(lost);
    return failed;
}

/* Both, whatever became of what was done before: an exception that is set stays. */
static int
cancel_timers(LmTls *p, int failed)
{
    PyObject **timers[] = {&p->shutdown_timer, &p->handshake_timer};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        PyObject *exc = PyErr_GetRaisedException();
        if (lm_tls_cancel_timer(timers[i]) < 0) {
            failed = -1;
        }
        lm_exc_put_back(exc);
    }
    return failed;
}

int
lm_tls_on_connection_lost(LmTls *p, PyObject *exc)
{
    if (!p->in_ssl) {
        lm_outbuf_clear(&p->backlog); /* else an operation is at it */
    }
    lm_rawbuf_clear(&p->out);
    p->dropped_writes++;
    if (p->app_transport != NULL) {
        lm_app_transport_mark_closed(p->app_transport);
    }
    int failed = tell_app_of_loss(p, exc);
    p->state = LM_UNWRAPPED;
    p->is_direct = 0;
    PyObject *dropped[] = {p->transport, p->app_transport, p->app_protocol,
                           p->get_buffer, p->buffer_updated};
    p->transport = p->app_transport = p->app_protocol = NULL;
    p->get_buffer = p->buffer_updated = NULL;
    if (failed == 0) {
        failed = lm_tls_wakeup_waiter(p, exc);
    }
    failed = cancel_timers(p, failed);
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        Py_XDECREF(dropped[i]);
    }
    return failed;
}

int
lm_tls_on_bytes(LmTls *p, const char *raw, size_t size)
{
    if (LM_LIKELY(p->state == LM_WRAPPED)) {
        return lm_tls_read_fresh(p, raw, size);
    }
    if (p->state == LM_UNWRAPPED && p->dropped_writes > 0) {
        return 0; /* lost */
    }
    if (lm_rawbuf_add(&p->in, raw, size) < 0) {
        return -1;
    }
    switch (p->state) {
    case LM_DO_HANDSHAKE:
        return lm_tls_do_handshake(p);
    case LM_FLUSHING:
        return lm_tls_do_flush(p);
    case LM_SHUTDOWN:
        return lm_tls_do_shutdown(p);
    default:
        return 0;
    }
}

static int
end_of_stream(LmTls *p)
{
    p->eof_received = 1;
    if (lm_tls_debug_log(p, "received EOF") < 0) {
        return -1;
    }
    switch (p->state) {
    case LM_DO_HANDSHAKE:
        return lm_tls_handshake_cut(p);
    case LM_WRAPPED:
        p->state = LM_FLUSHING;
        return p->app_reading_paused ? 1 : lm_tls_do_flush(p);
    case LM_FLUSHING:
        if (lm_tls_do_write(p, LM_ALL) < 0) {
            return -1;
        }
        p->state = LM_SHUTDOWN;
        return lm_tls_do_shutdown(p);
    case LM_SHUTDOWN:
        return lm_tls_do_shutdown(p);
    default:
        return 0;
    }
}

int
lm_tls_on_eof(LmTls *p)
{
    int keep_open = end_of_stream(p);
    if (keep_open >= 0 || !PyErr_ExceptionMatches(PyExc_Exception)) {
        return keep_open;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (p->transport != NULL) {
        PyObject *done = lm_held_call(p->transport, p->st->str.close);
        Py_XDECREF(done);
    }
    lm_exc_put_back(exc);
    return -1;
}

/* The loop's buffer; the beginning of a record that waits goes to its front. */
static char *
native_get_buffer(PyObject *protocol, size_t *room)
{
    LmTls *p = (LmTls *)protocol;
    char *received = lm_tls_engine_buffer(p->engine);
    p->lent = 0;
    if (received != NULL && p->in.size > 0 && p->in.size <= LARGEST_LENT &&
        p->state == LM_WRAPPED) {
        p->lent = p->in.size;
        memcpy(received, lm_rawbuf_data(&p->in), p->lent);
    }
    *room = LM_TLS_BUFFER_SIZE - p->lent;
    return received != NULL ? received + p->lent : NULL;
}

static int
native_received(PyObject *protocol, size_t count)
{
    LmTls *p = (LmTls *)protocol;
    if (p->lent > 0) {
        lm_rawbuf_clear(&p->in);
        count += p->lent;
    }
    return lm_tls_on_bytes(p, p->engine->received, count);
}

const LmNativeProtocol lm_tls_native = {native_get_buffer, native_received};
