/* Trying a socket call: see sock_calls.h.

   recv, recv_into and send of a plain socket.socket go to the system directly: the method
   would make and raise an exception each time it would block, and allocate for the most
   that may come. Anything else, be it a subclass, a patched method, a blocking socket or
   an odd argument, is left to the socket's own method, which knows what to say. */
#include "net/sock_calls.h"

#include "base/oserr.h"
#include "base/sys.h"

#include <sys/socket.h>

enum { NOT_OURS = 2 }; /* the method has to be called */

/* The descriptor where the call may pass by the method `name`, which is `own` unless
   somebody patched it; else -1. */
static int
direct_fd(LmSockOp *op, PyObject *name, PyObject *own)
{
    PyTypeObject *type = Py_TYPE(op->sock);
    if (type != lm_type(op->st->socket_class)) {
        return -1;
    }
    PyObject *found = PyObject_GetAttr((PyObject *)type, name);
    int is_own = found == own;
    Py_XDECREF(found);
    int fd = found != NULL && is_own ? PyObject_AsFileDescriptor(op->sock) : -1;
    if (fd < 0) {
        PyErr_Clear();
    }
    return fd;
}

/* After a call that failed: 0 where it would block, NOT_OURS where the method would wait,
   -1 with OSError set. */
static int
after_failure(LmSockOp *op)
{
    if (errno == EINTR) {
        return NOT_OURS; /* which looks at signals and tries again */
    }
    if (!lm_sys_is_not_ready()) {
        lm_oserr_set(errno);
        return -1;
    }
    PyObject *timeout = PyObject_CallMethodNoArgs(op->sock, op->st->str.gettimeout);
    if (timeout == NULL) {
        return -1;
    }
    int is_blocking = !PyFloat_Check(timeout) || PyFloat_AS_DOUBLE(timeout) != 0;
    Py_DECREF(timeout);
    return is_blocking ? NOT_OURS : 0;
}

static int
recv_direct(LmSockOp *op, PyObject **result)
{
    PyObject *most = op->args[0];
    long size = PyLong_CheckExact(most) ? PyLong_AsLong(most) : -1;
    if (size <= 0 || size > LM_SCRATCH_SIZE) {
        PyErr_Clear();
        return NOT_OURS;
    }
    int fd = direct_fd(op, op->st->str.recv, op->st->socket_recv);
    if (fd < 0) {
        return NOT_OURS;
    }
    char *scratch = lm_loop_scratch(op->loop);
    if (scratch == NULL) {
        return -1;
    }
    ssize_t count = recv(fd, scratch, (size_t)size, MSG_DONTWAIT);
    if (count < 0) {
        return after_failure(op);
    }
    *result = PyBytes_FromStringAndSize(scratch, count);
    return *result != NULL ? 1 : -1;
}

static int
recv_into_direct(LmSockOp *op, PyObject **result)
{
    Py_buffer room;
    PyObject *into = op->args[0];
    if (!PyByteArray_CheckExact(into) && !PyMemoryView_Check(into)) {
        return NOT_OURS;
    }
    int fd = direct_fd(op, op->st->str.recv_into, op->st->socket_recv_into);
    if (fd < 0) {
        return NOT_OURS;
    }
    if (PyObject_GetBuffer(into, &room, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        return NOT_OURS;
    }
    ssize_t count = -1;
    int outcome = NOT_OURS;
    if (room.len > 0) {
        count = recv(fd, room.buf, (size_t)room.len, MSG_DONTWAIT);
        outcome = count < 0 ? after_failure(op) : 1;
    }
    PyBuffer_Release(&room);
    if (count >= 0) {
        *result = PyLong_FromSsize_t(count);
    }
    return count >= 0 && *result == NULL ? -1 : outcome;
}

static int
send_direct(LmSockOp *op, PyObject **result)
{
    PyObject *data = op->args[0];
    if (op->data.obj == NULL) {
        if (op->is_retry ||
            (!PyBytes_CheckExact(data) && !PyByteArray_CheckExact(data) &&
             !PyMemoryView_Check(data))) {
            return NOT_OURS;
        }
        if (PyObject_GetBuffer(data, &op->data, PyBUF_SIMPLE) < 0) {
            PyErr_Clear();
            return NOT_OURS;
        }
    }
    int fd = direct_fd(op, op->st->str.send, op->st->socket_send);
    if (fd < 0) {
        return NOT_OURS;
    }
    ssize_t count = send(fd, (char *)op->data.buf + op->sent,
                         (size_t)(op->data.len - op->sent), MSG_DONTWAIT);
    if (count < 0) {
        return after_failure(op);
    }
    op->loop->has_done_io = 1;
    op->sent += count;
    if (op->sent < op->data.len) {
        return 0;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

/* What a method returned: 1, or 0 where it said that it would block, or -1. */
static int
outcome_of(PyObject *returned, PyObject **result)
{
    *result = returned;
    if (returned != NULL) {
        return 1;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
        return 0;
    }
    return -1;
}

/* The bytes of the data that are not yet sent, as an object that send() takes. */
static PyObject *
rest_of_data(LmSockOp *op)
{
    PyObject *view = PyMemoryView_FromObject(op->args[0]);
    PyObject *bytes = view != NULL ? PyObject_CallMethod(view, "cast", "s", "B") : NULL;
    PyObject *rest =
        bytes != NULL ? PySequence_GetSlice(bytes, op->sent, PY_SSIZE_T_MAX) : NULL;
    Py_XDECREF(view);
    Py_XDECREF(bytes);
    return rest;
}

static int
send_by_method(LmSockOp *op, PyObject **result)
{
    PyObject *rest = op->is_retry ? rest_of_data(op) : Py_NewRef(op->args[0]);
    PyObject *returned = NULL;
    int outcome = -1;
    Py_ssize_t count = 0;
    if (rest != NULL) {
        outcome = outcome_of(
            PyObject_CallMethodOneArg(op->sock, op->st->str.send, rest), &returned);
    }
    if (outcome > 0) {
        /* Of data whose items are no bytes the length says less than was sent: then the
           rest, which is empty, is sent too. */
        Py_ssize_t length = PyObject_Size(rest);
        count = length >= 0 ? PyLong_AsSsize_t(returned) : -1;
        outcome = PyErr_Occurred() ? -1 : count == length;
        op->loop->has_done_io = 1;
    }
    Py_XDECREF(rest);
    Py_XDECREF(returned);
    op->sent += count;
    *result = outcome > 0 ? Py_NewRef(Py_None) : NULL;
    return outcome;
}

static int
accept_by_method(LmSockOp *op, PyObject **result)
{
    PyObject *pair = NULL;
    int outcome =
        outcome_of(PyObject_CallMethodNoArgs(op->sock, op->st->str.accept), &pair);
    if (outcome <= 0) {
        return outcome;
    }
    Py_SETREF(pair, PySequence_Tuple(pair));
    if (pair != NULL && PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_ValueError,
                     "accept() returned %zd values, not a socket and an address",
                     PyTuple_GET_SIZE(pair));
        Py_CLEAR(pair);
    }
    PyObject *done = pair != NULL
                         ? PyObject_CallMethodOneArg(PyTuple_GET_ITEM(pair, 0),
                                                     op->st->str.setblocking, Py_False)
                         : NULL;
    if (done == NULL) {
        Py_XDECREF(pair);
        return -1;
    }
    Py_DECREF(done);
    *result = pair;
    return 1;
}

/* Raises what became of a connection that was under way. */
static PyObject *
connect_result(LmSockOp *op)
{
    PyObject *returned =
        PyObject_CallMethod(op->sock, "getsockopt", "ii", SOL_SOCKET, SO_ERROR);
    long err = returned != NULL ? PyLong_AsLong(returned) : -1;
    Py_XDECREF(returned);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (err == 0) {
        return Py_NewRef(Py_None);
    }
    PyObject *text = PyUnicode_FromFormat("Connect call failed %S", op->args[0]);
    PyObject *exc =
        text != NULL ? PyObject_CallFunction(PyExc_OSError, "lN", err, text) : NULL;
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return NULL;
}

static PyObject *
call_method(LmSockOp *op)
{
    PyObject *name;
    switch (op->kind) {
    case LM_SOCK_RECV:
        name = op->st->str.recv;
        break;
    case LM_SOCK_RECV_INTO:
        name = op->st->str.recv_into;
        break;
    case LM_SOCK_RECVFROM:
        name = op->st->str.recvfrom;
        break;
    case LM_SOCK_RECVFROM_INTO:
        name = op->st->str.recvfrom_into;
        break;
    case LM_SOCK_CONNECT:
        op->loop->has_done_io = 1;
        if (op->is_retry) {
            return connect_result(op);
        }
        name = op->st->str.connect;
        break;
    default:
        op->loop->has_done_io = 1;
        name = op->st->str.sendto;
        break;
    }
    return PyObject_CallMethodObjArgs(op->sock, name, op->args[0], op->args[1], NULL);
}

int
lm_sock_try(LmSockOp *op, PyObject **result)
{
    int outcome = NOT_OURS;
    *result = NULL;
    switch (op->kind) {
    case LM_SOCK_RECV:
        outcome = recv_direct(op, result);
        break;
    case LM_SOCK_RECV_INTO:
        outcome = recv_into_direct(op, result);
        break;
    case LM_SOCK_SENDALL:
        outcome = send_direct(op, result);
        break;
    case LM_SOCK_ACCEPT:
        return accept_by_method(op, result);
    default:
        return outcome_of(call_method(op), result);
    }
    if (LM_LIKELY(outcome != NOT_OURS)) {
        return outcome;
    }
    op->is_ours = 0;
    return op->kind == LM_SOCK_SENDALL ? send_by_method(op, result)
                                       : outcome_of(call_method(op), result);
}

int
lm_sock_calls_init(LmState *st)
{
    PyObject *base = lm_state_import("_socket", "socket");
    if (base == NULL) {
        return -1;
    }
    st->socket_recv = PyObject_GetAttr(base, st->str.recv);
    st->socket_recv_into = PyObject_GetAttr(base, st->str.recv_into);
    st->socket_send = PyObject_GetAttr(base, st->str.send);
    st->check_ssl_socket = lm_state_import("asyncio.base_events", "_check_ssl_socket");
    Py_DECREF(base);
    return st->socket_recv && st->socket_recv_into && st->socket_send &&
                   st->check_ssl_socket
               ? 0
               : -1;
}
