/* Writing of pipe transports: tried at once, the rest queued and sent when the pipe takes
   bytes again. See pipe.h. Writes hold the GIL: the descriptor does not block, and
   letting go costs more. */
#include "net/pipe.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "core/handle.h"
#include "core/owner.h"

#include <sys/uio.h>
#include <unistd.h>

#define MOST_VECTORS 64
#define FATAL_WRITE "Fatal write error on pipe transport"

/* Bytes written, 0 where the pipe takes none now, or -1 with an exception set. The file
   object has been asked for its number. */
static ssize_t
put(LmTransport *t, const struct iovec *vectors, int count)
{
    t->loop->has_done_io = 1;
    ssize_t written = count == 1 ? write(t->fd, vectors[0].iov_base, vectors[0].iov_len)
                                 : writev(t->fd, vectors, count);
    if (LM_LIKELY(written >= 0)) {
        return written;
    }
    if (lm_sys_is_not_ready()) {
        return 0;
    }
    lm_oserr_set(errno);
    return -1;
}

static int
drop_write(LmPipe *p)
{
    if (p->dropped >= LM_DROPPED_WRITES_BEFORE_LOG &&
        lm_done(lm_state_support(p->base.st, "log_dropped_pipe_write", "")) < 0) {
        return -1;
    }
    p->dropped++;
    return 0;
}

static int
write_failed(PyObject *self)
{
    lm_pipe(self)->dropped++;
    return lm_transport_fatal(self, FATAL_WRITE);
}

static int
write_or_queue(PyObject *self, PyObject *owner, const char *bytes, size_t length)
{
    LmTransport *t = lm_transport(self);
    size_t written = 0;
    int has_fd = lm_outbuf_is_empty(&t->out) ? lm_pipe_has_fd(self) : 1;
    if (has_fd < 0 || t->lost > 0) {
        return has_fd < 0 ? -1 : 0;
    }
    if (lm_outbuf_is_empty(&t->out)) {
        struct iovec vector = {(void *)bytes, length};
        ssize_t count = has_fd ? put(t, &vector, 1) : lm_pipe_refuse();
        if (count < 0) {
            return write_failed(self);
        }
        written = (size_t)count;
        if (LM_LIKELY(written == length)) {
            return 0;
        }
        if (lm_transport_start_writing(self) < 0) {
            return -1;
        }
        if (LM_UNLIKELY(t->lost > 0)) {
            return 0;
        }
    }
    if (lm_outbuf_add(&t->out, owner, bytes + written, length - written) < 0) {
        return -1;
    }
    return lm_flow_maybe_pause(self);
}

/* A view that is no plain run of bytes breaks the pipe as a failed write does, as in
   asyncio; behind a queue it is the caller's. */
static int
write_view(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return lm_outbuf_is_empty(&t->out) ? write_failed(self) : -1;
    }
    /* Lost where what was asked for the buffer aborted. */
    int failed =
        t->lost > 0 ? 0 : write_or_queue(self, data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return failed;
}

int
lm_pipe_write(PyObject *self, PyObject *data)
{
    LmTransport *t = lm_transport(self);
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_AssertionError, "%R", data);
        return -1;
    }
    Py_ssize_t length = PyObject_Size(data);
    if (length <= 0) {
        return (int)length;
    }
    if (t->is_closing || lm_pipe(self)->dropped > 0) {
        return drop_write(lm_pipe(self));
    }
    return write_view(self, data);
}

/* Sends the front of the queue once. 1 where the pipe lives, 0 where it broke; -1 with an
   exception set. */
static int
write_queued(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    struct iovec vectors[MOST_VECTORS];
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || t->lost > 0) {
        return has_fd < 0 ? -1 : 0;
    }
    int count = lm_outbuf_vectors(&t->out, vectors, MOST_VECTORS);
    ssize_t written = !has_fd     ? lm_pipe_refuse()
                      : count > 0 ? put(t, vectors, count)
                                  : 0;
    if (LM_LIKELY(written >= 0)) {
        lm_outbuf_sent(&t->out, (size_t)written);
        return 1;
    }
    lm_outbuf_clear(&t->out);
    return write_failed(self) < 0 ? -1 : 0;
}

static int
flush_pipe(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int alive = write_queued(self);
    if (alive <= 0 || !lm_outbuf_is_empty(&t->out)) {
        return alive < 0 ? -1 : 0;
    }
    lm_transport_stop_writing(self);
    if (lm_flow_maybe_resume(self) < 0) {
        return -1;
    }
    /* The protocol may have written more, closed or aborted. */
    if (!t->is_closing || t->lost > 0 || !lm_outbuf_is_empty(&t->out)) {
        return 0;
    }
    lm_transport_stop_reading(self);
    return lm_transport_finish(self, Py_None);
}

/* The other end is gone: a writer has nothing else to be told. */
static int
on_input(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || t->lost > 0) {
        return has_fd < 0 ? -1 : 0;
    }
    if (!has_fd) {
        (void)lm_pipe_refuse();
        return write_failed(self);
    }
    if (lm_pipe_log_end(self) < 0) {
        return -1;
    }
    if (lm_outbuf_is_empty(&t->out)) {
        return lm_transport_force_close(self, Py_None);
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_BrokenPipeError);
    int failed = exc != NULL ? lm_transport_force_close(self, exc) : -1;
    Py_XDECREF(exc);
    return failed;
}

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
writer_method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_transport(self)->lost == 0 && on_input(self) < 0 ? NULL
                                                               : Py_NewRef(Py_None);
}

static PyObject *
writer_method_write_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_transport(self)->lost == 0 && flush_pipe(self) < 0 ? NULL
                                                                 : Py_NewRef(Py_None);
}

LM_OWNED_METHOD(writer_method_read_ready, lm_transport_owner)
LM_OWNED_METHOD(writer_method_write_ready, lm_transport_owner)

static PyMethodDef read_ready_def = {"_read_ready", LM_OWNED(writer_method_read_ready),
                                     METH_NOARGS, NULL};
static PyMethodDef write_ready_def = {
    "_write_ready", LM_OWNED(writer_method_write_ready), METH_NOARGS, NULL};

const LmPipeKind lm_pipe_writes = {
    .transport =
        {
            .read = on_input,
            .flush = flush_pipe,
            .read_method = &read_ready_def,
            .flush_method = &write_ready_def,
            .has_fd = lm_pipe_has_fd,
            .may_read = lm_pipe_may_read,
            .is_files = 1,
            .reads_while_closing = 1,
        },
    .refusal = "Pipe transport is only for pipes, sockets and character devices",
    .is_writer = 1,
};
