/* Reading of pipe transports: from a readable pipe to data_received and eof_received. See
   pipe.h. One read per wake-up, as asyncio: what is left makes the next poll report
   again. What data_received raises is reported, and reading goes on. */
#include "net/pipe.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/sys.h"
#include "core/handle.h"
#include "core/owner.h"
#include "net/stream_feed.h"

#include <unistd.h>

static int
on_end_of_pipe(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (lm_pipe_log_end(self) < 0) {
        return -1;
    }
    /* A run nested in the log's handler or in the attribute may have ended it. */
    PyObject *ended =
        t->loop != NULL ? lm_held_attr(t->protocol, t->st->str.eof_received) : NULL;
    if (t->loop == NULL) {
        Py_XDECREF(ended);
        return PyErr_Occurred() ? -1 : 0;
    }
    int failed =
        ended != NULL ? lm_handle_call_soon(t->loop, ended, NULL, 0, NULL) : -1;
    PyObject *exc = failed < 0 ? PyErr_GetRaisedException() : NULL;
    Py_XDECREF(ended);
    failed = lm_transport_force_close(self, Py_None);
    lm_exc_put_back(exc);
    return failed < 0 || exc != NULL ? -1 : 0;
}

static int
read_some(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || t->lost > 0) {
        return has_fd < 0 ? -1 : 0;
    }
    if (!has_fd) {
        (void)lm_pipe_refuse();
        return lm_transport_fatal(self, "Fatal read error on pipe transport");
    }
    char *scratch = lm_loop_scratch(t->loop);
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count = read(t->fd, scratch, LM_SCRATCH_SIZE);
    if (count == 0) {
        return on_end_of_pipe(self);
    }
    if (count < 0) {
        if (lm_sys_is_not_ready()) {
            return 0;
        }
        lm_oserr_set(errno);
        return lm_transport_fatal(self, "Fatal read error on pipe transport");
    }
    t->loop->has_done_io = 1; /* there is room for a writer of this loop */
    PyObject *protocol = Py_NewRef(t->protocol);
    int failed = lm_feed_protocol(t->st, protocol, scratch, (size_t)count);
    Py_DECREF(protocol);
    return failed;
}

/* By hand, from the handle of a fault that the exception handler kept: the transport may
   be gone. */
static PyObject *
reader_method_read_ready(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_transport(self)->lost == 0 && read_some(self) < 0 ? NULL
                                                                : Py_NewRef(Py_None);
}

LM_OWNED_METHOD(reader_method_read_ready, lm_transport_owner)

static PyMethodDef read_ready_def = {"_read_ready", LM_OWNED(reader_method_read_ready),
                                     METH_NOARGS, NULL};

/* The end of a terminal. */
static int
is_end_of_terminal(PyObject *exc)
{
    return lm_oserr_number(exc) == EIO;
}

const LmPipeKind lm_pipe_reads = {
    .transport =
        {
            .read = read_some,
            .read_method = &read_ready_def,
            .has_fd = lm_pipe_has_fd,
            .may_read = lm_pipe_may_read,
            .expects = is_end_of_terminal,
            .is_files = 1,
        },
    .refusal = "Pipe transport is for pipes/sockets only.",
};
