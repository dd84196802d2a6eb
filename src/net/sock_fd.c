/* Finding a socket's number: see sock_fd.h. Relies on a private field, the one before
   `sock_family` in the struct of `_socket.socket`, and on nothing where that holds
   anything unexpected. */
#include "net/sock_fd.h"

#include <structmember.h>

const int lm_sock_fd_by_method = -1;

/* What transports and listeners call by itself where they may go to the system. */
static const char *const replaced_methods[] = {
    "fileno",  "recv",   "recv_into", "recvfrom", "send",
    "sendmsg", "sendto", "_accept",   "shutdown", NULL};

static const int *
place_in(const LmState *st, PyObject *sock)
{
    return (const int *)((const char *)sock + st->sock_fd_offset);
}

/* Whether the class has the methods of the base, and not those of somebody who patched
   it. */
static int
has_own_methods(const LmState *st, PyObject *type)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(st->socket_methods); i += 2) {
        PyObject *found =
            PyObject_GetAttr(type, PyTuple_GET_ITEM(st->socket_methods, i));
        int is_own = found == PyTuple_GET_ITEM(st->socket_methods, i + 1);
        Py_XDECREF(found);
        if (!is_own) {
            PyErr_Clear();
            return 0;
        }
    }
    return 1;
}

const int *
lm_sock_fd_place(const LmState *st, PyObject *sock, int fd)
{
    if (st->sock_fd_offset == 0 || (PyObject *)Py_TYPE(sock) != st->socket_class ||
        *place_in(st, sock) != fd || !has_own_methods(st, st->socket_class)) {
        return &lm_sock_fd_by_method;
    }
    return place_in(st, sock);
}

/* The bytes before the member `family`; 0 where there is no such place. */
static Py_ssize_t
offset_before_family(PyObject *base)
{
    PyObject *family = PyObject_GetAttrString(base, "family");
    Py_ssize_t offset = 0;
    if (family != NULL && Py_IS_TYPE(family, &PyMemberDescr_Type)) {
        const PyMemberDef *member = ((PyMemberDescrObject *)family)->d_member;
        offset = member->offset - (Py_ssize_t)sizeof(int);
        if (member->type != T_INT || offset < (Py_ssize_t)sizeof(PyObject) ||
            member->offset > ((PyTypeObject *)base)->tp_basicsize) {
            offset = 0;
        }
    }
    PyErr_Clear();
    Py_XDECREF(family);
    return offset;
}

static int
holds_its_number(const LmState *st, PyObject *sock)
{
    int fd = PyObject_AsFileDescriptor(sock);
    return fd >= 0 && *place_in(st, sock) == fd;
}

/* Calls a method that ends the socket's hold on its number, which is to leave -1. */
static int
is_without_after(const LmState *st, PyObject *sock, const char *method)
{
    PyObject *done = PyObject_CallMethod(sock, method, NULL);
    int is_without = done != NULL && *place_in(st, sock) == -1;
    if (done != NULL && PyLong_Check(done)) {
        PyObject *closed = PyObject_CallMethod(st->socket_module, "close", "O", done);
        Py_XDECREF(closed);
    }
    Py_XDECREF(done);
    return is_without;
}

/* A pair of sockets, open, detached and closed. */
static int
is_confirmed(const LmState *st, PyObject *base)
{
    PyObject *pair = PyObject_CallMethod(st->socket_module, "socketpair", NULL);
    PyObject *one = NULL, *other = NULL;
    int is_right = pair != NULL && PyArg_ParseTuple(pair, "OO", &one, &other) &&
                   PyObject_TypeCheck(one, (PyTypeObject *)base) &&
                   PyObject_TypeCheck(other, (PyTypeObject *)base) &&
                   holds_its_number(st, one) && holds_its_number(st, other) &&
                   is_without_after(st, one, "detach") &&
                   is_without_after(st, other, "close");
    Py_XDECREF(pair);
    PyErr_Clear();
    return is_right;
}

/* (name, the base's method, ...) of what is not to be replaced. New reference. */
static PyObject *
own_methods(PyObject *base)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && replaced_methods[i] != NULL; i++) {
        PyObject *name = PyUnicode_InternFromString(replaced_methods[i]);
        PyObject *method = name != NULL ? PyObject_GetAttr(base, name) : NULL;
        if (method == NULL || PyList_Append(list, name) < 0 ||
            PyList_Append(list, method) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
        Py_XDECREF(method);
    }
    PyObject *methods = list != NULL ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return methods;
}

int
lm_sock_fd_init(LmState *st)
{
    st->socket_module = PyImport_ImportModule("_socket");
    PyObject *base = lm_state_import("_socket", "socket");
    if (st->socket_module == NULL || base == NULL) {
        Py_XDECREF(base);
        return -1;
    }
    st->socket_methods = own_methods(base);
    if (st->socket_methods != NULL && PyType_Check(base)) {
        st->sock_fd_offset = offset_before_family(base);
        if (st->sock_fd_offset != 0 && !is_confirmed(st, base)) {
            st->sock_fd_offset = 0;
        }
    }
    Py_DECREF(base);
    return st->socket_methods != NULL ? 0 : -1;
}
