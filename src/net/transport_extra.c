/* What get_extra_info shows of a transport: see transport.h. Runs Python (the socket
   module, asyncio's TransportSocket). */
#include "net/transport_extra.h"

#include "base/args.h"
#include "base/held.h"

/* A Python socket over a descriptor. New reference. */
static PyObject *
socket_over(LmState *st, int fd)
{
    PyObject *args = PyTuple_New(0);
    PyObject *kwargs = args != NULL ? Py_BuildValue("{si}", "fileno", fd) : NULL;
    PyObject *sock =
        kwargs != NULL ? PyObject_Call(st->socket_class, args, kwargs) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return sock;
}

/* The class is Python: while the socket was made, another one may have taken the
   descriptor, or the transport have closed it. Steals the socket; 1 where it owns the
   descriptor now, -1 with an exception set. */
static int
take_socket(LmTransport *t, PyObject *sock, int fd)
{
    if (t->sock == NULL && t->fd == fd) {
        lm_transport_set_socket(t, sock);
        Py_DECREF(sock);
        return 1;
    }
    int failed = lm_done(PyObject_CallMethod(sock, "detach", NULL));
    Py_DECREF(sock);
    return failed;
}

PyObject *
lm_transport_socket(LmTransport *t)
{
    int fd = t->fd;
    if (t->sock != NULL || fd < 0) {
        return Py_XNewRef(t->sock);
    }
    PyObject *sock = socket_over(t->st, fd);
    int is_taken = sock != NULL ? take_socket(t, sock, fd) : -1;
    if (is_taken <= 0) {
        return is_taken < 0 ? NULL : Py_XNewRef(t->sock);
    }
    PyObject *done = lm_held_call_one(sock, t->st->str.setblocking, Py_False);
    Py_XDECREF(done);
    return done != NULL ? Py_XNewRef(t->sock) : NULL;
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
show_socket(LmTransport *t)
{
    int is_joined = t->fd >= 0 && t->kind->settle != NULL && t->loop->postpones;
    PyObject *sock = lm_transport_socket(t);
    if (sock == NULL && !PyErr_Occurred()) {
        sock = closed_socket(t);
        is_joined = 0;
    }
    PyObject *shown = NULL;
    if (sock != NULL && !is_joined) {
        shown = PyObject_CallOneArg(t->st->TransportSocket, sock);
    }
    else if (sock != NULL) {
        shown = lm_state_support(t->st, "joined_socket", "OO", sock,
                                 lm_transport_object(t));
        t->is_shown = shown != NULL;
    }
    Py_XDECREF(sock);
    return shown;
}

static PyObject *
show_address(LmTransport *t, void (*get)(const LmEnds *ends, LmAddr *addr),
             const char *method)
{
    LmAddr addr;
    if (t->ends == NULL) {
        Py_RETURN_NONE; /* met by the collector's eyes before it is made */
    }
    get(t->ends, &addr);
    if (lm_addr_is_known(&addr)) {
        return lm_addr_show(&addr);
    }
    PyObject *sock = lm_transport_socket(t);
    if (sock == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *address = PyObject_CallMethod(sock, method, NULL);
    Py_DECREF(sock);
    if (address == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return address;
}

static PyObject *
show_sockname(LmTransport *t)
{
    return show_address(t, lm_ends_local, "getsockname");
}

static PyObject *
show_peername(LmTransport *t)
{
    return show_address(t, lm_ends_peer, "getpeername");
}

/* What every transport has to show. */
static const struct Shown {
    const char *name;
    PyObject *(*show)(LmTransport *t);
} shown_names[] = {
    {"socket", show_socket},
    {"sockname", show_sockname},
    {"peername", show_peername},
    {NULL, NULL},
};

/* A dict with what the mapping, which may be NULL, has. New reference. */
static PyObject *
copy_of(PyObject *mapping)
{
    PyObject *extra = PyDict_New();
    Py_XINCREF(mapping); /* its own methods may have `extra` set anew */
    if (extra != NULL && mapping != NULL && PyDict_Update(extra, mapping) < 0) {
        Py_CLEAR(extra);
    }
    Py_XDECREF(mapping);
    return extra;
}

/* The dict that is filled as it is asked for: what was given is copied. New reference;
   NULL with an exception set. */
static PyObject *
begin_extra(LmTransport *t)
{
    if (t->extra_state != LM_EXTRA_GIVEN) {
        return Py_NewRef(t->extra);
    }
    PyObject *extra = copy_of(t->extra);
    if (extra != NULL) {
        t->extra_state = LM_EXTRA_BEGUN;
        Py_XDECREF(lm_shared_swap(lm_transport_object(t), &t->extra, Py_NewRef(extra)));
    }
    return extra;
}

/* Puts into the dict what belongs there by that name, unless it has it. -1 with an
   exception set. */
static int
fill_in(LmTransport *t, const struct Shown *shown, PyObject *name)
{
    PyObject *extra = begin_extra(t);
    if (extra == NULL) {
        return -1;
    }
    int has = PyDict_Contains(extra, name);
    PyObject *value = has == 0 ? shown->show(t) : NULL;
    if (has == 0) {
        has = value == NULL || PyDict_SetDefault(extra, name, value) == NULL ? -1 : 1;
    }
    Py_XDECREF(value);
    Py_DECREF(extra);
    return has < 0 ? -1 : 0;
}

static int
fill_named(LmTransport *t, const struct Shown *shown)
{
    PyObject *name = PyUnicode_InternFromString(shown->name);
    int failed = name != NULL ? fill_in(t, shown, name) : -1;
    Py_XDECREF(name);
    return failed;
}

PyObject *
lm_transport_get_extra(PyObject *self, void *closure LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    if (lm_transport_settle(self) < 0) {
        return NULL;
    }
    for (const struct Shown *shown = shown_names;
         shown->name != NULL && t->extra_state != LM_EXTRA_WHOLE; shown++) {
        if (fill_named(t, shown) < 0) {
            return NULL;
        }
    }
    PyObject *extra = begin_extra(t);
    if (extra != NULL && t->extra == extra) {
        t->extra_state = LM_EXTRA_WHOLE;
    }
    return extra;
}

int
lm_transport_set_extra(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmTransport *t = lm_transport(self);
    t->extra_state = LM_EXTRA_GIVEN;
    Py_XDECREF(lm_shared_swap(self, &t->extra, Py_XNewRef(value)));
    return 0;
}

/* -1 with an exception set. */
static int
fill_asked(LmTransport *t, PyObject *name)
{
    for (const struct Shown *shown = shown_names; shown->name != NULL; shown++) {
        if (PyUnicode_CompareWithASCIIString(name, shown->name) == 0) {
            return fill_in(t, shown, name);
        }
    }
    return 0;
}

int
lm_transport_extra_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                        PyObject **name, PyObject **fallback)
{
    static const char *const names[] = {"name", "default", NULL};
    PyObject *values[] = {NULL, Py_None};
    int failed =
        lm_args_parse("get_extra_info", args, nargs, kwnames, 2, 1, names, values);
    *name = values[0];
    *fallback = values[1];
    return failed;
}

PyObject *
lm_transport_extra_info(PyObject *self, PyObject *name, PyObject *fallback)
{
    LmTransport *t = lm_transport(self);
    PyObject *extra;
    if (lm_transport_settle(self) < 0) {
        return NULL;
    }
    if (t->extra_state == LM_EXTRA_WHOLE || !PyUnicode_CheckExact(name)) {
        extra = lm_transport_get_extra(self, NULL);
    }
    else {
        if (fill_asked(t, name) < 0) {
            return NULL;
        }
        if (t->extra == NULL) {
            return Py_NewRef(fallback);
        }
        extra = Py_NewRef(t->extra);
    }
    if (extra == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_CallMethod(extra, "get", "OO", name, fallback);
    Py_DECREF(extra);
    return value;
}

/* The address by that name, which never changes: NULL without an exception where it has to
   be asked for. */
static PyObject *
see_address(LmTransport *t, PyObject *name)
{
    int is_local = PyUnicode_CompareWithASCIIString(name, "sockname") == 0;
    LmAddr addr;
    if (t->ends == NULL ||
        (!is_local && PyUnicode_CompareWithASCIIString(name, "peername") != 0)) {
        return NULL;
    }
    (is_local ? lm_ends_local : lm_ends_peer)(t->ends, &addr);
    return lm_addr_is_known(&addr) ? lm_addr_show(&addr) : NULL;
}

/* Whether it is one of those that are made when they are asked for. */
static int
is_made_late(const LmTransport *t, PyObject *name)
{
    for (const struct Shown *shown = shown_names;
         shown->name != NULL && t->ends != NULL; shown++) {
        if (PyUnicode_CompareWithASCIIString(name, shown->name) == 0) {
            return 1;
        }
    }
    return 0;
}

PyObject *
lm_transport_see_extra_info(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    LmTransport *t = lm_transport(self);
    PyObject *name, *fallback, *value = NULL;
    PyObject *refusal = PyErr_GetRaisedException();
    PyObject *extra = lm_shared_get(self, &t->extra);
    int failed = lm_transport_extra_args(args, nargs, kwnames, &name, &fallback);
    if (failed == 0 && extra != NULL) {
        value = PyObject_CallMethod(extra, "get", "OO", name, refusal);
    }
    if (failed == 0 && (value == refusal || extra == NULL)) {
        Py_XDECREF(value);
        value = PyUnicode_Check(name) ? see_address(t, name) : NULL;
        if (value == NULL && !PyErr_Occurred()) {
            if (PyUnicode_Check(name) && is_made_late(t, name)) {
                PyErr_SetRaisedException(Py_NewRef(refusal));
            }
            else {
                value = Py_NewRef(fallback);
            }
        }
    }
    Py_XDECREF(extra);
    Py_XDECREF(refusal);
    return value;
}
