/* The handshake: see phase.h. Everything that comes goes to OpenSSL as it is; what it has
   left unread at the end are records of data. */
#include "tls/phase.h"

#include "base/held.h"
#include "base/type_help.h"
#include "core/owner.h"
#include "core/timers.h"

static PyObject *
check_handshake_timeout(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->state != LM_DO_HANDSHAKE) {
        Py_RETURN_NONE;
    }
    PyObject *text = PyUnicode_FromFormat(
        "SSL handshake is taking longer than %S seconds: aborting the connection",
        p->handshake.delay);
    PyObject *exc =
        text != NULL ? PyObject_CallOneArg(PyExc_ConnectionAbortedError, text) : NULL;
    int failed = exc != NULL ? lm_tls_fatal(p, exc, "Fatal error on transport") : -1;
    Py_XDECREF(text);
    Py_XDECREF(exc);
    return lm_none_if(failed);
}

LM_OWNED_METHOD(check_handshake_timeout, lm_tls_owner)

static PyMethodDef handshake_timeout_def = {
    "_check_handshake_timeout", LM_OWNED(check_handshake_timeout), METH_NOARGS, NULL};

int
lm_tls_begin_handshake(LmTls *p)
{
    if (lm_tls_debug_log(p, "starts SSL handshake") < 0 ||
        lm_timers_now(p->loop, &p->handshake_began) < 0) {
        return -1;
    }
    if (p->state != LM_UNWRAPPED) {
        PyErr_SetString(PyExc_RuntimeError, "the handshake was started already");
        return -1;
    }
    p->state = LM_DO_HANDSHAKE;
    return lm_tls_timer_start(&p->handshake, p->loop, &handshake_timeout_def,
                              (PyObject *)p);
}

/* LM_NEXT_NOTHING, or -1. */
static int
fail_handshake(LmTls *p)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    const char *message = PyErr_ExceptionMatches(p->session.engine->CertificateError)
                              ? "SSL handshake failed on verifying the certificate"
                              : "SSL handshake failed";
    PyObject *exc = PyErr_GetRaisedException();
    p->state = LM_UNWRAPPED;
    int failed = lm_tls_fatal(p, exc, message);
    if (failed == 0) {
        failed = lm_tls_wake(&p->waiter, exc);
    }
    Py_DECREF(exc);
    return failed;
}

/* extra[name] = object.<method>() */
static int
note_extra(LmTls *p, const char *name, const char *method)
{
    PyObject *value = PyObject_CallMethod(p->session.object, method, NULL);
    int failed = value == NULL ? -1 : PyDict_SetItemString(p->extra, name, value);
    Py_XDECREF(value);
    return failed;
}

static int
log_duration(LmTls *p)
{
    double now;
    if (!LM_LOAD(p->loop->is_debug)) {
        return 0;
    }
    if (lm_timers_now(p->loop, &now) < 0) {
        return -1;
    }
    return lm_done(
        lm_state_support(p->st, "log_handshake", "Od", p, now - p->handshake_began));
}

/* Takes the exception that is set as the handshake's failure. */
static int
on_handshake_failed(LmTls *p)
{
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_timer_cancel(&p->handshake);
    if (failed < 0) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    return fail_handshake(p);
}

static int
on_handshake_complete(LmTls *p)
{
    if (lm_tls_timer_cancel(&p->handshake) < 0) {
        return -1;
    }
    if (p->state != LM_DO_HANDSHAKE) {
        return LM_NEXT_NOTHING; /* ended by the timer's cancel() */
    }
    p->state = LM_WRAPPED;
    if (note_extra(p, "peercert", "getpeercert") < 0) {
        return fail_handshake(p);
    }
    if (log_duration(p) < 0 || note_extra(p, "cipher", "cipher") < 0 ||
        note_extra(p, "compression", "compression") < 0 ||
        PyDict_SetItemString(p->extra, "ssl_object", p->session.object) < 0 ||
        lm_tls_app_made(p) < 0 || lm_tls_wake(&p->waiter, NULL) < 0) {
        return -1;
    }
    return LM_NEXT_PHASE;
}

/* Feeds what came and lets OpenSSL go on. 1 where the handshake is over, 0 where it
   waits, -1 with an exception set. */
static int
step_handshake(LmTls *p)
{
    if (lm_tls_feed_all(p) < 0) {
        return -1;
    }
    PyObject *done =
        PyObject_CallMethodNoArgs(p->session.object, p->st->str.do_handshake);
    int is_over = lm_done(done) == 0;
    if (!is_over && !lm_tls_engine_wants_more(p->session.engine)) {
        return -1;
    }
    return lm_tls_put_back_unread(p) < 0 ? -1 : is_over;
}

int
lm_tls_do_handshake(LmTls *p)
{
    LmTlsOuter outer;
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int is_over = step_handshake(p);
    int failed = lm_tls_end(p, &outer, is_over < 0 ? -1 : 0);
    int is_tls_error =
        failed < 0 && PyErr_ExceptionMatches(p->session.engine->SSLError);
    if (p->state != LM_DO_HANDSHAKE) {
        if (is_tls_error) {
            PyErr_Clear(); /* one of OpenSSL's callbacks has ended the connection */
        }
        return failed < 0 && !is_tls_error ? -1 : LM_NEXT_NOTHING;
    }
    if (failed < 0) {
        return is_tls_error ? on_handshake_failed(p) : -1;
    }
    return is_over ? on_handshake_complete(p) : LM_NEXT_PEER;
}

int
lm_tls_handshake_cut(LmTls *p)
{
    PyErr_SetNone(PyExc_ConnectionResetError);
    return on_handshake_failed(p);
}
