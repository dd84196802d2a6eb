/* Writing of pipe transports: tried at once, the rest queued and sent when the pipe takes
   bytes again. See pipe.h. Writes hold the GIL: the descriptor does not block, and
   letting go costs more. */
#include "net/pipe.h"

#include "base/oserr.h"
#include "base/sys.h"
#include "core/handle.h"

#include <sys/uio.h>
#include <unistd.h>

#define MOST_VECTORS 64
#define DROPPED_WRITES_BEFORE_LOG 5
#define FATAL_WRITE "Fatal write error on pipe transport"

/* Bytes written, 0 where the pipe takes none now, or -1 with an exception set. The file
   object has been asked for its number. */
static ssize_t
put(LmPipe *p, const struct iovec *vectors, int count)
{
    p->loop->has_done_io = 1;
    ssize_t written = count == 1 ? write(p->fd, vectors[0].iov_base, vectors[0].iov_len)
                                 : writev(p->fd, vectors, count);
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
    if (p->dropped >= DROPPED_WRITES_BEFORE_LOG) {
        PyObject *done = lm_state_support(p->st, "log_dropped_pipe_write", "");
        Py_XDECREF(done);
        if (done == NULL) {
            return -1;
        }
    }
    p->dropped++;
    return 0;
}

static int
write_failed(PyObject *self)
{
    lm_pipe(self)->dropped++;
    return lm_pipe_fatal(self, FATAL_WRITE);
}

static int
write_buffer(PyObject *self, PyObject *owner, const char *bytes, size_t length)
{
    LmPipe *p = lm_pipe(self);
    size_t written = 0;
    int has_fd = lm_outbuf_is_empty(&p->out) ? lm_pipe_has_fd(self) : 1;
    if (has_fd < 0 || p->is_lost) {
        return has_fd < 0 ? -1 : 0;
    }
    if (lm_outbuf_is_empty(&p->out)) {
        struct iovec vector = {(void *)bytes, length};
        ssize_t count = has_fd ? put(p, &vector, 1) : lm_pipe_refuse();
        if (count < 0) {
            return write_failed(self);
        }
        written = (size_t)count;
        if (LM_LIKELY(written == length)) {
            return 0;
        }
        if (lm_pipe_start(self, &p->writer) < 0) {
            return -1;
        }
        if (LM_UNLIKELY(p->is_lost)) {
            return 0;
        }
    }
    if (lm_outbuf_add(&p->out, owner, bytes + written, length - written) < 0) {
        return -1;
    }
    return lm_flow_grown(&p->flow, p->out.size, p->loop, self, p->protocol);
}

/* A view that is no plain run of bytes breaks the pipe as a failed write does, as in
   asyncio; behind a queue it is the caller's. */
static int
write_view(PyObject *self, PyObject *data)
{
    LmPipe *p = lm_pipe(self);
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return lm_outbuf_is_empty(&p->out) ? write_failed(self) : -1;
    }
    /* Lost where what was asked for the buffer aborted. */
    int failed = p->is_lost ? 0 : write_buffer(self, data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return failed;
}

int
lm_pipe_write(PyObject *self, PyObject *data)
{
    LmPipe *p = lm_pipe(self);
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_AssertionError, "%R", data);
        return -1;
    }
    Py_ssize_t length = PyObject_Size(data);
    if (length <= 0) {
        return (int)length;
    }
    if (p->is_closing || p->dropped > 0) {
        return drop_write(p);
    }
    return write_view(self, data);
}

int
lm_pipe_write_eof(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->is_closing || p->loop == NULL) {
        return 0;
    }
    p->is_closing = 1;
    return lm_outbuf_is_empty(&p->out) ? lm_pipe_lose(self, Py_None) : 0;
}

/* Sends the front of the queue once. 1 where the pipe lives, 0 where it broke; -1 with an
   exception set. */
static int
send_queued(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    struct iovec vectors[MOST_VECTORS];
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || p->is_lost) {
        return has_fd < 0 ? -1 : 0;
    }
    int count = lm_outbuf_vectors(&p->out, vectors, MOST_VECTORS);
    ssize_t written = !has_fd     ? lm_pipe_refuse()
                      : count > 0 ? put(p, vectors, count)
                                  : 0;
    if (LM_LIKELY(written >= 0)) {
        lm_outbuf_sent(&p->out, (size_t)written);
        return 1;
    }
    lm_outbuf_clear(&p->out);
    return write_failed(self) < 0 ? -1 : 0;
}

static int
flush(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    int alive = send_queued(self);
    if (alive <= 0 || !lm_outbuf_is_empty(&p->out)) {
        return alive < 0 ? -1 : 0;
    }
    lm_pipe_stop(self, &p->writer);
    if (lm_flow_shrunk(&p->flow, 0, p->loop, self, p->protocol) < 0) {
        return -1;
    }
    /* The protocol may have written more, closed or aborted. */
    if (!p->is_closing || p->is_lost || !lm_outbuf_is_empty(&p->out)) {
        return 0;
    }
    lm_pipe_stop(self, &p->reader);
    return lm_pipe_finish(self, Py_None);
}

/* The other end is gone: a writer has nothing else to be told. */
static int
on_input(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || p->is_lost) {
        return has_fd < 0 ? -1 : 0;
    }
    if (!has_fd) {
        (void)lm_pipe_refuse();
        return write_failed(self);
    }
    if (p->loop->is_debug) {
        PyObject *done =
            lm_state_support(p->st, "log_info", "Os", self, "was closed by peer");
        Py_XDECREF(done);
        if (done == NULL) {
            return -1;
        }
    }
    if (lm_outbuf_is_empty(&p->out)) {
        return lm_pipe_lose(self, Py_None);
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_BrokenPipeError);
    int failed = exc != NULL ? lm_pipe_lose(self, exc) : -1;
    Py_XDECREF(exc);
    return failed;
}

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return !lm_pipe(self)->is_lost && on_input(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
method_write_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return !lm_pipe(self)->is_lost && flush(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef read_ready_def = {"_read_ready", method_read_ready, METH_NOARGS,
                                     NULL};
static PyMethodDef write_ready_def = {"_write_ready", method_write_ready, METH_NOARGS,
                                      NULL};

const LmPipeKind lm_pipe_writes = {
    .on_readable = on_input,
    .on_writable = flush,
    .read_method = &read_ready_def,
    .write_method = &write_ready_def,
    .refusal = "Pipe transport is only for pipes, sockets and character devices",
    .is_writer = 1,
};
