/* Calls by the socket's own methods: see sock_way.h. The socket is held meanwhile, and
   what it is given is its to keep. */
#include "net/sock_way.h"

#include "base/held.h"

#include <sys/socket.h>

int
lm_sock_way_would_block(void)
{
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
        return 1;
    }
    return 0;
}

static PyObject *
call(LmTransport *t, PyObject *name, PyObject *arg)
{
    PyObject *sock = Py_NewRef(t->sock);
    PyObject *returned =
        arg != NULL ? PyObject_CallMethodOneArg(sock, name, arg) : NULL;
    Py_DECREF(sock);
    return returned;
}

/* The number of bytes that a method returned, whose reference is stolen. */
static Py_ssize_t
count_of(PyObject *returned, int when_not_ready)
{
    if (returned == NULL) {
        return lm_sock_way_would_block() ? when_not_ready : -1;
    }
    Py_ssize_t count = PyNumber_AsSsize_t(returned, PyExc_OverflowError);
    Py_DECREF(returned);
    return PyErr_Occurred() ? -1 : count < 0 ? 0 : count;
}

PyObject *
lm_sock_way_recv(LmTransport *t, int *outcome)
{
    PyObject *most = PyLong_FromLong(LM_SCRATCH_SIZE);
    PyObject *data = call(t, t->st->str.recv, most);
    Py_XDECREF(most);
    if (data == NULL) {
        *outcome = lm_sock_way_would_block() ? LM_WOULD_BLOCK : -1;
    }
    return data;
}

Py_ssize_t
lm_sock_way_recv_into(LmTransport *t, PyObject *buffer)
{
    return count_of(call(t, t->st->str.recv_into, buffer), LM_WOULD_BLOCK);
}

static PyObject *
copies_of(const struct iovec *vectors, int count)
{
    PyObject *list = PyList_New(count);
    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *bytes = PyBytes_FromStringAndSize(vectors[i].iov_base,
                                                    (Py_ssize_t)vectors[i].iov_len);
        if (bytes == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, bytes);
    }
    return list;
}

Py_ssize_t
lm_sock_way_send(LmTransport *t, const struct iovec *vectors, int count, int is_queued)
{
    PyObject *name = t->st->str.send;
    PyObject *data = copies_of(vectors, count);
#if PY_VERSION_HEX >= 0x030C0000
    if (is_queued) {
        name = t->st->str.sendmsg;
    }
#endif
    if (data != NULL && name == t->st->str.send) {
        PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
        Py_SETREF(data,
                  empty != NULL ? PyObject_CallMethod(empty, "join", "O", data) : NULL);
        Py_XDECREF(empty);
    }
    Py_ssize_t most = 0;
    for (int i = 0; i < count; i++) {
        most += (Py_ssize_t)vectors[i].iov_len;
    }
    Py_ssize_t sent = count_of(call(t, name, data), 0);
    Py_XDECREF(data);
    (void)is_queued;
    return sent < most ? sent : most;
}

int
lm_sock_way_shut_down(LmTransport *t)
{
    PyObject *how = PyLong_FromLong(SHUT_WR);
    int failed = lm_done(call(t, t->st->str.shutdown, how));
    Py_XDECREF(how);
    return failed;
}
