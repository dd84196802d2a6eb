/* What get_extra_info shows of a transport: see transport.h. Runs Python (the socket
   module, asyncio's TransportSocket). */
#include "net/transport.h"

#include "net/join.h"

PyObject *
lm_transport_socket(LmTransport *t)
{
    if (t->sock == NULL && t->fd >= 0) {
        PyObject *args = PyTuple_New(0);
        PyObject *kwargs = Py_BuildValue("{si}", "fileno", t->fd);
        PyObject *sock =
            args && kwargs ? PyObject_Call(t->st->socket_class, args, kwargs) : NULL;
        Py_XDECREF(args);
        Py_XDECREF(kwargs);
        if (sock == NULL) {
            return NULL;
        }
        t->sock = sock;
        PyObject *done = PyObject_CallMethod(sock, "setblocking", "O", Py_False);
        Py_XDECREF(done);
        if (done == NULL) {
            return NULL;
        }
    }
    return t->sock;
}

/* What is shown for the socket of a transport that was closed before anybody asked: a
   closed socket. */
static PyObject *
closed_socket(LmTransport *t)
{
    PyObject *sock = PyObject_CallNoArgs(t->st->socket_class);
    PyObject *done =
        sock != NULL ? PyObject_CallMethodNoArgs(sock, t->st->str.close) : NULL;
    if (done == NULL) {
        Py_CLEAR(sock);
    }
    Py_XDECREF(done);
    return sock;
}

static PyObject *
address_of(LmTransport *t, const LmAddr *addr, const char *method)
{
    if (lm_addr_is_known(addr)) {
        return lm_addr_show(addr);
    }
    PyObject *sock = lm_transport_socket(t);
    if (sock == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *address = PyObject_CallMethod(sock, method, NULL);
    if (address == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return address;
}

/* Steals the value. */
static int
set_missing(PyObject *dict, const char *key, PyObject *value)
{
    PyObject *name = PyUnicode_FromString(key);
    int failed =
        value == NULL || name == NULL || PyDict_SetDefault(dict, name, value) == NULL;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static int
fill_extra(LmTransport *t, PyObject *extra)
{
    PyObject *sock = t->fd >= 0 ? Py_XNewRef(lm_transport_socket(t)) : closed_socket(t);
    if (sock == NULL) {
        return -1;
    }
    PyObject *shown = PyObject_CallOneArg(t->st->TransportSocket, sock);
    Py_DECREF(sock);
    if (set_missing(extra, "socket", shown) < 0) {
        return -1;
    }
    return set_missing(extra, "sockname", address_of(t, &t->local, "getsockname")) <
                       0 ||
                   set_missing(extra, "peername",
                               address_of(t, &t->peer, "getpeername")) < 0
               ? -1
               : 0;
}

/* What asyncio's get_extra_info reads. Made when it is first asked for: most
   connections never are. */
PyObject *
lm_transport_get_extra(PyObject *self, void *closure LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (lm_join_settle(t) < 0) {
        return NULL;
    }
    if (t->extra != NULL && PyDict_CheckExact(t->extra) &&
        PyDict_GetItemString(t->extra, "sockname") != NULL) {
        return Py_NewRef(t->extra);
    }
    PyObject *extra = PyDict_New();
    if (extra == NULL || (t->extra != NULL && PyDict_Update(extra, t->extra) < 0) ||
        fill_extra(t, extra) < 0) {
        Py_XDECREF(extra);
        return NULL;
    }
    Py_XSETREF(t->extra, Py_NewRef(extra));
    return extra;
}

int
lm_transport_set_extra(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    Py_XSETREF(lm_transport(self)->extra, Py_XNewRef(value));
    return 0;
}
