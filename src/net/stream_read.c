/* Reading: see stream_read.h. One recv per wake-up, as asyncio: what is left makes the
   next poll report again.

   Plain protocols get exact bytes out of a buffer that all transports of the loop
   share, so a read allocates what it delivers and no more; a StreamReader gets them
   without that (stream_feed.h). Every protocol method may
   close, pause or switch the protocol. */
#include "net/stream_read.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "net/sock_way.h"
#include "net/stream_feed.h"

#include <sys/socket.h>

/* From so many bytes on a copy costs more than a block of memory. */
#define BULK_SIZE (32 * 1024)

/* Bytes received, 0 at the end of the stream, -1 with an exception set, LM_WOULD_BLOCK
   where there is nothing yet. The number is the transport's own. */
LM_INLINE ssize_t
receive(LmTransport *t, char *into, size_t size)
{
    ssize_t count = recv(t->fd, into, size, 0);
    if (LM_LIKELY(count >= 0)) {
        return count;
    }
    if (lm_sys_is_not_ready()) {
        return LM_WOULD_BLOCK;
    }
    lm_oserr_set(errno);
    return -1;
}

static LM_APART int
call_fatal(PyObject *self, const char *message)
{
    return lm_exc_leaves_loop() ? -1 : lm_transport_fatal(self, message);
}

static LM_APART int
on_end_of_stream(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (LM_LOAD(t->loop->is_debug) &&
        lm_transport_log_debug(self, "received EOF") < 0) {
        return -1;
    }
    if (t->loop == NULL) {
        return 0; /* ended by a run nested in the log's handler */
    }
    /* The end stays readable: a run nested in eof_received would report it again. */
    lm_transport_stop_reading(self);
    PyObject *answer = lm_held_call(t->protocol, t->st->str.eof_received);
    int keep_open = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (keep_open < 0) {
        return call_fatal(self, "Fatal error: protocol.eof_received() call failed.");
    }
    /* Kept open, the other half is for writing; there is nothing more to read, even if the
       protocol has just resumed reading. */
    if (keep_open) {
        lm_transport_stop_reading(self);
        return 0;
    }
    return lm_transport_close(self);
}

/* After a receive that gave nothing to deliver. */
static int
without_data(PyObject *self, ssize_t count)
{
    if (count == 0) {
        return on_end_of_stream(self);
    }
    return count == LM_WOULD_BLOCK
               ? 0
               : call_fatal(self, "Fatal read error on socket transport");
}

/* What the socket's own method gives, to a protocol with data_received. */
static LM_APART int
read_by_method(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int outcome = 0;
    PyObject *data = lm_sock_way_recv(t, &outcome);
    int has_data = data != NULL ? PyObject_IsTrue(data) : 0;
    if (t->lost > 0 && !PyErr_Occurred()) {
        Py_XDECREF(data);
        return 0; /* ended by the method */
    }
    if (has_data <= 0) {
        Py_XDECREF(data);
        return without_data(self, has_data < 0 ? -1 : outcome);
    }
    PyObject *protocol = Py_NewRef(t->protocol);
    PyObject *done =
        PyObject_CallMethodOneArg(protocol, t->st->str.data_received, data);
    Py_DECREF(protocol);
    Py_DECREF(data);
    Py_XDECREF(done);
    return done != NULL
               ? 0
               : call_fatal(self, "Fatal error: protocol.data_received() call failed.");
}

/* The protocol may end the transport. */
static int
tell_received(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
    PyObject *protocol = Py_NewRef(t->protocol);
    int failed = lm_feed_protocol_bytes(t->st, protocol, data);
    Py_DECREF(protocol);
    return failed == 0
               ? 0
               : call_fatal(self, "Fatal error: protocol.data_received() call failed.");
}

/* Where much comes, it is received into what is delivered, which is then made as short as it
   is. */
static LM_APART int
read_bulk(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *data = PyBytes_FromStringAndSize(NULL, LM_SCRATCH_SIZE);
    ssize_t count =
        data != NULL ? receive(t, PyBytes_AS_STRING(data), LM_SCRATCH_SIZE) : -1;
    t->is_bulky = count >= BULK_SIZE;
    if (count <= 0) {
        Py_XDECREF(data);
        return without_data(self, count);
    }
    int failed = lm_bytes_resize(&data, count) < 0
                     ? call_fatal(self, "Fatal read error on socket transport")
                     : tell_received(self, data);
    Py_XDECREF(data);
    return failed;
}

static int
read_into_bytes(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (!lm_transport_owns_fd(t)) {
        return read_by_method(self);
    }
    if (t->is_bulky) {
        return read_bulk(self);
    }
    char *scratch = lm_loop_scratch(t->loop);
    if (scratch == NULL) {
        return call_fatal(self, "Fatal read error on socket transport");
    }
    ssize_t count = receive(t, scratch, LM_SCRATCH_SIZE);
    if (count <= 0) {
        return without_data(self, count);
    }
    PyObject *protocol = Py_NewRef(t->protocol);
    t->is_bulky = count >= BULK_SIZE && lm_feed_wants_bytes(t->st, protocol);
    int failed = lm_feed_protocol(t->st, protocol, scratch, (size_t)count);
    Py_DECREF(protocol);
    return failed == 0
               ? 0
               : call_fatal(self, "Fatal error: protocol.data_received() call failed.");
}

/* The protocol's buffer, not empty. New reference, NULL with an exception set. */
static PyObject *
get_buffer(LmTransport *t)
{
    PyObject *size_hint = PyLong_FromLong(-1);
    PyObject *buffer =
        size_hint == NULL
            ? NULL
            : lm_held_call_one(t->protocol, t->st->str.get_buffer, size_hint);
    Py_XDECREF(size_hint);
    Py_ssize_t length = buffer != NULL ? PyObject_Size(buffer) : -1;
    if (length == 0) {
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
    }
    if (length <= 0) {
        Py_CLEAR(buffer);
    }
    return buffer;
}

static ssize_t
receive_into(LmTransport *t, PyObject *buffer)
{
    Py_buffer view;
    if (!lm_transport_owns_fd(t)) {
        return lm_sock_way_recv_into(t, buffer);
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    /* Where asking for the buffer closed us there is nothing any more. */
    ssize_t count = t->fd < 0                 ? LM_WOULD_BLOCK
                    : lm_transport_owns_fd(t) ? receive(t, view.buf, (size_t)view.len)
                                              : lm_sock_way_recv_into(t, buffer);
    PyBuffer_Release(&view);
    return count;
}

static int
tell_updated(PyObject *self, ssize_t count)
{
    LmTransport *t = lm_transport(self);
    PyObject *received = PyLong_FromSsize_t(count);
    PyObject *done =
        received == NULL
            ? NULL
            : lm_held_call_one(t->protocol, t->st->str.buffer_updated, received);
    Py_XDECREF(received);
    if (done == NULL) {
        return call_fatal(self, "Fatal error: protocol.buffer_updated() call failed.");
    }
    Py_DECREF(done);
    return 0;
}

static LM_APART int
read_into_protocol(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *buffer = get_buffer(t);
    if (buffer == NULL) {
        return call_fatal(self, "Fatal error: protocol.get_buffer() call failed.");
    }
    ssize_t count = t->fd >= 0 ? receive_into(t, buffer) : LM_WOULD_BLOCK;
    Py_DECREF(buffer);
    /* Whose buffer it is may close us when it gives the buffer, and when it takes it. */
    if (t->loop == NULL && !PyErr_Occurred()) {
        return 0;
    }
    return count > 0 ? tell_updated(self, count) : without_data(self, count);
}

/* Hands bytes to a protocol in C, which takes them by portions. -1 with an exception
   set. */
static LM_APART int
feed_native(LmTransport *t, const char *bytes, size_t count)
{
    const LmNativeProtocol *native = t->st->native_protocol;
    while (count > 0 && t->lost == 0 && t->is_native) {
        PyObject *protocol = Py_NewRef(t->protocol);
        size_t room;
        char *into = native->get_buffer(protocol, &room);
        size_t portion = into == NULL || count < room ? count : room;
        if (into != NULL) {
            memcpy(into, bytes, portion);
        }
        int failed = into == NULL || native->received(protocol, portion) < 0;
        Py_DECREF(protocol);
        if (failed) {
            return -1;
        }
        bytes += portion;
        count -= portion;
    }
    return 0;
}

/* The protocol's own memory is not shown to the socket's method, which might keep it. */
static LM_APART int
read_into_native_by_method(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    PyObject *buffer = PyByteArray_FromStringAndSize(NULL, LM_SCRATCH_SIZE);
    ssize_t count = buffer != NULL ? lm_sock_way_recv_into(t, buffer) : -1;
    if (count > 0) {
        Py_ssize_t size = PyByteArray_GET_SIZE(buffer);
        Py_SETREF(buffer, PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer),
                                                    count < size ? count : size));
        int failed =
            buffer == NULL || feed_native(t, PyBytes_AS_STRING(buffer),
                                          (size_t)PyBytes_GET_SIZE(buffer)) < 0;
        Py_XDECREF(buffer);
        return failed ? call_fatal(
                            self, "Fatal error: protocol.buffer_updated() call failed.")
                      : 0;
    }
    Py_XDECREF(buffer);
    return t->lost > 0 && !PyErr_Occurred() ? 0 : without_data(self, count);
}

/* The same for a protocol in C. */
static int
read_into_native(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    const LmNativeProtocol *native = t->st->native_protocol;
    if (!lm_transport_owns_fd(t)) {
        return read_into_native_by_method(self);
    }
    size_t room;
    char *into = native->get_buffer(t->protocol, &room);
    if (into == NULL) {
        return call_fatal(self, "Fatal error: protocol.get_buffer() call failed.");
    }
    ssize_t count = receive(t, into, room);
    if (count <= 0) {
        return without_data(self, count);
    }
    PyObject *protocol = Py_NewRef(t->protocol);
    int failed = native->received(protocol, (size_t)count);
    Py_DECREF(protocol);
    return failed == 0
               ? 0
               : call_fatal(self,
                            "Fatal error: protocol.buffer_updated() call failed.");
}

int
lm_stream_read(PyObject *self)
{
    if (lm_transport(self)->is_native) {
        return read_into_native(self);
    }
    return lm_transport(self)->is_buffered ? read_into_protocol(self)
                                           : read_into_bytes(self);
}
