/* What the application's protocol is told, each method at most as often and in the order
   that asyncio has: see tls.h. It is held over each call, since any may end the connection
   or put another protocol in its place. */
#include "tls/tls.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/fault.h"
#include "net/stream_feed.h"

int
lm_tls_app_set_protocol(LmTls *p, PyObject *protocol)
{
    PyObject *get_buffer = NULL, *buffer_updated = NULL;
    int is_buffered = PyObject_IsInstance(protocol, p->st->asyncio_BufferedProtocol);
    if (is_buffered > 0) {
        get_buffer = PyObject_GetAttr(protocol, p->st->str.get_buffer);
        buffer_updated = get_buffer != NULL
                             ? PyObject_GetAttr(protocol, p->st->str.buffer_updated)
                             : NULL;
        is_buffered = buffer_updated != NULL ? 1 : -1;
    }
    if (is_buffered < 0) {
        Py_XDECREF(get_buffer);
        return -1;
    }
    /* Whole before the end of what was there, which may write or read. */
    PyObject *old[] = {
        p->app.get_buffer, p->app.buffer_updated,
        lm_shared_swap((PyObject *)p, &p->app.protocol, Py_NewRef(protocol))};
    p->app.get_buffer = get_buffer;
    p->app.buffer_updated = buffer_updated;
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
        Py_XDECREF(old[i]);
    }
    return 0;
}

int
lm_tls_app_made(LmTls *p)
{
    if (p->app.state != LM_APP_INIT || p->app.protocol == NULL) {
        return 0;
    }
    p->app.state = LM_APP_CON_MADE;
    return lm_done(lm_held_call_one(p->app.protocol, p->st->str.connection_made,
                                    p->app.transport));
}

int
lm_tls_app_data(LmTls *p, PyObject *data)
{
    if (p->app.protocol == NULL) {
        return 0;
    }
    PyObject *protocol = Py_NewRef(p->app.protocol);
    int failed = lm_feed_protocol_bytes(p->st, protocol, data);
    Py_DECREF(protocol);
    return failed;
}

int
lm_tls_app_lend_buffer(LmTls *p, Py_buffer *view)
{
    PyObject *hint = PyLong_FromSize_t(p->in.raw.size);
    PyObject *get_buffer = Py_NewRef(p->app.get_buffer);
    PyObject *buffer = hint != NULL ? PyObject_CallOneArg(get_buffer, hint) : NULL;
    Py_DECREF(get_buffer);
    Py_XDECREF(hint);
    int failed = buffer != NULL ? PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE) : -1;
    Py_XDECREF(buffer);
    return failed;
}

/* What eof_received() raises is fatal, unless it has to leave the loop. */
static int
report_eof_failure(LmTls *p)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_fatal(p, exc, "Error calling eof_received()");
    Py_DECREF(exc);
    return failed;
}

int
lm_tls_app_eof(LmTls *p)
{
    if (p->app.state != LM_APP_CON_MADE || p->app.protocol == NULL) {
        return 0;
    }
    p->app.state = LM_APP_EOF_SEEN;
    PyObject *answer = lm_held_call(p->app.protocol, p->st->str.eof_received);
    int keep_open = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (keep_open > 0) {
        keep_open = lm_done(lm_state_support(p->st, "log_eof_ignored", ""));
    }
    return keep_open == 0 ? 0 : report_eof_failure(p);
}

int
lm_tls_app_lost(LmTls *p, PyObject *exc)
{
    if (p->state == LM_DO_HANDSHAKE || p->app.protocol == NULL ||
        (p->app.state != LM_APP_CON_MADE && p->app.state != LM_APP_EOF_SEEN)) {
        return 0;
    }
    p->app.state = LM_APP_CON_LOST;
    PyObject *lost = lm_held_attr(p->app.protocol, p->st->str.connection_lost);
    int failed = lost != NULL ? lm_tls_call_soon(p->loop, lost, exc) : -1;
    Py_XDECREF(lost);
    return failed;
}

static int
tell_of_flow(LmTls *p, PyObject *method, const char *fault)
{
    PyObject *loop = Py_NewRef(p->loop);
    int failed = lm_done(lm_held_call(p->app.protocol, method));
    if (failed < 0) {
        failed = lm_fault_report(loop, p->st, fault, "transport", p->app.transport,
                                 "protocol", (PyObject *)p, NULL);
    }
    Py_DECREF(loop);
    return failed;
}

int
lm_tls_app_control_writing(LmTls *p)
{
    size_t size = lm_tls_unsent(p);
    if (p->app.protocol == NULL) {
        return 0;
    }
    if (size >= p->out.marks.high && !p->app.is_writing_paused) {
        LM_STORE(p->app.is_writing_paused, 1);
        return tell_of_flow(p, p->st->str.pause_writing,
                            "protocol.pause_writing() failed");
    }
    if (size <= p->out.marks.low && p->app.is_writing_paused) {
        LM_STORE(p->app.is_writing_paused, 0);
        return tell_of_flow(p, p->st->str.resume_writing,
                            "protocol.resume_writing() failed");
    }
    return 0;
}
