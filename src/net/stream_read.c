/* Reading: see stream_read.h. One recv per wake-up, as asyncio: what is left makes the
   next poll report again.

   Plain protocols get exact bytes out of a buffer that all transports of the loop
   share, so a read allocates what it delivers and no more; a StreamReader gets them
   without that (stream_feed.h). Every protocol method may
   close, pause or switch the protocol. */
#include "net/stream_read.h"

#include "base/held.h"
#include "base/oserr.h"
#include "net/stream_feed.h"

#include <sys/socket.h>

/* Bytes received, 0 at the end of the stream, -1 with an exception set, -2 where there
   is nothing yet. */
static ssize_t
receive(LmTransport *t, char *into, size_t size)
{
    ssize_t count = recv(t->fd, into, size, 0);
    if (LM_LIKELY(count >= 0)) {
        return count;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        return -2;
    }
    lm_oserr_set(errno);
    return -1;
}

static int
call_fatal(PyObject *self, const char *message)
{
    return lm_exc_leaves_loop() ? -1 : lm_transport_fatal(self, message);
}

static int
on_end_of_stream(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->loop->is_debug && lm_transport_log_debug(self, "received EOF") < 0) {
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
    /* Kept open, the other half is for writing; there is nothing more to read. */
    return keep_open ? 0 : lm_transport_close(self);
}

static int
read_into_bytes(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    char *scratch = lm_loop_scratch(t->loop);
    if (scratch == NULL) {
        return call_fatal(self, "Fatal read error on socket transport");
    }
    ssize_t count = receive(t, scratch, LM_SCRATCH_SIZE);
    if (count == 0) {
        return on_end_of_stream(self);
    }
    if (count < 0) {
        return count == -2 ? 0
                           : call_fatal(self, "Fatal read error on socket transport");
    }
    PyObject *protocol = Py_NewRef(t->protocol);
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

static int
read_into_protocol(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    Py_buffer view;
    PyObject *buffer = get_buffer(t);
    if (buffer == NULL) {
        return call_fatal(self, "Fatal error: protocol.get_buffer() call failed.");
    }
    int failed = PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE);
    Py_DECREF(buffer);
    if (failed < 0) {
        return call_fatal(self, "Fatal read error on socket transport");
    }
    /* Whose buffer it is may close us when it gives the buffer, and when it takes it. */
    ssize_t count = t->fd >= 0 ? receive(t, view.buf, (size_t)view.len) : -2;
    PyBuffer_Release(&view);
    if (count == -1) {
        return call_fatal(self, "Fatal read error on socket transport");
    }
    if (count == -2 || t->loop == NULL) {
        return 0;
    }
    return count == 0 ? on_end_of_stream(self) : tell_updated(self, count);
}

/* The same for a protocol in C. */
static int
read_into_native(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    const LmNativeProtocol *native = t->st->native_protocol;
    size_t room;
    char *into = native->get_buffer(t->protocol, &room);
    if (into == NULL) {
        return call_fatal(self, "Fatal error: protocol.get_buffer() call failed.");
    }
    ssize_t count = receive(t, into, room);
    if (count == 0) {
        return on_end_of_stream(self);
    }
    if (count < 0) {
        return count == -2 ? 0
                           : call_fatal(self, "Fatal read error on socket transport");
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
