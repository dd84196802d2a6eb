/* Reading of pipe transports: from a readable pipe to data_received and eof_received. See
   pipe.h. One read per wake-up, as asyncio: what is left makes the next poll report
   again. What data_received raises is reported, and reading goes on. */
#include "net/pipe.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "core/handle.h"
#include "net/stream_feed.h"

#include <unistd.h>

static int
on_end(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    if (p->loop->is_debug) {
        PyObject *done =
            lm_state_support(p->st, "log_info", "Os", self, "was closed by peer");
        Py_XDECREF(done);
        if (done == NULL) {
            return -1;
        }
    }
    /* A run nested in the log's handler or in the attribute may have ended it. */
    PyObject *ended =
        p->loop != NULL ? lm_held_attr(p->protocol, p->st->str.eof_received) : NULL;
    if (p->loop == NULL) {
        Py_XDECREF(ended);
        return PyErr_Occurred() ? -1 : 0;
    }
    int failed =
        ended != NULL ? lm_handle_call_soon(p->loop, ended, NULL, 0, NULL) : -1;
    PyObject *exc = failed < 0 ? PyErr_GetRaisedException() : NULL;
    Py_XDECREF(ended);
    failed = lm_pipe_lose(self, Py_None);
    if (exc != NULL && failed == 0) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_XDECREF(exc);
    return failed;
}

static int
read_some(PyObject *self)
{
    LmPipe *p = lm_pipe(self);
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || p->is_lost) {
        return has_fd < 0 ? -1 : 0;
    }
    if (!has_fd) {
        (void)lm_pipe_refuse();
        return lm_pipe_fatal(self, "Fatal read error on pipe transport");
    }
    char *scratch = lm_loop_scratch(p->loop);
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count = read(p->fd, scratch, LM_SCRATCH_SIZE);
    if (count == 0) {
        return on_end(self);
    }
    if (count < 0) {
        if (lm_sys_is_not_ready()) {
            return 0;
        }
        lm_oserr_set(errno);
        return lm_pipe_fatal(self, "Fatal read error on pipe transport");
    }
    p->loop->has_done_io = 1; /* there is room for a writer of this loop */
    PyObject *protocol = Py_NewRef(p->protocol);
    int failed = lm_feed_protocol(p->st, protocol, scratch, (size_t)count);
    Py_DECREF(protocol);
    return failed;
}

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return !lm_pipe(self)->is_lost && read_some(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef read_ready_def = {"_read_ready", method_read_ready, METH_NOARGS,
                                     NULL};

const LmPipeKind lm_pipe_reads = {
    .on_readable = read_some,
    .read_method = &read_ready_def,
    .refusal = "Pipe transport is for pipes/sockets only.",
};
