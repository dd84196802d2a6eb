/* Writing: see stream_write.h. Relies on outbuf.h for what waits and flow.h for telling
   the protocol.

   Sends hold the GIL: the socket does not block, and letting go costs more than a send. */
#include "net/stream_write.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "net/flow.h"
#include "net/join.h"
#include "net/sock_way.h"
#include "task/future.h"

#include <sys/socket.h>

#define MOST_VECTORS 64
#if PY_VERSION_HEX >= 0x030E0000
#define WRONG_DATA \
    "data argument must be a bytes, bytearray, or memoryview object, not '%s'"
#else
#define WRONG_DATA "data argument must be a bytes-like object, not '%s'"
#endif

/* Bytes sent, or -1 with an exception set; 0 where the socket takes none now. By the
   socket's method it may end the transport. */
static ssize_t
send_some(LmTransport *t, struct iovec *vectors, int count, int is_queued)
{
    int fd = t->fd;
    t->loop->has_done_io = 1;
    if (!lm_transport_owns_fd(t)) {
        return lm_sock_way_send(t, vectors, count, is_queued);
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
    ssize_t sent = count == 1
                       ? send(fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                       : sendmsg(fd, &message, MSG_NOSIGNAL);
    if (LM_LIKELY(sent >= 0)) {
        return sent;
    }
    if (lm_sys_is_not_ready()) {
        return 0;
    }
    lm_oserr_set(errno);
    return -1;
}

/* 1 where the write goes on, 0 where it is to be dropped; -1 with an exception set. */
static int
check_open(LmTransport *t)
{
    return LM_LIKELY(t->lost == 0) ? 1 : lm_transport_drop_write(t);
}

static int
refuse(const char *message)
{
    PyErr_SetString(PyExc_RuntimeError, message);
    return -1;
}

static int
check_writable(LmTransport *t)
{
    if (LM_UNLIKELY(t->eof_written)) {
        return refuse("Cannot call write() after write_eof()");
    }
    if (LM_UNLIKELY(t->empty_waiter != NULL)) {
        return refuse("unable to write; sendfile is in progress");
    }
    return 0;
}

/* Sends what it can at once and queues the rest. */
static int
write_buffer(PyObject *self, PyObject *owner, const char *bytes, size_t length)
{
    LmTransport *t = lm_transport(self);
    size_t sent = 0;
    if (LM_UNLIKELY(t->loop->postpones) && lm_join_wants(t, length)) {
        return lm_join_write(self, owner, bytes, length);
    }
    if (LM_LIKELY(lm_outbuf_is_empty(&t->out))) {
        struct iovec vector = {(void *)bytes, length};
        ssize_t count = send_some(t, &vector, 1, 0);
        if (LM_UNLIKELY(count < 0)) {
            return lm_transport_fatal(self, "Fatal write error on socket transport");
        }
        sent = (size_t)count;
        if (LM_LIKELY(sent == length) || t->lost > 0) {
            return 0;
        }
        if (lm_transport_start_writing(self) < 0) {
            return -1;
        }
        if (LM_UNLIKELY(t->lost > 0)) {
            return 0;
        }
    }
    if (lm_outbuf_add(&t->out, owner, bytes + sent, length - sent) < 0) {
        return -1;
    }
    return lm_flow_maybe_pause(self);
}

int
lm_stream_write(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
    if (LM_LIKELY(PyBytes_CheckExact(data))) {
        if (check_writable(t) < 0) {
            return -1;
        }
        Py_ssize_t length = PyBytes_GET_SIZE(data);
        int is_open = length > 0 ? check_open(t) : 0;
        return is_open <= 0
                   ? is_open
                   : write_buffer(self, data, PyBytes_AS_STRING(data), (size_t)length);
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError, WRONG_DATA, lm_type_name(Py_TYPE(data)));
        return -1;
    }
    Py_buffer view;
    if (check_writable(t) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int result = view.len > 0 ? check_open(t) : 0;
    if (result > 0) {
        result = write_buffer(self, data, view.buf, (size_t)view.len);
    }
    PyBuffer_Release(&view);
    return result;
}

int
lm_stream_write_raw(PyObject *self, const char *data, size_t size)
{
    LmTransport *t = lm_transport(self);
    if (check_writable(t) < 0) {
        return -1;
    }
    int is_open = size > 0 ? check_open(t) : 0;
    return is_open <= 0 ? is_open : write_buffer(self, Py_None, data, size);
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
        send_some(t, vectors, lm_outbuf_vectors(&t->out, vectors, MOST_VECTORS), 1);
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

static int
shut_down(LmTransport *t)
{
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
    return t->eof_written ? shut_down(t) : 0;
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

int
lm_stream_writelines(PyObject *self, PyObject *pieces)
{
    LmTransport *t = lm_transport(self);
    if (t->eof_written) {
        return refuse("Cannot call writelines() after write_eof()");
    }
    if (t->empty_waiter != NULL) {
        return refuse("unable to writelines; sendfile is in progress");
    }
    if (lm_join_settle(self) < 0) {
        return -1;
    }
    LmOutbuf fresh = {NULL, 0, 0, 0, 0};
    Py_ssize_t count = lm_outbuf_gather(&fresh, pieces);
    int result = count > 0 ? check_open(t) : (int)count;
    if (result <= 0 || lm_outbuf_is_empty(&fresh)) {
        lm_outbuf_clear(&fresh);
        return result < 0 ? -1 : 0;
    }
    int was_empty = lm_outbuf_is_empty(&t->out);
    if (lm_outbuf_append(&t->out, &fresh) < 0) {
        return -1;
    }
    return was_empty ? lm_stream_send_fresh(self) : lm_flow_maybe_pause(self);
}

int
lm_stream_write_eof(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->is_closing || t->eof_written) {
        return 0;
    }
    if (lm_join_settle(self) < 0) {
        return -1;
    }
    if (t->lost > 0) {
        return 0;
    }
    t->eof_written = 1;
    return lm_outbuf_is_empty(&t->out) ? shut_down(t) : 0;
}
