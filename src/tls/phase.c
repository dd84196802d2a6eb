/* The centre of a connection: what happens next, by the state. See phase.h; the states are
   in tls.h.

   Whatever happens comes in here: raw bytes, the end of the stream, room below, the
   application's close(), the turn that something was put off to. A connection that is
   within an operation (session.is_busy: one of OpenSSL's callbacks has led back here) goes
   on in the next turn. */
#include "tls/phase.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/owner.h"

static int
is_readable(const LmTls *p)
{
    return (p->state == LM_WRAPPED || p->state == LM_FLUSHING) &&
           !p->app.is_reading_paused && !p->session.is_busy;
}

static int
on_close_notify(LmTls *p)
{
    return lm_tls_app_eof(p) < 0 ? -1 : lm_tls_start_shutdown(p);
}

/* One round with its delivery. */
static int
read_and_deliver(LmTls *p, const char *raw, size_t size, int is_fresh)
{
    LmTlsPlain plain = {NULL, 0, 0};
    int failed = lm_tls_decrypt(p, raw, size, is_fresh, &plain);
    if (plain.data != NULL) {
        failed = lm_tls_app_data(p, plain.data);
        Py_DECREF(plain.data);
    }
    return failed == 0 && plain.is_end ? on_close_notify(p) : failed;
}

/* To a plain protocol. */
static int
read_copied(LmTls *p)
{
    int failed = 0;
    while (failed == 0 && is_readable(p) && p->app.get_buffer == NULL &&
           lm_tls_has_input(p)) {
        failed = read_and_deliver(p, lm_rawbuf_data(&p->in.raw), p->in.raw.size, 0);
    }
    if (failed == 0 && is_readable(p) && p->app.get_buffer != NULL &&
        lm_tls_has_input(p)) {
        failed = lm_tls_resume_soon(p); /* switched to a BufferedProtocol */
    }
    return failed;
}

static int
tell_buffer_filled(PyObject *buffer_updated, size_t count)
{
    PyObject *received = PyLong_FromSize_t(count);
    int failed =
        received != NULL ? lm_done(PyObject_CallOneArg(buffer_updated, received)) : -1;
    Py_XDECREF(received);
    return failed;
}

/* To a BufferedProtocol. */
static int
read_buffered(LmTls *p)
{
    Py_buffer view;
    LmTlsPlain plain = {NULL, 0, 0};
    PyObject *buffer_updated = Py_NewRef(p->app.buffer_updated);
    if (lm_tls_app_lend_buffer(p, &view) < 0) {
        Py_DECREF(buffer_updated);
        return -1;
    }
    /* get_buffer() may have paused or closed: then nothing is read. */
    int failed =
        is_readable(p) ? lm_tls_decrypt_into(p, view.buf, (size_t)view.len, &plain) : 0;
    int is_full = plain.filled == (size_t)view.len;
    PyBuffer_Release(&view);
    if (failed == 0 && plain.filled > 0) {
        /* As asyncio: there may be more, and the turn for it is asked for before the
           application schedules anything. */
        failed = is_full ? lm_tls_resume_soon(p) : 0;
        if (failed == 0) {
            failed = tell_buffer_filled(buffer_updated, plain.filled);
        }
    }
    Py_DECREF(buffer_updated);
    return failed == 0 && plain.is_end ? on_close_notify(p) : failed;
}

/* After reading: what was written meanwhile goes out, and what OpenSSL answers. */
static int
answer(LmTls *p)
{
    int may_write = !lm_outbuf_is_empty(&p->out.backlog) && p->state != LM_UNWRAPPED;
    int failed =
        may_write ? lm_tls_do_write(p, LM_UNTIL_FULL) : lm_tls_process_outgoing(p);
    return failed < 0 ? -1 : lm_tls_control_input(p);
}

static int
read_and_answer(LmTls *p)
{
    if (p->app.is_reading_paused) {
        return lm_tls_control_input(p);
    }
    int failed = p->app.get_buffer != NULL ? read_buffered(p) : read_copied(p);
    return failed < 0 ? -1 : answer(p);
}

static int
go_on_reading(LmTls *p)
{
    if (p->state != LM_WRAPPED && p->state != LM_FLUSHING) {
        return 0;
    }
    if (p->session.is_busy) {
        return lm_tls_resume_soon(p);
    }
    return lm_tls_guard(p, read_and_answer(p));
}

/* Bytes that have just come are copied only as far as they are kept. */
static int
read_fresh(LmTls *p, const char *raw, size_t size)
{
    if (LM_UNLIKELY(!is_readable(p) || p->app.get_buffer != NULL ||
                    p->in.raw.size > 0)) {
        return lm_rawbuf_add(&p->in.raw, raw, size) < 0 ? -1 : go_on_reading(p);
    }
    int failed = read_and_deliver(p, raw, size, 1);
    if (failed == 0 && p->in.raw.size > 0) {
        failed = read_copied(p); /* where not all fitted into one round */
    }
    return lm_tls_guard(p, failed < 0 ? -1 : answer(p));
}

/* What OpenSSL wrote in a phase goes out, unless the connection has ended. */
static int
send_answer(LmTls *p, int next)
{
    return next <= LM_NEXT_NOTHING || lm_tls_process_outgoing(p) == 0 ? next : -1;
}

static int
go_on_with_handshake(LmTls *p)
{
    int next = lm_tls_do_handshake(p);
    if (next == LM_NEXT_PHASE) {
        return go_on_reading(p); /* which sends too */
    }
    return send_answer(p, next) < 0 ? -1 : 0;
}

static int
go_on_with_shutdown(LmTls *p)
{
    int next = send_answer(p, lm_tls_do_shutdown(p));
    if (next == LM_NEXT_PHASE) {
        return lm_tls_finish_shutdown(p);
    }
    return next < 0 ? -1 : 0;
}

/* The last of what has come is delivered, the last of what was written encrypted. A
   BufferedProtocol takes a buffer a turn, and anyone may pause: after the peer's end the
   rest is waited for, since nothing will come that could bring us back. */
static int
flush_tls(LmTls *p)
{
    if (go_on_reading(p) < 0) {
        return -1;
    }
    if (p->state != LM_FLUSHING || (p->in.is_at_end && lm_tls_has_input(p))) {
        return 0;
    }
    int failed = lm_outbuf_is_empty(&p->out.backlog) ? 0 : lm_tls_do_write(p, LM_ALL);
    if (lm_tls_guard(p, failed) < 0) {
        return -1;
    }
    if (p->state != LM_FLUSHING) {
        return 0;
    }
    p->state = LM_SHUTDOWN;
    return go_on_with_shutdown(p);
}

/* Whatever the state has to do next: what each phase needs has come, or may have. */
static int
go_on(LmTls *p)
{
    if (p->session.is_busy && p->state != LM_UNWRAPPED) {
        return lm_tls_resume_soon(p);
    }
    switch (p->state) {
    case LM_DO_HANDSHAKE:
        return go_on_with_handshake(p);
    case LM_WRAPPED:
        return go_on_reading(p);
    case LM_FLUSHING:
        return flush_tls(p);
    case LM_SHUTDOWN:
        return go_on_with_shutdown(p);
    default:
        return 0;
    }
}

static PyObject *
go_on_later(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(go_on((LmTls *)self));
}

LM_OWNED_METHOD(go_on_later, lm_tls_owner)

static PyMethodDef go_on_def = {"_resume", LM_OWNED(go_on_later), METH_NOARGS, NULL};

int
lm_tls_resume_soon(LmTls *p)
{
    PyObject *callback = PyCFunction_New(&go_on_def, (PyObject *)p);
    int failed = callback != NULL ? lm_tls_call_soon(p->loop, callback, NULL) : -1;
    Py_XDECREF(callback);
    return failed;
}

int
lm_tls_start_handshake(LmTls *p, PyObject *transport)
{
    lm_tls_below_set(&p->below, (PyObject *)p, transport);
    if (lm_tls_begin_handshake(p) < 0) {
        return -1;
    }
    return p->session.is_busy ? lm_tls_resume_soon(p) : go_on_with_handshake(p);
}

int
lm_tls_start_shutdown(LmTls *p)
{
    if (p->state != LM_WRAPPED && p->state != LM_DO_HANDSHAKE) {
        return 0;
    }
    LM_STORE(p->app.is_closed, 1);
    if (p->state == LM_DO_HANDSHAKE) {
        return lm_tls_abort(p, Py_None);
    }
    p->state = LM_FLUSHING;
    return lm_tls_start_shutdown_timer(p) < 0 ? -1 : go_on(p);
}

int
lm_tls_on_bytes(LmTls *p, const char *raw, size_t size)
{
    if (LM_LIKELY(p->state == LM_WRAPPED)) {
        return read_fresh(p, raw, size);
    }
    if (p->state == LM_UNWRAPPED && p->dropped_writes > 0) {
        return 0; /* lost */
    }
    return lm_rawbuf_add(&p->in.raw, raw, size) < 0 ? -1 : go_on(p);
}

static int
send_waiting(LmTls *p)
{
    /* Also after the peer's end, which waits for the application to resume reading. */
    int may_seal = p->state == LM_WRAPPED || p->state == LM_FLUSHING;
    if (lm_outbuf_is_empty(&p->out.backlog) || !may_seal) {
        return lm_tls_process_outgoing(p);
    }
    return lm_tls_guard(p, lm_tls_do_write(p, LM_UNTIL_FULL));
}

int
lm_tls_on_writable(LmTls *p)
{
    p->below.is_writing_paused = 0;
    return send_waiting(p) < 0 ? -1 : lm_tls_control_input(p);
}

static int
end_of_stream(LmTls *p)
{
    p->in.is_at_end = 1;
    if (lm_tls_debug_log(p, "received EOF") < 0) {
        return -1;
    }
    if (p->state == LM_DO_HANDSHAKE) {
        return lm_tls_handshake_cut(p);
    }
    if (p->state == LM_WRAPPED) {
        p->state = LM_FLUSHING;
        if (p->app.is_reading_paused) {
            return 1; /* until the application has read what came before */
        }
    }
    else if (p->state == LM_FLUSHING) {
        if (lm_tls_do_write(p, LM_ALL) < 0) {
            return -1;
        }
        p->state = LM_SHUTDOWN;
    }
    /* Where something is still to be delivered, the transport below stays until then. */
    return go_on(p) < 0 ? -1 : p->state == LM_FLUSHING;
}

int
lm_tls_on_eof(LmTls *p)
{
    int keep_open = end_of_stream(p);
    if (keep_open >= 0 || !PyErr_ExceptionMatches(PyExc_Exception)) {
        return keep_open;
    }
    PyObject *exc = PyErr_GetRaisedException();
    lm_tls_below_close(&p->below);
    lm_exc_put_back(exc);
    return -1;
}
