/* A connection's end out of order, and what is said of it: see tls.h. */
#include "tls/tls.h"

#include "base/held.h"
#include "base/type_help.h"
#include "core/fault.h"

int
lm_tls_debug_log(LmTls *p, const char *text)
{
    return LM_LOAD(p->loop->is_debug)
               ? lm_done(lm_state_support(p->st, "log_debug", "Os", p, text))
               : 0;
}

int
lm_tls_abort(LmTls *p, PyObject *exc)
{
    p->state = LM_UNWRAPPED;
    return lm_tls_below_force_close(&p->below, exc);
}

/* As asyncio: what the network does is no news, but in debug mode; what was cancelled never
   is. */
static int
report_fatal(LmTls *p, PyObject *exc, const char *message, PyObject *transport)
{
    if (PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        if (!LM_LOAD(p->loop->is_debug)) {
            return 0;
        }
        return lm_done(
            lm_state_support(p->st, "log_transport_error", "OsO", p, message, exc));
    }
    if (PyErr_GivenExceptionMatches(exc, p->st->CancelledError)) {
        return 0;
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    return lm_fault_report((PyObject *)p->loop, p->st, message, "transport", transport,
                           "protocol", (PyObject *)p, NULL);
}

int
lm_tls_fatal(LmTls *p, PyObject *exc, const char *message)
{
    PyObject *transport = lm_none_or(p->below.transport); /* closed by the next line */
    int failed = lm_tls_below_force_close(&p->below, exc);
    if (failed == 0) {
        failed = report_fatal(p, exc, message, transport);
    }
    Py_DECREF(transport);
    return failed;
}

int
lm_tls_guard(LmTls *p, int failed)
{
    if (LM_LIKELY(failed == 0)) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    failed = lm_tls_fatal(p, exc, "Fatal error on SSL protocol");
    Py_DECREF(exc);
    return failed;
}
