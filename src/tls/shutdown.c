/* The end of a connection, in order: see tls.h. */
#include "tls/tls.h"

#include "base/held.h"
#include "base/oserr.h"

static PyObject *
check_timeout(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->state != LM_FLUSHING && p->state != LM_SHUTDOWN) {
        Py_RETURN_NONE;
    }
    PyObject *exc =
        PyObject_CallFunction(PyExc_TimeoutError, "s", "SSL shutdown timed out");
    int failed = exc != NULL ? lm_tls_force_close(p, exc) : -1;
    Py_XDECREF(exc);
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef timeout_def = {"_check_shutdown_timeout", check_timeout, METH_NOARGS,
                                  NULL};

static int
start_timer(LmTls *p)
{
    if (p->shutdown_timer != NULL) {
        return 0;
    }
    PyObject *timer = lm_tls_call_later(p, p->shutdown_timeout, &timeout_def);
    if (timer == NULL) {
        return -1;
    }
    Py_XSETREF(p->shutdown_timer, timer);
    return 0;
}

int
lm_tls_start_shutdown(LmTls *p)
{
    if (p->state != LM_WRAPPED && p->state != LM_DO_HANDSHAKE) {
        return 0;
    }
    if (p->app_transport != NULL) {
        lm_app_transport_mark_closed(p->app_transport);
    }
    if (p->state == LM_DO_HANDSHAKE) {
        return lm_tls_abort(p, Py_None);
    }
    p->state = LM_FLUSHING;
    return start_timer(p) < 0 ? -1 : lm_tls_do_flush(p);
}

int
lm_tls_do_flush(LmTls *p)
{
    if (p->in_ssl) {
        return lm_tls_resume_soon(p);
    }
    if (lm_tls_do_read(p) < 0) {
        return -1;
    }
    if (p->state != LM_FLUSHING) {
        return 0;
    }
    int failed = lm_outbuf_is_empty(&p->backlog) ? 0 : lm_tls_do_write(p, LM_ALL);
    if (lm_tls_guard(p, failed, "Fatal error on SSL protocol") < 0) {
        return -1;
    }
    if (p->state != LM_FLUSHING) {
        return 0;
    }
    p->state = LM_SHUTDOWN;
    return lm_tls_do_shutdown(p);
}

static int
close_soon(LmTls *p)
{
    if (p->transport == NULL) {
        return 0;
    }
    PyObject *close = lm_held_attr(p->transport, p->st->str.close);
    int failed = close != NULL ? lm_tls_call_soon(p, close, NULL) : -1;
    Py_XDECREF(close);
    return failed;
}

/* The two close_notify are exchanged. The transport below sends what it has queued before
   it closes, which a peer that does not read can delay for ever: the timer goes on. */
static int
on_shutdown_complete(LmTls *p)
{
    return start_timer(p) < 0 ? -1 : close_soon(p);
}

static int
on_shutdown_failed(LmTls *p)
{
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_cancel_timer(&p->shutdown_timer);
    if (failed == 0) {
        failed = lm_tls_fatal(p, exc, "Fatal error on transport");
    }
    Py_DECREF(exc);
    return failed;
}

/* Feeds what came and lets OpenSSL go on. 1 where the peer's close_notify has come, 0
   where it is waited for, -1 with an exception set. */
static int
step(LmTls *p)
{
    if (p->in.size > 0) {
        int failed = lm_tls_engine_feed(p->engine, lm_rawbuf_data(&p->in), p->in.size);
        lm_rawbuf_clear(&p->in);
        if (failed < 0) {
            return -1;
        }
    }
    PyObject *done = PyObject_CallMethodNoArgs(p->sslobj, p->st->str.unwrap);
    if (done == NULL) {
        return lm_tls_engine_wants_more(p->engine) ? 0 : -1;
    }
    Py_DECREF(done);
    PyObject *unread = lm_tls_engine_take_unread(p->engine);
    Py_XDECREF(unread);
    return unread != NULL ? 1 : -1;
}

/* The same as an operation. */
static int
unwrap(LmTls *p)
{
    LmTlsOuter outer;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int is_over = step(p);
    return lm_tls_end(p, &outer, is_over < 0 ? -1 : 0) < 0 ? -1 : is_over;
}

int
lm_tls_do_shutdown(LmTls *p)
{
    if (p->in_ssl) {
        return lm_tls_resume_soon(p);
    }
    int is_over = p->eof_received ? 1 : unwrap(p);
    if (is_over < 0) {
        return PyErr_ExceptionMatches(p->engine->SSLError) ? on_shutdown_failed(p) : -1;
    }
    if (lm_tls_process_outgoing(p) < 0) {
        return -1;
    }
    if (!is_over) {
        return 0;
    }
    return lm_tls_call_eof_received(p) < 0 ? -1 : on_shutdown_complete(p);
}

int
lm_tls_call_eof_received(LmTls *p)
{
    if (p->app_state != LM_APP_CON_MADE || p->app_protocol == NULL) {
        return 0;
    }
    p->app_state = LM_APP_EOF_SEEN;
    PyObject *app = Py_NewRef(p->app_protocol);
    PyObject *answer = PyObject_CallMethodNoArgs(app, p->st->str.eof_received);
    Py_DECREF(app);
    int keep_open = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (keep_open > 0) {
        PyObject *done = lm_state_support(p->st, "log_eof_ignored", "");
        keep_open = done != NULL ? 0 : -1;
        Py_XDECREF(done);
    }
    if (keep_open == 0) {
        return 0;
    }
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_fatal(p, exc, "Error calling eof_received()");
    Py_DECREF(exc);
    return failed;
}
