/* The handshake: see tls.h. Everything that comes goes to OpenSSL as it is; what it has
   left unread at the end are records of data. */
#include "tls/tls.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "core/timers.h"

static PyObject *
check_timeout(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->state != LM_DO_HANDSHAKE) {
        Py_RETURN_NONE;
    }
    PyObject *text = PyUnicode_FromFormat("SSL handshake is taking longer than %S "
                                          "seconds: aborting the connection",
                                          p->handshake_timeout);
    PyObject *exc =
        text != NULL ? PyObject_CallOneArg(PyExc_ConnectionAbortedError, text) : NULL;
    int failed = exc != NULL ? lm_tls_fatal(p, exc, "Fatal error on transport") : -1;
    Py_XDECREF(text);
    Py_XDECREF(exc);
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef timeout_def = {"_check_handshake_timeout", check_timeout,
                                  METH_NOARGS, NULL};

int
lm_tls_start_handshake(LmTls *p)
{
    if (lm_tls_debug_log(p, "starts SSL handshake") < 0 ||
        lm_timers_now(p->loop, &p->handshake_started) < 0) {
        return -1;
    }
    if (p->state != LM_UNWRAPPED) {
        PyErr_SetString(PyExc_RuntimeError, "the handshake was started already");
        return -1;
    }
    p->state = LM_DO_HANDSHAKE;
    p->handshake_timer = lm_tls_call_later(p, p->handshake_timeout, &timeout_def);
    return p->handshake_timer != NULL ? lm_tls_do_handshake(p) : -1;
}

static int
fail(LmTls *p)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    const char *message = PyErr_ExceptionMatches(p->engine->CertificateError)
                              ? "SSL handshake failed on verifying the certificate"
                              : "SSL handshake failed";
    PyObject *exc = PyErr_GetRaisedException();
    p->state = LM_UNWRAPPED;
    int failed = lm_tls_fatal(p, exc, message);
    if (failed == 0) {
        failed = lm_tls_wakeup_waiter(p, exc);
    }
    Py_DECREF(exc);
    return failed;
}

/* extra[name] = sslobj.<method>() */
static int
note_extra(LmTls *p, const char *name, const char *method)
{
    PyObject *value = PyObject_CallMethod(p->sslobj, method, NULL);
    int failed = value == NULL ? -1 : PyDict_SetItemString(p->extra, name, value);
    Py_XDECREF(value);
    return failed;
}

static int
log_duration(LmTls *p)
{
    double now;
    if (!p->loop->is_debug) {
        return 0;
    }
    if (lm_timers_now(p->loop, &now) < 0) {
        return -1;
    }
    PyObject *done =
        lm_state_support(p->st, "log_handshake", "Od", p, now - p->handshake_started);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
tell_app(LmTls *p)
{
    if (p->app_state != LM_APP_INIT || p->app_protocol == NULL) {
        return 0;
    }
    p->app_state = LM_APP_CON_MADE;
    PyObject *done =
        lm_held_call_one(p->app_protocol, p->st->str.connection_made, p->app_transport);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* Takes the exception that is set as the handshake's failure. */
static int
on_handshake_failed(LmTls *p)
{
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_cancel_timer(&p->handshake_timer);
    if (failed < 0) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    return fail(p);
}

static int
on_handshake_complete(LmTls *p)
{
    if (lm_tls_cancel_timer(&p->handshake_timer) < 0) {
        return -1;
    }
    if (p->state != LM_DO_HANDSHAKE) {
        return 0; /* ended by the timer's cancel() */
    }
    p->state = LM_WRAPPED;
    if (note_extra(p, "peercert", "getpeercert") < 0) {
        return fail(p);
    }
    if (log_duration(p) < 0 || note_extra(p, "cipher", "cipher") < 0 ||
        note_extra(p, "compression", "compression") < 0 ||
        PyDict_SetItemString(p->extra, "ssl_object", p->sslobj) < 0 ||
        tell_app(p) < 0 || lm_tls_wakeup_waiter(p, NULL) < 0) {
        return -1;
    }
    return lm_tls_do_read(p);
}

/* Feeds what came and lets OpenSSL go on. 1 where the handshake is over, 0 where it
   waits, -1 with an exception set. */
static int
step(LmTls *p)
{
    int is_over = 0;
    if (p->in.size > 0) {
        int failed = lm_tls_engine_feed(p->engine, lm_rawbuf_data(&p->in), p->in.size);
        lm_rawbuf_clear(&p->in);
        if (failed < 0) {
            return -1;
        }
    }
    PyObject *done = PyObject_CallMethodNoArgs(p->sslobj, p->st->str.do_handshake);
    if (done != NULL) {
        Py_DECREF(done);
        is_over = 1;
    }
    else if (!lm_tls_engine_wants_more(p->engine)) {
        return -1;
    }
    return lm_tls_put_back_unread(p) < 0 ? -1 : is_over;
}

int
lm_tls_do_handshake(LmTls *p)
{
    LmTlsOuter outer;
    if (p->in_ssl) {
        return lm_tls_resume_soon(p);
    }
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int is_over = step(p);
    int failed = lm_tls_end(p, &outer, is_over < 0 ? -1 : 0);
    if (p->state != LM_DO_HANDSHAKE) {
        if (failed < 0 && PyErr_ExceptionMatches(p->engine->SSLError)) {
            PyErr_Clear(); /* one of OpenSSL's callbacks has ended the connection */
            failed = 0;
        }
        return failed;
    }
    if (failed < 0) {
        return PyErr_ExceptionMatches(p->engine->SSLError) ? on_handshake_failed(p)
                                                           : -1;
    }
    return is_over ? on_handshake_complete(p) : lm_tls_process_outgoing(p);
}

int
lm_tls_handshake_cut(LmTls *p)
{
    PyErr_SetNone(PyExc_ConnectionResetError);
    return on_handshake_failed(p);
}
