/* Sending: see stream_send.h. Relies on outbuf.h for what waits and flow.h for telling the
   protocol.

   Sends hold the GIL: the socket does not block, and letting go costs more than a send. */
#include "net/stream_send.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "net/flow.h"
#include "net/sock_way.h"
#include "task/future.h"

#include <sys/socket.h>

#define MOST_VECTORS 64

/* What a send gave: 0 for what the socket does not take now. */
static ssize_t
sent_or_failed(ssize_t sent)
{
    if (LM_LIKELY(sent >= 0)) {
        return sent;
    }
    if (lm_sys_is_not_ready()) {
        return 0;
    }
    lm_oserr_set(errno);
    return -1;
}

static LM_APART ssize_t
send_one_by_method(LmTransport *t, const char *bytes, size_t length)
{
    struct iovec vector = {(void *)bytes, length};
    return lm_sock_way_send(t, &vector, 1, 0);
}

ssize_t
lm_stream_send(LmTransport *t, const char *bytes, size_t length)
{
    t->loop->has_done_io = 1;
    return lm_transport_owns_fd(t)
               ? sent_or_failed(send(t->fd, bytes, length, MSG_NOSIGNAL))
               : send_one_by_method(t, bytes, length);
}

static ssize_t
send_vectors(LmTransport *t, struct iovec *vectors, int count)
{
    t->loop->has_done_io = 1;
    if (!lm_transport_owns_fd(t)) {
        return lm_sock_way_send(t, vectors, count, 1);
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    return sent_or_failed(
        count == 1 ? send(t->fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                   : sendmsg(t->fd, &message, MSG_NOSIGNAL));
}

/* Whether sendfile still waits: not where it was cancelled, which it learns a turn later.
   -1 with an exception set. */
static int
is_pending(PyObject *waiter)
{
    int done = waiter != NULL ? lm_future_is_done(waiter) : 1;
    return done < 0 ? -1 : !done;
}

/* Sends the front of the queue once. 1 where something or nothing went out, 0 where the
   transport broke and was closed; -1 with an exception that has to leave the loop. */
static int
send_queued(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    struct iovec vectors[MOST_VECTORS];
    ssize_t sent =
        send_vectors(t, vectors, lm_outbuf_vectors(&t->out, vectors, MOST_VECTORS));
    if (LM_UNLIKELY(t->lost > 0) && sent >= 0) {
        return 0; /* ended by the socket's method */
    }
    if (sent >= 0) {
        size_t queued = t->out.size;
        lm_outbuf_sent(&t->out, (size_t)sent < queued ? (size_t)sent : queued);
        return 1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *waiter = Py_XNewRef(t->empty_waiter);
    lm_transport_stop_writing(self);
    lm_outbuf_clear(&t->out);
    PyErr_SetRaisedException(Py_NewRef(exc));
    int failed = lm_transport_fatal(self, "Fatal write error on socket transport");
    int pending = failed == 0 ? is_pending(waiter) : 0;
    if (pending < 0) {
        failed = -1;
    }
    if (pending > 0) {
        PyObject *done = PyObject_CallMethod(waiter, "set_exception", "O", exc);
        failed = done != NULL ? 0 : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(waiter);
    Py_DECREF(exc);
    return failed;
}

int
lm_stream_shut_down(LmTransport *t)
{
    if (t->is_shut_down) {
        return 0; /* by resume_writing, which wrote the end while the queue was sent */
    }
    t->is_shut_down = 1;
    t->loop->has_done_io = 1;
    if (!lm_transport_owns_fd(t)) {
        return lm_sock_way_shut_down(t);
    }
    if (shutdown(t->fd, SHUT_WR) < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    return 0;
}

/* Tells sendfile, where it waits. */
static int
tell_waiter(LmTransport *t)
{
    PyObject *waiter = Py_XNewRef(t->empty_waiter);
    int pending = is_pending(waiter);
    if (pending > 0) {
        PyObject *done = PyObject_CallMethod(waiter, "set_result", "O", Py_None);
        pending = done != NULL ? 0 : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(waiter);
    return pending;
}

/* The queue is empty: what waited for that happens. */
static int
on_drained(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    lm_transport_stop_writing(self);
    if (tell_waiter(t) < 0) {
        return -1;
    }
    if (!lm_outbuf_is_empty(&t->out)) {
        return 0; /* anew, by who was told */
    }
    if (t->is_closing) {
        return t->lost == 0 ? lm_transport_finish(self, Py_None) : 0;
    }
    return t->eof_written ? lm_stream_shut_down(t) : 0;
}

int
lm_stream_send_fresh(PyObject *self)
{
    int alive = send_queued(self);
    if (alive <= 0 || lm_outbuf_is_empty(&lm_transport(self)->out)) {
        return alive < 0 ? -1 : 0;
    }
    return lm_transport_start_writing(self) < 0 ? -1 : lm_flow_maybe_pause(self);
}

int
lm_stream_flush(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int alive = send_queued(self);
    if (alive <= 0) {
        return alive;
    }
    if (lm_flow_maybe_resume(self) < 0) {
        return -1;
    }
    /* The protocol may have written more, or closed. */
    return t->loop != NULL && lm_outbuf_is_empty(&t->out) ? on_drained(self) : 0;
}
