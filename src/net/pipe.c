/* Making pipe transports, and whose number theirs is: see pipe.h. */
#include "net/pipe.h"

#include "base/held.h"
#include "base/oserr.h"
#include "net/readers.h"
#include "net/transport_make.h"

#include <fcntl.h>
#include <sys/stat.h>

/* 1 where it said the number; -1 with an exception that has to leave the loop. */
static int
ask_file(LmTransport *t)
{
    PyObject *pipe = Py_NewRef(t->sock);
    PyObject *number = PyObject_CallMethodNoArgs(pipe, t->st->str.fileno);
    Py_DECREF(pipe);
    long fd = number != NULL ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (PyErr_Occurred()) {
        if (lm_exc_is_no_answer()) {
            return -1;
        }
        PyErr_Clear(); /* a closed file has no number */
    }
    return fd == t->fd;
}

int
lm_pipe_has_fd(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (t->own_fd != &lm_sock_fd_by_method && t->sock != NULL) {
        return *t->own_fd == t->fd;
    }
    /* Somebody may have taken the file object, and goes on with the transport. */
    int has = t->sock != NULL ? ask_file(t) : t->loop != NULL;
    return has < 0 ? -1 : has && t->loop != NULL;
}

int
lm_pipe_refuse(void)
{
    lm_oserr_set(EBADF);
    return -1;
}

int
lm_pipe_may_read(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (!lm_pipe(self)->watches_input) {
        return 0;
    }
    int has_fd = lm_pipe_has_fd(self);
    if (has_fd < 0 || t->loop == NULL || t->lost > 0) {
        return has_fd < 0 ? -1 : 0;
    }
    if (lm_watch_check_fd(&t->loop->poll, t->fd) < 0 ||
        (has_fd && lm_readers_remove(t->loop, t->fd, LM_WATCH_READ) < 0)) {
        return -1;
    }
    return 1;
}

int
lm_pipe_log_end(PyObject *self)
{
    LmTransport *t = lm_transport(self);
    if (!LM_LOAD(t->loop->is_debug)) {
        return 0;
    }
    return lm_done(
        lm_state_support(t->st, "log_info", "Os", self, "was closed by peer"));
}

/* -1 with an exception set: the file object's own, or of what it gave. */
static int
fd_of(PyObject *pipe)
{
    PyObject *number = PyObject_CallMethod(pipe, "fileno", NULL);
    long fd = number != NULL ? PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (!PyErr_Occurred() && (fd < 0 || fd > INT_MAX)) {
        lm_oserr_set(EBADF);
    }
    return PyErr_Occurred() ? -1 : (int)fd;
}

/* 1 of a device, 0 of a pipe or socket; -1 with ValueError set of anything else. */
static int
look_at(int fd, const char *refusal)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        lm_oserr_set(errno);
        return -1;
    }
    int is_device = S_ISCHR(st.st_mode);
    if (!is_device && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)) {
        PyErr_SetString(PyExc_ValueError, refusal);
        return -1;
    }
    return is_device;
}

static int
set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 ||
        (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)) {
        lm_oserr_set(errno);
        return -1;
    }
    return 0;
}

static PyObject *
make_pipe(LmLoop *loop, const LmPipeKind *kind, const LmTransportParts *parts)
{
    PyObject *type = kind->is_writer ? loop->st->WritePipeType : loop->st->ReadPipeType;
    int is_device = look_at(parts->fd, kind->refusal);
    if (is_device < 0 || set_nonblocking(parts->fd) < 0) {
        return NULL;
    }
    PyObject *self = lm_transport_new(loop, type, &kind->transport, parts);
    if (self != NULL) {
        /* A pipe or socket that nobody reads from any more looks readable to its writer.
           A device may just have input. */
        lm_pipe(self)->watches_input = !(kind->is_writer && is_device);
    }
    return self;
}

PyObject *
lm_pipe_new(LmLoop *loop, const LmPipeKind *kind, PyObject *pipe, PyObject *protocol,
            PyObject *waiter, PyObject *extra)
{
    PyObject *self = NULL;
    PyObject *name = PyUnicode_FromString("pipe");
    LmTransportParts parts = {
        .sock = pipe,
        .protocol = protocol,
        .waiter = waiter,
        .extra = extra != NULL ? Py_NewRef(extra) : PyDict_New(),
    };
    if (name != NULL && parts.extra != NULL &&
        PyObject_SetItem(parts.extra, name, pipe) == 0 &&
        (parts.fd = fd_of(pipe)) >= 0) {
        self = make_pipe(loop, kind, &parts);
    }
    Py_XDECREF(name);
    Py_XDECREF(parts.extra);
    return self;
}
