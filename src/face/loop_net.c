/* Methods of Loop on descriptors: readers and writers, serving, transports. Relies on
   the net room. */
#include "face/loop_type.h"

#include "base/args.h"
#include "base/type_help.h"
#include "core/debug.h"
#include "core/handle.h"
#include "net/datagram.h"
#include "net/listener.h"
#include "net/pipe.h"
#include "net/readers.h"
#include "net/stream.h"
#include "os/resolver.h"

static PyObject *
add_watch(PyObject *self, int direction, const char *method, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames)
{
    LmLoop *loop = (LmLoop *)self;
    PyObject *context;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_context(loop->st, method, args, nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (nargs < 2) {
        lm_args_count(method, nargs, 2, 2);
        return NULL;
    }
    int fd = lm_args_fd(args[0]);
    PyObject *handle =
        fd < 0 ? NULL : lm_handle_new(loop, args[1], args + 2, nargs - 2, context);
    if (handle == NULL || lm_readers_add(loop, args[0], fd, direction, handle) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return handle;
}

PyObject *
lm_loop_method_add_reader(LM_VECTOR)
{
    return add_watch(self, LM_WATCH_READ, "_add_reader", args, nargs, kwnames);
}

PyObject *
lm_loop_method_add_writer(LM_VECTOR)
{
    return add_watch(self, LM_WATCH_WRITE, "_add_writer", args, nargs, kwnames);
}

PyObject *
lm_loop_method_watch_once(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_count("_watch_once", nargs, 2, 2) < 0) {
        return NULL;
    }
    int fd = lm_args_fd(args[0]);
    PyObject *handle = fd < 0 ? NULL : lm_handle_new(loop, args[1], NULL, 0, NULL);
    if (handle == NULL || lm_readers_add_once(loop, fd, handle) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return handle;
}

static PyObject *
remove_watch(PyObject *self, PyObject *obj, int direction)
{
    LmLoop *loop = (LmLoop *)self;
    if (loop->is_closed) {
        Py_RETURN_FALSE;
    }
    int fd = lm_readers_find(loop, obj);
    int removed = fd < 0 ? -1 : lm_readers_remove(loop, fd, direction);
    return removed < 0 ? NULL : PyBool_FromLong(removed);
}

PyObject *
lm_loop_method_remove_reader(PyObject *self, PyObject *fd)
{
    return remove_watch(self, fd, LM_WATCH_READ);
}

PyObject *
lm_loop_method_remove_writer(PyObject *self, PyObject *fd)
{
    return remove_watch(self, fd, LM_WATCH_WRITE);
}

PyObject *
lm_loop_method_watched(PyObject *self, PyObject *obj)
{
    LmLoop *loop = (LmLoop *)self;
    int fd = lm_readers_find(loop, obj);
    if (fd < 0) {
        return NULL;
    }
    PyObject *owner = lm_readers_owner(loop, fd);
    if (owner == NULL || !lm_try_hold(owner)) {
        owner = Py_NewRef(Py_None);
    }
    return Py_BuildValue(
        "(NNN)", lm_none_or(lm_readers_handle(loop, fd, LM_WATCH_READ)),
        lm_none_or(lm_readers_handle(loop, fd, LM_WATCH_WRITE)), owner);
}

static PyObject *
given(PyObject *value)
{
    return value != Py_None ? value : NULL;
}

PyObject *
lm_loop_method_start_serving(LM_VECTOR)
{
    static const char *const names[] = {"protocol_factory", "sock",    "server",
                                        "backlog",          "context", NULL};
    PyObject *values[] = {NULL, NULL, NULL, NULL, Py_None};
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_parse("_start_serving_native", args, nargs, kwnames, 5, 4, names,
                      values) < 0) {
        return NULL;
    }
    int backlog = (int)PyLong_AsLong(values[3]);
    if (backlog == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return lm_listener_new(loop, values[0], values[1], given(values[2]), backlog,
                           given(values[4]));
}

/* The number of a socket that no transport has; -1 with an exception set. */
static int
unowned_fd(LmLoop *loop, PyObject *sock)
{
    int fd = PyObject_AsFileDescriptor(sock);
    PyObject *owner = fd >= 0 ? lm_readers_owner(loop, fd) : NULL;
    if (owner == NULL || lm_transport(owner)->is_closing || !lm_try_hold(owner)) {
        return fd; /* held: the socket's repr may end it */
    }
    PyErr_Format(PyExc_RuntimeError, "File descriptor %R is used by transport %R", sock,
                 owner);
    Py_DECREF(owner);
    return -1;
}

PyObject *
lm_loop_method_make_socket_transport(LM_VECTOR)
{
    static const char *const names[] = {"sock",   "protocol", "waiter", "extra",
                                        "server", "context",  NULL};
    PyObject *values[] = {NULL, NULL, Py_None, Py_None, Py_None, Py_None};
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_parse("_make_socket_transport", args, nargs, kwnames, 3, 2, names,
                      values) < 0) {
        return NULL;
    }
    int fd = unowned_fd(loop, values[0]);
    if (fd < 0) {
        return NULL;
    }
    LmTransportParts parts = {
        .fd = fd,
        .sock = values[0],
        .protocol = values[1],
        .waiter = given(values[2]),
        .extra = given(values[3]),
        .server = given(values[4]),
        .context = given(values[5]),
    };
    return lm_stream_new(loop, &parts);
}

PyObject *
lm_loop_method_make_datagram_transport(LM_VECTOR)
{
    static const char *const names[] = {"sock",   "protocol", "address",
                                        "waiter", "extra",    NULL};
    PyObject *values[] = {NULL, NULL, Py_None, Py_None, Py_None};
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_parse("_make_datagram_transport", args, nargs, kwnames, 5, 2, names,
                      values) < 0) {
        return NULL;
    }
    int fd = unowned_fd(loop, values[0]);
    if (fd < 0) {
        return NULL;
    }
    LmTransportParts parts = {
        .fd = fd,
        .sock = values[0],
        .protocol = values[1],
        .address = given(values[2]),
        .waiter = given(values[3]),
        .extra = given(values[4]),
    };
    return lm_datagram_new(loop, &parts);
}

static PyObject *
make_pipe_transport(PyObject *self, const LmPipeKind *kind, const char *method,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"pipe", "protocol", "waiter", "extra", NULL};
    PyObject *values[] = {NULL, NULL, Py_None, Py_None};
    LmLoop *loop = (LmLoop *)self;
    if (lm_loop_check_closed(loop) < 0 ||
        lm_args_parse(method, args, nargs, kwnames, 4, 2, names, values) < 0) {
        return NULL;
    }
    return lm_pipe_new(loop, kind, values[0], values[1], given(values[2]),
                       given(values[3]));
}

PyObject *
lm_loop_method_make_read_pipe_transport(LM_VECTOR)
{
    return make_pipe_transport(self, &lm_pipe_reads, "_make_read_pipe_transport", args,
                               nargs, kwnames);
}

PyObject *
lm_loop_method_make_write_pipe_transport(LM_VECTOR)
{
    return make_pipe_transport(self, &lm_pipe_writes, "_make_write_pipe_transport",
                               args, nargs, kwnames);
}

/* Positional: host and service, str or None; family, type, protocol, flags. */
PyObject *
lm_loop_method_look_up(PyObject *self, PyObject *args)
{
    const char *host, *service;
    struct addrinfo hints = {0};
    LmLoop *loop = (LmLoop *)self;
    if (!PyArg_ParseTuple(args, "zziiii:_look_up", &host, &service, &hints.ai_family,
                          &hints.ai_socktype, &hints.ai_protocol, &hints.ai_flags) ||
        lm_loop_check_closed(loop) < 0) {
        return NULL;
    }
    return lm_resolver_ask(loop, host, service, &hints);
}
