/* What the application writes: see stream_write.h. Relies on stream_send.h for the sends,
   outbuf.h for what waits, flow.h for telling the protocol and join.h for joined writes. */
#include "net/stream_write.h"

#include "net/flow.h"
#include "net/join.h"
#include "net/stream_send.h"

#if PY_VERSION_HEX >= 0x030E0000
#define WRONG_DATA \
    "data argument must be a bytes, bytearray, or memoryview object, not '%s'"
#else
#define WRONG_DATA "data argument must be a bytes-like object, not '%s'"
#endif

/* 1 where the write goes on, 0 where it is to be dropped; -1 with an exception set. */
static int
check_open(LmTransport *t)
{
    return LM_LIKELY(t->lost == 0) ? 1 : lm_transport_drop_write(t);
}

static int
refuse_write(const char *message)
{
    PyErr_SetString(PyExc_RuntimeError, message);
    return -1;
}

static int
check_writable(LmTransport *t)
{
    if (LM_UNLIKELY(t->eof_written)) {
        return refuse_write("Cannot call write() after write_eof()");
    }
    if (LM_UNLIKELY(t->empty_waiter != NULL)) {
        return refuse_write("unable to write; sendfile is in progress");
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
        ssize_t count = lm_stream_send(t, bytes, length);
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

/* Of anything but plain bytes. */
static LM_APART int
write_by_view(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
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
lm_stream_write(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
    if (LM_UNLIKELY(!PyBytes_CheckExact(data))) {
        return write_by_view(self, data);
    }
    if (check_writable(t) < 0) {
        return -1;
    }
    Py_ssize_t length = PyBytes_GET_SIZE(data);
    int is_open = length > 0 ? check_open(t) : 0;
    return is_open <= 0
               ? is_open
               : write_buffer(self, data, PyBytes_AS_STRING(data), (size_t)length);
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

int
lm_stream_writelines(PyObject *self, PyObject *pieces)
{
    LmTransport *t = lm_transport(self);
    if (t->eof_written) {
        return refuse_write("Cannot call writelines() after write_eof()");
    }
    if (t->empty_waiter != NULL) {
        return refuse_write("unable to writelines; sendfile is in progress");
    }
    if (lm_transport_settle(self) < 0) {
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
    if (lm_transport_settle(self) < 0) {
        return -1;
    }
    if (t->lost > 0) {
        return 0;
    }
    t->eof_written = 1;
    return lm_outbuf_is_empty(&t->out) ? lm_stream_shut_down(t) : 0;
}
